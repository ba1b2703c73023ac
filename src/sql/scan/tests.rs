use proptest::prelude::*;

use super::super::testing::{MARIADB, MYSQL, scan, scan_in};
use super::super::{Feature, Features, HintRole};
use super::*;

fn same(left: &str, right: &str) -> bool {
    scan(left).fingerprint == scan(right).fingerprint
}

#[test]
fn kinds_are_known_by_the_first_words() {
    for (text, kind) in [
        ("SELECT 1", Kind::Select),
        ("  /* x */ ((select 1))", Kind::Select),
        ("WITH a AS (DELETE) SELECT 1", Kind::Select),
        ("WITH a AS (SELECT 1) UPDATE t SET a = 1", Kind::Update),
        ("with a as (select 1), b(x) as (select 2) delete from t", Kind::Delete),
        ("TABLE t", Kind::Select),
        ("VALUES ROW(1)", Kind::Select),
        ("/*!40101 INSERT */ INTO t VALUES (1)", Kind::Insert),
        ("REPLACE t VALUES (1)", Kind::Replace),
        ("BEGIN", Kind::Begin),
        ("BEGIN NOT ATOMIC SELECT 1; END", Kind::Other),
        ("START TRANSACTION READ ONLY", Kind::Begin),
        ("START REPLICA", Kind::Administration),
        ("COMMIT AND CHAIN", Kind::Commit),
        ("ROLLBACK WORK", Kind::Rollback),
        ("ROLLBACK WORK TO SAVEPOINT a", Kind::Savepoint),
        ("ROLLBACK TO a", Kind::Savepoint),
        ("RELEASE SAVEPOINT a", Kind::Savepoint),
        ("SET x = 1", Kind::Set),
        ("SET SESSION TRANSACTION READ ONLY", Kind::SetTransaction),
        ("SET SESSION sql_mode = ''", Kind::Set),
        ("SET STATEMENT max_statement_time=1 FOR SELECT 1", Kind::Other),
        ("USE `a`", Kind::Use),
        ("SHOW TABLES", Kind::Show),
        ("DESC t", Kind::Explain),
        ("ANALYZE TABLE t", Kind::Administration),
        ("ANALYZE SELECT 1", Kind::Explain),
        ("CREATE TABLE t (a INT)", Kind::Definition),
        ("CREATE OR REPLACE USER a", Kind::Grant),
        ("DROP USER a", Kind::Grant),
        ("CREATE DEFINER=user@host PROCEDURE p() BEGIN SELECT 1; END", Kind::Definition),
        ("ALTER INSTANCE RELOAD TLS", Kind::Administration),
        ("DROP PREPARE a", Kind::Prepare),
        ("TRUNCATE t", Kind::Definition),
        ("LOCK TABLES t READ", Kind::LockTables),
        ("LOCK INSTANCE FOR BACKUP", Kind::Administration),
        ("UNLOCK TABLES", Kind::UnlockTables),
        ("CALL p()", Kind::Call),
        ("DO SLEEP(1)", Kind::Do),
        ("XA START 'a'", Kind::Xa),
        ("LOAD DATA INFILE 'x' INTO TABLE t", Kind::Load),
        ("HANDLER t OPEN", Kind::Handler),
        ("KILL 5", Kind::Kill),
        ("SHARDWAY SHOW SHARDS", Kind::Shardway),
        (" -- nothing\n ; ", Kind::Empty),
        ("", Kind::Empty),
        ("FROB x", Kind::Other),
        ("'x'", Kind::Other),
    ] {
        assert_eq!(scan(text).kind, kind, "{text}");
    }
}

