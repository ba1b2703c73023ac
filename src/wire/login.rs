//! What follows the greeting: the client's TLS request and login (Protocol::HandshakeResponse41), the server's request
//! to change the plugin, and COM_CHANGE_USER, which is a login inside a session.

use bytes::BufMut;

use super::capability::CapabilityFlags;
use super::codec::{Malformed, Reader, put_lenenc_bytes};

/// Length of the fixed part; a packet of just this length asks for TLS.
const FIXED_BYTES: usize = 32;

/// Connection attributes: names and values.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The packet that a client sends first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// The login follows inside TLS.
    Tls,
    Login(LoginRequest),
}

impl FirstPacket {
    pub fn decode(payload: &[u8]) -> Result<FirstPacket, Malformed> {
        if payload.len() == FIXED_BYTES {
            let flags = CapabilityFlags::from_bits_retain(Reader::new(payload, "login").u32()?);
            if flags.contains(CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SSL) {
                return Ok(FirstPacket::Tls);
            }
        }
        LoginRequest::decode(payload).map(FirstPacket::Login)
    }
}

/// A login. Names are bytes: their charset is the client's.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRequest {
    pub capabilities: CapabilityFlags,
    /// What the client is ready to receive in one packet.
    pub packet_bytes_max: u32,
    pub collation: u8,
    pub user: Vec<u8>,
    pub auth_response: Vec<u8>,
    pub database: Option<Vec<u8>>,
    /// The plugin that `auth_response` was computed for; `None` from clients without PLUGIN_AUTH.
    pub plugin: Option<Vec<u8>>,
    pub attributes: Attributes,
    /// With ZSTD_COMPRESSION_ALGORITHM.
    pub zstd_level: Option<u8>,
}

impl std::fmt::Debug for LoginRequest {
    /// Without the authentication response, which may be a password.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LoginRequest")
            .field("capabilities", &self.capabilities)
            .field("user", &String::from_utf8_lossy(&self.user))
            .finish_non_exhaustive()
    }
}

impl LoginRequest {
    pub fn decode(payload: &[u8]) -> Result<LoginRequest, Malformed> {
        let mut reader = Reader::new(payload, "login");
        let capabilities = CapabilityFlags::from_bits_retain(reader.u32()?);
        if !capabilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41) {
            return Err(Malformed("login: not protocol 4.1"));
        }
        let packet_bytes_max = reader.u32()?;
        let collation = reader.u8()?;
        reader.take(23)?;
        let user = reader.nul_bytes()?.to_vec();
        let auth_response = if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            reader.lenenc_bytes()?
        } else if capabilities.contains(CapabilityFlags::CLIENT_SECURE_CONNECTION) {
            let length = reader.u8()?;
            reader.take(usize::from(length))?
        } else {
            reader.nul_or_rest()
        };
        let auth_response = auth_response.to_vec();
        // Servers accept a login that ends early from here on, and there are clients that do that.
        let database = (capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec())
            .filter(|database| !database.is_empty());
        let plugin = (capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec());
        let attributes = if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) && !reader.is_empty()
        {
            decode_attributes(&mut reader)?
        } else {
            Vec::new()
        };
        let zstd_level = (capabilities.contains(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM)
            && !reader.is_empty())
        .then(|| reader.u8())
        .transpose()?;
        Ok(LoginRequest {
            capabilities,
            packet_bytes_max,
            collation,
            user,
            auth_response,
            database,
            plugin,
            attributes,
            zstd_level,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_fixed(&mut out, self.capabilities, self.packet_bytes_max, self.collation);
        out.put_slice(&self.user);
        out.put_u8(0);
        if self.capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            put_lenenc_bytes(&mut out, &self.auth_response);
        } else {
            // Both plugins answer with at most 32 bytes.
            let length = u8::try_from(self.auth_response.len()).unwrap_or(u8::MAX);
            out.put_u8(length);
            out.put_slice(&self.auth_response[..usize::from(length)]);
        }
        if self.capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) {
            out.put_slice(self.database.as_deref().unwrap_or_default());
            out.put_u8(0);
        }
        if self.capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            out.put_slice(self.plugin.as_deref().unwrap_or_default());
            out.put_u8(0);
        }
        if self.capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
            let mut pairs = Vec::new();
            for (name, value) in &self.attributes {
                put_lenenc_bytes(&mut pairs, name);
                put_lenenc_bytes(&mut pairs, value);
            }
            put_lenenc_bytes(&mut out, &pairs);
        }
        if self.capabilities.contains(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM) {
            out.put_u8(self.zstd_level.unwrap_or_default());
        }
        out
    }
}

