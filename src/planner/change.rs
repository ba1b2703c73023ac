//! UPDATE and DELETE. The rows that change must be found by a proof as for SELECT; a row never changes its shard, and
//! the copies of a reference table never come to differ.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, ObjectName, TableFactor, TableWithJoins, Update,
};

use super::Request;
use super::analysis::{Analysis, BlockId, RefId, Source};
use super::column::visible;
use super::names::{Place, parts, split};
use super::physical::{Combine, Plan, Routing, Verb};
use super::proof::Placed;
use super::query::{co_located, pinned, single};
use super::walk::Names;
use crate::error::ClientError;
use crate::sql::Feature;
use crate::topology::Topology;

pub(super) fn update(update: &Update, request: &Request<'_>, topology: &Topology) -> Plan {
    let mut analysis = Analysis::new(request, topology);
    let block = analysis.new_block(None);
    let from = std::slice::from_ref(&update.table);
    analysis.from(from, &Names::NONE, block, &[]);
    if update.from.is_some() || update.output.is_some() {
        analysis.refuse(ClientError::new("SW1201", "an UPDATE with a clause that MySQL does not have"));
    }
    condition(&mut analysis, update.selection.as_ref(), block);
    for assignment in &update.assignments {
        takes_default(&mut analysis, &assignment.value);
        analysis.expressions(&assignment.value, &Names::NONE, block);
    }
    analysis.expressions(&update.order_by, &Names::NONE, block);
    analysis.returning(update.returning.as_deref(), block);
    let mut targets = Vec::new();
    for assignment in &update.assignments {
        match assigned(&mut analysis, assignment, block) {
            Ok(found) => targets.extend(found),
            Err(error) => analysis.refuse(error),
        }
    }
    finish(analysis, block, &targets, update.limit.is_some(), topology)
}

pub(super) fn delete(delete: &Delete, request: &Request<'_>, topology: &Topology) -> Plan {
    let mut analysis = Analysis::new(request, topology);
    let block = analysis.new_block(None);
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let (tables, mut named): (&[TableWithJoins], Vec<&ObjectName>) = match &delete.using {
        Some(using) => (using, from.iter().filter_map(plain_name).collect()),
        None => (from, Vec::new()),
    };
    named.extend(&delete.tables);
    analysis.from(tables, &Names::NONE, block, &[]);
    condition(&mut analysis, delete.selection.as_ref(), block);
    analysis.expressions(&delete.order_by, &Names::NONE, block);
    analysis.returning(delete.returning.as_deref(), block);
    let mut targets = Vec::new();
    for name in named {
        match split(name).and_then(|(database, table)| source_of(&analysis, database, table, block)) {
            Some(of) => targets.push(of),
            None => {
                analysis.refuse(ClientError::new("SW1201", format!("{name} is not one of the joined tables")))
            }
        }
    }
    if targets.is_empty() {
        targets = (0..analysis.refs.len()).filter(|of| analysis.refs[*of].home == block).take(1).collect();
    }
    finish(analysis, block, &targets, delete.limit.is_some(), topology)
}

