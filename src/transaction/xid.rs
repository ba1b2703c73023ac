//! Names of transactions over several shards. Pure.
//!
//! A branch's XA identifier says all that whoever finds it must know: whose transaction it is, and which shard decides it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::topology::ShardName;

/// The format id of branches that Shardway began; others belong to applications and are left alone.
pub(crate) const FORMAT_ID: u32 = 0x5357_4159;

/// One transaction over several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GlobalId {
    /// Random, of the process that began it.
    pub(crate) instance: u64,
    pub(crate) number: u64,
}

impl fmt::Display for GlobalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{:x}", self.instance, self.number)
    }
}

impl GlobalId {
    /// As it is displayed, and in no other form.
    pub(crate) fn parse(text: &str) -> Option<GlobalId> {
        let (instance, number) = text.split_once('-')?;
        let id = GlobalId {
            instance: u64::from_str_radix(instance, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        };
        (id.to_string() == text).then_some(id)
    }
}

/// Gives the ids of one process.
#[derive(Debug)]
pub(crate) struct Numbering {
    instance: u64,
    last: AtomicU64,
}

impl Numbering {
    /// `instance` must be random: ids are unique over all proxies and their restarts.
    pub(crate) fn new(instance: u64) -> Numbering {
        Numbering { instance, last: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> GlobalId {
        GlobalId { instance: self.instance, number: self.last.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// One branch: the part of a transaction on a shard other than the deciding one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Xid {
    pub(crate) id: GlobalId,
    /// Shards may share a server: the number keeps their branches apart.
    pub(crate) branch: u16,
    /// The shard whose table holds the decision.
    pub(crate) decider: ShardName,
}

impl Xid {
    /// Names of shards are short enough for identifiers: the configuration sees to it.
    pub(crate) fn new(id: GlobalId, branch: u16, decider: &ShardName) -> Xid {
        Xid { id, branch, decider: decider.clone() }
    }

    /// The answer of XA RECOVER: lengths of both parts, and the parts behind each other.
    pub(crate) fn recovered(format: i64, global: usize, qualifier: usize, data: &[u8]) -> Option<Xid> {
        if format != i64::from(FORMAT_ID) || data.len() != global.checked_add(qualifier)? {
            return None;
        }
        let (global, qualifier) = data.split_at_checked(global)?;
        let id = GlobalId::parse(std::str::from_utf8(global).ok()?)?;
        let (branch, decider) = std::str::from_utf8(qualifier).ok()?.split_once('@')?;
        Some(Xid::new(id, branch.parse().ok()?, &decider.into()))
    }

    fn qualifier(&self) -> String {
        format!("{}@{}", self.branch, self.decider)
    }
}

/// As statements name it: in hexadecimal digits, which read alike in every character set and mode.
impl fmt::Display for Xid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut part = |text: &str| {
            out.write_str("X'")?;
            text.bytes().try_for_each(|byte| write!(out, "{byte:02x}"))?;
            out.write_str("',")
        };
        part(&self.id.to_string())?;
        part(&self.qualifier())?;
        write!(out, "{FORMAT_ID}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_lists_is_read_back() {
        let id = GlobalId { instance: 0xAB, number: 17 };
        let xid = Xid::new(id, 3, &"shard1".into());
        let written = "X'303030303030303030303030303061622d3131',X'3340736861726431',1398227289";
        assert_eq!(xid.to_string(), written);
        let (global, qualifier) = (id.to_string(), "3@shard1");
        let data = format!("{global}{qualifier}");
        let read = |format, bytes: &[u8]| Xid::recovered(format, global.len(), qualifier.len(), bytes);
        assert_eq!(read(i64::from(FORMAT_ID), data.as_bytes()), Some(xid));
        assert_eq!(read(1, data.as_bytes()), None, "somebody else's");
        assert_eq!(read(i64::from(FORMAT_ID), &data.as_bytes()[1..]), None);
        assert_eq!(GlobalId::parse("ab-11"), None, "digits are missing");
    }
}
