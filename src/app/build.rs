//! Constructs every part in layer order and connects them; stops them in reverse.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::follow::{self, Follower};
use super::reload::Reloading;
use super::run::AppError;
use super::{bridge, sources};
use crate::admin::{self, Operator};
use crate::backend::{PoolSet, Suspects};
use crate::config::{Loaded, Settings};
use crate::control::Control;
use crate::executor::Call;
use crate::executor::metrics::ExecutorMetrics;
use crate::http::{self, PlanCacheCounts, ReloadMetrics};
use crate::listener::{ArrivalError, accept, client_address, load_certificate};
use crate::planner::PlanCache;
use crate::session::metrics::SessionMetrics;
use crate::session::{self, Gate, Orders, Registry, Shared, Waits};
use crate::task::{Reactors, Scope};
use crate::telemetry::{MetricRegistry, logging, register_process};
use crate::topology::TopologyHandle;
use crate::transaction::{Failpoint, Numbering};

/// Orders that may wait; sessions wait behind them.
const ORDERS_MAX: usize = 64;
/// How much longer than one answer of a probe the start waits for the first probes.
const PROBE_GRACE: Duration = Duration::from_millis(500);
/// How long parts without clients get to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) mysql: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
}

/// The running proxy.
pub(super) struct Parts {
    pub(super) addresses: Addresses,
    pub(super) topology: TopologyHandle,
    reloading: Reloading,
    pools: Arc<PoolSet>,
    shared: Arc<Shared>,
    accepting: CancellationToken,
    reactors: Arc<Reactors>,
    clients: Scope,
    data: Scope,
    root: Scope,
}

/// Clients are accepted and pools kept by the runtime that this runs on, sessions served by the reactors, operators and the control plane by
/// `operations`: neither statements nor slow clients keep a probe or a scrape waiting.
pub(super) async fn build(
    config: PathBuf,
    loaded: Loaded,
    reactors: Arc<Reactors>,
    operations: runtime::Handle,
) -> Result<Parts, AppError> {
    let settings = loaded.settings.clone();
    let logs = logging::init(&settings.log)?;
    let started = Instant::now();
    // Pools connect on behalf of both planes; whoever borrows a connection takes its socket along.
    let (data, root) = (Scope::on(runtime::Handle::current()), Scope::on(operations.clone()));
    let metrics = MetricRegistry::new();
    register_process(&metrics);
    let listening = Listening::bind(&settings, &operations)?;
    let addresses = listening.addresses;
    let certificate = settings.tls.as_ref().map(load_certificate).transpose()?;

    let control = Arc::new(Control::start(&root, loaded, config));
    let known =
        async { tokio::join!(control.until_ready(), control.until_probed(), control.until_recovering()) };
    if tokio::time::timeout(settings.control.probe_timeout + PROBE_GRACE, known).await.is_err() {
        tracing::warn!("not every shard told its tables and its version yet; serving all the same");
    }
    let pools =
        PoolSet::new(settings.pool.clone(), data.child(), &metrics, Suspects::new(control.suspects()));
    pools.follow(&control.topology().load());
    let (fleet_out, fleet) =
        watch::channel(follow::fleet(&control.fleet_version(), &control.fleet_sql_mode()));
    let (orders, taken) = orders();
    let gate = Gate::new(follow::gate_rules(&settings, &fleet.borrow(), certificate.clone()))?;
    let shared = Arc::new(Shared {
        topology: control.topology(),
        epochs: control.epochs(),
        waits: Waits::default(),
        plans: PlanCache::new(settings.limits.plans_max),
        seed: RandomState::new().hash_one(started),
        pools: Arc::clone(&pools),
        registry: Arc::new(Registry::default()),
        settings: control.settings(),
        gate,
        orders,
        fleet,
        failpoint: Failpoint::from_environment(),
        transactions: Numbering::new(RandomState::new().hash_one(started)),
        metrics: SessionMetrics::register(&metrics),
        executor_metrics: ExecutorMetrics::register(&metrics),
        draining: CancellationToken::new(),
        scope: data.child(),
    });
    let (applied_out, applied) = watch::channel(control.settings().borrow().clone());
    let reloading = Reloading::new(Arc::clone(&control), applied, ReloadMetrics::register(&metrics));
    let follower = Follower {
        control: Arc::clone(&control),
        pools: Arc::clone(&pools),
        shared: Arc::clone(&shared),
        fleet: fleet_out,
        applied: applied_out,
        logs,
        certificate,
    };
    root.spawn_lasting("follower", follower.run(root.token().clone()));
    root.spawn_lasting("weight orders", bridge::weights(taken.weights, Arc::clone(&control), root.child()));
    root.spawn_lasting("schema orders", bridge::schema(taken.schema, Arc::clone(&control), root.child()));

    let operator = Operator::new(sources::of_admin(&control, &pools, &shared, reloading.clone()));
    root.spawn_lasting("orders", admin::operate(taken.operator, operator.clone(), root.child()));
    if let Some(listener) = listening.admin {
        root.spawn_lasting("admin", admin::serve(listener, operator, root.child()));
    }
    let sources = sources::of_http(&control, &pools, &shared, metrics.clone(), started);
    http::register_fleet(&sources);
    let plans = Arc::clone(&shared);
    http::register_plan_cache(&metrics, move || PlanCacheCounts {
        hits: plans.plans.hits(),
        misses: plans.plans.misses(),
        plans: plans.plans.len() as u64,
    });
    if let Some(listener) = listening.http {
        root.spawn_lasting("http", http::serve(listener, sources, root.child()));
    }
    let clients = Scope::new();
    let accepting = CancellationToken::new();
    let serving = serve_clients(
        listening.mysql,
        accepting.clone(),
        (clients.clone(), Arc::clone(&reactors)),
        Arc::clone(&shared),
    );
    let stop = data.token().clone();
    data.spawn_lasting("accept", async move {
        // Ends before the scope when the proxy drains.
        serving.await;
        stop.cancelled().await;
    });
    let topology = control.topology();
    Ok(Parts { addresses, topology, reloading, pools, shared, accepting, reactors, clients, data, root })
}

