//! Verb and object names of statements that are planned without a grammar: DDL, SHOW, administration. Reads only as far
//! as names go; the statement itself is always forwarded as it was written.

use std::ops::Range;

use super::cursor::Cursor;
use super::{Context, ParseError, Statement, Word};

mod definition;
mod show;

pub(crate) use show::{Show, ShowWhat};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) verb: Verb,
    /// In the order of the text.
    pub(crate) objects: Vec<Object>,
    /// CREATE or DROP TEMPORARY TABLE.
    pub(crate) temporary: bool,
    /// IF EXISTS or IF NOT EXISTS.
    pub(crate) if_exists: bool,
    pub(crate) or_replace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `select`: where the query of CREATE TABLE … SELECT begins.
    CreateTable {
        select: Option<u32>,
    },
    /// The second object is the model.
    CreateTableLike,
    /// `renamed`: the last object of kind Table is the new name.
    AlterTable {
        renamed: bool,
    },
    DropTable,
    TruncateTable,
    /// Objects are pairs: old name, new name.
    RenameTable,
    CreateIndex,
    DropIndex,
    /// `select`: where the view's query begins.
    CreateView {
        select: Option<u32>,
    },
    AlterView {
        select: Option<u32>,
    },
    DropView,
    CreateDatabase,
    AlterDatabase,
    DropDatabase,
    /// Triggers, procedures, functions, events, packages.
    CreateProgram,
    AlterProgram,
    DropProgram,
    CreateSequence,
    AlterSequence,
    DropSequence,
    AnalyzeTable,
    CheckTable,
    OptimizeTable,
    RepairTable,
    ChecksumTable,
    LockTables {
        write: bool,
    },
    UnlockTables,
    /// `locks`: FLUSH TABLES … WITH READ LOCK or FOR EXPORT.
    Flush {
        locks: bool,
    },
    Show(Show),
    /// `inner`: where the explained statement begins.
    Explain {
        inner: u32,
    },
    /// DESCRIBE of a table.
    Describe,
    /// The database, unquoted; with what else was written behind it.
    Use {
        database: String,
    },
    Call,
    Kill {
        query_only: bool,
        target: KillTarget,
    },
    /// `local`: the file comes from the client.
    Load {
        local: bool,
    },
    Handler,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KillTarget {
    Id(u64),
    /// `CONNECTION_ID()`
    Own,
    /// MariaDB's KILL USER.
    User,
    Unread,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) database: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: ObjectKind,
    /// Of the whole name in the text.
    pub(crate) span: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Table,
    /// A table in a REFERENCES clause.
    Referenced,
    View,
    Database,
    Trigger,
    /// A procedure, function or package.
    Routine,
    Event,
    Sequence,
}

