//! SQL is bytes: character sets, binary data and sql_mode change how a statement is read, and it arrives unharmed.

use shardway::internal::local::even_xxhash;

use crate::support::{Client, Cluster, Database, Proxy, Random, Setup, Table, flavors};

const LATIN1_E: &[u8] = b"\xe9";

async fn database(cluster: &Cluster) -> Database {
    cluster
        .database([
            Table::of_scheme("texts", "texts", "k", "(k VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, v VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci)"),
            Table::of_scheme("narrow", "narrow", "k", "(k VARCHAR(40) CHARACTER SET latin1, v VARCHAR(80))"),
            Table::of_scheme("numbers", "numbers", "k", "(k INT, v BLOB, w VARCHAR(300) CHARACTER SET utf8mb4)"),
        ])
        .await
}

async fn open(program: &shardway::internal::local::Installed) -> (Proxy, Database, Client) {
    let cluster = Cluster::shared(program).await;
    let database = database(cluster).await;
    let mut setup = Setup::new(cluster).database(&database);
    for table in ["texts", "narrow", "numbers"] {
        setup = setup.scheme(&even_xxhash(table, &["shard1", "shard2"]));
    }
    let proxy = Proxy::start(&setup).await;
    let client = proxy.client(&database).await;
    (proxy, database, client)
}

#[tokio::test]
async fn a_text_key_is_the_same_key_in_every_character_set() {
    for program in flavors() {
        let (proxy, database, mut client) = open(&program).await;
        for table in ["texts", "narrow"] {
            client.ok("SET NAMES latin1").await;
            let insert = |key: &[u8]| {
                [format!("INSERT INTO {table} (k, v) VALUES ('caf").as_bytes(), key, b"', 'x')"].concat()
            };
            client.ok(insert(LATIN1_E)).await;
            let mut other = proxy.client(&database).await;
            assert_eq!(
                other.rows(format!("SELECT HEX(v) FROM {table} WHERE k = 'café'")).await,
                ["78"],
                "{table}"
            );
            let select =
                [format!("SELECT k FROM {table} WHERE k = 'caf").as_bytes(), LATIN1_E, b"'"].concat();
            let found = client.ok(select).await.rows;
            assert_eq!(found, [[Some(b"caf\xe9".to_vec())]], "{table}: latin1 goes out and comes back");
            client.ok("SET NAMES utf8mb4").await;
            assert_eq!(
                client.rows(format!("SELECT k FROM {table} WHERE k = 'café'")).await,
                ["café"],
                "{table}"
            );
        }
        client.ok("INSERT INTO texts (k) VALUES ('😀'), ('日本'), ('ё')").await;
        for key in ["😀", "日本", "ё", "Ё"] {
            assert!(!client.rows(format!("SELECT k FROM texts WHERE k = '{key}'")).await.is_empty(), "{key}");
        }
    }
}

#[tokio::test]
async fn a_character_whose_second_byte_looks_like_a_quote_does_not_end_a_string() {
    for program in flavors() {
        let (_proxy, _database, mut client) = open(&program).await;
        client.ok("SET NAMES gbk").await;
        // In gbk the second byte of 縗 is a backslash.
        let select = b"SELECT '\xbf\x5c', 7".as_slice();
        let found = client.ok(select).await;
        assert_eq!(found.rows, [[Some(b"\xbf\x5c".to_vec()), Some(b"7".to_vec())]]);
        client.ok(b"INSERT INTO texts (k, v) VALUES ('a', '\xbf\x5c'), ('b', 'x')".as_slice()).await;
        assert_eq!(client.ok("SELECT k FROM texts").await.sorted(), ["a", "b"]);
        client.ok("SET NAMES utf8mb4").await;
        assert_eq!(client.rows("SELECT HEX(v) FROM texts WHERE k = 'a'").await, ["E7B897"]);
    }
}

