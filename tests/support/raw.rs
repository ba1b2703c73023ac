//! A socket that speaks packets and nothing else: for tests of the wire, of hostile bytes, of half-sent commands.

use std::net::SocketAddr;
use std::time::Duration;

use mysql_common::scramble::{scramble_native, scramble_sha256};
use shardway::internal::wire::{Boundary, Reader, encode_packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::DEADLINE;

/// PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, LONG_PASSWORD, TRANSACTIONS.
pub(crate) const CAPABILITIES: u32 = 0x0000_0001 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0008_0000;
pub(crate) const CONNECT_WITH_DB: u32 = 0x0000_0008;
pub(crate) const DEPRECATE_EOF: u32 = 0x0100_0000;
pub(crate) const MULTI_STATEMENTS: u32 = 0x0001_0000;
pub(crate) const LOCAL_FILES: u32 = 0x0000_0080;
pub(crate) const MULTI_RESULTS: u32 = 0x0002_0000;
const UTF8MB4_GENERAL_CI: u8 = 45;

pub(crate) struct Raw {
    stream: TcpStream,
}

/// The parts of a greeting that a login needs.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) version: String,
    pub(crate) id: u32,
    pub(crate) nonce: Vec<u8>,
    pub(crate) capabilities: u32,
    pub(crate) plugin: String,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Connects and logs in; `capabilities` are added to the least that the protocol needs.
    pub(crate) async fn login(
        address: SocketAddr,
        user: &str,
        password: &str,
        database: Option<&str>,
        capabilities: u32,
    ) -> Raw {
        let mut raw = Raw::connect(address).await;
        let answer = raw.log_in(user, password, database, capabilities).await;
        assert_eq!(answer[0], 0x00, "login refused: {}", String::from_utf8_lossy(&answer));
        raw
    }

    /// Logs in on a fresh connection; gives the packet that ends the login, OK or ERR.
    pub(crate) async fn log_in(
        &mut self,
        user: &str,
        password: &str,
        database: Option<&str>,
        capabilities: u32,
    ) -> Vec<u8> {
        let greeting = self.greeting().await;
        let response = response(&greeting, user, password, database, capabilities);
        self.send(1, &response).await;
        loop {
            let (sequence, packet) = self.packet().await.expect("an answer to the login");
            match packet.first() {
                Some(0x00 | 0xff) => return packet,
                // The fast path of caching_sha2_password succeeded; OK follows.
                Some(0x01) if packet.get(1) == Some(&3) => {}
                // The password itself is asked for: this client wants the key and encrypts nothing with it.
                Some(0x01) if packet.get(1) == Some(&4) => self.send(sequence.wrapping_add(1), &[2]).await,
                Some(0x01) => self.send(sequence.wrapping_add(1), &[b'x'; 256]).await,
                Some(0xfe) => {
                    let mut parts = packet[1..].splitn(2, |byte| *byte == 0);
                    let plugin = String::from_utf8_lossy(parts.next().unwrap()).into_owned();
                    let nonce: Vec<u8> = parts.next().unwrap().iter().copied().take(20).collect();
                    let answer = scramble(&plugin, &nonce, password);
                    self.send(sequence.wrapping_add(1), &answer).await;
                }
                _ => panic!("this client cannot go on after {packet:?}"),
            }
        }
    }

    pub(crate) async fn greeting(&mut self) -> Greeting {
        let (sequence, packet) = self.packet().await.expect("a greeting");
        assert_eq!((sequence, packet[0]), (0, 10), "protocol 10 starts at sequence 0");
        let end = 1 + packet[1..].iter().position(|byte| *byte == 0).unwrap();
        let version = String::from_utf8_lossy(&packet[1..end]).into_owned();
        let rest = &packet[end + 1..];
        let id = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let low = u32::from(u16::from_le_bytes(rest[13..15].try_into().unwrap()));
        let high = u32::from(u16::from_le_bytes(rest[18..20].try_into().unwrap()));
        let nonce = [&rest[4..12], &rest[31..43]].concat();
        let plugin: Vec<u8> = rest[44..].iter().copied().take_while(|byte| *byte != 0).collect();
        Greeting {
            version,
            id,
            nonce,
            capabilities: low | high << 16,
            plugin: String::from_utf8(plugin).unwrap(),
        }
    }

    /// One packet; `None` when the other side closed. A silence of `DEADLINE` fails the test.
    pub(crate) async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(DEADLINE, async {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).await.ok()?;
            let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((header[3], payload))
        })
        .await
        .expect("the other side stays silent")
    }

    /// Sends one packet with its header.
    pub(crate) async fn send(&mut self, sequence: u8, payload: &[u8]) {
        assert!(payload.len() < 0xff_ffff, "longer than one packet");
        self.send_any(sequence, payload).await;
    }

    /// As `send`, also for the pieces of a longer payload.
    pub(crate) async fn send_any(&mut self, sequence: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let mut packet = vec![length[0], length[1], length[2], sequence];
        packet.extend_from_slice(payload);
        self.bytes(&packet).await;
    }

    /// A command with sequence 0 whose first byte is `code`.
    pub(crate) async fn command(&mut self, code: u8, body: &[u8]) {
        let mut packets = Vec::new();
        encode_packet(&[&[code], body].concat(), &mut 0, &mut packets);
        self.bytes(&packets).await;
    }

    /// All packets of the answer to one command with their numbers; the last one is empty when the connection was closed.
    pub(crate) async fn answer(&mut self, code: u8, body: &[u8], deprecate_eof: bool) -> Vec<(u8, Vec<u8>)> {
        self.command(code, body).await;
        let mut boundary =
            if code == 4 { Boundary::field_list(deprecate_eof) } else { Boundary::query(deprecate_eof) };
        let mut packets = Vec::new();
        loop {
            let Some((number, payload)) = self.packet().await else {
                packets.push((0, Vec::new()));
                return packets;
            };
            let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
            let framed = [&length[..3], &[number], &payload].concat();
            let ended = boundary.advance(&framed).unwrap().ended;
            packets.push((number, payload));
            if ended {
                return packets;
            }
        }
    }

    /// Sends a command that loads a file, and the file in packets when it is asked for; all packets of the answer. Two
    /// packets may end the file: with the answer to one command only.
    pub(crate) async fn load(&mut self, sql: &str, packets: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        self.command(3, sql.as_bytes()).await;
        let mut boundary = Boundary::load(false);
        let mut seen = Vec::new();
        loop {
            let Some((number, payload)) = self.packet().await else {
                seen.push((0, Vec::new()));
                return seen;
            };
            let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
            let framed = [&length[..3], &[number], &payload].concat();
            let ended = boundary.advance(&framed).unwrap().ended;
            seen.push((number, payload));
            if ended {
                return seen;
            }
            if boundary.waits_for_file() {
                boundary.file_was_sent();
                let (mut out, mut number) = (Vec::new(), number.wrapping_add(1));
                for packet in packets.iter().chain([&&b""[..]]) {
                    encode_packet(packet, &mut number, &mut out);
                }
                self.bytes(&out).await;
            }
        }
    }

    /// The results of several statements in one packet, rows as lines, and the number of the error that ended them, else 0.
    /// Not for rows of 16 MiB. The numbers of the packets must be in order.
    pub(crate) async fn results(&mut self, sql: &str) -> (Vec<Vec<String>>, u16) {
        let packets = self.answer(3, sql.as_bytes(), false).await;
        let first = packets[0].0;
        for (at, (number, _)) in packets.iter().enumerate() {
            assert_eq!(*number, first.wrapping_add(u8::try_from(at % 256).unwrap()), "{packets:?}");
        }
        let (mut results, mut rows, mut ends) = (Vec::new(), Vec::new(), 0);
        for (_, packet) in packets {
            match (packet[0], ends) {
                (0xff, _) => return (results, u16::from_le_bytes([packet[1], packet[2]])),
                (0x00, 0) => results.push(Vec::new()),
                (0xfe, 0) => ends = 1,
                (0xfe, _) => {
                    results.push(std::mem::take(&mut rows));
                    ends = 0;
                }
                (_, 0) => {}
                (_, _) => rows.push(line(&packet)),
            }
        }
        (results, 0)
    }

    /// COM_QUERY; gives the first packet of the answer.
    pub(crate) async fn query(&mut self, sql: &str) -> Vec<u8> {
        self.command(3, sql.as_bytes()).await;
        self.packet().await.expect("an answer").1
    }

    /// Bytes as they are. A peer that closed already is no fault: the test reads that next.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _flushed = self.stream.flush().await;
        }
    }

    /// Whether the other side closes (or resets) within `within`; what it sends before is dropped.
    pub(crate) async fn closes(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, async {
            let mut buffer = [0; 4096];
            while let Ok(1..) = self.stream.read(&mut buffer).await {}
        })
        .await
        .is_ok()
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// A row of short texts, joined by `|`.
fn line(row: &[u8]) -> String {
    let mut reader = Reader::new(row, "row");
    let mut cells = Vec::new();
    while !reader.is_empty() {
        let cell = reader.nullable_bytes().unwrap();
        cells.push(cell.map_or("NULL".to_owned(), |cell| String::from_utf8_lossy(cell).into_owned()));
    }
    cells.join("|")
}

