//! A session's own state follows it over connections that others use in between: with one server connection for
//! all, every statement of one client comes after one of another.

use crate::support::{Client, Cluster, Database, Proxy, Raw, Setup, Table, flavors};

/// One server connection for everybody.
const SHARED: &str = "[pool]\nidle_min = 0\nconnections_max = 1";

struct Pair {
    proxy: Proxy,
    database: Database,
    a: Client,
    b: Client,
}

impl Pair {
    async fn open(program: &shardway::internal::local::Installed) -> Pair {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([
                Table::single("t", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(10))"),
                Table::sharded("s", "k", "(k INT PRIMARY KEY, v VARCHAR(10))"),
            ])
            .await;
        let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(SHARED)).await;
        let (a, b) = (proxy.client(&database).await, proxy.client(&database).await);
        Pair { proxy, database, a, b }
    }
}

#[tokio::test]
async fn variables_follow_their_session_over_a_shared_connection() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        let settings = [
            ("sql_mode", "'ANSI_QUOTES'", "'PIPES_AS_CONCAT'"),
            ("time_zone", "'+03:00'", "'-05:30'"),
            ("group_concat_max_len", "77", "78"),
            ("max_sort_length", "1111", "2222"),
            ("sql_safe_updates", "1", "0"),
            ("foreign_key_checks", "0", "1"),
            ("innodb_lock_wait_timeout", "11", "22"),
            ("collation_connection", "utf8mb4_bin", "utf8mb4_unicode_ci"),
            ("character_set_results", "latin1", "utf8mb4"),
            ("div_precision_increment", "7", "9"),
            ("timestamp", "1000000000", "1100000000"),
            ("lc_time_names", "'de_DE'", "'fr_FR'"),
            ("sql_select_limit", "5", "6"),
        ];
        for (name, of_a, of_b) in settings {
            pair.a.ok(format!("SET {name} = {of_a}")).await;
            pair.b.ok(format!("SET SESSION {name} = {of_b}")).await;
        }
        for (name, of_a, of_b) in settings {
            let select = format!("SELECT @@{name}");
            let (a, b) = (pair.a.one(&select).await, pair.b.one(&select).await);
            let plain = |value: &str| value.trim_matches('\'').to_owned();
            let read = |value: Option<String>| {
                value.unwrap_or_default().split('.').next().unwrap_or_default().to_owned()
            };
            assert_eq!((read(a), read(b)), (plain(of_a), plain(of_b)), "{name}");
        }
        pair.a
            .ok("SET SESSION time_zone = DEFAULT, sql_mode = DEFAULT, @@session.max_sort_length = DEFAULT")
            .await;
        let mut fresh = pair.proxy.client(&pair.database).await;
        for name in ["time_zone", "sql_mode", "max_sort_length"] {
            let select = format!("SELECT @@{name}");
            assert_eq!(pair.a.one(&select).await, fresh.one(&select).await, "{name} is the default again");
        }
        assert_eq!(pair.b.one("SELECT @@time_zone").await.as_deref(), Some("-05:30"));
        let fault = pair.a.refused("SET time_zone = 'nowhere'").await;
        assert_eq!(fault.code, 1298, "{}", fault.message);
        let fault = pair.a.refused("SET no_such_variable = 1").await;
        assert_eq!((fault.code, fault.state.as_str()), (1193, "HY000"), "{}", fault.message);
        assert_eq!(pair.a.rows("SELECT 1").await, ["1"]);
    }
}

#[tokio::test]
async fn ids_counts_and_warnings_of_the_last_statement_survive_those_of_others() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        pair.a.ok("INSERT INTO t (v) VALUES ('a')").await;
        pair.b.ok("INSERT INTO t (v) VALUES ('b'), ('c')").await;
        for spelling in [
            "SELECT LAST_INSERT_ID()",
            "select last_insert_id() as id",
            "SELECT @@last_insert_id",
            "SELECT @@identity",
            "SELECT LAST_INSERT_ID() FROM DUAL;",
            "SELECT 1 * LAST_INSERT_ID()",
        ] {
            assert_eq!(pair.a.one(spelling).await.as_deref(), Some("1"), "{spelling}");
            assert_eq!(pair.b.one(spelling).await.as_deref(), Some("2"), "{spelling}");
        }
        pair.a.ok("UPDATE t SET v = 'x' WHERE id = LAST_INSERT_ID()").await;
        assert_eq!(pair.b.rows("SELECT v FROM t WHERE id = 1").await, ["x"]);

        pair.a.ok("UPDATE t SET v = CONCAT(v, 'y')").await;
        pair.b.ok("UPDATE t SET v = 'z' WHERE id = 1").await;
        assert_eq!(pair.a.one("SELECT ROW_COUNT()").await.as_deref(), Some("3"));
        assert_eq!(pair.b.one("SELECT ROW_COUNT()").await.as_deref(), Some("1"));

        let warned = pair.a.ok("SELECT 1 / 0, CAST('7abc' AS SIGNED)").await;
        assert!(warned.warnings >= 1);
        pair.b.ok("SELECT 1").await;
        let warnings = pair.a.rows("SHOW WARNINGS").await;
        assert_eq!(warnings.len(), usize::from(warned.warnings), "{warnings:?}");
        assert!(warnings.iter().any(|line| line.contains("1292")), "{warnings:?}");
        assert!(pair.b.rows("SHOW WARNINGS").await.is_empty());

        pair.a.refused("SELECT nonsense").await;
        pair.b.ok("SELECT 1").await;
        assert!(pair.a.rows("SHOW ERRORS").await[0].contains("1054"));
    }
}

