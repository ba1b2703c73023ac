//! What SHOW answers: states to rows. Times are given as seconds since, so that no clock zone matters.

use std::time::{Instant, SystemTime};

use super::command::STATEMENTS;
use crate::backend::PoolStatus;
use crate::config::print_points;
use crate::control::{InDoubt, MapStatus, ServerStatus};
use crate::error::CATALOGUE;
use crate::session::{Answer, SessionStatus};
use crate::topology::{Key, KeyFunction, Placement, Placing, Role, Scheme, ShardId, Topology};

type Row = Vec<Option<String>>;

pub(crate) fn shards(topology: &Topology, servers: &[ServerStatus]) -> Answer {
    let rows = topology.shards.iter().map(|shard| {
        let primary = servers.iter().find(|status| status.server == shard.primary.name);
        let state = primary.map_or("unknown", state_word);
        let replicas: Vec<&str> = shard.replicas.iter().map(|server| &*server.name.0).collect();
        let schemes: Vec<&str> = topology
            .schemes
            .iter()
            .filter(|scheme| scheme.shards.contains(shard.id))
            .map(|scheme| scheme.name.as_str())
            .collect();
        vec![
            text(&shard.name),
            text(&shard.primary.name),
            text(state),
            some_if(!replicas.is_empty(), replicas.join(", ")),
            some_if(!schemes.is_empty(), schemes.join(", ")),
        ]
    });
    table(&["shard", "primary", "state", "replicas", "schemes"], rows)
}

pub(crate) fn servers(servers: &[ServerStatus]) -> Answer {
    let rows = servers.iter().map(|status| {
        vec![
            text(&status.shard),
            text(&status.server),
            text(role_word(status.role)),
            text(state_word(status)),
            status.version.clone(),
            status.lag_seconds.map(|lag| format!("{lag:.3}")),
            status.since.map(seconds_since),
            status.last_error.clone(),
            text(&status.standing),
            status.position.clone(),
        ]
    });
    table(
        &[
            "shard",
            "server",
            "role",
            "state",
            "version",
            "lag_seconds",
            "state_seconds",
            "last_error",
            "standing",
            "position",
        ],
        rows,
    )
}

pub(crate) fn transactions(branches: &[InDoubt]) -> Answer {
    let rows = branches.iter().map(|branch| {
        vec![
            text(&branch.id),
            text(&branch.shard),
            text(&branch.decider),
            text(format!("{:.3}", branch.age.as_secs_f64())),
            branch.last_error.clone(),
        ]
    });
    table(&["transaction", "shard", "decided_on", "prepared_seconds", "last_error"], rows)
}

pub(crate) fn pools(pools: &[PoolStatus]) -> Answer {
    let rows = pools.iter().map(|pool| {
        vec![
            text(&pool.server),
            text(&pool.user),
            text(u8::from(pool.flavor.found_rows)),
            text(u8::from(pool.flavor.deprecate_eof)),
            text(u8::from(pool.flavor.multi_results)),
            text(pool.lent),
            text(pool.idle),
            text(pool.connecting),
            text(pool.mending),
            text(pool.waiting),
            text(pool.max),
            text(pool.connects),
            text(pool.failures),
            pool.last_error.clone(),
        ]
    });
    table(
        &[
            "server",
            "user",
            "found_rows",
            "deprecate_eof",
            "multi_results",
            "lent",
            "idle",
            "connecting",
            "mending",
            "waiting",
            "max",
            "connects",
            "failures",
            "last_error",
        ],
        rows,
    )
}

pub(crate) fn sessions(sessions: &[SessionStatus]) -> Answer {
    let rows = sessions.iter().map(|session| {
        let activity = &session.activity;
        vec![
            text(session.id),
            text(&activity.user),
            text(session.peer),
            activity.database.clone(),
            activity.program.clone(),
            text(session.age.as_secs()),
            activity.transaction.clone(),
            activity.pins.first().map(|pin| format!("{}: {}", pin.shard, pin.reason)),
            activity.statement.as_ref().map(|(_, began)| seconds_since(*began)),
            activity.statement.as_ref().map(|(statement, _)| statement.clone()),
        ]
    });
    table(
        &[
            "id",
            "user",
            "client",
            "database",
            "program",
            "age_seconds",
            "transaction",
            "pin",
            "statement_seconds",
            "statement",
        ],
        rows,
    )
}

pub(crate) fn pins(sessions: &[SessionStatus]) -> Answer {
    let rows = sessions.iter().flat_map(|session| {
        session.activity.pins.iter().map(|pin| {
            vec![
                text(session.id),
                text(&session.activity.user),
                text(&pin.shard),
                text(pin.reason),
                text(&pin.digest),
                text(seconds_since(pin.since)),
            ]
        })
    });
    table(&["session", "user", "shard", "reason", "digest", "age_seconds"], rows)
}

