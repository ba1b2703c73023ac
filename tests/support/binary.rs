//! Prepared statements packet by packet, so that what a proxy answers can be compared with what a server answers.

use std::net::SocketAddr;

use super::raw::{DEPRECATE_EOF, Raw};

const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const SEND_LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;
const RESET: u8 = 0x1a;
const FETCH: u8 = 0x1c;

/// As the server reads rows only when it is asked for them.
pub(crate) const CURSOR: u8 = 1;

const CURSOR_EXISTS: u16 = 0x40;
const MORE_RESULTS: u16 = 0x08;
const MULTI_RESULTS: u32 = 0x0002_0000 | 0x0004_0000;
const UNSIGNED: u8 = 0x80;

/// Types of arguments.
pub(crate) mod kind {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const NULL: u8 = 6;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
}

/// One argument: its type and its bytes, with their length where the type has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) kind: u8,
    pub(crate) unsigned: bool,
    /// `None` is NULL.
    pub(crate) value: Option<Vec<u8>>,
    /// Was sent ahead.
    pub(crate) long: bool,
}

impl Argument {
    pub(crate) fn fixed(kind: u8, bytes: &[u8]) -> Argument {
        Argument { kind, unsigned: false, value: Some(bytes.to_vec()), long: false }
    }

    pub(crate) fn sized(kind: u8, bytes: &[u8]) -> Argument {
        Argument { kind, unsigned: false, value: Some(sized(bytes)), long: false }
    }

    pub(crate) fn null(kind: u8) -> Argument {
        Argument { kind, unsigned: false, value: None, long: false }
    }

    /// Sent ahead by COM_STMT_SEND_LONG_DATA.
    pub(crate) fn long(kind: u8) -> Argument {
        Argument { kind, unsigned: false, value: Some(Vec::new()), long: true }
    }

    pub(crate) fn integer(number: i64) -> Argument {
        Argument::fixed(kind::LONGLONG, &number.to_le_bytes())
    }

    pub(crate) fn text(text: &str) -> Argument {
        Argument::sized(kind::VAR_STRING, text.as_bytes())
    }

    pub(crate) fn unsigned(mut self) -> Argument {
        self.unsigned = true;
        self
    }
}

/// Length-encoded.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let mut out = match u16::try_from(length) {
        Ok(short @ 0..=250) => vec![u8::try_from(short).unwrap()],
        Ok(short) => [&[0xfc][..], &short.to_le_bytes()].concat(),
        Err(_) if length < 1 << 24 => {
            [&[0xfd][..], &u32::try_from(length).unwrap().to_le_bytes()[..3]].concat()
        }
        Err(_) => [&[0xfe][..], &(length as u64).to_le_bytes()].concat(),
    };
    out.extend_from_slice(bytes);
    out
}

/// The packets of one answer, each with its number; the id of a prepared statement is taken out.
pub(crate) type Answer = Vec<(u8, Vec<u8>)>;

/// A client that speaks nothing but packets.
pub(crate) struct Binary {
    pub(crate) raw: Raw,
    deprecate_eof: bool,
}

impl Binary {
    pub(crate) async fn login(
        address: SocketAddr,
        user: (&str, &str),
        database: &str,
        deprecate_eof: bool,
    ) -> Binary {
        let flag = if deprecate_eof { DEPRECATE_EOF } else { 0 };
        let raw = Raw::login(address, user.0, user.1, Some(database), flag | MULTI_RESULTS).await;
        Binary { raw, deprecate_eof }
    }

    /// The statement's id, 0 when it was refused, and the answer without it.
    pub(crate) async fn prepare(&mut self, sql: impl AsRef<[u8]>) -> (u32, Answer) {
        self.raw.command(PREPARE, sql.as_ref()).await;
        let mut answer = vec![self.packet().await];
        let first = &mut answer[0].1;
        if first[0] == 0xff {
            return (0, answer);
        }
        let id = u32::from_le_bytes(first[1..5].try_into().unwrap());
        first[1..5].fill(0);
        let count = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
        let (columns, parameters) = (count(5), count(7));
        for definitions in [parameters, columns] {
            let ends = u16::from(definitions > 0 && !self.deprecate_eof);
            for _ in 0..definitions + ends {
                answer.push(self.packet().await);
            }
        }
        (id, answer)
    }

    /// The statement's id; fails the test when it is refused.
    pub(crate) async fn prepared(&mut self, sql: &str) -> u32 {
        let (id, answer) = self.prepare(sql).await;
        assert!(id != 0, "{sql}: {}", String::from_utf8_lossy(&answer[0].1));
        id
    }

    pub(crate) async fn execute(&mut self, id: u32, arguments: &[Argument]) -> Answer {
        self.execute_as(id, 0, arguments, true).await
    }

    /// `types`: tell them; a server remembers those of the execution before.
    pub(crate) async fn execute_as(
        &mut self,
        id: u32,
        flags: u8,
        arguments: &[Argument],
        types: bool,
    ) -> Answer {
        let body = execution(id, flags, arguments, types);
        self.send(EXECUTE, &body).await;
        self.answer().await
    }

