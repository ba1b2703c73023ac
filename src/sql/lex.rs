//! MySQL's lexical rules over bytes: one token at a time, no allocation, no panic, linear in the text. Comments and
//! blanks are passed over, the content of executable comments that apply is tokens, adjacent strings and introducers
//! are one literal. Knows no grammar but where an optimizer hint may stand.

use super::{Charset, Context, Flavor, LiteralClass, ScanError, Word, comment, context::is_charset_name};

mod number;
mod quoted;

/// One token; `start..end` are bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// An unquoted name, perhaps a keyword.
    Word(Word),
    /// `` `x` ``, or `"x"` under ANSI_QUOTES.
    Quoted,
    Literal(LiteralClass),
    /// `@x`, `` @`x` ``, `@'x'`
    UserVariable,
    /// `@@`; what follows is words and points.
    SystemVariable,
    /// A byte of punctuation, or one of the codes in [`symbol`].
    Symbol(u8),
    /// `/*+ … */` behind a verb.
    OptimizerHint,
    /// `/* shardway: … */`
    RoutingHint,
    /// A body between `$$` or `$tag$`.
    DollarQuoted,
    End,
}

/// Codes of operators that have several characters.
pub(crate) mod symbol {
    pub(crate) const ASSIGN: u8 = 0x10;
    pub(crate) const NULL_SAFE_EQUAL: u8 = 0x11;
    pub(crate) const LESS_EQUAL: u8 = 0x12;
    pub(crate) const GREATER_EQUAL: u8 = 0x13;
    pub(crate) const NOT_EQUAL: u8 = 0x14;
    pub(crate) const SHIFT_LEFT: u8 = 0x15;
    pub(crate) const SHIFT_RIGHT: u8 = 0x16;
    pub(crate) const AND: u8 = 0x17;
    pub(crate) const PIPES: u8 = 0x18;
    pub(crate) const ARROW: u8 = 0x19;
    pub(crate) const LONG_ARROW: u8 = 0x1a;
    /// MariaDB's `\N`.
    pub(crate) const BACKSLASH_N: u8 = 0x1b;
}

/// The tokens of a text up to its end, or to what cannot be read; without hints for routing.
pub(crate) fn tokens<'a>(text: &'a [u8], context: &'a Context) -> impl Iterator<Item = Token> + 'a {
    let mut lexer = Lexer::new(text, context);
    let next = move || lexer.next_token().ok().filter(|token| token.kind != TokenKind::End);
    std::iter::from_fn(next).filter(|token| token.kind != TokenKind::RoutingHint)
}

impl Token {
    pub(crate) fn text<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    pub(crate) fn word(&self) -> Word {
        match self.kind {
            TokenKind::Word(word) => word,
            _ => Word::Other,
        }
    }

    pub(crate) fn is_symbol(&self, code: u8) -> bool {
        self.kind == TokenKind::Symbol(code)
    }

    /// Whether it can be the name of something.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, TokenKind::Word(_) | TokenKind::Quoted)
    }
}

const BLANK: u8 = 1;
const LETTER: u8 = 2;
const DIGIT: u8 = 4;
/// May begin a comment, or end one.
const COMMENT: u8 = 8;
/// A letter that begins a literal or another special token in some places.
const PREFIX: u8 = 16;
/// Punctuation that is a token by itself, whatever follows.
const SINGLE: u8 = 32;
/// Letters, digits, `_`, `$` and bytes beyond ASCII: all that an unquoted name is made of.
const NAME: u8 = LETTER | DIGIT;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        classes[byte] = if b == b' ' || (b >= 9 && b <= 13) {
            BLANK
        } else if b.is_ascii_digit() {
            DIGIT
        } else if matches!(b, b'n' | b'N' | b'x' | b'X' | b'b' | b'B' | b'_' | b'$') {
            LETTER | PREFIX
        } else if b.is_ascii_alphabetic() || b >= 0x80 {
            LETTER
        } else if matches!(b, b'#' | b'-' | b'*' | b'/') {
            COMMENT
        } else if matches!(b, b',' | b'(' | b')' | b'=' | b'+' | b';' | b'%') {
            SINGLE
        } else {
            0
        };
        byte += 1;
    }
    classes
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

pub(crate) fn is_blank(byte: u8) -> bool {
    is(byte, BLANK)
}

pub(crate) fn is_name_byte(byte: u8) -> bool {
    is(byte, NAME)
}

/// What stood before a token.
enum Skipped {
    Blanks,
    Hint {
        kind: TokenKind,
        start: usize,
    },
    /// A comment without end; the lexer holds the failure.
    Failed,
}

