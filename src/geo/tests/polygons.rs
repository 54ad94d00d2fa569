//! Polygons: validity, sides, and distances against slow truths.

use super::super::polygon::Polygon;
use super::*;

fn make(rings: &[Vec<Position>]) -> Result<Polygon, AreaError> {
    Polygon::new(rings, 0)
}

fn error(rings: &[&[[f64; 2]]]) -> AreaError {
    let rings: Vec<_> = rings.iter().map(|r| ring(r)).collect();
    make(&rings).unwrap_err()
}

fn accepted(rings: &[&[[f64; 2]]]) {
    let rings: Vec<_> = rings.iter().map(|r| ring(r)).collect();
    // Either orientation, closed or not, from any corner, and all around the earth.
    for turn in [0.0, 178.5, 90.0, -181.0] {
        for start in 0..3 {
            let moved: Vec<Vec<Position>> = rings
                .iter()
                .enumerate()
                .map(|(i, r)| {
                    let mut r: Vec<_> = r.iter().map(|p| at(p.lat_deg(), p.lon_deg() + turn)).collect();
                    if (start + i) % 2 == 1 {
                        r.reverse();
                    }
                    let n = r.len();
                    r.rotate_left(start % n);
                    if start == 2 {
                        r.push(r[0]);
                    }
                    r
                })
                .collect();
            if let Err(e) = make(&moved) {
                panic!("{rings:?} turned by {turn}, start {start}: {e}");
            }
        }
    }
}

const SQUARE: &[[f64; 2]] = &[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]];

#[test]
fn polygons_that_only_touch_in_points_are_accepted() {
    accepted(&[SQUARE]);
    accepted(&[&[[0.0, 0.0], [0.0, 0.0], [10.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 0.0]]]);
    accepted(&[SQUARE, &[[2.0, 2.0], [4.0, 2.0], [4.0, 4.0]], &[[6.0, 6.0], [8.0, 6.0], [8.0, 8.0]]]);
    // A hole's corner on the outer edge, on an outer corner, all three on edges.
    accepted(&[SQUARE, &[[0.0, 5.0], [4.0, 2.0], [4.0, 4.0]]]);
    accepted(&[SQUARE, &[[0.0, 0.0], [4.0, 2.0], [4.0, 4.0]]]);
    accepted(&[SQUARE, &[[0.0, 5.0], [5.0, 0.0], [10.0, 5.0]]]);
    // Two holes that touch in a corner, and corner on edge.
    accepted(&[SQUARE, &[[2.0, 2.0], [4.0, 2.0], [5.0, 5.0]], &[[5.0, 5.0], [8.0, 6.0], [8.0, 8.0]]]);
    accepted(&[SQUARE, &[[2.0, 2.0], [6.0, 2.0], [4.0, 5.0]], &[[4.0, 2.0], [3.0, 1.0], [5.0, 1.0]]]);
    // A ring that touches itself: two triangles that share a corner, corner on own edge.
    accepted(&[&[[0.0, 0.0], [5.0, 5.0], [10.0, 0.0], [10.0, 10.0], [5.0, 5.0], [0.0, 10.0]]]);
    accepted(&[&[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [5.0, 0.0], [0.0, 10.0]]]);
    // Straight on at a corner is no spike.
    accepted(&[&[[0.0, 0.0], [5.0, 0.0], [10.0, 0.0], [10.0, 10.0]]]);
}

