//! Executions of prepared statements by strangers: nothing panics, and what is read can be sent on and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shardway::internal::wire::{
    ColumnDefinition, ColumnKind, ExecuteHead, Fetch, LongPiece, PrepareOk, binary_of_text, decode_arguments,
    execute_packets, text_of_binary,
};

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (count, kinds, bytes) = input;
    let body = Bytes::from(bytes);
    let _head = ExecuteHead::decode(&body);
    let _fetch = Fetch::decode(&body);
    let _long = LongPiece::decode(&body);
    let _ok = PrepareOk::decode(&body);

    let mut types = vec![None; usize::from(count)];
    if let Ok(arguments) = decode_arguments(&body, &mut types, &mut []) {
        let bound: Vec<_> = types.iter().flatten().copied().zip(&arguments).collect();
        assert_eq!(bound.len(), arguments.len());
        for (of, argument) in &bound {
            let _value = argument.value(*of);
            let _shape = argument.shape(*of);
        }
        let packets = execute_packets(1, 0, &bound);
        let again = Bytes::copy_from_slice(&packets[5..]);
        let mut types = vec![None; arguments.len()];
        assert_eq!(decode_arguments(&again, &mut types, &mut []), Ok(arguments));
    }

    let column = |kind: &u8| ColumnDefinition { kind: *kind, ..ColumnDefinition::local("c", ColumnKind::Text, 45) };
    let columns: Vec<_> = kinds.iter().take(20).map(column).collect();
    let _text = text_of_binary(&body, &columns);
    let _binary = binary_of_text(&body, &columns);
});
