//! From a server's name to an authenticated connection: resolve (every time: a fail-over of RDS moves DNS), connect,
//! TLS, login. Nothing of a statement was sent when this fails, so every failure may be tried again.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName as TlsName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::authenticate::log_in;
use super::connection::{Connection, Flavor, Stream};
use super::error::BackendError;
use super::handles::{HandleBook, Handles};
use super::socket::Socket;
use super::tls::TlsSettings;
use crate::config::Credential;
use crate::topology::{Server, ServerName, ServerTlsMode};
use crate::wire::{
    CapabilityFlags, Channel, ErrPacket, Framer, Greeting, Malformed, ServerWishes, UTF8MB4_GENERAL_CI,
    encode_packet, ssl_request, wanted_from_server,
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// A dead peer is noticed after about a minute of silence.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Keepalive probes silence only. Of a host that vanished with bytes of ours under way the system would tell us when it has
/// sent them again for a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Packets of a login are short; keys and certificates' names fit many times.
const LOGIN_PACKET_BYTES_MAX: usize = 64 << 10;

/// What the proxy says it can receive: the protocol's largest payload.
pub(super) const PACKET_BYTES_MAX: u32 = 1 << 30;

pub(super) const COLLATION: u8 = UTF8MB4_GENERAL_CI as u8;

/// Error numbers of servers that refuse for want of room, not because of who asks.
const ER_CON_COUNT_ERROR: u16 = 1040;
const ER_TOO_MANY_USER_CONNECTIONS: u16 = 1203;

/// Opens connections; holds the TLS settings, so there is one for all pools.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: TlsSettings,
    /// Of the connections that are opened.
    handles: Arc<HandleBook>,
    suspects: Suspects,
}

/// Where faults of servers are told, for somebody to look at once.
#[derive(Debug, Clone)]
pub(crate) struct Suspects(mpsc::Sender<ServerName>);

impl Suspects {
    pub(crate) fn new(told: mpsc::Sender<ServerName>) -> Suspects {
        Suspects(told)
    }

    pub(crate) fn tell(&self, server: &ServerName) {
        // Whoever reads them has enough to look at, or has ended.
        drop(self.0.try_send(server.clone()));
    }
}

impl Connector {
    pub(crate) fn new(handles: Arc<HandleBook>, suspects: Suspects) -> Connector {
        Connector { tls: TlsSettings::new(), handles, suspects }
    }

    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Resolves, connects (TCP_NODELAY, keepalive, user timeout), negotiates TLS by the server's mode, authenticates with mysql_native_password or
    /// caching_sha2_password (fast, full over TLS, full by RSA), collation utf8mb4 in the handshake, within `limit`.
    pub(crate) async fn open(
        &self,
        server: &Server,
        credential: &Credential,
        flavor: Flavor,
        limit: Duration,
    ) -> Result<Connection, BackendError> {
        let opening = async {
            let tcp = dial(server, limit).await?;
            self.log_in_over(tcp, server, credential, flavor).await
        };
        in_time(server, limit, opening).await
    }

    /// As [`Connector::open`], to an address that the server's name once had.
    pub(super) async fn open_at(
        &self,
        peer: SocketAddr,
        server: &Server,
        credential: &Credential,
        limit: Duration,
    ) -> Result<Connection, BackendError> {
        let opening = async {
            let tcp = dial_address(server, peer, limit).await?;
            self.log_in_over(tcp, server, credential, Flavor::default()).await
        };
        in_time(server, limit, opening).await
    }

    /// CA bundles are read again at the next connect.
    pub(crate) fn forget_bundles(&self) {
        self.tls.forget();
    }

