//! What the proxy answers itself: functions about the session's own past that another connection would answer wrongly, SHOW
//! WARNINGS when no connection remembers any, KILL of the ids that it gave out, and the tables of operators' answers.

use super::columns;
use super::diagnostics::Condition;
use super::held::{Held, Reason};
use super::orders;
use super::own_variables::asks_for_mode;
use super::run::{End, Session};
use super::settle::asked_number;
use crate::backend::{BackendError, Connection};
use crate::error::ClientError;
use crate::executor::{Answer, Reply, Stream, ask};
use crate::sql::{self, Feature, KillTarget, Kind, Lexer, Token, TokenKind};
use crate::wire::{ColumnDefinition, ColumnKind, RowFormat, TextResult, UTF8MB4_GENERAL_CI};

/// One more than the longest form that is answered here has: `SELECT FOUND_ROWS ( ) AS name FROM DUAL`.
const TOKENS_MAX: usize = 9;

/// A function about the session, alone in a SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    FoundRows,
    RowCount,
    ConnectionId,
    LastInsertId,
}

impl<S: Stream> Session<S> {
    /// Answers the statement if it is one of the proxy's own; refuses those that would be answered wrongly elsewhere.
    pub(super) async fn answer_locally(
        &mut self,
        text: &[u8],
        statement: &sql::Statement,
    ) -> Result<bool, End> {
        if self.row_format == RowFormat::Binary && self.asks_for_diagnostics(text, statement) {
            // To be prepared on their connection would take their place there.
            self.remember_diagnostics().await;
        }
        if statement.kind == Kind::Show && self.is_show_warnings(text, statement) {
            if self.holds_diagnostics() {
                return Ok(false);
            }
            self.reply_warnings(text).await?;
            return Ok(true);
        }
        if statement.kind == Kind::Show
            && let Some(full) = self.asks_for_processes(text, statement)
        {
            self.reply_processes(full).await?;
            return Ok(true);
        }
        if let Some(column) = asks_for_mode(text, statement) {
            let mode = self.mode().name().to_owned();
            self.diagnostics.answered(1);
            let column = ColumnDefinition::local(&column, ColumnKind::Text, UTF8MB4_GENERAL_CI);
            self.reply_table(vec![column], vec![vec![Some(mode)]]).await?;
            return Ok(true);
        }
        let features = statement.features;
        let about_session = features.has(Feature::FoundRows)
            || features.has(Feature::RowCount)
            || features.has(Feature::ConnectionId)
            || features.has(Feature::LastInsertId);
        if !about_session || statement.hint.is_some() {
            return Ok(false);
        }
        let Some((asked, column)) = asked(text, statement, self.variables.context()) else {
            return Ok(false);
        };
        if asked == Asked::FoundRows && self.learn_found_rows().await.is_err() {
            // Its connection is gone, and with it the number.
            return Ok(false);
        }
        let flavor = self.variables.context().flavor;
        let (column, value) = match asked {
            Asked::FoundRows => (columns::signed(&column), self.diagnostics.found_rows.to_string()),
            Asked::RowCount => (columns::signed(&column), self.diagnostics.row_count.to_string()),
            Asked::ConnectionId => {
                (columns::connection_id(&column, flavor), self.registration.id().to_string())
            }
            Asked::LastInsertId => (columns::number(&column), self.diagnostics.last_insert_id.to_string()),
        };
        self.diagnostics.answered(1);
        self.reply_table(vec![column], vec![vec![Some(value)]]).await?;
        Ok(true)
    }

    pub(super) fn is_show_warnings(&self, text: &[u8], statement: &sql::Statement) -> bool {
        if statement.kind != Kind::Show {
            return false;
        }
        let tokens = tokens(text, self.variables.context());
        let word = |index: usize, word: &str| is_word(text, tokens.get(index), word);
        word(1, "WARNINGS")
            || word(1, "ERRORS")
            || (word(1, "COUNT") && (word(5, "WARNINGS") || word(5, "ERRORS")))
    }

    pub(super) fn holds_diagnostics(&self) -> bool {
        self.held.iter().any(|held| held.diagnostics)
    }

    /// Lets connections go that were kept for SHOW WARNINGS only.
    pub(super) fn release_diagnostics(&mut self) {
        if !self.held.iter().any(|held| held.diagnostics) {
            return;
        }
        for mut held in std::mem::take(&mut self.held) {
            held.diagnostics = false;
            self.keep_or_let_go(held);
        }
    }

