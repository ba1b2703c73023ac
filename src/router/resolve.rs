//! Filters over literal slots to sets of shards, on one snapshot of the topology.

use std::ops::Range;

use super::key::{Constant, KeySpace, Match, blurs_as_double, blurs_in_list};
use super::route::{Part, RouteError, SessionView, Target};
use super::{one_of, rewrite, rows, unchanged};
use crate::error::ClientError;
use crate::planner::{Combine, KeyExpression, KeyFilter, KeyPart, Plan, Routing};
use crate::sql::{self, LiteralClass, Parameter, Value};
use crate::topology::{Bound, Key, ShardSet, Topology};

/// What a message may show of a key.
const SHOWN_BYTES_MAX: usize = 40;

#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) text: &'a [u8],
    pub(super) statement: &'a sql::Statement,
    pub(super) view: &'a SessionView<'a>,
    pub(super) topology: &'a Topology,
}

impl<'a> Resolver<'a> {
    pub(super) fn part(&self, routing: &Routing, plan: &Plan) -> Result<Part, RouteError> {
        match routing {
            Routing::Anywhere => Ok(Part::Any),
            Routing::One(shard) => Ok(Part::One(*shard)),
            Routing::Everywhere => Ok(unchanged(&self.topology.all_shards())),
            Routing::Keys { parts, agree: true } => self.agreed(parts, plan),
            Routing::Keys { parts, agree: false } => match parts.as_slice() {
                [part] => self.by_key(part),
                _ => Err(internal("a plan by key without a key").into()),
            },
            Routing::Insert { scheme, column, key_type, key, generated } => {
                let space = KeySpace { scheme: self.topology.scheme(*scheme), kind: key_type };
                rows::one_key(self, space, column, key, *generated).map(Part::One)
            }
            Routing::Rows { scheme, column, key_type, value, arity, generated, columns } => {
                let space = KeySpace { scheme: self.topology.scheme(*scheme), kind: key_type };
                let shape = rows::Shape {
                    column,
                    value: *value,
                    arity: *arity,
                    generated: *generated,
                    columns: columns.as_deref(),
                };
                rows::split(self, space, &shape)
            }
            Routing::Copies { generated, given, arity } => {
                rows::copies(self, generated.as_ref(), given, *arity)
            }
            Routing::Lines(file) => {
                let shards = self.topology.scheme(file.scheme).shards;
                let each = shards.iter().map(|shard| Target { shard, text: None, parameters: Vec::new() });
                Ok(Part::Many(each.collect()))
            }
            Routing::Scratch { .. } => Ok(Part::Scratch),
            Routing::Refused { error, .. } => Err(error.clone().into()),
        }
    }

    /// Every part must leave the same one shard.
    fn agreed(&self, parts: &[KeyPart], plan: &Plan) -> Result<Part, RouteError> {
        let mut all = ShardSet::empty();
        for part in parts {
            all = all.union(&self.shards(part)?);
        }
        if all.is_empty() {
            return Ok(Part::Nowhere);
        }
        if let Some(shard) = one_of(&all) {
            return Ok(Part::One(shard));
        }
        let construct = match plan.combine {
            Combine::Scratch { .. } => return Ok(Part::Scratch),
            Combine::Refuse { construct } => construct,
            _ => "tables that are not tied by the shard key",
        };
        let detail = format!("{construct}, over {} shards", all.len());
        Err(ClientError::new("SW1202", detail).into())
    }

    fn by_key(&self, part: &KeyPart) -> Result<Part, RouteError> {
        let shards = self.shards(part)?;
        if shards.len() > 1
            && let Some(elements) = list_to_split(&part.filter)
            && let Some(part) = self.split_list(part, elements, &shards)?
        {
            return Ok(part);
        }
        Ok(unchanged(&shards))
    }

    fn is_text(&self, value: &KeyExpression) -> bool {
        matches!(self.constant(value), Some(Evaluated::Constant(Constant { value: Value::Text { .. }, .. })))
    }

    /// Values of several types: how servers compare one element then depends on the others.
    fn mixes_types(&self, elements: &[KeyExpression]) -> bool {
        let mut types = elements.iter().map(|element| match self.constant(element) {
            Some(Evaluated::Constant(constant)) => Some(std::mem::discriminant(&constant.value)),
            Some(Evaluated::Null) | None => None,
        });
        let first = types.next();
        types.any(|of| Some(of) != first)
    }

