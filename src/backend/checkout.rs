//! Guards of connections and of places in a pool. What a guard holds is never lost: its drop tells the pool.
//! Every guard is used up once; none knows how the pool decides.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use super::connection::Connection;
use super::error::BackendError;
use super::pool::{Answer, CloseReason, LaneId, Mending, Pooled, ServerPool, now};
use crate::topology::Server;

/// A lent connection. Dropping it closes the connection and frees its place; only [`Lease::give_back`] returns it to the pool.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` only while it is being used up.
    held: Option<Pooled>,
    pool: Arc<ServerPool>,
    lane: LaneId,
}

impl Lease {
    pub(crate) fn new(pool: Arc<ServerPool>, lane: LaneId, held: Pooled) -> Lease {
        Lease { held: Some(held), pool, lane }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.held.as_mut().expect("a lease holds its connection until it is given back").connection
    }

    /// The server that the connection is to.
    pub(crate) fn server(&self) -> &Server {
        self.pool.server()
    }

    /// Returns the connection to its pool: it has no unread bytes, is in no transaction, and its `state` says what it carries.
    pub(crate) fn give_back(mut self) {
        if let Some(held) = self.free() {
            self.pool.returned(self.lane, held);
        }
    }

    /// Returns the connection after COM_RESET_CONNECTION: it carried what cannot be undone one by one. The pool does
    /// the reset in the background and closes the connection when it fails.
    pub(crate) fn give_back_tainted(mut self) {
        if let Some(held) = self.free() {
            self.pool.reset(self.lane, held);
        }
    }

    /// The connection, unless unread bytes say that nobody knows where its protocol stands: then the drop closes it.
    fn free(&mut self) -> Option<Pooled> {
        if self.connection().received.is_empty() {
            return self.held.take();
        }
        tracing::error!(server = %self.pool.server().name, "a connection came back with unread bytes");
        None
    }

    pub(crate) fn close(mut self, reason: CloseReason) {
        if self.held.take().is_some() {
            self.pool.gone(self.lane, reason);
        }
    }

    /// Whether the server has neither closed the connection nor said anything unasked. Costs no system call as long as
    /// the runtime has not seen the socket become readable.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.connection().is_quiet()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            self.pool.gone(self.lane, CloseReason::Dropped);
        }
    }
}

/// A connection on its way to a waiter. Nothing was done with it, so that dropping it returns it.
#[derive(Debug)]
pub(crate) struct Parcel {
    lease: Option<Lease>,
}

impl Parcel {
    pub(crate) fn new(lease: Lease) -> Parcel {
        Parcel { lease: Some(lease) }
    }

    fn open(mut self) -> Option<Lease> {
        self.lease.take()
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

/// A place in the queue; leaving it by a drop passes on what was already on its way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pool: Arc<ServerPool>,
    lane: LaneId,
    ticket: u64,
    answer: oneshot::Receiver<Answer>,
    timeout: Duration,
}

impl Waiting {
    pub(crate) fn new(
        pool: Arc<ServerPool>,
        lane: LaneId,
        ticket: u64,
        answer: oneshot::Receiver<Answer>,
        timeout: Duration,
    ) -> Waiting {
        Waiting { pool, lane, ticket, answer, timeout }
    }

    pub(crate) async fn lease(mut self) -> Result<Lease, BackendError> {
        let begin = now();
        let answer = tokio::time::timeout(self.timeout, &mut self.answer).await;
        let waited = now().saturating_duration_since(begin);
        self.pool.metrics().waited(waited.as_secs_f64());
        match answer {
            Ok(Ok(Ok(parcel))) => {
                let mut lease = parcel.open().ok_or_else(|| self.pool.closed())?;
                lease.connection().come_here()?;
                Ok(lease)
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(self.pool.closed()),
            Err(_) => Err(self.pool.why_nothing(self.lane, waited)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.cancel(self.lane, self.ticket);
    }
}

/// A connect under way. When its task ends without a result, the place is free again.
#[derive(Debug)]
pub(crate) struct Connecting {
    pool: Arc<ServerPool>,
    lane: LaneId,
    open: bool,
}

impl Connecting {
    pub(crate) fn new(pool: Arc<ServerPool>, lane: LaneId) -> Connecting {
        Connecting { pool, lane, open: true }
    }

    /// The result is told to the pool by whoever has it.
    pub(crate) fn settled(mut self) {
        self.open = false;
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if self.open {
            self.pool.connect_failed(self.lane, self.pool.closed());
        }
    }
}

/// A connection that is being pinged or reset.
#[derive(Debug)]
pub(crate) struct Mend {
    held: Option<Pooled>,
    pool: Arc<ServerPool>,
    lane: LaneId,
    mending: Mending,
}

impl Mend {
    pub(crate) fn new(pool: Arc<ServerPool>, lane: LaneId, mending: Mending, held: Pooled) -> Mend {
        Mend { held: Some(held), pool, lane, mending }
    }

    /// Free again when the server answers OK in time, else closed.
    pub(crate) async fn run(mut self, timeout: Duration) {
        let Some(held) = self.held.as_mut() else { return };
        let mending = async {
            match self.mending {
                Mending::Check => held.connection.ping().await,
                Mending::Reset => held.connection.reset().await,
            }
        };
        if !matches!(tokio::time::timeout(timeout, mending).await, Ok(Ok(()))) {
            return;
        }
        if let Some(held) = self.held.take() {
            self.pool.mended(self.lane, self.mending, held);
        }
    }
}

impl Drop for Mend {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            self.pool.unmendable(self.lane, self.mending);
        }
    }
}

/// Says good-bye if the socket takes it at once, so that the server does not count an aborted client.
pub(crate) fn quit(connection: Connection) {
    let quit = pin!(connection.quit());
    // Pending or done, the connection is closed by the drop.
    let _ = quit.poll(&mut Context::from_waker(Waker::noop()));
}
