use super::*;
use crate::sql;

fn defaults() -> Context {
    Context {
        mode: SqlMode::default(),
        charset: Charset::AsciiSafe,
        flavor: Flavor::MySql,
        server_version: 80_406,
    }
}

fn session() -> Variables {
    Variables::from_login(45, Some("shop"), defaults())
}

/// Decides on one statement as a session does.
fn decide(variables: &Variables, text: &str) -> Verdict {
    let mut statement = sql::Statement::default();
    statement.scan(text.as_bytes(), variables.context()).unwrap();
    assert_eq!(statement.kind, sql::Kind::Set, "{text}");
    let assignments = sql::assignments(text.as_bytes(), &statement, variables.context()).unwrap();
    variables.decide(text.as_bytes(), &assignments)
}

fn follow(variables: &mut Variables, text: &str) {
    match decide(variables, text) {
        Verdict::Follow(changes) => variables.commit(changes),
        other => panic!("{text}: {other:?}"),
    }
}

fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.state().value(name).map(|text| std::str::from_utf8(text).unwrap())
}

fn pinned(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Pin { pin, .. } => Some(pin.reason),
        _ => None,
    }
}

#[test]
fn a_login_sets_the_charset_of_its_collation_exactly() {
    let variables = session();
    for name in ["character_set_client", "character_set_connection"] {
        assert_eq!(value(&variables, name), Some("utf8mb4"));
    }
    assert_eq!(value(&variables, "collation_connection"), Some("utf8mb4_general_ci"));
    // Columns of text have the collation of the login, which is not the default of each server.
    assert_eq!(value(&variables, "character_set_results"), Some("utf8mb4 COLLATE utf8mb4_general_ci"));
    assert_eq!(variables.results_charset(), Some("utf8mb4"));
    assert_eq!(variables.state().database(), Some("shop"));
    let gbk = Variables::from_login(28, None, defaults());
    assert_eq!((value(&gbk, "character_set_client"), gbk.context().charset), (Some("gbk"), Charset::Gbk));
}

/// The first clients may come before any server has told what it is.
#[test]
fn a_session_follows_the_fleet_but_for_what_it_has_set() {
    let ansi = SqlMode { ansi_quotes: true, ..SqlMode::default() };
    let mariadb =
        Context { flavor: Flavor::MariaDb, server_version: 101_119, mode: ansi, charset: Charset::AsciiSafe };
    let mut early = Variables::from_login(255, Some("shop"), defaults());
    early.follow(mariadb);
    assert_eq!(early.state(), Variables::from_login(255, Some("shop"), mariadb).state());
    assert_eq!(*early.context(), mariadb);

    let mut own = Variables::from_login(28, None, defaults());
    follow(&mut own, "SET sql_mode = 'NO_BACKSLASH_ESCAPES', collation_connection = gbk_bin");
    follow(&mut own, "SET character_set_results = latin1");
    own.follow(mariadb);
    assert_eq!(value(&own, "character_set_results"), Some("latin1"));
    assert!(own.context().mode.no_backslash_escapes && !own.context().mode.ansi_quotes);
    assert_eq!((own.context().flavor, own.context().charset), (Flavor::MariaDb, Charset::Gbk));
    assert_eq!(value(&own, "collation_connection"), Some("gbk_bin"));
    own.reset();
    assert!(own.context().mode.ansi_quotes, "what a reset leads back to has changed, too");
}

#[test]
fn a_login_with_a_collation_that_servers_lack_gets_the_default_of_its_charset() {
    let mariadb = Context { flavor: Flavor::MariaDb, server_version: 101_119, ..defaults() };
    let modern = Variables::from_login(255, None, mariadb);
    assert_eq!(value(&modern, "character_set_connection"), Some("utf8mb4"));
    assert_eq!(value(&modern, "collation_connection"), None);
    assert_eq!(
        value(&Variables::from_login(255, None, defaults()), "collation_connection"),
        Some("utf8mb4_0900_ai_ci")
    );
    for unusable in [0, 35, 9999] {
        let variables = Variables::from_login(unusable, None, defaults());
        assert_eq!(value(&variables, "character_set_client"), Some("utf8mb4"), "{unusable}");
        assert_eq!(value(&variables, "collation_connection"), None);
    }
}

