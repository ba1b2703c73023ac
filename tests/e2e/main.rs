//! Tests with real servers: they start their own MariaDB, and MySQL when `SHARDWAY_TEST_MYSQLD` names one.
//! Without MariaDB they fail and say how to install it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod arrival;
mod as_one;
mod atomic;
mod atomic_kills;
mod certificates;
mod check;
mod choosing;
mod client_login;
mod commands;
mod compressed;
mod confined;
mod conformance;
mod daily;
mod demo;
mod drivers;
mod dump;
mod encodings;
mod exact;
mod failover;
mod greeting;
mod hostile;
mod load;
mod local;
mod login;
mod merging;
mod operate;
mod poison;
mod pools;
mod prepared;
mod procedures;
mod reading;
mod refusals;
mod routing;
mod scratch;
mod session_values;
mod sessions;
mod several;
mod smoke;
mod soak;
mod stream;
mod tpch;
mod tracking;
mod transactions;
mod writes;
