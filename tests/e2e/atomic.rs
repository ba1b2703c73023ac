//! Transactions that write on several shards: on all of them or on none, as one server does it.

use crate::support::{Client, Cluster, Database, Proxy, Setup, Table, eventually, flavors};

struct Bank {
    cluster: &'static Cluster,
    database: Database,
    proxy: Proxy,
    client: Client,
    /// Sees only what is committed.
    other: Client,
    /// An account on each shard.
    near: u32,
    far: u32,
}

impl Bank {
    async fn open(program: &shardway::internal::local::Installed) -> Bank {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([
                Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT NOT NULL)"),
                Table::reference("rates", "(id INT PRIMARY KEY, rate INT NOT NULL)"),
            ])
            .await;
        let proxy = Proxy::over(cluster, &database).await;
        let client = proxy.client(&database).await;
        let mut other = proxy.client(&database).await;
        let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 100)")).collect();
        other.ok(format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await;
        let mut found = [0, 0];
        for line in other.rows("SELECT _shard, id FROM accounts").await {
            let (shard, id) = line.split_once('|').unwrap();
            found[usize::from(shard == "shard2")] = id.parse().unwrap();
        }
        let [near, far] = found;
        Bank { cluster, database, proxy, client, other, near, far }
    }

    async fn run<S: AsRef<str>>(&mut self, statements: &[S]) {
        for sql in statements {
            self.client.ok(sql.as_ref()).await;
        }
    }

    fn add(&self, id: u32, amount: i32) -> String {
        format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {id}")
    }

    /// What is committed of the two accounts.
    async fn balances(&mut self) -> [i32; 2] {
        let mut balances = [0, 0];
        for (place, id) in [self.near, self.far].into_iter().enumerate() {
            let balance = self.other.one(format!("SELECT balance FROM accounts WHERE id = {id}")).await;
            balances[place] = balance.unwrap().parse().unwrap();
        }
        balances
    }

    async fn nothing_is_left_prepared(&self) {
        for shard in 0..2 {
            let mut direct = self.cluster.direct(shard).await;
            let ids = direct.rows("XA RECOVER").await;
            assert!(ids.iter().all(|line| !line.contains("@shard")), "{ids:?}");
        }
    }
}

#[tokio::test]
async fn what_is_written_on_two_shards_is_committed_on_both_or_on_neither() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let (out, back) = (bank.add(bank.near, -10), bank.add(bank.far, 10));
        bank.run(&["BEGIN", &out, &back]).await;
        assert_eq!(bank.balances().await, [100, 100]);
        let own = format!("SELECT SUM(balance) FROM accounts WHERE id IN ({}, {})", bank.near, bank.far);
        assert_eq!(bank.client.one(&own).await.as_deref(), Some("200"));
        bank.run(&["COMMIT"]).await;
        assert_eq!(bank.balances().await, [90, 110]);
        bank.run(&["START TRANSACTION", &back, &out, "ROLLBACK"]).await;
        assert_eq!(bank.balances().await, [90, 110]);
        // The first shard is only read: it decides all the same.
        let look = format!("SELECT * FROM accounts WHERE id = {} FOR UPDATE", bank.near);
        bank.run(&["BEGIN", &look, &back, "COMMIT"]).await;
        assert_eq!(bank.balances().await, [90, 120]);
        bank.run(&["SET autocommit = 0", &out, &back, "COMMIT", &out, &back, "ROLLBACK", &out, &back]).await;
        assert_eq!(bank.balances().await, [80, 130]);
        bank.run(&["SET autocommit = 1"]).await;
        assert_eq!(bank.balances().await, [70, 140], "switching it on commits");
        // What commits implicitly commits everywhere.
        bank.run(&["BEGIN", &out, &back, "BEGIN"]).await;
        assert_eq!(bank.balances().await, [60, 150]);
        bank.run(&[&out, &back, "CREATE TABLE more (id INT PRIMARY KEY)"][..2]).await;
        bank.run(&["ALTER TABLE accounts COMMENT = 'x'"]).await;
        assert_eq!(bank.balances().await, [50, 160]);
        bank.run(&["ROLLBACK"]).await;
        assert_eq!(bank.balances().await, [50, 160]);
        bank.nothing_is_left_prepared().await;
    }
}

