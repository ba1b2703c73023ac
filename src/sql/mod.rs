//! Text to kind, fingerprint, parameters and AST; and spans back into the text. SQL is bytes: nothing here asks for
//! UTF-8. Knows MySQL's lexical rules and nothing of shards.
//!
//! * `scan` — one pass over the bytes of a statement: kind, fingerprint, literals, VALUES rows, hint, features.
//! * `parse` — the only call into sqlparser, fed with our tokens so that locations are byte offsets.
//! * `outline` — verb and object names of statements that need no grammar (DDL, SHOW, administration).
//! * `assignment` — the assignments of a SET statement. `control` — BEGIN, COMMIT, SAVEPOINT and their kin.
//! * `load` — the fields and lines of LOAD DATA.
//! * `literal` — the value of a literal. `splice`, `redact` — the text with spans replaced, or without its values.

mod context;
mod statement;

mod comment;
mod keyword;
mod lex;

mod body;
mod features;
mod hint;
mod kind;
mod scan;

pub(crate) mod literal;
mod redact;
pub(crate) mod splice;

mod dialect;
mod parse;
mod rewrite;

mod assignment;
mod control;
mod cursor;
mod load;
mod outline;

#[cfg(test)]
mod testing;

pub(crate) use assignment::{AssignedValue, Assignment, Target, assignments};
pub(crate) use context::{Charset, Context, Flavor, SqlMode};
pub(crate) use control::{
    AccessMode, TransactionControl, TransactionScope, TransactionSettings, control, transaction_settings,
};
pub(crate) use keyword::Word;
pub(crate) use lex::{Lexer, Token, TokenKind, symbol, tokens};
pub(crate) use literal::{Parameter, Value, decode, decode_raw};
pub(crate) use load::{FieldTarget, FileFormat, FileLoad, file_load};
pub(crate) use outline::{KillTarget, Object, ObjectKind, Outline, Show, ShowWhat, Verb, outline};
pub(crate) use parse::{ParseError, parse};
pub(crate) use redact::redact;
pub(crate) use rewrite::offset_of;
pub(crate) use splice::splice;
pub(crate) use statement::{
    Feature, Features, Hint, HintRole, Kind, Literal, LiteralClass, Row, ScanError, Statement,
};
