//! Statements that one server computes over copies of the rows of several: which ones may, what is copied, and how the text names
//! the copies.
//!
//! A copy is a temporary table with the name of the table that it is of, which hides that table from the connection: the client's text
//! stays as it is, and so do the names of its columns. A server cannot open a temporary table twice in one statement, so that further
//! mentions of a table get copies of other names, which the text is told.

use std::ops::Range;

use sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectName, Query, Statement, UnaryOperator, Value};

use super::Request;
use super::analysis::{Analysis, BlockId, RefId, Source};
use super::names::{Place, parts};
use super::physical::{Plan, Routing, Verb};
use super::walk::Names;
use crate::error::ClientError;
use crate::sql::{self, Feature, Flavor};
use crate::topology::{ShardId, Topology};

/// What ties a statement to one connection or one shard.
const BOUND: [Feature; 6] = [
    Feature::UserVariableWrite,
    Feature::CalcFoundRows,
    Feature::NamedLock,
    Feature::IntoFile,
    Feature::SideEffect,
    Feature::Locking,
];

/// A table's name in FROM.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    /// As written.
    database: Option<String>,
    table: String,
    /// Of the last part of the name.
    span: Range<u32>,
    alias: Option<String>,
}

impl Mention {
    pub(super) fn of(name: &ObjectName, alias: Option<&str>) -> Option<Mention> {
        let parts = parts(name)?;
        let (table, database) = match parts.as_slice() {
            [table] => (table, None),
            [database, table] => (table, Some(database.value.clone())),
            _ => return None,
        };
        let span = sql::offset_of(table.span.start)?..sql::offset_of(table.span.end)?;
        Some(Mention { database, table: table.value.clone(), span, alias: alias.map(str::to_owned) })
    }

    /// What columns are qualified with.
    fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.table)
    }
}

/// A condition that the rows of one reference must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    text: Vec<u8>,
    /// The statement's parameters that it has, in its order.
    parameters: Vec<usize>,
}

/// How one server computes a statement.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    /// Where most of the tables are that are whole on one shard.
    pub(crate) home: Option<ShardId>,
    pub(crate) fragments: Vec<Fragment>,
    /// The client's text, for copies that hide their tables where [`Fragment::hides`] says so.
    pub(crate) text: Vec<u8>,
    /// For copies that all have names of their own; `None` where columns are qualified with databases.
    pub(crate) text_for_copies: Option<Vec<u8>>,
}

/// The rows that one copy gets.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    pub(crate) database: String,
    pub(crate) table: String,
    /// The name of the copy, in the same database.
    copy: String,
    /// It is the only or the first mention of its table, whose name the copy takes.
    hides: bool,
    /// What conditions call the rows.
    name: String,
    filters: Vec<Filter>,
}

impl Fragment {
    /// The statement that reads these expressions of the rows.
    pub(crate) fn select(&self, expressions: &str) -> Vec<u8> {
        let mut text = format!(
            "SELECT {expressions} FROM {}.{} AS {}",
            quoted(&self.database),
            quoted(&self.table),
            quoted(&self.name)
        )
        .into_bytes();
        for (at, filter) in self.filters.iter().enumerate() {
            text.extend_from_slice(if at == 0 { b" WHERE " } else { b" AND " });
            text.extend_from_slice(&filter.text);
        }
        text
    }

    /// Which of the statement's parameters [`Fragment::select`] has.
    pub(crate) fn parameters(&self) -> Vec<usize> {
        self.filters.iter().flat_map(|filter| filter.parameters.iter().copied()).collect()
    }

    /// `database.table` of the copy, as SQL.
    pub(crate) fn copy(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.copy))
    }

    /// Of the table, as SQL.
    pub(crate) fn source(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.table))
    }

    pub(crate) fn hides(&self) -> bool {
        self.hides
    }

    pub(crate) fn is_ascii(&self) -> bool {
        [&self.database, &self.table, &self.name].iter().all(|name| name.is_ascii())
    }
}

