//! Values of SET as SQL text that reads the same under every sql_mode and every character set of a client: only ASCII, no
//! backslash, strings in hexadecimal digits with an introducer where plain quotes would not do. Pure.

use crate::sql::{Context, LiteralClass, Value, decode_raw, tokens};
use crate::wire::ColumnDefinition;

/// Values longer than this are not followed.
pub(crate) const VALUE_BYTES_MAX: usize = 4096;

/// A constant on the right side of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Constant {
    Null,
    /// A number, TRUE, FALSE, a hexadecimal or bit literal: its own text is all there is to it.
    Plain(Vec<u8>),
    /// A name without quotes, such as `utf8mb4`, ON or SYSTEM: system variables take it as a string.
    Word(String),
    /// A string's bytes, in the client's character set or the one that its introducer names.
    String {
        bytes: Vec<u8>,
        charset: Option<String>,
    },
}

/// Names that are calls although they have no parentheses.
const CALLS: [&str; 9] = [
    "CURRENT_DATE",
    "CURRENT_ROLE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "UTC_DATE",
    "UTC_TIMESTAMP",
];

/// Reads one constant; `None` for anything else.
pub(crate) fn constant(raw: &[u8], context: &Context) -> Option<Constant> {
    let raw = raw.trim_ascii();
    match raw {
        [b'\'', ..] => string(raw, LiteralClass::String, context),
        [b'"', ..] if !context.mode.ansi_quotes => string(raw, LiteralClass::String, context),
        [quote @ (b'"' | b'`'), name @ .., last] if quote == last => word(name),
        [b'n' | b'N', b'\'', ..] => string(raw, LiteralClass::IntroducedString, context),
        [b'x' | b'X' | b'b' | b'B', b'\'', ..] | [b'0', b'x' | b'b', ..] => {
            let digits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'\'';
            raw.iter().all(digits).then(|| Constant::Plain(raw.to_vec()))
        }
        [b'_', ..] if raw.iter().any(|byte| matches!(byte, b'\'' | b'"')) => {
            string(raw, LiteralClass::IntroducedString, context)
        }
        _ => number(raw).or_else(|| word(raw)),
    }
}

impl Constant {
    /// What a system variable takes as a string or name; `None` for NULL.
    pub(crate) fn name(&self) -> Option<String> {
        let bytes = match self {
            Constant::Null => return None,
            Constant::Plain(text) => text.as_slice(),
            Constant::Word(word) => word.as_bytes(),
            Constant::String { bytes, .. } => bytes,
        };
        std::str::from_utf8(bytes).ok().filter(|name| name.is_ascii()).map(str::to_owned)
    }

    /// For a system variable: the server converts strings, so that only their bytes and character set matter.
    pub(crate) fn for_system(&self, client: &str) -> Vec<u8> {
        match self {
            Constant::Null => b"NULL".to_vec(),
            Constant::Plain(text) => text.clone(),
            Constant::Word(word) => quoted(word.as_bytes(), client),
            Constant::String { bytes, charset } => quoted(bytes, charset.as_deref().unwrap_or(client)),
        }
    }

    /// For a user variable, which keeps character set and collation of its value: those of the connection. `None` for what is
    /// not a constant there, or would need the collation of an introducer.
    pub(crate) fn for_user(
        &self,
        client: &str,
        connection: &str,
        collation: Option<&str>,
    ) -> Option<Vec<u8>> {
        let mut text = match self {
            Constant::Plain(text) => return Some(text.clone()),
            Constant::String { bytes, charset: None } if client == connection => {
                introduced(bytes, connection)
            }
            Constant::String { bytes, charset: None } => {
                let mut text = b"CONVERT(".to_vec();
                text.extend(introduced(bytes, client));
                text.extend_from_slice(format!(" USING {connection})").as_bytes());
                text
            }
            Constant::String { bytes, charset: Some(charset) } => return Some(introduced(bytes, charset)),
            Constant::Null | Constant::Word(_) => return None,
        };
        if let Some(collation) = collation {
            text.extend_from_slice(format!(" COLLATE {collation}").as_bytes());
        }
        Some(text)
    }
}

/// A value that a server answered for a system variable. Numbers are told by their look.
pub(crate) fn read_back(value: Option<&[u8]>, charset: &str) -> Vec<u8> {
    match value {
        None => b"NULL".to_vec(),
        Some(bytes) => match number(bytes) {
            Some(Constant::Plain(text)) => text,
            _ => quoted(bytes, charset),
        },
    }
}

