//! Column definitions, and small text results for what the proxy answers itself. Results of servers never pass
//! through here: they are forwarded as bytes.

use bytes::BufMut;

use super::capability::{CapabilityFlags, StatusFlags};
use super::codec::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};
use super::packet::encode_packet;
use super::response::{OkPacket, encode_eof, encode_ok_as_eof};

/// Protocol::ColumnDefinition41.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    pub schema: Vec<u8>,
    pub table: Vec<u8>,
    pub original_table: Vec<u8>,
    pub name: Vec<u8>,
    pub original_name: Vec<u8>,
    pub collation: u16,
    /// Display width in bytes.
    pub length: u32,
    /// The type byte (`enum_field_types`).
    pub kind: u8,
    pub flags: u16,
    pub decimals: u8,
}

/// The types that the proxy's own answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    /// BIGINT UNSIGNED.
    Number,
    /// BIGINT.
    Signed,
}

const TYPE_LONG: u8 = 3;
const TYPE_LONGLONG: u8 = 8;
const TYPE_VAR_STRING: u8 = 253;
const FLAG_NOT_NULL: u16 = 1;
const FLAG_UNSIGNED: u16 = 32;
const FLAG_BINARY: u16 = 128;
const COLLATION_BINARY: u16 = 63;
const NOT_FIXED_DECIMALS: u8 = 31;

impl ColumnDefinition {
    /// Of `flags`.
    pub const UNSIGNED: u16 = FLAG_UNSIGNED;

    /// A column of an answer of the proxy; `collation` is the session's.
    pub fn local(name: &str, kind: ColumnKind, collation: u16) -> ColumnDefinition {
        let (collation, length, kind, flags, decimals) = match kind {
            ColumnKind::Text => (collation, 1024, TYPE_VAR_STRING, 0, NOT_FIXED_DECIMALS),
            ColumnKind::Signed => (COLLATION_BINARY, 21, TYPE_LONGLONG, FLAG_NOT_NULL | FLAG_BINARY, 0),
            ColumnKind::Number => {
                let flags = FLAG_NOT_NULL | FLAG_UNSIGNED | FLAG_BINARY;
                (COLLATION_BINARY, 21, TYPE_LONGLONG, flags, 0)
            }
        };
        ColumnDefinition {
            schema: Vec::new(),
            table: Vec::new(),
            original_table: Vec::new(),
            name: name.as_bytes().to_vec(),
            original_name: Vec::new(),
            collation,
            length,
            kind,
            flags,
            decimals,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.name.len() + self.schema.len() + self.table.len());
        put_lenenc_bytes(&mut out, b"def");
        for text in [&self.schema, &self.table, &self.original_table, &self.name, &self.original_name] {
            put_lenenc_bytes(&mut out, text);
        }
        put_lenenc_int(&mut out, 0x0C);
        out.put_u16_le(self.collation);
        out.put_u32_le(self.length);
        out.put_u8(self.kind);
        out.put_u16_le(self.flags);
        out.put_u8(self.decimals);
        out.put_bytes(0, 2);
        out
    }

    /// Trailing bytes (default values of COM_FIELD_LIST) are ignored.
    pub fn decode(payload: &[u8]) -> Result<ColumnDefinition, Malformed> {
        let mut reader = Reader::new(payload, "column definition");
        let _catalog = reader.lenenc_bytes()?;
        let schema = reader.lenenc_bytes()?.to_vec();
        let table = reader.lenenc_bytes()?.to_vec();
        let original_table = reader.lenenc_bytes()?.to_vec();
        let name = reader.lenenc_bytes()?.to_vec();
        let original_name = reader.lenenc_bytes()?.to_vec();
        if reader.lenenc_int()? < 0x0C {
            return Err(Malformed("column definition"));
        }
        Ok(ColumnDefinition {
            schema,
            table,
            original_table,
            name,
            original_name,
            collation: reader.u16()?,
            length: reader.u32()?,
            kind: reader.u8()?,
            flags: reader.u16()?,
            decimals: reader.u8()?,
        })
    }
}

/// How rows are written: as COM_QUERY or as COM_STMT_EXECUTE gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowFormat {
    #[default]
    Text,
    Binary,
}

