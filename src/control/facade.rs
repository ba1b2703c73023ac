//! What other parts see of the control plane.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::collation::Collations;
use super::holds::Holds;
use super::keeper::{Keeper, Order, Outlets};
use super::recovery::{InDoubt, Recovered, Recovery, Resolve};
use super::status::{MapStatus, ServerStatus, fleet_version};
use super::switchover::{Switchover, SwitchoverError};
use super::weights::Weights;
use super::{health, publisher};
use crate::config::{Fault, Faults, Loaded, Settings};
use crate::error::ClientError;
use crate::task::Scope;
use crate::topology::{self, Columns, Epoch, ServerName, Topology, TopologyHandle};
use crate::transaction::{Decision, GlobalId};

/// Orders that wait for the keeper.
const ORDERS_MAX: usize = 256;
const FACTS_MAX: usize = 16;
/// Suspicions that wait for the monitor; one of a server is as good as many.
const SUSPECTS_MAX: usize = 64;
/// How long a refresh is waited for: one schema reading with a server that does not answer.
const REFRESH_WAIT_MAX: Duration = Duration::from_secs(10);

/// The control plane of one process. Its tasks live in the scope that started it.
#[derive(Debug)]
pub(crate) struct Control {
    topology: TopologyHandle,
    settings: watch::Receiver<Arc<Settings>>,
    servers: watch::Receiver<Arc<[ServerStatus]>>,
    ready: watch::Receiver<bool>,
    epochs: watch::Receiver<Epoch>,
    loaded_at: watch::Receiver<SystemTime>,
    orders: mpsc::Sender<Order>,
    weights: Weights,
    in_doubt: watch::Receiver<Option<Arc<[InDoubt]>>>,
    recovered: Arc<Recovered>,
    resolving: mpsc::Sender<Resolve>,
    suspects: mpsc::Sender<ServerName>,
    holds: Holds,
    scope: Scope,
    settings_file: PathBuf,
}

impl Control {
    /// Publishes the map at once, without columns, and starts the tasks that find out the rest. Servers that cannot be
    /// reached stop nothing. Must be called on a tokio runtime.
    pub(crate) fn start(scope: &Scope, loaded: Loaded, settings_file: PathBuf) -> Control {
        let base = Topology::build(&loaded.map);
        let (publisher, handle) = topology::publish(base.clone());
        let (facts, facts_in) = mpsc::channel(FACTS_MAX);
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (settings_out, settings) = watch::channel(Arc::new(loaded.settings.clone()));
        let (servers_out, servers) = watch::channel(Arc::from(Vec::new()));
        let (ready_out, ready) = watch::channel(false);
        let (epochs_out, epochs) = watch::channel(handle.load().epoch);
        let (loaded_at_out, loaded_at) = watch::channel(SystemTime::now());
        let collations = Arc::new(Collations::default());
        let weights =
            Weights::new(handle.clone(), settings.clone(), servers.clone(), Arc::clone(&collations));
        let (suspects_out, suspects) = mpsc::channel(SUSPECTS_MAX);
        let holds = Holds::new();
        let monitor = health::Monitor {
            holds: holds.watch(),
            topology: handle.clone(),
            settings: settings.clone(),
            status: servers_out,
            facts: facts.clone(),
            suspects,
        };
        let keeper = Keeper {
            file: settings_file.clone(),
            loaded,
            base: base.clone(),
            columns: Columns::default(),
            collations,
            outlets: Outlets { facts, settings: settings_out, ready: ready_out, loaded_at: loaded_at_out },
            told: Vec::new(),
        };
        let (found, in_doubt) = watch::channel(None);
        let (resolving, resolve) = mpsc::channel(ORDERS_MAX);
        let recovered = Arc::new(Recovered::default());
        let recovery = Recovery::new(handle.clone(), settings.clone(), found, Arc::clone(&recovered));
        let token = || scope.token().clone();
        scope.spawn_lasting("recovery", recovery.run(token(), resolve));
        scope.spawn_lasting("publisher", publisher::run(token(), publisher, base, facts_in, epochs_out));
        scope.spawn_lasting("keeper", keeper.run(token(), orders_in));
        scope.spawn_lasting("health", monitor.run(token()));
        Control {
            topology: handle,
            settings,
            servers,
            ready,
            epochs,
            loaded_at,
            orders,
            weights,
            in_doubt,
            recovered,
            resolving,
            suspects: suspects_out,
            holds,
            scope: scope.clone(),
            settings_file,
        }
    }

