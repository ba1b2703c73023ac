//! Reads `tests/drivers/expected.yaml`: which behaviours of the proxy differ from one server's, and how. A difference that
//! is not written there fails; so does an entry that nothing needs any more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use shardway::internal::local::Flavor;

use super::checklist::{Checklist, folder, list};
use super::place::Place;

pub(super) struct Expectations {
    entries: Vec<Entry>,
}

struct Entry {
    behaviours: Vec<String>,
    /// Empty: all.
    places: Vec<String>,
    drivers: Vec<String>,
    servers: Vec<String>,
    outcome: Outcome,
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
        let path = folder().join("expected.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
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
        Expectations { entries }
    }

    /// Whether the difference is one that is written down; notes that its entry is needed.
    pub(super) fn explain(&self, seen: &Seen<'_>) -> bool {
        self.entries.iter().any(|entry| entry.explains(seen))
    }

    /// Entries, or behaviours of them, that no difference needed.
    pub(super) fn unused(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for entry in &self.entries {
            for (behaviour, used) in entry.behaviours.iter().zip(&entry.used) {
                if !used.load(Ordering::Relaxed) {
                    let outcome = match &entry.outcome {
                        Outcome::Gives(id) => format!("gives {id}"),
                        Outcome::Differs => "differs".to_owned(),
                    };
                    unused.push(format!(
                        "expected.yaml: {behaviour} {outcome} {:?} {:?}: nothing needs this any more, remove it",
                        entry.places, entry.drivers
                    ));
                }
            }
        }
        unused
    }
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
            used,
        }
    }

    fn explains(&self, seen: &Seen<'_>) -> bool {
        let of = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|known| name.starts_with(known.as_str()))
        };
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
