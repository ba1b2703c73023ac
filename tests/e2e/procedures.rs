//! CALL: where it may run, and that what a procedure sets does not reach other sessions.

use crate::support::{Cluster, Proxy, Setup, Table, flavors};

#[tokio::test]
async fn what_a_procedure_sets_stays_with_its_session() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::single("t", 0, "(id INT PRIMARY KEY)")]).await;
        let setup =
            Setup::new(cluster).whole(&database, 0).settings("[pool]\nidle_min = 0\nconnections_max = 1");
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        client
            .ok("CREATE PROCEDURE p(IN v INT, OUT o INT) BEGIN SET SESSION time_zone = '+07:00'; SET @leak = v; \
                 CREATE TEMPORARY TABLE leaked (a INT); SET o = v + 1; SELECT v; END")
            .await;
        client.quit().await;
        for round in 1..4 {
            // Pinned by its own variable: then it keeps all of it, as on a server.
            let mut one = proxy.client(&database).await;
            assert_eq!(one.rows(format!("CALL p({round}, @out)")).await, [round.to_string()]);
            assert_eq!(one.rows("SELECT @out, @leak").await, [format!("{}|{round}", round + 1)]);
            assert!(one.rows("SELECT * FROM leaked").await.is_empty());
            one.quit().await;
            let mut other = proxy.client(&database).await;
            assert_eq!(other.rows("SELECT @out, @leak, @@time_zone").await, ["NULL|NULL|SYSTEM"]);
            assert_eq!(other.refused("SELECT * FROM leaked").await.code, 1146);
            other.quit().await;
        }
    }
}

#[tokio::test]
async fn a_procedure_needs_all_tables_on_one_shard_or_a_chosen_one() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::sharded("t", "id", "(id INT PRIMARY KEY)")]).await;
        let create =
            format!("CREATE PROCEDURE {}.p() BEGIN SELECT COUNT(*) FROM t; SELECT 2; END", database.name);
        cluster.everywhere(&[create]).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        for id in 0..20 {
            client.ok(format!("INSERT INTO t VALUES ({id})")).await;
        }
        let fault = client.refused("CALL p()").await;
        assert!(fault.message.starts_with("SW1215"), "{}", fault.message);
        let mut counted = 0;
        for shard in ["shard1", "shard2"] {
            let hinted = client.one(format!("CALL /* shardway: shard={shard} */ p()")).await.unwrap();
            client.ok(format!("USE `{}:{shard}`", database.name)).await;
            assert_eq!(client.one("CALL p()").await, Some(hinted.clone()));
            counted += hinted.parse::<u32>().unwrap();
        }
        assert_eq!(counted, 20);
    }
}
