//! Tokens between quotes: strings and what introduces them, quoted names, digits in quotes, dollar-quoted bodies.

use super::{Lexer, Skipped, TokenKind, is_name_byte};
use crate::sql::{Charset, Flavor, LiteralClass, ScanError};

impl Lexer<'_> {
    /// Behind a charset's name: a literal makes it an introducer, anything else leaves it a name.
    pub(super) fn introduced(&mut self, name: TokenKind) -> TokenKind {
        let back = (self.at, self.executable, self.closed_at);
        match self.skip_blanks(false) {
            Skipped::Blanks => {
                let kind = match (self.byte(0), self.byte(1)) {
                    (Some(b'\''), _) => self.strings(),
                    (Some(b'"'), _) if !self.context.mode.ansi_quotes => self.strings(),
                    (Some(b'x' | b'X'), Some(b'\'')) => self.quoted_digits(LiteralClass::Hex),
                    (Some(b'b' | b'B'), Some(b'\'')) => self.quoted_digits(LiteralClass::Bit),
                    (Some(b'0'), Some(b'x' | b'b')) => self.number(),
                    _ => name,
                };
                match kind {
                    TokenKind::Literal(_) => return TokenKind::Literal(LiteralClass::IntroducedString),
                    TokenKind::End => return kind,
                    _ => {}
                }
            }
            Skipped::Hint { .. } => {}
            Skipped::Failed => return TokenKind::End,
        }
        (self.at, self.executable, self.closed_at) = back;
        name
    }

    /// `x'41'`, `b'01'`
    pub(super) fn quoted_digits(&mut self, class: LiteralClass) -> TokenKind {
        let start = self.at;
        self.at += 2;
        let Some(length) = memchr::memchr(b'\'', self.rest()) else {
            return self.unterminated("literal", start);
        };
        self.at += length + 1;
        TokenKind::Literal(class)
    }

    /// One string and those that follow with nothing but blanks between: they are one literal.
    pub(super) fn strings(&mut self) -> TokenKind {
        let mut class = LiteralClass::String;
        loop {
            let Some(end) = self.string_end() else { return self.unterminated("string", self.at) };
            self.at = end;
            // Most strings are followed by one of these; looking further is not needed then.
            if matches!(self.byte(0), Some(b',' | b')' | b';') | None) {
                return TokenKind::Literal(class);
            }
            let back = (self.at, self.executable, self.closed_at);
            let joins = match self.skip_blanks(false) {
                Skipped::Blanks => match self.byte(0) {
                    Some(b'\'') => true,
                    Some(b'"') => !self.context.mode.ansi_quotes,
                    _ => false,
                },
                Skipped::Hint { .. } => false,
                Skipped::Failed => return TokenKind::End,
            };
            if !joins {
                (self.at, self.executable, self.closed_at) = back;
                return TokenKind::Literal(class);
            }
            class = LiteralClass::JoinedString;
        }
    }

    /// Behind the string that begins here, if it ends.
    pub(super) fn string_end(&self) -> Option<usize> {
        let quote = self.byte(0)?;
        let escapes = !self.context.mode.no_backslash_escapes;
        let multibyte = self.context.charset != Charset::AsciiSafe;
        let mut at = self.at + 1;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let found = if multibyte {
                rest.iter().position(|&b| b == quote || b == b'\\' || self.context.charset.is_lead(b))
            } else if escapes {
                memchr::memchr2(quote, b'\\', rest)
            } else {
                memchr::memchr(quote, rest)
            };
            at += found?;
            match self.text[at] {
                byte if byte == quote && self.text.get(at + 1) == Some(&quote) => at += 2,
                byte if byte == quote => return Some(at + 1),
                b'\\' if escapes => at += 2,
                _ => at += self.context.charset.character_length(&self.text[at..]),
            }
        }
    }

    /// A name in quotes: doubled quotes are part of it, backslashes are letters.
    pub(super) fn quoted_name(&mut self, quote: u8) -> TokenKind {
        let start = self.at;
        self.at += 1;
        loop {
            let Some(byte) = self.byte(0) else { return self.unterminated("quoted name", start) };
            if byte == quote {
                self.at += 1;
                if self.byte(0) != Some(quote) {
                    return TokenKind::Quoted;
                }
                self.at += 1;
            } else if self.context.charset.is_lead(byte) {
                // Servers disagree about a broken character here: some take the quote into it.
                match self.context.charset.character_length(self.rest()) {
                    1 => return self.unterminated("quoted name", start),
                    length => self.at += length,
                }
            } else {
                self.at += 1;
            }
        }
    }

    /// The end of a body between `$$` or `$tag$`, as MySQL 9 has them for programs in other languages.
    pub(super) fn dollar_quoted(&self) -> Result<Option<usize>, ScanError> {
        const SINCE: u32 = 90_000;
        if self.context.flavor != Flavor::MySql || self.context.server_version < SINCE {
            return Ok(None);
        }
        let rest = self.rest();
        let Some(length) = rest.iter().skip(1).position(|&byte| byte == b'$' || !is_name_byte(byte)) else {
            return Ok(None);
        };
        if rest.get(length + 1) != Some(&b'$') {
            return Ok(None);
        }
        let (tag, body) = rest.split_at(length + 2);
        match memchr::memmem::find(body, tag) {
            Some(found) => Ok(Some(self.at + tag.len() + found + tag.len())),
            None => Err(ScanError::Unterminated { what: "dollar-quoted string", offset: self.at }),
        }
    }
}
