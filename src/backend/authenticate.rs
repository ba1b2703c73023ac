//! The proxy's login to a server: carries the messages of `wire::ClientAuth` to and fro and does its RSA.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::connect::{COLLATION, Link, PACKET_BYTES_MAX};
use super::error::BackendError;
use crate::config::Credential;
use crate::wire::{CapabilityFlags, Channel, ClientAuth, ClientStep, Greeting, LoginRequest};

/// After the greeting (and TLS) to the server's OK.
pub(super) async fn log_in(
    link: &mut Link,
    greeting: &Greeting,
    credential: &Credential,
    capabilities: CapabilityFlags,
    channel: Channel,
) -> Result<(), BackendError> {
    let password = credential.password.as_bytes();
    let mut auth = ClientAuth::new(&greeting.plugin, &greeting.scramble, password, channel);
    let request = LoginRequest {
        capabilities,
        packet_bytes_max: PACKET_BYTES_MAX,
        collation: COLLATION,
        user: credential.user.as_bytes().to_vec(),
        auth_response: auth.response(),
        database: None,
        plugin: Some(auth.plugin_name().as_bytes().to_vec()),
        attributes: attributes(),
        zstd_level: None,
    };
    link.send(&request.encode()).await?;
    loop {
        let payload = link.packet().await?;
        match auth.receive(&payload).map_err(|malformed| link.malformed(malformed))? {
            ClientStep::Send(answer) => link.send(&answer).await?,
            ClientStep::Wait => {}
            ClientStep::Encrypt { public_key_pem, message } => {
                let covered = encrypt(&public_key_pem, &message)
                    .ok_or_else(|| link.protocol("an RSA key that cannot be used".to_owned()))?;
                link.send(&covered).await?;
            }
            ClientStep::Done(_) => return Ok(()),
            ClientStep::Refused(error) => return Err(link.refused(&error, credential)),
            ClientStep::Unsupported(what) => {
                return Err(BackendError::LoginRefused {
                    server: link.server.clone(),
                    user: credential.user.clone(),
                    code: 0,
                    message: format!("it asks for {what}"),
                });
            }
        }
    }
}

/// What performance_schema.session_connect_attrs shows of the proxy's connections.
fn attributes() -> Vec<(Vec<u8>, Vec<u8>)> {
    let pid = std::process::id().to_string();
    [("program_name", "shardway"), ("_client_version", env!("CARGO_PKG_VERSION")), ("_pid", &pid)]
        .into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn encrypt(public_key_pem: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public_key_pem).ok()?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, message, &mut out, None).ok()?.len();
    out.truncate(length);
    Some(out)
}
