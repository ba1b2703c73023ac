//! Runs a statement that no shard can compute: copies of the rows that it needs are made on one server, which then computes it.
//!
//! Rows are read through the session's own connections, so that a transaction sees what it has written; the copies live on a connection of
//! their own, which is reset before anybody else has it.

use super::asked::{Asked, Execution};
use super::execute::is_repeatable;
use super::held::Held;
use super::lend::{Effect, Joining};
use super::local::conditions_of;
use super::metrics::{RouteLabel, StatementResult};
use super::run::Session;
use crate::backend::{BackendError, SessionState};
use crate::error::ClientError;
use crate::executor::{
    Answer, Budget, CopiedColumn, Copy, Failure, Interrupt, Participant, Progress, Stream, ask_for,
    concatenate, copied_columns, copy, prepare, select_list, watched,
};
use crate::planner::{self, Combine, Fragment, Plan, Routing, Scratch};
use crate::router::{Part, Target};
use crate::sql::{self, Feature, Parameter};
use crate::topology::{Role, ShardId, Topology};
use crate::wire::RowFormat;

/// Under which copies are made and filled: every value that a table may have is taken as it is.
const WHILE_COPYING: [(&str, &str); 6] = [
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("collation_connection", "utf8mb4_bin"),
    ("sql_mode", "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"),
    ("time_zone", "'+00:00'"),
];

/// Sessions that only read may copy.
const READ_ONLY: [&str; 2] = ["transaction_read_only", "tx_read_only"];

const ER_DBACCESS_DENIED: u16 = 1044;
const ER_TABLEACCESS_DENIED: u16 = 1142;
const ER_NO_SUCH_TABLE: u16 = 1146;

/// What only the connection of the statement before could say, where it was not put into the text.
const UNTOLD: [(Feature, &str); 3] = [
    (Feature::RowCount, "ROW_COUNT()"),
    (Feature::FoundRows, "FOUND_ROWS()"),
    (Feature::ConnectionId, "CONNECTION_ID()"),
];

impl<S: Stream> Session<S> {
    pub(super) async fn in_scratch(
        &mut self,
        role: Role,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        self.account.route = RouteLabel::Scratch;
        self.check_scratch(asked)?;
        let fresh = self.held.is_empty() && !self.transaction.is_active();
        // The open transaction may have written to what any server has.
        let all = self.transaction.is_active() || !self.variables.autocommit();
        let (context, database) = self.reading(&asked);
        let request = planner::Request { text: asked.text, statement: asked.statement, context, database };
        let scratch = planner::scratch(&request, topology, all)?;
        let result = self.computed(&scratch, role, asked, topology).await;
        result.map_err(|failure| match failure {
            Failure::Backend(BackendError::Lost { .. }) if fresh && is_repeatable(asked.statement) => {
                Failure::Again(Box::new(failure))
            }
            other => other,
        })
    }

    fn check_scratch(&self, asked: Asked<'_>) -> Result<(), ClientError> {
        if let Some(reason) = self.held.iter().find_map(Held::binding) {
            let detail = format!(
                "the statement needs rows of several shards, and the session is bound to one: {reason}"
            );
            return Err(ClientError::new("SW1303", detail));
        }
        let features = asked.statement.features;
        if let Some((_, construct)) = UNTOLD.iter().find(|(feature, _)| features.has(*feature)) {
            return Err(ClientError::new("SW1202", format!("{construct} over several shards")));
        }
        // Shards would give fewer rows, or others.
        for name in ["sql_select_limit", "sql_auto_is_null"] {
            if self.variables.state().value(name).is_some() {
                return Err(ClientError::new("SW1202", format!("{name} over several shards")));
            }
        }
        Ok(())
    }

