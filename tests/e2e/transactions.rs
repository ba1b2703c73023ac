//! Transactions on one shard: they begin, end and report themselves as on one server.

use crate::support::{Client, Cluster, Database, Proxy, Raw, Setup, Table, flavors};

const IN_TRANSACTION: u16 = 1;
const AUTOCOMMIT: u16 = 2;
const IN_READ_ONLY_TRANSACTION: u16 = 0x2000;

async fn accounts(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT NOT NULL)"),
            Table::single("log", 0, "(id INT PRIMARY KEY)"),
        ])
        .await
}

struct Bank {
    database: Database,
    proxy: Proxy,
    client: Client,
    /// Sees only what is committed.
    other: Client,
}

impl Bank {
    async fn open(program: &shardway::internal::local::Installed) -> Bank {
        let cluster = Cluster::shared(program).await;
        let database = accounts(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let client = proxy.client(&database).await;
        let other = proxy.client(&database).await;
        Bank { database, proxy, client, other }
    }

    async fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            self.client.ok(sql).await;
        }
    }

    async fn committed(&mut self) -> Vec<String> {
        self.other.ok("SELECT id, balance FROM accounts").await.sorted()
    }
}

#[tokio::test]
async fn what_is_not_committed_is_seen_by_its_session_alone() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&[
            "BEGIN",
            "INSERT INTO accounts VALUES (7, 1)",
            "UPDATE accounts SET balance = 5 WHERE id = 7",
        ])
        .await;
        assert_eq!(bank.client.rows("SELECT balance FROM accounts WHERE id = 7").await, ["5"]);
        assert!(bank.committed().await.is_empty());
        bank.run(&["COMMIT"]).await;
        assert_eq!(bank.committed().await, ["7|5"]);
        bank.run(&["START TRANSACTION", "DELETE FROM accounts WHERE id = 7", "ROLLBACK"]).await;
        assert_eq!(bank.committed().await, ["7|5"]);
        bank.run(&["begin work", "DELETE FROM accounts WHERE id = 7", "rollback work"]).await;
        assert_eq!(bank.committed().await, ["7|5"]);
        // Nothing touched: nothing to end, on no shard.
        bank.run(&["BEGIN", "COMMIT", "COMMIT", "ROLLBACK"]).await;
        // A second BEGIN commits the first.
        bank.run(&["BEGIN", "UPDATE accounts SET balance = 6 WHERE id = 7", "BEGIN", "ROLLBACK"]).await;
        assert_eq!(bank.committed().await, ["7|6"]);
    }
}

#[tokio::test]
async fn savepoints_take_back_what_came_after_them() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&[
            "BEGIN",
            "SAVEPOINT before_all",
            "INSERT INTO accounts VALUES (7, 1)",
            "SAVEPOINT one",
            "UPDATE accounts SET balance = 2 WHERE id = 7",
            "SAVEPOINT `two`",
            "UPDATE accounts SET balance = 3 WHERE id = 7",
            "ROLLBACK TO SAVEPOINT two",
        ])
        .await;
        assert_eq!(bank.client.rows("SELECT balance FROM accounts WHERE id = 7").await, ["2"]);
        bank.run(&["ROLLBACK TO one", "RELEASE SAVEPOINT one"]).await;
        assert_eq!(bank.client.rows("SELECT balance FROM accounts WHERE id = 7").await, ["1"]);
        let fault = bank.client.refused("ROLLBACK TO SAVEPOINT one").await;
        assert_eq!((fault.code, fault.state.as_str()), (1305, "42000"), "{}", fault.message);
        bank.run(&["ROLLBACK TO SAVEPOINT before_all"]).await;
        assert!(bank.client.rows("SELECT balance FROM accounts WHERE id = 7").await.is_empty());
        bank.run(&["INSERT INTO accounts VALUES (7, 9)", "COMMIT"]).await;
        assert_eq!(bank.committed().await, ["7|9"]);
        let fault = bank.client.refused("ROLLBACK TO SAVEPOINT before_all").await;
        assert_eq!(fault.code, 1305, "outside of a transaction: {}", fault.message);
    }
}

