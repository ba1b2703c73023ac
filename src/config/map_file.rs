//! Reads `shard-map.toml` into a [`Map`], collecting faults.

use std::collections::HashMap;
use std::ops::Range;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::map::{
    Map, MapDatabase, MapPlacement, MapServer, MapShard, MapTable, MapTls, SERVERS_PER_SHARD_MAX, SHARDS_MAX,
};
use super::read::{At, Document, Reader, suggest};
use super::scheme_file::read_scheme;
use super::secret::Surroundings;

pub(super) const TABLES_PER_DATABASE_MAX: usize = 100_000;
/// Branches of transactions name the deciding shard: 64 bytes, six of which number the branch.
const SHARD_NAME_BYTES_MAX: usize = 58;
const MYSQL_PORT: u16 = 3306;
/// MySQL's limit for identifiers.
const NAME_CHARACTERS_MAX: usize = 64;
const TLS_MODES: [&str; 5] = ["disabled", "preferred", "required", "verify-ca", "verify-identity"];

/// Names given so far with their places, to refuse a second use.
#[derive(Default)]
pub(super) struct Names {
    seen: HashMap<String, usize>,
    order: Vec<String>,
}

impl Names {
    /// False, and a fault, when the name was given before.
    pub(super) fn claim(&mut self, document: &Document, what: &str, name: &At<String>) -> bool {
        self.claim_as(document, what, name, name.value.clone())
    }

