//! Merging is sorting, folding and cutting what all shards sent, whatever their rows are.

use bytes::Bytes;
use proptest::prelude::*;

use super::row::put_value;
use super::{MergeError, Merger, Step};
use crate::planner::{Aggregate, Fold, Function, KeySource, Merge, Place, SortKey, Window};
use crate::wire::ColumnDefinition;

type Cells = Vec<Option<Vec<u8>>>;

const LONGLONG: u8 = 8;
const NEWDECIMAL: u8 = 246;
const VAR_STRING: u8 = 253;

fn column(kind: u8, decimals: u8) -> ColumnDefinition {
    let collation = if kind == VAR_STRING { 45 } else { 63 };
    ColumnDefinition { kind, decimals, collation, ..ColumnDefinition::decode(&definition()).unwrap() }
}

fn definition() -> Vec<u8> {
    ColumnDefinition::local("x", crate::wire::ColumnKind::Text, 45).encode()
}

fn encoded(cells: &Cells) -> Bytes {
    let mut row = Vec::new();
    cells.iter().for_each(|cell| put_value(&mut row, cell.as_deref()));
    row.into()
}

/// Runs a merge over rows of each input; gives the rows that come out.
fn run(
    plan: &Merge,
    columns: &[ColumnDefinition],
    inputs: &[Vec<Cells>],
    bytes_max: usize,
) -> Result<Vec<Bytes>, MergeError> {
    let all: Vec<_> = inputs.iter().map(|_| columns.to_vec()).collect();
    let mut merger = Merger::new(plan, &all, &[], bytes_max)?;
    let mut at = vec![0; inputs.len()];
    let mut out = Vec::new();
    loop {
        let needed = match merger.step()? {
            Step::Need(input) => input,
            Step::Row(row) => {
                out.push(Bytes::copy_from_slice(row));
                continue;
            }
            Step::Done => return Ok(out),
        };
        let row = inputs[needed].get(at[needed]).map(encoded);
        at[needed] += 1;
        merger.give(needed, row)?;
    }
}

fn number(value: Option<i64>) -> Option<Vec<u8>> {
    value.map(|value| value.to_string().into_bytes())
}

fn by(place: usize, descending: bool) -> SortKey {
    SortKey { source: KeySource::Value(Place::Start(place)), descending }
}

proptest! {
    #[test]
    fn merged_rows_are_the_sorted_concatenation(
        shards in prop::collection::vec(prop::collection::vec((prop::option::of(-5i64..5), 0i64..100), 0..20), 1..6),
        descending: bool,
        skip in 0u64..10,
        count in prop::option::of(0u64..30),
    ) {
        let plan = Merge {
            order: vec![by(0, descending), by(1, false)],
            window: Window { skip, count },
            ..Merge::default()
        };
        let sorted = |mut rows: Vec<(Option<i64>, i64)>| {
            rows.sort_by(|left, right| {
                let order = left.0.cmp(&right.0);
                (if descending { order.reverse() } else { order }).then(left.1.cmp(&right.1))
            });
            rows
        };
        let cells = |(key, id): &(Option<i64>, i64)| vec![number(*key), number(Some(*id))];
        let inputs: Vec<Vec<Cells>> = shards.iter().map(|rows| sorted(rows.clone()).iter().map(cells).collect()).collect();
        let expected: Vec<Bytes> = sorted(shards.concat())
            .iter()
            .skip(skip as usize)
            .take(count.map_or(usize::MAX, |count| count as usize))
            .map(|row| encoded(&cells(row)))
            .collect();
        let columns = [column(LONGLONG, 0), column(LONGLONG, 0)];
        prop_assert_eq!(run(&plan, &columns, &inputs, 0).unwrap(), expected);
    }

    #[test]
    fn merged_groups_are_the_groups_of_all_rows(
        shards in prop::collection::vec(prop::collection::btree_map(prop::option::of(-5i64..5), (1u64..50, -100i64..100), 0..8), 1..6),
    ) {
        let plan = Merge {
            order: vec![by(0, false)],
            fold: Fold::Groups(vec![
                Aggregate { place: Place::Start(1), function: Function::Count },
                Aggregate { place: Place::Start(2), function: Function::Sum },
                Aggregate { place: Place::Start(3), function: Function::Greatest(KeySource::Value(Place::Start(3))) },
            ]),
            ..Merge::default()
        };
        let cells = |key: &Option<i64>, count: u64, sum: i64, greatest: i64| {
            vec![number(*key), number(Some(count as i64)), number(Some(sum)), number(Some(greatest))]
        };
        let inputs: Vec<Vec<Cells>> = shards
            .iter()
            .map(|groups| groups.iter().map(|(key, (count, sum))| cells(key, *count, *sum, *sum)).collect())
            .collect();
        let mut all: std::collections::BTreeMap<Option<i64>, (u64, i64, i64)> = Default::default();
        for (key, (count, sum)) in shards.iter().flatten() {
            let group = all.entry(*key).or_insert((0, 0, i64::MIN));
            *group = (group.0 + count, group.1 + sum, group.2.max(*sum));
        }
        let expected: Vec<Bytes> =
            all.iter().map(|(key, (count, sum, greatest))| encoded(&cells(key, *count, *sum, *greatest))).collect();
        let columns = [column(LONGLONG, 0), column(LONGLONG, 0), column(NEWDECIMAL, 0), column(LONGLONG, 0)];
        prop_assert_eq!(run(&plan, &columns, &inputs, 0).unwrap(), expected);
    }

    #[test]
    fn hostile_rows_do_not_panic(rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..8), kind: u8) {
        let plan = Merge { order: vec![by(0, false)], ..Merge::default() };
        let columns = vec![column(kind, 0), column(LONGLONG, 0)];
        if let Ok(mut merger) = Merger::new(&plan, &[columns.clone(), columns], &[], 0) {
            let mut rows = rows.into_iter().map(Bytes::from);
            while let Ok(step) = merger.step() {
                match step {
                    Step::Need(input) => {
                        let next = rows.next();
                        if merger.give(input, next).is_err() {
                            break;
                        }
                    }
                    Step::Row(_) => {}
                    Step::Done => break,
                }
            }
        }
    }
}

