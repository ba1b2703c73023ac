//! SELECT over several shards answers as one server that has all rows: the same script on a plain server and through the
//! proxy, with full, half empty and empty shards.

use mysql_async::prelude::Queryable;

use crate::support::{Client, Cluster, Plain, Proxy, Random, Table, flavors};

const COLUMNS: &str = "(
    k INT PRIMARY KEY, i INT, u BIGINT UNSIGNED, n DECIMAL(20,5), n9 DECIMAL(30,14), f FLOAT, d DOUBLE, d2 DOUBLE(10,2),
    dt DATETIME(3), da DATE, ts TIMESTAMP NULL, ti TIME(2), y YEAR, b BIT(12), e ENUM('z','a','m'), s SET('q','b','x'),
    v VARCHAR(20), l VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci,
    uc VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci,
    bi VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ch CHAR(6) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,
    tx TEXT, vb VARBINARY(10), z INT(6) UNSIGNED ZEROFILL, c VARCHAR(3), big BIGINT)";

/// Rows of a table and where they are.
#[derive(Clone, Copy)]
enum Fill {
    Everywhere,
    OneShard,
    Nowhere,
}

pub(super) struct Both {
    pub(super) plain: Client,
    pub(super) proxy: Client,
    _running: Proxy,
    /// What differed, told together at the end.
    differences: Vec<String>,
}

impl Drop for Both {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        }
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    /// Name, type, collation, decimals.
    columns: Vec<(String, u8, u16, u8)>,
    rows: Vec<Vec<Option<String>>>,
    warnings: u16,
}

async fn answer(client: &mut Client, sql: &str) -> Result<Answer, (u16, String)> {
    let mut result = match client.inner().query_iter(sql).await {
        Ok(result) => result,
        Err(mysql_async::Error::Server(error)) => return Err((error.code, error.message)),
        Err(other) => panic!("{sql}: {other}"),
    };
    let columns = result
        .columns_ref()
        .iter()
        .map(|column| {
            let kind = column.column_type() as u8;
            (column.name_str().into_owned(), kind, column.character_set(), column.decimals())
        })
        .collect();
    let rows: Result<Vec<mysql_async::Row>, _> = result.collect().await;
    let warnings = result.warnings();
    let rows = match rows {
        Ok(rows) => rows,
        Err(mysql_async::Error::Server(error)) => return Err((error.code, error.message)),
        Err(other) => panic!("{sql}: {other}"),
    };
    let cell = |value: mysql_async::Value| match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => panic!("{other:?}"),
    };
    Ok(Answer {
        columns,
        rows: rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect(),
        warnings,
    })
}

impl Both {
    pub(super) async fn open(program: &shardway::internal::local::Installed, random: &mut Random) -> Both {
        let cluster = Cluster::shared(program).await;
        let tables = ["t", "half", "none"].map(|name| Table::sharded(name, "k", COLUMNS));
        let parts = Table::sharded("parts", "k", "(k INT, no INT, g INT, PRIMARY KEY (k, no))");
        let words = Table::reference("words", "(id INT PRIMARY KEY, word VARCHAR(10))");
        let lone = Table::single("lone", 1, "(id INT PRIMARY KEY, note VARCHAR(10))");
        let database = cluster.database(tables.into_iter().chain([parts, words, lone])).await;
        let plain = Plain::shared(program).await;
        plain.create(&database).await;
        let running = Proxy::over(cluster, &database).await;
        let mut both = Both {
            plain: plain.client(&database).await,
            proxy: running.client(&database).await,
            _running: running,
            differences: Vec::new(),
        };
        both.each("SET NAMES utf8mb4").await;
        for (name, fill) in [("t", Fill::Everywhere), ("half", Fill::OneShard), ("none", Fill::Nowhere)] {
            both.fill(name, fill, random).await;
        }
        for k in 0..20 {
            both.each(&format!("INSERT INTO parts VALUES ({k}, 1, {}), ({k}, 2, {})", k % 3, k % 5)).await;
        }
        both.each("INSERT INTO lone VALUES (1, 'x'), (2, 'y'), (30, NULL)").await;
        both.each("INSERT INTO words VALUES (0, 'zero'), (1, 'one'), (2, NULL)").await;
        both
    }

    pub(super) async fn each(&mut self, sql: &str) {
        self.plain.ok(sql).await;
        self.proxy.ok(sql).await;
    }