    /// As `claim` for names that compare by `identity`.
    pub(super) fn claim_as(
        &mut self,
        document: &Document,
        what: &str,
        name: &At<String>,
        identity: String,
    ) -> bool {
        let line = document.source.fault(name.span.clone(), "").line;
        if let Some(first) = self.seen.get(&identity) {
            let message = format!("a second {what} \"{}\", the first is in line {first}", name.value);
            document.fault(&name.span, message, "rename or remove one of them");
            return false;
        }
        self.seen.insert(identity, line);
        self.order.push(name.value.clone());
        true
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.seen.contains_key(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.order.iter().map(String::as_str)
    }
}

/// The map of the document; `None` when its faults leave none.
pub(super) fn read_map(
    document: &Document,
    root: &Spanned<DeTable<'_>>,
    around: Surroundings<'_>,
) -> Option<Map> {
    let root = Reader::root(document, root);
    let version = root.integer("version", 1..=u64::MAX >> 1);
    if version.is_none() && root.has("version").is_none() {
        root.missing("version", "version = 1, and count it up with every change");
    }
    let tls = root.table("tls").map_or(MapTls::Preferred, |tls| read_tls(tls, around));
    let mut shard_names = Names::default();
    let mut servers = Names::default();
    let shards: Vec<MapShard> = root
        .tables("shard", "a [[shard]]")
        .into_iter()
        .filter_map(|shard| read_shard(shard, &tls, around, &mut shard_names, &mut servers))
        .collect();
    if shard_names.iter().next().is_none() {
        root.missing("shard", "at least one [[shard]] with name and primary");
    }
    if shards.len() > SHARDS_MAX {
        let span = root.has("shard").unwrap_or_default();
        root.fault(
            &span,
            format!("{} shards", shards.len()),
            format!("a map has at most {SHARDS_MAX} shards"),
        );
    }
    let mut scheme_names = Names::default();
    let schemes: Vec<_> = root
        .tables("scheme", "a [[scheme]]")
        .into_iter()
        .filter_map(|scheme| read_scheme(scheme, &mut scheme_names, &shard_names))
        .collect();
    let mut database_names = Names::default();
    let databases: Vec<_> = root
        .tables("database", "a [[database]]")
        .into_iter()
        .filter_map(|database| read_database(database, &mut database_names, &scheme_names, &shard_names))
        .collect();
    root.finish();
    let version = version?.value;
    (!document.has_faults()).then_some(Map { version, shards, schemes, databases })
}

/// A required name that MySQL and logs can print.
pub(super) fn read_name(reader: &Reader<'_>, help: &str) -> Option<At<String>> {
    let Some(name) = reader.text("name") else {
        if reader.has("name").is_none() {
            reader.missing("name", help);
        }
        return None;
    };
    let length = name.value.chars().count();
    if length == 0 || length > NAME_CHARACTERS_MAX || name.value.chars().any(char::is_control) {
        let message = format!("a name of {length} characters");
        reader.fault(&name.span, message, format!("use 1 to {NAME_CHARACTERS_MAX} printable characters"));
        return None;
    }
    Some(name)
}

/// The shard `name` must be one of the map.
pub(super) fn check_shard(document: &Document, name: &At<String>, shards: &Names) {
    if !shards.contains(&name.value) {
        let help = suggest(&name.value, "[[shard]]", shards.iter());
        document.fault(&name.span, format!("unknown shard \"{}\"", name.value), help);
    }
}

fn read_shard(
    reader: Reader<'_>,
    default_tls: &MapTls,
    around: Surroundings<'_>,
    names: &mut Names,
    servers: &mut Names,
) -> Option<MapShard> {
    let name = read_name(&reader, "name = \"s1\"");
    if let Some(name) = &name {
        // `USE db:shard@role` and hints could not name such a shard.
        if name.value.contains(['@', ':', '`', '/', '\'', '"', ' ', ',']) {
            let help = "use letters, digits, '-', '_' and '.'";
            reader.fault(
                &name.span,
                format!("the shard name \"{}\" cannot be written in hints", name.value),
                help,
            );
        }
        if name.value.len() > SHARD_NAME_BYTES_MAX {
            let message = format!("the shard name is {} bytes long", name.value.len());
            reader.fault(&name.span, message, format!("at most {SHARD_NAME_BYTES_MAX} fit XA identifiers"));
        }
        names.claim(reader.document, "shard", name);
    }
    let tls = reader.table("tls").map_or_else(|| default_tls.clone(), |tls| read_tls(tls, around));
    let primary = match reader.value("primary") {
        Some(value) => read_server(&reader, "primary", value, &tls, around, servers),
        None => {
            reader.missing("primary", "primary = \"host:port\"");
            None
        }
    };
    let mut replicas = Vec::new();
    if let Some(list) = reader.value("replicas") {
        match list.get_ref().as_array() {
            Some(elements) => replicas.extend(
                elements
                    .iter()
                    .filter_map(|element| read_server(&reader, "replicas", element, &tls, around, servers)),
            ),
            None => reader.fault(&list.span(), "\"replicas\" is not a list", "write [\"host:port\", …]"),
        }
        if replicas.len() >= SERVERS_PER_SHARD_MAX {
            let help = format!("a shard has at most {SERVERS_PER_SHARD_MAX} servers");
            reader.fault(&list.span(), format!("{} replicas", replicas.len()), help);
        }
    }
    reader.finish();
    Some(MapShard { name: name?.value, primary: primary?, replicas })
}

/// `"host:port"` or `{ host = "…", port = 3306, tls = { … } }`.
fn read_server(
    reader: &Reader<'_>,
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    tls: &MapTls,
    around: Surroundings<'_>,
    servers: &mut Names,
) -> Option<MapServer> {
    let address = match value.get_ref() {
        DeValue::String(text) => At { value: text.to_string(), span: value.span() },
        DeValue::Table(_) => {
            return read_server_table(reader, key, value, tls, around, servers);
        }
        other => {
            let message = format!("a server that is of type {}", other.type_str());
            reader.fault(&value.span(), message, "write \"host:port\" or { host = \"…\", port = 3306 }");
            return None;
        }
    };
    let Some((host, port)) = parse_address(&address.value) else {
        let message = format!("\"{}\" is not the address of a server", address.value);
        reader.fault(&address.span, message, "write \"host:port\"");
        return None;
    };
    let server = MapServer { host, port, tls: tls.clone() };
    claim_server(reader.document, servers, &server, address.span).then_some(server)
}

fn read_server_table(
    reader: &Reader<'_>,
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    tls: &MapTls,
    around: Surroundings<'_>,
    servers: &mut Names,
) -> Option<MapServer> {
    let server = Reader::nested(reader.document, value, format!("a server of \"{key}\""))?;
    let host = server.text("host");
    if host.is_none() && server.has("host").is_none() {
        server.missing("host", "host = \"…\"");
    }
    let port = server.integer("port", 1..=u64::from(u16::MAX));
    let port = port.and_then(|port| u16::try_from(port.value).ok()).unwrap_or(MYSQL_PORT);
    let tls = server.table("tls").map_or_else(|| tls.clone(), |tls| read_tls(tls, around));
    server.finish();
    let host = host?;
    let server = MapServer { host: host.value, port, tls };
    claim_server(reader.document, servers, &server, host.span).then_some(server)
}

fn claim_server(document: &Document, servers: &mut Names, server: &MapServer, span: Range<usize>) -> bool {
    let name = At { value: server.to_string(), span };
    servers.claim_as(document, "server", &name, name.value.to_ascii_lowercase())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(super) fn parse_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |character: char| !character.is_whitespace() && !['/', '@', ','].contains(&character);
    let port = port.map_or(Some(MYSQL_PORT), |port| port.parse().ok().filter(|port| *port > 0))?;
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

/// `{ mode = "verify-identity", ca = "bundle.pem" }`; faults leave the strictest mode.
fn read_tls(reader: Reader<'_>, around: Surroundings<'_>) -> MapTls {
    let mode = reader.text("mode");
    if mode.is_none() && reader.has("mode").is_none() {
        reader.missing("mode", &format!("mode = one of {}", TLS_MODES.join(", ")));
    }
    let ca = reader.text("ca");
    let bundle = ca.as_ref().map(|ca| around.resolve(&ca.value));
    if let (Some(ca), Some(path)) = (&ca, &bundle) {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
        let problem = match certificates {
            Ok(certificates) if certificates.is_empty() => Some("no certificate in it".to_owned()),
            Ok(_) => None,
            Err(cause) => Some(cause.to_string()),
        };
        if let Some(problem) = problem {
            let message = format!("cannot read the CA bundle {}: {problem}", ca.value);
            reader.fault(&ca.span, message, "name a readable file of PEM certificates");
        }
    }
    let mode_text = mode.as_ref().map_or("verify-identity", |mode| mode.value.as_str());
    let tls = match mode_text {
        "disabled" => MapTls::Disabled,
        "preferred" => MapTls::Preferred,
        "required" => MapTls::Required,
        "verify-ca" => MapTls::VerifyCa { bundle },
        "verify-identity" => MapTls::VerifyIdentity { bundle },
        other => {
            let span = mode.as_ref().map(|mode| mode.span.clone()).unwrap_or_default();
            reader.fault(&span, format!("unknown TLS mode \"{other}\""), suggest(other, "mode", TLS_MODES));
            MapTls::VerifyIdentity { bundle }
        }
    };
    if let (Some(ca), MapTls::Disabled | MapTls::Preferred | MapTls::Required) = (&ca, &tls) {
        let message = format!("a CA bundle under mode \"{mode_text}\", which verifies nothing");
        reader.fault(&ca.span, message, "use mode \"verify-ca\" or \"verify-identity\", or remove \"ca\"");
    }
    reader.finish();
    tls
}

fn read_database(
    reader: Reader<'_>,
    names: &mut Names,
    schemes: &Names,
    shards: &Names,
) -> Option<MapDatabase> {
    let name = read_name(&reader, "name = \"shop\"");
    if let Some(name) = &name {
        names.claim_as(reader.document, "database", name, name.value.to_lowercase());
        let system = ["information_schema", "mysql", "performance_schema", "sys"];
        if system.contains(&name.value.to_lowercase().as_str()) {
            let message = format!("\"{}\" is a schema of the server itself", name.value);
            reader.fault(&name.span, message, "list databases of your own only");
        }
    }
    let default_shard = reader.text("default_shard");
    if let Some(shard) = &default_shard {
        check_shard(reader.document, shard, shards);
    }
    let mut tables = Vec::new();
    let mut table_names = Names::default();
    if let Some(listed) = reader.table("tables") {
        for (table, value) in listed.entries() {
            table_names.claim_as(reader.document, "table", &table, table.value.to_lowercase());
            if let Some(placement) = read_placement(&listed, &table, value, schemes, shards) {
                tables.push(MapTable { name: table.value, placement });
            }
        }
        if tables.len() > TABLES_PER_DATABASE_MAX {
            let help = format!("a database lists at most {TABLES_PER_DATABASE_MAX} tables");
            reader.fault(&listed.span, format!("{} tables", tables.len()), help);
        }
    }
    let functions = reader.texts("functions").unwrap_or_default();
    reader.finish();
    Some(MapDatabase {
        name: name?.value,
        default_shard: default_shard.map(|shard| shard.value),
        tables,
        functions: functions.into_iter().map(|function| function.value.to_lowercase()).collect(),
    })
}

/// `"reference"`, `{ shard = "s1" }` or `{ scheme = "…", shard_key = "…" }`.
fn read_placement(
    listed: &Reader<'_>,
    table: &At<String>,
    value: &Spanned<DeValue<'_>>,
    schemes: &Names,
    shards: &Names,
) -> Option<MapPlacement> {
    const FORMS: &str = "write { scheme = \"…\", shard_key = \"…\" }, \"reference\" or { shard = \"…\" }";
    match value.get_ref() {
        DeValue::String(word) if word == "reference" => return Some(MapPlacement::Reference),
        DeValue::Table(_) => {}
        DeValue::String(word) => {
            let message = format!("table \"{}\" is \"{word}\"", table.value);
            listed.fault(&value.span(), message, FORMS);
            return None;
        }
        other => {
            let message = format!("table \"{}\" is of type {}", table.value, other.type_str());
            listed.fault(&value.span(), message, FORMS);
            return None;
        }
    }
    let reader = Reader::nested(listed.document, value, format!("table \"{}\"", table.value))?;
    let (scheme, key, shard) = (reader.text("scheme"), reader.text("shard_key"), reader.text("shard"));
    let given = ["scheme", "shard_key", "shard"].map(|key| reader.has(key).is_some());
    if let Some(scheme) = scheme.as_ref().filter(|scheme| !schemes.contains(&scheme.value)) {
        let help = suggest(&scheme.value, "[[scheme]]", schemes.iter());
        reader.fault(
            &scheme.span,
            format!("table \"{}\" has the unknown scheme \"{}\"", table.value, scheme.value),
            help,
        );
    }
    if let Some(shard) = &shard {
        check_shard(reader.document, shard, shards);
    }
    match given {
        [true, true, false] | [false, false, true] => {}
        [true, false, false] => reader.missing("shard_key", "shard_key = \"the column that decides\""),
        [false, true, false] => reader.missing("scheme", "scheme = \"a [[scheme]] of this map\""),
        [_, _, true] => reader.fault(
            &reader.span,
            format!("table \"{}\" is both sharded and on a single shard", table.value),
            FORMS,
        ),
        [false, false, false] => {
            reader.fault(&reader.span, format!("table \"{}\" says nowhere where it is", table.value), FORMS);
        }
    }
    reader.finish();
    match (scheme, key, shard) {
        (Some(scheme), Some(key), None) => {
            Some(MapPlacement::Sharded { scheme: scheme.value, key: key.value })
        }
        (None, None, Some(shard)) => Some(MapPlacement::Single { shard: shard.value }),
        (Some(_), _, _) | (None, Some(_), _) | (None, None, None) => None,
    }
}
