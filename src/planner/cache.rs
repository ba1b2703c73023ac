//! Plans by fingerprint, bounded in number. A hit allocates nothing: the key is made of numbers, the database's name is
//! mixed into a hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::physical::Plan;
use crate::sql::Context;

/// Everything that a plan depends on. Role and shard chosen by session or hint are not here: plans do not depend on them,
/// the router applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    /// Of statement and database together.
    identity: u128,
    context: Context,
    layout: u64,
}

impl PlanKey {
    /// `layout` is that of the topology the plan is made and used on.
    pub(crate) fn new(fingerprint: u128, database: Option<&str>, context: &Context, layout: u64) -> PlanKey {
        let identity = match database {
            // No name hashes to the fingerprint itself: the seed differs from that of every name.
            None => fingerprint,
            Some(name) => {
                let name = xxh3_128_with_seed(name.as_bytes(), layout | 1);
                mix(fingerprint, name)
            }
        };
        PlanKey { identity, context: *context, layout }
    }
}

/// One 128-bit number of two: not symmetric, so that statement and database cannot be swapped.
fn mix(left: u128, right: u128) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&left.to_le_bytes());
    bytes[16..].copy_from_slice(&right.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

/// The cache, shared by all sessions.
pub(crate) struct PlanCache {
    plans: quick_cache::sync::Cache<PlanKey, Arc<Plan>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl PlanCache {
    /// At most about `plans_max` plans are kept.
    pub(crate) fn new(plans_max: usize) -> PlanCache {
        PlanCache {
            plans: quick_cache::sync::Cache::new(plans_max.max(1)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, key: &PlanKey) -> Option<Arc<Plan>> {
        let found = self.plans.get(key);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps the plan, unless it is of use for its one text only.
    pub(crate) fn insert(&self, key: PlanKey, plan: Arc<Plan>) {
        if plan.cacheable {
            self.plans.insert(key, plan);
        }
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Plans held now.
    pub(crate) fn len(&self) -> usize {
        self.plans.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{Routing, ShardColumn, Verb};
    use crate::sql::{Charset, Flavor, SqlMode};

    fn context() -> Context {
        Context {
            mode: SqlMode::default(),
            charset: Charset::AsciiSafe,
            flavor: Flavor::MySql,
            server_version: 80_400,
        }
    }

    fn plan() -> Plan {
        Plan::new(Verb::Read, Routing::Anywhere, "no-table", "")
    }

    #[test]
    fn a_plan_is_found_under_all_that_it_depends_on_and_under_nothing_else() {
        let cache = PlanCache::new(100);
        let key = PlanKey::new(7, Some("shop"), &context(), 1);
        cache.insert(key, Arc::new(plan()));
        assert!(cache.get(&PlanKey::new(7, Some("shop"), &context(), 1)).is_some());
        let ansi = Context { mode: SqlMode { ansi_quotes: true, ..SqlMode::default() }, ..context() };
        let gbk = Context { charset: Charset::Gbk, ..context() };
        let maria = Context { flavor: Flavor::MariaDb, ..context() };
        let newer = Context { server_version: 90_000, ..context() };
        for other in [
            PlanKey::new(8, Some("shop"), &context(), 1),
            PlanKey::new(7, Some("Shop"), &context(), 1),
            PlanKey::new(7, None, &context(), 1),
            PlanKey::new(7, Some(""), &context(), 1),
            PlanKey::new(7, Some("shop"), &context(), 2),
            PlanKey::new(7, Some("shop"), &ansi, 1),
            PlanKey::new(7, Some("shop"), &gbk, 1),
            PlanKey::new(7, Some("shop"), &maria, 1),
            PlanKey::new(7, Some("shop"), &newer, 1),
        ] {
            assert!(cache.get(&other).is_none(), "{other:?}");
        }
        assert_eq!((cache.hits(), cache.misses()), (1, 9));
    }

    #[test]
    fn a_plan_with_offsets_into_its_text_is_not_kept() {
        let cache = PlanCache::new(100);
        let key = PlanKey::new(7, None, &context(), 1);
        let column = ShardColumn { span: 7..13, needs_alias: true };
        cache.insert(key, Arc::new(Plan { shard_columns: vec![column], cacheable: false, ..plan() }));
        assert!(cache.get(&key).is_none());
    }

    #[test]
    fn the_number_of_plans_is_bounded() {
        let cache = PlanCache::new(50);
        for fingerprint in 0..10_000 {
            cache.insert(PlanKey::new(fingerprint, None, &context(), 1), Arc::new(plan()));
        }
        assert!(cache.len() <= 100, "{}", cache.len());
    }
}
