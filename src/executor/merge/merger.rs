//! The whole merge as one machine: it says which shard's next row it needs and gives out rows. One row of each shard is held,
//! and the group at hand; more only where the plan sorts what it has folded.

use bytes::Bytes;

use super::aggregate::{Column, Total, replaced};
use super::condition::Filter;
use super::key::{self, Key, Value, compare, cut_by_server};
use super::row::Row;
use super::sorter::Sorter;
use crate::planner::{Fold, Merge, Window};
use crate::wire::ColumnDefinition;

/// Why rows cannot be merged. Columns are counted from 0, the appended ones after the client's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("column {}: {what} cannot be merged exactly", .column + 1)]
    Type { column: usize, what: &'static str },
    #[error("column {}: a value cannot be compared", .column + 1)]
    Value { column: usize },
    #[error("the shards' results do not have the columns that were asked for")]
    Columns,
    #[error("the rows of a shard are not in the order that was asked for")]
    Order,
    #[error("the groups take more than limits.merge_bytes_max = {bytes_max} bytes")]
    Budget { bytes_max: usize },
}

/// What the machine wants next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'m> {
    /// The next row of this input, or its end.
    Need(usize),
    /// A row of the result, without the appended columns.
    Row(&'m [u8]),
    /// Nothing more is given out; inputs may have rows left.
    Done,
}

#[derive(Debug)]
pub(crate) struct Merger {
    columns: usize,
    hidden: usize,
    keys: Vec<Key>,
    folding: Folding,
    inputs: Vec<Input>,
    /// For the next row, since a row's vectors are used again.
    spare: Input,
    /// Inputs that have a row, in the order of their rows.
    waiting: Vec<usize>,
    /// Inputs whose next row must come before anything else is decided.
    needed: Vec<usize>,
    skip: u64,
    left: Option<u64>,
    out: Vec<u8>,
}

#[derive(Debug, Default)]
struct Input {
    row: Row,
    values: Vec<Value>,
    /// `row` is one that the shard sent: the next is compared with it.
    begun: bool,
}

#[derive(Debug)]
enum Folding {
    Rows,
    Distinct {
        last: Option<(Row, Vec<Value>)>,
    },
    Groups {
        columns: Vec<Column>,
        group: Option<Group>,
        filter: Filter,
        sorter: Option<Sorter>,
    },
    /// All groups are there.
    Sorted(std::vec::IntoIter<(Row, Vec<Value>)>),
}

#[derive(Debug)]
struct Group {
    row: Row,
    values: Vec<Value>,
    totals: Vec<Total>,
}

impl Merger {
    /// `columns` are the definitions of each input's result, `literals` those of the plan's conditions; `bytes_max` bounds what is held beyond a row per input.
    pub(crate) fn new(
        plan: &Merge,
        columns: &[Vec<ColumnDefinition>],
        literals: &[Vec<u8>],
        bytes_max: usize,
    ) -> Result<Merger, MergeError> {
        let first = columns.first().ok_or(MergeError::Columns)?;
        let (hidden, count) = (plan.hidden, first.len());
        if count <= hidden {
            return Err(MergeError::Columns);
        }
        let keys = key::keys(&plan.order, first, hidden)?;
        // A shard whose table differs would be compared by another rule.
        for other in columns {
            let alike = other.len() == count
                && key::keys(&plan.order, other, hidden)? == keys
                && other.iter().zip(first).all(|(other, first)| is_alike(other, first));
            if !alike {
                return Err(MergeError::Columns);
            }
        }
        let Window { skip, count: left } = plan.window;
        let folding = match &plan.fold {
            Fold::Rows => Folding::Rows,
            Fold::Distinct => Folding::Distinct { last: None },
            Fold::Groups(aggregates) => {
                let columns = aggregates
                    .iter()
                    .map(|aggregate| Column::new(aggregate, first, hidden))
                    .collect::<Result<Vec<_>, _>>()?;
                let wanted = left.map(|left| left.saturating_add(skip));
                let sorter = match plan.sort.as_slice() {
                    [] => None,
                    sort => Some(Sorter::new(key::keys(sort, first, hidden)?, wanted, bytes_max)),
                };
                let filter = Filter::new(&plan.conditions, literals, first, hidden)?;
                Folding::Groups { columns, group: None, filter, sorter }
            }
        };
        let inputs: Vec<Input> = columns.iter().map(|_| Input::default()).collect();
        let needed = (0..inputs.len()).rev().collect();
        let waiting = Vec::with_capacity(inputs.len());
        let out = Vec::new();
        let spare = Input::default();
        Ok(Merger { columns: count, hidden, keys, folding, inputs, spare, waiting, needed, skip, left, out })
    }

