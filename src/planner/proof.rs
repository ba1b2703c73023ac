//! The proof that shards can answer a statement on their own, from what `walk` found.
//!
//! A directed edge `a → b` says: only rows of `b` with the key of the row of `a` at hand matter. Two rules follow.
//!
//! * **Co-located**: some reference of the outermost block that no outer join NULL-extends reaches every sharded
//!   reference by edges. Then each row of the result comes from rows of one shard, and the shards' results together are
//!   the result. The filters that reach that reference leave the shards to ask.
//! * **Pinned**: otherwise, when the filters of every sharded reference leave the same single shard, every row that
//!   matters is there, whatever the statement does with them. Only the router can see that.

use super::analysis::{Analysis, BlockId, JoinId, RefId};
use super::names::{KeyColumn, Place};
use super::physical::{KeyFilter, KeyPart};
use crate::error::ClientError;
use crate::topology::ShardId;

/// Where the tables of a statement are, taken together.
pub(super) enum Placed {
    /// No tables, reference tables, system tables.
    Anywhere {
        reference: bool,
        system: bool,
    },
    One(ShardId),
    CoLocated(KeyPart),
    Pinned(Vec<KeyPart>),
    Refused(ClientError),
}

impl Analysis<'_> {
    /// Decides over all references; `top` is the outermost block, if the statement is one.
    pub(super) fn placed(&mut self, top: Option<BlockId>) -> Placed {
        self.settle();
        let mut single: Option<(ShardId, &str)> = None;
        let (mut reference, mut system) = (false, false);
        for found in &self.refs {
            match &found.place {
                Place::Reference => reference = true,
                Place::System => system = true,
                Place::Sharded(_) => {}
                Place::Single(shard) => match single {
                    Some((other, name)) if other != *shard => {
                        return Placed::Refused(self.apart(name, other, &found.full_name, *shard));
                    }
                    _ => single = Some((*shard, &found.full_name)),
                },
            }
        }
        let stored = match self.shard_of_stored() {
            Ok(stored) => stored,
            Err(error) => return Placed::Refused(error),
        };
        if let Some((shard, name)) = &stored {
            match single {
                Some((other, table)) if other != *shard => {
                    return Placed::Refused(self.apart(table, other, name, *shard));
                }
                _ => single = Some((*shard, name)),
            }
        }
        let sharded = self.sharded();
        match (single, sharded.is_empty()) {
            (None, true) => Placed::Anywhere { reference, system },
            (Some((shard, _)), true) => Placed::One(shard),
            (Some((shard, name)), false) => Placed::Refused(ClientError::new(
                "SW1207",
                format!(
                    "{name} is on shard {} alone, {} is sharded",
                    self.topology.shard(shard).name,
                    self.refs[sharded[0]].full_name
                ),
            )),
            (None, false) => self.by_key(&sharded, top),
        }
    }

    pub(super) fn apart(
        &self,
        left: &str,
        left_shard: ShardId,
        right: &str,
        right_shard: ShardId,
    ) -> ClientError {
        let name = |shard| self.topology.shard(shard).name.clone();
        let detail =
            format!("{left} is on shard {}, {right} on shard {}", name(left_shard), name(right_shard));
        ClientError::new("SW1207", detail)
    }

    pub(super) fn sharded(&self) -> Vec<RefId> {
        (0..self.refs.len()).filter(|of| matches!(self.refs[*of].place, Place::Sharded(_))).collect()
    }

    fn key(&self, of: RefId) -> Option<&KeyColumn> {
        match &self.refs[of].place {
            Place::Sharded(key) => Some(key),
            _ => None,
        }
    }

    fn by_key(&self, sharded: &[RefId], top: Option<BlockId>) -> Placed {
        let reach = self.reach(sharded);
        let filters: Vec<KeyFilter> = self.class_filters(sharded, &reach);
        // Everything said about references that reach this one holds for it.
        let filter_of = |place: usize| {
            let mut seen = Vec::new();
            let mut said = Vec::new();
            for (from, filter) in filters.iter().enumerate() {
                let class = representative(&reach, from);
                if reach[from][place] && !seen.contains(&class) {
                    seen.push(class);
                    said.push(filter.clone());
                }
            }
            KeyFilter::and(said)
        };
        let root = (0..sharded.len()).find(|place| {
            Some(self.refs[sharded[*place]].home) == top
                && !self.is_null_extended(sharded[*place])
                && reach[*place].iter().all(|reached| *reached)
        });
        match root {
            Some(root) => match self.part(sharded[root], filter_of(root)) {
                Some(part) => Placed::CoLocated(part),
                None => Placed::Pinned(Vec::new()),
            },
            None => {
                let mut parts: Vec<KeyPart> = Vec::new();
                for (place, of) in sharded.iter().enumerate() {
                    // No split: the whole statement goes to one shard or nowhere.
                    let part = self.part(*of, filter_of(place).unsplit());
                    parts.extend(part.filter(|part| {
                        !parts.iter().any(|known| {
                            known.scheme == part.scheme
                                && known.key_type == part.key_type
                                && known.filter == part.filter
                        })
                    }));
                }
                Placed::Pinned(parts)
            }
        }
    }

    fn part(&self, of: RefId, filter: KeyFilter) -> Option<KeyPart> {
        let key = self.key(of)?;
        Some(KeyPart {
            scheme: key.scheme,
            column: format!("{}.{}", self.refs[of].full_name, key.name),
            key_type: key.kind.clone(),
            filter,
        })
    }

    /// `reach[a][b]`: by edges from the a-th to the b-th of `sharded`.
    fn reach(&self, sharded: &[RefId]) -> Vec<Vec<bool>> {
        let place = |of: RefId| sharded.iter().position(|known| *known == of);
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); sharded.len()];
        for (from, to) in self.edges() {
            if let (Some(from), Some(to)) = (place(from), place(to)) {
                edges[from].push(to);
            }
        }
        (0..sharded.len())
            .map(|start| {
                let mut reached = vec![false; sharded.len()];
                reached[start] = true;
                let mut waiting = vec![start];
                while let Some(at) = waiting.pop() {
                    for &next in &edges[at] {
                        if !std::mem::replace(&mut reached[next], true) {
                            waiting.push(next);
                        }
                    }
                }
                reached
            })
            .collect()
    }

    fn edges(&self) -> Vec<(RefId, RefId)> {
        let mut edges = self.memberships.clone();
        // With a NULL on either side, IN is NULL or FALSE depending on rows of other shards.
        edges.retain(|(outer, inner)| {
            self.ties(*outer, *inner) && !self.is_null_extended(*outer) && !self.is_null_extended(*inner)
        });
        for fact in &self.facts {
            for (left, right) in fact.predicate.equalities() {
                if !self.ties(left, right) {
                    continue;
                }
                for (from, to) in [(left, right), (right, left)] {
                    if self.limits(fact, to) {
                        edges.push((from, to));
                    }
                }
            }
        }
        edges
    }

    /// Whether a condition removes rows of `of`: it is of the fact's own block and, where it stands in the NULL side of an
    /// outer join, be it as its ON, on that side.
    fn limits(&self, fact: &super::analysis::Fact, of: RefId) -> bool {
        let reaches = |join: &JoinId| self.joins[*join].inner || self.joins[*join].null_side.contains(&of);
        self.refs[of].home == fact.block && fact.within.iter().all(reaches)
    }

    fn ties(&self, left: RefId, right: RefId) -> bool {
        match (self.key(left), self.key(right)) {
            (Some(left), Some(right)) => left.joins_locally(right),
            _ => false,
        }
    }

    /// For each of `sharded`, what the conditions say about the keys of its class: references that reach each other.
    fn class_filters(&self, sharded: &[RefId], reach: &[Vec<bool>]) -> Vec<KeyFilter> {
        (0..sharded.len())
            .map(|place| {
                let class: Vec<RefId> = (0..sharded.len())
                    .filter(|other| reach[place][*other] && reach[*other][place])
                    .map(|other| sharded[other])
                    .collect();
                KeyFilter::and(self.facts.iter().map(|fact| {
                    let limited: Vec<RefId> =
                        class.iter().copied().filter(|of| self.limits(fact, *of)).collect();
                    match limited.is_empty() {
                        true => KeyFilter::All,
                        false => fact.predicate.filter(&limited),
                    }
                }))
            })
            .collect()
    }
}

/// The first member of the class of `place`.
fn representative(reach: &[Vec<bool>], place: usize) -> usize {
    (0..reach.len()).find(|other| reach[place][*other] && reach[*other][place]).unwrap_or(place)
}
