//! What a reload changes, in sentences for the log and for the operator who asked.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::load::Loaded;
use super::map::{Map, MapDatabase, MapPart, MapPlacing, MapScheme, MapShard, print_points};
use super::settings::Settings;

/// Lines such as `shard s3 added`, `range 40-80 of by_customer moves from s1 to s2`, `pool.connections_max is now 50 (was
/// 100)`; settings that a running proxy cannot take say so. Empty when nothing changed. Never shows a secret.
pub(crate) fn difference(old: &Loaded, new: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    settings(&old.settings, &new.settings, &mut lines);
    map(&old.map, &new.map, &mut lines);
    lines
}

/// When a changed key takes effect.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    AtOnce,
    Restart,
}

fn settings(old: &Settings, new: &Settings, lines: &mut Vec<String>) {
    for ((key, takes, before), (_, _, after)) in keys(old).into_iter().zip(keys(new)) {
        if before != after {
            let when = if takes == Takes::Restart { "; applies after a restart" } else { "" };
            lines.push(format!("{key} is now {after} (was {before}){when}"));
        }
    }
    if old.control.credential.password != new.control.credential.password {
        lines.push("control.password changed".to_owned());
    }
    let named = |settings: &Settings| -> BTreeMap<String, std::sync::Arc<super::settings::User>> {
        settings.users.iter().map(|(name, user)| (name.clone(), user.clone())).collect()
    };
    changes("user", &named(old), &named(new), lines, |name, before, after, lines| {
        if before != after {
            lines.push(format!("user {name} changed"));
        }
    });
}

/// Every key of the settings but users, as it prints.
fn keys(settings: &Settings) -> Vec<(&'static str, Takes, String)> {
    use Takes::{AtOnce, Restart};
    fn print(value: impl Debug) -> String {
        format!("{value:?}")
    }
    let Settings { listen, tls, pool, limits, transactions, control, log, users: _, map, workers } = settings;
    vec![
        ("map", AtOnce, print(map)),
        ("workers", Restart, print(workers)),
        ("listen.mysql", Restart, print(listen.mysql)),
        ("listen.admin", Restart, print(listen.admin)),
        ("listen.http", Restart, print(listen.http)),
        ("listen.backlog", Restart, print(listen.backlog)),
        ("listen.proxy_protocol", AtOnce, print(&listen.proxy_protocol)),
        ("listen.compression", AtOnce, print(listen.compression)),
        ("tls.certificate", AtOnce, print(tls.as_ref().map(|tls| &tls.certificate))),
        ("tls.key", AtOnce, print(tls.as_ref().map(|tls| &tls.key))),
        ("tls.required", AtOnce, print(tls.as_ref().map(|tls| tls.required))),
        ("tls.client_certificates", AtOnce, print(tls.as_ref().map(|tls| &tls.client_certificates))),
        ("pool.idle_min", AtOnce, print(pool.idle_min)),
        ("pool.connections_max", AtOnce, print(pool.connections_max)),
        ("pool.server_connections_max", AtOnce, print(pool.server_connections_max)),
        ("pool.waiters_max", AtOnce, print(pool.waiters_max)),
        ("pool.connecting_max", AtOnce, print(pool.connecting_max)),
        ("pool.borrow_timeout", AtOnce, print(pool.borrow_timeout)),
        ("pool.connect_timeout", AtOnce, print(pool.connect_timeout)),
        ("pool.lifetime_max", AtOnce, print(pool.lifetime_max)),
        ("pool.idle_timeout", AtOnce, print(pool.idle_timeout)),
        ("pool.health_interval", AtOnce, print(pool.health_interval)),
        ("pool.prepared_max", AtOnce, print(pool.prepared_max)),
        ("pool.prepared_total_max", AtOnce, print(pool.prepared_total_max)),
        ("limits.clients_max", AtOnce, print(limits.clients_max)),
        ("limits.handshake_timeout", AtOnce, print(limits.handshake_timeout)),
        ("limits.idle_timeout", AtOnce, print(limits.idle_timeout)),
        ("limits.statement_timeout", AtOnce, print(limits.statement_timeout)),
        ("limits.packet_bytes_max", AtOnce, print(limits.packet_bytes_max)),
        ("limits.drain_timeout", AtOnce, print(limits.drain_timeout)),
        ("limits.failover_wait", AtOnce, print(limits.failover_wait)),
        ("limits.failover_waiters_max", AtOnce, print(limits.failover_waiters_max)),
        ("limits.replica_wait", AtOnce, print(limits.replica_wait)),
        ("limits.plans_max", Restart, print(limits.plans_max)),
        ("limits.scatter_shards_max", AtOnce, print(limits.scatter_shards_max)),
        ("limits.prepared_statements_max", AtOnce, print(limits.prepared_statements_max)),
        ("limits.merge_bytes_max", AtOnce, print(limits.merge_bytes_max)),
        ("limits.scratch_rows_max", AtOnce, print(limits.scratch_rows_max)),
        ("limits.scratch_bytes_max", AtOnce, print(limits.scratch_bytes_max)),
        ("transactions.mode", AtOnce, print(transactions.mode.name())),
        ("transactions.recover_after", AtOnce, print(transactions.recover_after)),
        ("transactions.idle_timeout", AtOnce, print(transactions.idle_timeout)),
        ("control.user", AtOnce, print(&control.credential.user)),
        ("control.probe_interval", AtOnce, print(control.probe_interval)),
        ("control.probe_timeout", AtOnce, print(control.probe_timeout)),
        ("control.schema_interval", AtOnce, print(control.schema_interval)),
        ("control.lag_max", AtOnce, print(control.lag_max)),
        ("control.slow_start", AtOnce, print(control.slow_start)),
        ("control.server_version", AtOnce, print(&control.server_version)),
        ("log.format", Restart, print(log.format)),
        ("log.filter", AtOnce, print(&log.filter)),
        ("log.slow_statement", AtOnce, print(log.slow_statement)),
        ("log.literals", AtOnce, print(log.literals)),
    ]
}