    /// Every element has a value, and none is NULL: beside a NULL an element that is not found makes the result NULL, which a
    /// shard's part of the list must keep.
    fn all_known(&self, elements: &[KeyExpression]) -> bool {
        elements.iter().all(|element| matches!(self.constant(element), Some(Evaluated::Constant(_))))
    }

    /// Each shard gets the elements of the list that it may hold. `None`: the list stays whole.
    fn split_list(
        &self,
        part: &KeyPart,
        elements: &[KeyExpression],
        shards: &ShardSet,
    ) -> Result<Option<Part>, RouteError> {
        if self.mixes_types(elements) || !self.all_known(elements) {
            return Ok(None);
        }
        let mut owners = Vec::with_capacity(elements.len());
        for element in elements {
            let Some(span) = rewrite::element_span(self.text, self.statement, element) else {
                return Ok(None);
            };
            owners.push((span, self.equal(part, element)?));
        }
        let mut targets = Vec::with_capacity(shards.len());
        for shard in shards.iter() {
            let mut kept =
                owners.iter().filter(|(_, of)| of.contains(shard)).map(|(span, _)| span).peekable();
            if kept.peek().is_none() {
                return Ok(None);
            }
            let cut = rewrite::hull(owners.iter().map(|(span, _)| span));
            let kept: Vec<&Range<u32>> = kept.collect();
            let parameters = rewrite::parameters(self.statement, cut.clone(), kept.iter().copied());
            let text = rewrite::with_list(self.text, cut, kept.into_iter());
            targets.push(Target { shard, text: Some(text), parameters });
        }
        Ok(Some(Part::Many(targets)))
    }

    pub(super) fn shards(&self, part: &KeyPart) -> Result<ShardSet, RouteError> {
        self.filtered(part, &part.filter)
    }

    fn filtered(&self, part: &KeyPart, filter: &KeyFilter) -> Result<ShardSet, RouteError> {
        match filter {
            KeyFilter::All => Ok(self.topology.scheme(part.scheme).shards),
            KeyFilter::Nothing => Ok(ShardSet::empty()),
            KeyFilter::Equal(value) => self.equal(part, value),
            KeyFilter::In { elements, split } => self.any_of(part, elements, *split),
            KeyFilter::Between { low, high } => self.between(part, low.as_ref(), high.as_ref()),
            KeyFilter::Shard(names) => self.named(names),
            KeyFilter::And(all) => {
                let mut left = self.topology.scheme(part.scheme).shards;
                // `_shard` may name a shard that owns no range any more but still has rows.
                let mut named = None;
                for filter in all {
                    let shards = self.filtered(part, filter)?;
                    if matches!(filter, KeyFilter::Shard(_)) {
                        named = Some(named.map_or(shards, |named: ShardSet| named.intersection(&shards)));
                    } else {
                        left = left.intersection(&shards);
                    }
                }
                let only_named = all.iter().all(|filter| matches!(filter, KeyFilter::Shard(_)));
                Ok(match named {
                    Some(named) if only_named => named,
                    Some(named) => left.intersection(&named),
                    None => left,
                })
            }
            KeyFilter::Or(any) => {
                let mut shards = ShardSet::empty();
                for filter in any {
                    shards = shards.union(&self.filtered(part, filter)?);
                }
                Ok(shards)
            }
        }
    }

    /// All elements, so that texts whose weights are not known are asked for together.
    fn any_of(
        &self,
        part: &KeyPart,
        elements: &[KeyExpression],
        split: bool,
    ) -> Result<ShardSet, RouteError> {
        let mut shards = ShardSet::empty();
        let mut wanted: Option<(String, Vec<Vec<u8>>)> = None;
        // Servers compare numbers with strings as DOUBLE in lists of rows and beside NULL, too; those are never split.
        let blurred = !split || self.mixes_types(elements) || !self.all_known(elements);
        for element in elements {
            if blurred
                && let Some(Evaluated::Constant(constant)) = self.constant(element)
                && blurs_in_list(&constant, &part.key_type)
            {
                return Ok(self.topology.scheme(part.scheme).shards);
            }
            match self.equal(part, element) {
                Ok(of) => shards = shards.union(&of),
                Err(RouteError::WeightsNeeded { collation, texts }) => {
                    wanted.get_or_insert((collation, Vec::new())).1.extend(texts);
                }
                Err(refused) => return Err(refused),
            }
        }
        match wanted {
            Some((collation, texts)) => Err(RouteError::WeightsNeeded { collation, texts }),
            None => Ok(shards),
        }
    }

