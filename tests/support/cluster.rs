//! Real servers, shared by all tests of a binary, and the databases that keep tests apart.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use shardway::internal::local::{
    Flavor, Fleet, Folder, INSTALL, Installed, LocalError, MYSQLD_VARIABLE, MapTable, Placing, Server,
    Template,
};
use tokio::sync::OnceCell;

use super::client::{Access, Client};

/// Shards of the shared cluster, each with one replica.
pub(crate) const SHARDS: usize = 2;
/// An ordinary account, on every server.
pub(crate) const APP: (&str, &str) = ("app", "app-secret");
/// The account of the proxy's operators, on every server.
pub(crate) const OPS: (&str, &str) = ("ops", "ops-secret");

/// The flavors to test with: MariaDB always, MySQL when there is one. Says so loudly when there is none.
pub(crate) fn flavors() -> Vec<Installed> {
    let Some(mariadb) = Installed::mariadb() else {
        panic!("these tests need MariaDB's server; install it with:\n  {INSTALL}");
    };
    let mysql = Installed::mysql();
    if mysql.is_none() {
        static SAID: Once = Once::new();
        // Past the capture of test output: a skip must be seen in a green run.
        SAID.call_once(|| {
            let _written = writeln!(
                std::io::stderr(),
                "\nSKIPPED: MySQL: no mysqld was found; set {MYSQLD_VARIABLE} to test with it too\n"
            );
        });
    }
    std::iter::once(mariadb).chain(mysql).collect()
}

pub(crate) struct Cluster {
    pub(crate) fleet: Fleet,
}

impl Cluster {
    /// The one that all tests use; started by the first.
    pub(crate) async fn shared(program: &Installed) -> &'static Cluster {
        static MARIADB: OnceCell<Cluster> = OnceCell::const_new();
        static MYSQL: OnceCell<Cluster> = OnceCell::const_new();
        let cell = match program.flavor {
            Flavor::MariaDb => &MARIADB,
            Flavor::MySql => &MYSQL,
        };
        cell.get_or_init(|| Cluster::own(program, SHARDS, 1)).await
    }

    /// One for a test that stops or breaks servers; ends when dropped.
    pub(crate) async fn own(program: &Installed, shards: usize, replicas: usize) -> Cluster {
        let fleet = started(Fleet::start(program, shards, replicas).await);
        for (user, password) in [APP, OPS] {
            started(fleet.add_user(user, password).await);
        }
        Cluster { fleet }
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.fleet.template.program.flavor
    }

    pub(crate) fn primary(&self, shard: usize) -> &Server {
        &self.fleet.shards[shard].primary
    }

    pub(crate) fn replica(&self, shard: usize) -> &Server {
        &self.fleet.shards[shard].replicas[0]
    }

    /// Runs statements as root on every primary.
    pub(crate) async fn everywhere<S: AsRef<str>>(&self, statements: &[S]) {
        for shard in &self.fleet.shards {
            shard.primary.run(statements).await.unwrap();
        }
    }

    /// What replicas have is what primaries have now.
    pub(crate) async fn replicas_caught_up(&self) {
        for shard in &self.fleet.shards {
            shard.replicas_caught_up().await.unwrap();
        }
    }

    /// A new database on every shard, with its tables where the map will say that they are.
    pub(crate) async fn database(&self, tables: impl IntoIterator<Item = Table>) -> Database {
        let database = Database { name: unique_name(), tables: tables.into_iter().collect() };
        for (number, shard) in self.fleet.shards.iter().enumerate() {
            let mut statements = vec![format!("CREATE DATABASE `{}`", database.name)];
            statements.extend(database.tables.iter().filter(|table| table.is_on(number)).map(|table| {
                format!("CREATE TABLE `{}`.`{}` {}", database.name, table.name, table.definition)
            }));
            shard.primary.run(&statements).await.unwrap();
        }
        database
    }

    /// A direct connection to the primary of a shard.
    pub(crate) async fn direct(&self, shard: usize) -> Client {
        Client::connect(&direct(self.primary(shard))).await
    }

    pub(crate) async fn direct_replica(&self, shard: usize) -> Client {
        Client::connect(&direct(self.replica(shard))).await
    }
}

