//! The first packet of a connection: the server's greeting (Protocol::HandshakeV10).

use bytes::BufMut;

use super::capability::{CapabilityFlags, StatusFlags};
use super::codec::{Malformed, Reader};

/// Bytes of the challenge that both plugins use.
pub const SCRAMBLE_BYTES: usize = 20;

/// What MariaDB puts before its version so that old replicas accept it.
const MARIADB_PREFIX: &str = "5.5.5-";

/// A greeting, as the proxy sends it to clients or reads it from servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Of a server: without MariaDB's `5.5.5-`. To clients: sent as it is.
    pub version: String,
    pub thread_id: u32,
    pub scramble: [u8; SCRAMBLE_BYTES],
    pub capabilities: CapabilityFlags,
    pub collation: u8,
    pub status: StatusFlags,
    /// The plugin that the scramble is for; empty when the server names none.
    pub plugin: String,
}

impl Greeting {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.version.len());
        let (low, high) = (self.capabilities.bits() & 0xFFFF, self.capabilities.bits() >> 16);
        out.put_u8(10);
        out.put_slice(self.version.as_bytes());
        out.put_u8(0);
        out.put_u32_le(self.thread_id);
        out.put_slice(&self.scramble[..8]);
        out.put_u8(0);
        out.put_uint_le(u64::from(low), 2);
        out.put_u8(self.collation);
        out.put_u16_le(self.status.bits());
        out.put_uint_le(u64::from(high), 2);
        // The scramble's length counts its closing NUL.
        out.put_u8(SCRAMBLE_BYTES as u8 + 1);
        out.put_bytes(0, 10);
        out.put_slice(&self.scramble[8..]);
        out.put_u8(0);
        out.put_slice(self.plugin.as_bytes());
        out.put_u8(0);
        out
    }

    /// Reads a server's greeting. Servers that know less than protocol 4.1 with a 20-byte challenge are malformed.
    pub fn decode(payload: &[u8]) -> Result<Greeting, Malformed> {
        let mut reader = Reader::new(payload, "greeting");
        if reader.u8()? != 10 {
            return Err(Malformed("greeting: not protocol version 10"));
        }
        let version = String::from_utf8_lossy(reader.nul_bytes()?).into_owned();
        let version = version.strip_prefix(MARIADB_PREFIX).map(str::to_owned).unwrap_or(version);
        let thread_id = reader.u32()?;
        let mut scramble = [0; SCRAMBLE_BYTES];
        scramble[..8].copy_from_slice(reader.take(8)?);
        reader.take(1)?;
        let low = u32::from(reader.u16()?);
        let collation = reader.u8()?;
        let status = StatusFlags::from_bits_truncate(reader.u16()?);
        let high = u32::from(reader.u16()?);
        reader.take(1 + 10)?;
        scramble[8..].copy_from_slice(reader.take(SCRAMBLE_BYTES - 8)?);
        let capabilities = CapabilityFlags::from_bits_truncate(high << 16 | low);
        let mut plugin = String::new();
        if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            // The NUL that closes the scramble.
            reader.take(1)?;
            plugin = String::from_utf8_lossy(reader.nul_or_rest()).into_owned();
        }
        Ok(Greeting { version, thread_id, scramble, capabilities, collation, status, plugin })
    }
}

/// Makes a challenge of random bytes: 7-bit without NUL and `$`, as clients and servers expect.
pub fn scramble_from(random: [u8; SCRAMBLE_BYTES]) -> [u8; SCRAMBLE_BYTES] {
    random.map(|byte| match byte & 0x7F {
        0 => 1,
        b'$' => b'%',
        other => other,
    })
}

/// Whether a server's version text is MariaDB's.
pub fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting() -> Greeting {
        Greeting {
            version: "8.4.6".into(),
            thread_id: 7,
            scramble: *b"abcdefghijklmnopqrst",
            capabilities: CapabilityFlags::all(),
            collation: 45,
            status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            plugin: "caching_sha2_password".into(),
        }
    }

    #[test]
    fn a_greeting_comes_back() {
        assert_eq!(Greeting::decode(&greeting().encode()), Ok(greeting()));
    }

    #[test]
    fn mariadbs_prefix_is_removed() {
        let sent = Greeting { version: "5.5.5-10.11.19-MariaDB-0+deb12u1".into(), ..greeting() };
        let read = Greeting::decode(&sent.encode()).unwrap();
        assert_eq!(read.version, "10.11.19-MariaDB-0+deb12u1");
        assert!(is_mariadb(&read.version));
    }

    #[test]
    fn a_greeting_cut_short_is_malformed() {
        let whole = greeting().encode();
        // The plugin's name may end without its NUL, so the cuts end before it.
        for length in 0..whole.len() - greeting().plugin.len() - 2 {
            assert!(Greeting::decode(&whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_scramble_has_no_nul_and_no_dollar(random: [u8; SCRAMBLE_BYTES]) {
            prop_assert!(scramble_from(random).iter().all(|&byte| byte != 0 && byte != b'$' && byte < 0x80));
        }

        #[test]
        fn hostile_greetings_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _decoded = Greeting::decode(&bytes);
        }
    }
}