/// An identifier as SQL.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Whether one server may compute the statement.
pub(super) fn fits_scratch(verb: Verb, analysis: &Analysis<'_>, request: &Request<'_>) -> bool {
    let features = request.statement.features;
    verb == Verb::Read
        && !BOUND.iter().any(|feature| features.has(*feature))
        && !analysis.shard_column
        && analysis.stored.is_empty()
        && !analysis.searched
        && analysis
            .refs
            .iter()
            .all(|reference| reference.place != Place::System && reference.mention.is_some())
}

pub(super) fn in_scratch(verb: Verb, describe: Option<ShardId>) -> Plan {
    let proof = "No shard has all its tables, so one server computes it over copies of their rows.";
    Plan::new(verb, Routing::Scratch { describe }, "scratch", proof)
}

/// What is copied so that the server of one shard can compute the statement. `all`: also what the server has by itself, since rows
/// that the open transaction has written are on its own connections.
pub(crate) fn scratch(request: &Request<'_>, topology: &Topology, all: bool) -> Result<Scratch, ClientError> {
    let statement = sql::parse(request.text, request.statement, request.context)
        .map_err(|error| ClientError::new("SW1201", error.to_string()))?;
    let Statement::Query(query) = &statement else {
        return Err(ClientError::new("SW1202", "a statement that is no query"));
    };
    let mut analysis = Analysis::new(request, topology);
    analysis.gathers_filters = true;
    walk(query, &mut analysis)?;
    let home = analysis.home();
    let mut copies = Copies { request, fragments: Vec::new(), mentions: Vec::new(), reopens: false };
    for reference in &analysis.refs {
        let here = match reference.place {
            Place::Reference => true,
            Place::Single(shard) => Some(shard) == home,
            Place::Sharded(_) | Place::System => false,
        };
        let Some(mention) = &reference.mention else {
            return Err(ClientError::new("SW1202", format!("{} outside of FROM", reference.full_name)));
        };
        if all || !here {
            copies.add(mention, &reference.filters)?;
        }
    }
    let text = copies.text(|fragment| !fragment.hides);
    let qualified = names_databases_of_columns(request);
    if qualified && let Some(mention) = copies.ambiguous() {
        let detail = format!(
            "columns qualified with a database beside two mentions of {} without aliases",
            mention.table
        );
        return Err(ClientError::new("SW1202", detail));
    }
    let text_for_copies = (!qualified).then(|| copies.text(|_| true));
    if copies.reopens && request.context.flavor == Flavor::MySql {
        let detail =
            "a common table expression that is mentioned several times: MySQL cannot open its copies twice";
        return Err(ClientError::new("SW1202", detail));
    }
    Ok(Scratch { home, text, text_for_copies, fragments: copies.fragments })
}

fn walk(query: &Query, analysis: &mut Analysis<'_>) -> Result<(), ClientError> {
    analysis.query(query, &Names::NONE, None);
    match analysis.refusal.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The copies of a statement, one for each mention of a table.
struct Copies<'r> {
    request: &'r Request<'r>,
    fragments: Vec<Fragment>,
    /// Of each.
    mentions: Vec<Mention>,
    /// Some stand in a common table expression that is mentioned several times.
    reopens: bool,
}

