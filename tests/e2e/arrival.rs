//! Clients behind load balancers that speak the PROXY protocol.

use std::time::Duration;

use shardway::internal::local::Installed;

use crate::support::{APP, Client, Cluster, Database, OPS, Proxy, Raw, Setup, Table, flavors};

const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 51234 3306\r\n";

async fn start(program: &Installed, listen: &str) -> (Proxy, Database) {
    let cluster = Cluster::shared(program).await;
    let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY)")]).await;
    let setup = Setup::new(cluster)
        .database(&database)
        .listen(listen)
        .settings("[limits]\nhandshake_timeout = \"500ms\"\n");
    (Proxy::start(&setup).await, database)
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family, length[0], length[1]], rest].concat()
}

/// The peer of the session of `APP`, as SHOW SESSIONS tells it.
async fn peer(proxy: &Proxy) -> String {
    let mut admin = proxy.admin().await;
    let sessions = admin.ok("SHOW SESSIONS").await;
    let column = |name: &str| sessions.columns.iter().position(|column| column == name).unwrap();
    let (user, client) = (column("user"), column("client"));
    let row = sessions.rows.iter().find(|row| row[user].as_deref() == Some(APP.0.as_bytes())).unwrap();
    String::from_utf8(row[client].clone().unwrap()).unwrap()
}

#[tokio::test]
async fn the_client_that_a_load_balancer_names_is_the_client() {
    let program = flavors().remove(0);
    let (proxy, _database) = start(&program, "proxy_protocol = [\"127.0.0.0/8\"]").await;
    let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xc8, 0x22, 0x0c, 0xea];
    let value = [&[3, 1, 0][..], &[b'x'; 256]].concat();
    for (header, named) in [
        (LINE.to_vec(), "203.0.113.9:51234"),
        (b"PROXY TCP6 2001:db8::9 ::1 51234 3306\r\n".to_vec(), "[2001:db8::9]:51234"),
        (binary(0x21, 0x11, &[&four[..], &value].concat()), "203.0.113.9:51234"),
        (binary(0x20, 0x00, &[]), "127.0.0.1:"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
    ] {
        let mut raw = Raw::connect(proxy.mysql).await;
        for byte in &header {
            raw.bytes(&[*byte]).await;
        }
        let answer = raw.log_in(APP.0, APP.1, None, 0).await;
        assert_eq!(answer[0], 0, "{header:?}");
        assert_eq!(raw.query("SELECT 1").await, [1]);
        let peer = peer(&proxy).await;
        assert!(peer.starts_with(named), "{peer}, not {named}");
        raw.command(1, b"").await;
        assert!(raw.closes(Duration::from_secs(10)).await);
    }
    let mut raw = Raw::connect(proxy.mysql).await;
    raw.bytes(LINE).await;
    let answer = raw.log_in(APP.0, "wrong", None, 0).await;
    let text = String::from_utf8_lossy(&answer[9..]).into_owned();
    assert_eq!(text, "Access denied for user 'app'@'203.0.113.9' (using password: YES)");
}

#[tokio::test]
async fn a_header_is_required_from_where_it_is_expected_and_not_believed_from_elsewhere() {
    let program = flavors().remove(0);
    let (proxy, database) = start(&program, "proxy_protocol = [\"127.0.0.1\", \"10.0.0.0/8\"]").await;
    // A client that waits for the greeting, and one that says something else.
    for said in [&b""[..], b"\x20\x00\x00\x01", b"PROXY TCP4 nonsense\r\n"] {
        let mut raw = Raw::connect(proxy.mysql).await;
        raw.bytes(said).await;
        let (_, answer) = raw.packet().await.expect("the reason");
        assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1043));
        assert!(String::from_utf8_lossy(&answer).contains("SW1010"), "{answer:?}");
        assert!(raw.closes(Duration::from_secs(10)).await);
    }
    // A health check that connects and leaves.
    drop(Raw::connect(proxy.mysql).await);
    // The operators' port has no load balancer in front.
    drop(proxy.admin().await);

    let config = std::fs::read_to_string(proxy.config_path()).unwrap();
    std::fs::write(proxy.config_path(), config.replace("\"127.0.0.1\", ", "")).unwrap();
    let mut admin = proxy.admin().await;
    admin.ok("RELOAD").await;
    let mut client = proxy.client(&database).await;
    assert_eq!(client.rows("SELECT k FROM t").await.len(), 0);
    let mut liar = Raw::connect(proxy.mysql).await;
    liar.bytes(LINE).await;
    liar.greeting().await;
    let (_, answer) = liar.packet().await.expect("a refusal");
    assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xff, 1043), "{answer:?}");
    let operator = Client::connect(&crate::support::Access::new(proxy.mysql, OPS.0, OPS.1)).await;
    operator.quit().await;
}
