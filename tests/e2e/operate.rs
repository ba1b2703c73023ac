//! The operators' doors: reload, HTTP, the admin port, signals, logs.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::support::{
    Access, Client, Cluster, Database, Proxy, Setup, Table, command_line, eventually, flavors, promtool, said,
};

const RELOADS: u64 = 1000;
/// A reload suite that crawls still ends.
const RELOAD_DEADLINE: Duration = Duration::from_secs(20);

async fn tables(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded("t", "k", "(k INT PRIMARY KEY, v VARCHAR(40))"),
            Table::single("one", 0, "(id INT PRIMARY KEY)"),
        ])
        .await
}

/// The value beside a name in a table of two columns.
async fn item(client: &mut Client, sql: &str, name: &str) -> String {
    let rows = client.rows(sql).await;
    let found = rows.iter().find_map(|row| row.strip_prefix(name)?.strip_prefix('|'));
    found.unwrap_or_else(|| panic!("no {name} in {rows:#?}")).to_owned()
}

async fn map_version(operator: &mut Client) -> String {
    item(operator, "SHARDWAY SHOW MAP", "version").await
}

#[tokio::test]
async fn a_bad_map_changes_nothing_and_every_fault_is_logged() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let setup = Setup::new(cluster).database(&database);
    let proxy = Proxy::start(&setup).await;
    let mut operator = proxy.operator().await;
    let mut map = setup.map.clone();
    map.version = 2;
    let text = map
        .text()
        .replace("scheme = \"by_key\"", "scheme = \"by_kee\"")
        .replace("range = \"-80\"", "range = \"-90\"");
    std::fs::write(proxy.map_path(), format!("{text}\nsurprise = 1\n")).unwrap();
    proxy.signal("HUP");
    eventually("the log names every fault", async || {
        let log = proxy.log();
        ["by_kee", "two owners", "surprise"].iter().all(|fault| log.contains(fault))
    })
    .await;
    assert_eq!(map_version(&mut operator).await, "1");
    let fault = operator.refused("SHARDWAY RELOAD").await;
    assert!(fault.message.starts_with("SW1504"), "{}", fault.message);
    assert!(fault.message.contains("by_kee") && fault.message.contains("surprise"), "{}", fault.message);
    proxy.client(&database).await.ok("INSERT INTO t VALUES (1, 'still there')").await;
    std::fs::remove_file(proxy.map_path()).unwrap();
    operator.refused("SHARDWAY RELOAD").await;
    assert_eq!(map_version(&mut operator).await, "1");
    proxy.write_map(&map);
    operator.ok("SHARDWAY RELOAD").await;
    assert_eq!(map_version(&mut operator).await, "2");
}

#[tokio::test]
async fn a_good_map_applies_and_unchanged_servers_keep_their_connections() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 2, 0).await;
        let database = tables(&cluster).await;
        let setup = Setup::new(&cluster).database(&database);
        let proxy = Proxy::start(&setup).await;
        let mut operator = proxy.operator().await;
        let mut client = proxy.client(&database).await;
        client.ok("SELECT * FROM t").await;
        let ids =
            "SELECT GROUP_CONCAT(ID ORDER BY ID) FROM information_schema.PROCESSLIST WHERE USER = 'app'";
        let before = cluster.primary(0).ask(ids).await.unwrap();
        assert!(before.is_some());
        client.ok("BEGIN").await;
        client.ok("INSERT INTO t VALUES (1, 'in a transaction')").await;
        cluster.everywhere(&[format!("CREATE TABLE {}.later (id INT PRIMARY KEY)", database.name)]).await;
        client.refused("SELECT * FROM later").await;
        let mut map = setup.map.clone();
        map.version = 2;
        map.databases[0].tables.push(Table::reference("later", "").in_map());
        proxy.write_map(&map);
        proxy.signal("HUP");
        eventually("the new map is served", async || map_version(&mut operator).await == "2").await;
        client.ok("COMMIT").await;
        client.ok("INSERT INTO later VALUES (1)").await;
        for _ in 0..5 {
            client.ok("SELECT * FROM t").await;
        }
        let after = cluster.primary(0).ask(ids).await.unwrap().unwrap();
        let kept = before.unwrap().split(',').all(|id| after.split(',').any(|other| other == id));
        assert!(kept, "connections were closed by the reload: {after}");
        assert!(proxy.log().contains("later"), "the difference is logged");
    }
}

