//! Any bytes as a statement, under any sql_mode, charset and flavor: nothing may panic, spans lie in the text, and the
//! same text has the same fingerprint whatever was scanned before and whatever the server strips from its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shardway::internal::sql::Reader;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, text)) = input.split_first() else { return };
    let mut reader = Reader::default();
    let Some((fingerprint, end)) = reader.fingerprint(text, choice) else { return };
    reader.read_all(text, choice);
    reader.parse(text, choice);
    assert_eq!(reader.fingerprint(text, choice), Some((fingerprint, end)), "a reader can be reused");
    let mut padded = text.to_vec();
    padded.extend_from_slice(b";\0 ");
    assert_eq!(reader.fingerprint(&padded, choice), Some((fingerprint, end)), "the end does not count");
});
