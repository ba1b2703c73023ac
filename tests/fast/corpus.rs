//! What becomes of the statements that drivers, ORMs and tools send: one line each in `tests/corpus`, so that a statement that is
//! refused from one day to the next is seen. With `UPDATE_PLANS=1` the classes are written anew, and the counts at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shardway::internal::plans::Explainer;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// First words of statements that the session carries out by itself (see `docs/statements.md`).
const OF_SESSIONS: [&str; 9] =
    ["set ", "begin", "start transaction", "commit", "rollback", "savepoint", "release", "use ", "kill "];

fn is_of_session(statement: &str) -> bool {
    let inside = statement.trim_start_matches(|first: char| "/*!".contains(first) || first.is_ascii_digit());
    let begin = inside.trim_start().to_ascii_lowercase();
    OF_SESSIONS.iter().any(|words| begin.starts_with(words))
}

/// The rule of a plan, or the number of its refusal.
fn class(explanation: &str) -> String {
    let fact = |name: &str| {
        let line = explanation.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim().split(':').next().unwrap_or_default().to_owned())
    };
    match (fact("refused"), fact("rule")) {
        (Some(id), _) => format!("refused {id}"),
        (None, Some(rule)) => rule,
        (None, None) => panic!("neither rule nor refusal in\n{explanation}"),
    }
}

/// The file with the class of each statement on the line below it.
fn classified_anew(text: &str, explainer: &Explainer) -> String {
    let mut database = None;
    let mut out = String::new();
    let mut counts = BTreeMap::new();
    for line in text.lines().take_while(|line| !line.starts_with("# Together")) {
        if let Some(statement) = line.strip_prefix("> ") {
            let class = match is_of_session(statement) {
                true => "session".to_owned(),
                false => class(&explainer.explain_on(statement, database.as_deref(), None)),
            };
            out.push_str(&format!("{line}\n    {class}\n"));
            *counts.entry(class).or_insert(0) += 1;
        } else if !line.starts_with(' ') {
            if let Some(name) = line.strip_prefix("@database ") {
                database = Some(name.to_owned());
            }
            out.push_str(&format!("{line}\n"));
        }
    }
    let together: Vec<String> = counts.iter().map(|(class, count)| format!("{class} {count}")).collect();
    format!("{}\n\n# Together: {}\n", out.trim_end(), together.join(", "))
}

#[test]
fn statements_of_tools_are_answered_as_written_down() {
    let columns = std::fs::read_to_string(folder("plans").join("columns.txt")).unwrap();
    let explainer = Explainer::new(&folder("plans").join("map.toml"), &columns).unwrap();
    let file = folder("corpus").join("tools.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    let anew = classified_anew(&text, &explainer);
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::write(&file, anew).unwrap();
        return;
    }
    for (is, should) in anew.lines().zip(text.lines()) {
        assert_eq!(is, should);
    }
    assert_eq!(anew, text);
}