    async fn log_in_over(
        &self,
        (tcp, peer): (TcpStream, SocketAddr),
        server: &Server,
        credential: &Credential,
        flavor: Flavor,
    ) -> Result<Connection, BackendError> {
        let mut link = Link::new(Stream::Tcp(Socket::new(tcp)), server.name.clone());
        let greeting = link.greeting(credential).await?;
        let encrypt = self.decide_tls(server, &greeting)?;
        let wishes = ServerWishes {
            found_rows: flavor.found_rows,
            deprecate_eof: flavor.deprecate_eof,
            multi_results: flavor.multi_results,
            tls: encrypt,
        };
        let capabilities = wanted_from_server(greeting.capabilities, wishes)
            .ok_or_else(|| link.protocol(format!("a greeting without what {flavor:?} needs")))?;
        let mut channel = Channel::Open;
        if encrypt {
            channel = match server.tls {
                ServerTlsMode::VerifyCa { .. } | ServerTlsMode::VerifyIdentity { .. } => Channel::Verified,
                ServerTlsMode::Disabled | ServerTlsMode::Preferred | ServerTlsMode::Required => {
                    Channel::Encrypted
                }
            };
            link = self.encrypt(link, server, capabilities).await?;
        }
        log_in(&mut link, &greeting, credential, capabilities, channel).await?;
        let handles = Handles::new(Arc::clone(&self.handles));
        Ok(Connection::new(link.stream, (link.server, peer), greeting, capabilities, link.received, handles))
    }

    fn decide_tls(&self, server: &Server, greeting: &Greeting) -> Result<bool, BackendError> {
        let offered = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
        match server.tls {
            ServerTlsMode::Disabled => Ok(false),
            ServerTlsMode::Preferred => Ok(offered),
            ServerTlsMode::Required
            | ServerTlsMode::VerifyCa { .. }
            | ServerTlsMode::VerifyIdentity { .. } => {
                if offered {
                    return Ok(true);
                }
                let cause = "the server does not offer TLS".to_owned();
                Err(BackendError::Tls { server: server.name.clone(), cause })
            }
        }
    }

    async fn encrypt(
        &self,
        mut link: Link,
        server: &Server,
        capabilities: CapabilityFlags,
    ) -> Result<Link, BackendError> {
        let failed = |cause: String| BackendError::Tls { server: server.name.clone(), cause };
        let Some(config) = self.tls.of(&server.tls).await.map_err(failed)? else { return Ok(link) };
        let name = TlsName::try_from(server.host.clone()).map_err(|error| failed(error.to_string()))?;
        link.send(&ssl_request(capabilities, PACKET_BYTES_MAX, COLLATION)).await?;
        let sequence = link.framer.sequence();
        let (tcp, early) = (link.stream, link.received);
        let Stream::Tcp(tcp) = tcp else { return Err(failed("TLS inside TLS".to_owned())) };
        if !early.is_empty() {
            return Err(failed("bytes before the handshake".to_owned()));
        }
        // What rustls itself says, it says as `InvalidData`, and saying it again does not change it. All else is the
        // network's or a restarting server's doing.
        let tls =
            TlsConnector::from(config).connect(name, tcp).await.map_err(|error| match error.kind() {
                ErrorKind::InvalidData => failed(error.to_string()),
                _ => BackendError::Unreachable {
                    server: server.name.clone(),
                    cause: format!("the connection ended during the TLS handshake: {error}"),
                },
            })?;
        let mut link = Link::new(Stream::Tls(Box::new(tls)), link.server);
        *link.framer.sequence_mut() = sequence;
        Ok(link)
    }
}

async fn in_time(
    server: &Server,
    limit: Duration,
    opening: impl Future<Output = Result<Connection, BackendError>>,
) -> Result<Connection, BackendError> {
    match timeout(limit, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(BackendError::ConnectTimeout { server: server.name.clone(), waited: limit }),
    }
}

