//! Ends what proxies that are gone have left prepared: finds branches on all primaries, asks the shard that decides, and has them follow
//! (`transaction::recovery`). Every proxy does so; they need not know of each other.
//!
//! It also sees to it that the table of decisions is there, and removes rows that nobody can ask for any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mysql_async::Row;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::error::ControlError;
use crate::config::{ControlSettings, Settings};
use crate::topology::{Server, ServerName, ShardName, Topology, TopologyHandle};
use crate::transaction::recovery::{self, Sightings};
use crate::transaction::{Decision, GlobalId, Xid};

/// Servers asked at once.
const SERVERS_AT_ONCE: usize = 32;
/// Branches resolved in one round; the next round takes the others.
const BRANCHES_PER_ROUND: usize = 1000;
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
const PACE_MAX: Duration = Duration::from_secs(5);

/// A prepared branch as the last round saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InDoubt {
    /// Of its transaction.
    pub(crate) id: String,
    pub(crate) shard: ShardName,
    pub(crate) decider: ShardName,
    /// For how long it has been seen.
    pub(crate) age: Duration,
    /// Why it could not be ended.
    pub(crate) last_error: Option<String>,
}

/// Branches that this process has ended for others.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) committed: AtomicU64,
    pub(crate) rolled_back: AtomicU64,
}

/// An operator's order to end a transaction's branches now.
#[derive(Debug)]
pub(super) struct Resolve {
    pub(super) id: GlobalId,
    /// Without asking the deciding shard.
    pub(super) forced: Option<Decision>,
    /// How many branches ended, or what went wrong.
    pub(super) reply: oneshot::Sender<Result<usize, String>>,
}

pub(super) struct Recovery {
    pub(super) topology: TopologyHandle,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    /// `None` until the first round.
    pub(super) found: watch::Sender<Option<Arc<[InDoubt]>>>,
    pub(super) recovered: Arc<Recovered>,
    sightings: Sightings,
    /// Servers whose table is there.
    tables: HashSet<ServerName>,
    /// Told in the log already.
    told: HashMap<ServerName, String>,
    started: Instant,
    cleaned: Option<Instant>,
}

/// A shard, its primary, and what that lists.
type Listed = (ShardName, Server, Result<Listing, ControlError>);

#[derive(Debug)]
struct Listing {
    branches: Vec<Xid>,
    /// Why there is no table of decisions.
    table: Result<(), String>,
}

impl Recovery {
    pub(super) fn new(
        topology: TopologyHandle,
        settings: watch::Receiver<Arc<Settings>>,
        found: watch::Sender<Option<Arc<[InDoubt]>>>,
        recovered: Arc<Recovered>,
    ) -> Recovery {
        let (sightings, tables, told) = (Sightings::default(), HashSet::new(), HashMap::new());
        let started = Instant::now();
        Recovery { topology, settings, found, recovered, sightings, tables, told, started, cleaned: None }
    }

    pub(super) async fn run(mut self, token: CancellationToken, mut orders: mpsc::Receiver<Resolve>) {
        loop {
            let settings = Arc::clone(&self.settings.borrow());
            tokio::select! {
                () = self.round(&settings) => {}
                () = token.cancelled() => return,
            }
            let pace = (settings.transactions.recover_after / 4).min(PACE_MAX);
            tokio::select! {
                () = tokio::time::sleep(pace) => {}
                order = orders.recv() => match order {
                    Some(order) => {
                        let outcome = self.resolve(order.id, order.forced, &settings.control).await;
                        // Whoever gave up waiting finds the outcome in the log.
                        drop(order.reply.send(outcome));
                    }
                    None => return,
                },
                () = token.cancelled() => return,
            }
        }
    }

