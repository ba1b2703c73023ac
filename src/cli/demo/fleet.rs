//! Shards of local servers: each a primary and replicas that follow it by GTID, with the accounts that a proxy needs.
//! Knows nothing of databases, tables or the proxy's configuration.

use super::programs::{Flavor, Installed};
use super::server::{LocalError, Server, Template};
use super::supervise::Folder;

/// How long a replica may take to apply what its primary has.
const CATCH_UP_SECONDS: u32 = 60;

/// Accounts that every server of a fleet has, over TCP; root has no password.
pub const ROOT_USER: &str = "root";
const REPLICATION_USER: &str = "replication";
const REPLICATION_PASSWORD: &str = "replication";
pub const MONITOR_USER: &str = "shardway";
pub const MONITOR_PASSWORD: &str = "shardway";

/// One primary and its replicas.
#[derive(Debug)]
pub struct Shard {
    pub name: String,
    pub primary: Server,
    pub replicas: Vec<Server>,
}

impl Shard {
    /// Starts the servers, makes the accounts and waits until the replicas replicate. `name` becomes the shard's and
    /// part of the servers' names.
    pub async fn start(template: &Template, name: &str, replicas: usize) -> Result<Shard, LocalError> {
        let primary_name = format!("{name}-primary");
        let replica_names: Vec<String> =
            (1..=replicas).map(|number| format!("{name}-replica{number}")).collect();
        let starting =
            replica_names.iter().map(|replica| Server::start(template, replica, &["--read-only=ON"]));
        let (primary, replicas) =
            tokio::try_join!(Server::start(template, &primary_name, &[]), in_turn(starting))?;
        primary.run(ACCOUNTS).await?;
        for replica in &replicas {
            follow(&primary, replica).await?;
            caught_up(&primary, replica).await?;
        }
        Ok(Shard { name: name.to_owned(), primary, replicas })
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Makes a user with all rights who may log in over TCP, with the flavor's default plugin.
    pub async fn add_user(&self, user: &str, password: &str) -> Result<(), LocalError> {
        self.primary
            .run(&[
                format!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}'"),
                format!("GRANT ALL PRIVILEGES ON *.* TO '{user}'@'%'"),
            ])
            .await
    }

    /// Waits until every replica has what the primary has now.
    pub async fn replicas_caught_up(&self) -> Result<(), LocalError> {
        for replica in &self.replicas {
            caught_up(&self.primary, replica).await?;
        }
        Ok(())
    }
}

async fn in_turn<F>(starting: impl Iterator<Item = F>) -> Result<Vec<Server>, LocalError>
where
    F: Future<Output = Result<Server, LocalError>>,
{
    let mut servers = Vec::new();
    for start in starting {
        servers.push(start.await?);
    }
    Ok(servers)
}

/// Replicated to the replicas, so that every server of a shard has them.
const ACCOUNTS: &[&str] = &[
    "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY ''",
    "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION",
    "CREATE USER 'replication'@'%' IDENTIFIED BY 'replication'",
    "GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%'",
    "CREATE USER 'shardway'@'%' IDENTIFIED BY 'shardway'",
    "GRANT ALL PRIVILEGES ON *.* TO 'shardway'@'%'",
];

/// Makes `replica` replicate from `primary` by GTID, from the first transaction on.
pub async fn follow(primary: &Server, replica: &Server) -> Result<(), LocalError> {
    let port = primary.port;
    let (change, start) = match primary.flavor() {
        Flavor::MariaDb => (
            format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{REPLICATION_USER}', \
                 MASTER_PASSWORD='{REPLICATION_PASSWORD}', MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos"
            ),
            "START SLAVE",
        ),
        Flavor::MySql => (
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, \
                 SOURCE_USER='{REPLICATION_USER}', SOURCE_PASSWORD='{REPLICATION_PASSWORD}', \
                 SOURCE_CONNECT_RETRY=1, SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            ),
            "START REPLICA",
        ),
    };
    replica.run(&[change.as_str(), start]).await
}

/// Waits until `replica` has applied what `primary` has committed.
async fn caught_up(primary: &Server, replica: &Server) -> Result<(), LocalError> {
    let failed = |reason: String| LocalError::Replication {
        primary: primary.name.clone(),
        replica: replica.name.clone(),
        reason,
    };
    let (position, wait) = match primary.flavor() {
        Flavor::MariaDb => ("SELECT @@global.gtid_current_pos", "MASTER_GTID_WAIT"),
        Flavor::MySql => ("SELECT @@global.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
    };
    let position = primary.ask(position).await?.unwrap_or_default().replace('\n', "");
    let answer = replica.ask(&format!("SELECT {wait}('{position}', {CATCH_UP_SECONDS})")).await?;
    if answer.as_deref() == Some("0") {
        return Ok(());
    }
    let faults = replication_faults(replica).await.unwrap_or_else(|error| error.to_string());
    Err(failed(format!("it did not reach {position} within {CATCH_UP_SECONDS} s: {faults}")))
}

/// What the replica itself says is wrong.
async fn replication_faults(replica: &Server) -> Result<String, LocalError> {
    use mysql_async::prelude::Queryable;
    let statement = match replica.flavor() {
        Flavor::MariaDb => "SHOW SLAVE STATUS",
        Flavor::MySql => "SHOW REPLICA STATUS",
    };
    let failed = |source| LocalError::Statement {
        name: replica.name.clone(),
        statement: statement.to_owned(),
        source,
    };
    let mut connection = replica.root().await.map_err(failed)?;
    let row: Option<mysql_async::Row> = connection.query_first(statement).await.map_err(failed)?;
    let Some(row) = row else { return Ok("it is not configured as a replica".to_owned()) };
    let column = |name: &str| row.get_opt::<String, _>(name).and_then(Result::ok).unwrap_or_default();
    Ok(format!("{} {}", column("Last_IO_Error"), column("Last_SQL_Error")).trim().to_owned())
}

/// Shards in one temporary folder. Fields end in order: servers before the folder they write to.
#[derive(Debug)]
pub struct Fleet {
    pub shards: Vec<Shard>,
    pub template: Template,
    pub folder: Folder,
}

impl Fleet {
    /// Shards `shard1`, `shard2`, … with `replicas` each.
    pub async fn start(program: &Installed, shards: usize, replicas: usize) -> Result<Fleet, LocalError> {
        let mut fleet = Fleet::prepare(program).await?;
        for _ in 0..shards {
            fleet.add_shard(replicas).await?;
        }
        Ok(fleet)
    }

    /// A folder and a template, no shard yet.
    pub async fn prepare(program: &Installed) -> Result<Fleet, LocalError> {
        let folder = Folder::create().map_err(LocalError::files("creating a temporary folder"))?;
        let template = Template::create(program, &folder).await?;
        Ok(Fleet { shards: Vec::new(), template, folder })
    }

    /// Starts the next shard.
    pub async fn add_shard(&mut self, replicas: usize) -> Result<(), LocalError> {
        let name = format!("shard{}", self.shards.len() + 1);
        self.shards.push(Shard::start(&self.template, &name, replicas).await?);
        Ok(())
    }

    pub async fn add_user(&self, user: &str, password: &str) -> Result<(), LocalError> {
        for shard in &self.shards {
            shard.add_user(user, password).await?;
            shard.replicas_caught_up().await?;
        }
        Ok(())
    }

    /// Servers of all shards, primaries before their replicas.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.shards.iter().flat_map(Shard::servers)
    }
}
