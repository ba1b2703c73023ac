//! The metrics of pools. Labels are bounded: the servers of the map and closed sets of words.

use std::sync::{Arc, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::error::BackendError;
use super::pool::CloseReason;
use super::pool_set::PoolSet;
use crate::telemetry::metrics::{counter, gauge as registered_gauge};
use crate::topology::ServerName;

/// From a turn of the scheduler to the longest sensible borrow timeout.
const WAIT_SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// What every pool counts into.
#[derive(Debug, Clone)]
pub(crate) struct PoolMetrics {
    wait_seconds: HistogramVec,
    connects: IntCounterVec,
    closed: IntCounterVec,
    refused: IntCounterVec,
}

/// The metrics of one server.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    server: ServerName,
    all: PoolMetrics,
    wait_seconds: Histogram,
}

/// Prepared statements on server connections, over all servers.
#[derive(Debug, Clone)]
pub(crate) struct HandleMetrics {
    open: IntGauge,
    prepares: IntCounter,
    again: IntCounter,
    evictions: IntCounter,
}

/// Counts into nothing that anybody sees.
impl Default for HandleMetrics {
    fn default() -> HandleMetrics {
        HandleMetrics::new(&Registry::new())
    }
}

impl HandleMetrics {
    pub(crate) fn new(registry: &Registry) -> HandleMetrics {
        HandleMetrics {
            open: registered_gauge(
                registry,
                "shardway_server_prepared_statements",
                "Prepared statements that are kept on connections to servers.",
            ),
            prepares: counter(
                registry,
                "shardway_server_prepares_total",
                "Statements prepared on connections to servers.",
            ),
            again: counter(
                registry,
                "shardway_server_prepares_again_total",
                "Statements prepared again because a server had forgotten them.",
            ),
            evictions: counter(
                registry,
                "shardway_server_prepared_evictions_total",
                "Prepared statements closed on servers to make room for others.",
            ),
        }
    }

    pub(crate) fn open(&self, count: usize) {
        self.open.set(gauge(count));
    }

    pub(crate) fn prepared(&self) {
        self.prepares.inc();
    }

    pub(crate) fn prepared_again(&self) {
        self.again.inc();
    }

    pub(crate) fn evicted(&self, count: usize) {
        self.evictions.inc_by(count as u64);
    }
}

/// Counts connections and waiters when they are asked for.
struct PoolGauges {
    pools: Weak<PoolSet>,
    connections: IntGaugeVec,
    waiters: IntGaugeVec,
}

impl PoolMetrics {
    pub(crate) fn new(registry: &Registry) -> PoolMetrics {
        let wait = HistogramOpts::new(
            "shardway_pool_wait_seconds",
            "Time that statements waited for a connection; those that found one idle are not counted.",
        );
        let metrics = PoolMetrics {
            wait_seconds: HistogramVec::new(wait.buckets(WAIT_SECONDS.to_vec()), &["server"])
                .expect("a valid metric"),
            connects: counters(
                "shardway_pool_connects_total",
                "Connections opened to servers, by result.",
                &["server", "result"],
            ),
            closed: counters(
                "shardway_pool_closed_total",
                "Connections to servers closed, by reason.",
                &["server", "reason"],
            ),
            refused: counters(
                "shardway_pool_refused_total",
                "Statements that got no connection, by reason.",
                &["server", "reason"],
            ),
        };
        add(registry, Box::new(metrics.wait_seconds.clone()));
        add(registry, Box::new(metrics.connects.clone()));
        add(registry, Box::new(metrics.closed.clone()));
        add(registry, Box::new(metrics.refused.clone()));
        metrics
    }

    pub(crate) fn of(&self, server: &ServerName) -> ServerMetrics {
        ServerMetrics {
            server: server.clone(),
            all: self.clone(),
            wait_seconds: self.wait_seconds.with_label_values(&[&server.0]),
        }
    }
}

impl ServerMetrics {
    pub(crate) fn waited(&self, seconds: f64) {
        self.wait_seconds.observe(seconds);
    }

    pub(crate) fn connected(&self) {
        self.all.connects.with_label_values(&[&*self.server.0, "ok"]).inc();
    }

    pub(crate) fn connect_failed(&self, error: &BackendError) {
        self.all.connects.with_label_values(&[&*self.server.0, result_label(error)]).inc();
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.all.closed.with_label_values(&[&*self.server.0, reason.label()]).inc();
    }

    pub(crate) fn refused(&self, error: &BackendError) {
        self.all.refused.with_label_values(&[&*self.server.0, result_label(error)]).inc();
    }
}

fn result_label(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unreachable { .. } => "unreachable",
        BackendError::ConnectTimeout { .. } => "timeout",
        BackendError::LoginRefused { .. } => "login_refused",
        BackendError::Tls { .. } => "tls",
        BackendError::Protocol { .. } => "protocol",
        BackendError::BorrowTimeout { .. } => "exhausted",
        BackendError::NotConnected { last, .. } => result_label(last),
        BackendError::QueueFull { .. } => "queue_full",
        BackendError::Demoted { .. } => "demoted",
        BackendError::NoPrimary { .. } => "no_primary",
        BackendError::Lost { .. } => "lost",
        BackendError::PacketTooLarge { .. } => "packet_too_large",
        BackendError::StateRefused { .. } => "state_refused",
        BackendError::Closed { .. } => "closed",
    }
}

/// Registers the gauges that are read off the pools at each scrape.
pub(crate) fn register_gauges(registry: &Registry, pools: &Arc<PoolSet>) {
    let connections = Opts::new("shardway_pool_connections", "Connections to servers, by state.");
    let waiters = Opts::new("shardway_pool_waiters", "Statements that wait for a connection.");
    let gauges = PoolGauges {
        pools: Arc::downgrade(pools),
        connections: IntGaugeVec::new(connections, &["server", "state"]).expect("a valid metric"),
        waiters: IntGaugeVec::new(waiters, &["server"]).expect("a valid metric"),
    };
    add(registry, Box::new(gauges));
}

impl Collector for PoolGauges {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.connections.desc();
        all.extend(self.waiters.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.connections.reset();
        self.waiters.reset();
        let Some(pools) = self.pools.upgrade() else { return Vec::new() };
        for row in pools.status() {
            let server = &*row.server.0;
            let states = [
                ("idle", row.idle),
                ("lent", row.lent),
                ("connecting", row.connecting),
                ("mending", row.mending),
            ];
            for (state, count) in states {
                self.connections.with_label_values(&[server, state]).add(gauge(count));
            }
            self.waiters.with_label_values(&[server]).add(gauge(row.waiting));
        }
        let mut all = self.connections.collect();
        all.extend(self.waiters.collect());
        all
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn counters(name: &str, text: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, text), labels).expect("a valid metric")
}

/// A registry that already has the metric keeps the first: pools of a second set go uncounted rather than end the process.
fn add(registry: &Registry, collector: Box<dyn Collector>) {
    if let Err(error) = registry.register(collector) {
        tracing::warn!(%error, "a pool metric is registered twice");
    }
}
