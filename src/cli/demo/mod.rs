//! `shardway demo`: local servers, a sample shop, the proxy in front of them, and what to try. Also the door through
//! which tests and benches reach the local servers (`internal::local`).

mod files;
mod fleet;
mod programs;
mod progress;
mod proxy;
mod server;
mod shop;
mod supervise;
mod tour;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::signal::unix::{SignalKind, signal};

pub use files::{Account, MapDatabase, MapFile, MapShard, MapTable, Placing, even_xxhash, settings_text};
pub use fleet::{Fleet, MONITOR_PASSWORD, MONITOR_USER, ROOT_USER, Shard, follow};
pub use programs::{Flavor, INSTALL, Installed, MYSQLD_VARIABLE};
pub use proxy::{Addresses, ProxyProcess};
pub use server::{LocalError, Server, Template, free_port, tail};
pub use supervise::{Folder, Supervised};

use progress::Progress;

const SHARDS: usize = 2;
const REPLICAS: usize = 1;
const USER: &str = "demo";
const PASSWORD: &str = "demo";
/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run the sample statements, print statement, route and result of each, and end
    #[arg(long)]
    once: bool,
    /// The server program to use: a mysqld or mariadbd [default: the one found, MariaDB first]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
}

/// Runs the demo until Ctrl-C, or with `--once` until the samples ran. Whatever ends it, the processes that it
/// started end with it and its folder is removed.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shardway demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let progress = Progress::new();
    let outcome = runtime.block_on(async {
        let interrupted = interruption()?;
        tokio::select! {
            outcome = demonstrate(arguments, &progress) => outcome,
            () = interrupted => {
                progress.line("stopping: ending the servers and removing their folder");
                Ok(if arguments.once { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
            }
        }
    });
    outcome.unwrap_or_else(|error| {
        progress.line(&format!("shardway demo: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Ends at the first signal that asks this process to stop. Listening begins with the call.
fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn demonstrate(arguments: &Arguments, progress: &Progress) -> anyhow::Result<ExitCode> {
    let program = match &arguments.server {
        Some(path) => {
            Installed::at(path).with_context(|| format!("{} is no server program", path.display()))?
        }
        None => Installed::any().ok_or(LocalError::NoProgram)?,
    };
    let fleet = start_fleet(&program, progress).await?;
    let mut proxy = progress.step("start the proxy", start_proxy(&fleet)).await?;
    let mut connection = progress
        .step("log in through the proxy", Conn::new(options(proxy.addresses)))
        .await
        .map_err(|error| with_log(error, &proxy))?;
    let loading = load(&mut connection);
    let rows = format!("create the shop's tables and load {} customers with their orders", shop::CUSTOMERS);
    progress.step(&rows, loading).await.map_err(|error| with_log(error, &proxy))?;
    progress.step("wait until the replicas have it all", replicas_caught_up(&fleet)).await?;
    progress.line(&format!("ready after {:.1} s", progress.elapsed().as_secs_f64()));
    if arguments.once {
        return run_samples(&mut connection).await;
    }
    let routes = tour::routes(&mut connection).await.map_err(|error| with_log(error, &proxy))?;
    show(&invitation(&fleet, proxy.addresses, &routes))?;
    let log = proxy.crash().await;
    anyhow::bail!("the proxy ended; the end of its log:\n{log}")
}

async fn start_fleet(program: &Installed, progress: &Progress) -> Result<Fleet, LocalError> {
    let name = format!("lay out a data directory for {} {}", program.flavor.name(), program.version);
    let mut fleet = progress.step(&name, Fleet::prepare(program)).await?;
    progress.line(&format!("    in {}", fleet.folder.path().display()));
    for number in 1..=SHARDS {
        let name = format!(
            "start shard {number} of {SHARDS}: a primary and {REPLICAS} replica, replicating by GTID"
        );
        progress.step(&name, fleet.add_shard(REPLICAS)).await?;
    }
    fleet.add_user(USER, PASSWORD).await?;
    Ok(fleet)
}

async fn start_proxy(fleet: &Fleet) -> Result<ProxyProcess, LocalError> {
    for shard in &fleet.shards {
        shard.primary.run(&[format!("CREATE DATABASE {}", shop::DATABASE)]).await?;
        shard.replicas_caught_up().await?;
    }
    let mut map = MapFile::of(fleet);
    let shards: Vec<&str> = fleet.shards.iter().map(|shard| shard.name.as_str()).collect();
    map.schemes.push(even_xxhash(shop::SCHEME, &shards));
    map.databases.push(shop::database());
    let home = fleet.folder.path();
    let (config_path, map_path) = (home.join("shardway.toml"), home.join("shard-map.toml"));
    let account = Account { user: USER.to_owned(), password: PASSWORD.to_owned(), admin: true };
    let files = [(&map_path, map.text()), (&config_path, settings_text(&map_path, &[account], ""))];
    for (path, text) in files {
        std::fs::write(path, text).map_err(LocalError::files(format!("writing {}", path.display())))?;
    }
    let binary = std::env::current_exe().map_err(LocalError::files("finding this program"))?;
    ProxyProcess::start(&binary, home, &config_path, &[]).await
}

fn options(addresses: Addresses) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(addresses.mysql.ip().to_string())
        .tcp_port(addresses.mysql.port())
        // Else the client asks the server for its Unix socket and goes around the proxy.
        .prefer_socket(false)
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .user(Some(USER))
        .pass(Some(PASSWORD))
        .db_name(Some(shop::DATABASE))
}

async fn load(connection: &mut Conn) -> Result<(), mysql_async::Error> {
    for statement in shop::TABLES {
        connection.query_drop(*statement).await?;
    }
    for statement in shop::rows() {
        connection.query_drop(statement).await?;
    }
    Ok(())
}

async fn replicas_caught_up(fleet: &Fleet) -> Result<(), LocalError> {
    for shard in &fleet.shards {
        shard.replicas_caught_up().await?;
    }
    Ok(())
}

fn with_log(error: mysql_async::Error, proxy: &ProxyProcess) -> anyhow::Error {
    anyhow::anyhow!("{error}\nthe end of the proxy's log:\n{}", proxy.log_tail())
}

/// Runs every sample; failure when one of them fails.
async fn run_samples(connection: &mut Conn) -> anyhow::Result<ExitCode> {
    let mut failed = 0;
    for sample in shop::SAMPLES {
        let (text, well) = tour::run(connection, sample).await;
        show(&text)?;
        failed += usize::from(!well);
    }
    show(&format!("{} statements, {failed} failed", shop::SAMPLES.len()))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One text and a line's end on standard output.
fn show(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("printing")
}

/// What is printed when all is up.
fn invitation(fleet: &Fleet, addresses: Addresses, routes: &str) -> String {
    let mut lines = vec![
        String::new(),
        "Shardway is up. In another terminal:".to_owned(),
        String::new(),
        format!(
            "  mysql -h 127.0.0.1 -P {} -u {USER} -p{PASSWORD} {}",
            addresses.mysql.port(),
            shop::DATABASE
        ),
    ];
    if let Some(admin) = addresses.admin {
        lines.push(format!(
            "  mysql -h 127.0.0.1 -P {} -u {USER} -p{PASSWORD} -e 'SHOW SHARDS'   (operators)",
            admin.port()
        ));
    }
    if let Some(http) = addresses.http {
        lines.push(format!("  http://{http}/   (status page; also /metrics, /healthz, /readyz)"));
    }
    lines.push(String::new());
    for shard in &fleet.shards {
        let replicas: Vec<String> = shard.replicas.iter().map(|replica| replica.port.to_string()).collect();
        lines.push(format!(
            "  {}: primary on port {}, replica on port {} (root, no password)",
            shard.name,
            shard.primary.port,
            replicas.join(", ")
        ));
    }
    lines.push(format!("  configuration and logs: {}", fleet.folder.path().display()));
    lines.push(String::new());
    lines.push("Worth trying, with the route that each statement takes:".to_owned());
    lines.push(String::new());
    lines.push(routes.trim_end().to_owned());
    lines.push(String::new());
    lines.push("Ctrl-C ends everything and removes the folder.".to_owned());
    lines.join("\n")
}
