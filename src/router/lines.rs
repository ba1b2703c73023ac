//! The lines of a client's file for LOAD DATA, each for the shard of its key. Pure: bytes come in as the client sends them, each
//! shard's bytes go out unchanged.
//!
//! Fields and lines end where they end for a server (READ_INFO in sql_load.cc): that depends on how many fields the statement
//! reads, since what follows them on a line is passed over by other rules.

use std::borrow::Cow;

use super::key::{Constant, KeySpace};
use super::resolve::unmapped;
use super::route::{RouteError, SessionView, WeightCache};
use crate::error::ClientError;
use crate::planner::FileLines;
use crate::sql::{Context, FileFormat, Value};
use crate::topology::{Key, ShardId, Topology};

/// Shares out one file.
#[derive(Debug)]
pub(crate) struct LineSplitter<'a> {
    file: &'a FileLines,
    topology: &'a Topology,
    context: &'a Context,
    /// Of the file.
    charset: String,
    shards: Vec<ShardId>,
    shares: Vec<Vec<u8>>,
    /// The beginning of a line.
    pending: Vec<u8>,
    /// It is looked at again when it has this length: a long line that comes in pieces is not read piece by piece.
    worth_reading: usize,
    skip: u64,
    lines: u64,
    line_bytes_max: usize,
    key: Vec<u8>,
}

/// The end of the bytes was reached and more may come.
#[derive(Debug, PartialEq, Eq)]
struct More;

/// How a field ended.
struct Field {
    null: bool,
    enclosed: bool,
    /// The line, too, or the file.
    last: bool,
    /// There was none: the file had ended.
    absent: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes with a key.
    Row(usize),
    /// Too few fields, or NULL.
    Keyless,
    /// What is left is no line.
    Nothing,
}

impl<'a> LineSplitter<'a> {
    /// `shards` own the shares, in this order.
    pub(crate) fn new(
        file: &'a FileLines,
        shards: Vec<ShardId>,
        charset: String,
        context: &'a Context,
        topology: &'a Topology,
        line_bytes_max: usize,
    ) -> LineSplitter<'a> {
        LineSplitter {
            file,
            topology,
            context,
            charset,
            shares: vec![Vec::new(); shards.len()],
            shards,
            pending: Vec::new(),
            worth_reading: 1,
            skip: file.lines_skipped,
            lines: 0,
            line_bytes_max,
            key: Vec::new(),
        }
    }

    /// What the shards are to get next; the caller empties it.
    pub(crate) fn shares(&mut self) -> &mut [Vec<u8>] {
        &mut self.shares
    }

    /// More of the file.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < self.worth_reading {
            return Ok(());
        }
        self.share_out(false)?;
        if self.pending.len() > self.line_bytes_max {
            let detail =
                format!("line {} of the file has more than {} bytes", self.lines + 1, self.line_bytes_max);
            return Err(ClientError::new("SW1210", detail));
        }
        self.worth_reading = (self.pending.len() * 2).max(1);
        Ok(())
    }

    /// That was all of it.
    pub(crate) fn finish(&mut self) -> Result<(), ClientError> {
        self.share_out(true)
    }

    fn share_out(&mut self, complete: bool) -> Result<(), ClientError> {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < pending.len() {
            let rest = &pending[at..];
            if self.skip > 0 {
                let Ok(length) = skipped(&self.file.format, rest, complete) else { break };
                // Every server passes over as many lines.
                self.shares.iter_mut().for_each(|share| share.extend_from_slice(&rest[..length]));
                self.skip -= 1;
                self.lines += 1;
                at += length;
                continue;
            }
            match read_line(self.file, rest, complete, &mut self.key) {
                Err(More) => break,
                Ok(Line::Nothing) => at = pending.len(),
                Ok(Line::Keyless) => {
                    let detail =
                        format!("line {} of the file gives {} no value", self.lines + 1, self.file.column);
                    return Err(ClientError::new("SW1205", detail));
                }
                Ok(Line::Row(length)) => {
                    let share = self.share_of_key()?;
                    self.shares[share].extend_from_slice(&rest[..length]);
                    self.lines += 1;
                    at += length;
                }
            }
        }
        self.pending = pending;
        self.pending.drain(..at);
        Ok(())
    }

    fn share_of_key(&self) -> Result<usize, ClientError> {
        let scheme = self.topology.scheme(self.file.scheme);
        let space = KeySpace { scheme, kind: &self.file.key_type };
        let value = Value::Text { bytes: Cow::Borrowed(&self.key), charset: None };
        let constant = Constant { value, negated: false, written: &self.key };
        let weights = WeightCache::default();
        let view = SessionView {
            shard: None,
            role: None,
            weights: &weights,
            context: self.context,
            charset: &self.charset,
            parameters: &[],
        };
        let inexact = |reason: &str| {
            let detail = format!("line {} of the file, {}: {reason}", self.lines + 1, self.file.column);
            ClientError::new("SW1208", detail)
        };
        let key = match space.inserted(&constant, &view) {
            Ok(Ok(key)) => key,
            Ok(Err(reason)) => return Err(inexact(reason)),
            Err(RouteError::WeightsNeeded { .. }) => {
                return Err(inexact("text beyond ASCII is placed by INSERT only"));
            }
            Err(RouteError::Refused(error)) => return Err(error),
        };
        if self.file.generated && key == Key::Integer(0) {
            return Err(inexact("zero stands for a number that only a server knows"));
        }
        let owner =
            scheme.locate(&key).ok_or_else(|| unmapped(&self.file.column, &key, space, self.topology))?;
        self.shards
            .iter()
            .position(|shard| *shard == owner)
            .ok_or_else(|| unmapped(&self.file.column, &key, space, self.topology))
    }
}

