//! Commands beside COM_QUERY: another user, the list of sessions, KILL, statistics.

use mysql_async::ChangeUserOpts;
use mysql_async::prelude::Queryable;

use crate::support::{
    APP, Cluster, DEPRECATE_EOF, Database, OPS, Proxy, Raw, Setup, Table, eventually, flavors,
};

const CHANGE_USER: u8 = 0x11;
const STATISTICS: u8 = 0x09;
const PROCESS_INFO: u8 = 0x0a;
const PROCESS_KILL: u8 = 0x0c;
const DEBUG: u8 = 0x0d;

async fn shop(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded("orders", "id", "(id INT PRIMARY KEY, n INT)"),
            Table::reference("countries", "(code CHAR(2) PRIMARY KEY)"),
            Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
            Table::single("far", 1, "(id INT AUTO_INCREMENT PRIMARY KEY, m INT)"),
        ])
        .await
}

fn whom(user: (&str, &str), database: Option<&str>) -> ChangeUserOpts {
    ChangeUserOpts::default()
        .with_user(Some(user.0.to_owned()))
        .with_pass(Some(user.1.to_owned()))
        .with_db_name(database.map(str::to_owned))
}

#[tokio::test]
async fn another_user_finds_nothing_of_the_one_before() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        for round in 0..3 {
            for sql in [
                "SET @a = 1, SESSION time_zone = '+05:00', autocommit = 0",
                "INSERT INTO log (n) VALUES (1)",
                "CREATE TEMPORARY TABLE kept (a INT)",
                "SELECT GET_LOCK('job', 0)",
                "SELECT nonsense FROM log",
            ] {
                let _either = client.run(sql).await;
            }
            let (user, name) = if round % 2 == 0 { (OPS, None) } else { (APP, Some(database.name.as_str())) };
            client.inner().change_user(whom(user, name)).await.unwrap();
            assert_eq!(client.one("SELECT DATABASE()").await.as_deref(), name);
            let user = format!("{}@%", user.0);
            assert_eq!(client.one("SELECT CURRENT_USER()").await, Some(user));
            assert_eq!(client.rows("SELECT @a, @@time_zone, @@autocommit").await, ["NULL|SYSTEM|1"]);
            assert_eq!(client.rows("SHOW WARNINGS").await, [""; 0]);
            client.ok(format!("USE {}", database.name)).await;
            assert_eq!(client.one("SELECT LAST_INSERT_ID()").await.as_deref(), Some("0"));
            assert_eq!(client.one("SELECT COUNT(*) FROM log").await.as_deref(), Some("0"), "rolled back");
            assert_eq!(client.refused("SELECT * FROM kept").await.code, 1146);
            let mut other = proxy.client(&database).await;
            assert_eq!(
                other.one("SELECT GET_LOCK('job', 10)").await.as_deref(),
                Some("1"),
                "the lock is free"
            );
        }
        client.ok("SHARDWAY SHOW SESSIONS").await;
    }
}

