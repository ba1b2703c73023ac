//! How lending a connection fails.

use std::time::Duration;

use crate::error::{Classify, ClientError, Kind, Retry};
use crate::topology::{ServerName, ShardName};

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("cannot connect to {server}: {cause}")]
    Unreachable { server: ServerName, cause: String },
    #[error("no answer from {server} within {waited:?} of connecting")]
    ConnectTimeout { server: ServerName, waited: Duration },
    #[error("{server} refused the login of {user}: {message} ({code})")]
    LoginRefused { server: ServerName, user: String, code: u16, message: String },
    #[error("TLS to {server} failed: {cause}")]
    Tls { server: ServerName, cause: String },
    #[error("{server} sent {what}")]
    Protocol { server: ServerName, what: String },
    #[error(
        "no connection to {server} became free within {waited:?}: {busy} of {max} of {user} are lent and {connecting} are \
         being opened, {total} of {server_max} of the server are taken, {waiting} statements wait"
    )]
    BorrowTimeout {
        server: ServerName,
        user: String,
        waited: Duration,
        busy: usize,
        connecting: usize,
        max: usize,
        total: usize,
        server_max: usize,
        waiting: usize,
    },
    #[error("no connection within {waited:?}, the last attempt ended with: {last}")]
    NotConnected { waited: Duration, last: Box<BackendError> },
    #[error("{waiting} statements already wait for a connection to {server}")]
    QueueFull { server: ServerName, waiting: usize },
    #[error("the connection to {server} was lost: {cause}")]
    Lost { server: ServerName, cause: String },
    /// The server closed the connection in the middle of a command that is longer than it takes.
    #[error("{server}: {message}")]
    PacketTooLarge { server: ServerName, message: String },
    /// The session's variables or database, which another server took, were refused by this one.
    #[error("{server} refused the session's state: {message} ({code})")]
    StateRefused { server: ServerName, code: u16, message: String },
    #[error("the pool of {server} is closed")]
    Closed { server: ServerName },
    /// The connection was not used any more: another server is the primary now.
    #[error("{server} is not the primary of its shard any more")]
    Demoted { server: ServerName },
    #[error("shard {shard} has no primary: {reason}")]
    NoPrimary { shard: ShardName, reason: String },
}

impl Classify for BackendError {
    fn kind(&self) -> Kind {
        self.client().entry.kind
    }

    fn retry(&self) -> Retry {
        match self {
            BackendError::Lost { .. }
            | BackendError::Protocol { .. }
            | BackendError::PacketTooLarge { .. }
            | BackendError::StateRefused { .. } => Retry::Never,
            BackendError::Unreachable { .. }
            | BackendError::ConnectTimeout { .. }
            | BackendError::LoginRefused { .. }
            | BackendError::Tls { .. }
            | BackendError::BorrowTimeout { .. }
            | BackendError::NotConnected { .. }
            | BackendError::QueueFull { .. }
            | BackendError::Closed { .. }
            | BackendError::Demoted { .. }
            | BackendError::NoPrimary { .. } => Retry::NothingSent,
        }
    }

    fn client(&self) -> ClientError {
        let id = match self {
            BackendError::Unreachable { .. }
            | BackendError::ConnectTimeout { .. }
            | BackendError::Closed { .. }
            | BackendError::Demoted { .. } => "SW1401",
            BackendError::LoginRefused { .. } => "SW1404",
            BackendError::Tls { .. } => "SW1405",
            BackendError::Protocol { .. } => "SW1406",
            BackendError::BorrowTimeout { .. } | BackendError::QueueFull { .. } => "SW1402",
            BackendError::Lost { .. } => "SW1403",
            BackendError::PacketTooLarge { .. } => "SW1104",
            BackendError::NotConnected { last, .. } => {
                return ClientError { entry: last.client().entry, detail: self.to_string() };
            }
            BackendError::StateRefused { .. } => "SW1306",
            BackendError::NoPrimary { .. } => "SW1408",
        };
        ClientError::new(id, self.to_string())
    }
}

impl BackendError {
    /// Nothing was sent, since the server is not there or is not the primary: another may be soon.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            BackendError::Unreachable { .. }
            | BackendError::ConnectTimeout { .. }
            | BackendError::Closed { .. }
            | BackendError::Demoted { .. }
            | BackendError::NoPrimary { .. } => true,
            BackendError::NotConnected { last, .. } => last.is_outage(),
            BackendError::LoginRefused { .. }
            | BackendError::Tls { .. }
            | BackendError::Protocol { .. }
            | BackendError::BorrowTimeout { .. }
            | BackendError::QueueFull { .. }
            | BackendError::Lost { .. }
            | BackendError::PacketTooLarge { .. }
            | BackendError::StateRefused { .. } => false,
        }
    }
}
