//! The cell index: which pages of rows stand in which H3 cell, and which alerts stand over it.
//!
//! A bucket is a cell together with a class of accuracy, so that the few devices with a wide
//! accuracy widen nobody else's test. A bucket knows, for each part of each active alert that
//! may contain a position of it, whether it is interior (every position is contained) or
//! boundary (each must be tested). What it does not list is proved to be outside.
//!
//! Buckets lie in districts (cells of resolution 2 with a radius that holds all their buckets),
//! which are asked first: an alert costs nothing where it is far from a whole district. Only in
//! the districts near it are the buckets told that it is new (`unlaid`), and each works out how
//! it lies at the first ping that needs to know, or when the alert's scan comes by. So
//! publishing stops nobody, however many cells there are.
//!
//! What a ping reads of its bucket is one line ([`Hot`]).

use std::collections::{HashMap, VecDeque};
use std::ops::{Range, RangeInclusive};

use foldhash::fast::FixedState;
use h3o::{CellIndex, Resolution};
use zerocopy::FromBytes;

use super::chunked::Chunked;
use super::lists::SETS_AT_END;
use super::memory::Region;
use super::rows::{PageNo, Row};
use super::scan::PartSet;
use super::sets::{LocalSet, SetId, Sets};
use super::standing::{Alert, Standing};
use crate::domain::{AlertNo, EventTime, Position};
use crate::geo::{CellBound, CellClass, Decider, Decision, HexKey, SameCell, Spot, cell_of};

/// A bucket's dense index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BucketIx(pub(super) u32);

impl BucketIx {
    /// The bucket of devices that were forgotten, but were notified of an alert that may yet have
    /// something to tell them. It has no cell, and no rule but `update` and `cancel` sees it.
    pub(super) const DEPARTED: Self = Self(0);
}

/// A class of accuracy. Their bounds follow cell sizes: the index's cells are about 10 km in
/// radius, so the first two classes hardly widen a boundary; the last is for what few have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes)]
#[repr(transparent)]
pub(super) struct AccuracyClass(u8);

const CLASS_M_MAX: [u32; 3] = [1_000, 10_000, crate::limits::ACCURACY_M_MAX];

impl AccuracyClass {
    const ALL: [Self; 3] = [Self(0), Self(1), Self(2)];

    /// Its number.
    pub(super) fn code(self) -> u8 {
        self.0
    }

    /// The class of a number.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    #[inline(always)]
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
#[derive(Debug)]
pub(super) struct Over {
    pub(super) alert: AlertNo,
    pub(super) part: u8,
    pub(super) lies: Lies,
}

/// How a part lies over a bucket.
#[derive(Debug)]
pub(super) enum Lies {
    /// Every position of the bucket is contained.
    Interior,
    /// Each must be tested; nobody was yet.
    Boundary,
    /// The same, and this decides quickly.
    Decided(Box<Decider>),
    /// The same, and nothing decides quickly.
    Asked,
}

/// What every ping reads of its bucket.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C, align(64))]
pub(super) struct Hot {
    same: SameCell,
    pub(super) class: AccuracyClass,
    /// Bit `n`: a device with the bucket's set number `n` was notified of all that stands over the
    /// bucket. All bits: nothing stands over it. Bit 63 is set only then.
    pub(super) quiet: u64,
    /// What the rows' times count from, Unix ms.
    pub(super) base_ms: i64,
}

const _: () = assert!(size_of::<Hot>() == 64);

impl Hot {
    /// Surely the bucket of this position and accuracy.
    #[inline(always)]
    pub(super) fn surely_holds(&self, lat_e7: i32, lon_e7: i32, accuracy_m: u32) -> bool {
        self.same.surely_holds(lat_e7, lon_e7) & (AccuracyClass::of(accuracy_m) == self.class)
    }

