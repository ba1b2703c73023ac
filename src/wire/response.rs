//! OK, ERR and EOF packets.

use bytes::BufMut;

use super::capability::StatusFlags;
use super::codec::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};
use super::packet::{HEADER_BYTES, encode_packet};

/// SERVER_SESSION_STATE_CHANGED: behind the text of an OK packet follows what changed. Only with SESSION_TRACK.
pub const SESSION_STATE_CHANGED: StatusFlags = StatusFlags::SERVER_SESSION_STATE_CHANGED;

/// The kind of news that says no more than that something changed.
const TRACK_STATE_CHANGE: u8 = 0x02;

/// An OK packet, or an OK that stands for EOF.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OkPacket {
    pub affected_rows: u64,
    pub last_insert_id: u64,
    pub status: StatusFlags,
    pub warnings: u16,
    pub message: Vec<u8>,
    /// The server has said that a variable, a prepared statement or a temporary table of the session changed
    /// (SESSION_TRACK_STATE_CHANGE). Of servers' packets only.
    pub state_changed: bool,
}

impl OkPacket {
    /// A payload that begins with 0x00 or, standing for EOF, 0xFE.
    pub fn decode(payload: &[u8]) -> Result<OkPacket, Malformed> {
        let mut reader = Reader::new(payload, "OK packet");
        if !matches!(reader.u8()?, 0x00 | 0xFE) {
            return Err(Malformed("OK packet"));
        }
        let (affected_rows, last_insert_id) = (reader.lenenc_int()?, reader.lenenc_int()?);
        let status = StatusFlags::from_bits_retain(reader.u16()?);
        let warnings = reader.u16()?;
        if !status.contains(SESSION_STATE_CHANGED) || reader.is_empty() {
            let message = message(reader.rest());
            return Ok(OkPacket {
                affected_rows,
                last_insert_id,
                status,
                warnings,
                message,
                state_changed: false,
            });
        }
        let message = reader.lenenc_bytes()?.to_vec();
        let state_changed = tells_of_change(reader.lenenc_bytes()?)?;
        Ok(OkPacket { affected_rows, last_insert_id, status, warnings, message, state_changed })
    }
}

/// Whether the trackers' news hold that of SESSION_TRACK_STATE_CHANGE; the others (schema, single variables, the
/// transaction's state) tell of what the proxy sees anyway.
fn tells_of_change(news: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(news, "state of the session");
    let mut changed = false;
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let news = reader.lenenc_bytes()?;
        changed |= kind == TRACK_STATE_CHANGE && news.ends_with(b"1");
    }
    Ok(changed)
}

/// Servers write the text length-encoded, although the protocol page says that it runs to the packet's end.
fn message(rest: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(rest, "message of an OK packet");
    match reader.lenenc_bytes() {
        Ok(message) if reader.is_empty() => message.to_vec(),
        _ => rest.to_vec(),
    }
}

/// The payload of an OK packet.
pub fn encode_ok(packet: &OkPacket) -> Vec<u8> {
    ok_body(0x00, packet)
}

/// The payload that ends a result when DEPRECATE_EOF is negotiated.
pub fn encode_ok_as_eof(packet: &OkPacket) -> Vec<u8> {
    ok_body(0xFE, packet)
}

/// An OK or EOF packet without the session's state, for clients without SESSION_TRACK: whole, with its header. And whether the
/// state changed (see [`OkPacket::state_changed`]): EOF has the flag only, and no transaction sets it.
pub fn without_session_state(packet: &[u8]) -> Result<(Vec<u8>, bool), Malformed> {
    let (header, payload) = packet.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed("OK packet"))?;
    if let &[0xFE, w0, w1, s0, s1] = payload {
        let status = StatusFlags::from_bits_retain(u16::from_le_bytes([s0, s1]));
        let eof = encode_eof(status, u16::from_le_bytes([w0, w1]));
        return Ok(([header, &eof[..]].concat(), status.contains(SESSION_STATE_CHANGED)));
    }
    let ok = OkPacket::decode(payload)?;
    let payload = if payload[0] == 0xFE { encode_ok_as_eof(&ok) } else { encode_ok(&ok) };
    let (mut out, mut sequence) = (Vec::with_capacity(HEADER_BYTES + payload.len()), header[3]);
    encode_packet(&payload, &mut sequence, &mut out);
    Ok((out, ok.state_changed))
}

/// The state of a session is told by servers, not by the proxy.
fn ok_body(first: u8, packet: &OkPacket) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + packet.message.len());
    out.put_u8(first);
    put_lenenc_int(&mut out, packet.affected_rows);
    put_lenenc_int(&mut out, packet.last_insert_id);
    out.put_u16_le((packet.status - SESSION_STATE_CHANGED).bits());
    out.put_u16_le(packet.warnings);
    if !packet.message.is_empty() {
        put_lenenc_bytes(&mut out, &packet.message);
    }
    out
}

/// The payload of an EOF packet.
pub fn encode_eof(status: StatusFlags, warnings: u16) -> [u8; 5] {
    let status = (status - SESSION_STATE_CHANGED).bits();
    let ([w0, w1], [s0, s1]) = (warnings.to_le_bytes(), status.to_le_bytes());
    [0xFE, w0, w1, s0, s1]
}

