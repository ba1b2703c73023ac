//! Plans and routes in words: `SHARDWAY EXPLAIN`, `shardway explain`, and the golden plans of the tests. The text is
//! stable: one line per fact, the fact's name first.

use std::fmt::Write as _;

use super::fragments::scratch_facts;
use super::{Part, RouteError, SessionView, route};
use crate::planner::{
    self, Aggregate, Combine, Comparison, Condition, Fold, Function, KeyExpression, KeyFilter, KeyPart,
    KeySource, Merge, Numbered, Place, Plan, Routing, SortKey, Verb, Window,
};
use crate::sql::Statement;
use crate::topology::{Placement, Resolution, Role, Topology};

/// Width of the column of names.
const NAME_WIDTH: usize = 11;
/// Longer statements are cut in print.
const SHOWN_CHARACTERS_MAX: usize = 200;
/// What shards get for a merge is longer than what clients write.
pub(super) const TEXT_CHARACTERS_MAX: usize = 1000;

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
            if route.part == Part::Scratch {
                scratch_facts(&request, &plan, view, topology, &mut facts);
                return facts;
            }
            let many = matches!(&route.part, Part::Many(targets) if targets.len() > 1);
            if many {
                facts.push(("combine", combined(&plan)));
            }
            facts.push(("proof", plan.proof.clone()));
            if let (true, Combine::Merge(merge)) = (many, &plan.combine) {
                merge_facts(merge, &mut facts);
            }
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
    shown_up_to(text, SHOWN_CHARACTERS_MAX)
}

pub(super) fn shown_up_to(text: &[u8], characters_max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(characters_max) {
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
        Routing::Lines(file) => {
            facts.push(("key", format!("field {} of each line is {}", file.place + 1, file.column)));
        }
        Routing::Copies { generated: Some(Numbered::Value(place)), .. } => {
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
        Part::Scratch => {
            format!("one server computes it over copies of rows (map version {version}, role {role})")
        }
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
        let same = targets.iter().all(|target| target.text == targets[0].text);
        if let (true, [first, _, ..]) = (same, targets.as_slice()) {
            facts.extend(
                first
                    .text
                    .as_deref()
                    .map(|text| ("", format!("each: {}", shown_up_to(text, TEXT_CHARACTERS_MAX)))),
            );
            return;
        }
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
        (Combine::Merge(merge), _) => merged(merge),
        (Combine::Identical, _) => "every shard does the same; one answer is the answer".to_owned(),
        (Combine::Distinct, _) => "equal rows are told once".to_owned(),
        (Combine::OneOf, _) => "one of the shards answers".to_owned(),
        (Combine::Names { .. }, _) => "one row of each table, in order of the names".to_owned(),
        (Combine::Scratch { construct }, _) => format!("by one server: {construct}"),
        (Combine::Refuse { construct }, _) => format!("one shard only: {construct}"),
    }
}

/// What becomes of the rows, the last step last.
fn merged(merge: &Merge) -> String {
    let mut steps = Vec::new();
    let keys = |keys: &[SortKey]| {
        let keys: Vec<String> = keys.iter().map(sort_key).collect();
        keys.join(", ")
    };
    match merge.order.as_slice() {
        [] => steps.push("rows in any order".to_owned()),
        order => steps.push(format!("rows merged by {}", keys(order))),
    }
    match &merge.fold {
        Fold::Rows => {}
        Fold::Distinct => steps.push("one of equal rows kept".to_owned()),
        Fold::Groups(aggregates) => {
            let how: Vec<String> = aggregates.iter().map(aggregate).collect();
            let rows = if merge.order.is_empty() { "all rows made one" } else { "equal keys made one row" };
            steps.push(match how.as_slice() {
                [] => rows.to_owned(),
                how => format!("{rows}: {}", how.join(", ")),
            });
        }
    }
    if !merge.conditions.is_empty() {
        let conditions: Vec<String> = merge.conditions.iter().map(condition).collect();
        steps.push(format!("those kept with {}", conditions.join(" and ")));
    }
    if !merge.sort.is_empty() {
        steps.push(format!("sorted by {}", keys(&merge.sort)));
    }
    match merge.window {
        Window { skip: 0, count: None } => {}
        Window { skip: 0, count: Some(count) } => steps.push(format!("the first {count}")),
        Window { skip, count: Some(count) } => steps.push(format!("{count} after the first {skip}")),
        Window { skip, count: None } => steps.push(format!("all after the first {skip}")),
    }
    if merge.hidden > 0 {
        steps.push(format!("the last {} columns cut off", merge.hidden));
    }
    steps.join("; ")
}

fn merge_facts(merge: &Merge, facts: &mut Vec<(&'static str, String)>) {
    facts.extend(merge.rules.iter().map(|rule| ("", format!("{}: {}", rule.name, rule.proof))));
}

fn condition(condition: &Condition) -> String {
    let sign = if condition.negated { "-" } else { "" };
    let comparison = match condition.comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    };
    format!("{} {comparison} {sign}?{}", place(condition.value), condition.slot + 1)
}

fn sort_key(key: &SortKey) -> String {
    let direction = if key.descending { " descending" } else { "" };
    format!("{}{direction}", source(&key.source))
}

fn source(source: &KeySource) -> String {
    match source {
        KeySource::Value(value) => place(*value),
        KeySource::Text { weights, .. } => format!("the weights in {}", place(*weights)),
        KeySource::Moment { value, seconds } => {
            format!("{} (a TIMESTAMP by {})", place(*value), place(*seconds))
        }
        KeySource::Unknown { value, weights, .. } => {
            format!("{} (text by the weights in {})", place(*value), place(*weights))
        }
    }
}

fn place(place: Place) -> String {
    match place {
        Place::Start(at) => format!("column {}", at + 1),
        Place::End(0) => "the last column".to_owned(),
        Place::End(at) => format!("column {} from the last", at + 1),
        Place::Hidden(at) => format!("__shardway_{}", at + 1),
    }
}

fn aggregate(aggregate: &Aggregate) -> String {
    let at = place(aggregate.place);
    match &aggregate.function {
        Function::Count => format!("{at} a count"),
        Function::Sum => format!("{at} a sum"),
        Function::SumOr { sum } => format!("{at} the sum of {}", place(*sum)),
        Function::Least(by) => format!("{at} the least by {}", source(by)),
        Function::Greatest(by) => format!("{at} the greatest by {}", source(by)),
        Function::Average { sum, count } => format!("{at} {} / {}", place(*sum), place(*count)),
        Function::BitAnd => format!("{at} all bits and"),
        Function::BitOr => format!("{at} all bits or"),
        Function::BitXor => format!("{at} all bits xor"),
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