#[tokio::test]
async fn statements_on_several_shards_are_part_of_the_transaction() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        bank.run(&["BEGIN", "UPDATE accounts SET balance = 0", "REPLACE INTO rates VALUES (1, 7)"]).await;
        assert_eq!(bank.client.one("SELECT SUM(balance) FROM accounts").await.as_deref(), Some("0"));
        assert_eq!(bank.balances().await, [100, 100]);
        // Duplicate keys in the middle: the statement is gone everywhere, the transaction goes on.
        let rows: Vec<String> = (40..60).rev().map(|id| format!("({id}, 1)")).collect();
        let fault = bank.client.refused(format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await;
        assert_eq!(fault.code, 1062, "{}", fault.message);
        assert_eq!(bank.client.one("SELECT COUNT(*) FROM accounts").await.as_deref(), Some("40"));
        let inserted = bank.client.ok(format!("INSERT INTO accounts VALUES {}", rows[..19].join(", "))).await;
        assert_eq!(inserted.affected, 19);
        bank.run(&["COMMIT"]).await;
        assert_eq!(
            bank.other.one("SELECT COUNT(*), SUM(balance) FROM accounts").await.as_deref(),
            Some("59")
        );
        assert_eq!(bank.other.one("SELECT SUM(balance) FROM accounts").await.as_deref(), Some("19"));
        for shard in 0..2 {
            let mut direct = bank.cluster.direct(shard).await;
            let rates = direct.rows(format!("SELECT * FROM `{}`.rates", bank.database.name)).await;
            assert_eq!(rates, ["1|7"]);
        }
        // Outside of a transaction it is one.
        bank.run(&["UPDATE accounts SET balance = 5"]).await;
        assert_eq!(bank.balances().await, [5, 5]);
        let fault = bank.client.refused(format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await;
        assert_eq!(fault.code, 1062);
        bank.run(&["UPDATE accounts SET balance = 6"]).await;
        bank.nothing_is_left_prepared().await;
    }
}

#[tokio::test]
async fn savepoints_chains_and_isolation_hold_on_branches() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let (out, back) = (bank.add(bank.near, -10), bank.add(bank.far, 10));
        let statements = [
            "BEGIN",
            &out,
            "SAVEPOINT a",
            &back,
            "SAVEPOINT b",
            &out,
            &back,
            "ROLLBACK TO b",
            "RELEASE SAVEPOINT a",
        ];
        bank.run(&statements).await;
        let fault = bank.client.refused("ROLLBACK TO b").await;
        assert_eq!(fault.code, 1305, "{}", fault.message);
        bank.run(&["COMMIT AND CHAIN", &out, &back]).await;
        assert_eq!(bank.balances().await, [90, 110]);
        bank.run(&["ROLLBACK AND CHAIN", &back, &out, "SAVEPOINT c", &back, "ROLLBACK TO c", "COMMIT"]).await;
        assert_eq!(bank.balances().await, [80, 120]);
        bank.run(&["COMMIT", "ROLLBACK"]).await;
        // Serializable reads lock on branches, too.
        bank.run(&["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN"]).await;
        for id in [bank.near, bank.far] {
            bank.client.ok(format!("SELECT balance FROM accounts WHERE id = {id}")).await;
        }
        bank.other.ok("SET innodb_lock_wait_timeout = 1").await;
        for id in [bank.near, bank.far] {
            let fault = bank.other.refused(bank.add(id, 1)).await;
            assert_eq!(fault.code, 1205, "{}", fault.message);
        }
        // A lock wait that is too long takes the statement back, everywhere.
        bank.other.ok("BEGIN").await;
        let third = bank.other.rows("SELECT id FROM accounts WHERE id NOT IN (1, 2) LIMIT 1").await;
        bank.other.ok(format!("UPDATE accounts SET balance = 1 WHERE id = {}", third[0])).await;
        bank.run(&["COMMIT", "SET innodb_lock_wait_timeout = 1", "BEGIN", &out, &back]).await;
        let fault = bank.client.refused("UPDATE accounts SET balance = 7").await;
        assert_eq!(fault.code, 1205, "{}", fault.message);
        bank.other.ok("ROLLBACK").await;
        bank.run(&["COMMIT"]).await;
        assert_eq!(bank.balances().await, [70, 130]);
        bank.nothing_is_left_prepared().await;
    }
}

