//! Ways to choose a shard by hand: `_shard`, ``USE `db:shard@role` ``, hints.

use crate::support::{Client, Cluster, Database, Proxy, Table, flavors};

const ROWS: u64 = 30;

async fn open(program: &shardway::internal::local::Installed) -> (&'static Cluster, Proxy, Database, Client) {
    let cluster = Cluster::shared(program).await;
    let database = cluster
        .database([
            Table::sharded("t", "k", "(k INT PRIMARY KEY, v VARCHAR(20))"),
            Table::reference("r", "(id INT PRIMARY KEY)"),
        ])
        .await;
    let proxy = Proxy::over(cluster, &database).await;
    let mut client = proxy.client(&database).await;
    let rows: Vec<String> = (0..ROWS).map(|key| format!("({key}, 'v')")).collect();
    client.ok(format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    (cluster, proxy, database, client)
}

/// Keys that a shard's own server has.
async fn keys_on(cluster: &Cluster, database: &Database, shard: usize) -> Vec<String> {
    let mut direct = cluster.direct(shard).await;
    direct.ok(format!("SELECT k FROM {}.t", database.name)).await.sorted()
}

#[tokio::test]
async fn the_pseudo_column_names_the_shard_of_each_row() {
    for program in flavors() {
        let (cluster, _proxy, database, mut client) = open(&program).await;
        let found = client.ok("SELECT _shard, k FROM t").await;
        assert_eq!(found.columns, ["_shard", "k"]);
        let mut expected = Vec::new();
        for shard in 0..2 {
            let keys = keys_on(cluster, &database, shard).await;
            expected.extend(keys.iter().map(|key| format!("shard{}|{key}", shard + 1)));
        }
        expected.sort();
        assert_eq!(found.sorted(), expected);
        let aliased = client.ok("SELECT k, t._shard AS place FROM t WHERE k = 1").await;
        assert_eq!(aliased.columns, ["k", "place"]);
        assert!(expected.contains(&aliased.lines()[0].split('|').rev().collect::<Vec<_>>().join("|")));
    }
}

#[tokio::test]
async fn the_pseudo_column_restricts_the_route() {
    for program in flavors() {
        let (cluster, _proxy, database, mut client) = open(&program).await;
        for shard in 0..2 {
            let keys = keys_on(cluster, &database, shard).await;
            let name = format!("shard{}", shard + 1);
            for condition in
                [format!("_shard = '{name}'"), format!("'{name}' = _shard"), format!("_shard IN ('{name}')")]
            {
                assert_eq!(
                    client.ok(format!("SELECT k FROM t WHERE {condition}")).await.sorted(),
                    keys,
                    "{condition}"
                );
            }
            let count = format!("SELECT COUNT(*) FROM t WHERE _shard = '{name}'");
            assert_eq!(client.one(count).await, Some(keys.len().to_string()), "one shard needs no merge");
            let both = format!("SELECT k FROM t WHERE _shard = '{name}' AND k = {}", keys[0]);
            assert_eq!(client.rows(both).await, [keys[0].clone()]);
        }
        let fault = client.refused("SELECT k FROM t WHERE _shard = 'nowhere'").await;
        assert!(fault.message.starts_with("SW1211"), "{}", fault.message);
    }
}

#[tokio::test]
async fn use_with_a_shard_and_a_role_binds_the_session() {
    for program in flavors() {
        let (cluster, proxy, database, mut client) = open(&program).await;
        for shard in 0..2 {
            let keys = keys_on(cluster, &database, shard).await;
            client.ok(format!("USE `{}:shard{}`", database.name, shard + 1)).await;
            assert_eq!(client.ok("SELECT k FROM t ORDER BY k").await.sorted(), keys);
            assert_eq!(client.one("SELECT COUNT(*) FROM t").await, Some(keys.len().to_string()));
            let port = cluster.primary(shard).port.to_string();
            assert_eq!(client.one("SELECT @@port").await, Some(port));
            cluster.replicas_caught_up().await;
            client.ok(format!("USE `{}:shard{}@replica`", database.name, shard + 1)).await;
            assert_eq!(client.one("SELECT @@port").await, Some(cluster.replica(shard).port.to_string()));
            assert_eq!(client.one("SELECT COUNT(*) FROM t").await, Some(keys.len().to_string()));
        }
        client.ok(format!("USE `{}@replica`", database.name)).await;
        assert_eq!(client.ok("SELECT k FROM t").await.rows.len(), 30);
        let key = client.one("SELECT k FROM t WHERE k = 5").await;
        assert_eq!(key.as_deref(), Some("5"));
        client.ok(format!("USE {}", database.name)).await;
        assert_eq!(client.ok("SELECT k FROM t").await.rows.len(), 30);
        let fault = client.refused(format!("USE `{}:nowhere`", database.name)).await;
        assert!(fault.message.starts_with("SW1211") || fault.code == 1049, "{}", fault.message);
        assert_eq!(client.ok("SELECT k FROM t").await.rows.len(), 30, "a refused USE changes nothing");
        let login = proxy.access(&database);
        let login = login.database(&format!("{}:shard2", database.name));
        let mut bound = Client::connect(&login).await;
        assert_eq!(bound.ok("SELECT k FROM t").await.sorted(), keys_on(cluster, &database, 1).await);
    }
}

#[tokio::test]
async fn a_hint_chooses_shard_and_role_for_its_statement_alone() {
    for program in flavors() {
        let (cluster, _proxy, database, mut client) = open(&program).await;
        cluster.replicas_caught_up().await;
        for shard in 0..2 {
            let name = format!("shard{}", shard + 1);
            let keys = keys_on(cluster, &database, shard).await;
            let select = format!("/* shardway: shard={name} */ SELECT k FROM t");
            assert_eq!(client.ok(select).await.sorted(), keys);
            let select = format!("SELECT /* shardway: shard={name} role=replica */ @@port");
            assert_eq!(client.one(select).await, Some(cluster.replica(shard).port.to_string()));
            let select = format!("SELECT COUNT(*) FROM t /* shardway: shard={name} */");
            assert_eq!(client.one(select).await, Some(keys.len().to_string()));
        }
        assert_eq!(client.ok("SELECT k FROM t").await.rows.len(), 30);
        let written = client.ok("/* shardway: shard=shard1 */ UPDATE t SET v = 'w'").await;
        assert_eq!(written.affected, keys_on(cluster, &database, 0).await.len() as u64);
        for (bad, id) in [
            ("/* shardway: shard=nowhere */ SELECT 1", "SW1211"),
            ("/* shardway: role=master */ SELECT 1", "SW1214"),
            ("/* shardway: shard */ SELECT 1", "SW1214"),
            ("/* shardway: shard=shard1 shard=shard2 */ SELECT 1", "SW1214"),
            ("/* shardway: speed=high */ SELECT 1", "SW1214"),
        ] {
            let fault = client.refused(bad).await;
            assert!(fault.message.starts_with(id), "{bad}: {}", fault.message);
        }
        assert_eq!(client.rows("/* shardways are fine */ SELECT 1").await, ["1"]);
        assert_eq!(
            client.rows("SELECT '/* shardway: shard=nowhere */'").await,
            ["/* shardway: shard=nowhere */"]
        );
    }
}

#[tokio::test]
async fn a_write_to_a_replica_is_refused_and_ddl_goes_everywhere() {
    for program in flavors() {
        let (cluster, _proxy, database, mut client) = open(&program).await;
        let fault = client.refused("/* shardway: shard=shard1 role=replica */ DELETE FROM t").await;
        assert!(fault.message.starts_with("SW1218"), "{}", fault.message);
        assert_eq!((fault.code, fault.state.as_str()), (1290, "HY000"));
        client.ok(format!("USE `{}@replica`", database.name)).await;
        let fault = client.refused("DELETE FROM t").await;
        assert!(fault.message.starts_with("SW1218"), "{}", fault.message);
        client.ok(format!("USE {}", database.name)).await;
        assert_eq!(client.ok("SELECT k FROM t").await.rows.len(), 30);
        client.ok("ALTER TABLE t ADD COLUMN extra INT").await;
        client.ok("CREATE INDEX by_v ON t (v)").await;
        for shard in 0..2 {
            let mut direct = cluster.direct(shard).await;
            direct.ok(format!("SELECT extra FROM {}.t", database.name)).await;
        }
        // The new column takes its place in an INSERT without a column list.
        client.ok("INSERT INTO t VALUES (100, 'v', 7), (101, 'v', 8)").await;
        assert_eq!(client.rows("SELECT extra FROM t WHERE k = 101").await, ["8"]);
        client.ok("TRUNCATE TABLE t").await;
        assert!(client.rows("SELECT k FROM t").await.is_empty());
        client.ok("DROP TABLE r").await;
        for shard in 0..2 {
            let fault =
                cluster.direct(shard).await.refused(format!("SELECT 1 FROM {}.r", database.name)).await;
            assert_eq!(fault.code, 1146);
        }
        client.ok("CREATE TABLE r (id INT PRIMARY KEY, name VARCHAR(10))").await;
        client.ok("INSERT INTO r VALUES (1, 'everywhere')").await;
        assert_eq!(client.rows("SELECT name FROM r").await, ["everywhere"]);
    }
}
