//! Key functions and ranges: from a value of the shard key to its shard. The bytes that are hashed are fixed for ever
//! (`docs/decisions/0007-key-hash.md`): a change would look for rows where they are not.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use md5::{Digest, Md5};
use xxhash_rust::xxh3::xxh3_64;

use super::id::{ShardId, ShardSet};
use super::table::ColumnType;

/// Intervals of integer keys up to this width are looked up key by key under functions that do not keep the order.
const ENUMERATED_MAX: i128 = 16;

/// A value of a shard key in the canonical form of its column's type. Equal (as MySQL compares) is equal here: the text
/// as written takes no part in comparisons, only its weights do.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    /// Any integer column; wide enough for BIGINT UNSIGNED and its negation.
    Integer(i128),
    /// Binary columns: the bytes, twice. Text columns: `weights` are the collation's weights without padding, `raw` is
    /// the text as written, in the column's character set (what an application that hashes by itself has hashed).
    Bytes { weights: Vec<u8>, raw: Vec<u8> },
}

impl Key {
    /// A key of a binary column.
    pub(crate) fn binary(bytes: &[u8]) -> Key {
        Key::Bytes { weights: bytes.to_vec(), raw: bytes.to_vec() }
    }

    fn same_form(&self, other: &Key) -> bool {
        matches!((self, other), (Key::Integer(_), Key::Integer(_)) | (Key::Bytes { .. }, Key::Bytes { .. }))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Integer(left), Key::Integer(right)) => left.cmp(right),
            (Key::Bytes { weights: left, .. }, Key::Bytes { weights: right, .. }) => left.cmp(right),
            (Key::Integer(_), Key::Bytes { .. }) => Ordering::Less,
            (Key::Bytes { .. }, Key::Integer(_)) => Ordering::Greater,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Integer(number) => number.hash(state),
            Key::Bytes { weights, .. } => weights.hash(state),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyFunction {
    /// xxh3-64 (seed 0) over the canonical key; the key space is the unsigned 64-bit numbers. Integers: the low 64 bits in
    /// two's complement, little-endian, whatever the column's width and sign; so equal values of signed and unsigned
    /// columns share a point (and -1 shares it with 2^64-1, which is harmless: they only share a shard). Binary: the bytes.
    /// Text: the collation's weights.
    Xxhash,
    /// Euclidean remainder of an integer key by `buckets`.
    Mod { buckets: u64 },
    /// MD5 of the key's text as a 128-bit big-endian number, modulo `buckets`. The text of an integer is its decimal
    /// digits, as in `MD5(id)`.
    Md5Mod { buckets: u64 },
    /// `CRC32(key)` of the key's text as MySQL computes it, modulo `buckets`.
    Crc32Mod { buckets: u64 },
    /// The value itself, in the order of its type.
    Range,
    /// Values listed one by one.
    List,
}

impl KeyFunction {
    /// The point of `key` in the key space; `None` for functions that have no points (`range`, `list`) and for keys
    /// that the function does not take.
    pub(crate) fn point(&self, key: &Key) -> Option<u64> {
        match (self, key) {
            (KeyFunction::Xxhash, Key::Integer(number)) => Some(xxh3_64(&low_bytes(*number))),
            (KeyFunction::Xxhash, Key::Bytes { weights, .. }) => Some(xxh3_64(weights)),
            (KeyFunction::Mod { buckets }, Key::Integer(number)) => {
                u64::try_from(number.checked_rem_euclid(i128::from(*buckets))?).ok()
            }
            (KeyFunction::Md5Mod { buckets }, key) => {
                let digest = u128::from_be_bytes(with_text(key, |text| Md5::digest(text).into()));
                u64::try_from(digest.checked_rem(u128::from(*buckets))?).ok()
            }
            (KeyFunction::Crc32Mod { buckets }, key) => {
                u64::from(with_text(key, crc32fast::hash)).checked_rem(*buckets)
            }
            (KeyFunction::Mod { .. }, Key::Bytes { .. }) => None,
            (KeyFunction::Range | KeyFunction::List, _) => None,
        }
    }

    /// As in the map.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            KeyFunction::Xxhash => "xxhash",
            KeyFunction::Mod { .. } => "mod",
            KeyFunction::Md5Mod { .. } => "md5_mod",
            KeyFunction::Crc32Mod { .. } => "crc32_mod",
            KeyFunction::Range => "range",
            KeyFunction::List => "list",
        }
    }
}

