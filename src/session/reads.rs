//! Reads that replicas may answer: which statements, which replica, and whether it shows what the session has written and seen.
//!
//! In `session` mode a session remembers per shard on which replica it sees everything that it must. Whatever it asks of the primary
//! makes that unknown; then the primary's position of now, which holds all of it, is waited for on the replica before it is read. So
//! no path by which a statement may write has to be known.

use std::time::Duration;

use tokio::time::Instant;

use super::asked::Asked;
use super::execute::is_repeatable;
use super::held::Held;
use super::metrics::ReplicaRead;
use super::own_variables::MODE;
use super::patience::moved;
use super::run::Session;
use crate::backend::{BackendError, Lease, PoolSet};
use crate::config::ReadConsistency;
use crate::error::ClientError;
use crate::executor::{Answer, Failure, Interrupt, Stream, ask_for, watched};
use crate::planner::{Plan, Verb};
use crate::sql::{AssignedValue, Assignment, Feature, Flavor, Kind, Target};
use crate::topology::{Role, Rotation, Server, ServerName, Shard, ShardName};

/// After a replica was too far behind the primary answers for this long: each attempt costs a wait.
const BEHIND_PAUSE: Duration = Duration::from_secs(1);

/// What a session's reads on one shard have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sight {
    /// This replica shows it.
    Shown(ServerName),
    /// What the primary has now.
    Owed,
}

/// The session's own word on its reads, and what it has seen.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// By SET, over the user's.
    consistency: Option<ReadConsistency>,
    /// At most one for each shard. A shard that is not there was not touched: it owes nothing.
    sights: Vec<(ShardName, Sight)>,
    /// Until then the primary answers.
    not_before: Option<Instant>,
    /// The session wrote before it asked for `session`: every shard owes.
    all_owed: bool,
}

impl Reads {
    fn sight(&self, shard: &ShardName) -> Option<Sight> {
        let known = self.sights.iter().find(|(name, _)| name == shard).map(|(_, sight)| sight.clone());
        known.or(self.all_owed.then_some(Sight::Owed))
    }

    fn note(&mut self, shard: &ShardName, sight: Sight) {
        match self.sights.iter_mut().find(|(name, _)| name == shard) {
            Some((_, known)) if *known == sight => {}
            Some((_, known)) => *known = sight,
            None => self.sights.push((shard.clone(), sight)),
        }
    }
}

impl<S: Stream> Session<S> {
    pub(super) fn consistency(&self) -> ReadConsistency {
        self.reads.consistency.unwrap_or(self.user.read_consistency)
    }

    /// Whether replicas may answer the statement: a plain read that leaves nothing behind and needs nothing of its connection.
    pub(super) fn may_split(&self, plan: &Plan, asked: Asked<'_>, chosen: Option<Role>) -> bool {
        let statement = asked.statement;
        let personal = [
            Feature::UserVariable,
            Feature::LastInsertId,
            Feature::RowCount,
            Feature::FoundRows,
            Feature::CalcFoundRows,
            Feature::ConnectionId,
            Feature::Diagnostics,
            Feature::TemporaryTable,
        ];
        let outside = !self.transaction.is_active() || self.transaction.is_read_only();
        self.consistency() != ReadConsistency::Primary
            && chosen.is_none()
            && plan.verb == Verb::Read
            && statement.kind == Kind::Select
            && !plan.calls_stored
            && !plan.tables.is_empty()
            && is_repeatable(statement)
            && !personal.iter().any(|feature| statement.features.has(*feature))
            && outside
            && self.variables.autocommit()
            && !asked.wants_cursor()
            && self.held.iter().all(|held| held.pins.is_empty())
    }

    /// The primary, or a replica of the session's own choice, is asked.
    pub(super) fn note_direct(&mut self, shard: &ShardName) {
        if self.consistency() == ReadConsistency::Session {
            self.reads.note(shard, Sight::Owed);
        }
    }

    /// A connection to a replica that shows what the session must see; `None` when the primary is to answer.
    pub(super) async fn replica_of(&mut self, shard: &Shard) -> Result<Option<Held>, Failure> {
        let now = Instant::now();
        if self.reads.not_before.is_some_and(|until| now < until) {
            return Ok(None);
        }
        let session = self.consistency() == ReadConsistency::Session;
        let sight = self.reads.sight(&shard.name).filter(|_| session);
        let usual = match &sight {
            Some(Sight::Shown(server)) => Some(server),
            Some(Sight::Owed) | None => None,
        };
        let turn = self.registration.id() as usize;
        let Some(server) = choose(shard, usual, &self.shared.pools, turn) else { return Ok(None) };
        let shown = sight.is_none() || sight == Some(Sight::Shown(server.name.clone()));
        let position = match shown {
            true => None,
            false => match self.position_of(shard).await? {
                Some(position) => Some(position),
                None => return Ok(None),
            },
        };
        let Some(mut lease) = self.lease_of(shard, Role::Replica, server).await? else { return Ok(None) };
        if let Some(position) = position
            && !self.has_reached(&mut lease, &position).await?
        {
            self.reads.not_before = Some(Instant::now() + BEHIND_PAUSE);
            self.shared.metrics.replica_read(ReplicaRead::Behind);
            lease.give_back();
            return Ok(None);
        }
        if session {
            self.reads.note(&shard.name, Sight::Shown(server.name.clone()));
        }
        self.shared.metrics.replica_read(ReplicaRead::Served);
        Ok(Some(Held::new(shard.name.clone(), lease)))
    }

