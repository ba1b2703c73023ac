//! Logging in: every plugin, with and without TLS, cold and warm, by several clients; and every way to be refused.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use shardway::internal::local::{Flavor, Folder};

use crate::support::{
    Access, Client, Cluster, Database, Proxy, Raw, Setup, Table, command_line, flavors, pymysql,
};

const DEPRECATE_EOF: u32 = 0x0100_0000;

/// `caching_sha2_password` of `app-secret`, as a server stores it.
const SHA2_HASH: &str = "0x24412430304124673A774A55523A2A715B5370373D4617214B44464B38302E41416C6C4E674E6A31766574766C\
                         765065705668374C726A743034644D7777416B556B5A454341";
/// `PASSWORD('app-secret')`: SHA1 of SHA1.
const NATIVE_HASH: &str = "*6C7A370C07660BC788681B3238D93E08BD74303C";

const USERS: &[&str] = &["native", "sha2", "hashed", "native_hashed"];

/// Users of all kinds, who are all `app` on the servers.
fn users() -> String {
    let server = "server_user = \"app\"\nserver_password = \"app-secret\"";
    let plain = "password = \"app-secret\"";
    format!(
        "[[user]]\nname = \"native\"\nplugin = \"mysql_native_password\"\n{plain}\n{server}\n\
         [[user]]\nname = \"sha2\"\nplugin = \"caching_sha2_password\"\n{plain}\n{server}\n\
         [[user]]\nname = \"hashed\"\npassword_hash = \"{SHA2_HASH}\"\n{server}\n\
         [[user]]\nname = \"native_hashed\"\npassword_hash = \"{NATIVE_HASH}\"\n{server}\n"
    )
}

/// A certificate of our own and `[tls]` that uses it.
fn tls(folder: &Folder) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
}

async fn table(cluster: &Cluster) -> Database {
    cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY, v VARCHAR(20))")]).await
}

struct Door {
    proxy: Proxy,
    database: Database,
    _folder: Folder,
}

impl Door {
    async fn open(program: &shardway::internal::local::Installed, more: &str) -> Door {
        let cluster = Cluster::shared(program).await;
        let database = table(cluster).await;
        let folder = Folder::create().unwrap();
        let setup =
            Setup::new(cluster).database(&database).settings(&users()).settings(&tls(&folder)).settings(more);
        Door { proxy: Proxy::start(&setup).await, database, _folder: folder }
    }

    fn access(&self, user: &str) -> Access {
        Access::new(self.proxy.mysql, user, "app-secret")
    }
}

fn over_tls(access: &Access) -> OptsBuilder {
    let trusting =
        SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    access.options().ssl_opts(Some(trusting))
}

