//! HAVING over whole groups: exact numbers against literals.

use super::decimal;
use super::key::{is_decimal, is_whole};
use super::merger::MergeError;
use super::row::Row;
use crate::planner::{Comparison, Condition};
use crate::wire::ColumnDefinition;

#[derive(Debug)]
pub(super) struct Filter {
    tests: Vec<Test>,
}

#[derive(Debug)]
struct Test {
    column: usize,
    comparison: Comparison,
    number: Vec<u8>,
}

impl Filter {
    /// `literals` stand in the order of `conditions`, as the client wrote them.
    pub(super) fn new(
        conditions: &[Condition],
        literals: &[Vec<u8>],
        columns: &[ColumnDefinition],
        hidden: usize,
    ) -> Result<Filter, MergeError> {
        let test = |(condition, literal): (&Condition, &Vec<u8>)| {
            let column = condition.value.index(columns.len(), hidden).ok_or(MergeError::Columns)?;
            let exact = is_whole(&columns[column]) || is_decimal(&columns[column]);
            if !exact || !decimal::is_number(literal) {
                return Err(MergeError::Type { column, what: "a comparison of this type in HAVING" });
            }
            let mut number = literal.clone();
            if condition.negated {
                number.insert(0, b'-');
            }
            Ok(Test { column, comparison: condition.comparison, number })
        };
        if literals.len() != conditions.len() {
            return Err(MergeError::Columns);
        }
        Ok(Filter { tests: conditions.iter().zip(literals).map(test).collect::<Result<_, _>>()? })
    }

    /// What is compared with NULL is never true.
    pub(super) fn keeps(&self, row: &Row) -> Result<bool, MergeError> {
        for test in &self.tests {
            let Some(value) = row.value(test.column) else { return Ok(false) };
            let order =
                decimal::compare(value, &test.number).ok_or(MergeError::Value { column: test.column })?;
            let holds = match test.comparison {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
