//! How a login fails.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::{Classify, ClientError, Kind, Retry};
use crate::wire::{Malformed, PacketError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// Port scans and health checks end so.
    #[error("the client went away during the login")]
    Gone,
    #[error("the connection broke during the login: {0}")]
    Broken(#[source] std::io::Error),
    #[error("no login within {limit:?}")]
    Timeout { limit: Duration },
    #[error("the client's TLS handshake failed: {0}")]
    Tls(#[source] std::io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Packet(#[from] PacketError),
    #[error("Access denied for user '{user}'@'{peer}' (using password: {})", if *.used_password { "YES" } else { "NO" })]
    Denied { user: String, peer: IpAddr, used_password: bool },
    #[error("Access denied for user '{user}'@'{peer}' to database '{database}'")]
    DatabaseDenied { user: String, peer: IpAddr, database: String },
    #[error("the connection is not encrypted")]
    TlsRequired,
    #[error("the client cannot log in as '{user}' with a plugin that the proxy offers")]
    NoPlugin { user: String },
    #[error("{0}")]
    NotAdmitted(ClientError),
    #[error("the login could not be checked: {what}")]
    Internal { what: String },
}

impl LoginError {
    /// The protocol still allows an ERR packet.
    pub(super) fn can_be_told(&self) -> bool {
        !matches!(
            self,
            LoginError::Gone | LoginError::Broken(_) | LoginError::Timeout { .. } | LoginError::Tls(_)
        )
    }
}

impl Classify for LoginError {
    fn kind(&self) -> Kind {
        self.client().entry.kind
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn client(&self) -> ClientError {
        let id = match self {
            LoginError::Denied { .. } => "SW1001",
            LoginError::DatabaseDenied { .. } => "SW1007",
            LoginError::TlsRequired => "SW1005",
            LoginError::NoPlugin { .. } => "SW1006",
            // MySQL's text for whatever goes wrong with the bytes of a login.
            LoginError::Gone
            | LoginError::Broken(_)
            | LoginError::Timeout { .. }
            | LoginError::Tls(_)
            | LoginError::Malformed(_)
            | LoginError::Packet(_) => return ClientError::new("SW1102", "Bad handshake"),
            LoginError::NotAdmitted(error) => return error.clone(),
            LoginError::Internal { .. } => "SW1901",
        };
        ClientError::new(id, self.to_string())
    }
}
