//! SELECT over several shards whose rows need more than being put one behind the other. Each shard has whole rows (that is
//! `proof`'s part); the rules here say what it is asked for and how its answer is merged. A rule that does not fit
//! names the construct, which is then refused.
//!
//! * `shape` — the plan. `clauses` — where things stand in the text. `contents` — what an expression is made of.
//! * `keys` — how rows compare: columns that are appended for that. `select` — the select list and the names in it.
//! * The rules: `order`, `limit`, `totals` (aggregates without groups), `group`, `having`, `distinct`; `aggregate` — one of the functions.

mod aggregate;
mod builder;
mod clauses;
mod contents;
mod distinct;
mod group;
mod having;
mod keys;
mod limit;
mod order;
mod select;
mod shape;
mod totals;

use sqlparser::ast::{Distinct, GroupByExpr, Query, SetExpr};

pub(crate) use clauses::tokens;
pub(crate) use shape::{
    Aggregate, Comparison, Condition, Fold, Function, KeySource, Merge, Piece, Place, SortKey, Window,
};

use super::analysis::{Analysis, Block, BlockId};
use super::physical::Verb;
use builder::Builder;

/// The construct that no rule merges.
pub(super) type Obstacle = &'static str;

/// What the rules made.
pub(super) struct Merged {
    pub(super) merge: Merge,
    /// The plan serves other literals of the fingerprint, too.
    pub(super) cacheable: bool,
}

/// Merges the one SELECT that `block` is. `first` is the obstacle to name where nothing better is known. On refusal also says
/// whether that holds for other literals.
pub(super) fn plan(
    query: &Query,
    analysis: &Analysis<'_>,
    block: BlockId,
    first: Obstacle,
) -> Result<Merged, (Obstacle, bool)> {
    let mut builder = begin(query, analysis, block, first).map_err(|construct| (construct, true))?;
    match build(&mut builder, &analysis.blocks[block]) {
        Ok(()) => Ok(builder.finish()),
        Err(construct) => Err((construct, builder.is_cacheable())),
    }
}

fn begin<'b, 'r>(
    query: &'b Query,
    analysis: &'b Analysis<'r>,
    block: BlockId,
    first: Obstacle,
) -> Result<Builder<'b, 'r>, Obstacle> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(first) };
    let state = &analysis.blocks[block];
    let never = |construct: &&Obstacle| {
        matches!(**construct, "a window function" | "SQL_CALC_FOUND_ROWS" | "SELECT … INTO")
    };
    if let Some(construct) = state.obstacles.iter().find(never) {
        return Err(construct);
    }
    if analysis.verb == Verb::LockingRead || query.fetch.is_some() {
        return Err(first);
    }
    Builder::new(query, select, analysis, block).ok_or(first)
}

fn build(builder: &mut Builder<'_, '_>, state: &Block) -> Result<(), Obstacle> {
    let select = builder.select;
    let has = |construct: Obstacle| state.obstacles.contains(&construct);
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => return Err("GROUP BY"),
        GroupByExpr::Expressions(groups, modifiers) if modifiers.is_empty() => !groups.is_empty(),
        GroupByExpr::Expressions(..) => return Err("GROUP BY … WITH ROLLUP"),
    };
    let whole_groups = !has("GROUP BY");
    match select.distinct {
        Some(Distinct::On(_)) => return Err("DISTINCT"),
        // Equal rows may come from several shards; and where they cannot, appended columns could part them.
        Some(Distinct::Distinct) if has("DISTINCT") || has("ORDER BY") => {
            if grouped && !whole_groups || state.aggregated.is_some() && !grouped {
                return Err("DISTINCT");
            }
            builder.distinct()?;
        }
        Some(Distinct::Distinct | Distinct::All) | None if grouped && !whole_groups => builder.groups()?,
        Some(Distinct::Distinct | Distinct::All) | None if !grouped && state.aggregated.is_some() => {
            builder.totals()?
        }
        Some(Distinct::Distinct | Distinct::All) | None => builder.rows()?,
    }
    builder.limit()
}
