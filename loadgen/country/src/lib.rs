//! A country of made-up devices, for benches and the load generator.
//!
//! Where device `i` lives and where it is at a time are functions of its index, the time and a
//! seed: nothing is stored by device, so that 400 M of them need no memory, and a ping costs
//! about as much as two cache misses. The trick: all that is slow (chances, logarithms, angles) is in
//! tables of some hundred KiB made once; a device only draws places in them.
//!
//! Two of three devices live in one of 1,215 cities, by population, thinning out exponentially
//! from its centre; one of three lives anywhere within 120 km of one. So a country of millions
//! occupies tens of thousands of H3 cells of resolution 5.
//!
//! Invariants: all is decided by the seed; [`Country::id`] never gives two devices one pseudonym;
//! a device's own pings have increasing times, one in each [`Turns`] round.

mod tables;
mod turns;

use tables::{Place, Tables};
pub use turns::Turns;

/// Metres a second of a walker.
const WALKING: f64 = 1.4;
/// Metres a second of a driver.
const DRIVING: f64 = 15.0;

/// A city.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    /// Its name.
    pub name: String,
    /// Latitude, degrees.
    pub lat: f64,
    /// Longitude, degrees.
    pub lon: f64,
    /// Inhabitants.
    pub population: u32,
}

/// Which shares of the devices do what; the rest is somewhere else at every ping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Stay at home, where their GPS wanders by 10 m.
    pub still: f64,
    /// Walk at 1.4 m/s, up and down a line of 0.5 to 5 km.
    pub walk: f64,
    /// Drive at 15 m/s, up and down a line of 10 to 150 km.
    pub drive: f64,
}

impl Shares {
    /// A country by day.
    pub const COUNTRY: Self = Self { still: 0.7, walk: 0.2, drive: 0.1 };
    /// Each ping in another place of the country: the worst for an index.
    pub const TELEPORT: Self = Self { still: 0.0, walk: 0.0, drive: 0.0 };
    /// Nobody leaves home.
    pub const STILL: Self = Self { still: 1.0, walk: 0.0, drive: 0.0 };
}

/// Latitude and longitude in 1e-7 degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Latitude.
    pub lat_e7: i32,
    /// Longitude.
    pub lon_e7: i32,
}

impl Point {
    /// Metres to another point on a sphere of the earth's mean radius (haversine): right to half
    /// a percent.
    pub fn metres_to(self, other: Self) -> f64 {
        let radians = |e7: i32| f64::from(e7) * 1e-7_f64.to_radians();
        let (lat_a, lat_b) = (radians(self.lat_e7), radians(other.lat_e7));
        let north = ((lat_b - lat_a) / 2.0).sin();
        let east = ((radians(other.lon_e7) - radians(self.lon_e7)) / 2.0).sin();
        let h = north * north + lat_a.cos() * lat_b.cos() * east * east;
        2.0 * 6_371_008.8 * h.sqrt().min(1.0).asin()
    }
}

/// The devices of a country.
#[derive(Clone)]
pub struct Country {
    seed: u64,
    /// Below the first of 65,536: still; below the second: walks; below the third: drives.
    kinds: [u64; 3],
    tables: Tables,
}

impl Country {
    /// A country.
    pub fn new(seed: u64, shares: Shares) -> Self {
        let part = |share: f64| (share.clamp(0.0, 1.0) * 65_536.0).round() as u64;
        let kinds = [shares.still, shares.still + shares.walk, shares.still + shares.walk + shares.drive];
        Self { seed: mix(seed), kinds: kinds.map(part), tables: Tables::new() }
    }

    /// The cities, the largest first.
    pub fn cities(&self) -> &[City] {
        &self.tables.cities
    }

    /// The pseudonym of device `i`: random-looking, and never that of another (the mixer is a
    /// bijection).
    #[inline]
    pub fn id(&self, i: u64) -> u64 {
        // The finalizer of MurmurHash3 (Appleby): not the mixer that the partition hash is made of.
        let mut x = i ^ self.seed;
        x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }

    /// Where device `i` lives.
    #[inline]
    pub fn home(&self, i: u64) -> Point {
        let (place, north_m, east_m) = self.tables.home(mix(i ^ self.seed));
        place.moved(north_m, east_m)
    }

