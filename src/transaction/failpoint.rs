//! Places where tests kill the process: `SHARDWAY_DIE_AT=name:n` ends it, without a word, when it gets there for the n-th time.
//! Not part of release builds.

#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let armed = ARMED.get_or_init(|| {
        let value = std::env::var("SHARDWAY_DIE_AT").ok()?;
        let (name, count) = value.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((at, times)) = armed
        && at == name
        && COUNT.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn reach(_name: &str) {}