/// The packet that asks a server for TLS.
pub fn ssl_request(capabilities: CapabilityFlags, packet_bytes_max: u32, collation: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_BYTES);
    put_fixed(&mut out, capabilities | CapabilityFlags::CLIENT_SSL, packet_bytes_max, collation);
    out
}

fn put_fixed(out: &mut Vec<u8>, capabilities: CapabilityFlags, packet_bytes_max: u32, collation: u8) {
    out.put_u32_le(capabilities.bits());
    out.put_u32_le(packet_bytes_max);
    out.put_u8(collation);
    out.put_bytes(0, 23);
}

fn decode_attributes(reader: &mut Reader<'_>) -> Result<Attributes, Malformed> {
    let mut pairs = Reader::new(reader.lenenc_bytes()?, "connection attributes");
    let mut attributes = Vec::new();
    while !pairs.is_empty() {
        attributes.push((pairs.lenenc_bytes()?.to_vec(), pairs.lenenc_bytes()?.to_vec()));
    }
    Ok(attributes)
}

/// COM_CHANGE_USER: a login inside a session.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeUser {
    pub user: Vec<u8>,
    pub auth_response: Vec<u8>,
    pub database: Option<Vec<u8>>,
    pub collation: Option<u16>,
    pub plugin: Option<Vec<u8>>,
    pub attributes: Attributes,
}

impl std::fmt::Debug for ChangeUser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ChangeUser")
            .field("user", &String::from_utf8_lossy(&self.user))
            .finish_non_exhaustive()
    }
}

impl ChangeUser {
    /// `body` is the payload without the command byte; `capabilities` are the session's.
    pub fn decode(body: &[u8], capabilities: CapabilityFlags) -> Result<ChangeUser, Malformed> {
        let mut reader = Reader::new(body, "change of user");
        let user = reader.nul_bytes()?.to_vec();
        let length = reader.u8()?;
        let auth_response = reader.take(usize::from(length))?.to_vec();
        let database = Some(reader.nul_or_rest().to_vec()).filter(|database| !database.is_empty());
        let collation = if reader.is_empty() { None } else { Some(reader.u16()?) };
        let plugin = (capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec());
        let attributes = if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) && !reader.is_empty()
        {
            decode_attributes(&mut reader)?
        } else {
            Vec::new()
        };
        Ok(ChangeUser { user, auth_response, database, collation, plugin, attributes })
    }
}

/// A server asks for another plugin (Protocol::AuthSwitchRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSwitch {
    pub plugin: String,
    /// Without its closing NUL.
    pub challenge: Vec<u8>,
}

