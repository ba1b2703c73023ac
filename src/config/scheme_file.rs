//! Reads one `[[scheme]]`: the key function, its ranges, its single keys; finds gaps and overlaps.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::map::{MapFunction, MapKey, MapPart, MapPlacing, MapScheme, parse_points, print_points};
use super::map_file::{Names, check_shard, read_name};
use super::read::{At, Reader, integer_of, suggest};

/// Most buckets of `mod`, `md5_mod`, `crc32_mod`.
const BUCKETS_MAX: u64 = 1 << 32;
const INTEGER_KEYS: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

pub(super) fn read_scheme(reader: Reader<'_>, names: &mut Names, shards: &Names) -> Option<MapScheme> {
    let name = read_name(&reader, "name = \"by_customer\"");
    if let Some(name) = &name {
        names.claim(reader.document, "scheme", name);
    }
    let function = read_function(&reader);
    let gaps_allowed = reader.boolean("allow_gaps").is_some_and(|allowed| allowed.value);
    let ranges = reader.tables("ranges", "a range");
    let range_count = ranges.len();
    let placings: Vec<At<MapPlacing>> = match function {
        Some(function) => {
            ranges.into_iter().filter_map(|range| read_range(range, function, shards)).collect()
        }
        // Without a function nothing can be said about the ranges.
        None => Vec::new(),
    };
    let singles = read_singles(&reader, shards);
    let span = reader.has("ranges").unwrap_or_else(|| reader.span.clone());
    if let Some(function) = function {
        if range_count == 0 && singles.is_empty() {
            reader.missing("ranges", "ranges = [{ … , shard = \"…\" }]");
        } else if placings.len() == range_count {
            check_cover(&reader, function, &placings, &span, gaps_allowed);
        }
    }
    reader.finish();
    let placings = placings.into_iter().map(|placing| placing.value).collect();
    Some(MapScheme { name: name?.value, function: function?, placings, singles })
}

fn read_function(reader: &Reader<'_>) -> Option<MapFunction> {
    let word = reader.text("function");
    if word.is_none() && reader.has("function").is_some() {
        reader.has("buckets");
        return None;
    }
    let place = word.as_ref().map(|word| word.span.clone()).unwrap_or_else(|| reader.span.clone());
    let word = word.map_or_else(|| "xxhash".to_owned(), |word| word.value);
    let buckets = reader.integer("buckets", 1..=BUCKETS_MAX);
    let given = reader.has("buckets");
    let counted = |function: fn(u64) -> MapFunction| {
        if given.is_none() {
            reader.missing("buckets", &format!("buckets = 1024: {word} needs their number"));
        }
        buckets.as_ref().map(|buckets| function(buckets.value))
    };
    let function = match word.as_str() {
        "xxhash" => Some(MapFunction::Xxhash),
        "mod" => return counted(|buckets| MapFunction::Mod { buckets }),
        "md5_mod" => return counted(|buckets| MapFunction::Md5Mod { buckets }),
        "crc32_mod" => return counted(|buckets| MapFunction::Crc32Mod { buckets }),
        "range" => Some(MapFunction::Range),
        "list" => Some(MapFunction::List),
        other => {
            let help = suggest(other, "function", MapFunction::NAMES);
            reader.fault(&place, format!("unknown key function \"{other}\""), help);
            return None;
        }
    };
    if let Some(span) = given {
        reader.fault(&span, format!("\"buckets\" means nothing to {word}"), "remove it");
    }
    function
}

fn read_range(reader: Reader<'_>, function: MapFunction, shards: &Names) -> Option<At<MapPlacing>> {
    let shard = read_shard_name(&reader, shards);
    let part = match function {
        MapFunction::Xxhash => read_points(&reader),
        MapFunction::Mod { buckets }
        | MapFunction::Md5Mod { buckets }
        | MapFunction::Crc32Mod { buckets } => read_buckets(&reader, buckets),
        MapFunction::Range => read_ends(&reader),
        MapFunction::List => read_values(&reader),
    };
    let span = reader.span.clone();
    reader.finish();
    Some(At { value: MapPlacing { part: part?, shard: shard? }, span })
}

fn read_shard_name(reader: &Reader<'_>, shards: &Names) -> Option<String> {
    let Some(shard) = reader.text("shard") else {
        if reader.has("shard").is_none() {
            reader.missing("shard", "shard = \"…\"");
        }
        return None;
    };
    check_shard(reader.document, &shard, shards);
    Some(shard.value)
}

fn read_points(reader: &Reader<'_>) -> Option<MapPart> {
    const FORM: &str = "write hexadecimal prefixes: \"-40\", \"40-80\", \"80-\", or \"-\" for all";
    let Some(text) = reader.text("range") else {
        if reader.has("range").is_none() {
            reader.missing("range", "range = \"-80\"");
        }
        return None;
    };
    match parse_points(&text.value) {
        Some((first, last)) => Some(MapPart::Points { first, last }),
        None => {
            reader.fault(&text.span, format!("\"{}\" is not a range of points", text.value), FORM);
            None
        }
    }
}

