//! The programs of the matrix: how each is built and started. `tests/drivers/prepare` knows their languages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use shardway::internal::local::Flavor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::checklist::folder;
use crate::support::APP;

/// Far beyond what one behaviour takes on a busy machine; what hangs reaches it.
const SILENCE: Duration = Duration::from_secs(60);
/// For compilers.
const PREPARE_DEADLINE: Duration = Duration::from_secs(600);
/// What `prepare` ends with when this machine lacks something.
const MISSING: i32 = 3;

/// A program and how it uses its driver.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What `tests/drivers/prepare` and `tests/drivers/run` call it.
    unit: &'static str,
    variant: Option<&'static str>,
    /// What it does instead of the checklist: an application with steps of its own.
    pub(super) application: bool,
    /// The only flavor of servers that it can talk to.
    only: Option<Flavor>,
}

const fn driver(name: &'static str, unit: &'static str, variant: Option<&'static str>) -> Program {
    Program { name, unit, variant, application: false, only: None }
}

const fn application(name: &'static str, unit: &'static str) -> Program {
    Program { name, unit, variant: None, application: true, only: None }
}

pub(super) static PROGRAMS: &[Program] = &[
    driver("mariadb", "python/command_line", Some("mariadb")),
    // MySQL 9's client does not know mysql_native_password, which is what MariaDB's accounts have.
    Program { only: Some(Flavor::MySql), ..driver("mysql", "python/command_line", Some("mysql")) },
    driver("pymysql", "python/pymysql_driver", None),
    driver("mysqlclient", "python/mysqlclient_driver", None),
    driver("connector-python", "python/connector_driver", Some("pure")),
    driver("connector-python-c", "python/connector_driver", Some("c")),
    driver("node-mysql2", "node/mysql2", None),
    driver("go-mysql", "go/matrix", Some("prepare")),
    driver("go-mysql-interpolating", "go/matrix", Some("interpolate")),
    driver("connectorj", "java/Checklist", Some("connectorj")),
    driver("connectorj-server-prepared", "java/Checklist", Some("connectorj-server")),
    driver("mariadb-connectorj", "java/Checklist", Some("mariadb")),
    driver("mariadb-connectorj-server-prepared", "java/Checklist", Some("mariadb-server")),
    driver("mysql_async", "rust/mysql_async", None),
    driver("sqlx", "rust/sqlx", None),
    driver("php-mysqli", "php/mysqli", None),
    driver("php-pdo-emulating", "php/pdo", Some("emulated")),
    driver("php-pdo", "php/pdo", Some("native")),
    driver("ruby-mysql2", "ruby/mysql2", None),
    application("django", "python/django_app"),
    application("sqlalchemy", "python/sqlalchemy_app"),
    application("sequelize", "node/sequelize"),
    application("gorm", "go/gorm"),
    application("jooq", "java/Shop"),
];

impl Program {
    pub(super) fn talks_to(&self, flavor: Flavor) -> bool {
        self.only.is_none_or(|only| only == flavor)
    }

    /// Builds the program where it needs that; says what is missing when it cannot be run here.
    pub(super) async fn prepare(&self) -> Result<(), String> {
        let mut command = Command::new(folder().join("prepare"));
        command.arg(self.unit).args(self.variant).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PREPARE_DEADLINE, command.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("building {} does not end", self.name)).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(()),
            Some(MISSING) => Err(said),
            _ => {
                panic!("{} cannot be built:\n{said}\n{}", self.name, String::from_utf8_lossy(&output.stdout))
            }
        }
    }

    /// What the program printed about each behaviour, by id; `Err` says how it failed as a whole. A behaviour that it
    /// never finishes is `stalled`; the program is started again for those that follow.
    pub(super) async fn run(
        &self,
        address: SocketAddr,
        database: &str,
        checklist: &Path,
    ) -> Result<BTreeMap<String, Value>, String> {
        let mut printed = BTreeMap::new();
        loop {
            match self.run_once(address, database, checklist, &mut printed).await? {
                Ended::Whole => return Ok(printed),
                Ended::Stalled => {
                    let mut left: Vec<Value> =
                        serde_json::from_slice(&std::fs::read(checklist).unwrap()).unwrap();
                    left.retain(|behaviour| !printed.contains_key(behaviour["id"].as_str().unwrap()));
                    if left.is_empty() || self.application {
                        return Err(format!("says nothing for {SILENCE:?}"));
                    }
                    let id = left.remove(0)["id"].as_str().unwrap().to_owned();
                    printed.insert(id.clone(), json!({ "id": id, "steps": [{ "stalled": true }] }));
                    std::fs::write(checklist, Value::from(left).to_string()).unwrap();
                }
            }
        }
    }

    async fn run_once(
        &self,
        address: SocketAddr,
        database: &str,
        checklist: &Path,
        printed: &mut BTreeMap<String, Value>,
    ) -> Result<Ended, String> {
        let log = checklist.with_extension("stderr");
        let mut command = Command::new(folder().join("run"));
        command
            .arg(self.unit)
            .arg(format!("--host={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--user={}", APP.0))
            .arg(format!("--password={}", APP.1))
            .arg(format!("--database={database}"))
            .arg(format!("--checklist={}", checklist.display()))
            .args(self.variant.map(|variant| format!("--variant={variant}")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = String::new();
        loop {
            match tokio::time::timeout(SILENCE, lines.next_line()).await {
                Err(_) => {
                    child.kill().await.unwrap();
                    return Ok(Ended::Stalled);
                }
                Ok(Ok(Some(line))) => {
                    let (id, value) = named(&line, database)?;
                    printed.insert(id, value);
                    last = line;
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error.to_string()),
            }
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(Ended::Whole);
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Err(format!("{status}\n{said}\nits last line: {last:.300}"))
    }
}

/// How a run of a program ended.
enum Ended {
    Whole,
    Stalled,
}

/// The id of a line and the line, in which the database has the same name in every place.
fn named(line: &str, database: &str) -> Result<(String, Value), String> {
    let line = line.replace(database, "DATABASE");
    let value: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line:.300}"))?;
    let id = value["id"].as_str().ok_or_else(|| format!("a line without id: {line:.300}"))?;
    Ok((id.to_owned(), value))
}