    /// Copies on a connection of their own, and the answer from there.
    async fn computed(
        &mut self,
        scratch: &Scratch,
        role: Role,
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let count = topology.shards.len().max(1);
        let any = topology.shards.get(self.registration.id() as usize % count).map(|shard| shard.id);
        let Some(home) = scratch.home.or(any) else {
            return Err(Failure::Refused(ClientError::new("SW1211", "the map has no shards")));
        };
        let shard = topology.shard(home);
        self.account.shard = Some(shard.name.clone());
        let server = self.server_of(shard, role)?.clone();
        self.note_direct(&shard.name);
        let copying = self.state_while_copying();
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let lease = self.shared.pools.lease(&server, &self.user.server, self.flavor, &copying);
        let lease = watched(&mut self.client, &interrupt, lease).await?;
        let mut scene = Held::new(shard.name.clone(), lease);
        // Copies are gone when the next one has it.
        scene.tainted = true;
        let result = self.computed_on(&mut scene, &copying, scratch, (home, role), asked, topology).await;
        match &result {
            Ok(()) | Err(Failure::Server { .. } | Failure::Refused(_)) => scene.let_go(),
            Err(failure) => {
                let running = matches!(failure, Failure::Interrupted(_) | Failure::ClientGone(_));
                self.abandon(scene, running);
            }
        }
        result
    }

    async fn computed_on(
        &mut self,
        scene: &mut Held,
        copying: &SessionState,
        scratch: &Scratch,
        place: (ShardId, Role),
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        self.led(scene, copying).await?;
        let limits = &self.settings.limits;
        let mut budget = Budget::new(limits.scratch_rows_max, limits.scratch_bytes_max);
        for fragment in &scratch.fragments {
            let columns = self.created(scene, fragment).await?;
            self.filled(scene, fragment, &columns, &mut budget, place, asked, topology).await?;
        }
        self.next_transaction.clear();
        self.shared.executor_metrics.copied(budget.rows(), budget.bytes());
        let text = self.named(scene, scratch).await?;
        self.led(scene, &self.state_after_copying(copying)).await?;
        self.answered_by(scene, text, asked).await
    }

    /// The session's state, but for what copying needs.
    fn state_while_copying(&self) -> SessionState {
        let mut state = self.variables.state().clone();
        for (name, value) in WHILE_COPYING {
            state.set(name, value.as_bytes());
        }
        for name in READ_ONLY {
            if state.value(name).is_some() {
                state.set(name, b"0");
            }
        }
        state
    }

    /// The session's state for a connection that was led to `copying`. A reset would take the copies with it: what the session has not set
    /// gets its default by name.
    fn state_after_copying(&self, copying: &SessionState) -> SessionState {
        let mut state = self.variables.state().clone();
        let missing: Vec<String> = copying
            .variables()
            .map(|(name, _)| name)
            .filter(|name| state.value(name).is_none())
            .map(str::to_owned)
            .collect();
        for name in missing {
            // Chosen by the character set.
            if name != "collation_connection" || state.value("character_set_connection").is_none() {
                state.set(&name, b"DEFAULT");
            }
        }
        state
    }

    async fn led(&mut self, scene: &mut Held, state: &SessionState) -> Result<(), Failure> {
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        watched(&mut self.client, &interrupt, prepare(scene.lease.connection(), state)).await
    }

    async fn told(&mut self, scene: &mut Held, statement: &str) -> Result<Answer, Failure> {
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        ask_for(&mut self.client, scene.lease.connection(), statement.as_bytes(), &interrupt).await
    }

