//! Starts every task with a name, an owner and a cancellation token, and waits for it. The only caller of
//! `tokio::spawn`; a task that panics is logged by name and does not vanish.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owns a group of tasks. Clones share the group; a child scope is stopped with its parent and can be stopped alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    token: CancellationToken,
    tracker: TaskTracker,
    /// `None`: the runtime of whoever spawns.
    runtime: Option<Handle>,
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
        let (token, runtime) = (self.token.child_token(), self.runtime.clone());
        Scope { token, tracker: TaskTracker::new(), runtime }
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
        let guard = PanicLog { name };
        let span = tracing::debug_span!("task", name);
        let task = async move {
            future.await;
            std::mem::forget(guard);
        };
        let tracked = self.tracker.track_future(task.instrument(span));
        match &self.runtime {
            Some(runtime) => runtime.spawn(tracked),
            None => tokio::spawn(tracked),
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
