//! Unfinished work of one event: scans of the cell index and fan-outs to devices notified before,
//! done in slices so that pings go on meanwhile.
//!
//! Sliced gives what undivided gives. A ping that meets an unfinished scan first has its device
//! judged where it stood (`Partition::judge_before_ping`) and is then marked touched, so that no
//! slice judges it again where it went. A bucket is scanned from its end: taking a device out
//! moves the last one into its place, which never moves an unscanned device past the mark.

use super::EventKey;
use super::cells::{Bucket, BucketIx, Over};
use super::devices::{Devices, Row, Slot};
use super::notified::Bits;
use super::standing::{Alert, Part, reach};
use crate::domain::{AlertNo, Cause, DeviceId, EventTime, Match, MaxAge, PartSpec, Uncertainty};
use crate::geo::{CellClass, PreparedArea, Spot};

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

    fn has(self, part: u8) -> bool {
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
    pub(super) alert: AlertNo,
    pub(super) parts: PartSet,
    pub(super) stamp: Stamp,
    /// Buckets below this one are still to be scanned, the last of them up to `places_left`.
    pub(super) buckets_left: u32,
    pub(super) places_left: Option<u32>,
}

impl Scan {
    /// Whether a device of this bucket may still be waiting for this scan.
    pub(super) fn has_before_it(&self, bucket: BucketIx) -> bool {
        bucket.0 < self.buckets_left
    }
}

/// A message to each device notified before, as they were when the event came.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) found: Match,
    pub(super) key: EventKey,
    pub(super) present: Bits,
    pub(super) departed: Vec<DeviceId>,
    pub(super) words_done: usize,
}

#[derive(Debug)]
pub(super) enum Job {
    Scan(Scan),
    FanOut(FanOut),
}

/// What an event still has to do.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// The clock at the event: decides who is known.
    pub(super) clock: EventTime,
    /// In order; done from the front.
    pub(super) jobs: std::collections::VecDeque<Job>,
    /// Devices that had a ping since the event, already judged where they stood.
    pub(super) touched: Bits,
}

/// The lowest of `over` (one alert's parts over a bucket, lowest first) that contains a position.
#[inline]
pub(super) fn containing(over: &[Over], parts: PartSet, alert: &Alert, row: &Row) -> Option<u8> {
    let mut spot = None;
    over.iter()
        .filter(|o| parts.has(o.part))
        .find(|o| {
            o.interior
                || alert.parts.get(usize::from(o.part)).is_some_and(|part| {
                    let spot = spot.get_or_insert_with(|| Spot::new(row.position));
                    part.spec.area.contains(part.reach(alert.mode), spot, row.accuracy_m)
                })
        })
        .map(|o| o.part)
}

/// The match of a device inside a part.
pub(super) fn found(no: AlertNo, alert: &Alert, part: u8, stamp: &Stamp, device: DeviceId) -> Match {
    let (stage, radius_km) =
        alert.parts.get(usize::from(part)).map_or((0, 0.0), |p: &Part| (p.stage, p.radius_km()));
    Match {
        alert: no,
        version: alert.version,
        cause: stamp.cause,
        part,
        stage: stage as u8,
        radius_km,
        device,
        at: stamp.at,
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
        Self { spec, mode, next_bucket: 0, first_in: vec![0; stages] }
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
    pub(super) fn take(
        &mut self,
        bucket: &Bucket,
        devices: &Devices,
        max_age: MaxAge,
        now: EventTime,
    ) -> usize {
        self.next_bucket += 1;
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
        for &Slot(slot) in &bucket.slots {
            let row = devices.row(Slot(slot));
            if !max_age.knows(row.at, now) {
                continue;
            }
            let spot = Spot::new(row.position);
            let first = partition_point(outside, boundary, |s| {
                !self.spec.area.contains(reach(&self.spec, s, self.mode), &spot, row.accuracy_m)
            });
            if let Some(count) = self.first_in.get_mut(first) {
                *count += 1;
            }
        }
        bucket.slots.len()
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