#[test]
fn literals_are_slots_in_the_order_of_the_text() {
    let statement = scan("SELECT * FROM t WHERE a = 5 AND b IN ('x', N'y') LIMIT 10");
    let spans: Vec<_> = statement.literals.iter().map(|l| (l.span.start, l.class)).collect();
    assert_eq!(
        spans,
        [
            (26, LiteralClass::Integer),
            (38, LiteralClass::String),
            (43, LiteralClass::IntroducedString),
            (55, LiteralClass::Integer)
        ]
    );
    assert_eq!(statement.slot_at(38), Some(1));
    assert_eq!(statement.slot_at(39), None);
}

#[test]
fn values_of_literals_do_not_count_but_their_classes_do() {
    assert!(!same("SELECT a FROM t WHERE b = 1", "select a FROM t WHERE b = 1"));
    assert!(same("SELECT a FROM t WHERE b = 1", "SELECT  a FROM t -- x\n WHERE b=22"));
    assert!(same("SELECT 'a'", "SELECT \"bcd\""));
    assert!(!same("SELECT 1", "SELECT '1'"));
    assert!(!same("SELECT 1", "SELECT 1.0"));
    assert!(!same("SELECT 'a'", "SELECT `a`"));
    assert!(!same("SELECT _utf8'a'", "SELECT _latin1'a'"));
    assert!(!same("SELECT 1 IN (1, 2)", "SELECT 1 IN (1, 2, 3)"));
    assert!(!same("SELECT `a` `b`", "SELECT `a``b`"));
    assert!(!same("SELECT a < = 1", "SELECT a <= 1"));
    assert!(!same("SELECT @a", "SELECT @ a"));
    assert!(!same("SELECT TRUE", "SELECT FALSE"));
    assert!(!same("SELECT /*+ A */ 1", "SELECT 1"));
    assert!(same("SELECT /* A */ 1", "SELECT 1"));
    assert!(!same("SELECT 1 /* shardway: shard=a */", "SELECT 1 /* shardway: shard=b */"));
    assert!(!same("SELECT /*!40101 a */ b", "SELECT /*!999999 a */ b"));
}

#[test]
fn values_that_shape_the_plan_count() {
    assert!(!same("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2"));
    assert!(!same("SELECT a FROM t LIMIT 1, 5", "SELECT a FROM t LIMIT 1, 6"));
    assert!(!same("SELECT a FROM t LIMIT 1 OFFSET 5", "SELECT a FROM t LIMIT 1 OFFSET 6"));
    assert!(!same("SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 2"));
    assert!(!same("SELECT a FROM t GROUP BY a, 1", "SELECT a FROM t GROUP BY a, 2"));
    assert!(same("SELECT a FROM t ORDER BY a + 1", "SELECT a FROM t ORDER BY a + 2"));
    assert!(same("SELECT a FROM t ORDER BY f(a, 1)", "SELECT a FROM t ORDER BY f(a, 2)"));
    assert!(same(
        "(SELECT a FROM t ORDER BY a) UNION SELECT 1, 2",
        "(SELECT a FROM t ORDER BY a) UNION SELECT 1, 3"
    ));
}

#[test]
fn rows_are_walked_and_count_as_one() {
    let statement =
        scan("INSERT INTO t (a, b) VALUES (1, 'x'), (-2, NULL),(3,DEFAULT) ON DUPLICATE KEY UPDATE b = 5");
    assert_eq!(statement.rows.len(), 3);
    assert_eq!(statement.literals.len(), 1, "literals in rows are no slots");
    let text = "INSERT INTO t (a, b) VALUES (1, 'x'), (-2, NULL),(3,DEFAULT) ON DUPLICATE KEY UPDATE b = 5";
    let row = &statement.rows[1];
    let values: Vec<_> = statement.values[row.values.start as usize..row.values.end as usize]
        .iter()
        .map(|span| &text[span.start as usize..span.end as usize])
        .collect();
    assert_eq!(values, ["-2", "NULL"]);
    assert_eq!(&text[row.span.start as usize..row.span.end as usize], "(-2, NULL)");
    assert_eq!(&text[statement.values_at as usize..][..6], "VALUES");
    assert!(same(text, "INSERT INTO t (a, b) VALUES (NULL, 5.5) ON DUPLICATE KEY UPDATE b = 6"));
    assert!(!same(text, "INSERT INTO t (a, b) VALUES (1) ON DUPLICATE KEY UPDATE b = 6"));
    assert!(!same(text, "INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = 6"));
}