#[tokio::test]
async fn without_autocommit_a_statement_begins_a_transaction() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&["SET autocommit = 0", "INSERT INTO accounts VALUES (7, 1)"]).await;
        assert!(bank.committed().await.is_empty());
        bank.run(&["ROLLBACK", "INSERT INTO accounts VALUES (7, 2)", "COMMIT"]).await;
        assert_eq!(bank.committed().await, ["7|2"]);
        bank.run(&["UPDATE accounts SET balance = 3 WHERE id = 7", "SET autocommit = 1"]).await;
        assert_eq!(bank.committed().await, ["7|3"], "switching it on commits");
        bank.run(&["UPDATE accounts SET balance = 4 WHERE id = 7"]).await;
        assert_eq!(bank.committed().await, ["7|4"]);
        for off in
            ["SET SESSION autocommit = OFF", "SET @@autocommit = false", "set @@session.AUTOCOMMIT := 0"]
        {
            bank.run(&["SET autocommit = ON", off]).await;
            assert_eq!(bank.client.one("SELECT @@autocommit").await.as_deref(), Some("0"), "{off}");
            bank.run(&["UPDATE accounts SET balance = 99 WHERE id = 7", "ROLLBACK"]).await;
            assert_eq!(bank.committed().await, ["7|4"], "{off}");
        }
    }
}

#[tokio::test]
async fn a_read_only_transaction_refuses_writes_and_ddl_ends_one() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&["START TRANSACTION READ ONLY"]).await;
        assert!(bank.client.rows("SELECT * FROM accounts WHERE id = 7").await.is_empty());
        let fault = bank.client.refused("INSERT INTO accounts VALUES (7, 1)").await;
        assert_eq!((fault.code, fault.state.as_str()), (1792, "25006"), "{}", fault.message);
        bank.run(&["COMMIT", "BEGIN", "INSERT INTO accounts VALUES (7, 1)"]).await;
        bank.run(&["ALTER TABLE log ADD COLUMN extra INT"]).await;
        assert_eq!(bank.committed().await, ["7|1"], "the statement committed before it ran");
        bank.run(&["ROLLBACK"]).await;
        assert_eq!(bank.committed().await, ["7|1"]);
        bank.run(&["SET TRANSACTION READ ONLY", "BEGIN"]).await;
        let fault = bank.client.refused("UPDATE accounts SET balance = 2 WHERE id = 7").await;
        assert_eq!(fault.code, 1792, "{}", fault.message);
        bank.run(&["COMMIT", "UPDATE accounts SET balance = 2 WHERE id = 7"]).await;
    }
}

#[tokio::test]
async fn chained_and_released_transactions() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&["BEGIN", "INSERT INTO accounts VALUES (7, 1)", "COMMIT AND CHAIN"]).await;
        assert_eq!(bank.committed().await, ["7|1"]);
        bank.run(&["UPDATE accounts SET balance = 2 WHERE id = 7", "ROLLBACK"]).await;
        assert_eq!(bank.committed().await, ["7|1"], "the chained one was rolled back");
        bank.run(&["BEGIN", "UPDATE accounts SET balance = 3 WHERE id = 7"]).await;
        let _answered = bank.client.run("COMMIT RELEASE").await;
        assert_eq!(bank.client.run("SELECT 1").await.expect_err("the connection ended").code, 0);
        assert_eq!(bank.committed().await, ["7|3"]);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_transaction_with_it() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&[
            "INSERT INTO accounts VALUES (7, 1)",
            "BEGIN",
            "UPDATE accounts SET balance = 2 WHERE id = 7",
        ])
        .await;
        let Bank { database, proxy, client, mut other } = bank;
        drop(client);
        // Waits for the row's lock, which the vanished session must have given back.
        other.ok("SET innodb_lock_wait_timeout = 30").await;
        other.ok("UPDATE accounts SET balance = balance + 10 WHERE id = 7").await;
        assert_eq!(
            proxy.client(&database).await.rows("SELECT balance FROM accounts WHERE id = 7").await,
            ["11"]
        );
    }
}

/// The status flags of an OK packet.
async fn status(raw: &mut Raw, sql: &str) -> u16 {
    let answer = raw.query(sql).await;
    assert_eq!(answer[0], 0, "{sql}: {}", String::from_utf8_lossy(&answer));
    // Affected rows and insert id are small here: one byte each.
    u16::from_le_bytes([answer[3], answer[4]])
}

