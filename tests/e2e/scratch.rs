//! SELECT that no rule merges: one server computes it over copies, and answers as one server that has all rows.

use mysql_async::prelude::Queryable;
use shardway::internal::local::Flavor;

use super::merging::Both;
use crate::support::{Random, flavors};

#[tokio::test]
async fn joins_beside_the_key_are_those_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT a.k, b.k, b.no FROM {t} a JOIN parts b ON b.g = a.i ORDER BY a.k, b.k, b.no",
            "SELECT a.k, b.k FROM {t} a LEFT JOIN parts b ON b.g = a.i AND b.no = 1 ORDER BY a.k, b.k",
            "SELECT a.k, b.k FROM {t} a RIGHT JOIN parts b ON b.g = a.i ORDER BY b.k, b.no, a.k",
            "SELECT a.k, b.k FROM {t} a, {t} b WHERE a.i = b.i AND a.k < b.k ORDER BY a.k, b.k LIMIT 20",
            "SELECT a.k, l.note FROM {t} a JOIN lone l ON l.id = a.k ORDER BY a.k",
            "SELECT l.id, l.note, COUNT(a.k) FROM lone l LEFT JOIN {t} a ON a.i = l.id GROUP BY l.id ORDER BY l.id",
            "SELECT a.k, w.word, b.no FROM {t} a JOIN words w ON w.id = a.i JOIN parts b ON b.g = w.id ORDER BY a.k, b.k, b.no",
            "SELECT COUNT(*) FROM {t} JOIN parts USING (k) JOIN {t} c ON c.i = parts.g",
            "SELECT x.k FROM {t} x WHERE x.c = 'de' AND EXISTS (SELECT 1 FROM parts p WHERE p.g = x.i AND p.no = 2) ORDER BY 1",
        ] {
            both.ordered(sql).await;
        }
    }
}

#[tokio::test]
async fn queries_within_queries_are_those_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT k FROM {t} WHERE i = (SELECT MAX(i) FROM {t}) ORDER BY k",
            "SELECT k FROM {t} WHERE i IN (SELECT g FROM parts WHERE no = 1) ORDER BY k",
            "SELECT k FROM {t} WHERE i NOT IN (SELECT g FROM parts) ORDER BY k",
            "SELECT k, (SELECT COUNT(*) FROM parts p WHERE p.g < a.k) AS few FROM {t} a ORDER BY k",
            "SELECT MAX(total) FROM (SELECT SUM(n) AS total FROM {t} GROUP BY c) x",
            "SELECT x.c, x.number FROM (SELECT c, COUNT(*) AS number FROM {t} GROUP BY c LIMIT 10) x ORDER BY x.number, x.c",
            "WITH few AS (SELECT k, i FROM {t} WHERE k < 30) SELECT a.k, b.k FROM few a JOIN parts b ON b.g = a.k ORDER BY 1, 2, b.no",
            "WITH RECURSIVE up (k, depth) AS (SELECT MIN(k), 1 FROM {t} UNION ALL SELECT t.k, depth + 1 FROM up JOIN {t} t ON t.k = up.k + 1 WHERE depth < 5) SELECT * FROM up ORDER BY k",
            "SELECT k FROM {t} WHERE i = 1 UNION SELECT g FROM parts ORDER BY 1",
            "(SELECT k FROM {t} ORDER BY i, k LIMIT 3) UNION ALL (SELECT k FROM parts WHERE no = 2 ORDER BY k LIMIT 2)",
            "SELECT k FROM {t} WHERE (SELECT COUNT(*) FROM lone) = 3 ORDER BY k LIMIT 5",
        ] {
            both.ordered(sql).await;
        }
        let twice = "WITH few AS (SELECT k, i FROM {t} WHERE k < 30) SELECT a.k, b.k FROM few a JOIN few b ON b.i = a.k ORDER BY 1, 2";
        match program.flavor {
            Flavor::MariaDb => both.ordered(twice).await,
            // It cannot open a temporary table twice in one statement.
            Flavor::MySql => {
                let fault = both.proxy.refused(twice.replace("{t}", "t")).await;
                assert!(fault.message.contains("SW1202: a common table expression"), "{fault:?}");
            }
        }
        for sql in [
            "SELECT i FROM {t} EXCEPT SELECT g FROM parts",
            "SELECT i FROM {t} INTERSECT SELECT g FROM parts",
            "SELECT c, i FROM {t} UNION SELECT NULL, g FROM parts",
        ] {
            both.unordered(sql).await;
        }
    }
}

#[tokio::test]
async fn functions_of_all_rows_are_those_of_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for sql in [
            "SELECT k, ROW_NUMBER() OVER (ORDER BY k) FROM {t} ORDER BY k",
            "SELECT k, i, SUM(i) OVER (PARTITION BY c ORDER BY k) FROM {t} ORDER BY k",
            "SELECT GROUP_CONCAT(k ORDER BY k DESC SEPARATOR '-') FROM {t} WHERE k < 20",
            "SELECT c, GROUP_CONCAT(DISTINCT i ORDER BY i) FROM {t} GROUP BY c ORDER BY c",
            "SELECT COUNT(DISTINCT i), COUNT(*), COUNT(DISTINCT v) FROM {t}",
            "SELECT STDDEV(k), VARIANCE(k) FROM {t}",
            "SELECT c, SUM(k) FROM {t} GROUP BY c WITH ROLLUP",
            "SELECT SUM(i) / COUNT(*), MAX(k) - MIN(k) FROM {t}",
            "SELECT MIN(e), MAX(s) FROM {t}",
            "SELECT c, AVG(k) FROM {t} GROUP BY c HAVING AVG(k) > 3 ORDER BY c",
            "SELECT JSON_ARRAYAGG(k) FROM parts WHERE k = 3 OR k > 1000",
        ] {
            both.ordered(sql).await;
        }
    }
}

