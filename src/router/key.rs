//! Literals as shard keys. A comparison is as MySQL makes it, and only as far as that is exact: whatever could also match
//! other stored values is `Unknown`, and every shard is asked. An inserted value is exact or refused.

use std::borrow::Cow;

use super::route::{RouteError, SessionView};
use crate::sql::Value;
use crate::topology::{Collation, ColumnType, Key, Scheme, without_padding};

/// Beyond this, doubles do not tell neighbours apart.
const EXACT_DOUBLE_MAX: i128 = 1 << 53;

/// What `key = literal` can match.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Match {
    /// This key and no other.
    Key(Key),
    /// No stored value.
    Nothing,
    /// Possibly several, or one that cannot be computed here.
    Unknown,
}

/// The literal's value with its sign.
pub(super) struct Constant<'v> {
    pub(super) value: Value<'v>,
    pub(super) negated: bool,
    /// The literal as written: `0x41` and `x'41'` are not the same everywhere. Empty for what was computed or sent apart.
    pub(super) written: &'v [u8],
}

impl Constant<'_> {
    /// The text has a `?` in its place.
    pub(super) fn is_argument(&self) -> bool {
        self.written.is_empty()
    }
}

/// The column that is compared or inserted into.
#[derive(Clone, Copy)]
pub(super) struct KeySpace<'t> {
    pub(super) scheme: &'t Scheme,
    pub(super) kind: &'t ColumnType,
}

impl KeySpace<'_> {
    /// `column = constant`
    pub(super) fn compared(
        &self,
        constant: &Constant<'_>,
        view: &SessionView<'_>,
    ) -> Result<Match, RouteError> {
        match self.kind {
            ColumnType::Integer { bits, unsigned } => Ok(integer_match(constant, *bits, *unsigned)),
            ColumnType::Text { collation, .. } => self.text_match(constant, collation, view),
            ColumnType::Binary { fixed, bytes_max } => Ok(binary_match(constant, *fixed, *bytes_max, view)),
            ColumnType::Temporal | ColumnType::Decimal | ColumnType::Other(_) => Ok(Match::Unknown),
        }
    }

    /// The key of a row that is inserted with `constant`; an error names why it is not exact.
    pub(super) fn inserted(
        &self,
        constant: &Constant<'_>,
        view: &SessionView<'_>,
    ) -> Result<Result<Key, &'static str>, RouteError> {
        match self.kind {
            ColumnType::Integer { bits, unsigned } => Ok(inserted_integer(constant, *bits, *unsigned)),
            ColumnType::Text { collation, characters_max } => {
                self.inserted_text(constant, collation, *characters_max, view)
            }
            ColumnType::Binary { fixed, bytes_max } => {
                Ok(inserted_binary(constant, *fixed, *bytes_max, view))
            }
            ColumnType::Temporal | ColumnType::Decimal | ColumnType::Other(_) => {
                Ok(Err("the column's type cannot be placed"))
            }
        }
    }

    fn text_match(
        &self,
        constant: &Constant<'_>,
        collation: &Collation,
        view: &SessionView<'_>,
    ) -> Result<Match, RouteError> {
        let Value::Text { bytes, charset: None } = &constant.value else { return Ok(Match::Unknown) };
        if constant.negated || !self.scheme.equal_keys_share_a_shard(self.kind) {
            return Ok(Match::Unknown);
        }
        if unpadded(bytes, collation) || differs_in_bytes(bytes, collation, view) && needs_raw(self.scheme) {
            return Ok(Match::Unknown);
        }
        let weights = weights(bytes, collation, view)?;
        Ok(Match::Key(Key::Bytes { weights, raw: bytes.to_vec() }))
    }

    fn inserted_text(
        &self,
        constant: &Constant<'_>,
        collation: &Collation,
        characters_max: u64,
        view: &SessionView<'_>,
    ) -> Result<Result<Key, &'static str>, RouteError> {
        let bytes: Cow<'_, [u8]> = match &constant.value {
            Value::Text { bytes, charset: None } if !constant.negated => Cow::Borrowed(bytes),
            Value::Text { bytes, charset: Some(charset) } if bytes.is_ascii() && !wide(charset) => {
                Cow::Borrowed(bytes)
            }
            // What is stored are the digits.
            Value::Integer(Some(number)) => {
                let sign = if constant.negated { -1 } else { 1 };
                Cow::Owned((number * sign).to_string().into_bytes())
            }
            _ => return Ok(Err("text keys are placed by a string or an integer")),
        };
        let Some(characters) = characters(&bytes, view) else {
            return Ok(Err("it is not text of the connection's character set"));
        };
        if characters > characters_max {
            return Ok(Err("it is longer than the column"));
        }
        if unpadded(&bytes, collation) {
            return Ok(Err("it ends in spaces, which the column may or may not keep"));
        }
        if needs_raw(self.scheme) && differs_in_bytes(&bytes, collation, view) {
            return Ok(Err("its bytes in the column's character set are not known"));
        }
        if needs_raw(self.scheme) && bytes.ends_with(b" ") {
            return Ok(Err("it ends in spaces, which the column may or may not keep"));
        }
        let weights = weights(&bytes, collation, view)?;
        Ok(Ok(Key::Bytes { weights, raw: bytes.into_owned() }))
    }
}

