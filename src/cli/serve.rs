//! `shardway serve`: runs the proxy.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::files::{SettingsFile, print_faults};
use crate::task::Reactors;
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
    let (main, reactors, operations) = match start(loaded.settings.workers) {
        Ok(runtimes) => runtimes,
        Err(error) => {
            eprintln!("shardway: cannot start the runtimes: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = main.block_on(app::run(
        arguments.settings.path.clone(),
        loaded,
        reactors,
        operations.handle().clone(),
    ));
    operations.shutdown_timeout(STOP_TIMEOUT);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// This thread accepts clients and keeps pools, the reactors serve sessions, the last is for operators and the control plane.
fn start(workers: usize) -> io::Result<(Runtime, Arc<Reactors>, Runtime)> {
    let main = Builder::new_current_thread().enable_all().build()?;
    let reactors = Arc::new(Reactors::start(workers)?);
    let operations =
        Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("operations").build()?;
    Ok((main, reactors, operations))
}
