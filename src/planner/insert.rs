//! INSERT and REPLACE. A new row goes to the shard of its key; a row that a duplicate key updates keeps its key; the
//! copies of a reference table get the same rows.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Insert, ObjectName, OnInsert, Query, SelectItem, SetExpr, TableObject,
};

use super::Request;
use super::analysis::{Analysis, RefId};
use super::change::{copies_plan, takes_default};
use super::function::fills_varying;
use super::names::{KeyColumn, NOT_A_NAME, Place, parts, split};
use super::physical::{Combine, InsertId, KeyExpression, Numbered, Plan, Routing, Verb};
use super::proof::Placed;
use super::query::{co_located, pinned, single};
use super::walk::Names;
use crate::error::ClientError;
use crate::sql;
use crate::topology::{Column, ShardId, Topology};

/// Values that are read as one SELECT.
const EXPRESSIONS_AT_ONCE: usize = 200;

/// The table that gets the rows.
struct Target<'i> {
    full_name: String,
    place: Place,
    /// Names of the columns in the order of the values; `None` when neither the text nor a server told them.
    columns: Option<Vec<String>>,
    definition: Option<std::sync::Arc<[Column]>>,
    insert: &'i Insert,
}

pub(super) fn plan(insert: &Insert, request: &Request<'_>, topology: &Topology) -> Plan {
    let mut analysis = Analysis::new(request, topology);
    let block = analysis.new_block(None);
    let target = match target(insert, &mut analysis, block) {
        Ok(target) => target,
        Err(error) => return Plan::refused(Verb::Write, error).over(analysis.tables()),
    };
    let tables = vec![target.full_name.clone()];
    if let Err(error) = keeps_key(&target, &analysis) {
        return Plan::refused(Verb::Write, error).over(tables);
    }
    // What ON DUPLICATE KEY UPDATE reads stands in the block of the target.
    for assignment in duplicates(insert) {
        takes_default(&mut analysis, &assignment.value);
        analysis.expressions(&assignment.value, &Names::NONE, block);
    }
    for assignment in &insert.assignments {
        takes_default(&mut analysis, &assignment.value);
        analysis.expressions(&assignment.value, &Names::NONE, block);
    }
    analysis.returning(insert.returning.as_deref(), block);
    let rows = !request.statement.rows.is_empty();
    let source = insert.source.as_deref().filter(|query| !rows && !is_values(query));
    if let Some(query) = source {
        return select(&target, query, analysis, request, topology);
    }
    if let Some(error) = analysis.refusal.take() {
        return Plan::refused(Verb::Write, error).over(analysis.tables());
    }
    if let Err(error) = values(&mut analysis, request).and_then(|()| subqueries(&target, &mut analysis)) {
        return Plan::refused(Verb::Write, error).over(analysis.tables());
    }
    let plan = match &target.place {
        Place::Single(shard) => single(Verb::Write, *shard, topology),
        Place::System => Plan::refused(Verb::Write, ClientError::new("SW1215", "a write to a system schema")),
        Place::Reference => reference(&target, &mut analysis, request),
        Place::Sharded(key) if rows => sharded_rows(&target, key, &analysis, request),
        Place::Sharded(key) => sharded_set(&target, key, &analysis),
    };
    let plan = Plan { insert_id: insert_id(&target, request), ..plan };
    plan.over(analysis.tables())
}

