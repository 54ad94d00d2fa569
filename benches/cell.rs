//! The cell of a position: h3o against the keys of each path, in batches of 32; and what is asked
//! of positions whose cell is known: `cargo bench --bench cell`.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hexcast::domain::{Position, Uncertainty};
use hexcast::geo::{
    CellBound, Decision, HexKey, HexPath, INDEX_RESOLUTION, PreparedArea, Radius, Reach, SameCell, Spot,
    cell_of, hex_keys_by,
};

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
                let (lat, lon) = (f64::from(black_box(lat)) / 1e7, f64::from(black_box(lon)) / 1e7);
                let point = h3o::LatLng::new(lat, lon).expect("in range");
                black_box(point.to_cell(INDEX_RESOLUTION));
            }
        });
    });
    group.bench_function("cell_of, one by one", |b| {
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

/// What is asked of positions whose cell is known.
fn in_a_cell(c: &mut Criterion) {
    let mut group = c.benchmark_group("positions of one cell");
    group.throughput(Throughput::Elements(BATCH as u64));
    let middle = Position::from_degrees(31.0, 121.0).expect("in range");
    let cell = cell_of(middle);
    let lat: Vec<i32> = (0..BATCH as i32).map(|i| middle.lat_e7() + i * 14_142 % 300_000).collect();
    let lon: Vec<i32> = (0..BATCH as i32).map(|i| middle.lon_e7() + i * 17_320 % 300_000).collect();
    let same = SameCell::of(cell);
    group.bench_function("surely in it", |b| {
        b.iter(|| {
            lat.iter().zip(&lon).filter(|&(&lat, &lon)| black_box(&same).surely_holds(lat, lon)).count()
        });
    });
    let area = PreparedArea::circle(Position::from_degrees(31.0, 121.5).expect("in range"));
    let reach = Reach { radius: Radius::Metres(47_000.0), mode: Uncertainty::Intersects };
    group.bench_function("in a circle: contains", |b| {
        b.iter(|| {
            lat.iter()
                .zip(&lon)
                .filter(|&(&lat, &lon)| {
                    let position = Position::from_e7(black_box(lat), black_box(lon)).expect("in range");
                    area.contains(reach, &Spot::new(position), 500)
                })
                .count()
        });
    });
    let bound = CellBound::of(cell);
    let mut decider = area.decider(reach, &bound, 0..=1_000).expect("a usual cell");
    group.bench_function("in a circle: decider", |b| {
        b.iter(|| {
            lat.iter()
                .zip(&lon)
                .filter(|&(&lat, &lon)| {
                    black_box(&mut decider).decide(black_box(lat), black_box(lon), 500) == Decision::Inside
                })
                .count()
        });
    });
    group.bench_function("making a decider", |b| {
        b.iter(|| black_box(&area).decider(reach, black_box(&bound), 0..=1_000));
    });
    group.bench_function("making a same-cell test", |b| b.iter(|| SameCell::of(black_box(cell))));
    group.finish();
}

criterion_group!(benches, conversion, in_a_cell);
criterion_main!(benches);