#[tokio::test]
async fn a_thousand_reloads_under_load_lose_nothing() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let setup = Setup::new(cluster).database(&database);
    let proxy = Proxy::start(&setup).await;
    let mut maps = [setup.map.clone(), setup.map.clone()];
    maps[1].databases[0].tables.push(Table::single("extra", 1, "").in_map());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut load = Vec::new();
    for worker in 0..4_u32 {
        let (access, stopped) = (proxy.access(&database), stopped.clone());
        load.push(tokio::spawn(async move {
            let mut client = Client::connect(&access).await;
            let mut written = 0;
            while !*stopped.borrow() {
                let key = worker * 1_000_000 + written;
                client.ok(format!("INSERT INTO t VALUES ({key}, 'x')")).await;
                assert_eq!(client.rows(format!("SELECT k FROM t WHERE k = {key}")).await, [key.to_string()]);
                client.ok("BEGIN").await;
                client.ok(format!("UPDATE t SET v = 'y' WHERE k = {key}")).await;
                client.ok("COMMIT").await;
                written += 1;
            }
            written
        }));
    }
    let mut operator = proxy.operator().await;
    let (began, mut reloads) = (Instant::now(), 0);
    while reloads < RELOADS && began.elapsed() < RELOAD_DEADLINE {
        reloads += 1;
        let map = &mut maps[usize::from(reloads % 2 == 0)];
        map.version = 1 + reloads;
        proxy.write_map(map);
        operator.ok("SHARDWAY RELOAD").await;
    }
    stop.send(true).unwrap();
    let mut written = 0;
    for worker in load {
        written += worker.await.unwrap();
    }
    assert!(reloads == RELOADS || reloads > RELOADS / 5, "only {reloads} reloads in {RELOAD_DEADLINE:?}");
    assert_eq!(map_version(&mut operator).await, (1 + reloads).to_string());
    let mut client = proxy.client(&database).await;
    let rows = client.ok("SELECT k FROM t WHERE v = 'y'").await.rows.len();
    assert_eq!(rows, usize::try_from(written).unwrap(), "after {reloads} reloads");
}

#[tokio::test]
async fn a_map_behind_a_swapped_symlink_is_read_anew() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let setup = Setup::new(cluster).database(&database);
    let proxy = Proxy::start(&setup).await;
    let mut operator = proxy.operator().await;
    // As Kubernetes mounts a ConfigMap: shard-map.toml -> ..data/shard-map.toml, ..data -> a folder that is replaced.
    let home = proxy.map_path().parent().unwrap().to_owned();
    let swap = |from: &Path, to: &Path| {
        let fresh = home.join("fresh-link");
        std::os::unix::fs::symlink(to, &fresh).unwrap();
        std::fs::rename(&fresh, from).unwrap();
    };
    for version in 2..6 {
        let folder = home.join(format!("..{version}"));
        std::fs::create_dir(&folder).unwrap();
        let mut map = setup.map.clone();
        map.version = version;
        std::fs::write(folder.join("shard-map.toml"), map.text()).unwrap();
        swap(&home.join("..data"), &folder);
        if version == 2 {
            swap(&proxy.map_path(), &home.join("..data/shard-map.toml"));
        } else {
            std::fs::remove_dir_all(home.join(format!("..{}", version - 1))).unwrap();
        }
        proxy.signal("HUP");
        eventually("the new map is served", async || map_version(&mut operator).await == version.to_string())
            .await;
    }
}

