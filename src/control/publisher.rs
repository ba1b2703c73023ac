//! The task that owns the right to publish: facts come in over a channel, topologies go out.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::topology::{Columns, Epoch, Publisher, ShardName, ShardRoles, Topology};

/// What changes the topology.
#[derive(Debug)]
pub(super) enum Fact {
    /// The servers' table definitions were read.
    Schema { columns: Columns, published: oneshot::Sender<()> },
    /// Another map is to be served, with the columns of its tables as far as they are known.
    Map { base: Box<Topology>, columns: Columns, published: oneshot::Sender<()> },
    /// Who is the primary of a shard and which replicas are read, as observed.
    Roles(ShardRoles),
}

/// Publishes until the token is cancelled. `base` is the map's topology without columns: what is wanted. What is observed is laid
/// over it and never becomes part of it.
pub(super) async fn run(
    token: CancellationToken,
    mut publisher: Publisher,
    mut base: Topology,
    mut facts: mpsc::Receiver<Fact>,
    epochs: watch::Sender<Epoch>,
) {
    let mut current = Columns::default();
    let mut roles: HashMap<ShardName, ShardRoles> = HashMap::new();
    // `base` with columns.
    let mut described = base.clone();
    loop {
        let fact = tokio::select! {
            fact = facts.recv() => fact,
            () = token.cancelled() => None,
        };
        let (published, columns_changed, changed) = match fact {
            None => return,
            Some(Fact::Schema { columns, published }) => {
                let changed = columns != current;
                current = columns;
                (Some(published), changed, changed)
            }
            Some(Fact::Map { base: next, columns, published }) => {
                base = *next;
                current = columns;
                (Some(published), true, true)
            }
            Some(Fact::Roles(seen)) => {
                roles.insert(seen.shard.clone(), seen);
                (None, false, described.with_roles(&roles).shards != publisher.current().shards)
            }
        };
        if columns_changed {
            let problems;
            (described, problems) = base.with_columns(&current);
            for problem in problems {
                tracing::warn!(problem, "a table cannot be routed");
            }
        }
        if changed {
            let topology = publisher.replace(described.with_roles(&roles));
            epochs.send_replace(topology.epoch);
            tracing::info!(
                epoch = %topology.epoch,
                map_version = %topology.version,
                tables = current.tables.len(),
                "topology published"
            );
        }
        if let Some(published) = published {
            // Whoever gave up waiting does not need the word.
            let _: Result<(), ()> = published.send(());
        }
    }
}
