//! Compressed packets (protocol page "Compression"): after the login the byte stream of both directions, ordinary packets
//! with their headers, travels in packets of another kind with a header of seven bytes: compressed length, number, length
//! before compression (0: not compressed). Where those begin has nothing to do with where ordinary packets begin.
//!
//! Bytes in, bytes out, in steps of bounded size: what a client's packet unpacks to is bounded by what its header
//! announces, and the announcement by the limit on packets; memory is not reserved on the word of a header.
//!
//! Numbers begin at 0 with each command; the answer goes on where the command's last packet ended.

mod engine;

use bytes::{Buf, BytesMut};

use super::capability::CapabilityFlags;
use super::packet::PacketError;
use engine::{Deflate, Inflate};

/// Length of the header of a compressed packet.
pub const COMPRESSED_HEADER_BYTES: usize = 7;

/// Bytes that are packed at once: as many as a server gathers (`net_buffer_length`), a few hundred microseconds of computing.
pub const PIECE_BYTES: usize = 16 << 10;

/// Shorter payloads travel as they are, as servers send them (MIN_COMPRESS_LENGTH).
const PACKED_BYTES_MIN: usize = 50;

/// Most that one step of unpacking gives.
const STEP_BYTES: usize = 64 << 10;

/// The level of clients that name none.
const ZSTD_LEVEL: u8 = 3;

/// What both sides agreed on at the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Zlib,
    /// With the level that the client asked for.
    Zstd {
        level: u8,
    },
}

impl Algorithm {
    /// What the flags of both sides mean; of two algorithms zlib, as servers choose.
    pub fn agreed(capabilities: CapabilityFlags, zstd_level: Option<u8>) -> Option<Algorithm> {
        if capabilities.contains(CapabilityFlags::CLIENT_COMPRESS) {
            return Some(Algorithm::Zlib);
        }
        let zstd = capabilities.contains(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM);
        zstd.then(|| Algorithm::Zstd { level: zstd_level.unwrap_or(ZSTD_LEVEL) })
    }
}

/// Both directions of one client.
pub struct Compression {
    algorithm: Algorithm,
    /// Made with the first packet that needs them: they are a hundred kilobytes each.
    deflate: Option<Deflate>,
    inflate: Option<Inflate>,
    state: State,
    /// The number of the next packet to the client.
    next: u8,
    /// Of the last packet from the client.
    last: u8,
    /// Of an ordinary payload, so nearly that of a packet around it.
    limit: usize,
}

/// Where in a packet of the client's the input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// As it is.
    Stored {
        left: usize,
    },
    Packed {
        left: usize,
        plain_left: usize,
    },
}

impl std::fmt::Debug for Compression {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Compression").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Compression {
    /// `limit` bounds what a client's packet may unpack to.
    pub fn new(algorithm: Algorithm, limit: usize) -> Compression {
        Compression {
            algorithm,
            deflate: None,
            inflate: None,
            state: State::Header,
            next: 0,
            last: u8::MAX,
            limit: limit.saturating_add(PIECE_BYTES),
        }
    }

    /// A command has been taken: its answer is numbered after it.
    pub fn answer(&mut self) {
        self.next = self.last.wrapping_add(1);
    }

    /// Nothing of a packet has been read without its end.
    pub fn is_between_packets(&self) -> bool {
        self.state == State::Header
    }

    /// Appends one packet with `piece` in it, which has at most [`PIECE_BYTES`].
    pub fn pack(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        debug_assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
        let start = out.len();
        // Room for less than the piece has: what does not get shorter is sent as it is.
        out.resize(start + COMPRESSED_HEADER_BYTES + piece.len() - 1, 0);
        let body = start + COMPRESSED_HEADER_BYTES;
        let packed = if piece.len() < PACKED_BYTES_MIN {
            None
        } else {
            let algorithm = self.algorithm;
            let deflate = self.deflate.get_or_insert_with(|| Deflate::new(algorithm));
            deflate.run(piece, &mut out[body..])
        };
        out.truncate(body + packed.unwrap_or(0));
        if packed.is_none() {
            out.extend_from_slice(piece);
        }
        put_u24(&mut out[start..], packed.unwrap_or(piece.len()));
        out[start + 3] = self.next;
        put_u24(&mut out[start + 4..], packed.map_or(0, |_| piece.len()));
        self.next = self.next.wrapping_add(1);
    }

