//! The proxy's side of its own login to a server.

use super::digest::{fast_response, native_response, xor_with};
use super::{FAST_OK, FULL, KEY_REQUEST, MORE};
use crate::wire::codec::Malformed;
use crate::wire::login::AuthSwitch;
use crate::wire::response::{ErrPacket, OkPacket};

/// What a server may ask for. The two last ones only by a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Native,
    CachingSha2,
    /// Of MySQL 5.7 and 8; servers also ask unknown users for it, so that nobody can tell who exists.
    Sha256,
    Clear,
}

impl Method {
    const ALL: [Method; 4] = [Method::Native, Method::CachingSha2, Method::Sha256, Method::Clear];

    fn name(self) -> &'static str {
        match self {
            Method::Native => "mysql_native_password",
            Method::CachingSha2 => "caching_sha2_password",
            Method::Sha256 => "sha256_password",
            Method::Clear => "mysql_clear_password",
        }
    }

    fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// sha256_password's request for the RSA public key.
const SHA256_KEY_REQUEST: u8 = 0x01;

/// Messages of a server before OK or ERR; no exchange needs more.
const ROUNDS_MAX: u8 = 8;

/// How far the connection hides what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Open,
    /// TLS with whoever answered.
    Encrypted,
    /// TLS with a server whose certificate was verified.
    Verified,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send this payload, then give the server's next one to [`ClientAuth::receive`].
    Send(Vec<u8>),
    /// Nothing to send: read on.
    Wait,
    /// Encrypt `message` with RSA-OAEP (SHA-1) under the key, send the result.
    Encrypt {
        public_key_pem: Vec<u8>,
        message: Vec<u8>,
    },
    Done(OkPacket),
    Refused(ErrPacket),
    /// The server wants what the proxy does not do; the text says what.
    Unsupported(String),
}

/// One login to a server.
pub struct ClientAuth<'a> {
    password: &'a [u8],
    method: Method,
    challenge: Vec<u8>,
    channel: Channel,
    rounds: u8,
}

impl<'a> ClientAuth<'a> {
    /// `plugin` and `challenge` are the greeting's; a plugin that is not known is answered as native (the server then
    /// asks for a switch).
    pub fn new(plugin: &str, challenge: &[u8], password: &'a [u8], channel: Channel) -> ClientAuth<'a> {
        let method = match Method::from_name(plugin) {
            Some(Method::CachingSha2) => Method::CachingSha2,
            Some(Method::Native | Method::Sha256 | Method::Clear) | None => Method::Native,
        };
        ClientAuth { password, method, challenge: challenge.to_vec(), channel, rounds: 0 }
    }

    /// For the login packet.
    pub fn plugin_name(&self) -> &'static str {
        self.method.name()
    }

    /// What the login packet carries, and what answers a switch.
    pub fn response(&self) -> Vec<u8> {
        match self.method {
            Method::Native | Method::CachingSha2 if self.password.is_empty() => Vec::new(),
            Method::Native => native_response(self.password, &self.challenge).to_vec(),
            Method::CachingSha2 => fast_response(self.password, &self.challenge).to_vec(),
            Method::Sha256 if self.channel == Channel::Open && !self.password.is_empty() => {
                vec![SHA256_KEY_REQUEST]
            }
            Method::Sha256 | Method::Clear => self.terminated(),
        }
    }