/// The value of a user variable that was computed, as SQL text of the same type: from its column, and its value, bytes in
/// hexadecimal digits, character set and collation. `Some(None)` is NULL; `None` what cannot be written down.
pub(crate) fn computed(column: &ColumnDefinition, values: &[Option<&[u8]>]) -> Option<Option<Vec<u8>>> {
    const LONG: u8 = 3;
    const DOUBLE: u8 = 5;
    const LONGLONG: u8 = 8;
    const NEWDECIMAL: u8 = 246;
    const STRINGS: std::ops::RangeInclusive<u8> = 249..=254;
    const UNSIGNED: u16 = 32;
    let [value, hex, charset, collation] = values else { return None };
    let Some(value) = value else { return Some(None) };
    let text = match column.kind {
        LONG | LONGLONG if column.flags & UNSIGNED != 0 => {
            [b"CAST(".as_slice(), number_text(value)?, b" AS UNSIGNED)"].concat()
        }
        LONG | LONGLONG => number_text(value)?.to_vec(),
        // A decimal number without a point is an integer.
        NEWDECIMAL if !value.contains(&b'.') => {
            [b"CAST(".as_slice(), number_text(value)?, b" AS DECIMAL(65,0))"].concat()
        }
        NEWDECIMAL => number_text(value)?.to_vec(),
        DOUBLE if value.iter().any(|byte| matches!(byte, b'e' | b'E')) => number_text(value)?.to_vec(),
        DOUBLE => [number_text(value)?, b"e0"].concat(),
        kind if STRINGS.contains(&kind) => {
            let name = |bytes: &Option<&[u8]>| {
                std::str::from_utf8((*bytes)?).ok().filter(|name| is_name(name)).map(str::to_owned)
            };
            let (charset, collation) = (name(charset)?, name(collation)?);
            let hex = (*hex)?;
            let digits = hex.len() <= 2 * VALUE_BYTES_MAX && hex.iter().all(u8::is_ascii_hexdigit);
            let hex = std::str::from_utf8(hex).ok().filter(|_| digits)?;
            // It has one collation, whose name is a keyword.
            let collate = if charset == "binary" { String::new() } else { format!(" COLLATE {collation}") };
            format!("_{charset} x'{hex}'{collate}").into_bytes()
        }
        _ => return None,
    };
    Some(Some(text))
}

fn number_text(value: &[u8]) -> Option<&[u8]> {
    number(value).map(|_| value)
}

/// Whether a name may stand in SQL text as it is: a charset, a collation.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn string(raw: &[u8], class: LiteralClass, context: &Context) -> Option<Constant> {
    // `'a' COLLATE x` and `'a' = 'b'` begin with a string, too.
    if tokens(raw, context).count() != 1 {
        return None;
    }
    match decode_raw(raw, class, context) {
        Value::Text { bytes, charset } => {
            let charset = charset.filter(|charset| is_name(charset));
            Some(Constant::String { bytes: bytes.into_owned(), charset })
        }
        _ => None,
    }
}

fn word(raw: &[u8]) -> Option<Constant> {
    let word = std::str::from_utf8(raw).ok()?;
    let begins = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !begins || !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')) {
        return None;
    }
    match word.to_ascii_uppercase().as_str() {
        "NULL" => Some(Constant::Null),
        "TRUE" => Some(Constant::Plain(b"1".to_vec())),
        "FALSE" => Some(Constant::Plain(b"0".to_vec())),
        upper if CALLS.contains(&upper) => None,
        _ => Some(Constant::Word(word.to_owned())),
    }
}

/// Sign, digits, point, exponent.
fn number(raw: &[u8]) -> Option<Constant> {
    let unsigned = match raw {
        [b'+' | b'-', rest @ ..] => rest.trim_ascii_start(),
        _ => raw,
    };
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit) && !text.is_empty();
    let fits = match mantissa.iter().position(|&byte| byte == b'.') {
        None => digits(mantissa),
        Some(at) => {
            let (whole, part) = (&mantissa[..at], &mantissa[at + 1..]);
            (digits(whole) || whole.is_empty()) && (digits(part) || part.is_empty()) && mantissa.len() > 1
        }
    };
    let exponent_fits = exponent.is_none_or(|text| {
        digits(text.strip_prefix(b"-").unwrap_or(text.strip_prefix(b"+").unwrap_or(text)))
    });
    (fits && exponent_fits).then(|| Constant::Plain(raw.to_vec()))
}

/// In quotes when every byte means the same everywhere, else in hexadecimal digits.
pub(crate) fn quoted(bytes: &[u8], charset: &str) -> Vec<u8> {
    // The other printable characters are letters in some national variants of ASCII, or the quote, or the escape.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _,.:;+-/*()=<>%&!?\"".contains(byte);
    if !bytes.iter().all(plain) {
        return introduced(bytes, charset);
    }
    let mut text = Vec::with_capacity(bytes.len() + 2);
    text.push(b'\'');
    text.extend_from_slice(bytes);
    text.push(b'\'');
    text
}

