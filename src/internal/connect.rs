//! Connections to servers with plain values, for tests with real servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendError, Connection, Connector, Flavor, HandleBook};
use crate::config::Credential;
use crate::topology::{Server, ServerName, ServerTlsMode};
use crate::wire::{Boundary, Outcome};

const LIMIT: Duration = Duration::from_secs(20);

/// How to encrypt.
#[derive(Debug, Clone)]
pub enum Tls {
    Disabled,
    Preferred,
    Required,
    VerifyCa(PathBuf),
    VerifyIdentity(PathBuf),
}

/// Where and as whom to log in.
#[derive(Debug, Clone)]
pub struct Target {
    pub port: u16,
    pub tls: Tls,
    pub user: String,
    pub password: String,
    pub deprecate_eof: bool,
}

/// How a connect failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// With the server's error number.
    LoginRefused(u16),
    Tls(String),
    Unreachable(String),
    Other(String),
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Opened {
    connection: Connection,
    deprecate_eof: bool,
}

/// Connects to `localhost`.
pub async fn open(target: &Target) -> Result<Opened, Failed> {
    let tls = match target.tls.clone() {
        Tls::Disabled => ServerTlsMode::Disabled,
        Tls::Preferred => ServerTlsMode::Preferred,
        Tls::Required => ServerTlsMode::Required,
        Tls::VerifyCa(bundle) => ServerTlsMode::VerifyCa { bundle: Some(bundle) },
        Tls::VerifyIdentity(bundle) => ServerTlsMode::VerifyIdentity { bundle: Some(bundle) },
    };
    let server =
        Server { name: ServerName::from("server"), host: "localhost".to_owned(), port: target.port, tls };
    let credential = Credential { user: target.user.clone(), password: target.password.clone() };
    let flavor = Flavor { found_rows: false, deprecate_eof: target.deprecate_eof, multi_results: true };
    match Connector::new(
        Arc::new(HandleBook::empty()),
        crate::backend::Suspects::new(tokio::sync::mpsc::channel(1).0),
    )
    .open(&server, &credential, flavor, LIMIT)
    .await
    {
        Ok(connection) => Ok(Opened { connection, deprecate_eof: target.deprecate_eof }),
        Err(BackendError::LoginRefused { code, .. }) => Err(Failed::LoginRefused(code)),
        Err(BackendError::Tls { cause, .. }) => Err(Failed::Tls(cause)),
        Err(BackendError::Unreachable { cause, .. }) => Err(Failed::Unreachable(cause)),
        Err(other) => Err(Failed::Other(other.to_string())),
    }
}

impl Opened {
    pub fn is_encrypted(&self) -> bool {
        self.connection.is_encrypted()
    }

    pub fn server_version(&self) -> &str {
        self.connection.server_version()
    }

    pub fn thread_id(&self) -> u32 {
        self.connection.thread().id
    }

    /// Runs a statement and follows its response: what it said, and its bytes.
    pub async fn ask(&mut self, statement: &str) -> Result<(Outcome, Vec<u8>), String> {
        let command = [&[0x03], statement.as_bytes()].concat();
        self.connection.command(&command).await.map_err(|error| error.to_string())?;
        let (mut boundary, mut bytes) = (Boundary::query(self.deprecate_eof), Vec::new());
        loop {
            let progress = boundary.advance(&self.connection.received).map_err(|error| error.to_string())?;
            bytes.extend_from_slice(&self.connection.received.split_to(progress.used));
            if progress.ended {
                return Ok((boundary.outcome(), bytes));
            }
            if progress.state_at.is_none() {
                self.connection.receive().await.map_err(|error| error.to_string())?;
            }
        }
    }

    /// COM_PING, then COM_RESET_CONNECTION.
    pub async fn ping_and_reset(&mut self) -> Result<(), String> {
        self.connection.ping().await.map_err(|error| error.to_string())?;
        self.connection.reset().await.map_err(|error| error.to_string())
    }

    /// Nothing came in, and the server did not hang up.
    pub fn is_quiet(&mut self) -> bool {
        self.connection.is_quiet()
    }

    pub async fn quit(self) {
        self.connection.quit().await;
    }
}
