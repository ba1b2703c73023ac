//! Statements that every tool sends, on a database whose tables are on different shards: as one server, or by the rule of
//! `docs/statements.md`.

use crate::support::{Client, Cluster, Database, Plain, Proxy, Table, flavors};

struct Pair {
    database: Database,
    proxy: Proxy,
    through: Client,
    plain: Client,
}

impl Pair {
    async fn open(program: &shardway::internal::local::Installed) -> Pair {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([
                Table::sharded("orders", "id", "(id INT PRIMARY KEY, n BIGINT, KEY by_n (n))"),
                Table::reference("countries", "(code CHAR(2) PRIMARY KEY)"),
                Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT)"),
                Table::single("far", 1, "(id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT)"),
            ])
            .await;
        let server = Plain::shared(program).await;
        server.create(&database).await;
        // What is left of an earlier life: the map has it on the other shard.
        let stray = format!("CREATE TABLE `{}`.log (old INT)", database.name);
        cluster.primary(1).run(&[stray]).await.unwrap();
        let proxy = Proxy::over(cluster, &database).await;
        let (through, plain) = (proxy.client(&database).await, server.client(&database).await);
        Pair { database, proxy, through, plain }
    }

    async fn same(&mut self, sql: &str) {
        let (ours, theirs) = (self.through.run(sql).await, self.plain.run(sql).await);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.columns, theirs.columns, "{sql}");
                assert_eq!(ours.lines(), theirs.lines(), "{sql}");
            }
            (Err(ours), Err(theirs)) => assert_eq!(ours.code, theirs.code, "{sql}: {}", ours.message),
            (ours, theirs) => panic!("{sql}\n  through the proxy: {ours:?}\n  plain: {theirs:?}"),
        }
    }
}

#[tokio::test]
async fn tables_of_several_shards_are_listed_as_those_of_one_server() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        let name = pair.database.name.clone();
        for begin in ["SET autocommit = 1", "BEGIN", "SET autocommit = 0"] {
            pair.same(begin).await;
            for sql in [
                "SHOW TABLES".to_owned(),
                "SHOW FULL TABLES".to_owned(),
                format!("SHOW TABLES FROM `{name}` LIKE '%o%'"),
                format!("SHOW FULL TABLES IN {name} WHERE Table_type = 'BASE TABLE'"),
                "SHOW TABLES LIKE 'nothing'".to_owned(),
                "SHOW COLUMNS FROM log".to_owned(),
                "DESCRIBE far".to_owned(),
                "SHOW CREATE TABLE orders".to_owned(),
                "SHOW INDEX FROM orders".to_owned(),
                "SHOW TRIGGERS".to_owned(),
                "SHOW TABLES FROM nowhere".to_owned(),
            ] {
                pair.same(&sql).await;
            }
            pair.same("ROLLBACK").await;
        }
        let names = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.split('|').next().unwrap().to_owned()).collect()
        };
        let (ours, theirs) =
            (pair.through.rows("SHOW TABLE STATUS").await, pair.plain.rows("SHOW TABLE STATUS").await);
        assert_eq!(names(ours), names(theirs));
        // No transaction was begun for them.
        pair.through.ok("SET autocommit = 0").await;
        pair.through.ok("SHOW TABLES").await;
        pair.through.ok("INSERT INTO far (n) VALUES (1)").await;
        pair.through.ok("ROLLBACK").await;
    }
}

#[tokio::test]
async fn maintenance_runs_wherever_a_table_is_and_says_what_one_server_says() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for id in 1..=8 {
            pair.same(&format!("INSERT INTO orders VALUES ({id}, {id})")).await;
        }
        for sql in [
            "ANALYZE TABLE orders",
            "CHECK TABLE orders, countries",
            "OPTIMIZE TABLE countries",
            "REPAIR TABLE orders",
            "CHECK TABLE log",
            "CHECKSUM TABLE countries",
            "ANALYZE LOCAL TABLE far",
        ] {
            pair.same(sql).await;
        }
        // It commits, as on one server.
        for sql in ["BEGIN", "DELETE FROM orders WHERE id = 1", "ANALYZE TABLE orders", "ROLLBACK"] {
            pair.same(sql).await;
        }
        pair.same("SELECT COUNT(*) FROM orders WHERE id = 1").await;
        let fault = pair.through.refused("CHECKSUM TABLE orders").await;
        assert!(fault.message.starts_with("SW1215"), "{}", fault.message);
        let fault = pair.through.refused("CHECK TABLE orders, far").await;
        assert!(fault.message.starts_with("SW1215"), "{}", fault.message);
    }
}

#[tokio::test]
async fn explain_is_that_of_one_shard() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for sql in
            ["EXPLAIN SELECT * FROM orders", "EXPLAIN SELECT * FROM orders WHERE id = 3", "EXPLAIN far"]
        {
            assert!(!pair.through.rows(sql).await.is_empty(), "{sql}");
        }
    }
}

