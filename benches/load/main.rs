//! sysbench against local MariaDB servers: direct, through HAProxy in TCP mode, and through Shardway, side by side.
//! Runs alternate between the three and ratios are taken within a round, so that a busy minute hits all alike.
//!
//! `BENCH_SECONDS` (5) per run, `BENCH_ROUNDS` (3), `BENCH_CLIENTS` (1,8,64), `BENCH_TARGETS` (direct,haproxy,shardway).
//! Writes docs/performance.md between its markers, and every figure to docs/performance.csv.

mod process;
mod report;
mod sysbench;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use shardway::internal::local::{
    Account, Fleet, Installed, MapDatabase, MapFile, MapTable, Placing, ProxyProcess, Supervised,
    even_xxhash, free_port, settings_text,
};

use process::Usage;
use report::{Figure, Setting};
use sysbench::{ROWS, Sysbench, TABLES, Workload};

const USER: &str = "bench";
const PASSWORD: &str = "bench";
/// Rows spread over both shards by their id.
const SHARDED: &str = "sharded";
/// Whole on the first shard: what direct connections and HAProxy see, and what transactions over ranges use.
const WHOLE: &str = "whole";
const BIG_ROWS: u32 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Direct,
    Haproxy,
    Shardway,
}

impl Target {
    const ALL: [Target; 3] = [Target::Direct, Target::Haproxy, Target::Shardway];

    fn name(self) -> &'static str {
        match self {
            Target::Direct => "direct",
            Target::Haproxy => "haproxy",
            Target::Shardway => "shardway",
        }
    }
}

/// What to run, from the environment.
struct Options {
    seconds: u64,
    rounds: usize,
    clients: Vec<usize>,
    targets: Vec<Target>,
}

impl Options {
    fn read() -> anyhow::Result<Options> {
        let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let number = |name: &str, default: &str| -> anyhow::Result<u64> {
            variable(name, default).parse().with_context(|| format!("{name} is not a number"))
        };
        let clients = variable("BENCH_CLIENTS", "1,8,64");
        let targets = variable("BENCH_TARGETS", "direct,haproxy,shardway");
        let targets: Vec<Target> = Target::ALL
            .into_iter()
            .filter(|target| targets.split(',').any(|name| name == target.name()))
            .collect();
        ensure!(
            targets.contains(&Target::Direct),
            "BENCH_TARGETS needs direct: the others are measured against it"
        );
        Ok(Options {
            seconds: number("BENCH_SECONDS", "5")?,
            rounds: usize::try_from(number("BENCH_ROUNDS", "3")?)?,
            clients: clients
                .split(',')
                .map(|text| text.trim().parse().context("BENCH_CLIENTS is a list of numbers"))
                .collect::<anyhow::Result<_>>()?,
            targets,
        })
    }
}

/// Everything that runs meanwhile; the fleet ends last, with its folder.
struct Stage {
    proxy: Option<ProxyProcess>,
    haproxy: Option<(Supervised, u16)>,
    fleet: Fleet,
}

impl Stage {
    fn port(&self, target: Target) -> anyhow::Result<u16> {
        Ok(match target {
            Target::Direct => self.fleet.shards[0].primary.port,
            Target::Haproxy => self.haproxy.as_ref().context("HAProxy does not run")?.1,
            Target::Shardway => self.proxy.as_ref().context("Shardway does not run")?.addresses.mysql.port(),
        })
    }

    /// The process between client and server.
    fn pid(&self, target: Target) -> Option<u32> {
        match target {
            Target::Direct => None,
            Target::Haproxy => self.haproxy.as_ref()?.0.pid(),
            Target::Shardway => self.proxy.as_ref()?.process.pid(),
        }
    }