    /// `None` when the server cannot be had: another may answer.
    async fn lease_of(
        &mut self,
        shard: &Shard,
        role: Role,
        server: &Server,
    ) -> Result<Option<Lease>, Failure> {
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let lease = self.shared.pools.lease(server, &self.user.server, self.flavor, self.variables.state());
        let lease = async {
            tokio::select! {
                biased;
                lease = lease => lease,
                error = moved(&self.shared, &shard.name, role, server) => Err(error),
            }
        };
        match watched(&mut self.client, &interrupt, lease).await {
            Ok(lease) => Ok(Some(lease)),
            Err(Failure::Backend(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What the primary has now; `None` when it cannot be asked or keeps no GTIDs.
    async fn position_of(&mut self, shard: &Shard) -> Result<Option<String>, Failure> {
        if shard.why_lost().is_some() {
            return Ok(None);
        }
        let Some(mut lease) = self.lease_of(shard, Role::Primary, &shard.primary).await? else {
            return Ok(None);
        };
        let question: &[u8] = match self.variables.context().flavor {
            Flavor::MySql => b"SELECT @@GLOBAL.gtid_executed",
            Flavor::MariaDb => b"SELECT @@GLOBAL.gtid_binlog_pos",
        };
        let told = self.asked(&mut lease, question).await?;
        if told.is_some() {
            lease.give_back();
        }
        let position = told.flatten().map(|text| text.replace('\n', ""));
        // Digits, letters and marks; nothing else goes into a statement of ours.
        let plain = |text: &String| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:,_ ".contains(&byte))
        };
        Ok(position.filter(plain))
    }

    /// Waits on a replica for a position, within `replica_wait`. A connection that fails is found out by the statement that follows.
    async fn has_reached(&mut self, lease: &mut Lease, position: &str) -> Result<bool, Failure> {
        let seconds = self.settings.limits.replica_wait.as_secs_f64();
        let wait = match self.variables.context().flavor {
            Flavor::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
            Flavor::MariaDb => "MASTER_GTID_WAIT",
        };
        let question = format!("SELECT {wait}('{position}', {seconds:.3})");
        Ok(self.asked(lease, question.as_bytes()).await?.flatten().as_deref() == Some("0"))
    }

    /// The only value of a question of the proxy's own: `None` when it was not answered.
    async fn asked(&mut self, lease: &mut Lease, question: &[u8]) -> Result<Option<Option<String>>, Failure> {
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        match ask_for(&mut self.client, lease.connection(), question, &interrupt).await {
            Ok(Answer::Rows(rows)) => {
                let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
                Ok(Some(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
            }
            Ok(Answer::Ok(_) | Answer::Error(_)) => Ok(Some(None)),
            Err(Failure::Backend(BackendError::Lost { .. } | BackendError::Demoted { .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// SET of variables of the proxy's own; `None` when the statement sets none of them.
    pub(super) fn set_own(&mut self, assignments: &[Assignment]) -> Option<Result<(), ClientError>> {
        let own = |assignment: &Assignment| match &assignment.target {
            Target::Session(name) => name.starts_with(OWN_PREFIX),
            _ => false,
        };
        if !assignments.iter().any(own) {
            return None;
        }
        let Some(other) = assignments.iter().find(|assignment| !own(assignment)) else {
            return Some(assignments.iter().try_for_each(|assignment| self.set_one(assignment)));
        };
        let detail = format!("a variable of the proxy's own is set beside {:?}", other.target);
        Some(Err(ClientError::new("SW1215", detail)))
    }

    fn set_one(&mut self, assignment: &Assignment) -> Result<(), ClientError> {
        let Target::Session(name) = &assignment.target else { return Ok(()) };
        if name == MODE {
            return self.set_mode(&assignment.value);
        }
        if name != READ_CONSISTENCY {
            let detail = format!("Unknown system variable '{name}'");
            return Err(ClientError::new("SW1313", detail));
        }
        let value = match &assignment.value {
            AssignedValue::Default => None,
            AssignedValue::Literal { plain, .. } => match ReadConsistency::named(&plain.to_ascii_lowercase())
            {
                Some(value) => Some(value),
                None => {
                    let shown = String::from_utf8_lossy(plain).into_owned();
                    let detail = format!("Variable '{name}' can't be set to the value of '{shown}'");
                    return Err(ClientError::new("SW1314", detail));
                }
            },
            AssignedValue::Expression { .. } | AssignedValue::Absent => {
                let detail = format!("Variable '{name}' takes primary, session or eventual");
                return Err(ClientError::new("SW1314", detail));
            }
        };
        self.reads.consistency = value;
        // What was done before was not noted.
        self.reads.all_owed = true;
        self.reads.sights.clear();
        Ok(())
    }
}

const OWN_PREFIX: &str = "shardway_";
const READ_CONSISTENCY: &str = "shardway_read_consistency";

/// The replica that the session read before, while it is read at all; else the one with the least to do for its share.
fn choose<'s>(
    shard: &'s Shard,
    usual: Option<&ServerName>,
    pools: &PoolSet,
    turn: usize,
) -> Option<&'s Server> {
    let servers: Vec<(&Server, u64)> = shard
        .replicas
        .iter()
        .zip(&shard.rotation)
        .filter_map(|(server, rotation)| match rotation {
            Rotation::In { share } => Some((server, u64::from(*share).max(1))),
            Rotation::Unknown | Rotation::Out { .. } => None,
        })
        .collect();
    if let Some((server, _)) = servers.iter().find(|(server, _)| Some(&server.name) == usual) {
        return Some(server);
    }
    let count = servers.len().max(1);
    let load = |at: usize| {
        let (server, share) = servers[at];
        (pools.outstanding(server) as u64 + 1) * 100 / share
    };
    // Of equals, another one for each session.
    let best = (0..servers.len()).min_by_key(|&at| (load(at), (at + turn) % count))?;
    Some(servers[best].0)
}