#[tokio::test]
async fn a_deadlock_on_a_branch_rolls_back_everywhere() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let (out, back) = (bank.add(bank.near, -10), bank.add(bank.far, 10));
        let beside = bank.other.rows("SELECT _shard, id FROM accounts").await;
        let there = beside.iter().filter_map(|line| line.strip_prefix("shard2|"));
        let beside: Vec<String> =
            there.filter(|id| **id != bank.far.to_string()).map(str::to_owned).collect();
        let mut rival = bank.proxy.client(&bank.database).await;
        bank.run(&["BEGIN", &out, &back]).await;
        rival.ok("BEGIN").await;
        for id in &beside {
            rival.ok(format!("UPDATE accounts SET balance = balance + 1 WHERE id = {id}")).await;
        }
        let far = bank.far;
        let waiting = tokio::spawn(async move {
            let result = rival.run(format!("UPDATE accounts SET balance = 5 WHERE id = {far}")).await;
            rival.ok("ROLLBACK").await;
            result
        });
        let fault =
            bank.client.refused(format!("UPDATE accounts SET balance = 5 WHERE id = {}", beside[0])).await;
        assert_eq!(fault.code, 1213, "{}", fault.message);
        waiting.await.unwrap().unwrap();
        bank.run(&["COMMIT"]).await;
        assert_eq!(bank.balances().await, [100, 100]);
        bank.run(&["BEGIN", &out, &back, "COMMIT"]).await;
        assert_eq!(bank.balances().await, [90, 110]);
    }
}

#[tokio::test]
async fn the_mode_can_be_chosen_and_seen() {
    for program in flavors() {
        let mut bank = Bank::open(&program).await;
        let (out, back) = (bank.add(bank.near, -10), bank.add(bank.far, 10));
        let question = "SELECT @@shardway_transaction_mode";
        assert_eq!(bank.client.one(question).await.as_deref(), Some("atomic"));
        bank.run(&["SET @@session.shardway_transaction_mode = 'best_effort'"]).await;
        assert_eq!(
            bank.client.one("SELECT @@session.shardway_transaction_mode").await.as_deref(),
            Some("best_effort")
        );
        bank.run(&["BEGIN", &out, &back]).await;
        let fault = bank.client.refused("SET shardway_transaction_mode = 'single'").await;
        assert_eq!(fault.code, 1568, "{}", fault.message);
        bank.run(&["COMMIT", "BEGIN", &out, &back, "ROLLBACK"]).await;
        assert_eq!(bank.balances().await, [90, 110]);
        bank.run(&["UPDATE accounts SET balance = 1", "SET shardway_transaction_mode = 'single'"]).await;
        assert_eq!(bank.balances().await, [1, 1]);
        let fault = bank.client.refused("UPDATE accounts SET balance = 2").await;
        assert!(fault.message.starts_with("SW1302"), "{}", fault.message);
        bank.run(&["BEGIN", &out]).await;
        let fault = bank.client.refused(&back).await;
        assert!(fault.message.starts_with("SW1301"), "{}", fault.message);
        bank.run(&["ROLLBACK"]).await;
        for wrong in
            ["SET shardway_transaction_mode = 'sometimes'", "SET GLOBAL shardway_transaction_mode = 'single'"]
        {
            let fault = bank.client.refused(wrong).await;
            assert!(fault.code == 1231 || fault.message.starts_with("SW1215"), "{}", fault.message);
        }
        bank.run(&["SET shardway_transaction_mode = DEFAULT"]).await;
        assert_eq!(bank.client.one(question).await.as_deref(), Some("atomic"));
    }
}

/// COMMIT of a transaction on one shard is what it was: no statement more than the client's.
#[tokio::test]
async fn a_transaction_on_one_shard_costs_no_statement_more() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 2, 0).await;
        let database =
            cluster.database([Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT)")]).await;
        let setup =
            Setup::new(&cluster).database(&database).settings("[transactions]\nrecover_after = \"1h\"");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        client.ok("INSERT INTO accounts VALUES (1, 1)").await;
        cluster
            .everywhere(&[
                "SET GLOBAL log_output = 'TABLE'",
                "TRUNCATE mysql.general_log",
                "SET GLOBAL general_log = 1",
            ])
            .await;
        for sql in [
            "BEGIN",
            "UPDATE accounts SET balance = 2 WHERE id = 1",
            "SELECT * FROM accounts WHERE id = 1",
            "COMMIT",
        ] {
            client.ok(sql).await;
        }
        cluster.everywhere(&["SET GLOBAL general_log = 0"]).await;
        let mut seen = Vec::new();
        for shard in 0..2 {
            let mut direct = cluster.direct(shard).await;
            let question = "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                WHERE command_type = 'Query' AND user_host LIKE '%app%' AND argument NOT LIKE '%general_log%' ORDER BY event_time";
            seen.extend(direct.rows(question).await);
        }
        assert_eq!(
            seen,
            [
                "BEGIN",
                "UPDATE accounts SET balance = 2 WHERE id = 1",
                "SELECT * FROM accounts WHERE id = 1",
                "COMMIT"
            ]
        );
    }
}

