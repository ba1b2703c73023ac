//! Sessions behave as on one server in what only a second session, a later statement or a lost connection shows.

use crate::support::{Access, Client, Cluster, Database, Proxy, Raw, Setup, Table, eventually, flavors};

const IN_TRANSACTION: u16 = 1;

async fn shop(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded("orders", "id", "(id INT PRIMARY KEY, n INT)"),
            Table::sharded("numbered", "id", "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
            Table::sharded("parts", "of", "(id INT AUTO_INCREMENT PRIMARY KEY, `of` INT, n INT)"),
            Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
            Table::single("far", 1, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
        ])
        .await
}

struct Shop {
    database: Database,
    proxy: Proxy,
    client: Client,
}

impl Shop {
    async fn open(program: &shardway::internal::local::Installed, settings: &str) -> Shop {
        let cluster = Cluster::shared(program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(settings)).await;
        let mut client = proxy.client(&database).await;
        for id in 1..=8 {
            client.ok(format!("INSERT INTO orders VALUES ({id}, {id})")).await;
        }
        Shop { database, proxy, client }
    }

    async fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            self.client.ok(sql).await;
        }
    }

    async fn one(&mut self, sql: &str) -> String {
        self.client.one(sql).await.unwrap_or_else(|| "NULL".to_owned())
    }
}

#[tokio::test]
async fn what_was_set_for_the_next_transaction_does_not_reach_other_sessions() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "[pool]\nidle_min = 0\nconnections_max = 1").await;
        for first in ["SELECT nonsense FROM log", "SELECT nonsense FROM far", "SELECT 1 FROM log WHERE 1 = 0"]
        {
            shop.run(&["SET TRANSACTION READ ONLY"]).await;
            let _either = shop.client.run(first).await;
            let mut other = shop.proxy.client(&shop.database).await;
            shop.run(&["DO 0"]).await;
            other.ok("INSERT INTO log (n) VALUES (1)").await;
            other.ok("INSERT INTO far (n) VALUES (1)").await;
        }
    }
}

#[tokio::test]
async fn a_savepoint_may_be_the_first_statement_without_autocommit() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        shop.run(&["SET autocommit = 0", "SAVEPOINT a", "UPDATE orders SET n = 10 WHERE id = 2"]).await;
        shop.run(&["RELEASE SAVEPOINT a", "COMMIT"]).await;
        shop.run(&["SAVEPOINT a", "UPDATE orders SET n = 20 WHERE id = 2", "ROLLBACK TO a", "COMMIT"]).await;
        assert_eq!(shop.one("SELECT n FROM orders WHERE id = 2").await, "10");
    }
}

#[tokio::test]
async fn switching_autocommit_on_ends_a_transaction_without_statements() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        shop.run(&["SET autocommit = 0", "BEGIN", "SET autocommit = 1"]).await;
        shop.run(&["UPDATE orders SET n = 30 WHERE id = 2", "ROLLBACK"]).await;
        assert_eq!(shop.one("SELECT n FROM orders WHERE id = 2").await, "30");
    }
}

