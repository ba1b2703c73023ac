//! What must be refused is refused with its number, MySQL's code and SQLSTATE and the construct by name, and the
//! session goes on.

use crate::support::{Client, Cluster, Database, Proxy, Table, flavors};

async fn shop(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded(
                "orders",
                "customer",
                "(customer BIGINT NOT NULL, id INT NOT NULL, note VARCHAR(40), total INT)",
            ),
            Table::sharded(
                "lines",
                "customer",
                "(customer BIGINT NOT NULL, id INT NOT NULL, product VARCHAR(40))",
            ),
            Table::reference("countries", "(code CHAR(2) PRIMARY KEY, name VARCHAR(40))"),
            Table::single("left_one", 0, "(id INT PRIMARY KEY)"),
            Table::single("right_one", 1, "(id INT PRIMARY KEY)"),
        ])
        .await
}

/// (statement, id, code, SQLSTATE, a word that the message must have).
type Refusal = (&'static str, &'static str, u16, &'static str, &'static str);

async fn refuse(client: &mut Client, refusals: &[Refusal]) {
    let mut wrong = Vec::new();
    for (sql, id, code, state, word) in refusals {
        match client.run(sql).await {
            Ok(outcome) => wrong.push(format!("{sql}\n    is answered: {:?}", outcome.lines())),
            Err(fault) => {
                let named = fault.message.to_uppercase().contains(&word.to_uppercase());
                if !fault.message.starts_with(id) || fault.code != *code || fault.state != *state || !named {
                    wrong.push(format!(
                        "{sql}\n    wanted {id} {code} ({state}) naming {word:?}\n    got {} ({}) {}",
                        fault.code, fault.state, fault.message
                    ));
                }
            }
        }
        assert_eq!(client.rows("SELECT 'goes on'").await, ["goes on"], "after {sql}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), refusals.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_one_server_cannot_compute_for_several_shards_is_refused_by_name() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let merge = |sql, word| (sql, "SW1202", 1235, "42000", word);
        refuse(
            &mut client,
            &[
                merge("SELECT o.id FROM orders o JOIN `lines` l ON l.id = o.id FOR UPDATE", "join"),
                merge("SELECT GROUP_CONCAT(note), @x := 1 FROM orders", "GROUP_CONCAT"),
                merge("SELECT note FROM orders UNION SELECT product FROM `lines` FOR UPDATE", "UNION"),
                merge("UPDATE orders SET note = 'x' LIMIT 3", "LIMIT"),
                merge("DELETE FROM orders ORDER BY id LIMIT 3", ""),
                merge("SELECT SQL_CALC_FOUND_ROWS * FROM orders LIMIT 1", ""),
            ],
        )
        .await;
        // The same on one shard is nobody's business but the server's.
        for sql in [
            "SELECT COUNT(*), SUM(total) FROM orders WHERE customer = 5",
            "SELECT * FROM orders WHERE customer = 5 ORDER BY id DESC LIMIT 3",
            "SELECT DISTINCT note FROM orders WHERE customer = 5 GROUP BY note HAVING COUNT(*) > 1",
            "SELECT o.id FROM orders o JOIN `lines` l ON l.customer = o.customer WHERE o.customer = 5 ORDER BY 1",
            "SELECT o.id FROM orders o JOIN `lines` l USING (customer) WHERE l.customer = 5 GROUP BY 1",
            "UPDATE orders SET note = 'x' WHERE customer = 5 ORDER BY id LIMIT 3",
            "SELECT COUNT(*) FROM countries",
            "SELECT o.id, c.name FROM orders o JOIN countries c ON c.code = o.note",
            "SELECT o.id FROM orders o JOIN `lines` l ON l.customer = o.customer AND l.id = o.id",
        ] {
            client.ok(sql).await;
        }
    }
}

#[tokio::test]
async fn what_no_rule_can_place_is_refused() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        refuse(
            &mut client,
            &[
                ("SELEC * FROM orders", "SW1201", 1064, "42000", ""),
                ("SELECT FROM WHERE", "SW1201", 1064, "42000", ""),
                ("SELECT * FROM orders WHERE (customer = 1", "SW1201", 1064, "42000", ""),
                ("SELECT * FROM orders WHERE note = 'open", "SW1201", 1064, "42000", ""),
                ("SELECT * FROM orders WHERE customer = 1 )", "SW1201", 1064, "42000", ""),
                ("SELECT * FROM unlisted WHERE id = 1", "SW1206", 1146, "42S02", "unlisted"),
                ("INSERT INTO unlisted VALUES (1)", "SW1206", 1146, "42S02", "unlisted"),
                (
                    "SELECT * FROM orders o JOIN unlisted u ON u.id = o.id WHERE o.customer = 1",
                    "SW1206",
                    1146,
                    "42S02",
                    "unlisted",
                ),
                (
                    "SELECT * FROM left_one JOIN right_one USING (id) FOR UPDATE",
                    "SW1207",
                    1235,
                    "42000",
                    "right_one",
                ),
                ("SELECT /* shardway: shard=nowhere */ 1", "SW1211", 1105, "HY000", "nowhere"),
                ("SELECT /* shardway: shrad=shard1 */ 1", "SW1214", 1064, "42000", "shrad"),
            ],
        )
        .await;
        assert_eq!(client.rows("SELECT 1;").await, ["1"], "one statement with a semicolon at its end is one");
        assert_eq!(client.rows("SELECT ';' ; -- the end").await, [";"]);
    }
}

