//! The client login with plain values, for tests and fuzz targets: a door with users behind it, opened for one
//! transport at a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{AuthPlugin, CompressionOffer, Credential, PasswordProof, Requirement, User};
use crate::error::{Classify, ClientError};
use crate::session::{Arrival, Gate, GateRules, LoginError, log_in};

/// What the proxy knows of a user's password.
#[derive(Debug, Clone)]
pub enum Proof {
    Plain(&'static str),
    Native([u8; 20]),
    Sha2 { rounds: u32, salt: Vec<u8>, digest: Vec<u8> },
}

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Guest {
    pub name: &'static str,
    pub proof: Proof,
    pub databases: Option<Vec<String>>,
}

/// How the proxy presents itself.
#[derive(Debug, Clone, Default)]
pub struct House {
    pub guests: Vec<Guest>,
    pub version: String,
    pub deprecate_eof: bool,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub tls_required: bool,
    pub zlib: bool,
    pub zstd: bool,
    /// Databases that exist.
    pub databases: Vec<String>,
}

/// The gate of a [`House`].
#[derive(Debug)]
pub struct Door {
    gate: Gate,
    databases: Vec<String>,
}

/// Somebody who came in.
pub struct Entered {
    pub user: String,
    pub database: Option<String>,
    pub capabilities: u32,
    pub collation_id: u16,
    pub attributes: Vec<(String, String)>,
    pub encrypted: bool,
    /// What came behind the login and was read with it.
    pub received: Vec<u8>,
    pub stream: Box<dyn AsyncRead + Send + Unpin>,
}

/// How a login ended that did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client was told this number.
    Told(u16),
    /// It left, or could not be told.
    Silent,
    Timeout,
}

impl std::fmt::Debug for Entered {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Entered({})", self.user)
    }
}

impl Door {
    pub fn new(house: House) -> Door {
        let databases = house.databases.clone();
        let gate = Gate::new(rules(house)).expect("an RSA key can be made");
        Door { gate, databases }
    }

    /// As a reload does.
    pub fn refurbish(&mut self, house: House) {
        self.databases = house.databases.clone();
        self.gate.replace(rules(house));
    }

    pub async fn log_in<S>(&self, stream: S, limit: Duration) -> Result<Entered, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let arrival = Arrival { session_id: 7, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let admit = |_: &Arc<User>, database: Option<&str>| match database {
            Some(name) if !self.databases.iter().any(|known| known == name) => {
                Err(ClientError::new("SW1002", format!("Unknown database '{name}'")))
            }
            _ => Ok(()),
        };
        match log_in(stream, &self.gate, arrival, admit, limit).await {
            Ok(entered) => Ok(Entered {
                user: entered.user.name.clone(),
                database: entered.database,
                capabilities: entered.capabilities.bits(),
                collation_id: entered.collation_id,
                attributes: entered.attributes,
                encrypted: entered.stream.channel().encrypted,
                received: entered.received.to_vec(),
                stream: Box::new(entered.stream),
            }),
            Err(LoginError::Timeout { .. }) => Err(Refused::Timeout),
            Err(LoginError::Gone | LoginError::Broken(_) | LoginError::Tls(_)) => Err(Refused::Silent),
            Err(error) => Err(Refused::Told(error.client().entry.code)),
        }
    }
}

fn rules(house: House) -> GateRules {
    let users =
        house.guests.into_iter().map(|guest| (guest.name.to_owned(), Arc::new(user(guest)))).collect();
    let users: HashMap<String, Arc<User>> = users;
    GateRules {
        users: Arc::new(users),
        server_version: house.version,
        deprecate_eof: house.deprecate_eof,
        tls: house.tls,
        tls_required: house.tls_required,
        compression: CompressionOffer { zlib: house.zlib, zstd: house.zstd },
    }
}

fn user(guest: Guest) -> User {
    let (proof, plugin) = match guest.proof {
        Proof::Plain(password) => {
            (PasswordProof::Plain(password.to_owned()), AuthPlugin::CachingSha2Password)
        }
        Proof::Native(hash) => (PasswordProof::Native(hash), AuthPlugin::NativePassword),
        Proof::Sha2 { rounds, salt, digest } => {
            (PasswordProof::Sha2 { rounds, salt, digest }, AuthPlugin::CachingSha2Password)
        }
    };
    User {
        name: guest.name.to_owned(),
        proof,
        plugin,
        requirement: Requirement::Nothing,
        admin: false,
        databases: guest.databases,
        server: Arc::new(Credential { user: guest.name.to_owned(), password: String::new() }),
        clients_max: 0,
        read_consistency: crate::config::ReadConsistency::Primary,
    }
}
