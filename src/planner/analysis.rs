//! What a statement's blocks refer to: every table reference at every depth, the joins that can NULL-extend it, the
//! conditions it stands under. Built by `walk`, read by `proof`. One block is one SELECT (or the table part of an UPDATE
//! or DELETE); a derived table that only selects rows counts as part of the block around it.

use std::sync::Arc;

use sqlparser::ast::Expr;

use super::Request;
use super::names::{self, Place};
use super::physical::Verb;
use super::predicate::Predicate;
use super::scratch::{Filter, Mention};
use super::stored::Stored;
use crate::error::ClientError;
use crate::topology::{Column, Topology};

pub(super) type RefId = usize;
pub(super) type BlockId = usize;
pub(super) type JoinId = usize;

/// Bounds what common table expressions can multiply.
pub(super) const REFERENCES_MAX: usize = 256;
/// Queries within queries.
pub(super) const DEPTH_MAX: usize = 64;

pub(super) struct Analysis<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) topology: &'r Topology,
    pub(super) refs: Vec<Reference>,
    pub(super) blocks: Vec<Block>,
    pub(super) joins: Vec<OuterJoin>,
    pub(super) facts: Vec<Fact>,
    /// `outer.key IN (SELECT inner.key …)`: only inner rows with the outer row's key matter.
    pub(super) memberships: Vec<(RefId, RefId)>,
    pub(super) refusal: Option<ClientError>,
    /// Why several shards could not compute this side by side, wherever in the statement it stands.
    pub(super) obstacle: Option<&'static str>,
    pub(super) verb: Verb,
    /// The statement mentions `_shard` and no table has a column of that name.
    pub(super) shard_column: bool,
    /// The first function seen whose value would differ between copies.
    pub(super) varying: Option<String>,
    /// Some query takes the first rows of more.
    pub(super) limited: bool,
    /// Functions that are not the server's own.
    pub(super) stored: Vec<Stored>,
    /// MATCH … AGAINST where only its truth counts.
    pub(super) searches: Vec<*const Expr>,
    pub(super) depth: usize,
    /// MATCH … AGAINST stands anywhere: copies have no index for it.
    pub(super) searched: bool,
    /// The name in FROM that is being read.
    pub(super) mention: Option<Mention>,
    /// Filters are gathered.
    pub(super) gathers_filters: bool,
}

/// One mention of a table.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) full_name: String,
    pub(super) place: Place,
    /// The block whose conditions its rows stand under.
    pub(super) home: BlockId,
    pub(super) columns: Option<Arc<[Column]>>,
    /// Where FROM names it; `None` where another form does.
    pub(super) mention: Option<Mention>,
    /// Conditions on its rows alone, which they must meet to count; gathered for scratch only.
    pub(super) filters: Vec<Filter>,
}

#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) parent: Option<BlockId>,
    pub(super) visible: Vec<Visible>,
    /// Columns that USING makes one.
    pub(super) coalesced: Vec<String>,
    pub(super) natural: bool,
    /// What needs all rows at once, by the word to name it with; the first is reported.
    pub(super) obstacles: Vec<&'static str>,
    /// An aggregate function of this block was met.
    pub(super) aggregated: Option<&'static str>,
    pub(super) windowed: bool,
}

/// A name that columns can be qualified with.
#[derive(Debug)]
pub(super) struct Visible {
    pub(super) name: String,
    pub(super) database: Option<String>,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    Table(RefId),
    /// A derived table: `exports` are its columns that are shard keys of tables within; `columns` all their names, as
    /// far as they are known.
    Derived {
        exports: Vec<(String, RefId)>,
        columns: Option<Vec<String>>,
    },
}

/// LEFT or RIGHT JOIN: the references that it may NULL-extend.
#[derive(Debug)]
pub(super) struct OuterJoin {
    pub(super) null_side: Vec<RefId>,
    /// A condition above rejects the NULL-extended rows: the join is as good as an inner one.
    pub(super) inner: bool,
}

/// A condition and where it stands.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) block: BlockId,
    pub(super) predicate: Predicate,
    /// The outer join whose ON it is.
    pub(super) on: Option<JoinId>,
    /// The outer joins in whose NULL side it stands, the one whose ON it is included.
    pub(super) within: Vec<JoinId>,
}