    /// The server's next payload.
    pub fn receive(&mut self, payload: &[u8]) -> Result<ClientStep, Malformed> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(Malformed("login: too many messages of the server"));
        }
        match payload.first() {
            Some(0x00) => OkPacket::decode(payload).map(ClientStep::Done),
            Some(&ErrPacket::FIRST_BYTE) => ErrPacket::decode(payload).map(ClientStep::Refused),
            Some(&AuthSwitch::FIRST_BYTE) => Ok(self.switch(AuthSwitch::decode(payload)?)),
            Some(&MORE) => self.more(&payload[1..]),
            _ => Err(Malformed("login: an answer that is none")),
        }
    }

    fn switch(&mut self, switch: AuthSwitch) -> ClientStep {
        let Some(method) = Method::from_name(&switch.plugin) else {
            return ClientStep::Unsupported(format!("the authentication plugin {:?}", switch.plugin));
        };
        if method == Method::Clear && self.channel != Channel::Verified {
            return ClientStep::Unsupported(format!(
                "{} without verified TLS: set tls to verify-ca or verify-identity",
                method.name()
            ));
        }
        self.method = method;
        self.challenge = switch.challenge;
        ClientStep::Send(self.response())
    }

    fn more(&mut self, message: &[u8]) -> Result<ClientStep, Malformed> {
        match (self.method, message) {
            (Method::CachingSha2, [FAST_OK]) => Ok(ClientStep::Wait),
            (Method::CachingSha2, [FULL]) if self.channel == Channel::Open => {
                Ok(ClientStep::Send(vec![KEY_REQUEST]))
            }
            (Method::CachingSha2, [FULL]) => Ok(ClientStep::Send(self.terminated())),
            (Method::CachingSha2 | Method::Sha256, key) if key.starts_with(b"-----BEGIN") => {
                Ok(ClientStep::Encrypt {
                    public_key_pem: key.to_vec(),
                    message: xor_with(&self.terminated(), &self.challenge),
                })
            }
            _ => Err(Malformed("login: a message of the plugin that is none")),
        }
    }

    fn terminated(&self) -> Vec<u8> {
        [self.password, &[0]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::response::encode_err;

    fn sha2(channel: Channel) -> ClientAuth<'static> {
        ClientAuth::new("caching_sha2_password", b"abcdefghijklmnopqrst", b"secret", channel)
    }

    #[test]
    fn a_switch_is_answered_with_the_new_challenge() {
        let mut auth = sha2(Channel::Open);
        let switch = AuthSwitch { plugin: "mysql_native_password".into(), challenge: vec![b'x'; 20] };
        let expected = native_response(b"secret", &[b'x'; 20]).to_vec();
        assert_eq!(auth.receive(&switch.encode()), Ok(ClientStep::Send(expected)));
    }

    #[test]
    fn the_password_itself_travels_only_inside_tls() {
        assert_eq!(sha2(Channel::Encrypted).receive(&[1, 4]), Ok(ClientStep::Send(b"secret\0".to_vec())));
        let mut open = sha2(Channel::Open);
        assert_eq!(open.receive(&[1, 4]), Ok(ClientStep::Send(vec![2])));
        let Ok(ClientStep::Encrypt { public_key_pem, message }) = open.receive(b"\x01-----BEGIN PUBLIC KEY")
        else {
            panic!("no request to encrypt");
        };
        assert_eq!(public_key_pem, b"-----BEGIN PUBLIC KEY");
        assert_eq!(xor_with(&message, b"abcdefghijklmnopqrst"), b"secret\0");
    }

    #[test]
    fn cleartext_needs_a_verified_server() {
        let switch = AuthSwitch { plugin: Method::Clear.name().into(), challenge: Vec::new() }.encode();
        for channel in [Channel::Open, Channel::Encrypted] {
            assert!(matches!(sha2(channel).receive(&switch), Ok(ClientStep::Unsupported(_))));
        }
        assert_eq!(sha2(Channel::Verified).receive(&switch), Ok(ClientStep::Send(b"secret\0".to_vec())));
    }

    #[test]
    fn sha256_password_asks_for_the_key_unless_encrypted() {
        let switch = AuthSwitch { plugin: "sha256_password".into(), challenge: vec![b'x'; 20] }.encode();
        assert_eq!(sha2(Channel::Encrypted).receive(&switch), Ok(ClientStep::Send(b"secret\0".to_vec())));
        let mut open = sha2(Channel::Open);
        assert_eq!(open.receive(&switch), Ok(ClientStep::Send(vec![1])));
        let message = xor_with(b"secret\0", &[b'x'; 20]);
        let public_key_pem = b"-----BEGIN".to_vec();
        assert_eq!(open.receive(b"\x01-----BEGIN"), Ok(ClientStep::Encrypt { public_key_pem, message }));
    }

    #[test]
    fn an_unknown_plugin_is_named_and_an_endless_exchange_ends() {
        let switch = AuthSwitch { plugin: "ed25519".into(), challenge: Vec::new() }.encode();
        let step = sha2(Channel::Open).receive(&switch);
        assert_eq!(step, Ok(ClientStep::Unsupported("the authentication plugin \"ed25519\"".into())));
        let mut auth = sha2(Channel::Open);
        assert!((0..100).any(|_| auth.receive(&[1, 3]).is_err()));
    }

    #[test]
    fn refusals_keep_the_servers_words() {
        let step = sha2(Channel::Open).receive(&encode_err(1045, "28000", b"Access denied"));
        assert!(matches!(step, Ok(ClientStep::Refused(ErrPacket { code: 1045, .. }))));
    }
}
