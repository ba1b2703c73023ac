//! Short exchanges of the proxy's own with one server: transaction control, session state, read-backs.

use bytes::Bytes;

use super::client::{Client, Stream};
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::backend::{BackendError, Connection, SessionState};
use crate::wire::{ColumnDefinition, ErrPacket, HEADER_BYTES, Malformed, OkPacket, Reader, query_packet};

/// The server runs with an option, mostly read_only.
const ER_OPTION_PREVENTS_STATEMENT: u16 = 1290;
const ER_READ_ONLY_MODE: u16 = 1836;
/// Of Group Replication, when the member has lost its group.
const ER_RUN_HOOK_ERROR: u16 = 3100;
const ER_TRANSACTION_ROLLBACK_DURING_COMMIT: u16 = 3101;

/// Rows that the proxy reads for itself; more is a bug or a hostile server.
const ROWS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) enum Answer {
    Ok(OkPacket),
    Error(ErrPacket),
    Rows(Vec<Vec<Option<Bytes>>>),
}

/// Sends one statement and reads its whole answer, which must be small.
pub(crate) async fn ask(connection: &mut Connection, statement: &[u8]) -> Result<Answer, BackendError> {
    connection.send(&query_packet(statement)).await?;
    answer(connection).await
}

/// Asks several servers at the same time, each its own statements in one write; gives the last answer of each. A connection that
/// failed is in the middle of its answer: drop its lease.
pub(crate) async fn ask_each(
    asked: Vec<(&mut Connection, Vec<String>)>,
) -> Vec<Result<Answer, BackendError>> {
    let mut sent = Vec::with_capacity(asked.len());
    for (connection, statements) in asked {
        let result = send_all(connection, &statements).await;
        sent.push((connection, statements.len(), result));
    }
    let mut answers = Vec::with_capacity(sent.len());
    for (connection, count, result) in sent {
        answers.push(match result {
            Ok(()) => last_answer(connection, count).await,
            Err(error) => Err(error),
        });
    }
    answers
}

/// Sends statements in one write, without waiting for their answers.
pub(super) async fn send_all(connection: &mut Connection, statements: &[String]) -> Result<(), BackendError> {
    let packets: Vec<u8> =
        statements.iter().flat_map(|statement| query_packet(statement.as_bytes())).collect();
    connection.send(&packets).await
}

/// Reads so many answers; gives the last.
pub(super) async fn last_answer(connection: &mut Connection, count: usize) -> Result<Answer, BackendError> {
    for _ in 1..count {
        answer(connection).await?;
    }
    answer(connection).await
}

/// As [`ask`], for a statement of the client's that may take its time. On a failure drop the connection's lease.
pub(crate) async fn ask_for<S: Stream>(
    client: &mut Client<S>,
    connection: &mut Connection,
    statement: &[u8],
    interrupt: &Interrupt<'_>,
) -> Result<Answer, Failure> {
    watched(client, interrupt, ask(connection, statement)).await
}

/// Waits for `work` on a client's behalf: in vain when the client goes away, is killed or has no time left.
pub(crate) async fn watched<S: Stream, T, E: Into<Failure>>(
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => done.map_err(Into::into),
        gone = client.gone() => Err(Failure::ClientGone(gone)),
        interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
    }
}

/// The number of the error that the answer to a command is, if it is one; nothing is taken. Waits for the answer's first bytes.
pub(super) async fn error_ahead<S: Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Option<u16>, Failure> {
    // The shortest answers are longer.
    while connection.received.len() < HEADER_BYTES + 3 {
        super::passthrough::wait(connection, client, interrupt).await?;
    }
    let head = &connection.received[HEADER_BYTES..HEADER_BYTES + 3];
    Ok((head[0] == ErrPacket::FIRST_BYTE).then(|| u16::from_le_bytes([head[1], head[2]])))
}

/// What a server says that takes no writes, when that is its answer; it is taken then. The statement did nothing.
pub(crate) async fn refused_as_read_only<S: Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Option<ErrPacket>, Failure> {
    match error_ahead(connection, client, interrupt).await? {
        Some(ER_OPTION_PREVENTS_STATEMENT | ER_READ_ONLY_MODE) => {}
        Some(_) | None => return Ok(None),
    }
    let packet = connection.packet().await?;
    error(connection, &packet).map(Some).map_err(Failure::from)
}

/// Whether a server that answers with this error takes no writes (any more).
pub(crate) fn tells_of_demotion(code: u16) -> bool {
    matches!(
        code,
        ER_OPTION_PREVENTS_STATEMENT
            | ER_READ_ONLY_MODE
            | ER_RUN_HOOK_ERROR
            | ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    )
}

