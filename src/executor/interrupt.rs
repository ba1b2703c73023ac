//! What may end a statement before its server does: an operator, the end of its time.

use std::time::Duration;

use tokio::time::Instant;

use super::alarm::{Alarm, Call};
use crate::error::{Classify, ClientError, Kind, Retry};

/// Watched while a statement waits for a server.
#[derive(Debug)]
pub(crate) struct Interrupt<'a> {
    /// The session's: KILL, KILL QUERY.
    pub(crate) alarm: &'a Alarm,
    /// When the statement's time is over, and how long that was.
    pub(crate) deadline: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Interrupted {
    #[error("Query execution was interrupted")]
    Killed,
    #[error("the session was killed")]
    SessionKilled,
    #[error("the statement was stopped after {0:?}")]
    Timeout(Duration),
}

impl Interrupt<'_> {
    /// Ends when the statement must. Cancel safe.
    pub(crate) async fn wait(&self) -> Interrupted {
        let deadline = async {
            match self.deadline {
                Some((at, length)) => {
                    tokio::time::sleep_until(at).await;
                    Interrupted::Timeout(length)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            call = self.alarm.wait(&[Call::EndSession, Call::EndStatement]) => match call {
                Call::EndStatement => Interrupted::Killed,
                Call::EndSession | Call::Drain => Interrupted::SessionKilled,
            },
            interrupted = deadline => interrupted,
        }
    }
}

impl Classify for Interrupted {
    fn kind(&self) -> Kind {
        self.client().entry.kind
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn client(&self) -> ClientError {
        let id = match self {
            Interrupted::Killed | Interrupted::SessionKilled => "SW1506",
            Interrupted::Timeout(_) => "SW1407",
        };
        ClientError::new(id, self.to_string())
    }
}
