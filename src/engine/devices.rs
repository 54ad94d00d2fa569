//! The device table: pseudonym to row, and the life of a row in the buckets.
//!
//! A row's number changes: rows of a bucket stand without gaps, so the last one of a bucket takes
//! the place of one that leaves. Whoever keeps something by row must know that (see `scan`).

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::cells::{BucketIx, Cells};
use super::index::{Hash, Index, RowNo};
use super::rows::{PAGE_ROWS, Phase, Row, Rows, Seen, WINDOW_MS};
use super::saving::{Defect, Saving, planted};
use super::sets::{LocalSet, SetId, Sets};
use crate::domain::{AlertNo, EventTime, Ping, Position};
use crate::planted as defects;

/// All devices of a partition.
#[derive(Debug)]
pub(super) struct Devices {
    pub(super) index: Index,
    pub(super) rows: Rows,
    pub(super) cells: Cells,
    pub(super) sets: Sets,
    /// Times that lie outside of their bucket's window.
    pub(super) times: HashMap<u64, EventTime, FixedState>,
    /// Sets of devices whose bucket's list is full.
    pub(super) spilled: HashMap<u64, SetId, FixedState>,
    /// A snapshot under way.
    pub(super) saving: Option<Box<Saving>>,
    /// The phase in which rows are written now.
    pub(super) phase: Phase,
}

