//! Short conversations with servers by mysql_async: one connection, one purpose, dropped on any error (a kept connection
//! may belong to a server that has been demoted or is gone).

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, DriverError, Opts, OptsBuilder, SslOpts};

use super::error::ControlError;
use crate::backend::trusted_certificates;
use crate::config::Credential;
use crate::topology::{Server, ServerName, ServerTlsMode};

/// mysql_async asks the server for these unless they are given.
const PACKET_BYTES_MAX: usize = 64 << 20;
const WAIT_TIMEOUT_SECONDS: usize = 60;

/// A connection that bounds every question in time.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Conn,
    server: ServerName,
    timeout: Duration,
}

impl Client {
    /// Connects, encrypts by the server's TLS mode and logs in, all within `timeout`; each question later has as much.
    pub(crate) async fn connect(
        server: &Server,
        credential: &Credential,
        timeout: Duration,
    ) -> Result<Client, ControlError> {
        let name = server.name.clone();
        match tokio::time::timeout(timeout, open(server, credential)).await {
            Ok(Ok(connection)) => Ok(Client { connection, server: name, timeout }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError::Timeout { server: name, what: "accept a login", waited: timeout }),
        }
    }

    pub(crate) fn server(&self) -> &ServerName {
        &self.server
    }

    /// All rows of `query`; `what` completes the sentence "the server did not …".
    pub(crate) async fn rows<T>(&mut self, what: &'static str, query: String) -> Result<Vec<T>, ControlError>
    where
        T: FromRow + Send + 'static,
    {
        let server = &self.server;
        match tokio::time::timeout(self.timeout, self.connection.query(query)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(cause)) => Err(ControlError::Query { server: server.clone(), what, cause }),
            Err(_) => Err(ControlError::Timeout { server: server.clone(), what, waited: self.timeout }),
        }
    }

    /// The only row of `query`.
    pub(crate) async fn row<T>(&mut self, what: &'static str, query: String) -> Result<T, ControlError>
    where
        T: FromRow + Send + 'static,
    {
        let row = self.rows(what, query).await?.into_iter().next();
        row.ok_or_else(|| ControlError::Answer { server: self.server.clone(), what })
    }

    /// Says goodbye; a server that does not answer is left alone.
    pub(crate) async fn close(self) {
        // The answer does not matter: the socket is closed either way.
        drop(tokio::time::timeout(self.timeout, self.connection.disconnect()).await);
    }
}

async fn open(server: &Server, credential: &Credential) -> Result<Conn, ControlError> {
    let failed = |cause| ControlError::Connect { server: server.name.clone(), cause };
    let ssl = match &server.tls {
        ServerTlsMode::Disabled => None,
        ServerTlsMode::Preferred | ServerTlsMode::Required => {
            let any = SslOpts::default().with_danger_accept_invalid_certs(true);
            Some(any.with_danger_skip_domain_validation(true))
        }
        ServerTlsMode::VerifyCa { bundle } => {
            Some(verified(server, bundle).await?.with_danger_skip_domain_validation(true))
        }
        ServerTlsMode::VerifyIdentity { bundle } => Some(verified(server, bundle).await?),
    };
    match Conn::new(options(server, credential, ssl)).await {
        Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
            if server.tls == ServerTlsMode::Preferred =>
        {
            Conn::new(options(server, credential, None)).await.map_err(failed)
        }
        result => result.map_err(failed),
    }
}

/// With the roots that the data plane trusts, and no others.
async fn verified(server: &Server, bundle: &Option<PathBuf>) -> Result<SslOpts, ControlError> {
    let bundle = bundle.clone();
    // Reads a file and parses a hundred certificates: milliseconds.
    let read = tokio::task::spawn_blocking(move || trusted_certificates(bundle.as_deref())).await;
    let certificates = read
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(|cause| ControlError::Roots { server: server.name.clone(), cause })?;
    let roots = certificates.into_iter().map(|certificate| certificate.to_vec().into()).collect();
    Ok(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true))
}

fn options(server: &Server, credential: &Credential, ssl: Option<SslOpts>) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .tcp_port(server.port)
        .user(Some(credential.user.clone()))
        .pass(Some(credential.password.clone()))
        .ssl_opts(ssl)
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(WAIT_TIMEOUT_SECONDS))
        .into()
}
