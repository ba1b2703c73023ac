//! Packets: a 4-byte header (length, sequence number) and up to 0xFFFFFF bytes. A payload of that length or more
//! continues in the next packet and ends with a shorter one, which may be empty.
//!
//! Nothing here reserves memory on the word of a header: a payload is taken out of the buffer when all of it has come.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Classify, ClientError, Kind, Retry};

/// Length of a packet's header.
pub const HEADER_BYTES: usize = 4;

/// Most bytes of one packet; a longer payload is split.
pub const PAYLOAD_MAX: usize = 0xFF_FFFF;

/// Why a payload could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("a packet of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("packet number {got} came where number {expected} was due")]
    OutOfOrder { expected: u8, got: u8 },
    #[error("a compressed packet of {0}")]
    Compressed(&'static str),
}

impl Classify for PacketError {
    fn kind(&self) -> Kind {
        self.client().entry.kind
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn client(&self) -> ClientError {
        let id = match self {
            PacketError::TooLarge { .. } => "SW1104",
            PacketError::OutOfOrder { .. } => "SW1106",
            PacketError::Compressed(_) => "SW1110",
        };
        ClientError::new(id, self.to_string())
    }
}

/// Appends `payload` as one packet or, from 16 MiB on, several; `sequence` becomes the number of the packet to follow.
pub fn encode_packet(payload: &[u8], sequence: &mut u8, out: &mut impl BufMut) {
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(PAYLOAD_MAX));
        out.put_uint_le(now.len() as u64, 3);
        out.put_u8(*sequence);
        out.put_slice(now);
        *sequence = sequence.wrapping_add(1);
        rest = later;
        if now.len() < PAYLOAD_MAX {
            return;
        }
    }
}

/// Gives whole packets new sequence numbers. `false` when `packets` does not end at the end of a packet.
#[must_use]
pub fn renumber(packets: &mut [u8], sequence: &mut u8) -> bool {
    let mut at = 0;
    while let Some(header) = packets.get_mut(at..at + HEADER_BYTES) {
        at += HEADER_BYTES + payload_length(header);
        header[3] = *sequence;
        *sequence = sequence.wrapping_add(1);
    }
    at == packets.len()
}

/// The length that a header names; `header` has at least three bytes.
pub(super) fn payload_length(header: &[u8]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

/// Takes whole payloads out of a buffer; of clients, it checks their numbers.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    sequence: u8,
    checked: bool,
    /// The packets so far of a payload of 16 MiB or more.
    begun: Option<BytesMut>,
}

impl Framer {
    /// Refuses packets out of order. `limit` bounds payloads, reassembled.
    pub fn new(limit: usize) -> Framer {
        Framer { limit, sequence: 0, checked: true, begun: None }
    }

    /// Takes packets whatever their numbers: of servers, where the answers to several commands follow each other.
    pub fn unchecked(limit: usize) -> Framer {
        Framer { checked: false, ..Framer::new(limit) }
    }

    /// A new command begins: numbers start at zero again.
    pub fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The number of the next packet, in either direction.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// For packets written with [`encode_packet`] and this number.
    pub fn sequence_mut(&mut self) -> &mut u8 {
        &mut self.sequence
    }

    pub fn change_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Nothing of a payload has been taken: `false` inside one of 16 MiB or more.
    pub fn is_between_payloads(&self) -> bool {
        self.begun.is_none()
    }