    /// An empty copy of the fragment's table, under a name that nothing else has.
    async fn created(&mut self, scene: &mut Held, fragment: &Fragment) -> Result<Vec<CopiedColumn>, Failure> {
        let (copy, table) = (fragment.copy(), fragment.source());
        let created = format!("CREATE TEMPORARY TABLE {copy} LIKE {table}");
        if let Answer::Error(packet) = self.told(scene, &created).await? {
            let said = String::from_utf8_lossy(&packet.message).into_owned();
            let detail = match packet.code {
                ER_NO_SUCH_TABLE => return Err(Failure::Server { shard: scene.shard.clone(), packet }),
                ER_DBACCESS_DENIED | ER_TABLEACCESS_DENIED => {
                    format!("{table}: {said}; copies need GRANT CREATE TEMPORARY TABLES on its database")
                }
                code => format!("{table}: {said} ({code})"),
            };
            return Err(Failure::Refused(ClientError::new("SW1232", detail)));
        }
        match self.told(scene, &format!("SHOW FULL COLUMNS FROM {copy}")).await? {
            Answer::Rows(rows) => Ok(copied_columns(&table, &rows)?),
            Answer::Error(packet) => Err(Failure::Server { shard: scene.shard.clone(), packet }),
            Answer::Ok(_) => Err(Failure::Refused(ClientError::new("SW1901", "a table without columns"))),
        }
    }

