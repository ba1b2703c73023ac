//! Prepared statements on the wire: the answer to COM_STMT_PREPARE, COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA and
//! COM_STMT_FETCH. Arguments stay the client's bytes: what a server gets is copied, not encoded anew.
//! Protocol pages: "COM_STMT_PREPARE_OK", "COM_STMT_EXECUTE". CLIENT_QUERY_ATTRIBUTES is never negotiated, so there are no
//! names of parameters and no count of them in COM_STMT_EXECUTE.

use bytes::{BufMut, Bytes};

use super::codec::{Malformed, Reader};
use super::command::command_packet;

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_FETCH: u8 = 0x1C;

/// Of the flags of COM_STMT_EXECUTE: the server keeps the rows until they are fetched.
pub const CURSOR_READ_ONLY: u8 = 0x01;

/// Long data goes to servers in pieces of this length: their limit of one packet is not known here.
const LONG_DATA_PIECE_BYTES: usize = 512 << 10;

const UNSIGNED: u8 = 0x80;

/// The type bytes that clients send (`enum_field_types`).
mod kind {
    pub(super) const DECIMAL: u8 = 0;
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const SET: u8 = 248;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

/// The first packet of the answer to COM_STMT_PREPARE; the definitions of parameters and columns follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareOk {
    pub id: u32,
    pub columns: u16,
    pub parameters: u16,
    pub warnings: u16,
}

impl PrepareOk {
    pub fn decode(payload: &[u8]) -> Result<PrepareOk, Malformed> {
        let mut reader = Reader::new(payload, "answer to a prepare");
        if reader.u8()? != 0 {
            return Err(Malformed("answer to a prepare"));
        }
        let (id, columns, parameters) = (reader.u32()?, reader.u16()?, reader.u16()?);
        reader.u8()?;
        // Servers older than the warnings leave them out.
        let warnings = reader.u16().unwrap_or_default();
        Ok(PrepareOk { id, columns, parameters, warnings })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        out.put_u8(0);
        out.put_u32_le(self.id);
        out.put_u16_le(self.columns);
        out.put_u16_le(self.parameters);
        out.put_u8(0);
        out.put_u16_le(self.warnings);
        out
    }
}

/// What a client says that its argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterType {
    pub kind: u8,
    pub unsigned: bool,
}

/// One argument of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    Null,
    /// As it stood in the packet, its length included where it has one.
    Given(Bytes),
    /// Came ahead by COM_STMT_SEND_LONG_DATA.
    Long(Bytes),
}

/// What MySQL (8.0.22 and later) goes by when it decides as what it takes a parameter from an execution on: the type, and what a
/// string reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    of: ParameterType,
    reads_as: u8,
}

impl Shape {
    pub fn bytes(shape: Option<Shape>) -> [u8; 3] {
        shape.map_or([0xFF; 3], |shape| [shape.of.kind, u8::from(shape.of.unsigned), shape.reads_as])
    }
}

/// What an argument means.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgumentValue<'a> {
    Null,
    Integer(i128),
    Double(f64),
    /// Digits, as written.
    Decimal(&'a [u8]),
    /// In the client's character set.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// A date or a time as literals write it, without quotes.
    Temporal(String),
    /// Bytes that only the server knows how to read.
    Other(&'a [u8]),
}

/// Why the arguments of an execution cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Servers do not agree on how many bytes such an argument has.
    #[error("parameter {number} has the type {kind}, which clients do not send")]
    Type { number: usize, kind: u8 },
    #[error("the types of the parameters were never sent")]
    NoTypes,
}

/// The fixed part of COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecuteHead {
    pub statement: u32,
    /// Which kind of cursor is wanted.
    pub cursor: u8,
}

impl ExecuteHead {
    const BYTES: usize = 9;

    /// `body` is the command without its first byte.
    pub fn decode(body: &[u8]) -> Result<ExecuteHead, Malformed> {
        let mut reader = Reader::new(body, "COM_STMT_EXECUTE");
        let (statement, cursor, _iterations) = (reader.u32()?, reader.u8()?, reader.u32()?);
        Ok(ExecuteHead { statement, cursor })
    }
}

