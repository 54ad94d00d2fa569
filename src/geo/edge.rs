//! The distance from a position to edges that are straight in longitude and latitude.
//!
//! Such an edge is no geodesic and may have several nearest points, so the search is branch
//! and bound over pieces of edges, best first within an edge:
//!
//! - A piece lies within `bend h² / 8` of the chord between its ends, `bend` bounding the second
//!   derivative of the edge in space over its parameter, `h` being the piece's share of it. So
//!   the distance to that chord less this is below every point's, and chords bound geodesics
//!   (`geodesic`). Pieces that cannot beat the best by more than the tolerance are dropped.
//! - Far away a chord is a poor measure of the geodesic (3 m at 500 km, 3 km at 5,000). There the
//!   distance along a piece is taken as the cubic that agrees with the geodesic and its slope
//!   (Karney's distance and azimuth) at both ends; it is wrong by at most `h⁴ / 384` of the fourth
//!   derivative, which is bounded from those of the edge and of the distance. A piece is
//!   settled so as soon as that is below the tolerance.
//!
//! The search sees distances up to 9,000 km; what is farther is that far.

use super::geodesic::{
    A_M, E2, FAR_M, R_MAX_M, Spot, Vec3, chord2, dot, ecef, geodesic_to, longest_m, sub,
    surely_farther_chord2,
};
use super::ring::GridEdge;

/// Tolerance of an exact distance, metres.
const EXACT_M: f64 = 0.005;
/// How much farther apart than that two results must be to need no exact one, metres.
const CLEAR_M: f64 = 0.05;
const E7_TO_RAD: f64 = std::f64::consts::PI / 180.0 / 1e7;

/// An edge as a curve: latitude and longitude are linear in a parameter from 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// Start, radians: latitude, longitude.
    from: [f64; 2],
    /// End less start, radians.
    span: [f64; 2],
    /// The ends in space.
    ends: [Vec3; 2],
    /// The middle in space.
    middle: Vec3,
    /// The whole edge lies within this of the middle, metres.
    half_m: f64,
    /// Bound of the first derivative in space, metres.
    speed: f64,
    /// Bound of the second derivative in space, metres.
    bend: f64,
}

impl Curve {
    fn new(edge: &GridEdge) -> Self {
        let [lat, lon] = [edge.lat, edge.lon].map(|ends| ends.map(|e7| e7 as f64 * E7_TO_RAD));
        let from = [lat[0], lon[0]];
        let span = [lat[1] - lat[0], lon[1] - lon[0]];
        let flattest = if lat[0] * lat[1] <= 0.0 { 0.0 } else { lat[0].abs().min(lat[1].abs()) };
        // With latitude f and longitude l: a parallel's radius is at most R cos f, a meridian's
        // R, and R changes along it by at most 1.02 % a radian. So the second derivative is at most
        // l'² R cos f + 2 |l' f'| R + f'² R √(1 + 0.0102²).
        let (d_lat, d_lon) = (span[0].abs(), span[1].abs());
        let wide = d_lon * flattest.cos();
        let speed = R_MAX_M * wide.hypot(d_lat) * 1.000_1;
        let bend = R_MAX_M * (d_lon * wide + 2.0 * d_lon * d_lat + d_lat * d_lat) * 1.000_1;
        let mut curve = Self {
            from,
            span,
            ends: [ecef(lat[0], lon[0]), ecef(lat[1], lon[1])],
            middle: [0.0; 3],
            half_m: speed / 2.0,
            speed,
            bend,
        };
        curve.middle = curve.at(0.5);
        curve
    }

    fn lat_lon(&self, t: f64) -> [f64; 2] {
        [self.from[0] + self.span[0] * t, self.from[1] + self.span[1] * t]
    }

    fn at(&self, t: f64) -> Vec3 {
        let [lat, lon] = self.lat_lon(t);
        ecef(lat, lon)
    }

    /// The geodesic distance from a position to the point at `t`, and its derivative by `t`.
    fn geodesic(&self, spot: &Spot, t: f64) -> (f64, f64) {
        let [lat, lon] = self.lat_lon(t);
        let (s, azimuth) = geodesic_to(spot.position(), lat.to_degrees(), lon.to_degrees());
        let (east, north) = azimuth.sin_cos();
        // The radii of curvature, from WGS-84's a and e².
        let w2 = 1.0 - E2 * lat.sin().powi(2);
        let n = A_M / w2.sqrt();
        let m = n * (1.0 - E2) / w2;
        (s, m * self.span[0] * north + n * lat.cos() * self.span[1] * east)
    }