fn plain_name(tables: &TableWithJoins) -> Option<&ObjectName> {
    match &tables.relation {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

fn condition(analysis: &mut Analysis<'_>, selection: Option<&Expr>, block: BlockId) {
    if let Some(selection) = selection {
        analysis.condition(selection, block, None, &[]);
        analysis.expressions(selection, &Names::NONE, block);
    }
}

fn source_of(analysis: &Analysis<'_>, database: Option<&str>, table: &str, block: BlockId) -> Option<RefId> {
    // `DELETE db.t FROM db.t AS a`: MySQL wants the alias; a qualified name finds an unaliased table only.
    match visible(&analysis.blocks[block], database, table)?.source {
        Source::Table(of) => Some(of),
        Source::Derived { .. } => None,
    }
}

/// The tables that one assignment changes. Assigning a shard key is an error unless it keeps its value.
fn assigned(
    analysis: &mut Analysis<'_>,
    assignment: &Assignment,
    block: BlockId,
) -> Result<Vec<RefId>, ClientError> {
    let AssignmentTarget::ColumnName(name) = &assignment.target else {
        return Err(ClientError::new("SW1201", "an assignment to several columns at once"));
    };
    let path = parts(name).unwrap_or_default();
    let (table, column) = match path.as_slice() {
        [column] => (None, column.value.as_str()),
        [table, column] => (Some((None, table.value.as_str())), column.value.as_str()),
        [database, table, column] => {
            (Some((Some(database.value.as_str()), table.value.as_str())), column.value.as_str())
        }
        _ => return Err(ClientError::new("SW1201", format!("an assignment to {name}"))),
    };
    let key = analysis.key_named(
        table.and_then(|(database, _)| database),
        table.map(|(_, table)| table),
        column,
        block,
    );
    let key = key.or_else(|| possible_key(analysis, table.map(|(_, table)| table), column, block));
    if let Some(of) = key {
        if analysis.key_of(&assignment.value, block) != Some(of) {
            return Err(ClientError::new(
                "SW1204",
                format!("{column} is the shard key of {}", analysis.refs[of].full_name),
            ));
        }
        return Ok(vec![of]);
    }
    let found = match table {
        Some((database, table)) => source_of(analysis, database, table, block).into_iter().collect(),
        // Without a qualifier it may be any table that has such a column.
        None => (0..analysis.refs.len())
            .filter(|of| analysis.refs[*of].home == block && may_have(analysis, *of, column))
            .collect(),
    };
    Ok(found)
}

/// A name that is not provably a key, but that is spelled like the key of some table at hand.
fn possible_key(analysis: &Analysis<'_>, table: Option<&str>, column: &str, block: BlockId) -> Option<RefId> {
    if let Some(table) = table {
        visible(&analysis.blocks[block], None, table)?;
    }
    (0..analysis.refs.len()).find(|of| {
        let reference = &analysis.refs[*of];
        let named = table
            .is_none_or(|table| source_of(analysis, None, table, block).is_none_or(|source| source == *of));
        named
            && reference.home == block
            && matches!(&reference.place, Place::Sharded(key) if key.name.eq_ignore_ascii_case(column))
    })
}

fn may_have(analysis: &Analysis<'_>, of: RefId, column: &str) -> bool {
    match &analysis.refs[of].columns {
        Some(columns) => columns.iter().any(|known| known.name.eq_ignore_ascii_case(column)),
        None => true,
    }
}

fn finish(
    mut analysis: Analysis<'_>,
    block: BlockId,
    targets: &[RefId],
    limited: bool,
    topology: &Topology,
) -> Plan {
    let tables = analysis.tables();
    if let Some(error) = analysis.refusal.take() {
        return Plan::refused(Verb::Write, error).over(tables);
    }
    let placed = analysis.placed(Some(block));
    let copies = targets.iter().find(|of| analysis.refs[**of].place == Place::Reference);
    let plan = match (placed, copies) {
        (Placed::Refused(error), _) => Plan::refused(Verb::Write, error),
        (Placed::Anywhere { reference: true, system: false }, Some(_)) => {
            analysis.limited |= limited;
            copies_plan(&analysis)
        }
        (_, Some(of)) => Plan::refused(
            Verb::Write,
            ClientError::new(
                "SW1202",
                format!(
                    "a write to reference table {} that depends on tables that are not copied everywhere",
                    analysis.refs[*of].full_name
                ),
            ),
        ),
        (Placed::One(shard), None) => single(Verb::Write, shard, topology),
        (Placed::CoLocated(part), None) => {
            let count = analysis.sharded().len();
            let combine = match (limited, analysis.first_obstacle(Some(block))) {
                (true, _) => Combine::Refuse { construct: "LIMIT" },
                (false, Some(construct)) => Combine::Refuse { construct },
                (false, None) => Combine::Concatenate,
            };
            co_located(Verb::Write, part, count, topology).combined(combine)
        }
        (Placed::Pinned(parts), None) => {
            let construct = analysis.why_not_tied(&parts, Some(block));
            pinned(Verb::Write, parts, construct)
        }
        (Placed::Anywhere { system: true, .. }, None) => {
            Plan::refused(Verb::Write, ClientError::new("SW1215", "a write to a system schema"))
        }
        (Placed::Anywhere { .. }, None) => {
            Plan::refused(Verb::Write, ClientError::new("SW1201", "no table to write to was found"))
        }
    };
    plan.over(tables)
}

/// `DEFAULT` as a value, where an expression fills the column.
pub(super) fn takes_default(analysis: &mut Analysis<'_>, value: &Expr) {
    let is_default = matches!(value, Expr::Identifier(name)
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("DEFAULT"));
    if is_default && analysis.fills_varying() {
        analysis.varying.get_or_insert_with(|| "DEFAULT".to_owned());
    }
}

/// A write to all copies of a reference table, if it does the same to each.
pub(super) fn copies_plan(analysis: &Analysis<'_>) -> Plan {
    let features = analysis.request.statement.features;
    let state = features.has(Feature::UserVariable) || features.has(Feature::UserVariableWrite);
    let server = features.has(Feature::SystemVariable);
    let cause = match &analysis.varying {
        _ if analysis.limited => Some("LIMIT, which may choose other rows in each copy".to_owned()),
        Some(name) => Some(format!("{name}, whose value could differ between the copies")),
        None if state => Some("a user variable".to_owned()),
        None if server => Some("a system variable, which is each server's own".to_owned()),
        None => analysis.obstacle.map(str::to_owned),
    };
    match cause {
        Some(cause) => {
            let detail = format!("a write to the copies of a reference table with {cause}");
            Plan::refused(Verb::Write, ClientError::new("SW1202", detail))
        }
        None => {
            let proof = "A reference table has a copy on every shard; the same statement at the same moment does the same to each copy.";
            Plan::new(Verb::Write, Routing::Everywhere, "reference-write", proof).combined(Combine::Identical)
        }
    }
}
