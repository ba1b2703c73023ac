//! A planned change of a shard's primary, for groups that replicate by GTID: writes wait, transactions end, the replica gets all that the
//! primary has and takes over. Until the replica is promoted every step can be taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::client::Client;
use super::error::ControlError;
use super::holds::Holds;
use crate::config::{ControlSettings, Settings};
use crate::topology::{Rotation, Server, ServerName, Shard, ShardName, Standing, TopologyHandle};
use crate::wire::is_mariadb;

/// How long open transactions get to end; what is still open then ends with an error.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long the replica gets for what it lacks, and a server for one order.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long the new primary gets to be seen.
const SEEN_MAX: Duration = Duration::from_secs(10);
/// InnoDB shows a list of transactions that is up to 100 ms old.
const LIST_AGE_MAX: Duration = Duration::from_millis(120);
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchoverError {
    #[error("{0}")]
    Impossible(String),
    #[error("nothing changed: {0}")]
    TakenBack(String),
    #[error("{0}")]
    Halfway(String),
}

/// What a switchover needs of the control plane.
#[derive(Debug, Clone)]
pub(super) struct Switchover {
    pub(super) topology: TopologyHandle,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) holds: Holds,
    pub(super) suspects: mpsc::Sender<ServerName>,
}

/// How servers of one flavor are told.
struct Words {
    read_only: &'static str,
    writable: &'static [&'static str],
    position: &'static str,
    wait: &'static str,
    replica: &'static str,
}

const MARIADB: Words = Words {
    read_only: "SET GLOBAL read_only = 1",
    writable: &["SET GLOBAL read_only = 0"],
    position: "SELECT @@GLOBAL.gtid_binlog_pos",
    wait: "MASTER_GTID_WAIT",
    replica: "SLAVE",
};
const MYSQL: Words = Words {
    read_only: "SET GLOBAL super_read_only = 1",
    writable: &["SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0"],
    position: "SELECT @@GLOBAL.gtid_executed",
    wait: "WAIT_FOR_EXECUTED_GTID_SET",
    replica: "REPLICA",
};

/// Transactions that may have something to lose.
const OPEN: &str = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_autocommit_non_locking = 0";

impl Switchover {
    /// Makes `target` the primary of `shard`. The answer says what is left to do.
    pub(super) async fn run(self, shard: &str, target: &str) -> Result<String, SwitchoverError> {
        let topology = self.topology.load();
        let impossible = SwitchoverError::Impossible;
        let shard =
            topology.shard_by_name(shard).ok_or_else(|| impossible(format!("there is no shard {shard}")))?;
        let target = able(shard, target).map_err(impossible)?;
        let Some(held) = self.holds.hold(&shard.name) else {
            return Err(impossible(format!("a switchover of {} is under way", shard.name)));
        };
        let control = self.settings.borrow().control.clone();
        let mut old = order(&shard.primary, &control).await.map_err(|error| impossible(error.to_string()))?;
        let mut new = order(target, &control).await.map_err(|error| impossible(error.to_string()))?;
        let version: (String,) =
            old.row("tell its version", "SELECT VERSION()".to_owned()).await.map_err(taken_back)?;
        let words = if is_mariadb(&version.0) { &MARIADB } else { &MYSQL };
        self.until_held(&shard.name).await;
        drain(&mut old).await;
        if let Err(error) = hand_over(&mut old, &mut new, words).await {
            for statement in words.writable {
                // Of a server that does not answer the probes will tell.
                drop(run(&mut old, statement).await);
            }
            return Err(taken_back(error));
        }
        promote(&mut new, words).await.map_err(|error| {
            let name = &shard.primary.name;
            SwitchoverError::Halfway(format!(
                "{name} is read only and {target} was not promoted: {error}",
                target = target.name
            ))
        })?;
        let mut notes = Vec::new();
        for server in shard.replicas.iter().filter(|server| server.name != target.name) {
            if let Err(error) = repoint(server, target, words, &control).await {
                notes.push(format!("{} still follows {}: {error}", server.name, shard.primary.name));
            }
        }
        for server in [&target.name, &shard.primary.name] {
            // With the queue full the monitor has enough to ask.
            drop(self.suspects.try_send(server.clone()));
        }
        // Let go before that, writes would go to the old one, and of some accounts it would take them.
        self.until(shard, target, |now| now.primary == *target).await?;
        drop(held);
        self.until(shard, target, |now| now.primary == *target && now.why_not_written().is_none()).await?;
        notes.push(format!(
            "{} is read only and replicates from nobody until you make it a replica",
            shard.primary.name
        ));
        Ok(format!("{} is the primary of {}; {}", target.name, shard.name, notes.join("; ")))
    }

