//! What the rules add to while a merge is made.

use std::cell::Cell;
use std::ops::Range;

use sqlparser::ast::{Query, Select};

use super::clauses::{Clauses, Sameness};
use super::select::{Item, items};
use super::shape::{Edit, Merge, Piece, Place, Rule, SortKey};
use super::{Merged, Obstacle};
use crate::planner::analysis::{Analysis, BlockId};

pub(super) struct Builder<'b, 'r> {
    pub(super) query: &'b Query,
    pub(super) select: &'b Select,
    pub(super) analysis: &'b Analysis<'r>,
    pub(super) block: BlockId,
    pub(super) clauses: Clauses<'r>,
    pub(super) items: Vec<Item<'b>>,
    pub(super) merge: Merge,
    /// Expressions of the appended columns.
    appended: Vec<Vec<Piece>>,
    /// Literals were compared: texts of the same fingerprint with others need another plan.
    literals_matter: Cell<bool>,
    /// Shards may be told to stop where the client would.
    pub(super) limit_goes_down: bool,
}

impl<'b, 'r> Builder<'b, 'r> {
    /// `None` where text and AST do not agree on the lists.
    pub(super) fn new(
        query: &'b Query,
        select: &'b Select,
        analysis: &'b Analysis<'r>,
        block: BlockId,
    ) -> Option<Builder<'b, 'r>> {
        let clauses = Clauses::read(analysis.request)?;
        let items = items(select, &clauses)?;
        Some(Builder {
            query,
            select,
            analysis,
            block,
            clauses,
            items,
            merge: Merge::default(),
            appended: Vec::new(),
            literals_matter: Cell::new(false),
            limit_goes_down: true,
        })
    }

    pub(super) fn rule(&mut self, name: &'static str, proof: &'static str) {
        self.merge.rules.push(Rule { name, proof });
    }

    /// A column with this expression behind the client's columns; each expression once.
    pub(super) fn append(&mut self, expression: Vec<Piece>) -> Place {
        if let Some(known) = self.appended.iter().position(|known| *known == expression) {
            return Place::Hidden(known);
        }
        self.appended.push(expression);
        Place::Hidden(self.appended.len() - 1)
    }

    pub(super) fn edit(&mut self, tokens: Range<u32>, new: Vec<Piece>) {
        self.merge.edits.push(Edit { tokens, new });
    }

    /// Whether two pieces of the text are the same expression.
    pub(super) fn same(&self, left: &Range<u32>, right: &Range<u32>) -> bool {
        let sameness = self.clauses.same(left, right);
        if matches!(sameness, Sameness::SameHere | Sameness::DifferentHere) {
            self.literals_matter.set(true);
        }
        matches!(sameness, Sameness::Same | Sameness::SameHere)
    }

    /// Whether the block reads from this one source only, so that names need no qualifier.
    pub(super) fn one_source(&self) -> bool {
        self.analysis.blocks[self.block].visible.len() == 1
    }

    /// Fails where an expression cannot be evaluated a second time.
    pub(super) fn repeatable(&self, tokens: &Range<u32>, where_it_stands: Obstacle) -> Result<(), Obstacle> {
        if self.clauses.can_repeat(tokens) { Ok(()) } else { Err(where_it_stands) }
    }

    /// Rows that need nothing but the order of ORDER BY.
    pub(super) fn rows(&mut self) -> Result<(), Obstacle> {
        if self.query.order_by.is_some() {
            self.order()?;
        }
        Ok(())
    }

    pub(super) fn sorted_by(&mut self, keys: Vec<SortKey>) {
        self.merge.order = keys;
    }

    pub(super) fn finish(mut self) -> Merged {
        let from = self.clauses.from;
        if !self.appended.is_empty() {
            let mut new = Vec::new();
            for (number, expression) in self.appended.iter().enumerate() {
                new.push(Piece::Text(", ".to_owned()));
                new.extend(expression.iter().cloned());
                new.push(Piece::Text(format!(" AS `__shardway_{}`", number + 1)));
            }
            self.edit(from..from, new);
        }
        self.merge.hidden = self.appended.len();
        self.merge.edits.sort_by_key(|edit| (edit.tokens.start, edit.tokens.end));
        Merged { cacheable: self.is_cacheable(), merge: self.merge }
    }

    pub(super) fn is_cacheable(&self) -> bool {
        !self.literals_matter.get()
    }
}

/// `before`, the tokens, `after`.
pub(super) fn around(before: &str, tokens: &Range<u32>, after: &str) -> Vec<Piece> {
    vec![Piece::Text(before.to_owned()), Piece::Tokens(tokens.clone()), Piece::Text(after.to_owned())]
}
