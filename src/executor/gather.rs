//! Runs a merge: all shards work at the same time, `merge` says whose next row is wanted. Nothing goes to the client before
//! every shard has begun its result and its types are known to be comparable; after that a slow client stops the servers' reads.

use bytes::Bytes;

use super::client::{Client, Stream};
use super::everywhere::Participant;
use super::exchange::unexpected;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::merge::{MergeError, Merger, Step};
use super::results::{Begun, Next, begin_all, drain, end, next_row, put};
use crate::error::ClientError;
use crate::planner::Merge;
use crate::wire::{
    ColumnDefinition, Malformed, Outcome, RowFormat, StatusFlags, binary_of_text, encode_eof, put_lenenc_int,
    text_of_binary,
};

/// What a merge may take and is told.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) session_status: StatusFlags,
    /// What the shards' rows are, and the client's.
    pub(crate) format: RowFormat,
    /// Of the plan's conditions, in their order.
    pub(crate) literals: Vec<Vec<u8>>,
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
    let result = forward(plan, participants, terms, client, interrupt).await;
    if let Err(Failure::Server { .. } | Failure::Refused(_)) = result {
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
    let begun = begin_all(participants, client, interrupt).await?;
    let columns = definitions(participants, &begun)?;
    let mut merger = Merger::new(plan, &columns, &terms.literals, terms.bytes_max).map_err(refusal)?;
    let seen = &columns[0][..columns[0].len().saturating_sub(plan.hidden)];
    let mut outcome = Outcome::default();
    let (heads, first): (Vec<_>, Vec<_>) =
        begun.into_iter().map(|begun| (begun.columns, Source::At(begun.first))).unzip();
    let mut sources = Sources { each: first, participants };
    let mut begun = false;
    loop {
        match merger.step().map_err(refusal)? {
            Step::Need(input) => {
                let row = sources.next(input, client, interrupt, &mut outcome).await?;
                let row = match (row, terms.format) {
                    (Some(row), RowFormat::Binary) => {
                        let text = text_of_binary(&row, &columns[input]);
                        let connection = &*sources.participants[input].connection;
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
    // Beyond LIMIT. Most shards were told to stop there, too.
    for input in 0..columns.len() {
        while sources.next(input, client, interrupt, &mut outcome).await?.is_some() {}
    }
    outcome.columns = (columns[0].len() - plan.hidden) as u64;
    end(client, terms.session_status, &outcome, interrupt).await?;
    Ok(outcome)
}

/// Where a shard's rows stand.
enum Source {
    /// This comes next; it was read already.
    At(Next),
    Open,
    Ended,
}

struct Sources<'p, 's> {
    each: Vec<Source>,
    participants: &'p mut [Participant<'s>],
}

impl Sources<'_, '_> {
    /// The shard's next row; none when it has no more.
    async fn next<S: Stream>(
        &mut self,
        input: usize,
        client: &mut Client<S>,
        interrupt: &Interrupt<'_>,
        outcome: &mut Outcome,
    ) -> Result<Option<Bytes>, Failure> {
        let next = match std::mem::replace(&mut self.each[input], Source::Open) {
            Source::At(next) => next,
            Source::Open => next_row(&mut self.participants[input], client, interrupt).await?,
            Source::Ended => {
                self.each[input] = Source::Ended;
                return Ok(None);
            }
        };
        let row = next.row(outcome);
        if row.is_none() {
            self.each[input] = Source::Ended;
        }
        Ok(row)
    }
}

fn definitions(
    participants: &[Participant<'_>],
    begun: &[Begun],
) -> Result<Vec<Vec<ColumnDefinition>>, Failure> {
    let of = |(participant, begun): (&Participant<'_>, &Begun)| {
        let columns: Result<Vec<_>, _> =
            begun.columns.iter().skip(1).map(|column| ColumnDefinition::decode(column)).collect();
        columns.map_err(|_| {
            Failure::Backend(unexpected(participant.connection, "a column definition that cannot be read"))
        })
    };
    participants.iter().zip(begun).map(of).collect()
}

/// The definitions of the columns that the client asked for, as the first shard says.
async fn begin<S: Stream>(
    heads: &[Vec<Bytes>],
    hidden: usize,
    status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let Some(head) = heads.first() else { return Ok(()) };
    let seen = head.len().saturating_sub(1 + hidden);
    let mut count = Vec::new();
    put_lenenc_int(&mut count, seen as u64);
    put(client, &count, interrupt).await?;
    for column in head.iter().skip(1).take(seen) {
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
