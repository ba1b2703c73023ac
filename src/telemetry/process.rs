//! What the process says of itself: build, start, uptime, and on Linux memory, processor time and descriptors under
//! the names that every Prometheus client library uses.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::metrics::{MetricRegistry, gauges_at_scrape};

/// Units of time in `/proc/self/stat`; USER_HZ is part of Linux' interface and 100 on every architecture that Rust's
/// tier one names.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers the metrics; the process counts as started now.
pub(crate) fn register_process(registry: &MetricRegistry) {
    let began = Instant::now();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let plain = |name: &str, help: &str, value: Box<dyn Fn() -> Option<f64> + Send + Sync>| {
        gauges_at_scrape(registry, name, help, &[], move |gauges| {
            if let Some(value) = value() {
                gauges.with_label_values::<&str>(&[]).set(value);
            }
        });
    };
    gauges_at_scrape(
        registry,
        "shardway_build_info",
        "Always 1; the labels say which build runs.",
        &["version"],
        |gauges| gauges.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0),
    );
    plain(
        "shardway_start_time_seconds",
        "When the process started, in seconds since 1970.",
        Box::new(move || Some(started)),
    );
    plain(
        "shardway_uptime_seconds",
        "Seconds since the process started.",
        Box::new(move || Some(began.elapsed().as_secs_f64())),
    );
    plain("process_resident_memory_bytes", "Resident memory.", Box::new(resident_bytes));
    plain("process_open_fds", "Open file descriptors.", Box::new(open_descriptors));
    super::metrics::counter_at_scrape(
        registry,
        "process_cpu_seconds_total",
        "Processor time used, user and system.",
        || processor_seconds().unwrap_or(0.0),
    );
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_descriptors() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The directory itself is open while it is read.
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything; the fields after it are numbers,
    // utime and stime the 12th and 13th of them (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition;

    #[test]
    fn a_process_tells_its_build_start_and_memory() {
        let registry = MetricRegistry::new();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        register_process(&registry);
        let text = exposition(&registry);
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("shardway_build_info{{version=\"{version}\"}} 1\n")), "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("shardway_start_time_seconds ")).unwrap();
        assert!((before..before + 60.0).contains(&line.parse().unwrap()), "{line}");
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().unwrap() > 1_000_000.0);
            assert!(open_descriptors().unwrap() >= 3.0);
            assert!(processor_seconds().is_some());
        }
    }
}
