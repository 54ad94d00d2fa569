//! The ping path: the memory of many pings of a batch is fetched at the same time.
//!
//! While a ping has its turn, the hash of one far behind it asks for its line of the index, that
//! of one less far names its row and asks for it, and so on: memory always has some requests to
//! work at, and never more than it can take. Where many devices have lately been changing their
//! cells, the cells of a whole block are found together. What was looked up ahead is a guess: it
//! is checked against the row, or looked up again.
//!
//! Most pings take the short way: the device is where the guess says, stays in its cell (proved
//! on integers, see `geo::SameCell`), and was told of everything over it. All others take the
//! long way, which is the rule; the short one is a special case of it.

use std::ops::Range;

use super::cells::{AccuracyClass, BucketIx};
use super::index::{Hash, RowNo};
use super::memory::prefetch;
use super::output::{EventKey, Output};
use super::partition::{Partition, PingClock};
use super::rows::{PageNo, Seen, WINDOW_MS};
use super::saving::{Defect, planted};
use super::scan::{PartSet, Stamp};
use crate::domain::{Cause, EventTime, Ping, PingCounts, PingReject, PingRow};
use crate::geo::{HexKey, hex_keys};
use crate::limits::ACCURACY_M_MAX;
use crate::planted::{self as plants, Defect as Plant};

/// Pings between a ping's hash and its turn.
const INDEX_AHEAD: usize = 64;
/// Pings between finding a ping's row and its turn.
const ROWS_AHEAD: usize = 40;
/// The same two for large tables.
const FAR_INDEX_AHEAD: usize = 96;
const FAR_ROWS_AHEAD: usize = 64;
/// Devices from which on tables are large.
const FAR_FROM: usize = 20_000_000;
/// Pings between asking for what a row's bucket says and the ping's turn.
const HOT_AHEAD: usize = 32;
/// Pings that take each step together where tables are large.
const GROUP: usize = 4;
/// Pings whose cells are found together: two turns of the vectorised conversion.
const BLOCK: usize = 32;
/// Pings that are looked up ahead at a time.
const RING: usize = 128;
/// Share of long ways, in 256ths, from which on cells are found together.
const MANY_MOVERS: usize = 48;

const _: () = assert!(FAR_INDEX_AHEAD + GROUP <= RING && INDEX_AHEAD < RING);
const _: () = assert!(RING.is_power_of_two() && RING.is_multiple_of(BLOCK));
const _: () = assert!(
    ROWS_AHEAD < INDEX_AHEAD
        && FAR_ROWS_AHEAD < FAR_INDEX_AHEAD
        && HOT_AHEAD < ROWS_AHEAD
        && HOT_AHEAD >= BLOCK
);

/// What was looked up ahead, and how many long ways there were lately.
#[derive(Debug)]
pub(super) struct Staging {
    hashes: [Hash; RING],
    guesses: [RowNo; RING],
    keys: [HexKey; RING],
    /// Long ways in 256 pings.
    movers: usize,
}

impl Default for Staging {
    fn default() -> Self {
        Self {
            hashes: [Hash::default(); RING],
            guesses: [RowNo::NONE; RING],
            keys: [HexKey::NONE; RING],
            movers: 0,
        }
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

impl BatchTime<'_> {
    /// The event that a ping is.
    fn key(&self, number: usize, at: EventTime) -> EventKey {
        match self.clock {
            PingClock::Wall { now, .. } => EventKey::ping(now, 0),
            PingClock::Event { numbers } => EventKey::ping(at, numbers.get(number).copied().unwrap_or(0)),
        }
    }
}

/// What the short way found.
enum Stay {
    /// The ping is applied, and that is all.
    Quiet,
    /// The ping is applied, in this bucket; what stands over it must be asked.
    Asks(BucketIx),
    /// Nothing has changed: only the long way can tell.
    Unknown,
}

/// Does something for each ping of a group; of a small table a group is one ping, and this is no loop.
#[inline(always)]
fn each<const FAR: bool>(group: Range<usize>, mut act: impl FnMut(usize)) {
    if FAR {
        group.for_each(act);
    } else if !group.is_empty() {
        act(group.start);
    }
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
        // Two loops, so that without a snapshot a ping pays nothing for it.
        match (self.snapshot_active(), self.devices.len() >= FAR_FROM) {
            (false, false) => self.take_pings::<false, false>(clock, base, rows, out),
            (false, true) => self.take_pings::<false, true>(clock, base, rows, out),
            (true, false) => self.take_pings::<true, false>(clock, base, rows, out),
            (true, true) => self.take_pings::<true, true>(clock, base, rows, out),
        }
    }

