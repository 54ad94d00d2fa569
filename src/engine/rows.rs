//! The rows of all devices, 24 bytes each, in pages of 64.
//!
//! A page belongs to one bucket of the cell index, so the devices of a cell stand together: a
//! scan reads them in order, and the page says which cell a row is in. Times are kept as
//! milliseconds after a base of the bucket, 31 bits; one that lies outside of these 24 days is
//! noted in a table by device (`Cells::time_of` puts both together).
//!
//! Each page also notes how far unfinished scans are with it: the last job that has done it, and
//! which of its rows were touched since the event (see `scan`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::cells::BucketIx;
use super::index::RowNo;
use super::memory::{Region, prefetch, prefetch_all};
use super::sets::LocalSet;
use crate::domain::Position;

/// Rows of a page.
pub(super) const PAGE_ROWS: u32 = 64;
/// Times of a row are below this many milliseconds after its bucket's base, and above 0, which
/// stands for a time outside.
pub(super) const WINDOW_MS: i64 = 1 << 31;

/// Where a device was last seen.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Row {
    pub(super) device: u64,
    /// Phase (1 bit), latitude (31) and longitude (32), 1e-7 degree.
    place: u64,
    /// Time (31 bits), accuracy in metres (17), notified set (16).
    info: u64,
}

/// One of two: whether a snapshot under way has still to write a row (see `saving`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Phase(u64);

impl Phase {
    const BIT: u64 = 1 << 63;

    pub(super) fn other(self) -> Self {
        Self(self.0 ^ Self::BIT)
    }
}

/// The part of a row that a ping brings, and the notified set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Milliseconds after the bucket's base, in (0, [`WINDOW_MS`]), or 0.
    pub(super) time: u32,
    pub(super) accuracy_m: u32,
    pub(super) set: LocalSet,
}

impl Row {
    /// A row of a device that was not seen yet.
    pub(super) fn of(device: u64) -> Self {
        Self { device, ..Self::default() }
    }

    #[inline(always)]
    pub(super) fn lat_e7(self) -> i32 {
        // 90 degrees fit into 30 bits and a sign.
        ((self.place << 1) as i64 >> 33) as i32
    }

    #[inline(always)]
    pub(super) fn lon_e7(self) -> i32 {
        self.place as u32 as i32
    }

    pub(super) fn position(self) -> Position {
        Position::from_held(self.lat_e7(), self.lon_e7())
    }

    #[inline(always)]
    pub(super) fn time(self) -> u32 {
        (self.info >> 33) as u32
    }

    #[inline(always)]
    pub(super) fn accuracy_m(self) -> u32 {
        (self.info >> 16) as u32 & 0x1_ffff
    }

    #[inline(always)]
    pub(super) fn set(self) -> LocalSet {
        LocalSet(self.info as u16)
    }

    #[inline(always)]
    pub(super) fn phase(self) -> Phase {
        Phase(self.place & Phase::BIT)
    }

    #[inline(always)]
    pub(super) fn in_phase(self, phase: Phase) -> Self {
        Self { place: self.place & !Phase::BIT | phase.0, ..self }
    }

    /// Whether something of it is kept by device.
    #[inline(always)]
    pub(super) fn is_odd(self) -> bool {
        (self.time() == 0) | (self.set() == LocalSet::SPILLED)
    }

    #[inline(always)]
    pub(super) fn with_set(self, set: LocalSet) -> Self {
        Self { info: self.info & !0xffff | u64::from(set.0), ..self }
    }

    #[inline(always)]
    pub(super) fn with_time(self, time: u32) -> Self {
        Self { info: self.info & (u64::MAX >> 31) | u64::from(time) << 33, ..self }
    }

    #[inline(always)]
    pub(super) fn with_ping(self, lat_e7: i32, lon_e7: i32, seen: Seen) -> Self {
        let lat = u64::from(lat_e7 as u32 & 0x7fff_ffff);
        let place = self.place & Phase::BIT | lat << 32 | u64::from(lon_e7 as u32);
        let info = u64::from(seen.time) << 33 | u64::from(seen.accuracy_m) << 16 | u64::from(seen.set.0);
        Self { place, info, ..self }
    }
}