/// Reads as many fields as the statement names, then to the end of the line; the key's value is put into `key`.
fn read_line(file: &FileLines, bytes: &[u8], complete: bool, key: &mut Vec<u8>) -> Result<Line, More> {
    let format = &file.format;
    let mut input = Input { bytes, at: 0, complete };
    let mut has_key = false;
    let mut other = Vec::new();
    let row = |has_key, input: &Input<'_>| if has_key { Line::Row(input.at) } else { Line::Keyless };
    for index in 0..file.fields {
        let is_key = index == file.place;
        let field = read_field(format, &mut input, index == 0, if is_key { key } else { &mut other })?;
        if field.absent {
            return Ok(if index == 0 { Line::Nothing } else { row(has_key, &input) });
        }
        if is_key {
            let word = !field.enclosed && format.enclosed.is_some() && *key == b"NULL";
            has_key = !word && !(field.null && key.len() == 1);
        }
        if field.last {
            return Ok(row(has_key, &input));
        }
    }
    to_line_end(format, &mut input)?;
    Ok(row(has_key, &input))
}

/// The length of a line that is passed over.
fn skipped(format: &FileFormat, bytes: &[u8], complete: bool) -> Result<usize, More> {
    let mut input = Input { bytes, at: 0, complete };
    to_line_end(format, &mut input)?;
    Ok(input.at)
}

