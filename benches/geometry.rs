//! The geometry that the engine falls back to, by criterion: `cargo bench --bench geometry`.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hexcast::domain::Position;
use hexcast::geo::{cell_of, geodesic_m};

fn geometry(c: &mut Criterion) {
    let (a, b) = (
        Position::from_degrees(31.2304, 121.4737).expect("in range"),
        Position::from_degrees(39.9075, 116.39723).expect("in range"),
    );
    c.bench_function("geodesic (Karney)", |bench| bench.iter(|| geodesic_m(black_box(a), black_box(b))));
    c.bench_function("cell of a position", |bench| bench.iter(|| cell_of(black_box(a))));
}

criterion_group!(benches, geometry);
criterion_main!(benches);
