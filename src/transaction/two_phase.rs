//! The coordinator of one commit over several shards. Pure: answers of servers go in, what to do next comes out.
//!
//! One shard, the *lead*, runs a plain transaction, the others XA branches. All branches are prepared while the lead notes the
//! decision in its own transaction; the lead's COMMIT then is the decision, in one place, and the branches follow it.
//! Whoever finds a prepared branch later asks the lead's table (`recovery`): a coordinator that is gone decides nothing.

/// What the driver has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// XA END and XA PREPARE.
    Prepare(usize),
    /// Insert the decision's row in the lead's transaction.
    Note,
    /// COMMIT of the lead.
    Decide,
    /// ROLLBACK of the lead.
    RollBackLead,
    CommitBranch(usize),
    RollBackBranch(usize),
    /// Find out on a new connection how the lead decided, fencing it off if it has not.
    Ask,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    Prepared(usize),
    /// The server said no; the branch is still on its connection.
    NotPrepared(usize),
    /// The connection is gone: nobody knows whether it was prepared.
    BranchLost(usize),
    Noted,
    NotNoted,
    LeadLost,
    Decided,
    /// COMMIT was not answered with OK. What became of it only the table knows.
    NotDecided,
    Told(Decision),
    NotTold,
    /// A branch has ended as it was told, or is left to recovery.
    Ended(usize),
    /// The lead has rolled back, or its connection is gone, which comes to the same.
    LeadEnded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Decision {
    Commit,
    Abort,
}

/// What the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Committed,
    RolledBack,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    Preparing { refused: bool },
    Deciding,
    Asking,
    Ending(Verdict),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Coordinator {
    phase: Phase,
    lead_lost: bool,
    /// Of each branch, whether its connection is gone.
    lost: Vec<bool>,
    /// Answers that are still to come.
    waiting: usize,
}

impl Coordinator {
    /// A commit of one lead and so many branches, and what it begins with.
    pub(crate) fn start(branches: usize) -> (Coordinator, Vec<Action>) {
        let phase = Phase::Preparing { refused: false };
        let coordinator =
            Coordinator { phase, lead_lost: false, lost: vec![false; branches], waiting: branches + 1 };
        let actions = (0..branches).map(Action::Prepare).chain([Action::Note]).collect();
        (coordinator, actions)
    }

    /// Set once nothing is left to do.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.phase {
            Phase::Ending(verdict) if self.waiting == 0 => Some(verdict),
            _ => None,
        }
    }

    /// Each action is answered by exactly one event.
    pub(crate) fn on(&mut self, event: Event) -> Vec<Action> {
        self.waiting -= 1;
        match event {
            Event::BranchLost(branch) => self.lost[branch] = true,
            Event::LeadLost => self.lead_lost = true,
            _ => {}
        }
        match (self.phase, event) {
            (Phase::Preparing { .. }, Event::Prepared(_) | Event::Noted) => self.when_prepared(),
            (Phase::Preparing { .. }, _) => {
                self.phase = Phase::Preparing { refused: true };
                self.when_prepared()
            }
            (Phase::Deciding, Event::Decided) => self.end(Decision::Commit),
            (Phase::Deciding, _) => self.go(Phase::Asking, vec![Action::Ask]),
            (Phase::Asking, Event::Told(decision)) => self.end(decision),
            (Phase::Asking, _) => self.go(Phase::Ending(Verdict::Unknown), Vec::new()),
            (Phase::Ending(_), _) => Vec::new(),
        }
    }

    fn when_prepared(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Preparing { .. } if self.waiting > 0 => Vec::new(),
            Phase::Preparing { refused: false } => self.go(Phase::Deciding, vec![Action::Decide]),
            _ => {
                let lead = (!self.lead_lost).then_some(Action::RollBackLead);
                let branches = self.kept().map(Action::RollBackBranch);
                let actions = lead.into_iter().chain(branches).collect();
                self.go(Phase::Ending(Verdict::RolledBack), actions)
            }
        }
    }

    fn end(&mut self, decision: Decision) -> Vec<Action> {
        let (verdict, action): (_, fn(usize) -> Action) = match decision {
            Decision::Commit => (Verdict::Committed, Action::CommitBranch),
            Decision::Abort => (Verdict::RolledBack, Action::RollBackBranch),
        };
        let actions = self.kept().map(action).collect();
        self.go(Phase::Ending(verdict), actions)
    }

    fn kept(&self) -> impl Iterator<Item = usize> {
        self.lost.iter().enumerate().filter(|(_, lost)| !**lost).map(|(branch, _)| branch)
    }

    fn go(&mut self, phase: Phase, actions: Vec<Action>) -> Vec<Action> {
        self.phase = phase;
        self.waiting = actions.len();
        actions
    }
}
