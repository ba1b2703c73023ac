//! Plans and routes in words: `SHARDWAY EXPLAIN`, `shardway explain`, and the golden plans of the tests. The text is
//! stable: one line per fact, the fact's name first.

use std::fmt::Write as _;

use super::{Part, RouteError, SessionView, route};
use crate::planner::{self, Combine, KeyExpression, KeyFilter, KeyPart, Plan, Routing, Verb};
use crate::sql::Statement;
use crate::topology::{Placement, Resolution, Role, Topology};

/// Width of the column of names.
const NAME_WIDTH: usize = 11;
/// Longer statements are cut in print.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// The facts about one statement, in order.
pub(crate) fn facts(
    text: &[u8],
    database: Option<&str>,
    view: &SessionView<'_>,
    topology: &Topology,
) -> Vec<(&'static str, String)> {
    let mut statement = Statement::default();
    let mut facts = vec![("statement", shown(text))];
    if let Err(error) = statement.scan(text, view.context) {
        facts.push(("refused", error.to_string()));
        return facts;
    }
    let request = planner::Request { text, statement: &statement, context: view.context, database };
    let plan = planner::plan(&request, topology);
    facts.push(("rule", plan.rule.to_owned()));
    for table in &plan.tables {
        facts.push(("table", placed(table, topology)));
    }
    plan_facts(&plan, topology, &mut facts);
    match route(&plan, text, &statement, view, topology) {
        Ok(route) => {
            let role = match route.role {
                Role::Primary => "primary",
                Role::Replica => "replica",
            };
            route_facts(&route.part, role, topology, &mut facts);
            let many = matches!(&route.part, Part::Many(targets) if targets.len() > 1);
            if many {
                facts.push(("combine", combined(&plan)));
            }
            facts.push(("proof", plan.proof.clone()));
        }
        Err(RouteError::WeightsNeeded { collation, texts }) => {
            let detail = format!("a server is asked how {} texts compare under {collation}", texts.len());
            facts.push(("route", detail));
        }
        Err(RouteError::Refused(error)) => {
            facts.push(("refused", format!("{}: {}", error.entry.id, error.detail)));
        }
    }
    facts
}

/// The same facts as lines of text.
pub(crate) fn print(facts: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (name, fact) in facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:NAME_WIDTH$}{fact}");
    }
    text
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn placed(full_name: &str, topology: &Topology) -> String {
    let Some((database, table)) = full_name.split_once('.') else { return full_name.to_owned() };
    let how = match topology.resolve(database, table) {
        Resolution::Table(found) => match &found.placement {
            Placement::Sharded { scheme, key } => {
                format!("sharded by {key}, scheme {}", topology.scheme(*scheme).name)
            }
            Placement::Reference => "reference: a copy on every shard".to_owned(),
            Placement::Single { shard } => format!("single, on {}", topology.shard(*shard).name),
        },
        Resolution::Unlisted(shard) => format!("not listed: on {}", topology.shard(shard).name),
        Resolution::System => "system".to_owned(),
        Resolution::UnknownTable | Resolution::UnknownDatabase => "unknown".to_owned(),
    };
    format!("{full_name} ({how})")
}