    /// Moves the next bytes out of `packed` to the end of `plain`: at most [`STEP_BYTES`], never of two packets. Gives how
    /// many; 0 when more of `packed` is needed. After an error the stream cannot be read further.
    pub fn unpack(&mut self, packed: &mut BytesMut, plain: &mut BytesMut) -> Result<usize, PacketError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(header) = packed.first_chunk::<COMPRESSED_HEADER_BYTES>() else { return Ok(0) };
                    self.state = self.begin(header)?;
                    packed.advance(COMPRESSED_HEADER_BYTES);
                }
                State::Stored { left: 0 } => self.state = State::Header,
                State::Stored { left } => {
                    let count = left.min(packed.len()).min(STEP_BYTES);
                    plain.extend_from_slice(&packed[..count]);
                    packed.advance(count);
                    self.state = State::Stored { left: left - count };
                    return Ok(count);
                }
                State::Packed { left, plain_left } => {
                    let count = self.inflate(left, plain_left, packed, plain)?;
                    if count > 0 || (packed.is_empty() && self.state != State::Header) {
                        return Ok(count);
                    }
                }
            }
        }
    }

    fn begin(&mut self, header: &[u8; COMPRESSED_HEADER_BYTES]) -> Result<State, PacketError> {
        let (length, plain) = (u24(header), u24(&header[4..]));
        let number = header[3];
        let expected = self.last.wrapping_add(1);
        // 0 begins a command; within an answer (LOCAL INFILE) the client goes on after the server.
        if number != 0 && number != expected && number != self.next {
            return Err(PacketError::OutOfOrder { expected, got: number });
        }
        self.last = number;
        if length.max(plain) > self.limit {
            return Err(PacketError::TooLarge { limit: self.limit });
        }
        match (length, plain) {
            (left, 0) => Ok(State::Stored { left }),
            (0, _) => Err(PacketError::Compressed("an empty packet that announces bytes")),
            (left, plain_left) => {
                let algorithm = self.algorithm;
                self.inflate.get_or_insert_with(|| Inflate::new(algorithm)).restart();
                Ok(State::Packed { left, plain_left })
            }
        }
    }

    fn inflate(
        &mut self,
        left: usize,
        plain_left: usize,
        packed: &mut BytesMut,
        plain: &mut BytesMut,
    ) -> Result<usize, PacketError> {
        let broken = PacketError::Compressed;
        let Some(inflate) = &mut self.inflate else { return Err(broken("bytes without a beginning")) };
        let start = plain.len();
        // One byte more than announced, to see that there is none.
        plain.resize(start + plain_left.min(STEP_BYTES) + 1, 0);
        let input = &packed[..left.min(packed.len())];
        let step = inflate.run(input, &mut plain[start..]).ok_or(broken("bytes that do not unpack"));
        plain.truncate(start + step.as_ref().map_or(0, |step| step.written));
        let step = step?;
        packed.advance(step.read);
        let left = left - step.read;
        let plain_left =
            plain_left.checked_sub(step.written).ok_or(broken("more bytes than were announced"))?;
        self.state = match (step.ended, left, plain_left) {
            (true, 0, 0) => State::Header,
            (true, _, _) => return Err(broken("another length than was announced")),
            (false, 0, _) if step.written == 0 => return Err(broken("fewer bytes than were announced")),
            (false, _, _) => State::Packed { left, plain_left },
        };
        Ok(step.written)
    }
}

fn u24(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16
}

fn put_u24(out: &mut [u8], value: usize) {
    let bytes = value.to_le_bytes();
    out[..3].copy_from_slice(&bytes[..3]);
}

#[cfg(test)]
mod tests;
