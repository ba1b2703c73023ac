//! What one server says of itself when it is asked, over a connection of its own.

use std::sync::Arc;

use mysql_async::{Row, Value};

use super::client::Client;
use super::election::Replication;
use super::error::ControlError;
use crate::config::ControlSettings;
use crate::topology::Server;
use crate::wire::is_mariadb;

/// What one probe saw.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Probe {
    pub(super) version: String,
    pub(super) sql_mode: String,
    /// Of the process behind the name.
    pub(super) identity: Arc<str>,
    pub(super) read_only: bool,
    pub(super) shared_storage: bool,
    pub(super) replication: Replication,
    /// The GTIDs that it has, as it writes them; `None` where it keeps none.
    pub(super) position: Option<String>,
}

impl Probe {
    pub(super) fn lag_seconds(&self) -> Option<f64> {
        match self.replication {
            Replication::Follows { lag_seconds, .. } => lag_seconds,
            Replication::None | Replication::Hidden => None,
        }
    }
}

/// Asks one server for its version, its role, its position and whether it replicates. Not bounded in time as a whole.
pub(super) async fn probe(server: &Server, settings: &ControlSettings) -> Result<Probe, ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    let question = "SELECT VERSION(), @@GLOBAL.sql_mode, CAST(@@GLOBAL.read_only AS CHAR), \
                    CAST(@@GLOBAL.innodb_read_only AS CHAR), \
                    CONCAT_WS(':', @@GLOBAL.hostname, @@GLOBAL.port, @@GLOBAL.server_id)";
    type Told = (String, String, Option<String>, Option<String>, Option<String>);
    let (version, sql_mode, read_only, engine, identity): Told =
        client.row("tell its version", question.to_owned()).await?;
    let on = |value: Option<String>| !matches!(value.as_deref(), None | Some("0" | "OFF"));
    let maria = is_mariadb(&version);
    let replication = replication(&mut client, maria).await?;
    let position = position(&mut client, maria).await;
    client.close().await;
    Ok(Probe {
        version,
        sql_mode,
        identity: identity.unwrap_or_default().into(),
        read_only: on(read_only),
        shared_storage: on(engine),
        replication,
        position,
    })
}

async fn position(client: &mut Client, maria: bool) -> Option<String> {
    let question = if maria { "SELECT @@GLOBAL.gtid_current_pos" } else { "SELECT @@GLOBAL.gtid_executed" };
    // A server without GTIDs has no position; whatever else is wrong, its role is known.
    let told: Result<(Option<String>,), _> = client.row("tell its position", question.to_owned()).await;
    told.ok()?.0.map(|text| text.replace('\n', "")).filter(|text| !text.is_empty())
}

async fn replication(client: &mut Client, maria: bool) -> Result<Replication, ControlError> {
    // MariaDB's second form shows sources with a name, too. MySQL's first is that of 8.0.22 and later.
    let questions = match maria {
        true => ["SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS"],
        false => ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"],
    };
    for question in questions {
        match client.rows::<Row>("tell its replication", question.to_owned()).await {
            Ok(rows) => return Ok(of_rows(&rows)),
            Err(error) if error.is_refusal() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Replication::Hidden)
}

/// Several sources: the replica is as old as its slowest, and does not run when one does not.
fn of_rows(rows: &[Row]) -> Replication {
    let sources: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            !text(row, &["Channel_Name"]).is_some_and(|name| name.starts_with("group_replication_"))
        })
        .collect();
    if sources.is_empty() {
        return Replication::None;
    }
    let yes = |row: &Row, names: &[&str]| text(row, names).as_deref() == Some("Yes");
    let running = sources.iter().all(|row| {
        yes(row, &["Replica_IO_Running", "Slave_IO_Running"])
            && yes(row, &["Replica_SQL_Running", "Slave_SQL_Running"])
    });
    let lags: Option<Vec<f64>> = sources.iter().map(|row| lag_of(row)).collect();
    Replication::Follows { running, lag_seconds: lags.and_then(|lags| lags.into_iter().reduce(f64::max)) }
}

fn value<'r>(row: &'r Row, names: &[&str]) -> Option<&'r Value> {
    let index = row.columns_ref().iter().position(|column| names.contains(&&*column.name_str()))?;
    row.as_ref(index)
}

fn text(row: &Row, names: &[&str]) -> Option<String> {
    match value(row, names)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn lag_of(row: &Row) -> Option<f64> {
    match value(row, &["Seconds_Behind_Source", "Seconds_Behind_Master"])? {
        Value::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Value::Int(seconds) => u32::try_from(*seconds).ok().map(f64::from),
        Value::UInt(seconds) => u32::try_from(*seconds).ok().map(f64::from),
        _ => None,
    }
}