#[tokio::test]
async fn without_a_database_a_table_cannot_be_found() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = shop(cluster).await;
    let proxy = Proxy::over(cluster, &database).await;
    let mut client = proxy.operator().await;
    let fault = client.refused("SELECT * FROM orders WHERE customer = 1").await;
    assert_eq!((fault.code, fault.state.as_str()), (1046, "3D000"), "{}", fault.message);
    assert!(
        client.rows(format!("SELECT * FROM {}.orders WHERE customer = 1", database.name)).await.is_empty()
    );
    let fault = client.refused("USE no_such_database").await;
    assert_eq!((fault.code, fault.state.as_str()), (1049, "42000"), "{}", fault.message);
}

#[tokio::test]
async fn a_transaction_writes_on_one_shard() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        client.ok("SET SESSION shardway_transaction_mode = single").await;
        client.ok("BEGIN").await;
        client.ok("INSERT INTO orders (customer, id) VALUES (1, 1)").await;
        let mut other = None;
        for customer in 2..40 {
            match client.run(format!("DELETE FROM orders WHERE customer = {customer}")).await {
                Ok(_) => {}
                Err(fault) => {
                    other = Some(fault);
                    break;
                }
            }
        }
        let fault = other.expect("a customer of the other shard");
        assert!(fault.message.starts_with("SW1301"), "{}", fault.message);
        assert_eq!((fault.code, fault.state.as_str()), (1235, "42000"));
        for sql in
            ["UPDATE orders SET note = 'x'", "INSERT INTO countries VALUES ('at', 'x')", "DELETE FROM orders"]
        {
            let fault = client.refused(sql).await;
            assert!(
                fault.message.starts_with("SW1302") || fault.message.starts_with("SW1301"),
                "{sql}: {}",
                fault.message
            );
        }
        assert_eq!(client.ok("SELECT id FROM orders").await.sorted(), ["1"]);
        client.ok("INSERT INTO orders (customer, id) VALUES (1, 2)").await;
        client.ok("COMMIT").await;
        assert_eq!(client.ok("SELECT id FROM orders").await.sorted(), ["1", "2"]);
    }
}

#[tokio::test]
async fn an_error_of_the_server_arrives_as_the_server_wrote_it() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = shop(cluster).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let mut direct = cluster.direct(0).await;
        direct.ok(format!("USE {}", database.name)).await;
        for sql in [
            "SELECT nonsense FROM orders WHERE customer = 1",
            "SELECT UNHEX()",
            "SELECT (SELECT 1 UNION SELECT 2)",
            "SELECT 9223372036854775807 + 1",
            "INSERT INTO left_one VALUES ('x')",
            "SELECT POW(10, 1000)",
        ] {
            let (expected, found) = (direct.refused(sql).await, client.refused(sql).await);
            assert_eq!(found, expected, "{sql}");
        }
    }
}