fn low_bytes(number: i128) -> [u8; 8] {
    let wide = number.to_le_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&wide[..8]);
    low
}

fn with_text<T>(key: &Key, read: impl FnOnce(&[u8]) -> T) -> T {
    match key {
        Key::Integer(number) => read(number.to_string().as_bytes()),
        Key::Bytes { raw, .. } => read(raw),
    }
}

/// One end of an interval of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    Open,
    Inclusive(Key),
    Exclusive(Key),
}

impl Bound {
    fn key(&self) -> Option<&Key> {
        match self {
            Bound::Open => None,
            Bound::Inclusive(key) | Bound::Exclusive(key) => Some(key),
        }
    }
}

/// One owner of a part of the key space. The forms are those of hashed, of ordered and of listed functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placing {
    /// Points `first..=last`.
    Points { first: u64, last: u64, shard: ShardId },
    /// Keys `from..to`: `None` is the end of the key space.
    Keys { from: Option<Key>, to: Option<Key>, shard: ShardId },
    /// Listed keys, in ascending order.
    Values { keys: Vec<Key>, shard: ShardId },
}

impl Placing {
    pub(crate) fn shard(&self) -> ShardId {
        match self {
            Placing::Points { shard, .. } | Placing::Keys { shard, .. } | Placing::Values { shard, .. } => {
                *shard
            }
        }
    }
}

/// A key function and its ranges. Tables of one scheme are co-located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scheme {
    pub(crate) name: String,
    pub(crate) function: KeyFunction,
    /// Disjoint, in ascending order.
    pub(crate) placings: Vec<Placing>,
    /// Keys placed by name, before any range; in ascending order of keys.
    pub(crate) singles: Vec<(Key, ShardId)>,
    /// All shards that own a part.
    pub(crate) shards: ShardSet,
}

impl Scheme {
    /// Brings `placings` and `singles` into order. Of equal single keys the first one given counts.
    pub(crate) fn new(
        name: impl Into<String>,
        function: KeyFunction,
        mut placings: Vec<Placing>,
        mut singles: Vec<(Key, ShardId)>,
    ) -> Scheme {
        placings.sort_by(|left, right| match (left, right) {
            (Placing::Points { first: left, .. }, Placing::Points { first: right, .. }) => left.cmp(right),
            (Placing::Keys { from: left, .. }, Placing::Keys { from: right, .. }) => left.cmp(right),
            (Placing::Points { .. } | Placing::Keys { .. } | Placing::Values { .. }, _) => Ordering::Equal,
        });
        for placing in &mut placings {
            if let Placing::Values { keys, .. } = placing {
                keys.sort();
            }
        }
        singles.sort_by(|left, right| left.0.cmp(&right.0));
        singles.dedup_by(|later, earlier| later.0 == earlier.0);
        let shards =
            placings.iter().map(Placing::shard).chain(singles.iter().map(|(_, shard)| *shard)).collect();
        Scheme { name: name.into(), function, placings, singles, shards }
    }

    /// The shard of one key; `None` when no range, list entry or single key owns it.
    pub(crate) fn locate(&self, key: &Key) -> Option<ShardId> {
        if let Ok(index) = self.singles.binary_search_by(|(single, _)| single.cmp(key)) {
            return Some(self.singles[index].1);
        }
        match &self.function {
            KeyFunction::Range => self.locate_by_value(key),
            KeyFunction::List => self.placings.iter().find_map(|placing| match placing {
                Placing::Values { keys, shard } => keys.binary_search(key).is_ok().then_some(*shard),
                Placing::Points { .. } | Placing::Keys { .. } => None,
            }),
            KeyFunction::Xxhash
            | KeyFunction::Mod { .. }
            | KeyFunction::Md5Mod { .. }
            | KeyFunction::Crc32Mod { .. } => self.locate_point(self.function.point(key)?),
        }
    }

    fn locate_point(&self, point: u64) -> Option<ShardId> {
        let after = self
            .placings
            .partition_point(|placing| matches!(placing, Placing::Points { first, .. } if *first <= point));
        match self.placings.get(after.checked_sub(1)?)? {
            Placing::Points { last, shard, .. } if point <= *last => Some(*shard),
            Placing::Points { .. } | Placing::Keys { .. } | Placing::Values { .. } => None,
        }
    }

