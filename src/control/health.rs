//! Asks all servers, each at its own pace: every `probe_interval`, every 100 ms where a shard has no primary, at once where somebody
//! met a fault. What they say goes to the elections, what those decide to the publisher. A probe is a connection of its own, dropped
//! on any error, and bounded as a whole; one that hangs keeps no other waiting.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

use super::election::{Election, Facts, Terms, Word};
use super::error::ControlError;
use super::probe::{Probe, probe};
use super::publisher::Fact;
use super::status::ServerStatus;
use crate::config::{ControlSettings, Settings};
use crate::topology::{Epoch, Role, Server, ServerName, ShardName, Topology, TopologyHandle};

/// Probes under way at once; one per server.
const PROBES_AT_ONCE: usize = 256;
/// How often the servers of a shard without a primary are asked.
const URGENT_INTERVAL: Duration = Duration::from_millis(100);

/// How the monitor is connected.
pub(super) struct Monitor {
    pub(super) topology: TopologyHandle,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) status: watch::Sender<Arc<[ServerStatus]>>,
    pub(super) facts: mpsc::Sender<Fact>,
    /// Servers that somebody met a fault of.
    pub(super) suspects: mpsc::Receiver<ServerName>,
    /// Shards whose writes wait by order.
    pub(super) holds: watch::Receiver<BTreeSet<ShardName>>,
}

/// One server that is asked.
struct Watch {
    shard: usize,
    server: Server,
    status: Option<ServerStatus>,
    due: Moment,
    running: bool,
    /// Somebody met a fault after the running probe had begun.
    suspected: bool,
    heard_at: Option<Moment>,
    silent: u32,
}

#[derive(Default)]
struct Round {
    epoch: Option<Epoch>,
    shards: Vec<(ShardName, Election)>,
    watches: Vec<Watch>,
    running: JoinSet<Result<Probe, ControlError>>,
    /// Which server a probe asks.
    asking: HashMap<Id, ServerName>,
    /// Shards whose roles are to be told.
    changed: Vec<usize>,
    news: bool,
    told_at: Option<Moment>,
}

