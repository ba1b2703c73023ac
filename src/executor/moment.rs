//! One moment for a statement that runs on several servers: the clock says the same to it everywhere, so that NOW() and defaults
//! are equal in all rows and all copies. The servers' variable `timestamp` is set in front and left to the clock behind.

use std::time::Duration;

use super::everywhere::Participant;
use super::exchange::{Answer, answer};
use super::failure::Failure;
use crate::wire::query_packet;

const VARIABLE: &str = "timestamp";

/// Sends the SET without waiting for its answer.
///
/// The connection is marked first: one that is lost to the statement in between is reset before anybody else has it.
pub(super) async fn send(participant: &mut Participant<'_>, since_epoch: Duration) -> Result<(), Failure> {
    let value = format!("{}.{:06}", since_epoch.as_secs(), since_epoch.subsec_micros());
    participant.connection.state.set(VARIABLE, value.as_bytes());
    let statement = [b"SET @@session.timestamp = ", value.as_bytes()].concat();
    Ok(participant.connection.send(&query_packet(&statement)).await?)
}

/// Reads the answer to [`send`]; the refusal of a server is a value.
pub(super) async fn answered(participant: &mut Participant<'_>) -> Result<Option<Failure>, Failure> {
    match answer(participant.connection).await? {
        Answer::Error(packet) => Ok(Some(Failure::Server { shard: participant.shard.clone(), packet })),
        Answer::Ok(_) | Answer::Rows(_) => Ok(None),
    }
}

/// Gives the connections back to the clock. Where that fails the mark stays, and the connection is reset before its next use.
pub(super) async fn leave(participants: &mut [Participant<'_>]) {
    let packet = query_packet(b"SET @@session.timestamp = DEFAULT");
    let mut sent = Vec::with_capacity(participants.len());
    for participant in participants.iter_mut() {
        sent.push(participant.connection.send(&packet).await.is_ok());
    }
    for (participant, _) in participants.iter_mut().zip(sent).filter(|(_, sent)| *sent) {
        if let Ok(Answer::Ok(_)) = answer(participant.connection).await {
            participant.connection.state.unset(VARIABLE);
        }
    }
}
