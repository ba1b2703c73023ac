//! What a statement mentions that matters beyond its tables: session state it reads, locks, side effects. Errs on the
//! side of mentioning too much.

use super::lex::{Token, TokenKind, symbol};
use super::{Feature, Features, Kind, Word};

#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What the name just read means if a parenthesis follows.
    function: Option<Feature>,
    /// Inside the name of a system variable.
    variable: bool,
    /// Inside the targets of INTO.
    into: bool,
    /// The words WARNINGS, ERRORS or DIAGNOSTICS were seen.
    diagnostics: bool,
}

impl Reader {
    /// Takes a literal.
    #[inline]
    pub(super) fn other(&mut self) {
        self.function = None;
        self.variable = false;
        self.into = false;
    }

    /// Takes any other token; `previous` is the word before.
    #[inline]
    pub(super) fn token(
        &mut self,
        token: &Token,
        word: Word,
        previous: Word,
        text: &[u8],
        features: &mut Features,
    ) {
        let function = self.function.take();
        match token.kind {
            TokenKind::Word(Word::Other) => {
                self.variable = false;
                self.into = false;
            }
            TokenKind::Word(_) => self.word(word, previous, features),
            TokenKind::Quoted => self.quoted(token.text(text), features),
            TokenKind::Symbol(b'(') => {
                self.variable = false;
                if let Some(feature) = function {
                    features.add(feature);
                }
            }
            TokenKind::Symbol(symbol::ASSIGN) => features.add(Feature::UserVariableWrite),
            TokenKind::Symbol(b'.' | b',') => {}
            TokenKind::UserVariable => {
                features.add(Feature::UserVariable);
                if self.into {
                    features.add(Feature::UserVariableWrite);
                }
            }
            TokenKind::SystemVariable => {
                features.add(Feature::SystemVariable);
                self.variable = true;
                self.into = false;
            }
            _ => {
                self.variable = false;
                self.into = false;
            }
        }
    }

    pub(super) fn finish(&self, kind: Kind, features: &mut Features) {
        if self.diagnostics && matches!(kind, Kind::Show | Kind::Other) {
            features.add(Feature::Diagnostics);
        }
        // Parameters of a procedure, fields of a file and conditions are written into variables.
        let writes = matches!(kind, Kind::Call | Kind::Load | Kind::Other | Kind::Prepare);
        if writes && features.has(Feature::UserVariable) {
            features.add(Feature::UserVariableWrite);
        }
    }

    /// A name in quotes: functions and variables can be written so, keywords cannot.
    fn quoted(&mut self, text: &[u8], features: &mut Features) {
        self.into = false;
        let word = Word::of(text.get(1..text.len().saturating_sub(1)).unwrap_or_default());
        if word == Word::Shard {
            features.add(Feature::ShardColumn);
        }
        self.name(word, features);
    }

    fn name(&mut self, word: Word, features: &mut Features) {
        if std::mem::take(&mut self.variable) {
            match word {
                Word::Global | Word::Session | Word::Local | Word::Persist | Word::PersistOnly => {
                    self.variable = true;
                }
                Word::LastInsertId | Word::Identity => features.add(Feature::LastInsertId),
                Word::PseudoThreadId => features.add(Feature::ConnectionId),
                Word::WarningCount | Word::ErrorCount => features.add(Feature::Diagnostics),
                _ => {}
            }
            return;
        }
        self.function = match word {
            Word::LastInsertId => Some(Feature::LastInsertId),
            Word::RowCount => Some(Feature::RowCount),
            Word::FoundRows => Some(Feature::FoundRows),
            Word::ConnectionId => Some(Feature::ConnectionId),
            Word::User | Word::SessionUser | Word::SystemUser => Some(Feature::SessionUser),
            Word::GetLock
            | Word::ReleaseLock
            | Word::ReleaseAllLocks
            | Word::IsFreeLock
            | Word::IsUsedLock => Some(Feature::NamedLock),
            Word::NextVal
            | Word::SetVal
            | Word::LastVal
            | Word::UuidShort
            | Word::Sleep
            | Word::LoadFile
            | Word::Benchmark
            | Word::MasterPosWait
            | Word::MasterGtidWait
            | Word::WaitForGtid => Some(Feature::SideEffect),
            _ => None,
        };
    }

    fn word(&mut self, word: Word, previous: Word, features: &mut Features) {
        self.into = word == Word::Into;
        match (previous, word) {
            (Word::For, Word::Update | Word::Share) | (Word::Lock, Word::In) => {
                features.add(Feature::Locking)
            }
            (Word::Into, Word::Outfile | Word::Dumpfile) => features.add(Feature::IntoFile),
            (Word::Create | Word::Replace, Word::Temporary) => features.add(Feature::TemporaryTable),
            // NEXT VALUE FOR and PREVIOUS VALUE FOR.
            (Word::Value, Word::For) => features.add(Feature::SideEffect),
            (_, Word::SqlCalcFoundRows) => features.add(Feature::CalcFoundRows),
            (_, Word::Shard) => features.add(Feature::ShardColumn),
            (_, Word::Warnings | Word::Errors | Word::Diagnostics) => self.diagnostics = true,
            _ => self.name(word, features),
        }
    }
}
