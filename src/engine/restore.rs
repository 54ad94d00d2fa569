//! A partition out of the blocks of a snapshot (`snapshot` says what they look like), in bulk: rows are
//! copied page by page as they are, and the index is told of them while its lines are on their way.
//!
//! Bytes may be damaged: everything that the partition relies on is checked, no count is believed
//! beyond the bytes that are there, and an error leaves nothing that is used.
//!
//! Where a snapshot was made by another number of partitions, each of the new ones reads the blocks
//! of all the old ones, which stand at one time, and takes its share ([`Restorer::share`]), row by row.

use super::blocks::{
    Bytes, OddRows, Result, SnapshotError,
    SnapshotError::{Impossible, Order},
};
use super::cells::{AccuracyClass, BucketIx};
use super::devices::Devices;
use super::index::{Hash, Index, RowNo};
use super::memory::prefetch;
use super::partition::{Partition, PartitionConfig};
use super::recover::Restoring;
use super::rows::Row;
use super::sets::{LOCAL_SETS_MAX, LocalSet, SetId};
use super::snapshot::{
    BUCKETS, DEPARTED_CLASS, EMPTY_CLASS, HEAD, NO_SET, PHASE, ROWS, SETS, STAGE_PENDING, VERSION,
};
use super::standing::Standing;
use crate::domain::{DeviceId, EventTime, Position, partition_of};
use crate::geo::INDEX_RESOLUTION;
use crate::limits::ACCURACY_M_MAX;

/// Rows between asking for a line of the index and writing into it.
const AHEAD: usize = 32;
/// Runs between asking for a bucket's end and its turn.
const RUNS_AHEAD: usize = 16;

/// A bucket of the blocks.
#[derive(Clone, Copy, Debug)]
struct FileBucket {
    ix: BucketIx,
    base_ms: i64,
    /// Its list: where it starts in all lists, and its length.
    list: u32,
    len: u16,
    class: u8,
    /// Its list is the partition's, number by number, and so is its base.
    same: bool,
}

/// What the blocks of one partition have said so far.
#[derive(Debug)]
struct Part {
    sets_expected: u32,
    buckets_expected: u32,
    rows_expected: u64,
    rows: u64,
    /// By number; each is kept once.
    sets: Vec<SetId>,
    buckets: Vec<Option<FileBucket>>,
    lists: Vec<SetId>,
}

/// Rows whose lines of the index were asked for.
#[derive(Debug)]
struct Queue {
    rows: [(Hash, u64, RowNo); AHEAD],
    pushed: usize,
}

/// Makes a partition out of blocks.
#[derive(Debug)]
pub struct Restorer {
    config: PartitionConfig,
    /// Which partition of how many.
    share: Option<(u32, u32)>,
    /// Rows that there are at most, by the bytes of all blocks.
    rows_max: u64,
    devices: Devices,
    standing: Standing,
    part: Option<Part>,
    parts: usize,
    clock: EventTime,
    stage_pending: bool,
    queue: Queue,
    /// Rows that may be of one device.
    suspects: Vec<(RowNo, RowNo)>,
    failed: bool,
}

impl Restorer {
    /// For blocks of so many bytes in all, which bounds what a damaged one can make it reserve.
    pub fn new(config: PartitionConfig, bytes: u64) -> Self {
        Self {
            config,
            share: None,
            rows_max: bytes / size_of::<Row>() as u64,
            devices: Devices::new(config.seed),
            standing: Standing::default(),
            part: None,
            parts: 0,
            clock: EventTime::BEFORE_ALL,
            stage_pending: false,
            queue: Queue { rows: [(Hash::default(), 0, RowNo::NONE); AHEAD], pushed: 0 },
            suspects: Vec::new(),
            failed: false,
        }
    }

    /// Only the devices of one of `of` partitions are taken (see `domain::partition_of`). It may be
    /// given the blocks of several partitions, those of one after those of another, all of one time.
    pub fn share(self, partition: u32, of: u32) -> Self {
        Self { share: Some((partition, of.max(1))), ..self }
    }

