//! Copies rows of shards into a temporary table of one server, value by value as they are stored.
//!
//! What the text protocol would change on the way takes another form: text and blobs go as the hexadecimal of their bytes, ENUM, SET and
//! BIT as numbers, FLOAT with all its digits, TIMESTAMP as UTC. A server that has anything to say about a row that it takes (a warning, a
//! duplicate) ends the statement.

use bytes::Bytes;

use super::client::{Client, Stream};
use super::everywhere::Participant;
use super::exchange::{Answer, ask, unexpected, watched};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::results::{begin_all, drain, next_row};
use crate::backend::Connection;
use crate::error::ClientError;
use crate::topology::ShardName;
use crate::wire::{ColumnDefinition, Outcome, Reader, RowFormat, text_of_binary};

/// One INSERT is sent when it has so many bytes: less than any server's max_allowed_packet.
const INSERT_BYTES: usize = 512 << 10;

const ER_DUP_ENTRY: u16 = 1062;

/// Stands for a value that cannot be read in its form.
const UNREADABLE: &[u8] = b"!";

/// A column of the copy, and how its values travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopiedColumn {
    /// As SQL.
    name: String,
    /// What shards are asked for.
    expression: String,
    form: Form,
}

impl CopiedColumn {
    pub(crate) fn is_ascii(&self) -> bool {
        self.name.is_ascii()
    }
}

/// How a value is written into INSERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Digits.
    Number,
    /// Between quotes: digits and what dates, UUIDs and the like are written with.
    Quoted,
    /// Bytes, from their hexadecimal digits.
    Bytes,
    /// JSON, from the hexadecimal digits of its text.
    Json,
}

/// What SHOW FULL COLUMNS says of a copy. Columns that are computed from others are computed again.
pub(crate) fn copied_columns(
    table: &str,
    rows: &[Vec<Option<Bytes>>],
) -> Result<Vec<CopiedColumn>, ClientError> {
    let text = |row: &[Option<Bytes>], at: usize| {
        let value = row.get(at).and_then(Option::as_deref).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    let refused = |what: String| Err(ClientError::new("SW1232", format!("{table}: {what}")));
    let (mut columns, mut stored, mut moments) = (Vec::new(), false, false);
    for row in rows {
        let (name, kind, extra) = (text(row, 0), text(row, 1), text(row, 6).to_ascii_uppercase());
        moments |= kind.starts_with("timestamp");
        if extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED") {
            stored |= extra.contains("STORED");
            continue;
        }
        let name = format!("`{}`", name.replace('`', "``"));
        match form(&name, &kind) {
            Some((form, expression)) => columns.push(CopiedColumn { name, expression, form }),
            None => return refused(format!("a column of type {kind}")),
        }
    }
    // Computed in another time zone than it was.
    if stored && moments {
        return refused("a stored generated column beside a TIMESTAMP".to_owned());
    }
    match columns.is_empty() {
        true => refused("no columns".to_owned()),
        false => Ok(columns),
    }
}

/// How values of a type travel: the form, and the expression that gives it. `kind` as SHOW COLUMNS writes types.
fn form(name: &str, kind: &str) -> Option<(Form, String)> {
    let word: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
    // Longer than max_allowed_packet, a result would be NULL.
    let bytes = |of: &str| format!("IFNULL(HEX({of}), IF({name} IS NULL, NULL, '!'))");
    Some(match word.to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => (Form::Number, name.to_owned()),
        "bit" | "enum" | "set" => (Form::Number, format!("CAST({name} AS UNSIGNED)")),
        "float" | "double" => (Form::Quoted, format!("{name} * 1e0")),
        "decimal" | "date" | "datetime" | "time" | "year" | "uuid" | "inet4" | "inet6" => {
            (Form::Quoted, name.to_owned())
        }
        "timestamp" => {
            let moment = format!("UNIX_TIMESTAMP({name})");
            let utc = format!("TIMESTAMP'1970-01-01 00:00:00' + INTERVAL {moment} SECOND");
            (Form::Quoted, format!("IF({moment} = 0, '0000-00-00 00:00:00', {utc})"))
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary" | "varbinary"
        | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point" | "linestring"
        | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" | "vector" => (Form::Bytes, bytes(name)),
        // What its text does not tell (a date inside, a decimal with trailing zeros) would be lost.
        "json" => {
            let text = format!("CONVERT({name} USING utf8mb4)");
            let same = format!("CAST({text} AS JSON) = {name}");
            let hex = bytes(&text);
            (Form::Json, format!("IF({name} IS NULL OR {same}, {hex}, '!')"))
        }
        _ => return None,
    })
}

