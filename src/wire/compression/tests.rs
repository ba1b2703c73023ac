use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Zlib, Algorithm::Zstd { level: 3 }, Algorithm::Zstd { level: 22 }];

fn packed(algorithm: Algorithm, plain: &[u8]) -> Vec<u8> {
    let (mut sender, mut out) = (Compression::new(algorithm, 1 << 24), Vec::new());
    plain.chunks(PIECE_BYTES).for_each(|piece| sender.pack(piece, &mut out));
    out
}

/// What `stream` unpacks to when it comes in pieces of `cut` bytes.
fn unpacked(algorithm: Algorithm, limit: usize, stream: &[u8], cut: usize) -> Result<Vec<u8>, PacketError> {
    let mut receiver = Compression::new(algorithm, limit);
    let (mut input, mut plain) = (BytesMut::new(), BytesMut::new());
    for piece in stream.chunks(cut) {
        input.extend_from_slice(piece);
        while receiver.unpack(&mut input, &mut plain)? > 0 {}
        assert!(input.is_empty() || receiver.is_between_packets(), "input is left");
    }
    Ok(plain.to_vec())
}

/// A packet with `body`, whatever it is.
fn framed(number: u8, plain: usize, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; COMPRESSED_HEADER_BYTES];
    put_u24(&mut out, body.len());
    out[3] = number;
    put_u24(&mut out[4..], plain);
    out.extend_from_slice(body);
    out
}

/// `plain` as zlib packs it, without the header.
fn deflated(algorithm: Algorithm, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len() + 100];
    let length = Deflate::new(algorithm).run(plain, &mut out).unwrap();
    out.truncate(length);
    out
}

#[test]
fn short_payloads_and_those_that_do_not_shrink_travel_as_they_are() {
    let noise: Vec<u8> = (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for algorithm in ALGORITHMS {
        for plain in [&b"x"[..], &[b'a'; PACKED_BYTES_MIN - 1], &noise[..60]] {
            let out = packed(algorithm, plain);
            assert_eq!(out, framed(0, 0, plain), "{algorithm:?}");
        }
        let out = packed(algorithm, &[b'a'; PACKED_BYTES_MIN]);
        assert!(out.len() < PACKED_BYTES_MIN, "{algorithm:?}");
        assert_eq!(u24(&out[4..]), PACKED_BYTES_MIN);
    }
}

#[test]
fn an_answer_is_numbered_after_its_command() {
    let mut session = Compression::new(Algorithm::Zlib, 1000);
    let (mut plain, mut out) = (BytesMut::new(), Vec::new());
    let mut input = BytesMut::from(&[framed(0, 0, b"ab"), framed(1, 0, b"c")].concat()[..]);
    assert_eq!(session.unpack(&mut input, &mut plain), Ok(2), "packets are not mixed");
    assert_eq!(session.unpack(&mut input, &mut plain), Ok(1));
    session.answer();
    session.pack(b"answer", &mut out);
    assert_eq!(out[3], 2);
    // The client goes on within the answer, then begins a command.
    let mut input = BytesMut::from(&[framed(3, 0, b"file"), framed(0, 0, b"next")].concat()[..]);
    while session.unpack(&mut input, &mut plain).unwrap() > 0 {}
    assert_eq!(&plain[..], b"abcfilenext");
    let mut input = BytesMut::from(&framed(7, 0, b"x")[..]);
    assert_eq!(session.unpack(&mut input, &mut plain), Err(PacketError::OutOfOrder { expected: 1, got: 7 }));
}

#[test]
fn numbers_wrap_after_255() {
    let mut sender = Compression::new(Algorithm::Zlib, 1 << 20);
    let mut out = Vec::new();
    (0..300).for_each(|_| sender.pack(b"row", &mut out));
    assert_eq!(out[256 * 10 + 3], 0);
    assert_eq!(unpacked(Algorithm::Zlib, 100, &out, 64), Ok(b"row".repeat(300)));
}

#[test]
fn lengths_that_lie_are_refused() {
    for algorithm in ALGORITHMS {
        let body = deflated(algorithm, &[b'a'; 5000]);
        let given = |announced, body: &[u8]| unpacked(algorithm, 1 << 20, &framed(0, announced, body), 100);
        assert_eq!(given(5000, &body).unwrap().len(), 5000);
        for announced in [1, 4999, 5001, 1 << 20] {
            assert!(matches!(given(announced, &body), Err(PacketError::Compressed(_))), "{announced}");
        }
        // Cut short, with something behind it, and no packed bytes at all.
        for body in [&body[..body.len() - 1], &[&body[..], b"x"].concat(), b"SELECT 1", &[]] {
            assert!(matches!(given(5000, body), Err(PacketError::Compressed(_))), "{algorithm:?} {body:?}");
        }
    }
}

#[test]
fn a_bomb_gives_no_more_than_the_limit() {
    for algorithm in ALGORITHMS {
        let body = deflated(algorithm, &vec![0; 10 << 20]);
        let bomb = framed(0, 10 << 20, &body);
        assert!(body.len() < 100_000);
        let too_large = PacketError::TooLarge { limit: 1000 + PIECE_BYTES };
        assert_eq!(unpacked(algorithm, 1000, &bomb, 10), Err(too_large));
        // It announces what is allowed and holds more.
        let (mut receiver, mut plain) = (Compression::new(algorithm, 1 << 20), BytesMut::new());
        let mut input = BytesMut::from(&framed(0, 1 << 20, &body)[..]);
        let end = loop {
            match receiver.unpack(&mut input, &mut plain) {
                Ok(count) => assert!((1..=STEP_BYTES + 1).contains(&count)),
                Err(error) => break error,
            }
        };
        assert!(matches!(end, PacketError::Compressed(_)));
        assert!(plain.len() <= (1 << 20) + 1, "{}", plain.len());
    }
}

#[test]
fn sixteen_mib_come_back() {
    let plain: Vec<u8> = (0..0xFF_FFFFu32).map(|i| (i / 1000) as u8).collect();
    for algorithm in ALGORITHMS {
        let whole = framed(0, plain.len(), &deflated(algorithm, &plain));
        assert_eq!(unpacked(algorithm, 1 << 24, &whole, 5000), Ok(plain.clone()), "{algorithm:?}");
    }
}

proptest! {
    #[test]
    fn streams_come_back_whatever_the_cuts(
        parts in proptest::collection::vec((any::<u8>(), 1usize..40_000), 1..6),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 1usize..3000,
        choice in 0..ALGORITHMS.len(),
    ) {
        let mut plain: Vec<u8> = parts.iter().flat_map(|&(byte, count)| vec![byte; count]).collect();
        plain.extend_from_slice(&noise);
        let stream = packed(ALGORITHMS[choice], &plain);
        prop_assert_eq!(unpacked(ALGORITHMS[choice], 1 << 24, &stream, cut), Ok(plain));
    }

    #[test]
    fn hostile_streams_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..200, choice in 0..ALGORITHMS.len(),
    ) {
        let algorithm = ALGORITHMS[choice];
        let _unpacked = unpacked(algorithm, 1000, &bytes, 7);
        let mut damaged = packed(algorithm, &[b'a'; 2000]);
        for (place, byte) in bytes.iter().take(3).enumerate() {
            let place = (at + place) % damaged.len();
            damaged[place] = *byte;
        }
        if let Ok(plain) = unpacked(algorithm, 5000, &damaged, 11) {
            prop_assert!(plain.len() <= 5000 + PIECE_BYTES);
        }
    }
}
