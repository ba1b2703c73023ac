//! The same packets to a plain server and to the proxy, the answers compared byte for byte. Over a database that is whole on one
//! shard, so that nothing but the proxy itself can differ. For what drivers do not reach: flags, numbers of packets, error texts.

use crate::support::{
    APP, Cluster, DEPRECATE_EOF, Database, LOCAL_FILES, MULTI_RESULTS, MULTI_STATEMENTS, Plain, Proxy, Raw,
    Setup, Table, flavors,
};
use shardway::internal::local::Installed;

const INIT_DB: u8 = 0x02;
const FIELD_LIST: u8 = 0x04;
const RESET_CONNECTION: u8 = 0x1f;

/// Both sides, with the same tables.
struct Sides {
    database: Database,
    plain: &'static Plain,
    proxy: Proxy,
}

impl Sides {
    async fn open(program: &Installed) -> Sides {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([Table::single(
                "t",
                0,
                "(id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL DEFAULT 7, s VARCHAR(20))",
            )])
            .await;
        let plain = Plain::shared(program).await;
        plain.create(&database).await;
        // caching_sha2_password: the raw client knows the fast path alone.
        plain.client(&database).await.quit().await;
        let proxy = Proxy::start(&Setup::new(cluster).whole(&database, 0)).await;
        Sides { database, plain, proxy }
    }

    async fn pair(&self, capabilities: u32) -> Pair {
        let plain = ([127, 0, 0, 1], self.plain.server.port).into();
        let database = Some(self.database.name.as_str());
        Pair {
            deprecate_eof: capabilities & DEPRECATE_EOF != 0,
            plain: Raw::login(plain, APP.0, APP.1, database, capabilities).await,
            proxy: Raw::login(self.proxy.mysql, APP.0, APP.1, database, capabilities).await,
            differences: Vec::new(),
        }
    }
}

/// Two clients that say the same.
struct Pair {
    deprecate_eof: bool,
    plain: Raw,
    proxy: Raw,
    differences: Vec<String>,
}

impl Pair {
    async fn same(&mut self, code: u8, body: &[u8]) {
        let expected = self.plain.answer(code, body, self.deprecate_eof).await;
        let found = self.proxy.answer(code, body, self.deprecate_eof).await;
        if expected != found {
            self.differences.push(format!(
                "command {code} {}\nthe server:\n{}the proxy:\n{}",
                body.escape_ascii(),
                shown(&expected),
                shown(&found)
            ));
        }
    }

    async fn query(&mut self, sql: &str) {
        self.same(3, sql.as_bytes()).await;
    }

    async fn load(&mut self, sql: &str, packets: &[&[u8]]) {
        let expected = self.plain.load(sql, packets).await;
        let found = self.proxy.load(sql, packets).await;
        if expected != found {
            let (expected, found) = (shown(&expected), shown(&found));
            self.differences.push(format!("{sql}\nthe server:\n{expected}the proxy:\n{found}"));
        }
    }

    /// All differences at once: they tell more together.
    fn agree(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
    }
}

fn shown(packets: &[(u8, Vec<u8>)]) -> String {
    packets.iter().map(|(number, payload)| format!("  {number} {}\n", payload.escape_ascii())).collect()
}

#[tokio::test]
async fn several_statements_are_answered_as_by_one_server() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        for eof in [0, DEPRECATE_EOF] {
            let mut pair = sides.pair(MULTI_STATEMENTS | MULTI_RESULTS | eof).await;
            for sql in [
                "SELECT 1; SELECT 2",
                "SELECT 1;;SELECT 2",
                "SELECT 1; ;",
                "SELECT 1; /* c */",
                "SELECT 1; -- c",
                "SELECT 1; /* c */; SELECT 3",
                ";",
                " ; SELECT 1",
                "/* a */; SELECT 2",
                "",
                "-- x",
                "SELECT 1; SELECT nonsense; SELECT 3",
                "DO 1; DO 2;",
                "SELECT 1; /*!40000 SELECT 2 */",
                "TRUNCATE t",
                "INSERT INTO t (n) VALUES (1), (2); SELECT ROW_COUNT(); INSERT INTO t (n) VALUES (3); SELECT id, n FROM t",
                "SELECT LAST_INSERT_ID() FROM t LIMIT 1; SELECT COUNT(*) FROM t",
                "UPDATE t SET n = n + 1; DELETE FROM t WHERE n = 2; SELECT n FROM t",
                "BEGIN; INSERT INTO t (n) VALUES (9); SELECT n FROM t; ROLLBACK; SELECT n FROM t",
                "BEGIN; INSERT INTO t (n) VALUES (10); COMMIT; SELECT n FROM t",
                "BEGIN; INSERT INTO t (id, n) VALUES (1, 1); INSERT INTO t (id, n) VALUES (1, 1); COMMIT",
                "SELECT n FROM t; ROLLBACK; SELECT n FROM t",
                "SET autocommit = 0; SELECT n FROM t; COMMIT; SET autocommit = 1",
                "SET @a = 5; SELECT @a; SET @a = 6; SELECT @a",
                "SELECT CAST('x' AS SIGNED); SHOW WARNINGS; SHOW COUNT(*) WARNINGS; SHOW WARNINGS; SELECT 1",
                "DROP PROCEDURE IF EXISTS none; SELECT 1",
            ] {
                pair.query(sql).await;
            }
            pair.query("USE information_schema; SELECT DATABASE()").await;
            pair.query(&format!("USE {}; SELECT COUNT(*) FROM t", sides.database.name)).await;
            pair.query("DO 1;".repeat(1000).as_str()).await;
            pair.query("SELECT 1, 'x';".repeat(1000).as_str()).await;
            pair.query("BEGIN; SELECT 1").await;
            pair.same(0x1f, b"").await;
            pair.query("SELECT 1; SELECT 2").await;
            pair.agree();
        }
    }
}

