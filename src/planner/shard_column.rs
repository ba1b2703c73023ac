//! The pseudo-column `_shard`: finds where the text mentions it, so that the router can put the shard's name there.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, GroupByExpr, Query, SelectItem, Statement, TableFactor, Visit, Visitor};

use super::Request;
use super::column::{SHARD_COLUMN, is_shard_name};
use super::physical::{Combine, KeyFilter, Plan, Routing, ShardColumn};
use crate::error::ClientError;
use crate::sql::offset_of;
use crate::topology::{Resolution, Topology};

/// Adds the mentions to `plan`, unless a table has a column of that name or the statement calls something so itself.
pub(super) fn mark(statement: &Statement, plan: &mut Plan, _request: &Request<'_>, topology: &Topology) {
    let real = plan.tables.iter().any(|full_name| {
        full_name.split_once('.').is_some_and(|(database, table)| {
            matches!(topology.resolve(database, table), Resolution::Table(table) if table.column(SHARD_COLUMN).is_some())
        })
    });
    let mut mentions = Mentions::default();
    // The walk never breaks off, so that its result says nothing.
    let _ = statement.visit(&mut mentions);
    if mentions.found.is_empty() {
        return;
    }
    if real || mentions.renamed {
        // Conditions and groups were read before it was known that something else has the name.
        if mentions.grouped || filters_by_shard(plan) {
            let detail = "_shard where a column or an alias of the statement has that name, too";
            *plan = Plan::refused(plan.verb, ClientError::new("SW1202", detail))
                .over(std::mem::take(&mut plan.tables));
        }
        return;
    }
    if !matches!(plan.routing, Routing::Keys { .. }) && mentions.in_conditions {
        *plan = Plan::refused(
            plan.verb,
            ClientError::new("SW1202", "_shard in a condition on tables that are not sharded"),
        )
        .over(std::mem::take(&mut plan.tables));
        return;
    }
    if matches!(plan.combine, Combine::Merge(_)) {
        plan.combine = Combine::Refuse { construct: "_shard with what needs a merge" };
    }
    mentions.found.sort_by_key(|column| column.span.start);
    mentions.found.dedup();
    plan.shard_columns = mentions.found;
    plan.cacheable = false;
}

fn filters_by_shard(plan: &Plan) -> bool {
    fn names_shards(filter: &KeyFilter) -> bool {
        match filter {
            KeyFilter::Shard(_) => true,
            KeyFilter::And(inner) | KeyFilter::Or(inner) => inner.iter().any(names_shards),
            KeyFilter::All
            | KeyFilter::Nothing
            | KeyFilter::Equal(_)
            | KeyFilter::In { .. }
            | KeyFilter::Between { .. } => false,
        }
    }
    matches!(&plan.routing, Routing::Keys { parts, .. } if parts.iter().any(|part| names_shards(&part.filter)))
}

#[derive(Default)]
struct Mentions {
    found: Vec<ShardColumn>,
    in_conditions: bool,
    /// It stands in GROUP BY.
    grouped: bool,
    /// Something else is called `_shard` here: it is not the pseudo-column.
    renamed: bool,
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<()> {
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    if let Some(span) = mention(expression) {
                        self.found.push(ShardColumn { span, needs_alias: true });
                    }
                }
                SelectItem::ExprWithAlias { expr, alias }
                    if is_shard_name(alias) && mention(expr).is_none() =>
                {
                    self.renamed = true;
                }
                _ => {}
            }
        }
        if let GroupByExpr::Expressions(groups, _) = &select.group_by {
            self.grouped |= groups.iter().any(is_mention);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.renamed |= cte.alias.columns.iter().any(|column| is_shard_name(&column.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: Some(alias), .. } = table {
            self.renamed |= alias.columns.iter().any(|column| is_shard_name(&column.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Some(span) = mention(expression)
            && !self.found.iter().any(|known| known.span == span)
        {
            self.in_conditions = true;
            self.found.push(ShardColumn { span, needs_alias: false });
        }
        ControlFlow::Continue(())
    }
}

fn is_mention(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_mention(inner),
        other => mention(other).is_some(),
    }
}

/// The bytes of a mention, with its qualifiers.
fn mention(expression: &Expr) -> Option<std::ops::Range<u32>> {
    let (first, last) = match expression {
        Expr::Identifier(column) => (column, column),
        Expr::CompoundIdentifier(path) => (path.first()?, path.last()?),
        _ => return None,
    };
    if !is_shard_name(last) {
        return None;
    }
    let start = offset_of(first.span.start)?;
    let end = offset_of(last.span.end)?;
    (start < end).then_some(start..end)
}
