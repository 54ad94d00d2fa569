//! geo: placeholder until its branch lands.

use crate::domain::{Area, Position};

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
        use crate::domain::Shape;
        match self
            .area
            .shapes
            .iter()
            .position(|s| matches!(s, Shape::Circle { radius_km, .. } if !radius_km.is_some_and(|r| r > 0.0)))
        {
            Some(i) => Err(AreaError::NoRadius(i)),
            None => Ok(()),
        }
    }
    /// A sighting.
    pub fn circle(centre: Position) -> Self {
        Self { area: Area { shapes: vec![crate::domain::Shape::Circle { centre, radius_km: None }] } }
    }
    /// A single circle's own radius.
    pub fn drawn_radius_km(&self) -> f64 {
        match self.area.shapes.as_slice() {
            [crate::domain::Shape::Circle { radius_km: Some(r), .. }] => *r,
            _ => 0.0,
        }
    }
}
