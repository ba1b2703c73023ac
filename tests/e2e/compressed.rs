//! Clients that compress: by zlib and zstd, inside TLS and without, by programs that others wrote and by hostile ones.

use std::process::Command;

use bytes::BytesMut;
use mysql_async::prelude::Queryable;
use mysql_async::{Compression as Level, Conn, OptsBuilder, SslOpts};
use shardway::internal::local::{Flavor, Folder, Installed};
use shardway::internal::wire::{Algorithm, Compression, Framer};
use tokio::io::AsyncReadExt;

use crate::support::{
    APP, Access, Client, Cluster, Database, Proxy, Raw, Setup, Table, command_line, eventually, flavors, said,
};

const COMPRESS: u32 = 0x0000_0020;
const ZSTD: u32 = 0x0400_0000;

struct Door {
    proxy: Proxy,
    database: Database,
    _folder: Folder,
}

impl Door {
    async fn open(program: &Installed, listen: &str, more: &str) -> Door {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([Table::sharded("t", "k", "(k INT PRIMARY KEY, v LONGTEXT CHARACTER SET latin1)")])
            .await;
        let folder = Folder::create().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
        let setup = Setup::new(cluster).database(&database).listen(listen).settings(&tls).settings(more);
        Door { proxy: Proxy::start(&setup).await, database, _folder: folder }
    }

    fn access(&self) -> Access {
        self.proxy.access(&self.database)
    }

    /// Bytes to clients so far.
    async fn sent(&self) -> f64 {
        self.proxy.metric("shardway_bytes_total{direction=\"to_client\"}").await.unwrap()
    }
}

fn options(access: &Access, secure: bool, compression: Option<Level>) -> OptsBuilder {
    let trusting =
        SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    access.options().ssl_opts(secure.then_some(trusting)).compression(compression)
}