    async fn fill(&mut self, name: &str, fill: Fill, random: &mut Random) {
        if matches!(fill, Fill::Nowhere) {
            return;
        }
        let rows: Vec<String> = (0..80).map(|key| row(key, random)).collect();
        self.each(&format!("INSERT INTO {name} VALUES {}", rows.join(", "))).await;
        if matches!(fill, Fill::OneShard) {
            let gone = self.proxy.rows(format!("SELECT k FROM {name} WHERE _shard = 'shard2'")).await;
            self.each(&format!("DELETE FROM {name} WHERE k IN ({})", gone.join(", "))).await;
        }
    }

    /// The same rows in the same order.
    pub(super) async fn ordered(&mut self, sql: &str) {
        self.compare(sql, |_| {}).await;
    }

    /// The same rows in any order.
    pub(super) async fn unordered(&mut self, sql: &str) {
        self.compare(sql, |answer| answer.rows.sort()).await;
    }

    async fn compare(&mut self, sql: &str, arrange: fn(&mut Answer)) {
        for table in ["t", "half", "none"] {
            let sql = sql.replace("{t}", table);
            let mut plain = answer(&mut self.plain, &sql).await;
            let mut proxy = answer(&mut self.proxy, &sql).await;
            for answer in [&mut plain, &mut proxy].into_iter().flatten() {
                arrange(answer);
            }
            assert!(plain.is_ok(), "{sql}: {plain:?}");
            if plain != proxy {
                self.differences.push(format!("{sql}\n  plain {plain:?}\n  proxy {proxy:?}"));
            }
        }
    }
}

/// Few different values, so that keys tie; the edges of every type.
fn row(key: usize, random: &mut Random) -> String {
    let mut pick = |values: &[&str]| match random.one_in(6) {
        true => "NULL".to_owned(),
        false => random.pick(values).to_owned(),
    };
    let text: &[&str] = &[
        "''", "'a'", "'A'", "'a '", "'ab'", "'a\\tb'", "'b'", "'e'", "'\u{e9}'", "'\u{df}'", "'ss'", "'Zz'",
        "'a b'", "'a-b'",
    ];
    let wide: &[&str] = &[
        "''",
        "'a'",
        "'B'",
        "'a '",
        "'a\\n'",
        "'\u{4e2d}'",
        "'\u{1f600}'",
        "'\u{fb01}'",
        "'fi'",
        "'\u{e9}'",
        "'e'",
    ];
    let cells = [
        pick(&["-2147483648", "-1", "0", "1", "2", "10", "2147483647"]),
        pick(&["0", "9", "10", "9223372036854775808", "18446744073709551615"]),
        pick(&["-10.00000", "-9.5", "0", "0.00001", "9.99999", "100", "12345678901.12345"]),
        pick(&["1.00000000000001", "-1.00000000000001", "2", "0.33333333333333", "1234567890123456.5"]),
        pick(&["1.1", "1.1000001", "16777216", "16777215", "-0.5", "1e10", "123456789"]),
        pick(&["1.5", "-1.5", "0.1", "1e300", "-1e-300", "0", "3", "1e15"]),
        pick(&["1.25", "-1.25", "100.5", "0"]),
        pick(&[
            "'2024-01-01 10:00:00.5'",
            "'1000-01-01'",
            "'9999-12-31 23:59:59.999'",
            "'2024-01-01 09:59:59.999'",
        ]),
        pick(&["'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'2023-12-31'"]),
        pick(&["'2024-10-26 23:30:00'", "'2024-06-01 12:00:00'", "'1970-01-02 00:00:01'"]),
        pick(&[
            "'-838:59:59'",
            "'-00:00:01.5'",
            "'00:00:00'",
            "'9:59:59'",
            "'10:00:00'",
            "'838:59:59'",
            "'100:00:00'",
        ]),
        pick(&["1901", "2024", "2155", "2000"]),
        pick(&["b'0'", "b'1'", "b'111111111111'", "b'100000000'"]),
        pick(&["'z'", "'a'", "'m'"]),
        pick(&["''", "'q'", "'b'", "'x'", "'q,b'", "'q,x'"]),
        pick(text),
        pick(text),
        pick(wide),
        pick(wide),
        pick(wide),
        pick(text),
        pick(&["''", "'a'", "'A'", "x'00'", "x'ff00'", "x'ff'", "'a '"]),
        pick(&["1", "20", "300", "0", "1234567"]),
        pick(&["'de'", "'fr'", "'at'"]),
        pick(&["-9223372036854775808", "9223372036854775807", "0", "5"]),
    ];
    format!("({key}, {})", cells.join(", "))
}