    /// Takes the next block, in the order in which they were made; blocks of rows may come in any order.
    ///
    /// # Errors
    /// The bytes are no such block. No further one is taken then.
    pub fn block(&mut self, block: &[u8]) -> Result<()> {
        if self.failed {
            return Err(SnapshotError::Failed);
        }
        let taken = self.take(block);
        self.failed = taken.is_err();
        taken
    }

    /// The partition, when all blocks were taken. Its standing alerts are to be restored next: see
    /// [`Partition::restore_order`].
    ///
    /// # Errors
    /// Rows are missing, or too many.
    pub fn finish(mut self) -> Result<Partition> {
        if self.failed {
            return Err(SnapshotError::Failed);
        }
        if self.part.is_none() {
            return Err(Order("there is no head"));
        }
        self.end_part()?;
        let mut partition = Partition::new(self.config);
        partition.devices = self.devices;
        partition.clock = self.clock;
        partition.restoring = Some(Box::new(Restoring::new(self.config.seed, self.stage_pending)));
        Ok(partition)
    }

    fn take(&mut self, block: &[u8]) -> Result<()> {
        let mut bytes = Bytes(block);
        let [version, kind, flags, _] = bytes.array()?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if kind == HEAD {
            return self.head(bytes, flags);
        }
        let part = self.part.as_mut().ok_or(Order("there is no head yet"))?;
        match kind {
            SETS => sets(part, &mut self.devices, bytes),
            BUCKETS => buckets(part, &mut self.devices, &self.standing, self.parts == 1, bytes),
            ROWS => self.rows(bytes),
            _ => Err(Impossible("a kind of block that there is not")),
        }
    }

    fn head(&mut self, mut bytes: Bytes<'_>, flags: u8) -> Result<()> {
        if self.part.is_some() {
            if self.share.is_none() {
                return Err(Order("a second head"));
            }
            self.end_part()?;
        }
        let (sets_expected, buckets_expected) = (bytes.u32()?, bytes.u32()?);
        let (rows_expected, clock) = (bytes.u64()?, EventTime(bytes.i64()?));
        bytes.end()?;
        if clock != EventTime::BEFORE_ALL {
            EventTime::from_unix_ms(clock.0).map_err(|_| Impossible("the clock"))?;
        }
        if rows_expected > self.rows_max {
            return Err(Impossible("more rows than there are bytes"));
        }
        let (first, pending) = (self.parts == 0, flags & STAGE_PENDING != 0);
        if !first && (clock != self.clock || pending != self.stage_pending) {
            return Err(Impossible("the time of partitions that become others: it is not the same"));
        }
        (self.clock, self.stage_pending) = (clock, pending);
        if first {
            let of = self.share.map_or(1, |(_, of)| u64::from(of));
            let rows = if of > 1 { self.rows_max / of } else { rows_expected };
            self.devices.index = Index::sized(self.config.seed, rows as usize);
            if flags & PHASE != 0 && self.share.is_none() {
                self.devices.phase = self.devices.phase.other();
            }
        }
        self.parts += 1;
        self.part = Some(Part {
            sets_expected,
            buckets_expected,
            rows_expected,
            rows: 0,
            sets: vec![SetId::EMPTY],
            buckets: Vec::new(),
            lists: Vec::new(),
        });
        Ok(())
    }

