//! A country's pings in batches, as the wire would bring them.

use std::sync::Arc;

use country::{Country, Point, Shares, Turns};
use hexcast::domain::{EventTime, PingRow};
use zerocopy::byteorder::little_endian::{I32, U32, U64};

/// The time at which the world begins.
pub const START: EventTime = EventTime(1_779_000_000_000);
/// Pings of a batch.
pub const BATCH: usize = 4_096;
/// Pings that are made at a time: far more than any cache holds.
pub const CHUNK: usize = 1 << 20;
/// How often a device pings, ms.
const ROUND_MS: u64 = 60_000;
/// What the devices say of their accuracy, m.
const ACCURACY_M: u32 = 10;

/// Some batches of pings.
#[derive(Default)]
pub struct Chunk {
    rows: Vec<PingRow>,
    /// When each batch begins and ends.
    times: Vec<(EventTime, EventTime)>,
}

impl Chunk {
    /// The batches: the time that rows count from, the time at which the server gets it, the rows.
    pub fn batches(&self) -> impl Iterator<Item = (EventTime, EventTime, &[PingRow])> {
        self.times.iter().zip(self.rows.chunks(BATCH)).map(|(&(base, now), rows)| (base, now, rows))
    }

    /// How many pings.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Which devices there are, how they move, and whose turn it is.
#[derive(Clone)]
pub struct World {
    country: Country,
    seed: u64,
    turns: Turns,
    /// Where not every device of the country takes part: those that do.
    chosen: Option<Arc<[u32]>>,
    /// When the first turn is.
    start: EventTime,
}

impl World {
    /// Devices `0..devices` of a country, in a random order of each minute.
    pub fn new(seed: u64, devices: u64, shares: Shares) -> Self {
        Self {
            country: Country::new(seed, shares),
            seed,
            turns: Turns::new(devices),
            chosen: None,
            start: START,
        }
    }

    /// So many devices of a country that all live within a circle and stay at home.
    pub fn within(seed: u64, devices: u64, centre: Point, radius_m: f64) -> Self {
        let country = Country::new(seed, Shares::STILL);
        let lives_there = |i: &u32| country.home(u64::from(*i)).metres_to(centre) < radius_m;
        let chosen = (0..).filter(lives_there).take(devices as usize).collect();
        Self { chosen: Some(chosen), ..Self::new(seed, devices, Shares::STILL) }
    }

    /// From now on the same devices move otherwise.
    pub fn change(&mut self, shares: Shares) {
        self.country = Country::new(self.seed, shares);
    }

    /// The same devices, later.
    pub fn later(self, ms: i64) -> Self {
        Self { start: self.now().plus_ms(ms), turns: Turns::new(self.turns.devices()), ..self }
    }

    /// The country.
    pub fn country(&self) -> &Country {
        &self.country
    }

    /// The time of the last ping that was made.
    pub fn now(&self) -> EventTime {
        let mut turns = self.turns;
        self.start.plus_ms(turns.take(ROUND_MS).1 as i64)
    }

    /// Makes the next `count` pings of the devices that `takes` takes, in place of what is in
    /// `chunk`; the others lose their turn.
    pub fn fill_of(&mut self, chunk: &mut Chunk, count: usize, takes: impl Fn(u64) -> bool) {
        chunk.rows.clear();
        chunk.times.clear();
        let (mut base_ms, mut last_ms) = (0, 0);
        for turn in 0..count {
            let (place, ms) = self.turns.take(ROUND_MS);
            let i = self.chosen.as_ref().map_or(place, |chosen| u64::from(chosen[place as usize]));
            let id = self.country.id(i);
            if takes(id) {
                if chunk.rows.len().is_multiple_of(BATCH) {
                    base_ms = ms;
                    chunk.times.push((self.start.plus_ms(ms as i64), START));
                }
                let at = self.country.at(i, ms);
                chunk.rows.push(PingRow {
                    device: U64::new(id),
                    lat_e7: I32::new(at.lat_e7),
                    lon_e7: I32::new(at.lon_e7),
                    time_and_accuracy: U32::new((ms - base_ms) as u32 | ACCURACY_M << 15),
                });
                last_ms = ms;
            }
            if (chunk.rows.len().is_multiple_of(BATCH) || turn + 1 == count)
                && let Some(last) = chunk.times.last_mut()
            {
                last.1 = self.start.plus_ms(last_ms as i64);
            }
        }
    }

    /// Makes the next `count` pings, in place of what is in `chunk`.
    pub fn fill(&mut self, chunk: &mut Chunk, count: usize) {
        self.fill_of(chunk, count, |_| true);
    }
}