    /// The next payload; `None` when more bytes are needed. Payloads below 16 MiB are not copied. After an error the
    /// stream cannot be read further.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, PacketError> {
        while let Some(header) = input.get(..HEADER_BYTES) {
            let (length, number) = (payload_length(header), header[3]);
            let before = self.begun.as_ref().map_or(0, BytesMut::len);
            if self.checked && number != self.sequence {
                return Err(PacketError::OutOfOrder { expected: self.sequence, got: number });
            }
            if before + length > self.limit {
                return Err(PacketError::TooLarge { limit: self.limit });
            }
            if input.len() < HEADER_BYTES + length {
                return Ok(None);
            }
            self.sequence = number.wrapping_add(1);
            let mut packet = input.split_to(HEADER_BYTES + length);
            let payload = packet.split_off(HEADER_BYTES);
            match self.begun.take() {
                None if length < PAYLOAD_MAX => return Ok(Some(payload.freeze())),
                None => self.begun = Some(payload),
                Some(mut begun) => {
                    begun.extend_from_slice(&payload);
                    if length < PAYLOAD_MAX {
                        return Ok(Some(begun.freeze()));
                    }
                    self.begun = Some(begun);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode_packet(payload, &mut 0, &mut out);
        out
    }

    #[test]
    fn a_payload_of_exactly_16_mib_ends_with_an_empty_packet() {
        for length in [PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 2 * PAYLOAD_MAX] {
            let payload = vec![7; length];
            let mut packets = framed(&payload);
            assert_eq!(packets.len(), length + HEADER_BYTES * (length / PAYLOAD_MAX + 1));
            let mut framer = Framer::new(usize::MAX);
            assert_eq!(framer.take(&mut packets), Ok(Some(Bytes::from(payload))));
            assert!(packets.is_empty());
            assert_eq!(usize::from(framer.sequence()), length / PAYLOAD_MAX + 1);
        }
    }

    #[test]
    fn a_header_alone_is_refused_by_the_limit_and_reserves_nothing() {
        let mut input = BytesMut::from(&[0xFF, 0xFF, 0xFE, 0][..]);
        assert_eq!(Framer::new(1024).take(&mut input), Err(PacketError::TooLarge { limit: 1024 }));
        let before = input.capacity();
        assert_eq!(Framer::new(1 << 30).take(&mut input), Ok(None));
        assert_eq!(input.capacity(), before);
    }

    #[test]
    fn the_limit_counts_the_whole_payload() {
        let mut packets = framed(&vec![0; PAYLOAD_MAX + 10]);
        let limit = PAYLOAD_MAX + 9;
        assert_eq!(Framer::new(limit).take(&mut packets), Err(PacketError::TooLarge { limit }));
    }

    #[test]
    fn a_wrong_number_is_out_of_order() {
        let mut input = BytesMut::from(&[1, 0, 0, 3, 9][..]);
        assert_eq!(Framer::new(100).take(&mut input), Err(PacketError::OutOfOrder { expected: 0, got: 3 }));
    }

    #[test]
    fn numbers_wrap_after_255() {
        let mut out = Vec::new();
        let mut sequence = 255;
        encode_packet(b"x", &mut sequence, &mut out);
        assert_eq!((out[3], sequence), (255, 0));
    }

    #[test]
    fn renumbering_touches_only_headers() {
        let mut packets = Vec::new();
        let mut sequence = 1;
        encode_packet(b"abc", &mut sequence, &mut packets);
        encode_packet(b"", &mut sequence, &mut packets);
        let mut next = 9;
        assert!(renumber(&mut packets, &mut next));
        assert_eq!(packets, [3, 0, 0, 9, b'a', b'b', b'c', 0, 0, 0, 10]);
        assert_eq!(next, 11);
        assert!(!renumber(&mut packets[..6], &mut next));
    }

    proptest! {
        #[test]
        fn payloads_come_back_whatever_the_cuts(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
            cut in 1usize..40,
        ) {
            let mut stream = Vec::new();
            let mut sequence = 0;
            for payload in &payloads {
                encode_packet(payload, &mut sequence, &mut stream);
            }
            let (mut framer, mut input, mut seen) = (Framer::new(1000), BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(payload) = framer.take(&mut input).unwrap() {
                    seen.push(payload.to_vec());
                }
            }
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut input = BytesMut::from(&bytes[..]);
            let mut framer = Framer::new(100);
            while let Ok(Some(payload)) = framer.take(&mut input) {
                prop_assert!(payload.len() <= 100);
            }
            let mut copy = bytes.clone();
            let _whole: bool = renumber(&mut copy, &mut 0);
        }
    }
}