    /// All blocks of a partition were taken.
    fn end_part(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        for n in 0..AHEAD {
            // Those pushed last, or rows that are none.
            let (hash, device, no) = self.queue.rows[(self.queue.pushed + n) % AHEAD];
            if no != RowNo::NONE {
                self.devices.index.add(hash, device, no, &self.devices.rows, &mut self.suspects);
            }
        }
        self.queue = Queue { rows: [(Hash::default(), 0, RowNo::NONE); AHEAD], pushed: 0 };
        check_suspects(&mut self.suspects, &self.devices)?;
        if part.rows != part.rows_expected {
            return Err(SnapshotError::Rows { expected: part.rows_expected, found: part.rows });
        }
        for bucket in part.buckets.iter().flatten() {
            self.devices.cells.drop_unused(bucket.ix, &mut self.devices.sets);
        }
        part.sets.into_iter().for_each(|set| self.devices.sets.drop(set));
        Ok(())
    }

    fn rows(&mut self, mut bytes: Bytes<'_>) -> Result<()> {
        let Some(part) = &mut self.part else { return Err(SnapshotError::Failed) };
        if part.sets.len() as u64 != u64::from(part.sets_expected) + 1 {
            return Err(Order("rows before all sets"));
        }
        if part.buckets.len() as u64 != u64::from(part.buckets_expected) {
            return Err(Order("rows before all buckets"));
        }
        let (runs, rows, odd) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let runs = bytes.take(runs as usize * 8)?.as_chunks::<8>().0;
        let mut rows_left = bytes.take(rows as usize * size_of::<Row>())?;
        part.rows += u64::from(rows);
        let mut odd = OddRows { bytes, left: odd, next: None };
        odd.advance()?;
        let run = |run: &[u8; 8]| {
            let [a, b, c, d, e, f, g, h] = *run;
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
        };
        let bucket_of = |number: u32| part.buckets.get(number as usize).copied().flatten();
        let mut place = 0;
        for (n, this) in runs.iter().enumerate() {
            if let Some(later) = runs.get(n + RUNS_AHEAD)
                && let Some(bucket) = bucket_of(run(later).0)
            {
                prefetch(&self.devices.cells.ends, bucket.ix.0 as usize);
            }
            if let Some(later) = runs.get(n + RUNS_AHEAD / 2)
                && let Some(bucket) = bucket_of(run(later).0)
                && let Some(last) = self.devices.last_of(bucket.ix)
            {
                self.devices.rows.prefetch(RowNo(last.0.wrapping_add(1)));
            }
            let (number, count) = run(this);
            let bucket = bucket_of(number).ok_or(Impossible("rows of a bucket that there is not"))?;
            let bytes = count as usize * size_of::<Row>();
            let (these, rest) = rows_left.split_at_checked(bytes).ok_or(Impossible("runs of more rows"))?;
            rows_left = rest;
            if bucket.same && self.share.is_none() {
                copy_rows(
                    bucket,
                    these,
                    place,
                    &mut odd,
                    &mut self.devices,
                    &mut self.queue,
                    &mut self.suspects,
                )?;
            } else {
                put_rows(bucket, these, place, &mut odd, part, &mut self.devices, self.share)?;
            }
            place += count;
        }
        if !rows_left.is_empty() {
            return Err(Impossible("rows of no run"));
        }
        if odd.next.is_some() {
            return Err(Impossible("an odd row that there is not"));
        }
        odd.bytes.end()?;
        check_suspects(&mut self.suspects, &self.devices)
    }
}

fn sets(part: &mut Part, devices: &mut Devices, mut bytes: Bytes<'_>) -> Result<()> {
    for _ in 0..bytes.u32()? {
        let count = bytes.u32()?;
        let alerts = bytes.alerts(count)?;
        if alerts.is_empty() || part.sets.len() as u64 > u64::from(part.sets_expected) {
            return Err(Impossible("an empty set, or one too many"));
        }
        part.sets.push(devices.sets.intern(alerts));
    }
    bytes.end()
}

