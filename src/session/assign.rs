//! SET: checked by a server first, so that a wrong value gets MySQL's own error; then followed from connection to connection,
//! or, where it cannot be, the session stays on the connection that carries it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::asked::Asked;
use super::held::Held;
use super::lend::{Effect, Joining};
use super::run::{End, Session};
use super::settle::PIN_SHOWN_MAX;
use super::variables::{Changes, Pin, Release, Until, Variables, Verdict};
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Reply, Stream, ask_for, ask_typed, prepare};
use crate::planner;
use crate::router::Part;
use crate::sql::{self, AssignedValue, Assignment, Feature, Flavor};
use crate::topology::{Role, ShardId};
use crate::transaction::Transaction;
use crate::wire::{OkPacket, StatusFlags};

/// A SET as it is sent to a server.
struct Run<'t> {
    text: Cow<'t, [u8]>,
    /// The one that must run it.
    place: Option<(ShardId, Joining)>,
    reads_insert_id: bool,
}

impl<S: Stream> Session<S> {
    pub(super) async fn assign(&mut self, text: &Bytes, statement: &sql::Statement) -> Result<(), End> {
        let assignments = match sql::assignments(text, statement, self.variables.context()) {
            Ok(assignments) => assignments,
            Err(error) => return self.refuse(&ClientError::new("SW1201", error.to_string())).await,
        };
        if let Some(set) = self.set_own(&assignments) {
            return self.answer(set).await;
        }
        if let Err(error) = self.may_assign(text, statement) {
            return self.refuse(&error).await;
        }
        if self.transaction.is_aborted() && !self.variables.autocommit() && mentions(text, "autocommit") {
            // It would commit.
            return self.refuse(&super::begin::aborted("its connection is gone; end it with ROLLBACK")).await;
        }
        if self.is_joint() && !self.variables.autocommit() && mentions(text, "autocommit") {
            // On one shard it would commit that shard's part alone.
            if let Err(failure) = self.commit_quietly().await {
                return self.fail(failure).await;
            }
        }
        let verdict = self.variables.decide(text, &assignments);
        let verdict = match self.hidden_pin(text, statement, &assignments) {
            Some(hidden) => verdict.pinned(hidden),
            None => verdict,
        };
        if statement.features.has(Feature::FoundRows)
            && let Err(error) = self.learn_found_rows().await
        {
            return self.fail(Failure::Backend(error)).await;
        }
        let run = match self.run_of(text, statement, &assignments).await {
            Ok(run) => run,
            Err(error) => return self.refuse(&error).await,
        };
        match verdict {
            Verdict::Refuse(error) => self.refuse(&error).await,
            Verdict::NextTransaction if self.transaction.is_active() => {
                let detail =
                    "Transaction characteristics can't be changed while a transaction is in progress";
                self.refuse(&ClientError::new("SW1308", detail)).await
            }
            Verdict::NextTransaction => {
                self.next_transaction.push(text.to_vec());
                self.reply_ok().await
            }
            Verdict::Follow(changes) => self.set(run, changes, &[], None).await,
            Verdict::FollowAfterReadBack { changes, names } => self.set(run, changes, &names, None).await,
            Verdict::Pin { pin, changes, names } => self.set(run, changes, &names, Some(pin)).await,
        }
    }

    /// Whether the user may name the databases of functions and queries in the values.
    fn may_assign(&self, text: &[u8], statement: &sql::Statement) -> Result<(), ClientError> {
        let database = self.variables.state().database();
        let request = planner::Request { text, statement, context: self.variables.context(), database };
        self.may_say(&request, None, &self.shared.topology.load())
    }

    /// What the values of SET leave behind besides what is assigned: locks by name, variables set within expressions.
    fn hidden_pin(&self, text: &[u8], statement: &sql::Statement, assignments: &[Assignment]) -> Option<Pin> {
        if statement.features.has(Feature::NamedLock) {
            return Some(Pin::new("named_lock", Until::SessionReset));
        }
        let context = self.variables.context();
        let writes = assignments.iter().any(|assignment| match &assignment.value {
            AssignedValue::Expression { span } => {
                let value = text.get(span.start as usize..span.end as usize).unwrap_or_default();
                sql::tokens(value, context).any(|token| token.is_symbol(sql::symbol::ASSIGN))
            }
            AssignedValue::Literal { .. } | AssignedValue::Default | AssignedValue::Absent => false,
        });
        writes.then(|| Pin::new("user_variable", Until::SessionReset))
    }

