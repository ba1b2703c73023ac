//! Connections for statements: one that the session keeps, or one of the pool, led to the session's state and, where one waits,
//! into its transaction.

use std::sync::Arc;

use super::held::Held;
use super::patience::{moved, no_primary};
use super::run::Session;
use crate::backend::{BackendError, Fit};
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Stream, ask_for, prepare, watched};
use crate::topology::{Role, Rotation, Server, Shard, ShardId, ShardName, Topology};
use crate::transaction::{Membership, Transaction};
use crate::wire::StatusFlags;

/// Whether a statement belongs to the transaction that waits for its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    Transaction,
    /// Together with other shards: where a server would begin it by itself (autocommit=0) it is begun by a statement of its own,
    /// so that it is open on all of them.
    WithOthers,
    /// It reads no table, so that it need not choose the transaction's shard.
    Nothing,
}

/// What a statement may do to the rows of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    /// Or calls what may.
    Writes,
}

/// One of the replicas that are read; until somebody has asked them, any.
fn readable(shard: &Shard, turn: usize) -> Result<&Server, ClientError> {
    let those = |wanted: fn(&Rotation) -> bool| -> Vec<&Server> {
        let pairs = shard.replicas.iter().zip(&shard.rotation);
        pairs.filter(|(_, rotation)| wanted(rotation)).map(|(server, _)| server).collect()
    };
    let mut servers = those(|rotation| matches!(rotation, Rotation::In { .. }));
    if servers.is_empty() {
        servers = those(|rotation| *rotation == Rotation::Unknown);
    }
    let count = servers.len();
    if count == 0 {
        let each =
            shard.replicas.iter().map(|server| format!("{}: {}", server.name, shard.words_on(&server.name)));
        let detail = format!("shard {}: {}", shard.name, each.collect::<Vec<_>>().join("; "));
        return Err(ClientError::new("SW1410", detail));
    }
    Ok(servers[turn % count])
}

impl<S: Stream> Session<S> {
    /// A statement may leave the shard that the session is bound to only when nothing that it could need is there.
    pub(super) fn check_place(&self, shard: &ShardName, effect: Effect) -> Result<(), ClientError> {
        if effect == Effect::Writes {
            let may_write = self.transaction.may_write(shard, self.mode());
            may_write.map_err(|why| ClientError::new("SW1301", why))?;
        }
        for held in &self.held {
            if held.shard != *shard
                && let Some(pin) = held.binding()
            {
                let detail = format!(
                    "the session is pinned to shard {} ({pin}) and the statement belongs to {shard}",
                    held.shard
                );
                return Err(ClientError::new("SW1303", detail));
            }
        }
        Ok(())
    }

    /// A connection to the shard that carries the session's state and, if one is pending, its transaction.
    pub(super) async fn connection_of(
        &mut self,
        shard: ShardId,
        topology: &Topology,
        role: Role,
        joining: Joining,
    ) -> Result<Held, Failure> {
        let shard = topology.shard(shard);
        let server = self.server_of(shard, role)?;
        let kept = self.take_held(&shard.name, server);
        let split =
            match self.account.splits && kept.is_none() && !self.transaction.shards().contains(&shard.name) {
                true => self.replica_of(shard).await?,
                false => None,
            };
        if split.is_none() {
            self.note_direct(&shard.name);
        }
        let mut held = match kept.or(split) {
            Some(held) => held,
            None if self.transaction.shards().contains(&shard.name) => {
                self.transaction = Transaction::Aborted;
                let detail = format!("the connection of the transaction on shard {} is gone", shard.name);
                return Err(Failure::Refused(ClientError::new("SW1304", detail)));
            }
            None => {
                if (role == Role::Primary || self.transaction.is_active())
                    && let Some(reason) = shard.why_lost()
                {
                    return Err(no_primary(shard, reason));
                }
                let wanted = self.variables.state();
                let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
                let lease = self.shared.pools.lease(server, &self.user.server, self.flavor, wanted);
                // Who does not wait any more leaves the queue.
                let lease = tokio::select! {
                    biased;
                    lease = watched(&mut self.client, &interrupt, lease) => lease?,
                    error = moved(&self.shared, &shard.name, role, server) => return Err(Failure::Backend(error)),
                };
                Held::new(shard.name.clone(), lease)
            }
        };
        if held.lease.connection().is_retired() {
            let server = held.lease.server().name.clone();
            return Err(self.lost(held, Failure::Backend(BackendError::Demoted { server })));
        }
        if let Err(failure) = self.make_ready(&mut held, joining).await {
            return Err(match self.lost(held, failure) {
                // Nothing of the statement was sent, and no transaction or state is gone with the connection.
                lost @ Failure::Backend(BackendError::Lost { .. }) => Failure::Again(Box::new(lost)),
                other => other,
            });
        }
        Ok(held)
    }