#[test]
fn literals_follow_and_change_how_statements_are_read() {
    let mut variables = session();
    follow(&mut variables, "SET SQL_MODE = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
    assert_eq!(value(&variables, "sql_mode"), Some("'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"));
    assert!(variables.context().mode.ansi_quotes && variables.context().mode.no_backslash_escapes);
    follow(&mut variables, "SET time_zone = SYSTEM");
    assert_eq!(value(&variables, "time_zone"), Some("'SYSTEM'"));
    follow(&mut variables, "SET timestamp = 1234");
    assert_eq!(value(&variables, "timestamp"), Some("1234"));
    follow(&mut variables, "SET timestamp = 0");
    assert_eq!(value(&variables, "timestamp"), None);
    follow(&mut variables, "SET autocommit = OFF");
    assert!(!variables.autocommit());
    assert_eq!(value(&variables, "autocommit"), Some("0"));
    follow(&mut variables, "SET autocommit = 1");
    assert!(variables.autocommit());
}

#[test]
fn default_forgets_a_variable_and_its_effect() {
    let mut variables = session();
    follow(&mut variables, "SET sql_mode = ansi");
    assert!(variables.context().mode.ansi_quotes);
    let Verdict::Follow(changes) = decide(&variables, "SET SESSION sql_mode = DEFAULT") else {
        panic!("DEFAULT follows")
    };
    variables.commit(changes);
    assert_eq!(value(&variables, "sql_mode"), None);
    assert!(!variables.context().mode.ansi_quotes);
}

#[test]
fn set_names_sets_the_charset_variables() {
    let mut variables = session();
    follow(&mut variables, "SET NAMES 'gbk'");
    for name in ["character_set_client", "character_set_results", "character_set_connection"] {
        assert_eq!(value(&variables, name), Some("gbk"));
    }
    assert_eq!(value(&variables, "collation_connection"), None, "the server's default for it");
    assert_eq!(variables.context().charset, Charset::Gbk);
    follow(&mut variables, "SET NAMES utf8mb4 COLLATE 'utf8mb4_bin'");
    assert_eq!(value(&variables, "collation_connection"), Some("utf8mb4_bin"));
    assert_eq!(value(&variables, "character_set_results"), Some("utf8mb4 COLLATE utf8mb4_bin"));
    assert_eq!(variables.context().charset, Charset::AsciiSafe);
    follow(&mut variables, "SET collation_connection = latin1_german1_ci");
    assert_eq!(value(&variables, "character_set_connection"), Some("latin1"));
    follow(&mut variables, "SET character_set_results = NULL");
    assert_eq!(
        (value(&variables, "character_set_results"), variables.results_charset()),
        (Some("NULL"), None)
    );
    assert!(matches!(decide(&variables, "SET NAMES swe7"), Verdict::Refuse(_)));
}

#[test]
fn what_only_the_server_knows_is_read_back() {
    let mut variables = session();
    let expression = "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')";
    let Verdict::FollowAfterReadBack { changes, names } = decide(&variables, expression) else {
        panic!("an expression is read back")
    };
    assert_eq!(Variables::read_back_statement(&names), "SELECT @@session.sql_mode");
    variables.commit_read_back(changes, &names, &[], &[Some(b"ANSI_QUOTES")]);
    assert_eq!(value(&variables, "sql_mode"), Some("'ANSI_QUOTES'"));
    assert!(variables.context().mode.ansi_quotes);

    let Verdict::FollowAfterReadBack { changes, names } = decide(&variables, "SET CHARACTER SET latin1")
    else {
        panic!("SET CHARACTER SET takes the database's collation")
    };
    assert_eq!(names, ["character_set_connection", "collation_connection"]);
    variables.commit_read_back(changes, &names, &[], &[Some(b"utf8mb4"), Some(b"utf8mb4_bin")]);
    assert_eq!(value(&variables, "character_set_client"), Some("latin1"));
    assert_eq!(value(&variables, "collation_connection"), Some("utf8mb4_bin"));
}

#[test]
fn user_variables_follow_with_their_collation_and_type() {
    let mut variables = session();
    follow(&mut variables, "SET @X = 'é'");
    assert_eq!(value(&variables, "@x"), Some("_utf8mb4 x'c3a9' COLLATE utf8mb4_general_ci"));
    follow(&mut variables, "SET @n = -1.5");
    assert_eq!(value(&variables, "@n"), Some("-1.5"));
    follow(&mut variables, "SET @n = NULL");
    assert_eq!(value(&variables, "@n"), None);
    let Verdict::FollowAfterReadBack { changes, names } = decide(&variables, "SET @X = @x + 1") else {
        panic!("a computed user variable is read back")
    };
    assert_eq!(
        Variables::read_back_statement(&names),
        "SELECT @`x`, HEX(@`x`), CHARSET(@`x`), COLLATION(@`x`)"
    );
    let column = ColumnDefinition::local("@x", crate::wire::ColumnKind::Number, 63);
    let answered = [Some(b"7".as_slice()), Some(b"7"), Some(b"binary"), Some(b"binary")];
    assert!(variables.commit_read_back(changes, &names, std::slice::from_ref(&column), &answered).is_empty());
    assert_eq!(value(&variables, "@x"), Some("CAST(7 AS UNSIGNED)"));
    let strange = ColumnDefinition { kind: 255, ..column };
    let stay = variables.commit_read_back(Changes::default(), &names, &[strange], &answered);
    assert_eq!((stay, value(&variables, "@x")), (BTreeSet::from(["x".to_owned()]), None));
    assert_eq!(pinned(decide(&variables, "SET @`é` = 1")), Some("user_variable"));
}

#[test]
fn what_cannot_be_repeated_pins_and_what_changes_servers_is_refused() {
    let variables = session();
    for name in ["insert_id", "GTID_NEXT", "sql_log_bin", "rand_seed1", "pseudo_thread_id"] {
        assert!(pinned(decide(&variables, &format!("SET {name} = 1"))).is_some(), "{name}");
    }
    assert_eq!(pinned(decide(&variables, "SET wait_timeout = 5")), Some("short_wait_timeout"));
    assert_eq!(pinned(decide(&variables, "SET sql_auto_is_null = 1")), Some("sql_auto_is_null"));
    let long = decide(&variables, "SET wait_timeout = 2147483");
    assert!(matches!(long, Verdict::Follow(_)));
    for (text, id) in [
        ("SET GLOBAL x = 1", "SW1215"),
        ("SET autocommit = 1, @@persist.x = 1", "SW1215"),
        ("SET PASSWORD = 'x'", "SW1215"),
        ("SET ROLE admin", "SW1306"),
    ] {
        match decide(&variables, text) {
            Verdict::Refuse(error) => assert_eq!(error.entry.id, id),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_names_of_one_variable_do_not_stand_side_by_side() {
    let mut variables = session();
    follow(&mut variables, "SET tx_isolation = 'SERIALIZABLE'");
    follow(&mut variables, "SET transaction_isolation = 'READ-COMMITTED'");
    assert_eq!(value(&variables, "tx_isolation"), None);
    assert_eq!(value(&variables, "transaction_isolation"), Some("'READ-COMMITTED'"));
}

#[test]
fn followed_state_is_bounded() {
    let mut variables = session();
    let long = format!("SET @x = '{}'", "x".repeat(20_000));
    assert_eq!(pinned(decide(&variables, &long)), Some("large_state"));
    let mut pins = 0;
    for index in 0..1000 {
        match decide(&variables, &format!("SET @v{index} = 1")) {
            Verdict::Follow(changes) => variables.commit(changes),
            other => pins += usize::from(pinned(other) == Some("large_state")),
        }
    }
    assert!(pins > 700 && variables.state().variables().count() <= 256);
}

#[test]
fn a_reset_goes_back_to_the_login_and_keeps_the_database() {
    let mariadb = Context { flavor: Flavor::MariaDb, server_version: 101_119, ..defaults() };
    let mut variables = Variables::from_login(45, Some("shop"), mariadb);
    follow(&mut variables, "SET NAMES gbk");
    follow(&mut variables, "SET autocommit = 0");
    follow(&mut variables, "SET sql_mode = ansi");
    variables.set_database(Some("blog"));
    variables.reset();
    let fresh = Variables::from_login(45, Some("blog"), mariadb);
    assert_eq!(variables.state(), fresh.state());
    assert_eq!(variables.context(), fresh.context());
    assert!(variables.autocommit());
}

#[test]
fn a_reset_on_mysql_leads_to_the_default_collation() {
    let mut variables = session();
    variables.reset();
    assert_eq!(value(&variables, "collation_connection"), None);
    assert_eq!(value(&variables, "character_set_results"), Some("utf8mb4"));
    assert_eq!(value(&variables, "character_set_connection"), Some("utf8mb4"));
}

#[test]
fn characteristics_of_the_next_transaction_are_not_the_sessions() {
    let variables = session();
    for text in ["SET @@transaction_isolation = 'SERIALIZABLE'", "SET @@tx_read_only = 1"] {
        assert!(matches!(decide(&variables, text), Verdict::NextTransaction), "{text}");
    }
    for text in [
        "SET transaction_isolation = 'SERIALIZABLE'",
        "SET @@session.transaction_isolation = 'SERIALIZABLE'",
        "SET @@LOCAL.tx_read_only = 1",
        "SET SESSION transaction_read_only = 1",
    ] {
        assert!(matches!(decide(&variables, text), Verdict::Follow(_)), "{text}");
    }
    assert_eq!(
        pinned(decide(&variables, "SET @@transaction_isolation = 'SERIALIZABLE', autocommit = 0")),
        Some("next_transaction")
    );
}

#[test]
fn the_statements_of_common_clients_follow() {
    let mut variables = session();
    // Rails, Connector/J, go-sql-driver, mysqldump, Django.
    for text in [
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci, @@SESSION.sql_mode = 'STRICT_ALL_TABLES', @@SESSION.sql_auto_is_null = 0, @@SESSION.wait_timeout = 2147483",
        "SET character_set_results = NULL, autocommit=1",
        "SET sql_mode='STRICT_TRANS_TABLES'",
        "/*!40101 SET NAMES utf8mb4 */",
        "/*!40103 SET TIME_ZONE='+00:00' */",
        "SET SESSION TIME_ZONE='+00:00';",
        "SET SQL_AUTO_IS_NULL = 0",
        "SET SESSION net_write_timeout=600, SESSION group_concat_max_len = 1000000",
    ] {
        follow(&mut variables, text);
    }
    assert_eq!(value(&variables, "wait_timeout"), Some("2147483"));
}
