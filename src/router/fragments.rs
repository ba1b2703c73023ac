//! What one server computes, in words: the rows that are copied to it, where they come from, and the statement that runs there.

use super::explain::{TEXT_CHARACTERS_MAX, shown_up_to};
use super::{Part, RouteError, SessionView, route};
use crate::planner::{self, Combine, Fragment, Plan, Request};
use crate::sql::Statement;
use crate::topology::Topology;

/// As a session outside of a transaction would have it.
pub(super) fn scratch_facts(
    request: &Request<'_>,
    plan: &Plan,
    view: &SessionView<'_>,
    topology: &Topology,
    facts: &mut Vec<(&'static str, String)>,
) {
    let scratch = match planner::scratch(request, topology, false) {
        Ok(scratch) => scratch,
        Err(error) => {
            facts.push(("refused", format!("{}: {}", error.entry.id, error.detail)));
            return;
        }
    };
    if let Combine::Scratch { construct } = plan.combine {
        facts.push(("scratch", format!("no rule merges it: {construct}")));
    }
    facts.push(match scratch.home {
        Some(shard) => ("server", format!("that of {}, which has tables of it", topology.shard(shard).name)),
        None => ("server", "that of any shard".to_owned()),
    });
    for fragment in &scratch.fragments {
        facts.push(("copy", copied(fragment, request, view, topology)));
    }
    facts.push(("there", shown_up_to(&scratch.text, TEXT_CHARACTERS_MAX)));
    let proof = "One server has a copy of every row that can count, under its table's definition, and computes the statement itself.";
    facts.push(("proof", proof.to_owned()));
}

/// `SELECT … (shards one, two)`
fn copied(fragment: &Fragment, request: &Request<'_>, view: &SessionView<'_>, topology: &Topology) -> String {
    let text = fragment.select("*");
    let shown = shown_up_to(&text, TEXT_CHARACTERS_MAX);
    let name = match fragment.hides() {
        true => fragment.source(),
        false => fragment.copy(),
    };
    let mut statement = Statement::default();
    if let Err(error) = statement.scan(&text, request.context) {
        return format!("{name}: {error}");
    }
    let inner = Request { text: &text, statement: &statement, ..*request };
    let plan = planner::plan(&inner, topology);
    let from = match route(&plan, &text, &statement, view, topology) {
        Ok(found) => match found.part {
            Part::Many(targets) => {
                let names: Vec<&str> =
                    targets.iter().map(|target| topology.shard(target.shard).name.0.as_ref()).collect();
                names.join(", ")
            }
            Part::One(shard) => topology.shard(shard).name.0.to_string(),
            Part::Any | Part::Nowhere => "any shard".to_owned(),
            Part::Scratch => "several servers".to_owned(),
        },
        Err(RouteError::WeightsNeeded { .. }) => "the shards that its text keys are on".to_owned(),
        Err(RouteError::Refused(error)) => format!("refused: {}: {}", error.entry.id, error.detail),
    };
    format!("{name}: {shown} (from {from})")
}
