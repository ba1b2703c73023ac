use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Debug)]
struct Wire {
    id: u64,
    state: SessionState,
}

impl Place for Wire {
    fn fits(&self, wanted: &SessionState) -> Fit {
        self.state.fits(wanted)
    }
}

const LIMITS: Limits = Limits {
    idle_min: 0,
    connections_max: 4,
    server_connections_max: 6,
    waiters_max: 8,
    connecting_max: 2,
    lifetime_max: Duration::from_secs(1000),
    idle_timeout: Duration::from_secs(60),
    health_interval: Duration::from_secs(30),
};

fn wanted(database: Option<&str>, variables: &[&str]) -> SessionState {
    let mut state = SessionState::default();
    state.set_database(database);
    for name in variables {
        state.set(name, b"1");
    }
    state
}

#[test]
fn among_connections_that_fit_alike_a_near_one_is_taken_and_fit_goes_first() {
    let mut world = World::new(LIMITS, 1);
    let plain = wanted(None, &[]);
    for _ in 0..2 {
        world.ask(0, &plain);
    }
    world.connect_ends_all();
    while let Some((lane, held)) = world.lent.pop() {
        world.event(|ledger, now, actions| ledger.returned(lane, held, now, actions));
    }
    let near = |id: u64| move |wire: &Wire| wire.id == id;
    let far_first = world.ledger.take(0, &plain, near(1), world.now).unwrap();
    assert_eq!(far_first.connection.id, 1);
    let left = world.ledger.take(0, &plain, near(1), world.now).unwrap();
    assert_eq!(left.connection.id, 2, "a far one is better than none");
    let mut changed = left;
    changed.connection.state = wanted(Some("shop"), &[]);
    for held in [far_first, changed] {
        world.event(|ledger, now, actions| ledger.returned(0, held, now, actions));
    }
    let fitting = world.ledger.take(0, &wanted(Some("shop"), &[]), near(1), world.now).unwrap();
    assert_eq!(fitting.connection.id, 2, "moving costs less than a round trip");
}

/// A ledger, the connects it asked for, and what became of connections: everything a shell would know.
struct World {
    ledger: Ledger<Wire, u64>,
    now: Instant,
    last_connection: u64,
    last_waiter: u64,
    connects: Vec<LaneId>,
    checks: Vec<(LaneId, Held<Wire>)>,
    resets: Vec<(LaneId, Held<Wire>)>,
    lent: Vec<(LaneId, Held<Wire>)>,
    /// Waiter to lane, ticket and wish.
    queued: BTreeMap<u64, (LaneId, Ticket, SessionState)>,
    open: BTreeSet<u64>,
    closed: Vec<CloseReason>,
    failed: Vec<u64>,
    served: Vec<u64>,
}

impl World {
    fn new(limits: Limits, lanes: usize) -> World {
        let mut ledger = Ledger::new(limits, 1);
        for _ in 0..lanes {
            ledger.open_lane(true);
        }
        World {
            ledger,
            now: Instant::now(),
            last_connection: 0,
            last_waiter: 0,
            connects: Vec::new(),
            checks: Vec::new(),
            resets: Vec::new(),
            lent: Vec::new(),
            queued: BTreeMap::new(),
            open: BTreeSet::new(),
            closed: Vec::new(),
            failed: Vec::new(),
            served: Vec::new(),
        }
    }

    fn act(&mut self, actions: Actions<Wire, u64>) {
        for action in actions {
            match action {
                Action::Connect(lane) => self.connects.push(lane),
                Action::Hand(lane, waiter, held) => {
                    let (queue, ticket, wish) = self.queued.remove(&waiter).expect("a waiter is served once");
                    assert_eq!(queue, lane);
                    assert_ne!(held.connection.fits(&wish), Fit::Unfit);
                    for (other_lane, other, other_wish) in self.queued.values() {
                        let overtaken = *other_lane == lane && *other < ticket;
                        assert!(
                            !overtaken || held.connection.fits(other_wish) == Fit::Unfit,
                            "first in, first out"
                        );
                    }
                    self.served.push(waiter);
                    self.lent.push((lane, held));
                }
                Action::Close(held, reason) => {
                    assert!(self.open.remove(&held.connection.id), "closed once");
                    self.closed.push(reason);
                }
                Action::Check(lane, held) => self.checks.push((lane, held)),
                Action::Fail(_, waiter) => {
                    self.queued.remove(&waiter).expect("fails once");
                    self.failed.push(waiter);
                }
            }
        }
    }

