//! Bytes that no client would send, before and after the login: the process lives, others are served, nothing leaks.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::support::{
    APP, Client, Cluster, Database, LOCAL_FILES, MULTI_STATEMENTS, Proxy, Random, Raw, Setup, Table,
    eventually, flavors, response,
};

/// A hostile connection that is neither answered nor closed is left after this.
const PATIENCE: Duration = Duration::from_millis(50);

struct Target {
    database: Database,
    proxy: Proxy,
}

impl Target {
    async fn open() -> Target {
        let cluster = Cluster::shared(&flavors()[0]).await;
        let database =
            cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY, v VARCHAR(20))")]).await;
        let settings =
            "[pool]\nconnections_max = 4\nborrow_timeout = \"5s\"\n[limits]\npacket_bytes_max = 1048576";
        let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(settings)).await;
        Target { database, proxy }
    }

    async fn logged_in(&self) -> Raw {
        Raw::login(self.proxy.mysql, APP.0, APP.1, Some(&self.database.name), 0).await
    }

    /// May send several statements and files.
    async fn all_flags(&self) -> Raw {
        let flags = MULTI_STATEMENTS | LOCAL_FILES;
        Raw::login(self.proxy.mysql, APP.0, APP.1, Some(&self.database.name), flags).await
    }

    /// The bytes of a good login, with its header, to be spoiled.
    async fn login_bytes(&self, raw: &mut Raw) -> Vec<u8> {
        let payload = response(&raw.greeting().await, APP.0, APP.1, Some(&self.database.name), 0);
        framed(1, &payload)
    }

    /// A normal client works, and no connection to a server is lent to anybody.
    async fn is_well(&mut self, after: &str) {
        assert!(self.proxy.runs(), "the proxy ended {after}");
        let mut client = self.proxy.client(&self.database).await;
        // Some of what was sent may have been good statements.
        client.ok("DELETE FROM t WHERE k <> 9").await;
        client.ok("REPLACE INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
        assert_eq!(client.ok("SELECT k FROM t").await.sorted(), ["1", "2", "3"], "{after}");
        client.quit().await;
        let mut operator = self.proxy.operator().await;
        eventually("every lease comes back", async || lent(&mut operator).await == 0).await;
        let log = self.proxy.log();
        assert!(!log.contains("panicked"), "{after}:\n{log}");
    }
}

async fn lent(operator: &mut Client) -> u64 {
    let pools = operator.ok("SHARDWAY SHOW POOLS").await;
    let place = pools.columns.iter().position(|name| name == "lent").unwrap();
    let number =
        |row: &Vec<Option<Vec<u8>>>| String::from_utf8_lossy(row[place].as_deref().unwrap()).parse::<u64>();
    pools.rows.iter().map(|row| number(row).unwrap()).sum()
}

fn framed(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], sequence];
    packet.extend_from_slice(payload);
    packet
}

/// Reads what comes until the other side is silent or gone.
async fn listen(raw: &mut Raw) {
    let mut buffer = [0; 4096];
    while let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, raw.stream().read(&mut buffer)).await {}
}

fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match random.below(5) {
            0 if !bytes.is_empty() => bytes[place] = random.byte(),
            1 if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => drop(bytes.remove(place)),
            3 => bytes.insert(place, random.byte()),
            _ => bytes.truncate(random.below(bytes.len() + 1)),
        }
    }
}

#[tokio::test]
async fn spoiled_logins_harm_nobody() {
    let mut target = Target::open().await;
    let mut random = Random::new();
    for round in 0..150 {
        let mut raw = Raw::connect(target.proxy.mysql).await;
        let mut bytes = target.login_bytes(&mut raw).await;
        spoil(&mut random, &mut bytes);
        raw.bytes(&bytes).await;
        if round % 5 == 0 {
            listen(&mut raw).await;
        }
    }
    target.is_well("after spoiled logins").await;
}

#[tokio::test]
async fn a_login_may_end_after_every_byte_or_come_byte_by_byte() {
    let mut target = Target::open().await;
    let whole = {
        let mut raw = Raw::connect(target.proxy.mysql).await;
        target.login_bytes(&mut raw).await.len()
    };
    for end in 0..whole {
        let mut raw = Raw::connect(target.proxy.mysql).await;
        let bytes = target.login_bytes(&mut raw).await;
        raw.bytes(&bytes[..end]).await;
    }
    // The same lengths inside of a packet that claims to be whole.
    for end in 0..whole - 4 {
        let mut raw = Raw::connect(target.proxy.mysql).await;
        let bytes = target.login_bytes(&mut raw).await;
        raw.bytes(&framed(1, &bytes[4..4 + end])).await;
    }
    let mut slow = Raw::connect(target.proxy.mysql).await;
    for byte in target.login_bytes(&mut slow).await {
        slow.bytes(&[byte]).await;
    }
    let answer = slow.packet().await.expect("an answer to a slow login").1;
    assert_ne!(answer[0], 0xff, "{}", String::from_utf8_lossy(&answer));
    target.is_well("after truncated logins").await;
}