    /// Bound of the error of the cubic over a share `h` at a distance of at least `far_m`.
    fn cubic_error_m(&self, h: f64, far_m: f64) -> f64 {
        // The fourth derivative of a distance along a curve, by the chain rule: the n-th
        // derivative of the curve is of the order `speed turn^(n-1)`, that of the distance
        // `1 / far^(n-1)`, as in the plane (3 / far³ for the fourth); 4 is for safety.
        let turn = self.span[0].abs() + self.span[1].abs();
        let v = self.speed;
        let r = far_m.min(R_MAX_M);
        let fourth = v * turn.powi(3)
            + 7.0 * (v * turn).powi(2) / r
            + 6.0 * v.powi(3) * turn / (r * r)
            + 3.0 * v.powi(4) / r.powi(3);
        4.0 * fourth * h.powi(4) / 384.0
    }
}

/// The edges of a polygon.
#[derive(Clone, Debug)]
pub(super) struct Curves {
    curves: Vec<Curve>,
    /// All edges lie within `reach_m` of the middle.
    middle: Vec3,
    reach_m: f64,
}

/// How a distance compares with a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compared {
    /// Surely shorter, by more than what an exact distance may be wrong.
    Shorter,
    /// Surely longer.
    Longer,
    /// Too near to tell: the exact distance, metres.
    Exactly(f64),
}

impl Curves {
    /// The memory that it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.curves.capacity() * size_of::<Curve>()
    }

    pub(super) fn new<'a>(edges: impl Iterator<Item = &'a GridEdge>) -> Self {
        let curves: Vec<Curve> = edges.map(Curve::new).collect();
        let mut middle = [0.0; 3];
        for curve in &curves {
            for (sum, x) in middle.iter_mut().zip(curve.middle) {
                *sum += x / curves.len() as f64;
            }
        }
        let reach_m = curves.iter().map(|c| chord2(c.middle, middle).sqrt() + c.half_m).fold(0.0, f64::max);
        Self { curves, middle, reach_m }
    }

    /// The geodesic distance to the nearest point of the edges, metres, to a centimetre.
    pub(super) fn distance_m(&self, spot: &Spot) -> f64 {
        let search = self.search(spot, FAR_M, f64::NEG_INFINITY, EXACT_M);
        match search.best {
            Some((curve, t)) if !search.exact => curve.geodesic(spot, t).0,
            _ => search.best_m,
        }
    }

    /// Compares the distance with a threshold, exactly only where it must.
    pub(super) fn compare(&self, spot: &Spot, threshold_m: f64) -> Compared {
        match self.bracket(spot, threshold_m - CLEAR_M, threshold_m + CLEAR_M, CLEAR_M / 2.0) {
            Compared::Exactly(_) => Compared::Exactly(self.distance_m(spot)),
            decided => decided,
        }
    }

    /// `Shorter` if the distance is surely at most `low_m`, `Longer` if it is more than
    /// `high_m - tolerance_m`; else what is known: a distance that is at most `tolerance_m` too large.
    pub(super) fn bracket(&self, spot: &Spot, low_m: f64, high_m: f64, tolerance_m: f64) -> Compared {
        let found = self.search(spot, high_m.min(FAR_M), low_m, tolerance_m).best_m;
        if found <= low_m {
            Compared::Shorter
        } else if found >= high_m {
            Compared::Longer
        } else {
            Compared::Exactly(found)
        }
    }

    fn search<'a>(&'a self, spot: &'a Spot, cap_m: f64, enough_m: f64, tolerance_m: f64) -> Search<'a> {
        let mut search = Search {
            spot,
            tolerance_m,
            enough_m,
            best_m: cap_m,
            best: None,
            exact: false,
            cut: surely_farther_chord2(cap_m - tolerance_m),
        };
        let to_middle = chord2(spot.ecef(), self.middle).sqrt();
        if search.is_cut(to_middle - self.reach_m) {
            return search;
        }
        // The edge whose middle is nearest gives a first best that spares most others a look.
        let nearest =
            self.curves.iter().map(|c| (chord2(spot.ecef(), c.middle), c)).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((c2, curve)) = nearest {
            search.offer(longest_m(c2.sqrt()), curve, 0.5, false);
            search.piece(curve, 0.0, 1.0, curve.ends);
        }
        for curve in &self.curves {
            if !search.is_cut(chord2(spot.ecef(), curve.middle).sqrt() - curve.half_m) {
                search.piece(curve, 0.0, 1.0, curve.ends);
            }
        }
        search
    }
}

