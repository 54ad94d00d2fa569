//! Geodesic distance, and what a straight line through the earth proves about it.
//!
//! The distance is Karney's (*Algorithms for geodesics*, J. Geodesy 2013); it takes about a
//! microsecond. A chord takes nanoseconds and decides all but a thin ring:
//!
//! Seen as a curve in space, a geodesic's curvature is the surface's normal curvature in its
//! direction, which lies between `1/R_MAX` and `1/R_MIN`, the largest and smallest radius of
//! curvature of the ellipsoid (`a²/b` at the poles, `b²/a` along the meridian at the equator).
//!
//! - Its chord is *at least* that of the circle of radius `R_MIN` with the same length `s`,
//!   `2 R_MIN sin(s / 2 R_MIN)` (Schur's comparison theorem, which allows torsion).
//! - Its chord is *at most* `c² <= (2 R_MAX sin(s / 2 R_MAX))² + τ² s⁴ / 12`, `τ` bounding its
//!   torsion. For `c²` is the double integral of `T(u)·T(v)`. Without torsion the curve is plane,
//!   turns by at least `|u-v| / R_MAX`, and the integral is the square of the circle's chord.
//!   Torsion feeds at most `τ |u-v|` of the tangent into the binormal and so takes at most
//!   `τ² (u-v)² / 2` from the plane motion; its double integral is `τ² s⁴ / 12`. A geodesic's
//!   torsion is `(k1 - k2) sin θ cos θ`, at most half the largest difference of the principal
//!   curvatures, `e² / (1 - e²) / a` at the equator.
//!
//! Both are used for `s` up to 9,000 km, where they increase with `s`. The sines are cut off
//! series with the error on the safe side. A millimetre of margin covers the arithmetic
//! (below 0.1 µm) and Karney's own error (15 nm).

use std::sync::LazyLock;

use geographiclib_rs::{Geodesic, InverseGeodesic};

use crate::domain::Position;

/// Equatorial radius, metres (WGS-84).
pub(super) const A_M: f64 = 6_378_137.0;
/// Flattening (WGS-84).
const F: f64 = 1.0 / 298.257_223_563;
/// First eccentricity squared.
pub(super) const E2: f64 = F * (2.0 - F);
/// Below the smallest radius of curvature, metres: `b²/a` is 6,335,439.327.
pub(super) const R_MIN_M: f64 = 6_335_439.0;
/// Above the largest radius of curvature, metres: `a²/b` is 6,399,593.626.
pub(super) const R_MAX_M: f64 = 6_399_594.0;
/// Above `τ² / 12`, with `τ` = 5.2834e-10 per metre.
const TORSION: f64 = 2.33e-20;
/// No question is asked about distances beyond this, metres; chords decide nothing there.
pub(super) const FAR_M: f64 = 9_000_000.0;
/// Longer than every geodesic, metres: half a meridian is 20,003,931.46.
const LONGEST_M: f64 = 20_004_000.0;
/// What arithmetic and rounding may be wrong by, with much to spare, metres.
const MARGIN_M: f64 = 1e-3;

static WGS84: LazyLock<Geodesic> = LazyLock::new(|| Geodesic::new(A_M, F));

/// The geodesic distance between two positions on WGS-84, metres.
pub fn geodesic_m(a: Position, b: Position) -> f64 {
    WGS84.inverse(a.lat_deg(), a.lon_deg(), b.lat_deg(), b.lon_deg())
}

/// The geodesic distance in metres to a point given in degrees, and the azimuth (radians) with
/// which the geodesic arrives there.
pub(super) fn geodesic_to(a: Position, lat_deg: f64, lon_deg: f64) -> (f64, f64) {
    let (s, _, azimuth, _): (f64, f64, f64, f64) = WGS84.inverse(a.lat_deg(), a.lon_deg(), lat_deg, lon_deg);
    (s, azimuth.to_radians())
}

/// A point or vector in space, earth-centred, metres.
pub(super) type Vec3 = [f64; 3];

pub(super) fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The square of the distance through the earth, m².
pub(super) fn chord2(a: Vec3, b: Vec3) -> f64 {
    let d = sub(a, b);
    dot(d, d)
}

/// A point of the ellipsoid, from radians.
pub(super) fn ecef(lat: f64, lon: f64) -> Vec3 {
    let (sin_lat, cos_lat) = lat.sin_cos();
    let (sin_lon, cos_lon) = lon.sin_cos();
    let n = A_M / (1.0 - E2 * sin_lat * sin_lat).sqrt();
    [n * cos_lat * cos_lon, n * cos_lat * sin_lon, n * (1.0 - E2) * sin_lat]
}

/// A position together with its place in space, which costs two sines to find.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    position: Position,
    ecef: Vec3,
}

impl Spot {
    /// Finds a position's place in space.
    pub fn new(position: Position) -> Self {
        Self { position, ecef: ecef(position.lat_deg().to_radians(), position.lon_deg().to_radians()) }
    }

    /// The position.
    pub fn position(&self) -> Position {
        self.position
    }

    pub(super) fn ecef(&self) -> Vec3 {
        self.ecef
    }
}

/// A squared chord below which the geodesic is surely shorter than `s_m`; negative (so that no
/// chord is) for a small, negative or impossible `s_m`.
pub(super) fn surely_nearer_chord2(s_m: f64) -> f64 {
    if s_m.is_nan() {
        return -1.0;
    }
    let s = s_m.min(FAR_M);
    let x = s / (2.0 * R_MIN_M);
    let y = x * x;
    let chord = s * (1.0 - y / 6.0 * (1.0 - y / 20.0 * (1.0 - y / 42.0))) - MARGIN_M;
    if chord > 0.0 { chord * chord } else { -1.0 }
}

/// A squared chord above which the geodesic is surely longer than `s_m`; negative for a
/// negative `s_m`, infinite beyond [`FAR_M`].
pub(super) fn surely_farther_chord2(s_m: f64) -> f64 {
    if s_m < 0.0 {
        return -1.0;
    }
    if s_m > FAR_M {
        return f64::INFINITY;
    }
    let x = s_m / (2.0 * R_MAX_M);
    let y = x * x;
    let plane = s_m * (1.0 - y / 6.0 * (1.0 - y / 20.0 * (1.0 - y / 42.0 * (1.0 - y / 72.0))));
    let s2 = s_m * s_m;
    let chord = (plane * plane + TORSION * s2 * s2).sqrt() + MARGIN_M;
    chord * chord
}

/// The longest that a geodesic with this chord can be, metres.
pub(super) fn longest_m(chord_m: f64) -> f64 {
    // Schur's theorem holds up to half a circle of R_MIN; the few geodesics that are longer have
    // chords within 101 km of its diameter, which 0.9 keeps away from.
    let x = chord_m / (2.0 * R_MIN_M);
    if x < 0.9 { 2.0 * R_MIN_M * x.asin() + 1e-6 } else { LONGEST_M }
}