/// The arguments of COM_STMT_EXECUTE for a statement of `types.len()` parameters. `types` are those that were bound last and become
/// those of this execution; `long` has the long data by parameter, which is taken out.
pub fn decode_arguments(
    body: &Bytes,
    types: &mut [Option<ParameterType>],
    long: &mut [Option<Bytes>],
) -> Result<Vec<Argument>, ExecuteError> {
    let count = types.len();
    if count == 0 {
        return Ok(Vec::new());
    }
    let rest = body.slice(ExecuteHead::BYTES.min(body.len())..);
    let mut reader = Reader::new(&rest, "arguments of COM_STMT_EXECUTE");
    let nulls = reader.take(count.div_ceil(8))?;
    if reader.u8()? == 1 {
        for bound in types.iter_mut() {
            let (kind, flags) = (reader.u8()?, reader.u8()?);
            *bound = Some(ParameterType { kind, unsigned: flags & UNSIGNED != 0 });
        }
    }
    let mut arguments = Vec::with_capacity(count);
    for (index, bound) in types.iter().enumerate() {
        let is_null = nulls[index / 8] & (1 << (index % 8)) != 0;
        let bound = bound.ok_or(ExecuteError::NoTypes)?;
        arguments.push(match long.get_mut(index).and_then(Option::take) {
            Some(data) => Argument::Long(data),
            None if is_null => Argument::Null,
            None => {
                let left = reader.rest().len();
                skip(&mut reader, bound.kind, index)?;
                let begin = rest.len() - left;
                Argument::Given(rest.slice(begin..rest.len() - reader.rest().len()))
            }
        });
    }
    Ok(arguments)
}

fn skip(reader: &mut Reader<'_>, kind: u8, index: usize) -> Result<(), ExecuteError> {
    match kind {
        kind::TINY => reader.take(1)?,
        kind::SHORT => reader.take(2)?,
        kind::LONG | kind::FLOAT => reader.take(4)?,
        kind::LONGLONG | kind::DOUBLE => reader.take(8)?,
        kind::DECIMAL
        | kind::TIMESTAMP
        | kind::DATE
        | kind::TIME
        | kind::DATETIME
        | kind::VARCHAR
        | kind::JSON..=kind::SET
        | kind::TINY_BLOB..=kind::BLOB
        | kind::VAR_STRING
        | kind::STRING
        | kind::GEOMETRY => reader.lenenc_bytes()?,
        _ => return Err(ExecuteError::Type { number: index + 1, kind }),
    };
    Ok(())
}

impl Argument {
    /// `None` for NULL.
    pub fn shape(&self, of: ParameterType) -> Option<Shape> {
        let reads_as = match self.value(of) {
            ArgumentValue::Null => return None,
            ArgumentValue::Text(bytes) | ArgumentValue::Binary(bytes) => number_form(bytes),
            _ => 0,
        };
        Some(Shape { of, reads_as })
    }

    /// What it means as an argument of this type.
    pub fn value(&self, of: ParameterType) -> ArgumentValue<'_> {
        let content = match self {
            Argument::Null => return ArgumentValue::Null,
            // Whatever the type, it is a string of bytes to the server.
            Argument::Long(data) => return bytes_of(of.kind, data),
            Argument::Given(raw) => raw,
        };
        let mut reader = Reader::new(content, "argument");
        let number = match (of.kind, of.unsigned) {
            (kind::TINY, true) => reader.u8().map(i128::from),
            (kind::TINY, false) => reader.u8().map(|byte| i128::from(byte.cast_signed())),
            (kind::SHORT, true) => reader.u16().map(i128::from),
            (kind::SHORT, false) => reader.u16().map(|bytes| i128::from(bytes.cast_signed())),
            (kind::LONG, true) => reader.u32().map(i128::from),
            (kind::LONG, false) => reader.u32().map(|bytes| i128::from(bytes.cast_signed())),
            (kind::LONGLONG, true) => reader.u64().map(i128::from),
            (kind::LONGLONG, false) => reader.u64().map(|bytes| i128::from(bytes.cast_signed())),
            (kind::FLOAT, _) => {
                let bits = reader.u32().unwrap_or_default();
                return ArgumentValue::Double(f64::from(f32::from_bits(bits)));
            }
            (kind::DOUBLE, _) => {
                return ArgumentValue::Double(f64::from_bits(reader.u64().unwrap_or_default()));
            }
            (other, _) => return bytes_of(other, reader.lenenc_bytes().unwrap_or_default()),
        };
        number.map_or(ArgumentValue::Other(content), ArgumentValue::Integer)
    }
}

fn bytes_of(kind: u8, bytes: &[u8]) -> ArgumentValue<'_> {
    match kind {
        kind::DECIMAL | kind::NEWDECIMAL => ArgumentValue::Decimal(bytes),
        kind::VARCHAR | kind::VAR_STRING | kind::STRING => ArgumentValue::Text(bytes),
        kind::TINY_BLOB..=kind::BLOB => ArgumentValue::Binary(bytes),
        kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME => {
            temporal(kind, bytes).map_or(ArgumentValue::Other(bytes), ArgumentValue::Temporal)
        }
        _ => ArgumentValue::Other(bytes),
    }
}