#[tokio::test]
async fn found_rows_are_those_of_the_sessions_own_select() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        pair.a.ok("INSERT INTO t (v) VALUES ('a'), ('b'), ('c'), ('d')").await;
        pair.a.ok("SELECT SQL_CALC_FOUND_ROWS id FROM t LIMIT 1").await;
        // A may hold the one connection now; then B comes when A has its answer.
        assert_eq!(pair.a.one("SELECT FOUND_ROWS()").await.as_deref(), Some("4"));
    }
}

#[tokio::test]
async fn who_and_where_are_answered_for_the_clients_own_connection() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        let id = pair.a.id().to_string();
        assert_eq!(pair.a.one("SELECT CONNECTION_ID()").await, Some(id.clone()));
        assert_ne!(pair.b.one("SELECT CONNECTION_ID()").await, Some(id));
        assert_eq!(pair.a.one("SELECT DATABASE()").await.as_deref(), Some(pair.database.name.as_str()));
        assert!(pair.a.one("SELECT USER()").await.unwrap().starts_with("app@"));
        pair.b.ok("USE information_schema").await;
        assert_eq!(pair.b.one("SELECT SCHEMA()").await.as_deref(), Some("information_schema"));
        assert_eq!(pair.a.one("SELECT DATABASE()").await.as_deref(), Some(pair.database.name.as_str()));
        assert_eq!(pair.a.rows("SELECT COUNT(*) FROM t").await, ["0"]);
    }
}

#[tokio::test]
async fn the_initial_statements_of_drivers_are_answered() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        for sql in [
            "SET NAMES utf8mb4",
            "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'",
            "SET AUTOCOMMIT = 1",
            "set autocommit=1, sql_mode=concat(@@sql_mode,',STRICT_TRANS_TABLES')",
            "SET character_set_results = NULL",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SELECT @@version_comment LIMIT 1",
            "SELECT @@max_allowed_packet, @@wait_timeout, @@socket",
            "SELECT @@session.auto_increment_increment AS auto_increment_increment, @@character_set_client AS c",
            "SHOW VARIABLES LIKE 'lower_case_%'",
            "SHOW VARIABLES WHERE Variable_name IN ('sql_mode', 'version')",
            "SELECT VERSION()",
            "SHOW COLLATION",
            "SHOW SESSION STATUS LIKE 'ssl_version'",
            "SHOW DATABASES",
            "SHOW TABLES",
            "SHOW CREATE TABLE t",
            "SHOW FULL COLUMNS FROM s",
            "DESCRIBE t",
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
            "SHOW WARNINGS",
            "/* ping */ SELECT 1",
            "KILL QUERY 0 /* none */",
            "SELECT 1 FROM DUAL WHERE 1 = 0",
            "DO 1",
            "",
        ] {
            if let Err(fault) = pair.a.run(sql).await {
                // An empty statement and an unknown id are errors of MySQL, too.
                assert!([1065, 1094].contains(&fault.code), "{sql}: {} {}", fault.code, fault.message);
            }
        }
    }
}

#[tokio::test]
async fn reset_connection_leaves_nothing_of_the_session() {
    for program in flavors() {
        let mut pair = Pair::open(&program).await;
        let before = pair.a.one("SELECT @@sql_mode").await;
        pair.a.ok("SET sql_mode = 'ANSI_QUOTES', @mine = 7").await;
        pair.a.ok("BEGIN").await;
        pair.a.ok("INSERT INTO t (v) VALUES ('lost')").await;
        assert!(pair.a.reset().await);
        assert_eq!(pair.a.one("SELECT @@sql_mode").await, before);
        assert_eq!(pair.a.one("SELECT @mine").await, None);
        assert_eq!(pair.a.one("SELECT DATABASE()").await.as_deref(), Some(pair.database.name.as_str()));
        assert!(pair.b.rows("SELECT * FROM t").await.is_empty(), "the transaction was rolled back");
    }
}

#[tokio::test]
async fn init_db_changes_the_database_and_refuses_unknown_ones() {
    for program in flavors() {
        let pair = Pair::open(&program).await;
        let mut raw = Raw::login(pair.proxy.mysql, "app", "app-secret", None, 0).await;
        raw.command(2, b"no_such_database").await;
        let answer = raw.packet().await.unwrap().1;
        assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1049));
        raw.command(2, pair.database.name.as_bytes()).await;
        assert_eq!(raw.packet().await.unwrap().1[0], 0);
        assert_eq!(raw.query("SELECT v FROM t").await, [1], "one column follows");
    }
}

