use sqlparser::ast::{Expr, FromTable, SetExpr, TableWithJoins, Value};

use super::super::SqlMode;
use super::super::offset_of;
use super::super::testing::{MARIADB, MODE, MYSQL, scan_in};
use super::*;

fn parse_in(text: impl AsRef<[u8]>, context: &Context) -> Result<ast::Statement, ParseError> {
    let text = text.as_ref();
    let statement = scan_in(text, context).unwrap();
    parse(text, &statement, context)
}

fn parsed(text: &str) -> ast::Statement {
    parse_in(text, &MYSQL).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn select(statement: ast::Statement) -> ast::Select {
    match statement {
        ast::Statement::Query(query) => match *query.body {
            SetExpr::Select(select) => *select,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// The expression with parentheses around everything that has operands.
fn grouped(expr: &Expr) -> String {
    let not = |negated: &bool| if *negated { "NOT " } else { "" };
    match expr {
        Expr::BinaryOp { left, op, right } => format!("({} {op} {})", grouped(left), grouped(right)),
        Expr::UnaryOp { op, expr } => format!("({op} {})", grouped(expr)),
        Expr::Cast { expr, data_type, .. } => format!("({data_type} {})", grouped(expr)),
        Expr::Nested(inner) => grouped(inner),
        Expr::Between { expr, negated, low, high } => {
            format!("({} {}BETWEEN {} AND {})", grouped(expr), not(negated), grouped(low), grouped(high))
        }
        Expr::Like { negated, expr, pattern, .. } => {
            format!("({} {}LIKE {})", grouped(expr), not(negated), grouped(pattern))
        }
        Expr::RLike { negated, expr, pattern, .. } => {
            format!("({} {}REGEXP {})", grouped(expr), not(negated), grouped(pattern))
        }
        Expr::InList { expr, list, negated } => {
            let list: Vec<_> = list.iter().map(grouped).collect();
            format!("({} {}IN ({}))", grouped(expr), not(negated), list.join(", "))
        }
        Expr::IsNull(expr) => format!("({} IS NULL)", grouped(expr)),
        Expr::IsNotNull(expr) => format!("({} IS NOT NULL)", grouped(expr)),
        Expr::IsTrue(expr) => format!("({} IS TRUE)", grouped(expr)),
        other => other.to_string(),
    }
}

fn group_in(condition: &str, context: &Context) -> String {
    let text = format!("SELECT 1 FROM t WHERE {condition}");
    let statement = parse_in(&text, context).unwrap_or_else(|error| panic!("{text}: {error}"));
    grouped(&select(statement).selection.unwrap())
}

#[test]
fn operators_group_as_in_mysql() {
    for (condition, expected) in [
        ("id = 1 AND a = 2 || b = 3", "(((id = 1) AND (a = 2)) OR (b = 3))"),
        ("id = 1 AND a = 2 XOR b = 3", "(((id = 1) AND (a = 2)) XOR (b = 3))"),
        ("a XOR b OR c", "((a XOR b) OR c)"),
        ("id = 1 && a = 2", "((id = 1) AND (a = 2))"),
        ("a || b && c", "(a OR (b AND c))"),
        ("NOT a = b", "(NOT (a = b))"),
        ("NOT a AND b", "((NOT a) AND b)"),
        ("!a = b", "((NOT a) = b)"),
        ("! a + b", "((NOT a) + b)"),
        ("BINARY a = b", "((BINARY a) = b)"),
        ("a = BINARY b", "(a = (BINARY b))"),
        ("- BINARY a ^ b", "((- (BINARY a)) ^ b)"),
        ("j->'$.a' + 1", "((j -> '$.a') + 1)"),
        ("a * j->'$.x'", "(a * (j -> '$.x'))"),
        ("j->>'$.a' = 5", "((j ->> '$.a') = 5)"),
        ("a + b ^ c", "(a + (b ^ c))"),
        ("a * b ^ c", "(a * (b ^ c))"),
        ("~a / b", "((~ a) / b)"),
        ("-a ^ b", "((- a) ^ b)"),
        ("- -a", "(- (- a))"),
        ("a & b << c", "(a & (b << c))"),
        ("a | b & c", "(a | (b & c))"),
        ("a << b + c", "(a << (b + c))"),
        ("a = b LIKE c", "(a = (b LIKE c))"),
        ("a = b IN (1, 2)", "(a = (b IN (1, 2)))"),
        ("a = b BETWEEN c AND d", "(a = (b BETWEEN c AND d))"),
        ("a BETWEEN b AND c AND d", "((a BETWEEN b AND c) AND d)"),
        ("a NOT BETWEEN b AND c LIKE d", "(a NOT BETWEEN b AND (c LIKE d))"),
        ("a BETWEEN b + 1 AND c | d OR e", "((a BETWEEN (b + 1) AND (c | d)) OR e)"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("a IS NULL = b", "((a IS NULL) = b)"),
        ("a LIKE b = c", "((a LIKE b) = c)"),
        ("a = b = c", "((a = b) = c)"),
        ("a <=> b <> c", "((a <=> b) <> c)"),
        ("a = @x := b OR c", "(a = (@x := (b OR c)))"),
        ("a MOD 2 = 1", "((a % 2) = 1)"),
        ("a MOD (2) = 1", "((a % 2) = 1)"),
        ("MOD(a, 2) = 1", "(MOD(a, 2) = 1)"),
        ("a DIV 2 * 3", "((a DIV 2) * 3)"),
        ("a - b - c", "((a - b) - c)"),
        ("a NOT LIKE b AND c NOT IN (1)", "((a NOT LIKE b) AND (c NOT IN (1)))"),
        ("a REGEXP BINARY b", "(a REGEXP (BINARY b))"),
    ] {
        assert_eq!(group_in(condition, &MYSQL), expected, "{condition}");
    }
}

#[test]
fn sql_modes_change_the_grouping() {
    let pipes = Context { mode: SqlMode { pipes_as_concat: true, ..MODE }, ..MYSQL };
    assert_eq!(group_in("a = b || c", &pipes), "(a = (b || c))");
    assert_eq!(group_in("-a || b ^ c", &pipes), "(((- a) || b) ^ c)");
    let high_not = Context { mode: SqlMode { high_not_precedence: true, ..MODE }, ..MYSQL };
    assert_eq!(group_in("NOT a BETWEEN 1 AND 2", &high_not), "((NOT a) BETWEEN 1 AND 2)");
    assert_eq!(group_in("a NOT IN (1)", &high_not), "(a NOT IN (1))");
    assert_eq!(group_in("NOT a BETWEEN 1 AND 2", &MYSQL), "(NOT (a BETWEEN 1 AND 2))");
    assert!(parse_in("SELECT a FROM t WHERE NOT EXISTS (SELECT 1)", &high_not).is_ok());
}

fn tables(from: &[TableWithJoins]) -> String {
    from.iter().map(ToString::to_string).collect::<Vec<_>>().join(" & ")
}

#[test]
fn joins_without_on_are_left_deep() {
    for text in [
        "SELECT 1 FROM t1 JOIN t2 RIGHT JOIN t3 ON t1.a = t3.a",
        "SELECT 1 FROM t1 JOIN t2 JOIN t3 ON t1.a = t3.a",
        "SELECT 1 FROM t1 STRAIGHT_JOIN t2 LEFT JOIN t3 ON t1.a = t3.a",
    ] {
        let from = select(parsed(text)).from;
        assert_eq!(from.len(), 1);
        assert_eq!(from[0].joins.len(), 2, "{text}");
    }
    assert!(parse_in("SELECT 1 FROM a JOIN b JOIN c ON 1 ON 2", &MYSQL).is_err(), "deferred ON is refused");
}

#[test]
fn nothing_is_dropped_silently() {
    for text in [
        "SELECT a END FROM t WHERE id = 1",
        "SELECT a FROM t WHERE id = 1 END OR 1",
        "SELECT 1 FROM t WHERE a = 'x' ] b",
        "SELECT a ~ b",
        "SELECT a::int",
        "SELECT a[1]",
        "SELECT 1 FROM t WHERE a LIKE b NOT IN (c)",
        "SELECT 1 FROM t WHERE a BETWEEN b AND c NOT LIKE d NOT LIKE e",
        "SELECT 1 FROM t WHERE !!a",
    ] {
        let error = parse_in(text, &MYSQL).unwrap_err();
        assert!(!error.too_complex, "{text}");
    }
    let error = parse_in("SELECT a FROM t WHERE id = 1 END OR 1", &MYSQL).unwrap_err();
    assert_eq!((error.offset, error.near.as_str()), (29, "END"));
}

#[test]
fn errors_do_not_quote_values() {
    let error = parse_in("SELECT a FROM t WHERE 'secret' 5 'other'", &MYSQL).unwrap_err();
    assert_eq!((error.offset, error.near.as_str()), (31, "?"));
    assert!(!error.to_string().contains("secret") && !error.to_string().contains("other"), "{error}");
}

#[test]
fn forms_the_grammar_lacks_are_read() {
    for text in [
        "SELECT a FROM t LOCK IN SHARE MODE",
        "SELECT a FROM t FOR UPDATE OF t, u.v SKIP LOCKED",
        "SELECT a INTO @x FROM t WHERE id = 1",
        "SELECT a, b FROM t LIMIT 1 INTO @x, @y",
        "SELECT DISTINCTROW a FROM t",
        "SELECT SQL_CACHE SQL_NO_CACHE HIGH_PRIORITY DISTINCT a FROM t",
        "SELECT STRAIGHT_JOIN SQL_CALC_FOUND_ROWS a FROM t",
        "SELECT 1 FROM DUAL WHERE 1",
        "TABLE t",
        "TABLE t UNION TABLE u",
        "(TABLE t)",
        "INSERT INTO t TABLE u",
        "SELECT d + INTERVAL '1:1' MINUTE_SECOND, EXTRACT(DAY_HOUR FROM d) FROM t",
        "SELECT CAST(a AS CHAR CHARACTER SET latin1), CAST(a AS CHAR(3) CHARSET utf8mb4), CAST(a AS SIGNED INT)",
        "SELECT {d '2024-01-01'}, {fn CONCAT('a', 'b')}",
        "SELECT * FROM {oj a LEFT JOIN b ON a.x = b.x}",
        "UPDATE LOW_PRIORITY IGNORE db.t SET a = 1 WHERE id = 2 ORDER BY a LIMIT 1",
        "UPDATE t1, t2 SET t1.a = t2.a, t1.b = 5 WHERE t1.id = t2.id",
        "UPDATE t1 JOIN t2 ON t1.id = t2.id SET t1.a = (SELECT a, b FROM t3)",
        "DELETE LOW_PRIORITY QUICK IGNORE FROM t WHERE id = 1",
        "DELETE t.*, u.* FROM t JOIN u ON t.id = u.id WHERE t.id = 1",
        "DELETE IGNORE t FROM t JOIN u ON t.id = u.id",
        "DELETE FROM t.*, u.* USING t JOIN u ON t.id = u.id",
        "DELETE FROM t WHERE id = (SELECT COUNT(*) FROM u) LIMIT 1",
        "INSERT LOW_PRIORITY IGNORE INTO t (a) VALUE (1), (2)",
        "INSERT DELAYED t SET a = 1",
        "INSERT INTO t VALUES ROW(1, 2), ROW(3, 4)",
        "INSERT INTO t (a) VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a",
        "INSERT INTO t (a) SELECT a FROM u ON DUPLICATE KEY UPDATE a = VALUES(a)",
        "REPLACE DELAYED INTO t VALUES (1)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH a AS (SELECT 1 AS x) UPDATE t, a SET t.b = a.x",
        "SELECT @a := 5, @@session.sql_mode, @@version FROM t WHERE b = @`x y`",
        "SELECT _utf8mb4'x' COLLATE utf8mb4_bin, _latin1 0x41, N'y', x'41', b'1', 0b11",
        "SELECT a 'alias', 'x' 'y' AS \"z\" FROM t",
        "SELECT t.end, t.select FROM t",
        "SELECT COUNT(DISTINCT a), GROUP_CONCAT(b ORDER BY c DESC SEPARATOR ';') FROM t GROUP BY 1 WITH ROLLUP",
        "SELECT * FROM t WHERE (a, b) IN ((1, 2), (3, 4)) AND EXISTS (SELECT 1) LIMIT 5, 10",
        "SELECT a FROM t1 PARTITION (p0) FORCE INDEX (x) WHERE MATCH (a) AGAINST ('x' IN BOOLEAN MODE)",
        "SELECT IF(a, 1, 2), LEFT(a, 1), REPLACE(a, 'x', 'y'), VALUES(a), DATE(b), CHAR(65) FROM t",
        "SELECT /*+ MAX_EXECUTION_TIME(5) */ /*!80000 a, */ b FROM t",
    ] {
        parsed(text);
    }
    assert!(parse_in("SELECT \\N", &MARIADB).is_ok());
}

#[test]
fn repaired_forms_mean_the_same() {
    match parsed("UPDATE t1 AS a, t2, t3 SET a.x = f(1, 2), t2.y = 3") {
        ast::Statement::Update(update) => {
            assert_eq!(update.table.joins.len(), 2);
            assert_eq!(update.assignments.len(), 2);
        }
        other => panic!("{other:?}"),
    }
    assert!(parse_in("UPDATE t1, t2 RIGHT JOIN t3 ON 1 SET t1.a = 1", &MYSQL).is_err());
    match parsed("DELETE a.*, b FROM t AS a JOIN b ON a.id = b.id") {
        ast::Statement::Delete(delete) => {
            assert_eq!(delete.tables.len(), 2);
            let FromTable::WithFromKeyword(from) = delete.from else { panic!() };
            assert_eq!(tables(&from), "t AS a JOIN b ON a.id = b.id");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tables(&select(parsed("TABLE t")).from), "t");
    assert!(select(parsed("SELECT 1 FROM DUAL")).from.is_empty());
    assert!(select(parsed("SELECT SQL_NO_CACHE DISTINCTROW a FROM t")).distinct.is_some());
    assert_eq!(select(parsed("SELECT {d '2024-01-01'}")).projection[0].to_string(), "DATE '2024-01-01'");
}

#[test]
fn only_the_first_row_is_parsed() {
    let text = "INSERT INTO t (a, b) VALUES (1, 'x'), (2, )(, (3, 'z') ON DUPLICATE KEY UPDATE b = 4";
    assert!(parse_in(text, &MYSQL).is_err(), "what is between rows is");
    let text = "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 5 5 5), (3, 'z') ON DUPLICATE KEY UPDATE b = 4";
    match parsed(text) {
        ast::Statement::Insert(insert) => {
            let SetExpr::Values(values) = *insert.source.unwrap().body else { panic!() };
            assert_eq!(values.rows.len(), 1);
            assert!(insert.on.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn literals_in_the_tree_lead_to_their_slots() {
    let text = "SELECT 'é', a FROM t WHERE id = 5 AND b = _utf8mb4 'x' 'y' AND c = 'p' 'q'";
    let statement = scan_in(text, &MYSQL).unwrap();
    let Expr::BinaryOp { left, right, .. } = select(parsed(text)).selection.unwrap() else { panic!() };
    let Expr::BinaryOp { left, right: middle, .. } = *left else { panic!() };
    for (slot, expr) in [(1, left), (2, middle), (3, right)] {
        let Expr::BinaryOp { right, .. } = *expr else { panic!() };
        let Expr::Value(value) = *right else { panic!("{right:?}") };
        let offset = offset_of(value.span.start).unwrap();
        assert_eq!(statement.slot_at(offset), Some(slot), "{:?}", value.value);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_read() {
    let text = b"SELECT a FROM t WHERE b = '\xe9\xff' AND \xe9 = 5";
    let selection = select(parse_in(text, &MYSQL).unwrap()).selection.unwrap();
    let Expr::BinaryOp { right, .. } = selection else { panic!() };
    let Expr::BinaryOp { left, right, .. } = *right else { panic!() };
    let Expr::Identifier(name) = *left else { panic!() };
    assert_eq!(name.value, "é");
    let Expr::Value(value) = *right else { panic!() };
    assert!(matches!(value.value, Value::Number(..)));
    assert_eq!(offset_of(value.span.start), Some(39));
}

#[test]
fn bounds_are_checked_before_parsing() {
    for text in [
        format!("SELECT 1 FROM t {}", "JOIN t ".repeat(5_000)),
        format!("SELECT {}1", "1 + ".repeat(100_000)),
        "SELECT 1 UNION ALL ".repeat(20_000),
        format!("SELECT {}1{}", "(".repeat(150), ")".repeat(150)),
        format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("INSERT INTO t VALUES (1, {}1)", "1 + ".repeat(100_000)),
        format!("INSERT INTO t VALUES (1, {}1{})", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {} 1", "CASE WHEN 1 THEN ".repeat(2_000)),
    ] {
        let error = parse_in(&text, &MYSQL).unwrap_err();
        assert!(error.too_complex, "{} {error}", &text[..40]);
    }
}
