//! Large results and packets: constant memory, back-pressure, and clients that go away in the middle.

use tokio::io::AsyncReadExt;

use crate::support::{APP, Client, Cluster, Database, Proxy, Raw, Setup, Table, eventually, flavors};

const MIB: usize = 1 << 20;
/// The largest payload of one packet.
const PACKET: usize = 0x00ff_ffff;
const ROWS: usize = 200;
/// A result of many rows must not need more than this, whatever its size.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

async fn rows(cluster: &Cluster) -> Database {
    let database = cluster
        .database([
            Table::single("numbers", 0, "(n INT PRIMARY KEY)"),
            Table::sharded("blobs", "k", "(k INT PRIMARY KEY, b LONGBLOB)"),
            Table::sharded("spread", "k", "(k INT PRIMARY KEY)"),
        ])
        .await;
    let mut direct = cluster.direct(0).await;
    let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
    direct.ok(format!("INSERT INTO {}.numbers VALUES {}", database.name, values.join(", "))).await;
    database
}

/// Statements that a server runs for `APP` and that look like `pattern`.
async fn running(cluster: &Cluster, pattern: &str) -> u32 {
    let count = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{}' AND INFO LIKE '{pattern}'",
        APP.0
    );
    cluster.primary(0).ask(&count).await.unwrap().unwrap().parse().unwrap()
}

/// Reads `total` bytes and watches the proxy's memory on the way; gives the most that it grew, in KiB.
async fn read_slowly(raw: &mut Raw, proxy: &Proxy, total: usize) -> u64 {
    let before = proxy.resident_kib();
    let (mut read, mut most, mut buffer) = (0, before, vec![0; 64 * 1024]);
    while read < total {
        let got = raw.stream().read(&mut buffer).await.unwrap();
        assert!(got > 0, "the result ended after {read} bytes");
        // Every few MiB: by then a proxy without back-pressure has taken in all that the server has.
        if read / (4 * MIB) != (read + got) / (4 * MIB) {
            most = most.max(proxy.resident_kib());
        }
        read += got;
    }
    most - before
}

#[tokio::test]
async fn two_hundred_megabytes_pass_through_in_constant_memory() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
        assert_eq!(raw.query("SELECT REPEAT('x', 1048576) FROM numbers").await, [1]);
        let grown = read_slowly(&mut raw, &proxy, ROWS * MIB).await;
        assert!(grown < GROWTH_KIB_MAX, "one shard: grew by {grown} KiB");
        let mut client = proxy.client(&database).await;
        let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
        client.ok(format!("INSERT INTO spread VALUES {}", values.join(", "))).await;
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
        assert_eq!(raw.query("SELECT REPEAT('x', 1048576) FROM spread").await, [1]);
        let grown = read_slowly(&mut raw, &proxy, ROWS * MIB).await;
        assert!(grown < GROWTH_KIB_MAX, "two shards: grew by {grown} KiB");
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
        assert_eq!(raw.query("SELECT REPEAT('x', 1048576), -k FROM spread ORDER BY k DESC").await, [2]);
        let grown = read_slowly(&mut raw, &proxy, ROWS * MIB).await;
        assert!(grown < GROWTH_KIB_MAX, "a merge: grew by {grown} KiB");
    }
}

