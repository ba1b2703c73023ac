//! The meaning of SET on shared connections: which assignments follow the session from connection to connection, which
//! keep it on one, and which are refused. Pure: the session runs the statement on a server, and commits what it decided here
//! when the server said OK.

mod decide;
mod pin;
mod release;
mod text;

pub(crate) use self::decide::Verdict;
pub(crate) use self::pin::{Pin, Until, may_hide_changes, noticed, pin_reason, taints};
pub(crate) use self::release::Release;
use self::text::computed;
pub(crate) use self::text::quoted;
use std::collections::BTreeSet;

use crate::backend::SessionState;
use crate::sql::{Charset, Context, Flavor, SqlMode};
use crate::wire::{ColumnDefinition, charset_of, collation_name};

const RESULTS: &str = "character_set_results";
const CONNECTION_COLLATION: &str = "collation_connection";

/// The charset of a session whose login names one that the proxy or the servers do not know.
const CHARSET_DEFAULT: &str = "utf8mb4";
/// A server does not take these from a client.
const CHARSETS_NOT_FOR_CLIENTS: [&str; 4] = ["ucs2", "utf16", "utf16le", "utf32"];

/// The variables of one session.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    state: SessionState,
    context: Context,
    autocommit: bool,
    /// `character_set_client`, which every statement is read in.
    client_charset: String,
    /// What the session began with, for COM_RESET_CONNECTION.
    login_collation: u16,
    /// How the servers read without a SET.
    defaults: Context,
}

/// What a SET does to the followed state once the server has accepted it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    list: Vec<Change>,
}

impl Changes {
    /// The user variables that have become constants, without `@`.
    pub(crate) fn user_variables(&self) -> BTreeSet<String> {
        let named = self.list.iter().filter_map(|change| match change {
            Change::Set { name, .. } | Change::Unset { name } => name.strip_prefix('@'),
            Change::Mode(_) | Change::Charset(_) | Change::Autocommit(_) => None,
        });
        named.map(str::to_ascii_lowercase).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Set { name: String, text: Vec<u8> },
    Unset { name: String },
    Mode(Option<SqlMode>),
    Charset(Charset),
    Autocommit(bool),
}

impl Variables {
    /// The state after a login with this collation and database; `defaults` is how the fleet's servers read when nothing is set.
    pub(crate) fn from_login(collation: u16, database: Option<&str>, defaults: Context) -> Variables {
        let mut variables = Variables {
            state: SessionState::default(),
            context: defaults,
            autocommit: true,
            client_charset: String::new(),
            login_collation: collation,
            defaults,
        };
        variables.state.set_database(database);
        let charset = login_charset(collation);
        let charset = charset.as_deref().unwrap_or(CHARSET_DEFAULT);
        for name in ["character_set_client", "character_set_connection"] {
            variables.state.set(name, charset.as_bytes());
        }
        variables.state.set(RESULTS, charset.as_bytes());
        variables.track();
        if let Some(collation) = login_collation(collation, &defaults) {
            variables.state.set(CONNECTION_COLLATION, collation.as_bytes());
            // Columns of text have it in results too.
            variables.state.set(RESULTS, collated(charset, &collation).as_bytes());
        }
        variables.context.charset = Charset::from_name(charset);
        variables.client_charset = charset.to_owned();
        variables
    }

    /// The fleet's servers turn out to read otherwise than was known at the login. What the session has set stays.
    pub(crate) fn follow(&mut self, defaults: Context) {
        let login = |defaults: Context| Variables::from_login(self.login_collation, None, defaults).state;
        let (before, now) = (login(self.defaults), login(defaults));
        for name in [CONNECTION_COLLATION, RESULTS] {
            let untouched = self.state.value(name) == before.value(name)
                && self.state.value("character_set_connection") == before.value("character_set_connection");
            match now.value(name) {
                Some(value) if untouched => self.state.set(name, value),
                None if untouched => self.state.unset(name),
                Some(_) | None => {}
            }
        }
        let mode = if self.state.value("sql_mode").is_some() { self.context.mode } else { defaults.mode };
        self.context = Context { mode, charset: self.context.charset, ..defaults };
        self.defaults = defaults;
        self.track();
    }

    /// Lets servers tell what a statement changed, where they can.
    fn track(&mut self) {
        match servers_track(&self.defaults) {
            true => self.state.set("session_track_state_change", b"1"),
            false => self.state.unset("session_track_state_change"),
        }
    }

    /// As after COM_RESET_CONNECTION; the database stays.
    pub(crate) fn reset(&mut self) {
        *self = Variables::from_login(self.login_collation, self.state.database(), self.defaults);
        // MySQL forgets the login's collation, MariaDB goes back to it.
        if self.defaults.flavor == Flavor::MySql {
            let charset = self.client_charset.clone();
            self.state.unset(CONNECTION_COLLATION);
            self.state.set(RESULTS, charset.as_bytes());
        }
    }

    /// What every connection must carry that runs the session's statements.
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    /// How the session's statements are to be read.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// What the session began with.
    pub(crate) fn login_collation(&self) -> u16 {
        self.login_collation
    }

