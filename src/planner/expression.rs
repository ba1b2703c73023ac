//! Expressions that stand in statements without a grammar: arguments of CALL, conditions of SHOW, values of SET and LOAD
//! DATA. They are planned as the columns of a SELECT where they can read rows.

use super::Request;
use super::function::is_native;
use super::physical::{Plan, Routing};
use crate::error::ClientError;
use crate::sql::{self, Context, Statement, TokenKind, Word};
use crate::topology::Topology;

/// Plans the expressions as those of a SELECT without FROM. The query itself, to resolve the plan with, comes along; `None`
/// when they can read no rows.
pub(crate) fn expressions(
    text: &[u8],
    database: Option<&str>,
    context: &Context,
    topology: &Topology,
) -> Result<Option<(Plan, Vec<u8>, Statement)>, ClientError> {
    if !may_read_rows(text, context) {
        return Ok(None);
    }
    let query = [b"SELECT ".as_slice(), text].concat();
    let mut statement = Statement::default();
    statement
        .scan(&query, context)
        .map_err(|error| ClientError::new("SW1201", format!("an expression: {error}")))?;
    let plan = super::plan(&Request { text: &query, statement: &statement, context, database }, topology);
    Ok(Some((plan, query, statement)))
}

/// Whether there is a query, a sequence or a function that is not the server's own.
fn may_read_rows(text: &[u8], context: &Context) -> bool {
    let mut lexer = sql::Lexer::new(text, context);
    let mut name: Option<&[u8]> = None;
    let mut qualified = false;
    while let Ok(token) = lexer.next_token() {
        match (token.kind, token.word()) {
            (TokenKind::End, _) => return false,
            (_, Word::Select | Word::With | Word::Table | Word::Values | Word::For) => return true,
            (_, Word::NextVal | Word::LastVal | Word::SetVal) => return true,
            (TokenKind::Symbol(b'('), _) => {
                let stored = |name: &[u8]| std::str::from_utf8(name).is_ok_and(is_native);
                if name.take().is_some_and(|name| qualified || !stored(name)) {
                    return true;
                }
            }
            _ => {}
        }
        qualified = token.is_symbol(b'.') || qualified && token.is_name();
        name = token.is_name().then(|| unquoted(token.text(text)));
    }
    // The server says what is wrong.
    false
}

fn unquoted(name: &[u8]) -> &[u8] {
    match name {
        [b'`' | b'"', inner @ .., b'`' | b'"'] => inner,
        plain => plain,
    }
}

/// The plan of a statement that computes the expressions as well.
pub(super) fn beside(plan: Plan, text: &[u8], request: &Request<'_>, topology: &Topology) -> Plan {
    if matches!(plan.routing, Routing::Refused { .. }) {
        return plan;
    }
    let inner = match expressions(text, request.database, request.context, topology) {
        Ok(None) => return plan,
        Ok(Some((inner, _, _))) => inner,
        Err(error) => return Plan::refused(plan.verb, error).over(plan.tables),
    };
    let name = |shard| topology.shard(shard).name.clone();
    let refused = match (&plan.routing, inner.routing) {
        (_, Routing::Anywhere) => return plan,
        (Routing::Anywhere, Routing::One(of)) => return Plan { routing: Routing::One(of), ..plan },
        (Routing::One(shard), Routing::One(of)) if *shard == of => return plan,
        (Routing::One(shard), Routing::One(of)) => {
            let detail = format!("it runs on shard {} and reads rows of shard {}", name(*shard), name(of));
            ClientError::new("SW1207", detail)
        }
        (_, Routing::Refused { error, .. }) => error,
        _ => ClientError::new("SW1202", "a query over sharded tables inside another kind of statement"),
    };
    Plan::refused(plan.verb, refused).over(plan.tables)
}