#[tokio::test]
async fn rows_come_in_the_order_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        let columns = [
            "i", "u", "n", "n9", "f", "d", "d2", "dt", "da", "ts", "ti", "y", "b", "e", "s", "v", "l", "uc",
            "bi", "ch", "tx", "vb", "z", "c",
        ];
        for column in columns {
            both.ordered(&format!("SELECT k, {column} FROM {{t}} ORDER BY {column}, k")).await;
            both.ordered(&format!("SELECT k FROM {{t}} ORDER BY {column} DESC, k DESC")).await;
            both.ordered(&format!("SELECT * FROM {{t}} ORDER BY {column}, k LIMIT 7")).await;
        }
        for sql in [
            "SELECT k AS x, v FROM {t} ORDER BY x DESC",
            "SELECT -k AS i FROM {t} ORDER BY i",
            "SELECT v, k FROM {t} ORDER BY 2",
            "SELECT l, k FROM {t} ORDER BY 1 DESC, 2",
            "SELECT {t}.*, k + 1 FROM {t} ORDER BY i DESC, {t}.v, k",
            "SELECT a.*, k FROM {t} AS a ORDER BY a.c, a.k DESC",
            "SELECT *, k AS last FROM {t} ORDER BY last",
            "SELECT k FROM {t} ORDER BY i + 0, k",
            "SELECT k FROM {t} ORDER BY CONCAT(c, v), k",
            "SELECT k FROM {t} ORDER BY UPPER(bi), k",
            "SELECT k FROM {t} ORDER BY v COLLATE utf8mb4_bin DESC, k",
            "SELECT k FROM {t} ORDER BY i IS NULL, i, k",
            "SELECT k FROM {t} ORDER BY -i, k",
            "SELECT k FROM {t} ORDER BY LENGTH(tx), CASE WHEN i > 0 THEN c ELSE v END, k",
            "SELECT k FROM {t} ORDER BY FIELD(c, 'fr', 'de'), k",
            "SELECT k FROM {t} ORDER BY YEAR(da), MONTH(dt) DESC, k",
            "SELECT k, i FROM {t} ORDER BY NULL, k",
            "SELECT k FROM {t} WHERE i > 0 ORDER BY c, k LIMIT 5 OFFSET 3",
            "SELECT k FROM {t} ORDER BY k LIMIT 20, 10",
            "SELECT k FROM {t} ORDER BY k LIMIT 1000 OFFSET 70",
            "SELECT k FROM {t} ORDER BY k LIMIT 10 OFFSET 100",
            "SELECT k FROM {t} ORDER BY k LIMIT 0",
            "SELECT k FROM {t} WHERE k IN (1, 2, 3, 4, 5, 6, 7, 8, 9) ORDER BY c DESC, k LIMIT 4 OFFSET 2",
            "SELECT a.k, b.no FROM {t} a JOIN parts b ON b.k = a.k ORDER BY b.g, a.i DESC, a.k, b.no",
            "SELECT a.k, w.word FROM {t} a LEFT JOIN words w ON w.id = a.i ORDER BY w.word DESC, a.k",
            "SELECT k, COUNT(*), MAX(v) FROM {t} GROUP BY k ORDER BY MAX(bi) DESC, 1",
            "SELECT p.k, SUM(g) AS total FROM parts p GROUP BY p.k HAVING total > 2 ORDER BY total DESC, k LIMIT 5",
            "SELECT k FROM (SELECT k, v, i FROM {t}) x ORDER BY v, i, k -- the end",
            "SELECT DISTINCT c FROM {t} ORDER BY c",
            "SELECT DISTINCT c, i FROM {t} ORDER BY i DESC, c LIMIT 4 OFFSET 1",
            "SELECT DISTINCT dt, e, s FROM {t} ORDER BY 3, 2, 1",
            "SELECT DISTINCT k, v FROM {t} ORDER BY k",
        ] {
            both.ordered(sql).await;
        }
    }
}

#[tokio::test]
async fn rows_without_an_order_are_the_same() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT DISTINCT c FROM {t}",
            "SELECT DISTINCT c, e, i FROM {t} WHERE i > -5",
            "SELECT DISTINCT f, d, da, ti, y, vb FROM {t}",
            "SELECT DISTINCT UPPER(c), 1 FROM {t}",
            "SELECT HEX(v), k FROM {t} HAVING k > 10",
            "SELECT k FROM {t} LIMIT 1000",
            "SELECT COUNT(DISTINCT k) FROM {t}",
        ] {
            both.unordered(sql).await;
        }
        let few = both.proxy.ok("SELECT k, v FROM t LIMIT 5 OFFSET 3").await;
        assert_eq!((few.rows.len(), few.columns.len()), (5, 2));
        let few = both.proxy.ok("SELECT k FROM t LIMIT 77, 10").await;
        assert_eq!(few.rows.len(), 3);
    }
}

