//! Where things are: which positions an area contains, exactly, and which hexagons of the
//! index lie wholly inside or outside it.
//!
//! It exists so that nobody else does geometry. It never reads a clock, never allocates for a
//! question about a position, and never answers by a sphere, a chord or a hexagon what only
//! the WGS-84 geodesic can decide. Invariant: [`PreparedArea::contains`] is a function of its
//! arguments alone, and [`PreparedArea::classify`] never contradicts it.

mod area;
mod cell;
mod chord;
mod edge;
mod error;
mod geodesic;
mod hex;
mod polygon;
mod ring;
mod same_cell;
mod topology;

pub use area::{CellClass, PreparedArea, Radius, Reach, SIGHTING_RADIUS_KM};
pub use cell::{CellBound, INDEX_RESOLUTION, cell_of};
pub use chord::{CellChord, Decider, Decision};
pub use error::AreaError;
pub use geodesic::{Spot, geodesic_m};
pub use hex::{HexKey, HexPath, hex_keys, hex_keys_by};
pub use same_cell::SameCell;

#[cfg(test)]
mod tests;