    /// SHOW WARNINGS, SHOW ERRORS and SHOW COUNT(*) of them, from memory.
    async fn reply_warnings(&mut self, text: &[u8]) -> Result<(), End> {
        let tokens = tokens(text, self.variables.context());
        let word = |index: usize, word: &str| is_word(text, tokens.get(index), word);
        let errors_only = word(1, "ERRORS") || word(5, "ERRORS");
        let conditions =
            self.diagnostics.conditions.iter().filter(|condition| !errors_only || condition.is_error());
        if word(1, "COUNT") {
            let count = conditions.count().to_string();
            let name = if errors_only { "@@session.error_count" } else { "@@session.warning_count" };
            return self.reply_table(vec![columns::count(name)], vec![vec![Some(count)]]).await;
        }
        let Some((offset, count)) = limit(text, tokens.get(2..).unwrap_or_default()) else {
            let detail = "behind SHOW WARNINGS follows nothing but LIMIT [offset,] count";
            return self.refuse(&ClientError::new("SW1201", detail)).await;
        };
        let rows = conditions
            .skip(offset)
            .take(count)
            .map(|row| vec![Some(row.level.clone()), Some(row.code.clone()), Some(row.message.clone())])
            .collect();
        let columns = columns::conditions(&self.variables);
        self.reply_table(columns, rows).await
    }

    /// An idle client must not keep a connection for the sake of warnings that it may never ask for: what the server remembers
    /// is read, and the connection goes back.
    pub(super) async fn remember_diagnostics(&mut self) {
        for mut held in std::mem::take(&mut self.held) {
            if held.reason() == Some(Reason::Diagnostics) {
                if let Err(error) = self.read_diagnostics(&mut held).await {
                    tracing::debug!(%error, "warnings of the last statement are lost with their connection");
                    continue;
                }
                held.diagnostics = false;
            }
            self.keep_or_let_go(held);
        }
    }

    /// SHOW WARNINGS leaves what FOUND_ROWS() tells as it is, but not the other way round.
    pub(super) async fn read_diagnostics(&mut self, held: &mut Held) -> Result<(), BackendError> {
        let connection = held.lease.connection();
        self.diagnostics.conditions = conditions_of(connection).await?;
        if std::mem::take(&mut self.diagnostics.counted_on_server)
            && let Some(number) = asked_number(connection, b"SELECT FOUND_ROWS()").await?
        {
            self.diagnostics.found_rows = number;
        }
        Ok(())
    }

    /// KILL [CONNECTION|QUERY] id, in the proxy's ids.
    pub(super) async fn kill_by_statement(
        &mut self,
        text: &[u8],
        statement: &sql::Statement,
    ) -> Result<(), End> {
        let verb = sql::outline(text, statement, self.variables.context()).map(|outline| outline.verb);
        let error = match verb {
            Ok(sql::Verb::Kill { query_only, target: KillTarget::Id(id) }) => {
                return self.kill(u32::try_from(id).unwrap_or_default(), query_only).await;
            }
            Ok(sql::Verb::Kill { query_only, target: KillTarget::Own }) => {
                return self.kill(self.registration.id(), query_only).await;
            }
            Ok(sql::Verb::Kill { target: KillTarget::User, .. }) => ClientError::new(
                "SW1215",
                "KILL USER; kill sessions by their ids (SHOW PROCESSLIST lists them)",
            ),
            _ => ClientError::new("SW1201", "KILL takes the id of a session (SHOW PROCESSLIST lists them)"),
        };
        self.refuse(&error).await
    }

    pub(super) async fn kill_session(&mut self, id: u32) -> Result<(), End> {
        self.kill(id, false).await
    }

    async fn kill(&mut self, id: u32, query_only: bool) -> Result<(), End> {
        if let Err(error) = self.may_kill(id) {
            return self.refuse(&error).await;
        }
        // The statement that is killed is this one.
        if id == self.registration.id() {
            let interrupted = ClientError::new("SW1506", "Query execution was interrupted");
            return if query_only {
                self.refuse(&interrupted).await
            } else {
                Err(End::Dismissed(interrupted))
            };
        }
        if query_only {
            self.shared.registry.kill_statement(id);
        } else {
            self.shared.registry.kill(id);
        }
        self.reply_ok().await
    }

    /// A user may kill sessions of their own, an operator all.
    fn may_kill(&self, id: u32) -> Result<(), ClientError> {
        match self.shared.registry.user_of(id) {
            None => Err(ClientError::new("SW1505", format!("Unknown thread id: {id}"))),
            Some(user) if user == self.user.name || self.user.admin => Ok(()),
            Some(_) => Err(ClientError::new("SW1508", format!("You are not owner of thread {id}"))),
        }
    }

