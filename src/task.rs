//! Starts every task with a name, an owner and a cancellation token, and waits for it. The only caller of
//! `tokio::spawn`; a task that panics is logged by name and does not vanish.

mod reactors;

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub(crate) use reactors::{Reactors, Seat};

/// Owns a group of tasks. Clones share the group; a child scope is stopped with its parent and can be stopped alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    token: CancellationToken,
    tracker: TaskTracker,
    /// `None`: the runtime of whoever spawns.
    runtime: Option<Handle>,
    /// The first lasting task that ended before its scope; shared with the children.
    lost: watch::Sender<Option<&'static str>>,
}

impl Scope {
    pub(crate) fn new() -> Scope {
        Scope::default()
    }

    /// A scope whose tasks run there, whoever spawns them.
    pub(crate) fn on(runtime: Handle) -> Scope {
        Scope { runtime: Some(runtime), ..Scope::default() }
    }

    pub(crate) fn child(&self) -> Scope {
        Scope {
            token: self.token.child_token(),
            tracker: TaskTracker::new(),
            runtime: self.runtime.clone(),
            lost: self.lost.clone(),
        }
    }

    /// Cancelled when the scope is told to stop.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that may spawn")]
    pub(crate) fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let owned = self.owned(name, future);
        match &self.runtime {
            Some(runtime) => runtime.spawn(owned),
            None => tokio::spawn(owned),
        }
    }

    /// Starts a task at a reactor.
    pub(crate) fn spawn_at<F>(&self, seat: Seat, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = seat.handle().clone();
        runtime.spawn(self.owned(name, async move {
            future.await;
            drop(seat);
        }))
    }

    /// The task with its name, counted, and told of when it panics.
    fn owned<F>(&self, name: &'static str, future: F) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = PanicLog { name };
        let span = tracing::debug_span!("task", name);
        let task = async move {
            future.await;
            std::mem::forget(guard);
        };
        self.tracker.track_future(task.instrument(span))
    }

    /// Starts a task without which the process is of no use: it ends with the scope. When it ends otherwise, by a panic,
    /// [`Scope::lost`] says so.
    pub(crate) fn spawn_lasting<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lasting = Lasting { name, token: self.token.clone(), lost: self.lost.clone() };
        // The scope waits for its tasks.
        drop(self.spawn(name, async move {
            let _told_when_dropped = lasting;
            future.await;
        }));
    }

    /// Waits for a lasting task of this scope or its children to end before its time; its name.
    pub(crate) async fn lost(&self) -> &'static str {
        let mut lost = self.lost.subscribe();
        loop {
            if let Some(name) = *lost.borrow_and_update() {
                return name;
            }
            // The sender is ours.
            drop(lost.changed().await);
        }
    }

    /// How many tasks run.
    pub(crate) fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Asks all tasks to stop and waits for them; false when some still ran at the deadline.
    pub(crate) async fn stop(&self, deadline: Duration) -> bool {
        self.token.cancel();
        self.finished(deadline).await
    }

    /// Waits until all tasks have ended on their own; false when some still ran at the deadline.
    pub(crate) async fn finished(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

struct Lasting {
    name: &'static str,
    token: CancellationToken,
    lost: watch::Sender<Option<&'static str>>,
}

impl Drop for Lasting {
    fn drop(&mut self) {
        if !self.token.is_cancelled() {
            tracing::error!(task = self.name, "a task that must not end has ended");
            self.lost.send_replace(Some(self.name));
        }
    }
}

struct PanicLog {
    name: &'static str,
}

impl Drop for PanicLog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_lasting_task_that_ends_is_told_and_one_that_is_stopped_is_not() {
        let scope = Scope::new();
        let stop = scope.token().clone();
        scope.spawn_lasting("good", async move { stop.cancelled().await });
        scope.child().spawn_lasting("bad", async { panic!("a fault of the proxy") });
        assert_eq!(tokio::time::timeout(PATIENCE, scope.lost()).await, Ok("bad"));

        let scope = Scope::new();
        let stop = scope.token().clone();
        scope.spawn_lasting("good", async move { stop.cancelled().await });
        assert!(scope.stop(PATIENCE).await);
        assert_eq!(*scope.lost.borrow(), None);
    }
}
