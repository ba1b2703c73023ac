//! The rules of SET, assignment by assignment.

use std::collections::BTreeSet;

use super::pin::{Pin, Until};
use super::text::{Constant, VALUE_BYTES_MAX, constant, is_name, read_back};
use super::{Change, Changes, RESULTS, Variables, collated};
use crate::error::ClientError;
use crate::sql::{AssignedValue, Assignment, Charset, SqlMode, Target};

/// Followed variables and user variables of one session, and the bytes of all their names and values.
const VARIABLES_MAX: usize = 256;
const STATE_BYTES_MAX: usize = 64 << 10;
/// User variables with longer names are an error on the server.
const NAME_CHARS_MAX: usize = 64;
/// Values that one statement has read back; a server's answer has a column for each, four for a user variable.
const READ_BACK_MAX: usize = 48;
/// A connection whose server ends it sooner than this when idle is not shared.
const WAIT_TIMEOUT_SECONDS_MIN: u64 = 600;

/// These mean something for one connection only, or for the next statement only, or change others beside them: they pin.
const NOT_FOLLOWED: [&str; 22] = [
    "character_set_database",
    "collation_database",
    "gtid_domain_id",
    "gtid_next",
    "gtid_seq_no",
    "identity",
    "insert_id",
    "last_insert_id",
    "max_join_size",
    "pseudo_replica_mode",
    "pseudo_slave_mode",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "resultset_metadata",
    "server_id",
    "session_track_gtids",
    "skip_replication",
    "sql_big_selects",
    "sql_log_bin",
    "sql_log_off",
    "sql_max_join_size",
];

/// Two names of one variable: which one a server takes depends on its version.
const ALIASES: [(&str, &str); 2] =
    [("transaction_isolation", "tx_isolation"), ("transaction_read_only", "tx_read_only")];

const CHARSET_VARIABLES: [&str; 4] =
    ["character_set_client", "character_set_results", "character_set_connection", "collation_connection"];

/// What a SET means for a session on shared connections. In every case but `Refuse` the session runs the statement on a server
/// first, so that MySQL judges it, and commits the changes when it said OK.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    Follow(Changes),
    /// The server knows the new values of `names`: run [`Variables::read_back_statement`] on the same connection.
    FollowAfterReadBack {
        changes: Changes,
        names: Vec<String>,
    },
    /// `SET @@transaction_isolation = …` without a scope: means the next transaction only, as SET TRANSACTION does.
    NextTransaction,
    /// From this statement on the session keeps its connection. `changes` are the assignments that can be followed, `names` those
    /// to be read back.
    Pin {
        pin: Pin,
        changes: Changes,
        names: Vec<String>,
    },
    Refuse(ClientError),
}

impl Verdict {
    /// The same, and the session keeps its connection for `hidden`.
    pub(crate) fn pinned(self, hidden: Pin) -> Verdict {
        match self {
            Verdict::Follow(changes) => Verdict::Pin { pin: hidden, changes, names: Vec::new() },
            Verdict::FollowAfterReadBack { changes, names } => Verdict::Pin { pin: hidden, changes, names },
            Verdict::Pin { pin, changes, names } => {
                Verdict::Pin { pin: Pin::new(pin.reason, Until::SessionReset), changes, names }
            }
            Verdict::NextTransaction | Verdict::Refuse(_) => self,
        }
    }
}

/// The outcome of all assignments so far.
#[derive(Debug, Default)]
struct Outcome {
    changes: Changes,
    names: Vec<String>,
    pin: Option<Pin>,
}

impl Outcome {
    fn set(&mut self, name: &str, text: impl Into<Vec<u8>>) {
        self.changes.list.push(Change::Set { name: name.to_owned(), text: text.into() });
    }

    fn unset(&mut self, name: &str) {
        self.changes.list.push(Change::Unset { name: name.to_owned() });
    }

