//! The pools of all servers, following topology and settings. Decides which pools exist; what a pool does is its own affair.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::checkout::Lease;
use super::connect::{Connector, Suspects};
use super::connection::{Flavor, Thread};
use super::error::BackendError;
use super::handles::HandleBook;
use super::kill::Kills;
use super::metrics::{HandleMetrics, PoolMetrics, register_gauges};
use super::pool::{Begun, Live, ServerPool};
use super::state::SessionState;
use crate::config::{Credential, PoolSettings};
use crate::task::Scope;
use crate::topology::{Role, Server, ServerName, Shard, Standing, Topology};

/// How often idle connections are looked through.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);

/// All pools: one per server, credential and flavor. Shared by `Arc`.
#[derive(Debug)]
pub(crate) struct PoolSet {
    pools: RwLock<HashMap<Server, Arc<ServerPool>>>,
    policy: Mutex<Policy>,
    connector: Arc<Connector>,
    handles: Arc<HandleBook>,
    kills: Kills,
    scope: Scope,
    metrics: PoolMetrics,
}

/// What new pools begin with. Locked before `pools` where both are.
#[derive(Debug)]
struct Policy {
    settings: PoolSettings,
    live: Live,
    /// The servers of the topology followed last, and who was whose primary; `None` before the first.
    servers: Option<HashMap<Server, Duty>>,
    closed: bool,
}

/// One row of SHOW POOLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolStatus {
    pub(crate) server: ServerName,
    pub(crate) user: String,
    pub(crate) flavor: Flavor,
    pub(crate) idle: usize,
    pub(crate) lent: usize,
    pub(crate) connecting: usize,
    /// Being pinged or reset.
    pub(crate) mending: usize,
    pub(crate) waiting: usize,
    pub(crate) max: usize,
    /// Since the start of the process.
    pub(crate) connects: u64,
    pub(crate) failures: u64,
    pub(crate) last_error: Option<String>,
}

impl PoolSet {
    /// Starts the task that keeps the pools; needs a runtime.
    pub(crate) fn new(
        settings: PoolSettings,
        scope: Scope,
        registry: &prometheus::Registry,
        suspects: Suspects,
    ) -> Arc<PoolSet> {
        let handles = Arc::new(HandleBook::new(&settings, HandleMetrics::new(registry)));
        let pools = Arc::new(PoolSet {
            pools: RwLock::default(),
            policy: Mutex::new(Policy { settings, live: None, servers: None, closed: false }),
            connector: Arc::new(Connector::new(Arc::clone(&handles), suspects)),
            handles,
            kills: Kills::default(),
            scope: scope.clone(),
            metrics: PoolMetrics::new(registry),
        });
        register_gauges(registry, &pools);
        let stop = scope.token().clone();
        scope.spawn("pool keeper", keep(Arc::downgrade(&pools), stop));
        pools
    }

    /// Lends a connection, preferring an idle one whose state equals `wanted`. The wait is bounded by the borrow timeout. An idle
    /// connection that lies there without waiting costs one short lock. Cancel safe: nothing is lost when the future is dropped.
    pub(crate) async fn lease(
        &self,
        server: &Server,
        credential: &Arc<Credential>,
        flavor: Flavor,
        wanted: &SessionState,
    ) -> Result<Lease, BackendError> {
        let mut again = true;
        loop {
            let pool = self.pool(server)?;
            let lent = match pool.begin(credential, flavor, wanted) {
                Ok(Begun::Lent(lease)) => return Ok(lease),
                Ok(Begun::Waiting(waiting)) => waiting.lease().await,
                Err(error) => Err(error),
            };
            match lent {
                // The server left the map meanwhile; the statement runs on the map that it began with.
                Err(BackendError::Closed { .. }) if again => again = false,
                lent => return lent.inspect_err(|error| pool.metrics().refused(error)),
            }
        }
    }

    /// Ends the statement that runs on a connection, over a connection of its own to the same address and within the connect
    /// timeout. A few at once per server; the same thread only once.
    pub(crate) async fn kill_query(
        &self,
        server: &Server,
        credential: &Credential,
        thread: Thread,
    ) -> Result<(), BackendError> {
        let timeout = self.policy.lock().settings.connect_timeout;
        self.kills.kill_query(&self.connector, server, credential, thread, timeout).await
    }

    /// Closes the pools of servers that the topology no longer has; lent connections end when they come back.
    /// Pools of servers that stay are not touched, but for those of primaries that were demoted, or whose name leads to another
    /// process now: their connections end. Answers whether there were such: who waits on one of them is to be woken.
    pub(crate) fn follow(&self, topology: &Topology) -> bool {
        let servers: HashMap<Server, Duty> = topology
            .shards
            .iter()
            .flat_map(|shard| shard.servers().map(|(role, server)| (server.clone(), Duty::of(role, shard))))
            .collect();
        let mut policy = self.policy.lock();
        let mut demoted = false;
        for (server, duty) in &servers {
            let before = policy.servers.as_ref().and_then(|servers| servers.get(server));
            if let Some(before) = before.filter(|before| before.ends_with(duty))
                && let Some(pool) = self.pools.write().remove(server)
            {
                tracing::info!(server = %server.name, "the server is not the primary any more; its connections end");
                pool.demote(matches!(before, Duty::Primary { read_only: true, .. }));
                demoted = true;
            }
        }
        let (stay, leave): (Vec<_>, Vec<_>) =
            self.pools.read().values().cloned().partition(|pool| servers.contains_key(pool.server()));
        self.pools.write().retain(|server, _| servers.contains_key(server));
        for pool in leave {
            tracing::info!(server = %pool.server().name, "the server left the map; its pools end");
            pool.retire();
        }
        for pool in stay {
            pool.configure(policy.settings.clone(), true);
        }
        // While nobody is the primary it is remembered which process was.
        let known = policy.servers.take().unwrap_or_default();
        let remember = |(server, duty): (Server, Duty)| match (known.get(&server), duty) {
            (Some(Duty::Primary { identity, .. }), Duty::Primary { identity: None, read_only }) => {
                let identity = identity.clone();
                (server, Duty::Primary { identity, read_only })
            }
            (_, duty) => (server, duty),
        };
        policy.servers = Some(servers.into_iter().map(remember).collect());
        demoted
    }

