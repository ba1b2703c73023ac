//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT and SET TRANSACTION.
//!
//! A transaction begins where its first statement goes (see `transaction`), so most of these are answered without a server
//! until then, and forwarded to the transaction's connection afterwards.

use std::time::Duration;

use super::held::Held;
use super::lend::Joining;
use super::metrics::StatementResult;
use super::run::{End, Session};
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Stream, ask_each, ask_for};
use crate::sql::{AccessMode, TransactionControl, TransactionScope, TransactionSettings};
use crate::topology::{Role, ShardName};
use crate::transaction::{Manner, Transaction};
use crate::wire::{Outcome, StatusFlags};

/// How long the end of a transaction on shards that were only read is waited for; after that their connections are closed.
const OTHERS_WAIT: Duration = Duration::from_secs(10);

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ending {
    chain: bool,
    release: bool,
}

impl<S: Stream> Session<S> {
    pub(super) async fn control(&mut self, control: TransactionControl, text: &[u8]) -> Result<(), End> {
        match control {
            TransactionControl::Begin { consistent_snapshot, access } => {
                let read_only = access == Some(AccessMode::ReadOnly);
                self.begin(text, Manner { read_only, snapshot: consistent_snapshot }).await
            }
            TransactionControl::Commit { chain, release } => {
                let ending = self.ending(chain, release);
                if self.transaction.is_aborted() {
                    self.roll_back_everywhere().await;
                    return self.refuse(&aborted("nothing was committed")).await;
                }
                self.end(if ending.release { b"COMMIT" } else { text }, ending, true).await
            }
            TransactionControl::Rollback { chain, release } => {
                let ending = self.ending(chain, release);
                if self.transaction.is_aborted() {
                    self.roll_back_everywhere().await;
                }
                self.end(if ending.release { b"ROLLBACK" } else { text }, ending, false).await
            }
            TransactionControl::Savepoint { name } => {
                if self.transaction.shard().is_some() {
                    let answered = self.savepoint(text).await?;
                    if answered == StatementResult::Ok {
                        self.transaction.set_savepoint(&name, text);
                    }
                    return Ok(());
                }
                if !self.transaction.is_active() && !self.variables.autocommit() {
                    // Without autocommit a savepoint may come first: it needs the transaction that it stands in.
                    self.transaction = Transaction::begin(b"BEGIN", Manner::default());
                }
                self.transaction.set_savepoint(&name, text);
                self.reply_ok().await
            }
            TransactionControl::RollbackTo { name } => {
                if self.transaction.shard().is_some() {
                    let answered = self.savepoint(text).await?;
                    if answered == StatementResult::Ok {
                        // The server may know one of a procedure.
                        let _either = self.transaction.rollback_to(&name);
                    }
                    return Ok(());
                }
                let known = self.transaction.rollback_to(&name).map_err(|_| unknown_savepoint(&name));
                self.answer(known).await
            }
            TransactionControl::ReleaseSavepoint { name } => {
                if self.transaction.shard().is_some() {
                    let answered = self.savepoint(text).await?;
                    if answered == StatementResult::Ok {
                        let _either = self.transaction.release(&name);
                    }
                    return Ok(());
                }
                let known = self.transaction.release(&name).map_err(|_| unknown_savepoint(&name));
                self.answer(known).await
            }
        }
    }

    pub(super) async fn set_transaction(
        &mut self,
        settings: TransactionSettings,
        text: &[u8],
    ) -> Result<(), End> {
        match settings.scope {
            TransactionScope::Next if self.transaction.is_active() => {
                let detail =
                    "Transaction characteristics can't be changed while a transaction is in progress";
                self.refuse(&ClientError::new("SW1308", detail)).await
            }
            TransactionScope::Next => {
                self.next_transaction.push(text.to_vec());
                self.reply_ok().await
            }
            TransactionScope::Session => self.set_session_transaction(text).await,
            TransactionScope::Global => {
                let detail = "SET GLOBAL TRANSACTION would change the servers for everybody";
                self.refuse(&ClientError::new("SW1215", detail)).await
            }
        }
    }

    /// What a COMMIT or ROLLBACK does besides, by its words or else by `completion_type`.
    fn ending(&self, chain: Option<bool>, release: Option<bool>) -> Ending {
        let chains = |value: &[u8]| value == b"1" || value.eq_ignore_ascii_case(b"'CHAIN'");
        let usual = self.variables.state().value("completion_type").is_some_and(chains);
        let release = release == Some(true);
        Ending { chain: chain.unwrap_or(usual && !release), release }
    }