    fn read(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    fn pin(&mut self, reason: &'static str) {
        self.pin_with(Pin::new(reason, Until::SessionReset));
    }

    /// An assignment that lasts until its variable gets a constant.
    fn pin_variable(&mut self, name: &str) {
        let name = BTreeSet::from([name.to_ascii_lowercase()]);
        self.pin_with(Pin::until_gone("user_variable", Some(name)));
    }

    /// One statement pins for one reason: the first, to the session's end if there are more.
    fn pin_with(&mut self, pin: Pin) {
        match &mut self.pin {
            None => self.pin = Some(pin),
            Some(first) if first.reason == pin.reason => first.join(pin),
            Some(first) => first.until = Until::SessionReset,
        }
    }
}

impl Variables {
    /// Decides on the assignments of one SET statement, whose bytes are `text`.
    pub(crate) fn decide(&self, text: &[u8], assignments: &[Assignment]) -> Verdict {
        let mut outcome = Outcome::default();
        let one_shots = assignments.iter().filter(|assignment| is_one_shot(text, assignment)).count();
        if one_shots > 0 && one_shots == assignments.len() {
            return Verdict::NextTransaction;
        }
        for assignment in assignments {
            if is_one_shot(text, assignment) {
                outcome.pin("next_transaction");
                continue;
            }
            let value = match &assignment.value {
                AssignedValue::Default | AssignedValue::Absent => None,
                AssignedValue::Literal { span, .. } | AssignedValue::Expression { span } => {
                    Some(text.get(span.start as usize..span.end as usize).unwrap_or_default())
                }
            };
            if let Err(refused) = self.assign(&assignment.target, value, &mut outcome) {
                return Verdict::Refuse(refused);
            }
        }
        self.bound(&mut outcome);
        let Outcome { changes, names, pin } = outcome;
        match pin {
            Some(pin) => Verdict::Pin { pin, changes, names },
            None if names.is_empty() => Verdict::Follow(changes),
            None => Verdict::FollowAfterReadBack { changes, names },
        }
    }

    /// `value` is `None` for DEFAULT.
    fn assign(
        &self,
        target: &Target,
        value: Option<&[u8]>,
        outcome: &mut Outcome,
    ) -> Result<(), ClientError> {
        let refused = |what: &str| Err(ClientError::new("SW1215", what));
        match target {
            Target::Session(name) => self.system(&name.to_ascii_lowercase(), value, outcome),
            Target::User(name) => self.user(name, value.unwrap_or_default(), outcome),
            Target::Names { charset, collation } => {
                self.names(charset.as_deref(), collation.as_deref(), outcome)
            }
            Target::CharacterSet(charset) => self.character_set(charset.as_deref(), outcome),
            Target::Global(name) => refused(&format!("SET GLOBAL {name} changes one server, not the fleet")),
            Target::Persist(name) => {
                refused(&format!("SET PERSIST {name} changes one server, not the fleet"))
            }
            Target::Password => refused("SET PASSWORD changes an account of one server"),
            Target::Role => Err(ClientError::new("SW1306", "SET ROLE")),
            Target::Other => {
                outcome.pin("unknown_set");
                Ok(())
            }
        }
    }

    fn system(&self, name: &str, value: Option<&[u8]>, outcome: &mut Outcome) -> Result<(), ClientError> {
        if NOT_FOLLOWED.contains(&name) || name.starts_with("wsrep_") || name.starts_with("debug") {
            outcome.pin("variable_of_one_connection");
            return Ok(());
        }
        if !is_name(name) {
            // A structured or quoted name.
            outcome.pin("unknown_set");
            return Ok(());
        }
        if CHARSET_VARIABLES.contains(&name) {
            return self.charset(name, value, outcome);
        }
        if name == "completion_type" && value.is_some_and(|raw| !self.ends_no_connection(raw)) {
            let detail = "completion_type = RELEASE, which ends connections that sessions share";
            return Err(ClientError::new("SW1215", detail));
        }
        let Some(raw) = value else {
            match name {
                "autocommit" => outcome.read(name),
                "sql_mode" => {
                    outcome.unset(name);
                    outcome.changes.list.push(Change::Mode(None));
                }
                _ => outcome.unset(name),
            }
            return Ok(());
        };
        let Some(constant) = constant(raw, &self.context) else {
            outcome.read(name);
            return Ok(());
        };
        self.follow_system(name, &constant, outcome);
        Ok(())
    }

    /// Whether a value of completion_type is not RELEASE, as far as its text tells.
    fn ends_no_connection(&self, raw: &[u8]) -> bool {
        let name = constant(raw, &self.context).and_then(|constant| constant.name());
        let known = ["0", "1", "NO_CHAIN", "CHAIN"];
        name.is_some_and(|name| known.iter().any(|known| known.eq_ignore_ascii_case(&name)))
    }

