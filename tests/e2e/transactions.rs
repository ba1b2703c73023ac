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
