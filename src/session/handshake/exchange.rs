//! The messages of a login: the first packet, TLS, and what `wire::ServerAuth` says next.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::certificate::meets;
use super::error::LoginError;
use super::gate::{Gate, GateRules};
use super::stream::{Channel, ClientStream};
use crate::config::User;
use crate::wire::{
    Attributes, CapabilityFlags, FirstPacket, Framer, Greeting, HEADER_BYTES, LoginRequest, Malformed,
    ServerAuth, ServerAuthStart, ServerStep, encode_packet,
};

/// Largest packet before the login is over: MySQL's limit of 64 KiB for connection attributes, and the rest.
const LOGIN_PACKET_BYTES_MAX: usize = (64 + 4) << 10;

/// A client that is not logged in yet.
pub(super) struct Link<S> {
    pub(super) stream: ClientStream<S>,
    framer: Framer,
    pub(super) received: BytesMut,
}

/// What the login packet says about who wants to enter.
pub(super) struct Applicant {
    pub(super) name: String,
    pub(super) peer: IpAddr,
    pub(super) capabilities: CapabilityFlags,
    pub(super) database: Option<String>,
    pub(super) attributes: Vec<(String, String)>,
}

impl Applicant {
    pub(super) fn new(request: &LoginRequest, offered: CapabilityFlags, peer: IpAddr) -> Applicant {
        Applicant {
            name: text(&request.user),
            peer,
            capabilities: request.capabilities & offered,
            database: request.database.as_deref().map(text),
            attributes: texts(&request.attributes),
        }
    }
}

/// Who is on the other side of an authentication: a client before its login, or one that changes its user.
pub(super) trait Peer: Send {
    /// Sends one payload under the next number.
    fn send(&mut self, payload: &[u8]) -> impl Future<Output = Result<(), LoginError>> + Send;

    fn packet(&mut self) -> impl Future<Output = Result<Bytes, LoginError>> + Send;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Peer for Link<S> {
    async fn send(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        Link::send(self, payload).await
    }

    async fn packet(&mut self) -> Result<Bytes, LoginError> {
        Link::packet(self).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(super) fn new(stream: S) -> Link<S> {
        Link {
            stream: ClientStream::Plain(stream),
            framer: Framer::new(LOGIN_PACKET_BYTES_MAX),
            received: BytesMut::new(),
        }
    }

    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        let mut packet = Vec::with_capacity(payload.len() + HEADER_BYTES);
        encode_packet(payload, self.framer.sequence_mut(), &mut packet);
        self.stream.write_all(&packet).await.map_err(LoginError::Broken)?;
        self.stream.flush().await.map_err(LoginError::Broken)
    }

    pub(super) async fn packet(&mut self) -> Result<Bytes, LoginError> {
        loop {
            if let Some(payload) = self.framer.take(&mut self.received)? {
                return Ok(payload);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(LoginError::Gone),
                Ok(_) => {}
                Err(error) => return Err(LoginError::Broken(error)),
            }
        }
    }

    /// The login packet, after TLS if the client asks for it. A packet that cannot be read is answered here.
    pub(super) async fn login_request(
        mut self,
        rules: &GateRules,
    ) -> Result<(Link<S>, LoginRequest), LoginError> {
        let first = self.first_packet().await;
        let first = match first.and_then(|payload| Ok(FirstPacket::decode(&payload)?)) {
            Ok(first) => first,
            Err(error) => return self.refused(error).await,
        };
        match first {
            FirstPacket::Login(_) if rules.tls_required => self.refused(LoginError::TlsRequired).await,
            FirstPacket::Login(request) => Ok((self, request)),
            FirstPacket::Tls => self.encrypted(rules).await,
        }
    }

    async fn encrypted(mut self, rules: &GateRules) -> Result<(Link<S>, LoginRequest), LoginError> {
        let not_offered = LoginError::Malformed(Malformed("login: TLS that was not offered"));
        let Some(config) = &rules.tls else { return self.refused(not_offered).await };
        let ClientStream::Plain(stream) = self.stream else { return Err(not_offered) };
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = accepting.await.map_err(LoginError::Tls)?;
        self.stream = ClientStream::Tls(Box::new(stream));
        let payload = match self.packet().await {
            Ok(payload) => payload,
            Err(error) => return self.refused(error).await,
        };
        match LoginRequest::decode(&payload) {
            Ok(request) => Ok((self, request)),
            Err(malformed) => self.refused(malformed.into()).await,
        }
    }

    /// Reads the first packet and not one byte more: what follows it may be TLS, and bytes sent in the clear must not
    /// be taken for bytes sent inside it.
    async fn first_packet(&mut self) -> Result<Bytes, LoginError> {
        self.fill(HEADER_BYTES).await?;
        loop {
            // Judges the header as soon as it is there.
            if let Some(payload) = self.framer.take(&mut self.received)? {
                return Ok(payload);
            }
            let length = usize::from(self.received[0]) | usize::from(self.received[1]) << 8;
            self.fill(HEADER_BYTES + (length | usize::from(self.received[2]) << 16)).await?;
        }
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), LoginError> {
        while self.received.len() < wanted {
            let missing = (wanted - self.received.len()) as u64;
            match (&mut self.stream).take(missing).read_buf(&mut self.received).await {
                Ok(0) => return Err(LoginError::Gone),
                Ok(_) => {}
                Err(error) => return Err(LoginError::Broken(error)),
            }
        }
        Ok(())
    }

    async fn refused<T>(mut self, error: LoginError) -> Result<T, LoginError> {
        self.refuse(&error).await;
        Err(error)
    }
}

/// Finds out whether the applicant is who it says.
pub(super) async fn authenticate<S>(
    link: &mut Link<S>,
    gate: &Gate,
    rules: &GateRules,
    greeting: &Greeting,
    request: &LoginRequest,
    applicant: &Applicant,
) -> Result<Arc<User>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let candidate = gate.candidate(rules, &request.user);
    let channel = link.stream.channel();
    let begun = ServerAuth::start(ServerAuthStart {
        secret: candidate.secret,
        preferred: candidate.preferred,
        fast: candidate.fast,
        challenge: greeting.scramble,
        client_plugin: request.plugin.as_deref(),
        response: &request.auth_response,
        encrypted: channel.encrypted,
    });
    converse(link, gate, begun, candidate.user, applicant, &channel).await
}