#[tokio::test]
async fn prepared_statements_in_sql_run_where_they_were_prepared() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for sql in [
            "PREPARE s FROM 'SELECT ? + 1 AS n'",
            "SET @one = 1",
            "EXECUTE s USING @one",
            "DEALLOCATE PREPARE s",
            "EXECUTE s USING @one",
            "PREPARE s FROM 'INSERT INTO far (n) VALUES (?)'",
            "BEGIN",
            "EXECUTE s USING @one",
            "SELECT n FROM far",
            "ROLLBACK",
            "SELECT n FROM far",
            "EXECUTE s USING @one",
            "DROP PREPARE s",
            "SELECT n FROM far",
        ] {
            pair.same(sql).await;
        }
        for sql in [
            "PREPARE s FROM 'SELECT * FROM orders WHERE id = ?'",
            "PREPARE s FROM 'DELETE FROM orders'",
            "PREPARE s FROM @one",
        ] {
            let fault = pair.through.refused(sql).await;
            assert!(fault.message.starts_with("SW1215"), "{sql}: {}", fault.message);
        }
        // While one is pinned to a shard, the other shard is out of reach, and says why.
        pair.through.ok("PREPARE s FROM 'SELECT n FROM far'").await;
        let fault = pair.through.refused("SELECT n FROM log").await;
        assert!(fault.message.starts_with("SW1303"), "{}", fault.message);
        pair.through.ok("DEALLOCATE PREPARE s").await;
        pair.through.ok("SELECT n FROM log").await;
        let mut other = pair.proxy.client(&pair.database).await;
        other.ok("SELECT n FROM log").await;
    }
}

#[tokio::test]
async fn every_form_of_set_is_followed_or_refused_as_documented() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        let state = "SELECT @@sql_mode, @@time_zone, @@autocommit, @@sort_buffer_size, @@character_set_client, \
                     @@character_set_results, @@collation_connection, @@unique_checks, @@foreign_key_checks";
        for set in [
            "SET SESSION sql_mode = 'ANSI_QUOTES', @@session.time_zone = '+02:00', LOCAL unique_checks = 0",
            "SET @@sort_buffer_size := 1048576",
            "SET @@local.foreign_key_checks = OFF, @x = 5",
            "SET sql_mode = DEFAULT, time_zone = DEFAULT",
            "SET sort_buffer_size = 1024 * 1024 * 2",
            "SET unique_checks = @@foreign_key_checks",
            "SET NAMES 'latin1' COLLATE 'latin1_german1_ci'",
            "SET CHARACTER SET utf8mb4",
            "SET CHARSET DEFAULT",
            "SET NAMES utf8mb4",
            "SET nonsense = 1",
            "SET @@session.nonsense = 1",
            "SET autocommit = 0, sql_mode = 'nonsense'",
            "SET autocommit = 0, time_zone = '+01:00'",
            "SET autocommit = DEFAULT",
            "/*!40101 SET @OLD_SQL_MODE = @@SQL_MODE, SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO' */",
            "/*!40101 SET SQL_MODE = @OLD_SQL_MODE */",
            "SET completion_type = CHAIN",
            "SET completion_type = 0",
        ] {
            pair.same(set).await;
            pair.same(state).await;
            // The same on whichever shard: the state goes along.
            if pair.through.run("SELECT n FROM far").await.is_ok() {
                pair.through.ok("ROLLBACK").await;
                pair.same(state).await;
            }
        }
        for (set, id) in [
            ("SET GLOBAL max_connections = 10", "SW1215"),
            ("SET PERSIST max_connections = 10", "SW1215"),
            ("SET @@global.max_connections = 10", "SW1215"),
            ("SET PASSWORD = 'x'", "SW1215"),
            ("SET ROLE NONE", "SW1306"),
            ("SET completion_type = RELEASE", "SW1215"),
            ("SET completion_type = 2", "SW1215"),
        ] {
            let fault = pair.through.refused(set).await;
            assert!(fault.message.starts_with(id), "{set}: {}", fault.message);
        }
    }
}

#[tokio::test]
async fn a_consistent_snapshot_is_taken_at_once_on_every_shard() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for id in 1..=8 {
            pair.through.ok(format!("INSERT INTO orders VALUES ({id}, 0)")).await;
        }
        pair.through.ok("START TRANSACTION WITH CONSISTENT SNAPSHOT").await;
        let mut other = pair.proxy.client(&pair.database).await;
        other.ok("UPDATE orders SET n = 1").await;
        other.ok("INSERT INTO far (n) VALUES (1)").await;
        assert_eq!(pair.through.rows("SELECT n FROM orders").await, ["0"; 8]);
        assert!(pair.through.rows("SELECT n FROM far").await.is_empty());
        pair.through.ok("COMMIT").await;
        assert_eq!(pair.through.rows("SELECT n FROM orders").await, ["1"; 8]);
    }
}
