//! The statements of one COM_QUERY: one, or several where the client may send them (CLIENT_MULTI_STATEMENTS, COM_SET_OPTION).
//! Each is scanned, planned and routed on its own; the first error ends the chain, as on a server.

use bytes::Bytes;

use super::metrics::StatementResult;
use super::run::{End, Session};
use crate::error::ClientError;
use crate::executor::{Call, Reply, Stream};
use crate::sql::{Context, Flavor, Kind, Statement};

/// How much of a text MySQL's error 1064 quotes.
const NEAR_BYTES_MAX: usize = 80;

impl<S: Stream> Session<S> {
    /// COM_QUERY.
    pub(super) async fn query(&mut self, text: Bytes) -> Result<(), End> {
        // A KILL QUERY from before meant another statement; one that comes between two of a chain ends the chain.
        self.registration.alarm().lower(Call::EndStatement);
        let mut statement = std::mem::take(&mut self.statement);
        let mut rest = Some(text);
        let mut result = Ok(());
        while let Some(text) = rest.take() {
            match self.statement_of(text, &mut statement).await {
                Ok(following) => rest = following,
                Err(end) => result = Err(end),
            }
        }
        self.client.announce_more(false);
        self.statement = statement;
        result
    }

    /// Runs the first statement of `text`; gives what follows it, unless the chain has ended.
    async fn statement_of(&mut self, text: Bytes, statement: &mut Statement) -> Result<Option<Bytes>, End> {
        let scanned = statement.scan(&text, self.variables.context());
        let (mut own, mut rest) = (text, None);
        if scanned.is_ok() && (statement.next.is_some() || statement.semicolon.is_some()) {
            if let Some(at) = where_reading_stops(statement, self.multi_statements) {
                let error = syntax_error(&own, at as usize, self.variables.context());
                return self.refuse(&error).await.map(|()| None);
            }
            if let Some(semicolon) = statement.semicolon.filter(|_| self.multi_statements) {
                rest = Some(following(&own, semicolon as usize));
                own.truncate(semicolon as usize);
            }
        }
        self.client.announce_more(rest.is_some());
        self.run_statement(&own, scanned, statement).await?;
        if rest.is_some() && self.registration.alarm().is_raised(Call::EndSession) {
            return Err(End::Dismissed(ClientError::new("SW1506", "the session was killed")));
        }
        Ok(rest.filter(|_| self.account.result == StatementResult::Ok))
    }

    /// COM_SET_OPTION.
    pub(super) async fn set_option(&mut self, option: u16) -> Result<(), End> {
        match option {
            0 | 1 => self.multi_statements = option == 0,
            _ => return self.refuse(&ClientError::new("SW1101", "Unknown command")).await,
        }
        let status = self.status();
        Ok(self.client.reply(Reply::End { status }).await?)
    }
}

/// Where MySQL would find an error of syntax: an empty statement in front of another, a second statement that is not allowed.
pub(super) fn where_reading_stops(statement: &Statement, multi_statements: bool) -> Option<u32> {
    match statement.semicolon {
        Some(semicolon) if statement.kind == Kind::Empty => Some(semicolon),
        Some(_) if multi_statements => None,
        Some(_) | None => statement.next,
    }
}

/// What a server takes as the next statement: comments alone are one.
fn following(text: &Bytes, semicolon: usize) -> Bytes {
    let behind = semicolon + 1;
    let blanks = text[behind..].iter().take_while(|byte| is_blank(**byte)).count();
    text.slice(behind + blanks..)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// MySQL's error 1064 about what stands at byte `at`.
pub(super) fn syntax_error(text: &[u8], at: usize, context: &Context) -> ClientError {
    let end = text.iter().rposition(|&byte| byte != b';' && !is_blank(byte)).map_or(at, |last| last + 1);
    let near = text.get(at..end.max(at)).unwrap_or_default();
    let quoted = String::from_utf8_lossy(&near[..near.len().min(NEAR_BYTES_MAX)]);
    let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
    let (product, near) = match context.flavor {
        Flavor::MariaDb if near.len() > NEAR_BYTES_MAX => {
            ("MariaDB", format!("{}...", String::from_utf8_lossy(&near[..NEAR_BYTES_MAX - 3])))
        }
        Flavor::MariaDb => ("MariaDB", quoted.into_owned()),
        Flavor::MySql => ("MySQL", quoted.into_owned()),
    };
    let detail = format!(
        "You have an error in your SQL syntax; check the manual that corresponds to your {product} server version for the \
         right syntax to use near '{near}' at line {line}"
    );
    ClientError::new("SW1209", detail)
}
