//! Conditions as far as routing understands them: comparisons of shard keys with constants and with each other.
//! Everything else is `Unknown`, which filters nothing. A condition is read once, while the AST is at hand, and says
//! which table reference each comparison is about; which of them may filter what is decided by `proof`.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, ValueWithSpan};
use sqlparser::tokenizer::Location;

use super::analysis::{Analysis, BlockId, RefId};
use super::physical::{KeyExpression, KeyFilter};
use crate::sql::{LiteralClass, offset_of};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Predicate {
    Unknown,
    Never,
    /// The shard key of this table reference passes the filter. NULL never does.
    Key(RefId, KeyFilter),
    /// The shard keys of two references are equal.
    Equal(RefId, RefId),
    /// `_shard` is one of these.
    Shard(Vec<KeyExpression>),
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
}

impl Predicate {
    /// What the condition says about keys of any of `refs`, whose keys are known to be equal.
    pub(super) fn filter(&self, refs: &[RefId]) -> KeyFilter {
        match self {
            Predicate::Unknown | Predicate::Equal(..) => KeyFilter::All,
            Predicate::Never => KeyFilter::Nothing,
            Predicate::Key(of, filter) if refs.contains(of) => filter.clone(),
            Predicate::Key(..) => KeyFilter::All,
            Predicate::Shard(names) => KeyFilter::Shard(names.clone()),
            Predicate::And(all) => KeyFilter::and(all.iter().map(|one| one.filter(refs))),
            Predicate::Or(any) => KeyFilter::or(any.iter().map(|one| one.filter(refs))),
        }
    }

    /// References that cannot be NULL-extended where this holds.
    pub(super) fn rejects_null_of(&self) -> Vec<RefId> {
        match self {
            Predicate::Unknown | Predicate::Never | Predicate::Shard(_) => Vec::new(),
            Predicate::Key(of, _) => vec![*of],
            Predicate::Equal(left, right) => vec![*left, *right],
            Predicate::And(all) => all.iter().flat_map(Predicate::rejects_null_of).collect(),
            Predicate::Or(any) => {
                let mut each = any.iter().map(Predicate::rejects_null_of);
                let Some(mut common) = each.next() else { return Vec::new() };
                for other in each {
                    common.retain(|of| other.contains(of));
                }
                common
            }
        }
    }

    /// The key equalities that hold wherever this holds.
    pub(super) fn equalities(&self) -> Vec<(RefId, RefId)> {
        match self {
            Predicate::Equal(left, right) => vec![(*left, *right)],
            Predicate::And(all) => all.iter().flat_map(Predicate::equalities).collect(),
            _ => Vec::new(),
        }
    }
}

/// Which way a comparison reads with the key on the left.
#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    NullSafeEqual,
    Less { inclusive: bool },
    Greater { inclusive: bool },
}

impl Comparison {
    fn of(operator: &BinaryOperator) -> Option<Comparison> {
        Some(match operator {
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::Spaceship => Comparison::NullSafeEqual,
            BinaryOperator::Lt => Comparison::Less { inclusive: false },
            BinaryOperator::LtEq => Comparison::Less { inclusive: true },
            BinaryOperator::Gt => Comparison::Greater { inclusive: false },
            BinaryOperator::GtEq => Comparison::Greater { inclusive: true },
            _ => return None,
        })
    }

    fn flipped(self) -> Comparison {
        match self {
            Comparison::Less { inclusive } => Comparison::Greater { inclusive },
            Comparison::Greater { inclusive } => Comparison::Less { inclusive },
            same => same,
        }
    }

    fn filter(self, value: KeyExpression) -> Option<KeyFilter> {
        if value == KeyExpression::Null {
            return match self {
                // `key <=> NULL` asks for NULL keys: says nothing that routing could use.
                Comparison::NullSafeEqual => None,
                _ => Some(KeyFilter::Nothing),
            };
        }
        Some(match self {
            Comparison::Equal | Comparison::NullSafeEqual => KeyFilter::Equal(value),
            Comparison::Less { inclusive } => {
                KeyFilter::Between { low: None, high: Some((value, inclusive)) }
            }
            Comparison::Greater { inclusive } => {
                KeyFilter::Between { low: Some((value, inclusive)), high: None }
            }
        })
    }
}

