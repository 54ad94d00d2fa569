//! The engine's parts, one core: `cargo bench --bench engine`.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

mod common;

use std::hint::black_box;

use common::{Dice, NOW, jittered, populated, publish, wall};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;
use hexcast::domain::{PingRow, Position};
use hexcast::engine::{Output, Partition};
use hexcast::geo::{cell_of, geodesic_m};

const DEVICES: u64 = 1_000_000;
const BATCH: usize = 4_096;

fn ping_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("ping path, 1 M devices, 10 m of jitter");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, alerts, lat) in [
        ("no alert", 0, 0.0),
        ("10,000 alerts elsewhere", 10_000, -40.0),
        ("inside 10 alerts, notified", 10, 34.0),
    ] {
        let mut partition = populated(DEVICES, false);
        let mut out = Output::default();
        for no in 0..alerts {
            partition.order(&publish(no, lat, 111.0, 2_000.0), u64::from(no), &mut out);
        }
        let mut dice = Dice(7);
        group.bench_function(name, |b| {
            b.iter_batched(
                || rows(&mut dice),
                |rows| {
                    out.clear();
                    partition.pings(wall(), NOW, &rows, &mut out)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// What one would write first: a shared map, and an H3 conversion for every ping.
fn baseline(c: &mut Criterion) {
    let mut group = c.benchmark_group("ping path, 1 M devices, 10 m of jitter");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut dice = Dice(1);
    let map: DashMap<u64, (Position, h3o::CellIndex)> = DashMap::new();
    let update = |row: PingRow| {
        if let Ok(ping) = row.read(NOW) {
            map.insert(ping.device.0, (ping.position, cell_of(ping.position)));
        }
    };
    (0..DEVICES).for_each(|i| update(jittered(i, &mut dice)));
    group.bench_function("baseline: DashMap and h3o a ping, no matching", |b| {
        b.iter_batched(|| rows(&mut dice), |rows| rows.into_iter().for_each(update), BatchSize::SmallInput);
    });
    group.finish();
}

fn rows(dice: &mut Dice) -> Vec<PingRow> {
    (0..BATCH)
        .map(|_| {
            let i = dice.next() % DEVICES;
            jittered(i, dice)
        })
        .collect()
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan of 1 M devices");
    group.sample_size(10);
    for radius_km in [1.0, 100.0, 500.0] {
        let mut partition: Partition = populated(DEVICES, false);
        let mut no = 0;
        group.bench_function(format!("circle of {radius_km} km"), |b| {
            b.iter(|| {
                let mut out = Output::default();
                partition.order(&publish(no, 34.0, 111.0, radius_km), u64::from(no), &mut out);
                no += 1;
                black_box(out.len())
            });
        });
    }
    group.finish();
}

fn geometry(c: &mut Criterion) {
    let (a, b) = (
        Position::from_degrees(31.2304, 121.4737).expect("in range"),
        Position::from_degrees(39.9075, 116.39723).expect("in range"),
    );
    c.bench_function("geodesic (Karney)", |bench| bench.iter(|| geodesic_m(black_box(a), black_box(b))));
    c.bench_function("cell of a position (h3o, resolution 5)", |bench| bench.iter(|| cell_of(black_box(a))));
}

criterion_group!(benches, ping_path, baseline, scan, geometry);
criterion_main!(benches);
