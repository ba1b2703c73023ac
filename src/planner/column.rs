//! Names of columns: which table reference's shard key a column name provably is. Anything that is not certain is no
//! key, so that it filters nothing and ties nothing together.

use sqlparser::ast::{Expr, Ident};

use super::analysis::{Analysis, Block, BlockId, RefId, Source, Visible};
use super::names::Place;

/// The pseudo-column that is the name of the shard a row came from.
pub(super) const SHARD_COLUMN: &str = "_shard";

/// What a name means within one block.
pub(super) enum Found {
    /// The shard key of this reference.
    Key(RefId),
    /// Some column of the block, or one of several, but not provably a key.
    Other,
    /// Nothing in this block: an enclosing block may have it.
    Nothing,
}

impl Analysis<'_> {
    /// The reference whose shard key `expression` is.
    pub(super) fn key_of(&self, expression: &Expr, block: BlockId) -> Option<RefId> {
        match expression {
            Expr::Nested(inner) => self.key_of(inner, block),
            Expr::Identifier(column) => self.key_named(None, None, &column.value, block),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, column] => self.key_named(None, Some(&table.value), &column.value, block),
                [database, table, column] => {
                    self.key_named(Some(&database.value), Some(&table.value), &column.value, block)
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn key_named(
        &self,
        database: Option<&str>,
        table: Option<&str>,
        column: &str,
        block: BlockId,
    ) -> Option<RefId> {
        let mut at = Some(block);
        while let Some(id) = at {
            let block = self.blocks.get(id)?;
            let found = match table {
                Some(table) => self.qualified(block, database, table, column),
                None => self.unqualified(block, column),
            };
            match found {
                Found::Key(of) => return Some(of),
                Found::Other => return None,
                Found::Nothing => at = block.parent,
            }
        }
        None
    }

    fn qualified(&self, block: &Block, database: Option<&str>, table: &str, column: &str) -> Found {
        match visible(block, database, table) {
            Some(source) => self.column_of(source, column).unwrap_or(Found::Other),
            None => Found::Nothing,
        }
    }

    fn unqualified(&self, block: &Block, column: &str) -> Found {
        let mut keys = Vec::new();
        let mut other = false;
        for source in &block.visible {
            match self.column_of(source, column) {
                Some(Found::Key(of)) => keys.push(of),
                Some(Found::Other) => other = true,
                Some(Found::Nothing) | None => {}
            }
        }
        let coalesced = block.natural || block.coalesced.iter().any(|name| name.eq_ignore_ascii_case(column));
        match (keys.as_slice(), coalesced) {
            ([], _) if other => Found::Other,
            ([], _) => Found::Nothing,
            // Should another table have the column too, every server refuses the name as ambiguous.
            ([only], false) => Found::Key(*only),
            (_, false) => Found::Other,
            // USING makes one column of many: that of the preserved side. A side that can be NULL is not it.
            (_, true) => match keys.iter().find(|of| !self.is_null_extended(**of)) {
                Some(of) => Found::Key(*of),
                None => Found::Other,
            },
        }
    }

    /// What `column` is in one source: `None` when the source certainly has no such column.
    fn column_of(&self, source: &Visible, column: &str) -> Option<Found> {
        match &source.source {
            Source::Table(id) => {
                let reference = self.refs.get(*id)?;
                if let Place::Sharded(key) = &reference.place
                    && key.name.eq_ignore_ascii_case(column)
                {
                    return Some(Found::Key(*id));
                }
                match &reference.columns {
                    Some(columns) => columns
                        .iter()
                        .any(|known| known.name.eq_ignore_ascii_case(column))
                        .then_some(Found::Other),
                    None => Some(Found::Other),
                }
            }
            Source::Derived { exports, columns } => {
                if let Some((_, of)) = exports.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)) {
                    return Some(Found::Key(*of));
                }
                match columns {
                    Some(columns) => {
                        columns.iter().any(|known| known.eq_ignore_ascii_case(column)).then_some(Found::Other)
                    }
                    None => Some(Found::Other),
                }
            }
        }
    }

    /// Whether an aggregate over these columns surely is computed by `block` itself: SQL gives an aggregate of outer
    /// columns only to the outer block.
    pub(super) fn has_column_of_its_own(&self, block: BlockId, columns: &[Vec<Ident>]) -> bool {
        let Some(block) = self.blocks.get(block) else { return false };
        columns.iter().any(|path| match path.as_slice() {
            [column] => block.visible.iter().any(|source| self.certainly_has(source, &column.value)),
            [table, _] => visible(block, None, &table.value).is_some(),
            [database, table, _] => visible(block, Some(&database.value), &table.value).is_some(),
            _ => false,
        })
    }

    fn certainly_has(&self, source: &Visible, column: &str) -> bool {
        let known = match &source.source {
            Source::Table(id) => self.refs.get(*id).is_some_and(|reference| reference.columns.is_some()),
            Source::Derived { columns, .. } => columns.is_some(),
        };
        match self.column_of(source, column) {
            Some(Found::Key(_)) => true,
            Some(Found::Other) => known,
            _ => false,
        }
    }

    /// `_shard`, unless some table has a column of that name.
    pub(super) fn is_shard_column(&self, expression: &Expr) -> bool {
        if !self.shard_column {
            return false;
        }
        match expression {
            Expr::Nested(inner) => self.is_shard_column(inner),
            Expr::Identifier(column) => is_shard_name(column),
            Expr::CompoundIdentifier(path) => path.last().is_some_and(is_shard_name),
            _ => false,
        }
    }
}

pub(super) fn is_shard_name(column: &Ident) -> bool {
    column.value.eq_ignore_ascii_case(SHARD_COLUMN)
}

/// The source that `table` names: spelled the same, or else the same but for case.
pub(super) fn visible<'b>(block: &'b Block, database: Option<&str>, table: &str) -> Option<&'b Visible> {
    let fits = |source: &&Visible| match (database, &source.database) {
        (None, _) => true,
        (Some(wanted), Some(of)) => wanted.eq_ignore_ascii_case(of),
        (Some(_), None) => false,
    };
    let exact = block.visible.iter().filter(fits).find(|source| source.name == table);
    exact.or_else(|| block.visible.iter().filter(fits).find(|source| source.name.eq_ignore_ascii_case(table)))
}
