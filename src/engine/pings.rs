//! The ping path: a batch goes through in groups, so that the memory of many pings is fetched at
//! the same time.
//!
//! First the hashes of a group, asking for their lines of the index; then the rows that these
//! name, asking for them; where devices have lately been changing their cells, then the cells of
//! those that do, all at once; then the pings, one by one in their order. What was looked up
//! ahead is a guess until then: it is checked against the row, or looked up again where a row was
//! moved since.
//!
//! Most pings take the short way: the device is where the guess says, stays in its cell (proved
//! on integers, see `geo::SameCell`), and was told of everything over it. All others take the
//! long way, which is the rule; the short one is a special case of it.

use super::cells::{AccuracyClass, BucketIx};
use super::index::{Hash, RowNo};
use super::memory::prefetch;
use super::output::{EventKey, Output};
use super::partition::{Partition, PingClock};
use super::rows::{Seen, WINDOW_MS};
use super::scan::{PartSet, Stamp};
use crate::domain::{Cause, EventTime, Ping, PingCounts, PingReject, PingRow};
use crate::geo::{HexKey, hex_keys};
use crate::limits::ACCURACY_M_MAX;

/// Pings of a group: enough to keep a core's memory requests busy (10 to 16 at a time), few enough
/// that their lines stay in the nearest cache (some 20 kB).
const GROUP: usize = 64;
/// Pings of a group that took the long way, from which on the next group's cells are found
/// together.
const MANY_MOVERS: usize = 6;

/// What was looked up ahead for a group. Kept only for its memory.
#[derive(Debug)]
pub(super) struct Staging {
    hashes: [Hash; GROUP],
    guesses: [Option<RowNo>; GROUP],
    keys: [HexKey; GROUP],
    /// Long ways of the last group.
    movers: usize,
}

impl Default for Staging {
    fn default() -> Self {
        Self {
            hashes: [Hash::default(); GROUP],
            guesses: [None; GROUP],
            keys: [HexKey::NONE; GROUP],
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
    /// All times of the batch are times that can be written.
    in_range: bool,
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
        let time = BatchTime { clock, base, latest, in_range };
        let mut staging = std::mem::take(&mut self.staging);
        for (n, group) in rows.chunks(GROUP).enumerate() {
            self.stage(&mut staging, group);
            staging.movers = self.apply(&staging, &time, n * GROUP, group, &mut counts, out);
        }
        self.staging = staging;
        self.forget_some(rows.len());
        counts
    }

    /// Looks a group up ahead.
    #[inline]
    fn stage(&mut self, staging: &mut Staging, group: &[PingRow]) {
        let devices = &self.devices;
        for (row, hash) in group.iter().zip(&mut staging.hashes) {
            *hash = devices.index.hash(row.device.get());
            devices.index.prefetch(*hash);
        }
        for (hash, guess) in staging.hashes.iter().zip(&mut staging.guesses).take(group.len()) {
            *guess = devices.index.guess(*hash);
            if let Some(no) = *guess {
                devices.rows.prefetch_owner(no);
                devices.rows.prefetch(no);
            }
        }
        if staging.movers >= MANY_MOVERS {
            self.stage_movers(staging, group);
        } else {
            staging.keys = [HexKey::NONE; GROUP];
        }
    }

    /// Finds the cells of those of a group that seem to change theirs, and asks for what their
    /// moves will touch.
    #[cold]
    fn stage_movers(&self, staging: &mut Staging, group: &[PingRow]) {
        let devices = &self.devices;
        let (mut lats, mut lons) = ([0; GROUP], [0; GROUP]);
        for (i, row) in group.iter().enumerate() {
            (lats[i], lons[i]) = (row.lat_e7.get(), row.lon_e7.get());
            // Where it comes from: the bucket's last row will take its place.
            if let Some(no) = staging.guesses[i]
                && let Some(ix) = devices.rows.owner(super::rows::PageNo::of(no))
                && let Some(last) = devices.last_of(ix)
            {
                devices.rows.prefetch(last);
            }
        }
        hex_keys(&lats[..group.len()], &lons[..group.len()], &mut staging.keys[..group.len()]);
        for (i, row) in group.iter().enumerate() {
            let class = AccuracyClass::of(row.time_and_accuracy.get() >> 15);
            if let Some(ix) = devices.cells.of_key(staging.keys[i], class) {
                prefetch(&devices.cells.hot, ix.0 as usize);
                if let Some(last) = devices.last_of(ix) {
                    devices.rows.prefetch(RowNo(last.0 + 1));
                }
            }
            if let Some(no) = staging.guesses[i]
                && let Some(ix) = devices.rows.owner(super::rows::PageNo::of(no))
                && let Some(last) = devices.last_of(ix)
            {
                devices.index.prefetch(devices.index.hash(devices.rows.device(last)));
            }
        }
    }

    /// Applies a group; returns how many took the long way.
    #[inline]
    fn apply(
        &mut self,
        staging: &Staging,
        time: &BatchTime<'_>,
        first: usize,
        group: &[PingRow],
        counts: &mut PingCounts,
        out: &mut Output,
    ) -> usize {
        let mut movers = 0;
        let moves = self.devices.moves;
        for (i, ping) in group.iter().enumerate() {
            let hash = staging.hashes[i];
            let at = time.base.plus_ms(ping.ms_after_base());
            if let PingClock::Event { .. } = time.clock
                && time.in_range
            {
                self.pass_ping(ping, at, out);
            }
            let guess =
                if self.devices.moves == moves { staging.guesses[i] } else { self.devices.index.guess(hash) };
            if time.in_range && time.latest.is_none_or(|latest| at <= latest) && self.stay(guess, ping, at) {
                counts.accepted += 1;
                continue;
            }
            movers += 1;
            self.long_way(hash, staging.keys[i], time, first + i, ping, counts, out);
        }
        movers
    }

    /// The short way. False where it cannot be taken; then nothing has changed.
    #[inline(always)]
    fn stay(&mut self, guess: Option<RowNo>, ping: &PingRow, at: EventTime) -> bool {
        let Some(no) = guess else { return false };
        let devices = &mut self.devices;
        let Some(row) = devices.rows.get(no).copied() else { return false };
        let hot = devices.cells.hot(devices.rows.bucket(no));
        let (lat_e7, lon_e7) = (ping.lat_e7.get(), ping.lon_e7.get());
        let accuracy_m = ping.time_and_accuracy.get() >> 15;
        let after = at.0.wrapping_sub(hot.base_ms);
        let short = (row.device == ping.device.get())
            & (row.time() != 0)
            & (after >= i64::from(row.time()))
            & (after < WINDOW_MS)
            & (accuracy_m <= ACCURACY_M_MAX)
            & hot.is_quiet(row.set());
        if !(short && hot.surely_holds(lat_e7, lon_e7, accuracy_m)) {
            return false;
        }
        let seen = Seen { time: after as u32, accuracy_m, set: row.set() };
        devices.rows.write(no, row.with_ping(lat_e7, lon_e7, seen));
        true
    }

    /// On the event clock every ping that is taken moves the clock.
    #[inline]
    fn pass_ping(&mut self, ping: &PingRow, at: EventTime, out: &mut Output) {
        if at > self.clock && ping.read(at.plus_ms(-ping.ms_after_base())).is_ok() {
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
