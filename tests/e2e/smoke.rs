//! The shortest way through everything: log in, route, read back, stop.

use crate::support::{Access, Client, Cluster, Database, Proxy, Raw, Setup, Table, eventually, flavors};

const ROWS: u32 = 40;

async fn orders(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded(
                "orders",
                "customer",
                "(customer BIGINT NOT NULL, id INT NOT NULL, note VARCHAR(40), PRIMARY KEY (customer, id))",
            ),
            Table::reference("countries", "(code CHAR(2) PRIMARY KEY, name VARCHAR(40))"),
            Table::single("settings", 1, "(name VARCHAR(20) PRIMARY KEY, value VARCHAR(40))"),
        ])
        .await
}

#[tokio::test]
async fn rows_written_through_the_proxy_are_spread_over_the_shards_and_read_back() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = orders(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        for customer in 0..ROWS {
            let insert =
                format!("INSERT INTO orders (customer, id, note) VALUES ({customer}, 1, 'of {customer}')");
            assert_eq!(client.ok(insert).await.affected, 1);
        }
        for customer in 0..ROWS {
            let select = format!("SELECT note FROM orders WHERE customer = {customer}");
            assert_eq!(client.rows(select).await, [format!("of {customer}")]);
        }
        let mut total = 0;
        for shard in 0..cluster.fleet.shards.len() {
            let count = format!("SELECT COUNT(*) FROM {}.orders", database.name);
            let count: u32 = cluster.primary(shard).ask(&count).await.unwrap().unwrap().parse().unwrap();
            assert!(count > 0, "shard {shard} got no row of {ROWS}");
            total += count;
        }
        assert_eq!(total, ROWS);
    }
}

#[tokio::test]
async fn a_reference_row_is_on_every_shard_and_a_single_row_on_its_own() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = orders(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("INSERT INTO countries VALUES ('at', 'Austria')").await;
        client.ok("INSERT INTO settings VALUES ('theme', 'dark')").await;
        assert_eq!(client.rows("SELECT name FROM countries WHERE code = 'at'").await, ["Austria"]);
        assert_eq!(client.rows("SELECT value FROM settings").await, ["dark"]);
        for shard in 0..cluster.fleet.shards.len() {
            let count = format!("SELECT COUNT(*) FROM {}.countries", database.name);
            assert_eq!(cluster.primary(shard).ask(&count).await.unwrap().as_deref(), Some("1"));
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_as_by_a_server() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = orders(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        for (user, password) in [("app", "wrong"), ("nobody", "app-secret"), ("app", "")] {
            let fault =
                Client::login(&Access::new(proxy.mysql, user, password)).await.err().expect("refused");
            assert_eq!((fault.code, fault.state.as_str()), (1045, "28000"), "{user}: {}", fault.message);
        }
        let unknown = Access::new(proxy.mysql, "app", "app-secret").database("no_such_database");
        let fault = Client::login(&unknown).await.err().expect("refused");
        assert_eq!((fault.code, fault.state.as_str()), (1049, "42000"), "{}", fault.message);
    }
}

#[tokio::test]
async fn an_unknown_command_is_refused_and_the_session_goes_on() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = orders(cluster).await;
    let proxy = Proxy::over(cluster, &database).await;
    let mut raw = Raw::login(proxy.mysql, "app", "app-secret", Some(&database.name), 0).await;
    raw.command(0x7f, b"").await;
    let (_, answer) = raw.packet().await.unwrap();
    assert_eq!(answer[0], 0xff);
    assert_eq!(u16::from_le_bytes([answer[1], answer[2]]), 1047);
    assert_eq!(&answer[3..9], b"#08S01");
    raw.command(14, b"").await;
    let (sequence, answer) = raw.packet().await.unwrap();
    assert_eq!((sequence, answer[0]), (1, 0), "COM_PING is answered with OK");
}

#[tokio::test]
async fn sigterm_lets_a_transaction_finish_and_then_ends_with_success() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = orders(cluster).await;
    let mut proxy = Proxy::over(cluster, &database).await;
    let mut client = proxy.client(&database).await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO orders VALUES (1, 1, 'kept')").await;
    proxy.signal("TERM");
    eventually("new clients are refused", async || {
        tokio::net::TcpStream::connect(proxy.mysql).await.is_err()
            || Client::login(&Access::new(proxy.mysql, "app", "app-secret")).await.is_err()
    })
    .await;
    assert!(proxy.runs(), "the proxy ended under an open transaction");
    client.ok("INSERT INTO orders VALUES (1, 2, 'kept')").await;
    client.ok("COMMIT").await;
    drop(client);
    let status = proxy.ended().await;
    assert!(status.success(), "{status}");
    let mut rows = 0;
    for shard in 0..cluster.fleet.shards.len() {
        let count = format!("SELECT COUNT(*) FROM {}.orders WHERE note = 'kept'", database.name);
        rows += cluster.primary(shard).ask(&count).await.unwrap().unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_proxy_with_a_shard_down_starts_and_serves_the_others() {
    let program = flavors().remove(0);
    let mut cluster = Cluster::own(&program, 2, 0).await;
    let database = orders(&cluster).await;
    let setup = Setup::new(&cluster)
        .database(&database)
        .settings("[pool]\nborrow_timeout = \"1s\"\n[limits]\nfailover_wait = \"1s\"");
    cluster.fleet.shards[1].primary.kill();
    let proxy = Proxy::start(&setup).await;
    let mut client = proxy.client(&database).await;
    let (mut served, mut failed) = (0, 0);
    for customer in 0..ROWS {
        let insert = format!("INSERT INTO orders VALUES ({customer}, 1, 'x')");
        match client.run(insert).await {
            Ok(_) => served += 1,
            Err(fault) => {
                assert!(fault.message.contains("shard2"), "the error names the shard: {}", fault.message);
                failed += 1;
                break;
            }
        }
    }
    assert_eq!(failed, 1);
    assert!(served > 0 || client.ok("SELECT 1").await.rows.len() == 1);
}