    fn event<R>(
        &mut self,
        event: impl FnOnce(&mut Ledger<Wire, u64>, Instant, &mut Actions<Wire, u64>) -> R,
    ) -> R {
        let mut actions = Vec::new();
        let result = event(&mut self.ledger, self.now, &mut actions);
        self.act(actions);
        result
    }

    /// A statement wants a connection; true when it got one or a place in the queue.
    fn ask(&mut self, lane: LaneId, wish: &SessionState) -> bool {
        if let Some(held) = self.ledger.take(lane, wish, |_| true, self.now) {
            self.lent.push((lane, held));
            return true;
        }
        self.last_waiter += 1;
        let waiter = self.last_waiter;
        let mut actions = Vec::new();
        let Ok(ticket) = self.ledger.wait(lane, wish.clone(), waiter, self.now, &mut actions) else {
            assert!(actions.is_empty());
            return false;
        };
        self.queued.insert(waiter, (lane, ticket, wish.clone()));
        self.act(actions);
        true
    }

    fn connect_ends(&mut self, index: usize, ok: bool) {
        let lane = self.connects.swap_remove(index);
        if ok {
            self.last_connection += 1;
            let id = self.last_connection;
            self.open.insert(id);
            let wire = Wire { id, state: SessionState::default() };
            self.event(|ledger, now, actions| ledger.connected(lane, wire, now, actions));
        } else {
            self.event(|ledger, now, actions| ledger.connect_failed(lane, false, now, actions));
        }
    }

    fn connect_ends_all(&mut self) {
        while !self.connects.is_empty() {
            self.connect_ends(0, true);
        }
    }

    /// Carries out what a statement did to the connection and gives it back.
    fn give_back(&mut self, index: usize, state: SessionState) {
        let (lane, mut held) = self.lent.swap_remove(index);
        held.connection.state = state;
        self.event(|ledger, now, actions| ledger.returned(lane, held, now, actions));
    }

    fn drop_lent(&mut self, index: usize) {
        let (lane, held) = self.lent.swap_remove(index);
        self.open.remove(&held.connection.id);
        self.event(|ledger, now, actions| ledger.gone(lane, now, actions));
    }

    fn mend_ends(&mut self, mending: Mending, index: usize, ok: bool) {
        let list = match mending {
            Mending::Check => &mut self.checks,
            Mending::Reset => &mut self.resets,
        };
        let (lane, held) = list.swap_remove(index);
        if ok {
            self.event(|ledger, now, actions| ledger.mended(lane, held, mending, now, actions));
        } else {
            self.open.remove(&held.connection.id);
            self.event(|ledger, now, actions| ledger.unmendable(lane, mending, now, actions));
        }
    }

    fn tick(&mut self, pause: Duration) {
        self.now += pause;
        self.event(|ledger, now, actions| ledger.tick(now, actions));
    }

    fn verify(&self, lanes: usize, limits: &Limits, shrunk: bool) {
        let counts: Vec<Count> = (0..lanes).map(|lane| self.ledger.count(lane)).collect();
        let idle: usize = counts.iter().map(|count| count.idle).sum();
        let out = self.lent.len() + self.checks.len() + self.resets.len();
        assert_eq!(idle + out, self.open.len(), "no connection leaks");
        assert_eq!(idle + out + self.connects.len(), self.ledger.total());
        assert_eq!(counts.iter().map(|count| count.waiting).sum::<usize>(), self.queued.len());
        assert!(self.connects.len() <= limits.connecting_max);
        for (lane, count) in counts.iter().enumerate() {
            assert_eq!(count.lent, self.lent.iter().filter(|(own, _)| *own == lane).count());
            assert!(count.waiting <= limits.waiters_max);
            let size = count.idle + count.lent + count.connecting + count.mending;
            assert!(shrunk || size <= limits.connections_max);
        }
        assert!(shrunk || self.ledger.total() <= limits.server_connections_max);
    }
}

struct Dice(Spread);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        (self.0.next() % below.max(1) as u64) as usize
    }
}

