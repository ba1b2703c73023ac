//! Reads that replicas answer: which ones, and that sessions see what they have written and seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mysql_async::prelude::Queryable;
use shardway::internal::local::{Installed, Server};

use crate::support::replication::applier;
use crate::support::{APP, Access, Client, Cluster, Database, Proxy, Setup, Table, eventually, flavors};

/// Rounds of a stopped and started applier in the register workload.
const ROUNDS: usize = 6;

struct Group {
    cluster: Cluster,
    database: Database,
    proxy: Proxy,
}

/// Who answered, beside a row.
const WHO: &str = "SELECT @@server_id FROM t WHERE k = 1";

impl Group {
    async fn start(program: &Installed, replicas: usize, consistency: &str) -> Group {
        let cluster = Cluster::own(program, 1, replicas).await;
        let database = cluster
            .database([
                Table::sharded("t", "k", "(k BIGINT PRIMARY KEY, v BIGINT NOT NULL DEFAULT 0)"),
                Table::single("mine", 0, "(k INT)"),
            ])
            .await;
        let insert = format!("INSERT INTO `{}`.t (k) VALUES (1)", database.name);
        cluster.primary(0).run(&[insert]).await.unwrap();
        cluster.replicas_caught_up().await;
        let reader = format!(
            "[[user]]\nname = \"reader\"\npassword = \"p\"\nread_consistency = \"{consistency}\"\nserver_user = \"{}\"\n\
             server_password = \"{}\"",
            APP.0, APP.1
        );
        let setup = Setup::new(&cluster).database(&database).settings(&reader);
        let setup = setup.control("probe_interval = \"100ms\"\nslow_start = \"0\"");
        let group = Group { cluster, database, proxy: Proxy::start(&setup).await };
        group.in_rotation(replicas).await;
        group
    }

    async fn in_rotation(&self, replicas: usize) {
        let mut operator = self.proxy.operator().await;
        eventually("the replicas are in rotation", async || {
            let servers = operator.rows("SHARDWAY SHOW SERVERS").await;
            servers.iter().filter(|row| row.contains("|in rotation")).count() == replicas
        })
        .await;
    }

    fn access(&self) -> Access {
        Access::new(self.proxy.mysql, "reader", "p").database(&self.database.name)
    }

    async fn client(&self) -> Client {
        Client::connect(&self.access()).await
    }

    fn is_primary(&self, answer: Option<String>) -> bool {
        self.is(self.cluster.primary(0), answer)
    }

    fn is(&self, server: &Server, answer: Option<String>) -> bool {
        answer.expect("a row") == server.port.to_string()
    }
}

#[tokio::test]
async fn plain_reads_go_to_a_replica_and_everything_else_to_the_primary() {
    for program in flavors() {
        let group = Group::start(&program, 1, "session").await;
        let mut client = group.client().await;
        assert!(group.is(group.cluster.replica(0), client.one(WHO).await), "a plain read");
        let asked = "SELECT @@server_id FROM t WHERE k = ?";
        let who: Option<u16> = client.inner().exec_first(asked, (1,)).await.unwrap();
        assert!(group.is(group.cluster.replica(0), who.map(|who| who.to_string())), "prepared");
        for primary in [
            "SELECT @@server_id FROM t WHERE k = 1 FOR UPDATE",
            "SELECT @@server_id FROM t WHERE k = 1 LOCK IN SHARE MODE",
            "SELECT @@server_id, GET_LOCK('reading', 0), RELEASE_LOCK('reading') FROM t WHERE k = 1",
            "SELECT @@server_id, @a := 1 FROM t WHERE k = 1",
            "/* shardway: role=primary */ SELECT @@server_id FROM t WHERE k = 1",
        ] {
            let mut client = group.client().await;
            assert!(group.is_primary(client.one(primary).await), "{primary}");
        }
        // In a transaction that may write: comments do not hide it (trap 55).
        for begin in ["BEGIN", "/* a */ START TRANSACTION -- b", "SET autocommit = 0"] {
            client.ok(begin).await;
            assert!(group.is_primary(client.one(WHO).await), "{begin}");
            client.ok("ROLLBACK").await;
            client.ok("SET autocommit = 1").await;
        }
        client.ok("START TRANSACTION READ ONLY").await;
        assert!(group.is(group.cluster.replica(0), client.one(WHO).await), "a read-only transaction");
        assert!(group.is(group.cluster.replica(0), client.one(WHO).await), "as a whole");
        client.ok("COMMIT").await;
        client.ok("CREATE TEMPORARY TABLE mine (k INT)").await;
        assert!(group.is_primary(client.one(WHO).await), "with temporary tables");
        client.ok("DROP TEMPORARY TABLE mine").await;
    }
}