pub(crate) fn map(topology: &Topology, map: &MapStatus) -> Answer {
    let age = SystemTime::now().duration_since(map.loaded_at).unwrap_or_default();
    let mut rows = vec![
        vec![text("version"), text(topology.version)],
        vec![text("epoch"), text(topology.epoch)],
        vec![text("content_hash"), text(format_args!("{:016x}", topology.content_hash))],
        vec![text("file"), text(map.file.display())],
        vec![text("loaded_seconds_ago"), text(age.as_secs())],
        vec![text("shards"), text(topology.shards.len())],
    ];
    for scheme in &topology.schemes {
        rows.extend(scheme_rows(scheme, topology));
    }
    for database in &topology.databases {
        let rest = database
            .default_shard
            .map_or("refused".to_owned(), |shard| format!("on {}", topology.shard(shard).name));
        rows.push(vec![
            text(format_args!("database {}", database.name)),
            text(format_args!("other tables {rest}")),
        ]);
        let mut tables: Vec<_> = database.tables.values().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        for table in tables {
            let placement = match &table.placement {
                Placement::Sharded { scheme, key } => {
                    format!("sharded by {key} with {}", topology.scheme(*scheme).name)
                }
                Placement::Reference => "reference, on every shard".to_owned(),
                Placement::Single { shard } => format!("single, on {}", topology.shard(*shard).name),
            };
            rows.push(vec![text(format_args!("table {}.{}", database.name, table.name)), Some(placement)]);
        }
    }
    table(&["item", "value"], rows)
}

fn scheme_rows(scheme: &Scheme, topology: &Topology) -> Vec<Row> {
    let function = match scheme.function {
        KeyFunction::Xxhash => "xxhash".to_owned(),
        KeyFunction::Mod { buckets } => format!("mod {buckets}"),
        KeyFunction::Md5Mod { buckets } => format!("md5_mod {buckets}"),
        KeyFunction::Crc32Mod { buckets } => format!("crc32_mod {buckets}"),
        KeyFunction::Range => "range".to_owned(),
        KeyFunction::List => "list".to_owned(),
    };
    let line = |item: &str, part: String, shard: ShardId| {
        vec![
            text(format_args!("{item} of {}", scheme.name)),
            text(format_args!("{part} on {}", topology.shard(shard).name)),
        ]
    };
    let mut rows = vec![vec![text(format_args!("scheme {}", scheme.name)), Some(function)]];
    rows.extend(scheme.placings.iter().map(|placing| match placing {
        Placing::Points { first, last, shard } if scheme.function == KeyFunction::Xxhash => {
            line("range", print_points(*first, *last), *shard)
        }
        Placing::Points { first, last, shard } => line("buckets", format!("{first}-{last}"), *shard),
        Placing::Keys { from, to, shard } => {
            let end = |key: &Option<Key>, open: &str| key.as_ref().map_or(open.to_owned(), key_text);
            line("range", format!("{} to below {}", end(from, "the least"), end(to, "the end")), *shard)
        }
        Placing::Values { keys, shard } => {
            line("values", keys.iter().map(key_text).collect::<Vec<_>>().join(", "), *shard)
        }
    }));
    rows.extend(scheme.singles.iter().map(|(key, shard)| line("key", key_text(key), *shard)));
    rows
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Integer(number) => number.to_string(),
        Key::Bytes { raw, .. } => format!("'{}'", String::from_utf8_lossy(raw)),
    }
}

pub(crate) fn errors() -> Answer {
    let rows = CATALOGUE.iter().map(|entry| {
        vec![text(entry.id), text(entry.code), text(entry.sqlstate), text(entry.title), text(entry.help)]
    });
    table(&["id", "code", "sqlstate", "error", "help"], rows)
}

pub(crate) fn help() -> Answer {
    table(&["statement", "effect"], STATEMENTS.iter().map(|(name, effect)| vec![text(name), text(effect)]))
}

/// A table of pairs.
pub(crate) fn pairs(columns: [&'static str; 2], pairs: Vec<(String, String)>) -> Answer {
    table(&columns, pairs.into_iter().map(|(name, value)| vec![Some(name), Some(value)]))
}

/// Keeps the rows that have a value that matches.
pub(crate) fn keep_like(answer: Answer, pattern: Option<&str>) -> Answer {
    match (answer, pattern) {
        (Answer::Table { columns, mut rows }, Some(pattern)) => {
            rows.retain(|row| row.iter().flatten().any(|value| super::command::like(pattern, value)));
            Answer::Table { columns, rows }
        }
        (answer, _) => answer,
    }
}

fn table(columns: &[&'static str], rows: impl IntoIterator<Item = Row>) -> Answer {
    Answer::Table { columns: columns.to_vec(), rows: rows.into_iter().collect() }
}

fn text(value: impl std::fmt::Display) -> Option<String> {
    Some(value.to_string())
}

fn some_if(there: bool, value: String) -> Option<String> {
    there.then_some(value)
}

fn seconds_since(instant: Instant) -> String {
    format!("{:.1}", instant.elapsed().as_secs_f64())
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    }
}

fn state_word(status: &ServerStatus) -> &'static str {
    match (status.reachable, status.since) {
        (true, _) => "up",
        (false, Some(_)) => "down",
        (false, None) => "unknown",
    }
}