#[tokio::test]
async fn copies_hold_what_the_tables_hold() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        both.each("SET time_zone = '+02:00'").await;
        both.each("SET sql_mode = ''").await;
        both.each("INSERT INTO t (k, dt, da, ts, f, d, e) VALUES (1000, '0000-00-00', '2024-00-00', 0, -0.0, -0.0, 'a')").await;
        both.each("INSERT INTO t (k, f, d) VALUES (1001, 3e38, 1e-320), (1002, 1e-10, -1e300)").await;
        both.each("SET sql_mode = DEFAULT").await;
        let all = "a.*, a.f + 0e0, a.ts + 0, UNIX_TIMESTAMP(a.ts), HEX(a.v), HEX(a.l), HEX(a.uc), HEX(a.vb), HEX(a.ch), b.k";
        for on in ["b.k <> a.k AND b.k = a.k + 1", "b.i = a.k"] {
            both.ordered(&format!("SELECT {all} FROM {{t}} a LEFT JOIN {{t}} b ON {on} ORDER BY a.k, b.k"))
                .await;
        }
        both.each("SET NAMES latin1").await;
        both.ordered("SELECT a.k, a.uc, a.v FROM {t} a JOIN {t} b ON b.i = a.i ORDER BY a.k, b.k").await;
    }
}

#[tokio::test]
async fn prepared_statements_are_computed_too() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        let statements: [(&str, Vec<mysql_async::Value>); 4] = [
            (
                "SELECT a.*, b.k FROM t a JOIN parts b ON b.g = a.i WHERE a.k > ? AND b.no = ? ORDER BY a.k, b.k",
                vec![5.into(), 1.into()],
            ),
            (
                "SELECT k FROM t WHERE i IN (SELECT g FROM parts WHERE k IN (?, ?, ?)) AND c = ? ORDER BY k",
                vec![1.into(), 2.into(), 7.into(), "de".into()],
            ),
            ("SELECT ?, COUNT(DISTINCT i), SUM(d) FROM t WHERE k <> ?", vec!["x".into(), 3.into()]),
            (
                "SELECT f, d, ts, ROW_NUMBER() OVER (ORDER BY k) FROM t WHERE k < ? ORDER BY k",
                vec![50.into()],
            ),
        ];
        for (sql, values) in statements {
            for _ in 0..2 {
                let plain: Vec<mysql_async::Row> =
                    both.plain.inner().exec(sql, values.clone()).await.unwrap();
                let proxy: Vec<mysql_async::Row> =
                    both.proxy.inner().exec(sql, values.clone()).await.unwrap();
                let shown = |rows: Vec<mysql_async::Row>| -> Vec<Vec<mysql_async::Value>> {
                    rows.into_iter().map(mysql_async::Row::unwrap).collect()
                };
                assert_eq!(shown(plain), shown(proxy), "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_stays_open() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        both.each("START TRANSACTION").await;
        both.each("UPDATE t SET i = 77 WHERE k = 5").await;
        both.ordered("SELECT a.k, b.k FROM {t} a LEFT JOIN parts b ON b.g = a.i WHERE a.i = 77").await;
        both.ordered("SELECT COUNT(DISTINCT i), MAX(word) FROM {t} JOIN words").await;
        both.each("ROLLBACK").await;
        both.ordered("SELECT a.k FROM {t} a WHERE a.i = 77 AND a.k IN (SELECT g FROM parts)").await;
        both.each("SET autocommit = 0").await;
        both.ordered("SELECT COUNT(DISTINCT i) FROM {t}").await;
        both.each("COMMIT").await;
    }
}

#[tokio::test]
async fn what_cannot_be_computed_is_refused() {
    let mut random = Random::new();
    for program in flavors() {
        let mut both = Both::open(&program, &mut random).await;
        for (sql, said) in [
            ("SELECT a.k FROM t a JOIN parts b ON b.g = a.i FOR UPDATE", "SW1202"),
            ("SELECT SQL_CALC_FOUND_ROWS COUNT(DISTINCT i) FROM t", "SW1202"),
            ("SELECT COUNT(DISTINCT i), @x := 1 FROM t", "SW1202"),
        ] {
            let fault = both.proxy.refused(sql).await;
            assert!(fault.message.contains(said), "{sql}: {fault:?}");
        }
        // Errors are the server's own.
        for sql in
            ["SELECT nothing, COUNT(DISTINCT i) FROM t", "SELECT a.k FROM t a JOIN parts b ON b.x = a.i"]
        {
            let (plain, proxy) = (both.plain.refused(sql).await, both.proxy.refused(sql).await);
            assert_eq!((plain.code, plain.message), (proxy.code, proxy.message), "{sql}");
        }
        // The connection is as before, and nothing of the copies is left.
        both.ordered("SELECT COUNT(*) FROM {t}").await;
        both.each("SET sql_mode = CONCAT(@@sql_mode, ',ONLY_FULL_GROUP_BY')").await;
        let sql = "SELECT i, COUNT(DISTINCT c) FROM t GROUP BY e";
        let (plain, proxy) = (both.plain.refused(sql).await, both.proxy.refused(sql).await);
        assert_eq!(plain.code, proxy.code, "{sql}");
    }
}
