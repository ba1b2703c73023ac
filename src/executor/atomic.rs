//! Commits on several shards or on none: carries out what the coordinator (`transaction::two_phase`) says, on the connections that the
//! transaction's parts are open on.
//!
//! Requests go to all parts before any answer is read. Nothing interrupts a commit but its own bounds: an answer that does not come
//! is taken for a lost connection, and what the lost COMMIT of the lead has done is read from the table of decisions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::exchange::{Answer, ask, last_answer, prepare, send_all};
use super::failure::Failure;
use crate::backend::{BackendError, Connection, Flavor, PoolSet, SessionState};
use crate::config::Credential;
use crate::error::ClientError;
use crate::topology::{ShardName, TopologyHandle};
use crate::transaction::{Action, Coordinator, Decision, Event, Failpoint, GlobalId, Verdict, Xid, recovery};
use crate::wire::ErrPacket;

/// How long the answers of one step are waited for: a disk may take its time, a client should not wait for ever.
const STEP_WAIT_MAX: Duration = Duration::from_secs(20);
/// How long the outcome of a lost COMMIT is asked for.
const ASK_WAIT_MAX: Duration = Duration::from_secs(20);
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// Nobody knows the branch: it has ended as it was decided, by whoever found it.
const ER_XAER_NOTA: u16 = 1397;
const ER_DUP_ENTRY: u16 = 1062;

/// One shard's part of the transaction, on the connection that it is open on.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) shard: ShardName,
    pub(crate) connection: &'a mut Connection,
    /// The lead, the first of all, has none.
    pub(crate) xid: Option<Xid>,
    /// Its connection can be used no more.
    pub(crate) lost: bool,
}

/// How a commit ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    /// Why not, in the client's words.
    pub(crate) cause: Option<Failure>,
}

/// Where the outcome of a lost COMMIT is asked for: the lead's shard, wherever its primary is by then.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    pub(crate) topology: &'a TopologyHandle,
    pub(crate) pools: &'a PoolSet,
    pub(crate) credential: &'a Arc<Credential>,
    pub(crate) flavor: Flavor,
    /// Of tests.
    pub(crate) failpoint: &'a Failpoint,
}

/// Commits `members`, the first of which leads. `chain` has the lead begin its next transaction at once.
pub(crate) async fn commit_atomically(
    members: &mut [Member<'_>],
    id: GlobalId,
    chain: bool,
    resolver: &Resolver<'_>,
) -> Ended {
    let (mut coordinator, mut actions) = Coordinator::start(members.len() - 1);
    let mut commit = Commit { members, id, chain, resolver, began: Instant::now(), cause: None };
    loop {
        let mut events = commit.step(&actions).await;
        actions = Vec::new();
        // Each event may say what to do next; the answers to one step are all in before the next begins.
        for event in events.drain(..) {
            actions.extend(coordinator.on(event));
        }
        if let Some(verdict) = coordinator.verdict() {
            let cause = if verdict == Verdict::Committed { None } else { Some(commit.told(verdict)) };
            return Ended { verdict, cause };
        }
    }
}

struct Commit<'c, 'm> {
    members: &'c mut [Member<'m>],
    id: GlobalId,
    chain: bool,
    resolver: &'c Resolver<'c>,
    began: Instant,
    /// The first thing that went wrong.
    cause: Option<Failure>,
}

impl Commit<'_, '_> {
    /// Sends what all actions need, then reads all answers.
    async fn step(&mut self, actions: &[Action]) -> Vec<Event> {
        if actions == [Action::Ask] {
            return vec![self.ask().await];
        }
        let mut events = Vec::with_capacity(actions.len());
        let mut waiting = Vec::with_capacity(actions.len());
        for &action in actions {
            let Some(statements) = self.statements(action) else {
                events.push(self.lost(action, None));
                continue;
            };
            let member = &mut self.members[place(action)];
            match send_all(member.connection, &statements).await {
                Ok(()) => waiting.push((action, statements.len())),
                Err(error) => events.push(self.lost(action, Some(error))),
            }
        }
        self.resolver.failpoint.reach(name_of(actions, true));
        let until = Instant::now() + STEP_WAIT_MAX;
        for (action, count) in waiting {
            let member = &mut self.members[place(action)];
            let answered = tokio::time::timeout_at(until, last_answer(member.connection, count)).await;
            events.push(match answered {
                Ok(Ok(Answer::Error(packet))) => self.refused(action, packet),
                Ok(Ok(Answer::Ok(_) | Answer::Rows(_))) => done(action),
                Ok(Err(error)) => self.lost(action, Some(error)),
                Err(_) => self.lost(action, None),
            });
        }
        self.resolver.failpoint.reach(name_of(actions, false));
        events
    }

