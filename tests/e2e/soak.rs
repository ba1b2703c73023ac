//! Thousands of short sessions that do all sorts of things and often vanish in the middle of them: nothing of them may stay
//! behind, neither a lease nor a pin nor a server connection nor memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{APP, Cluster, Database, Proxy, Random, Raw, Setup, Table, eventually, flavors};

const SESSIONS: usize = 20_000;
const AT_ONCE: usize = 64;
const CONNECTIONS_MAX: u64 = 40;
/// What memory may still grow by after the first half of the sessions, when caches are full and buffers have their size.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

const COM_QUIT: u8 = 0x01;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// Every session has rows of its own, so that transactions which vanish make nobody wait.
const ROWS_PER_SESSION: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_sessions_leave_nothing_behind() {
    let program = flavors().remove(0);
    let cluster = Cluster::own(&program, 2, 0).await;
    let database = cluster
        .database([
            Table::sharded("orders", "customer", "(customer INT PRIMARY KEY, note VARCHAR(60) NOT NULL)"),
            Table::single("settings", 1, "(name VARCHAR(60) PRIMARY KEY)"),
        ])
        .await;
    let settings =
        format!("[pool]\nidle_min = 0\nconnections_max = {CONNECTIONS_MAX}\nborrow_timeout = \"30s\"");
    let proxy = Proxy::start(&Setup::new(&cluster).database(&database).settings(&settings)).await;
    let rows: Vec<String> =
        (0..AT_ONCE * ROWS_PER_SESSION).map(|key| format!("({key}, 'as loaded')")).collect();
    proxy.client(&database).await.ok(format!("INSERT INTO orders VALUES {}", rows.join(", "))).await;

    run_sessions(&proxy, &database, SESSIONS / 2).await;
    nothing_is_left(&cluster, &proxy).await;
    let before = proxy.resident_kib();
    run_sessions(&proxy, &database, SESSIONS / 2).await;
    nothing_is_left(&cluster, &proxy).await;
    let after = proxy.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
}

async fn run_sessions(proxy: &Proxy, database: &Database, count: usize) {
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = tokio::task::JoinSet::new();
    for place in 0..AT_ONCE {
        let (left, address, name) = (Arc::clone(&left), proxy.mysql, database.name.clone());
        tasks.spawn(async move {
            let mut random = Random::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let mut session = Session {
                    raw: Raw::login(address, APP.0, APP.1, Some(&name), 0).await,
                    first_key: place * ROWS_PER_SESSION,
                };
                session.live(&mut random).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

struct Session {
    raw: Raw,
    first_key: usize,
}

impl Session {
    async fn live(&mut self, random: &mut Random) {
        for _ in 0..random.below(5) {
            let key = self.first_key + random.below(ROWS_PER_SESSION);
            let sql = statement(random, key);
            if random.one_in(40) {
                // Gone before the answer, in the middle of it, or in the middle of the command.
                return self.vanish(&sql, random).await;
            }
            match random.below(12) {
                0 => self.raw.command(COM_RESET_CONNECTION, b"").await,
                1 => self.raw.command(COM_STMT_PREPARE, sql.as_bytes()).await,
                _ => self.raw.command(3, sql.as_bytes()).await,
            }
            if !self.answered().await {
                return;
            }
        }
        if random.one_in(2) {
            self.raw.command(COM_QUIT, b"").await;
        }
    }

    async fn vanish(&mut self, sql: &str, random: &mut Random) {
        let length = u8::try_from(sql.len() + 1).unwrap();
        let command = [&[length, 0, 0, 0, 3], sql.as_bytes()].concat();
        let sent = if random.one_in(2) { command.len() } else { random.below(command.len()) };
        self.raw.bytes(&command[..sent]).await;
        if sent == command.len() && random.one_in(2) {
            let _first = self.raw.packet().await;
        }
    }

    /// Reads one whole answer; false when the proxy closed the connection.
    async fn answered(&mut self) -> bool {
        let Some((_, first)) = self.raw.packet().await else { return false };
        let more = match first.first() {
            // The answer to PREPARE has the numbers of columns and parameters, whose definitions end with an EOF each.
            Some(0x00) if first.len() == 12 => {
                let count = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
                usize::from(count(5) > 0) + usize::from(count(7) > 0)
            }
            Some(0x00 | 0xff) => 0,
            _ => 2,
        };
        let mut ends = 0;
        while ends < more {
            let Some((_, packet)) = self.raw.packet().await else { return false };
            match packet.first() {
                Some(0xff) => return true,
                Some(0xfe) if packet.len() < 9 => ends += 1,
                _ => {}
            }
        }
        true
    }
}

fn statement(random: &mut Random, key: usize) -> String {
    let number = random.below(1000);
    match random.below(20) {
        0 => "BEGIN".to_owned(),
        1 => "ROLLBACK".to_owned(),
        2 => "SET autocommit = 0".to_owned(),
        3 => format!("SET sql_mode = '', group_concat_max_len = {}", 1024 + number),
        4 => format!("SET @a = {number}, @b = 'x'"),
        5 => format!("SELECT @a := {number}"),
        6 => "CREATE TEMPORARY TABLE scratch (a INT)".to_owned(),
        7 => format!("SELECT GET_LOCK('lock {key}', 0)"),
        8 => "SELECT customer FROM orders".to_owned(),
        9 => "SELECT REPEAT('x', 3000), customer FROM orders".to_owned(),
        10 => "SELECT nothing FROM nowhere".to_owned(),
        11 => format!("SELECT no_such_column FROM orders WHERE customer = {key}"),
        12 => "DROP TEMPORARY TABLE IF EXISTS scratch".to_owned(),
        13 => format!("SELECT name FROM settings WHERE name = 'name {number}'"),
        14 | 15 => format!("UPDATE orders SET note = 'changed {number}' WHERE customer = {key}"),
        _ => format!("SELECT note FROM orders WHERE customer = {key}"),
    }
}

async fn nothing_is_left(cluster: &Cluster, proxy: &Proxy) {
    let mut operator = proxy.operator().await;
    eventually("all sessions but this one have ended", async || {
        proxy.metric("shardway_sessions").await == Some(1.0)
    })
    .await;
    eventually("no connection is lent", async || {
        let pools = operator.ok("SHARDWAY SHOW POOLS").await;
        let place = |name: &str| pools.columns.iter().position(|column| column == name).unwrap();
        let states = [place("lent"), place("mending"), place("waiting")];
        pools.rows.iter().all(|row| states.iter().all(|at| row[*at].as_deref() == Some(b"0")))
    })
    .await;
    assert!(operator.rows("SHARDWAY SHOW PINS").await.is_empty(), "a pin stayed");
    for shard in 0..2 {
        let mut direct = cluster.direct(shard).await;
        let count = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{}'", APP.0);
        eventually("the servers have no more connections than the pool may have", async || {
            // This connection counts, too, and that of the client which loaded the rows: it ends results in another way.
            let count: u64 = direct.one(&count).await.unwrap().parse().unwrap();
            count <= CONNECTIONS_MAX + 2
        })
        .await;
        let locked = direct.rows("SELECT trx_id FROM information_schema.INNODB_TRX").await;
        assert!(locked.is_empty(), "a transaction stayed open: {locked:?}");
    }
}