    /// A device with this set has nothing to be told while it stays here.
    #[inline(always)]
    pub(super) fn is_quiet(&self, set: LocalSet) -> bool {
        // From 63 on only where nothing stands over the bucket: then bit 63 says so.
        self.quiet >> set.0.min(63) & 1 == 1
    }
}

/// Where a bucket ends, and its first notified sets: what moves of devices read and write.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C, align(64))]
pub(super) struct End {
    /// Rows.
    pub(super) len: u32,
    /// The last page, where there are rows.
    pub(super) page: PageNo,
    /// The first sets of the bucket's list, each `UNUSED` or a set, and how many rows have it.
    pub(super) sets: [SetId; SETS_AT_END],
    pub(super) users: [u32; SETS_AT_END],
}

const _: () = assert!(size_of::<End>() == 64);

/// What few pings read of a bucket; what a device that arrives does stands first, in one line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// By alert, then part.
    pub(super) over: Vec<Over>,
    /// Alerts that have changed, and whose parts here are not yet worked out.
    pub(super) unlaid: Vec<AlertNo>,
    pub(super) cell: CellIndex,
    /// `bound` and `Hot::same` are worked out; until then they are wide and empty.
    refined: bool,
    pub(super) class: AccuracyClass,
    pub(super) bound: CellBound,
    /// All full but the last.
    pub(super) pages: Vec<PageNo>,
    /// The rest of its list of sets, after those in its [`End`], with their users.
    pub(super) more_sets: Vec<(SetId, u32)>,
}

impl Bucket {
    fn range_of(&self, alert: AlertNo) -> Range<usize> {
        let start = self.over.partition_point(|o| o.alert < alert);
        start..start + self.over[start..].partition_point(|o| o.alert == alert)
    }

    /// The parts of one alert over this bucket, lowest first.
    pub(super) fn parts_of(&self, alert: AlertNo) -> &[Over] {
        &self.over[self.range_of(alert)]
    }

    /// The same, to ask for positions.
    pub(super) fn ask(&mut self, alert: AlertNo) -> Asking<'_> {
        let range = self.range_of(alert);
        Asking { over: &mut self.over[range], bound: &self.bound, class: self.class }
    }

    /// Works out which parts of an alert stand over it. None of them must be in `over`.
    fn lay(&mut self, no: AlertNo, alert: &Alert) {
        let place = self.over.partition_point(|o| o.alert < no);
        let laid = alert.parts.iter().zip(0..).filter_map(|(part, number)| {
            let class = part.spec.area.classify(part.reach(alert.mode), &self.bound, self.class.range_m());
            let lies = match class {
                CellClass::Outside => return None,
                CellClass::Interior => Lies::Interior,
                CellClass::Boundary => Lies::Boundary,
            };
            Some(Over { alert: no, part: number, lies })
        });
        self.over.splice(place..place, laid);
    }
}

/// One alert's parts over a bucket, lowest first, to be asked for its positions.
pub(super) struct Asking<'a> {
    pub(super) over: &'a mut [Over],
    bound: &'a CellBound,
    class: AccuracyClass,
}

impl Asking<'_> {
    /// The lowest of some parts that contains a row of the bucket.
    #[inline]
    pub(super) fn containing(&mut self, parts: PartSet, alert: &Alert, row: Row) -> Option<u8> {
        for over in self.over.iter_mut().filter(|over| parts.has(over.part)) {
            let Some(part) = alert.parts.get(usize::from(over.part)) else { continue };
            if let Lies::Boundary = over.lies {
                let decider =
                    part.spec.area.decider(part.reach(alert.mode), self.bound, self.class.range_m());
                over.lies = decider.map_or(Lies::Asked, |decider| Lies::Decided(Box::new(decider)));
            }
            let decision = match &mut over.lies {
                Lies::Interior => Decision::Inside,
                Lies::Decided(decider) => decider.decide(row.lat_e7(), row.lon_e7(), row.accuracy_m()),
                Lies::Asked | Lies::Boundary => Decision::Ask,
            };
            let inside = match decision {
                Decision::Inside => true,
                Decision::Outside => false,
                Decision::Ask => {
                    let spot = Spot::new(row.position());
                    part.spec.area.contains(part.reach(alert.mode), &spot, row.accuracy_m())
                }
            };
            if inside {
                return Some(over.part);
            }
        }
        None
    }
}

/// Buckets that lie near one another.
#[derive(Debug)]
struct District {
    bound: CellBound,
    buckets: Vec<BucketIx>,
    /// Active alerts that may contain a position of it, sorted.
    near: Vec<AlertNo>,
}