#[test]
fn expressions_in_rows_count() {
    assert!(!same("INSERT INTO t VALUES (1, NOW())", "INSERT INTO t VALUES (1, 1)"));
    assert!(!same("INSERT INTO t VALUES (1, 1+1)", "INSERT INTO t VALUES (1, 1-1)"));
    assert!(!same("INSERT INTO t VALUES (NOW(), 1)", "INSERT INTO t VALUES (1, NOW())"));
    assert!(same("INSERT INTO t VALUES (1, NOW())", "INSERT INTO t VALUES (2, NOW()), (3, NOW())"));
    assert!(!same("INSERT INTO t VALUES (1, 2), (3, a)", "INSERT INTO t VALUES (1, 2), (3, 4)"));
    assert!(!same("INSERT INTO t VALUES (1, 2), (3)", "INSERT INTO t VALUES (1, 2), (3, 4)"));
    assert!(!same("INSERT INTO t VALUES (1, 2),", "INSERT INTO t VALUES (1, 2)"));
    assert!(!same("INSERT INTO t VALUES (1) (2)", "INSERT INTO t VALUES (1), (2)"));
    assert!(!same("INSERT INTO t VALUES ROW(1)", "INSERT INTO t VALUES (1)"));
    assert!(!same("INSERT INTO t VALUES ()", "INSERT INTO t VALUES (1)"));
    assert!(!same("INSERT INTO t VALUES (1,)", "INSERT INTO t VALUES (1, 2)"));
    assert!(scan("INSERT INTO t VALUES (LAST_INSERT_ID())").features.has(Feature::LastInsertId));
}

#[test]
fn only_the_values_of_an_insert_are_rows() {
    assert_eq!(scan("INSERT INTO value VALUES (1)").rows.len(), 1);
    assert_eq!(scan("INSERT INTO value (a) VALUE (1), (2)").rows.len(), 2);
    assert_eq!(scan("INSERT INTO db.value (a) VALUES (1)").rows.len(), 1);
    assert_eq!(scan("INSERT LOW_PRIORITY IGNORE t PARTITION (p) VALUES (1), (2)").rows.len(), 2);
    assert_eq!(scan("INSERT INTO t SET a = 1 ON DUPLICATE KEY UPDATE a = VALUES(a)").rows.len(), 0);
    assert_eq!(scan("INSERT INTO t SELECT 1 ON DUPLICATE KEY UPDATE a = VALUES(a)").rows.len(), 0);
    assert_eq!(scan("INSERT INTO t (a) (SELECT 1) ON DUPLICATE KEY UPDATE a = VALUES(a)").rows.len(), 0);
    assert_eq!(scan("VALUES ROW(1)").rows.len(), 0);
    assert_eq!(scan("INSERT INTO t VALUES ()").values.len(), 0);
    assert_eq!(scan("INSERT INTO t VALUES (f(1, 2), (3))").values.len(), 2);
}

#[test]
fn hints_are_read_wherever_they_stand() {
    let hint = scan("INSERT INTO t VALUES (1, /* shardway: shard=b role=primary */ 2)").hint.unwrap();
    assert_eq!(hint.shard.as_deref(), Some("b"));
    assert_eq!(hint.role, Some(HintRole::Primary));
    let error = scan_in("SELECT 1 /* shardway: shrad=b */", &MYSQL).unwrap_err();
    assert!(matches!(error, ScanError::BadHint { offset: 9, .. }), "{error}");
    assert_eq!(scan("SELECT '/* shardway: shard=b */'").hint, None);
}

