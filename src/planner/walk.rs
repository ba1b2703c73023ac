//! Walks queries: FROM, joins, conditions, and every subquery at any depth, and records what it finds in the analysis.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Ident, ObjectNamePart, Query, SearchModifier, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, UnaryOperator, Visit, Visitor,
};

use super::analysis::{Analysis, BlockId, DEPTH_MAX, Fact, JoinId, RefId, Source, Visible};
use super::column::visible;
use super::function::{aggregate, fills_varying, is_pure, is_varying};
use super::names::{Place, split};
use super::physical::Verb;
use super::predicate::Predicate;
use super::stored::Stored;
use crate::error::ClientError;

/// Common table expressions in sight, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Names<'e> {
    pub(super) outer: Option<&'e Names<'e>>,
    pub(super) ctes: &'e [Cte],
    /// How many of them can be named: one that is not recursive sees those before it.
    pub(super) count: usize,
    /// The recursive one whose body this is.
    pub(super) own: Option<usize>,
    pub(super) recursive: bool,
}

impl Names<'_> {
    pub(super) const NONE: Names<'static> =
        Names { outer: None, ctes: &[], count: 0, own: None, recursive: false };
}

/// What a walked query is to its surroundings.
#[derive(Default)]
pub(super) struct Shape {
    /// The block, when the query is one SELECT.
    pub(super) block: Option<BlockId>,
    /// Every reference within.
    pub(super) refs: Vec<RefId>,
    /// Columns that are shard keys: may be named from outside when `plain`.
    pub(super) exports: Vec<(String, RefId)>,
    pub(super) columns: Option<Vec<String>>,
    /// It only selects rows: a condition on its key columns may as well stand within.
    pub(super) plain: bool,
    /// The key of its first column, for `outer.key IN (SELECT inner.key …)`.
    pub(super) only_column: Option<RefId>,
    /// DISTINCT, GROUP BY or an aggregate: a condition must not be moved into it without a look.
    pub(super) grouped: bool,
}

