//! Aggregates without GROUP BY: every shard gives one row, and so does the proxy.

use super::Obstacle;
use super::aggregate::is_total;
use super::builder::Builder;
use super::select::{Item, is_constant};
use super::shape::Fold;

impl Builder<'_, '_> {
    pub(super) fn totals(&mut self) -> Result<(), Obstacle> {
        let mut columns = Vec::new();
        for place in 0..self.items.len() {
            let Item::Expression { expression, tokens, .. } = &self.items[place] else {
                return Err("a column beside an aggregate");
            };
            let (expression, tokens) = (*expression, tokens.clone());
            if is_constant(expression) {
                continue;
            }
            if !is_total(expression) {
                return Err(self.why_no_total(expression));
            }
            let at = self.place(place).ok_or("a column beside an aggregate")?;
            columns.push(self.aggregate(expression, &tokens, at)?);
        }
        self.having(&[], &mut columns)?;
        self.merge.fold = Fold::Groups(columns);
        self.rule(
            "totals",
            "Each function's value over all rows is computed from its values over the rows of each shard; a shard without rows adds nothing.",
        );
        Ok(())
    }

    fn why_no_total(&self, expression: &sqlparser::ast::Expr) -> Obstacle {
        match super::contents::Contents::of(expression).aggregate {
            true => "an expression over an aggregate",
            false => "a column beside an aggregate",
        }
    }
}
