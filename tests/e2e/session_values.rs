//! What a session is told of itself and of its last statement, in every spelling and place, is what one plain server tells.

use mysql_async::prelude::Queryable;

use crate::support::{Client, Cluster, Database, Outcome, Plain, Proxy, Table, flavors};

fn tables() -> [Table; 3] {
    [
        Table::sharded("orders", "id", "(id INT PRIMARY KEY, n BIGINT)"),
        Table::single("log", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT)"),
        Table::single("far", 1, "(id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT)"),
    ]
}

struct Pair {
    database: Database,
    proxy: Proxy,
    through: Client,
    plain: Client,
}

impl Pair {
    async fn open(program: &shardway::internal::local::Installed) -> Pair {
        let cluster = Cluster::shared(program).await;
        let database = cluster.database(tables()).await;
        let server = Plain::shared(program).await;
        server.create(&database).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut through = proxy.client(&database).await;
        // An id that no row has.
        while through.id() < 57 {
            through = proxy.client(&database).await;
        }
        let plain = server.client(&database).await;
        Pair { database, proxy, through, plain }
    }

    /// Runs a statement on both sides and compares all that clients see.
    async fn same(&mut self, sql: &str) {
        let (ours, theirs) = (self.through.run(sql).await, self.plain.run(sql).await);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.columns, theirs.columns, "{sql}");
                let asks = ["connection_id", "pseudo_thread_id"]
                    .iter()
                    .any(|name| sql.to_lowercase().contains(name));
                let shown = |outcome: &Outcome, id: u32| -> Vec<String> {
                    let cell = |cell: &str| {
                        if asks && cell == id.to_string() { "ID".to_owned() } else { cell.to_owned() }
                    };
                    let line = |line: String| line.split('|').map(cell).collect::<Vec<_>>().join("|");
                    outcome.sorted().into_iter().map(line).collect()
                };
                let ids = (self.through.id(), self.plain.id());
                assert_eq!(shown(&ours, ids.0), shown(&theirs, ids.1), "{sql}");
                // New MySQL warns that FOUND_ROWS() will go; where the proxy answers nothing warns.
                let warnings =
                    |outcome: &Outcome| if sql.contains("FOUND_ROWS()") { 0 } else { outcome.warnings };
                assert_eq!(
                    (ours.affected, ours.last_insert_id, warnings(&ours)),
                    (theirs.affected, theirs.last_insert_id, warnings(&theirs)),
                    "{sql}"
                );
            }
            (Err(ours), Err(theirs)) => assert_eq!(ours.code, theirs.code, "{sql}: {}", ours.message),
            (ours, theirs) => panic!("{sql}\n  through the proxy: {ours:?}\n  plain: {theirs:?}"),
        }
    }

    async fn all(&mut self, statements: &[&str]) {
        for sql in statements {
            self.same(sql).await;
        }
    }
}

/// Ways to ask for the last generated id.
const SPELLINGS: [&str; 16] = [
    "SELECT LAST_INSERT_ID()",
    "select last_insert_id();",
    "SELECT LAST_INSERT_ID() AS id",
    "SELECT LAST_INSERT_ID() id FROM DUAL",
    "SELECT LAST_INSERT_ID( )",
    "SELECT /* which */ LAST_INSERT_ID()",
    "SELECT `LAST_INSERT_ID`()",
    "SELECT @@identity",
    "SELECT @@IDENTITY AS 'id'",
    "SELECT @@last_insert_id",
    "SELECT @@session.last_insert_id, @@local.identity",
    "SELECT LAST_INSERT_ID(), LAST_INSERT_ID() + 1 AS next, 'x'",
    "SELECT LAST_INSERT_ID() LIMIT 1",
    "SELECT * FROM (SELECT LAST_INSERT_ID()) d",
    "(SELECT LAST_INSERT_ID())",
    "SELECT IFNULL(NULL, LAST_INSERT_ID()) UNION SELECT LAST_INSERT_ID()",
];

