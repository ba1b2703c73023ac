//! The sample shop: schema, rows and statements worth trying. Values only; who runs them is not known here.

use super::files::{MapDatabase, MapTable, Placing};

pub(super) const DATABASE: &str = "shop";
pub(super) const SCHEME: &str = "by_customer";
/// Where the table `settings` is.
const SETTINGS_SHARD: &str = "shard1";

pub(super) const CUSTOMERS: u64 = 1000;
const ORDERS_PER_CUSTOMER: u64 = 3;
const LINES_PER_ORDER: u64 = 2;
/// Rows per INSERT while loading.
const BATCH_ROWS: usize = 250;

/// The shop as the shard map names it.
pub(super) fn database() -> MapDatabase {
    let sharded = |name: &str, key: &str| MapTable {
        name: name.to_owned(),
        placing: Placing::Sharded { scheme: SCHEME.to_owned(), key: key.to_owned() },
    };
    MapDatabase {
        name: DATABASE.to_owned(),
        default_shard: None,
        tables: vec![
            sharded("customers", "id"),
            sharded("orders", "customer_id"),
            sharded("order_lines", "customer_id"),
            MapTable { name: "countries".to_owned(), placing: Placing::Reference },
            MapTable {
                name: "settings".to_owned(),
                placing: Placing::Single { shard: SETTINGS_SHARD.to_owned() },
            },
        ],
    }
}

/// Sent through the proxy, which runs each where its table is.
pub(super) const TABLES: &[&str] = &[
    "CREATE TABLE customers (
       id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(80) NOT NULL,
       country CHAR(2) NOT NULL, joined DATE NOT NULL, KEY (email))",
    "CREATE TABLE orders (
       customer_id BIGINT NOT NULL, id INT NOT NULL, placed DATETIME NOT NULL, status VARCHAR(10) NOT NULL,
       total DECIMAL(10,2) NOT NULL, PRIMARY KEY (customer_id, id))",
    "CREATE TABLE order_lines (
       customer_id BIGINT NOT NULL, order_id INT NOT NULL, line INT NOT NULL, product VARCHAR(40) NOT NULL,
       quantity INT NOT NULL, price DECIMAL(10,2) NOT NULL, PRIMARY KEY (customer_id, order_id, line))",
    "CREATE TABLE countries (code CHAR(2) NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL)",
    "CREATE TABLE settings (name VARCHAR(40) NOT NULL PRIMARY KEY, value VARCHAR(80) NOT NULL)",
];

