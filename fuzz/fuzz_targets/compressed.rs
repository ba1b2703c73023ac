//! Compressed packets of strangers: nothing panics, nothing unpacks to more than the limit, cuts make no difference, and
//! what is packed comes back.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shardway::internal::wire::{Algorithm, Compression, PIECE_BYTES, PacketError};

const LIMIT: usize = 4096;

/// What came out, and how it ended.
fn unpacked(algorithm: Algorithm, bytes: &[u8], cut: usize) -> (Vec<u8>, Result<(), PacketError>) {
    let mut receiver = Compression::new(algorithm, LIMIT);
    let (mut input, mut plain) = (BytesMut::new(), BytesMut::new());
    for piece in bytes.chunks(cut) {
        input.extend_from_slice(piece);
        loop {
            match receiver.unpack(&mut input, &mut plain) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return (plain.to_vec(), Err(error)),
            }
        }
    }
    (plain.to_vec(), Ok(()))
}

fuzz_target!(|input: (bool, u8, Vec<u8>)| {
    let (zstd, cut, bytes) = input;
    let algorithm = if zstd { Algorithm::Zstd { level: 3 } } else { Algorithm::Zlib };
    let (whole, ending) = unpacked(algorithm, &bytes, bytes.len().max(1));
    let (pieces, ending_of_pieces) = unpacked(algorithm, &bytes, usize::from(cut).max(1));
    let packets = bytes.len() / 7 + 1;
    assert!(whole.len() <= packets * (LIMIT + PIECE_BYTES + 1));
    if ending.is_ok() {
        assert_eq!((whole, ending), (pieces, ending_of_pieces));
    }

    let mut packed = Vec::new();
    let mut sender = Compression::new(algorithm, LIMIT);
    bytes.chunks(PIECE_BYTES).for_each(|piece| sender.pack(piece, &mut packed));
    let (back, ending) = unpacked(algorithm, &packed, usize::from(cut).max(1));
    assert_eq!((back, ending), (bytes, Ok(())));
});
