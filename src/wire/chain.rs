//! A server's response as a part of a longer answer: packets are renumbered, and every OK and EOF says that more results
//! follow. In place, by reading headers and first bytes: rows are neither decoded nor moved.

use super::boundary::{Boundary, BoundaryError, PacketKind, Progress};
use super::codec::{Malformed, Reader};
use super::packet::HEADER_BYTES;

const MORE_RESULTS: u8 = 0x08;

/// An EOF's payload is shorter than this, that of an OK in its place is not.
const OK_BYTES_MIN: usize = 7;

/// How the packets of a response change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chaining {
    /// Is added to the number of each packet.
    pub shift: u8,
    /// Other results of the same command follow.
    pub more: bool,
}

impl Chaining {
    pub fn changes_nothing(self) -> bool {
        self.shift == 0 && !self.more
    }
}

impl Boundary {
    /// As [`Boundary::advance`], and changes the packets of `bytes` as far as they are used.
    pub fn advance_chained(
        &mut self,
        bytes: &mut [u8],
        chaining: Chaining,
    ) -> Result<Progress, BoundaryError> {
        let mut used = 0;
        loop {
            let at_header = self.is_at_header();
            let Some(section) = self.next_section(&bytes[used..])? else {
                return Ok(Progress { used, ended: self.is_over() });
            };
            let packet = &mut bytes[used..used + section.bytes];
            if at_header {
                packet[3] = packet[3].wrapping_add(chaining.shift);
            }
            let has_status =
                matches!(section.kind, PacketKind::Ok | PacketKind::ColumnsEnd | PacketKind::End);
            if chaining.more && section.begins && has_status {
                let at = status_at(&packet[HEADER_BYTES..])?;
                packet[HEADER_BYTES + at] |= MORE_RESULTS;
            }
            used += section.bytes;
        }
    }
}

/// Where the status flags stand in an OK, in an EOF or in an OK in its place. Only its first bytes need to be there.
fn status_at(payload: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(payload, "response: status flags");
    if reader.u8()? == 0xFE && payload.len() < OK_BYTES_MIN {
        reader.u16()?;
    } else {
        reader.lenenc_int()?;
        reader.lenenc_int()?;
    }
    let at = payload.len() - reader.rest().len();
    reader.u16()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        OkPacket, StatusFlags, encode_eof, encode_err, encode_ok, encode_ok_as_eof, encode_packet, renumber,
    };
    use proptest::prelude::*;

    /// One column, two rows; EOF or OK at the ends.
    fn result(deprecate_eof: bool, status: StatusFlags) -> Vec<u8> {
        let (mut out, mut sequence) = (Vec::new(), 1);
        let mut put = |payload: &[u8]| encode_packet(payload, &mut sequence, &mut out);
        put(&[1]);
        put(b"\x03def column");
        if !deprecate_eof {
            put(&encode_eof(status, 0));
        }
        put(b"\x01a");
        put(&[0xFB]);
        if deprecate_eof {
            put(&encode_ok_as_eof(&OkPacket { status, ..OkPacket::default() }));
        } else {
            put(&encode_eof(status, 0));
        }
        out
    }

    fn ok(status: StatusFlags, affected_rows: u64) -> Vec<u8> {
        let ok =
            OkPacket { status, affected_rows, message: b"Rows matched: 1".to_vec(), ..OkPacket::default() };
        let mut out = Vec::new();
        encode_packet(&encode_ok(&ok), &mut 1, &mut out);
        out
    }

    fn chained(
        mut bytes: Vec<u8>,
        deprecate_eof: bool,
        cut: usize,
        chaining: Chaining,
    ) -> (Vec<u8>, Boundary) {
        let mut boundary = Boundary::query(deprecate_eof);
        let (mut start, mut end) = (0, 0);
        loop {
            end = (end + cut).min(bytes.len());
            let progress = boundary.advance_chained(&mut bytes[start..end], chaining).unwrap();
            start += progress.used;
            if progress.ended {
                assert_eq!(start, bytes.len());
                return (bytes, boundary);
            }
            assert!(end < bytes.len(), "the response does not end");
        }
    }

    fn numbers(mut bytes: &[u8]) -> Vec<u8> {
        let mut numbers = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<4>() {
            numbers.push(header[3]);
            bytes = &rest[usize::from(header[0])..];
        }
        numbers
    }

    proptest! {
        #[test]
        fn a_chained_response_is_what_a_server_would_have_said(cut in 1usize..60, deprecate_eof: bool, affected in 0u64..70_000) {
            let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
            let more = status | StatusFlags::SERVER_MORE_RESULTS_EXISTS;
            for (before, mut after) in [
                (result(deprecate_eof, status), result(deprecate_eof, more)),
                (ok(status, affected), ok(more, affected)),
            ] {
                let last = numbers(&before).len();
                let (changed, boundary) = chained(before, deprecate_eof, cut, Chaining { shift: 250, more: true });
                prop_assert!(renumber(&mut after, &mut 251));
                prop_assert_eq!(changed, after);
                prop_assert_eq!(boundary.outcome().status, status.bits(), "the outcome is the server's");
                prop_assert_eq!(usize::from(boundary.packets()), last);
            }
        }
    }

    #[test]
    fn an_error_ends_the_chain_unchanged_but_for_its_number() {
        let mut error = Vec::new();
        encode_packet(&encode_err(1064, "42000", b"near ''"), &mut 1, &mut error);
        let (changed, _) = chained(error.clone(), false, 5, Chaining { shift: 3, more: true });
        assert_eq!(changed[3], 4);
        assert_eq!(changed[4..], error[4..]);
    }

    #[test]
    fn every_packet_of_a_long_row_is_renumbered() {
        let (mut bytes, mut sequence) = (Vec::new(), 1);
        encode_packet(&[1], &mut sequence, &mut bytes);
        encode_packet(b"\x03def column", &mut sequence, &mut bytes);
        encode_packet(&vec![b'x'; 0xFF_FFFF + 3], &mut sequence, &mut bytes);
        encode_packet(&encode_ok_as_eof(&OkPacket::default()), &mut sequence, &mut bytes);
        let long = 4 + 1 + 4 + 11;
        let (changed, _) = chained(bytes, true, 1 << 20, Chaining { shift: 9, more: false });
        assert_eq!(changed[long + 3], 12);
        assert_eq!(changed[long + 4 + 0xFF_FFFF + 3], 13);
        assert_eq!(changed[long + 8 + 0xFF_FFFF + 3 + 3], 14);
    }
}
