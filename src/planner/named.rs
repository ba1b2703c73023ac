//! Statements planned by the names of their objects, without a grammar: DDL, SHOW, EXPLAIN, administration. And those that
//! the grammar does not know: they pass where one shard has all that they can name, else they are refused.

use std::ops::Range;

use super::Request;
use super::names::{Located, Place, locate};
use super::physical::{Combine, InsertId, Plan, Routing, Verb};
use super::query::{single, system_schema};
use super::unread::{is_whole_on, lone_or, stays_on};
use super::{alter, expression, view};
use crate::error::ClientError;
use crate::sql::{self, Kind, Object, ObjectKind, Outline, Show, ShowWhat};
use crate::topology::{Home, Placement, Resolution, ShardId, Topology};

pub(super) fn plan(request: &Request<'_>, topology: &Topology) -> Plan {
    let outline = match sql::outline(request.text, request.statement, request.context) {
        Ok(outline) => outline,
        Err(error) => return unread(&error.to_string(), request, topology),
    };
    Reader { request, topology, outline: &outline }.plan()
}

/// A statement that the grammar does not know: rule (a) of the design, else a refusal that says where reading stopped.
pub(super) fn unread(reason: &str, request: &Request<'_>, topology: &Topology) -> Plan {
    let verb = match request.statement.kind {
        Kind::Select | Kind::Show | Kind::Explain => Verb::LockingRead,
        Kind::Definition => Verb::Definition,
        _ => Verb::Write,
    };
    lone_or(ClientError::new("SW1201", reason), verb, request, topology)
}

/// Words that begin statements of MySQL or MariaDB which no rule reads; any other word is an error of syntax.
const STATEMENTS_UNREAD: &[&str] = &[
    "BEGIN", "CASE", "DECLARE", "FOR", "GET", "HELP", "IF", "LOOP", "REPEAT", "RESIGNAL", "SET", "SIGNAL",
    "WHILE",
];

struct Reader<'p> {
    request: &'p Request<'p>,
    topology: &'p Topology,
    outline: &'p Outline,
}