    /// BEGIN commits what is open (MySQL manual 15.3.3), then waits for the statement that chooses the shard.
    async fn begin(&mut self, text: &[u8], manner: Manner) -> Result<(), End> {
        if let Err(failure) = self.commit_quietly().await {
            return self.fail(failure).await;
        }
        let mut begin = Transaction::begin(text, manner);
        std::mem::swap(&mut self.transaction, &mut begin);
        if !manner.snapshot {
            return self.reply_ok().await;
        }
        // The snapshot is taken now, wherever the transaction will read.
        match self.bind().await {
            Ok(()) => self.reply_ok().await,
            Err(failure) => {
                self.roll_back_everywhere().await;
                self.fail(failure).await
            }
        }
    }

    /// COMMIT and ROLLBACK. RELEASE is the session's end, not that of the shared connection: the server is not told.
    async fn end(&mut self, text: &[u8], ending: Ending, commits: bool) -> Result<(), End> {
        match self.transaction.shard().cloned() {
            Some(_) if self.is_joint() => {
                let ended = if commits { self.commit_jointly(ending.chain).await } else { Ok(()) };
                if commits && ended.is_ok() {
                    self.transaction.chained();
                } else if !self.roll_back_jointly(!commits && ending.chain).await {
                    self.transaction = Transaction::None;
                }
                if ended.is_ok() && ending.chain && !self.transaction.is_active() {
                    self.transaction = Transaction::begin(b"BEGIN", Manner::default());
                }
                match ended {
                    Ok(()) => self.reply_ok().await?,
                    Err(failure) => self.fail(failure).await?,
                }
            }
            Some(shard) => {
                if self.forward_to(&shard, text, true).await? == StatementResult::Ok {
                    self.end_on_others(&shard, text).await;
                    self.transaction.chained();
                } else if !self.transaction.is_active() {
                    // Its connection went: nothing is left that the others could belong to.
                    self.roll_back_everywhere().await;
                }
            }
            None => {
                // AND CHAIN begins a transaction also where none was.
                if !ending.chain {
                    self.transaction = Transaction::None;
                    self.next_transaction.clear();
                } else if !self.transaction.is_pending() {
                    self.transaction = Transaction::begin(b"BEGIN", Manner::default());
                }
                self.reply_ok().await?;
            }
        }
        if ending.release { Err(End::Finished) } else { Ok(()) }
    }

    /// SAVEPOINT and its kin, on all shards of the transaction. Returns what the client was answered.
    async fn savepoint(&mut self, text: &[u8]) -> Result<StatementResult, End> {
        let Some(shard) = self.transaction.shard().cloned() else { return Ok(StatementResult::Refused) };
        let answered = self.forward_to(&shard, text, false).await?;
        if answered == StatementResult::Ok
            && !self
                .tell(
                    |held| held.in_transaction && held.shard != shard,
                    |_| vec![String::from_utf8_lossy(text).into_owned()],
                )
                .await
        {
            self.transaction = Transaction::Aborted;
        }
        Ok(answered)
    }

    /// Commits an open transaction without telling the client, as statements with an implicit commit do.
    pub(super) async fn commit_quietly(&mut self) -> Result<(), Failure> {
        if self.transaction.is_aborted() {
            self.roll_back_everywhere().await;
        }
        let Some(shard) = self.transaction.shard().cloned() else {
            self.transaction = Transaction::None;
            return Ok(());
        };
        if self.is_joint() {
            let ended = self.commit_jointly(false).await;
            // Of what was only read, or of all.
            self.roll_back_everywhere().await;
            return ended;
        }
        let Some(mut held) = self.take_transaction(&shard) else {
            self.roll_back_everywhere().await;
            let detail = format!("the connection of the transaction on shard {shard} is gone");
            return Err(Failure::Refused(ClientError::new("SW1304", detail)));
        };
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let asked = ask_for(&mut self.client, held.lease.connection(), b"COMMIT", &interrupt);
        match asked.await {
            Ok(Answer::Ok(_) | Answer::Rows(_)) => {
                held.in_transaction = false;
                self.keep_or_let_go(held);
                self.end_on_others(&shard, b"COMMIT").await;
                self.transaction = Transaction::None;
                Ok(())
            }
            Ok(Answer::Error(packet)) => {
                held.in_transaction = false;
                self.keep_or_let_go(held);
                self.roll_back_everywhere().await;
                Err(Failure::Server { shard, packet })
            }
            Err(failure) => {
                drop(held);
                self.roll_back_everywhere().await;
                Err(match failure {
                    // Nobody knows whether it was carried out.
                    Failure::Interrupted(interrupted) => {
                        Failure::Refused(ClientError::new("SW1403", interrupted.to_string()))
                    }
                    other => other,
                })
            }
        }
    }

