//! Reads `shardway.toml` into [`Settings`], collecting faults. Every default is here and in `config/shardway.toml`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use toml::Spanned;
use toml::de::DeTable;

use super::listen_file::{default_listen, read_listen};
use super::map_file::Names;
use super::read::{At, Document, Reader, suggest};
use super::secret::{Surroundings, secret};
use super::settings::{
    ClientCertificates, ClientTls, ControlSettings, Credential, Limits, LogFormat, LogSettings, PoolSettings,
    Settings, TransactionMode, TransactionSettings,
};
use super::user_file::{Asked, read_user};

const MAP_FILE: &str = "shard-map.toml";
const WORKERS_MAX: u64 = 1024;
const CONNECTIONS_MAX: u64 = 1_000_000;
/// MySQL's largest `max_allowed_packet`.
const PACKET_BYTES_MAX: u64 = 1 << 30;
/// Of memory that one statement may be given.
const MERGE_BYTES_MAX: u64 = 1 << 40;
const SCRATCH_BYTES_MAX: u64 = 1 << 40;
const SCRATCH_ROWS_MAX: u64 = 1 << 40;
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What the settings document says.
pub(super) struct SettingsFile {
    /// `None` when faults leave none.
    pub(super) settings: Option<Settings>,
    /// Where the map is, as seen from the working folder.
    pub(super) map: At<PathBuf>,
    /// Databases that users name, to be looked for in the map.
    pub(super) databases: Vec<At<String>>,
}

pub(super) fn read_settings(
    document: &Document,
    root: &Spanned<DeTable<'_>>,
    around: Surroundings<'_>,
) -> SettingsFile {
    let root = Reader::root(document, root);
    let map = root.text("map").unwrap_or(At { value: MAP_FILE.to_owned(), span: 0..0 });
    let map = map.map(|map| around.resolve(&map));
    let workers = count(&root, "workers", 0..=WORKERS_MAX, 0);
    let listen = root.table("listen").map_or_else(default_listen, |listen| read_listen(listen, document));
    let tls = root.table("tls").and_then(|tls| read_tls(tls, around));
    // A table with a fault is told once, not again for its users.
    let has_tls = tls.is_none() && root.has("tls").is_some();
    let mut databases = Vec::new();
    let mut names = Names::default();
    let mut users = HashMap::new();
    let tables = root.tables("user", "a [[user]]");
    if tables.is_empty() && root.has("user").is_none() {
        root.missing("user", "a [[user]] with name and password: nobody could log in");
    }
    for table in tables {
        let asks = tls.as_ref().is_some_and(|tls| tls.client_certificates != ClientCertificates::NotAskedFor);
        let asked = Asked { tls: tls.is_some() || has_tls, certificates: asks || has_tls };
        if let Some(user) = read_user(table, around, asked, &mut names, &mut databases) {
            users.insert(user.name.clone(), Arc::new(user));
        }
    }
    let pool = read_pool(root.table("pool"));
    let limits = read_limits(root.table("limits"));
    let transactions = read_transactions(root.table("transactions"));
    let control = match root.table("control") {
        Some(control) => read_control(control, around),
        None => {
            if root.has("control").is_none() {
                root.missing(
                    "control",
                    "[control] with user and password: the proxy's own account on the servers",
                );
            }
            None
        }
    };
    let log = read_log(root.table("log"));
    root.finish();
    let absolute = std::path::absolute(&map.value).unwrap_or_else(|_| map.value.clone());
    let settings = control.filter(|_| !document.has_faults()).map(|control| Settings {
        listen,
        tls,
        users,
        pool,
        limits,
        transactions,
        control,
        log,
        map: absolute,
        workers,
    });
    SettingsFile { settings, map, databases }
}

fn count(
    reader: &Reader<'_>,
    key: &'static str,
    bounds: std::ops::RangeInclusive<u64>,
    default: usize,
) -> usize {
    reader.integer(key, bounds).and_then(|number| usize::try_from(number.value).ok()).unwrap_or(default)
}

fn time(
    reader: &Reader<'_>,
    key: &'static str,
    bounds: std::ops::RangeInclusive<Duration>,
    default: Duration,
) -> Duration {
    reader.duration(key, bounds).map_or(default, |duration| duration.value)
}

/// A table that was not written reads as an empty one: its defaults.
macro_rules! or_default {
    ($reader:expr, $default:expr) => {
        match $reader {
            Some(reader) => reader,
            None => return $default,
        }
    };
}