#[tokio::test]
async fn a_driver_that_compresses_sees_what_others_see() {
    for program in flavors() {
        let door = Door::open(&program, "", "").await;
        for (secure, level) in [(false, Some(Level::default())), (true, Some(Level::best())), (true, None)] {
            let mut packed = Conn::new(options(&door.access(), secure, level)).await.unwrap();
            // Long and short, one that shrinks and one that does not.
            let noise: String =
                (0..300_000u64).map(|i| char::from(b' ' + (i * i * 48_271 % 9973 % 90) as u8)).collect();
            let values = ["a".repeat(3_000_000), noise, String::new(), "b".repeat(50)];
            packed.query_drop("DELETE FROM t").await.unwrap();
            for (k, value) in values.iter().enumerate() {
                let quoted = value.replace('\\', "\\\\").replace('\'', "''");
                packed.query_drop(format!("INSERT INTO t VALUES ({k}, '{quoted}')")).await.unwrap();
            }
            let before = door.sent().await;
            for (k, value) in values.iter().enumerate() {
                let read: Option<String> =
                    packed.query_first(format!("SELECT v FROM t WHERE k = {k}")).await.unwrap();
                assert_eq!(read.as_ref(), Some(value), "{k}");
            }
            let sent = door.sent().await - before;
            assert_eq!(sent < 1_000_000.0, level.is_some(), "{sent} bytes of 3.3 million");
            let mut rows: Vec<(u32, String)> = packed.query("SELECT k, v FROM t").await.unwrap();
            rows.sort();
            assert_eq!(rows.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
            let error = packed.query_drop("SELECT nothing FROM t WHERE k = 1").await.unwrap_err();
            assert!(matches!(error, mysql_async::Error::Server(error) if error.code == 1054));
            packed.ping().await.unwrap();
            packed.query_drop("SET @x = 1, sql_mode = 'ANSI_QUOTES'").await.unwrap();
            assert!(packed.reset().await.unwrap());
            packed.disconnect().await.unwrap();
        }
        let mut plain = door.proxy.client(&door.database).await;
        assert_eq!(plain.rows("SELECT k FROM t").await.len(), 4);
    }
}

#[tokio::test]
async fn the_command_line_client_compresses() {
    for program in flavors() {
        let door = Door::open(&program, "", "").await;
        let sql = "REPLACE INTO t VALUES (1, REPEAT('x', 100000)), (2, 'y');
                   SELECT k, LENGTH(v) FROM t WHERE k IN (1, 2); SELECT v FROM t WHERE k = 1; SELECT 'end';";
        for options in [&["--compress", "--skip-ssl"][..], &["--compress", "--ssl"]] {
            let before = door.sent().await;
            let told = command_line(&door.access(), options, sql).await;
            assert!(told.success, "{options:?}: {told:?}");
            assert!(told.out.ends_with(&format!("{}\nend\n", "x".repeat(100_000))), "{options:?}");
            let sent = door.sent().await - before;
            assert!(sent < 20_000.0, "{options:?}: {sent} bytes");
        }
    }
}

/// MySQL's own client beside its server, where there is one.
async fn mysql_client(program: &Installed, access: &Access, options: &[&str], sql: &str) -> Option<String> {
    let client = program.path.parent()?.join("mysql");
    if program.flavor != Flavor::MySql || !client.exists() {
        return None;
    }
    let mut command = Command::new(client);
    command
        .args(["--no-defaults", "--protocol=tcp", "--batch", "--skip-column-names"])
        .arg(format!("--host={}", access.address.ip()))
        .arg(format!("--port={}", access.address.port()))
        .arg(format!("--user={}", access.user))
        .arg(format!("--password={}", access.password))
        .args(options)
        .args(&access.database);
    let told = said(command.into(), sql).await;
    assert!(told.success, "{options:?}: {told:?}");
    Some(told.out)
}

#[tokio::test]
async fn mysqls_client_compresses_by_zstd() {
    for program in flavors() {
        let door = Door::open(&program, "", "").await;
        let sql =
            "REPLACE INTO t VALUES (1, REPEAT('x', 100000)); SELECT v FROM t WHERE k = 1; SELECT 'end';";
        for options in [
            &["--compression-algorithms=zstd", "--ssl-mode=DISABLED", "--get-server-public-key"][..],
            &["--compression-algorithms=zstd", "--zstd-compression-level=1"],
            &["--compression-algorithms=zstd", "--zstd-compression-level=22"],
            &["--compression-algorithms=zlib"],
            &["--compression-algorithms=zstd,zlib,uncompressed"],
        ] {
            let before = door.sent().await;
            let Some(out) = mysql_client(&program, &door.access(), options, sql).await else { break };
            assert!(out.ends_with(&format!("{}\nend\n", "x".repeat(100_000))), "{options:?}");
            let sent = door.sent().await - before;
            assert!(sent < 20_000.0, "{options:?}: {sent} bytes");
        }
    }
}

#[tokio::test]
async fn what_is_not_offered_is_not_used() {
    let program = flavors().remove(0);
    let door = Door::open(&program, "compression = []", "").await;
    let greeting = Raw::connect(door.proxy.mysql).await.greeting().await;
    assert_eq!(greeting.capabilities & (COMPRESS | ZSTD), 0);
    let told = command_line(&door.access(), &["--compress", "--skip-ssl"], "SELECT 'plain'").await;
    assert_eq!(told.out, "plain\n", "{told:?}");
    // Asked for all the same: it is not taken as agreed, as with every other flag.
    let mut raw = Raw::login(door.proxy.mysql, APP.0, APP.1, None, COMPRESS | ZSTD).await;
    assert_eq!(raw.query("SELECT 1").await, [1]);
    let door = Door::open(&program, "compression = [\"zstd\"]", "").await;
    let greeting = Raw::connect(door.proxy.mysql).await.greeting().await;
    assert_eq!(greeting.capabilities & (COMPRESS | ZSTD), ZSTD);
}

/// A socket after a login with compression.
struct Packed {
    raw: Raw,
    compression: Compression,
    /// Of the compressed packet that came last.
    number: u8,
    plain: BytesMut,
    framer: Framer,
}

impl Packed {
    async fn open(door: &Door, algorithm: Algorithm) -> Packed {
        let flag = if algorithm == Algorithm::Zlib { COMPRESS } else { ZSTD };
        let raw = Raw::login(door.proxy.mysql, APP.0, APP.1, Some(&door.database.name), flag).await;
        Packed {
            raw,
            compression: Compression::new(algorithm, 1 << 24),
            number: 0,
            plain: BytesMut::new(),
            framer: Framer::unchecked(1 << 24),
        }
    }

    /// The next ordinary packet; `None` when the other side closed.
    async fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(payload) = self.framer.take(&mut self.plain).unwrap() {
                return Some(payload.to_vec());
            }
            let mut header = [0; 7];
            self.raw.stream().read_exact(&mut header).await.ok()?;
            // What unpacks here is made for the other side, where numbers begin at 0.
            self.number = std::mem::take(&mut header[3]);
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let mut packet = BytesMut::from(&header[..]);
            packet.resize(7 + length, 0);
            self.raw.stream().read_exact(&mut packet[7..]).await.ok()?;
            while self.compression.unpack(&mut packet, &mut self.plain).unwrap() > 0 {}
        }
    }

    /// The code of the ERR packet that comes next.
    async fn error(&mut self) -> u16 {
        let packet = self.packet().await.expect("an error before the end");
        assert_eq!(packet[0], 0xff, "{packet:?}");
        u16::from_le_bytes([packet[1], packet[2]])
    }
}

