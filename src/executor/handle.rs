//! Statements prepared on one server connection: found, or prepared as they are to be read. The connection carries the session's
//! state before and after.

use bytes::Bytes;

use super::client::{Client, Stream};
use super::exchange::{error_ahead, prepare as lead, unexpected, watched};
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::backend::{BackendError, Connection, HandleKey, SessionState};
use crate::topology::ShardName;
use crate::wire::{ErrPacket, PrepareOk, StatusFlags, close_packet, encode_eof, prepare_packet};

/// The server has as many prepared statements as it takes, over all its clients.
const ER_MAX_PREPARED_STMT_COUNT_REACHED: u16 = 1461;
const ER_UNKNOWN_STMT_HANDLER: u16 = 1243;

/// What is to be prepared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preparable<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) key: HandleKey,
    /// Of the same when nothing has executed it yet.
    pub(crate) unused_key: HandleKey,
    /// Of the session when its client prepared the statement: names and modes stay those of that moment.
    pub(crate) state: &'a SessionState,
    /// It may be shared with what else executes it here; otherwise it is prepared apart and closed by its user.
    pub(crate) keep: bool,
}

/// A statement that is prepared on a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) id: u32,
    /// The connection knows it; else its user closes it.
    pub(crate) kept: bool,
}

/// What a server told of a statement: whole definitions, as it wrote them.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) ok: PrepareOk,
    parameters: Vec<Bytes>,
    columns: Vec<Bytes>,
}

impl Description {
    /// Of a statement that the proxy runs itself: what columns it gives is told by its execution, as for SHOW.
    pub(crate) fn own() -> Description {
        let ok = PrepareOk { id: 0, columns: 0, parameters: 0, warnings: 0 };
        Description { ok, parameters: Vec::new(), columns: Vec::new() }
    }
}

/// The handle of a statement on `connection`. Not cancel safe: on a failure other than `Server` or `Refused`, drop the lease.
async fn handle(
    connection: &mut Connection,
    shard: &ShardName,
    wanted: &Preparable<'_>,
) -> Result<Handle, Failure> {
    if wanted.keep
        && let Some(id) = connection.handles.find(wanted.key)
    {
        return Ok(Handle { id, kept: true });
    }
    if wanted.keep
        && let Some(id) = connection.handles.remove(wanted.unused_key)
    {
        connection.handles.insert(wanted.key, id);
        return Ok(Handle { id, kept: true });
    }
    describe(connection, shard, wanted).await.map(|(handle, _)| handle)
}

/// As [`handle`], for a client that may leave and a statement that may be stopped.
pub(crate) async fn handle_for<S: Stream>(
    client: &mut Client<S>,
    connection: &mut Connection,
    shard: &ShardName,
    wanted: &Preparable<'_>,
    interrupt: &Interrupt<'_>,
) -> Result<Handle, Failure> {
    watched(client, interrupt, handle(connection, shard, wanted)).await
}

/// As [`describe`], for a client that may leave and a statement that may be stopped.
pub(crate) async fn describe_for<S: Stream>(
    client: &mut Client<S>,
    connection: &mut Connection,
    shard: &ShardName,
    wanted: &Preparable<'_>,
    interrupt: &Interrupt<'_>,
) -> Result<(Handle, Description), Failure> {
    watched(client, interrupt, describe(connection, shard, wanted)).await
}

/// Prepares a statement, whether or not the connection has it: a server alone knows what its columns are now.
async fn describe(
    connection: &mut Connection,
    shard: &ShardName,
    wanted: &Preparable<'_>,
) -> Result<(Handle, Description), Failure> {
    let own = connection.state.clone();
    let reading = own.reading_as(wanted.state);
    lead(connection, &reading).await?;
    let described = prepare(connection, shard, wanted).await;
    if reading != own && !matches!(described, Err(Failure::Backend(_))) {
        lead(connection, &reading.reading_as(&own)).await?;
        // What it has by default it does not carry.
        connection.state = own;
    }
    described
}

async fn prepare(
    connection: &mut Connection,
    shard: &ShardName,
    wanted: &Preparable<'_>,
) -> Result<(Handle, Description), Failure> {
    let replaced = if wanted.keep { connection.handles.remove(wanted.key) } else { None };
    let admission = connection.handles.admit();
    let mut close = admission.close;
    close.extend(replaced);
    loop {
        let mut packets: Vec<u8> = close.iter().flat_map(|id| close_packet(*id)).collect();
        packets.extend_from_slice(&prepare_packet(wanted.text));
        connection.send(&packets).await?;
        let first = connection.packet().await?;
        if first.first() == Some(&ErrPacket::FIRST_BYTE) {
            let packet = ErrPacket::decode(&first)
                .map_err(|_| unexpected(connection, "an ERR packet that cannot be read"))?;
            if packet.code == ER_MAX_PREPARED_STMT_COUNT_REACHED {
                close = connection.handles.remove_all();
                if !close.is_empty() {
                    continue;
                }
            }
            return Err(Failure::Server { shard: shard.clone(), packet });
        }
        let ok = PrepareOk::decode(&first)
            .map_err(|_| unexpected(connection, "an answer to a prepare that cannot be read"))?;
        let parameters = definitions(connection, ok.parameters).await?;
        let columns = definitions(connection, ok.columns).await?;
        connection.handles.prepared();
        let kept = wanted.keep && admission.keep;
        if kept {
            connection.handles.insert(wanted.key, ok.id);
        }
        return Ok((Handle { id: ok.id, kept }, Description { ok, parameters, columns }));
    }
}

async fn definitions(connection: &mut Connection, count: u16) -> Result<Vec<Bytes>, BackendError> {
    let mut all = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        all.push(connection.packet().await?);
    }
    if count > 0 && !connection.deprecate_eof() {
        connection.packet().await?;
    }
    Ok(all)
}

/// Tells a client what it has prepared, under the session's own `id`.
pub(crate) async fn reply_prepared<S: Stream>(
    client: &mut Client<S>,
    id: u32,
    description: &Description,
    status: StatusFlags,
) -> std::io::Result<()> {
    client.put(&PrepareOk { id, ..description.ok }.encode()).await?;
    for definitions in [&description.parameters, &description.columns] {
        for definition in definitions {
            client.put(definition).await?;
        }
        if !definitions.is_empty() && !client.deprecate_eof() {
            client.put(&encode_eof(status, 0)).await?;
        }
    }
    client.flush().await
}

/// Whether the answer to an execution is that the server does not know the handle; that answer is taken then. Waits for the
/// first bytes of the answer.
pub(crate) async fn is_forgotten<S: Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<bool, Failure> {
    if error_ahead(connection, client, interrupt).await? != Some(ER_UNKNOWN_STMT_HANDLER) {
        return Ok(false);
    }
    connection.packet().await?;
    Ok(true)
}

/// Closes a statement on its server, which does not answer.
pub(crate) async fn close(connection: &mut Connection, handle: u32) -> Result<(), BackendError> {
    connection.send(&close_packet(handle)).await
}

/// Whether an answer leaves a cursor open.
pub(crate) fn cursor_exists(status: u16) -> bool {
    StatusFlags::from_bits_truncate(status).contains(StatusFlags::SERVER_STATUS_CURSOR_EXISTS)
}

/// Whether an answer was the last of a cursor.
pub(crate) fn last_row_sent(status: u16) -> bool {
    StatusFlags::from_bits_truncate(status).contains(StatusFlags::SERVER_STATUS_LAST_ROW_SENT)
}
