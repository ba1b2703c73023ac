//! After a statement: what the session has learned from the answer, and whether its connection is kept, given back or closed.

use std::sync::Arc;

use super::asked::Asked;
use super::diagnostics::Condition;
use super::execute::Way;
use super::held::Held;
use super::metrics::StatementResult;
use super::registry::PinStatus;
use super::run::Session;
use super::variables::{Release, may_hide_changes, noticed, pin_reason, taints};
use crate::backend::{BackendError, Connection};
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Stream, ask, ask_for};
use crate::planner::InsertId;
use crate::sql::{self, Feature, Kind};
use crate::transaction::Transaction;
use crate::wire::Outcome;
use crate::wire::StatusFlags;

/// Characters of a statement that pinned which are kept for SHOW PINS.
pub(super) const PIN_SHOWN_MAX: usize = 256;

impl<S: Stream> Session<S> {
    /// After an answer: what the session has learned, and whether the connection stays with it.
    pub(super) fn settle(&mut self, mut held: Held, asked: Asked<'_>, outcome: &Outcome) {
        let Asked { text, statement, .. } = asked;
        self.diagnostics.finished(outcome);
        self.shared.executor_metrics.rows(outcome.rows);
        self.account.result = match outcome.error {
            None => StatementResult::Ok,
            Some(_) => StatementResult::ServerError,
        };
        match outcome.error {
            None => {
                held.in_transaction = StatusFlags::from_bits_truncate(outcome.status)
                    .contains(StatusFlags::SERVER_STATUS_IN_TRANS)
            }
            // An ERR packet has no flags. Without autocommit the failed statement may have begun a transaction.
            Some(_) => held.in_transaction |= !self.variables.autocommit(),
        }
        self.transaction.observe(&held.shard, held.in_transaction);
        self.diagnostics.counted_on_server = statement.features.has(Feature::CalcFoundRows);
        // Showing warnings does not clear them.
        let shown = held.diagnostics && outcome.error.is_none() && self.is_show_warnings(text, statement);
        held.diagnostics = shown
            || outcome.error.is_some()
            || outcome.warnings > 0
            || statement.features.has(Feature::CalcFoundRows);
        held.tainted |= taints(statement);
        let (context, database) = self.reading(&asked);
        match pin_reason(statement, text, context, database) {
            Some(pin) if outcome.error.is_none() => {
                held.pin(pin, &self.shared.metrics, || sql::redact(text, context, PIN_SHOWN_MAX));
            }
            // It may have done a part of what would have pinned.
            Some(_) => held.tainted = true,
            None => {}
        }
        // Servers go to the database of the PREPARE for an execution, and back: that is told as a change, and none stays. Whatever else
        // it was, the connection is reset before it is shared.
        let swaps = asked.execution.is_some() && database != self.variables.state().database();
        let changed = outcome.error.is_none() && outcome.state_changed && !swaps;
        if changed && may_hide_changes(statement, text) {
            held.pin(noticed(), &self.shared.metrics, || sql::redact(text, context, PIN_SHOWN_MAX));
        }
        if outcome.error.is_none() && !held.pins.is_empty() {
            held.unpin(&Release::of(statement, text, context, database));
        }
        self.keep_or_let_go(held);
    }

    /// What LAST_INSERT_ID() is after a statement: the answer names ids that were given, too, and does not say what
    /// LAST_INSERT_ID(n) set. Asking takes the conditions of the statement from the server: they are returned.
    pub(super) async fn learn_insert_id(
        &mut self,
        held: &mut Held,
        way: Way,
        asked: Asked<'_>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Condition>, BackendError> {
        let statement = asked.statement;
        let computed = outcome.error.is_none() && self.computes_insert_id(asked);
        let told = outcome.error.is_none() && outcome.last_insert_id != 0 && statement.kind != Kind::Update;
        let trusted = !told || way.insert_id == InsertId::Generated;
        if !computed && trusted {
            return Ok(Vec::new());
        }
        if !computed && way.insert_id == InsertId::Given {
            outcome.last_insert_id = 0;
            return Ok(Vec::new());
        }
        let mut conditions = Vec::new();
        if std::mem::take(&mut outcome.warnings) > 0 {
            self.read_diagnostics(held).await?;
            conditions = std::mem::take(&mut self.diagnostics.conditions);
        }
        let asked = asked_insert_id(held).await?;
        if computed {
            self.diagnostics.last_insert_id = asked.unwrap_or_default();
        } else if asked != Some(outcome.last_insert_id) {
            outcome.last_insert_id = 0;
        }
        Ok(conditions)
    }

    /// `LAST_INSERT_ID(n)` and generated ids where the answer does not name them.
    fn computes_insert_id(&self, asked: Asked<'_>) -> bool {
        let Asked { text, statement, .. } = asked;
        if hides_insert_id(statement.kind) {
            return true;
        }
        let (context, _) = self.reading(&asked);
        if !statement.features.has(Feature::LastInsertId)
            || !matches!(statement.kind, Kind::Select | Kind::Do)
        {
            return false;
        }
        let mut lexer = sql::Lexer::new(text, context);
        let mut tokens =
            std::iter::from_fn(|| lexer.next_token().ok().filter(|token| token.kind != sql::TokenKind::End));
        while let Some(token) = tokens.next() {
            if token.text(text).eq_ignore_ascii_case(b"LAST_INSERT_ID")
                && tokens.next().is_some_and(|next| next.is_symbol(b'('))
                && tokens.next().is_some_and(|next| !next.is_symbol(b')'))
            {
                return true;
            }
        }
        false
    }

