//! A statement whose shard has no primary waits for one, and is routed again on the topology of then. Bounded in time by
//! `failover_wait` and in number by `failover_waiters_max` per shard; nothing of such a statement was done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::run::Session;
use super::shared::Shared;
use crate::backend::BackendError;
use crate::error::ClientError;
use crate::executor::{Failure, Interrupt, Stream, watched};
use crate::planner::{Plan, Verb};
use crate::router::{Part, Route};
use crate::topology::{Epoch, Role, Rotation, Server, Shard, ShardId, ShardName, Topology};

/// How soon a server is tried again of which nobody said that it is not the one.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How many statements wait, by shard.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    waiting: Mutex<HashMap<ShardName, usize>>,
}

/// One place among those who wait.
struct Place {
    shared: Arc<Shared>,
    since: Instant,
    shard: ShardName,
}

/// Of one statement: since when it waits, and where.
#[derive(Default)]
pub(super) struct Patience {
    since: Option<Instant>,
    place: Option<Place>,
}

impl Waits {
    fn enter(&self, shard: &ShardName, limit: usize) -> bool {
        let mut waiting = self.waiting.lock();
        let count = waiting.entry(shard.clone()).or_default();
        if *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, shard: &ShardName) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.get_mut(shard) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(shard);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.waits.leave(&self.shard);
        self.shared.metrics.failover_waited(self.since.elapsed());
    }
}

impl<S: Stream> Session<S> {
    /// Whether the shards of a statement take what it does; what is open on one of them goes on there in any case.
    pub(super) fn check_standing(
        &mut self,
        plan: &Plan,
        route: &Route,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let reads = plan.verb == Verb::Read && !plan.calls_stored && !self.may_write_later();
        if reads || route.role == Role::Replica {
            return Ok(());
        }
        let stands = |shard: &ShardId| {
            let shard = topology.shard(*shard);
            shard.why_not_written().is_none() || self.is_on(&shard.name)
        };
        let stuck = match &route.part {
            Part::Any | Part::Nowhere | Part::Scratch => None,
            Part::One(shard) => Some(*shard).filter(|shard| !stands(shard)),
            Part::Many(targets) => targets.iter().map(|target| target.shard).find(|shard| !stands(shard)),
        };
        let Some(shard) = stuck.map(|shard| topology.shard(shard)) else { return Ok(()) };
        self.account.shard = Some(shard.name.clone());
        Err(no_primary(shard, shard.why_not_written().unwrap_or_default()))
    }

    /// Whether what is read now stays on its connection for writes to follow.
    fn may_write_later(&self) -> bool {
        (self.transaction.is_active() && !self.transaction.is_read_only()) || !self.variables.autocommit()
    }

    /// Whether the session is bound to a connection of this shard.
    fn is_on(&self, shard: &ShardName) -> bool {
        self.held.iter().any(|held| held.shard == *shard && (held.in_transaction || held.binding().is_some()))
    }

    /// Waits until the statement may be tried again; gives back what the client is told when it may not. `seen` is the topology that
    /// it failed on.
    pub(super) async fn wait_for_primary(
        &mut self,
        failure: Failure,
        seen: Epoch,
        patience: &mut Patience,
    ) -> Result<(), Failure> {
        let failure = match failure {
            Failure::Again(failure) => *failure,
            Failure::Backend(error) if error.is_outage() => Failure::Backend(error),
            other => return Err(other),
        };
        let limits = &self.settings.limits;
        let now = Instant::now();
        let since = *patience.since.get_or_insert(now);
        let end = since + limits.failover_wait;
        if now >= end {
            return Err(given_up(failure, now - since));
        }
        if patience.place.is_none()
            && let Some(shard) = self.account.shard.clone()
        {
            if !self.shared.waits.enter(&shard, limits.failover_waiters_max) {
                let detail = format!("{} statements wait for shard {shard}", limits.failover_waiters_max);
                return Err(Failure::Refused(ClientError::new("SW1409", detail)));
            }
            patience.place = Some(Place { shared: Arc::clone(&self.shared), since, shard });
        }
        // Where it is known that there is none, only news helps.
        let pause = match &failure {
            Failure::Backend(BackendError::NoPrimary { .. }) => end,
            _ => end.min(now + RETRY_PAUSE),
        };
        let mut epochs = self.shared.epochs.clone();
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let news = async {
            // An error means that the proxy stops, which the interruption tells.
            drop(tokio::time::timeout_at(pause, epochs.wait_for(|epoch| *epoch > seen)).await);
            Ok::<(), Failure>(())
        };
        watched(&mut self.client, &interrupt, news).await
    }
}

/// Ends when `server` is not what statements of this role on this shard want any more.
pub(super) async fn moved(shared: &Shared, shard: &ShardName, role: Role, server: &Server) -> BackendError {
    let mut epochs = shared.epochs.clone();
    loop {
        // Marked as seen before the look: what is published after it is not missed.
        epochs.borrow_and_update();
        let topology = shared.topology.load();
        let Some(shard) = topology.shard_by_name(&shard.0) else { return std::future::pending().await };
        if let Some(reason) = shard.why_lost().filter(|_| role == Role::Primary) {
            return BackendError::NoPrimary { shard: shard.name.clone(), reason: reason.to_owned() };
        }
        if !serves(shard, role, server) {
            return BackendError::Demoted { server: server.name.clone() };
        }
        if epochs.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn serves(shard: &Shard, role: Role, server: &Server) -> bool {
    match role {
        Role::Primary => shard.primary == *server,
        Role::Replica => shard
            .replicas
            .iter()
            .zip(&shard.rotation)
            .any(|(replica, rotation)| replica == server && !matches!(rotation, Rotation::Out { .. })),
    }
}

pub(super) fn no_primary(shard: &Shard, reason: &str) -> Failure {
    Failure::Backend(BackendError::NoPrimary { shard: shard.name.clone(), reason: reason.to_owned() })
}

fn given_up(failure: Failure, waited: Duration) -> Failure {
    match failure {
        Failure::Backend(error @ BackendError::NoPrimary { .. }) => {
            let detail = format!("{error}; it was waited for {waited:.1?}");
            Failure::Refused(ClientError::new("SW1408", detail))
        }
        other => other,
    }
}
