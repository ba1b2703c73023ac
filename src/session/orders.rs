//! What sessions ask of the control plane: they send orders through channels that `app` connects, and know nobody behind them.

use tokio::sync::{mpsc, oneshot};

use crate::error::ClientError;

/// One operator's statement, without the prefix `SHARDWAY`.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) statement: String,
    /// Who asks, for the log.
    pub(crate) user: String,
    /// The session's database, for EXPLAIN.
    pub(crate) database: Option<String>,
    pub(crate) reply: oneshot::Sender<Result<Answer, ClientError>>,
}

/// What an operator's statement answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Table { columns: Vec<&'static str>, rows: Vec<Vec<Option<String>>> },
    Done { message: String },
}

/// Collation weights of texts, to be learned from a server.
#[derive(Debug)]
pub(crate) struct WeightOrder {
    pub(crate) collation: String,
    /// The character set that the texts are written in.
    pub(crate) charset: String,
    pub(crate) texts: Vec<Vec<u8>>,
    /// One weight per text, or what went wrong.
    pub(crate) reply: oneshot::Sender<Result<Vec<Vec<u8>>, String>>,
}

/// A definition was carried out: read the schema again and answer when the new one is published.
#[derive(Debug)]
pub(crate) struct SchemaOrder {
    pub(crate) reply: oneshot::Sender<()>,
}

/// The ways from a session to the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) operator: mpsc::Sender<Order>,
    pub(crate) weights: mpsc::Sender<WeightOrder>,
    pub(crate) schema: mpsc::Sender<SchemaOrder>,
}
