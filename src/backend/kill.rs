//! Ends a statement that runs on a server, over a fresh connection: the pool may be exhausted by what is to be ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connect::Connector;
use super::connection::Thread;
use super::error::BackendError;
use crate::config::Credential;
use crate::topology::Server;

const COM_QUERY: u8 = 0x03;
const ERR_HEADER: u8 = 0xff;
/// The connection ended meanwhile, and its statement with it.
const ER_NO_SUCH_THREAD: u16 = 1094;

/// Connections for killing to one server at once: it is in trouble already when many statements time out together.
const KILLS_AT_ONCE: usize = 4;

/// The kills under way. A thread that is being killed is not killed again meanwhile.
#[derive(Debug, Default)]
pub(super) struct Kills {
    peers: Mutex<HashMap<SocketAddr, Peer>>,
}

#[derive(Debug)]
struct Peer {
    permits: Arc<Semaphore>,
    threads: Vec<u32>,
}

/// One kill under way; its drop makes room for others.
#[derive(Debug)]
struct Kill<'a> {
    kills: &'a Kills,
    thread: Thread,
    permits: Arc<Semaphore>,
}

impl Kills {
    /// `KILL QUERY` of `thread`, on the very server that it belongs to. Waiting for other kills, connecting and killing share
    /// `timeout`. Success does not say that the statement was still running.
    pub(super) async fn kill_query(
        &self,
        connector: &Connector,
        server: &Server,
        credential: &Credential,
        thread: Thread,
        timeout: Duration,
    ) -> Result<(), BackendError> {
        let Some(kill) = self.begin(thread) else { return Ok(()) };
        let work = async {
            // The semaphore is never closed.
            let _permit = kill.permits.acquire().await;
            let mut connection = connector.open_at(thread.peer, server, credential, timeout).await?;
            connection.command(&command(thread.id)).await?;
            let answer = connection.packet().await?;
            super::checkout::quit(connection);
            verdict(server, thread, &answer)
        };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(BackendError::ConnectTimeout { server: server.name.clone(), waited: timeout })
        })
    }

    /// `None` when the thread is being killed already.
    fn begin(&self, thread: Thread) -> Option<Kill<'_>> {
        let mut peers = self.peers.lock();
        let peer = peers.entry(thread.peer).or_insert_with(|| Peer {
            permits: Arc::new(Semaphore::new(KILLS_AT_ONCE)),
            threads: Vec::new(),
        });
        if peer.threads.contains(&thread.id) {
            return None;
        }
        peer.threads.push(thread.id);
        Some(Kill { kills: self, thread, permits: Arc::clone(&peer.permits) })
    }
}

impl Drop for Kill<'_> {
    fn drop(&mut self) {
        let mut peers = self.kills.peers.lock();
        if let Some(peer) = peers.get_mut(&self.thread.peer) {
            peer.threads.retain(|id| *id != self.thread.id);
            if peer.threads.is_empty() {
                peers.remove(&self.thread.peer);
            }
        }
    }
}

fn command(thread_id: u32) -> Vec<u8> {
    let mut command = vec![COM_QUERY];
    command.extend_from_slice(format!("KILL QUERY {thread_id}").as_bytes());
    command
}

fn verdict(server: &Server, thread: Thread, answer: &[u8]) -> Result<(), BackendError> {
    let [ERR_HEADER, low, high, rest @ ..] = answer else { return Ok(()) };
    let code = u16::from_le_bytes([*low, *high]);
    if code == ER_NO_SUCH_THREAD {
        tracing::debug!(server = %server.name, %thread, "the thread to be killed was gone");
        return Ok(());
    }
    let what = format!("error {code} to KILL QUERY: {}", String::from_utf8_lossy(rest));
    Err(BackendError::Protocol { server: server.name.clone(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::ServerTlsMode;

    fn server() -> Server {
        Server { name: "h:1".into(), host: "h".into(), port: 1, tls: ServerTlsMode::Disabled }
    }

    fn thread(id: u32) -> Thread {
        Thread { peer: SocketAddr::from(([127, 0, 0, 1], 3306)), id }
    }

    #[test]
    fn the_command_names_the_thread() {
        assert_eq!(command(u32::MAX), b"\x03KILL QUERY 4294967295");
    }

    #[test]
    fn a_thread_that_is_gone_counts_as_killed_and_a_refusal_does_not() {
        assert!(verdict(&server(), thread(7), &[0, 0, 0, 2, 0, 0, 0]).is_ok());
        assert!(verdict(&server(), thread(7), b"\xff\x46\x04#HY000Unknown thread id: 7").is_ok());
        let denied = verdict(&server(), thread(7), b"\xff\x47\x04#HY000You are not owner of thread 7");
        assert!(denied.unwrap_err().to_string().contains("error 1095"));
    }

    #[test]
    fn a_thread_is_killed_once_at_a_time_and_nothing_is_kept_of_it() {
        let kills = Kills::default();
        let (first, other) = (kills.begin(thread(7)), kills.begin(thread(8)));
        assert!(first.is_some() && other.is_some());
        assert!(kills.begin(thread(7)).is_none());
        drop(first);
        assert!(kills.begin(thread(7)).is_some());
        drop(other);
        assert!(kills.peers.lock().is_empty());
    }
}
