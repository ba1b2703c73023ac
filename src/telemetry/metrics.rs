//! The metric registry and the building blocks of the parts' own `metrics.rs` files: registration, guards of gauges,
//! values that are read when Prometheus asks. Label sets are closed by construction: labels come from enums.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

/// The registry of all metrics of one process (or one test).
pub(crate) use prometheus::Registry as MetricRegistry;

/// The media type of [`exposition`].
pub(crate) const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as Prometheus reads them.
pub(crate) fn exposition(registry: &MetricRegistry) -> String {
    let mut text = Vec::new();
    if let Err(error) = prometheus::TextEncoder::new().encode(&registry.gather(), &mut text) {
        tracing::error!(%error, "cannot write the metrics");
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Adds `metric` to the registry and gives it back. A name that is taken is a bug of the caller; it is logged and the
/// metric counts unseen, since no metric is worth the process.
pub(crate) fn register<M: Collector + Clone + 'static>(registry: &MetricRegistry, metric: M) -> M {
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        debug_assert!(false, "metric registered twice: {error}");
        tracing::error!(%error, "cannot register a metric");
    }
    metric
}

const VALID: &str = "names and labels of metrics are constants of this program";

pub(crate) fn counter(registry: &MetricRegistry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help).expect(VALID))
}

pub(crate) fn counters(registry: &MetricRegistry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels).expect(VALID))
}

pub(crate) fn gauge(registry: &MetricRegistry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect(VALID))
}

pub(crate) fn histograms(
    registry: &MetricRegistry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels).expect(VALID))
}

/// Gauges that are filled when Prometheus asks: `refresh` is called with the emptied gauges. For values that live
/// elsewhere (pool sizes, lag), so that nothing has to keep a gauge in step.
pub(crate) fn gauges_at_scrape(
    registry: &MetricRegistry,
    name: &str,
    help: &str,
    labels: &[&str],
    refresh: impl Fn(&prometheus::GaugeVec) + Send + Sync + 'static,
) {
    let metric = prometheus::GaugeVec::new(Opts::new(name, help), labels).expect(VALID);
    let emptied = move |gauges: &prometheus::GaugeVec| {
        gauges.reset();
        refresh(gauges);
    };
    register(registry, AtScrape { metric, refresh: Arc::new(emptied), turn: Arc::default() });
}

/// A counter that somebody else keeps; `value` must never fall.
pub(crate) fn counter_at_scrape(
    registry: &MetricRegistry,
    name: &str,
    help: &str,
    value: impl Fn() -> f64 + Send + Sync + 'static,
) {
    let metric = prometheus::Counter::new(name, help).expect(VALID);
    let follow = move |counter: &prometheus::Counter| counter.inc_by((value() - counter.get()).max(0.0));
    register(registry, AtScrape { metric, refresh: Arc::new(follow), turn: Arc::default() });
}

struct AtScrape<M> {
    metric: M,
    refresh: Arc<dyn Fn(&M) + Send + Sync>,
    /// Two scrapes at once must not both add the same difference, nor see emptied gauges.
    turn: Arc<Mutex<()>>,
}

impl<M: Clone> Clone for AtScrape<M> {
    fn clone(&self) -> AtScrape<M> {
        AtScrape {
            metric: self.metric.clone(),
            refresh: Arc::clone(&self.refresh),
            turn: Arc::clone(&self.turn),
        }
    }
}

impl<M: Collector> Collector for AtScrape<M> {
    fn desc(&self) -> Vec<&Desc> {
        self.metric.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock();
        (self.refresh)(&self.metric);
        self.metric.collect()
    }
}

/// Counts something as long as it lives.
#[derive(Debug)]
pub(crate) struct GaugeGuard {
    gauge: IntGauge,
}

impl GaugeGuard {
    pub(crate) fn count(gauge: &IntGauge) -> GaugeGuard {
        gauge.inc();
        GaugeGuard { gauge: gauge.clone() }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_guard_counts_while_it_lives() {
        let gauge = gauge(&MetricRegistry::new(), "shardway_things", "Things.");
        let guard = GaugeGuard::count(&gauge);
        assert_eq!(gauge.get(), 1);
        drop(guard);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_counter_kept_elsewhere_is_read_at_each_scrape() {
        let registry = MetricRegistry::new();
        let kept = Arc::new(AtomicU64::new(3));
        let read = Arc::clone(&kept);
        counter_at_scrape(&registry, "shardway_kept_total", "Kept.", move || {
            read.load(Ordering::Relaxed) as f64
        });
        assert!(exposition(&registry).contains("shardway_kept_total 3\n"));
        kept.store(5, Ordering::Relaxed);
        assert!(exposition(&registry).contains("shardway_kept_total 5\n"));
    }

    #[test]
    fn gauges_forget_what_the_last_scrape_saw() {
        let registry = MetricRegistry::new();
        let names = Arc::new(Mutex::new(vec!["a", "b"]));
        let read = Arc::clone(&names);
        gauges_at_scrape(&registry, "shardway_seen", "Seen.", &["name"], move |gauges| {
            for name in read.lock().iter() {
                gauges.with_label_values(&[name]).set(1.0);
            }
        });
        assert!(exposition(&registry).contains("shardway_seen{name=\"b\"} 1\n"));
        names.lock().pop();
        let text = exposition(&registry);
        assert!(text.contains("{name=\"a\"}") && !text.contains("{name=\"b\"}"), "{text}");
    }
}
