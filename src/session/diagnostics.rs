//! What LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS() and SHOW WARNINGS tell of the last statement, since the next statement may run
//! on another connection.

use bytes::Bytes;

use crate::error::ClientError;
use crate::wire::Outcome;
use crate::wire::{ErrPacket, OkPacket};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Diagnostics {
    /// Of the last statement that generated one; failed statements do not change it.
    pub(super) last_insert_id: u64,
    /// -1 after a result set or an error (MySQL manual 14.15, ROW_COUNT).
    pub(super) row_count: i64,
    pub(super) found_rows: u64,
    /// The last statement counted its rows without LIMIT, and its server has not been asked for the number.
    pub(super) counted_on_server: bool,
    /// Of the last statement, as its answer said.
    pub(super) warnings: u16,
    /// What SHOW WARNINGS would show, as far as no connection is kept that could show it.
    pub(super) conditions: Vec<Condition>,
}

/// A row of SHOW WARNINGS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) level: String,
    pub(super) code: String,
    pub(super) message: String,
}

impl Condition {
    /// From a row that a server answered to SHOW WARNINGS.
    pub(super) fn of_row(row: &[Option<Bytes>]) -> Condition {
        let text = |index: usize| {
            let value = row.get(index).and_then(Option::as_deref).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        Condition { level: text(0), code: text(1), message: text(2) }
    }

    fn error(code: u16, message: &[u8]) -> Condition {
        let message = String::from_utf8_lossy(message).into_owned();
        Condition { level: "Error".to_owned(), code: code.to_string(), message }
    }

    pub(super) fn is_error(&self) -> bool {
        self.level == "Error"
    }
}

impl Diagnostics {
    pub(super) fn finished(&mut self, outcome: &Outcome) {
        self.warnings = outcome.warnings;
        if outcome.error.is_some() {
            self.row_count = -1;
            self.conditions.clear();
            return;
        }
        self.conditions.clear();
        if outcome.columns > 0 {
            self.row_count = -1;
            self.found_rows = outcome.rows;
        } else {
            self.wrote(outcome.affected_rows, outcome.last_insert_id);
        }
    }

    pub(super) fn finished_write(&mut self, ok: &OkPacket) {
        self.warnings = ok.warnings;
        self.conditions.clear();
        self.wrote(ok.affected_rows, ok.last_insert_id);
    }

    /// The proxy itself answered with so many rows.
    pub(super) fn answered(&mut self, rows: u64) {
        self.row_count = -1;
        self.found_rows = rows;
    }

    fn wrote(&mut self, affected_rows: u64, last_insert_id: u64) {
        self.row_count = i64::try_from(affected_rows).unwrap_or(i64::MAX);
        if last_insert_id != 0 {
            self.last_insert_id = last_insert_id;
        }
    }

    pub(super) fn refused(&mut self, error: &ClientError) {
        self.row_count = -1;
        self.conditions = vec![Condition::error(error.entry.code, error.message().as_bytes())];
    }

    pub(super) fn server_refused(&mut self, packet: &ErrPacket) {
        self.row_count = -1;
        self.conditions = vec![Condition::error(packet.code, &packet.message)];
    }
}
