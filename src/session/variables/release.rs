//! What of a pin ends with a statement that has succeeded. Pure.

use std::collections::BTreeSet;

use super::pin::{Pin, Until, full_name, statement_name};
use crate::sql::{self, Context, Kind, Statement, Token, Verb, Word};

/// What a statement that has succeeded took away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Release {
    /// UNLOCK TABLES
    unlocked: bool,
    /// Of pins with this reason, these are gone.
    gone: Option<(&'static str, BTreeSet<String>)>,
    /// Pins with this reason cannot be followed any more: they last as long as the session.
    lost: Option<&'static str>,
    /// Everything that pinned for this reason is gone.
    ended: Option<&'static str>,
}

impl Release {
    /// User variables are constants again, which follow the session.
    pub(crate) fn of_variables(names: BTreeSet<String>) -> Release {
        Release { gone: Some(("user_variable", names)), ..Release::default() }
    }

    /// No lock by name is left.
    pub(crate) fn of_named_locks() -> Release {
        Release { ended: Some("named_lock"), ..Release::default() }
    }

    /// What `statement` ends.
    pub(crate) fn of(
        statement: &Statement,
        text: &[u8],
        context: &Context,
        database: Option<&str>,
    ) -> Release {
        match statement.kind {
            Kind::UnlockTables => Release { unlocked: true, ..Release::default() },
            Kind::Definition => Release::of_definition(statement, text, context, database),
            Kind::Prepare => Release::of_deallocation(text, context),
            Kind::Select | Kind::Do if is_release_of_all_locks(text, context) => Release::of_named_locks(),
            _ => Release::default(),
        }
    }

    fn of_definition(
        statement: &Statement,
        text: &[u8],
        context: &Context,
        database: Option<&str>,
    ) -> Release {
        let Ok(outline) = sql::outline(text, statement, context) else {
            return Release { lost: Some("temporary_table"), ..Release::default() };
        };
        match outline.verb {
            Verb::DropTable => {
                let names = outline.objects.iter().filter_map(|object| full_name(object, database)).collect();
                Release { gone: Some(("temporary_table", names)), ..Release::default() }
            }
            // Under another name it would be looked for in vain.
            Verb::RenameTable | Verb::AlterTable { renamed: true } => {
                Release { lost: Some("temporary_table"), ..Release::default() }
            }
            _ => Release::default(),
        }
    }

    /// DEALLOCATE | DROP PREPARE name
    fn of_deallocation(text: &[u8], context: &Context) -> Release {
        let tokens: Vec<Token> = sql::tokens(text, context).collect();
        let [verb, prepare, name] = tokens.as_slice() else { return Release::default() };
        if !matches!(verb.word(), Word::Deallocate | Word::Drop) || prepare.word() != Word::Prepare {
            return Release::default();
        }
        let gone = statement_name(text, name).map(|name| ("sql_prepare", BTreeSet::from([name])));
        Release { gone, ..Release::default() }
    }

    /// Applies it to one pin; whether the pin goes on.
    pub(crate) fn leaves(&self, pin: &mut Pin) -> bool {
        if self.ended == Some(pin.reason) {
            return false;
        }
        if self.lost == Some(pin.reason) {
            pin.until = Until::SessionReset;
        }
        match &mut pin.until {
            Until::TablesUnlocked => !self.unlocked,
            Until::Gone(names) => {
                if let Some((reason, gone)) = &self.gone
                    && *reason == pin.reason
                {
                    names.retain(|name| !gone.contains(name));
                }
                !names.is_empty()
            }
            Until::CursorClosed | Until::SessionReset => true,
        }
    }
}

