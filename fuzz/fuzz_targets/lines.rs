//! Files of LOAD DATA LOCAL: nothing panics, pieces lead where the whole leads, and every byte goes to exactly one shard.
#![no_main]

use std::cell::RefCell;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shardway::internal::route::HotPath;

const LOADS: [&str; 6] = [
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders (id, customer_id, total)",
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' (id, customer_id, total)",
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders FIELDS TERMINATED BY ',' ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n' (id, customer_id, total)",
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders FIELDS TERMINATED BY '||' ESCAPED BY '' (id, customer_id, total)",
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders LINES STARTING BY '>>' TERMINATED BY '\\n' (id, customer_id, total)",
    "LOAD DATA LOCAL INFILE 'f' INTO TABLE orders FIELDS TERMINATED BY 'ab' LINES TERMINATED BY 'aab' (customer_id, id, total)",
];

thread_local! {
    static PATH: RefCell<Option<HotPath>> = const { RefCell::new(None) };
}

fn begin() -> HotPath {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/plans");
    let columns = std::fs::read_to_string(folder.join("columns.txt")).expect("the columns of the golden plans");
    HotPath::new(&folder.join("map.toml"), &columns).expect("the map of the golden plans")
}

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (format, cut, file) = input;
    let load = LOADS[usize::from(format) % LOADS.len()].as_bytes();
    PATH.with_borrow_mut(|path| {
        let path = path.get_or_insert_with(begin);
        let whole = path.share_out(load, "shop", &file, file.len()).expect("the file is split");
        let pieces = path.share_out(load, "shop", &file, usize::from(cut)).expect("the file is split");
        assert_eq!(whole, pieces);
        if let Ok(shares) = whole {
            let shared: usize = shares.iter().map(Vec::len).sum();
            assert!(shared <= file.len(), "no byte goes to two shards");
        }
    });
});
