//! The proxy's side of a client's login. The machine is fed with the client's payloads and says what to do next; the
//! one slow step (RSA, thousands of SHA-256 rounds) is handed out as a [`Check`] value that can run anywhere.
//!
//! A secret that nobody knows ([`Secret::Unknown`]) takes the same steps as the secret it imitates, so that neither
//! messages nor time tell whether a user exists.

use super::digest::{
    FastDigest, equal, fast_digest, fast_matches, native_hash, native_matches, sha2_crypt, sha2_crypt_text,
    xor_with,
};
use super::{FAST_OK, FULL, KEY_REQUEST, MORE, Plugin};
use crate::wire::codec::Malformed;
use crate::wire::greeting::SCRAMBLE_BYTES;
use crate::wire::login::AuthSwitch;

/// Passwords longer than this are refused, as MySQL does (MAX_PLAINTEXT_LENGTH).
const PASSWORD_BYTES_MAX: usize = 256;

/// Messages between first and last of one login; no exchange needs more.
const ROUNDS_MAX: u8 = 6;

/// What the proxy knows of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Plain(Vec<u8>),
    /// SHA1(SHA1(password)).
    NativeHash([u8; 20]),
    /// The stored form of caching_sha2_password. `digest` is raw (32 bytes) or as in `mysql.user` (43 characters).
    Sha2 {
        rounds: u32,
        salt: Vec<u8>,
        digest: Vec<u8>,
    },
    /// Of a user that does not exist: behaves like the secret inside and matches nothing.
    Unknown(Box<Secret>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl Secret {
    fn imitated(&self) -> &Secret {
        match self {
            Secret::Unknown(inner) => inner.imitated(),
            Secret::Plain(_) | Secret::NativeHash(_) | Secret::Sha2 { .. } => self,
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, Secret::Unknown(_))
    }

    fn allows(&self, plugin: Plugin) -> bool {
        match self.imitated() {
            Secret::Plain(_) | Secret::Unknown(_) => true,
            Secret::NativeHash(_) => plugin == Plugin::Native,
            Secret::Sha2 { .. } => plugin == Plugin::CachingSha2,
        }
    }

    /// Whether it is `password`; takes milliseconds for [`Secret::Sha2`].
    fn is(&self, password: &[u8]) -> bool {
        let same = match self.imitated() {
            Secret::Plain(plain) => equal(&fast_digest(plain).0, &fast_digest(password).0),
            Secret::NativeHash(hash) => equal(&native_hash(password), hash),
            Secret::Sha2 { rounds, salt, digest } => {
                let computed = sha2_crypt(password, salt, *rounds);
                equal(&sha2_crypt_text(&computed), digest) | equal(&computed, digest)
            }
            Secret::Unknown(_) => false,
        };
        same & self.is_known()
    }

    fn is_empty_password(&self) -> bool {
        matches!(self, Secret::Plain(plain) if plain.is_empty())
    }
}

/// What a login begins with.
#[derive(Debug)]
pub struct ServerAuthStart<'a> {
    pub secret: Secret,
    /// The plugin that the user is asked for when the client's is none of ours or not fit for the secret.
    pub preferred: Plugin,
    /// Remembered of an earlier login with the same secret; not needed for [`Secret::Plain`].
    pub fast: Option<FastDigest>,
    pub challenge: [u8; SCRAMBLE_BYTES],
    /// The plugin that `response` is for; `None` from clients that know of no plugins (they mean native).
    pub client_plugin: Option<&'a [u8]>,
    pub response: &'a [u8],
    /// The connection is encrypted: the password itself may travel.
    pub encrypted: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this payload, then give the client's next one to [`ServerAuth::receive`].
    Send(Vec<u8>),
    /// Send [`ServerAuth::public_key`], then give the client's next payload to [`ServerAuth::receive`].
    SendKey,
    /// Run the check (milliseconds of computing), then give its result to [`ServerAuth::checked`].
    Check(Check),
    /// Logged in. `first` is sent before OK; `remember` is worth keeping for the next login.
    Accept { first: Option<Vec<u8>>, remember: Option<FastDigest> },
    /// Error 1045.
    Deny { used_password: bool },
    /// The client knows neither plugin: error 1251.
    NoPlugin,
}

/// One login.
#[derive(Debug)]
pub struct ServerAuth {
    secret: Secret,
    fast: Option<FastDigest>,
    challenge: [u8; SCRAMBLE_BYTES],
    encrypted: bool,
    rounds: u8,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Response(Plugin),
    /// The password, or the request for the key.
    Password,
    /// The password under our key.
    Encrypted,
    Checked,
    Nothing,
}

impl ServerAuth {
    pub fn start(start: ServerAuthStart<'_>) -> (ServerAuth, ServerStep) {
        let ServerAuthStart { secret, preferred, fast, challenge, client_plugin, response, encrypted } =
            start;
        let mut auth =
            ServerAuth { secret, fast, challenge, encrypted, rounds: 0, expected: Expected::Nothing };
        let named = match client_plugin {
            Some(name) => Plugin::from_name(name),
            None => Some(Plugin::Native),
        };
        if let Some(plugin) = named.filter(|&plugin| auth.secret.allows(plugin)) {
            // A client whose plugin is not the greeting's may wait for a challenge of its own (libmariadb with
            // --default-auth): nothing came yet, which is not the same as an empty password.
            if !response.is_empty() || client_plugin.is_none() || auth.secret.is_empty_password() {
                let step = auth.respond(plugin, response);
                return (auth, step);
            }
            let step = auth.switch(plugin);
            return (auth, step);
        }
        if client_plugin.is_none() {
            return (auth, ServerStep::NoPlugin);
        }
        let step = auth.switch_to_fit(preferred);
        (auth, step)
    }

