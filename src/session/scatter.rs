//! Runs a routed statement on several shards: what it must not meet there, and what becomes of the connections.

use std::time::{SystemTime, UNIX_EPOCH};

use super::asked::Asked;
use super::diagnostics::Condition;
use super::execute::is_repeatable;
use super::held::Held;
use super::lend::{Effect, Joining};
use super::local::conditions_of;
use super::metrics::RouteLabel;
use super::run::Session;
use super::settle::{asked_insert_id, told_of_loss};
use super::variables::taints;
use crate::backend::BackendError;
use crate::config::TransactionMode;
use crate::error::ClientError;
use crate::executor::metrics::MultiShardOutcome;
use crate::executor::{
    Failure, Interrupt, Listing, Participant, Progress, Reply, Stream, Tally, Terms, concatenate,
    define_everywhere, merge, union, watched, write_everywhere, write_within,
};
use crate::planner::{Combine, InsertId, Merge, Plan, Routing, Verb};
use crate::router::Target;
use crate::sql::{Feature, Kind, LiteralClass};
use crate::topology::{Placement, Resolution, Role, ShardId, ShardName, Topology};
use crate::transaction::Transaction;
use crate::wire::{OkPacket, StatusFlags};

/// The default of sql_select_limit.
const NO_LIMIT: &[u8] = b"18446744073709551615";

/// Flags about the statement, not about the session.
const ABOUT_STATEMENT: StatusFlags = StatusFlags::SERVER_STATUS_NO_GOOD_INDEX_USED
    .union(StatusFlags::SERVER_STATUS_NO_INDEX_USED)
    .union(StatusFlags::SERVER_QUERY_WAS_SLOW);

impl<S: Stream> Session<S> {
    pub(super) async fn on_many(
        &mut self,
        plan: &Plan,
        targets: &[Target],
        role: Role,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let statement = asked.statement;
        self.check_many(plan, targets, statement.kind == Kind::Load, topology)?;
        self.account.shards = targets.len();
        self.shared.executor_metrics.scattered(targets.len());
        let joining = match plan.verb {
            // It commits before it runs, and begins nothing.
            Verb::Definition => Joining::Transaction,
            // Lists of names are no rows.
            Verb::Read | Verb::LockingRead if is_list(plan) => Joining::Nothing,
            Verb::Read | Verb::LockingRead | Verb::Write => Joining::WithOthers,
        };
        let fresh = self.held.is_empty() && !self.transaction.is_active();
        let (mut held, commands) = self.gather(targets, (role, joining), asked, topology).await?;
        self.next_transaction.clear();
        let mut participants: Vec<Participant<'_>> = held
            .iter_mut()
            .zip(&commands)
            .map(|(held, command)| Participant::new(held.shard.clone(), held.lease.connection(), command))
            .collect();
        let result = match statement.kind {
            Kind::Load => self.load_on_many(plan, targets, &mut participants, topology).await.map(Some),
            _ => self.run_on_many(plan, asked, &mut participants, topology).await,
        };
        let progress: Vec<Progress> = participants.iter().map(|participant| participant.progress).collect();
        let lost: Vec<bool> = participants.iter().map(|participant| participant.lost).collect();
        let copies = plan.combine == Combine::Identical || plan.verb == Verb::Definition;
        let warned = participants.iter().take(if copies { 1 } else { usize::MAX });
        let conditions: Vec<Condition> =
            warned.flat_map(|participant| &participant.warnings).map(|row| Condition::of_row(row)).collect();
        drop(participants);
        let generated = match &result {
            Ok(Some(ok)) => generated_id(&mut held, ok.last_insert_id, plan.insert_id).await,
            Ok(None) | Err(_) => 0,
        };
        let result = match plan.verb {
            Verb::Read | Verb::LockingRead => {
                let settled = self.settle_parts(held, &progress, result).await;
                settled.map_err(|failure| match failure {
                    Failure::Backend(BackendError::Lost { .. })
                        if fresh && plan.verb == Verb::Read && is_repeatable(statement) =>
                    {
                        Failure::Again(Box::new(failure))
                    }
                    other => other,
                })
            }
            Verb::Write if self.transaction.is_active() => {
                // Also by a part that was taken back: nobody looks at what it has called.
                held.iter().for_each(|one| self.transaction.wrote(&one.shard));
                held.iter_mut().for_each(|one| one.tainted |= taints(statement));
                self.settle_parts(held, &progress, result).await
            }
            Verb::Write | Verb::Definition => {
                let settled = is_settled(plan.verb, &result);
                let pinned = !settled && held.iter().any(|one| !one.pins.is_empty());
                for (mut one, lost) in held.into_iter().zip(lost) {
                    one.tainted |= taints(statement);
                    match settled && !lost {
                        true => self.keep_or_let_go(one),
                        // In the middle of something: the connections are closed.
                        false => {
                            self.abandon(one, was_stopped(&result));
                        }
                    }
                }
                self.show_pins();
                if pinned { result.map_err(|failure| told_of_loss(failure, true)) } else { result }
            }
        };
        if let Some(ok) = result? {
            self.diagnostics.finished_write(&OkPacket { last_insert_id: generated, ..ok.clone() });
            self.diagnostics.conditions = conditions;
            let status = self.status() | (ok.status & ABOUT_STATEMENT);
            let ok = OkPacket { status, ..ok };
            self.client.reply(Reply::Ok(ok)).await.map_err(Failure::ClientGone)?;
        }
        Ok(())
    }