/// A handshake response.
pub(crate) fn response(
    greeting: &Greeting,
    user: &str,
    password: &str,
    database: Option<&str>,
    capabilities: u32,
) -> Vec<u8> {
    let database_flag = if database.is_some() { CONNECT_WITH_DB } else { 0 };
    let mut out = Vec::new();
    out.extend_from_slice(&(CAPABILITIES | capabilities | database_flag).to_le_bytes());
    out.extend_from_slice(&(1u32 << 30).to_le_bytes());
    out.push(UTF8MB4_GENERAL_CI);
    out.extend_from_slice(&[0; 23]);
    out.extend_from_slice(user.as_bytes());
    out.push(0);
    let scramble = scramble(&greeting.plugin, &greeting.nonce, password);
    out.push(u8::try_from(scramble.len()).unwrap());
    out.extend_from_slice(&scramble);
    if let Some(database) = database {
        out.extend_from_slice(database.as_bytes());
        out.push(0);
    }
    out.extend_from_slice(greeting.plugin.as_bytes());
    out.push(0);
    out
}

fn scramble(plugin: &str, nonce: &[u8], password: &str) -> Vec<u8> {
    let scramble = match plugin {
        "mysql_native_password" => scramble_native(nonce, password.as_bytes()).map(|bytes| bytes.to_vec()),
        "caching_sha2_password" => scramble_sha256(nonce, password.as_bytes()).map(|bytes| bytes.to_vec()),
        other => panic!("this client does not know the plugin {other}"),
    };
    scramble.unwrap_or_default()
}
