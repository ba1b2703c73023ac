//! SHOW: what is asked for, of which database or table.

use std::ops::Range;

use super::{ObjectKind, Reader, Verb};
use crate::sql::lex::TokenKind;
use crate::sql::{ParseError, Word};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Show {
    pub(crate) what: ShowWhat,
    pub(crate) full: bool,
    /// SHOW GLOBAL VARIABLES or STATUS.
    pub(crate) global: bool,
    /// FROM or IN a database.
    pub(crate) database: Option<String>,
    /// LIKE or WHERE to the end.
    pub(crate) filter: Option<Range<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShowWhat {
    Databases,
    Tables,
    TableStatus,
    OpenTables,
    /// Of the object.
    Columns,
    /// Of the object.
    Index,
    /// Of the object; also CREATE VIEW and SEQUENCE.
    CreateTable,
    CreateDatabase,
    /// Of a trigger, routine or event.
    CreateProgram,
    Triggers,
    Events,
    Routines,
    Variables,
    Status,
    Warnings,
    Errors,
    /// SHOW COUNT(*) WARNINGS
    CountWarnings,
    CountErrors,
    Processlist,
    Grants,
    /// Engines, collations, character sets, plugins, privileges: the same on every server of a fleet.
    Capabilities,
    /// Replication, engine status and the rest: about one server.
    Other,
}

impl Reader<'_> {
    /// Behind SHOW.
    pub(super) fn show(&mut self) -> Result<Verb, ParseError> {
        let mut show =
            Show { what: ShowWhat::Other, full: false, global: false, database: None, filter: None };
        self.cursor.eat(Word::Extended);
        show.full = self.cursor.eat(Word::Full);
        match self.cursor.eat_any(&[Word::Global, Word::Session, Word::Local]) {
            Some(Word::Global) => show.global = true,
            Some(_) => {}
            None => {}
        }
        show.what = self.show_what()?;
        match show.what {
            ShowWhat::Columns | ShowWhat::Index => self.table_and_database(&mut show)?,
            ShowWhat::Tables
            | ShowWhat::TableStatus
            | ShowWhat::OpenTables
            | ShowWhat::Triggers
            | ShowWhat::Events
                if self.cursor.eat_any(&[Word::From, Word::In]).is_some() =>
            {
                show.database = Some(self.cursor.name()?);
            }
            _ => {}
        }
        show.filter = self.filter();
        Ok(Verb::Show(show))
    }

    fn show_what(&mut self) -> Result<ShowWhat, ParseError> {
        let token = self.cursor.advance();
        let what = match token.word() {
            Word::Databases | Word::Schemas => ShowWhat::Databases,
            Word::Tables => ShowWhat::Tables,
            Word::Columns | Word::Fields => ShowWhat::Columns,
            Word::Index | Word::Indexes | Word::Keys => ShowWhat::Index,
            Word::Triggers => ShowWhat::Triggers,
            Word::Status => ShowWhat::Status,
            Word::Warnings => ShowWhat::Warnings,
            Word::Errors => ShowWhat::Errors,
            Word::Processlist => ShowWhat::Processlist,
            Word::Table if self.cursor.eat(Word::Status) => ShowWhat::TableStatus,
            Word::Procedure | Word::Function | Word::Package => ShowWhat::Routines,
            Word::Create => return self.show_create(),
            Word::Charset => ShowWhat::Capabilities,
            Word::Character if self.cursor.eat(Word::Set) => ShowWhat::Capabilities,
            _ => return Ok(self.show_text(token.start..token.end)),
        };
        Ok(what)
    }

    /// Words that only SHOW knows.
    fn show_text(&mut self, span: Range<u32>) -> ShowWhat {
        match self.cursor.text(span).to_ascii_uppercase().as_slice() {
            b"VARIABLES" => ShowWhat::Variables,
            b"EVENTS" => ShowWhat::Events,
            b"GRANTS" => ShowWhat::Grants,
            b"OPEN" if self.cursor.eat(Word::Tables) => ShowWhat::OpenTables,
            b"STORAGE" | b"ENGINES" | b"COLLATION" | b"PLUGINS" | b"PRIVILEGES" => ShowWhat::Capabilities,
            b"COUNT" => self.show_count(),
            _ => ShowWhat::Other,
        }
    }

    /// `COUNT(*) WARNINGS`
    fn show_count(&mut self) -> ShowWhat {
        for code in [b'(', b'*', b')'] {
            if !self.cursor.eat_symbol(code) {
                return ShowWhat::Other;
            }
        }
        match self.cursor.eat_any(&[Word::Warnings, Word::Errors]) {
            Some(Word::Warnings) => ShowWhat::CountWarnings,
            Some(_) => ShowWhat::CountErrors,
            None => ShowWhat::Other,
        }
    }

    fn show_create(&mut self) -> Result<ShowWhat, ParseError> {
        let kind = self.cursor.advance().word();
        match kind {
            Word::Database | Word::Schema => {
                self.if_exists();
                self.database()?;
                Ok(ShowWhat::CreateDatabase)
            }
            Word::Table | Word::View | Word::Sequence => {
                self.object(match kind {
                    Word::Table => ObjectKind::Table,
                    Word::View => ObjectKind::View,
                    _ => ObjectKind::Sequence,
                })?;
                Ok(ShowWhat::CreateTable)
            }
            Word::Trigger => {
                self.object(ObjectKind::Trigger)?;
                Ok(ShowWhat::CreateProgram)
            }
            Word::Event => {
                self.object(ObjectKind::Event)?;
                Ok(ShowWhat::CreateProgram)
            }
            Word::Procedure | Word::Function => {
                self.object(ObjectKind::Routine)?;
                Ok(ShowWhat::CreateProgram)
            }
            _ => Ok(ShowWhat::Other),
        }
    }

    /// `FROM t [FROM db]`; the database may also stand before the table's name.
    fn table_and_database(&mut self, show: &mut Show) -> Result<(), ParseError> {
        if self.cursor.eat_any(&[Word::From, Word::In]).is_none() {
            return Err(self.cursor.expected("FROM and a table"));
        }
        self.object(ObjectKind::Table)?;
        if self.cursor.eat_any(&[Word::From, Word::In]).is_some() {
            let database = self.cursor.name()?;
            show.database = Some(database.clone());
            if let Some(table) = self.outline.objects.last_mut() {
                table.database = Some(database);
            }
        } else {
            show.database = self.outline.objects.last().and_then(|table| table.database.clone());
        }
        Ok(())
    }

    fn filter(&mut self) -> Option<Range<u32>> {
        if !matches!(self.cursor.peek().word(), Word::Like | Word::Where) {
            return None;
        }
        let start = self.cursor.peek().start;
        while self.cursor.peek().kind != TokenKind::End {
            self.cursor.advance();
        }
        Some(start..self.cursor.behind())
    }
}