    /// The row that `Step::Need` asked for; `None` is the input's end.
    pub(crate) fn give(&mut self, input: usize, row: Option<Bytes>) -> Result<(), MergeError> {
        self.needed.retain(|needed| *needed != input);
        let Some(bytes) = row else { return Ok(()) };
        let mut next = std::mem::take(&mut self.spare);
        next.begun = true;
        next.values.clear();
        next.row.read(bytes, self.columns).map_err(|_| MergeError::Columns)?;
        for key in &self.keys {
            next.values.push(key.read(&next.row)?);
        }
        let last = &self.inputs[input];
        if last.begun {
            let (last, next) = ((&last.row, &last.values[..]), (&next.row, &next.values[..]));
            let back = compare(&self.keys, last, next).is_gt();
            // Of long texts servers sort the beginning, which a finer comparison may merge all the same; not groups.
            if back && !(matches!(self.folding, Folding::Rows) && cut_by_server(&self.keys, last, next)) {
                return Err(MergeError::Order);
            }
        }
        self.spare = std::mem::replace(&mut self.inputs[input], next);
        self.queue(input);
        Ok(())
    }

    /// Puts the input's row among those that wait: equal rows in the order of inputs.
    fn queue(&mut self, input: usize) {
        let of = |input: usize| (&self.inputs[input].row, &self.inputs[input].values[..]);
        let at = self.waiting.partition_point(|other| {
            compare(&self.keys, of(*other), of(input)).then(other.cmp(&input)).is_lt()
        });
        self.waiting.insert(at, input);
    }

    /// What is next. After [`Step::Need`] comes [`Merger::give`].
    pub(crate) fn step(&mut self) -> Result<Step<'_>, MergeError> {
        loop {
            if self.left == Some(0) {
                return Ok(Step::Done);
            }
            if let Some(input) = self.needed.last() {
                return Ok(Step::Need(*input));
            }
            if !self.advance()? {
                return Ok(Step::Done);
            }
            if self.out.is_empty() {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                self.out.clear();
                continue;
            }
            self.left = self.left.map(|left| left - 1);
            return Ok(Step::Row(&self.out));
        }
    }

    /// Takes one row on; `out` has a row of the result when one is finished. `false` at the end of all.
    fn advance(&mut self) -> Result<bool, MergeError> {
        self.out.clear();
        let seen = self.columns - self.hidden;
        if let Folding::Sorted(rows) = &mut self.folding {
            let next = rows.next();
            self.out.extend(next.iter().flat_map(|(row, _)| row.front(seen)));
            return Ok(next.is_some());
        }
        if self.waiting.is_empty() {
            return self.end();
        }
        let input = self.waiting.remove(0);
        self.needed.push(input);
        let Input { row, values, .. } = &self.inputs[input];
        match &mut self.folding {
            Folding::Rows => self.out.extend_from_slice(row.front(seen)),
            Folding::Distinct { last } => {
                let known = last.as_ref().is_some_and(|(last, last_values)| {
                    compare(&self.keys, (last, last_values), (row, values)).is_eq()
                });
                if !known {
                    self.out.extend_from_slice(row.front(seen));
                    *last = Some((row.clone(), values.clone()));
                }
            }
            Folding::Groups { columns, group, filter, sorter } => {
                let same = group.as_ref().is_some_and(|group| {
                    compare(&self.keys, (&group.row, &group.values), (row, values)).is_eq()
                });
                match group {
                    Some(group) if same => {
                        for (column, total) in columns.iter().zip(&mut group.totals) {
                            column.add(total, row)?;
                        }
                    }
                    _ => {
                        let totals =
                            columns.iter().map(|column| column.begin(row)).collect::<Result<Vec<_>, _>>()?;
                        let begun = Group { row: row.clone(), values: values.clone(), totals };
                        if let Some(finished) = group.replace(begun) {
                            put(finished, columns, filter, sorter, seen, &mut self.out)?;
                        }
                    }
                }
            }
            Folding::Sorted(_) => {}
        }
        Ok(true)
    }

    /// All inputs are at their end: the last group is finished, and the sorted ones begin.
    fn end(&mut self) -> Result<bool, MergeError> {
        let Folding::Groups { columns, group, filter, sorter } = &mut self.folding else { return Ok(false) };
        let seen = self.columns - self.hidden;
        let last = group.take();
        let more = last.is_some() || sorter.is_some();
        if let Some(last) = last {
            put(last, columns, filter, sorter, seen, &mut self.out)?;
        }
        if let Some(sorter) = sorter.take() {
            self.folding = Folding::Sorted(sorter.finish());
        }
        Ok(more)
    }
}

/// The same type: flags and lengths may differ between servers that filled their tables differently.
fn is_alike(left: &ColumnDefinition, right: &ColumnDefinition) -> bool {
    (left.kind, left.collation, left.decimals) == (right.kind, right.collation, right.decimals)
}

/// Gives a finished group to the sorter, or out; or nowhere, if HAVING says so.
fn put(
    group: Group,
    columns: &[Column],
    filter: &Filter,
    sorter: &mut Option<Sorter>,
    seen: usize,
    out: &mut Vec<u8>,
) -> Result<(), MergeError> {
    let new: Vec<_> =
        columns.iter().zip(group.totals).flat_map(|(column, total)| column.finish(total)).collect();
    let mut row = Row::default();
    row.read(replaced(&group.row, &new).into(), group.row.columns()).map_err(|_| MergeError::Columns)?;
    if !filter.keeps(&row)? {
        return Ok(());
    }
    match sorter {
        Some(sorter) => sorter.add(row),
        None => {
            out.extend_from_slice(row.front(seen));
            Ok(())
        }
    }
}
