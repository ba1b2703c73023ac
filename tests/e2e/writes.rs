//! Writes: rows reach their shards, answers are those of one server, and what cannot be placed is refused whole.

use crate::support::{Client, Cluster, Database, Plain, Proxy, Table, flavors};

const ROWS: u64 = 40;

struct Shop {
    cluster: &'static Cluster,
    database: Database,
    proxy: Proxy,
    client: Client,
    plain: Client,
}

impl Shop {
    async fn open(program: &shardway::internal::local::Installed) -> Shop {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([
                Table::sharded(
                    "orders",
                    "customer",
                    "(customer BIGINT NOT NULL, id INT NOT NULL, note VARCHAR(40) NOT NULL DEFAULT '', \
                      PRIMARY KEY (customer, id))",
                ),
                Table::sharded(
                    "events",
                    "who",
                    "(id INT AUTO_INCREMENT PRIMARY KEY, who INT, what VARCHAR(20))",
                ),
                Table::reference("countries", "(code CHAR(2) PRIMARY KEY, name VARCHAR(40))"),
                Table::single("settings", 1, "(name VARCHAR(20) PRIMARY KEY, value VARCHAR(40))"),
            ])
            .await;
        let plain = Plain::shared(program).await;
        plain.create(&database).await;
        let proxy = Proxy::over(cluster, &database).await;
        let client = proxy.client(&database).await;
        let plain = plain.client(&database).await;
        Shop { cluster, database, proxy, client, plain }
    }

    async fn filled(program: &shardway::internal::local::Installed) -> Shop {
        let mut shop = Shop::open(program).await;
        shop.same(&insert(0..ROWS)).await;
        shop
    }

    /// Runs a write on both; affected rows, info text and warnings must be equal.
    #[track_caller]
    fn same<'a>(&'a mut self, sql: &'a str) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let (expected, found) = (self.plain.ok(sql).await, self.client.ok(sql).await);
            assert_eq!(
                (found.affected, &found.info, found.warnings),
                (expected.affected, &expected.info, expected.warnings),
                "{sql} at {place}"
            );
        }
    }

    /// Both hold the same rows.
    async fn equal(&mut self, table: &str) {
        let select = format!("SELECT * FROM {table}");
        assert_eq!(self.client.ok(&select).await.sorted(), self.plain.ok(&select).await.sorted());
    }

    async fn count(&self, shard: usize, table: &str) -> u64 {
        let count = format!("SELECT COUNT(*) FROM {}.{table}", self.database.name);
        self.cluster.primary(shard).ask(&count).await.unwrap().unwrap().parse().unwrap()
    }
}

fn insert(customers: std::ops::Range<u64>) -> String {
    let rows: Vec<String> = customers.map(|customer| format!("({customer}, 1, 'of {customer}')")).collect();
    format!("INSERT INTO orders (customer, id, note) VALUES {}", rows.join(", "))
}

#[tokio::test]
async fn a_multi_row_insert_is_split_and_answers_as_one_server() {
    for program in flavors() {
        let mut shop = Shop::filled(&program).await;
        let counts = [shop.count(0, "orders").await, shop.count(1, "orders").await];
        assert_eq!(counts[0] + counts[1], ROWS);
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        shop.same("INSERT orders VALUES (100, 1, 'a;b'), (101, 1, '),('), (102, 1, 'it''s -- no comment')")
            .await;
        shop.same(
            "INSERT INTO orders (id, note, customer) VALUES (1, 'x', 110), (2, 'y', 111), (3, 'z', 110)",
        )
        .await;
        shop.same("INSERT INTO orders VALUES (120, 1, DEFAULT), (121, 1, CONCAT('a', 'b', (1+2)))").await;
        shop.same("insert /* c */ into `orders` (`customer`, orders.id) values(130,1),(131,1), (132 , 1)")
            .await;
        shop.same("INSERT INTO orders SET customer = 140, id = 1, note = 'set'").await;
        shop.same("INSERT IGNORE INTO orders VALUES (140, 1, 'again'), (141, 1, 'new'), (142, 1, 'new')")
            .await;
        shop.equal("orders").await;
    }
}

#[tokio::test]
async fn replace_and_on_duplicate_key_update_count_as_one_server_does() {
    for program in flavors() {
        let mut shop = Shop::filled(&program).await;
        shop.same("REPLACE INTO orders VALUES (1, 1, 'replaced'), (2, 1, 'replaced'), (200, 1, 'new'), (201, 1, 'new')").await;
        shop.same(
            "INSERT INTO orders VALUES (3, 1, 'x'), (4, 1, 'y'), (202, 1, 'new') \
             ON DUPLICATE KEY UPDATE note = CONCAT(note, '+')",
        )
        .await;
        shop.same("INSERT INTO orders VALUES (5, 1, 'x') ON DUPLICATE KEY UPDATE note = note").await;
        shop.equal("orders").await;
    }
}