fn buckets(
    part: &mut Part,
    devices: &mut Devices,
    standing: &Standing,
    first: bool,
    mut bytes: Bytes<'_>,
) -> Result<()> {
    for _ in 0..bytes.u32()? {
        let (cell, base_ms) = (bytes.u64()?, bytes.i64()?);
        let [class, _, low, high] = bytes.array()?;
        let len = u16::from_le_bytes([low, high]);
        if part.buckets.len() as u64 >= u64::from(part.buckets_expected) || usize::from(len) > LOCAL_SETS_MAX
        {
            return Err(Impossible("a bucket too many, or so long a list"));
        }
        if class == EMPTY_CLASS {
            part.buckets.push(None);
            continue;
        }
        if base_ms.unsigned_abs() > 1 << 60 {
            return Err(Impossible("a bucket's base of times"));
        }
        let (ix, is_new) = if class == DEPARTED_CLASS {
            (BucketIx::DEPARTED, first && devices.cells.rows(BucketIx::DEPARTED) == 0)
        } else {
            let cell =
                h3o::CellIndex::try_from(cell).ok().filter(|cell| cell.resolution() == INDEX_RESOLUTION);
            let cell = cell.ok_or(Impossible("a cell"))?;
            let class = AccuracyClass::from_code(class).ok_or(Impossible("a class of accuracy"))?;
            match devices.cells.by_cell.get(&(cell, class)) {
                Some(ix) => (*ix, false),
                None => (devices.cells.make(cell, class, EventTime(base_ms), standing, &devices.sets), true),
            }
        };
        if first && (!is_new || devices.cells.sets_of(ix).any(|(_, set)| set != SetId::UNUSED)) {
            return Err(Impossible("a bucket twice"));
        }
        let list = part.lists.len() as u32;
        for n in 0..len {
            let set = match bytes.u32()? {
                NO_SET => SetId::UNUSED,
                set => *part.sets.get(set as usize).ok_or(Impossible("a set that there is not"))?,
            };
            part.lists.push(set);
            if is_new {
                devices.cells.set_at(ix, LocalSet(n), set, &devices.sets);
                if set != SetId::UNUSED {
                    devices.sets.keep(set);
                }
            }
        }
        if is_new {
            devices.cells.hot[ix.0 as usize].base_ms = base_ms;
        }
        part.buckets.push(Some(FileBucket { ix, base_ms, list, len, class, same: is_new }));
    }
    bytes.end()
}

/// Whether a row of a bucket of this class may be so.
#[inline(always)]
fn is_possible(row: Row, class: u8) -> bool {
    let lat = row.lat_e7().unsigned_abs() <= 900_000_000;
    let lon = (-1_800_000_000..1_800_000_000).contains(&row.lon_e7());
    let accuracy = row.accuracy_m();
    let classed = (class == DEPARTED_CLASS) | (AccuracyClass::of(accuracy).code() == class);
    lat & lon & (accuracy <= ACCURACY_M_MAX) & classed
}

const IMPOSSIBLE_ROW: SnapshotError = Impossible("a row's position, accuracy or phase");

