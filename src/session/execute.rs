//! Runs a routed statement: takes or lends connections, leads them to the session's state, runs, and decides what is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::diagnostics::Condition;
use super::held::Held;
use super::metrics::{RouteLabel, StatementResult};
use super::orders::SchemaOrder;
use super::run::{End, Session};
use super::variables::{pin_reason, taints};
use crate::backend::{BackendError, Fit};
use crate::error::{Classify, ClientError, Retry};
use crate::executor::metrics::MultiShardOutcome;
use crate::executor::{
    Answer, Failure, Interrupt, Participant, Reply, Stream, Tally, ask, concatenate, define_everywhere,
    passthrough, prepare, write_everywhere,
};
use crate::planner::{Combine, InsertId, Plan, Routing, Verb};
use crate::router::{Part, Route, Target};
use crate::sql::{self, Feature, Kind};
use crate::topology::{Role, Server, ShardId, ShardName, Topology};
use crate::transaction::Transaction;
use crate::wire::Outcome;
use crate::wire::query_packet;
use crate::wire::{OkPacket, StatusFlags};

/// The default of sql_select_limit.
const NO_LIMIT: &[u8] = b"18446744073709551615";

/// How long a client waits for the new schema after its DDL.
const SCHEMA_WAIT: Duration = Duration::from_secs(5);

/// Whether a statement belongs to the transaction that waits for its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    Transaction,
    /// It reads no table, so that it need not choose the transaction's shard.
    Nothing,
}

/// How a statement runs on its one shard.
#[derive(Debug, Clone, Copy)]
struct Way {
    role: Role,
    verb: Verb,
    joining: Joining,
    insert_id: InsertId,
}