    /// A connection to every target, each in the session's transaction, and the command that runs its part there. When one cannot be had the others stay as they were.
    pub(super) async fn gather(
        &mut self,
        targets: &[Target],
        how: (Role, Joining),
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(Vec<Held>, Vec<Vec<u8>>), Failure> {
        let mut held = Vec::with_capacity(targets.len());
        let mut commands = Vec::with_capacity(targets.len());
        for target in targets {
            self.account.shard = Some(topology.shard(target.shard).name.clone());
            match self.participant(target, how, asked, topology).await {
                Ok((one, command)) => {
                    held.push(one);
                    commands.push(command);
                }
                Err(failure) => {
                    held.into_iter().for_each(|one| self.keep_or_let_go(one));
                    return Err(failure);
                }
            }
        }
        Ok((held, commands))
    }

    async fn participant(
        &mut self,
        target: &Target,
        (role, joining): (Role, Joining),
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(Held, Vec<u8>), Failure> {
        let mut one = self.connection_of(target.shard, topology, role, joining).await?;
        if asked.statement.features.has(Feature::LastInsertId)
            && let Err(failure) = self.carry_last_insert_id(&mut one).await
        {
            return Err(self.lost(one, failure));
        }
        match self.command_on(&mut one, asked.of(target)).await {
            Ok(command) => Ok((one, command)),
            // Nothing was run.
            Err(failure @ (Failure::Server { .. } | Failure::Refused(_))) => {
                self.keep_or_let_go(one);
                Err(failure)
            }
            Err(failure) => Err(self.lost(one, failure)),
        }
    }

    /// After a statement on several shards: whose answer was read to the end stays in the transaction.
    pub(super) async fn settle_parts<T>(
        &mut self,
        held: Vec<Held>,
        progress: &[Progress],
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut lost, mut pinned, mut rolled_back) = (false, false, false);
        let reads = progress.contains(&Progress::Rows) || self.account.route == RouteLabel::Scatter;
        for (mut one, progress) in held.into_iter().zip(progress) {
            let (bound, kept) = (one.in_transaction, !one.pins.is_empty());
            match progress {
                Progress::Answered(status) => {
                    // As one server: those of the first shard first. Those of writes have been read.
                    if reads && result.is_ok() && self.diagnostics.warnings > 0 {
                        let Ok(more) = conditions_of(one.lease.connection()).await else {
                            (lost, pinned) = (lost | bound, pinned | kept);
                            continue;
                        };
                        self.diagnostics.conditions.extend(more);
                    }
                    one.in_transaction = status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                }
                Progress::Refused if bound => match one.lease.connection().status().await {
                    Ok(status) => {
                        one.in_transaction = status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                        rolled_back |= !one.in_transaction;
                        if !one.in_transaction && one.branch.is_some() {
                            // It waits for its XA ROLLBACK, with which nothing more would happen.
                            self.transaction.observe(&one.shard, false);
                            self.abandon(one, false);
                            continue;
                        }
                    }
                    Err(_) => {
                        (lost, pinned) = (true, pinned | kept);
                        continue;
                    }
                },
                Progress::Refused => {}
                // In the middle of something: it is closed.
                Progress::Begun | Progress::Rows => {
                    lost |= bound;
                    pinned |= !one.pins.is_empty();
                    // Nobody waits for its rows any more.
                    self.abandon(one, true);
                    continue;
                }
            }
            self.transaction.observe(&one.shard, one.in_transaction);
            self.keep_or_let_go(one);
        }
        self.show_pins();
        if rolled_back {
            self.roll_back_everywhere().await;
        } else if lost {
            self.transaction = Transaction::Aborted;
            return result.map_err(|failure| told_of_loss(failure, pinned));
        }
        if pinned { result.map_err(|failure| told_of_loss(failure, true)) } else { result }
    }

    /// Reads forward their rows to the client; writes and definitions give the OK packet to be sent.
    async fn run_on_many(
        &mut self,
        plan: &Plan,
        asked: Asked<'_>,
        participants: &mut [Participant<'_>],
        topology: &Topology,
    ) -> Result<Option<OkPacket>, Failure> {
        let (status, deadline) = (self.status(), self.due);
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        // The clock, unless the session has set its own.
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = self.variables.state().value("timestamp").is_none().then(now);
        match plan.verb {
            Verb::Read | Verb::LockingRead => {
                self.account.route = RouteLabel::Scatter;
                let outcome = match &plan.combine {
                    Combine::Names { database, table } => {
                        let keeps = |shard: &ShardName, name: &[u8]| is_at(topology, shard, database, name);
                        let names = Listing::Names { column: *table, keeps: &keeps };
                        union(participants, &names, status, &mut self.client, &interrupt).await?
                    }
                    Combine::Distinct => {
                        union(participants, &Listing::Distinct, status, &mut self.client, &interrupt).await?
                    }
                    Combine::Merge(plan) => {
                        let terms = Terms {
                            session_status: status,
                            format: self.row_format,
                            literals: condition_literals(plan, asked)?,
                            bytes_max: self.settings.limits.merge_bytes_max,
                        };
                        merge(plan, participants, terms, &mut self.client, &interrupt).await?
                    }
                    Combine::Concatenate
                    | Combine::Identical
                    | Combine::OneOf
                    | Combine::Refuse { .. }
                    | Combine::Scratch { .. } => {
                        concatenate(participants, self.row_format, status, &mut self.client, &interrupt)
                            .await?
                    }
                };
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
                if self.transaction.is_active() {
                    return write_within(participants, tally, moment, &interrupt).await.map(Some);
                }
                let ending = self.shared.ending(self.mode(), participants, &self.user, self.flavor);
                let written = write_everywhere(participants, tally, moment, &ending, &interrupt).await;
                self.shared.executor_metrics.multi_shard_write(match &written {
                    Ok(_) => MultiShardOutcome::Committed,
                    Err(failure) => MultiShardOutcome::of(failure),
                });
                written.map(Some)
            }
            Verb::Definition => {
                self.account.route = RouteLabel::Everywhere;
                let defined = define_everywhere(participants, moment);
                watched(&mut self.client, &interrupt, defined).await.map(Some)
            }
        }
    }

    /// What a statement over several shards must not meet.
    fn check_many(
        &self,
        plan: &Plan,
        targets: &[Target],
        loads: bool,
        topology: &Topology,
    ) -> Result<(), ClientError> {
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
        if plan.verb == Verb::Write {
            let refused = |why: &str| {
                let detail = format!("the statement touches {count} shards: {why}");
                Err(ClientError::new("SW1302", detail))
            };
            if self.transaction.mode(self.mode()) == TransactionMode::Single {
                return refused("the transaction mode is \"single\"");
            }
            if in_transaction && loads {
                return refused("LOAD DATA within a transaction");
            }
            if self.transaction.is_single() {
                return refused("the transaction began WITH CONSISTENT SNAPSHOT, which no XA branch can");
            }
        }
        let limit = self.settings.limits.scatter_shards_max;
        if count > limit && plan.verb != Verb::Definition {
            let detail =
                format!("the statement touches {count} shards and limits.scatter_shards_max is {limit}");
            return Err(ClientError::new("SW1217", detail));
        }
        // What may write was checked above, or has committed before it runs.
        let place = |target: &Target| self.check_place(&topology.shard(target.shard).name, Effect::Reads);
        targets.iter().try_for_each(place)
    }
}

/// The literals that merged rows are compared with, as the statement has them.
fn condition_literals(plan: &Merge, asked: Asked<'_>) -> Result<Vec<Vec<u8>>, ClientError> {
    let literal = |slot: usize| {
        let literal = asked.statement.literals.get(slot)?;
        let span = literal.span.start as usize..literal.span.end as usize;
        asked.text.get(span).filter(|_| literal.class != LiteralClass::Placeholder).map(<[u8]>::to_vec)
    };
    let unknown = || ClientError::new("SW1202", "a parameter in HAVING over several shards");
    plan.conditions.iter().map(|condition| literal(condition.slot).ok_or_else(unknown)).collect()
}

/// Whether the rows are about tables, not of them.
fn is_list(plan: &Plan) -> bool {
    matches!(plan.combine, Combine::Names { .. } | Combine::Distinct)
}

/// Whether the map has a table on this shard.
fn is_at(topology: &Topology, shard: &ShardName, database: &str, table: &[u8]) -> bool {
    let Ok(table) = std::str::from_utf8(table) else { return false };
    let on = |id: ShardId| topology.shard(id).name == *shard;
    match topology.resolve(database, table) {
        Resolution::Table(table) => match table.placement {
            Placement::Single { shard } => on(shard),
            Placement::Sharded { .. } | Placement::Reference => true,
        },
        Resolution::Unlisted(shard) => on(shard),
        Resolution::System | Resolution::UnknownTable | Resolution::UnknownDatabase => false,
    }
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

/// Whether a write may still run where it was begun.
fn was_stopped<T>(result: &Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Interrupted(_) | Failure::ClientGone(_)))
}

/// Whether all connections of a write over several shards have been read to the end of their answers.
fn is_settled(verb: Verb, result: &Result<Option<OkPacket>, Failure>) -> bool {
    match (verb, result) {
        (_, Ok(_)) => true,
        (Verb::Write | Verb::Definition, Err(Failure::Server { .. })) => true,
        (Verb::Definition, Err(Failure::Refused(_))) => true,
        (_, Err(_)) => false,
    }
}
