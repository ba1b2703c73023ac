//! Authentication as values: `mysql_native_password` and `caching_sha2_password`, on both sides, without I/O. The
//! caller carries payloads to and fro, owns the RSA key and remembers fast digests.
//!
//! * `digest` — what the plugins compute. * `server` — the proxy towards clients. * `client` — towards servers.

mod client;
mod digest;
mod server;

pub use client::{Channel, ClientAuth, ClientStep};
pub use digest::{FastDigest, fast_digest, native_hash, sha2_crypt, sha2_crypt_text};
pub use server::{Check, Checked, Secret, ServerAuth, ServerAuthStart, ServerStep};

/// The plugins that the proxy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plugin {
    Native,
    CachingSha2,
}

impl Plugin {
    pub fn name(self) -> &'static str {
        match self {
            Plugin::Native => "mysql_native_password",
            Plugin::CachingSha2 => "caching_sha2_password",
        }
    }

    pub fn from_name(name: &[u8]) -> Option<Plugin> {
        [Plugin::Native, Plugin::CachingSha2].into_iter().find(|plugin| plugin.name().as_bytes() == name)
    }
}

/// First byte of caching_sha2_password's own messages from the server ("auth more data").
const MORE: u8 = 0x01;
/// The fast digest matched; OK follows.
const FAST_OK: u8 = 0x03;
/// The password itself is needed.
const FULL: u8 = 0x04;
/// The client asks for the RSA public key.
const KEY_REQUEST: u8 = 0x02;
