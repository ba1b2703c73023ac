use super::super::testing::{MARIADB, MYSQL};
use super::super::{Charset, SqlMode};
use super::*;

fn tokens_in(text: &[u8], context: &Context) -> Result<Vec<String>, ScanError> {
    let mut lexer = Lexer::new(text, context);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let shown = String::from_utf8_lossy(token.text(text)).into_owned();
        tokens.push(match token.kind {
            TokenKind::End => return Ok(tokens),
            TokenKind::Word(_) => format!("w:{shown}"),
            TokenKind::Quoted => format!("q:{shown}"),
            TokenKind::Literal(class) => format!("{class:?}:{shown}"),
            TokenKind::UserVariable => format!("u:{shown}"),
            TokenKind::SystemVariable => "@@".to_owned(),
            TokenKind::Symbol(_) => shown,
            TokenKind::OptimizerHint => format!("o:{shown}"),
            TokenKind::RoutingHint => format!("r:{shown}"),
            TokenKind::DollarQuoted => format!("$:{shown}"),
        });
    }
}

fn tokens(text: &str) -> Vec<String> {
    tokens_in(text.as_bytes(), &MYSQL).unwrap()
}

#[test]
fn numbers_end_where_the_server_ends_them() {
    assert_eq!(
        tokens("1 1.5 .5 5. 1e5 1E+5 1.5e-3 5.e1"),
        [
            "Integer:1",
            "Decimal:1.5",
            "Decimal:.5",
            "Decimal:5.",
            "Float:1e5",
            "Float:1E+5",
            "Float:1.5e-3",
            "Float:5.e1"
        ]
    );
    assert_eq!(tokens("1e5a"), ["Float:1e5", "w:a"]);
    assert_eq!(tokens("1.a"), ["Decimal:1.", "w:a"]);
    assert_eq!(
        tokens("1a 1e 1_000 0xg 0x 0b12 0X41"),
        ["w:1a", "w:1e", "w:1_000", "w:0xg", "w:0x", "w:0b12", "w:0X41"]
    );
    assert_eq!(
        tokens("0x4 0b01 x'41' B'1' b''"),
        ["Hex:0x4", "Bit:0b01", "Hex:x'41'", "Bit:B'1'", "Bit:b''"]
    );
}

#[test]
fn digits_behind_a_name_and_a_point_are_a_name() {
    assert_eq!(tokens("t.1e"), ["w:t", ".", "w:1e"]);
    assert_eq!(tokens("`t`.1e5"), ["q:`t`", ".", "w:1e5"]);
    assert_eq!(tokens("t .5"), ["w:t", "Decimal:.5"]);
}

#[test]
fn names_are_letters_digits_dollars_and_bytes_beyond_ascii() {
    assert_eq!(tokens("a$b é _x $1 `a``b`"), ["w:a$b", "w:é", "w:_x", "w:$1", "q:`a``b`"]);
}

#[test]
fn adjacent_strings_are_one_literal() {
    assert_eq!(tokens("'a' 'b' \"c\", 'd' x"), ["JoinedString:'a' 'b' \"c\"", ",", "String:'d'", "w:x"]);
    assert_eq!(tokens("'a' /* x */ 'b'"), ["JoinedString:'a' /* x */ 'b'"]);
    assert_eq!(tokens("'it''s' '\\''"), ["JoinedString:'it''s' '\\''"]);
    assert_eq!(tokens("N'a' 'b'"), ["IntroducedString:N'a' 'b'"]);
    assert_eq!(tokens("N\"a\""), ["w:N", "String:\"a\""]);
}

#[test]
fn only_charset_names_introduce() {
    assert_eq!(tokens("_utf8mb4'x'"), ["IntroducedString:_utf8mb4'x'"]);
    assert_eq!(
        tokens("_latin1 0x41 _utf8 b'1'"),
        ["IntroducedString:_latin1 0x41", "IntroducedString:_utf8 b'1'"]
    );
    assert_eq!(tokens("_foo 'x'"), ["w:_foo", "String:'x'"]);
    assert_eq!(tokens("_utf8 + 1"), ["w:_utf8", "+", "Integer:1"]);
}

