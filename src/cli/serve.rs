//! `shardway serve`: runs the proxy.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::files::{SettingsFile, print_faults};
use crate::{app, config};

/// For a look-up of a name that cannot be cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

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
    let workers = loaded.settings.workers;
    let started = runtime("shardway", workers).and_then(|data| Ok((data, runtime("operations", 1)?)));
    let (data, operations) = match started {
        Ok(runtimes) => runtimes,
        Err(error) => {
            eprintln!("shardway: cannot start the runtimes: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served =
        data.block_on(app::run(arguments.settings.path.clone(), loaded, operations.handle().clone()));
    operations.shutdown_timeout(STOP_TIMEOUT);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// With so many workers, or one per core for 0.
fn runtime(name: &str, workers: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder.enable_all().thread_name(name).build()
}
