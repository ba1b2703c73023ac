//! The results of several shards: their beginnings at the same time, their rows as they are wanted, and the client's side.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::alarm::Call;
use super::client::{Client, Stream};
use super::everywhere::{Participant, Progress};
use super::exchange::unexpected;
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::wire::{
    ColumnDefinition, ErrPacket, Malformed, OkPacket, Outcome, Reader, RowFormat, SESSION_STATE_CHANGED,
    StatusFlags,
};

/// After an error: what is read of one other shard's rows, and of all of them, before their connections are closed instead.
const DRAIN_BYTES_MAX: usize = 1 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// One shard's result, up to its first row.
pub(super) struct Begun {
    /// The column count and the definitions, whole packets' payloads.
    pub(super) columns: Vec<Bytes>,
    pub(super) first: Next,
}

impl Begun {
    /// Rows of both can be read by the definitions of either: text by any, binary rows by their types.
    pub(super) fn reads_as(&self, other: &Begun, format: RowFormat) -> bool {
        let shape = |column: &Bytes| {
            let column = ColumnDefinition::decode(column).ok()?;
            Some((column.kind, column.flags & ColumnDefinition::UNSIGNED))
        };
        // The first is the number of columns.
        self.columns.len() == other.columns.len()
            && (format == RowFormat::Text
                || self.columns.iter().zip(&other.columns).skip(1).all(|(one, two)| shape(one) == shape(two)))
    }
}

/// What comes next of a result's rows.
pub(super) enum Next {
    Row(Bytes),
    End { status: StatusFlags, warnings: u16 },
}

impl Next {
    /// The row; at the end of rows none, and what the server says there is added to `outcome`.
    pub(super) fn row(self, outcome: &mut Outcome) -> Option<Bytes> {
        match self {
            Next::Row(row) => Some(row),
            Next::End { status, warnings } => {
                outcome.status |= status.bits();
                outcome.warnings = outcome.warnings.saturating_add(warnings);
                None
            }
        }
    }
}