impl Analysis<'_> {
    pub(super) fn query(&mut self, query: &Query, names: &Names<'_>, parent: Option<BlockId>) -> Shape {
        if self.depth >= DEPTH_MAX {
            self.refuse(ClientError::new("SW1210", format!("queries nested more than {DEPTH_MAX} deep")));
            return Shape::default();
        }
        self.depth += 1;
        let own;
        let names = match &query.with {
            Some(with) => {
                let ctes = with.cte_tables.as_slice();
                own = Names {
                    outer: Some(names),
                    ctes,
                    count: ctes.len(),
                    own: None,
                    recursive: with.recursive,
                };
                &own
            }
            None => names,
        };
        let shape = self.body(&query.body, query, names, parent);
        self.depth -= 1;
        shape
    }

    fn body(&mut self, body: &SetExpr, query: &Query, names: &Names<'_>, parent: Option<BlockId>) -> Shape {
        if !query.locks.is_empty() {
            self.verb = Verb::LockingRead;
        }
        match body {
            SetExpr::Select(select) => self.select(select, query, names, parent),
            SetExpr::Query(inner) => {
                let mut shape = self.query(inner, names, parent);
                self.tail(query, names, shape.block, parent, &mut shape);
                shape
            }
            SetExpr::SetOperation { .. } => {
                let mut refs = Vec::new();
                self.arms(body, names, parent, &mut refs);
                let mut shape = Shape { refs, ..Shape::default() };
                self.tail(query, names, None, parent, &mut shape);
                shape
            }
            SetExpr::Values(values) => {
                let block = self.new_block(parent);
                self.expressions(&values.rows, names, block);
                Shape { block: Some(block), ..Shape::default() }
            }
            SetExpr::Table(table) => {
                let block = self.new_block(parent);
                let refs = match &table.table_name {
                    Some(name) => {
                        self.named_table(table.schema_name.as_deref(), name, None, names, block, &[])
                    }
                    None => Vec::new(),
                };
                let mut shape = Shape { block: Some(block), refs, ..Shape::default() };
                self.shape_of_columns(&[SelectItem::Wildcard(Default::default())], block, &mut shape);
                shape.plain = true;
                self.tail(query, names, Some(block), parent, &mut shape);
                shape
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse(ClientError::new("SW1215", "a write inside a query"));
                Shape::default()
            }
        }
    }

    /// The arms of UNION, EXCEPT, INTERSECT. Chains are long on the left: the walk down is a loop.
    fn arms(&mut self, body: &SetExpr, names: &Names<'_>, parent: Option<BlockId>, refs: &mut Vec<RefId>) {
        let mut right_arms = Vec::new();
        let mut rest = body;
        while let SetExpr::SetOperation { left, right, .. } = rest {
            right_arms.push(right.as_ref());
            rest = left;
        }
        let bare = bare_query();
        for arm in std::iter::once(rest).chain(right_arms.into_iter().rev()) {
            if self.depth >= DEPTH_MAX {
                self.refuse(ClientError::new("SW1210", format!("queries nested more than {DEPTH_MAX} deep")));
                return;
            }
            self.depth += 1;
            refs.extend(self.body(arm, &bare, names, parent).refs);
            self.depth -= 1;
        }
    }

    /// ORDER BY and LIMIT of a query that is not one SELECT, or of one in parentheses.
    fn tail(
        &mut self,
        query: &Query,
        names: &Names<'_>,
        block: Option<BlockId>,
        parent: Option<BlockId>,
        shape: &mut Shape,
    ) {
        let at = block.unwrap_or_else(|| self.new_block(parent));
        if query.order_by.is_some() {
            self.blocks[at].obstacles.push("ORDER BY");
            if !matches!(query.body.as_ref(), SetExpr::Select(_)) {
                // Of a query in parentheses: looked through here, since nobody did before.
                self.expressions(&query.order_by, names, at);
                shape.plain = false;
            }
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            self.expressions(&query.limit_clause, names, at);
            self.blocks[at].obstacles.push("LIMIT");
            self.limited = true;
            shape.plain = false;
        }
        if !query.pipe_operators.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
            self.refuse(ClientError::new("SW1201", "a clause that MySQL does not have"));
        }
    }

    fn select(
        &mut self,
        select: &Select,
        query: &Query,
        names: &Names<'_>,
        parent: Option<BlockId>,
    ) -> Shape {
        let block = self.new_block(parent);
        let refs = self.from(&select.from, names, block, &[]);
        if let Some(selection) = &select.selection {
            self.condition(selection, block, None, &[]);
            self.expressions(selection, names, block);
        }
        self.expressions(&select.projection, names, block);
        self.expressions(&select.having, names, block);
        self.expressions(&select.named_window, names, block);
        self.expressions(&select.group_by, names, block);
        self.expressions(&query.order_by, names, block);
        self.settle();
        if let (true, Some(selection)) = (self.gathers_filters, &select.selection) {
            self.gather_filters(selection, block);
        }
        let mut shape = Shape { block: Some(block), refs, ..Shape::default() };
        self.shape_of_columns(&select.projection, block, &mut shape);
        self.obstacles(select, block, &mut shape);
        if select.into.is_some() {
            self.blocks[block].obstacles.push("SELECT … INTO");
            shape.plain = false;
        }
        let foreign = select.top.is_some()
            || select.qualify.is_some()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.lateral_views.is_empty();
        if foreign {
            self.refuse(ClientError::new("SW1201", "a clause that MySQL does not have"));
        }
        self.tail(query, names, Some(block), parent, &mut shape);
        shape
    }

    /// What of the block needs rows of all shards at once; with groups that hold the shard key each group is whole on
    /// one shard.
    fn obstacles(&mut self, select: &Select, block: BlockId, shape: &mut Shape) {
        let mut found = Vec::new();
        let mut plain = true;
        let (groups, modifiers): (&[Expr], bool) = match &select.group_by {
            GroupByExpr::All(_) => (&[], true),
            GroupByExpr::Expressions(groups, modifiers) => (groups.as_slice(), !modifiers.is_empty()),
        };
        let grouping = !groups.is_empty() || modifiers || select.having.is_some();
        let aggregated = self.blocks[block].aggregated;
        shape.grouped = grouping || aggregated.is_some();
        if grouping || aggregated.is_some() {
            let keys: Vec<RefId> = groups.iter().filter_map(|group| self.key_of(group, block)).collect();
            let whole = keys.iter().any(|of| self.holds_groups(*of));
            let by_shard = groups.iter().any(|group| self.is_shard_column(group));
            if (!whole && !by_shard) || modifiers || groups.is_empty() {
                if grouping {
                    found.push(if groups.is_empty() { "HAVING" } else { "GROUP BY" });
                }
                found.extend(aggregated);
            }
            plain &= whole && !modifiers;
            shape.exports.retain(|(_, of)| keys.contains(of));
        }
        if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            shape.grouped = true;
            if !shape.exports.iter().any(|(_, of)| self.holds_groups(*of)) {
                found.push("DISTINCT");
                plain = false;
            }
        }
        if self.blocks[block].windowed {
            found.push("a window function");
            plain = false;
        }
        if select.select_modifiers.as_ref().is_some_and(|modifiers| modifiers.sql_calc_found_rows) {
            found.push("SQL_CALC_FOUND_ROWS");
            plain = false;
        }
        if found.is_empty() && !plain {
            // GROUP BY _shard: whole groups, but no condition may be moved below it.
            shape.plain = false;
        } else {
            shape.plain = plain && found.is_empty();
        }
        self.blocks[block].obstacles.extend(found);
    }

    /// Rows with equal keys of this reference are all on one shard, and there is always a key.
    pub(super) fn holds_groups(&self, of: RefId) -> bool {
        let exact = matches!(&self.refs[of].place, Place::Sharded(key) if key.exact);
        exact && !self.is_null_extended(of)
    }

    fn shape_of_columns(&self, items: &[SelectItem], block: BlockId, shape: &mut Shape) {
        let mut columns = Some(Vec::new());
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let name = match expression {
                        Expr::Identifier(column) => Some(column.value.clone()),
                        Expr::CompoundIdentifier(path) => path.last().map(|column| column.value.clone()),
                        _ => None,
                    };
                    if let (Some(name), Some(of)) = (&name, self.key_of(expression, block)) {
                        shape.exports.push((name.clone(), of));
                    }
                    // An expression's column has its text as name: nobody names it by accident.
                    if let (Some(columns), Some(name)) = (&mut columns, name) {
                        columns.push(name);
                    }
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    if let Some(of) = self.key_of(expr, block) {
                        shape.exports.push((alias.value.clone(), of));
                    }
                    if let Some(columns) = &mut columns {
                        columns.push(alias.value.clone());
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let source = split(name)
                        .and_then(|(database, table)| visible(&self.blocks[block], database, table));
                    self.wildcard(source.into_iter(), shape, &mut columns);
                }
                SelectItem::Wildcard(_) => {
                    self.wildcard(self.blocks[block].visible.iter(), shape, &mut columns)
                }
                _ => columns = None,
            }
        }
        if let ([item], [(_, of)]) = (items, shape.exports.as_slice())
            && matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
        {
            shape.only_column = Some(*of);
        }
        shape.columns = columns;
        self.drop_ambiguous(&mut shape.exports);
    }

    fn wildcard<'b>(
        &self,
        sources: impl Iterator<Item = &'b Visible>,
        shape: &mut Shape,
        columns: &mut Option<Vec<String>>,
    ) {
        for source in sources {
            match &source.source {
                Source::Table(of) => {
                    if let Place::Sharded(key) = &self.refs[*of].place {
                        shape.exports.push((key.name.clone(), *of));
                    }
                    match (&self.refs[*of].columns, columns.as_mut()) {
                        (Some(known), Some(columns)) => {
                            columns.extend(known.iter().map(|column| column.name.clone()));
                        }
                        _ => *columns = None,
                    }
                }
                Source::Derived { exports, columns: known } => {
                    shape.exports.extend(exports.iter().cloned());
                    match (known, columns.as_mut()) {
                        (Some(known), Some(columns)) => columns.extend(known.iter().cloned()),
                        _ => *columns = None,
                    }
                }
            }
        }
    }

    /// A name that several keys go by is that of the preserved side (`a LEFT JOIN b USING (key)`), else nobody's.
    fn drop_ambiguous(&self, exports: &mut Vec<(String, RefId)>) {
        let all = exports.clone();
        exports.retain(|(name, of)| {
            let same = all.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
            same == 1 || !self.is_null_extended(*of)
        });
    }

    /// Records what a condition says.
    pub(super) fn condition(
        &mut self,
        condition: &Expr,
        block: BlockId,
        on: Option<JoinId>,
        within: &[JoinId],
    ) {
        self.searches(condition);
        let predicate = self.predicate(condition, block);
        // Conjuncts stand on their own: each rejects its own NULLs and filters its own keys.
        let conjuncts = match predicate {
            Predicate::And(all) => all,
            one => vec![one],
        };
        for predicate in conjuncts {
            self.facts.push(Fact { block, predicate, on, within: within.to_vec() });
        }
    }

    /// Looks through expressions of `block` for subqueries and functions.
    pub(super) fn expressions(&mut self, node: &impl Visit, names: &Names<'_>, block: BlockId) {
        let mut walker = Walker { analysis: self, names, block, depth: 0, member: None };
        // The walk never breaks off, so that its result says nothing.
        let _ = node.visit(&mut walker);
    }

    /// What RETURNING computes of the rows that were written.
    pub(super) fn returning(&mut self, items: Option<&[SelectItem]>, block: BlockId) {
        let Some(items) = items else { return };
        for item in items {
            self.expressions(item, &Names::NONE, block);
        }
        // Several shards' rows would be several results.
        self.hinder("RETURNING");
    }

    /// Notes the searches in a condition that ask no more than whether a row matches. Elsewhere the value is the relevance,
    /// which counts the rows of one server, and without BOOLEAN MODE rows come in its order.
    fn searches(&mut self, condition: &Expr) {
        let mut terms = vec![condition];
        while let Some(term) = terms.pop() {
            match term {
                Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                    terms.extend([left.as_ref(), right.as_ref()]);
                }
                Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => {
                    terms.push(inner);
                }
                Expr::MatchAgainst { opt_search_modifier: Some(SearchModifier::InBooleanMode), .. } => {
                    self.searches.push(std::ptr::from_ref(term));
                }
                _ => {}
            }
        }
    }

    /// The sequence that a function of MariaDB is about; `None` when it is no such function.
    fn sequence(&mut self, function: &Function, block: BlockId) -> Option<()> {
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
        let known =
            ["NEXTVAL", "LASTVAL", "SETVAL"].iter().any(|known| known.eq_ignore_ascii_case(&name.value));
        let FunctionArguments::List(list) = &function.args else { return None };
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.first().filter(|_| known)
        else {
            return None;
        };
        let (database, name) = match argument {
            Expr::Identifier(name) => (None, name),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [database, name] => (Some(database.value.as_str()), name),
                _ => return None,
            },
            _ => return None,
        };
        self.verb = Verb::LockingRead;
        if let Some((of, _)) = self.add_reference(database, &name.value, block)
            && !matches!(self.refs[of].place, Place::Single(_))
        {
            let detail = format!("{}, which counts on each shard for itself", self.refs[of].full_name);
            self.refuse(ClientError::new("SW1202", detail));
        }
        Some(())
    }

    fn function(&mut self, function: &Function, block: BlockId) {
        let Some(name) = function.name.0.last().map(ToString::to_string) else { return };
        let name = name.trim_matches('`');
        if self.sequence(function, block).is_some() {
            self.varying.get_or_insert_with(|| name.to_ascii_uppercase());
            return;
        }
        if let Some(stored) = Stored::of(&function.name) {
            self.stored_function(stored);
        } else if function.over.is_some() {
            self.blocks[block].windowed = true;
            // Of equal rows any may come first.
            self.varying.get_or_insert_with(|| "OVER".to_owned());
        } else if let Some(aggregate) = aggregate(name) {
            let mut columns = Columns::default();
            // The walk never breaks off, so that its result says nothing.
            let _ = function.args.visit(&mut columns);
            let outer = !columns.found.is_empty() && !self.has_column_of_its_own(block, &columns.found);
            self.blocks[block].aggregated = Some(aggregate);
            let mut at = self.blocks[block].parent.filter(|_| outer);
            while let Some(id) = at {
                self.blocks[id].aggregated = Some(aggregate);
                at = self.blocks[id].parent;
            }
        } else if !is_pure(name) {
            self.hinder("a function that may depend on the server it runs on");
        }
        if is_varying(name) || name.eq_ignore_ascii_case("DEFAULT") && self.fills_varying() {
            self.varying.get_or_insert_with(|| name.to_ascii_uppercase());
        }
    }
}

