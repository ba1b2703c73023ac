//! What could be answered nearly right is answered exactly: rows that outer joins keep, copies of reference tables, moments.

use shardway::internal::local::Installed;

use crate::support::{Client, Cluster, Database, Plain, Proxy, Table, flavors};

struct Shop {
    cluster: &'static Cluster,
    database: Database,
    _proxy: Proxy,
    client: Client,
    plain: Client,
}

impl Shop {
    async fn open(program: &Installed) -> Shop {
        let cluster = Cluster::shared(program).await;
        let database = cluster
            .database([
                Table::sharded("customers", "id", "(id INT PRIMARY KEY, name VARCHAR(20), at DATETIME(6))"),
                Table::sharded("orders", "customer", "(customer INT, id INT, PRIMARY KEY (customer, id))"),
                Table::reference(
                    "rates",
                    "(code VARCHAR(3) PRIMARY KEY, n INT, made DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6), \
                      changed TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6))",
                ),
                Table::reference("tokens", "(id INT PRIMARY KEY, token VARCHAR(36) DEFAULT (UUID()))"),
            ])
            .await;
        let plain = Plain::shared(program).await;
        plain.create(&database).await;
        let proxy = Proxy::over(cluster, &database).await;
        let client = proxy.client(&database).await;
        let plain = plain.client(&database).await;
        let mut shop = Shop { cluster, database, _proxy: proxy, client, plain };
        for id in 1..=12 {
            shop.both(&format!("INSERT INTO customers (id, name) VALUES ({id}, 'of {id}')")).await;
            shop.both(&format!("INSERT INTO orders VALUES ({id}, 1), ({id}, 2)")).await;
        }
        shop
    }

    async fn both(&mut self, sql: &str) {
        self.plain.ok(sql).await;
        self.client.ok(sql).await;
    }

    /// The one value on each shard, which must be the same.
    async fn copies(&self, select: &str) -> String {
        let sql = select.replace("FROM ", &format!("FROM {}.", self.database.name));
        let first = self.cluster.primary(0).ask(&sql).await.unwrap();
        assert_eq!(self.cluster.primary(1).ask(&sql).await.unwrap(), first, "{select}");
        first.unwrap_or_else(|| "NULL".to_owned())
    }

    async fn refused(&mut self, sql: &str, id: &str) {
        let fault = self.client.refused(sql).await;
        assert!(fault.message.starts_with(id), "{sql}: {}", fault.message);
    }
}

#[tokio::test]
async fn an_outer_join_keeps_its_rows_whatever_the_other_side_says() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        for select in [
            "WITH x AS (SELECT * FROM orders WHERE customer = 5) \
             SELECT c.id, x.id FROM customers c LEFT JOIN x ON x.customer = c.id",
            "WITH x AS (SELECT * FROM orders WHERE customer = 5) \
             SELECT c.id, x.id FROM x RIGHT JOIN customers c ON x.customer = c.id",
            "WITH x AS (SELECT * FROM orders WHERE customer = 5), y AS (SELECT * FROM x) \
             SELECT c.id, y.id FROM customers c LEFT JOIN y ON y.customer = c.id",
            "SELECT c.id, x.id FROM customers c LEFT JOIN (SELECT * FROM orders WHERE FALSE) x ON x.customer = c.id",
            "SELECT c.id, x.id FROM (SELECT * FROM orders WHERE FALSE) x RIGHT JOIN customers c ON x.customer = c.id",
            "SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer = c.id AND FALSE",
        ] {
            let found = shop.client.ok(select).await.sorted();
            assert_eq!(found, shop.plain.ok(select).await.sorted(), "{select}");
        }
    }
}

#[tokio::test]
async fn a_write_on_several_shards_has_one_moment() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        shop.client.ok("INSERT INTO rates (code, n) VALUES ('EUR', 1), ('USD', 2)").await;
        let made = shop.copies("SELECT GROUP_CONCAT(DISTINCT made) FROM rates").await;
        shop.client.ok("UPDATE rates SET n = n + 1 WHERE code = 'EUR'").await;
        let changed = shop.copies("SELECT changed FROM rates WHERE code = 'EUR'").await;
        assert!(made < changed, "{made} is before {changed}");
        shop.client.ok("INSERT INTO rates VALUES ('CHF', UNIX_TIMESTAMP(), UTC_TIMESTAMP(6), NOW(6))").await;
        shop.copies("SELECT CONCAT(n, made, changed) FROM rates WHERE code = 'CHF'").await;
        shop.client.ok("UPDATE customers SET at = NOW(6)").await;
        let moments = shop.client.ok("SELECT at FROM customers").await.sorted();
        assert_eq!(moments.first(), moments.last());
        // The clock goes on: after a write, after one that failed, after a definition.
        for failed in ["INSERT INTO rates (code) VALUES ('EUR')", "ALTER TABLE rates ADD COLUMN n INT"] {
            shop.client.refused(failed).await;
            let first = shop.client.one("SELECT NOW(6)").await;
            assert_ne!(shop.client.one("SELECT NOW(6)").await, first);
        }
        shop.client.ok("ALTER TABLE rates ADD COLUMN seen DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)").await;
        shop.copies("SELECT GROUP_CONCAT(DISTINCT seen) FROM rates").await;
        // A session's own time stays.
        shop.client.ok("SET timestamp = 1000000000.5").await;
        shop.client.ok("INSERT INTO rates (code, n) VALUES ('SEK', UNIX_TIMESTAMP())").await;
        assert_eq!(shop.copies("SELECT n FROM rates WHERE code = 'SEK'").await, "1000000000");
        let set = shop.client.one("SELECT UNIX_TIMESTAMP(NOW(6))").await;
        assert_eq!(set.as_deref(), Some("1000000000.500000"));
    }
}

#[tokio::test]
async fn copies_are_given_what_each_would_make_up() {
    for program in flavors() {
        let mut shop = Shop::open(&program).await;
        shop.refused("INSERT INTO tokens (id) VALUES (1)", "SW1202").await;
        shop.refused("INSERT INTO tokens VALUES (1, 'a'), (2, DEFAULT)", "SW1202").await;
        shop.refused("INSERT INTO tokens VALUES (1, 0+CURRENT_USER)", "SW1202").await;
        shop.client.ok("INSERT INTO tokens VALUES (1, 'a'), (2, 'b')").await;
        shop.refused("UPDATE tokens SET token = DEFAULT", "SW1202").await;
        assert_eq!(shop.copies("SELECT GROUP_CONCAT(token ORDER BY id) FROM tokens").await, "a,b");
    }
}

#[tokio::test]
async fn a_key_that_the_server_would_cut_is_refused() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let towns = Table::sharded("towns", "name", "(name VARCHAR(2) PRIMARY KEY, n INT)");
        let database = cluster.database([towns]).await;
        let proxy = Proxy::over(cluster, &database).await;
        let mut client = proxy.client(&database).await;
        let fault = client.refused("INSERT IGNORE INTO towns (name) VALUES ('ééé')").await;
        assert!(fault.message.starts_with("SW1208"), "{}", fault.message);
        client.ok("INSERT IGNORE INTO towns (name) VALUES ('éé')").await;
        assert_eq!(client.one("SELECT name FROM towns WHERE name = 'éé'").await.as_deref(), Some("éé"));
    }
}
