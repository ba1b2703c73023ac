//! LOAD DATA LOCAL: where the lines of a client's file go. A file on a server (LOAD DATA without LOCAL) is that server's alone and is
//! planned by the table's name.

use super::Request;
use super::named::unread;
use super::names::{Located, Place, locate};
use super::physical::{Combine, FileLines, Plan, Routing, Verb};
use crate::error::ClientError;
use crate::sql::{self, FieldTarget, FileLoad, Object};
use crate::topology::{Column, Topology};

/// Character sets in which no byte of a longer character looks like ASCII; `None` of a statement is asked of a server.
pub(crate) const CHARSETS_SPLIT: [&str; 6] = ["ascii", "binary", "latin1", "utf8", "utf8mb3", "utf8mb4"];

/// Of a table that is not whole on one shard.
pub(super) fn plan(request: &Request<'_>, table: &Object, topology: &Topology) -> Plan {
    let located = match locate(topology, request.database, table.database.as_deref(), &table.name) {
        Ok(located) => located,
        Err(error) => return Plan::refused(Verb::Write, error),
    };
    let load = match sql::file_load(request.text, request.statement, request.context) {
        Ok(load) => load,
        Err(error) => return unread(&error.to_string(), request, topology),
    };
    let planned = match &located.place {
        Place::Reference => copies(&located, &load),
        Place::Sharded(_) => lines(request, &located, load),
        Place::Single(_) | Place::System => Err("LOAD DATA of a table of one server".to_owned()),
    };
    let mut plan = planned
        .unwrap_or_else(|construct| Plan::refused(Verb::Write, ClientError::new("SW1215", construct)))
        .over(vec![located.full_name()]);
    // It holds what the statement's literals say.
    plan.cacheable = false;
    plan
}

/// The same file into every copy, if it means the same there.
fn copies(located: &Located<'_>, load: &FileLoad) -> Result<Plan, String> {
    let table = located.full_name();
    if !load.assigned.is_empty()
        || load.fields.iter().flatten().any(|field| matches!(field, FieldTarget::Variable(_)))
    {
        return Err(format!("LOAD DATA with SET or user variables into the reference table {table}"));
    }
    let numbered = columns(located).iter().any(|column| column.auto_increment);
    if numbered {
        return Err(format!(
            "LOAD DATA into the reference table {table}, whose copies would number rows on their own"
        ));
    }
    let proof = "Every shard has a copy of the table and loads the same file, all or none.";
    Ok(Plan::new(Verb::Write, Routing::Everywhere, "load", proof).combined(Combine::Identical))
}

/// Each line to the shard of its key.
fn lines(request: &Request<'_>, located: &Located<'_>, load: FileLoad) -> Result<Plan, String> {
    let Place::Sharded(key) = &located.place else { return Err("a table without a key".to_owned()) };
    let table = located.full_name();
    if load.assigned.iter().any(|name| name.eq_ignore_ascii_case(&key.name)) {
        return Err(format!("LOAD DATA that sets {}, the shard key of {table}", key.name));
    }
    let own: Vec<&str> = load
        .fields
        .iter()
        .flatten()
        .filter_map(|field| match field {
            FieldTarget::Variable(name) => Some(name.as_str()),
            FieldTarget::Column(_) => None,
        })
        .collect();
    if load.variables_read.iter().any(|name| !own.contains(&name.as_str())) {
        return Err("LOAD DATA whose SET reads a user variable that is no field of the file".to_owned());
    }
    let targets = match load.fields {
        Some(targets) => targets,
        None => all_columns(located)?,
    };
    let is_key = |field: &FieldTarget| matches!(field, FieldTarget::Column(name) if name.eq_ignore_ascii_case(&key.name));
    let Some(place) = targets.iter().position(is_key) else {
        return Err(format!("LOAD DATA without a field for {}, the shard key of {table}", key.name));
    };
    readable(request, &load.format)?;
    if load.charset.as_deref().is_some_and(|charset| !CHARSETS_SPLIT.contains(&charset)) {
        return Err("LOAD DATA in this character set into a sharded table".to_owned());
    }
    let generated = columns(located)
        .iter()
        .any(|column| column.auto_increment && column.name.eq_ignore_ascii_case(&key.name));
    let file = FileLines {
        scheme: key.scheme,
        column: format!("{}.{}", located.name, key.name),
        key_type: key.kind.clone(),
        generated,
        place,
        fields: targets.len(),
        format: load.format,
        lines_skipped: load.lines_skipped,
        charset: load.charset,
    };
    let proof = "Each line goes to the shard that owns its key, as its row would.";
    Ok(Plan::new(Verb::Write, Routing::Lines(Box::new(file)), "load", proof))
}

fn columns<'t>(located: &Located<'t>) -> &'t [Column] {
    located.table.and_then(|table| table.columns.as_deref()).unwrap_or_default()
}

/// Without a list, fields are the table's columns; servers disagree about those that are hidden or computed.
fn all_columns(located: &Located<'_>) -> Result<Vec<FieldTarget>, String> {
    let columns = columns(located);
    if columns.iter().any(|column| column.invisible || column.generated) {
        return Err(format!(
            "LOAD DATA without a list of columns into {}, which has hidden ones",
            located.full_name()
        ));
    }
    Ok(columns.iter().map(|column| FieldTarget::Column(column.name.clone())).collect())
}

/// What the reader of lines follows exactly.
fn readable(request: &Request<'_>, format: &sql::FileFormat) -> Result<(), String> {
    let ascii = [&format.field_end, &format.line_start, &format.line_end].iter().all(|text| text.is_ascii())
        && format.enclosed.is_none_or(|byte| byte.is_ascii())
        && format.escape.is_none_or(|byte| byte.is_ascii());
    let construct = match format {
        _ if !ascii => "separators that are not ASCII",
        _ if format.field_end.is_empty() => "fields of fixed length",
        _ if format.line_end.is_empty() => "lines without an end",
        _ if format.field_end == format.line_end => "fields and lines that end alike",
        _ if format.escape_by_default && request.context.mode.no_backslash_escapes => {
            "NO_BACKSLASH_ESCAPES and no ESCAPED BY"
        }
        _ => return Ok(()),
    };
    Err(format!("LOAD DATA with {construct} into a sharded table"))
}
