//! Any bytes as a statement on a map with sharded, reference and single tables: nothing panics, cached plans lead where new ones do, and
//! what shards get is one statement of the same kind. Pieces of SQL that meet often are given as single bytes, so that the search finds
//! statements and not only noise.
#![no_main]

use std::cell::RefCell;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shardway::internal::route::HotPath;

/// Bytes from 0x80 on stand for these.
const WORDS: &[&str] = &[
    "SELECT ", "INSERT INTO ", "REPLACE INTO ", "UPDATE ", "DELETE FROM ", " FROM ", " WHERE ", " AND ", " OR ", " IN (",
    " BETWEEN ", " ORDER BY ", " GROUP BY ", " HAVING ", " LIMIT ", " DISTINCT ", "COUNT(*)", "SUM(total)", "AVG(total)",
    "MIN(id)", " JOIN ", " LEFT JOIN ", " USING (", " ON ", " UNION ALL ", " UNION ", "WITH a AS (", " AS ", "customers",
    "orders", "countries", "settings", "customers.id", "orders.customer_id", "customer_id", "orders o", "o.customer_id", " = ",
    " < ", " >= ", " VALUES ", "(1, 2)", ", ", "(", ")", "'a'", "1", "2", "NULL", "?", " SET ", "name = 'x'", " DESC", " ASC",
    " ON DUPLICATE KEY UPDATE ", " FOR UPDATE", " LOCK IN SHARE MODE", "EXISTS (", " NOT ", " XOR ", " || ", " && ", "_shard",
    "/*!80000 ", " */", "-- \n", "CASE WHEN ", " THEN ", " ELSE ", " END", "CREATE TABLE ", "ALTER TABLE ", "DROP TABLE ",
    "SHOW ", "EXPLAIN ", "DESCRIBE ", "SET ", "@a := ", "CALL p()", "LOAD DATA LOCAL INFILE 'f' INTO TABLE ", "PREPARE p FROM ",
    " IS NULL", " LIKE ", " COLLATE utf8mb4_bin", "CAST(", " AS SIGNED)", "ROW_NUMBER() OVER (PARTITION BY ", " INTERVAL 1 DAY",
    "TABLE ", "VALUES ROW(1)", " STRAIGHT_JOIN ", " NATURAL JOIN ", "DATE '2024-01-01'", "0x41", "b'1'", "1e3", "-1", "id",
    "shop.", "`", ";", "DUAL", "LAST_INSERT_ID()", "NOW()", "DEFAULT", "IGNORE ", "STDDEV(id)", "GROUP_CONCAT(name)", " WITH ROLLUP",
];

thread_local! {
    // Used again for every input, as a session is.
    static PATH: RefCell<Option<HotPath>> = const { RefCell::new(None) };
}

fn begin() -> HotPath {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/plans");
    let columns = std::fs::read_to_string(folder.join("columns.txt")).expect("the columns of the golden plans");
    HotPath::new(&folder.join("map.toml"), &columns).expect("the map of the golden plans")
}

fn spelled_out(bytes: &[u8]) -> Vec<u8> {
    let word = |byte: &u8| byte.checked_sub(0x80).and_then(|place| WORDS.get(usize::from(place)));
    bytes.iter().flat_map(|byte| word(byte).map_or(vec![*byte], |word| word.as_bytes().to_vec())).collect()
}

fuzz_target!(|input: &[u8]| {
    let text = spelled_out(input);
    PATH.with_borrow_mut(|path| path.get_or_insert_with(begin).inspect(&text, "shop"));
});
