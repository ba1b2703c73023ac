//! Rows of several shards, one shard after the other: a SELECT that needs no merge.
//!
//! All shards get the statement before the first answer is read, so they work at the same time; nothing goes to the client
//! before every shard has begun its rows, so that an error of any shard is the whole answer. Rows wait on their servers until
//! it is their turn: memory is one row of each shard.

use super::client::{Client, Stream};
use super::everywhere::Participant;
use super::exchange::unexpected;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::results::{Begun, begin_all, drain, end, next_row, put};
use crate::wire::{Outcome, RowFormat, StatusFlags, encode_eof};

/// Runs every participant's command and forwards the rows, whether they are text or binary. Not for statements without a result set.
/// The client is told `session_status` beside what the servers say of themselves.
/// After a failure the participants' progress tells which connections are in the middle of their responses: drop those leases.
pub(crate) async fn concatenate<S: Stream>(
    participants: &mut [Participant<'_>],
    format: RowFormat,
    session_status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let result = forward(participants, format, session_status, client, interrupt).await;
    if let Err(Failure::Server { .. }) = result {
        drain(participants, client, interrupt).await;
    }
    result
}

async fn forward<S: Stream>(
    participants: &mut [Participant<'_>],
    format: RowFormat,
    session_status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let begun = begin_all(participants, client, interrupt).await?;
    let Some(first) = begun.first() else { return Ok(Outcome::default()) };
    let Begun { columns, .. } = first;
    for (participant, other) in participants.iter().zip(&begun) {
        if !first.reads_as(other, format) {
            let what = "a result with other columns than the other shards'";
            return Err(Failure::Backend(unexpected(participant.connection, what)));
        }
    }
    for column in columns {
        put(client, column, interrupt).await?;
    }
    let mut outcome = Outcome { columns: columns.len().saturating_sub(1) as u64, ..Outcome::default() };
    if !client.deprecate_eof() {
        put(client, &encode_eof(session_status, 0), interrupt).await?;
    }
    for (participant, begun) in participants.iter_mut().zip(begun) {
        let mut next = begun.first;
        while let Some(row) = next.row(&mut outcome) {
            outcome.rows += 1;
            put(client, &row, interrupt).await?;
            next = next_row(participant, client, interrupt).await?;
        }
    }
    end(client, session_status, &outcome, interrupt).await?;
    Ok(outcome)
}
