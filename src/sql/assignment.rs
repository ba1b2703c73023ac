//! The assignments of a SET statement: what is set, in which scope, to which value. Knows the forms, not the variables.

use std::ops::Range;

use super::cursor::Cursor;
use super::lex::{TokenKind, symbol};
use super::{Context, LiteralClass, ParseError, Statement, Word, literal};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) target: Target,
    pub(crate) value: AssignedValue,
    /// The assignment without comma, with its scope if that is written.
    pub(crate) span: Range<u32>,
}

/// Names of system variables are in lower case; `x.y` for a variable of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Session(String),
    Global(String),
    /// PERSIST and PERSIST_ONLY.
    Persist(String),
    /// `@x`, without the sign and quotes.
    User(String),
    /// SET NAMES; `None` is DEFAULT.
    Names {
        charset: Option<String>,
        collation: Option<String>,
    },
    /// SET CHARACTER SET; `None` is DEFAULT.
    CharacterSet(Option<String>),
    Password,
    Role,
    /// SET RESOURCE GROUP and what else is not a variable.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AssignedValue {
    /// One string, number (with its sign) or bare word. `plain` is what it says: without quotes and escapes.
    Literal {
        span: Range<u32>,
        plain: Vec<u8>,
    },
    Default,
    /// Anything that a server has to compute.
    Expression {
        span: Range<u32>,
    },
    /// The target says it all.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Session,
    Global,
    Persist,
}

impl Scope {
    fn target(self, name: String) -> Target {
        match self {
            Scope::Session => Target::Session(name),
            Scope::Global => Target::Global(name),
            Scope::Persist => Target::Persist(name),
        }
    }
}

