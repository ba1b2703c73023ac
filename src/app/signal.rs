//! What the process is told by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// SIGHUP: read the files again.
    Reload,
    /// SIGTERM: finish what runs, within the drain timeout.
    Drain,
    /// SIGINT, or SIGTERM while draining: end now.
    End,
}

pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    draining: bool,
    /// A wish to reload came while something else was waited for.
    reload_asked: bool,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            draining: false,
            reload_asked: false,
        })
    }

    /// The next event that is no wish to reload; such a wish is kept for [`Signals::next`]. Cancel safe.
    pub(super) async fn beyond_reload(&mut self) -> Event {
        loop {
            match self.received().await {
                Event::Reload => self.reload_asked = true,
                ended @ (Event::Drain | Event::End) => return ended,
            }
        }
    }

    /// The next event. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        if std::mem::take(&mut self.reload_asked) { Event::Reload } else { self.received().await }
    }

    async fn received(&mut self) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            _ = self.interrupt.recv() => Event::End,
            _ = self.terminate.recv() => {
                if std::mem::replace(&mut self.draining, true) { Event::End } else { Event::Drain }
            }
        }
    }
}