/// Whether the rows give the AUTO_INCREMENT column values.
fn insert_id(target: &Target<'_>, request: &Request<'_>) -> InsertId {
    let mut columns = target.definition.iter().flat_map(|columns| columns.iter());
    let generated = columns.find(|column| column.auto_increment);
    let told_by_function = request.statement.features.has(sql::Feature::LastInsertId);
    let (Some(generated), false, []) = (generated, told_by_function, duplicates(target.insert)) else {
        return InsertId::Unknown;
    };
    // A shard key is given, or the statement is refused.
    if matches!(&target.place, Place::Sharded(key) if key.name.eq_ignore_ascii_case(&generated.name)) {
        return InsertId::Given;
    }
    let assigned = target.insert.assignments.iter().any(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => {
            column_name(name).is_none_or(|name| name.eq_ignore_ascii_case(&generated.name))
        }
        AssignmentTarget::Tuple(_) => true,
    });
    let by_assignment = !target.insert.assignments.is_empty();
    let listed = target.columns.as_deref().is_none_or(|columns| place_of(columns, &generated.name).is_some());
    match if by_assignment { assigned } else { listed } {
        true => InsertId::Unknown,
        false => InsertId::Generated,
    }
}

/// Looks through the values that are not plain literals as through the columns of a SELECT: the rows themselves are not
/// parsed. Rows of one shape share a fingerprint, rows of other expressions do not.
fn values(analysis: &mut Analysis<'_>, request: &Request<'_>) -> Result<(), ClientError> {
    let mut expressions: Vec<&[u8]> = Vec::new();
    for span in &request.statement.values {
        let value = request.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        if is_expression(value, request.context) {
            expressions.push(value);
        }
    }
    expressions.sort_unstable();
    expressions.dedup();
    expressions.chunks(EXPRESSIONS_AT_ONCE).try_for_each(|some| look_through(some, analysis, request))
}

fn look_through(
    expressions: &[&[u8]],
    analysis: &mut Analysis<'_>,
    request: &Request<'_>,
) -> Result<(), ClientError> {
    let text = [b"SELECT ".as_slice(), &expressions.join(b", ".as_slice())].concat();
    let unreadable = |reason: String| ClientError::new("SW1201", format!("the values of the rows: {reason}"));
    let mut statement = sql::Statement::default();
    statement.scan(&text, request.context).map_err(|error| unreadable(error.to_string()))?;
    let parsed =
        sql::parse(&text, &statement, request.context).map_err(|error| unreadable(error.to_string()))?;
    let sqlparser::ast::Statement::Query(query) = &parsed else {
        return Err(unreadable("they are not expressions".to_owned()));
    };
    let before = analysis.refs.len();
    // Apart, since its literals have slots of another text.
    let inner = Request { text: &text, statement: &statement, ..*request };
    let mut apart = Analysis::new(&inner, analysis.topology);
    apart.query(query, &Names::NONE, None);
    if let Some(error) = apart.refusal.take() {
        return Err(error);
    }
    analysis.varying = analysis.varying.take().or(apart.varying.take());
    analysis.limited |= apart.limited;
    analysis.obstacle = analysis.obstacle.or(apart.obstacle);
    analysis.stored.append(&mut apart.stored);
    analysis.refs.append(&mut apart.refs);
    // Of no block of this analysis: nothing ties them to it.
    analysis.refs[before..].iter_mut().for_each(|reference| reference.home = usize::MAX);
    Ok(())
}

/// More than literals and what joins them, NULL or DEFAULT: there is a name, and be it that of a function.
fn is_expression(value: &[u8], context: &sql::Context) -> bool {
    if is_plain_string(value) || value.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let mut lexer = sql::Lexer::new(value, context);
    loop {
        match lexer.next_token() {
            Ok(token) => match token.kind {
                sql::TokenKind::End => return false,
                sql::TokenKind::Word(sql::Word::Null | sql::Word::Default)
                | sql::TokenKind::Literal(_)
                | sql::TokenKind::Symbol(_) => {}
                _ => return true,
            },
            Err(_) => return true,
        }
    }
}

fn is_plain_string(value: &[u8]) -> bool {
    matches!(value, [b'\'', content @ .., b'\''] if !content.iter().any(|byte| matches!(byte, b'\'' | b'\\')))
}

