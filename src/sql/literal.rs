//! The value of a literal, as MySQL reads it: quotes, doubled quotes, escapes, joined strings, introducers, hex, bits.
//! Says what was written; converting it to a column's type is for others.

use std::borrow::Cow;

use super::lex::{TokenKind, is_blank, is_name_byte};
use super::{Charset, Context, Literal, LiteralClass};

/// What a literal stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Digits only; `None` when it is beyond 38 digits.
    Integer(Option<i128>),
    /// Digits and a point, as written.
    Decimal(&'a str),
    /// With an exponent, as written.
    Float(&'a str),
    /// An argument that was sent as a double; literals are [`Value::Float`].
    Double(f64),
    /// A string's bytes in the client's character set, or in `charset` (lower case) where an introducer says so.
    Text {
        bytes: Cow<'a, [u8]>,
        charset: Option<String>,
    },
    /// `x'41'`, `0x41`: bytes, which act as a number in numeric context. An odd number of digits is filled from the left.
    Hex(Vec<u8>),
    /// `b'01'`: likewise, the bits filled from the left to whole bytes.
    Bit(Vec<u8>),
    Placeholder,
}

/// What a `?` stands for in one execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameter<'a> {
    Null,
    /// As a literal of the same type, with its sign apart.
    Value {
        value: Value<'a>,
        negated: bool,
    },
    /// A date, a time, a type that only servers read: nothing is known of how it compares.
    Opaque,
}

/// Decodes `literal` of the scanned `text`.
pub(crate) fn decode<'a>(text: &'a [u8], literal: &Literal, context: &Context) -> Value<'a> {
    let raw = text.get(literal.span.start as usize..literal.span.end as usize).unwrap_or_default();
    decode_raw(raw, literal.class, context)
}

/// Decodes the bytes of one literal.
pub(crate) fn decode_raw<'a>(raw: &'a [u8], class: LiteralClass, context: &Context) -> Value<'a> {
    match class {
        LiteralClass::Integer => Value::Integer(ascii(raw).parse().ok()),
        LiteralClass::Decimal => Value::Decimal(ascii(raw)),
        LiteralClass::Float => Value::Float(ascii(raw)),
        LiteralClass::String | LiteralClass::JoinedString => {
            Value::Text { bytes: string_bytes(raw, context), charset: None }
        }
        LiteralClass::IntroducedString => introduced(raw, context),
        LiteralClass::Hex => Value::Hex(hex_bytes(raw)),
        LiteralClass::Bit => Value::Bit(bit_bytes(raw)),
        LiteralClass::Placeholder => Value::Placeholder,
    }
}

/// Numbers are ASCII by construction.
fn ascii(raw: &[u8]) -> &str {
    std::str::from_utf8(raw).unwrap_or_default()
}

fn introduced<'a>(raw: &'a [u8], context: &Context) -> Value<'a> {
    if let [b'n' | b'N', b'\'', ..] = raw {
        let bytes = string_bytes(&raw[1..], context);
        return Value::Text { bytes, charset: Some("utf8mb3".to_owned()) };
    }
    let length = raw.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(raw.len());
    let (name, rest) = raw.split_at(length);
    // `_utf8 0x41`: the digits are behind blanks, else they would be part of the name.
    let rest = rest.get(quote_position(rest)..).unwrap_or_default();
    let bytes = match rest {
        [b'\'' | b'"', ..] => string_bytes(rest, context),
        [b'x' | b'X', ..] | [b'0', b'x', ..] => Cow::Owned(hex_bytes(rest)),
        _ => Cow::Owned(bit_bytes(rest)),
    };
    let charset = String::from_utf8_lossy(name.get(1..).unwrap_or_default()).to_ascii_lowercase();
    Value::Text { bytes, charset: Some(charset) }
}

/// Where the literal behind an introducer begins: past blanks and comments.
fn quote_position(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        if is_blank(byte) {
            at += 1;
        } else if let Some(end) = comment_end(rest, at) {
            at = end;
        } else {
            break;
        }
    }
    at
}

