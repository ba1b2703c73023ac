//! The architecture as `docs/architecture.md` states it, checked against the sources: who may use whom, which modules
//! are pure, in which rooms foreign crates live. The page is the source of the rules; this file only applies them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, files, read, root, sources, words_at};

const PAGE: &str = "docs/architecture.md";
const ALL: &str = "all of the above";

/// A row of the table: what a module may use, and what stands above it.
struct Row {
    module: String,
    may_use: BTreeSet<String>,
}

/// The text block after the mark, line by line.
fn block(mark: &str) -> Vec<String> {
    let page = read(PAGE);
    let after =
        page.split(&format!("<!-- {mark} -->")).nth(1).unwrap_or_else(|| panic!("{PAGE} lacks {mark}"));
    let inside = after.split("```").nth(1).unwrap_or_else(|| panic!("{PAGE}: no block after {mark}"));
    inside.lines().skip(1).map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

/// Lines of `key   words …`.
fn table(mark: &str) -> Vec<(String, Vec<String>)> {
    block(mark)
        .iter()
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

fn law() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (module, words) in table("dependencies") {
        let above: BTreeSet<String> = rows.iter().map(|row| row.module.clone()).collect();
        let may_use = match words.join(" ").as_str() {
            "-" => BTreeSet::new(),
            ALL => above.clone(),
            _ => words.into_iter().collect(),
        };
        for used in &may_use {
            assert!(above.contains(used), "{module} may use {used}, which does not stand above it in {PAGE}");
        }
        rows.push(Row { module, may_use });
    }
    rows
}

#[test]
fn every_module_has_a_row_and_every_row_a_module() {
    let found: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.module().to_owned())
        .filter(|module| !matches!(module.as_str(), "lib" | "main"))
        .collect();
    let listed: BTreeSet<String> = law().into_iter().map(|row| row.module).collect();
    assert_eq!(found, listed, "src against the table in {PAGE}");
}

