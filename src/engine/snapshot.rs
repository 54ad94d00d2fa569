//! Snapshots of a partition: all devices as they were at one moment, as blocks of bytes, written
//! bit by bit while pings and orders go on. How what changes meanwhile is kept is said in `saving`.
//!
//! A block starts with the version, its kind, and two bytes for the kind. All numbers are little-endian.
//!
//! - Head (0): a byte of flags (1: a stage was due and not applied; 2: the phase
//!   of all rows), 0, u32 sets, u32 buckets, u64 rows,
//!   i64 clock. It comes first.
//! - Sets (1): u32 count; of each u32 alerts and those. They are numbered from 1 in their order, over
//!   all blocks; 0 is the empty one. They come before buckets.
//! - Buckets (2): u32 count; of each u64 cell, i64 base of times, u8 class ([`DEPARTED_CLASS`]: who
//!   departed, [`EMPTY_CLASS`]: nobody), u8 0, u16 length of its list of sets, and that as u32 numbers
//!   ([`NO_SET`]: not used). They are numbered from 0 in their order, and come before rows.
//! - Rows (3), in any order: u32 runs, u32 rows, u32 odd ones; of each run u32 bucket, u32 rows; the
//!   rows as the table holds them, 24 bytes each; what these do not say (see `saving::Odd`).
//!
//! Nothing here is protected against damage: whoever stores a block adds a checksum.

use std::collections::VecDeque;

use zerocopy::IntoBytes;

use super::cells::BucketIx;
use super::devices::Devices;
use super::partition::Partition;
use super::rows::{PAGE_ROWS, PageNo, Phase, Row};
use super::saving::{Aside, Defect, Odd, Saving, planted};
use super::sets::{LocalSet, SetId};
use crate::domain::EventTime;

pub(super) const VERSION: u8 = 1;
pub(super) const HEAD: u8 = 0;
pub(super) const SETS: u8 = 1;
pub(super) const BUCKETS: u8 = 2;
pub(super) const ROWS: u8 = 3;
/// Flag of the head: a stage was due and not applied.
pub(super) const STAGE_PENDING: u8 = 1;
/// Flag of the head: the phase of all rows.
pub(super) const PHASE: u8 = 2;
/// The class of those who departed.
pub(super) const DEPARTED_CLASS: u8 = 255;
/// The class of a bucket that has no rows.
pub(super) const EMPTY_CLASS: u8 = 254;
/// No set: a place in a list that is not used.
pub(super) const NO_SET: u32 = u32::MAX;

/// Size of the blocks that are made at the beginning, about.
const TABLE_BYTES: usize = 256 << 10;

const _: () = assert!(cfg!(target_endian = "little"), "rows are written as memory holds them");

impl Partition {
    /// Begins a snapshot of the partition as it is now. False where it cannot: an event has work
    /// left, or another snapshot is under way.
    pub fn begin_snapshot(&mut self) -> bool {
        if self.has_work() || self.snapshot_active() || self.restoring.is_some() {
            return false;
        }
        let pending = self.standing.next_stage_at().is_some_and(|due| due <= self.clock);
        let tables = self.devices.tables(self.clock, pending);
        let saving = Saving::new(tables, self.devices.cells.len() as u32);
        self.devices.saving = Some(Box::new(saving));
        self.devices.phase = self.devices.phase.other();
        true
    }

    /// Whether a snapshot is under way.
    pub fn snapshot_active(&self) -> bool {
        self.devices.saving.is_some()
    }

    /// Bytes that wait because what they were has changed. Each accepted ping adds less than a hundred, and
    /// [`snapshot_some`](Self::snapshot_some) takes them first: whoever lets pings in only
    /// below a bound (`limits::SNAPSHOT_ASIDE_BYTES_MAX`) keeps to that bound and a batch. (Now and then, when times of a cell get
    /// another base or an alert is cancelled, all rows of a cell are added at once.)
    pub fn snapshot_debt(&self) -> usize {
        self.devices.saving.as_ref().map_or(0, |saving| saving.debt())
    }

    /// Gives a snapshot up, which takes a nanosecond or two for each device that was not written.
    pub fn abort_snapshot(&mut self) {
        self.devices.give_up_saving();
    }