#[test]
fn features_are_seen() {
    let features = |text: &str| scan(text).features;
    for (text, feature) in [
        ("SELECT LAST_INSERT_ID()", Feature::LastInsertId),
        ("SELECT `last_insert_id`()", Feature::LastInsertId),
        ("SELECT @@identity", Feature::LastInsertId),
        ("SELECT @@session.last_insert_id", Feature::LastInsertId),
        ("SELECT ROW_COUNT()", Feature::RowCount),
        ("SELECT FOUND_ROWS()", Feature::FoundRows),
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t", Feature::CalcFoundRows),
        ("SELECT CONNECTION_ID()", Feature::ConnectionId),
        ("SELECT @a", Feature::UserVariable),
        ("SELECT @a := 1", Feature::UserVariableWrite),
        ("SELECT a INTO @b FROM t", Feature::UserVariableWrite),
        ("SELECT a, b FROM t INTO @c, @d", Feature::UserVariableWrite),
        ("CALL p(@a)", Feature::UserVariableWrite),
        ("SELECT @@version", Feature::SystemVariable),
        ("SELECT GET_LOCK('a', 1)", Feature::NamedLock),
        ("SELECT a FROM t FOR UPDATE", Feature::Locking),
        ("SELECT a FROM t LOCK IN SHARE MODE", Feature::Locking),
        ("SELECT a INTO OUTFILE 'x' FROM t", Feature::IntoFile),
        ("CREATE TEMPORARY TABLE t (a INT)", Feature::TemporaryTable),
        ("SELECT _shard FROM t", Feature::ShardColumn),
        ("SELECT t.`_SHARD` FROM t", Feature::ShardColumn),
        ("SHOW WARNINGS", Feature::Diagnostics),
        ("SELECT @@warning_count", Feature::Diagnostics),
        ("SELECT SLEEP(1)", Feature::SideEffect),
        ("SELECT NEXT VALUE FOR s", Feature::SideEffect),
    ] {
        assert!(features(text).has(feature), "{text}");
    }
    for text in ["SELECT sleep, row_count FROM t", "SELECT 'LAST_INSERT_ID()'", "UPDATE t SET a = 1"] {
        assert_eq!(features(text), Features::default(), "{text}");
    }
}

#[test]
fn a_statement_ends_before_what_the_server_ignores() {
    for text in [
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1 ; \n",
        "SELECT 1\0",
        "SELECT 1;\0\0",
        "SELECT 1; -- x",
        "SELECT 1 /* y */;;",
    ] {
        let statement = scan(text);
        assert_eq!((statement.end, statement.next), (8, None), "{text}");
        assert_eq!(statement.fingerprint, scan("SELECT 2").fingerprint, "{text}");
    }
    let text = "SELECT 1 /*!40101 + 1 */";
    assert_eq!(scan(text).end as usize, text.len());
}

#[test]
fn the_next_statement_is_found() {
    let text = "SELECT ';'; /* a */ SELECT 2";
    let statement = scan(text);
    assert_eq!(&text[..statement.end as usize], "SELECT ';'");
    assert_eq!(&text[statement.semicolon.unwrap() as usize..], "; /* a */ SELECT 2");
    assert_eq!(&text[statement.next.unwrap() as usize..], "SELECT 2");
    assert_eq!(scan("CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW BEGIN SET @a=1; END").next, None);
    assert_eq!(scan(";SELECT 1").next, Some(1));
    assert_eq!(scan_in("SELECT 1", &MARIADB).unwrap().next, None);
}

#[test]
fn bounds_refuse_parsing_but_not_scanning() {
    assert!(scan(format!("SELECT 1 FROM t {}", "JOIN t ".repeat(61))).too_complex.is_none());
    assert!(scan(format!("SELECT 1 FROM t {}", "JOIN t ".repeat(62))).too_complex.is_some());
    assert!(scan("SELECT 1 UNION ALL ".repeat(402)).too_complex.is_some());
    assert!(scan(format!("SELECT {}1", "1 OR ".repeat(4_000))).too_complex.is_some());
    assert!(scan(format!("SELECT {}", "(".repeat(201))).too_complex.is_some());
    let rows = vec!["(1, 'x', NOW())"; 50_000].join(",");
    let insert = scan(format!("INSERT INTO t VALUES {rows}"));
    assert_eq!((insert.rows.len(), insert.too_complex), (50_000, None));
}

