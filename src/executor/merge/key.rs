//! How two rows compare: by the type that a key's column has in the shards' results, as MySQL orders values of that type.
//! NULL comes first. What cannot be compared exactly is refused before any row is given out.

use std::cmp::Ordering;

use super::merger::MergeError;
use super::row::Row;
use super::{decimal, float};
use crate::planner::{KeySource, Place, SortKey};
use crate::wire::ColumnDefinition;

/// Where a key is in a row and how it compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    by: By,
    descending: bool,
    /// The columns that hold it.
    pub(super) columns: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Number(usize),
    Float(usize),
    Time(usize),
    Bits(usize),
    Bytes(usize),
    Weights { weights: usize, padding: usize },
}

/// A key's value, read once per row; ranges are columns of that row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Null,
    /// Whole numbers, and TIME in microseconds.
    Whole(i128),
    /// A number with a point, in this column.
    Decimal(usize),
    Float(f64),
    Bytes(usize),
    Bits(usize),
    Padded {
        weights: usize,
        padding: usize,
    },
}

/// What a key is for: equality of shown values is enough to find the least of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Order,
    Extreme,
}

const FLAG_ENUM: u16 = 256;
const FLAG_SET: u16 = 2048;
const BINARY: u16 = 63;

/// Types as `enum_field_types` numbers them.
mod kind {
    pub(super) const DECIMAL: u8 = 0;
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const STRING: u8 = 254;
}

pub(super) fn is_whole(column: &ColumnDefinition) -> bool {
    matches!(column.kind, kind::TINY | kind::SHORT | kind::LONG | kind::LONGLONG | kind::INT24)
}

pub(super) fn is_decimal(column: &ColumnDefinition) -> bool {
    matches!(column.kind, kind::DECIMAL | kind::NEWDECIMAL)
}

pub(super) fn is_double(column: &ColumnDefinition) -> bool {
    column.kind == kind::DOUBLE
}

/// The keys for results with these columns, of which the last `hidden` were appended.
pub(super) fn keys(
    wanted: &[SortKey],
    columns: &[ColumnDefinition],
    hidden: usize,
) -> Result<Vec<Key>, MergeError> {
    let key = |wanted: &SortKey| {
        let key = Key::new(wanted.source, Purpose::Order, columns, hidden)?;
        Ok(Key { descending: wanted.descending, ..key })
    };
    wanted.iter().map(key).collect()
}

impl Key {
    pub(super) fn new(
        source: KeySource,
        purpose: Purpose,
        columns: &[ColumnDefinition],
        hidden: usize,
    ) -> Result<Key, MergeError> {
        let at = |place: Place| place.index(columns.len(), hidden).ok_or(MergeError::Columns);
        let (by, held) = match source {
            KeySource::Value(value) => (by_value(at(value)?, purpose, columns)?, vec![at(value)?]),
            KeySource::Text { weights, padding } => {
                let (weights, padding) = (at(weights)?, at(padding)?);
                (By::Weights { weights, padding }, vec![weights, padding])
            }
            KeySource::Moment { value, seconds } => {
                let (value, seconds) = (at(value)?, at(seconds)?);
                let zoned = columns[value].kind == kind::TIMESTAMP;
                let by = by_value(if zoned { seconds } else { value }, purpose, columns)?;
                (by, vec![value, seconds])
            }
            KeySource::Unknown { value, weights, padding } => {
                let (value, weights, padding) = (at(value)?, at(weights)?, at(padding)?);
                let by = match is_text(&columns[value]) {
                    true => By::Weights { weights, padding },
                    false => by_value(value, purpose, columns)?,
                };
                (by, vec![value, weights, padding])
            }
        };
        Ok(Key { by, descending: false, columns: held })
    }

