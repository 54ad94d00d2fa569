//! A partition's unfinished work: scans and fan-outs in slices, previews, and what a ping does
//! that meets them. Why slices change nothing is said in `scan`.

use std::collections::VecDeque;

use super::cells::{BucketIx, Lies};
use super::index::RowNo;
use super::output::{EventKey, Output};
use super::partition::Partition;
use super::rows::{PAGE_ROWS, PageNo, Row};
use super::scan::{Count, FanOut, Job, KnownFrom, PartSet, Scan, Stamp, Unfinished, found};
use super::sets::{LocalSet, SetId};
use crate::domain::{AlertNo, DeviceId, EventTime, MatchHead};
use crate::planted::{self, Defect};

/// Rows of a bucket inside an alert up to which it is scanned in one go, so that its list of sets can be rewritten
/// instead of its rows: about a millisecond.
/// In tests few, so that both ways are gone.
const WHOLE_ROWS_MAX: u32 = if cfg!(test) { 200 } else { 1 << 18 };
/// What looking at a bucket costs, in devices.
const BUCKET_COST: usize = 16;

/// What a scan needs to know of the bucket that it is in.
struct Scene {
    ix: BucketIx,
    known: KnownFrom,
    event: u32,
    /// By number in the bucket's list: devices with this set are not notified yet.
    untold: Vec<bool>,
}

/// Rows of a page, as bits.
#[derive(Clone, Copy, Default)]
struct Told {
    /// Those that were told.
    told: u64,
    /// Those that have a set of the bucket's list that says untold, and were not told.
    left: u64,
    /// Some were told one by one: their rows are written, and the bucket's list may have changed.
    singly: bool,
}

impl Partition {
    fn work_left(&mut self) -> &mut Unfinished {
        let clock = self.clock;
        if self.unfinished.is_none() {
            self.event = self.event.wrapping_add(1);
        }
        let event = self.event;
        self.unfinished.get_or_insert_with(|| Unfinished { event, clock, jobs: VecDeque::new() })
    }

    fn next_job(&mut self) -> u32 {
        self.job += 1;
        self.job
    }

    pub(super) fn scan_later(
        &mut self,
        alert: AlertNo,
        parts: PartSet,
        stamp: Stamp,
        buckets: Vec<BucketIx>,
    ) {
        let job = self.next_job();
        let scan = Scan { job, alert, parts, stamp, buckets, next: 0, pages_left: None };
        self.work_left().jobs.push_back(Job::Scan(scan));
    }

    /// `last`: the alert was cancelled.
    pub(super) fn fan_out_later(&mut self, head: MatchHead, key: EventKey, last: bool) {
        let job = self.next_job();
        let end = self.devices.cells.len() as u32;
        let alert = head.alert;
        let fan_out = FanOut { job, alert, head, key, next: 0, end, pages_left: None, last };
        self.work_left().jobs.push_back(Job::FanOut(fan_out));
    }

    pub(super) fn settle(&mut self, out: &mut Output) {
        if !self.config.sliced {
            self.finish(out);
        }
    }

    /// Does all work that is left.
    pub fn finish(&mut self, out: &mut Output) {
        while self.work(usize::MAX, out) {}
    }

    /// Does a slice of the work that is left, looking at about `budget` devices; says whether
    /// more is left.
    pub fn work(&mut self, budget: usize, out: &mut Output) -> bool {
        let Some(mut unfinished) = self.unfinished.take() else { return false };
        let mut budget = budget;
        while budget > 0 {
            let Some(job) = unfinished.jobs.front_mut() else { return false };
            let (event, clock) = (unfinished.event, unfinished.clock);
            let done = match job {
                Job::Scan(scan) => self.scan_slice(scan, event, clock, &mut budget, out),
                Job::FanOut(fan_out) => self.fan_out_slice(fan_out, event, &mut budget, out),
            };
            if done {
                unfinished.jobs.pop_front();
            }
        }
        let more = !unfinished.jobs.is_empty();
        self.unfinished = more.then_some(unfinished);
        more
    }

    fn scan_slice(
        &mut self,
        scan: &mut Scan,
        event: u32,
        clock: EventTime,
        budget: &mut usize,
        out: &mut Output,
    ) -> bool {
        while let Some(&ix) = scan.buckets.get(scan.next) {
            if *budget == 0 {
                return false;
            }
            *budget = budget.saturating_sub(BUCKET_COST);
            self.devices.cells.lay(ix, &self.standing, &self.devices.sets);
            let (bucket, rows) = (self.devices.cells.bucket(ix), self.devices.cells.rows(ix));
            let first = bucket.parts_of(scan.alert).iter().find(|over| scan.parts.has(over.part));
            if let Some(first) = first.filter(|_| rows > 0) {
                // Copying takes a nanosecond or two a row, deciding some ten.
                let inside = matches!(first.lies, Lies::Interior);
                let whole = inside && scan.pages_left.is_none() && rows <= WHOLE_ROWS_MAX;
                let mut scene = self.scene(ix, event, clock, scan.alert);
                if whole {
                    *budget = budget.saturating_sub(rows as usize);
                    self.scan_whole(scan, &mut scene, out);
                } else if !self.scan_pages(scan, &mut scene, budget, out) {
                    return false;
                }
            }
            scan.pages_left = None;
            scan.next += 1;
        }
        true
    }

