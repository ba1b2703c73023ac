//! Where the clauses of a SELECT stand among its tokens, and its lists cut at their commas: what is spliced into a text is
//! taken from the text. The AST says what the clauses mean, and must agree on how many items each list has.

use std::ops::Range;

use crate::planner::Request;
use crate::sql::{Lexer, Token, TokenKind, Word};

pub(super) struct Clauses<'r> {
    text: &'r [u8],
    pub(super) tokens: Vec<Token>,
    /// Items of the select list, aliases included.
    pub(super) items: Vec<Range<u32>>,
    pub(super) groups: Vec<Range<u32>>,
    /// Items of ORDER BY without their directions.
    pub(super) orders: Vec<Range<u32>>,
    /// Where new columns go: the word FROM.
    pub(super) from: u32,
    pub(super) having: Option<Range<u32>>,
    /// ORDER BY with its words; empty, where one would have to stand, when there is none.
    pub(super) order: Range<u32>,
    /// LIMIT with its numbers; empty as `order`.
    pub(super) limit: Range<u32>,
}

/// Clauses in the order in which they stand.
const CLAUSES: [Word; 11] = [
    Word::From,
    Word::Where,
    Word::Group,
    Word::Having,
    Word::Window,
    Word::Order,
    Word::Limit,
    Word::Procedure,
    Word::Into,
    Word::For,
    Word::Lock,
];

const MODIFIERS: [Word; 10] = [
    Word::All,
    Word::Distinct,
    Word::DistinctRow,
    Word::HighPriority,
    Word::StraightJoin,
    Word::SqlSmallResult,
    Word::SqlBigResult,
    Word::SqlBufferResult,
    Word::SqlCache,
    Word::SqlNoCache,
];

/// The tokens of a statement, up to its end; the numbers of plans are indices of these.
pub(crate) fn tokens(request: &Request<'_>) -> Option<Vec<Token>> {
    let mut lexer = Lexer::new(request.text, request.context);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token().ok()?;
        if token.kind == TokenKind::End || token.start >= request.statement.end {
            return Some(tokens);
        }
        tokens.push(token);
    }
}

impl<'r> Clauses<'r> {
    /// `None` for what is not one SELECT of the usual form.
    pub(super) fn read(request: &Request<'r>) -> Option<Clauses<'r>> {
        let tokens = tokens(request)?;
        let verb = tokens.iter().position(|token| token.start == request.statement.verb_at)?;
        if tokens[verb].word() != Word::Select {
            return None;
        }
        let starts = starts(&tokens, verb)?;
        let end = u32::try_from(tokens.len()).ok()?;
        // The first clause at or after the one asked for, else the end.
        let at = |clause: usize| starts[clause..].iter().flatten().min().copied().unwrap_or(end);
        let clause = |clause: usize| starts[clause].map(|start| start..at(clause + 1));
        let mut first = u32::try_from(verb + 1).ok()?;
        while tokens.get(first as usize).is_some_and(is_modifier) {
            first += 1;
        }
        let from = starts[0]?;
        // GROUP BY and ORDER BY: two words.
        let list =
            |of: Option<Range<u32>>| of.map_or(Some(Vec::new()), |of| split(&tokens, of.start + 2..of.end));
        let (group, order) = (clause(2), clause(5));
        let items = split(&tokens, first..from)?;
        let groups = list(group)?;
        let orders = list(order.clone())?;
        let orders =
            orders.into_iter().map(|item| without_direction(&tokens, item)).collect::<Option<_>>()?;
        let order = order.unwrap_or(at(6)..at(6));
        let having = clause(3);
        let limit = clause(6).unwrap_or(at(7)..at(7));
        Some(Clauses { text: request.text, tokens, items, groups, orders, from, having, order, limit })
    }

    pub(super) fn word(&self, at: u32) -> Word {
        self.tokens.get(at as usize).map_or(Word::Other, Token::word)
    }

    /// An item of the select list without its alias.
    pub(super) fn expression(&self, item: usize, aliased: bool) -> Option<Range<u32>> {
        let item = self.items.get(item)?.clone();
        if !aliased {
            return Some(item);
        }
        let mut end = item.end.checked_sub(1)?;
        if end > item.start + 1 && self.word(end - 1) == Word::As {
            end -= 1;
        }
        (end > item.start).then_some(item.start..end)
    }

    /// The tokens of a function call that begins with `name` at this byte.
    pub(super) fn call_at(&self, offset: u32) -> Option<Range<u32>> {
        let start = self.tokens.binary_search_by_key(&offset, |token| token.start).ok()?;
        let mut depth = 0u32;
        for (place, token) in self.tokens.iter().enumerate().skip(start + 1) {
            match token.kind {
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                // Anything between the name and its parenthesis ends the search at once.
                let whole = u32::try_from(start).ok()?..u32::try_from(place + 1).ok()?;
                return (place > start + 1).then_some(whole);
            }
        }
        None
    }

    /// Whether two ranges read the same. `None` where literals decide, which other texts of the fingerprint have with other
    /// values.
    pub(super) fn same(&self, left: &Range<u32>, right: &Range<u32>) -> Sameness {
        let of = |range: &Range<u32>| {
            self.tokens.get(range.start as usize..range.end as usize).unwrap_or_default()
        };
        let (left, right) = (of(left), of(right));
        if left.len() != right.len() {
            return Sameness::Different;
        }
        let mut literals = false;
        let mut equal = true;
        for (left, right) in left.iter().zip(right) {
            if left.kind != right.kind {
                return Sameness::Different;
            }
            let texts = (left.text(self.text), right.text(self.text));
            match left.kind {
                TokenKind::Word(_) | TokenKind::Quoted => {
                    if !texts.0.eq_ignore_ascii_case(texts.1) {
                        return Sameness::Different;
                    }
                }
                TokenKind::Literal(_) => {
                    literals = true;
                    equal &= texts.0 == texts.1;
                }
                _ => {
                    if texts.0 != texts.1 {
                        return Sameness::Different;
                    }
                }
            }
        }
        match (literals, equal) {
            (false, _) => Sameness::Same,
            (true, true) => Sameness::SameHere,
            (true, false) => Sameness::DifferentHere,
        }
    }

    /// Whether the tokens can stand twice in a text.
    pub(super) fn can_repeat(&self, range: &Range<u32>) -> bool {
        use crate::sql::LiteralClass;
        let tokens = self.tokens.get(range.start as usize..range.end as usize).unwrap_or_default();
        !tokens.iter().any(|token| {
            matches!(
                token.kind,
                TokenKind::Literal(LiteralClass::Placeholder)
                    | TokenKind::UserVariable
                    | TokenKind::Symbol(crate::sql::symbol::ASSIGN)
                    | TokenKind::OptimizerHint
                    | TokenKind::RoutingHint
            )
        })
    }
}

/// How two ranges of tokens compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sameness {
    Same,
    Different,
    /// In this text, by the values of literals.
    SameHere,
    DifferentHere,
}

