//! Reads `tests/drivers/expected.yaml`: which behaviours of the proxy differ from one server's, and how. A difference that
//! is not written there fails; so does an entry that nothing needs any more. `UPDATE=1` writes the file anew: read what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use shardway::internal::local::Flavor;

use super::checklist::{Checklist, folder, list};
use super::place::Place;

/// Where a behaviour was tried, and by which driver.
type PlaceAndDriver<'a> = (&'a str, &'a str);

/// Set to rewrite the file instead of failing.
const UPDATE_VARIABLE: &str = "UPDATE";
/// The reason of entries that `UPDATE` makes; a reader replaces it.
const UNREAD: &str = "new: say why";

pub(super) struct Expectations {
    /// What stands before the first entry.
    head: String,
    entries: Vec<Entry>,
    /// With `UPDATE`: differences that no entry explains.
    news: Mutex<BTreeSet<News>>,
}

/// Outcome, behaviour, place and, for another answer, the driver.
type News = (String, String, String, String);

struct Entry {
    behaviours: Vec<String>,
    /// Empty: all.
    places: Vec<String>,
    drivers: Vec<String>,
    servers: Vec<String>,
    outcome: Outcome,
    why: String,
    used: Vec<AtomicBool>,
}

enum Outcome {
    /// The first step that differs fails with this error of the proxy's catalogue, or of a server.
    Gives(String),
    /// The answer is another one, for the reason that stands in the file.
    Differs,
}

/// Where a difference was seen.
pub(super) struct Seen<'a> {
    pub(super) behaviour: &'a str,
    pub(super) place: Place,
    pub(super) driver: &'a str,
    pub(super) flavor: Flavor,
    /// The first step that differs, as the proxy answered it.
    pub(super) step: &'a Value,
}

impl Expectations {
    pub(super) fn read(checklist: &Checklist) -> Expectations {
        let path = path();
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let head = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .fold(String::new(), |head, line| head + line + "\n");
        let entries: Vec<Entry> = list(&whole).map(Entry::read).collect();
        let ids: BTreeSet<&str> = shardway::internal::error::ids().into_iter().collect();
        for entry in &entries {
            for id in entry.behaviours.iter().filter(|id| !id.contains(' ')) {
                assert!(checklist.behaviour(id).is_some(), "expected.yaml: no behaviour {id}");
            }
            if let Outcome::Gives(id) = &entry.outcome {
                assert!(!id.starts_with("SW") || ids.contains(id.as_str()), "expected.yaml: no error {id}");
            }
        }
        Expectations { head, entries, news: Mutex::default() }
    }

    /// Whether the difference is one that is written down; notes that its entry is needed.
    pub(super) fn explain(&self, seen: &Seen<'_>) -> bool {
        if self.entries.iter().any(|entry| entry.explains(seen)) {
            return true;
        }
        if std::env::var_os(UPDATE_VARIABLE).is_none() {
            return false;
        }
        let answer = seen.step.to_string();
        let (outcome, driver) = match answer.find("SW1").and_then(|at| answer.get(at..at + 6)) {
            Some(id) => (format!("gives: {id}"), String::new()),
            None => ("differs: true".to_owned(), seen.driver.to_owned()),
        };
        let (behaviour, place) = (seen.behaviour.to_owned(), seen.place.to_string());
        self.news.lock().unwrap().insert((outcome, behaviour, place, driver));
        true
    }