    /// `SAVES`: rows are saved before they change. `FAR`: the tables are so large that their memory must be
    /// asked for earlier, and in groups.
    fn take_pings<const SAVES: bool, const FAR: bool>(
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
        let mut movers = 0;
        let [group, index_ahead, rows_ahead] =
            if FAR { [GROUP, FAR_INDEX_AHEAD, FAR_ROWS_AHEAD] } else { [1, INDEX_AHEAD, ROWS_AHEAD] };
        for step in (0..rows.len() + index_ahead).step_by(group) {
            // Each step of a group is a loop of its own and as short as can be: on a machine whose
            // translation cache misses, an instruction that asks for memory waits for the page's
            // address, and only those that follow closely wait at the same time.
            let coming = step..rows.len().min(step + group);
            each::<FAR>(coming.clone(), |n| {
                staging.hashes[n % RING] = self.devices.index.hash(rows[n].device.get());
            });
            each::<FAR>(coming, |n| self.devices.index.prefetch(staging.hashes[n % RING]));
            // The group that is so many pings before its turn.
            let ahead = |pings: usize| match step.checked_sub(index_ahead - pings) {
                Some(first) => first..rows.len().min(first + group),
                None => 0..0,
            };
            each::<FAR>(ahead(rows_ahead), |n| {
                staging.guesses[n % RING] = self.devices.index.guess(staging.hashes[n % RING]);
            });
            each::<FAR>(ahead(rows_ahead), |n| {
                let guess = staging.guesses[n % RING];
                self.devices.rows.prefetch_owner(guess);
                self.devices.rows.prefetch(guess);
            });
            each::<FAR>(ahead(HOT_AHEAD), |n| {
                if let Some(ix) = self.devices.rows.owner(PageNo::of(staging.guesses[n % RING])) {
                    prefetch(&self.devices.cells.hot, ix.0 as usize);
                    if staging.movers >= MANY_MOVERS {
                        prefetch(&self.devices.cells.ends, ix.0 as usize);
                    }
                }
            });
            each::<FAR>(ahead(0), |n| {
                if n.is_multiple_of(BLOCK) {
                    // A mean over some 128 pings; the first block's counts for nothing yet.
                    staging.movers = staging.movers - staging.movers / 4 + (2 * movers).min(64);
                    movers = 0;
                    let block = &rows[n..rows.len().min(n + BLOCK)];
                    if staging.movers >= MANY_MOVERS {
                        self.stage_movers(&mut staging, n % RING, block);
                    } else {
                        staging.keys[n % RING..][..BLOCK].fill(HexKey::NONE);
                    }
                }
                let ping = &rows[n];
                let ms = ping.ms_after_base();
                if let PingClock::Event { .. } = time.clock {
                    self.pass_ping(ping, time.base, out);
                }
                // Times that are easy cannot overflow.
                let at_ms = time.base.0.wrapping_add(ms);
                if ms <= time.easy_ms {
                    match self.stay::<SAVES>(staging.guesses[n % RING], ping, at_ms) {
                        Stay::Quiet => {
                            counts.accepted += 1;
                            return;
                        }
                        Stay::Asks(ix) => {
                            counts.accepted += 1;
                            let at = EventTime(at_ms);
                            self.enter(ix, staging.guesses[n % RING], at, time.key(n, at), out);
                            return;
                        }
                        Stay::Unknown => {}
                    }
                }
                movers += 1;
                let (hash, key) = (staging.hashes[n % RING], staging.keys[n % RING]);
                self.long_way(hash, key, &time, n, ping, &mut counts, out);
            });
        }
        self.staging = staging;
        self.forget_some(rows.len());
        self.devices.touch_ahead();
        counts
    }

