//! How far the peers believe two positions to be apart, written from their own sources' formulas:
//! who is near a circle's border is on the other side of it for them, and only that is forgiven.

use hexcast::domain::Position;

/// Redis and Valkey: the radius in `geohash_helper.c`.
const REDIS_RADIUS_M: f64 = 6_372_797.560856;
/// Tile38: the radius in `geojson/geo`.
const TILE38_RADIUS_M: f64 = 6_371e3;
/// The latitudes that Redis has places for.
const REDIS_LAT_MAX: f64 = 85.051_128_78;
const REDIS_LON_MAX: f64 = 180.0;
/// Bits of a coordinate in a Redis geohash.
const REDIS_BITS: u64 = 26;

/// What Redis and Valkey take for the distance, metres: from the centre as it was given to the middle
/// of the geohash that a position became.
pub(super) fn redis_metres(centre: Position, position: Position) -> f64 {
    let lat = rounded(position.lat_deg(), REDIS_LAT_MAX);
    let lon = rounded(position.lon_deg(), REDIS_LON_MAX);
    haversine(REDIS_RADIUS_M, centre.lat_deg(), centre.lon_deg(), lat, lon)
}

/// What Tile38 takes for the distance, metres.
pub(super) fn tile38_metres(centre: Position, position: Position) -> f64 {
    let (lat, lon) = (position.lat_deg(), position.lon_deg());
    haversine(TILE38_RADIUS_M, centre.lat_deg(), centre.lon_deg(), lat, lon)
}

/// The middle of the step of a coordinate, of 2^26 between `-most` and `most`.
fn rounded(degrees: f64, most: f64) -> f64 {
    let steps = (1_u64 << REDIS_BITS) as f64;
    let step = ((degrees + most) / (2.0 * most) * steps).floor();
    let at = |step: f64| -most + step / steps * (2.0 * most);
    (at(step) + at(step + 1.0)) / 2.0
}

fn haversine(radius_m: f64, lat_a: f64, lon_a: f64, lat_b: f64, lon_b: f64) -> f64 {
    let (lat_a, lat_b) = (lat_a.to_radians(), lat_b.to_radians());
    let u = ((lat_b - lat_a) / 2.0).sin();
    let v = ((lon_b.to_radians() - lon_a.to_radians()) / 2.0).sin();
    let a = u * u + lat_a.cos() * lat_b.cos() * v * v;
    2.0 * radius_m * a.sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Redis' own documentation: `GEODIST Sicily Palermo Catania` is 166274.1516, and
    /// `GEOPOS` gives 13.36138933897018433, 38.11555639549629859 for Palermo.
    #[test]
    fn redis_own_example_comes_out() {
        let palermo = Position::from_degrees(38.115556, 13.361389).unwrap();
        assert!((rounded(palermo.lon_deg(), REDIS_LON_MAX) - 13.361_389_338_970_184).abs() < 1e-14);
        assert!((rounded(palermo.lat_deg(), REDIS_LAT_MAX) - 38.115_556_395_496_3).abs() < 1e-13);
        let as_held = |lat, lon| (rounded(lat, REDIS_LAT_MAX), rounded(lon, REDIS_LON_MAX));
        let (a, b) = (as_held(38.115556, 13.361389), as_held(37.502669, 15.087269));
        let metres = haversine(REDIS_RADIUS_M, a.0, a.1, b.0, b.1);
        assert!((metres - 166_274.151_6).abs() < 1e-4, "{metres}");
    }

    #[test]
    fn a_degree_of_latitude_is_as_long_as_the_radius_says() {
        let (a, b) =
            (Position::from_degrees(30.0, 120.0).unwrap(), Position::from_degrees(31.0, 120.0).unwrap());
        assert!((tile38_metres(a, b) - 6_371e3_f64.to_radians()).abs() < 1e-3);
    }
}