#[test]
fn variables_are_tokens() {
    assert_eq!(tokens("@a.b @`x y` @'z' @"), ["u:@a.b", "u:@`x y`", "u:@'z'", "u:@"]);
    assert_eq!(tokens("@@global.x"), ["@@", "w:global", ".", "w:x"]);
}

#[test]
fn operators_are_as_long_as_they_can_be() {
    assert_eq!(
        tokens("a<=>b<>c!=d:=e->f->>g||h&&i<<j>=k"),
        [
            "w:a", "<=>", "w:b", "<>", "w:c", "!=", "w:d", ":=", "w:e", "->", "w:f", "->>", "w:g", "||",
            "w:h", "&&", "w:i", "<<", "w:j", ">=", "w:k"
        ]
    );
}

#[test]
fn two_exclamation_marks_are_read_where_the_server_reads_both() {
    let mut lexer = Lexer::new(b"!!1", &MYSQL);
    assert_eq!(lexer.next_token().unwrap().kind, TokenKind::Symbol(0));
    assert_eq!(tokens_in(b"!!1", &MARIADB).unwrap(), ["!", "!", "Integer:1"]);
}

#[test]
fn comments_are_no_tokens() {
    assert_eq!(tokens("a -- b\nc # d\ne /* f */ g/**/h"), ["w:a", "w:c", "w:e", "w:g", "w:h"]);
    assert_eq!(tokens("1--1"), ["Integer:1", "-", "-", "Integer:1"]);
    assert_eq!(tokens("1 --\t2"), ["Integer:1"]);
    assert_eq!(tokens("1 --"), ["Integer:1"]);
    assert_eq!(tokens("1 /*/ +1 /**/"), ["Integer:1"]);
}

#[test]
fn executable_comments_follow_version_and_flavor() {
    let included = |text: &str, context: &Context| {
        tokens_in(text.as_bytes(), context).unwrap().iter().any(|token| token == "w:x")
    };
    // The servers' own answers: (comment, MySQL 9.7.4, MariaDB 10.11.19).
    for (text, mysql, mariadb) in [
        ("1 /*! x */", true, true),
        ("1 /*!x*/", true, true),
        ("1 /*!80100 x */", true, false),
        ("1 /*!080100 x */", true, false),
        ("1 /*!99999 x */", false, false),
        ("1 /*!100000 x */", false, true),
        ("1 /*!101119 x */", false, true),
        ("1 /*!101120 x */", false, false),
        ("1 /*!90704 x */", true, false),
        ("1 /*!90705 x */", false, false),
        ("1 /*!800001 x */", false, false),
        ("1 /*!8010 x */", true, true),
        ("1 /*M! x */", false, true),
        ("1 /*M!100100 x */", false, true),
        ("1 /*M!101120 x */", false, false),
        ("1 /*M!50700 x */", false, true),
        ("1 /*!50699 x */", true, true),
        ("1 /*!50700 x */", true, false),
        ("1 /*!999999 y /* z */ x */", false, false),
        ("1 /*!40101 y /* z */ x */", true, true),
    ] {
        assert_eq!(included(text, &MYSQL), mysql, "MySQL: {text}");
        assert_eq!(included(text, &MARIADB), mariadb, "MariaDB: {text}");
    }
    assert_eq!(tokens("1 + /*!12 */ 2"), ["Integer:1", "+", "Integer:12", "Integer:2"]);
    assert_eq!(tokens("/*!40101 '*/' */ 2"), ["String:'*/'", "Integer:2"]);
}

#[test]
fn hints_are_tokens() {
    assert_eq!(tokens("SELECT /*+ A */ 1 /*+ B */"), ["w:SELECT", "o:/*+ A */", "Integer:1"]);
    assert_eq!(tokens("1 /* ShardWay: shard=a */"), ["Integer:1", "r:/* ShardWay: shard=a */"]);
}