/// The select list that gives the columns' values.
pub(crate) fn select_list(columns: &[CopiedColumn]) -> String {
    columns.iter().map(|column| column.expression.as_str()).collect::<Vec<_>>().join(", ")
}

/// What one statement may still copy.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    rows_max: usize,
    bytes_max: usize,
    rows: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(rows_max: usize, bytes_max: usize) -> Budget {
        Budget { rows_max, bytes_max, rows: 0, bytes: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn take(&mut self, bytes: usize, table: &str) -> Result<(), ClientError> {
        self.rows += 1;
        self.bytes += bytes;
        let limit = if self.rows > self.rows_max {
            format!("limits.scratch_rows_max = {}", self.rows_max)
        } else if self.bytes > self.bytes_max {
            format!("limits.scratch_bytes_max = {} bytes", self.bytes_max)
        } else {
            return Ok(());
        };
        Err(ClientError::new(
            "SW1231",
            format!("more rows are needed than {limit} allows, up to those of {table}"),
        ))
    }
}

/// The temporary table that rows go to.
#[derive(Debug)]
pub(crate) struct Copy<'c> {
    pub(crate) connection: &'c mut Connection,
    pub(crate) shard: ShardName,
    /// As SQL.
    pub(crate) target: &'c str,
    /// The table that it is of, for messages.
    pub(crate) table: &'c str,
    pub(crate) columns: &'c [CopiedColumn],
}

