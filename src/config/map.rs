//! The shard map as validated values: names, not ids. `topology` is built from it. Knows no TOML.

use std::fmt;
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

/// How many shards a map may have.
pub(crate) const SHARDS_MAX: usize = 1024;
/// How many servers a shard may have, the primary with them.
pub(crate) const SERVERS_PER_SHARD_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) version: u64,
    pub(crate) shards: Vec<MapShard>,
    pub(crate) schemes: Vec<MapScheme>,
    pub(crate) databases: Vec<MapDatabase>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapShard {
    pub(crate) name: String,
    pub(crate) primary: MapServer,
    pub(crate) replicas: Vec<MapServer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: MapTls,
}

impl fmt::Display for MapServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(out, "[{}]:{}", self.host, self.port);
        }
        write!(out, "{}:{}", self.host, self.port)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapTls {
    Disabled,
    Preferred,
    Required,
    VerifyCa { bundle: Option<PathBuf> },
    VerifyIdentity { bundle: Option<PathBuf> },
}

impl fmt::Display for MapTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bundle) = match self {
            MapTls::Disabled => ("disabled", None),
            MapTls::Preferred => ("preferred", None),
            MapTls::Required => ("required", None),
            MapTls::VerifyCa { bundle } => ("verify-ca", bundle.as_ref()),
            MapTls::VerifyIdentity { bundle } => ("verify-identity", bundle.as_ref()),
        };
        out.write_str(word)?;
        match bundle {
            Some(bundle) => write!(out, " {}", bundle.display()),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapScheme {
    pub(crate) name: String,
    pub(crate) function: MapFunction,
    pub(crate) placings: Vec<MapPlacing>,
    pub(crate) singles: Vec<(MapKey, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapFunction {
    Xxhash,
    Mod { buckets: u64 },
    Md5Mod { buckets: u64 },
    Crc32Mod { buckets: u64 },
    Range,
    List,
}

impl MapFunction {
    /// The words of the file.
    pub(crate) const NAMES: [&str; 6] = ["xxhash", "mod", "md5_mod", "crc32_mod", "range", "list"];
}

impl fmt::Display for MapFunction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapFunction::Xxhash => out.write_str("xxhash"),
            MapFunction::Mod { buckets } => write!(out, "mod {buckets}"),
            MapFunction::Md5Mod { buckets } => write!(out, "md5_mod {buckets}"),
            MapFunction::Crc32Mod { buckets } => write!(out, "crc32_mod {buckets}"),
            MapFunction::Range => out.write_str("range"),
            MapFunction::List => out.write_str("list"),
        }
    }
}

/// A key that the map spells out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MapKey {
    Integer(i128),
    Text(String),
    Binary(Vec<u8>),
}

impl fmt::Display for MapKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapKey::Integer(number) => write!(out, "{number}"),
            MapKey::Text(text) => write!(out, "{text:?}"),
            MapKey::Binary(bytes) => {
                out.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }
    }
}

/// One owner of a part of the key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapPlacing {
    pub(crate) part: MapPart,
    pub(crate) shard: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapPart {
    /// Points `first..=last` of the 64-bit key space, written as hexadecimal prefixes.
    Points {
        first: u64,
        last: u64,
    },
    /// Buckets `first..=last`.
    Buckets {
        first: u64,
        last: u64,
    },
    Keys {
        from: Option<MapKey>,
        to: Option<MapKey>,
    },
    Values(Vec<MapKey>),
}

impl fmt::Display for MapPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapPart::Points { first, last } => out.write_str(&print_points(*first, *last)),
            MapPart::Buckets { first, last } => write!(out, "{first}-{last}"),
            MapPart::Keys { from, to } => {
                let end = |key: &Option<MapKey>| key.as_ref().map_or_else(String::new, MapKey::to_string);
                write!(out, "{}..{}", end(from), end(to))
            }
            MapPart::Values(keys) => {
                let keys: Vec<String> = keys.iter().map(MapKey::to_string).collect();
                out.write_str(&keys.join(","))
            }
        }
    }
}

