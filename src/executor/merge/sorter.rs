//! Rows that must all be there before the first is given out, within a budget of bytes. With LIMIT only as many are kept as
//! can still be among the first.

use super::key::{Key, Value, compare};
use super::merger::MergeError;
use super::row::Row;

#[derive(Debug)]
pub(super) struct Sorter {
    keys: Vec<Key>,
    rows: Vec<(Row, Vec<Value>)>,
    /// How many of the first rows are wanted.
    wanted: Option<usize>,
    bytes: usize,
    bytes_max: usize,
}

/// Rows are thrown away when there are so many more than wanted: not at every row.
const SLACK: usize = 1024;

impl Sorter {
    pub(super) fn new(keys: Vec<Key>, wanted: Option<u64>, bytes_max: usize) -> Sorter {
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        Sorter { keys, rows: Vec::new(), wanted, bytes: 0, bytes_max }
    }

    pub(super) fn add(&mut self, row: Row) -> Result<(), MergeError> {
        let values = self.keys.iter().map(|key| key.read(&row)).collect::<Result<Vec<_>, _>>()?;
        self.bytes += size(&row, &values);
        self.rows.push((row, values));
        if let Some(wanted) = self.wanted
            && self.rows.len() >= wanted.saturating_mul(2).max(SLACK)
        {
            self.sort();
            self.rows.truncate(wanted);
            self.bytes = self.rows.iter().map(|(row, values)| size(row, values)).sum();
        }
        if self.bytes > self.bytes_max {
            return Err(MergeError::Budget { bytes_max: self.bytes_max });
        }
        Ok(())
    }

    fn sort(&mut self) {
        let keys = &self.keys;
        self.rows.sort_by(|(left, left_values), (right, right_values)| {
            compare(keys, (left, left_values), (right, right_values))
        });
    }

    /// All rows in order.
    pub(super) fn finish(mut self) -> std::vec::IntoIter<(Row, Vec<Value>)> {
        self.sort();
        self.rows.into_iter()
    }
}

/// What a row takes in memory, about.
fn size(row: &Row, values: &[Value]) -> usize {
    const ROW_BYTES: usize = 120;
    ROW_BYTES + row.front(row.columns()).len() + row.columns() * 12 + size_of_val(values)
}
