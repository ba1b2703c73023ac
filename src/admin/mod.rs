//! SQL for operators. One implementation answers at two doors: the admin port, and `SHARDWAY …` on client connections
//! of users with `admin = true`, whose sessions send orders through a bounded channel.
//!
//! * `command` — the grammar of operators' statements.
//! * `tables`, `settings` — what SHOW answers.
//! * `operator` — carries statements out.
//! * `login`, `doorstep`, `greeting`, `serve` — the admin port.

mod command;
mod doorstep;
mod greeting;
mod login;
mod operator;
mod serve;
mod settings;
mod tables;

#[cfg(test)]
mod tests;

pub(crate) use operator::{Explanation, Operator, Sources, operate};
pub(crate) use serve::serve;