/// A position in the text and what the next token depends on.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    context: Context,
    /// Inside an executable comment whose content is tokens.
    executable: bool,
    /// The last token was a verb: an optimizer hint may follow.
    after_verb: bool,
    /// A point directly behind a name was the last token: digits begin a name, keywords are names.
    part: bool,
    /// Where the last name ended.
    name_end: usize,
    /// Behind the last executable comment that was left.
    closed_at: usize,
    /// Where the token that was just read begins.
    start: usize,
    /// Why there are no more tokens; the functions below give `End` with it. (A `Result` through all of them made
    /// every token go through memory, which cost half of the time of a scan.)
    failure: Option<ScanError>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], context: &Context) -> Lexer<'a> {
        Lexer::at(text, context, 0)
    }

    /// Begins at byte `offset`, which must not be inside a token or comment.
    pub(crate) fn at(text: &'a [u8], context: &Context, offset: usize) -> Lexer<'a> {
        Lexer {
            text,
            at: offset,
            context: *context,
            executable: false,
            after_verb: false,
            part: false,
            name_end: usize::MAX,
            closed_at: 0,
            start: offset,
            failure: None,
        }
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Inside an executable comment whose content is tokens.
    pub(crate) fn is_in_comment(&self) -> bool {
        self.executable
    }

    /// Behind the last executable comment that was left, else 0.
    pub(crate) fn closed_at(&self) -> usize {
        self.closed_at
    }

    /// The next token; at the end of the text `End`, as often as asked.
    #[inline(always)]
    pub(crate) fn next_token(&mut self) -> Result<Token, ScanError> {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.start = self.at;
        // Most tokens are plain names, integers and punctuation: they need none of what the other way looks at.
        let class = self.text.get(self.at).map_or(0, |&byte| CLASSES[usize::from(byte)]);
        let kind = if class == LETTER && self.context.charset == Charset::AsciiSafe {
            self.part = false;
            let kind = self.name(self.at);
            self.note(kind);
            kind
        } else if class == SINGLE {
            self.part = false;
            self.after_verb = false;
            self.at += 1;
            TokenKind::Symbol(self.text[self.start])
        } else {
            let kind = self.any_token();
            self.note(kind);
            kind
        };
        if kind == TokenKind::End
            && let Some(failure) = self.failure.clone()
        {
            return Err(failure);
        }
        Ok(self.token(kind, self.start))
    }

    fn any_token(&mut self) -> TokenKind {
        let part = std::mem::take(&mut self.part);
        let after_verb = std::mem::take(&mut self.after_verb);
        if self.byte(0).is_some_and(|byte| is(byte, BLANK | COMMENT)) {
            match self.skip_blanks(after_verb) {
                Skipped::Blanks => self.start = self.at,
                Skipped::Hint { kind, start } => {
                    self.start = start;
                    return kind;
                }
                Skipped::Failed => return TokenKind::End,
            }
        }
        let Some(&byte) = self.text.get(self.at) else { return self.finish() };
        if is(byte, LETTER) {
            self.letter(byte)
        } else if !is(byte, DIGIT) {
            self.other(byte)
        } else if part {
            self.name(self.at)
        } else {
            self.number()
        }
    }

    /// The text has no token here.
    #[cold]
    fn fail(&mut self, failure: ScanError) -> TokenKind {
        self.failure = Some(failure);
        TokenKind::End
    }

    #[cold]
    fn unterminated(&mut self, what: &'static str, offset: usize) -> TokenKind {
        self.fail(ScanError::Unterminated { what, offset })
    }

    /// What the token after this one depends on.
    #[inline]
    fn note(&mut self, kind: TokenKind) {
        match kind {
            TokenKind::Word(word) => {
                self.after_verb =
                    matches!(word, Word::Select | Word::Insert | Word::Replace | Word::Update | Word::Delete);
                self.name_end = self.at;
            }
            TokenKind::Quoted => self.name_end = self.at,
            TokenKind::Symbol(b'.') => {
                self.part = self.start == self.name_end && self.byte(0).is_some_and(is_name_byte);
            }
            _ => {}
        }
    }

    #[inline]
    fn token(&self, kind: TokenKind, start: usize) -> Token {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Token { kind, start: clamp(start), end: clamp(self.at) }
    }

    fn finish(&mut self) -> TokenKind {
        if self.executable { self.unterminated("comment", self.at) } else { TokenKind::End }
    }

    /// The byte `ahead` of the position.
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks and comments; a hint is a token.
    fn skip_blanks(&mut self, after_verb: bool) -> Skipped {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                _ if is(byte, BLANK) => self.at += 1,
                b'#' => self.at = comment::line_end(self.text, self.at),
                b'-' if comment::is_dash_comment(self.rest()) => {
                    self.at = comment::line_end(self.text, self.at);
                }
                b'*' if self.executable && self.byte(1) == Some(b'/') => {
                    self.executable = false;
                    self.at += 2;
                    self.closed_at = self.at;
                }
                b'/' if self.byte(1) == Some(b'*') => {
                    let start = self.at;
                    let comment = match comment::read(self.text, self.at, &self.context) {
                        Ok(comment) => comment,
                        Err(failure) => {
                            self.fail(failure);
                            return Skipped::Failed;
                        }
                    };
                    self.at = comment.continues_at;
                    match comment.kind {
                        comment::CommentKind::Plain => {}
                        comment::CommentKind::Executable => self.executable = true,
                        comment::CommentKind::Routing => {
                            return Skipped::Hint { kind: TokenKind::RoutingHint, start };
                        }
                        comment::CommentKind::Optimizer if after_verb => {
                            return Skipped::Hint { kind: TokenKind::OptimizerHint, start };
                        }
                        comment::CommentKind::Optimizer => {}
                    }
                }
                _ => break,
            }
        }
        Skipped::Blanks
    }

    /// A token that begins with a letter: a name, or a literal with a prefix.
    fn letter(&mut self, byte: u8) -> TokenKind {
        let start = self.at;
        if self.byte(1) == Some(b'\'') {
            match byte {
                b'n' | b'N' => {
                    self.at += 1;
                    return match self.strings() {
                        TokenKind::Literal(_) => TokenKind::Literal(LiteralClass::IntroducedString),
                        failed => failed,
                    };
                }
                b'x' | b'X' => return self.quoted_digits(LiteralClass::Hex),
                b'b' | b'B' => return self.quoted_digits(LiteralClass::Bit),
                _ => {}
            }
        }
        if byte == b'$' {
            match self.dollar_quoted() {
                Ok(Some(end)) => {
                    self.at = end;
                    return TokenKind::DollarQuoted;
                }
                Ok(None) => {}
                Err(failure) => return self.fail(failure),
            }
        }
        let kind = self.name(start);
        if byte == b'_' && is_charset_name(self.text.get(start + 1..self.at).unwrap_or_default()) {
            return self.introduced(kind);
        }
        kind
    }

    #[inline]
    fn name(&mut self, start: usize) -> TokenKind {
        if self.context.charset == Charset::AsciiSafe {
            // A local position: the field would be stored at every byte.
            let mut at = self.at;
            while self.text.get(at).is_some_and(|&byte| is_name_byte(byte)) {
                at += 1;
            }
            self.at = at;
        } else {
            while let Some(&byte) = self.text.get(self.at)
                && is_name_byte(byte)
            {
                self.at += self.context.charset.character_length(self.rest());
            }
        }
        TokenKind::Word(Word::at(self.text, start, self.at))
    }

    /// Quotes, variables and punctuation.
    fn other(&mut self, byte: u8) -> TokenKind {
        match byte {
            b'\'' => self.strings(),
            b'"' if !self.context.mode.ansi_quotes => self.strings(),
            b'"' | b'`' => self.quoted_name(byte),
            b'@' => self.variable(),
            b'?' => {
                self.at += 1;
                TokenKind::Literal(LiteralClass::Placeholder)
            }
            b'.' if self.at != self.name_end && self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) => {
                self.at += 1;
                self.fraction()
            }
            // MySQL drops one of the two, MariaDB reads both: it stands for nothing here.
            b'!' if self.byte(1) == Some(b'!') && self.context.flavor == Flavor::MySql => {
                self.at += 2;
                TokenKind::Symbol(0)
            }
            _ => {
                let (code, length) = symbol_of(self.rest());
                self.at += length;
                TokenKind::Symbol(code)
            }
        }
    }

    fn variable(&mut self) -> TokenKind {
        self.at += 1;
        let quoted = match self.byte(0) {
            Some(b'@') => {
                self.at += 1;
                return TokenKind::SystemVariable;
            }
            Some(b'`') => self.quoted_name(b'`'),
            Some(b'"') if self.context.mode.ansi_quotes => self.quoted_name(b'"'),
            Some(b'\'' | b'"') => match self.string_end() {
                Some(end) => {
                    self.at = end;
                    TokenKind::UserVariable
                }
                None => self.unterminated("string", self.at),
            },
            _ => {
                while self.byte(0).is_some_and(|byte| is_name_byte(byte) || byte == b'.') {
                    self.at += self.context.charset.character_length(self.rest());
                }
                TokenKind::UserVariable
            }
        };
        if quoted == TokenKind::End { quoted } else { TokenKind::UserVariable }
    }
}

