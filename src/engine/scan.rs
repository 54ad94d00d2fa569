//! Unfinished work of one event: scans of the cell index and fan-outs to devices notified before,
//! done in slices so that pings go on meanwhile.
//!
//! Sliced gives what undivided gives. A ping that meets an unfinished scan first has its device
//! judged where it stood (`Partition::judge`); its row is then marked touched, so that no slice
//! judges it again where it went. So is a row that fills the gap which a leaving one makes.
//! Whatever is put anywhere after the event is therefore touched, and what is not touched stands
//! where it stood at the event. A page notes the last job that has done it, so that a ping knows
//! which jobs its device still waits for.
//!
//! A device that was notified of everything over its bucket needs none of this while it stays
//! there: a scan has nothing to tell it, and a fan-out finds it as it was.

use std::collections::VecDeque;

use super::EventKey;
use super::cells::{Bucket, BucketIx};
use super::devices::Devices;
use super::rows::{PAGE_ROWS, Row};
use super::standing::{Alert, Part, reach};
use crate::domain::{AlertNo, Cause, EventTime, MatchHead, MaxAge, PartSpec, Uncertainty};
use crate::geo::{CellClass, PreparedArea, Spot};
use crate::planted::{self, Defect};

/// A set of parts of one alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartSet(u32);

const _: () = assert!(crate::limits::PARTS_MAX <= 32, "a set of parts is a 32-bit word");

impl PartSet {
    pub(super) const ALL: Self = Self(u32::MAX);

    pub(super) fn one(part: u8) -> Self {
        Self(1 << part)
    }

    pub(super) fn add(&mut self, part: u8) {
        self.0 |= 1 << part;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, part: u8) -> bool {
        self.0 >> part & 1 == 1
    }
}

/// What an event's matches have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) key: EventKey,
    pub(super) cause: Cause,
    pub(super) at: EventTime,
}

/// A scan for the devices inside some parts of an alert that were not notified before.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) job: u32,
    pub(super) alert: AlertNo,
    pub(super) parts: PartSet,
    pub(super) stamp: Stamp,
    /// The buckets to look at; `next` is the first that is not done.
    pub(super) buckets: Vec<BucketIx>,
    pub(super) next: usize,
    /// Where that one is begun: its pages below this are still to be done.
    pub(super) pages_left: Option<u32>,
}

/// A message to each device notified before, as they were when the event came.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) job: u32,
    pub(super) alert: AlertNo,
    pub(super) head: MatchHead,
    pub(super) key: EventKey,
    /// The first bucket that is not done, of so many.
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) pages_left: Option<u32>,
    /// The alert is over: no set needs to name it any more.
    pub(super) last: bool,
}

#[derive(Debug)]
pub(super) enum Job {
    Scan(Scan),
    FanOut(FanOut),
}

/// What an event still has to do.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// The event's number, for marks of touched rows.
    pub(super) event: u32,
    /// The clock at the event: decides who is known.
    pub(super) clock: EventTime,
    /// In order; done from the front.
    pub(super) jobs: VecDeque<Job>,
}

/// What matches of devices inside a part have in common.
pub(super) fn found(no: AlertNo, alert: &Alert, part: u8, stamp: &Stamp) -> MatchHead {
    let (stage, radius_km) =
        alert.parts.get(usize::from(part)).map_or((0, 0.0), |p: &Part| (p.stage, p.radius_km()));
    MatchHead {
        alert: no,
        version: alert.version,
        cause: stamp.cause,
        part,
        stage: stage as u8,
        radius_km,
        at: stamp.at,
    }
}

/// Who is known at a time, as the rows of a bucket hold it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownFrom {
    /// The first time after the bucket's base that is known, at least 1.
    first: i64,
    max_age: MaxAge,
    clock: EventTime,
}

impl KnownFrom {
    pub(super) fn new(max_age: MaxAge, clock: EventTime, base_ms: i64) -> Self {
        let first = match max_age {
            MaxAge::Never => 1,
            MaxAge::Ms(_) if planted::on(Defect::ForgottenScanned) => 1,
            MaxAge::Ms(ms) => clock.0.saturating_sub(ms).saturating_sub(base_ms).max(1),
        };
        Self { first, max_age, clock }
    }

    /// Whether a time inside the window (not 0) is known.
    #[inline(always)]
    pub(super) fn has(self, time: u32) -> bool {
        i64::from(time) >= self.first
    }

    /// Whether a row is known.
    #[inline]
    pub(super) fn knows(self, devices: &Devices, ix: BucketIx, row: Row) -> bool {
        if row.time() != 0 {
            self.has(row.time())
        } else {
            self.max_age.knows(devices.time_of(ix, row), self.clock)
        }
    }
}

/// A preview under way: how many known devices each stage of a part would reach. Reads only.
#[derive(Debug)]
pub struct Count {
    spec: PartSpec<PreparedArea>,
    mode: Uncertainty,
    next_bucket: usize,
    /// Devices whose first containing stage is this one.
    first_in: Vec<u64>,
}

impl Count {
    /// Starts a count.
    pub fn new(spec: PartSpec<PreparedArea>, mode: Uncertainty) -> Self {
        let stages = spec.stages.as_slice().len();
        // The first bucket holds who departed.
        Self { spec, mode, next_bucket: BucketIx::DEPARTED.0 as usize + 1, first_in: vec![0; stages] }
    }

    /// Devices that each stage reaches, so far.
    pub fn per_stage(&self) -> Vec<u64> {
        self.first_in
            .iter()
            .scan(0, |sum, n| {
                *sum += n;
                Some(*sum)
            })
            .collect()
    }

    pub(super) fn bucket(&self) -> usize {
        self.next_bucket
    }

    /// Counts one bucket's devices; returns how many there are.
    pub(super) fn take(&mut self, devices: &Devices, max_age: MaxAge, now: EventTime) -> usize {
        let ix = BucketIx(self.next_bucket as u32);
        self.next_bucket += 1;
        let bucket: &Bucket = devices.cells.bucket(ix);
        let class = |stage| {
            self.spec.area.classify(
                reach(&self.spec, stage, self.mode),
                &bucket.bound,
                bucket.class.range_m(),
            )
        };
        let stages = self.first_in.len();
        // A larger stage contains what a smaller one does, so the classes are in order too.
        let outside = partition_point(0, stages, |s| class(s) == CellClass::Outside);
        let boundary = partition_point(outside, stages, |s| class(s) == CellClass::Boundary);
        if outside == stages {
            return 0;
        }
        let known = KnownFrom::new(max_age, now, devices.cells.hot(ix).base_ms);
        let rows = devices.cells.rows(ix);
        let mut left = rows;
        for page in &bucket.pages {
            for row in devices.rows.page(*page, left.min(PAGE_ROWS)) {
                if !known.knows(devices, ix, *row) && !planted::on(Defect::PreviewCountsForgotten) {
                    continue;
                }
                let spot = Spot::new(row.position());
                let first = partition_point(outside, boundary, |s| {
                    !self.spec.area.contains(reach(&self.spec, s, self.mode), &spot, row.accuracy_m())
                });
                if let Some(count) = self.first_in.get_mut(first) {
                    *count += 1;
                }
            }
            left = left.saturating_sub(PAGE_ROWS);
        }
        rows as usize
    }
}

/// The first of `from..to` for which `before` is false.
fn partition_point(mut from: usize, mut to: usize, before: impl Fn(usize) -> bool) -> usize {
    while from < to {
        let middle = from + (to - from) / 2;
        if before(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}
