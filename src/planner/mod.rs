//! How a statement can be answered: a pure function from statement and topology to a plan that can be printed, and the
//! cache of plans. Sees neither sessions nor servers.
//!
//! * `walk` and `from` read the AST into an `analysis`: table references, joins, conditions (`predicate`), names (`column`).
//! * `proof` decides from it whether shards can answer on their own.
//! * `merge` — what is done with the rows of several shards.
//! * `query`, `change`, `insert`, `load`, `named` turn that into a [`Plan`], one per family of statements; `unread`, `expression`,
//!   `view` and `alter` are parts of `named`. `access` says which databases a statement could name besides its plan's.

mod access;
mod alter;
mod analysis;
mod cache;
mod change;
mod column;
mod expression;
mod from;
mod function;
mod insert;
mod load;
mod merge;
mod named;
mod names;
mod physical;
mod predicate;
mod proof;
mod query;
mod scratch;
mod shard_column;
mod stored;
mod unread;
mod view;
mod walk;

pub(crate) use access::{Denied, denied};
pub(crate) use cache::{PlanCache, PlanKey};
pub(crate) use expression::expressions;
pub(crate) use load::CHARSETS_SPLIT;
pub(crate) use merge::{
    Aggregate, Comparison, Condition, Fold, Function, KeySource, Merge, Piece, Place, SortKey, Window, tokens,
};
pub(crate) use physical::{
    Combine, FileLines, InsertId, KeyExpression, KeyFilter, KeyPart, Numbered, Plan, Routing, ShardColumn,
    Verb,
};

pub(crate) use scratch::{Fragment, Scratch, scratch};

use crate::error::ClientError;
use crate::sql::{self, Kind};
use crate::topology::{ShardId, Topology};

/// All that a plan depends on besides the topology.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) text: &'r [u8],
    /// The scan of `text`.
    pub(crate) statement: &'r sql::Statement,
    pub(crate) context: &'r sql::Context,
    /// The session's database.
    pub(crate) database: Option<&'r str>,
}

/// Plans one statement. Whatever cannot be answered is a plan, too: one that refuses.
pub(crate) fn plan(request: &Request<'_>, topology: &Topology) -> Plan {
    match request.statement.kind {
        Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete => {
            match sql::parse(request.text, request.statement, request.context) {
                Ok(statement) => read(&statement, request, topology),
                Err(error) => named::unread(&error.to_string(), request, topology),
            }
        }
        _ => named::plan(request, topology),
    }
}

/// Plans a statement that the grammar has read.
fn read(statement: &sqlparser::ast::Statement, request: &Request<'_>, topology: &Topology) -> Plan {
    use sqlparser::ast::Statement;
    let mut plan = match statement {
        // WITH in front of a write.
        Statement::Query(query) if !is_read(query) => {
            return named::unread("WITH in front of UPDATE or DELETE is not read yet", request, topology);
        }
        Statement::Query(select) => query::plan(select, request, topology),
        Statement::Update(update) => change::update(update, request, topology),
        Statement::Delete(delete) => change::delete(delete, request, topology),
        Statement::Insert(insert) => insert::plan(insert, request, topology),
        _ => return named::plan(request, topology),
    };
    if request.statement.features.has(sql::Feature::NamedLock) {
        lock_by_name(&mut plan, topology);
    }
    if request.statement.features.has(sql::Feature::ShardColumn)
        && !matches!(plan.routing, Routing::Refused { .. })
    {
        shard_column::mark(statement, &mut plan, request, topology);
    }
    plan
}

/// A lock by name excludes others on one server only: all sessions ask the primary of the same shard for it.
fn lock_by_name(plan: &mut Plan, topology: &Topology) {
    const LOCKS: ShardId = ShardId(0);
    match &plan.routing {
        Routing::Anywhere => {
            plan.routing = Routing::One(LOCKS);
            plan.rule = "named-lock";
            plan.proof =
                "A lock by name excludes others on one server only: all sessions ask the same shard for it."
                    .to_owned();
        }
        Routing::One(LOCKS) | Routing::Refused { .. } => {}
        _ if topology.shards.len() == 1 => {}
        _ => {
            let name = &topology.shard(LOCKS).name;
            let detail =
                format!("a lock by name, all of which are on shard {name}, beside rows that are not");
            let tables = std::mem::take(&mut plan.tables);
            *plan = Plan::refused(plan.verb, ClientError::new("SW1202", detail)).over(tables);
        }
    }
    if plan.verb == Verb::Read {
        plan.verb = Verb::LockingRead;
    }
}

fn is_read(query: &sqlparser::ast::Query) -> bool {
    use sqlparser::ast::SetExpr;
    !matches!(
        query.body.as_ref(),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    )
}

impl Plan {
    fn new(verb: Verb, routing: Routing, rule: &'static str, proof: impl Into<String>) -> Plan {
        Plan {
            verb,
            routing,
            combine: Combine::Concatenate,
            tables: Vec::new(),
            rule,
            proof: proof.into(),
            shard_columns: Vec::new(),
            insert_id: InsertId::Unknown,
            calls_stored: false,
            cacheable: true,
        }
    }

    /// A plan that refuses, unless the session or a hint names the shard to run on.
    fn refused(verb: Verb, error: ClientError) -> Plan {
        let proof = "No rule answers it, so it is refused rather than guessed at.";
        Plan::new(verb, Routing::Refused { error, unless_shard_chosen: true }, "refused", proof)
    }

    fn combined(mut self, combine: Combine) -> Plan {
        self.combine = combine;
        self
    }

    fn over(mut self, tables: Vec<String>) -> Plan {
        self.tables = tables;
        self
    }
}