    pub(crate) async fn query(&mut self, sql: &str) -> Answer {
        self.raw.command(3, sql.as_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn fetch(&mut self, id: u32, rows: u32) -> Answer {
        self.raw.command(FETCH, &[id.to_le_bytes(), rows.to_le_bytes()].concat()).await;
        let mut answer = Vec::new();
        self.rows(&mut answer).await;
        answer
    }

    pub(crate) async fn reset(&mut self, id: u32) -> Answer {
        self.raw.command(RESET, &id.to_le_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn close(&mut self, id: u32) {
        self.raw.command(CLOSE, &id.to_le_bytes()).await;
    }

    pub(crate) async fn long_data(&mut self, id: u32, parameter: u16, data: &[u8]) {
        let mut body = id.to_le_bytes().to_vec();
        body.extend_from_slice(&parameter.to_le_bytes());
        body.extend_from_slice(data);
        self.send(SEND_LONG_DATA, &body).await;
    }

    /// Any command, split at 16 MiB.
    pub(crate) async fn send(&mut self, code: u8, body: &[u8]) {
        let payload = [&[code], body].concat();
        let mut sequence = 0;
        for piece in payload.chunks(0xff_ffff) {
            self.raw.send_any(sequence, piece).await;
            sequence += 1;
        }
        if payload.len() % 0xff_ffff == 0 {
            self.raw.send_any(sequence, &[]).await;
        }
    }

    /// All packets of an answer with any number of results.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = Vec::new();
        loop {
            let (number, first) = self.packet().await;
            answer.push((number, first.clone()));
            let status = match first[0] {
                0xff => return answer,
                0x00 => status_of_ok(&first),
                _ => {
                    for _ in 0..first[0] {
                        answer.push(self.packet().await);
                    }
                    if !self.deprecate_eof {
                        let (number, end) = self.packet().await;
                        answer.push((number, end.clone()));
                        if u16::from_le_bytes([end[3], end[4]]) & CURSOR_EXISTS != 0 {
                            return answer;
                        }
                    }
                    self.rows(&mut answer).await
                }
            };
            if status & MORE_RESULTS == 0 {
                return answer;
            }
        }
    }

    /// Rows up to their end; its status, 0 for an error.
    async fn rows(&mut self, answer: &mut Answer) -> u16 {
        loop {
            let (number, packet) = self.packet().await;
            answer.push((number, packet.clone()));
            match packet[0] {
                0xff => return 0,
                0xfe if self.deprecate_eof => return status_of_ok(&packet),
                0xfe => return u16::from_le_bytes([packet[3], packet[4]]),
                _ => {}
            }
        }
    }

    /// One payload, put together where it has several packets.
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let (mut number, mut payload) = self.raw.packet().await.expect("an answer");
        let mut last = payload.len();
        while last == 0xff_ffff {
            let (next, more) = self.raw.packet().await.expect("the rest of a payload");
            number = next;
            last = more.len();
            payload.extend_from_slice(&more);
        }
        (number, payload)
    }
}

/// The body of COM_STMT_EXECUTE.
pub(crate) fn execution(id: u32, flags: u8, arguments: &[Argument], types: bool) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.push(flags);
    body.extend_from_slice(&1u32.to_le_bytes());
    if arguments.is_empty() {
        return body;
    }
    let mut nulls = vec![0; arguments.len().div_ceil(8)];
    for (index, argument) in arguments.iter().enumerate() {
        if argument.value.is_none() {
            nulls[index / 8] |= 1 << (index % 8);
        }
    }
    body.extend_from_slice(&nulls);
    body.push(u8::from(types));
    for argument in arguments.iter().filter(|_| types) {
        body.extend_from_slice(&[argument.kind, if argument.unsigned { UNSIGNED } else { 0 }]);
    }
    for argument in arguments.iter().filter(|argument| !argument.long) {
        body.extend_from_slice(argument.value.as_deref().unwrap_or_default());
    }
    body
}

/// Of an OK packet whose counts are below 251.
fn status_of_ok(packet: &[u8]) -> u16 {
    let skip = |at: usize| match packet[at] {
        0xfc => at + 3,
        0xfd => at + 4,
        0xfe => at + 9,
        _ => at + 1,
    };
    let at = skip(skip(1));
    u16::from_le_bytes([packet[at], packet[at + 1]])
}

/// An answer as text, for messages of tests.
pub(crate) fn shown(answer: &Answer) -> String {
    answer.iter().map(|(number, packet)| format!("{number:3} {}\n", packet.escape_ascii())).collect()
}

/// Number and message of an ERR packet.
pub(crate) fn error(answer: &Answer) -> (u16, String) {
    let packet = &answer.last().unwrap().1;
    assert_eq!(packet[0], 0xff, "not an error:\n{}", shown(answer));
    (u16::from_le_bytes([packet[1], packet[2]]), String::from_utf8_lossy(&packet[9..]).into_owned())
}