#[test]
fn rings_that_cross_are_rejected() {
    let crosses = |rings: &[&[[f64; 2]]]| {
        let e = error(rings);
        assert!(matches!(e, AreaError::Crosses { .. }), "{rings:?}: {e}");
    };
    crosses(&[&[[0.0, 0.0], [10.0, 10.0], [10.0, 0.0], [0.0, 10.0]]]);
    // Through a corner of its own, and through its own edge at a corner.
    crosses(&[&[[0.0, 0.0], [5.0, 5.0], [10.0, 10.0], [10.0, 0.0], [5.0, 5.0], [0.0, 10.0]]]);
    crosses(&[&[[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [5.0, 0.0], [3.0, -5.0], [0.0, -5.0]]]);
    crosses(&[SQUARE, &[[5.0, 5.0], [15.0, 5.0], [15.0, 6.0]]]);
    // A hole that leaves through a corner and an edge.
    crosses(&[SQUARE, &[[5.0, 5.0], [10.0, 10.0], [15.0, 15.0], [16.0, 5.0]]]);
    crosses(&[
        SQUARE,
        &[[2.0, 2.0], [6.0, 2.0], [6.0, 6.0]],
        &[[4.0, 1.0], [5.0, 1.0], [5.0, 7.0], [4.0, 7.0]],
    ]);
    // By the smallest step that the grid has.
    crosses(&[SQUARE, &[[5.0, 5.0], [10.000_000_1, 5.0], [5.0, 6.0]]]);
    // A spiral that meets itself only after a whole turn around the earth.
    crosses(&[&[
        [0.0, 0.0],
        [100.0, 5.0],
        [200.0, 10.0],
        [300.0, 15.0],
        [400.0, 20.0],
        [400.0, 30.0],
        [300.0, 25.0],
        [200.0, 20.0],
        [100.0, 15.0],
        [0.0, 22.0],
    ]]);
}

#[test]
fn a_ring_may_wind_around_the_earth_and_back() {
    accepted(&[&[
        [0.0, 0.0],
        [100.0, 5.0],
        [200.0, 10.0],
        [300.0, 15.0],
        [400.0, 20.0],
        [400.0, 25.0],
        [300.0, 20.0],
        [200.0, 15.0],
        [100.0, 10.0],
        [0.0, 5.0],
    ]]);
    let spiral = make(&[ring(&[
        [0.0, 0.0],
        [100.0, 5.0],
        [200.0, 10.0],
        [300.0, 15.0],
        [400.0, 20.0],
        [400.0, 25.0],
        [300.0, 20.0],
        [200.0, 15.0],
        [100.0, 10.0],
        [0.0, 5.0],
    ])])
    .unwrap();
    let inside = |lat, lon| spiral.signed_distance_m(&Spot::new(at(lat, lon))) < 0.0;
    for (lat, lon, expected) in
        [(0.5, 20.0, false), (3.5, 20.0, true), (21.0, 20.0, true), (10.0, 20.0, false), (12.0, 200.0, true)]
    {
        assert_eq!(inside(lat, lon), expected, "{lat} {lon}");
    }
}

#[test]
fn rings_that_run_along_each_other_are_rejected() {
    let along = |rings: &[&[[f64; 2]]]| {
        let e = error(rings);
        assert!(matches!(e, AreaError::RunsAlong { .. }), "{rings:?}: {e}");
    };
    along(&[SQUARE, SQUARE]);
    along(&[SQUARE, &[[0.0, 2.0], [0.0, 8.0], [5.0, 5.0]]]);
    along(&[SQUARE, &[[0.0, 0.0], [0.0, 8.0], [5.0, 5.0]]]);
    along(&[&[[0.0, 0.0], [5.0, 5.0], [10.0, 10.0]]]);
    // A spike outwards, and one along an edge.
    along(&[&[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [20.0, 10.0], [10.0, 10.0], [0.0, 10.0]]]);
    along(&[&[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [10.0, 5.0], [0.0, 10.0]]]);
    // Along the same line, a whole turn apart as written.
    along(&[&[[170.0, 0.0], [190.0, 0.0], [190.0, 5.0]], &[[-175.0, 0.0], [-172.0, 0.0], [-173.0, 2.0]]]);
}

#[test]
fn impossible_rings_are_rejected_with_their_reason() {
    assert_eq!(make(&[]).unwrap_err(), AreaError::NoRing { shape: 0 });
    assert_eq!(error(&[&[]]), AreaError::TooFewCorners { shape: 0, ring: 0, distinct: 0 });
    let two: &[[f64; 2]] = &[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]];
    assert_eq!(error(&[two]), AreaError::TooFewCorners { shape: 0, ring: 0, distinct: 2 });
    assert_eq!(error(&[SQUARE, &[[1.0, 1.0]]]), AreaError::TooFewCorners { shape: 0, ring: 1, distinct: 1 });
    let pole: &[[f64; 2]] = &[[0.0, 80.0], [10.0, 80.0], [10.0, 90.0]];
    assert_eq!(error(&[pole]), AreaError::TouchesPole { shape: 0, ring: 0, corner: 2 });
    let around: &[[f64; 2]] = &[[0.0, -80.0], [120.0, -80.0], [-120.0, -80.0]];
    assert_eq!(error(&[around]), AreaError::EnclosesPole { shape: 0, ring: 0 });
    let half: &[[f64; 2]] = &[[0.0, 0.0], [180.0, 0.0], [90.0, 10.0]];
    assert_eq!(error(&[half]), AreaError::HalfTurn { shape: 0, ring: 0, corner: 0 });
    let hole: &[[f64; 2]] = &[[20.0, 1.0], [21.0, 1.0], [21.0, 2.0]];
    assert_eq!(error(&[SQUARE, hole]), AreaError::HoleOutside { shape: 0, ring: 1 });
    // Outside, touching with its corners only; and around the outer ring.
    let beside: &[[f64; 2]] = &[[10.0, 2.0], [12.0, 5.0], [10.0, 8.0], [11.0, 5.0]];
    assert_eq!(error(&[SQUARE, beside]), AreaError::HoleOutside { shape: 0, ring: 1 });
    let around: &[[f64; 2]] = &[[-1.0, -1.0], [11.0, -1.0], [11.0, 11.0], [-1.0, 11.0]];
    assert_eq!(error(&[SQUARE, around]), AreaError::HoleOutside { shape: 0, ring: 1 });
    let inner: &[[f64; 2]] = &[[2.0, 2.0], [8.0, 2.0], [8.0, 8.0], [2.0, 8.0]];
    let innermost: &[[f64; 2]] = &[[3.0, 3.0], [4.0, 3.0], [4.0, 4.0]];
    let nested = AreaError::HoleInHole { shape: 0, ring: 2, other_ring: 1 };
    assert_eq!(error(&[SQUARE, inner, innermost]), nested);
    let nested = AreaError::HoleInHole { shape: 0, ring: 1, other_ring: 2 };
    assert_eq!(error(&[SQUARE, innermost, inner]), nested);
    for e in [error(&[half]), error(&[SQUARE, SQUARE]), error(&[two])] {
        assert!(!e.to_string().contains('\n') && e.to_string().starts_with("shape 0"), "{e}");
    }
}

