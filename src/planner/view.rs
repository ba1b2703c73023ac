//! Views of the map: rows that a view shows must be where the map says that they are.

use super::Request;
use super::analysis::Analysis;
use super::names::Place;
use super::walk::Names;
use crate::sql;
use crate::topology::{SchemeId, Topology};

/// Whether each row of the query is on the shard of its column `key`, as a table of this scheme would have it.
pub(super) fn exports_key(
    text: &[u8],
    request: &Request<'_>,
    topology: &Topology,
    (scheme, key): (SchemeId, &str),
) -> bool {
    let mut statement = sql::Statement::default();
    if statement.scan(text, request.context).is_err() {
        return false;
    }
    let Ok(sqlparser::ast::Statement::Query(query)) = sql::parse(text, &statement, request.context) else {
        return false;
    };
    let inner = Request { text, statement: &statement, ..*request };
    let mut analysis = Analysis::new(&inner, topology);
    let shape = analysis.query(&query, &Names::NONE, None);
    let mut exports = shape.exports.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    analysis.refusal.is_none()
        && exports.any(|(_, of)| {
            matches!(&analysis.refs[*of].place, Place::Sharded(own) if own.scheme == scheme)
                && !analysis.is_null_extended(*of)
        })
}
