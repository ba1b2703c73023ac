//! The rows of INSERT … VALUES: walked, never parsed. A row whose values are literals, NULL or DEFAULT adds nothing but
//! its arity to the identity; other rows add their tokens; a row that adds the same as the one before adds nothing.

use std::ops::Range;

use super::super::lex::{Token, TokenKind};
use super::super::{LiteralClass, Row, ScanError, Word};
use super::{Scanner, mark};

/// One value while it is read.
struct ValueInProgress {
    start: u32,
    end: u32,
    /// The length of the identity before it.
    mark: usize,
    tokens: u32,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Nothing,
    Sign,
    /// A literal, a signed number, NULL or DEFAULT.
    Plain,
    Expression,
}

impl Scanner<'_, '_> {
    /// Reads all rows; gives the first token behind them.
    pub(super) fn rows(&mut self) -> Result<Token, ScanError> {
        let mut before: Option<Range<usize>> = None;
        let mut token = self.next_in_rows()?;
        loop {
            let start = token.start;
            let begin = self.out.identity.len();
            self.out.identity.push(mark::ROW);
            if token.word() == Word::Row {
                self.out.identity.push(mark::ROW_WORD);
                self.out.end = token.end;
                token = self.next_in_rows()?;
            }
            if !token.is_symbol(b'(') {
                return Ok(token);
            }
            self.row(start)?;
            let range = begin..self.out.identity.len();
            match before {
                Some(ref other) if self.out.identity[other.clone()] == self.out.identity[range.clone()] => {
                    self.out.identity.truncate(begin);
                }
                _ => before = Some(range),
            }
            token = self.next_in_rows()?;
            if !token.is_symbol(b',') {
                return Ok(token);
            }
            self.out.end = token.end;
            token = self.next_in_rows()?;
        }
    }

    /// The next token; hints are taken out of the way.
    fn next_in_rows(&mut self) -> Result<Token, ScanError> {
        loop {
            let token = self.lexer.next_token()?;
            if token.kind != TokenKind::RoutingHint {
                return Ok(token);
            }
            self.token(token)?;
        }
    }

    /// One row; its opening parenthesis has been read.
    fn row(&mut self, start: u32) -> Result<(), ScanError> {
        let first = self.out.values.len();
        let mut depth = 0_u32;
        let mut value = self.begin_value();
        self.previous = Word::Other;
        let end = loop {
            let token = self.next_in_rows()?;
            match token.kind {
                TokenKind::End => {
                    return Err(ScanError::Unterminated { what: "row", offset: start as usize });
                }
                TokenKind::Symbol(b')') if depth == 0 => {
                    if value.tokens > 0 || self.out.values.len() > first {
                        self.end_value(&value);
                    }
                    break token.end;
                }
                TokenKind::Symbol(b',') if depth == 0 => {
                    self.end_value(&value);
                    self.out.identity.push(b',');
                    value = self.begin_value();
                    continue;
                }
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') => depth -= 1,
                _ => {}
            }
            if self.out.rows.is_empty() {
                self.count_parsed(&token, depth);
            }
            self.value_token(&mut value, &token);
        };
        self.out.identity.push(b')');
        self.out.end = end;
        let index = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let values = index(first)..index(self.out.values.len());
        self.out.rows.push(Row { span: start..end, values });
        Ok(())
    }

    /// The first row is given to the grammar, so it is bounded like the rest.
    fn count_parsed(&mut self, token: &Token, depth: u32) {
        self.counts.tokens = self.counts.tokens.saturating_add(1);
        self.counts.depth = self.counts.depth.max(depth);
        match token.kind {
            TokenKind::Symbol(code) => self.counts.sign(code),
            TokenKind::Word(word) => self.counts.word(word),
            _ => {}
        }
    }

    fn begin_value(&self) -> ValueInProgress {
        ValueInProgress { start: 0, end: 0, mark: self.out.identity.len(), tokens: 0, shape: Shape::Nothing }
    }

    fn value_token(&mut self, value: &mut ValueInProgress, token: &Token) {
        if value.tokens == 0 {
            value.start = token.start;
        }
        value.end = token.end;
        value.tokens += 1;
        value.shape = match (value.shape, token.kind) {
            (Shape::Nothing, TokenKind::Literal(_) | TokenKind::Word(Word::Null | Word::Default)) => {
                Shape::Plain
            }
            (Shape::Nothing, TokenKind::Symbol(b'-' | b'+')) => Shape::Sign,
            (
                Shape::Sign,
                TokenKind::Literal(LiteralClass::Integer | LiteralClass::Decimal | LiteralClass::Float),
            ) => Shape::Plain,
            _ => Shape::Expression,
        };
        if let TokenKind::Literal(class) = token.kind {
            self.note_placeholder(token, class);
        } else {
            self.features.token(token, token.word(), self.previous, self.text, &mut self.out.features);
        }
        self.previous = token.word();
        self.push(token);
    }

    fn end_value(&mut self, value: &ValueInProgress) {
        if value.shape == Shape::Plain {
            self.out.identity.truncate(value.mark);
            self.out.identity.push(mark::PLAIN_VALUE);
        }
        self.out.values.push(value.start..value.end);
    }
}
