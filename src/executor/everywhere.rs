//! Statements without rows on several shards: writes that are split by key, writes of reference tables, definitions.
//!
//! A write of its own is a transaction on all of them, committed atomically (`atomic`) once every shard has done its part, or, where
//! the session wants it so, by COMMIT on each: then a server or proxy that dies in between leaves some shards without the write, and
//! the client is told which (SW1305). Within a transaction of the client a savepoint in front makes the statement all or nothing.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::atomic::{Member, Resolver, commit_atomically};
use super::exchange::{Answer, answer, ask, ask_each};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::moment;
use crate::backend::{BackendError, Connection};
use crate::error::ClientError;
use crate::topology::ShardName;
use crate::transaction::{GlobalId, Xid};
use crate::wire::{ErrPacket, OkPacket, StatusFlags, query_packet};

/// How long the answers to COMMIT are waited for: a disk may take its time, a client should not wait for ever.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// In front of a statement on several shards; the next one's takes its place.
const STATEMENT_SAVEPOINT: &str = "shardway_statement";

/// One shard's part in a statement.
#[derive(Debug)]
pub(crate) struct Participant<'a> {
    pub(crate) shard: ShardName,
    pub(crate) connection: &'a mut Connection,
    /// Whole packets: a text, or the execution of a statement that is prepared on the connection.
    pub(crate) command: &'a [u8],
    pub(crate) progress: Progress,
    /// What SHOW WARNINGS showed, where it would not any more.
    pub(crate) warnings: Vec<Vec<Option<Bytes>>>,
    /// Its connection can be used no more, however the whole ended.
    pub(crate) lost: bool,
}

/// How far the answer of one shard was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Progress {
    /// Nothing, or something in the middle.
    #[default]
    Begun,
    /// Its rows are what comes next.
    Rows,
    /// To its end, with these status flags.
    Answered(StatusFlags),
    /// It was an error.
    Refused,
}

impl<'a> Participant<'a> {
    pub(crate) fn new(
        shard: ShardName,
        connection: &'a mut Connection,
        command: &'a [u8],
    ) -> Participant<'a> {
        Participant {
            shard,
            connection,
            command,
            progress: Progress::Begun,
            warnings: Vec::new(),
            lost: false,
        }
    }
}

/// How the shards' answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Each changed rows of its own: counts are added.
    Sum,
    /// Each inserted rows of its own: as `Sum`, and an INSERT of one row counts in the message as one of several.
    Inserts,
    /// Each wrote the same into its copy: the first shard's counts are the answer.
    First,
}

/// How a write over several shards that is a transaction of its own ends.
#[derive(Debug)]
pub(crate) enum Ending<'a> {
    /// On all or on none: the first participant leads, the others run these branches in their order.
    Atomic { id: GlobalId, branches: Vec<Xid>, resolver: Resolver<'a> },
    /// COMMIT everywhere at once. What is lost there leaves some shards without the write (SW1305).
    BestEffort,
}

impl Ending<'_> {
    fn xid(&self, participant: usize) -> Option<&Xid> {
        match self {
            Ending::Atomic { branches, .. } => branches.get(participant.checked_sub(1)?),
            Ending::BestEffort => None,
        }
    }

    /// What a participant is sent in front of its statement; a branch has begun by then.
    pub(super) fn begin(&self, participant: usize) -> Option<Vec<u8>> {
        self.xid(participant).is_none().then(|| query_packet(b"BEGIN"))
    }

    /// Begins the branches, and waits: a server that knows no XA (Galera) would run the statement outside of any transaction.
    pub(super) async fn start(&self, participants: &mut [Participant<'_>]) -> Result<(), Failure> {
        let asked = participants.iter_mut().enumerate().filter_map(|(index, participant)| {
            let xid = self.xid(index)?;
            Some((&mut *participant.connection, vec![format!("XA START {xid}")]))
        });
        let answers = ask_each(asked.collect()).await;
        let mut refused = None;
        for (participant, answered) in participants.iter_mut().skip(1).zip(answers) {
            if let Answer::Error(packet) = answered? {
                refused.get_or_insert(Failure::Server { shard: participant.shard.clone(), packet });
            }
        }
        let Some(refused) = refused else { return Ok(()) };
        // Whichever has begun ends with its connection.
        participants.iter_mut().skip(1).for_each(|participant| participant.lost = true);
        Err(refused)
    }
}

