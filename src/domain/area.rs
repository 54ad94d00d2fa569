//! An area as it was drawn. Whether it is a possible one is `geo`'s to say.

use super::Position;

/// One shape of an area.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A circle; its own radius counts only under the policy `fixed`, which requires it.
    Circle {
        /// The centre.
        centre: Position,
        /// Radius in km as drawn, if given.
        radius_km: Option<f64>,
    },
    /// A polygon: the outer ring, then its holes. A ring may be closed or not; edges are straight
    /// in longitude and latitude (RFC 7946).
    Polygon {
        /// The rings, each a list of corners.
        rings: Vec<Vec<Position>>,
    },
}

/// A union of shapes: it contains what one of them contains.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    /// The shapes, at least one in a valid area.
    pub shapes: Vec<Shape>,
}
