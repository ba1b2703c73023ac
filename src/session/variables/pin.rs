//! What ties a session to one connection, until when, and what a connection must be reset after. Pure.

use std::collections::BTreeSet;

use crate::sql::{
    self, Context, Feature, Kind, LiteralClass, Statement, Token, TokenKind, Value, Verb, Word,
};

/// Things that one pin waits for; a session with more of them keeps its connection to the end.
const NAMES_MAX: usize = 256;
/// User variables with longer names are an error on the server.
const NAME_BYTES_MAX: usize = 64;

/// A reason to keep a connection for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// A label for metrics, SHOW PINS and logs: of a closed set.
    pub(crate) reason: &'static str,
    pub(crate) until: Until,
}

/// When a pin ends. In every case but that of cursors the connection is given back tainted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// UNLOCK TABLES has run.
    TablesUnlocked,
    /// The last cursor on the connection is closed.
    CursorClosed,
    /// All of these are gone: temporary tables are dropped (`database.table`), prepared statements deallocated, user variables
    /// constants again (names in lower case), locks by name released (the names' literals).
    Gone(BTreeSet<String>),
    /// The session ends or resets itself (COM_RESET_CONNECTION, COM_CHANGE_USER).
    SessionReset,
}

impl Pin {
    pub(crate) fn new(reason: &'static str, until: Until) -> Pin {
        Pin { reason, until }
    }

    fn forever(reason: &'static str) -> Pin {
        Pin::new(reason, Until::SessionReset)
    }

    /// Until everything named is gone; to the session's end where a name is not known.
    pub(crate) fn until_gone(reason: &'static str, names: Option<BTreeSet<String>>) -> Pin {
        let until = names.filter(|names| !names.is_empty()).map_or(Until::SessionReset, Until::Gone);
        Pin::new(reason, until)
    }

    /// One more statement has pinned for the same reason.
    pub(crate) fn join(&mut self, other: Pin) {
        debug_assert_eq!(self.reason, other.reason);
        match (&mut self.until, other.until) {
            (Until::Gone(names), Until::Gone(more)) if names.len() + more.len() <= NAMES_MAX => {
                names.extend(more);
            }
            (Until::TablesUnlocked, Until::TablesUnlocked) => {}
            (until, _) => *until = Until::SessionReset,
        }
    }
}

/// The server has said that the session's state changed, by a statement that does not show it.
pub(crate) fn noticed() -> Pin {
    Pin::forever("session_state")
}

/// Whether a statement may change state that its text does not name, in functions, triggers, procedures, so that the session's
/// next statements may read it. What a SET_VAR hint changes is back before the statement ends, and is told of all the same.
pub(crate) fn may_hide_changes(statement: &Statement, text: &[u8]) -> bool {
    let kind = matches!(
        statement.kind,
        Kind::Select
            | Kind::Insert
            | Kind::Replace
            | Kind::Update
            | Kind::Delete
            | Kind::Call
            | Kind::Do
            | Kind::Load
            | Kind::Other
    );
    kind && !mentions(text, b"set_var")
}

/// Why the session must keep the connection that runs `statement`, from this statement on. `database` is that of the session.
pub(crate) fn pin_reason(
    statement: &Statement,
    text: &[u8],
    context: &Context,
    database: Option<&str>,
) -> Option<Pin> {
    let features = statement.features;
    match statement.kind {
        Kind::LockTables => return Some(Pin::new("lock_tables", Until::TablesUnlocked)),
        Kind::Handler => return Some(Pin::forever("handler")),
        Kind::Prepare => return prepared(text, context),
        Kind::Xa => return Some(Pin::forever("xa")),
        // FLUSH TABLES … WITH READ LOCK | FOR EXPORT, LOCK INSTANCE FOR BACKUP, BACKUP STAGE
        Kind::Administration | Kind::Other if mentions(text, b"lock") || mentions(text, b"export") => {
            return Some(Pin::new("global_lock", Until::TablesUnlocked));
        }
        Kind::Administration | Kind::Other if mentions(text, b"backup") => {
            return Some(Pin::forever("backup"));
        }
        _ => {}
    }
    if features.has(Feature::TemporaryTable) {
        return temporary_table(statement, text, context, database);
    }
    if features.has(Feature::NamedLock)
        && let Some(pin) = named_lock(text, context)
    {
        return Some(pin);
    }
    if !features.has(Feature::UserVariableWrite) {
        return None;
    }
    // What procedures and compound statements assign besides is not in their text.
    let in_text = matches!(
        statement.kind,
        Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete | Kind::Do
    );
    let names = if in_text { user_variables(text, context) } else { None };
    Some(Pin::until_gone("user_variable", names))
}

/// Whether a connection that ran `statement` may carry state that nobody can name, so that it must be reset before it
/// is shared: procedures can set anything.
pub(crate) fn taints(statement: &Statement) -> bool {
    matches!(
        statement.kind,
        Kind::Call | Kind::Do | Kind::Load | Kind::Prepare | Kind::Handler | Kind::Xa | Kind::Other
    )
}

/// The table's own name as `DROP TABLE` will say it.
pub(super) fn full_name(object: &sql::Object, database: Option<&str>) -> Option<String> {
    let database = object.database.as_deref().or(database)?;
    Some(format!("{database}.{}", object.name))
}