    fn equal(&self, part: &KeyPart, value: &KeyExpression) -> Result<ShardSet, RouteError> {
        let space = KeySpace { scheme: self.topology.scheme(part.scheme), kind: &part.key_type };
        match self.matched(space, value)? {
            Match::Nothing => Ok(ShardSet::empty()),
            Match::Unknown => Ok(space.scheme.shards),
            Match::Key(key) => match space.scheme.locate(&key) {
                Some(shard) => Ok(ShardSet::one(shard)),
                None => Err(self.unmapped(&part.column, &key, space).into()),
            },
        }
    }

    fn matched(&self, space: KeySpace<'_>, value: &KeyExpression) -> Result<Match, RouteError> {
        match self.constant(value) {
            Some(Evaluated::Null) => Ok(Match::Nothing),
            // Servers compare a string that they are given as a parameter as DOUBLE, where they compare a literal as the column's type.
            Some(Evaluated::Constant(constant))
                if constant.is_argument() && blurs_as_double(&constant, space.kind) =>
            {
                Ok(Match::Unknown)
            }
            Some(Evaluated::Constant(constant)) => space.compared(&constant, self.view),
            None => Ok(Match::Unknown),
        }
    }

    fn between(
        &self,
        part: &KeyPart,
        low: Option<&(KeyExpression, bool)>,
        high: Option<&(KeyExpression, bool)>,
    ) -> Result<ShardSet, RouteError> {
        let space = KeySpace { scheme: self.topology.scheme(part.scheme), kind: &part.key_type };
        let ends = [low, high];
        for (value, _) in ends.into_iter().flatten() {
            if matches!(self.constant(value), Some(Evaluated::Null)) {
                return Ok(ShardSet::empty());
            }
        }
        if let (Some((low, _)), Some((high, _))) = (low, high)
            && self.is_text(low) != self.is_text(high)
        {
            // The type that both ends compare in is then not the column's.
            return Ok(space.scheme.shards);
        }
        let (low, high) = (self.bound(space, low)?, self.bound(space, high)?);
        Ok(space.scheme.locate_between(&low, &high))
    }

    /// Only ends that compare as their keys do; any other leaves the interval open on that side.
    fn bound(&self, space: KeySpace<'_>, end: Option<&(KeyExpression, bool)>) -> Result<Bound, RouteError> {
        let Some((value, inclusive)) = end else { return Ok(Bound::Open) };
        // Text under a collation that is not binary is ordered by weights, which no ordered function takes; and a
        // server need not be asked for weights that would not be used.
        if let crate::topology::ColumnType::Text { collation, .. } = space.kind
            && (!collation.binary || collation.pad_space)
        {
            return Ok(Bound::Open);
        }
        Ok(match (self.matched(space, value)?, inclusive) {
            (Match::Key(key), true) => Bound::Inclusive(key),
            (Match::Key(key), false) => Bound::Exclusive(key),
            _ => Bound::Open,
        })
    }

    fn named(&self, names: &[KeyExpression]) -> Result<ShardSet, RouteError> {
        let mut shards = ShardSet::empty();
        for name in names {
            let Some(Evaluated::Constant(constant)) = self.constant(name) else { continue };
            let Value::Text { bytes, .. } = &constant.value else {
                return Err(ClientError::new("SW1211", "_shard is compared with the name of a shard").into());
            };
            let name = String::from_utf8_lossy(bytes);
            match self.topology.shard_by_name(&name) {
                Some(shard) => shards.insert(shard.id),
                None => return Err(ClientError::new("SW1211", format!("no shard is called {name}")).into()),
            }
        }
        Ok(shards)
    }