fn read_tls(reader: Reader<'_>, around: Surroundings<'_>) -> Option<ClientTls> {
    let certificate = read_path(&reader, "certificate", around);
    let key = read_path(&reader, "key", around);
    let required = reader.boolean("required").is_some_and(|required| required.value);
    if let Some(certificate) = &certificate {
        check_certificates(&reader, certificate, "name a readable PEM file with the certificate chain");
    }
    if let Some(key) = &key
        && let Err(cause) = PrivateKeyDer::from_pem_file(&key.value)
    {
        let message = format!("cannot read the private key {}: {cause}", key.value.display());
        reader.fault(&key.span, message, "name a readable PEM file with the private key");
    }
    if let (Some(certificate), Some(key)) = (&certificate, &key) {
        check_pair(&reader, &certificate.value, key);
    }
    let client_certificates = read_client_certificates(&reader, around);
    reader.finish();
    Some(ClientTls { certificate: certificate?.value, key: key?.value, required, client_certificates })
}

/// Whether the key is that of the certificate: a reload between the renewal of the one and of the other must not be applied.
fn check_pair(reader: &Reader<'_>, certificate: &Path, key: &At<PathBuf>) {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    // What cannot be read was told already.
    let (Ok(chain), Ok(private)) = (chain, PrivateKeyDer::from_pem_file(&key.value)) else { return };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Some(cause) = CertifiedKey::from_der(chain, private, &provider).err() {
        let (key_path, certificate) = (key.value.display(), certificate.display());
        let message =
            format!("the key {key_path} and the certificate {certificate} cannot be used together: {cause}");
        reader.fault(&key.span, message, "name the private key that the certificate was made for");
    }
}

fn check_certificates(reader: &Reader<'_>, file: &At<PathBuf>, help: &str) {
    let read = CertificateDer::pem_file_iter(&file.value)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    let problem = match read {
        Ok(certificates) if certificates.is_empty() => "no certificate in it".to_owned(),
        Ok(_) => return,
        Err(cause) => cause.to_string(),
    };
    let message = format!("cannot read the certificate {}: {problem}", file.value.display());
    reader.fault(&file.span, message, help);
}

fn read_client_certificates(reader: &Reader<'_>, around: Surroundings<'_>) -> ClientCertificates {
    let ca = reader.text("client_ca").map(|path| path.map(|path| around.resolve(&path)));
    if let Some(ca) = &ca {
        check_certificates(reader, ca, "name a readable PEM file with the CA's certificates");
    }
    let mode = reader.text("client_certificates");
    match (mode.as_ref().map(|mode| mode.value.as_str()), ca) {
        (Some("off"), _) | (None, None) => ClientCertificates::NotAskedFor,
        (Some("optional") | None, Some(ca)) => ClientCertificates::Optional { ca: ca.value },
        (Some("required"), Some(ca)) => ClientCertificates::Required { ca: ca.value },
        (Some("optional" | "required"), None) => {
            if reader.has("client_ca").is_none() {
                reader.missing("client_ca", "client_ca = \"path of a PEM file\"");
            }
            ClientCertificates::NotAskedFor
        }
        (Some(other), _) => {
            let span = mode.as_ref().map(|mode| mode.span.clone()).unwrap_or_default();
            let help = suggest(other, "value", ["off", "optional", "required"]);
            reader.fault(&span, format!("unknown value \"{other}\""), help);
            ClientCertificates::NotAskedFor
        }
    }
}

fn read_path(reader: &Reader<'_>, key: &'static str, around: Surroundings<'_>) -> Option<At<PathBuf>> {
    let path = reader.text(key);
    if path.is_none() && reader.has(key).is_none() {
        reader.missing(key, &format!("{key} = \"path of a PEM file\""));
    }
    path.map(|path| path.map(|path| around.resolve(&path)))
}

fn default_pool() -> PoolSettings {
    PoolSettings {
        idle_min: 1,
        connections_max: 100,
        server_connections_max: 500,
        waiters_max: 10_000,
        connecting_max: 16,
        borrow_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        lifetime_max: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(300),
        health_interval: Duration::from_secs(30),
        prepared_max: 200,
        prepared_total_max: 10_000,
    }
}

