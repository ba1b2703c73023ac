//! Primaries that die, hang, are demoted and come back, and what clients see of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shardway::internal::local::Installed;

use crate::support::replication::{demote, follow, ordinary_user, promote, semi_synchronous, stop, writable};
use crate::support::{Access, Client, Cluster, Database, Fault, Proxy, Setup, Table, eventually, flavors};

/// The statement was on the dead server: nobody knows what became of it.
const OUTCOME_UNKNOWN: u16 = 2013;

struct Group {
    cluster: Cluster,
    database: Database,
    proxy: Proxy,
}

impl Group {
    /// One shard, a primary and `replicas`.
    async fn start(program: &Installed, replicas: usize, settings: &str) -> Group {
        let cluster = Cluster::own(program, 1, replicas).await;
        let database = cluster
            .database([Table::sharded("t", "k", "(k BIGINT PRIMARY KEY, v INT NOT NULL DEFAULT 0)")])
            .await;
        cluster.replicas_caught_up().await;
        let setup = Setup::new(&cluster).database(&database).control("probe_timeout = \"500ms\"");
        let proxy = Proxy::start(&setup.settings(settings)).await;
        Group { cluster, database, proxy }
    }

    async fn client(&self) -> Client {
        self.proxy.client(&self.database).await
    }

    /// What SHOW SERVERS says of a server, `column|column`.
    async fn servers(&self) -> Vec<String> {
        self.proxy.operator().await.rows("SHARDWAY SHOW SERVERS").await
    }

    async fn primary_is(&self, port: u16) {
        eventually("the proxy knows the primary", async || {
            self.servers().await.iter().any(|row| row.contains(&format!(":{port}|primary")))
        })
        .await;
    }
}

/// Clients that write and read until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Seen>>,
}

#[derive(Default)]
struct Seen {
    acknowledged: Vec<u64>,
    faults: Vec<Fault>,
    longest: Duration,
}

impl Load {
    async fn start(access: Access, writers: u64, readers: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for number in 0..writers + readers {
            let mut client = Client::connect(&access).await;
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            tasks.push(tokio::spawn(async move {
                let mut seen = Seen::default();
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let (key, began) = (number * 1_000_000 + turn, Instant::now());
                    let writes = number < writers;
                    let result = match writes {
                        true => client.run(format!("INSERT INTO t (k) VALUES ({key})")).await,
                        false => client.run(format!("SELECT v FROM t WHERE k = {key}")).await,
                    };
                    seen.longest = seen.longest.max(began.elapsed());
                    match result {
                        Ok(_) if writes => {
                            seen.acknowledged.push(key);
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(_) => {}
                        Err(fault) => seen.faults.push(fault),
                    }
                }
                seen
            }));
        }
        Load { stop, written, tasks }
    }

    /// Until so many more writes were acknowledged.
    async fn writes(&self, more: u64) {
        let goal = self.written.load(Ordering::Relaxed) + more;
        eventually("writes go on", async || self.written.load(Ordering::Relaxed) >= goal).await;
    }

    /// Writers first.
    async fn finish(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.push(task.await.unwrap());
        }
        all
    }
}

async fn keys(group: &Group) -> Vec<u64> {
    let rows = group.client().await.rows("SELECT k FROM t ORDER BY k").await;
    rows.iter().map(|row| row.parse().unwrap()).collect()
}

