//! Which shards and which role, for one statement now: a pure function of plan, statement, session view and topology.
//! Never falls back to more shards silently: a key that no shard owns is an error.

mod explain;
mod fragments;
mod key;
mod lines;
mod merged;
mod resolve;
mod rewrite;
mod route;
mod rows;

use crate::error::ClientError;
use crate::planner::{self, Combine, Plan, Routing, Verb};
use crate::sql::{self, Feature};
use crate::topology::{Role, ShardId, ShardSet, Topology};

pub(crate) use explain::{facts, print};
pub(crate) use lines::LineSplitter;
use resolve::Resolver;
pub(crate) use route::{Part, Route, RouteError, SessionView, Target, WeightCache};

/// Resolves `plan` for the literals of `statement`, which was scanned from `text`.
pub(crate) fn route(
    plan: &Plan,
    text: &[u8],
    statement: &sql::Statement,
    view: &SessionView<'_>,
    topology: &Topology,
) -> Result<Route, RouteError> {
    let role = role_of(plan, view)?;
    let resolver = Resolver { text, statement, view, topology };
    let part = match (&plan.routing, view.shard) {
        (Routing::Refused { error, unless_shard_chosen }, chosen)
            if chosen.is_none() || !unless_shard_chosen =>
        {
            return Err(error.clone().into());
        }
        // The session or the statement itself names the shard: that is where it goes.
        (_, Some(chosen)) => Part::One(chosen),
        (routing, None) => resolver.part(routing, plan)?,
    };
    let part = match (&plan.combine, part) {
        (Combine::Scratch { .. }, Part::Many(targets)) if targets.len() > 1 => Part::Scratch,
        (_, part) => part,
    };
    let part = match plan.shard_columns.as_slice() {
        [] => part,
        mentions => rewrite::with_shard_names(part, text, statement, mentions, topology),
    };
    check(plan, statement, &part)?;
    let part = match (&plan.combine, part) {
        (Combine::Merge(merge), Part::Many(targets)) if targets.len() > 1 => {
            let request = planner::Request { text, statement, context: view.context, database: None };
            merged::texts(targets, merge, &request)?
        }
        (_, part) => part,
    };
    Ok(Route { role, part })
}

fn role_of(plan: &Plan, view: &SessionView<'_>) -> Result<Role, RouteError> {
    match (plan.verb, view.role) {
        (_, None | Some(Role::Primary)) => Ok(Role::Primary),
        (Verb::Read, Some(Role::Replica)) => Ok(Role::Replica),
        (Verb::LockingRead | Verb::Write | Verb::Definition, Some(Role::Replica)) => {
            let detail = "a replica was asked for, and the statement writes or locks";
            Err(ClientError::new("SW1218", detail).into())
        }
    }
}

/// What several shards must not be asked side by side.
fn check(plan: &Plan, statement: &sql::Statement, part: &Part) -> Result<(), RouteError> {
    let Part::Many(targets) = part else { return Ok(()) };
    if targets.len() < 2 {
        return Ok(());
    }
    let refuse = |construct: &str| {
        let detail = format!("{construct} over {} shards", targets.len());
        Err(RouteError::Refused(ClientError::new("SW1202", detail)))
    };
    if let Combine::Refuse { construct } = plan.combine {
        return refuse(construct);
    }
    // State of one connection: the other shards' connections do not have it.
    let features = [
        (Feature::UserVariableWrite, "an assignment to a user variable"),
        (Feature::LastInsertId, "LAST_INSERT_ID()"),
        (Feature::RowCount, "ROW_COUNT()"),
        (Feature::FoundRows, "FOUND_ROWS()"),
        (Feature::CalcFoundRows, "SQL_CALC_FOUND_ROWS"),
        (Feature::ConnectionId, "CONNECTION_ID()"),
        (Feature::NamedLock, "a named lock"),
        (Feature::IntoFile, "INTO OUTFILE"),
        (Feature::SideEffect, "a function with side effects"),
    ];
    // Fields of a file that are put into variables are used by the same statement.
    let own = |feature: Feature| {
        matches!(plan.routing, Routing::Lines(_))
            && matches!(feature, Feature::UserVariable | Feature::UserVariableWrite)
    };
    match features.iter().find(|(feature, _)| statement.features.has(*feature) && !own(*feature)) {
        Some((_, construct)) if plan.verb != Verb::Definition => refuse(construct),
        _ => Ok(()),
    }
}

/// The text unchanged for every shard of the set.
fn unchanged(shards: &ShardSet) -> Part {
    let mut each = shards.iter();
    match (each.next(), shards.len()) {
        (None, _) => Part::Nowhere,
        (Some(only), 1) => Part::One(only),
        _ => Part::Many(
            shards.iter().map(|shard| Target { shard, text: None, parameters: Vec::new() }).collect(),
        ),
    }
}

fn one_of(shards: &ShardSet) -> Option<ShardId> {
    shards.iter().next().filter(|_| shards.len() == 1)
}

#[cfg(test)]
mod tests;
