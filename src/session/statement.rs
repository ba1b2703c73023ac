//! The path of one statement: scan, plan, route, execute, account. The only place that knows all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::asked::{Asked, Execution};
use super::orders::{Order, WeightOrder};
use super::patience::Patience;
use super::run::{Account, End, Session};
use crate::error::ClientError;
use crate::executor::Stream;
use crate::planner::{self, Denied, Plan, PlanKey};
use crate::router::{self, Route, RouteError, SessionView};
use crate::sql::{self, Feature, HintRole, Kind, ScanError};
use crate::topology::{Role, SYSTEM_SCHEMAS, Topology};

/// Texts whose weights one statement may ask for, round by round.
const WEIGHT_ROUNDS_MAX: usize = 64;

/// Characters of a slow statement that are logged.
const SHOWN_MAX: usize = 4096;

impl<S: Stream> Session<S> {
    /// `scanned` is how the scan of `text` into `statement` ended.
    pub(super) async fn run_statement(
        &mut self,
        text: &Bytes,
        scanned: Result<(), ScanError>,
        statement: &sql::Statement,
    ) -> Result<(), End> {
        let started = Instant::now();
        self.account = Account::default();
        let result = match scanned {
            Ok(()) => {
                self.due = self.deadline(statement.hint.as_ref());
                self.registration.begin_statement(text, self.variables.context(), started);
                self.dispatch(text, statement).await
            }
            Err(error) => self.refuse(&scan_refusal(&error)).await,
        };
        let ended = Instant::now();
        self.registration.end_statement(self.transaction.shard(), ended);
        self.account(text, statement, ended.saturating_duration_since(started));
        result
    }

    pub(super) async fn dispatch(&mut self, text: &Bytes, statement: &sql::Statement) -> Result<(), End> {
        if let Err(error) = self.begin_command(text, statement) {
            return self.refuse(&error).await;
        }
        match statement.kind {
            Kind::Empty if text.iter().all(|byte| matches!(byte, 0 | b';' | b' ' | 9..=13)) => {
                self.refuse(&ClientError::new("SW1216", "Query was empty")).await
            }
            // As servers answer a comment.
            Kind::Empty => self.reply_ok().await,
            Kind::SetTransaction => {
                match sql::transaction_settings(text, statement, self.variables.context()) {
                    Ok(settings) => self.set_transaction(settings, text).await,
                    Err(error) => self.refuse(&ClientError::new("SW1201", error.to_string())).await,
                }
            }
            Kind::Begin | Kind::Commit | Kind::Rollback | Kind::Savepoint => {
                match sql::control(text, statement, self.variables.context()) {
                    Ok(control) => self.control(control, text).await,
                    Err(error) => self.refuse(&ClientError::new("SW1201", error.to_string())).await,
                }
            }
            Kind::Set => self.assign(text, statement).await,
            Kind::Use => {
                let switched = match sql::outline(text, statement, self.variables.context())
                    .map(|outline| outline.verb)
                {
                    Ok(sql::Verb::Use { database }) => self.switch(database.as_bytes()),
                    _ => Err(ClientError::new("SW1201", "USE takes the name of one database")),
                };
                self.answer(switched).await
            }
            Kind::Shardway => self.operate(text, statement).await,
            Kind::Kill => self.kill_by_statement(text, statement).await,
            Kind::Select
            | Kind::Insert
            | Kind::Replace
            | Kind::Update
            | Kind::Delete
            | Kind::Show
            | Kind::Explain
            | Kind::Definition
            | Kind::Grant
            | Kind::Administration
            | Kind::LockTables
            | Kind::UnlockTables
            | Kind::Call
            | Kind::Do
            | Kind::Prepare
            | Kind::Xa
            | Kind::Load
            | Kind::Handler
            | Kind::Other => {
                if statement.kind == Kind::Load
                    && let Err(error) = self.may_load(text, statement)
                {
                    return self.refuse(&error).await;
                }
                if self.answer_locally(text, statement).await? {
                    return Ok(());
                }
                match self.with_own_values(text, statement).await {
                    Ok(None) => self.routed(Asked::text(text, statement)).await,
                    Ok(Some((text, statement))) => self.routed(Asked::text(&text, &statement)).await,
                    Err(failure) => self.fail(failure).await,
                }
            }
        }
    }

    /// What every statement begins with, however it came.
    pub(super) fn begin_command(
        &mut self,
        text: &[u8],
        statement: &sql::Statement,
    ) -> Result<(), ClientError> {
        if !self.asks_for_diagnostics(text, statement) {
            self.release_diagnostics();
            self.diagnostics.conditions.clear();
        }
        if self.transaction.is_aborted()
            && !may_follow_abort(statement.kind)
            && !self.is_show_warnings(text, statement)
        {
            return Err(super::begin::aborted("its connection is gone; end it with ROLLBACK"));
        }
        Ok(())
    }

