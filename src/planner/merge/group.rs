//! GROUP BY where a group has rows on several shards: every shard groups its own rows and sorts its groups by their keys; equal
//! keys meet in the merge and become one group.

use std::ops::Range;

use sqlparser::ast::{Expr, GroupByExpr};

use super::Obstacle;
use super::aggregate::is_total;
use super::builder::Builder;
use super::contents::Contents;
use super::keys::Each;
use super::order::Ordered;
use super::select::{Item, Meant, column_name, is_constant};
use super::shape::{Aggregate, Fold, Function, KeySource, Piece, Place, SortKey};

/// One item of GROUP BY.
struct GroupKey<'b> {
    expression: &'b Expr,
    /// As GROUP BY has it, for ORDER BY.
    written: Range<u32>,
    /// The expression's own tokens, where that is a number or an alias.
    tokens: Range<u32>,
    source: KeySource,
}

/// What ORDER BY of a grouped SELECT sorts by.
enum By {
    Key(usize),
    Aggregate(KeySource),
}

impl<'b> Builder<'b, '_> {
    pub(super) fn groups(&mut self) -> Result<(), Obstacle> {
        let keys = self.group_keys()?;
        let mut aggregates = self.group_columns(&keys)?;
        let names: Vec<&str> = keys.iter().filter_map(|key| column_name(key.expression)).collect();
        self.having(&names, &mut aggregates)?;
        let mut sorts = Vec::new();
        for item in self.ordered()? {
            if let Some(by) = self.group_order(&item, &keys, &mut aggregates)? {
                sorts.push((by, item.descending));
            }
        }
        self.rule(
            "merge-groups",
            "Every shard sorts its groups by their keys, so that the parts of a group meet; the functions' values over the group are computed from those over its parts.",
        );
        if sorts.iter().all(|(by, _)| matches!(by, By::Key(_))) {
            self.in_order_of_keys(&keys, &sorts);
        } else {
            self.sort_after(&keys, &sorts);
        }
        self.merge.fold = Fold::Groups(aggregates);
        Ok(())
    }

    fn group_keys(&mut self) -> Result<Vec<GroupKey<'b>>, Obstacle> {
        let GroupByExpr::Expressions(groups, _) = &self.select.group_by else { return Err("GROUP BY") };
        if groups.len() != self.clauses.groups.len() {
            return Err("GROUP BY");
        }
        let mut keys = Vec::new();
        for (expression, written) in groups.iter().zip(self.clauses.groups.clone()) {
            let (expression, tokens, shown) = match self.in_group_by(expression, &written)? {
                Meant::Item(item) => {
                    let (expression, tokens) = self.expression(item).ok_or("GROUP BY")?;
                    (expression, tokens, self.place(item))
                }
                Meant::Own => (expression, written.clone(), None),
                Meant::Constant => return Err("GROUP BY a constant"),
            };
            let source = self.key(expression, &tokens, shown, Each::Group)?;
            keys.push(GroupKey { expression, written, tokens, source });
        }
        Ok(keys)
    }

    fn group_key(&self, keys: &[GroupKey<'_>], expression: &Expr, tokens: &Range<u32>) -> Option<usize> {
        keys.iter().position(|key| self.alike((key.expression, &key.tokens), (expression, tokens)))
    }

    /// Every column must be the same in all rows of a group, or an aggregate.
    fn group_columns(&mut self, keys: &[GroupKey<'_>]) -> Result<Vec<Aggregate>, Obstacle> {
        let mut aggregates = Vec::new();
        for place in 0..self.items.len() {
            let Item::Expression { expression, tokens, .. } = &self.items[place] else {
                return Err("a column that is neither grouped nor aggregated");
            };
            let (expression, tokens) = (*expression, tokens.clone());
            if is_constant(expression) || self.group_key(keys, expression, &tokens).is_some() {
                continue;
            }
            if is_total(expression) {
                let at = self.place(place).ok_or("GROUP BY")?;
                aggregates.push(self.aggregate(expression, &tokens, at)?);
                continue;
            }
            self.depends_on_keys(keys, expression)?;
        }
        Ok(aggregates)
    }

    /// An expression over columns that are keys has one value in a group.
    fn depends_on_keys(&self, keys: &[GroupKey<'_>], expression: &Expr) -> Result<(), Obstacle> {
        let contents = Contents::of(expression);
        if contents.aggregate {
            return Err("an expression over an aggregate");
        }
        let is_key = |name: &String| {
            self.one_source()
                && keys
                    .iter()
                    .any(|key| column_name(key.expression).is_some_and(|key| key.eq_ignore_ascii_case(name)))
        };
        match contents.unfit() {
            Some(obstacle) => Err(obstacle),
            None if contents.names.iter().all(is_key) => Ok(()),
            None => Err("a column that is neither grouped nor aggregated"),
        }
    }

    fn group_order(
        &mut self,
        item: &Ordered<'b>,
        keys: &[GroupKey<'_>],
        aggregates: &mut Vec<Aggregate>,
    ) -> Result<Option<By>, Obstacle> {
        let (expression, tokens, shown) = match item.meant {
            Meant::Constant => return Ok(None),
            Meant::Item(place) => {
                let (expression, tokens) = self.expression(place).ok_or("ORDER BY")?;
                (expression, tokens, self.place(place))
            }
            Meant::Own => (item.expression, item.tokens.clone(), None),
        };
        if let Some(key) = self.group_key(keys, expression, &tokens) {
            return Ok(Some(By::Key(key)));
        }
        if !is_total(expression) {
            return Err("ORDER BY what is neither a grouped column nor an aggregate");
        }
        let place = match shown {
            Some(place) => place,
            None => {
                self.repeatable(&tokens, "a variable or parameter in ORDER BY")?;
                self.append(vec![Piece::Tokens(tokens.clone())])
            }
        };
        let known = aggregates.iter().position(|aggregate| aggregate.place == place);
        let known = match known {
            Some(known) => known,
            None => {
                let aggregate = self.aggregate(expression, &tokens, place)?;
                aggregates.push(aggregate);
                aggregates.len() - 1
            }
        };
        Ok(Some(By::Aggregate(compared(place, &aggregates[known].function))))
    }

    /// ORDER BY names keys only: the shards sort as the client wants, and by the other keys behind that.
    fn in_order_of_keys(&mut self, keys: &[GroupKey<'_>], sorts: &[(By, bool)]) {
        let mut order = Vec::new();
        let mut sorted = Vec::new();
        for (by, descending) in sorts {
            let By::Key(key) = by else { continue };
            order.push(SortKey { source: keys[*key].source, descending: *descending });
            sorted.push(*key);
        }
        let rest: Vec<usize> = (0..keys.len()).filter(|key| !sorted.contains(key)).collect();
        order.extend(rest.iter().map(|key| SortKey { source: keys[*key].source, descending: false }));
        let mut new = Vec::new();
        for key in rest {
            let words = if new.is_empty() && self.query.order_by.is_none() { " ORDER BY " } else { ", " };
            new.push(Piece::Text(words.to_owned()));
            new.push(Piece::Tokens(keys[key].written.clone()));
        }
        if !new.is_empty() {
            let end = self.clauses.order.end;
            self.edit(end..end, new);
        }
        self.sorted_by(order);
    }

    /// ORDER BY names an aggregate: only whole groups can be sorted by it.
    fn sort_after(&mut self, keys: &[GroupKey<'_>], sorts: &[(By, bool)]) {
        let mut new = Vec::new();
        for key in keys {
            let words = if new.is_empty() { " ORDER BY " } else { ", " };
            new.push(Piece::Text(words.to_owned()));
            new.push(Piece::Tokens(key.written.clone()));
        }
        let tokens = self.clauses.order.clone();
        self.edit(tokens, new);
        let order = keys.iter().map(|key| SortKey { source: key.source, descending: false }).collect();
        self.sorted_by(order);
        let sort = |(by, descending): &(By, bool)| {
            let source = match by {
                By::Key(key) => keys[*key].source,
                By::Aggregate(source) => *source,
            };
            SortKey { source, descending: *descending }
        };
        self.merge.sort = sorts.iter().map(sort).collect();
        self.limit_goes_down = false;
        self.rule("sort-groups", "Groups are sorted by an aggregate when all of them are whole.");
    }
}

fn compared(place: Place, function: &Function) -> KeySource {
    match function {
        Function::Least(source) | Function::Greatest(source) => *source,
        Function::Count
        | Function::Sum
        | Function::SumOr { .. }
        | Function::Average { .. }
        | Function::BitAnd
        | Function::BitOr
        | Function::BitXor => KeySource::Value(place),
    }
}