/// A ring of `n` corners around a place, its radius wavering.
fn star(dice: &mut Dice, lat: f64, lon: f64, size: f64, n: usize) -> Vec<[f64; 2]> {
    (0..n)
        .map(|k| {
            let (sin, cos) = (k as f64 / n as f64 * std::f64::consts::TAU).sin_cos();
            let r = size * dice.within(0.4, 1.0);
            [lon + r * cos, lat + r * sin]
        })
        .collect()
}

#[test]
fn a_thousand_corners_are_accepted_and_one_more_is_not() {
    let mut dice = Dice(21);
    let mut corners = ring(&star(&mut dice, 30.0, 179.0, 20.0, 1_000));
    corners.push(corners[0]);
    assert!(make(std::slice::from_ref(&corners)).is_ok());
    let hole = ring(&[[179.0, 30.0], [179.1, 30.0], [179.0, 30.1]]);
    assert_eq!(make(&[corners, hole]).unwrap_err(), AreaError::TooManyCorners { shape: 0, corners: 1_003 });
}

/// Even-odd in floats, around the place itself so that no longitude wraps.
fn even_odd(corners: &[[f64; 2]], lon: f64, lat: f64) -> bool {
    let mut inside = false;
    for (i, &[x0, y0]) in corners.iter().enumerate() {
        let [x1, y1] = corners[(i + 1) % corners.len()];
        if (y0 > lat) != (y1 > lat) && lon < x0 + (lat - y0) / (y1 - y0) * (x1 - x0) {
            inside = !inside;
        }
    }
    inside
}