    /// Appends the next block, of about `bytes` (what waits comes in blocks of up to 400 kB); says
    /// whether there are more. Without a snapshot it does nothing.
    pub fn snapshot_some(&mut self, bytes: usize, out: &mut Vec<u8>) -> bool {
        let devices = &mut self.devices;
        let Some(mut saving) = devices.saving.take() else { return false };
        if planted(Defect::ListsLater)
            && let Some(head) = saving.tables.front().filter(|table| table[1] == HEAD).cloned()
        {
            saving.tables = devices.tables(self.clock, false);
            saving.tables[0][12..].copy_from_slice(&head[12..]);
            saving.tables[0][2] = head[2];
        }
        if let Some(table) = saving.tables.pop_front() {
            out.extend_from_slice(&table);
        } else if let Some(aside) = saving.take_aside() {
            write_aside(&aside, out);
            saving.reuse(aside);
        } else {
            devices.walk(&mut saving, bytes, out);
        }
        let more = saving.bucket < saving.buckets || saving.debt() > 0;
        if more {
            devices.saving = Some(saving);
        }
        more
    }
}

/// Blocks that are begun anew when they are large enough.
struct Tables {
    kind: u8,
    done: VecDeque<Vec<u8>>,
    count: u32,
    bytes: Vec<u8>,
}