#[tokio::test]
async fn the_last_generated_id_in_every_spelling() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        pair.all(&SPELLINGS).await;
        for change in [
            "INSERT INTO log (n) VALUES (1)",
            "INSERT INTO log (n) VALUES (1), (2), (3)",
            "INSERT INTO far (n) VALUES (1)",
            // Refused by the server: the id stays.
            "INSERT INTO log VALUES (1, 1)",
            "INSERT INTO log (id, n) VALUES (700, 1)",
            "INSERT INTO log (n) SELECT n FROM log WHERE id = 1",
            "UPDATE log SET n = LAST_INSERT_ID(n + 40) WHERE id = 1",
            "INSERT IGNORE INTO log (id, n) VALUES (1, 1)",
            "REPLACE INTO log (id, n) VALUES (NULL, 5)",
        ] {
            pair.same(change).await;
            pair.all(&SPELLINGS).await;
        }
        pair.all(&["SELECT LAST_INSERT_ID(9), LAST_INSERT_ID()", "SELECT LAST_INSERT_ID()"]).await;
    }
}

#[tokio::test]
async fn the_last_generated_id_in_writes_and_conditions() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        pair.all(&[
            "INSERT INTO log (n) VALUES (10)",
            "INSERT INTO far (n) VALUES (20), (30)",
            "INSERT INTO log (n) VALUES (LAST_INSERT_ID()), (LAST_INSERT_ID() + 5)",
            "SELECT * FROM log",
            "INSERT INTO orders VALUES (LAST_INSERT_ID(), 1)",
            "SELECT id, n, LAST_INSERT_ID() FROM orders WHERE id = LAST_INSERT_ID()",
            "UPDATE orders SET n = LAST_INSERT_ID() WHERE id = LAST_INSERT_ID()",
            "SELECT * FROM orders",
            "SELECT id FROM log WHERE id = LAST_INSERT_ID() ORDER BY LAST_INSERT_ID()",
            "DELETE FROM log WHERE id = @@identity",
            "SELECT id, LAST_INSERT_ID() AS last FROM orders",
            "INSERT INTO log (n) SELECT LAST_INSERT_ID()",
            "SELECT * FROM log",
            "DO LAST_INSERT_ID()",
        ])
        .await;
    }
}

#[tokio::test]
async fn counts_and_ids_within_expressions_and_beside_columns() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        pair.all(&[
            "INSERT INTO orders VALUES (1, 10)",
            "INSERT INTO orders VALUES (2, 20)",
            "INSERT INTO log (n) VALUES (1), (2), (3), (4)",
            "SELECT CONNECTION_ID(), id FROM orders WHERE id = 1",
            "SELECT CONNECTION_ID() AS me, n FROM orders",
            "SELECT connection_id ( )\t+\t0, -CONNECTION_ID() < 0",
            "SELECT @@pseudo_thread_id = CONNECTION_ID(), @@session.pseudo_thread_id",
            "UPDATE log SET n = 5",
            "SELECT ROW_COUNT() - 1, ROW_COUNT() * 2 AS twice",
            "SELECT ROW_COUNT()",
            "UPDATE log SET n = 6",
            "INSERT INTO log (n) VALUES (ROW_COUNT())",
            "SELECT n FROM log WHERE id > 4",
            "SELECT FOUND_ROWS() + 1",
            "SELECT SQL_CALC_FOUND_ROWS n FROM log LIMIT 2",
            "SELECT FOUND_ROWS(), 1 - FOUND_ROWS() AS fewer",
            "SELECT SQL_CALC_FOUND_ROWS n FROM log LIMIT 1",
            "SELECT FOUND_ROWS()",
            "SELECT n FROM log",
            "SELECT IF(FOUND_ROWS() > 3, 'many', 'few') AS how",
            "SELECT COUNT(*) FROM log WHERE n < CONNECTION_ID() * 0",
            "DELETE FROM orders WHERE id = ROW_COUNT()",
            "SELECT 1 FROM log GROUP BY CONNECTION_ID(), id",
            "SET @changed = ROW_COUNT(), @last = LAST_INSERT_ID()",
            "SELECT @changed, @last",
        ])
        .await;
        // The id is the proxy's, whichever server answers.
        let id = pair.through.id().to_string();
        for sql in
            ["SELECT CONNECTION_ID() FROM far", "SELECT CONNECTION_ID() + 0", "SELECT @@pseudo_thread_id"]
        {
            let rows = pair.through.rows(sql).await;
            assert!(rows.iter().all(|row| *row == id), "{sql}: {rows:?}");
        }
    }
}

