//! Compares what a program printed in each place with what it printed on the plain server.

use std::collections::BTreeMap;

use serde_json::Value;
use shardway::internal::local::Flavor;

use super::checklist::Checklist;
use super::expectation::{Expectations, Seen};
use super::place::{Compared, Place, Printed};
use super::program::Program;

/// How much of an answer a failure shows.
const SHOWN_CHARACTERS: usize = 400;

/// What stands for a behaviour where a program fails as a whole.
const WHOLE: &str = "the program runs";

pub(super) struct Report {
    pub(super) program: &'static str,
    flavor: Flavor,
    unsupported: Vec<String>,
    /// By place: equal, different as expected.
    counts: Vec<(Place, usize, usize)>,
    pub(super) wrong: Vec<String>,
}

impl Report {
    pub(super) fn new(
        program: &'static Program,
        flavor: Flavor,
        compared: &Compared,
        checklist: &Checklist,
        expectations: &Expectations,
    ) -> Report {
        let mut report = Report {
            program: program.name,
            flavor,
            unsupported: Vec::new(),
            counts: Vec::new(),
            wrong: Vec::new(),
        };
        let plain = match &compared.plain {
            Ok(plain) => plain,
            Err(failure) => {
                report.fail(&format!("on the plain server: {failure}"));
                return report;
            }
        };
        for behaviour in checklist.behaviours.iter().filter(|_| !program.application) {
            if !plain.contains_key(&behaviour.id) {
                report.fail(&format!("the program says nothing of {}", behaviour.id));
            }
        }
        let unsupported = plain.iter().filter(|(_, line)| line["unsupported"].is_string());
        report.unsupported = unsupported.map(|(id, _)| id.clone()).collect();
        for (place, printed) in &compared.proxied {
            report.place(*place, plain, printed, checklist, expectations);
        }
        report
    }

    fn place(
        &mut self,
        place: Place,
        plain: &BTreeMap<String, Value>,
        printed: &Printed,
        checklist: &Checklist,
        expectations: &Expectations,
    ) {
        let printed = match printed {
            Ok(printed) => printed,
            Err(failure) => {
                let difference = Difference { found: failure.as_str().into(), text: failure.clone() };
                self.differs(WHOLE, place, &difference, expectations);
                return;
            }
        };
        let (mut equal, mut expected) = (0, 0);
        for (id, wanted) in plain.iter().filter(|(_, line)| !line["unsupported"].is_string()) {
            let Some(found) = printed.get(id) else {
                self.fail(&format!("{place}: the program says nothing of {id}"));
                continue;
            };
            match difference(id, wanted, found, checklist) {
                None => equal += 1,
                Some(difference) if self.differs(id, place, &difference, expectations) => expected += 1,
                Some(_) => {}
            }
        }
        self.counts.push((place, equal, expected));
    }

    /// Whether the difference is one that is written down; else it is wrong.
    fn differs(
        &mut self,
        behaviour: &str,
        place: Place,
        difference: &Difference,
        expectations: &Expectations,
    ) -> bool {
        let seen =
            Seen { behaviour, place, driver: self.program, flavor: self.flavor, step: &difference.found };
        let explained = expectations.explain(&seen);
        if !explained {
            self.fail(&format!("{place}: {behaviour}: {}", difference.text));
        }
        explained
    }

    pub(super) fn summary(&self) -> String {
        let counts: Vec<String> = self
            .counts
            .iter()
            .map(|(place, equal, expected)| {
                format!("{place}: {equal} equal, {expected} differ as written down")
            })
            .collect();
        format!(
            "{} on {}: {}; {} not offered by the driver",
            self.program,
            self.flavor.name(),
            counts.join("; "),
            self.unsupported.len()
        )
    }

    fn fail(&mut self, text: &str) {
        self.wrong.push(format!("{} on {}, {text}", self.program, self.flavor.name()));
    }
}

struct Difference {
    found: Value,
    text: String,
}

/// The first step whose answers differ.
fn difference(id: &str, wanted: &Value, found: &Value, checklist: &Checklist) -> Option<Difference> {
    let steps = |line: &Value| line["steps"].as_array().cloned().unwrap_or_else(|| vec![line.clone()]);
    let (wanted, found) = (steps(wanted), steps(found));
    let behaviour = checklist.behaviour(id);
    for (number, wanted) in wanted.iter().enumerate() {
        let step = behaviour.and_then(|behaviour| behaviour.steps.get(number));
        let unordered = step.is_some_and(|step| step.unordered);
        let in_order = |answer: &Value| if unordered { sorted(answer) } else { answer.clone() };
        let found = found.get(number).cloned().unwrap_or_default();
        if in_order(wanted) != in_order(&found) {
            let shown = step.map_or_else(String::new, super::checklist::Step::shown);
            let (one, other) =
                around_difference(&in_order(wanted).to_string(), &in_order(&found).to_string());
            let text = format!("step {number}: {shown}\n    one server: {one}\n    the proxy:  {other}");
            return Some(Difference { found, text });
        }
    }
    None
}

/// The answer with every list called `rows` in an order of its own.
fn sorted(answer: &Value) -> Value {
    match answer {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::Array(rows) if key == "rows" => {
                    let mut rows = rows.clone();
                    rows.sort_by_key(Value::to_string);
                    (key.clone(), Value::Array(rows))
                }
                _ => (key.clone(), sorted(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => answer.clone(),
    }
}

/// Both texts, of long ones what is near the first character in which they differ.
fn around_difference(one: &str, other: &str) -> (String, String) {
    let equal = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let start = equal.saturating_sub(SHOWN_CHARACTERS / 2);
    let cut = |text: &str| {
        let shown: String = text.chars().skip(start).take(SHOWN_CHARACTERS).collect();
        let dots = |is_cut: bool| if is_cut { "…" } else { "" };
        format!("{}{shown}{}", dots(start > 0), dots(text.chars().count() > start + SHOWN_CHARACTERS))
    };
    (cut(one), cut(other))
}
