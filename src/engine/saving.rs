//! A snapshot under way: which rows it still has to write, and those that changed before it came
//! to them.
//!
//! Written are all rows as they were when it began, while pings and orders go on. Lists of sets,
//! cells and bases of times are written at once at the beginning, they are small; what a row's
//! bytes mean is therefore told for good. Rows are written page by page (`snapshot`); one that
//! changes before that is first copied aside, as 28 bytes, and its bit in its page's mask says that the
//! walk leaves it out. By row and not by page, although that takes a word a page instead of a
//! bit: pings come in random order, so the first ping or two of each page would copy the whole of it,
//! and a partition would copy its table as fast as some pings come, or wait for the disk.
//!
//! Invariants, while a snapshot is under way: a row whose bit is not set, in a page that was there at
//! the beginning and below its bucket's end, is as it was then, and stands in the same bucket; each row of
//! the beginning is written once, either from aside or from its page.

use std::collections::VecDeque;

use super::cells::BucketIx;
use super::devices::Devices;
use super::index::RowNo;
use super::memory::prefetch;
use super::rows::{PAGE_ROWS, PageNo, Row};
use super::sets::LocalSet;
use crate::domain::{AlertNo, EventTime};

/// Rows that are copied aside together: a block of a megabyte.
const ASIDE_ROWS: usize = 1 << 15;

/// What some rows' bytes do not say: times outside of their window, sets that are kept by device.
/// Entries as the block has them: the row's place, alerts ([`NOT_SPILLED`] where its list says it), time
/// ([`NO_TIME`] where the row says it), the alerts.
#[derive(Debug, Default)]
pub(super) struct Odd {
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

/// See [`Odd`].
pub(super) const NOT_SPILLED: u32 = u32::MAX;
/// See [`Odd`]. A row may say that its time is outside and have none.
pub(super) const NO_TIME: i64 = i64::MIN;

impl Odd {
    pub(super) fn push(&mut self, place: u32, at: Option<EventTime>, alerts: Option<&[AlertNo]>) {
        self.count += 1;
        self.bytes.extend_from_slice(&place.to_le_bytes());
        self.bytes.extend_from_slice(&alerts.map_or(NOT_SPILLED, |a| a.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&at.map_or(NO_TIME, |at| at.0).to_le_bytes());
        for alert in alerts.unwrap_or_default() {
            self.bytes.extend_from_slice(&alert.0.to_le_bytes());
        }
    }
}

/// Rows that were copied aside, in the order in which they changed.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) buckets: Vec<u32>,
    pub(super) rows: Vec<Row>,
    pub(super) odd: Odd,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Saving {
    /// Blocks made at the beginning.
    pub(super) tables: VecDeque<Vec<u8>>,
    /// Of each page of the beginning: rows that are not to be written from it.
    saved: Vec<u64>,
    open: Aside,
    full: VecDeque<Aside>,
    /// Bytes aside in `full`.
    full_bytes: usize,
    /// Where the walk goes on.
    pub(super) bucket: u32,
    pub(super) place: usize,
    /// Buckets of the beginning.
    pub(super) buckets: u32,
}

impl Saving {
    pub(super) fn new(tables: VecDeque<Vec<u8>>, pages: u32, buckets: u32) -> Self {
        Self {
            tables,
            saved: vec![0; pages as usize],
            open: Aside::default(),
            full: VecDeque::new(),
            full_bytes: 0,
            bucket: 0,
            place: 0,
            buckets,
        }
    }

    /// Whether a row is still to be written and about to change; it is marked as written.
    #[inline(always)]
    fn claim(&mut self, no: RowNo) -> bool {
        let Some(bits) = self.saved.get_mut((no.0 / PAGE_ROWS) as usize) else { return false };
        let bit = 1 << (no.0 % PAGE_ROWS);
        let first = *bits & bit == 0;
        *bits |= bit;
        first
    }

    #[inline(always)]
    fn put(&mut self, ix: BucketIx, row: Row) {
        if self.open.rows.len() == self.open.rows.capacity() {
            self.next_aside();
        }
        self.open.buckets.push(ix.0);
        self.open.rows.push(row);
    }

    #[cold]
    fn next_aside(&mut self) {
        let next = Aside {
            buckets: Vec::with_capacity(ASIDE_ROWS),
            rows: Vec::with_capacity(ASIDE_ROWS),
            odd: Odd::default(),
        };
        let full = std::mem::replace(&mut self.open, next);
        if !full.rows.is_empty() {
            self.full_bytes += bytes_of(&full);
            self.full.push_back(full);
        }
    }

    /// Bytes aside.
    pub(super) fn debt(&self) -> usize {
        self.full_bytes + bytes_of(&self.open)
    }

    /// The rows that were put aside first.
    pub(super) fn take_aside(&mut self) -> Option<Aside> {
        if let Some(full) = self.full.pop_front() {
            self.full_bytes -= bytes_of(&full);
            return Some(full);
        }
        (!self.open.rows.is_empty()).then(|| std::mem::take(&mut self.open))
    }

