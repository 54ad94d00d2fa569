//! The cell of a position: h3o against the keys of each path, in batches of 32:
//! `cargo bench --bench cell`.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hexcast::domain::Position;
use hexcast::geo::{HexKey, HexPath, cell_of, hex_keys_by};

const BATCH: usize = 32;

fn conversion(c: &mut Criterion) {
    let mut group = c.benchmark_group("cell of a position, batches of 32");
    group.throughput(Throughput::Elements(BATCH as u64));
    // All over China's box, by a low-discrepancy sequence.
    let lat: Vec<i32> =
        (1..=BATCH as i64).map(|i| 220_000_000 + (i * 141_421_356 % 230_000_000) as i32).collect();
    let lon: Vec<i32> =
        (1..=BATCH as i64).map(|i| 800_000_000 + (i * 173_205_080 % 420_000_000) as i32).collect();
    group.bench_function("h3o", |b| {
        b.iter(|| {
            for (&lat, &lon) in lat.iter().zip(&lon) {
                let position = Position::from_e7(black_box(lat), black_box(lon)).expect("in range");
                black_box(cell_of(position));
            }
        });
    });
    let mut keys = [HexKey::NONE; BATCH];
    for path in HexPath::ALL.into_iter().filter(|path| path.is_here()) {
        group.bench_function(format!("{path:?}"), |b| {
            b.iter(|| {
                hex_keys_by(path, black_box(&lat), black_box(&lon), &mut keys);
                black_box(&keys);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, conversion);
criterion_main!(benches);