    /// Somebody met a fault of this server.
    pub(crate) fn suspect(&self, server: &ServerName) {
        self.connector.suspects().tell(server);
    }

    /// Closes the pools of credentials that are in use no more, after a reload of the users.
    /// Sessions that logged in before keep theirs, but nothing is kept ready for them.
    pub(crate) fn follow_credentials(&self, live: &[Arc<Credential>]) {
        let live: Arc<[Arc<Credential>]> = live.into();
        let mut policy = self.policy.lock();
        policy.live = Some(Arc::clone(&live));
        for pool in self.all() {
            pool.follow_credentials(Arc::clone(&live));
        }
    }

    /// Applies new settings to every pool; CA bundles are read again at the next connect.
    pub(crate) fn configure(&self, settings: PoolSettings) {
        self.connector.forget_bundles();
        self.handles.configure(&settings);
        let mut policy = self.policy.lock();
        policy.settings = settings;
        for pool in self.all() {
            pool.configure(policy.settings.clone(), policy.has(pool.server()));
        }
    }

    /// Whether the server could not be connected to when this was last tried.
    pub(crate) fn is_failing(&self, server: &Server) -> bool {
        self.pools.read().get(server).is_some_and(|pool| pool.is_failing())
    }

    /// Connections to the server that are lent now.
    pub(crate) fn outstanding(&self, server: &Server) -> usize {
        self.pools.read().get(server).map_or(0, |pool| pool.outstanding())
    }

    /// One row per server, credential and flavor, in the order of server and user.
    pub(crate) fn status(&self) -> Vec<PoolStatus> {
        let mut rows = Vec::new();
        for pool in self.all() {
            pool.status(&mut rows);
        }
        rows.sort_by(|one, two| {
            let key = |row: &PoolStatus| {
                (row.flavor.found_rows, row.flavor.deprecate_eof, row.flavor.multi_results)
            };
            (&one.server, &one.user, key(one)).cmp(&(&two.server, &two.user, key(two)))
        });
        rows
    }

    /// Closes all idle connections and refuses new leases.
    pub(crate) fn close(&self) {
        self.policy.lock().closed = true;
        for pool in self.all() {
            pool.retire();
        }
    }

    fn pool(&self, server: &Server) -> Result<Arc<ServerPool>, BackendError> {
        if let Some(pool) = self.pools.read().get(server) {
            return Ok(Arc::clone(pool));
        }
        let policy = self.policy.lock();
        if policy.closed {
            return Err(BackendError::Closed { server: server.name.clone() });
        }
        let mut pools = self.pools.write();
        let pool = pools.entry(server.clone()).or_insert_with(|| {
            let metrics = self.metrics.of(&server.name);
            let settings = (policy.settings.clone(), policy.live.clone());
            let (connector, scope) = (Arc::clone(&self.connector), self.scope.clone());
            ServerPool::new(server.clone(), settings, policy.has(server), connector, scope, metrics)
        });
        Ok(Arc::clone(pool))
    }

    fn all(&self) -> Vec<Arc<ServerPool>> {
        self.pools.read().values().cloned().collect()
    }
}

impl Policy {
    /// A statement of an older topology may still ask for a server that left: its pool keeps nothing ready.
    fn has(&self, server: &Server) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains_key(server))
    }
}

/// What a server was for its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Duty {
    Primary {
        /// The process behind the name, as far as it is known.
        identity: Option<Arc<str>>,
        /// It answers, and takes no writes.
        read_only: bool,
    },
    Replica,
}

impl Duty {
    fn of(role: Role, shard: &Shard) -> Duty {
        match role {
            Role::Primary => Duty::Primary {
                identity: shard.identity().cloned(),
                read_only: matches!(shard.standing, Standing::ReadOnly { .. }),
            },
            Role::Replica => Duty::Replica,
        }
    }

    /// Connections of the one duty must not serve the other.
    fn ends_with(&self, next: &Duty) -> bool {
        match (self, next) {
            (Duty::Primary { .. }, Duty::Replica) => true,
            (Duty::Primary { identity: Some(before), .. }, Duty::Primary { identity: Some(after), .. }) => {
                before != after
            }
            (Duty::Primary { .. }, Duty::Primary { .. }) | (Duty::Replica, _) => false,
        }
    }
}

async fn keep(pools: Weak<PoolSet>, stop: tokio_util::sync::CancellationToken) {
    let mut rounds = tokio::time::interval(ROUND_INTERVAL);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(pools) = pools.upgrade() else { return };
        for pool in pools.all() {
            pool.tick();
        }
    }
}

#[cfg(test)]
mod tests;
