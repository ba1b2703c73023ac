//! The life of the process: build, serve, reload on SIGHUP, drain on SIGTERM, end.

use std::path::PathBuf;
use std::sync::Arc;

use super::build::{Parts, build};
use super::signal::{Event, Signals};
use crate::config::Loaded;
use crate::listener::TlsFault;
use crate::session::GateError;
use crate::task::Reactors;
use crate::telemetry::LogError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("cannot listen on {address} ({what}): {cause}")]
    Listen { what: &'static str, address: std::net::SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("cannot listen to signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the task {task:?} ended, which must not end")]
    TaskLost { task: &'static str },
}

/// Runs until a signal ends it, sessions at the reactors, operators and the control plane on a runtime of their own. When it
/// listens, one line on standard output names the addresses.
pub(crate) async fn run(
    config: PathBuf,
    loaded: Loaded,
    reactors: Arc<Reactors>,
    operations: tokio::runtime::Handle,
) -> Result<(), AppError> {
    let mut signals = Signals::listen().map_err(AppError::Signals)?;
    let parts = build(config, loaded, reactors, operations).await?;
    announce(&parts);
    let ended = tokio::select! {
        () = until_ended(&parts, &mut signals) => Ok(()),
        task = parts.lost() => Err(AppError::TaskLost { task }),
    };
    if ended.is_err() {
        // What is served already may finish.
        drain(&parts, &mut signals).await;
    }
    parts.stop().await;
    ended
}

/// Serves until a signal says to end, and ends in the manner that it says.
async fn until_ended(parts: &Parts, signals: &mut Signals) {
    let mut event = signals.next().await;
    while event == Event::Reload {
        event = tokio::select! {
            () = parts.reload() => signals.next().await,
            // A reload may wait for servers that do not answer.
            ended = signals.beyond_reload() => ended,
        };
    }
    if event == Event::Drain {
        drain(parts, signals).await;
    }
}

async fn drain(parts: &Parts, signals: &mut Signals) {
    let drain_timeout = parts.drain_timeout();
    tracing::info!(sessions = parts.sessions(), ?drain_timeout, "draining");
    tokio::select! {
        finished = parts.drain(drain_timeout) => {
            if !finished {
                tracing::warn!("the drain timeout is over; the sessions that are left are ended");
            }
        }
        _ = signals.beyond_reload() => tracing::info!("ending at once"),
    }
}

/// The line that tools wait for: what listens where (ports may have been 0).
fn announce(parts: &Parts) {
    let mut line = format!("ready mysql={}", parts.addresses.mysql);
    if let Some(admin) = parts.addresses.admin {
        line.push_str(&format!(" admin={admin}"));
    }
    if let Some(http) = parts.addresses.http {
        line.push_str(&format!(" http={http}"));
    }
    println!("{line}");
    tracing::info!(mysql = %parts.addresses.mysql, map_version = %parts.topology.load().version, "serving");
}