#[tokio::test]
async fn giant_lengths_and_wrong_sequence_numbers_end_their_connection_alone() {
    let mut target = Target::open().await;
    for bytes in [
        &b"\xff\xff\xff\x01"[..],
        b"\xff\xff\xff\x00\xff\xff\xff\x00",
        b"\x00\x00\x00\x01",
        b"\x00\x00\x00\x00",
        b"\x01\x00\x00\xff\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 512],
        &[0xff; 512],
    ] {
        let mut before = Raw::connect(target.proxy.mysql).await;
        before.greeting().await;
        before.bytes(bytes).await;
        listen(&mut before).await;
        let mut after = target.logged_in().await;
        after.bytes(bytes).await;
        listen(&mut after).await;
    }
    let mut raw = target.logged_in().await;
    raw.send(7, b"\x03SELECT 1").await;
    let answer = raw.packet().await.map(|(_, packet)| packet);
    if let Some(answer) = answer {
        assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1156), "{answer:?}");
    }
    let mut raw = target.logged_in().await;
    // Larger than packet_bytes_max: refused before it is read into memory.
    raw.bytes(&[0xff, 0xff, 0xff, 0, 3]).await;
    raw.bytes(&[b'x'; 1 << 20]).await;
    let answer = raw.packet().await.expect("an error").1;
    assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1153), "{answer:?}");
    target.is_well("after giant lengths").await;
}

#[tokio::test]
async fn spoiled_commands_harm_nobody() {
    let mut target = Target::open().await;
    let mut random = Random::new();
    let good: &[&[u8]] = &[
        b"\x03SELECT k, v FROM t WHERE k = 1 AND v = 'x' /* c */",
        b"\x03INSERT INTO t (k, v) VALUES (7, 'a'), (8, 'b') ON DUPLICATE KEY UPDATE v = VALUES(v)",
        b"\x03BEGIN",
        b"\x03SET NAMES gbk, @a = 'b', sql_mode = 'ANSI_QUOTES'",
        b"\x03/*!50000 SELECT */ 1 -- x",
        b"\x02information_schema",
        b"\x04t\x00",
        b"\x0e",
        b"\x11app\x00\x00\x00",
        b"\x16SELECT ?",
        b"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00",
        b"\x18\x01\x00\x00\x00\x00\x00abc",
        b"\x19\x01\x00\x00\x00",
        b"\x1a\x01\x00\x00\x00",
        b"\x1b\x00\x00",
        b"\x1c\x01\x00\x00\x00\x01\x00\x00\x00",
        b"\x1f",
        b"\x0c\x01\x00\x00\x00",
        b"\x12\x00\x00",
    ];
    for code in 0..=255u8 {
        if code == 1 {
            continue;
        }
        let mut raw = target.logged_in().await;
        raw.command(code, b"").await;
        raw.command(code, b"\x00\x01\x02").await;
    }
    for round in 0..600 {
        let mut raw = target.logged_in().await;
        for _ in 0..3 {
            let mut payload = good[random.below(good.len())].to_vec();
            spoil(&mut random, &mut payload);
            let mut packet = framed(0, &payload);
            if random.one_in(5) {
                spoil(&mut random, &mut packet);
            }
            raw.bytes(&packet).await;
        }
        if round % 20 == 0 {
            listen(&mut raw).await;
        }
    }
    target.is_well("after spoiled commands").await;
}

#[tokio::test]
async fn a_statement_may_come_byte_by_byte_and_commands_may_be_pipelined() {
    let mut target = Target::open().await;
    let mut raw = target.logged_in().await;
    for byte in framed(0, b"\x03SELECT 1") {
        raw.bytes(&[byte]).await;
    }
    assert_eq!(raw.packet().await.unwrap().1, [1]);
    listen(&mut raw).await;
    let pings = framed(0, b"\x0e").repeat(50);
    raw.bytes(&pings).await;
    for _ in 0..50 {
        assert_eq!(raw.packet().await.unwrap().1[0], 0);
    }
    // Whoever leaves in the middle of a statement, a transaction, an answer leaves nothing behind.
    for statement in [
        &b"\x03SELECT * FROM t WHERE k = 9"[..],
        b"\x03UPDATE t SET v = 'x' WHERE k = 9",
        b"\x03SELECT GET_LOCK('x', 0)",
    ] {
        for end in [3, 4, 5, statement.len() + 3, statement.len() + 4] {
            let mut raw = target.logged_in().await;
            raw.query("BEGIN").await;
            raw.query("INSERT IGNORE INTO t VALUES (9, 'lost')").await;
            raw.bytes(&framed(0, statement)[..end]).await;
        }
    }
    target.is_well("after clients that left").await;
}

#[tokio::test]
async fn a_conversation_may_end_after_every_byte_or_come_byte_by_byte() {
    let mut target = Target::open().await;
    let change =
        [b"\x11", APP.0.as_bytes(), b"\0\0", target.database.name.as_bytes(), b"\0\x2d\0x\0"].concat();
    let conversations = [
        [
            framed(0, b"\x03SELECT 1; BEGIN; UPDATE t SET v = 'lost' WHERE k = 9; SELECT k FROM t; SELECT 2"),
            framed(0, b"\x0e"),
        ]
        .concat(),
        [
            framed(0, b"\x03LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE t (k, v)"),
            framed(2, b"7\tlost\n8"),
            framed(3, b"\tlost\n"),
            framed(4, b""),
            framed(0, b"\x0e"),
        ]
        .concat(),
        [framed(0, b"\x04t\0%"), framed(0, &change), framed(2, &[7; 20])].concat(),
    ];
    for conversation in &conversations {
        for end in 0..=conversation.len() {
            let mut raw = target.all_flags().await;
            raw.bytes(&conversation[..end]).await;
            if end % 40 == 0 {
                listen(&mut raw).await;
            }
        }
        let mut slow = target.all_flags().await;
        for byte in conversation {
            slow.bytes(&[*byte]).await;
        }
        assert!(slow.packet().await.is_some());
        listen(&mut slow).await;
        drop(slow);
        target.is_well("after conversations that broke off").await;
    }
}
