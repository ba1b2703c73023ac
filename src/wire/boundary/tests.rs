//! Responses built packet by packet, fed whole and in pieces.

use proptest::prelude::*;

use super::super::capability::StatusFlags;
use super::super::codec::put_lenenc_bytes;
use super::super::packet::encode_packet;
use super::super::response::{OkPacket, encode_eof, encode_err, encode_ok, encode_ok_as_eof};
use super::*;

/// Packets of one response.
#[derive(Debug)]
struct Response {
    bytes: Vec<u8>,
    sequence: u8,
    deprecate_eof: bool,
}

impl Response {
    fn new(deprecate_eof: bool) -> Response {
        Response { bytes: Vec::new(), sequence: 1, deprecate_eof }
    }

    fn packet(mut self, payload: &[u8]) -> Response {
        encode_packet(payload, &mut self.sequence, &mut self.bytes);
        self
    }

    fn columns(self, count: u8) -> Response {
        let response = self.columns_alone(count);
        if response.deprecate_eof { response } else { response.packet(&encode_eof(StatusFlags::empty(), 0)) }
    }

    fn columns_alone(mut self, count: u8) -> Response {
        self = self.packet(&[count]);
        for _ in 0..count {
            self = self
                .packet(b"\x03def\x00\x00\x00\x01c\x00\x0c\x2d\x00\x00\x00\x00\x00\xfd\x00\x00\x1f\x00\x00");
        }
        self
    }

    fn row(self, value: &[u8]) -> Response {
        let mut payload = Vec::new();
        put_lenenc_bytes(&mut payload, value);
        self.packet(&payload)
    }

    fn end(self, status: u16) -> Response {
        let status = StatusFlags::from_bits_retain(status);
        if self.deprecate_eof {
            self.packet(&encode_ok_as_eof(&OkPacket { status, warnings: 3, ..OkPacket::default() }))
        } else {
            self.packet(&encode_eof(status, 3))
        }
    }

    fn ok(self, status: u16) -> Response {
        let status = StatusFlags::from_bits_retain(status);
        let ok = OkPacket {
            affected_rows: 70_000,
            last_insert_id: u64::MAX,
            status,
            warnings: 2,
            message: b"Rows matched: 70000  Changed: 70000  Warnings: 2".to_vec(),
        };
        self.packet(&encode_ok(&ok))
    }

    /// The outcome, after checking that the response is followed to its end and not beyond.
    fn outcome(&self) -> Outcome {
        let mut bytes = self.bytes.clone();
        bytes.extend_from_slice(b"\x01\x00\x00\x01\x00");
        let mut boundary = Boundary::query(self.deprecate_eof);
        let progress = boundary.advance(&bytes).unwrap();
        assert_eq!(progress, Progress { used: self.bytes.len(), ended: true });
        boundary.outcome()
    }
}

#[test]
fn an_ok_ends_a_command_and_tells_its_counts() {
    let outcome = Response::new(true).ok(2).outcome();
    assert_eq!(
        outcome,
        Outcome {
            status: 2,
            warnings: 2,
            affected_rows: 70_000,
            last_insert_id: u64::MAX,
            ..Outcome::default()
        }
    );
}

#[test]
fn rows_end_with_eof_or_with_ok_as_negotiated() {
    for deprecate_eof in [false, true] {
        let outcome = Response::new(deprecate_eof)
            .columns(2)
            .row(b"a")
            .row(b"")
            .packet(&[0xFB, 0xFB])
            .end(0x22)
            .outcome();
        assert_eq!(outcome, Outcome { status: 0x22, warnings: 3, rows: 3, columns: 2, ..Outcome::default() });
    }
}

#[test]
fn an_error_among_rows_ends_the_response() {
    let outcome = Response::new(true)
        .columns(1)
        .row(b"a")
        .packet(&encode_err(1317, "70100", b"Query execution was interrupted"))
        .outcome();
    assert_eq!((outcome.rows, outcome.error), (1, Some((1317, *b"70100"))));
}

#[test]
fn an_error_at_once_ends_the_response() {
    let outcome = Response::new(false).packet(&encode_err(1064, "42000", b"syntax")).outcome();
    assert_eq!(outcome.error, Some((1064, *b"42000")));
}

#[test]
fn several_results_are_one_response() {
    let more = STATUS_MORE_RESULTS;
    for deprecate_eof in [false, true] {
        let response =
            Response::new(deprecate_eof).columns(1).row(b"a").end(more).ok(more).columns(3).row(b"b").end(2);
        let outcome = response.outcome();
        assert_eq!((outcome.rows, outcome.columns, outcome.status), (2, 3, 2));
        let failed = Response::new(deprecate_eof).ok(more).packet(&encode_err(1146, "42S02", b"none"));
        assert_eq!(failed.outcome().error, Some((1146, *b"42S02")));
    }
}

#[test]
fn a_row_of_16_mib_and_more_counts_once_and_its_continuation_is_not_read() {
    for deprecate_eof in [false, true] {
        // A value of 16 MiB begins with 0xFE; the second packet begins with what would be an ERR.
        let mut value = vec![b'x'; PAYLOAD_MAX + 10];
        value[PAYLOAD_MAX - 9..].fill(0xFF);
        let response = Response::new(deprecate_eof).columns(1).row(&value).row(b"z").end(0);
        assert_eq!((response.outcome().rows, response.outcome().error), (2, None));
        // Of exactly 0xFFFFFF bytes: an empty packet follows.
        let exact = vec![b'x'; PAYLOAD_MAX - 4];
        let response = Response::new(deprecate_eof).columns(1).row(&exact).end(0);
        assert_eq!(response.outcome().rows, 1);
    }
}

