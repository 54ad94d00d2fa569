//! The devices: where they live, how they move, and the pings that say so. All from the seed.

use std::f64::consts::TAU;

use anyhow::Context as _;
use hexcast::domain::{DeviceId, EventTime, Ping, Position};

use crate::scenario::Scenario;

/// 1,215 cities of China by population (GeoNames, CC BY 4.0; see `examples/data/README.md`).
const CITIES_CSV: &str = include_str!("../../examples/data/cities_cn.csv");

const WALKING_M_PER_S: f32 = 1.4;
const DRIVING_M_PER_S: f32 = 15.0;
const GPS_WANDERS_M: f64 = 10.0;
/// Metres in a degree of latitude, near enough to move a device.
const METRES_PER_DEGREE: f64 = 111_320.0;

/// A city.
#[derive(Clone, Debug)]
pub(crate) struct City {
    pub(crate) name: String,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    population: u64,
}

/// The cities.
pub(crate) struct Cities {
    pub(crate) all: Vec<City>,
    /// Inhabitants of the cities up to and with this one.
    up_to: Vec<u64>,
}

impl Cities {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let city = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            let &[_, name, _, _, lat, lon, population] = fields.as_slice() else { return None };
            Some(City {
                name: name.trim_matches('"').into(),
                lat: lat.parse().ok()?,
                lon: lon.parse().ok()?,
                population: population.parse().ok()?,
            })
        };
        let all: Vec<City> = CITIES_CSV
            .lines()
            .skip(1)
            .map(|line| city(line).with_context(|| format!("the built-in city \"{line}\"")))
            .collect::<anyhow::Result<_>>()?;
        let mut total = 0;
        let up_to = all
            .iter()
            .map(|city| {
                total += city.population;
                total
            })
            .collect();
        Ok(Self { all, up_to })
    }

    pub(crate) fn named(&self, name: &str) -> anyhow::Result<&City> {
        let found = self.all.iter().find(|city| city.name == name);
        found.with_context(|| format!("no city is named {name}: see examples/data/cities_cn.csv"))
    }

    /// A place in a city that `draw` falls on, with the chance of its inhabitants.
    fn place(&self, draw: u64) -> Option<(f64, f64)> {
        let inhabitant = mix(draw, 1) % self.up_to.last()?.max(&1);
        let city = self.all.get(self.up_to.partition_point(|up_to| *up_to <= inhabitant))?;
        let reach_m = 4.5 * (city.population as f64).sqrt();
        let away_m = -reach_m * (1.0 - unit(mix(draw, 2))).ln();
        let way = TAU * unit(mix(draw, 3));
        Some(moved((city.lat, city.lon), away_m * way.cos(), away_m * way.sin()))
    }
}

fn moved((lat, lon): (f64, f64), north_m: f64, east_m: f64) -> (f64, f64) {
    let metres_per_degree_lon = METRES_PER_DEGREE * lat.to_radians().cos();
    (lat + north_m / METRES_PER_DEGREE, lon + east_m / metres_per_degree_lon)
}

/// A well mixed number of two: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number in [0, 1) of the top bits.
fn unit(x: u64) -> f64 {
    (x >> 11) as f64 / (1u64 << 53) as f64
}

#[derive(Clone, Copy)]
struct Device {
    id: u64,
    home_lat: f64,
    home_lon: f64,
    north: f32,
    east: f32,
    /// 0 stays at home, negative is somewhere else at every ping.
    speed_m_per_s: f32,
    /// Turns round after so many metres.
    turn_m: f32,
}

/// All devices; each pings in its turn.
pub(crate) struct Crowd {
    cities: Cities,
    devices: Vec<Device>,
    next: usize,
    round: u64,
}

impl Crowd {
    pub(crate) fn new(devices: u32, seed: u64, scenario: &Scenario) -> anyhow::Result<Self> {
        let cities = Cities::new()?;
        let device = |index: u32| {
            let own = mix(seed, u64::from(index));
            let (home_lat, home_lon) = cities.place(mix(own, 1))?;
            let way = TAU * unit(mix(own, 2));
            let far = unit(mix(own, 3)) as f32;
            let kind = unit(mix(own, 4));
            let (speed_m_per_s, turn_m) = if kind < scenario.still {
                (0.0, 1.0)
            } else if kind < scenario.still + scenario.walk {
                (WALKING_M_PER_S, 500.0 + 4_500.0 * far)
            } else if kind < scenario.still + scenario.walk + scenario.drive {
                (DRIVING_M_PER_S, 10_000.0 + 140_000.0 * far)
            } else {
                (-1.0, 1.0)
            };
            let (north, east) = (way.cos() as f32, way.sin() as f32);
            Some(Device { id: own, home_lat, home_lon, north, east, speed_m_per_s, turn_m })
        };
        let devices: Vec<Device> = (0..devices).filter_map(device).collect();
        Ok(Self { cities, devices, next: 0, round: 0 })
    }

    pub(crate) fn cities(&self) -> &Cities {
        &self.cities
    }

    /// The ping of the device whose turn it is; `seconds` since the start say how far it got.
    pub(crate) fn ping(&mut self, at: EventTime, seconds: f64) -> Option<Ping> {
        if self.next >= self.devices.len() {
            self.next = 0;
            self.round += 1;
        }
        let device = *self.devices.get(self.next)?;
        self.next += 1;
        let chance = mix(device.id, self.round);
        let home = (device.home_lat, device.home_lon);
        let (lat, lon) = if device.speed_m_per_s > 0.0 {
            let turn_m = f64::from(device.turn_m);
            let gone_m = f64::from(device.speed_m_per_s) * seconds % (2.0 * turn_m);
            let away_m = if gone_m < turn_m { gone_m } else { 2.0 * turn_m - gone_m };
            moved(home, away_m * f64::from(device.north), away_m * f64::from(device.east))
        } else if device.speed_m_per_s < 0.0 {
            self.cities.place(chance)?
        } else {
            let wander = |bits: u64| (unit(bits) * 2.0 - 1.0) * GPS_WANDERS_M;
            moved(home, wander(chance), wander(chance << 26))
        };
        let position = Position::from_degrees(lat, lon).ok()?;
        Some(Ping { device: DeviceId(device.id), at, position, accuracy_m: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_pings_once_in_a_round_and_the_seed_decides_all() {
        let scenario = Scenario::find("country").unwrap();
        let pings = |seed| -> Vec<Ping> {
            let mut crowd = Crowd::new(500, seed, &scenario).unwrap();
            (0..1_000).map(|i| crowd.ping(EventTime(i), i as f64).unwrap()).collect()
        };
        let one = pings(1);
        assert_eq!(one, pings(1));
        assert_ne!(one, pings(2));
        let mut first: Vec<u64> = one[..500].iter().map(|ping| ping.device.0).collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 500);
        assert!((0..500).all(|i| one[i].device == one[500 + i].device));
    }
}
