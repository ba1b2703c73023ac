//! The server connections that a session keeps between statements, and why.

use super::metrics::SessionMetrics;
use super::variables::{Pin, releases};
use crate::backend::Lease;
use crate::sql::Statement;
use crate::telemetry::GaugeGuard;
use crate::topology::ShardName;

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
    /// Carries what only COM_RESET_CONNECTION undoes.
    pub(crate) tainted: bool,
}

impl Held {
    pub(crate) fn new(shard: ShardName, lease: Lease) -> Held {
        Held { shard, lease, in_transaction: false, diagnostics: false, pins: Vec::new(), tainted: false }
    }

    pub(crate) fn pin(&mut self, pin: Pin, metrics: &SessionMetrics) {
        self.tainted = true;
        if self.pins.iter().all(|counted| counted.pin != pin) {
            self.pins.push(CountedPin { pin, _counted: metrics.pin(pin.reason) });
        }
    }

    /// Ends the pins that `statement`, which has succeeded, provably ends.
    pub(crate) fn unpin(&mut self, statement: &Statement) {
        self.pins.retain(|counted| !releases(&counted.pin, statement));
    }

    /// The pin that ties statements to this connection: they could need what lives on it. A named lock holds wherever
    /// statements run.
    pub(crate) fn binding(&self) -> Option<&'static str> {
        self.pins.iter().map(|counted| counted.pin.reason).find(|reason| *reason != "named_lock")
    }

    /// For SHOW SESSIONS.
    pub(crate) fn pin_reason(&self) -> Option<&'static str> {
        self.pins.first().map(|counted| counted.pin.reason)
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
        if self.in_transaction {
            drop(self.lease);
        } else if self.tainted || self.lease.connection().noticed {
            self.lease.give_back_tainted();
        } else {
            self.lease.give_back();
        }
    }
}