#[tokio::test]
async fn who_may_not_become_another_is_disconnected() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        for (user, name, code) in [
            ((OPS.0, "wrong"), None, 1045),
            (("nobody", "wrong"), None, 1045),
            (OPS, Some("no_such_database"), 1049),
        ] {
            let mut client = proxy.client(&database).await;
            let fault = client.inner().change_user(whom(user, name)).await.unwrap_err();
            let mysql_async::Error::Server(fault) = fault else { panic!("{fault}") };
            assert_eq!(fault.code, code, "{user:?}: {}", fault.message);
            assert!(client.inner().query_drop("SELECT 1").await.is_err(), "{user:?} is disconnected");
        }
        // It ends after every byte, or never comes.
        let body = b"app\0\0shop\0\x2d\0mysql_native_password\0";
        for end in 0..body.len() {
            let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
            raw.command(CHANGE_USER, &body[..end]).await;
            let (_, answer) = raw.packet().await.expect("an answer");
            assert!(matches!(answer[0], 0xfe | 0xff), "{end}: {answer:?}");
            drop(raw);
        }
        let mut operator = proxy.operator().await;
        eventually("the sessions of clients that left end", async || {
            operator.ok("SHARDWAY SHOW SESSIONS").await.rows.len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_of_user_counts_under_the_new_user_alone() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = shop(cluster).await;
    let mut setup = Setup::new(cluster).database(&database);
    let limited = format!(
        "[[user]]\nname = \"few\"\npassword = \"p\"\nclients_max = 1\nserver_user = \"{}\"\nserver_password = \"{}\"",
        APP.0, APP.1
    );
    setup = setup.settings(&limited);
    let proxy = Proxy::start(&setup).await;
    let mut first = proxy.client(&database).await;
    first.inner().change_user(whom(("few", "p"), None)).await.unwrap();
    let mut second = proxy.client(&database).await;
    let fault = second.inner().change_user(whom(("few", "p"), None)).await.unwrap_err();
    assert!(matches!(&fault, mysql_async::Error::Server(fault) if fault.code == 1226), "{fault}");
    // Becoming oneself again needs no second place, and leaving frees the first.
    first.inner().change_user(whom(("few", "p"), None)).await.unwrap();
    first.inner().change_user(whom(APP, None)).await.unwrap();
    let mut third = proxy.client(&database).await;
    third.inner().change_user(whom(("few", "p"), None)).await.unwrap();
}

#[tokio::test]
async fn the_list_of_processes_is_that_of_sessions() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let (mut mine, mut busy) = (proxy.client(&database).await, proxy.client(&database).await);
        let mut operator = proxy.operator().await;
        let expected = cluster.direct(0).await.ok("SHOW PROCESSLIST").await.columns;
        let busy_id = busy.id();
        let running = tokio::spawn(async move { busy.run("SELECT SLEEP(300), 'secret'").await });
        let row = |list: &crate::support::Outcome, id: u32| {
            list.lines().into_iter().find(|line| line.starts_with(&format!("{id}|")))
        };
        eventually("the other's statement runs", async || {
            row(&mine.ok("SHOW PROCESSLIST").await, busy_id).unwrap().contains("SLEEP")
        })
        .await;
        let list = mine.ok("SHOW FULL PROCESSLIST").await;
        assert_eq!(list.columns, expected);
        let line = row(&list, busy_id).unwrap();
        assert!(line.contains(&format!("|{}|Query|", database.name)), "{line}");
        assert!(line.contains("SELECT SLEEP(300), 'secret'"), "{line}");
        assert!(row(&list, mine.id()).unwrap().contains("SHOW FULL PROCESSLIST"), "{:?}", list.lines());
        assert_eq!(row(&list, operator.id()), None, "only one's own");
        let all = operator.ok("SHOW PROCESSLIST").await;
        let line = row(&all, busy_id).unwrap();
        assert!(line.contains("SLEEP") && !line.contains("secret"), "{line}");
        assert!(row(&all, mine.id()).unwrap().contains("|Sleep|"), "{:?}", all.lines());
        let long = format!("SELECT '{}' FROM log; ", "x".repeat(200));
        mine.ok(&long).await;
        // Both forms of the command.
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, None, DEPRECATE_EOF).await;
        let listed = raw.answer(PROCESS_INFO, b"", true).await;
        assert_eq!(usize::from(listed[0].1[0]), expected.len());
        assert_eq!(listed.len(), 1 + expected.len() + 3 + 1, "three sessions of the user");
        raw.command(PROCESS_KILL, &busy_id.to_le_bytes()).await;
        assert_eq!(raw.packet().await.unwrap().1[0], 0);
        assert!(running.await.unwrap().is_err());
        assert_eq!(mine.refused("KILL USER app").await.code, 1235);
        assert_eq!(mine.refused(format!("KILL {}", operator.id())).await.code, 1095);
        operator.ok(format!("KILL {}", mine.id())).await;
        eventually("the session ends", async || mine.run("SELECT 1").await.is_err()).await;
        // Where a shard is chosen, its server is meant.
        let on_server = operator.ok("SHOW /* shardway: shard=shard1 */ PROCESSLIST").await;
        assert!(on_server.lines().iter().all(|line| !line.contains(&proxy.mysql.port().to_string())));
    }
}

#[tokio::test]
async fn fields_are_listed_wherever_the_table_is() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
        for (table, count) in [("orders", 2), ("countries", 1), ("log", 2), ("far", 2)] {
            let answer = raw.answer(4, format!("{table}\0").as_bytes(), false).await;
            assert_eq!(answer.len(), count + 1, "{table}: {answer:?}");
        }
        let answer = raw.answer(4, b"unlisted\0", false).await;
        assert_eq!(u16::from_le_bytes([answer[0].1[1], answer[0].1[2]]), 1146);
        let answer = raw.answer(4, b"x` FROM y\0", false).await;
        assert_eq!(u16::from_le_bytes([answer[0].1[1], answer[0].1[2]]), 1146);
        // The session goes on.
        assert_eq!(raw.results("SELECT 1").await, (vec![vec!["1".to_owned()]], 0));
    }
}

#[tokio::test]
async fn statistics_have_the_servers_form_and_debug_is_denied() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let server = ([127, 0, 0, 1], cluster.primary(0).port).into();
        // caching_sha2_password: the raw client knows the fast path alone.
        cluster.direct(0).await.quit().await;
        let mut forms = Vec::new();
        for address in [server, proxy.mysql] {
            let mut raw = Raw::login(address, APP.0, APP.1, None, 0).await;
            raw.command(STATISTICS, b"").await;
            let text = String::from_utf8(raw.packet().await.unwrap().1).unwrap();
            forms.push(text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>());
            raw.command(DEBUG, b"").await;
            let denied = raw.packet().await.unwrap().1;
            if address == proxy.mysql {
                assert_eq!((denied[0], u16::from_le_bytes([denied[1], denied[2]])), (0xff, 1227));
            }
        }
        assert_eq!(forms[0], forms[1]);
    }
}
