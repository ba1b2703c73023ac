//! Where a statement asks for what only the session can say: LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS(), CONNECTION_ID(),
//! USER(), @@identity, @@warning_count and their other spellings. Read from tokens, so that every place counts: expressions,
//! subqueries, rows of VALUES. The grammar is asked only which columns of a SELECT have no name of their own: such a column is
//! called by its text, which must be kept where the text changes.

use std::ops::Range;

use sqlparser::ast::{Select, SelectItem, Visit, Visitor};

use super::lex::{Token, TokenKind, tokens};
use super::{Context, Kind, ParseError, Statement, parse};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionValue {
    ConnectionId,
    RowCount,
    FoundRows,
    LastInsertId,
    WarningCount,
    ErrorCount,
    User,
}

/// One place where it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionMention {
    pub(crate) span: Range<u32>,
    pub(crate) value: SessionValue,
    /// Its type shows in a result, or a bare number would mean a column (ORDER BY).
    pub(crate) typed: bool,
}

/// All places of one statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SessionMentions {
    /// In the order of the text.
    pub(crate) list: Vec<SessionMention>,
    /// Select items with a mention and without a name: the span of their text.
    pub(crate) unnamed: Vec<Range<u32>>,
    /// LAST_INSERT_ID(n), which changes what LAST_INSERT_ID() is: that one is left out of the list.
    pub(crate) sets_insert_id: bool,
}

/// Finds them. An error where names of columns matter and the grammar cannot say which.
pub(crate) fn session_values(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<SessionMentions, ParseError> {
    let all: Vec<Token> = tokens(text, context).take_while(|token| token.start < statement.end).collect();
    let mut found = SessionMentions::default();
    for at in 0..all.len() {
        match mention(text, &all, at) {
            Some((SessionValue::LastInsertId, None)) => found.sets_insert_id = true,
            Some((value, Some(last))) => {
                let span = all[at].start..all[last].end;
                found.list.push(SessionMention { span, value, typed: true });
            }
            Some((_, None)) | None => {}
        }
    }
    if found.sets_insert_id {
        found.list.retain(|mention| mention.value != SessionValue::LastInsertId);
    }
    let lists = match statement.kind {
        Kind::Select if !found.list.is_empty() => named_items(text, statement, context)?,
        _ => Vec::new(),
    };
    Clauses { text, tokens: &all, lists: &lists, frames: vec![Frame::default()] }.walk(&mut found);
    Ok(found)
}

/// What begins at a token, and its last token: `None` for LAST_INSERT_ID with an argument.
fn mention(text: &[u8], tokens: &[Token], at: usize) -> Option<(SessionValue, Option<usize>)> {
    let token = tokens.get(at)?;
    if token.kind == TokenKind::SystemVariable {
        return variable(text, tokens, at);
    }
    // `t.user()` and `@@x.user` are something else.
    if !token.is_name() || at.checked_sub(1).is_some_and(|before| tokens[before].is_symbol(b'.')) {
        return None;
    }
    if !tokens.get(at + 1)?.is_symbol(b'(') {
        return None;
    }
    let value = match upper(token.text(text)).as_slice() {
        b"CONNECTION_ID" => SessionValue::ConnectionId,
        b"ROW_COUNT" => SessionValue::RowCount,
        b"FOUND_ROWS" => SessionValue::FoundRows,
        b"LAST_INSERT_ID" => SessionValue::LastInsertId,
        b"USER" | b"SESSION_USER" | b"SYSTEM_USER" => SessionValue::User,
        _ => return None,
    };
    match tokens.get(at + 2)?.is_symbol(b')') {
        true => Some((value, Some(at + 2))),
        false if value == SessionValue::LastInsertId => Some((value, None)),
        false => None,
    }
}

/// `@@identity`, `@@session.warning_count`
fn variable(text: &[u8], tokens: &[Token], at: usize) -> Option<(SessionValue, Option<usize>)> {
    let scoped = tokens.get(at + 2).is_some_and(|point| point.is_symbol(b'.'));
    let scope = upper(tokens.get(at + 1)?.text(text));
    let name = match scoped {
        true if matches!(scope.as_slice(), b"SESSION" | b"LOCAL") => at + 3,
        true => return None,
        false => at + 1,
    };
    let value = match upper(tokens.get(name)?.text(text)).as_slice() {
        b"IDENTITY" | b"LAST_INSERT_ID" => SessionValue::LastInsertId,
        b"WARNING_COUNT" => SessionValue::WarningCount,
        b"ERROR_COUNT" => SessionValue::ErrorCount,
        b"PSEUDO_THREAD_ID" => SessionValue::ConnectionId,
        _ => return None,
    };
    Some((value, Some(name)))
}

fn upper(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name);
    name.to_ascii_uppercase()
}

