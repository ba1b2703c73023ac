//! Prepared statements: what a server answers, the proxy answers, packet by packet; and what only several shards show.

use mysql_async::prelude::Queryable;
use shardway::internal::local::{Flavor, Installed};

use crate::support::binary::{Answer, Argument, Binary, CURSOR, error, kind, shown};
use crate::support::{APP, Cluster, Database, Plain, Proxy, Setup, Table, direct, eventually, flavors};

/// Every type of column that both flavors have.
const COLUMNS: &[(&str, &str)] = &[
    ("ti", "TINYINT"),
    ("tu", "TINYINT UNSIGNED"),
    ("si", "SMALLINT"),
    ("mi", "MEDIUMINT"),
    ("ii", "INT"),
    ("iz", "INT(8) UNSIGNED ZEROFILL"),
    ("bi", "BIGINT"),
    ("bu", "BIGINT UNSIGNED"),
    ("de", "DECIMAL(30, 10)"),
    ("fl", "FLOAT"),
    ("dd", "DOUBLE"),
    ("bt", "BIT(12)"),
    ("ye", "YEAR"),
    ("da", "DATE"),
    ("tm", "TIME(6)"),
    ("dt", "DATETIME(6)"),
    ("ts", "TIMESTAMP(3) NULL"),
    ("ch", "CHAR(5)"),
    ("vc", "VARCHAR(40) CHARACTER SET latin1"),
    ("tx", "TEXT"),
    ("tt", "TINYTEXT"),
    ("bn", "BINARY(4)"),
    ("vb", "VARBINARY(10)"),
    ("bl", "BLOB"),
    ("en", "ENUM('a', 'b', 'é')"),
    ("st", "SET('x', 'y', 'z')"),
    ("js", "JSON"),
    ("ge", "POINT"),
];

/// Values of the columns in their order, as SQL.
const ROWS: &[&str] = &[
    "NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,\
     NULL,NULL,NULL,NULL",
    "-128,0,-32768,-8388608,-2147483648,0,-9223372036854775808,0,-12345678901234567890.0123456789,-1.5,-2.25e300,b'0',1901,\
     '1000-01-01','-838:59:59.000000','1000-01-01 00:00:00.000001','1970-01-02 00:00:01.001','','','','','','','','a','','{}',\
     POINT(1, 2)",
    "127,255,32767,8388607,2147483647,42,9223372036854775807,18446744073709551615,0.0000000001,3.4e38,0.1,b'111111111111',2155,\
     '9999-12-31','838:59:59.999999','9999-12-31 23:59:59.999999','2037-01-01 12:00:00','ab é','caf\u{e9}',\
     'It''s 😀',REPEAT('t', 255),x'00ff10',x'00',REPEAT(x'00ff', 400),'é','x,z','[1, \"two\", null, 3.5]',POINT(-1.5, 1e10)",
    "0,1,0,0,0,0,0,0,0,0,0,b'1',0,'0000-00-00','00:00:00','0000-00-00 00:00:00',NULL,'a ','a ','a ',' ',x'20',x'20',x'20','b','y',\
     'null',POINT(0, 0)",
];

fn definition() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, of)| format!("{name} {of}")).collect();
    format!("(id INT PRIMARY KEY, {}) CHARACTER SET utf8mb4", columns.join(", "))
}

const BY_NAME: &str = "[[scheme]]\nname = \"by_name\"\nfunction = \"xxhash\"\nranges = [{ range = \"-80\", shard = \"shard1\" }, { range = \"80-\", shard = \"shard2\" }]";

async fn shop(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::sharded(
                "orders",
                "customer",
                "(customer INT, id INT, note VARCHAR(40), PRIMARY KEY (customer, id))",
            ),
            Table::of_scheme("by_name", "names", "name", "(name VARCHAR(40) PRIMARY KEY, n INT)"),
            Table::sharded("wide", "id", "(id BIGINT PRIMARY KEY, n INT)"),
            Table::single("types", 1, &definition()),
            Table::single("left_one", 0, "(id INT AUTO_INCREMENT PRIMARY KEY, n INT, body LONGBLOB)"),
            Table::single("right_one", 1, "(id INT PRIMARY KEY, n INT)"),
            Table::reference("kinds", "(id INT PRIMARY KEY, name VARCHAR(20))"),
        ])
        .await
}