/// A whole result in memory, its values as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextResult {
    pub columns: Vec<ColumnDefinition>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl TextResult {
    /// Appends the packets of the result; `sequence` is that of the first. `capabilities` are those negotiated with
    /// the client, `status` its session's.
    pub fn encode(
        &self,
        capabilities: CapabilityFlags,
        format: RowFormat,
        status: StatusFlags,
        sequence: &mut u8,
        out: &mut impl BufMut,
    ) {
        let deprecate_eof = capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF);
        let mut payload = Vec::new();
        put_lenenc_int(&mut payload, self.columns.len() as u64);
        encode_packet(&payload, sequence, out);
        for column in &self.columns {
            encode_packet(&column.encode(), sequence, out);
        }
        if !deprecate_eof {
            encode_packet(&encode_eof(status, 0), sequence, out);
        }
        for row in &self.rows {
            debug_assert_eq!(row.len(), self.columns.len());
            payload.clear();
            match format {
                RowFormat::Text => put_text_row(row, &mut payload),
                RowFormat::Binary => put_binary_row(row, &self.columns, &mut payload),
            }
            encode_packet(&payload, sequence, out);
        }
        if deprecate_eof {
            let end = OkPacket { status, ..OkPacket::default() };
            encode_packet(&encode_ok_as_eof(&end), sequence, out);
        } else {
            encode_packet(&encode_eof(status, 0), sequence, out);
        }
    }
}

fn put_text_row(row: &[Option<Vec<u8>>], out: &mut Vec<u8>) {
    for value in row {
        match value {
            Some(bytes) => put_lenenc_bytes(out, bytes),
            None => out.put_u8(0xFB),
        }
    }
}

/// Protocol page "Binary Protocol Resultset Row": the bits of NULLs begin at 2.
fn put_binary_row(row: &[Option<Vec<u8>>], columns: &[ColumnDefinition], out: &mut Vec<u8>) {
    out.put_u8(0);
    let nulls = out.len();
    out.put_bytes(0, (row.len() + 2).div_ceil(8));
    for (index, (value, column)) in row.iter().zip(columns).enumerate() {
        match value {
            None => out[nulls + (index + 2) / 8] |= 1 << ((index + 2) % 8),
            Some(digits) if column.kind == TYPE_LONGLONG => out.put_u64_le(integer(digits)),
            Some(digits) if column.kind == TYPE_LONG => out.put_uint_le(integer(digits) & 0xFFFF_FFFF, 4),
            Some(bytes) => put_lenenc_bytes(out, bytes),
        }
    }
}

/// In two's complement.
fn integer(digits: &[u8]) -> u64 {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let signed = || text.parse::<i64>().map(i64::cast_unsigned);
    text.parse().or_else(|_| signed()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn result() -> TextResult {
        TextResult {
            columns: vec![
                ColumnDefinition::local("shard", ColumnKind::Text, 45),
                ColumnDefinition::local("rows", ColumnKind::Number, 45),
            ],
            rows: vec![vec![Some(b"s1".to_vec()), Some(b"7".to_vec())], vec![None, Some(Vec::new())]],
        }
    }

    fn first_bytes(capabilities: CapabilityFlags) -> Vec<(u8, u8)> {
        let mut packets = bytes::BytesMut::new();
        let mut sequence = 1;
        let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
        result().encode(capabilities, RowFormat::Text, status, &mut sequence, &mut packets);
        let mut seen = Vec::new();
        while packets.len() >= 4 {
            let packet = packets.split_to(4 + usize::from(packets[0]));
            seen.push((packet[3], packet[4]));
        }
        assert!(packets.is_empty());
        seen
    }

    #[test]
    fn results_end_as_negotiated() {
        let old: Vec<u8> =
            first_bytes(CapabilityFlags::empty()).into_iter().map(|(_, first)| first).collect();
        assert_eq!(old, [2, 3, 3, 0xFE, 2, 0xFB, 0xFE]);
        let new = first_bytes(CapabilityFlags::CLIENT_DEPRECATE_EOF);
        assert_eq!(new, [(1, 2), (2, 3), (3, 3), (4, 2), (5, 0xFB), (6, 0xFE)]);
    }

    #[test]
    fn binary_rows_have_their_nulls_in_front() {
        let mut rows = Vec::new();
        for row in &result().rows {
            let mut out = Vec::new();
            put_binary_row(row, &result().columns, &mut out);
            rows.push(out);
        }
        assert_eq!(rows[0], [0, 0, 2, b's', b'1', 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(rows[1][..2], [0, 0b100]);
        let mut signed = Vec::new();
        put_binary_row(
            &[Some(b"-1".to_vec())],
            &[ColumnDefinition::local("n", ColumnKind::Signed, 45)],
            &mut signed,
        );
        assert_eq!(signed[2..], [0xFF; 8]);
        // As CONNECTION_ID() of MariaDB.
        let int =
            ColumnDefinition { kind: TYPE_LONG, ..ColumnDefinition::local("n", ColumnKind::Number, 45) };
        let mut short = Vec::new();
        put_binary_row(&[Some(b"258".to_vec())], &[int], &mut short);
        assert_eq!(short[2..], [2, 1, 0, 0]);
    }

    #[test]
    fn columns_come_back() {
        for column in result().columns {
            assert_eq!(ColumnDefinition::decode(&column.encode()), Ok(column));
        }
    }

    proptest! {
        #[test]
        fn hostile_columns_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _decoded = ColumnDefinition::decode(&bytes);
        }
    }
}
