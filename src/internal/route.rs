//! The path of a statement from its bytes to its shards, without servers: for the bench, with a cache of plans, and for fuzzing.

use std::path::Path;
use std::sync::Arc;

use crate::cli::explain::Explainer;
use crate::planner::{Plan, PlanCache, PlanKey, Request, Routing, plan};
use crate::router::{LineSplitter, Part, RouteError, SessionView, WeightCache, facts, print, route};
use crate::sql::{Context, Statement};
use crate::topology::Topology;

const LINE_BYTES_MAX: usize = 1 << 16;

/// One session over one map.
pub struct HotPath {
    topology: Topology,
    context: Context,
    plans: PlanCache,
    weights: WeightCache,
    statement: Statement,
}

impl HotPath {
    pub fn new(map_file: &Path, columns: &str) -> Result<HotPath, String> {
        let (topology, context) = Explainer::new(map_file, columns)?.into_parts();
        Ok(HotPath {
            topology,
            context,
            plans: PlanCache::new(1000),
            weights: WeightCache::default(),
            statement: Statement::seeded(1),
        })
    }

    /// Scan, plan (from the cache, if it is there) and route; the number of shards.
    pub fn route(&mut self, text: &[u8], database: &str) -> usize {
        match self.decide(text, database) {
            Some((_, Ok(Part::Many(targets)))) => targets.len(),
            Some((_, Ok(Part::Any | Part::One(_) | Part::Nowhere))) => 1,
            Some((_, Err(_))) | None => 0,
        }
    }

    /// As `route`; checks that what the shards get can be read as it was meant, and that the plan of the cache leads where a new one does.
    pub fn inspect(&mut self, text: &[u8], database: &str) {
        let Some((planned, routed)) = self.decide(text, database) else { return };
        let request =
            Request { text, statement: &self.statement, context: &self.context, database: Some(database) };
        let anew = plan(&request, &self.topology);
        let view = view(&self.context, &self.weights);
        let routed_anew = route(&anew, text, &self.statement, &view, &self.topology).map(|route| route.part);
        if planned.cacheable {
            let shown = |part: &Result<Part, RouteError>| format!("{part:?}");
            assert_eq!(shown(&routed), shown(&routed_anew), "a plan serves every text of its fingerprint");
        }
        let printed = print(&facts(text, Some(database), &view, &self.topology));
        assert!(!printed.is_empty(), "every plan can be printed");
        let Ok(Part::Many(targets)) = routed else { return };
        assert!(targets.windows(2).all(|pair| pair[0].shard < pair[1].shard), "in the order of shards");
        for text in targets.iter().filter_map(|target| target.text.as_deref()) {
            let mut own = Statement::seeded(1);
            assert!(
                own.scan(text, &self.context).is_ok(),
                "a shard's text is whole: {}",
                text.escape_ascii()
            );
            assert_eq!(own.kind, self.statement.kind, "and does what was asked: {}", text.escape_ascii());
            assert_eq!(own.next, None, "and nothing else: {}", text.escape_ascii());
        }
    }

    /// Shares out a file in pieces of `cut` bytes: what each shard gets, or why the file is refused. `None` where the statement
    /// splits none.
    pub fn share_out(
        &mut self,
        load: &[u8],
        database: &str,
        file: &[u8],
        cut: usize,
    ) -> Option<Result<Vec<Vec<u8>>, String>> {
        let (planned, _) = self.decide(load, database)?;
        let Routing::Lines(lines) = &planned.routing else { return None };
        let shards = self.topology.shards.iter().map(|shard| shard.id).collect();
        let charset = "utf8mb4".to_owned();
        let mut splitter =
            LineSplitter::new(lines, shards, charset, &self.context, &self.topology, LINE_BYTES_MAX);
        let pushed = file.chunks(cut.max(1)).try_for_each(|piece| splitter.push(piece));
        let ended = pushed.and_then(|()| splitter.finish());
        Some(ended.map(|()| splitter.shares().to_vec()).map_err(|error| error.to_string()))
    }

    fn decide(&mut self, text: &[u8], database: &str) -> Option<(Arc<Plan>, Result<Part, RouteError>)> {
        self.statement.scan(text, &self.context).ok()?;
        let key =
            PlanKey::new(self.statement.fingerprint, Some(database), &self.context, self.topology.layout);
        let planned = self.plans.get(&key).unwrap_or_else(|| {
            let request = Request {
                text,
                statement: &self.statement,
                context: &self.context,
                database: Some(database),
            };
            let planned = Arc::new(plan(&request, &self.topology));
            if planned.cacheable {
                self.plans.insert(key, Arc::clone(&planned));
            }
            planned
        });
        let view = view(&self.context, &self.weights);
        let routed = route(&planned, text, &self.statement, &view, &self.topology).map(|route| route.part);
        Some((planned, routed))
    }
}

fn view<'a>(context: &'a Context, weights: &'a WeightCache) -> SessionView<'a> {
    SessionView { shard: None, role: None, weights, context, charset: "utf8mb4", parameters: &[] }
}
