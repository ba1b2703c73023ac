//! The server connections that a session keeps between statements, and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::metrics::SessionMetrics;
use super::registry::PinStatus;
use super::variables::{Pin, Release, Until};
use crate::backend::Lease;
use crate::telemetry::GaugeGuard;
use crate::topology::ShardName;
use crate::transaction::Xid;

/// The reason of a pin.
const CURSOR: &str = "cursor";

/// Why a connection is kept, in the words of metrics and SHOW SESSIONS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The transaction lives on it.
    Transaction,
    /// The next statement may ask for warnings, errors or found rows. Let go when it does not.
    Diagnostics,
    /// State that cannot be replayed elsewhere.
    Pin(&'static str),
}

/// One reason, counted while it lasts.
#[derive(Debug)]
pub(crate) struct CountedPin {
    pin: Pin,
    /// The first statement that pinned, without its values.
    digest: Arc<str>,
    since: Instant,
    _counted: GaugeGuard,
}

/// One kept connection.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) shard: ShardName,
    pub(crate) lease: Lease,
    pub(crate) in_transaction: bool,
    pub(crate) diagnostics: bool,
    /// In the order in which they came; never twice the same.
    pub(crate) pins: Vec<CountedPin>,
    /// The branch that its transaction is, where it is not a plain one.
    pub(crate) branch: Option<Xid>,
    /// Carries what only COM_RESET_CONNECTION undoes.
    pub(crate) tainted: bool,
    /// Open cursors.
    cursors: usize,
}

impl Held {
    pub(crate) fn new(shard: ShardName, lease: Lease) -> Held {
        Held {
            shard,
            lease,
            in_transaction: false,
            diagnostics: false,
            pins: Vec::new(),
            branch: None,
            tainted: false,
            cursors: 0,
        }
    }

    /// `digest` makes the statement's text without its values.
    pub(crate) fn pin(&mut self, pin: Pin, metrics: &SessionMetrics, digest: impl FnOnce() -> String) {
        self.tainted = true;
        match self.pins.iter_mut().find(|counted| counted.pin.reason == pin.reason) {
            Some(counted) => counted.pin.join(pin),
            None => {
                let _counted = metrics.pin(pin.reason);
                let (digest, since) = (digest().into(), Instant::now());
                self.pins.push(CountedPin { pin, digest, since, _counted });
            }
        }
    }

    /// The rows of an execution wait on this connection. It is clean again when the cursor is closed.
    pub(crate) fn open_cursor(&mut self, metrics: &SessionMetrics, digest: impl FnOnce() -> String) {
        self.cursors += 1;
        if self.cursors == 1 {
            let pin = Pin::new(CURSOR, Until::CursorClosed);
            let (digest, since) = (digest().into(), Instant::now());
            self.pins.push(CountedPin { pin, digest, since, _counted: metrics.pin(CURSOR) });
        }
    }

    pub(crate) fn close_cursor(&mut self) {
        self.cursors = self.cursors.saturating_sub(1);
        if self.cursors == 0 {
            self.pins.retain(|counted| counted.pin.until != Until::CursorClosed);
        }
    }

    /// Ends the pins that a statement, which has succeeded, provably ends.
    pub(crate) fn unpin(&mut self, release: &Release) {
        self.pins.retain_mut(|counted| release.leaves(&mut counted.pin));
    }

    /// The locks by name that the connection may have, where all their names are known.
    pub(crate) fn named_locks(&self) -> Option<&BTreeSet<String>> {
        self.pins.iter().find_map(|counted| match &counted.pin.until {
            Until::Gone(names) if counted.pin.reason == "named_lock" => Some(names),
            Until::Gone(_) | Until::TablesUnlocked | Until::CursorClosed | Until::SessionReset => None,
        })
    }

    /// For SHOW PINS.
    pub(crate) fn pins_shown(&self) -> impl Iterator<Item = PinStatus> {
        self.pins.iter().map(|counted| PinStatus {
            shard: self.shard.clone(),
            reason: counted.pin.reason,
            digest: Arc::clone(&counted.digest),
            since: counted.since,
        })
    }

    /// The pin that ties statements to this connection: they could need what lives on it. A named lock holds wherever
    /// statements run, and a cursor is asked for by name.
    pub(crate) fn binding(&self) -> Option<&'static str> {
        self.pins
            .iter()
            .map(|counted| counted.pin.reason)
            .find(|reason| !matches!(*reason, "named_lock" | CURSOR))
    }

    /// What ends its part of a transaction that ends by `text` elsewhere and is not written here: a branch has words of its own.
    pub(crate) fn ending(&self, text: &str) -> Vec<String> {
        match &self.branch {
            Some(xid) => vec![format!("XA END {xid}"), format!("XA ROLLBACK {xid}")],
            None => vec![text.to_owned()],
        }
    }

    /// The strongest reason to keep the connection.
    pub(crate) fn reason(&self) -> Option<Reason> {
        if let Some(pin) = self.pins.first() {
            return Some(Reason::Pin(pin.pin.reason));
        }
        if self.in_transaction {
            return Some(Reason::Transaction);
        }
        self.diagnostics.then_some(Reason::Diagnostics)
    }

    /// Back to the pool, clean. An open transaction cannot go back: its connection is closed, which rolls it back.
    pub(crate) fn let_go(mut self) {
        if self.in_transaction || self.branch.is_some() {
            drop(self.lease);
        } else if self.tainted || self.cursors > 0 || self.lease.connection().noticed {
            self.lease.give_back_tainted();
        } else {
            self.lease.give_back();
        }
    }
}
