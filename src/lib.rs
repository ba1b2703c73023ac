//! Shardway: a shard-routing SQL proxy for MySQL.
//!
//! The modules below are in layer order: each may use only those above it (the exact rows are in
//! `docs/architecture.md`, checked by `tests/fast/architecture.rs`). The crate is private but for `cli`, the door
//! of the binary, and `internal`, the door of tests, benches and fuzz targets.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod backend;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod executor;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod planner;
pub(crate) mod router;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod task;
pub(crate) mod telemetry;
pub(crate) mod topology;
pub(crate) mod transaction;
pub(crate) mod wire;

pub mod cli;
#[doc(hidden)]
pub mod internal;