/// What the values read must be where the row goes.
fn subqueries(target: &Target<'_>, analysis: &mut Analysis<'_>) -> Result<(), ClientError> {
    for reference in &analysis.refs[1..] {
        let local = match (&target.place, &reference.place) {
            (Place::Single(shard), Place::Single(of)) => shard == of,
            (_, Place::Reference) => true,
            _ => false,
        };
        if !local {
            let detail = format!("an INSERT whose values are read from {}", reference.full_name);
            return Err(ClientError::new("SW1202", detail));
        }
    }
    match (&target.place, analysis.shard_of_stored()?) {
        (_, None) => Ok(()),
        (Place::Single(shard), Some((of, _))) if *shard == of => Ok(()),
        (_, Some((_, function))) => {
            Err(ClientError::new("SW1202", format!("an INSERT whose values are computed by {function}")))
        }
    }
}

fn is_values(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Values(_))
}

fn duplicates(insert: &Insert) -> &[Assignment] {
    match &insert.on {
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => assignments,
        _ => &[],
    }
}

fn target<'i>(
    insert: &'i Insert,
    analysis: &mut Analysis<'_>,
    block: usize,
) -> Result<Target<'i>, ClientError> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(ClientError::new("SW1201", "an INSERT into something that is not a table"));
    };
    let Some((database, table)) = split(name) else {
        return Err(ClientError::new("SW1201", NOT_A_NAME));
    };
    let Some((of, database)) = analysis.add_reference(database, table, block) else {
        return Err(analysis
            .refusal
            .take()
            .unwrap_or_else(|| ClientError::new("SW1901", "a table without an error")));
    };
    analysis.blocks[block].visible.push(super::analysis::Visible {
        name: table.to_owned(),
        database: Some(database),
        source: super::analysis::Source::Table(of),
    });
    let reference = &analysis.refs[of];
    let definition = reference.columns.clone();
    let listed: Vec<String> = insert.columns.iter().filter_map(column_name).collect();
    let columns = match (listed.is_empty(), &definition) {
        (false, _) => Some(listed),
        (true, Some(columns)) => Some(
            columns.iter().filter(|column| !column.invisible).map(|column| column.name.clone()).collect(),
        ),
        (true, None) => None,
    };
    Ok(Target {
        full_name: reference.full_name.clone(),
        place: reference.place.clone(),
        columns,
        definition,
        insert,
    })
}

fn column_name(name: &ObjectName) -> Option<String> {
    parts(name)?.last().map(|column| column.value.clone())
}

/// ON DUPLICATE KEY UPDATE must leave the key as it is, or set it to the new row's: that row was routed by it.
fn keeps_key(target: &Target<'_>, analysis: &Analysis<'_>) -> Result<(), ClientError> {
    let Place::Sharded(key) = &target.place else { return Ok(()) };
    for assignment in duplicates(target.insert) {
        let AssignmentTarget::ColumnName(name) = &assignment.target else { continue };
        let is_key = column_name(name).is_some_and(|column| column.eq_ignore_ascii_case(&key.name));
        if is_key && !keeps(&assignment.value, key, target, analysis) {
            return Err(ClientError::new(
                "SW1204",
                format!(
                    "ON DUPLICATE KEY UPDATE assigns {}, the shard key of {}",
                    key.name, target.full_name
                ),
            ));
        }
    }
    Ok(())
}

fn keeps(value: &Expr, key: &KeyColumn, target: &Target<'_>, analysis: &Analysis<'_>) -> bool {
    let names_key = |expression: &Expr| match expression {
        Expr::Identifier(column) => column.value.eq_ignore_ascii_case(&key.name),
        Expr::CompoundIdentifier(path) => {
            path.last().is_some_and(|column| column.value.eq_ignore_ascii_case(&key.name))
        }
        _ => false,
    };
    match value {
        Expr::Nested(inner) => keeps(inner, key, target, analysis),
        // `VALUES(key)`, MariaDB's `VALUE(key)`
        Expr::Function(function) => {
            let name = function.name.to_string();
            let takes_key = match &function.args {
                sqlparser::ast::FunctionArguments::List(list) => match list.args.as_slice() {
                    [sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr(column))] => {
                        names_key(column)
                    }
                    _ => false,
                },
                _ => false,
            };
            (name.eq_ignore_ascii_case("VALUES") || name.eq_ignore_ascii_case("VALUE")) && takes_key
        }
        // The column itself, or `new.key` under a row alias; with SELECT other tables may have such a column.
        other => {
            names_key(other)
                && target.insert.source.as_deref().is_none_or(is_values)
                && analysis.refs.len() == 1
        }
    }
}

