//! geo: placeholder until its branch lands.
use crate::domain::*;
use std::ops::RangeInclusive;
/// A position with what tests need of it.
#[derive(Clone, Copy, Debug)]
pub struct Spot(Position);
impl Spot {
    /// Prepares.
    pub fn new(p: Position) -> Self {
        Self(p)
    }
}
/// A validated area.
#[derive(Debug)]
pub struct PreparedArea {
    area: Area,
}
/// Why an area is impossible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AreaError {
    /// No shape.
    #[error("the area has no shape")]
    Empty,
    /// A circle without its own radius.
    #[error("shape {0}: no radius_km")]
    NoRadius(usize),
}
impl PreparedArea {
    /// Checks and prepares.
    pub fn new(area: &Area) -> Result<Self, AreaError> {
        if area.shapes.is_empty() { Err(AreaError::Empty) } else { Ok(Self { area: area.clone() }) }
    }
    /// Policy `fixed`.
    pub fn check_drawn(&self) -> Result<(), AreaError> {
        let bad =
            |s: &Shape| matches!(s, Shape::Circle { radius_km, .. } if !radius_km.is_some_and(|r| r > 0.0));
        match self.area.shapes.iter().position(bad) {
            Some(i) => Err(AreaError::NoRadius(i)),
            None => Ok(()),
        }
    }
    /// A sighting.
    pub fn circle(centre: Position) -> Self {
        Self { area: Area { shapes: vec![Shape::Circle { centre, radius_km: None }] } }
    }
    /// A single circle's own radius.
    pub fn drawn_radius_km(&self) -> f64 {
        match self.area.shapes.as_slice() {
            [Shape::Circle { radius_km: Some(r), .. }] => *r,
            _ => 0.0,
        }
    }
}
/// Radius.
#[derive(Clone, Copy, Debug)]
pub enum Radius {
    /// drawn
    AsDrawn,
    /// metres
    Metres(f64),
}
/// Reach.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// r
    pub radius: Radius,
    /// m
    pub mode: Uncertainty,
}
/// Class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellClass {
    /// o
    Outside,
    /// i
    Interior,
    /// b
    Boundary,
}
/// Bound.
#[derive(Clone, Copy, Debug)]
pub struct CellBound;
impl CellBound {
    /// of
    pub fn of(_: h3o::CellIndex) -> Self {
        Self
    }
}
impl PreparedArea {
    /// c
    pub fn contains(&self, _: Reach, _: &Spot, _: u32) -> bool {
        false
    }
    /// c
    pub fn classify(&self, _: Reach, _: &CellBound, _: RangeInclusive<u32>) -> CellClass {
        CellClass::Boundary
    }
}
/// cell
pub fn cell_of(p: Position) -> h3o::CellIndex {
    h3o::LatLng::new(p.lat_deg(), p.lon_deg()).unwrap().to_cell(h3o::Resolution::Five)
}
