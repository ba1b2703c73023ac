//! The columns of one group: what the shards computed of their parts becomes what one server would compute of the whole.

use super::decimal::Decimal;
use super::float;
use super::key::{self, Key, Purpose, Value, compare_values};
use super::merger::MergeError;
use super::row::{Row, put_value};
use crate::planner::{Aggregate, Function};
use crate::wire::ColumnDefinition;

/// One aggregate of a plan on results with known columns.
#[derive(Debug, Clone)]
pub(super) struct Column {
    at: usize,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Count,
    Sum(Number),
    /// The sum of another column; without one the shards' own value stands.
    SumOr {
        sum: usize,
        number: Number,
        decimals: u8,
    },
    /// The least, or the greatest.
    Extreme {
        key: Key,
        greatest: bool,
    },
    Average {
        sum: usize,
        count: usize,
        number: Number,
        decimals: u8,
    },
    Bits(fn(u64, u64) -> u64),
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Decimal,
    Float { decimals: u8 },
}

impl Column {
    pub(super) fn new(
        wanted: &Aggregate,
        columns: &[ColumnDefinition],
        hidden: usize,
    ) -> Result<Column, MergeError> {
        let index =
            |place: crate::planner::Place| place.index(columns.len(), hidden).ok_or(MergeError::Columns);
        let at = index(wanted.place)?;
        let number = |at: usize| match &columns[at] {
            column if key::is_decimal(column) && column.decimals < SCALE_MAX => Ok(Number::Decimal),
            column if key::is_double(column) => Ok(Number::Float { decimals: column.decimals }),
            _ => Err(MergeError::Type { column: at, what: "a sum of this type" }),
        };
        let bits = |combine: fn(u64, u64) -> u64| match key::is_whole(&columns[at]) {
            true => Ok(How::Bits(combine)),
            false => Err(MergeError::Type { column: at, what: "a bit function over binary strings" }),
        };
        let extreme = |source, greatest| {
            let key = Key::new(source, Purpose::Extreme, columns, hidden)?;
            Ok(How::Extreme { key, greatest })
        };
        let how = match &wanted.function {
            Function::Count if key::is_whole(&columns[at]) => How::Count,
            Function::Count => return Err(MergeError::Type { column: at, what: "a count of this type" }),
            Function::Sum => How::Sum(number(at)?),
            Function::SumOr { sum } => {
                let sum = index(*sum)?;
                let decimals = columns[at].decimals;
                match (number(at)?, number(sum)?) {
                    (Number::Decimal, own @ Number::Decimal) if columns[sum].decimals <= decimals => {
                        How::SumOr { sum, number: own, decimals }
                    }
                    (Number::Float { .. }, own @ Number::Float { .. }) => {
                        How::SumOr { sum, number: own, decimals }
                    }
                    _ => return Err(MergeError::Type { column: at, what: "a sum of this type" }),
                }
            }
            Function::Least(source) => extreme(*source, false)?,
            Function::Greatest(source) => extreme(*source, true)?,
            Function::Average { sum, count } => {
                let sum = index(*sum)?;
                let decimals = columns[at].decimals;
                let number = match (number(at)?, number(sum)?) {
                    (Number::Decimal, Number::Decimal) => Number::Decimal,
                    (Number::Float { decimals }, Number::Float { .. }) => Number::Float { decimals },
                    _ => return Err(MergeError::Type { column: at, what: "an average of this type" }),
                };
                How::Average { sum, count: index(*count)?, number, decimals }
            }
            Function::BitAnd => bits(|left, right| left & right)?,
            Function::BitOr => bits(|left, right| left | right)?,
            Function::BitXor => bits(|left, right| left ^ right)?,
        };
        Ok(Column { at, how })
    }

    pub(super) fn begin(&self, row: &Row) -> Result<Total, MergeError> {
        let mut total = match &self.how {
            How::Count => Total::Count(0),
            How::Sum(_) | How::SumOr { .. } => Total::Sum(None),
            How::Extreme { .. } => Total::Extreme { row: row.clone() },
            How::Average { .. } => Total::Average { sum: None, count: 0 },
            How::Bits(_) => Total::Bits(number(row, self.at)?.unwrap_or(0)),
        };
        if !matches!(self.how, How::Bits(_) | How::Extreme { .. }) {
            self.add(&mut total, row)?;
        }
        Ok(total)
    }

