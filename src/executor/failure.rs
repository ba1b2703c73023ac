//! How running a statement fails, and what that leaves of the client's connection.

use std::io;

use super::interrupt::Interrupted;
use crate::backend::BackendError;
use crate::error::{Classify, ClientError, Kind, Retry};
use crate::topology::ShardName;
use crate::wire::ErrPacket;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing of a result was forwarded.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Nothing was done that running the statement again would do twice: it was refused by a server that is not the primary any
    /// more, or it only reads and its result had not begun.
    #[error("{0}")]
    Again(Box<Failure>),
    /// The server was lost between two packets of a result, which an ERR packet can end.
    #[error("{0}; a part of the result had been forwarded")]
    Broken(BackendError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Refused(#[from] ClientError),
    /// A server's own error, to be forwarded unchanged.
    #[error("{shard}: {}", String::from_utf8_lossy(&packet.message))]
    Server { shard: ShardName, packet: ErrPacket },
    /// The server was lost in the middle of a packet that the client already has half of: the client's connection must end.
    #[error("{0}; the client had received a part of a packet")]
    Cut(BackendError),
    /// As `Cut`, because the statement was stopped.
    #[error("{0}; the client had received a part of a packet")]
    CutByProxy(Interrupted),
    /// The client is gone: there is nobody to tell.
    #[error("the client is gone")]
    ClientGone(#[source] io::Error),
}

impl Failure {
    /// The same where a transaction was lost with its connection.
    pub(crate) fn of_transaction(self) -> Failure {
        match self {
            Failure::Backend(error) | Failure::Broken(error) => {
                Failure::Refused(ClientError::new("SW1304", error.to_string()))
            }
            Failure::Again(failure) => failure.of_transaction(),
            Failure::Interrupted(_)
            | Failure::Refused(_)
            | Failure::Server { .. }
            | Failure::Cut(_)
            | Failure::CutByProxy(_)
            | Failure::ClientGone(_) => self,
        }
    }
}

impl Failure {
    /// The same when it is not run again.
    pub(crate) fn for_good(self) -> Failure {
        match self {
            Failure::Again(failure) => *failure,
            Failure::Backend(_)
            | Failure::Broken(_)
            | Failure::Interrupted(_)
            | Failure::Refused(_)
            | Failure::Server { .. }
            | Failure::Cut(_)
            | Failure::CutByProxy(_)
            | Failure::ClientGone(_) => self,
        }
    }
}

impl Classify for Failure {
    fn kind(&self) -> Kind {
        self.client().entry.kind
    }

    fn retry(&self) -> Retry {
        match self {
            Failure::Backend(error) => error.retry(),
            Failure::Again(_) => Retry::NothingSent,
            Failure::Broken(_)
            | Failure::Interrupted(_)
            | Failure::Refused(_)
            | Failure::Server { .. }
            | Failure::Cut(_)
            | Failure::CutByProxy(_)
            | Failure::ClientGone(_) => Retry::Never,
        }
    }

    fn client(&self) -> ClientError {
        match self {
            Failure::Backend(error) | Failure::Broken(error) | Failure::Cut(error) => error.client(),
            Failure::Again(failure) => failure.client(),
            Failure::Interrupted(error) | Failure::CutByProxy(error) => error.client(),
            Failure::Refused(error) => error.clone(),
            Failure::Server { .. } => {
                ClientError::new("SW1901", format!("an error of {self} was not forwarded"))
            }
            Failure::ClientGone(error) => ClientError::new("SW1103", error.to_string()),
        }
    }
}