/// Runs a write on all participants, or on none. `moment`, since the epoch, is what the clock says to it on every server: defaults
/// and NOW() then are the same in all rows and all copies. `None` leaves the session's own.
///
/// An interruption is heeded until the commit begins; the connections must then be closed, which rolls back.
pub(crate) async fn write_everywhere(
    participants: &mut [Participant<'_>],
    tally: Tally,
    moment: Option<Duration>,
    ending: &Ending<'_>,
    interrupt: &Interrupt<'_>,
) -> Result<OkPacket, Failure> {
    let written = tokio::select! {
        biased;
        written = write(participants, moment, ending) => written,
        interrupted = interrupt.wait() => return Err(Failure::Interrupted(interrupted)),
    };
    if written.is_ok() {
        commit(participants, ending, interrupt).await?;
    }
    if moment.is_some() && matches!(written, Ok(_) | Err(Failure::Server { .. })) {
        moment::leave(participants).await;
    }
    let answers = written?;
    Ok(combine(&answers, tally))
}

/// Runs a write on all participants within the transaction that is open on them. When one refuses, none keeps its part, and the
/// transaction goes on as after an error on one server. The participants' progress says what became of each.
pub(crate) async fn write_within(
    participants: &mut [Participant<'_>],
    tally: Tally,
    moment: Option<Duration>,
    interrupt: &Interrupt<'_>,
) -> Result<OkPacket, Failure> {
    let written = tokio::select! {
        biased;
        written = write_behind_savepoint(participants, moment) => written,
        interrupted = interrupt.wait() => return Err(Failure::Interrupted(interrupted)),
    };
    if moment.is_some() && matches!(written, Ok(_) | Err(Failure::Server { .. })) {
        moment::leave(participants).await;
    }
    Ok(combine(&written?, tally))
}

async fn write_behind_savepoint(
    participants: &mut [Participant<'_>],
    moment: Option<Duration>,
) -> Result<Vec<OkPacket>, Failure> {
    let savepoint = query_packet(format!("SAVEPOINT {STATEMENT_SAVEPOINT}").as_bytes());
    let (answers, refusal) = send_writes(participants, moment, |_| Some(savepoint.clone())).await?;
    let Some(refusal) = refusal else { return Ok(answers) };
    let undo = format!("ROLLBACK TO SAVEPOINT {STATEMENT_SAVEPOINT}");
    for participant in participants.iter_mut() {
        // One that has lost its whole transaction (a deadlock) does not know the savepoint; the session will ask it.
        if let Answer::Error(_) = ask(participant.connection, undo.as_bytes()).await? {
            participant.progress = Progress::Refused;
        }
    }
    Err(refusal)
}

/// BEGIN and the statement on every shard; ROLLBACK on all when one refuses.
async fn write(
    participants: &mut [Participant<'_>],
    moment: Option<Duration>,
    ending: &Ending<'_>,
) -> Result<Vec<OkPacket>, Failure> {
    ending.start(participants).await?;
    let (answers, refusal) =
        send_writes(participants, moment, |participant| ending.begin(participant)).await?;
    let Some(refusal) = refusal else { return Ok(answers) };
    roll_back(participants, ending).await?;
    Err(refusal)
}

/// The statement on every shard, behind `opening`; the first refusal is a value.
async fn send_writes(
    participants: &mut [Participant<'_>],
    moment: Option<Duration>,
    opening: impl Fn(usize) -> Option<Vec<u8>>,
) -> Result<(Vec<OkPacket>, Option<Failure>), Failure> {
    for (index, participant) in participants.iter_mut().enumerate() {
        if let Some(moment) = moment {
            moment::send(participant, moment).await?;
        }
        let mut packets = opening(index).unwrap_or_default();
        packets.extend_from_slice(participant.command);
        participant.connection.send(&packets).await?;
    }
    let mut answers = Vec::with_capacity(participants.len());
    let mut refusal = None;
    for (index, participant) in participants.iter_mut().enumerate() {
        if moment.is_some()
            && let Some(refused) = moment::answered(participant).await?
        {
            refusal.get_or_insert(refused);
        }
        let connection = &mut *participant.connection;
        if opening(index).is_some()
            && let Answer::Error(packet) = answer(connection).await?
        {
            refusal.get_or_insert(Failure::Server { shard: participant.shard.clone(), packet });
        }
        match answer(connection).await? {
            Answer::Ok(ok) => {
                connection.noticed |= ok.state_changed;
                // COMMIT would wipe them out.
                if ok.warnings > 0
                    && let Answer::Rows(rows) = ask(connection, b"SHOW WARNINGS").await?
                {
                    participant.warnings = rows;
                }
                participant.progress = Progress::Answered(ok.status);
                answers.push(ok);
            }
            Answer::Error(packet) => {
                participant.progress = Progress::Refused;
                refusal.get_or_insert(Failure::Server { shard: participant.shard.clone(), packet });
            }
            Answer::Rows(_) => {
                let error = BackendError::Protocol {
                    server: connection.server().clone(),
                    what: "rows in answer to a write".to_owned(),
                };
                return Err(Failure::Backend(error));
            }
        }
    }
    Ok((answers, refusal))
}

/// Takes back what was begun by `ending`. A connection on which that fails must be closed, as all are on an error.
pub(super) async fn roll_back(
    participants: &mut [Participant<'_>],
    ending: &Ending<'_>,
) -> Result<(), Failure> {
    let asked = participants.iter_mut().enumerate().map(|(index, participant)| {
        let statements = match ending.xid(index) {
            Some(xid) => vec![format!("XA END {xid}"), format!("XA ROLLBACK {xid}")],
            None => vec!["ROLLBACK".to_owned()],
        };
        (&mut *participant.connection, statements)
    });
    for (index, answered) in ask_each(asked.collect()).await.into_iter().enumerate() {
        participants[index].lost |= matches!(answered?, Answer::Error(_));
    }
    Ok(())
}

/// Commits what was begun by `ending`. On an error that is not a server's own the connections must be closed.
pub(super) async fn commit(
    participants: &mut [Participant<'_>],
    ending: &Ending<'_>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let Ending::Atomic { id, branches, resolver } = ending else {
        let committing: Vec<Committing<'_>> = participants
            .iter_mut()
            .map(|participant| (&participant.shard, &mut *participant.connection))
            .collect();
        return commit_each(committing, interrupt).await;
    };
    let xids = [None].into_iter().chain(branches.iter().cloned().map(Some));
    let mut members: Vec<Member<'_>> = participants
        .iter_mut()
        .zip(xids)
        .map(|(participant, xid)| Member {
            shard: participant.shard.clone(),
            connection: &mut *participant.connection,
            xid,
            lost: false,
        })
        .collect();
    let ended = commit_atomically(&mut members, *id, false, resolver).await;
    let lost: Vec<bool> = members.iter().map(|member| member.lost).collect();
    drop(members);
    for (participant, lost) in participants.iter_mut().zip(lost) {
        participant.lost |= lost;
    }
    match ended.cause {
        None => Ok(()),
        Some(cause) => Err(cause),
    }
}

/// A shard and the connection that its part is open on.
type Committing<'a> = (&'a ShardName, &'a mut Connection);

/// COMMIT goes to all shards before any answer is read. From there on an error means that the outcome differs by shard.
pub(crate) async fn commit_each(
    mut committing: Vec<Committing<'_>>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    // Whatever completion_type says.
    let packet = query_packet(b"COMMIT AND NO CHAIN NO RELEASE");
    let mut failed = Vec::new();
    let mut sent = vec![true; committing.len()];
    for (index, (shard, connection)) in committing.iter_mut().enumerate() {
        if let Err(error) = connection.send(&packet).await {
            sent[index] = false;
            failed.push(format!("{shard}: {error}"));
        }
    }
    let given_up = Interrupt {
        alarm: interrupt.alarm,
        deadline: Some((Instant::now() + COMMIT_WAIT_MAX, COMMIT_WAIT_MAX)),
    };
    for (index, (shard, connection)) in committing.iter_mut().enumerate() {
        if !sent[index] {
            continue;
        }
        let answered = tokio::select! {
            biased;
            answered = answer(connection) => answered,
            interrupted = given_up.wait() => {
                failed.push(format!("{shard}: no answer to COMMIT yet, {interrupted}"));
                continue;
            }
        };
        match answered {
            Ok(Answer::Ok(_) | Answer::Rows(_)) => {}
            Ok(Answer::Error(packet)) => failed.push(format!("{shard}: {}", text_of(&packet))),
            Err(error) => failed.push(format!("{shard}: {error}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "the write was committed on {} of {} shards; not known to be committed on {}",
        committing.len() - failed.len(),
        committing.len(),
        failed.join("; ")
    );
    Err(Failure::Refused(ClientError::new("SW1305", detail)))
}

/// Runs a definition on all participants. Definitions cannot be rolled back: what happened is reported by shard.
/// The moment is that of the rows that a new column's default fills.
pub(crate) async fn define_everywhere(
    participants: &mut [Participant<'_>],
    moment: Option<Duration>,
) -> Result<OkPacket, Failure> {
    let Some(moment) = moment else { return define(participants).await };
    for participant in participants.iter_mut() {
        moment::send(participant, moment).await?;
    }
    let mut refusal = None;
    for participant in participants.iter_mut() {
        refusal = refusal.or(moment::answered(participant).await?);
    }
    let defined = match refusal {
        None => define(participants).await,
        Some(refusal) => Err(refusal),
    };
    if matches!(defined, Ok(_) | Err(Failure::Server { .. } | Failure::Refused(_))) {
        moment::leave(participants).await;
    }
    defined
}

async fn define(participants: &mut [Participant<'_>]) -> Result<OkPacket, Failure> {
    for participant in participants.iter_mut() {
        participant.connection.send(participant.command).await?;
    }
    let mut answers = Vec::new();
    let mut refusals: Vec<(ShardName, ErrPacket)> = Vec::new();
    for participant in participants.iter_mut() {
        match answer(participant.connection).await? {
            Answer::Ok(ok) => answers.push(ok),
            Answer::Error(packet) => refusals.push((participant.shard.clone(), packet)),
            Answer::Rows(_) => answers.push(OkPacket::default()),
        }
    }
    // Every shard says the same; what follows on the connection would wipe it out.
    if let (Some(first), Some(ok)) = (participants.first_mut(), answers.first())
        && refusals.is_empty()
        && ok.warnings > 0
        && let Answer::Rows(rows) = ask(first.connection, b"SHOW WARNINGS").await?
    {
        first.warnings = rows;
    }
    let Some((shard, first)) = refusals.first() else { return Ok(combine(&answers, Tally::First)) };
    if refusals.len() == participants.len() && refusals.iter().all(|(_, packet)| packet.code == first.code) {
        return Err(Failure::Server { shard: shard.clone(), packet: first.clone() });
    }
    let by_shard: Vec<String> = participants
        .iter()
        .map(|participant| match refusals.iter().find(|(shard, _)| *shard == participant.shard) {
            Some((shard, packet)) => format!("{shard}: {}", text_of(packet)),
            None => format!("{}: done", participant.shard),
        })
        .collect();
    Err(Failure::Refused(ClientError::new("SW1307", by_shard.join("; "))))
}

fn text_of(packet: &ErrPacket) -> String {
    format!("{} ({})", String::from_utf8_lossy(&packet.message), packet.code)
}

pub(super) fn combine(answers: &[OkPacket], tally: Tally) -> OkPacket {
    let Some(first) = answers.first() else { return OkPacket::default() };
    let mut whole = first.clone();
    if tally == Tally::First {
        return whole;
    }
    for answer in &answers[1..] {
        whole.affected_rows = whole.affected_rows.saturating_add(answer.affected_rows);
        whole.warnings = whole.warnings.saturating_add(answer.warnings);
        whole.status |= answer.status;
        whole.last_insert_id =
            if whole.last_insert_id == 0 { answer.last_insert_id } else { whole.last_insert_id };
    }
    let message = |answer: &OkPacket| match tally {
        Tally::Inserts => message_of_insert(answer),
        Tally::Sum | Tally::First => answer.message.clone(),
    };
    whole.message =
        answers.iter().map(message).reduce(|sum, next| sum_numbers(&sum, &next)).unwrap_or_default();
    whole
}

/// An INSERT of one row has no message; beside those of others it counts as the record that it was: a duplicate when it was
/// replaced, updated or, with a warning, ignored.
fn message_of_insert(answer: &OkPacket) -> Vec<u8> {
    if !answer.message.is_empty() {
        return answer.message.clone();
    }
    let duplicates = u8::from(answer.affected_rows > 1 || (answer.affected_rows == 0 && answer.warnings > 0));
    format!("Records: 1  Duplicates: {duplicates}  Warnings: {}", answer.warnings).into_bytes()
}

/// `Records: 2  Duplicates: 0` and `Records: 1  Duplicates: 1` become `Records: 3  Duplicates: 1`; texts of different form
/// become nothing.
fn sum_numbers(left: &[u8], right: &[u8]) -> Vec<u8> {
    let (left, right) = (pieces(left), pieces(right));
    if left.len() != right.len() {
        return Vec::new();
    }
    let mut sum = Vec::new();
    for pair in left.iter().zip(&right) {
        match pair {
            (Piece::Number(a), Piece::Number(b)) => {
                sum.extend_from_slice(a.saturating_add(*b).to_string().as_bytes());
            }
            (Piece::Text(a), Piece::Text(b)) if a == b => sum.extend_from_slice(a),
            (Piece::Number(_) | Piece::Text(_), _) => return Vec::new(),
        }
    }
    sum
}

enum Piece<'a> {
    Number(u64),
    Text(&'a [u8]),
}

fn pieces(text: &[u8]) -> Vec<Piece<'_>> {
    text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .map(|chunk| match std::str::from_utf8(chunk).ok().and_then(|chunk| chunk.parse().ok()) {
            Some(number) => Piece::Number(number),
            None => Piece::Text(chunk),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_texts_are_added_number_by_number() {
        let sum = sum_numbers(
            b"Records: 2  Duplicates: 0  Warnings: 1",
            b"Records: 13  Duplicates: 1  Warnings: 0",
        );
        assert_eq!(sum, b"Records: 15  Duplicates: 1  Warnings: 1");
    }

    #[test]
    fn information_texts_of_different_form_are_dropped() {
        assert_eq!(sum_numbers(b"Rows matched: 1", b"Records: 1"), b"");
        assert_eq!(sum_numbers(b"Rows matched: 1", b""), b"");
    }
}
