//! A snapshot under way: which rows it still has to write, and those that changed before it came
//! to them.
//!
//! Written are all rows as they were when it began, while pings and orders go on. Lists of sets,
//! cells and bases of times are written at once at the beginning, they are small; what a row's
//! bytes mean is therefore told for good. Rows are written page by page (`snapshot`); one that
//! changes before that is first copied aside, as 28 bytes. A bit of each row, its phase, says
//! whether it is still to be written: all rows are in one phase, a snapshot begins by naming the other one
//! the phase of now, and whatever is written, changed or put anywhere is in that from then on.
//!
//! Why by row and not by page: pings come in random order, so the first ping or two of each page would
//! copy the whole of it, and a partition would copy its table as fast as some pings come, or
//! wait for the disk. Why in the row: a ping has it at hand. A mask by page, a line more to fetch, made a
//! ping a fifth slower.
//!
//! Invariants: without a snapshot all rows are in the phase of now. With one, a row in the other phase is
//! as it was at the beginning, stands in the same bucket, and the walk has not come by; each row of
//! the beginning is written once, either from aside or from its page.

use std::collections::VecDeque;

use super::cells::BucketIx;
use super::devices::Devices;
use super::index::RowNo;
use super::rows::{PAGE_ROWS, Row};
use crate::domain::{AlertNo, EventTime};

/// Rows that are copied aside together: a block of 229,376 bytes or somewhat more, which the cache still
/// has when it is written out.
const ASIDE_ROWS: usize = 1 << 13;
/// Rooms for them that are kept to be used again: new memory costs more than filling it.
const SPARE_MAX: usize = 8;

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
    open: Aside,
    full: VecDeque<Aside>,
    spare: Vec<Aside>,
    /// Bytes aside in `full`.
    full_bytes: usize,
    /// Where the walk goes on.
    pub(super) bucket: u32,
    pub(super) place: usize,
    /// Buckets of the beginning.
    pub(super) buckets: u32,
}

impl Saving {
    pub(super) fn new(tables: VecDeque<Vec<u8>>, buckets: u32) -> Self {
        Self {
            tables,
            open: Aside::default(),
            full: VecDeque::new(),
            spare: Vec::new(),
            full_bytes: 0,
            bucket: 0,
            place: 0,
            buckets,
        }
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
        let next = self.spare.pop().unwrap_or_else(|| Aside {
            buckets: Vec::with_capacity(ASIDE_ROWS),
            rows: Vec::with_capacity(ASIDE_ROWS),
            odd: Odd::default(),
        });
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

    /// What was taken has been written.
    pub(super) fn reuse(&mut self, mut aside: Aside) {
        if self.spare.len() < SPARE_MAX {
            aside.buckets.clear();
            aside.rows.clear();
            aside.odd = Odd::default();
            self.spare.push(aside);
        }
    }
}

fn bytes_of(aside: &Aside) -> usize {
    aside.rows.len() * (size_of::<Row>() + size_of::<u32>()) + aside.odd.bytes.len()
}

impl Devices {
    /// Before a row changes, or what it names by its device (a time, a set) does.
    #[inline]
    pub(super) fn before_change(&mut self, no: RowNo) {
        if self.saving.is_some() {
            let row = self.saved(self.rows.bucket(no), self.rows.row(no));
            self.rows.write(no, row);
        }
    }

    /// Copies a row aside if it is still to be written: as it may be written over.
    #[inline(always)]
    pub(super) fn saved(&mut self, ix: BucketIx, row: Row) -> Row {
        if row.phase() != self.phase
            && let Some(saving) = &mut self.saving
        {
            saving.put(ix, row);
            if row.is_odd() {
                self.save_odd(row);
            }
        }
        row.in_phase(self.phase)
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

    /// Brings the rows that the walk has not come to into the phase of now.
    pub(super) fn give_up_saving(&mut self) {
        let Some(saving) = self.saving.take() else { return };
        if planted(Defect::GivenUp) {
            return;
        }
        for ix in (saving.bucket..saving.buckets).map(BucketIx) {
            let mut left = self.cells.rows(ix);
            for page in &self.cells.bucket(ix).pages {
                let rows = self.rows.page_mut(*page, left.min(PAGE_ROWS));
                rows.iter_mut().for_each(|row| *row = row.in_phase(self.phase));
                left = left.saturating_sub(PAGE_ROWS);
            }
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
    /// A snapshot that is given up leaves rows as they are.
    GivenUp,
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
        Self::GivenUp,
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