    /// Finds the cells of a block, and asks for what moves will touch: the last row of the bucket
    /// that a device leaves, which takes its place, that row's line of the index, and the end of
    /// the bucket where it arrives.
    #[cold]
    fn stage_movers(&self, staging: &mut Staging, first: usize, rows: &[PingRow]) {
        let devices = &self.devices;
        let (mut lats, mut lons) = ([0; BLOCK], [0; BLOCK]);
        let mut lasts = [RowNo::NONE; BLOCK];
        let guesses = &staging.guesses[first..first + BLOCK];
        for (i, row) in rows.iter().enumerate() {
            (lats[i], lons[i]) = (row.lat_e7.get(), row.lon_e7.get());
            if let Some(ix) = devices.rows.owner(PageNo::of(guesses[i]))
                && let Some(last) = devices.last_of(ix)
            {
                devices.rows.prefetch(last);
                lasts[i] = last;
            }
        }
        let keys = &mut staging.keys[first..first + BLOCK];
        hex_keys(&lats, &lons, keys);
        let mut targets = [None; BLOCK];
        for (i, (row, key)) in rows.iter().zip(keys).enumerate() {
            let class = AccuracyClass::of(row.time_and_accuracy.get() >> 15);
            targets[i] = devices.cells.of_key(*key, class);
            if let Some(ix) = targets[i] {
                prefetch(&devices.cells.hot, ix.0 as usize);
                prefetch(&devices.cells.ends, ix.0 as usize);
                devices.cells.buckets.prefetch(ix.0 as usize);
            }
        }
        for ix in targets.into_iter().flatten() {
            if let Some(last) = devices.last_of(ix) {
                devices.rows.prefetch(RowNo(last.0 + 1));
            }
        }
        for last in lasts {
            if let Some(row) = devices.rows.get(last) {
                devices.index.prefetch(devices.index.hash(row.device));
            }
        }
    }

    /// The short way.
    #[inline(always)]
    fn stay<const SAVES: bool>(&mut self, no: RowNo, ping: &PingRow, at_ms: i64) -> Stay {
        let devices = &mut self.devices;
        let Some(row) = devices.rows.get(no).copied() else { return Stay::Unknown };
        // A row whose device has left holds no time; a free page's rows are all such.
        let ix = devices.rows.bucket(no);
        let Some(hot) = devices.cells.hot.get(ix.0 as usize) else { return Stay::Unknown };
        let (lat_e7, lon_e7) = (ping.lat_e7.get(), ping.lon_e7.get());
        let accuracy_m = ping.time_and_accuracy.get() >> 15;
        let after = at_ms.wrapping_sub(hot.base_ms);
        let stays = (row.device == ping.device.get())
            & (row.time() != 0)
            & (after >= i64::from(row.time()))
            & (after < WINDOW_MS)
            & (accuracy_m <= ACCURACY_M_MAX)
            & hot.surely_holds(lat_e7, lon_e7, accuracy_m);
        let quiet = hot.is_quiet(row.set());
        // An unfinished scan must judge a device that is not quiet before its row changes.
        if stays && (quiet || self.unfinished.is_none()) {
            let row = if SAVES && !planted(Defect::ShortWay) { devices.saved(ix, row) } else { row };
            let seen = Seen { time: after as u32, accuracy_m, set: row.set() };
            devices.rows.write(no, row.with_ping(lat_e7, lon_e7, seen));
            if quiet { Stay::Quiet } else { Stay::Asks(ix) }
        } else {
            Stay::Unknown
        }
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
        if let PingClock::Event { .. } = time.clock {
            self.pass(ping.at, out);
        }
        let key_of_event = time.key(number, ping.at);
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
        if ping.at < self.devices.time_of(ix, row) && !plants::on(Plant::StaleTaken) {
            return false;
        }
        if !plants::on(Plant::MovesUnjudged) {
            self.judge(no, out);
        }
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
            let at = if plants::on(Plant::EnterBeforePublication) { at } else { at.max(published_at) };
            let stamp = Stamp { key: event, cause: Cause::Enter, at };
            self.tell_if_inside(alert, PartSet::ALL, &stamp, ix, no, out);
        }
        let set = self.devices.rows.row(no).set();
        self.devices.cells.note_told(ix, set, &self.devices.sets);
    }
}