/// Carries the messages to and fro until the applicant is accepted or denied. `user` is whom the name belongs to, if anybody.
pub(super) async fn converse<P: Peer>(
    peer: &mut P,
    gate: &Gate,
    begun: (ServerAuth, ServerStep),
    user: Option<Arc<User>>,
    applicant: &Applicant,
    channel: &Channel,
) -> Result<Arc<User>, LoginError> {
    let denied = |used_password| LoginError::Denied {
        user: applicant.name.clone(),
        peer: applicant.peer,
        used_password,
    };
    let (mut auth, mut step) = begun;
    loop {
        step = match step {
            ServerStep::Send(payload) => {
                peer.send(&payload).await?;
                auth.receive(&peer.packet().await?)?
            }
            ServerStep::SendKey => {
                peer.send(&ServerAuth::public_key(gate.public_key_pem())).await?;
                auth.receive(&peer.packet().await?)?
            }
            ServerStep::Check(check) => auth.checked(gate.check(check).await?),
            ServerStep::Accept { first, remember } => {
                let user = user.filter(|user| meets(&user.requirement, channel));
                let user = user.ok_or_else(|| denied(true))?;
                if let Some(fast) = remember {
                    gate.learn(&user, fast);
                }
                if let Some(first) = first {
                    peer.send(&first).await?;
                }
                return Ok(user);
            }
            ServerStep::Deny { used_password } => return Err(denied(used_password)),
            ServerStep::NoPlugin => return Err(LoginError::NoPlugin { user: applicant.name.clone() }),
        };
    }
}

/// Whether the user may name `database`; a target behind it (`db:shard`) does not matter.
pub(super) fn check_database(user: &User, database: &str, applicant: &Applicant) -> Result<(), LoginError> {
    let name = database.split(':').next().unwrap_or(database);
    match &user.databases {
        Some(allowed) if !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) => {
            Err(LoginError::DatabaseDenied {
                user: applicant.name.clone(),
                peer: applicant.peer,
                database: database.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

pub(super) fn texts(attributes: &Attributes) -> Vec<(String, String)> {
    attributes.iter().map(|(name, value)| (text(name), text(value))).collect()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
