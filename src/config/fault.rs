//! Faults of configuration files: where, what, and what to do. All of a file's faults are reported at once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The text of one file and its name as the user wrote it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

impl Source {
    pub(super) fn fault(&self, span: Range<usize>, message: impl Into<String>) -> Fault {
        let start = floor_boundary(&self.text, span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let source_line = self.text[line_start..].lines().next().unwrap_or_default();
        let shown = without_secret(&self.text[..line_start], source_line);
        let on_line = source_line.get(start - line_start..).map_or(0, |rest| rest.chars().count());
        let spanned = self.text.get(start..floor_boundary(&self.text, span.end)).unwrap_or_default();
        Fault {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            length: match shown {
                Cow::Borrowed(_) => spanned.chars().count().clamp(1, on_line.max(1)),
                // Not even how long it is.
                Cow::Owned(_) => 1,
            },
            source_line: shown.into_owned(),
            message: message.into(),
            help: None,
        }
    }
}

/// Keys whose values nobody may see, and what their misspelt and future relatives have in common.
const SECRET_KEYS: [&str; 3] = ["password", "password_hash", "server_password"];
const SECRET_PARTS: [&str; 4] = ["pass", "pwd", "secret", "token"];

/// The line as it may stand in a log: cut behind a key that is or resembles that of a secret. What stands before the line tells
/// whether the line continues such a value.
fn without_secret<'a>(before: &str, line: &'a str) -> Cow<'a, str> {
    if let Some(end) = end_of_secret_key(line) {
        return Cow::Owned(format!("{} …", &line[..end]));
    }
    let begins = |line: &&str| line.contains('=') || line.trim_start().starts_with('[');
    let continued = !begins(&line)
        && before.lines().rev().find(begins).is_some_and(|line| end_of_secret_key(line).is_some());
    if continued { Cow::Owned("…".to_owned()) } else { Cow::Borrowed(line) }
}

fn end_of_secret_key(line: &str) -> Option<usize> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let word = &word[..word.find(|character| !is_part(character)).unwrap_or(word.len())];
        rest = &rest[start + word.len()..];
        if is_secret(&word.to_lowercase()) {
            return Some(line.len() - rest.len());
        }
    }
    None
}

fn is_secret(word: &str) -> bool {
    let resembles = |key: &&str| strsim::damerau_levenshtein(word, key) <= key.len() / 3;
    SECRET_PARTS.iter().any(|part| word.contains(part)) || SECRET_KEYS.iter().any(resembles)
}

fn floor_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&index| text.is_char_boundary(index)).unwrap_or(0)
}

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// From 1; 0 when the file could not be read at all.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// Of the place, in characters of its first line.
    pub(crate) length: usize,
    pub(crate) source_line: String,
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Fault {
    /// A fault of the file as a whole.
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Fault {
        Fault {
            file: file.to_owned(),
            line: 0,
            column: 0,
            length: 0,
            source_line: String::new(),
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }

    /// Several lines for a terminal: the fault, the line it is in and a caret below the place.
    pub(crate) fn pretty(&self) -> String {
        let mut out = format!("{}: {}\n", self.place(), self.message);
        if self.line > 0 {
            let number = self.line.to_string();
            let indent: String = self
                .source_line
                .chars()
                .take(self.column - 1)
                .map(|character| if character == '\t' { '\t' } else { ' ' })
                .collect();
            let margin = " ".repeat(number.len());
            out.push_str(&format!(" {number} | {}\n", self.source_line));
            out.push_str(&format!(" {margin} | {indent}{}\n", "^".repeat(self.length)));
        }
        if let Some(help) = &self.help {
            out.push_str(&format!("   = {help}\n"));
        }
        out
    }

    fn place(&self) -> String {
        match self.line {
            0 => self.file.display().to_string(),
            line => format!("{}:{line}:{}", self.file.display(), self.column),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place(), self.message)?;
        match &self.help {
            Some(help) => write!(out, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order of the files; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// For a terminal: every fault with its line and a caret.
    pub(crate) fn pretty(&self) -> String {
        self.0.iter().map(Fault::pretty).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(out, "{newline}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, at: &str) -> String {
        let source = Source { file: "shardway.toml".into(), text: text.to_owned() };
        let start = text.find(at).unwrap();
        source.fault(start..text.len(), "wrong").pretty()
    }

    /// Faults of the start are printed, and what is printed ends in the journal.
    #[test]
    fn a_fault_shows_no_secret() {
        for (text, at) in [
            ("[[user]]\nname = 'u'\npassword = \"hunter2\n", "\"hunter2"),
            ("[[user]]\npassword = \"\"\"\nhunter2\n", "hunter2"),
            ("user = [{ name = 'u', server_password = 'hunter2 }]", "'hunter2"),
            ("[control]\npasword = \"hunter2\"", "pasword"),
            ("[control]\npw_token = hunter2", "hunter2"),
            ("password \"hunter2\"", "\"hunter2\""),
        ] {
            let shown = shown(text, at);
            assert!(!shown.contains("hunter2") && !shown.contains("^^"), "{shown}");
        }
        assert!(shown("[[user]]\npassword = 5", "5").contains("2 | password …"));
        assert!(shown("name = 'u'\nuser = 7", "7").contains("user = 7"));
        assert!(shown("[control]\npassword = 'x'\nuser = 7", "7").contains("user = 7"));
    }
}