impl District {
    /// `Outside` where no part of the alert contains any position of it.
    fn class(&self, alert: &Alert) -> CellClass {
        let of = |part: &super::standing::Part, class: AccuracyClass| {
            part.spec.area.classify(part.reach(alert.mode), &self.bound, class.range_m())
        };
        let mut all = alert.parts.iter().flat_map(|part| AccuracyClass::ALL.map(|class| of(part, class)));
        if all.clone().all(|class| class == CellClass::Outside) {
            CellClass::Outside
        } else if all.any(|class| class == CellClass::Interior) {
            CellClass::Interior
        } else {
            CellClass::Boundary
        }
    }
}

/// All buckets of a partition. A bucket is made when the first device enters it and kept.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) hot: Region<Hot>,
    pub(super) ends: Region<End>,
    pub(super) buckets: Chunked<Bucket>,
    pub(super) by_cell: HashMap<(CellIndex, AccuracyClass), BucketIx, FixedState>,
    /// By hexagon and class, as one number; a cell across a face's edge has two.
    by_key: HashMap<u32, BucketIx, FixedState>,
    districts: Vec<District>,
    by_parent: HashMap<CellIndex, u32, FixedState>,
    /// Buckets that wait to be refined.
    raw: VecDeque<BucketIx>,
}

/// Above the radius of every cell of resolution 5, metres: the largest hexagons have 328 km², and
/// so a radius of 11.3 km if they were regular; a test looks at many cells.
const RADIUS_M_MAX: f64 = 20_000.0;
/// How much wider than its own cell a district starts: cells stick out of their parents.
const DISTRICT_MARGIN: f64 = 1.5;

/// Buckets for which memory is there ahead.
const AHEAD_BUCKETS: usize = 4_096;

impl Default for Cells {
    fn default() -> Self {
        let mut cells = Self {
            hot: Region::default(),
            ends: Region::default(),
            buckets: Chunked::default(),
            by_cell: HashMap::default(),
            by_key: HashMap::default(),
            districts: Vec::new(),
            by_parent: HashMap::default(),
            raw: VecDeque::new(),
        };
        // Its cell is never asked for: it lies in no district.
        let nowhere = cell_of(Position::from_held(0, 0));
        cells.push(nowhere, AccuracyClass(0), EventTime(0));
        cells
    }
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Prepares to grow; says whether that took time.
    pub(super) fn touch_ahead(&mut self) -> bool {
        let soon = self.len() + AHEAD_BUCKETS;
        self.hot.touch_ahead(soon) || self.ends.touch_ahead(soon)
    }

    #[inline(always)]
    pub(super) fn hot(&self, ix: BucketIx) -> &Hot {
        &self.hot[ix.0 as usize]
    }

    #[inline]
    pub(super) fn bucket(&self, ix: BucketIx) -> &Bucket {
        &self.buckets[ix.0 as usize]
    }

    #[inline]
    pub(super) fn bucket_mut(&mut self, ix: BucketIx) -> &mut Bucket {
        &mut self.buckets[ix.0 as usize]
    }

    /// The bucket of a key, if it is known.
    #[inline]
    pub(super) fn of_key(&self, key: HexKey, class: AccuracyClass) -> Option<BucketIx> {
        self.by_key.get(&number(key, class)).copied()
    }

    /// The bucket of a position, made where it is missing. `key` is the position's, or none.
    pub(super) fn of_position(
        &mut self,
        position: Position,
        key: HexKey,
        accuracy_m: u32,
        at: EventTime,
        standing: &Standing,
        sets: &Sets,
    ) -> BucketIx {
        let class = AccuracyClass::of(accuracy_m);
        if key != HexKey::NONE
            && let Some(ix) = self.of_key(key, class)
        {
            return ix;
        }
        let cell = cell_of(position);
        let ix = match self.by_cell.get(&(cell, class)) {
            Some(ix) => *ix,
            None => {
                // The times of all buckets must not run out at once: their windows start up to six
                // days apart.
                let stagger = (u64::from(cell).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 35) as i64;
                let base = at.plus_ms(-(super::rows::WINDOW_MS / 2) - stagger);
                self.make(cell, class, base, standing, sets)
            }
        };
        if key != HexKey::NONE {
            self.by_key.insert(number(key, class), ix);
        }
        ix
    }

