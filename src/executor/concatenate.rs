//! Rows of several shards, one shard after the other: a SELECT that needs no merge.
//!
//! All shards get the statement before the first answer is read, so they work at the same time; nothing goes to the client
//! before every shard has begun its result, so that an error of any shard is the whole answer. Rows wait on their servers until
//! it is their turn: memory is one row.

use std::io;
use std::time::Duration;

use super::alarm::Call;
use super::client::{Client, Stream};
use super::everywhere::{Participant, Progress};
use super::exchange::unexpected;
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::backend::Connection;
use crate::wire::{
    ColumnDefinition, ErrPacket, Malformed, OkPacket, Outcome, Reader, StatusFlags, encode_eof,
};

/// After an error: what is read of one other shard's rows, and of all of them, before their connections are closed instead.
const DRAIN_BYTES_MAX: usize = 1 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// One shard's result, up to its first row.
pub(super) struct Head {
    /// The column count and the definitions, whole packets' payloads.
    pub(super) columns: Vec<bytes::Bytes>,
}

impl Head {
    /// Rows of both can be read by the definitions of either: binary rows by their types.
    fn reads_as(&self, other: &Head) -> bool {
        let shape = |column: &bytes::Bytes| {
            let column = ColumnDefinition::decode(column).ok()?;
            Some((column.kind, column.flags & ColumnDefinition::UNSIGNED))
        };
        // The first is the number of columns.
        self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).skip(1).all(|(one, two)| shape(one) == shape(two))
    }
}

/// Runs every participant's command and forwards the rows, whether they are text or binary. Not for statements without a result set.
/// The client is told `session_status` beside what the servers say of themselves.
///
/// After a server's error the other answers are read to their end as far as that is quickly done. Whatever happened, a participant
/// whose progress is neither `Answered` nor `Refused` is in the middle of its response: drop its lease.
pub(crate) async fn concatenate<S: Stream>(
    participants: &mut [Participant<'_>],
    session_status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    for participant in participants.iter_mut() {
        participant.connection.send(participant.command).await?;
    }
    let result = forward(participants, session_status, client, interrupt).await;
    if let Err(Failure::Server { .. }) = result {
        drain(participants, client, interrupt).await;
    }
    result
}

/// Reads what nobody will see, so that connections can be kept; what would take longer is left as it is.
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
        if participant.progress == Progress::Begun {
            // An error of this one, too, is a whole answer.
            let _either = head(participant, client, interrupt).await?;
        }
        let mut bytes = 0;
        while participant.progress == Progress::Rows && bytes < DRAIN_BYTES_MAX {
            match next_row(participant, client, interrupt, &mut Outcome::default()).await {
                Ok(Next::Row(row)) => bytes += row.len(),
                Ok(Next::End) | Err(Failure::Server { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(())
}

async fn forward<S: Stream>(
    participants: &mut [Participant<'_>],
    session_status: StatusFlags,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let mut first: Option<Head> = None;
    for participant in participants.iter_mut() {
        let head = match head(participant, client, interrupt).await? {
            Ok(head) => head,
            Err(refusal) => {
                return Err(Failure::Server { shard: participant.shard.clone(), packet: refusal });
            }
        };
        match &first {
            None => first = Some(head),
            Some(first) if first.reads_as(&head) => {}
            Some(_) => {
                return Err(Failure::Backend(unexpected(
                    participant.connection,
                    "a result with other columns than the other shards'",
                )));
            }
        }
    }
    let Some(head) = first else { return Ok(Outcome::default()) };
    for column in &head.columns {
        put(client, column, interrupt).await?;
    }
    let mut outcome = Outcome { columns: head.columns.len().saturating_sub(1) as u64, ..Outcome::default() };
    if !client.deprecate_eof() {
        put(client, &encode_eof(session_status, 0), interrupt).await?;
    }
    for participant in participants.iter_mut() {
        rows(participant, client, interrupt, &mut outcome).await?;
    }
    end(client, session_status, &outcome, interrupt).await?;
    Ok(outcome)
}

/// Reads the column definitions, or the ERR packet that came instead.
pub(super) async fn head<S: Stream>(
    participant: &mut Participant<'_>,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Result<Head, ErrPacket>, Failure> {
    let connection = &mut *participant.connection;
    let count = packet(connection, client, interrupt).await?;
    match count.first() {
        Some(0xFF) => {
            let refusal = ErrPacket::decode(&count)
                .map_err(|_| Failure::Backend(unexpected(connection, "an ERR packet that cannot be read")))?;
            participant.progress = Progress::Refused;
            return Ok(Err(refusal));
        }
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
        columns.push(packet(connection, client, interrupt).await?);
    }
    if !connection.deprecate_eof() {
        packet(connection, client, interrupt).await?;
    }
    participant.progress = Progress::Rows;
    Ok(Ok(Head { columns }))
}

/// Forwards one shard's rows and adds its end to `outcome`.
async fn rows<S: Stream>(
    participant: &mut Participant<'_>,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    while let Next::Row(row) = next_row(participant, client, interrupt, outcome).await? {
        outcome.rows += 1;
        put(client, &row, interrupt).await?;
    }
    Ok(())
}

/// What comes after a row.
pub(super) enum Next {
    Row(bytes::Bytes),
    End,
}

/// Reads one row, or the end of them, which is added to `outcome`.
pub(super) async fn next_row<S: Stream>(
    participant: &mut Participant<'_>,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
    outcome: &mut Outcome,
) -> Result<Next, Failure> {
    let connection = &mut *participant.connection;
    let row = packet(connection, client, interrupt).await?;
    match row.first() {
        Some(0xFF) => {
            let packet = ErrPacket::decode(&row)
                .map_err(|_| Failure::Backend(unexpected(connection, "an ERR packet that cannot be read")))?;
            participant.progress = Progress::Refused;
            Err(Failure::Server { shard: participant.shard.clone(), packet })
        }
        Some(0xFE) if row.len() < 0xFF_FFFF => {
            let end = end_of(&row, connection.deprecate_eof()).map_err(|_| {
                Failure::Backend(unexpected(connection, "an end of rows that cannot be read"))
            })?;
            participant.progress = Progress::Answered(end.status);
            outcome.status |= end.status.bits();
            outcome.warnings = outcome.warnings.saturating_add(end.warnings);
            Ok(Next::End)
        }
        _ => Ok(Next::Row(row)),
    }
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

/// Status and warnings of EOF or of the OK packet in its place.
fn end_of(payload: &[u8], deprecate_eof: bool) -> Result<OkPacket, Malformed> {
    let mut reader = Reader::new(payload, "end of rows");
    reader.u8()?;
    if deprecate_eof {
        reader.lenenc_int()?;
        reader.lenenc_int()?;
        let status = StatusFlags::from_bits_truncate(reader.u16()?);
        return Ok(OkPacket { status, warnings: reader.u16()?, ..OkPacket::default() });
    }
    let warnings = reader.u16()?;
    Ok(OkPacket { status: StatusFlags::from_bits_truncate(reader.u16()?), warnings, ..OkPacket::default() })
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

async fn packet<S: Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<bytes::Bytes, Failure> {
    tokio::select! {
        biased;
        packet = connection.packet() => packet.map_err(Failure::from),
        gone = client.gone() => Err(Failure::ClientGone(gone)),
        interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
    }
}
