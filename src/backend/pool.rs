//! The pools of one server: the ledger under one short lock, and the tasks that carry out what it decides.
//! Knows sockets and time; what is lent to whom is decided in `ledger`.

mod ledger;
mod spread;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::ledger::{Action, Actions, Ledger, Limits, Place, Ticket};
pub(crate) use self::ledger::{CloseReason, Held, LaneId, Mending};
use super::checkout::{Connecting, Lease, Mend, Parcel, Waiting};
use super::connect::Connector;
use super::connection::{Connection, Demotion, Flavor};
use super::error::BackendError;
use super::metrics::ServerMetrics;
use super::pool_set::PoolStatus;
use super::state::{Fit, SessionState};
use crate::config::{Credential, PoolSettings};
use crate::task::Scope;
use crate::topology::Server;

pub(crate) type Pooled = Held<Box<Connection>>;
/// What a waiter is told: a connection, or that there will be none.
pub(crate) type Answer = Result<Parcel, BackendError>;
type Answers = oneshot::Sender<Answer>;

/// The server answers these to a login that waiting does not mend: access denied, account locked, password expired, …
const LOGIN_ERRORS_FINAL: [u16; 7] = [1044, 1045, 1049, 1251, 1698, 1862, 3118];

#[derive(Debug)]
pub(crate) struct ServerPool {
    server: Server,
    connector: Arc<Connector>,
    scope: Scope,
    metrics: ServerMetrics,
    /// Of the server, for its connections.
    demotion: Arc<Demotion>,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    ledger: Ledger<Box<Connection>, Answers>,
    /// By `LaneId`.
    keys: Vec<LaneKey>,
    settings: PoolSettings,
    live: Live,
    /// False for a server that the map does not have: nothing is kept ready.
    mapped: bool,
    closed: bool,
}

#[derive(Debug)]
struct LaneKey {
    credential: Arc<Credential>,
    flavor: Flavor,
    last_error: Option<BackendError>,
}

/// The credentials that the settings name; `None` until they have changed: all are.
pub(crate) type Live = Option<Arc<[Arc<Credential>]>>;

/// How a lease begins.
pub(crate) enum Begun {
    Lent(Lease),
    Waiting(Waiting),
}

impl Place for Box<Connection> {
    fn fits(&self, wanted: &SessionState) -> Fit {
        self.state.fits(wanted)
    }
}

