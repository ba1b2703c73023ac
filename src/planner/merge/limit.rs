//! LIMIT and OFFSET: a shard can contribute no more than the first rows of its own.

use sqlparser::ast::{Expr, LimitClause, Value};

use super::Obstacle;
use super::builder::Builder;
use super::shape::{Piece, Window};

impl Builder<'_, '_> {
    pub(super) fn limit(&mut self) -> Result<(), Obstacle> {
        let Some(clause) = &self.query.limit_clause else { return Ok(()) };
        let window = window(clause).ok_or("LIMIT with a parameter")?;
        self.merge.window = window;
        let tokens = self.clauses.limit.clone();
        if tokens.is_empty() {
            return Err("LIMIT");
        }
        match window.count {
            Some(count) if self.limit_goes_down => {
                if window.skip > 0 {
                    let rows = window.skip.saturating_add(count);
                    self.edit(tokens, vec![Piece::Text(format!("LIMIT {rows}"))]);
                }
                self.rule(
                    "limit",
                    "Of the first OFFSET + LIMIT rows of all, each is among the first so many of its own shard.",
                );
            }
            _ => {
                self.edit(tokens, Vec::new());
                self.rule(
                    "limit-above",
                    "LIMIT counts rows that are complete only when all shards' parts are one.",
                );
            }
        }
        Ok(())
    }
}

/// `None` for what is not written in numbers.
fn window(clause: &LimitClause) -> Option<Window> {
    match clause {
        LimitClause::LimitOffset { limit, offset, limit_by } if limit_by.is_empty() => {
            let count = Some(number(limit.as_ref()?)?);
            let skip = match offset {
                Some(offset) => number(&offset.value)?,
                None => 0,
            };
            Some(Window { skip, count })
        }
        LimitClause::LimitOffset { .. } => None,
        LimitClause::OffsetCommaLimit { offset, limit } => {
            Some(Window { skip: number(offset)?, count: Some(number(limit)?) })
        }
    }
}

fn number(expression: &Expr) -> Option<u64> {
    let Expr::Value(value) = expression else { return None };
    match &value.value {
        Value::Number(digits, _) => digits.to_string().parse().ok(),
        _ => None,
    }
}