/// 1 for an integer, 2 for a decimal, 3 for anything else.
fn number_form(bytes: &[u8]) -> u8 {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let rest = digits.iter().position(|byte| !byte.is_ascii_digit()).map_or(&[][..], |at| &digits[at..]);
    match rest {
        [] if !digits.is_empty() => 1,
        [b'.', fraction @ ..] if fraction.iter().all(u8::is_ascii_digit) => 2,
        _ => 3,
    }
}

/// Protocol page "Binary Protocol Value": parts that are zero may be left out from the end.
pub(super) fn temporal(kind: u8, bytes: &[u8]) -> Option<String> {
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let four = |index: usize| u32::from_le_bytes([at(index), at(index + 1), at(index + 2), at(index + 3)]);
    let fraction = |micros: u32| if micros == 0 { String::new() } else { format!(".{micros:06}") };
    match (kind, bytes.len()) {
        (kind::TIME, 0 | 8 | 12) => {
            let sign = if at(0) == 1 { "-" } else { "" };
            let hours = u64::from(four(1)) * 24 + u64::from(at(5));
            Some(format!("{sign}{hours:02}:{:02}:{:02}{}", at(6), at(7), fraction(four(8))))
        }
        (kind::DATE | kind::DATETIME | kind::TIMESTAMP, 0 | 4 | 7 | 11) => {
            let date = format!("{:04}-{:02}-{:02}", u16::from_le_bytes([at(0), at(1)]), at(2), at(3));
            if kind == kind::DATE {
                return Some(date);
            }
            Some(format!("{date} {:02}:{:02}:{:02}{}", at(4), at(5), at(6), fraction(four(7))))
        }
        _ => None,
    }
}

/// COM_STMT_EXECUTE with the arguments and their types, framed; long data in front of it.
pub fn execute_packets(handle: u32, cursor: u8, arguments: &[(ParameterType, &Argument)]) -> Vec<u8> {
    let mut out = Vec::new();
    let given: usize = arguments.iter().map(|(_, argument)| bytes_in_packet(argument).len()).sum();
    let mut body = Vec::with_capacity(ExecuteHead::BYTES + 1 + arguments.len() * 3 + given);
    body.put_u32_le(handle);
    body.put_u8(cursor);
    body.put_u32_le(1);
    if !arguments.is_empty() {
        let nulls = body.len();
        body.put_bytes(0, arguments.len().div_ceil(8));
        body.put_u8(1);
        for (index, (bound, argument)) in arguments.iter().enumerate() {
            if **argument == Argument::Null {
                body[nulls + index / 8] |= 1 << (index % 8);
            }
            body.put_u8(bound.kind);
            body.put_u8(if bound.unsigned { UNSIGNED } else { 0 });
        }
        for (index, (_, argument)) in arguments.iter().enumerate() {
            body.put_slice(bytes_in_packet(argument));
            if let Argument::Long(data) = argument {
                put_long_data(handle, index, data, &mut out);
            }
        }
    }
    let execute = command_packet(COM_STMT_EXECUTE, &body);
    if out.is_empty() {
        return execute;
    }
    out.extend_from_slice(&execute);
    out
}

fn bytes_in_packet(argument: &Argument) -> &[u8] {
    match argument {
        Argument::Given(raw) => raw,
        Argument::Null | Argument::Long(_) => &[],
    }
}

fn put_long_data(handle: u32, index: usize, data: &[u8], out: &mut Vec<u8>) {
    let mut rest = data;
    loop {
        let (now, later) = rest.split_at(rest.len().min(LONG_DATA_PIECE_BYTES));
        let mut body = Vec::with_capacity(6 + now.len());
        body.put_u32_le(handle);
        // A statement has at most 65535 parameters.
        body.put_u16_le(u16::try_from(index).unwrap_or(u16::MAX));
        body.put_slice(now);
        out.extend_from_slice(&command_packet(COM_STMT_SEND_LONG_DATA, &body));
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

/// COM_STMT_SEND_LONG_DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongPiece {
    pub statement: u32,
    pub parameter: u16,
    pub data: Bytes,
}

impl LongPiece {
    pub fn decode(body: &Bytes) -> Result<LongPiece, Malformed> {
        let mut reader = Reader::new(body, "COM_STMT_SEND_LONG_DATA");
        let (statement, parameter) = (reader.u32()?, reader.u16()?);
        let data = body.slice(body.len() - reader.rest().len()..);
        Ok(LongPiece { statement, parameter, data })
    }
}

/// COM_STMT_FETCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    pub statement: u32,
    pub rows: u32,
}

