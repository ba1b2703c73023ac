//! Every schedule of a commit over three shards: messages lost, late or answered in any order, every party crashing at every step,
//! two recoverers at work at any time. Exhaustive, so that it needs no luck.

use std::collections::HashSet;

use super::two_phase::{Action, Coordinator, Decision, Event, Verdict};

const BRANCHES: usize = 2;

/// One connection of the coordinator's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Wire {
    /// Sent, and not at the server yet.
    request: Option<Action>,
    /// Said by the server, and not read yet.
    reply: Option<Event>,
    /// The coordinator waits for the answer to this.
    awaited: Option<Action>,
    /// The coordinator has given it up, or is dead itself.
    hung_up: bool,
    /// The server has given it up; what was open on it is rolled back.
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Active,
    Prepared,
    Committed,
    RolledBack,
}

/// The transaction on the deciding shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lead {
    Active,
    /// Its row is inserted and locked.
    Noted,
    Committed,
    RolledBack,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// `None` once it has died.
    coordinator: Option<Coordinator>,
    verdict: Option<Verdict>,
    lead: Lead,
    lead_wire: Wire,
    /// The committed row.
    row: Option<Decision>,
    parts: [Part; BRANCHES],
    wires: [Wire; BRANCHES],
    /// The coordinator's question to the table.
    asking: bool,
    /// What two recoverers know of each branch that they have found.
    recoverers: [[Option<Decision>; BRANCHES]; 2],
}

impl World {
    fn new() -> World {
        let (coordinator, actions) = Coordinator::start(BRANCHES);
        let mut world = World {
            coordinator: Some(coordinator),
            verdict: None,
            lead: Lead::Active,
            lead_wire: Wire::default(),
            row: None,
            parts: [Part::Active; BRANCHES],
            wires: Default::default(),
            asking: false,
            recoverers: Default::default(),
        };
        world.send(actions);
        world
    }