fn plan_facts(plan: &Plan, topology: &Topology, facts: &mut Vec<(&'static str, String)>) {
    match &plan.routing {
        Routing::Keys { parts, .. } => {
            for part in parts {
                facts.push(("filter", filtered(part)));
            }
        }
        Routing::Rows { column, value, .. } => {
            facts.push(("key", format!("value {} of each row is {column}", value + 1)));
        }
        Routing::Insert { column, key, scheme, .. } => {
            let scheme = &topology.scheme(*scheme).name;
            facts.push(("key", format!("{column} = {} (scheme {scheme})", expression(key))));
        }
        Routing::Copies { generated: Some(place), .. } => {
            facts.push((
                "key",
                format!("value {} of each row must be given: it is AUTO_INCREMENT", place + 1),
            ));
        }
        _ => {}
    }
}

fn route_facts(part: &Part, role: &str, topology: &Topology, facts: &mut Vec<(&'static str, String)>) {
    let version = topology.version;
    let route = match part {
        Part::Any => format!("any shard (map version {version}, role {role})"),
        Part::Nowhere => format!("no row can match: any shard (map version {version}, role {role})"),
        Part::One(shard) => {
            format!("shard {} (map version {version}, role {role})", topology.shard(*shard).name)
        }
        Part::Many(targets) => {
            let names: Vec<&str> =
                targets.iter().map(|target| topology.shard(target.shard).name.0.as_ref()).collect();
            let word = if names.len() == 1 { "shard" } else { "shards" };
            format!("{word} {} (map version {version}, role {role})", names.join(", "))
        }
    };
    facts.push(("route", route));
    if let Part::Many(targets) = part {
        for target in targets {
            if let Some(text) = &target.text {
                facts.push(("", format!("{}: {}", topology.shard(target.shard).name, shown(text))));
            }
        }
    }
}

fn combined(plan: &Plan) -> String {
    match (&plan.combine, plan.verb) {
        (Combine::Concatenate, Verb::Read | Verb::LockingRead) => {
            "rows of one shard after the other".to_owned()
        }
        (Combine::Concatenate, Verb::Write | Verb::Definition) => "affected rows are added up".to_owned(),
        (Combine::Identical, _) => "every shard does the same; one answer is the answer".to_owned(),
        (Combine::Distinct, _) => "equal rows are told once".to_owned(),
        (Combine::OneOf, _) => "one of the shards answers".to_owned(),
        (Combine::Names { .. }, _) => "one row of each table, in order of the names".to_owned(),
        (Combine::Refuse { construct }, _) => format!("one shard only: {construct}"),
    }
}

/// `shop.orders.customer_id = ?1 AND …`
fn filtered(part: &KeyPart) -> String {
    let column = part.column.as_str();
    match &part.filter {
        KeyFilter::All => format!("{column}: any"),
        KeyFilter::Nothing => format!("{column}: none"),
        filter => print_filter(column, filter),
    }
}

fn print_filter(column: &str, filter: &KeyFilter) -> String {
    let joined = |filters: &[KeyFilter], word: &str| {
        let parts: Vec<String> = filters
            .iter()
            .map(|filter| match filter {
                KeyFilter::And(_) | KeyFilter::Or(_) => format!("({})", print_filter(column, filter)),
                _ => print_filter(column, filter),
            })
            .collect();
        parts.join(word)
    };
    match filter {
        KeyFilter::All => "any".to_owned(),
        KeyFilter::Nothing => "none".to_owned(),
        KeyFilter::Equal(value) => format!("{column} = {}", expression(value)),
        KeyFilter::In { elements, split } => {
            let whole = if *split { "" } else { " (not split)" };
            format!("{column} IN ({}){whole}", list(elements))
        }
        KeyFilter::Between { low, high } => {
            let low = low.as_ref().map(|(value, inclusive)| {
                format!("{column} {} {}", if *inclusive { ">=" } else { ">" }, expression(value))
            });
            let high = high.as_ref().map(|(value, inclusive)| {
                format!("{column} {} {}", if *inclusive { "<=" } else { "<" }, expression(value))
            });
            low.into_iter().chain(high).collect::<Vec<_>>().join(" AND ")
        }
        KeyFilter::Shard(names) => format!("_shard IN ({})", list(names)),
        KeyFilter::And(all) => joined(all, " AND "),
        KeyFilter::Or(any) => joined(any, " OR "),
    }
}

fn list(elements: &[KeyExpression]) -> String {
    elements.iter().map(expression).collect::<Vec<_>>().join(", ")
}

fn expression(value: &KeyExpression) -> String {
    match value {
        KeyExpression::Slot(slot) => format!("?{}", slot + 1),
        KeyExpression::Negated(slot) => format!("-?{}", slot + 1),
        KeyExpression::Null => "NULL".to_owned(),
        KeyExpression::Arithmetic { operator, left, right } => {
            format!("({} {operator} {})", expression(left), expression(right))
        }
    }
}