#[test]
fn modules_use_only_what_their_row_allows() {
    let rows: BTreeMap<String, BTreeSet<String>> =
        law().into_iter().map(|row| (row.module, row.may_use)).collect();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(may_use) = rows.get(source.module()) else { continue };
        for used in used_modules(&source) {
            if used != source.module() && rows.contains_key(&used) && !may_use.contains(&used) {
                faults.push(format!("src/{} uses {used}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "not allowed by the table in {PAGE}:\n{}", faults.join("\n"));
}

#[test]
fn the_data_plane_never_names_the_control_plane() {
    let rows = law();
    let position = |module: &str| rows.iter().position(|row| row.module == module).unwrap();
    for row in &rows[position("wire")..=position("listener")] {
        for used in ["control", "reshard", "admin", "http"] {
            assert!(!row.may_use.contains(used), "{} may use {used}", row.module);
        }
    }
}

/// Names of modules at the crate's root that `source` reaches by `crate::…` or by enough `super::`.
fn used_modules(source: &Source) -> BTreeSet<String> {
    let code = &source.code;
    let mut used = BTreeSet::new();
    for at in words_at(code, "crate") {
        if let Some(path) = code[at + "crate".len()..].trim_start().strip_prefix("::") {
            used.extend(first_names(path));
        }
    }
    let depth = source.path.trim_end_matches("/mod.rs").split('/').count();
    for at in words_at(code, "super") {
        let chain = code[at..].split("::").take_while(|segment| segment.trim() == "super").count();
        let continued = code[..at].trim_end().ends_with("super::");
        if chain >= depth && !continued {
            used.extend(first_names(code[at..].splitn(chain + 1, "::").last().unwrap()));
        }
    }
    used
}

/// The first name of a path, or those of a group: `a::b` is a; `{a::b, c}` is a and c.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let name = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn used_modules_are_found_in_every_form_of_import() {
    let check = |path: &str, code: &str, expected: &[&str]| {
        let source = Source { path: path.to_owned(), text: String::new(), code: code.to_owned() };
        let used: Vec<String> = used_modules(&source).into_iter().collect();
        assert_eq!(used, expected, "{code}");
    };
    check("a/b.rs", "use crate::wire::Packet; fn f() { crate::sql::scan(); }", &["sql", "wire"]);
    check("a/b.rs", "use crate::{wire::{Packet, command}, sql};", &["sql", "wire"]);
    check("a/b.rs", "use super::error::E; pub(crate) fn f() {}", &[]);
    check("a/b.rs", "use super::super::control::C;", &["control"]);
    check("a/mod.rs", "use super::control::C;", &["control"]);
    check("a/b.rs", "use mycrate::wire;", &[]);
}

#[test]
fn the_pure_core_does_no_io_and_reads_no_clock() {
    // Addresses are values; sockets and look-ups are not.
    const IMPURE: [&str; 11] = [
        "tokio",
        "tokio_util",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::fs",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
        "tracing",
    ];
    let pure: Vec<(String, Vec<String>)> = table("pure");
    let mut faults = Vec::new();
    for source in sources() {
        let rule = pure.iter().find(|(place, _)| in_room(&source.path, place));
        let excepted = |words: &[String]| {
            words.iter().filter(|word| *word != "but").any(|place| in_room(&source.path, place))
        };
        if rule.is_none_or(|(_, words)| excepted(words)) {
            continue;
        }
        faults.extend(
            IMPURE
                .iter()
                .filter(|word| source.mentions(word))
                .map(|word| format!("src/{}: {word}", source.path)),
        );
    }
    assert!(faults.is_empty(), "impure, though {PAGE} calls it pure:\n{}", faults.join("\n"));
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for (name, rooms) in table("rooms") {
        for source in sources() {
            let inside = rooms.iter().any(|room| in_room(&source.path, room));
            if !inside && source.mentions(&name) {
                faults.push(format!("src/{} uses {name}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "outside of their rooms in {PAGE}:\n{}", faults.join("\n"));
}

/// `wire`: the folder or file of that name; `backend/state.rs`: that file; `*/metrics.rs`: files of that name anywhere.
fn in_room(path: &str, room: &str) -> bool {
    match room.strip_prefix("*/") {
        Some(file) => path.ends_with(&format!("/{file}")),
        None => path == room || path == format!("{room}.rs") || path.starts_with(&format!("{room}/")),
    }
}

#[test]
fn every_dependency_has_its_role_on_the_page() {
    let page = read(PAGE);
    let manifest = read("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let named: BTreeSet<&str> =
        section.lines().filter_map(|line| line.split(" = ").next()).filter(|name| !name.is_empty()).collect();
    let table = page.split("\n| crate | for |\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, listed, "Cargo.toml and {PAGE}");
}

#[test]
fn nothing_is_global() {
    for source in sources() {
        for word in ["LazyLock", "OnceLock", "lazy_static", "thread_local"] {
            assert!(!source.mentions(word), "src/{}: {word}; pass the value instead", source.path);
        }
    }
}

#[test]
fn names_say_the_thing_and_not_its_role() {
    const EMPTY: [&str; 14] = [
        "Util",
        "Utils",
        "Helper",
        "Helpers",
        "Common",
        "Misc",
        "Manager",
        "Handler",
        "Processor",
        "Data",
        "Info",
        "Impl",
        "New",
        "V2",
    ];
    let mut faults = Vec::new();
    for source in sources() {
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let last = stem.rsplit('_').next().unwrap_or_default();
        if EMPTY.iter().any(|word| word.eq_ignore_ascii_case(last)) {
            faults.push(format!("src/{}", source.path));
        }
        for keyword in ["struct", "enum", "trait", "type"] {
            for at in words_at(&source.code, keyword) {
                let name = first_names(&source.code[at + keyword.len()..]).pop().unwrap_or_default();
                if EMPTY.iter().any(|word| name.ends_with(word)) {
                    faults.push(format!("src/{}: {keyword} {name}", source.path));
                }
            }
        }
    }
    assert!(faults.is_empty(), "empty names:\n{}", faults.join("\n"));
}

#[test]
fn every_file_begins_with_its_purpose() {
    // What `tests.rs` is for its folder says.
    let headless: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(headless.is_empty(), "no header in src: {headless:?}");
}

#[test]
fn nothing_is_left_over() {
    let mut paths = files(&root().join("src"), "rs");
    paths.extend(files(&root().join("tests"), "rs"));
    for path in paths.iter().filter(|path| !path.ends_with("fast/architecture.rs")) {
        for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            for word in ["FIXME", "XXX"] {
                assert!(words_at(line, word).next().is_none(), "{place}: {word}");
            }
            let unnumbered = words_at(line, "TODO").any(|at| !line[at..].starts_with("TODO(#"));
            assert!(!unnumbered, "{place}: TODO without an issue: write TODO(#12)");
        }
    }
}