#[tokio::test]
async fn update_and_delete_reach_one_some_and_all_shards() {
    for program in flavors() {
        let mut shop = Shop::filled(&program).await;
        for sql in [
            "UPDATE orders SET note = 'one' WHERE customer = 7",
            "UPDATE orders SET note = 'one' WHERE customer = 7",
            "UPDATE orders AS o SET o.note = 'some' WHERE o.customer IN (1, 2, 3, 4, 5, 6, 7, 8)",
            "UPDATE orders SET note = 'all'",
            "UPDATE orders SET note = CONCAT(note, customer) WHERE note LIKE 'a%' AND id = 1",
            "UPDATE orders SET note = 'none' WHERE customer = NULL",
            "UPDATE orders SET note = 'or' WHERE customer = 1 OR customer = 2 OR customer BETWEEN 30 AND 32",
            "DELETE FROM orders WHERE customer = 9",
            "DELETE FROM orders WHERE customer IN (10, 11, 12, 13, 14, 15)",
            "DELETE FROM orders WHERE customer = 12345",
            "DELETE FROM orders WHERE note LIKE '%3%'",
            "DELETE FROM orders",
        ] {
            shop.same(sql).await;
            shop.equal("orders").await;
        }
    }
}

#[tokio::test]
async fn a_reference_table_is_written_everywhere_and_counted_once() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        shop.same("INSERT INTO countries VALUES ('at', 'Austria'), ('is', 'Iceland')").await;
        shop.same("UPDATE countries SET name = UPPER(name)").await;
        shop.same("REPLACE INTO countries VALUES ('at', 'Österreich')").await;
        assert_eq!([shop.count(0, "countries").await, shop.count(1, "countries").await], [2, 2]);
        shop.same("DELETE FROM countries WHERE code = 'is'").await;
        assert_eq!([shop.count(0, "countries").await, shop.count(1, "countries").await], [1, 1]);
        shop.equal("countries").await;
        let duplicate = shop.client.refused("INSERT INTO countries VALUES ('at', 'again')").await;
        assert_eq!((duplicate.code, duplicate.state.as_str()), (1062, "23000"), "{}", duplicate.message);
        shop.same("INSERT INTO settings VALUES ('theme', 'dark'), ('size', '7')").await;
        assert_eq!(shop.count(1, "settings").await, 2);
    }
}

#[tokio::test]
async fn the_last_insert_id_is_that_of_the_server_that_made_it() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        let first = shop.client.ok("INSERT INTO events (who, what) VALUES (1, 'a')").await;
        assert_eq!(first.last_insert_id, Some(1));
        let second = shop.client.ok("INSERT INTO events (who, what) VALUES (1, 'b'), (1, 'c')").await;
        assert_eq!((second.affected, second.last_insert_id), (2, Some(2)));
        assert_eq!(shop.client.one("SELECT LAST_INSERT_ID()").await.as_deref(), Some("2"));
        let none = shop.client.ok("UPDATE events SET what = 'd' WHERE who = 1").await;
        assert_eq!(none.last_insert_id.unwrap_or_default(), 0);
        assert_eq!(shop.client.one("SELECT LAST_INSERT_ID()").await.as_deref(), Some("2"));
        let rows: Vec<String> = (0..ROWS).map(|who| format!("({who}, 'many')")).collect();
        let many = shop.client.ok(format!("INSERT INTO events (who, what) VALUES {}", rows.join(", "))).await;
        assert_eq!(many.affected, ROWS);
        let id = many.last_insert_id.unwrap();
        let made = shop.client.rows(format!("SELECT what FROM events WHERE id = {id}")).await;
        assert!(made.contains(&"many".to_owned()), "{id} is an id of the statement: {made:?}");
        assert_eq!(shop.client.one("SELECT LAST_INSERT_ID()").await, Some(id.to_string()));
    }
}

