//! What a transaction binds, and how one over several shards ends. Pure; the session drives it and holds the connections.
//!
//! * `state` — which shards are part of a transaction, and what those that join are told.
//! * `two_phase` — the coordinator of a commit over several shards.
//! * `recovery` — what becomes of branches whose coordinator is gone.
//! * `xid` — the names of transactions and branches.

#[cfg(test)]
mod explorer;
mod failpoint;
pub(crate) mod recovery;
mod state;
mod two_phase;
mod xid;

pub(crate) use failpoint::Failpoint;
pub(crate) use state::{Manner, Membership, Transaction};
pub(crate) use two_phase::{Action, Coordinator, Decision, Event, Verdict};
pub(crate) use xid::{GlobalId, Numbering, Xid};
