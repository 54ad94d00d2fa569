//! Forgetting: the devices that are not known any more are sought a few rows at a time, and the
//! memory of their pages goes back to the system.
//!
//! A forgotten device that was notified of an alert which was not cancelled keeps a row among
//! the departed: it must not be told again, and must hear of updates and of the end.

use super::cells::BucketIx;
use super::index::RowNo;
use super::partition::Partition;
use super::rows::{PAGE_ROWS, PageNo};
use super::scan::KnownFrom;
use super::sets::SetId;
use crate::domain::{DeviceId, MaxAge, Ping};
use crate::planted::{self, Defect};

/// Where the search goes on.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    next: PageNo,
    /// Rows that may be looked at.
    credit: usize,
}

/// A ping pays for looking at this share of a row: a row is looked at several times a day where
/// devices ping each minute.
const PINGS_PER_ROW: usize = 16;
/// Rows that every batch pays for at least.
const ROWS_MIN: usize = 16;
/// Buckets that a turn refines: half a millisecond.
const REFINED_PER_TURN: usize = 32;
/// Pages that a batch moves at most to give memory back: more than it can free.
const PAGES_PER_BATCH: usize = 8;
/// Pages that an idle turn moves at most.
const IDLE_PAGES: usize = 256;
/// Rows that an idle turn looks at.
const IDLE_ROWS: usize = 16_384;

impl Partition {
    /// For a thread that waits: does a little of what makes later pings cheaper, well below a
    /// millisecond; says whether there is more of it.
    pub fn prepare(&mut self) -> bool {
        self.devices.cells.refine_some(REFINED_PER_TURN)
    }

    /// For a thread that has waited long: forgets devices and gives memory back. Takes well below
    /// a millisecond.
    pub fn idle(&mut self) {
        self.sweep.credit = self.sweep.credit.max(IDLE_ROWS);
        self.forget_some(0);
        if self.unfinished.is_none() {
            self.devices.give_back(IDLE_PAGES);
        }
    }

    /// Looks at some rows and forgets the devices that are not known any more. Not while work is
    /// left: a device forgotten now may have been known at its event.
    pub(super) fn forget_some(&mut self, pings: usize) {
        self.devices.cells.refine_some(REFINED_PER_TURN);
        if self.unfinished.is_some() {
            return;
        }
        self.sweep.credit = (self.sweep.credit + pings / PINGS_PER_ROW + ROWS_MIN).min(IDLE_ROWS);
        let mut pages = self.devices.rows.pages();
        while self.sweep.credit > 0 && pages > 0 {
            pages -= 1;
            let page = self.sweep.next;
            self.sweep.next = PageNo(page.0 + 1);
            if page.0 >= self.devices.rows.pages() {
                self.sweep.next = PageNo::default();
                continue;
            }
            self.sweep_page(page);
        }
        self.devices.give_back(PAGES_PER_BATCH);
    }

    fn sweep_page(&mut self, page: PageNo) {
        self.sweep.credit = self.sweep.credit.saturating_sub(1);
        let Some(ix) = self.devices.rows.owner(page) else { return };
        let departed = ix == BucketIx::DEPARTED;
        if self.config.max_age == MaxAge::Never && !departed {
            return;
        }
        let bucket = self.devices.cells.bucket(ix);
        let last = bucket.pages.last() == Some(&page);
        let len = if last { (self.devices.cells.rows(ix) - 1) % PAGE_ROWS + 1 } else { PAGE_ROWS };
        self.sweep.credit = self.sweep.credit.saturating_sub(len as usize);
        let known = KnownFrom::new(self.config.max_age, self.clock, self.devices.cells.hot(ix).base_ms);
        let mut gone = 0_u64;
        for (i, row) in self.devices.rows.page(page, len).iter().enumerate() {
            let goes = if departed {
                !self.may_hear(self.devices.set_of(ix, *row)) && !planted::on(Defect::DepartedStay)
            } else {
                !known.knows(&self.devices, ix, *row)
            };
            gone |= u64::from(goes) << i;
        }
        // From the end, so that the row that takes a gap's place was looked at, or will be later.
        while gone != 0 {
            let i = 63 - gone.leading_zeros();
            gone &= !(1 << i);
            self.forget(ix, page.row(i));
        }
    }

    /// Whether a device with this set was notified of an alert that is not cancelled.
    fn may_hear(&self, set: SetId) -> bool {
        self.devices.sets.alerts(set).iter().any(|alert| self.standing.may_tell(*alert))
    }

    fn forget(&mut self, ix: BucketIx, no: RowNo) {
        let row = self.devices.rows.row(no);
        if !self.may_hear(self.devices.set_of(ix, row)) || planted::on(Defect::ForgetsNotified) {
            self.devices.remove(ix, no);
            return;
        }
        let as_it_was = Ping {
            device: DeviceId(row.device),
            at: self.devices.time_of(ix, row),
            position: row.position(),
            accuracy_m: row.accuracy_m(),
        };
        self.devices.move_to(ix, no, BucketIx::DEPARTED, &as_it_was);
    }
}
