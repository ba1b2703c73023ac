//! Arguments and exit codes.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
mod files;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A shard-routing SQL proxy for MySQL: applications see one server, behind it are many.
#[derive(Debug, Parser)]
#[command(name = "shardway", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Serve(serve::Arguments),
    /// Read both files and print every fault; with --connect, compare the map with its servers
    Check(check::CheckArguments),
    /// Print the plan and the route of a statement, without servers
    Explain(explain::Arguments),
    /// Start local servers, load a sample shop through the proxy, and print what to try
    Demo(demo::Arguments),
}

/// Runs the command line `arguments`, the program's name first. Exit codes: 0 done, 1 failed, 2 wrong arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match CommandLine::try_parse_from(arguments) {
        Ok(CommandLine { command: Command::Serve(arguments) }) => serve::run(&arguments),
        Ok(CommandLine { command: Command::Check(arguments) }) => check::run(&arguments),
        Ok(CommandLine { command: Command::Explain(arguments) }) => explain::run(&arguments),
        Ok(CommandLine { command: Command::Demo(arguments) }) => demo::run(&arguments),
        Err(error) => error.exit(),
    }
}