/// The operator that `bytes` begins with, and its length. Bytes must not be empty.
fn symbol_of(bytes: &[u8]) -> (u8, usize) {
    let first = bytes.first().copied().unwrap_or_default();
    match (first, bytes.get(1).copied().unwrap_or_default()) {
        (b':', b'=') => (symbol::ASSIGN, 2),
        (b'<', b'=') if bytes.get(2) == Some(&b'>') => (symbol::NULL_SAFE_EQUAL, 3),
        (b'<', b'=') => (symbol::LESS_EQUAL, 2),
        (b'>', b'=') => (symbol::GREATER_EQUAL, 2),
        (b'<', b'>') | (b'!', b'=') => (symbol::NOT_EQUAL, 2),
        (b'<', b'<') => (symbol::SHIFT_LEFT, 2),
        (b'>', b'>') => (symbol::SHIFT_RIGHT, 2),
        (b'&', b'&') => (symbol::AND, 2),
        (b'|', b'|') => (symbol::PIPES, 2),
        (b'-', b'>') if bytes.get(2) == Some(&b'>') => (symbol::LONG_ARROW, 3),
        (b'-', b'>') => (symbol::ARROW, 2),
        (b'\\', b'N') => (symbol::BACKSLASH_N, 2),
        // A byte that is an operator's code stands for nothing; it must not pass for the operator.
        (0x10..=0x1b, _) => (0, 1),
        _ => (first, 1),
    }
}

#[cfg(test)]
mod tests;
