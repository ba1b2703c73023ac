//! The state of a session's transaction.
//!
//! BEGIN is not sent at once: the shard is not known until the first statement. Until then the statements that shape the
//! transaction (SET TRANSACTION, BEGIN, SAVEPOINT) are kept and sent in front of that statement. Afterwards the server's own flag
//! SERVER_STATUS_IN_TRANS is the truth: it also covers autocommit=0 and implicit commits, which no parser has to know.

use crate::topology::ShardName;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Transaction {
    /// No transaction, or one that a server will begin by itself (autocommit=0).
    #[default]
    None,
    /// Begun by the client, bound to no shard.
    Pending { begin: Vec<u8>, read_only: bool, savepoints: Vec<Savepoint> },
    /// Open on the server of one shard.
    Open { shard: ShardName },
    /// Its connection is gone, and with it all that it did. Until the client ends it, further statements of it must not run: alone
    /// they would be half of a transaction.
    Aborted,
}

/// A savepoint that no server knows yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Savepoint {
    name: String,
    statement: Vec<u8>,
}

/// ROLLBACK TO or RELEASE of a savepoint that was never set (MySQL's error 1305).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownSavepoint;

impl Transaction {
    /// `begin` is the client's own statement.
    pub(crate) fn begin(begin: &[u8], read_only: bool) -> Transaction {
        Transaction::Pending { begin: begin.to_vec(), read_only, savepoints: Vec::new() }
    }

    /// Begun as read only, and no server knows yet.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Transaction::Pending { read_only: true, .. })
    }

    /// Whether the client is in a transaction, as its status flags say.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Transaction::None => false,
            Transaction::Pending { .. } | Transaction::Open { .. } | Transaction::Aborted => true,
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

    /// The shard that the transaction is bound to.
    pub(crate) fn shard(&self) -> Option<&ShardName> {
        match self {
            Transaction::None | Transaction::Pending { .. } | Transaction::Aborted => None,
            Transaction::Open { shard } => Some(shard),
        }
    }

    /// What must be sent in front of the statement that binds the transaction, in order.
    pub(crate) fn opening(&self) -> Vec<&[u8]> {
        match self {
            Transaction::None | Transaction::Open { .. } | Transaction::Aborted => Vec::new(),
            Transaction::Pending { begin, savepoints, .. } => std::iter::once(begin.as_slice())
                .chain(savepoints.iter().map(|savepoint| savepoint.statement.as_slice()))
                .collect(),
        }
    }

    /// After a server answered with `in_transaction` in its status flags.
    pub(crate) fn observe(&mut self, shard: &ShardName, in_transaction: bool) {
        if self.is_aborted() {
            return;
        }
        if in_transaction {
            *self = Transaction::Open { shard: shard.clone() };
        } else if self.shard() == Some(shard) {
            *self = Transaction::None;
        }
    }

    /// SAVEPOINT while pending: a savepoint of the same name moves (MySQL 15.3.4).
    pub(crate) fn set_savepoint(&mut self, name: &str, statement: &[u8]) {
        if let Transaction::Pending { savepoints, .. } = self {
            savepoints.retain(|savepoint| !savepoint.name.eq_ignore_ascii_case(name));
            savepoints.push(Savepoint { name: name.to_owned(), statement: statement.to_vec() });
        }
    }

    /// ROLLBACK TO while pending: later savepoints are gone.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<(), UnknownSavepoint> {
        self.keep_savepoints(name, 1)
    }

    /// RELEASE SAVEPOINT while pending: the savepoint and later ones are gone.
    pub(crate) fn release(&mut self, name: &str) -> Result<(), UnknownSavepoint> {
        self.keep_savepoints(name, 0)
    }

    fn keep_savepoints(&mut self, name: &str, itself: usize) -> Result<(), UnknownSavepoint> {
        let Transaction::Pending { savepoints, .. } = self else { return Err(UnknownSavepoint) };
        let at = savepoints
            .iter()
            .position(|savepoint| savepoint.name.eq_ignore_ascii_case(name))
            .ok_or(UnknownSavepoint)?;
        savepoints.truncate(at + itself);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(transaction: &Transaction) -> Vec<String> {
        transaction.opening().iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_pending_transaction_opens_with_its_savepoints_in_order() {
        let mut transaction = Transaction::begin(b"START TRANSACTION READ ONLY", true);
        transaction.set_savepoint("a", b"SAVEPOINT a");
        transaction.set_savepoint("b", b"SAVEPOINT b");
        transaction.set_savepoint("A", b"SAVEPOINT A");
        assert_eq!(texts(&transaction), ["START TRANSACTION READ ONLY", "SAVEPOINT b", "SAVEPOINT A"]);
        transaction.observe(&"s2".into(), true);
        assert_eq!(transaction.shard(), Some(&"s2".into()));
        assert!(texts(&transaction).is_empty());
    }

    #[test]
    fn rolling_back_to_a_savepoint_forgets_later_ones_only() {
        let mut transaction = Transaction::begin(b"BEGIN", false);
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
        assert_eq!(transaction, Transaction::Open { shard: "s0".into() });
        transaction.observe(&"s1".into(), false);
        assert_eq!(transaction.shard(), Some(&"s0".into()), "another shard's answer says nothing");
        transaction.observe(&"s0".into(), false);
        assert_eq!(transaction, Transaction::None);
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
        let mut transaction = Transaction::begin(b"BEGIN", false);
        transaction.observe(&"s0".into(), false);
        assert!(transaction.is_active());
    }
}
