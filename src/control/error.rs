//! How the control plane's conversations with servers fail.

use std::time::Duration;

use mysql_async::{DriverError, Error, IoError};

use crate::topology::ServerName;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("cannot connect to {server}: {}", plain(.cause))]
    Connect { server: ServerName, cause: mysql_async::Error },
    #[error("cannot verify the certificate of {server}: {cause}")]
    Roots { server: ServerName, cause: String },
    #[error("{server} did not {what} within {waited:?}")]
    Timeout { server: ServerName, what: &'static str, waited: Duration },
    #[error("{server} did not {what}: {}", plain(.cause))]
    Query { server: ServerName, what: &'static str, cause: mysql_async::Error },
    #[error("{server} was not asked to {what}: an earlier question was not answered")]
    GivenUp { server: ServerName, what: &'static str },
    #[error("{server} answered in an unexpected form when asked to {what}")]
    Answer { server: ServerName, what: &'static str },
    #[error("no server of the map could be asked: {last}")]
    NoServer { last: String },
    #[error("the name {name:?} is not one of a character set or collation")]
    Name { name: String },
    #[error("the proxy is stopping")]
    Stopping,
}

impl ControlError {
    /// The server itself said no: it is there, and what it says next belongs to the next question.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, ControlError::Query { cause: mysql_async::Error::Server(_), .. })
    }
}

impl ControlError {
    /// Nobody listens there.
    pub(super) fn is_refused_connection(&self) -> bool {
        let ControlError::Connect { cause: mysql_async::Error::Io(mysql_async::IoError::Io(cause)), .. } =
            self
        else {
            return false;
        };
        cause.kind() == std::io::ErrorKind::ConnectionRefused
    }

    /// The server is there and said something that is not what was asked for: a wrong password, too many connections, no TLS or a
    /// certificate that is not trusted.
    pub(super) fn is_word_of_server(&self) -> bool {
        match self {
            ControlError::Connect { cause, .. } => match cause {
                Error::Server(_)
                | Error::Driver(DriverError::NoClientSslFlagFromServer)
                | Error::Io(IoError::Tls(_)) => true,
                // What rustls says within a handshake.
                Error::Io(IoError::Io(cause)) => cause.kind() == std::io::ErrorKind::InvalidData,
                _ => false,
            },
            ControlError::Roots { .. } => true,
            _ => self.is_refusal(),
        }
    }
}

/// The cause in the system's own words: the driver's put "Input/output error" in front, twice.
fn plain(cause: &mysql_async::Error) -> String {
    match cause {
        mysql_async::Error::Io(mysql_async::IoError::Io(cause)) => cause.to_string(),
        other => other.to_string(),
    }
}
