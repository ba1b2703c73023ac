//! ORDER BY: the shards sort, the proxy merges what is sorted.

use std::ops::Range;

use sqlparser::ast::{Expr, OrderByKind, OrderBySort};

use super::Obstacle;
use super::builder::Builder;
use super::keys::Each;
use super::select::Meant;
use super::shape::SortKey;

/// An item of ORDER BY.
pub(super) struct Ordered<'b> {
    pub(super) expression: &'b Expr,
    pub(super) tokens: Range<u32>,
    pub(super) meant: Meant,
    pub(super) descending: bool,
}

impl<'b> Builder<'b, '_> {
    /// The items of ORDER BY, none if there is no such clause.
    pub(super) fn ordered(&self) -> Result<Vec<Ordered<'b>>, Obstacle> {
        let Some(order_by) = &self.query.order_by else { return Ok(Vec::new()) };
        let OrderByKind::Expressions(items) = &order_by.kind else { return Err("ORDER BY") };
        if items.len() != self.clauses.orders.len() || order_by.interpolate.is_some() {
            return Err("ORDER BY");
        }
        let mut ordered = Vec::new();
        for (item, tokens) in items.iter().zip(&self.clauses.orders) {
            if item.with_fill.is_some() || item.options.nulls_first.is_some() {
                return Err("ORDER BY");
            }
            let meant = self.in_order_by(&item.expr, tokens)?;
            let descending = item.options.sort == Some(OrderBySort::Desc);
            ordered.push(Ordered { expression: &item.expr, tokens: tokens.clone(), meant, descending });
        }
        Ok(ordered)
    }

    pub(super) fn order(&mut self) -> Result<(), Obstacle> {
        let mut keys = Vec::new();
        for Ordered { expression, tokens, meant, descending } in self.ordered()? {
            let source = match meant {
                Meant::Constant => continue,
                Meant::Item(item) => {
                    let (expression, tokens) = self.expression(item).ok_or("ORDER BY")?;
                    self.key(expression, &tokens, self.place(item), Each::Row)?
                }
                Meant::Own => self.key(expression, &tokens, None, Each::Row)?,
            };
            keys.push(SortKey { source, descending });
        }
        self.sorted_by(keys);
        self.rule(
            "merge-sorted",
            "Every shard sorts its rows by ORDER BY; the least of the shards' next rows is the least of all rows that are left.",
        );
        Ok(())
    }
}