#[test]
fn inside_is_what_even_odd_says_and_distances_have_its_sign() {
    let mut dice = Dice(22);
    for _ in 0..60 {
        let (lat, lon) = (dice.within(-50.0, 50.0), dice.within(-180.0, 180.0));
        let size = dice.decades(0.01, 30.0);
        let n = 3 + dice.below(60);
        let outer = star(&mut dice, lat, lon, size, n);
        let hole = star(&mut dice, lat, lon, size * 0.15, 5);
        let with_hole = n > 20;
        let mut rings = vec![ring(&outer)];
        if with_hole {
            rings.push(ring(&hole));
        }
        let Ok(polygon) = make(&rings) else { continue };
        for _ in 0..50 {
            let (x, y) = (lon + dice.within(-1.2, 1.2) * size, lat + dice.within(-1.2, 1.2) * size);
            let expected = even_odd(&outer, x, y) && !(with_hole && even_odd(&hole, x, y));
            let s = polygon.signed_distance_m(&Spot::new(at(y, x)));
            // Closer than a metre to an edge the floats of this test are no judge.
            assert!(s.abs() < 1.0 || (s < 0.0) == expected, "{rings:?} {x} {y} {s}");
        }
    }
}

#[test]
fn the_edge_is_inside_to_the_last_digit() {
    let p = |lat: i32, lon: i32| Position::from_e7(lat, lon).unwrap();
    let turns = [0, 1_799_999_990];
    for turn in turns {
        let shift = |lat: i32, lon: i64| {
            let lon = (lon + turn + 1_800_000_000).rem_euclid(3_600_000_000) - 1_800_000_000;
            p(lat, i32::try_from(lon).unwrap())
        };
        // A slope of 1/3, so that only some grid points lie on it.
        let outer = vec![shift(0, 0), shift(10, 30), shift(40, 30), shift(40, 0)];
        let hole = vec![shift(20, 10), shift(20, 20), shift(30, 10)];
        let area = PreparedArea::new(&polygon(vec![outer, hole])).unwrap();
        let reach = |mode| Reach { radius: Radius::AsDrawn, mode };
        for (lat, lon, expected) in [
            (0, 0, true),
            (1, 3, true),
            (2, 6, true),
            (1, 4, false),
            (1, 2, true),
            (2, 7, false),
            (10, 30, true),
            (25, 30, true),
            (25, 31, false),
            (40, 15, true),
            (41, 15, false),
            (20, 15, true),
            (21, 12, false),
            (25, 15, true),
            (30, 10, true),
            (25, 16, true),
            (31, 10, true),
            (-1, 0, false),
            (20, -1, false),
            (20, 0, true),
            (9, 30, false),
        ] {
            let spot = Spot::new(shift(lat, lon));
            for mode in MODES {
                assert_eq!(area.contains(reach(mode), &spot, 0), expected, "{lat} {lon} {mode:?}");
            }
            assert!(area.contains(reach(Uncertainty::Intersects), &spot, 1), "{lat} {lon}");
            assert!(!area.contains(reach(Uncertainty::Within), &spot, 1), "{lat} {lon}");
        }
    }
}

#[test]
fn a_polygon_contains_what_the_rule_says_of_its_signed_distance() {
    let mut dice = Dice(23);
    let mut seen = [0; 2];
    for _ in 0..150 {
        let (lat, lon) = (dice.within(-50.0, 50.0), dice.within(-180.0, 180.0));
        let size = dice.decades(0.01, 20.0);
        let n = 3 + dice.below(30);
        let corners = star(&mut dice, lat, lon, size, n);
        let Ok(polygon) = make(&[ring(&corners)]) else { continue };
        for _ in 0..20 {
            let spot = Spot::new(at(
                (lat + dice.within(-2.0, 2.0) * size).clamp(-90.0, 90.0),
                lon + dice.within(-2.0, 2.0) * size,
            ));
            let s = polygon.signed_distance_m(&spot);
            let a = dice.below(100_001) as f64;
            let off = dice.decades(1e-3, 1e4) * if dice.below(2) == 0 { 1.0 } else { -1.0 };
            let mode = MODES[dice.below(3)];
            let r = match mode {
                Uncertainty::Intersects => s - a,
                Uncertainty::Centre => s,
                Uncertainty::Within => s + a,
            } + off;
            let r = r.max(0.0);
            let expected = rule(mode, s, a, r);
            seen[usize::from(expected)] += 1;
            assert_eq!(polygon.contains(mode, r, &spot, a), expected, "{corners:?} {spot:?} {s} {r} {a}");
        }
    }
    assert!(seen[0] > 300 && seen[1] > 300, "{seen:?}");
}
