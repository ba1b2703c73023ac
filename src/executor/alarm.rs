//! What others want of one session: that it ends, that its statement ends, that it ends when nothing is lost by it.
//!
//! A call stays raised until it is heeded, so that none is missed between two waits. Watching costs one short lock and no
//! registration: every wait of every statement watches.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    /// KILL, and the end of draining.
    EndSession = 1,
    /// KILL QUERY.
    EndStatement = 2,
    /// The proxy drains.
    Drain = 4,
}

/// Raised by anybody, watched by the session's own task: there is room for one waker.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    raised: AtomicU8,
    watcher: Mutex<Option<Waker>>,
}

impl Alarm {
    pub(crate) fn raise(&self, call: Call) {
        self.raised.fetch_or(call as u8, Ordering::SeqCst);
        self.nudge();
    }

    /// The session's task looks again at whatever it waits for.
    pub(crate) fn nudge(&self) {
        if let Some(watcher) = self.watcher.lock().as_ref() {
            watcher.wake_by_ref();
        }
    }

    pub(crate) fn is_raised(&self, call: Call) -> bool {
        self.raised.load(Ordering::SeqCst) & call as u8 != 0
    }

    pub(crate) fn lower(&self, call: Call) {
        if self.is_raised(call) {
            self.raised.fetch_and(!(call as u8), Ordering::SeqCst);
        }
    }

    /// Ends when one of `calls` is raised, and says which: the first of several. Cancel safe.
    pub(crate) async fn wait(&self, calls: &[Call]) -> Call {
        poll_fn(|context| self.poll(calls, context)).await
    }

    fn poll(&self, calls: &[Call], context: &mut Context<'_>) -> Poll<Call> {
        let mut watcher = self.watcher.lock();
        if watcher.as_ref().is_none_or(|watcher| !watcher.will_wake(context.waker())) {
            *watcher = Some(context.waker().clone());
        }
        drop(watcher);
        // After the waker is in place: a call raised since then wakes it.
        match calls.iter().find(|call| self.is_raised(**call)) {
            Some(call) => Poll::Ready(*call),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU8);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_call_wakes_its_watcher_and_stays_raised() {
        let (alarm, wakes) = (Alarm::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut wait = pin!(alarm.wait(&[Call::EndSession, Call::EndStatement]));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        alarm.raise(Call::Drain);
        assert!(wait.as_mut().poll(&mut context).is_pending());
        alarm.raise(Call::EndStatement);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Call::EndStatement));
        let mut late = pin!(alarm.wait(&[Call::EndStatement]));
        assert!(late.as_mut().poll(&mut context).is_ready());
        alarm.lower(Call::EndStatement);
        assert!(!alarm.is_raised(Call::EndStatement) && alarm.is_raised(Call::Drain));
    }
}
