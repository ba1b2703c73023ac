//! Validated settings of the process, one struct per part.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::network::Network;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: Listen,
    pub(crate) tls: Option<ClientTls>,
    /// By name.
    pub(crate) users: HashMap<String, Arc<User>>,
    pub(crate) pool: PoolSettings,
    pub(crate) limits: Limits,
    pub(crate) transactions: TransactionSettings,
    pub(crate) control: ControlSettings,
    pub(crate) log: LogSettings,
    /// The file of the shard map, absolute.
    pub(crate) map: PathBuf,
    /// Worker threads of the runtime; 0 is one per core.
    pub(crate) workers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) mysql: SocketAddr,
    /// The operators' port; `None` turns it off.
    pub(crate) admin: Option<SocketAddr>,
    /// Metrics, health; `None` turns it off.
    pub(crate) http: Option<SocketAddr>,
    /// Length of the kernel's accept queue.
    pub(crate) backlog: u32,
    pub(crate) compression: CompressionOffer,
    /// From here connections begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: Vec<Network>,
}

/// How clients may compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CompressionOffer {
    pub(crate) zlib: bool,
    pub(crate) zstd: bool,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientTls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Refuses clients without TLS.
    pub(crate) required: bool,
    pub(crate) client_certificates: ClientCertificates,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    NotAskedFor,
    /// One that is shown must be signed by `ca`.
    Optional {
        ca: PathBuf,
    },
    Required {
        ca: PathBuf,
    },
}

impl ClientTls {
    /// Whether a client may do without TLS: then it has no certificate either.
    pub(crate) fn is_required(&self) -> bool {
        self.required || matches!(self.client_certificates, ClientCertificates::Required { .. })
    }
}

/// What a user's connection must be besides its password, as MySQL's REQUIRE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Requirement {
    #[default]
    Nothing,
    Tls,
    Certificate(CertificateNames),
}

/// What a certificate must say; `None` is anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CertificateNames {
    pub(crate) subject: Option<String>,
    pub(crate) issuer: Option<String>,
}

/// Somebody who may log in to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) proof: PasswordProof,
    /// Offered first; the client may ask for the other by auth switch when `proof` allows it.
    pub(crate) plugin: AuthPlugin,
    pub(crate) requirement: Requirement,
    /// May use the admin port and `SHARDWAY …`.
    pub(crate) admin: bool,
    /// Databases the user may name; `None` is all of the map.
    pub(crate) databases: Option<Vec<String>>,
    /// Who the proxy is on the servers for this user.
    pub(crate) server: Arc<Credential>,
    /// Connections at once; 0 is without a limit of its own.
    pub(crate) clients_max: usize,
    pub(crate) read_consistency: ReadConsistency,
}

/// Whether replicas answer plain reads, and what they must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ReadConsistency {
    /// The primary answers.
    #[default]
    Primary,
    /// A replica that shows what the session has written and seen.
    Session,
    /// Any replica within `lag_max`.
    Eventual,
}

impl ReadConsistency {
    pub(crate) const NAMES: [&str; 3] = ["primary", "session", "eventual"];

    pub(crate) fn name(self) -> &'static str {
        match self {
            ReadConsistency::Primary => "primary",
            ReadConsistency::Session => "session",
            ReadConsistency::Eventual => "eventual",
        }
    }

    pub(crate) fn named(name: &[u8]) -> Option<ReadConsistency> {
        let all = [ReadConsistency::Primary, ReadConsistency::Session, ReadConsistency::Eventual];
        all.into_iter().find(|value| value.name().as_bytes() == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AuthPlugin {
    NativePassword,
    CachingSha2Password,
}

impl AuthPlugin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            AuthPlugin::NativePassword => "mysql_native_password",
            AuthPlugin::CachingSha2Password => "caching_sha2_password",
        }
    }
}

/// What the proxy knows of a client's password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PasswordProof {
    /// The password itself: both plugins, fast path at once.
    Plain(String),
    /// `*` and 40 hexadecimal digits: SHA1(SHA1(password)), mysql_native_password only.
    Native([u8; 20]),
    /// `$A$005$` + salt + digest as in `mysql.user`: caching_sha2_password only; the first login takes the full exchange.
    Sha2 { rounds: u32, salt: Vec<u8>, digest: Vec<u8> },
}

impl std::fmt::Debug for PasswordProof {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordProof(..)")
    }
}