/// Asks all participants and waits until each has begun its rows. The first error of any is the answer: the slower ones get only so much
/// time as their connections are worth.
pub(super) async fn begin_all<S: Stream>(
    participants: &mut [Participant<'_>],
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Vec<Begun>, Failure> {
    for participant in participants.iter_mut() {
        participant.connection.send(participant.command).await?;
    }
    let beginnings = participants.iter_mut().map(|participant| Some(Box::pin(begin(participant)))).collect();
    tokio::select! {
        biased;
        begun = all(beginnings) => begun,
        gone = client.gone() => Err(Failure::ClientGone(gone)),
        interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
    }
}

/// The values of all, in their order, or the first failure.
async fn all<T, F: Future<Output = Result<T, Failure>>>(
    mut waiting: Vec<Option<Pin<Box<F>>>>,
) -> Result<Vec<T>, Failure> {
    let mut values: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    while let Some((index, value)) = next_of(&mut waiting).await {
        match value {
            Ok(value) => values[index] = Some(value),
            Err(failure) => {
                if let Failure::Server { .. } = failure {
                    let others = async { while next_of(&mut waiting).await.is_some() {} };
                    let _late = tokio::time::timeout(DRAIN_TIME_MAX, others).await;
                }
                return Err(failure);
            }
        }
    }
    Ok(values.into_iter().flatten().collect())
}

/// The first that is ready, which is taken out; none when none is left.
async fn next_of<T, F: Future<Output = T>>(waiting: &mut [Option<Pin<Box<F>>>]) -> Option<(usize, T)> {
    poll_fn(|context| {
        let mut left = false;
        for (index, slot) in waiting.iter_mut().enumerate() {
            let Some(future) = slot else { continue };
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *slot = None;
                return Poll::Ready(Some((index, value)));
            }
            left = true;
        }
        if left { Poll::Pending } else { Poll::Ready(None) }
    })
    .await
}

/// Reads rows that nobody will see, so that connections can be kept; what would take longer is left as it is.
pub(super) async fn drain<S: Stream>(
    participants: &mut [Participant<'_>],
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) {
    let _late = tokio::time::timeout(DRAIN_TIME_MAX, read_to_end(participants, client, interrupt)).await;
}

async fn read_to_end<S: Stream>(
    participants: &mut [Participant<'_>],
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    for participant in participants.iter_mut() {
        let mut bytes = 0;
        while participant.progress == Progress::Rows && bytes < DRAIN_BYTES_MAX {
            match next_row(participant, client, interrupt).await {
                Ok(Next::Row(row)) => bytes += row.len(),
                // An error of this one, too, is a whole answer.
                Ok(Next::End { .. }) | Err(Failure::Server { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(())
}

/// Reads the column definitions and the first row. Cancel safe only in that the connection must be dropped then.
async fn begin(participant: &mut Participant<'_>) -> Result<Begun, Failure> {
    let connection = &mut *participant.connection;
    let count = connection.packet().await?;
    match count.first() {
        Some(0xFF) => return Err(refusal(participant, &count)),
        Some(0x00 | 0xFB) | None => {
            return Err(Failure::Backend(unexpected(connection, "no result set where one was asked for")));
        }
        Some(_) => {}
    }
    let columns_count = Reader::new(&count, "column count")
        .lenenc_int()
        .ok()
        .and_then(|columns| usize::try_from(columns).ok())
        .ok_or_else(|| Failure::Backend(unexpected(connection, "a column count that cannot be read")))?;
    let mut columns = vec![count];
    for _ in 0..columns_count {
        columns.push(connection.packet().await?);
    }
    if !connection.deprecate_eof() {
        connection.packet().await?;
    }
    participant.progress = Progress::Rows;
    let first = participant.connection.packet().await?;
    Ok(Begun { columns, first: next(participant, first)? })
}

/// Reads one row, or the end of them.
pub(super) async fn next_row<S: Stream>(
    participant: &mut Participant<'_>,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Next, Failure> {
    let packet = tokio::select! {
        biased;
        packet = participant.connection.packet() => packet?,
        gone = client.gone() => return Err(Failure::ClientGone(gone)),
        interrupted = interrupt.wait() => return Err(Failure::Interrupted(interrupted)),
    };
    next(participant, packet)
}

fn next(participant: &mut Participant<'_>, packet: Bytes) -> Result<Next, Failure> {
    let connection = &mut *participant.connection;
    match packet.first() {
        Some(0xFF) => Err(refusal(participant, &packet)),
        Some(0xFE) if packet.len() < 0xFF_FFFF => {
            let end = end_of(&packet, connection.deprecate_eof()).map_err(|_| {
                Failure::Backend(unexpected(connection, "an end of rows that cannot be read"))
            })?;
            participant.connection.noticed |= end.state_changed;
            participant.progress = Progress::Answered(end.status);
            Ok(Next::End { status: end.status, warnings: end.warnings })
        }
        _ => Ok(Next::Row(packet)),
    }
}

/// A server's own error.
fn refusal(participant: &mut Participant<'_>, packet: &[u8]) -> Failure {
    match ErrPacket::decode(packet) {
        Ok(packet) => {
            participant.progress = Progress::Refused;
            Failure::Server { shard: participant.shard.clone(), packet }
        }
        Err(_) => Failure::Backend(unexpected(participant.connection, "an ERR packet that cannot be read")),
    }
}

/// Status and warnings of EOF or of the OK packet in its place.
fn end_of(payload: &[u8], deprecate_eof: bool) -> Result<OkPacket, Malformed> {
    if deprecate_eof {
        return OkPacket::decode(payload);
    }
    let mut reader = Reader::new(payload, "end of rows");
    reader.u8()?;
    let warnings = reader.u16()?;
    let status = StatusFlags::from_bits_truncate(reader.u16()?);
    let state_changed = status.contains(SESSION_STATE_CHANGED);
    Ok(OkPacket { status, warnings, state_changed, ..OkPacket::default() })
}

/// The end of the client's rows.
pub(super) async fn end<S: Stream>(
    client: &mut Client<S>,
    session_status: StatusFlags,
    outcome: &Outcome,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let status = StatusFlags::from_bits_truncate(outcome.status) | session_status;
    let end = client.end_of_rows(status, outcome.warnings);
    put(client, &end, interrupt).await?;
    tokio::select! {
        biased;
        flushed = client.flush() => flushed.map_err(Failure::ClientGone),
        _ = interrupt.alarm.wait(&[Call::EndSession]) => Err(Failure::ClientGone(io::ErrorKind::TimedOut.into())),
    }
}

/// A client that does not read must not outlive KILL and the end of draining.
pub(super) async fn put<S: Stream>(
    client: &mut Client<S>,
    payload: &[u8],
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        written = client.put(payload) => written.map_err(Failure::ClientGone),
        _ = interrupt.alarm.wait(&[Call::EndSession]) => Err(Failure::ClientGone(io::ErrorKind::TimedOut.into())),
    }
}
