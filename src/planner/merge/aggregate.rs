//! One aggregate function: how the shards' values become the value over all their rows.

use std::ops::Range;

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Obstacle;
use super::builder::{Builder, around};
use super::contents::{Call, Contents};
use super::keys::{Each, Known};
use super::select::Named;
use super::shape::{Aggregate, Function, KeySource, Piece, Place};
use crate::planner::analysis::Source;
use crate::sql::{TokenKind, Word};

impl Builder<'_, '_> {
    /// `place` is where the shards show the function's own value.
    pub(super) fn aggregate(
        &mut self,
        expression: &Expr,
        tokens: &Range<u32>,
        place: Place,
    ) -> Result<Aggregate, Obstacle> {
        if let Some((sum, range)) = self.coalesced_sum(expression, tokens) {
            let inner = self.aggregate(sum, &range, place)?;
            let sum = self.append(vec![Piece::Tokens(range)]);
            return match inner.function {
                Function::Sum => Ok(Aggregate { place, function: Function::SumOr { sum } }),
                _ => Err("an expression over an aggregate"),
            };
        }
        let call = Call::read(expression).ok_or("an expression over an aggregate")?;
        let function = match (call.name, call.distinct) {
            ("COUNT", false) => Function::Count,
            // Equal values with their key are on one shard: none is counted twice.
            ("COUNT", true) if self.has_key(&call) => Function::Count,
            ("SUM", false) => {
                self.shows_all_digits(expression, tokens)?;
                Function::Sum
            }
            ("AVG", false) => {
                self.shows_all_digits(expression, tokens)?;
                self.average(expression, tokens)?
            }
            ("MIN", _) => Function::Least(self.extreme(&call, expression, tokens, place)?),
            ("MAX", _) => Function::Greatest(self.extreme(&call, expression, tokens, place)?),
            ("BIT_AND", _) => Function::BitAnd,
            ("BIT_OR", _) => Function::BitOr,
            ("BIT_XOR", _) => Function::BitXor,
            (_, true) => return Err("an aggregate with DISTINCT"),
            (name, false) => return Err(name),
        };
        Ok(Aggregate { place, function })
    }

    /// The sum in `COALESCE(SUM(x), literal)` and its tokens.
    fn coalesced_sum<'e>(&self, expression: &'e Expr, tokens: &Range<u32>) -> Option<(&'e Expr, Range<u32>)> {
        let sum = coalesced(expression)?;
        let inner = self.inner(tokens)?;
        // The literal is the last token, a comma stands before it.
        let end = inner.end.checked_sub(2)?;
        let comma = self.clauses.tokens.get(end as usize)?.is_symbol(b',');
        (comma && inner.start < end).then_some((sum, inner.start..end))
    }

    fn has_key(&self, call: &Call<'_>) -> bool {
        let keys = call.arguments.iter().filter_map(|argument| self.analysis.key_of(argument, self.block));
        keys.into_iter().any(|of| self.analysis.holds_groups(of))
    }

    /// What stands in the parentheses of the call.
    fn inner(&self, tokens: &Range<u32>) -> Option<Range<u32>> {
        let is = |at: u32, symbol: u8| {
            self.clauses.tokens.get(at as usize).is_some_and(|token| token.is_symbol(symbol))
        };
        let last = tokens.end.checked_sub(1)?;
        let name = matches!(self.clauses.tokens.get(tokens.start as usize)?.kind, TokenKind::Word(_));
        let mut inner = tokens.start + 2..last;
        if matches!(self.clauses.word(inner.start), Word::Distinct | Word::DistinctRow | Word::All) {
            inner.start += 1;
        }
        (name && is(tokens.start + 1, b'(') && is(last, b')') && inner.start < inner.end).then_some(inner)
    }

    /// A quotient has more digits than servers show: sums of what they show would be others.
    pub(super) fn shows_all_digits(&self, expression: &Expr, tokens: &Range<u32>) -> Result<(), Obstacle> {
        let whole = 0..self.clauses.tokens.len() as u32;
        // The column of a derived table may be a quotient.
        let known = |name: &String| matches!(self.column(None, None, name), Named::Column(_));
        let within = match Contents::of(expression).names.iter().all(known) || self.has_tables_only() {
            true => tokens,
            false => &whole,
        };
        let divides = (within.start..within.end)
            .any(|at| self.clauses.tokens.get(at as usize).is_some_and(|token| token.is_symbol(b'/')));
        if divides { Err("a sum or average of quotients") } else { Ok(()) }
    }

    fn has_tables_only(&self) -> bool {
        let sources = &self.analysis.blocks[self.block].visible;
        sources.iter().all(|source| matches!(source.source, Source::Table(_)))
    }

    fn average(&mut self, expression: &Expr, tokens: &Range<u32>) -> Result<Function, Obstacle> {
        self.fit(expression, tokens)?;
        let inner = self.inner(tokens).ok_or("AVG")?;
        let sum = self.append(around("SUM(", &inner, ")"));
        let count = self.append(around("COUNT(", &inner, ")"));
        Ok(Function::Average { sum, count })
    }

    fn extreme(
        &mut self,
        call: &Call<'_>,
        expression: &Expr,
        tokens: &Range<u32>,
        place: Place,
    ) -> Result<KeySource, Obstacle> {
        self.fit(expression, tokens)?;
        let [argument] = call.arguments.as_slice() else { return Err(call.name) };
        Ok(match self.known(argument)? {
            Known::Shown | Known::Float => KeySource::Value(place),
            Known::Text => {
                let (weights, padding) = self.weights(tokens, Each::Row);
                KeySource::Text { weights, padding }
            }
            Known::Moment => {
                let inner = self.inner(tokens).ok_or(call.name)?;
                let open = format!("{}(UNIX_TIMESTAMP(", call.name);
                let seconds = self.append(around(&open, &inner, "))"));
                KeySource::Moment { value: place, seconds }
            }
            Known::Named => return Err("MIN or MAX of an ENUM or SET"),
            Known::Nothing => {
                let (weights, padding) = self.weights(tokens, Each::Row);
                KeySource::Unknown { value: place, weights, padding }
            }
        })
    }

    /// Its argument is evaluated twice.
    fn fit(&self, expression: &Expr, tokens: &Range<u32>) -> Result<(), Obstacle> {
        match Contents::of(expression).unfit() {
            Some(obstacle) => Err(obstacle),
            None => self.repeatable(tokens, "a variable or parameter in an aggregate"),
        }
    }
}

/// One aggregate function, or a sum with a literal in its stead.
pub(super) fn is_total(expression: &Expr) -> bool {
    Call::read(expression).is_some() || coalesced(expression).is_some()
}

/// The sum of `COALESCE(SUM(x), literal)` or `IFNULL(SUM(x), literal)`.
fn coalesced(expression: &Expr) -> Option<&Expr> {
    let Expr::Function(call) = expression else { return None };
    let [name] = call.name.0.as_slice() else { return None };
    let name = name.to_string().to_ascii_uppercase();
    let FunctionArguments::List(list) = &call.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(sum)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(_))),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let is_sum = Call::read(sum).is_some_and(|call| call.name == "SUM" && !call.distinct);
    (matches!(name.as_str(), "COALESCE" | "IFNULL") && is_sum && call.over.is_none()).then_some(sum)
}