    fn follow_system(&self, name: &str, constant: &Constant, outcome: &mut Outcome) {
        match name {
            "autocommit" => match switch(constant) {
                Some(on) => {
                    outcome.set(name, if on { "1" } else { "0" });
                    outcome.changes.list.push(Change::Autocommit(on));
                }
                None => outcome.read(name),
            },
            "sql_mode" => match constant {
                Constant::Word(_) | Constant::String { .. } if constant.name().is_some() => {
                    let mode = SqlMode::from_names(&constant.name().unwrap_or_default());
                    outcome.set(name, constant.for_system(self.client_charset()));
                    outcome.changes.list.push(Change::Mode(Some(mode)));
                }
                _ => outcome.read(name),
            },
            "timestamp" if *constant == Constant::Plain(b"0".to_vec()) => outcome.unset(name),
            "wait_timeout" if seconds(constant).is_none_or(|seconds| seconds < WAIT_TIMEOUT_SECONDS_MIN) => {
                outcome.pin("short_wait_timeout");
            }
            // `WHERE id IS NULL` then finds the row of LAST_INSERT_ID(), which is one connection's.
            "sql_auto_is_null" if switch(constant) != Some(false) => outcome.pin("sql_auto_is_null"),
            _ => {
                outcome.set(name, constant.for_system(self.client_charset()));
                for (one, other) in ALIASES {
                    match name {
                        name if name == one => outcome.unset(other),
                        name if name == other => outcome.unset(one),
                        _ => {}
                    }
                }
            }
        }
    }

    fn user(&self, name: &str, raw: &[u8], outcome: &mut Outcome) -> Result<(), ClientError> {
        let variable = format!("@{name}");
        // Names beyond ASCII compare by a collation that only the server knows.
        if !name.is_ascii() || name.is_empty() || name.len() > NAME_CHARS_MAX || name.contains('\\') {
            outcome.pin("user_variable");
            return Ok(());
        }
        let constant = constant(raw, &self.context);
        let collation = self.name_of("collation_connection");
        let text = constant.as_ref().and_then(|constant| {
            constant.for_user(self.client_charset(), self.connection_charset(), collation)
        });
        match (constant, text) {
            // As if it had never been set.
            (Some(Constant::Null), _) => outcome.unset(&variable),
            (_, Some(text)) => outcome.set(&variable, text),
            (_, None) => {
                outcome.unset(&variable);
                match self.reads_back() && outcome.names.len() < READ_BACK_MAX {
                    true => outcome.read(&variable.to_ascii_lowercase()),
                    false => outcome.pin_variable(name),
                }
            }
        }
        Ok(())
    }

    /// SET NAMES x [COLLATE y]
    fn names(
        &self,
        charset: Option<&str>,
        collation: Option<&str>,
        outcome: &mut Outcome,
    ) -> Result<(), ClientError> {
        let Some(charset) = charset.filter(|name| is_name(name) && collation.is_none_or(is_name)) else {
            CHARSET_VARIABLES.iter().for_each(|name| outcome.read(name));
            return Ok(());
        };
        self.client_may_be(charset)?;
        for name in &CHARSET_VARIABLES[..3] {
            outcome.set(name, charset.as_bytes());
        }
        match collation {
            Some(collation) => {
                outcome.set("collation_connection", collation);
                outcome.set(RESULTS, collated(charset, collation));
            }
            None => outcome.unset("collation_connection"),
        }
        outcome.changes.list.push(Change::Charset(Charset::from_name(charset)));
        Ok(())
    }

    /// SET CHARACTER SET x: the connection's charset and collation become those of the database, which the server knows.
    fn character_set(&self, charset: Option<&str>, outcome: &mut Outcome) -> Result<(), ClientError> {
        let Some(charset) = charset.filter(|name| is_name(name)) else {
            CHARSET_VARIABLES.iter().for_each(|name| outcome.read(name));
            return Ok(());
        };
        self.client_may_be(charset)?;
        outcome.set("character_set_client", charset.as_bytes());
        outcome.set("character_set_results", charset.as_bytes());
        outcome.changes.list.push(Change::Charset(Charset::from_name(charset)));
        outcome.read("character_set_connection");
        outcome.read("collation_connection");
        Ok(())
    }

    fn charset(&self, name: &str, value: Option<&[u8]>, outcome: &mut Outcome) -> Result<(), ClientError> {
        let constant = value.and_then(|raw| constant(raw, &self.context));
        if name == "character_set_results" && constant == Some(Constant::Null) {
            outcome.set(name, "NULL");
            return Ok(());
        }
        let Some(new) = value.and_then(|raw| self.plain_name(raw)) else {
            // DEFAULT, a number, an expression: the server knows what it became, and of what else.
            outcome.read(name);
            match name {
                "character_set_connection" => outcome.read("collation_connection"),
                "collation_connection" => outcome.read("character_set_connection"),
                _ => {}
            }
            return Ok(());
        };
        outcome.set(name, new.as_bytes());
        match name {
            "character_set_client" => {
                self.client_may_be(&new)?;
                outcome.changes.list.push(Change::Charset(Charset::from_name(&new)));
            }
            "character_set_connection" => outcome.unset("collation_connection"),
            // A collation's name begins with its charset's, but for MariaDB's short names.
            "collation_connection" => match new.split('_').next() {
                Some(charset) if !charset.starts_with("uca") => {
                    outcome.set("character_set_connection", charset)
                }
                _ => outcome.read("character_set_connection"),
            },
            _ => {}
        }
        Ok(())
    }