impl Reader<'_> {
    fn plan(&self) -> Plan {
        use sql::Verb as Word;
        match &self.outline.verb {
            Word::CreateTable { select: Some(query) } => self.create_from(*query),
            Word::CreateView { select: Some(query) } | Word::AlterView { select: Some(query) } => {
                self.create_from(*query)
            }
            Word::CreateTable { .. }
            | Word::CreateTableLike
            | Word::AlterTable { .. }
            | Word::DropTable
            | Word::TruncateTable
            | Word::RenameTable
            | Word::CreateIndex
            | Word::DropIndex
            | Word::CreateView { .. }
            | Word::AlterView { .. }
            | Word::DropView => self.define(),
            Word::CreateDatabase | Word::AlterDatabase | Word::DropDatabase => self.define_database(),
            Word::CreateProgram | Word::AlterProgram | Word::DropProgram => self.program(Verb::Definition),
            Word::CreateSequence | Word::AlterSequence | Word::DropSequence => self.program(Verb::Definition),
            Word::Call => self.beside(self.program(Verb::Write), self.behind_name()),
            Word::AnalyzeTable | Word::CheckTable | Word::OptimizeTable | Word::RepairTable => {
                self.maintain()
            }
            Word::ChecksumTable => self.checksum(),
            Word::LockTables { .. } => self.on_one_shard(Verb::Write, "LOCK TABLES"),
            Word::Flush { .. } if !self.outline.objects.is_empty() => {
                self.on_one_shard(Verb::Write, "FLUSH TABLES")
            }
            Word::Flush { .. } => self.unsupported("FLUSH"),
            Word::Load { local } => self.beside(self.load(*local), self.behind_word("SET")),
            Word::Handler => {
                self.beside(self.on_one_shard(Verb::LockingRead, "HANDLER"), self.behind_word("WHERE"))
            }
            Word::Show(show) => self.beside(self.show(show), self.condition_of(show)),
            Word::Describe => self.about_table(None),
            Word::Explain { inner } => self.explain(*inner),
            Word::UnlockTables | Word::Use { .. } => self.any(Verb::Write, "It is about the session alone."),
            Word::Kill { .. } => self.unsupported("KILL"),
            Word::Other => self.other(),
        }
    }

    fn any(&self, verb: Verb, proof: &str) -> Plan {
        Plan::new(verb, Routing::Anywhere, "any-shard", proof)
    }

    /// By kind, for what the token reader has no form for.
    fn other(&self) -> Plan {
        let word = match self.request.statement.kind {
            Kind::Do => return self.evaluate(),
            Kind::Grant => "a statement about accounts",
            Kind::Prepare => return self.prepare(),
            Kind::Xa => "XA",
            Kind::Administration => "an administrative statement",
            Kind::Explain => "EXPLAIN of a connection",
            Kind::Load => "LOAD",
            Kind::Definition => "this kind of definition",
            Kind::Other if !self.begins_as_in_mysql() => return self.unreadable(),
            _ => "this kind of statement",
        };
        self.unsupported(word)
    }

    /// Whether the first word begins a statement that MySQL has and no rule reads.
    fn begins_as_in_mysql(&self) -> bool {
        STATEMENTS_UNREAD.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(self.first_word()))
    }

    fn first_word(&self) -> &[u8] {
        let start = self.request.statement.verb_at as usize;
        let rest = self.request.text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        &rest[..length]
    }

    fn unreadable(&self) -> Plan {
        let detail = format!("no statement begins with {:?}", String::from_utf8_lossy(self.first_word()));
        lone_or(ClientError::new("SW1201", detail), Verb::Write, self.request, self.topology)
    }

    fn refused(&self, verb: Verb, construct: &str) -> Plan {
        Plan::refused(verb, ClientError::new("SW1215", construct))
    }

    fn unsupported(&self, construct: &str) -> Plan {
        let verb =
            if self.request.statement.kind == Kind::Definition { Verb::Definition } else { Verb::Write };
        lone_or(ClientError::new("SW1215", construct), verb, self.request, self.topology)
    }

    /// `DO expression`: as the SELECT of the same.
    fn evaluate(&self) -> Plan {
        let start = self.request.statement.verb_at as usize + "DO".len();
        let end = self.request.statement.end as usize;
        let rest = self.request.text.get(start..end).unwrap_or_default();
        let text = [b"SELECT ", rest].concat();
        match self.inner_plan(&text) {
            Some(plan) => match plan.routing {
                Routing::Anywhere | Routing::One(_) | Routing::Refused { .. } => {
                    Plan { verb: Verb::Write, ..plan }
                }
                _ => self.unsupported("DO over sharded tables"),
            },
            None => self.unsupported("DO"),
        }
    }

    /// PREPARE where all that the text names is, if the text stands here; EXECUTE and DEALLOCATE where it was prepared.
    fn prepare(&self) -> Plan {
        let tokens: Vec<sql::Token> = sql::tokens(self.request.text, self.request.context).collect();
        let text = |token: &sql::Token| token.text(self.request.text);
        let proof = "It is about a statement of this session's connection.";
        let inner = match tokens.as_slice() {
            [verb, _, from, source]
                if text(verb).eq_ignore_ascii_case(b"PREPARE")
                    && text(from).eq_ignore_ascii_case(b"FROM") =>
            {
                sql::literal_text(text(source), source.kind, self.request.context)
            }
            [verb, next, ..] if text(verb).eq_ignore_ascii_case(b"EXECUTE") => {
                return match text(next).eq_ignore_ascii_case(b"IMMEDIATE") {
                    true => self.unsupported("EXECUTE IMMEDIATE"),
                    false => self.any(Verb::Write, proof),
                };
            }
            [_, prepare, _] if text(prepare).eq_ignore_ascii_case(b"PREPARE") => {
                return self.any(Verb::Write, proof);
            }
            _ => None,
        };
        match inner.and_then(|inner| self.inner_plan(&inner)) {
            Some(plan) if matches!(plan.routing, Routing::Anywhere | Routing::One(_)) => {
                Plan { verb: Verb::Write, cacheable: false, ..plan }
            }
            // It depends on the literal, as the other does.
            _ => Plan {
                cacheable: false,
                ..self.unsupported("PREPARE of what needs a key or several shards, or is not a literal")
            },
        }
    }

    fn inner_plan(&self, text: &[u8]) -> Option<Plan> {
        let mut statement = sql::Statement::default();
        statement.scan(text, self.request.context).ok()?;
        let request = Request { text, statement: &statement, ..*self.request };
        Some(super::plan(&request, self.topology))
    }

    fn located(&self, object: &Object) -> Result<Located<'_>, ClientError> {
        locate(self.topology, self.request.database, object.database.as_deref(), &object.name)
    }

    /// Tables and views, with the error of the first one that is not known. The columns of a table need not be known to
    /// define it.
    fn places(&self) -> Result<Vec<(String, Where)>, ClientError> {
        let tables = self.outline.objects.iter().filter(|object| {
            matches!(object.kind, ObjectKind::Table | ObjectKind::View | ObjectKind::Referenced)
        });
        tables.map(|object| self.place_of(object)).collect()
    }

    fn place_of(&self, object: &Object) -> Result<(String, Where), ClientError> {
        match self.located(object) {
            Ok(located) => {
                let place = match &located.place {
                    Place::Sharded(key) => Where::Sharded(key.scheme.0),
                    Place::Reference => Where::Reference,
                    Place::Single(shard) => Where::Single(*shard),
                    Place::System => Where::System,
                };
                Ok((located.full_name(), place))
            }
            Err(error) if error.entry.id == "SW1213" => {
                let database = object.database.as_deref().or(self.request.database).unwrap_or_default();
                match self.topology.resolve(database, &object.name) {
                    Resolution::Table(table) => match &table.placement {
                        Placement::Sharded { scheme, .. } => {
                            Ok((format!("{database}.{}", table.name), Where::Sharded(scheme.0)))
                        }
                        _ => Err(error),
                    },
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The plan of a statement that computes the expressions in `span` as well.
    fn beside(&self, plan: Plan, span: Option<Range<u32>>) -> Plan {
        let text = span.and_then(|span| self.request.text.get(span.start as usize..span.end as usize));
        expression::beside(plan, text.unwrap_or_default(), self.request, self.topology)
    }

    /// From the first object's name to the end.
    fn behind_name(&self) -> Option<Range<u32>> {
        Some(self.outline.objects.first()?.span.end..self.request.statement.end)
    }

    /// From the word to the end; the one of CHARACTER SET is another.
    fn behind_word(&self, word: &str) -> Option<Range<u32>> {
        let start = self.outline.objects.first()?.span.end;
        let mut lexer = sql::Lexer::at(self.request.text, self.request.context, start as usize);
        let mut before: &[u8] = b"";
        loop {
            let token = lexer.next_token().ok().filter(|token| token.kind != sql::TokenKind::End)?;
            let text = token.text(self.request.text);
            let found = matches!(token.kind, sql::TokenKind::Word(_))
                && text.eq_ignore_ascii_case(word.as_bytes())
                && !before.eq_ignore_ascii_case(b"CHARACTER");
            if found {
                return Some(token.end..self.request.statement.end);
            }
            before = text;
        }
    }

    fn condition_of(&self, show: &Show) -> Option<Range<u32>> {
        let filter = show.filter.clone()?;
        let start = filter.start as usize;
        let word = self.request.text.get(start..start + "WHERE".len())?;
        word.eq_ignore_ascii_case(b"WHERE").then(|| filter.start + word.len() as u32..filter.end)
    }

    fn define(&self) -> Plan {
        let places = match self.places() {
            Ok(places) => places,
            Err(error) => return Plan::refused(Verb::Definition, error),
        };
        if let Some(error) = self.moves_rows() {
            return Plan::refused(Verb::Definition, error);
        }
        let tables: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
        self.defined_at(&places).over(tables)
    }

    fn defined_at(&self, places: &[(String, Where)]) -> Plan {
        let verb = if self.outline.temporary { Verb::Write } else { Verb::Definition };
        let Some((first_name, first)) = places.first() else {
            return self.unsupported("a definition without a name");
        };
        for (name, place) in places {
            let together = match (first, place) {
                (Where::Single(left), Where::Single(right)) => left == right,
                (Where::Sharded(_) | Where::Reference, Where::Sharded(_) | Where::Reference) => true,
                _ => false,
            };
            if !together && *place != Where::System && *first != Where::System {
                let detail = format!("{first_name} and {name} are placed differently");
                return Plan::refused(verb, ClientError::new("SW1207", detail));
            }
            if *place == Where::System {
                return Plan::refused(verb, ClientError::new("SW1215", "a definition in a system schema"));
            }
        }
        if let Some(error) = self.foreign_key(places) {
            return Plan::refused(verb, error);
        }
        match first {
            Where::Single(shard) => single(verb, *shard, self.topology),
            _ if self.outline.temporary => Plan::refused(
                verb,
                ClientError::new("SW1215", "a temporary table that hides a table of every shard"),
            ),
            _ => {
                let proof = "The table is on every shard; the same definition goes to each.";
                Plan::new(verb, Routing::Everywhere, "definition", proof).combined(Combine::Identical)
            }
        }
    }

    /// A new name or another shard key for rows that stay where they are.
    fn moves_rows(&self) -> Option<ClientError> {
        let tables: Vec<&Object> =
            self.outline.objects.iter().filter(|object| object.kind == ObjectKind::Table).collect();
        let pairs: Vec<(&Object, &Object)> = match self.outline.verb {
            sql::Verb::RenameTable => tables.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
            sql::Verb::AlterTable { .. } => {
                let (first, others) = tables.split_first()?;
                others.iter().map(|other| (*first, *other)).collect()
            }
            _ => return None,
        };
        for (from, to) in pairs {
            if self.placement(from)? != self.placement(to)? {
                let detail = format!(
                    "the rows of {} stay where they are, and the map places {} otherwise",
                    from.name, to.name
                );
                return Some(ClientError::new("SW1207", detail));
            }
        }
        match (&self.outline.verb, tables.first()) {
            (sql::Verb::AlterTable { .. }, Some(table)) => self.changed_key(table),
            _ => None,
        }
    }

    fn changed_key(&self, table: &Object) -> Option<ClientError> {
        let Placement::Sharded { key, .. } = self.placement(table)? else { return None };
        let database = table.database.as_deref().or(self.request.database)?;
        let kind = match self.topology.resolve(database, &table.name) {
            Resolution::Table(found) => found.column(&key).map(|column| &column.kind),
            _ => None,
        };
        let start = table.span.end as usize;
        let rest = self.request.text.get(start..self.request.statement.end as usize)?;
        let change = alter::changes_key(rest, self.request.context, &key, kind)?;
        Some(ClientError::new("SW1204", format!("{change} of {}: its rows stay where they are", table.name)))
    }

    /// As the map has it, the key in lower case.
    fn placement(&self, object: &Object) -> Option<Placement> {
        let database = object.database.as_deref().or(self.request.database)?;
        match self.topology.resolve(database, &object.name) {
            Resolution::Table(table) => Some(match &table.placement {
                Placement::Sharded { scheme, key } => {
                    Placement::Sharded { scheme: *scheme, key: key.to_ascii_lowercase() }
                }
                other => other.clone(),
            }),
            Resolution::Unlisted(shard) => Some(Placement::Single { shard }),
            Resolution::System | Resolution::UnknownTable | Resolution::UnknownDatabase => None,
        }
    }

    /// A foreign key is checked on one server: the rows it points to must be there.
    fn foreign_key(&self, places: &[(String, Where)]) -> Option<ClientError> {
        let kinds = self.outline.objects.iter().filter(|object| {
            matches!(object.kind, ObjectKind::Table | ObjectKind::View | ObjectKind::Referenced)
        });
        let (_, own) = places.first()?;
        for (object, (name, place)) in kinds.zip(places) {
            let local = match (own, place) {
                (Where::Sharded(own), Where::Sharded(other)) => own == other,
                (Where::Reference, Where::Sharded(_)) => false,
                _ => true,
            };
            if object.kind == ObjectKind::Referenced && !local {
                let detail = format!("a foreign key to {name}, whose rows are on other shards");
                return Some(ClientError::new("SW1202", detail));
            }
        }
        None
    }

    /// CREATE TABLE … SELECT and views: the query must be answered where its result is kept.
    fn create_from(&self, query: u32) -> Plan {
        let places = match self.places() {
            Ok(places) => places,
            Err(error) => return Plan::refused(Verb::Definition, error),
        };
        let plan = self.defined_at(&places);
        let is_view = !matches!(self.outline.verb, sql::Verb::CreateTable { .. });
        let end = self.request.statement.end as usize;
        let text = self.request.text.get(query as usize..end).unwrap_or_default();
        let Some(inner) = self.inner_plan(text) else { return self.unsupported("a definition by a query") };
        let mut tables: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
        tables.extend(inner.tables);
        let refused = |detail: &str| Plan::refused(plan.verb, ClientError::new("SW1202", detail));
        let plan = match (&plan.routing, inner.routing) {
            (Routing::Refused { .. }, _) => plan,
            (_, Routing::Refused { error, .. }) => Plan::refused(plan.verb, error),
            (Routing::One(_), Routing::Anywhere) => plan,
            (Routing::One(target), Routing::One(source)) if *target == source => plan,
            (Routing::Everywhere, Routing::Anywhere) if is_view && self.is_reference_view(&tables) => plan,
            (Routing::Everywhere, Routing::Keys { agree: false, .. })
                if is_view && inner.combine == Combine::Concatenate && self.is_sharded_view(text) =>
            {
                plan
            }
            _ if is_view => refused(
                "a view whose rows are not where the map has those of the view, each by a column of the name of its key",
            ),
            _ => refused("CREATE TABLE … SELECT of a table that is not whole on one shard"),
        };
        plan.over(tables)
    }

    /// A view of which every shard has the same rows; `tables` are its own name and those that it reads.
    fn is_reference_view(&self, tables: &[String]) -> bool {
        let own = self.outline.objects.first().and_then(|view| self.placement(view));
        let is_system = |name: &String| {
            let (database, table) = name.split_once('.').unwrap_or_default();
            matches!(self.topology.resolve(database, table), Resolution::System)
        };
        own == Some(Placement::Reference) && !tables.iter().any(is_system)
    }

    /// A view that has each row on the shard of its key. Its columns must have their names from the query.
    fn is_sharded_view(&self, query: &[u8]) -> bool {
        let Some(view) = self.outline.objects.first() else { return false };
        let Some(Placement::Sharded { scheme, key }) = self.placement(view) else { return false };
        let rest = self.request.text.get(view.span.end as usize..).unwrap_or_default();
        let renamed = rest.trim_ascii_start().first() == Some(&b'(');
        !renamed && view::exports_key(query, self.request, self.topology, (scheme, &key))
    }

    fn define_database(&self) -> Plan {
        let name =
            self.outline.objects.first().map_or(self.request.database, |object| Some(object.name.as_str()));
        match name.and_then(|name| self.topology.database(name)) {
            Some(_) => {
                let proof = "A database of the map exists on every shard; the same definition goes to each.";
                Plan::new(Verb::Definition, Routing::Everywhere, "definition", proof)
                    .combined(Combine::Identical)
            }
            None => {
                let detail = format!(
                    "a definition of database {}, which is not in the shard map",
                    name.unwrap_or("?")
                );
                Plan::refused(Verb::Definition, ClientError::new("SW1215", detail))
            }
        }
    }

    /// Triggers, routines, events, sequences: what they do is not seen, so they live where everything is on one shard.
    fn program(&self, verb: Verb) -> Plan {
        let tables: Vec<&Object> =
            self.outline.objects.iter().filter(|object| object.kind == ObjectKind::Table).collect();
        let mut shards = Vec::new();
        for object in &tables {
            match self.place_of(object) {
                Ok((_, Where::Single(shard))) => shards.push(shard),
                Ok((name, _)) => {
                    let detail = format!("a trigger on {name}, which is not whole on one shard");
                    return Plan::refused(verb, ClientError::new("SW1215", detail));
                }
                Err(error) => return Plan::refused(verb, error),
            }
        }
        let database = self.outline.objects.first().and_then(|object| object.database.as_deref());
        let database = database.or(self.request.database);
        let known = database.and_then(|database| self.topology.database(database));
        let home = known.and_then(|known| Some((known, known.default_shard?)));
        let plan = match home.filter(|(known, shard)| is_whole_on(known, *shard)) {
            Some((known, shard))
                if shards.iter().all(|of| *of == shard)
                    && stays_on(shard, known, self.request, self.topology) =>
            {
                let name = &self.topology.shard(shard).name;
                let proof = format!("The whole database is on shard {name}.");
                Plan::new(verb, Routing::One(shard), "routine", proof)
            }
            _ => {
                self.refused(verb, "a stored program where not every table that it can name is on one shard")
            }
        };
        // Names in its literals count.
        Plan { cacheable: false, ..plan }
    }

    fn home(&self, database: Option<&str>) -> Option<ShardId> {
        self.topology.database(database?)?.default_shard
    }

    /// What runs on the one shard that has all the tables, or not at all.
    fn on_one_shard(&self, verb: Verb, construct: &str) -> Plan {
        let places = match self.places() {
            Ok(places) => places,
            Err(error) => return Plan::refused(verb, error),
        };
        let tables: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
        let mut shard = None;
        for (name, place) in &places {
            match (place, shard) {
                (Where::Single(of), None) => shard = Some(*of),
                (Where::Single(of), Some(other)) if *of == other => {}
                _ => {
                    let detail = format!("{construct} of {name}, which is not whole on one shard");
                    return Plan::refused(verb, ClientError::new("SW1215", detail)).over(tables);
                }
            }
        }
        match shard {
            Some(shard) => single(verb, shard, self.topology).over(tables),
            None => self.unsupported(construct),
        }
    }

    /// A file of the client goes where the table's rows go, a file of a server to that server's own table.
    fn load(&self, local: bool) -> Plan {
        match self.outline.objects.first() {
            Some(table)
                if local && matches!(self.place_of(table), Ok((_, Where::Sharded(_) | Where::Reference))) =>
            {
                super::load::plan(self.request, table, self.topology)
            }
            _ => self.on_one_shard(Verb::Write, "LOAD DATA"),
        }
    }

    /// ANALYZE, CHECK, OPTIMIZE, REPAIR: where the tables are.
    fn maintain(&self) -> Plan {
        let places = self.places().unwrap_or_default();
        let spread = |(_, place): &(String, Where)| matches!(place, Where::Sharded(_) | Where::Reference);
        if places.is_empty() || !places.iter().all(spread) {
            return self
                .on_one_shard(Verb::Write, "table maintenance beside tables that are whole on one shard");
        }
        let tables = places.into_iter().map(|(name, _)| name).collect();
        let proof = "Every shard has a part or a copy of the tables; what all of them say is said once.";
        Plan::new(Verb::LockingRead, Routing::Everywhere, "maintenance", proof)
            .combined(Combine::Distinct)
            .over(tables)
    }

    /// Copies are alike; the parts of a sharded table have checksums of their own.
    fn checksum(&self) -> Plan {
        let places = self.places().unwrap_or_default();
        if places.is_empty() || !places.iter().all(|(_, place)| *place == Where::Reference) {
            return self.on_one_shard(Verb::LockingRead, "CHECKSUM TABLE");
        }
        let tables = places.into_iter().map(|(name, _)| name).collect();
        self.any(Verb::Read, "Reference tables have a full copy on every shard.").over(tables)
    }

    fn show(&self, show: &Show) -> Plan {
        match show.what {
            ShowWhat::Columns | ShowWhat::Index | ShowWhat::CreateTable => {
                self.about_table(show.database.as_deref())
            }
            ShowWhat::Tables
            | ShowWhat::TableStatus
            | ShowWhat::OpenTables
            | ShowWhat::Triggers
            | ShowWhat::Events => match show.database.as_deref().or(self.request.database) {
                Some(database) => self.about_database(database, column_of_table(show.what)),
                None => Plan::refused(Verb::Read, ClientError::new("SW1212", "No database selected")),
            },
            ShowWhat::CreateProgram | ShowWhat::Routines => {
                let database = self.outline.objects.first().and_then(|object| object.database.as_deref());
                match self.home(database.or(self.request.database)) {
                    Some(shard) => single(Verb::Read, shard, self.topology),
                    None => self.any(Verb::Read, "Every shard has the same definitions."),
                }
            }
            ShowWhat::Databases
            | ShowWhat::CreateDatabase
            | ShowWhat::Variables
            | ShowWhat::Status
            | ShowWhat::Warnings
            | ShowWhat::Errors
            | ShowWhat::CountWarnings
            | ShowWhat::CountErrors
            | ShowWhat::Processlist
            | ShowWhat::Grants
            | ShowWhat::Capabilities => {
                self.any(Verb::Read, "It is about a server, and any server may answer.")
            }
            ShowWhat::Other => self.unsupported("SHOW of the state of one server"),
        }
    }

    /// `table` is the column that names a table, where there is one.
    fn about_database(&self, database: &str, table: Option<usize>) -> Plan {
        let is_system =
            crate::topology::SYSTEM_SCHEMAS.iter().any(|name| name.eq_ignore_ascii_case(database));
        if is_system {
            return system_schema(Verb::Read, self.request, self.topology);
        }
        match self.topology.database(database) {
            None => Plan::refused(
                Verb::Read,
                ClientError::new("SW1002", format!("Unknown database '{database}'")),
            ),
            Some(found) => match found.home() {
                Home::One(shard) => {
                    let proof = "One shard has the tables that are whole on one shard, and one of each of the others.";
                    Plan::new(Verb::Read, Routing::One(shard), "catalog", proof)
                }
                Home::Anywhere => self.any(Verb::Read, "Sharded and reference tables are on every shard."),
                Home::Spread if table.is_some() => {
                    let proof = "No shard has all tables, so all are asked: one row of each table, of the shard where the map has it.";
                    let names =
                        Combine::Names { database: found.name.clone(), table: table.unwrap_or_default() };
                    Plan::new(Verb::Read, Routing::Everywhere, "names", proof).combined(names)
                }
                Home::Spread => {
                    let construct =
                        "SHOW of all tables, some of which are whole on one shard and some on another";
                    Plan::refused(Verb::Read, ClientError::new("SW1202", construct))
                }
            },
        }
    }

    /// The definition of one table: any shard that has it tells.
    fn about_table(&self, database: Option<&str>) -> Plan {
        let Some(object) = self.outline.objects.first() else {
            return self.unsupported("SHOW without a table");
        };
        let object = Object {
            database: object.database.clone().or_else(|| database.map(str::to_owned)),
            ..object.clone()
        };
        match self.place_of(&object) {
            Ok((name, Where::Single(shard))) => single(Verb::Read, shard, self.topology).over(vec![name]),
            Ok((name, Where::System)) => {
                system_schema(Verb::Read, self.request, self.topology).over(vec![name])
            }
            Ok((name, _)) => {
                self.any(Verb::Read, "The table has the same definition on every shard.").over(vec![name])
            }
            Err(error) => Plan::refused(Verb::Read, error),
        }
    }

    /// EXPLAIN goes where the explained statement goes, if that is one shard.
    fn explain(&self, inner: u32) -> Plan {
        let start = inner as usize;
        let end = self.request.statement.end as usize;
        // Blanks in front keep the offsets of literals.
        let mut text = vec![b' '; start];
        text.extend_from_slice(self.request.text.get(start..end).unwrap_or_default());
        let Some(mut plan) = self.inner_plan(&text) else { return self.unsupported("EXPLAIN") };
        let writes = plan.verb == Verb::Write && self.runs_explained(inner);
        let before =
            self.request.statement.literals.iter().filter(|literal| literal.span.start < inner).count();
        plan.verb = if writes { Verb::Write } else { Verb::LockingRead };
        plan.insert_id = InsertId::Unknown;
        plan.combine = if writes { Combine::Refuse { construct: "EXPLAIN" } } else { Combine::OneOf };
        plan.shard_columns.clear();
        match &mut plan.routing {
            Routing::Keys { parts, .. } => {
                for part in parts {
                    part.filter.shift(before);
                }
            }
            Routing::Insert { key, .. } => key.shift(before),
            Routing::Rows { .. } | Routing::Copies { .. } | Routing::Lines(_) => {
                return Plan::refused(
                    Verb::LockingRead,
                    ClientError::new("SW1215", "EXPLAIN of an INSERT by rows"),
                )
                .over(plan.tables);
            }
            Routing::Everywhere if writes => {
                return self.refused(Verb::Write, "ANALYZE of a write to every copy").over(plan.tables);
            }
            Routing::Everywhere => plan.routing = Routing::Anywhere,
            Routing::Anywhere | Routing::One(_) | Routing::Refused { .. } => {}
        }
        plan
    }

    /// ANALYZE and EXPLAIN ANALYZE carry out what they explain.
    fn runs_explained(&self, inner: u32) -> bool {
        let start = self.request.statement.verb_at as usize;
        let mut lexer = sql::Lexer::at(self.request.text, self.request.context, start);
        while let Ok(token) = lexer.next_token()
            && token.start < inner
        {
            if token.word() == sql::Word::Analyze {
                return true;
            }
        }
        false
    }
}

/// The column of a SHOW that names a table.
fn column_of_table(what: ShowWhat) -> Option<usize> {
    match what {
        ShowWhat::Tables | ShowWhat::TableStatus => Some(0),
        ShowWhat::Triggers => Some(2),
        _ => None,
    }
}

/// A place without its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// By the number of the scheme.
    Sharded(u16),
    Reference,
    Single(ShardId),
    System,
}