    pub(super) fn read(&self, row: &Row) -> Result<Value, MergeError> {
        let unreadable = |column: usize| MergeError::Value { column };
        Ok(match self.by {
            By::Number(column) => match row.value(column) {
                None => Value::Null,
                Some(text) => match whole(text) {
                    Some(number) => Value::Whole(number),
                    None if decimal::is_number(text) => Value::Decimal(column),
                    None => return Err(unreadable(column)),
                },
            },
            By::Float(column) => match row.value(column) {
                None => Value::Null,
                Some(text) => Value::Float(float::parse(text).ok_or_else(|| unreadable(column))?),
            },
            By::Time(column) => match row.value(column) {
                None => Value::Null,
                Some(text) => Value::Whole(microseconds(text).ok_or_else(|| unreadable(column))?),
            },
            By::Bits(column) => row.value(column).map_or(Value::Null, |_| Value::Bits(column)),
            By::Bytes(column) => row.value(column).map_or(Value::Null, |_| Value::Bytes(column)),
            By::Weights { weights, padding } => match (row.value(weights), row.value(padding)) {
                (None, None) => Value::Null,
                (Some(_), Some(told)) if is_padding(told) => Value::Padded { weights, padding },
                // Too long for the server's max_allowed_packet, or padding that depends on the place.
                _ => return Err(unreadable(weights)),
            },
        })
    }
}

fn is_text(column: &ColumnDefinition) -> bool {
    let string = column.kind == kind::VARCHAR || (kind::TINY_BLOB..=kind::STRING).contains(&column.kind);
    string && column.collation != BINARY && column.flags & (FLAG_ENUM | FLAG_SET) == 0
}

fn by_value(at: usize, purpose: Purpose, columns: &[ColumnDefinition]) -> Result<By, MergeError> {
    let column = &columns[at];
    let refused = |what: &'static str| MergeError::Type { column: at, what };
    match column.kind {
        _ if column.flags & (FLAG_ENUM | FLAG_SET) != 0 => Err(refused("an ENUM or SET in an expression")),
        kind::TINY | kind::SHORT | kind::LONG | kind::LONGLONG | kind::INT24 | kind::YEAR => {
            Ok(By::Number(at))
        }
        kind::DECIMAL | kind::NEWDECIMAL => Ok(By::Number(at)),
        kind::DOUBLE if column.decimals >= float::NOT_FIXED => Ok(By::Float(at)),
        // Shown rounded: different values may look alike.
        kind::FLOAT | kind::DOUBLE if purpose == Purpose::Extreme => Ok(By::Float(at)),
        kind::FLOAT | kind::DOUBLE => Err(refused("a rounded FLOAT or DOUBLE in an expression")),
        kind::DATE | kind::NEWDATE | kind::DATETIME | kind::NULL => Ok(By::Bytes(at)),
        kind::TIMESTAMP => Err(refused("a TIMESTAMP in an expression")),
        kind::TIME => Ok(By::Time(at)),
        kind::BIT => Ok(By::Bits(at)),
        kind::VARCHAR | kind::TINY_BLOB..=kind::STRING if column.collation == BINARY => Ok(By::Bytes(at)),
        kind::VARCHAR | kind::TINY_BLOB..=kind::STRING => Err(refused("text")),
        _ => Err(refused("a value of this type")),
    }
}

/// Whole numbers of 64 bits, ZEROFILL or not.
fn whole(text: &[u8]) -> Option<i128> {
    const DIGITS_MAX: usize = 30;
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    Some(if negative { -number } else { number })
}

/// `-838:59:59.000000`
fn microseconds(text: &[u8]) -> Option<i128> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let mut parts = text.split(|byte| *byte == b':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (seconds, fraction) = match memchr::memchr(b'.', seconds) {
        Some(point) => (&seconds[..point], &seconds[point + 1..]),
        None => (seconds, &seconds[seconds.len()..]),
    };
    let mut micros = 0;
    for place in 0..6 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        micros = micros * 10 + i128::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    let total = (whole(hours)? * 3600 + whole(minutes)? * 60 + whole(seconds)?) * 1_000_000 + micros;
    Some(if negative { -total } else { total })
}

/// One byte: nothing is padded. Else the weight of a space, twice: a space weighs the same wherever it stands.
fn is_padding(told: &[u8]) -> bool {
    let (first, second) = told.split_at(told.len() / 2);
    told.len() == 1 || (!first.is_empty() && first == second)
}

