//! CREATE, ALTER, DROP, TRUNCATE, RENAME: what kind of object, and which.

use super::{ObjectKind, Reader, Verb};
use crate::sql::lex::TokenKind;
use crate::sql::{ParseError, Word};

impl Reader<'_> {
    /// Behind the verb.
    pub(super) fn definition(&mut self, verb: Word) -> Result<Verb, ParseError> {
        match verb {
            Word::Truncate => {
                self.cursor.eat(Word::Table);
                self.object(ObjectKind::Table)?;
                return Ok(Verb::TruncateTable);
            }
            Word::Rename => return self.rename(),
            _ => {}
        }
        self.outline.or_replace = self.cursor.eat_all(&[Word::Or, Word::Replace]);
        let Some(object) = self.object_word() else { return Ok(Verb::Other) };
        self.if_exists();
        match object {
            Word::Table | Word::Tables => self.table(verb),
            Word::Index => self.index(verb),
            Word::View => self.view(verb),
            Word::Database | Word::Schema => self.schema(verb),
            Word::Sequence => {
                self.list_or_one(verb, ObjectKind::Sequence)?;
                Ok(match verb {
                    Word::Create => Verb::CreateSequence,
                    Word::Alter => Verb::AlterSequence,
                    _ => Verb::DropSequence,
                })
            }
            Word::Trigger => self.program(verb, ObjectKind::Trigger),
            Word::Event => self.program(verb, ObjectKind::Event),
            _ => self.program(verb, ObjectKind::Routine),
        }
    }

    /// Passes over what may stand between the verb and the kind of object (`UNIQUE`, `DEFINER = …`); `None` for objects
    /// that have no place in the shard map.
    fn object_word(&mut self) -> Option<Word> {
        /// ALGORITHM, DEFINER and SQL SECURITY together are shorter.
        const WORDS_BETWEEN_MAX: usize = 24;
        for _ in 0..WORDS_BETWEEN_MAX {
            let token = self.cursor.advance();
            match token.word() {
                word @ (Word::Table
                | Word::Tables
                | Word::Index
                | Word::View
                | Word::Database
                | Word::Schema
                | Word::Sequence
                | Word::Trigger
                | Word::Event
                | Word::Procedure
                | Word::Function
                | Word::Package) => {
                    // `DEFINER = event@host` is an account.
                    let account = self.cursor.peek().kind == TokenKind::UserVariable;
                    if !account {
                        return Some(word);
                    }
                }
                Word::Temporary => self.outline.temporary = true,
                Word::User | Word::Role | Word::Server | Word::Tablespace | Word::Instance
                    if self.cursor.peek().kind != TokenKind::UserVariable =>
                {
                    return None;
                }
                _ if token.kind == TokenKind::End => return None,
                _ => {}
            }
        }
        None
    }

    fn list_or_one(&mut self, verb: Word, kind: ObjectKind) -> Result<(), ParseError> {
        if verb == Word::Drop { self.objects(kind) } else { self.object(kind) }
    }

    fn table(&mut self, verb: Word) -> Result<Verb, ParseError> {
        self.list_or_one(verb, ObjectKind::Table)?;
        match verb {
            Word::Drop => Ok(Verb::DropTable),
            Word::Alter => self.alter_table(),
            _ => self.create_table(),
        }
    }

    fn create_table(&mut self) -> Result<Verb, ParseError> {
        if self.cursor.eat(Word::Like)
            || (self.cursor.peek().is_symbol(b'(') && self.cursor.ahead(1).word() == Word::Like && {
                self.cursor.advance();
                self.cursor.eat(Word::Like)
            })
        {
            self.object(ObjectKind::Table)?;
            return Ok(Verb::CreateTableLike);
        }
        let mut depth = 0_u32;
        let mut select = None;
        // A query may stand in parentheses; those of the columns begin with a name.
        while !self.cursor.is_at_end() {
            let token = self.cursor.peek();
            let query = matches!(token.word(), Word::Select | Word::With | Word::Values)
                || (token.word() == Word::Table && depth == 0);
            if query && select.is_none() && self.is_query(depth) {
                select = Some(token.start);
            }
            match token.kind {
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.cursor.advance();
            if token.word() == Word::References && select.is_none() && self.cursor.peek().is_name() {
                self.object(ObjectKind::Referenced)?;
            }
        }
        Ok(Verb::CreateTable { select })
    }

    /// Whether the word here begins a query, not an option such as `WITH SYSTEM VERSIONING` or `PARTITION … VALUES`.
    fn is_query(&self, depth: u32) -> bool {
        match self.cursor.peek().word() {
            Word::Select => true,
            Word::With => {
                depth == 0
                    && self.cursor.ahead(1).is_name()
                    && (self.cursor.ahead(2).word() == Word::As || self.cursor.ahead(2).is_symbol(b'('))
            }
            Word::Values => depth == 0 && self.cursor.ahead(1).word() == Word::Row,
            _ => true,
        }
    }

    fn alter_table(&mut self) -> Result<Verb, ParseError> {
        let mut renamed = false;
        let mut depth = 0_u32;
        let mut before = Word::Other;
        while !self.cursor.is_at_end() {
            let token = self.cursor.advance();
            match (token.kind, token.word()) {
                (TokenKind::Symbol(b'('), _) => depth += 1,
                (TokenKind::Symbol(b')'), _) => depth = depth.saturating_sub(1),
                (_, Word::References) if self.cursor.peek().is_name() => {
                    self.object(ObjectKind::Referenced)?
                }
                (_, Word::Rename) if depth == 0 => renamed |= self.new_table_name()?,
                (_, Word::Table) if depth == 0 && before == Word::With => self.object(ObjectKind::Table)?,
                _ => {}
            }
            before = token.word();
        }
        Ok(Verb::AlterTable { renamed })
    }

    /// Behind RENAME in ALTER TABLE: a table's new name unless a column or index is renamed.
    fn new_table_name(&mut self) -> Result<bool, ParseError> {
        let names_part = matches!(self.cursor.peek().word(), Word::Column | Word::Index | Word::Key)
            && self.cursor.ahead(1).is_name();
        if names_part || self.cursor.is_text("PARTITION") {
            return Ok(false);
        }
        if self.cursor.eat_any(&[Word::To, Word::As]).is_none() {
            self.cursor.eat_symbol(b'=');
        }
        self.object(ObjectKind::Table)?;
        Ok(true)
    }

    /// `CREATE INDEX i ON t`, `DROP INDEX i ON t`
    fn index(&mut self, verb: Word) -> Result<Verb, ParseError> {
        while !self.cursor.is_at_end() {
            if self.cursor.eat(Word::On) {
                self.object(ObjectKind::Table)?;
                return Ok(if verb == Word::Create { Verb::CreateIndex } else { Verb::DropIndex });
            }
            self.cursor.advance();
        }
        Err(self.cursor.expected("ON and a table"))
    }

    fn view(&mut self, verb: Word) -> Result<Verb, ParseError> {
        self.list_or_one(verb, ObjectKind::View)?;
        if verb == Word::Drop {
            return Ok(Verb::DropView);
        }
        let mut select = None;
        while !self.cursor.is_at_end() {
            if self.cursor.advance().word() == Word::As {
                select = Some(self.cursor.peek().start);
                break;
            }
        }
        Ok(if verb == Word::Create { Verb::CreateView { select } } else { Verb::AlterView { select } })
    }

    fn schema(&mut self, verb: Word) -> Result<Verb, ParseError> {
        // ALTER DATABASE may leave out the name; then an option follows.
        let option = matches!(
            self.cursor.peek().word(),
            Word::Character | Word::Charset | Word::Collate | Word::Default | Word::Read
        ) || self.cursor.ahead(1).is_symbol(b'=');
        if verb != Word::Alter || !option {
            self.database()?;
        }
        Ok(match verb {
            Word::Create => Verb::CreateDatabase,
            Word::Alter => Verb::AlterDatabase,
            _ => Verb::DropDatabase,
        })
    }

    fn program(&mut self, verb: Word, kind: ObjectKind) -> Result<Verb, ParseError> {
        // `CREATE PACKAGE BODY p`
        if self.cursor.is_text("BODY") && self.cursor.ahead(1).is_name() {
            self.cursor.advance();
            self.if_exists();
        }
        self.object(kind)?;
        if verb == Word::Create && kind == ObjectKind::Trigger {
            while !self.cursor.is_at_end() {
                if self.cursor.eat(Word::On) {
                    self.object(ObjectKind::Table)?;
                    break;
                }
                self.cursor.advance();
            }
        }
        Ok(match verb {
            Word::Create => Verb::CreateProgram,
            Word::Alter => Verb::AlterProgram,
            _ => Verb::DropProgram,
        })
    }

    /// `RENAME TABLE a TO b, c TO d`
    fn rename(&mut self) -> Result<Verb, ParseError> {
        if self.cursor.eat_any(&[Word::Table, Word::Tables]).is_none() {
            return Ok(Verb::Other);
        }
        self.if_exists();
        loop {
            self.object(ObjectKind::Table)?;
            while !self.cursor.is_at_end() && self.cursor.peek().word() != Word::To {
                self.cursor.advance();
            }
            self.cursor.expect(Word::To, "TO and a name")?;
            self.object(ObjectKind::Table)?;
            if !self.cursor.eat_symbol(b',') {
                return Ok(Verb::RenameTable);
            }
        }
    }
}