    fn scene(&self, ix: BucketIx, event: u32, clock: EventTime, alert: AlertNo) -> Scene {
        let known = KnownFrom::new(self.config.max_age, clock, self.devices.cells.hot(ix).base_ms);
        Scene { ix, known, event, untold: self.untold(ix, alert) }
    }

    fn untold(&self, ix: BucketIx, alert: AlertNo) -> Vec<bool> {
        let sets = self.devices.cells.sets_of(ix);
        sets.map(|(_, set)| set != SetId::UNUSED && !self.devices.sets.has(set, alert)).collect()
    }

    /// Scans all of a bucket. Where all untold devices were told, their sets in its list are
    /// rewritten; else rows are.
    fn scan_whole(&mut self, scan: &Scan, scene: &mut Scene, out: &mut Output) {
        let pages = self.devices.cells.bucket(scene.ix).pages.len();
        let mut marks = Vec::with_capacity(pages);
        let mut left = 0;
        for place in (0..pages).rev() {
            let marked = self.scan_page(scan, scene, place, out);
            left |= marked.left;
            if marked.singly {
                // The list may have changed; only rows can be rewritten now.
                left = u64::MAX;
                scene.untold = self.untold(scene.ix, scan.alert);
            }
            marks.push(marked.told);
        }
        if left != 0 {
            for (place, told) in (0..pages).rev().zip(marks) {
                self.tell_rows(scan.alert, scene, place, told);
            }
            return;
        }
        for (n, untold) in scene.untold.iter().enumerate() {
            if !untold {
                continue;
            }
            let local = LocalSet(n as u16);
            let new = self.devices.sets.with(self.devices.cells.set(scene.ix, local), scan.alert);
            let old = self.devices.cells.set_at(scene.ix, local, new, &self.devices.sets);
            self.devices.sets.drop(old);
        }
    }

    /// Goes on with a bucket that is too large for one go; says whether it is done.
    fn scan_pages(
        &mut self,
        scan: &mut Scan,
        scene: &mut Scene,
        budget: &mut usize,
        out: &mut Output,
    ) -> bool {
        let pages = self.devices.cells.bucket(scene.ix).pages.len() as u32;
        let mut left = scan.pages_left.map_or(pages, |left| left.min(pages));
        while left > 0 {
            if *budget == 0 {
                scan.pages_left = Some(left);
                return false;
            }
            *budget = budget.saturating_sub(PAGE_ROWS as usize);
            left -= 1;
            let marked = self.scan_page(scan, scene, left as usize, out);
            self.tell_rows(scan.alert, scene, left as usize, marked.told);
            if marked.told != 0 || marked.singly {
                scene.untold = self.untold(scene.ix, scan.alert);
            }
        }
        true
    }

    /// The page that is scanned after this one: the one before it in its bucket, or the last of
    /// the next bucket.
    #[inline]
    fn page_after(&self, scan: &Scan, ix: BucketIx, place: usize) -> PageNo {
        let cells = &self.devices.cells;
        match place.checked_sub(1) {
            Some(before) => cells.bucket(ix).pages[before],
            None => scan.buckets.get(scan.next + 1).map_or(PageNo(0), |ix| cells.ends[ix.0 as usize].page),
        }
    }

    fn page_of(&self, ix: BucketIx, place: usize) -> (PageNo, u32) {
        let bucket = self.devices.cells.bucket(ix);
        (bucket.pages[place], (self.devices.cells.rows(ix) - place as u32 * PAGE_ROWS).min(PAGE_ROWS))
    }