/// Tries the addresses of the host in the resolver's order; each gets its share of the time.
async fn dial(server: &Server, limit: Duration) -> Result<(TcpStream, SocketAddr), BackendError> {
    let unreachable = |cause: String| BackendError::Unreachable { server: server.name.clone(), cause };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((server.host.as_str(), server.port))
        .await
        .map_err(|error| unreachable(format!("the name {:?} does not resolve: {error}", server.host)))?
        .take(ADDRESSES_MAX)
        .collect();
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = unreachable(format!("the name {:?} has no address", server.host));
    for address in addresses {
        match dial_address(server, address, share).await {
            Ok(dialled) => return Ok(dialled),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_address(
    server: &Server,
    address: SocketAddr,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), BackendError> {
    let unreachable = |cause: String| BackendError::Unreachable {
        server: server.name.clone(),
        cause: format!("{address}: {cause}"),
    };
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let stream = connected
        .map_err(|_| unreachable(format!("no answer within {limit:?}")))?
        .map_err(|error| unreachable(error.to_string()))?;
    set_options(&stream).map_err(|error| unreachable(error.to_string()))?;
    Ok((stream, address))
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// A connection that is not logged in yet.
pub(super) struct Link {
    stream: Stream,
    pub(super) server: ServerName,
    framer: Framer,
    received: BytesMut,
}

impl Link {
    fn new(stream: Stream, server: ServerName) -> Link {
        let framer = Framer::new(LOGIN_PACKET_BYTES_MAX);
        Link { stream, server, framer, received: BytesMut::new() }
    }

    /// Sends one payload under the next number.
    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), BackendError> {
        let mut packet = Vec::with_capacity(payload.len() + 4);
        encode_packet(payload, self.framer.sequence_mut(), &mut packet);
        let sent = match self.stream.write_all(&packet).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| self.unreachable(error.to_string()))
    }

    pub(super) async fn packet(&mut self) -> Result<Bytes, BackendError> {
        loop {
            match self.framer.take(&mut self.received) {
                Ok(Some(payload)) => return Ok(payload),
                Ok(None) => {}
                Err(error) => return Err(self.protocol(error.to_string())),
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => {
                    return Err(self.unreachable("the server closed the connection during the login".into()));
                }
                Ok(_) => {}
                Err(error) => return Err(self.unreachable(error.to_string())),
            }
        }
    }

    async fn greeting(&mut self, credential: &Credential) -> Result<Greeting, BackendError> {
        let payload = self.packet().await?;
        if payload.first() != Some(&ErrPacket::FIRST_BYTE) {
            return Greeting::decode(&payload).map_err(|malformed| self.malformed(malformed));
        }
        let error = ErrPacket::decode(&payload).map_err(|malformed| self.malformed(malformed))?;
        Err(self.refused(&error, credential))
    }

    /// What an ERR packet during the login means.
    pub(super) fn refused(&self, error: &ErrPacket, credential: &Credential) -> BackendError {
        let message = String::from_utf8_lossy(&error.message).into_owned();
        if matches!(error.code, ER_CON_COUNT_ERROR | ER_TOO_MANY_USER_CONNECTIONS) {
            return self.unreachable(format!("{message} ({})", error.code));
        }
        BackendError::LoginRefused {
            server: self.server.clone(),
            user: credential.user.clone(),
            code: error.code,
            message,
        }
    }

    pub(super) fn malformed(&self, malformed: Malformed) -> BackendError {
        self.protocol(format!("a {malformed}"))
    }

    pub(super) fn protocol(&self, what: String) -> BackendError {
        BackendError::Protocol { server: self.server.clone(), what }
    }

    pub(super) fn unreachable(&self, cause: String) -> BackendError {
        BackendError::Unreachable { server: self.server.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{SCRAMBLE_BYTES, StatusFlags};

    const LIMIT: Duration = Duration::from_secs(20);

    fn server(port: u16, tls: ServerTlsMode) -> Server {
        Server { name: "s".into(), host: "127.0.0.1".into(), port, tls }
    }

    /// A server that is restarted while clients connect.
    #[tokio::test]
    async fn a_connection_that_ends_within_the_tls_handshake_may_be_tried_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = server(listener.local_addr().unwrap().port(), ServerTlsMode::Required);
        let greeting = Greeting {
            version: "8.4.6".into(),
            thread_id: 1,
            scramble: [b'a'; SCRAMBLE_BYTES],
            capabilities: CapabilityFlags::all(),
            collation: 45,
            status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            plugin: "mysql_native_password".into(),
        };
        let restarting = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut out = Vec::new();
            encode_packet(&greeting.encode(), &mut 0, &mut out);
            stream.write_all(&out).await.unwrap();
            // The request for TLS and the beginning of its handshake.
            let mut space = [0; 64];
            stream.read_exact(&mut space).await.unwrap();
        };
        let credential = Credential { user: "app".into(), password: String::new() };
        let connector = Connector::new(Arc::new(HandleBook::empty()), Suspects::new(mpsc::channel(1).0));
        let (opened, ()) =
            tokio::join!(connector.open(&server, &credential, Flavor::default(), LIMIT), restarting);
        let error = opened.unwrap_err();
        assert!(matches!(error, BackendError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_vanishes_with_bytes_under_way_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = server(listener.local_addr().unwrap().port(), ServerTlsMode::Disabled);
        let (stream, _) = dial(&server, LIMIT).await.unwrap();
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }
}