impl Tables {
    fn entry(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() > TABLE_BYTES {
            self.close();
        }
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[VERSION, self.kind, 0, 0, 0, 0, 0, 0]);
        }
        self.count += 1;
        write(&mut self.bytes);
    }

    fn close(&mut self) {
        if self.count > 0 {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
            self.done.push_back(bytes);
            self.count = 0;
        }
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

impl Devices {
    /// All but the rows.
    fn tables(&self, clock: EventTime, stage_pending: bool) -> VecDeque<Vec<u8>> {
        let mut tables = Tables { kind: SETS, done: VecDeque::new(), count: 0, bytes: Vec::new() };
        let mut numbers = vec![0_u32; self.sets.end()];
        let mut sets = 0;
        for (set, alerts) in self.sets.held() {
            sets += 1;
            numbers[set.0 as usize] = sets;
            tables.entry(|out| {
                put(out, alerts.len() as u32);
                alerts.iter().for_each(|alert| put(out, alert.0));
            });
        }
        tables.close();
        tables.kind = BUCKETS;
        for ix in (0..self.cells.len() as u32).map(BucketIx) {
            if self.cells.rows(ix) == 0 {
                tables.entry(|out| {
                    out.extend_from_slice(&[0; 16]);
                    out.extend_from_slice(&[EMPTY_CLASS, 0, 0, 0]);
                });
                continue;
            }
            let (bucket, hot) = (self.cells.bucket(ix), self.cells.hot(ix));
            let class = if ix == BucketIx::DEPARTED { DEPARTED_CLASS } else { hot.class.code() };
            tables.entry(|out| {
                out.extend_from_slice(&u64::from(bucket.cell).to_le_bytes());
                out.extend_from_slice(&hot.base_ms.to_le_bytes());
                out.extend_from_slice(&[class, 0, 0, 0]);
                let start = out.len();
                let mut used = 0_u16;
                for (LocalSet(n), set) in self.cells.sets_of(ix) {
                    put(out, if set == SetId::UNUSED { NO_SET } else { numbers[set.0 as usize] });
                    if set != SetId::UNUSED {
                        used = n + 1;
                    }
                }
                out.truncate(start + 4 * usize::from(used));
                out[start - 2..start].copy_from_slice(&used.to_le_bytes());
            });
        }
        tables.close();
        let phase = if self.phase == Phase::default() { 0 } else { PHASE };
        let mut head = vec![VERSION, HEAD, if stage_pending { STAGE_PENDING | phase } else { phase }, 0];
        put(&mut head, sets);
        put(&mut head, self.cells.len() as u32);
        head.extend_from_slice(&(self.index.len() as u64).to_le_bytes());
        head.extend_from_slice(&clock.0.to_le_bytes());
        tables.done.push_front(head);
        tables.done
    }

    /// Goes on with the pages.
    fn walk(&mut self, saving: &mut Saving, bytes: usize, out: &mut Vec<u8>) {
        let most = (bytes / size_of::<Row>()).max(1) as u32;
        // Pages, their rows, and which of those are to be written.
        let mut pages: Vec<(PageNo, u32, u64)> = Vec::new();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut rows = 0;
        while rows < most && saving.bucket < saving.buckets {
            let ix = BucketIx(saving.bucket);
            let all = &self.cells.bucket(ix).pages;
            let Some(page) = all.get(saving.place).copied() else {
                (saving.bucket, saving.place) = (saving.bucket + 1, 0);
                continue;
            };
            if let Some(next) = all.get(saving.place + 1) {
                (0..PAGE_ROWS).step_by(8).for_each(|first| self.rows.prefetch_eight(*next, first));
            }
            let len = (self.cells.rows(ix) - saving.place as u32 * PAGE_ROWS).min(PAGE_ROWS);
            saving.place += 1;
            let held = self.rows.page(page, len).iter().enumerate();
            let chosen = held.fold(0, |bits, (i, row)| bits | u64::from(row.phase() != self.phase) << i);
            if chosen == 0 || planted(Defect::Departed) && ix == BucketIx::DEPARTED {
                continue;
            }
            pages.push((page, len, chosen));
            rows += chosen.count_ones();
            match runs.last_mut() {
                Some((bucket, count)) if *bucket == ix.0 => *count += chosen.count_ones(),
                _ => runs.push((ix.0, chosen.count_ones())),
            }
        }
        let odd_at = write_rows_head(&runs, rows, out);
        out.reserve(rows as usize * size_of::<Row>());
        let mut odd = Odd::default();
        let mut place = 0;
        for (page, len, chosen) in pages {
            let held = self.rows.page(page, len);
            if chosen.count_ones() == len {
                out.extend_from_slice(held.as_bytes());
            } else {
                chosen_of(held, chosen).for_each(|row| out.extend_from_slice(row.as_bytes()));
            }
            if held.iter().fold(false, |odd, row| odd | row.is_odd()) {
                for (row, place) in chosen_of(held, chosen).zip(place..).filter(|(row, _)| row.is_odd()) {
                    let alerts = self.spilled_set(*row).map(|set| self.sets.alerts(set));
                    odd.push(place, self.time_outside(*row), alerts);
                }
            }
            place += chosen.count_ones();
            let phase = self.phase;
            self.rows.page_mut(page, len).iter_mut().for_each(|row| *row = row.in_phase(phase));
        }
        write_odd(&odd, odd_at, out);
    }
}

/// Some rows of a page.
fn chosen_of(rows: &[Row], chosen: u64) -> impl Iterator<Item = &Row> {
    rows.iter().enumerate().filter(move |(i, _)| chosen >> i & 1 == 1).map(|(_, row)| row)
}

/// Writes what stands before the rows; says where the number of odd ones belongs.
fn write_rows_head(runs: &[(u32, u32)], rows: u32, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[VERSION, ROWS, 0, 0]);
    put(out, runs.len() as u32);
    put(out, rows);
    let odd_at = out.len();
    put(out, 0);
    for (bucket, rows) in runs {
        put(out, *bucket);
        put(out, *rows);
    }
    odd_at
}

fn write_odd(odd: &Odd, at: usize, out: &mut Vec<u8>) {
    if planted(Defect::TimesOutside) {
        return;
    }
    out[at..at + 4].copy_from_slice(&odd.count.to_le_bytes());
    out.extend_from_slice(&odd.bytes);
}

fn write_aside(aside: &Aside, out: &mut Vec<u8>) {
    let mut runs: Vec<(u32, u32)> = Vec::with_capacity(aside.buckets.len());
    for bucket in &aside.buckets {
        match runs.last_mut() {
            Some((last, count)) if last == bucket => *count += 1,
            _ => runs.push((*bucket, 1)),
        }
    }
    let odd_at = write_rows_head(&runs, aside.rows.len() as u32, out);
    out.extend_from_slice(aside.rows.as_bytes());
    write_odd(&aside.odd, odd_at, out);
}