/// The tokens that begin each clause, all outside of parentheses and in order.
fn starts(tokens: &[Token], verb: usize) -> Option<[Option<u32>; CLAUSES.len()]> {
    let mut starts = [None; CLAUSES.len()];
    let mut depth = 0u32;
    let mut next = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Symbol(b'(') => depth += 1,
            TokenKind::Symbol(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if index == verb && depth > 0 {
            return None;
        }
        if index <= verb || depth > 0 || tokens[index - 1].is_symbol(b'.') {
            continue;
        }
        let Some(clause) = CLAUSES.iter().position(|word| *word == token.word()) else { continue };
        // Index hints: USE INDEX FOR ORDER BY (…). `LOCK`, `WINDOW` and others may be names.
        let hint =
            matches!(token.word(), Word::For | Word::Order | Word::Group) && is_index_hint(tokens, index);
        let list = matches!(token.word(), Word::Group | Word::Order)
            && tokens.get(index + 1).is_none_or(|token| token.word() != Word::By);
        if clause < next || hint || list {
            continue;
        }
        if matches!(token.word(), Word::Window | Word::Procedure | Word::Into | Word::Lock) && next == 0 {
            return None;
        }
        starts[clause] = Some(u32::try_from(index).ok()?);
        next = clause + 1;
    }
    (depth == 0).then_some(starts)
}

/// `INDEX FOR …` and what follows up to the parenthesis.
fn is_index_hint(tokens: &[Token], at: usize) -> bool {
    let before =
        |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at)).map_or(Word::Other, Token::word);
    let index = |word: Word| matches!(word, Word::Index | Word::Key);
    (before(0) == Word::For && index(before(1))) || (before(1) == Word::For && index(before(2)))
}

fn is_modifier(token: &Token) -> bool {
    MODIFIERS.contains(&token.word())
        || matches!(token.kind, TokenKind::OptimizerHint | TokenKind::RoutingHint)
}

/// The parts between the commas that stand outside of parentheses.
fn split(tokens: &[Token], range: Range<u32>) -> Option<Vec<Range<u32>>> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0u32, range.start);
    for at in range.clone() {
        match tokens.get(at as usize)?.kind {
            TokenKind::Symbol(b'(') => depth += 1,
            TokenKind::Symbol(b')') => depth = depth.checked_sub(1)?,
            TokenKind::Symbol(b',') if depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(start..range.end);
    parts.iter().all(|part| part.start < part.end).then_some(parts)
}

fn without_direction(tokens: &[Token], item: Range<u32>) -> Option<Range<u32>> {
    let last = item.end.checked_sub(1)?;
    match tokens.get(last as usize)?.word() {
        Word::Asc | Word::Desc if last > item.start => Some(item.start..last),
        _ => Some(item),
    }
}
