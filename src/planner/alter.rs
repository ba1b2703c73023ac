//! ALTER TABLE of a sharded table, as far as it is about the shard key: rows stand where the old column's values put them.

use crate::sql::{self, Context, Token, TokenKind};
use crate::topology::ColumnType;

/// Why the definition must not be carried out; `None` when it leaves the key as it is.
pub(super) fn changes_key(
    text: &[u8],
    context: &Context,
    key: &str,
    kind: Option<&ColumnType>,
) -> Option<String> {
    let clauses = Clauses { text, tokens: tokens(text, context) };
    let at_top = clauses.top_level();
    at_top.iter().find_map(|at| clauses.change(*at, key, kind))
}

fn tokens(text: &[u8], context: &Context) -> Vec<Token> {
    let mut lexer = sql::Lexer::new(text, context);
    let mut tokens = Vec::new();
    while let Ok(token) = lexer.next_token()
        && token.kind != TokenKind::End
    {
        tokens.push(token);
    }
    tokens
}

struct Clauses<'t> {
    text: &'t [u8],
    tokens: Vec<Token>,
}

impl Clauses<'_> {
    /// Places of the tokens outside of parentheses.
    fn top_level(&self) -> Vec<usize> {
        let mut depth = 0_u32;
        let mut places = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            match token.kind {
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') => depth = depth.saturating_sub(1),
                _ if depth == 0 => places.push(at),
                _ => {}
            }
        }
        places
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            matches!(token.kind, TokenKind::Word(_))
                && token.text(self.text).eq_ignore_ascii_case(word.as_bytes())
        })
    }

    fn is_name(&self, at: usize, name: &str) -> bool {
        let Some(token) = self.tokens.get(at).filter(|token| token.is_name()) else { return false };
        let written = token.text(self.text);
        if !name.is_ascii() {
            // In the client's character set it may be written in other bytes.
            return !written.is_ascii();
        }
        let bare = match written {
            [b'`', inner @ .., b'`'] | [b'"', inner @ .., b'"'] => inner,
            plain => plain,
        };
        bare.eq_ignore_ascii_case(name.replace('`', "``").as_bytes())
    }

    /// Behind `COLUMN` and `IF EXISTS`, as far as they stand at `at`.
    fn column_at(&self, mut at: usize) -> usize {
        if self.is_word(at, "COLUMN") {
            at += 1;
        }
        if self.is_word(at, "IF") && self.is_word(at + 1, "EXISTS") {
            at += 2;
        }
        at
    }

    fn change(&self, at: usize, key: &str, kind: Option<&ColumnType>) -> Option<String> {
        let name = self.column_at(at + 1);
        if self.is_word(at, "CONVERT") && self.is_word(at + 1, "TO") {
            let is_text = !matches!(kind, Some(ColumnType::Integer { .. } | ColumnType::Binary { .. }));
            return is_text.then(|| format!("CONVERT TO of a table whose shard key {key} is text"));
        }
        if !self.is_name(name, key) {
            return None;
        }
        if self.is_word(at, "DROP") {
            return Some(format!("dropping {key}, the shard key"));
        }
        if self.is_word(at, "RENAME") && self.is_word(at + 1, "COLUMN") {
            return Some(format!("renaming {key}, the shard key"));
        }
        let new_type = match (self.is_word(at, "MODIFY"), self.is_word(at, "CHANGE")) {
            (true, _) => name + 1,
            (_, true) if self.is_name(name + 1, key) => name + 2,
            (_, true) => return Some(format!("renaming {key}, the shard key")),
            _ => return None,
        };
        let kept = kind
            .zip(self.integer(new_type))
            .is_some_and(|(old, new)| matches!(old, ColumnType::Integer { .. }) && new.keeps(old));
        (!kept).then(|| format!("a new type of {key}, the shard key"))
    }

    /// The integer type that is written at `at`.
    fn integer(&self, at: usize) -> Option<ColumnType> {
        const TYPES: [(&str, u8); 6] = [
            ("TINYINT", 8),
            ("SMALLINT", 16),
            ("MEDIUMINT", 24),
            ("INT", 32),
            ("INTEGER", 32),
            ("BIGINT", 64),
        ];
        let (_, bits) = TYPES.iter().find(|(word, _)| self.is_word(at, word))?;
        let unsigned = (at..self.tokens.len())
            .take_while(|at| !self.tokens[*at].is_symbol(b','))
            .any(|at| self.is_word(at, "UNSIGNED") || self.is_word(at, "ZEROFILL"));
        Some(ColumnType::Integer { bits: *bits, unsigned })
    }
}