/// Calls `both` for what is in both maps and notes what came and went.
fn changes<T>(
    what: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    lines: &mut Vec<String>,
    mut both: impl FnMut(&str, &T, &T, &mut Vec<String>),
) {
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        lines.push(format!("{what} {name} removed"));
    }
    for (name, after) in new {
        match old.get(name) {
            Some(before) => both(name, before, after, lines),
            None => lines.push(format!("{what} {name} added")),
        }
    }
}

fn map(old: &Map, new: &Map, lines: &mut Vec<String>) {
    let same_meaning = old.content_hash() == new.content_hash();
    if old.version != new.version {
        lines.push(format!("map version is now {} (was {})", new.version, old.version));
    } else if !same_meaning {
        lines.push(format!("the map changed but its version is still {}: count it up", new.version));
    }
    let shards = |map: &Map| -> BTreeMap<String, MapShard> {
        map.shards.iter().map(|shard| (shard.name.clone(), shard.clone())).collect()
    };
    changes("shard", &shards(old), &shards(new), lines, shard);
    let schemes = |map: &Map| -> BTreeMap<String, MapScheme> {
        map.schemes.iter().map(|scheme| (scheme.name.clone(), scheme.clone())).collect()
    };
    changes("scheme", &schemes(old), &schemes(new), lines, scheme);
    let databases = |map: &Map| -> BTreeMap<String, MapDatabase> {
        map.databases.iter().map(|database| (database.name.clone(), database.clone())).collect()
    };
    changes("database", &databases(old), &databases(new), lines, database);
}

fn shard(name: &str, old: &MapShard, new: &MapShard, lines: &mut Vec<String>) {
    if old.primary.to_string() != new.primary.to_string() {
        lines.push(format!("primary of {name} is now {} (was {})", new.primary, old.primary));
    }
    let replicas = |shard: &MapShard| -> BTreeMap<String, String> {
        shard.replicas.iter().map(|server| (server.to_string(), server.tls.to_string())).collect()
    };
    let what = format!("replica of {name}:");
    changes(&what, &replicas(old), &replicas(new), lines, |server, before, after, lines| {
        if before != after {
            lines.push(format!("TLS to {server} is now {after} (was {before})"));
        }
    });
    if old.primary.to_string() == new.primary.to_string() && old.primary.tls != new.primary.tls {
        lines.push(format!("TLS to {} is now {} (was {})", new.primary, new.primary.tls, old.primary.tls));
    }
}

