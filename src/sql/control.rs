//! Transaction control: BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin, and SET TRANSACTION.

use super::cursor::Cursor;
use super::{Context, ParseError, Statement, Word};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransactionControl {
    Begin {
        consistent_snapshot: bool,
        access: Option<AccessMode>,
    },
    /// `None`: as `completion_type` says.
    Commit {
        chain: Option<bool>,
        release: Option<bool>,
    },
    Rollback {
        chain: Option<bool>,
        release: Option<bool>,
    },
    Savepoint {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    ReleaseSavepoint {
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessMode {
    ReadOnly,
    ReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionScope {
    /// Only the next transaction.
    Next,
    Session,
    Global,
}

/// SET [GLOBAL|SESSION] TRANSACTION
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    pub(crate) scope: TransactionScope,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) access: Option<AccessMode>,
}

/// Reads a statement of kind Begin, Commit, Rollback or Savepoint.
pub(crate) fn control(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<TransactionControl, ParseError> {
    let mut cursor = Cursor::new(text, statement, context)?;
    let control = match cursor.advance().word() {
        Word::Begin => {
            cursor.eat(Word::Work);
            TransactionControl::Begin { consistent_snapshot: false, access: None }
        }
        Word::Start => start(&mut cursor)?,
        Word::Commit => {
            cursor.eat(Word::Work);
            let (chain, release) = completion(&mut cursor)?;
            TransactionControl::Commit { chain, release }
        }
        Word::Rollback => {
            cursor.eat(Word::Work);
            if cursor.eat(Word::To) {
                // SAVEPOINT is optional here, and not reserved: `ROLLBACK TO savepoint` names one.
                if cursor.ahead(1).is_name() {
                    cursor.eat(Word::Savepoint);
                }
                TransactionControl::RollbackTo { name: cursor.name()? }
            } else {
                let (chain, release) = completion(&mut cursor)?;
                TransactionControl::Rollback { chain, release }
            }
        }
        Word::Savepoint => TransactionControl::Savepoint { name: cursor.name()? },
        Word::Release => {
            cursor.expect(Word::Savepoint, "SAVEPOINT")?;
            TransactionControl::ReleaseSavepoint { name: cursor.name()? }
        }
        _ => return Err(cursor.expected("a statement that controls a transaction")),
    };
    cursor.expect_end()?;
    Ok(control)
}

fn start(cursor: &mut Cursor<'_>) -> Result<TransactionControl, ParseError> {
    cursor.expect(Word::Transaction, "TRANSACTION")?;
    let mut consistent_snapshot = false;
    let mut access = None;
    while !cursor.is_at_end() {
        if cursor.eat_all(&[Word::With, Word::Consistent, Word::Snapshot]) {
            consistent_snapshot = true;
        } else {
            access = Some(access_mode(cursor)?);
        }
        if !cursor.eat_symbol(b',') {
            break;
        }
    }
    Ok(TransactionControl::Begin { consistent_snapshot, access })
}

fn access_mode(cursor: &mut Cursor<'_>) -> Result<AccessMode, ParseError> {
    cursor.expect(Word::Read, "READ ONLY or READ WRITE")?;
    match cursor.eat_any(&[Word::Only, Word::Write]) {
        Some(Word::Only) => Ok(AccessMode::ReadOnly),
        Some(_) => Ok(AccessMode::ReadWrite),
        None => Err(cursor.expected("ONLY or WRITE")),
    }
}

/// `[AND [NO] CHAIN] [[NO] RELEASE]`
fn completion(cursor: &mut Cursor<'_>) -> Result<(Option<bool>, Option<bool>), ParseError> {
    let mut chain = None;
    let mut release = None;
    if cursor.eat(Word::And) {
        chain = Some(!cursor.eat(Word::No));
        cursor.expect(Word::Chain, "CHAIN")?;
    }
    if cursor.eat_all(&[Word::No, Word::Release]) {
        release = Some(false);
    } else if cursor.eat(Word::Release) {
        release = Some(true);
    }
    Ok((chain, release))
}

/// Reads a statement of kind SetTransaction.
pub(crate) fn transaction_settings(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<TransactionSettings, ParseError> {
    let mut cursor = Cursor::new(text, statement, context)?;
    cursor.expect(Word::Set, "SET")?;
    let scope = match cursor.eat_any(&[Word::Global, Word::Session, Word::Local]) {
        None => TransactionScope::Next,
        Some(Word::Global) => TransactionScope::Global,
        Some(_) => TransactionScope::Session,
    };
    cursor.expect(Word::Transaction, "TRANSACTION")?;
    let mut settings = TransactionSettings { scope, isolation: None, access: None };
    loop {
        if cursor.eat_all(&[Word::Isolation, Word::Level]) {
            settings.isolation = Some(isolation(&mut cursor)?);
        } else {
            settings.access = Some(access_mode(&mut cursor)?);
        }
        if !cursor.eat_symbol(b',') {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(settings)
}

fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation, ParseError> {
    if cursor.eat_all(&[Word::Read, Word::Uncommitted]) {
        Ok(Isolation::ReadUncommitted)
    } else if cursor.eat_all(&[Word::Read, Word::Committed]) {
        Ok(Isolation::ReadCommitted)
    } else if cursor.eat_all(&[Word::Repeatable, Word::Read]) {
        Ok(Isolation::RepeatableRead)
    } else if cursor.eat(Word::Serializable) {
        Ok(Isolation::Serializable)
    } else {
        Err(cursor.expected("an isolation level"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MYSQL, scan};
    use super::*;

    fn read(text: &str) -> Result<TransactionControl, ParseError> {
        control(text.as_bytes(), &scan(text), &MYSQL)
    }

    #[test]
    fn beginnings_are_read() {
        let plain = TransactionControl::Begin { consistent_snapshot: false, access: None };
        for text in ["BEGIN", "begin work;", "START TRANSACTION", "/* x */ BEGIN"] {
            assert_eq!(read(text).unwrap(), plain, "{text}");
        }
        assert_eq!(
            read("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").unwrap(),
            TransactionControl::Begin { consistent_snapshot: true, access: Some(AccessMode::ReadOnly) }
        );
        assert!(read("BEGIN WORKS").is_err());
        assert!(read("START TRANSACTION READ").is_err());
    }

    #[test]
    fn ends_are_read() {
        assert_eq!(read("COMMIT").unwrap(), TransactionControl::Commit { chain: None, release: None });
        assert_eq!(
            read("COMMIT WORK AND NO CHAIN RELEASE").unwrap(),
            TransactionControl::Commit { chain: Some(false), release: Some(true) }
        );
        assert_eq!(
            read("ROLLBACK AND CHAIN NO RELEASE").unwrap(),
            TransactionControl::Rollback { chain: Some(true), release: Some(false) }
        );
        assert!(read("COMMIT AND").is_err());
        assert!(read("COMMIT 5").is_err());
    }

    #[test]
    fn savepoints_are_read() {
        let name = || "a`b".to_owned();
        assert_eq!(read("SAVEPOINT `a``b`").unwrap(), TransactionControl::Savepoint { name: name() });
        assert_eq!(read("ROLLBACK TO `a``b`").unwrap(), TransactionControl::RollbackTo { name: name() });
        assert_eq!(
            read("ROLLBACK WORK TO SAVEPOINT `a``b`").unwrap(),
            TransactionControl::RollbackTo { name: name() }
        );
        assert_eq!(
            read("RELEASE SAVEPOINT `a``b`").unwrap(),
            TransactionControl::ReleaseSavepoint { name: name() }
        );
        assert_eq!(
            read("ROLLBACK TO savepoint").unwrap(),
            TransactionControl::RollbackTo { name: "savepoint".to_owned() }
        );
    }

    #[test]
    fn settings_of_transactions_are_read() {
        let read = |text: &str| transaction_settings(text.as_bytes(), &scan(text), &MYSQL);
        assert_eq!(
            read("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE").unwrap(),
            TransactionSettings {
                scope: TransactionScope::Session,
                isolation: Some(Isolation::ReadCommitted),
                access: Some(AccessMode::ReadWrite),
            }
        );
        let next = read("SET TRANSACTION READ ONLY").unwrap();
        assert_eq!((next.scope, next.access), (TransactionScope::Next, Some(AccessMode::ReadOnly)));
        let global = read("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ").unwrap();
        assert_eq!(
            (global.scope, global.isolation),
            (TransactionScope::Global, Some(Isolation::RepeatableRead))
        );
        assert!(read("SET TRANSACTION ISOLATION LEVEL CHAOS").is_err());
    }
}