    fn send(&mut self, actions: Vec<Action>) {
        for action in actions {
            let wire = match action {
                Action::Ask => {
                    self.asking = true;
                    continue;
                }
                Action::Note | Action::Decide | Action::RollBackLead => &mut self.lead_wire,
                Action::Prepare(branch) | Action::CommitBranch(branch) | Action::RollBackBranch(branch) => {
                    &mut self.wires[branch]
                }
            };
            wire.awaited = Some(action);
            if !wire.hung_up && !wire.ended {
                wire.request = Some(action);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let actions = coordinator.on(event);
        self.verdict = coordinator.verdict().or(self.verdict);
        self.send(actions);
    }

    fn wire(&mut self, branch: Option<usize>) -> &mut Wire {
        match branch {
            Some(branch) => &mut self.wires[branch],
            None => &mut self.lead_wire,
        }
    }

    /// INSERT IGNORE of `abort`, and reading the row; `None` while the row is locked.
    fn fence(&mut self) -> Option<Decision> {
        if self.lead == Lead::Noted {
            return None;
        }
        Some(*self.row.get_or_insert(Decision::Abort))
    }

    /// The server carries out what has arrived; both ways where it may refuse.
    fn arrive(&self, branch: Option<usize>, request: Action) -> Vec<World> {
        let mut one = self.clone();
        one.wire(branch).request = None;
        let mut refused = None;
        let reply = match request {
            Action::Note if one.row.is_some() => Event::NotNoted,
            Action::Note => {
                one.lead = Lead::Noted;
                Event::Noted
            }
            Action::Decide => {
                assert_eq!(one.lead, Lead::Noted, "COMMIT without a row");
                (one.lead, one.row) = (Lead::Committed, Some(Decision::Commit));
                Event::Decided
            }
            Action::RollBackLead => {
                one.lead = Lead::RolledBack;
                Event::LeadEnded
            }
            Action::Prepare(branch) => {
                let mut no = one.clone();
                no.wires[branch].reply = Some(Event::NotPrepared(branch));
                refused = Some(no);
                one.parts[branch] = Part::Prepared;
                Event::Prepared(branch)
            }
            Action::CommitBranch(branch) => {
                one.finish(branch, Decision::Commit);
                Event::Ended(branch)
            }
            Action::RollBackBranch(branch) => {
                one.finish(branch, Decision::Abort);
                Event::Ended(branch)
            }
            Action::Ask => unreachable!("not on this connection"),
        };
        let mut both: Vec<World> = std::iter::once(one).chain(refused).collect();
        both[0].wire(branch).reply = Some(reply);
        for world in both.iter_mut() {
            let wire = world.wire(branch);
            // Nobody reads it any more.
            wire.reply = wire.reply.filter(|_| !wire.hung_up);
        }
        both
    }

    /// XA COMMIT or XA ROLLBACK; a branch that has ended already is unknown to its server.
    fn finish(&mut self, branch: usize, decision: Decision) {
        match (self.parts[branch], decision) {
            (Part::Prepared, Decision::Commit) => self.parts[branch] = Part::Committed,
            (Part::Active | Part::Prepared, Decision::Abort) => self.parts[branch] = Part::RolledBack,
            (Part::Active, Decision::Commit) => panic!("a branch is committed that was not prepared"),
            (Part::Committed | Part::RolledBack, _) => {}
        }
    }

    /// The server gives a connection up, or crashes: what is neither prepared nor committed is gone.
    fn cut(&self, branch: Option<usize>) -> World {
        let mut world = self.clone();
        let wire = world.wire(branch);
        (wire.request, wire.reply, wire.ended) = (None, None, true);
        match branch {
            Some(branch) if world.parts[branch] == Part::Active => world.parts[branch] = Part::RolledBack,
            None if matches!(world.lead, Lead::Active | Lead::Noted) => world.lead = Lead::RolledBack,
            Some(_) | None => {}
        }
        world
    }

    /// The coordinator waits no longer: the connection broke, or the time is over. A request may still arrive.
    fn give_up(&self, branch: Option<usize>, awaited: Action) -> World {
        let mut world = self.clone();
        let wire = world.wire(branch);
        (wire.awaited, wire.reply, wire.hung_up) = (None, None, true);
        world.tell(match awaited {
            Action::Prepare(branch) => Event::BranchLost(branch),
            Action::Note => Event::LeadLost,
            Action::Decide => Event::NotDecided,
            Action::RollBackLead => Event::LeadEnded,
            Action::CommitBranch(branch) | Action::RollBackBranch(branch) => Event::Ended(branch),
            Action::Ask => Event::NotTold,
        });
        world
    }

    fn next(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        for branch in [None].into_iter().chain((0..BRANCHES).map(Some)) {
            let wire = self.clone().wire(branch).clone();
            if let Some(request) = wire.request {
                worlds.extend(self.arrive(branch, request));
            }
            if !wire.ended {
                worlds.push(self.cut(branch));
            }
            if self.coordinator.is_none() {
                continue;
            }
            if let Some(awaited) = wire.awaited {
                worlds.push(self.give_up(branch, awaited));
            }
            if let Some(reply) = wire.reply {
                let mut world = self.clone();
                (world.wire(branch).reply, world.wire(branch).awaited) = (None, None);
                world.tell(reply);
                worlds.push(world);
            }
        }
        if self.coordinator.is_some() {
            let mut dead = self.clone();
            (dead.coordinator, dead.asking) = (None, false);
            dead.lead_wire = Wire { hung_up: true, reply: None, awaited: None, ..dead.lead_wire };
            for wire in &mut dead.wires {
                (wire.hung_up, wire.reply, wire.awaited) = (true, None, None);
            }
            worlds.push(dead);
        }
        if self.asking {
            let (mut told, mut in_vain) = (self.clone(), self.clone());
            (told.asking, in_vain.asking) = (false, false);
            in_vain.tell(Event::NotTold);
            worlds.push(in_vain);
            if let Some(decision) = told.fence() {
                told.tell(Event::Told(decision));
                worlds.push(told);
            }
        }
        for recoverer in 0..2 {
            for branch in 0..BRANCHES {
                let mut world = self.clone();
                if let Some(decision) = world.recoverers[recoverer][branch].take() {
                    // It died in between.
                    worlds.push(world.clone());
                    world.finish(branch, decision);
                    worlds.push(world);
                } else if self.parts[branch] == Part::Prepared
                    && let Some(decision) = world.fence()
                {
                    world.recoverers[recoverer][branch] = Some(decision);
                    worlds.push(world);
                }
            }
        }
        worlds
    }

    fn check(&self) {
        let committed = self.row == Some(Decision::Commit);
        for part in self.parts {
            assert!(part != Part::Committed || committed, "a branch committed on its own: {self:?}");
            assert!(part != Part::RolledBack || !committed, "a branch of a commit is rolled back: {self:?}");
        }
        match self.verdict {
            Some(Verdict::Committed) => assert!(committed, "acknowledged and lost: {self:?}"),
            Some(Verdict::RolledBack) => assert!(!committed, "told of a rollback: {self:?}"),
            Some(Verdict::Unknown) | None => {}
        }
        assert_eq!(committed, self.lead == Lead::Committed, "the row goes with the transaction: {self:?}");
    }

    fn has_ended(&self) -> bool {
        let coordinator = self.coordinator.as_ref().is_none_or(|coordinator| coordinator.verdict().is_some());
        let parts = self.parts.iter().all(|part| matches!(part, Part::Committed | Part::RolledBack));
        coordinator && parts && matches!(self.lead, Lead::Committed | Lead::RolledBack)
    }
}

#[test]
fn no_schedule_ends_half_committed() {
    let first = World::new();
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    let (mut steps, mut ends) = (0_u64, 0_u64);
    while let Some(world) = open.pop() {
        world.check();
        let next = world.next();
        if next.is_empty() {
            assert!(world.has_ended(), "nothing can happen any more: {world:?}");
        }
        ends += u64::from(world.has_ended());
        steps += next.len() as u64;
        open.extend(next.into_iter().filter(|world| seen.insert(world.clone())));
    }
    println!("{} states, {steps} steps between them, {ends} states in which all has ended", seen.len());
    assert!(ends > 0 && seen.len() > 10_000, "{} states", seen.len());
}