    /// With `UPDATE`: writes the file with what was seen. A part of the matrix cannot tell that an entry is not needed.
    pub(super) fn rewritten(&self, whole: bool) -> bool {
        if std::env::var_os(UPDATE_VARIABLE).is_none() {
            return false;
        }
        let mut text = self.head.clone();
        for entry in &self.entries {
            let kept = entry.behaviours.iter().zip(&entry.used);
            let kept: Vec<&str> = kept
                .filter(|(_, used)| !whole || used.load(Ordering::Relaxed))
                .map(|(behaviour, _)| behaviour.as_str())
                .collect();
            if !kept.is_empty() {
                let lists =
                    [("places", &entry.places), ("drivers", &entry.drivers), ("servers", &entry.servers)];
                let lists = lists.map(|(key, names)| (key, names.iter().map(String::as_str).collect()));
                push_entry(&mut text, &kept, &lists, &entry.outcome.text(), &entry.why);
            }
        }
        // One entry for all behaviours that differ alike in the same places.
        let mut alike: BTreeMap<(&str, &str), BTreeSet<PlaceAndDriver<'_>>> = BTreeMap::new();
        let news = self.news.lock().unwrap();
        for (outcome, behaviour, place, driver) in news.iter() {
            alike.entry((outcome, behaviour)).or_default().insert((place, driver));
        }
        let mut entries: BTreeMap<(&str, BTreeSet<PlaceAndDriver<'_>>), Vec<&str>> = BTreeMap::new();
        for ((outcome, behaviour), seen) in alike {
            entries.entry((outcome, seen)).or_default().push(behaviour);
        }
        for ((outcome, seen), behaviours) in entries {
            let places: BTreeSet<&str> = seen.iter().map(|(place, _)| *place).collect();
            let drivers: BTreeSet<&str> =
                seen.iter().map(|(_, driver)| *driver).filter(|name| !name.is_empty()).collect();
            let places = if places.len() == 2 { Vec::new() } else { places.into_iter().collect() };
            let lists = [("places", places), ("drivers", drivers.into_iter().collect())];
            push_entry(&mut text, &behaviours, &lists, outcome, UNREAD);
        }
        std::fs::write(path(), text).unwrap();
        true
    }

    /// Entries, or behaviours of them, that no difference needed.
    pub(super) fn unused(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for entry in &self.entries {
            for (behaviour, used) in entry.behaviours.iter().zip(&entry.used) {
                if !used.load(Ordering::Relaxed) {
                    unused.push(format!(
                        "expected.yaml: {behaviour} {} {:?} {:?}: nothing needs this any more, remove it",
                        entry.outcome.text(),
                        entry.places,
                        entry.drivers
                    ));
                }
            }
        }
        unused
    }
}

impl Outcome {
    /// As the file says it.
    fn text(&self) -> String {
        match self {
            Outcome::Gives(id) => format!("gives: {id}"),
            Outcome::Differs => "differs: true".to_owned(),
        }
    }
}

fn path() -> PathBuf {
    folder().join("expected.yaml")
}

fn push_entry(text: &mut String, behaviours: &[&str], lists: &[(&str, Vec<&str>)], outcome: &str, why: &str) {
    let mut push = |line: String| text.write_str(&line).unwrap();
    push(format!("\n- behaviours: [{}]\n", behaviours.join(", ")));
    for (key, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        push(format!("  {key}: [{}]\n", names.join(", ")));
    }
    push(format!("  {outcome}\n  why: {}\n", Value::from(why)));
}

impl Entry {
    fn read(yaml: &Value) -> Entry {
        let strings = |key: &str| -> Vec<String> {
            list(&yaml[key]).map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        assert!(yaml["why"].is_string(), "expected.yaml: an entry without a reason: {yaml}");
        let behaviours = strings("behaviours");
        let used = behaviours.iter().map(|_| AtomicBool::new(false)).collect();
        let outcome = match (yaml["gives"].as_str(), yaml["differs"].as_bool()) {
            (Some(id), None) => Outcome::Gives(id.to_owned()),
            (None, Some(true)) => Outcome::Differs,
            _ => panic!("expected.yaml: an entry either gives an error or differs: {yaml}"),
        };
        Entry {
            behaviours,
            places: strings("places"),
            drivers: strings("drivers"),
            servers: strings("servers"),
            outcome,
            why: yaml["why"].as_str().unwrap().to_owned(),
            used,
        }
    }

    fn explains(&self, seen: &Seen<'_>) -> bool {
        let of = |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| name == known);
        let here = of(&self.places, &seen.place.to_string())
            && of(&self.drivers, seen.driver)
            && of(&self.servers, seen.flavor.name());
        let Some(at) = self.behaviours.iter().position(|id| id == seen.behaviour).filter(|_| here) else {
            return false;
        };
        let explained = match &self.outcome {
            Outcome::Gives(id) => seen.step.to_string().contains(id.as_str()),
            Outcome::Differs => true,
        };
        if explained {
            self.used[at].store(true, Ordering::Relaxed);
        }
        explained
    }
}
