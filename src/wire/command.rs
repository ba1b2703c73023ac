//! Commands of clients: the first byte of a payload names the command, the rest is its argument and stays bytes.

use bytes::{BufMut, Bytes};

use super::codec::{Malformed, Reader};
use super::packet::{HEADER_BYTES, PAYLOAD_MAX, encode_packet};

/// One command. What the proxy does not answer is [`Command::Unknown`] with its byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Quit,
    InitDb(Bytes),
    Query(Bytes),
    /// Table name and wildcard.
    FieldList {
        table: Bytes,
        wildcard: Bytes,
    },
    Statistics,
    ProcessInfo,
    ProcessKill(u32),
    Debug,
    Ping,
    /// The body, for [`super::ChangeUser::decode`].
    ChangeUser(Bytes),
    ResetConnection,
    /// 0 turns multi-statements on, 1 off.
    SetOption(u16),
    StmtPrepare(Bytes),
    /// The bodies of the commands on prepared statements begin with the statement's id.
    StmtExecute(Bytes),
    StmtSendLongData(Bytes),
    StmtClose(u32),
    StmtReset(u32),
    StmtFetch(Bytes),
    Unknown(u8),
}

impl Command {
    /// Reads a payload as [`super::Framer::take`] gives it. A known command with a broken argument is malformed; an
    /// empty payload is, too.
    pub fn decode(payload: &Bytes) -> Result<Command, Malformed> {
        let Some(&byte) = payload.first() else { return Err(Malformed("command")) };
        let body = payload.slice(1..);
        let mut reader = Reader::new(&body, "command");
        Ok(match byte {
            0x01 => Command::Quit,
            0x02 => Command::InitDb(body),
            0x03 => Command::Query(body),
            0x04 => {
                let table = reader.nul_bytes()?.len();
                Command::FieldList { table: body.slice(..table), wildcard: body.slice(table + 1..) }
            }
            0x09 => Command::Statistics,
            0x0A => Command::ProcessInfo,
            0x0C => Command::ProcessKill(reader.u32()?),
            0x0D => Command::Debug,
            0x0E => Command::Ping,
            0x11 => Command::ChangeUser(body),
            0x16 => Command::StmtPrepare(body),
            0x17 => Command::StmtExecute(body),
            0x18 => Command::StmtSendLongData(body),
            0x19 => Command::StmtClose(reader.u32()?),
            0x1A => Command::StmtReset(reader.u32()?),
            0x1B => Command::SetOption(reader.u16()?),
            0x1C => Command::StmtFetch(body),
            0x1F => Command::ResetConnection,
            other => Command::Unknown(other),
        })
    }

    /// Servers do not answer these, not even with an error.
    pub fn is_silent(&self) -> bool {
        matches!(self, Command::Quit | Command::StmtClose(_) | Command::StmtSendLongData(_))
    }
}

/// COM_QUERY with `text`, framed as the first packets of a command.
pub fn query_packet(text: &[u8]) -> Vec<u8> {
    command_packet(0x03, text)
}

/// A command's byte and argument, framed.
pub fn command_packet(command: u8, argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + 1 + argument.len() + HEADER_BYTES);
    if argument.len() + 1 < PAYLOAD_MAX {
        out.put_uint_le(argument.len() as u64 + 1, 3);
        out.put_u8(0);
        out.put_u8(command);
        out.put_slice(argument);
        return out;
    }
    let mut payload = Vec::with_capacity(argument.len() + 1);
    payload.put_u8(command);
    payload.put_slice(argument);
    encode_packet(&payload, &mut 0, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(payload: &'static [u8]) -> Result<Command, Malformed> {
        Command::decode(&Bytes::from_static(payload))
    }

    #[test]
    fn arguments_stay_bytes() {
        assert_eq!(
            decode(b"\x03SELECT '\xff\xfe'"),
            Ok(Command::Query(Bytes::from_static(b"SELECT '\xff\xfe'")))
        );
        assert_eq!(
            decode(b"\x04orders\0%"),
            Ok(Command::FieldList {
                table: Bytes::from_static(b"orders"),
                wildcard: Bytes::from_static(b"%")
            })
        );
        assert_eq!(decode(b"\x1b\x01\x00"), Ok(Command::SetOption(1)));
    }

    #[test]
    fn an_unknown_byte_keeps_its_value_and_a_broken_argument_is_malformed() {
        assert_eq!(decode(b"\x1d"), Ok(Command::Unknown(0x1D)));
        assert_eq!(decode(b"\xffabc"), Ok(Command::Unknown(0xFF)));
        assert!(decode(b"").is_err());
        assert!(decode(b"\x04orders").is_err());
        assert!(decode(b"\x19\x01").is_err());
    }

    proptest! {
        #[test]
        fn hostile_commands_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _decoded = Command::decode(&Bytes::from(bytes));
        }
    }
}
