//! The people of the demo: where their devices are at any time, and the pings that tell it.
//!
//! Everything follows from the seed, so that the recount can make the same pings again without
//! having kept them. 7 of 10 stay at home (a GPS that wanders by 10 m), 2 walk, 1 drives.

use std::f64::consts::TAU;

use super::population::Population;
use crate::domain::{DeviceId, EventTime, Ping, Position};

/// Each device reports once in so many ms.
pub(super) const INTERVAL_MS: i64 = 300_000;
/// The world is told in ticks of so many ms; a device reports in the same tick of every interval.
pub(super) const TICK_MS: i64 = 10_000;
const TICKS_PER_INTERVAL: i64 = INTERVAL_MS / TICK_MS;

const WALKING_M_PER_S: f64 = 1.4;
const DRIVING_M_PER_S: f64 = 15.0;
const GPS_WANDERS_M: f64 = 10.0;
/// Metres in a degree of latitude, near enough to move a device.
const METRES_PER_DEGREE: f64 = 111_320.0;

/// A device and how it moves: out from home along a line and back again, for ever.
#[derive(Clone, Copy)]
struct Device {
    id: DeviceId,
    home_lat: f64,
    home_lon: f64,
    north: f64,
    east: f64,
    speed_m_per_s: f64,
    /// Turns round after so many metres.
    turn_m: f64,
}

/// All devices.
pub(super) struct World {
    devices: Vec<Device>,
    seed: u64,
    start: EventTime,
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

impl World {
    /// `devices` devices from `start` on.
    pub(super) fn new(population: &Population, devices: u32, seed: u64, start: EventTime) -> Self {
        let device = |index: u32| {
            let own = mix(seed, u64::from(index));
            let city = population.city(mix(own, 1))?;
            // Denser within: a city of 20 million is some 40 km wide, a town of 20,000 some 1 km.
            let reach_m = 4.5 * (city.population as f64).sqrt();
            let home_m = -reach_m * (1.0 - unit(mix(own, 2))).ln();
            let home_way = TAU * unit(mix(own, 3));
            let home_lat = city.lat + home_m * home_way.cos() / METRES_PER_DEGREE;
            let home_lon =
                city.lon + home_m * home_way.sin() / (METRES_PER_DEGREE * city.lat.to_radians().cos());
            let way = TAU * unit(mix(own, 4));
            let far = unit(mix(own, 5));
            let (speed_m_per_s, turn_m) = match mix(own, 6) % 10 {
                0..7 => (0.0, 1.0),
                7..9 => (WALKING_M_PER_S, 500.0 + 4_500.0 * far),
                _ => (DRIVING_M_PER_S, 10_000.0 + 140_000.0 * far),
            };
            let (north, east) = (way.cos(), way.sin());
            Some(Device { id: DeviceId(own), home_lat, home_lon, north, east, speed_m_per_s, turn_m })
        };
        Self { devices: (0..devices).filter_map(device).collect(), seed, start }
    }

    /// How many devices there are.
    pub(super) fn devices(&self) -> u32 {
        self.devices.len() as u32
    }

    /// The pings of tick `tick` in the order of their times: after the tick's start and up to,
    /// not including, the next one's.
    pub(super) fn pings_of_tick(&self, tick: i64, out: &mut Vec<Ping>) {
        out.clear();
        let (round, slot) = (tick.div_euclid(TICKS_PER_INTERVAL), tick.rem_euclid(TICKS_PER_INTERVAL));
        let of_slot = (slot as usize..self.devices.len()).step_by(TICKS_PER_INTERVAL as usize);
        out.extend(of_slot.filter_map(|index| self.ping(index as u32, round)));
        // Devices come in the order of their numbers at equal times; nothing depends on it.
        out.sort_unstable_by_key(|ping| (ping.at, ping.device));
    }

    /// The ping of a device in a round of all devices, from 0.
    pub(super) fn ping(&self, index: u32, round: i64) -> Option<Ping> {
        let device = self.devices.get(index as usize)?;
        let chance = mix(device.id.0 ^ self.seed, round as u64);
        let slot = i64::from(index) % TICKS_PER_INTERVAL;
        let within = 1 + (chance % (TICK_MS as u64 - 1)) as i64;
        let at = self.start.plus_ms(round * INTERVAL_MS + slot * TICK_MS + within);
        let position = device.position(at.ms_since(self.start), chance)?;
        Some(Ping { device: device.id, at, position, accuracy_m: 0 })
    }
}

impl Device {
    fn position(&self, ms: i64, chance: u64) -> Option<Position> {
        let (north_m, east_m) = if self.speed_m_per_s > 0.0 {
            let gone = self.speed_m_per_s * ms as f64 / 1_000.0 % (2.0 * self.turn_m);
            let away = if gone < self.turn_m { gone } else { 2.0 * self.turn_m - gone };
            (away * self.north, away * self.east)
        } else {
            let wander = |bits: u64| (unit(bits) * 2.0 - 1.0) * GPS_WANDERS_M;
            (wander(chance), wander(chance << 26))
        };
        let lat = self.home_lat + north_m / METRES_PER_DEGREE;
        let lon = self.home_lon + east_m / (METRES_PER_DEGREE * self.home_lat.to_radians().cos());
        Position::from_degrees(lat, lon).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_reports_once_an_interval_in_order_and_the_same_again() {
        let population = Population::of_china().unwrap();
        let start = EventTime(1_778_846_400_000);
        let world = World::new(&population, 1_000, 7, start);
        let again = World::new(&population, 1_000, 7, start);
        assert_eq!(world.devices(), 1_000);
        let (mut tick_pings, mut all) = (Vec::new(), Vec::new());
        for tick in 0..2 * TICKS_PER_INTERVAL {
            world.pings_of_tick(tick, &mut tick_pings);
            let from = start.plus_ms(tick * TICK_MS);
            assert!(tick_pings.iter().all(|p| p.at > from && p.at < from.plus_ms(TICK_MS)));
            all.extend_from_slice(&tick_pings);
        }
        assert!(all.is_sorted_by_key(|ping| ping.at));
        assert_eq!(all.len(), 2_000);
        let mut by_device: Vec<Ping> =
            (0..1_000).flat_map(|i| [again.ping(i, 0).unwrap(), again.ping(i, 1).unwrap()]).collect();
        by_device.sort_unstable_by_key(|ping| (ping.at, ping.device));
        assert_eq!(by_device, all);
        let mut ids: Vec<_> = all.iter().map(|ping| ping.device).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1_000);
    }
}