/// Trap 49: executed twice after a lost connection. Trap 50: a write is not repeated, what follows it goes on. With
/// `SHARDWAY_FAILOVER_ROUNDS` and `SHARDWAY_FAILOVER_CLIENTS` it prints the figures of docs/failover.md.
#[tokio::test]
async fn a_killed_primary_costs_the_statements_on_it_and_nothing_else() {
    let (rounds, clients) = (number("SHARDWAY_FAILOVER_ROUNDS", 1), number("SHARDWAY_FAILOVER_CLIENTS", 8));
    for program in flavors() {
        let (mut pauses, mut faults, mut acknowledged) = (Vec::new(), 0, 0);
        for _ in 0..rounds {
            for seen in killed(&program, clients / 2, clients - clients / 2).await {
                pauses.push(seen.longest);
                faults += seen.faults.len();
                acknowledged += seen.acknowledged.len();
            }
        }
        pauses.sort();
        let at = |share: usize| pauses[(pauses.len() * share / 100).min(pauses.len() - 1)];
        println!(
            "{}: {rounds} rounds of {clients} clients: pause p50 {:?}, p99 {:?}, longest {:?}; {acknowledged} writes \
             acknowledged, none lost or doubled; {faults} statements whose outcome was unknown",
            program.flavor.name(),
            at(50),
            at(99),
            at(100)
        );
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// One round: under load the primary is killed and its replica promoted. What each client saw, writers first.
async fn killed(program: &Installed, writers: u64, readers: u64) -> Vec<Seen> {
    let mut group = Group::start(program, 1, "").await;
    semi_synchronous(group.cluster.primary(0), group.cluster.replica(0)).await;
    let mut idle = group.client().await;
    idle.ok("SELECT 1").await;
    let mut open = group.client().await;
    open.ok("BEGIN").await;
    open.ok("INSERT INTO t (k) VALUES (999999999)").await;
    let load = Load::start(group.proxy.access(&group.database), writers, readers).await;
    load.writes(200).await;
    group.cluster.fleet.shards[0].primary.kill();
    promote(group.cluster.replica(0)).await;
    load.writes(200).await;
    let seen = load.finish().await;
    for (number, seen) in (0..).zip(&seen) {
        let codes: Vec<u16> = seen.faults.iter().map(|fault| fault.code).collect();
        if number < writers {
            let unknown = codes.iter().all(|code| *code == OUTCOME_UNKNOWN) && codes.len() <= 1;
            assert!(unknown, "a writer: {:?}", seen.faults);
        } else {
            assert!(codes.is_empty(), "a reader: {:?}", seen.faults);
        }
    }
    let unique: BTreeSet<u64> = keys(&group).await.into_iter().collect();
    for key in seen.iter().flat_map(|seen| &seen.acknowledged) {
        assert!(unique.contains(key), "{key} was acknowledged and is lost");
    }
    assert!(!unique.contains(&999_999_999), "a transaction that was not committed");
    let fault = open.refused("INSERT INTO t (k) VALUES (999999998)").await;
    assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
    open.ok("ROLLBACK").await;
    open.ok("INSERT INTO t (k) VALUES (999999997)").await;
    idle.ok("INSERT INTO t (k) VALUES (999999996)").await;
    let longest = seen.iter().map(|seen| seen.longest).max().unwrap();
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    seen
}

/// Trap 48: applications that keep writing to the demoted node (error 1290).
#[tokio::test]
async fn a_planned_change_of_the_primary_is_a_pause_without_an_error() {
    for program in flavors() {
        let group = Group::start(&program, 1, "").await;
        let (old, new) = (group.cluster.primary(0), group.cluster.replica(0));
        // Whoever may write on a server that is read only would not notice.
        ordinary_user(old).await;
        group.cluster.replicas_caught_up().await;
        let load = Load::start(group.proxy.access(&group.database), 4, 2).await;
        load.writes(100).await;
        demote(old).await;
        group.cluster.replicas_caught_up().await;
        promote(new).await;
        load.writes(100).await;
        group.primary_is(new.port).await;
        // And back, at once.
        follow(new, old).await;
        demote(new).await;
        let position = new.ask(position_question(new)).await.unwrap().unwrap().replace('\n', "");
        assert_eq!(old.ask(&wait_question(old, &position)).await.unwrap().as_deref(), Some("0"));
        promote(old).await;
        load.writes(100).await;
        group.primary_is(old.port).await;
        let seen = load.finish().await;
        let faults: Vec<&Fault> = seen.iter().flat_map(|seen| &seen.faults).collect();
        assert!(faults.is_empty(), "{faults:?}");
        let there: BTreeSet<u64> = keys(&group).await.into_iter().collect();
        let acknowledged: BTreeSet<u64> = seen.into_iter().flat_map(|seen| seen.acknowledged).collect();
        assert_eq!(there, acknowledged);
    }
}

fn position_question(server: &shardway::internal::local::Server) -> &'static str {
    match server.flavor() {
        shardway::internal::local::Flavor::MariaDb => "SELECT @@global.gtid_current_pos",
        shardway::internal::local::Flavor::MySql => "SELECT @@global.gtid_executed",
    }
}

fn wait_question(server: &shardway::internal::local::Server, position: &str) -> String {
    match server.flavor() {
        shardway::internal::local::Flavor::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', 30)"),
        shardway::internal::local::Flavor::MySql => {
            format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 30)")
        }
    }
}

