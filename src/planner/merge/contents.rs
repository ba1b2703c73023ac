//! What an expression is made of, as far as merging must know.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Visit, Visitor,
};

use super::Obstacle;
use crate::planner::function;

#[derive(Default)]
pub(super) struct Contents {
    /// The last part of every column name.
    pub(super) names: Vec<String>,
    /// Another value at every evaluation or on every server.
    pub(super) varies: bool,
    pub(super) subquery: bool,
    pub(super) aggregate: bool,
    pub(super) window: bool,
}

impl Contents {
    pub(super) fn of(node: &impl Visit) -> Contents {
        let mut contents = Contents::default();
        // The walk never breaks off, so that its result says nothing.
        let _ = node.visit(&mut contents);
        contents
    }

    /// What keeps the expression from being evaluated again in a column of its own.
    pub(super) fn unfit(&self) -> Option<Obstacle> {
        match self {
            Contents { subquery: true, .. } => Some("a subquery in ORDER BY, GROUP BY or an aggregate"),
            Contents { varies: true, .. } => {
                Some("a function that varies in ORDER BY, GROUP BY or an aggregate")
            }
            Contents { window: true, .. } => Some("a window function"),
            _ => None,
        }
    }
}

impl Visitor for Contents {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.subquery = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(column) => self.names.push(column.value.clone()),
            Expr::CompoundIdentifier(path) => {
                self.names.extend(path.last().map(|column| column.value.clone()));
            }
            Expr::Function(call) => {
                let name = call.name.0.last().map(ToString::to_string).unwrap_or_default();
                let name = name.trim_matches('`');
                self.window |= call.over.is_some();
                self.aggregate |= call.over.is_none() && function::aggregate(name).is_some();
                // Stored functions may do anything.
                self.varies |= function::is_varying(name)
                    || call.name.0.len() > 1
                    || (function::aggregate(name).is_none() && !function::is_pure(name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// An aggregate function over rows.
pub(super) struct Call<'e> {
    pub(super) name: &'static str,
    pub(super) distinct: bool,
    /// Empty for `COUNT(*)`.
    pub(super) arguments: Vec<&'e Expr>,
}

impl<'e> Call<'e> {
    /// `None` for what is not one aggregate function and nothing else.
    pub(super) fn read(expression: &'e Expr) -> Option<Call<'e>> {
        let Expr::Function(call) = expression else { return None };
        let [name] = call.name.0.as_slice() else { return None };
        let name = function::aggregate(name.to_string().trim_matches('`'))?;
        let FunctionArguments::List(list) = &call.args else { return None };
        let plain = call.over.is_none()
            && call.filter.is_none()
            && call.within_group.is_empty()
            && list.clauses.is_empty();
        let mut arguments = Vec::new();
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => arguments.push(expression),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {}
                _ => return None,
            }
        }
        let distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        plain.then_some(Call { name, distinct, arguments })
    }
}