    async fn round(&mut self, settings: &Settings) {
        let topology = self.topology.load();
        if topology.shards.len() < 2 {
            self.found.send_replace(Some(Arc::from(Vec::new())));
            return;
        }
        let listed = self.list(&topology, &settings.control).await;
        let answered = listed.iter().filter(|(_, _, listing)| listing.is_ok()).count();
        let whole = answered == topology.shards.len();
        let names: HashSet<ServerName> = listed.iter().map(|(_, server, _)| server.name.clone()).collect();
        self.sightings.keep(|server| names.contains(server));
        let mut found = Vec::new();
        let mut decided = HashMap::new();
        let mut resolved = 0;
        for (shard, server, listing) in listed {
            let Some(branches) = self.take(&shard, &server, listing) else { continue };
            for (xid, age) in self.sightings.seen(&server.name, branches, self.started.elapsed()) {
                let mut last_error = None;
                if age >= settings.transactions.recover_after && resolved < BRANCHES_PER_ROUND {
                    resolved += 1;
                    match end(&topology, &server, &xid, None, &mut decided, &settings.control).await {
                        Ok(decision) => {
                            self.count(&shard, &xid, decision);
                            continue;
                        }
                        Err(error) => last_error = Some(error),
                    }
                }
                let Xid { id, decider, .. } = xid;
                found.push(InDoubt { id: id.to_string(), shard: shard.clone(), decider, age, last_error });
            }
        }
        let due = self.cleaned.is_none_or(|at| at.elapsed() >= CLEANUP_INTERVAL);
        if whole && due {
            self.cleaned = Some(Instant::now());
            clean_up(&topology, &found, &settings.control).await;
        }
        self.found.send_replace(Some(found.into()));
    }

    /// What all primaries list, and their tables where they were not there.
    async fn list(&self, topology: &Topology, settings: &ControlSettings) -> Vec<Listed> {
        let mut waiting = topology.shards.iter().filter(|shard| shard.why_not_written().is_none());
        let mut running: JoinSet<Listed> = JoinSet::new();
        let mut listed = Vec::with_capacity(topology.shards.len());
        loop {
            while running.len() < SERVERS_AT_ONCE
                && let Some(shard) = waiting.next()
            {
                let (name, server) = (shard.name.clone(), shard.primary.clone());
                let (settings, known) = (settings.clone(), self.tables.contains(&server.name));
                running.spawn(async move {
                    let listing = list(&server, known, &settings).await;
                    (name, server, listing)
                });
            }
            match running.join_next().await {
                Some(Ok(one)) => listed.push(one),
                Some(Err(error)) => tracing::error!(%error, "a search for branches ended early"),
                None => return listed,
            }
        }
    }

    /// The branches of a listing; what is wrong with the server or its table is told once.
    fn take(
        &mut self,
        shard: &ShardName,
        server: &Server,
        listing: Result<Listing, ControlError>,
    ) -> Option<Vec<Xid>> {
        let (branches, trouble) = match listing {
            Ok(Listing { branches, table: Ok(()) }) => (Some(branches), None),
            Ok(Listing { branches, table: Err(error) }) => {
                let detail = format!("the table shardway.decision is not there and cannot be made: {error}");
                (Some(branches), Some(detail))
            }
            // The probes tell when a server cannot be reached.
            Err(error) if !error.is_refusal() => return None,
            Err(error) => (None, Some(format!("its prepared branches cannot be listed: {error}"))),
        };
        match trouble {
            None => {
                self.tables.insert(server.name.clone());
                self.told.remove(&server.name);
            }
            Some(trouble) if self.told.get(&server.name) != Some(&trouble) => {
                tracing::warn!(%shard, server = %server.name, trouble, "commits over several shards");
                self.told.insert(server.name.clone(), trouble);
            }
            Some(_) => {}
        }
        branches
    }

    fn count(&self, shard: &ShardName, xid: &Xid, decision: Decision) {
        let counter = match decision {
            Decision::Commit => &self.recovered.committed,
            Decision::Abort => &self.recovered.rolled_back,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::info!(%shard, transaction = %xid.id, ?decision, "a branch that was left prepared has ended");
    }

    async fn resolve(
        &mut self,
        id: GlobalId,
        forced: Option<Decision>,
        settings: &ControlSettings,
    ) -> Result<usize, String> {
        let topology = self.topology.load();
        let mut decided = HashMap::new();
        let (mut ended, mut failed) = (0, None);
        for (shard, server, listing) in self.list(&topology, settings).await {
            let branches = match listing {
                Ok(listing) => listing.branches,
                Err(error) => {
                    failed.get_or_insert(error.to_string());
                    continue;
                }
            };
            for xid in branches.into_iter().filter(|xid| xid.id == id) {
                match end(&topology, &server, &xid, forced, &mut decided, settings).await {
                    Ok(decision) => {
                        self.count(&shard, &xid, decision);
                        ended += 1;
                    }
                    Err(error) => {
                        failed.get_or_insert(format!("shard {shard}: {error}"));
                    }
                }
            }
        }
        failed.map_or(Ok(ended), Err)
    }
}

async fn list(server: &Server, known: bool, settings: &ControlSettings) -> Result<Listing, ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    let table = if known { Ok(()) } else { make_table(&mut client).await };
    let rows: Vec<(i64, usize, usize, Vec<u8>)> =
        client.rows("list prepared branches", "XA RECOVER".to_owned()).await?;
    client.close().await;
    let branches = rows
        .iter()
        .filter_map(|(format, global, qualifier, data)| Xid::recovered(*format, *global, *qualifier, data))
        .collect();
    Ok(Listing { branches, table })
}

