//! Plans: what the router resolves and the executor runs. A plan names parameter slots, never values, and no ranges.

use super::merge::Merge;
use crate::error::ClientError;
use crate::sql::FileFormat;
use crate::topology::{ColumnType, SchemeId, ShardId};

/// How one fingerprint is answered.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) verb: Verb,
    pub(crate) routing: Routing,
    /// What several shards' results become; consulted only when the route has more than one shard.
    pub(crate) combine: Combine,
    /// `database.table` of every table, for EXPLAIN, logs and metrics.
    pub(crate) tables: Vec<String>,
    /// The rule that made the plan, a word for metrics and EXPLAIN.
    pub(crate) rule: &'static str,
    /// Why the plan is exact, a sentence for EXPLAIN.
    pub(crate) proof: String,
    /// Where the text says `_shard`. Byte offsets into this very text.
    pub(crate) shard_columns: Vec<ShardColumn>,
    pub(crate) insert_id: InsertId,
    /// A read that calls what may be a stored function, which may write.
    pub(crate) calls_stored: bool,
    /// Plans that hold offsets into one text serve that text alone: they are made anew each time.
    pub(crate) cacheable: bool,
}

/// Where the id comes from that a server names in its answer to a write. LAST_INSERT_ID() is about generated ids alone, the
/// answer names given ones as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertId {
    /// No row gives the AUTO_INCREMENT column a value.
    Generated,
    /// Every row does.
    Given,
    /// Only the server knows.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    /// May go to a replica.
    Read,
    /// Reads that lock: primary.
    LockingRead,
    Write,
    /// DDL: refreshes the schema when done.
    Definition,
}

#[derive(Debug, Clone)]
pub(crate) enum Routing {
    /// Any shard gives the answer: no tables, or reference tables only.
    Anywhere,
    /// A single table, or a shard that the statement names.
    One(ShardId),
    /// Sharded tables: the shards that the filters leave.
    ///
    /// With `agree` unset there is one part, and its tables are joined on the key: each shard computes its own share.
    /// With `agree` set nothing ties the parts together but that each may leave the same single shard, which then
    /// has every row that matters; if they leave more, the statement is refused.
    Keys { parts: Vec<KeyPart>, agree: bool },
    /// INSERT … VALUES: each row by its value number `value`; with one shard for all, the text goes unchanged.
    Rows {
        scheme: SchemeId,
        column: String,
        key_type: ColumnType,
        value: usize,
        arity: usize,
        /// The key column is AUTO_INCREMENT: zero stands for a number that only a server knows.
        generated: bool,
        /// The list of columns that the statement leaves out, to be written in front of VALUES: the server then takes the
        /// values for the columns that they were routed by, even when its table has changed since it was asked.
        columns: Option<Box<str>>,
    },
    /// INSERT … SET, INSERT … SELECT of constants: all rows carry this key.
    Insert { scheme: SchemeId, column: String, key_type: ColumnType, key: KeyExpression, generated: bool },
    /// INSERT … VALUES into a reference table: the same statement on every shard, if its rows mean the same everywhere.
    /// `generated`: where the AUTO_INCREMENT column has its value, which must be given. `given`: places of values that must
    /// not be DEFAULT.
    Copies { generated: Option<Numbered>, given: Vec<usize>, arity: usize },
    /// LOAD DATA LOCAL: each line of the client's file by its key.
    Lines(Box<FileLines>),
    /// The same statement on every shard (reference writes, DDL of sharded tables).
    Everywhere,
    /// No shard has all its tables: one server computes it over copies. `describe`: the shard that has the tables which are whole
    /// on one, where there is such a shard.
    Scratch { describe: Option<ShardId> },
    /// Planning found that the statement must be refused; plans are cached with this, too. `unless_shard_chosen`: it
    /// runs all the same where the session or a hint chose one shard.
    Refused { error: ClientError, unless_shard_chosen: bool },
}

/// A client's file for a sharded table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileLines {
    pub(crate) scheme: SchemeId,
    /// `table.column`, for messages.
    pub(crate) column: String,
    pub(crate) key_type: ColumnType,
    /// As in `Routing::Rows`.
    pub(crate) generated: bool,
    /// The field that is the key, and how many fields are read of a line.
    pub(crate) place: usize,
    pub(crate) fields: usize,
    pub(crate) format: FileFormat,
    pub(crate) lines_skipped: u64,
    /// Of the file; `None` is the database's.
    pub(crate) charset: Option<String>,
}

/// Where a row has the value of its AUTO_INCREMENT column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbered {
    /// The place in each row of VALUES.
    Value(usize),
    /// INSERT … SET
    Assigned(KeyExpression),
}

/// Tables of one scheme whose keys are equal in every row that matters, and which keys these can be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyPart {
    pub(crate) scheme: SchemeId,
    /// `table.column`, for messages.
    pub(crate) column: String,
    pub(crate) key_type: ColumnType,
    pub(crate) filter: KeyFilter,
}

