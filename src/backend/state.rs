//! What a session wants of a connection, what a connection carries, and the commands that lead from one to the other.
//! Pure: knows neither sockets nor what a variable means.
//!
//! A value is SQL text of ASCII characters that reads the same under every sql_mode and every character set of a client
//! (`session::variables` makes such texts). That is why one SET can carry all variables in any order, sql_mode and
//! character sets among them.

use std::cmp::Ordering;
use std::sync::Arc;

const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_RESET_CONNECTION: u8 = 0x1f;

const HEADER_BYTES: usize = 4;
/// The most that one packet holds; a payload of exactly this many bytes goes on in the next packet.
const PAYLOAD_MAX: usize = 0xff_ff_ff;

/// What decides how a text is read when it is prepared. Everything else takes effect when a statement is executed.
const READING: [&str; 10] = [
    "character_set_client",
    "character_set_connection",
    "collation_connection",
    "default_week_format",
    "div_precision_increment",
    "group_concat_max_len",
    "lc_time_names",
    "optimizer_switch",
    "sql_auto_is_null",
    "sql_mode",
];

/// These two are one thing: setting one changes the other, so a difference in either sends both.
const CONNECTION_CHARSET: [&str; 2] = ["character_set_connection", "collation_connection"];

/// The followed state of a session: its database and its variables, each with the exact text of its value.
/// Kept sorted and shared: clients of one application nearly always have equal lists, so equality of pointers is tried first.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionState {
    list: Option<Arc<List>>,
}

#[derive(Debug, Clone, Default)]
struct List {
    /// Everything below, prefix-free: lists are compared at each borrowing, and this is one comparison of memory.
    encoded: Vec<u8>,
    database: Option<Box<str>>,
    /// In ascending order of names, which are in lower case.
    variables: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: Box<str>,
    value: Box<[u8]>,
}

/// How results are encoded. A value `x COLLATE y` stands for what SET NAMES or a login with a collation of its own left: columns
/// of text then say that collation. Only SET NAMES reaches it, and that sets the other three as well.
const RESULTS: &str = "character_set_results";
const COLLATE: &[u8] = b" COLLATE ";
const OF_NAMES: [&str; 3] = ["character_set_client", "character_set_connection", "collation_connection"];

/// What must be sent in front of the next statement so that a connection matches a session, as whole packets to be
/// pipelined; `replies` OK packets come back first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Preparation {
    pub(crate) packets: Vec<u8>,
    pub(crate) replies: usize,
    /// COM_RESET_CONNECTION is among them: the connection's prepared statements are gone.
    pub(crate) resets: bool,
}

/// How well a connection suits a session, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// Nothing has to be sent.
    Same,
    /// Only additions and changes.
    Prepare { commands: usize },
    /// It carries what the session lacks.
    Reset,
    /// It has a database and the session has none: no command undoes that.
    Unfit,
}

/// Where two lists differ.
#[derive(Debug, Default)]
struct Difference<'a> {
    /// The connection carries a variable that is not wanted.
    surplus: bool,
    /// What must be set.
    wanted: Vec<&'a Variable>,
}