/// Pieces that are one token each, and literals of one class.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "SELECT", "a", "b", "`a`", "`b c`", "FROM", "t", "WHERE", "AND", "OR", "(", ")", ",", "=", "<", "<=",
        "+", "-", "@a", "@`b`", "@@", ".", "IN", "VALUES", "INSERT", "SET", "ON", "/*+ x */", "NULL", "->",
        "x", "N", "_utf8", "{", "}", ":=", "!", "BY", "ORDER", "1", "2.5", "3e1", "'s'", "x'41'", "b'1'",
        "?",
    ])
}

fn changed(piece: &str) -> &str {
    match piece {
        "1" => "77",
        "2.5" => "0.25",
        "3e1" => "1e-9",
        "'s'" => "'t'';\\'--'",
        "x'41'" => "x''",
        "b'1'" => "b'0101'",
        other => other,
    }
}

fn fingerprint(text: &str) -> Option<u128> {
    scan_in(text, &MYSQL).ok().map(|statement| statement.fingerprint)
}

proptest! {
    #[test]
    fn literal_values_blanks_and_comments_do_not_change_the_fingerprint(pieces in prop::collection::vec(piece(), 1..25)) {
        let text = format!("SELECT {}", pieces.join(" "));
        // Ordinals are part of the identity, and so are those joined by BY.
        prop_assume!(!pieces.contains(&"BY"));
        let values: Vec<_> = pieces.iter().map(|piece| changed(piece)).collect();
        prop_assert_eq!(fingerprint(&text), fingerprint(&format!("SELECT {}", values.join(" "))));
        prop_assert_eq!(fingerprint(&text), fingerprint(&format!("/* c */SELECT\n{}  # c", pieces.join("\t"))));
        prop_assert_eq!(fingerprint(&text), fingerprint(&format!("{text};\0")));
    }

    #[test]
    fn any_other_change_does(
        head in prop::sample::select(vec!["SELECT", "UPDATE t SET", "INSERT INTO t SELECT"]),
        mut pieces in prop::collection::vec(piece(), 1..25),
        at in any::<prop::sample::Index>(),
        new in piece(),
        action in 0..3,
    ) {
        let text = format!("{head} {}", pieces.join(" "));
        let at = at.index(pieces.len());
        match action {
            0 => {
                pieces.remove(at);
            }
            1 => pieces.insert(at, new),
            _ => {
                prop_assume!(pieces[at] != new);
                pieces[at] = new;
            }
        }
        let other = format!("{head} {}", pieces.join(" "));
        // Adjacent strings are one literal, and a hint is one only behind a verb: compare what the server would read.
        prop_assume!(!text.contains("'s' 's'") && !other.contains("'s' 's'"));
        prop_assume!(!text.contains("/*+") && !other.contains("/*+"));
        let (Some(left), Some(right)) = (fingerprint(&text), fingerprint(&other)) else { return Ok(()) };
        prop_assert_ne!(left, right, "{} | {}", text, other);
    }

    #[test]
    fn any_bytes_are_scanned_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for context in [MYSQL, MARIADB] {
            if let Ok(statement) = scan_in(&bytes, &context) {
                prop_assert!(statement.end as usize <= bytes.len());
                prop_assert!(statement.next.is_none_or(|next| next > statement.end));
                let mut padded = bytes.clone();
                padded.extend_from_slice(b";\0 ");
                let padded = scan_in(&padded, &context).unwrap();
                prop_assert_eq!((padded.fingerprint, padded.end), (statement.fingerprint, statement.end));
            }
        }
    }
}