#[tokio::test]
async fn every_user_logs_in_by_the_driver_cold_and_warm_with_and_without_tls() {
    for program in flavors() {
        for tls_first in [false, true] {
            // A proxy of its own: its cache of passwords is cold.
            let door = Door::open(&program, "").await;
            for user in USERS {
                for round in 0..3 {
                    for secure in [tls_first, !tls_first] {
                        let access = if round == 1 {
                            door.access(user).database(&door.database.name)
                        } else {
                            door.access(user)
                        };
                        let options = if secure { over_tls(&access) } else { access.options() };
                        let mut connection = Conn::new(options)
                            .await
                            .unwrap_or_else(|error| panic!("{user}, TLS {secure}, round {round}: {error}"));
                        let one: Option<u8> = connection.query_first("SELECT 1").await.unwrap();
                        assert_eq!(one, Some(1));
                        let database: Option<Option<String>> =
                            connection.query_first("SELECT DATABASE()").await.unwrap();
                        assert_eq!(database.flatten().is_some(), round == 1);
                        connection.disconnect().await.unwrap();
                    }
                }
                for secure in [false, true] {
                    let mut access = door.access(user);
                    access.password = "not-the-secret".to_owned();
                    let options = if secure { over_tls(&access) } else { access.options() };
                    let error = Conn::new(options).await.expect_err("a wrong password");
                    let mysql_async::Error::Server(error) = error else { panic!("{user}: {error}") };
                    assert_eq!(
                        (error.code, error.state.as_str()),
                        (1045, "28000"),
                        "{user}: {}",
                        error.message
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn the_command_line_client_logs_in_as_every_user() {
    for program in flavors() {
        let door = Door::open(&program, "").await;
        for user in USERS {
            for options in [&["--skip-ssl"][..], &["--ssl"], &["--default-auth=mysql_native_password"]] {
                if options[0].starts_with("--default-auth") && *user == "hashed" {
                    continue;
                }
                let access = door.access(user).database(&door.database.name);
                let sql = "SELECT 'in', DATABASE() IS NOT NULL; SHOW TABLES; SELECT * FROM t WHERE k = 1;";
                let told = command_line(&access, options, sql).await;
                assert!(told.success, "{user} {options:?}: {told:?}");
                assert_eq!(told.out, "in\t1\nt\n", "{user} {options:?}");
            }
        }
        let mut access = door.access("sha2");
        access.password = "wrong".to_owned();
        let told = command_line(&access, &["--skip-ssl"], "SELECT 1").await;
        assert!(!told.success && told.err.contains("ERROR 1045 (28000)"), "{told:?}");
        let told = command_line(&door.access("sha2").database("nowhere"), &["--ssl"], "SELECT 1").await;
        assert!(!told.success && told.err.contains("ERROR 1049 (42000)"), "{told:?}");
    }
}

#[tokio::test]
async fn pymysql_logs_in_as_every_user() {
    for program in flavors() {
        let door = Door::open(&program, "").await;
        for user in USERS {
            let access = door.access(user).database(&door.database.name);
            let script = "for ssl in (None, {'check_hostname': False, 'verify_mode': False}):\n    \
                              connection = connect(ssl=ssl, autocommit=True)\n    \
                              cursor = connection.cursor()\n    \
                              cursor.execute('REPLACE INTO t VALUES (%s, %s), (%s, %s)', (1, 'é', 2, \"it's\"))\n    \
                              cursor.execute('SELECT v FROM t WHERE k = %s', (1,))\n    \
                              print(ascii(cursor.fetchone()[0]))\n    \
                              cursor.execute('SELECT v FROM t WHERE k IN %s', ((1, 2),))\n    \
                              print(len(cursor.fetchall()), connection.get_server_info() != '')\n    \
                              connection.close()\n";
            let told = pymysql(&access, script).await;
            assert!(told.success, "{user}: {told:?}");
            assert_eq!(told.out, "'\\xe9'\n2 True\n".repeat(2), "{user}");
        }
        let script = "try:\n    connect(password='wrong')\nexcept pymysql.err.OperationalError as e:\n    print(e.args[0])\n";
        assert_eq!(pymysql(&door.access("hashed"), script).await.out, "1045\n");
    }
}

#[tokio::test]
async fn required_tls_refuses_clients_without_it() {
    let program = flavors().remove(0);
    let cluster = Cluster::shared(&program).await;
    let database = table(cluster).await;
    let folder = Folder::create().unwrap();
    let settings = format!("{}required = true\n", tls(&folder));
    let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(&settings)).await;
    let access = proxy.access(&database);
    let fault = Client::login(&access).await.err().expect("refused");
    assert_eq!((fault.code, fault.state.as_str()), (3159, "HY000"), "{}", fault.message);
    assert!(fault.message.starts_with("SW1005"), "{}", fault.message);
    let mut connection = Conn::new(over_tls(&access)).await.unwrap();
    let one: Option<u8> = connection.query_first("SELECT 1").await.unwrap();
    assert_eq!(one, Some(1));
}

#[tokio::test]
async fn one_client_too_many_is_told_so_as_a_server_does() {
    let program = flavors().remove(0);
    let door = Door::open(&program, "[limits]\nclients_max = 2\n").await;
    let first = Client::connect(&door.access("sha2")).await;
    let _second = Client::connect(&door.access("native")).await;
    let mut third = Raw::connect(door.proxy.mysql).await;
    let answer = third.packet().await.expect("an error before the connection closes").1;
    assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1040));
    // Without a SQLSTATE, as servers do before they know what the client can read.
    assert_eq!(&answer[3..], b"Too many connections");
    assert!(third.closes(Duration::from_secs(10)).await);
    first.quit().await;
    crate::support::eventually("the place is free again", async || {
        Client::login(&door.access("sha2")).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_user_has_as_many_clients_as_its_limit() {
    let program = flavors().remove(0);
    let more = "[[user]]\nname = \"few\"\npassword = \"app-secret\"\nclients_max = 1\n";
    let door = Door::open(&program, more).await;
    let _first = Client::connect(&door.access("few")).await;
    let fault = Client::login(&door.access("few")).await.err().expect("refused");
    assert_eq!((fault.code, fault.state.as_str()), (1226, "42000"), "{}", fault.message);
    let _other = Client::connect(&door.access("sha2")).await;
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_disconnected() {
    let program = flavors().remove(0);
    let door = Door::open(&program, "[limits]\nhandshake_timeout = \"200ms\"\n").await;
    let mut silent = Raw::connect(door.proxy.mysql).await;
    assert!(silent.closes(Duration::from_secs(30)).await, "before the greeting was answered");
    let mut half = Raw::connect(door.proxy.mysql).await;
    half.greeting().await;
    half.bytes(&[40, 0, 0, 1, 0, 0]).await;
    assert!(half.closes(Duration::from_secs(30)).await, "in the middle of the answer");
    let _normal = Client::connect(&door.access("sha2")).await;
}

#[tokio::test]
async fn results_end_with_eof_or_ok_as_the_client_asked() {
    for program in flavors() {
        let door = Door::open(&program, "").await;
        let mut client = Client::connect(&door.access("sha2").database(&door.database.name)).await;
        client.ok("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f')").await;
        for (capabilities, deprecated) in [(0, false), (DEPRECATE_EOF, true)] {
            let mut raw =
                Raw::login(door.proxy.mysql, "native", "app-secret", Some(&door.database.name), capabilities)
                    .await;
            for sql in
                ["SELECT k FROM t WHERE k = 1", "SELECT k FROM t", "SELECT 1", "SELECT k FROM t WHERE k = 99"]
            {
                assert_eq!(raw.query(sql).await, [1], "{sql}: one column");
                let column = raw.packet().await.unwrap().1;
                assert_eq!(&column[..4], b"\x03def");
                if !deprecated {
                    let eof = raw.packet().await.unwrap().1;
                    assert_eq!((eof[0], eof.len()), (0xfe, 5), "{sql}: EOF behind the columns");
                }
                let end = loop {
                    let packet = raw.packet().await.unwrap().1;
                    if packet[0] == 0xfe {
                        break packet;
                    }
                };
                assert_eq!(end.len() == 5, !deprecated, "{sql}: {end:?}");
            }
        }
    }
}

#[tokio::test]
async fn found_rows_counts_what_matched() {
    for program in flavors() {
        let door = Door::open(&program, "").await;
        let mut access = door.access("sha2").database(&door.database.name);
        let mut changed = Client::connect(&access).await;
        access.found_rows = true;
        let mut matched = Client::connect(&access).await;
        changed.ok("INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a')").await;
        for _ in 0..2 {
            assert_eq!(matched.ok("UPDATE t SET v = 'a'").await.affected, 4);
            assert_eq!(changed.ok("UPDATE t SET v = 'a'").await.affected, 0);
            assert_eq!(matched.ok("UPDATE t SET v = 'a' WHERE k = 1").await.affected, 1);
        }
    }
}

#[tokio::test]
async fn the_greeting_tells_the_version_of_the_servers() {
    for program in flavors() {
        let door = Door::open(&program, "").await;
        let mut version = String::new();
        crate::support::eventually("a server was asked", async || {
            version = Raw::connect(door.proxy.mysql).await.greeting().await.version;
            !version.starts_with("8.4.0")
        })
        .await;
        let number = program.version.split('-').next().unwrap();
        assert!(version.contains(number), "{version} of {}", program.version);
        assert_eq!(version.contains("MariaDB"), program.flavor == Flavor::MariaDb, "{version}");
        let mut client = Client::connect(&door.access("sha2")).await;
        assert!(client.one("SELECT VERSION()").await.unwrap().contains(number));
    }
}

#[tokio::test]
async fn connections_to_servers_use_tls_as_the_map_says() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = table(cluster).await;
        // MySQL makes certificates for itself when it first starts; MariaDB of this age does not.
        let home = cluster.primary(0).socket().parent().unwrap().to_owned();
        let ca = home.join("d/ca.pem");
        let secured = ca.exists();
        assert_eq!(secured, program.flavor == Flavor::MySql);
        let own = format!("mode = \"verify-ca\"\nca = {ca:?}");
        for (mode, works) in [
            ("mode = \"disabled\"", true),
            ("mode = \"preferred\"", true),
            ("mode = \"required\"", secured),
            // That CA signed the first server's certificate and no other's.
            (own.as_str(), secured),
            ("mode = \"verify-identity\"", false),
        ] {
            if mode.contains("ca = ") && !secured {
                continue;
            }
            let setup = Setup::new(cluster)
                .database(&database)
                .scheme(&format!("[tls]\n{mode}\n"))
                .settings("[pool]\nborrow_timeout = \"2s\"");
            let proxy = Proxy::start(&setup).await;
            let mut client = proxy.client(&database).await;
            client.ok(format!("USE `{}:shard1`", database.name)).await;
            match client.run("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await {
                Ok(outcome) => {
                    assert!(works, "{mode} on {}", program.flavor.name());
                    let cipher = outcome.lines()[0] != "Ssl_cipher|";
                    assert_eq!(cipher, secured && !mode.contains("disabled"), "{mode}");
                }
                Err(fault) => {
                    assert!(!works, "{mode} on {}: {}", program.flavor.name(), fault.message);
                    assert!(fault.message.starts_with("SW1405"), "{mode}: {}", fault.message);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_account_that_the_servers_refuse_is_named() {
    for program in flavors() {
        let more = "[[user]]\nname = \"stranger\"\npassword = \"app-secret\"\n";
        let door = Door::open(&program, more).await;
        let mut client = Client::connect(&door.access("stranger")).await;
        let fault = client.refused(format!("SELECT * FROM {}.t WHERE k = 1", door.database.name)).await;
        assert!(fault.message.starts_with("SW1404"), "{}", fault.message);
        assert!(fault.message.contains("stranger"), "{}", fault.message);
        assert!(!fault.message.contains("app-secret"), "{}", fault.message);
    }
}