impl Copies<'_> {
    fn add(&mut self, mention: &Mention, filters: &[Filter]) -> Result<(), ClientError> {
        // A common table expression is walked for each of its mentions; its own are in the text once.
        if self.mentions.iter().any(|known| known.span == mention.span) {
            self.reopens = true;
            return Ok(());
        }
        let Some(database) = mention.database.clone().or_else(|| self.request.database.map(str::to_owned))
        else {
            return Err(ClientError::new("SW1212", "No database selected"));
        };
        let hides = !self.fragments.iter().any(|other| {
            other.database.eq_ignore_ascii_case(&database) && other.table.eq_ignore_ascii_case(&mention.table)
        });
        self.mentions.push(mention.clone());
        self.fragments.push(Fragment {
            database,
            table: mention.table.clone(),
            copy: format!("__shardway_{}", self.fragments.len() + 1),
            hides,
            name: mention.name().to_owned(),
            filters: filters.to_vec(),
        });
        Ok(())
    }

    /// A mention that gets another name, and would keep its own for its columns only.
    fn ambiguous(&self) -> Option<&Mention> {
        let all = self.fragments.iter().zip(&self.mentions);
        all.filter(|(fragment, _)| !fragment.hides)
            .map(|(_, mention)| mention)
            .find(|mention| mention.alias.is_none())
    }

    /// The client's text with the copies' names for these fragments.
    fn text(&self, renamed: impl Fn(&Fragment) -> bool) -> Vec<u8> {
        let mut edits: Vec<(Range<u32>, Vec<u8>)> = Vec::new();
        for (fragment, mention) in self.fragments.iter().zip(&self.mentions) {
            if !renamed(fragment) {
                continue;
            }
            let mut name = quoted(&fragment.copy).into_bytes();
            if mention.alias.is_none() {
                // The client's own bytes, in its own character set.
                let span = mention.span.start as usize..mention.span.end as usize;
                name.extend_from_slice(b" AS ");
                name.extend_from_slice(self.request.text.get(span).unwrap_or_default());
            }
            edits.push((mention.span.clone(), name));
        }
        edits.sort_by_key(|(span, _)| span.start);
        let edits: Vec<(Range<u32>, &[u8])> =
            edits.iter().map(|(span, new)| (span.clone(), new.as_slice())).collect();
        sql::splice(self.request.text, &edits)
    }
}

/// `database.table.column` somewhere: with another name for the mention of a table it could mean another mention.
fn names_databases_of_columns(request: &Request<'_>) -> bool {
    let mut dots = 0;
    let mut was_name = false;
    sql::tokens(request.text, request.context).any(|token| {
        let is_name = token.is_name();
        if token.is_symbol(b'.') {
            dots += 1;
        } else if !is_name || was_name {
            dots = 0;
        }
        was_name = is_name;
        dots >= 2
    })
}

impl Analysis<'_> {
    /// Whether tables are whole on shards that do not have the others, and the shard that all of these are on, where it is one.
    pub(super) fn spread(&self) -> Option<Option<ShardId>> {
        let singles: Vec<ShardId> = self.singles().collect();
        let first = *singles.first()?;
        let one = singles.iter().all(|shard| *shard == first);
        (!one || !self.sharded().is_empty()).then_some(one.then_some(first))
    }

    fn singles(&self) -> impl Iterator<Item = ShardId> {
        self.refs.iter().filter_map(|reference| match reference.place {
            Place::Single(shard) => Some(shard),
            Place::Sharded(_) | Place::Reference | Place::System => None,
        })
    }

    fn home(&self) -> Option<ShardId> {
        self.singles().max_by_key(|shard| (self.singles().filter(|other| other == shard).count(), shard.0))
    }

    /// Notes the conditions of WHERE that are about one reference of the block alone. They stay in the statement; a row that fails one
    /// counts for nothing there, unless an outer join of the block would have shown that nothing else matches.
    pub(super) fn gather_filters(&mut self, selection: &Expr, block: BlockId) {
        let mut terms = vec![selection];
        while let Some(term) = terms.pop() {
            match term {
                Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                    terms.extend([right.as_ref(), left.as_ref()]);
                }
                Expr::Nested(inner) => terms.push(inner),
                _ => {
                    let mut writer = Writer { analysis: self, block, of: None, out: Filter::empty() };
                    if writer.expression(term).is_some()
                        && let Writer { of: Some(of), out, .. } = writer
                        && !self.is_null_extended(of)
                    {
                        self.refs[of].filters.push(out);
                    }
                }
            }
        }
    }
}

impl Filter {
    fn empty() -> Filter {
        Filter { text: Vec::new(), parameters: Vec::new() }
    }
}

/// Writes a condition for the shards: columns of one reference, the client's own literals, comparisons between them, each in
/// parentheses so that no precedence matters. Anything else is left to the server that computes the statement.
struct Writer<'w, 'r> {
    analysis: &'w Analysis<'r>,
    block: BlockId,
    of: Option<RefId>,
    out: Filter,
}

