//! Comments: which bytes they cover, and whether their content is tokens (`/*!80100 … */`), a routing hint or an
//! optimizer hint. The rules were compared with MySQL 9.7 and MariaDB 10.11.

use super::{Context, Flavor, ScanError, lex::is_blank};

/// A comment that begins with `/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) kind: CommentKind,
    /// Behind the comment; for an executable one the first byte of its content.
    pub(super) continues_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommentKind {
    Plain,
    /// The content is tokens, up to `*/`.
    Executable,
    /// `/* shardway: … */`
    Routing,
    /// `/*+ … */`
    Optimizer,
}

pub(super) const ROUTING_WORD: &[u8] = b"shardway:";

/// MariaDB leaves out what was written for these versions of MySQL.
const MYSQL_ONLY: std::ops::RangeInclusive<u32> = 50_700..=99_999;

/// MySQL reads six digits since this version, five before.
const SIX_DIGITS_SINCE: u32 = 80_100;

/// Whether `--` here begins a comment: it needs a blank or a control character behind it.
pub(super) fn is_dash_comment(bytes: &[u8]) -> bool {
    bytes.get(1) == Some(&b'-') && bytes.get(2).is_none_or(|&byte| is_blank(byte) || byte.is_ascii_control())
}

/// Behind the line that `at` is in.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(text.len(), |length| at + length + 1)
}

/// Reads the comment whose `/*` is at `at`.
pub(super) fn read(text: &[u8], at: usize, context: &Context) -> Result<Comment, ScanError> {
    let content = text.get(at + 2..).unwrap_or_default();
    let opening = match content {
        [b'!', ..] => 1,
        [b'M', b'!', ..] if context.flavor == Flavor::MariaDb => 2,
        _ => return plain(text, at),
    };
    let digits = version_digits(content.get(opening..).unwrap_or_default(), context);
    let start = at + 2 + opening;
    let version = digits
        .iter()
        .fold(0, |version: u32, digit| version.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    let left_out = context.flavor == Flavor::MariaDb
        && opening == 1
        && !digits.is_empty()
        && MYSQL_ONLY.contains(&version);
    if version <= context.server_version && !left_out {
        return Ok(Comment { kind: CommentKind::Executable, continues_at: start + digits.len() });
    }
    let end = nested_end(text, start).ok_or(ScanError::Unterminated { what: "comment", offset: at })?;
    Ok(Comment { kind: CommentKind::Plain, continues_at: end })
}

/// The five or six digits that `content` begins with; fewer are not a version but content.
fn version_digits<'a>(content: &'a [u8], context: &Context) -> &'a [u8] {
    let most =
        if context.flavor == Flavor::MySql && context.server_version < SIX_DIGITS_SINCE { 5 } else { 6 };
    let length = content.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if length < 5 { &[] } else { &content[..length] }
}

fn plain(text: &[u8], at: usize) -> Result<Comment, ScanError> {
    let content = text.get(at + 2..).unwrap_or_default();
    let Some(length) = memchr::memmem::find(content, b"*/") else {
        return Err(ScanError::Unterminated { what: "comment", offset: at });
    };
    let content = &content[..length];
    let kind = if content.first() == Some(&b'+') {
        CommentKind::Optimizer
    } else if is_routing(content) {
        CommentKind::Routing
    } else {
        CommentKind::Plain
    };
    Ok(Comment { kind, continues_at: at + 2 + length + 2 })
}

fn is_routing(content: &[u8]) -> bool {
    let start = content.iter().position(|&byte| !is_blank(byte)).unwrap_or(content.len());
    content.get(start..start + ROUTING_WORD.len()).is_some_and(|word| word.eq_ignore_ascii_case(ROUTING_WORD))
}

/// The end of an executable comment that does not apply: comments inside it count, but not those inside them.
fn nested_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut inside = false;
    loop {
        at += memchr::memchr2(b'*', b'/', text.get(at..)?)?;
        match (text[at], text.get(at + 1)?) {
            (b'*', b'/') if inside => {
                inside = false;
                at += 2;
            }
            (b'*', b'/') => return Some(at + 2),
            (b'/', b'*') if !inside => {
                inside = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
}
