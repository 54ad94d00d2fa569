//! A polygon, ready to be asked: which side a position is on (exactly), and how far it is
//! from the edges (to a centimetre).
//!
//! Its signed distance is 1-Lipschitz in the geodesic distance, which is what lets one answer
//! stand for a whole cell: to get from a position to the polygon, or out of it, one can go by
//! any other position.

use super::area::CellClass;
use super::cell::CellBound;
use super::edge::{Compared, Curves};
use super::error::AreaError;
use super::geodesic::Spot;
use super::ring::{GridEdge, Ring, Side, TURN, corner_count, side};
use super::topology;
use crate::domain::{Position, Uncertainty};
use crate::limits::POLYGON_CORNERS_MAX;

/// A valid polygon with its holes.
#[derive(Clone, Debug)]
pub(super) struct Polygon {
    /// All rings' edges.
    edges: Vec<GridEdge>,
    curves: Curves,
    lat: (i64, i64),
    /// Western end and width.
    lon: (i64, i64),
}

impl Polygon {
    /// Checks and prepares.
    pub(super) fn new(rings: &[Vec<Position>], shape: usize) -> Result<Self, AreaError> {
        if rings.is_empty() {
            return Err(AreaError::NoRing { shape });
        }
        let corners = rings.iter().map(|r| corner_count(r)).sum();
        if corners > POLYGON_CORNERS_MAX {
            return Err(AreaError::TooManyCorners { shape, corners });
        }
        let rings = rings
            .iter()
            .enumerate()
            .map(|(i, corners)| Ring::new(corners, shape, i))
            .collect::<Result<Vec<_>, _>>()?;
        topology::check(&rings, shape)?;
        let (lat, lon) = rings.first().map(bounds).unwrap_or_default();
        let edges: Vec<GridEdge> = rings.into_iter().flat_map(|r| r.edges).collect();
        let curves = Curves::new(edges.iter());
        Ok(Self { edges, curves, lat, lon })
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.edges.capacity() * size_of::<GridEdge>() + self.curves.bytes()
    }

    fn side(&self, position: Position) -> Side {
        let (lon, lat) = (i64::from(position.lon_e7()), i64::from(position.lat_e7()));
        if lat < self.lat.0 || lat > self.lat.1 || (lon - self.lon.0).rem_euclid(TURN) > self.lon.1 {
            return Side::Outside;
        }
        side(&self.edges, (lon, lat), 1)
    }

    /// The signed distance `s`, metres, exact: 0 on an edge only.
    #[cfg(test)]
    pub(super) fn signed_distance_m(&self, spot: &Spot) -> f64 {
        match self.side(spot.position()) {
            Side::Edge => 0.0,
            Side::Inside => -self.curves.distance_m(spot),
            Side::Outside => outside(self.curves.distance_m(spot)),
        }
    }

    /// Whether a position with a radius of uncertainty matches, with a stage's radius `r_m >= 0`.
    pub(super) fn contains(&self, mode: Uncertainty, r_m: f64, spot: &Spot, a_m: f64) -> bool {
        let reach = reach_m(mode, r_m, a_m);
        match self.side(spot.position()) {
            Side::Edge => matches(mode, r_m, 0.0, a_m),
            Side::Inside if reach >= 0.0 => true,
            Side::Inside => match self.curves.compare(spot, -reach) {
                Compared::Shorter => false,
                Compared::Longer => true,
                Compared::Exactly(d) => matches(mode, r_m, -d, a_m),
            },
            Side::Outside if reach <= 0.0 => false,
            Side::Outside => match self.curves.compare(spot, reach) {
                Compared::Shorter => true,
                Compared::Longer => false,
                Compared::Exactly(d) => matches(mode, r_m, outside(d), a_m),
            },
        }
    }

    /// Sorts a cell for reaches from `low_m` to `high_m`.
    pub(super) fn classify(&self, cell: &CellBound, low_m: f64, high_m: f64) -> CellClass {
        // 1 m for what a search may be wrong by (1 cm).
        let around = cell.radius_m() + 1.0;
        let inside = self.side(cell.centre().position()) != Side::Outside;
        // As conditions on the distance `d` of the centre from the edges: what must be shorter
        // for one answer, and longer for the other.
        let (short, long, nearer, farther) = if inside {
            (-high_m - around, around - low_m, CellClass::Outside, CellClass::Interior)
        } else {
            (low_m - around, high_m + around, CellClass::Interior, CellClass::Outside)
        };
        if long < 0.0 {
            return farther;
        }
        // Knowing the distance to a twentieth of the cell loses hardly a cell.
        let tolerance = cell.radius_m() / 20.0;
        match self.curves.bracket(cell.centre(), short, long + tolerance, tolerance) {
            Compared::Shorter => nearer,
            Compared::Longer => farther,
            Compared::Exactly(_) => CellClass::Boundary,
        }
    }
}

/// Outside is not on the edge, however near.
fn outside(distance_m: f64) -> f64 {
    distance_m.max(f64::MIN_POSITIVE)
}

fn bounds(ring: &Ring) -> ((i64, i64), (i64, i64)) {
    let mut lat = (i64::MAX, i64::MIN);
    // The ring is followed along its longitudes from its first corner on.
    let (mut lon, mut west, mut east) = (0, 0, 0);
    for edge in &ring.edges {
        let (south, north) = edge.lat_range();
        lat = (lat.0.min(south), lat.1.max(north));
        lon += edge.step().0;
        (west, east) = (lon.min(west), lon.max(east));
    }
    let start = ring.edges.first().map_or(0, |e| e.lon[0]);
    (lat, (start + west, east - west))
}

/// What a signed distance must not exceed (matching.md, the three modes).
pub(super) fn reach_m(mode: Uncertainty, r_m: f64, a_m: f64) -> f64 {
    match mode {
        Uncertainty::Intersects => r_m + a_m,
        Uncertainty::Centre => r_m,
        Uncertainty::Within => r_m - a_m,
    }
}

/// The rule itself (matching.md, the three modes), on a signed distance.
pub(super) fn matches(mode: Uncertainty, r_m: f64, s_m: f64, a_m: f64) -> bool {
    match mode {
        Uncertainty::Intersects => s_m - a_m <= r_m,
        Uncertainty::Centre => s_m <= r_m,
        Uncertainty::Within => s_m + a_m <= r_m,
    }
}
