//! Logs and the metric registry. Nothing here is global but what `tracing` itself keeps: the registry and the
//! log control are values that `app` makes and hands down.
//!
//! * `logging` — where log lines go, in which form, and which are written; the filter changes while the process runs.
//! * `metrics` — the registry, metrics read at scrape time, guards of gauges, the text that Prometheus reads.
//! * `process` — what the process says of itself: build, start, memory, descriptors.
//!
//! What may be printed of a statement is decided by `sql::redact`; credentials have no Debug form that shows them.

pub(crate) mod logging;
pub(crate) mod metrics;
mod process;

pub(crate) use logging::{LogControl, LogError};
pub(crate) use metrics::{GaugeGuard, MetricRegistry, exposition};
pub(crate) use process::register_process;
