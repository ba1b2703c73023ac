//! Rows of the binary protocol as rows of the text protocol and back, without loss: what merges rows knows one form of them.
//! Numbers are written so that they read back as themselves; what only the text protocol adds (zeros in front, trailing zeros of
//! a fraction) is not there.

use bytes::BufMut;

use super::codec::{Malformed, Reader, put_lenenc_bytes};
use super::prepared::temporal;
use super::resultset::ColumnDefinition;

const NULL: u8 = 0xFB;

mod kind {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
}

/// A binary row's values as text.
pub fn text_of_binary(row: &[u8], columns: &[ColumnDefinition]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(row, "binary row");
    reader.u8()?;
    let nulls = reader.take((columns.len() + 2).div_ceil(8))?;
    let mut out = Vec::with_capacity(row.len() * 2);
    for (index, column) in columns.iter().enumerate() {
        if nulls[(index + 2) / 8] & (1 << ((index + 2) % 8)) != 0 {
            out.put_u8(NULL);
            continue;
        }
        let unsigned = column.flags & ColumnDefinition::UNSIGNED != 0;
        let text = match (column.kind, unsigned) {
            (kind::TINY, true) => reader.u8()?.to_string(),
            (kind::TINY, false) => reader.u8()?.cast_signed().to_string(),
            (kind::YEAR, _) => format!("{:04}", reader.u16()?),
            (kind::SHORT, true) => reader.u16()?.to_string(),
            (kind::SHORT, false) => reader.u16()?.cast_signed().to_string(),
            (kind::LONG | kind::INT24, true) => reader.u32()?.to_string(),
            (kind::LONG | kind::INT24, false) => reader.u32()?.cast_signed().to_string(),
            (kind::LONGLONG, true) => reader.u64()?.to_string(),
            (kind::LONGLONG, false) => reader.u64()?.cast_signed().to_string(),
            (kind::FLOAT, _) => format!("{:e}", f32::from_bits(reader.u32()?)),
            (kind::DOUBLE, _) => format!("{:e}", f64::from_bits(reader.u64()?)),
            (kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME, _) => {
                temporal(column.kind, reader.lenenc_bytes()?).ok_or(Malformed("binary row"))?
            }
            _ => {
                put_lenenc_bytes(&mut out, reader.lenenc_bytes()?);
                continue;
            }
        };
        put_lenenc_bytes(&mut out, text.as_bytes());
    }
    Ok(out)
}

/// The values of a text row as a server writes them into binary rows; `columns` are those of the row.
pub fn binary_of_text(row: &[u8], columns: &[ColumnDefinition]) -> Result<Vec<u8>, Malformed> {
    const WHAT: Malformed = Malformed("row");
    let mut reader = Reader::new(row, "row");
    let mut out = vec![0; 1 + (columns.len() + 2).div_ceil(8)];
    for (index, column) in columns.iter().enumerate() {
        let Some(value) = reader.nullable_bytes()? else {
            out[1 + (index + 2) / 8] |= 1 << ((index + 2) % 8);
            continue;
        };
        let text = std::str::from_utf8(value);
        let number = || -> Result<u64, Malformed> {
            let text = text.map_err(|_| WHAT)?;
            text.parse().or_else(|_| text.parse().map(i64::cast_unsigned)).map_err(|_| WHAT)
        };
        match column.kind {
            kind::TINY => out.put_uint_le(number()? & 0xFF, 1),
            kind::SHORT | kind::YEAR => out.put_uint_le(number()? & 0xFFFF, 2),
            kind::LONG | kind::INT24 => out.put_uint_le(number()? & 0xFFFF_FFFF, 4),
            kind::LONGLONG => out.put_u64_le(number()?),
            kind::FLOAT => out.put_f32_le(text.ok().and_then(|text| text.parse().ok()).ok_or(WHAT)?),
            kind::DOUBLE => out.put_f64_le(text.ok().and_then(|text| text.parse().ok()).ok_or(WHAT)?),
            kind::DATE | kind::DATETIME | kind::TIMESTAMP => {
                put_moment(&numbers(value).ok_or(WHAT)?, &mut out).ok_or(WHAT)?;
            }
            kind::TIME => put_span(value, &mut out).ok_or(WHAT)?,
            _ => put_lenenc_bytes(&mut out, value),
        }
    }
    Ok(out)
}

/// The numbers of a date or a time; a fraction comes last, as microseconds.
fn numbers(text: &[u8]) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut numbers =
        whole.split(['-', ' ', ':']).map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
    let micros = format!("{fraction:0<6}");
    numbers.push(micros.get(..6)?.parse().ok()?);
    Some(numbers)
}

fn put_moment(numbers: &[u32], out: &mut Vec<u8>) -> Option<()> {
    let (&micros, rest) = numbers.split_last()?;
    let part = |index: usize| rest.get(index).copied().unwrap_or_default();
    let date = [part(0), part(1), part(2)];
    let time = [part(3), part(4), part(5)];
    let length = match (micros, time, date) {
        (1.., _, _) => 11,
        (0, [0, 0, 0], [0, 0, 0]) => 0,
        (0, [0, 0, 0], _) => 4,
        (0, _, _) => 7,
    };
    out.put_u8(length);
    if length >= 4 {
        out.put_u16_le(u16::try_from(date[0]).ok()?);
        out.put_u8(u8::try_from(date[1]).ok()?);
        out.put_u8(u8::try_from(date[2]).ok()?);
    }
    if length >= 7 {
        for part in time {
            out.put_u8(u8::try_from(part).ok()?);
        }
    }
    if length == 11 {
        out.put_u32_le(micros);
    }
    Some(())
}