#[tokio::test]
async fn blobs_of_all_bytes_arrive_unharmed_in_every_spelling() {
    for program in flavors() {
        let (_proxy, _database, mut client) = open(&program).await;
        let all: Vec<u8> = (0..=255).collect();
        let mut random = Random::new();
        for key in 0..40 {
            let blob: Vec<u8> =
                if key == 0 { all.clone() } else { (0..200).map(|_| random.byte()).collect() };
            let (mut escaped, mut hex) = (Vec::new(), String::new());
            for byte in &blob {
                match byte {
                    0 => escaped.extend_from_slice(b"\\0"),
                    b'\'' if random.one_in(2) => escaped.extend_from_slice(b"''"),
                    b'\'' | b'"' | b'\\' => escaped.extend_from_slice(&[b'\\', *byte]),
                    other => escaped.push(*other),
                }
                hex.push_str(&format!("{byte:02X}"));
            }
            let start = b"INSERT INTO numbers (v, k) VALUES (_binary'".to_vec();
            client.ok([start, escaped, format!("', {key})").into_bytes()].concat()).await;
            let select = format!("SELECT HEX(v), v FROM numbers WHERE k = {key} AND v = x'{hex}'");
            let found = client.ok(select).await.rows;
            assert_eq!(found, [[Some(hex.into_bytes()), Some(blob)]]);
        }
    }
}

#[tokio::test]
async fn ansi_quotes_turn_double_quotes_into_names() {
    for program in flavors() {
        let (_proxy, _database, mut client) = open(&program).await;
        client.ok("INSERT INTO texts (k, v) VALUES ('v', 'one'), ('two', \"two\")").await;
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = \"v\"").await, ["one"]);
        client.ok("SET sql_mode = 'ANSI_QUOTES'").await;
        // Now "v" is the column.
        assert_eq!(client.rows("SELECT k FROM texts WHERE k = \"v\"").await, ["two"]);
        assert_eq!(client.rows("SELECT \"k\" FROM \"texts\" WHERE \"k\" = 'v'").await, ["v"]);
        client.ok("SET sql_mode = ''").await;
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = \"v\"").await, ["one"]);
    }
}

#[tokio::test]
async fn no_backslash_escapes_ends_a_string_after_a_backslash() {
    for program in flavors() {
        let (_proxy, _database, mut client) = open(&program).await;
        client.ok("INSERT INTO texts (k, v) VALUES ('it\\'s', 'escaped'), ('back\\\\', 'slash')").await;
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = 'it\\'s'").await, ["escaped"]);
        client.ok("SET sql_mode = 'NO_BACKSLASH_ESCAPES'").await;
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = 'back\\'").await, ["slash"]);
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = 'it''s' OR k = 'back\\'").await.len(), 2);
        client.ok("SET sql_mode = ''").await;
        assert_eq!(client.rows("SELECT v FROM texts WHERE k = 'back\\\\'").await, ["slash"]);
    }
}

#[tokio::test]
async fn comments_and_executable_comments_are_read_as_the_server_reads_them() {
    for program in flavors() {
        let (_proxy, _database, mut client) = open(&program).await;
        client.ok("INSERT INTO numbers (k, w) VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')").await;
        for (sql, rows) in [
            ("SELECT w FROM numbers WHERE k /* = 2 */ = 1", "one"),
            ("SELECT w FROM numbers -- WHERE k = 2\nWHERE k = 3", "three"),
            ("SELECT w FROM numbers # WHERE k = 2\nWHERE k = 4", "four"),
            ("SELECT w FROM numbers WHERE k = /*! 5 */ /*!99999 + 1 */", "five"),
            ("SELECT w FROM numbers WHERE k = /*!50000 2 */", "two"),
            ("/* a */ SELECT/**/w/**/FROM/**/numbers/**/WHERE/**/k=5", "five"),
            ("SELECT w FROM numbers WHERE k = 1--1", "two"),
        ] {
            assert_eq!(client.rows(sql).await, [rows], "{sql}");
        }
    }
}
