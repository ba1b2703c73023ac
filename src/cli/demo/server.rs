//! One local MySQL-family server: its data directory, its process, a root connection to it. For demos and tests: small,
//! and nothing on it survives a power cut. Knows nothing of shards or of the proxy.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use super::programs::{Flavor, INSTALL, Installed, mariadb_install};
use super::supervise::{Folder, POLL, Supervised};

/// Laying out a data directory or starting a server takes seconds; on a busy machine a multiple of that.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// A free port can be taken by another process before the server binds it.
const PORT_ATTEMPTS: usize = 5;
/// How much of a failed server's log an error shows.
const LOG_TAIL_LINES: usize = 40;

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("no MySQL or MariaDB server program was found; install one with:\n  {INSTALL}")]
    NoProgram,
    #[error("mariadb-install-db was not found; install it with:\n  {INSTALL}")]
    NoInstallProgram,
    #[error("{what}: {source}")]
    Files { what: String, source: std::io::Error },
    #[error("{name} ended while it started; the end of its log:\n{log}")]
    Ended { name: String, log: String },
    #[error("{name} was not ready within {START_DEADLINE:?}; the end of its log:\n{log}")]
    Slow { name: String, log: String },
    #[error("no free port for {name} in {PORT_ATTEMPTS} attempts")]
    Ports { name: String },
    #[error("{name}: {source}; the statement: {statement}")]
    Statement { name: String, statement: String, source: mysql_async::Error },
    #[error("{replica} does not replicate from {primary}: {reason}")]
    Replication { primary: String, replica: String, reason: String },
}

impl LocalError {
    pub(super) fn files(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> LocalError {
        let what = what.into();
        move |source| LocalError::Files { what, source }
    }
}

/// A freshly laid out data directory, copied for each server: laying one out takes longer than copying it.
#[derive(Debug, Clone)]
pub struct Template {
    pub program: Installed,
    folder: PathBuf,
    layout: PathBuf,
}

impl Template {
    pub async fn create(program: &Installed, folder: &Folder) -> Result<Template, LocalError> {
        let name = format!("template-{}", program.flavor.name().to_lowercase());
        let layout = folder.path().join(&name);
        let log = folder.path().join(format!("{name}.log"));
        let mut arguments = vec![format!("--datadir={}", layout.display())];
        if running_as_root() {
            arguments.push("--user=root".to_owned());
        }
        let path = match program.flavor {
            Flavor::MariaDb => {
                arguments.insert(0, "--no-defaults".to_owned());
                arguments.extend(
                    [
                        "--auth-root-authentication-method=normal",
                        "--skip-test-db",
                        "--innodb-log-file-size=8M",
                    ]
                    .map(str::to_owned),
                );
                mariadb_install().ok_or(LocalError::NoInstallProgram)?
            }
            Flavor::MySql => {
                arguments.insert(0, "--no-defaults".to_owned());
                arguments.extend(
                    ["--initialize-insecure", "--skip-log-bin", "--innodb-redo-log-capacity=64M"]
                        .map(str::to_owned),
                );
                program.path.clone()
            }
        };
        // Servers that start sweep their folder for temporary files; in a shared one they sweep away each other's tables.
        let scratch = folder.path().join(format!("{name}.tmp"));
        std::fs::create_dir(&scratch).map_err(LocalError::files("creating a folder"))?;
        let scratch = scratch.display().to_string();
        let mut process = Supervised::start(&path, &arguments, &[("TMPDIR", &scratch)], &log, &log)
            .map_err(LocalError::files(format!("starting {}", path.display())))?;
        match process
            .finished(START_DEADLINE)
            .await
            .map_err(LocalError::files("waiting for the data directory"))?
        {
            Some(status) if status.success() => {}
            Some(_) => return Err(LocalError::Ended { name, log: tail(&log) }),
            None => return Err(LocalError::Slow { name, log: tail(&log) }),
        }
        if program.flavor == Flavor::MySql {
            // It holds the server's UUID: each copy must make its own.
            std::fs::remove_file(layout.join("auto.cnf")).map_err(LocalError::files("removing auto.cnf"))?;
        }
        Ok(Template { program: program.clone(), folder: folder.path().to_owned(), layout })
    }

    async fn copy(&self, name: &str) -> Result<PathBuf, LocalError> {
        let home = self.folder.join(name);
        std::fs::create_dir(&home).map_err(LocalError::files(format!("creating {}", home.display())))?;
        let log = home.join("copy.log");
        let arguments = [
            "-a".to_owned(),
            "--reflink=auto".to_owned(),
            self.layout.display().to_string(),
            home.join("d").display().to_string(),
        ];
        let mut process = Supervised::start(Path::new("cp"), &arguments, &[], &log, &log)
            .map_err(LocalError::files("starting cp"))?;
        let status = process.finished(START_DEADLINE).await.map_err(LocalError::files("waiting for cp"))?;
        match status {
            Some(status) if status.success() => Ok(home),
            Some(_) | None => Err(LocalError::Ended { name: format!("cp for {name}"), log: tail(&log) }),
        }
    }
}

/// A running server. Ends when dropped or when this process ends.
#[derive(Debug)]
pub struct Server {
    pub name: String,
    pub program: Installed,
    pub port: u16,
    home: PathBuf,
    extra: Vec<String>,
    process: Option<Supervised>,
}

impl Server {
    /// Starts a server on a copy of the template; `extra` are further options of its command line.
    pub async fn start(template: &Template, name: &str, extra: &[&str]) -> Result<Server, LocalError> {
        let home = template.copy(name).await?;
        let mut server = Server {
            name: name.to_owned(),
            program: template.program.clone(),
            port: 0,
            home,
            extra: extra.iter().map(|option| (*option).to_owned()).collect(),
            process: None,
        };
        for _ in 0..PORT_ATTEMPTS {
            server.port = free_port().map_err(LocalError::files("looking for a free port"))?;
            match server.launch().await {
                Err(LocalError::Ended { log, .. }) if lost_the_port(&log) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
        Err(LocalError::Ports { name: name.to_owned() })
    }

    pub fn flavor(&self) -> Flavor {
        self.program.flavor
    }

    pub fn socket(&self) -> PathBuf {
        self.home.join("s")
    }

    pub fn log(&self) -> String {
        tail(&self.log_path())
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref()?.pid()
    }

    /// Whether the process is there.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    /// By name without `SIG`: `STOP` and `CONT` make a server that hangs.
    pub fn signal(&self, name: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.signal(name))
    }

    /// Kills the server, nothing said to it; its data and port stay its own.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts a killed server again on its data and port.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.kill();
        self.launch().await
    }