fn texts(weights: &[&[u8]], padding: &[u8]) -> Vec<Cells> {
    weights
        .iter()
        .map(|weights| vec![Some(vec![b'x']), Some(weights.to_vec()), Some(padding.to_vec())])
        .collect()
}

fn by_weights() -> Merge {
    let source = KeySource::Text { weights: Place::Hidden(0), padding: Place::Hidden(1) };
    Merge { hidden: 2, order: vec![SortKey { source, descending: false }], ..Merge::default() }
}

#[test]
fn texts_are_padded_as_their_collation_pads() {
    let columns = [column(VAR_STRING, 0), column(VAR_STRING, 0), column(VAR_STRING, 0)];
    // `a\t` comes before `a`, which is `a ` without end.
    let shards = [texts(&[b"a\t", b"b"], b"  "), texts(&[b"a", b"a "], b"  ")];
    let merged = run(&by_weights(), &columns, &shards, 0).unwrap();
    assert_eq!(merged.len(), 4);
    assert!(merged.iter().all(|row| row[..] == *b"\x01x"));
    let distinct = Merge { fold: Fold::Distinct, ..by_weights() };
    assert_eq!(run(&distinct, &columns, &shards, 0).unwrap().len(), 3);
    let unpadded = [texts(&[b"a", b"a\t"], b"-"), texts(&[b"a", b"a "], b"-")];
    assert_eq!(run(&distinct, &columns, &unpadded, 0).unwrap().len(), 3);
}

#[test]
fn rows_in_another_order_than_asked_for_are_an_error() {
    let columns = [column(LONGLONG, 0)];
    let plan = Merge { order: vec![by(0, false)], ..Merge::default() };
    let row = |value| vec![number(Some(value))];
    assert_eq!(run(&plan, &columns, &[vec![row(2), row(1)]], 0), Err(MergeError::Order));
    let text = [column(VAR_STRING, 0)];
    assert!(matches!(run(&plan, &text, &[vec![]], 0), Err(MergeError::Type { column: 0, .. })));
    // Behind what servers sort by, a text may be anything; a group may not.
    let columns = [column(VAR_STRING, 0), column(VAR_STRING, 0), column(VAR_STRING, 0)];
    let (long, other) = ([b'x'; 100], [&[b'x'; 90][..], &[b'a'; 10]].concat());
    let shards = [texts(&[&long, &other], b"  ")];
    assert_eq!(run(&by_weights(), &columns, &shards, 0).unwrap().len(), 2);
    let groups = Merge { fold: Fold::Groups(Vec::new()), ..by_weights() };
    assert_eq!(run(&groups, &columns, &shards, 0), Err(MergeError::Order));
}

#[test]
fn groups_beyond_the_budget_are_an_error_and_limit_keeps_within_it() {
    let columns = [column(LONGLONG, 0), column(LONGLONG, 0)];
    let count = Aggregate { place: Place::Start(1), function: Function::Count };
    let plan = Merge {
        order: vec![by(0, false)],
        fold: Fold::Groups(vec![count]),
        sort: vec![by(1, true), by(0, false)],
        ..Merge::default()
    };
    let rows: Vec<Cells> = (0..5000).map(|key| vec![number(Some(key)), number(Some(key % 7))]).collect();
    let limited = Merge { window: Window { skip: 1, count: Some(2) }, ..plan.clone() };
    let bytes_max = 600_000;
    assert_eq!(run(&plan, &columns, &[rows.clone()], bytes_max), Err(MergeError::Budget { bytes_max }));
    let first = run(&limited, &columns, &[rows], bytes_max).unwrap();
    let expected: Vec<Bytes> =
        [13, 20].map(|key| encoded(&vec![number(Some(key)), number(Some(6))])).into_iter().collect();
    assert_eq!(first, expected);
}
