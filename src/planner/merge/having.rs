//! HAVING: what it says of a group's keys each shard decides alone; aggregates are compared when the group is whole.

use sqlparser::ast::{BinaryOperator, Expr, ObjectNamePart, UnaryOperator};

use super::Obstacle;
use super::aggregate::is_total;
use super::builder::Builder;
use super::contents::{Call, Contents};
use super::select::Named;
use super::shape::{Aggregate, Comparison, Condition, Piece, Place};
use crate::sql::{LiteralClass, offset_of};

impl<'b> Builder<'b, '_> {
    /// `keys` are the names of columns that the rows are grouped by.
    pub(super) fn having(&mut self, keys: &[&str], aggregates: &mut Vec<Aggregate>) -> Result<(), Obstacle> {
        let Some(having) = &self.select.having else { return Ok(()) };
        let contents = Contents::of(having);
        let is_key = |name: &String| {
            self.one_source()
                && !self.is_hidden_by_alias(name)
                && keys.iter().any(|key| key.eq_ignore_ascii_case(name))
        };
        if !contents.aggregate && contents.unfit().is_none() && contents.names.iter().all(is_key) {
            self.rule("having-keys", "HAVING names keys only: every part of a group decides alike.");
            return Ok(());
        }
        let mut conditions = Vec::new();
        for conjunct in conjuncts(having) {
            conditions.push(self.condition(conjunct, aggregates)?);
        }
        let tokens = self.clauses.having.clone().ok_or("HAVING")?;
        self.edit(tokens, Vec::new());
        self.merge.conditions = conditions;
        self.limit_goes_down = false;
        self.rule(
            "having",
            "HAVING compares numbers of whole groups with literals, so it is left to the proxy.",
        );
        Ok(())
    }

    fn condition(
        &mut self,
        condition: &'b Expr,
        aggregates: &mut Vec<Aggregate>,
    ) -> Result<Condition, Obstacle> {
        const OTHER: Obstacle = "HAVING other than aggregates against numbers";
        let Expr::BinaryOp { left, op, right } = unwrapped(condition) else { return Err(OTHER) };
        let comparison = comparison(op).ok_or(OTHER)?;
        let (value, comparison, (slot, negated)) = match (self.number(right), self.number(left)) {
            (Some(number), None) => (unwrapped(left), comparison, number),
            (None, Some(number)) => (unwrapped(right), flipped(comparison), number),
            _ => return Err(OTHER),
        };
        let value = self.compared(value, aggregates)?.ok_or(OTHER)?;
        Ok(Condition { value, comparison, slot, negated })
    }

    /// Where the aggregate that an expression is, or names, is in a row.
    fn compared(
        &mut self,
        value: &'b Expr,
        aggregates: &mut Vec<Aggregate>,
    ) -> Result<Option<Place>, Obstacle> {
        if let Expr::Identifier(name) = value {
            let [item] = self.called(&name.value)[..] else { return Ok(None) };
            let Some((expression, tokens)) = self.expression(item) else { return Ok(None) };
            self.shows_all_digits(expression, &tokens)?;
            let alone = matches!(self.column(None, None, &name.value), Named::Nothing);
            return Ok(self.place(item).filter(|_| alone && is_exact(expression)));
        }
        if !is_exact(value) {
            return Ok(None);
        }
        let Expr::Function(call) = value else { return Ok(None) };
        let Some(ObjectNamePart::Identifier(name)) = call.name.0.first() else { return Ok(None) };
        let start = offset_of(name.span.start).ok_or("HAVING")?;
        let tokens = self.clauses.call_at(start).ok_or("HAVING")?;
        self.shows_all_digits(value, &tokens)?;
        self.repeatable(&tokens, "a variable or parameter in HAVING")?;
        if let Some(item) = self.item_with(value, &tokens) {
            return Ok(self.place(item));
        }
        let place = self.append(vec![Piece::Tokens(tokens.clone())]);
        if aggregates.iter().all(|aggregate| aggregate.place != place) {
            let aggregate = self.aggregate(value, &tokens, place)?;
            aggregates.push(aggregate);
        }
        Ok(Some(place))
    }

    /// The slot of a number, and whether a minus stands before it.
    fn number(&self, expression: &Expr) -> Option<(usize, bool)> {
        match unwrapped(expression) {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let (slot, negated) = self.number(expr)?;
                Some((slot, !negated))
            }
            Expr::Value(value) => {
                let slot = self.analysis.slot(value.span.start)?;
                let class = self.analysis.request.statement.literals.get(slot)?.class;
                matches!(class, LiteralClass::Integer | LiteralClass::Decimal).then_some((slot, false))
            }
            _ => None,
        }
    }
}

/// An average is compared with more digits than it shows.
fn is_exact(expression: &Expr) -> bool {
    is_total(expression) && Call::read(expression).is_none_or(|call| call.name != "AVG")
}

fn unwrapped(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) => unwrapped(inner),
        other => other,
    }
}

/// The terms of a chain of AND: a loop, since chains are as long as the statement.
fn conjuncts(having: &Expr) -> Vec<&Expr> {
    let mut terms = Vec::new();
    let mut rest = unwrapped(having);
    while let Expr::BinaryOp { left, op: BinaryOperator::And, right } = rest {
        terms.push(right.as_ref());
        rest = left;
    }
    terms.push(rest);
    terms
}

fn comparison(operator: &BinaryOperator) -> Option<Comparison> {
    Some(match operator {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn flipped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same @ (Comparison::Equal | Comparison::NotEqual) => same,
    }
}