/// Exactly `SELECT|DO RELEASE_ALL_LOCKS()`: inside of another expression it may not have been evaluated.
fn is_release_of_all_locks(text: &[u8], context: &Context) -> bool {
    let tokens: Vec<Token> = sql::tokens(text, context).take(5).collect();
    let [_, name, open, close] = tokens.as_slice() else { return false };
    name.text(text).eq_ignore_ascii_case(b"RELEASE_ALL_LOCKS")
        && open.is_symbol(b'(')
        && close.is_symbol(b')')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::variables::pin_reason;
    use crate::sql::{Charset, Flavor, SqlMode};

    const CONTEXT: Context = Context {
        mode: SqlMode {
            ansi_quotes: false,
            no_backslash_escapes: false,
            pipes_as_concat: false,
            ignore_space: false,
            high_not_precedence: false,
        },
        charset: Charset::AsciiSafe,
        flavor: Flavor::MySql,
        server_version: 80_400,
    };

    /// Whether the pins of the first statements are all gone after the last one.
    fn ends(statements: &[&str]) -> bool {
        let mut pins: Vec<Pin> = Vec::new();
        for text in statements {
            let mut statement = Statement::default();
            statement.scan(text.as_bytes(), &CONTEXT).unwrap();
            if let Some(pin) = pin_reason(&statement, text.as_bytes(), &CONTEXT, Some("shop")) {
                match pins.iter_mut().find(|known| known.reason == pin.reason) {
                    Some(known) => known.join(pin),
                    None => pins.push(pin),
                }
            }
            let release = Release::of(&statement, text.as_bytes(), &CONTEXT, Some("shop"));
            pins.retain_mut(|pin| release.leaves(pin));
        }
        pins.is_empty()
    }

    #[test]
    fn temporary_tables_pin_until_the_last_one_is_dropped() {
        assert!(ends(&["CREATE TEMPORARY TABLE a (n INT)", "DROP TABLE a"]));
        assert!(ends(&["CREATE TEMPORARY TABLE a (n INT)", "DROP TEMPORARY TABLE IF EXISTS shop.a, b"]));
        let two = ["CREATE TEMPORARY TABLE a (n INT)", "CREATE TEMPORARY TABLE b LIKE a", "DROP TABLE a"];
        assert!(!ends(&two));
        assert!(ends(&[two[0], two[1], two[2], "DROP TABLE `b`"]));
        assert!(!ends(&["CREATE TEMPORARY TABLE a (n INT)", "DROP TABLE other.a"]));
        let renamed = ["CREATE TEMPORARY TABLE a (n INT)", "ALTER TABLE a RENAME TO b", "DROP TABLE a"];
        assert!(!ends(&renamed), "the table that was dropped is another one");
    }

    #[test]
    fn a_table_lock_ends_with_unlock_tables_and_others_do_not() {
        assert!(ends(&["LOCK TABLES t READ", "UNLOCK TABLES"]));
        assert!(!ends(&["CREATE TEMPORARY TABLE a (n INT)", "UNLOCK TABLES"]));
        assert!(!ends(&["HANDLER t OPEN", "UNLOCK TABLES"]));
    }

    #[test]
    fn prepared_statements_pin_until_the_last_one_is_deallocated() {
        assert!(ends(&["PREPARE s FROM 'SELECT 1'", "EXECUTE s", "DEALLOCATE PREPARE S"]));
        assert!(!ends(&["PREPARE s FROM 'SELECT 1'", "PREPARE r FROM 'SELECT 1'", "DROP PREPARE s"]));
        for leaving in
            ["PREPARE s FROM 'SELECT @x := 1'", "PREPARE s FROM @sql", "PREPARE s FROM 'SET @y = 1'"]
        {
            assert!(!ends(&[leaving, "EXECUTE s", "DEALLOCATE PREPARE s"]), "{leaving}");
        }
    }

    #[test]
    fn locks_by_name_end_with_all_of_them() {
        assert!(ends(&["SELECT GET_LOCK('a', 0)", "SELECT GET_LOCK(@b, 0)", "DO RELEASE_ALL_LOCKS()"]));
        assert!(!ends(&["SELECT GET_LOCK('a', 0)", "SELECT RELEASE_ALL_LOCKS() FROM t"]));
        assert!(!ends(&["SELECT GET_LOCK('a', 0)", "SELECT RELEASE_LOCK('a')"]), "the server is asked");
    }

    #[test]
    fn user_variables_end_when_they_are_constants() {
        let mut statement = Statement::default();
        let text = b"SELECT @a := 1, @`B` := 2";
        statement.scan(text, &CONTEXT).unwrap();
        let mut pin = pin_reason(&statement, text, &CONTEXT, None).unwrap();
        assert!(Release::of_variables(BTreeSet::from(["a".to_owned()])).leaves(&mut pin));
        assert!(!Release::of_variables(BTreeSet::from(["b".to_owned()])).leaves(&mut pin));
    }
}
