//! Reading of SQL for the bench and the fuzz target: text in, identity out.

use crate::sql::{Charset, Context, Flavor, SqlMode, Statement};

/// A scan that is reused, as in a session.
#[derive(Default)]
pub struct Reader {
    statement: Statement,
}

fn context(choice: u8) -> Context {
    let bit = |number: u8| choice & (1 << number) != 0;
    Context {
        mode: SqlMode {
            ansi_quotes: bit(0),
            no_backslash_escapes: bit(1),
            pipes_as_concat: bit(2),
            ignore_space: false,
            high_not_precedence: bit(3),
        },
        charset: match (bit(4), bit(5)) {
            (false, false) => Charset::AsciiSafe,
            (true, false) => Charset::Gbk,
            (false, true) => Charset::Gb18030,
            (true, true) => Charset::Sjis,
        },
        flavor: if bit(6) { Flavor::MariaDb } else { Flavor::MySql },
        server_version: if bit(6) { 101_119 } else { 80_406 },
    }
}

impl Reader {
    /// The fingerprint and where the statement ends; `None` when it cannot be scanned. `choice` is a set of modes.
    pub fn fingerprint(&mut self, text: &[u8], choice: u8) -> Option<(u128, u32)> {
        self.statement.scan(text, &context(choice)).ok()?;
        Some((self.statement.fingerprint, self.statement.end))
    }

    /// Whether the scanned text has an AST.
    pub fn parse(&mut self, text: &[u8], choice: u8) -> bool {
        crate::sql::parse(text, &self.statement, &context(choice)).is_ok()
    }

    /// Runs every reader over the scanned text; checks that what they say lies in the text.
    pub fn read_all(&mut self, text: &[u8], choice: u8) {
        let (context, statement) = (context(choice), &self.statement);
        let length = text.len();
        assert!(statement.end as usize <= length, "the end lies in the text");
        assert!(statement.next.is_none_or(|next| next as usize <= length), "so does the next statement");
        for literal in &statement.literals {
            assert!(literal.span.start < literal.span.end && literal.span.end as usize <= length);
            // Here and below: an error is as good as a value, only a panic is a finding.
            let _ = crate::sql::decode(text, literal, &context);
        }
        for row in &statement.rows {
            assert!(row.values.start <= row.values.end && row.values.end as usize <= statement.values.len());
        }
        let _ = crate::sql::outline(text, statement, &context);
        let _ = crate::sql::assignments(text, statement, &context);
        let _ = crate::sql::control(text, statement, &context);
        let _ = crate::sql::transaction_settings(text, statement, &context);
        let shown = crate::sql::redact(text, &context, 100);
        assert!(shown.chars().count() <= 102, "redaction is bounded");
    }
}