#[tokio::test]
async fn status_flags_say_what_the_session_is_in() {
    for program in flavors() {
        let bank = Bank::open(&program).await;
        let mut raw = Raw::login(bank.proxy.mysql, "app", "app-secret", Some(&bank.database.name), 0).await;
        let transaction = |status: u16| status & (IN_TRANSACTION | AUTOCOMMIT);
        assert_eq!(transaction(status(&mut raw, "DO 1").await), AUTOCOMMIT);
        assert_eq!(transaction(status(&mut raw, "BEGIN").await), AUTOCOMMIT | IN_TRANSACTION);
        assert_eq!(
            transaction(status(&mut raw, "INSERT INTO accounts VALUES (7, 1)").await),
            AUTOCOMMIT | IN_TRANSACTION
        );
        assert_eq!(transaction(status(&mut raw, "SAVEPOINT a").await), AUTOCOMMIT | IN_TRANSACTION);
        assert_eq!(transaction(status(&mut raw, "COMMIT").await), AUTOCOMMIT);
        let read_only = status(&mut raw, "START TRANSACTION READ ONLY").await;
        assert_eq!(read_only & IN_READ_ONLY_TRANSACTION, IN_READ_ONLY_TRANSACTION);
        assert_eq!(transaction(status(&mut raw, "ROLLBACK").await), AUTOCOMMIT);
        assert_eq!(transaction(status(&mut raw, "SET autocommit = 0").await), 0);
        assert_eq!(
            transaction(status(&mut raw, "UPDATE accounts SET balance = 2 WHERE id = 7").await),
            IN_TRANSACTION
        );
        assert_eq!(transaction(status(&mut raw, "COMMIT").await), 0);
        assert_eq!(transaction(status(&mut raw, "SET autocommit = 1").await), AUTOCOMMIT);
    }
}

#[tokio::test]
async fn isolation_set_for_one_transaction_is_not_that_of_the_next() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = accounts(cluster).await;
        let setup =
            Setup::new(cluster).database(&database).settings("[pool]\nidle_min = 0\nconnections_max = 1");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        let mut reader = cluster.direct(0).await;
        reader.ok(format!("USE {}", database.name)).await;
        reader.ok("INSERT INTO log VALUES (1)").await;
        client.ok("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        client.ok("BEGIN").await;
        assert_eq!(client.rows("SELECT COUNT(*) FROM log").await, ["1"]);
        reader.ok("INSERT INTO log VALUES (2)").await;
        assert_eq!(client.rows("SELECT COUNT(*) FROM log").await, ["2"], "read committed sees it");
        client.ok("COMMIT").await;
        let mut next = proxy.client(&database).await;
        for client in [&mut client, &mut next] {
            let before = client.one("SELECT COUNT(*) FROM log").await;
            client.ok("BEGIN").await;
            assert_eq!(client.one("SELECT COUNT(*) FROM log").await, before);
            let id = 10 + before.clone().unwrap().parse::<u32>().unwrap();
            reader.ok(format!("INSERT INTO log VALUES ({id})")).await;
            assert_eq!(client.one("SELECT COUNT(*) FROM log").await, before, "repeatable read does not");
            client.ok("ROLLBACK").await;
        }
    }
}

/// Accounts 1 to 40, each with as many as its number, on both shards; and the ids of one account on each.
async fn spread(bank: &mut Bank) -> [u32; 2] {
    for id in 1..=40 {
        bank.run(&[&format!("INSERT INTO accounts VALUES ({id}, {id})")]).await;
    }
    let mut found = [0, 0];
    for line in bank.client.rows("SELECT _shard, id FROM accounts").await {
        let (shard, id) = line.split_once('|').unwrap();
        found[usize::from(shard == "shard2")] = id.parse().unwrap();
    }
    found
}

#[tokio::test]
async fn a_transaction_may_read_every_shard_and_write_one() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&["SET shardway_transaction_mode = 'single'"]).await;
        let [near, far] = spread(&mut bank).await;
        for begin in ["BEGIN", "SET autocommit = 0", "START TRANSACTION READ WRITE"] {
            bank.run(&[begin]).await;
            assert_eq!(bank.client.rows("SELECT id FROM accounts").await.len(), 40, "{begin}");
            let write = format!("UPDATE accounts SET balance = balance + 100 WHERE id = {near}");
            bank.run(&[&write]).await;
            assert_eq!(bank.client.rows("SELECT id FROM accounts WHERE balance > 100").await.len(), 1);
            assert!(bank.other.rows("SELECT id FROM accounts WHERE balance > 100").await.is_empty());
            let read = format!("SELECT balance FROM accounts WHERE id = {far}");
            assert_eq!(bank.client.rows(&read).await, [far.to_string()]);
            let fault = bank.client.refused(format!("DELETE FROM accounts WHERE id = {far}")).await;
            assert!(fault.message.starts_with("SW1301"), "{}", fault.message);
            let fault = bank.client.refused("UPDATE accounts SET balance = 0").await;
            assert!(fault.message.starts_with("SW1302"), "{}", fault.message);
            // A refusal of the proxy's leaves the transaction as it was.
            assert_eq!(bank.client.rows("SELECT id FROM accounts WHERE balance > 100").await.len(), 1);
            bank.run(&["ROLLBACK"]).await;
            assert!(bank.client.rows("SELECT id FROM accounts WHERE balance > 100").await.is_empty());
            bank.run(&[&format!("SELECT balance FROM accounts WHERE id = {far} FOR UPDATE"), &write]).await;
            bank.run(&["COMMIT"]).await;
            assert_eq!(bank.other.rows("SELECT id FROM accounts WHERE balance > 100").await.len(), 1);
            bank.run(&[&format!("UPDATE accounts SET balance = {near} WHERE id = {near}"), "COMMIT"]).await;
            bank.run(&["SET autocommit = 1"]).await;
        }
        let mut operator = bank.proxy.operator().await;
        crate::support::eventually("every connection is back", async || {
            let pools = operator.ok("SHARDWAY SHOW POOLS").await;
            let lent = pools.columns.iter().position(|column| column == "lent").unwrap();
            pools.rows.iter().all(|row| row[lent].as_deref() == Some(b"0"))
        })
        .await;
    }
}

