//! `shardway check`: reads both files and prints every fault; with `--connect` compares the map with its servers.

use std::process::ExitCode;

use super::files::{SettingsFile, count, print_faults};
use crate::config::{self, Loaded, MapPlacement};
use crate::control::{self, Finding, Inspection};
use crate::topology::Role;

/// Widest cell of a printed table, in characters.
const CELL_CHARACTERS_MAX: usize = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    settings: SettingsFile,
    /// Log in to every server and compare its tables with the map
    #[arg(long)]
    connect: bool,
}

/// Success when there is no fault; warnings do not count.
pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    let loaded = match config::load(&arguments.settings.path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            print_faults(&faults);
            return ExitCode::FAILURE;
        }
    };
    print!("{}", summary(&loaded));
    if !arguments.connect {
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shardway: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let inspection = runtime.block_on(control::inspect(&loaded));
    print!("\n{}", report(&inspection));
    let faults = inspection.findings.iter().filter(|finding| matches!(finding, Finding::Fault(_))).count();
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(loaded: &Loaded) -> String {
    let Loaded { settings, map } = loaded;
    let servers = map.shards.iter().map(|shard| 1 + shard.replicas.len()).sum();
    let tables = || map.databases.iter().flat_map(|database| &database.tables);
    let placed =
        |wanted: fn(&MapPlacement) -> bool| tables().filter(|table| wanted(&table.placement)).count();
    let mut lines = vec![
        format!("the files are valid: map version {}, content {:016x}", map.version, map.content_hash()),
        format!("  {} with {}", count(map.shards.len(), "shard"), count(servers, "server")),
        format!("  {}, {}", count(map.schemes.len(), "scheme"), count(map.databases.len(), "database")),
        format!(
            "  {}: {} sharded, {} reference, {} single",
            count(tables().count(), "table"),
            placed(|placement| matches!(placement, MapPlacement::Sharded { .. })),
            placed(|placement| matches!(placement, MapPlacement::Reference)),
            placed(|placement| matches!(placement, MapPlacement::Single { .. })),
        ),
        format!("  {}, listening on {}", count(settings.users.len(), "user"), settings.listen.mysql),
    ];
    if settings.tls.is_none() && !settings.listen.mysql.ip().is_loopback() {
        lines.push("warning: clients of other machines connect without TLS; add [tls]".to_owned());
    }
    lines.join("\n") + "\n"
}

fn report(inspection: &Inspection) -> String {
    let logins = inspection.logins.iter().map(|login| {
        let role = match login.role {
            Role::Primary => "primary",
            Role::Replica => "replica",
        };
        let (state, word) = match &login.outcome {
            Ok(word) => ("ok", word.clone()),
            Err(_) => ("FAULT", "see below".to_owned()),
        };
        [
            login.shard.clone(),
            login.server.clone(),
            role.to_owned(),
            login.user.clone(),
            state.to_owned(),
            word,
        ]
    });
    let mut out = table(["shard", "server", "role", "account", "state", "answer"], logins);
    let tables = inspection.tables.iter().map(|check| {
        let columns = check.columns.map_or_else(|| "–".to_owned(), |columns| columns.to_string());
        [check.table.clone(), check.placement.clone(), check.key.clone(), columns]
    });
    out.push('\n');
    out.push_str(&table(["table", "placement", "shard key", "columns"], tables));
    if !inspection.findings.is_empty() {
        out.push('\n');
    }
    for finding in &inspection.findings {
        match finding {
            Finding::Fault(text) => out.push_str(&format!("fault: {text}\n")),
            Finding::Warning(text) => out.push_str(&format!("warning: {text}\n")),
        }
    }
    let faults = inspection.findings.iter().filter(|finding| matches!(finding, Finding::Fault(_))).count();
    let warnings = inspection.findings.len() - faults;
    out.push_str(&format!("\n{}, {}\n", count(faults, "fault"), count(warnings, "warning")));
    out
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines: Vec<[String; N]> = vec![head.map(str::to_owned)];
    lines.extend(rows);
    for cell in lines.iter_mut().flatten() {
        if cell.chars().count() > CELL_CHARACTERS_MAX {
            *cell = cell.chars().take(CELL_CHARACTERS_MAX - 1).chain(['…']).collect();
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let cells: Vec<String> = cells.collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [["a".to_owned(), "é".to_owned()], ["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(["h", "k"], rows.into_iter()), "h     k\na     é\nlong  x\n");
    }

    #[test]
    fn logins_that_fail_are_faults_with_their_cause() {
        let inspection = Inspection {
            findings: vec![Finding::Fault("h:1 as u: refused".to_owned()), Finding::Warning("w".to_owned())],
            ..Inspection::default()
        };
        let report = report(&inspection);
        assert!(report.contains("fault: h:1 as u: refused\nwarning: w\n\n1 fault, 1 warning\n"), "{report}");
    }
}