    pub(super) async fn routed(&mut self, asked: Asked<'_>) -> Result<(), End> {
        let mut patience = Patience::default();
        loop {
            let topology = self.shared.topology.load();
            let plan = self.plan(asked, &topology);
            if let Err(error) = self.may_run(&plan, asked, &topology) {
                return self.refuse(&error).await;
            }
            let route = match self.route(&plan, asked, &topology).await {
                Ok(route) => route,
                Err(error) => return self.refuse(&error).await,
            };
            let chosen = asked.statement.hint.as_ref().is_some_and(|hint| hint.role.is_some());
            self.account.splits = self.may_split(&plan, asked, self.chosen.role) && !chosen;
            let failure = match self.execute(&plan, &route, asked, &topology).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if let Err(failure) = self.wait_for_primary(failure, topology.epoch, &mut patience).await {
                return self.fail(failure).await;
            }
        }
    }

    /// Whether the user may name the databases of these tables, `database.table` each.
    pub(super) fn may_name(&self, tables: &[String]) -> Result<(), ClientError> {
        let Some(allowed) = self.user.databases.as_deref() else { return Ok(()) };
        let databases = tables.iter().filter_map(|table| table.split_once('.')).map(|(database, _)| database);
        for database in databases {
            let listed = SYSTEM_SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(database))
                || allowed.iter().any(|name| name.eq_ignore_ascii_case(database));
            if !listed {
                return Err(access_denied(&self.user.name, &format!("to database '{database}'")));
            }
        }
        Ok(())
    }

    /// Whether the user may name all databases that the statement can name.
    pub(super) fn may_run(
        &self,
        plan: &Plan,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), ClientError> {
        self.may_name(&plan.tables)?;
        let (context, database) = self.reading(&asked);
        let request = planner::Request { text: asked.text, statement: asked.statement, context, database };
        self.may_say(&request, Some(plan), topology)
    }

    pub(super) fn may_say(
        &self,
        request: &planner::Request<'_>,
        plan: Option<&Plan>,
        topology: &Topology,
    ) -> Result<(), ClientError> {
        let Some(allowed) = self.user.databases.as_deref() else { return Ok(()) };
        let user = &self.user.name;
        match planner::denied(request, plan, allowed, topology) {
            None => Ok(()),
            Some(Denied::Database(name)) => Err(access_denied(user, &format!("to database '{name}'"))),
            Some(Denied::Hidden) => {
                Err(access_denied(user, "to a statement whose text does not show what it names"))
            }
        }
    }

    /// How a statement is read, and in which database its names are: as at the moment when it was prepared, if it was.
    pub(super) fn reading<'a>(&'a self, asked: &Asked<'a>) -> (&'a sql::Context, Option<&'a str>) {
        match asked.execution {
            None => (self.variables.context(), self.variables.state().database()),
            Some(Execution { prepared, .. }) => (&prepared.context, prepared.state.database()),
        }
    }

    /// The plan of the statement's fingerprint, made on the first occurrence.
    pub(super) fn plan(&self, asked: Asked<'_>, topology: &Topology) -> Arc<Plan> {
        let Asked { text, statement, .. } = asked;
        let (context, database) = self.reading(&asked);
        let key = PlanKey::new(statement.fingerprint, database, context, topology.layout);
        if let Some(plan) = self.shared.plans.get(&key) {
            return plan;
        }
        let request = planner::Request { text, statement, context, database };
        let plan = Arc::new(planner::plan(&request, topology));
        if plan.cacheable {
            self.shared.plans.insert(key, Arc::clone(&plan));
        }
        plan
    }

    pub(super) async fn route(
        &mut self,
        plan: &Plan,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<Route, ClientError> {
        for _ in 0..WEIGHT_ROUNDS_MAX {
            let view = self.view(asked, topology)?;
            match router::route(plan, asked.text, asked.statement, &view, topology) {
                Ok(route) => return Ok(route),
                Err(RouteError::Refused(error)) => return Err(error),
                Err(RouteError::WeightsNeeded { collation, texts }) => {
                    let charset = view.charset.to_owned();
                    self.learn(collation, charset, texts).await?;
                }
            }
        }
        Err(ClientError::new("SW1208", "the text keys of the statement could not all be weighed"))
    }

    /// What the router may know of the session; a hint of the statement wins over USE.
    pub(super) fn view<'a>(
        &'a self,
        asked: Asked<'a>,
        topology: &Topology,
    ) -> Result<SessionView<'a>, ClientError> {
        let hint = asked.statement.hint.as_ref();
        let named = hint.and_then(|hint| hint.shard.as_deref());
        let named = named.or(self.chosen.shard.as_ref().map(|shard| shard.0.as_ref()));
        let shard = named.map(|name| super::switch::known_shard(name, topology)).transpose()?;
        let hinted = hint.and_then(|hint| hint.role).map(|role| match role {
            HintRole::Primary => Role::Primary,
            HintRole::Replica => Role::Replica,
        });
        let role = hinted.or(self.chosen.role);
        let (context, charset, parameters) = match asked.execution {
            None => (self.variables.context(), self.variables.client_charset(), [].as_slice()),
            Some(Execution { prepared, parameters, .. }) => {
                (&prepared.context, prepared.charset.as_str(), parameters)
            }
        };
        Ok(SessionView { shard, role, weights: &self.weights, context, charset, parameters })
    }

    async fn learn(
        &mut self,
        collation: String,
        charset: String,
        texts: Vec<Vec<u8>>,
    ) -> Result<(), ClientError> {
        let (reply, answer) = oneshot::channel();
        let order = WeightOrder { collation: collation.clone(), charset, texts: texts.clone(), reply };
        let unknown = |cause: String| {
            ClientError::new(
                "SW1208",
                format!("no server could tell how text compares under {collation}: {cause}"),
            )
        };
        self.shared
            .orders
            .weights
            .send(order)
            .await
            .map_err(|_| unknown("the proxy is stopping".to_owned()))?;
        let weights = match answer.await {
            Ok(Ok(weights)) => weights,
            Ok(Err(cause)) => return Err(unknown(cause)),
            Err(_) => return Err(unknown("the proxy is stopping".to_owned())),
        };
        self.weights.learn(&collation, texts, weights);
        Ok(())
    }

    /// `SHARDWAY …`: an order to the control plane.
    async fn operate(&mut self, text: &[u8], statement: &sql::Statement) -> Result<(), End> {
        if !self.user.admin {
            let detail = "Access denied; you need admin = true for this operation";
            return self.refuse(&ClientError::new("SW1502", detail)).await;
        }
        let end = statement.end as usize;
        let whole = String::from_utf8_lossy(text.get(..end).unwrap_or(text)).into_owned();
        let (reply, answer) = oneshot::channel();
        let order = Order {
            statement: super::local::without_prefix(&whole).to_owned(),
            user: self.user.name.clone(),
            database: self.variables.state().database().map(str::to_owned),
            reply,
        };
        let stopping = || ClientError::new("SW1501", "Server shutdown in progress");
        if self.shared.orders.operator.send(order).await.is_err() {
            return self.refuse(&stopping()).await;
        }
        match answer.await {
            Ok(Ok(answer)) => self.reply_answer(answer).await,
            Ok(Err(error)) => self.refuse(&error).await,
            Err(_) => self.refuse(&stopping()).await,
        }
    }

    /// Metrics and the slow-statement log.
    pub(super) fn account(&self, text: &[u8], statement: &sql::Statement, elapsed: Duration) {
        self.shared.metrics.statement(statement.kind, self.account.route, self.account.result, elapsed);
        let settings = &self.settings;
        let slow = settings.log.slow_statement;
        if !slow.is_zero() && elapsed >= slow {
            let shown = if settings.log.literals {
                String::from_utf8_lossy(text).into_owned()
            } else {
                sql::redact(text, self.variables.context(), SHOWN_MAX)
            };
            tracing::warn!(
                target: "shardway::slow",
                session = self.registration.id(),
                user = %self.user.name,
                elapsed_ms = elapsed.as_millis() as u64,
                shard = self.account.shard.as_ref().map(|shard| shard.0.as_ref()),
                shards = self.account.shards,
                statement = %shown,
                "slow statement"
            );
        }
    }

    /// Whether the statement reads what the last one left on its connection.
    pub(super) fn asks_for_diagnostics(&self, text: &[u8], statement: &sql::Statement) -> bool {
        let features = statement.features;
        features.has(Feature::Diagnostics)
            || features.has(Feature::FoundRows)
            || self.is_show_warnings(text, statement)
    }
}

/// What has nothing to do with a transaction, and what ends one.
fn may_follow_abort(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Set
            | Kind::SetTransaction
            | Kind::Use
            | Kind::Kill
            | Kind::Shardway
            | Kind::Empty
    )
}

pub(super) fn scan_refusal(error: &ScanError) -> ClientError {
    match error {
        ScanError::Unterminated { .. } => ClientError::new("SW1201", error.to_string()),
        ScanError::BadHint { .. } => ClientError::new("SW1214", error.to_string()),
        ScanError::TooMany { .. } => ClientError::new("SW1210", error.to_string()),
    }
}

fn access_denied(user: &str, what: &str) -> ClientError {
    ClientError::new("SW1007", format!("Access denied for user '{user}'@'%' {what}"))
}