#[tokio::test]
async fn totals_are_those_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT COUNT(*), COUNT(i), COUNT(v), COUNT(1) FROM {t}",
            "SELECT SUM(i), SUM(u), SUM(n), SUM(n9), SUM(k * 2), SUM(big) FROM {t}",
            "SELECT AVG(i), AVG(u), AVG(n), AVG(n9), AVG(k * n), AVG(i = 1) FROM {t}",
            "SELECT MIN(i), MAX(i), MIN(u), MAX(u), MIN(n), MAX(n9), MIN(y), MAX(b), MIN(z) FROM {t}",
            "SELECT MIN(f), MAX(f), MIN(d), MAX(d), MIN(d2), MAX(d2) FROM {t}",
            "SELECT MIN(dt), MAX(dt), MIN(da), MAX(da), MIN(ts), MAX(ts), MIN(ti), MAX(ti) FROM {t}",
            "SELECT MIN(c), MAX(c), MIN(vb), MAX(vb), MAX(CONCAT(c, '-')) FROM {t}",
            "SELECT BIT_AND(i), BIT_OR(i), BIT_XOR(u) FROM {t}",
            "SELECT SUM(i) AS total, 'x' AS word, COUNT(*) FROM {t} WHERE k > 100000",
            "SELECT COUNT(*) FROM {t} a JOIN parts b ON b.k = a.k WHERE b.g = 1",
            "SELECT COUNT(*) FROM {t} LIMIT 1",
            "SELECT COUNT(*) FROM {t} LIMIT 1 OFFSET 1",
            "SELECT COUNT(*) FROM {t} LIMIT 0",
            "SELECT SUM(d2), AVG(d2) FROM {t}",
            "SELECT count( * ) as `COUNT`, sum(ALL i) FROM {t}",
            "SELECT AVG(ALL i), MAX(DISTINCT i) FROM {t}",
            "SELECT COALESCE(SUM(i), 0), IFNULL(SUM(n), 1.5), ifnull(sum(d2), 0) AS x FROM {t}",
            "SELECT COALESCE(SUM(i), 0.25) FROM {t} WHERE k < 0",
            "SELECT COUNT(*) FROM {t} HAVING COUNT(*) > 3",
            "SELECT COUNT(*) AS number FROM {t} HAVING number > 1000",
        ] {
            both.ordered(sql).await;
        }
    }
}

#[tokio::test]
async fn groups_are_those_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for column in
            ["i", "u", "n", "f", "d", "d2", "dt", "da", "ts", "ti", "y", "b", "e", "s", "vb", "z", "c"]
        {
            both.ordered(&format!("SELECT {column}, COUNT(*), SUM(k), MIN(v IS NULL) FROM {{t}} GROUP BY {column} ORDER BY {column}")).await;
            both.unordered(&format!("SELECT COUNT(*), AVG(i), {column} FROM {{t}} GROUP BY {column}")).await;
        }
        // One of several spellings is shown: any.
        for column in ["v", "l", "uc", "bi", "ch", "tx"] {
            both.ordered(&format!("SELECT COUNT(*), SUM(k) FROM {{t}} GROUP BY {column} ORDER BY {column}"))
                .await;
            both.unordered(&format!("SELECT MAX(k), COUNT({column}) FROM {{t}} GROUP BY {column}")).await;
        }
        for sql in [
            "SELECT c, e, COUNT(*) FROM {t} GROUP BY c, e ORDER BY e DESC, c",
            "SELECT c, e, COUNT(*) FROM {t} GROUP BY c, e ORDER BY c DESC LIMIT 100",
            "SELECT c AS x, SUM(i) FROM {t} GROUP BY x ORDER BY x DESC LIMIT 2 OFFSET 1",
            "SELECT YEAR(da), COUNT(*) AS n FROM {t} GROUP BY YEAR(da) ORDER BY 1",
            "SELECT DATE_FORMAT(da, '%Y-%m') AS month, COUNT(*) AS n FROM {t} GROUP BY month ORDER BY month",
            "SELECT DATE_FORMAT(da, '%Y-%m'), AVG(n) FROM {t} GROUP BY DATE_FORMAT(da, '%Y-%m') ORDER BY 1",
            "SELECT UPPER(c), COUNT(*) FROM {t} GROUP BY c ORDER BY c",
            "SELECT COUNT(*) FROM {t} GROUP BY i % 3, c ORDER BY i % 3, c",
            "SELECT c, COUNT(*) AS n FROM {t} GROUP BY c ORDER BY n DESC, c",
            "SELECT c, i FROM {t} GROUP BY c, i ORDER BY COUNT(*), c, i",
            "SELECT c, MAX(v IS NULL), AVG(i) FROM {t} GROUP BY 1 ORDER BY AVG(i) DESC, MIN(k) LIMIT 2",
            "SELECT c, e FROM {t} GROUP BY c, e ORDER BY SUM(n) DESC, MAX(k) LIMIT 3 OFFSET 2",
            "SELECT a.c, b.g, COUNT(*), SUM(a.i) FROM {t} a JOIN parts b ON b.k = a.k GROUP BY a.c, b.g ORDER BY a.c, b.g",
            "SELECT w.word, COUNT(*) FROM {t} a LEFT JOIN words w ON w.id = a.i GROUP BY w.word ORDER BY w.word",
            "SELECT c, COUNT(DISTINCT k) FROM {t} GROUP BY c ORDER BY c",
            "SELECT c, COUNT(*) AS number FROM {t} GROUP BY c HAVING number > 20 ORDER BY c",
            "SELECT c, COUNT(*) FROM {t} GROUP BY c HAVING COUNT(*) >= 2 AND 3 < SUM(i) ORDER BY c DESC LIMIT 1",
            "SELECT c, SUM(n) FROM {t} GROUP BY c HAVING SUM(n) <> 0 AND MIN(i) < -0.5 ORDER BY SUM(n), c",
            "SELECT c, COUNT(*) FROM {t} GROUP BY c HAVING c = 'de' OR c IS NULL ORDER BY c",
            "SELECT e, c, COALESCE(SUM(i), 0) FROM {t} GROUP BY e, c ORDER BY COALESCE(SUM(i), 0) DESC, e, c LIMIT 6",
        ] {
            both.ordered(sql).await;
        }
    }
}