/// A client of the proxy and one of a plain server that has the same tables.
struct Pair {
    database: Database,
    proxy: Proxy,
    through: Binary,
    plain: Binary,
}

impl Pair {
    async fn open(program: &Installed, deprecate_eof: bool) -> Pair {
        let cluster = Cluster::shared(program).await;
        let database = shop(cluster).await;
        let plain = Plain::shared(program).await;
        plain.create(&database).await;
        let proxy = Proxy::start(&Setup::new(cluster).database(&database).scheme(BY_NAME)).await;
        Pair::over(database, proxy, plain, deprecate_eof).await
    }

    async fn over(database: Database, proxy: Proxy, plain: &Plain, deprecate_eof: bool) -> Pair {
        // Afterwards the server remembers the password's digest, which `Binary` depends on.
        plain.client(&database).await.quit().await;
        let through = Binary::login(proxy.mysql, APP, &database.name, deprecate_eof).await;
        let plain = Binary::login(direct(&plain.server).address, APP, &database.name, deprecate_eof).await;
        let mut pair = Pair { database, proxy, through, plain };
        // A server describes columns by the very collation of the login, the proxy by its character set's default.
        pair.both("SET NAMES utf8mb4").await;
        pair
    }

    /// Runs a text on both.
    async fn both(&mut self, sql: &str) {
        for one in [&mut self.through, &mut self.plain] {
            let answer = one.query(sql).await;
            assert_ne!(answer[0].1[0], 0xff, "{sql}:\n{}", shown(&answer));
        }
    }

    /// Prepares on both; the answers must be equal.
    async fn prepare(&mut self, sql: &str) -> Ids {
        let (through, found) = self.through.prepare(sql).await;
        let (plain, expected) = self.plain.prepare(sql).await;
        same(sql, &found, &expected);
        Ids { through, plain }
    }

    async fn execute(&mut self, ids: Ids, arguments: &[Argument]) -> Answer {
        self.execute_as(ids, 0, arguments, true).await
    }

    async fn execute_as(&mut self, ids: Ids, flags: u8, arguments: &[Argument], types: bool) -> Answer {
        let found = self.through.execute_as(ids.through, flags, arguments, types).await;
        let expected = self.plain.execute_as(ids.plain, flags, arguments, types).await;
        same(&format!("{arguments:?}"), &found, &expected);
        found
    }

    /// Prepares, executes and closes on both.
    async fn run(&mut self, sql: &str, arguments: &[Argument]) -> Answer {
        let ids = self.prepare(sql).await;
        let answer = self.execute(ids, arguments).await;
        self.through.close(ids.through).await;
        self.plain.close(ids.plain).await;
        answer
    }
}

#[derive(Debug, Clone, Copy)]
struct Ids {
    through: u32,
    plain: u32,
}

#[track_caller]
fn same(what: &str, found: &Answer, expected: &Answer) {
    assert!(
        found == expected,
        "{what}\n  through the proxy:\n{}  on a plain server:\n{}",
        shown(found),
        shown(expected)
    );
}

fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn edge_arguments() -> Vec<Argument> {
    let mut all = vec![Argument::null(kind::NULL), Argument::null(kind::LONG)];
    for byte in [0, 1, 0x7f, 0x80, 0xff] {
        all.push(Argument::fixed(kind::TINY, &[byte]));
        all.push(Argument::fixed(kind::TINY, &[byte]).unsigned());
        all.push(Argument::fixed(kind::SHORT, &[byte; 2]));
        all.push(Argument::fixed(kind::SHORT, &[byte; 2]).unsigned());
        all.push(Argument::fixed(kind::LONG, &[byte; 4]));
        all.push(Argument::fixed(kind::LONG, &[byte; 4]).unsigned());
        all.push(Argument::fixed(kind::LONGLONG, &[byte; 8]));
        all.push(Argument::fixed(kind::LONGLONG, &[byte; 8]).unsigned());
    }
    for number in [0.0, -0.5, 1e300, 123_456.789] {
        all.push(Argument::fixed(kind::DOUBLE, &f64::to_le_bytes(number)));
        all.push(Argument::fixed(kind::FLOAT, &(number as f32).to_le_bytes()));
    }
    for digits in ["0", "-1", "12345678901234567890.0123456789", ".5"] {
        all.push(Argument::sized(kind::NEWDECIMAL, digits.as_bytes()));
    }
    for text in ["", "a", "it's \\ é 😀", "2024-02-29"] {
        all.push(Argument::text(text));
        all.push(Argument::sized(kind::BLOB, text.as_bytes()));
    }
    all.push(Argument::sized(kind::BLOB, &[0xff; 300]));
    let day = [0xe8, 7, 2, 29];
    let moment = [0xe8, 7, 2, 29, 23, 59, 58, 0x40, 0xe2, 1, 0];
    for of in [kind::DATETIME, kind::TIMESTAMP] {
        all.extend([&[], &day[..], &moment[..7], &moment[..]].map(|bytes| Argument::sized(of, bytes)));
    }
    all.extend([&[][..], &day[..]].map(|bytes| Argument::sized(kind::DATE, bytes)));
    let span = [1, 33, 0, 0, 0, 22, 58, 57, 0x40, 0xe2, 1, 0];
    all.extend([&[][..], &span[..8], &span[..]].map(|bytes| Argument::sized(kind::TIME, bytes)));
    all
}