    /// `None` for a step that must not be made any more.
    fn statements(&self, action: Action) -> Option<Vec<String>> {
        let member = &self.members[place(action)];
        let xid = || member.xid.as_ref().map(Xid::to_string).unwrap_or_default();
        Some(match action {
            Action::Prepare(_) => vec![format!("XA END {}", xid()), format!("XA PREPARE {}", xid())],
            Action::Note => vec![recovery::note(self.id, now_ms())],
            // What fences it off is kept for a while only.
            Action::Decide if self.began.elapsed() > recovery::COMMIT_TIME_MAX => return None,
            Action::Decide if self.chain => vec!["COMMIT AND CHAIN".to_owned()],
            // Whatever completion_type says.
            Action::Decide => vec!["COMMIT AND NO CHAIN NO RELEASE".to_owned()],
            Action::RollBackLead => vec!["ROLLBACK AND NO CHAIN NO RELEASE".to_owned()],
            Action::CommitBranch(_) => vec![format!("XA COMMIT {}", xid())],
            Action::RollBackBranch(_) => vec![format!("XA ROLLBACK {}", xid())],
            Action::Ask => return None,
        })
    }

    fn refused(&mut self, action: Action, packet: ErrPacket) -> Event {
        let member = &mut self.members[place(action)];
        match action {
            Action::Prepare(branch) => {
                self.because(action, packet);
                Event::NotPrepared(branch)
            }
            Action::Note => {
                self.because(action, packet);
                Event::NotNoted
            }
            // It may have been carried out all the same: only the row tells.
            Action::Decide => {
                member.lost = true;
                self.because(action, packet);
                Event::NotDecided
            }
            Action::RollBackLead => {
                member.lost = true;
                Event::LeadEnded
            }
            Action::CommitBranch(branch) | Action::RollBackBranch(branch) => {
                if packet.code != ER_XAER_NOTA {
                    member.lost = true;
                    tracing::warn!(shard = %member.shard, transaction = %self.id, code = packet.code,
                        "a branch did not end as it was told; recovery will");
                }
                Event::Ended(branch)
            }
            Action::Ask => Event::NotTold,
        }
    }

    fn because(&mut self, action: Action, packet: ErrPacket) {
        let shard = self.members[place(action)].shard.clone();
        self.cause.get_or_insert_with(|| match (action, packet.code) {
            (Action::Note, ER_DUP_ENTRY) => {
                let detail = format!("transaction {} took so long that it was taken for abandoned", self.id);
                Failure::Refused(ClientError::new("SW1304", detail))
            }
            (Action::Note, code) => {
                let message = String::from_utf8_lossy(&packet.message);
                let detail = format!("shard {shard}: {message} ({code}); nothing was committed");
                Failure::Refused(ClientError::new("SW1310", detail))
            }
            _ => Failure::Server { shard, packet },
        });
    }

    /// A connection failed, or did not answer in time.
    fn lost(&mut self, action: Action, error: Option<BackendError>) -> Event {
        let member = &mut self.members[place(action)];
        member.lost = true;
        let error = error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
        let detail = format!("shard {}: {error}", member.shard);
        self.cause.get_or_insert_with(|| Failure::Refused(ClientError::new("SW1304", detail)));
        match action {
            Action::Prepare(branch) => Event::BranchLost(branch),
            Action::Note => Event::LeadLost,
            Action::Decide => Event::NotDecided,
            Action::RollBackLead => Event::LeadEnded,
            Action::CommitBranch(branch) | Action::RollBackBranch(branch) => Event::Ended(branch),
            Action::Ask => Event::NotTold,
        }
    }

