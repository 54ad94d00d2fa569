//! Why an area is impossible.

use crate::limits::{POLYGON_CORNERS_MAX, RADIUS_KM_MAX, SHAPES_MAX};

/// Why an area is rejected. Shapes, rings and corners are counted from 0, as given; ring 0 is
/// the outer one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AreaError {
    /// No shape at all.
    #[error("the area has no shape: give a circle or a polygon")]
    Empty,
    /// More shapes than are taken.
    #[error("the area has {0} shapes: at most {SHAPES_MAX} are allowed")]
    TooManyShapes(usize),
    /// A circle without a radius of its own under the policy `fixed`.
    #[error("shape {shape}: the policy \"fixed\" needs the circle's radius_km")]
    RadiusMissing {
        /// The shape.
        shape: usize,
    },
    /// A circle's own radius out of range.
    #[error("shape {shape}: radius_km {radius_km} is not above 0 and at most {RADIUS_KM_MAX}")]
    Radius {
        /// The shape.
        shape: usize,
        /// What was given.
        radius_km: f64,
    },
    /// A polygon without a ring.
    #[error("shape {shape}: the polygon has no ring: give its corners as [lon, lat]")]
    NoRing {
        /// The shape.
        shape: usize,
    },
    /// Too many corners in all rings.
    #[error(
        "shape {shape}: the polygon has {corners} corners: at most {POLYGON_CORNERS_MAX} in all its rings are allowed"
    )]
    TooManyCorners {
        /// The shape.
        shape: usize,
        /// How many there are, closing corners not counted.
        corners: usize,
    },
    /// A ring without an inside.
    #[error("shape {shape}, ring {ring}: {distinct} distinct corners make no ring: at least 3 are needed")]
    TooFewCorners {
        /// The shape.
        shape: usize,
        /// The ring.
        ring: usize,
        /// How many there are.
        distinct: usize,
    },
    /// A corner at a pole.
    #[error(
        "shape {shape}, ring {ring}, corner {corner}: the ring touches a pole: keep it off latitude 90 and -90"
    )]
    TouchesPole {
        /// The shape.
        shape: usize,
        /// The ring.
        ring: usize,
        /// The corner.
        corner: usize,
    },
    /// A ring around a pole.
    #[error("shape {shape}, ring {ring}: the ring encloses a pole: split the area, or draw a circle")]
    EnclosesPole {
        /// The shape.
        shape: usize,
        /// The ring.
        ring: usize,
    },
    /// An edge with two short ways.
    #[error(
        "shape {shape}, ring {ring}, corner {corner}: the edge that starts there spans 180 degrees of longitude: add a corner on its way"
    )]
    HalfTurn {
        /// The shape.
        shape: usize,
        /// The ring.
        ring: usize,
        /// The corner at which the edge starts.
        corner: usize,
    },
    /// Two edges cross.
    #[error(
        "shape {shape}: the ring {ring} at corner {corner} crosses the ring {other_ring} at corner {other_corner}: rings may only touch in points"
    )]
    Crosses {
        /// The shape.
        shape: usize,
        /// A ring.
        ring: usize,
        /// Where the edge starts, or the corner at which it happens.
        corner: usize,
        /// The other ring, or the same.
        other_ring: usize,
        /// Where the other edge starts.
        other_corner: usize,
    },
    /// Two edges share more than a point.
    #[error(
        "shape {shape}: the ring {ring} at corner {corner} runs along the ring {other_ring} at corner {other_corner}: rings may only touch in points"
    )]
    RunsAlong {
        /// The shape.
        shape: usize,
        /// A ring.
        ring: usize,
        /// The corner at which it happens.
        corner: usize,
        /// The other ring, or the same.
        other_ring: usize,
        /// Where the other edge starts.
        other_corner: usize,
    },
    /// A hole that is not in the polygon.
    #[error("shape {shape}, ring {ring}: the hole lies outside the outer ring")]
    HoleOutside {
        /// The shape.
        shape: usize,
        /// The hole's ring.
        ring: usize,
    },
    /// A hole in a hole.
    #[error(
        "shape {shape}, ring {ring}: the hole lies inside the hole of ring {other_ring}: remove one, or draw a second polygon"
    )]
    HoleInHole {
        /// The shape.
        shape: usize,
        /// The inner hole's ring.
        ring: usize,
        /// The outer hole's ring.
        other_ring: usize,
    },
}