fn put_span(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (1, digits),
        digits => (0, digits),
    };
    let [hours, minutes, seconds, micros] = numbers(digits)?.try_into().ok()?;
    let length = match (micros, hours, minutes, seconds) {
        (0, 0, 0, 0) => 0,
        (0, _, _, _) => 8,
        _ => 12,
    };
    out.put_u8(length);
    if length >= 8 {
        out.put_u8(negative);
        out.put_u32_le(hours / 24);
        out.put_u8(u8::try_from(hours % 24).ok()?);
        out.put_u8(u8::try_from(minutes).ok()?);
        out.put_u8(u8::try_from(seconds).ok()?);
    }
    if length == 12 {
        out.put_u32_le(micros);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ColumnKind;
    use proptest::prelude::*;

    fn column(kind: u8, unsigned: bool) -> ColumnDefinition {
        let flags = if unsigned { ColumnDefinition::UNSIGNED } else { 0 };
        ColumnDefinition { kind, flags, ..ColumnDefinition::local("c", ColumnKind::Text, 45) }
    }

    /// A value of a type as a server writes it.
    fn any_value() -> impl Strategy<Value = (ColumnDefinition, Option<Vec<u8>>)> {
        let sized = |bytes: Vec<u8>| {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &bytes);
            out
        };
        const KINDS: [u8; 14] = [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 246, 252, 253];
        let parts = (0u16..=9999, 0u8..=12, 0u8..=31, 0u8..24, 0u8..60, 0u8..60, 0u32..1_000_000, 0u32..35);
        let bytes = proptest::collection::vec(any::<u8>(), 0..20);
        (proptest::sample::select(&KINDS[..]), any::<bool>(), any::<bool>(), any::<u64>(), parts, bytes)
            .prop_map(move |(kind, unsigned, null, number, (y, m, d, h, i, s, micros, days), bytes)| {
                let fixed = number.to_le_bytes();
                let micros = if number % 2 == 0 { micros } else { 0 };
                let moment =
                    [y.to_le_bytes().to_vec(), vec![m, d, h, i, s], micros.to_le_bytes().to_vec()].concat();
                let span = [
                    vec![u8::from(unsigned)],
                    days.to_le_bytes().to_vec(),
                    vec![h, i, s],
                    micros.to_le_bytes().to_vec(),
                ]
                .concat();
                let length = |lengths: [(bool, usize); 3]| {
                    lengths.into_iter().find(|(holds, _)| *holds).map_or(0, |(_, length)| length)
                };
                let value = match kind {
                    1 => fixed[..1].to_vec(),
                    2 => fixed[..2].to_vec(),
                    3 | 9 => fixed[..4].to_vec(),
                    13 => (y % 2156).to_le_bytes().to_vec(),
                    4 => (number as f32).to_le_bytes().to_vec(),
                    5 => (number as f64 / 7.0).to_le_bytes().to_vec(),
                    8 => fixed.to_vec(),
                    10 => sized(
                        moment[..length([(y > 0 || m > 0 || d > 0, 4), (false, 0), (false, 0)])].to_vec(),
                    ),
                    11 => {
                        let some = days > 0 || h > 0 || i > 0 || s > 0;
                        sized(span[..length([(micros > 0, 12), (some, 8), (false, 0)])].to_vec())
                    }
                    12 => {
                        let (time, date) = (h > 0 || i > 0 || s > 0, y > 0 || m > 0 || d > 0);
                        sized(moment[..length([(micros > 0, 11), (time, 7), (date, 4)])].to_vec())
                    }
                    _ => sized(bytes),
                };
                (column(kind, unsigned), (!null).then_some(value))
            })
    }

    proptest! {
        #[test]
        fn rows_come_back_as_their_server_wrote_them(values in proptest::collection::vec(any_value(), 1..12)) {
            let columns: Vec<ColumnDefinition> = values.iter().map(|(column, _)| column.clone()).collect();
            let mut row = vec![0; 1 + (columns.len() + 2).div_ceil(8)];
            for (index, (_, value)) in values.iter().enumerate() {
                match value {
                    Some(bytes) => row.extend_from_slice(bytes),
                    None => row[1 + (index + 2) / 8] |= 1 << ((index + 2) % 8),
                }
            }
            let text = text_of_binary(&row, &columns).unwrap();
            prop_assert_eq!(binary_of_text(&text, &columns), Ok(row));
        }

        #[test]
        fn hostile_rows_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), kinds in proptest::collection::vec(any::<u8>(), 1..6)) {
            let columns: Vec<ColumnDefinition> = kinds.iter().map(|kind| column(*kind, false)).collect();
            let _text = text_of_binary(&bytes, &columns);
            let _binary = binary_of_text(&bytes, &columns);
        }
    }
}
