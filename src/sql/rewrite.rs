//! A statement's tokens as sqlparser takes them. Forms that its grammar lacks become forms with the same meaning for
//! planning; the text itself is never changed. Locations are byte offsets: line 1, column offset + 1.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token as Fed, TokenWithSpan, Word as FedWord};

use super::lex::{Token, TokenKind, symbol};
use super::{Context, Kind, LiteralClass, Statement, Word, literal};

/// The byte offset of a place in the AST.
pub(crate) fn offset_of(location: Location) -> Option<u32> {
    (location.line == 1).then(|| u32::try_from(location.column.checked_sub(1)?).ok()).flatten()
}

/// The tokens for the parser.
pub(super) fn rewrite(
    text: &[u8],
    statement: &Statement,
    context: &Context,
    tokens: &[Token],
) -> Vec<TokenWithSpan> {
    let mut rewriter = Rewriter {
        text,
        statement,
        context,
        tokens,
        at: 0,
        out: Vec::with_capacity(tokens.len() + 8),
        depth: 0,
        verb_depth: None,
        update_head: false,
    };
    while rewriter.at < tokens.len() {
        rewriter.step();
    }
    rewriter.out
}

struct Rewriter<'a> {
    text: &'a [u8],
    statement: &'a Statement,
    context: &'a Context,
    tokens: &'a [Token],
    at: usize,
    out: Vec<TokenWithSpan>,
    depth: u32,
    /// The depth at which the statement's verb stands, once it was read.
    verb_depth: Option<u32>,
    /// Between UPDATE and SET, where a comma is a join.
    update_head: bool,
}

