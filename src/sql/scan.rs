//! One pass over a statement: kind, identity, literals, VALUES rows, hint, features, and where it ends. The identity
//! is a prefix-free encoding of the tokens with literals reduced to their class, so that two statements have the same
//! one only when they are the same but for literal values.

use super::kind::KindReader;
use super::lex::{Lexer, Token, TokenKind, is_blank, is_name_byte, symbol};
use super::{Context, Kind, Literal, LiteralClass, ScanError, Statement, Word, features, hint};

mod rows;

/// Beyond these the grammar is not asked: its stack and its time are in proportion.
const TOKENS_MAX: u32 = 200_000;
/// MySQL's own bound of tables in one join.
const JOINS_MAX: u32 = 61;
const SET_OPERATIONS_MAX: u32 = 400;
const OPERATORS_MAX: u32 = 3_000;
const DEPTH_MAX: u32 = 200;

/// Bytes that begin what has no spelling of its own in the identity. Names never contain them.
mod mark {
    /// Plus the literal's class: 1 to 9.
    pub(super) const LITERAL: u8 = 1;
    pub(super) const ROW: u8 = 0x0b;
    pub(super) const USER_VARIABLE: u8 = 0x0c;
    pub(super) const SYSTEM_VARIABLE: u8 = 0x0d;
    pub(super) const COMMENT: u8 = 0x0e;
    /// Behind a literal whose value is part of the identity.
    pub(super) const VALUE: u8 = 0x0f;
    pub(super) const DOLLAR_QUOTED: u8 = 0x1c;
    pub(super) const ROW_WORD: u8 = 0x1d;
    /// A value in a row that is a literal, NULL or DEFAULT.
    pub(super) const PLAIN_VALUE: u8 = 0x1e;
}

/// Fills `statement`, which must be clear.
pub(super) fn scan(statement: &mut Statement, text: &[u8], context: &Context) -> Result<(), ScanError> {
    if u32::try_from(text.len()).is_err() {
        return Err(ScanError::TooMany { what: "bytes", limit: u32::MAX as usize });
    }
    let trimmed = trim_end(text);
    Scanner {
        lexer: Lexer::new(trimmed, context),
        text: trimmed,
        kind: KindReader::default(),
        features: features::Reader::default(),
        depth: 0,
        previous: Word::Other,
        limit: false,
        by: None,
        head: Head::Before,
        after_point: false,
        counts: Counts::default(),
        out: statement,
    }
    .run()
}

/// Without the NUL, `;` and blanks at the end, as the server does it.
fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| !(byte == 0 || byte == b';' || is_blank(byte)));
    text.get(..end.map_or(0, |last| last + 1)).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Counts {
    tokens: u32,
    joins: u32,
    set_operations: u32,
    operators: u32,
    depth: u32,
}

impl Counts {
    #[inline]
    fn sign(&mut self, code: u8) {
        self.operators = self.operators.saturating_add(u32::from(is_operator(code)));
    }

    #[inline]
    fn word(&mut self, word: Word) {
        let count = match word {
            Word::Join | Word::StraightJoin => &mut self.joins,
            Word::Union | Word::Except | Word::Intersect | Word::Minus => &mut self.set_operations,
            Word::And | Word::Or | Word::Xor | Word::Div | Word::Mod | Word::Like | Word::Not => {
                &mut self.operators
            }
            _ => return,
        };
        *count = count.saturating_add(1);
    }

    fn too_complex(&self) -> Option<&'static str> {
        match self {
            Counts { joins, .. } if *joins > JOINS_MAX => Some("more than 61 joins"),
            Counts { set_operations, .. } if *set_operations > SET_OPERATIONS_MAX => {
                Some("more than 400 set operations")
            }
            Counts { operators, .. } if *operators > OPERATORS_MAX => Some("more than 3000 operators"),
            Counts { depth, .. } if *depth > DEPTH_MAX => Some("parentheses deeper than 200"),
            Counts { tokens, .. } if *tokens > TOKENS_MAX => Some("more than 200000 words and signs"),
            _ => None,
        }
    }
}

/// Where we are in the head of an INSERT, to know the VALUES that introduces rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// The table has not been named.
    Before,
    /// It has: VALUES begins rows.
    Named,
    /// No rows can follow any more.
    Past,
}