/// A server that hangs holds its statements until another has taken over; they do not hang with it.
#[tokio::test]
async fn a_hanging_primary_is_left_for_the_new_one() {
    for program in flavors() {
        let group = Group::start(&program, 1, "").await;
        let (old, new) = (group.cluster.primary(0), group.cluster.replica(0));
        let mut client = group.client().await;
        client.ok("INSERT INTO t (k) VALUES (1)").await;
        group.cluster.replicas_caught_up().await;
        stop(old).await;
        let mut reader = group.client().await;
        let reading = tokio::spawn(async move { reader.rows("SELECT k FROM t WHERE k = 1").await });
        let writing = tokio::spawn(async move { client.run("INSERT INTO t (k) VALUES (2)").await });
        promote(new).await;
        assert_eq!(reading.await.unwrap(), ["1"]);
        // Sent to the hanging server, or still waiting for a connection to it: then it was not sent, and ran on the new primary.
        let written = match writing.await.unwrap() {
            Ok(_) => vec![1, 2, 3],
            Err(fault) => {
                assert_eq!(fault.code, OUTCOME_UNKNOWN, "{}", fault.message);
                vec![1, 3]
            }
        };
        group.client().await.ok("INSERT INTO t (k) VALUES (3)").await;
        // It comes back as it was: writable, behind, and is left alone.
        assert!(old.signal("CONT"));
        eventually("the old primary is seen and not read", async || {
            group.servers().await.iter().any(|row| row.contains("it was the primary before"))
        })
        .await;
        assert_eq!(keys(&group).await, written);
    }
}

/// Trap 47: two writers, both nodes unreachable at once. Trap 51: the error says which.
#[tokio::test]
async fn without_one_primary_statements_wait_and_say_why_they_gave_up() {
    let program = &flavors()[0];
    let mut group =
        Group::start(program, 1, "[limits]\nfailover_wait = \"700ms\"\nfailover_waiters_max = 1").await;
    let mut client = group.client().await;
    client.ok("INSERT INTO t (k) VALUES (1)").await;
    group.cluster.replicas_caught_up().await;
    promote(group.cluster.replica(0)).await;
    eventually("two writers are seen", async || {
        group.servers().await.iter().any(|row| row.contains("takes writes, too"))
    })
    .await;
    let began = Instant::now();
    let fault = client.refused("INSERT INTO t (k) VALUES (2)").await;
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert!(fault.message.starts_with("SW1408") && fault.message.contains("takes writes, too"), "{fault:?}");
    // One place among those who wait.
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = group.client().await;
        others.push(tokio::spawn(async move { other.refused("INSERT INTO t (k) VALUES (2)").await.message }));
    }
    let mut refused = 0;
    for other in others {
        refused += usize::from(other.await.unwrap().starts_with("SW1409"));
    }
    assert!(refused >= 1, "nobody was turned away");
    // One steps back; then both are gone at once, and the first comes back.
    demote(group.cluster.replica(0)).await;
    group.primary_is(group.cluster.primary(0).port).await;
    eventually("writes go on", async || client.run("INSERT INTO t (k) VALUES (2)").await.is_ok()).await;
    let shard = &mut group.cluster.fleet.shards[0];
    shard.primary.kill();
    shard.replicas[0].kill();
    let fault = client.refused("INSERT INTO t (k) VALUES (3)").await;
    assert!(fault.message.starts_with("SW1408"), "{fault:?}");
    group.cluster.fleet.shards[0].primary.restart().await.unwrap();
    writable(group.cluster.primary(0)).await;
    eventually("writes go on", async || client.run("INSERT INTO t (k) VALUES (4)").await.is_ok()).await;
    assert_eq!(keys(&group).await, [1, 2, 4]);
}

