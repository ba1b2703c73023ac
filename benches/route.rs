//! Scan, plan cache hit and route: what every statement pays before it reaches a server.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use shardway::internal::route::HotPath;

const STATEMENTS: [(&str, &str); 4] = [
    (
        "point select, 100 bytes",
        "SELECT id, customer_id, country, total, note FROM orders WHERE customer_id = 123456 AND note = 'abcdef'",
    ),
    ("list of 10", "SELECT id FROM orders WHERE customer_id IN (3, 6, 9, 12, 15, 18, 21, 24, 27, 30)"),
    ("insert of 1 row", "INSERT INTO orders VALUES (1, 42, 'de', 100, 'a note of some length')"),
    (
        "join on the key",
        "SELECT o.id, l.amount FROM orders o JOIN order_lines l ON l.customer_id = o.customer_id WHERE o.customer_id = 7",
    ),
];

fn route(criterion: &mut Criterion) {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let columns =
        std::fs::read_to_string(plans.join("columns.txt")).expect("the columns of the golden plans");
    let mut path = HotPath::new(&plans.join("map.toml"), &columns).expect("the map of the golden plans");
    for (name, statement) in STATEMENTS {
        assert_eq!(path.route(statement.as_bytes(), "shop"), 1, "{name}");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| path.route(black_box(statement.as_bytes()), "shop"));
        });
    }
}

criterion_group!(benches, route);
criterion_main!(benches);