struct Scanner<'a, 's> {
    lexer: Lexer<'a>,
    text: &'a [u8],
    out: &'s mut Statement,
    kind: KindReader,
    features: features::Reader,
    depth: u32,
    /// The token before, if it was an unquoted word.
    previous: Word,
    /// Inside `LIMIT 1, 2`: values are part of the identity.
    limit: bool,
    /// The depth of the ORDER BY or GROUP BY list we are in, and whether an item begins here.
    by: Option<(u32, bool)>,
    head: Head,
    /// The token before was a point.
    after_point: bool,
    counts: Counts,
}

impl Scanner<'_, '_> {
    fn run(mut self) -> Result<(), ScanError> {
        let mut token = self.lexer.next_token()?;
        loop {
            if token.kind == TokenKind::End {
                break;
            }
            if token.is_symbol(b';') && self.ends_statement() {
                break;
            }
            self.token(token)?;
            if let Some(body) = self.kind.body() {
                body.token(token.text(self.text));
            }
            self.out.end = token.end;
            if self.begins_rows(&token) {
                self.out.values_at = token.start;
                self.head = Head::Past;
                token = self.rows()?;
                continue;
            }
            self.after_point = token.is_symbol(b'.');
            token = self.lexer.next_token()?;
        }
        // An executable comment that the last token is in belongs to the statement.
        let closed_at = u32::try_from(self.lexer.closed_at()).unwrap_or(0);
        self.out.end = self.out.end.max(closed_at);
        if token.is_symbol(b';') {
            self.out.semicolon = (!self.lexer.is_in_comment()).then_some(token.start);
            self.find_next();
        }
        self.out.kind = self.kind.kind();
        self.out.verb_at = self.kind.verb_at();
        self.features.finish(self.out.kind, &mut self.out.features);
        self.out.too_complex = self.counts.too_complex();
        Ok(())
    }

    /// Whether the `;` that was read is not one of a program's body.
    fn ends_statement(&mut self) -> bool {
        self.kind.body().is_none_or(|body| {
            body.token(b";");
            body.is_over()
        })
    }

    /// What follows the `;`; another one is what MySQL finds no statement for.
    fn find_next(&mut self) {
        self.out.next = match self.lexer.next_token() {
            Ok(token) if token.kind == TokenKind::End => None,
            Ok(token) => Some(token.start),
            Err(_) => u32::try_from(self.lexer.offset()).ok(),
        };
    }

    #[inline(always)]
    fn token(&mut self, token: Token) -> Result<(), ScanError> {
        self.counts.tokens = self.counts.tokens.saturating_add(1);
        match token.kind {
            TokenKind::Literal(class) => {
                self.out.literals.push(Literal { span: token.start..token.end, class });
                self.note_placeholder(&token, class);
                self.push_literal(&token, class);
                self.kind.token(&token, Word::Other, self.depth);
                self.features.other();
                self.previous = Word::Other;
            }
            TokenKind::RoutingHint => {
                let hint = self.out.hint.get_or_insert_default();
                hint::read(token.text(self.text), hint)
                    .map_err(|reason| ScanError::BadHint { offset: token.start as usize, reason })?;
                self.push(&token);
            }
            _ => {
                self.observe(&token);
                self.push(&token);
            }
        }
        Ok(())
    }

    /// Whether `token`, which has been read, is the VALUES in front of the rows of an INSERT.
    #[inline]
    fn begins_rows(&mut self, token: &Token) -> bool {
        if self.head == Head::Past || self.depth > 0 {
            return false;
        }
        if !matches!(self.kind.kind(), Kind::Insert | Kind::Replace) {
            if self.kind.is_known() {
                self.head = Head::Past;
            }
            return false;
        }
        match (token.kind, token.word()) {
            (_, Word::Set | Word::Select | Word::With | Word::Table | Word::On) => {
                self.head = Head::Past;
                false
            }
            (_, Word::Values) => true,
            (_, Word::Value) if self.head == Head::Named => !self.after_point,
            (
                _,
                Word::Insert
                | Word::Replace
                | Word::Into
                | Word::LowPriority
                | Word::HighPriority
                | Word::Delayed
                | Word::Ignore,
            ) => false,
            (TokenKind::Word(_) | TokenKind::Quoted, _) => {
                self.head = Head::Named;
                false
            }
            _ => false,
        }
    }

