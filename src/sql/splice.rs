//! Texts made from a text by replacing spans of it. The only way statements are changed.

use std::ops::Range;

/// `text` with each span replaced; spans are in ascending order and do not overlap (an empty span inserts).
/// Spans that break this are left out.
pub(crate) fn splice(text: &[u8], edits: &[(Range<u32>, &[u8])]) -> Vec<u8> {
    let added: usize = edits.iter().map(|(_, new)| new.len()).sum();
    let mut spliced = Vec::with_capacity(text.len() + added);
    let mut at = 0;
    for (span, new) in edits {
        let (start, end) = (span.start as usize, span.end as usize);
        debug_assert!(at <= start && start <= end && end <= text.len(), "edits in order");
        let Some(kept) = text.get(at..start) else { continue };
        if end < start || end > text.len() {
            continue;
        }
        spliced.extend_from_slice(kept);
        spliced.extend_from_slice(new);
        at = end;
    }
    spliced.extend_from_slice(text.get(at..).unwrap_or_default());
    spliced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_replaced_and_the_rest_stays() {
        let edits: [(Range<u32>, &[u8]); 3] = [(0..1, b"xyz"), (2..2, b"+"), (4..6, b"")];
        assert_eq!(splice(b"abcdefg", &edits), b"xyzb+cdg");
        assert_eq!(splice(b"abc", &[]), b"abc");
        assert_eq!(splice(b"abc", &[(3..3, b"!".as_slice())]), b"abc!");
    }
}