/// A search under way. When it ends, no point is nearer than `best_m - tolerance_m`, unless
/// `best_m <= enough_m`.
struct Search<'a> {
    spot: &'a Spot,
    tolerance_m: f64,
    enough_m: f64,
    /// A point of the edges is at most this far, or it is the cap.
    best_m: f64,
    /// That point; none if it is the cap.
    best: Option<(&'a Curve, f64)>,
    /// Whether `best_m` is that point's geodesic distance, not a bound of it.
    exact: bool,
    /// Pieces with a larger squared chord cannot be better by more than the tolerance.
    cut: f64,
}

impl<'a> Search<'a> {
    fn is_cut(&self, chord_m: f64) -> bool {
        self.best_m <= self.enough_m || (chord_m > 0.0 && chord_m * chord_m > self.cut)
    }

    fn offer(&mut self, s_m: f64, curve: &'a Curve, t: f64, exact: bool) {
        if s_m < self.best_m {
            self.best_m = s_m;
            self.best = Some((curve, t));
            self.exact = exact;
            self.cut = surely_farther_chord2(s_m - self.tolerance_m);
        }
    }

    /// Searches the piece `[t, t + h]` between two points in space. Each level halves `h`, and
    /// `bend` is below 2e8 m, so it goes at most 20 levels deep for a tolerance of 1 mm.
    fn piece(&mut self, curve: &'a Curve, t: f64, h: f64, ends: [Vec3; 2]) {
        let bulge = curve.bend * h * h / 8.0;
        let (to_chord, along) = to_segment(self.spot.ecef(), ends);
        let nearest = to_chord - bulge;
        if self.is_cut(nearest) {
            return;
        }
        let foot = t + h * along;
        let foot_m = longest_m(chord2(self.spot.ecef(), curve.at(foot)).sqrt());
        self.offer(foot_m, curve, foot, false);
        if self.is_cut(nearest) {
            return;
        }
        if nearest > 0.0 {
            let error = curve.cubic_error_m(h, nearest);
            if error <= self.tolerance_m / 4.0 {
                self.settle(curve, t, h, error);
                return;
            }
        }
        if bulge <= self.tolerance_m / 4.0 {
            return;
        }
        let half = h / 2.0;
        let middle = curve.at(t + half);
        let west = (t, [ends[0], middle]);
        let east = (t + half, [middle, ends[1]]);
        let order = if along < 0.5 { [west, east] } else { [east, west] };
        for (t, ends) in order {
            self.piece(curve, t, half, ends);
        }
    }

    /// Takes the piece's distance as a cubic that is wrong by at most `error_m`.
    fn settle(&mut self, curve: &'a Curve, t: f64, h: f64, error_m: f64) {
        let (start, start_slope) = curve.geodesic(self.spot, t);
        let (end, end_slope) = curve.geodesic(self.spot, t + h);
        self.offer(start, curve, t, true);
        self.offer(end, curve, t + h, true);
        let (u, low) = cubic_minimum(start, start_slope * h, end, end_slope * h);
        if low - error_m < self.best_m - self.tolerance_m / 2.0 {
            let t = t + h * u;
            self.offer(curve.geodesic(self.spot, t).0, curve, t, true);
        }
    }
}

/// The distance from a point to the straight line between two others, and where on it from 0 to 1.
fn to_segment(p: Vec3, [a, b]: [Vec3; 2]) -> (f64, f64) {
    let ab = sub(b, a);
    let ap = sub(p, a);
    let length2 = dot(ab, ab);
    let along = if length2 > 0.0 { (dot(ap, ab) / length2).clamp(0.0, 1.0) } else { 0.0 };
    let foot = [a[0] + ab[0] * along, a[1] + ab[1] * along, a[2] + ab[2] * along];
    (chord2(p, foot).sqrt(), along)
}

/// Where in [0, 1] the cubic with these values and slopes at 0 and 1 is smallest, and how small.
fn cubic_minimum(y0: f64, d0: f64, y1: f64, d1: f64) -> (f64, f64) {
    let b = 3.0 * (y1 - y0) - 2.0 * d0 - d1;
    let a = d0 + d1 - 2.0 * (y1 - y0);
    let value = |u: f64| y0 + u * (d0 + u * (b + u * a));
    let mut best = if y0 <= y1 { (0.0, y0) } else { (1.0, y1) };
    // Roots of 3 a u² + 2 b u + d0, without cancellation.
    let disc = b * b - 3.0 * a * d0;
    if disc >= 0.0 {
        let q = -(b + disc.sqrt().copysign(b));
        for u in [q / (3.0 * a), d0 / q] {
            if u > 0.0 && u < 1.0 && value(u) < best.1 {
                best = (u, value(u));
            }
        }
    }
    best
}