    fn sysbench(&self, target: Target, database: &str) -> anyhow::Result<Sysbench> {
        Ok(Sysbench {
            port: self.port(target)?,
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            database: database.to_owned(),
        })
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::read()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = runtime.block_on(prepare(&options))?;
    let mut figures = Vec::new();
    for round in 1..=options.rounds {
        for workload in Workload::ALL {
            for &clients in options.clients.iter().filter(|clients| workload.takes(**clients)) {
                for &target in &options.targets {
                    let figure = measure(&stage, &options, round, workload, clients, target)?;
                    eprintln!("{}", figure.line());
                    figures.push(figure);
                }
            }
        }
    }
    let setting = Setting {
        server: stage.fleet.template.program.version.clone(),
        seconds: options.seconds,
        rounds: options.rounds,
        row_bytes: big_row_bytes(&runtime, &stage)?,
    };
    report::write(Path::new(env!("CARGO_MANIFEST_DIR")), &setting, &figures)
}

async fn prepare(options: &Options) -> anyhow::Result<Stage> {
    let program = Installed::mariadb().context("MariaDB's server is needed: scripts/need bench")?;
    eprintln!("starting two servers of {} {}", program.flavor.name(), program.version);
    let fleet = Fleet::start(&program, 2, 0).await?;
    fleet.add_user(USER, PASSWORD).await?;
    for shard in &fleet.shards {
        shard
            .primary
            .run(&[format!("CREATE DATABASE {SHARDED}"), format!("CREATE DATABASE {WHOLE}")])
            .await?;
    }
    let mut stage = Stage { proxy: None, haproxy: None, fleet };
    stage.sysbench(Target::Direct, WHOLE)?.prepare().context("loading the first server")?;
    stage.fleet.shards[0]
        .primary
        .run(&BIG_TABLE.map(|text| text.replace("ROWS", &BIG_ROWS.to_string())))
        .await?;
    if options.targets.contains(&Target::Haproxy) {
        stage.haproxy = Some(start_haproxy(&stage.fleet)?);
    }
    if options.targets.contains(&Target::Shardway) {
        stage.proxy = Some(start_shardway(&stage.fleet, options).await?);
        eprintln!("loading {TABLES} tables of {ROWS} rows through the proxy");
        stage
            .sysbench(Target::Shardway, SHARDED)?
            .prepare()
            .context("loading the shards through the proxy")?;
    }
    Ok(stage)
}

/// About 190 bytes of text per row.
const BIG_TABLE: [&str; 2] = [
    "CREATE TABLE whole.big (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL)",
    "INSERT INTO whole.big SELECT seq, seq % 1000, REPEAT(CHAR(97 + seq % 26), 120), REPEAT('x', 60) FROM whole.seq_1_to_ROWS",
];

fn big_row_bytes(runtime: &tokio::runtime::Runtime, stage: &Stage) -> anyhow::Result<f64> {
    let question = "SELECT AVG(LENGTH(id) + LENGTH(k) + LENGTH(c) + LENGTH(pad) + 8) FROM whole.big";
    let answer = runtime.block_on(stage.fleet.shards[0].primary.ask(question))?;
    answer.context("the big table is empty")?.parse().context("an average is a number")
}

fn start_haproxy(fleet: &Fleet) -> anyhow::Result<(Supervised, u16)> {
    let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
        .context("HAProxy is needed: scripts/need bench")?;
    let home = fleet.folder.path();
    let port = free_port()?;
    let config = home.join("haproxy.cfg");
    std::fs::write(
        &config,
        format!(
            "global\n  maxconn 4096\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
             timeout server 1h\nlisten mysql\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{}\n",
            fleet.shards[0].primary.port
        ),
    )?;
    let log = home.join("haproxy.log");
    let arguments = ["-db".as_ref(), "-f".as_ref(), config.as_os_str()];
    let mut haproxy = Supervised::start(&program, arguments, &[], &log, &log)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if haproxy.exited()?.is_some() || Instant::now() > deadline {
            bail!("HAProxy did not start: {}", std::fs::read_to_string(&log)?);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((haproxy, port))
}

async fn start_shardway(fleet: &Fleet, options: &Options) -> anyhow::Result<ProxyProcess> {
    let table = |number: usize| format!("sbtest{number}");
    let sharded = Placing::Sharded { scheme: "by_id".to_owned(), key: "id".to_owned() };
    let single = Placing::Single { shard: "shard1".to_owned() };
    let tables = |placing: &Placing| -> Vec<MapTable> {
        (1..=TABLES).map(|number| MapTable { name: table(number), placing: placing.clone() }).collect()
    };
    let mut whole = tables(&single);
    whole.push(MapTable { name: "big".to_owned(), placing: single.clone() });
    let mut map = MapFile::of(fleet);
    map.schemes.push(even_xxhash("by_id", &["shard1", "shard2"]));
    map.databases.push(MapDatabase {
        name: SHARDED.to_owned(),
        default_shard: None,
        tables: tables(&sharded),
    });
    map.databases.push(MapDatabase { name: WHOLE.to_owned(), default_shard: None, tables: whole });
    let home = fleet.folder.path();
    let (config_path, map_path) = (home.join("shardway.toml"), home.join("shard-map.toml"));
    let account = Account { user: USER.to_owned(), password: PASSWORD.to_owned(), admin: true };
    std::fs::write(&map_path, map.text())?;
    // As many as the other two open: what is measured is the proxy, not the wait for a connection.
    let most = options.clients.iter().max().copied().unwrap_or_default().max(1);
    let pool = format!("[pool]\nconnections_max = {most}\nserver_connections_max = {most}\n");
    std::fs::write(&config_path, settings_text(&map_path, &[account], &pool))?;
    Ok(ProxyProcess::start(Path::new(env!("CARGO_BIN_EXE_shardway")), home, &config_path, &[]).await?)
}

fn measure(
    stage: &Stage,
    options: &Options,
    round: usize,
    workload: Workload,
    clients: usize,
    target: Target,
) -> anyhow::Result<Figure> {
    let database =
        if target == Target::Shardway && workload == Workload::PointSelect { SHARDED } else { WHOLE };
    let sysbench = stage.sysbench(target, database)?;
    let pid = stage.pid(target);
    let before = pid.map(Usage::restart).transpose()?;
    let result = sysbench
        .run(workload, clients, options.seconds)
        .with_context(|| format!("{} {clients} {}", workload.name(), target.name()))?;
    let after = pid.map(Usage::read).transpose()?;
    let cpu_micros = before
        .as_ref()
        .zip(after.as_ref())
        .map(|(before, after)| after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / result.queries);
    Ok(Figure {
        round,
        workload,
        clients,
        target,
        per_second: result.per_second,
        p99_ms: result.p99_ms,
        cpu_micros,
        peak_kib: after.map(|usage| usage.peak_kib),
    })
}