fn to_line_end(format: &FileFormat, input: &mut Input<'_>) -> Result<(), More> {
    while let Some(byte) = input.next()? {
        if Some(byte) == format.escape {
            if input.next()?.is_none() {
                return Ok(());
            }
        } else if input.ends(byte, &format.line_end)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read_field(
    format: &FileFormat,
    input: &mut Input<'_>,
    first: bool,
    out: &mut Vec<u8>,
) -> Result<Field, More> {
    out.clear();
    let mut field = Field { null: false, enclosed: false, last: true, absent: true };
    if first && !format.line_start.is_empty() && !input.find(&format.line_start)? {
        return Ok(field);
    }
    let Some(begin) = input.next()? else { return Ok(field) };
    field.absent = false;
    let quote = format.enclosed.filter(|enclosed| *enclosed == begin);
    if quote.is_none() {
        input.back();
    }
    loop {
        let Some(byte) = input.next()? else {
            // What began with a quote and has no end is taken as it stands.
            if let Some(quote) = quote {
                out.insert(0, quote);
            }
            return Ok(field);
        };
        if Some(byte) == format.escape {
            let Some(escaped) = input.next()? else {
                out.push(byte);
                return Ok(field);
            };
            if format.escape != format.enclosed || Some(escaped) == format.escape {
                field.null |= escaped == b'N';
                out.push(unescaped(escaped));
                continue;
            }
            // An escape that is the quote as well acts as the quote.
            input.back();
        }
        if quote.is_none() {
            if input.ends(byte, &format.line_end)? {
                return Ok(field);
            }
            if input.ends(byte, &format.field_end)? {
                return Ok(Field { last: false, ..field });
            }
        } else if Some(byte) == quote {
            match input.next()? {
                Some(next) if Some(next) == quote => {}
                None => return Ok(Field { enclosed: true, ..field }),
                Some(next) if input.ends(next, &format.line_end)? => {
                    return Ok(Field { enclosed: true, ..field });
                }
                Some(next) if input.ends(next, &format.field_end)? => {
                    return Ok(Field { enclosed: true, last: false, ..field });
                }
                Some(_) => input.back(),
            }
        }
        out.push(byte);
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'0' => 0,
        b'Z' => 26,
        other => other,
    }
}

struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Nothing follows.
    complete: bool,
}

impl Input<'_> {
    fn next(&mut self) -> Result<Option<u8>, More> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(Some(*byte))
            }
            None if self.complete => Ok(None),
            None => Err(More),
        }
    }

    /// Before the byte that was just read.
    fn back(&mut self) {
        self.at -= 1;
    }

    /// Whether `byte`, which was just read, begins `mark`, whose rest is then read as well.
    fn ends(&mut self, byte: u8, mark: &[u8]) -> Result<bool, More> {
        let Some((first, rest)) = mark.split_first() else { return Ok(false) };
        if byte != *first {
            return Ok(false);
        }
        let there = &self.bytes[self.at..];
        if there.starts_with(rest) {
            self.at += rest.len();
            return Ok(true);
        }
        if rest.starts_with(there) && !self.complete { Err(More) } else { Ok(false) }
    }

    /// Reads to the end of the next `mark`; false when there is none to the end of the file.
    fn find(&mut self, mark: &[u8]) -> Result<bool, More> {
        while let Some(byte) = self.next()? {
            if self.ends(byte, mark)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{ColumnType, SchemeId};
    use proptest::prelude::*;

    fn file(format: FileFormat) -> FileLines {
        FileLines {
            scheme: SchemeId(0),
            column: "t.id".to_owned(),
            key_type: ColumnType::Integer { bits: 32, unsigned: false },
            generated: false,
            place: 1,
            fields: 2,
            format,
            lines_skipped: 0,
            charset: None,
        }
    }

    fn quoted() -> FileFormat {
        FileFormat {
            field_end: b",".to_vec(),
            enclosed: Some(b'"'),
            line_end: b"\r\n".to_vec(),
            ..FileFormat::default()
        }
    }

    /// Length of the line and its key; `None` is a line without one.
    fn read(format: &FileFormat, line: &[u8]) -> Option<(usize, String)> {
        let mut key = Vec::new();
        match read_line(&file(format.clone()), line, true, &mut key).unwrap() {
            Line::Row(length) => Some((length, String::from_utf8(key).unwrap())),
            Line::Keyless | Line::Nothing => None,
        }
    }

    #[test]
    fn keys_are_what_a_server_reads() {
        let plain = FileFormat::default();
        assert_eq!(read(&plain, b"x\t12\nmore"), Some((5, "12".to_owned())));
        assert_eq!(read(&plain, b"x\t1\\t2"), Some((6, "1\t2".to_owned())));
        assert_eq!(read(&plain, b"x\ty\tz\\\nrest\nmore"), Some((12, "y".to_owned())));
        for keyless in [&b"x\n1\n"[..], b"x\t\\N\n", b"x\t", b""] {
            assert_eq!(read(&plain, keyless), None, "{}", keyless.escape_ascii());
        }
        let quoted = quoted();
        assert_eq!(read(&quoted, b"\"a,\r\n\"\"b\",\"7\"\r\n"), Some((15, "7".to_owned())));
        assert_eq!(read(&quoted, b"a\"b\r,8,\"x\r\n9\r\n"), Some((11, "8".to_owned())));
        assert_eq!(read(&quoted, b"a,NULL\r\n"), None);
        assert_eq!(read(&quoted, b"a,\"NULL\"\r\n"), Some((10, "NULL".to_owned())));
        let started = FileFormat { line_start: b">>".to_vec(), ..FileFormat::default() };
        assert_eq!(read(&started, b"skipped\n> >>a\t5\n"), Some((16, "5".to_owned())));
        assert_eq!(read(&started, b"no more lines\n"), None);
    }

    fn formats() -> impl Strategy<Value = FileFormat> {
        prop::sample::select(vec![
            FileFormat::default(),
            quoted(),
            FileFormat { escape: Some(b'"'), ..quoted() },
            FileFormat { escape: None, line_start: b"ab".to_vec(), ..quoted() },
        ])
    }

    proptest! {
        #[test]
        fn more_bytes_do_not_change_a_line_that_was_read(
            format in formats(),
            letters in prop::collection::vec(prop::sample::select(b"ab,\t\r\n\"\\N1".to_vec()), 0..60),
        ) {
            let file = file(format);
            let (mut key, mut whole_key) = (Vec::new(), Vec::new());
            let whole = read_line(&file, &letters, true, &mut whole_key);
            for end in 0..letters.len() {
                let line = read_line(&file, &letters[..end], false, &mut key);
                if line != Err(More) {
                    prop_assert_eq!(&line, &whole);
                    prop_assert_eq!(&key, &whole_key);
                }
            }
            prop_assert!(whole.is_ok());
        }

        #[test]
        fn any_file_is_cut_into_lines_that_make_progress(
            format in formats(),
            letters in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let file = file(format);
            let (mut key, mut at) = (Vec::new(), 0);
            while let Ok(Line::Row(length)) = read_line(&file, &letters[at..], true, &mut key) {
                prop_assert!(length > 0 && at + length <= letters.len());
                at += length;
            }
        }
    }
}
