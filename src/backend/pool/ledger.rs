//! The book of one server's connections: events in, actions out. Pure: time is an argument, connections and waiters are
//! opaque, so that it runs under a seeded scheduler in tests. `super` carries the actions out.
//!
//! A lane is the pool of one credential and flavor; lanes share the server's total and its bound on connects under way.
//! Invariants: places are never more than the limits; waiters of a lane are served in order; no waiter waits while an
//! idle connection of its lane suits it; every waiter's lane has a place in use, waits for a connect, or is backing off.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::state::{Fit, SessionState};
use super::spread::Spread;

/// How many idle connections are looked at for the best fit, once one was found that fits at all; keeps the lock short.
const FIT_SCAN_MAX: usize = 32;
/// How many more are looked at for one that is near, once one was found that fits fully.
const NEAR_SCAN_MAX: usize = 8;
/// The pause after a first failed connect; it doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A connection as the ledger sees it.
pub(crate) trait Place {
    fn fits(&self, wanted: &SessionState) -> Fit;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) idle_min: usize,
    pub(crate) connections_max: usize,
    pub(crate) server_connections_max: usize,
    pub(crate) waiters_max: usize,
    pub(crate) connecting_max: usize,
    pub(crate) lifetime_max: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) health_interval: Duration,
}

/// Index of a lane; stays valid as long as anything of the lane is lent, connecting, checked or waited for.
pub(crate) type LaneId = usize;
/// Names a waiter; rises over the whole server, so that it is the order of arrival.
pub(crate) type Ticket = u64;

/// A connection with its dates.
#[derive(Debug)]
pub(crate) struct Held<C> {
    pub(crate) connection: C,
    /// Not lent again from then on.
    retire_at: Instant,
    idle_since: Instant,
    /// When the server was last heard.
    heard_at: Instant,
}

/// Whether using a connection wakes the thread that asks for it, or first has to be moved there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Near,
    Far,
}

/// Why a connection was closed, as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    Lifetime,
    Idle,
    /// Lost, or found dead while idle.
    Broken,
    /// Its borrower dropped it.
    Dropped,
    ResetFailed,
    /// Its place was needed, or the limits fell.
    Surplus,
    /// It has a database and the first waiter wants none.
    Unfit,
    /// The server or the credential is gone, or the proxy stops.
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mending {
    Check,
    Reset,
}

impl CloseReason {
    pub(crate) fn label(self) -> &'static str {
        match self {
            CloseReason::Lifetime => "lifetime",
            CloseReason::Idle => "idle",
            CloseReason::Broken => "broken",
            CloseReason::Dropped => "dropped",
            CloseReason::ResetFailed => "reset_failed",
            CloseReason::Surplus => "surplus",
            CloseReason::Unfit => "unfit",
            CloseReason::Retired => "retired",
        }
    }
}

/// What the shell must do, in order.
#[derive(Debug)]
pub(crate) enum Action<C, W> {
    /// Open a connection and report `connected` or `connect_failed`.
    Connect(LaneId),
    /// The connection is lent to this waiter.
    Hand(LaneId, W, Held<C>),
    Close(Held<C>, CloseReason),
    /// Ping it and report `mended` or `unmendable`.
    Check(LaneId, Held<C>),
    /// The waiter cannot be served: the lane is retired, or its login was refused.
    Fail(LaneId, W),
}

pub(crate) type Actions<C, W> = Vec<Action<C, W>>;

#[derive(Debug)]
pub(crate) struct Ledger<C, W> {
    limits: Limits,
    lanes: Vec<Lane<C, W>>,
    /// Places in use over all lanes.
    total: usize,
    /// Connects under way over all lanes.
    connecting: usize,
    waiting: usize,
    last_ticket: Ticket,
    retired: bool,
    spread: Spread,
}

