//! Hexagon keys against h3o, on every path of the machine: a key is h3o's cell, or none.
//!
//! The long form, spread over all kinds of places and two threads:
//! `HEXCAST_CELLS=100000000 cargo test --release --test cells -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test stops where the world is not as it must be")]

use std::collections::HashMap;

use h3o::{CellIndex, LatLng, Resolution};
use hexcast::domain::Position;
use hexcast::geo::{HexKey, HexPath, INDEX_RESOLUTION, cell_of, hex_keys_by};

/// Positions of a run of `cargo test`.
const SHORT: usize = 1_000_000;
const BATCH: usize = 4_096;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Small and of either sign, each decade as likely as the other.
    fn off(&mut self, low: f64, high: f64) -> f64 {
        let size = self.within(low.ln(), high.ln()).exp();
        if self.below(2) == 0 { size } else { -size }
    }
}

type Vec3 = [f64; 3];

fn vector(point: LatLng) -> Vec3 {
    let (lat, lon) = (point.lat_radians(), point.lng_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

fn degrees([x, y, z]: Vec3) -> (f64, f64) {
    (z.atan2(x.hypot(y)).to_degrees(), y.atan2(x).to_degrees())
}

fn between(a: Vec3, b: Vec3, t: f64) -> Vec3 {
    [0, 1, 2].map(|k| a[k] + (b[k] - a[k]) * t)
}

/// The corners of the icosahedron: the centres of its pentagons.
struct World {
    corners: Vec<Vec3>,
    edges: Vec<(Vec3, Vec3)>,
}

impl World {
    fn new() -> Self {
        let corners: Vec<Vec3> = CellIndex::base_cells()
            .filter(|cell| cell.is_pentagon())
            .map(|cell| vector(LatLng::from(cell)))
            .collect();
        let mut edges = Vec::new();
        for (i, &a) in corners.iter().enumerate() {
            for &b in &corners[i + 1..] {
                // Neighbours are 63.4° apart, the next ones 116.6°.
                if a[0] * b[0] + a[1] * b[1] + a[2] * b[2] > 0.0 {
                    edges.push((a, b));
                }
            }
        }
        assert_eq!((corners.len(), edges.len()), (12, 30));
        Self { corners, edges }
    }

    fn place(&self, kind: &str, dice: &mut Dice) -> (f64, f64) {
        match kind {
            "sphere" => (dice.within(-1.0, 1.0).asin().to_degrees(), dice.within(-180.0, 180.0)),
            "china" => (dice.within(18.0, 54.0), dice.within(73.0, 135.0)),
            "face edges" => {
                let (a, b) = self.edges[dice.below(30)];
                let (lat, lon) = degrees(between(a, b, dice.within(0.0, 1.0)));
                (lat + dice.off(1e-8, 0.3), lon + dice.off(1e-8, 0.3))
            }
            "pentagons" => {
                let (lat, lon) = degrees(self.corners[dice.below(12)]);
                (lat + dice.off(1e-8, 0.5), lon + dice.off(1e-8, 0.5))
            }
            "poles" => {
                let lat = 90.0 - dice.off(1e-8, 1.0).abs();
                (if dice.below(2) == 0 { lat } else { -lat }, dice.within(-180.0, 180.0))
            }
            "antimeridian" => (dice.within(-90.0, 90.0), 180.0 - dice.off(1e-8, 0.5)),
            "cell edges" => self.border(dice, |dice| dice.within(0.0, 1.0)),
            "cell corners" => self.border(dice, |_| 0.0),
            _ => unreachable!("{kind}"),
        }
    }

    /// On or near the border of a cell anywhere, one in four across an edge of the icosahedron.
    fn border(&self, dice: &mut Dice, t: impl Fn(&mut Dice) -> f64) -> (f64, f64) {
        let near = if dice.below(4) == 0 { "face edges" } else { "sphere" };
        let (lat, lon) = self.place(near, dice);
        let corners: Vec<LatLng> = at(lat, lon, INDEX_RESOLUTION).boundary().iter().copied().collect();
        let k = dice.below(corners.len());
        let (a, b) = (vector(corners[k]), vector(corners[(k + 1) % corners.len()]));
        let (lat, lon) = degrees(between(a, b, t(dice)));
        (lat + dice.off(1e-8, 1e-3), lon + dice.off(1e-8, 1e-3))
    }
}

fn at(lat: f64, lon: f64, resolution: Resolution) -> CellIndex {
    LatLng::new(lat, lon).unwrap().to_cell(resolution)
}

const KINDS: [&str; 8] =
    ["sphere", "china", "face edges", "pentagons", "poles", "antimeridian", "cell edges", "cell corners"];

/// How many of `n` places of a kind got no key, by path.
fn check(kind: &str, n: usize, seed: u64) -> HashMap<HexPath, usize> {
    let world = World::new();
    let mut dice = Dice(seed);
    let mut none = HashMap::new();
    // What a key's cell is, as told by `HexKey::cell`.
    let mut known: HashMap<HexKey, CellIndex> = HashMap::new();
    let mut left = n;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        let positions: Vec<Position> = (0..batch)
            .map(|_| {
                let (lat, lon) = world.place(kind, &mut dice);
                Position::from_degrees(lat.clamp(-90.0, 90.0), (lon + 180.0).rem_euclid(360.0) - 180.0)
                    .unwrap()
            })
            .collect();
        let truths: Vec<CellIndex> =
            positions.iter().map(|p| at(p.lat_deg(), p.lon_deg(), INDEX_RESOLUTION)).collect();
        // One in eight, since it takes as long as h3o where it asks it.
        for (&position, &truth) in positions.iter().zip(&truths).step_by(8) {
            assert_eq!(cell_of(position), truth, "{kind}: {position:?}");
        }
        let lat: Vec<i32> = positions.iter().map(|p| p.lat_e7()).collect();
        let lon: Vec<i32> = positions.iter().map(|p| p.lon_e7()).collect();
        for path in HexPath::ALL.into_iter().filter(|path| path.is_here()) {
            let mut keys = vec![HexKey::NONE; batch];
            hex_keys_by(path, &lat, &lon, &mut keys);
            for ((key, truth), position) in keys.into_iter().zip(&truths).zip(&positions) {
                if key == HexKey::NONE {
                    *none.entry(path).or_default() += 1;
                    continue;
                }
                let cell = *known.entry(key).or_insert_with(|| key.cell().unwrap());
                assert_eq!(cell, *truth, "{kind}, {path:?}: {key:?} of {position:?}");
            }
        }
        if known.len() > 1 << 20 {
            known.clear();
        }
    }
    none
}

#[test]
fn a_key_is_the_cell_that_h3o_finds() {
    let n = std::env::var("HEXCAST_CELLS").map_or(SHORT, |n| n.parse().unwrap());
    let each = n / KINDS.len();
    let run = |half: usize| KINDS.map(|kind| (kind, check(kind, each / 2, (each + half) as u64)));
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().unwrap())
    });
    for ((kind, a), (_, b)) in a.into_iter().zip(b) {
        for path in HexPath::ALL.into_iter().filter(|path| path.is_here()) {
            let none = a.get(&path).unwrap_or(&0) + b.get(&path).unwrap_or(&0);
            println!("{kind}, {path:?}: {none} of {} without a key", each / 2 * 2);
            if matches!(kind, "sphere" | "china") {
                assert!(none <= 3 + each / 100_000, "{kind}, {path:?}: {none} of {each}");
            }
        }
    }
}
