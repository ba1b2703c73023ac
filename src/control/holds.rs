//! Shards whose writes wait by order.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::topology::ShardName;

/// The shards that are held; shared by those who hold and those who look.
#[derive(Debug, Clone)]
pub(super) struct Holds(Arc<watch::Sender<BTreeSet<ShardName>>>);

/// A shard is held until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    holds: Holds,
    shard: ShardName,
}

impl Holds {
    pub(super) fn new() -> Holds {
        Holds(Arc::new(watch::Sender::new(BTreeSet::new())))
    }

    pub(super) fn watch(&self) -> watch::Receiver<BTreeSet<ShardName>> {
        self.0.subscribe()
    }

    /// `None` when somebody holds it.
    pub(super) fn hold(&self, shard: &ShardName) -> Option<Held> {
        let mut new = false;
        self.0.send_modify(|held| new = held.insert(shard.clone()));
        new.then(|| Held { holds: self.clone(), shard: shard.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holds.0.send_modify(|held| {
            held.remove(&self.shard);
        });
    }
}
