//! A file that a client sends for LOAD DATA LOCAL: packets of any length, ended by an empty one. Its bytes are taken as they come,
//! so that a packet needs no memory of its own.

use bytes::{Bytes, BytesMut};

use super::packet::{HEADER_BYTES, PAYLOAD_MAX, PacketError, payload_length};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePart {
    Bytes(Bytes),
    End,
}

/// Follows one file, then the next.
#[derive(Debug, Default)]
pub struct FileReader {
    /// Packets inside of compressed ones have numbers as the client likes.
    unnumbered: bool,
    /// Bytes of the current packet that were not taken yet.
    pending: usize,
    /// The current packet has 0xFFFFFF bytes: the next one belongs to it, and ends nothing if it is empty.
    continues: bool,
}

impl FileReader {
    /// Takes packets whatever their numbers.
    pub fn unchecked() -> FileReader {
        FileReader { unnumbered: true, ..FileReader::default() }
    }

    /// Takes what is there; `None` when more bytes are needed. `sequence` is the number of the next packet.
    pub fn take(&mut self, input: &mut BytesMut, sequence: &mut u8) -> Result<Option<FilePart>, PacketError> {
        loop {
            if self.pending > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let taken = input.split_to(self.pending.min(input.len()));
                self.pending -= taken.len();
                return Ok(Some(FilePart::Bytes(taken.freeze())));
            }
            let Some(header) = input.get(..HEADER_BYTES) else { return Ok(None) };
            let (length, number) = (payload_length(header), header[3]);
            if number != *sequence && !self.unnumbered {
                return Err(PacketError::OutOfOrder { expected: *sequence, got: number });
            }
            *sequence = number.wrapping_add(1);
            let _header = input.split_to(HEADER_BYTES);
            let ends = length == 0 && !self.continues;
            self.continues = length == PAYLOAD_MAX;
            self.pending = length;
            if ends {
                return Ok(Some(FilePart::End));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode_packet;
    use proptest::prelude::*;

    fn read(stream: &[u8], cut: usize) -> (Vec<u8>, bool) {
        let (mut reader, mut input, mut sequence) = (FileReader::default(), BytesMut::new(), 2);
        let mut file = Vec::new();
        for piece in stream.chunks(cut) {
            input.extend_from_slice(piece);
            while let Some(part) = reader.take(&mut input, &mut sequence).unwrap() {
                match part {
                    FilePart::Bytes(bytes) => file.extend_from_slice(&bytes),
                    FilePart::End => return (file, input.is_empty()),
                }
            }
        }
        panic!("no end");
    }

    #[test]
    fn an_empty_packet_behind_a_full_one_does_not_end_the_file() {
        let (mut stream, mut sequence) = (Vec::new(), 2);
        encode_packet(&vec![b'x'; PAYLOAD_MAX], &mut sequence, &mut stream);
        encode_packet(b"y", &mut sequence, &mut stream);
        encode_packet(b"", &mut sequence, &mut stream);
        let (file, whole) = read(&stream, 1 << 20);
        assert_eq!((file.len(), file.last(), whole), (PAYLOAD_MAX + 1, Some(&b'y'), true));
    }

    #[test]
    fn a_packet_out_of_order_is_an_error() {
        let mut input = BytesMut::from(&[1, 0, 0, 7, b'x'][..]);
        let read = FileReader::default().take(&mut input, &mut 2);
        assert_eq!(read, Err(PacketError::OutOfOrder { expected: 2, got: 7 }));
    }

    proptest! {
        #[test]
        fn files_come_back_whatever_the_cuts(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 0..12),
            cut in 1usize..50,
        ) {
            let (mut stream, mut sequence) = (Vec::new(), 2);
            for packet in &packets {
                encode_packet(packet, &mut sequence, &mut stream);
            }
            encode_packet(b"", &mut sequence, &mut stream);
            prop_assert_eq!(read(&stream, cut), (packets.concat(), true));
        }
    }
}
