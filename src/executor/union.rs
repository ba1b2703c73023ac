//! Lists from several shards as one: SHOW TABLES and its kin where no shard has all tables, what ANALYZE TABLE says. Short lists: they
//! are put in order here, within a bound.

use std::collections::HashSet;

use super::client::{Client, Stream};
use super::everywhere::Participant;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::results::{begin_all, end, next_row, put};
use crate::error::ClientError;
use crate::topology::ShardName;
use crate::wire::{Outcome, Reader, StatusFlags, encode_eof};

/// A list of more bytes is refused.
const LIST_BYTES_MAX: usize = 16 << 20;

/// Columns that are looked at.
const COLUMNS_READ_MAX: usize = 8;

/// What becomes of the rows.
pub(crate) enum Listing<'f> {
    /// The first row of each name (the first column) that `keeps` wants, in order of the names. It is told the shard and the value
    /// of `column`.
    Names { column: usize, keeps: &'f (dyn Fn(&ShardName, &[u8]) -> bool + Sync) },
    /// Equal rows once, in the order in which they came.
    Distinct,
}

/// Runs the statement on every participant and answers with one list.
/// On a failure the connections may be in the middle of their responses (see `Participant::progress`).
pub(crate) async fn union<S: Stream>(
    participants: &mut [Participant<'_>],
    listing: &Listing<'_>,
    session_status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let begun = begin_all(participants, client, interrupt).await?;
    let columns = begun.first().map(|first| first.columns.clone()).unwrap_or_default();
    let (mut rows, mut names, mut bytes) = (Vec::new(), HashSet::new(), 0);
    let mut outcome = Outcome::default();
    for (participant, begun) in participants.iter_mut().zip(begun) {
        let shard = participant.shard.clone();
        let mut next = begun.first;
        while let Some(row) = next.row(&mut outcome) {
            next = next_row(participant, client, interrupt).await?;
            bytes += row.len();
            if bytes > LIST_BYTES_MAX {
                let detail = format!("a list of more than {LIST_BYTES_MAX} bytes over several shards");
                return Err(Failure::Refused(ClientError::new("SW1202", detail)));
            }
            let name = match listing {
                Listing::Names { column, keeps } => {
                    let values = values(&row, columns.len().saturating_sub(1));
                    let kept = values.get(*column).is_some_and(|value| keeps(&shard, value));
                    values.into_iter().next().filter(|_| kept)
                }
                Listing::Distinct => Some(row.to_vec()),
            };
            if let Some(name) = name.filter(|name| names.insert(name.clone())) {
                rows.push((name, row));
            }
        }
    }
    if let Listing::Names { .. } = listing {
        rows.sort_by(|one, other| one.0.cmp(&other.0));
    }
    outcome.columns = columns.len().saturating_sub(1) as u64;
    outcome.rows = rows.len() as u64;
    for column in &columns {
        put(client, column, interrupt).await?;
    }
    if !client.deprecate_eof() {
        put(client, &encode_eof(session_status, 0), interrupt).await?;
    }
    for (_, row) in &rows {
        put(client, row, interrupt).await?;
    }
    end(client, session_status, &outcome, interrupt).await?;
    Ok(outcome)
}

/// The first values of a row, all of them strings; none of NULL.
fn values(row: &[u8], columns: usize) -> Vec<Vec<u8>> {
    // A name is never empty: a zero in front is the header of a binary row, behind which its bits for NULL follow.
    let text = match row.first() {
        Some(0) => row.get(1 + (columns + 9) / 8..).unwrap_or_default(),
        _ => row,
    };
    let mut reader = Reader::new(text, "row");
    let mut values = Vec::new();
    while values.len() < COLUMNS_READ_MAX
        && let Ok(value) = reader.nullable_bytes()
    {
        values.push(value.unwrap_or_default().to_vec());
    }
    values
}