#[tokio::test]
async fn packets_around_sixteen_mebibytes_pass_both_ways() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        // One command byte is part of the packet.
        let (head, tail) = ("SELECT LENGTH('", "')");
        for payload in [PACKET - 1, PACKET, PACKET + 1, PACKET + 2, 2 * PACKET, 2 * PACKET + 1, 64 * MIB] {
            let length = payload - 1 - head.len() - tail.len();
            let answer = client.one(format!("{head}{}{tail}", "x".repeat(length))).await;
            assert_eq!(answer, Some(length.to_string()), "a command of {payload} bytes");
        }
        // A row of one text has its length in front: 4 bytes up to 16 MiB - 1, then 9.
        for (payload, prefix) in [
            (PACKET - 1, 4),
            (PACKET, 4),
            (PACKET + 9, 9),
            (PACKET + 10, 9),
            (2 * PACKET, 9),
            (2 * PACKET + 1, 9),
            (64 * MIB, 9),
        ] {
            let length = payload - prefix;
            for sql in [
                format!("SELECT REPEAT('x', {length})"),
                format!("SELECT REPEAT('x', {length}) FROM numbers WHERE n = 1"),
            ] {
                let found = client.ok(&sql).await;
                assert_eq!(found.rows[0][0].as_ref().map(Vec::len), Some(length), "a row of {payload} bytes");
            }
            assert_eq!(client.rows("SELECT 1").await, ["1"]);
        }
        let blob = "x".repeat(17 * MIB);
        client.ok(format!("INSERT INTO blobs VALUES (1, '{blob}'), (2, 'small'), (3, 'small'), (4, 'small'), (5, 'small')")).await;
        assert_eq!(client.one("SELECT LENGTH(b) FROM blobs WHERE k = 1").await, Some((17 * MIB).to_string()));
        let all = client.ok("SELECT b, k FROM blobs").await;
        assert_eq!(all.rows.iter().map(|row| row[0].as_ref().unwrap().len()).sum::<usize>(), 17 * MIB + 20);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_result_gives_its_connection_back() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let setup = Setup::new(cluster)
            .database(&database)
            .settings("[pool]\nidle_min = 0\nconnections_max = 1\nborrow_timeout = \"20s\"");
        let proxy = Proxy::start(&setup).await;
        for _ in 0..5 {
            let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
            assert_eq!(raw.query("SELECT REPEAT('x', 1048576) FROM numbers").await, [1]);
            raw.packet().await.unwrap();
            drop(raw);
            let mut client = proxy.client(&database).await;
            assert_eq!(client.rows("SELECT COUNT(*) FROM numbers").await, [ROWS.to_string()]);
        }
        eventually("no server goes on with it", async || running(cluster, "SELECT REPEAT%").await == 0).await;
    }
}

#[tokio::test]
async fn a_statement_whose_client_vanishes_is_killed_on_its_server() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        for sql in [
            "SELECT n FROM numbers WHERE SLEEP(1000) = 0",
            "SELECT k, SLEEP(1000) FROM spread UNION ALL SELECT 1, SLEEP(1000)",
        ] {
            let mut raw =
                Raw::login(proxy.mysql, APP.0, APP.1, Some(&format!("{}:shard1", database.name)), 0).await;
            raw.command(3, sql.as_bytes()).await;
            eventually("the server runs it", async || running(cluster, "SELECT%SLEEP(1000)%").await > 0)
                .await;
            drop(raw);
            eventually("the server stops it", async || running(cluster, "SELECT%SLEEP(1000)%").await == 0)
                .await;
        }
        let mut client = proxy.client(&database).await;
        assert_eq!(client.rows("SELECT COUNT(*) FROM numbers").await, [ROWS.to_string()]);
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_and_the_session_goes_on() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let setup =
            Setup::new(cluster).database(&database).settings("[limits]\nstatement_timeout = \"300ms\"");
        let proxy = Proxy::start(&setup).await;
        let mut client: Client = proxy.client(&database).await;
        let fault = client.refused("SELECT n FROM numbers WHERE SLEEP(500) = 0").await;
        assert!(fault.message.starts_with("SW1407"), "{} {}", fault.code, fault.message);
        assert_eq!((fault.code, fault.state.as_str()), (3024, "HY000"));
        assert_eq!(client.rows("SELECT 1").await, ["1"]);
        eventually("the server stops it", async || running(cluster, "%SLEEP(500)%").await == 0).await;
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_result_arrives_as_one() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
        client.ok(format!("INSERT INTO spread VALUES {}", values.join(", "))).await;
        for table in ["numbers t", "spread t", "spread t ORDER BY k", "spread t ORDER BY -k LIMIT 190"] {
            let column = if table.starts_with('n') { "n" } else { "k" };
            // Some rows come before the one that fails.
            let sql = format!(
                "SELECT {column}, REPEAT('x', 4000), IF({column} = 150, (SELECT 1 UNION SELECT 2), 0) FROM {table}"
            );
            let fault = client.refused(&sql).await;
            assert_eq!((fault.code, fault.state.as_str()), (1242, "21000"), "{table}: {}", fault.message);
            assert_eq!(client.rows("SELECT COUNT(*) FROM numbers").await, [ROWS.to_string()]);
        }
    }
}