    /// Finds the devices of a page to be told, and puts them out.
    fn scan_page(&mut self, scan: &Scan, scene: &Scene, place: usize, out: &mut Output) -> Told {
        let (page, len) = self.page_of(scene.ix, place);
        let next = self.page_after(scan, scene.ix, place);
        self.devices.rows.prefetch_walk(next);
        let Some(alert) = self.standing.alerts.get(&scan.alert) else { return Told::default() };
        let mut asking = self.devices.cells.bucket_mut(scene.ix).ask(scan.alert);
        let touched = self.devices.rows.walk(page).touched(scene.event);
        let rows = self.devices.rows.page(page, len);
        let first = asking.over.iter().find(|over| scan.parts.has(over.part));
        let (mut told, mut untold, mut odd) = (0_u64, 0_u64, 0_u64);
        for (i, row) in rows.iter().enumerate() {
            if i % 8 == 0 {
                self.devices.rows.prefetch_eight(next, i as u32);
            }
            let (set, time) = (usize::from(row.set().0), row.time());
            let is_untold = scene.untold.get(set).copied().unwrap_or(false);
            odd |= u64::from(time == 0 || row.set() == LocalSet::SPILLED) << i;
            untold |= u64::from(is_untold) << i;
            told |= u64::from(is_untold & scene.known.has(time)) << i;
        }
        told &= !(touched | odd);
        if let Some(first) = first.filter(|first| matches!(first.lies, Lies::Interior)) {
            out.open_run(scan.stamp.key, &found(scan.alert, alert, first.part, &scan.stamp));
            push_all(rows, told, out.devices_mut());
        } else {
            let mut asked = told;
            while asked != 0 {
                let i = asked.trailing_zeros();
                asked &= asked - 1;
                let row = rows[i as usize];
                match asking.containing(scan.parts, alert, row) {
                    Some(part) => {
                        out.open_run(scan.stamp.key, &found(scan.alert, alert, part, &scan.stamp));
                        out.devices_mut().push(DeviceId(row.device));
                    }
                    None => told &= !(1 << i),
                }
            }
        }
        self.devices.rows.set_walked(page, scan.job);
        let mut odd = odd & !touched;
        let mut told_odd = 0;
        while odd != 0 {
            let i = odd.trailing_zeros();
            odd &= odd - 1;
            told_odd |= u64::from(self.scan_row(scan, scene, page.row(i), out)) << i;
        }
        Told { told, left: untold & !told & !told_odd, singly: told_odd != 0 }
    }

    /// Judges one row for a scan; says whether it was told.
    fn scan_row(&mut self, scan: &Scan, scene: &Scene, no: RowNo, out: &mut Output) -> bool {
        let row = self.devices.rows.row(no);
        let set = self.devices.set_of(scene.ix, row);
        scene.known.knows(&self.devices, scene.ix, row)
            && !self.devices.sets.has(set, scan.alert)
            && self.tell_if_inside(scan.alert, scan.parts, &scan.stamp, scene.ix, no, out)
    }

    /// Tells a device of an alert where one of these parts contains it; says whether one does.
    pub(super) fn tell_if_inside(
        &mut self,
        no: AlertNo,
        parts: PartSet,
        stamp: &Stamp,
        ix: BucketIx,
        at: RowNo,
        out: &mut Output,
    ) -> bool {
        let Some(alert) = self.standing.alerts.get(&no) else { return false };
        let row = self.devices.rows.row(at);
        let mut asking = self.devices.cells.bucket_mut(ix).ask(no);
        let Some(part) = asking.containing(parts, alert, row) else { return false };
        out.open_run(stamp.key, &found(no, alert, part, stamp));
        out.devices_mut().push(DeviceId(row.device));
        if !planted::on(Defect::ToldNotNoted) {
            self.devices.notify(ix, at, no);
        }
        true
    }

    /// Notes in the rows of a page that they were told.
    fn tell_rows(&mut self, alert: AlertNo, scene: &Scene, place: usize, told: u64) {
        let (page, _) = self.page_of(scene.ix, place);
        let mut left = told;
        let mut last: Option<(SetId, RowNo)> = None;
        while left != 0 {
            let no = page.row(left.trailing_zeros());
            left &= left - 1;
            let set = self.devices.set_of(scene.ix, self.devices.rows.row(no));
            // Neighbours mostly share a set.
            match last {
                Some((same, like)) if same == set => self.devices.share_set(scene.ix, no, like),
                _ => {
                    self.devices.notify(scene.ix, no, alert);
                    last = Some((set, no));
                }
            }
        }
    }

    fn fan_out_slice(&mut self, job: &mut FanOut, event: u32, budget: &mut usize, out: &mut Output) -> bool {
        while job.next < job.end {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let bucket = self.devices.cells.bucket(BucketIx(job.next));
            let told: Vec<bool> = self
                .devices
                .cells
                .sets_of(BucketIx(job.next))
                .map(|(_, set)| set != SetId::UNUSED && self.devices.sets.has(set, job.alert))
                .collect();
            if told.contains(&true) || self.devices.any_spilled() {
                let pages = bucket.pages.len() as u32;
                let mut left = job.pages_left.map_or(pages, |left| left.min(pages));
                while left > 0 {
                    if *budget == 0 {
                        job.pages_left = Some(left);
                        return false;
                    }
                    *budget = budget.saturating_sub(PAGE_ROWS as usize);
                    left -= 1;
                    self.fan_out_page(job, event, &told, left as usize, out);
                }
            }
            if job.last {
                self.devices.forget_alert(BucketIx(job.next), job.alert);
            }
            job.pages_left = None;
            job.next += 1;
        }
        if job.last {
            self.devices.forget_spilled_alert(job.alert);
        }
        true
    }

