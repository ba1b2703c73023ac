//! Tests that need no servers: checks of the sources, of the files that ship, and of pure parts from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
mod catalogue;
mod corpus;
mod packaging;
mod plans;
mod source;
mod wire;
