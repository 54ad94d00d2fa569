//! The pings that every server gets, and who is truly within a circle in the end.
//!
//! Pings are made before anything is timed, so that making them costs nobody. Rounds are walked there
//! and back (0, 1, 2, 1, 0, ...): a device always moves on by a minute's way, and no ping is far from
//! the one before. Invariant: distances are by the geodesic on WGS-84 (Karney), asked of its library
//! and not of hexcast.

use anyhow::{Context as _, ensure};
use geographiclib_rs::{Geodesic, InverseGeodesic as _};
use hexcast::client::Batch;
use hexcast::domain::{DeviceId, EventTime, Ping, PingRow, Position};
use hexcast::limits::PING_BATCH_PINGS_MAX;

use country::{City, Country, Shares, Turns};

/// How often a device pings, in its own time, ms.
const ROUND_MS: u64 = 60_000;
/// Pings that are held, about.
const PINGS_HELD: u32 = 8_000_000;

/// Devices, and their pings.
pub(super) struct World {
    pub(super) devices: u32,
    /// What alerts are around.
    pub(super) city: City,
    pub(super) centre: Position,
    /// Each a ping of every device.
    rounds: Vec<Vec<Batch>>,
    /// How far the walk is: rounds begun before this one, and batches of it.
    round: usize,
    batch: usize,
}

/// Where a device is in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) device: u64,
    pub(super) position: Position,
    /// From the centre, by the geodesic.
    pub(super) metres: f64,
}

impl World {
    pub(super) fn new(devices: u32, seed: u64) -> anyhow::Result<Self> {
        let country = Country::new(seed, Shares::COUNTRY);
        let city = country.cities().first().context("no cities")?.clone();
        let centre = Position::from_degrees(city.lat, city.lon)?;
        let mut turns = Turns::new(devices.into());
        let rounds = (PINGS_HELD / devices.max(1)).clamp(2, 8);
        let mut row = || {
            let (i, ms) = turns.take(ROUND_MS);
            let point = country.at(i, ms);
            let position = Position::from_e7(point.lat_e7, point.lon_e7)?;
            let ping = Ping { device: DeviceId(country.id(i)), at: EventTime(0), position, accuracy_m: 0 };
            PingRow::write(&ping, ping.at).context("a ping without a row")
        };
        let mut round = || {
            let mut batches = Vec::new();
            let mut left = devices as usize;
            while left > 0 {
                let count = left.min(PING_BATCH_PINGS_MAX);
                let rows = (0..count).map(|_| row()).collect::<anyhow::Result<Vec<_>>>()?;
                batches.push(Batch { base: EventTime(0), rows });
                left -= count;
            }
            Ok(batches)
        };
        let rounds = (0..rounds).map(|_| round()).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(devices > 0, "no devices");
        Ok(Self { devices, city, centre, rounds, round: 0, batch: 0 })
    }

    /// Begins the walk anew, for the next server.
    pub(super) fn begin(&mut self) {
        (self.round, self.batch) = (0, 0);
    }

    /// The next batch of the walk, which has no end.
    pub(super) fn next(&mut self) -> &mut Batch {
        let turn = self.rounds.len() - 1;
        let (round, batch) = (turn - turn.abs_diff(self.round % (2 * turn)), self.batch);
        self.batch += 1;
        if self.batch == self.rounds[round].len() {
            (self.round, self.batch) = (self.round + 1, 0);
        }
        &mut self.rounds[round][batch]
    }

    /// The round after which distances are asked, outside the walk.
    pub(super) fn last(&mut self) -> &mut [Batch] {
        &mut self.rounds[0]
    }

    /// Everybody by number, where they are after the [last](Self::last) round.
    pub(super) fn known(&self) -> anyhow::Result<Vec<Known>> {
        let earth = Geodesic::wgs84();
        let (lat, lon) = (self.centre.lat_deg(), self.centre.lon_deg());
        let rows = self.rounds.first().into_iter().flatten().flat_map(|batch| &batch.rows);
        let mut known = rows
            .map(|row| {
                let position = Position::from_e7(row.lat_e7.get(), row.lon_e7.get())?;
                let metres = earth.inverse(lat, lon, position.lat_deg(), position.lon_deg());
                Ok(Known { device: row.device.get(), position, metres })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        known.sort_unstable_by_key(|known| known.device);
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_a_ping_of_every_device_and_none_jumps() {
        let mut world = World::new(20_000, 1).unwrap();
        let mut before: Vec<(u64, i32)> = Vec::new();
        for number in 0..20 {
            let mut now: Vec<(u64, i32)> = Vec::new();
            while now.len() < 20_000 {
                now.extend(world.next().rows.iter().map(|row| (row.device.get(), row.lat_e7.get())));
            }
            now.sort_unstable();
            assert_eq!(now.len(), 20_000);
            for ((a, was), (b, is)) in before.iter().zip(&now) {
                assert_eq!(a, b);
                // Two minutes by car at most: rounds have orders of their own.
                assert!(was.abs_diff(*is) < 200_000, "{number}: {was} to {is}");
            }
            before = now;
        }
    }

    #[test]
    fn those_near_the_centre_are_known_in_order() {
        let world = World::new(20_000, 1).unwrap();
        let known = world.known().unwrap();
        assert!(known.is_sorted_by(|a, b| a.device < b.device));
        let within = known.iter().filter(|known| known.metres <= 100_000.0).count();
        assert!((500..3_000).contains(&within), "{within} of 20,000 within 100 km of {}", world.city.name);
    }
}
