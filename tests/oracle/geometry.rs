//! Positions, geodesics and polygons, read naively from the rules.
//!
//! Polygons: exact integers decide what is inside, on an edge or impossible; distance is found by
//! sampling every edge densely and closing in on each dip. Nothing here is shared with the crate.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use geographiclib_rs::{DirectGeodesic, Geodesic, InverseGeodesic};

use super::Reason;

/// A full turn, 1e-7 degree.
const TURN: i64 = 3_600_000_000;
/// Half a turn, 1e-7 degree.
const HALF: i64 = TURN / 2;
/// More than any degree of latitude, or of longitude on the equator, metres.
const DEGREE_M: f64 = 111_800.0;

/// A position in 1e-7 degree; longitude 180 is held as -180.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pos {
    pub(crate) lat: i64,
    pub(crate) lon: i64,
}

impl Pos {
    /// Range first, then rounding, ties away from zero; `None` where impossible.
    pub(crate) fn from_degrees(lat: f64, lon: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
            return None;
        }
        Some(Self::wrapped((lat * 1e7).round() as i64, (lon * 1e7).round() as i64))
    }

    /// From units, any longitude.
    pub(crate) fn wrapped(lat: i64, lon: i64) -> Self {
        Self { lat, lon: (lon + HALF).rem_euclid(TURN) - HALF }
    }

    pub(crate) fn lat_deg(self) -> f64 {
        self.lat as f64 / 1e7
    }

    pub(crate) fn lon_deg(self) -> f64 {
        self.lon as f64 / 1e7
    }

    /// The geodesic distance, metres.
    pub(crate) fn distance_m(self, other: Self) -> f64 {
        distance_m(self.lat_deg(), self.lon_deg(), other.lat_deg(), other.lon_deg())
    }

    /// The position `metres` away in the direction `azimuth` (degrees), rounded to the grid.
    pub(crate) fn moved(self, azimuth: f64, metres: f64) -> Self {
        let (lat, lon): (f64, f64) =
            Geodesic::wgs84().direct(self.lat_deg(), self.lon_deg(), azimuth, metres);
        Self::wrapped((lat.clamp(-90.0, 90.0) * 1e7).round() as i64, (lon * 1e7).round() as i64)
    }
}

fn distance_m(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    thread_local!(static WGS84: Geodesic = Geodesic::wgs84());
    WGS84.with(|wgs84| wgs84.inverse(lat1, lon1, lat2, lon2))
}

/// A point of the plane of unrolled longitude (x) and latitude (y), 1e-7 degree.
type Point = (i64, i64);

/// Where a position lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Inside,
    Edge,
    Outside,
}

/// A possible polygon: the outer ring, then holes, unrolled, not closed, all in one plane.
#[derive(Debug)]
pub(crate) struct Polygon {
    rings: Vec<Vec<Point>>,
    known: RefCell<HashMap<Pos, f64>>,
}

impl Polygon {
    /// Checks a polygon as drawn.
    pub(crate) fn new(drawn: &[Vec<Pos>]) -> Result<Self, Reason> {
        let mut corners = 0;
        let mut rings = Vec::new();
        for ring in drawn {
            let mut ring = ring.clone();
            if ring.len() > 1 && ring.first() == ring.last() {
                ring.pop();
            }
            corners += ring.len();
            ring.dedup();
            while ring.len() > 1 && ring.first() == ring.last() {
                ring.pop();
            }
            if ring.iter().collect::<BTreeSet<_>>().len() < 3 {
                return Err(Reason::FewCorners);
            }
            if ring.iter().any(|corner| corner.lat.abs() == 900_000_000) {
                return Err(Reason::Pole);
            }
            rings.push(unroll(&ring)?);
        }
        if rings.is_empty() {
            return Err(Reason::FewCorners);
        }
        if corners > 1_000 {
            return Err(Reason::ManyCorners);
        }
        check_contacts(&rings)?;
        let (outer, holes) = rings.split_at_mut(1);
        for hole in holes.iter_mut() {
            let turn = (-2..=2).find(|turn| is_within(&shifted(hole, *turn), &outer[0]));
            *hole = shifted(hole, turn.ok_or(Reason::HoleOutside)?);
        }
        for (i, one) in holes.iter().enumerate() {
            if holes.iter().enumerate().any(|(j, other)| i != j && is_within(one, other)) {
                return Err(Reason::Crossing);
            }
        }
        Ok(Self { rings, known: RefCell::default() })
    }