fn read_pool(reader: Option<Reader<'_>>) -> PoolSettings {
    let default = default_pool();
    let reader = or_default!(reader, default);
    let pool = PoolSettings {
        idle_min: count(&reader, "idle_min", 0..=CONNECTIONS_MAX, default.idle_min),
        connections_max: count(&reader, "connections_max", 1..=CONNECTIONS_MAX, default.connections_max),
        server_connections_max: count(
            &reader,
            "server_connections_max",
            1..=CONNECTIONS_MAX,
            default.server_connections_max,
        ),
        waiters_max: count(&reader, "waiters_max", 0..=CONNECTIONS_MAX, default.waiters_max),
        connecting_max: count(&reader, "connecting_max", 1..=CONNECTIONS_MAX, default.connecting_max),
        borrow_timeout: time(&reader, "borrow_timeout", MILLISECOND..=DAY, default.borrow_timeout),
        connect_timeout: time(&reader, "connect_timeout", MILLISECOND..=DAY, default.connect_timeout),
        lifetime_max: time(&reader, "lifetime_max", MILLISECOND..=YEAR, default.lifetime_max),
        idle_timeout: time(&reader, "idle_timeout", MILLISECOND..=YEAR, default.idle_timeout),
        health_interval: time(&reader, "health_interval", MILLISECOND..=YEAR, default.health_interval),
        prepared_max: count(&reader, "prepared_max", 0..=CONNECTIONS_MAX, default.prepared_max),
        prepared_total_max: count(
            &reader,
            "prepared_total_max",
            0..=CONNECTIONS_MAX,
            default.prepared_total_max,
        ),
    };
    if pool.idle_min > pool.connections_max {
        let span = reader.has("idle_min").unwrap_or_else(|| reader.span.clone());
        let message = format!("\"idle_min\" is {}, more than \"connections_max\"", pool.idle_min);
        reader.fault(&span, message, format!("write at most {}", pool.connections_max));
    }
    reader.finish();
    pool
}

fn default_limits() -> Limits {
    Limits {
        clients_max: 10_000,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(8 * 3600),
        statement_timeout: Duration::ZERO,
        packet_bytes_max: 64 << 20,
        drain_timeout: Duration::from_secs(30),
        failover_wait: Duration::from_secs(10),
        failover_waiters_max: 10_000,
        replica_wait: Duration::from_millis(200),
        plans_max: 10_000,
        scatter_shards_max: 1024,
        prepared_statements_max: 4096,
        merge_bytes_max: 64 << 20,
        scratch_rows_max: 1_000_000,
        scratch_bytes_max: 256 << 20,
    }
}

fn read_limits(reader: Option<Reader<'_>>) -> Limits {
    let default = default_limits();
    let reader = or_default!(reader, default);
    let bytes = reader.bytes("packet_bytes_max", 1024..=PACKET_BYTES_MAX);
    let merge_bytes = reader.bytes("merge_bytes_max", 1024..=MERGE_BYTES_MAX);
    let scratch_bytes = reader.bytes("scratch_bytes_max", 1024..=SCRATCH_BYTES_MAX);
    let limits = Limits {
        clients_max: count(&reader, "clients_max", 1..=CONNECTIONS_MAX, default.clients_max),
        handshake_timeout: time(&reader, "handshake_timeout", MILLISECOND..=DAY, default.handshake_timeout),
        idle_timeout: time(&reader, "idle_timeout", Duration::ZERO..=YEAR, default.idle_timeout),
        statement_timeout: time(
            &reader,
            "statement_timeout",
            Duration::ZERO..=YEAR,
            default.statement_timeout,
        ),
        packet_bytes_max: bytes
            .and_then(|bytes| usize::try_from(bytes.value).ok())
            .unwrap_or(default.packet_bytes_max),
        drain_timeout: time(&reader, "drain_timeout", Duration::ZERO..=DAY, default.drain_timeout),
        failover_wait: time(&reader, "failover_wait", Duration::ZERO..=DAY, default.failover_wait),
        failover_waiters_max: count(
            &reader,
            "failover_waiters_max",
            0..=CONNECTIONS_MAX,
            default.failover_waiters_max,
        ),
        replica_wait: time(&reader, "replica_wait", Duration::ZERO..=DAY, default.replica_wait),
        plans_max: count(&reader, "plans_max", 1..=CONNECTIONS_MAX, default.plans_max),
        scatter_shards_max: count(&reader, "scatter_shards_max", 1..=1024, default.scatter_shards_max),
        prepared_statements_max: count(
            &reader,
            "prepared_statements_max",
            0..=CONNECTIONS_MAX,
            default.prepared_statements_max,
        ),
        merge_bytes_max: merge_bytes
            .and_then(|bytes| usize::try_from(bytes.value).ok())
            .unwrap_or(default.merge_bytes_max),
        scratch_rows_max: count(&reader, "scratch_rows_max", 1..=SCRATCH_ROWS_MAX, default.scratch_rows_max),
        scratch_bytes_max: scratch_bytes
            .and_then(|bytes| usize::try_from(bytes.value).ok())
            .unwrap_or(default.scratch_bytes_max),
    };
    reader.finish();
    limits
}

