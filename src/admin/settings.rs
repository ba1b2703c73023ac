//! SHOW VARIABLES: the settings in force by the names of the configuration file. Passwords and their hashes never
//! appear; whether one is set does.

use std::fmt::Display;
use std::time::Duration;

use crate::config::{LogFormat, PasswordProof, Settings, User};

/// Names and values, in the order of the file.
pub(crate) fn rows(settings: &Settings) -> Vec<(String, String)> {
    let mut rows = Rows(Vec::new());
    listen(&mut rows, settings);
    pool(&mut rows, settings);
    limits(&mut rows, settings);
    control_and_log(&mut rows, settings);
    let mut users: Vec<&User> = settings.users.values().map(AsRef::as_ref).collect();
    users.sort_by(|a, b| a.name.cmp(&b.name));
    for user in users {
        rows.user(user);
    }
    rows.0
}

struct Rows(Vec<(String, String)>);

impl Rows {
    fn push(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn time(&mut self, name: &str, value: Duration) {
        self.0.push((name.to_owned(), format!("{value:?}")));
    }

    fn optional(&mut self, name: &str, value: Option<impl Display>) {
        self.push(name, value.map_or("off".to_owned(), |value| value.to_string()));
    }

    fn user(&mut self, user: &User) {
        let proof = match user.proof {
            PasswordProof::Plain(ref password) if password.is_empty() => "none",
            PasswordProof::Plain(_) => "***",
            PasswordProof::Native(_) => "mysql_native_password hash ***",
            PasswordProof::Sha2 { .. } => "caching_sha2_password hash ***",
        };
        let name = |key: &str| format!("user.{}.{key}", user.name);
        self.push(&name("password"), proof);
        self.push(&name("plugin"), user.plugin.name());
        self.push(&name("admin"), user.admin);
        let databases = user.databases.as_ref().map_or("all".to_owned(), |databases| databases.join(","));
        self.push(&name("databases"), databases);
        self.push(&name("server_user"), &user.server.user);
        self.push(&name("clients_max"), user.clients_max);
        self.push(&name("read_consistency"), user.read_consistency.name());
    }
}

fn listen(rows: &mut Rows, settings: &Settings) {
    rows.push("map", settings.map.display());
    rows.push("workers", settings.workers);
    rows.push("listen.mysql", settings.listen.mysql);
    rows.optional("listen.admin", settings.listen.admin);
    rows.optional("listen.http", settings.listen.http);
    rows.push("listen.backlog", settings.listen.backlog);
    rows.optional("tls.certificate", settings.tls.as_ref().map(|tls| tls.certificate.display()));
    rows.optional("tls.key", settings.tls.as_ref().map(|tls| tls.key.display()));
    rows.optional("tls.required", settings.tls.as_ref().map(|tls| tls.required));
}

fn pool(rows: &mut Rows, settings: &Settings) {
    let pool = &settings.pool;
    rows.push("pool.idle_min", pool.idle_min);
    rows.push("pool.connections_max", pool.connections_max);
    rows.push("pool.server_connections_max", pool.server_connections_max);
    rows.push("pool.waiters_max", pool.waiters_max);
    rows.push("pool.connecting_max", pool.connecting_max);
    rows.time("pool.borrow_timeout", pool.borrow_timeout);
    rows.time("pool.connect_timeout", pool.connect_timeout);
    rows.time("pool.lifetime_max", pool.lifetime_max);
    rows.time("pool.idle_timeout", pool.idle_timeout);
    rows.time("pool.health_interval", pool.health_interval);
    rows.push("pool.prepared_max", pool.prepared_max);
    rows.push("pool.prepared_total_max", pool.prepared_total_max);
}

fn limits(rows: &mut Rows, settings: &Settings) {
    let limits = &settings.limits;
    rows.push("limits.clients_max", limits.clients_max);
    rows.time("limits.handshake_timeout", limits.handshake_timeout);
    rows.time("limits.idle_timeout", limits.idle_timeout);
    rows.time("limits.statement_timeout", limits.statement_timeout);
    rows.push("limits.packet_bytes_max", limits.packet_bytes_max);
    rows.time("limits.drain_timeout", limits.drain_timeout);
    rows.time("limits.failover_wait", limits.failover_wait);
    rows.push("limits.failover_waiters_max", limits.failover_waiters_max);
    rows.time("limits.replica_wait", limits.replica_wait);
    rows.push("limits.plans_max", limits.plans_max);
    rows.push("limits.scatter_shards_max", limits.scatter_shards_max);
    rows.push("limits.prepared_statements_max", limits.prepared_statements_max);
    rows.push("limits.merge_bytes_max", limits.merge_bytes_max);
    rows.push("limits.scratch_rows_max", limits.scratch_rows_max);
    rows.push("limits.scratch_bytes_max", limits.scratch_bytes_max);
}

fn control_and_log(rows: &mut Rows, settings: &Settings) {
    let transactions = &settings.transactions;
    rows.push("transactions.mode", transactions.mode.name());
    rows.time("transactions.recover_after", transactions.recover_after);
    rows.time("transactions.idle_timeout", transactions.idle_timeout);
    let control = &settings.control;
    rows.push("control.user", &control.credential.user);
    rows.push("control.password", if control.credential.password.is_empty() { "none" } else { "***" });
    rows.time("control.probe_interval", control.probe_interval);
    rows.time("control.probe_timeout", control.probe_timeout);
    rows.time("control.schema_interval", control.schema_interval);
    rows.time("control.lag_max", control.lag_max);
    rows.time("control.slow_start", control.slow_start);
    rows.push("control.server_version", &control.server_version);
    let format = match settings.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    rows.push("log.format", format);
    rows.push("log.filter", &settings.log.filter);
    rows.time("log.slow_statement", settings.log.slow_statement);
    rows.push("log.literals", settings.log.literals);
}