    pub(crate) fn has_hole(&self) -> bool {
        self.rings.len() > 1
    }

    /// Exact: an edge is inside, a hole is outside.
    pub(crate) fn side(&self, pos: Pos) -> Side {
        for turn in -2..=2 {
            let point = (pos.lon + turn * TURN, pos.lat);
            let sides: Vec<Side> = self.rings.iter().map(|ring| side(point, ring)).collect();
            if sides.contains(&Side::Edge) {
                return Side::Edge;
            }
            if sides[0] == Side::Inside && !sides[1..].contains(&Side::Inside) {
                return Side::Inside;
            }
        }
        Side::Outside
    }

    /// The signed distance, metres: exact in its sign and at 0, else to about a centimetre.
    pub(crate) fn signed_distance_m(&self, pos: Pos) -> f64 {
        if let Some(s) = self.known.borrow().get(&pos) {
            return *s;
        }
        let s = match self.side(pos) {
            Side::Edge => 0.0,
            Side::Inside => -self.distance_to_edges_m(pos),
            Side::Outside => self.distance_to_edges_m(pos).max(f64::MIN_POSITIVE),
        };
        self.known.borrow_mut().insert(pos, s);
        s
    }

    fn distance_to_edges_m(&self, pos: Pos) -> f64 {
        let mut best = f64::INFINITY;
        // Dips to close in on: the edge, the samples beside the dip, its value, the samples' spacing.
        let mut dips = Vec::new();
        for edge in self.rings.iter().flat_map(|ring| edges(ring)) {
            let degrees = f64::hypot((edge.1.0 - edge.0.0) as f64, (edge.1.1 - edge.0.1) as f64) / 1e7;
            let n = ((degrees * 4.0).ceil() as usize).clamp(12, 800);
            let spacing_m = degrees * DEGREE_M / n as f64;
            let at = |i: usize| along_m(edge, i as f64 / n as f64, pos);
            let samples: Vec<f64> = (0..=n).map(at).collect();
            for (i, &here) in samples.iter().enumerate() {
                best = best.min(here);
                let before = if i == 0 { f64::INFINITY } else { samples[i - 1] };
                let after = samples.get(i + 1).copied().unwrap_or(f64::INFINITY);
                if here <= before && here <= after {
                    let low = i.saturating_sub(1) as f64 / n as f64;
                    let high = (i + 1).min(n) as f64 / n as f64;
                    dips.push((edge, low, high, here, spacing_m));
                }
            }
        }
        for (edge, low, high, here, spacing_m) in dips {
            // Moving by a spacing cannot shorten the distance by more than a spacing.
            if here - spacing_m <= best {
                best = best.min(golden_section_m(edge, low, high, spacing_m, pos));
            }
        }
        best
    }

    /// All corners, for those who want to place something near them.
    pub(crate) fn edges(&self) -> Vec<(Point, Point)> {
        self.rings.iter().flat_map(|ring| edges(ring)).collect()
    }
}

/// Distance from `pos` to the point at `share` of the edge.
fn along_m((a, b): (Point, Point), share: f64, pos: Pos) -> f64 {
    let mix = |from: i64, to: i64| (from as f64 + share * (to - from) as f64) / 1e7;
    distance_m(mix(a.1, b.1), mix(a.0, b.0), pos.lat_deg(), pos.lon_deg())
}

/// The least distance between two shares of an edge, where it dips once.
fn golden_section_m(edge: (Point, Point), mut low: f64, mut high: f64, spacing_m: f64, pos: Pos) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let steps = (2.0 * spacing_m / 0.002).max(1.0).log(1.0 / ratio).ceil() as usize + 1;
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (along_m(edge, left, pos), along_m(edge, right, pos));
    let mut best = at_left.min(at_right);
    for _ in 0..steps {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = along_m(edge, left, pos);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = along_m(edge, right, pos);
        }
        best = best.min(at_left).min(at_right);
    }
    best
}

