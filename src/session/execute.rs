//! Runs a routed statement on one shard, on any, or hands it on to `scatter`. Connections come from `lend` and go through
//! `settle`.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::asked::Asked;
use super::held::Held;
use super::lend::{Effect, Joining};
use super::metrics::{RouteLabel, StatementResult};
use super::orders::SchemaOrder;
use super::run::{End, Session};
use super::settle::hides_insert_id;
use crate::backend::BackendError;
use crate::error::{Classify, ClientError, Retry};
use crate::executor::{
    Failure, Interrupt, Participant, Stream, concatenate, is_forgotten, pass_load, passthrough,
    refused_as_read_only, tells_of_demotion,
};
use crate::planner::{Combine, InsertId, Plan, Routing, Verb};
use crate::router::{Part, Route};
use crate::sql::{self, Feature, Kind};
use crate::topology::{Home, Role, ShardId, ShardName, Topology};
use crate::transaction::Transaction;
use crate::wire::{Boundary, ErrPacket, Outcome};

/// How long a client waits for the new schema after its DDL.
const SCHEMA_WAIT: Duration = Duration::from_secs(5);

/// How a statement runs on its one shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) role: Role,
    pub(super) verb: Verb,
    pub(super) joining: Joining,
    pub(super) insert_id: InsertId,
    pub(super) effect: Effect,
}

impl<S: Stream> Session<S> {
    pub(super) async fn execute(
        &mut self,
        plan: &Plan,
        route: &Route,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let statement = asked.statement;
        let maintains = plan.combine == Combine::Distinct;
        let commits =
            maintains || plan.verb == Verb::Definition && !statement.features.has(Feature::TemporaryTable);
        if commits {
            self.commit_quietly().await?;
        }
        self.check_standing(plan, route, topology)?;
        let lock = statement.features.has(Feature::NamedLock) && plan.tables.is_empty();
        let joining = if lock { Joining::Nothing } else { Joining::Transaction };
        let (verb, insert_id, effect) = (plan.verb, plan.insert_id, effect_of(plan));
        let way = Way { role: route.role, verb, joining, insert_id, effect };
        let result = match &route.part {
            Part::Any | Part::Nowhere => self.anywhere(plan, route.role, asked, topology).await,
            Part::One(shard) => self.on_one(*shard, way, asked, topology).await,
            Part::Scratch => self.in_scratch(route.role, asked, topology).await,
            Part::Many(targets) => match targets.as_slice() {
                // A file is split for one shard, too: a key that no shard owns must be found.
                [target] if !matches!(plan.routing, Routing::Lines(_)) => {
                    self.on_one(target.shard, way, asked.of(target), topology).await
                }
                [target, ..] if plan.combine == Combine::OneOf => {
                    self.on_one(target.shard, way, asked, topology).await
                }
                targets => self.on_many(plan, targets, route.role, asked, topology).await,
            },
        };
        if plan.verb == Verb::Definition {
            self.wait_for_schema().await;
        }
        result
    }

