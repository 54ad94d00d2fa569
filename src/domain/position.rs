//! A WGS-84 position as it is held everywhere: two signed 32-bit integers of 1e-7 degree.

/// Units of 1e-7 degree in one degree.
const UNITS: f64 = 1e7;

/// A position, latitude and longitude in 1e-7 degree (about 1.1 cm), WGS-84.
///
/// Longitude 180 and -180 are one meridian; it is held as -180.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    lat_e7: i32,
    lon_e7: i32,
}

/// Why a pair of numbers is no position.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PositionError {
    /// Latitude outside [-90, 90], or not a number.
    #[error("latitude {0} is outside [-90, 90]")]
    Latitude(f64),
    /// Longitude outside [-180, 180], or not a number.
    #[error("longitude {0} is outside [-180, 180]")]
    Longitude(f64),
}

impl Position {
    /// From degrees: ranges are checked first, then each is rounded to the nearest 1e-7 degree,
    /// ties away from zero.
    pub fn from_degrees(lat: f64, lon: f64) -> Result<Self, PositionError> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(PositionError::Latitude(lat));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return Err(PositionError::Longitude(lon));
        }
        // In range, so the casts are exact; `round` takes ties away from zero.
        Ok(Self::new((lat * UNITS).round() as i32, (lon * UNITS).round() as i32))
    }

    /// From units of 1e-7 degree.
    pub fn from_e7(lat_e7: i32, lon_e7: i32) -> Result<Self, PositionError> {
        if !(-900_000_000..=900_000_000).contains(&lat_e7) {
            return Err(PositionError::Latitude(f64::from(lat_e7) / UNITS));
        }
        if !(-1_800_000_000..=1_800_000_000).contains(&lon_e7) {
            return Err(PositionError::Longitude(f64::from(lon_e7) / UNITS));
        }
        Ok(Self::new(lat_e7, lon_e7))
    }

    fn new(lat_e7: i32, lon_e7: i32) -> Self {
        let lon_e7 = if lon_e7 == 1_800_000_000 { -lon_e7 } else { lon_e7 };
        Self { lat_e7, lon_e7 }
    }

    /// From the units of a position that was held as two numbers: what [`Self::lat_e7`] and
    /// [`Self::lon_e7`] gave.
    pub(crate) fn from_held(lat_e7: i32, lon_e7: i32) -> Self {
        debug_assert!(Self::from_e7(lat_e7, lon_e7) == Ok(Self { lat_e7, lon_e7 }));
        Self { lat_e7, lon_e7 }
    }

    /// Latitude in 1e-7 degree.
    pub fn lat_e7(self) -> i32 {
        self.lat_e7
    }

    /// Longitude in 1e-7 degree, in [-180e7, 180e7).
    pub fn lon_e7(self) -> i32 {
        self.lon_e7
    }

    /// Latitude in degrees.
    pub fn lat_deg(self) -> f64 {
        f64::from(self.lat_e7) / UNITS
    }

    /// Longitude in degrees.
    pub fn lon_deg(self) -> f64 {
        f64::from(self.lon_e7) / UNITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_with_ties_away_from_zero_after_the_range_check() {
        let p = Position::from_degrees(31.000_000_05, -121.000_000_05).unwrap();
        assert_eq!((p.lat_e7(), p.lon_e7()), (310_000_001, -1_210_000_001));
        assert_eq!(Position::from_degrees(90.000_000_01, 0.0), Err(PositionError::Latitude(90.000_000_01)));
        assert!(Position::from_degrees(f64::NAN, 0.0).is_err());
        assert!(Position::from_degrees(0.0, f64::NAN).is_err());
    }

    #[test]
    fn the_two_names_of_the_antimeridian_are_one_position() {
        assert_eq!(Position::from_degrees(1.0, 180.0), Position::from_degrees(1.0, -180.0));
    }
}