    /// LAST_INSERT_ID() on whichever connection: the server is told the session's own value first.
    pub(super) async fn carry_last_insert_id(&mut self, held: &mut Held) -> Result<(), Failure> {
        let statement = format!("SET last_insert_id = {}", self.diagnostics.last_insert_id);
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let asked = ask_for(&mut self.client, held.lease.connection(), statement.as_bytes(), &interrupt);
        match asked.await? {
            Answer::Ok(_) | Answer::Rows(_) => Ok(()),
            Answer::Error(packet) => Err(Failure::Server { shard: held.shard.clone(), packet }),
        }
    }

    pub(super) fn keep_or_let_go(&mut self, held: Held) {
        if held.reason().is_some() {
            self.held.push(held);
        } else {
            held.let_go();
        }
        self.show_pins();
    }

    /// After a statement that may have released a lock by name: the server knows whether one is left.
    pub(super) async fn ask_for_locks(
        &self,
        held: &mut Held,
        statement: &sql::Statement,
        outcome: &Outcome,
    ) -> Result<(), BackendError> {
        // Asking would take the statement's warnings from the server.
        let quiet = outcome.error.is_none() && outcome.warnings == 0;
        if !quiet || !statement.features.has(Feature::NamedLock) {
            return Ok(());
        }
        let Some(names) = held.named_locks() else { return Ok(()) };
        let asked: Vec<String> =
            names.iter().map(|name| format!("COALESCE(IS_USED_LOCK({name}) = CONNECTION_ID(), 0)")).collect();
        let question = format!("SELECT {}", asked.join(" + "));
        if let Answer::Rows(rows) = ask(held.lease.connection(), question.as_bytes()).await?
            && rows.first().and_then(|row| row.first()).and_then(Option::as_deref) == Some(b"0")
        {
            held.unpin(&Release::of_named_locks());
        }
        Ok(())
    }

    /// SHOW PINS tells which connections the session keeps, and why.
    pub(super) fn show_pins(&mut self) {
        let pins: Vec<PinStatus> = self.held.iter().flat_map(Held::pins_shown).collect();
        if !pins.is_empty() || self.pin_shown {
            self.pin_shown = !pins.is_empty();
            self.registration.update(|activity| activity.pins = pins);
        }
    }

    /// A statement failed without an answer: its connection is closed, and a transaction on it is gone.
    pub(super) fn lost(&mut self, held: Held, failure: Failure) -> Failure {
        let was_transaction = held.in_transaction || self.transaction.shards().contains(&held.shard);
        let was_pinned = !held.pins.is_empty();
        self.abandon(held, matches!(failure, Failure::Interrupted(_) | Failure::ClientGone(_)));
        self.show_pins();
        if !was_transaction && !was_pinned {
            return failure;
        }
        if was_transaction {
            self.transaction = Transaction::Aborted;
        }
        told_of_loss(failure, was_pinned)
    }

    /// Closes a connection; `running` when a statement may still run on it.
    pub(super) fn abandon(&self, mut held: Held, running: bool) {
        if running {
            self.stop_on_server(&mut held);
        }
        drop(held);
    }

    /// KILL QUERY for a statement that nobody waits for any more, in the background and within a bounded time.
    fn stop_on_server(&self, held: &mut Held) {
        let server = held.lease.server().clone();
        let thread = held.lease.connection().thread();
        let credential = Arc::clone(&self.user.server);
        let pools = Arc::clone(&self.shared.pools);
        drop(self.shared.scope.spawn("kill-query", async move {
            if let Err(error) = pools.kill_query(&server, &credential, thread).await {
                tracing::warn!(server = %server.name, %thread, %error, "a statement could not be stopped on its server");
            }
        }));
    }
}

/// A statement that may generate ids which its answer never names. The connection must know the session's own id before it.
pub(super) fn hides_insert_id(kind: Kind) -> bool {
    matches!(kind, Kind::Load | Kind::Call)
}

/// What a client is told when a connection went that a transaction lived on, or something else that it may count on.
pub(super) fn told_of_loss(failure: Failure, pinned: bool) -> Failure {
    match failure {
        Failure::Interrupted(interrupted) if pinned => {
            let detail = format!("{interrupted}; the connection that the session was pinned to went with it");
            Failure::Refused(ClientError::new("SW1304", detail))
        }
        other => other.of_transaction(),
    }
}

/// LAST_INSERT_ID() of a connection.
pub(super) async fn asked_insert_id(held: &mut Held) -> Result<Option<u64>, BackendError> {
    asked_number(held.lease.connection(), b"SELECT LAST_INSERT_ID()").await
}

/// What a server answers to a question with one number for an answer.
pub(super) async fn asked_number(
    connection: &mut Connection,
    question: &[u8],
) -> Result<Option<u64>, BackendError> {
    let Answer::Rows(rows) = ask(connection, question).await? else { return Ok(None) };
    let value = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    Ok(value.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()))
}