fn missing_key(target: &Target<'_>, key: &KeyColumn) -> Plan {
    let detail = format!("{} has no value for {}, its shard key", target.full_name, key.name);
    Plan::refused(Verb::Write, ClientError::new("SW1205", detail))
}

/// The server gives this key a number of its own when it is inserted as zero.
fn is_generated(target: &Target<'_>, key: &KeyColumn) -> bool {
    let mut columns = target.definition.iter().flat_map(|columns| columns.iter());
    columns.any(|column| column.auto_increment && column.name.eq_ignore_ascii_case(&key.name))
}

fn unknown_columns(target: &Target<'_>) -> Plan {
    let detail = format!("no server has told the columns of {} yet", target.full_name);
    Plan::refused(Verb::Write, ClientError::new("SW1213", detail))
}

fn place_of(columns: &[String], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.eq_ignore_ascii_case(name))
}

fn sharded_rows(
    target: &Target<'_>,
    key: &KeyColumn,
    analysis: &Analysis<'_>,
    request: &Request<'_>,
) -> Plan {
    let Some(columns) = &target.columns else { return unknown_columns(target) };
    let Some(value) = place_of(columns, &key.name) else { return missing_key(target, key) };
    let routing = Routing::Rows {
        scheme: key.scheme,
        column: format!("{}.{}", target.full_name, key.name),
        key_type: key.kind.clone(),
        value,
        arity: columns.len(),
        generated: is_generated(target, key),
        columns: takes_columns(request).then(|| written(columns)).flatten(),
    };
    let proof = "Each row goes to the shard of its key; with several shards each gets its own rows.";
    let combine = match analysis.obstacle {
        Some(construct) => Combine::Refuse { construct },
        None => Combine::Concatenate,
    };
    Plan::new(Verb::Write, routing, "insert-rows", proof).combined(combine)
}

/// Nothing in parentheses stands in front of VALUES: neither a list of columns, be it empty, nor one of partitions.
fn takes_columns(request: &Request<'_>) -> bool {
    let mut lexer = sql::Lexer::new(request.text, request.context);
    let mut closed = true;
    while let Ok(token) = lexer.next_token() {
        if token.start >= request.statement.values_at {
            return !closed;
        }
        closed = token.is_symbol(b')');
    }
    false
}

/// The columns as a list in SQL. A name beyond ASCII would have to be written in the client's character set: not here.
fn written(columns: &[String]) -> Option<Box<str>> {
    let names: Vec<String> =
        columns.iter().map(|column| format!("`{}`", column.replace('`', "``"))).collect();
    let list = format!("({}) ", names.join(", "));
    list.is_ascii().then(|| list.into_boxed_str())
}

fn sharded_set(target: &Target<'_>, key: &KeyColumn, analysis: &Analysis<'_>) -> Plan {
    let assigned = target.insert.assignments.iter().rfind(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => {
            column_name(name).is_some_and(|column| column.eq_ignore_ascii_case(&key.name))
        }
        AssignmentTarget::Tuple(_) => false,
    });
    let Some(assignment) = assigned else { return missing_key(target, key) };
    match analysis.constant(&assignment.value) {
        Some(KeyExpression::Null) => missing_key(target, key),
        Some(value) => one_key(target, key, value),
        None => {
            let detail = format!("{} is given by an expression", key.name);
            Plan::refused(Verb::Write, ClientError::new("SW1208", detail))
        }
    }
}

