//! The state of a session's transaction.
//!
//! BEGIN is not sent at once: the shard is not known until the first statement. Until then the statements that shape the
//! transaction (SET TRANSACTION, BEGIN, SAVEPOINT) are kept and sent in front of that statement. Afterwards the server's own flag
//! SERVER_STATUS_IN_TRANS is the truth: it also covers autocommit=0 and implicit commits, which no parser has to know.
//!
//! A shard joins with what the others were told, savepoints among it, so that ROLLBACK TO means the same on all of them. The first
//! runs a plain transaction, and nothing else does as long as it is alone; those that join later run XA branches where the
//! commit is to be atomic (decision 26).

use super::xid::{GlobalId, Xid};
use crate::config::TransactionMode;
use crate::topology::ShardName;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Transaction {
    /// No transaction, or one that a server will begin by itself (autocommit=0).
    #[default]
    None,
    /// Begun by the client, bound to no shard.
    Pending { begin: Vec<u8>, manner: Manner, savepoints: Vec<Savepoint> },
    /// Open on the servers of one shard or of several.
    Open(Open),
    /// A connection of it is gone, and with it what it did there. Until the client ends it, further statements of it must not run:
    /// they would be half of a transaction.
    Aborted,
}

/// An open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// In the order in which they joined; never empty.
    shards: Vec<ShardName>,
    /// Those that may have been written.
    written: Vec<ShardName>,
    /// What a shard that joins is told first: SET TRANSACTION for this transaction, and behind it BEGIN.
    opening: Vec<Vec<u8>>,
    savepoints: Vec<Savepoint>,
    /// The shard that was first. Its plain transaction decides for all.
    decider: ShardName,
    manner: Manner,
    /// As it was when a second shard joined.
    mode: Option<TransactionMode>,
    /// Given with the first branch.
    id: Option<GlobalId>,
    branches: u16,
}

/// What the client's BEGIN says of the whole transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner {
    pub(crate) read_only: bool,
    /// WITH CONSISTENT SNAPSHOT, which XA START cannot say.
    pub(crate) snapshot: bool,
}

/// What a shard that joins runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Membership {
    Plain,
    Branch(Xid),
}

/// A savepoint that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Savepoint {
    name: String,
    statement: Vec<u8>,
}

/// ROLLBACK TO or RELEASE of a savepoint that was never set (MySQL's error 1305).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownSavepoint;

/// What begins a transaction that the client did not begin with a statement of its own.
const BEGIN: &[u8] = b"BEGIN";

impl Transaction {
    /// `begin` is the client's own statement.
    pub(crate) fn begin(begin: &[u8], manner: Manner) -> Transaction {
        Transaction::Pending { begin: begin.to_vec(), manner, savepoints: Vec::new() }
    }

