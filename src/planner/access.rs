//! Databases that a statement may name though its plan does not list them. A user who is confined to some databases of the map
//! gets no statement through of which it is not plain which ones it names.

use super::Request;
use super::physical::{Plan, Routing};
use super::unread::{mentions, shows_text};
use crate::sql::{self, Kind, Token};
use crate::topology::{SYSTEM_SCHEMAS, Topology};

/// Why a statement is not for a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied<'t> {
    Database(&'t str),
    /// It runs text that does not stand in it.
    Hidden,
}

/// Words of statements whose names are not all in front of a point, or that run other statements.
const WORDS_UNTOLD: &[&str] = &[
    "CONNECTION",
    "DATABASE",
    "EVENT",
    "EXECUTE",
    "FOR",
    "FUNCTION",
    "PACKAGE",
    "PREPARE",
    "PROCEDURE",
    "SCHEMA",
    "SERVER",
    "TRIGGER",
];

/// Words of the grammar that name sequences.
const WORDS_OF_SEQUENCES: &[&str] = &["LASTVAL", "NEXT", "NEXTVAL", "PREVIOUS", "SETVAL"];

/// The first reason why the statement is not for a user of the databases `allowed`. The tables of the plan are checked apart.
pub(crate) fn denied<'t>(
    request: &Request<'_>,
    plan: Option<&Plan>,
    allowed: &[String],
    topology: &'t Topology,
) -> Option<Denied<'t>> {
    let is_allowed = |name: &str| allowed.iter().any(|own| own.eq_ignore_ascii_case(name));
    let names = topology.databases.iter().map(|database| database.name.as_str());
    let forbidden: Vec<&str> = names.filter(|name| !is_allowed(name)).collect();
    if forbidden.is_empty() {
        return None;
    }
    let found = match told_by(request, plan) {
        Told::All => find(&forbidden, request, is_qualified_call),
        Told::Qualified => find(&forbidden, request, is_qualifier),
        Told::Nothing if hides_text(request) => return Some(Denied::Hidden),
        Told::Nothing => forbidden.iter().find(|name| may_mention(request.text, name)).copied(),
    };
    found.map(Denied::Database)
}

/// What is known of the names in a statement.
enum Told {
    /// The plan lists every table; only functions are not among them.
    All,
    /// Databases stand in front of a point, or are in the plan.
    Qualified,
    Nothing,
}

fn told_by(request: &Request<'_>, plan: Option<&Plan>) -> Told {
    let says = |words: &[&str]| words.iter().any(|word| mentions(request.text, word));
    // Values of SET.
    let Some(plan) = plan else { return Told::Qualified };
    if plan.rule == "unread" || matches!(plan.routing, Routing::Refused { .. }) {
        return Told::Nothing;
    }
    match request.statement.kind {
        Kind::Select | Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete => {
            if says(WORDS_OF_SEQUENCES) { Told::Nothing } else { Told::All }
        }
        Kind::Show
        | Kind::Explain
        | Kind::Definition
        | Kind::Administration
        | Kind::Load
        | Kind::LockTables
        | Kind::Handler
            if !plan.tables.is_empty() && !says(WORDS_UNTOLD) =>
        {
            Told::Qualified
        }
        _ => Told::Nothing,
    }
}

/// The first of the names that stands in the text as `is_place` says, given the tokens from the name on.
fn find<'t>(
    names: &[&'t str],
    request: &Request<'_>,
    is_place: impl Fn(&[Token]) -> bool,
) -> Option<&'t str> {
    let tokens: Vec<Token> = sql::tokens(request.text, request.context).collect();
    let places = (0..tokens.len()).filter(|at| tokens[*at].is_name() && is_place(&tokens[*at..]));
    let mut written = places.map(|at| tokens[at].text(request.text));
    written.find_map(|text| names.iter().find(|name| may_mention(text, name)).copied())
}

fn is_qualifier(tokens: &[Token]) -> bool {
    tokens.get(1).is_some_and(|token| token.is_symbol(b'.'))
}

fn is_qualified_call(tokens: &[Token]) -> bool {
    is_qualifier(tokens) && tokens.get(3).is_some_and(|token| token.is_symbol(b'('))
}

/// Names that quotes or character sets write in other bytes count where they could stand.
fn may_mention(text: &[u8], name: &str) -> bool {
    match name.contains(['`', '"']) {
        true => text.contains(&b'`') || text.contains(&b'"'),
        false => mentions(text, name),
    }
}

/// Whether it runs SQL that does not stand here. What EXECUTE runs by name was looked at when it was prepared; procedures of
/// the system schemas run any text that they are given.
fn hides_text(request: &Request<'_>) -> bool {
    let says = |word: &str| mentions(request.text, word);
    let is_system =
        |database: &str| SYSTEM_SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(database));
    let calls = says("CALL")
        && (request.database.is_some_and(is_system) || SYSTEM_SCHEMAS.iter().any(|schema| says(schema)));
    let prepares = says("PREPARE") || says("EXECUTE");
    let by_name = says("EXECUTE") && !says("IMMEDIATE") && !says("PREPARE");
    let shows = request.statement.kind == Kind::Prepare && (by_name || shows_text(request));
    calls || prepares && !shows
}
