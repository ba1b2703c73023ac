//! The `shardway` binary, running in front of a cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use shardway::internal::local::{
    Account, Addresses, Folder, MapDatabase, MapFile, MapTable, ProxyProcess, even_xxhash, settings_text,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Access, Client};
use super::cluster::{APP, Cluster, Database, OPS};
use super::wait::DEADLINE;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_shardway");

/// What a proxy is started with: a map and settings, both open to change before and after the start.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) map: MapFile,
    pub(crate) accounts: Vec<Account>,
    /// More of `shardway.toml`, e.g. `[pool]\nconnections_max = 1`.
    pub(crate) settings: String,
    /// More of the table `[listen]`.
    pub(crate) listen: String,
    /// More of the table `[control]`.
    pub(crate) control: String,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Setup {
    /// The cluster's shards, a scheme `by_key`, the accounts `APP` and `OPS`; no database yet.
    pub(crate) fn new(cluster: &Cluster) -> Setup {
        let mut map = MapFile::of(&cluster.fleet);
        let shards: Vec<String> = map.shards.iter().map(|shard| shard.name.clone()).collect();
        map.schemes.push(even_xxhash("by_key", &shards));
        let account = |(user, password): (&str, &str), admin| Account {
            user: user.to_owned(),
            password: password.to_owned(),
            admin,
        };
        Setup {
            map,
            accounts: vec![account(APP, false), account(OPS, true)],
            settings: String::new(),
            listen: String::new(),
            control: String::new(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn database(mut self, database: &Database) -> Setup {
        let tables: Vec<MapTable> = database.tables.iter().map(super::cluster::Table::in_map).collect();
        self.map.databases.push(MapDatabase { name: database.name.clone(), default_shard: None, tables });
        self
    }

    /// A database that is whole on one shard, counted from 0, with whatever tables it gets.
    pub(crate) fn whole(mut self, database: &Database, shard: usize) -> Setup {
        let (name, shard) = (&database.name, shard + 1);
        // Tables of the map may stand in any order.
        self.map.schemes.push(format!("[[database]]\nname = \"{name}\"\ndefault_shard = \"shard{shard}\""));
        self
    }

    /// A `[[scheme]]` table as text.
    pub(crate) fn scheme(mut self, text: &str) -> Setup {
        self.map.schemes.push(text.to_owned());
        self
    }

    /// A line of the table `[listen]`.
    pub(crate) fn listen(mut self, line: &str) -> Setup {
        self.listen.push_str(line);
        self.listen.push('\n');
        self
    }

    /// A line of the table `[control]`.
    pub(crate) fn control(mut self, line: &str) -> Setup {
        self.control.push_str(line);
        self.control.push('\n');
        self
    }

    /// More of `shardway.toml`.
    pub(crate) fn settings(mut self, text: &str) -> Setup {
        self.settings.push_str(text);
        self.settings.push('\n');
        self
    }
}

/// A running proxy. When a test fails, what the proxy logged is printed with the failure.
pub(crate) struct Proxy {
    child: ProxyProcess,
    folder: Folder,
    pub(crate) mysql: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}

impl Proxy {
    /// A proxy for one database of a cluster: the common case.
    pub(crate) async fn over(cluster: &Cluster, database: &Database) -> Proxy {
        Proxy::start(&Setup::new(cluster).database(database)).await
    }

    /// Fails the test when the proxy does not come up.
    pub(crate) async fn start(setup: &Setup) -> Proxy {
        match Proxy::try_start(setup).await {
            Ok(proxy) => proxy,
            Err(log) => panic!("the proxy did not start; its log:\n{log}"),
        }
    }

    /// What the proxy printed when it ended instead of getting ready.
    pub(crate) async fn try_start(setup: &Setup) -> Result<Proxy, String> {
        let folder = Folder::create().unwrap();
        let (config, map) = (folder.path().join("shardway.toml"), folder.path().join("shard-map.toml"));
        std::fs::write(&map, setup.map.text()).unwrap();
        let settings = settings_text(&map, &setup.accounts, &setup.settings);
        let listen = format!("[listen]\n{}", setup.listen);
        let control = format!("[control]\n{}", setup.control);
        let settings = settings.replacen("[listen]\n", &listen, 1).replacen("[control]\n", &control, 1);
        std::fs::write(&config, settings).unwrap();
        let variables: Vec<(&str, &str)> =
            setup.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let child = ProxyProcess::start(Path::new(BINARY), folder.path(), &config, &variables)
            .await
            .map_err(|error| error.to_string())?;
        let Addresses { mysql, admin, http } = child.addresses;
        Ok(Proxy { child, folder, mysql, admin, http })
    }

    /// How `APP` logs in, with `database` as its default.
    pub(crate) fn access(&self, database: &Database) -> Access {
        Access::new(self.mysql, APP.0, APP.1).database(&database.name)
    }

    pub(crate) async fn client(&self, database: &Database) -> Client {
        Client::connect(&self.access(database)).await
    }

    /// `OPS` on the clients' port: may say `SHARDWAY …`.
    pub(crate) async fn operator(&self) -> Client {
        Client::connect(&Access::new(self.mysql, OPS.0, OPS.1)).await
    }

    /// `OPS` on the operators' port.
    pub(crate) async fn admin(&self) -> Client {
        let address = self.admin.expect("the ready line names the operators' port");
        Client::connect(&Access::new(address, OPS.0, OPS.1)).await
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("shardway.toml")
    }

    pub(crate) fn map_path(&self) -> PathBuf {
        self.folder.path().join("shard-map.toml")
    }

    /// Replaces the map's file; `signal("HUP")` or RELOAD makes the proxy read it.
    pub(crate) fn write_map(&self, map: &MapFile) {
        std::fs::write(self.map_path(), map.text()).unwrap();
    }

    /// By name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.child.process.signal(name), "the proxy has ended; its log:\n{}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.process.pid().expect("the proxy runs")
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.process.exited().unwrap().is_none()
    }

    /// Waits for the proxy to end on its own.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match self.child.process.finished(DEADLINE).await.unwrap() {
            Some(status) => status,
            None => panic!("the proxy still runs; its log:\n{}", self.log()),
        }
    }

    /// Standard output and log so far.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }

    /// Status and body of `GET path` on the HTTP port.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let address = self.http.expect("the ready line names the HTTP port");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The value of one line of `/metrics`, e.g. `shardway_clients` or `x_total{shard="a"}`; `None` when not there.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics").await;
        let value = body.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map(|value| value.trim().parse().unwrap())
    }

    /// Resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the proxy's log ---\n{}--- end of the log ---", self.log());
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