/// The clock of pools; tests of the proxy may pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl ServerPool {
    pub(crate) fn new(
        server: Server,
        (settings, live): (PoolSettings, Live),
        mapped: bool,
        connector: Arc<Connector>,
        scope: Scope,
        metrics: ServerMetrics,
    ) -> Arc<ServerPool> {
        let seed = RandomState::new().hash_one(&server.name);
        let ledger = Ledger::new(limits(&settings, mapped), seed);
        let book = Book { ledger, keys: Vec::new(), settings, live, mapped, closed: false };
        let demotion = Arc::default();
        Arc::new(ServerPool { server, connector, scope, metrics, demotion, book: Mutex::new(book) })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// Lends an idle connection that is alive, one of the current runtime's if there is a choice, or takes a place in the queue.
    pub(crate) fn begin(
        self: &Arc<ServerPool>,
        credential: &Arc<Credential>,
        flavor: Flavor,
        wanted: &SessionState,
    ) -> Result<Begun, BackendError> {
        let now = now();
        let here = Handle::current().id();
        loop {
            let mut book = self.book.lock();
            if book.closed {
                return Err(self.closed());
            }
            let lane = book.lane(credential, flavor);
            let Some(held) = book.ledger.take(lane, wanted, |connection| connection.home() == here, now)
            else {
                return self.queue(book, lane, wanted, now).map(Begun::Waiting);
            };
            drop(book);
            let mut lease = Lease::new(Arc::clone(self), lane, held);
            if lease.is_alive() && lease.connection().come_here().is_ok() {
                return Ok(Begun::Lent(lease));
            }
            lease.close(CloseReason::Broken);
        }
    }

    fn queue(
        self: &Arc<ServerPool>,
        mut book: parking_lot::MutexGuard<'_, Book>,
        lane: LaneId,
        wanted: &SessionState,
        now: Instant,
    ) -> Result<Waiting, BackendError> {
        let (sender, receiver) = oneshot::channel();
        let mut actions = Vec::new();
        let timeout = book.settings.borrow_timeout;
        let entered = book.ledger.wait(lane, wanted.clone(), sender, now, &mut actions);
        let waiting = book.ledger.count(lane).waiting;
        drop(book);
        self.act(actions);
        match entered {
            Ok(ticket) => Ok(Waiting::new(Arc::clone(self), lane, ticket, receiver, timeout)),
            Err(_) => Err(BackendError::QueueFull { server: self.server.name.clone(), waiting }),
        }
    }

    pub(crate) fn cancel(&self, lane: LaneId, ticket: Ticket) {
        self.book.lock().ledger.cancel(lane, ticket);
    }

    /// Why a waiter got nothing within `waited`.
    pub(crate) fn why_nothing(&self, lane: LaneId, waited: Duration) -> BackendError {
        let book = self.book.lock();
        if book.closed {
            return self.closed();
        }
        let count = book.ledger.count(lane);
        let key = &book.keys[lane];
        match &key.last_error {
            Some(last) if count.failing => {
                BackendError::NotConnected { waited, last: Box::new(last.clone()) }
            }
            _ => BackendError::BorrowTimeout {
                server: self.server.name.clone(),
                user: key.credential.user.clone(),
                waited,
                busy: count.lent,
                connecting: count.connecting,
                max: book.settings.connections_max,
                total: book.ledger.total(),
                server_max: book.settings.server_connections_max,
                waiting: count.waiting,
            },
        }
    }

    pub(crate) fn returned(self: &Arc<ServerPool>, lane: LaneId, held: Pooled) {
        self.event(|book, now, actions| book.ledger.returned(lane, held, now, actions));
    }

    /// A lent connection ended.
    pub(crate) fn gone(self: &Arc<ServerPool>, lane: LaneId, reason: CloseReason) {
        self.metrics.closed(reason);
        self.event(|book, now, actions| book.ledger.gone(lane, now, actions));
    }

    /// Resets a lent connection in the background; then it is free.
    pub(crate) fn reset(self: &Arc<ServerPool>, lane: LaneId, held: Pooled) {
        self.book.lock().ledger.reset_begun(lane);
        self.mend(Mend::new(Arc::clone(self), lane, Mending::Reset, held), Mending::Reset);
    }

    pub(crate) fn mended(self: &Arc<ServerPool>, lane: LaneId, mending: Mending, held: Pooled) {
        self.event(|book, now, actions| book.ledger.mended(lane, held, mending, now, actions));
    }

    pub(crate) fn unmendable(self: &Arc<ServerPool>, lane: LaneId, mending: Mending) {
        self.metrics.closed(match mending {
            Mending::Check => CloseReason::Broken,
            Mending::Reset => CloseReason::ResetFailed,
        });
        self.event(|book, now, actions| book.ledger.unmendable(lane, mending, now, actions));
    }

    fn connected(self: &Arc<ServerPool>, lane: LaneId, connection: Box<Connection>) {
        self.metrics.connected();
        self.event(|book, now, actions| {
            if book.keys[lane].last_error.take().is_some() {
                tracing::info!(server = %self.server.name, "connects succeed again");
            }
            book.ledger.connected(lane, connection, now, actions);
        });
    }

    /// Answers when the next connect may be tried.
    pub(crate) fn connect_failed(self: &Arc<ServerPool>, lane: LaneId, error: BackendError) -> Instant {
        self.metrics.connect_failed(&error);
        if error.is_outage() {
            self.connector.suspects().tell(&self.server.name);
        }
        let last = match &error {
            BackendError::LoginRefused { code, .. } => LOGIN_ERRORS_FINAL.contains(code),
            BackendError::Tls { .. } | BackendError::Closed { .. } => true,
            _ => false,
        };
        self.event(|book, now, actions| {
            match book.keys[lane].last_error {
                None => tracing::warn!(server = %self.server.name, %error, "a connect failed"),
                Some(_) => tracing::debug!(server = %self.server.name, %error, "a connect failed again"),
            }
            book.keys[lane].last_error = Some(error);
            book.ledger.connect_failed(lane, last, now, actions)
        })
    }

    pub(crate) fn tick(self: &Arc<ServerPool>) {
        self.event(|book, now, actions| book.ledger.tick(now, actions));
    }

    pub(crate) fn configure(self: &Arc<ServerPool>, settings: PoolSettings, mapped: bool) {
        self.event(|book, now, actions| {
            book.ledger.configure(limits(&settings, mapped), now, actions);
            book.settings = settings;
            book.mapped = mapped;
        });
    }

    /// Closes what is idle and refuses what is new; what is lent ends when it comes back.
    pub(crate) fn retire(self: &Arc<ServerPool>) {
        self.event(|book, _, actions| {
            book.closed = true;
            book.ledger.retire(actions);
        });
    }

    /// The server is not the primary any more: what waits for its connections ends, and what uses them at its next statement or, unless
    /// the server is `alive`, at once. Who waits on one has to be woken.
    pub(crate) fn demote(self: &Arc<ServerPool>, alive: bool) {
        self.demotion.declare(alive);
        self.retire();
    }

    /// Retires the pools of credentials that are not among `live`. Sessions that logged in before may still ask for them.
    pub(crate) fn follow_credentials(self: &Arc<ServerPool>, live: Arc<[Arc<Credential>]>) {
        self.event(|book, _, actions| {
            for lane in 0..book.keys.len() {
                match live.contains(&book.keys[lane].credential) {
                    true => book.ledger.revive_lane(lane),
                    false => book.ledger.retire_lane(lane, actions),
                }
            }
            book.live = Some(live);
        });
    }

    /// The last connect of somebody's failed, and none of theirs has succeeded since; but for logins that were refused.
    pub(crate) fn is_failing(&self) -> bool {
        let book = self.book.lock();
        (0..book.keys.len()).any(|lane| {
            let count = book.ledger.count(lane);
            count.failing && !count.refused && !count.retired
        })
    }

    pub(crate) fn outstanding(&self) -> usize {
        let book = self.book.lock();
        (0..book.keys.len()).map(|lane| book.ledger.count(lane).lent).sum()
    }

    pub(crate) fn status(&self, rows: &mut Vec<PoolStatus>) {
        let book = self.book.lock();
        for (lane, key) in book.keys.iter().enumerate() {
            let count = book.ledger.count(lane);
            if count.retired && count.lent + count.mending + count.connecting == 0 {
                continue;
            }
            rows.push(PoolStatus {
                server: self.server.name.clone(),
                user: key.credential.user.clone(),
                flavor: key.flavor,
                idle: count.idle,
                lent: count.lent,
                connecting: count.connecting,
                mending: count.mending,
                waiting: count.waiting,
                max: book.settings.connections_max,
                connects: count.connects,
                failures: count.failures,
                last_error: key.last_error.as_ref().map(BackendError::to_string),
            });
        }
    }

    pub(crate) fn closed(&self) -> BackendError {
        BackendError::Closed { server: self.server.name.clone() }
    }

    /// Tells the ledger, then carries out what it decided: never under the lock.
    fn event<R>(
        self: &Arc<ServerPool>,
        event: impl FnOnce(&mut Book, Instant, &mut Actions<Box<Connection>, Answers>) -> R,
    ) -> R {
        let mut actions = Vec::new();
        let now = now();
        let result = event(&mut self.book.lock(), now, &mut actions);
        self.act(actions);
        result
    }

    fn act(self: &Arc<ServerPool>, actions: Actions<Box<Connection>, Answers>) {
        for action in actions {
            match action {
                Action::Connect(lane) => self.connect(lane),
                Action::Hand(lane, waiter, held) => {
                    // A waiter that left meanwhile gives the parcel back, and its drop returns the connection.
                    drop(waiter.send(Ok(Parcel::new(Lease::new(Arc::clone(self), lane, held)))));
                }
                Action::Close(held, reason) => {
                    self.metrics.closed(reason);
                    super::checkout::quit(*held.connection);
                }
                Action::Check(lane, held) => {
                    self.mend(Mend::new(Arc::clone(self), lane, Mending::Check, held), Mending::Check);
                }
                Action::Fail(lane, waiter) => {
                    let last = match self.book.lock() {
                        book if book.closed => None,
                        book => book.keys[lane].last_error.clone(),
                    };
                    drop(waiter.send(Err(last.unwrap_or_else(|| self.closed()))));
                }
            }
        }
    }

    fn connect(self: &Arc<ServerPool>, lane: LaneId) {
        let pool = Arc::clone(self);
        let connecting = Connecting::new(Arc::clone(self), lane);
        self.scope.spawn("pool connect", async move {
            let (credential, flavor, timeout) = {
                let book = pool.book.lock();
                let key = &book.keys[lane];
                (Arc::clone(&key.credential), key.flavor, book.settings.connect_timeout)
            };
            let stop = pool.scope.token();
            let opened = tokio::select! {
                opened = pool.connector.open(&pool.server, &credential, flavor, timeout) => opened,
                () = stop.cancelled() => Err(pool.closed()),
            };
            connecting.settled();
            let error = match opened {
                Ok(mut connection) => {
                    connection.heed(&pool.demotion);
                    return pool.connected(lane, Box::new(connection));
                }
                Err(error) => error,
            };
            let next = pool.connect_failed(lane, error);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = stop.cancelled() => return,
            }
            pool.event(|book, now, actions| book.ledger.wake(now, actions));
        });
    }

    fn mend(self: &Arc<ServerPool>, mend: Mend, mending: Mending) {
        let timeout = self.book.lock().settings.connect_timeout;
        let stop = self.scope.token().clone();
        let name = match mending {
            Mending::Check => "pool check",
            Mending::Reset => "pool reset",
        };
        self.scope.spawn(name, async move {
            tokio::select! {
                () = mend.run(timeout) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

impl Book {
    /// The lane of a credential and flavor. Sessions share the `Arc` of their credential, so pointers are tried first.
    fn lane(&mut self, credential: &Arc<Credential>, flavor: Flavor) -> LaneId {
        let by_pointer =
            self.keys.iter().position(|key| Arc::ptr_eq(&key.credential, credential) && key.flavor == flavor);
        if let Some(lane) = by_pointer
            && !self.ledger.count(lane).retired
        {
            return lane;
        }
        let by_value = (0..self.keys.len()).find(|&lane| {
            let key = &self.keys[lane];
            key.flavor == flavor && key.credential == *credential && !self.ledger.count(lane).retired
        });
        if let Some(lane) = by_value {
            self.keys[lane].credential = Arc::clone(credential);
            return lane;
        }
        let live = self.live.as_ref().is_none_or(|live| live.contains(credential));
        let lane = self.ledger.open_lane(live);
        let key = LaneKey { credential: Arc::clone(credential), flavor, last_error: None };
        match self.keys.get_mut(lane) {
            Some(free) => *free = key,
            None => self.keys.push(key),
        }
        lane
    }
}

fn limits(settings: &PoolSettings, mapped: bool) -> Limits {
    Limits {
        idle_min: if mapped { settings.idle_min } else { 0 },
        connections_max: settings.connections_max,
        server_connections_max: settings.server_connections_max,
        waiters_max: settings.waiters_max,
        connecting_max: settings.connecting_max,
        lifetime_max: settings.lifetime_max,
        idle_timeout: settings.idle_timeout,
        health_interval: settings.health_interval,
    }
}
