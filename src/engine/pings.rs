//! The ping path: a batch goes through in blocks, so that the memory of many pings is fetched at
//! the same time.
//!
//! Four blocks ahead, hashes are made and ask for their lines of the index; two blocks ahead,
//! these name the rows, and ask for them; then pings are applied, one by one in their order. Where
//! many devices have lately been changing their cells, the cells of a whole block are found
//! together, one block ahead. So memory always has some thirty requests to work at. What was
//! looked up ahead is a guess: it is checked against the row, or looked up again.
//!
//! Most pings take the short way: the device is where the guess says, stays in its cell (proved
//! on integers, see `geo::SameCell`), and was told of everything over it. All others take the
//! long way, which is the rule; the short one is a special case of it.

use super::cells::{AccuracyClass, BucketIx};
use super::index::{Hash, RowNo};
use super::memory::prefetch;
use super::output::{EventKey, Output};
use super::partition::{Partition, PingClock};
use super::rows::{PageNo, Seen, WINDOW_MS};
use super::scan::{PartSet, Stamp};
use crate::domain::{Cause, EventTime, Ping, PingCounts, PingReject, PingRow};
use crate::geo::{HexKey, hex_keys};
use crate::limits::ACCURACY_M_MAX;

/// Pings of a block: what one turn of the vectorised cell conversion takes.
const BLOCK: usize = 16;
/// Blocks between a ping's hash and its turn.
const INDEX_AHEAD: usize = 5;
/// Blocks between finding a ping's row and its turn.
const ROWS_AHEAD: usize = 3;
/// Blocks between asking for what a row's bucket says and the ping's turn.
const HOT_AHEAD: usize = 1;
/// Blocks that are looked up ahead at a time.
const BLOCKS: usize = 8;
/// Share of long ways, in 256ths, from which on a block's cells are found together.
const MANY_MOVERS: usize = 48;

const _: () = assert!(INDEX_AHEAD < BLOCKS && BLOCKS.is_power_of_two());

/// What was looked up ahead for a block.
#[derive(Clone, Copy, Debug)]
struct Block {
    hashes: [Hash; BLOCK],
    guesses: [RowNo; BLOCK],
    keys: [HexKey; BLOCK],
}

/// What was looked up ahead. Kept only for its memory, and for how many long ways there were.
#[derive(Debug)]
pub(super) struct Staging {
    blocks: [Block; BLOCKS],
    /// Long ways in 256 pings, lately.
    movers: usize,
}

impl Default for Staging {
    fn default() -> Self {
        let block = Block {
            hashes: [Hash::default(); BLOCK],
            guesses: [RowNo::NONE; BLOCK],
            keys: [HexKey::NONE; BLOCK],
        };
        Self { blocks: [block; BLOCKS], movers: 0 }
    }
}

/// What the pings of a batch have in common.
struct BatchTime<'a> {
    clock: PingClock<'a>,
    base: EventTime,
    /// On the wall clock: pings later than this are rejected.
    latest: Option<EventTime>,
    /// Pings of the batch that are no later than this many milliseconds after its base need no
    /// further look at their time; negative where all do.
    easy_ms: i64,
}

impl Partition {
    /// Applies a batch, ping by ping in its order; stages due before a ping's time come first.
    pub fn pings(
        &mut self,
        clock: PingClock<'_>,
        base: EventTime,
        rows: &[PingRow],
        out: &mut Output,
    ) -> PingCounts {
        let mut counts = PingCounts::default();
        let latest = match clock {
            PingClock::Wall { now, skew_ms } => {
                self.pass(now, out);
                Some(now.plus_ms(skew_ms))
            }
            PingClock::Event { .. } => None,
        };
        let last = base.plus_ms(PingRow::MS_AFTER_BASE_MAX);
        let in_range = [base, last].iter().all(|at| EventTime::from_unix_ms(at.0).is_ok());
        let easy_ms = if in_range { latest.map_or(i64::MAX, |latest| latest.ms_since(base)) } else { -1 };
        let time = BatchTime { clock, base, latest, easy_ms };
        let mut staging = std::mem::take(&mut self.staging);
        let blocks = rows.len().div_ceil(BLOCK);
        let block_of = |n: usize| &rows[n * BLOCK..rows.len().min((n + 1) * BLOCK)];
        for step in 0..blocks + INDEX_AHEAD {
            if step < blocks {
                self.stage_hashes(&mut staging.blocks[step % BLOCKS], block_of(step));
            }
            let ahead = |blocks_ahead| step.checked_sub(INDEX_AHEAD - blocks_ahead).filter(|n| *n < blocks);
            if let Some(n) = ahead(ROWS_AHEAD) {
                self.stage_rows(&mut staging.blocks[n % BLOCKS], block_of(n).len());
            }
            if let Some(n) = ahead(HOT_AHEAD) {
                self.stage_hot(&staging.blocks[n % BLOCKS], block_of(n).len());
            }
            if staging.movers >= MANY_MOVERS
                && let Some(n) = ahead(1)
            {
                self.stage_movers(&mut staging.blocks[n % BLOCKS], block_of(n));
            }
            if let Some(n) = ahead(0) {
                let block = &mut staging.blocks[n % BLOCKS];
                let movers = self.apply(block, &time, n * BLOCK, block_of(n), &mut counts, out);
                // A mean over some 128 pings.
                staging.movers = staging.movers - staging.movers / 8 + movers * (256 / BLOCK / 8);
                block.keys = [HexKey::NONE; BLOCK];
            }
        }
        self.staging = staging;
        self.forget_some(rows.len());
        counts
    }