impl Rewriter<'_> {
    fn token(&self, ahead: usize) -> Token {
        const END: Token = Token { kind: TokenKind::End, start: u32::MAX, end: u32::MAX };
        self.tokens.get(self.at + ahead).copied().unwrap_or(END)
    }

    fn word(&self, ahead: usize) -> Word {
        self.token(ahead).word()
    }

    fn before(&self) -> Option<Token> {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).copied()
    }

    /// Adds `fed` for the bytes of `token`.
    fn feed(&mut self, fed: Fed, token: Token) {
        let location = |offset: u32| Location { line: 1, column: u64::from(offset) + 1 };
        self.out
            .push(TokenWithSpan { token: fed, span: Span::new(location(token.start), location(token.end)) });
    }

    fn feed_word(&mut self, word: &str, token: Token) {
        self.feed(Fed::make_word(word, None), token);
    }

    fn step(&mut self) {
        let token = self.token(0);
        match token.kind {
            TokenKind::Word(word) => {
                if self.before().is_some_and(|before| before.is_symbol(b'.')) {
                    let value = literal::to_text(token.text(self.text));
                    self.feed(
                        Fed::Word(FedWord { value, quote_style: None, keyword: Keyword::NoKeyword }),
                        token,
                    );
                    self.at += 1;
                } else if !self.repaired_word(word, token) {
                    self.feed_word(&literal::to_text(token.text(self.text)), token);
                    self.at += 1;
                }
            }
            TokenKind::Quoted => {
                let raw = token.text(self.text);
                // Also where sql_mode makes a name of `"x"`: in the tree the other quotes mean a string.
                self.feed(Fed::make_word(&literal::unquote_name(raw), Some('`')), token);
                self.at += 1;
            }
            TokenKind::Literal(class) => {
                let fed = self.literal(token, class);
                self.feed(fed, token);
                self.at += 1;
            }
            TokenKind::UserVariable => {
                self.feed(Fed::Placeholder(literal::to_text(token.text(self.text))), token);
                self.at += 1;
            }
            TokenKind::SystemVariable => self.system_variable(token),
            TokenKind::Symbol(code) => self.symbol(code, token),
            TokenKind::OptimizerHint | TokenKind::RoutingHint => self.at += 1,
            TokenKind::DollarQuoted | TokenKind::End => {
                self.feed(Fed::Char('$'), token);
                self.at += 1;
            }
        }
    }

    fn literal(&self, token: Token, class: LiteralClass) -> Fed {
        let raw = token.text(self.text);
        match class {
            LiteralClass::Integer | LiteralClass::Decimal | LiteralClass::Float => {
                Fed::Number(literal::to_text(raw), false)
            }
            LiteralClass::Hex => Fed::HexStringLiteral(literal::to_text(raw)),
            LiteralClass::Bit => Fed::SingleQuotedByteStringLiteral(literal::to_text(raw)),
            LiteralClass::Placeholder => Fed::Placeholder("?".to_owned()),
            LiteralClass::IntroducedString => Fed::NationalStringLiteral(literal::to_text(raw)),
            LiteralClass::String | LiteralClass::JoinedString => {
                let value = literal::to_text(&literal::string_bytes(raw, self.context));
                match raw.first() {
                    Some(b'"') => Fed::DoubleQuotedString(value),
                    _ => Fed::SingleQuotedString(value),
                }
            }
        }
    }

    /// `@@session.x` is one placeholder.
    fn system_variable(&mut self, first: Token) {
        self.at += 1;
        let mut last = first;
        while self.token(0).is_name() {
            last = self.token(0);
            self.at += 1;
            if !self.token(0).is_symbol(b'.') {
                break;
            }
            self.at += 1;
        }
        let whole = Token { end: last.end, ..first };
        self.feed(Fed::Placeholder(literal::to_text(whole.text(self.text))), whole);
    }

    /// Words that need a repair; `false` leaves the word to be fed as it is.
    fn repaired_word(&mut self, word: Word, token: Token) -> bool {
        if token.start == self.statement.verb_at && self.verb_depth.is_none() {
            self.verb_depth = Some(self.depth);
            if self.verb(word, token) {
                return true;
            }
        }
        if token.start == self.statement.values_at && !self.statement.rows.is_empty() {
            self.feed_word("VALUES", token);
            self.at += 1;
            if self.word(0) == Word::Row {
                self.at += 1;
            }
            return true;
        }
        match word {
            Word::Other => return false,
            Word::Select => self.select(token),
            Word::DistinctRow => self.replace("DISTINCT", token, 1),
            Word::Lock if self.word(1) == Word::In && self.word(2) == Word::Share => {
                self.feed_word("FOR", token);
                self.replace("SHARE", token, if self.word(3) == Word::Mode { 4 } else { 3 });
            }
            Word::For if matches!(self.word(1), Word::Update | Word::Share) && self.word(2) == Word::Of => {
                self.locked_tables(token);
            }
            Word::Into if self.token(1).kind == TokenKind::UserVariable => {
                self.at += 2;
                while self.token(0).is_symbol(b',') && self.token(1).kind == TokenKind::UserVariable {
                    self.at += 2;
                }
            }
            Word::Mod if self.is_infix() => {
                self.feed(Fed::Mod, token);
                self.at += 1;
            }
            Word::Signed | Word::Unsigned if matches!(self.word(1), Word::Int | Word::Integer) => {
                self.feed_word(if word == Word::Signed { "SIGNED" } else { "UNSIGNED" }, token);
                self.at += 2;
            }
            Word::Character if self.word(1) == Word::Set && self.token(2).is_name() => self.at += 3,
            Word::Charset if self.token(1).is_name() && self.follows_type() => self.at += 2,
            Word::Dual if self.before().is_some_and(|before| before.word() == Word::From) => {
                self.out.pop();
                self.at += 1;
            }
            Word::Table if self.begins_query() => {
                for piece in ["SELECT", "*", "FROM"] {
                    let fed = if piece == "*" { Fed::Mul } else { Fed::make_word(piece, None) };
                    self.feed(fed, token);
                }
                self.at += 1;
            }
            Word::Set => {
                self.update_head = false;
                return false;
            }
            unit if unit.is_compound_unit() => self.replace("SECOND", token, 1),
            _ => return false,
        }
        true
    }

    fn replace(&mut self, word: &str, token: Token, tokens: usize) {
        self.feed_word(word, token);
        self.at += tokens;
    }

    /// The statement's verb: modifiers that do not change where it goes are left out.
    fn verb(&mut self, word: Word, token: Token) -> bool {
        let modifiers: &[Word] = match self.statement.kind {
            Kind::Update => &[Word::LowPriority, Word::Ignore],
            Kind::Delete => &[Word::LowPriority, Word::Quick, Word::Ignore],
            Kind::Insert | Kind::Replace => &[Word::LowPriority, Word::HighPriority, Word::Delayed],
            _ => return false,
        };
        self.feed_word(&literal::to_text(token.text(self.text)), token);
        self.at += 1;
        while modifiers.contains(&self.word(0)) {
            self.at += 1;
        }
        // With RIGHT JOIN the comma's looser binding would show, with USING and NATURAL the columns that it has in reach.
        self.update_head = word == Word::Update
            && !self
                .tokens
                .iter()
                .skip(self.at)
                .take_while(|token| token.word() != Word::Set)
                .any(|token| matches!(token.word(), Word::Right | Word::Using | Word::Natural));
        true
    }

    /// SELECT and its modifiers; only DISTINCT matters to a plan.
    fn select(&mut self, token: Token) {
        self.feed_word("SELECT", token);
        self.at += 1;
        loop {
            let modifier = self.token(0);
            match modifier.word() {
                Word::All
                | Word::HighPriority
                | Word::StraightJoin
                | Word::SqlSmallResult
                | Word::SqlBigResult
                | Word::SqlBufferResult
                | Word::SqlCache
                | Word::SqlNoCache
                | Word::SqlCalcFoundRows => self.at += 1,
                Word::Distinct | Word::DistinctRow => self.replace("DISTINCT", modifier, 1),
                _ if modifier.kind == TokenKind::OptimizerHint => self.at += 1,
                _ => return,
            }
        }
    }

    /// `FOR UPDATE OF a, b.c`: which tables are locked does not matter.
    fn locked_tables(&mut self, token: Token) {
        self.feed_word("FOR", token);
        let strength = self.token(1);
        self.feed_word(if strength.word() == Word::Share { "SHARE" } else { "UPDATE" }, strength);
        self.at += 3;
        while self.token(0).is_name() {
            self.at += 1;
            if !(self.token(0).is_symbol(b',') || self.token(0).is_symbol(b'.')) {
                break;
            }
            self.at += 1;
        }
    }

    /// Whether MOD stands between operands instead of naming the function.
    fn is_infix(&self) -> bool {
        if !self.token(1).is_symbol(b'(') {
            return true;
        }
        self.before().is_some_and(|before| {
            matches!(
                before.kind,
                TokenKind::Literal(_)
                    | TokenKind::Quoted
                    | TokenKind::UserVariable
                    | TokenKind::Symbol(b')')
                    | TokenKind::Word(Word::Other)
            )
        })
    }

    /// Whether a type such as `CHAR` or `CHAR(10)` ends here.
    fn follows_type(&self) -> bool {
        self.before().is_some_and(|before| before.is_symbol(b')') || before.word() == Word::Char)
    }

    /// Whether TABLE here is a query of its own.
    fn begins_query(&self) -> bool {
        let Some(before) = self.before() else { return true };
        let insert = matches!(self.statement.kind, Kind::Insert | Kind::Replace) && self.depth == 0;
        insert
            || before.is_symbol(b'(')
            || matches!(
                before.word(),
                Word::Union | Word::All | Word::Distinct | Word::Except | Word::Intersect
            )
            || (before.is_symbol(b')') && token_is_verb(self.statement, self.token(0)))
    }

    fn symbol(&mut self, code: u8, token: Token) {
        self.at += 1;
        let fed = match code {
            b'(' => {
                self.depth += 1;
                Fed::LParen
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                Fed::RParen
            }
            b',' if self.update_head && self.verb_depth == Some(self.depth) => {
                self.feed_word("CROSS", token);
                self.feed_word("JOIN", token);
                return;
            }
            b'.' if self.is_deleted_table() => {
                self.at += 1;
                return;
            }
            b'{' => return self.escape(token),
            b'}' => return,
            symbol::PIPES if !self.context.mode.pipes_as_concat => Fed::make_word("OR", None),
            symbol::AND => Fed::make_word("AND", None),
            symbol::BACKSLASH_N => Fed::make_word("NULL", None),
            _ => plain_symbol(code),
        };
        self.feed(fed, token);
    }

    /// `DELETE t.* FROM …`: the point has been read.
    fn is_deleted_table(&self) -> bool {
        self.statement.kind == Kind::Delete
            && self.verb_depth == Some(self.depth)
            && self.token(0).is_symbol(b'*')
    }

    /// `{d '2024-01-01'}` is DATE '2024-01-01'; the word of other escapes means nothing.
    fn escape(&mut self, brace: Token) {
        let word = self.token(0);
        let temporal = match word.text(self.text).to_ascii_lowercase().as_slice() {
            b"d" => "DATE",
            b"t" => "TIME",
            b"ts" => "TIMESTAMP",
            _ if word.is_name() => "",
            _ => {
                self.feed(Fed::LBrace, brace);
                return;
            }
        };
        if !temporal.is_empty() {
            self.feed_word(temporal, word);
        }
        self.at += 1;
    }
}

