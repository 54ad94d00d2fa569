//! Edges: distances against dense sampling.

use super::super::edge::{Compared, Curves};
use super::super::ring::Ring;
use super::*;

/// The distance to the edges of a ring in degrees by looking at many points of each edge, and
/// closer around every one that is nearer than its neighbours.
fn truth(p: Position, corners: &[[f64; 2]]) -> f64 {
    let geodesic = Geodesic::wgs84();
    let mut best = f64::INFINITY;
    for (i, &[lon0, lat0]) in corners.iter().enumerate() {
        let [lon1, lat1] = corners[(i + 1) % corners.len()];
        let d_lon = (lon1 - lon0 + 180.0).rem_euclid(360.0) - 180.0;
        let f = |t: f64| karney(&geodesic, p, lat0 + (lat1 - lat0) * t, lon0 + d_lon * t);
        const N: usize = 600;
        let samples: Vec<f64> = (0..=N).map(|k| f(k as f64 / N as f64)).collect();
        let nearest = samples.iter().copied().fold(f64::INFINITY, f64::min);
        best = best.min(nearest);
        for k in 0..=N {
            let left = samples[k.saturating_sub(1)];
            let right = samples[(k + 1).min(N)];
            if samples[k] <= left && samples[k] <= right && samples[k] < nearest * 1.01 + 50_000.0 {
                let (low, high) = (k.saturating_sub(1) as f64 / N as f64, (k + 1).min(N) as f64 / N as f64);
                best = best.min(golden(f, low, high));
            }
        }
    }
    best
}

/// Golden section search.
fn golden(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    for _ in 0..45 {
        if fa < fb {
            (high, b, fb) = (b, a, fa);
            a = high - RATIO * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + RATIO * (high - low);
            fb = f(b);
        }
    }
    fa.min(fb)
}

fn curves(corners: &[[f64; 2]]) -> Option<Curves> {
    Ring::new(&ring(corners), 0, 0).ok().map(|r| Curves::new(r.edges.iter()))
}

/// Rounds to the grid, so that the truth has the corners that are held.
fn on_grid(x: f64) -> f64 {
    (x * 1e7).round() / 1e7
}

fn check(p: Position, corners: &[[f64; 2]]) -> bool {
    let Some(curves) = curves(corners) else { return false };
    let spot = Spot::new(p);
    let found = curves.distance_m(&spot);
    let expected = truth(p, corners);
    if expected > 8_900_000.0 {
        assert!(found > 8_800_000.0, "{p:?} {corners:?}: {found} for {expected}");
        return true;
    }
    assert!((found - expected).abs() < 0.01, "{p:?} {corners:?}: {found} for {expected}");
    // Comparing agrees with the distance, near it and far from it.
    for off in [-1e5, -10.0, -0.2, -0.04, -0.001, 0.0, 0.001, 0.04, 0.2, 10.0, 1e5] {
        match curves.compare(&spot, found + off) {
            Compared::Shorter => assert!(off > 0.0, "{p:?} {corners:?} {off}"),
            Compared::Longer => assert!(off < 0.0, "{p:?} {corners:?} {off}"),
            Compared::Exactly(d) => assert_eq!(d, found),
        }
    }
    true
}

#[test]
fn distances_are_true_to_a_centimetre_at_every_scale() {
    let mut dice = Dice(11);
    let mut done = 0;
    while done < 250 {
        let size = dice.decades(0.001, 80.0);
        let lat = dice.within(-80.0, 80.0);
        let lon = dice.within(-180.0, 180.0);
        let corners: Vec<[f64; 2]> = (0..3)
            .map(|_| {
                let lat = (lat + dice.within(-size, size)).clamp(-89.9999, 89.9999);
                [on_grid(lon + dice.within(-size, size)), on_grid(lat)]
            })
            .collect();
        let distance = dice.decades(1.0, 6_000_000.0);
        let corner = at(corners[0][1], corners[0][0]);
        let p = go(corner, dice.within(-180.0, 180.0), distance);
        done += usize::from(check(p, &corners));
    }
}

#[test]
fn long_edges_at_high_latitudes_have_their_nearest_point_found_among_several() {
    let mut dice = Dice(12);
    let mut done = 0;
    while done < 150 {
        let top = [60.0, 80.0, 89.0, 89.9, 89.9999][dice.below(5)];
        let lon = dice.within(-180.0, 180.0);
        let wide = dice.within(100.0, 179.9);
        let lat1 = if dice.below(3) == 0 { top } else { dice.within(-60.0, top) };
        let corners = [
            [on_grid(lon), on_grid(top)],
            [on_grid(lon + wide), on_grid(lat1)],
            [on_grid(lon + wide / 2.0), on_grid(lat1.min(top) - 20.0)],
        ];
        let p = at(dice.within(20.0, 90.0), dice.within(-180.0, 180.0));
        done += usize::from(check(p, &corners));
    }
}

#[test]
fn a_pole_is_as_far_from_all_of_a_parallel() {
    for lat in [0.5, 45.0, 60.0, 85.0, 89.0, 89.99] {
        let corners = [[-89.0, lat], [90.0, lat], [0.0, lat - 1.0]];
        assert!(check(at(90.0, 0.0), &corners));
        assert!(check(at(89.9999, 40.0), &corners));
    }
}

#[test]
fn positions_on_and_close_to_an_edge() {
    let mut dice = Dice(13);
    for _ in 0..100 {
        let corners = [[100.0, 20.0], [120.0, 40.0], [90.0, 45.0]];
        let t = dice.within(0.0, 1.0);
        let near = at(20.0 + 20.0 * t, 100.0 + 20.0 * t);
        let p = go(near, dice.within(-180.0, 180.0), dice.decades(0.001, 1_000.0));
        assert!(check(p, &corners));
    }
}
