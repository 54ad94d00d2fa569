//! Polygons as JSON for the generator: possible ones, and ones for each way to be impossible.

use serde_json::{Value, json};

use super::geometry::Pos;
use super::rng::Rng;

/// Latitude and longitude in degrees; the antimeridian by either of its names.
pub(crate) fn degrees(pos: Pos, rng: &mut Rng) -> (f64, f64) {
    let lon = if pos.lon == -1_800_000_000 { rng.pick(&[180.0, -180.0]) } else { pos.lon_deg() };
    (pos.lat_deg(), lon)
}

/// A polygon of about `km` around a centre; nearly always possible.
pub(crate) fn possible(rng: &mut Rng, centre: Pos, km: f64) -> Value {
    let high = (km / 111.0).min(40.0);
    let wide = (high / centre.lat_deg().to_radians().cos().max(0.01)).min(80.0);
    // A coarse grid puts whole coordinates on edges.
    let grid = if high > 0.05 { rng.pick(&[1, 1, 1_000, 100_000]) } else { 1 };
    let corner = |share: (f64, f64)| -> Pos {
        let snap = |x: f64| (x / grid as f64).round() as i64 * grid;
        let lat = snap(centre.lat as f64 + share.1 * high * 1e7);
        Pos::wrapped(lat.clamp(-899_990_000, 899_990_000), snap(centre.lon as f64 + share.0 * wide * 1e7))
    };
    let outline: Vec<(f64, f64)> = if rng.chance(40) {
        let (x, y) = (rng.real(0.2, 1.0), rng.real(0.2, 1.0));
        vec![(-x, -y), (x, -y), (x, y), (-x, y)]
    } else {
        let n = rng.whole(3, 10);
        let spoke = |i: i64| {
            let angle = (i as f64 + rng.real(0.0, 0.5)) / n as f64 * std::f64::consts::TAU;
            let length = rng.real(0.2, 1.0);
            (angle.cos() * length, angle.sin() * length)
        };
        (0..n).map(spoke).collect()
    };
    let scaled = |by: f64| outline.iter().map(|(x, y)| corner((x * by, y * by))).collect::<Vec<Pos>>();
    let mut rings = vec![scaled(1.0)];
    match rng.whole(1, 100) {
        1..=25 => rings.push(scaled(rng.real(0.2, 0.7))),
        // Touching the outer ring in a corner.
        26..=32 => {
            let inner = scaled(0.4);
            rings.push(vec![rings[0][0], inner[0], inner[1]]);
        }
        // Two holes that touch in the centre.
        33..=36 => {
            let inner = scaled(0.4);
            rings.push(vec![corner((0.0, 0.0)), inner[0], inner[1]]);
            rings.push(vec![corner((0.0, 0.0)), inner[2], inner[inner.len() - 1]]);
        }
        _ => {}
    }
    written(rng, rings)
}

/// A polygon for one of the reasons to reject one.
pub(crate) fn impossible(rng: &mut Rng) -> Value {
    let square = || vec![(0, 0), (4, 0), (4, 4), (0, 4)];
    let rings = match rng.whole(1, 12) {
        1 => vec![vec![(0, 0), (4, 4), (4, 0), (0, 4)]],
        2 => vec![vec![(0, 0), (4, 0), (4, 4), (6, 6), (4, 4)]],
        3 => vec![square(), vec![(1, 1), (6, 1), (2, 2)]],
        4 => vec![square(), vec![(5, 1), (6, 1), (6, 2)]],
        5 => vec![square(), vec![(1, 0), (2, 0), (2, 2)]],
        6 => vec![vec![(0, 80), (120, 80), (-120, 80)]],
        7 => vec![vec![(0, -80), (10, -80), (5, -90)]],
        8 => vec![vec![(-10, 0), (170, 0), (90, 10)]],
        9 => vec![vec![(0, 0), (1, 0)]],
        10 => vec![square(), square()],
        11 => return json!({"polygon": [[0, 0], [181, 0], [1, 1]]}),
        _ => {
            let round = |i: i64| {
                let angle = i as f64 / 1_001.0 * std::f64::consts::TAU;
                Pos::wrapped((angle.sin() * 1e7) as i64, (angle.cos() * 1e7) as i64)
            };
            return written(rng, vec![(0..1_001).map(round).collect()]);
        }
    };
    let pos = |(lon, lat): &(i64, i64)| Pos::wrapped(lat * 10_000_000, lon * 10_000_000);
    let rings = rings.iter().map(|ring| ring.iter().map(pos).collect()).collect();
    written(rng, rings)
}

/// Rings as GeoJSON, in every way that is allowed: either way round, from any corner, closed or not.
fn written(rng: &mut Rng, rings: Vec<Vec<Pos>>) -> Value {
    let mut json_rings = Vec::new();
    for mut ring in rings {
        ring.dedup();
        let n = ring.len() as i64;
        ring.rotate_left(rng.whole(0, n - 1) as usize);
        if rng.chance(50) {
            ring.reverse();
        }
        if rng.chance(50) {
            ring.push(ring[0]);
        }
        let corner = |pos: &Pos| {
            let (lat, lon) = degrees(*pos, rng);
            json!([lon, lat])
        };
        json_rings.push(Value::Array(ring.iter().map(corner).collect()));
    }
    if json_rings.len() == 1 && rng.chance(50) {
        return json!({ "polygon": json_rings[0] });
    }
    json!({ "polygon": json_rings })
}