fn token_is_verb(statement: &Statement, token: Token) -> bool {
    token.start == statement.verb_at
}

fn plain_symbol(code: u8) -> Fed {
    match code {
        b',' => Fed::Comma,
        b'.' => Fed::Period,
        b'=' => Fed::Eq,
        b'<' => Fed::Lt,
        b'>' => Fed::Gt,
        b'+' => Fed::Plus,
        b'-' => Fed::Minus,
        b'*' => Fed::Mul,
        b'/' => Fed::Div,
        b'%' => Fed::Mod,
        b'&' => Fed::Ampersand,
        b'|' => Fed::Pipe,
        b'^' => Fed::Caret,
        b'~' => Fed::Tilde,
        b'!' => Fed::ExclamationMark,
        b':' => Fed::Colon,
        b';' => Fed::SemiColon,
        symbol::ASSIGN => Fed::Assignment,
        symbol::NULL_SAFE_EQUAL => Fed::Spaceship,
        symbol::LESS_EQUAL => Fed::LtEq,
        symbol::GREATER_EQUAL => Fed::GtEq,
        symbol::NOT_EQUAL => Fed::Neq,
        symbol::SHIFT_LEFT => Fed::ShiftLeft,
        symbol::SHIFT_RIGHT => Fed::ShiftRight,
        symbol::PIPES => Fed::StringConcat,
        symbol::ARROW => Fed::Arrow,
        symbol::LONG_ARROW => Fed::LongArrow,
        _ => Fed::Char(char::from(code)),
    }
}
