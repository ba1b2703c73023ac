use super::*;

fn state(database: Option<&str>, variables: &[(&str, &str)]) -> SessionState {
    let mut state = SessionState::default();
    state.set_database(database);
    for (name, value) in variables {
        state.set(name, value.as_bytes());
    }
    state
}

/// Splits a preparation into (command, body).
fn commands(preparation: &Preparation) -> Vec<(u8, String)> {
    let mut rest = preparation.packets.as_slice();
    let mut found = Vec::new();
    while let [a, b, c, sequence, tail @ ..] = rest {
        assert_eq!(*sequence, 0, "every command begins a sequence of its own");
        let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        let (payload, after) = tail.split_at(length);
        found.push((payload[0], String::from_utf8_lossy(&payload[1..]).into_owned()));
        rest = after;
    }
    assert_eq!(found.len(), preparation.replies);
    found
}

fn set(text: &str) -> (u8, String) {
    (COM_QUERY, text.to_owned())
}

#[test]
fn equal_lists_need_nothing_whoever_built_them() {
    let one = state(Some("shop"), &[("sql_mode", "''"), ("time_zone", "'+00:00'")]);
    let two = state(Some("shop"), &[("TIME_ZONE", "'+00:00'"), ("Sql_Mode", "''")]);
    assert_eq!(one, two);
    assert_eq!(one.fits(&two), Fit::Same);
    assert_eq!(one.prepare(&two), Preparation::default());
    let mut emptied = state(None, &[("a", "1")]);
    emptied.unset("A");
    assert_eq!(emptied, SessionState::default());
}

#[test]
fn additions_and_changes_are_one_set_with_the_scope_spelled_out() {
    let have = state(None, &[("autocommit", "1"), ("sql_mode", "''")]);
    let want = state(None, &[("autocommit", "1"), ("sql_mode", "'ANSI'"), ("@x", "5"), ("@a b`c", "6")]);
    assert_eq!(have.fits(&want), Fit::Prepare { commands: 1 });
    assert_eq!(
        commands(&have.prepare(&want)),
        [set("SET @`a b``c` = 6, @`x` = 5, @@session.sql_mode = 'ANSI'")]
    );
}

#[test]
fn a_variable_that_is_not_wanted_takes_a_reset_and_then_everything_again() {
    let have = state(Some("shop"), &[("sql_mode", "''"), ("timestamp", "1")]);
    let want = state(Some("shop"), &[("sql_mode", "''")]);
    assert_eq!(have.fits(&want), Fit::Reset);
    assert_eq!(
        commands(&have.prepare(&want)),
        [(COM_RESET_CONNECTION, String::new()), set("SET @@session.sql_mode = ''")]
    );
}

#[test]
fn a_database_is_changed_but_never_undone() {
    let none = state(None, &[]);
    let shop = state(Some("shop"), &[]);
    let blog = state(Some("blog"), &[]);
    assert_eq!(none.fits(&shop), Fit::Prepare { commands: 1 });
    assert_eq!(commands(&shop.prepare(&blog)), [(COM_INIT_DB, "blog".to_owned())]);
    assert_eq!(shop.fits(&none), Fit::Unfit);
    let dirty = state(Some("shop"), &[("a", "1")]);
    assert_eq!(dirty.fits(&none), Fit::Unfit);
    assert_eq!(dirty.after_reset(), shop);
}

#[test]
fn a_database_beyond_ascii_is_named_in_utf8_whatever_the_connection_speaks() {
    let have = state(None, &[("character_set_client", "gbk")]);
    let want = state(Some("läden"), &[("character_set_client", "gbk")]);
    assert_eq!(have.fits(&want), Fit::Prepare { commands: 2 });
    assert_eq!(
        commands(&have.prepare(&want)),
        [
            set("SET @@session.character_set_client = utf8mb4"),
            (COM_INIT_DB, "läden".to_owned()),
            set("SET @@session.character_set_client = gbk"),
        ]
    );
}