    /// Where device `i` is, `ms` after the start.
    #[inline]
    pub fn at(&self, i: u64, ms: u64) -> Point {
        let own = mix(i ^ self.seed);
        let draw = mix(own);
        let kind = draw & 0xffff;
        if kind < self.kinds[0] {
            let (place, north_m, east_m) = self.tables.home(own);
            return wandering(place, north_m, east_m, mix(own ^ ms));
        }
        if kind >= self.kinds[2] {
            let (place, north_m, east_m) = self.tables.home(mix(own ^ ms));
            return place.moved(north_m, east_m);
        }
        let (place, north_m, east_m) = self.tables.home(own);
        let far = unit((draw >> 16) as u16);
        let (speed, turn_m) = if kind < self.kinds[1] {
            (WALKING, 500.0 + 4_500.0 * far)
        } else {
            (DRIVING, 10_000.0 + 140_000.0 * far)
        };
        // Up and down the line, from anywhere on it.
        let there_and_back = 2.0 * turn_m;
        let turns = unit((draw >> 32) as u16) + speed * 1e-3 * ms as f64 / there_and_back;
        let away_m = turn_m - ((turns - turns.floor()) * there_and_back - turn_m).abs();
        let (north, east) = self.tables.way(draw >> 48);
        place.moved(north_m + away_m as f32 * north, east_m + away_m as f32 * east)
    }
}

/// Up to 10 m from a place, both ways.
#[inline]
fn wandering(place: &Place, north_m: f32, east_m: f32, chance: u64) -> Point {
    let metres = |bits: u64| 20.0 * unit(bits as u16) as f32 - 10.0;
    place.moved(north_m + metres(chance), east_m + metres(chance >> 16))
}

/// In [0, 1).
#[inline]
fn unit(bits: u16) -> f64 {
    f64::from(bits) * (1.0 / 65_536.0)
}

/// The 64-bit finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection.
#[inline]
fn mix(x: u64) -> u64 {
    let mut x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pseudonyms_are_of_one_device_each_and_a_seed_decides_all() {
        let country = Country::new(1, Shares::COUNTRY);
        let ids: HashSet<u64> = (0..100_000).map(|i| country.id(i)).collect();
        assert_eq!(ids.len(), 100_000);
        let (same, other) = (Country::new(1, Shares::COUNTRY), Country::new(2, Shares::COUNTRY));
        assert!((0..1_000).all(|i| same.at(i, 7_000) == country.at(i, 7_000)));
        assert!((0..1_000).filter(|i| other.at(*i, 7_000) == country.at(*i, 7_000)).count() < 10);
    }

    #[test]
    fn devices_move_as_their_shares_say() {
        let country = Country::new(3, Shares::COUNTRY);
        let (mut still, mut walk, mut drive) = (0, 0, 0);
        for i in 0..20_000 {
            let gone = country.at(i, 0).metres_to(country.at(i, 60_000));
            // A minute: 84 m on foot, 900 m by car (5 % more where the line leads far north), less where
            // it turns round.
            match gone {
                ..30.0 => still += 1,
                ..86.0 => walk += 1,
                ..950.0 => drive += 1,
                _ => panic!("device {i} went {gone} m in a minute"),
            }
        }
        assert!((13_900..14_600).contains(&still), "{still} of 20,000 stay");
        assert!((3_500..4_200).contains(&walk), "{walk} of 20,000 walk");
        assert!((1_800..2_200).contains(&drive), "{drive} of 20,000 drive");
    }

    #[test]
    fn those_who_stay_are_within_their_gps_of_home_and_the_others_are_everywhere() {
        let still = Country::new(4, Shares::STILL);
        assert!((0..5_000).all(|i| still.at(i, i * 37).metres_to(still.home(i)) < 15.0));
        let anywhere = Country::new(4, Shares::TELEPORT);
        let far = |i: &u64| anywhere.at(*i, 0).metres_to(anywhere.at(*i, 60_000)) > 20_000.0;
        assert!((0..5_000).filter(far).count() > 4_700);
    }

    #[test]
    fn the_largest_city_has_its_share_and_villages_are_wide() {
        let country = Country::new(5, Shares::STILL);
        let largest = &country.cities()[0];
        let centre = Point { lat_e7: (largest.lat * 1e7) as i32, lon_e7: (largest.lon * 1e7) as i32 };
        let within = |km: f64| {
            (0..100_000).filter(|i| country.home(*i).metres_to(centre) < km * 1_000.0).count() as f64 / 1e5
        };
        // 22.3 M of 424.5 M inhabitants, of two thirds of all, plus what is near.
        assert!((0.025..0.06).contains(&within(60.0)), "{}", within(60.0));
        // Squares of 0.2 degrees, about the size of a cell of resolution 5 and a half.
        let squares: HashSet<(i32, i32)> = (0..1_000_000)
            .map(|i| country.home(i))
            .map(|home| (home.lat_e7 / 2_000_000, home.lon_e7 / 2_000_000))
            .collect();
        assert!((5_000..30_000).contains(&squares.len()), "{} squares", squares.len());
    }
}
