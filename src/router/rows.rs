//! INSERT: the key of each new row, and each shard's own rows.

use super::key::{Constant, KeySpace};
use super::resolve::{Evaluated, Resolver, internal};
use super::route::{Part, RouteError, Target};
use super::{rewrite, unchanged};
use crate::error::ClientError;
use crate::planner::{KeyExpression, Numbered};
use crate::sql::{self, LiteralClass, Parameter, Row, Value};
use crate::topology::{Key, ShardId, ShardSet};

/// What the plan says of the rows.
pub(super) struct Shape<'p> {
    pub(super) column: &'p str,
    /// The place of the key.
    pub(super) value: usize,
    pub(super) arity: usize,
    /// The server numbers a key of zero.
    pub(super) generated: bool,
    /// To be written in front of VALUES.
    pub(super) columns: Option<&'p str>,
}

/// A value of a row, by its bytes.
enum Written<'t> {
    Null,
    Default,
    Literal(Constant<'t>),
    Expression,
}

/// The one key of all rows.
pub(super) fn one_key(
    resolver: &Resolver<'_>,
    space: KeySpace<'_>,
    column: &str,
    key: &KeyExpression,
    generated: bool,
) -> Result<ShardId, RouteError> {
    match resolver.constant(key) {
        Some(Evaluated::Constant(constant)) => locate(resolver, space, column, &constant, generated),
        Some(Evaluated::Null) => Err(without_key(column).into()),
        None => Err(inexact(column, "it is not a literal").into()),
    }
}

/// Each shard gets its rows; one shard for all gets the text unchanged, if that names the columns.
pub(super) fn split(
    resolver: &Resolver<'_>,
    space: KeySpace<'_>,
    shape: &Shape<'_>,
) -> Result<Part, RouteError> {
    let rows = &resolver.statement.rows;
    let mut owners: Vec<ShardId> = Vec::new();
    let mut first = None;
    let mut shards = ShardSet::empty();
    let mut wanted: Option<(String, Vec<Vec<u8>>)> = None;
    for (number, row) in rows.iter().enumerate() {
        if row.values.len() != shape.arity {
            if row.values.is_empty() {
                return Err(without_key(shape.column).into());
            }
            return Err(miscounted(number).into());
        }
        let shard = match row_shard(resolver, space, shape, row) {
            Ok(shard) => shard,
            Err(RouteError::WeightsNeeded { collation, texts }) => {
                wanted.get_or_insert((collation, Vec::new())).1.extend(texts);
                continue;
            }
            Err(refused) => return Err(refused),
        };
        shards.insert(shard);
        // The owners of single rows matter only from the first row on that goes elsewhere.
        match first {
            None => first = Some(shard),
            Some(first) if owners.is_empty() && shard != first => owners.resize(number, first),
            Some(_) => {}
        }
        if first != Some(shard) || !owners.is_empty() {
            owners.push(shard);
        }
    }
    if let Some((collation, texts)) = wanted {
        return Err(RouteError::WeightsNeeded { collation, texts });
    }
    match (first, owners.is_empty()) {
        (None, _) => Err(internal("an INSERT without rows").into()),
        (Some(first), true) if shape.columns.is_none() => Ok(Part::One(first)),
        (Some(first), all) => {
            if all {
                owners.resize(rows.len(), first);
            }
            let columns = shape.columns.unwrap_or_default();
            Ok(Part::Many(shards.iter().map(|shard| own_rows(resolver, shard, columns, &owners)).collect()))
        }
    }
}

/// Head, names of the columns, VALUES, the shard's rows, tail.
fn own_rows(resolver: &Resolver<'_>, shard: ShardId, columns: &str, owners: &[ShardId]) -> Target {
    let rows = &resolver.statement.rows;
    let text = resolver.text;
    let (start, end) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => (first.span.start as usize, last.span.end as usize),
        _ => (text.len(), text.len()),
    };
    let values_at = resolver.statement.values_at as usize;
    let mut own = Vec::with_capacity(text.len() + columns.len());
    own.extend_from_slice(text.get(..values_at).unwrap_or_default());
    own.extend_from_slice(columns.as_bytes());
    own.extend_from_slice(text.get(values_at..start).unwrap_or_default());
    let mut separator: &[u8] = b"";
    for (row, owner) in rows.iter().zip(owners) {
        if *owner == shard {
            own.extend_from_slice(separator);
            own.extend_from_slice(
                text.get(row.span.start as usize..row.span.end as usize).unwrap_or_default(),
            );
            separator = b",";
        }
    }
    own.extend_from_slice(text.get(end..).unwrap_or_default());
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let kept = rows.iter().zip(owners).filter(|(_, owner)| **owner == shard).map(|(row, _)| &row.span);
    let parameters = rewrite::parameters(resolver.statement, offset(start)..offset(end), kept);
    Target { shard, text: Some(own), parameters }
}

fn row_shard(
    resolver: &Resolver<'_>,
    space: KeySpace<'_>,
    shape: &Shape<'_>,
    row: &Row,
) -> Result<ShardId, RouteError> {
    match value(resolver, row, shape.value) {
        Written::Literal(constant) => locate(resolver, space, shape.column, &constant, shape.generated),
        Written::Null | Written::Default => Err(without_key(shape.column).into()),
        Written::Expression => Err(inexact(shape.column, "it is an expression").into()),
    }
}