#[tokio::test]
async fn each_shard_of_a_transaction_is_read_at_one_moment() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        spread(&mut bank).await;
        bank.run(&["BEGIN"]).await;
        let before = bank.client.ok("SELECT id, balance FROM accounts").await.sorted();
        bank.other.ok("UPDATE accounts SET balance = balance + 1").await;
        assert_eq!(bank.client.ok("SELECT id, balance FROM accounts").await.sorted(), before);
        bank.run(&["COMMIT AND CHAIN"]).await;
        let after = bank.client.ok("SELECT id, balance FROM accounts").await.sorted();
        assert_ne!(after, before);
        bank.other.ok("UPDATE accounts SET balance = balance + 1").await;
        assert_eq!(bank.client.ok("SELECT id, balance FROM accounts").await.sorted(), after, "chained");
        bank.run(&["ROLLBACK", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"]).await;
        // The second shard joins later, with the isolation that the first one had.
        let [near, far] = {
            let mut ids = [0, 0];
            for line in bank.other.rows("SELECT _shard, id FROM accounts").await {
                let (shard, id) = line.split_once('|').unwrap();
                ids[usize::from(shard == "shard2")] = id.parse::<u32>().unwrap();
            }
            ids
        };
        bank.run(&[&format!("SELECT * FROM accounts WHERE id = {near}")]).await;
        let far = format!("SELECT balance FROM accounts WHERE id = {far}");
        let seen = bank.client.rows(&far).await;
        bank.other.ok("UPDATE accounts SET balance = balance + 1").await;
        assert_ne!(bank.client.rows(&far).await, seen);
        bank.run(&["COMMIT"]).await;
    }
}

#[tokio::test]
async fn savepoints_mean_the_same_on_shards_that_joined_later() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let [near, far] = spread(&mut bank).await;
        let (near, far) = (format!("WHERE id = {near}"), format!("WHERE id = {far}"));
        bank.run(&["BEGIN", &format!("SELECT * FROM accounts {near}"), "SAVEPOINT a"]).await;
        bank.run(&[&format!("UPDATE accounts SET balance = 1000 {far}"), "SAVEPOINT b"]).await;
        bank.run(&[&format!("UPDATE accounts SET balance = 2000 {far}"), "ROLLBACK TO b"]).await;
        assert_eq!(bank.client.rows("SELECT balance FROM accounts WHERE balance > 500").await, ["1000"]);
        bank.run(&["ROLLBACK TO SAVEPOINT a"]).await;
        assert!(bank.client.rows("SELECT balance FROM accounts WHERE balance > 500").await.is_empty());
        let fault = bank.client.refused("ROLLBACK TO b").await;
        assert_eq!(fault.code, 1305, "{}", fault.message);
        bank.run(&["RELEASE SAVEPOINT a", &format!("UPDATE accounts SET balance = 3000 {far}"), "COMMIT"])
            .await;
        assert_eq!(bank.other.rows("SELECT balance FROM accounts WHERE balance > 500").await, ["3000"]);
    }
}

/// Ends every connection of the database's sessions on a primary.
async fn kill_all(cluster: &Cluster, shard: usize, database: &str) {
    let list = format!("SELECT GROUP_CONCAT(ID) FROM information_schema.PROCESSLIST WHERE DB = '{database}'");
    let threads = cluster.primary(shard).ask(&list).await.unwrap().unwrap_or_default();
    for id in threads.split(',').filter(|id| !id.is_empty()) {
        let _gone = cluster.primary(shard).run(&[format!("KILL {id}")]).await;
    }
}