async fn make_table(client: &mut Client) -> Result<(), String> {
    let looked: Result<Vec<Row>, ControlError> =
        client.rows("show its decisions", "SELECT 1 FROM shardway.decision LIMIT 0".to_owned()).await;
    match looked {
        Ok(_) => return Ok(()),
        Err(error) if error.is_refusal() => {}
        Err(error) => return Err(error.to_string()),
    }
    let question = "SELECT CAST(@@GLOBAL.read_only AS CHAR)".to_owned();
    let read_only: String =
        client.row("say whether it is read only", question).await.map_err(|error| error.to_string())?;
    if !matches!(read_only.as_str(), "0" | "OFF") {
        return Err("the server is read only".to_owned());
    }
    for statement in [recovery::CREATE_SCHEMA, recovery::CREATE_TABLE] {
        let made: Result<Vec<Row>, ControlError> =
            client.rows("make the table of decisions", statement.to_owned()).await;
        made.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Ends one branch as its transaction was decided; decides that it is rolled back where nobody has decided.
async fn end(
    topology: &Topology,
    server: &Server,
    xid: &Xid,
    forced: Option<Decision>,
    decided: &mut HashMap<GlobalId, Result<Decision, String>>,
    settings: &ControlSettings,
) -> Result<Decision, String> {
    let decision = match (forced, decided.get(&xid.id)) {
        (Some(decision), _) => decision,
        (None, Some(known)) => known.clone()?,
        (None, None) => {
            let asked = decision_of(topology, xid, settings).await;
            decided.insert(xid.id, asked.clone());
            asked?
        }
    };
    let statement = match decision {
        Decision::Commit => format!("XA COMMIT {xid}"),
        Decision::Abort => format!("XA ROLLBACK {xid}"),
    };
    run(server, &[statement], settings).await.map(|()| decision).map_err(|error| error.to_string())
}

async fn decision_of(topology: &Topology, xid: &Xid, settings: &ControlSettings) -> Result<Decision, String> {
    let gone = || format!("the map has no shard {} that could decide", xid.decider);
    let shard = topology.shard_by_name(&xid.decider.0).ok_or_else(gone)?;
    // A server that is the primary no more does not know what the one after it has decided.
    if let Some(reason) = shard.why_not_written() {
        return Err(format!("shard {} cannot decide now: {reason}", shard.name));
    }
    let server = &shard.primary;
    let read = async {
        let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
        // A commit under way holds the row; the next round asks again.
        for statement in
            ["SET SESSION innodb_lock_wait_timeout = 1".to_owned(), recovery::fence(xid.id, now_ms())]
        {
            let _none: Vec<Row> = client.rows("take a decision", statement).await?;
        }
        let outcome: Vec<u8> = client.row("tell a decision", recovery::question(xid.id)).await?;
        client.close().await;
        Ok::<_, ControlError>(outcome)
    };
    let outcome = read.await.map_err(|error| error.to_string())?;
    recovery::decision(&outcome).ok_or_else(|| "the decision cannot be read".to_owned())
}

/// Removes rows whose branches have all ended: no server listed one, and each was listed after the row was decided.
async fn clean_up(topology: &Topology, found: &[InDoubt], settings: &ControlSettings) {
    let ids: HashSet<GlobalId> = found.iter().filter_map(|branch| GlobalId::parse(&branch.id)).collect();
    let ids: Vec<GlobalId> = ids.into_iter().collect();
    let before = now_ms().saturating_sub(u64::try_from(recovery::ROWS_KEPT.as_millis()).unwrap_or(u64::MAX));
    for shard in &topology.shards {
        let statement = recovery::cleanup(&ids, before);
        if let Err(error) = run(&shard.primary, &[statement], settings).await {
            tracing::debug!(shard = %shard.name, %error, "old decisions could not be removed");
        }
    }
}

async fn run(server: &Server, statements: &[String], settings: &ControlSettings) -> Result<(), ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    for statement in statements {
        let _none: Vec<Row> = client.rows("end a branch", statement.clone()).await?;
    }
    client.close().await;
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
