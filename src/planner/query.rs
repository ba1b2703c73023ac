//! SELECT: from the proof to a plan.

use sqlparser::ast::{Query, SetExpr};

use super::Request;
use super::analysis::{Analysis, BlockId};
use super::merge;
use super::names::Place;
use super::physical::{Combine, KeyFilter, KeyPart, Plan, Routing, Verb};
use super::proof::Placed;
use super::scratch::{fits_scratch, in_scratch};
use super::walk::Names;
use crate::error::ClientError;
use crate::topology::{Database, Home, ShardId, Topology};

pub(super) fn plan(query: &Query, request: &Request<'_>, topology: &Topology) -> Plan {
    let mut analysis = Analysis::new(request, topology);
    let shape = analysis.query(query, &Names::NONE, None);
    let verb = match analysis.verb {
        Verb::Read if request.statement.features.has(crate::sql::Feature::Locking) => Verb::LockingRead,
        verb => verb,
    };
    let tables = analysis.tables();
    if let Some(error) = analysis.refusal.take() {
        return Plan::refused(verb, error).over(tables);
    }
    let top = shape.block.filter(|_| !matches!(query.body.as_ref(), SetExpr::SetOperation { .. }));
    let placed = analysis.placed(top);
    let plan = match placed {
        Placed::Refused(error) => match analysis.spread() {
            Some(describe) if fits_scratch(verb, &analysis, request) => in_scratch(verb, describe),
            _ => Plan::refused(verb, error),
        },
        Placed::One(shard) => single(verb, shard, topology),
        Placed::Anywhere { reference: true, .. } if verb == Verb::LockingRead => {
            // Always the same copy: two sessions that lock a row exclude each other as on one server.
            let proof = "Rows of reference tables are locked in one copy, the same for everybody.";
            Plan::new(verb, Routing::One(ShardId(0)), "reference-lock", proof)
        }
        Placed::Anywhere { reference, system } => anywhere(verb, reference, system, request, topology),
        Placed::CoLocated(part) => {
            let count = analysis.sharded().len();
            let (combine, cacheable) = combine(query, &analysis, shape.block);
            Plan { cacheable, ..co_located(verb, part, count, topology).combined(combine) }
        }
        Placed::Pinned(parts) => {
            let construct = match query.body.as_ref() {
                SetExpr::SetOperation { .. } => "UNION, EXCEPT or INTERSECT",
                _ => analysis.why_not_tied(&parts, shape.block),
            };
            pinned(verb, parts, construct)
        }
    };
    let plan = match plan.combine {
        Combine::Refuse { construct } if fits_scratch(verb, &analysis, request) => {
            plan.combined(Combine::Scratch { construct })
        }
        _ => plan,
    };
    Plan { calls_stored: !analysis.stored.is_empty(), ..plan.over(tables) }
}

/// What several shards' rows become, and whether the plan serves other literals, too.
fn combine(query: &Query, analysis: &Analysis<'_>, block: Option<BlockId>) -> (Combine, bool) {
    let Some(construct) = analysis.first_obstacle(block) else { return (Combine::Concatenate, true) };
    // Only what the block itself wants of all rows can be merged.
    let Some(block) = block.filter(|_| analysis.obstacle_anywhere().is_none()) else {
        return (Combine::Refuse { construct }, true);
    };
    match merge::plan(query, analysis, block, construct) {
        Ok(merged) => (Combine::Merge(Box::new(merged.merge)), merged.cacheable),
        Err((construct, cacheable)) => (Combine::Refuse { construct }, cacheable),
    }
}

