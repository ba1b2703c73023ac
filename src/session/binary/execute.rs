//! COM_STMT_EXECUTE: arguments are bound, then the statement goes the way of all statements.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::super::asked::{Asked, Execution, PreparedText};
use super::super::held::Held;
use super::super::run::{Account, End, Session};
use super::super::statement::scan_refusal;
use super::arguments::{literal, parameter};
use super::prepare::runs_as_text;
use super::{malformed, unknown, wrong_arguments};
use crate::error::ClientError;
use crate::executor::{Call, Failure, Handle, Interrupt, Preparable, Stream, handle_for};
use crate::sql::{self, Feature, Parameter};
use crate::wire::{
    Argument, ExecuteError, ExecuteHead, ParameterType, RowFormat, Shape, close_packet, decode_arguments,
    query_packet,
};

/// What an execution brings.
struct Bound {
    text: Arc<PreparedText>,
    types: Vec<ParameterType>,
    arguments: Vec<Argument>,
    given: Vec<Option<Shape>>,
}

impl<S: Stream> Session<S> {
    pub(in super::super) async fn execute_prepared(&mut self, body: Bytes) -> Result<(), End> {
        let started = Instant::now();
        let head = ExecuteHead::decode(&body).map_err(|error| malformed(&error))?;
        // A KILL QUERY from before meant another statement.
        self.registration.alarm().lower(Call::EndStatement);
        self.account = Account::default();
        self.close_cursor(head.statement).await;
        let bound = match self.bind_arguments(head, &body) {
            Ok(bound) => bound,
            Err(error) => return self.refuse(&error).await,
        };
        let mut statement = std::mem::take(&mut self.statement);
        let result = match statement.scan(&bound.text.text, &bound.text.context) {
            Ok(()) => {
                self.due = self.deadline(statement.hint.as_ref());
                self.registration.begin_statement(&bound.text.text, &bound.text.context, started);
                self.row_format = RowFormat::Binary;
                let result = self.execute_bound(head, &bound, &statement).await;
                self.row_format = RowFormat::Text;
                result
            }
            Err(error) => self.refuse(&scan_refusal(&error)).await,
        };
        let ended = Instant::now();
        self.registration.end_statement(self.transaction.shard(), ended);
        self.account(&bound.text.text, &statement, ended.saturating_duration_since(started));
        self.statement = statement;
        result
    }

    fn bind_arguments(&mut self, head: ExecuteHead, body: &Bytes) -> Result<Bound, ClientError> {
        let mut long = self.prepared.take_long_data(head.statement);
        let Some(statement) = self.prepared.by_id.get_mut(&head.statement) else {
            return Err(unknown(head.statement, "mysqld_stmt_execute"));
        };
        if let Some(fault) = &statement.fault {
            return Err(fault.clone());
        }
        let arguments =
            decode_arguments(body, &mut statement.types, &mut long).map_err(|error| match error {
                ExecuteError::Malformed(_) | ExecuteError::NoTypes => wrong_arguments("mysqld_stmt_execute"),
                ExecuteError::Type { .. } => ClientError::new("SW1115", error.to_string()),
            })?;
        let types: Vec<ParameterType> = statement.types.iter().flatten().copied().collect();
        for ((given, bound), argument) in statement.given.iter_mut().zip(&types).zip(&arguments) {
            *given = argument.shape(*bound).or(*given);
        }
        let given = statement.given.clone();
        Ok(Bound { text: Arc::clone(&statement.text), types, arguments, given })
    }

