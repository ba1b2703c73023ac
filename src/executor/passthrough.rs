//! One shard: the result's bytes go to the client as they came. Only packet headers are read, to find the end.

use std::io;

use bytes::Buf;

use super::alarm::Call;
use super::client::Client;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::load::pass_file;
use crate::backend::{BackendError, Connection};
use crate::wire::{
    Boundary, BoundaryError, HEADER_BYTES, Malformed, Outcome, Progress, without_session_state,
};

/// Forwards the response to one command that was sent on `connection`; `boundary` knows the form of such responses. Bytes are
/// forwarded as they arrive, so memory is one read buffer, and a slow client slows the server down. On a failure the connection is in the middle of a response: drop its lease.
pub(crate) async fn passthrough<S: super::client::Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
    mut boundary: Boundary,
) -> Result<Outcome, Failure> {
    // The number of the response's first packet.
    let mut first = None;
    let mut state_changed = false;
    let mut more_needed = connection.received.len() < HEADER_BYTES;
    loop {
        if more_needed && let Err(failure) = wait(connection, client, interrupt).await {
            return Err(settle(failure, &boundary, client));
        }
        let progress = match advance(&mut boundary, connection, client, &mut first) {
            Ok(progress) => progress,
            Err(error) => {
                let error =
                    BackendError::Protocol { server: connection.server().clone(), what: error.to_string() };
                return Err(settle(Failure::Backend(error), &boundary, client));
            }
        };
        let (as_it_is, rewritten, changed) =
            match split(&connection.received[..progress.used], progress.state_at) {
                Ok(split) => split,
                Err(error) => {
                    let error = BackendError::Protocol {
                        server: connection.server().clone(),
                        what: error.to_string(),
                    };
                    return Err(settle(Failure::Backend(error), &boundary, client));
                }
            };
        tokio::select! {
            biased;
            written = forward(client, as_it_is, &rewritten) => written.map_err(Failure::ClientGone)?,
            // A client that does not read must not outlive KILL and the end of draining.
            _ = interrupt.alarm.wait(&[Call::EndSession]) => return Err(Failure::ClientGone(io::ErrorKind::TimedOut.into())),
        }
        connection.received.advance(progress.used);
        connection.noticed |= changed;
        state_changed |= changed;
        if progress.ended {
            client.count_packets(boundary.packets());
            return Ok(Outcome { state_changed, ..boundary.outcome() });
        }
        if boundary.waits_for_file() {
            client.count_packets(boundary.packets());
            let number = first.take().unwrap_or_default().wrapping_add(boundary.packets());
            boundary.file_was_sent();
            client.flush().await.map_err(Failure::ClientGone)?;
            pass_file(connection, number, client, interrupt).await?;
        }
        more_needed = progress.state_at.is_none();
    }
}

/// How far the response is known in what was received. Where it is the whole answer to one command it passes as it is.
fn advance<S: super::client::Stream>(
    boundary: &mut Boundary,
    connection: &mut Connection,
    client: &Client<S>,
    first: &mut Option<u8>,
) -> Result<Progress, BoundaryError> {
    let Some(&number) = connection.received.get(HEADER_BYTES - 1) else {
        return boundary.advance(&connection.received);
    };
    let chaining = client.chaining(*first.get_or_insert(number));
    if chaining.changes_nothing() {
        boundary.advance(&connection.received)
    } else {
        boundary.advance_chained(&mut connection.received, chaining)
    }
}

/// What passes as it is, and the OK packet behind it when it tells of the session's state, without that; and whether the state
/// changed.
fn split(bytes: &[u8], state_at: Option<usize>) -> Result<(&[u8], Vec<u8>, bool), Malformed> {
    let Some(at) = state_at else { return Ok((bytes, Vec::new(), false)) };
    let (rewritten, changed) = without_session_state(&bytes[at..])?;
    Ok((&bytes[..at], rewritten, changed))
}

async fn forward<S: super::client::Stream>(
    client: &mut Client<S>,
    as_it_is: &[u8],
    rewritten: &[u8],
) -> io::Result<()> {
    client.forward(as_it_is).await?;
    if rewritten.is_empty() { Ok(()) } else { client.forward(rewritten).await }
}

/// Waits for bytes of the server, for the client's end and for an interruption.
pub(super) async fn wait<S: super::client::Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        received = connection.receive() => received.map(|_| ()).map_err(Failure::from),
        gone = client.gone() => Err(Failure::ClientGone(gone)),
        interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
    }
}

/// An ERR packet can end a result between packets only, and only a statement without any answer may be tried again.
fn settle<S: super::client::Stream>(
    failure: Failure,
    boundary: &Boundary,
    client: &mut Client<S>,
) -> Failure {
    client.count_packets(boundary.packets());
    match failure {
        Failure::Backend(error) if !boundary.is_between_packets() => Failure::Cut(error),
        Failure::Backend(error) if boundary.has_begun() => Failure::Broken(error),
        Failure::Interrupted(interrupted) if !boundary.is_between_packets() => {
            Failure::CutByProxy(interrupted)
        }
        other => other,
    }
}
