//! Variables of the proxy's own: servers know nothing of them. There is one, `shardway_transaction_mode`.

use super::run::Session;
use crate::config::TransactionMode;
use crate::error::ClientError;
use crate::executor::Stream;
use crate::sql::{self, AssignedValue, Kind};

/// How a transaction that writes on several shards ends.
pub(super) const MODE: &str = "shardway_transaction_mode";

/// The longest question for it.
const ASKING_BYTES_MAX: usize = 256;

impl<S: Stream> Session<S> {
    /// From the next transaction on; DEFAULT is what the settings say.
    pub(super) fn set_mode(&mut self, value: &AssignedValue) -> Result<(), ClientError> {
        if self.transaction.is_active() {
            let detail = format!("{MODE} can't be changed while a transaction is in progress");
            return Err(ClientError::new("SW1308", detail));
        }
        self.transaction_mode = mode_of(value)?;
        Ok(())
    }
}

fn mode_of(value: &AssignedValue) -> Result<Option<TransactionMode>, ClientError> {
    let shown = match value {
        AssignedValue::Default => return Ok(None),
        AssignedValue::Literal { plain, .. } => String::from_utf8_lossy(plain),
        AssignedValue::Expression { .. } | AssignedValue::Absent => "an expression".into(),
    };
    let unknown =
        || ClientError::new("SW1314", format!("Variable '{MODE}' can't be set to the value of '{shown}'"));
    TransactionMode::of_name(&shown).map(Some).ok_or_else(unknown)
}

/// `SELECT @@[SESSION.]shardway_transaction_mode [[AS] name]`, with the name of its column.
pub(super) fn asks_for_mode(text: &[u8], statement: &sql::Statement) -> Option<String> {
    if statement.kind != Kind::Select || text.len() > ASKING_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(text.get(..statement.end as usize)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (select, asked) = (words.next()?, words.next()?);
    let name = asked.strip_prefix("@@")?.to_ascii_lowercase();
    let name = name.strip_prefix("session.").or(name.strip_prefix("local.")).unwrap_or(&name);
    if !select.eq_ignore_ascii_case("SELECT") || name != MODE {
        return None;
    }
    let column = match (words.next(), words.next(), words.next()) {
        (None, ..) => asked,
        (Some(alias), None, _) => alias,
        (Some(word), Some(alias), None) if word.eq_ignore_ascii_case("AS") => alias,
        _ => return None,
    };
    Some(column.trim_matches('`').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Charset, Context, Flavor, SqlMode};

    #[test]
    fn the_mode_is_asked_for_by_name() {
        let asked = |text: &str| {
            let mut statement = sql::Statement::default();
            let context = Context {
                mode: SqlMode::default(),
                charset: Charset::default(),
                flavor: Flavor::MySql,
                server_version: 80_400,
            };
            statement.scan(text.as_bytes(), &context).unwrap();
            asks_for_mode(text.as_bytes(), &statement)
        };
        assert_eq!(
            asked("SELECT @@shardway_transaction_mode").as_deref(),
            Some("@@shardway_transaction_mode")
        );
        assert_eq!(asked("select @@Session.Shardway_Transaction_Mode AS `mode`;").as_deref(), Some("mode"));
        assert_eq!(asked("SELECT @@shardway_transaction_mode FROM t"), None);
        assert_eq!(asked("SELECT @@version"), None);
    }
}