#[tokio::test]
async fn a_session_chooses_what_its_reads_must_show() {
    for program in flavors() {
        let group = Group::start(&program, 1, "primary").await;
        let mut client = group.client().await;
        assert!(group.is_primary(client.one(WHO).await), "the user's setting");
        client.ok("SET shardway_read_consistency = 'eventual'").await;
        assert!(!group.is_primary(client.one(WHO).await));
        client.ok("SET SESSION shardway_read_consistency = session").await;
        assert!(!group.is_primary(client.one(WHO).await));
        let fault = client.refused("SET shardway_read_consistency = 'always'").await;
        assert_eq!(fault.code, 1231, "{}", fault.message);
        let fault = client.refused("SET shardway_unknown = 1").await;
        assert_eq!(fault.code, 1193, "{}", fault.message);
        client.ok("SET shardway_read_consistency = DEFAULT").await;
        assert!(group.is_primary(client.one(WHO).await));
    }
}

/// Trap 54: an unhealthy backend that is never removed.
#[tokio::test]
async fn a_replica_that_stops_replicating_is_not_read_until_it_does_again() {
    for program in flavors() {
        let group = Group::start(&program, 1, "eventual").await;
        let mut client = group.client().await;
        assert!(!group.is_primary(client.one(WHO).await));
        applier(group.cluster.replica(0), false).await;
        eventually("the replica leaves", async || group.is_primary(client.one(WHO).await)).await;
        let fault = client.refused("/* shardway: role=replica */ SELECT v FROM t WHERE k = 1").await;
        assert!(fault.message.starts_with("SW1410"), "{}", fault.message);
        assert!(fault.message.contains("its replication does not run"), "{}", fault.message);
        applier(group.cluster.replica(0), true).await;
        eventually("the replica is back", async || !group.is_primary(client.one(WHO).await)).await;
    }
}

/// Read your writes and monotonic reads, over two replicas of which now the one and now the other stands still.
#[tokio::test]
async fn sessions_see_their_own_writes_and_never_go_back() {
    for program in flavors() {
        let group = Group::start(&program, 2, "session").await;
        let stop = Arc::new(AtomicBool::new(false));
        let reads = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for number in 0..8u64 {
            let (mut client, stop, reads) = (group.client().await, Arc::clone(&stop), Arc::clone(&reads));
            tasks.push(tokio::spawn(async move {
                // Half of them write a register of their own, all read the one of the first.
                let mut last = 0u64;
                let own = 100 + number;
                client.ok(format!("INSERT INTO t (k) VALUES ({own})")).await;
                for turn in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if number % 2 == 0 {
                        client.ok(format!("UPDATE t SET v = {turn} WHERE k = {own}")).await;
                        let seen = client.one(format!("SELECT v FROM t WHERE k = {own}")).await;
                        assert_eq!(seen, Some(turn.to_string()), "its own write");
                    }
                    let seen =
                        client.one("SELECT v FROM t WHERE k = 100").await.map_or(0, |v| v.parse().unwrap());
                    assert!(seen >= last, "{seen} after {last} was seen");
                    last = seen;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for round in 0..ROUNDS {
            let replica = &group.cluster.fleet.shards[0].replicas[round % 2];
            applier(replica, false).await;
            let goal = reads.load(Ordering::Relaxed) + 200;
            eventually("reads go on", async || reads.load(Ordering::Relaxed) >= goal).await;
            applier(replica, true).await;
            group.in_rotation(2).await;
        }
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        let served = group.proxy.metric("shardway_replica_reads_total{result=\"served\"}").await.unwrap();
        assert!(served > 100.0, "replicas answered {served} reads only");
    }
}