    /// Sessions begin nothing more that writes.
    async fn until_held(&self, shard: &ShardName) {
        let deadline = Instant::now() + SEEN_MAX;
        let held = |shard: &Shard| shard.why_not_written().is_some();
        while !self.topology.load().shard_by_name(&shard.0).is_some_and(held) && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the target is seen as what it is now.
    async fn until(
        &self,
        shard: &Shard,
        target: &Server,
        seen: impl Fn(&Shard) -> bool,
    ) -> Result<(), SwitchoverError> {
        let deadline = Instant::now() + SEEN_MAX;
        loop {
            let topology = self.topology.load();
            let now = topology.shard_by_name(&shard.name.0);
            if now.is_some_and(&seen) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let words = now.map_or_else(String::new, |now| now.words_on(&target.name));
                return Err(SwitchoverError::Halfway(format!("{} was promoted and is {words}", target.name)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn taken_back(error: ControlError) -> SwitchoverError {
    SwitchoverError::TakenBack(error.to_string())
}

/// The replica that may take over.
fn able<'s>(shard: &'s Shard, target: &str) -> Result<&'s Server, String> {
    if !matches!(shard.standing, Standing::Confirmed { .. }) {
        return Err(format!("{} is {}", shard.primary.name, shard.words_on(&shard.primary.name)));
    }
    if *shard.primary.name.0 == *target {
        return Err(format!("{target} is the primary already"));
    }
    let at = shard.replicas.iter().position(|server| *server.name.0 == *target);
    let Some(at) = at else { return Err(format!("{} has no server {target}", shard.name)) };
    match shard.rotation.get(at) {
        Some(Rotation::In { .. }) => Ok(&shard.replicas[at]),
        Some(Rotation::Unknown | Rotation::Out { .. }) | None => {
            Err(format!("{target} is {}", shard.words_on(&shard.replicas[at].name)))
        }
    }
}

async fn order(server: &Server, control: &ControlSettings) -> Result<Client, ControlError> {
    Client::connect(server, &control.credential, STEP_MAX + control.probe_timeout).await
}

async fn run(client: &mut Client, statement: &str) -> Result<(), ControlError> {
    client.rows::<mysql_async::Row>("carry out a switchover", statement.to_owned()).await.map(drop)
}

/// Lets transactions end; new ones wait meanwhile. An account that may not see them does not wait. The first look is late enough to show
/// what was begun before the shard was held.
async fn drain(old: &mut Client) {
    let deadline = Instant::now() + DRAIN_MAX;
    while Instant::now() < deadline {
        tokio::time::sleep(LIST_AGE_MAX).await;
        let open: Result<(u64,), _> = old.row("count its transactions", OPEN.to_owned()).await;
        if !matches!(open, Ok((1..,))) {
            return;
        }
    }
}

/// The primary takes no more writes, and the replica has all of them.
async fn hand_over(old: &mut Client, new: &mut Client, words: &Words) -> Result<(), ControlError> {
    run(old, words.read_only).await?;
    let (position,): (Option<String>,) = old.row("tell its position", words.position.to_owned()).await?;
    let position = position.unwrap_or_default().replace(['\n', '\''], "");
    let question = format!("SELECT {}('{position}', {})", words.wait, STEP_MAX.as_secs());
    let (reached,): (Option<i64>,) = new.row("reach the primary's position", question).await?;
    if reached != Some(0) || position.is_empty() {
        let what = "reach the primary's position";
        return Err(ControlError::Timeout { server: new.server().clone(), what, waited: STEP_MAX });
    }
    Ok(())
}

async fn promote(new: &mut Client, words: &Words) -> Result<(), ControlError> {
    run(new, &format!("STOP {}", words.replica)).await?;
    run(new, &format!("RESET {} ALL", words.replica)).await?;
    for statement in words.writable {
        run(new, statement).await?;
    }
    Ok(())
}

/// Makes another replica follow the new primary, with the account that it has.
async fn repoint(
    server: &Server,
    primary: &Server,
    words: &Words,
    control: &ControlSettings,
) -> Result<(), ControlError> {
    let mut client = order(server, control).await?;
    let host = primary.host.replace(['\'', '\\'], "");
    run(&mut client, &format!("STOP {}", words.replica)).await?;
    let change = match words.replica {
        "SLAVE" => format!("CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={}", primary.port),
        _ => format!("CHANGE REPLICATION SOURCE TO SOURCE_HOST='{host}', SOURCE_PORT={}", primary.port),
    };
    run(&mut client, &change).await?;
    run(&mut client, &format!("START {}", words.replica)).await?;
    client.close().await;
    Ok(())
}