    fn fan_out_page(&mut self, job: &FanOut, event: u32, told: &[bool], place: usize, out: &mut Output) {
        let ix = BucketIx(job.next);
        let (page, len) = self.page_of(ix, place);
        let rows = self.devices.rows.page(page, len);
        let next = match place.checked_sub(1) {
            Some(before) => self.devices.cells.bucket(ix).pages[before],
            None => self.devices.cells.ends.get(ix.0 as usize + 1).map_or(PageNo(0), |end| end.page),
        };
        self.devices.rows.prefetch_walk(next);
        let mut chosen = 0_u64;
        for (i, row) in rows.iter().enumerate() {
            if i % 8 == 0 {
                self.devices.rows.prefetch_eight(next, i as u32);
            }
            let has = match row.set() {
                LocalSet::SPILLED => self.devices.sets.has(self.devices.set_of(ix, *row), job.alert),
                LocalSet(local) => told.get(usize::from(local)).copied().unwrap_or(false),
            };
            chosen |= u64::from(has) << i;
        }
        out.open_run(job.key, &job.head);
        push_all(rows, chosen & !self.devices.rows.walk(page).touched(event), out.devices_mut());
        self.devices.rows.set_walked(page, job.job);
    }

    /// Before a ping or another row's leaving changes a row that unfinished jobs have not reached,
    /// its device is judged where it stands.
    pub(super) fn judge(&mut self, no: RowNo, out: &mut Output) {
        let Some(unfinished) = self.unfinished.take() else { return };
        if self.concerns(&unfinished, no) && !self.devices.rows.touched(no, unfinished.event) {
            self.devices.rows.touch(no, unfinished.event);
            unfinished.jobs.iter().for_each(|job| self.judge_for(job, unfinished.clock, no, out));
        }
        self.unfinished = Some(unfinished);
    }

    /// Whether unfinished jobs may have to do with a row: a scan only where something stands over
    /// the bucket, which no ping changes.
    fn concerns(&self, unfinished: &Unfinished, no: RowNo) -> bool {
        let devices = &self.devices;
        let ix = devices.rows.bucket(no);
        devices.cells.hot(ix).quiet != u64::MAX
            || unfinished.jobs.iter().any(|job| match job {
                Job::Scan(_) => false,
                Job::FanOut(job) => devices.sets.has(devices.set_of(ix, devices.rows.row(no)), job.alert),
            })
    }

    fn judge_for(&mut self, job: &Job, clock: EventTime, no: RowNo, out: &mut Output) {
        let (row, ix) = (self.devices.rows.row(no), self.devices.rows.bucket(no));
        let walked = self.devices.rows.walk(PageNo::of(no)).job;
        let has = |alert| self.devices.sets.has(self.devices.set_of(ix, row), alert);
        match job {
            Job::Scan(scan) if walked < scan.job && !has(scan.alert) => {
                let known = KnownFrom::new(self.config.max_age, clock, self.devices.cells.hot(ix).base_ms);
                if known.knows(&self.devices, ix, row) {
                    self.devices.cells.lay(ix, &self.standing, &self.devices.sets);
                    self.tell_if_inside(scan.alert, scan.parts, &scan.stamp, ix, no, out);
                }
            }
            Job::FanOut(job) if walked < job.job && has(job.alert) => {
                out.open_run(job.key, &job.head);
                out.devices_mut().push(DeviceId(row.device));
            }
            _ => {}
        }
    }

    /// A row was written or put in place after an event that has work left.
    pub(super) fn mark_touched(&mut self, no: RowNo) {
        if let Some(unfinished) = &self.unfinished
            && self.concerns(unfinished, no)
        {
            self.devices.rows.touch(no, unfinished.event);
        }
    }

    /// Goes on with a preview for about `budget` devices; says whether more is left.
    pub fn count_some(&self, count: &mut Count, budget: usize) -> bool {
        let mut looked = 0;
        while looked < budget {
            if count.bucket() >= self.devices.cells.len() {
                return false;
            }
            looked += 1 + count.take(&self.devices, self.config.max_age, self.clock);
        }
        true
    }
}

/// Appends the devices of the chosen rows of a page.
#[inline]
fn push_all(rows: &[Row], chosen: u64, out: &mut Vec<DeviceId>) {
    if chosen.count_ones() as usize == rows.len() {
        out.extend(rows.iter().map(|row| DeviceId(row.device)));
        return;
    }
    let mut left = chosen;
    while left != 0 {
        out.push(DeviceId(rows[left.trailing_zeros() as usize].device));
        left &= left - 1;
    }
}
