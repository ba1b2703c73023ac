//! What the operators' doors read and order, as closures over the parts.

use std::sync::Arc;
use std::time::Instant;

use super::reload::Reloading;
use crate::backend::PoolSet;
use crate::control::Control;
use crate::error::ClientError;
use crate::router::{SessionView, WeightCache, facts};
use crate::session::Shared;
use crate::telemetry::MetricRegistry;
use crate::{admin, http};

pub(super) fn of_admin(
    control: &Arc<Control>,
    pools: &Arc<PoolSet>,
    shared: &Arc<Shared>,
    reloading: Reloading,
) -> admin::Sources {
    let (of_servers, of_map) = (Arc::clone(control), Arc::clone(control));
    let (of_branches, resolving) = (Arc::clone(control), Arc::clone(control));
    let switching = Arc::clone(control);
    let (of_pools, explaining) = (Arc::clone(pools), Arc::clone(shared));
    admin::Sources {
        topology: control.topology(),
        sessions: Arc::clone(&shared.registry),
        settings: control.settings(),
        pools: Arc::new(move || of_pools.status()),
        servers: Arc::new(move || of_servers.servers()),
        map: Arc::new(move || of_map.map()),
        in_doubt: Arc::new(move || of_branches.in_doubt()),
        resolve: Arc::new(move |id, commit| {
            let control = Arc::clone(&resolving);
            Box::pin(async move { control.resolve(&id, commit).await })
        }),
        reload: Arc::new(move || {
            let reloading = reloading.clone();
            Box::pin(async move { reloading.reload().await })
        }),
        switch_over: Arc::new(move |shard, target| {
            let switching = Arc::clone(&switching);
            Box::pin(async move {
                let switched = switching.switch_over(&shard, &target).await;
                switched.map_err(|error| ClientError::new("SW1509", error.to_string()))
            })
        }),
        explain: Arc::new(move |statement, database| explain(&explaining, statement, database)),
    }
}

fn explain(shared: &Shared, statement: &str, database: Option<&str>) -> admin::Explanation {
    let context = shared.fleet.borrow().reading();
    let weights = WeightCache::default();
    let view = SessionView {
        shard: None,
        role: None,
        weights: &weights,
        context: &context,
        charset: "utf8mb4",
        parameters: &[],
    };
    let facts = facts(statement.as_bytes(), database, &view, &shared.topology.load());
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn of_http(
    control: &Arc<Control>,
    pools: &Arc<PoolSet>,
    shared: &Arc<Shared>,
    metrics: MetricRegistry,
    started: Instant,
) -> http::Sources {
    let (of_servers, of_map, of_readiness) = (Arc::clone(control), Arc::clone(control), Arc::clone(control));
    let (of_pools, draining) = (Arc::clone(pools), shared.draining.clone());
    let (of_branches, recovered) = (Arc::clone(control), Arc::clone(control.recovered()));
    http::Sources {
        metrics,
        topology: control.topology(),
        sessions: Arc::clone(&shared.registry),
        pools: Arc::new(move || of_pools.status()),
        servers: Arc::new(move || of_servers.servers()),
        map: Arc::new(move || of_map.map()),
        in_doubt: Arc::new(move || of_branches.in_doubt()),
        recovered,
        not_ready: Arc::new(move || {
            let mut reasons = Vec::new();
            if draining.is_cancelled() {
                reasons.push("the proxy is draining".to_owned());
            }
            if !of_readiness.ready() {
                reasons.push("the schema was not read yet".to_owned());
            }
            reasons
        }),
        started,
    }
}
