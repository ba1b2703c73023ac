//! Cursors: an execution whose rows stay on its server until COM_STMT_FETCH asks for them. A cursor keeps its connection with the
//! session and has a handle of its own there, since the next execution of a handle closes its cursor. Statements that several shards
//! answer run without one; servers, too, open none where they cannot, and clients go by the flags.

use bytes::Bytes;

use super::super::asked::{Asked, Execution};
use super::super::held::Held;
use super::super::run::{Account, End, Session};
use super::super::settle::PIN_SHOWN_MAX;
use super::{malformed, unknown};
use crate::backend::Thread;
use crate::error::ClientError;
use crate::executor::{
    Call, Failure, Interrupt, Stream, close, cursor_exists, is_forgotten, last_row_sent, passthrough,
};
use crate::sql;
use crate::topology::ShardName;
use crate::wire::{Boundary, Fetch, Outcome};

/// Where an open cursor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    shard: ShardName,
    /// Of the connection.
    thread: Thread,
    handle: u32,
}

impl<S: Stream> Session<S> {
    /// Runs an execution that wants a cursor on one shard.
    pub(in super::super) async fn pass_with_cursor(
        &mut self,
        held: &mut Held,
        asked: Asked<'_>,
        execution: &Execution<'_>,
    ) -> Result<Outcome, Failure> {
        let key = execution.key(asked.text);
        let mut known = match execution.has_long_data() {
            true => None,
            false => held.lease.connection().handles.remove(key),
        };
        loop {
            let (handle, was_known) = match known.take() {
                Some(handle) => (handle, true),
                None => (self.handle_on(held, asked, execution, false).await?.id, false),
            };
            let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
            let connection = held.lease.connection();
            connection.send(&execution.packets(handle, execution.cursor)).await?;
            if was_known && is_forgotten(connection, &mut self.client, &interrupt).await? {
                continue;
            }
            let boundary = Boundary::query(self.client.deprecate_eof());
            let outcome = passthrough(connection, &mut self.client, &interrupt, boundary).await?;
            if outcome.error.is_none() && cursor_exists(outcome.status) {
                let thread = connection.thread();
                let context = &execution.prepared.context;
                held.open_cursor(&self.shared.metrics, || sql::redact(asked.text, context, PIN_SHOWN_MAX));
                if let Some(cursor) = self.prepared.cursor(execution.id) {
                    *cursor = Some(Cursor { shard: held.shard.clone(), thread, handle });
                }
            } else if was_known {
                connection.handles.insert(key, handle);
            } else {
                close(connection, handle).await?;
            }
            return Ok(outcome);
        }
    }

    /// COM_STMT_FETCH.
    pub(in super::super) async fn fetch(&mut self, body: Bytes) -> Result<(), End> {
        let fetch = Fetch::decode(&body).map_err(|error| malformed(&error))?;
        self.account = Account::default();
        self.registration.alarm().lower(Call::EndStatement);
        let Some(cursor) = self.prepared.cursor(fetch.statement) else {
            return self.refuse(&unknown(fetch.statement, "mysqld_stmt_fetch")).await;
        };
        let found = cursor.clone().and_then(|cursor| Some((self.take_cursor(&cursor)?, cursor)));
        let Some((mut held, cursor)) = found else {
            let detail = format!("The statement ({}) has no open cursor", fetch.statement);
            return self.refuse(&ClientError::new("SW1114", detail)).await;
        };
        match self.fetched(&mut held, &cursor, fetch).await {
            Ok(outcome) => {
                self.shared.executor_metrics.rows(outcome.rows);
                if last_row_sent(outcome.status) || outcome.error.is_some() {
                    self.end_cursor(fetch.statement, held, &cursor).await;
                } else {
                    self.keep_or_let_go(held);
                }
                Ok(())
            }
            Err(failure) => {
                self.prepared.cursor(fetch.statement).map(Option::take);
                let failure = self.lost(held, failure);
                self.fail(failure).await
            }
        }
    }

    async fn fetched(&mut self, held: &mut Held, cursor: &Cursor, fetch: Fetch) -> Result<Outcome, Failure> {
        self.due = self.deadline(None);
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let connection = held.lease.connection();
        connection.send(&fetch.packet(cursor.handle)).await?;
        let boundary = Boundary::fetch(self.client.deprecate_eof());
        passthrough(connection, &mut self.client, &interrupt, boundary).await
    }

    /// Closes the open cursor of a statement, if there is one.
    pub(super) async fn close_cursor(&mut self, statement: u32) {
        let Some(cursor) = self.prepared.cursor(statement).and_then(Option::take) else { return };
        if let Some(held) = self.take_cursor(&cursor) {
            self.end_cursor(statement, held, &cursor).await;
        }
    }

    async fn end_cursor(&mut self, statement: u32, mut held: Held, cursor: &Cursor) {
        self.prepared.cursor(statement).map(Option::take);
        held.close_cursor();
        match close(held.lease.connection(), cursor.handle).await {
            Ok(()) => self.keep_or_let_go(held),
            // What follows in its transaction says so.
            Err(error) => drop(self.lost(held, Failure::Backend(error))),
        }
    }

    fn take_cursor(&mut self, cursor: &Cursor) -> Option<Held> {
        let index = self.held.iter_mut().position(|held| {
            held.shard == cursor.shard && held.lease.connection().thread() == cursor.thread
        })?;
        Some(self.held.swap_remove(index))
    }
}