impl<S: Stream> Session<S> {
    pub(super) async fn execute(
        &mut self,
        plan: &Plan,
        route: &Route,
        text: &Bytes,
        statement: &sql::Statement,
        topology: &Topology,
    ) -> Result<(), End> {
        let commits = plan.verb == Verb::Definition && !statement.features.has(Feature::TemporaryTable);
        if commits && let Err(failure) = self.commit_quietly().await {
            return self.fail(failure).await;
        }
        let lock = statement.features.has(Feature::NamedLock) && plan.tables.is_empty();
        let joining = if lock { Joining::Nothing } else { Joining::Transaction };
        let way = Way { role: route.role, verb: plan.verb, joining, insert_id: plan.insert_id };
        let result = match &route.part {
            Part::Any | Part::Nowhere => self.anywhere(plan, route.role, text, statement, topology).await,
            Part::One(shard) => self.on_one(*shard, way, text, statement, topology).await,
            Part::Many(targets) => match targets.as_slice() {
                [target] => {
                    let text =
                        target.text.as_ref().map_or_else(|| text.clone(), |text| Bytes::from(text.clone()));
                    self.on_one(target.shard, way, &text, statement, topology).await
                }
                targets => self.on_many(plan, targets, route.role, text, statement, topology).await,
            },
        };
        if plan.verb == Verb::Definition {
            self.wait_for_schema().await;
        }
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(failure).await,
        }
    }

    /// Any shard will do: one that the session holds, else one after the other until a server answers.
    async fn anywhere(
        &mut self,
        plan: &Plan,
        role: Role,
        text: &Bytes,
        statement: &sql::Statement,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let joining = if plan.tables.is_empty() { Joining::Nothing } else { Joining::Transaction };
        let way = Way { role, verb: plan.verb, joining, insert_id: plan.insert_id };
        let held = self.preferred().map(|index| self.held[index].shard.clone());
        if let Some(shard) = held.and_then(|shard| topology.shard_by_name(&shard.0)) {
            return self.on_one(shard.id, way, text, statement, topology).await;
        }
        let count = topology.shards.len();
        let start = self.registration.id() as usize;
        let mut last = None;
        for step in 0..count {
            let shard = &topology.shards[(start + step) % count];
            match self.on_one(shard.id, way, text, statement, topology).await {
                Err(failure @ Failure::Backend(_)) if failure.retry() == Retry::NothingSent => {
                    last = Some(failure)
                }
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Failure::Refused(ClientError::new("SW1211", "the map has no shards"))))
    }

    async fn on_one(
        &mut self,
        shard: ShardId,
        way: Way,
        text: &Bytes,
        statement: &sql::Statement,
        topology: &Topology,
    ) -> Result<(), Failure> {
        self.account.route = RouteLabel::Passthrough;
        self.account.shard = Some(topology.shard(shard).name.clone());
        self.account.shards = 1;
        // What reads no table needs nothing of the shard that the session is bound to.
        if way.joining == Joining::Transaction {
            self.check_place(&topology.shard(shard).name)?;
        }
        let mut tried_again = false;
        loop {
            let fresh = self.held.is_empty() && !self.transaction.is_active();
            let mut held = self.connection_of(shard, topology, way.role, way.joining).await?;
            if way.joining == Joining::Transaction {
                self.next_transaction.clear();
            }
            if statement.features.has(Feature::LastInsertId)
                && let Err(failure) = self.carry_last_insert_id(&mut held).await
            {
                return Err(self.lost(held, failure));
            }
            match self.pass(&mut held, text, statement).await {
                Ok(mut outcome) => {
                    match self.learn_insert_id(&mut held, way, text, statement, &mut outcome).await {
                        Ok(conditions) => {
                            self.settle(held, text, statement, &outcome);
                            self.diagnostics.conditions.extend(conditions);
                        }
                        // The client has its answer: what is lost with the connection is told by what follows.
                        Err(error) => drop(self.lost(held, Failure::Backend(error))),
                    }
                    return Ok(());
                }
                // An idle connection that the server had closed: a read whose answer has not begun may be asked again.
                Err(Failure::Backend(BackendError::Lost { .. }))
                    if way.verb == Verb::Read && fresh && !tried_again && is_repeatable(statement) =>
                {
                    tried_again = true;
                    self.shared.executor_metrics.retried();
                }
                // The whole answer was read.
                Err(failure @ Failure::Server { .. }) => {
                    self.keep_or_let_go(held);
                    return Err(failure);
                }
                Err(failure) => return Err(self.lost(held, failure)),
            }
        }
    }

    async fn pass(
        &mut self,
        held: &mut Held,
        text: &Bytes,
        statement: &sql::Statement,
    ) -> Result<Outcome, Failure> {
        let deadline = self.deadline(statement.hint.as_ref());
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        let status = self.status();
        let connection = held.lease.connection();
        // The server does not know of the transaction that waits for its first statement; clients go by the flag.
        let gives_rows = statement.kind == Kind::Select
            && !statement.features.has(Feature::UserVariableWrite)
            && !statement.features.has(Feature::IntoFile);
        if self.transaction.is_pending() && !held.in_transaction && gives_rows {
            let mut alone = [Participant { shard: held.shard.clone(), connection, text }];
            return concatenate(&mut alone, status, &mut self.client, &interrupt).await;
        }
        connection.send(&query_packet(text)).await?;
        passthrough(connection, &mut self.client, &interrupt).await
    }

    /// When a statement that begins now is stopped, and after how long.
    pub(super) fn deadline(&self, hint: Option<&sql::Hint>) -> Option<(Instant, Duration)> {
        let timeout = hint.and_then(|hint| hint.timeout);
        let timeout = timeout.unwrap_or(self.settings.limits.statement_timeout);
        (!timeout.is_zero()).then(|| (Instant::now() + timeout, timeout))
    }

    /// What LAST_INSERT_ID() is after a statement: the answer names ids that were given, too, and does not say what
    /// LAST_INSERT_ID(n) set. Asking takes the conditions of the statement from the server: they are returned.
    async fn learn_insert_id(
        &mut self,
        held: &mut Held,
        way: Way,
        text: &[u8],
        statement: &sql::Statement,
        outcome: &mut Outcome,
    ) -> Result<Vec<Condition>, BackendError> {
        let computed = outcome.error.is_none() && self.computes_insert_id(text, statement);
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

    /// `LAST_INSERT_ID(n)` where the answer does not name n.
    fn computes_insert_id(&self, text: &[u8], statement: &sql::Statement) -> bool {
        if !statement.features.has(Feature::LastInsertId)
            || !matches!(statement.kind, Kind::Select | Kind::Do)
        {
            return false;
        }
        let mut lexer = sql::Lexer::new(text, self.variables.context());
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

    /// After an answer: what the session has learned, and whether the connection stays with it.
    fn settle(&mut self, mut held: Held, text: &[u8], statement: &sql::Statement, outcome: &Outcome) {
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
        held.diagnostics =
            outcome.error.is_some() || outcome.warnings > 0 || statement.features.has(Feature::CalcFoundRows);
        held.tainted |= taints(statement);
        match pin_reason(statement, text) {
            Some(pin) if outcome.error.is_none() => held.pin(pin, &self.shared.metrics),
            // It may have done a part of what would have pinned.
            Some(_) => held.tainted = true,
            None => {}
        }
        if outcome.error.is_none() {
            held.unpin(statement);
        }
        self.keep_or_let_go(held);
    }

    pub(super) fn keep_or_let_go(&mut self, held: Held) {
        if held.reason().is_some() {
            self.held.push(held);
        } else {
            held.let_go();
        }
        self.show_pins();
    }

    /// SHOW SESSIONS tells which connection the session keeps, and why.
    pub(super) fn show_pins(&mut self) {
        let pin = self.held.iter().find_map(|held| Some((held.shard.to_string(), held.pin_reason()?)));
        if pin.is_some() || self.pin_shown {
            self.pin_shown = pin.is_some();
            self.registration.update(|activity| activity.pin = pin);
        }
    }

    /// A statement failed without an answer: its connection is closed, and a transaction on it is gone.
    pub(super) fn lost(&mut self, mut held: Held, failure: Failure) -> Failure {
        if let Failure::Interrupted(_) | Failure::ClientGone(_) = failure {
            self.stop_on_server(&mut held);
        }
        let was_transaction = held.in_transaction || self.transaction.shard() == Some(&held.shard);
        let was_pinned = !held.pins.is_empty();
        self.abandon(held, matches!(failure, Failure::Interrupted(_) | Failure::ClientGone(_)));
        self.show_pins();
        if !was_transaction && !was_pinned {
            return failure;
        }
        if was_transaction {
            self.transaction = Transaction::Aborted;
        }
        match failure {
            Failure::Backend(error) | Failure::Broken(error) => {
                Failure::Refused(ClientError::new("SW1304", error.to_string()))
            }
            other => other,
        }
    }

    /// Closes a connection; `running` when a statement may still run on it.
    fn abandon(&self, mut held: Held, running: bool) {
        if running {
            self.stop_on_server(&mut held);
        }
        drop(held);
    }

    /// KILL QUERY for a statement that nobody waits for any more, in the background and within a bounded time.
    fn stop_on_server(&self, held: &mut Held) {
        let server = held.lease.server().clone();
        let thread = held.lease.connection().thread_id();
        let credential = Arc::clone(&self.user.server);
        let pools = Arc::clone(&self.shared.pools);
        drop(self.shared.scope.spawn("kill-query", async move {
            if let Err(error) = pools.kill_query(&server, &credential, thread).await {
                tracing::warn!(server = %server.name, thread, %error, "a statement could not be stopped on its server");
            }
        }));
    }

    /// A statement may leave the shard that the session is bound to only when nothing that it could need is there.
    pub(super) fn check_place(&self, shard: &ShardName) -> Result<(), ClientError> {
        if let Some(bound) = self.transaction.shard()
            && bound != shard
        {
            let detail =
                format!("the transaction is on shard {bound} and the statement belongs to shard {shard}");
            return Err(ClientError::new("SW1301", detail));
        }
        for held in &self.held {
            if held.shard != *shard
                && let Some(pin) = held.binding()
            {
                let detail = format!(
                    "the session is pinned to shard {} ({pin}) and the statement belongs to {shard}",
                    held.shard
                );
                return Err(ClientError::new("SW1303", detail));
            }
        }
        Ok(())
    }

    /// A connection to the shard that carries the session's state and, if one is pending, its transaction.
    pub(super) async fn connection_of(
        &mut self,
        shard: ShardId,
        topology: &Topology,
        role: Role,
        joining: Joining,
    ) -> Result<Held, Failure> {
        let shard = topology.shard(shard);
        let server = self.server_of(shard, role)?;
        let mut held = match self.take_held(&shard.name, server) {
            Some(held) => held,
            None if self.transaction.shard() == Some(&shard.name) => {
                self.transaction = Transaction::Aborted;
                let detail = format!("the connection of the transaction on shard {} is gone", shard.name);
                return Err(Failure::Refused(ClientError::new("SW1304", detail)));
            }
            None => {
                let wanted = self.variables.state();
                let lease = self.shared.pools.lease(server, &self.user.server, self.flavor, wanted).await?;
                Held::new(shard.name.clone(), lease)
            }
        };
        if let Err(failure) = self.make_ready(&mut held, joining).await {
            return Err(self.lost(held, failure));
        }
        Ok(held)
    }

    async fn make_ready(&mut self, held: &mut Held, joining: Joining) -> Result<(), Failure> {
        self.lead(held).await?;
        if joining == Joining::Transaction && !held.in_transaction {
            self.open_transaction(held).await?;
        }
        Ok(())
    }

    /// Leads a connection to the session's state. What lives on a connection that is kept would not survive a reset.
    pub(super) async fn lead(&self, held: &mut Held) -> Result<(), Failure> {
        let wanted = self.variables.state();
        let kept = held.in_transaction || !held.pins.is_empty();
        if kept && matches!(held.lease.connection().state.fits(wanted), Fit::Reset | Fit::Unfit) {
            let detail =
                format!("the connection to shard {} cannot be led to the session's variables", held.shard);
            return Err(Failure::Refused(ClientError::new("SW1306", detail)));
        }
        prepare(held.lease.connection(), wanted).await
    }

    /// Sends what waits for the transaction's first statement. The caller forgets `next_transaction` once all connections of
    /// the statement have it.
    async fn open_transaction(&mut self, held: &mut Held) -> Result<(), Failure> {
        let mut opening: Vec<Vec<u8>> = self.next_transaction.clone();
        let begin = self.transaction.opening();
        // Without BEGIN it stays on the connection when the statement begins no transaction (it fails, it reads no table): whoever
        // came next would have it.
        held.tainted |= begin.is_empty() && !opening.is_empty();
        opening.extend(begin.into_iter().map(<[u8]>::to_vec));
        for statement in opening {
            match ask(held.lease.connection(), &statement).await? {
                Answer::Ok(ok) => {
                    held.in_transaction = ok.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                }
                Answer::Rows(_) => {}
                Answer::Error(packet) => return Err(Failure::Server { shard: held.shard.clone(), packet }),
            }
        }
        if held.in_transaction {
            self.transaction.observe(&held.shard, true);
        }
        Ok(())
    }

    pub(super) fn server_of<'a>(
        &self,
        shard: &'a crate::topology::Shard,
        role: Role,
    ) -> Result<&'a Server, ClientError> {
        match role {
            Role::Primary => Ok(&shard.primary),
            Role::Replica if self.transaction.is_active() => Ok(&shard.primary),
            Role::Replica => {
                let count = shard.replicas.len();
                if count == 0 {
                    let detail = format!("shard {} has no replica", shard.name);
                    return Err(ClientError::new("SW1211", detail));
                }
                Ok(&shard.replicas[self.registration.id() as usize % count])
            }
        }
    }

    /// Which of the kept connections takes a statement that any could take: the one that statements are bound to.
    pub(super) fn preferred(&self) -> Option<usize> {
        let bound = self.held.iter().position(|held| held.binding().is_some());
        let bound = bound.or_else(|| self.held.iter().position(|held| held.in_transaction));
        bound.or(if self.held.is_empty() { None } else { Some(0) })
    }

    /// The kept connection to this server, or to any server of the shard when what lives on it must be used.
    fn take_held(&mut self, shard: &ShardName, server: &Server) -> Option<Held> {
        let fits =
            |held: &Held| held.lease.server() == server || held.in_transaction || held.binding().is_some();
        let index = self.held.iter().position(|held| held.shard == *shard && fits(held))?;
        Some(self.held.swap_remove(index))
    }

    /// The connection that the open transaction lives on.
    pub(super) fn take_transaction(&mut self, shard: &ShardName) -> Option<Held> {
        let index = self.held.iter().position(|held| held.shard == *shard && held.in_transaction)?;
        Some(self.held.swap_remove(index))
    }

    async fn on_many(
        &mut self,
        plan: &Plan,
        targets: &[Target],
        role: Role,
        text: &Bytes,
        statement: &sql::Statement,
        topology: &Topology,
    ) -> Result<(), Failure> {
        self.check_many(plan, targets, topology)?;
        self.account.shards = targets.len();
        self.shared.executor_metrics.scattered(targets.len());
        let mut held = Vec::with_capacity(targets.len());
        for target in targets {
            self.account.shard = Some(topology.shard(target.shard).name.clone());
            let mut one = self.connection_of(target.shard, topology, role, Joining::Transaction).await?;
            if statement.features.has(Feature::LastInsertId) {
                self.carry_last_insert_id(&mut one).await?;
            }
            held.push(one);
        }
        self.next_transaction.clear();
        let mut participants: Vec<Participant<'_>> = held
            .iter_mut()
            .zip(targets)
            .map(|(held, target)| Participant {
                shard: held.shard.clone(),
                connection: held.lease.connection(),
                text: target.text.as_deref().unwrap_or(text),
            })
            .collect();
        let result = self.run_on_many(plan, statement, &mut participants).await;
        drop(participants);
        let generated = match &result {
            Ok(Some(ok)) => generated_id(&mut held, ok.last_insert_id, plan.insert_id).await,
            Ok(None) | Err(_) => 0,
        };
        if is_settled(plan.verb, &result) {
            for mut one in held {
                one.tainted |= taints(statement);
                self.keep_or_let_go(one);
            }
        } else {
            // In the middle of something: the connections are closed.
            for one in held {
                self.abandon(one, matches!(result, Err(Failure::Interrupted(_) | Failure::ClientGone(_))));
            }
        }
        if let Some(ok) = result? {
            self.diagnostics.finished_write(&OkPacket { last_insert_id: generated, ..ok.clone() });
            let ok = OkPacket { status: self.status(), ..ok };
            self.client.reply(Reply::Ok(ok)).await.map_err(Failure::ClientGone)?;
        }
        Ok(())
    }

    /// Reads forward their rows to the client; writes and definitions give the OK packet to be sent.
    async fn run_on_many(
        &mut self,
        plan: &Plan,
        statement: &sql::Statement,
        participants: &mut [Participant<'_>],
    ) -> Result<Option<OkPacket>, Failure> {
        let (status, deadline) = (self.status(), self.deadline(statement.hint.as_ref()));
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        match plan.verb {
            Verb::Read | Verb::LockingRead => {
                self.account.route = RouteLabel::Scatter;
                let outcome = concatenate(participants, status, &mut self.client, &interrupt).await?;
                self.diagnostics.finished(&outcome);
                Ok(None)
            }
            Verb::Write => {
                self.account.route = RouteLabel::Everywhere;
                let tally = match (&plan.combine, &plan.routing) {
                    (Combine::Identical, _) => Tally::First,
                    (_, Routing::Rows { .. }) => Tally::Inserts,
                    _ => Tally::Sum,
                };
                let written = write_everywhere(participants, tally, &interrupt).await;
                self.shared.executor_metrics.multi_shard_write(match &written {
                    Ok(_) => MultiShardOutcome::Committed,
                    Err(Failure::Refused(_)) => MultiShardOutcome::Partial,
                    Err(_) => MultiShardOutcome::RolledBack,
                });
                written.map(Some)
            }
            Verb::Definition => {
                self.account.route = RouteLabel::Everywhere;
                define_everywhere(participants).await.map(Some)
            }
        }
    }

    /// What a statement over several shards must not meet.
    fn check_many(&self, plan: &Plan, targets: &[Target], topology: &Topology) -> Result<(), ClientError> {
        let count = targets.len();
        if let Combine::Refuse { construct } = plan.combine {
            let detail = format!("{construct} over {count} shards needs a merge, which is not there yet");
            return Err(ClientError::new("SW1202", detail));
        }
        let limited = self.variables.state().value("sql_select_limit").is_some_and(|limit| limit != NO_LIMIT);
        if limited && matches!(plan.verb, Verb::Read | Verb::LockingRead) {
            let detail =
                format!("sql_select_limit over {count} shards, each of which would give so many rows");
            return Err(ClientError::new("SW1202", detail));
        }
        let in_transaction = self.transaction.is_active() || !self.variables.autocommit();
        if in_transaction && plan.verb != Verb::Definition {
            let detail = format!("the statement touches {count} shards");
            return Err(ClientError::new(if plan.verb == Verb::Write { "SW1302" } else { "SW1301" }, detail));
        }
        let limit = self.settings.limits.scatter_shards_max;
        if count > limit && plan.verb != Verb::Definition {
            let detail =
                format!("the statement touches {count} shards and limits.scatter_shards_max is {limit}");
            return Err(ClientError::new("SW1217", detail));
        }
        targets.iter().try_for_each(|target| self.check_place(&topology.shard(target.shard).name))
    }

    async fn wait_for_schema(&self) {
        let (reply, published) = oneshot::channel();
        if self.shared.orders.schema.send(SchemaOrder { reply }).await.is_err() {
            return;
        }
        if tokio::time::timeout(SCHEMA_WAIT, published).await.is_err() {
            tracing::warn!("the schema was not read again within {SCHEMA_WAIT:?} of a definition");
        }
    }

    /// Forwards a statement to the connection of the open transaction; `ends` when it is the transaction's last.
    pub(super) async fn forward_to(&mut self, shard: &ShardName, text: &[u8], ends: bool) -> Result<(), End> {
        let Some(mut held) = self.take_transaction(shard) else {
            self.transaction = if ends { Transaction::None } else { Transaction::Aborted };
            let detail = format!("the connection of the transaction on shard {shard} is gone");
            return self.refuse(&ClientError::new("SW1304", detail)).await;
        };
        let statement = sql::Statement::default();
        let text = Bytes::copy_from_slice(text);
        let result = match self.pass(&mut held, &text, &statement).await {
            Ok(outcome) => {
                self.settle(held, &text, &statement, &outcome);
                Ok(())
            }
            Err(failure) if ends => {
                // Nobody knows whether it was carried out.
                let unknown = match &failure {
                    Failure::Interrupted(interrupted) => {
                        Some(ClientError::new("SW1403", interrupted.to_string()))
                    }
                    _ => None,
                };
                self.abandon(held, unknown.is_some());
                self.show_pins();
                self.transaction = Transaction::None;
                Err(unknown.map_or(failure, Failure::Refused))
            }
            Err(failure) => Err(self.lost(held, failure)),
        };
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(failure).await,
        }
    }

    /// LAST_INSERT_ID() on whichever connection: the server is told the session's own value first.
    pub(super) async fn carry_last_insert_id(&self, held: &mut Held) -> Result<(), Failure> {
        let statement = format!("SET last_insert_id = {}", self.diagnostics.last_insert_id);
        match ask(held.lease.connection(), statement.as_bytes()).await? {
            Answer::Ok(_) | Answer::Rows(_) => Ok(()),
            Answer::Error(packet) => Err(Failure::Server { shard: held.shard.clone(), packet }),
        }
    }
}

