//! The binary: hands the arguments to `cli` and its exit code to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardway::cli::run(std::env::args_os())
}
