//! Golden plans: each file of `tests/plans` holds statements and what `shardway explain` says of them. With
//! `UPDATE_PLANS=1` the files are written anew; the difference is then for a human to read.

use std::path::{Path, PathBuf};

use shardway::internal::plans::Explainer;

/// `@database shop` and `@shard s1` set the session for the statements below; `none` clears.
#[derive(Default)]
struct SessionLines {
    database: Option<String>,
    shard: Option<String>,
}

impl SessionLines {
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (word, value) = (words.next(), words.next().filter(|value| *value != "none").map(str::to_owned));
        match word {
            Some("@database") => self.database = value,
            Some("@shard") => self.shard = value,
            _ => panic!("{line}: neither @database nor @shard"),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

fn explainer() -> Explainer {
    let columns = std::fs::read_to_string(folder().join("columns.txt")).unwrap();
    Explainer::new(&folder().join("map.toml"), &columns).unwrap()
}

/// The file with every plan printed anew below its statement. Statements begin with `> `, comments with `#`.
fn planned_anew(text: &str, explainer: &Explainer) -> (String, usize) {
    let mut session = SessionLines::default();
    let mut out = String::new();
    let mut count = 0;
    for line in text.lines() {
        if let Some(statement) = line.strip_prefix("> ") {
            let plan = explainer.explain_on(statement, session.database.as_deref(), session.shard.as_deref());
            let (_, facts) = plan.split_once('\n').unwrap();
            out.push_str(&format!("{line}\n{facts}\n"));
            count += 1;
        } else if line.starts_with('#') || line.starts_with('@') {
            if line.starts_with('@') {
                session.read(line);
            }
            out.push_str(&format!("{line}\n\n"));
        }
    }
    (out, count)
}

fn check(name: &str, at_least: usize) {
    let file = folder().join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    let (anew, count) = planned_anew(&text, &explainer());
    assert!(count >= at_least, "{name} has {count} statements, fewer than {at_least}");
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::write(&file, anew).unwrap();
        return;
    }
    for (line, (is, should)) in anew.lines().zip(text.lines()).enumerate() {
        assert_eq!(is, should, "{name}, line {}", line + 1);
    }
    assert_eq!(anew, text, "{name}");
}

macro_rules! golden {
    ($($test:ident: $file:literal has at least $count:literal,)*) => {
        $(#[test]
        fn $test() {
            check($file, $count);
        })*
    };
}

golden! {
    keys_route_as_written_down: "keys.txt" has at least 60,
    joins_route_as_written_down: "joins.txt" has at least 30,
    subqueries_route_as_written_down: "subqueries.txt" has at least 25,
    inserts_route_as_written_down: "inserts.txt" has at least 30,
    changes_route_as_written_down: "changes.txt" has at least 25,
    places_route_as_written_down: "places.txt" has at least 20,
    merges_are_made_or_refused_as_written_down: "merges.txt" has at least 60,
    definitions_and_administration_go_by_names: "definitions.txt" has at least 70,
    the_shard_column_is_written_down: "shard_column.txt" has at least 10,
}

/// The second of each pair has the fingerprint of the first and finds its plan in the cache: it must lead where a new plan leads, and must
/// not tell what the first one said.
#[test]
fn a_cached_plan_leads_where_a_new_one_does() {
    use shardway::internal::route::HotPath;

    let columns = std::fs::read_to_string(folder().join("columns.txt")).unwrap();
    for (first, second) in [
        ("0x41", "0x412"),
        ("SELECT 'secret' FROM", "SELECT 'other' FROM"),
        ("EXECUTE IMMEDIATE 'SELECT * FROM settings'", "EXECUTE IMMEDIATE 'SELECT * FROM jobs'"),
        ("SELECT * FROM 'customers'", "SELECT * FROM 'orders'"),
        ("SELECT * FROM customers WHERE id = 1", "SELECT * FROM customers WHERE id = 2"),
        ("SELECT id FROM customers ORDER BY 1", "SELECT id FROM customers ORDER BY 2"),
    ] {
        let mut path = HotPath::new(&folder().join("map.toml"), &columns).unwrap();
        path.inspect(first.as_bytes(), "shop");
        path.inspect(second.as_bytes(), "shop");
    }
}
