//! What only the session can say, put into statements as values before they are routed: its id, the counts and the id that its
//! last statement left, its user. Whichever connection runs the statement would answer for itself.

use std::ops::Range;

use bytes::Bytes;

use super::run::Session;
use super::settle::asked_number;
use super::variables::quoted;
use crate::backend::BackendError;
use crate::error::ClientError;
use crate::executor::{Failure, Stream};
use crate::sql::{self, Charset, Feature, Kind, SessionMention, SessionMentions, SessionValue};

/// MySQL's longest alias; names that texts give are cut there, too.
const ALIAS_CHARS_MAX: usize = 255;

/// Features of statements that ask for a value of the session's.
const ASKING: [Feature; 6] = [
    Feature::LastInsertId,
    Feature::RowCount,
    Feature::FoundRows,
    Feature::ConnectionId,
    Feature::SessionUser,
    Feature::Diagnostics,
];

impl<S: Stream> Session<S> {
    /// The statement with the session's own values in it; `None` when it asks for none, or only for what is carried to its
    /// connection (LAST_INSERT_ID, where the text cannot be changed).
    pub(super) async fn with_own_values(
        &mut self,
        text: &Bytes,
        statement: &sql::Statement,
    ) -> Result<Option<(Bytes, sql::Statement)>, Failure> {
        let features = statement.features;
        let kind = matches!(
            statement.kind,
            Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete | Kind::Do | Kind::Call
        );
        if !kind || !ASKING.iter().any(|feature| features.has(*feature)) {
            return Ok(None);
        }
        let context = *self.variables.context();
        let mentions = match sql::session_values(text, statement, &context) {
            Ok(mentions) => mentions,
            Err(error) => {
                let carried = [Feature::RowCount, Feature::FoundRows, Feature::ConnectionId];
                if !carried.iter().any(|feature| features.has(*feature)) {
                    return Ok(None);
                }
                let detail =
                    format!("a function about the session in a statement that cannot be read: {error}");
                return Err(Failure::Refused(ClientError::new("SW1306", detail)));
            }
        };
        if features.has(Feature::FoundRows) {
            self.learn_found_rows().await?;
        }
        let Some(changed) = self.replaced(text, mentions, context.charset)? else { return Ok(None) };
        let mut inner = sql::Statement::seeded(self.shared.seed);
        match inner.scan(&changed, &context) {
            Ok(()) => Ok(Some((changed.into(), inner))),
            Err(error) => Err(Failure::Refused(ClientError::new("SW1201", error.to_string()))),
        }
    }

    /// `text` with values for what it mentions, and with names for the columns that would lose theirs.
    pub(super) fn replaced(
        &self,
        text: &[u8],
        mentions: SessionMentions,
        charset: Charset,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut edits: Vec<(Range<u32>, Vec<u8>)> = Vec::new();
        for mention in mentions.list {
            if let Some(value) = self.own_value(&mention) {
                edits.push((mention.span, value));
            }
        }
        if edits.is_empty() {
            return Ok(None);
        }
        for span in mentions.unnamed {
            let name = text.get(span.start as usize..span.end as usize).unwrap_or_default();
            edits.push((span.end..span.end, alias(name, charset)?));
        }
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new)| (span.clone(), new.as_slice())).collect();
        Ok(Some(sql::splice(text, &edits)))
    }

    fn own_value(&self, mention: &SessionMention) -> Option<Vec<u8>> {
        let conditions = &self.diagnostics.conditions;
        let number = match mention.value {
            SessionValue::ConnectionId => u64::from(self.registration.id()),
            SessionValue::LastInsertId => self.diagnostics.last_insert_id,
            SessionValue::FoundRows => return Some(signed(mention, i128::from(self.diagnostics.found_rows))),
            SessionValue::RowCount => return Some(signed(mention, i128::from(self.diagnostics.row_count))),
            // A connection that is kept for them knows them.
            SessionValue::WarningCount | SessionValue::ErrorCount if self.holds_diagnostics() => return None,
            SessionValue::WarningCount => u64::from(self.diagnostics.warnings).max(conditions.len() as u64),
            SessionValue::ErrorCount => {
                conditions.iter().filter(|condition| condition.is_error()).count() as u64
            }
            SessionValue::User => {
                let user = format!("{}@{}", self.user.name, self.registration.peer().ip());
                return Some(quoted(user.as_bytes(), "utf8mb4"));
            }
        };
        Some(match mention.typed {
            // Of the functions' own type on every server, also where it is long: BIGINT UNSIGNED with 21 digits.
            true => format!("({number} & ~0)").into_bytes(),
            false => number.to_string().into_bytes(),
        })
    }

    /// The number that SQL_CALC_FOUND_ROWS made the server count, if it has not been asked for yet.
    pub(super) async fn learn_found_rows(&mut self) -> Result<(), BackendError> {
        if !std::mem::take(&mut self.diagnostics.counted_on_server) {
            return Ok(());
        }
        let Some(held) = self.held.iter_mut().find(|held| held.diagnostics) else { return Ok(()) };
        if let Some(number) = asked_number(held.lease.connection(), b"SELECT FOUND_ROWS()").await? {
            self.diagnostics.found_rows = number;
        }
        Ok(())
    }
}

fn signed(mention: &SessionMention, number: i128) -> Vec<u8> {
    match mention.typed {
        // The length of the text is that of the type: BIGINT with 21 characters.
        true => format!("CAST('{number:+021}' AS SIGNED)").into_bytes(),
        // A minus behind another minus would begin a comment.
        false => format!("({number})").into_bytes(),
    }
}

/// ` AS` the text that named a column before.
fn alias(name: &[u8], charset: Charset) -> Result<Vec<u8>, ClientError> {
    if !name.is_ascii() && charset != Charset::AsciiSafe {
        let detail = "a function about the session in a column without a name, in a character set whose letters may hold a quote";
        return Err(ClientError::new("SW1306", detail));
    }
    let end =
        String::from_utf8_lossy(name).char_indices().nth(ALIAS_CHARS_MAX).map_or(name.len(), |(at, _)| at);
    let mut alias = b" AS `".to_vec();
    for byte in name.get(..end).unwrap_or(name) {
        alias.push(*byte);
        if *byte == b'`' {
            alias.push(b'`');
        }
    }
    alias.push(b'`');
    Ok(alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_and_cut() {
        let alias =
            |name: &str| String::from_utf8(alias(name.as_bytes(), Charset::AsciiSafe).unwrap()).unwrap();
        assert_eq!(alias("`ROW_COUNT`()"), " AS ```ROW_COUNT``()`");
        assert_eq!(alias(&"x".repeat(300)).len(), " AS ``".len() + ALIAS_CHARS_MAX);
        assert!(super::alias("é".as_bytes(), Charset::Gbk).is_err());
    }
}
