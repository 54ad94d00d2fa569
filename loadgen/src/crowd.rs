//! The devices of a run and their pings, shared out among the sessions that send them.
//!
//! What is slow is in [`Country`]'s tables; a ping costs a dozen nanoseconds, nothing is allocated by ping, and
//! rows are made as they are sent. Devices move the way of a whole gap between two of their pings,
//! however fast these follow each other: an index has the work that it would have of a whole country.

use std::sync::Arc;

use anyhow::anyhow;
use country::{Block, City, Country, Towers, Turn, Turns};
use hexcast::client::{Batch, Target};
use hexcast::domain::{DeviceId, EventTime, Ping, PingRow, Position, partition_of};
use hexcast::limits::PING_BATCH_PINGS_MAX;

use crate::scenario::Scenario;

/// Turns that are taken at once: few enough to stay in the first-level cache.
const TURNS_AT_ONCE: u64 = 1_024;

/// The devices of one session; each pings in its turn.
pub(crate) struct Crowd {
    country: Arc<Country>,
    hearing: Hearing,
    first: u64,
    turns: Turns,
    every_ms: u64,
    /// Rows that wait, by partition.
    waiting: Vec<Vec<PingRow>>,
    taken: Vec<Turn>,
    block: Block,
}

/// How devices are known: by their GPS or by a tower.
#[derive(Clone)]
struct Hearing {
    accuracy_m: u32,
    towers: Arc<Towers>,
    /// Those whose pseudonym's highest 16 bits are below it are known by a tower only.
    below: u64,
}

impl Crowd {
    /// `devices` devices, shared out evenly.
    pub(crate) fn shares(
        devices: u32,
        seed: u64,
        scenario: &Scenario,
        count: u32,
    ) -> anyhow::Result<Vec<Self>> {
        let country = Country::peopled(seed, scenario.shares(), &scenario.population())
            .map_err(|unknown| anyhow!("no city is named {}", unknown.0))?;
        let country = Arc::new(country);
        let pings = &scenario.pings;
        let [least, most] = pings.tower_m;
        let hearing = Hearing {
            accuracy_m: pings.accuracy_m,
            towers: Arc::new(Towers::new(least, most)),
            below: (pings.towers * 65_536.0).round() as u64,
        };
        let count = u64::from(count.clamp(1, devices.max(1)));
        let begin = |k: u64| u64::from(devices) * k / count;
        let share = |k| Self {
            country: Arc::clone(&country),
            hearing: hearing.clone(),
            first: begin(k),
            turns: Turns::with(begin(k + 1) - begin(k), scenario.gaps()),
            every_ms: pings.every,
            waiting: Vec::new(),
            taken: vec![Turn::default(); TURNS_AT_ONCE as usize],
            block: Block::default(),
        };
        Ok((0..count).map(share).collect())
    }

    /// The cities, the largest first.
    pub(crate) fn cities(&self) -> &[City] {
        self.country.cities()
    }

    /// How many devices.
    pub(crate) fn devices(&self) -> u64 {
        self.turns.devices()
    }

