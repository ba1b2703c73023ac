//! Places where tests kill the process: `SHARDWAY_DIE_AT=name:n` ends it, without a word, when it gets there for the n-th time.
//! Release builds have none.

#[cfg(debug_assertions)]
#[derive(Debug, Default)]
pub(crate) struct Failpoint {
    armed: Option<(String, u64)>,
    count: std::sync::atomic::AtomicU64,
}

#[cfg(debug_assertions)]
impl Failpoint {
    pub(crate) fn from_environment() -> Failpoint {
        let value = std::env::var("SHARDWAY_DIE_AT").unwrap_or_default();
        let place = value.split_once(':');
        let armed = place.and_then(|(name, times)| Some((name.to_owned(), times.parse().ok()?)));
        Failpoint { armed, ..Failpoint::default() }
    }

    pub(crate) fn reach(&self, name: &str) {
        if let Some((at, times)) = &self.armed
            && at == name
            && self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == *times
        {
            std::process::abort();
        }
    }
}

#[cfg(not(debug_assertions))]
#[derive(Debug, Default)]
pub(crate) struct Failpoint;

#[cfg(not(debug_assertions))]
impl Failpoint {
    pub(crate) fn from_environment() -> Failpoint {
        Failpoint
    }

    pub(crate) fn reach(&self, _name: &str) {}
}
