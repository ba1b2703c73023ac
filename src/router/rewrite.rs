//! Texts for one shard each, made by replacing spans: the rest stays byte for byte as the client wrote it.

use std::ops::Range;

use super::route::{Part, Target};
use crate::planner::{KeyExpression, ShardColumn};
use crate::sql::{self, splice};
use crate::topology::{ShardId, Topology};

/// The bytes of a list element with its sign.
pub(super) fn element_span(
    text: &[u8],
    statement: &sql::Statement,
    element: &KeyExpression,
) -> Option<Range<u32>> {
    match element {
        KeyExpression::Slot(slot) => Some(statement.literals.get(*slot)?.span.clone()),
        KeyExpression::Negated(slot) => {
            let span = statement.literals.get(*slot)?.span.clone();
            let before = text.get(..span.start as usize)?;
            let sign = before.iter().rposition(|byte| !byte.is_ascii_whitespace())?;
            let start = u32::try_from(sign).ok()?;
            (before[sign] == b'-').then_some(start..span.end)
        }
        KeyExpression::Null | KeyExpression::Arithmetic { .. } => None,
    }
}

/// From the first to the last of the spans.
pub(super) fn hull<'s>(all: impl Iterator<Item = &'s Range<u32>>) -> Range<u32> {
    let (start, end) =
        all.fold((u32::MAX, 0), |(start, end), span| (start.min(span.start), end.max(span.end)));
    start..end
}

/// The text with the elements of the list at `cut` reduced to those `kept`.
pub(super) fn with_list<'s>(
    text: &[u8],
    cut: Range<u32>,
    kept: impl Iterator<Item = &'s Range<u32>>,
) -> Vec<u8> {
    let mut list = Vec::new();
    for span in kept {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(text.get(span.start as usize..span.end as usize).unwrap_or_default());
    }
    splice(text, &[(cut, list.as_slice())])
}

/// The parameters of a text that has of the span `cut` only the pieces `kept`, in that order.
pub(super) fn parameters<'s>(
    statement: &sql::Statement,
    cut: Range<u32>,
    kept: impl Iterator<Item = &'s Range<u32>>,
) -> Vec<usize> {
    let all = &statement.placeholders;
    let before = all.partition_point(|offset| *offset < cut.start);
    let behind = all.partition_point(|offset| *offset < cut.end);
    let inside = kept.flat_map(|piece| {
        all.partition_point(|offset| *offset < piece.start)..all.partition_point(|offset| *offset < piece.end)
    });
    (0..before).chain(inside).chain(behind..all.len()).collect()
}

/// Puts each shard's name where the text says `_shard`.
pub(super) fn with_shard_names(
    part: Part,
    text: &[u8],
    statement: &sql::Statement,
    mentions: &[ShardColumn],
    topology: &Topology,
) -> Part {
    let all: Vec<usize> = (0..statement.placeholders.len()).collect();
    let named = |shard: ShardId, text: &[u8]| -> Target {
        let name = topology.shard(shard).name.0.replace('\\', "\\\\").replace('\'', "''");
        let edits: Vec<(Range<u32>, Vec<u8>)> = mentions
            .iter()
            .map(|mention| {
                let alias = if mention.needs_alias { " AS `_shard`" } else { "" };
                (mention.span.clone(), format!("'{name}'{alias}").into_bytes())
            })
            .collect();
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new)| (span.clone(), new.as_slice())).collect();
        Target { shard, text: Some(splice(text, &edits)), parameters: all.clone() }
    };
    let first = ShardId(0);
    match part {
        Part::Any | Part::Nowhere => Part::Many(vec![named(first, text)]),
        Part::One(shard) => Part::Many(vec![named(shard, text)]),
        // Not planned for texts that name shards.
        Part::Scratch => Part::Scratch,
        // A text that was already cut has other offsets: the whole one serves as well.
        Part::Many(targets) => Part::Many(targets.iter().map(|target| named(target.shard, text)).collect()),
    }
}
