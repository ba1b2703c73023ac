//! What a statement costs before it is sent: the scan that every statement takes, and the parse that only the first of
//! its kind takes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardway::internal::sql::Reader;
use std::hint::black_box;

fn statements() -> Vec<(&'static str, String)> {
    let numbers: Vec<String> = (0..100).map(|number| (1000 + number).to_string()).collect();
    let pad = "x".repeat(120);
    let row = format!("({},{},'{}','{}')", 5_013, 4_998, &pad[..119], &pad[..59]);
    let insert = |rows: usize| {
        format!("INSERT INTO sbtest1 (id, k, c, pad) VALUES {}", vec![row.as_str(); rows].join(","))
    };
    vec![
        ("begin", "BEGIN".to_owned()),
        ("point select", "SELECT c FROM sbtest1 WHERE id=5013742".to_owned()),
        (
            "range distinct",
            "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 4980 AND 5079 ORDER BY c".to_owned(),
        ),
        (
            "stock for update",
            "SELECT s_quantity, s_data, s_dist_01 FROM stock1 WHERE s_i_id = 59213 AND s_w_id= 7 FOR UPDATE"
                .to_owned(),
        ),
        ("update with a string", format!("UPDATE sbtest1 SET c='{}' WHERE id=5013742", &pad[..119])),
        (
            "three joins",
            "SELECT c.name, COUNT(DISTINCT o.id) AS orders, SUM(l.quantity * l.price) AS total FROM customers c JOIN \
             orders o ON o.customer_id = c.id LEFT JOIN lines l ON l.order_id = o.id AND l.customer_id = c.id WHERE \
             c.region = 'eu' AND o.created >= '2024-01-01' AND o.created < '2024-02-01' AND o.state IN ('paid', \
             'sent') GROUP BY c.id, c.name HAVING total > 100 ORDER BY total DESC LIMIT 20"
                .to_owned(),
        ),
        ("list of 100", format!("SELECT c FROM sbtest1 WHERE id IN ({})", numbers.join(","))),
        ("insert 1 row", insert(1)),
        ("insert 1000 rows", insert(1000)),
    ]
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for (name, text) in statements() {
        let mut reader = Reader::default();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), text.as_bytes(), |bencher, text| {
            bencher.iter(|| reader.fingerprint(black_box(text), 0));
        });
    }
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (name, text) in statements().into_iter().filter(|(name, _)| *name != "begin") {
        let mut reader = Reader::default();
        assert!(reader.fingerprint(text.as_bytes(), 0).is_some());
        assert!(reader.parse(text.as_bytes(), 0), "{name}");
        group.bench_with_input(BenchmarkId::from_parameter(name), text.as_bytes(), |bencher, text| {
            bencher.iter(|| reader.parse(black_box(text), 0));
        });
    }
}

criterion_group!(benches, scan, parse);
criterion_main!(benches);