/// Behind the comment at `at`. Executable comments between the pieces of one string are passed over whole.
fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'/', b'*', rest @ ..] => memchr::memmem::find(rest, b"*/").map(|length| at + 2 + length + 2),
        [b'#', ..] | [b'-', b'-', ..] => Some(super::comment::line_end(bytes, at)),
        _ => None,
    }
}

/// What a string literal without an introducer says; `None` for any other token.
pub(crate) fn literal_text(raw: &[u8], kind: TokenKind, context: &Context) -> Option<Vec<u8>> {
    let TokenKind::Literal(class @ (LiteralClass::String | LiteralClass::JoinedString)) = kind else {
        return None;
    };
    match decode_raw(raw, class, context) {
        Value::Text { bytes, charset: None } => Some(bytes.into_owned()),
        _ => None,
    }
}

/// The content of one or more adjacent strings; `raw` begins with a quote.
pub(crate) fn string_bytes<'a>(raw: &'a [u8], context: &Context) -> Cow<'a, [u8]> {
    let escapes = !context.mode.no_backslash_escapes;
    if let [quote, content @ .., last] = raw
        && quote == last
        && !content.iter().any(|byte| byte == quote || (escapes && *byte == b'\\'))
    {
        return Cow::Borrowed(content);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&quote @ (b'\'' | b'"')) = raw.get(at) {
        at = push_string(raw, at + 1, quote, context, &mut bytes);
        at += quote_position(raw.get(at..).unwrap_or_default());
    }
    Cow::Owned(bytes)
}

/// Adds one string from behind its opening quote; gives the offset behind its closing one.
fn push_string(raw: &[u8], mut at: usize, quote: u8, context: &Context, bytes: &mut Vec<u8>) -> usize {
    let escapes = !context.mode.no_backslash_escapes;
    while let Some(&byte) = raw.get(at) {
        if byte == quote {
            if raw.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            bytes.push(quote);
            at += 2;
        } else if byte == b'\\' && escapes {
            if let Some(&escaped) = raw.get(at + 1) {
                push_escaped(escaped, bytes);
            }
            at += 2;
        } else {
            let length = match context.charset {
                Charset::AsciiSafe => 1,
                charset => charset.character_length(&raw[at..]),
            };
            bytes.extend_from_slice(raw.get(at..at + length).unwrap_or_default());
            at += length;
        }
    }
    at
}

fn push_escaped(escaped: u8, bytes: &mut Vec<u8>) {
    match escaped {
        b'0' => bytes.push(0),
        b'b' => bytes.push(8),
        b'n' => bytes.push(b'\n'),
        b'r' => bytes.push(b'\r'),
        b't' => bytes.push(b'\t'),
        b'Z' => bytes.push(26),
        // Stay escaped: they are for LIKE.
        b'%' | b'_' => bytes.extend_from_slice(&[b'\\', escaped]),
        _ => bytes.push(escaped),
    }
}

/// The digits of `x'41'`, `0x41`, `b'1'` or `0b1`.
fn digits(raw: &[u8]) -> &[u8] {
    let digits = raw.get(2..).unwrap_or_default();
    digits.strip_suffix(b"'").unwrap_or(digits)
}

fn hex_bytes(raw: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16).unwrap_or(0)).unwrap_or(0);
    digits(raw)
        .rchunks(2)
        .rev()
        .map(|pair| pair.iter().fold(0_u8, |value, byte| value << 4 | digit(byte)))
        .collect()
}

fn bit_bytes(raw: &[u8]) -> Vec<u8> {
    digits(raw)
        .rchunks(8)
        .rev()
        .map(|bits| bits.iter().fold(0_u8, |value, bit| value << 1 | u8::from(*bit == b'1')))
        .collect()
}

/// The name in a quoted token.
pub(crate) fn unquote_name(raw: &[u8]) -> String {
    let Some((&quote, rest)) = raw.split_first() else { return String::new() };
    let content = rest.strip_suffix(&[quote]).unwrap_or(rest);
    let mut name = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        name.push(byte);
        if byte == quote {
            bytes.next();
        }
    }
    to_text(&name)
}

