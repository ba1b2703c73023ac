//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT and SET TRANSACTION.
//!
//! A transaction begins where its first statement goes (see `transaction`), so most of these are answered without a server
//! until then, and forwarded to the transaction's connection afterwards.

use super::lend::Joining;
use super::run::{End, Session};
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Stream, ask_for};
use crate::sql::{AccessMode, TransactionControl, TransactionScope, TransactionSettings};
use crate::topology::{Role, ShardName};
use crate::transaction::Transaction;

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
                self.begin(text, read_only, consistent_snapshot).await
            }
            TransactionControl::Commit { chain, release } => {
                let ending = Ending { chain: chain == Some(true), release: release == Some(true) };
                if self.transaction.is_aborted() {
                    self.transaction = Transaction::None;
                    return self.refuse(&aborted("nothing was committed")).await;
                }
                self.end(if ending.release { b"COMMIT" } else { text }, ending).await
            }
            TransactionControl::Rollback { chain, release } => {
                let ending = Ending { chain: chain == Some(true), release: release == Some(true) };
                if self.transaction.is_aborted() {
                    self.transaction = Transaction::None;
                }
                self.end(if ending.release { b"ROLLBACK" } else { text }, ending).await
            }
            TransactionControl::Savepoint { name } => {
                if let Some(shard) = self.transaction.shard().cloned() {
                    return self.forward_to(&shard, text, false).await;
                }
                if !self.transaction.is_active() && !self.variables.autocommit() {
                    // Without autocommit a savepoint may come first: it needs the transaction that it stands in.
                    self.transaction = Transaction::begin(b"BEGIN", false);
                }
                self.transaction.set_savepoint(&name, text);
                self.reply_ok().await
            }
            TransactionControl::RollbackTo { name } => {
                if let Some(shard) = self.transaction.shard().cloned() {
                    return self.forward_to(&shard, text, false).await;
                }
                let known = self.transaction.rollback_to(&name).map_err(|_| unknown_savepoint(&name));
                self.answer(known).await
            }
            TransactionControl::ReleaseSavepoint { name } => {
                if let Some(shard) = self.transaction.shard().cloned() {
                    return self.forward_to(&shard, text, false).await;
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

    /// BEGIN commits what is open (MySQL manual 15.3.3), then waits for the statement that chooses the shard.
    async fn begin(&mut self, text: &[u8], read_only: bool, consistent_snapshot: bool) -> Result<(), End> {
        if let Err(failure) = self.commit_quietly().await {
            return self.fail(failure).await;
        }
        let mut begin = Transaction::begin(text, read_only);
        std::mem::swap(&mut self.transaction, &mut begin);
        if !consistent_snapshot {
            return self.reply_ok().await;
        }
        // The snapshot is taken now, so the shard must be known now.
        let Some(shard) = self.chosen.shard.clone() else {
            self.transaction = Transaction::None;
            let detail = "WITH CONSISTENT SNAPSHOT takes the snapshot at once and no shard is chosen";
            return self.refuse(&ClientError::new("SW1306", detail)).await;
        };
        match self.bind(&shard).await {
            Ok(()) => self.reply_ok().await,
            Err(failure) => self.fail(failure).await,
        }
    }

    /// COMMIT and ROLLBACK. RELEASE is the session's end, not that of the shared connection: the server is not told.
    async fn end(&mut self, text: &[u8], ending: Ending) -> Result<(), End> {
        let ended = match self.transaction.shard().cloned() {
            Some(shard) => self.forward_to(&shard, text, true).await,
            None => {
                let begin_again = self.transaction.is_active() && ending.chain;
                if !begin_again {
                    self.transaction = Transaction::None;
                    self.next_transaction.clear();
                }
                self.reply_ok().await
            }
        };
        ended?;
        if ending.release { Err(End::Finished) } else { Ok(()) }
    }

    /// Commits an open transaction without telling the client, as statements with an implicit commit do.
    pub(super) async fn commit_quietly(&mut self) -> Result<(), Failure> {
        let Some(shard) = self.transaction.shard().cloned() else {
            self.transaction = Transaction::None;
            return Ok(());
        };
        let Some(mut held) = self.take_transaction(&shard) else {
            self.transaction = Transaction::None;
            let detail = format!("the connection of the transaction on shard {shard} is gone");
            return Err(Failure::Refused(ClientError::new("SW1304", detail)));
        };
        self.transaction = Transaction::None;
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let asked = ask_for(&mut self.client, held.lease.connection(), b"COMMIT", &interrupt);
        let answer = match asked.await {
            Ok(answer) => answer,
            // Nobody knows whether it was carried out.
            Err(Failure::Interrupted(interrupted)) => {
                return Err(Failure::Refused(ClientError::new("SW1403", interrupted.to_string())));
            }
            Err(failure) => return Err(failure),
        };
        match answer {
            Answer::Ok(_) | Answer::Rows(_) => {
                held.in_transaction = false;
                self.keep_or_let_go(held);
                Ok(())
            }
            Answer::Error(packet) => {
                held.in_transaction = false;
                self.keep_or_let_go(held);
                Err(Failure::Server { shard, packet })
            }
        }
    }

    async fn bind(&mut self, shard: &ShardName) -> Result<(), Failure> {
        let topology = self.shared.topology.load();
        let id = super::switch::known_shard(&shard.0, &topology)?;
        let held = self.connection_of(id, &topology, Role::Primary, Joining::Transaction).await?;
        self.next_transaction.clear();
        self.keep_or_let_go(held);
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
