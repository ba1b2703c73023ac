//! DISTINCT: the shards sort their distinct rows by all columns, so that equal rows meet in the merge.

use super::Obstacle;
use super::builder::Builder;
use super::keys::Each;
use super::order::Ordered;
use super::select::{Item, Meant, Named, is_constant};
use super::shape::{Fold, KeySource, Piece, SortKey};
use crate::topology::ColumnType;

impl Builder<'_, '_> {
    pub(super) fn distinct(&mut self) -> Result<(), Obstacle> {
        let mut sources = Vec::new();
        for place in 0..self.items.len() {
            let Item::Expression { expression, tokens, .. } = &self.items[place] else {
                return Err("DISTINCT with a wildcard");
            };
            let (expression, tokens) = (*expression, tokens.clone());
            if self.query.order_by.is_none() && self.is_bits(expression) {
                return Err("DISTINCT of a BIT column without ORDER BY");
            }
            sources.push(match is_constant(expression) {
                true => None,
                false => Some(self.key(expression, &tokens, self.place(place), Each::Row)?),
            });
        }
        let mut order = Vec::new();
        let mut sorted = Vec::new();
        for Ordered { meant, descending, .. } in self.ordered()? {
            let item = match meant {
                Meant::Item(item) => item,
                Meant::Constant => continue,
                Meant::Own => return Err("DISTINCT with ORDER BY of a column that is not selected"),
            };
            order.extend(sources[item].map(|source| SortKey { source, descending }));
            sorted.push(item);
        }
        let mut new = Vec::new();
        for (place, source) in sources.iter().enumerate().filter(|(place, _)| !sorted.contains(place)) {
            let Some(source) = *source else { continue };
            order.push(SortKey { source, descending: false });
            let words = if new.is_empty() && self.query.order_by.is_none() { " ORDER BY " } else { ", " };
            new.push(Piece::Text(format!("{words}{}", place + 1)));
        }
        if !new.is_empty() {
            let end = self.clauses.order.end;
            self.edit(end..end, new);
        }
        // Texts that differ in padding are equal, their weights are not: a shard's first rows may be fewer than they look.
        self.limit_goes_down =
            !order.iter().any(|key| matches!(key.source, KeySource::Text { .. } | KeySource::Unknown { .. }));
        self.sorted_by(order);
        self.merge.fold = Fold::Distinct;
        self.rule(
            "merge-distinct",
            "Every shard sorts its distinct rows by all their columns, so that equal rows of several shards meet; one of them stays.",
        );
        Ok(())
    }

    /// MariaDB shows BIT as a number when it sorts distinct rows, which the client has not asked for.
    fn is_bits(&self, expression: &sqlparser::ast::Expr) -> bool {
        match self.column_of(expression) {
            Named::Column(column) => {
                matches!(&column.kind, ColumnType::Other(word) if word.starts_with("bit"))
            }
            Named::Unclear | Named::Nothing => false,
        }
    }
}
