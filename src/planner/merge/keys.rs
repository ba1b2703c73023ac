//! How rows compare by an expression: which columns the shards must show for it. Servers compare text by the weights of its
//! collation, ENUM and SET by number, FLOAT by what it holds and not by what it shows: columns for that are appended.

use std::ops::Range;

use sqlparser::ast::Expr;

use super::Obstacle;
use super::builder::{Builder, around};
use super::contents::{Call, Contents};
use super::select::Named;
use super::shape::{KeySource, Piece, Place};
use crate::topology::ColumnType;

/// What is known of an expression's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Comparable as it is shown.
    Shown,
    Text,
    Moment,
    Float,
    /// ENUM, SET.
    Named,
    Nothing,
}

/// How appended columns of a group's key are written: any row of the group will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    Row,
    Group,
}

impl Builder<'_, '_> {
    pub(super) fn known(&self, expression: &Expr) -> Result<Known, Obstacle> {
        if let Some(call) = Call::read(expression) {
            return self.known_aggregate(&call);
        }
        let Named::Column(column) = self.column_of(expression) else { return Ok(Known::Nothing) };
        Ok(match &column.kind {
            ColumnType::Integer { .. } | ColumnType::Decimal | ColumnType::Binary { .. } => Known::Shown,
            ColumnType::Text { .. } => Known::Text,
            ColumnType::Temporal => Known::Moment,
            ColumnType::Other(word) if word.contains(" under ") => {
                return Err("text whose collation no server could explain");
            }
            ColumnType::Other(word) => {
                let end = word.find(['(', ' ']).unwrap_or(word.len());
                match word[..end].to_ascii_lowercase().as_str() {
                    "time" | "year" | "bit" => Known::Shown,
                    "float" | "double" | "real" => Known::Float,
                    "enum" | "set" => Known::Named,
                    "json" => return Err("JSON in ORDER BY, GROUP BY or DISTINCT"),
                    _ => return Err("a column of this type in ORDER BY, GROUP BY or DISTINCT"),
                }
            }
        })
    }

    fn known_aggregate(&self, call: &Call<'_>) -> Result<Known, Obstacle> {
        Ok(match (call.name, call.arguments.as_slice()) {
            ("COUNT" | "SUM" | "AVG" | "BIT_AND" | "BIT_OR" | "BIT_XOR", _) => Known::Shown,
            ("MIN" | "MAX", [argument]) => match self.known(argument)? {
                known @ (Known::Shown | Known::Text | Known::Float) => known,
                // The seconds of a local time that occurs twice are lost; an ENUM has become text.
                Known::Moment | Known::Named | Known::Nothing => Known::Nothing,
            },
            _ => Known::Nothing,
        })
    }

    /// The columns by which rows compare like `expression`; `shown` is where the client's own columns have it.
    pub(super) fn key(
        &mut self,
        expression: &Expr,
        tokens: &Range<u32>,
        shown: Option<Place>,
        each: Each,
    ) -> Result<KeySource, Obstacle> {
        if let Some(obstacle) = Contents::of(expression).unfit() {
            return Err(obstacle);
        }
        self.repeatable(tokens, "a variable or parameter in ORDER BY, GROUP BY or DISTINCT")?;
        let known = self.known(expression)?;
        let each = if Contents::of(expression).aggregate { Each::Row } else { each };
        Ok(match known {
            Known::Shown => KeySource::Value(self.shown(tokens, shown, each)),
            Known::Text => {
                let (weights, padding) = self.weights(tokens, each);
                KeySource::Text { weights, padding }
            }
            Known::Moment => {
                let value = self.shown(tokens, shown, each);
                let seconds = self.append(written(around("UNIX_TIMESTAMP(", tokens, ")"), each));
                KeySource::Moment { value, seconds }
            }
            Known::Float => KeySource::Value(self.append(written(around("(", tokens, ")+0e0"), each))),
            Known::Named => {
                KeySource::Value(self.append(written(around("CAST(", tokens, " AS UNSIGNED)"), each)))
            }
            Known::Nothing => {
                let value = self.shown(tokens, shown, each);
                let (weights, padding) = self.weights(tokens, each);
                KeySource::Unknown { value, weights, padding }
            }
        })
    }

    fn shown(&mut self, tokens: &Range<u32>, shown: Option<Place>, each: Each) -> Place {
        shown.unwrap_or_else(|| self.append(written(vec![Piece::Tokens(tokens.clone())], each)))
    }

    /// The weights of a text, and those of two spaces under its collation if that pads texts with spaces to compare them.
    pub(super) fn weights(&mut self, tokens: &Range<u32>, each: Each) -> (Place, Place) {
        let weights = self.append(written(around("WEIGHT_STRING(", tokens, ")"), each));
        let mut padding = around("IF((", tokens, ") IS NULL,NULL,IF(LEFT(");
        padding.extend(around("", tokens, ",0)=CONCAT(LEFT("));
        padding.extend(around("", tokens, ",0),' '),WEIGHT_STRING(CONCAT(LEFT("));
        padding.extend(around("", tokens, ",0),'  ')),_binary'-'))"));
        (weights, self.append(written(padding, each)))
    }
}

fn written(expression: Vec<Piece>, each: Each) -> Vec<Piece> {
    match each {
        Each::Row => expression,
        Each::Group => {
            let open = std::iter::once(Piece::Text("MAX(".to_owned()));
            open.chain(expression).chain(std::iter::once(Piece::Text(")".to_owned()))).collect()
        }
    }
}
