//! A partition's unfinished work: scans and fan-outs in slices, previews, and what a ping does
//! that meets them. Why slices change nothing is said in `scan`.

use super::cells::BucketIx;
use super::devices::Slot;
use super::notified::{Bits, Notified};
use super::output::{EventKey, Output};
use super::partition::Partition;
use super::scan::{Count, FanOut, Job, PartSet, Scan, Stamp, Unfinished, containing, found};
use crate::domain::{AlertNo, EventTime, Match};

impl Partition {
    fn work_left(&mut self) -> &mut Unfinished {
        let clock = self.clock;
        self.unfinished.get_or_insert_with(|| Unfinished {
            clock,
            jobs: std::collections::VecDeque::new(),
            touched: Bits::default(),
        })
    }

    pub(super) fn scan_later(&mut self, alert: AlertNo, parts: PartSet, stamp: Stamp) {
        if self.standing.alerts.get(&alert).is_some_and(|alert| alert.active) {
            let buckets_left = self.cells.len() as u32;
            let scan = Scan { alert, parts, stamp, buckets_left, places_left: None };
            self.work_left().jobs.push_back(Job::Scan(scan));
        }
    }

    pub(super) fn fan_out_later(&mut self, found: Match, key: EventKey, notified: Notified) {
        let departed = notified.departed.into_iter().collect();
        let job = FanOut { found, key, present: notified.present, departed, words_done: 0 };
        self.work_left().jobs.push_back(Job::FanOut(job));
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
            let done = match job {
                Job::Scan(scan) => {
                    self.scan_slice(scan, unfinished.clock, &unfinished.touched, &mut budget, out)
                }
                Job::FanOut(fan_out) => self.fan_out_slice(fan_out, &mut budget, out),
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
        clock: EventTime,
        touched: &Bits,
        budget: &mut usize,
        out: &mut Output,
    ) -> bool {
        let Some(alert) = self.standing.alerts.get_mut(&scan.alert) else { return true };
        while scan.buckets_left > 0 {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let bucket = self.cells.bucket(BucketIx(scan.buckets_left - 1));
            let over = bucket.parts_of(scan.alert);
            let places = scan.places_left.unwrap_or(u32::MAX).min(bucket.slots.len() as u32);
            let stop = if over.is_empty() { 0 } else { places - places.min((*budget).min(1 << 31) as u32) };
            let slice = if over.is_empty() { &[] } else { &bucket.slots[stop as usize..places as usize] };
            *budget -= slice.len();
            for &slot in slice.iter().rev() {
                if touched.has(slot) || alert.notified.present.has(slot) {
                    continue;
                }
                let row = self.devices.row(slot);
                if !self.config.max_age.knows(row.at, clock) {
                    continue;
                }
                if let Some(part) = containing(over, scan.parts, alert, row) {
                    out.push(scan.stamp.key, found(scan.alert, alert, part, &scan.stamp, row.device));
                    alert.notified.present.set(slot);
                }
            }
            if stop > 0 {
                scan.places_left = Some(stop);
            } else {
                scan.places_left = None;
                scan.buckets_left -= 1;
            }
        }
        true
    }

    fn fan_out_slice(&mut self, job: &mut FanOut, budget: &mut usize, out: &mut Output) -> bool {
        while let Some(device) = job.departed.pop() {
            out.push(job.key, Match { device, ..job.found });
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return false;
            }
        }
        while let Some(&word) = job.present.words().get(job.words_done) {
            if *budget == 0 {
                return false;
            }
            let first = job.words_done as u32 * 64;
            let mut bits = word;
            while bits != 0 {
                let slot = Slot(first + bits.trailing_zeros());
                let device = self.devices.row(slot).device;
                out.push(job.key, Match { device, ..job.found });
                bits &= bits - 1;
            }
            job.words_done += 1;
            *budget = budget.saturating_sub(1 + word.count_ones() as usize);
        }
        true
    }

    /// Before a ping moves a device that an unfinished scan has not reached, the device is judged
    /// where it stood.
    pub(super) fn judge_before_ping(&mut self, slot: Slot, out: &mut Output) {
        let Some(unfinished) = &mut self.unfinished else { return };
        if unfinished.touched.has(slot) {
            return;
        }
        unfinished.touched.set(slot);
        let row = *self.devices.row(slot);
        if !self.config.max_age.knows(row.at, unfinished.clock) {
            return;
        }
        for job in &unfinished.jobs {
            let Job::Scan(scan) = job else { continue };
            if !scan.has_before_it(row.bucket) {
                continue;
            }
            let Some(alert) = self.standing.alerts.get_mut(&scan.alert) else { continue };
            let over = self.cells.bucket(row.bucket).parts_of(scan.alert);
            if alert.notified.present.has(slot) {
                continue;
            }
            if let Some(part) = containing(over, scan.parts, alert, &row) {
                out.push(scan.stamp.key, found(scan.alert, alert, part, &scan.stamp, row.device));
                alert.notified.present.set(slot);
            }
        }
    }

    /// Goes on with a preview for about `budget` devices; says whether more is left.
    pub fn count_some(&self, count: &mut Count, budget: usize) -> bool {
        let mut looked = 0;
        while looked < budget {
            if count.bucket() >= self.cells.len() {
                return false;
            }
            let ix = BucketIx(count.bucket() as u32);
            looked += 1 + count.take(self.cells.bucket(ix), &self.devices, self.config.max_age, self.clock);
        }
        true
    }
}
