//! What is known of the servers and of the map, as values: the read-only view for `admin` and `http`.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use crate::topology::{Epoch, MapVersion, Role, ServerName, ShardName};

/// One server as the last probe saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerStatus {
    pub(crate) shard: ShardName,
    pub(crate) server: ServerName,
    pub(crate) role: Role,
    pub(crate) reachable: bool,
    /// Until a server was reached it has none.
    pub(crate) version: Option<String>,
    /// The global one: how sessions read statements that have set none.
    pub(crate) sql_mode: Option<String>,
    /// Of a replica, as far as it could be measured.
    pub(crate) lag_seconds: Option<f64>,
    /// `None` when the last probe failed.
    pub(crate) read_only: Option<bool>,
    /// The GTIDs that it has, as it writes them.
    pub(crate) position: Option<String>,
    pub(crate) last_error: Option<String>,
    /// What it is for its shard now, and why, in words.
    pub(crate) standing: String,
    /// When `reachable` last changed; `None` before the first probe.
    pub(crate) since: Option<Instant>,
}

impl ServerStatus {
    /// But for lag and the text of errors, which change all the time.
    pub(super) fn differs_in_kind(&self, other: &ServerStatus) -> bool {
        let kind = |status: &ServerStatus| {
            (status.role, status.reachable, status.read_only, status.version.clone(), status.sql_mode.clone())
        };
        self.shard != other.shard || kind(self) != kind(other)
    }
}

/// The map that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapStatus {
    pub(crate) version: MapVersion,
    pub(crate) epoch: Epoch,
    pub(crate) content_hash: u64,
    pub(crate) loaded_at: SystemTime,
    pub(crate) file: PathBuf,
}

/// The lowest version among the servers seen, so that drivers use what every server has; `fallback` until one was seen.
pub(super) fn fleet_version(servers: &[ServerStatus], fallback: &str) -> String {
    let versions = servers.iter().filter_map(|server| server.version.as_deref());
    versions.min_by_key(|version| version_numbers(version)).unwrap_or(fallback).to_owned()
}

fn version_numbers(version: &str) -> Vec<u64> {
    version
        .split(|character: char| !character.is_ascii_digit())
        .take(3)
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_the_lowest_version_of_the_fleet() {
        let server = |version: Option<&str>| ServerStatus {
            shard: ShardName::from("s"),
            server: ServerName::from("h:1"),
            role: Role::Primary,
            reachable: true,
            version: version.map(str::to_owned),
            sql_mode: None,
            lag_seconds: None,
            read_only: None,
            position: None,
            last_error: None,
            standing: String::new(),
            since: None,
        };
        let fleet = [server(Some("8.4.10")), server(None), server(Some("8.4.9-log"))];
        assert_eq!(fleet_version(&fleet, "8.0.0"), "8.4.9-log");
        assert_eq!(fleet_version(&[server(None)], "8.0.0"), "8.0.0");
    }
}
