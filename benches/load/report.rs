//! Figures to a table in docs/performance.md and to docs/performance.csv.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::sysbench::Workload;
use crate::{BIG_ROWS, Target};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// One run.
pub(crate) struct Figure {
    pub(crate) round: usize,
    pub(crate) workload: Workload,
    pub(crate) clients: usize,
    pub(crate) target: Target,
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
    /// Of the process in between, per statement.
    pub(crate) cpu_micros: Option<f64>,
    pub(crate) peak_kib: Option<u64>,
}

impl Figure {
    pub(crate) fn line(&self) -> String {
        let cpu = self.cpu_micros.map_or_else(String::new, |micros| format!(", {micros:.1} µs CPU"));
        let peak = self.peak_kib.map_or_else(String::new, |kib| format!(", {} KiB", kib));
        format!(
            "round {} {} {:>3} clients {:>9}: {:>9.1}/s, p99 {:.2} ms{cpu}{peak}",
            self.round,
            self.workload.name(),
            self.clients,
            self.target.name(),
            self.per_second,
            self.p99_ms
        )
    }
}

/// What the figures depend on.
pub(crate) struct Setting {
    pub(crate) server: String,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    /// Text bytes of one row of the large result, with the length bytes.
    pub(crate) row_bytes: f64,
}

pub(crate) fn write(root: &Path, setting: &Setting, figures: &[Figure]) -> anyhow::Result<()> {
    let (page, raw) = (root.join("docs/performance.md"), root.join("docs/performance.csv"));
    let measured = tables(setting, figures)?;
    println!("{measured}");
    let text = std::fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
    let (head, rest) = text.split_once(BEGIN).context("docs/performance.md has lost its first marker")?;
    let (_, tail) = rest.split_once(END).context("docs/performance.md has lost its second marker")?;
    std::fs::write(&page, format!("{head}{BEGIN}\n{measured}\n{END}{tail}"))?;
    std::fs::write(&raw, csv(figures)?)?;
    Ok(())
}

fn tables(setting: &Setting, figures: &[Figure]) -> anyhow::Result<String> {
    let mut out = format!(
        "MariaDB {}, {}, {}, {}. Medians of {} rounds of {} s.\n",
        setting.server,
        first_line("haproxy", "-v"),
        first_line("sysbench", "--version"),
        machine(),
        setting.rounds,
        setting.seconds
    );
    for workload in Workload::ALL {
        write!(out, "\n### {}\n\n{}\n\n", workload.name(), explanation(workload))?;
        out.push_str(
            "| clients | direct | HAProxy | Shardway | HAProxy : direct | Shardway : direct | Shardway : HAProxy | p99 direct, HAProxy, \
             Shardway (ms) | CPU per statement HAProxy, Shardway (µs) | peak RSS HAProxy, Shardway (MiB) |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mut clients: Vec<usize> = figures
            .iter()
            .filter(|figure| figure.workload == workload)
            .map(|figure| figure.clients)
            .collect();
        clients.sort_unstable();
        clients.dedup();
        for clients in clients {
            out.push_str(&row(setting, figures, workload, clients));
        }
    }
    Ok(out.trim_end().to_owned())
}

fn explanation(workload: Workload) -> &'static str {
    match workload {
        Workload::PointSelect => {
            "Statements per second. Direct and HAProxy: one server. Shardway: the table is spread over two servers on the same machine, \
             which have twice the threads for the same cores."
        }
        Workload::PointSelectOneShard => {
            "Statements per second. All three on the same server; Shardway sees tables that are whole on one shard."
        }
        Workload::ReadOnly => {
            "Statements per second, BEGIN and COMMIT included. All three on the same server; Shardway sees tables that are whole on one shard."
        }
        Workload::LargeResult => "MB per second of a SELECT with 100,000 rows, about 19 MB.",
    }
}

fn row(setting: &Setting, figures: &[Figure], workload: Workload, clients: usize) -> String {
    let of = |target: Target| {
        figures.iter().filter(move |figure| {
            figure.workload == workload && figure.clients == clients && figure.target == target
        })
    };
    let show = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let rate = |target: Target| {
        let per_second = median(of(target).map(|figure| figure.per_second).collect());
        match workload {
            Workload::PointSelect | Workload::PointSelectOneShard | Workload::ReadOnly => show(per_second, 0),
            Workload::LargeResult => {
                show(per_second.map(|rate| rate * f64::from(BIG_ROWS) * setting.row_bytes / 1e6), 0)
            }
        }
    };
    // Within a round, so that what disturbed a round disturbs both sides.
    let ratio = |target: Target, base: Target| {
        let ratios = of(target).filter_map(|figure| {
            let base = of(base).find(|base| base.round == figure.round)?;
            Some(figure.per_second / base.per_second)
        });
        show(median(ratios.collect()), 2)
    };
    let p99 = |target: Target| show(median(of(target).map(|figure| figure.p99_ms).collect()), 2);
    let cpu = |target: Target| show(median(of(target).filter_map(|figure| figure.cpu_micros).collect()), 1);
    let peak = |target: Target| {
        let kib = of(target).filter_map(|figure| figure.peak_kib).max();
        kib.map_or_else(|| "–".to_owned(), |kib| (kib / 1024).to_string())
    };
    let (direct, haproxy, shardway) = (Target::Direct, Target::Haproxy, Target::Shardway);
    format!(
        "| {clients} | {} | {} | {} | {} | {} | {} | {}, {}, {} | {}, {} | {}, {} |\n",
        rate(direct),
        rate(haproxy),
        rate(shardway),
        ratio(haproxy, direct),
        ratio(shardway, direct),
        ratio(shardway, haproxy),
        p99(direct),
        p99(haproxy),
        p99(shardway),
        cpu(haproxy),
        cpu(shardway),
        peak(haproxy),
        peak(shardway),
    )
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (upper + values[middle - 1]) / 2.0 })
}

fn csv(figures: &[Figure]) -> anyhow::Result<String> {
    let mut out =
        "round,workload,clients,target,statements_per_second,p99_ms,cpu_us_per_statement,peak_rss_kib\n"
            .to_owned();
    for figure in figures {
        let cpu = figure.cpu_micros.map_or_else(String::new, |micros| format!("{micros:.2}"));
        let peak = figure.peak_kib.map_or_else(String::new, |kib| kib.to_string());
        let (workload, target) = (figure.workload.name(), figure.target.name());
        writeln!(
            out,
            "{},{workload},{},{target},{:.2},{:.2},{cpu},{peak}",
            figure.round, figure.clients, figure.per_second, figure.p99_ms
        )?;
    }
    Ok(out)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

/// What a program says its version is.
fn first_line(program: &str, argument: &str) -> String {
    let places = [program.to_owned(), format!("/usr/sbin/{program}")];
    let output = places.iter().find_map(|place| Command::new(place).arg(argument).output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().unwrap_or(program);
    line.split(" - ").next().unwrap_or(line).trim().to_owned()
}
