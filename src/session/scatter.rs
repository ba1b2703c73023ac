//! Runs a routed statement on several shards: what it must not meet there, and what becomes of the connections.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::held::Held;
use super::lend::Joining;
use super::metrics::RouteLabel;
use super::run::Session;
use super::settle::{asked_insert_id, told_of_loss};
use super::variables::taints;
use crate::error::ClientError;
use crate::executor::metrics::MultiShardOutcome;
use crate::executor::{
    Failure, Interrupt, Participant, Reply, Stream, Tally, concatenate, define_everywhere, watched,
    write_everywhere,
};
use crate::planner::{Combine, InsertId, Plan, Routing, Verb};
use crate::router::Target;
use crate::sql::{self, Feature};
use crate::topology::{Role, Topology};
use crate::wire::OkPacket;

/// The default of sql_select_limit.
const NO_LIMIT: &[u8] = b"18446744073709551615";

impl<S: Stream> Session<S> {
    pub(super) async fn on_many(
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
            match self.participant(target, topology, role, statement).await {
                Ok(one) => held.push(one),
                // Nothing was done with the others: one shard that is down must not cost their connections.
                Err(failure) => {
                    held.into_iter().for_each(|one| self.keep_or_let_go(one));
                    return Err(failure);
                }
            }
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
        let result = self.run_on_many(plan, &mut participants).await;
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
            let pinned = held.iter().any(|one| !one.pins.is_empty());
            for one in held {
                self.abandon(one, matches!(result, Err(Failure::Interrupted(_) | Failure::ClientGone(_))));
            }
            self.show_pins();
            if pinned {
                return result.map(drop).map_err(|failure| told_of_loss(failure, pinned));
            }
        }
        if let Some(ok) = result? {
            self.diagnostics.finished_write(&OkPacket { last_insert_id: generated, ..ok.clone() });
            let ok = OkPacket { status: self.status(), ..ok };
            self.client.reply(Reply::Ok(ok)).await.map_err(Failure::ClientGone)?;
        }
        Ok(())
    }

    async fn participant(
        &mut self,
        target: &Target,
        topology: &Topology,
        role: Role,
        statement: &sql::Statement,
    ) -> Result<Held, Failure> {
        let mut one = self.connection_of(target.shard, topology, role, Joining::Transaction).await?;
        if statement.features.has(Feature::LastInsertId)
            && let Err(failure) = self.carry_last_insert_id(&mut one).await
        {
            return Err(self.lost(one, failure));
        }
        Ok(one)
    }

    /// Reads forward their rows to the client; writes and definitions give the OK packet to be sent.
    async fn run_on_many(
        &mut self,
        plan: &Plan,
        participants: &mut [Participant<'_>],
    ) -> Result<Option<OkPacket>, Failure> {
        let (status, deadline) = (self.status(), self.due);
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        // The clock, unless the session has set its own.
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = self.variables.state().value("timestamp").is_none().then(now);
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
                let written = write_everywhere(participants, tally, moment, &interrupt).await;
                self.shared.executor_metrics.multi_shard_write(match &written {
                    Ok(_) => MultiShardOutcome::Committed,
                    Err(Failure::Refused(_)) => MultiShardOutcome::Partial,
                    Err(_) => MultiShardOutcome::RolledBack,
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

/// Whether all connections of a statement over several shards have been read to the end of their answers.
fn is_settled(verb: Verb, result: &Result<Option<OkPacket>, Failure>) -> bool {
    match (verb, result) {
        (_, Ok(_)) => true,
        (Verb::Write | Verb::Definition, Err(Failure::Server { .. })) => true,
        (Verb::Definition, Err(Failure::Refused(_))) => true,
        (_, Err(_)) => false,
    }
}
