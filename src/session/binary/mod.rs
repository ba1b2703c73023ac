//! Prepared statements of the binary protocol. A session's statements have ids of its own and live on no connection: each
//! server connection that executes one has a handle of its own, prepared when it is needed.
//!
//! * `prepare` — COM_STMT_PREPARE: checked and described by a server. * `execute` — COM_STMT_EXECUTE: the path of a statement, with
//!   arguments in the place of literals. * `arguments` — what they mean. * `cursor` — rows that wait on a server.

mod arguments;
mod cursor;
mod execute;
mod prepare;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::cursor::Cursor;
use super::asked::PreparedText;
use super::run::{End, Session};
use crate::error::ClientError;
use crate::executor::Stream;
use crate::wire::{LongPiece, ParameterType, Shape};

/// What one client has prepared.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    by_id: HashMap<u32, PreparedStatement>,
    last_id: u32,
    /// Of all texts.
    text_bytes: usize,
    /// Of all arguments that were sent ahead.
    long_bytes: usize,
}

#[derive(Debug)]
struct PreparedStatement {
    text: Arc<PreparedText>,
    /// As they were bound last: an execution may leave them out.
    types: Vec<Option<ParameterType>>,
    /// Of the last arguments that were not NULL.
    given: Vec<Option<Shape>>,
    /// By parameter; for the next execution only.
    long: HashMap<u16, Vec<u8>>,
    /// What was wrong with long data, which is not answered: the next execution is.
    fault: Option<ClientError>,
    cursor: Option<Cursor>,
}

/// How much a session may have prepared.
#[derive(Debug, Clone, Copy)]
struct Limits {
    statements_max: usize,
    /// Of texts together, and of long data together.
    bytes_max: usize,
}

impl PreparedStatements {
    /// Whether there is room for one more.
    fn admit(&self, text: &[u8], limits: Limits) -> Result<(), ClientError> {
        if self.by_id.len() < limits.statements_max && self.text_bytes + text.len() <= limits.bytes_max {
            return Ok(());
        }
        let limit = limits.statements_max.min(self.by_id.len());
        let detail =
            format!("Can't create more than max_prepared_stmt_count statements (current value: {limit})");
        Err(ClientError::new("SW1113", detail))
    }

    /// Gives the statement its id.
    fn add(&mut self, text: PreparedText, parameters: usize) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        self.text_bytes += text.text.len();
        let statement = PreparedStatement {
            text: Arc::new(text),
            types: vec![None; parameters],
            given: vec![None; parameters],
            long: HashMap::new(),
            fault: None,
            cursor: None,
        };
        self.by_id.insert(self.last_id, statement);
        self.last_id
    }

    fn remove(&mut self, id: u32) {
        self.forget_long_data(id);
        if let Some(statement) = self.by_id.remove(&id) {
            self.text_bytes -= statement.text.text.len();
        }
    }

    fn forget_long_data(&mut self, id: u32) {
        if let Some(statement) = self.by_id.get_mut(&id) {
            let bytes: usize = std::mem::take(&mut statement.long).values().map(Vec::len).sum();
            self.long_bytes -= bytes;
            statement.fault = None;
        }
    }

    /// MySQL answers nothing and remembers what was wrong.
    fn add_long_data(&mut self, piece: &LongPiece, limits: Limits) {
        let Some(statement) = self.by_id.get_mut(&piece.statement) else { return };
        if usize::from(piece.parameter) >= statement.types.len() {
            statement.fault = Some(wrong_arguments("mysqld_stmt_send_long_data"));
        } else if self.long_bytes + piece.data.len() > limits.bytes_max {
            let detail = format!("long data of more than {} bytes", limits.bytes_max);
            statement.fault = Some(ClientError::new("SW1104", detail));
        } else {
            statement.long.entry(piece.parameter).or_default().extend_from_slice(&piece.data);
            self.long_bytes += piece.data.len();
        }
    }

    /// Takes the long data of the next execution, in the order of parameters.
    fn take_long_data(&mut self, id: u32) -> Vec<Option<Bytes>> {
        let Some(statement) = self.by_id.get_mut(&id) else { return Vec::new() };
        let mut all = vec![None; statement.types.len()];
        for (parameter, data) in std::mem::take(&mut statement.long) {
            self.long_bytes -= data.len();
            if let Some(place) = all.get_mut(usize::from(parameter)) {
                *place = Some(Bytes::from(data));
            }
        }
        all
    }

    fn cursor(&mut self, id: u32) -> Option<&mut Option<Cursor>> {
        self.by_id.get_mut(&id).map(|statement| &mut statement.cursor)
    }
}