impl Parts {
    pub(super) async fn reload(&self) {
        // The control plane has logged the difference or the faults.
        drop(self.reloading.reload().await);
    }

    /// Waits for a task to end without which the proxy is of no use; its name.
    pub(super) async fn lost(&self) -> &'static str {
        tokio::select! {
            task = self.root.lost() => task,
            task = self.data.lost() => task,
        }
    }

    /// As of the last reload.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.shared.settings.borrow().limits.drain_timeout
    }

    /// How many clients there are.
    pub(super) fn sessions(&self) -> usize {
        self.shared.registry.len()
    }

    /// Stops accepting and waits for sessions to end on their own; those that are left after `deadline` are ended. False when
    /// there were some.
    pub(super) async fn drain(&self, deadline: Duration) -> bool {
        self.accepting.cancel();
        self.shared.draining.cancel();
        self.shared.registry.raise(Call::Drain);
        self.clients.finished(deadline).await
    }

    pub(super) async fn stop(self) {
        self.accepting.cancel();
        self.shared.draining.cancel();
        self.shared.registry.raise(Call::EndSession);
        if !self.clients.stop(STOP_TIMEOUT).await {
            tracing::warn!(sessions = self.sessions(), "sessions did not end in time");
        }
        // KILL QUERY for what their clients left running.
        if !self.shared.scope.finished(STOP_TIMEOUT).await {
            tracing::warn!("statements may still run on servers");
        }
        self.pools.close();
        for (plane, scope) in [("data", &self.data), ("operations", &self.root)] {
            if !scope.stop(STOP_TIMEOUT).await {
                tracing::warn!(plane, tasks = scope.len(), "tasks did not end in time");
            }
        }
        // Sessions lived there.
        drop(self.reactors);
    }
}

/// The sockets, bound before anything else is started.
struct Listening {
    addresses: Addresses,
    mysql: TcpListener,
    admin: Option<TcpListener>,
    http: Option<TcpListener>,
}

impl Listening {
    /// A socket is driven by the runtime that it was bound on.
    fn bind(settings: &Settings, operations: &runtime::Handle) -> Result<Listening, AppError> {
        let listen = &settings.listen;
        let mysql = bind("clients", listen.mysql, listen.backlog)?;
        let _operations = operations.enter();
        let admin = listen.admin.map(|address| bind("admin", address, listen.backlog)).transpose()?;
        let http = listen.http.map(|address| bind("http", address, listen.backlog)).transpose()?;
        let address = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let addresses = Addresses {
            mysql: address(&mysql, listen.mysql),
            admin: admin.as_ref().zip(listen.admin).map(|(listener, asked)| address(listener, asked)),
            http: http.as_ref().zip(listen.http).map(|(listener, asked)| address(listener, asked)),
        };
        Ok(Listening { addresses, mysql, admin, http })
    }
}

fn bind(what: &'static str, address: SocketAddr, backlog: u32) -> Result<TcpListener, AppError> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    };
    bind().map_err(|cause| AppError::Listen { what, address, cause })
}

async fn serve_clients(
    listener: TcpListener,
    stop: CancellationToken,
    (clients, reactors): (Scope, Arc<Reactors>),
    shared: Arc<Shared>,
) {
    let limits = shared.settings.clone();
    let serving = Arc::clone(&shared);
    accept(
        listener,
        stop,
        (clients, &reactors),
        move || limits.borrow().limits.clients_max,
        move |stream: TcpStream, peer, permit| {
            let shared = Arc::clone(&serving);
            async move {
                serve_client(shared, stream, peer).await;
                drop(permit);
            }
        },
        move |stream| session::refuse_for_limit(Arc::clone(&shared), stream),
    )
    .await;
}

/// Serves whoever is at the other end, when a load balancer opened the connection.
async fn serve_client(shared: Arc<Shared>, mut stream: TcpStream, peer: SocketAddr) {
    let arrived = {
        let settings = Arc::clone(&shared.settings.borrow());
        let limit = settings.limits.handshake_timeout;
        tokio::select! {
            arrived = client_address(&mut stream, peer, &settings.listen.proxy_protocol, limit) => arrived,
            () = shared.draining.cancelled() => return,
        }
    };
    match arrived {
        Ok(client) => session::serve(shared, stream, client).await,
        Err(ArrivalError::Gone(error)) => tracing::debug!(%peer, %error, "closed before its PROXY header"),
        Err(error @ (ArrivalError::Bad(_) | ArrivalError::Timeout { .. })) => {
            tracing::warn!(%peer, %error, "a connection without its PROXY header");
            session::refuse_unannounced(&shared, stream, error.to_string()).await;
        }
    }
}

/// What the control plane takes from the sessions' channels.
struct OrdersTaken {
    operator: mpsc::Receiver<session::Order>,
    weights: mpsc::Receiver<session::WeightOrder>,
    schema: mpsc::Receiver<session::SchemaOrder>,
}

fn orders() -> (Orders, OrdersTaken) {
    let (operator, operators) = mpsc::channel(ORDERS_MAX);
    let (weights, weighed) = mpsc::channel(ORDERS_MAX);
    let (schema, schemas) = mpsc::channel(ORDERS_MAX);
    (
        Orders { operator, weights, schema },
        OrdersTaken { operator: operators, weights: weighed, schema: schemas },
    )
}
