//! One shard: the result's bytes go to the client as they came. Only packet headers are read, to find the end.

use std::io;

use bytes::Buf;

use super::alarm::Call;
use super::client::Client;
use super::failure::Failure;
use super::interrupt::Interrupt;
use crate::backend::{BackendError, Connection};
use crate::wire::{Boundary, Outcome};

/// Forwards the response to one command that was sent on `connection`; `boundary` knows the form of such responses. Bytes are forwarded as they arrive, so memory is one read
/// buffer, and a slow client slows the server down. On a failure the connection is in the middle of a response: drop its lease.
pub(crate) async fn passthrough<S: super::client::Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
    mut boundary: Boundary,
) -> Result<Outcome, Failure> {
    let mut more_needed = connection.received.is_empty();
    loop {
        if more_needed && let Err(failure) = wait(connection, client, interrupt).await {
            return Err(settle(failure, &boundary, client));
        }
        let progress = match boundary.advance(&connection.received) {
            Ok(progress) => progress,
            Err(error) => {
                let error =
                    BackendError::Protocol { server: connection.server().clone(), what: error.to_string() };
                return Err(settle(Failure::Backend(error), &boundary, client));
            }
        };
        tokio::select! {
            biased;
            written = client.forward(&connection.received[..progress.used]) => written.map_err(Failure::ClientGone)?,
            // A client that does not read must not outlive KILL and the end of draining.
            _ = interrupt.alarm.wait(&[Call::EndSession]) => return Err(Failure::ClientGone(io::ErrorKind::TimedOut.into())),
        }
        connection.received.advance(progress.used);
        if progress.ended {
            return Ok(boundary.outcome());
        }
        more_needed = true;
    }
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
