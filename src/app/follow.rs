//! Hands on what the control plane finds out: settings to the pools, the gate and the log; topologies to the pools; versions
//! to the gate and to new sessions.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backend::PoolSet;
use crate::config::{ClientTls, Credential, Settings};
use crate::control::Control;
use crate::listener::load_certificate;
use crate::session::{Fleet, GateRules, Shared};
use crate::sql::{Flavor, SqlMode};
use crate::telemetry::LogControl;
use crate::wire::is_mariadb;

pub(super) struct Follower {
    pub(super) control: Arc<Control>,
    pub(super) pools: Arc<PoolSet>,
    pub(super) shared: Arc<Shared>,
    pub(super) fleet: watch::Sender<Fleet>,
    /// Told when the parts have taken them.
    pub(super) applied: watch::Sender<Arc<Settings>>,
    pub(super) logs: LogControl,
    pub(super) certificate: Option<Arc<rustls::ServerConfig>>,
}

impl Follower {
    /// Until the token is cancelled or the control plane has ended.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let (mut settings, mut epochs) = (self.control.settings(), self.control.epochs());
        let mut probes = self.control.probes();
        loop {
            let more = tokio::select! {
                changed = settings.changed() => {
                    let now = Arc::clone(&settings.borrow_and_update());
                    self.settings_changed(&now);
                    self.applied.send_replace(now);
                    changed
                }
                changed = epochs.changed() => {
                    if self.pools.follow(&self.shared.topology.load()) {
                        self.shared.registry.nudge();
                    }
                    changed
                }
                changed = probes.changed() => {
                    self.fleet_changed();
                    changed
                }
                () = token.cancelled() => return,
            };
            if more.is_err() {
                return;
            }
        }
    }

    fn settings_changed(&mut self, settings: &Settings) {
        if let Err(error) = self.logs.apply(&settings.log) {
            tracing::warn!(%error, "the log filter stays as it was");
        }
        match settings.tls.as_ref().map(load_certificate).transpose() {
            Ok(certificate) => self.certificate = certificate,
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
        self.pools.configure(settings.pool.clone());
        let live: Vec<Arc<Credential>> =
            settings.users.values().map(|user| Arc::clone(&user.server)).collect();
        self.pools.follow_credentials(&live);
        self.replace_rules(settings);
    }

    fn fleet_changed(&mut self) {
        let now = fleet(&self.control.fleet_version(), &self.control.fleet_sql_mode());
        if *self.fleet.borrow() == now {
            return;
        }
        tracing::info!(version = %now.version, "clients see this version");
        self.fleet.send_replace(now);
        let settings = Arc::clone(&self.control.settings().borrow());
        self.replace_rules(&settings);
    }

    fn replace_rules(&self, settings: &Settings) {
        let fleet = self.fleet.borrow().clone();
        self.shared.gate.replace(gate_rules(settings, &fleet, self.certificate.clone()));
    }
}

pub(super) fn gate_rules(
    settings: &Settings,
    fleet: &Fleet,
    certificate: Option<Arc<rustls::ServerConfig>>,
) -> GateRules {
    GateRules {
        users: Arc::new(settings.users.clone()),
        server_version: fleet.version.clone(),
        deprecate_eof: has_deprecate_eof(fleet),
        tls: certificate,
        tls_required: settings.tls.as_ref().is_some_and(ClientTls::is_required),
        compression: settings.listen.compression,
    }
}

/// MySQL 5.7.5 and MariaDB 10.2 brought CLIENT_DEPRECATE_EOF.
fn has_deprecate_eof(fleet: &Fleet) -> bool {
    match fleet.flavor {
        Flavor::MySql => fleet.version_number >= 50_705,
        Flavor::MariaDb => fleet.version_number >= 100_200,
    }
}

pub(super) fn fleet(version: &str, sql_mode: &str) -> Fleet {
    let mut numbers =
        version.split(|byte: char| !byte.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0).min(99);
    let version_number: u32 = next() * 10_000 + next() * 100 + next();
    let flavor = if is_mariadb(version) { Flavor::MariaDb } else { Flavor::MySql };
    Fleet { version: version.to_owned(), version_number, flavor, mode: SqlMode::from_names(sql_mode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_the_numbers_of_executable_comments() {
        let numbers = |version| {
            let fleet = fleet(version, "");
            (fleet.version_number, fleet.flavor)
        };
        assert_eq!(numbers("8.4.6"), (80_406, Flavor::MySql));
        assert_eq!(numbers("10.11.19-MariaDB-0+deb12u1"), (101_119, Flavor::MariaDb));
        assert_eq!(numbers("9.7"), (90_700, Flavor::MySql));
        assert_eq!(numbers(""), (0, Flavor::MySql));
    }
}