/// The items of one SELECT.
#[derive(Debug, Default)]
struct Items {
    /// Where the word SELECT stands.
    at: u32,
    /// For each item whether it has no name but its text.
    unnamed: Vec<bool>,
}

fn named_items(text: &[u8], statement: &Statement, context: &Context) -> Result<Vec<Items>, ParseError> {
    let mut lists = Lists::default();
    // The walk never breaks off, so that its result says nothing.
    let _ = parse(text, statement, context)?.visit(&mut lists);
    Ok(lists.found)
}

#[derive(Default)]
struct Lists {
    found: Vec<Items>,
}

impl Visitor for Lists {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> std::ops::ControlFlow<()> {
        if let Some(at) = super::offset_of(select.select_token.0.span.start) {
            let unnamed = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_));
            self.found.push(Items { at, unnamed: select.projection.iter().map(unnamed).collect() });
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// Where in a statement a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Clause {
    /// The items of a SELECT: number of the list, number of the item and where it begins.
    Items { list: usize, item: usize, start: u32 },
    /// ORDER BY, GROUP BY.
    Ordering,
    #[default]
    Other,
}

/// One level of parentheses.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    clause: Clause,
    /// Inside of an item or an ordering further out.
    within: bool,
}

/// Follows the clauses of a statement token by token.
struct Clauses<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    lists: &'a [Items],
    frames: Vec<Frame>,
}