    /// What the server answered for one variable after a SET.
    pub(super) fn answered(&self, name: &str, value: Option<&[u8]>) -> Changes {
        let mut outcome = Outcome::default();
        let word = value.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        match name {
            _ if CHARSET_VARIABLES.contains(&name) => {
                let word = if value.is_none() { "NULL" } else { word };
                if is_name(word) {
                    outcome.set(name, word);
                }
                if name == "character_set_client" {
                    outcome.changes.list.push(Change::Charset(Charset::from_name(word)));
                }
            }
            "autocommit" => {
                outcome.set(name, if word == "1" { "1" } else { "0" });
                outcome.changes.list.push(Change::Autocommit(word == "1"));
            }
            _ => {
                outcome.set(name, read_back(value, self.results_charset().unwrap_or("utf8mb3")));
                if name == "sql_mode" {
                    outcome.changes.list.push(Change::Mode(Some(SqlMode::from_names(word))));
                }
            }
        }
        outcome.changes
    }

    /// Whether one more value is within the bounds.
    pub(super) fn has_room_for(&self, value: &[u8]) -> bool {
        self.state.variables().count() < VARIABLES_MAX
            && self.state.bytes() + NAME_CHARS_MAX + value.len() <= STATE_BYTES_MAX
    }

    /// Pins a session whose state would grow beyond its bounds.
    fn bound(&self, outcome: &mut Outcome) {
        let long = |change: &Change| match change {
            Change::Set { text, .. } => text.len() > 2 * VALUE_BYTES_MAX,
            _ => false,
        };
        let mut after = self.clone();
        after.commit(outcome.changes.clone());
        let variables = after.state.variables().count() + outcome.names.len();
        if outcome.changes.list.iter().any(long)
            || variables > VARIABLES_MAX
            || after.state.bytes() > STATE_BYTES_MAX
        {
            for change in &mut outcome.changes.list {
                if let Change::Set { name, .. } = change
                    && !CHARSET_VARIABLES.contains(&name.as_str())
                {
                    *change = Change::Unset { name: std::mem::take(name) };
                }
            }
            outcome.pin("large_state");
        }
    }

    pub(crate) fn client_charset(&self) -> &str {
        &self.client_charset
    }

    fn connection_charset(&self) -> &str {
        self.name_of("character_set_connection").unwrap_or(super::CHARSET_DEFAULT)
    }

    /// The name of a charset or collation, in lower case; `None` when it is not simply a name.
    fn plain_name(&self, raw: &[u8]) -> Option<String> {
        match constant(raw, &self.context)? {
            constant @ (Constant::Word(_) | Constant::String { .. }) => {
                constant.name().filter(|name| is_name(name)).map(|name| name.to_ascii_lowercase())
            }
            Constant::Plain(_) | Constant::Null => None,
        }
    }

    /// swe7 has letters where SQL has `@`, `[` and the backslash: its statements cannot be read as the server reads them.
    fn client_may_be(&self, charset: &str) -> Result<(), ClientError> {
        match charset {
            "swe7" => Err(ClientError::new("SW1215", "the character set swe7 for statements")),
            _ => Ok(()),
        }
    }
}

/// `@@transaction_isolation` and its kin without SESSION: the next transaction only.
fn is_one_shot(text: &[u8], assignment: &Assignment) -> bool {
    let Target::Session(name) = &assignment.target else { return false };
    let of_transactions = ALIASES.iter().any(|(one, other)| name == one || name == other);
    let span = assignment.span.start as usize..assignment.span.end as usize;
    let Some(written) = text.get(span).and_then(|written| written.trim_ascii().strip_prefix(b"@@")) else {
        return false;
    };
    let scope = |word: &[u8]| written.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    of_transactions && !scope(b"session") && !scope(b"local")
}

fn switch(constant: &Constant) -> Option<bool> {
    match constant.name()?.to_ascii_uppercase().as_str() {
        "1" | "ON" => Some(true),
        "0" | "OFF" => Some(false),
        _ => None,
    }
}

fn seconds(constant: &Constant) -> Option<u64> {
    match constant {
        Constant::Plain(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
