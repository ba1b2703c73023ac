//! The kind of a statement from its first words, fed token by token. Sees through leading parentheses and WITH.

use super::body::Body;
use super::lex::{Token, TokenKind};
use super::{Kind, Word};

#[derive(Debug, Default)]
pub(super) struct KindReader {
    kind: Kind,
    stage: Stage,
    verb_at: u32,
    /// Semicolons inside belong to the statement.
    body: Option<Body>,
    /// The depth at which WITH stands.
    base: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    First,
    /// Behind WITH, before the verb.
    With,
    /// The word before decides nothing yet.
    Second(Word),
    /// CREATE, ALTER, DROP, RENAME: looking for what kind of object; holds the word before.
    Object(Word),
    Done,
}

impl KindReader {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn verb_at(&self) -> u32 {
        self.verb_at
    }

    pub(super) fn body(&mut self) -> Option<&mut Body> {
        self.body.as_mut()
    }

    /// Whether no later token can change the kind.
    pub(super) fn is_known(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Takes the next token; `depth` counts the parentheses around it.
    #[inline]
    pub(super) fn token(&mut self, token: &Token, word: Word, depth: u32) {
        if self.stage != Stage::Done {
            self.undecided(token, word, depth);
        }
    }

    fn undecided(&mut self, token: &Token, word: Word, depth: u32) {
        match self.stage {
            Stage::First => match token.kind {
                TokenKind::Symbol(b'(') => {}
                TokenKind::Word(_) => {
                    self.verb_at = token.start;
                    self.base = depth;
                    self.first(word);
                }
                _ => self.decide(Kind::Other),
            },
            Stage::With => self.with(token, word, depth),
            Stage::Second(first) => self.second(first, word),
            Stage::Object(before) => self.object(before, word),
            Stage::Done => {}
        }
    }

    fn decide(&mut self, kind: Kind) {
        self.kind = kind;
        self.stage = Stage::Done;
    }

    fn first(&mut self, word: Word) {
        self.decide(match word {
            Word::Select | Word::Table | Word::Values | Word::With => Kind::Select,
            Word::Insert => Kind::Insert,
            Word::Replace => Kind::Replace,
            Word::Update => Kind::Update,
            Word::Delete => Kind::Delete,
            Word::Begin => Kind::Begin,
            Word::Commit => Kind::Commit,
            Word::Rollback => Kind::Rollback,
            Word::Savepoint | Word::Release => Kind::Savepoint,
            Word::Set => Kind::Set,
            Word::Use => Kind::Use,
            Word::Show => Kind::Show,
            Word::Explain | Word::Describe | Word::Desc | Word::Analyze => Kind::Explain,
            Word::Create | Word::Alter | Word::Drop | Word::Rename | Word::Truncate => Kind::Definition,
            Word::Grant | Word::Revoke => Kind::Grant,
            Word::Check
            | Word::Optimize
            | Word::Repair
            | Word::Checksum
            | Word::Flush
            | Word::Reset
            | Word::Purge
            | Word::Change
            | Word::Start
            | Word::Stop
            | Word::Install
            | Word::Uninstall
            | Word::Cache
            | Word::Binlog
            | Word::Shutdown
            | Word::Restart
            | Word::Clone
            | Word::Import
            | Word::Backup
            | Word::Lock
            | Word::Unlock => Kind::Administration,
            Word::Call => Kind::Call,
            Word::Do => Kind::Do,
            Word::Prepare | Word::Execute | Word::Deallocate => Kind::Prepare,
            Word::Xa => Kind::Xa,
            Word::Load => Kind::Load,
            Word::Handler => Kind::Handler,
            Word::Kill => Kind::Kill,
            Word::Shardway => Kind::Shardway,
            _ => Kind::Other,
        });
        match word {
            Word::With => self.stage = Stage::With,
            Word::Create | Word::Alter | Word::Drop | Word::Rename => self.stage = Stage::Object(word),
            Word::Begin
            | Word::Rollback
            | Word::Set
            | Word::Analyze
            | Word::Start
            | Word::Lock
            | Word::Unlock
            | Word::Load => self.stage = Stage::Second(word),
            _ => {}
        }
    }

    fn with(&mut self, token: &Token, word: Word, depth: u32) {
        if depth != self.base {
            return;
        }
        let kind = match word {
            Word::Select | Word::Table | Word::Values => Kind::Select,
            Word::Update => Kind::Update,
            Word::Delete => Kind::Delete,
            Word::Insert => Kind::Insert,
            Word::Replace => Kind::Replace,
            _ => return,
        };
        self.verb_at = token.start;
        self.decide(kind);
    }

    fn second(&mut self, first: Word, word: Word) {
        let kind = match (first, word) {
            // MariaDB's compound statement outside of a program.
            (Word::Begin, Word::Not) => {
                self.body = Some(Body::block());
                Kind::Other
            }
            (Word::Start, Word::Transaction) => Kind::Begin,
            (Word::Rollback, Word::To) => Kind::Savepoint,
            (Word::Rollback, Word::Work) => return,
            (Word::Set, Word::Transaction) => Kind::SetTransaction,
            (Word::Set, Word::Statement) => Kind::Other,
            (Word::Set, Word::Global | Word::Session | Word::Local) => return,
            (Word::Analyze, Word::Table | Word::Tables | Word::Local | Word::NoWriteToBinlog) => {
                Kind::Administration
            }
            (Word::Lock, Word::Table | Word::Tables) => Kind::LockTables,
            (Word::Unlock, Word::Table | Word::Tables) => Kind::UnlockTables,
            (Word::Load, Word::Index) => Kind::Administration,
            _ => self.kind,
        };
        self.decide(kind);
    }

    fn object(&mut self, before: Word, word: Word) {
        let kind = match word {
            Word::User | Word::Role
                if matches!(
                    before,
                    Word::Create | Word::Alter | Word::Drop | Word::Rename | Word::Replace
                ) =>
            {
                Kind::Grant
            }
            Word::Procedure | Word::Function | Word::Trigger | Word::Event | Word::Package => {
                self.body = Some(if word == Word::Package { Body::package() } else { Body::program() });
                Kind::Definition
            }
            Word::Table
            | Word::Tables
            | Word::View
            | Word::Index
            | Word::Database
            | Word::Schema
            | Word::Sequence => Kind::Definition,
            Word::Server
            | Word::Tablespace
            | Word::Logfile
            | Word::Instance
            | Word::Resource
            | Word::Undo => Kind::Administration,
            Word::Prepare => Kind::Prepare,
            _ => {
                self.stage = Stage::Object(word);
                return;
            }
        };
        self.decide(kind);
    }
}