    pub(crate) fn autocommit(&self) -> bool {
        self.autocommit
    }

    pub(crate) fn set_database(&mut self, database: Option<&str>) {
        self.state.set_database(database);
    }

    /// The character set of results, to read what a server answered; `None` is none or not known.
    pub(crate) fn results_charset(&self) -> Option<&str> {
        let name = self.name_of(RESULTS)?.split(' ').next()?;
        Some(name).filter(|name| !name.eq_ignore_ascii_case("NULL"))
    }

    /// The collation of results, where one was named with their character set.
    pub(crate) fn results_collation(&self) -> Option<&str> {
        self.name_of(RESULTS)?.rsplit_once(' ').map(|(_, collation)| collation)
    }

    /// Applies what [`Variables::decide`] found, after the server has said OK. Then the connection's `state` is this state.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for change in changes.list {
            match change {
                Change::Set { name, text } => self.state.set(&name, &text),
                Change::Unset { name } => self.state.unset(&name),
                Change::Mode(mode) => self.context.mode = mode.unwrap_or(self.defaults.mode),
                Change::Charset(charset) => self.context.charset = charset,
                Change::Autocommit(on) => self.autocommit = on,
            }
        }
        let charset = self.name_of("character_set_client").unwrap_or(CHARSET_DEFAULT);
        self.client_charset = charset.to_owned();
    }

    /// The statement whose only row has the values for [`Variables::commit_read_back`].
    pub(crate) fn read_back_statement(names: &[String]) -> String {
        let column = |name: &String| match name.strip_prefix('@') {
            // Its type is that of the first column; text could be changed on its way by `character_set_results`.
            Some(name) => {
                let name = format!("@`{}`", name.replace('`', "``"));
                format!("{name}, HEX({name}), CHARSET({name}), COLLATION({name})")
            }
            None => format!("@@session.{name}"),
        };
        let columns: Vec<String> = names.iter().map(column).collect();
        format!("SELECT {}", columns.join(", "))
    }

    /// As [`Variables::commit`], with the values that the server answered for `names`, in their order. Returns the user
    /// variables (in lower case) whose values cannot follow the session.
    pub(crate) fn commit_read_back(
        &mut self,
        changes: Changes,
        names: &[String],
        columns: &[ColumnDefinition],
        values: &[Option<&[u8]>],
    ) -> BTreeSet<String> {
        self.commit(changes);
        let mut stay = BTreeSet::new();
        let mut at = 0;
        for name in names {
            let Some(user) = name.strip_prefix('@') else {
                let changes = self.answered(name, values.get(at).copied().flatten());
                self.commit(changes);
                at += 1;
                continue;
            };
            let read = columns.get(at).and_then(|column| computed(column, values.get(at..at + 4)?));
            match read {
                Some(Some(text)) if self.has_room_for(&text) => self.state.set(name, &text),
                Some(None) => self.state.unset(name),
                Some(Some(_)) | None => {
                    self.state.unset(name);
                    stay.insert(user.to_ascii_lowercase());
                }
            }
            at += 4;
        }
        stay
    }

    /// Whether a computed value of a user variable can be read back as it is.
    fn reads_back(&self) -> bool {
        let wide = ["ucs2", "utf16", "utf16le", "utf32"];
        !self.results_charset().is_some_and(|name| wide.contains(&name.to_ascii_lowercase().as_str()))
    }

    fn name_of(&self, variable: &str) -> Option<&str> {
        self.state.value(variable).and_then(|text| std::str::from_utf8(text).ok())
    }
}

/// The value of `character_set_results` where a collation was named with it: see `backend::SessionState`.
fn collated(charset: &str, collation: &str) -> String {
    format!("{charset} COLLATE {collation}")
}

/// Whether the servers tell when a statement changed more of the session's state than its text says.
fn servers_track(defaults: &Context) -> bool {
    match defaults.flavor {
        Flavor::MySql => defaults.server_version >= 50_704,
        Flavor::MariaDb => defaults.server_version >= 100_202,
    }
}

/// `None`: the login names none that clients may have.
fn login_charset(collation: u16) -> Option<String> {
    charset_of(collation).filter(|name| !CHARSETS_NOT_FOR_CLIENTS.contains(&name.as_str()))
}

/// The collation that a login sets beside its character set.
fn login_collation(collation: u16, defaults: &Context) -> Option<String> {
    login_charset(collation)?;
    collation_name(collation).filter(|name| servers_know(name, defaults))
}

/// Whether every server of the fleet can be expected to know a collation; else the charset's default takes its place.
fn servers_know(collation: &str, defaults: &Context) -> bool {
    // The only collation of utf8mb3 that logins name; servers disagree about the spelling, and it is the default.
    let spelled_differently = collation.starts_with("utf8_") || collation.starts_with("utf8mb3_");
    let only_new_mysql = collation.contains("_0900_");
    let mysql8 = defaults.flavor == Flavor::MySql && defaults.server_version >= 80_000;
    !spelled_differently && (!only_new_mysql || mysql8)
}

#[cfg(test)]
mod tests;
