//! The prepared statements that one server connection has, found by what was prepared and as what it was read. Bounded per
//! connection and for the whole process: servers have one limit for all their clients (max_prepared_stmt_count). Knows no packets: it says
//! which handles to close, and the caller sends that ahead of its next command.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::metrics::HandleMetrics;
use crate::config::PoolSettings;

/// What a handle was prepared from: text, names and modes. Of a seeded hash, so that clients cannot construct equal ones.
pub(crate) type HandleKey = u128;

/// The handles of one connection.
#[derive(Debug)]
pub(crate) struct Handles {
    known: HashMap<HandleKey, Handle>,
    /// Rises with every use.
    clock: u64,
    book: Arc<HandleBook>,
}

#[derive(Debug)]
struct Handle {
    id: u32,
    used: u64,
}

/// What is to be done about a handle that is about to be prepared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// To be closed first.
    pub(crate) close: Vec<u32>,
    /// There is room for it. Otherwise it is closed after its use.
    pub(crate) keep: bool,
}

/// What all connections' handles have in common.
#[derive(Debug)]
pub(crate) struct HandleBook {
    connection_max: AtomicUsize,
    total_max: AtomicUsize,
    total: AtomicUsize,
    metrics: HandleMetrics,
}

impl HandleBook {
    pub(crate) fn new(settings: &PoolSettings, metrics: HandleMetrics) -> HandleBook {
        HandleBook {
            connection_max: AtomicUsize::new(settings.prepared_max),
            total_max: AtomicUsize::new(settings.prepared_total_max),
            total: AtomicUsize::new(0),
            metrics,
        }
    }

    /// For a connection that keeps nothing prepared.
    pub(crate) fn empty() -> HandleBook {
        let none = || AtomicUsize::new(0);
        HandleBook {
            connection_max: none(),
            total_max: none(),
            total: none(),
            metrics: HandleMetrics::default(),
        }
    }

    /// What is beyond new limits goes when its connection prepares the next statement.
    pub(crate) fn configure(&self, settings: &PoolSettings) {
        self.connection_max.store(settings.prepared_max, Ordering::Relaxed);
        self.total_max.store(settings.prepared_total_max, Ordering::Relaxed);
    }

    fn add(&self, count: usize) {
        let total = self.total.fetch_add(count, Ordering::Relaxed) + count;
        self.metrics.open(total);
    }

    fn subtract(&self, count: usize) {
        let total = self.total.fetch_sub(count, Ordering::Relaxed) - count;
        self.metrics.open(total);
    }
}

impl Handles {
    pub(crate) fn new(book: Arc<HandleBook>) -> Handles {
        Handles { known: HashMap::new(), clock: 0, book }
    }

    /// The server's id of a statement that is prepared.
    pub(crate) fn find(&mut self, key: HandleKey) -> Option<u32> {
        self.clock += 1;
        let handle = self.known.get_mut(&key)?;
        handle.used = self.clock;
        Some(handle.id)
    }

    /// Makes room for one more: the handles that were not used for longest leave.
    pub(crate) fn admit(&mut self) -> Admission {
        let connection_max = self.book.connection_max.load(Ordering::Relaxed);
        let total_max = self.book.total_max.load(Ordering::Relaxed);
        let mut close = Vec::new();
        while self.known.len() >= connection_max.max(1)
            || (self.book.total.load(Ordering::Relaxed) >= total_max && !self.known.is_empty())
        {
            let oldest = self.known.iter().min_by_key(|(_, handle)| handle.used).map(|(key, _)| *key);
            match oldest.and_then(|key| self.remove(key)) {
                Some(id) => close.push(id),
                None => break,
            }
        }
        self.book.metrics.evicted(close.len());
        let keep = connection_max > 0 && self.book.total.load(Ordering::Relaxed) < total_max;
        Admission { close, keep }
    }

    /// The server has prepared a statement.
    pub(crate) fn prepared(&self) {
        self.book.metrics.prepared();
    }

    /// The server did not know a handle that it had given.
    pub(crate) fn lost(&mut self, key: HandleKey) {
        if self.remove(key).is_some() {
            self.book.metrics.prepared_again();
        }
    }

    /// Remembers a handle under a key that is not known.
    pub(crate) fn insert(&mut self, key: HandleKey, id: u32) {
        self.clock += 1;
        let before = self.known.insert(key, Handle { id, used: self.clock });
        debug_assert!(before.is_none(), "the handle before would stay open");
        self.book.add(1);
    }

    /// Takes a handle out: its user closes it, or brings it back with [`Handles::insert`].
    pub(crate) fn remove(&mut self, key: HandleKey) -> Option<u32> {
        let handle = self.known.remove(&key)?;
        self.book.subtract(1);
        Some(handle.id)
    }

    /// Takes all handles out, to be closed.
    pub(crate) fn remove_all(&mut self) -> Vec<u32> {
        let ids: Vec<u32> = self.known.drain().map(|(_, handle)| handle.id).collect();
        self.book.subtract(ids.len());
        self.book.metrics.evicted(ids.len());
        ids
    }

    /// The server has forgotten them itself: COM_RESET_CONNECTION, COM_CHANGE_USER.
    pub(crate) fn forget(&mut self) {
        self.book.subtract(self.known.len());
        self.known.clear();
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handles(connection_max: usize, total_max: usize) -> (Handles, Handles) {
        let book = Arc::new(HandleBook {
            connection_max: AtomicUsize::new(connection_max),
            total_max: AtomicUsize::new(total_max),
            total: AtomicUsize::new(0),
            metrics: HandleMetrics::default(),
        });
        (Handles::new(Arc::clone(&book)), Handles::new(book))
    }

    fn prepare(handles: &mut Handles, key: HandleKey, id: u32) -> Admission {
        let admission = handles.admit();
        if admission.keep {
            handles.insert(key, id);
        }
        admission
    }

    #[test]
    fn the_handle_that_was_not_used_for_longest_leaves() {
        let (mut handles, _) = handles(2, 100);
        prepare(&mut handles, 1, 11);
        prepare(&mut handles, 2, 12);
        assert_eq!(handles.find(1), Some(11));
        assert_eq!(prepare(&mut handles, 3, 13), Admission { close: vec![12], keep: true });
        assert_eq!((handles.find(1), handles.find(2), handles.find(3)), (Some(11), None, Some(13)));
    }

    #[test]
    fn beyond_the_total_a_connection_gives_up_its_own_and_one_without_any_keeps_none() {
        let (mut one, mut two) = handles(10, 2);
        prepare(&mut one, 1, 11);
        prepare(&mut one, 2, 12);
        assert_eq!(prepare(&mut two, 1, 21), Admission { close: vec![], keep: false });
        assert_eq!(prepare(&mut one, 3, 13), Admission { close: vec![11], keep: true });
        one.forget();
        assert_eq!(prepare(&mut two, 1, 21), Admission { close: vec![], keep: true });
        drop(two);
        assert_eq!(one.book.total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let (mut handles, _) = handles(0, 100);
        assert_eq!(prepare(&mut handles, 1, 11), Admission { close: vec![], keep: false });
    }
}
