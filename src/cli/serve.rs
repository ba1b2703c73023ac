//! `shardway serve`: runs the proxy.

use std::process::ExitCode;

use super::files::{SettingsFile, print_faults};
use crate::{app, config};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFile,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let loaded = match config::load(&arguments.settings.path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            print_faults(&faults);
            return ExitCode::FAILURE;
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if loaded.settings.workers > 0 {
        builder.worker_threads(loaded.settings.workers);
    }
    let runtime = match builder.enable_all().thread_name("shardway").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shardway: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(app::run(arguments.settings.path.clone(), loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}