/// Runs every participant's command, which reads [`select_list`], and inserts what they give. Failures leave participants as those of
/// [`super::concatenate`] do.
pub(crate) async fn copy<S: Stream>(
    participants: &mut [Participant<'_>],
    format: RowFormat,
    into: &mut Copy<'_>,
    budget: &mut Budget,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let result = fill(participants, format, into, budget, client, interrupt).await;
    if let Err(Failure::Server { .. } | Failure::Refused(_)) = result {
        drain(participants, client, interrupt).await;
    }
    result
}

async fn fill<S: Stream>(
    participants: &mut [Participant<'_>],
    format: RowFormat,
    into: &mut Copy<'_>,
    budget: &mut Budget,
    client: &mut Client<S>,
    interrupt: &Interrupt<'_>,
) -> Result<(), Failure> {
    let begun = begin_all(participants, client, interrupt).await?;
    let mut insert = Insert::new(into);
    // Rows are read for the proxy's own sake: nobody is told of their end.
    let mut outcome = Outcome::default();
    for (participant, begun) in participants.iter_mut().zip(begun) {
        let columns = match format {
            RowFormat::Text => Vec::new(),
            RowFormat::Binary => {
                let columns: Result<Vec<_>, _> =
                    begun.columns.iter().skip(1).map(|column| ColumnDefinition::decode(column)).collect();
                columns.map_err(|_| unexpected(participant.connection, "a column that cannot be read"))?
            }
        };
        let mut next = begun.first;
        while let Some(row) = next.row(&mut outcome) {
            let row = match format {
                RowFormat::Text => row,
                RowFormat::Binary => text_of_binary(&row, &columns)
                    .map_err(|_| unexpected(participant.connection, "a row that cannot be read"))?
                    .into(),
            };
            budget.take(row.len(), into.table)?;
            insert.row(&row, into)?;
            if insert.text.len() >= INSERT_BYTES {
                insert.send(into, client, interrupt).await?;
            }
            next = next_row(participant, client, interrupt).await?;
        }
    }
    insert.send(into, client, interrupt).await
}

/// An INSERT that grows row by row.
struct Insert {
    text: Vec<u8>,
    head: usize,
    rows: u64,
}

impl Insert {
    fn new(into: &Copy<'_>) -> Insert {
        let names: Vec<&str> = into.columns.iter().map(|column| column.name.as_str()).collect();
        let text = format!("INSERT INTO {} ({}) VALUES ", into.target, names.join(", ")).into_bytes();
        Insert { head: text.len(), text, rows: 0 }
    }

    fn row(&mut self, row: &[u8], into: &Copy<'_>) -> Result<(), Failure> {
        let mut reader = Reader::new(row, "row");
        if self.rows > 0 {
            self.text.push(b',');
        }
        self.rows += 1;
        self.text.push(b'(');
        for (at, column) in into.columns.iter().enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            let value = reader.nullable_bytes();
            let written = value.ok().and_then(|value| match value {
                None => {
                    self.text.extend_from_slice(b"NULL");
                    Some(())
                }
                Some(value) => self.value(value, column.form),
            });
            if written.is_none() {
                let detail = format!("{}: a value of {} that has no exact copy", into.table, column.name);
                return Err(Failure::Refused(ClientError::new("SW1232", detail)));
            }
        }
        self.text.push(b')');
        Ok(())
    }

    /// `None` where the bytes are not of the form.
    fn value(&mut self, value: &[u8], form: Form) -> Option<()> {
        let sound = match form {
            Form::Number => {
                let digits = value.strip_prefix(b"-").unwrap_or(value);
                !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
            }
            Form::Quoted => value.iter().all(|byte| byte.is_ascii_alphanumeric() || b" .:+-".contains(byte)),
            Form::Bytes | Form::Json => value != UNREADABLE && value.iter().all(u8::is_ascii_hexdigit),
        };
        if !sound {
            return None;
        }
        let (before, after): (&[u8], &[u8]) = match form {
            Form::Number => (b"", b""),
            Form::Quoted => (b"'", b"'"),
            Form::Bytes => (b"x'", b"'"),
            Form::Json => (b"_utf8mb4 x'", b"'"),
        };
        for part in [before, value, after] {
            self.text.extend_from_slice(part);
        }
        Some(())
    }

    async fn send<S: Stream>(
        &mut self,
        into: &mut Copy<'_>,
        client: &mut Client<S>,
        interrupt: &Interrupt<'_>,
    ) -> Result<(), Failure> {
        if self.rows == 0 {
            return Ok(());
        }
        let answer = watched(client, interrupt, ask(into.connection, &self.text)).await?;
        let refused = |what: String| {
            let detail = format!("{}: {what}", into.table);
            Err(Failure::Refused(ClientError::new("SW1232", detail)))
        };
        match answer {
            Answer::Ok(ok) if ok.warnings == 0 && ok.affected_rows == self.rows => {}
            Answer::Ok(_) | Answer::Rows(_) => {
                let said = match watched(client, interrupt, ask(into.connection, b"SHOW WARNINGS")).await? {
                    Answer::Rows(rows) => rows.first().and_then(|row| row.get(2).cloned().flatten()),
                    Answer::Ok(_) | Answer::Error(_) => None,
                };
                return refused(String::from_utf8_lossy(&said.unwrap_or_default()).into_owned());
            }
            Answer::Error(packet) if packet.code == ER_DUP_ENTRY => {
                let said = String::from_utf8_lossy(&packet.message);
                return refused(format!("rows of several shards that one table cannot have: {said}"));
            }
            Answer::Error(packet) => return Err(Failure::Server { shard: into.shard.clone(), packet }),
        }
        self.text.truncate(self.head);
        self.rows = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, kind: &str, extra: &str) -> Vec<Option<Bytes>> {
        let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        vec![text(name), text(kind), None, None, None, None, text(extra)]
    }

    #[test]
    fn values_travel_in_forms_that_keep_them() {
        let rows = [
            shown("a", "int(11) unsigned", ""),
            shown("b`", "varchar(3)", ""),
            shown("c", "enum('x')", "INVISIBLE"),
            shown("d", "float(7,2)", ""),
            shown("e", "int", "VIRTUAL GENERATED"),
        ];
        let columns = copied_columns("t", &rows).unwrap();
        assert_eq!(
            select_list(&columns),
            "`a`, IFNULL(HEX(`b```), IF(`b``` IS NULL, NULL, '!')), CAST(`c` AS UNSIGNED), `d` * 1e0"
        );
    }

    #[test]
    fn types_without_a_form_are_refused() {
        assert!(copied_columns("t", &[shown("a", "xmltype", "")]).is_err());
        let moments = [shown("a", "timestamp", ""), shown("b", "date", "STORED GENERATED")];
        assert!(copied_columns("t", &moments).is_err());
    }

    #[test]
    fn a_value_that_is_not_of_its_form_is_not_written() {
        let mut insert = Insert { text: Vec::new(), head: 0, rows: 0 };
        assert!(insert.value(b"1); DROP", Form::Number).is_none());
        assert!(insert.value(b"it's", Form::Quoted).is_none());
        assert!(insert.value(UNREADABLE, Form::Bytes).is_none());
        assert!(insert.text.is_empty());
        insert.value(b"4A", Form::Bytes).unwrap();
        insert.value(b"-7", Form::Number).unwrap();
        assert_eq!(insert.text, b"x'4A'-7");
    }

    #[test]
    fn a_budget_names_the_setting_that_ends_it() {
        let mut budget = Budget::new(2, 10);
        budget.take(4, "t").unwrap();
        budget.take(4, "t").unwrap();
        assert!(budget.take(1, "t").unwrap_err().detail.contains("limits.scratch_rows_max = 2"));
        let mut budget = Budget::new(9, 10);
        assert!(budget.take(11, "t").unwrap_err().detail.contains("limits.scratch_bytes_max = 10"));
    }
}