    async fn make_ready(&mut self, held: &mut Held, joining: Joining) -> Result<(), Failure> {
        self.lead(held).await?;
        if joining != Joining::Nothing && !held.in_transaction {
            self.open_transaction(held, joining).await?;
        }
        Ok(())
    }

    /// Leads a connection to the session's state. What lives on a connection that is kept would not survive a reset.
    pub(super) async fn lead(&mut self, held: &mut Held) -> Result<(), Failure> {
        let wanted = self.variables.state();
        let kept = held.in_transaction || !held.pins.is_empty();
        if kept && matches!(held.lease.connection().state.fits(wanted), Fit::Reset | Fit::Unfit) {
            let detail =
                format!("the connection to shard {} cannot be led to the session's variables", held.shard);
            return Err(Failure::Refused(ClientError::new("SW1306", detail)));
        }
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        watched(&mut self.client, &interrupt, prepare(held.lease.connection(), wanted)).await
    }

    /// Sends what waits for the transaction's first statement. The caller forgets `next_transaction` once all connections of
    /// the statement have it.
    async fn open_transaction(&mut self, held: &mut Held, joining: Joining) -> Result<(), Failure> {
        let characteristics = self.next_transaction.clone();
        let (mode, shared) = (self.mode(), Arc::clone(&self.shared));
        let mut begin: Vec<Vec<u8>> =
            match self.transaction.membership(&held.shard, mode, || shared.transactions.next()) {
                Membership::Plain => self.transaction.opening().into_iter().map(<[u8]>::to_vec).collect(),
                Membership::Branch(xid) => {
                    let opening = self.transaction.opening_of_branch(&xid);
                    held.branch = Some(xid);
                    opening
                }
            };
        let alone = joining != Joining::WithOthers && characteristics.is_empty();
        if begin.is_empty() && !self.variables.autocommit() && !alone {
            begin.push(b"BEGIN".to_vec());
        }
        // Without BEGIN it stays on the connection when the statement begins no transaction (it fails, it reads no table): whoever
        // came next would have it.
        held.tainted |= begin.is_empty() && !characteristics.is_empty();
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        for statement in characteristics.iter().chain(&begin) {
            match ask_for(&mut self.client, held.lease.connection(), statement, &interrupt).await? {
                Answer::Ok(ok) => {
                    held.in_transaction = ok.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                }
                Answer::Rows(_) => {}
                Answer::Error(packet) => return Err(Failure::Server { shard: held.shard.clone(), packet }),
            }
        }
        if held.branch.is_some() && !held.in_transaction {
            // It must not run outside of the transaction.
            let detail = format!("shard {} did not begin a branch of the transaction", held.shard);
            return Err(Failure::Refused(ClientError::new("SW1304", detail)));
        }
        if held.in_transaction {
            self.transaction.join(&held.shard, &characteristics);
        }
        Ok(())
    }

    pub(super) fn server_of<'a>(
        &self,
        shard: &'a crate::topology::Shard,
        role: Role,
    ) -> Result<&'a Server, ClientError> {
        match role {
            Role::Primary => Ok(&shard.primary),
            Role::Replica if self.transaction.is_active() => Ok(&shard.primary),
            Role::Replica => {
                let count = shard.replicas.len();
                if count == 0 {
                    let detail = format!("shard {} has no replica", shard.name);
                    return Err(ClientError::new("SW1211", detail));
                }
                readable(shard, self.registration.id() as usize)
            }
        }
    }

    /// Which of the kept connections takes a statement that any could take: the one that statements are bound to.
    pub(super) fn preferred(&self) -> Option<usize> {
        let bound = self.held.iter().position(|held| held.binding().is_some());
        let leading = |held: &Held| held.in_transaction && self.transaction.shard() == Some(&held.shard);
        let bound = bound.or_else(|| self.held.iter().position(leading));
        let bound = bound.or_else(|| self.held.iter().position(|held| held.in_transaction));
        bound.or(if self.held.is_empty() { None } else { Some(0) })
    }

    /// The kept connection to this server, or to any server of the shard when what lives on it must be used.
    fn take_held(&mut self, shard: &ShardName, server: &Server) -> Option<Held> {
        let fits =
            |held: &Held| held.lease.server() == server || held.in_transaction || held.binding().is_some();
        let index = self.held.iter().position(|held| held.shard == *shard && fits(held))?;
        Some(self.held.swap_remove(index))
    }

    /// The connection that the open transaction lives on.
    pub(super) fn take_transaction(&mut self, shard: &ShardName) -> Option<Held> {
        let index = self.held.iter().position(|held| held.shard == *shard && held.in_transaction)?;
        Some(self.held.swap_remove(index))
    }
}