/// An account on the servers; with the server it is the key of a pool.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Credential {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Credential({}, ..)", self.user)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    /// Idle connections kept per server and credential.
    pub(crate) idle_min: usize,
    /// Connections per server and credential.
    pub(crate) connections_max: usize,
    /// Connections per server over all credentials.
    pub(crate) server_connections_max: usize,
    /// Statements that may wait for a connection of one pool.
    pub(crate) waiters_max: usize,
    /// Connects under way at once per server.
    pub(crate) connecting_max: usize,
    pub(crate) borrow_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// A connection older than this is not lent again; spread by up to a tenth.
    pub(crate) lifetime_max: Duration,
    /// Idle connections above `idle_min` are closed after this.
    pub(crate) idle_timeout: Duration,
    /// An idle connection is pinged when it was silent for this long.
    pub(crate) health_interval: Duration,
    /// Statements that are kept prepared on one connection.
    pub(crate) prepared_max: usize,
    /// The same over all connections to all servers.
    pub(crate) prepared_total_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) clients_max: usize,
    /// From accept to the end of the login.
    pub(crate) handshake_timeout: Duration,
    /// A client that sends no command for this long is disconnected; zero is never.
    pub(crate) idle_timeout: Duration,
    /// Per statement, zero is without limit.
    pub(crate) statement_timeout: Duration,
    /// Largest packet from a client.
    pub(crate) packet_bytes_max: usize,
    /// Between SIGTERM and the end of the last session.
    pub(crate) drain_timeout: Duration,
    /// How long a statement waits for a shard's primary, when it has none.
    pub(crate) failover_wait: Duration,
    /// Statements that may do so at once, per shard.
    pub(crate) failover_waiters_max: usize,
    /// How long a read waits for a replica to have what the session must see; after that the primary answers.
    pub(crate) replica_wait: Duration,
    /// Of the plan cache, in plans.
    pub(crate) plans_max: usize,
    /// Shards that one statement may touch.
    pub(crate) scatter_shards_max: usize,
    /// Statements that one client may have prepared.
    pub(crate) prepared_statements_max: usize,
    /// What one statement may hold of several shards' rows where they must be sorted after they were grouped.
    pub(crate) merge_bytes_max: usize,
    /// Rows that one statement may copy to the server that computes it.
    pub(crate) scratch_rows_max: usize,
    /// Their values, in bytes.
    pub(crate) scratch_bytes_max: usize,
}

/// How a transaction that writes on several shards ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum TransactionMode {
    /// On all of them or on none.
    #[default]
    Atomic,
    /// There is none: a second shard is refused.
    Single,
    /// Shard by shard. What is lost in between is told.
    BestEffort,
}

impl TransactionMode {
    pub(crate) const ALL: [TransactionMode; 3] =
        [TransactionMode::Atomic, TransactionMode::Single, TransactionMode::BestEffort];

    pub(crate) fn name(self) -> &'static str {
        match self {
            TransactionMode::Atomic => "atomic",
            TransactionMode::Single => "single",
            TransactionMode::BestEffort => "best_effort",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<TransactionMode> {
        TransactionMode::ALL.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    /// Of sessions that have not said otherwise.
    pub(crate) mode: TransactionMode,
    /// A branch that has been prepared for this long is in doubt.
    pub(crate) recover_after: Duration,
    /// A client that leaves a transaction open for this long without a command is disconnected; zero is never.
    pub(crate) idle_timeout: Duration,
}

/// How the control plane talks to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlSettings {
    pub(crate) credential: Arc<Credential>,
    pub(crate) probe_interval: Duration,
    pub(crate) probe_timeout: Duration,
    /// How often table definitions are read again without a reason.
    pub(crate) schema_interval: Duration,
    /// A replica that is further behind is not read.
    pub(crate) lag_max: Duration,
    /// How long a replica that comes back gets less than its share.
    pub(crate) slow_start: Duration,
    /// What clients see until a server was reached, e.g. `8.4.0`.
    pub(crate) server_version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    pub(crate) format: LogFormat,
    /// As in `RUST_LOG`: `info`, `shardway::backend=debug`.
    pub(crate) filter: String,
    /// Statements slower than this are logged; zero logs none.
    pub(crate) slow_statement: Duration,
    /// Logs statements with their literals.
    pub(crate) literals: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}
