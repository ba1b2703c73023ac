//! The local servers themselves: what the demo and every other test stand on.

use shardway::internal::local::Fleet;

use crate::support::{Cluster, Plain, Raw, Table, alive, eventually, flavors};

#[tokio::test]
async fn a_fleet_replicates_by_gtid_and_its_replicas_refuse_writes() {
    for program in flavors() {
        let fleet = Fleet::start(&program, 1, 1).await.unwrap();
        fleet.add_user("somebody", "secret").await.unwrap();
        let shard = &fleet.shards[0];
        shard
            .primary
            .run(&[
                "CREATE DATABASE x",
                "CREATE TABLE x.t (id INT PRIMARY KEY)",
                "INSERT INTO x.t VALUES (7)",
            ])
            .await
            .unwrap();
        shard.replicas_caught_up().await.unwrap();
        let replica = &shard.replicas[0];
        assert_eq!(replica.ask("SELECT id FROM x.t").await.unwrap().as_deref(), Some("7"));
        assert_eq!(replica.ask("SELECT @@read_only").await.unwrap().as_deref(), Some("1"));
        assert_ne!(shard.primary.port, replica.port);
    }
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_rows_on_its_port() {
    for program in flavors() {
        let mut fleet = Fleet::start(&program, 1, 0).await.unwrap();
        let server = &mut fleet.shards[0].primary;
        server
            .run(&[
                "CREATE DATABASE x",
                "CREATE TABLE x.t (id INT PRIMARY KEY)",
                "INSERT INTO x.t VALUES (7)",
                "FLUSH TABLES",
            ])
            .await
            .unwrap();
        let port = server.port;
        server.kill();
        assert!(!server.runs());
        assert!(server.root().await.is_err());
        server.restart().await.unwrap();
        assert_eq!(server.port, port);
        assert_eq!(server.ask("SELECT COUNT(*) FROM x.t").await.unwrap().as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn dropping_a_fleet_leaves_neither_processes_nor_files() {
    let program = flavors().remove(0);
    let fleet = Fleet::start(&program, 1, 1).await.unwrap();
    let pids: Vec<u32> = fleet.servers().filter_map(|server| server.pid()).collect();
    assert_eq!(pids.len(), 2);
    let folder = fleet.folder.path().to_owned();
    drop(fleet);
    eventually("the servers end", async || pids.iter().all(|pid| !alive(*pid))).await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn the_clients_of_the_harness_see_what_a_server_says() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database =
            cluster.database([Table::single("t", 0, "(id INT PRIMARY KEY, text VARCHAR(9))")]).await;
        let plain = Plain::shared(&program).await;
        plain.create(&database).await;
        let mut client = plain.client(&database).await;
        let outcome = client.ok("INSERT INTO t VALUES (1, 'one'), (2, NULL)").await;
        assert_eq!(outcome.affected, 2);
        let outcome = client.ok("SELECT * FROM t ORDER BY id").await;
        assert_eq!(outcome.columns, ["id", "text"]);
        assert_eq!(outcome.lines(), ["1|one", "2|NULL"]);
        let fault = client.refused("SELECT nonsense").await;
        assert_eq!((fault.code, fault.state.as_str()), (1054, "42S22"));
        assert_eq!(client.one("SELECT COUNT(*) FROM t").await.as_deref(), Some("2"));
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], plain.server.port));
        let mut raw = Raw::login(address, "app", "app-secret", Some(&database.name), 0).await;
        let answer = raw.query("SELECT text FROM t WHERE id = 1").await;
        assert_eq!(answer, [1], "one column follows");
        let mut direct = cluster.direct(0).await;
        assert_eq!(
            direct.one(format!("SELECT COUNT(*) FROM {}.t", database.name)).await.as_deref(),
            Some("0")
        );
        let other = format!("SHOW TABLES FROM {}", database.name);
        assert!(cluster.direct(1).await.rows(&other).await.is_empty(), "a single table is on its shard only");
    }
}