/// `"0-511"`, both ends included, or `"7"`.
fn read_buckets(reader: &Reader<'_>, buckets: u64) -> Option<MapPart> {
    let Some(text) = reader.text("buckets") else {
        if reader.has("buckets").is_none() {
            reader.missing("buckets", "buckets = \"0-511\"");
        }
        return None;
    };
    let ends = text.value.split_once('-').unwrap_or((&text.value, &text.value));
    match (ends.0.trim().parse::<u64>(), ends.1.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last && last < buckets => Some(MapPart::Buckets { first, last }),
        (Ok(first), Ok(last)) if first <= last => {
            let message = format!("bucket {last} is beyond the last one");
            reader.fault(&text.span, message, format!("the scheme has the buckets 0 to {}", buckets - 1));
            None
        }
        _ => {
            let help = "write the first and the last bucket: \"0-511\"";
            reader.fault(&text.span, format!("\"{}\" is not a range of buckets", text.value), help);
            None
        }
    }
}

fn read_ends(reader: &Reader<'_>) -> Option<MapPart> {
    let (from, to) = (reader.value("from"), reader.value("to"));
    let read = |value: Option<&Spanned<DeValue<'_>>>| match value {
        None => Some(None),
        Some(value) => read_key(reader, value).map(Some),
    };
    let (from_key, to_key) = (read(from), read(to));
    let (from_key, to_key) = (from_key?, to_key?);
    if let (Some(low), Some(high)) = (&from_key, &to_key) {
        let problem = if kind(low) != kind(high) {
            Some("are of different types".to_owned())
        } else if low >= high {
            Some(format!("hold no key: {low} is not below {high}"))
        } else {
            None
        };
        if let Some(problem) = problem {
            let help = "a range holds \"from\" and ends before \"to\"";
            reader.fault(&reader.span, format!("\"from\" and \"to\" {problem}"), help);
            return None;
        }
    }
    Some(MapPart::Keys { from: from_key, to: to_key })
}

fn read_values(reader: &Reader<'_>) -> Option<MapPart> {
    let Some(value) = reader.value("values") else {
        reader.missing("values", "values = [\"de\", \"at\"]");
        return None;
    };
    let Some(elements) = value.get_ref().as_array() else {
        reader.fault(&value.span(), "\"values\" is not a list", "write values = [\"de\", \"at\"]");
        return None;
    };
    let keys: Vec<MapKey> = elements.iter().filter_map(|element| read_key(reader, element)).collect();
    (keys.len() == elements.len()).then_some(MapPart::Values(keys))
}

/// `keys = [{ key = 4711, shard = "big" }, { key = [1, 2], shard = "big" }]`.
fn read_singles(reader: &Reader<'_>, shards: &Names) -> Vec<(MapKey, String)> {
    let mut singles: Vec<(MapKey, String)> = Vec::new();
    let mut seen: HashSet<MapKey> = HashSet::new();
    for single in reader.tables("keys", "an entry of \"keys\"") {
        let shard = read_shard_name(&single, shards);
        let Some(value) = single.value("key") else {
            single.missing("key", "key = 4711");
            single.finish();
            continue;
        };
        let one = std::slice::from_ref(value);
        let listed = value.get_ref().as_array().map_or(one, |elements| &elements[..]);
        for element in listed {
            let Some(key) = read_key(&single, element) else { continue };
            if !seen.insert(key.clone()) {
                single.fault(&element.span(), format!("the key {key} is placed twice"), "remove one of them");
            } else if let Some(shard) = &shard {
                singles.push((key, shard.clone()));
            }
        }
        single.finish();
    }
    singles
}

/// An integer, a string or `{ hex = "00ff" }`.
fn read_key(reader: &Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<MapKey> {
    const FORMS: &str = "write an integer, a string, or { hex = \"00ff\" } for a binary key";
    let key = match value.get_ref() {
        DeValue::String(text) => return Some(MapKey::Text(text.to_string())),
        DeValue::Integer(_) => {
            integer_of(value.get_ref()).filter(|number| INTEGER_KEYS.contains(number)).map(MapKey::Integer)
        }
        DeValue::Table(_) => {
            let table = Reader::nested(reader.document, value, "a binary key".to_owned())?;
            let bytes = table.text("hex").and_then(|hex| parse_hex(&hex.value));
            table.finish();
            bytes.map(MapKey::Binary)
        }
        DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => None,
    };
    if key.is_none() {
        reader.fault(&value.span(), "not a key", FORMS);
    }
    key
}

pub(super) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let plain = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| {
        let pairs = digits.chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
    })?
}

/// Keys of different kinds never compare.
fn kind(key: &MapKey) -> u8 {
    match key {
        MapKey::Integer(_) => 0,
        MapKey::Text(_) | MapKey::Binary(_) => 1,
    }
}