impl Devices {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            index: Index::new(seed),
            rows: Rows::default(),
            cells: Cells::default(),
            sets: Sets::default(),
            times: HashMap::default(),
            spilled: HashMap::default(),
            saving: None,
            phase: Phase::default(),
        }
    }

    /// Devices that are known or not yet forgotten.
    pub(super) fn len(&self) -> usize {
        self.index.len() - self.cells.rows(BucketIx::DEPARTED) as usize
    }

    /// When a device was last seen.
    #[inline]
    pub(super) fn time_of(&self, ix: BucketIx, row: Row) -> EventTime {
        match row.time() {
            0 => self.times.get(&row.device).copied().unwrap_or(EventTime::BEFORE_ALL),
            time => EventTime(self.cells.hot(ix).base_ms + i64::from(time)),
        }
    }

    /// The time of a row that is kept by device, where it has one.
    pub(super) fn time_outside(&self, row: Row) -> Option<EventTime> {
        if row.time() == 0 { self.times.get(&row.device).copied() } else { None }
    }

    /// A time as a row of this bucket holds it; notes it by device where it lies outside.
    fn hold_time(&mut self, ix: BucketIx, device: u64, at: EventTime) -> u32 {
        let after = at.0.saturating_sub(self.cells.hot(ix).base_ms);
        if (1..WINDOW_MS).contains(&after) {
            return after as u32;
        }
        if after >= WINDOW_MS {
            self.move_window(ix, at.0 - WINDOW_MS / 2);
            return (WINDOW_MS / 2) as u32;
        }
        self.times.insert(device, at);
        0
    }

    /// Gives a bucket a later base.
    #[cold]
    fn move_window(&mut self, ix: BucketIx, base_ms: i64) {
        self.before_window_moves(ix);
        let old = std::mem::replace(&mut self.cells.hot[ix.0 as usize].base_ms, base_ms);
        let bucket = self.cells.bucket(ix);
        let mut left = self.cells.rows(ix);
        for page in &bucket.pages {
            for row in self.rows.page_mut(*page, left.min(PAGE_ROWS)) {
                if row.time() == 0 {
                    continue;
                }
                let at = old + i64::from(row.time());
                let time = at - base_ms;
                if !(1..WINDOW_MS).contains(&time) {
                    self.times.insert(row.device, EventTime(at));
                }
                *row = row.with_time(if (1..WINDOW_MS).contains(&time) { time as u32 } else { 0 });
            }
            left = left.saturating_sub(PAGE_ROWS);
        }
    }

    /// What a device was notified of.
    #[inline]
    pub(super) fn set_of(&self, ix: BucketIx, row: Row) -> SetId {
        match row.set() {
            LocalSet::SPILLED => self.spilled.get(&row.device).copied().unwrap_or(SetId::EMPTY),
            local => self.cells.set(ix, local),
        }
    }

    /// The set that the row's device keeps for itself, where it does.
    pub(super) fn spilled_set(&self, row: Row) -> Option<SetId> {
        let spilled = row.set() == LocalSet::SPILLED;
        spilled.then(|| self.spilled.get(&row.device).copied().unwrap_or(SetId::EMPTY))
    }

    /// Prepares to grow, one step at a time.
    pub(super) fn touch_ahead(&mut self) {
        let _took_time = self.rows.touch_ahead() || self.index.touch_ahead() || self.cells.touch_ahead();
    }

    /// Whether any device's set is kept by device.
    pub(super) fn any_spilled(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// Gives a row of this bucket a set.
    #[inline]
    fn use_set(&mut self, ix: BucketIx, device: u64, set: SetId) -> LocalSet {
        self.cells.use_set(ix, set, &mut self.sets).unwrap_or_else(|| {
            let kept = self.sets.keep(set);
            self.spilled.insert(device, kept);
            LocalSet::SPILLED
        })
    }

    /// A row of this bucket gives its set up.
    #[inline]
    fn unuse_set(&mut self, ix: BucketIx, row: Row) {
        match row.set() {
            LocalSet::SPILLED => {
                if let Some(set) = self.spilled.remove(&row.device) {
                    self.sets.drop(set);
                }
            }
            local => self.cells.unuse_set(ix, local, &mut self.sets),
        }
    }

    /// A device is notified of an alert.
    pub(super) fn notify(&mut self, ix: BucketIx, no: RowNo, alert: AlertNo) {
        if !planted(Defect::Notified) {
            self.before_change(no);
        }
        let row = self.rows.row(no);
        let set = self.sets.with(self.set_of(ix, row), alert);
        self.unuse_set(ix, row);
        let local = self.use_set(ix, row.device, set);
        self.sets.drop(set);
        self.rows.write(no, row.with_set(local));
    }

    /// A row gets the set that another row of its bucket has.
    pub(super) fn share_set(&mut self, ix: BucketIx, no: RowNo, like: RowNo) {
        if !planted(Defect::Notified) {
            self.before_change(no);
        }
        let row = self.rows.row(no);
        let set = self.set_of(ix, self.rows.row(like));
        self.unuse_set(ix, row);
        let local = self.use_set(ix, row.device, set);
        self.rows.write(no, row.with_set(local));
    }

    /// The row of a bucket that stands last.
    #[inline]
    pub(super) fn last_of(&self, ix: BucketIx) -> Option<RowNo> {
        let end = self.cells.ends[ix.0 as usize];
        let last = end.len.checked_sub(1)?;
        Some(end.page.row(last % PAGE_ROWS))
    }

    fn has_room(&self, ix: BucketIx) -> bool {
        !self.cells.rows(ix).is_multiple_of(PAGE_ROWS) || self.rows.has_room()
    }

    /// Adds a row to a bucket's end. `None` where all 2^32 rows are in use.
    #[inline]
    fn append(&mut self, ix: BucketIx, row: Row) -> Option<RowNo> {
        let place = self.cells.rows(ix) % PAGE_ROWS;
        if place == 0 {
            let page = self.rows.new_page(ix.0)?;
            self.cells.bucket_mut(ix).pages.push(page);
            self.cells.ends[ix.0 as usize].page = page;
        }
        let end = &mut self.cells.ends[ix.0 as usize];
        end.len += 1;
        let no = end.page.row(place);
        let phase = if planted(Defect::NewRowAsOld) { self.phase.other() } else { self.phase };
        self.rows.write(no, row.in_phase(phase));
        Some(no)
    }

    /// Adds the first of some rows to a bucket's end, as many as fit in a page; says where they stand.
    /// They are not in the index yet, and no set counts them. `None` where all 2^32 rows are in use.
    pub(super) fn append_rows(&mut self, ix: BucketIx, bytes: &[u8]) -> Option<(RowNo, u32)> {
        let place = self.cells.rows(ix) % PAGE_ROWS;
        if place == 0 {
            let page = self.rows.new_page(ix.0)?;
            self.cells.bucket_mut(ix).pages.push(page);
            self.cells.ends[ix.0 as usize].page = page;
        }
        let rows = (bytes.len() / size_of::<Row>()).min((PAGE_ROWS - place) as usize);
        let end = &mut self.cells.ends[ix.0 as usize];
        end.len += rows as u32;
        let first = end.page.row(place);
        self.rows.write_bytes(first, &bytes[..rows * size_of::<Row>()]);
        Some((first, rows as u32))
    }

    /// Takes a row out of its bucket; the last one takes its place. Says whether one did.
    #[inline]
    fn take_out(&mut self, ix: BucketIx, no: RowNo) -> bool {
        let Some(last) = self.last_of(ix) else { return false };
        if !planted(Defect::FillsGap) {
            self.before_change(last);
        }
        let moved = last != no;
        if moved {
            let row = self.rows.row(last);
            self.rows.write(no, row);
            self.index.relocate(self.index.hash(row.device), row.device, last, no);
        }
        // Whoever still takes this place for the device's will see that it is not.
        self.rows.write(last, Row::default());
        let end = &mut self.cells.ends[ix.0 as usize];
        end.len -= 1;
        if end.len.is_multiple_of(PAGE_ROWS) {
            let pages = &mut self.cells.buckets[ix.0 as usize].pages;
            if let Some(page) = pages.pop() {
                self.rows.free_page(page);
            }
            end.page = pages.last().copied().unwrap_or_default();
        }
        moved
    }

    /// Writes a ping into the row of a device that stays in its bucket.
    pub(super) fn write(&mut self, ix: BucketIx, no: RowNo, ping: &Ping) {
        if !planted(Defect::LongWay) {
            self.before_change(no);
        }
        let old = self.rows.row(no);
        let time = self.hold_time(ix, old.device, ping.at);
        // The window may have moved, and the row with it.
        let row = self.rows.row(no);
        if time != 0 && row.time() == 0 {
            self.times.remove(&row.device);
        }
        let seen = Seen { time, accuracy_m: ping.accuracy_m, set: row.set() };
        self.rows.write(no, row.with_ping(ping.position.lat_e7(), ping.position.lon_e7(), seen));
    }

    /// Moves a device to another bucket, with what a ping says of it, or as it was. Returns its
    /// new row, and whether another row took its old place. `None` where all rows are in use.
    pub(super) fn move_to(
        &mut self,
        from: BucketIx,
        no: RowNo,
        to: BucketIx,
        ping: &Ping,
    ) -> Option<(RowNo, bool)> {
        if !self.has_room(to) {
            return None;
        }
        if !planted(Defect::Leaves) {
            self.before_change(no);
        }
        let row = self.rows.row(no);
        let set = self.sets.keep(self.set_of(from, row));
        self.unuse_set(from, row);
        if row.time() == 0 {
            self.times.remove(&row.device);
        }
        let seen = Seen {
            time: self.hold_time(to, row.device, ping.at),
            accuracy_m: ping.accuracy_m,
            set: self.use_set(to, row.device, set),
        };
        self.sets.drop(set);
        let moved = row.with_ping(ping.position.lat_e7(), ping.position.lon_e7(), seen);
        let new = self.append(to, moved)?;
        self.index.relocate(self.index.hash(row.device), row.device, no, new);
        let filled = self.take_out(from, no);
        Some((new, filled))
    }

    /// Adds a device that is not there. `None` where all 2^32 rows are in use.
    pub(super) fn insert(&mut self, hash: Hash, ix: BucketIx, ping: &Ping) -> Option<RowNo> {
        if !self.has_room(ix) {
            return None;
        }
        let device = ping.device.0;
        let set = match self.last_of(ix).filter(|_| defects::on(defects::Defect::RowKeepsSet)) {
            Some(last) => self.set_of(ix, self.rows.row(last)),
            None => SetId::EMPTY,
        };
        let seen = Seen {
            time: self.hold_time(ix, device, ping.at),
            accuracy_m: ping.accuracy_m,
            set: self.use_set(ix, device, set),
        };
        let row = Row::of(device);
        let row = row.with_ping(ping.position.lat_e7(), ping.position.lon_e7(), seen);
        let no = self.append(ix, row)?;
        self.index.insert(hash, device, no, &self.rows);
        Some(no)
    }

    /// Adds a device that is not there, of whom all is known. `None` where all 2^32 rows are in use.
    #[expect(clippy::too_many_arguments, reason = "what a row says")]
    pub(super) fn put(
        &mut self,
        hash: Hash,
        ix: BucketIx,
        device: u64,
        position: Position,
        accuracy_m: u32,
        at: Option<EventTime>,
        set: SetId,
    ) -> Option<RowNo> {
        if !self.has_room(ix) {
            return None;
        }
        let time = at.map_or(0, |at| self.hold_time(ix, device, at));
        let seen = Seen { time, accuracy_m, set: self.use_set(ix, device, set) };
        let row = Row::of(device).with_ping(position.lat_e7(), position.lon_e7(), seen);
        let no = self.append(ix, row)?;
        self.index.insert(hash, device, no, &self.rows);
        Some(no)
    }

    /// A device was notified of an alert; where it is not there, it has departed.
    pub(super) fn note_notified(&mut self, device: u64, alert: AlertNo) {
        let hash = self.index.hash(device);
        if let Some(no) = self.index.find(hash, device, &self.rows) {
            let ix = self.rows.bucket(no);
            if !self.sets.has(self.set_of(ix, self.rows.row(no)), alert) {
                self.notify(ix, no, alert);
            }
            return;
        }
        let set = self.sets.with(SetId::EMPTY, alert);
        // Where all rows are in use, nobody can be added by a ping either.
        let _ = self.put(hash, BucketIx::DEPARTED, device, Position::from_held(0, 0), 0, None, set);
        self.sets.drop(set);
    }

    /// Forgets a device for good. Says whether another row took its place.
    pub(super) fn remove(&mut self, ix: BucketIx, no: RowNo) -> bool {
        self.before_change(no);
        let row = self.rows.row(no);
        self.unuse_set(ix, row);
        if row.time() == 0 {
            self.times.remove(&row.device);
        }
        self.index.remove(self.index.hash(row.device), row.device, no, &self.rows);
        self.take_out(ix, no)
    }

    /// An alert was cancelled and has nothing more to tell here: it is taken out of a bucket's
    /// sets. A device that comes later may bring it along, which does no harm: its number is
    /// never used again.
    pub(super) fn forget_alert(&mut self, ix: BucketIx, alert: AlertNo) {
        for n in 0..self.cells.sets_len(ix) {
            let local = LocalSet(n as u16);
            let set = self.cells.set(ix, local);
            if set != SetId::UNUSED && self.sets.has(set, alert) {
                let without = self.sets.without(set, alert);
                self.cells.set_at(ix, local, without, &self.sets);
                self.sets.drop(set);
            }
        }
    }

    /// The same for devices that keep their sets for themselves.
    pub(super) fn forget_spilled_alert(&mut self, alert: AlertNo) {
        if self.saving.is_some() {
            let has = |set: &SetId| self.sets.has(*set, alert);
            let devices: Vec<u64> =
                self.spilled.iter().filter(|(_, set)| has(set)).map(|(d, _)| *d).collect();
            devices.into_iter().for_each(|device| self.before_spilled_change(device));
        }
        for set in self.spilled.values_mut() {
            if self.sets.has(*set, alert) {
                let without = self.sets.without(*set, alert);
                self.sets.drop(std::mem::replace(set, without));
            }
        }
    }

    /// Gives the memory of free pages back: moves the last page into a free one, if there are
    /// many, and cuts the end off.
    pub(super) fn give_back(&mut self, pages: usize) {
        for _ in 0..pages {
            if !self.give_page_back() {
                return;
            }
        }
    }

    fn give_page_back(&mut self) -> bool {
        if self.rows.free_pages() <= 64 + self.rows.pages() as usize / 16 {
            return false;
        }
        let Some(last) = self.rows.trim() else { return false };
        let Some(ix) = self.rows.owner(last) else { return false };
        let Some(page) = self.rows.new_page(ix.0) else { return false };
        if page > last {
            self.rows.free_page(page);
            return false;
        }
        let pages = &mut self.cells.buckets[ix.0 as usize].pages;
        let Some(place) = pages.iter().position(|p| *p == last) else { return false };
        pages[place] = page;
        let end = &mut self.cells.ends[ix.0 as usize];
        if end.page == last {
            end.page = page;
        }
        let rows = (end.len - place as u32 * PAGE_ROWS).min(PAGE_ROWS);
        self.rows.move_page(last, page);
        for n in 0..rows {
            let device = self.rows.device(page.row(n));
            self.index.relocate(self.index.hash(device), device, last.row(n), page.row(n));
        }
        self.rows.free_page(last);
        true
    }
}