/// Long texts, texts that only padding parts, and weights that servers cut before they sort.
#[tokio::test]
async fn long_texts_are_merged_in_the_order_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        let long = "x".repeat(3000);
        for (k, end) in ["b", "a", "", " ", "c", "a"].iter().enumerate() {
            both.each(&format!(
                "INSERT INTO t (k, tx, v) VALUES ({}, '{long}{end}', 'a{}')",
                1000 + k,
                " ".repeat(k)
            ))
            .await;
        }
        both.ordered("SELECT tx, k FROM {t} WHERE k < 1000 ORDER BY tx, k").await;
        // Servers sort the first 1024 bytes: the order of what differs behind them is no promise.
        both.unordered("SELECT tx, k FROM {t} ORDER BY tx DESC").await;
        both.ordered("SELECT COUNT(*) FROM {t} WHERE k >= 1000 GROUP BY v ORDER BY 1").await;
        both.ordered("SELECT k FROM {t} WHERE k >= 1000 ORDER BY v, k").await;
        both.ordered(
            "SELECT COUNT(DISTINCT k), v IS NULL FROM {t} WHERE k >= 1000 GROUP BY v IS NULL ORDER BY 2",
        )
        .await;
    }
}

#[tokio::test]
async fn what_is_not_exact_is_computed_by_one_server_or_refused() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT SUM(i / 3) FROM {t}",
            "SELECT SUM(x) FROM (SELECT i / 3 AS x FROM {t}) d",
            "SELECT SUM(i) + 1 FROM {t}",
            "SELECT MIN(e) FROM {t}",
        ] {
            both.ordered(sql).await;
        }
        both.unordered("SELECT k FROM {t} UNION SELECT k FROM half").await;
        let some = both.proxy.ok("SELECT k FROM t ORDER BY RAND()").await;
        assert_eq!(some.rows.len(), 80);
        for sql in [
            "SELECT k FROM (SELECT k, e FROM t) x ORDER BY e",
            "SELECT k FROM (SELECT k, f FROM t) x ORDER BY f",
            "SELECT k FROM t /*!40000 ORDER BY i */ LIMIT 2, 3",
            "SELECT k FROM t ORDER BY k FOR UPDATE",
            "SELECT SQL_CALC_FOUND_ROWS k FROM t ORDER BY k LIMIT 1",
        ] {
            let fault = both.proxy.refused(sql).await;
            assert_eq!((fault.code, fault.message.contains("SW1202")), (1235, true), "{sql}: {fault:?}");
            assert_eq!(both.proxy.one("SELECT 1").await.as_deref(), Some("1"));
        }
    }
}