/// Unrolls a ring: each edge goes the short way round.
fn unroll(ring: &[Pos]) -> Result<Vec<Point>, Reason> {
    let mut x = ring[0].lon;
    let mut points = vec![(x, ring[0].lat)];
    for i in 0..ring.len() {
        let next = ring[(i + 1) % ring.len()];
        let step = (next.lon - ring[i].lon + HALF).rem_euclid(TURN) - HALF;
        if step == -HALF {
            return Err(Reason::HalfTurn);
        }
        x += step;
        points.push((x, next.lat));
    }
    // The last point closes the ring: not where it began means a turn around a pole.
    if points.pop().map(|p| p.0) != Some(ring[0].lon) {
        return Err(Reason::Pole);
    }
    Ok(points)
}

fn shifted(ring: &[Point], turn: i64) -> Vec<Point> {
    ring.iter().map(|p| (p.0 + turn * TURN, p.1)).collect()
}

fn edges(ring: &[Point]) -> Vec<(Point, Point)> {
    (0..ring.len()).map(|i| (ring[i], ring[(i + 1) % ring.len()])).collect()
}

fn minus(a: Point, b: Point) -> Point {
    (a.0 - b.0, a.1 - b.1)
}

fn cross(a: Point, b: Point) -> i128 {
    i128::from(a.0) * i128::from(b.1) - i128::from(a.1) * i128::from(b.0)
}

fn dot(a: Point, b: Point) -> i128 {
    i128::from(a.0) * i128::from(b.0) + i128::from(a.1) * i128::from(b.1)
}

/// On which side of the line a-b the point p lies: 1 left, -1 right, 0 on it.
fn turn_of(a: Point, b: Point, p: Point) -> i128 {
    cross(minus(b, a), minus(p, a)).signum()
}

/// Whether p lies on the segment, ends included.
fn is_on(p: Point, (a, b): (Point, Point)) -> bool {
    turn_of(a, b, p) == 0 && dot(minus(p, a), minus(p, b)) <= 0
}

fn side(p: Point, ring: &[Point]) -> Side {
    let mut inside = false;
    for (a, b) in edges(ring) {
        if is_on(p, (a, b)) {
            return Side::Edge;
        }
        // A ray to the east: an edge counts where it passes the ray's latitude, its lower end
        // included and its upper end not.
        if (a.1 <= p.1) != (b.1 <= p.1) {
            let (low, high) = if a.1 < b.1 { (a, b) } else { (b, a) };
            if turn_of(low, high, p) > 0 {
                inside = !inside;
            }
        }
    }
    if inside { Side::Inside } else { Side::Outside }
}

/// Whether a ring that neither crosses nor runs along the other lies inside it: the first of its
/// corners, midpoints and quarter points that is off the other's edges decides.
fn is_within(ring: &[Point], other: &[Point]) -> bool {
    let other: Vec<Point> = other.iter().map(|p| (4 * p.0, 4 * p.1)).collect();
    for quarter in [0, 2, 1, 3] {
        for (a, b) in edges(ring) {
            let point = (4 * a.0 + quarter * (b.0 - a.0), 4 * a.1 + quarter * (b.1 - a.1));
            match side(point, &other) {
                Side::Inside => return true,
                Side::Outside => return false,
                Side::Edge => {}
            }
        }
    }
    false
}

