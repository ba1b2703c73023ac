//! Packets, commands and responses of strangers: nothing panics, limits hold, and pieces lead where the whole leads.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shardway::internal::wire::{
    Boundary, ColumnDefinition, Command, ErrPacket, Framer, OkPacket, encode_packet,
};

const LIMIT: usize = 4096;

fuzz_target!(|input: (bool, u8, Vec<u8>)| {
    let (deprecate_eof, cut, bytes) = input;
    let cut = usize::from(cut).max(1);

    // Whole payloads, decoded as everything that they may be.
    let mut buffer = BytesMut::from(&bytes[..]);
    let mut framer = Framer::unchecked(LIMIT);
    while let Ok(Some(payload)) = framer.take(&mut buffer) {
        assert!(payload.len() <= LIMIT);
        let _command = Command::decode(&payload);
        let _column = ColumnDefinition::decode(&payload);
        let _ok = OkPacket::decode(&payload);
        let _err = ErrPacket::decode(&payload);
    }

    // A payload that is sent comes back.
    let (mut packets, mut sequence) = (BytesMut::new(), 0);
    encode_packet(&bytes, &mut sequence, &mut packets);
    let back = Framer::new(usize::MAX).take(&mut packets).expect("in order").expect("whole");
    assert_eq!(back, bytes);

    // A response fed whole, and in pieces.
    let mut whole = Boundary::query(deprecate_eof);
    let mut used = 0;
    let of_whole = loop {
        match whole.advance(&bytes[used..]) {
            Ok(progress) => {
                used += progress.used;
                if progress.ended || progress.state_at.is_none() {
                    break Ok((used, progress.ended));
                }
            }
            Err(error) => break Err(error),
        }
    };
    let mut pieces = Boundary::query(deprecate_eof);
    let (mut start, mut end) = (0, 0);
    let of_pieces = loop {
        match pieces.advance(&bytes[start..end]) {
            Ok(progress) => {
                assert!(progress.used <= end - start);
                start += progress.used;
                if progress.ended || (end == bytes.len() && progress.state_at.is_none()) {
                    break Ok((start, progress.ended));
                }
                if progress.state_at.is_none() {
                    end = (end + cut).min(bytes.len());
                }
            }
            Err(error) => break Err(error),
        }
    };
    assert_eq!(of_whole, of_pieces);
    if of_pieces.is_ok() {
        assert_eq!(whole.outcome(), pieces.outcome());
    }
});