/// Reads a statement by its verb. What it has no form for is [`Verb::Other`]; a form that breaks off is an error.
pub(crate) fn outline(text: &[u8], statement: &Statement, context: &Context) -> Result<Outline, ParseError> {
    let mut reader = Reader {
        cursor: Cursor::new(text, statement, context)?,
        outline: Outline {
            verb: Verb::Other,
            objects: Vec::new(),
            temporary: false,
            if_exists: false,
            or_replace: false,
        },
    };
    reader.outline.verb = reader.read()?;
    Ok(reader.outline)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    outline: Outline,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<Verb, ParseError> {
        let verb = self.cursor.advance().word();
        match verb {
            Word::Create | Word::Alter | Word::Drop | Word::Truncate | Word::Rename => self.definition(verb),
            Word::Show => self.show(),
            Word::Explain | Word::Describe | Word::Desc => self.explain(),
            Word::Analyze | Word::Check | Word::Optimize | Word::Repair | Word::Checksum => {
                self.maintenance(verb)
            }
            Word::Use => self.use_database(),
            Word::Lock => self.lock_tables(),
            Word::Unlock => Ok(Verb::UnlockTables),
            Word::Flush => self.flush(),
            Word::Call => {
                self.object(ObjectKind::Routine)?;
                Ok(Verb::Call)
            }
            Word::Kill => Ok(self.kill()),
            Word::Load => self.load(),
            Word::Handler => {
                self.object(ObjectKind::Table)?;
                Ok(Verb::Handler)
            }
            _ => Ok(Verb::Other),
        }
    }

    /// `name` or `database.name`.
    fn object(&mut self, kind: ObjectKind) -> Result<(), ParseError> {
        let start = self.cursor.peek().start;
        let first = self.cursor.name()?;
        let (database, name) =
            if self.cursor.eat_symbol(b'.') { (Some(first), self.cursor.name()?) } else { (None, first) };
        let span = start..self.cursor.behind();
        self.outline.objects.push(Object { database, name, kind, span });
        Ok(())
    }

    fn objects(&mut self, kind: ObjectKind) -> Result<(), ParseError> {
        loop {
            self.object(kind)?;
            if !self.cursor.eat_symbol(b',') {
                return Ok(());
            }
        }
    }

    fn database(&mut self) -> Result<(), ParseError> {
        let start = self.cursor.peek().start;
        let name = self.cursor.name()?;
        let span = start..self.cursor.behind();
        self.outline.objects.push(Object { database: None, name, kind: ObjectKind::Database, span });
        Ok(())
    }

    fn if_exists(&mut self) {
        if self.cursor.eat_all(&[Word::If, Word::Exists])
            || self.cursor.eat_all(&[Word::If, Word::Not, Word::Exists])
        {
            self.outline.if_exists = true;
        }
    }

    /// `ANALYZE [LOCAL] TABLE a, b`, and MariaDB's `ANALYZE SELECT …`.
    fn maintenance(&mut self, verb: Word) -> Result<Verb, ParseError> {
        self.cursor.eat_any(&[Word::NoWriteToBinlog, Word::Local]);
        if self.cursor.eat_any(&[Word::Table, Word::Tables]).is_none() {
            return if verb == Word::Analyze { self.explain() } else { Ok(Verb::Other) };
        }
        self.objects(ObjectKind::Table)?;
        Ok(match verb {
            Word::Analyze => Verb::AnalyzeTable,
            Word::Check => Verb::CheckTable,
            Word::Optimize => Verb::OptimizeTable,
            Word::Repair => Verb::RepairTable,
            _ => Verb::ChecksumTable,
        })
    }

    /// Behind EXPLAIN, DESCRIBE or ANALYZE.
    fn explain(&mut self) -> Result<Verb, ParseError> {
        loop {
            let next = self.cursor.ahead(1);
            if self.begins_statement() {
                return Ok(Verb::Explain { inner: self.cursor.peek().start });
            }
            let option = (self.cursor.peek().word() == Word::Extended || self.cursor.is_text("PARTITIONS"))
                && next.is_name();
            if option || self.cursor.peek().word() == Word::Analyze {
                self.cursor.advance();
            } else if self.cursor.peek().word() == Word::Format && next.is_symbol(b'=') {
                self.cursor.advance();
                self.cursor.advance();
                self.cursor.advance();
            } else if self.cursor.peek().word() == Word::For && next.word() == Word::Connection {
                return Ok(Verb::Other);
            } else if self.cursor.peek().word() == Word::For
                && matches!(next.word(), Word::Schema | Word::Database)
            {
                self.cursor.advance();
                self.cursor.advance();
                self.database()?;
            } else if self.cursor.peek().word() == Word::Into {
                self.cursor.advance();
                self.cursor.advance();
            } else {
                self.object(ObjectKind::Table)?;
                return Ok(Verb::Describe);
            }
        }
    }

    fn begins_statement(&self) -> bool {
        self.cursor.peek().is_symbol(b'(')
            || matches!(
                self.cursor.peek().word(),
                Word::Select
                    | Word::Insert
                    | Word::Replace
                    | Word::Update
                    | Word::Delete
                    | Word::With
                    | Word::Table
                    | Word::Values
            )
    }

    fn use_database(&mut self) -> Result<Verb, ParseError> {
        let start = self.cursor.peek().start;
        let mut database = self.cursor.name()?;
        if !self.cursor.is_at_end() {
            // `USE shop:shard1@replica`: not a name, but what was meant is clear.
            while !self.cursor.is_at_end() {
                self.cursor.advance();
            }
            database = super::literal::to_text(self.cursor.text(start..self.cursor.behind()));
        }
        Ok(Verb::Use { database })
    }

    /// `LOCK TABLES a READ, b AS x WRITE`
    fn lock_tables(&mut self) -> Result<Verb, ParseError> {
        if self.cursor.eat_any(&[Word::Table, Word::Tables]).is_none() {
            return Ok(Verb::Other);
        }
        let mut write = false;
        loop {
            self.object(ObjectKind::Table)?;
            while !self.cursor.is_at_end() && !self.cursor.peek().is_symbol(b',') {
                write |= self.cursor.advance().word() == Word::Write;
            }
            if !self.cursor.eat_symbol(b',') {
                return Ok(Verb::LockTables { write });
            }
        }
    }

    fn flush(&mut self) -> Result<Verb, ParseError> {
        self.cursor.eat_any(&[Word::NoWriteToBinlog, Word::Local]);
        let mut locks = false;
        if self.cursor.eat_any(&[Word::Table, Word::Tables]).is_some() {
            if self.cursor.peek().is_name() && !matches!(self.cursor.peek().word(), Word::With | Word::For) {
                self.objects(ObjectKind::Table)?;
            }
            locks = matches!(self.cursor.peek().word(), Word::With | Word::For);
        }
        Ok(Verb::Flush { locks })
    }

    /// `KILL [HARD|SOFT] [CONNECTION|QUERY [ID]] 5`
    fn kill(&mut self) -> Verb {
        self.cursor.eat_any(&[Word::Hard, Word::Soft]);
        let query_only = self.cursor.eat_any(&[Word::Connection, Word::Query]) == Some(Word::Query);
        self.cursor.eat_text("ID");
        let token = self.cursor.advance();
        let digits = std::str::from_utf8(self.cursor.text(token.start..token.end)).unwrap_or_default();
        let target = match token.word() {
            Word::User => KillTarget::User,
            Word::ConnectionId
                if self.cursor.eat_symbol(b'(')
                    && self.cursor.eat_symbol(b')')
                    && self.cursor.is_at_end() =>
            {
                KillTarget::Own
            }
            _ if self.cursor.is_at_end() => digits.parse().map_or(KillTarget::Unread, KillTarget::Id),
            _ => KillTarget::Unread,
        };
        Verb::Kill { query_only, target }
    }

    /// `LOAD DATA [LOCAL] INFILE 'x' [REPLACE|IGNORE] INTO TABLE t`
    fn load(&mut self) -> Result<Verb, ParseError> {
        let mut local = false;
        while !self.cursor.is_at_end() {
            if self.cursor.eat_all(&[Word::Into, Word::Table]) {
                self.object(ObjectKind::Table)?;
                return Ok(Verb::Load { local });
            }
            local |= self.cursor.advance().word() == Word::Local;
        }
        Ok(Verb::Other)
    }
}

#[cfg(test)]
mod tests;