#[derive(Debug)]
struct Lane<C, W> {
    /// The coldest first.
    idle: Vec<Held<C>>,
    lent: usize,
    connecting: usize,
    /// Being pinged.
    checking: usize,
    /// Being reset; back in a moment.
    resetting: usize,
    waiters: VecDeque<Waiter<W>>,
    failures_in_row: u32,
    /// No connect before that; the task of the failed connect wakes the lane then.
    not_before: Option<Instant>,
    keeping: Keeping,
    retired: bool,
    connects: u64,
    failures: u64,
}

/// Whether connections of a lane are kept ready for whoever comes (`idle_min`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Ready,
    /// The server refused the last login for good. Trying again and again would lock the account
    /// (FAILED_LOGIN_ATTEMPTS); who asks for a connection tries again.
    Refused,
    /// The credential is in use by sessions of the past only.
    Never,
}

#[derive(Debug)]
struct Waiter<W> {
    ticket: Ticket,
    wanted: SessionState,
    waiter: W,
}

/// The numbers of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) idle: usize,
    pub(crate) lent: usize,
    pub(crate) connecting: usize,
    pub(crate) mending: usize,
    pub(crate) waiting: usize,
    pub(crate) failing: bool,
    /// The last login was refused for good.
    pub(crate) refused: bool,
    pub(crate) connects: u64,
    pub(crate) failures: u64,
    pub(crate) retired: bool,
}

impl<C> Held<C> {
    fn expired(&self, now: Instant) -> bool {
        self.retire_at <= now
    }
}

impl<C: Place, W> Ledger<C, W> {
    pub(crate) fn new(limits: Limits, seed: u64) -> Ledger<C, W> {
        Ledger {
            limits,
            lanes: Vec::new(),
            total: 0,
            connecting: 0,
            waiting: 0,
            last_ticket: 0,
            retired: false,
            spread: Spread::new(seed),
        }
    }