impl SessionState {
    /// Sets one variable (`sql_mode`, `@x`) to the SQL text of a value. Names compare without case.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let name = name.to_ascii_lowercase();
        if self.value(&name) == Some(value) {
            return;
        }
        self.change(|list| {
            let variable = Variable { name: name.into(), value: value.into() };
            match list.find(&variable.name) {
                Ok(index) => list.variables[index] = variable,
                Err(index) => list.variables.insert(index, variable),
            }
        });
    }

    /// Forgets a variable: its value is the server's default again.
    pub(crate) fn unset(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if self.value(&name).is_some() {
            self.change(|list| list.variables.retain(|variable| *variable.name != *name));
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&[u8]> {
        let list = self.list.as_deref()?;
        let found = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            list.find(&name.to_ascii_lowercase())
        } else {
            list.find(name)
        };
        found.ok().map(|index| &*list.variables[index].value)
    }

    pub(crate) fn set_database(&mut self, database: Option<&str>) {
        if self.database() != database {
            self.change(|list| list.database = database.map(Box::from));
        }
    }

    pub(crate) fn database(&self) -> Option<&str> {
        self.list.as_deref()?.database.as_deref()
    }

    /// Names and values in ascending order of names.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.list_of().iter().map(|variable| (&*variable.name, &*variable.value))
    }

    /// How many bytes names and values have, for bounds.
    pub(crate) fn bytes(&self) -> usize {
        self.list_of().iter().map(|variable| variable.name.len() + variable.value.len()).sum()
    }

    /// What a connection that carries `self` carries after COM_RESET_CONNECTION: the database alone.
    pub(crate) fn after_reset(&self) -> SessionState {
        let mut state = SessionState::default();
        state.set_database(self.database());
        state
    }

    /// `self`, but texts are read as under `other`: what a connection that carries `self` must be led to before a statement of
    /// `other`'s is prepared on it, without a reset. A variable that `other` lacks gets its default by name.
    pub(crate) fn reading_as(&self, other: &SessionState) -> SessionState {
        let mut reading = self.clone();
        for name in READING {
            match (self.value(name), other.value(name)) {
                (_, Some(value)) => reading.set(name, value),
                (None, None) => {}
                // Chosen by the character set.
                (Some(_), None) if name == "collation_connection" => reading.unset(name),
                (Some(_), None) => reading.set(name, b"DEFAULT"),
            }
        }
        if other.database().is_some() {
            reading.set_database(other.database());
        }
        reading
    }

    /// Calls `part` with all that decides how a text is read, prefix-free.
    pub(crate) fn reading(&self, mut part: impl FnMut(&[u8])) {
        let mut sized = |bytes: Option<&[u8]>| {
            part(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            part(bytes.unwrap_or_default());
        };
        sized(self.database().map(str::as_bytes));
        for name in READING {
            sized(self.value(name));
        }
    }

    /// How well a connection that carries `self` suits a session that wants `wanted`. Allocates nothing.
    pub(crate) fn fits(&self, wanted: &SessionState) -> Fit {
        if self == wanted {
            return Fit::Same;
        }
        let mut commands = 0;
        if self.database() != wanted.database() {
            let Some(database) = wanted.database() else { return Fit::Unfit };
            commands += if database.is_ascii() { 1 } else { 2 };
        }
        let mut changed = false;
        let mut surplus = false;
        walk(self.list_of(), wanted.list_of(), |have, want| match want {
            Some(_) => changed = true,
            None => surplus |= have.is_some_and(|have| !replaced(have, wanted)),
        });
        // A collation that only goes away is replaced by its character set.
        let recollated = !surplus && !changed && self.list_of().len() != wanted.list_of().len();
        match surplus {
            true => Fit::Reset,
            false => Fit::Prepare { commands: commands + usize::from(changed || recollated) },
        }
    }

    /// What leads a connection that carries `self` to `wanted`. Variables that `wanted` lacks are undone with
    /// COM_RESET_CONNECTION, never by a remembered value. Empty when nothing differs (the common case, and it allocates nothing).
    /// A database cannot be undone: ask [`SessionState::fits`] first.
    pub(crate) fn prepare(&self, wanted: &SessionState) -> Preparation {
        let mut preparation = Preparation::default();
        if self == wanted {
            return preparation;
        }
        let mut difference = self.difference(wanted);
        let mut carried = self.clone();
        if difference.surplus {
            preparation.command(COM_RESET_CONNECTION, &[]);
            preparation.resets = true;
            carried = self.after_reset();
            difference = carried.difference(wanted);
        }
        if let Some(database) = wanted.database()
            && carried.database() != Some(database)
        {
            if !database.is_ascii() {
                // The name is read in the character set that the connection has at that moment.
                preparation.command(COM_QUERY, b"SET @@session.character_set_client = utf8mb4");
                carried.set("character_set_client", b"utf8mb4");
                difference = carried.difference(wanted);
            }
            preparation.command(COM_INIT_DB, database.as_bytes());
        }
        if !difference.wanted.is_empty() {
            preparation.command(COM_QUERY, &set_statement(&difference.wanted));
        }
        preparation
    }

    fn difference<'a>(&self, wanted: &'a SessionState) -> Difference<'a> {
        let mut difference = Difference::default();
        let mut charset_differs = false;
        walk(self.list_of(), wanted.list_of(), |have, want| {
            let name = have.or(want).map_or("", |variable| &*variable.name);
            if CONNECTION_CHARSET.contains(&name) {
                charset_differs = true;
            }
            match want {
                Some(want) => difference.wanted.push(want),
                None => difference.surplus |= have.is_some_and(|have| !replaced(have, wanted)),
            }
        });
        if charset_differs {
            difference.wanted.retain(|variable| !CONNECTION_CHARSET.contains(&&*variable.name));
            // The character set first: setting it chooses its default collation.
            let unit = wanted.list_of().iter().filter(|own| CONNECTION_CHARSET.contains(&&*own.name));
            difference.wanted.extend(unit);
        }
        if let Some(at) = difference.wanted.iter().position(|variable| variable.is_collated()) {
            let names = difference.wanted.remove(at);
            difference.wanted.retain(|variable| !OF_NAMES.contains(&&*variable.name));
            let unit = wanted.list_of().iter().filter(|own| OF_NAMES.contains(&&*own.name));
            difference.wanted.splice(0..0, std::iter::once(names).chain(unit));
        }
        difference
    }

    fn list_of(&self) -> &[Variable] {
        self.list.as_deref().map_or(&[], |list| &list.variables)
    }

    fn change(&mut self, change: impl FnOnce(&mut List)) {
        let list = Arc::make_mut(self.list.get_or_insert_default());
        change(list);
        list.encode();
    }
}

