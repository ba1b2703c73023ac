//! What sessions count. Every counter of the path of a statement is resolved when the process starts, so that a
//! statement costs a few atomic additions and no look-up; label sets are the enums below and therefore closed.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::error::{CATALOGUE, ClientError, Entry};
use crate::executor::Traffic;
use crate::sql::Kind;
use crate::telemetry::metrics::{counter, counters, gauge, histograms};
use crate::telemetry::{GaugeGuard, MetricRegistry};

/// 100 µs to 60 s, about three steps in each power of ten.
/// What became of a read that a replica could answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaRead {
    Served,
    /// It did not have in time what the session must see.
    Behind,
}

/// In the order of [`ReplicaRead`].
const REPLICA_READS: [&str; 2] = ["served", "behind"];

const FAILOVER_WAIT_SECONDS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const STATEMENT_SECONDS: [f64; 18] = [
    0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
    30.0, 60.0,
];

/// The kinds of statements as metrics tell them apart.
const KINDS: [&str; 13] = [
    "select",
    "insert",
    "replace",
    "update",
    "delete",
    "transaction",
    "set",
    "show",
    "definition",
    "administration",
    "call",
    "shardway",
    "other",
];

/// Index into [`KINDS`].
fn kind_index(kind: Kind) -> usize {
    match kind {
        Kind::Select => 0,
        Kind::Insert => 1,
        Kind::Replace => 2,
        Kind::Update => 3,
        Kind::Delete => 4,
        Kind::Begin | Kind::Commit | Kind::Rollback | Kind::Savepoint | Kind::Xa => 5,
        Kind::Set | Kind::SetTransaction | Kind::Use => 6,
        Kind::Show | Kind::Explain => 7,
        Kind::Definition => 8,
        Kind::Grant | Kind::Administration | Kind::LockTables | Kind::UnlockTables | Kind::Kill => 9,
        Kind::Call | Kind::Do => 10,
        Kind::Shardway => 11,
        Kind::Prepare | Kind::Load | Kind::Handler | Kind::Empty | Kind::Other => 12,
    }
}

/// How a statement was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteLabel {
    Passthrough,
    Scatter,
    Everywhere,
    /// One server computed it over copies.
    Scratch,
    /// The proxy answered, or refused before it knew a route.
    Local,
}

const ROUTES: [&str; 5] = ["passthrough", "scatter", "everywhere", "scratch", "local"];

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementResult {
    Ok,
    /// A server answered with an error, which the client got.
    ServerError,
    /// The proxy answered with an error of its own.
    Refused,
    /// The server or the client went away before the end.
    Lost,
}

const RESULTS: [&str; 4] = ["ok", "server_error", "refused", "lost"];

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginResult {
    Ok,
    /// Wrong user, password or database.
    Denied,
    /// A limit: too many connections.
    Limited,
    /// The bytes were no login, or the time ran out.
    Broken,
}

const LOGINS: [&str; 4] = ["ok", "denied", "limited", "broken"];

/// Shared by all sessions.
#[derive(Debug)]
pub(crate) struct SessionMetrics {
    sessions: IntGauge,
    sessions_total: IntCounter,
    logins: [IntCounter; LOGINS.len()],
    /// By kind, route, result, in this order.
    statements: Vec<IntCounter>,
    seconds: [Histogram; KINDS.len()],
    /// In the order of the catalogue.
    errors: Vec<IntCounter>,
    pins: IntCounterVec,
    pinned: IntGauge,
    failover_waits: Histogram,
    replica_reads: [IntCounter; REPLICA_READS.len()],
    from_client: IntCounter,
    to_client: IntCounter,
}

impl SessionMetrics {
    pub(crate) fn register(registry: &MetricRegistry) -> SessionMetrics {
        let logins =
            counters(registry, "shardway_logins_total", "Logins of clients, by how they ended.", &["result"]);
        let statements = counters(
            registry,
            "shardway_statements_total",
            "Statements of clients, by kind, by how they were carried out and by how they ended.",
            &["kind", "route", "result"],
        );
        let seconds = histograms(
            registry,
            "shardway_statement_seconds",
            "Time from the last byte of a statement to the last byte of its answer.",
            &["kind"],
            &STATEMENT_SECONDS,
        );
        let failover_waits = histograms(
            registry,
            "shardway_failover_wait_seconds",
            "How long statements waited for the primary of their shard, by statement.",
            &[],
            &FAILOVER_WAIT_SECONDS,
        );
        let replica_reads = counters(
            registry,
            "shardway_replica_reads_total",
            "Reads that a replica could answer by the session's setting, by whether one did.",
            &["result"],
        );
        let errors = counters(
            registry,
            "shardway_errors_total",
            "Errors of the proxy's own, by catalogue id.",
            &["id"],
        );
        let bytes = counters(
            registry,
            "shardway_bytes_total",
            "Bytes exchanged with clients after the login.",
            &["direction"],
        );
        let mut all = Vec::with_capacity(KINDS.len() * ROUTES.len() * RESULTS.len());
        for kind in KINDS {
            for route in ROUTES {
                all.extend(RESULTS.map(|result| statements.with_label_values(&[kind, route, result])));
            }
        }
        SessionMetrics {
            sessions: gauge(registry, "shardway_sessions", "Clients that are connected."),
            sessions_total: counter(registry, "shardway_sessions_total", "Clients that have connected."),
            logins: LOGINS.map(|result| logins.with_label_values(&[result])),
            statements: all,
            seconds: KINDS.map(|kind| seconds.with_label_values(&[kind])),
            errors: CATALOGUE.iter().map(|entry| errors.with_label_values(&[entry.id])).collect(),
            pins: counters(
                registry,
                "shardway_pins_total",
                "Sessions that had to keep a connection of their own, by reason.",
                &["reason"],
            ),
            pinned: gauge(
                registry,
                "shardway_pinned_sessions",
                "Sessions that keep a connection of their own.",
            ),
            failover_waits: failover_waits.with_label_values::<&str>(&[]),
            replica_reads: REPLICA_READS.map(|result| replica_reads.with_label_values(&[result])),
            from_client: bytes.with_label_values(&["from_client"]),
            to_client: bytes.with_label_values(&["to_client"]),
        }
    }