/// One random life of a server's pools; every step keeps the books, and in the end everybody is served.
fn live(seed: u64) {
    let mut dice = Dice(Spread::new(seed));
    let lanes = 1 + dice.roll(3);
    let mut limits = Limits {
        idle_min: dice.roll(3),
        connections_max: 1 + dice.roll(4),
        server_connections_max: 1 + dice.roll(6),
        waiters_max: 1 + dice.roll(6),
        connecting_max: 1 + dice.roll(3),
        ..LIMITS
    };
    let wishes = [
        wanted(None, &[]),
        wanted(Some("shop"), &[]),
        wanted(Some("shop"), &["sql_mode"]),
        wanted(Some("blog"), &["time_zone"]),
    ];
    let mut world = World::new(limits, lanes);
    let mut shrunk = false;
    for _ in 0..150 {
        let any = dice.roll(1000);
        match dice.roll(12) {
            0..=3 => {
                let wish = &wishes[dice.roll(wishes.len())];
                world.ask(any % lanes, wish);
            }
            4 | 5 if !world.lent.is_empty() => {
                let index = any % world.lent.len();
                world.give_back(index, wishes[dice.roll(wishes.len())].clone());
            }
            6 if !world.lent.is_empty() => world.drop_lent(any % world.lent.len()),
            7 if !world.lent.is_empty() => {
                let (lane, held) = world.lent.swap_remove(any % world.lent.len());
                world.ledger.reset_begun(lane);
                world.resets.push((lane, held));
            }
            8 | 9 if !world.connects.is_empty() => {
                let ok = dice.roll(4) > 0;
                world.connect_ends(any % world.connects.len(), ok);
            }
            10 if !world.queued.is_empty() => {
                let waiter = *world.queued.keys().nth(any % world.queued.len()).unwrap();
                let (lane, ticket, _) = world.queued.remove(&waiter).unwrap();
                assert_eq!(world.ledger.cancel(lane, ticket), Some(waiter));
                assert_eq!(world.ledger.cancel(lane, ticket), None);
            }
            11 => match any % 6 {
                0 if !world.checks.is_empty() => world.mend_ends(Mending::Check, 0, dice.roll(2) == 0),
                1 | 2 if !world.resets.is_empty() => world.mend_ends(Mending::Reset, 0, dice.roll(3) > 0),
                3 if any < 50 => {
                    limits.connections_max = 1 + dice.roll(4);
                    limits.server_connections_max = 1 + dice.roll(6);
                    shrunk = true;
                    world.event(|ledger, now, actions| ledger.configure(limits, now, actions));
                }
                _ => world.tick(Duration::from_millis(dice.roll(40_000) as u64)),
            },
            _ => {}
        }
        world.verify(lanes, &limits, shrunk);
    }
    drain(&mut world, &mut dice);
    world.verify(lanes, &limits, shrunk);
    assert!(world.queued.is_empty(), "no waiter is lost");
    assert!(world.failed.is_empty());
    assert!(world.ledger.total() <= limits.server_connections_max);
    retire_and_check(&mut world);
}

fn drain(world: &mut World, dice: &mut Dice) {
    for _ in 0..400 {
        if !world.connects.is_empty() {
            world.connect_ends(0, true);
        } else if !world.resets.is_empty() {
            world.mend_ends(Mending::Reset, 0, true);
        } else if !world.checks.is_empty() {
            world.mend_ends(Mending::Check, 0, true);
        } else if !world.lent.is_empty() {
            let state = wanted(if dice.roll(2) == 0 { None } else { Some("shop") }, &[]);
            world.give_back(0, state);
        } else if !world.queued.is_empty() {
            // Nothing is under way: only the pause after a failed connect may hold the waiters.
            world.now += BACKOFF_MAX;
            world.event(|ledger, now, actions| ledger.wake(now, actions));
            assert!(!world.connects.is_empty(), "a waiter waits for nothing");
        } else {
            return;
        }
    }
}

fn retire_and_check(world: &mut World) {
    world.ask(0, &wanted(None, &[]));
    world.event(|ledger, _, actions| ledger.retire(actions));
    while !world.connects.is_empty() {
        world.connect_ends(0, true);
    }
    while !world.lent.is_empty() {
        world.give_back(0, SessionState::default());
    }
    assert_eq!((world.ledger.total(), world.open.len()), (0, 0), "a retired server keeps nothing");
    assert!(!world.ask(0, &wanted(None, &[])));
}

#[test]
fn thousands_of_random_lives_keep_the_books_and_serve_everybody() {
    for seed in 0..8_000 {
        if let Err(panic) = std::panic::catch_unwind(|| live(seed)) {
            panic!("seed {seed}: {:?}", panic.downcast_ref::<String>());
        }
    }
}