    pub(crate) fn topology(&self) -> TopologyHandle {
        self.topology.clone()
    }

    /// The settings as of the last reload.
    pub(crate) fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.clone()
    }

    /// Notifies of every published topology.
    pub(crate) fn epochs(&self) -> watch::Receiver<Epoch> {
        self.epochs.clone()
    }

    /// Notifies of every round of probes, and within it of what is new.
    pub(crate) fn probes(&self) -> watch::Receiver<Arc<[ServerStatus]>> {
        self.servers.clone()
    }

    /// Reads both files and serves them, or changes nothing and says all their faults. The lines tell what changed.
    /// Reloads run one after the other. Cancelling stops the waiting, not the reload.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, Faults> {
        let stopping = || Faults(vec![Fault::of_file(&self.settings_file, "the proxy is stopping")]);
        let (reply, outcome) = oneshot::channel();
        self.orders.send(Order::Reload(reply)).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// Reads the schema again and waits until it is published, at most [`REFRESH_WAIT_MAX`].
    pub(crate) async fn refresh_schema(&self) {
        let (reply, published) = oneshot::channel();
        let refreshed = async {
            if self.orders.send(Order::Refresh(reply)).await.is_ok() {
                // An error means that the proxy stops.
                drop(published.await);
            }
        };
        if tokio::time::timeout(REFRESH_WAIT_MAX, refreshed).await.is_err() {
            tracing::warn!(waited = ?REFRESH_WAIT_MAX, "the schema is still being read");
        }
    }

    /// Every server of the map as the last probe saw it, in the order of the map.
    pub(crate) fn servers(&self) -> Vec<ServerStatus> {
        let seen = Arc::clone(&self.servers.borrow());
        let seen: HashMap<&ServerName, &ServerStatus> =
            seen.iter().map(|status| (&status.server, status)).collect();
        let topology = self.topology.load();
        let servers = topology.shards.iter().flat_map(|shard| {
            shard.servers().map(move |(role, server)| ServerStatus {
                shard: shard.name.clone(),
                server: server.name.clone(),
                role,
                reachable: false,
                version: None,
                sql_mode: None,
                lag_seconds: None,
                read_only: None,
                position: None,
                last_error: None,
                standing: shard.words_on(&server.name),
                since: None,
            })
        });
        servers
            .map(|unknown| match seen.get(&unknown.server) {
                Some(status) => {
                    let ServerStatus { shard, role, standing, .. } = unknown;
                    ServerStatus { shard, role, standing, ..(*status).clone() }
                }
                None => unknown,
            })
            .collect()
    }

    /// Takes the names of servers that somebody met a fault of: they are asked at once.
    pub(crate) fn suspects(&self) -> mpsc::Sender<ServerName> {
        self.suspects.clone()
    }

    /// Makes a replica the primary of its shard. Cancelling stops the waiting, not the switchover.
    pub(crate) async fn switch_over(&self, shard: &str, target: &str) -> Result<String, SwitchoverError> {
        let switchover = Switchover {
            topology: self.topology.clone(),
            settings: self.settings.clone(),
            holds: self.holds.clone(),
            suspects: self.suspects.clone(),
        };
        let (shard, target) = (shard.to_owned(), target.to_owned());
        let (reply, outcome) = oneshot::channel();
        self.scope.spawn("switchover", async move {
            let outcome = switchover.run(&shard, &target).await;
            match &outcome {
                Ok(message) => tracing::warn!(message, "switchover"),
                Err(error) => tracing::error!(%error, shard, target, "switchover"),
            }
            // Whoever gave up waiting finds the outcome in the log.
            drop(reply.send(outcome));
        });
        outcome.await.unwrap_or_else(|_| Err(SwitchoverError::Halfway("the proxy is stopping".to_owned())))
    }

    /// The map that is served.
    pub(crate) fn map(&self) -> MapStatus {
        let topology = self.topology.load();
        MapStatus {
            version: topology.version,
            epoch: topology.epoch,
            content_hash: topology.content_hash,
            loaded_at: *self.loaded_at.borrow(),
            file: self.settings.borrow().map.clone(),
        }
    }

    /// What clients are to see as the server's version: the lowest of the fleet.
    pub(crate) fn fleet_version(&self) -> String {
        fleet_version(&self.servers.borrow(), &self.settings.borrow().control.server_version)
    }

    /// The global sql_mode of the servers, by which sessions read statements until they set their own; that of the first
    /// server seen, since a fleet whose servers read differently cannot be routed at all.
    pub(crate) fn fleet_sql_mode(&self) -> String {
        let servers = self.servers.borrow();
        let mut modes = servers.iter().filter_map(|status| status.sql_mode.as_deref());
        modes.next().unwrap_or_default().to_owned()
    }

    /// Prepared branches as the last round of recovery saw them.
    pub(crate) fn in_doubt(&self) -> Arc<[InDoubt]> {
        self.in_doubt.borrow().clone().unwrap_or_else(|| Arc::from(Vec::new()))
    }

    pub(crate) fn recovered(&self) -> &Arc<Recovered> {
        &self.recovered
    }

    /// Ends the branches of a transaction: as it was decided, or `forced` to be committed or rolled back where nobody can say.
    pub(crate) async fn resolve(&self, id: &str, forced: Option<bool>) -> Result<String, ClientError> {
        let unknown = || ClientError::new("SW1503", format!("{id:?} is no id of a transaction"));
        let parsed = GlobalId::parse(id).ok_or_else(unknown)?;
        let forced = forced.map(|commit| if commit { Decision::Commit } else { Decision::Abort });
        let stopping = || ClientError::new("SW1501", "Server shutdown in progress");
        let (reply, outcome) = oneshot::channel();
        self.resolving.send(Resolve { id: parsed, forced, reply }).await.map_err(|_| stopping())?;
        match outcome.await.map_err(|_| stopping())? {
            Ok(ended) => Ok(format!("{ended} branches of transaction {id} have ended")),
            Err(error) => Err(ClientError::new("SW1311", format!("transaction {id}: {error}"))),
        }
    }

    /// Waits for the first round of recovery: until then the table of decisions may be missing. Cancel safe.
    pub(crate) async fn until_recovering(&self) {
        let mut found = self.in_doubt.clone();
        // An error means that the proxy stops.
        drop(found.wait_for(Option::is_some).await);
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Whether the first reading of the schema was tried, successfully or not.
    pub(crate) fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until every primary of the map was probed, whether it answered or not: until then nobody knows how the fleet
    /// reads statements. Cancel safe.
    pub(crate) async fn until_probed(&self) {
        let mut servers = self.servers.clone();
        let probed = |seen: &Arc<[ServerStatus]>| {
            let seen: HashSet<&ServerName> = seen.iter().map(|status| &status.server).collect();
            self.topology.load().shards.iter().all(|shard| seen.contains(&shard.primary.name))
        };
        // An error means that the proxy stops.
        drop(servers.wait_for(probed).await);
    }

    /// Waits for [`Control::ready`]. Cancel safe.
    pub(crate) async fn until_ready(&self) {
        let mut ready = self.ready.clone();
        // An error means that the proxy stops.
        drop(ready.wait_for(|ready| *ready).await);
    }
}