    /// Places in use over all lanes.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Opens a lane; the index of a retired lane that holds nothing any more is used again. Of a credential that is not
    /// `live` nothing is kept ready.
    pub(crate) fn open_lane(&mut self, live: bool) -> LaneId {
        let lane = Lane::new(self.retired, if live { Keeping::Ready } else { Keeping::Never });
        match self.lanes.iter().position(|lane| lane.retired && lane.is_unused()) {
            Some(free) => {
                self.lanes[free] = lane;
                free
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        }
    }

    pub(crate) fn count(&self, lane: LaneId) -> Count {
        let lane = &self.lanes[lane];
        Count {
            idle: lane.idle.len(),
            lent: lane.lent,
            connecting: lane.connecting,
            mending: lane.checking + lane.resetting,
            waiting: lane.waiters.len(),
            failing: lane.failures_in_row > 0,
            refused: lane.keeping == Keeping::Refused,
            connects: lane.connects,
            failures: lane.failures,
            retired: lane.retired,
        }
    }

    /// The best idle connection, or `None`: then [`Ledger::wait`]. Among those that fit equally, one that `is_near` is taken. Needs no
    /// memory and touches one lane only.
    pub(crate) fn take(
        &mut self,
        lane: LaneId,
        wanted: &SessionState,
        is_near: impl Fn(&C) -> bool,
        now: Instant,
    ) -> Option<Held<C>> {
        let lane = &mut self.lanes[lane];
        let mut best: Option<(Fit, Distance, usize)> = None;
        let mut looks_left = FIT_SCAN_MAX;
        for (index, held) in lane.idle.iter().enumerate().rev() {
            if looks_left == 0 && best.is_some() {
                break;
            }
            looks_left = looks_left.saturating_sub(1);
            if held.expired(now) {
                continue;
            }
            let fit = held.connection.fits(wanted);
            if fit == Fit::Unfit
                || best.is_some_and(|(so_far, distance, _)| (so_far, distance) <= (fit, Distance::Near))
            {
                continue;
            }
            let distance = if is_near(&held.connection) { Distance::Near } else { Distance::Far };
            if best.is_none_or(|(so_far, far, _)| (fit, distance) < (so_far, far)) {
                best = Some((fit, distance, index));
                match (fit, distance) {
                    (Fit::Same, Distance::Near) => break,
                    (Fit::Same, Distance::Far) => looks_left = looks_left.min(NEAR_SCAN_MAX),
                    (Fit::Prepare { .. } | Fit::Reset | Fit::Unfit, _) => {}
                }
            }
        }
        let held = lane.idle.remove(best?.2);
        lane.lent += 1;
        Some(held)
    }

    /// Queues a waiter; gives it back when the queue is full or the lane closed.
    pub(crate) fn wait(
        &mut self,
        lane: LaneId,
        wanted: SessionState,
        waiter: W,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) -> Result<Ticket, W> {
        let queue = &mut self.lanes[lane];
        if queue.retired || queue.waiters.len() >= self.limits.waiters_max {
            return Err(waiter);
        }
        self.last_ticket += 1;
        queue.waiters.push_back(Waiter { ticket: self.last_ticket, wanted, waiter });
        self.waiting += 1;
        self.pump(now, actions);
        Ok(self.last_ticket)
    }

    /// Takes a waiter out of the queue; `None` when it was served already.
    pub(crate) fn cancel(&mut self, lane: LaneId, ticket: Ticket) -> Option<W> {
        let queue = &mut self.lanes[lane].waiters;
        let index = queue.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
        let waiter = queue.remove(index)?;
        self.waiting -= 1;
        Some(waiter.waiter)
    }

    /// A connect succeeded.
    pub(crate) fn connected(
        &mut self,
        lane: LaneId,
        connection: C,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) {
        let lifetime = self.limits.lifetime_max;
        // Spread downwards, so that connections opened together do not end together.
        let retire_at = after(now, lifetime.saturating_sub(self.spread.below(lifetime / 10)));
        let held = Held { connection, retire_at, idle_since: now, heard_at: now };
        self.connecting -= 1;
        let opened = &mut self.lanes[lane];
        opened.connecting -= 1;
        opened.connects += 1;
        opened.failures_in_row = 0;
        opened.not_before = None;
        if opened.keeping == Keeping::Refused {
            opened.keeping = Keeping::Ready;
        }
        self.settle(lane, held, now, actions);
    }

    /// A connect failed; `permanent` when waiting will not help (a refused login). Answers when [`Ledger::wake`] is due.
    pub(crate) fn connect_failed(
        &mut self,
        lane: LaneId,
        permanent: bool,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) -> Instant {
        self.connecting -= 1;
        self.total -= 1;
        let failed = &mut self.lanes[lane];
        failed.connecting -= 1;
        failed.failures += 1;
        failed.failures_in_row = failed.failures_in_row.saturating_add(1);
        let doublings = (failed.failures_in_row - 1).min(16);
        let pause = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
        let until = now + pause / 2 + self.spread.below(pause / 2);
        let until = failed.not_before.map_or(until, |before| before.max(until));
        failed.not_before = Some(until);
        if permanent {
            if failed.keeping == Keeping::Ready {
                failed.keeping = Keeping::Refused;
            }
            self.fail_waiters(lane, actions);
        }
        self.pump(now, actions);
        until
    }

    /// Connects that had to wait are due.
    pub(crate) fn wake(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        self.pump(now, actions);
    }

    /// A lent connection came back in a known state.
    pub(crate) fn returned(
        &mut self,
        lane: LaneId,
        held: Held<C>,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) {
        self.lanes[lane].lent -= 1;
        self.settle(lane, Held { idle_since: now, heard_at: now, ..held }, now, actions);
    }

    /// A lent connection is being reset in the background; report `mended` or `unmendable`.
    pub(crate) fn reset_begun(&mut self, lane: LaneId) {
        self.lanes[lane].lent -= 1;
        self.lanes[lane].resetting += 1;
    }

    /// A check or reset ended well.
    pub(crate) fn mended(
        &mut self,
        lane: LaneId,
        held: Held<C>,
        mending: Mending,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) {
        // A ping is no use: the idle time goes on.
        let idle_since = match mending {
            Mending::Check => held.idle_since,
            Mending::Reset => now,
        };
        *self.lanes[lane].under(mending) -= 1;
        self.settle(lane, Held { idle_since, heard_at: now, ..held }, now, actions);
    }

    /// A check or reset failed: the place is free.
    pub(crate) fn unmendable(
        &mut self,
        lane: LaneId,
        mending: Mending,
        now: Instant,
        actions: &mut Actions<C, W>,
    ) {
        *self.lanes[lane].under(mending) -= 1;
        self.total -= 1;
        self.pump(now, actions);
    }

    /// A lent connection was closed: its place is free.
    pub(crate) fn gone(&mut self, lane: LaneId, now: Instant, actions: &mut Actions<C, W>) {
        self.lanes[lane].lent -= 1;
        self.total -= 1;
        self.pump(now, actions);
    }

    /// The regular round: expired and long idle connections end, silent ones are checked, `idle_min` is kept.
    pub(crate) fn tick(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        for id in 0..self.lanes.len() {
            self.sweep(id, now, actions);
            self.check_silent(id, now, actions);
        }
        self.pump(now, actions);
        for id in 0..self.lanes.len() {
            while self.lanes[id].at_rest() < self.idle_min(id)
                && self.total < self.limits.server_connections_max
                && self.lanes[id].size() < self.limits.connections_max
                && self.may_open(id, now)
            {
                self.connect(id, actions);
            }
        }
    }

    pub(crate) fn configure(&mut self, limits: Limits, now: Instant, actions: &mut Actions<C, W>) {
        self.limits = limits;
        for id in 0..self.lanes.len() {
            while (self.lanes[id].size() > limits.connections_max
                || self.total > limits.server_connections_max)
                && self.evict(id, CloseReason::Surplus, actions)
            {}
        }
        self.pump(now, actions);
    }

    /// The lane's credential is in use again by whoever logs in.
    pub(crate) fn revive_lane(&mut self, lane: LaneId) {
        if self.lanes[lane].keeping == Keeping::Never {
            self.lanes[lane].keeping = Keeping::Ready;
        }
    }

    /// Closes what is idle, fails who waits; what is lent ends when it comes back.
    pub(crate) fn retire_lane(&mut self, lane: LaneId, actions: &mut Actions<C, W>) {
        self.lanes[lane].retired = true;
        while self.evict(lane, CloseReason::Retired, actions) {}
        self.fail_waiters(lane, actions);
    }

    pub(crate) fn retire(&mut self, actions: &mut Actions<C, W>) {
        self.retired = true;
        for id in 0..self.lanes.len() {
            self.retire_lane(id, actions);
        }
    }

    /// A connection is free to be used: closes it when it may not be, else places it.
    fn settle(&mut self, lane: LaneId, held: Held<C>, now: Instant, actions: &mut Actions<C, W>) {
        // `total` still counts it, the lane's numbers do not.
        let surplus = self.lanes[lane].size() >= self.limits.connections_max
            || self.total > self.limits.server_connections_max;
        let reason = match (self.lanes[lane].retired, surplus) {
            (true, _) => Some(CloseReason::Retired),
            (_, true) => Some(CloseReason::Surplus),
            _ => held.expired(now).then_some(CloseReason::Lifetime),
        };
        match reason {
            Some(reason) => self.close(held, reason, actions),
            None => self.place(lane, held, now, actions),
        }
        if self.waiting > 0 {
            self.pump(now, actions);
        }
    }

    /// Gives a free connection to whom it belongs: the first waiter, another lane that starves, or the idle ones.
    fn place(&mut self, id: LaneId, held: Held<C>, now: Instant, actions: &mut Actions<C, W>) {
        if self.waiting == 0 {
            return self.lanes[id].rest(held);
        }
        if self.owed_elsewhere(id, now) {
            return self.close(held, CloseReason::Surplus, actions);
        }
        let full = self.lanes[id].size() + 1 >= self.limits.connections_max
            || self.total >= self.limits.server_connections_max;
        let first_needs_place = full && self.may_open(id, now);
        let lane = &mut self.lanes[id];
        let suits = lane.waiters.iter().position(|waiter| held.connection.fits(&waiter.wanted) != Fit::Unfit);
        match suits {
            // Those in front whom it does not suit get a new connection: one under way, or there is room.
            Some(index) if index <= lane.connecting || !first_needs_place => {
                if let Some(waiter) = lane.waiters.remove(index) {
                    lane.lent += 1;
                    self.waiting -= 1;
                    actions.push(Action::Hand(id, waiter.waiter, held));
                }
            }
            Some(_) => self.close(held, CloseReason::Unfit, actions),
            // Whoever needs its place closes it (`make_room`).
            None => lane.rest(held),
        }
    }

    /// Whether the place of a free connection of lane `id` goes to a waiter of another lane although lane `id` has waiters:
    /// the server has no more places, the other waits for longer, and its lane has less than lane `id` keeps. So lanes that
    /// want more than there is end with equal shares, and none starves.
    fn owed_elsewhere(&self, id: LaneId, now: Instant) -> bool {
        let Some(own) = self.lanes[id].waiters.front() else { return false };
        let kept = self.lanes[id].size();
        self.total >= self.limits.server_connections_max
            && self.lanes.iter().enumerate().any(|(other, lane)| {
                let older = lane.waiters.front().is_some_and(|first| first.ticket < own.ticket);
                let poorer = lane.size() == 0 || lane.size() < kept.min(self.limits.connections_max);
                older && poorer && lane.wants_connect() && self.may_open(other, now)
            })
    }

    /// Starts the connects that waiters need, the longest waiting lane first.
    fn pump(&mut self, now: Instant, actions: &mut Actions<C, W>) {
        if self.waiting == 0 {
            return;
        }
        let mut order: Vec<(Ticket, LaneId)> = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(id, lane)| lane.waiters.front().map(|first| (first.ticket, id)))
            .collect();
        order.sort_unstable();
        for (_, id) in order {
            while self.lanes[id].wants_connect() {
                let full = self.lanes[id].size() >= self.limits.connections_max;
                if full && self.lanes[id].idle.is_empty() {
                    break;
                }
                if !self.may_open(id, now) || !self.make_room(id, full, actions) {
                    break;
                }
                self.connect(id, actions);
            }
        }
    }