#[tokio::test]
async fn a_row_never_changes_its_shard_and_a_key_is_never_null_or_missing() {
    for program in flavors() {
        let mut shop = Shop::filled(&program).await;
        for (sql, id) in [
            ("UPDATE orders SET customer = 8 WHERE customer = 7", "SW1204"),
            ("UPDATE orders SET note = 'x', customer = customer + 1", "SW1204"),
            ("INSERT INTO orders VALUES (7, 1, 'x') ON DUPLICATE KEY UPDATE customer = 8", "SW1204"),
            ("INSERT INTO orders (id, note) VALUES (1, 'x')", "SW1205"),
            ("INSERT INTO orders () VALUES ()", "SW1205"),
            ("INSERT INTO orders (customer, id) VALUES (300, 1), (NULL, 2)", "SW1205"),
            ("INSERT INTO orders (customer, id) VALUES (DEFAULT, 1)", "SW1205"),
            ("REPLACE INTO orders SET id = 1", "SW1205"),
            ("INSERT INTO events (who, what) VALUES (NULL, 'x')", "SW1205"),
            ("INSERT INTO orders (customer, id) VALUES (UUID_SHORT(), 1)", "SW1208"),
        ] {
            let fault = shop.client.refused(sql).await;
            assert!(fault.message.starts_with(id), "{sql}\n  {} {}", fault.code, fault.message);
        }
        shop.equal("orders").await;
        shop.equal("events").await;
    }
}

#[tokio::test]
async fn a_duplicate_key_arrives_unchanged_and_leaves_nothing_of_the_statement() {
    for program in flavors() {
        let mut shop = Shop::filled(&program).await;
        let before = shop.client.ok("SELECT * FROM orders").await.sorted();
        // New rows for both shards and one that is there.
        let rows: Vec<String> = (500..520).map(|customer| format!("({customer}, 1, 'new')")).collect();
        let sql = format!("INSERT INTO orders VALUES {}, (7, 1, 'again')", rows.join(", "));
        let (expected, found) = (shop.plain.refused(&sql).await, shop.client.refused(&sql).await);
        assert_eq!(found, expected);
        assert_eq!(shop.client.ok("SELECT * FROM orders").await.sorted(), before);
        shop.equal("orders").await;
        let one = "INSERT INTO orders VALUES (7, 2, 'new'), (7, 1, 'again')";
        let (expected, found) = (shop.plain.refused(one).await, shop.client.refused(one).await);
        assert_eq!(found, expected);
        shop.equal("orders").await;
        let pools = shop.proxy.operator().await.rows("SHARDWAY SHOW POOLS").await;
        assert!(!pools.is_empty());
    }
}

#[tokio::test]
async fn a_key_that_no_range_owns_is_refused_before_anything_is_written() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database([Table::of_scheme("years", "t", "year", "(year INT, x INT)")]).await;
        let setup = crate::support::Setup::new(cluster).database(&database).scheme(
            "[[scheme]]\nname = \"years\"\nfunction = \"range\"\nallow_gaps = true\n\
             ranges = [{ from = 2000, to = 2010, shard = \"shard1\" }, { from = 2010, to = 2020, shard = \"shard2\" }]",
        );
        let proxy = Proxy::start(&setup).await;
        let mut client = proxy.client(&database).await;
        for sql in [
            "INSERT INTO t VALUES (2005, 1), (2015, 1), (1999, 1)",
            "INSERT INTO t VALUES (2020, 1)",
            "REPLACE INTO t (x, year) VALUES (1, -5)",
        ] {
            let fault = client.refused(sql).await;
            assert!(fault.message.starts_with("SW1203"), "{sql}: {}", fault.message);
            assert_eq!((fault.code, fault.state.as_str()), (1526, "HY000"));
        }
        assert!(client.rows("SELECT * FROM t").await.is_empty());
        client.ok("INSERT INTO t VALUES (2005, 1), (2015, 1)").await;
        assert_eq!(client.ok("SELECT year FROM t WHERE year > 1900").await.sorted(), ["2005", "2015"]);
    }
}

#[tokio::test]
async fn a_column_moved_behind_the_proxys_back_moves_no_row_to_a_wrong_shard() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        let orders = format!("{}.orders", shop.database.name);
        for shard in 0..2 {
            let moved = format!("ALTER TABLE {orders} MODIFY id INT NOT NULL FIRST");
            shop.cluster.direct(shard).await.ok(moved).await;
        }
        for (customer, id) in [(1, 101), (2, 102), (3, 103), (4, 104), (5, 105), (6, 106)] {
            shop.client.ok(format!("INSERT INTO orders VALUES ({customer}, {id}, 'one')")).await;
        }
        shop.client
            .ok("INSERT INTO orders VALUES (7, 107, 'a'), (8, 108, 'b'), (9, 109, 'c'), (10, 110, 'd')")
            .await;
        for customer in 1..=10 {
            let by_key = format!("SELECT id FROM orders WHERE customer = {customer}");
            assert_eq!(shop.client.rows(&by_key).await, [(100 + customer).to_string()]);
        }
    }
}