/// The keys of two rows, in their directions.
pub(super) fn compare(
    keys: &[Key],
    (left_row, left): (&Row, &[Value]),
    (right_row, right): (&Row, &[Value]),
) -> Ordering {
    for ((key, left), right) in keys.iter().zip(left).zip(right) {
        let order = compare_values((left_row, *left), (right_row, *right));
        if order != Ordering::Equal {
            return if key.descending { order.reverse() } else { order };
        }
    }
    Ordering::Equal
}

pub(super) fn compare_values((left_row, left): (&Row, Value), (right_row, right): (&Row, Value)) -> Ordering {
    let (in_left, in_right) = (
        |column| left_row.value(column).unwrap_or_default(),
        |column| right_row.value(column).unwrap_or_default(),
    );
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Whole(left), Value::Whole(right)) => left.cmp(&right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        (Value::Bytes(left), Value::Bytes(right)) => in_left(left).cmp(in_right(right)),
        (Value::Bits(left), Value::Bits(right)) => {
            let significant = |bits: &[u8]| bits.iter().position(|byte| *byte != 0).unwrap_or(bits.len());
            let (left, right) = (in_left(left), in_right(right));
            let (left, right) = (&left[significant(left)..], &right[significant(right)..]);
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        }
        (Value::Padded { weights: left, padding }, Value::Padded { weights: right, .. }) => {
            compare_padded(in_left(left), in_right(right), in_left(padding))
        }
        (Value::Whole(number), Value::Decimal(column)) => {
            decimal::compare(number.to_string().as_bytes(), in_right(column)).unwrap_or(Ordering::Equal)
        }
        (Value::Decimal(column), Value::Whole(number)) => {
            decimal::compare(in_left(column), number.to_string().as_bytes()).unwrap_or(Ordering::Equal)
        }
        (Value::Decimal(left), Value::Decimal(right)) => {
            decimal::compare(in_left(left), in_right(right)).unwrap_or(Ordering::Equal)
        }
        // One key gives values of one kind.
        (
            Value::Whole(_)
            | Value::Decimal(_)
            | Value::Float(_)
            | Value::Bytes(_)
            | Value::Bits(_)
            | Value::Padded { .. },
            _,
        ) => Ordering::Equal,
    }
}

/// As if spaces without end stood behind both texts, where the collation pads.
fn compare_padded(left: &[u8], right: &[u8], padding: &[u8]) -> Ordering {
    let common = left.len().min(right.len());
    let order = left[..common].cmp(&right[..common]);
    if order != Ordering::Equal || left.len() == right.len() {
        return order;
    }
    if padding.len() < 2 {
        return left.len().cmp(&right.len());
    }
    let space = &padding[..padding.len() / 2];
    let against_spaces = |rest: &[u8]| -> Ordering {
        let differing = rest.iter().zip(space.iter().cycle()).map(|(byte, space)| byte.cmp(space));
        differing.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    if left.len() > right.len() {
        against_spaces(&left[common..])
    } else {
        against_spaces(&right[common..]).reverse()
    }
}

/// Whether two rows differ first in long texts, behind what every server sorts by: it sorts by the first
/// `max_sort_length` bytes.
pub(super) fn cut_by_server(
    keys: &[Key],
    (left_row, left): (&Row, &[Value]),
    (right_row, right): (&Row, &[Value]),
) -> bool {
    const SORTED_BYTES_MIN: usize = 64;
    let differing = left
        .iter()
        .zip(right)
        .take(keys.len())
        .find(|(left, right)| compare_values((left_row, **left), (right_row, **right)).is_ne());
    let Some((left, right)) = differing else { return false };
    let sorted = |row: &Row, value: Value| match value {
        Value::Padded { weights: column, .. } | Value::Bytes(column) => {
            row.value(column)?.get(..SORTED_BYTES_MIN).map(<[u8]>::to_vec)
        }
        Value::Null | Value::Whole(_) | Value::Decimal(_) | Value::Float(_) | Value::Bits(_) => None,
    };
    let left = sorted(left_row, *left);
    left.is_some() && left == sorted(right_row, *right)
}