#[tokio::test]
async fn rows_and_definitions_of_every_type_equal_a_plain_servers_byte_for_byte() {
    for program in flavors() {
        for deprecate_eof in [false, true] {
            let mut pair = Pair::open(&program, deprecate_eof).await;
            pair.both("SET sql_mode = ''").await;
            for (id, row) in ROWS.iter().enumerate() {
                pair.both(&format!("INSERT INTO types VALUES ({id}, {row})")).await;
            }
            pair.run("SELECT * FROM types ORDER BY id", &[]).await;
            pair.run("SELECT * FROM types WHERE id = ?", &[Argument::integer(2)]).await;
            pair.run("SELECT * FROM types WHERE id > 100", &[]).await;
            let names: Vec<String> = COLUMNS.iter().map(|(name, _)| format!("MAX({name})")).collect();
            let names = names[..COLUMNS.len() - 2].join(", ");
            pair.run(&format!("SELECT COUNT(*), {names} FROM types"), &[]).await;
        }
    }
}

#[tokio::test]
async fn arguments_of_every_type_mean_what_they_mean_to_a_plain_server() {
    for program in flavors() {
        for deprecate_eof in [false, true] {
            let mut pair = Pair::open(&program, deprecate_eof).await;
            // Anew for each: MySQL takes a parameter as what it was given before.
            for argument in edge_arguments() {
                pair.run("SELECT ?, HEX(?)", &[argument.clone(), argument]).await;
            }
            // Many at once: NULLs in every place of the bitmap.
            let all = edge_arguments();
            for shift in [0, 1, 7, 8, 9] {
                let some: Vec<Argument> =
                    all.iter().cycle().skip(shift * 5).take(60 + shift).cloned().collect();
                pair.run(&format!("SELECT {}", placeholders(some.len())), &some).await;
            }
        }
    }
}

#[tokio::test]
async fn arguments_are_stored_in_columns_of_every_type_as_on_a_plain_server() {
    for program in flavors() {
        let mut pair = Pair::open(&program, true).await;
        pair.both("SET sql_mode = ''").await;
        let mut id = 0;
        for (name, of) in COLUMNS.iter().filter(|(_, of)| *of != "POINT") {
            let insert = pair.prepare(&format!("INSERT INTO types (id, {name}) VALUES (?, ?)")).await;
            for argument in edge_arguments() {
                id += 1;
                pair.execute(insert, &[Argument::integer(id), argument]).await;
            }
            let _of = of;
        }
        pair.run("SELECT * FROM types ORDER BY id", &[]).await;
        pair.run(
            "UPDATE types SET vc = ?, bi = bi + ? WHERE id BETWEEN ? AND ?",
            &[Argument::text("changed"), Argument::integer(1), Argument::integer(1), Argument::integer(20)],
        )
        .await;
        pair.run("DELETE FROM types WHERE id < ?", &[Argument::integer(5)]).await;
        pair.run("SELECT COUNT(*), SUM(bi), MAX(vc) FROM types", &[]).await;
    }
}