    /// Frees a place for lane `id`: by closing its own idle connection (none suits its waiters), else another lane's.
    fn make_room(&mut self, id: LaneId, lane_full: bool, actions: &mut Actions<C, W>) -> bool {
        if lane_full {
            return self.evict(id, CloseReason::Unfit, actions);
        }
        if self.total < self.limits.server_connections_max {
            return true;
        }
        let coldest = (0..self.lanes.len())
            .filter(|&other| !self.lanes[other].idle.is_empty())
            .min_by_key(|&other| self.lanes[other].idle[0].idle_since);
        coldest.is_some_and(|other| self.evict(other, CloseReason::Surplus, actions))
    }

    /// Whether a connect may be started: none after a failure but one by one and after the pause.
    fn may_open(&self, id: LaneId, now: Instant) -> bool {
        let lane = &self.lanes[id];
        !lane.retired
            && self.connecting < self.limits.connecting_max
            && lane.not_before.is_none_or(|at| at <= now)
            && (lane.failures_in_row == 0 || lane.connecting == 0)
    }

    fn connect(&mut self, id: LaneId, actions: &mut Actions<C, W>) {
        self.total += 1;
        self.connecting += 1;
        self.lanes[id].connecting += 1;
        actions.push(Action::Connect(id));
    }

    fn close(&mut self, held: Held<C>, reason: CloseReason, actions: &mut Actions<C, W>) {
        self.total -= 1;
        actions.push(Action::Close(held, reason));
    }