    pub(super) fn add(&self, total: &mut Total, row: &Row) -> Result<(), MergeError> {
        match (&self.how, total) {
            (How::Count, Total::Count(count)) => {
                *count = count.saturating_add(number(row, self.at)?.unwrap_or(0));
            }
            (How::Sum(number), Total::Sum(sum)) => add(sum, number, row, self.at)?,
            (How::SumOr { sum: at, number, .. }, Total::Sum(sum)) => add(sum, number, row, *at)?,
            (How::Extreme { key, greatest }, Total::Extreme { row: best }) => {
                let (new, old) = (key.read(row)?, key.read(best)?);
                let order = compare_values((row, new), (best, old));
                let better = if *greatest { order.is_gt() } else { order.is_lt() };
                // NULL is no value: it gives way to any.
                if new != Value::Null && (old == Value::Null || better) {
                    *best = row.clone();
                }
            }
            (
                How::Average { sum, count, number: kind, .. },
                Total::Average { sum: total, count: counted },
            ) => {
                add(total, kind, row, *sum)?;
                *counted = counted.saturating_add(number(row, *count)?.unwrap_or(0));
            }
            (How::Bits(combine), Total::Bits(bits)) => {
                if let Some(more) = number(row, self.at)? {
                    *bits = combine(*bits, more);
                }
            }
            // A total is begun by its own column.
            (
                How::Count
                | How::Sum(_)
                | How::SumOr { .. }
                | How::Extreme { .. }
                | How::Average { .. }
                | How::Bits(_),
                _,
            ) => {}
        }
        Ok(())
    }

    /// The values that replace those of the group's first row: column by column, in ascending order of columns.
    pub(super) fn finish(&self, total: Total) -> Vec<(usize, Option<Vec<u8>>)> {
        let value = match (&self.how, total) {
            (How::Extreme { key, .. }, Total::Extreme { row }) => {
                let mut all = key.columns.clone();
                all.push(self.at);
                return all.into_iter().map(|at| (at, row.value(at).map(<[u8]>::to_vec))).collect();
            }
            (_, Total::Count(count) | Total::Bits(count)) => Some(count.to_string().into_bytes()),
            (How::Average { number, decimals, .. }, Total::Average { sum: Some(sum), count }) => {
                (count > 0).then(|| sum.average(count, *number, *decimals))
            }
            (How::Sum(Number::Float { decimals }), Total::Sum(Some(sum))) => Some(sum.print(*decimals)),
            (How::SumOr { .. }, Total::Sum(None)) => return Vec::new(),
            (How::SumOr { decimals, .. }, Total::Sum(Some(sum))) => {
                Some(sum.widened(*decimals).print(*decimals))
            }
            (_, Total::Sum(Some(sum))) => Some(sum.print(float::NOT_FIXED)),
            (_, Total::Sum(None) | Total::Average { .. } | Total::Extreme { .. }) => None,
        };
        vec![(self.at, value)]
    }
}

/// At this scale servers may hold more places than they show.
const SCALE_MAX: u8 = 30;

/// What a group's column has come to.
#[derive(Debug, Clone)]
pub(super) enum Total {
    Count(u64),
    Sum(Option<Sum>),
    Extreme { row: Row },
    Average { sum: Option<Sum>, count: u64 },
    Bits(u64),
}

#[derive(Debug, Clone)]
pub(super) enum Sum {
    Decimal(Decimal),
    /// In the order of the shards: the last digits are those of that order, as on one server they are those of the order in
    /// which it reads rows.
    Float(f64),
}

impl Sum {
    fn print(&self, decimals: u8) -> Vec<u8> {
        match self {
            Sum::Decimal(sum) => sum.print(),
            Sum::Float(sum) => float::print(*sum, decimals),
        }
    }

    fn widened(self, places: u8) -> Sum {
        match self {
            Sum::Decimal(sum) => Sum::Decimal(sum.widened(usize::from(places))),
            float @ Sum::Float(_) => float,
        }
    }

    fn average(self, count: u64, number: Number, decimals: u8) -> Vec<u8> {
        match (self, number) {
            (Sum::Decimal(sum), _) => sum.average(count, usize::from(decimals)).print(),
            (Sum::Float(sum), Number::Float { decimals }) => float::print(sum / count as f64, decimals),
            (Sum::Float(sum), Number::Decimal) => float::print(sum / count as f64, decimals),
        }
    }
}

fn add(sum: &mut Option<Sum>, number: &Number, row: &Row, at: usize) -> Result<(), MergeError> {
    let Some(text) = row.value(at) else { return Ok(()) };
    let unreadable = || MergeError::Value { column: at };
    let more = match number {
        Number::Decimal => Sum::Decimal(Decimal::parse(text).ok_or_else(unreadable)?),
        Number::Float { .. } => Sum::Float(float::parse(text).ok_or_else(unreadable)?),
    };
    *sum = Some(match (sum.take(), more) {
        (Some(Sum::Decimal(sum)), Sum::Decimal(more)) => Sum::Decimal(sum.add(more)),
        (Some(Sum::Float(sum)), Sum::Float(more)) => Sum::Float(sum + more),
        (_, more) => more,
    });
    Ok(())
}

fn number(row: &Row, at: usize) -> Result<Option<u64>, MergeError> {
    let Some(text) = row.value(at) else { return Ok(None) };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(MergeError::Value { column: at })
}

/// The row with some of its values replaced.
pub(super) fn replaced(row: &Row, new: &[(usize, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for column in 0..row.columns() {
        match new.iter().find(|(at, _)| *at == column) {
            Some((_, value)) => put_value(&mut out, value.as_deref()),
            None => put_value(&mut out, row.value(column)),
        }
    }
    out
}
