//! What devices draw from: cities by population, ways out of them, directions.

use std::collections::BTreeSet;
use std::f64::consts::TAU;

use super::{City, Point, UnknownCity};

/// 1,215 cities of China by population (GeoNames, CC BY 4.0; see `examples/data/README.md`).
const CITIES_CSV: &str = include_str!("../../../examples/data/cities_cn.csv");

/// Draws of a place: a power of two.
const PICKS: usize = 1 << 16;
/// Ways from a centre: a power of two, few enough to stay in the second-level cache.
const OFFSETS: usize = 1 << 14;
/// Lengths of lines: a power of two.
const LINES: usize = 1 << 9;
/// Directions: a power of two.
const WAYS: usize = 1 << 11;
/// How far villages lie from a city, m.
const VILLAGES_WITHIN_M: f64 = 120_000.0;
/// 1e-7 degrees of latitude in a metre (a degree is 111,320 m, near enough to move a device).
const E7_PER_METRE: f64 = 1e7 / 111_320.0;

/// Reaches and directions are counted in so many parts: whole numbers cost half of what floating ones do.
const PARTS: f64 = 65_536.0;
/// How far GPS wanders, both ways, m.
const WANDERS_M: f64 = 10.0;

/// Where devices live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    lat_e7: i32,
    lon_e7: i32,
    /// How far out of the centre, 1e-7 degree north and east: the mean in a city, the largest among
    /// villages.
    reach_e7: (i32, i32),
    /// How far GPS wanders from one end to the other, 1e-7 degree east.
    wanders_east_e7: i32,
    /// Degrees of longitude that are as long as one of latitude, in parts; and the inverse.
    stretch: i32,
    shrink: f32,
}

impl Place {
    fn new(city: &City, reach_m: f64) -> Self {
        let east_e7 = E7_PER_METRE / city.lat.to_radians().cos();
        Self {
            lat_e7: (city.lat * 1e7) as i32,
            lon_e7: (city.lon * 1e7) as i32,
            reach_e7: ((reach_m * E7_PER_METRE) as i32, (reach_m * east_e7) as i32),
            wanders_east_e7: (2.0 * WANDERS_M * east_e7) as i32,
            stretch: (PARTS * east_e7 / E7_PER_METRE) as i32,
            shrink: (E7_PER_METRE / east_e7) as f32,
        }
    }

    /// From one point to another, on the flat of here, 1e-7 degree of latitude.
    #[inline]
    pub(crate) fn between_e7(&self, from: Point, to: Point) -> f32 {
        let north = (to.lat_e7 - from.lat_e7) as f32;
        let east = (to.lon_e7 - from.lon_e7) as f32 * self.shrink;
        (north * north + east * east).sqrt()
    }

    /// The point so far from one near here, 1e-7 degree of latitude, in a direction.
    #[inline]
    pub(crate) fn moved(&self, from: Point, away_e7: i32, way: (i32, i32)) -> Point {
        let east_e7 = parts(away_e7, way.1);
        Point {
            lat_e7: from.lat_e7 + parts(away_e7, way.0),
            lon_e7: from.lon_e7 + parts(east_e7, self.stretch),
        }
    }

    /// A point up to 10 m from one near here, both ways.
    #[inline]
    pub(crate) fn wandering(&self, from: Point, chance: u64) -> Point {
        const NORTH_E7: i32 = (2.0 * WANDERS_M * E7_PER_METRE) as i32;
        Point {
            lat_e7: from.lat_e7 + part_of(NORTH_E7, chance),
            lon_e7: from.lon_e7 + part_of(self.wanders_east_e7, chance >> 16),
        }
    }
}

/// A share of a whole by the lowest 16 bits of a chance, from minus a half to a half.
#[inline]
fn part_of(whole: i32, chance: u64) -> i32 {
    ((i64::from(whole) * i64::from(chance as i16)) >> 16) as i32
}

/// So many parts of a whole.
#[inline]
fn parts(whole: i32, parts: i32) -> i32 {
    ((i64::from(whole) * i64::from(parts)) >> 16) as i32
}