    /// Closes the coldest idle connection of a lane; false when there is none.
    fn evict(&mut self, id: LaneId, reason: CloseReason, actions: &mut Actions<C, W>) -> bool {
        if self.lanes[id].idle.is_empty() {
            return false;
        }
        let held = self.lanes[id].idle.remove(0);
        self.close(held, reason, actions);
        true
    }

    fn fail_waiters(&mut self, id: LaneId, actions: &mut Actions<C, W>) {
        for waiter in self.lanes[id].waiters.drain(..) {
            self.waiting -= 1;
            actions.push(Action::Fail(id, waiter.waiter));
        }
    }

    fn idle_min(&self, id: LaneId) -> usize {
        match self.lanes[id].keeping {
            Keeping::Ready => self.limits.idle_min,
            Keeping::Refused | Keeping::Never => 0,
        }
    }

    /// Closes what is too old or idle for too long.
    fn sweep(&mut self, id: LaneId, now: Instant, actions: &mut Actions<C, W>) {
        let mut index = 0;
        while index < self.lanes[id].idle.len() {
            let lane = &self.lanes[id];
            let held = &lane.idle[index];
            let long_idle = now.saturating_duration_since(held.idle_since) >= self.limits.idle_timeout;
            let reason = match held.expired(now) {
                true => CloseReason::Lifetime,
                false if long_idle && lane.idle.len() > self.idle_min(id) => CloseReason::Idle,
                false => {
                    index += 1;
                    continue;
                }
            };
            let held = self.lanes[id].idle.remove(index);
            self.close(held, reason, actions);
        }
    }

