//! Statements that were not read: what their text can name, and the one shard that has all of it.

use super::Request;
use super::physical::{Plan, Routing, Verb};
use crate::error::ClientError;
use crate::sql::{self, Kind, LiteralClass, TokenKind};
use crate::topology::{Database, Placement, ShardId, Topology};

/// The plan for the one shard that has everything the text can name, or the refusal. For this text alone: names in its literals
/// count, and a refusal may quote them.
pub(super) fn lone_or(refusal: ClientError, verb: Verb, request: &Request<'_>, topology: &Topology) -> Plan {
    let plan = lone(verb, request, topology).unwrap_or_else(|| Plan::refused(verb, refusal));
    Plan { cacheable: false, ..plan }
}

fn lone(verb: Verb, request: &Request<'_>, topology: &Topology) -> Option<Plan> {
    let current = topology.database(request.database?)?;
    let hidden = hides_text(request);
    let mut shard = current.default_shard;
    for table in current.tables.values().filter(|table| hidden || mentions(request.text, &table.name)) {
        match (&table.placement, shard) {
            (Placement::Single { shard: of }, None) => shard = Some(*of),
            (Placement::Single { shard: of }, Some(other)) if *of == other => {}
            _ => return None,
        }
    }
    let shard = shard.filter(|shard| stays_on(*shard, current, request, topology))?;
    let name = &topology.shard(shard).name;
    let proof = format!("It was not read, but all that it can name in {} is on shard {name}.", current.name);
    let plan = Plan::new(verb, Routing::One(shard), "unread", proof);
    Some(Plan { calls_stored: true, ..plan })
}

/// Whether the databases other than `current` that the text can name are whole on the shard, too.
pub(super) fn stays_on(
    shard: ShardId,
    current: &Database,
    request: &Request<'_>,
    topology: &Topology,
) -> bool {
    let hidden = hides_text(request);
    topology
        .databases
        .iter()
        .filter(|database| database.name != current.name)
        .filter(|database| hidden || mentions(request.text, &database.name))
        .all(|database| is_whole_on(database, shard))
}

/// Every table of the database, listed or not, is on this shard and no other.
pub(super) fn is_whole_on(database: &Database, shard: ShardId) -> bool {
    let mut tables = database.tables.values();
    database.default_shard.is_none_or(|of| of == shard)
        && tables.all(|table| table.placement == Placement::Single { shard })
}

/// Whether it runs SQL that need not stand here: EXECUTE, PREPARE from a variable, programs that do so. A plain string shows
/// what it says; one with escapes does not.
fn hides_text(request: &Request<'_>) -> bool {
    // EXECUTE is a privilege as well.
    let runs = matches!(request.statement.kind, Kind::Prepare | Kind::Definition | Kind::Other);
    let prepares = runs && ["PREPARE", "EXECUTE"].iter().any(|word| mentions(request.text, word));
    prepares && !(request.statement.kind == Kind::Prepare && shows_text(request))
}

/// `PREPARE s FROM 'plain'`, `EXECUTE IMMEDIATE 'plain'`, DEALLOCATE.
fn shows_text(request: &Request<'_>) -> bool {
    let mut lexer = sql::Lexer::at(request.text, request.context, request.statement.verb_at as usize);
    let mut tokens = Vec::new();
    while let Ok(token) = lexer.next_token()
        && token.kind != TokenKind::End
        && token.start < request.statement.end
    {
        tokens.push(token);
    }
    let is_word = |at: usize, word: &str| {
        tokens.get(at).is_some_and(|token| {
            matches!(token.kind, TokenKind::Word(_))
                && token.text(request.text).eq_ignore_ascii_case(word.as_bytes())
        })
    };
    if is_word(0, "DEALLOCATE") || is_word(0, "DROP") {
        return true;
    }
    let source = match (is_word(0, "PREPARE") && is_word(2, "FROM"), is_word(0, "EXECUTE")) {
        (true, _) => 3,
        (false, true) if is_word(1, "IMMEDIATE") => 2,
        _ => return false,
    };
    let plain = tokens.get(source).is_some_and(|token| {
        token.kind == TokenKind::Literal(LiteralClass::String) && !token.text(request.text).contains(&b'\\')
    });
    let text = tokens.get(source).map_or(&b""[..], |token| token.text(request.text));
    let runs_more = ["PREPARE", "EXECUTE"].iter().any(|word| mentions(text, word));
    plain && !runs_more && (tokens.len() == source + 1 || is_word(source + 1, "USING"))
}

/// Whether the name stands anywhere in the text as a word of its own; strings and comments count as well.
pub(super) fn mentions(text: &[u8], name: &str) -> bool {
    if !name.is_ascii() {
        // In the client's character set it may be written in other bytes.
        return !text.is_ascii();
    }
    let name = name.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'$' || *byte >= 0x80;
    !name.is_empty()
        && text.windows(name.len()).enumerate().any(|(at, window)| {
            window.eq_ignore_ascii_case(name)
                && !at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(is_word)
                && !text.get(at + name.len()).is_some_and(is_word)
        })
}
