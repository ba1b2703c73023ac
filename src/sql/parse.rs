//! Text to sqlparser's AST: the only call into the parser. Bounds are checked before, the rows of an INSERT beyond the
//! first are never parsed, and nothing that the grammar leaves unread is accepted.

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token as Fed;

use super::dialect::RepairedDialect;
use super::lex::{Lexer, Token, TokenKind};
use super::{Context, Kind, ScanError, Statement, redact, rewrite};

/// Nesting that the parser follows before it gives up.
const RECURSION_MAX: usize = 100;

/// Why a statement has no AST.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the statement cannot be read at byte {offset} near `{near}`: {reason}")]
pub(crate) struct ParseError {
    /// Where reading stopped.
    pub(crate) offset: usize,
    /// The word there; `?` for a literal, empty at the end.
    pub(crate) near: String,
    pub(crate) reason: String,
    /// The statement is beyond a bound; nothing is wrong with its form.
    pub(crate) too_complex: bool,
}

/// Parses a SELECT, INSERT, REPLACE, UPDATE or DELETE that was scanned from the same text.
/// `statement.slot_at(offset_of(value.span.start))` is the slot of a literal in the AST.
pub(crate) fn parse(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<ast::Statement, ParseError> {
    let error = |offset: usize, reason: &str, too_complex: bool| ParseError {
        offset,
        near: near(text, context, offset, statement.end as usize),
        reason: reason.to_owned(),
        too_complex,
    };
    if let Some(reason) = statement.too_complex {
        return Err(error(0, reason, true));
    }
    if !matches!(statement.kind, Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete) {
        return Err(error(0, "it is not a SELECT, INSERT, REPLACE, UPDATE or DELETE", false));
    }
    let tokens = tokens(text, statement, context).map_err(|failure| error(0, &failure.to_string(), false))?;
    let fed = rewrite::rewrite(text, statement, context, &tokens);
    let dialect = RepairedDialect { high_not_precedence: context.mode.high_not_precedence };
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(fed);
    let parsed = parser.parse_statement().map_err(|failure| {
        let (offset, reason, too_complex) = explain(&failure, statement);
        error(offset, &reason, too_complex)
    })?;
    let rest = parser.peek_token_ref();
    if rest.token != Fed::EOF {
        let offset = rewrite::offset_of(rest.span.start).unwrap_or(statement.end);
        return Err(error(offset as usize, "nothing is expected to follow here", false));
    }
    Ok(parsed)
}

/// The tokens up to the statement's end, with the first row only.
fn tokens(text: &[u8], statement: &Statement, context: &Context) -> Result<Vec<Token>, ScanError> {
    let mut tokens = Vec::new();
    let end = statement.end;
    match (statement.rows.first(), statement.rows.last()) {
        (Some(first), Some(last)) => {
            collect(text, context, 0, first.span.end, &mut tokens)?;
            collect(text, context, last.span.end, end, &mut tokens)?;
        }
        _ => collect(text, context, 0, end, &mut tokens)?,
    }
    Ok(tokens)
}

fn collect(
    text: &[u8],
    context: &Context,
    start: u32,
    end: u32,
    tokens: &mut Vec<Token>,
) -> Result<(), ScanError> {
    // Cut at the end: an executable comment that is left open there is the scanner's business.
    let mut lexer = Lexer::at(text, context, start as usize);
    loop {
        let token = lexer.next_token()?;
        if token.kind == TokenKind::End || token.start >= end {
            return Ok(());
        }
        tokens.push(token);
    }
}

/// Where and why the parser stopped. Its message quotes the text, so only the part about what it expected is taken.
fn explain(failure: &ParserError, statement: &Statement) -> (usize, String, bool) {
    let message = match failure {
        ParserError::RecursionLimitExceeded => {
            return (0, format!("it nests deeper than {RECURSION_MAX} levels"), true);
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let column = message
        .rsplit_once("Column: ")
        .and_then(|(_, column)| column.parse::<usize>().ok())
        .and_then(|column| column.checked_sub(1));
    let reason = match message.split_once(", found: ") {
        Some((expected, _)) if expected.starts_with("Expected: ") => {
            format!("expected {}", expected.trim_start_matches("Expected: "))
        }
        _ => "the form is not known".to_owned(),
    };
    (column.unwrap_or(statement.end as usize), reason, false)
}

/// The token at `offset`, without what may be private.
fn near(text: &[u8], context: &Context, offset: usize, end: usize) -> String {
    const NEAR_CHARACTERS_MAX: usize = 40;
    if offset >= end {
        return String::new();
    }
    redact::redact(text.get(offset..end).unwrap_or_default(), context, NEAR_CHARACTERS_MAX)
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
