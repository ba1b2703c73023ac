//! A statement's tokens under a cursor, for the readers that need no grammar.

use std::ops::Range;

use super::lex::{Lexer, Token, TokenKind};
use super::{Context, LiteralClass, ParseError, ScanError, Statement, Word, literal, redact};

pub(super) struct Cursor<'a> {
    text: &'a [u8],
    context: &'a Context,
    tokens: Vec<Token>,
    at: usize,
    end: u32,
}

impl<'a> Cursor<'a> {
    /// Begins at the statement's verb.
    pub(super) fn new(
        text: &'a [u8],
        statement: &Statement,
        context: &'a Context,
    ) -> Result<Cursor<'a>, ParseError> {
        let mut cursor = Cursor { text, context, tokens: Vec::new(), at: 0, end: statement.end };
        if let Err(failure) = cursor.fill(statement) {
            return Err(ParseError {
                offset: 0,
                near: String::new(),
                reason: failure.to_string(),
                too_complex: false,
            });
        }
        Ok(cursor)
    }

    fn fill(&mut self, statement: &Statement) -> Result<(), ScanError> {
        let mut lexer = Lexer::new(self.text, self.context);
        loop {
            let token = lexer.next_token()?;
            if token.kind == TokenKind::End || token.start >= statement.end {
                return Ok(());
            }
            let hint = matches!(token.kind, TokenKind::OptimizerHint | TokenKind::RoutingHint);
            if token.start >= statement.verb_at && !hint {
                self.tokens.push(token);
            }
        }
    }

    pub(super) fn peek(&self) -> Token {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, count: usize) -> Token {
        let end = Token { kind: TokenKind::End, start: self.end, end: self.end };
        self.tokens.get(self.at + count).copied().unwrap_or(end)
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len());
        token
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The offset behind the last token that was read.
    pub(super) fn behind(&self) -> u32 {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.end)
    }

    pub(super) fn eat(&mut self, word: Word) -> bool {
        let found = self.peek().word() == word && word != Word::Other;
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn eat_any(&mut self, words: &[Word]) -> Option<Word> {
        let word = self.peek().word();
        (word != Word::Other && words.contains(&word)).then(|| {
            self.at += 1;
            word
        })
    }

    pub(super) fn eat_all(&mut self, words: &[Word]) -> bool {
        let found = words.iter().enumerate().all(|(ahead, word)| self.ahead(ahead).word() == *word);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(super) fn eat_symbol(&mut self, code: u8) -> bool {
        let found = self.peek().is_symbol(code);
        if found {
            self.at += 1;
        }
        found
    }

    /// Eats an unquoted word that has no entry of its own.
    pub(super) fn eat_text(&mut self, word: &str) -> bool {
        let found = self.is_text(word);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn is_text(&self, word: &str) -> bool {
        let token = self.peek();
        matches!(token.kind, TokenKind::Word(_))
            && token.text(self.text).eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn expect(&mut self, word: Word, expected: &str) -> Result<(), ParseError> {
        if self.eat(word) { Ok(()) } else { Err(self.expected(expected)) }
    }

    pub(super) fn expect_end(&self) -> Result<(), ParseError> {
        if self.is_at_end() { Ok(()) } else { Err(self.expected("the end")) }
    }

    /// A name, quoted or not.
    pub(super) fn name(&mut self) -> Result<String, ParseError> {
        let token = self.peek();
        let name = self.name_of(token).ok_or_else(|| self.expected("a name"))?;
        self.at += 1;
        Ok(name)
    }

    pub(super) fn name_of(&self, token: Token) -> Option<String> {
        match token.kind {
            TokenKind::Quoted => Some(literal::unquote_name(token.text(self.text))),
            TokenKind::Word(_) => Some(literal::to_text(token.text(self.text))),
            _ => None,
        }
    }

    /// A name or a string, as MySQL takes either for character sets and accounts.
    pub(super) fn name_or_string(&mut self) -> Result<String, ParseError> {
        let token = self.peek();
        if let TokenKind::Literal(LiteralClass::String | LiteralClass::JoinedString) = token.kind {
            self.at += 1;
            return Ok(literal::to_text(&literal::string_bytes(token.text(self.text), self.context)));
        }
        self.name()
    }

    pub(super) fn text(&self, span: Range<u32>) -> &'a [u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }

    pub(super) fn expected(&self, what: &str) -> ParseError {
        const NEAR_CHARACTERS_MAX: usize = 40;
        let token = self.peek();
        ParseError {
            offset: token.start as usize,
            near: redact::redact(token.text(self.text), self.context, NEAR_CHARACTERS_MAX),
            reason: format!("expected {what}"),
            too_complex: false,
        }
    }
}