    /// The next `count` pings, all of one instant, as batches of one partition of `of` each.
    pub(crate) fn batches(&mut self, at: EventTime, count: u64, of: u32) -> Vec<(Batch, Target)> {
        let of = of.clamp(1, u32::from(u16::MAX));
        self.waiting.resize_with(of as usize, Vec::new);
        // Shares of partitions differ by chance.
        let room = count as usize / of as usize * 5 / 4 + 16;
        self.waiting.iter_mut().for_each(|rows| rows.reserve(room));
        let mut left = count;
        while left > 0 {
            let some = left.min(TURNS_AT_ONCE);
            self.rows(at, some as usize, of);
            left -= some;
        }
        let mut batches = Vec::new();
        for (waiting, partition) in self.waiting.iter_mut().zip(0..) {
            let mut rows = std::mem::take(waiting);
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(PING_BATCH_PINGS_MAX));
                batches.push((Batch { base: at, rows }, Target { partition, of: of as u16 }));
                rows = rest;
            }
        }
        batches
    }

    /// Rows of the next `count` pings, at most [`TURNS_AT_ONCE`].
    fn rows(&mut self, at: EventTime, count: usize, of: u32) {
        let Self { country, hearing, waiting, .. } = self;
        let Some(turns) = self.taken.get_mut(..count) else { return };
        self.turns.take_many(self.every_ms, turns);
        country.each(self.first, turns, &mut self.block, |i, point| {
            let id = country.id(i);
            let (point, accuracy_m) = if id >> 48 < hearing.below {
                hearing.towers.heard(point)
            } else {
                (point, hearing.accuracy_m)
            };
            let Ok(position) = Position::from_e7(point.lat_e7, point.lon_e7) else { return };
            let device = DeviceId(id);
            let ping = Ping { device, at, position, accuracy_m };
            let rows = waiting.get_mut(partition_of(device, of) as usize);
            // Every ping of its batch's own time gives a row.
            if let (Some(rows), Some(row)) = (rows, PingRow::write(&ping, at)) {
                rows.push(row);
            }
        });
    }

    /// The radius around a city, km, within which about this share of the devices lives.
    pub(crate) fn radius_km_of(&self, city: &City, share: f64) -> f64 {
        let centre = country::Point { lat_e7: (city.lat * 1e7) as i32, lon_e7: (city.lon * 1e7) as i32 };
        let mut away: Vec<f64> = (0..100_000).map(|i| self.country.home(i).metres_to(centre)).collect();
        away.sort_by(f64::total_cmp);
        let last = ((away.len() as f64 * share) as usize).min(away.len() - 1);
        (away[last] / 1_000.0).max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn each_device_pings_once_in_a_round_in_one_share_and_the_seed_decides_all() {
        let scenario = Scenario::find("country").unwrap();
        let rows = |seed| -> Vec<(Target, PingRow)> {
            let mut shares = Crowd::shares(1_001, seed, &scenario, 3).unwrap();
            let of_share = |crowd: &mut Crowd| {
                // Two rounds, in two parts.
                let parts = [crowd.devices(), crowd.devices()];
                let batches = parts.map(|count| crowd.batches(EventTime(5), count, 4)).into_iter().flatten();
                batches
                    .flat_map(|(batch, to)| batch.rows.into_iter().map(move |row| (to, row)))
                    .collect::<Vec<_>>()
            };
            shares.iter_mut().flat_map(of_share).collect()
        };
        let one = rows(1);
        assert_eq!(one, rows(1));
        assert_ne!(one, rows(2));
        let mut times = HashMap::new();
        for (to, row) in &one {
            assert_eq!(partition_of(DeviceId(row.device.get()), 4), u32::from(to.partition));
            *times.entry(row.device.get()).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 1_001);
        assert!(times.values().all(|times| *times == 2));
    }

    #[test]
    fn a_radius_holds_about_the_share_that_was_asked_for() {
        let crowd = Crowd::shares(1_000_000, 1, &Scenario::find("still").unwrap(), 1).unwrap().remove(0);
        let city = crowd.cities()[10].clone();
        let (tenth, half) = (crowd.radius_km_of(&city, 0.1), crowd.radius_km_of(&city, 0.5));
        assert!(50.0 < tenth && tenth < half && half < 2_500.0, "{tenth} km, {half} km");
    }

    #[test]
    fn towers_tell_of_as_many_devices_as_the_scenario_says_and_others_of_ten_metres() {
        let mut scenario = Scenario::find("travel-rush").unwrap();
        scenario.pings.towers = 0.3;
        let mut crowd = Crowd::shares(20_000, 3, &scenario, 1).unwrap().remove(0);
        let batches = crowd.batches(EventTime(7), 20_000, 2);
        let rows = batches.iter().flat_map(|(batch, _)| &batch.rows);
        let accuracies: Vec<u32> = rows.map(|row| row.read(EventTime(7)).unwrap().accuracy_m).collect();
        let by_tower = accuracies.iter().filter(|accuracy| **accuracy != 10).count();
        assert_eq!(accuracies.len(), 20_000);
        assert!((5_700..6_300).contains(&by_tower), "{by_tower} by tower");
        assert!(accuracies.iter().all(|accuracy| *accuracy == 10 || (300..=5_000).contains(accuracy)));
    }
}
