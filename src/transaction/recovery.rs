//! What whoever finds a prepared branch does with it. Pure.
//!
//! Any number of proxies may do so at the same time, and the coordinator may still be alive: the row that stands in the lead's table
//! decides, and a row can be put there once. A recoverer puts `abort` where no row is. It waits for a COMMIT of the lead that is under
//! way, since that holds the row's lock; a lead that comes later finds the row taken, and rolls back.

use std::collections::HashMap;
use std::time::Duration;

use super::two_phase::Decision;
use super::xid::{GlobalId, Xid};
use crate::topology::ServerName;

/// The table of decisions, on every shard's primary.
pub(crate) const CREATE_SCHEMA: &str = "CREATE DATABASE IF NOT EXISTS shardway";
pub(crate) const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS shardway.decision (\
    id VARBINARY(40) NOT NULL PRIMARY KEY, outcome ENUM('commit','abort') NOT NULL, \
    decided_ms BIGINT UNSIGNED NOT NULL, KEY decided (decided_ms)) ENGINE=InnoDB";

/// Rows older than this are removed once no branch of theirs is left anywhere. No commit takes so long: a coordinator gives up after
/// [`COMMIT_TIME_MAX`], and nobody asks for the row of one that has ended.
pub(crate) const ROWS_KEPT: Duration = Duration::from_secs(3600);

/// A coordinator sends COMMIT only within this time after it began to prepare.
pub(crate) const COMMIT_TIME_MAX: Duration = Duration::from_secs(60);

/// The row of a commit, to be inserted in the lead's transaction.
pub(crate) fn note(id: GlobalId, now_ms: u64) -> String {
    format!("INSERT INTO shardway.decision (id, outcome, decided_ms) VALUES ('{id}', 'commit', {now_ms})")
}

/// Puts `abort` where no row is.
pub(crate) fn fence(id: GlobalId, now_ms: u64) -> String {
    format!(
        "INSERT IGNORE INTO shardway.decision (id, outcome, decided_ms) VALUES ('{id}', 'abort', {now_ms})"
    )
}

pub(crate) fn question(id: GlobalId) -> String {
    format!("SELECT outcome FROM shardway.decision WHERE id = '{id}'")
}

/// The row's outcome; `None` for anything that cannot stand there.
pub(crate) fn decision(outcome: &[u8]) -> Option<Decision> {
    match outcome {
        b"commit" => Some(Decision::Commit),
        b"abort" => Some(Decision::Abort),
        _ => None,
    }
}

/// Removes rows decided before `before_ms` that no branch in doubt needs. `in_doubt` must be what all servers listed, and listed
/// after the rows were decided.
pub(crate) fn cleanup(in_doubt: &[GlobalId], before_ms: u64) -> String {
    let ids: Vec<String> = in_doubt.iter().map(|id| format!("'{id}'")).collect();
    let kept = if ids.is_empty() { String::new() } else { format!(" AND id NOT IN ({})", ids.join(", ")) };
    format!("DELETE FROM shardway.decision WHERE decided_ms < {before_ms}{kept} LIMIT 10000")
}

/// Since when prepared branches have been seen. Commits under way prepare branches all the time: only one that stays is in doubt,
/// and it is the finder's own clock that says so.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    since: HashMap<(ServerName, Xid), Duration>,
}

impl Sightings {
    /// What a server lists at `now`, a moment on a clock that does not jump; gives the branches with the time that they have been there.
    pub(crate) fn seen(
        &mut self,
        server: &ServerName,
        listed: Vec<Xid>,
        now: Duration,
    ) -> Vec<(Xid, Duration)> {
        let before = std::mem::take(&mut self.since);
        let (here, elsewhere): (HashMap<_, _>, HashMap<_, _>) =
            before.into_iter().partition(|((of, _), _)| of == server);
        self.since = elsewhere;
        listed
            .into_iter()
            .map(|xid| {
                let key = (server.clone(), xid.clone());
                let since = here.get(&key).copied().unwrap_or(now);
                self.since.insert(key, since);
                (xid, now.saturating_sub(since))
            })
            .collect()
    }

    /// Servers that are no longer there cannot say that their branches have ended.
    pub(crate) fn keep(&mut self, servers: impl Fn(&ServerName) -> bool) {
        self.since.retain(|(server, _), _| servers(server));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_in_doubt_by_the_time_that_it_stays() {
        let mut sightings = Sightings::default();
        let xid = |number| Xid::new(GlobalId { instance: 1, number }, 1, &"s1".into());
        let at = Duration::from_secs;
        let (a, b) = ("a".into(), "b".into());
        assert_eq!(sightings.seen(&a, vec![xid(1)], at(5)), [(xid(1), at(0))]);
        assert_eq!(sightings.seen(&b, vec![xid(1)], at(6)), [(xid(1), at(0))], "another branch");
        assert_eq!(sightings.seen(&a, vec![xid(2), xid(1)], at(9)), [(xid(2), at(0)), (xid(1), at(4))]);
        assert_eq!(sightings.seen(&a, vec![], at(10)), []);
        assert_eq!(sightings.seen(&a, vec![xid(1)], at(11)), [(xid(1), at(0))], "it had ended in between");
        assert_eq!(sightings.seen(&b, vec![xid(1)], at(12)), [(xid(1), at(6))]);
    }

    #[test]
    fn rows_of_branches_in_doubt_are_kept() {
        let ids = [GlobalId { instance: 1, number: 2 }];
        assert!(cleanup(&ids, 7).contains("decided_ms < 7 AND id NOT IN ('0000000000000001-2')"));
        assert!(!cleanup(&[], 7).contains("NOT IN"));
    }
}
