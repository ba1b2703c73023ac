//! A statement without its values: for logs, sessions lists and errors. Bounded, always valid UTF-8.

use super::Context;
use super::lex::{Lexer, TokenKind};

/// `text` with literals as `?` and runs of blanks and comments as one blank, at most about `characters_max` long.
/// What has no end (a string without its quote) is left out from there on.
pub(crate) fn redact(text: &[u8], context: &Context, characters_max: usize) -> String {
    let mut lexer = Lexer::new(text, context);
    let mut redacted = String::new();
    let mut characters = 0;
    let mut end = 0;
    loop {
        let token = match lexer.next_token() {
            Ok(token) if token.kind == TokenKind::End => return redacted,
            Ok(token) => token,
            Err(_) => {
                redacted.push('…');
                return redacted;
            }
        };
        if token.start > end && !redacted.is_empty() {
            redacted.push(' ');
            characters += 1;
        }
        end = token.end;
        let shown = match token.kind {
            TokenKind::Literal(_) | TokenKind::DollarQuoted => "?".into(),
            // Backquotes only quote names, but a name in double quotes can be a value under another sql_mode.
            TokenKind::Quoted if token.text(text).first() == Some(&b'"') => "?".into(),
            _ => String::from_utf8_lossy(token.text(text)),
        };
        for character in shown.chars() {
            if characters >= characters_max {
                redacted.push('…');
                return redacted;
            }
            redacted.push(if character.is_control() { ' ' } else { character });
            characters += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Charset, Flavor, SqlMode};
    use super::*;

    const CONTEXT: Context = Context {
        mode: SqlMode {
            ansi_quotes: false,
            no_backslash_escapes: false,
            pipes_as_concat: false,
            ignore_space: false,
            high_not_precedence: false,
        },
        charset: Charset::AsciiSafe,
        flavor: Flavor::MySql,
        server_version: 80_400,
    };

    #[test]
    fn values_do_not_show() {
        let text = b"SELECT a,'secret' 'too', 0x41 FROM `t` /* note */ WHERE x=-5 AND y LIKE N'z'";
        assert_eq!(redact(text, &CONTEXT, 200), "SELECT a,?, ? FROM `t` WHERE x=-? AND y LIKE ?");
    }

    #[test]
    fn what_has_no_end_does_not_show() {
        assert_eq!(redact(b"SELECT 'sec", &CONTEXT, 200), "SELECT…");
    }

    #[test]
    fn the_length_is_bounded_and_bytes_become_text() {
        assert_eq!(redact(b"SELECT aaaaaaaaaa", &CONTEXT, 9), "SELECT aa…");
        assert_eq!(redact(b"SELECT \xe9", &CONTEXT, 20), "SELECT \u{fffd}");
    }
}
