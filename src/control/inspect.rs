//! A map against its servers, once, for `shardway check --connect`: can everybody log in, are the tables where the map says,
//! do their key columns fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::Client;
use super::collation::Collations;
use super::{probe, rights, schema};
use crate::config::{Credential, Loaded, TransactionMode};
use crate::topology::{Columns, Database, Placement, Role, Table, Topology};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) logins: Vec<ServerLogin>,
    pub(crate) tables: Vec<TableCheck>,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerLogin {
    pub(crate) shard: String,
    pub(crate) server: String,
    pub(crate) role: Role,
    /// The account on the server.
    pub(crate) user: String,
    /// What the server said of itself, or why the login failed.
    pub(crate) outcome: Result<String, String>,
}

/// One table of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableCheck {
    pub(crate) table: String,
    pub(crate) placement: String,
    /// The key column and its type.
    pub(crate) key: String,
    pub(crate) columns: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Statements will fail or be refused.
    Fault(String),
    /// Works, but somebody should know.
    Warning(String),
}

pub(crate) async fn inspect(loaded: &Loaded) -> Inspection {
    let mut inspection = Inspection::default();
    let base = Topology::build(&loaded.map);
    log_in_everywhere(loaded, &base, &mut inspection).await;
    let collations = Arc::new(Collations::default());
    let control = &loaded.settings.control;
    let reading = schema::read(&base, &Columns::default(), control, &collations).await;
    for (shard, error) in &reading.failures {
        let shard = &base.shard(*shard).name;
        inspection.findings.push(Finding::Fault(format!("shard {shard}: {error}")));
    }
    inspection.findings.extend(reading.differences.into_iter().map(Finding::Fault));
    let (topology, problems) = base.with_columns(&reading.columns);
    inspection.findings.extend(problems.into_iter().map(Finding::Fault));
    for database in &topology.databases {
        let mut tables: Vec<&Table> = database.tables.values().collect();
        tables.sort_by(|left, right| left.name.cmp(&right.name));
        for table in tables {
            check_table(&topology, database, table, &reading.columns, &mut inspection);
        }
    }
    inspection
}

async fn log_in_everywhere(loaded: &Loaded, base: &Topology, inspection: &mut Inspection) {
    let control = &loaded.settings.control;
    let joint = base.shards.len() > 1 && loaded.settings.transactions.mode == TransactionMode::Atomic;
    let accounts: BTreeMap<&str, &Arc<Credential>> =
        loaded.settings.users.values().map(|user| (user.name.as_str(), &user.server)).collect();
    for shard in &base.shards {
        for (role, server) in shard.servers() {
            let login = |user: &str, outcome| ServerLogin {
                shard: shard.name.to_string(),
                server: server.name.to_string(),
                role,
                user: user.to_owned(),
                outcome,
            };
            let probe = probe::probe(server, control).await;
            let reachable = probe.is_ok();
            if let Ok(probe) = &probe {
                let warning = match role {
                    Role::Primary if probe.read_only || probe.shared_storage => {
                        Some(format!("{} is the primary of {} and is read only", server.name, shard.name))
                    }
                    Role::Replica if !probe.read_only && !probe.shared_storage => {
                        Some(format!("{} is a replica of {} and takes writes", server.name, shard.name))
                    }
                    Role::Replica if probe.lag_seconds().is_none() => Some(format!(
                        "the replication lag of {} is not known: it does not replicate, or the account {} lacks \
                         REPLICATION CLIENT",
                        server.name, control.credential.user
                    )),
                    Role::Primary | Role::Replica => None,
                };
                inspection.findings.extend(warning.map(Finding::Warning));
            }
            let outcome = probe.map(|probe| describe(&probe)).map_err(|error| error.to_string());
            inspection.logins.push(login(&control.credential.user, outcome));
            if joint
                && role == Role::Primary
                && reachable
                && let Ok(mut client) =
                    Client::connect(server, &control.credential, control.probe_timeout).await
            {
                let found = rights::of_control(&mut client, server, &control.credential).await;
                inspection.findings.extend(found);
                client.close().await;
            }
            // Other accounts would only say the same of a server that is not there.
            let mut tried: Vec<&Credential> = vec![&control.credential];
            for credential in accounts.values().filter(|_| reachable) {
                if tried.contains(&&***credential) {
                    continue;
                }
                tried.push(credential);
                let outcome = match Client::connect(server, credential, control.probe_timeout).await {
                    Ok(mut client) => {
                        if joint && role == Role::Primary {
                            inspection
                                .findings
                                .extend(rights::of_user(&mut client, server, credential).await);
                        }
                        client.close().await;
                        Ok("logged in".to_owned())
                    }
                    Err(error) => Err(error.to_string()),
                };
                inspection.logins.push(login(&credential.user, outcome));
            }
        }
    }
    let failed = inspection.logins.iter().filter_map(|login| {
        let error = login.outcome.as_ref().err()?;
        Some(Finding::Fault(format!("{} as {}: {error}", login.server, login.user)))
    });
    let failed: Vec<Finding> = failed.collect();
    inspection.findings.extend(failed);
}

fn describe(probe: &probe::Probe) -> String {
    let mode = if probe.read_only || probe.shared_storage { ", read only" } else { "" };
    let lag = probe.lag_seconds().map_or_else(String::new, |lag| format!(", {lag:.0} s behind"));
    format!("{}{mode}{lag}", probe.version)
}

fn check_table(
    topology: &Topology,
    database: &Database,
    table: &Table,
    read: &Columns,
    inspection: &mut Inspection,
) {
    let name = format!("{}.{}", database.name, table.name);
    let columns = read.tables.get(&(database.name.to_lowercase(), table.name.to_lowercase()));
    let (placement, key) = match &table.placement {
        Placement::Reference => ("reference".to_owned(), String::new()),
        Placement::Single { shard } => (format!("on {}", topology.shard(*shard).name), String::new()),
        Placement::Sharded { scheme, key } => {
            let scheme = topology.scheme(*scheme);
            let column = columns
                .and_then(|columns| columns.iter().find(|column| column.name.eq_ignore_ascii_case(key)));
            let mut warn = |text: String| inspection.findings.push(Finding::Warning(text));
            let mut others = columns.iter().flat_map(|columns| columns.iter());
            if let Some(numbered) =
                others.find(|column| column.auto_increment && !column.name.eq_ignore_ascii_case(key))
            {
                warn(format!(
                    "table {name}: each shard numbers {} for itself, so numbers repeat unless the servers count in steps \
                     (auto_increment_increment, auto_increment_offset)",
                    numbered.name
                ));
            }
            if let Some(column) = column {
                if column.nullable {
                    warn(format!(
                        "table {name}: the shard key {key} may be NULL, and rows without a key are refused"
                    ));
                }
                if scheme.accepts(&column.kind).is_ok() && !scheme.equal_keys_share_a_shard(&column.kind) {
                    warn(format!(
                        "table {name}: {} reads the text of {key} as written, but {} holds different texts for equal, so \
                         a statement with {key} = … has to ask all shards",
                        scheme.function.name(),
                        column.kind
                    ));
                }
            }
            let key = column.map_or_else(|| key.clone(), |column| format!("{key}: {}", column.kind));
            (format!("{} ({})", scheme.name, scheme.function.name()), key)
        }
    };
    inspection.tables.push(TableCheck {
        table: name,
        placement,
        key,
        columns: columns.map(|columns| columns.len()),
    });
}