    fn push(&mut self, cell: CellIndex, class: AccuracyClass, base: EventTime) -> BucketIx {
        // Resolution 5 has 2,016,842 cells; with three classes the index fits in 32 bits.
        let ix = BucketIx(self.buckets.len() as u32);
        self.hot.push(Hot { same: SameCell::NEVER, class, quiet: u64::MAX, base_ms: base.0 });
        self.ends.push(End {
            len: 0,
            page: PageNo::default(),
            sets: [SetId::UNUSED; SETS_AT_END],
            users: [0; SETS_AT_END],
        });
        self.buckets.push(Bucket {
            cell,
            bound: CellBound::wide(cell, RADIUS_M_MAX),
            refined: false,
            class,
            pages: Vec::new(),
            over: Vec::new(),
            unlaid: Vec::new(),
            more_sets: Vec::new(),
        });
        ix
    }

    /// Works out what costs some microseconds of a bucket: its bound, and the test that a position
    /// stays in it. How alerts lie over it by the wide bound stays right.
    fn refine(&mut self, ix: BucketIx) {
        let bucket = &mut self.buckets[ix.0 as usize];
        if !bucket.refined {
            bucket.refined = true;
            bucket.bound = CellBound::of(bucket.cell);
            self.hot[ix.0 as usize].same = SameCell::of(bucket.cell);
        }
    }

    /// Refines some buckets of those that wait for it; says whether more wait.
    pub(super) fn refine_some(&mut self, buckets: usize) -> bool {
        for _ in 0..buckets {
            let Some(ix) = self.raw.pop_front() else { return false };
            self.refine(ix);
        }
        !self.raw.is_empty()
    }

    /// Makes the bucket of a cell and class that has none; it learns which alerts stand over it.
    pub(super) fn make(
        &mut self,
        cell: CellIndex,
        class: AccuracyClass,
        base: EventTime,
        standing: &Standing,
        sets: &Sets,
    ) -> BucketIx {
        let ix = self.push(cell, class, base);
        self.by_cell.insert((cell, class), ix);
        self.raw.push_back(ix);

        let parent = cell.parent(Resolution::Two).unwrap_or(cell);
        let number = *self.by_parent.entry(parent).or_insert_with(|| {
            let own = CellBound::of(parent);
            let bound = own.with_radius(own.radius_m() * DISTRICT_MARGIN);
            let mut district = District { bound, buckets: Vec::new(), near: Vec::new() };
            district.near = near(&district, standing);
            self.districts.push(district);
            (self.districts.len() - 1) as u32
        });
        let district = &mut self.districts[number as usize];
        district.buckets.push(ix);
        let bucket = &mut self.buckets[ix.0 as usize];
        let needed = district.bound.radius_to_hold(&bucket.bound);
        if needed > district.bound.radius_m() {
            // What was outside of all its buckets stays so; the new one asks the wider district.
            district.bound = district.bound.with_radius(needed);
            district.near = near(district, standing);
        }
        bucket.unlaid.clone_from(&district.near);
        self.refresh_quiet(ix, sets);
        ix
    }

    /// Tells the buckets near an active alert that it is new or has changed; returns them, those
    /// of districts inside it first.
    pub(super) fn announce(&mut self, no: AlertNo, alert: &Alert) -> Vec<BucketIx> {
        let (mut inside, mut border) = (Vec::new(), Vec::new());
        for district in &mut self.districts {
            let list = match district.class(alert) {
                CellClass::Outside => continue,
                CellClass::Interior => &mut inside,
                CellClass::Boundary => &mut border,
            };
            if let Err(place) = district.near.binary_search(&no) {
                district.near.insert(place, no);
            }
            for ix in &district.buckets {
                self.buckets[ix.0 as usize].unlaid.push(no);
                self.hot[ix.0 as usize].quiet = 0;
                list.push(*ix);
            }
        }
        inside.append(&mut border);
        inside
    }

