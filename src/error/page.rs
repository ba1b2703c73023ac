//! `docs/errors.md`, generated from the catalogue so that page and code cannot part.

use std::fmt::Write;

use super::catalogue::{CATALOGUE, Entry};

const HEAD: &str = "# Errors

Every error of Shardway's own has a number of the form `SW1203`. It starts the message that the client gets, then comes
what happened, then what to do about it:

    ERROR 1526 (HY000): SW1203: the key 42 of shop.orders belongs to no range of scheme by_customer; add a range, …

The error number and SQLSTATE are MySQL's, chosen so that drivers react as they would to a server. Errors marked
*as MySQL* stand for one of MySQL's own errors and show MySQL's text alone, without a number of ours, since tools match
on it. Errors that servers send reach the client byte for byte and are not listed here. `shardway_errors_total{id=\"…\"}`
counts each, `SHARDWAY SHOW ERRORS` lists them on a running proxy.

This page is generated from `src/error/catalogue.rs`: change it there, then run `UPDATE=1 cargo test --test fast`.
";

const GROUPS: [(&str, &str); 6] = [
    ("SW10", "Connection and login"),
    ("SW11", "Protocol"),
    ("SW12", "Statements and routing"),
    ("SW13", "Transactions and session state"),
    ("SW14", "Servers and pools"),
    ("SW15", "Operating"),
];

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (prefix, title) in GROUPS.into_iter().chain([("SW19", "Bugs")]) {
        page.push_str(&format!("\n## {title}\n\n"));
        page.push_str("| id | MySQL error | SQLSTATE | kind | what happened | what to do |\n|---|---|---|---|---|---|\n");
        for entry in CATALOGUE.iter().filter(|entry| entry.id.starts_with(prefix)) {
            line(&mut page, entry);
        }
    }
    page
}

fn line(page: &mut String, entry: &Entry) {
    let cell = |text: &str| text.replace('|', "\\|");
    let id = if entry.plain { format!("{}, *as MySQL*", entry.id) } else { entry.id.to_owned() };
    writeln!(
        page,
        "| {id} | {} | {} | {} | {} | {} |",
        entry.code,
        entry.sqlstate,
        entry.kind.label(),
        cell(entry.title),
        cell(entry.help)
    )
    .expect("a String takes everything");
}

/// Every id, in the order of the catalogue.
pub fn ids() -> Vec<&'static str> {
    CATALOGUE.iter().map(|entry| entry.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_on_the_page() {
        let page = page();
        for id in ids() {
            assert_eq!(page.matches(&format!("| {id}")).count(), 1, "{id}");
        }
    }
}