fn one_key(target: &Target<'_>, key: &KeyColumn, value: KeyExpression) -> Plan {
    let routing = Routing::Insert {
        scheme: key.scheme,
        column: format!("{}.{}", target.full_name, key.name),
        key_type: key.kind.clone(),
        key: value,
        generated: is_generated(target, key),
    };
    Plan::new(
        Verb::Write,
        routing,
        "insert-key",
        "Every new row carries the one key that the statement names.",
    )
}

fn reference(target: &Target<'_>, analysis: &mut Analysis<'_>, request: &Request<'_>) -> Plan {
    let given = given_places(target, analysis, request);
    let plan = copies_plan(analysis);
    if matches!(plan.routing, Routing::Refused { .. }) {
        return plan;
    }
    let Some(definition) = &target.definition else { return unknown_columns(target) };
    let generated = definition.iter().find(|column| column.auto_increment);
    if request.statement.rows.is_empty() {
        let Some(column) = generated else { return plan };
        let value = assigned(target, &column.name).and_then(|value| analysis.constant(value));
        return match value {
            Some(value @ (KeyExpression::Slot(_) | KeyExpression::Negated(_))) => {
                let routing = Routing::Copies { generated: Some(Numbered::Assigned(value)), given, arity: 0 };
                Plan { routing, ..plan }
            }
            _ => without_number(target, column),
        };
    }
    let columns = target.columns.as_deref().unwrap_or_default();
    let place = match generated {
        Some(column) => match place_of(columns, &column.name) {
            Some(place) => Some(Numbered::Value(place)),
            None => return without_number(target, column),
        },
        None => None,
    };
    let routing = Routing::Copies { generated: place, given, arity: columns.len() };
    Plan { routing, ..plan }
}

/// The value that INSERT … SET gives the column.
fn assigned<'i>(target: &Target<'i>, column: &str) -> Option<&'i Expr> {
    let found = target.insert.assignments.iter().rfind(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => {
            column_name(name).is_some_and(|name| name.eq_ignore_ascii_case(column))
        }
        AssignmentTarget::Tuple(_) => false,
    });
    found.map(|assignment| &assignment.value)
}

/// Places in the rows of columns whose defaults would give each copy a value of its own. One that no value is given is noted.
fn given_places(target: &Target<'_>, analysis: &mut Analysis<'_>, request: &Request<'_>) -> Vec<usize> {
    let by_assignment = request.statement.rows.is_empty() && !target.insert.assignments.is_empty();
    let columns = target.columns.as_deref().unwrap_or_default();
    let mut places = Vec::new();
    for column in target.definition.iter().flat_map(|columns| columns.iter()) {
        if !column.default.as_deref().is_some_and(fills_varying) {
            continue;
        }
        let is_given = match by_assignment {
            true => assigned(target, &column.name).is_some(),
            false => match place_of(columns, &column.name) {
                Some(place) => {
                    places.push(place);
                    true
                }
                None => false,
            },
        };
        if !is_given {
            analysis.varying.get_or_insert_with(|| format!("the default of {}", column.name));
        }
    }
    places
}

fn without_number(target: &Target<'_>, column: &Column) -> Plan {
    let detail = format!(
        "reference table {} would give its AUTO_INCREMENT column {} another number on each shard: insert it with a value",
        target.full_name, column.name
    );
    Plan::refused(Verb::Write, ClientError::new("SW1202", detail))
}

