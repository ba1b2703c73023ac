//! SHOW PROCESSLIST, COM_PROCESS_INFO and COM_STATISTICS: the proxy's sessions in the form of a server's threads. A user sees
//! their own sessions; an operator sees all, those of others without the values in their statements.

use std::time::Instant;

use super::run::{End, Session};
use crate::executor::{Reply, Stream};
use crate::sql::{self, Flavor, ShowWhat, Verb};
use crate::wire::{ColumnDefinition, TextResult, UTF8MB4_GENERAL_CI};

/// Characters of a statement without FULL.
const INFO_CHARACTERS_MAX: usize = 100;

const TYPE_LONG: u8 = 3;
const TYPE_DOUBLE: u8 = 5;
const TYPE_LONGLONG: u8 = 8;
const TYPE_LONG_BLOB: u8 = 251;
const TYPE_VAR_STRING: u8 = 253;
const FLAG_NOT_NULL: u16 = 1;
const FLAG_BINARY: u16 = 128;
const COLLATION_BINARY: u16 = 63;

/// One session as a row.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) database: Option<String>,
    /// The running statement as it came, and how it is read.
    pub(crate) statement: Option<(bytes::Bytes, sql::Context)>,
    /// Since when it runs, or the session is idle.
    pub(crate) since: Instant,
}

impl<S: Stream> Session<S> {
    /// Whether the statement is SHOW [FULL] PROCESSLIST of the proxy: where a shard is chosen, its server is meant.
    pub(super) fn asks_for_processes(&self, text: &[u8], statement: &sql::Statement) -> Option<bool> {
        let chosen =
            statement.hint.as_ref().is_some_and(|hint| hint.shard.is_some()) || self.chosen.shard.is_some();
        if chosen {
            return None;
        }
        match sql::outline(text, statement, self.variables.context()).ok()?.verb {
            Verb::Show(show) if show.what == ShowWhat::Processlist => Some(show.full),
            _ => None,
        }
    }

    pub(super) async fn reply_processes(&mut self, full: bool) -> Result<(), End> {
        let flavor = self.variables.context().flavor;
        let rows: Vec<_> = self
            .shared
            .registry
            .processes()
            .into_iter()
            .filter(|process| !process.user.is_empty())
            .filter(|process| self.user.admin || process.user == self.user.name)
            .map(|process| self.row(&process, full, flavor))
            .collect();
        self.diagnostics.answered(rows.len() as u64);
        let table = TextResult { columns: columns(flavor, full), rows };
        let status = self.status();
        Ok(self.client.reply(Reply::Table { table: &table, format: self.row_format, status }).await?)
    }

    fn row(&self, process: &Process, full: bool, flavor: Flavor) -> Vec<Option<Vec<u8>>> {
        let running = process.statement.as_ref().map(|(text, context)| {
            if process.user == self.user.name {
                text.to_vec()
            } else {
                sql::redact(text, context, usize::MAX).into_bytes()
            }
        });
        let info = running.map(|text| if full { text } else { shortened(&text) });
        let (command, state) = match info {
            Some(_) => ("Query", "executing"),
            None => ("Sleep", ""),
        };
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let mut row = vec![
            text(&process.id.to_string()),
            text(&process.user),
            text(&process.host),
            process.database.as_deref().and_then(text),
            text(command),
            text(&process.since.elapsed().as_secs().to_string()),
            text(state),
            info,
        ];
        if flavor == Flavor::MariaDb {
            row.push(text("0.000"));
        }
        row
    }

    /// The answer to COM_STATISTICS, in the form of the servers'. What is of servers alone is 0.
    pub(super) fn statistics(&self) -> String {
        let (uptime, questions) = (self.shared.registry.uptime().as_secs(), self.shared.metrics.statements());
        let (sessions, slow) = (self.shared.registry.len(), 0);
        let flushed = match self.variables.context().flavor {
            Flavor::MySql => "  Flush tables: 0",
            Flavor::MariaDb => "",
        };
        // The servers' own precision.
        #[expect(clippy::cast_precision_loss, reason = "a rate of three decimals")]
        let average = questions as f64 / uptime.max(1) as f64;
        format!(
            "Uptime: {uptime}  Threads: {sessions}  Questions: {questions}  Slow queries: {slow}  Opens: 0{flushed}  \
             Open tables: 0  Queries per second avg: {average:.3}"
        )
    }
}

fn shortened(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    text.chars().take(INFO_CHARACTERS_MAX).collect::<String>().into_bytes()
}

/// As the servers define them.
fn columns(flavor: Flavor, full: bool) -> Vec<ColumnDefinition> {
    let mysql = flavor == Flavor::MySql;
    let of = |in_mysql: u32, in_mariadb: u32| if mysql { in_mysql } else { in_mariadb };
    let number = |name: &str, kind, length| ColumnDefinition {
        kind,
        length,
        flags: FLAG_NOT_NULL | FLAG_BINARY,
        ..column(name, COLLATION_BINARY)
    };
    let text = |name: &str, length, flags| ColumnDefinition {
        kind: TYPE_VAR_STRING,
        length,
        flags,
        decimals: if mysql { 31 } else { 39 },
        ..column(name, UTF8MB4_GENERAL_CI)
    };
    let info = if full {
        ColumnDefinition { kind: TYPE_LONG_BLOB, ..text("Info", of(0x3000_0000, 0x0C00_0000), 0) }
    } else {
        text("Info", 400, 0)
    };
    let mut columns = vec![
        number("Id", TYPE_LONGLONG, of(22, 11)),
        text("User", of(128, 512), FLAG_NOT_NULL),
        text("Host", of(1020, 256), FLAG_NOT_NULL),
        text("db", 256, 0),
        text("Command", 64, FLAG_NOT_NULL),
        number("Time", TYPE_LONG, of(8, 7)),
        text("State", 120, 0),
        info,
    ];
    if !mysql {
        columns.push(ColumnDefinition { decimals: 3, ..number("Progress", TYPE_DOUBLE, 7) });
    }
    columns
}

fn column(name: &str, collation: u16) -> ColumnDefinition {
    ColumnDefinition {
        schema: Vec::new(),
        table: Vec::new(),
        original_table: Vec::new(),
        name: name.as_bytes().to_vec(),
        original_name: Vec::new(),
        collation,
        length: 0,
        kind: 0,
        flags: 0,
        decimals: 0,
    }
}