/// How far the unfinished scans are with a page.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Walk {
    /// The last job that has done it.
    pub(super) job: u32,
    /// The event that `touched` speaks of.
    event: u32,
    /// Rows that were pinged or put here since that event.
    touched: u64,
}

impl Walk {
    /// Rows touched since an event.
    #[inline]
    pub(super) fn touched(self, event: u32) -> u64 {
        if self.event == event { self.touched } else { 0 }
    }
}

/// A page's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes)]
#[repr(transparent)]
pub(super) struct PageNo(pub(super) u32);

impl PageNo {
    #[inline]
    pub(super) fn of(row: RowNo) -> Self {
        Self(row.0 / PAGE_ROWS)
    }

    #[inline]
    pub(super) fn row(self, place: u32) -> RowNo {
        RowNo(self.0 * PAGE_ROWS + place)
    }
}

/// Rows for which memory is there ahead: some batches of arrivals,
const AHEAD_ROWS: usize = 100_000;
/// and this share of those that there are, up to so many.
const AHEAD_SHARE: usize = 32;
const AHEAD_ROWS_MAX: usize = 700_000;
/// Marks a page that belongs to no bucket.
const FREE: u32 = u32::MAX;
/// Rows are numbered in 32 bits, and the highest number is no row.
const PAGES_MAX: usize = (u32::MAX / PAGE_ROWS) as usize;

/// All rows. Rows of a page beyond its bucket's end hold nothing.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Region<Row>,
    /// The bucket of each page, or [`FREE`].
    owners: Region<u32>,
    walks: Region<Walk>,
    /// Free pages; those at or above the end are no pages any more.
    free: Vec<u32>,
    free_count: usize,
}

impl Rows {
    #[inline(always)]
    pub(super) fn row(&self, no: RowNo) -> Row {
        self.rows[no.0 as usize]
    }

    #[inline(always)]
    pub(super) fn get(&self, no: RowNo) -> Option<&Row> {
        self.rows.get(no.0 as usize)
    }

    #[inline(always)]
    pub(super) fn device(&self, no: RowNo) -> u64 {
        self.rows[no.0 as usize].device
    }

    #[inline(always)]
    pub(super) fn write(&mut self, no: RowNo, row: Row) {
        self.rows[no.0 as usize] = row;
    }

    #[cfg(test)]
    pub(super) fn write_device(&mut self, no: RowNo, device: u64) {
        self.rows[no.0 as usize].device = device;
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, no: RowNo) {
        prefetch(&self.rows, no.0 as usize);
    }

    /// Asks for how far scans are with a page.
    #[inline]
    pub(super) fn prefetch_walk(&self, page: PageNo) {
        prefetch(&self.walks, page.0 as usize);
    }

    /// Asks for eight rows of a page.
    #[inline(always)]
    pub(super) fn prefetch_eight(&self, page: PageNo, first: u32) {
        let first = page.row(first).0 as usize;
        if let Some(rows) = self.rows.get(first..first + 8) {
            prefetch_all(rows);
        }
    }

    /// Asks for what says which bucket a row is in.
    #[inline(always)]
    pub(super) fn prefetch_owner(&self, no: RowNo) {
        prefetch(&self.owners, (no.0 / PAGE_ROWS) as usize);
    }

    /// The bucket of a row in use.
    #[inline(always)]
    pub(super) fn bucket(&self, no: RowNo) -> BucketIx {
        BucketIx(self.owners[(no.0 / PAGE_ROWS) as usize])
    }

    /// The bucket of a page, `None` where it is free.
    pub(super) fn owner(&self, page: PageNo) -> Option<BucketIx> {
        self.owners.get(page.0 as usize).filter(|owner| **owner != FREE).map(|owner| BucketIx(*owner))
    }

    /// The first `len` rows of a page.
    #[inline]
    pub(super) fn page(&self, page: PageNo, len: u32) -> &[Row] {
        let first = page.row(0).0 as usize;
        &self.rows[first..first + len as usize]
    }

    /// The same, to change.
    #[inline]
    pub(super) fn page_mut(&mut self, page: PageNo, len: u32) -> &mut [Row] {
        let first = page.row(0).0 as usize;
        &mut self.rows[first..first + len as usize]
    }