#[tokio::test]
async fn locks_by_name_exclude_each_other_whatever_shard_a_session_is_on() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        let mut others = Vec::new();
        for _ in 0..3 {
            others.push(shop.proxy.client(&shop.database).await);
        }
        assert_eq!(shop.one("SELECT GET_LOCK('job', 0)").await, "1");
        for other in &mut others {
            assert_eq!(other.one("SELECT GET_LOCK('job', 0)").await.as_deref(), Some("0"));
            other.ok("SET @got = GET_LOCK('job', 0)").await;
            assert_eq!(other.one("SELECT @got").await.as_deref(), Some("0"));
        }
        for id in 1..=4 {
            shop.run(&["BEGIN", &format!("UPDATE orders SET n = 0 WHERE id = {id}")]).await;
            assert_eq!(shop.one("SELECT GET_LOCK('job', 0)").await, "1");
            assert_eq!(shop.one("SELECT RELEASE_LOCK('job')").await, "1");
            assert_eq!(shop.one(&format!("SELECT n FROM orders WHERE id = {id}")).await, "0");
            shop.run(&["ROLLBACK"]).await;
            assert_eq!(shop.one(&format!("SELECT n FROM orders WHERE id = {id}")).await, id.to_string());
        }
        assert_eq!(shop.one("SELECT RELEASE_LOCK('job')").await, "1");
        shop.run(&["DO GET_LOCK('job', 0)"]).await;
        assert_eq!(others[0].one("SELECT IS_FREE_LOCK('job')").await.as_deref(), Some("0"));
        // A variable that is gone is not a reason to reset the connection that has the lock.
        shop.run(&[
            "SET sql_mode = 'ANSI'",
            "BEGIN",
            "UPDATE orders SET n = 0 WHERE id = 1",
            "SET sql_mode = DEFAULT",
        ])
        .await;
        shop.run(&["SELECT n FROM orders WHERE id = 1", "ROLLBACK"]).await;
        assert_eq!(others[0].one("SELECT IS_FREE_LOCK('job')").await.as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn values_of_set_are_read_where_their_tables_are() {
    for program in flavors() {
        let shop = Shop::open(&program, "").await;
        for id in 1..=8 {
            let mut client = shop.proxy.client(&shop.database).await;
            client.ok(format!("SET @n = (SELECT n FROM orders WHERE id = {id})")).await;
            assert_eq!(client.one("SELECT @n").await, Some(id.to_string()));
        }
        let mut client = shop.proxy.client(&shop.database).await;
        let fault = client.refused("SET @n = (SELECT COUNT(*) FROM orders)").await;
        assert!(fault.message.starts_with("SW1202"), "{}", fault.message);
        let fault = client.refused("SET @n = total_of(1)").await;
        assert!(fault.message.starts_with("SW1220"), "{}", fault.message);
        client.ok("UPDATE orders SET n = n + 10").await;
        client.ok("SET @changed = ROW_COUNT(), @me = CONNECTION_ID()").await;
        assert_eq!(client.one("SELECT @changed").await.as_deref(), Some("8"));
        assert_eq!(client.one("SELECT @me").await, Some(client.id().to_string()));
        client.ok("SET @n = CONCAT('a', UPPER('b')), @m = GREATEST(1, 2)").await;
        let mut client = shop.proxy.client(&shop.database).await;
        for far in ["log", "far"] {
            client.ok(format!("INSERT INTO {far} (n) VALUES (1), (2)")).await;
            let id = client.one("SELECT LAST_INSERT_ID()").await;
            let mut other = shop.proxy.client(&shop.database).await;
            other.ok(format!("INSERT INTO {far} (n) VALUES (1)")).await;
            other.ok("SET @id = LAST_INSERT_ID()").await;
            assert_eq!(other.one("SELECT @id = LAST_INSERT_ID()").await.as_deref(), Some("1"));
            assert_ne!(other.one("SELECT @id").await, id);
        }
    }
}

#[tokio::test]
async fn last_insert_id_tells_of_generated_ids_alone() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        shop.run(&["INSERT INTO log (n) VALUES (1)"]).await;
        let generated = shop.one("SELECT LAST_INSERT_ID()").await;
        assert_ne!(generated, "0");
        for given in [
            "INSERT INTO log (id, n) VALUES (500, 1)",
            "INSERT INTO log VALUES (501, 1)",
            "REPLACE INTO log SET id = 502, n = 1",
            "INSERT INTO numbered VALUES (5, 1)",
            "INSERT INTO numbered (id) VALUES (15), (16), (17), (18)",
        ] {
            shop.run(&[given]).await;
            assert_eq!(shop.one("SELECT LAST_INSERT_ID()").await, generated, "{given}");
            assert_eq!(shop.one("SELECT @@last_insert_id").await, generated, "{given}");
        }
        shop.run(&["INSERT INTO log VALUES (NULL, 1)"]).await;
        assert_eq!(shop.one("SELECT LAST_INSERT_ID()").await, "503");
        shop.run(&["INSERT INTO log VALUES (503, 1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), n = 9"])
            .await;
        assert_eq!(shop.one("SELECT LAST_INSERT_ID()").await, "503");
        shop.run(&["UPDATE log SET n = LAST_INSERT_ID(n + 30) WHERE id = 503"]).await;
        assert_eq!(shop.one("SELECT LAST_INSERT_ID()").await, "39");
        shop.run(&["SELECT LAST_INSERT_ID(77)"]).await;
        assert_eq!(shop.one("SELECT LAST_INSERT_ID()").await, "77");
        shop.run(&["INSERT INTO parts (`of`, n) VALUES (1, 1), (2, 2), (3, 3), (4, 4)"]).await;
        assert_ne!(shop.one("SELECT LAST_INSERT_ID()").await, "77");
    }
}

