//! Re-exports for tests, benches and fuzz targets. Nothing here is an interface: it changes without notice.

pub mod connect;
pub mod login;
pub mod merge;
pub mod sql;

pub mod error {
    pub use crate::error::{ids, page};
}

/// The header of the PROXY protocol.
pub mod arrival {
    pub use crate::listener::{BadHeader, Header, Progress, decode_proxy_header as decode};
}

pub mod wire {
    pub use crate::wire::*;
}

pub mod config {
    use std::path::Path;

    /// Everything that is wrong with a settings file and the map that it names.
    pub fn faults(settings_file: &Path, environment: &dyn Fn(&str) -> Option<String>) -> String {
        crate::config::load_with(settings_file, environment)
            .err()
            .map_or(String::new(), |faults| faults.to_string())
    }
}

/// Local servers for tests and benches.
pub mod local {
    pub use crate::cli::demo::*;
}

/// Plans in words.
pub mod plans {
    pub use crate::cli::explain::Explainer;
}

/// The path of a statement whose plan is cached.
pub mod route {
    use std::path::Path;
    use std::sync::Arc;

    use crate::cli::explain::Explainer;
    use crate::planner::{PlanCache, PlanKey, Request, plan};
    use crate::router::{Part, SessionView, WeightCache, route};
    use crate::sql::{Context, Statement};
    use crate::topology::Topology;

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
            if self.statement.scan(text, &self.context).is_err() {
                return 0;
            }
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
                self.plans.insert(key, Arc::clone(&planned));
                planned
            });
            let view = SessionView {
                shard: None,
                role: None,
                weights: &self.weights,
                context: &self.context,
                charset: "utf8mb4",
                parameters: &[],
            };
            match route(&planned, text, &self.statement, &view, &self.topology).map(|route| route.part) {
                Ok(Part::Many(targets)) => targets.len(),
                Ok(Part::Any | Part::One(_) | Part::Nowhere) => 1,
                Err(_) => 0,
            }
        }
    }
}