fn read_transactions(reader: Option<Reader<'_>>) -> TransactionSettings {
    let default = TransactionSettings {
        mode: TransactionMode::default(),
        recover_after: Duration::from_secs(10),
        idle_timeout: Duration::ZERO,
    };
    let reader = or_default!(reader, default);
    let mode = reader.text("mode");
    let transactions = TransactionSettings {
        mode: match mode.as_ref().map(|mode| (mode, TransactionMode::of_name(&mode.value))) {
            None => default.mode,
            Some((_, Some(known))) => known,
            Some((mode, None)) => {
                let help = suggest(&mode.value, "mode", TransactionMode::ALL.map(TransactionMode::name));
                reader.fault(&mode.span, format!("unknown transaction mode \"{}\"", mode.value), help);
                default.mode
            }
        },
        recover_after: time(
            &reader,
            "recover_after",
            Duration::from_millis(100)..=DAY,
            default.recover_after,
        ),
        idle_timeout: time(&reader, "idle_timeout", Duration::ZERO..=YEAR, default.idle_timeout),
    };
    reader.finish();
    transactions
}

fn read_control(reader: Reader<'_>, around: Surroundings<'_>) -> Option<ControlSettings> {
    let user = reader.text("user");
    if user.is_none() && reader.has("user").is_none() {
        reader.missing("user", "user = \"shardway\", the proxy's own account on the servers");
    }
    let password = secret(&reader, "password", around);
    if reader.has("password").is_none() {
        reader.missing("password", "password = { env = \"NAME\" }");
    }
    let version = reader.text("server_version");
    if let Some(version) = version.as_ref().filter(|version| !is_version(&version.value)) {
        let message = format!("\"{}\" is not a server version", version.value);
        reader.fault(&version.span, message, "write it as servers do, such as \"8.4.0\"");
    }
    let (soon, late) = (Duration::from_millis(50), DAY);
    let control = ControlSettings {
        credential: Arc::new(Credential {
            user: user.as_ref().map_or_else(String::new, |user| user.value.clone()),
            password: password.as_ref().map_or_else(String::new, |password| password.value.clone()),
        }),
        probe_interval: time(&reader, "probe_interval", soon..=late, Duration::from_secs(2)),
        probe_timeout: time(&reader, "probe_timeout", soon..=late, Duration::from_secs(2)),
        schema_interval: time(&reader, "schema_interval", soon..=late, Duration::from_secs(300)),
        lag_max: time(&reader, "lag_max", Duration::ZERO..=DAY, Duration::from_secs(10)),
        slow_start: time(&reader, "slow_start", Duration::ZERO..=DAY, Duration::from_secs(30)),
        server_version: version.map_or_else(|| "8.4.0".to_owned(), |version| version.value),
    };
    reader.finish();
    (user.is_some() && password.is_some()).then_some(control)
}

/// Three numbers, and anything printable after them: drivers read the numbers.
fn is_version(text: &str) -> bool {
    let mut parts = text.splitn(3, '.');
    let mut number = |rest_allowed: bool| {
        parts.next().is_some_and(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && digits <= 3 && (rest_allowed || digits == part.len())
        })
    };
    number(false) && number(false) && number(true) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_log(reader: Option<Reader<'_>>) -> LogSettings {
    let default = LogSettings {
        format: LogFormat::Text,
        filter: "info".to_owned(),
        slow_statement: Duration::from_secs(1),
        literals: false,
    };
    let reader = or_default!(reader, default);
    let format = reader.text("format");
    let filter = reader.text("filter");
    if let Some(filter) = &filter
        && let Err(cause) = filter.value.parse::<tracing_subscriber::EnvFilter>()
    {
        let message = format!("\"{}\" is not a log filter: {cause}", filter.value);
        reader.fault(&filter.span, message, "write a level, or \"info,shardway::backend=debug\"");
    }
    let log = LogSettings {
        format: match format.as_ref().map(|format| format.value.as_str()) {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                let span = format.as_ref().map(|format| format.span.clone()).unwrap_or_default();
                let help = suggest(other, "format", ["text", "json"]);
                reader.fault(&span, format!("unknown log format \"{other}\""), help);
                LogFormat::Text
            }
        },
        filter: filter.map_or(default.filter, |filter| filter.value),
        slow_statement: time(&reader, "slow_statement", Duration::ZERO..=DAY, default.slow_statement),
        literals: reader.boolean("literals").is_some_and(|literals| literals.value),
    };
    reader.finish();
    log
}