    /// The answer to an operator's statement.
    pub(super) async fn reply_answer(&mut self, answer: orders::Answer) -> Result<(), End> {
        match answer {
            orders::Answer::Done { message } => {
                let ok = crate::wire::OkPacket {
                    status: self.status(),
                    message: message.into_bytes(),
                    ..crate::wire::OkPacket::default()
                };
                Ok(self.client.reply(Reply::Ok(ok)).await?)
            }
            orders::Answer::Table { columns, rows } => {
                let columns = columns
                    .into_iter()
                    .map(|name| ColumnDefinition::local(name, ColumnKind::Text, UTF8MB4_GENERAL_CI))
                    .collect();
                self.reply_table(columns, rows).await
            }
        }
    }

    async fn reply_table(
        &mut self,
        columns: Vec<ColumnDefinition>,
        rows: Vec<Vec<Option<String>>>,
    ) -> Result<(), End> {
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(|value| value.map(String::into_bytes)).collect())
            .collect();
        let table = TextResult { columns, rows };
        let status = self.status();
        Ok(self.client.reply(Reply::Table { table: &table, format: self.row_format, status }).await?)
    }
}

/// `SELECT f() [[AS] name] [FROM DUAL]` with the name of its column.
fn asked(text: &[u8], statement: &sql::Statement, context: &sql::Context) -> Option<(Asked, String)> {
    let text = text.get(..statement.end as usize)?;
    let mut tokens = tokens(text, context);
    let word = |index: usize, word: &str| is_word(text, tokens.get(index), word);
    if statement.kind != Kind::Select || !symbol(&tokens, 2, b'(') || !symbol(&tokens, 3, b')') {
        return None;
    }
    let asked = match () {
        () if word(1, "FOUND_ROWS") => Asked::FoundRows,
        () if word(1, "ROW_COUNT") => Asked::RowCount,
        () if word(1, "CONNECTION_ID") => Asked::ConnectionId,
        () if word(1, "LAST_INSERT_ID") => Asked::LastInsertId,
        () => return None,
    };
    let call = text.get(tokens[1].start as usize..tokens[3].end as usize)?;
    if let [.., from, dual] = tokens.as_slice()
        && is_word(text, Some(from), "FROM")
        && is_word(text, Some(dual), "DUAL")
    {
        tokens.truncate(tokens.len() - 2);
    }
    let name = match tokens.get(4..)? {
        [] => call,
        [name] if name.is_name() => name.text(text),
        [keyword, name] if is_word(text, Some(keyword), "AS") && name.is_name() => name.text(text),
        _ => return None,
    };
    Some((asked, String::from_utf8_lossy(name).trim_matches('`').to_owned()))
}

/// What SHOW WARNINGS of a connection shows, as far as the proxy remembers.
pub(super) async fn conditions_of(connection: &mut Connection) -> Result<Vec<Condition>, BackendError> {
    match ask(connection, b"SHOW WARNINGS").await? {
        Answer::Rows(rows) => Ok(rows.iter().map(|row| Condition::of_row(row)).collect()),
        Answer::Ok(_) | Answer::Error(_) => Ok(Vec::new()),
    }
}

/// Offset and count of `LIMIT [offset,] count`, or of nothing; `None` when it cannot be read.
fn limit(text: &[u8], tokens: &[Token]) -> Option<(usize, usize)> {
    let number = |token: &Token| std::str::from_utf8(token.text(text)).ok()?.parse().ok();
    match tokens {
        [] => Some((0, usize::MAX)),
        [word, count] if is_word(text, Some(word), "LIMIT") => Some((0, number(count)?)),
        [word, offset, comma, count] if is_word(text, Some(word), "LIMIT") && comma.is_symbol(b',') => {
            Some((number(offset)?, number(count)?))
        }
        _ => None,
    }
}

/// The first tokens of a statement, without its end.
fn tokens(text: &[u8], context: &sql::Context) -> Vec<Token> {
    let mut lexer = Lexer::new(text, context);
    let mut tokens = Vec::with_capacity(TOKENS_MAX);
    while tokens.len() < TOKENS_MAX {
        match lexer.next_token() {
            Ok(token) if token.kind == TokenKind::End || token.is_symbol(b';') => break,
            Ok(token) if token.kind == TokenKind::RoutingHint => {}
            Ok(token) => tokens.push(token),
            Err(_) => break,
        }
    }
    tokens
}

fn is_word(text: &[u8], token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|token| {
        matches!(token.kind, TokenKind::Word(_)) && token.text(text).eq_ignore_ascii_case(word.as_bytes())
    })
}

fn symbol(tokens: &[Token], index: usize, symbol: u8) -> bool {
    tokens.get(index).is_some_and(|token| token.is_symbol(symbol))
}

/// An operator's statement without the word SHARDWAY.
pub(super) fn without_prefix(statement: &str) -> &str {
    let statement = statement.trim_start();
    match statement.get(..8) {
        Some(word) if word.eq_ignore_ascii_case("SHARDWAY") => statement[8..].trim_start(),
        _ => statement,
    }
}