    /// Sends silent connections to a check, a bounded number at once: a dead server must not take the idle ones all at once.
    fn check_silent(&mut self, id: LaneId, now: Instant, actions: &mut Actions<C, W>) {
        let lane = &mut self.lanes[id];
        let mut index = 0;
        while index < lane.idle.len() && lane.checking < self.limits.connecting_max {
            if now.saturating_duration_since(lane.idle[index].heard_at) >= self.limits.health_interval {
                let held = lane.idle.remove(index);
                lane.checking += 1;
                actions.push(Action::Check(id, held));
            } else {
                index += 1;
            }
        }
    }
}

impl<C: Place, W> Lane<C, W> {
    fn new(retired: bool, keeping: Keeping) -> Lane<C, W> {
        Lane {
            idle: Vec::new(),
            lent: 0,
            connecting: 0,
            checking: 0,
            resetting: 0,
            waiters: VecDeque::new(),
            failures_in_row: 0,
            not_before: None,
            keeping,
            retired,
            connects: 0,
            failures: 0,
        }
    }

    /// Places in use.
    fn size(&self) -> usize {
        self.idle.len() + self.lent + self.connecting + self.checking + self.resetting
    }

    /// Idle ones and those that will be.
    fn at_rest(&self) -> usize {
        self.idle.len() + self.connecting + self.checking + self.resetting
    }

    /// More wait than connections are about to come.
    fn wants_connect(&self) -> bool {
        self.waiters.len() > self.connecting + self.resetting
    }

    fn is_unused(&self) -> bool {
        self.size() == 0 && self.waiters.is_empty()
    }

    /// Lays a connection to the idle ones, in the order of their idle time.
    fn rest(&mut self, held: Held<C>) {
        let at = self.idle.partition_point(|other| other.idle_since <= held.idle_since);
        self.idle.insert(at, held);
    }

    fn under(&mut self, mending: Mending) -> &mut usize {
        match mending {
            Mending::Check => &mut self.checking,
            Mending::Reset => &mut self.resetting,
        }
    }
}

/// `now + pause`, or far away when that is beyond the clock.
fn after(now: Instant, pause: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    now.checked_add(pause.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests;