impl<'r> Analysis<'r> {
    pub(super) fn new(request: &'r Request<'r>, topology: &'r Topology) -> Analysis<'r> {
        let mentioned = request.statement.features.has(crate::sql::Feature::ShardColumn);
        Analysis {
            request,
            topology,
            refs: Vec::new(),
            blocks: Vec::new(),
            joins: Vec::new(),
            facts: Vec::new(),
            memberships: Vec::new(),
            refusal: None,
            obstacle: None,
            verb: Verb::Read,
            shard_column: mentioned,
            varying: None,
            limited: false,
            stored: Vec::new(),
            searches: Vec::new(),
            depth: 0,
            searched: false,
            mention: None,
            gathers_filters: false,
        }
    }

    pub(super) fn refuse(&mut self, error: ClientError) {
        self.refusal.get_or_insert(error);
    }

    pub(super) fn hinder(&mut self, construct: &'static str) {
        self.obstacle.get_or_insert(construct);
    }

    pub(super) fn new_block(&mut self, parent: Option<BlockId>) -> BlockId {
        self.blocks.push(Block { parent, ..Block::default() });
        self.blocks.len() - 1
    }

    /// Adds a reference to the table; errors become the refusal of the statement.
    pub(super) fn add_reference(
        &mut self,
        database: Option<&str>,
        table: &str,
        home: BlockId,
    ) -> Option<(RefId, String)> {
        if self.refs.len() >= REFERENCES_MAX {
            self.refuse(ClientError::new("SW1210", format!("more than {REFERENCES_MAX} table references")));
            return None;
        }
        match names::locate(self.topology, self.request.database, database, table) {
            Ok(located) => {
                let columns = located.table.and_then(|table| table.columns.clone());
                if located.table.is_some_and(|table| table.column(super::column::SHARD_COLUMN).is_some()) {
                    self.shard_column = false;
                }
                let full_name = located.full_name();
                self.refs.push(Reference {
                    full_name,
                    place: located.place,
                    home,
                    columns,
                    mention: None,
                    filters: Vec::new(),
                });
                Some((self.refs.len() - 1, located.database))
            }
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    /// Whether the reference can be all NULL in rows of its block.
    pub(super) fn is_null_extended(&self, of: RefId) -> bool {
        self.joins.iter().any(|join| !join.inner && join.null_side.contains(&of))
    }

    /// Outer joins become inner where a condition above them rejects their NULLs; repeated until nothing changes, since
    /// each such join's own condition may do the same to others.
    pub(super) fn settle(&mut self) {
        loop {
            let mut changed = false;
            for fact in &self.facts {
                let within: Vec<JoinId> =
                    fact.within.iter().copied().filter(|join| !self.joins[*join].inner).collect();
                for of in fact.predicate.rejects_null_of() {
                    if self.refs[of].home != fact.block {
                        continue;
                    }
                    // The condition of an outer join removes rows of its NULL side only.
                    if fact
                        .on
                        .is_some_and(|on| !self.joins[on].inner && !self.joins[on].null_side.contains(&of))
                    {
                        continue;
                    }
                    for (id, join) in self.joins.iter_mut().enumerate() {
                        if !join.inner && join.null_side.contains(&of) && !within.contains(&id) {
                            join.inner = true;
                            changed = true;
                        }
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Makes the rows of `from` rows of `into`: a derived table that only selects is part of the block around it.
    pub(super) fn merge_block(&mut self, from: BlockId, into: BlockId) {
        for reference in &mut self.refs {
            if reference.home == from {
                reference.home = into;
            }
        }
        for fact in &mut self.facts {
            if fact.block == from {
                fact.block = into;
            }
        }
    }

    /// `database.table` of every table, each once, in the order of the text.
    pub(super) fn tables(&self) -> Vec<String> {
        let mut tables: Vec<String> = Vec::new();
        for reference in &self.refs {
            if !tables.contains(&reference.full_name) {
                tables.push(reference.full_name.clone());
            }
        }
        tables
    }
}