    /// A connection as root through the Unix socket.
    pub async fn root(&self) -> Result<Conn, mysql_async::Error> {
        let options = OptsBuilder::default()
            .user(Some("root"))
            .socket(Some(self.socket().display().to_string()))
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800));
        Conn::new(options).await
    }

    /// Runs statements as root, one by one.
    pub async fn run<S: AsRef<str>>(&self, statements: &[S]) -> Result<(), LocalError> {
        let failed = |statement: &str| {
            let (name, statement) = (self.name.clone(), statement.to_owned());
            move |source| LocalError::Statement { name, statement, source }
        };
        let mut connection = self.root().await.map_err(failed("connect"))?;
        for statement in statements {
            connection.query_drop(statement.as_ref()).await.map_err(failed(statement.as_ref()))?;
        }
        connection.disconnect().await.map_err(failed("disconnect"))
    }

    /// The first column of the first row, as text.
    pub async fn ask(&self, statement: &str) -> Result<Option<String>, LocalError> {
        let failed = |source| LocalError::Statement {
            name: self.name.clone(),
            statement: statement.to_owned(),
            source,
        };
        let mut connection = self.root().await.map_err(failed)?;
        let row: Option<mysql_async::Row> = connection.query_first(statement).await.map_err(failed)?;
        connection.disconnect().await.map_err(failed)?;
        Ok(row.and_then(|mut row| row.take_opt::<Option<String>, _>(0)?.ok().flatten()))
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    async fn launch(&mut self) -> Result<(), LocalError> {
        let log = self.log_path();
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LocalError::files(format!("removing {}", log.display()))(error));
            }
            // Removed, or there was none: the first start.
            Ok(()) | Err(_) => {}
        }
        let mut process = Supervised::start(&self.program.path, self.options(), &[], &log, &log)
            .map_err(LocalError::files(format!("starting {}", self.program.path.display())))?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if process.exited().map_err(LocalError::files("watching a server"))?.is_some() {
                return Err(LocalError::Ended { name: self.name.clone(), log: tail(&log) });
            }
            // The socket is the server's own, which a port is not: whoever answers there is the one we started. It
            // opens the socket after the port.
            if self.socket().exists() && self.root().await.is_ok() {
                self.process = Some(process);
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LocalError::Slow { name: self.name.clone(), log: tail(&log) });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn options(&self) -> Vec<String> {
        let home = self.home.display();
        let mut options = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={home}/d"),
            format!("--socket={home}/s"),
            format!("--pid-file={home}/pid"),
            format!("--tmpdir={home}"),
            format!("--port={}", self.port),
            // Unique on this machine, which is all that replication between local servers needs.
            format!("--server-id={}", self.port),
        ];
        if running_as_root() {
            options.push("--user=root".to_owned());
        }
        options.extend(COMMON.iter().map(|option| (*option).to_owned()));
        let flavored = match self.program.flavor {
            Flavor::MariaDb => MARIADB,
            Flavor::MySql => MYSQL,
        };
        options.extend(flavored.iter().map(|option| (*option).to_owned()));
        options.extend(self.extra.iter().cloned());
        options
    }
}

/// Small, and without the syncs that make data survive a power cut; what was committed does survive a kill.
const COMMON: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--max-connections=1500",
    "--back-log=512",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-use-native-aio=0",
    "--sync-binlog=0",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--secure-file-priv=",
    "--max-allowed-packet=1G",
];

const MARIADB: &[&str] = &[
    "--performance-schema=OFF",
    "--innodb-log-file-size=8M",
    "--innodb-log-buffer-size=2M",
    "--log-slave-updates=ON",
    "--gtid-strict-mode=ON",
];

const MYSQL: &[&str] = &[
    "--performance-schema=OFF",
    "--mysqlx=OFF",
    "--innodb-redo-log-capacity=64M",
    "--innodb-log-buffer-size=2M",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
];

fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A port that was free a moment ago; whoever binds it must be ready to try another.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn lost_the_port(log: &str) -> bool {
    ["Address already in use", "Bind on TCP/IP port", "bind on TCP/IP port"]
        .iter()
        .any(|sign| log.contains(sign))
}

/// The last lines of a file; empty when it cannot be read.
pub fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
