//! COM_STMT_PREPARE. A server says whether the statement can be prepared, how many parameters it has and which columns it gives;
//! what the planner refuses whatever the values are is refused here.

use std::time::Instant;

use bytes::Bytes;

use super::super::asked::{Asked, PreparedText, handle_key};
use super::super::chain::{syntax_error, where_reading_stops};
use super::super::lend::Joining;
use super::super::patience::Patience;
use super::super::run::{Account, End, Session};
use super::super::statement::scan_refusal;
use crate::backend::{BackendError, HandleKey};
use crate::error::ClientError;
use crate::executor::{
    Call, Description, Failure, Interrupt, Preparable, Stream, close, describe_for, reply_prepared,
};
use crate::planner::{Routing, Verb};
use crate::sql::{self, Kind};
use crate::topology::{Role, ShardId, Topology};

/// Where a statement can be described.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// `None`: anywhere.
    shard: Option<ShardId>,
    role: Role,
}

impl<S: Stream> Session<S> {
    pub(in super::super) async fn prepare(&mut self, text: Bytes) -> Result<(), End> {
        let started = Instant::now();
        // A KILL QUERY from before meant another statement.
        self.registration.alarm().lower(Call::EndStatement);
        self.account = Account::default();
        let mut statement = std::mem::take(&mut self.statement);
        let result = match statement.scan(&text, self.variables.context()) {
            Ok(()) => {
                self.due = self.deadline(statement.hint.as_ref());
                self.registration.begin_statement(&text, self.variables.context(), started);
                let result = self.prepare_scanned(&text, &statement).await;
                self.registration.end_statement(self.transaction.shard(), Instant::now());
                result
            }
            Err(error) => self.refuse(&scan_refusal(&error)).await,
        };
        self.statement = statement;
        result
    }

    async fn prepare_scanned(&mut self, text: &[u8], statement: &sql::Statement) -> Result<(), End> {
        if let Err(error) = self.prepared.admit(text, self.prepared_limits()) {
            return self.refuse(&error).await;
        }
        // What the last statement left on its connection would be gone with the next command there.
        match self.asks_for_diagnostics(text, statement) {
            true => self.remember_diagnostics().await,
            false => self.release_diagnostics(),
        }
        let key = handle_key(self.shared.seed, self.variables.state(), text);
        let mut patience = Patience::default();
        let description = loop {
            let topology = self.shared.topology.load();
            let described = match self.place_to_describe(text, statement, &topology) {
                Err(error) => Err(Failure::Refused(error)),
                Ok(None) => Ok(Description::own()),
                Ok(Some(place)) => self.described(text, key, place, &topology).await,
            };
            let failure = match described {
                Ok(description) => break description,
                // Preparing again does nothing twice.
                Err(failure @ Failure::Backend(BackendError::Lost { .. })) => {
                    Failure::Again(Box::new(failure))
                }
                Err(failure) => failure,
            };
            if let Err(failure) = self.wait_for_primary(failure, topology.epoch, &mut patience).await {
                return self.fail(failure).await;
            }
        };
        drop(patience);
        let parameters = usize::from(description.ok.parameters);
        if parameters != statement.placeholders.len() {
            let detail = format!(
                "the server counts {parameters} parameters, the proxy {}",
                statement.placeholders.len()
            );
            return self.refuse(&ClientError::new("SW1901", detail)).await;
        }
        let prepared = PreparedText {
            text: Bytes::copy_from_slice(text),
            state: self.variables.state().clone(),
            context: *self.variables.context(),
            charset: self.variables.client_charset().to_owned(),
            key,
            seed: self.shared.seed,
            columns: description.ok.columns > 0,
        };
        let id = self.prepared.add(prepared, parameters);
        let status = self.status();
        Ok(reply_prepared(&mut self.client, id, &description, status).await?)
    }