    fn locate_by_value(&self, key: &Key) -> Option<ShardId> {
        let after = self.placings.partition_point(|placing| match placing {
            Placing::Keys { from, .. } => from.as_ref().is_none_or(|from| from <= key),
            Placing::Points { .. } | Placing::Values { .. } => false,
        });
        match self.placings.get(after.checked_sub(1)?)? {
            Placing::Keys { from, to, shard } => {
                let ends = [from.as_ref(), to.as_ref()];
                let same_form = ends.iter().flatten().all(|end| end.same_form(key));
                (same_form && to.as_ref().is_none_or(|to| key < to)).then_some(*shard)
            }
            Placing::Points { .. } | Placing::Values { .. } => None,
        }
    }

    /// Every shard that may hold a key of the interval. Functions that do not keep the order answer with all their
    /// shards, unless the interval is one key or a few integers. `Bound::Open` on both ends is the whole scheme.
    pub(crate) fn locate_between(&self, low: &Bound, high: &Bound) -> ShardSet {
        if let (Some(from), Some(to)) = (low.key(), high.key()) {
            if !from.same_form(to) {
                return self.shards;
            }
            let closed = matches!((low, high), (Bound::Inclusive(_), Bound::Inclusive(_)));
            if from == to {
                return if closed { self.locate(from).into_iter().collect() } else { ShardSet::empty() };
            }
        }
        let (first, last) = (integer_from(low), integer_to(high));
        let low = &first.map_or_else(|| low.clone(), |first| Bound::Inclusive(Key::Integer(first)));
        let high = &last.map_or_else(|| high.clone(), |last| Bound::Inclusive(Key::Integer(last)));
        if let (Some(first), Some(last)) = (first, last) {
            if first > last {
                return ShardSet::empty();
            }
            if last - first < ENUMERATED_MAX {
                return (first..=last).filter_map(|number| self.locate(&Key::Integer(number))).collect();
            }
        }
        let integers =
            [low, high].iter().filter_map(|bound| bound.key()).all(|key| matches!(key, Key::Integer(_)));
        match &self.function {
            KeyFunction::Range => self.overlapping(low, high),
            // The weights of padded text are not in the order in which MySQL compares it.
            KeyFunction::List if integers => self.listed_between(low, high),
            KeyFunction::List
            | KeyFunction::Xxhash
            | KeyFunction::Mod { .. }
            | KeyFunction::Md5Mod { .. }
            | KeyFunction::Crc32Mod { .. } => self.shards,
        }
    }

    fn overlapping(&self, low: &Bound, high: &Bound) -> ShardSet {
        let ranges = self.placings.iter().filter_map(|placing| match placing {
            Placing::Keys { from, to, shard } => {
                let ends = [from.as_ref(), to.as_ref(), low.key(), high.key()];
                let mut forms = ends.iter().flatten();
                let comparable = forms.next().is_none_or(|first| forms.all(|end| end.same_form(first)));
                let begins_after = match (from, high) {
                    (None, _) | (_, Bound::Open) => false,
                    (Some(from), Bound::Inclusive(high)) => from > high,
                    (Some(from), Bound::Exclusive(high)) => from >= high,
                };
                let ends_before = match (to, low) {
                    (None, _) | (_, Bound::Open) => false,
                    (Some(to), Bound::Inclusive(low) | Bound::Exclusive(low)) => to <= low,
                };
                (!comparable || !(begins_after || ends_before)).then_some(*shard)
            }
            Placing::Points { .. } | Placing::Values { .. } => None,
        });
        ranges.chain(self.singles_between(low, high)).collect()
    }

    fn listed_between(&self, low: &Bound, high: &Bound) -> ShardSet {
        let listed = self.placings.iter().filter_map(|placing| match placing {
            Placing::Values { keys, shard } => {
                keys.iter().any(|key| within(key, low, high)).then_some(*shard)
            }
            Placing::Points { .. } | Placing::Keys { .. } => None,
        });
        listed.chain(self.singles_between(low, high)).collect()
    }

    fn singles_between(&self, low: &Bound, high: &Bound) -> impl Iterator<Item = ShardId> {
        self.singles.iter().filter(move |(key, _)| within(key, low, high)).map(|(_, shard)| *shard)
    }

