use super::super::testing::{MYSQL, scan};
use super::*;

fn read(text: &str) -> Outline {
    outline(text.as_bytes(), &scan(text), &MYSQL).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The objects, as `kind database.name`; the kind is left out for tables.
fn objects(outline: &Outline) -> String {
    let shown = outline.objects.iter().map(|object| {
        let database = object.database.as_ref().map_or(String::new(), |name| format!("{name}."));
        match object.kind {
            ObjectKind::Table => format!("{database}{}", object.name),
            kind => format!("{kind:?} {database}{}", object.name),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn definitions_name_their_objects() {
    for (text, verb, named) in [
        ("CREATE TABLE t (a INT)", Verb::CreateTable { select: None }, "t"),
        ("CREATE TABLE IF NOT EXISTS db.`t 1` LIKE x", Verb::CreateTableLike, "db.t 1, x"),
        ("CREATE TABLE t (LIKE db.x)", Verb::CreateTableLike, "t, db.x"),
        ("CREATE TABLE t AS SELECT 1", Verb::CreateTable { select: Some(18) }, "t"),
        ("CREATE TABLE t (a INT) ENGINE=InnoDB (SELECT 1)", Verb::CreateTable { select: Some(38) }, "t"),
        ("CREATE TABLE t WITH x AS (SELECT 1) SELECT * FROM x", Verb::CreateTable { select: Some(15) }, "t"),
        (
            "CREATE TABLE t (a INT REFERENCES u (id), FOREIGN KEY (b) REFERENCES db.v (id)) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (5))",
            Verb::CreateTable { select: None },
            "t, Referenced u, Referenced db.v",
        ),
        ("ALTER TABLE db.t ADD COLUMN a INT, ALGORITHM=INPLACE", Verb::AlterTable { renamed: false }, "db.t"),
        (
            "ALTER IGNORE TABLE t RENAME COLUMN a TO b, RENAME INDEX c TO d",
            Verb::AlterTable { renamed: false },
            "t",
        ),
        ("ALTER TABLE t RENAME TO u", Verb::AlterTable { renamed: true }, "t, u"),
        ("ALTER TABLE t RENAME u", Verb::AlterTable { renamed: true }, "t, u"),
        ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", Verb::AlterTable { renamed: false }, "t, u"),
        ("DROP TABLE IF EXISTS a, db.b RESTRICT", Verb::DropTable, "a, db.b"),
        ("TRUNCATE TABLE t", Verb::TruncateTable, "t"),
        ("TRUNCATE db.t", Verb::TruncateTable, "db.t"),
        ("RENAME TABLE a TO b, db.c TO d", Verb::RenameTable, "a, b, db.c, d"),
        ("CREATE UNIQUE INDEX i USING BTREE ON t (a)", Verb::CreateIndex, "t"),
        ("CREATE FULLTEXT INDEX IF NOT EXISTS i ON db.t (a)", Verb::CreateIndex, "db.t"),
        ("DROP INDEX i ON t", Verb::DropIndex, "t"),
        (
            "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY INVOKER VIEW v (x) AS SELECT 1",
            Verb::CreateView { select: Some(85) },
            "View v",
        ),
        ("DROP VIEW IF EXISTS v, w", Verb::DropView, "View v, View w"),
        ("CREATE DATABASE IF NOT EXISTS d CHARSET utf8mb4", Verb::CreateDatabase, "Database d"),
        ("DROP SCHEMA d", Verb::DropDatabase, "Database d"),
        ("ALTER DATABASE d CHARSET utf8mb4", Verb::AlterDatabase, "Database d"),
        ("ALTER DATABASE CHARACTER SET utf8mb4", Verb::AlterDatabase, ""),
        (
            "CREATE DEFINER=event@localhost TRIGGER db.x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            Verb::CreateProgram,
            "Trigger db.x, t",
        ),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; END", Verb::CreateProgram, "Routine p"),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1", Verb::CreateProgram, "Routine f"),
        ("DROP EVENT IF EXISTS e", Verb::DropProgram, "Event e"),
        ("CREATE SEQUENCE s", Verb::CreateSequence, "Sequence s"),
        ("CREATE USER a", Verb::Other, ""),
        ("DROP SERVER a", Verb::Other, ""),
    ] {
        let outline = read(text);
        assert_eq!(outline.verb, verb, "{text}");
        assert_eq!(objects(&outline), named, "{text}");
    }
    let temporary = read("CREATE TEMPORARY TABLE IF NOT EXISTS t (a INT)");
    assert!(temporary.temporary && temporary.if_exists);
    assert!(read("DROP TEMPORARY TABLE t").temporary);
    assert!(read("CREATE OR REPLACE TABLE t (a INT)").or_replace);
    assert_eq!(read("DROP TABLE `a`.b").objects[0].span, 11..16);
}

#[test]
fn show_names_what_and_where() {
    let show = |text: &str| match read(text).verb {
        Verb::Show(show) => show,
        other => panic!("{text}: {other:?}"),
    };
    for (text, what, database) in [
        ("SHOW TABLES", ShowWhat::Tables, None),
        ("SHOW FULL TABLES FROM `db` LIKE 'x'", ShowWhat::Tables, Some("db")),
        ("SHOW TABLE STATUS IN db WHERE Name = 'x'", ShowWhat::TableStatus, Some("db")),
        ("SHOW FULL COLUMNS FROM t FROM db", ShowWhat::Columns, Some("db")),
        ("SHOW FIELDS IN db.t", ShowWhat::Columns, Some("db")),
        ("SHOW INDEX FROM t", ShowWhat::Index, None),
        ("SHOW KEYS FROM t IN db WHERE 1", ShowWhat::Index, Some("db")),
        ("SHOW CREATE TABLE t", ShowWhat::CreateTable, None),
        ("SHOW CREATE DATABASE IF NOT EXISTS db", ShowWhat::CreateDatabase, None),
        ("SHOW DATABASES", ShowWhat::Databases, None),
        ("SHOW SCHEMAS LIKE 'a%'", ShowWhat::Databases, None),
        ("SHOW VARIABLES LIKE 'sql_mode'", ShowWhat::Variables, None),
        ("SHOW GLOBAL STATUS", ShowWhat::Status, None),
        ("SHOW WARNINGS LIMIT 5", ShowWhat::Warnings, None),
        ("SHOW COUNT(*) WARNINGS", ShowWhat::CountWarnings, None),
        ("SHOW COUNT(*) ERRORS", ShowWhat::CountErrors, None),
        ("SHOW FULL PROCESSLIST", ShowWhat::Processlist, None),
        ("SHOW CHARACTER SET", ShowWhat::Capabilities, None),
        ("SHOW COLLATION WHERE 1", ShowWhat::Capabilities, None),
        ("SHOW TRIGGERS FROM db", ShowWhat::Triggers, Some("db")),
        ("SHOW GRANTS FOR 'u'", ShowWhat::Grants, None),
        ("SHOW REPLICA STATUS", ShowWhat::Other, None),
        ("SHOW ENGINE INNODB STATUS", ShowWhat::Other, None),
    ] {
        let read = show(text);
        assert_eq!(read.what, what, "{text}");
        assert_eq!(read.database.as_deref(), database, "{text}");
    }
    assert!(show("SHOW FULL TABLES").full && show("SHOW GLOBAL VARIABLES").global);
    assert_eq!(show("SHOW TABLES LIKE 'x'").filter, Some(12..20));
    assert_eq!(objects(&read("SHOW COLUMNS FROM t FROM db")), "db.t");
}

#[test]
fn explain_points_at_the_statement_inside() {
    for (text, inner) in [
        ("EXPLAIN SELECT 1", Some(8)),
        ("DESC FORMAT = JSON UPDATE t SET a = 1", Some(19)),
        ("EXPLAIN ANALYZE FORMAT=TREE (SELECT 1)", Some(28)),
        ("EXPLAIN EXTENDED SELECT 1", Some(17)),
        ("ANALYZE FORMAT=JSON SELECT 1", Some(20)),
        ("DESCRIBE t", None),
        ("EXPLAIN db.t a", None),
        ("DESC format", None),
    ] {
        let outline = read(text);
        match inner {
            Some(inner) => assert_eq!(outline.verb, Verb::Explain { inner }, "{text}"),
            None => {
                assert_eq!(outline.verb, Verb::Describe, "{text}");
                assert_eq!(outline.objects.len(), 1, "{text}");
            }
        }
    }
    assert_eq!(read("EXPLAIN FOR CONNECTION 5").verb, Verb::Other);
}

#[test]
fn other_statements_name_their_objects() {
    for (text, verb, named) in [
        ("ANALYZE LOCAL TABLE a, db.b", Verb::AnalyzeTable, "a, db.b"),
        ("CHECK TABLE a QUICK", Verb::CheckTable, "a"),
        ("OPTIMIZE TABLE a", Verb::OptimizeTable, "a"),
        ("CHECKSUM TABLE a, b EXTENDED", Verb::ChecksumTable, "a, b"),
        (
            "LOCK TABLES a READ LOCAL, db.b AS x LOW_PRIORITY WRITE",
            Verb::LockTables { write: true },
            "a, db.b",
        ),
        ("LOCK TABLE a READ", Verb::LockTables { write: false }, "a"),
        ("UNLOCK TABLES", Verb::UnlockTables, ""),
        ("FLUSH TABLES WITH READ LOCK", Verb::Flush { locks: true }, ""),
        ("FLUSH TABLES a, b FOR EXPORT", Verb::Flush { locks: true }, "a, b"),
        ("FLUSH PRIVILEGES", Verb::Flush { locks: false }, ""),
        ("LOAD DATA LOCAL INFILE 'x' IGNORE INTO TABLE db.t (a)", Verb::Load { local: true }, "db.t"),
        ("CALL db.p(1)", Verb::Call, "Routine db.p"),
        ("KILL 5", Verb::Kill { query_only: false, target: KillTarget::Id(5) }, ""),
        ("KILL QUERY 7", Verb::Kill { query_only: true, target: KillTarget::Id(7) }, ""),
        ("KILL @a", Verb::Kill { query_only: false, target: KillTarget::Unread }, ""),
        ("KILL USER a", Verb::Kill { query_only: false, target: KillTarget::User }, ""),
        ("KILL QUERY CONNECTION_ID()", Verb::Kill { query_only: true, target: KillTarget::Own }, ""),
        ("KILL CONNECTION_ID() + 1", Verb::Kill { query_only: false, target: KillTarget::Unread }, ""),
        ("USE `shop:shard1@replica`", Verb::Use { database: "shop:shard1@replica".to_owned() }, ""),
        ("USE shop", Verb::Use { database: "shop".to_owned() }, ""),
        ("USE shop:shard1@replica;", Verb::Use { database: "shop:shard1@replica".to_owned() }, ""),
        ("HANDLER t OPEN", Verb::Handler, "t"),
        ("SELECT 1", Verb::Other, ""),
    ] {
        let outline = read(text);
        assert_eq!(outline.verb, verb, "{text}");
        assert_eq!(objects(&outline), named, "{text}");
    }
}

#[test]
fn forms_that_break_off_are_errors() {
    for text in [
        "DROP TABLE",
        "RENAME TABLE a",
        "CREATE INDEX i",
        "USE",
        "USE 5",
        "SHOW COLUMNS",
        "DROP TABLE a,",
        "DESC",
    ] {
        assert!(outline(text.as_bytes(), &scan(text), &MYSQL).is_err(), "{text}");
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    use proptest::prelude::*;
    let words = prop::sample::select(vec![
        "CREATE",
        "ALTER",
        "DROP",
        "TABLE",
        "INDEX",
        "ON",
        "SHOW",
        "FROM",
        "t",
        "`a`",
        ".",
        ",",
        "(",
        ")",
        "LIKE",
        "5",
        "RENAME",
        "TO",
        "SET",
        "=",
        "@a",
        "@@",
        "GLOBAL",
        "x",
        "EXPLAIN",
        "USE",
        "LOCK",
        "TABLES",
        "KILL",
        "COMMIT",
        "SAVEPOINT",
        "ROLLBACK",
        "START",
        "TRANSACTION",
        "NAMES",
        "DEFAULT",
        "IF",
        "EXISTS",
        "FOR",
        "'s'",
    ]);
    proptest!(|(words in prop::collection::vec(words, 0..12))| {
        let text = words.join(" ");
        let statement = scan(&text);
        let _ = outline(text.as_bytes(), &statement, &MYSQL);
        let _ = crate::sql::assignments(text.as_bytes(), &statement, &MYSQL);
        let _ = crate::sql::control(text.as_bytes(), &statement, &MYSQL);
        let _ = crate::sql::transaction_settings(text.as_bytes(), &statement, &MYSQL);
        let _ = crate::sql::parse(text.as_bytes(), &statement, &MYSQL);
    });
}
