//! Positions as a radio network tells them: the tower that a device is heard by, and how far that
//! reaches. One tower in each square of a hundredth of a degree, about a kilometre.

use super::{Point, mix};

/// Side of a tower's square, 1e-7 degree.
const SQUARE_E7: u32 = 100_000;
/// Where longitudes begin, 1e-7 degree; latitudes are counted from there too.
const WEST_E7: i32 = -1_800_000_000;
/// Reaches to draw from: a power of two.
const REACHES: usize = 1 << 12;

/// The towers of a country.
#[derive(Clone, Debug)]
pub struct Towers {
    reaches_m: Vec<u32>,
}

impl Towers {
    /// Towers that reach `least_m` to `most_m` metres, small ones more often (evenly by the logarithm).
    pub fn new(least_m: u32, most_m: u32) -> Self {
        let (least, most) = (f64::from(least_m.max(1)), f64::from(most_m.max(least_m).max(1)));
        let reach = |k: usize| least * (most / least).powf((k as f64 + 0.5) / REACHES as f64);
        Self { reaches_m: (0..REACHES).map(|k| reach(k).round() as u32).collect() }
    }

    /// The tower that hears a device there: where it stands, and its reach in metres.
    #[inline]
    pub fn heard(&self, device: Point) -> (Point, u32) {
        // Counted from the south-west corner of all maps: nothing is negative, and one division is enough.
        let square = |e7: i32| e7.wrapping_sub(WEST_E7) as u32 / SQUARE_E7;
        let (north, east) = (square(device.lat_e7), square(device.lon_e7));
        let drawn = mix((u64::from(north) << 32) | u64::from(east));
        let centre = |square: u32| (square * SQUARE_E7 + SQUARE_E7 / 2).wrapping_add_signed(WEST_E7) as i32;
        (Point { lat_e7: centre(north), lon_e7: centre(east) }, self.reaches_m[drawn as usize % REACHES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_tower_near_by_and_reaches_are_within_what_was_asked_for() {
        let towers = Towers::new(300, 5_000);
        let mut reaches = Vec::new();
        for n in 0..2_000 {
            let device = Point { lat_e7: 312_304_000 + n * 7_919, lon_e7: -1_214_737_000 + n * 104_729 };
            let (tower, reach_m) = towers.heard(device);
            assert_eq!(towers.heard(device), (tower, reach_m));
            assert_eq!(towers.heard(tower), (tower, reach_m), "a tower hears itself");
            assert!(tower.metres_to(device) < 800.0);
            assert!((300..=5_000).contains(&reach_m));
            reaches.push(reach_m);
        }
        reaches.sort_unstable();
        // The geometric mean.
        assert!((1_050..1_420).contains(&reaches[1_000]), "{}", reaches[1_000]);
        assert_eq!(Towers::new(0, 0).heard(Point { lat_e7: 5, lon_e7: 5 }).1, 1);
    }
}
