//! One immutable topology and the look-ups in it.

use std::collections::{BTreeSet, HashMap};

use super::id::{Epoch, MapVersion, SchemeId, ShardId, ShardSet};
use super::shard::Shard;
use super::sharding::Scheme;
use super::table::{Placement, Table};

/// Schemas of the server itself: present on every server, each with its own content.
pub(crate) const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) epoch: Epoch,
    pub(crate) version: MapVersion,
    /// Of the map file's meaning; 16 hexadecimal digits in print.
    pub(crate) content_hash: u64,
    /// Changes with everything that a plan depends on (databases, tables, columns, schemes, shards), but not with ranges.
    /// Part of the plan cache's key; equal layouts mean that `ShardId` and `SchemeId` mean the same.
    pub(crate) layout: u64,
    pub(crate) shards: Vec<Shard>,
    pub(crate) schemes: Vec<Scheme>,
    pub(crate) databases: Vec<Database>,
}

#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    /// Where tables live that the map does not list; `None` refuses them.
    pub(crate) default_shard: Option<ShardId>,
    /// By lower-case name.
    pub(crate) tables: HashMap<String, Table>,
    /// Stored functions that read no tables, in lower case: any shard can compute them.
    pub(crate) functions: BTreeSet<String>,
}

/// What a table name means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resolution<'a> {
    Table(&'a Table),
    /// Not listed; its database keeps such tables on this shard.
    Unlisted(ShardId),
    /// A table of a system schema.
    System,
    UnknownTable,
    UnknownDatabase,
}

/// Which shard has every table of a database, be it by itself or as one of several that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// All tables are on every shard.
    Anywhere,
    One(ShardId),
    /// Tables that are whole on one shard are on different ones: no shard has all.
    Spread,
}

impl Database {
    pub(crate) fn home(&self) -> Home {
        let singles = self.tables.values().filter_map(|table| match table.placement {
            Placement::Single { shard } => Some(shard),
            Placement::Sharded { .. } | Placement::Reference => None,
        });
        let shards: ShardSet = singles.chain(self.default_shard).collect();
        match (shards.len(), shards.iter().next()) {
            (1, Some(shard)) => Home::One(shard),
            (0, _) => Home::Anywhere,
            _ => Home::Spread,
        }
    }

    pub(crate) fn has_sharded_tables(&self) -> bool {
        self.tables.values().any(|table| matches!(table.placement, Placement::Sharded { .. }))
    }
}

impl Topology {
    pub(crate) fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn resolve(&self, database: &str, table: &str) -> Resolution<'_> {
        if SYSTEM_SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(database)) {
            return Resolution::System;
        }
        let Some(database) = self.database(database) else { return Resolution::UnknownDatabase };
        let found = match database.tables.get(table) {
            Some(found) => Some(found),
            None => database.tables.get(&table.to_ascii_lowercase()),
        };
        match (found, database.default_shard) {
            (Some(table), _) => Resolution::Table(table),
            (None, Some(shard)) => Resolution::Unlisted(shard),
            (None, None) => Resolution::UnknownTable,
        }
    }

    pub(crate) fn shard(&self, id: ShardId) -> &Shard {
        &self.shards[usize::from(id.0)]
    }

    pub(crate) fn shard_by_name(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.name.0.as_ref() == name)
    }

    pub(crate) fn scheme(&self, id: SchemeId) -> &Scheme {
        &self.schemes[usize::from(id.0)]
    }

    pub(crate) fn all_shards(&self) -> ShardSet {
        self.shards.iter().map(|shard| shard.id).collect()
    }
}
