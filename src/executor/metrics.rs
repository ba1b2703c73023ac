//! What execution counts: rows, how wide statements spread, how writes over several shards ended. Cheap: the
//! counters are resolved once, a statement touches plain atomics.

use prometheus::{Histogram, IntCounter};

use super::failure::Failure;
use crate::telemetry::MetricRegistry;
use crate::telemetry::metrics::{counter, counters, histograms};

/// How a write over several shards ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MultiShardOutcome {
    Committed,
    RolledBack,
    /// Some shards committed and some did not, or nobody knows yet: somebody must look.
    Partial,
}

impl MultiShardOutcome {
    /// What a failure of such a write says.
    pub(crate) fn of(failure: &Failure) -> MultiShardOutcome {
        match failure {
            Failure::Refused(error) if matches!(error.entry.id, "SW1305" | "SW1311") => {
                MultiShardOutcome::Partial
            }
            _ => MultiShardOutcome::RolledBack,
        }
    }
}

const SCATTER_WIDTHS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

#[derive(Debug, Clone)]
pub(crate) struct ExecutorMetrics {
    rows: IntCounter,
    width: Histogram,
    committed: IntCounter,
    rolled_back: IntCounter,
    partial: IntCounter,
    retries: IntCounter,
    copied_rows: IntCounter,
    copied_bytes: IntCounter,
}

impl ExecutorMetrics {
    pub(crate) fn register(registry: &MetricRegistry) -> ExecutorMetrics {
        let writes = counters(
            registry,
            "shardway_multi_shard_writes_total",
            "Writes over several shards, by how they ended.",
            &["outcome"],
        );
        let width = histograms(
            registry,
            "shardway_scatter_shards",
            "Shards that one scattered statement was sent to.",
            &[],
            &SCATTER_WIDTHS,
        );
        ExecutorMetrics {
            rows: counter(
                registry,
                "shardway_rows_total",
                "Rows sent to clients, as far as they were counted.",
            ),
            width: width.with_label_values::<&str>(&[]),
            committed: writes.with_label_values(&["committed"]),
            rolled_back: writes.with_label_values(&["rolled_back"]),
            partial: writes.with_label_values(&["partial"]),
            copied_rows: counter(
                registry,
                "shardway_scratch_rows_total",
                "Rows copied to servers that computed statements over them.",
            ),
            copied_bytes: counter(
                registry,
                "shardway_scratch_bytes_total",
                "Bytes of values copied to servers that computed statements over them.",
            ),
            retries: counter(
                registry,
                "shardway_retries_total",
                "Statements sent again because nothing had been sent before.",
            ),
        }
    }

    pub(crate) fn rows(&self, count: u64) {
        self.rows.inc_by(count);
    }

    /// One statement had so much copied.
    pub(crate) fn copied(&self, rows: usize, bytes: usize) {
        self.copied_rows.inc_by(rows as u64);
        self.copied_bytes.inc_by(bytes as u64);
    }

    /// One statement was sent to `shards` shards.
    pub(crate) fn scattered(&self, shards: usize) {
        self.width.observe(u32::try_from(shards).map_or(f64::from(u32::MAX), f64::from));
    }

    pub(crate) fn multi_shard_write(&self, outcome: MultiShardOutcome) {
        match outcome {
            MultiShardOutcome::Committed => self.committed.inc(),
            MultiShardOutcome::RolledBack => self.rolled_back.inc(),
            MultiShardOutcome::Partial => self.partial.inc(),
        }
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }
}
