//! The text that every shard gets for a merge: the client's with the plan's edits spliced in.

use std::ops::Range;

use super::route::{Part, RouteError, Target};
use crate::error::ClientError;
use crate::planner::{Merge, Piece, Request, tokens};
use crate::sql::{Statement, Token, splice};

/// `targets` with the edits of `merge`; their own texts differ from `request.text` in one list of keys at most.
pub(super) fn texts(targets: Vec<Target>, merge: &Merge, request: &Request<'_>) -> Result<Part, RouteError> {
    if merge.edits.is_empty() {
        return Ok(Part::Many(targets));
    }
    let refuse = |what: &str| RouteError::Refused(ClientError::new("SW1202", what));
    // What is taken from within such a comment would take its end along or leave it.
    if memchr::memmem::find(request.text, b"/*!").is_some()
        || memchr::memmem::find(request.text, b"/*M!").is_some()
    {
        let shards = targets.len();
        return Err(refuse(&format!(
            "an executable comment in a statement that needs a merge over {shards} shards"
        )));
    }
    let tokens = tokens(request).ok_or_else(|| refuse("a statement that cannot be read again"))?;
    let edits = merge
        .edits
        .iter()
        .map(|edit| {
            let (new, parameters) = written(&edit.new, request, &tokens)?;
            Some((span(&edit.tokens, &tokens)?, new, parameters))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refuse("a statement whose plan does not fit it"))?;
    let text = |target: Target| {
        let base = target.text.as_deref().unwrap_or(request.text);
        let parameters = parameters(&target, &edits, request);
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new, _)| (moved(span, request.text, base), new.as_slice())).collect();
        Target { shard: target.shard, text: Some(splice(base, &edits)), parameters }
    };
    Ok(Part::Many(targets.into_iter().map(text).collect()))
}

/// The bytes that tokens take; where an insertion goes for none.
fn span(range: &Range<u32>, tokens: &[Token]) -> Option<Range<u32>> {
    if range.is_empty() {
        let before = tokens.get(range.start.checked_sub(1)? as usize)?;
        return Some(before.end..before.end);
    }
    let (first, last) = (tokens.get(range.start as usize)?, tokens.get(range.end as usize - 1)?);
    Some(first.start..last.end)
}

/// The parameters of the text that the edits make of a target's: those of the bytes that stay, and those that edits bring.
fn parameters(
    target: &Target,
    edits: &[(Range<u32>, Vec<u8>, Vec<usize>)],
    request: &Request<'_>,
) -> Vec<usize> {
    let all = &request.statement.placeholders;
    if all.is_empty() {
        return Vec::new();
    }
    let mut own = Statement::default();
    let (base, offsets, numbers) = match &target.text {
        None => (request.text, all, (0..all.len()).collect()),
        Some(text) => {
            // It was scanned before as a part of the whole: it cannot fail.
            let _scanned = own.scan(text, request.context);
            (text.as_slice(), &own.placeholders, target.parameters.clone())
        }
    };
    let mut kept = Vec::with_capacity(numbers.len());
    let mut at = 0;
    let take = |kept: &mut Vec<usize>, range: Range<u32>| {
        let places = offsets.iter().zip(&numbers).filter(|(offset, _)| range.contains(offset));
        kept.extend(places.map(|(_, number)| *number));
    };
    for (span, _, brought) in edits {
        let span = moved(span, request.text, base);
        take(&mut kept, at..span.start);
        kept.extend_from_slice(brought);
        at = span.end;
    }
    take(&mut kept, at..u32::MAX);
    kept
}

/// The new bytes, and which parameters are among them.
fn written(pieces: &[Piece], request: &Request<'_>, tokens: &[Token]) -> Option<(Vec<u8>, Vec<usize>)> {
    let text = request.text;
    let placeholders = request.statement.placeholders.iter().enumerate();
    let mut parameters = Vec::new();
    let mut written = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(new) => written.extend_from_slice(new.as_bytes()),
            Piece::Tokens(range) => {
                let span = span(range, tokens)?;
                let copied = placeholders.clone().filter(|(_, offset)| span.contains(offset));
                parameters.extend(copied.map(|(number, _)| number));
                written.extend_from_slice(text.get(span.start as usize..span.end as usize)?);
            }
        }
    }
    Some((written, parameters))
}

/// Where a span of `text` is in `base`, in which one list was cut: what is edited stands before or behind it.
fn moved(span: &Range<u32>, text: &[u8], base: &[u8]) -> Range<u32> {
    let common = text.iter().zip(base).take_while(|(left, right)| left == right).count();
    if (span.start as usize) <= common {
        return span.clone();
    }
    let shift = |at: u32| {
        let at = i64::from(at) + base.len() as i64 - text.len() as i64;
        u32::try_from(at).unwrap_or(u32::MAX)
    };
    shift(span.start)..shift(span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_behind_a_list_that_was_cut_move_with_it() {
        let (text, base) = (
            b"SELECT a FROM t WHERE k IN (1, 2, 3) ORDER BY b",
            b"SELECT a FROM t WHERE k IN (3) ORDER BY b",
        );
        assert_eq!(moved(&(8..8), text, base), 8..8);
        let moved = moved(&(46..47), text, base);
        assert_eq!(&base[moved.start as usize..moved.end as usize], b"b");
    }
}
