//! One thread per core, each with a runtime of its own that serves the tasks given to it from their first byte to their last. What a
//! reactor's tasks wait for wakes that thread and no other: a statement never crosses cores. The price: a task that computes
//! for long keeps its reactor's other tasks waiting, since none is carried off by an idle thread.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// For work on a blocking thread that cannot be cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The threads; they end when this is dropped, and their tasks with them.
#[derive(Debug)]
pub(crate) struct Reactors {
    reactors: Vec<Arc<Reactor>>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Reactor {
    handle: Handle,
    seated: AtomicUsize,
}

/// A task's place at a reactor, counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat {
    reactor: Arc<Reactor>,
}

impl Reactors {
    /// Starts so many, or one per core for 0.
    pub(crate) fn start(count: usize) -> io::Result<Reactors> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let count = if count == 0 { cores() } else { count };
        let mut started = Reactors {
            reactors: Vec::with_capacity(count),
            threads: Vec::with_capacity(count),
            stop: CancellationToken::new(),
        };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let stop = started.stop.clone();
            let thread = thread::Builder::new().name(format!("reactor-{number}")).spawn(move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(STOP_TIMEOUT);
            })?;
            started.reactors.push(Arc::new(Reactor { handle, seated: AtomicUsize::new(0) }));
            started.threads.push(thread);
        }
        Ok(started)
    }

    /// A place at the reactor that has the fewest. Sessions live long and are alike on average, so counting them balances the threads.
    pub(crate) fn seat(&self) -> Seat {
        let least = self.reactors.iter().min_by_key(|reactor| reactor.seated.load(Ordering::Relaxed));
        let reactor = Arc::clone(least.expect("there is at least one reactor"));
        reactor.seated.fetch_add(1, Ordering::Relaxed);
        Seat { reactor }
    }
}

impl Seat {
    /// A socket of another runtime, from now on driven by this one.
    pub(crate) fn take_over(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let stream = stream.into_std()?;
        let _here = self.reactor.handle.enter();
        TcpStream::from_std(stream)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.reactor.handle
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.reactor.seated.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reactor's thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;
    use crate::task::Scope;

    #[test]
    fn places_are_spread_evenly_and_free_again_after_the_task() {
        let reactors = Reactors::start(3).unwrap();
        let seats: Vec<Seat> = (0..6).map(|_| reactors.seat()).collect();
        assert!(reactors.reactors.iter().all(|reactor| reactor.seated.load(Ordering::Relaxed) == 2));
        drop(seats);
        assert!(reactors.reactors.iter().all(|reactor| reactor.seated.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_task_runs_on_the_thread_of_its_seat() {
        let reactors = Reactors::start(2).unwrap();
        let scope = Scope::new();
        let (tell, told) = mpsc::channel();
        let seats = [reactors.seat(), reactors.seat()];
        for seat in seats {
            let tell = tell.clone();
            drop(scope.spawn_at(seat, "task", async move {
                tokio::task::yield_now().await;
                tell.send(thread::current().name().map(str::to_owned)).unwrap();
            }));
        }
        let names: HashSet<_> = (0..2).map(|_| told.recv().unwrap().unwrap()).collect();
        assert_eq!(names, HashSet::from(["reactor-0".to_owned(), "reactor-1".to_owned()]));
    }
}
