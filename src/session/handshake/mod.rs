//! A client's login: greeting, TLS, authentication, the choice of the database, under one deadline. Generic over the
//! transport, so that transcripts are played over memory. Knows who may enter ([`Gate`]), not what is done inside.
//!
//! An unknown user goes through the exchange of an existing one, so that neither messages nor time tell who exists.
//!
//! * `gate` — users, version, TLS, keys. * `exchange` — the messages. * `change` — COM_CHANGE_USER. * `stream` — plain or TLS.
//! * `certificate` — what users require of TLS. * `error`.

mod certificate;
mod change;
mod error;
mod exchange;
mod gate;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::config::User;
use crate::error::{Classify, ClientError};
use crate::wire::{
    Algorithm, CapabilityFlags, Greeting, OkPacket, StatusFlags, encode_early_err, encode_err, encode_ok,
    encode_packet, offered_to_clients, scramble_from,
};

use exchange::{Applicant, Link};

pub(super) use change::{Changing, change_user};
pub(crate) use error::LoginError;
pub(crate) use gate::{Gate, GateError, GateRules};
pub(crate) use stream::{Channel, ClientStream};

/// Who knocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) session_id: u32,
    pub(crate) peer: IpAddr,
}

/// A client that has logged in. `T` is what the caller's `admit` gave, e.g. a place among the user's clients.
#[derive(Debug)]
pub(crate) struct LoggedIn<S, T> {
    pub(crate) stream: ClientStream<S>,
    /// Both sides' flags.
    pub(crate) capabilities: CapabilityFlags,
    /// From the packet behind the login on.
    pub(crate) compression: Option<Algorithm>,
    pub(crate) user: Arc<User>,
    /// As the client wrote it: may carry a target (`db:shard`).
    pub(crate) database: Option<String>,
    pub(crate) collation_id: u16,
    /// Connection attributes such as `program_name`.
    pub(crate) attributes: Vec<(String, String)>,
    /// What came behind the login: the beginning of the first command.
    pub(crate) received: BytesMut,
    pub(crate) admitted: T,
}

/// Logs one client in. `admit` is asked last, before OK: whether the database exists, whether there is room for the
/// user. A refusal is written to the client where the protocol allows it; the caller only logs the error. Dropping the
/// future closes the connection.
pub(crate) async fn log_in<S, T>(
    stream: S,
    gate: &Gate,
    arrival: Arrival,
    admit: impl Fn(&Arc<User>, Option<&str>) -> Result<T, ClientError>,
    limit: Duration,
) -> Result<LoggedIn<S, T>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match tokio::time::timeout(limit, greet(stream, gate, arrival, admit)).await {
        Ok(ending) => ending,
        Err(_) => Err(LoginError::Timeout { limit }),
    }
}

/// Turns a client away before the greeting (too many connections, shutdown).
pub(crate) async fn turn_away<S>(stream: &mut S, error: &ClientError) -> std::io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut packet = Vec::new();
    encode_packet(&encode_early_err(error.entry.code, error.message().as_bytes()), &mut 0, &mut packet);
    stream.write_all(&packet).await?;
    stream.shutdown().await
}

async fn greet<S, T>(
    stream: S,
    gate: &Gate,
    arrival: Arrival,
    admit: impl Fn(&Arc<User>, Option<&str>) -> Result<T, ClientError>,
) -> Result<LoggedIn<S, T>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let rules = gate.rules();
    let greeting = Greeting {
        version: rules.server_version.clone(),
        thread_id: arrival.session_id,
        scramble: scramble_from(gate::random()?),
        capabilities: offered_to_clients(rules.offer()),
        collation: rules.collation(),
        status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        plugin: rules.plugin().name().to_owned(),
    };
    let mut link = Link::new(stream);
    link.send(&greeting.encode()).await?;
    let (mut link, request) = link.login_request(&rules).await?;
    let applicant = Applicant::new(&request, greeting.capabilities, arrival.peer);
    let entered = enter(&mut link, gate, &rules, &greeting, &request, &applicant, admit).await;
    match entered {
        Ok((user, admitted)) => Ok(LoggedIn {
            stream: link.stream,
            capabilities: applicant.capabilities,
            compression: Algorithm::agreed(applicant.capabilities, request.zstd_level),
            user,
            database: applicant.database,
            collation_id: u16::from(request.collation),
            attributes: applicant.attributes,
            received: link.received,
            admitted,
        }),
        Err(error) => {
            link.refuse(&error).await;
            Err(error)
        }
    }
}

async fn enter<S, T>(
    link: &mut Link<S>,
    gate: &Gate,
    rules: &GateRules,
    greeting: &Greeting,
    request: &crate::wire::LoginRequest,
    applicant: &Applicant,
    admit: impl Fn(&Arc<User>, Option<&str>) -> Result<T, ClientError>,
) -> Result<(Arc<User>, T), LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let user = exchange::authenticate(link, gate, rules, greeting, request, applicant).await?;
    if let Some(database) = &applicant.database {
        exchange::check_database(&user, database, applicant)?;
    }
    let admitted = admit(&user, applicant.database.as_deref()).map_err(LoginError::NotAdmitted)?;
    let ok = OkPacket { status: StatusFlags::SERVER_STATUS_AUTOCOMMIT, ..OkPacket::default() };
    link.send(&encode_ok(&ok)).await?;
    Ok((user, admitted))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Writes the ERR packet of `error`, if it has one, and ends the stream.
    async fn refuse(&mut self, error: &LoginError) {
        if !error.can_be_told() {
            return;
        }
        let client = error.client();
        let payload = encode_err(client.entry.code, client.entry.sqlstate, client.message().as_bytes());
        // The client may be gone: then there is nobody to tell.
        if self.send(&payload).await.is_ok() {
            let _closed = self.stream.shutdown().await;
        }
    }
}