    /// Whether rows with equal keys are always on one shard, so that `key = x` needs one shard only. False for functions
    /// over the raw text (`md5_mod`, `crc32_mod`) under a collation that holds different texts for equal: there the row
    /// that `= 'abc'` finds may have been placed as 'ABC', and all shards have to be asked.
    pub(crate) fn equal_keys_share_a_shard(&self, kind: &ColumnType) -> bool {
        match (&self.function, kind) {
            (
                KeyFunction::Md5Mod { .. } | KeyFunction::Crc32Mod { .. },
                ColumnType::Text { collation, .. },
            ) => collation.binary && !collation.pad_space,
            (
                KeyFunction::Md5Mod { .. }
                | KeyFunction::Crc32Mod { .. }
                | KeyFunction::Xxhash
                | KeyFunction::Mod { .. }
                | KeyFunction::Range
                | KeyFunction::List,
                _,
            ) => true,
        }
    }

    /// Whether a column of this type can be the shard key; else why not, as a clause about the column.
    pub(crate) fn accepts(&self, kind: &ColumnType) -> Result<(), String> {
        let function = self.function.name();
        match kind {
            ColumnType::Integer { .. } => {}
            ColumnType::Text { collation, .. } => match &self.function {
                KeyFunction::Mod { .. } => return Err(format!("is text, and {function} takes integers")),
                KeyFunction::Range if !collation.binary || collation.pad_space => {
                    return Err(format!(
                        "is text under {}, and {function} takes integers, binary strings and text under a binary \
                         collation without padding (such as utf8mb4_0900_bin)",
                        collation.name
                    ));
                }
                KeyFunction::Xxhash
                | KeyFunction::Md5Mod { .. }
                | KeyFunction::Crc32Mod { .. }
                | KeyFunction::Range
                | KeyFunction::List => {}
            },
            ColumnType::Binary { .. } => {
                if matches!(self.function, KeyFunction::Mod { .. }) {
                    return Err(format!("is a binary string, and {function} takes integers"));
                }
            }
            ColumnType::Temporal => {
                return Err("is a date or time, which no key function takes yet".to_owned());
            }
            ColumnType::Decimal => return Err("is DECIMAL, which no key function takes".to_owned()),
            ColumnType::Other(word) => return Err(format!("is {word}, which no key function takes")),
        }
        let integers = matches!(kind, ColumnType::Integer { .. });
        match self.named_keys().find(|key| matches!(key, Key::Integer(_)) != integers) {
            None => Ok(()),
            Some(Key::Integer(number)) => Err(format!(
                "is not an integer, but scheme {} names the key {number} (write it as text)",
                self.name
            )),
            Some(Key::Bytes { raw, .. }) => Err(format!(
                "is an integer, but scheme {} names the key \"{}\"",
                self.name,
                String::from_utf8_lossy(raw)
            )),
        }
    }

    /// Every key that the map spells out: single keys, list entries, bounds.
    pub(crate) fn named_keys(&self) -> impl Iterator<Item = &Key> {
        let placed = self.placings.iter().flat_map(|placing| {
            let (ends, listed): ([Option<&Key>; 2], &[Key]) = match placing {
                Placing::Points { .. } => ([None, None], &[]),
                Placing::Keys { from, to, .. } => ([from.as_ref(), to.as_ref()], &[]),
                Placing::Values { keys, .. } => ([None, None], keys),
            };
            ends.into_iter().flatten().chain(listed)
        });
        self.singles.iter().map(|(key, _)| key).chain(placed)
    }
}

fn within(key: &Key, low: &Bound, high: &Bound) -> bool {
    let above = match low {
        Bound::Open => true,
        Bound::Inclusive(low) => key >= low || !key.same_form(low),
        Bound::Exclusive(low) => key > low || !key.same_form(low),
    };
    let below = match high {
        Bound::Open => true,
        Bound::Inclusive(high) => key <= high || !key.same_form(high),
        Bound::Exclusive(high) => key < high || !key.same_form(high),
    };
    above && below
}

fn integer_from(low: &Bound) -> Option<i128> {
    match low {
        Bound::Inclusive(Key::Integer(number)) => Some(*number),
        Bound::Exclusive(Key::Integer(number)) => number.checked_add(1),
        Bound::Open | Bound::Inclusive(Key::Bytes { .. }) | Bound::Exclusive(Key::Bytes { .. }) => None,
    }
}

fn integer_to(high: &Bound) -> Option<i128> {
    match high {
        Bound::Inclusive(Key::Integer(number)) => Some(*number),
        Bound::Exclusive(Key::Integer(number)) => number.checked_sub(1),
        Bound::Open | Bound::Inclusive(Key::Bytes { .. }) | Bound::Exclusive(Key::Bytes { .. }) => None,
    }
}

#[cfg(test)]
mod tests;
