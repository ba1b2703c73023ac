//! The result of scanning: what is known of a statement without a grammar, and in which context it is read.
//! Types only; the pass that fills them is in `scan`, the bytes are read by `lex`.

use std::ops::Range;
use std::time::Duration;

use super::Context;

/// The kind of a statement by its first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Kind {
    /// SELECT, WITH … SELECT, TABLE, VALUES, or a parenthesis that begins one.
    Select,
    Insert,
    Replace,
    /// Also WITH … UPDATE.
    Update,
    Delete,
    Begin,
    Commit,
    Rollback,
    /// ROLLBACK TO, SAVEPOINT, RELEASE SAVEPOINT.
    Savepoint,
    Set,
    /// SET [SESSION|GLOBAL] TRANSACTION
    SetTransaction,
    Use,
    Show,
    /// EXPLAIN, DESCRIBE, DESC, ANALYZE SELECT (MariaDB)
    Explain,
    /// CREATE, ALTER, DROP, RENAME, TRUNCATE of databases, tables, indexes, views, triggers, routines, events.
    Definition,
    /// CREATE USER, GRANT, REVOKE, …
    Grant,
    /// ANALYZE|CHECK|OPTIMIZE|REPAIR|CHECKSUM TABLE, FLUSH, …
    Administration,
    LockTables,
    UnlockTables,
    Call,
    Do,
    /// SQL-level PREPARE, EXECUTE, DEALLOCATE.
    Prepare,
    Xa,
    Load,
    Handler,
    Kill,
    /// `SHARDWAY …`, Shardway's own statements.
    Shardway,
    /// Nothing but blanks and comments.
    #[default]
    Empty,
    Other,
}

/// The result of one pass over a statement. Made to be reused: a session keeps one and scans into it, so that a
/// statement allocates nothing once the vectors have grown.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) kind: Kind,
    /// Identity of the text with literals taken out: two statements have the same one exactly when they differ in the
    /// values of literals, blanks and comments (not hints) only. Seeded per process. Holds the number and classes of
    /// literals, the values of those that shape a plan (LIMIT, ORDER BY 2), and one row for the VALUES of an INSERT.
    pub(crate) fingerprint: u128,
    /// In the order of the text; the index is the parameter slot in plans. Without those inside VALUES rows.
    pub(crate) literals: Vec<Literal>,
    /// Where each `?` stands, in the order of the text: the index is the number of the parameter. Those inside VALUES rows, too.
    pub(crate) placeholders: Vec<u32>,
    /// The rows of `INSERT|REPLACE … VALUES`, empty for other forms.
    pub(crate) rows: Vec<Row>,
    /// Spans of the values of all rows, row by row: `values[row.values]`.
    pub(crate) values: Vec<Range<u32>>,
    pub(crate) hint: Option<Hint>,
    pub(crate) features: Features,
    /// The statement without trailing NUL, `;` and blanks ends here.
    pub(crate) end: u32,
    /// The `;` behind it, if anything but blanks, semicolons and NULs follows there. Not one in an executable comment: the
    /// text cannot be cut there.
    pub(crate) semicolon: Option<u32>,
    /// The first token behind the `;`; `None` when nothing but comments follow.
    pub(crate) next: Option<u32>,
    /// Why the grammar must not be asked: the statement is beyond a bound. It can still be forwarded to one shard.
    pub(crate) too_complex: Option<&'static str>,
    /// Where the word VALUES that introduces `rows` begins.
    pub(crate) values_at: u32,
    /// Where the word that gave `kind` begins (behind leading comments, parentheses and WITH).
    pub(crate) verb_at: u32,
    /// What is hashed; kept for its capacity.
    pub(super) identity: Vec<u8>,
    /// Of the fingerprint, per process.
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) span: Range<u32>,
    pub(crate) class: LiteralClass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LiteralClass {
    /// Digits only.
    Integer,
    /// Digits with a point.
    Decimal,
    /// With an exponent.
    Float,
    /// One quoted string, with or without escapes.
    String,
    /// `'a' 'b'`: adjacent strings that MySQL joins; the span covers all.
    JoinedString,
    /// `_utf8mb4'x'`, `N'x'`
    IntroducedString,
    /// `0x41`, `x'41'`
    Hex,
    /// `0b1`, `b'1'`
    Bit,
    /// `?`
    Placeholder,
}