/// Reads a statement of kind Set.
pub(crate) fn assignments(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<Vec<Assignment>, ParseError> {
    let mut cursor = Cursor::new(text, statement, context)?;
    cursor.expect(Word::Set, "SET")?;
    let mut assignments = Vec::new();
    // A scope keyword holds for the assignments behind it that have none.
    let mut scope = Scope::Session;
    loop {
        let start = cursor.peek().start;
        let (target, value) = assignment(&mut cursor, &mut scope)?;
        assignments.push(Assignment { target, value, span: start..cursor.behind() });
        if !cursor.eat_symbol(b',') {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(assignments)
}

fn assignment(cursor: &mut Cursor<'_>, scope: &mut Scope) -> Result<(Target, AssignedValue), ParseError> {
    let token = cursor.peek();
    match token.kind {
        TokenKind::UserVariable => {
            cursor.advance();
            let name = user_variable(cursor, token.start..token.end);
            Ok((Target::User(name), assigned(cursor)?))
        }
        TokenKind::SystemVariable => {
            cursor.advance();
            let scope = written_scope(cursor, true).unwrap_or(Scope::Session);
            let name = variable_name(cursor)?;
            Ok((scope.target(name), assigned(cursor)?))
        }
        _ if is_assignment(cursor) => plain(cursor, *scope),
        _ => {
            if let Some(other) = other_form(cursor)? {
                return Ok((other, AssignedValue::Absent));
            }
            if let Some(written) = written_scope(cursor, false) {
                *scope = written;
            }
            plain(cursor, *scope)
        }
    }
}

fn plain(cursor: &mut Cursor<'_>, scope: Scope) -> Result<(Target, AssignedValue), ParseError> {
    let name = variable_name(cursor)?;
    Ok((scope.target(name), assigned(cursor)?))
}

/// Whether a name and `=` follow, so that the name is no keyword.
fn is_assignment(cursor: &Cursor<'_>) -> bool {
    let sign = cursor.ahead(1);
    cursor.peek().is_name()
        && (sign.is_symbol(b'=') || sign.is_symbol(symbol::ASSIGN))
        && cursor.peek().word() != Word::Password
}

/// `GLOBAL`, or `global.` behind `@@`.
fn written_scope(cursor: &mut Cursor<'_>, with_point: bool) -> Option<Scope> {
    let scope = match cursor.peek().word() {
        Word::Global => Scope::Global,
        Word::Session | Word::Local => Scope::Session,
        Word::Persist | Word::PersistOnly => Scope::Persist,
        _ => return None,
    };
    if with_point && !cursor.ahead(1).is_symbol(b'.') {
        return None;
    }
    cursor.advance();
    if with_point {
        cursor.advance();
    }
    Some(scope)
}

fn variable_name(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    let mut name = cursor.name()?;
    while cursor.eat_symbol(b'.') {
        name.push('.');
        name.push_str(&cursor.name()?);
    }
    Ok(name.to_lowercase())
}

fn user_variable(cursor: &Cursor<'_>, span: Range<u32>) -> String {
    let raw = cursor.text(span).get(1..).unwrap_or_default();
    match raw.first() {
        Some(b'`') => literal::unquote_name(raw),
        Some(b'\'' | b'"') => literal::to_text(&literal::string_bytes(raw, cursor.context())),
        _ => literal::to_text(raw),
    }
}

/// Forms that assign no variable.
fn other_form(cursor: &mut Cursor<'_>) -> Result<Option<Target>, ParseError> {
    match cursor.peek().word() {
        Word::Names => {
            cursor.advance();
            let charset = charset_name(cursor)?;
            let collation = match cursor.eat(Word::Collate) {
                true => charset_name(cursor)?,
                false => None,
            };
            Ok(Some(Target::Names { charset, collation }))
        }
        Word::Charset => {
            cursor.advance();
            Ok(Some(Target::CharacterSet(charset_name(cursor)?)))
        }
        Word::Character | Word::Char if cursor.ahead(1).word() == Word::Set => {
            cursor.advance();
            cursor.advance();
            Ok(Some(Target::CharacterSet(charset_name(cursor)?)))
        }
        Word::Password => Ok(Some(rest(cursor, Target::Password))),
        Word::Role => Ok(Some(rest(cursor, Target::Role))),
        Word::Default if cursor.ahead(1).word() == Word::Role => Ok(Some(rest(cursor, Target::Role))),
        Word::Resource | Word::Transaction => Ok(Some(rest(cursor, Target::Other))),
        _ => Ok(None),
    }
}

fn charset_name(cursor: &mut Cursor<'_>) -> Result<Option<String>, ParseError> {
    if cursor.eat(Word::Default) {
        return Ok(None);
    }
    cursor.name_or_string().map(|name| Some(name.to_lowercase()))
}

/// The form takes the statement to its end.
fn rest(cursor: &mut Cursor<'_>, target: Target) -> Target {
    while !cursor.is_at_end() {
        cursor.advance();
    }
    target
}

/// `=` and the value.
fn assigned(cursor: &mut Cursor<'_>) -> Result<AssignedValue, ParseError> {
    if !cursor.eat_symbol(b'=') && !cursor.eat_symbol(symbol::ASSIGN) {
        return Err(cursor.expected("= or :="));
    }
    let first = cursor.peek();
    let mut depth = 0_u32;
    let mut tokens = Vec::new();
    while !cursor.is_at_end() {
        match cursor.peek().kind {
            TokenKind::Symbol(b',') if depth == 0 => break,
            TokenKind::Symbol(b'(') => depth += 1,
            TokenKind::Symbol(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let token = cursor.advance();
        if tokens.len() < 3 {
            tokens.push(token);
        }
    }
    let span = first.start..cursor.behind();
    let signed = |class| matches!(class, LiteralClass::Integer | LiteralClass::Decimal | LiteralClass::Float);
    let kinds: Vec<_> = tokens.iter().map(|token| token.kind).collect();
    let raw = cursor.text(span.clone());
    let plain = match *kinds.as_slice() {
        [] => return Err(cursor.expected("a value")),
        [TokenKind::Word(Word::Default)] => return Ok(AssignedValue::Default),
        [TokenKind::Word(_)] if is_computed(raw) => return Ok(AssignedValue::Expression { span }),
        [TokenKind::Word(_)] => raw.to_vec(),
        [TokenKind::Quoted] => literal::unquote_name(raw).into_bytes(),
        [TokenKind::Literal(LiteralClass::String | LiteralClass::JoinedString)] => {
            literal::string_bytes(raw, cursor.context()).into_owned()
        }
        [TokenKind::Literal(class)] if signed(class) => raw.to_vec(),
        [TokenKind::Symbol(sign @ (b'-' | b'+')), TokenKind::Literal(class)] if signed(class) => {
            let mut plain = if sign == b'-' { vec![b'-'] } else { Vec::new() };
            plain.extend_from_slice(cursor.text(tokens[1].start..tokens[1].end));
            plain
        }
        _ => return Ok(AssignedValue::Expression { span }),
    };
    Ok(AssignedValue::Literal { span, plain })
}

/// Words that are functions without parentheses.
fn is_computed(word: &[u8]) -> bool {
    const COMPUTED: [&str; 10] = [
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_USER",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "UTC_DATE",
        "UTC_TIME",
        "UTC_TIMESTAMP",
        "CURRENT_ROLE",
    ];
    COMPUTED.iter().any(|computed| computed.as_bytes().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MYSQL, scan};
    use super::*;

    fn read(text: &str) -> Result<Vec<Assignment>, ParseError> {
        assignments(text.as_bytes(), &scan(text), &MYSQL)
    }

    /// Targets and values, short.
    fn shown(text: &str) -> Vec<String> {
        let assignments = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assignments
            .into_iter()
            .map(|assignment| {
                let value = match assignment.value {
                    AssignedValue::Literal { plain, .. } => format!("={}", literal::to_text(&plain)),
                    AssignedValue::Default => "=DEFAULT".to_owned(),
                    AssignedValue::Expression { span } => {
                        format!("=expr:{}", &text[span.start as usize..span.end as usize])
                    }
                    AssignedValue::Absent => String::new(),
                };
                match assignment.target {
                    Target::Session(name) => format!("s:{name}{value}"),
                    Target::Global(name) => format!("g:{name}{value}"),
                    Target::Persist(name) => format!("p:{name}{value}"),
                    Target::User(name) => format!("u:{name}{value}"),
                    other => format!("{other:?}{value}"),
                }
            })
            .collect()
    }

    #[test]
    fn every_way_to_name_a_session_variable_is_the_same() {
        for text in [
            "SET autocommit = 1",
            "set AutoCommit:=1;",
            "SET SESSION autocommit=1",
            "SET LOCAL autocommit=1",
            "SET @@autocommit = 1",
            "SET @@session.autocommit = 1",
            "SET @@LOCAL.`autocommit` = 1",
            "SET `autocommit` = 1",
        ] {
            assert_eq!(shown(text), ["s:autocommit=1"], "{text}");
        }
    }

    #[test]
    fn a_scope_keyword_holds_for_what_follows() {
        assert_eq!(
            shown("SET a=1, GLOBAL b=2, c=3, @@d=4, @e=5, @@global.f=6, SESSION g=7, h=8, PERSIST_ONLY i=9"),
            ["s:a=1", "g:b=2", "g:c=3", "s:d=4", "u:e=5", "g:f=6", "s:g=7", "s:h=8", "p:i=9"]
        );
    }

    #[test]
    fn values_are_literals_defaults_or_expressions() {
        assert_eq!(
            shown("SET a='it''s', b=-5, c=ON, d=DEFAULT, e=1.5, f=utf8mb4, g=\"x\" 'y', h=+3, i=TRUE"),
            [
                "s:a=it's",
                "s:b=-5",
                "s:c=ON",
                "s:d=DEFAULT",
                "s:e=1.5",
                "s:f=utf8mb4",
                "s:g=xy",
                "s:h=3",
                "s:i=TRUE"
            ]
        );
        assert_eq!(
            shown(
                "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI'), x = (SELECT 1), y = 1 + 1, z = @a, t = CURRENT_TIMESTAMP"
            ),
            [
                "s:sql_mode=expr:CONCAT(@@sql_mode, ',ANSI')",
                "s:x=expr:(SELECT 1)",
                "s:y=expr:1 + 1",
                "s:z=expr:@a",
                "s:t=expr:CURRENT_TIMESTAMP"
            ]
        );
    }

    #[test]
    fn user_variables_may_be_quoted() {
        assert_eq!(shown("SET @a := 1, @`b c` = 'x', @'d' = NULL"), ["u:a=1", "u:b c=x", "u:d=NULL"]);
    }

    #[test]
    fn names_and_character_sets_are_read() {
        let names = |charset: Option<&str>, collation: Option<&str>| Target::Names {
            charset: charset.map(str::to_owned),
            collation: collation.map(str::to_owned),
        };
        for (text, target) in [
            ("SET NAMES utf8mb4", names(Some("utf8mb4"), None)),
            ("SET NAMES 'UTF8' COLLATE 'utf8_bin'", names(Some("utf8"), Some("utf8_bin"))),
            ("SET NAMES binary", names(Some("binary"), None)),
            ("SET NAMES DEFAULT", names(None, None)),
            ("SET CHARACTER SET latin1", Target::CharacterSet(Some("latin1".to_owned()))),
            ("SET CHARSET 'latin1'", Target::CharacterSet(Some("latin1".to_owned()))),
            ("SET CHARSET DEFAULT", Target::CharacterSet(None)),
            ("SET PASSWORD = 'x'", Target::Password),
            ("SET PASSWORD FOR a@b = 'x'", Target::Password),
            ("SET ROLE ALL", Target::Role),
            ("SET DEFAULT ROLE a TO b", Target::Role),
            ("SET RESOURCE GROUP x", Target::Other),
        ] {
            let read = read(text).unwrap();
            assert_eq!(read.len(), 1, "{text}");
            assert_eq!(read[0].target, target, "{text}");
        }
        let many = read("SET NAMES utf8mb4, autocommit = 0").unwrap();
        assert_eq!(many[1].target, Target::Session("autocommit".to_owned()));
        assert_eq!(many[1].span, 19..33);
    }

    #[test]
    fn components_and_executable_comments_are_seen_through() {
        assert_eq!(shown("SET GLOBAL validate_password.length = 4"), ["g:validate_password.length=4"]);
        assert_eq!(shown("/*!40101 SET SQL_MODE='ANSI' */"), ["s:sql_mode=ANSI"]);
        assert_eq!(
            shown("/*!40101 SET @OLD=@@SQL_MODE, SQL_MODE='A' */;"),
            ["u:OLD=expr:@@SQL_MODE", "s:sql_mode=A"]
        );
    }

    #[test]
    fn what_is_no_assignment_is_an_error() {
        for text in [
            "SET",
            "SET a",
            "SET a =",
            "SET a = 1,",
            "SET 5 = 1",
            "SET a = , b = 1",
            "SET NAMES",
            "SET NAMES a b",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
