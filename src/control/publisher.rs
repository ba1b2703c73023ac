//! The task that owns the right to publish: facts come in over a channel, topologies go out.

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::topology::{Columns, Epoch, Publisher, Topology};

/// What changes the topology.
#[derive(Debug)]
pub(super) enum Fact {
    /// The servers' table definitions were read.
    Schema { columns: Columns, published: oneshot::Sender<()> },
    /// Another map is to be served, with the columns of its tables as far as they are known.
    Map { base: Box<Topology>, columns: Columns, published: oneshot::Sender<()> },
}

/// Publishes until the token is cancelled. `base` is the map's topology without columns.
pub(super) async fn run(
    token: CancellationToken,
    mut publisher: Publisher,
    mut base: Topology,
    mut facts: mpsc::Receiver<Fact>,
    epochs: watch::Sender<Epoch>,
) {
    let mut current = Columns::default();
    loop {
        let fact = tokio::select! {
            fact = facts.recv() => fact,
            () = token.cancelled() => None,
        };
        let (published, changed) = match fact {
            None => return,
            Some(Fact::Schema { columns, published }) => {
                let changed = columns != current;
                current = columns;
                (published, changed)
            }
            Some(Fact::Map { base: next, columns, published }) => {
                base = *next;
                current = columns;
                (published, true)
            }
        };
        if changed {
            let (topology, problems) = base.with_columns(&current);
            for problem in problems {
                tracing::warn!(problem, "a table cannot be routed");
            }
            let topology = publisher.replace(topology);
            epochs.send_replace(topology.epoch);
            tracing::info!(
                epoch = %topology.epoch,
                map_version = %topology.version,
                tables = current.tables.len(),
                "topology published"
            );
        }
        // Whoever gave up waiting does not need the word.
        let _: Result<(), ()> = published.send(());
    }
}