/// Lines to go up and down on at one speed.
#[derive(Clone)]
pub(crate) struct Lines {
    lines: Box<[Line; LINES]>,
}

#[derive(Clone, Copy, Default)]
struct Line {
    /// How much of the way there and back is gone in a millisecond; 2^64 is all.
    rate: u64,
    /// From end to end, 1e-7 degree of latitude.
    length_e7: i32,
}

impl Lines {
    /// Lines of evenly spread lengths, gone at so many metres a second.
    pub(crate) fn new(speed: f64, (least_m, spread_m): (f64, f64)) -> Self {
        let mut lines = Box::new([Line::default(); LINES]);
        for (k, line) in lines.iter_mut().enumerate() {
            let length_m = least_m + spread_m * (k as f64 + 0.5) / LINES as f64;
            line.rate = (rate(speed) / (length_m * E7_PER_METRE)) as u64;
            line.length_e7 = (length_m * E7_PER_METRE) as i32;
        }
        Self { lines }
    }

    /// How far along the line of a draw one is that began anywhere on it, 1e-7 degree of latitude.
    #[inline]
    pub(crate) fn along(&self, draw: u64, ms: u64) -> i32 {
        let line = &self.lines[draw as usize % LINES];
        gone_of(line.length_e7, draw, line.rate, ms)
    }
}

/// How much of a way there and back of one 1e-7 degree of latitude is gone in a millisecond at so many
/// metres a second; 2^64 is all.
pub(crate) const fn rate(speed: f64) -> f64 {
    speed * 1e-3 * E7_PER_METRE / 2.0 * (u64::MAX as f64)
}

/// How much of a whole is gone after so long, to its end and back at a rate, from anywhere on it.
#[inline]
pub(crate) fn gone_of(whole: i32, chance: u64, rate: u64, ms: u64) -> i32 {
    // Whole ways there and back fall out of the word.
    let gone = (chance << 32).wrapping_add(rate.wrapping_mul(ms));
    // 0 to 2^31 on the way there, and down again on the way back.
    let there = (gone >> 32) as u32 as i32;
    let there = there ^ (there >> 31);
    ((i64::from(whole) * i64::from(there)) >> 31) as i32
}

#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) cities: Vec<City>,
    /// The cities, then the villages around each.
    places: Vec<Place>,
    picks: Box<[u16; PICKS]>,
    /// So many picks are of cities by population, the rest of villages.
    city_picks: usize,
    /// North and east in parts of a reach: first of cities, then of villages.
    offsets: Box<[(i32, i32); 2 * OFFSETS]>,
    /// North and east in parts.
    ways: Box<[(i32, i32); WAYS]>,
}

impl Tables {
    pub(crate) fn new(cities: Vec<City>, villages: f64) -> Self {
        // A city of a million has a mean radius of 4.5 km.
        let urban = cities.iter().map(|city| Place::new(city, 4.5 * f64::from(city.population).sqrt()));
        let rural = cities.iter().map(|city| Place::new(city, VILLAGES_WITHIN_M));
        let places: Vec<Place> = urban.chain(rural).collect();
        let city_picks = (PICKS as f64 * (1.0 - villages.clamp(0.0, 1.0))) as usize;
        let mut picks = Box::new([0; PICKS]);
        let (of_cities, of_villages) = picks.split_at_mut(city_picks);
        spread(of_cities, 0, &cities, f64::from);
        spread(of_villages, cities.len(), &cities, |people| f64::from(people).sqrt());

        // Evenly spaced shares of a distribution, their directions by the golden angle.
        let golden = TAU * 0.618_033_988_749_895;
        let offset = |k: usize, away: f64| {
            let way = golden * k as f64;
            ((PARTS * away * way.cos()) as i32, (PARTS * away * way.sin()) as i32)
        };
        let share = |k: usize| (k as f64 + 0.5) / OFFSETS as f64;
        let mut offsets = Box::new([(0, 0); 2 * OFFSETS]);
        let (thinning, even) = offsets.split_at_mut(OFFSETS);
        for (k, (thinning, even)) in thinning.iter_mut().zip(even).enumerate() {
            *thinning = offset(k, -(1.0 - share(k)).ln());
            *even = offset(k, share(k).sqrt());
        }
        let mut ways = Box::new([(0, 0); WAYS]);
        for (k, way) in ways.iter_mut().enumerate() {
            let angle = TAU * k as f64 / WAYS as f64;
            *way = ((PARTS * angle.cos()) as i32, (PARTS * angle.sin()) as i32);
        }
        Self { cities, places, picks, city_picks, offsets, ways }
    }