/// How to log in to a server without the proxy, as `APP`.
pub(crate) fn direct(server: &Server) -> Access {
    Access::new(SocketAddr::from(([127, 0, 0, 1], server.port)), APP.0, APP.1)
}

/// One server with all rows: what the proxy's answers are compared with.
pub(crate) struct Plain {
    pub(crate) server: Server,
    _folder: Folder,
}

impl Plain {
    /// The one that all tests use; started by the first.
    pub(crate) async fn shared(program: &Installed) -> &'static Plain {
        static MARIADB: OnceCell<Plain> = OnceCell::const_new();
        static MYSQL: OnceCell<Plain> = OnceCell::const_new();
        let cell = match program.flavor {
            Flavor::MariaDb => &MARIADB,
            Flavor::MySql => &MYSQL,
        };
        cell.get_or_init(async || started(Plain::start(program).await)).await
    }

    async fn start(program: &Installed) -> Result<Plain, LocalError> {
        let folder = Folder::create().unwrap();
        let template = Template::create(program, &folder).await?;
        let server = Server::start(&template, "plain", &[]).await?;
        server
            .run(&[
                format!("CREATE USER '{}'@'%' IDENTIFIED BY '{}'", APP.0, APP.1),
                format!("GRANT ALL PRIVILEGES ON *.* TO '{}'@'%'", APP.0),
            ])
            .await?;
        Ok(Plain { server, _folder: folder })
    }

    /// The same database, whole.
    pub(crate) async fn create(&self, database: &Database) {
        let mut statements = vec![format!("CREATE DATABASE `{}`", database.name)];
        statements.extend(
            database.tables.iter().map(|table| {
                format!("CREATE TABLE `{}`.`{}` {}", database.name, table.name, table.definition)
            }),
        );
        self.server.run(&statements).await.unwrap();
    }

    pub(crate) async fn client(&self, database: &Database) -> Client {
        Client::connect(&direct(&self.server).database(&database.name)).await
    }
}

/// A database that one test has for itself.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) tables: Vec<Table>,
}

/// A table of a test: its place in the map and its definition.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) placing: Placing,
    /// What follows the name in CREATE TABLE.
    pub(crate) definition: String,
}

impl Table {
    /// Sharded by `key` in the scheme `by_key`: xxhash, spread evenly over all shards.
    pub(crate) fn sharded(name: &str, key: &str, definition: &str) -> Table {
        Table::of_scheme("by_key", name, key, definition)
    }

    /// Sharded in a scheme that `Setup::scheme` defines.
    pub(crate) fn of_scheme(scheme: &str, name: &str, key: &str, definition: &str) -> Table {
        let placing = Placing::Sharded { scheme: scheme.to_owned(), key: key.to_owned() };
        Table { name: name.to_owned(), placing, definition: definition.to_owned() }
    }

    pub(crate) fn reference(name: &str, definition: &str) -> Table {
        Table { name: name.to_owned(), placing: Placing::Reference, definition: definition.to_owned() }
    }

    /// Whole on one shard, counted from 0.
    pub(crate) fn single(name: &str, shard: usize, definition: &str) -> Table {
        let placing = Placing::Single { shard: format!("shard{}", shard + 1) };
        Table { name: name.to_owned(), placing, definition: definition.to_owned() }
    }

    /// The table as the map names it.
    pub(crate) fn in_map(&self) -> MapTable {
        MapTable { name: self.name.clone(), placing: self.placing.clone() }
    }

    fn is_on(&self, shard: usize) -> bool {
        match &self.placing {
            Placing::Sharded { .. } | Placing::Reference => true,
            Placing::Single { shard: name } => *name == format!("shard{}", shard + 1),
        }
    }
}

/// Unique in this process and, since clusters are never shared between processes, on every cluster.
pub(crate) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
fn started<T>(result: Result<T, LocalError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the servers could not be started: {error}"),
    }
}
