//! What the proxy says first, beside what a server says first.

use std::net::SocketAddr;

use crate::support::{APP, Client, Cluster, Database, Proxy, Raw, Setup, Table, direct, eventually, flavors};

/// Flags of servers that the proxy does not offer, with the reason in docs/decisions/0016-transport.md: LOCAL_FILES,
/// SESSION_TRACK, optional metadata, query attributes, the passwords that expire, REMEMBER_OPTIONS, VERIFY_SERVER_CERT, and
/// a reserved bit.
const NOT_OFFERED: u32 = 0x80
    | 0x0080_0000
    | 0x0200_0000
    | 0x0800_0000
    | 0x0040_0000
    | 0x8000_0000
    | 0x4000_0000
    | 0x1000_0000
    | 0x2000_0000;
/// zlib, zstd: the proxy's own, whatever the servers have.
const COMPRESSION: u32 = 0x20 | 0x0400_0000;
const TLS: u32 = 0x800;
/// Unset, it says that MariaDB's own flags follow.
const LONG_PASSWORD: u32 = 1;

async fn start(program: &shardway::internal::local::Installed, settings: &str) -> (Proxy, Database) {
    let cluster = Cluster::shared(program).await;
    let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY)")]).await;
    (Proxy::start(&Setup::new(cluster).database(&database).settings(settings)).await, database)
}

#[tokio::test]
async fn the_greeting_is_that_of_the_servers() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let (proxy, _database) = start(&program, "").await;
        let port = cluster.primary(0).port;
        let of_server = Raw::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.packet().await.unwrap();
        let mut of_proxy = (0, Vec::new());
        eventually("the servers' version is known", async || {
            of_proxy = Raw::connect(proxy.mysql).await.packet().await.unwrap();
            of_proxy.1.len() == of_server.1.len()
        })
        .await;
        assert_eq!(of_proxy.0, of_server.0);
        let (server, proxy) = (of_server.1, of_proxy.1);
        let end = 1 + server[1..].iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(proxy[..end], server[..end], "protocol and version");
        // Thread id, salt, zero, low flags, collation, status, high flags, length, ten bytes, salt, plugin.
        let fixed = |bytes: &[u8]| {
            let rest = &bytes[end + 1 + 4 + 8..];
            let flags = u32::from_le_bytes([rest[1], rest[2], rest[6], rest[7]]);
            (rest[0], flags, rest[3], [rest[4], rest[5]], rest[8], rest[9 + 10 + 13..].to_vec())
        };
        let (server, proxy) = (fixed(&server), fixed(&proxy));
        let known = !(NOT_OFFERED | COMPRESSION | TLS | LONG_PASSWORD);
        assert_eq!(format!("{:08x}", proxy.1 & known), format!("{:08x}", server.1 & known), "flags");
        assert_eq!((proxy.0, proxy.3, proxy.4), (server.0, server.3, server.4), "status, length of the salt");
        assert_eq!(proxy.2, server.2, "collation");
        // Connector/J takes what it reads behind MariaDB's 5.5.5 for the rounds of that version.
        assert_eq!(proxy.5, server.5, "plugin");
    }
}

#[tokio::test]
async fn one_client_too_many_is_told_in_the_bytes_of_a_server() {
    for program in flavors() {
        let cluster = Cluster::own(&program, 1, 0).await;
        cluster.everywhere(&["SET GLOBAL max_connections = 10"]).await;
        let address = direct(cluster.primary(0)).address;
        let mut kept = Vec::new();
        let of_server = loop {
            let mut raw = Raw::connect(address).await;
            let packet = raw.packet().await.unwrap();
            if packet.1[0] == 0xff {
                break packet;
            }
            assert!(kept.len() < 20, "there is room for more and more");
            kept.push(raw);
        };
        let (proxy, database) = start(&program, "[limits]\nclients_max = 1\n").await;
        let _one = Client::connect(&proxy.access(&database)).await;
        let of_proxy = Raw::connect(proxy.mysql).await.packet().await.unwrap();
        assert_eq!(of_proxy, of_server, "{}", String::from_utf8_lossy(&of_server.1));
    }
}

#[tokio::test]
async fn show_sessions_names_the_program_of_a_client() {
    let program = flavors().remove(0);
    let (proxy, database) = start(&program, "").await;
    let mut sessions = Vec::new();
    let mut admin = proxy.admin().await;
    let access = proxy.access(&database);
    // It runs as long as its statement, and asks for that itself.
    let command = crate::support::command_line(&access, &[], "SELECT SLEEP(1)");
    let looking = eventually("the program is shown", async || {
        sessions = admin.rows("SHOW SESSIONS").await;
        sessions
            .iter()
            .any(|line| line.contains(APP.0) && line.contains("|mysql|") || line.contains("|mariadb|"))
    });
    tokio::join!(command, looking);
    assert!(!sessions.is_empty());
}