/// `40-80` for the points 0x4000000000000000 up to, not including, 0x8000000000000000. `None` when it is not a range.
pub(crate) fn parse_points(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.split_once('-')?;
    let first = if from.is_empty() { 0 } else { parse_prefix(from)? };
    let last = if to.is_empty() { u64::MAX } else { parse_prefix(to)?.checked_sub(1)? };
    (first <= last).then_some((first, last))
}

fn parse_prefix(digits: &str) -> Option<u64> {
    let plain = (1..=16).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(&format!("{digits:0<16}"), 16).ok())?
}

/// The shortest form that [`parse_points`] reads back, of whole bytes.
pub(crate) fn print_points(first: u64, last: u64) -> String {
    let prefix = |point: u64| {
        let digits = format!("{point:016x}");
        let trimmed = digits.trim_end_matches('0').len().next_multiple_of(2).max(2);
        digits[..trimmed].to_owned()
    };
    let from = if first == 0 { String::new() } else { prefix(first) };
    let to = last.checked_add(1).map_or_else(String::new, prefix);
    format!("{from}-{to}")
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapDatabase {
    pub(crate) name: String,
    pub(crate) default_shard: Option<String>,
    pub(crate) tables: Vec<MapTable>,
    /// Stored or loaded functions that read no tables, in lower case.
    pub(crate) functions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapTable {
    pub(crate) name: String,
    pub(crate) placement: MapPlacement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapPlacement {
    Sharded { scheme: String, key: String },
    Reference,
    Single { shard: String },
}

impl fmt::Display for MapPlacement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapPlacement::Sharded { scheme, key } => write!(out, "sharded {scheme} {key}"),
            MapPlacement::Reference => out.write_str("reference"),
            MapPlacement::Single { shard } => write!(out, "single {shard}"),
        }
    }
}

impl Map {
    /// Of what the map means, without its version, comments and the order of its parts. Proxies with equal hashes route
    /// alike.
    pub(crate) fn content_hash(&self) -> u64 {
        let mut lines: Vec<String> = Vec::new();
        for shard in &self.shards {
            lines.push(format!("shard {:?}", shard.name));
            let servers = std::iter::once(("primary", &shard.primary))
                .chain(shard.replicas.iter().map(|replica| ("replica", replica)));
            lines.extend(
                servers.map(|(role, server)| format!("{role} {:?} {server} {}", shard.name, server.tls)),
            );
        }
        for scheme in &self.schemes {
            lines.push(format!("scheme {:?} {}", scheme.name, scheme.function));
            let parts = scheme.placings.iter();
            lines.extend(
                parts.map(|placing| format!("part {:?} {} {:?}", scheme.name, placing.part, placing.shard)),
            );
            let singles = scheme.singles.iter();
            lines.extend(singles.map(|(key, shard)| format!("key {:?} {key} {shard:?}", scheme.name)));
        }
        for database in &self.databases {
            lines.push(format!("database {:?} {:?}", database.name, database.default_shard));
            let tables = database.tables.iter();
            lines.extend(tables.map(|table| {
                format!("table {:?} {:?} {}", database.name, table.name.to_lowercase(), table.placement)
            }));
            let functions = database.functions.iter();
            lines.extend(functions.map(|function| format!("function {:?} {function:?}", database.name)));
        }
        lines.sort_unstable();
        xxh3_64(lines.join("\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_left_aligned_hexadecimal_prefixes() {
        assert_eq!(parse_points("-"), Some((0, u64::MAX)));
        assert_eq!(parse_points("-40"), Some((0, 0x3fff_ffff_ffff_ffff)));
        assert_eq!(parse_points("40-80"), Some((0x4000_0000_0000_0000, 0x7fff_ffff_ffff_ffff)));
        assert_eq!(parse_points("ff80-"), Some((0xff80_0000_0000_0000, u64::MAX)));
        for wrong in ["", "40", "80-40", "40-40", "-00", "g-", "+4-", "-12345678901234567", "4-8-c"] {
            assert_eq!(parse_points(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn points_print_as_they_are_written() {
        for text in ["-", "-40", "40-80", "80-", "ff80-ff8080", "-0001"] {
            let (first, last) = parse_points(text).unwrap();
            assert_eq!(print_points(first, last), text);
        }
    }
}
