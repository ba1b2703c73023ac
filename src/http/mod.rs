//! For machines and browsers: `/metrics`, `/healthz`, `/readyz` and a status page. Reads the state of the proxy by
//! handles and closures that `app` builds, and changes nothing.
//!
//! * `serve` — the listener under its limits and the routes.
//! * `page` — the status page as HTML.
//! * `metrics` — metrics of map, servers and plan cache, read at each scrape.

mod metrics;
mod page;
mod serve;

use std::sync::Arc;
use std::time::Instant;

use crate::backend::PoolStatus;
use crate::control::{InDoubt, MapStatus, Recovered, ServerStatus};
use crate::session::Registry;
use crate::telemetry::MetricRegistry;
use crate::topology::TopologyHandle;

pub(crate) use metrics::{PlanCacheCounts, ReloadMetrics, register_fleet, register_plan_cache};
pub(crate) use serve::serve;

/// Where the answers come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) metrics: MetricRegistry,
    pub(crate) topology: TopologyHandle,
    pub(crate) sessions: Arc<Registry>,
    pub(crate) pools: Arc<dyn Fn() -> Vec<PoolStatus> + Send + Sync>,
    pub(crate) servers: Arc<dyn Fn() -> Vec<ServerStatus> + Send + Sync>,
    pub(crate) map: Arc<dyn Fn() -> MapStatus + Send + Sync>,
    pub(crate) in_doubt: Arc<dyn Fn() -> Arc<[InDoubt]> + Send + Sync>,
    pub(crate) recovered: Arc<Recovered>,
    /// Why the proxy should get no traffic; ready when there is no reason.
    pub(crate) not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    pub(crate) started: Instant,
}

#[cfg(test)]
mod tests;
