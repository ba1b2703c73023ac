//! A typed reader over a parsed TOML document that collects faults instead of stopping at the first. Every key asked for
//! is a known key; `finish` reports the others.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Source};

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), span: self.span }
    }
}

/// A file's text and the faults found in it so far.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) source: Source,
    faults: RefCell<Vec<Fault>>,
    syntax: RefCell<Option<Fault>>,
}

impl Document {
    pub(super) fn new(source: Source) -> Document {
        Document { source, faults: RefCell::default(), syntax: RefCell::default() }
    }

    pub(super) fn fault(&self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let fault = self.source.fault(span.clone(), message).help(help);
        self.faults.borrow_mut().push(fault);
    }

    /// In the order of the file. A syntax error stands alone: what follows from it would only distract.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        if let Some(syntax) = self.syntax.into_inner() {
            return vec![syntax];
        }
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }

    /// Parses the text. What cannot be read is a fault; the rest is there all the same, so that the settings still name
    /// the map.
    pub(super) fn parse(&self) -> Spanned<DeTable<'_>> {
        let (table, errors) = DeTable::parse_recoverable(&self.source.text);
        // One mistake often breaks what follows it; the first is the one to correct.
        if let Some(error) = errors.first() {
            let span = error.span().unwrap_or(0..0);
            let fault = self.source.fault(span, error.message().replace('\n', ", "));
            *self.syntax.borrow_mut() = Some(fault.help("correct the TOML syntax here"));
        }
        table
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty() || self.syntax.borrow().is_some()
    }
}

