//! An area, checked and ready to be asked.

use std::ops::RangeInclusive;

use super::cell::CellBound;
use super::chord::{CellChord, Decider};
use super::error::AreaError;
use super::geodesic::{Spot, chord2, geodesic_m, surely_farther_chord2, surely_nearer_chord2};
use super::polygon::{Polygon, matches, reach_m};
use crate::domain::{Area, Position, Shape, Uncertainty};
use crate::limits::{RADIUS_KM_MAX, SHAPES_MAX};

/// The radius of a confirmed sighting under the policy `fixed`, km (matching.md, "Policy").
pub const SIGHTING_RADIUS_KM: f64 = 10.0;

/// The radius of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Radius {
    /// The policy `fixed`: a circle has its own radius, a polygon none.
    AsDrawn,
    /// So many metres, not negative: from a circle's centre, around a polygon.
    Metres(f64),
}

/// How far an area reaches: the radius of a stage and the alert's mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// The radius.
    pub radius: Radius,
    /// What a position's own radius of uncertainty means.
    pub mode: Uncertainty,
}

/// What an area says of a whole cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellClass {
    /// It contains no position of the cell.
    Outside,
    /// It contains every position of the cell.
    Interior,
    /// Each position must be asked for.
    Boundary,
}

#[derive(Clone, Debug)]
enum PreparedShape {
    Circle { centre: Spot, radius_km: Option<f64> },
    Polygon(Box<Polygon>),
}

/// A valid area: a union of circles and polygons.
#[derive(Clone, Debug)]
pub struct PreparedArea {
    shapes: Vec<PreparedShape>,
}

impl PreparedArea {
    /// Checks and prepares an area. Radii as drawn are not checked: see [`Self::check_drawn`].
    ///
    /// # Errors
    /// What matching.md ("Area and distance") rejects, and more than 64 shapes.
    pub fn new(area: &Area) -> Result<Self, AreaError> {
        if area.shapes.is_empty() {
            return Err(AreaError::Empty);
        }
        if area.shapes.len() > SHAPES_MAX {
            return Err(AreaError::TooManyShapes(area.shapes.len()));
        }
        let shapes = area
            .shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| match shape {
                Shape::Circle { centre, radius_km } => {
                    Ok(PreparedShape::Circle { centre: Spot::new(*centre), radius_km: *radius_km })
                }
                Shape::Polygon { rings } => Ok(PreparedShape::Polygon(Box::new(Polygon::new(rings, i)?))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shapes })
    }

    /// The area of a sighting: a circle, of 10 km as drawn.
    pub fn circle(centre: Position) -> Self {
        let circle = PreparedShape::Circle { centre: Spot::new(centre), radius_km: Some(SIGHTING_RADIUS_KM) };
        Self { shapes: vec![circle] }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let shape = |shape: &PreparedShape| match shape {
            PreparedShape::Circle { .. } => 0,
            PreparedShape::Polygon(polygon) => polygon.bytes(),
        };
        let shapes = self.shapes.capacity() * size_of::<PreparedShape>();
        size_of::<Self>() + shapes + self.shapes.iter().map(shape).sum::<usize>()
    }