impl Fetch {
    pub fn decode(body: &[u8]) -> Result<Fetch, Malformed> {
        let mut reader = Reader::new(body, "COM_STMT_FETCH");
        Ok(Fetch { statement: reader.u32()?, rows: reader.u32()? })
    }

    /// For another statement id, framed.
    pub fn packet(&self, handle: u32) -> Vec<u8> {
        let mut body = handle.to_le_bytes().to_vec();
        body.put_u32_le(self.rows);
        command_packet(COM_STMT_FETCH, &body)
    }
}

pub fn prepare_packet(text: &[u8]) -> Vec<u8> {
    command_packet(COM_STMT_PREPARE, text)
}

/// Servers do not answer it.
pub fn close_packet(handle: u32) -> Vec<u8> {
    command_packet(COM_STMT_CLOSE, &handle.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Framer, put_lenenc_bytes};
    use bytes::BytesMut;
    use proptest::prelude::*;

    const KINDS: [u8; 22] =
        [0, 1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 15, 245, 246, 247, 248, 249, 250, 251, 252, 253, 255];

    fn bound(kind: u8, unsigned: bool) -> ParameterType {
        ParameterType { kind, unsigned }
    }

    fn given(bytes: &[u8]) -> Argument {
        Argument::Given(Bytes::copy_from_slice(bytes))
    }

    fn lenenc(bytes: &[u8]) -> Argument {
        let mut out = Vec::new();
        put_lenenc_bytes(&mut out, bytes);
        Argument::Given(out.into())
    }

    /// The bodies of the commands in `packets`, each with its first byte.
    fn commands(packets: &[u8]) -> Vec<Bytes> {
        let (mut input, mut bodies) = (BytesMut::from(packets), Vec::new());
        while let Ok(Some(payload)) = Framer::unchecked(usize::MAX).take(&mut input) {
            bodies.push(payload);
        }
        assert!(input.is_empty());
        bodies
    }

    fn back(
        packets: &[u8],
        count: usize,
        long: &mut [Option<Bytes>],
    ) -> Result<(Vec<Option<ParameterType>>, Vec<Argument>), ExecuteError> {
        let execute = commands(packets).pop().unwrap().slice(1..);
        let mut types = vec![None; count];
        let arguments = decode_arguments(&execute, &mut types, long)?;
        Ok((types, arguments))
    }

    #[test]
    fn numbers_mean_what_their_flag_says() {
        let value = |kind, unsigned, bytes: &[u8]| format!("{:?}", given(bytes).value(bound(kind, unsigned)));
        assert_eq!(value(1, false, &[0xFF]), "Integer(-1)");
        assert_eq!(value(1, true, &[0xFF]), "Integer(255)");
        assert_eq!(value(2, false, &[0, 0x80]), "Integer(-32768)");
        assert_eq!(value(3, true, &[0xFF; 4]), "Integer(4294967295)");
        assert_eq!(value(8, true, &[0xFF; 8]), "Integer(18446744073709551615)");
        assert_eq!(value(8, false, &[0xFF; 8]), "Integer(-1)");
        assert_eq!(value(5, false, &1.5_f64.to_le_bytes()), "Double(1.5)");
        assert_eq!(value(4, false, &0.5_f32.to_le_bytes()), "Double(0.5)");
    }

    #[test]
    fn dates_and_times_are_written_as_literals_are() {
        let text = |kind, bytes: &[u8]| match lenenc(bytes).value(bound(kind, false)) {
            ArgumentValue::Temporal(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(10, &[0xE8, 7, 2, 29]), "2024-02-29");
        assert_eq!(text(10, &[]), "0000-00-00");
        assert_eq!(text(12, &[0xE8, 7, 2, 29]), "2024-02-29 00:00:00");
        assert_eq!(text(12, &[0xE8, 7, 2, 29, 1, 2, 3, 4, 0, 0, 0]), "2024-02-29 01:02:03.000004");
        assert_eq!(text(11, &[1, 1, 0, 0, 0, 2, 3, 4]), "-26:03:04");
        assert_eq!(text(11, &[]), "00:00:00");
    }

    #[test]
    fn types_are_remembered_and_needed() {
        let argument = given(&[7]);
        let mut body = vec![1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7];
        let mut types = vec![None];
        let again = Bytes::from(body.clone());
        assert_eq!(decode_arguments(&again, &mut types, &mut []), Err(ExecuteError::NoTypes));
        types[0] = Some(bound(1, false));
        assert_eq!(decode_arguments(&again, &mut types, &mut []), Ok(vec![argument]));
        // NULL needs no type of its own, but one must have been bound.
        body[9] = 1;
        body.pop();
        assert_eq!(decode_arguments(&body.into(), &mut types, &mut []), Ok(vec![Argument::Null]));
    }

    #[test]
    fn strings_have_the_shape_of_what_they_read_as() {
        let shape = |text: &[u8]| lenenc(text).shape(bound(253, false));
        assert_eq!(shape(b"12"), shape(b"-7"));
        assert_eq!(shape(b"1.5"), shape(b"-7."));
        assert_eq!(shape(b"abc"), shape(b""));
        assert_ne!(shape(b"1"), shape(b"1.0"));
        assert_ne!(shape(b"1"), shape(b"1a"));
        assert_eq!(Argument::Null.shape(bound(253, false)), None);
        assert_eq!(given(&[1]).shape(bound(1, false)), given(&[2]).shape(bound(1, false)));
    }

    #[test]
    fn a_type_that_no_client_sends_is_named() {
        let packets = execute_packets(1, 0, &[(bound(13, false), &given(&[1, 2]))]);
        assert_eq!(back(&packets, 1, &mut []), Err(ExecuteError::Type { number: 1, kind: 13 }));
    }

    #[test]
    fn long_data_goes_ahead_in_pieces_and_has_no_bytes_of_its_own() {
        let data = Bytes::from(vec![7; LONG_DATA_PIECE_BYTES + 1]);
        let long = Argument::Long(data.clone());
        let packets = execute_packets(9, 0, &[(bound(1, false), &given(&[3])), (bound(252, false), &long)]);
        let sent = commands(&packets);
        assert_eq!(sent.iter().map(|body| body[0]).collect::<Vec<_>>(), [0x18, 0x18, 0x17]);
        let mut seen = Vec::new();
        for body in &sent[..2] {
            let piece = LongPiece::decode(&body.slice(1..)).unwrap();
            assert_eq!((piece.statement, piece.parameter), (9, 1));
            seen.extend_from_slice(&piece.data);
        }
        assert_eq!(seen, data);
        let (_, arguments) = back(&packets, 2, &mut [None, Some(data)]).unwrap();
        assert_eq!(arguments, [given(&[3]), long]);
    }

    #[test]
    fn the_answer_to_a_prepare_comes_back() {
        let ok = PrepareOk { id: 7, columns: 2, parameters: 3, warnings: 1 };
        assert_eq!(PrepareOk::decode(&ok.encode()), Ok(ok));
        assert!(PrepareOk::decode(b"\xff\x01").is_err());
    }

    fn any_argument() -> impl Strategy<Value = (ParameterType, Argument)> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..300);
        (proptest::sample::select(&KINDS[..]), any::<bool>(), any::<bool>(), bytes, any::<[u8; 8]>())
            .prop_map(|(kind, unsigned, null, bytes, fixed)| {
                let argument = match kind {
                    _ if null => Argument::Null,
                    1 => given(&fixed[..1]),
                    2 => given(&fixed[..2]),
                    3 | 4 => given(&fixed[..4]),
                    5 | 8 => given(&fixed),
                    _ => lenenc(&bytes),
                };
                (bound(kind, unsigned), argument)
            })
    }

    proptest! {
        #[test]
        fn arguments_come_back(all in proptest::collection::vec(any_argument(), 0..40), handle: u32) {
            let borrowed: Vec<_> = all.iter().map(|(bound, argument)| (*bound, argument)).collect();
            let packets = execute_packets(handle, 1, &borrowed);
            let head = ExecuteHead::decode(&commands(&packets)[0][1..]);
            prop_assert_eq!(head, Ok(ExecuteHead { statement: handle, cursor: 1 }));
            let (types, arguments) = back(&packets, all.len(), &mut []).unwrap();
            prop_assert_eq!(types, all.iter().map(|(bound, _)| Some(*bound)).collect::<Vec<_>>());
            prop_assert_eq!(arguments, all.into_iter().map(|(_, argument)| argument).collect::<Vec<_>>());
        }

        #[test]
        fn hostile_executions_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), count in 0usize..20) {
            let body = Bytes::from(bytes);
            let mut types = vec![None; count];
            let _head = ExecuteHead::decode(&body);
            if let Ok(arguments) = decode_arguments(&body, &mut types, &mut vec![None; count]) {
                for (argument, bound) in arguments.iter().zip(types.iter().flatten()) {
                    let _value = argument.value(*bound);
                }
            }
            let _fetch = Fetch::decode(&body);
            let _long = LongPiece::decode(&body);
            let _ok = PrepareOk::decode(&body);
        }
    }
}