fn introduced(bytes: &[u8], charset: &str) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(bytes.len() * 2 + charset.len() + 5);
    text.push(b'_');
    text.extend_from_slice(charset.as_bytes());
    text.extend_from_slice(b" x'");
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text.push(b'\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Charset, Flavor, SqlMode};

    fn context() -> Context {
        Context {
            mode: SqlMode::default(),
            charset: Charset::AsciiSafe,
            flavor: Flavor::MySql,
            server_version: 80_406,
        }
    }

    fn system(raw: &str) -> Option<String> {
        let constant = constant(raw.as_bytes(), &context())?;
        Some(String::from_utf8(constant.for_system("utf8mb4")).unwrap())
    }

    #[test]
    fn numbers_and_digits_keep_their_text() {
        for text in ["0", "-5", "+1.5", ".5", "1.", "1e10", "1.5E-3", "0x41", "x'41'", "b'01'", "0b1"] {
            assert_eq!(system(text).as_deref(), Some(text));
        }
        assert_eq!(system("TRUE").as_deref(), Some("1"));
        assert_eq!(system("null").as_deref(), Some("NULL"));
    }

    #[test]
    fn strings_read_alike_with_and_without_escapes_and_ansi_quotes() {
        assert_eq!(system("'+00:00'").as_deref(), Some("'+00:00'"));
        assert_eq!(system("\"ANSI\"").as_deref(), Some("'ANSI'"));
        assert_eq!(system("ansi_quotes").as_deref(), Some("'ansi_quotes'"));
        assert_eq!(system("'a\\\\b'").as_deref(), Some("_utf8mb4 x'615c62'"));
        assert_eq!(system("'it''s'").as_deref(), Some("_utf8mb4 x'69742773'"));
        assert_eq!(system("'é'").as_deref(), Some("_utf8mb4 x'c3a9'"));
        assert_eq!(system("_latin1'\\\\'").as_deref(), Some("_latin1 x'5c'"));
        let mut literal = context();
        literal.mode.no_backslash_escapes = true;
        let same = constant(b"'a\\b'", &literal).unwrap();
        assert_eq!(same.for_system("utf8mb4"), b"_utf8mb4 x'615c62'");
    }

    #[test]
    fn a_trail_byte_that_looks_like_a_backslash_stays_in_its_character() {
        let gbk = Context { charset: Charset::Gbk, ..context() };
        let constant = constant(b"'\xbf\\'", &gbk).unwrap();
        assert_eq!(constant.for_system("gbk"), b"_gbk x'bf5c'");
    }

    #[test]
    fn expressions_are_no_constants() {
        for text in [
            "'a' COLLATE utf8mb4_bin",
            "'a' = 'b'",
            "'a' || 'b'",
            "_latin1'a' + 1",
            "1+1",
            "@x",
            "@@sql_mode",
            "CONCAT('a','b')",
            "(1)",
            "CURRENT_USER",
            "1e",
            ".",
            "- -",
            "a.b",
            "",
        ] {
            assert_eq!(system(text), None, "{text}");
        }
    }

    #[test]
    fn user_variables_keep_charset_and_collation_of_the_connection() {
        let user = |raw: &str, client, collation| {
            let text = constant(raw.as_bytes(), &context())?.for_user(client, "utf8mb4", collation);
            text.map(|text| String::from_utf8(text).unwrap())
        };
        assert_eq!(
            user("'a'", "utf8mb4", Some("utf8mb4_bin")).as_deref(),
            Some("_utf8mb4 x'61' COLLATE utf8mb4_bin")
        );
        assert_eq!(user("'a'", "latin1", None).as_deref(), Some("CONVERT(_latin1 x'61' USING utf8mb4)"));
        assert_eq!(user("_latin1'a'", "utf8mb4", Some("utf8mb4_bin")).as_deref(), Some("_latin1 x'61'"));
        assert_eq!(user("12", "utf8mb4", Some("utf8mb4_bin")).as_deref(), Some("12"));
        assert_eq!(user("abc", "utf8mb4", None), None);
    }

    #[test]
    fn what_a_server_answers_is_told_by_its_look() {
        let text = |value| String::from_utf8(read_back(value, "utf8mb4")).unwrap();
        assert_eq!(text(Some(b"10.000000")), "10.000000");
        assert_eq!(text(Some(b"ANSI,STRICT_ALL_TABLES")), "'ANSI,STRICT_ALL_TABLES'");
        assert_eq!(text(None), "NULL");
    }
}