    /// For a login inside a session. What came with its command is an answer to the challenge of an earlier login, so that the
    /// client is asked again. `client_plugin` and `response` do not matter.
    pub fn again(start: ServerAuthStart<'_>) -> (ServerAuth, ServerStep) {
        let ServerAuthStart { secret, preferred, fast, challenge, encrypted, .. } = start;
        let mut auth =
            ServerAuth { secret, fast, challenge, encrypted, rounds: 0, expected: Expected::Nothing };
        let step = auth.switch_to_fit(preferred);
        (auth, step)
    }

    fn switch_to_fit(&mut self, preferred: Plugin) -> ServerStep {
        let other = match preferred {
            Plugin::Native => Plugin::CachingSha2,
            Plugin::CachingSha2 => Plugin::Native,
        };
        self.switch(if self.secret.allows(preferred) { preferred } else { other })
    }

    fn switch(&mut self, plugin: Plugin) -> ServerStep {
        self.expected = Expected::Response(plugin);
        let switch = AuthSwitch { plugin: plugin.name().to_owned(), challenge: self.challenge.to_vec() };
        ServerStep::Send(switch.encode())
    }

    /// The client's next payload.
    pub fn receive(&mut self, payload: &[u8]) -> Result<ServerStep, Malformed> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(Malformed("login: too many messages"));
        }
        match self.expected {
            Expected::Response(plugin) => Ok(self.respond(plugin, payload)),
            Expected::Password if payload == [KEY_REQUEST] => {
                self.expected = Expected::Encrypted;
                Ok(ServerStep::SendKey)
            }
            Expected::Password if self.encrypted => Ok(self.check(payload, Cover::None)),
            // Without TLS the client may have the key already.
            Expected::Password | Expected::Encrypted => Ok(self.check(payload, Cover::Rsa(self.challenge))),
            Expected::Checked | Expected::Nothing => Err(Malformed("login: a message that is not due")),
        }
    }

    /// The result of a [`ServerStep::Check`].
    pub fn checked(&mut self, checked: Checked) -> ServerStep {
        self.expected = Expected::Nothing;
        match checked.matched {
            Some(fast) => ServerStep::Accept { first: None, remember: Some(fast) },
            None => ServerStep::Deny { used_password: true },
        }
    }

    /// The payload that carries the public key.
    pub fn public_key(pem: &[u8]) -> Vec<u8> {
        [&[MORE], pem].concat()
    }

    fn respond(&mut self, plugin: Plugin, response: &[u8]) -> ServerStep {
        self.expected = Expected::Nothing;
        // caching_sha2_password's clients send a NUL for an empty password.
        if response.is_empty() || (plugin == Plugin::CachingSha2 && response == [0]) {
            if self.secret.is_empty_password() {
                return ServerStep::Accept { first: None, remember: None };
            }
            return ServerStep::Deny { used_password: false };
        }
        match plugin {
            Plugin::Native => self.native(response),
            Plugin::CachingSha2 => self.fast(response),
        }
    }

    fn native(&mut self, response: &[u8]) -> ServerStep {
        let hash = match self.secret.imitated() {
            Secret::Plain(plain) => native_hash(plain),
            Secret::NativeHash(hash) => *hash,
            Secret::Sha2 { .. } | Secret::Unknown(_) => return ServerStep::Deny { used_password: true },
        };
        if native_matches(&hash, &self.challenge, response) & self.secret.is_known() {
            return ServerStep::Accept { first: None, remember: None };
        }
        ServerStep::Deny { used_password: true }
    }

    fn fast(&mut self, response: &[u8]) -> ServerStep {
        let (known, full) = match self.secret.imitated() {
            Secret::Plain(plain) => (Some(fast_digest(plain)), false),
            Secret::NativeHash(_) | Secret::Sha2 { .. } | Secret::Unknown(_) => (self.fast, true),
        };
        let matches = known.is_some_and(|known| fast_matches(&known, &self.challenge, response));
        if matches & self.secret.is_known() {
            return ServerStep::Accept { first: Some(vec![MORE, FAST_OK]), remember: None };
        }
        if !full {
            return ServerStep::Deny { used_password: true };
        }
        self.expected = Expected::Password;
        ServerStep::Send(vec![MORE, FULL])
    }

    fn check(&mut self, payload: &[u8], cover: Cover) -> ServerStep {
        self.expected = Expected::Checked;
        ServerStep::Check(Check { secret: self.secret.clone(), payload: payload.to_vec(), cover })
    }
}

#[derive(Debug, Clone, Copy)]
enum Cover {
    None,
    /// RSA-OAEP over the password XOR the challenge.
    Rsa([u8; SCRAMBLE_BYTES]),
}

/// The slow part of a full exchange.
#[derive(Debug)]
pub struct Check {
    secret: Secret,
    payload: Vec<u8>,
    cover: Cover,
}

/// What a [`Check`] found.
#[derive(Debug)]
pub struct Checked {
    matched: Option<FastDigest>,
}

impl Check {
    /// `decrypt` undoes RSA-OAEP with the proxy's private key; `None` when the bytes are not under that key.
    pub fn run(self, decrypt: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Checked {
        let uncovered = match self.cover {
            Cover::None => Some(self.payload),
            Cover::Rsa(challenge) => decrypt(&self.payload).map(|covered| xor_with(&covered, &challenge)),
        };
        let Some(uncovered) = uncovered else { return Checked { matched: None } };
        let password = uncovered.strip_suffix(&[0]).unwrap_or(&uncovered);
        if password.len() > PASSWORD_BYTES_MAX || !self.secret.is(password) {
            return Checked { matched: None };
        }
        Checked { matched: Some(fast_digest(password)) }
    }
}

#[cfg(test)]
mod tests;