impl Analysis<'_> {
    /// Reads a condition of `block`.
    pub(super) fn predicate(&self, condition: &Expr, block: BlockId) -> Predicate {
        match condition {
            Expr::Nested(inner) => self.predicate(inner, block),
            Expr::BinaryOp { op: operator @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                let terms = chain(condition, operator);
                let terms = terms.into_iter().map(|term| self.predicate(term, block));
                match operator {
                    BinaryOperator::And => Predicate::And(terms.collect()),
                    _ => Predicate::Or(terms.collect()),
                }
            }
            Expr::BinaryOp { left, op, right } => match Comparison::of(op) {
                Some(comparison) => self.comparison(left, comparison, right, block),
                None => Predicate::Unknown,
            },
            Expr::InList { expr, list, negated: false } => self.membership(expr, list, block),
            Expr::Between { expr, negated: false, low, high } => self.between(expr, low, high, block),
            Expr::Value(ValueWithSpan { value: Value::Boolean(false) | Value::Null, .. }) => Predicate::Never,
            _ => Predicate::Unknown,
        }
    }

    fn comparison(&self, left: &Expr, comparison: Comparison, right: &Expr, block: BlockId) -> Predicate {
        if let (Some(left), Some(right)) = (row(left), row(right)) {
            let componentwise = matches!(comparison, Comparison::Equal | Comparison::NullSafeEqual);
            if !componentwise || left.len() != right.len() {
                return Predicate::Unknown;
            }
            let pairs = left.iter().zip(right);
            return Predicate::And(
                pairs.map(|(left, right)| self.comparison(left, comparison, right, block)).collect(),
            );
        }
        if let (Some(left), Some(right)) = (self.key_of(left, block), self.key_of(right, block)) {
            return match comparison {
                Comparison::Equal if left != right => Predicate::Equal(left, right),
                _ => Predicate::Unknown,
            };
        }
        let (key, comparison, value) = match self.constant(right) {
            Some(value) => (left, comparison, value),
            None => match self.constant(left) {
                Some(value) => (right, comparison.flipped(), value),
                None => return Predicate::Unknown,
            },
        };
        if self.is_shard_column(key) {
            return match comparison {
                Comparison::Equal | Comparison::NullSafeEqual => Predicate::Shard(vec![value]),
                _ => Predicate::Unknown,
            };
        }
        if matches!(comparison, Comparison::NullSafeEqual) && self.may_be_null(&value) {
            return Predicate::Unknown;
        }
        match (self.key_of(key, block), comparison.filter(value)) {
            (Some(of), Some(filter)) => Predicate::Key(of, filter),
            _ => Predicate::Unknown,
        }
    }

    /// What a `?` stands for is not known yet, and `key <=> NULL` asks for NULL keys.
    pub(super) fn may_be_null(&self, value: &KeyExpression) -> bool {
        match value {
            KeyExpression::Null => true,
            KeyExpression::Slot(slot) | KeyExpression::Negated(slot) => {
                let literals = &self.request.statement.literals;
                literals.get(*slot).is_none_or(|literal| literal.class == LiteralClass::Placeholder)
            }
            KeyExpression::Arithmetic { left, right, .. } => {
                self.may_be_null(left) || self.may_be_null(right)
            }
        }
    }

    fn membership(&self, key: &Expr, list: &[Expr], block: BlockId) -> Predicate {
        if let Some(columns) = row(key) {
            return self.row_membership(columns, list, block);
        }
        let Some(elements) = list.iter().map(|element| self.constant(element)).collect::<Option<Vec<_>>>()
        else {
            return Predicate::Unknown;
        };
        if self.is_shard_column(key) {
            return Predicate::Shard(elements);
        }
        let Some(of) = self.key_of(key, block) else { return Predicate::Unknown };
        let split = list.iter().all(stands_alone);
        Predicate::Key(of, in_filter(elements, split))
    }

    /// `(a, key) IN ((1, 2), (3, 4))`: the key is one of the second components.
    fn row_membership(&self, columns: &[Expr], list: &[Expr], block: BlockId) -> Predicate {
        let Some(rows) = list.iter().map(row).collect::<Option<Vec<_>>>() else { return Predicate::Unknown };
        if rows.iter().any(|row| row.len() != columns.len()) {
            return Predicate::Unknown;
        }
        let components = columns.iter().enumerate().map(|(place, column)| {
            let Some(of) = self.key_of(column, block) else { return Predicate::Unknown };
            match rows.iter().map(|row| self.constant(&row[place])).collect::<Option<Vec<_>>>() {
                Some(elements) => Predicate::Key(of, in_filter(elements, false)),
                None => Predicate::Unknown,
            }
        });
        Predicate::And(components.collect())
    }

    fn between(&self, key: &Expr, low: &Expr, high: &Expr, block: BlockId) -> Predicate {
        let Some(of) = self.key_of(key, block) else { return Predicate::Unknown };
        let (low, high) = (self.constant(low), self.constant(high));
        if low == Some(KeyExpression::Null) || high == Some(KeyExpression::Null) {
            // NULL on one side may still be FALSE, but it is never TRUE.
            return Predicate::Key(of, KeyFilter::Nothing);
        }
        // The type of either end decides how the other is compared.
        if low.is_none() || high.is_none() {
            return Predicate::Unknown;
        }
        let bound = |value: Option<KeyExpression>| value.map(|value| (value, true));
        Predicate::Key(of, KeyFilter::Between { low: bound(low), high: bound(high) })
    }

    /// The expression as a constant over literal slots.
    pub(super) fn constant(&self, expression: &Expr) -> Option<KeyExpression> {
        match expression {
            Expr::Nested(inner) => self.constant(inner),
            Expr::Value(ValueWithSpan { value: Value::Null, .. }) => Some(KeyExpression::Null),
            Expr::Value(value) => self.slot(value.span.start).map(KeyExpression::Slot),
            Expr::Prefixed { prefix, value } => match value.as_ref() {
                Expr::Value(value) => self
                    .slot(prefix.span.start)
                    .or_else(|| self.slot(value.span.start))
                    .map(KeyExpression::Slot),
                _ => None,
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.constant(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.constant(expr)? {
                KeyExpression::Slot(slot) => Some(KeyExpression::Negated(slot)),
                KeyExpression::Negated(slot) => Some(KeyExpression::Slot(slot)),
                KeyExpression::Null => Some(KeyExpression::Null),
                KeyExpression::Arithmetic { .. } => None,
            },
            Expr::BinaryOp { left, op, right } => {
                let operator = match op {
                    BinaryOperator::Plus => '+',
                    BinaryOperator::Minus => '-',
                    BinaryOperator::Multiply => '*',
                    _ => return None,
                };
                let (left, right) = (self.constant(left)?, self.constant(right)?);
                if left == KeyExpression::Null || right == KeyExpression::Null {
                    return Some(KeyExpression::Null);
                }
                Some(KeyExpression::Arithmetic { operator, left: Box::new(left), right: Box::new(right) })
            }
            _ => None,
        }
    }

    /// The slot of the literal at a location.
    pub(super) fn slot(&self, location: Location) -> Option<usize> {
        self.request.statement.slot_at(offset_of(location)?)
    }
}

/// NULL is a member of nothing; a list of NULLs alone matches no row.
fn in_filter(elements: Vec<KeyExpression>, split: bool) -> KeyFilter {
    let before = elements.len();
    let elements: Vec<_> = elements.into_iter().filter(|element| *element != KeyExpression::Null).collect();
    // A NULL in the list makes the result NULL instead of FALSE, which a shard's part of the list must keep: not split.
    let split = split && elements.len() == before && before > 1;
    match <[KeyExpression; 1]>::try_from(elements) {
        // Alone it compares as `=` does. Beside a NULL it does not: servers then compare strings and numbers as DOUBLE.
        Ok([element]) if before == 1 => KeyFilter::Equal(element),
        Ok(element) => KeyFilter::In { elements: element.into(), split: false },
        Err(elements) if elements.is_empty() => KeyFilter::Nothing,
        Err(elements) => KeyFilter::In { elements, split },
    }
}

/// A literal, possibly negated, without parentheses: its bytes can be cut out of a list.
fn stands_alone(element: &Expr) -> bool {
    match element {
        Expr::Value(_) => true,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => matches!(expr.as_ref(), Expr::Value(_)),
        _ => false,
    }
}

fn row(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::Tuple(components) => Some(components),
        Expr::Nested(inner) => row(inner),
        _ => None,
    }
}

/// The terms of a chain of one operator. Such chains are as long as the statement, so the walk down the left is a loop.
fn chain<'e>(expression: &'e Expr, operator: &BinaryOperator) -> Vec<&'e Expr> {
    let mut terms = Vec::new();
    let mut rest = expression;
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == operator => {
                terms.push(right.as_ref());
                rest = left;
            }
            _ => break,
        }
    }
    terms.push(rest);
    terms.reverse();
    terms
}
