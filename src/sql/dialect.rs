//! MySQL's grammar where sqlparser's MySQL dialect departs from it: how tightly operators bind, prefix operators, and
//! joins without ON. Everything else is asked of the original.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, CastKind, DataType, Expr, UnaryOperator};
use sqlparser::dialect::{Dialect, MySqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// How tightly operators bind, from MySQL's grammar.
mod binding {
    pub(super) const NOTHING: u8 = 0;
    pub(super) const OR: u8 = 5;
    pub(super) const XOR: u8 = 10;
    pub(super) const AND: u8 = 15;
    pub(super) const NOT: u8 = 20;
    /// `=`, `<=>`, `<`, …, IS.
    pub(super) const COMPARISON: u8 = 30;
    /// LIKE, IN, BETWEEN, REGEXP, MEMBER OF.
    pub(super) const PREDICATE: u8 = 35;
    pub(super) const PIPE: u8 = 40;
    pub(super) const AMPERSAND: u8 = 45;
    pub(super) const SHIFT: u8 = 50;
    pub(super) const SUM: u8 = 55;
    pub(super) const PRODUCT: u8 = 60;
    pub(super) const CARET: u8 = 65;
    /// `||` under PIPES_AS_CONCAT.
    pub(super) const CONCATENATION: u8 = 67;
    /// `-`, `+`, `~` in front of an operand.
    pub(super) const SIGN: u8 = 70;
    /// `!`, and NOT under HIGH_NOT_PRECEDENCE.
    pub(super) const BANG: u8 = 75;
    pub(super) const BINARY: u8 = 80;
    pub(super) const ARROW: u8 = 90;
    pub(super) const POINT: u8 = 100;
}

/// sqlparser's MySQL dialect, repaired.
#[derive(Debug)]
pub(super) struct RepairedDialect {
    pub(super) high_not_precedence: bool,
}

const ORIGINAL: MySqlDialect = MySqlDialect {};

impl RepairedDialect {
    fn prefix(&self, parser: &mut Parser) -> Result<Option<Expr>, ParserError> {
        let unary = |parser: &mut Parser, op, binding| {
            parser.advance_token();
            let expr = Box::new(parser.parse_subexpr(binding)?);
            Ok(Some(Expr::UnaryOp { op, expr }))
        };
        match &parser.peek_token_ref().token {
            Token::Minus => unary(parser, UnaryOperator::Minus, binding::SIGN),
            Token::Plus => unary(parser, UnaryOperator::Plus, binding::SIGN),
            Token::Tilde => unary(parser, UnaryOperator::BitwiseNot, binding::SIGN),
            Token::ExclamationMark => unary(parser, UnaryOperator::Not, binding::BANG),
            Token::Word(word) if word.keyword == Keyword::NOT && self.high_not_precedence => {
                if matches!(&parser.peek_nth_token_ref(1).token, Token::Word(next) if next.keyword == Keyword::EXISTS)
                {
                    return Ok(None);
                }
                unary(parser, UnaryOperator::Not, binding::BANG)
            }
            Token::Word(word) if word.keyword == Keyword::BINARY => {
                parser.advance_token();
                Ok(Some(Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(parser.parse_subexpr(binding::BINARY)?),
                    data_type: DataType::Binary(None),
                    format: None,
                }))
            }
            Token::Placeholder(name)
                if name.starts_with('@') && parser.peek_nth_token_ref(1).token == Token::Assignment =>
            {
                let left = Box::new(Expr::Value(parser.parse_value()?));
                parser.advance_token();
                let right = Box::new(parser.parse_subexpr(binding::NOTHING)?);
                Ok(Some(Expr::BinaryOp { left, op: BinaryOperator::Assignment, right }))
            }
            _ => Ok(None),
        }
    }

    /// `a BETWEEN b AND c LIKE d` is `a BETWEEN b AND (c LIKE d)`.
    fn between(&self, parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
        let low = Box::new(parser.parse_subexpr(binding::PREDICATE)?);
        parser.expect_keyword_is(Keyword::AND)?;
        let high = Box::new(parser.parse_subexpr(binding::PREDICATE - 1)?);
        Ok(Expr::Between { expr: Box::new(expr.clone()), negated, low, high })
    }
}

/// `a LIKE b NOT IN (c)`: MySQL refuses what MariaDB groups from the right, so it is not read at all.
fn is_predicate(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Like { .. }
            | Expr::RLike { .. }
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::MemberOf(..)
    )
}

impl Dialect for RepairedDialect {
    /// The parser's checks for MySQL hold for this dialect, too.
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Period => binding::POINT,
            Precedence::DoubleColon | Precedence::AtTz | Precedence::PgOther | Precedence::Colon => {
                binding::ARROW
            }
            Precedence::MulDivModOp => binding::PRODUCT,
            Precedence::PlusMinus => binding::SUM,
            Precedence::Xor => binding::XOR,
            Precedence::Ampersand => binding::AMPERSAND,
            Precedence::Caret => binding::CARET,
            Precedence::Pipe => binding::PIPE,
            Precedence::Between | Precedence::Like => binding::PREDICATE,
            Precedence::Eq | Precedence::Is => binding::COMPARISON,
            Precedence::UnaryNot => binding::NOT,
            Precedence::And => binding::AND,
            Precedence::Or => binding::OR,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let binding = match &parser.peek_token_ref().token {
            Token::Arrow | Token::LongArrow => binding::ARROW,
            Token::StringConcat => binding::CONCATENATION,
            Token::Caret => binding::CARET,
            Token::Mul | Token::Div | Token::Mod => binding::PRODUCT,
            Token::ShiftLeft | Token::ShiftRight => binding::SHIFT,
            // In the middle of an expression these are operators of other systems.
            Token::Assignment | Token::Tilde | Token::ExclamationMark | Token::Colon => binding::NOTHING,
            _ => return None,
        };
        Some(Ok(binding))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.prefix(parser).transpose()
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if precedence == binding::PREDICATE && is_predicate(expr) {
            let expected = "parentheses around one of two predicates";
            return Some(parser.expected_ref(expected, parser.peek_token_ref()));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::BETWEEN]) {
            return Some(self.between(parser, expr, true));
        }
        if parser.parse_keyword(Keyword::BETWEEN) {
            return Some(self.between(parser, expr, false));
        }
        ORIGINAL.parse_infix(parser, expr, precedence)
    }

    /// `t1 JOIN t2 RIGHT JOIN t3 ON …` is `(t1 JOIN t2) RIGHT JOIN t3`.
    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ORIGINAL.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ORIGINAL.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ORIGINAL.is_delimited_identifier_start(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        ORIGINAL.identifier_quote_style(identifier)
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        ORIGINAL.is_table_factor_alias(explicit, keyword, parser)
    }

    /// Words that are never names: without this, one whose expression cannot be read is taken for a column.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        matches!(
            keyword,
            Keyword::NOT
                | Keyword::CASE
                | Keyword::EXISTS
                | Keyword::MATCH
                | Keyword::CONVERT
                | Keyword::NULL
                | Keyword::TRUE
                | Keyword::FALSE
        ) || ORIGINAL.is_reserved_for_identifier(keyword)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    fn ignores_wildcard_escapes(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_insert_set(&self) -> bool {
        true
    }

    fn supports_table_hints(&self) -> bool {
        true
    }

    fn supports_match_against(&self) -> bool {
        true
    }

    fn supports_select_modifiers(&self) -> bool {
        true
    }

    fn supports_update_order_by(&self) -> bool {
        true
    }

    fn supports_data_type_signed_suffix(&self) -> bool {
        true
    }

    fn supports_cross_join_constraint(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }
}