    /// Takes an alert off all buckets. Sets that have nothing more to be told for it are found out
    /// when one of their devices pings (`note_told`), so that this stops nobody for long.
    pub(super) fn lift(&mut self, no: AlertNo) {
        for district in &mut self.districts {
            let Ok(place) = district.near.binary_search(&no) else { continue };
            district.near.remove(place);
            for ix in &district.buckets {
                let bucket = &mut self.buckets[ix.0 as usize];
                if bucket.over.is_empty() && bucket.unlaid.is_empty() {
                    continue;
                }
                bucket.over.retain(|over| over.alert != no);
                bucket.unlaid.retain(|unlaid| *unlaid != no);
                if bucket.over.is_empty() && bucket.unlaid.is_empty() {
                    self.hot[ix.0 as usize].quiet = u64::MAX;
                }
            }
        }
    }

    /// A device with this set was asked for: where it was told of everything, others with it need
    /// not be asked.
    pub(super) fn note_told(&mut self, ix: BucketIx, local: LocalSet, sets: &Sets) {
        let bucket = &self.buckets[ix.0 as usize];
        if local.0 < 63 && bucket.unlaid.is_empty() && !bucket.over.is_empty() {
            let told = told_all(bucket, self.set(ix, local), sets);
            self.hot[ix.0 as usize].quiet |= u64::from(told) << local.0;
        }
    }

    /// Works out how the changed alerts lie over a bucket, if that was not done.
    #[inline]
    pub(super) fn lay(&mut self, ix: BucketIx, standing: &Standing, sets: &Sets) {
        if !self.buckets[ix.0 as usize].unlaid.is_empty() {
            self.lay_now(ix, standing, sets);
        }
    }

    #[cold]
    fn lay_now(&mut self, ix: BucketIx, standing: &Standing, sets: &Sets) {
        let bucket = &mut self.buckets[ix.0 as usize];
        for no in std::mem::take(&mut bucket.unlaid) {
            if let Some(alert) = standing.alerts.get(&no).filter(|alert| alert.active) {
                bucket.lay(no, alert);
            }
        }
        self.refresh_quiet(ix, sets);
    }

    /// Finds out anew which sets have nothing to be told; call it after a change of `over`.
    pub(super) fn refresh_quiet(&mut self, ix: BucketIx, sets: &Sets) {
        let bucket = &self.buckets[ix.0 as usize];
        let quiet = if !bucket.unlaid.is_empty() {
            0
        } else if bucket.over.is_empty() {
            u64::MAX
        } else {
            let told = self.sets_of(ix).take(63).filter(|(_, set)| told_all(bucket, *set, sets));
            told.fold(0, |bits, (local, _)| bits | 1 << local.0)
        };
        self.hot[ix.0 as usize].quiet = quiet;
    }

    /// Rows of a bucket.
    #[inline]
    pub(super) fn rows(&self, ix: BucketIx) -> u32 {
        self.ends[ix.0 as usize].len
    }
}

/// A hexagon and a class as one number: keys stay below 2^25.
#[inline]
fn number(key: HexKey, class: AccuracyClass) -> u32 {
    key.get() << 2 | u32::from(class.0)
}

pub(super) fn told_all(bucket: &Bucket, set: SetId, sets: &Sets) -> bool {
    set == SetId::UNUSED || bucket.over.iter().all(|over| sets.has(set, over.alert))
}

fn near(district: &District, standing: &Standing) -> Vec<AlertNo> {
    let active = standing.alerts.iter().filter(|(_, alert)| alert.active);
    active.filter(|(_, alert)| district.class(alert) != CellClass::Outside).map(|(no, _)| *no).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_wider_than_its_first_bound() {
        let bases = CellIndex::base_cells().filter(|cell| cell.is_pentagon() || u64::from(*cell) % 5 == 0);
        let cells = bases.flat_map(|base| base.children(Resolution::Five)).step_by(3);
        let widest = cells.map(|cell| CellBound::of(cell).radius_m()).fold(0.0, f64::max);
        assert!((8_000.0..RADIUS_M_MAX).contains(&widest), "{widest} m");
    }
}
