//! Tables: how they are placed and, as far as the servers said, which columns they have.

use std::fmt;
use std::sync::Arc;

use super::id::{SchemeId, ShardId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Rows are spread by the value of `key`.
    Sharded { scheme: SchemeId, key: String },
    /// A full copy on every shard.
    Reference,
    /// Whole on one shard.
    Single { shard: ShardId },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// As the map or the server spells it.
    pub(crate) name: String,
    pub(crate) placement: Placement,
    /// In the table's order; `None` until a server was asked.
    pub(crate) columns: Option<Arc<[Column]>>,
}

impl Table {
    /// Column names compare without case, as in MySQL.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.as_deref()?.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    /// Takes no place in an INSERT without a column list.
    pub(crate) invisible: bool,
    pub(crate) nullable: bool,
    pub(crate) auto_increment: bool,
    pub(crate) generated: bool,
    /// The expression that fills it, where its default is one.
    pub(crate) default: Option<Box<str>>,
}

/// The part of a column's type that routing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// TINYINT to BIGINT; `bits` is 8, 16, 24, 32 or 64.
    Integer {
        bits: u8,
        unsigned: bool,
    },
    /// CHAR, VARCHAR, TEXT.
    Text {
        collation: Arc<Collation>,
        characters_max: u64,
    },
    /// BINARY (`fixed`: padded with zero bytes), VARBINARY, BLOB.
    Binary {
        fixed: bool,
        bytes_max: u64,
    },
    /// DATE, DATETIME, TIMESTAMP: usable with the `range` key function.
    Temporal,
    Decimal,
    /// Any other type, by the server's own word: cannot be a shard key.
    Other(String),
}

/// How a server compares text of one collation, learned from it by `WEIGHT_STRING`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collation {
    pub(crate) name: String,
    /// The character set that the collation belongs to.
    pub(crate) charset: String,
    /// Trailing spaces do not count in comparisons.
    pub(crate) pad_space: bool,
    /// `ascii[c]` is the weight of the character `c`; `None` when weights of neighbours depend on each other
    /// (contractions), so that a server has to be asked for every value.
    pub(crate) ascii: Option<Arc<[Vec<u8>; 128]>>,
    /// Equal exactly when the bytes are equal, but for padding.
    pub(crate) binary: bool,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Integer { bits, unsigned } => {
                write!(out, "integer of {bits} bits{}", if *unsigned { " unsigned" } else { "" })
            }
            ColumnType::Text { collation, .. } => write!(out, "text under {}", collation.name),
            ColumnType::Binary { fixed: true, bytes_max } => write!(out, "binary({bytes_max})"),
            ColumnType::Binary { fixed: false, .. } => out.write_str("binary string"),
            ColumnType::Temporal => out.write_str("date or time"),
            ColumnType::Decimal => out.write_str("decimal"),
            ColumnType::Other(word) => out.write_str(word),
        }
    }
}

/// Character sets whose ASCII characters are not single bytes of the same number.
const WIDE_CHARSETS: [&str; 5] = ["ucs2", "utf16", "utf16le", "utf32", "utf16be"];

impl Collation {
    /// The weights of `text`, which is in the character set `charset`, as they stand in
    /// [`Key::Bytes`](super::Key::Bytes); `None` when a server has to be asked. ASCII text needs no server under most
    /// collations, and no text does under a binary collation of its own character set.
    pub(crate) fn weights_of(&self, text: &[u8], charset: &str) -> Option<Vec<u8>> {
        let ascii = text.is_ascii() && !is_wide(charset);
        if self.binary {
            let same = same_charset(&self.charset, charset);
            let bytes_kept = same && !is_wide(charset) || ascii && !is_wide(&self.charset);
            return bytes_kept.then(|| without_padding(text.to_vec(), self.pad_space.then_some(b" ")));
        }
        let table = self.ascii.as_deref().filter(|_| ascii)?;
        let weights = text.iter().flat_map(|&byte| &table[usize::from(byte)]).copied().collect();
        Some(without_padding(weights, self.pad_space.then_some(&table[usize::from(b' ')])))
    }
}