/// CREATE TEMPORARY TABLE. DROP TEMPORARY TABLE has the feature as well, and pins nothing.
fn temporary_table(
    statement: &Statement,
    text: &[u8],
    context: &Context,
    database: Option<&str>,
) -> Option<Pin> {
    let Ok(outline) = sql::outline(text, statement, context) else {
        return Some(Pin::forever("temporary_table"));
    };
    match outline.verb {
        Verb::CreateTable { .. } | Verb::CreateTableLike => {
            let name = outline.objects.first().and_then(|object| full_name(object, database));
            Some(Pin::until_gone("temporary_table", name.map(|name| BTreeSet::from([name]))))
        }
        Verb::DropTable => None,
        _ => Some(Pin::forever("temporary_table")),
    }
}

/// PREPARE pins until DEALLOCATE, if all that EXECUTE can leave behind is an answer.
fn prepared(text: &[u8], context: &Context) -> Option<Pin> {
    let tokens: Vec<Token> = sql::tokens(text, context).collect();
    let [verb, name, rest @ ..] = tokens.as_slice() else { return Some(Pin::forever("sql_prepare")) };
    let second_is = |word: &[u8]| name.text(text).eq_ignore_ascii_case(word);
    match verb.word() {
        Word::Prepare => {}
        Word::Deallocate | Word::Drop => return None,
        // What it runs was judged when it was prepared.
        Word::Execute if !second_is(b"IMMEDIATE") => return None,
        _ => return Some(Pin::forever("sql_prepare")),
    }
    let harmless = match rest {
        [from, source] if from.word() == Word::From => {
            leaves_nothing(source.text(text), source.kind, context)
        }
        _ => false,
    };
    let name = statement_name(text, name).filter(|_| harmless);
    Some(Pin::until_gone("sql_prepare", name.map(|name| BTreeSet::from([name]))))
}

/// The name of a prepared statement as it compares.
pub(super) fn statement_name(text: &[u8], token: &Token) -> Option<String> {
    let name = std::str::from_utf8(token.text(text)).ok()?.trim_matches('`');
    (token.is_name() && name.is_ascii()).then(|| name.to_ascii_lowercase())
}

/// Whether the text of a statement in a literal is one that changes no state of its connection.
fn leaves_nothing(source: &[u8], kind: TokenKind, context: &Context) -> bool {
    let TokenKind::Literal(class @ LiteralClass::String) = kind else { return false };
    let Value::Text { bytes, .. } = sql::decode_raw(source, class, context) else { return false };
    let mut inner = Statement::default();
    let plain = matches!(
        (inner.scan(&bytes, context), inner.kind),
        (Ok(()), Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete | Kind::Show)
    );
    let leaving = [Feature::UserVariableWrite, Feature::NamedLock, Feature::TemporaryTable];
    plain && !leaving.iter().any(|feature| inner.features.has(*feature))
}

/// GET_LOCK(…), with the names that it takes; the other functions about locks pin nothing.
fn named_lock(text: &[u8], context: &Context) -> Option<Pin> {
    let tokens: Vec<Token> = sql::tokens(text, context).collect();
    let mut names = Some(BTreeSet::new());
    let mut taken = false;
    for (index, call) in tokens.windows(2).enumerate() {
        let name = call[0].text(text);
        let is_call = name.trim_ascii_start().to_ascii_uppercase().ends_with(b"GET_LOCK")
            || name.eq_ignore_ascii_case(b"`GET_LOCK`");
        if !is_call || !call[1].is_symbol(b'(') {
            continue;
        }
        taken = true;
        let argument = tokens.get(index + 2).zip(tokens.get(index + 3));
        let literal =
            argument.filter(|(_, next)| next.is_symbol(b',')).and_then(|(name, _)| plain_literal(text, name));
        names = match (names, literal) {
            (Some(mut names), Some(literal)) => {
                names.insert(literal);
                Some(names)
            }
            _ => None,
        };
    }
    taken.then(|| Pin::until_gone("named_lock", names))
}

/// A string literal that reads the same in every sql_mode and character set.
fn plain_literal(text: &[u8], token: &Token) -> Option<String> {
    let literal = token.text(text);
    let inside = literal.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _.,:;/+-#*".contains(byte);
    let one = matches!(token.kind, TokenKind::Literal(LiteralClass::String));
    if !one || inside.is_empty() || !inside.iter().all(plain) {
        return None;
    }
    String::from_utf8(literal.to_vec()).ok()
}

/// The user variables that a statement mentions; it writes no others.
fn user_variables(text: &[u8], context: &Context) -> Option<BTreeSet<String>> {
    let mentioned = sql::tokens(text, context).filter(|token| token.kind == TokenKind::UserVariable);
    let mut names = BTreeSet::new();
    for token in mentioned {
        let name = token.text(text).strip_prefix(b"@")?;
        let name = std::str::from_utf8(name).ok()?.trim_matches(['`', '\'', '"']);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || !name.bytes().all(plain)
            || names.len() >= NAMES_MAX
        {
            return None;
        }
        names.insert(name.to_ascii_lowercase());
    }
    Some(names)
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