/// Reads the answer to a statement that was sent.
pub(super) async fn answer(connection: &mut Connection) -> Result<Answer, BackendError> {
    let first = connection.packet().await?;
    match first.first() {
        Some(0x00) => Ok(Answer::Ok(ok(connection, &first)?)),
        Some(0xFF) => Ok(Answer::Error(error(connection, &first)?)),
        Some(&columns @ 1..0xFB) => rows(connection, usize::from(columns)).await,
        _ => Err(unexpected(connection, "an answer that begins with neither OK, ERR nor a column count")),
    }
}

/// A question of the proxy's own whose answer must have rows; `None` when the server refused it.
pub(crate) async fn ask_typed(
    connection: &mut Connection,
    question: &[u8],
) -> Result<Option<(Vec<ColumnDefinition>, Vec<Vec<Option<Bytes>>>)>, BackendError> {
    connection.send(&query_packet(question)).await?;
    let first = connection.packet().await?;
    let &[count @ 1..0xFB] = first.as_ref() else {
        return match first.first() {
            Some(0xFF) => Ok(None),
            _ => Err(unexpected(connection, "no result set where one was asked for")),
        };
    };
    let mut columns = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let packet = connection.packet().await?;
        let column = ColumnDefinition::decode(&packet);
        columns.push(column.map_err(|_| unexpected(connection, "a column that cannot be read"))?);
    }
    if !connection.deprecate_eof() {
        connection.packet().await?;
    }
    match rows_of(connection, columns.len()).await? {
        Answer::Rows(rows) => Ok(Some((columns, rows))),
        Answer::Ok(_) | Answer::Error(_) => Ok(None),
    }
}

async fn rows(connection: &mut Connection, columns: usize) -> Result<Answer, BackendError> {
    let column_ends = if connection.deprecate_eof() { columns } else { columns + 1 };
    for _ in 0..column_ends {
        connection.packet().await?;
    }
    rows_of(connection, columns).await
}

/// Behind the column definitions.
async fn rows_of(connection: &mut Connection, columns: usize) -> Result<Answer, BackendError> {
    let mut rows = Vec::new();
    loop {
        let packet = connection.packet().await?;
        match packet.first() {
            Some(0xFF) => return Ok(Answer::Error(error(connection, &packet)?)),
            Some(0xFE) if packet.len() < 0xFF_FFFF => return Ok(Answer::Rows(rows)),
            _ => {}
        }
        let row =
            text_row(&packet, columns).map_err(|_| unexpected(connection, "a row that cannot be read"))?;
        if rows.len() == ROWS_MAX {
            return Err(unexpected(connection, "more rows than the proxy asked for"));
        }
        rows.push(row);
    }
}

fn text_row(packet: &[u8], columns: usize) -> Result<Vec<Option<Bytes>>, Malformed> {
    let mut reader = Reader::new(packet, "row");
    (0..columns).map(|_| Ok(reader.nullable_bytes()?.map(Bytes::copy_from_slice))).collect()
}

/// Leads the connection to the session's state. The statement waits for the answer: sent ahead of it, a refused `USE` would let the
/// statement run in another database.
pub(crate) async fn prepare(connection: &mut Connection, wanted: &SessionState) -> Result<(), Failure> {
    let preparation = connection.state.prepare(wanted);
    if preparation.replies == 0 {
        return Ok(());
    }
    connection.send(&preparation.packets).await?;
    let mut refused = None;
    for _ in 0..preparation.replies {
        match answer(connection).await? {
            Answer::Ok(_) | Answer::Rows(_) => {}
            Answer::Error(packet) => refused = refused.or(Some(packet)),
        }
    }
    match refused {
        None => {
            connection.state = wanted.clone();
            if preparation.resets {
                connection.handles.forget();
            }
            Ok(())
        }
        Some(packet) => Err(Failure::Backend(BackendError::StateRefused {
            server: connection.server().clone(),
            code: packet.code,
            message: String::from_utf8_lossy(&packet.message).into_owned(),
        })),
    }
}

fn ok(connection: &Connection, payload: &[u8]) -> Result<OkPacket, BackendError> {
    OkPacket::decode(payload).map_err(|_| unexpected(connection, "an OK packet that cannot be read"))
}

fn error(connection: &Connection, payload: &[u8]) -> Result<ErrPacket, BackendError> {
    ErrPacket::decode(payload).map_err(|_| unexpected(connection, "an ERR packet that cannot be read"))
}

pub(super) fn unexpected(connection: &Connection, what: &str) -> BackendError {
    BackendError::Protocol { server: connection.server().clone(), what: what.to_owned() }
}