    /// Begun as read only, and no server knows yet.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Transaction::Pending { manner: Manner { read_only: true, .. }, .. })
    }

    /// Whether the client is in a transaction, as its status flags say.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Transaction::None => false,
            Transaction::Pending { .. } | Transaction::Open(_) | Transaction::Aborted => true,
        }
    }

    /// Begun by the client, and no server knows.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self, Transaction::Pending { .. })
    }

    /// Whether only its end can follow.
    pub(crate) fn is_aborted(&self) -> bool {
        *self == Transaction::Aborted
    }

    /// The shard whose server ends the transaction first and answers the client: the one that was written, else the first.
    pub(crate) fn shard(&self) -> Option<&ShardName> {
        match self {
            Transaction::None | Transaction::Pending { .. } | Transaction::Aborted => None,
            Transaction::Open(open) => open.written.first().or(open.shards.first()),
        }
    }

    /// All shards that it is open on.
    pub(crate) fn shards(&self) -> &[ShardName] {
        match self {
            Transaction::None | Transaction::Pending { .. } | Transaction::Aborted => &[],
            Transaction::Open(open) => &open.shards,
        }
    }

    /// The shards that may have been written, in their order.
    pub(crate) fn written(&self) -> &[ShardName] {
        match self {
            Transaction::None | Transaction::Pending { .. } | Transaction::Aborted => &[],
            Transaction::Open(open) => &open.written,
        }
    }

    /// A statement that may write has run on a shard of the transaction.
    pub(crate) fn wrote(&mut self, shard: &ShardName) {
        if let Transaction::Open(open) = self
            && open.shards.contains(shard)
            && !open.written.contains(shard)
        {
            open.written.push(shard.clone());
        }
    }

    /// The mode that this transaction ends by; `usual` as long as one shard is all there is.
    pub(crate) fn mode(&self, usual: TransactionMode) -> TransactionMode {
        match self {
            Transaction::Open(Open { mode: Some(mode), .. }) => *mode,
            _ => usual,
        }
    }

    /// The shard that decides, and under which id, where there are branches.
    pub(crate) fn decider(&self) -> Option<(&ShardName, GlobalId)> {
        match self {
            Transaction::Open(Open { decider, id: Some(id), .. }) => Some((decider, *id)),
            _ => None,
        }
    }

    /// Whether its shards cannot be branches, whatever the mode.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            Transaction::Pending { manner, .. } | Transaction::Open(Open { manner, .. }) => manner.snapshot,
            Transaction::None | Transaction::Aborted => false,
        }
    }

    /// Whether a second shard may be written, too; else why not.
    pub(crate) fn may_write(&self, shard: &ShardName, usual: TransactionMode) -> Result<(), String> {
        let Transaction::Open(open) = self else { return Ok(()) };
        let Some(other) = open.written.iter().find(|written| *written != shard) else { return Ok(()) };
        let why = match open.mode.unwrap_or(usual) {
            TransactionMode::Single => "the transaction mode is \"single\"",
            TransactionMode::Atomic if open.manner.snapshot => {
                "it began WITH CONSISTENT SNAPSHOT, which no XA branch can"
            }
            TransactionMode::Atomic | TransactionMode::BestEffort => return Ok(()),
        };
        Err(format!("the transaction writes on shard {other} and the statement on shard {shard}: {why}"))
    }

    /// What a shard that is about to join will run; fixes the transaction's mode.
    pub(crate) fn membership(
        &mut self,
        shard: &ShardName,
        usual: TransactionMode,
        next_id: impl FnOnce() -> GlobalId,
    ) -> Membership {
        let Transaction::Open(open) = self else { return Membership::Plain };
        if open.shards.is_empty() || *shard == open.decider {
            return Membership::Plain;
        }
        let plain = open.manner.read_only || open.manner.snapshot;
        if plain || *open.mode.get_or_insert(usual) != TransactionMode::Atomic {
            return Membership::Plain;
        }
        let id = *open.id.get_or_insert_with(next_id);
        open.branches += 1;
        Membership::Branch(Xid::new(id, open.branches, &open.decider))
    }

    /// As [`Transaction::opening`], for a branch.
    pub(crate) fn opening_of_branch(&self, xid: &Xid) -> Vec<Vec<u8>> {
        let Transaction::Open(open) = self else { return Vec::new() };
        let characteristics = open.opening.iter().take(open.opening.len().saturating_sub(1)).cloned();
        let start = format!("XA START {xid}").into_bytes();
        characteristics.chain([start]).chain(statements(&open.savepoints).map(<[u8]>::to_vec)).collect()
    }

    /// What must be sent in front of the first statement on a shard, in order.
    pub(crate) fn opening(&self) -> Vec<&[u8]> {
        match self {
            Transaction::None | Transaction::Aborted => Vec::new(),
            Transaction::Pending { begin, savepoints, .. } => {
                std::iter::once(begin.as_slice()).chain(statements(savepoints)).collect()
            }
            Transaction::Open(open) => {
                open.opening.iter().map(Vec::as_slice).chain(statements(&open.savepoints)).collect()
            }
        }
    }

    /// A shard was told the opening, behind `characteristics` (SET TRANSACTION for the next transaction).
    pub(crate) fn join(&mut self, shard: &ShardName, characteristics: &[Vec<u8>]) {
        let (begin, manner, savepoints) = match std::mem::take(self) {
            Transaction::None => (BEGIN.to_vec(), Manner::default(), Vec::new()),
            Transaction::Pending { begin, manner, savepoints } => (begin, manner, savepoints),
            Transaction::Open(mut open) => {
                if !open.shards.contains(shard) {
                    open.shards.push(shard.clone());
                }
                *self = Transaction::Open(open);
                return;
            }
            Transaction::Aborted => {
                *self = Transaction::Aborted;
                return;
            }
        };
        let mut opening = characteristics.to_vec();
        opening.push(begin);
        *self = Transaction::Open(Open {
            shards: vec![shard.clone()],
            written: Vec::new(),
            opening,
            savepoints,
            decider: shard.clone(),
            manner,
            mode: None,
            id: None,
            branches: 0,
        });
    }

    /// After a server answered with `in_transaction` in its status flags.
    pub(crate) fn observe(&mut self, shard: &ShardName, in_transaction: bool) {
        if self.is_aborted() {
            return;
        }
        if in_transaction {
            self.join(shard, &[]);
            return;
        }
        let Transaction::Open(open) = self else { return };
        open.shards.retain(|bound| bound != shard);
        open.written.retain(|written| written != shard);
        if open.shards.is_empty() {
            *self = Transaction::None;
        }
    }

    /// It was ended and the servers began the next one at once (AND CHAIN), with the same characteristics.
    pub(crate) fn chained(&mut self) {
        if let Transaction::Open(open) = self {
            open.written.clear();
            open.savepoints.clear();
            (open.mode, open.id, open.branches) = (None, None, 0);
            if let Some(first) = open.shards.first() {
                open.decider = first.clone();
            }
        }
    }

    /// SAVEPOINT: one of the same name moves (MySQL 15.3.4).
    pub(crate) fn set_savepoint(&mut self, name: &str, statement: &[u8]) {
        if let Some(savepoints) = self.savepoints() {
            savepoints.retain(|savepoint| !savepoint.name.eq_ignore_ascii_case(name));
            savepoints.push(Savepoint { name: name.to_owned(), statement: statement.to_vec() });
        }
    }

    /// ROLLBACK TO: later savepoints are gone.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<(), UnknownSavepoint> {
        self.keep_savepoints(name, 1)
    }

    /// RELEASE SAVEPOINT: the savepoint and later ones are gone.
    pub(crate) fn release(&mut self, name: &str) -> Result<(), UnknownSavepoint> {
        self.keep_savepoints(name, 0)
    }

    fn keep_savepoints(&mut self, name: &str, itself: usize) -> Result<(), UnknownSavepoint> {
        let savepoints = self.savepoints().ok_or(UnknownSavepoint)?;
        let at = savepoints
            .iter()
            .position(|savepoint| savepoint.name.eq_ignore_ascii_case(name))
            .ok_or(UnknownSavepoint)?;
        savepoints.truncate(at + itself);
        Ok(())
    }

    fn savepoints(&mut self) -> Option<&mut Vec<Savepoint>> {
        match self {
            Transaction::None | Transaction::Aborted => None,
            Transaction::Pending { savepoints, .. } => Some(savepoints),
            Transaction::Open(open) => Some(&mut open.savepoints),
        }
    }
}

