//! The devices of a run and their pings, shared out among the sessions that send them.
//!
//! What is slow is in [`Country`]'s tables: a ping costs a few dozen nanoseconds, and rows are
//! written as they are sent. Devices move a minute's way between two of their pings, however fast these
//! follow each other: an index has the work that it would have of a whole country.

use std::sync::Arc;

use country::{City, Country, Shares, Turns};
use hexcast::client::{Batch, Target};
use hexcast::domain::{DeviceId, EventTime, Ping, PingRow, Position, partition_of};
use hexcast::limits::PING_BATCH_PINGS_MAX;

use crate::scenario::Scenario;

/// How often a device pings, in its own time, ms.
const ROUND_MS: u64 = 60_000;

/// The devices of one session; each pings in its turn.
pub(crate) struct Crowd {
    country: Arc<Country>,
    first: u64,
    turns: Turns,
    /// Rows that wait, by partition.
    waiting: Vec<Vec<PingRow>>,
}

impl Crowd {
    /// `devices` devices, shared out evenly.
    pub(crate) fn shares(devices: u32, seed: u64, scenario: &Scenario, count: u32) -> Vec<Self> {
        let shares = Shares { still: scenario.still, walk: scenario.walk, drive: scenario.drive };
        let country = Arc::new(Country::new(seed, shares));
        let count = u64::from(count.clamp(1, devices.max(1)));
        let begin = |k: u64| u64::from(devices) * k / count;
        (0..count)
            .map(|k| Self {
                country: Arc::clone(&country),
                first: begin(k),
                turns: Turns::new(begin(k + 1) - begin(k)),
                waiting: Vec::new(),
            })
            .collect()
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
        for _ in 0..count {
            let Some(ping) = self.ping(at) else { continue };
            let partition = partition_of(ping.device, of) as usize;
            // Every ping of its batch's own time gives a row.
            if let (Some(rows), Some(row)) = (self.waiting.get_mut(partition), PingRow::write(&ping, at)) {
                rows.push(row);
            }
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

    #[inline]
    fn ping(&mut self, at: EventTime) -> Option<Ping> {
        let (place, ms) = self.turns.take(ROUND_MS);
        let i = self.first + place;
        let point = self.country.at(i, ms);
        let position = Position::from_e7(point.lat_e7, point.lon_e7).ok()?;
        Some(Ping { device: DeviceId(self.country.id(i)), at, position, accuracy_m: 10 })
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
            let mut shares = Crowd::shares(1_001, seed, &scenario, 3);
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
        let crowd = Crowd::shares(1_000_000, 1, &Scenario::find("still").unwrap(), 1).remove(0);
        let city = crowd.cities()[10].clone();
        let (tenth, half) = (crowd.radius_km_of(&city, 0.1), crowd.radius_km_of(&city, 0.5));
        assert!(50.0 < tenth && tenth < half && half < 2_500.0, "{tenth} km, {half} km");
    }
}