#[tokio::test]
async fn executions_conform_to_the_protocol_as_a_plain_server_takes_it() {
    for program in flavors() {
        for deprecate_eof in [false, true] {
            let mut pair = Pair::open(&program, deprecate_eof).await;
            // No parameters, with and without the bytes that would describe them.
            let none = pair.prepare("SELECT 1, 'a', NULL").await;
            pair.execute(none, &[]).await;
            pair.execute(none, &[]).await;
            // Types are told once; NULL comes and goes without them.
            let two = pair.prepare("SELECT ?, ?").await;
            let (number, text) = (Argument::integer(7), Argument::text("x"));
            pair.execute(two, &[number.clone(), text.clone()]).await;
            pair.execute_as(two, 0, &[number.clone(), text.clone()], false).await;
            pair.execute_as(two, 0, &[Argument::null(kind::LONGLONG), text.clone()], false).await;
            pair.execute_as(two, 0, &[number.clone(), Argument::null(kind::VAR_STRING)], false).await;
            pair.execute_as(two, 0, &[number.clone(), text.clone()], false).await;
            // Another type than before. MySQL describes strings by what was there before, so the rows alone are compared.
            let unsigned = Argument::fixed(kind::LONG, &[0xff; 4]).unsigned();
            for arguments in [[text.clone(), number.clone()], [unsigned.clone(), unsigned]] {
                let found = pair.through.execute(two.through, &arguments).await;
                let expected = pair.plain.execute(two.plain, &arguments).await;
                let row = found.len() - 2;
                assert_eq!(found[row], expected[row], "{arguments:?}");
            }
            let two = pair.prepare("SELECT ?, ?").await;
            // Long data, in pieces, empty, and forgotten by a reset.
            for pieces in [&["abc", "", "def"][..], &[""], &[]] {
                // MariaDB reads long data by the types of the execution before: that of no other statement.
                let two = pair.prepare("SELECT ?, ?").await;
                for (client, id) in [(&mut pair.through, two.through), (&mut pair.plain, two.plain)] {
                    for piece in pieces {
                        client.long_data(id, 1, piece.as_bytes()).await;
                    }
                }
                let second = if pieces.is_empty() { text.clone() } else { Argument::long(kind::BLOB) };
                pair.execute(two, &[number.clone(), second]).await;
            }
            for (client, id) in [(&mut pair.through, two.through), (&mut pair.plain, two.plain)] {
                client.long_data(id, 0, b"to be forgotten").await;
                let answer = client.reset(id).await;
                assert_eq!(answer[0].1[0], 0, "{}", shown(&answer));
            }
            pair.execute(two, &[number.clone(), text.clone()]).await;
            // For a statement or a parameter that is not there.
            for client in [&mut pair.through, &mut pair.plain] {
                client.long_data(999, 0, b"nobody").await;
            }
            pair.through.long_data(two.through, 9, b"x").await;
            pair.plain.long_data(two.plain, 9, b"x").await;
            let found = pair.through.execute(two.through, &[number.clone(), text.clone()]).await;
            let expected = pair.plain.execute(two.plain, &[number.clone(), text.clone()]).await;
            if expected[0].1[0] == 0xff {
                assert_eq!(error(&found).0, error(&expected).0);
            }
            pair.through.reset(two.through).await;
            pair.plain.reset(two.plain).await;
            pair.execute(two, &[number.clone(), text.clone()]).await;
            // Statements that are not there.
            let nowhere = Ids { through: 999, plain: 999 };
            pair.execute(nowhere, &[]).await;
            same("reset", &pair.through.reset(999).await, &pair.plain.reset(999).await);
            same("fetch", &pair.through.fetch(999, 1).await, &pair.plain.fetch(999, 1).await);
            let found = error(&pair.through.fetch(two.through, 1).await);
            let expected = error(&pair.plain.fetch(two.plain, 1).await);
            assert_eq!(found.0, expected.0);
            pair.through.close(two.through).await;
            pair.plain.close(two.plain).await;
            let closed = pair.through.execute(two.through, &[number.clone(), text.clone()]).await;
            assert_eq!(error(&closed).0, 1243);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_prepared_fails_as_on_a_plain_server() {
    for program in flavors() {
        let mut pair = Pair::open(&program, true).await;
        for sql in [
            "",
            "SELECT nonsense FROM types",
            "SELECT * FROM left_one WHERE nonsense = ?",
            "PREPARE s FROM 'SELECT 1'",
            "EXECUTE s",
        ] {
            let (_, found) = pair.through.prepare(sql).await;
            let (_, expected) = pair.plain.prepare(sql).await;
            assert_eq!(error(&found), error(&expected), "{sql}");
        }
        // The session goes on.
        pair.run("SELECT 1", &[]).await;
    }
}
