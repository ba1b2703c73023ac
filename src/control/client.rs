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
    /// `None` after a question that was neither answered nor refused: its answer may still come, and would be taken for that of
    /// the next one.
    connection: Option<Conn>,
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
            Ok(Ok(connection)) => Ok(Client { connection: Some(connection), server: name, timeout }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError::Timeout { server: name, what: "accept a login", waited: timeout }),
        }
    }

    pub(crate) fn server(&self) -> &ServerName {
        &self.server
    }

    /// All rows of `query`; `what` completes the sentence "the server did not …". After any error but the server's own refusal
    /// ([`ControlError::is_refusal`]) every further question fails at once.
    pub(crate) async fn rows<T>(&mut self, what: &'static str, query: String) -> Result<Vec<T>, ControlError>
    where
        T: FromRow + Send + 'static,
    {
        let server = self.server.clone();
        let Some(mut connection) = self.connection.take() else {
            return Err(ControlError::GivenUp { server, what });
        };
        match tokio::time::timeout(self.timeout, connection.query(query)).await {
            Ok(Ok(rows)) => {
                self.connection = Some(connection);
                Ok(rows)
            }
            Ok(Err(cause)) => {
                let error = ControlError::Query { server, what, cause };
                self.connection = Some(connection).filter(|_| error.is_refusal());
                Err(error)
            }
            Err(_) => Err(ControlError::Timeout { server, what, waited: self.timeout }),
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
        if let Some(connection) = self.connection {
            drop(tokio::time::timeout(self.timeout, connection.disconnect()).await);
        }
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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::{CapabilityFlags, Framer, Greeting, SCRAMBLE_BYTES, StatusFlags, encode_packet};

    const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];

    /// Lets one client log in, then answers nothing; the commands that came until the client hung up.
    async fn silent_server(listener: TcpListener) -> Vec<u8> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let greeting = Greeting {
            version: "8.4.6".into(),
            thread_id: 1,
            scramble: [b'a'; SCRAMBLE_BYTES],
            capabilities: CapabilityFlags::all() - CapabilityFlags::CLIENT_COMPRESS,
            collation: 45,
            status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            plugin: "mysql_native_password".into(),
        };
        let mut out = Vec::new();
        encode_packet(&greeting.encode(), &mut 0, &mut out);
        stream.write_all(&out).await.unwrap();
        let (mut framer, mut received) = (Framer::unchecked(1 << 20), BytesMut::new());
        let mut payloads = Vec::new();
        loop {
            while let Ok(Some(payload)) = framer.take(&mut received) {
                if payloads.is_empty() {
                    let mut out = Vec::new();
                    encode_packet(&OK, &mut 2, &mut out);
                    stream.write_all(&out).await.unwrap();
                }
                payloads.push(payload[0]);
            }
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return payloads.split_off(1);
            }
        }
    }

    /// The late answer to one question was taken for that to the next: weights of one text for those of another.
    #[tokio::test]
    async fn after_a_question_without_an_answer_no_other_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server =
            Server { name: "s".into(), host: "127.0.0.1".into(), port, tls: ServerTlsMode::Disabled };
        let credential = Credential { user: "c".into(), password: "p".into() };
        let asking = async {
            let patience = Duration::from_secs(20);
            let mut client = Client::connect(&server, &credential, patience).await.unwrap();
            client.timeout = Duration::from_millis(50);
            let first = client.rows::<String>("answer", "SELECT 1".to_owned()).await;
            let second = client.rows::<String>("answer", "SELECT 2".to_owned()).await;
            client.close().await;
            (first, second)
        };
        let ((first, second), commands) = tokio::join!(asking, silent_server(listener));
        assert!(matches!(first, Err(ControlError::Timeout { .. })), "{first:?}");
        assert!(matches!(second, Err(ControlError::GivenUp { .. })), "{second:?}");
        assert_eq!(commands.iter().filter(|command| **command == 3).count(), 1);
    }
}