/// Bytes as text: UTF-8 where they are, else each byte as the character of its number, so that different bytes stay
/// different.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flavor, SqlMode};
    use super::*;

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

    fn text(raw: &str, class: LiteralClass) -> Vec<u8> {
        match decode_raw(raw.as_bytes(), class, &CONTEXT) {
            Value::Text { bytes, .. } => bytes.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn strings_are_unescaped_as_mysql_does_it() {
        assert_eq!(text("'abc'", LiteralClass::String), b"abc");
        assert_eq!(text("''", LiteralClass::String), b"");
        assert_eq!(text(r"'a''b\'c\\d'", LiteralClass::String), br"a'b'c\d");
        assert_eq!(text(r"'\0\b\n\r\t\Z\a\f'", LiteralClass::String), b"\0\x08\n\r\t\x1aaf");
        assert_eq!(text(r"'\%\_'", LiteralClass::String), br"\%\_");
        assert_eq!(text(r#""a'b""c""#, LiteralClass::String), br#"a'b"c"#);
    }

    #[test]
    fn adjacent_strings_are_joined() {
        assert_eq!(text("'a' 'b'", LiteralClass::JoinedString), b"ab");
        assert_eq!(text("'a' /* x */\n\"b\" -- y\n'c'", LiteralClass::JoinedString), b"abc");
    }

    #[test]
    fn introducers_are_reported() {
        let value = decode_raw(b"_LATIN1 'x'", LiteralClass::IntroducedString, &CONTEXT);
        assert_eq!(
            value,
            Value::Text { bytes: Cow::Borrowed(b"x".as_slice()), charset: Some("latin1".to_owned()) }
        );
        assert_eq!(text("_utf8mb4 x'4142'", LiteralClass::IntroducedString), b"AB");
        assert_eq!(text("_utf8mb4 0x41", LiteralClass::IntroducedString), b"A");
        assert_eq!(text("_utf8mb4 b'1000001'", LiteralClass::IntroducedString), b"A");
        assert_eq!(text("N'x' 'y'", LiteralClass::IntroducedString), b"xy");
    }

    #[test]
    fn without_backslash_escapes_a_backslash_is_a_letter() {
        let context = Context { mode: SqlMode { no_backslash_escapes: true, ..CONTEXT.mode }, ..CONTEXT };
        assert_eq!(string_bytes(br"'a\'", &context).as_ref(), br"a\");
    }

    #[test]
    fn a_trail_byte_is_no_backslash() {
        let context = Context { charset: Charset::Gbk, ..CONTEXT };
        assert_eq!(string_bytes(b"'\xbf\x5c'", &context).as_ref(), b"\xbf\x5c");
        assert_eq!(string_bytes(b"'\xbf\x5c\\n'", &context).as_ref(), b"\xbf\x5c\n");
    }

    #[test]
    fn hex_and_bits_are_filled_from_the_left() {
        assert_eq!(decode_raw(b"0x4", LiteralClass::Hex, &CONTEXT), Value::Hex(vec![4]));
        assert_eq!(decode_raw(b"x'0Aff'", LiteralClass::Hex, &CONTEXT), Value::Hex(vec![10, 255]));
        assert_eq!(decode_raw(b"b''", LiteralClass::Bit, &CONTEXT), Value::Bit(vec![]));
        assert_eq!(decode_raw(b"0b100000001", LiteralClass::Bit, &CONTEXT), Value::Bit(vec![1, 1]));
    }

    #[test]
    fn integers_beyond_all_columns_have_no_value() {
        assert_eq!(decode_raw(b"007", LiteralClass::Integer, &CONTEXT), Value::Integer(Some(7)));
        let long = "9".repeat(60);
        assert_eq!(decode_raw(long.as_bytes(), LiteralClass::Integer, &CONTEXT), Value::Integer(None));
    }
}
