//! The cell index: which devices stand in which H3 cell, and which alerts stand over it.
//!
//! A bucket is a cell together with a class of accuracy, so that the few devices with a wide
//! accuracy widen nobody else's test. A bucket knows, for each part of each active alert that
//! may contain a position of it, whether it is interior (every position is contained) or
//! boundary (each must be tested). What it does not list is proved to be outside.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;
use h3o::CellIndex;

use super::devices::Slot;
use crate::domain::AlertNo;
use crate::geo::CellBound;

/// A bucket's dense index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BucketIx(pub(super) u32);

/// A class of accuracy. Their bounds follow cell sizes: the index's cells are about 10 km in
/// radius, so the first two classes hardly widen a boundary; the last is for what few have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AccuracyClass(u8);

const CLASS_M_MAX: [u32; 3] = [1_000, 10_000, crate::limits::ACCURACY_M_MAX];

impl AccuracyClass {
    #[inline]
    pub(super) fn of(accuracy_m: u32) -> Self {
        Self(u8::from(accuracy_m > CLASS_M_MAX[0]) + u8::from(accuracy_m > CLASS_M_MAX[1]))
    }

    /// The accuracies of the class, metres.
    pub(super) fn range_m(self) -> RangeInclusive<u32> {
        match self.0 {
            0 => 0..=CLASS_M_MAX[0],
            1 => CLASS_M_MAX[0] + 1..=CLASS_M_MAX[1],
            _ => CLASS_M_MAX[1] + 1..=CLASS_M_MAX[2],
        }
    }
}

/// A part of an active alert over a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Over {
    pub(super) alert: AlertNo,
    pub(super) part: u8,
    /// Every position of the bucket is contained.
    pub(super) interior: bool,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) bound: CellBound,
    pub(super) class: AccuracyClass,
    pub(super) slots: Vec<Slot>,
    /// By alert, then part.
    pub(super) over: Vec<Over>,
}

impl Bucket {
    /// The parts of one alert over this bucket, lowest first.
    pub(super) fn parts_of(&self, alert: AlertNo) -> &[Over] {
        let start = self.over.partition_point(|o| o.alert < alert);
        let end = start + self.over[start..].partition_point(|o| o.alert == alert);
        &self.over[start..end]
    }

    /// Puts a part of an alert over this bucket (it must not be over it already).
    pub(super) fn put_over(&mut self, over: Over) {
        let place = self.over.partition_point(|o| (o.alert, o.part) < (over.alert, over.part));
        self.over.insert(place, over);
    }
}

/// All buckets of a partition. A bucket is made when the first device enters it and kept.
#[derive(Debug, Default)]
pub(super) struct Cells {
    index: HashMap<(CellIndex, AccuracyClass), BucketIx, FixedState>,
    buckets: Vec<Bucket>,
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn find(&self, cell: CellIndex, class: AccuracyClass) -> Option<BucketIx> {
        self.index.get(&(cell, class)).copied()
    }

    /// Makes the bucket of a cell and class that has none.
    pub(super) fn make(&mut self, cell: CellIndex, class: AccuracyClass) -> BucketIx {
        // Resolution 5 has 2,016,842 cells; with three classes the index fits in 32 bits.
        let ix = BucketIx(self.buckets.len() as u32);
        self.buckets.push(Bucket { bound: CellBound::of(cell), class, slots: Vec::new(), over: Vec::new() });
        self.index.insert((cell, class), ix);
        ix
    }

    #[inline]
    pub(super) fn bucket(&self, ix: BucketIx) -> &Bucket {
        &self.buckets[ix.0 as usize]
    }

    #[inline]
    pub(super) fn bucket_mut(&mut self, ix: BucketIx) -> &mut Bucket {
        &mut self.buckets[ix.0 as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.buckets.iter_mut()
    }
}
