//! One circle against the positions of one cell, without sines and (nearly always) without
//! square roots: for scans of cells that a circle's border runs through, and for pings in them.
//!
//! With `ρ` the distance from the earth's axis and `Z` the height over the equator's plane, both
//! functions of latitude alone, and `C` the circle's centre, the squared chord is
//!
//! `c² = A(φ) - B(φ) cos(λ - λc)`, `A = ρ² + Z² + |C|² - 2 Cz Z`, `B = 2 Cxy ρ`.
//!
//! `A`, `B` (to the third power) and the cosine (to the fourth) are cut off Taylor series around
//! the cell's centre. Derivatives: `ρ' = -M sin φ`, `Z' = M cos φ` with the meridian's
//! radius of curvature `M = a (1 - e²) / W³`, `W² = 1 - e² sin² φ`; `M' = q M` with
//! `q = 3 e² sin φ cos φ / W²`.
//!
//! **The error.** A position of the cell is at most the cell's radius `s` from its centre, so
//! `|dφ| <= u = s / R_MIN` and `|dλ| <= v = s / (a cos(|φ| + u))`.
//! - `|q| <= 0.0102`, `|q'| <= 0.0204`, `|q''| <= 0.042`, hence `|M'|`, `|M''|`, `|M'''|` are at
//!   most 0.0102, 0.0206, 0.043 of `M`; with `ρ'''' = -M''' sin φ - 3 M'' cos φ + 3 M' sin φ +
//!   M cos φ` and `Z''''` alike, both are below `1.2 R_MAX`.
//! - `(ρ² + Z²)' = -e² M N sin 2φ`, whose third derivative is below `9 e² R_MAX²`.
//! - What is cut off is at most those times `u⁴ / 24`, and `v⁵ / 120` of the cosine.
//! - Rounding: all terms are below `4 R_MAX²` = 1.7e14 m²; 16 operations on them lose 0.3 m².
//!
//! For a cell of the index that is some 50 m²: 3 cm of a distance of 1 km, below a millimetre from
//! 50 km on. (The ring in which a [`Decider`] must ask is mostly that of the chord bounds: 2 cm at
//! 100 km, 3 m at 500 km and 2.6 km at 5,000 km.)

use std::ops::RangeInclusive;

use super::cell::CellBound;
use super::geodesic::{A_M, E2, R_MAX_M, R_MIN_M, Spot, dot, surely_farther_chord2, surely_nearer_chord2};
use super::polygon::reach_m;
use crate::domain::Uncertainty;

/// Radians in 1e-7 degree.
const RAD: f64 = std::f64::consts::PI / 1_800_000_000.0;
/// What rounding may be wrong by, m².
const ROUNDING_M2: f64 = 0.3;
/// Cells whose bound reaches beyond this latitude are left out, radians (88°).
const LAT_MAX_RAD: f64 = 88.0 * std::f64::consts::PI / 180.0;
/// The worst error, metres, of a chord of at least [`NEAR_M`].
const ERROR_M_MAX: f64 = 1.0;
/// Nearer than this, chords may have larger errors, metres.
const NEAR_M: f64 = 1_000.0;

/// The squared chord from a circle's centre to the positions of a cell.
#[derive(Clone, Copy, Debug)]
pub struct CellChord {
    lat_e7: i32,
    lon_e7: i32,
    /// Coefficients of `A` and of `-B`, lowest power first, in radians.
    a: [f64; 4],
    b: [f64; 4],
    /// Coefficients of the cosine.
    cos: [f64; 5],
    error_m2: f64,
}

impl CellChord {
    /// For the positions of a cell and the centre of a circle; nothing for cells near a pole or
    /// across the antimeridian, and for cells so large that the error could reach a metre.
    pub fn new(bound: &CellBound, centre: &Spot) -> Option<Self> {
        let middle = bound.centre().position();
        let (lat, lon) = (f64::from(middle.lat_e7()) * RAD, f64::from(middle.lon_e7()) * RAD);
        let u = bound.radius_m() / R_MIN_M;
        if lat.abs() + u > LAT_MAX_RAD {
            return None;
        }
        let v = bound.radius_m() / (A_M * (lat.abs() + u).cos());
        if lon.abs() + v > std::f64::consts::PI {
            return None;
        }

        let [cx, cy, cz] = centre.ecef();
        let c_xy = cx.hypot(cy);
        let (s, c) = lat.sin_cos();
        let w2 = 1.0 - E2 * s * s;
        let n = A_M / w2.sqrt();
        let m = n * (1.0 - E2) / w2;
        let q = 3.0 * E2 * s * c / w2;
        let dq = 3.0 * E2 * ((c * c - s * s) / w2 + 2.0 * E2 * s * s * c * c / (w2 * w2));
        let (dm, ddm) = (m * q, m * (q * q + dq));
        // Values and derivatives; h is ρ² + Z².
        let rho = [n * c, -m * s, -dm * s - m * c, -ddm * s - 2.0 * dm * c + m * s];
        let z = [n * (1.0 - E2) * s, m * c, dm * c - m * s, ddm * c - 2.0 * dm * s - m * c];
        let square = |f: [f64; 4]| {
            [
                f[0] * f[0],
                2.0 * f[0] * f[1],
                2.0 * (f[1] * f[1] + f[0] * f[2]),
                2.0 * (3.0 * f[1] * f[2] + f[0] * f[3]),
            ]
        };
        let (rho2, z2) = (square(rho), square(z));
        const FACTORIAL: [f64; 4] = [1.0, 1.0, 2.0, 6.0];
        let mut a: [f64; 4] = std::array::from_fn(|k| (rho2[k] + z2[k] - 2.0 * cz * z[k]) / FACTORIAL[k]);
        a[0] += dot(centre.ecef(), centre.ecef());
        let b = std::array::from_fn(|k| -2.0 * c_xy * rho[k] / FACTORIAL[k]);
        let (sin_l, cos_l) = (lon - f64::from(centre.position().lon_e7()) * RAD).sin_cos();
        let cos = [cos_l, -sin_l, -cos_l / 2.0, sin_l / 6.0, cos_l / 24.0];

        let of_a = 9.0 * E2 * R_MAX_M * R_MAX_M + 2.4 * cz.abs() * R_MAX_M;
        let of_b = 2.4 * c_xy * R_MAX_M;
        let of_cos = 2.0 * c_xy * (rho[0] + R_MAX_M * u);
        let cut = (of_a + of_b) * u.powi(4) / 24.0 + of_cos * v.powi(5) / 120.0;
        // A hundredth for the products of two errors.
        let error_m2 = 1.01 * cut + ROUNDING_M2;
        let this = Self { lat_e7: middle.lat_e7(), lon_e7: middle.lon_e7(), a, b, cos, error_m2 };
        let nearest_m = this.chord2(middle.lat_e7(), middle.lon_e7()).max(0.0).sqrt() - bound.radius_m();
        (error_m2 / (2.0 * nearest_m.max(NEAR_M)) < ERROR_M_MAX).then_some(this)
    }