    #[inline]
    fn stage_hashes(&self, block: &mut Block, rows: &[PingRow]) {
        for (row, hash) in rows.iter().zip(&mut block.hashes) {
            *hash = self.devices.index.hash(row.device.get());
            self.devices.index.prefetch(*hash);
        }
    }

    #[inline]
    fn stage_rows(&self, block: &mut Block, len: usize) {
        let devices = &self.devices;
        for (hash, guess) in block.hashes.iter().zip(&mut block.guesses).take(len) {
            *guess = devices.index.guess(*hash);
            devices.rows.prefetch_owner(*guess);
            devices.rows.prefetch(*guess);
        }
    }

    #[inline]
    fn stage_hot(&self, block: &Block, len: usize) {
        for guess in &block.guesses[..len] {
            if let Some(ix) = self.devices.rows.owner(PageNo::of(*guess)) {
                prefetch(&self.devices.cells.hot, ix.0 as usize);
            }
        }
    }

    /// Finds the cells of a block, and asks for what moves will touch: the last row of the bucket
    /// that a device leaves, which takes its place, that row's line of the index, and the end of
    /// the bucket where it arrives.
    #[cold]
    fn stage_movers(&self, block: &mut Block, rows: &[PingRow]) {
        let devices = &self.devices;
        let (mut lats, mut lons) = ([0; BLOCK], [0; BLOCK]);
        let mut lasts = [RowNo::NONE; BLOCK];
        for (i, row) in rows.iter().enumerate() {
            (lats[i], lons[i]) = (row.lat_e7.get(), row.lon_e7.get());
            if let Some(ix) = devices.rows.owner(PageNo::of(block.guesses[i]))
                && let Some(last) = devices.last_of(ix)
            {
                devices.rows.prefetch(last);
                lasts[i] = last;
            }
        }
        hex_keys(&lats, &lons, &mut block.keys);
        for (row, key) in rows.iter().zip(block.keys) {
            let class = AccuracyClass::of(row.time_and_accuracy.get() >> 15);
            if let Some(ix) = devices.cells.of_key(key, class) {
                prefetch(&devices.cells.hot, ix.0 as usize);
                if let Some(last) = devices.last_of(ix) {
                    devices.rows.prefetch(RowNo(last.0 + 1));
                }
            }
        }
        for last in lasts {
            if let Some(row) = devices.rows.get(last) {
                devices.index.prefetch(devices.index.hash(row.device));
            }
        }
    }

    /// Applies a block; returns how many took the long way.
    #[inline]
    fn apply(
        &mut self,
        block: &Block,
        time: &BatchTime<'_>,
        first: usize,
        rows: &[PingRow],
        counts: &mut PingCounts,
        out: &mut Output,
    ) -> usize {
        let mut movers = 0;
        for (i, ping) in rows.iter().enumerate() {
            let ms = ping.ms_after_base();
            if let PingClock::Event { .. } = time.clock {
                self.pass_ping(ping, time.base, out);
            }
            // Times that are easy cannot overflow.
            if ms <= time.easy_ms && self.stay(block.guesses[i], ping, time.base.0.wrapping_add(ms)) {
                counts.accepted += 1;
                continue;
            }
            movers += 1;
            self.long_way(block.hashes[i], block.keys[i], time, first + i, ping, counts, out);
        }
        movers
    }

    /// The short way. False where it cannot be taken; then nothing has changed.
    #[inline(always)]
    fn stay(&mut self, no: RowNo, ping: &PingRow, at_ms: i64) -> bool {
        let devices = &mut self.devices;
        let Some(row) = devices.rows.get(no).copied() else { return false };
        // A row whose device has left holds no time; a free page's rows are all such.
        let Some(hot) = devices.cells.hot.get(devices.rows.bucket(no).0 as usize) else { return false };
        let (lat_e7, lon_e7) = (ping.lat_e7.get(), ping.lon_e7.get());
        let accuracy_m = ping.time_and_accuracy.get() >> 15;
        let after = at_ms.wrapping_sub(hot.base_ms);
        let stays = (row.device == ping.device.get())
            & (row.time() != 0)
            & (after >= i64::from(row.time()))
            & (after < WINDOW_MS)
            & (accuracy_m <= ACCURACY_M_MAX)
            & hot.is_quiet(row.set())
            & hot.surely_holds(lat_e7, lon_e7, accuracy_m);
        if stays {
            let seen = Seen { time: after as u32, accuracy_m, set: row.set() };
            devices.rows.write(no, row.with_ping(lat_e7, lon_e7, seen));
        }
        stays
    }

