use super::*;
use crate::sql::{Charset, Flavor, SqlMode};

const CONTEXT: Context = Context {
    mode: SqlMode {
        ansi_quotes: false,
        no_backslash_escapes: false,
        pipes_as_concat: false,
        ignore_space: false,
        high_not_precedence: false,
    },
    charset: Charset::AsciiSafe,
    flavor: Flavor::MySql,
    server_version: 80_400,
};

fn pin(text: &str) -> Option<Pin> {
    let mut statement = Statement::default();
    statement.scan(text.as_bytes(), &CONTEXT).unwrap();
    pin_reason(&statement, text.as_bytes(), &CONTEXT, Some("shop"))
}

fn reason(text: &str) -> Option<&'static str> {
    pin(text).map(|pin| pin.reason)
}

#[test]
fn what_lives_on_one_connection_pins() {
    assert_eq!(reason("LOCK TABLES t READ"), Some("lock_tables"));
    assert_eq!(reason("SELECT GET_LOCK('a', 1)"), Some("named_lock"));
    assert_eq!(reason("SELECT @x := 1"), Some("user_variable"));
    assert_eq!(reason("CREATE TEMPORARY TABLE t (n INT)"), Some("temporary_table"));
    assert_eq!(reason("FLUSH TABLES WITH READ LOCK"), Some("global_lock"));
    assert_eq!(reason("PREPARE s FROM 'SELECT 1'"), Some("sql_prepare"));
    assert_eq!(reason("BACKUP STAGE START"), Some("backup"));
}

#[test]
fn reads_and_releases_do_not_pin() {
    for text in [
        "SELECT @@sql_mode",
        "SELECT @x",
        "ANALYZE TABLE t",
        "SELECT 'lock'",
        "SELECT RELEASE_LOCK('a')",
        "SELECT IS_FREE_LOCK('a')",
        "DROP TEMPORARY TABLE t",
        "DEALLOCATE PREPARE s",
        "EXECUTE s",
    ] {
        assert_eq!(pin(text), None, "{text}");
    }
}

#[test]
fn a_pin_waits_for_what_it_can_name() {
    let names = |text: &str| match pin(text).unwrap().until {
        Until::Gone(names) => names.into_iter().collect::<Vec<_>>(),
        until => vec![format!("{until:?}")],
    };
    assert_eq!(names("SELECT GET_LOCK('a', 1), get_lock('b', 0)"), ["'a'", "'b'"]);
    assert_eq!(names("SELECT GET_LOCK(CONCAT('a'), 1)"), ["SessionReset"]);
    assert_eq!(names("SELECT GET_LOCK('it''s', 1)"), ["SessionReset"]);
    assert_eq!(names("SELECT n INTO @A FROM t WHERE id = @b"), ["a", "b"]);
    assert_eq!(names("CALL p(@x)"), ["SessionReset"]);
    assert_eq!(names("CREATE TEMPORARY TABLE IF NOT EXISTS `T` AS SELECT 1"), ["shop.T"]);
    assert_eq!(names("PREPARE S FROM 'SELECT 1'"), ["s"]);
    assert_eq!(names("EXECUTE IMMEDIATE 'SELECT 1'"), ["SessionReset"]);
}
