//! FROM: tables, joins, derived tables and common table expressions, and the conditions that joins bring.

use sqlparser::ast::{Cte, Ident, Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};

use super::analysis::{
    Analysis, BlockId, DEPTH_MAX, Fact, JoinId, OuterJoin, REFERENCES_MAX, RefId, Source, Visible,
};
use super::names::{NOT_A_NAME, Place, split};
use super::predicate::Predicate;
use super::walk::{Names, Shape};
use crate::error::ClientError;
use crate::sql::Flavor;

/// What stands to the left of a join, within one item of FROM.
struct Left {
    /// The first of the block's names that is its own.
    first_visible: usize,
    first_fact: usize,
    refs: Vec<RefId>,
}

impl Analysis<'_> {
    /// The tables of a FROM clause; commas are inner joins.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        names: &Names<'_>,
        block: BlockId,
        within: &[JoinId],
    ) -> Vec<RefId> {
        let mut refs = Vec::new();
        for tables in from {
            refs.extend(self.joined(tables, names, block, within));
        }
        refs
    }

    fn joined(
        &mut self,
        tables: &TableWithJoins,
        names: &Names<'_>,
        block: BlockId,
        within: &[JoinId],
    ) -> Vec<RefId> {
        let mut left = Left {
            first_visible: self.blocks[block].visible.len(),
            first_fact: self.facts.len(),
            refs: Vec::new(),
        };
        left.refs = self.factor(&tables.relation, names, block, within);
        for join in &tables.joins {
            self.join(join, names, block, within, &mut left);
        }
        left.refs
    }

    fn join(&mut self, join: &Join, names: &Names<'_>, block: BlockId, within: &[JoinId], left: &mut Left) {
        let (constraint, outer) = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint)
            | JoinOperator::StraightJoin(constraint) => (constraint, None),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, Some(true)),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                (constraint, Some(false))
            }
            _ => {
                self.refuse(ClientError::new("SW1201", "a kind of join that MySQL does not have"));
                return;
            }
        };
        let second = self.blocks[block].visible.len();
        // Facts already recorded for the left side of a RIGHT JOIN stand in its NULL side from now on.
        let id = outer.map(|_| {
            self.joins.push(OuterJoin { null_side: Vec::new(), inner: false });
            self.joins.len() - 1
        });
        let mut inside = within.to_vec();
        inside.extend(id.filter(|_| outer == Some(true)));
        let before = self.facts.len();
        let right = self.factor(&join.relation, names, block, &inside);
        if let Some(id) = id {
            let left_is_null = outer == Some(false);
            self.joins[id].null_side = if left_is_null { left.refs.clone() } else { right.clone() };
            if left_is_null {
                for fact in &mut self.facts[left.first_fact..before] {
                    if fact.block == block {
                        fact.within.push(id);
                    }
                }
            }
        }
        left.refs.extend(right);
        let mut under = within.to_vec();
        under.extend(id);
        match constraint {
            JoinConstraint::On(condition) => {
                self.condition(condition, block, id, &under);
                self.expressions(condition, names, block);
            }
            JoinConstraint::Using(columns) => {
                for column in columns {
                    if let Some((None, name)) = split(column) {
                        self.using(name, block, id, &under, left.first_visible, second);
                        self.blocks[block].coalesced.push(name.to_owned());
                    }
                }
            }
            JoinConstraint::Natural => {
                let keys: Vec<String> = self.blocks[block].visible[second..]
                    .iter()
                    .filter_map(|source| match &source.source {
                        Source::Table(of) => match &self.refs[*of].place {
                            Place::Sharded(key) => Some(key.name.clone()),
                            _ => None,
                        },
                        Source::Derived { .. } => None,
                    })
                    .collect();
                for key in keys {
                    self.using(&key, block, id, &under, left.first_visible, second);
                }
                self.blocks[block].natural = true;
            }
            JoinConstraint::None => {}
        }
    }

    /// `USING (column)`: an equality of keys when the column is the key on both sides.
    fn using(
        &mut self,
        column: &str,
        block: BlockId,
        on: Option<JoinId>,
        within: &[JoinId],
        first: usize,
        second: usize,
    ) {
        let key_among = |sources: &[Visible]| -> Option<RefId> {
            let mut keys = sources.iter().filter_map(|source| match &source.source {
                Source::Table(of) => match &self.refs[*of].place {
                    Place::Sharded(key) if key.name.eq_ignore_ascii_case(column) => Some(*of),
                    _ => None,
                },
                Source::Derived { exports, .. } => {
                    exports.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, of)| *of)
                }
            });
            // The NULL side of this very join is not yet extended as far as its own condition goes.
            let preserved = |of: &RefId| {
                !self.joins.iter().enumerate().any(|(id, join)| {
                    Some(id) != on && !within.contains(&id) && !join.inner && join.null_side.contains(of)
                })
            };
            keys.find(preserved)
        };
        let sources = &self.blocks[block].visible;
        if let (Some(left), Some(right)) = (key_among(&sources[first..second]), key_among(&sources[second..]))
        {
            let predicate = Predicate::Equal(left, right);
            self.facts.push(Fact { block, predicate, on, within: within.to_vec() });
        }
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        names: &Names<'_>,
        block: BlockId,
        within: &[JoinId],
    ) -> Vec<RefId> {
        let mut refs = Vec::new();
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => match split(name) {
                Some((database, table)) => {
                    let alias = alias.as_ref().map(|alias| alias.name.value.as_str());
                    refs = self.named_table(database, table, alias, names, block, within);
                }
                None => self.refuse(ClientError::new("SW1201", NOT_A_NAME)),
            },
            TableFactor::Derived { subquery, alias, lateral, .. } => {
                let parent = if *lateral { Some(block) } else { self.blocks[block].parent };
                let shape = self.query(subquery, names, parent);
                let name = alias.as_ref().map_or("", |alias| alias.name.value.as_str());
                let renamed: Vec<&Ident> =
                    alias.iter().flat_map(|alias| &alias.columns).map(|column| &column.name).collect();
                refs.extend(shape.refs.iter().copied());
                self.derived(name, shape, &renamed, *lateral, within, block);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                if self.depth >= DEPTH_MAX {
                    self.refuse(ClientError::new(
                        "SW1210",
                        format!("joins nested more than {DEPTH_MAX} deep"),
                    ));
                    return refs;
                }
                self.depth += 1;
                refs = self.joined(table_with_joins, names, block, within);
                self.depth -= 1;
            }
            TableFactor::JsonTable { json_expr, alias, .. } => {
                self.expressions(json_expr, names, block);
                let name = alias.as_ref().map_or("", |alias| alias.name.value.as_str());
                self.show(name, None, Source::Derived { exports: Vec::new(), columns: None }, block);
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                self.refuse(ClientError::new("SW1202", format!("the table expression {text}")));
            }
        }
        refs
    }

    /// Adds a walked derived table to the names of `block`.
    fn derived(
        &mut self,
        name: &str,
        shape: Shape,
        renamed: &[&Ident],
        lateral: bool,
        within: &[JoinId],
        block: BlockId,
    ) {
        let mut exports = Vec::new();
        if shape.plain && !lateral && renamed.is_empty() {
            if let Some(inner) = shape.block {
                for fact in &mut self.facts {
                    if fact.block == inner {
                        fact.within.extend_from_slice(within);
                    }
                }
                self.merge_block(inner, block);
            }
            exports = shape.exports;
        }
        let columns = match renamed {
            [] => shape.columns,
            renamed => Some(renamed.iter().map(|column| column.value.clone()).collect()),
        };
        self.show(name, None, Source::Derived { exports, columns }, block);
    }

    fn show(&mut self, name: &str, database: Option<String>, source: Source, block: BlockId) {
        self.blocks[block].visible.push(Visible { name: name.to_owned(), database, source });
    }

    /// A name in FROM: a common table expression or a table.
    pub(super) fn named_table(
        &mut self,
        database: Option<&str>,
        table: &str,
        alias: Option<&str>,
        names: &Names<'_>,
        block: BlockId,
        within: &[JoinId],
    ) -> Vec<RefId> {
        if database.is_none() && table.eq_ignore_ascii_case("dual") && alias.is_none() {
            return Vec::new();
        }
        if database.is_none()
            && let Some(refs) = self.common_table(table, alias, names, block, within)
        {
            return refs;
        }
        let Some((of, database)) = self.add_reference(database, table, block) else { return Vec::new() };
        self.show(alias.unwrap_or(table), alias.is_none().then_some(database), Source::Table(of), block);
        vec![of]
    }

    /// Walks the body of a common table expression for this one mention of it; `None` when none has the name.
    fn common_table(
        &mut self,
        table: &str,
        alias: Option<&str>,
        names: &Names<'_>,
        block: BlockId,
        within: &[JoinId],
    ) -> Option<Vec<RefId>> {
        let mut at = Some(names);
        while let Some(scope) = at {
            let folded = table.to_lowercase();
            let named = |cte: &Cte| {
                let name = &cte.alias.name.value;
                name == table || name.to_lowercase() == folded
            };
            let known = scope.own.into_iter().chain(0..scope.count);
            if let Some(cte) = known.map(|at| &scope.ctes[at]).find(|cte| named(cte))
                && cte.alias.name.value != table
                && self.request.context.flavor == Flavor::MySql
            {
                // MariaDB finds it; MySQL does under lower_case_table_names alone, else looks for a table.
                let detail =
                    format!("{table}, which a common table expression is called but for the case of letters");
                self.refuse(ClientError::new("SW1202", detail));
                return Some(Vec::new());
            }
            if let Some(own) = scope.own
                && named(&scope.ctes[own])
            {
                let source = Source::Derived { exports: Vec::new(), columns: None };
                self.show(alias.unwrap_or(table), None, source, block);
                return Some(Vec::new());
            }
            if let Some(index) = scope.ctes[..scope.count].iter().rposition(named) {
                let own = scope.recursive.then_some(index);
                let inner = Names {
                    outer: scope.outer,
                    ctes: scope.ctes,
                    count: index,
                    own,
                    recursive: scope.recursive,
                };
                let cte = &scope.ctes[index];
                if self.refs.len() >= REFERENCES_MAX || self.blocks.len() > 4 * REFERENCES_MAX {
                    self.refuse(ClientError::new("SW1210", "common table expressions that multiply"));
                    return Some(Vec::new());
                }
                let shape = self.query(&cte.query, &inner, None);
                let renamed: Vec<&Ident> = cte.alias.columns.iter().map(|column| &column.name).collect();
                let refs = shape.refs.clone();
                self.derived(alias.unwrap_or(table), shape, &renamed, false, within, block);
                return Some(refs);
            }
            at = scope.outer;
        }
        None
    }
}
