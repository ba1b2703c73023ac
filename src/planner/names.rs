//! Names of tables: from an identifier in the text to the table that the topology knows, or the error a client gets.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::error::ClientError;
use crate::topology::{ColumnType, Placement, Resolution, SchemeId, ShardId, Table, Topology};

/// How the rows of one table reference are placed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Sharded(KeyColumn),
    Reference,
    Single(ShardId),
    /// A table of `information_schema` and its kin.
    System,
}

/// The shard key of a sharded table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyColumn {
    pub(super) scheme: SchemeId,
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// Keys that are equal for MySQL live on one shard. Not so when an application hashed the bytes of a text whose
    /// collation finds different bytes equal.
    pub(super) exact: bool,
}

/// A table as the topology knows it.
#[derive(Debug, Clone)]
pub(super) struct Located<'t> {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) table: Option<&'t Table>,
}

impl Located<'_> {
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}

/// Why a name is refused; it is not quoted, since what stands there may be a literal.
pub(super) const NOT_A_NAME: &str = "something other than a name in place of a table's";

/// The parts of a name; `None` when one of them is not a plain identifier. The grammar takes strings for names, servers do not.
pub(super) fn parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) if matches!(ident.quote_style, Some('\'' | '"')) => None,
            ObjectNamePart::Identifier(ident) => Some(ident),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// Database (if written) and table.
pub(super) fn split(name: &ObjectName) -> Option<(Option<&str>, &str)> {
    match parts(name)?.as_slice() {
        [table] => Some((None, table.value.as_str())),
        [database, table] => Some((Some(database.value.as_str()), table.value.as_str())),
        _ => None,
    }
}

/// Finds `table` in `database`, or in the session's `current` one.
pub(super) fn locate<'t>(
    topology: &'t Topology,
    current: Option<&str>,
    database: Option<&str>,
    table: &str,
) -> Result<Located<'t>, ClientError> {
    let Some(database) = database.or(current) else {
        return Err(ClientError::new("SW1212", "No database selected"));
    };
    let located = |name: &str, place, table| Located {
        database: topology.database(database).map_or_else(|| database.to_owned(), |found| found.name.clone()),
        name: name.to_owned(),
        place,
        table,
    };
    match topology.resolve(database, table) {
        Resolution::System => Ok(located(table, Place::System, None)),
        Resolution::Unlisted(shard) => Ok(located(table, Place::Single(shard), None)),
        Resolution::Table(found) => Ok(located(&found.name, place(topology, database, found)?, Some(found))),
        Resolution::UnknownDatabase => {
            Err(ClientError::new("SW1002", format!("Unknown database '{database}'")))
        }
        Resolution::UnknownTable => Err(ClientError::new(
            "SW1206",
            format!("table {database}.{table} is not in the shard map (version {})", topology.version),
        )),
    }
}

fn place(topology: &Topology, database: &str, table: &Table) -> Result<Place, ClientError> {
    let (scheme, key) = match &table.placement {
        Placement::Reference => return Ok(Place::Reference),
        Placement::Single { shard } => return Ok(Place::Single(*shard)),
        Placement::Sharded { scheme, key } => (*scheme, key),
    };
    if table.columns.is_none() {
        return Err(ClientError::new(
            "SW1213",
            format!("no server has told the columns of {database}.{} yet", table.name),
        ));
    }
    let Some(column) = table.column(key) else {
        return Err(ClientError::new(
            "SW1213",
            format!("table {database}.{} has no column {key}, its shard key in the map", table.name),
        ));
    };
    if !matches!(
        column.kind,
        ColumnType::Integer { .. } | ColumnType::Text { .. } | ColumnType::Binary { .. }
    ) {
        return Err(ClientError::new(
            "SW1213",
            format!("{database}.{}.{} cannot be a shard key: {}", table.name, column.name, column.kind),
        ));
    }
    let exact = topology.scheme(scheme).equal_keys_share_a_shard(&column.kind);
    Ok(Place::Sharded(KeyColumn { scheme, name: column.name.clone(), kind: column.kind.clone(), exact }))
}

impl KeyColumn {
    /// Whether `a.key = b.key` puts both rows on one shard.
    pub(super) fn joins_locally(&self, other: &KeyColumn) -> bool {
        self.scheme == other.scheme && self.exact && other.exact && self.kind.shares_keys_with(&other.kind)
    }
}
