//! Routes, and what routing may know of a session.

use std::collections::HashMap;

use crate::error::{Classify, ClientError, Kind, Retry};
use crate::sql::Parameter;
use crate::topology::{Role, ShardId};

/// Where one statement goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) role: Role,
    pub(crate) part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Any one shard will do; the session chooses (it prefers a connection it already holds).
    Any,
    /// One shard gets the client's own bytes: nothing was allocated for this.
    One(ShardId),
    /// More than one shard, or one with a text of its own; in ascending order of shards, never empty.
    Many(Vec<Target>),
    /// One server computes the statement over copies of what other shards have; the session chooses the server.
    Scratch,
    /// No row can match: run it on any one shard, unchanged; the shard will find nothing, with the right columns.
    Nowhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) shard: ShardId,
    /// `None`: the client's own bytes.
    pub(crate) text: Option<Vec<u8>>,
    /// Which of the statement's parameters `text` has, in its order; means nothing without a text.
    pub(crate) parameters: Vec<usize>,
}

/// What routing takes from the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionView<'a> {
    /// Chosen by ``USE `db:shard@role` `` or by the statement's hint (the hint wins).
    pub(crate) shard: Option<ShardId>,
    pub(crate) role: Option<Role>,
    /// Weights of texts beyond ASCII that a server was asked for.
    pub(crate) weights: &'a WeightCache,
    /// How the text is to be read (the session's character set and sql_mode).
    pub(crate) context: &'a crate::sql::Context,
    /// `character_set_client`, by name: what the bytes of a string mean.
    pub(crate) charset: &'a str,
    /// What each `?` stands for; empty while nobody knows.
    pub(crate) parameters: &'a [Parameter<'a>],
}

/// Collation weights learned from a server: (collation, text in the client's character set) to weights.
#[derive(Debug, Default)]
pub(crate) struct WeightCache {
    learned: HashMap<String, HashMap<Vec<u8>, Vec<u8>>>,
}

/// Texts that a session remembers the weights of; beyond it starts anew.
const LEARNED_MAX: usize = 4096;

impl WeightCache {
    /// Remembers `weights` of `texts`, in the same order.
    pub(crate) fn learn(&mut self, collation: &str, texts: Vec<Vec<u8>>, weights: Vec<Vec<u8>>) {
        let learned = self.learned.entry(collation.to_owned()).or_default();
        if learned.len() + texts.len() > LEARNED_MAX {
            learned.clear();
        }
        learned.extend(texts.into_iter().zip(weights));
    }

    pub(crate) fn weights(&self, collation: &str, text: &[u8]) -> Option<&[u8]> {
        self.learned.get(collation)?.get(text).map(Vec::as_slice)
    }

    /// Texts mean something else in another character set.
    pub(crate) fn forget(&mut self) {
        self.learned.clear();
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// Ask a server for `WEIGHT_STRING` of these texts under this collation, put them into the cache and route again.
    #[error("the weights of {} texts under {collation} are not known", texts.len())]
    WeightsNeeded { collation: String, texts: Vec<Vec<u8>> },
    #[error(transparent)]
    Refused(#[from] ClientError),
}

impl Classify for RouteError {
    fn kind(&self) -> Kind {
        match self {
            RouteError::WeightsNeeded { .. } => Kind::Internal,
            RouteError::Refused(error) => error.kind(),
        }
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn client(&self) -> ClientError {
        match self {
            RouteError::WeightsNeeded { .. } => ClientError::new("SW1901", self.to_string()),
            RouteError::Refused(error) => error.clone(),
        }
    }
}
