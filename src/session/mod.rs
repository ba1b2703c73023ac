//! One client: login, command loop, variables, the path of a statement. A session is one task and shares nothing with
//! other sessions but the parts that `app` hands it.
//!
//! * `handshake` — the login. * `run` — the command loop; the only place where errors become ERR packets.
//! * `chain` — the statements of one packet. * `statement` — the path of a statement. * `execute`, `scatter` — its run on one shard or several. * `lend`, `settle` —
//!   connections before and after it. * `held` — those that a session keeps, and why.
//! * `asked` — a statement with its parameters. * `binary` — prepared statements. * `load` — LOAD DATA LOCAL.
//! * `begin` — transactions. * `assign`, `variables` — SET. * `switch` — USE. * `local`, `diagnostics`, `own` — what the proxy answers.
//! * `change_user`, `fields`, `processes` — commands of their own.
//! * `registry` — the live sessions. * `orders` — what sessions ask of the control plane. * `shared` — what all sessions share.

mod asked;
mod assign;
mod begin;
mod binary;
mod chain;
mod change_user;
mod columns;
mod diagnostics;
mod execute;
mod fields;
mod handshake;
mod held;
mod joint;
mod lend;
mod load;
mod local;
pub(crate) mod metrics;
mod orders;
mod own;
mod own_variables;
mod patience;
mod processes;
mod reads;
mod registry;
mod run;
mod scatter;
mod scratch;
mod settle;
mod shared;
mod statement;
mod switch;
mod variables;

pub(crate) use handshake::{Arrival, Gate, GateError, GateRules, LoginError, log_in};
pub(crate) use orders::{Answer, Order, Orders, SchemaOrder, WeightOrder};
pub(crate) use patience::Waits;
#[cfg(test)]
pub(crate) use registry::PinStatus;
pub(crate) use registry::{Registry, SessionStatus};
pub(crate) use run::{refuse_for_limit, refuse_unannounced, serve};
pub(crate) use shared::{Fleet, Shared};
