//! What all sessions share: handed over by `app`, owned by nobody here.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handshake::Gate;
use super::metrics::SessionMetrics;
use super::orders::Orders;
use super::patience::Waits;
use super::registry::Registry;
use crate::backend::{self, PoolSet};
use crate::config::{Settings, TransactionMode, User};
use crate::executor::metrics::ExecutorMetrics;
use crate::executor::{Ending, Participant, Resolver};
use crate::planner::PlanCache;
use crate::sql::{Charset, Context, Flavor, SqlMode};
use crate::task::Scope;
use crate::topology::{Epoch, TopologyHandle};
use crate::transaction::{Failpoint, Numbering, Xid};

pub(crate) struct Shared {
    pub(crate) topology: TopologyHandle,
    /// Notifies of every published topology.
    pub(crate) epochs: watch::Receiver<Epoch>,
    /// The statements that wait for a primary.
    pub(crate) waits: Waits,
    pub(crate) plans: PlanCache,
    /// Of fingerprints, so that clients cannot construct statements that share one.
    pub(crate) seed: u64,
    pub(crate) pools: Arc<PoolSet>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) gate: Gate,
    pub(crate) orders: Orders,
    pub(crate) fleet: watch::Receiver<Fleet>,
    /// Names transactions over several shards.
    pub(crate) transactions: Numbering,
    pub(crate) failpoint: Failpoint,
    pub(crate) metrics: SessionMetrics,
    pub(crate) executor_metrics: ExecutorMetrics,
    /// Cancelled when the proxy drains: nobody logs in any more. Sessions are told through the registry.
    pub(crate) draining: CancellationToken,
    /// Owns what outlives a session by a little (KILL QUERY on a server).
    pub(crate) scope: Scope,
}

impl Shared {
    /// How a write on several shards that is a transaction of its own ends.
    pub(crate) fn ending<'a>(
        &'a self,
        mode: TransactionMode,
        participants: &[Participant<'_>],
        user: &'a User,
        flavor: backend::Flavor,
    ) -> Ending<'a> {
        if mode != TransactionMode::Atomic {
            return Ending::BestEffort;
        }
        let id = self.transactions.next();
        let Some(lead) = participants.first() else { return Ending::BestEffort };
        let numbers = (1..).take(participants.len() - 1);
        let branches = numbers.map(|number| Xid::new(id, number, &lead.shard)).collect();
        let (topology, pools, credential, failpoint) =
            (&self.topology, &*self.pools, &user.server, &self.failpoint);
        Ending::Atomic { id, branches, resolver: Resolver { topology, pools, credential, flavor, failpoint } }
    }
}

/// What the servers have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// The lowest version, as clients see it.
    pub(crate) version: String,
    /// As in executable comments.
    pub(crate) version_number: u32,
    pub(crate) flavor: Flavor,
    /// How the servers read without a SET.
    pub(crate) mode: SqlMode,
}

impl Fleet {
    /// How the servers read statements when nothing is set.
    pub(crate) fn reading(&self) -> Context {
        Context {
            mode: self.mode,
            charset: Charset::default(),
            flavor: self.flavor,
            server_version: self.version_number,
        }
    }
}