    async fn execute_bound(
        &mut self,
        head: ExecuteHead,
        bound: &Bound,
        statement: &sql::Statement,
    ) -> Result<(), End> {
        let charset = self.variables.client_charset();
        let charset = (charset != bound.text.charset).then(|| charset.to_owned());
        let values = bound.arguments.iter().zip(&bound.types);
        let parameters: Vec<Parameter<'_>> =
            values.map(|(argument, of)| parameter(argument.value(*of), charset.as_deref())).collect();
        let execution = Execution {
            id: head.statement,
            prepared: &bound.text,
            cursor: head.cursor,
            types: &bound.types,
            arguments: &bound.arguments,
            given: &bound.given,
            parameters: &parameters,
            part: None,
        };
        let asked = Asked { text: &bound.text.text, statement, execution: Some(execution) };
        if runs_as_text(statement.kind) {
            return self.execute_as_text(asked, &execution).await;
        }
        if let Err(error) = self.begin_command(asked.text, statement) {
            return self.refuse(&error).await;
        }
        // Weights are remembered of texts of one character set only.
        if charset.is_some() {
            self.weights.forget();
        }
        let result = match self.answer_locally(asked.text, statement).await {
            Ok(false) => self.routed(asked).await,
            Ok(true) => Ok(()),
            Err(end) => Err(end),
        };
        if charset.is_some() {
            self.weights.forget();
        }
        result
    }

    /// A statement that controls the session: with its arguments written into it.
    async fn execute_as_text(&mut self, asked: Asked<'_>, execution: &Execution<'_>) -> Result<(), End> {
        let context = *self.variables.context();
        if context != execution.prepared.context {
            let detail =
                "a statement that controls the session, prepared under another sql_mode or character set";
            return self.refuse(&ClientError::new("SW1306", detail)).await;
        }
        let values = execution.arguments.iter().zip(execution.types);
        let charset = self.variables.client_charset();
        let literals: Option<Vec<Vec<u8>>> =
            values.map(|(argument, of)| literal(&argument.value(*of), &context, charset)).collect();
        let Some(literals) = literals else {
            return self.refuse(&wrong_arguments("mysqld_stmt_execute")).await;
        };
        let places = asked.statement.placeholders.iter().map(|offset| *offset..*offset + 1);
        let edits: Vec<_> = places.zip(literals.iter().map(Vec::as_slice)).collect();
        let text = Bytes::from(sql::splice(asked.text, &edits));
        let mut statement = sql::Statement::default();
        match statement.scan(&text, &context) {
            Ok(()) => self.dispatch(&text, &statement).await,
            Err(error) => self.refuse(&scan_refusal(&error)).await,
        }
    }

    /// The command that runs what is asked for on a connection, which has it prepared then if it came prepared.
    pub(in super::super) async fn command_on(
        &mut self,
        held: &mut Held,
        asked: Asked<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let Some(execution) = &asked.execution else { return Ok(query_packet(asked.text)) };
        let handle = self.handle_on(held, asked, execution, execution.keep(asked.text)).await?;
        let mut packets = execution.packets(handle.id, 0);
        if !handle.kept {
            packets.extend_from_slice(&close_packet(handle.id));
        }
        Ok(packets)
    }

    pub(super) async fn handle_on(
        &mut self,
        held: &mut Held,
        asked: Asked<'_>,
        execution: &Execution<'_>,
        keep: bool,
    ) -> Result<Handle, Failure> {
        let prepared = execution.prepared;
        let key = execution.key(asked.text);
        let (diagnostics, shard) = (held.diagnostics, held.shard.clone());
        let connection = held.lease.connection();
        // Preparing it would take the place of what it asks about.
        let asks = diagnostics && asked.statement.features.has(Feature::Diagnostics);
        let keys = [key, execution.unused_key(asked.text)];
        if asks && keys.iter().all(|key| connection.handles.find(*key).is_none()) {
            let detail = "@@warning_count and @@error_count of the statement before, by a prepared statement";
            return Err(Failure::Refused(ClientError::new("SW1306", detail)));
        }
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let unused_key = execution.unused_key(asked.text);
        let wanted = Preparable { text: asked.text, key, unused_key, state: &prepared.state, keep };
        handle_for(&mut self.client, connection, &shard, &wanted, &interrupt).await
    }
}