#[tokio::test]
async fn counts_are_about_the_statement_before() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        shop.run(&["UPDATE orders SET n = n + 1"]).await;
        assert_eq!(shop.one("SELECT ROW_COUNT()").await, "8");
        assert_eq!(shop.one("SELECT ROW_COUNT()").await, "-1");
        shop.run(&["UPDATE orders SET n = n + 1", "BEGIN"]).await;
        assert_eq!(shop.one("SELECT ROW_COUNT()").await, "0");
        shop.run(&["COMMIT", "SELECT id FROM orders"]).await;
        assert_eq!(shop.one("SELECT FOUND_ROWS()").await, "8");
        assert_eq!(shop.one("SELECT FOUND_ROWS()").await, "1");
    }
}

#[tokio::test]
async fn a_limit_of_the_session_is_not_one_for_each_shard() {
    for program in flavors() {
        let mut shop = Shop::open(&program, "").await;
        shop.run(&["SET sql_select_limit = 1", "SELECT n FROM orders WHERE id = 1"]).await;
        let fault = shop.client.refused("SELECT n FROM orders").await;
        assert!(fault.message.contains("sql_select_limit"), "{}", fault.message);
        for unlimited in ["DEFAULT", "18446744073709551615"] {
            shop.run(&[&format!("SET sql_select_limit = {unlimited}")]).await;
            assert_eq!(shop.client.rows("SELECT n FROM orders").await.len(), 8);
        }
    }
}

