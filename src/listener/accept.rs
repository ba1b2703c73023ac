//! The accept loop: one task per connection, as many as are admitted.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::task::{Reactors, Scope};

/// How long the loop rests after the system refused a connection (out of file descriptors).
const REST: Duration = Duration::from_millis(50);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How long bytes may be under way to a client that does not acknowledge them. The system counts the time in which a client
/// does not read, too: this must not be shorter than the ten minutes that Connector/J gives itself between two reads of a
/// streamed result (`netTimeoutForStreamingResults`).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(600);
/// Refusals that may be under way at once; beyond that sockets are closed without a word.
const REFUSALS_MAX: usize = 256;

/// Counts connections against a limit that may change while they live.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    current: AtomicUsize,
}

/// One admitted connection; gone on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
}

impl Admission {
    /// `None` when `limit` connections are there already.
    pub(crate) fn admit(self: &Arc<Admission>, limit: usize) -> Option<Permit> {
        self.current
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
                (current < limit).then_some(current + 1)
            })
            .ok()?;
        Some(Permit { admission: Arc::clone(self) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.current.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Accepts until the scope's token is cancelled. `limit` is asked for every connection; those above it go to `refuse`, the
/// others to `serve`, each in a task of `sessions` at one of the reactors.
pub(crate) async fn accept<Serve, Served, Refuse, Refused>(
    listener: TcpListener,
    stop: tokio_util::sync::CancellationToken,
    (sessions, reactors): (Scope, &Reactors),
    limit: impl Fn() -> usize,
    serve: Serve,
    refuse: Refuse,
) where
    Serve: Fn(TcpStream, SocketAddr, Permit) -> Served,
    Served: Future<Output = ()> + Send + 'static,
    Refuse: Fn(TcpStream) -> Refused,
    Refused: Future<Output = ()> + Send + 'static,
{
    let admission = Arc::new(Admission::default());
    let refusals = Arc::new(Admission::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, %peer, "cannot set socket options");
        }
        match admission.admit(limit()) {
            Some(permit) => {
                let seat = reactors.seat();
                match seat.take_over(stream) {
                    Ok(stream) => drop(sessions.spawn_at(seat, "session", serve(stream, peer, permit))),
                    Err(error) => tracing::warn!(%error, %peer, "cannot serve a connection"),
                }
            }
            None => {
                if let Some(permit) = refusals.admit(REFUSALS_MAX) {
                    let refusal = refuse(stream);
                    drop(sessions.spawn("refusal", async move {
                        refusal.await;
                        drop(permit);
                    }));
                }
            }
        }
    }
}

/// Statements are small and wait for each other: no delay. Dead peers are noticed by keepalive, and by what they leave
/// unacknowledged.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_vanishes_with_bytes_under_way_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let admission = Arc::new(Admission::default());
        let first = admission.admit(1);
        assert!(first.is_some());
        assert!(admission.admit(1).is_none());
        drop(first);
        assert!(admission.admit(1).is_some());
    }
}