    /// On the event clock every ping that is taken moves the clock.
    #[inline]
    fn pass_ping(&mut self, ping: &PingRow, base: EventTime, out: &mut Output) {
        let at = base.plus_ms(ping.ms_after_base());
        if at > self.clock && ping.read(base).is_ok() {
            self.pass(at, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the loop above holds in registers")]
    #[inline(never)]
    fn long_way(
        &mut self,
        hash: Hash,
        key: HexKey,
        time: &BatchTime<'_>,
        number: usize,
        row: &PingRow,
        counts: &mut PingCounts,
        out: &mut Output,
    ) {
        let ping = match row.read(time.base) {
            Ok(ping) if time.latest.is_some_and(|latest| ping.at > latest) => {
                return counts.reject(PingReject::Future);
            }
            Ok(ping) => ping,
            Err(reason) => return counts.reject(reason),
        };
        let key_of_event = match time.clock {
            PingClock::Wall { now, .. } => EventKey::ping(now, 0),
            PingClock::Event { numbers } => {
                self.pass(ping.at, out);
                EventKey::ping(ping.at, numbers.get(number).copied().unwrap_or(0))
            }
        };
        if self.ping(hash, key, &ping, key_of_event, out) {
            counts.accepted += 1;
        } else {
            counts.stale += 1;
        }
    }

    /// Applies one ping; false where it is stale.
    fn ping(&mut self, hash: Hash, key: HexKey, ping: &Ping, event: EventKey, out: &mut Output) -> bool {
        let Some(no) = self.devices.index.find(hash, ping.device.0, &self.devices.rows) else {
            return self.arrive(hash, key, ping, event, out);
        };
        let (ix, row) = (self.devices.rows.bucket(no), self.devices.rows.row(no));
        if ping.at < self.devices.time_of(ix, row) {
            return false;
        }
        self.judge(no, out);
        let (lat_e7, lon_e7) = (ping.position.lat_e7(), ping.position.lon_e7());
        let stays = self.devices.cells.hot(ix).surely_holds(lat_e7, lon_e7, ping.accuracy_m);
        let to = if stays { ix } else { self.bucket_for(key, ping) };
        let (ix, no) = if to == ix {
            self.devices.write(ix, no, ping);
            (ix, no)
        } else {
            if self.unfinished.is_some()
                && let Some(last) = self.devices.last_of(ix)
                && last != no
            {
                self.judge(last, out);
            }
            let Some((new, filled)) = self.devices.move_to(ix, no, to, ping) else { return false };
            if filled {
                self.mark_touched(no);
            }
            (to, new)
        };
        self.mark_touched(no);
        self.enter(ix, no, ping.at, event, out);
        true
    }

    fn arrive(&mut self, hash: Hash, key: HexKey, ping: &Ping, event: EventKey, out: &mut Output) -> bool {
        let ix = self.bucket_for(key, ping);
        let Some(no) = self.devices.insert(hash, ix, ping) else { return false };
        self.mark_touched(no);
        self.enter(ix, no, ping.at, event, out);
        true
    }

    /// The bucket of a ping's cell and accuracy.
    fn bucket_for(&mut self, key: HexKey, ping: &Ping) -> BucketIx {
        let mut key = [key];
        if key[0] == HexKey::NONE {
            hex_keys(&[ping.position.lat_e7()], &[ping.position.lon_e7()], &mut key);
        }
        let (standing, devices) = (&self.standing, &mut self.devices);
        devices.cells.of_position(ping.position, key[0], ping.accuracy_m, ping.at, standing, &devices.sets)
    }

    /// Rule `enter`: the alerts over the device's bucket that contain it and did not notify it.
    fn enter(&mut self, ix: BucketIx, no: RowNo, at: EventTime, event: EventKey, out: &mut Output) {
        self.devices.cells.lay(ix, &self.standing, &self.devices.sets);
        let set = self.devices.rows.row(no).set();
        if self.devices.cells.hot(ix).is_quiet(set) || !self.config.max_age.knows(at, self.clock) {
            return;
        }
        let mut next = 0;
        while let Some(over) = self.devices.cells.bucket(ix).over.get(next) {
            let alert = over.alert;
            next += self.devices.cells.bucket(ix).parts_of(alert).len();
            let set = self.devices.set_of(ix, self.devices.rows.row(no));
            if self.devices.sets.has(set, alert) {
                continue;
            }
            let Some(published_at) = self.standing.alerts.get(&alert).map(|alert| alert.published_at) else {
                continue;
            };
            let stamp = Stamp { key: event, cause: Cause::Enter, at: at.max(published_at) };
            self.tell_if_inside(alert, PartSet::ALL, &stamp, ix, no, out);
        }
    }
}