    /// The squared chord in m² to a position of the cell, in 1e-7 degree.
    #[inline]
    pub fn chord2(&self, lat_e7: i32, lon_e7: i32) -> f64 {
        let u = (f64::from(lat_e7) - f64::from(self.lat_e7)) * RAD;
        let v = (f64::from(lon_e7) - f64::from(self.lon_e7)) * RAD;
        let [a0, a1, a2, a3] = self.a;
        let [b0, b1, b2, b3] = self.b;
        let [c0, c1, c2, c3, c4] = self.cos;
        let a = a0 + u * (a1 + u * (a2 + u * a3));
        let b = b0 + u * (b1 + u * (b2 + u * b3));
        let cos = c0 + v * (c1 + v * (c2 + v * (c3 + v * c4)));
        a + b * cos
    }

    /// [`Self::chord2`] is this near to the truth, m², for positions of the cell.
    pub fn error_m2(&self) -> f64 {
        self.error_m2
    }
}

/// What a [`Decider`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The area surely contains the position.
    Inside,
    /// The area surely does not contain it.
    Outside,
    /// Ask `PreparedArea::contains`.
    Ask,
}

/// Squared chords below and above which one accuracy is decided.
#[derive(Clone, Copy, Debug)]
struct Limits {
    accuracy_m: u32,
    inside: f64,
    outside: f64,
}

/// Decides for the positions of one cell whether one circle contains them.
///
/// It never contradicts `PreparedArea::contains`, for positions of the cell with accuracies of
/// the range that it was made for.
#[derive(Clone, Debug)]
pub struct Decider {
    chord: CellChord,
    mode: Uncertainty,
    radius_m: f64,
    accuracy_m: RangeInclusive<u32>,
    /// What is decided for every accuracy of the range.
    any: Limits,
    /// For both ends of the range, and for the accuracy seen last.
    known: [Limits; 3],
}

impl Decider {
    pub(super) fn new(
        chord: CellChord,
        mode: Uncertainty,
        radius_m: f64,
        accuracy_m: RangeInclusive<u32>,
    ) -> Self {
        let limits = |a: u32| limits(&chord, mode, radius_m, a);
        let (low, high) = (limits(*accuracy_m.start()), limits(*accuracy_m.end()));
        let any = Limits {
            accuracy_m: 0,
            inside: low.inside.min(high.inside),
            outside: low.outside.max(high.outside),
        };
        Self { chord, mode, radius_m, accuracy_m, any, known: [low, high, high] }
    }

    /// Whether the circle contains a position of the cell (1e-7 degree) with `accuracy_m` metres
    /// of uncertainty.
    #[inline]
    pub fn decide(&mut self, lat_e7: i32, lon_e7: i32, accuracy_m: u32) -> Decision {
        if !self.accuracy_m.contains(&accuracy_m) {
            return Decision::Ask;
        }
        let c2 = self.chord.chord2(lat_e7, lon_e7);
        if c2 < self.any.inside {
            Decision::Inside
        } else if c2 > self.any.outside {
            Decision::Outside
        } else {
            self.decide_for(c2, accuracy_m)
        }
    }

    fn decide_for(&mut self, c2: f64, accuracy_m: u32) -> Decision {
        let known = self.known.iter().find(|known| known.accuracy_m == accuracy_m);
        let limits = match known {
            Some(known) => *known,
            None => {
                self.known[2] = limits(&self.chord, self.mode, self.radius_m, accuracy_m);
                self.known[2]
            }
        };
        if c2 < limits.inside {
            Decision::Inside
        } else if c2 > limits.outside {
            Decision::Outside
        } else {
            Decision::Ask
        }
    }
}

fn limits(chord: &CellChord, mode: Uncertainty, radius_m: f64, accuracy_m: u32) -> Limits {
    let reach = reach_m(mode, radius_m, f64::from(accuracy_m));
    Limits {
        accuracy_m,
        inside: surely_nearer_chord2(reach) - chord.error_m2,
        outside: surely_farther_chord2(reach) + chord.error_m2,
    }
}