/// The status flags at the end of a text result without DEPRECATE_EOF.
async fn status_of(raw: &mut Raw, sql: &str) -> u16 {
    let first = raw.query(sql).await;
    if first[0] == 0 {
        return u16::from_le_bytes([first[3], first[4]]);
    }
    let mut ends = 0;
    loop {
        let packet = raw.packet().await.unwrap().1;
        assert_ne!(packet[0], 0xff, "{sql}: {}", String::from_utf8_lossy(&packet));
        if packet[0] == 0xfe && packet.len() == 5 {
            ends += 1;
            if ends == 2 {
                return u16::from_le_bytes([packet[3], packet[4]]);
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_shows_in_every_answer_from_its_begin_on() {
    for program in flavors() {
        let shop = Shop::open(&program, "").await;
        let database = Some(shop.database.name.as_str());
        let mut raw = Raw::login(shop.proxy.mysql, "app", "app-secret", database, 0).await;
        for sql in [
            "BEGIN",
            "SELECT 1",
            "SELECT NOW(), @@autocommit",
            "SELECT n FROM orders WHERE id = 1",
            "SELECT 2",
        ] {
            assert_eq!(status_of(&mut raw, sql).await & IN_TRANSACTION, IN_TRANSACTION, "{sql}");
        }
        for sql in ["COMMIT", "SELECT 1", "SELECT n FROM orders"] {
            assert_eq!(status_of(&mut raw, sql).await & IN_TRANSACTION, 0, "{sql}");
        }
        assert_eq!(raw.query("BEGIN").await[0], 0);
        assert_eq!(raw.query("SELECT nonsense").await[0], 0xff);
        assert_eq!(raw.query("SELECT 1 INTO @x").await[0], 0);
        assert_eq!(raw.query("COMMIT").await[0], 0);
    }
}

#[tokio::test]
async fn what_follows_in_a_lost_transaction_is_refused_until_it_ends() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let mut shop = Shop::open(&program, "").await;
        for end in ["ROLLBACK", "BEGIN", "COMMIT"] {
            for start in ["BEGIN", "SET autocommit = 0"] {
                shop.run(&["SET autocommit = 1", start, "UPDATE log SET n = 1 WHERE id = 1"]).await;
                shop.run(&["INSERT INTO log (n) VALUES (1)"]).await;
                let list = format!(
                    "SELECT GROUP_CONCAT(ID) FROM information_schema.PROCESSLIST WHERE DB = '{}'",
                    shop.database.name
                );
                let threads = cluster.primary(0).ask(&list).await.unwrap().unwrap_or_default();
                for id in threads.split(',') {
                    let _gone = cluster.primary(0).run(&[format!("KILL {id}")]).await;
                }
                let fault = shop.client.refused("INSERT INTO log (n) VALUES (2)").await;
                assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
                let fault = shop.client.refused("INSERT INTO log (n) VALUES (3)").await;
                assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
                let fault = shop.client.refused("INSERT INTO far (n) VALUES (3)").await;
                assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
                let ended = shop.client.run(end).await;
                assert_eq!(ended.is_ok(), end != "COMMIT", "{end}: {ended:?}");
                shop.run(&["ROLLBACK", "SET autocommit = 1"]).await;
                assert_eq!(shop.one("SELECT COUNT(*) FROM log").await, "0");
                assert_eq!(shop.one("SELECT COUNT(*) FROM far").await, "0");
            }
        }
        // A statement that is stopped takes its transaction with it.
        shop.run(&["BEGIN", "INSERT INTO log (n) VALUES (1)"]).await;
        let fault = shop.client.refused("/* shardway: timeout=50ms */ SELECT SLEEP(30) FROM log").await;
        assert_eq!(fault.code, 3024, "{}", fault.message);
        let fault = shop.client.refused("INSERT INTO far (n) VALUES (1)").await;
        assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
        shop.run(&["ROLLBACK"]).await;
        assert_eq!(shop.one("SELECT COUNT(*) FROM far").await, "0");
    }
}

#[tokio::test]
async fn a_set_that_takes_its_time_can_be_stopped() {
    for program in flavors() {
        let shop = Shop::open(&program, "").await;
        let mut client = shop.proxy.client(&shop.database).await;
        let id = client.id();
        let waiting = tokio::spawn(async move { client.run("SET @x = SLEEP(300)").await });
        let mut operator = shop.proxy.operator().await;
        eventually("SET runs", async || {
            let sessions = operator.ok("SHARDWAY SHOW SESSIONS").await.lines();
            sessions.iter().any(|line| line.contains("SLEEP"))
        })
        .await;
        operator.ok(format!("SHARDWAY KILL QUERY {id}")).await;
        let fault = waiting.await.unwrap().unwrap_err();
        assert_eq!(fault.code, 1317, "{}", fault.message);
    }
}

#[tokio::test]
async fn commit_release_ends_the_session_and_not_the_shared_connection() {
    for program in flavors() {
        let shop = Shop::open(&program, "[pool]\nidle_min = 0\nconnections_max = 1").await;
        for end in ["COMMIT RELEASE", "ROLLBACK RELEASE", "COMMIT AND NO CHAIN RELEASE"] {
            let mut client = shop.proxy.client(&shop.database).await;
            for sql in ["BEGIN", "INSERT INTO log (n) VALUES (1)", end] {
                client.ok(sql).await;
            }
            assert!(client.run("SELECT 1").await.is_err(), "{end}");
            let mut other = shop.proxy.client(&shop.database).await;
            other.ok("INSERT INTO log (n) VALUES (2)").await;
        }
        let mut other = shop.proxy.client(&shop.database).await;
        assert_eq!(other.one("SELECT COUNT(*) FROM log").await.as_deref(), Some("5"));
    }
}

#[tokio::test]
async fn a_database_that_a_user_may_not_name_cannot_be_named_in_front_of_a_table() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let (own, other) = (shop(cluster).await, shop(cluster).await);
        let narrow = format!(
            "[[user]]\nname = \"narrow\"\npassword = \"narrow-secret\"\nserver_user = \"app\"\nserver_password = \"app-secret\"\n\
             databases = [\"{}\"]",
            own.name
        );
        let proxy =
            Proxy::start(&Setup::new(cluster).database(&own).database(&other).settings(&narrow)).await;
        let access = Access::new(proxy.mysql, "narrow", "narrow-secret").database(&own.name);
        let mut client = Client::connect(&access).await;
        client.ok(format!("SELECT n FROM {}.orders WHERE id = 1", own.name)).await;
        for sql in [
            format!("SELECT n FROM {}.orders WHERE id = 1", other.name),
            format!("SELECT o.n FROM orders o JOIN {}.orders p ON p.id = o.id WHERE o.id = 1", other.name),
            format!("INSERT INTO {}.log (n) VALUES (1)", other.name),
            format!("SET @n = (SELECT n FROM {}.orders WHERE id = 1)", other.name),
            format!("DROP TABLE {}.log", other.name),
        ] {
            let fault = client.refused(&sql).await;
            assert_eq!(fault.code, 1044, "{sql}: {}", fault.message);
        }
    }
}