/// Rings may touch themselves and each other in points, nothing more.
fn check_contacts(rings: &[Vec<Point>]) -> Result<(), Reason> {
    // Every edge of every ring, and the same a turn or two away.
    let mut all = Vec::new();
    for ring in rings {
        for turn in -2..=2 {
            let moved = shifted(ring, turn);
            let n = moved.len();
            for i in 0..n {
                all.push((turn, moved[(i + n - 1) % n], moved[i], moved[(i + 1) % n]));
            }
        }
    }
    let here: Vec<_> = all.iter().filter(|(turn, ..)| *turn == 0).copied().collect();
    for (_, _, a, b) in &here {
        for (_, _, c, d) in &all {
            if (a, b) != (c, d) && far_apart((*a, *b), (*c, *d)) {
                continue;
            }
            let (abc, abd) = (turn_of(*a, *b, *c), turn_of(*a, *b, *d));
            let (cda, cdb) = (turn_of(*c, *d, *a), turn_of(*c, *d, *b));
            if abc * abd < 0 && cda * cdb < 0 {
                return Err(Reason::Crossing);
            }
            // On one line: more than a point in common is running along. Edges are known by
            // their ends; two edges with the same ends in the same order are one only by number.
            if abc == 0 && abd == 0 && (a, b) != (c, d) {
                let u = minus(*b, *a);
                let (s, t) = (dot(minus(*c, *a), u), dot(minus(*d, *a), u));
                if s.max(t) > 0 && s.min(t) < dot(u, u) {
                    return Err(Reason::Crossing);
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (_, _, a, b) in &here {
        if !seen.insert((a, b)) {
            return Err(Reason::Crossing);
        }
    }
    // Where chains touch in a point, none may pass through the other.
    for (_, _, p, _) in &here {
        let mut passes = Vec::new();
        for (_, before, corner, after) in &all {
            if corner == p {
                passes.push((minus(*before, *p), minus(*after, *p)));
            } else if after != p && is_on(*p, (*corner, *after)) {
                passes.push((minus(*corner, *p), minus(*after, *p)));
            }
        }
        for (i, one) in passes.iter().enumerate() {
            for other in &passes[..i] {
                if is_between(*one, other.0) != is_between(*one, other.1) {
                    return Err(Reason::Crossing);
                }
            }
        }
    }
    Ok(())
}

fn far_apart((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    a.0.max(b.0) < c.0.min(d.0)
        || c.0.max(d.0) < a.0.min(b.0)
        || a.1.max(b.1) < c.1.min(d.1)
        || c.1.max(d.1) < a.1.min(b.1)
}

/// Whether `v` points into the sector that runs anticlockwise from the first arm to the second.
fn is_between(arms: (Point, Point), v: Point) -> bool {
    // 0: along the first arm, 1: in the half turn left of it, 2: against it, 3: right of it.
    let quadrant = |v: Point| match (cross(arms.0, v).signum(), dot(arms.0, v) > 0) {
        (0, true) => 0,
        (1, _) => 1,
        (0, false) => 2,
        _ => 3,
    };
    let (of_v, of_end) = (quadrant(v), quadrant(arms.1));
    of_v < of_end || (of_v == of_end && cross(v, arms.1) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(degrees: &[(f64, f64)]) -> Vec<Pos> {
        degrees.iter().map(|(lon, lat)| Pos::from_degrees(*lat, *lon).unwrap()).collect()
    }

    fn verdict(rings: &[&[(f64, f64)]]) -> Option<Reason> {
        Polygon::new(&rings.iter().map(|r| ring(r)).collect::<Vec<_>>()).err()
    }

    const SQUARE: &[(f64, f64)] = &[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)];

    #[test]
    fn impossible_polygons_are_told_from_possible_ones() {
        for (rings, expected) in [
            (&[SQUARE][..], None),
            (&[&[(179.0, 0.0), (-179.0, 0.0), (-179.0, 1.0), (179.0, 1.0), (179.0, 0.0)]], None),
            (&[&[(0.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 4.0)]], Some(Reason::Crossing)),
            // A spike, a ring run twice, three corners on a line.
            (&[&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (6.0, 6.0), (4.0, 4.0)]], Some(Reason::Crossing)),
            (
                &[&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 0.0), (4.0, 0.0), (4.0, 4.0)]],
                Some(Reason::Crossing),
            ),
            (&[&[(0.0, 0.0), (1.0, 1.0), (3.0, 3.0)]], Some(Reason::Crossing)),
            // Touching itself in a corner; passing through itself in a corner.
            (&[&[(0.0, 0.0), (2.0, 2.0), (4.0, 0.0), (4.0, 4.0), (2.0, 2.0), (0.0, 4.0)]], None),
            (
                &[&[(0.0, 0.0), (2.0, 2.0), (4.0, 4.0), (4.0, 0.0), (2.0, 2.0), (0.0, 4.0)]],
                Some(Reason::Crossing),
            ),
            // A corner on an edge's middle: from within, and through it.
            (&[&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 0.0), (0.0, 4.0)]], None),
            (&[&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 0.0), (1.0, -1.0)]], Some(Reason::Crossing)),
            // Holes: inside, touching in a corner, along an edge, crossing, outside, around.
            (&[SQUARE, &[(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)]], None),
            (&[SQUARE, &[(0.0, 0.0), (2.0, 1.0), (2.0, 2.0)]], None),
            (&[SQUARE, &[(1.0, 0.0), (2.0, 0.0), (2.0, 2.0)]], Some(Reason::Crossing)),
            (&[SQUARE, &[(1.0, 1.0), (6.0, 1.0), (2.0, 2.0)]], Some(Reason::Crossing)),
            (&[SQUARE, &[(5.0, 1.0), (6.0, 1.0), (6.0, 2.0)]], Some(Reason::HoleOutside)),
            (&[&[(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)], SQUARE], Some(Reason::HoleOutside)),
            (
                &[SQUARE, &[(1.0, 1.0), (3.0, 1.0), (3.0, 3.0)], &[(2.0, 1.5), (2.5, 1.5), (2.5, 2.0)]],
                Some(Reason::Crossing),
            ),
            (&[&[(0.0, 80.0), (120.0, 80.0), (-120.0, 80.0)]], Some(Reason::Pole)),
            (&[&[(0.0, 80.0), (10.0, 80.0), (5.0, 90.0)]], Some(Reason::Pole)),
            (&[&[(0.0, 0.0), (180.0, 0.0), (90.0, 10.0)]], Some(Reason::HalfTurn)),
            (&[&[(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)]], Some(Reason::FewCorners)),
        ] {
            assert_eq!(verdict(rings), expected, "{rings:?}");
        }
    }

    #[test]
    fn sides_are_exact_to_the_last_unit() {
        let drawn = [ring(SQUARE), ring(&[(1.0, 1.0), (1.0, 2.0), (2.0, 2.0), (2.0, 1.0)])];
        let polygon = Polygon::new(&drawn).unwrap();
        let at = |lon, lat| polygon.side(Pos::wrapped(lat, lon));
        assert_eq!(at(0, 0), Side::Edge);
        assert_eq!(at(-1, 0), Side::Outside);
        assert_eq!(at(20_000_000, 1), Side::Inside);
        assert_eq!(at(10_000_000, 15_000_000), Side::Edge);
        assert_eq!(at(10_000_001, 15_000_000), Side::Outside);
        assert_eq!(at(9_999_999, 15_000_000), Side::Inside);
        let over =
            Polygon::new(&[ring(&[(179.0, -1.0), (-179.0, -1.0), (-179.0, 1.0), (179.0, 1.0)])]).unwrap();
        assert_eq!(over.side(Pos::wrapped(0, HALF)), Side::Inside);
        assert_eq!(over.side(Pos::wrapped(0, 0)), Side::Outside);
        assert_eq!(over.side(Pos::wrapped(10_000_000, -HALF)), Side::Edge);
    }

    #[test]
    fn distances_agree_with_what_is_known_of_meridians_and_the_equator() {
        let polygon = Polygon::new(&[ring(SQUARE)]).unwrap();
        // South of the equator's edge the nearest point is due north, half a degree away: the
        // meridian arc from 0 to 0.5 degree is 55,287.15 m on WGS-84.
        let s = polygon.signed_distance_m(Pos::from_degrees(-0.5, 2.3).unwrap());
        assert!((s - 55_287.15).abs() < 0.02, "{s}");
        // Inside, near the edge along the meridian of 0: across, at 1 N, a little less than
        // a thousandth of a degree of the parallel.
        let s = polygon.signed_distance_m(Pos::from_degrees(1.0, 0.001).unwrap());
        let parallel = Pos::wrapped(10_000_000, 0).distance_m(Pos::wrapped(10_000_000, 10_000));
        assert!((s + parallel).abs() < 0.01, "{s} {parallel}");
        assert_eq!(polygon.signed_distance_m(Pos::from_degrees(0.0, 2.0).unwrap()), 0.0);
    }

    #[test]
    fn the_search_finds_what_ten_thousand_samples_find() {
        let drawn = ring(&[(-60.0, 70.0), (80.0, 55.0), (90.0, 75.0), (10.0, 66.0), (-50.0, 80.0)]);
        let polygon = Polygon::new(&[drawn]).unwrap();
        for (lat, lon) in
            [(85.0, 20.0), (60.0, 10.0), (-40.0, -150.0), (66.0, -30.0), (89.9, 0.0), (62.9, 6.0)]
        {
            let pos = Pos::from_degrees(lat, lon).unwrap();
            let mut best = f64::INFINITY;
            for edge in polygon.edges() {
                for i in 0..=10_000 {
                    best = best.min(along_m(edge, f64::from(i) / 10_000.0, pos));
                }
            }
            let found = polygon.signed_distance_m(pos).abs();
            // A sample lies within 800 m of the nearest point, so it is at most so much farther.
            assert!(found <= best + 0.01 && found > best - 800.0, "{found} {best}");
            let close = best - found;
            assert!(close < 0.5 || best < 20_000.0, "{found} {best}");
        }
    }
}