fn stored(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[length[0], length[1], length[2], number, 0, 0, 0], bytes].concat()
}

fn command(code: u8, body: &str) -> Vec<u8> {
    let length = u8::try_from(body.len() + 1).unwrap();
    [&[length, 0, 0, 0, code], body.as_bytes()].concat()
}

#[tokio::test]
async fn compressed_packets_may_be_cut_and_joined_anywhere() {
    let program = flavors().remove(0);
    let door = Door::open(&program, "", "").await;
    for algorithm in [Algorithm::Zlib, Algorithm::Zstd { level: 3 }] {
        let mut packed = Packed::open(&door, algorithm).await;
        // Byte by byte, and every byte in a packet of its own.
        for (number, byte) in command(3, "SELECT 'slow'").into_iter().enumerate() {
            for byte in stored(u8::try_from(number).unwrap(), &[byte]) {
                packed.raw.bytes(&[byte]).await;
            }
        }
        assert_eq!(packed.packet().await.unwrap(), [1]);
        assert_eq!(packed.number, 18, "the answer is numbered after the command");
        while packed.packet().await.unwrap()[0] != 0xfe {}
        while packed.packet().await.unwrap()[0] != 0xfe {}
        // Three commands in one packet, then three packets at once, an empty one among them.
        packed.raw.bytes(&stored(0, &command(14, "").repeat(3))).await;
        let ping = stored(0, &command(14, ""));
        packed.raw.bytes(&[&ping[..], &stored(0, b""), &ping, &ping].concat()).await;
        for _ in 0..6 {
            assert_eq!(packed.packet().await.unwrap()[0], 0);
            assert_eq!(packed.number, 1);
        }
        // A command that is packed.
        let mut out = Vec::new();
        let long = command(3, &format!("SELECT LENGTH('{}')", "a".repeat(200)));
        Compression::new(algorithm, 1 << 20).pack(&long, &mut out);
        assert!(out.len() < long.len());
        packed.raw.bytes(&out).await;
        assert_eq!(packed.packet().await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn hostile_compressed_packets_end_their_connection_alone() {
    let program = flavors().remove(0);
    let door = Door::open(&program, "", "[limits]\npacket_bytes_max = \"64KiB\"\n").await;
    let zlib = Algorithm::Zlib;
    let mut bomb = Vec::new();
    let mut packer = Compression::new(zlib, 1 << 20);
    packer.pack(&[0; 16 << 10], &mut bomb);
    let announcing = |length: u32| {
        let mut lie = bomb.clone();
        lie[4..7].copy_from_slice(&length.to_le_bytes()[..3]);
        lie
    };
    for (bytes, code) in [
        (announcing(0xff_ffff), 1153),
        (announcing(100), 1157),
        (announcing(20_000), 1157),
        (stored(0, &[0xff, 0xff, 0xff, 0, 3]), 1153),
        (stored(9, b"x"), 1156),
        (vec![0, 0, 0, 0, 9, 0, 0], 1157),
        (vec![9, 0, 0, 0, 99, 0, 0, b'n', b'o', b'n', b's', b'e', b'n', b's', b'e', b'!'], 1157),
    ] {
        let mut packed = Packed::open(&door, zlib).await;
        packed.raw.bytes(&bytes).await;
        assert_eq!(packed.error().await, code, "{bytes:?}");
        assert_eq!(packed.packet().await, None, "it is disconnected");
    }
    // Whoever leaves in the middle leaves nothing behind.
    for end in 1..bomb.len() {
        let mut packed = Packed::open(&door, zlib).await;
        packed.raw.bytes(&bomb[..end]).await;
    }
    let mut client = Client::connect(&door.access()).await;
    assert_eq!(client.one("SELECT 'well'").await.unwrap(), "well");
    eventually("the others are gone", async || door.proxy.metric("shardway_sessions").await == Some(1.0))
        .await;
}
