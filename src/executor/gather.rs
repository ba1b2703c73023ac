//! Runs a merge: all shards work at the same time, `merge` says whose next row is wanted. Nothing goes to the client before
//! every shard has begun its result and its types are known to be comparable; after that a slow client stops the servers' reads.

use super::client::{Client, Stream};
use super::concatenate::{Head, Next, drain, end, head, next_row, put};
use super::everywhere::Participant;
use super::exchange::unexpected;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::merge::{MergeError, Merger, Step};
use crate::error::ClientError;
use crate::planner::Merge;
use crate::wire::{
    ColumnDefinition, Malformed, Outcome, RowFormat, StatusFlags, binary_of_text, encode_eof, put_lenenc_int,
    text_of_binary,
};

/// What a merge may take and is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) session_status: StatusFlags,
    /// What the shards' rows are, and the client's.
    pub(crate) format: RowFormat,
    /// For groups that must be sorted.
    pub(crate) bytes_max: usize,
}

/// Asks every participant and forwards the merged rows. Failures leave participants as those of [`super::concatenate`] do.
pub(crate) async fn merge<S: Stream>(
    plan: &Merge,
    participants: &mut [Participant<'_>],
    terms: Terms,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    for participant in participants.iter_mut() {
        participant.connection.send(participant.command).await?;
    }
    let result = forward(plan, participants, terms, client, interrupt).await;
    if let Err(Failure::Server { .. }) = result {
        drain(participants, client, interrupt).await;
    }
    result
}

async fn forward<S: Stream>(
    plan: &Merge,
    participants: &mut [Participant<'_>],
    terms: Terms,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let mut heads = Vec::with_capacity(participants.len());
    for participant in participants.iter_mut() {
        match head(participant, client, interrupt).await? {
            Ok(head) => heads.push(head),
            Err(packet) => return Err(Failure::Server { shard: participant.shard.clone(), packet }),
        }
    }
    let columns = definitions(participants, &heads)?;
    let mut merger = Merger::new(plan, &columns, terms.bytes_max).map_err(refusal)?;
    let seen = &columns[0][..columns[0].len().saturating_sub(plan.hidden)];
    let mut outcome = Outcome::default();
    let mut sources = Sources { open: participants.iter().map(|_| true).collect() };
    let mut begun = false;
    loop {
        match merger.step().map_err(refusal)? {
            Step::Need(input) => {
                let row = sources.next(input, participants, client, interrupt, &mut outcome).await?;
                let row = match (row, terms.format) {
                    (Some(row), RowFormat::Binary) => {
                        let text = text_of_binary(&row, &columns[input]);
                        let connection = &*participants[input].connection;
                        Some(text.map_err(|_| unexpected(connection, "a row that cannot be read"))?.into())
                    }
                    (row, _) => row,
                };
                merger.give(input, row).map_err(refusal)?;
            }
            Step::Row(row) => {
                if !std::mem::replace(&mut begun, true) {
                    begin(&heads, plan.hidden, terms.session_status, client, interrupt).await?;
                }
                outcome.rows += 1;
                match terms.format {
                    RowFormat::Text => put(client, row, interrupt).await?,
                    RowFormat::Binary => {
                        let row = binary_of_text(row, seen).map_err(unwritten)?;
                        put(client, &row, interrupt).await?;
                    }
                }
            }
            Step::Done => break,
        }
    }
    if !begun {
        begin(&heads, plan.hidden, terms.session_status, client, interrupt).await?;
    }
    // Beyond LIMIT: each shard was told to stop soon.
    for input in 0..participants.len() {
        while sources.next(input, participants, client, interrupt, &mut outcome).await?.is_some() {}
    }
    outcome.columns = (columns[0].len() - plan.hidden) as u64;
    end(client, terms.session_status, &outcome, interrupt).await?;
    Ok(outcome)
}

/// Which participants have rows left.
struct Sources {
    open: Vec<bool>,
}

impl Sources {
    async fn next<S: Stream>(
        &mut self,
        input: usize,
        participants: &mut [Participant<'_>],
        client: &mut Client<S>,
        interrupt: &Interrupt<'_>,
        outcome: &mut Outcome,
    ) -> Result<Option<bytes::Bytes>, Failure> {
        if !self.open[input] {
            return Ok(None);
        }
        match next_row(&mut participants[input], client, interrupt, outcome).await? {
            Next::Row(row) => Ok(Some(row)),
            Next::End => {
                self.open[input] = false;
                Ok(None)
            }
        }
    }
}

fn definitions(
    participants: &[Participant<'_>],
    heads: &[Head],
) -> Result<Vec<Vec<ColumnDefinition>>, Failure> {
    let of = |(participant, head): (&Participant<'_>, &Head)| {
        let columns: Result<Vec<_>, _> =
            head.columns.iter().skip(1).map(|column| ColumnDefinition::decode(column)).collect();
        columns.map_err(|_| {
            Failure::Backend(unexpected(participant.connection, "a column definition that cannot be read"))
        })
    };
    participants.iter().zip(heads).map(of).collect()
}

/// The definitions of the columns that the client asked for, as the first shard says.
async fn begin<S: Stream>(
    heads: &[Head],
    hidden: usize,
    status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let Some(head) = heads.first() else { return Ok(()) };
    let seen = head.columns.len().saturating_sub(1 + hidden);
    let mut count = Vec::new();
    put_lenenc_int(&mut count, seen as u64);
    put(client, &count, interrupt).await?;
    for column in head.columns.iter().skip(1).take(seen) {
        put(client, column, interrupt).await?;
    }
    if !client.deprecate_eof() {
        put(client, &encode_eof(status, 0), interrupt).await?;
    }
    Ok(())
}

fn unwritten(error: Malformed) -> Failure {
    Failure::Refused(ClientError::new("SW1901", format!("a merged row: {error}")))
}

fn refusal(error: MergeError) -> Failure {
    let id = match error {
        MergeError::Budget { .. } => "SW1230",
        MergeError::Type { .. } | MergeError::Value { .. } | MergeError::Columns | MergeError::Order => {
            "SW1202"
        }
    };
    Failure::Refused(ClientError::new(id, error.to_string()))
}