#[test]
fn character_set_and_collation_of_the_connection_change_together() {
    let plain = state(None, &[("character_set_connection", "utf8mb4")]);
    let named = state(
        None,
        &[("character_set_connection", "utf8mb4"), ("collation_connection", "utf8mb4_bin"), ("a", "1")],
    );
    let other = state(
        None,
        &[
            ("character_set_connection", "utf8mb4"),
            ("collation_connection", "utf8mb4_unicode_ci"),
            ("a", "1"),
        ],
    );
    assert_eq!(
        commands(&named.prepare(&other)),
        [set(
            "SET @@session.character_set_connection = utf8mb4, @@session.collation_connection = utf8mb4_unicode_ci"
        )]
    );
    let back = state(None, &[("character_set_connection", "utf8mb4"), ("a", "1")]);
    assert_eq!(named.fits(&back), Fit::Prepare { commands: 1 }, "the default collation comes with the set");
    assert_eq!(commands(&named.prepare(&back)), [set("SET @@session.character_set_connection = utf8mb4")]);
    assert_eq!(named.fits(&plain), Fit::Reset);
    let gone = state(None, &[("a", "1")]);
    assert_eq!(named.fits(&gone), Fit::Reset);
}

/// SET NAMES is the only statement that chooses the collation of results, and it sets the other three.
#[test]
fn a_collation_of_results_is_reached_by_set_names_before_everything_else() {
    let login = [
        ("character_set_client", "utf8mb4"),
        ("character_set_connection", "utf8mb4"),
        ("character_set_results", "utf8mb4 COLLATE utf8mb4_bin"),
        ("collation_connection", "utf8mb4_bin"),
    ];
    let names = "SET NAMES utf8mb4 COLLATE utf8mb4_bin, @@session.character_set_client = utf8mb4, \
                 @@session.character_set_connection = utf8mb4, @@session.collation_connection = utf8mb4_bin";
    let want = state(None, &login);
    assert_eq!(commands(&state(None, &[]).prepare(&want)), [set(names)]);
    // Whatever the connection carries of the other three is overwritten.
    let have = state(None, &[&login[..2], &[("character_set_results", "utf8mb4"), login[3]]].concat());
    assert_eq!(have.fits(&want), Fit::Prepare { commands: 1 });
    assert_eq!(commands(&have.prepare(&want)), [set(names)]);
    let ansi = state(None, &[&login[..], &[("sql_mode", "'ANSI'")]].concat());
    assert_eq!(commands(&want.prepare(&ansi)), [set("SET @@session.sql_mode = 'ANSI'")]);
    assert_eq!(
        commands(&want.prepare(&have)),
        [set("SET @@session.character_set_results = utf8mb4")],
        "the default of the server again"
    );
}

#[test]
fn a_clone_that_changes_leaves_the_original_alone() {
    let one = state(Some("shop"), &[("a", "1")]);
    let mut two = one.clone();
    two.set("a", b"2");
    assert_eq!(one.value("A"), Some(&b"1"[..]));
    assert_ne!(one, two);
    assert_eq!(one.bytes(), 2);
}

#[test]
fn a_statement_beyond_one_packet_is_split() {
    let mut want = SessionState::default();
    want.set("@x", &vec![b'1'; PAYLOAD_MAX]);
    let packets = SessionState::default().prepare(&want).packets;
    assert_eq!(&packets[..5], &[0xff, 0xff, 0xff, 0, COM_QUERY]);
    let second = HEADER_BYTES + PAYLOAD_MAX;
    let length = packets.len() - second - HEADER_BYTES;
    assert_eq!(&packets[second..second + 4], &[u8::try_from(length).unwrap(), 0, 0, 1]);
}

#[test]
fn fits_and_prepare_agree_on_random_lists() {
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let names = ["a", "character_set_connection", "collation_connection", "sql_mode", "@x"];
    for _ in 0..20_000 {
        let mut make = || {
            let mut made = SessionState::default();
            made.set_database([None, Some("d"), Some("é")][random(3) as usize]);
            for name in names {
                if random(2) == 0 {
                    made.set(name, if random(2) == 0 { b"1" } else { b"2" });
                }
            }
            made
        };
        let (have, want) = (make(), make());
        let sent = commands(&have.prepare(&want));
        match have.fits(&want) {
            Fit::Same => assert!(sent.is_empty()),
            Fit::Prepare { commands } => assert_eq!(sent.len(), commands, "{have:?} {want:?}"),
            Fit::Reset => assert_eq!(sent[0].0, COM_RESET_CONNECTION),
            Fit::Unfit => assert!(have.database().is_some() && want.database().is_none()),
        }
    }
}