const COUNTRIES: &[(&str, &str)] = &[
    ("at", "Austria"),
    ("br", "Brazil"),
    ("ca", "Canada"),
    ("de", "Germany"),
    ("es", "Spain"),
    ("fr", "France"),
    ("in", "India"),
    ("is", "Iceland"),
    ("it", "Italy"),
    ("jp", "Japan"),
    ("ke", "Kenya"),
    ("no", "Norway"),
    ("nz", "New Zealand"),
    ("pt", "Portugal"),
    ("us", "United States"),
];
const FIRST_NAMES: &[&str] = &[
    "Ada", "Björn", "Chen", "Dalia", "Emeka", "Farah", "Grace", "Hiro", "Inés", "Jonas", "Kiri", "Luca",
    "Maya",
];
const LAST_NAMES: &[&str] =
    &["Andersen", "Bauer", "Costa", "Dubois", "Eze", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Khan"];
const PRODUCTS: &[(&str, u64)] = &[
    ("teapot", 2450),
    ("mug", 890),
    ("kettle", 5900),
    ("tea, green", 720),
    ("tea, black", 640),
    ("biscuits", 380),
];
const STATUSES: &[&str] = &["new", "paid", "sent", "returned"];

/// INSERTs of many rows each: the proxy splits them by key.
pub(super) fn rows() -> Vec<String> {
    let mut statements = vec![
        insert(
            "countries",
            &COUNTRIES.iter().map(|(code, name)| format!("('{code}', '{name}')")).collect::<Vec<_>>(),
        ),
        insert(
            "settings",
            &["('currency', 'EUR')".to_owned(), "('free_shipping_above', '50.00')".to_owned()],
        ),
    ];
    let (mut customers, mut orders, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for customer in 1..=CUSTOMERS {
        customers.push(customer_row(customer));
        for order in 1..=ORDERS_PER_CUSTOMER {
            let mut total = 0;
            for line in 1..=LINES_PER_ORDER {
                let (product, cents) = *pick(PRODUCTS, customer * 7 + order * 3 + line);
                let quantity = 1 + (customer + line) % 3;
                total += cents * quantity;
                lines.push(format!(
                    "({customer}, {order}, {line}, '{product}', {quantity}, {})",
                    money(cents)
                ));
            }
            let (month, day) = (1 + (customer + order) % 12, 1 + (customer * 3 + order) % 28);
            let status = pick(STATUSES, customer + order);
            orders.push(format!(
                "({customer}, {order}, '2026-{month:02}-{day:02} 12:00:00', '{status}', {})",
                money(total)
            ));
        }
    }
    for (table, rows) in [("customers", customers), ("orders", orders), ("order_lines", lines)] {
        statements.extend(rows.chunks(BATCH_ROWS).map(|batch| insert(table, batch)));
    }
    statements
}

fn customer_row(customer: u64) -> String {
    let (first, last) = (pick(FIRST_NAMES, customer), pick(LAST_NAMES, customer / 3));
    let (country, _) = pick(COUNTRIES, customer * 5 + customer / 7);
    let (month, day) = (1 + customer % 12, 1 + customer % 28);
    format!(
        "({customer}, '{first} {last}', 'customer{customer}@example.com', '{country}', '2025-{month:02}-{day:02}')"
    )
}

fn insert(table: &str, rows: &[String]) -> String {
    format!("INSERT INTO {table} VALUES {}", rows.join(", "))
}

fn pick<T>(from: &[T], number: u64) -> &T {
    let length = from.len() as u64;
    &from[usize::try_from(number % length).unwrap_or_default()]
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A statement worth trying and what it shows.
pub(super) struct Sample {
    pub(super) shows: &'static str,
    pub(super) statement: &'static str,
}

pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        shows: "the shard key is known: one shard",
        statement: "SELECT name, country, joined FROM customers WHERE id = 42",
    },
    Sample {
        shows: "co-located tables join on their shard",
        statement: "SELECT o.id, o.status, l.product, l.quantity FROM orders o JOIN order_lines l \
                    ON l.customer_id = o.customer_id AND l.order_id = o.id WHERE o.customer_id = 42",
    },
    Sample {
        shows: "a list of keys is split: each shard gets its part",
        statement: "SELECT _shard, id, name FROM customers WHERE id IN (1, 2, 3, 4)",
    },
    Sample {
        shows: "no key: every shard is asked",
        statement: "SELECT id, name FROM customers WHERE email = 'customer77@example.com'",
    },
    Sample {
        shows: "a reference table is everywhere, so it joins anywhere",
        statement: "SELECT c.name, k.name AS country FROM customers c JOIN countries k ON k.code = c.country \
                    WHERE c.id = 7",
    },
    Sample { shows: "a single table is on its shard", statement: "SELECT name, value FROM settings" },
    Sample {
        shows: "rows of one INSERT go to their shards",
        statement: "INSERT INTO customers VALUES \
                    (2001, 'Olga Petrova', 'olga@example.com', 'no', '2026-01-01'), \
                    (2002, 'Sam Okafor', 'sam@example.com', 'ke', '2026-01-02'), \
                    (2003, 'Uma Rao', 'uma@example.com', 'in', '2026-01-03')",
    },
    Sample {
        shows: "a write by key is a write on one shard",
        statement: "UPDATE orders SET status = 'sent' WHERE customer_id = 42 AND id = 1",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_every_table_is_loaded_once() {
        let count = |table: &str| -> usize {
            let start = format!("INSERT INTO {table} VALUES ");
            rows()
                .iter()
                .filter_map(|sql| sql.strip_prefix(&start))
                .map(|rows| rows.matches("), (").count() + 1)
                .sum()
        };
        assert_eq!(count("customers"), 1000);
        assert_eq!(count("orders"), 3000);
        assert_eq!(count("order_lines"), 6000);
        assert_eq!(count("countries"), COUNTRIES.len());
    }

    #[test]
    fn the_map_places_every_table_that_is_created() {
        let placed = database();
        assert_eq!(placed.tables.len(), TABLES.len());
        for (table, create) in placed.tables.iter().zip(TABLES) {
            assert!(create.starts_with(&format!("CREATE TABLE {} (", table.name)), "{create}");
        }
    }
}
