//! Metrics of what other parts know anyway: the map, the servers, the plan cache. Nothing keeps a gauge in step; the
//! values are read when Prometheus asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::IntCounter;

use super::Sources;
use crate::telemetry::MetricRegistry;
use crate::telemetry::metrics::{counter_at_scrape, counters, gauges_at_scrape};
use crate::topology::Role;

/// Counts of the plan cache since the process started, and how many plans it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlanCacheCounts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) plans: u64,
}

/// How reloads ended; counted by who carries them out.
#[derive(Debug, Clone)]
pub(crate) struct ReloadMetrics {
    applied: IntCounter,
    refused: IntCounter,
}

impl ReloadMetrics {
    pub(crate) fn register(registry: &MetricRegistry) -> ReloadMetrics {
        let reloads = counters(
            registry,
            "shardway_reloads_total",
            "Reloads of the two files, by how they ended.",
            &["result"],
        );
        ReloadMetrics {
            applied: reloads.with_label_values(&["applied"]),
            refused: reloads.with_label_values(&["refused"]),
        }
    }

    pub(crate) fn applied(&self) {
        self.applied.inc();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}

/// Registers the metrics of map and servers in the registry of `sources`.
pub(crate) fn register_fleet(sources: &Sources) {
    let registry = &sources.metrics;
    let topology = sources.topology.clone();
    gauges_at_scrape(
        registry,
        "shardway_map_version",
        "Version of the map that is served.",
        &[],
        move |gauge| {
            gauge.with_label_values::<&str>(&[]).set(topology.load().version.0 as f64);
        },
    );
    let topology = sources.topology.clone();
    gauges_at_scrape(registry, "shardway_map_epoch", "Topologies published so far.", &[], move |gauge| {
        gauge.with_label_values::<&str>(&[]).set(topology.load().epoch.0 as f64);
    });
    let servers = Arc::clone(&sources.servers);
    gauges_at_scrape(
        registry,
        "shardway_server_up",
        "Whether the last probe reached the server.",
        &["shard", "server", "role"],
        move |gauges| {
            for status in servers() {
                let labels = [&*status.shard.0, &*status.server.0, role_label(status.role)];
                gauges.with_label_values(&labels).set(f64::from(u8::from(status.reachable)));
            }
        },
    );
    let servers = Arc::clone(&sources.servers);
    gauges_at_scrape(
        registry,
        "shardway_replica_lag_seconds",
        "How far a replica is behind its primary, where it could be measured.",
        &["shard", "server"],
        move |gauges| {
            for status in servers() {
                if let Some(lag) = status.lag_seconds {
                    gauges.with_label_values(&[&*status.shard.0, &*status.server.0]).set(lag);
                }
            }
        },
    );
    let in_doubt = Arc::clone(&sources.in_doubt);
    gauges_at_scrape(
        registry,
        "shardway_prepared_branches",
        "Branches of transactions over several shards that the last look found prepared.",
        &["shard"],
        move |gauges| {
            for branch in in_doubt().iter() {
                gauges.with_label_values(&[&*branch.shard.0]).inc();
            }
        },
    );
    let in_doubt = Arc::clone(&sources.in_doubt);
    gauges_at_scrape(
        registry,
        "shardway_prepared_branch_age_seconds",
        "For how long the oldest prepared branch has been seen; 0 without one.",
        &[],
        move |gauge| {
            let oldest = in_doubt().iter().map(|branch| branch.age).max().unwrap_or_default();
            gauge.with_label_values::<&str>(&[]).set(oldest.as_secs_f64());
        },
    );
    let recovered = Arc::clone(&sources.recovered);
    gauges_at_scrape(
        registry,
        "shardway_recovered_branches",
        "Branches that this process has ended for proxies that were gone, since it started.",
        &["outcome"],
        move |gauges| {
            let counts = [("committed", &recovered.committed), ("rolled_back", &recovered.rolled_back)];
            for (outcome, count) in counts {
                gauges.with_label_values(&[outcome]).set(count.load(Ordering::Relaxed) as f64);
            }
        },
    );
    let not_ready = Arc::clone(&sources.not_ready);
    gauges_at_scrape(
        registry,
        "shardway_ready",
        "Whether the proxy should get traffic.",
        &[],
        move |gauge| {
            gauge.with_label_values::<&str>(&[]).set(f64::from(u8::from(not_ready().is_empty())));
        },
    );
}

/// Registers the metrics of the plan cache, read by `counts`.
pub(crate) fn register_plan_cache(
    registry: &MetricRegistry,
    counts: impl Fn() -> PlanCacheCounts + Send + Sync + Clone + 'static,
) {
    let hits = counts.clone();
    counter_at_scrape(
        registry,
        "shardway_plan_cache_hits_total",
        "Statements whose plan was there.",
        move || hits().hits as f64,
    );
    let misses = counts.clone();
    counter_at_scrape(
        registry,
        "shardway_plan_cache_misses_total",
        "Statements that had to be planned.",
        move || misses().misses as f64,
    );
    gauges_at_scrape(registry, "shardway_plan_cache_plans", "Plans in the cache.", &[], move |gauge| {
        gauge.with_label_values::<&str>(&[]).set(counts().plans as f64);
    });
}

fn role_label(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    }
}
