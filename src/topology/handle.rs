//! The published topology: any number of readers, one publisher.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::id::Epoch;
use super::snapshot::Topology;

/// Reads the published topology. Load once per statement and use that snapshot to its end.
#[derive(Debug, Clone)]
pub(crate) struct TopologyHandle {
    current: Arc<ArcSwap<Topology>>,
}

impl TopologyHandle {
    pub(crate) fn load(&self) -> Arc<Topology> {
        self.current.load_full()
    }
}

/// The right to publish: not `Clone`, so that there is one writer.
#[derive(Debug)]
pub(crate) struct Publisher {
    current: Arc<ArcSwap<Topology>>,
    epoch: Epoch,
}

impl Publisher {
    /// Publishes `topology` under the next epoch and gives back what was published.
    pub(crate) fn replace(&mut self, mut topology: Topology) -> Arc<Topology> {
        self.epoch = Epoch(self.epoch.0 + 1);
        topology.epoch = self.epoch;
        let published = Arc::new(topology);
        self.current.store(Arc::clone(&published));
        published
    }

    pub(crate) fn current(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    pub(crate) fn handle(&self) -> TopologyHandle {
        TopologyHandle { current: Arc::clone(&self.current) }
    }
}

/// Publishes the first topology, epoch 1.
pub(crate) fn publish(mut first: Topology) -> (Publisher, TopologyHandle) {
    first.epoch = Epoch(1);
    let current = Arc::new(ArcSwap::from_pointee(first));
    let publisher = Publisher { current: Arc::clone(&current), epoch: Epoch(1) };
    let handle = publisher.handle();
    (publisher, handle)
}