/// Functions over the text's own bytes.
fn needs_raw(scheme: &Scheme) -> bool {
    use crate::topology::KeyFunction;
    matches!(scheme.function, KeyFunction::Md5Mod { .. } | KeyFunction::Crc32Mod { .. })
}

fn wide(charset: &str) -> bool {
    ["ucs2", "utf16", "utf16le", "utf32"].iter().any(|wide| wide.eq_ignore_ascii_case(charset))
}

/// How many characters the text has. In character sets other than UTF-8 it may be fewer: a longer text is refused, not cut.
fn characters(bytes: &[u8], view: &SessionView<'_>) -> Option<u64> {
    let count = match is_utf8(view.charset) {
        true => std::str::from_utf8(bytes).ok()?.chars().count(),
        false => bytes.len(),
    };
    u64::try_from(count).ok()
}

fn is_utf8(charset: &str) -> bool {
    ["utf8", "utf8mb3", "utf8mb4"].iter().any(|name| name.eq_ignore_ascii_case(charset))
}

/// The column stores other bytes than the client sent.
fn differs_in_bytes(bytes: &[u8], collation: &Collation, view: &SessionView<'_>) -> bool {
    if bytes.is_ascii() {
        return wide(&collation.charset);
    }
    let same = collation.charset.eq_ignore_ascii_case(view.charset);
    let both_utf8 = is_utf8(&collation.charset) && is_utf8(view.charset);
    !(same || both_utf8)
}

/// Trailing spaces count for the collation, but a CHAR column does not keep them: two answers are possible.
fn unpadded(bytes: &[u8], collation: &Collation) -> bool {
    bytes.ends_with(b" ") && !collation.pad_space
}

fn weights(bytes: &[u8], collation: &Collation, view: &SessionView<'_>) -> Result<Vec<u8>, RouteError> {
    if let Some(weights) = collation.weights_of(bytes, view.charset) {
        return Ok(weights);
    }
    if let Some(learned) = view.weights.weights(&collation.name, bytes) {
        return Ok(trimmed(learned, collation));
    }
    Err(RouteError::WeightsNeeded { collation: collation.name.clone(), texts: vec![bytes.to_vec()] })
}

/// A server's weights, without those of trailing spaces where they do not count.
fn trimmed(weights: &[u8], collation: &Collation) -> Vec<u8> {
    let space = collation.ascii.as_deref().map(|table| table[usize::from(b' ')].as_slice());
    without_padding(weights.to_vec(), space.filter(|_| collation.pad_space))
}

/// Whether the constant is a quoted number so large that a comparison as DOUBLE also finds its neighbours. Servers compare so
/// in a list that holds strings and numbers; alone, the string is converted to the column's type.
pub(super) fn blurs_as_double(constant: &Constant<'_>, kind: &ColumnType) -> bool {
    match (&constant.value, kind) {
        (Value::Text { bytes, .. }, ColumnType::Integer { .. }) => {
            digits(bytes).is_none_or(|number| number.abs() >= EXACT_DOUBLE_MAX)
        }
        _ => false,
    }
}

/// As `blurs_as_double`, for an element beside others of other types: all of them are compared as DOUBLE.
pub(super) fn blurs_in_list(constant: &Constant<'_>, kind: &ColumnType) -> bool {
    match (&constant.value, kind) {
        (Value::Integer(number), ColumnType::Integer { .. }) => {
            number.is_none_or(|number| number.abs() >= EXACT_DOUBLE_MAX)
        }
        (Value::Decimal(written), ColumnType::Integer { .. }) => {
            whole(written).is_none_or(|number| number.abs() >= EXACT_DOUBLE_MAX)
        }
        _ => blurs_as_double(constant, kind),
    }
}

fn range_of(bits: u8, unsigned: bool) -> (i128, i128) {
    let span = 1_i128 << bits.min(64);
    if unsigned { (0, span - 1) } else { (-span / 2, span / 2 - 1) }
}

