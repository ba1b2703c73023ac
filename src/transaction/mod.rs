//! What a transaction binds. A transaction lives on one shard: it begins where its first statement goes. Pure; the
//! session drives it and holds the connection.

mod state;

pub(crate) use state::Transaction;