impl Analysis<'_> {
    /// What keeps several shards from answering side by side.
    pub(super) fn first_obstacle(&self, block: Option<BlockId>) -> Option<&'static str> {
        let own = block.and_then(|block| self.blocks.get(block)?.obstacles.first().copied());
        own.or(self.obstacle_anywhere())
    }

    /// What stands in the way wherever it stands.
    fn obstacle_anywhere(&self) -> Option<&'static str> {
        let system = self.refs.iter().any(|reference| reference.place == Place::System);
        self.obstacle.or(system.then_some("a table of a system schema"))
    }

    /// Names what would have to see rows of several shards at once.
    pub(super) fn why_not_tied(&self, parts: &[KeyPart], top: Option<BlockId>) -> &'static str {
        let sharded = self.sharded();
        if sharded.iter().any(|of| Some(self.refs[*of].home) != top) {
            return "a subquery, derived table or CTE over a sharded table that is not tied to the outer tables by the shard key";
        }
        if parts.iter().any(|part| part.scheme != parts[0].scheme) {
            return "a join of tables of different schemes";
        }
        if sharded.iter().all(|of| self.is_null_extended(*of)) {
            return "an outer join that keeps rows of a table that is not sharded";
        }
        "a join that is not on the shard key"
    }
}

pub(super) fn single(verb: Verb, shard: ShardId, topology: &Topology) -> Plan {
    let proof = format!("Every table is whole on shard {}.", topology.shard(shard).name);
    Plan::new(verb, Routing::One(shard), "single", proof)
}

fn anywhere(verb: Verb, reference: bool, system: bool, request: &Request<'_>, topology: &Topology) -> Plan {
    if system {
        return system_schema(verb, request, topology);
    }
    let (rule, proof) = match reference {
        true => {
            ("reference", "Reference tables have a full copy on every shard, so any shard gives the answer.")
        }
        false => ("no-table", "The statement reads no table, so any shard gives the answer."),
    };
    Plan::new(verb, Routing::Anywhere, rule, proof)
}

/// `information_schema` and its kin: the shard where the session's unlisted tables are, else any.
pub(super) fn system_schema(verb: Verb, request: &Request<'_>, topology: &Topology) -> Plan {
    match request.database.and_then(|name| topology.database(name)).map(Database::home) {
        Some(Home::One(shard)) => {
            let name = &topology.shard(shard).name;
            let proof = format!("System schemas describe one server: that of {name}, which has all tables.");
            Plan::new(verb, Routing::One(shard), "system", proof)
        }
        Some(Home::Spread) => {
            let construct =
                "a system schema, which describes one server, while no server has all tables of the database";
            Plan::refused(verb, ClientError::new("SW1202", construct))
        }
        Some(Home::Anywhere) | None => {
            let proof =
                "System schemas describe one server: that of any shard, since tables are alike on all.";
            Plan::new(verb, Routing::Anywhere, "system", proof)
        }
    }
}

pub(super) fn co_located(verb: Verb, part: KeyPart, references: usize, topology: &Topology) -> Plan {
    let scheme = &topology.scheme(part.scheme).name;
    let mut proof = match references {
        1 => format!("Each row of {} is on the shard of its key", table_of(&part)),
        _ => format!(
            "All {references} sharded tables are tied by equal keys of scheme {scheme}, so rows that meet are on one shard"
        ),
    };
    let rule = match &part.filter {
        KeyFilter::All => {
            proof.push_str("; nothing restricts the key, so every shard has a part.");
            "scatter"
        }
        KeyFilter::Nothing => {
            proof.push_str("; no key can satisfy the condition.");
            "nowhere"
        }
        KeyFilter::Equal(_) => {
            proof.push_str("; the condition leaves one key.");
            "by-key"
        }
        KeyFilter::In { .. } => {
            proof.push_str("; the condition leaves a list of keys.");
            "by-keys"
        }
        _ => {
            proof.push_str("; the condition leaves some keys.");
            "by-filter"
        }
    };
    Plan::new(verb, Routing::Keys { parts: vec![part], agree: false }, rule, proof)
}

pub(super) fn pinned(verb: Verb, parts: Vec<KeyPart>, construct: &'static str) -> Plan {
    if parts.is_empty() {
        return Plan::refused(verb, ClientError::new("SW1202", construct));
    }
    let proof = "Exact where the conditions on every sharded table leave the same one shard; refused where they leave more.";
    Plan::new(verb, Routing::Keys { parts, agree: true }, "pinned", proof)
        .combined(Combine::Refuse { construct })
}

fn table_of(part: &KeyPart) -> &str {
    part.column.rsplit_once('.').map_or(part.column.as_str(), |(table, _)| table)
}