impl Writer<'_, '_> {
    fn put(&mut self, text: &str) {
        self.out.text.extend_from_slice(text.as_bytes());
    }

    fn expression(&mut self, expression: &Expr) -> Option<()> {
        self.put("(");
        match expression {
            Expr::Nested(inner) => self.expression(inner)?,
            Expr::Identifier(column) => self.column(None, column)?,
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, column] => self.column(Some(table), column)?,
                _ => return None,
            },
            Expr::Value(value) => match &value.value {
                Value::Number(..)
                | Value::SingleQuotedString(_)
                | Value::DoubleQuotedString(_)
                | Value::Placeholder(_) => self.literal(sql::offset_of(value.span.start)?)?,
                _ => return None,
            },
            Expr::UnaryOp { op, expr } => {
                self.put(match op {
                    UnaryOperator::Not => "NOT ",
                    UnaryOperator::Minus => "- ",
                    _ => return None,
                });
                self.expression(expr)?;
            }
            Expr::BinaryOp { left, op, right } => {
                self.expression(left)?;
                self.put(match op {
                    BinaryOperator::Eq => " = ",
                    BinaryOperator::NotEq => " <> ",
                    BinaryOperator::Lt => " < ",
                    BinaryOperator::LtEq => " <= ",
                    BinaryOperator::Gt => " > ",
                    BinaryOperator::GtEq => " >= ",
                    BinaryOperator::Spaceship => " <=> ",
                    BinaryOperator::And => " AND ",
                    BinaryOperator::Or => " OR ",
                    _ => return None,
                });
                self.expression(right)?;
            }
            Expr::IsNull(inner) => {
                self.expression(inner)?;
                self.put(" IS NULL");
            }
            Expr::IsNotNull(inner) => {
                self.expression(inner)?;
                self.put(" IS NOT NULL");
            }
            Expr::Between { expr, negated, low, high } => {
                self.expression(expr)?;
                self.put(if *negated { " NOT BETWEEN " } else { " BETWEEN " });
                self.expression(low)?;
                self.put(" AND ");
                self.expression(high)?;
            }
            Expr::InList { expr, list, negated } if !list.is_empty() => {
                self.expression(expr)?;
                self.put(if *negated { " NOT IN (" } else { " IN (" });
                for (at, element) in list.iter().enumerate() {
                    if at > 0 {
                        self.put(", ");
                    }
                    self.expression(element)?;
                }
                self.put(")");
            }
            _ => return None,
        }
        self.put(")");
        Some(())
    }

    /// A column that can be nothing but one of a table of the block.
    fn column(&mut self, table: Option<&Ident>, column: &Ident) -> Option<()> {
        let block = &self.analysis.blocks[self.block];
        let mut sources = block
            .visible
            .iter()
            .filter(|source| table.is_none_or(|table| source.name.eq_ignore_ascii_case(&table.value)));
        let source = sources.next()?;
        if sources.next().is_some() {
            return None;
        }
        let Source::Table(of) = source.source else { return None };
        let known = self.analysis.refs[of].columns.as_deref()?;
        if !known.iter().any(|known| known.name.eq_ignore_ascii_case(&column.value))
            || self.of.is_some_and(|other| other != of)
            || !column.value.is_ascii()
        {
            return None;
        }
        self.of = Some(of);
        let name = self.analysis.refs[of].mention.as_ref()?.name();
        let written = format!("{}.{}", quoted(name), quoted(&column.value));
        self.put(&written);
        Some(())
    }

    /// The client's own bytes.
    fn literal(&mut self, offset: u32) -> Option<()> {
        let request = self.analysis.request;
        if let Some(parameter) = request.statement.parameter_at(offset) {
            self.out.parameters.push(parameter);
            self.put("?");
            return Some(());
        }
        let literal = request.statement.literals.get(request.statement.slot_at(offset)?)?;
        let span = literal.span.start as usize..literal.span.end as usize;
        self.out.text.extend_from_slice(request.text.get(span)?);
        Some(())
    }
}
