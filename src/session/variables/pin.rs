//! What ties a session to one connection, and what a connection must be reset after. Pure.

use crate::sql::{Feature, Kind, Statement};

/// A reason to keep a connection for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    /// A label for metrics, SHOW SESSIONS and logs: of a closed set.
    pub(crate) reason: &'static str,
    pub(crate) until: Until,
}

/// When a pin ends. In every case the connection is given back tainted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// UNLOCK TABLES has run.
    TablesUnlocked,
    /// The session ends or resets itself (COM_RESET_CONNECTION, COM_CHANGE_USER).
    SessionReset,
}

const fn pin(reason: &'static str) -> Pin {
    Pin { reason, until: Until::SessionReset }
}

/// Why the session must keep the connection that runs `statement`, from this statement on.
pub(crate) fn pin_reason(statement: &Statement, text: &[u8]) -> Option<Pin> {
    let features = statement.features;
    match statement.kind {
        Kind::LockTables => return Some(Pin { reason: "lock_tables", until: Until::TablesUnlocked }),
        Kind::Handler => return Some(pin("handler")),
        Kind::Prepare => return Some(pin("sql_prepare")),
        Kind::Xa => return Some(pin("xa")),
        // FLUSH TABLES … WITH READ LOCK | FOR EXPORT, LOCK INSTANCE FOR BACKUP, BACKUP STAGE
        Kind::Administration | Kind::Other if mentions(text, b"lock") || mentions(text, b"export") => {
            return Some(Pin { reason: "global_lock", until: Until::TablesUnlocked });
        }
        Kind::Administration | Kind::Other if mentions(text, b"backup") => return Some(pin("backup")),
        _ => {}
    }
    let by_feature = [
        (Feature::TemporaryTable, "temporary_table"),
        (Feature::NamedLock, "named_lock"),
        (Feature::UserVariableWrite, "user_variable"),
    ];
    by_feature.iter().find(|(feature, _)| features.has(*feature)).map(|(_, reason)| pin(reason))
}

/// Whether a connection that ran `statement` may carry state that nobody can name, so that it must be reset before it
/// is shared: procedures can set anything.
pub(crate) fn taints(statement: &Statement) -> bool {
    matches!(
        statement.kind,
        Kind::Call | Kind::Do | Kind::Load | Kind::Prepare | Kind::Handler | Kind::Xa | Kind::Other
    )
}

/// Whether a pin ends with `statement`, once it has succeeded.
pub(crate) fn releases(pin: &Pin, statement: &Statement) -> bool {
    pin.until == Until::TablesUnlocked && statement.kind == Kind::UnlockTables
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: Kind) -> Statement {
        let mut statement = Statement::default();
        statement.kind = kind;
        statement
    }

    fn reason(kind: Kind, feature: Option<Feature>, text: &str) -> Option<&'static str> {
        let mut statement = of_kind(kind);
        if let Some(feature) = feature {
            statement.features.add(feature);
        }
        pin_reason(&statement, text.as_bytes()).map(|pin| pin.reason)
    }

    #[test]
    fn what_lives_on_one_connection_pins() {
        assert_eq!(reason(Kind::LockTables, None, ""), Some("lock_tables"));
        assert_eq!(reason(Kind::Select, Some(Feature::NamedLock), ""), Some("named_lock"));
        assert_eq!(reason(Kind::Select, Some(Feature::UserVariableWrite), ""), Some("user_variable"));
        assert_eq!(reason(Kind::Definition, Some(Feature::TemporaryTable), ""), Some("temporary_table"));
        let flush = "FLUSH TABLES WITH READ LOCK";
        assert_eq!(reason(Kind::Administration, None, flush), Some("global_lock"));
        assert_eq!(reason(Kind::Administration, None, "BACKUP STAGE START"), Some("backup"));
    }

    #[test]
    fn reads_of_variables_and_plain_administration_do_not_pin() {
        assert_eq!(reason(Kind::Select, Some(Feature::SystemVariable), ""), None);
        assert_eq!(reason(Kind::Select, Some(Feature::UserVariable), ""), None);
        assert_eq!(reason(Kind::Administration, None, "ANALYZE TABLE t"), None);
        assert_eq!(reason(Kind::Select, None, "SELECT 'lock'"), None);
    }

    #[test]
    fn a_table_lock_ends_with_unlock_tables_and_others_do_not() {
        let unlock = of_kind(Kind::UnlockTables);
        assert!(releases(&Pin { reason: "lock_tables", until: Until::TablesUnlocked }, &unlock));
        assert!(!releases(&pin("temporary_table"), &unlock));
    }
}