#[tokio::test]
async fn an_error_of_one_shard_leaves_no_answer_of_another_for_the_next_statement() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let setup =
            Setup::new(cluster).database(&database).settings("[pool]\nidle_min = 0\nconnections_max = 1");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
        client.ok(format!("INSERT INTO spread VALUES {}", values.join(", "))).await;
        for round in 0..30 {
            // On every shard, on one, in the middle of the rows of one.
            let failing = match round % 3 {
                0 => "SELECT nonsense FROM spread".to_owned(),
                1 => format!("SELECT IF(k = {round}, (SELECT 1 UNION SELECT 2), 0) FROM spread"),
                _ => {
                    format!("UPDATE spread SET k = IF(k = {round}, 'x', k) WHERE k IN ({round}, 0, 1, 2, 3)")
                }
            };
            client.refused(&failing).await;
            let found =
                client.ok(format!("SELECT k FROM spread WHERE k > 100 AND k <> {round}")).await.sorted();
            assert_eq!(found.len(), ROWS - 101, "after {failing}");
            assert_eq!(client.rows(format!("SELECT 'this', {round}")).await, [format!("this|{round}")]);
        }
    }
}

/// Many rows for one of `spread`, without a function that keeps several shards from computing it.
fn multiplied(select: &str, condition: &str) -> String {
    let ten = (0..10).map(|number| format!("SELECT {number} AS n")).collect::<Vec<_>>().join(" UNION ALL ");
    let tables: Vec<String> = ('a'..='g').map(|name| format!("({ten}) {name}")).collect();
    format!("{select} FROM spread, {} WHERE a.n + b.n + c.n + d.n < 100 AND {condition}", tables.join(", "))
}

#[tokio::test]
async fn a_merge_whose_client_vanishes_is_killed_on_its_servers() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
        client.ok(format!("INSERT INTO spread VALUES {}", values.join(", "))).await;
        let sql = multiplied("SELECT COUNT(*), 'vanishing'", "k > 0");
        let mut raw = Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), 0).await;
        raw.command(3, sql.as_bytes()).await;
        eventually("the server runs it", async || running(cluster, "%vanishing%").await > 0).await;
        drop(raw);
        eventually("the server stops it", async || running(cluster, "%vanishing%").await == 0).await;
    }
}

#[tokio::test]
async fn the_error_of_one_shard_stops_the_others() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = rows(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let values: Vec<String> = (0..ROWS).map(|number| format!("({number})")).collect();
        client.ok(format!("INSERT INTO spread VALUES {}", values.join(", "))).await;
        let mut key = async |shard: &str| {
            let sql = format!("SELECT k FROM spread WHERE _shard = '{shard}' ORDER BY k LIMIT 1");
            client.one(sql).await.unwrap()
        };
        let (running_on, failing_on) = (key("shard1").await, key("shard2").await);
        let failing = format!(
            "k IN ({running_on}, {failing_on}) AND IF(k = {failing_on}, (SELECT 1 UNION SELECT 2), 1) = 1"
        );
        let fault = client.refused(multiplied("SELECT COUNT(*), 'sibling'", &failing)).await;
        assert_eq!(fault.code, 1242, "{}", fault.message);
        assert_eq!(client.rows("SELECT COUNT(*) FROM spread").await, [ROWS.to_string()]);
        eventually("the other server stops", async || running(cluster, "%sibling%").await == 0).await;
    }
}

#[tokio::test]
async fn a_command_beyond_the_servers_limit_is_refused_as_by_the_server() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        cluster.everywhere(&["SET GLOBAL max_allowed_packet = 1048576"]).await;
        let database = cluster.database([Table::single("t", 0, "(a LONGBLOB)")]).await;
        let proxy =
            Proxy::start(&Setup::new(&cluster).database(&database).settings("[pool]\nidle_min = 0")).await;
        let mut client = proxy.client(&database).await;
        let sql = format!("INSERT INTO t VALUES ('{}')", "x".repeat(2 * MIB));
        let fault = client.refused(&sql).await;
        assert_eq!((fault.code, fault.state.as_str()), (1153, "08S01"), "{}", fault.message);
        // The server has closed its connection; the session has not.
        assert_eq!(client.rows("SELECT COUNT(*) FROM t").await, ["0"]);
        client.ok("BEGIN").await;
        client.ok("INSERT INTO t VALUES ('lost')").await;
        let fault = client.refused(&sql).await;
        assert!(matches!(fault.code, 1153 | 1180), "{}: {}", fault.code, fault.message);
        let _either = client.run("ROLLBACK").await;
        assert_eq!(client.rows("SELECT COUNT(*) FROM t").await, ["0"]);
    }
}