/// LAST_INSERT_ID() of a connection.
async fn asked_insert_id(held: &mut Held) -> Result<Option<u64>, BackendError> {
    let Answer::Rows(rows) = ask(held.lease.connection(), b"SELECT LAST_INSERT_ID()").await? else {
        return Ok(None);
    };
    let value = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    Ok(value.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()))
}

/// The id that several shards' answer names, if one of them generated it; else 0.
async fn generated_id(held: &mut [Held], told: u64, source: InsertId) -> u64 {
    match source {
        InsertId::Generated => return told,
        InsertId::Unknown if told != 0 => {}
        InsertId::Given | InsertId::Unknown => return 0,
    }
    for one in held {
        match asked_insert_id(one).await {
            Ok(Some(asked)) if asked == told => return told,
            Ok(_) => {}
            // The pool finds out that it is dead.
            Err(error) => tracing::debug!(%error, "LAST_INSERT_ID() could not be asked for"),
        }
    }
    0
}

/// Whether running the statement twice is the same as running it once.
fn is_repeatable(statement: &sql::Statement) -> bool {
    let effects = [Feature::SideEffect, Feature::NamedLock, Feature::UserVariableWrite, Feature::IntoFile];
    statement.kind == sql::Kind::Select && !effects.iter().any(|effect| statement.features.has(*effect))
}

/// Whether all connections of a statement over several shards have been read to the end of their answers.
fn is_settled(verb: Verb, result: &Result<Option<OkPacket>, Failure>) -> bool {
    match (verb, result) {
        (_, Ok(_)) => true,
        (Verb::Write | Verb::Definition, Err(Failure::Server { .. })) => true,
        (Verb::Definition, Err(Failure::Refused(_))) => true,
        (_, Err(_)) => false,
    }
}