    /// Any shard will do: one that the session holds, else one after the other until a server answers.
    async fn anywhere(
        &mut self,
        plan: &Plan,
        role: Role,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        // What EXECUTE reads is not in its text.
        let alone = plan.tables.is_empty() && asked.statement.kind != Kind::Prepare;
        let joining = if alone { Joining::Nothing } else { Joining::Transaction };
        let (verb, insert_id, effect) = (plan.verb, plan.insert_id, effect_of(plan));
        let way = Way { role, verb, joining, insert_id, effect };
        let held = self.preferred().map(|index| self.held[index].shard.clone());
        if let Some(shard) = held.and_then(|shard| topology.shard_by_name(&shard.0)) {
            return self.on_one(shard.id, way, asked, topology).await;
        }
        let count = topology.shards.len();
        let start = self.registration.id() as usize;
        let mut shards: Vec<_> = (0..count).map(|step| &topology.shards[(start + step) % count]).collect();
        // First where the database's tables are whole, so that what pins does not pin elsewhere; last where a connection would be
        // waited for in vain.
        let home = match self.variables.state().database().and_then(|name| topology.database(name)) {
            Some(database) => database.home(),
            None => Home::Anywhere,
        };
        shards.sort_by_key(|shard| {
            let failing = shard.why_lost().is_some() || self.shared.pools.is_failing(&shard.primary);
            (failing, home != Home::One(shard.id))
        });
        let mut last = None;
        for shard in shards {
            match self.on_one(shard.id, way, asked, topology).await {
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
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let statement = asked.statement;
        self.account.route = RouteLabel::Passthrough;
        self.account.shard = Some(topology.shard(shard).name.clone());
        self.account.shards = 1;
        // What reads no table needs nothing of the shard that the session is bound to.
        if way.joining == Joining::Transaction {
            self.check_place(&topology.shard(shard).name, way.effect)?;
            self.check_alone(&topology.shard(shard).name, statement.kind)?;
        }
        let mut tried_again = false;
        loop {
            let fresh = self.held.is_empty() && !self.transaction.is_active();
            let mut held = self.connection_of(shard, topology, way.role, way.joining).await?;
            if way.joining == Joining::Transaction {
                self.next_transaction.clear();
            }
            if (statement.features.has(Feature::LastInsertId) || hides_insert_id(statement.kind))
                && let Err(failure) = self.carry_last_insert_id(&mut held).await
            {
                return Err(self.lost(held, failure));
            }
            match self.pass(&mut held, asked).await {
                Ok(mut outcome) => {
                    let learned = async {
                        let learned = self.learn_insert_id(&mut held, way, asked, &mut outcome).await?;
                        self.ask_for_locks(&mut held, statement, &outcome).await?;
                        Ok(learned)
                    };
                    match learned.await {
                        Ok(conditions) => {
                            if outcome.error.is_some_and(|(code, _)| tells_of_demotion(code)) {
                                self.shared.pools.suspect(&held.lease.server().name);
                            }
                            let ended = self.ended_by_error(&mut held, &outcome).await;
                            self.settle(held, asked, &outcome);
                            if way.joining == Joining::Transaction && way.effect == Effect::Writes {
                                self.transaction.wrote(&topology.shard(shard).name);
                            }
                            self.diagnostics.conditions.extend(conditions);
                            if ended {
                                self.roll_back_everywhere().await;
                            }
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
                Err(failure @ Failure::Backend(BackendError::Lost { .. }))
                    if way.verb == Verb::Read && fresh && is_repeatable(statement) =>
                {
                    return Err(Failure::Again(Box::new(self.lost(held, failure))));
                }
                // The whole answer was read.
                Err(failure @ (Failure::Server { .. } | Failure::Again(_))) => {
                    self.keep_or_let_go(held);
                    return Err(failure);
                }
                Err(failure) => return Err(self.lost(held, failure)),
            }
        }
    }

    /// What may end the transaction on its own shard must not when others have been written.
    fn check_alone(&self, shard: &ShardName, kind: Kind) -> Result<(), ClientError> {
        let written = self.transaction.written();
        let may_end = matches!(
            kind,
            Kind::Call
                | Kind::Prepare
                | Kind::Xa
                | Kind::LockTables
                | Kind::UnlockTables
                | Kind::Administration
                | Kind::Grant
                | Kind::Other
        );
        match written.iter().find(|written| *written != shard) {
            Some(other) if may_end => {
                let detail = format!(
                    "the transaction has written on shard {other}, and the statement could end its part on shard {shard} alone"
                );
                Err(ClientError::new("SW1301", detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn pass(&mut self, held: &mut Held, asked: Asked<'_>) -> Result<Outcome, Failure> {
        let statement = asked.statement;
        // The server does not know of the transaction that waits for its first statement; clients go by the flag.
        let gives_rows = statement.kind == Kind::Select
            && !statement.features.has(Feature::UserVariableWrite)
            && !statement.features.has(Feature::IntoFile);
        let told_apart = self.transaction.is_pending() && !held.in_transaction && gives_rows;
        if let Some(execution) = &asked.execution
            && asked.wants_cursor()
            && !told_apart
        {
            return self.pass_with_cursor(held, asked, execution).await;
        }
        let mut command = self.command_on(held, asked).await?;
        let status = self.status();
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let connection = held.lease.connection();
        if told_apart {
            let mut alone = [Participant::new(held.shard.clone(), connection, &command)];
            return concatenate(&mut alone, self.row_format, status, &mut self.client, &interrupt).await;
        }
        connection.send(&command).await?;
        if statement.kind == Kind::Load {
            return pass_load(connection, &mut self.client, &interrupt).await;
        }
        let boundary = Boundary::query(self.client.deprecate_eof());
        if let Some(execution) = &asked.execution
            && is_forgotten(connection, &mut self.client, &interrupt).await?
        {
            connection.handles.lost(execution.key(asked.text));
            command = self.command_on(held, asked).await?;
            held.lease.connection().send(&command).await?;
        }
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        if self.may_be_refused(held, statement)
            && let Some(packet) =
                refused_as_read_only(held.lease.connection(), &mut self.client, &interrupt).await?
        {
            self.shared.pools.suspect(&held.lease.server().name);
            let by_role = says_read_only(&packet);
            let failure = Failure::Server { shard: held.shard.clone(), packet };
            return Err(if by_role { Failure::Again(Box::new(failure)) } else { failure });
        }
        passthrough(held.lease.connection(), &mut self.client, &interrupt, boundary).await
    }

    /// A write that is a transaction by itself: when its server takes no writes, nothing of it was done.
    fn may_be_refused(&self, held: &Held, statement: &sql::Statement) -> bool {
        let alone = !held.in_transaction && !self.transaction.is_active() && self.variables.autocommit();
        alone
            && held.binding().is_none()
            && matches!(
                statement.kind,
                Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete | Kind::Definition | Kind::Grant
            )
    }

    /// When a statement that begins now is stopped, and after how long.
    pub(super) fn deadline(&self, hint: Option<&sql::Hint>) -> Option<(Instant, Duration)> {
        let timeout = hint.and_then(|hint| hint.timeout);
        let timeout = timeout.unwrap_or(self.settings.limits.statement_timeout);
        (!timeout.is_zero()).then(|| (Instant::now() + timeout, timeout))
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

    /// Forwards a statement to the connection of the open transaction; `ends` when it is the transaction's last. Returns
    /// what the client was answered.
    pub(super) async fn forward_to(
        &mut self,
        shard: &ShardName,
        text: &[u8],
        ends: bool,
    ) -> Result<StatementResult, End> {
        let Some(mut held) = self.take_transaction(shard) else {
            self.transaction = if ends { Transaction::None } else { Transaction::Aborted };
            let detail = format!("the connection of the transaction on shard {shard} is gone");
            self.refuse(&ClientError::new("SW1304", detail)).await?;
            return Ok(StatementResult::Refused);
        };
        let statement = sql::Statement::default();
        let result = match self.pass(&mut held, Asked::text(text, &statement)).await {
            Ok(outcome) => {
                self.settle(held, Asked::text(text, &statement), &outcome);
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
        if let Err(failure) = result {
            self.fail(failure).await?;
        }
        Ok(self.account.result)
    }
}

/// What may become of rows: definitions commit before they run and are not part of a transaction.
fn effect_of(plan: &Plan) -> Effect {
    match plan.verb {
        Verb::Read | Verb::LockingRead if !plan.calls_stored => Effect::Reads,
        Verb::Read | Verb::LockingRead | Verb::Write | Verb::Definition => Effect::Writes,
    }
}

/// Error 1290 is about any option of the server's.
fn says_read_only(packet: &ErrPacket) -> bool {
    let text = packet.message.to_ascii_lowercase();
    [b"read-only".as_slice(), b"read_only", b"read only"]
        .iter()
        .any(|word| text.windows(word.len()).any(|part| part == *word))
}

/// Whether running the statement twice is the same as running it once.
pub(super) fn is_repeatable(statement: &sql::Statement) -> bool {
    let effects = [Feature::SideEffect, Feature::NamedLock, Feature::UserVariableWrite, Feature::IntoFile];
    statement.kind == sql::Kind::Select && !effects.iter().any(|effect| statement.features.has(*effect))
}