#[tokio::test]
async fn metrics_are_accepted_by_promtool_and_health_is_told() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let proxy = Proxy::over(cluster, &database).await;
    let mut client = proxy.client(&database).await;
    client.ok("INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')").await;
    client.ok("SELECT * FROM t").await;
    client.ok("SELECT GROUP_CONCAT(k) FROM t").await;
    client.refused("SELECT GROUP_CONCAT(k) FROM t FOR UPDATE").await;
    let (status, metrics) = proxy.get("/metrics").await;
    assert_eq!(status, 200);
    let metrics =
        metrics.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n") + "\n";
    assert!(metrics.contains("shardway_scratch_rows_total 3"), "{metrics}");
    if let Some(promtool) = promtool() {
        let mut command = Command::new(promtool);
        command.args(["check", "metrics"]);
        let told = said(command, &metrics).await;
        assert!(told.success, "{}{}\n{metrics}", told.out, told.err);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(proxy.get(path).await.0, 200, "{path}");
    }
    assert_eq!(proxy.get("/nowhere").await.0, 404);
}

#[tokio::test]
async fn the_admin_port_answers_drivers_and_the_command_line() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = tables(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("SELECT * FROM t").await;
        let mut admin = proxy.admin().await;
        let explain = format!("EXPLAIN SELECT * FROM {}.t WHERE k = 1", database.name);
        for (sql, wanted) in [
            ("SHOW SHARDS", "shard1"),
            ("SHOW SERVERS", "127.0.0.1"),
            ("SHOW POOLS", "app"),
            ("SHOW SESSIONS", "app"),
            ("SHOW MAP", "by_key"),
            ("SHOW VARIABLES", "limits.clients_max"),
            ("HELP", "KILL"),
            (explain.as_str(), "shard"),
        ] {
            let rows = admin.rows(sql).await;
            assert!(rows.iter().any(|row| row.contains(wanted)), "{sql}: {rows:#?}");
            let same = proxy.operator().await.rows(format!("SHARDWAY {sql}")).await;
            assert!(same.iter().any(|row| row.contains(wanted)), "SHARDWAY {sql}: {same:#?}");
            if sql == "HELP" {
                // The command line client has a HELP of its own.
                continue;
            }
            let access = Access::new(proxy.admin.unwrap(), "ops", "ops-secret");
            let told = command_line(&access, &[], &format!("{sql};\n")).await;
            assert!(told.success && told.out.contains(wanted), "{sql}: {told:?}");
        }
        let shown = admin.rows("SHOW VARIABLES").await.join("\n");
        assert!(!shown.contains("secret"), "{shown}");
        let fault = admin.refused("SHOW NONSENSE").await;
        assert_eq!((fault.code, fault.state.as_str()), (1064, "42000"), "{}", fault.message);
        for (user, password) in [("app", "app-secret"), ("ops", "wrong"), ("nobody", "x")] {
            let fault = Client::login(&Access::new(proxy.admin.unwrap(), user, password)).await.err();
            let fault = fault.unwrap_or_else(|| panic!("{user} got in"));
            // The library that speaks there has the other one, too: access denied.
            assert!([1045, 1698].contains(&fault.code), "{user}: {} {}", fault.code, fault.message);
        }
        for sql in ["SHARDWAY SHOW POOLS", "shardway reload", "SHARDWAY KILL 1", "SHARDWAY nonsense"] {
            let fault = client.refused(sql).await;
            assert_eq!((fault.code, fault.state.as_str()), (1227, "42000"), "{sql}: {}", fault.message);
        }
    }
}

#[tokio::test]
async fn a_killed_statement_ends_and_a_killed_session_is_gone() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = tables(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("INSERT INTO one VALUES (1)").await;
        let mut operator = proxy.operator().await;
        for (kill, survives) in [("KILL QUERY", true), ("KILL", false)] {
            let id = client.id();
            let running = tokio::spawn(async move {
                let answer = client.run("SELECT id FROM one WHERE SLEEP(300) = 0").await;
                (client, answer)
            });
            eventually("the statement runs", async || {
                let count = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(300)%' AND USER = 'app'";
                cluster.primary(0).ask(count).await.unwrap().as_deref() == Some("1")
            })
            .await;
            operator.ok(format!("SHARDWAY {kill} {id}")).await;
            let (again, answer) = running.await.unwrap();
            client = again;
            let fault = answer.expect_err("interrupted");
            assert!(
                fault.code == 1317 || (!survives && fault.code == 0),
                "{kill}: {} {}",
                fault.code,
                fault.message
            );
            assert_eq!(client.run("SELECT 1").await.is_ok(), survives, "{kill}");
            eventually("the server runs it no more", async || {
                let count = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(300)%' AND USER = 'app'";
                cluster.primary(0).ask(count).await.unwrap().as_deref() == Some("0")
            })
            .await;
        }
        let fault = operator.refused("SHARDWAY KILL 4000000000").await;
        assert_eq!((fault.code, fault.state.as_str()), (1094, "HY000"));
    }
}