    pub(crate) fn replica_read(&self, result: ReplicaRead) {
        self.replica_reads[result as usize].inc();
    }

    /// A statement does not wait for a primary any more.
    pub(crate) fn failover_waited(&self, took: Duration) {
        self.failover_waits.observe(took.as_secs_f64());
    }

    /// Counts a connected client until the guard is dropped.
    pub(crate) fn session(&self) -> GaugeGuard {
        self.sessions_total.inc();
        GaugeGuard::count(&self.sessions)
    }

    pub(crate) fn login(&self, result: LoginResult) {
        self.logins[result as usize].inc();
    }

    pub(crate) fn statement(&self, kind: Kind, route: RouteLabel, result: StatementResult, took: Duration) {
        let kind = kind_index(kind);
        let index = (kind * ROUTES.len() + route as usize) * RESULTS.len() + result as usize;
        self.statements[index].inc();
        self.seconds[kind].observe(took.as_secs_f64());
    }

    /// How many statements were counted.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.iter().map(IntCounter::get).sum()
    }

    /// Counts an error that is sent to a client.
    pub(crate) fn error(&self, error: &ClientError) {
        let same = |entry: &Entry| entry.id == error.entry.id;
        if let Some(counter) = CATALOGUE.iter().position(same).and_then(|index| self.errors.get(index)) {
            counter.inc();
        }
    }

    /// Counts a pin, and the pinned session until the guard is dropped. Reasons are constants of the program.
    pub(crate) fn pin(&self, reason: &'static str) -> GaugeGuard {
        self.pins.with_label_values(&[reason]).inc();
        GaugeGuard::count(&self.pinned)
    }

    pub(crate) fn traffic(&self, traffic: Traffic) {
        self.from_client.inc_by(traffic.from_client);
        self.to_client.inc_by(traffic.to_client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition;

    #[test]
    fn a_statement_counts_under_its_own_labels() {
        let registry = MetricRegistry::new();
        let metrics = SessionMetrics::register(&registry);
        let took = Duration::from_micros(300);
        metrics.statement(Kind::Other, RouteLabel::Local, StatementResult::Lost, took);
        metrics.statement(Kind::Select, RouteLabel::Passthrough, StatementResult::Ok, took);
        metrics.statement(Kind::Explain, RouteLabel::Scatter, StatementResult::ServerError, took);
        let text = exposition(&registry);
        for (kind, result, route) in
            [("other", "lost", "local"), ("select", "ok", "passthrough"), ("show", "server_error", "scatter")]
        {
            let line = format!(
                "shardway_statements_total{{kind=\"{kind}\",result=\"{result}\",route=\"{route}\"}} 1\n"
            );
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("shardway_statement_seconds_bucket{kind=\"select\",le=\"0.0002\"} 0\n"));
        assert!(text.contains("shardway_statement_seconds_bucket{kind=\"select\",le=\"0.0005\"} 1\n"));
    }

    #[test]
    fn errors_count_under_their_id() {
        let registry = MetricRegistry::new();
        let metrics = SessionMetrics::register(&registry);
        metrics.error(&ClientError::new("SW1402", "busy"));
        let text = exposition(&registry);
        assert!(text.contains("shardway_errors_total{id=\"SW1402\"} 1\n"), "{text}");
        assert!(text.contains("shardway_errors_total{id=\"SW1401\"} 0\n"), "{text}");
    }

    #[test]
    fn pins_and_sessions_are_counted_while_they_last() {
        let registry = MetricRegistry::new();
        let metrics = SessionMetrics::register(&registry);
        let session = metrics.session();
        let pin = metrics.pin("named_lock");
        assert!(exposition(&registry).contains("shardway_pinned_sessions 1\n"));
        drop((session, pin));
        let text = exposition(&registry);
        for line in [
            "shardway_pinned_sessions 0\n",
            "shardway_sessions 0\n",
            "shardway_sessions_total 1\n",
            "shardway_pins_total{reason=\"named_lock\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