#[test]
fn what_has_no_end_is_an_error() {
    for text in
        ["'a", "\"a\\\"", "`a", "x'4", "b'", "N'", "/* a", "/*! a", "/*!999999 a", "_utf8'", "@'x", "$$ab"]
    {
        assert!(
            matches!(tokens_in(text.as_bytes(), &MYSQL), Err(ScanError::Unterminated { .. })),
            "{text}: {:?}",
            tokens_in(text.as_bytes(), &MYSQL)
        );
    }
}

#[test]
fn sql_modes_change_quotes_and_escapes() {
    let ansi = Context { mode: SqlMode { ansi_quotes: true, ..MYSQL.mode }, ..MYSQL };
    assert_eq!(tokens_in(b"\"a\\\" 'b' \"c\"", &ansi).unwrap(), ["q:\"a\\\"", "String:'b'", "q:\"c\""]);
    let plain = Context { mode: SqlMode { no_backslash_escapes: true, ..MYSQL.mode }, ..MYSQL };
    assert_eq!(tokens_in(br"'a\' b", &plain).unwrap(), [r"String:'a\'", "w:b"]);
}

#[test]
fn trail_bytes_are_neither_quotes_nor_backslashes() {
    let gbk = Context { charset: Charset::Gbk, ..MYSQL };
    assert_eq!(tokens_in(b"'\xbf\x5c' a", &gbk).unwrap().len(), 2);
    // A lead byte before the quote is no character: the string ends.
    assert_eq!(tokens_in(b"'\xbf' a", &gbk).unwrap().len(), 2);
    assert_eq!(tokens_in(b"'\\\xbf' a", &gbk).unwrap().len(), 2);
    assert_eq!(tokens_in(b"\xbf\x60 a", &gbk).unwrap().len(), 2);
    assert!(tokens_in(b"`\xbf` a", &gbk).is_err());
    let sjis = Context { charset: Charset::Sjis, ..MYSQL };
    assert_eq!(tokens_in(b"'\x83\x5c' a", &sjis).unwrap().len(), 2);
    assert!(tokens_in(b"'\x83\x5c' a", &MYSQL).is_err());
}

#[test]
fn any_bytes_end_within_their_length() {
    use proptest::prelude::*;
    let pieces = prop::sample::select(vec![
        "'",
        "\"",
        "`",
        "\\",
        "/*",
        "*/",
        "/*!",
        "/*!50000",
        "/*M!",
        "-- ",
        "#",
        "\n",
        "@",
        "@@",
        "$$",
        "$a$",
        "0x",
        "1e",
        "1.",
        "_utf8",
        "N'",
        "b'",
        "a",
        " ",
        ".",
        "\u{e9}",
        "->",
        "/*+",
        "select",
        "/* shardway: */",
        "\0",
    ]);
    let charset =
        prop::sample::select(vec![Charset::AsciiSafe, Charset::Gbk, Charset::Gb18030, Charset::Sjis]);
    proptest!(|(pieces in prop::collection::vec(pieces, 0..30), raw in prop::collection::vec(any::<u8>(), 0..20),
                charset in charset, ansi in any::<bool>())| {
        let mut text = pieces.concat().into_bytes();
        text.extend_from_slice(&raw);
        for base in [MYSQL, MARIADB] {
            let mode = SqlMode { ansi_quotes: ansi, ..base.mode };
            let context = Context { charset, mode, ..base };
            let mut lexer = Lexer::new(&text, &context);
            let mut at = 0;
            let mut count = 0;
            while let Ok(token) = lexer.next_token() {
                prop_assert!(token.start >= at && token.end as usize <= text.len());
                if token.kind == TokenKind::End {
                    break;
                }
                prop_assert!(token.end > token.start);
                at = token.end;
                count += 1;
                prop_assert!(count <= text.len());
            }
        }
    });
}
