//! Probes of all servers at a fixed pace. A probe is a connection of its own, dropped on any error.

use std::sync::Arc;
use std::time::Instant;

use mysql_async::{Row, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::error::ControlError;
use super::status::ServerStatus;
use crate::config::{ControlSettings, Settings};
use crate::topology::{Role, Server, ShardName, TopologyHandle};

/// Probes under way at once.
const PROBES_AT_ONCE: usize = 64;

/// What one probe saw.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Probe {
    pub(super) version: String,
    pub(super) sql_mode: String,
    pub(super) read_only: bool,
    pub(super) lag_seconds: Option<f64>,
}

/// Probes until the token is cancelled; what it sees goes to `status`.
pub(super) async fn run(
    token: CancellationToken,
    topology: TopologyHandle,
    settings: watch::Receiver<Arc<Settings>>,
    status: watch::Sender<Arc<[ServerStatus]>>,
) {
    loop {
        let control = settings.borrow().control.clone();
        let started = tokio::time::Instant::now();
        let round = probe_all(&topology, &control, &status);
        tokio::select! {
            () = round => {}
            () = token.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep_until(started + control.probe_interval) => {}
            () = token.cancelled() => return,
        }
    }
}

async fn probe_all(
    topology: &TopologyHandle,
    settings: &ControlSettings,
    status: &watch::Sender<Arc<[ServerStatus]>>,
) {
    let snapshot = topology.load();
    let servers: Vec<(ShardName, Role, Server)> = snapshot
        .shards
        .iter()
        .flat_map(|shard| shard.servers().map(|(role, server)| (shard.name.clone(), role, server.clone())))
        .collect();
    let before = Arc::clone(&status.borrow());
    let mut now: Vec<ServerStatus> = Vec::with_capacity(servers.len());
    for part in servers.chunks(PROBES_AT_ONCE) {
        let mut running = JoinSet::new();
        for (shard, role, server) in part.iter().cloned() {
            let settings = settings.clone();
            running.spawn(async move {
                let seen = probe(&server, role, &settings).await;
                (shard, role, server, seen)
            });
        }
        while let Some(finished) = running.join_next().await {
            match finished {
                Ok((shard, role, server, seen)) => {
                    let earlier = before.iter().find(|earlier| earlier.server == server.name);
                    now.push(merge(shard, role, &server, seen, earlier));
                }
                Err(error) => tracing::error!(%error, "a probe ended early"),
            }
        }
    }
    // In the order of the map.
    now.sort_by_key(|status| servers.iter().position(|(_, _, server)| server.name == status.server));
    status.send_replace(now.into());
}

/// The new status of a server, told in the log when it differs from the earlier one.
fn merge(
    shard: ShardName,
    role: Role,
    server: &Server,
    seen: Result<Probe, ControlError>,
    earlier: Option<&ServerStatus>,
) -> ServerStatus {
    let reachable = seen.is_ok();
    let changed = earlier.is_none_or(|earlier| earlier.since.is_none() || earlier.reachable != reachable);
    let since = if changed { Some(Instant::now()) } else { earlier.and_then(|earlier| earlier.since) };
    match &seen {
        Ok(probe) if changed => {
            tracing::info!(server = %server.name, %shard, version = probe.version, "server is reachable");
        }
        Ok(probe) if role == Role::Primary && probe.read_only => {
            tracing::debug!(server = %server.name, %shard, "the primary is read only");
        }
        Ok(_) => {}
        Err(error) if changed => {
            tracing::warn!(server = %server.name, %shard, %error, "server is not reachable")
        }
        // It was told when the server was lost.
        Err(_) => {}
    }
    let (probe, last_error) = match seen {
        Ok(probe) => (Some(probe), earlier.and_then(|earlier| earlier.last_error.clone())),
        Err(error) => (None, Some(error.to_string())),
    };
    let version = probe.as_ref().map(|probe| probe.version.clone());
    let sql_mode = probe.as_ref().map(|probe| probe.sql_mode.clone());
    ServerStatus {
        shard,
        server: server.name.clone(),
        role,
        reachable,
        version: version.or_else(|| earlier.and_then(|earlier| earlier.version.clone())),
        sql_mode: sql_mode.or_else(|| earlier.and_then(|earlier| earlier.sql_mode.clone())),
        lag_seconds: probe.as_ref().and_then(|probe| probe.lag_seconds),
        last_error,
        since,
    }
}

/// Asks one server for its version, whether it is read only and, of a replica, how far it is behind.
pub(super) async fn probe(
    server: &Server,
    role: Role,
    settings: &ControlSettings,
) -> Result<Probe, ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    let question = "SELECT VERSION(), @@GLOBAL.sql_mode, CAST(@@GLOBAL.read_only AS CHAR), CAST(@@GLOBAL.innodb_read_only AS CHAR)";
    let (version, sql_mode, read_only, engine): (String, String, Option<String>, Option<String>) =
        client.row("tell its version", question.to_owned()).await?;
    let on = |value: Option<String>| !matches!(value.as_deref(), None | Some("0" | "OFF"));
    let read_only = on(read_only) || on(engine);
    let lag_seconds = match role {
        Role::Primary => None,
        Role::Replica => replication_lag(&mut client).await,
    };
    client.close().await;
    Ok(Probe { version, sql_mode, read_only, lag_seconds })
}

/// `None` when the server does not replicate, the replication is broken or the account may not see it.
async fn replication_lag(client: &mut Client) -> Option<f64> {
    // The first form is MySQL 8.0.22's and MariaDB 10.5's; older servers know the second only.
    for question in ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"] {
        match client.rows::<Row>("tell its replication lag", question.to_owned()).await {
            // Several sources: the replica is as old as its slowest.
            Ok(rows) => {
                return rows.iter().map(lag_of).collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max);
            }
            Err(error) if error.is_refusal() => {}
            Err(_) => return None,
        }
    }
    None
}

fn lag_of(row: &Row) -> Option<f64> {
    let columns = row.columns_ref();
    let index = columns.iter().position(|column| {
        ["Seconds_Behind_Source", "Seconds_Behind_Master"].contains(&&*column.name_str())
    })?;
    match row.as_ref(index)? {
        Value::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Value::Int(seconds) => u32::try_from(*seconds).ok().map(f64::from),
        Value::UInt(seconds) => u32::try_from(*seconds).ok().map(f64::from),
        _ => None,
    }
}