impl PartialEq for SessionState {
    fn eq(&self, other: &SessionState) -> bool {
        match (&self.list, &other.list) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two) || one.encoded == two.encoded,
            (Some(list), None) | (None, Some(list)) => list.database.is_none() && list.variables.is_empty(),
        }
    }
}

impl Eq for SessionState {}

impl Variable {
    fn is_collated(&self) -> bool {
        *self.name == *RESULTS && self.value.windows(COLLATE.len()).any(|part| part == COLLATE)
    }
}

impl List {
    fn encode(&mut self) {
        self.encoded.clear();
        // No database and one without a name are not the same.
        self.encoded.push(u8::from(self.database.is_some()));
        let mut part = |bytes: &[u8]| {
            self.encoded.extend_from_slice(&bytes.len().to_le_bytes());
            self.encoded.extend_from_slice(bytes);
        };
        part(self.database.as_deref().unwrap_or_default().as_bytes());
        for variable in &self.variables {
            part(variable.name.as_bytes());
            part(&variable.value);
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.variables.binary_search_by(|variable| (*variable.name).cmp(name))
    }
}

impl Preparation {
    fn command(&mut self, command: u8, body: &[u8]) {
        self.replies += 1;
        self.packets.reserve(HEADER_BYTES + 1 + body.len());
        let mut sequence = 0_u8;
        let mut first = Some(command);
        let mut rest = body;
        loop {
            let room = PAYLOAD_MAX - usize::from(first.is_some());
            let (now, later) = rest.split_at(rest.len().min(room));
            let length = now.len() + usize::from(first.is_some());
            let length_bytes = u32::try_from(length).unwrap_or(0).to_le_bytes();
            self.packets.extend_from_slice(&length_bytes[..3]);
            self.packets.push(sequence);
            self.packets.extend(first.take());
            self.packets.extend_from_slice(now);
            rest = later;
            if length < PAYLOAD_MAX {
                return;
            }
            sequence = sequence.wrapping_add(1);
        }
    }
}

/// Calls `visit` for every name whose value is not the same in both lists, in ascending order.
fn walk<'a, 'b>(
    have: &'a [Variable],
    want: &'b [Variable],
    mut visit: impl FnMut(Option<&'a Variable>, Option<&'b Variable>),
) {
    let (mut left, mut right) = (have, want);
    loop {
        match (left, right) {
            ([], []) => return,
            ([one, rest @ ..], []) => {
                visit(Some(one), None);
                left = rest;
            }
            ([], [two, rest @ ..]) => {
                visit(None, Some(two));
                right = rest;
            }
            ([one, rest_left @ ..], [two, rest_right @ ..]) => match one.name.cmp(&two.name) {
                Ordering::Less => {
                    visit(Some(one), None);
                    left = rest_left;
                }
                Ordering::Greater => {
                    visit(None, Some(two));
                    right = rest_right;
                }
                Ordering::Equal => {
                    if one.value != two.value {
                        visit(Some(one), Some(two));
                    }
                    left = rest_left;
                    right = rest_right;
                }
            },
        }
    }
}

/// Whether a variable that `wanted` does not name is overwritten all the same, by its other half.
fn replaced(have: &Variable, wanted: &SessionState) -> bool {
    CONNECTION_CHARSET.contains(&&*have.name)
        && CONNECTION_CHARSET.iter().any(|half| wanted.value(half).is_some())
}

/// `SET @@session.a = 1, @x = 2`; the scope is spelled out since `SET @@transaction_isolation` without it means the next transaction.
fn set_statement(variables: &[&Variable]) -> Vec<u8> {
    let mut text = Vec::with_capacity(16 + variables.len() * 48);
    text.extend_from_slice(b"SET ");
    for (index, variable) in variables.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        if variable.is_collated() {
            text.extend_from_slice(b"NAMES ");
            text.extend_from_slice(&variable.value);
            continue;
        }
        match variable.name.strip_prefix('@') {
            Some(name) => {
                text.extend_from_slice(b"@`");
                text.extend_from_slice(name.replace('`', "``").as_bytes());
                text.push(b'`');
            }
            None => {
                text.extend_from_slice(b"@@session.");
                text.extend_from_slice(variable.name.as_bytes());
            }
        }
        text.extend_from_slice(b" = ");
        text.extend_from_slice(&variable.value);
    }
    text
}

#[cfg(test)]
mod tests;