    /// Reads the fragment from its shards into the copy.
    #[allow(clippy::too_many_arguments, reason = "one step of one statement")]
    async fn filled(
        &mut self,
        scene: &mut Held,
        fragment: &Fragment,
        columns: &[CopiedColumn],
        budget: &mut Budget,
        (home, role): (ShardId, Role),
        asked: Asked<'_>,
        topology: &Topology,
    ) -> Result<(), Failure> {
        let (context, database) = self.reading(&asked);
        if !fragment.is_ascii() && context.charset != sql::Charset::AsciiSafe
            || !columns.iter().all(CopiedColumn::is_ascii) && !self.speaks_utf8()
            || !fragment.is_ascii() && !self.speaks_utf8()
        {
            let detail =
                format!("{}: names beyond ASCII in a character set other than UTF-8", fragment.source());
            return Err(Failure::Refused(ClientError::new("SW1232", detail)));
        }
        let text = fragment.select(&select_list(columns));
        let mut statement = sql::Statement::seeded(self.shared.seed);
        statement
            .scan(&text, context)
            .map_err(|error| Failure::Refused(ClientError::new("SW1901", error.to_string())))?;
        let request = planner::Request { text: &text, statement: &statement, context, database };
        let plan = planner::plan(&request, topology);
        let indices = fragment.parameters();
        let parameters: Vec<Parameter<'_>> = match &asked.execution {
            Some(execution) => {
                indices.iter().filter_map(|index| execution.parameters.get(*index).cloned()).collect()
            }
            None => Vec::new(),
        };
        let execution = asked.execution.map(|execution| Execution {
            parameters: &parameters,
            part: Some(&indices),
            ..execution
        });
        let part = Asked { text: &text, statement: &statement, execution };
        let mut targets = self.targets(&plan, part, home, topology).await?;
        for target in &mut targets {
            // A shard's part of the fragment knows its parameters by their places in the fragment.
            target.parameters =
                target.parameters.iter().filter_map(|place| indices.get(*place).copied()).collect();
        }
        let place = |target: &Target| self.check_place(&topology.shard(target.shard).name, Effect::Reads);
        targets.iter().try_for_each(place)?;
        let limit = self.settings.limits.scatter_shards_max;
        if targets.len() > limit {
            let detail = format!(
                "the statement touches {} shards and limits.scatter_shards_max is {limit}",
                targets.len()
            );
            return Err(Failure::Refused(ClientError::new("SW1217", detail)));
        }
        self.account.shards = self.account.shards.max(targets.len());
        let (mut held, commands) = self.gather(&targets, (role, Joining::WithOthers), part, topology).await?;
        if self.transaction.is_active() {
            self.next_transaction.clear();
        }
        let mut participants: Vec<Participant<'_>> = held
            .iter_mut()
            .zip(&commands)
            .map(|(held, command)| Participant::new(held.shard.clone(), held.lease.connection(), command))
            .collect();
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let format = if part.execution.is_some() { RowFormat::Binary } else { RowFormat::Text };
        let (target, table) = (fragment.copy(), fragment.source());
        let mut into = Copy {
            shard: scene.shard.clone(),
            connection: scene.lease.connection(),
            target: &target,
            table: &table,
            columns,
        };
        let copied = copy(&mut participants, format, &mut into, budget, &mut self.client, &interrupt).await;
        let progress: Vec<Progress> = participants.iter().map(|participant| participant.progress).collect();
        drop(participants);
        // What the shards warn of is said again where the statement is computed.
        self.diagnostics.warnings = 0;
        self.settle_parts(held, &progress, copied).await
    }

    fn speaks_utf8(&self) -> bool {
        ["utf8", "utf8mb3", "utf8mb4"].contains(&self.variables.client_charset())
    }

    /// The shards that the fragment is read from.
    async fn targets(
        &mut self,
        plan: &Plan,
        asked: Asked<'_>,
        home: ShardId,
        topology: &Topology,
    ) -> Result<Vec<Target>, Failure> {
        if !matches!(plan.routing, Routing::Refused { .. }) && plan.combine != Combine::Concatenate {
            return Err(Failure::Refused(ClientError::new("SW1901", "a fragment that needs a merge")));
        }
        let whole = |shard| vec![Target { shard, text: None, parameters: Vec::new() }];
        Ok(match self.route(plan, asked, topology).await?.part {
            Part::Many(targets) => targets,
            Part::One(shard) => whole(shard),
            Part::Any | Part::Nowhere => {
                let held = self.preferred().map(|index| self.held[index].shard.clone());
                let held = held.and_then(|shard| topology.shard_by_name(&shard.0)).map(|shard| shard.id);
                whole(held.unwrap_or(home))
            }
            Part::Scratch => {
                return Err(Failure::Refused(ClientError::new("SW1901", "a fragment of a fragment")));
            }
        })
    }

    /// Gives the copies the names of their tables, and says which text finds them. Users who may not create tables of those names get the
    /// text that names the copies.
    async fn named<'s>(&mut self, scene: &mut Held, scratch: &'s Scratch) -> Result<&'s [u8], Failure> {
        let mut hidden = 0;
        for fragment in scratch.fragments.iter().filter(|fragment| fragment.hides()) {
            let rename = format!("ALTER TABLE {} RENAME TO {}", fragment.copy(), fragment.source());
            let Answer::Error(packet) = self.told(scene, &rename).await? else {
                hidden += 1;
                continue;
            };
            let denied = matches!(packet.code, ER_DBACCESS_DENIED | ER_TABLEACCESS_DENIED);
            return match &scratch.text_for_copies {
                Some(text) if denied && hidden == 0 => Ok(text),
                _ => Err(Failure::Server { shard: scene.shard.clone(), packet }),
            };
        }
        Ok(&scratch.text)
    }

    /// The statement itself.
    async fn answered_by(&mut self, scene: &mut Held, text: &[u8], asked: Asked<'_>) -> Result<(), Failure> {
        if asked.statement.features.has(Feature::LastInsertId) {
            self.carry_last_insert_id(scene).await?;
        }
        let all: Vec<usize> = (0..asked.statement.placeholders.len()).collect();
        let execution = asked.execution.map(|execution| Execution { part: Some(&all), ..execution });
        let whole = Asked { text, execution, ..asked };
        let command = self.command_on(scene, whole).await?;
        let (status, deadline) = (self.status(), self.due);
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline };
        let mut alone = [Participant::new(scene.shard.clone(), scene.lease.connection(), &command)];
        let outcome = concatenate(&mut alone, self.row_format, status, &mut self.client, &interrupt).await?;
        self.diagnostics.finished(&outcome);
        self.shared.executor_metrics.rows(outcome.rows);
        self.account.result = StatementResult::Ok;
        if outcome.warnings > 0 {
            // The client has its answer: what is lost with the connection is told by nobody.
            let conditions = conditions_of(scene.lease.connection()).await;
            self.diagnostics.conditions.extend(conditions.unwrap_or_default());
        }
        Ok(())
    }
}