/// What another proxy has left prepared: it is shown, and ended as its row says.
#[tokio::test]
async fn branches_that_were_left_behind_are_ended_as_they_were_decided() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 2, 0).await;
        let database =
            cluster.database([Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT)")]).await;
        let slow =
            Setup::new(&cluster).database(&database).settings("[transactions]\nrecover_after = \"1h\"");
        let proxy = Proxy::start(&slow).await;
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut ids = Vec::new();
        for number in 1..=4 {
            let id = format!("00000000000000ff-{number}");
            let xid = format!("X'{}',X'{}',1398227289", hex(&id), hex("1@shard1"));
            let mut direct = cluster.direct(1).await;
            for sql in [
                format!("XA START {xid}"),
                format!("INSERT INTO `{}`.accounts VALUES ({number}, 0)", database.name),
                format!("XA END {xid}"),
                format!("XA PREPARE {xid}"),
            ] {
                direct.ok(sql).await;
            }
            direct.quit().await;
            ids.push(id);
        }
        let mut lead = cluster.direct(0).await;
        let old =
            |id: &str, outcome| format!("INSERT INTO shardway.decision VALUES ('{id}', '{outcome}', 1)");
        lead.ok(old(&ids[0], "commit")).await;
        lead.ok(old(&ids[2], "commit")).await;
        lead.ok(old("00000000000000ff-9", "commit")).await;

        let mut operator = proxy.operator().await;
        eventually("the branches are seen", async || {
            operator.ok("SHARDWAY SHOW TRANSACTIONS").await.rows.len() == 4
        })
        .await;
        operator.ok(format!("SHARDWAY RESOLVE {}", ids[2])).await;
        operator.ok(format!("SHARDWAY RESOLVE {} ROLLBACK", ids[3])).await;
        let fault = operator.refused("SHARDWAY RESOLVE nonsense").await;
        assert!(fault.message.starts_with("SW1503"), "{}", fault.message);
        drop(proxy);

        let quick =
            Setup::new(&cluster).database(&database).settings("[transactions]\nrecover_after = \"100ms\"");
        let proxy = Proxy::start(&quick).await;
        let mut there = cluster.direct(1).await;
        eventually("no branch is left", async || there.rows("XA RECOVER").await.is_empty()).await;
        assert_eq!(
            there.rows(format!("SELECT id FROM `{}`.accounts ORDER BY id", database.name)).await,
            ["1", "3"]
        );
        assert_eq!(
            lead.rows(format!("SELECT outcome FROM shardway.decision WHERE id = '{}'", ids[1])).await,
            ["abort"]
        );
        // Old rows go once no branch can ask for them, the fence stays for its time.
        drop(proxy);
        let proxy = Proxy::start(&quick).await;
        eventually("old rows are removed", async || {
            lead.rows("SELECT id FROM shardway.decision WHERE decided_ms = 1").await.is_empty()
        })
        .await;
        assert_eq!(lead.rows("SELECT id FROM shardway.decision").await, [ids[1].clone()]);
        let mut operator = proxy.operator().await;
        assert!(operator.ok("SHARDWAY SHOW TRANSACTIONS").await.rows.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_is_silent_within_a_transaction_is_disconnected() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database =
            cluster.database([Table::sharded("accounts", "id", "(id INT PRIMARY KEY, balance INT)")]).await;
        let setup =
            Setup::new(cluster).database(&database).settings("[transactions]\nidle_timeout = \"200ms\"");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        let mut other = proxy.client(&database).await;
        client.ok("BEGIN").await;
        client.ok("INSERT INTO accounts VALUES (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)").await;
        eventually("its locks are gone", async || {
            other.run("INSERT INTO accounts VALUES (1, 7)").await.is_ok()
        })
        .await;
        assert_eq!(other.rows("SELECT * FROM accounts").await, ["1|7"]);
    }
}