    /// Checks what the policy `fixed` requires: each circle has `0 < radius_km <= 5000`.
    ///
    /// # Errors
    /// Names the circle without a radius, or with an impossible one.
    pub fn check_drawn(&self) -> Result<(), AreaError> {
        for (shape, prepared) in self.shapes.iter().enumerate() {
            match prepared {
                PreparedShape::Circle { radius_km: None, .. } => {
                    return Err(AreaError::RadiusMissing { shape });
                }
                &PreparedShape::Circle { radius_km: Some(radius_km), .. }
                    if !(radius_km > 0.0 && radius_km <= RADIUS_KM_MAX) =>
                {
                    return Err(AreaError::Radius { shape, radius_km });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What matches print as `radius_km` under `fixed`: a single circle's own radius, else 0.
    pub fn drawn_radius_km(&self) -> f64 {
        match self.shapes.as_slice() {
            [PreparedShape::Circle { radius_km, .. }] => radius_km.unwrap_or(0.0),
            _ => 0.0,
        }
    }

    /// Whether the area contains a position with `accuracy_m` metres of uncertainty: whether one
    /// of its shapes does.
    pub fn contains(&self, reach: Reach, spot: &Spot, accuracy_m: u32) -> bool {
        let a_m = f64::from(accuracy_m);
        self.shapes.iter().any(|shape| {
            let r_m = shape.radius_m(reach.radius);
            match shape {
                PreparedShape::Circle { centre, .. } => circle_contains(centre, reach.mode, r_m, spot, a_m),
                PreparedShape::Polygon(polygon) => polygon.contains(reach.mode, r_m, spot, a_m),
            }
        })
    }

    /// What the area says of every position of a cell with any accuracy in a range:
    /// `Interior` and `Outside` are certain, `Boundary` says nothing.
    pub fn classify(&self, reach: Reach, cell: &CellBound, accuracy_m: RangeInclusive<u32>) -> CellClass {
        let mut all = CellClass::Outside;
        for shape in &self.shapes {
            let r_m = shape.radius_m(reach.radius);
            let ends = [accuracy_m.start(), accuracy_m.end()];
            let [first, last] = ends.map(|&a| reach_m(reach.mode, r_m, f64::from(a)));
            let (low, high) = (first.min(last), first.max(last));
            let class = match shape {
                PreparedShape::Circle { centre, .. } => classify_circle(centre, cell, low, high),
                PreparedShape::Polygon(polygon) => polygon.classify(cell, low, high),
            };
            match class {
                CellClass::Interior => return CellClass::Interior,
                CellClass::Boundary => all = CellClass::Boundary,
                CellClass::Outside => {}
            }
        }
        all
    }

    /// A quick test for the positions of a cell with accuracies of a range, where the area is a
    /// single circle and the cell a usual one (see [`CellChord::new`]).
    pub fn decider(
        &self,
        reach: Reach,
        cell: &CellBound,
        accuracy_m: RangeInclusive<u32>,
    ) -> Option<Decider> {
        let [shape @ PreparedShape::Circle { centre, .. }] = self.shapes.as_slice() else { return None };
        let chord = CellChord::new(cell, centre)?;
        Some(Decider::new(chord, reach.mode, shape.radius_m(reach.radius), accuracy_m))
    }
}

impl PreparedShape {
    fn radius_m(&self, radius: Radius) -> f64 {
        match (radius, self) {
            (Radius::Metres(r_m), _) => r_m,
            (Radius::AsDrawn, Self::Circle { radius_km, .. }) => radius_km.unwrap_or(0.0) * 1000.0,
            (Radius::AsDrawn, Self::Polygon(_)) => 0.0,
        }
    }
}

#[inline]
fn circle_contains(centre: &Spot, mode: Uncertainty, r_m: f64, spot: &Spot, a_m: f64) -> bool {
    let c2 = chord2(centre.ecef(), spot.ecef());
    let reach = reach_m(mode, r_m, a_m);
    if c2 < surely_nearer_chord2(reach) {
        return true;
    }
    if c2 > surely_farther_chord2(reach) {
        return false;
    }
    matches(mode, r_m, geodesic_m(centre.position(), spot.position()), a_m)
}

/// Sorts a cell for reaches from `low_m` to `high_m`.
fn classify_circle(centre: &Spot, cell: &CellBound, low_m: f64, high_m: f64) -> CellClass {
    let c2 = chord2(centre.ecef(), cell.centre().ecef());
    if c2 < surely_nearer_chord2(low_m - cell.radius_m()) {
        CellClass::Interior
    } else if c2 > surely_farther_chord2(high_m + cell.radius_m()) {
        CellClass::Outside
    } else {
        CellClass::Boundary
    }
}
