//! The text that every shard gets for a merge: the client's with the plan's edits spliced in.

use std::ops::Range;

use super::route::{Part, RouteError, Target};
use crate::error::ClientError;
use crate::planner::{Merge, Piece, Request, tokens};
use crate::sql::{Token, splice};

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
        .map(|edit| Some((span(&edit.tokens, &tokens)?, written(&edit.new, request.text, &tokens)?)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refuse("a statement whose plan does not fit it"))?;
    let text = |target: Target| {
        let base = target.text.as_deref().unwrap_or(request.text);
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new)| (moved(span, request.text, base), new.as_slice())).collect();
        Target { shard: target.shard, text: Some(splice(base, &edits)) }
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

fn written(pieces: &[Piece], text: &[u8], tokens: &[Token]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(new) => written.extend_from_slice(new.as_bytes()),
            Piece::Tokens(range) => {
                let span = span(range, tokens)?;
                written.extend_from_slice(text.get(span.start as usize..span.end as usize)?);
            }
        }
    }
    Some(written)
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