impl Analysis<'_> {
    /// Whether the default of some column would give each copy of a row a value of its own.
    pub(super) fn fills_varying(&self) -> bool {
        let columns = self.refs.iter().filter_map(|reference| reference.columns.as_deref()).flatten();
        columns.filter_map(|column| column.default.as_deref()).any(fills_varying)
    }
}

/// Finds the subqueries that stand directly in an expression.
struct Walker<'w, 'r, 'e> {
    analysis: &'w mut Analysis<'r>,
    names: &'w Names<'e>,
    block: BlockId,
    depth: usize,
    /// `key IN (this subquery)`
    member: Option<(*const Query, RefId)>,
}

impl Visitor for Walker<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.depth == 0 {
            let shape = self.analysis.query(query, self.names, Some(self.block));
            if let Some((subquery, outer)) = self.member.take()
                && std::ptr::eq(subquery, query)
                && let Some(inner) = shape.only_column
                && shape.plain
                && !shape.grouped
            {
                self.analysis.memberships.push((outer, inner));
            }
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        self.analysis.searched |= matches!(expression, Expr::MatchAgainst { .. });
        match expression {
            Expr::Function(function) => self.analysis.function(function, self.block),
            Expr::MatchAgainst { .. }
                if !self.analysis.searches.contains(&std::ptr::from_ref(expression)) =>
            {
                self.analysis.hinder("MATCH … AGAINST but for BOOLEAN MODE in a condition");
            }
            // Functions that need no parentheses; the others of the kind are the clock's.
            Expr::Identifier(name)
                if name.quote_style.is_none()
                    && ["CURRENT_USER", "CURRENT_ROLE"]
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(&name.value)) =>
            {
                self.analysis.varying.get_or_insert_with(|| name.value.to_ascii_uppercase());
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.member = self
                    .analysis
                    .key_of(expr, self.block)
                    .map(|outer| (std::ptr::from_ref(subquery.as_ref()), outer));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The column names in a function's arguments.
#[derive(Default)]
struct Columns {
    found: Vec<Vec<Ident>>,
}

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(column) => self.found.push(vec![column.clone()]),
            Expr::CompoundIdentifier(path) => self.found.push(path.clone()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A query without clauses of its own, for arms of set operations.
fn bare_query() -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Values(sqlparser::ast::Values {
            explicit_row: false,
            value_keyword: false,
            rows: Vec::new(),
        })),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