#[tokio::test]
async fn the_user_is_the_clients_and_the_names_of_definitions_stay() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for sql in ["SELECT USER()", "SELECT SESSION_USER() AS u", "SELECT CONCAT(SYSTEM_USER()) FROM DUAL"] {
            assert_eq!(pair.through.rows(sql).await, ["app@127.0.0.1"], "{sql}");
        }
        assert_eq!(pair.through.ok("SELECT USER()").await.columns, ["USER()"]);
        pair.all(&[
            "SELECT SUBSTRING_INDEX(USER(), '@', 1) AS name, DATABASE() = SCHEMA(), CURRENT_USER()",
            "SELECT DATABASE(), SCHEMA()",
            "SELECT VERSION() = @@version",
        ])
        .await;
        // A view keeps the question.
        pair.through.ok(format!("USE `{}:shard1`", pair.database.name)).await;
        pair.through
            .ok("CREATE VIEW mine AS SELECT CONNECTION_ID() AS id, LAST_INSERT_ID() AS l FROM log")
            .await;
        let shown = pair.through.rows("SHOW CREATE VIEW mine").await;
        assert!(shown[0].to_lowercase().contains("connection_id()"), "{shown:?}");
        let mut other = pair.proxy.client(&pair.database).await;
        other.ok("SELECT 1").await;
    }
}

#[tokio::test]
async fn warnings_of_several_shards_are_shown_together() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for id in 1..=6 {
            pair.same(&format!("INSERT INTO orders VALUES ({id}, {id})")).await;
        }
        pair.all(&["SELECT UNHEX(CONCAT('x', n)) FROM orders", "SHOW COUNT(*) WARNINGS"]).await;
        let counted = ["SELECT CAST(CONCAT(n, 'x') AS SIGNED) FROM orders", "SHOW COUNT(*) WARNINGS"];
        pair.all(&counted).await;
        for ask in [
            "SHOW WARNINGS",
            "SHOW WARNINGS LIMIT 2, 100",
            "SHOW ERRORS",
            "SELECT @@warning_count, @@error_count",
        ] {
            pair.same(counted[0]).await;
            pair.same(ask).await;
        }
        pair.same(counted[0]).await;
        assert_eq!(pair.through.rows("SHOW WARNINGS LIMIT 4").await.len(), 4);
        pair.all(&["SELECT id FROM orders", "SHOW WARNINGS", "SELECT @@warning_count"]).await;
        // Which row of the statement it was is told by each server for its own rows.
        for write in [
            "INSERT IGNORE INTO orders VALUES (11, '1x'), (12, '2x'), (13, '3x'), (14, '4x')",
            "UPDATE IGNORE orders SET n = CONCAT(id, 'x')",
        ] {
            pair.same(write).await;
            let codes = |rows: Vec<String>| -> Vec<String> {
                rows.iter().map(|row| row.split('|').take(2).collect::<Vec<_>>().join("|")).collect()
            };
            let (ours, theirs) =
                (pair.through.rows("SHOW WARNINGS").await, pair.plain.rows("SHOW WARNINGS").await);
            assert_eq!(codes(ours), codes(theirs), "{write}");
        }
        pair.all(&["CREATE TABLE IF NOT EXISTS orders (id INT PRIMARY KEY)", "SHOW WARNINGS"]).await;
    }
}

/// Name, type, flags, character set and decimals of the columns of a result.
async fn columns(client: &mut Client, sql: &str) -> Vec<String> {
    let mut result = client.inner().query_iter(sql).await.unwrap();
    let shown = |column: &mysql_async::Column| {
        let (kind, flags) = (column.column_type(), column.flags());
        format!("{} {kind:?} {flags:?} {} {}", column.name_str(), column.character_set(), column.decimals())
    };
    let columns = result.columns_ref().iter().map(shown).collect();
    result.collect::<mysql_async::Row>().await.unwrap();
    columns
}

