//! Connections to MySQL servers: connect, authenticate, pool, lend. A connection is lent only in a known state and by a
//! guard; what happens to it after a mishap is decided by the guard's drop (it is closed).

mod authenticate;
mod checkout;
mod connect;
mod connection;
mod error;
mod handles;
mod kill;
mod metrics;
mod pool;
mod pool_set;
mod socket;
mod state;
mod tls;

pub(crate) use checkout::Lease;
pub(crate) use connect::{Connector, Suspects};
pub(crate) use connection::{Connection, Flavor, Thread};
pub(crate) use error::BackendError;
pub(crate) use handles::{HandleBook, HandleKey};
pub(crate) use pool_set::{PoolSet, PoolStatus};
pub(crate) use state::{Fit, SessionState};
pub(crate) use tls::trusted_certificates;
