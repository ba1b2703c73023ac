//! How rows of several shards become the rows that one server would give: what each shard is asked for beyond the client's
//! own text, and what is done with the answers. Values only; `executor::merge` carries it out.

use std::ops::Range;

/// One plan of merging. Places in the text are numbers of tokens, so that the plan serves every text of its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Merge {
    /// What every shard's text has in other words than the client's, in the order of the text.
    pub(crate) edits: Vec<Edit>,
    /// Columns that were appended to the select list and are cut off again.
    pub(crate) hidden: usize,
    /// The order in which each shard gives its rows; empty: none that matters.
    pub(crate) order: Vec<SortKey>,
    pub(crate) fold: Fold,
    /// Which of the folded rows remain: those for which all of these hold.
    pub(crate) conditions: Vec<Condition>,
    /// Rows are gathered and sorted by this before they are given out; empty: they come in `order`.
    pub(crate) sort: Vec<SortKey>,
    pub(crate) window: Window,
    /// The rules that made it, in their order.
    pub(crate) rules: Vec<Rule>,
}

/// A rule's name and the sentence why it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) proof: &'static str,
}

/// `tokens` of the statement are replaced; an empty range inserts behind the token before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) tokens: Range<u32>,
    pub(crate) new: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// The bytes of these tokens of the client's text.
    Tokens(Range<u32>),
}

/// A column of the shards' results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// So many columns from the first.
    Start(usize),
    /// So many columns before the last that the client sees.
    End(usize),
    /// Of the appended ones.
    Hidden(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SortKey {
    pub(crate) source: KeySource,
    pub(crate) descending: bool,
}

/// Where a key's value is, and what is known of its type. The type itself is read from the shards' column definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Compared as it is shown. Text cannot be.
    Value(Place),
    /// Text: its weights, and what its collation pads with.
    Text { weights: Place, padding: Place },
    /// A date or time; a TIMESTAMP is compared by its seconds, since local time goes back once a year.
    Moment { value: Place, seconds: Place },
    /// By `value`, or if that is text by its weights.
    Unknown { value: Place, weights: Place, padding: Place },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Fold {
    /// Every row is a row of the result.
    #[default]
    Rows,
    /// Of rows with equal keys one remains.
    Distinct,
    /// Rows with equal keys become one; without keys all rows do.
    Groups(Vec<Aggregate>),
}

/// One column of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aggregate {
    pub(crate) place: Place,
    pub(crate) function: Function,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Function {
    /// Of counts: their sum.
    Count,
    Sum,
    /// `COALESCE(SUM(x), literal)`: the appended sum, or what every shard shows when there is none.
    SumOr {
        sum: Place,
    },
    Least(KeySource),
    Greatest(KeySource),
    /// From the appended sum and count.
    Average {
        sum: Place,
        count: Place,
    },
    BitAnd,
    BitOr,
    BitXor,
}

/// `value comparison literal` of HAVING, numbers both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) value: Place,
    pub(crate) comparison: Comparison,
    /// Of the statement's literals.
    pub(crate) slot: usize,
    pub(crate) negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// LIMIT and OFFSET over all shards' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    pub(crate) skip: u64,
    /// `None`: all.
    pub(crate) count: Option<u64>,
}

impl Place {
    /// The index in a row of `columns` columns, of which `hidden` are appended.
    pub(crate) fn index(self, columns: usize, hidden: usize) -> Option<usize> {
        let seen = columns.checked_sub(hidden)?;
        match self {
            Place::Start(place) => (place < seen).then_some(place),
            Place::End(place) => seen.checked_sub(place.checked_add(1)?),
            Place::Hidden(place) => (place < hidden).then_some(seen + place),
        }
    }
}