    /// A home for a number that was well mixed, and the place that it belongs to.
    #[inline]
    pub(crate) fn home(&self, own: u64) -> (&Place, Point) {
        let pick = own as usize % PICKS;
        let place = &self.places[usize::from(self.picks[pick])];
        let villages = if pick < self.city_picks { 0 } else { OFFSETS };
        let (north, east) = self.offsets[villages | ((own >> 16) as usize % OFFSETS)];
        // Off the table's grid by up to a hundredth of the reach.
        const GRID: i32 = (0.02 * PARTS) as i32;
        let (north, east) = (north + part_of(GRID, own >> 32), east + part_of(GRID, own >> 48));
        let point = Point {
            lat_e7: place.lat_e7 + parts(place.reach_e7.0, north),
            lon_e7: place.lon_e7 + parts(place.reach_e7.1, east),
        };
        (place, point)
    }

    /// A direction: north and east, in parts.
    #[inline]
    pub(crate) fn way(&self, draw: u64) -> (i32, i32) {
        self.ways[draw as usize % WAYS]
    }
}

/// All cities, the largest first.
pub(crate) fn all_cities() -> Vec<City> {
    let mut cities: Vec<City> = CITIES_CSV.lines().skip(1).filter_map(city).collect();
    cities.sort_by_key(|city| std::cmp::Reverse(city.population));
    cities
}

/// Those of these names, the largest first; of several with one name, the largest.
pub(crate) fn chosen(cities: &[City], names: &[String]) -> Result<Vec<City>, UnknownCity> {
    let named = |name: &String| cities.iter().position(|city| city.name == *name);
    let places = names.iter().map(|name| named(name).ok_or_else(|| UnknownCity(name.clone())));
    let places: BTreeSet<usize> = places.collect::<Result<_, _>>()?;
    Ok(places.into_iter().filter_map(|place| cities.get(place).cloned()).collect())
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

/// Fills picks with places, each as often as its weight says.
fn spread(picks: &mut [u16], first: usize, cities: &[City], weight: impl Fn(u32) -> f64) {
    let total: f64 = cities.iter().map(|city| weight(city.population)).sum();
    let (count, mut begin, mut up_to) = (picks.len(), 0, 0.0);
    for (i, city) in (first..).zip(cities) {
        up_to += weight(city.population);
        let last = i + 1 == first + cities.len();
        let end = if last { count } else { (up_to / total * count as f64) as usize }.clamp(begin, count);
        picks[begin..end].fill(i as u16);
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_city() {
        let tables = Tables::new(all_cities(), 0.35);
        assert_eq!(tables.cities.len(), CITIES_CSV.lines().count() - 1);
        assert_eq!(tables.cities[0].name, "Shanghai");
        let villages = tables.picks.iter().filter(|pick| usize::from(**pick) >= tables.cities.len()).count();
        assert_eq!(villages, PICKS - PICKS * 65 / 100);
    }

    #[test]
    fn cities_may_be_chosen_and_must_exist() {
        let chosen = |names: &[&str]| {
            chosen(&all_cities(), &names.iter().map(|name| (*name).into()).collect::<Vec<_>>())
        };
        let tables = Tables::new(chosen(&["Suzhou", "Shanghai", "Suzhou"]).unwrap(), 0.0);
        let names: Vec<&str> = tables.cities.iter().map(|city| city.name.as_str()).collect();
        assert_eq!(names, ["Shanghai", "Suzhou"]);
        assert!(tables.picks.iter().all(|pick| usize::from(*pick) < 2));
        assert_eq!(chosen(&["Shanghai", "Atlantis"]), Err(UnknownCity("Atlantis".into())));
    }
}
