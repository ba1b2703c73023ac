//! Rows per second of the merge itself: ordered, and grouped, over 8 shards.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shardway::internal::merge::Input;

const SHARDS: usize = 8;
const ROWS_PER_SHARD: usize = 20_000;

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements((SHARDS * ROWS_PER_SHARD) as u64));
    for (name, input) in [
        ("ordered by a number", Input::ordered(SHARDS, ROWS_PER_SHARD)),
        ("ordered by text", Input::ordered_by_text(SHARDS, ROWS_PER_SHARD)),
        ("groups of 8 parts, count and sum", Input::grouped(SHARDS, ROWS_PER_SHARD)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| input.clone(), |input| black_box(input.run()), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, merge);
criterion_main!(benches);