#[test]
fn a_request_for_a_local_file_is_reported() {
    let response = Response::new(true).packet(b"\xfb/etc/passwd");
    assert_eq!(Boundary::query(true).advance(&response.bytes), Err(BoundaryError::LocalInfile));
}

#[test]
fn sections_name_each_packet() {
    let response = Response::new(false).columns(2).row(b"abc").end(0);
    let mut boundary = Boundary::query(false);
    let (mut at, mut kinds) = (0, Vec::new());
    while let Some(section) = boundary.next_section(&response.bytes[at..]).unwrap() {
        assert!(section.begins && section.ends);
        at += section.bytes;
        kinds.push(section.kind);
    }
    use PacketKind::*;
    assert_eq!(kinds, [Columns, Column, Column, ColumnsEnd, Row, End]);
    assert!(boundary.is_over());
}

#[test]
fn field_lists_end_with_eof() {
    let mut response = Response::new(false);
    response = response.packet(b"\x03def").packet(b"\x03def").end(2);
    let mut boundary = Boundary::field_list(false);
    assert_eq!(boundary.advance(&response.bytes), Ok(Progress { used: response.bytes.len(), ended: true }));
    assert_eq!(boundary.outcome().columns, 2);
}

#[test]
fn what_is_no_response_is_malformed() {
    for payload in [&b""[..], b"\x05\x00", b"\xfc\x01", b"\x00", b"\xff\x01", b"\xfe", b"\x00\x00\x00\x00"] {
        let response = Response::new(false).packet(payload);
        assert!(Boundary::query(false).advance(&response.bytes).is_err(), "{payload:?}");
    }
    let no_eof = Response::new(true).columns(1).row(b"a");
    assert!(Boundary::query(false).advance(&no_eof.bytes).is_err());
    let empty_row = Response::new(true).columns(1).packet(b"");
    assert!(Boundary::query(true).advance(&empty_row.bytes).is_err());
}

#[test]
fn an_open_cursor_ends_the_response_behind_the_columns() {
    for deprecate_eof in [false, true] {
        let opened = Response::new(deprecate_eof).columns_alone(2).end(0x0040);
        let mut boundary = Boundary::query(deprecate_eof);
        let progress = boundary.advance(&opened.bytes);
        assert_eq!(progress, Ok(Progress { used: opened.bytes.len(), ended: true }));
        assert_eq!((boundary.outcome().columns, boundary.outcome().status & 0x0040), (2, 0x0040));
        let fetched = Response::new(deprecate_eof).row(b"\0\0a").row(b"\0\0b").end(0x0080);
        let mut boundary = Boundary::fetch(deprecate_eof);
        let progress = boundary.advance(&fetched.bytes);
        assert_eq!(progress, Ok(Progress { used: fetched.bytes.len(), ended: true }));
        assert_eq!((boundary.outcome().rows, boundary.outcome().status), (2, 0x0080));
    }
}

fn any_response() -> impl Strategy<Value = Response> {
    let rows = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12);
    let results = proptest::collection::vec((any::<bool>(), 1u8..5, rows), 0..4);
    (any::<bool>(), results, 0u8..3).prop_map(|(deprecate_eof, results, end)| {
        let mut response = Response::new(deprecate_eof);
        for (with_rows, columns, rows) in results {
            response = if with_rows {
                rows.iter()
                    .fold(response.columns(columns), |response, row| response.row(row))
                    .end(STATUS_MORE_RESULTS)
            } else {
                response.ok(STATUS_MORE_RESULTS)
            };
        }
        match end {
            0 => response.ok(0),
            1 => response.columns(1).row(b"last").end(0),
            _ => response.packet(&encode_err(1, "HY000", &[b'x'; 40])),
        }
    })
}

proptest! {
    #[test]
    fn pieces_lead_to_the_same_end_as_the_whole(
        response in any_response().prop_map(|response| (response.deprecate_eof, response.bytes)),
        cuts in proptest::collection::vec(1usize..60, 1..20),
    ) {
        let (deprecate_eof, bytes) = response;
        let mut whole = Boundary::query(deprecate_eof);
        prop_assert_eq!(whole.advance(&bytes), Ok(Progress { used: bytes.len(), ended: true }));
        let (mut boundary, mut start, mut end) = (Boundary::query(deprecate_eof), 0, 0);
        for cut in cuts.iter().cycle() {
            end = (end + cut).min(bytes.len());
            let progress = boundary.advance(&bytes[start..end]).unwrap();
            start += progress.used;
            prop_assert!(end - start < HEADER_BYTES + HEAD_BYTES);
            prop_assert_eq!(progress.ended, start == bytes.len());
            if progress.ended {
                break;
            }
        }
        prop_assert_eq!(boundary.outcome(), whole.outcome());
    }

    #[test]
    fn hostile_responses_do_not_panic(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(5), Just(0xFE), any::<u8>()], 0..200),
        deprecate_eof: bool,
    ) {
        let mut boundary = Boundary::query(deprecate_eof);
        if let Ok(progress) = boundary.advance(&bytes) {
            prop_assert!(progress.used <= bytes.len());
        }
        let _progress = Boundary::field_list(deprecate_eof).advance(&bytes);
    }
}