/// INSERT … SELECT: the rows must be read where they are written.
fn select(
    target: &Target<'_>,
    query: &Query,
    mut analysis: Analysis<'_>,
    request: &Request<'_>,
    topology: &Topology,
) -> Plan {
    let shape = analysis.query(query, &Names::NONE, None);
    let tables = analysis.tables();
    if let Some(error) = analysis.refusal.take() {
        return Plan::refused(Verb::Write, error).over(tables);
    }
    let key_place = match (&target.place, &target.columns) {
        (Place::Sharded(key), Some(columns)) => match place_of(columns, &key.name) {
            Some(place) => Some(place),
            None => return missing_key(target, key).over(tables),
        },
        (Place::Sharded(_), None) => return unknown_columns(target).over(tables),
        _ => None,
    };
    let passed = match (key_place, query.body.as_ref()) {
        (Some(place), SetExpr::Select(body)) => item(&body.projection, place),
        _ => None,
    };
    let passed_key = passed.zip(shape.block).and_then(|(item, block)| analysis.key_of(item, block));
    let constant = passed.and_then(|item| analysis.constant(item));
    // The target's own reference, the first of all, has no part in the proof of its source.
    let own = std::mem::replace(&mut analysis.refs[0].place, Place::Reference);
    let top = shape.block.filter(|_| !matches!(query.body.as_ref(), SetExpr::SetOperation { .. }));
    let placed = analysis.placed(top);
    let sources = analysis.sharded().len();
    analysis.refs[0].place = own;
    let refuse = |what: &str| Plan::refused(Verb::Write, ClientError::new("SW1202", what));
    let plan = match (&target.place, placed) {
        (_, Placed::Refused(error)) => Plan::refused(Verb::Write, error),
        (Place::Single(shard), Placed::Anywhere { .. }) => single(Verb::Write, *shard, topology),
        (Place::Single(shard), Placed::One(source)) if source == *shard => {
            single(Verb::Write, *shard, topology)
        }
        (Place::Single(shard), Placed::One(source)) => apart(*shard, source, topology),
        (Place::Reference, Placed::Anywhere { system: false, .. }) => {
            given_places(target, &mut analysis, request);
            let generated = target
                .definition
                .iter()
                .flat_map(|columns| columns.iter())
                .any(|column| column.auto_increment);
            match generated {
                true => refuse("INSERT … SELECT into a reference table with an AUTO_INCREMENT column"),
                false => copies_plan(&analysis),
            }
        }
        (Place::Sharded(key), Placed::Anywhere { .. }) => match constant {
            Some(KeyExpression::Null) => missing_key(target, key),
            Some(value) => one_key(target, key, value),
            None => refuse("INSERT … SELECT into a sharded table whose key is not a constant"),
        },
        (Place::Sharded(key), Placed::CoLocated(part)) if passes(&analysis, key, passed_key) => {
            let combine = match analysis.first_obstacle(shape.block) {
                Some(construct) => Combine::Refuse { construct },
                None => Combine::Concatenate,
            };
            co_located(Verb::Write, part, sources, topology).combined(combine)
        }
        (Place::Sharded(key), Placed::Pinned(parts)) if passes(&analysis, key, passed_key) => {
            pinned(Verb::Write, parts, "INSERT … SELECT from tables that are not tied by the shard key")
        }
        (Place::Sharded(_), _) => {
            refuse("INSERT … SELECT that does not pass the shard key on from a table of the same scheme")
        }
        (Place::System, _) => refuse("INSERT … SELECT into a system schema"),
        _ => refuse("INSERT … SELECT from a table that is not on every shard of its target"),
    };
    plan.over(tables)
}

fn apart(target: ShardId, source: ShardId, topology: &Topology) -> Plan {
    let name = |shard| topology.shard(shard).name.clone();
    let detail = format!("the target is on shard {}, the source on shard {}", name(target), name(source));
    Plan::refused(Verb::Write, ClientError::new("SW1207", detail))
}

fn item(projection: &[SelectItem], place: usize) -> Option<&Expr> {
    let plain = projection
        .iter()
        .all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    match projection.get(place).filter(|_| plain)? {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            Some(expression)
        }
        _ => None,
    }
}

/// The new row's key is the key of the row that it was read from.
fn passes(analysis: &Analysis<'_>, key: &KeyColumn, from: Option<RefId>) -> bool {
    from.is_some_and(|of| {
        matches!(&analysis.refs[of].place, Place::Sharded(source)
            if source.joins_locally(key) && key.kind.keeps(&source.kind))
            && !analysis.is_null_extended(of)
    })
}
