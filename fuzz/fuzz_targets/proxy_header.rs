//! Headers of the PROXY protocol: nothing panics, and a reader that reads what it is told to read comes to an end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shardway::internal::arrival::{Progress, decode};

/// Above the longest header.
const BYTES_MAX: usize = 20 << 10;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (version, rest) = input;
    let start: &[u8] = match version % 3 {
        0 => b"",
        1 => b"PROXY ",
        _ => b"\r\n\r\n\0\r\nQUIT\n",
    };
    let bytes = [start, &rest].concat();
    let mut have = 0;
    while have <= bytes.len() {
        match decode(&bytes[..have]) {
            Ok(Progress::More(missing)) => {
                assert!(missing > 0 && have + missing <= BYTES_MAX);
                have += missing;
            }
            Ok(Progress::Whole(_)) | Err(_) => return,
        }
    }
});
