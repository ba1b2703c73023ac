//! A statement of the client's on its way to servers: its text with the scan of it, and, where it came prepared, what its parameters are.

use bytes::Bytes;

use crate::backend::{HandleKey, SessionState};
use crate::router::Target;
use crate::sql::{self, Parameter};
use crate::wire::{Argument, ParameterType, Shape, execute_packets};

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The client's, or the part of it that one shard gets.
    pub(super) text: &'a [u8],
    /// The scan of the client's text.
    pub(super) statement: &'a sql::Statement,
    /// `None`: it came as text.
    pub(super) execution: Option<Execution<'a>>,
}

/// A text that a client has prepared, with all that was the session's then and stays the statement's.
#[derive(Debug)]
pub(super) struct PreparedText {
    pub(super) text: Bytes,
    pub(super) state: SessionState,
    /// How the text is read.
    pub(super) context: sql::Context,
    /// `character_set_client`, by name.
    pub(super) charset: String,
    /// Of the whole text.
    pub(super) key: HandleKey,
    pub(super) seed: u64,
    /// It gives rows.
    pub(super) columns: bool,
}

/// One COM_STMT_EXECUTE.
#[derive(Clone, Copy)]
pub(super) struct Execution<'a> {
    /// The session's id of the statement.
    pub(super) id: u32,
    pub(super) prepared: &'a PreparedText,
    /// The kind of cursor that the client wants, as it wrote it.
    pub(super) cursor: u8,
    /// One per parameter of the client's text.
    pub(super) types: &'a [ParameterType],
    pub(super) arguments: &'a [Argument],
    /// Of the last arguments that were not NULL.
    pub(super) given: &'a [Option<Shape>],
    /// The same for the router.
    pub(super) parameters: &'a [Parameter<'a>],
    /// Which of them the text has, where it is a shard's part.
    pub(super) part: Option<&'a [usize]>,
}

/// Parts of statements whose text is longer are closed after their use: of a batch every execution has other parts.
const PART_KEPT_BYTES_MAX: usize = 16 << 10;

impl<'a> Asked<'a> {
    pub(super) fn text(text: &'a [u8], statement: &'a sql::Statement) -> Asked<'a> {
        Asked { text, statement, execution: None }
    }

    /// What the shard of `target` is asked for.
    pub(super) fn of(&self, target: &'a Target) -> Asked<'a> {
        let Some(text) = target.text.as_deref() else { return *self };
        let part = Some(target.parameters.as_slice());
        let execution = self.execution.map(|execution| Execution { part, ..execution });
        Asked { text, execution, ..*self }
    }

    pub(super) fn wants_cursor(&self) -> bool {
        self.execution.is_some_and(|execution| execution.cursor != 0)
    }
}

impl Execution<'_> {
    /// Identifies `text`, the whole or a part, among what is prepared on a connection.
    pub(super) fn unused_key(&self, text: &[u8]) -> HandleKey {
        match self.part {
            None => self.prepared.key,
            Some(_) => handle_key(self.prepared.seed, &self.prepared.state, text),
        }
    }

    /// As `unused_key`, for executions with arguments of these shapes. What gives rows is shared by them alone: MySQL (8.0.22 and
    /// later) goes on to take a parameter as what it was given before, and describes columns by it.
    pub(super) fn key(&self, text: &[u8]) -> HandleKey {
        let unused = self.unused_key(text);
        if !self.prepared.columns || self.arguments.is_empty() {
            return unused;
        }
        let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(self.prepared.seed);
        hash.update(&unused.to_le_bytes());
        for given in self.given {
            hash.update(&Shape::bytes(*given));
        }
        hash.digest128()
    }

    /// Some of its arguments came ahead.
    pub(super) fn has_long_data(&self) -> bool {
        self.arguments.iter().any(|argument| matches!(argument, Argument::Long(_)))
    }

    /// Worth to stay prepared, and fit to be shared: MariaDB reads long data by the types of the execution before.
    pub(super) fn keep(&self, text: &[u8]) -> bool {
        if self.has_long_data() {
            return false;
        }
        self.part.is_none_or(|part| part.len() == self.arguments.len()) || text.len() <= PART_KEPT_BYTES_MAX
    }

    /// The command for a server that knows the statement as `handle`.
    pub(super) fn packets(&self, handle: u32, cursor: u8) -> Vec<u8> {
        let all: Vec<(ParameterType, &Argument)> = match self.part {
            None => self.types.iter().copied().zip(self.arguments).collect(),
            Some(part) => part
                .iter()
                .filter_map(|index| Some((*self.types.get(*index)?, self.arguments.get(*index)?)))
                .collect(),
        };
        execute_packets(handle, cursor, &all)
    }
}

/// A text as it is read under a state.
pub(super) fn handle_key(seed: u64, state: &SessionState, text: &[u8]) -> HandleKey {
    let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(seed);
    state.reading(|part| hash.update(part));
    hash.update(text);
    hash.digest128()
}