fn integer_match(constant: &Constant<'_>, bits: u8, unsigned: bool) -> Match {
    let (low, high) = range_of(bits, unsigned);
    let number = match &constant.value {
        Value::Integer(Some(number)) => signed(*number, constant.negated),
        // More than 38 digits: no integer column holds it, but servers differ in how they round.
        Value::Integer(None) => return Match::Unknown,
        Value::Decimal(written) => match whole(written) {
            Some(number) => signed(number, constant.negated),
            // MariaDB finds 8 by `= 7.5` in some plans.
            None => return Match::Unknown,
        },
        Value::Float(written) => match written.parse().ok().and_then(whole_double) {
            Some(number) => signed(number, constant.negated),
            None => return Match::Unknown,
        },
        Value::Double(number) => match whole_double(*number) {
            Some(number) => signed(number, constant.negated),
            None => return Match::Unknown,
        },
        Value::Text { bytes, charset: None } if !constant.negated => match digits(bytes) {
            Some(number) => number,
            None => return Match::Unknown,
        },
        Value::Hex(bytes) if zero_x(constant.written) && !constant.negated => match number_of(bytes) {
            Some(number) => number,
            None => return Match::Unknown,
        },
        Value::Bit(bytes) if !constant.negated => match number_of(bytes) {
            Some(number) => number,
            None => return Match::Unknown,
        },
        _ => return Match::Unknown,
    };
    match number {
        number if (low..=high).contains(&number) => Match::Key(Key::Integer(number)),
        // No unsigned column holds a negative number; beyond the other ends servers clip in some plans.
        number if number < 0 && unsigned && matches!(constant.value, Value::Integer(_)) => Match::Nothing,
        _ => Match::Unknown,
    }
}

fn inserted_integer(constant: &Constant<'_>, bits: u8, unsigned: bool) -> Result<Key, &'static str> {
    let (low, high) = range_of(bits, unsigned);
    let number = match &constant.value {
        Value::Integer(Some(number)) => signed(*number, constant.negated),
        Value::Decimal(written) => {
            signed(whole(written).ok_or("it would be rounded to the column's type")?, constant.negated)
        }
        Value::Double(number) => {
            signed(whole_double(*number).ok_or("it would be rounded to the column's type")?, constant.negated)
        }
        Value::Text { bytes, charset: None } if !constant.negated => {
            digits(bytes).ok_or("it is not an integer as the column stores it")?
        }
        Value::Hex(bytes) if zero_x(constant.written) && !constant.negated => {
            number_of(bytes).ok_or("it is beyond the column's range")?
        }
        _ => return Err("it is not an integer as the column stores it"),
    };
    match (low..=high).contains(&number) {
        true => Ok(Key::Integer(number)),
        false => Err("it is beyond the column's range"),
    }
}

fn signed(number: i128, negated: bool) -> i128 {
    if negated { -number } else { number }
}

/// The integer that a double is, if it has no neighbours that round to it.
fn whole_double(number: f64) -> Option<i128> {
    // Exact: below 2^53 every integral double is that integer.
    (number.fract() == 0.0 && number.abs() < EXACT_DOUBLE_MAX as f64).then_some(number as i128)
}

/// The integer that a decimal without a fraction is.
fn whole(written: &str) -> Option<i128> {
    let (integer, fraction) = written.split_once('.')?;
    if !fraction.bytes().all(|digit| digit == b'0') {
        return None;
    }
    if integer.is_empty() { Some(0) } else { integer.parse().ok() }
}

/// A string that is the plain spelling of an integer which doubles hold exactly.
fn digits(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.is_empty() || unsigned.len() > 20 || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn zero_x(written: &[u8]) -> bool {
    written.starts_with(b"0x")
}

fn number_of(bytes: &[u8]) -> Option<i128> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | i128::from(*byte)))
}

/// Bytes that mean the same whatever the connection's character set is.
fn binary_bytes<'v>(constant: &'v Constant<'_>, view: &SessionView<'_>) -> Option<&'v [u8]> {
    match &constant.value {
        _ if constant.negated => None,
        Value::Text { bytes, charset: Some(charset) } if charset == "binary" => Some(bytes),
        Value::Text { bytes, charset: None }
            if bytes.is_ascii() || view.charset.eq_ignore_ascii_case("binary") =>
        {
            Some(bytes)
        }
        Value::Hex(bytes) => Some(bytes),
        _ => None,
    }
}

fn binary_match(constant: &Constant<'_>, fixed: bool, bytes_max: u64, view: &SessionView<'_>) -> Match {
    match binary_bytes(constant, view) {
        // Stored values of BINARY(n) have n bytes, and all of them count in comparisons.
        Some(bytes) if fixed && u64::try_from(bytes.len()) != Ok(bytes_max) => Match::Unknown,
        Some(bytes) => Match::Key(Key::binary(bytes)),
        None => Match::Unknown,
    }
}

fn inserted_binary(
    constant: &Constant<'_>,
    fixed: bool,
    bytes_max: u64,
    view: &SessionView<'_>,
) -> Result<Key, &'static str> {
    let Some(bytes) = binary_bytes(constant, view) else {
        return Err("binary keys are placed by x'…', 0x…, _binary'…' or an ASCII string");
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length > bytes_max {
        return Err("it is longer than the column");
    }
    let mut stored = bytes.to_vec();
    if fixed {
        stored.resize(usize::try_from(bytes_max).unwrap_or(stored.len()), 0);
    }
    Ok(Key::binary(&stored))
}
