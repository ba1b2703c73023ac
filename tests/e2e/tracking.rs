//! State that functions and triggers set: servers tell of it, the session keeps its connection, and nobody else sees it.

use shardway::internal::local::Installed;

use crate::support::{APP, Client, Cluster, Database, Proxy, Raw, Setup, Table, flavors};

const DEPRECATE_EOF: u32 = 0x0100_0000;
const CHANGED: u16 = 0x4000;

/// A database with a function and a trigger that set variables, behind one connection to each server.
async fn start(program: &Installed) -> (Proxy, Database) {
    let cluster = Cluster::shared(program).await;
    let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY, v INT)")]).await;
    let name = &database.name;
    cluster
        .everywhere(&[
            "SET GLOBAL log_bin_trust_function_creators = 1".to_owned(),
            format!(
                "CREATE FUNCTION {name}.marks() RETURNS INT DETERMINISTIC BEGIN SET @set = 1; RETURN 1; END"
            ),
            format!(
                "CREATE FUNCTION {name}.sorts() RETURNS INT DETERMINISTIC \
                 BEGIN SET SESSION max_sort_length = 77; RETURN 1; END"
            ),
            format!("CREATE FUNCTION {name}.plain() RETURNS INT DETERMINISTIC RETURN 1"),
            format!("CREATE TRIGGER {name}.tr BEFORE INSERT ON {name}.t FOR EACH ROW SET @inserted = NEW.v"),
        ])
        .await;
    let setup = Setup::new(cluster).database(&database).settings("[pool]\nconnections_max = 1\n");
    let proxy = Proxy::start(&setup).await;
    let mut map = setup.map.clone();
    map.version += 1;
    let listed = "functions = [\"marks\", \"sorts\", \"plain\"]\n[database.tables]";
    std::fs::write(proxy.map_path(), map.text().replace("[database.tables]", listed)).unwrap();
    proxy.admin().await.ok("RELOAD").await;
    (proxy, database)
}

async fn pins(proxy: &Proxy) -> Vec<String> {
    proxy.admin().await.rows("SHOW PINS").await
}

async fn with_eof(proxy: &Proxy, database: &Database, capabilities: u32) -> Raw {
    Raw::login(proxy.mysql, APP.0, APP.1, Some(&database.name), capabilities).await
}

#[tokio::test]
async fn what_functions_set_is_there_for_the_session_and_for_nobody_else() {
    for program in flavors() {
        let (proxy, database) = start(&program).await;
        let mut client = proxy.client(&database).await;
        for (sets, reads, fresh) in [
            ("SELECT marks()", "SELECT @set", "NULL"),
            ("SELECT sorts()", "SELECT @@max_sort_length", "1024"),
            ("DO sorts()", "SELECT @@max_sort_length", "1024"),
            ("SELECT sorts() FROM t WHERE k = 1", "SELECT @@max_sort_length", "1024"),
        ] {
            client.ok("REPLACE INTO t VALUES (1, 1)").await;
            assert!(client.reset().await);
            assert_eq!(client.rows(reads).await, [fresh], "{sets}");
            client.ok(sets).await;
            assert_ne!(client.rows(reads).await, [fresh], "{sets}: the next statement sees it");
            let pins = pins(&proxy).await;
            assert!(pins.iter().any(|pin| pin.contains("session_state")), "{sets}: {pins:?}");
            assert!(client.reset().await);
            let mut other = proxy.client(&database).await;
            for _ in 0..4 {
                assert_eq!(other.rows(reads).await, [fresh], "{sets}: the connection went on as it was");
            }
        }
        for harmless in ["SELECT plain()", "SELECT 1", "BEGIN", "COMMIT", "UPDATE t SET v = 2 WHERE k = 1"] {
            client.ok(harmless).await;
        }
        assert_eq!(pins(&proxy).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_triggers_set_is_noticed_on_one_shard_and_on_several() {
    for program in flavors() {
        let (proxy, database) = start(&program).await;
        let mut client = proxy.client(&database).await;
        client.ok("INSERT INTO t VALUES (1, 11)").await;
        assert_eq!(client.rows("SELECT @inserted").await, ["11"]);
        assert!(client.reset().await);
        // No one connection has it all: none goes on with it.
        client.ok("INSERT INTO t VALUES (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8)").await;
        let mut others = Vec::new();
        for _ in 0..4 {
            let mut other = proxy.client(&database).await;
            assert_eq!(other.rows("SELECT @inserted").await, ["NULL"]);
            others.push(other);
        }
    }
}

#[tokio::test]
async fn clients_get_ok_packets_without_the_state_of_the_servers_session() {
    for program in flavors() {
        let (proxy, database) = start(&program).await;
        for capabilities in [DEPRECATE_EOF, 0] {
            let mut raw = with_eof(&proxy, &database, capabilities).await;
            for sql in [
                "SET autocommit = 1",
                "SET time_zone = '+01:00'",
                "SELECT v FROM t WHERE k = 1",
                "BEGIN",
                "SELECT v FROM t WHERE k = 1",
                "DELETE FROM t WHERE k = 99",
                "SELECT v FROM t WHERE k = 1",
                "COMMIT",
                "SELECT marks()",
                "SELECT sorts()",
            ] {
                let mut packet = raw.query(sql).await;
                assert_ne!(packet[0], 0xff, "{sql}: {}", String::from_utf8_lossy(&packet));
                if packet[0] != 0 {
                    let mut ends = if capabilities == 0 { 2 } else { 1 };
                    while ends > 0 {
                        packet = raw.packet().await.unwrap().1;
                        ends -= u8::from(packet[0] == 0xfe);
                    }
                }
                // The counts are short: EOF has no counts, and its warnings stand before the status.
                let status = u16::from_le_bytes([packet[3], packet[4]]);
                assert_eq!(status & CHANGED, 0, "{sql}: {packet:?}");
                if sql == "COMMIT" {
                    assert_eq!(pins(&proxy).await, Vec::<String>::new(), "a transaction is no such state");
                }
                let bare = if packet[0] == 0xfe && capabilities == 0 { 5 } else { 7 };
                assert_eq!(packet.len(), bare, "{sql}: {packet:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_set_var_hint_does_not_pin() {
    for program in flavors() {
        let (proxy, database) = start(&program).await;
        let mut client = Client::connect(&proxy.access(&database)).await;
        client.ok("SELECT /*+ SET_VAR(max_sort_length = 99) */ v FROM t WHERE k = 1").await;
        assert_eq!(pins(&proxy).await, Vec::<String>::new());
        assert_eq!(client.rows("SELECT @@max_sort_length").await, ["1024"]);
    }
}