    /// The rows of a page, whose bucket has `len` of them there, that are to be written from it;
    /// from now on they are.
    pub(super) fn take_page(&mut self, page: PageNo, len: u32) -> u64 {
        let Some(bits) = self.saved.get_mut(page.0 as usize) else { return 0 };
        let left = !std::mem::replace(bits, u64::MAX);
        left & (u64::MAX >> (PAGE_ROWS - len))
    }
}

fn bytes_of(aside: &Aside) -> usize {
    aside.rows.len() * (size_of::<Row>() + size_of::<u32>()) + aside.odd.bytes.len()
}

impl Devices {
    /// Asks for what says whether a row is still to be written.
    #[inline(always)]
    pub(super) fn prefetch_saved(&self, no: RowNo) {
        if let Some(saving) = &self.saving {
            prefetch(&saving.saved, (no.0 / PAGE_ROWS) as usize);
        }
    }

    /// Before a row changes, or what it names by its device (a time, a set) does.
    #[inline]
    pub(super) fn before_change(&mut self, no: RowNo) {
        if self.saving.is_some() {
            self.save(no, self.rows.bucket(no), self.rows.row(no));
        }
    }

    /// The same, where the row is known.
    #[inline(always)]
    pub(super) fn save(&mut self, no: RowNo, ix: BucketIx, row: Row) {
        if let Some(saving) = &mut self.saving
            && saving.claim(no)
        {
            saving.put(ix, row);
            if row.time() == 0 || row.set() == LocalSet::SPILLED {
                self.save_odd(row);
            }
        }
    }

    /// What the row that was just put aside does not say.
    #[cold]
    fn save_odd(&mut self, row: Row) {
        let at = self.time_outside(row);
        let set = self.spilled_set(row);
        if let Some(saving) = &mut self.saving {
            let place = saving.open.rows.len() as u32 - 1;
            saving.open.odd.push(place, at, set.map(|set| self.sets.alerts(set)));
        }
    }

    /// A row is put where none was: there is nothing to write of it.
    #[inline]
    pub(super) fn is_new(&mut self, no: RowNo) {
        if let Some(saving) = &mut self.saving
            && !planted(Defect::NewRowAsOld)
        {
            saving.claim(no);
        }
    }

    /// A page was given to a bucket that has nothing in it yet.
    pub(super) fn is_new_page(&mut self, page: PageNo) {
        if let Some(saving) = &mut self.saving
            && let Some(bits) = saving.saved.get_mut(page.0 as usize)
        {
            *bits = u64::MAX;
        }
    }

    /// Rows move to another page, each to its place.
    pub(super) fn moves_page(&mut self, from: PageNo, to: PageNo) {
        let Some(saving) = &mut self.saving else { return };
        if planted(Defect::MovedPage) {
            return;
        }
        let bits = saving.saved.get_mut(from.0 as usize).map_or(u64::MAX, |b| std::mem::replace(b, u64::MAX));
        if let Some(target) = saving.saved.get_mut(to.0 as usize) {
            *target = bits;
        }
    }

    /// Before the times of all rows of a bucket are counted from another base.
    #[cold]
    pub(super) fn before_window_moves(&mut self, ix: BucketIx) {
        if self.saving.is_none() || planted(Defect::MovedWindow) {
            return;
        }
        let mut left = self.cells.rows(ix);
        for place in 0..self.cells.bucket(ix).pages.len() {
            let page = self.cells.bucket(ix).pages[place];
            (0..left.min(PAGE_ROWS)).for_each(|n| self.before_change(page.row(n)));
            left = left.saturating_sub(PAGE_ROWS);
        }
    }

    /// Before the set that a device keeps for itself changes.
    pub(super) fn before_spilled_change(&mut self, device: u64) {
        if self.saving.is_some()
            && !planted(Defect::SpilledSet)
            && let Some(no) = self.index.find(self.index.hash(device), device, &self.rows)
        {
            self.before_change(no);
        }
    }
}

/// Defects that tests plant, to see that they find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The short way of a ping changes a row that was not saved.
    ShortWay,
    /// So does the long way, where the device stays in its bucket.
    LongWay,
    /// So does a device that leaves.
    Leaves,
    /// So does the last row of a bucket when it fills a gap.
    FillsGap,
    /// So does a notification.
    Notified,
    /// A row that came later is taken for one of the beginning.
    NewRowAsOld,
    /// What is left to write of a page is forgotten when it moves.
    MovedPage,
    /// Times get another base, and are not saved first.
    MovedWindow,
    /// A set kept by device changes, and is not saved first.
    SpilledSet,
    /// Lists of sets are written as they are when their rows are.
    ListsLater,
    /// The departed are not written.
    Departed,
    /// Times outside of the window are not written.
    TimesOutside,
}

#[cfg(test)]
impl Defect {
    pub(crate) const ALL: [Self; 12] = [
        Self::ShortWay,
        Self::LongWay,
        Self::Leaves,
        Self::FillsGap,
        Self::Notified,
        Self::NewRowAsOld,
        Self::MovedPage,
        Self::MovedWindow,
        Self::SpilledSet,
        Self::ListsLater,
        Self::Departed,
        Self::TimesOutside,
    ];
}

#[cfg(test)]
thread_local! {
    pub(crate) static PLANTED: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Whether a defect is planted: never outside of tests.
#[inline(always)]
pub(super) fn planted(defect: Defect) -> bool {
    #[cfg(test)]
    return PLANTED.get() == Some(defect);
    #[cfg(not(test))]
    {
        let _ = defect;
        false
    }
}