impl AuthSwitch {
    pub const FIRST_BYTE: u8 = 0xFE;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.put_u8(AuthSwitch::FIRST_BYTE);
        out.put_slice(self.plugin.as_bytes());
        out.put_u8(0);
        out.put_slice(&self.challenge);
        out.put_u8(0);
        out
    }

    pub fn decode(payload: &[u8]) -> Result<AuthSwitch, Malformed> {
        let mut reader = Reader::new(payload, "request to change the authentication plugin");
        if reader.u8()? != AuthSwitch::FIRST_BYTE {
            return Err(Malformed("request to change the authentication plugin"));
        }
        // A lone 0xFE asks for the plugin of servers before 4.1.
        let plugin = String::from_utf8_lossy(reader.nul_or_rest()).into_owned();
        let challenge = reader.rest();
        let challenge = challenge.strip_suffix(&[0]).unwrap_or(challenge).to_vec();
        Ok(AuthSwitch { plugin, challenge })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn login(capabilities: CapabilityFlags) -> LoginRequest {
        let has = |flag| capabilities.contains(flag);
        LoginRequest {
            capabilities,
            packet_bytes_max: 1 << 24,
            collation: 45,
            user: b"shop".to_vec(),
            auth_response: vec![9; 32],
            database: has(CapabilityFlags::CLIENT_CONNECT_WITH_DB).then(|| b"orders".to_vec()),
            plugin: has(CapabilityFlags::CLIENT_PLUGIN_AUTH).then(|| b"caching_sha2_password".to_vec()),
            attributes: if has(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
                vec![(b"_os".to_vec(), b"Linux".to_vec()), (b"empty".to_vec(), Vec::new())]
            } else {
                Vec::new()
            },
            zstd_level: has(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM).then_some(7),
        }
    }

    #[test]
    fn logins_come_back_with_every_set_of_flags() {
        let optional = [
            CapabilityFlags::CLIENT_CONNECT_WITH_DB,
            CapabilityFlags::CLIENT_PLUGIN_AUTH,
            CapabilityFlags::CLIENT_CONNECT_ATTRS,
            CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
            CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM,
        ];
        for set in 0..1u32 << optional.len() {
            let mut flags = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
            for (bit, flag) in optional.into_iter().enumerate() {
                flags.set(flag, set & 1 << bit != 0);
            }
            let sent = login(flags);
            assert_eq!(FirstPacket::decode(&sent.encode()), Ok(FirstPacket::Login(sent)));
        }
    }

    #[test]
    fn a_request_for_tls_is_told_from_a_login() {
        let packet = ssl_request(CapabilityFlags::CLIENT_PROTOCOL_41, 1 << 24, 45);
        assert_eq!(FirstPacket::decode(&packet), Ok(FirstPacket::Tls));
        let mut without = packet.clone();
        without[1] &= !0x08;
        assert!(FirstPacket::decode(&without).is_err());
    }

    #[test]
    fn a_login_of_old_protocol_is_malformed() {
        let old = login(CapabilityFlags::CLIENT_LONG_PASSWORD).encode();
        assert!(FirstPacket::decode(&old).is_err());
    }

    #[test]
    fn passwords_do_not_show_in_debug_output() {
        let request = LoginRequest { auth_response: b"secret".to_vec(), ..login(CapabilityFlags::empty()) };
        assert!(!format!("{request:?}").contains("115"));
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn a_switch_comes_back() {
        let sent = AuthSwitch { plugin: "mysql_native_password".into(), challenge: vec![5; 20] };
        assert_eq!(AuthSwitch::decode(&sent.encode()), Ok(sent));
        assert_eq!(AuthSwitch::decode(&[0xFE]).unwrap().plugin, "");
    }

    #[test]
    fn a_change_of_user_is_read() {
        let mut body = b"shop\0\x03abcorders\0\x2d\x00mysql_native_password\0".to_vec();
        body.extend_from_slice(&[5, 1, b'k', 2, b'v', b'w']);
        let read = ChangeUser::decode(&body, CapabilityFlags::all()).unwrap();
        assert_eq!(
            (&read.user[..], &read.auth_response[..], read.database.as_deref(), read.collation),
            (&b"shop"[..], &b"abc"[..], Some(&b"orders"[..]), Some(45))
        );
        assert_eq!(read.plugin.as_deref(), Some(&b"mysql_native_password"[..]));
        assert_eq!(read.attributes, [(b"k".to_vec(), b"vw".to_vec())]);
    }

    proptest! {
        #[test]
        fn hostile_logins_do_not_panic(
            flags: u32,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut payload = (flags | 0x200).to_le_bytes().to_vec();
            payload.extend_from_slice(&bytes);
            let _decoded = FirstPacket::decode(&payload);
            let _decoded = ChangeUser::decode(&bytes, CapabilityFlags::from_bits_retain(flags));
            let _decoded = AuthSwitch::decode(&bytes);
        }

        #[test]
        fn damaged_logins_do_not_panic(at in 0usize..200, value: u8, length in 0usize..200) {
            let mut payload = login(CapabilityFlags::all()).encode();
            let at = at % payload.len();
            payload[at] = value;
            let _decoded = FirstPacket::decode(&payload);
            let _decoded = FirstPacket::decode(&payload[..length.min(payload.len())]);
        }
    }
}