    /// Copies rows to where they follow one another in a page.
    pub(super) fn write_bytes(&mut self, first: RowNo, bytes: &[u8]) {
        let first = first.0 as usize;
        self.rows[first..first + bytes.len() / size_of::<Row>()].as_mut_bytes().copy_from_slice(bytes);
    }

    /// Pages in use or free.
    pub(super) fn pages(&self) -> u32 {
        self.owners.len() as u32
    }

    /// Whether another page can be had.
    pub(super) fn has_room(&self) -> bool {
        self.free_count > 0 || self.owners.len() < PAGES_MAX
    }

    /// A page for a bucket. `None` where all 2^32 rows are in use.
    pub(super) fn new_page(&mut self, bucket: u32) -> Option<PageNo> {
        while let Some(page) = self.free.pop() {
            if let Some(owner) = self.owners.get_mut(page as usize).filter(|owner| **owner == FREE) {
                *owner = bucket;
                self.free_count -= 1;
                return Some(PageNo(page));
            }
        }
        let page = self.owners.len();
        if page >= PAGES_MAX {
            return None;
        }
        self.rows.grow_to((page + 1) * PAGE_ROWS as usize);
        self.owners.grow_to(page + 1);
        self.walks.grow_to(page + 1);
        self.owners[page] = bucket;
        Some(PageNo(page as u32))
    }

    /// A page that its bucket does not need any more.
    pub(super) fn free_page(&mut self, page: PageNo) {
        self.owners[page.0 as usize] = FREE;
        self.free.push(page.0);
        self.free_count += 1;
    }

    /// Prepares to grow; says whether that took time.
    pub(super) fn touch_ahead(&mut self) -> bool {
        let len = self.rows.len();
        let soon = len + AHEAD_ROWS + (len / AHEAD_SHARE).min(AHEAD_ROWS_MAX);
        self.rows.touch_ahead(soon) || self.walks.touch_ahead(soon / PAGE_ROWS as usize)
    }

    /// Free pages below the end.
    pub(super) fn free_pages(&self) -> usize {
        self.free_count
    }

    /// Cuts free pages off at the end; says which page is the last now.
    pub(super) fn trim(&mut self) -> Option<PageNo> {
        let used = self.owners.iter().rposition(|owner| *owner != FREE).map_or(0, |last| last + 1);
        let cut = self.owners.len() - used;
        if cut > 0 {
            self.free_count -= cut;
            self.rows.shrink_to(used * PAGE_ROWS as usize);
            self.owners.shrink_to(used);
            self.walks.shrink_to(used);
            let end = used as u32;
            if self.free.len() > 2 * self.free_count + 64 {
                self.free.retain(|page| *page < end);
            }
        }
        used.checked_sub(1).map(|last| PageNo(last as u32))
    }

    /// Moves a page's rows to another page of the same bucket.
    pub(super) fn move_page(&mut self, from: PageNo, to: PageNo) {
        let (from, to) = (from.row(0).0 as usize, to.row(0).0 as usize);
        let rows = from..from + PAGE_ROWS as usize;
        self.rows.copy_within(rows.clone(), to);
        self.rows[rows].fill(Row::default());
    }

    #[inline]
    pub(super) fn walk(&self, page: PageNo) -> Walk {
        self.walks[page.0 as usize]
    }

    /// A job has done this page.
    #[inline]
    pub(super) fn set_walked(&mut self, page: PageNo, job: u32) {
        self.walks[page.0 as usize].job = job;
    }

    /// Whether a row was touched since an event.
    pub(super) fn touched(&self, no: RowNo, event: u32) -> bool {
        self.walk(PageNo::of(no)).touched(event) >> (no.0 % PAGE_ROWS) & 1 == 1
    }

    /// Marks a row as touched since an event.
    pub(super) fn touch(&mut self, no: RowNo, event: u32) {
        let walk = &mut self.walks[PageNo::of(no).0 as usize];
        walk.touched = walk.touched(event) | 1 << (no.0 % PAGE_ROWS);
        walk.event = event;
    }
}