    /// SET SESSION TRANSACTION is followed as the variables that it sets.
    pub(super) async fn set_session_transaction(&mut self, text: &[u8]) -> Result<(), End> {
        let names = match self.variables.context().flavor {
            Flavor::MySql => ["transaction_isolation", "transaction_read_only"],
            Flavor::MariaDb => ["tx_isolation", "tx_read_only"],
        };
        let run = Run { text: Cow::Borrowed(text), place: None, reads_insert_id: false };
        self.set(run, Changes::default(), &names.map(str::to_owned), None).await
    }

    /// How the statement is run so that its values are what they would be on the client's own connection.
    async fn run_of<'t>(
        &mut self,
        text: &'t [u8],
        statement: &sql::Statement,
        assignments: &[Assignment],
    ) -> Result<Run<'t>, ClientError> {
        let features = statement.features;
        let read = self.shard_of_values(text, assignments).await?;
        let mut place = read.map(|shard| (shard, Joining::Transaction));
        if features.has(Feature::NamedLock) && place.is_none() && self.chosen.shard.is_none() {
            let topology = self.shared.topology.load();
            // As for SELECT: all sessions ask the same shard for locks by name.
            place = topology.shards.first().map(|shard| (shard.id, Joining::Nothing));
        }
        let unread = |error: sql::ParseError| ClientError::new("SW1201", error.to_string());
        let context = self.variables.context();
        let mentions = sql::session_values(text, statement, context).map_err(unread)?;
        let reads_insert_id = mentions.sets_insert_id;
        // `SET @@identity = 1` assigns.
        let assigned = |mention: &sql::SessionMention| {
            assignments.iter().any(|assignment| assignment.span.start == mention.span.start)
        };
        // A variable takes the type of its value.
        let typed = |mention| sql::SessionMention { typed: true, ..mention };
        let list = mentions.list.into_iter().filter(|mention| !assigned(mention)).map(typed).collect();
        let mentions = sql::SessionMentions { list, unnamed: Vec::new(), sets_insert_id: false };
        let text = self.replaced(text, mentions, context.charset)?.map_or(Cow::Borrowed(text), Cow::Owned);
        Ok(Run { text, place, reads_insert_id })
    }

    /// The shard that has the tables which the values read; `None` when any will do.
    async fn shard_of_values(
        &mut self,
        text: &[u8],
        assignments: &[Assignment],
    ) -> Result<Option<ShardId>, ClientError> {
        let values: Vec<&[u8]> = assignments
            .iter()
            .filter_map(|assignment| match &assignment.value {
                AssignedValue::Expression { span } => text.get(span.start as usize..span.end as usize),
                _ => None,
            })
            .collect();
        let topology = self.shared.topology.load();
        let database = self.variables.state().database();
        let values = values.join(b", ".as_slice());
        let planned = planner::expressions(&values, database, self.variables.context(), &topology)?;
        let Some((plan, query, statement)) = planned else { return Ok(None) };
        self.may_name(&plan.tables)?;
        let route = self.route(&plan, Asked::text(&query, &statement), &topology).await?;
        match route.part {
            Part::One(shard) => Ok(Some(shard)),
            Part::Any | Part::Nowhere => Ok(None),
            Part::Scratch => {
                Err(ClientError::new("SW1202", "a value of SET that is read from several shards"))
            }
            Part::Many(targets) => {
                let detail = format!("a value of SET that is read from {} shards", targets.len());
                Err(ClientError::new("SW1202", detail))
            }
        }
    }

    async fn set(
        &mut self,
        run: Run<'_>,
        changes: Changes,
        names: &[String],
        pin: Option<Pin>,
    ) -> Result<(), End> {
        match self.set_on_a_server(run, changes, names, pin).await {
            Ok(ok) => {
                self.diagnostics.finished_write(&ok);
                let ok = OkPacket { status: self.status(), ..ok };
                Ok(self.client.reply(Reply::Ok(ok)).await?)
            }
            Err(failure) => self.fail(failure).await,
        }
    }

    /// Runs the statement on a connection that is the session's for the moment, reads back what came from expressions, and
    /// only then changes what the session wants of all its connections.
    async fn set_on_a_server(
        &mut self,
        run: Run<'_>,
        changes: Changes,
        names: &[String],
        pin: Option<Pin>,
    ) -> Result<OkPacket, Failure> {
        let mut held = match run.place {
            None => self.any_connection().await?,
            Some((shard, joining)) => {
                let topology = self.shared.topology.load();
                self.check_place(&topology.shard(shard).name, Effect::Reads)?;
                let held = self.connection_of(shard, &topology, Role::Primary, joining).await?;
                if joining == Joining::Transaction {
                    self.next_transaction.clear();
                }
                held
            }
        };
        if run.reads_insert_id
            && let Err(failure) = self.carry_last_insert_id(&mut held).await
        {
            return Err(self.lost(held, failure));
        }
        let deadline = self.due;
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        let answer = ask_for(&mut self.client, held.lease.connection(), &run.text, &interrupt).await;
        let ok = match answer {
            Ok(Answer::Ok(ok)) => ok,
            Ok(Answer::Rows(_)) => OkPacket::default(),
            Ok(Answer::Error(packet)) => {
                let shard = held.shard.clone();
                // A SET of several variables may have set some of them before it failed.
                held.tainted = true;
                self.keep_or_let_go(held);
                return Err(Failure::Server { shard, packet });
            }
            Err(failure) => return Err(self.lost(held, failure)),
        };
        let autocommit = self.variables.autocommit();
        let mut constants = changes.user_variables();
        if let Some(Pin { until: Until::Gone(computed), .. }) = &pin {
            constants.retain(|name| !computed.contains(name));
        }
        let mut stay = BTreeSet::new();
        if names.is_empty() {
            self.variables.commit(changes);
        } else {
            let question = Variables::read_back_statement(names);
            let (columns, rows) = match ask_typed(held.lease.connection(), question.as_bytes()).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let detail = "a server would not tell what a SET made of its values";
                    return Err(self.lost(held, Failure::Refused(ClientError::new("SW1306", detail))));
                }
                Err(error) => return Err(self.lost(held, Failure::Backend(error))),
            };
            let values: Vec<Option<&[u8]>> =
                rows.first().into_iter().flatten().map(Option::as_deref).collect();
            stay = self.variables.commit_read_back(changes, names, &columns, &values);
            constants.retain(|name| !stay.contains(name));
        }
        let pin = match (pin, stay.is_empty()) {
            (pin, true) => pin,
            (None, false) => Some(Pin::until_gone("user_variable", Some(stay))),
            (Some(pin), false) => Some(Pin::new(pin.reason, Until::SessionReset)),
        };
        let switched_on = !autocommit && self.variables.autocommit();
        if switched_on && self.transaction.shard().is_none() {
            // Switching it on commits, also a transaction that no server knows of yet.
            self.transaction = Transaction::None;
        }
        // They were learned under the character set of before.
        self.weights.forget();
        held.lease.connection().state = self.variables.state().clone();
        held.unpin(&Release::of_variables(constants));
        if let Some(pin) = pin {
            let context = self.variables.context();
            held.pin(pin, &self.shared.metrics, || sql::redact(&run.text, context, PIN_SHOWN_MAX));
        }
        held.in_transaction = ok.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
        self.transaction.observe(&held.shard, held.in_transaction);
        let shard = held.shard.clone();
        self.keep_or_let_go(held);
        if switched_on {
            // The server that was written has committed; on the others was nothing to be lost.
            self.end_on_others(&shard, b"COMMIT").await;
        }
        Ok(ok)
    }

    /// A connection that the session holds, or a connection of any shard whose primary answers. It does not begin a pending
    /// transaction.
    async fn any_connection(&mut self) -> Result<Held, Failure> {
        if let Some(index) = self.preferred() {
            let mut held = self.held.swap_remove(index);
            return match self.lead(&mut held).await {
                Ok(()) => Ok(held),
                Err(failure) => Err(self.lost(held, failure)),
            };
        }
        let topology = self.shared.topology.load();
        let count = topology.shards.len();
        let start = self.registration.id() as usize;
        let mut last = None;
        for step in 0..count {
            let shard = &topology.shards[(start + step) % count];
            // What pins must pin the shard that the session's statements go to.
            if self.chosen.shard.as_ref().is_some_and(|chosen| *chosen != shard.name) {
                continue;
            }
            let server = self.server_of(shard, self.chosen.role.unwrap_or(Role::Primary))?;
            match self
                .shared
                .pools
                .lease(server, &self.user.server, self.flavor, self.variables.state())
                .await
            {
                Ok(lease) => {
                    let mut held = Held::new(shard.name.clone(), lease);
                    prepare(held.lease.connection(), self.variables.state()).await?;
                    return Ok(held);
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(Failure::Backend(error)),
            None => Err(Failure::Refused(ClientError::new("SW1211", "the map has no shards"))),
        }
    }
}

fn mentions(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