    /// What a token that is not a literal says about the statement.
    #[inline(always)]
    fn observe(&mut self, token: &Token) {
        let word = token.word();
        match token.kind {
            TokenKind::Symbol(b'(') => {
                self.depth += 1;
                self.counts.depth = self.counts.depth.max(self.depth);
                self.by = self.by.map(|(depth, _)| (depth, false));
            }
            TokenKind::Symbol(b')') => {
                self.depth = self.depth.saturating_sub(1);
                if self.by.is_some_and(|(depth, _)| self.depth < depth) {
                    self.by = None;
                }
            }
            TokenKind::Symbol(b',') => {
                let depth = self.depth;
                self.by = self.by.map(|(list, _)| (list, list == depth));
            }
            TokenKind::Symbol(code) => {
                self.by = self.by.map(|(depth, _)| (depth, false));
                self.counts.sign(code);
            }
            TokenKind::Word(_) if word != Word::Other => self.observe_word(word),
            _ => self.by = self.by.map(|(depth, _)| (depth, false)),
        }
        if !matches!(token.kind, TokenKind::Symbol(b',')) {
            self.limit = matches!(word, Word::Limit | Word::Offset)
                || (matches!(word, Word::First | Word::Next) && self.previous == Word::Fetch);
        }
        self.kind.token(token, word, self.depth);
        self.features.token(token, word, self.previous, self.text, &mut self.out.features);
        self.previous = word;
    }

    fn observe_word(&mut self, word: Word) {
        self.by = self.by.map(|(depth, _)| (depth, false));
        self.counts.word(word);
        match word {
            Word::By => self.by = Some((self.depth, true)),
            Word::Union
            | Word::Except
            | Word::Intersect
            | Word::Select
            | Word::Having
            | Word::Limit
            | Word::Window
            | Word::Into
            | Word::For => self.by = None,
            _ => {}
        }
    }

    #[inline]
    fn note_placeholder(&mut self, token: &Token, class: LiteralClass) {
        if class == LiteralClass::Placeholder {
            self.out.placeholders.push(token.start);
        }
    }

    #[inline]
    fn push_literal(&mut self, token: &Token, class: LiteralClass) {
        let identity = &mut self.out.identity;
        identity.push(mark::LITERAL + class as u8);
        if class == LiteralClass::IntroducedString {
            // The character set is not a value: `_utf8'x'` and `_latin1'x'` are different statements.
            let text = token.text(self.text);
            let length = text.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(text.len());
            identity.extend_from_slice(&text[..length]);
            identity.push(b' ');
        }
        let ordinal = self.by.is_some_and(|(depth, begins)| begins && depth == self.depth);
        if (self.limit || ordinal) && class == LiteralClass::Integer {
            identity.push(mark::VALUE);
            identity.extend_from_slice(token.text(self.text));
            identity.push(b' ');
        }
        self.by = self.by.map(|(depth, _)| (depth, false));
    }

    #[inline(always)]
    fn push(&mut self, token: &Token) {
        let identity = &mut self.out.identity;
        let text = token.text(self.text);
        match token.kind {
            TokenKind::Word(_) => {
                identity.extend_from_slice(text);
                identity.push(b' ');
            }
            TokenKind::Quoted => {
                identity.extend_from_slice(text);
                identity.push(b' ');
            }
            TokenKind::Symbol(code) if code >= b' ' || is_operator_code(code) => identity.push(code),
            TokenKind::Symbol(_) => {
                identity.push(0);
                identity.extend_from_slice(text);
            }
            TokenKind::UserVariable => {
                identity.push(mark::USER_VARIABLE);
                identity.extend_from_slice(text);
                identity.push(b' ');
            }
            TokenKind::SystemVariable => identity.push(mark::SYSTEM_VARIABLE),
            TokenKind::OptimizerHint | TokenKind::RoutingHint => {
                identity.push(mark::COMMENT);
                identity.extend_from_slice(text);
            }
            TokenKind::DollarQuoted => {
                identity.push(mark::DOLLAR_QUOTED);
                identity.extend_from_slice(text);
            }
            TokenKind::Literal(class) => identity.push(mark::LITERAL + class as u8),
            TokenKind::End => {}
        }
    }
}

fn is_operator_code(code: u8) -> bool {
    (symbol::ASSIGN..=symbol::BACKSLASH_N).contains(&code)
}

/// Operators that chain, so that an expression of many is as deep.
fn is_operator(code: u8) -> bool {
    matches!(code, b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'&' | b'^' | b'~' | b'!' | b'=' | b'<' | b'>')
        || is_operator_code(code)
}

#[cfg(test)]
mod tests;
