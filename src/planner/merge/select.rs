//! The select list: its items, where they are in a row, and which of them a name in ORDER BY or GROUP BY means.

use std::ops::Range;

use sqlparser::ast::{Expr, Ident, Select, SelectItem, Value};

use super::Obstacle;
use super::builder::Builder;
use super::clauses::Clauses;
use super::contents::Contents;
use super::shape::Place;
use crate::planner::analysis::Source;
use crate::planner::column::visible;
use crate::topology::Column;

pub(super) enum Item<'b> {
    Wildcard,
    Expression { expression: &'b Expr, tokens: Range<u32>, alias: Option<&'b str> },
}

/// `None` where text and AST differ.
pub(super) fn items<'b>(select: &'b Select, clauses: &Clauses<'_>) -> Option<Vec<Item<'b>>> {
    if select.projection.len() != clauses.items.len() {
        return None;
    }
    let item = |(place, item): (usize, &'b SelectItem)| {
        Some(match item {
            SelectItem::UnnamedExpr(expression) => {
                Item::Expression { expression, tokens: clauses.expression(place, false)?, alias: None }
            }
            SelectItem::ExprWithAlias { expr, alias } => Item::Expression {
                expression: expr,
                tokens: clauses.expression(place, true)?,
                alias: Some(alias.value.as_str()),
            },
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => Item::Wildcard,
            SelectItem::ExprWithAliases { .. } => return None,
        })
    };
    select.projection.iter().enumerate().map(item).collect()
}

/// The last part of a column's name.
pub(super) fn column_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Identifier(column) => Some(&column.value),
        Expr::CompoundIdentifier(path) => path.last().map(|column| column.value.as_str()),
        _ => None,
    }
}

pub(super) fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) | Expr::Prefixed { .. } | Expr::TypedString(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_constant(expr),
        _ => false,
    }
}

/// `ORDER BY 2`, `GROUP BY 2`: counted from 1.
pub(super) fn ordinal(expression: &Expr) -> Option<usize> {
    let Expr::Value(value) = expression else { return None };
    match &value.value {
        Value::Number(digits, _) => digits.to_string().parse().ok(),
        _ => None,
    }
}

/// What is known of a name among the tables of the block.
pub(super) enum Named<'c> {
    Column(&'c Column),
    /// Perhaps, or with a type that is not known.
    Unclear,
    Nothing,
}

/// An item that a name or number in a list means, or the list's own expression.
pub(super) enum Meant {
    Item(usize),
    Own,
    /// `ORDER BY NULL`
    Constant,
}

