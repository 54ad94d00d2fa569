//! A country of made-up devices, for benches and the load generator.
//!
//! Where device `i` lives and where it is at a time are functions of its index, the time and a
//! seed: nothing is stored by device, so that 400 M of them need no memory, and a ping costs
//! about as much as two cache misses. The trick: all that is slow (chances, logarithms, angles) is in
//! tables of some hundred KiB made once; a device only draws places in them.
//!
//! Unless said otherwise, two of three devices live in one of 1,215 cities, by population, thinning out exponentially
//! from its centre; one of three lives anywhere within 120 km of one. So a country of millions
//! occupies tens of thousands of H3 cells of resolution 5.
//!
//! Invariants: all is decided by the seed; [`Country::id`] never gives two devices one pseudonym;
//! a device's own pings have increasing times, one in each [`Turns`] round.

mod block;
mod tables;
mod towers;
mod turns;

pub use block::Block;
use tables::{Lines, Tables, gone_of, rate};
pub use towers::Towers;
pub use turns::{Gaps, Turn, Turns};

/// Metres a second of a walker.
const WALKING: f64 = 1.4;
/// The shortest line that is walked up and down, and by how much the longest is longer, m.
const WALKS_M: (f64, f64) = (500.0, 4_500.0);
/// Metres a second of a driver.
const DRIVING: f64 = 15.0;
/// As of walkers.
const DRIVES_M: (f64, f64) = (10_000.0, 140_000.0);
/// Metres a second of a train.
const RAIL: f64 = 70.0;
/// The shortest line of a train, 1e-7 degree of latitude: a kilometre.
const RAIL_E7_MIN: f32 = 90_000.0;

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

/// Where people live.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// Only in and around these cities; empty for all.
    pub cities: Vec<String>,
    /// The share of those who live in villages, anywhere within 120 km of a city.
    pub villages: f64,
}

impl Default for Population {
    /// All cities, and a third in villages, as in China's census of 2020.
    fn default() -> Self {
        Self { cities: Vec::new(), villages: 0.35 }
    }
}

/// A city that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCity(pub String);

/// Which shares of the devices do what; the rest is somewhere else at every ping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Stay at home, where their GPS wanders by 10 m.
    pub still: f64,
    /// Walk at 1.4 m/s, up and down a line of 0.5 to 5 km.
    pub walk: f64,
    /// Drive at 15 m/s, up and down a line of 10 to 150 km.
    pub drive: f64,
    /// Go by train at 70 m/s between home and somewhere in the country, to and fro.
    pub rail: f64,
}

impl Shares {
    /// A country by day.
    pub const COUNTRY: Self = Self { still: 0.7, walk: 0.2, drive: 0.1, rail: 0.0 };
    /// Each ping in another place of the country: the worst for an index.
    pub const TELEPORT: Self = Self { still: 0.0, walk: 0.0, drive: 0.0, rail: 0.0 };
    /// Nobody leaves home.
    pub const STILL: Self = Self { still: 1.0, walk: 0.0, drive: 0.0, rail: 0.0 };
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
    /// Below the first of 65,536: still; then: walks, drives, goes by train; the rest is anywhere.
    kinds: [u64; 4],
    tables: Tables,
    walks: Lines,
    drives: Lines,
}

impl Country {
    /// All of the country, as in [`Population::default`].
    pub fn new(seed: u64, shares: Shares) -> Self {
        Self::of(seed, shares, Tables::new(tables::all_cities(), Population::default().villages))
    }

    /// A country where people live as said.
    ///
    /// # Errors
    /// Where a city is not in the table.
    pub fn peopled(seed: u64, shares: Shares, people: &Population) -> Result<Self, UnknownCity> {
        let mut cities = tables::all_cities();
        if !people.cities.is_empty() {
            cities = tables::chosen(&cities, &people.cities)?;
        }
        Ok(Self::of(seed, shares, Tables::new(cities, people.villages)))
    }

    fn of(seed: u64, shares: Shares, tables: Tables) -> Self {
        let part = |share: f64| (share.clamp(0.0, 1.0) * 65_536.0).round() as u64;
        let mut sum = 0.0;
        let kinds = [shares.still, shares.walk, shares.drive, shares.rail].map(|share| {
            sum += share;
            part(sum)
        });
        let (walks, drives) = (Lines::new(WALKING, WALKS_M), Lines::new(DRIVING, DRIVES_M));
        Self { seed: mix(seed), kinds, tables, walks, drives }
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
        self.tables.home(mix(i ^ self.seed)).1
    }

    /// Where device `i` is, `ms` after the start.
    #[inline]
    pub fn at(&self, i: u64, ms: u64) -> Point {
        let own = mix(i ^ self.seed);
        match self.kind(own) {
            0 => self.still(own, ms),
            1 => self.to_and_fro(own, ms, &self.walks),
            2 => self.to_and_fro(own, ms, &self.drives),
            3 => self.by_rail(own, ms),
            _ => self.anywhere(own, ms),
        }
    }

    /// What a device does.
    #[inline]
    fn kind(&self, own: u64) -> usize {
        // Bits that homes are not drawn by.
        let drawn = own.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        self.kinds.iter().map(|below| usize::from(drawn >= *below)).sum()
    }

    #[inline]
    fn still(&self, own: u64, ms: u64) -> Point {
        let (place, home) = self.tables.home(own);
        place.wandering(home, mix(own ^ ms))
    }

    /// Up and down a line, from anywhere on it.
    #[inline]
    fn to_and_fro(&self, own: u64, ms: u64, lines: &Lines) -> Point {
        let (place, home) = self.tables.home(own);
        let draw = mix(own);
        place.moved(home, lines.along(draw, ms), self.tables.way(draw >> 48))
    }

    #[inline]
    fn by_rail(&self, own: u64, ms: u64) -> Point {
        let draw = mix(own);
        let ((place, home), (_, end)) = (self.tables.home(own), self.tables.home(mix(draw)));
        // Two homes at one place are a short line, not none.
        let rate = ((rate(RAIL) as f32) / place.between_e7(home, end).max(RAIL_E7_MIN)) as u64;
        let gone = |from: i32, to: i32| from + gone_of(to - from, draw, rate, ms);
        Point { lat_e7: gone(home.lat_e7, end.lat_e7), lon_e7: gone(home.lon_e7, end.lon_e7) }
    }

    #[inline]
    fn anywhere(&self, own: u64, ms: u64) -> Point {
        self.tables.home(mix(own ^ ms)).1
    }
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
    fn trains_run_between_far_places_and_come_back() {
        let rail = Country::new(3, Shares { rail: 1.0, ..Shares::TELEPORT });
        let mut long = 0;
        for i in 0..2_000 {
            let gone = rail.at(i, 0).metres_to(rail.at(i, 60_000));
            // 4.2 km; degrees of longitude are those at home, which differ from south to north.
            assert!(gone < 7_500.0, "device {i} went {gone} m in a minute");
            long += usize::from(gone > 2_500.0);
        }
        assert!(long > 1_800, "{long} of 2,000 are under way");
        let home = (0..2_000).filter(|i| rail.at(*i, 3_600_000).metres_to(rail.home(*i)) > 100_000.0).count();
        assert!(home > 1_500, "{home} of 2,000 are far from home");
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
