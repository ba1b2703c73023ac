//! The only test harness. Four nouns: `Cluster` (shards of real servers), `Plain` (one server of the same flavor to
//! compare with), `Proxy` (the binary, running), `Client` (text protocol; `Raw` is its wire-level sibling).
//!
//! Clusters are shared by all tests of a binary and end with its process, however that ends. Tests stay apart by
//! databases of their own (`Cluster::database`). A test that stops or breaks servers starts a cluster of its own
//! (`Cluster::own`). Nothing sleeps for a time and hopes: `eventually` polls for a condition up to a deadline.

#![allow(dead_code, unused_imports, reason = "support for tests that come and go")]

pub(crate) mod binary;
mod client;
mod cluster;
mod driver;
mod proxy;
mod random;
mod raw;
pub(crate) mod replication;
mod tools;
mod wait;

pub(crate) use client::{Access, Client, Fault, Outcome};
pub(crate) use cluster::{APP, Cluster, Database, OPS, Plain, SHARDS, Table, direct, flavors};
pub(crate) use driver::{Said, command_line, pymysql, said};
pub(crate) use proxy::{BINARY, Proxy, Setup};
pub(crate) use random::Random;
pub(crate) use raw::{DEPRECATE_EOF, Greeting, LOCAL_FILES, MULTI_RESULTS, MULTI_STATEMENTS, Raw, response};
pub(crate) use tools::{command_line_client, dump_programs, promtool, python};
pub(crate) use wait::{DEADLINE, alive, eventually, processes_naming};