/// One table being read.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    table: &'a DeTable<'a>,
    /// Of the table, for faults about what is missing.
    pub(super) span: Range<usize>,
    /// As the user calls the table: `[pool]`, `a [[shard]]`.
    name: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) fn root(document: &'a Document, table: &'a Spanned<DeTable<'a>>) -> Reader<'a> {
        Reader::new(document, table.get_ref(), 0..0, "the file".to_owned())
    }

    fn new(document: &'a Document, table: &'a DeTable<'a>, span: Range<usize>, name: String) -> Reader<'a> {
        Reader { document, table, span, name, known: RefCell::default() }
    }

    pub(super) fn fault(&self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.document.fault(span, message, help);
    }

    /// `value`, which must be a table, for places that have no reader of their own around it.
    pub(super) fn nested(
        document: &'a Document,
        value: &'a Spanned<DeValue<'a>>,
        name: String,
    ) -> Option<Reader<'a>> {
        let table = value.get_ref().as_table()?;
        Some(Reader::new(document, table, value.span(), name))
    }

    /// Says that `key` is missing; the place is that of the table.
    pub(super) fn missing(&self, key: &str, help: &str) {
        self.fault(&self.span, format!("{} has no \"{key}\"", self.name), format!("add {help}"));
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.fault(
            &value.span(),
            format!("\"{key}\" is {} {found}", if found.starts_with(['a', 'i']) { "an" } else { "a" }),
            format!("write {wanted}"),
        );
    }

    /// The value of `key`, which becomes a known key.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    /// Makes `key` known without reading it.
    pub(super) fn has(&self, key: &'static str) -> Option<Range<usize>> {
        self.value(key).map(Spanned::span)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), span: value.span() }),
            None => {
                self.wrong_type(key, value, "a string in quotes");
                None
            }
        }
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.value(key)?;
        match value.get_ref().as_bool() {
            Some(boolean) => Some(At { value: boolean, span: value.span() }),
            None => {
                self.wrong_type(key, value, "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<At<u64>> {
        let value = self.value(key)?;
        let wanted = format!("an integer from {} to {}", bounds.start(), bounds.end());
        let Some(number) = integer_of(value.get_ref()) else {
            self.wrong_type(key, value, &wanted);
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if bounds.contains(&number) => Some(At { value: number, span: value.span() }),
            _ => {
                let message = format!("\"{key}\" is {number}, out of bounds");
                self.fault(&value.span(), message, format!("write {wanted}"));
                None
            }
        }
    }

    /// `"250ms"`, `"5s"`, `"10m"`, `"1h"`, `"0"`.
    pub(super) fn duration(
        &self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let value = self.value(key)?;
        let form = "a time with its unit, such as \"250ms\", \"5s\", \"10m\", \"1h\"";
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.as_str() == "0" => "0".to_owned(),
            _ => {
                self.wrong_type(key, value, form);
                return None;
            }
        };
        match parse_duration(&text) {
            Some(duration) if bounds.contains(&duration) => Some(At { value: duration, span: value.span() }),
            Some(_) => {
                let wanted = format!("from {:?} to {:?}", bounds.start(), bounds.end());
                self.fault(
                    &value.span(),
                    format!("\"{key}\" is {text}, out of bounds"),
                    format!("write {wanted}"),
                );
                None
            }
            None => {
                let message = format!("\"{key}\" is \"{text}\", which is not a time");
                self.fault(&value.span(), message, format!("write {form}"));
                None
            }
        }
    }

    /// Bytes as a number or as `"64MiB"`.
    pub(super) fn bytes(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<At<u64>> {
        let value = self.value(key)?;
        let form = "a number of bytes or a size such as \"512KiB\", \"64MiB\", \"1GiB\"";
        let size = match value.get_ref() {
            DeValue::String(text) => parse_size(text),
            other => integer_of(other).and_then(|number| u64::try_from(number).ok()),
        };
        match size {
            Some(size) if bounds.contains(&size) => Some(At { value: size, span: value.span() }),
            Some(size) => {
                let wanted = format!("from {} to {} bytes", bounds.start(), bounds.end());
                let message = format!("\"{key}\" is {size} bytes, out of bounds");
                self.fault(&value.span(), message, format!("write {wanted}"));
                None
            }
            None => {
                self.wrong_type(key, value, form);
                None
            }
        }
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<At<String>>> {
        let value = self.value(key)?;
        let Some(elements) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of strings");
            return None;
        };
        let texts = elements.iter().filter_map(|element| match element.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), span: element.span() }),
            None => {
                self.wrong_type(key, element, "strings in quotes");
                None
            }
        });
        Some(texts.collect())
    }

    /// The table `[key]`.
    pub(super) fn table(&self, key: &'static str) -> Option<Reader<'a>> {
        self.as_table(key, self.value(key)?, format!("[{key}]"))
    }

    /// `value` as a table that the user calls `name`.
    pub(super) fn as_table(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        name: String,
    ) -> Option<Reader<'a>> {
        match value.get_ref().as_table() {
            Some(table) => Some(Reader::new(self.document, table, value.span(), name)),
            None => {
                self.wrong_type(key, value, &format!("a table: [{key}]"));
                None
            }
        }
    }

    /// The tables `[[key]]` or `key = [{ … }, …]`, each called `name`.
    pub(super) fn tables(&self, key: &'static str, name: &str) -> Vec<Reader<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &format!("a list of tables: [[{key}]]"));
            return Vec::new();
        };
        elements.iter().filter_map(|element| self.as_table(key, element, name.to_owned())).collect()
    }

    /// Every entry of a table whose keys the user chooses, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(At<String>, &'a Spanned<DeValue<'a>>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (At { value: key.get_ref().to_string(), span: key.span() }, value))
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// Reports keys that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.entries() {
            if known.contains(&key.value.as_str()) {
                continue;
            }
            let help = match nearest(&key.value, known.iter().copied()) {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => format!("{} knows: {}", self.name, known.join(", ")),
            };
            self.fault(&key.span, format!("unknown key \"{}\"", key.value), help);
        }
    }
}

/// The candidate that `word` is probably meant to be.
pub(super) fn nearest<'n>(word: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the list of what there is.
pub(super) fn suggest<'n>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'n str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => {
            let all: Vec<&str> = candidates.into_iter().take(12).collect();
            if all.is_empty() {
                format!("there is no {what} yet")
            } else {
                format!("there is: {}", all.join(", "))
            }
        }
    }
}

/// An integer of any base, wide enough for BIGINT UNSIGNED.
pub(super) fn integer_of(value: &DeValue<'_>) -> Option<i128> {
    let DeValue::Integer(integer) = value else { return None };
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    match text[digits..].trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" | "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(86_400)?)),
        "" if number == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("10 m"), Some(Duration::from_secs(600)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration("99999999999999999999h"), None);
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("64MB"), None);
        assert_eq!(parse_size("é"), None);
    }

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        assert_eq!(nearest("shard_keys", ["shard_key", "scheme"]), Some("shard_key"));
        assert_eq!(nearest("banana", ["shard_key", "scheme"]), None);
    }
}