/// What the proxy computes itself, and text in the collation that the login or SET NAMES chose.
#[tokio::test]
async fn columns_have_the_types_and_collations_of_one_server() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        let mut pair = sides.pair(MULTI_STATEMENTS | MULTI_RESULTS).await;
        for names in [
            "DO 1",
            "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
            "SET character_set_results = latin1",
            "SET collation_connection = utf8mb4_bin",
            "SET character_set_results = utf8mb4",
            "SET NAMES gbk",
            "SET character_set_results = NULL",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        ] {
            pair.query(names).await;
            // The proxy has no warnings to show, and answers itself.
            for sql in ["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW COUNT(*) ERRORS"] {
                pair.query(sql).await;
            }
            pair.query("SELECT s, 'x', @@version_comment, DATABASE() FROM t").await;
            pair.query("SELECT ROW_COUNT()").await;
            pair.query("SELECT LAST_INSERT_ID() AS id").await;
            pair.query("DO 1").await;
        }
        pair.agree();
    }
}

#[tokio::test]
async fn a_second_statement_needs_leave() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        for eof in [0, DEPRECATE_EOF] {
            let mut pair = sides.pair(MULTI_RESULTS | eof).await;
            let several = [
                "SELECT 1; SELECT 2".to_owned(),
                "SELECT 1;\n\n  SELECT\n2".to_owned(),
                format!("SELECT 1;\n\n  SELECT '{}'", "x".repeat(200)),
                "SELECT 1;;SELECT 2 ; ".to_owned(),
                ";SELECT 2".to_owned(),
                "SELECT 1;;".to_owned(),
                "SELECT 1; -- c".to_owned(),
                "SELECT 1; /* c */ SELECT 2; /* d */".to_owned(),
                "SELECT ';'".to_owned(),
                "SELECT 1; ; -- c".to_owned(),
                "SELECT 1; /* c */; SELECT 3".to_owned(),
                "/*!40000 SELECT 1; */".to_owned(),
            ];
            for sql in &several {
                pair.query(sql).await;
            }
            pair.same(0x1b, &[0, 0]).await;
            pair.query("SELECT 1; SELECT 2").await;
            pair.same(0x1b, &[1, 0]).await;
            pair.query("SELECT 1; SELECT 2").await;
            pair.same(0x1b, &[2, 0]).await;
            pair.query("SELECT 1").await;
            pair.agree();
        }
    }
}

#[tokio::test]
async fn commands_of_their_own_are_answered_as_by_one_server() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        for eof in [0, DEPRECATE_EOF] {
            let mut pair = sides.pair(MULTI_STATEMENTS | MULTI_RESULTS | eof).await;
            for fields in [&b"t\0"[..], b"t\0i%", b"t\0nothing", b"no_such_table\0"] {
                pair.same(FIELD_LIST, fields).await;
            }
            // Not known to any server.
            for code in [0, 5, 0x0b, 0x0f, 0x10, 0x13, 0x14, 0x1d] {
                pair.same(code, b"").await;
            }
            // Else MySQL counts the errors above as warnings of the next command.
            pair.query("DO 0").await;
            pair.same(INIT_DB, b"information_schema").await;
            pair.same(INIT_DB, b"no_such_database").await;
            pair.query("DO 0").await;
            pair.query("SELECT DATABASE()").await;
            pair.same(INIT_DB, sides.database.name.as_bytes()).await;
            for sql in ["KILL 4000000000", "KILL QUERY 4000000000", "KILL QUERY CONNECTION_ID()", "SELECT 1"]
            {
                pair.query(sql).await;
            }
            pair.query("SET @a = 1, sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'; INSERT INTO t (n) VALUES (1); BEGIN; DELETE FROM t").await;
            pair.same(RESET_CONNECTION, b"").await;
            for sql in
                ["SELECT @a, @@sql_mode, DATABASE()", "SELECT LAST_INSERT_ID()", "SELECT COUNT(*) FROM t"]
            {
                pair.query(sql).await;
            }
            pair.agree();
            pair.same(3, b"KILL CONNECTION_ID()").await;
            assert!(pair.plain.packet().await.is_none() && pair.proxy.packet().await.is_none());
        }
    }
}

