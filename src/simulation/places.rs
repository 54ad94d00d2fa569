//! A small geography: spots where devices stand, centres where children were lost, and how far
//! each is from each, by the geodesic library alone.

use std::sync::OnceLock;

use geographiclib_rs::{Geodesic, InverseGeodesic};

use super::dice::Dice;

/// Places where devices may stand.
pub(super) const SPOTS: usize = 40;
/// Centres of circles.
pub(super) const CENTRES: usize = 8;

/// Positions in degrees, and distances in metres.
pub(super) struct Places {
    pub(super) spots: [(f64, f64); SPOTS],
    pub(super) centres: [(f64, f64); CENTRES],
    metres: [[f64; SPOTS]; CENTRES],
}

impl Places {
    /// How far a spot is from a centre, metres.
    pub(super) fn metres(&self, centre: usize, spot: usize) -> f64 {
        self.metres[centre][spot]
    }

    fn new() -> Self {
        let mut dice = Dice::new(7);
        // Most in a town of a few cells, some around it, some far away.
        let mut place = |wide: f64| {
            let mut degree = |middle: f64| {
                let off = wide * (dice.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5);
                ((middle + off) * 1e7).round() / 1e7
            };
            (degree(31.0), degree(121.0))
        };
        let spots = std::array::from_fn(|i| place([0.1, 0.1, 0.5, 2.0, 6.0][i % 5]));
        let centres = std::array::from_fn(|i| place([0.05, 0.3, 1.0, 2.0][i % 4]));
        let wgs84 = Geodesic::wgs84();
        let metres = centres
            .map(|(lat, lon)| spots.map(|(lat2, lon2)| -> f64 { wgs84.inverse(lat, lon, lat2, lon2) }));
        Self { spots, centres, metres }
    }
}

/// The one geography.
pub(super) fn places() -> &'static Places {
    static PLACES: OnceLock<Places> = OnceLock::new();
    PLACES.get_or_init(Places::new)
}