impl<'b> Builder<'b, '_> {
    /// Where the item is in a row: behind a wildcard only counted from the end.
    pub(super) fn place(&self, item: usize) -> Option<Place> {
        let wildcard = |items: &[Item<'_>]| items.iter().any(|item| matches!(item, Item::Wildcard));
        if !wildcard(self.items.get(..item)?) {
            return Some(Place::Start(item));
        }
        (!wildcard(self.items.get(item + 1..)?)).then(|| Place::End(self.items.len() - 1 - item))
    }

    pub(super) fn expression(&self, item: usize) -> Option<(&'b Expr, Range<u32>)> {
        match self.items.get(item)? {
            Item::Expression { expression, tokens, .. } => Some((expression, tokens.clone())),
            Item::Wildcard => None,
        }
    }

    pub(super) fn has_wildcard(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Wildcard))
    }

    /// Items that a bare name may mean: by alias, or as a column of that name.
    pub(super) fn called(&self, name: &str) -> Vec<usize> {
        let fits = |item: &Item<'_>| match item {
            Item::Expression { alias: Some(alias), .. } => alias.eq_ignore_ascii_case(name),
            Item::Expression { expression, alias: None, .. } => {
                column_name(expression).is_some_and(|own| own.eq_ignore_ascii_case(name))
            }
            Item::Wildcard => false,
        };
        (0..self.items.len()).filter(|item| fits(&self.items[*item])).collect()
    }

    /// Whether the item shows a column of this very name.
    fn is_column_called(&self, item: usize, name: &str) -> bool {
        self.expression(item)
            .and_then(|(expression, _)| column_name(expression))
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether some alias hides a column of that name behind another expression.
    pub(super) fn is_hidden_by_alias(&self, name: &str) -> bool {
        self.items.iter().enumerate().any(|(place, item)| match item {
            Item::Expression { alias: Some(alias), .. } => {
                alias.eq_ignore_ascii_case(name) && !self.is_column_called(place, name)
            }
            Item::Expression { alias: None, .. } | Item::Wildcard => false,
        })
    }

    /// The item at a number as lists count them.
    pub(super) fn numbered(&self, ordinal: usize, clause: Obstacle) -> Result<Meant, Obstacle> {
        let item = ordinal.checked_sub(1).filter(|item| *item < self.items.len());
        let item = item.filter(|item| matches!(self.place(*item), Some(Place::Start(_))));
        match item.and_then(|item| self.expression(item).map(|_| item)) {
            Some(item) => Ok(Meant::Item(item)),
            None => Err(clause),
        }
    }

    /// What an item of ORDER BY means: names of the select list come before columns.
    pub(super) fn in_order_by(&self, expression: &Expr, tokens: &Range<u32>) -> Result<Meant, Obstacle> {
        if let Some(ordinal) = ordinal(expression) {
            return self.numbered(ordinal, "ORDER BY of a column number behind a wildcard");
        }
        if is_constant(expression) {
            return Ok(Meant::Constant);
        }
        if let Expr::Identifier(name) = expression {
            return self.name_in_order_by(name);
        }
        // Within expressions servers look for columns and aliases in orders of their own.
        if Contents::of(expression).names.iter().any(|name| self.is_hidden_by_alias(name)) {
            return Err("ORDER BY an expression over an alias");
        }
        Ok(self.item_with(expression, tokens).map_or(Meant::Own, Meant::Item))
    }

    fn name_in_order_by(&self, name: &Ident) -> Result<Meant, Obstacle> {
        const AMBIGUOUS: Obstacle = "ORDER BY a name that several columns have";
        match self.called(&name.value).as_slice() {
            [] => Ok(Meant::Own),
            [item] => {
                let clear = self.is_column_called(*item, &name.value)
                    || !self.has_wildcard()
                    || matches!(self.column(None, None, &name.value), Named::Nothing);
                if clear { Ok(Meant::Item(*item)) } else { Err(AMBIGUOUS) }
            }
            [first, others @ ..] => {
                let tokens = |item: usize| self.expression(item).map(|(_, tokens)| tokens);
                let alike = others.iter().all(|other| match (tokens(*first), tokens(*other)) {
                    (Some(first), Some(other)) => self.same(&first, &other),
                    _ => false,
                });
                if alike { Ok(Meant::Item(*first)) } else { Err(AMBIGUOUS) }
            }
        }
    }

    /// What an item of GROUP BY means: columns come before names of the select list.
    pub(super) fn in_group_by(&self, expression: &Expr, tokens: &Range<u32>) -> Result<Meant, Obstacle> {
        const AMBIGUOUS: Obstacle = "GROUP BY a name that may be a column or an alias";
        if let Some(ordinal) = ordinal(expression) {
            return self.numbered(ordinal, "GROUP BY a column number behind a wildcard");
        }
        if is_constant(expression) {
            return Err("GROUP BY a constant");
        }
        if let Expr::Identifier(name) = expression
            && self.is_hidden_by_alias(&name.value)
        {
            let called = self.called(&name.value);
            return match (called.as_slice(), self.column(None, None, &name.value)) {
                ([item], Named::Nothing) => Ok(Meant::Item(*item)),
                _ => Err(AMBIGUOUS),
            };
        }
        if Contents::of(expression).names.iter().any(|name| self.is_hidden_by_alias(name)) {
            return Err(AMBIGUOUS);
        }
        Ok(self.item_with(expression, tokens).map_or(Meant::Own, Meant::Item))
    }

    /// The item that has the same expression.
    pub(super) fn item_with(&self, expression: &Expr, tokens: &Range<u32>) -> Option<usize> {
        (0..self.items.len()).find(|item| {
            self.expression(*item)
                .is_some_and(|(own, own_tokens)| self.alike((own, &own_tokens), (expression, tokens)))
        })
    }

    /// The same text, or the same column with and without its table.
    pub(super) fn alike(&self, left: (&Expr, &Range<u32>), right: (&Expr, &Range<u32>)) -> bool {
        if let (Some(left), Some(right)) = (column_name(left.0), column_name(right.0))
            && self.one_source()
        {
            return left.eq_ignore_ascii_case(right);
        }
        self.same(left.1, right.1)
    }

    /// A column of the block's own tables.
    pub(super) fn column(&self, database: Option<&str>, table: Option<&str>, name: &str) -> Named<'_> {
        let block = &self.analysis.blocks[self.block];
        let joined = block.natural || block.coalesced.iter().any(|column| column.eq_ignore_ascii_case(name));
        if joined {
            return Named::Unclear;
        }
        let sources: Vec<_> = match table {
            Some(table) => visible(block, database, table).into_iter().collect(),
            None => block.visible.iter().collect(),
        };
        let mut found = Named::Nothing;
        for source in sources {
            let Source::Table(of) = &source.source else {
                match &source.source {
                    Source::Derived { columns: Some(columns), .. }
                        if !columns.iter().any(|column| column.eq_ignore_ascii_case(name)) =>
                    {
                        continue;
                    }
                    _ => return Named::Unclear,
                }
            };
            let columns = self.analysis.refs.get(*of).and_then(|reference| reference.columns.as_deref());
            let Some(columns) = columns else { return Named::Unclear };
            match (columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)), &found) {
                (None, _) => {}
                (Some(column), Named::Nothing) => found = Named::Column(column),
                (Some(_), _) => return Named::Unclear,
            }
        }
        found
    }

    /// The column that an expression is, as far as it is known.
    pub(super) fn column_of(&self, expression: &Expr) -> Named<'_> {
        match expression {
            Expr::Nested(inner) => self.column_of(inner),
            Expr::Identifier(column) => self.column(None, None, &column.value),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, column] => self.column(None, Some(&table.value), &column.value),
                [database, table, column] => {
                    self.column(Some(&database.value), Some(&table.value), &column.value)
                }
                _ => Named::Unclear,
            },
            _ => Named::Unclear,
        }
    }
}
