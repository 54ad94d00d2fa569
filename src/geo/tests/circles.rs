//! Circles: chord bounds against Karney.

use super::super::geodesic::{chord2, longest_m, surely_farther_chord2, surely_nearer_chord2};
use super::*;

/// Every pair says of every threshold what its distance says: as the bounds increase with the
/// threshold, the pair's own distance is the hardest threshold.
#[test]
fn chords_never_decide_against_the_geodesic() {
    let mut dice = Dice(1);
    for i in 0..250_000 {
        let a = dice.anywhere();
        let s = dice.decades(0.1, 5_300_000.0);
        // Along meridians and parallels curvature is extreme, between them torsion.
        let azimuth = if i % 3 == 0 { 45.0 * dice.below(8) as f64 } else { dice.within(-180.0, 180.0) };
        let b = go(a, azimuth, s);
        let s = geodesic_m(a, b);
        let c2 = chord2(Spot::new(a).ecef(), Spot::new(b).ecef());
        assert!(c2 >= surely_nearer_chord2(s), "{a:?} {b:?} {s}");
        assert!(c2 <= surely_farther_chord2(s), "{a:?} {b:?} {s}");
        assert!(longest_m(c2.sqrt()) >= s, "{a:?} {b:?} {s}");
        // And the ring they leave is thin: some metres at 500 km, some kilometres at 5,000.
        let ring = 0.003 + 3.0 * (s / 5e5).powi(3);
        assert!(c2 < surely_nearer_chord2(s + ring), "{a:?} {b:?} {s}");
        assert!(s < ring || c2 > surely_farther_chord2(s - ring), "{a:?} {b:?} {s}");
    }
}

#[test]
fn chord_bounds_increase_and_hold_to_the_other_side_of_the_earth() {
    let mut last = (-2.0, -2.0);
    for i in -10..30_000 {
        let t = f64::from(i) * 1_000.0;
        let now = (surely_nearer_chord2(t), surely_farther_chord2(t));
        assert!(now.0 >= last.0 && now.1 >= last.1, "{t}");
        last = now;
    }
    // What is no number decides nothing.
    assert!(surely_nearer_chord2(f64::NAN) < 0.0 && surely_farther_chord2(f64::NAN).is_nan());
    let mut dice = Dice(2);
    for _ in 0..50_000 {
        let (a, b) = (dice.anywhere(), dice.anywhere());
        let s = geodesic_m(a, b);
        let c2 = chord2(Spot::new(a).ecef(), Spot::new(b).ecef());
        assert!(c2 >= surely_nearer_chord2(s) && c2 <= surely_farther_chord2(s), "{a:?} {b:?} {s}");
        assert!(longest_m(c2.sqrt()) >= s, "{a:?} {b:?} {s}");
    }
}

#[test]
fn a_circle_contains_what_the_rule_says_at_every_distance() {
    let mut dice = Dice(3);
    let mut seen = [0; 2];
    for _ in 0..30_000 {
        let centre = dice.anywhere();
        let r = dice.decades(1.0, 5_000_000.0);
        let a = if dice.below(3) == 0 { 0 } else { dice.below(100_001) as u32 };
        let mode = MODES[dice.below(3)];
        let edge = match mode {
            Uncertainty::Intersects => r + f64::from(a),
            Uncertainty::Centre => r,
            Uncertainty::Within => r - f64::from(a),
        };
        let off = dice.decades(1e-4, 1e5) * if dice.below(2) == 0 { 1.0 } else { -1.0 };
        let p = go(centre, dice.within(-180.0, 180.0), (edge + off).max(0.0));
        let expected = rule(mode, geodesic_m(centre, p), f64::from(a), r);
        seen[usize::from(expected)] += 1;
        let reach = Reach { radius: Radius::Metres(r), mode };
        let area = PreparedArea::circle(centre);
        assert_eq!(area.contains(reach, &Spot::new(p), a), expected, "{centre:?} {p:?} {r} {a} {mode:?}");
    }
    assert!(seen[0] > 5_000 && seen[1] > 5_000, "{seen:?}");
}

#[test]
fn the_geodesic_is_karneys() {
    // JFK to LHR, as the documentation of GeographicLib's GeodSolve prints it.
    let s = geodesic_m(at(40.6, -73.8), at(51.6, -0.5));
    assert!((s - 5_551_759.400).abs() < 0.001, "{s}");
    // Half a meridian, from the ellipsoid's second integral.
    let s = geodesic_m(at(90.0, 0.0), at(-90.0, 0.0));
    assert!((s - 20_003_931.458_6).abs() < 0.001, "{s}");
    assert_eq!(geodesic_m(at(5.0, 180.0), at(5.0, -180.0)), 0.0);
}
