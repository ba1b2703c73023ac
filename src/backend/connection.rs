//! One authenticated connection to a server; packets in, packets out, nothing more. Does not know pools, statements or
//! results: where a response ends is `wire::Boundary`'s knowledge.

use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime;
use tokio_rustls::client::TlsStream;

use super::error::BackendError;
use super::handles::Handles;
use super::socket::Socket;
use super::state::SessionState;
use crate::topology::ServerName;
use crate::wire::{CapabilityFlags, ErrPacket, Framer, Greeting, OkPacket, StatusFlags, encode_packet};

/// Space that is there for each read, at least; the next read gets twice as much when one was filled.
const READ_BYTES_MIN: usize = 16 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// Largest payload that [`Connection::packet`] puts together: it is for short answers.
const PACKET_BYTES_MAX: usize = 64 << 20;

/// What a server said before it closed a connection is there already, or never comes.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);
const ER_NET_PACKET_TOO_LARGE: u16 = 1153;

/// Why a connection ends whose server still keeps it open.
const DEMOTED: &str = "another server is the primary now";

const COM_QUIT: u8 = 0x01;
const COM_PING: u8 = 0x0E;
const COM_RESET_CONNECTION: u8 = 0x1F;

/// What client and server must have negotiated alike for bytes to pass unchanged; part of a pool's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Flavor {
    /// CLIENT_FOUND_ROWS changes what the server counts.
    pub(crate) found_rows: bool,
    /// CLIENT_DEPRECATE_EOF changes how results end.
    pub(crate) deprecate_eof: bool,
    /// Without CLIENT_MULTI_RESULTS a procedure that gives rows is refused.
    pub(crate) multi_results: bool,
}

/// What is negotiated with servers: PROTOCOL_41, SECURE_CONNECTION, LONG_PASSWORD always; PLUGIN_AUTH, TRANSACTIONS,
/// PS_MULTI_RESULTS, LONG_FLAG, LOCAL_FILES, CONNECT_ATTRS, SESSION_TRACK where the server has it; FOUND_ROWS, DEPRECATE_EOF and
/// MULTI_RESULTS by [`Flavor`]. Never: MULTI_STATEMENTS, COMPRESS, CONNECT_WITH_DB.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    server: ServerName,
    thread: Thread,
    server_version: String,
    capabilities: CapabilityFlags,
    framer: Framer,
    /// How much the next read asks for.
    read_bytes: usize,
    /// Bytes received and not consumed yet.
    pub(crate) received: BytesMut,
    /// What the server's session carries, as far as the proxy set it.
    pub(crate) state: SessionState,
    /// What is prepared on it.
    pub(crate) handles: Handles,
    /// The server said that a client's statement changed the session's state. Nobody can name how: only a reset undoes it.
    pub(crate) noticed: bool,
    demotion: Arc<Demotion>,
}

/// Whether the server of a pool's connections is the primary no more: nothing is sent then and, unless it still answers, nothing waited
/// for.
#[derive(Debug, Default)]
pub(super) struct Demotion(AtomicU8);

const RETIRED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A session of a server. The number means nothing to the other servers that the same name may lead to: a reader endpoint
/// goes round among replicas, and after a failover a name leads elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    /// The address at which the session's server was found.
    pub(crate) peer: SocketAddr,
    /// The id that KILL takes there.
    pub(crate) id: u32,
}

impl fmt::Display for Thread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}", self.id, self.peer)
    }
}

/// The transport of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(Socket),
    // Boxed: the TLS state is a kilobyte.
    Tls(Box<TlsStream<Socket>>),
}

impl Connection {
    /// After the login: `received` is what came behind its last packet (nothing, from a server that keeps to the
    /// protocol).
    pub(super) fn new(
        stream: Stream,
        (server, peer): (ServerName, SocketAddr),
        greeting: Greeting,
        capabilities: CapabilityFlags,
        received: BytesMut,
        handles: Handles,
    ) -> Connection {
        Connection {
            stream,
            server,
            thread: Thread { peer, id: greeting.thread_id },
            server_version: greeting.version,
            capabilities,
            framer: Framer::unchecked(PACKET_BYTES_MAX),
            read_bytes: READ_BYTES_MIN,
            received,
            state: SessionState::default(),
            handles,
            noticed: false,
            demotion: Arc::default(),
        }
    }

