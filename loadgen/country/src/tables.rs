//! What devices draw from: cities by population, ways out of them, directions.

use std::f64::consts::TAU;

use super::{City, Point, unit};

/// 1,215 cities of China by population (GeoNames, CC BY 4.0; see `examples/data/README.md`).
const CITIES_CSV: &str = include_str!("../../../examples/data/cities_cn.csv");

/// Draws of a place: a power of two.
const PICKS: usize = 1 << 16;
/// The first of them are of cities by population, the rest of villages: about a third of all, as
/// in China's census of 2020.
const CITY_PICKS: usize = PICKS * 65 / 100;
/// Ways from a centre: a power of two, few enough to stay in the second-level cache.
const OFFSETS: usize = 1 << 14;
/// Directions: a power of two.
const WAYS: usize = 1 << 11;
/// How far villages lie from a city, m.
const VILLAGES_WITHIN_M: f64 = 120_000.0;
/// 1e-7 degrees of latitude in a metre (a degree is 111,320 m, near enough to move a device).
const E7_PER_METRE: f64 = 1e7 / 111_320.0;

/// Where devices live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    lat_e7: i32,
    lon_e7: i32,
    /// 1e-7 degrees of longitude in a metre.
    east_e7: f32,
    /// How far out of the centre, m: the mean in a city, the largest among villages.
    reach_m: f32,
}

impl Place {
    /// The point so many metres from the centre.
    #[inline]
    pub(crate) fn moved(&self, north_m: f32, east_m: f32) -> Point {
        Point {
            lat_e7: self.lat_e7 + (north_m * E7_PER_METRE as f32) as i32,
            lon_e7: self.lon_e7 + (east_m * self.east_e7) as i32,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) cities: Vec<City>,
    /// The cities, then the villages around each.
    places: Vec<Place>,
    picks: Vec<u16>,
    /// North and east in reaches: first of cities, then of villages.
    offsets: Vec<(f32, f32)>,
    ways: Vec<(f32, f32)>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        let mut cities: Vec<City> = CITIES_CSV.lines().skip(1).filter_map(city).collect();
        cities.sort_by_key(|city| std::cmp::Reverse(city.population));
        let place = |city: &City, reach_m: f64| Place {
            lat_e7: (city.lat * 1e7) as i32,
            lon_e7: (city.lon * 1e7) as i32,
            east_e7: (E7_PER_METRE / city.lat.to_radians().cos()) as f32,
            reach_m: reach_m as f32,
        };
        // A city of a million has a mean radius of 4.5 km.
        let urban = cities.iter().map(|city| place(city, 4.5 * f64::from(city.population).sqrt()));
        let rural = cities.iter().map(|city| place(city, VILLAGES_WITHIN_M));
        let places: Vec<Place> = urban.chain(rural).collect();
        let mut picks = spread(CITY_PICKS, 0, &cities, f64::from);
        picks.extend(spread(PICKS - CITY_PICKS, cities.len(), &cities, |people| f64::from(people).sqrt()));

        // Evenly spaced shares of a distribution, their directions by the golden angle.
        let golden = TAU * 0.618_033_988_749_895;
        let offset = |k: usize, away: f64| {
            let way = golden * k as f64;
            ((away * way.cos()) as f32, (away * way.sin()) as f32)
        };
        let share = |k: usize| (k as f64 + 0.5) / OFFSETS as f64;
        let thinning = (0..OFFSETS).map(|k| offset(k, -(1.0 - share(k)).ln()));
        let even = (0..OFFSETS).map(|k| offset(k, share(k).sqrt()));
        let offsets = thinning.chain(even).collect();
        let ways = (0..WAYS)
            .map(|k| TAU * k as f64 / WAYS as f64)
            .map(|way| (way.cos() as f32, way.sin() as f32))
            .collect();
        Self { cities, places, picks, offsets, ways }
    }

    /// A home for a number that was well mixed: the place, and metres north and east of it.
    #[inline]
    pub(crate) fn home(&self, own: u64) -> (&Place, f32, f32) {
        let pick = own as usize % PICKS;
        let place = &self.places[usize::from(self.picks[pick])];
        let villages = if pick < CITY_PICKS { 0 } else { OFFSETS };
        let (north, east) = self.offsets[villages + (own >> 16) as usize % OFFSETS];
        // Off the table's grid by up to a hundredth of the reach.
        let off = |bits: u64| (unit(bits as u16) as f32 - 0.5) * 0.02;
        let (north, east) = (north + off(own >> 32), east + off(own >> 48));
        (place, north * place.reach_m, east * place.reach_m)
    }

    /// A direction: north and east, of length 1.
    #[inline]
    pub(crate) fn way(&self, draw: u64) -> (f32, f32) {
        self.ways[draw as usize % WAYS]
    }
}

/// A line of the table; the one with no number in its place is none.
fn city(line: &str) -> Option<City> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[_, name, _, _, lat, lon, population] = fields.as_slice() else { return None };
    Some(City {
        name: name.trim_matches('"').into(),
        lat: lat.parse().ok()?,
        lon: lon.parse().ok()?,
        population: population.parse().ok()?,
    })
}

/// `count` places, each as often as its weight says.
fn spread(count: usize, first: usize, cities: &[City], weight: impl Fn(u32) -> f64) -> Vec<u16> {
    let total: f64 = cities.iter().map(|city| weight(city.population)).sum();
    let (mut picks, mut up_to) = (Vec::with_capacity(count), 0.0);
    for (i, city) in (first..).zip(cities) {
        up_to += weight(city.population);
        let end = if i + 1 == first + cities.len() { count } else { (up_to / total * count as f64) as usize };
        picks.resize(end.max(picks.len()), i as u16);
    }
    picks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_city() {
        let tables = Tables::new();
        assert_eq!(tables.cities.len(), CITIES_CSV.lines().count() - 1);
        assert_eq!(tables.picks.len(), PICKS);
        assert_eq!(tables.cities[0].name, "Shanghai");
        let villages = tables.picks.iter().filter(|pick| usize::from(**pick) >= tables.cities.len()).count();
        assert_eq!(villages, PICKS - CITY_PICKS);
    }
}