#[tokio::test]
async fn results_of_procedures_are_those_of_one_server() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        for eof in [0, DEPRECATE_EOF] {
            let mut pair = sides.pair(MULTI_STATEMENTS | MULTI_RESULTS | eof).await;
            for sql in [
                "DROP PROCEDURE IF EXISTS p; DROP PROCEDURE IF EXISTS q; DROP PROCEDURE IF EXISTS r; DROP PROCEDURE IF EXISTS s",
                "CREATE PROCEDURE p(IN a INT, OUT b INT, INOUT c VARCHAR(9)) BEGIN \
                 SELECT a, c; SELECT n FROM t WHERE id < 0; SET b = a + 1; SET c = CONCAT(c, 'x'); END; \
                 CREATE PROCEDURE q() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; SELECT 2; END; \
                 CREATE PROCEDURE r() INSERT INTO t (n) VALUES (5), (6); \
                 CREATE PROCEDURE s() BEGIN START TRANSACTION; DELETE FROM t; SELECT COUNT(*) FROM t; END",
                "TRUNCATE t",
                "SET @c = 'c'; CALL p(4, @b, @c); SELECT @b, @c",
                "CALL p(4, @b, @c)",
                "CALL q(); SELECT 3",
                "CALL r(); SELECT n FROM t; SELECT ROW_COUNT(); SELECT LAST_INSERT_ID()",
                "CALL p(4, @b, @c); SELECT LAST_INSERT_ID()",
                "CALL s(); SELECT COUNT(*) FROM t; ROLLBACK; SELECT COUNT(*) FROM t",
                "CALL s()",
                "ROLLBACK",
                "SELECT COUNT(*) FROM t",
                "CALL no_such_procedure()",
                "CALL p(1)",
            ] {
                pair.query(sql).await;
            }
            pair.agree();
            // Without the flag for several results.
            let mut pair = sides.pair(eof).await;
            for sql in ["CALL p(4, @b, @c)", "CALL r()", "SELECT COUNT(*) FROM t"] {
                pair.query(sql).await;
            }
            pair.agree();
        }
    }
}

#[tokio::test]
async fn files_of_the_client_are_loaded_as_by_one_server() {
    for program in flavors() {
        let sides = Sides::open(&program).await;
        Cluster::shared(&program).await.everywhere(&["SET GLOBAL local_infile = 1"]).await;
        sides.plain.server.run(&["SET GLOBAL local_infile = 1"]).await.unwrap();
        let mut pair = sides.pair(MULTI_STATEMENTS | MULTI_RESULTS | LOCAL_FILES).await;
        let load = "LOAD DATA LOCAL INFILE 'some file' INTO TABLE t";
        for (sql, packets) in [
            ("TRUNCATE t".to_owned(), vec![]),
            (format!("{load} (id, n, s)"), vec![&b"1\t1\tone\n2\t2"[..], b"\ttwo\n", b"3\t3\tthree"]),
            (format!("{load} (id, n, s)"), vec![b"1\t1\tagain\nx\ty\tz\n4\t4\t012345678901234567890\n"]),
            (format!("{load} FIELDS TERMINATED BY ',' (n)"), vec![]),
            (
                format!("{load} FIELDS TERMINATED BY ',' ENCLOSED BY '\"' (n, s)"),
                vec![b"5,\"a\nb\"\n", b"6,c\n"],
            ),
            ("SELECT LAST_INSERT_ID(); SELECT * FROM t".to_owned(), vec![]),
            ("LOAD DATA LOCAL INFILE 'x' INTO TABLE nothing".to_owned(), vec![b"1\n"]),
            (format!("{load} (no_such_column)"), vec![b"1\n"]),
            (format!("SELECT 1; {load} (n); SELECT COUNT(*) FROM t; {load} (n)"), vec![b"7\n", b"8\n"]),
            (
                format!("BEGIN; {load} (n); SELECT COUNT(*) FROM t; ROLLBACK; SELECT COUNT(*) FROM t"),
                vec![b"9\n"],
            ),
            (format!("{load} (n, @x) SET s = CONCAT(@x, '!')"), vec![b"10\tx\n"]),
            ("SELECT * FROM t".to_owned(), vec![]),
        ] {
            pair.load(&sql, &packets).await;
        }
        let large = vec![b'z'; 0xff_ffff];
        pair.load(&format!("{load} (s)"), &[b"1\t", &large, b"\n2\t\n"]).await;
        pair.query("SELECT 1").await;
        pair.agree();
    }
}