#[tokio::test]
async fn what_cannot_follow_pins_and_says_why() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::single("t", 0, "(id INT PRIMARY KEY)")]).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut operator = proxy.operator().await;
        for (sql, undo) in [
            ("CREATE TEMPORARY TABLE mine (id INT)", "DROP TEMPORARY TABLE mine"),
            ("SELECT GET_LOCK('mine', 0)", "SELECT RELEASE_LOCK('mine')"),
            ("LOCK TABLES t READ", "UNLOCK TABLES"),
            ("SELECT @mine := 7", "SET @mine = NULL"),
        ] {
            let mut client = Client::connect(
                &crate::support::Access::new(proxy.mysql, "app", "app-secret")
                    .database(&format!("{}:shard1", database.name)),
            )
            .await;
            client.ok(sql).await;
            // A client has its answer a moment before others see what became of it.
            client.ping().await.unwrap();
            let pins = operator.rows("SHARDWAY SHOW PINS").await;
            assert_eq!(pins.len(), 1, "{sql}: {pins:?}");
            assert!(pins[0].contains("shard1"), "{sql}: {pins:?}");
            let columns: Vec<&str> = pins[0].split('|').collect();
            assert!(!columns[4].is_empty() && !columns[4].contains('7'), "the digest of {sql}: {pins:?}");
            assert!(columns[5].parse::<f64>().is_ok(), "the age of {sql}: {pins:?}");
            client.ok("SELECT 1").await;
            assert_eq!(operator.rows("SHARDWAY SHOW PINS").await.len(), 1, "{sql}");
            client.ok(undo).await;
            // A server that is asked about locks is asked after the answer.
            client.ping().await.unwrap();
            let left = operator.rows("SHARDWAY SHOW PINS").await;
            assert!(left.is_empty(), "after {undo}: {left:?}");
            client.ok("INSERT INTO t VALUES (1)").await;
            client.ok("DELETE FROM t").await;
        }
    }
}

#[tokio::test]
async fn a_pin_lasts_as_long_as_anything_that_it_is_for() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::single("t", 0, "(id INT PRIMARY KEY)")]).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut operator = proxy.operator().await;
        let access = crate::support::Access::new(proxy.mysql, "app", "app-secret")
            .database(&format!("{}:shard1", database.name));
        let mut client = Client::connect(&access).await;
        for (statements, left) in [
            // A lock that was taken twice, and one that was not taken at all.
            (["SELECT GET_LOCK('a', 0)", "SELECT GET_LOCK('a', 0)", "SELECT RELEASE_LOCK('a')"], 1),
            (["DO RELEASE_LOCK('b')", "DO 0", "DO RELEASE_LOCK('a')"], 0),
            (["SELECT GET_LOCK('a', 0)", "SET @l = GET_LOCK('b', 0)", "SELECT RELEASE_ALL_LOCKS()"], 0),
            (["CREATE TEMPORARY TABLE a (n INT)", "CREATE TEMPORARY TABLE b (n INT)", "DROP TABLE a"], 1),
            (["INSERT INTO b VALUES (1)", "SELECT n FROM b", "DROP TEMPORARY TABLE b"], 0),
            (["PREPARE s FROM 'SELECT ? + 1'", "SET @n = 1", "EXECUTE s USING @n"], 1),
            (["DO 0", "DO 0", "DEALLOCATE PREPARE s"], 0),
            (["SET @a = 1 + 1", "SELECT @b := 5", "SET @a = 3"], 1),
            (["SELECT @a, @b", "DO 0", "SET @b = 'x'"], 0),
        ] {
            for sql in statements {
                client.ok(sql).await;
            }
            client.ping().await.unwrap();
            let pins = operator.rows("SHARDWAY SHOW PINS").await;
            assert_eq!(pins.len(), left, "{statements:?}: {pins:?}");
        }
        assert_eq!(client.rows("SELECT @a, @b").await, ["3|x"]);
    }
}

#[tokio::test]
async fn warnings_are_shown_after_their_connection_went_to_another_client() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY, v INT)")]).await;
        let setup = Setup::new(cluster).database(&database).settings("[pool]\nconnections_max = 1");
        let proxy = Proxy::start(&setup).await;
        let (mut one, mut other) = (proxy.client(&database).await, proxy.client(&database).await);
        one.ok("INSERT INTO t VALUES (1, 1)").await;
        for statement in ["SELECT v + '1x' FROM t WHERE k = 1", "INSERT INTO t VALUES (1, 1)"] {
            let failed = one.run(statement).await.is_err();
            let shown = one.rows("SHOW WARNINGS").await;
            assert_eq!(shown.len(), 1, "{statement}");
            // Its only connection is lent to the other client as soon as the first one falls silent.
            let again = one.run(statement).await.is_err();
            assert_eq!(again, failed, "{statement}");
            assert_eq!(other.rows("SELECT v FROM t WHERE k = 1").await, ["1"]);
            assert_eq!(one.rows("SHOW WARNINGS").await, shown, "{statement}");
            assert_eq!(one.rows("SHOW ERRORS").await.len(), usize::from(failed), "{statement}");
            assert_eq!(one.rows("SHOW COUNT(*) WARNINGS").await, ["1"], "{statement}");
        }
    }
}
