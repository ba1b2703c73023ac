//! COM_CHANGE_USER: a login inside a session. The client is always asked anew, with a challenge of its own, as servers do it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::error::LoginError;
use super::exchange::{Applicant, Peer, check_database, converse, text, texts};
use super::gate::{Gate, random};
use super::stream::Channel;
use crate::config::User;
use crate::error::ClientError;
use crate::executor::{Client, CommandError, Stream};
use crate::wire::{CapabilityFlags, ChangeUser, ServerAuth, ServerAuthStart, scramble_from};

/// Who asks, over what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changing<'s> {
    pub(crate) peer: IpAddr,
    pub(crate) capabilities: CapabilityFlags,
    pub(crate) channel: &'s Channel,
}

/// Finds out whether the client is who it wants to be. `admit` is asked last, as at a login. The caller sends OK or tells the error.
pub(crate) async fn change_user<S: Stream, T>(
    client: &mut Client<S>,
    gate: &Gate,
    changing: Changing<'_>,
    request: &ChangeUser,
    admit: impl Fn(&Arc<User>, Option<&str>) -> Result<T, ClientError>,
) -> Result<(Arc<User>, T), LoginError> {
    let applicant = Applicant {
        name: text(&request.user),
        peer: changing.peer,
        capabilities: changing.capabilities,
        database: request.database.as_deref().map(text),
        attributes: texts(&request.attributes),
    };
    if !changing.capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
        // It cannot be asked.
        return Err(LoginError::NoPlugin { user: applicant.name });
    }
    let candidate = gate.candidate(&gate.rules(), &request.user);
    let begun = ServerAuth::again(ServerAuthStart {
        secret: candidate.secret,
        preferred: candidate.preferred,
        fast: candidate.fast,
        challenge: scramble_from(random()?),
        client_plugin: None,
        response: &[],
        encrypted: changing.channel.encrypted,
    });
    let user = converse(client, gate, begun, candidate.user, &applicant, changing.channel).await?;
    if let Some(database) = &applicant.database {
        check_database(&user, database, &applicant)?;
    }
    let admitted = admit(&user, applicant.database.as_deref()).map_err(LoginError::NotAdmitted)?;
    Ok((user, admitted))
}

impl<S: Stream> Peer for Client<S> {
    async fn send(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        self.say(payload).await.map_err(LoginError::Broken)
    }

    async fn packet(&mut self) -> Result<Bytes, LoginError> {
        self.packet_of_exchange().await.map_err(|error| match error {
            CommandError::Gone(_) => LoginError::Gone,
            CommandError::Packet(error) => LoginError::Packet(error),
        })
    }
}