/// The rows of a bucket, as they are.
fn copy_rows(
    bucket: FileBucket,
    mut bytes: &[u8],
    first: u32,
    odd: &mut OddRows<'_>,
    devices: &mut Devices,
    queue: &mut Queue,
    suspects: &mut Vec<(RowNo, RowNo)>,
) -> Result<()> {
    let ix = bucket.ix;
    let mut place = first;
    let (mut set, mut users) = (LocalSet::SPILLED, 0_u32);
    while !bytes.is_empty() {
        let (no, count) = devices.append_rows(ix, bytes).ok_or(SnapshotError::Full)?;
        bytes = &bytes[count as usize * size_of::<Row>()..];
        let Devices { index, rows, cells, phase, .. } = devices;
        let (mut possible, mut spilled) = (true, 0);
        for no in (no.0..no.0 + count).map(RowNo) {
            let row = rows.row(no);
            possible &= is_possible(row, bucket.class) & (row.phase() == *phase);
            if row.set() != set {
                if users > 0 {
                    cells.add_users(ix, set, users);
                }
                (set, users) = (row.set(), 0);
                let listed = set.0 < bucket.len && cells.set(ix, set) != SetId::UNUSED;
                if !listed && set != LocalSet::SPILLED {
                    return Err(Impossible("a row's set"));
                }
            }
            if set == LocalSet::SPILLED {
                spilled += 1;
            } else {
                users += 1;
            }
            let hash = index.hash(row.device);
            index.prefetch(hash);
            let waiting = &mut queue.rows[queue.pushed % AHEAD];
            let (older, device, its_row) = std::mem::replace(waiting, (hash, row.device, no));
            queue.pushed += 1;
            if its_row != RowNo::NONE {
                index.add(older, device, its_row, rows, suspects);
            }
        }
        if !possible {
            return Err(IMPOSSIBLE_ROW);
        }
        while let Some(next) = odd.next_below(place + count) {
            let row = devices.rows.row(RowNo(no.0 + (next.place - place)));
            if let Some(at) = next.at(row)? {
                devices.times.insert(row.device, at);
            }
            if let Some(alerts) = next.alerts(row)? {
                let set = devices.sets.intern(alerts);
                if let Some(other) = devices.spilled.insert(row.device, set) {
                    devices.sets.drop(other);
                    return Err(SnapshotError::Twice);
                }
                spilled -= 1;
            }
            odd.advance()?;
        }
        if spilled != 0 {
            return Err(Impossible("a row without its set"));
        }
        place += count;
    }
    if users > 0 {
        devices.cells.add_users(ix, set, users);
    }
    Ok(())
}

/// The rows of a bucket, as the partition would have taken them.
fn put_rows(
    bucket: FileBucket,
    bytes: &[u8],
    first: u32,
    odd: &mut OddRows<'_>,
    part: &Part,
    devices: &mut Devices,
    share: Option<(u32, u32)>,
) -> Result<()> {
    let list = &part.lists[bucket.list as usize..][..usize::from(bucket.len)];
    for (bytes, place) in bytes.as_chunks::<{ size_of::<Row>() }>().0.iter().zip(first..) {
        let row: Row = zerocopy::transmute!(*bytes);
        let next = odd.next_below(place + 1);
        let (mut at, mut alerts) = (None, None);
        if let Some(next) = &next {
            (at, alerts) = (next.at(row)?, next.alerts(row)?);
            odd.advance()?;
        }
        if !is_possible(row, bucket.class) {
            return Err(IMPOSSIBLE_ROW);
        }
        if row.time() != 0 {
            at = Some(EventTime(bucket.base_ms + i64::from(row.time())));
        }
        if share.is_some_and(|(partition, of)| partition_of(DeviceId(row.device), of) != partition) {
            continue;
        }
        let set = match alerts {
            Some(alerts) => devices.sets.intern(alerts),
            None => {
                let set = list.get(usize::from(row.set().0)).filter(|set| **set != SetId::UNUSED);
                devices.sets.keep(*set.ok_or(Impossible("a row's set"))?)
            }
        };
        let hash = devices.index.hash(row.device);
        if devices.index.find(hash, row.device, &devices.rows).is_some() {
            return Err(SnapshotError::Twice);
        }
        let position = Position::from_held(row.lat_e7(), row.lon_e7());
        let put = devices.put(hash, bucket.ix, row.device, position, row.accuracy_m(), at, set);
        devices.sets.drop(set);
        put.ok_or(SnapshotError::Full)?;
    }
    Ok(())
}

/// Rows whose hashes are alike must be of different devices.
fn check_suspects(suspects: &mut Vec<(RowNo, RowNo)>, devices: &Devices) -> Result<()> {
    const AHEAD: usize = 8;
    for n in 0..suspects.len() {
        if let Some((later, _)) = suspects.get(n + AHEAD) {
            devices.rows.prefetch(*later);
        }
        let (one, other) = suspects[n];
        if devices.rows.device(one) == devices.rows.device(other) {
            return Err(SnapshotError::Twice);
        }
    }
    suspects.clear();
    Ok(())
}