fn statements(savepoints: &[Savepoint]) -> impl Iterator<Item = &[u8]> {
    savepoints.iter().map(|savepoint| savepoint.statement.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(transaction: &Transaction) -> Vec<String> {
        transaction.opening().iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_pending_transaction_opens_with_its_savepoints_in_order() {
        let mut transaction =
            Transaction::begin(b"START TRANSACTION READ ONLY", Manner { read_only: true, snapshot: false });
        transaction.set_savepoint("a", b"SAVEPOINT a");
        transaction.set_savepoint("b", b"SAVEPOINT b");
        transaction.set_savepoint("A", b"SAVEPOINT A");
        assert_eq!(texts(&transaction), ["START TRANSACTION READ ONLY", "SAVEPOINT b", "SAVEPOINT A"]);
        transaction.join(&"s2".into(), &[b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE".to_vec()]);
        assert_eq!(transaction.shard(), Some(&"s2".into()));
        let told = texts(&transaction);
        assert_eq!(told[0], "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "as the first shard was");
        assert_eq!(told[1..], ["START TRANSACTION READ ONLY", "SAVEPOINT b", "SAVEPOINT A"]);
    }

    #[test]
    fn rolling_back_to_a_savepoint_forgets_later_ones_only() {
        let mut transaction = Transaction::begin(b"BEGIN", Manner::default());
        transaction.set_savepoint("a", b"SAVEPOINT a");
        transaction.set_savepoint("b", b"SAVEPOINT b");
        assert_eq!(transaction.rollback_to("a"), Ok(()));
        assert_eq!(texts(&transaction), ["BEGIN", "SAVEPOINT a"]);
        assert_eq!(transaction.release("a"), Ok(()));
        assert_eq!(transaction.release("a"), Err(UnknownSavepoint));
        assert_eq!(texts(&transaction), ["BEGIN"]);
    }

    #[test]
    fn the_servers_flag_opens_and_ends_transactions() {
        let mut transaction = Transaction::None;
        transaction.observe(&"s0".into(), false);
        assert!(!transaction.is_active());
        transaction.observe(&"s0".into(), true);
        assert_eq!(transaction.shards(), ["s0".into()]);
        assert_eq!(texts(&transaction), ["BEGIN"], "another shard would have to be told");
        transaction.observe(&"s1".into(), false);
        assert_eq!(transaction.shard(), Some(&"s0".into()), "another shard's answer says nothing");
        transaction.observe(&"s0".into(), false);
        assert_eq!(transaction, Transaction::None);
    }

    #[test]
    fn shards_that_join_later_run_branches_with_the_savepoints_so_far() {
        let usual = TransactionMode::Atomic;
        let mut transaction = Transaction::begin(b"BEGIN", Manner::default());
        let id = || GlobalId { instance: 1, number: 2 };
        assert_eq!(transaction.membership(&"s0".into(), usual, id), Membership::Plain);
        transaction.join(&"s0".into(), &[b"SET TRANSACTION READ WRITE".to_vec()]);
        transaction.set_savepoint("a", b"SAVEPOINT a");
        let Membership::Branch(xid) = transaction.membership(&"s1".into(), usual, id) else {
            panic!("plain")
        };
        let told: Vec<String> = transaction
            .opening_of_branch(&xid)
            .into_iter()
            .map(|text| String::from_utf8(text).unwrap())
            .collect();
        assert_eq!(told, ["SET TRANSACTION READ WRITE", &format!("XA START {xid}"), "SAVEPOINT a"]);
        transaction.join(&"s1".into(), &[]);
        assert_eq!(transaction.decider(), Some((&"s0".into(), id())));
        transaction.wrote(&"s9".into());
        assert!(transaction.written().is_empty(), "a shard that is not part of it");
        transaction.wrote(&"s1".into());
        transaction.wrote(&"s1".into());
        assert_eq!(transaction.may_write(&"s0".into(), TransactionMode::Single), Ok(()), "its mode is fixed");
        transaction.wrote(&"s0".into());
        assert_eq!(transaction.written(), ["s1".into(), "s0".into()]);
        assert_eq!(
            transaction.membership(&"s0".into(), usual, id),
            Membership::Plain,
            "the decider comes back"
        );
        transaction.observe(&"s1".into(), false);
        assert_eq!((transaction.shards(), transaction.written()), (&["s0".into()][..], &["s0".into()][..]));
        transaction.observe(&"s0".into(), false);
        assert_eq!(transaction, Transaction::None);
    }

    #[test]
    fn what_cannot_be_a_branch_writes_on_one_shard() {
        for (manner, mode) in [
            (Manner { read_only: false, snapshot: true }, TransactionMode::Atomic),
            (Manner::default(), TransactionMode::Single),
        ] {
            let mut transaction = Transaction::begin(b"BEGIN", manner);
            transaction.join(&"s0".into(), &[]);
            let id = || GlobalId { instance: 1, number: 2 };
            assert_eq!(transaction.membership(&"s1".into(), mode, id), Membership::Plain);
            transaction.join(&"s1".into(), &[]);
            transaction.wrote(&"s1".into());
            assert_eq!(transaction.may_write(&"s1".into(), mode), Ok(()));
            assert!(transaction.may_write(&"s0".into(), mode).is_err());
        }
    }

    #[test]
    fn savepoints_of_an_open_transaction_are_told_to_who_joins_later() {
        let mut transaction = Transaction::None;
        transaction.observe(&"s0".into(), true);
        transaction.set_savepoint("a", b"SAVEPOINT a");
        transaction.set_savepoint("b", b"SAVEPOINT b");
        assert_eq!(transaction.rollback_to("A"), Ok(()));
        assert_eq!(texts(&transaction), ["BEGIN", "SAVEPOINT a"]);
    }

    #[test]
    fn an_aborted_transaction_lasts_until_the_client_ends_it() {
        let mut transaction = Transaction::Aborted;
        transaction.observe(&"s0".into(), true);
        transaction.observe(&"s0".into(), false);
        assert!(transaction.is_aborted() && transaction.is_active());
        assert_eq!(transaction.rollback_to("a"), Err(UnknownSavepoint));
    }

    #[test]
    fn a_pending_transaction_survives_answers_from_outside_of_it() {
        let mut transaction = Transaction::begin(b"BEGIN", Manner::default());
        transaction.observe(&"s0".into(), false);
        assert!(transaction.is_active());
    }
}