#[test]
fn the_connection_that_needs_least_is_lent_and_the_latest_among_equals() {
    let mut world = World::new(LIMITS, 1);
    let plain = wanted(None, &[]);
    let mode = wanted(None, &["sql_mode"]);
    let both = wanted(None, &["sql_mode", "time_zone"]);
    for _ in 0..4 {
        world.ask(0, &plain);
        while !world.connects.is_empty() {
            world.connect_ends(0, true);
        }
    }
    for state in [&both, &plain, &mode, &mode] {
        world.now += Duration::from_millis(1);
        let lowest = (0..world.lent.len()).min_by_key(|&index| world.lent[index].1.connection.id).unwrap();
        world.give_back(lowest, state.clone());
    }
    let mut lend = |wish: &SessionState| {
        world.ask(0, wish);
        world.lent.last().unwrap().1.connection.id
    };
    assert_eq!(lend(&mode), 4, "equal, and back last");
    assert_eq!(lend(&mode), 3, "equal");
    assert_eq!(lend(&mode), 2, "needs an addition");
    assert_eq!(lend(&mode), 1, "needs a reset");
}

#[test]
fn a_dead_server_is_tried_once_at_a_time_with_growing_pauses() {
    let mut world = World::new(LIMITS, 1);
    for _ in 0..4 {
        world.ask(0, &wanted(None, &[]));
    }
    assert_eq!(world.connects.len(), 2, "connects under way are bounded");
    world.connect_ends(0, false);
    world.connect_ends(0, false);
    let mut attempts = 0;
    for _ in 0..1000 {
        world.now += Duration::from_millis(10);
        world.event(|ledger, now, actions| ledger.wake(now, actions));
        assert!(world.connects.len() <= 1);
        while !world.connects.is_empty() {
            attempts += 1;
            world.connect_ends(0, false);
        }
    }
    assert!((10..=25).contains(&attempts), "{attempts} attempts in ten seconds");
    world.now += BACKOFF_MAX;
    world.event(|ledger, now, actions| ledger.wake(now, actions));
    world.connect_ends(0, true);
    assert_eq!(world.connects.len(), 2, "after a success the others follow");
}

#[test]
fn a_refused_login_fails_those_who_wait() {
    let mut world = World::new(LIMITS, 1);
    world.ask(0, &wanted(None, &[]));
    let lane = world.connects.pop().unwrap();
    world.event(|ledger, now, actions| ledger.connect_failed(lane, true, now, actions));
    assert_eq!(world.failed, [1]);
}

/// FAILED_LOGIN_ATTEMPTS locks accounts whose password is tried in vain.
#[test]
fn a_refused_login_is_not_tried_again_until_somebody_asks() {
    let mut world = World::new(Limits { idle_min: 1, ..LIMITS }, 1);
    let plain = wanted(None, &[]);
    world.ask(0, &plain);
    let lane = world.connects.pop().unwrap();
    world.event(|ledger, now, actions| ledger.connect_failed(lane, true, now, actions));
    for _ in 0..10 {
        world.tick(Duration::from_secs(10));
    }
    assert_eq!(world.connects.len(), 0);
    world.ask(0, &plain);
    world.connect_ends(0, true);
    world.tick(Duration::from_secs(1));
    assert_eq!(world.connects.len(), 1, "after a login the minimum is kept again");
}

#[test]
fn of_a_credential_of_the_past_nothing_is_kept_ready() {
    let mut world = World::new(Limits { idle_min: 2, ..LIMITS }, 0);
    let lane = world.ledger.open_lane(false);
    world.ask(lane, &wanted(None, &[]));
    world.connect_ends(0, true);
    world.give_back(0, SessionState::default());
    world.tick(Duration::from_secs(1));
    assert_eq!(world.connects.len(), 0);
    world.tick(LIMITS.idle_timeout);
    assert_eq!((world.open.len(), world.connects.len()), (0, 0));
}

#[test]
fn a_lane_without_connections_is_not_starved_by_a_busy_one() {
    let limits = Limits { connections_max: 2, server_connections_max: 2, ..LIMITS };
    let mut world = World::new(limits, 2);
    let plain = wanted(None, &[]);
    for _ in 0..2 {
        world.ask(0, &plain);
        world.connect_ends(0, true);
    }
    world.ask(1, &plain);
    world.ask(0, &plain);
    world.give_back(0, plain.clone());
    assert_eq!(world.closed, [CloseReason::Surplus]);
    assert_eq!(world.connects, [1]);
}

/// One long report must not be all that a lane ever gets while another one fills the server.
#[test]
fn lanes_that_want_more_than_there_is_get_equal_shares() {
    let limits = Limits { server_connections_max: 5, waiters_max: 100, ..LIMITS };
    let mut world = World::new(limits, 2);
    let plain = wanted(None, &[]);
    // Lane 0 fills the server but for one long report of lane 1; then both want more.
    for lane in [0, 0, 0, 0, 0, 1, 1, 1, 1] {
        world.ask(lane, &plain);
    }
    world.connect_ends_all();
    let shares = |world: &World| [0, 1].map(|lane| world.ledger.count(lane).lent);
    assert_eq!(shares(&world), [4, 1]);
    for _ in 0..20 {
        world.ask(0, &plain);
        let of_busy_lane = world.lent.iter().position(|(lane, _)| *lane == 0).unwrap();
        world.give_back(of_busy_lane, plain.clone());
        world.connect_ends_all();
    }
    assert_eq!(shares(&world), [3, 2]);
}

