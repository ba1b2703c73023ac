//! Names and numbers of the things of a topology.

use std::fmt;
use std::sync::Arc;

/// How many shards a map may have; bounds [`ShardSet`].
pub(crate) const SHARDS_MAX: usize = crate::config::SHARDS_MAX;

/// Index of a shard in [`Topology::shards`](super::Topology::shards). Valid within one layout only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardId(pub(crate) u16);

/// Index of a scheme in [`Topology::schemes`](super::Topology::schemes). Valid within one layout only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SchemeId(pub(crate) u16);

/// Rises with every published topology of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(pub(crate) u64);

/// The version that the shard map gives itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct MapVersion(pub(crate) u64);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) Arc<str>);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> $name {
                $name(Arc::from(name))
            }
        }
    };
}

name! {
    /// The name of a shard in the map.
    ShardName
}
name! {
    /// `host:port`, the identity of a server.
    ServerName
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// A set of shards of one topology, without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShardSet {
    words: [u64; SHARDS_MAX / 64],
}

impl ShardSet {
    pub(crate) fn empty() -> ShardSet {
        ShardSet::default()
    }

    pub(crate) fn one(shard: ShardId) -> ShardSet {
        let mut set = ShardSet::default();
        set.insert(shard);
        set
    }

    pub(crate) fn insert(&mut self, shard: ShardId) {
        self.words[usize::from(shard.0) / 64] |= 1 << (shard.0 % 64);
    }

    pub(crate) fn contains(&self, shard: ShardId) -> bool {
        self.words[usize::from(shard.0) / 64] & (1 << (shard.0 % 64)) != 0
    }

    pub(crate) fn union(mut self, other: &ShardSet) -> ShardSet {
        for (word, more) in self.words.iter_mut().zip(other.words) {
            *word |= more;
        }
        self
    }

    pub(crate) fn intersection(mut self, other: &ShardSet) -> ShardSet {
        for (word, also) in self.words.iter_mut().zip(other.words) {
            *word &= also;
        }
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            std::iter::successors((word != 0).then_some(word), |rest| {
                let next = rest & (rest - 1);
                (next != 0).then_some(next)
            })
            .map(move |rest| ShardId((index * 64) as u16 + rest.trailing_zeros() as u16))
        })
    }
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> ShardSet {
        let mut set = ShardSet::default();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter().map(|shard| shard.0)).finish()
    }
}
