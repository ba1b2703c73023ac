//! Where a server's response ends, found by reading packet headers and first bytes only. This is the hot part of a
//! passthrough: rows are skipped by their headers, nothing is decoded, nothing is allocated.
//!
//! Bytes are looked at where they lie. What cannot be judged yet (less than a header, or less than the first
//! [`HEAD_BYTES`] of a packet that matters) is left unused and must be offered again with more behind it; the unused
//! rest is always shorter than `HEADER_BYTES + HEAD_BYTES`, but for an OK packet that tells of the session's state: that is used
//! when it is there as a whole, so that it can be passed on without it. Sequence numbers are not checked: bytes pass unchanged.
//! Protocol page: "Text Resultset".

use super::codec::{Malformed, Reader};
use super::packet::{HEADER_BYTES, PAYLOAD_MAX, payload_length};
use super::response::{ErrPacket, SESSION_STATE_CHANGED};

/// As much of an OK packet as has to be read: a byte, two length-encoded integers, status, warnings.
const HEAD_BYTES: usize = 1 + 9 + 9 + 2 + 2;

/// More columns than any server has (4096), to catch bytes that are no result.
const COLUMNS_MAX: u64 = u16::MAX as u64;

/// A payload that begins with 0xFE is EOF below this length; a row may begin with it, too.
const EOF_LENGTH_MAX: usize = 8;

const EOF_BYTES: usize = 5;

/// Of an OK packet that tells of the session's state: names and values of a few variables, a database.
const STATE_BYTES_MAX: usize = 64 << 10;

const STATUS_MORE_RESULTS: u16 = 0x0008;
/// The rows wait for COM_STMT_FETCH: nothing follows the columns.
const STATUS_CURSOR_EXISTS: u16 = 0x0040;
const STATE_CHANGED: u16 = SESSION_STATE_CHANGED.bits();

/// What a request for a file of the client begins with; the rest is its name.
pub const FILE_REQUEST: u8 = 0xFB;

/// Why a response cannot be followed. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoundaryError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// For a statement that loads none: the server is broken or hostile.
    #[error("a request for a local file")]
    LocalInfile,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Result of a statement without rows.
    Ok,
    /// Number of columns: a result with rows begins.
    Columns,
    Column,
    /// The EOF between columns and rows; not sent when DEPRECATE_EOF is negotiated.
    ColumnsEnd,
    Row,
    /// EOF or OK that ends the rows.
    End,
    Error,
    /// The client is asked for a file.
    FileRequest,
}

/// A run of bytes of one packet (header included) at the front of what was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    pub kind: PacketKind,
    pub bytes: usize,
    /// The run begins with the packet's header.
    pub begins: bool,
    /// The packet ends with the run; a payload of 16 MiB or more counts as one packet.
    pub ends: bool,
}

/// How far [`Boundary::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// So many of the bytes belong to this response.
    pub used: usize,
    /// The response is over.
    pub ended: bool,
    /// From here to `used` stands an OK or EOF packet with the session's state or its flag (`without_session_state`). More of
    /// the response may have come already.
    pub state_at: Option<usize>,
}

/// What a response said; of several results the last one, but `rows` counts all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    pub status: u16,
    pub warnings: u16,
    pub affected_rows: u64,
    pub last_insert_id: u64,
    pub rows: u64,
    pub columns: u64,
    /// An OK packet said that the session's state changed. Filled by who reads those packets: see [`Progress::state_at`].
    pub state_changed: bool,
    /// Number and SQLSTATE of the ERR that ended the response.
    pub error: Option<(u16, [u8; 5])>,
}

/// Follows one response.
#[derive(Debug, Clone)]
pub struct Boundary {
    deprecate_eof: bool,
    /// The statement may load a file of the client.
    loads_file: bool,
    state: State,
    kind: PacketKind,
    /// Bytes of the current packet that were not offered yet.
    pending: usize,
    /// The current packet has 0xFFFFFF bytes: the next one continues its payload.
    continues: bool,
    /// How many packets began, which is how far sequence numbers went; wraps as they do.
    packets: u8,
    outcome: Outcome,
    /// The packet that was taken last is an OK with the session's state.
    tells_state: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Columns {
        left: u64,
    },
    ColumnsEnd,
    Rows,
    Fields,
    /// The server waits for the client's file.
    File,
    Over,
}

impl Boundary {
    /// The response to COM_QUERY and to commands that are answered with OK, EOF or ERR.
    pub fn query(deprecate_eof: bool) -> Boundary {
        Boundary::new(deprecate_eof, State::First)
    }

    /// The response to LOAD DATA LOCAL: the server may ask for the file.
    pub fn load(deprecate_eof: bool) -> Boundary {
        Boundary { loads_file: true, ..Boundary::query(deprecate_eof) }
    }

    /// The response to COM_FIELD_LIST: column definitions without a count.
    pub fn field_list(deprecate_eof: bool) -> Boundary {
        Boundary::new(deprecate_eof, State::Fields)
    }

    /// The response to COM_STMT_FETCH: rows and their end.
    pub fn fetch(deprecate_eof: bool) -> Boundary {
        Boundary::new(deprecate_eof, State::Rows)
    }

