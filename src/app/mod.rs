//! Builds the parts in layer order, runs them until told to stop, and stops them in reverse. Holds no logic of its own.

mod bridge;
mod build;
mod follow;
mod reload;
mod run;
mod signal;
mod sources;

pub(crate) use run::run;
