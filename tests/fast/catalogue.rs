//! The catalogue of errors: ids in order and unique, the page up to date, no id in use that is not there.

use std::collections::BTreeSet;

use shardway::internal::error;

use crate::source::{files, read, root, sources};

const PAGE: &str = "docs/errors.md";

#[test]
fn ids_are_unique_and_in_order_and_the_bug_comes_last() {
    let ids = error::ids();
    for pair in ids.windows(2) {
        assert!(pair[0] < pair[1], "{} stands before {}", pair[0], pair[1]);
    }
    assert!(ids.iter().all(|id| is_id(id)), "{ids:?}");
    assert_eq!(ids.last(), Some(&"SW1901"));
}

#[test]
fn the_page_is_what_the_catalogue_says() {
    let page = error::page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(root().join(PAGE), &page).unwrap();
    }
    assert!(read(PAGE) == page, "{PAGE} is not up to date: run UPDATE=1 cargo test --test fast");
}

#[test]
fn every_id_that_is_written_anywhere_is_in_the_catalogue() {
    let known: BTreeSet<&str> = error::ids().into_iter().collect();
    let mut texts: Vec<(String, String)> =
        sources().into_iter().map(|source| (source.path, source.text)).collect();
    for (folder, extension) in [("tests", "rs"), ("tests", "txt"), ("docs", "md"), ("config", "toml")] {
        for path in files(&root().join(folder), extension) {
            texts.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    let mut seen = 0;
    for (path, text) in texts {
        for (at, _) in text.match_indices("SW1") {
            let id = text.get(at..at + 6).unwrap_or_default();
            if is_id(id) && !text[at + 6..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
                assert!(known.contains(id), "{path} names {id}, which is not in the catalogue");
                seen += 1;
            }
        }
    }
    assert!(seen > known.len(), "the scan found too little");
}

#[test]
fn every_entry_is_raised_somewhere() {
    let code: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.module() != "error" && !source.code.is_empty())
        .map(|source| source.text)
        .collect();
    for id in error::ids() {
        let quoted = format!("\"{id}\"");
        assert!(code.iter().any(|text| text.contains(&quoted)), "nothing raises {id}");
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 6 && text.starts_with("SW1") && text[2..].bytes().all(|byte| byte.is_ascii_digit())
}