    /// `None`: no server knows such statements.
    fn place_to_describe(
        &self,
        text: &[u8],
        statement: &sql::Statement,
        topology: &Topology,
    ) -> Result<Option<Place>, ClientError> {
        let anywhere = Place { shard: None, role: Role::Primary };
        if let Some(at) = where_reading_stops(statement, false) {
            return Err(syntax_error(text, at as usize, self.variables.context()));
        }
        match statement.kind {
            Kind::Empty => return Err(ClientError::new("SW1216", "Query was empty")),
            Kind::Shardway if statement.placeholders.is_empty() => return Ok(None),
            Kind::Shardway => {
                return Err(ClientError::new("SW1201", "SHARDWAY statements have no parameters"));
            }
            // Servers refuse the latter, in their own words.
            kind if runs_as_text(kind) || kind == Kind::Prepare => return Ok(Some(anywhere)),
            _ => {}
        }
        let asked = Asked::text(text, statement);
        let plan = self.plan(asked, topology);
        self.may_run(&plan, asked, topology)?;
        let view = self.view(asked, topology)?;
        let shard = match (&plan.routing, view.shard) {
            (Routing::Refused { error, unless_shard_chosen }, chosen)
                if chosen.is_none() || !unless_shard_chosen =>
            {
                return Err(error.clone());
            }
            (_, Some(chosen)) => Some(chosen),
            (Routing::One(shard), None) => Some(*shard),
            (Routing::Scratch { describe: Some(shard) }, None) => Some(*shard),
            (Routing::Scratch { describe: None }, None) => {
                let detail = "a prepared statement over tables that are whole on different shards";
                return Err(ClientError::new("SW1202", detail));
            }
            (_, None) => None,
        };
        let role = match (plan.verb, view.role) {
            (Verb::Read, Some(Role::Replica)) => Role::Replica,
            _ => Role::Primary,
        };
        Ok(Some(Place { shard, role }))
    }

    /// Where any shard will do: that of a connection that the session keeps, else one after the other until a server answers.
    async fn described(
        &mut self,
        text: &[u8],
        key: HandleKey,
        place: Place,
        topology: &Topology,
    ) -> Result<Description, Failure> {
        let held = self.preferred().map(|index| self.held[index].shard.clone());
        let held = held.and_then(|shard| topology.shard_by_name(&shard.0)).map(|shard| shard.id);
        let shards: Vec<ShardId> = match place.shard.or(held) {
            Some(shard) => vec![shard],
            None => {
                let start = self.registration.id() as usize;
                let count = topology.shards.len();
                (0..count).map(|step| topology.shards[(start + step) % count].id).collect()
            }
        };
        let mut last = None;
        for shard in shards {
            match self.described_on(shard, text, key, place.role, topology).await {
                // Nothing was done there.
                Err(failure @ Failure::Backend(_)) => last = Some(failure),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Failure::Refused(ClientError::new("SW1211", "the map has no shards"))))
    }

    async fn described_on(
        &mut self,
        shard: ShardId,
        text: &[u8],
        key: HandleKey,
        role: Role,
        topology: &Topology,
    ) -> Result<Description, Failure> {
        self.account.shard = Some(topology.shard(shard).name.clone());
        let mut again = self.held.is_empty() && !self.transaction.is_active();
        loop {
            let mut held = self.connection_of(shard, topology, role, Joining::Nothing).await?;
            let state = self.variables.state();
            let wanted = Preparable { text, key, unused_key: key, state, keep: true };
            let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
            let (name, connection) = (held.shard.clone(), held.lease.connection());
            match describe_for(&mut self.client, connection, &name, &wanted, &interrupt).await {
                Ok((handle, description)) => {
                    if !handle.kept && close(connection, handle.id).await.is_err() {
                        drop(held);
                        return Ok(description);
                    }
                    self.keep_or_let_go(held);
                    return Ok(description);
                }
                Err(failure @ Failure::Server { .. }) => {
                    self.keep_or_let_go(held);
                    return Err(failure);
                }
                // An idle connection that the server had closed.
                Err(Failure::Backend(BackendError::Lost { .. })) if again => again = false,
                Err(failure) => return Err(self.lost(held, failure)),
            }
        }
    }
}

/// Statements that control the session: the proxy runs them itself, as if they had come as text.
pub(super) fn runs_as_text(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::Set
            | Kind::SetTransaction
            | Kind::Use
            | Kind::Kill
            | Kind::Shardway
    )
}