fn scheme(name: &str, old: &MapScheme, new: &MapScheme, lines: &mut Vec<String>) {
    if old.function != new.function {
        lines.push(format!("scheme {name} is now {} (was {})", new.function, old.function));
        return;
    }
    moves(name, &old.placings, &new.placings, lines);
    let others = |scheme: &MapScheme| -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        for placing in &scheme.placings {
            match &placing.part {
                MapPart::Points { .. } | MapPart::Buckets { .. } => {}
                MapPart::Keys { .. } => {
                    parts.insert(format!("range {}", placing.part), placing.shard.clone());
                }
                MapPart::Values(keys) => {
                    parts.extend(keys.iter().map(|key| (format!("value {key}"), placing.shard.clone())));
                }
            }
        }
        parts.extend(scheme.singles.iter().map(|(key, shard)| (format!("key {key}"), shard.clone())));
        parts
    };
    let (before, after) = (others(old), others(new));
    for (part, shard) in before.iter().filter(|(part, _)| !after.contains_key(*part)) {
        lines.push(format!("{part} of {name} removed (was on {shard})"));
    }
    for (part, shard) in &after {
        match before.get(part) {
            None => lines.push(format!("{part} of {name} added on {shard}")),
            Some(was) if was != shard => lines.push(format!("{part} of {name} moves from {was} to {shard}")),
            Some(_) => {}
        }
    }
}

/// Compares the owners of points and buckets piece by piece, so that a split of a range is told as what moves.
fn moves(scheme: &str, old: &[MapPlacing], new: &[MapPlacing], lines: &mut Vec<String>) {
    let pieces = |placings: &[MapPlacing]| -> Vec<(u64, u64, bool, String)> {
        let mut pieces: Vec<_> = placings
            .iter()
            .filter_map(|placing| match placing.part {
                MapPart::Points { first, last } => Some((first, last, true, placing.shard.clone())),
                MapPart::Buckets { first, last } => Some((first, last, false, placing.shard.clone())),
                MapPart::Keys { .. } | MapPart::Values(_) => None,
            })
            .collect();
        pieces.sort_unstable();
        pieces
    };
    let (old, new) = (pieces(old), pieces(new));
    let mut cuts: Vec<u64> = old.iter().chain(&new).map(|(first, ..)| *first).collect();
    cuts.extend(old.iter().chain(&new).filter_map(|(_, last, ..)| last.checked_add(1)));
    cuts.sort_unstable();
    cuts.dedup();
    let owner = |pieces: &[(u64, u64, bool, String)], point: u64| -> Option<String> {
        let after = pieces.partition_point(|(first, ..)| *first <= point);
        let (_, last, _, shard) = pieces.get(after.checked_sub(1)?)?;
        (point <= *last).then(|| shard.clone())
    };
    let points = old.iter().chain(&new).any(|(_, _, points, _)| *points);
    let print =
        |first: u64, last: u64| if points { print_points(first, last) } else { format!("{first}-{last}") };
    let mut told: Vec<(u64, u64, Option<String>, Option<String>)> = Vec::new();
    for (index, &first) in cuts.iter().enumerate() {
        let last = cuts.get(index + 1).map_or(u64::MAX, |next| next - 1);
        let (before, after) = (owner(&old, first), owner(&new, first));
        if before == after {
            continue;
        }
        match told.last_mut() {
            Some((_, end, was, is))
                if end.checked_add(1) == Some(first) && *was == before && *is == after =>
            {
                *end = last;
            }
            _ => told.push((first, last, before, after)),
        }
    }
    for (first, last, before, after) in told {
        let range = print(first, last);
        let change = match (before, after) {
            (Some(before), Some(after)) => format!("moves from {before} to {after}"),
            (None, Some(after)) => format!("added on {after}"),
            (Some(before), None) => format!("removed (was on {before})"),
            (None, None) => continue,
        };
        lines.push(format!("range {range} of {scheme} {change}"));
    }
}

fn database(name: &str, old: &MapDatabase, new: &MapDatabase, lines: &mut Vec<String>) {
    let shard = |shard: &Option<String>| shard.clone().unwrap_or_else(|| "none".to_owned());
    if old.default_shard != new.default_shard {
        let (before, after) = (shard(&old.default_shard), shard(&new.default_shard));
        lines.push(format!("default shard of {name} is now {after} (was {before})"));
    }
    let tables = |database: &MapDatabase| -> BTreeMap<String, String> {
        let tables = database.tables.iter();
        tables.map(|table| (format!("{name}.{}", table.name), table.placement.to_string())).collect()
    };
    changes("table", &tables(old), &tables(new), lines, |table, before, after, lines| {
        if before != after {
            lines.push(format!("table {table} is now {after} (was {before})"));
        }
    });
    let functions = |database: &MapDatabase| -> BTreeMap<String, ()> {
        database.functions.iter().map(|function| (format!("{name}.{function}"), ())).collect()
    };
    changes("function", &functions(old), &functions(new), lines, |_, (), (), _| {});
}
