//! LOAD DATA LOCAL on several shards: a copy of the file for each, or each line for the shard of its key. All or none: BEGIN, the
//! statement, the file, and COMMIT once every server has loaded its part. Memory is a bounded batch for each shard.

use super::client::{Client, Stream};
use super::everywhere::{Ending, Participant, Tally, combine, commit, roll_back};
use super::exchange::{Answer, answer, unexpected};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::load::{after_the_rest, next_part};
use crate::backend::{BackendError, Connection};
use crate::router::LineSplitter;
use crate::wire::{FILE_REQUEST, OkPacket, encode_packet};

/// A shard's lines are sent when so many bytes have gathered.
const BATCH_BYTES: usize = 64 * 1024;

/// Who gets what of the file.
#[derive(Debug)]
pub(crate) enum Share<'a> {
    /// Every participant all of it.
    Copies,
    /// As the splitter says, in the order of the participants.
    Lines(Box<LineSplitter<'a>>),
}

/// Runs the load on all participants, or on none. On a failure other than a server's own error the connections must be closed,
/// which rolls back.
pub(crate) async fn load_everywhere<S: Stream>(
    participants: &mut [Participant<'_>],
    share: &mut Share<'_>,
    ending: &Ending<'_>,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<OkPacket, Failure> {
    let request = tokio::select! {
        biased;
        request = begin(participants, ending) => request?,
        interrupted = interrupt.wait() => return Err(Failure::Interrupted(interrupted)),
    };
    client.say(&request).await.map_err(Failure::ClientGone)?;
    let mut numbers = vec![2; participants.len()];
    loop {
        let part = next_part(client, interrupt).await?;
        let sent = tokio::select! {
            biased;
            sent = send(participants, &mut numbers, share, part.as_deref()) => sent,
            interrupted = interrupt.wait() => Err(Failure::Interrupted(interrupted)),
        };
        match (sent, part) {
            (Ok(()), Some(_)) => {}
            (Ok(()), None) => break,
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(_)) => return Err(after_the_rest(failure, client, interrupt).await),
        }
    }
    let answers = tokio::select! {
        biased;
        answers = answers(participants, ending) => answers?,
        interrupted = interrupt.wait() => return Err(Failure::Interrupted(interrupted)),
    };
    commit(participants, ending, interrupt).await?;
    let tally = match share {
        Share::Copies => Tally::First,
        Share::Lines(_) => Tally::Sum,
    };
    Ok(combine(&answers, tally))
}

/// BEGIN and the statement on every shard; gives the request for the file. When one refuses the client is not asked.
async fn begin(participants: &mut [Participant<'_>], ending: &Ending<'_>) -> Result<Vec<u8>, Failure> {
    ending.start(participants).await?;
    for (index, participant) in participants.iter_mut().enumerate() {
        let mut packets = ending.begin(index).unwrap_or_default();
        packets.extend_from_slice(participant.command);
        participant.connection.send(&packets).await?;
    }
    let mut request = Vec::new();
    let mut refusal = None;
    let mut waiting = Vec::with_capacity(participants.len());
    for (index, participant) in participants.iter_mut().enumerate() {
        if ending.begin(index).is_some() {
            answer(participant.connection).await?;
        }
        let first = participant.connection.packet().await?;
        waiting.push(first.first() == Some(&FILE_REQUEST));
        match first.first() {
            Some(&FILE_REQUEST) => request = first.to_vec(),
            Some(0xFF) => {
                let packet =
                    crate::wire::ErrPacket::decode(&first).map_err(|_| broken(participant.connection))?;
                refusal.get_or_insert(Failure::Server { shard: participant.shard.clone(), packet });
            }
            _ => return Err(broken(participant.connection)),
        }
    }
    let Some(refusal) = refusal else { return Ok(request) };
    for (participant, waiting) in participants.iter_mut().zip(waiting) {
        if waiting {
            let mut nothing = Vec::new();
            encode_packet(b"", &mut 2, &mut nothing);
            participant.connection.send(&nothing).await?;
            answer(participant.connection).await?;
        }
    }
    roll_back(participants, ending).await?;
    Err(refusal)
}

fn broken(connection: &Connection) -> Failure {
    Failure::Backend(unexpected(connection, "no request for the file that the statement loads"))
}

/// One part of the file, or its end, to whom it belongs.
async fn send(
    participants: &mut [Participant<'_>],
    numbers: &mut [u8],
    share: &mut Share<'_>,
    part: Option<&[u8]>,
) -> Result<(), Failure> {
    if let Share::Lines(splitter) = share {
        match part {
            Some(bytes) => splitter.push(bytes)?,
            None => splitter.finish()?,
        }
    }
    for (index, participant) in participants.iter_mut().enumerate() {
        let mut packets = Vec::new();
        match (&mut *share, part) {
            (Share::Copies, Some(bytes)) => encode_packet(bytes, &mut numbers[index], &mut packets),
            (Share::Copies, None) => {}
            (Share::Lines(splitter), _) => {
                let lines = &mut splitter.shares()[index];
                if lines.len() >= BATCH_BYTES || (part.is_none() && !lines.is_empty()) {
                    encode_packet(lines, &mut numbers[index], &mut packets);
                    lines.clear();
                    lines.shrink_to(2 * BATCH_BYTES);
                }
            }
        }
        if part.is_none() {
            encode_packet(b"", &mut numbers[index], &mut packets);
        }
        if !packets.is_empty() {
            participant.connection.send(&packets).await?;
        }
    }
    Ok(())
}

/// What every server says of its part; ROLLBACK on all when one refuses.
async fn answers(
    participants: &mut [Participant<'_>],
    ending: &Ending<'_>,
) -> Result<Vec<OkPacket>, Failure> {
    let mut answers = Vec::with_capacity(participants.len());
    let mut refusal = None;
    for participant in participants.iter_mut() {
        match answer(participant.connection).await? {
            Answer::Ok(ok) => answers.push(ok),
            Answer::Error(packet) => {
                refusal.get_or_insert(Failure::Server { shard: participant.shard.clone(), packet });
            }
            Answer::Rows(_) => {
                let server = participant.connection.server().clone();
                let what = "rows in answer to a load".to_owned();
                return Err(Failure::Backend(BackendError::Protocol { server, what }));
            }
        }
    }
    let Some(refusal) = refusal else { return Ok(answers) };
    roll_back(participants, ending).await?;
    Err(refusal)
}