    /// The lead's shard, once more, on another connection.
    async fn ask(&mut self) -> Event {
        let shard = self.members[0].shard.clone();
        tracing::warn!(%shard, transaction = %self.id, "COMMIT was not answered; asking how it ended");
        let until = Instant::now() + ASK_WAIT_MAX;
        loop {
            let told = tokio::time::timeout_at(until, self.resolver.told(&shard, self.id)).await;
            match told {
                Ok(Ok(decision)) => return Event::Told(decision),
                Ok(Err(failure)) => tracing::debug!(%failure, transaction = %self.id, "asked in vain"),
                Err(_) => return Event::NotTold,
            }
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }

    fn told(&mut self, verdict: Verdict) -> Failure {
        let cause = self.cause.take();
        if verdict == Verdict::Unknown {
            let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
            return Failure::Refused(ClientError::new("SW1311", format!("transaction {}: {cause}", self.id)));
        }
        cause.unwrap_or_else(|| Failure::Refused(ClientError::new("SW1304", "nothing was committed")))
    }
}

impl Resolver<'_> {
    /// How the transaction was decided; it is not any more, if it had not been.
    async fn told(&self, shard: &ShardName, id: GlobalId) -> Result<Decision, Failure> {
        let topology = self.topology.load();
        let gone = || ClientError::new("SW1304", format!("the map has no shard {shard} any more"));
        let shard = topology.shard_by_name(&shard.0).ok_or_else(gone)?;
        if let Some(reason) = shard.why_not_written() {
            // A server that is the primary no more does not know what the one after it has decided.
            let (shard, reason) = (shard.name.clone(), reason.to_owned());
            return Err(Failure::Backend(BackendError::NoPrimary { shard, reason }));
        }
        let (server, shard) = (&shard.primary, &shard.name);
        let wanted = SessionState::default();
        let mut lease = self.pools.lease(server, self.credential, self.flavor, &wanted).await?;
        let connection = lease.connection();
        prepare(connection, &wanted).await?;
        let fence = recovery::fence(id, now_ms());
        if let Answer::Error(packet) = ask(connection, fence.as_bytes()).await? {
            return Err(Failure::Server { shard: shard.clone(), packet });
        }
        let answer = ask(connection, recovery::question(id).as_bytes()).await?;
        let decided = match &answer {
            Answer::Rows(rows) => rows.first().and_then(|row| row.first()).and_then(Option::as_deref),
            Answer::Ok(_) | Answer::Error(_) => None,
        };
        let decided = decided.and_then(recovery::decision);
        lease.give_back();
        decided.ok_or_else(|| Failure::Refused(ClientError::new("SW1310", "the decision cannot be read")))
    }
}

/// The member that an action is about.
fn place(action: Action) -> usize {
    match action {
        Action::Note | Action::Decide | Action::RollBackLead | Action::Ask => 0,
        Action::Prepare(branch) | Action::CommitBranch(branch) | Action::RollBackBranch(branch) => branch + 1,
    }
}

fn done(action: Action) -> Event {
    match action {
        Action::Prepare(branch) => Event::Prepared(branch),
        Action::Note => Event::Noted,
        Action::Decide => Event::Decided,
        Action::RollBackLead => Event::LeadEnded,
        Action::CommitBranch(branch) | Action::RollBackBranch(branch) => Event::Ended(branch),
        Action::Ask => Event::NotTold,
    }
}

/// The name of a step in failpoints.
fn name_of(actions: &[Action], sent: bool) -> &'static str {
    match (actions.first(), sent) {
        (Some(Action::Prepare(_) | Action::Note), true) => "prepare_sent",
        (Some(Action::Prepare(_) | Action::Note), false) => "prepared",
        (Some(Action::Decide), true) => "commit_sent",
        (Some(Action::Decide), false) => "committed",
        (Some(Action::CommitBranch(_)), true) => "branches_sent",
        (Some(Action::CommitBranch(_)), false) => "branches_committed",
        (_, true) => "undo_sent",
        (_, false) => "undone",
    }
}

/// Milliseconds since the epoch, by this machine's clock.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