/// Trap 53: shutdown during a failover.
#[tokio::test]
async fn a_proxy_ends_in_time_while_statements_wait_for_a_primary() {
    let program = &flavors()[0];
    let settings = "[limits]\nfailover_wait = \"1h\"\ndrain_timeout = \"500ms\"";
    let mut group = Group::start(program, 0, settings).await;
    let mut client = group.client().await;
    client.ok("INSERT INTO t (k) VALUES (1)").await;
    group.cluster.fleet.shards[0].primary.kill();
    let waiting = tokio::spawn(async move { client.run("SELECT k FROM t").await });
    eventually("the primary is missed", async || {
        group.servers().await.iter().any(|row| row.contains("refuses connections"))
    })
    .await;
    group.proxy.signal("TERM");
    assert!(group.proxy.ended().await.success());
    assert!(waiting.await.unwrap().is_err());
}

/// Trap 52: errors during a planned change although statements are held back.
#[tokio::test]
async fn a_switchover_costs_no_error_and_loses_nothing() {
    for program in flavors() {
        let group = Group::start(&program, 2, "").await;
        let mut operator = group.proxy.operator().await;
        eventually("the replicas are in rotation", async || {
            group.servers().await.iter().filter(|row| row.contains("|in rotation")).count() == 2
        })
        .await;
        let (old, new) = (group.cluster.primary(0), group.cluster.replica(0));
        let load = Load::start(group.proxy.access(&group.database), 4, 4).await;
        let mut client = group.client().await;
        let (stop, stopped) = (Arc::clone(&load.stop), group.database.name.clone());
        let transactions = tokio::spawn(async move {
            let mut committed = 0u64;
            while !stop.load(Ordering::Relaxed) {
                client.ok("BEGIN").await;
                client.ok(format!("SELECT COUNT(*) FROM `{stopped}`.t WHERE k < 0")).await;
                client.ok(format!("INSERT INTO t (k) VALUES ({})", 500_000_000 + committed)).await;
                client.ok("COMMIT").await;
                committed += 1;
            }
            committed
        });
        load.writes(100).await;
        let fault = operator.refused("SHARDWAY SWITCHOVER shard1 TO 127.0.0.1:1").await;
        assert!(fault.message.starts_with("SW1509"), "{}", fault.message);
        operator.ok(format!("SHARDWAY SWITCHOVER shard1 TO 127.0.0.1:{}", new.port)).await;
        load.writes(100).await;
        group.primary_is(new.port).await;
        let seen = load.finish().await;
        let committed = transactions.await.unwrap();
        let faults: Vec<&Fault> = seen.iter().flat_map(|seen| &seen.faults).collect();
        assert!(faults.is_empty(), "{faults:?}");
        let there: BTreeSet<u64> = keys(&group).await.into_iter().collect();
        let mut acknowledged: BTreeSet<u64> = seen.into_iter().flat_map(|seen| seen.acknowledged).collect();
        acknowledged.extend((0..committed).map(|number| 500_000_000 + number));
        assert_eq!(there, acknowledged);
        // The other replica follows the new primary; the old one waits for an operator.
        let other = &group.cluster.fleet.shards[0].replicas[1];
        eventually("the other replica is in rotation", async || {
            group
                .servers()
                .await
                .iter()
                .any(|row| row.contains(&format!(":{}|replica", other.port)) && row.contains("|in rotation"))
        })
        .await;
        assert!(group.servers().await.iter().any(|row| {
            row.contains(&format!(":{}|replica", old.port))
                && row.contains("not read: it replicates from nobody")
        }));
        follow(new, old).await;
    }
}
