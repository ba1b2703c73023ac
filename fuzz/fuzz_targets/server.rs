//! What a broken or hostile server sends: logins, answers that are passed on or combined, session state. Nothing panics, what is used lies
//! in what was offered, and what is decoded comes back.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use shardway::internal::wire::{
    AuthSwitch, Boundary, Chaining, Channel, ClientAuth, ColumnDefinition, ErrPacket, FileReader, Framer, Greeting, OkPacket,
    PrepareOk, binary_of_text, encode_packet, text_of_binary, without_session_state,
};

const LIMIT: usize = 4096;

fn payloads(bytes: &[u8]) -> Vec<Bytes> {
    let mut buffer = BytesMut::from(bytes);
    let mut framer = Framer::unchecked(LIMIT);
    std::iter::from_fn(|| framer.take(&mut buffer).ok().flatten()).collect()
}

fn log_in(bytes: &[u8], plugin: &str, channel: Channel) {
    let mut login = ClientAuth::new(plugin, &[7; 20], b"secret", channel);
    let _first = login.response();
    for payload in payloads(bytes) {
        let Ok(_step) = login.receive(&payload) else { return };
    }
}

fn follow(bytes: &[u8], mut boundary: Boundary, chaining: Chaining) {
    let mut bytes = bytes.to_vec();
    let mut used = 0;
    while let Ok(progress) = boundary.advance_chained(&mut bytes[used..], chaining) {
        assert!(progress.used <= bytes.len() - used);
        if let Some(at) = progress.state_at {
            assert!(at <= progress.used);
            let _quiet = without_session_state(&bytes[used + at..used + progress.used]);
        }
        used += progress.used;
        if progress.ended || progress.state_at.is_none() {
            break;
        }
    }
}

fn combine(payloads: &[Bytes]) {
    let columns: Vec<ColumnDefinition> =
        payloads.iter().filter_map(|payload| ColumnDefinition::decode(payload).ok()).take(20).collect();
    for column in &columns {
        assert_eq!(ColumnDefinition::decode(&column.encode()).as_ref(), Ok(column));
    }
    for payload in payloads {
        if let Ok(binary) = binary_of_text(payload, &columns)
            && let Ok(text) = text_of_binary(&binary, &columns)
        {
            let again = binary_of_text(&text, &columns);
            assert!(again.is_ok(), "what was written for a client can be read: {again:?}");
        }
        let _text = text_of_binary(payload, &columns);
        let _ok = OkPacket::decode(payload);
        let _err = ErrPacket::decode(payload);
        let _prepared = PrepareOk::decode(payload);
        let _switch = AuthSwitch::decode(payload);
        if let Ok(greeting) = Greeting::decode(payload) {
            let _shown = greeting.encode();
        }
    }
}

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (choice, shift, bytes) = input;
    let plugin = ["mysql_native_password", "caching_sha2_password", "mysql_clear_password"][usize::from(choice) % 3];
    let channel = [Channel::Open, Channel::Encrypted, Channel::Verified][usize::from(choice / 3) % 3];
    log_in(&bytes, plugin, channel);
    let chaining = Chaining { shift, more: choice & 1 != 0 };
    follow(&bytes, Boundary::query(choice & 2 != 0), chaining);
    combine(&payloads(&bytes));

    let (mut input, mut sequence) = (BytesMut::from(&bytes[..]), shift);
    let mut file = FileReader::unchecked();
    while let Ok(Some(_part)) = file.take(&mut input, &mut sequence) {}

    let mut packet = BytesMut::new();
    encode_packet(&bytes[..bytes.len().min(LIMIT)], &mut 0, &mut packet);
    let _quiet = without_session_state(&packet);
});
