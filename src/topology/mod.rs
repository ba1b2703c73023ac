//! Where rows live: the immutable picture of shards, servers, schemes and tables at one epoch, and the handle that
//! publishes it. Nothing here does I/O; only `handle` knows that a picture can be replaced.

mod build;
mod handle;
mod id;
mod roles;
mod shard;
mod sharding;
mod snapshot;
mod table;

pub(crate) use build::{Columns, MAP_CHARSET};
pub(crate) use handle::{Publisher, TopologyHandle, publish};
pub(crate) use id::{Epoch, MapVersion, SchemeId, ServerName, ShardId, ShardName, ShardSet};
pub(crate) use roles::{Rotation, ShardRoles, Standing};
pub(crate) use shard::{Role, Server, ServerTlsMode, Shard};
pub(crate) use sharding::{Bound, Key, KeyFunction, Placing, Scheme};
pub(crate) use snapshot::{Database, Home, Resolution, SYSTEM_SCHEMAS, Topology};
pub(crate) use table::{Collation, Column, ColumnType, Placement, Table, without_padding};