fn locate(
    resolver: &Resolver<'_>,
    space: KeySpace<'_>,
    column: &str,
    constant: &Constant<'_>,
    generated: bool,
) -> Result<ShardId, RouteError> {
    let key = match space.inserted(constant, resolver.view)? {
        Ok(key) => key,
        Err(reason) => return Err(inexact(column, reason).into()),
    };
    if generated && key == Key::Integer(0) {
        return Err(without_key(column).into());
    }
    space.scheme.locate(&key).ok_or_else(|| resolver.unmapped(column, &key, space).into())
}

/// The servers are not asked: one that has columns which nobody told of yet would take the row, on whichever shard it is.
fn miscounted(row: usize) -> ClientError {
    ClientError::new("SW1219", format!("Column count doesn't match value count at row {}", row + 1))
}

fn without_key(column: &str) -> ClientError {
    ClientError::new("SW1205", format!("a row gives {column} no value of its own"))
}

fn inexact(column: &str, reason: &str) -> ClientError {
    ClientError::new("SW1208", format!("the value for {column}: {reason}"))
}

/// The same rows on every shard, if each gives the generated column its number and the `given` ones any value.
pub(super) fn copies(
    resolver: &Resolver<'_>,
    generated: Option<&Numbered>,
    given: &[usize],
    arity: usize,
) -> Result<Part, RouteError> {
    let refused = |detail: &str| Err(ClientError::new("SW1202", detail).into());
    let place = match generated {
        Some(Numbered::Value(place)) => Some(*place),
        Some(Numbered::Assigned(value)) => {
            let numbered = match resolver.constant(value) {
                Some(Evaluated::Constant(constant)) => is_number(&constant),
                Some(Evaluated::Null) | None => false,
            };
            if !numbered {
                return refused(UNNUMBERED);
            }
            None
        }
        None => None,
    };
    if place.is_none() && given.is_empty() {
        return Ok(unchanged(&resolver.topology.all_shards()));
    }
    for (number, row) in resolver.statement.rows.iter().enumerate() {
        if row.values.is_empty() {
            return refused("a row of defaults that each copy of a reference table would fill for itself");
        }
        if row.values.len() != arity {
            return Err(miscounted(number).into());
        }
        let numbered =
            |place| matches!(value(resolver, row, place), Written::Literal(constant) if is_number(&constant));
        if !place.is_none_or(numbered) {
            return refused(UNNUMBERED);
        }
        if given.iter().any(|place| matches!(value(resolver, row, *place), Written::Default)) {
            return refused(
                "a default that each copy of a reference table would compute for itself: give it a value",
            );
        }
    }
    Ok(unchanged(&resolver.topology.all_shards()))
}

const UNNUMBERED: &str = "a row of a reference table whose AUTO_INCREMENT column would be numbered by each shard: insert it with an integer";

/// An integer that a server stores as it is, in place of a number of its own.
fn is_number(constant: &Constant<'_>) -> bool {
    match &constant.value {
        Value::Integer(Some(number)) => *number != 0,
        Value::Double(number) => number.fract() == 0.0 && *number != 0.0,
        // As drivers send numbers that their applications have as strings.
        Value::Text { bytes, charset: None } => {
            bytes.iter().all(u8::is_ascii_digit) && bytes.iter().any(|digit| *digit != b'0')
        }
        _ => false,
    }
}

fn value<'a>(resolver: &Resolver<'a>, row: &Row, place: usize) -> Written<'a> {
    let index = row.values.start as usize + place;
    let Some(span) = resolver.statement.values.get(index) else { return Written::Default };
    let bytes = resolver.text.get(span.start as usize..span.end as usize).unwrap_or_default();
    if bytes == b"?" {
        return argument(resolver, span.start);
    }
    read(bytes, resolver.view.context)
}

fn argument<'a>(resolver: &Resolver<'a>, offset: u32) -> Written<'a> {
    match resolver.argument(offset) {
        Some(Parameter::Null) => Written::Null,
        Some(Parameter::Value { value, negated }) => {
            Written::Literal(Constant { value: value.clone(), negated: *negated, written: b"" })
        }
        Some(Parameter::Opaque) | None => Written::Expression,
    }
}

fn read<'t>(bytes: &'t [u8], context: &sql::Context) -> Written<'t> {
    let literal = |raw: &'t [u8], class, negated| {
        let value = sql::decode_raw(raw, class, context);
        Written::Literal(Constant { value, negated, written: raw })
    };
    if bytes.eq_ignore_ascii_case(b"NULL") {
        return Written::Null;
    }
    if bytes.is_empty() || bytes.eq_ignore_ascii_case(b"DEFAULT") {
        return Written::Default;
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        return literal(bytes, LiteralClass::Integer, false);
    }
    if let [b'\'', content @ .., b'\''] = bytes
        && !content.iter().any(|byte| matches!(byte, b'\'' | b'\\'))
    {
        return literal(bytes, LiteralClass::String, false);
    }
    let (negated, unsigned) = match bytes {
        [b'-', rest @ ..] => (true, rest.trim_ascii_start()),
        [b'+', rest @ ..] => (false, rest.trim_ascii_start()),
        _ => (false, bytes),
    };
    // Anything longer is read as a statement of one word: it must be one literal from start to end.
    let mut scanned = sql::Statement::default();
    if scanned.scan(unsigned, context).is_err() {
        return Written::Expression;
    }
    match scanned.literals.as_slice() {
        [only] if only.class == LiteralClass::Placeholder => Written::Expression,
        [only] if only.span.start == 0 && only.span.end as usize == unsigned.len() => {
            literal(unsigned, only.class, negated)
        }
        _ => Written::Expression,
    }
}