    /// The value of an expression, where it has an exact one.
    pub(super) fn constant(&self, expression: &KeyExpression) -> Option<Evaluated<'a>> {
        match expression {
            KeyExpression::Null => Some(Evaluated::Null),
            KeyExpression::Slot(slot) => self.slot(*slot, false),
            KeyExpression::Negated(slot) => self.slot(*slot, true),
            KeyExpression::Arithmetic { .. } => {
                let number = self.integer(expression)?;
                let value = Value::Integer(Some(number.abs()));
                Some(Evaluated::Constant(Constant { value, negated: number < 0, written: b"" }))
            }
        }
    }

    /// What the `?` at byte `offset` stands for.
    pub(super) fn argument(&self, offset: u32) -> Option<&'a Parameter<'a>> {
        self.view.parameters.get(self.statement.parameter_at(offset)?)
    }

    fn slot(&self, slot: usize, negated: bool) -> Option<Evaluated<'a>> {
        let found = self.statement.literals.get(slot)?;
        if found.class == LiteralClass::Placeholder {
            return match self.argument(found.span.start)? {
                Parameter::Null => Some(Evaluated::Null),
                Parameter::Value { value, negated: below } => {
                    let value = value.clone();
                    Some(Evaluated::Constant(Constant { value, negated: negated != *below, written: b"" }))
                }
                Parameter::Opaque => None,
            };
        }
        let written = self.text.get(found.span.start as usize..found.span.end as usize)?;
        let value = sql::decode(self.text, found, self.view.context);
        Some(Evaluated::Constant(Constant { value, negated, written }))
    }

    /// Arithmetic as a server does it on signed 64-bit integers; `None` where it would be unsigned or overflow.
    fn integer(&self, expression: &KeyExpression) -> Option<i128> {
        let number = match expression {
            KeyExpression::Null => return None,
            KeyExpression::Slot(slot) | KeyExpression::Negated(slot) => {
                let Some(Evaluated::Constant(constant)) = self.slot(*slot, false) else { return None };
                let Value::Integer(Some(number)) = constant.value else { return None };
                let number = if constant.negated { -number } else { number };
                if matches!(expression, KeyExpression::Negated(_)) { -number } else { number }
            }
            KeyExpression::Arithmetic { operator, left, right } => {
                let (left, right) = (self.integer(left)?, self.integer(right)?);
                match operator {
                    '+' => left.checked_add(right)?,
                    '-' => left.checked_sub(right)?,
                    '*' => left.checked_mul(right)?,
                    _ => return None,
                }
            }
        };
        (i128::from(i64::MIN)..=i128::from(i64::MAX)).contains(&number).then_some(number)
    }

    pub(super) fn unmapped(&self, column: &str, key: &Key, space: KeySpace<'_>) -> ClientError {
        unmapped(column, key, space, self.topology)
    }
}

/// No range of the scheme has the key.
pub(super) fn unmapped(column: &str, key: &Key, space: KeySpace<'_>, topology: &Topology) -> ClientError {
    let shown = match key {
        Key::Integer(number) => format!(" {number}"),
        Key::Bytes { raw, .. }
            if raw.len() <= SHOWN_BYTES_MAX && raw.iter().all(|byte| (32..127).contains(byte)) =>
        {
            format!(" '{}'", String::from_utf8_lossy(raw))
        }
        Key::Bytes { .. } => String::new(),
    };
    let detail = format!(
        "no shard owns the key{shown} of {column} (scheme {}, map version {})",
        space.scheme.name, topology.version
    );
    ClientError::new("SW1203", detail)
}

pub(super) enum Evaluated<'v> {
    Null,
    Constant(Constant<'v>),
}

pub(super) fn internal(detail: &str) -> ClientError {
    ClientError::new("SW1901", detail)
}

/// The list that each shard can get its part of: alone, or one of the conditions that must all hold.
fn list_to_split(filter: &KeyFilter) -> Option<&[KeyExpression]> {
    match filter {
        KeyFilter::In { elements, split: true } => Some(elements),
        KeyFilter::And(all) => all.iter().find_map(|filter| match filter {
            KeyFilter::In { elements, split: true } => Some(elements.as_slice()),
            _ => None,
        }),
        _ => None,
    }
}