impl Clauses<'_> {
    fn walk(mut self, found: &mut SessionMentions) {
        let mut mentions = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            while let Some(mention) = found.list.get_mut(mentions)
                && mention.span.start <= token.start
            {
                let frame = self.frames.last().copied().unwrap_or_default();
                mention.typed = frame.within || frame.clause != Clause::Other;
                mentions += 1;
            }
            match token.kind {
                TokenKind::Symbol(b'(') => {
                    let outer = self.frames.last().copied().unwrap_or_default();
                    let within = outer.within || outer.clause != Clause::Other;
                    self.frames.push(Frame { clause: Clause::Other, within });
                }
                TokenKind::Symbol(b')') => {
                    self.end_item(at, found);
                    if self.frames.len() > 1 {
                        self.frames.pop();
                    }
                }
                TokenKind::Symbol(b',') => self.next_item(at, found),
                TokenKind::Word(_) => self.word(at, found),
                _ => {}
            }
        }
        self.end_item(self.tokens.len(), found);
    }

    fn word(&mut self, at: usize, found: &mut SessionMentions) {
        let token = self.tokens[at];
        let clause = match upper(token.text(self.text)).as_slice() {
            b"SELECT" => match self.lists.iter().position(|list| list.at == token.start) {
                Some(list) => Clause::Items { list, item: 0, start: self.start_behind(at) },
                None => Clause::Other,
            },
            b"ORDER" | b"GROUP" => Clause::Ordering,
            b"FROM" | b"INTO" | b"WHERE" | b"HAVING" | b"LIMIT" | b"UNION" | b"EXCEPT" | b"INTERSECT"
            | b"FOR" | b"LOCK" | b"WINDOW" | b"PROCEDURE" | b"SET" | b"VALUES" => Clause::Other,
            _ => return,
        };
        // A name that looks like a keyword stands behind a point.
        if at.checked_sub(1).is_some_and(|before| self.tokens[before].is_symbol(b'.')) {
            return;
        }
        self.end_item(at, found);
        if let Some(frame) = self.frames.last_mut() {
            frame.clause = clause;
        }
    }

    /// Where the first item begins: DISTINCT, SQL_NO_CACHE and the like belong to no item.
    fn start_behind(&self, select: usize) -> u32 {
        let modifier = |token: &&Token| {
            let word = upper(token.text(self.text));
            token.kind == TokenKind::OptimizerHint
                || matches!(
                    word.as_slice(),
                    b"ALL" | b"DISTINCT" | b"DISTINCTROW" | b"HIGH_PRIORITY" | b"STRAIGHT_JOIN"
                )
                || word.starts_with(b"SQL_")
        };
        let first = self.tokens[select + 1..].iter().find(|token| !modifier(token));
        first.map_or(u32::MAX, |token| token.start)
    }

    /// Behind a comma at `at`.
    fn next_item(&mut self, at: usize, found: &mut SessionMentions) {
        self.end_item(at, found);
        let start = self.tokens.get(at + 1).map_or(u32::MAX, |token| token.start);
        if let Some(Frame { clause: Clause::Items { item, start: from, .. }, .. }) = self.frames.last_mut() {
            (*item, *from) = (*item + 1, start);
        }
    }

    /// The item before `at`, if one stands there, is over.
    fn end_item(&self, at: usize, found: &mut SessionMentions) {
        let Some(Frame { clause: Clause::Items { list, item, start }, .. }) = self.frames.last() else {
            return;
        };
        let unnamed =
            self.lists.get(*list).and_then(|list| list.unnamed.get(*item)).copied().unwrap_or(false);
        let Some(last) = at.checked_sub(1).and_then(|last| self.tokens.get(last)) else { return };
        let span = *start..last.end;
        if unnamed
            && found
                .list
                .iter()
                .any(|mention| span.start <= mention.span.start && mention.span.end <= span.end)
        {
            found.unnamed.push(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Charset, Flavor, SqlMode, splice};
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

    /// The text with each mention as its first letter, in capitals where its type shows, and names kept as `AS […]`.
    fn marked(text: &str) -> String {
        let mut statement = Statement::default();
        statement.scan(text.as_bytes(), &CONTEXT).unwrap();
        let found = session_values(text.as_bytes(), &statement, &CONTEXT).unwrap();
        let mut edits: Vec<(Range<u32>, String)> = found
            .list
            .iter()
            .map(|mention| {
                let letter = format!("{:?}", mention.value)[..1].to_owned();
                (mention.span.clone(), if mention.typed { letter } else { letter.to_lowercase() })
            })
            .collect();
        for span in found.unnamed {
            let name = &text[span.start as usize..span.end as usize];
            edits.push((span.end..span.end, format!(" AS [{name}]")));
        }
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new)| (span.clone(), new.as_bytes())).collect();
        String::from_utf8(splice(text.as_bytes(), &edits)).unwrap()
    }

    #[test]
    fn a_column_keeps_the_name_that_its_text_gave_it() {
        for (text, expected) in [
            ("SELECT CONNECTION_ID()", "SELECT C AS [CONNECTION_ID()]"),
            ("select distinct found_rows ( ), 1", "select distinct F AS [found_rows ( )], 1"),
            ("SELECT ROW_COUNT() AS n, ROW_COUNT() m FROM DUAL", "SELECT R AS n, R m FROM DUAL"),
            (
                "SELECT 1 + IFNULL(LAST_INSERT_ID(), 0) ;",
                "SELECT 1 + IFNULL(L, 0) AS [1 + IFNULL(LAST_INSERT_ID(), 0)] ;",
            ),
            (
                "SELECT @@identity, @@session.warning_count",
                "SELECT L AS [@@identity], W AS [@@session.warning_count]",
            ),
            (
                "SELECT id, USER() FROM t WHERE o = CONNECTION_ID()",
                "SELECT id, U AS [USER()] FROM t WHERE o = c",
            ),
            ("SELECT 1 FROM t ORDER BY CONNECTION_ID()", "SELECT 1 FROM t ORDER BY C"),
            ("SELECT 1 UNION SELECT ROW_COUNT()", "SELECT 1 UNION SELECT R AS [ROW_COUNT()]"),
            (
                "SELECT * FROM (SELECT CONNECTION_ID(), 2 x) d WHERE a IN (1, ROW_COUNT())",
                "SELECT * FROM (SELECT C AS [CONNECTION_ID()], 2 x) d WHERE a IN (1, r)",
            ),
            (
                "SELECT CASE WHEN ROW_COUNT() > 0 THEN 1 END, EXTRACT(DAY FROM d) FROM t",
                "SELECT CASE WHEN R > 0 THEN 1 END AS [CASE WHEN ROW_COUNT() > 0 THEN 1 END], EXTRACT(DAY FROM d) FROM t",
            ),
        ] {
            assert_eq!(marked(text), expected);
        }
    }

    #[test]
    fn writes_need_no_names() {
        for (text, expected) in [
            (
                "INSERT INTO t VALUES (1, LAST_INSERT_ID()), (2, @@identity)",
                "INSERT INTO t VALUES (1, l), (2, l)",
            ),
            ("UPDATE t SET a = ROW_COUNT() WHERE b = LAST_INSERT_ID()", "UPDATE t SET a = r WHERE b = l"),
            ("INSERT INTO t SELECT CONNECTION_ID()", "INSERT INTO t SELECT c"),
        ] {
            assert_eq!(marked(text), expected);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "SELECT 'CONNECTION_ID()', user FROM t",
            "SELECT user.id, `user`.`id` FROM user",
            "SELECT @@global.identity_x, @user, t.row_count FROM t",
            "UPDATE t SET n = LAST_INSERT_ID(n + 1)",
            "SELECT mydb.user() FROM t",
        ] {
            assert_eq!(marked(text), text);
        }
        assert_eq!(
            marked("SELECT LAST_INSERT_ID(5), LAST_INSERT_ID()"),
            "SELECT LAST_INSERT_ID(5), LAST_INSERT_ID()"
        );
    }
}