#[tokio::test]
async fn the_drain_deadline_ends_transactions_that_do_not_finish() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let setup = Setup::new(cluster).database(&database).settings("[limits]\ndrain_timeout = \"300ms\"");
    let mut proxy = Proxy::start(&setup).await;
    let mut client = proxy.client(&database).await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1, 'lost')").await;
    proxy.signal("TERM");
    let status = proxy.ended().await;
    assert!(status.code().is_some(), "{status}");
    assert!(client.run("COMMIT").await.is_err());
    for shard in 0..2 {
        let count = format!("SELECT COUNT(*) FROM {}.t", database.name);
        assert_eq!(cluster.primary(shard).ask(&count).await.unwrap().as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn slow_statements_are_logged_without_their_literals_and_passwords_never() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let setup = Setup::new(cluster)
        .database(&database)
        .settings("[log]\nfilter = \"trace\"\nslow_statement = \"1ms\"");
    let proxy = Proxy::start(&setup).await;
    let mut client = proxy.client(&database).await;
    client.ok("SELECT SLEEP(0.02), 'sesame', k FROM t WHERE v = 'sesame' AND k = 424242").await;
    client.ok("INSERT INTO t VALUES (424242, 'sesame'), (424243, 'sesame')").await;
    client.refused("SELECT SLEEP(0.02), nonsense, 'sesame'").await;
    let wrong = Client::login(&Access::new(proxy.mysql, "app", "a-wrong-secret")).await;
    assert!(wrong.is_err());
    let _operator = proxy.operator().await.rows("SHARDWAY SHOW VARIABLES").await;
    eventually("the slow statement is logged", async || proxy.log().contains("SLEEP")).await;
    let log = proxy.log();
    for secret in ["sesame", "424242", "app-secret", "ops-secret", "a-wrong-secret"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

/// One replica does not answer, and nothing about the servers is known before they are asked: the first client must not be
/// read by rules that are made up.
#[tokio::test]
async fn the_first_client_is_read_as_the_servers_read() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        cluster.everywhere(&["SET GLOBAL sql_mode = 'ANSI_QUOTES'"]).await;
        let database = tables(&cluster).await;
        // The system accepts for it, and nobody speaks.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut setup = Setup::new(&cluster).database(&database).settings("");
        setup.map.shards[0].replicas.push(silent.local_addr().unwrap().port());
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        assert_eq!(client.server_version(), cluster.direct(0).await.server_version());
        client.ok("INSERT INTO t (k, \"v\") VALUES (1, 'x')").await;
        assert_eq!(client.rows("SELECT \"v\" FROM \"t\" WHERE \"k\" = 1").await, ["x"]);
    }
}

#[tokio::test]
async fn a_user_that_a_reload_adds_can_log_in_when_it_has_answered() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = tables(cluster).await;
    let proxy = Proxy::start(&Setup::new(cluster).database(&database)).await;
    let mut operator = proxy.operator().await;
    let before = std::fs::read_to_string(proxy.config_path()).unwrap();
    let as_app = "password = \"new-secret\"\nserver_user = \"app\"\nserver_password = \"app-secret\"";
    for number in 0..20 {
        let user = format!("user{number}");
        let text = format!("{before}\n[[user]]\nname = \"{user}\"\n{as_app}\n");
        std::fs::write(proxy.config_path(), text).unwrap();
        operator.ok("SHARDWAY RELOAD").await;
        let mut client = Client::connect(&Access::new(proxy.mysql, &user, "new-secret")).await;
        client.ok(format!("SELECT * FROM {}.t", database.name)).await;
    }
}