    pub(crate) fn server(&self) -> &ServerName {
        &self.server
    }

    /// Shares the word that its server was demoted with all connections of a pool.
    pub(super) fn heed(&mut self, demotion: &Arc<Demotion>) {
        self.demotion = Arc::clone(demotion);
    }

    /// Its server is not the primary any more: it is of no more use.
    pub(crate) fn is_retired(&self) -> bool {
        self.demotion.0.load(Ordering::Relaxed) >= RETIRED
    }

    /// What KILL names.
    pub(crate) fn thread(&self) -> Thread {
        self.thread
    }

    /// As the handshake says, e.g. `10.11.19-MariaDB-0+deb12u1` (a leading `5.5.5-` removed).
    pub(crate) fn server_version(&self) -> &str {
        &self.server_version
    }

    /// Results end with OK instead of EOF, and nothing stands between columns and rows.
    pub(crate) fn deprecate_eof(&self) -> bool {
        self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The runtime that drives the socket.
    pub(crate) fn home(&self) -> runtime::Id {
        match &self.stream {
            Stream::Tcp(socket) => socket.home(),
            Stream::Tls(stream) => stream.get_ref().0.home(),
        }
    }

    /// From now on the current runtime drives the socket. After an error the connection is of no use.
    pub(crate) fn come_here(&mut self) -> Result<(), BackendError> {
        let come = match &mut self.stream {
            Stream::Tcp(socket) => socket.come_here(),
            Stream::Tls(stream) => stream.get_mut().0.come_here(),
        };
        come.map_err(|error| self.lost(&error.to_string()))
    }

    /// Writes whole packets (headers included). Not cancel safe: after a cancelled send the connection must be closed.
    pub(crate) async fn send(&mut self, packets: &[u8]) -> Result<(), BackendError> {
        // Something else of the same statement may have been sent: nobody is told that nothing was.
        if self.is_retired() {
            return Err(self.lost(DEMOTED));
        }
        let stream = &mut self.stream;
        let sending = async {
            stream.write_all(packets).await?;
            // TLS buffers; flushing TCP costs nothing.
            stream.flush().await
        };
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = given_up(&self.demotion) => return Err(self.lost(DEMOTED)),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why_closed(&error.to_string()).await),
        }
    }

    /// A server that finds a command too long says so and closes the connection, while the rest is still being written.
    async fn why_closed(&mut self, cause: &str) -> BackendError {
        let last_words = tokio::time::timeout(LAST_WORDS_WAIT, self.packet()).await;
        if let Ok(Ok(packet)) = last_words
            && let Ok(error) = ErrPacket::decode(&packet)
            && error.code == ER_NET_PACKET_TOO_LARGE
        {
            let message = String::from_utf8_lossy(&error.message).into_owned();
            return BackendError::PacketTooLarge { server: self.server.clone(), message };
        }
        self.lost(cause)
    }

    /// Sends one command: `payload` begins with the command's byte. As [`Connection::send`], not cancel safe.
    pub(crate) async fn command(&mut self, payload: &[u8]) -> Result<(), BackendError> {
        let mut packets = Vec::with_capacity(payload.len() + 8);
        encode_packet(payload, &mut 0, &mut packets);
        self.send(&packets).await
    }

    /// Reads once into `received`; returns the number of bytes, never 0 (the end of the stream is `Lost`). Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<usize, BackendError> {
        self.received.reserve(self.read_bytes);
        let space = self.received.capacity() - self.received.len();
        let read = tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.received) => read,
            () = given_up(&self.demotion) => return Err(self.lost(DEMOTED)),
        };
        match read {
            Ok(0) => Err(self.lost("the server closed it")),
            Ok(count) => {
                self.read_bytes = match count {
                    _ if count == space => (self.read_bytes * 2).min(READ_BYTES_MAX),
                    _ if count < self.read_bytes / 4 => READ_BYTES_MIN,
                    _ => self.read_bytes,
                };
                Ok(count)
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// Reads one whole packet's payload (reassembled when over 16 MiB). Cancel safe.
    pub(crate) async fn packet(&mut self) -> Result<Bytes, BackendError> {
        loop {
            match self.framer.take(&mut self.received) {
                Ok(Some(payload)) => return Ok(payload),
                Ok(None) => self.receive().await?,
                Err(error) => return Err(self.protocol(error.to_string())),
            };
        }
    }

    /// Asks whether the server is there. Not cancel safe.
    pub(crate) async fn ping(&mut self) -> Result<(), BackendError> {
        self.simple(COM_PING, "an answer to COM_PING that is not OK").await.map(drop)
    }

    /// The server's status flags at this moment; asking changes nothing that the session could see. Not cancel safe.
    pub(crate) async fn status(&mut self) -> Result<StatusFlags, BackendError> {
        let answer = self.simple(COM_PING, "an answer to COM_PING that is not OK").await?;
        OkPacket::decode(&answer).map(|ok| ok.status).map_err(|error| self.protocol(error.to_string()))
    }

    /// Puts the session's state back to the server's defaults, but for the database. Not cancel safe. The charset becomes the server's
    /// default, too, not that of the login.
    pub(crate) async fn reset(&mut self) -> Result<(), BackendError> {
        self.simple(COM_RESET_CONNECTION, "a refusal of COM_RESET_CONNECTION").await.map(drop)?;
        self.state = self.state.after_reset();
        self.handles.forget();
        self.noticed = false;
        Ok(())
    }

    /// Tells the server to end the session, without waiting for it.
    pub(crate) async fn quit(mut self) {
        // The server may be gone: then there is nobody to tell.
        if self.command(&[COM_QUIT]).await.is_ok() {
            let _closed = self.stream.shutdown().await;
        }
    }

    /// Nothing came in while the connection was idle. `false` when the server closed it or sent something (the reason
    /// for which it will close it): the connection is of no use then. Does not wait.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut space = [0; 1];
        let mut buffer = ReadBuf::new(&mut space);
        let mut context = Context::from_waker(Waker::noop());
        self.received.is_empty()
            && self.framer.is_between_payloads()
            && pin!(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    async fn simple(&mut self, command: u8, refused: &str) -> Result<Bytes, BackendError> {
        self.command(&[command]).await?;
        let answer = self.packet().await?;
        match answer.first() {
            Some(0x00) => Ok(answer),
            Some(&ErrPacket::FIRST_BYTE) => match ErrPacket::decode(&answer) {
                Ok(error) => Err(self.protocol(format!("{refused}: {error}"))),
                Err(malformed) => Err(self.protocol(malformed.to_string())),
            },
            _ => Err(self.protocol(refused.to_owned())),
        }
    }

    fn lost(&self, cause: &str) -> BackendError {
        BackendError::Lost { server: self.server.clone(), cause: cause.to_owned() }
    }

    fn protocol(&self, what: String) -> BackendError {
        BackendError::Protocol { server: self.server.clone(), what }
    }
}

impl Demotion {
    /// `alive`: the server answers what it was asked before.
    pub(super) fn declare(&self, alive: bool) {
        self.0.store(if alive { RETIRED } else { GIVEN_UP }, Ordering::Relaxed);
    }
}

/// Ends when its task is woken after the server was given up, by whoever did so.
async fn given_up(demotion: &Demotion) {
    let look = |_: &mut Context<'_>| match demotion.0.load(Ordering::Relaxed) {
        GIVEN_UP => Poll::Ready(()),
        _ => Poll::Pending,
    };
    std::future::poll_fn(look).await;
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_may_move_between_threads() {
        fn send<T: Send>(_: Option<T>) {}
        send::<Connection>(None);
    }
}
