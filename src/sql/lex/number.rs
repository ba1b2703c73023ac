//! Tokens that begin with a digit or a point: numbers, hex and bit literals, and names such as `1a`.

use super::{Lexer, TokenKind, is_name_byte};
use crate::sql::LiteralClass;

impl Lexer<'_> {
    /// A token that begins with a digit: a number, or a name such as `1a`.
    pub(super) fn number(&mut self) -> TokenKind {
        let start = self.at;
        if self.byte(0) == Some(b'0')
            && let Some(class) = self.prefixed_digits()
        {
            return TokenKind::Literal(class);
        }
        self.digits();
        match self.byte(0) {
            Some(b'.') => {
                self.at += 1;
                self.fraction()
            }
            Some(b'e' | b'E') if self.exponent() => TokenKind::Literal(LiteralClass::Float),
            Some(byte) if is_name_byte(byte) => self.name(start),
            _ => TokenKind::Literal(LiteralClass::Integer),
        }
    }

    /// `0x41`, `0b01`; with other letters behind it is a name.
    pub(super) fn prefixed_digits(&mut self) -> Option<LiteralClass> {
        let (class, is_digit): (_, fn(&u8) -> bool) = match self.byte(1)? {
            b'x' => (LiteralClass::Hex, u8::is_ascii_hexdigit),
            b'b' => (LiteralClass::Bit, |byte| matches!(byte, b'0' | b'1')),
            _ => return None,
        };
        let digits = self.text.get(self.at + 2..).unwrap_or_default();
        let length = digits.iter().position(|byte| !is_digit(byte)).unwrap_or(digits.len());
        if length == 0 || digits.get(length).copied().is_some_and(is_name_byte) {
            return None;
        }
        self.at += 2 + length;
        Some(class)
    }

    pub(super) fn digits(&mut self) {
        while self.byte(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// Behind the point of a number.
    pub(super) fn fraction(&mut self) -> TokenKind {
        self.digits();
        match self.byte(0) {
            Some(b'e' | b'E') if self.exponent() => TokenKind::Literal(LiteralClass::Float),
            _ => TokenKind::Literal(LiteralClass::Decimal),
        }
    }

    /// Passes over `e5`, `e+5`; stays where it is without a digit.
    pub(super) fn exponent(&mut self) -> bool {
        let sign = usize::from(matches!(self.byte(1), Some(b'+' | b'-')));
        if !self.byte(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
            return false;
        }
        self.at += 1 + sign;
        self.digits();
        true
    }
}
