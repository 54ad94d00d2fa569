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
pub struct PreparedArea;
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
