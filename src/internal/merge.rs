//! The merge of rows without servers, for its bench.

use bytes::Bytes;

use crate::executor::{Merger, Step};
use crate::planner::{Aggregate, Fold, Function, KeySource, Merge, Place, SortKey};
use crate::wire::{ColumnDefinition, ColumnKind, put_lenenc_bytes};

/// A plan and what the shards send for it.
#[derive(Clone)]
pub struct Input {
    plan: Merge,
    columns: Vec<ColumnDefinition>,
    rows: Vec<Vec<Bytes>>,
}

const DECIMAL: u8 = 246;

fn row(values: &[&[u8]]) -> Bytes {
    let mut row = Vec::new();
    values.iter().for_each(|value| put_lenenc_bytes(&mut row, value));
    row.into()
}

fn ascending(source: KeySource) -> Vec<SortKey> {
    vec![SortKey { source, descending: false }]
}

impl Input {
    /// Three columns, in the order of the first, a number; neighbours come from different shards.
    pub fn ordered(shards: usize, rows_per_shard: usize) -> Input {
        let of = |shard: usize| {
            let number = |place: usize| (place * shards + shard).to_string();
            (0..rows_per_shard)
                .map(|place| {
                    row(&[number(place).as_bytes(), b"a name of some length", b"2024-01-01 10:00:00"])
                })
                .collect()
        };
        let plan = Merge { order: ascending(KeySource::Value(Place::Start(0))), ..Merge::default() };
        let number = ColumnDefinition::local("id", ColumnKind::Signed, 45);
        let text = ColumnDefinition::local("text", ColumnKind::Text, 45);
        Input { plan, columns: vec![number, text.clone(), text], rows: (0..shards).map(of).collect() }
    }

    /// A name, its weights and padding, which are cut off.
    pub fn ordered_by_text(shards: usize, rows_per_shard: usize) -> Input {
        let of = |shard: usize| {
            let text = |place: usize| format!("customer {:09}", place * shards + shard).into_bytes();
            let weights = |text: &[u8]| {
                text.iter().flat_map(|byte| [0, byte.to_ascii_uppercase()]).collect::<Vec<u8>>()
            };
            (0..rows_per_shard)
                .map(|place| {
                    let text = text(place);
                    row(&[&text, &weights(&text), b"\0 \0 "])
                })
                .collect()
        };
        let source = KeySource::Text { weights: Place::Hidden(0), padding: Place::Hidden(1) };
        let plan = Merge { hidden: 2, order: ascending(source), ..Merge::default() };
        let text = ColumnDefinition::local("text", ColumnKind::Text, 45);
        Input { plan, columns: vec![text; 3], rows: (0..shards).map(of).collect() }
    }

    /// Every shard has every group.
    pub fn grouped(shards: usize, rows_per_shard: usize) -> Input {
        let of = |shard: usize| {
            (0..rows_per_shard)
                .map(|place| {
                    let sum = format!("{}.{:02}", place * 7 + shard, place % 100);
                    row(&[place.to_string().as_bytes(), b"12", sum.as_bytes()])
                })
                .collect()
        };
        let aggregates = vec![
            Aggregate { place: Place::Start(1), function: Function::Count },
            Aggregate { place: Place::Start(2), function: Function::Sum },
        ];
        let plan = Merge {
            order: ascending(KeySource::Value(Place::Start(0))),
            fold: Fold::Groups(aggregates),
            ..Merge::default()
        };
        let number = ColumnDefinition::local("number", ColumnKind::Signed, 45);
        let sum = ColumnDefinition { kind: DECIMAL, decimals: 2, ..number.clone() };
        Input { plan, columns: vec![number.clone(), number, sum], rows: (0..shards).map(of).collect() }
    }

    /// The number of bytes of the merged rows.
    pub fn run(self) -> usize {
        let columns: Vec<_> = self.rows.iter().map(|_| self.columns.clone()).collect();
        let Ok(mut merger) = Merger::new(&self.plan, &columns, &[], 0) else { return 0 };
        let mut rows: Vec<_> = self.rows.into_iter().map(Vec::into_iter).collect();
        let mut bytes = 0;
        loop {
            let needed = match merger.step() {
                Ok(Step::Need(input)) => input,
                Ok(Step::Row(row)) => {
                    bytes += row.len();
                    continue;
                }
                Ok(Step::Done) | Err(_) => return bytes,
            };
            if merger.give(needed, rows[needed].next()).is_err() {
                return 0;
            }
        }
    }
}
