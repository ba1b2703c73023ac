//! The task that keeps the served map and its table definitions up to date: reads the schema at start, at a fixed pace and
//! after DDL, and the files on a reload. One task, so these never overlap.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::collation::Collations;
use super::publisher::Fact;
use super::{reload, schema};
use crate::config::{Faults, Loaded, Settings, difference};
use crate::topology::{Columns, Topology};

/// How soon a schema that could not be read in full is read again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Orders that are answered by one reading.
const ORDERS_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) enum Order {
    /// Read the schema; answered when it is published.
    Refresh(oneshot::Sender<()>),
    /// Read the files; answered with what changed, or with all faults.
    Reload(oneshot::Sender<Result<Vec<String>, Faults>>),
}

/// What the keeper tells others.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) facts: mpsc::Sender<Fact>,
    pub(super) settings: watch::Sender<Arc<Settings>>,
    /// True when the first schema reading was tried.
    pub(super) ready: watch::Sender<bool>,
    /// When the served map was loaded.
    pub(super) loaded_at: watch::Sender<SystemTime>,
}

pub(super) struct Keeper {
    pub(super) file: PathBuf,
    pub(super) loaded: Loaded,
    /// Of `loaded.map`, without columns.
    pub(super) base: Topology,
    pub(super) columns: Columns,
    pub(super) collations: Arc<Collations>,
    pub(super) outlets: Outlets,
    /// Told in the log already; told again only when they change.
    pub(super) told: Vec<String>,
}

impl Keeper {
    pub(super) async fn run(mut self, token: CancellationToken, mut orders: mpsc::Receiver<Order>) {
        let mut next = Instant::now();
        loop {
            let order = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = tokio::time::sleep_until(next) => None,
                () = token.cancelled() => return,
            };
            // What came before the reading begins is answered by it.
            let mut waiting: Vec<Order> = order.into_iter().collect();
            while waiting.len() < ORDERS_AT_ONCE
                && let Ok(order) = orders.try_recv()
            {
                waiting.push(order);
            }
            tokio::select! {
                at = self.serve(waiting) => next = at,
                () = token.cancelled() => return,
            }
        }
    }

    /// Carries out the orders; with none of them, or with a refresh, reads the schema. Gives back when to read it next.
    async fn serve(&mut self, orders: Vec<Order>) -> Instant {
        let mut refresh = orders.is_empty();
        let mut refreshed = Vec::new();
        for order in orders {
            match order {
                Order::Refresh(reply) => {
                    refresh = true;
                    refreshed.push(reply);
                }
                Order::Reload(reply) => {
                    let outcome = self.reload().await;
                    refresh |= outcome.is_ok();
                    // Whoever gave up waiting finds the outcome in the log.
                    drop(reply.send(outcome));
                }
            }
        }
        let whole = if refresh { self.refresh().await } else { true };
        for reply in refreshed {
            // Whoever gave up waiting does not need the word.
            let _: Result<(), ()> = reply.send(());
        }
        let pace = self.loaded.settings.control.schema_interval;
        Instant::now() + if whole { pace } else { pace.min(RETRY_INTERVAL) }
    }

    /// Reads and publishes the schema; false when some of it is still unknown.
    async fn refresh(&mut self) -> bool {
        let settings = &self.loaded.settings.control;
        let reading = schema::read(&self.base, &self.columns, settings, &self.collations).await;
        let failures = reading.failures.iter().map(|(shard, error)| {
            format!("the schema of shard {} could not be read: {error}", self.base.shard(*shard).name)
        });
        let notes: Vec<String> = failures.chain(reading.differences.iter().cloned()).collect();
        if notes != self.told {
            for note in &notes {
                tracing::warn!(note, "schema");
            }
            self.told = notes;
        }
        self.columns = reading.columns.clone();
        self.publish(|published| Fact::Schema { columns: reading.columns, published }).await;
        self.outlets.ready.send_replace(true);
        reading.failures.is_empty()
    }

    async fn reload(&mut self) -> Result<Vec<String>, Faults> {
        let loaded = reload::load(&self.file).await.inspect_err(|faults| {
            for fault in &faults.0 {
                tracing::error!(%fault, "the files have a fault; what was served before is still served");
            }
        })?;
        let lines = difference(&self.loaded, &loaded);
        for line in &lines {
            tracing::info!(change = line, "reloaded");
        }
        if lines.is_empty() {
            tracing::info!("reloaded: nothing changed");
        }
        let map_changed = loaded.map != self.loaded.map;
        // With TLS they are told again in any case: a renewed certificate has the same name.
        if loaded.settings != self.loaded.settings || loaded.settings.tls.is_some() {
            self.outlets.settings.send_replace(Arc::new(loaded.settings.clone()));
        }
        if map_changed {
            self.base = Topology::build(&loaded.map);
            // A table that is new to the map must not fail between this and the next reading.
            if !self.columns_suffice() {
                let settings = &loaded.settings.control;
                self.columns =
                    schema::read(&self.base, &self.columns, settings, &self.collations).await.columns;
            }
            let (base, columns) = (Box::new(self.base.clone()), self.columns.clone());
            self.publish(|published| Fact::Map { base, columns, published }).await;
        }
        self.loaded = loaded;
        self.outlets.loaded_at.send_replace(SystemTime::now());
        Ok(lines)
    }

    fn columns_suffice(&self) -> bool {
        let described = self.base.databases.iter().all(|database| {
            let name = database.name.to_lowercase();
            database
                .tables
                .keys()
                .all(|table| self.columns.tables.contains_key(&(name.clone(), table.clone())))
        });
        let weighed = self
            .base
            .weights_wanted(&self.columns)
            .into_iter()
            .all(|(collation, text)| self.columns.weights.contains_key(&(collation.name.clone(), text)));
        described && weighed
    }

    async fn publish(&self, fact: impl FnOnce(oneshot::Sender<()>) -> Fact) {
        let (published, done) = oneshot::channel();
        if self.outlets.facts.send(fact(published)).await.is_ok() {
            // An error means that the publisher stops, and everything with it.
            drop(done.await);
        }
    }
}
