//! Runs sysbench and reads what it prints.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

pub(crate) const TABLES: usize = 4;
pub(crate) const ROWS: usize = 10_000;
const LARGE_RESULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/large_result.lua");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// One row by its key per statement; through Shardway spread over two shards.
    PointSelect,
    /// The same of a table that is whole on one shard: every target has one server, so only what stands in between differs.
    PointSelectOneShard,
    /// Transactions of point selects, ranges, sums, ordered and distinct ranges, on one shard.
    ReadOnly,
    /// 100,000 rows per statement.
    LargeResult,
}

impl Workload {
    pub(crate) const ALL: [Workload; 4] =
        [Workload::PointSelect, Workload::PointSelectOneShard, Workload::ReadOnly, Workload::LargeResult];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::PointSelect => "oltp_point_select",
            Workload::PointSelectOneShard => "oltp_point_select on one shard",
            Workload::ReadOnly => "oltp_read_only",
            Workload::LargeResult => "large_result",
        }
    }

    /// Sixty-four clients with 20 MB each would measure the memory of sysbench.
    pub(crate) fn takes(self, clients: usize) -> bool {
        match self {
            Workload::PointSelect | Workload::PointSelectOneShard | Workload::ReadOnly => true,
            Workload::LargeResult => clients <= 8,
        }
    }

    fn script(self) -> &'static str {
        match self {
            Workload::PointSelect | Workload::PointSelectOneShard => "oltp_point_select",
            Workload::ReadOnly => "oltp_read_only",
            Workload::LargeResult => LARGE_RESULT,
        }
    }
}

pub(crate) struct Sysbench {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

pub(crate) struct Outcome {
    pub(crate) queries: f64,
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
}

impl Sysbench {
    /// Makes and fills the tables; ids are written by sysbench, since no shard could count them alone.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        self.call("oltp_point_select", &["--auto_inc=off", "--create_secondary=off"], "prepare")?;
        Ok(())
    }

    pub(crate) fn run(&self, workload: Workload, clients: usize, seconds: u64) -> anyhow::Result<Outcome> {
        let options = [
            format!("--threads={clients}"),
            format!("--time={seconds}"),
            "--events=0".to_owned(),
            "--percentile=99".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let printed = self.call(workload.script(), &options, "run")?;
        read(&printed).with_context(|| format!("sysbench printed:\n{printed}"))
    }

    fn call(&self, script: &str, options: &[&str], command: &str) -> anyhow::Result<String> {
        let mut call = Command::new("sysbench");
        call.arg(script).args(["--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-ssl=off"]);
        call.args([
            format!("--mysql-port={}", self.port),
            format!("--mysql-user={}", self.user),
            format!("--mysql-password={}", self.password),
            format!("--mysql-db={}", self.database),
        ]);
        if script != LARGE_RESULT {
            call.args(["--db-ps-mode=disable", "--rand-type=uniform"]);
            call.args([format!("--tables={TABLES}"), format!("--table-size={ROWS}")]);
        }
        let output =
            call.args(options).arg(command).stdin(Stdio::null()).output().context("sysbench is needed")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sysbench {command} failed:\n{printed}{complaints}");
        Ok(printed)
    }
}

/// From sysbench's summary; errors in it make the run worthless.
fn read(printed: &str) -> anyhow::Result<Outcome> {
    let line = |start: &str| {
        let found = printed.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
        found.map(str::trim).with_context(|| format!("no line {start}"))
    };
    let first = |text: &str| -> anyhow::Result<f64> {
        Ok(text.split_whitespace().next().context("an empty line")?.parse()?)
    };
    ensure!(first(line("ignored errors:")?)? == 0.0, "errors during the run");
    let queries = line("queries:")?;
    let (count, rate) = queries.split_once('(').context("a rate in brackets")?;
    Ok(Outcome {
        queries: first(count)?,
        per_second: first(rate)?,
        p99_ms: first(line("99th percentile:")?)?,
    })
}