/// Which keys a statement touches; shards that can hold none of them need not be asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyFilter {
    /// Says nothing about the key.
    All,
    /// Can be true for no row.
    Nothing,
    Equal(KeyExpression),
    /// `split`: the list may be cut so that each shard gets its own part (it stands alone as a conjunct of WHERE and
    /// every element is a literal of its own, possibly negated).
    In {
        elements: Vec<KeyExpression>,
        split: bool,
    },
    Between {
        low: Option<(KeyExpression, bool)>,
        high: Option<(KeyExpression, bool)>,
    },
    /// `_shard = '…'`; the names are expressions since literals are slots.
    Shard(Vec<KeyExpression>),
    And(Vec<KeyFilter>),
    Or(Vec<KeyFilter>),
}

impl KeyFilter {
    /// Both hold.
    pub(crate) fn and(filters: impl IntoIterator<Item = KeyFilter>) -> KeyFilter {
        let mut kept = Vec::new();
        for filter in filters {
            match filter {
                KeyFilter::All => {}
                KeyFilter::Nothing => return KeyFilter::Nothing,
                KeyFilter::And(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => KeyFilter::All,
            1 => kept.swap_remove(0),
            _ => KeyFilter::And(kept),
        }
    }

    /// Either holds.
    pub(crate) fn or(filters: impl IntoIterator<Item = KeyFilter>) -> KeyFilter {
        let mut kept = Vec::new();
        for filter in filters {
            match filter {
                KeyFilter::All => return KeyFilter::All,
                KeyFilter::Nothing => {}
                KeyFilter::Or(inner) => kept.extend(inner),
                other => kept.push(other.unsplit()),
            }
        }
        match kept.len() {
            0 => KeyFilter::Nothing,
            1 => kept.swap_remove(0),
            _ => KeyFilter::Or(kept),
        }
    }

    /// For a statement with `count` more literals in front.
    pub(super) fn shift(&mut self, count: usize) {
        match self {
            KeyFilter::All | KeyFilter::Nothing => {}
            KeyFilter::Equal(value) => value.shift(count),
            KeyFilter::In { elements, .. } | KeyFilter::Shard(elements) => {
                elements.iter_mut().for_each(|element| element.shift(count));
            }
            KeyFilter::Between { low, high } => {
                low.iter_mut().chain(high).for_each(|(value, _)| value.shift(count));
            }
            KeyFilter::And(inner) | KeyFilter::Or(inner) => {
                inner.iter_mut().for_each(|filter| filter.shift(count))
            }
        }
    }

    /// The same filter whose lists stay whole: a list under OR cannot lose its last element.
    pub(crate) fn unsplit(self) -> KeyFilter {
        match self {
            KeyFilter::In { elements, .. } => KeyFilter::In { elements, split: false },
            KeyFilter::And(inner) => KeyFilter::And(inner.into_iter().map(KeyFilter::unsplit).collect()),
            KeyFilter::Or(inner) => KeyFilter::Or(inner.into_iter().map(KeyFilter::unsplit).collect()),
            other => other,
        }
    }
}

/// A constant in terms of the statement's literals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyExpression {
    /// Literal number `slot`.
    Slot(usize),
    /// Its negation.
    Negated(usize),
    Null,
    /// Arithmetic over integers (`+`, `-`, `*`), evaluated exactly or not at all.
    Arithmetic {
        operator: char,
        left: Box<KeyExpression>,
        right: Box<KeyExpression>,
    },
}

impl KeyExpression {
    pub(super) fn shift(&mut self, count: usize) {
        match self {
            KeyExpression::Slot(slot) | KeyExpression::Negated(slot) => *slot += count,
            KeyExpression::Null => {}
            KeyExpression::Arithmetic { left, right, .. } => {
                left.shift(count);
                right.shift(count);
            }
        }
    }
}

/// One mention of the pseudo-column `_shard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardColumn {
    pub(crate) span: std::ops::Range<u32>,
    /// Stands in the select list without an alias: the literal needs one, or the column would lose its name.
    pub(crate) needs_alias: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Combine {
    /// Rows one shard after the other (SELECT without need of a merge); affected rows are summed (UPDATE, DELETE, INSERT).
    Concatenate,
    /// SELECT: rows of all shards become what one server would give.
    Merge(Box<Merge>),
    /// Every shard did the same to its copy: one shard's answer is the answer.
    Identical,
    /// Rows about tables: one of each name (the first column), in order; of a table that is whole on one shard that shard's. Column
    /// `table` names the table.
    Names { database: String, table: usize },
    /// Equal rows of several shards once: what maintenance of a table says.
    Distinct,
    /// Any one of the shards may answer: they tell the same, or of themselves (EXPLAIN).
    OneOf,
    /// Refuse more than one shard, naming the construct (`ORDER BY`).
    Refuse { construct: &'static str },
    /// One server computes the statement over copies of the rows of all: no rule merges the construct.
    Scratch { construct: &'static str },
}
