//! Rings on the integer grid of 1e-7 degree: unwrapped, and asked which side a point is on.
//! No rounding happens here.
//!
//! Longitude is a circle, so a ring lives on a cylinder. Each edge is held in one piece, with
//! its western end in [-180°, 180°) and its eastern end below 360°; a point is compared with it
//! at its longitude and at 360° more. That is right also for a ring that winds around the
//! earth and back.

use super::error::AreaError;
use crate::domain::Position;

/// 360 degrees.
pub(super) const TURN: i64 = 3_600_000_000;
const HALF: i64 = TURN / 2;
const POLE: i64 = 900_000_000;

/// A direction or difference on the grid: longitude, latitude.
pub(super) type Step = (i64, i64);

/// `a × b`: positive when `b` lies to the left of `a`.
pub(super) fn cross(a: Step, b: Step) -> i128 {
    i128::from(a.0) * i128::from(b.1) - i128::from(a.1) * i128::from(b.0)
}

/// An edge, straight in longitude and latitude.
#[derive(Clone, Copy, Debug)]
pub(super) struct GridEdge {
    /// Longitudes of start and end; the smaller is in [-180°, 180°).
    pub lon: [i64; 2],
    /// Latitudes of start and end.
    pub lat: [i64; 2],
    /// The start's number among the corners as given.
    pub corner: usize,
}

impl GridEdge {
    pub(super) fn step(&self) -> Step {
        (self.lon[1] - self.lon[0], self.lat[1] - self.lat[0])
    }

    pub(super) fn lon_range(&self) -> (i64, i64) {
        (self.lon[0].min(self.lon[1]), self.lon[0].max(self.lon[1]))
    }

    pub(super) fn lat_range(&self) -> (i64, i64) {
        (self.lat[0].min(self.lat[1]), self.lat[0].max(self.lat[1]))
    }
}

/// A ring's edges in order, each starting where the one before it ends.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    pub edges: Vec<GridEdge>,
}

/// How many corners a ring has as given, the closing one not counted.
pub(super) fn corner_count(corners: &[Position]) -> usize {
    match corners {
        [first, .., last] if first == last => corners.len() - 1,
        _ => corners.len(),
    }
}

impl Ring {
    /// Reads a ring, closed or not; corners that repeat the one before them are dropped.
    pub(super) fn new(corners: &[Position], shape: usize, ring: usize) -> Result<Self, AreaError> {
        let mut kept: Vec<(usize, Position)> = Vec::with_capacity(corners.len());
        for (corner, &position) in corners.iter().enumerate() {
            if i64::from(position.lat_e7()).abs() == POLE {
                return Err(AreaError::TouchesPole { shape, ring, corner });
            }
            if kept.last().is_none_or(|&(_, last)| last != position) {
                kept.push((corner, position));
            }
        }
        while kept.len() > 1 && kept.first().map(|c| c.1) == kept.last().map(|c| c.1) {
            kept.pop();
        }
        let mut distinct: Vec<Position> = kept.iter().map(|c| c.1).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < 3 {
            return Err(AreaError::TooFewCorners { shape, ring, distinct: distinct.len() });
        }

        let mut edges = Vec::with_capacity(kept.len());
        let mut winding = 0;
        for (&(corner, from), &(_, to)) in kept.iter().zip(kept.iter().cycle().skip(1)) {
            let start = i64::from(from.lon_e7());
            let step = (i64::from(to.lon_e7()) - start + HALF).rem_euclid(TURN) - HALF;
            if step == -HALF {
                return Err(AreaError::HalfTurn { shape, ring, corner });
            }
            winding += step;
            let west = start.min(start + step);
            let start = if west < -HALF { start + TURN } else { start };
            let lat = [i64::from(from.lat_e7()), i64::from(to.lat_e7())];
            edges.push(GridEdge { lon: [start, start + step], lat, corner });
        }
        if winding != 0 {
            return Err(AreaError::EnclosesPole { shape, ring });
        }
        Ok(Self { edges })
    }
}

/// Where a point lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Not in the ring.
    Outside,
    /// On an edge.
    Edge,
    /// In the ring.
    Inside,
}

/// Where the point `(lon, lat) / scale` lies, by counting the edges to its north. Edges of
/// several rings together make a polygon with its holes. `scale` is at least 1 and below 2^20.
pub(super) fn side<'a>(edges: impl IntoIterator<Item = &'a GridEdge>, (lon, lat): Step, scale: i64) -> Side {
    let turn = TURN * scale;
    let lon = (lon + turn / 2).rem_euclid(turn) - turn / 2;
    let mut inside = false;
    for edge in edges {
        let (south, north) = edge.lat_range();
        if lat > north * scale {
            continue;
        }
        let (west, east) = edge.lon_range();
        for lon in [lon, lon + turn] {
            if lon < west * scale || lon > east * scale {
                continue;
            }
            // Half-open, so that a corner counts once and a meridian edge never.
            let spans = west * scale <= lon && lon < east * scale;
            if lat < south * scale {
                inside ^= spans;
                continue;
            }
            let from = (lon - edge.lon[0] * scale, lat - edge.lat[0] * scale);
            let left = cross(edge.step(), from);
            if left == 0 {
                return Side::Edge;
            }
            let eastward = edge.lon[1] > edge.lon[0];
            inside ^= spans && (left < 0) == eastward;
        }
    }
    if inside { Side::Inside } else { Side::Outside }
}
