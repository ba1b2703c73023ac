//! What arguments mean: to the router as values, and as literals in the text of statements that the proxy runs itself. Pure.

use std::borrow::Cow;

use crate::sql::{Charset, Context, Parameter, Value};
use crate::wire::ArgumentValue;

/// For the router. `charset` is that of the client's strings where it is not the one that the text is read in.
pub(super) fn parameter<'a>(value: ArgumentValue<'a>, charset: Option<&str>) -> Parameter<'a> {
    let plain = |value, negated| Parameter::Value { value, negated };
    let text = |bytes, charset| plain(Value::Text { bytes: Cow::Borrowed(bytes), charset }, false);
    match value {
        ArgumentValue::Null => Parameter::Null,
        ArgumentValue::Integer(number) => plain(Value::Integer(Some(number.abs())), number < 0),
        ArgumentValue::Double(number) if number.is_finite() => {
            plain(Value::Double(number.abs()), number < 0.0)
        }
        ArgumentValue::Decimal(written) => decimal(written).unwrap_or(Parameter::Opaque),
        ArgumentValue::Text(bytes) => text(bytes, charset.map(str::to_owned)),
        ArgumentValue::Binary(bytes) => text(bytes, Some("binary".to_owned())),
        ArgumentValue::Double(_) | ArgumentValue::Temporal(_) | ArgumentValue::Other(_) => Parameter::Opaque,
    }
}

fn decimal(written: &[u8]) -> Option<Parameter<'_>> {
    let text = std::str::from_utf8(written).ok()?;
    let (negated, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(integer) || !all_digits(fraction) || integer.len() + fraction.len() == 0 {
        return None;
    }
    let value = match digits.contains('.') {
        true => Value::Decimal(digits),
        false => Value::Integer(digits.parse().ok()),
    };
    Some(Parameter::Value { value, negated })
}

/// The bytes of a literal that means the same; `None` where there is none. `charset` is `character_set_client`.
pub(super) fn literal(value: &ArgumentValue<'_>, context: &Context, charset: &str) -> Option<Vec<u8>> {
    Some(match value {
        ArgumentValue::Null => b"NULL".to_vec(),
        ArgumentValue::Integer(number) => number.to_string().into_bytes(),
        ArgumentValue::Double(number) if number.is_finite() => format!("{number:e}").into_bytes(),
        ArgumentValue::Decimal(written) => decimal(written).map(|_| written.to_vec())?,
        ArgumentValue::Temporal(text) => quoted(text.as_bytes()),
        ArgumentValue::Text(bytes) if reads_as_written(bytes, context) => quoted(bytes),
        ArgumentValue::Text(bytes) => [b"_", charset.as_bytes(), b" ", &hex(bytes)].concat(),
        ArgumentValue::Binary(bytes) => [b"_binary ".as_slice(), &hex(bytes)].concat(),
        ArgumentValue::Double(_) | ArgumentValue::Other(_) => return None,
    })
}

/// Between quotes nothing of it is an escape, whatever the sql_mode.
fn reads_as_written(bytes: &[u8], context: &Context) -> bool {
    !bytes.contains(&b'\\') && (bytes.is_ascii() || context.charset == Charset::AsciiSafe)
}

fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in bytes {
        if *byte == b'\'' {
            out.push(b'\'');
        }
        out.push(*byte);
    }
    out.push(b'\'');
    out
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Flavor, SqlMode};

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

    #[test]
    fn numbers_lose_their_sign_to_a_flag() {
        let value = |value, negated| Parameter::Value { value, negated };
        assert_eq!(parameter(ArgumentValue::Integer(-7), None), value(Value::Integer(Some(7)), true));
        assert_eq!(parameter(ArgumentValue::Double(-0.5), None), value(Value::Double(0.5), true));
        assert_eq!(parameter(ArgumentValue::Decimal(b"-1.50"), None), value(Value::Decimal("1.50"), true));
        assert_eq!(parameter(ArgumentValue::Decimal(b"15"), None), value(Value::Integer(Some(15)), false));
    }

    #[test]
    fn what_no_literal_says_is_opaque() {
        for value in [
            ArgumentValue::Double(f64::NAN),
            ArgumentValue::Decimal(b"1e5"),
            ArgumentValue::Decimal(b""),
            ArgumentValue::Decimal(b"."),
            ArgumentValue::Temporal("2024-01-01".to_owned()),
            ArgumentValue::Other(b"{}"),
        ] {
            assert_eq!(parameter(value, None), Parameter::Opaque);
        }
    }

    #[test]
    fn strings_of_another_character_set_say_so() {
        let charset = |value, charset| match parameter(value, charset) {
            Parameter::Value { value: Value::Text { charset, .. }, .. } => charset,
            other => panic!("{other:?}"),
        };
        assert_eq!(charset(ArgumentValue::Text(b"a"), None), None);
        assert_eq!(charset(ArgumentValue::Text(b"a"), Some("latin1")).as_deref(), Some("latin1"));
        assert_eq!(charset(ArgumentValue::Binary(b"a"), None).as_deref(), Some("binary"));
    }

    #[test]
    fn literals_read_back_as_their_arguments() {
        let written = |value| String::from_utf8(literal(&value, &CONTEXT, "utf8mb4").unwrap()).unwrap();
        assert_eq!(written(ArgumentValue::Text(b"it's")), "'it''s'");
        assert_eq!(written(ArgumentValue::Text(br"a\b")), "_utf8mb4 x'615c62'");
        assert_eq!(written(ArgumentValue::Binary(b"\0'")), "_binary x'0027'");
        assert_eq!(written(ArgumentValue::Double(-1.5)), "-1.5e0");
        assert_eq!(written(ArgumentValue::Integer(-3)), "-3");
        let gbk = Context { charset: Charset::Gbk, ..CONTEXT };
        let text = literal(&ArgumentValue::Text(b"\xbf\x27"), &gbk, "gbk").unwrap();
        assert_eq!(text, b"_gbk x'bf27'");
    }
}
