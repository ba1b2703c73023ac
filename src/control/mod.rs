//! Facts about servers become topology: health, lag, table definitions, collations; and the files are read again on
//! demand. Never on the path of a statement: sessions meet it in the topology handle and in channels.
//!
//! * `client` — short conversations with servers.
//! * `collation`, `schema`, `weights` — how text compares, which columns tables have.
//! * `probe`, `health`, `status` — what the servers are like now.
//! * `election` — who is a shard's primary and which replicas are read, by what they said.
//! * `switchover`, `holds` — a planned change of a primary, and the writes that wait for it.
//! * `keeper` — the map and its table definitions, up to date.
//! * `publisher` — the only writer of the topology.
//! * `recovery` — what proxies that are gone have left prepared.
//! * `reload` — the files again.
//! * `inspect`, `rights` — a map against its servers and what accounts may do there, for `shardway check --connect`.

mod client;
mod collation;
mod election;
mod error;
mod facade;
mod health;
mod holds;
mod inspect;
mod keeper;
mod probe;
mod publisher;
mod recovery;
mod reload;
mod rights;
mod schema;
mod status;
mod switchover;
mod weights;

pub(crate) use facade::Control;
pub(crate) use inspect::{Finding, Inspection, inspect};
pub(crate) use recovery::{InDoubt, Recovered};
pub(crate) use status::{MapStatus, ServerStatus};
#[cfg(test)]
#[cfg(test)]
mod tests;
