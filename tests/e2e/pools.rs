//! Pools of server connections: bounds, fair waiting, errors that say why, and servers that go and come back.

use crate::support::{Access, Client, Cluster, Database, Proxy, Setup, Table, eventually, flavors};

async fn log_table(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, who INT)"),
            Table::single("far", cluster.fleet.shards.len() - 1, "(id INT PRIMARY KEY)"),
        ])
        .await
}

/// Connections of an account that a server has.
async fn connections(cluster: &Cluster, user: &str) -> Vec<String> {
    let list = format!(
        "SELECT GROUP_CONCAT(ID ORDER BY ID) FROM information_schema.PROCESSLIST WHERE USER = '{user}'"
    );
    let ids = cluster.primary(0).ask(&list).await.unwrap().unwrap_or_default();
    ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

async fn kill_connections(cluster: &Cluster, user: &str) {
    let ids = connections(cluster, user).await;
    let kills: Vec<String> = ids.iter().map(|id| format!("KILL {id}")).collect();
    cluster.primary(0).run(&kills).await.unwrap();
}

/// The value of a column of SHOW POOLS for one server and user, summed over its pools.
async fn pool(operator: &mut Client, port: u16, user: &str, column: &str) -> u64 {
    let pools = operator.ok("SHARDWAY SHOW POOLS").await;
    let place = pools.columns.iter().position(|name| name == column).unwrap();
    let text = |cell: &Option<Vec<u8>>| String::from_utf8(cell.clone().unwrap_or_default()).unwrap();
    let of =
        |row: &&Vec<Option<Vec<u8>>>| text(&row[0]).ends_with(&format!(":{port}")) && text(&row[1]) == user;
    pools.rows.iter().filter(of).map(|row| text(&row[place]).parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn a_server_never_gets_more_connections_than_its_total_cap() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        let database = log_table(&cluster).await;
        let settings = "[pool]\nidle_min = 0\nconnections_max = 10\nserver_connections_max = 3\nborrow_timeout = \"300ms\"";
        let proxy = Proxy::start(&Setup::new(&cluster).database(&database).settings(settings)).await;
        let (mut held, mut refused) = (Vec::new(), Vec::new());
        for number in 0..6 {
            let mut access = proxy.access(&database);
            if number % 2 == 0 {
                (access.user, access.password) = ("ops".to_owned(), "ops-secret".to_owned());
            }
            let mut client = Client::connect(&access).await;
            client.ok("BEGIN").await;
            match client.run("SELECT COUNT(*) FROM log").await {
                Ok(_) => held.push(client),
                Err(fault) => refused.push(fault),
            }
        }
        assert_eq!((held.len(), refused.len()), (3, 3), "{refused:?}");
        let all = connections(&cluster, "app").await.len() + connections(&cluster, "ops").await.len();
        assert_eq!(all, 3);
        for fault in refused {
            assert!(fault.message.starts_with("SW1402"), "{}", fault.message);
            assert_eq!((fault.code, fault.state.as_str()), (1040, "08004"));
            let server = format!("127.0.0.1:{}", cluster.primary(0).port);
            assert!(fault.message.contains(&server), "names the server: {}", fault.message);
        }
        drop(held);
        let mut client = proxy.client(&database).await;
        eventually("the connections of the vanished serve others", async || {
            client.run("SELECT * FROM log").await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn who_waits_first_is_served_first() {
    let program = flavors().remove(0);
    let cluster = Cluster::shared(&program).await;
    let database = log_table(cluster).await;
    let settings = "[pool]\nidle_min = 0\nconnections_max = 1\nborrow_timeout = \"30s\"";
    let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(settings)).await;
    let mut operator = proxy.operator().await;
    let mut holder = proxy.client(&database).await;
    holder.ok("BEGIN").await;
    holder.ok("SELECT COUNT(*) FROM log").await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        let access = proxy.access(&database);
        waiting.push(tokio::spawn(async move {
            let mut client = Client::connect(&access).await;
            client.ok(format!("INSERT INTO log (who) VALUES ({number})")).await;
        }));
        eventually("the next one waits", async || {
            pool(&mut operator, cluster.primary(0).port, "app", "waiting").await == number + 1
        })
        .await;
    }
    holder.ok("COMMIT").await;
    for waiter in waiting {
        waiter.await.unwrap();
    }
    // The ids are given in the order of arrival at the server.
    let mut order: Vec<(u32, String)> = Vec::new();
    for row in holder.rows("SELECT id, who FROM log").await {
        let (id, who) = row.split_once('|').unwrap();
        order.push((id.parse().unwrap(), who.to_owned()));
    }
    order.sort();
    let order: Vec<&str> = order.iter().map(|(_, who)| who.as_str()).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_connection_killed_while_idle_is_replaced_unnoticed() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        let database = log_table(&cluster).await;
        let proxy = Proxy::over(&cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("SET time_zone = '+01:00'").await;
        for round in 0..10 {
            client.ok(format!("INSERT INTO log (who) VALUES ({round})")).await;
            kill_connections(&cluster, "app").await;
        }
        assert_eq!(client.rows("SELECT COUNT(*), @@time_zone FROM log").await, ["10|+01:00"]);
    }
}

#[tokio::test]
async fn a_transaction_whose_connection_is_killed_says_so_and_the_session_goes_on() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        let database = log_table(&cluster).await;
        let proxy = Proxy::over(&cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("BEGIN").await;
        client.ok("INSERT INTO log (who) VALUES (1)").await;
        kill_connections(&cluster, "app").await;
        let fault = client.refused("INSERT INTO log (who) VALUES (2)").await;
        let known = ["SW1304", "SW1403"].iter().any(|id| fault.message.starts_with(id));
        assert!(known, "{} {}", fault.code, fault.message);
        // What the client believes to be inside the transaction must not be committed on its own.
        let _answer = client.run("ROLLBACK").await;
        assert!(client.rows("SELECT * FROM log").await.is_empty());
        client.ok("INSERT INTO log (who) VALUES (3)").await;
    }
}

#[tokio::test]
async fn a_server_that_restarts_is_used_again_and_errors_name_it_until_then() {
    for program in flavors() {
        let mut cluster = Cluster::own(&program, 2, 0).await;
        let database = log_table(&cluster).await;
        let setup = Setup::new(&cluster)
            .database(&database)
            .settings("[pool]\nborrow_timeout = \"1s\"\n[limits]\nfailover_wait = \"1s\"");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        client.ok("INSERT INTO log (who) VALUES (1)").await;
        cluster.fleet.shards[0].primary.kill();
        let fault = client.refused("SELECT * FROM log").await;
        let server = format!("127.0.0.1:{}", cluster.primary(0).port);
        assert!(fault.message.starts_with("SW14"), "{}", fault.message);
        assert!(fault.message.contains("shard1") || fault.message.contains(&server), "{}", fault.message);
        client.ok("SELECT * FROM far").await;
        cluster.fleet.shards[0].primary.restart().await.unwrap();
        eventually("the server is used again", async || client.run("SELECT * FROM log").await.is_ok()).await;
        client.ok("INSERT INTO log (who) VALUES (2)").await;
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_used_once_it_is_up() {
    for program in flavors() {
        let mut cluster = Cluster::own(&program, 2, 0).await;
        let database = log_table(&cluster).await;
        let setup = Setup::new(&cluster)
            .database(&database)
            .settings("[pool]\nborrow_timeout = \"500ms\"\n[limits]\nfailover_wait = \"500ms\"");
        cluster.fleet.shards[0].primary.kill();
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        client.ok("SELECT * FROM far").await;
        let fault = client.refused("INSERT INTO log (who) VALUES (1)").await;
        assert!(
            fault.message.starts_with("SW1408") || fault.message.starts_with("SW1213"),
            "{}",
            fault.message
        );
        assert!(fault.message.contains("shard1"), "{}", fault.message);
        cluster.fleet.shards[0].primary.restart().await.unwrap();
        eventually("the server is used", async || {
            client.run("INSERT INTO log (who) VALUES (1)").await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn each_user_has_connections_of_its_own_account() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        let database = log_table(&cluster).await;
        let proxy = Proxy::over(&cluster, &database).await;
        let mut app = proxy.client(&database).await;
        let mut ops =
            Client::connect(&Access::new(proxy.mysql, "ops", "ops-secret").database(&database.name)).await;
        for _ in 0..3 {
            assert!(
                app.one("SELECT CURRENT_USER() FROM log RIGHT JOIN (SELECT 1) x ON 1 = 1")
                    .await
                    .unwrap()
                    .starts_with("app@")
            );
            assert!(
                ops.one("SELECT CURRENT_USER() FROM log RIGHT JOIN (SELECT 1) x ON 1 = 1")
                    .await
                    .unwrap()
                    .starts_with("ops@")
            );
        }
        assert!(!connections(&cluster, "app").await.is_empty());
        assert!(!connections(&cluster, "ops").await.is_empty());
    }
}
