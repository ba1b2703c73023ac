//! Says on standard error what is under way and how long it took: in place on a terminal, a line per step elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

#[derive(Debug)]
pub(super) struct Progress {
    terminal: bool,
    started: Instant,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Runs `work` as a step called `name`; its end is shown with a mark by its outcome.
    pub(super) async fn step<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let mut work = Box::pin(work);
        let mut ticks = tokio::time::interval(TICK);
        let mut frames = SPINNER.iter().cycle();
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticks.tick() => {
                    if let (true, Some(frame)) = (self.terminal, frames.next()) {
                        say(format_args!("\r  {frame} {name} {:.1} s\x1b[K", begun.elapsed().as_secs_f64()));
                    }
                }
            }
        };
        let mark = if outcome.is_ok() { '✓' } else { '✗' };
        let start = if self.terminal { "\r" } else { "" };
        let end = if self.terminal { "\x1b[K\n" } else { "\n" };
        say(format_args!("{start}  {mark} {name} ({:.1} s){end}", begun.elapsed().as_secs_f64()));
        outcome
    }

    pub(super) fn line(&self, text: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        say(format_args!("{start}{text}\n"));
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A terminal that went away is no reason to stop: what was started is ended by the one who started it.
fn say(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stderr().lock();
    if out.write_fmt(text).and_then(|()| out.flush()).is_err() {
        tracing::debug!("progress could not be shown");
    }
}