    fn new(deprecate_eof: bool, state: State) -> Boundary {
        let kind = PacketKind::Ok;
        Boundary {
            deprecate_eof,
            loads_file: false,
            state,
            kind,
            pending: 0,
            continues: false,
            packets: 0,
            outcome: Outcome::default(),
            tells_state: false,
        }
    }

    /// Says how many of `bytes` belong to this response. Bytes beyond `used` must be offered again unless it ended.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, BoundaryError> {
        let mut used = 0;
        loop {
            if self.state == State::Rows && self.pending == 0 && !self.continues {
                used += self.skip_rows(&bytes[used..]);
            }
            let Some(section) = self.next_section(&bytes[used..])? else {
                return Ok(Progress { used, ended: self.is_over(), state_at: None });
            };
            let start = used;
            used += section.bytes;
            if self.take_state_told() {
                return Ok(Progress { used, ended: self.is_over(), state_at: Some(start) });
            }
        }
    }

    /// The next run of bytes of one packet; `None` when more bytes are needed or the response is over.
    pub fn next_section(&mut self, bytes: &[u8]) -> Result<Option<Section>, BoundaryError> {
        if self.pending > 0 {
            if bytes.is_empty() {
                return Ok(None);
            }
            return Ok(Some(self.section(0, bytes.len(), false)));
        }
        if matches!(self.state, State::Over | State::File) && !self.continues {
            return Ok(None);
        }
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = payload_length(header);
        let begins = !self.continues;
        if begins {
            let head = &rest[..rest.len().min(length).min(HEAD_BYTES)];
            if head.len() < self.head_needed(head, length) {
                return Ok(None);
            }
            let late = rest.len() < length || length > STATE_BYTES_MAX;
            if late && self.is_ok_with_state(head, length) {
                if length > STATE_BYTES_MAX {
                    return Err(Malformed("response: more of a session's state than any session has").into());
                }
                return Ok(None);
            }
            self.kind = self.classify(head, length)?;
        }
        self.continues = length == PAYLOAD_MAX;
        self.packets = self.packets.wrapping_add(1);
        self.pending = length;
        Ok(Some(self.section(HEADER_BYTES, rest.len(), begins)))
    }

    /// The request for a file was offered: nothing more comes until it was sent.
    pub fn waits_for_file(&self) -> bool {
        self.state == State::File && self.pending == 0
    }

    /// The file was sent: the rest of the response follows, and its packets are counted anew.
    pub fn file_was_sent(&mut self) {
        self.state = State::First;
        self.packets = 0;
    }

    /// The response has ended and all of its bytes were offered.
    pub fn is_over(&self) -> bool {
        self.state == State::Over && self.pending == 0 && !self.continues
    }

    /// Nothing of a packet has been offered without its end: a packet of the proxy's own may follow.
    pub fn is_between_packets(&self) -> bool {
        self.pending == 0 && !self.continues
    }

    /// The next byte is the first of a packet's header.
    pub(super) fn is_at_header(&self) -> bool {
        self.pending == 0
    }

    /// Something of the response was offered.
    pub fn has_begun(&self) -> bool {
        self.state != State::First || self.packets != 0 || self.outcome.rows != 0
    }

    /// How many packets of the response were offered, modulo 256: the number of the next one is this many after the command's.
    pub fn packets(&self) -> u8 {
        self.packets
    }

    /// Complete once the response is over.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the packet that was taken last is one with the session's state.
    pub(super) fn take_state_told(&mut self) -> bool {
        std::mem::take(&mut self.tells_state)
    }

    fn is_ok_with_state(&self, head: &[u8], length: usize) -> bool {
        let is_ok = match (self.state, head.first()) {
            (State::First, Some(0x00)) => true,
            (State::First | State::Rows | State::Fields, Some(0xFE)) => {
                self.deprecate_eof && length > EOF_BYTES && length < PAYLOAD_MAX
            }
            // EOF packets are short: all of them is there when they are judged.
            _ => false,
        };
        let status = |mut reader: Reader<'_>| -> Result<u16, Malformed> {
            reader.u8()?;
            (reader.lenenc_int()?, reader.lenenc_int()?);
            reader.u16()
        };
        is_ok && status(Reader::new(head, "OK")).is_ok_and(|status| status & STATE_CHANGED != 0)
    }

    fn section(&mut self, header: usize, available: usize, begins: bool) -> Section {
        let taken = self.pending.min(available);
        self.pending -= taken;
        let ends = self.pending == 0 && !self.continues;
        Section { kind: self.kind, bytes: header + taken, begins, ends }
    }

    /// Whole rows at the front of `bytes` that need no second look.
    fn skip_rows(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&[a, b, c, _, first]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<5>()) {
            let length = payload_length(&[a, b, c]);
            let next = at + HEADER_BYTES + length;
            if first >= 0xFE || length == 0 || length == PAYLOAD_MAX || next > bytes.len() {
                break;
            }
            self.outcome.rows += 1;
            self.packets = self.packets.wrapping_add(1);
            at = next;
        }
        at
    }

    /// How many of a payload's first bytes must be there before it can be judged.
    fn head_needed(&self, head: &[u8], length: usize) -> usize {
        let whole = length.min(HEAD_BYTES);
        match (self.state, head.first()) {
            (State::First | State::ColumnsEnd, _) | (_, Some(0xFE | 0xFF)) => whole,
            (State::Columns { .. } | State::Rows | State::Fields | State::File | State::Over, _) => {
                whole.min(1)
            }
        }
    }

    fn classify(&mut self, head: &[u8], length: usize) -> Result<PacketKind, BoundaryError> {
        let Some(&first) = head.first() else { return Err(Malformed("response: an empty packet").into()) };
        if first == ErrPacket::FIRST_BYTE {
            return self.error(head);
        }
        match self.state {
            State::First => self.classify_first(head, length),
            State::Columns { left } => {
                self.state = match left - 1 {
                    0 if self.deprecate_eof => State::Rows,
                    0 => State::ColumnsEnd,
                    left => State::Columns { left },
                };
                Ok(PacketKind::Column)
            }
            State::ColumnsEnd => {
                if first != 0xFE || length > EOF_LENGTH_MAX {
                    return Err(Malformed("response: no EOF after the columns").into());
                }
                // MariaDB sets the flag in every packet with a status.
                self.tells_state = head.get(4).is_some_and(|high| u16::from(*high) << 8 & STATE_CHANGED != 0);
                self.columns_end(head)?;
                Ok(PacketKind::ColumnsEnd)
            }
            State::Rows | State::Fields if first == 0xFE && length < PAYLOAD_MAX => self.end(head, length),
            State::Rows => {
                self.outcome.rows += 1;
                Ok(PacketKind::Row)
            }
            State::Fields => {
                self.outcome.columns += 1;
                Ok(PacketKind::Column)
            }
            State::File => Err(Malformed("response: bytes before the file").into()),
            State::Over => Err(Malformed("response: bytes after its end").into()),
        }
    }

    fn classify_first(&mut self, head: &[u8], length: usize) -> Result<PacketKind, BoundaryError> {
        match head[0] {
            0x00 => {
                self.finish_ok(head)?;
                self.outcome.columns = 0;
                Ok(PacketKind::Ok)
            }
            FILE_REQUEST if self.loads_file => {
                self.state = State::File;
                Ok(PacketKind::FileRequest)
            }
            FILE_REQUEST => Err(BoundaryError::LocalInfile),
            0xFE => self.end(head, length),
            _ => {
                let mut reader = Reader::new(head, "response: number of columns");
                let columns = reader.lenenc_int()?;
                if columns == 0 || columns > COLUMNS_MAX || !reader.is_empty() || length > head.len() {
                    return Err(Malformed("response: number of columns").into());
                }
                self.outcome.columns = columns;
                self.state = State::Columns { left: columns };
                Ok(PacketKind::Columns)
            }
        }
    }

    fn columns_end(&mut self, head: &[u8]) -> Result<(), BoundaryError> {
        let mut reader = Reader::new(head, "response: EOF");
        reader.u8()?;
        let (warnings, status) = (reader.u16()?, reader.u16()?);
        if status & STATUS_CURSOR_EXISTS == 0 {
            self.state = State::Rows;
            return Ok(());
        }
        self.outcome.warnings = warnings;
        self.outcome.status = status;
        self.finish();
        Ok(())
    }

    fn end(&mut self, head: &[u8], length: usize) -> Result<PacketKind, BoundaryError> {
        // An OK has at least seven bytes, an EOF has five: a server may answer a command with EOF all the same.
        if self.deprecate_eof && length > EOF_BYTES {
            self.finish_ok(head)?;
            return Ok(PacketKind::End);
        }
        if length > EOF_LENGTH_MAX {
            return Err(Malformed("response: neither a row nor its end").into());
        }
        let mut reader = Reader::new(head, "response: EOF");
        reader.u8()?;
        self.outcome.warnings = reader.u16()?;
        self.outcome.status = reader.u16()?;
        self.tells_state = self.outcome.status & STATE_CHANGED != 0;
        self.finish();
        Ok(PacketKind::End)
    }

    /// OK, or OK that stands for EOF.
    fn finish_ok(&mut self, head: &[u8]) -> Result<(), BoundaryError> {
        let mut reader = Reader::new(head, "response: OK");
        reader.u8()?;
        self.outcome.affected_rows = reader.lenenc_int()?;
        self.outcome.last_insert_id = reader.lenenc_int()?;
        self.outcome.status = reader.u16()?;
        self.outcome.warnings = reader.u16()?;
        self.tells_state = self.outcome.status & STATE_CHANGED != 0;
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        let more = self.outcome.status & STATUS_MORE_RESULTS != 0;
        self.state = if more { State::First } else { State::Over };
    }

    fn error(&mut self, head: &[u8]) -> Result<PacketKind, BoundaryError> {
        let error = ErrPacket::decode(head)?;
        self.outcome.error = Some((error.code, error.sqlstate));
        self.state = State::Over;
        Ok(PacketKind::Error)
    }
}

#[cfg(test)]
mod tests;
