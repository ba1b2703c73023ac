//! Faults of configuration files: where, what, and what to do. All of a file's faults are reported at once.

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
        let on_line = source_line.get(start - line_start..).map_or(0, |rest| rest.chars().count());
        let spanned = self.text.get(start..floor_boundary(&self.text, span.end)).unwrap_or_default();
        Fault {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            length: spanned.chars().count().clamp(1, on_line.max(1)),
            source_line: source_line.to_owned(),
            message: message.into(),
            help: None,
        }
    }
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
