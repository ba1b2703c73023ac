//! Reads the sources for tests that scan them: files, and their code without comments, strings and tests.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A Rust file below `src`.
pub(crate) struct Source {
    /// From `src` on, with `/`: `backend/pool.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments, strings and whatever follows `#[cfg(test)]`; empty for files of tests.
    pub(crate) code: String,
}

impl Source {
    /// The folder or file below `src` that it belongs to.
    pub(crate) fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Whether `word` stands in the code as a whole path segment or word.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        words_at(&self.code, word).next().is_some()
    }
}

/// Every Rust file below `src`, in the order of their paths.
pub(crate) fn sources() -> Vec<Source> {
    let src = root().join("src");
    files(&src, "rs")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
            let code = if path.ends_with("tests.rs") || path.contains("/tests/") {
                String::new()
            } else {
                let code = strip(&text);
                code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
            };
            Source { path, text, code }
        })
        .collect()
}

/// Files below `folder` with the extension, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Where `word` stands in `text` with no letter, digit or `_` on either side.
pub(crate) fn words_at<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].ends_with(part_of_word) && !text[at + word.len()..].starts_with(part_of_word)
    })
}

/// Rust without comments and the contents of strings.
pub(crate) fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") && raw_string(rest).is_some() {
            raw_string(rest).unwrap_or(rest.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    code
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match (escaped, c) {
            (true, _) => escaped = false,
            (false, '\\') => escaped = true,
            (false, c) if c == quote => return at + c.len_utf8(),
            (false, _) => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`; `None` for what is no raw string, as `r#type`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    body.find(&end).map(|at| 2 + hashes + at + end.len())
}

/// A character literal whole; of a lifetime the apostrophe only.
fn character(text: &str) -> usize {
    let mut inside = text[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

#[test]
fn stripping_leaves_code_alone() {
    let text =
        "use a::b; // c::d\n/* e */ let x = \"f \\\" g\"; let y = '\"'; fn z<'h>(w: r#type) {} r#\"i\"# j";
    assert_eq!(strip(text), "use a::b; \n let x = ; let y = ; fn z<h>(w: r#type) {}  j");
}