    /// The transaction has ended on the shard that leads it: so it does on those that were only read. What cannot be ended is
    /// closed, which nobody notices: nothing was written there.
    pub(super) async fn end_on_others(&mut self, lead: &ShardName, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let which = |held: &Held| held.in_transaction && held.shard != *lead;
        let _told = self.tell(which, |held| held.ending(&text)).await;
    }

    /// A server has rolled the transaction back, or a connection of it is gone: nothing of it stays.
    pub(super) async fn roll_back_everywhere(&mut self) {
        self.roll_back_jointly(false).await;
        self.transaction = Transaction::None;
    }

    /// Rolls back on all shards; with `chain` the decider begins anew, which is what this tells.
    async fn roll_back_jointly(&mut self, chain: bool) -> bool {
        let text = if chain { "ROLLBACK AND CHAIN" } else { "ROLLBACK AND NO CHAIN NO RELEASE" };
        let _told = self.tell(|held| held.in_transaction, |held| held.ending(text)).await;
        self.transaction.chained();
        chain && self.transaction.shard().is_some()
    }

    /// After an error on one of several shards: whether the server has rolled the whole transaction back (a deadlock), as
    /// the others must then.
    pub(super) async fn ended_by_error(&mut self, held: &mut Held, outcome: &Outcome) -> bool {
        let alone = self.transaction.shards().len() < 2 && held.branch.is_none();
        if outcome.error.is_none() || !held.in_transaction || alone {
            return false;
        }
        match held.lease.connection().status().await {
            Ok(status) => !status.contains(StatusFlags::SERVER_STATUS_IN_TRANS),
            // What is lost with the connection is told by what follows.
            Err(_) => false,
        }
    }

    /// Tells those of the kept connections that `which` chooses, each `what` it is to be told; whether all of them said OK. The
    /// others are closed.
    pub(super) async fn tell(
        &mut self,
        which: impl Fn(&Held) -> bool,
        what: impl Fn(&Held) -> Vec<String>,
    ) -> bool {
        let kept = std::mem::take(&mut self.held);
        let (mut told, others): (Vec<Held>, Vec<Held>) = kept.into_iter().partition(which);
        self.held = others;
        if told.is_empty() {
            return true;
        }
        let asked = told.iter_mut().map(|held| {
            let statements = what(held);
            (held.lease.connection(), statements)
        });
        let answers = tokio::time::timeout(OTHERS_WAIT, ask_each(asked.collect())).await;
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut all = true;
        for mut held in told {
            match answers.next() {
                Some(Ok(Answer::Ok(ok))) => {
                    held.in_transaction = ok.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                    if !held.in_transaction {
                        held.branch = None;
                    }
                    self.transaction.observe(&held.shard, held.in_transaction);
                    self.keep_or_let_go(held);
                }
                Some(Ok(Answer::Rows(_) | Answer::Error(_)) | Err(_)) | None => {
                    all = false;
                    self.transaction.observe(&held.shard, false);
                    self.abandon(held, false);
                }
            }
        }
        self.show_pins();
        all
    }

    /// Begins a waiting transaction: on the chosen shard, else on all of them.
    async fn bind(&mut self) -> Result<(), Failure> {
        let topology = self.shared.topology.load();
        let shards = match &self.chosen.shard {
            Some(shard) => vec![super::switch::known_shard(&shard.0, &topology)?],
            None => topology.shards.iter().map(|shard| shard.id).collect(),
        };
        let limit = self.settings.limits.scatter_shards_max;
        if shards.len() > limit {
            let detail = format!(
                "WITH CONSISTENT SNAPSHOT on {} shards and limits.scatter_shards_max is {limit}",
                shards.len()
            );
            return Err(Failure::Refused(ClientError::new("SW1217", detail)));
        }
        for shard in shards {
            let held = self.connection_of(shard, &topology, Role::Primary, Joining::Transaction).await?;
            self.keep_or_let_go(held);
        }
        self.next_transaction.clear();
        Ok(())
    }
}

/// What is said until the client ends a transaction that was lost with its connection.
pub(super) fn aborted(what: &str) -> ClientError {
    ClientError::new("SW1304", what)
}

fn unknown_savepoint(name: &str) -> ClientError {
    ClientError::new("SW1309", format!("SAVEPOINT {name} does not exist"))
}