#[tokio::test]
async fn a_variable_with_a_constant_is_the_same_on_every_shard() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for id in 1..=6 {
            pair.same(&format!("INSERT INTO orders VALUES ({id}, {id})")).await;
        }
        let mut operator = pair.proxy.operator().await;
        for names in ["utf8mb4", "latin1", "utf8mb4 COLLATE utf8mb4_bin"] {
            pair.same(&format!("SET NAMES {names}")).await;
            for literal in [
                "1",
                "-1",
                "+7",
                "18446744073709551615",
                "1.50",
                "-0.0",
                ".5",
                "1e10",
                "1.5E-3",
                "0x41",
                "x'4142'",
                "b'101'",
                "TRUE",
                "false",
                "'abc'",
                "'it''s'",
                "'\\\\'",
                "\"double\"",
                "_latin1'abc'",
                "N'abc'",
                "''",
                "NULL",
                "'3x'",
            ] {
                pair.same(&format!("SET @v = {literal}, @`other` = 4, @third := {literal}")).await;
                assert!(operator.rows("SHARDWAY SHOW PINS").await.is_empty(), "{literal}");
                for read in [
                    "SELECT @v, HEX(@v), CHARSET(@v), COLLATION(@v), COERCIBILITY(@v), @V = @third, @other + 1",
                    "SELECT id, @v FROM orders WHERE id = 1",
                    "SELECT id, @v, COLLATION(@v) FROM orders WHERE id = 5",
                    "SELECT id, @v FROM orders WHERE n > @other",
                    "SELECT @v IS NULL, @never FROM far",
                ] {
                    pair.same(read).await;
                }
                if literal != "NULL" && !names.contains("COLLATE") {
                    let typed = "SELECT @v FROM orders WHERE id IN (1, 2, 3, 4)";
                    assert_eq!(
                        columns(&mut pair.through, typed).await,
                        columns(&mut pair.plain, typed).await,
                        "{literal}"
                    );
                }
                pair.same("UPDATE orders SET n = id + 0 * LENGTH(@v) WHERE id = @other").await;
                pair.same("UPDATE orders SET n = id").await;
            }
        }
        // What is computed is computed once and read back with its type.
        pair.same("SET NAMES utf8mb4").await;
        for expression in [
            "1 + 1",
            "CAST(7 AS UNSIGNED) + 0",
            "7 / 2",
            "CAST(7 AS DECIMAL)",
            "SQRT(2)",
            "1e300 * 1e5",
            "-1 * 0e0",
            "CONCAT('a', 'é')",
            "UPPER(_latin1'abc')",
            "'a' COLLATE utf8mb4_bin",
            "UNHEX('00ff27')",
            "IF(1, NULL, 1)",
            "DATE'2020-02-29'",
            "@@sql_mode",
            "@@autocommit",
            "@@character_set_client",
            "REPEAT('x', 3000)",
            "@other",
            "MAKETIME(-10, 0, 1)",
            "JSON_OBJECT('a', 1)",
            "18446744073709551615 - 1",
            "(SELECT n FROM orders WHERE id = 5)",
        ] {
            pair.same(&format!("SET @v = {expression}, @w = @v")).await;
            assert!(operator.rows("SHARDWAY SHOW PINS").await.is_empty(), "{expression}");
            for read in [
                "SELECT HEX(@v), CHARSET(@v), COLLATION(@v), @w <=> @v, @v",
                "SELECT id, @v FROM orders WHERE n > 2",
            ] {
                pair.same(read).await;
            }
            if expression != "IF(1, NULL, 1)" {
                let typed = "SELECT @v FROM orders WHERE id IN (1, 2, 3, 4)";
                let (ours, theirs) =
                    (columns(&mut pair.through, typed).await, columns(&mut pair.plain, typed).await);
                assert_eq!(ours, theirs, "{expression}");
            }
        }
        // What is too long to follow stays where it was computed, and says so.
        pair.same("SET @v = REPEAT('x', 10000)").await;
        assert_eq!(operator.rows("SHARDWAY SHOW PINS").await.len(), 1);
        pair.same("SELECT LENGTH(@v)").await;
        pair.same("SET @v = 2").await;
        assert!(operator.rows("SHARDWAY SHOW PINS").await.is_empty());
        pair.same("SELECT id, @v FROM orders WHERE n >= @v").await;
    }
}