impl<S: Stream> Session<S> {
    /// COM_STMT_SEND_LONG_DATA, which is not answered.
    pub(super) fn send_long_data(&mut self, body: &Bytes) -> Result<(), End> {
        let piece = LongPiece::decode(body).map_err(|error| malformed(&error))?;
        let limits = self.prepared_limits();
        self.prepared.add_long_data(&piece, limits);
        Ok(())
    }

    /// COM_STMT_RESET: long data and a cursor are gone.
    pub(super) async fn reset_prepared(&mut self, id: u32) -> Result<(), End> {
        if !self.prepared.by_id.contains_key(&id) {
            return self.refuse(&unknown(id, "mysqld_stmt_reset")).await;
        }
        self.prepared.forget_long_data(id);
        self.close_cursor(id).await;
        self.reply_ok().await
    }

    /// COM_STMT_CLOSE, which is not answered. Handles stay on their connections for others that prepare the same.
    pub(super) async fn close_prepared(&mut self, id: u32) -> Result<(), End> {
        self.close_cursor(id).await;
        self.prepared.remove(id);
        Ok(())
    }

    fn prepared_limits(&self) -> Limits {
        let limits = &self.settings.limits;
        Limits { statements_max: limits.prepared_statements_max, bytes_max: limits.packet_bytes_max }
    }
}

fn unknown(id: u32, command: &str) -> ClientError {
    ClientError::new("SW1111", format!("Unknown prepared statement handler ({id}) given to {command}"))
}

fn wrong_arguments(command: &str) -> ClientError {
    ClientError::new("SW1112", format!("Incorrect arguments to {command}"))
}

fn malformed(error: &crate::wire::Malformed) -> End {
    End::Dismissed(ClientError::new("SW1103", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::SessionState;
    use crate::sql::{Charset, Context, Flavor, SqlMode};

    const LIMITS: Limits = Limits { statements_max: 2, bytes_max: 10 };

    fn text(text: &str) -> PreparedText {
        PreparedText {
            text: Bytes::copy_from_slice(text.as_bytes()),
            state: SessionState::default(),
            context: Context {
                mode: SqlMode::default(),
                charset: Charset::AsciiSafe,
                flavor: Flavor::MySql,
                server_version: 80_400,
            },
            charset: "utf8mb4".to_owned(),
            key: 0,
            seed: 0,
            columns: false,
        }
    }

    fn piece(statement: u32, parameter: u16, data: &'static [u8]) -> LongPiece {
        LongPiece { statement, parameter, data: Bytes::from_static(data) }
    }

    #[test]
    fn statements_are_bounded_in_number_and_in_bytes() {
        let mut all = PreparedStatements::default();
        assert!(all.admit(b"12345678901", LIMITS).is_err());
        let first = all.add(text("12345678"), 0);
        assert!(all.admit(b"123", LIMITS).is_err());
        let second = all.add(text("1"), 0);
        assert!(all.admit(b"", LIMITS).is_err());
        all.remove(first);
        assert!(all.admit(b"123456789", LIMITS).is_ok());
        assert_ne!(second, all.add(text(""), 0));
    }

    #[test]
    fn long_data_is_gathered_bounded_and_taken_once() {
        let mut all = PreparedStatements::default();
        let id = all.add(text("?, ?"), 2);
        all.add_long_data(&piece(id, 1, b"1234"), LIMITS);
        all.add_long_data(&piece(id, 1, b"5"), LIMITS);
        all.add_long_data(&piece(id + 1, 1, b"for nobody"), LIMITS);
        assert_eq!(all.take_long_data(id), [None, Some(Bytes::from_static(b"12345"))]);
        assert_eq!((all.take_long_data(id), all.long_bytes), (vec![None, None], 0));
        all.add_long_data(&piece(id, 0, b"12345678901"), LIMITS);
        assert!(all.by_id[&id].fault.is_some());
        all.forget_long_data(id);
        assert!(all.by_id[&id].fault.is_none());
        all.add_long_data(&piece(id, 2, b""), LIMITS);
        assert!(all.by_id[&id].fault.is_some());
    }
}