fn is_wide(charset: &str) -> bool {
    WIDE_CHARSETS.iter().any(|wide| wide.eq_ignore_ascii_case(charset))
}

/// UTF-8 has three names; a text in the short form is the same bytes in the long one.
fn same_charset(left: &str, right: &str) -> bool {
    let is_utf8 =
        |name: &str| ["utf8", "utf8mb3", "utf8mb4"].iter().any(|utf8| utf8.eq_ignore_ascii_case(name));
    left.eq_ignore_ascii_case(right) || is_utf8(left) && is_utf8(right)
}

/// Cuts the weights of trailing spaces off, where `space` is the weight of one.
pub(crate) fn without_padding(mut weights: Vec<u8>, space: Option<&[u8]>) -> Vec<u8> {
    if let Some(space) = space.filter(|space| !space.is_empty()) {
        while weights.ends_with(space) {
            weights.truncate(weights.len() - space.len());
        }
    }
    weights
}

impl ColumnType {
    /// Whether this column stores every value of `source` as it is, so that it keeps its [`Key`](super::Key).
    pub(crate) fn keeps(&self, source: &ColumnType) -> bool {
        match (self, source) {
            (
                ColumnType::Integer { bits, unsigned },
                ColumnType::Integer { bits: source_bits, unsigned: source_unsigned },
            ) => match (unsigned, source_unsigned) {
                (false, true) => bits > source_bits,
                (true, false) => false,
                _ => bits >= source_bits,
            },
            // Whether trailing spaces are kept is another matter: keys that end in them are refused where they count.
            (
                ColumnType::Text { collation, characters_max },
                ColumnType::Text { collation: source, characters_max: source_max },
            ) => collation.name == source.name && characters_max >= source_max,
            (
                ColumnType::Binary { fixed, bytes_max },
                ColumnType::Binary { fixed: source_fixed, bytes_max: source_max },
            ) => match fixed {
                true => *source_fixed && bytes_max == source_max,
                false => bytes_max >= source_max,
            },
            _ => false,
        }
    }

    /// Whether equal values of the two types have the same [`Key`](super::Key), so that tables with such key columns are
    /// co-located.
    pub(crate) fn shares_keys_with(&self, other: &ColumnType) -> bool {
        match (self, other) {
            (ColumnType::Integer { .. }, ColumnType::Integer { .. }) => true,
            (ColumnType::Text { collation: left, .. }, ColumnType::Text { collation: right, .. }) => {
                left.name == right.name
            }
            (ColumnType::Binary { .. }, ColumnType::Binary { .. }) => true,
            (
                ColumnType::Integer { .. }
                | ColumnType::Text { .. }
                | ColumnType::Binary { .. }
                | ColumnType::Temporal
                | ColumnType::Decimal
                | ColumnType::Other(_),
                _,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folding(pad_space: bool) -> Collation {
        let ascii = std::array::from_fn(|byte| vec![(byte as u8).to_ascii_uppercase()]);
        Collation {
            name: "latin1_swedish_ci".into(),
            charset: "latin1".into(),
            pad_space,
            ascii: Some(Arc::new(ascii)),
            binary: false,
        }
    }

    #[test]
    fn weights_ignore_case_and_padding_as_the_collation_does() {
        assert_eq!(folding(true).weights_of(b"abC  ", "utf8mb4"), Some(b"ABC".to_vec()));
        assert_eq!(folding(false).weights_of(b"a ", "utf8mb4"), Some(b"A ".to_vec()));
        assert_eq!(folding(true).weights_of("\u{e9}".as_bytes(), "utf8mb4"), None);
    }

    #[test]
    fn binary_collations_need_no_server_for_their_own_character_set() {
        let bin = Collation { binary: true, ascii: None, ..folding(true) };
        assert_eq!(bin.weights_of(b"aB ", "utf8mb4"), Some(b"aB".to_vec()));
        assert_eq!(bin.weights_of(b"\xe9", "latin1"), Some(b"\xe9".to_vec()));
        assert_eq!(bin.weights_of(b"\xe9", "utf8mb4"), None);
        let wide = Collation { charset: "utf16".into(), ..bin };
        assert_eq!(wide.weights_of(b"a", "utf8mb4"), None);
    }
}