/// An ERR packet. The message stays bytes: a server's may quote the statement's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({}): {}", String::from_utf8_lossy(sqlstate), String::from_utf8_lossy(message))]
pub struct ErrPacket {
    pub code: u16,
    pub sqlstate: [u8; 5],
    pub message: Vec<u8>,
}

impl ErrPacket {
    pub const FIRST_BYTE: u8 = 0xFF;

    /// A payload that begins with 0xFF. Before the login ends servers may leave the SQLSTATE out: it is `HY000` then.
    pub fn decode(payload: &[u8]) -> Result<ErrPacket, Malformed> {
        let mut reader = Reader::new(payload, "ERR packet");
        if reader.u8()? != ErrPacket::FIRST_BYTE {
            return Err(Malformed("ERR packet"));
        }
        let code = reader.u16()?;
        let mut sqlstate = *b"HY000";
        if let Some((state, message)) =
            reader.rest().strip_prefix(b"#").and_then(|rest| rest.split_first_chunk::<5>())
        {
            sqlstate = *state;
            return Ok(ErrPacket { code, sqlstate, message: message.to_vec() });
        }
        Ok(ErrPacket { code, sqlstate, message: reader.rest().to_vec() })
    }
}

/// The payload of an ERR packet before the greeting: clients do not look for a SQLSTATE there.
pub fn encode_early_err(code: u16, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + message.len());
    out.put_u8(ErrPacket::FIRST_BYTE);
    out.put_u16_le(code);
    out.put_slice(message);
    out
}

/// The payload of an ERR packet; a `sqlstate` that has not five bytes becomes `HY000`.
pub fn encode_err(code: u16, sqlstate: &str, message: &[u8]) -> Vec<u8> {
    let sqlstate = if sqlstate.len() == 5 { sqlstate } else { "HY000" };
    let mut out = Vec::with_capacity(9 + message.len());
    out.put_u8(ErrPacket::FIRST_BYTE);
    out.put_u16_le(code);
    out.put_u8(b'#');
    out.put_slice(sqlstate.as_bytes());
    out.put_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_without_sqlstate_is_read() {
        let err = ErrPacket::decode(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!(
            (err.code, &err.sqlstate, &err.message[..]),
            (1040, b"HY000", &b"Too many connections"[..])
        );
    }

    #[test]
    fn an_error_is_written_as_mysql_writes_it() {
        assert_eq!(encode_err(1045, "28000", b"no"), b"\xff\x15\x04#28000no");
        assert_eq!(ErrPacket::decode(&encode_err(1, "", b"x")).unwrap().sqlstate, *b"HY000");
    }

    #[test]
    fn a_sessions_state_is_taken_out_of_an_ok_packet() {
        let (transaction, variable) = (&b"\x05\x09\x08T_______"[..], &b"\x02\x02\x011"[..]);
        let both = [transaction, variable].concat();
        for (first, news, changed) in
            [(0x00, transaction, false), (0xFE, variable, true), (0x00, &both, true)]
        {
            for text in [&b""[..], b"Rows matched: 1"] {
                let mut payload = vec![first, 1, 2, 0x02, 0x40, 3, 0];
                put_lenenc_bytes(&mut payload, text);
                put_lenenc_bytes(&mut payload, news);
                let (mut packet, mut plain) = (Vec::new(), Vec::new());
                encode_packet(&payload, &mut 7, &mut packet);
                let mut wanted = vec![first, 1, 2, 0x02, 0x00, 3, 0];
                if !text.is_empty() {
                    put_lenenc_bytes(&mut wanted, text);
                }
                encode_packet(&wanted, &mut 7, &mut plain);
                assert_eq!(without_session_state(&packet), Ok((plain, changed)));
            }
        }
        let eof = [5, 0, 0, 9, 0xFE, 1, 0, 2, 0x40];
        assert_eq!(without_session_state(&eof), Ok((vec![5, 0, 0, 9, 0xFE, 1, 0, 2, 0], true)));
    }

    #[test]
    fn eof_has_warnings_before_status() {
        assert_eq!(encode_eof(StatusFlags::SERVER_STATUS_AUTOCOMMIT, 3), [0xFE, 3, 0, 2, 0]);
    }

    proptest! {
        #[test]
        fn packets_come_back(
            affected_rows: u64, last_insert_id: u64, status: u16, warnings: u16,
            message in proptest::collection::vec(any::<u8>(), 0..50), code: u16,
        ) {
            let status = StatusFlags::from_bits_retain(status) - SESSION_STATE_CHANGED;
            let ok =
                OkPacket { affected_rows, last_insert_id, status, warnings, message: message.clone(), state_changed: false };
            prop_assert_eq!(OkPacket::decode(&encode_ok(&ok)), Ok(ok.clone()));
            prop_assert_eq!(OkPacket::decode(&encode_ok_as_eof(&ok)), Ok(ok));
            let err = ErrPacket { code, sqlstate: *b"42S02", message };
            prop_assert_eq!(ErrPacket::decode(&encode_err(code, "42S02", &err.message)), Ok(err));
        }

        #[test]
        fn hostile_responses_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _decoded = OkPacket::decode(&bytes);
            let _decoded = ErrPacket::decode(&bytes);
            let _rewritten = without_session_state(&bytes);
        }
    }
}