/// One row of VALUES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// With its parentheses (and ROW keyword, if written).
    pub(crate) span: Range<u32>,
    /// Indices into [`Statement::values`].
    pub(crate) values: Range<u32>,
}

/// `/* shardway: shard=NAME role=primary|replica timeout=2s */`, anywhere in the statement; also `/*+ shardway(...) */` is not one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hint {
    pub(crate) shard: Option<String>,
    pub(crate) role: Option<HintRole>,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HintRole {
    Primary,
    Replica,
}

/// Things a statement mentions that matter beyond its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Feature {
    /// LAST_INSERT_ID(…), @@last_insert_id, @@identity
    LastInsertId,
    RowCount,
    FoundRows,
    CalcFoundRows,
    ConnectionId,
    /// USER(), SESSION_USER(), SYSTEM_USER()
    SessionUser,
    /// Reads `@x`.
    UserVariable,
    /// Writes `@x` inside an expression (`:=`) or by SELECT … INTO @x.
    UserVariableWrite,
    /// Mentions `@@x`.
    SystemVariable,
    /// GET_LOCK, RELEASE_LOCK, RELEASE_ALL_LOCKS, IS_FREE_LOCK, IS_USED_LOCK
    NamedLock,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
    Locking,
    /// INTO OUTFILE | DUMPFILE
    IntoFile,
    /// CREATE TEMPORARY TABLE
    TemporaryTable,
    /// Mentions `_shard`.
    ShardColumn,
    /// Mentions a function or SHOW that answers from the last statement's diagnostics: @@warning_count, @@error_count.
    Diagnostics,
    /// NEXTVAL, SETVAL, UUID_SHORT, SLEEP, LOAD_FILE, … : a function with side effects, or one that must not be repeated.
    SideEffect,
}

/// A set of [`Feature`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Features(u32);

impl Features {
    pub(crate) fn add(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u8;
    }

    pub(crate) fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }
}

/// Why a statement could not be scanned. Offsets are bytes into the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("the {what} that begins at byte {offset} has no end")]
    Unterminated { what: &'static str, offset: usize },
    #[error("the routing hint at byte {offset} cannot be read: {reason}")]
    BadHint { offset: usize, reason: String },
    #[error("the statement has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
}

impl Statement {
    /// A statement whose fingerprints are seeded, so that clients cannot construct colliding ones.
    pub(crate) fn seeded(seed: u64) -> Statement {
        Statement { seed, ..Statement::default() }
    }

    /// Scans `text` into `self`, replacing what was there. On an error `self` is unspecified but may be reused.
    pub(crate) fn scan(&mut self, text: &[u8], context: &Context) -> Result<(), ScanError> {
        self.clear();
        super::scan::scan(self, text, context)?;
        self.fingerprint = xxhash_rust::xxh3::xxh3_128_with_seed(&self.identity, self.seed);
        if self.identity.capacity() > IDENTITY_KEPT_MAX {
            self.identity = Vec::new();
        }
        Ok(())
    }

    /// The slot of the literal that begins at byte `offset`.
    pub(crate) fn slot_at(&self, offset: u32) -> Option<usize> {
        self.literals.binary_search_by_key(&offset, |literal| literal.span.start).ok()
    }

    /// The number of the parameter whose `?` stands at byte `offset`.
    pub(crate) fn parameter_at(&self, offset: u32) -> Option<usize> {
        self.placeholders.binary_search(&offset).ok()
    }

    fn clear(&mut self) {
        self.kind = Kind::Empty;
        self.fingerprint = 0;
        self.literals.clear();
        self.placeholders.clear();
        self.rows.clear();
        self.values.clear();
        self.hint = None;
        self.features = Features::default();
        self.end = 0;
        self.semicolon = None;
        self.next = None;
        self.too_complex = None;
        self.values_at = 0;
        self.verb_at = 0;
        self.identity.clear();
    }
}

/// A larger buffer is given back after the statement: idle sessions are small.
const IDENTITY_KEPT_MAX: usize = 16 * 1024;