#[test]
fn a_connection_that_fits_is_found_behind_many_that_do_not() {
    let limits = Limits { connections_max: 100, server_connections_max: 100, ..LIMITS };
    let mut world = World::new(limits, 1);
    let (shop, plain) = (wanted(Some("shop"), &[]), wanted(None, &[]));
    for _ in 0..FIT_SCAN_MAX + 2 {
        world.ask(0, &shop);
        world.connect_ends_all();
    }
    for number in 0..FIT_SCAN_MAX + 2 {
        world.now += Duration::from_millis(1);
        world.give_back(0, if number == 0 { plain.clone() } else { shop.clone() });
    }
    world.ask(0, &plain);
    assert_eq!((world.lent.len(), world.connects.len()), (1, 0));
}

#[test]
fn long_idle_connections_end_but_for_the_minimum_and_silent_ones_are_checked() {
    let mut world = World::new(Limits { idle_min: 1, ..LIMITS }, 1);
    let plain = wanted(None, &[]);
    for _ in 0..3 {
        world.ask(0, &plain);
        world.connect_ends(0, true);
    }
    for _ in 0..3 {
        world.give_back(0, plain.clone());
    }
    world.tick(Duration::from_secs(31));
    assert_eq!(world.checks.len(), 2, "bounded at once");
    world.mend_ends(Mending::Check, 0, true);
    world.mend_ends(Mending::Check, 0, false);
    assert_eq!(world.ledger.count(0).idle, 2);
    world.tick(Duration::from_secs(30));
    assert_eq!(world.closed, [CloseReason::Idle]);
    world.mend_ends(Mending::Check, 0, true);
    world.tick(Duration::from_secs(1000));
    assert_eq!(world.closed, [CloseReason::Idle, CloseReason::Lifetime]);
    assert_eq!(world.connects, [0], "the minimum is kept");
}

#[test]
fn a_waiter_whom_no_connection_suits_gets_the_place_of_one_when_all_are_taken() {
    let limits = Limits { connections_max: 1, ..LIMITS };
    let mut world = World::new(limits, 1);
    let shop = wanted(Some("shop"), &[]);
    world.ask(0, &shop);
    world.connect_ends(0, true);
    world.ask(0, &wanted(None, &[]));
    world.ask(0, &shop);
    world.give_back(0, shop.clone());
    assert_eq!(world.closed, [CloseReason::Unfit]);
    world.connect_ends(0, true);
    assert_eq!(world.served, [1, 2]);
}

#[test]
fn while_there_is_room_a_waiter_whom_a_connection_does_not_suit_does_not_cost_it() {
    let mut world = World::new(LIMITS, 1);
    let shop = wanted(Some("shop"), &[]);
    world.ask(0, &shop);
    world.connect_ends(0, true);
    world.give_back(0, shop.clone());
    world.ask(0, &wanted(None, &[]));
    assert_eq!((world.connects.len(), world.closed.len()), (1, 0));
    assert!(world.ask(0, &shop) && world.lent.len() == 1, "who comes later and suits it takes it");
}

#[test]
fn a_waiter_gets_a_new_connection_while_places_are_free() {
    let mut world = World::new(LIMITS, 1);
    for lent in 0..LIMITS.connections_max {
        world.ask(0, &wanted(None, &[]));
        assert_eq!(world.connects.len(), 1, "{lent} are lent");
        world.connect_ends(0, true);
    }
    world.ask(0, &wanted(None, &[]));
    assert_eq!(world.connects.len(), 0);
}

#[test]
fn an_idle_connection_of_another_lane_gives_its_place_to_a_waiter() {
    let mut world = World::new(Limits { server_connections_max: 1, ..LIMITS }, 2);
    world.ask(0, &wanted(None, &[]));
    world.connect_ends(0, true);
    world.ask(1, &wanted(None, &[]));
    assert!(world.connects.is_empty());
    world.give_back(0, SessionState::default());
    assert_eq!(
        (world.closed.as_slice(), world.connects.as_slice()),
        ([CloseReason::Surplus].as_slice(), [1].as_slice())
    );
}