#[tokio::test]
async fn a_shard_lost_in_the_middle_takes_the_whole_transaction_with_it() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let mut bank = Bank::open(&program).await;
        let [near, far] = spread(&mut bank).await;
        let write = format!("UPDATE accounts SET balance = 1000 WHERE id = {near}");
        for (lost, next) in [
            (0, "SELECT id FROM accounts".to_owned()),
            (1, "SELECT id FROM accounts".to_owned()),
            (1, format!("SELECT id FROM accounts WHERE id = {far}")),
            (0, write.clone()),
        ] {
            bank.run(&["SET autocommit = 0", "SELECT id FROM accounts", &write]).await;
            kill_all(cluster, lost, &bank.database.name).await;
            let fault = bank.client.refused(&next).await;
            assert!(fault.message.starts_with("SW1304"), "{next}: {}", fault.message);
            let fault = bank.client.refused("SELECT id FROM accounts").await;
            assert!(fault.message.starts_with("SW1304"), "{}", fault.message);
            for end in ["SET autocommit = 1", "COMMIT"] {
                let fault = bank.client.refused(end).await;
                assert!(fault.message.starts_with("SW1304"), "{end}: {}", fault.message);
            }
            bank.run(&["SET autocommit = 1"]).await;
            assert!(bank.client.rows("SELECT id FROM accounts WHERE balance = 1000").await.is_empty());
        }
        // The written shard is lost at COMMIT: what was read elsewhere is not part of what follows.
        bank.run(&["BEGIN", "SELECT id FROM accounts", &write]).await;
        kill_all(cluster, 0, &bank.database.name).await;
        bank.client.refused("COMMIT").await;
        bank.other.ok(format!("UPDATE accounts SET balance = 777 WHERE id = {far}")).await;
        assert_eq!(bank.client.rows(format!("SELECT balance FROM accounts WHERE id = {far}")).await, ["777"]);
        // A shard that was only read and is lost when the transaction ends changes nothing.
        bank.run(&["BEGIN", "SELECT id FROM accounts", &write]).await;
        kill_all(cluster, 1, &bank.database.name).await;
        bank.run(&["COMMIT"]).await;
        assert_eq!(
            bank.client.rows("SELECT id FROM accounts WHERE balance = 1000").await,
            [near.to_string()]
        );
    }
}

#[tokio::test]
async fn an_error_on_several_shards_leaves_the_transaction_open_and_a_deadlock_ends_it_everywhere() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let [near, far] = spread(&mut bank).await;
        let write = format!("UPDATE accounts SET balance = 1000 WHERE id = {near}");
        bank.run(&["BEGIN", &write]).await;
        for wrong in ["SELECT nonsense FROM accounts", "SELECT (SELECT 1 UNION SELECT 2) FROM accounts"] {
            let fault = bank.client.refused(wrong).await;
            assert!(!fault.message.starts_with("SW13"), "{wrong}: {}", fault.message);
        }
        bank.run(&["SELECT id FROM accounts", "COMMIT"]).await;
        assert_eq!(bank.other.rows("SELECT id FROM accounts WHERE balance = 1000").await, [near.to_string()]);

        // Two sessions wait for each other on the far shard; the victim's write on the near shard is gone, too.
        bank.run(&[&format!("UPDATE accounts SET balance = 0 WHERE id = {near}")]).await;
        bank.run(&["BEGIN", &write, &format!("SELECT * FROM accounts WHERE id = {far} FOR UPDATE")]).await;
        let mut rival = bank.proxy.client(&bank.database).await;
        let lines = bank.other.rows("SELECT _shard, id FROM accounts").await;
        let there = lines.iter().filter_map(|line| line.strip_prefix("shard2|"));
        let beside: Vec<&str> = there.filter(|id| **id != far.to_string()).collect();
        let third = beside[0];
        // The rival has changed rows there, so that the other one is the victim.
        rival.ok("BEGIN").await;
        for id in &beside {
            rival.ok(format!("UPDATE accounts SET balance = balance + 1 WHERE id = {id}")).await;
        }
        let waiting = tokio::spawn(async move {
            let result = rival.run(format!("UPDATE accounts SET balance = 5 WHERE id = {far}")).await;
            rival.ok("ROLLBACK").await;
            result
        });
        let fault =
            bank.client.refused(format!("SELECT * FROM accounts WHERE id = {third} FOR UPDATE")).await;
        assert_eq!(fault.code, 1213, "{}", fault.message);
        waiting.await.unwrap().unwrap();
        bank.run(&["COMMIT"]).await;
        assert!(bank.other.rows("SELECT id FROM accounts WHERE balance = 1000").await.is_empty());
    }
}
