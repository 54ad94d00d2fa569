//! A hexagon of the index as what the geometry needs of it: a centre and a radius that no
//! position of the cell exceeds.
//!
//! Why the radius holds: h3 assigns a position to the cell whose hexagon holds its gnomonic
//! projection on the nearest icosahedron face. Straight lines of that plane are great circles
//! of the sphere, so, face by face, a cell is a convex spherical polygon, whose corners are
//! the cell's vertices, distortion vertices on face edges included. In a convex polygon the
//! farthest point from an inner point is a corner. h3's sphere takes geodetic latitude for its
//! own; the map from it to the ellipsoid stretches the two axes by factors (6.34 to 6.40, at
//! most 1 % apart) that hardly change within a cell of 10 km (1.6e-5), so it keeps straight
//! lines and convexity up to that. A thousandth covers it; cells above resolution 4 are larger
//! than "hardly" and take 2 %. One metre covers rounding: of the centre (1 cm), of h3's own
//! arithmetic, and of positions on a border.

use h3o::{CellIndex, LatLng, Resolution};

use super::geodesic::{Spot, chord2, ecef, longest_m};
use super::hex::{HexKey, hex_keys};
use crate::domain::Position;

/// The resolution of the index: hexagons of about 10 km, 250 km².
pub const INDEX_RESOLUTION: Resolution = Resolution::Five;

/// The index cell of a position.
pub fn cell_of(position: Position) -> CellIndex {
    let mut key = [HexKey::NONE];
    hex_keys(&[position.lat_e7()], &[position.lon_e7()], &mut key);
    key[0].cell().unwrap_or_else(|| by_h3o(position))
}

/// What h3o says; it is asked where a position is too near a border for a key.
fn by_h3o(position: Position) -> CellIndex {
    #[expect(clippy::expect_used, reason = "only infinite coordinates are refused, and a Position's are not")]
    let point = LatLng::new(position.lat_deg(), position.lon_deg()).expect("a position is finite");
    point.to_cell(INDEX_RESOLUTION)
}

/// A cell's centre and a bound on the distance from it to any position of the cell.
#[derive(Clone, Copy, Debug)]
pub struct CellBound {
    centre: Spot,
    radius_m: f64,
}

impl CellBound {
    /// The bound of a cell (of any resolution).
    pub fn of(cell: CellIndex) -> Self {
        let wide = Self::wide(cell, 0.0);
        // A chord bounds the distance from above, by centimetres here, and costs a tenth of it.
        let centre = wide.centre.ecef();
        let longest = |vertex: &LatLng| {
            longest_m(chord2(centre, ecef(vertex.lat_radians(), vertex.lng_radians())).sqrt())
        };
        let reach = cell.boundary().iter().map(longest).fold(0.0, f64::max);
        let stretch = if cell.resolution() < Resolution::Four { 1.02 } else { 1.001 };
        wide.with_radius(reach * stretch + 1.0)
    }

    /// A bound with a radius that is known to be enough. Costs no geodesic.
    pub fn wide(cell: CellIndex, radius_m: f64) -> Self {
        let middle = LatLng::from(cell);
        #[expect(clippy::expect_used, reason = "h3o's longitudes and latitudes stay in their ranges")]
        let centre =
            Position::from_degrees(middle.lat(), middle.lng()).expect("the centre of a cell is a position");
        Self { centre: Spot::new(centre), radius_m }
    }

    /// The same centre with another radius, metres.
    pub fn with_radius(self, radius_m: f64) -> Self {
        Self { radius_m, ..self }
    }

    /// A radius with which this bound holds every position of another, metres.
    pub fn radius_to_hold(&self, other: &Self) -> f64 {
        // As above: by a chord, which bounds the distance from above and is quicker than the geodesic.
        longest_m(chord2(self.centre.ecef(), other.centre.ecef()).sqrt()) + other.radius_m + 1e-3
    }

    /// The centre, rounded to a position.
    pub fn centre(&self) -> &Spot {
        &self.centre
    }

    /// No position of the cell is farther from the centre than this, metres.
    pub fn radius_m(&self) -> f64 {
        self.radius_m
    }
}