/// Reports overlaps and gaps of the ranges.
fn check_cover(
    reader: &Reader<'_>,
    function: MapFunction,
    placings: &[At<MapPlacing>],
    span: &Range<usize>,
    gaps_allowed: bool,
) {
    let gap = |gap: String| {
        if !gaps_allowed {
            let help = "give it to a shard, or write allow_gaps = true to refuse its keys";
            reader.fault(span, format!("no shard owns {gap}"), help);
        }
    };
    match function {
        MapFunction::Xxhash => cover_points(reader, placings, u64::MAX, &print_points, &gap),
        MapFunction::Mod { buckets }
        | MapFunction::Md5Mod { buckets }
        | MapFunction::Crc32Mod { buckets } => {
            let print = |first: u64, last: u64| format!("{first}-{last}");
            cover_points(reader, placings, buckets - 1, &print, &|range| gap(format!("the buckets {range}")));
        }
        MapFunction::Range => cover_keys(reader, placings, &gap),
        MapFunction::List => cover_values(reader, placings),
    }
}

fn cover_points(
    reader: &Reader<'_>,
    placings: &[At<MapPlacing>],
    last_point: u64,
    print: &dyn Fn(u64, u64) -> String,
    gap: &dyn Fn(String),
) {
    let mut ranges: Vec<(u64, u64, &Range<usize>)> = placings
        .iter()
        .filter_map(|placing| match placing.value.part {
            MapPart::Points { first, last } | MapPart::Buckets { first, last } => {
                Some((first, last, &placing.span))
            }
            MapPart::Keys { .. } | MapPart::Values(_) => None,
        })
        .collect();
    ranges.sort_by_key(|(first, last, _)| (*first, *last));
    // The first point that no range so far owns; `None` behind the last point.
    let mut next = Some(0);
    for (first, last, span) in ranges {
        match next {
            Some(next) if first > next => gap(print(next, first - 1)),
            Some(next) if first == next => {}
            _ => {
                let until = next.map_or(last, |next| last.min(next - 1));
                let overlap = print(first, until);
                reader.fault(
                    span,
                    format!("{overlap} has two owners"),
                    "let every range begin where another ends",
                );
            }
        }
        next = next.and_then(|next| last.checked_add(1).map(|after| after.max(next)));
    }
    if let Some(next) = next.filter(|next| *next <= last_point) {
        gap(print(next, last_point));
    }
}

fn cover_keys(reader: &Reader<'_>, placings: &[At<MapPlacing>], gap: &dyn Fn(String)) {
    let mut ranges: Vec<(Option<&MapKey>, Option<&MapKey>, &Range<usize>)> = placings
        .iter()
        .filter_map(|placing| match &placing.value.part {
            MapPart::Keys { from, to } => Some((from.as_ref(), to.as_ref(), &placing.span)),
            MapPart::Points { .. } | MapPart::Buckets { .. } | MapPart::Values(_) => None,
        })
        .collect();
    let mut ends = ranges.iter().flat_map(|(from, to, _)| [*from, *to]).flatten();
    let first_kind = ends.next().map(kind);
    if ends.any(|key| Some(kind(key)) != first_kind) {
        reader.fault(&reader.span, "ranges of integers and of strings in one scheme", "use one type of key");
        return;
    }
    ranges.sort_by_key(|(from, _, _)| *from);
    let print = |from: Option<&MapKey>, to: Option<&MapKey>| {
        MapPart::Keys { from: from.cloned(), to: to.cloned() }.to_string()
    };
    // Ranges may leave both ends open: only what lies between two of them is a gap.
    let mut before: Option<Option<&MapKey>> = None;
    for (from, to, span) in ranges {
        match (before, from) {
            (None, _) => {}
            (Some(Some(end)), Some(from)) if *end < *from => {
                gap(format!("the keys {}", print(Some(end), Some(from))))
            }
            (Some(Some(end)), Some(from)) if *end == *from => {}
            (Some(end), from) => {
                let until = match (end, to) {
                    (Some(end), Some(to)) => Some(end.min(to)),
                    (end, to) => end.or(to),
                };
                let message = format!("the keys {} have two owners", print(from, until));
                reader.fault(span, message, "let every range begin where another ends");
            }
        }
        before = match (before, to) {
            (Some(None), _) | (_, None) => Some(None),
            (Some(Some(end)), Some(to)) => Some(Some(end.max(to))),
            (None, Some(to)) => Some(Some(to)),
        };
    }
}

fn cover_values(reader: &Reader<'_>, placings: &[At<MapPlacing>]) {
    let mut seen: HashSet<&MapKey> = HashSet::new();
    for placing in placings {
        let MapPart::Values(keys) = &placing.value.part else { continue };
        for key in keys {
            if seen.insert(key) {
                continue;
            }
            reader.fault(&placing.span, format!("the key {key} is listed twice"), "remove one of them");
        }
    }
}
