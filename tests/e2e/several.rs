//! Several statements in one packet: each goes where it belongs, the answers are one chain.

use crate::support::{
    APP, Cluster, Database, MULTI_STATEMENTS, Proxy, Raw, Setup, Table, eventually, flavors,
};

async fn shop(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded("orders", "id", "(id INT PRIMARY KEY, n INT)"),
            Table::reference("countries", "(code CHAR(2) PRIMARY KEY)"),
            Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
            Table::single("far", 1, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
        ])
        .await
}

async fn raw(proxy: &Proxy, database: &Database) -> Raw {
    Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), MULTI_STATEMENTS).await
}

#[tokio::test]
async fn each_statement_goes_to_its_own_shards() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = raw(&proxy, &database).await;
        let (found, fault) = client.results(
            "INSERT INTO orders VALUES (1, 1), (2, 2), (3, 3), (4, 4); INSERT INTO countries VALUES ('at'); \
             INSERT INTO log (n) VALUES (5); SELECT LAST_INSERT_ID(); INSERT INTO far (n) VALUES (6); \
             SELECT n FROM orders WHERE id = 3; SELECT n FROM orders; SELECT n FROM far; SELECT code FROM countries;",
        )
        .await;
        assert_eq!(fault, 0);
        let none: Vec<String> = Vec::new();
        let one = |text: &str| vec![text.to_owned()];
        let mut found = found;
        found[6].sort();
        let all = ["1", "2", "3", "4"].map(str::to_owned).to_vec();
        assert_eq!(
            found,
            [none.clone(), none.clone(), none.clone(), one("1"), none, one("3"), all, one("6"), one("at")]
        );
        let many: String = (10..1010).map(|id| format!("INSERT INTO orders VALUES ({id}, 7);\n")).collect();
        assert_eq!(client.results(&many).await.0.len(), 1000);
        assert_eq!(client.results("SELECT id FROM orders WHERE n = 7").await.0[0].len(), 1000);
        // More than a packet holds, and a text of each kind for the servers.
        let long = format!(
            "SELECT LENGTH('{}'); SELECT n FROM orders WHERE id = 2; SELECT n FROM orders WHERE id < 3",
            "x".repeat(17 << 20)
        );
        let (mut found, fault) = client.results(&long).await;
        found[2].sort();
        assert_eq!(
            (found, fault),
            (vec![one(&(17 << 20).to_string()), one("2"), vec!["1".to_owned(), "2".to_owned()]], 0)
        );
    }
}

#[tokio::test]
async fn the_first_error_ends_the_chain_whoever_finds_it() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = raw(&proxy, &database).await;
        client.results("INSERT INTO orders VALUES (1, 1)").await;
        for (round, failing) in [
            "INSERT INTO orders VALUES (1, 1)",
            "SELECT nonsense FROM log",
            "SELECT nonsense FROM orders",
            "SELECT * FROM unlisted",
            "SELEC 1",
            "SELECT 'open",
            "USE nowhere",
            "SET no_such_variable = 1",
            "SET sql_mode = 'nonsense'",
            "ROLLBACK TO nothing",
            "KILL 4000000000",
            "SHARDWAY SHOW SHARDS",
            "",
        ]
        .iter()
        .enumerate()
        {
            let id = 100 + round;
            let sql = format!(
                "INSERT INTO orders VALUES ({id}, 1); SELECT n FROM orders WHERE id = {id}; {failing}; DELETE FROM orders"
            );
            let (found, fault) = client.results(&sql).await;
            assert_eq!((found.len(), fault == 0), (2, false), "{failing}");
            let kept = client.results(&format!("SELECT n FROM orders WHERE id = {id}")).await.0;
            assert_eq!(kept, [["1"]], "{failing}: what came before it was done, and nothing after");
        }
    }
}

#[tokio::test]
async fn a_transaction_may_begin_and_end_inside_of_a_packet() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let setup =
            Setup::new(cluster).database(&database).settings("[pool]\nidle_min = 0\nconnections_max = 1");
        let proxy = Proxy::start(&setup).await;
        let mut client = raw(&proxy, &database).await;
        let none: &[&str] = &[];
        for (sql, expected, fault) in [
            (
                "BEGIN; INSERT INTO orders VALUES (1, 1); UPDATE orders SET n = 5 WHERE id = 1; COMMIT",
                vec![none, none, none, none],
                0,
            ),
            ("BEGIN; UPDATE orders SET n = 6 WHERE id = 1; ROLLBACK", vec![none, none, none], 0),
            ("SELECT n FROM orders", vec![&["5"]], 0),
            // An error leaves it open, as on a server.
            (
                "BEGIN; UPDATE orders SET n = 7 WHERE id = 1; SELECT nonsense FROM orders WHERE id = 1; COMMIT",
                vec![none, none],
                1054,
            ),
            ("SELECT n FROM orders WHERE id = 1", vec![&["7"]], 0),
            ("ROLLBACK; SET @a = 4; SET time_zone = '+03:00'", vec![none, none, none], 0),
            ("SELECT n FROM orders WHERE id = 1; SELECT @a, @@time_zone", vec![&["5"], &["4|+03:00"]], 0),
        ] {
            let (found, error) = client.results(sql).await;
            let found: Vec<Vec<&str>> =
                found.iter().map(|rows| rows.iter().map(String::as_str).collect()).collect();
            assert_eq!((found, error), (expected.iter().map(|rows| rows.to_vec()).collect(), fault), "{sql}");
        }
        drop(client);
        let mut other = proxy.client(&database).await;
        assert_eq!(
            other.rows("SELECT @a FROM log UNION SELECT @a").await,
            ["NULL"],
            "no state is left behind"
        );
    }
}

#[tokio::test]
async fn kill_and_a_vanished_client_end_a_chain_between_its_statements() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut watcher = proxy.client(&database).await;
        let mut client = proxy.client(&database).await;
        let id = client.id();
        let running = tokio::spawn(async move {
            let outcome = client.results("SELECT SLEEP(300); INSERT INTO log (n) VALUES (1)").await;
            (client, outcome)
        });
        eventually("the statement is ended", async || {
            watcher.ok(format!("KILL QUERY {id}")).await;
            running.is_finished()
        })
        .await;
        let (mut client, _either) = running.await.unwrap();
        client.ok("SELECT 1").await;
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), MULTI_STATEMENTS).await;
        let chain = format!("{}INSERT INTO log (n) VALUES (2)", "SELECT SLEEP(0.01);".repeat(500));
        raw.command(3, chain.as_bytes()).await;
        raw.packet().await.unwrap();
        drop(raw);
        let mut operator = proxy.operator().await;
        eventually("the session ends", async || {
            !operator.ok("SHARDWAY SHOW SESSIONS").await.lines().iter().any(|line| line.contains("SLEEP"))
        })
        .await;
    }
}
