//! LOAD DATA LOCAL on one shard: the client's file streams to the server as it comes. Memory is one read; a server that is slow
//! slows the client down.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::alarm::Call;
use super::client::{Client, CommandError, Stream};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::passthrough::passthrough;
use crate::backend::Connection;
use crate::wire::{Boundary, Outcome, encode_packet};

/// How long a client may take to send the rest of a file that nobody wants any more.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// As `passthrough`, for a statement that may load a file of the client. On a failure drop the connection's lease.
pub(crate) async fn pass_load<S: Stream>(
    connection: &mut Connection,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Outcome, Failure> {
    let boundary = Boundary::load(client.deprecate_eof());
    passthrough(connection, client, interrupt, boundary).await
}

/// Sends the client's file to the server; `number` is that of the server's next packet. After a failure, too, the client has said
/// all of it, unless it is gone: its next packet is a command.
pub(super) async fn pass_file<S: Stream>(
    connection: &mut Connection,
    mut number: u8,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    loop {
        let part = next_part(client, interrupt).await?;
        let mut packet = Vec::new();
        encode_packet(part.as_deref().unwrap_or_default(), &mut number, &mut packet);
        let sent = tokio::select! {
            biased;
            sent = connection.send(&packet) => sent.map_err(Failure::from),
            interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
        };
        match (sent, part) {
            (Ok(()), Some(_)) => {}
            (Ok(()), None) => return Ok(()),
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(_)) => return Err(after_the_rest(failure, client, interrupt).await),
        }
    }
}

/// The next bytes of the file; `None` at its end.
pub(super) async fn next_part<S: Stream>(
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<Option<Bytes>, Failure> {
    let interrupted = tokio::select! {
        biased;
        part = client.file_part() => return part.map_err(gone),
        interrupted = interrupt.wait() => interrupted,
    };
    Err(after_the_rest(Failure::Interrupted(interrupted), client, interrupt).await)
}

/// Reads the rest of the file, so that the client can be told of `failure`.
pub(super) async fn after_the_rest<S: Stream>(
    failure: Failure,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Failure {
    let rest = async {
        while client.file_part().await?.is_some() {}
        Ok(())
    };
    tokio::select! {
        biased;
        read = tokio::time::timeout(DRAIN_MAX, rest) => match read {
            Ok(Ok(())) => failure,
            Ok(Err(error)) => gone(error),
            Err(_) => Failure::ClientGone(io::ErrorKind::TimedOut.into()),
        },
        _ = interrupt.alarm.wait(&[Call::EndSession]) => Failure::ClientGone(io::ErrorKind::TimedOut.into()),
    }
}

/// A client whose packets cannot be followed any more is as good as gone.
fn gone(error: CommandError) -> Failure {
    match error {
        CommandError::Gone(error) => Failure::ClientGone(error),
        CommandError::Packet(error) => Failure::ClientGone(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}