impl Monitor {
    /// Until the token is cancelled.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let mut round = Round::default();
        loop {
            let control = self.settings.borrow().control.clone();
            round.follow(&self.topology.load());
            round.launch(&control);
            self.tell(&mut round, &control).await;
            let next = round.next_due();
            tokio::select! {
                () = token.cancelled() => return,
                finished = round.running.join_next_with_id(), if !round.running.is_empty() => {
                    if let Some(finished) = finished {
                        round.finished(finished, &control);
                    }
                    // Those that came together are told together.
                    while let Some(finished) = round.running.try_join_next_with_id() {
                        round.finished(finished, &control);
                    }
                }
                suspect = self.suspects.recv() => match suspect {
                    Some(server) => round.suspect(&server),
                    None => return,
                },
                held = self.holds.changed() => {
                    if held.is_err() {
                        return;
                    }
                    round.hold(&self.holds.borrow_and_update());
                }
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// What is news is told at once: a server that does not answer must not hold back what the others say.
    async fn tell(&self, round: &mut Round, control: &ControlSettings) {
        for index in std::mem::take(&mut round.changed) {
            let Some((_, election)) = round.shards.get(index) else { continue };
            // The publisher has ended with the proxy, otherwise.
            if self.facts.send(Fact::Roles(election.roles(terms(control)))).await.is_err() {
                return;
            }
        }
        let now = Moment::now();
        let stale = round.told_at.is_none_or(|at| now >= at + control.probe_interval);
        if round.news || stale {
            self.status.send_replace(round.watches.iter().filter_map(|watch| watch.status.clone()).collect());
            round.told_at = Some(now);
            round.news = false;
        }
    }
}

fn terms(control: &ControlSettings) -> Terms {
    Terms { lag_max: control.lag_max, slow_start: control.slow_start }
}

impl Round {
    /// The servers of the published map. Who stays keeps its pace and its past.
    fn follow(&mut self, topology: &Topology) {
        if self.epoch == Some(topology.epoch) {
            return;
        }
        self.epoch = Some(topology.epoch);
        let mut known: HashMap<(ShardName, ServerName), Watch> = HashMap::new();
        for watch in self.watches.drain(..) {
            known.insert((self.shards[watch.shard].0.clone(), watch.server.name.clone()), watch);
        }
        let mut elections: HashMap<ShardName, Election> = self.shards.drain(..).collect();
        self.changed = (0..topology.shards.len()).collect();
        for (number, shard) in topology.shards.iter().enumerate() {
            let members: Vec<ServerName> = shard.servers().map(|(_, server)| server.name.clone()).collect();
            let election = match elections.remove(&shard.name) {
                Some(mut election) => {
                    election.follow(&members);
                    election
                }
                None => Election::new(shard.name.clone(), members),
            };
            self.shards.push((shard.name.clone(), election));
            for (role, server) in shard.servers() {
                let mut watch = known
                    .remove(&(shard.name.clone(), server.name.clone()))
                    .filter(|watch| watch.server == *server)
                    .unwrap_or_else(|| Watch::new(server.clone()));
                watch.shard = number;
                if let Some(status) = &mut watch.status {
                    status.role = role;
                }
                self.watches.push(watch);
            }
        }
        self.news = true;
    }

    /// Begins the probes that are due; primaries first, as far as the servers were not asked yet.
    fn launch(&mut self, control: &ControlSettings) {
        let now = Moment::now();
        let mut due: Vec<usize> = (0..self.watches.len())
            .filter(|&index| !self.watches[index].running && self.watches[index].due <= now)
            .collect();
        due.sort_by_key(|&index| {
            let watch = &self.watches[index];
            let election = &self.shards[watch.shard].1;
            (!election.is_urgent(), *election.primary() != watch.server.name)
        });
        for index in due {
            if self.running.len() >= PROBES_AT_ONCE {
                return;
            }
            let (server, settings) = (self.watches[index].server.clone(), control.clone());
            let name = server.name.clone();
            let asked = self.running.spawn(async move { bounded(&server, &settings).await });
            self.asking.insert(asked.id(), name);
            let watch = &mut self.watches[index];
            (watch.running, watch.suspected) = (true, false);
        }
    }

    fn next_due(&self) -> Moment {
        let idle = self.watches.iter().filter(|watch| !watch.running).map(|watch| watch.due);
        // With all places taken a probe that ends goes before.
        let soonest = Moment::now() + URGENT_INTERVAL / 10;
        idle.min().map_or_else(|| soonest + URGENT_INTERVAL, |due| due.max(soonest))
    }

    fn hold(&mut self, held: &BTreeSet<ShardName>) {
        for (shard, election) in &mut self.shards {
            election.hold(held.contains(shard));
        }
        self.changed = (0..self.shards.len()).collect();
    }

    fn suspect(&mut self, server: &ServerName) {
        for watch in self.watches.iter_mut().filter(|watch| watch.server.name == *server) {
            watch.due = Moment::now();
            watch.suspected = watch.running;
        }
    }

    fn finished(
        &mut self,
        finished: Result<(Id, Result<Probe, ControlError>), JoinError>,
        control: &ControlSettings,
    ) {
        let (id, seen) = match finished {
            Ok((id, seen)) => (id, Some(seen)),
            Err(error) => {
                tracing::error!(%error, "a probe ended early");
                (error.id(), None)
            }
        };
        // A server that left the map meanwhile is not asked for any more.
        let Some(name) = self.asking.remove(&id) else { return };
        for index in 0..self.watches.len() {
            if self.watches[index].server.name == name && self.watches[index].running {
                self.heard(index, seen.as_ref(), control);
            }
        }
    }

    fn heard(&mut self, index: usize, seen: Option<&Result<Probe, ControlError>>, control: &ControlSettings) {
        let watch = &mut self.watches[index];
        let (shard, election) = &mut self.shards[watch.shard];
        let now = Moment::now();
        watch.running = false;
        if let Some(seen) = seen {
            let since = watch.heard_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            watch.heard_at = Some(now);
            watch.silent = if seen.is_ok() { 0 } else { watch.silent.saturating_add(1) };
            let before = election.roles(terms(control));
            election.hear(&watch.server.name, word(seen, watch.silent), since, terms(control));
            let after = election.roles(terms(control));
            if before != after {
                report(shard, &before, &after);
                self.changed.push(watch.shard);
                self.news = true;
            }
            let role = if *election.primary() == watch.server.name { Role::Primary } else { Role::Replica };
            let merged = merge(shard.clone(), role, &watch.server, seen, watch.status.as_ref());
            self.news |= watch.status.as_ref().is_none_or(|known| known.differs_in_kind(&merged));
            watch.status = Some(merged);
        }
        let pace = match election.is_urgent() {
            true => URGENT_INTERVAL,
            false => control.probe_interval,
        };
        watch.due = if watch.suspected { now } else { now + pace };
        let urgent = election.is_urgent();
        let of = watch.shard;
        if urgent {
            // Whoever was asked a moment ago at an easy pace is asked again now.
            for other in self.watches.iter_mut().filter(|other| other.shard == of && !other.running) {
                other.due = other.due.min(now + URGENT_INTERVAL);
            }
        }
    }
}

/// Who is the primary, or why nobody is, in the log when it changes.
fn report(shard: &ShardName, before: &crate::topology::ShardRoles, after: &crate::topology::ShardRoles) {
    use crate::topology::Standing;
    if before.primary != after.primary {
        tracing::warn!(%shard, from = %before.primary, to = %after.primary, "the primary is another server now");
    }
    if before.standing == after.standing {
        return;
    }
    match &after.standing {
        Standing::Confirmed { identity } => {
            tracing::info!(%shard, primary = %after.primary, %identity, "the primary is confirmed");
        }
        Standing::ReadOnly { reason, .. } | Standing::Lost { reason } => {
            tracing::warn!(%shard, %reason, "no primary: writes wait");
        }
        Standing::Assumed => {}
    }
}

impl Watch {
    fn new(server: Server) -> Watch {
        Watch {
            shard: 0,
            server,
            status: None,
            due: Moment::now(),
            running: false,
            suspected: false,
            heard_at: None,
            silent: 0,
        }
    }
}

/// A probe is bounded as a whole: a server that answers each question late is of no use either.
async fn bounded(server: &Server, settings: &ControlSettings) -> Result<Probe, ControlError> {
    let waited = settings.probe_timeout;
    let late = |_| ControlError::Timeout { server: server.name.clone(), what: "answer a probe", waited };
    tokio::time::timeout(waited, probe(server, settings)).await.map_err(late)?
}

fn word(seen: &Result<Probe, ControlError>, times: u32) -> Word {
    match seen {
        Ok(probe) => Word::Said(Facts {
            identity: Arc::clone(&probe.identity),
            read_only: probe.read_only || probe.shared_storage,
            shared_storage: probe.shared_storage,
            replication: probe.replication.clone(),
        }),
        Err(error) if error.is_refused_connection() => Word::Gone,
        Err(error) if error.is_word_of_server() => Word::Mute,
        Err(_) => Word::Silent { times },
    }
}

/// The new status of a server, told in the log when it differs from the earlier one.
fn merge(
    shard: ShardName,
    role: Role,
    server: &Server,
    seen: &Result<Probe, ControlError>,
    earlier: Option<&ServerStatus>,
) -> ServerStatus {
    let reachable = seen.is_ok();
    let changed = earlier.is_none_or(|earlier| earlier.since.is_none() || earlier.reachable != reachable);
    let since = if changed { Some(Instant::now()) } else { earlier.and_then(|earlier| earlier.since) };
    match seen {
        Ok(probe) if changed => {
            tracing::info!(server = %server.name, %shard, version = probe.version, "server is reachable");
        }
        Ok(_) => {}
        Err(error) if changed => {
            tracing::warn!(server = %server.name, %shard, %error, "server is not reachable");
        }
        // It was told when the server was lost.
        Err(_) => {}
    }
    let probe = seen.as_ref().ok();
    let earlier_error = earlier.and_then(|earlier| earlier.last_error.clone());
    let last_error = seen.as_ref().err().map(ToString::to_string).or(earlier_error);
    let version = probe.map(|probe| probe.version.clone());
    let sql_mode = probe.map(|probe| probe.sql_mode.clone());
    ServerStatus {
        shard,
        server: server.name.clone(),
        role,
        reachable,
        version: version.or_else(|| earlier.and_then(|earlier| earlier.version.clone())),
        sql_mode: sql_mode.or_else(|| earlier.and_then(|earlier| earlier.sql_mode.clone())),
        lag_seconds: probe.and_then(Probe::lag_seconds),
        read_only: probe.map(|probe| probe.read_only || probe.shared_storage),
        position: probe.and_then(|probe| probe.position.clone()),
        last_error,
        standing: String::new(),
        since,
    }
}
