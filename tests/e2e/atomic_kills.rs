//! A bank over four shards while its proxies and servers are killed: no money comes or goes, what was acknowledged is there once, and
//! nothing stays in doubt.
//!
//! `SHARDWAY_TEST_KILLS=500` makes it a long run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::Notify;

use crate::support::{Cluster, Database, Proxy, Random, Setup, Table, eventually, flavors};

const SHARDS: usize = 4;
const ACCOUNTS: usize = 64;
const CLIENTS: usize = 8;
const KILLS: usize = 14;
const START_BALANCE: usize = 1000;
/// Where the proxy ends itself; see `transaction::failpoint`.
const POINTS: [&str; 6] =
    ["prepare_sent", "prepared", "commit_sent", "committed", "branches_sent", "branches_committed"];

/// What clients know of their transfers.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

struct Work {
    options: OptsBuilder,
    numbers: Arc<AtomicU64>,
    /// Told of every acknowledged transfer.
    acknowledged: Arc<Notify>,
}

/// Transfers until the connection breaks.
async fn transfer(work: Arc<Work>, mut random: Random) -> Known {
    let mut known = Known::default();
    let Ok(mut connection) = Conn::new(work.options.clone()).await else { return known };
    loop {
        let id = work.numbers.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
        let amount = 1 + random.below(5);
        let mut statements = vec![
            "BEGIN".to_owned(),
            format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}"),
            format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}"),
        ];
        // One of the two forms that a write on several shards has.
        match random.one_in(2) {
            true => statements.push(format!("INSERT INTO journal VALUES ({from}, {id}, 1), ({to}, {id}, 2)")),
            false => {
                statements.push(format!("INSERT INTO journal VALUES ({from}, {id}, 1)"));
                statements.push(format!("INSERT INTO journal VALUES ({to}, {id}, 2)"));
            }
        }
        let mut failed = None;
        for statement in statements {
            if let Err(error) = connection.query_drop(statement).await {
                failed = Some(error);
                break;
            }
        }
        let ended = match failed {
            None => connection.query_drop("COMMIT").await,
            Some(error) => Err(error),
        };
        match ended {
            Ok(()) => {
                known.acknowledged.insert(id);
                work.acknowledged.notify_one();
            }
            Err(mysql_async::Error::Server(error)) => {
                // Nobody can say yet; or one server was lost in its COMMIT, which leaves a client as wise on one server.
                if !error.message.starts_with("SW1311") && !error.message.starts_with("SW14") {
                    known.refused.insert(id);
                }
                if connection.query_drop("ROLLBACK").await.is_err() {
                    return known;
                }
            }
            Err(_) => return known,
        }
    }
}

struct Bank {
    cluster: Cluster,
    database: Database,
    numbers: Arc<AtomicU64>,
    known: Known,
    random: Random,
}

impl Bank {
    async fn open(program: &shardway::internal::local::Installed) -> Bank {
        let cluster = Cluster::own(program, SHARDS, 0).await;
        let database = cluster
            .database([
                Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT NOT NULL)"),
                Table::sharded(
                    "journal",
                    "id",
                    "(id INT, transfer BIGINT, side INT, PRIMARY KEY (id, transfer, side))",
                ),
            ])
            .await;
        let bank = Bank {
            cluster,
            database,
            numbers: Arc::new(AtomicU64::new(1)),
            known: Known::default(),
            random: Random::new(),
        };
        let proxy = bank.proxy(None).await;
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {START_BALANCE})")).collect();
        let mut client = proxy.client(&bank.database).await;
        client.ok(format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await;
        bank
    }

    async fn proxy(&self, die_at: Option<String>) -> Proxy {
        let mut setup = Setup::new(&self.cluster)
            .database(&self.database)
            .settings("[transactions]\nrecover_after = \"200ms\"\n[pool]\nconnect_timeout = \"2s\"");
        setup.variables.extend(die_at.map(|place| ("SHARDWAY_DIE_AT", place)));
        Proxy::start(&setup).await
    }

    /// One proxy, from its start to its death under load.
    async fn round(&mut self, number: usize) {
        let after = 1 + self.random.below(40);
        let place = number % (POINTS.len() + 2);
        let point = POINTS.get(place).map(|name| format!("{name}:{after}"));
        let by_itself = point.is_some();
        let mut proxy = self.proxy(point).await;
        let work = Arc::new(Work {
            options: proxy.access(&self.database).options(),
            numbers: Arc::clone(&self.numbers),
            acknowledged: Arc::default(),
        });
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(transfer(Arc::clone(&work), self.random.fork()))).collect();
        if !by_itself {
            for _ in 0..after {
                work.acknowledged.notified().await;
            }
            if place == POINTS.len() {
                // A server dies first, and comes back: clients meet errors, and what was in doubt there is resolved.
                let victim = self.random.below(SHARDS);
                let server = &mut self.cluster.fleet.shards[victim].primary;
                server.kill();
                server.restart().await.unwrap();
                for _ in 0..after {
                    work.acknowledged.notified().await;
                }
            }
            proxy.signal("KILL");
        }
        proxy.ended().await;
        for client in clients {
            let Known { acknowledged, refused } = client.await.unwrap();
            self.known.acknowledged.extend(acknowledged);
            self.known.refused.extend(refused);
        }
    }

    /// With a proxy that lives.
    async fn check(&mut self) {
        let proxy = self.proxy(None).await;
        for shard in 0..SHARDS {
            let mut direct = self.cluster.direct(shard).await;
            eventually("no branch stays in doubt", async || direct.rows("XA RECOVER").await.is_empty()).await;
        }
        let mut client = proxy.client(&self.database).await;
        let sum = client.one("SELECT SUM(balance) FROM accounts").await.unwrap();
        assert_eq!(sum, (ACCOUNTS * START_BALANCE).to_string());
        let sides = client.rows("SELECT transfer, side FROM journal").await;
        let mut there = [BTreeSet::new(), BTreeSet::new()];
        for line in &sides {
            let (id, side) = line.split_once('|').unwrap();
            assert!(
                there[usize::from(side == "2")].insert(id.parse::<u64>().unwrap()),
                "{id} is there twice"
            );
        }
        let [out, back] = there;
        assert_eq!(out, back, "half of a transfer");
        let missing: Vec<&u64> = self.known.acknowledged.difference(&out).collect();
        assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
        let risen: Vec<&u64> = self.known.refused.intersection(&out).collect();
        assert!(risen.is_empty(), "refused and there: {risen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_lost_when_proxies_and_servers_are_killed() {
    let kills =
        std::env::var("SHARDWAY_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        for number in 0..kills {
            bank.round(number).await;
            if number % 25 == 24 {
                bank.check().await;
                eprintln!(
                    "{:?}: {} kills, {} transfers acknowledged",
                    program.flavor,
                    number + 1,
                    bank.known.acknowledged.len()
                );
            }
        }
        bank.check().await;
        assert!(!bank.known.acknowledged.is_empty());
        println!(
            "{:?}: {kills} kills, {} transfers acknowledged, {} refused, {} begun",
            program.flavor,
            bank.known.acknowledged.len(),
            bank.known.refused.len(),
            bank.numbers.load(Ordering::Relaxed)
        );
    }
}
