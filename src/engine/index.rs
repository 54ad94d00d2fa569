//! The device index: from a pseudonym to the number of its row.
//!
//! A line of 64 bytes holds twelve entries: a tag of eight bits of the hash and a row number
//! each. A probe reads one line and, by the tag, nearly never the row of another device. Lines
//! form blocks of 64; an entry whose line is full goes to the next one of its block, and each
//! line counts the entries that passed over it, so that a search knows where to end. The few
//! entries that find their whole block full stand aside in a map.
//!
//! It grows without a stop: the place of a hash is its share of the whole range, so blocks of a
//! larger table take up those of the smaller one in order. Some inserts move a block each; what
//! lies below the moved border is sought in the new table, the rest in the old one, whose
//! pages go back to the system on the way. It shrinks in the same manner.
//!
//! Invariant: each device that was inserted and not removed has one entry, and no two the same.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::memory::{Region, equal_bytes, prefetch};
use super::rows::Rows;
use crate::planted::{self, Defect};

/// The number of a device's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowNo(pub(super) u32);

impl RowNo {
    /// A row that does not exist.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// A device's hash. Depends on the seed, so that nobody can choose pseudonyms that collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hash(u64);

const SLOTS: usize = 12;
const BLOCK_LINES: usize = 64;
const BLOCK_SLOTS: usize = SLOTS * BLOCK_LINES;
/// Entries of a block, on average, from which on the table grows.
const FULL: usize = BLOCK_SLOTS * 72 / 100;
/// Entries of a block, on average, below which the table shrinks.
const SPARSE: usize = BLOCK_SLOTS * 35 / 100;
/// Inserts or removals that pay for a block's move. A table that grows by a quarter is done
/// before it is a tenth fuller.
const CHANGES_PER_BLOCK: u32 = 64;

/// When a table changes its size.
struct Pace {
    full: usize,
    sparse: usize,
    changes_per_block: u32,
}

#[cfg(not(test))]
#[inline(always)]
const fn pace() -> Pace {
    Pace { full: FULL, sparse: SPARSE, changes_per_block: CHANGES_PER_BLOCK }
}

/// In tests a table may grow by a handful of devices, and take long.
#[cfg(test)]
fn pace() -> Pace {
    if super::seams::are_small() {
        return Pace { full: 3, sparse: 1, changes_per_block: 2 };
    }
    Pace { full: FULL, sparse: SPARSE, changes_per_block: CHANGES_PER_BLOCK }
}

/// Entries between asking for a row and reading its device, while a block is moved.
const MOVE_AHEAD: usize = 24;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Line {
    /// The slots' tags, 0 where one is empty; then, at [`PASSED`], how many entries passed over
    /// this line because it was full (255 stays); three bytes are not used.
    head: [u8; 16],
    rows: [u32; SLOTS],
}

/// Where a line's head counts the entries that passed over it.
const PASSED: usize = SLOTS;

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    /// The slots with this tag, as bits.
    #[inline(always)]
    fn with_tag(&self, tag: u8) -> u32 {
        equal_bytes(&self.head, tag) & ((1 << SLOTS) - 1)
    }

    /// Whether entries passed over this line.
    #[inline(always)]
    fn is_passed(&self) -> bool {
        self.head[PASSED] != 0
    }
}

/// Lines for which memory is there ahead while the index grows, and this share of the table: where a hypervisor gets
/// pages as slowly as blocks move, the head start must last for much of the way.
const AHEAD_LINES: usize = 65_536;
const AHEAD_SHARE: usize = 8;
/// When only this share of its devices is left to come before a table is full, the next one is made.
const NEXT_SHARE: usize = 16;

#[derive(Debug, Default)]
struct Table {
    lines: Region<Line>,
    blocks: usize,
}

impl Table {
    fn new(blocks: usize) -> Self {
        Self { lines: Region::zeroed(blocks * BLOCK_LINES), blocks }
    }

    /// Prepares to use some lines more than `reached`; says whether that took time.
    fn touch_ahead(&mut self, reached: usize) -> bool {
        let lines = self.lines.len();
        self.lines.touch_ahead((reached + AHEAD_LINES + lines / AHEAD_SHARE).min(lines))
    }

    #[inline(always)]
    fn home(&self, hash: Hash) -> usize {
        ((u128::from(hash.0) * (self.blocks * BLOCK_LINES) as u128) >> 64) as usize
    }
}

#[inline(always)]
fn tag(hash: Hash) -> u8 {
    (hash.0 as u8).max(1)
}

/// The line after this one in its block.
#[inline(always)]
fn after(line: usize) -> usize {
    line & !(BLOCK_LINES - 1) | (line + 1) & (BLOCK_LINES - 1)
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Index {
    table: Table,
    /// While it grows or shrinks: the table whose blocks are being moved.
    old: Table,
    /// What will be `table` soon: made ahead, so that its first memory is there when it is needed.
    next: Table,
    /// Blocks of `old` that were moved.
    moved: usize,
    /// Hashes below this one are in `table`, others in `old`.
    border: u64,
    /// Inserts and removals since a block was moved.
    unpaid: u32,
    aside: HashMap<u64, u32, FixedState>,
    len: usize,
    seed: u64,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            table: Table::new(1),
            old: Table::default(),
            next: Table::default(),
            moved: 0,
            border: u64::MAX,
            unpaid: 0,
            aside: HashMap::default(),
            len: 0,
            seed,
        }
    }

    /// Empty, with room for so many devices.
    pub(super) fn sized(seed: u64, devices: usize) -> Self {
        Self { table: Table::new(devices / pace().full + 1), ..Self::new(seed) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it grows or shrinks now.
    #[cfg(test)]
    pub(super) fn is_growing(&self) -> bool {
        self.old.blocks > 0
    }

    /// A multiplication folded onto itself; the highest hash is left out, so that `border` can
    /// mean all.
    #[inline(always)]
    pub(super) fn hash(&self, device: u64) -> Hash {
        let x = u128::from(device ^ self.seed) * 0x9e37_79b9_7f4a_7c15;
        let folded = (x >> 64) as u64 ^ x as u64;
        Hash(folded.wrapping_mul(0xd6e8_feb8_6659_fd93).min(u64::MAX - 1))
    }

    #[inline(always)]
    fn table_of(&self, hash: Hash) -> &Table {
        if hash.0 < self.border { &self.table } else { &self.old }
    }

    /// Blocks of the table that comes when this one is full.
    fn larger(&self) -> usize {
        self.table.blocks + (self.table.blocks / 4).max(1)
    }

    /// Prepares to grow; says whether that took time.
    pub(super) fn touch_ahead(&mut self) -> bool {
        // While it grows or shrinks, as far as blocks have moved.
        if let Some(reached) = (self.moved * self.table.blocks).checked_div(self.old.blocks) {
            return self.table.touch_ahead(reached * BLOCK_LINES);
        }
        if self.len + self.len / NEXT_SHARE <= self.table.blocks * pace().full {
            return false;
        }
        if self.next.blocks == 0 {
            self.next = Table::new(self.larger());
        }
        self.next.touch_ahead(0)
    }

    /// Asks for the line of a hash.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: Hash) {
        let table = self.table_of(hash);
        prefetch(&table.lines, table.home(hash));
    }

    /// The row that is probably the device's: the first of its line with its tag, or of the next
    /// line, where entries went on.
    #[inline(always)]
    pub(super) fn guess(&self, hash: Hash) -> RowNo {
        let table = self.table_of(hash);
        let home = table.home(hash);
        let line = &table.lines[home];
        let slot = line.with_tag(tag(hash)).trailing_zeros() as usize;
        match line.rows.get(slot) {
            Some(row) => RowNo(*row),
            None if line.is_passed() => self.guess_after(hash, home),
            None => RowNo::NONE,
        }
    }

    #[inline(never)]
    fn guess_after(&self, hash: Hash, home: usize) -> RowNo {
        let line = &self.table_of(hash).lines[after(home)];
        let slot = line.with_tag(tag(hash)).trailing_zeros() as usize;
        line.rows.get(slot).map_or(RowNo::NONE, |row| RowNo(*row))
    }

    /// The row of a device.
    pub(super) fn find(&self, hash: Hash, device: u64, rows: &Rows) -> Option<RowNo> {
        let table = self.table_of(hash);
        let mut at = table.home(hash);
        for _ in 0..BLOCK_LINES {
            let line = &table.lines[at];
            let mut slots = line.with_tag(tag(hash));
            while slots != 0 {
                let row = RowNo(line.rows[slots.trailing_zeros() as usize]);
                if rows.device(row) == device {
                    return Some(row);
                }
                slots &= slots - 1;
            }
            if !line.is_passed() {
                return None;
            }
            at = after(at);
        }
        self.aside.get(&device).map(|row| RowNo(*row))
    }

    /// Adds a device that is not there.
    pub(super) fn insert(&mut self, hash: Hash, device: u64, row: RowNo, rows: &Rows) {
        self.place(hash, device, row);
        self.len += 1;
        if self.old.blocks == 0 && self.len > self.table.blocks * pace().full {
            self.resize(self.larger());
        }
        self.pay(rows);
    }

    /// Adds a device of which nobody knows whether it is there; rows that may be the same device's are put
    /// with its own among `alike`. Nothing must have been taken out before.
    #[inline]
    pub(super) fn add(
        &mut self,
        hash: Hash,
        device: u64,
        row: RowNo,
        rows: &Rows,
        alike: &mut Vec<(RowNo, RowNo)>,
    ) {
        if self.old.blocks > 0 || self.len >= self.table.blocks * pace().full {
            match self.find(hash, device, rows) {
                Some(same) => alike.push((same, row)),
                None => self.insert(hash, device, row, rows),
            }
            return;
        }
        self.len += 1;
        let mut at = self.table.home(hash);
        for _ in 0..BLOCK_LINES {
            let line = &mut self.table.lines[at];
            let mut slots = line.with_tag(tag(hash));
            while slots != 0 {
                alike.push((RowNo(line.rows[slots.trailing_zeros() as usize]), row));
                slots &= slots - 1;
            }
            let slot = line.with_tag(0).trailing_zeros() as usize;
            if slot < SLOTS {
                line.head[slot] = tag(hash);
                line.rows[slot] = row.0;
                return;
            }
            line.head[PASSED] = line.head[PASSED].saturating_add(1);
            at = after(at);
        }
        if let Some(same) = self.aside.insert(device, row.0) {
            alike.push((RowNo(same), row));
        }
    }

    /// Takes a device out whose row is this one.
    pub(super) fn remove(&mut self, hash: Hash, device: u64, row: RowNo, rows: &Rows) {
        self.take(hash, device, row);
        self.len -= 1;
        let blocks = self.table.blocks;
        if self.old.blocks == 0 && blocks > 4 && self.len < blocks * pace().sparse {
            self.resize(self.len / (pace().full * 4 / 5) + 1);
        }
        self.pay(rows);
    }

    /// A device's row has moved.
    pub(super) fn relocate(&mut self, hash: Hash, device: u64, from: RowNo, to: RowNo) {
        match self.slot_of(hash, from) {
            Some((at, slot)) => self.table_of_mut(hash).lines[at].rows[slot] = to.0,
            None => {
                self.aside.insert(device, to.0);
            }
        }
    }

    #[inline(always)]
    fn table_of_mut(&mut self, hash: Hash) -> &mut Table {
        if hash.0 < self.border { &mut self.table } else { &mut self.old }
    }

    /// Where the entry with this row stands.
    fn slot_of(&self, hash: Hash, row: RowNo) -> Option<(usize, usize)> {
        let table = self.table_of(hash);
        let mut at = table.home(hash);
        for _ in 0..BLOCK_LINES {
            let line = &table.lines[at];
            let mut slots = line.with_tag(tag(hash));
            while slots != 0 {
                let slot = slots.trailing_zeros() as usize;
                if line.rows[slot] == row.0 {
                    return Some((at, slot));
                }
                slots &= slots - 1;
            }
            if !line.is_passed() {
                return None;
            }
            at = after(at);
        }
        None
    }

    fn place(&mut self, hash: Hash, device: u64, row: RowNo) {
        let table = self.table_of_mut(hash);
        let home = table.home(hash);
        let mut at = home;
        for _ in 0..BLOCK_LINES {
            let line = &mut table.lines[at];
            let slot = line.with_tag(0).trailing_zeros() as usize;
            if slot < SLOTS {
                line.head[slot] = tag(hash);
                line.rows[slot] = row.0;
                return;
            }
            line.head[PASSED] = line.head[PASSED].saturating_add(1);
            at = after(at);
        }
        // The whole block is full, and every line of it has counted this entry.
        self.aside.insert(device, row.0);
    }

    fn take(&mut self, hash: Hash, device: u64, row: RowNo) {
        let Some((place, slot)) = self.slot_of(hash, row) else {
            self.aside.remove(&device);
            let table = self.table_of_mut(hash);
            let first = table.home(hash) & !(BLOCK_LINES - 1);
            table.lines[first..first + BLOCK_LINES].iter_mut().for_each(unpass);
            return;
        };
        let table = self.table_of_mut(hash);
        table.lines[place].head[slot] = 0;
        let mut at = table.home(hash);
        while at != place {
            unpass(&mut table.lines[at]);
            at = after(at);
        }
    }

    fn resize(&mut self, blocks: usize) {
        let next = std::mem::take(&mut self.next);
        let next = if next.blocks == blocks { next } else { Table::new(blocks) };
        self.old = std::mem::replace(&mut self.table, next);
        self.moved = 0;
        self.border = 0;
    }

    /// Moves the next block where it is due.
    #[inline]
    fn pay(&mut self, rows: &Rows) {
        if self.old.blocks == 0 {
            return;
        }
        self.unpaid += 1;
        if self.unpaid >= pace().changes_per_block {
            self.unpaid = 0;
            self.move_block(rows);
        }
    }

    /// Moves a block, if a resize is under way; for whoever has time.
    #[cold]
    pub(super) fn move_block(&mut self, rows: &Rows) {
        if self.old.blocks == 0 {
            return;
        }
        let first = self.moved * BLOCK_LINES;
        let mut entries = [0_u32; BLOCK_SLOTS];
        let mut count = 0;
        for line in &mut self.old.lines[first..first + BLOCK_LINES] {
            for (tag, row) in line.head.iter_mut().zip(line.rows) {
                if std::mem::take(tag) != 0 {
                    entries[count] = row;
                    count += 1;
                }
            }
            line.head[PASSED] = 0;
        }
        self.moved += 1;
        self.border = if self.moved == self.old.blocks {
            u64::MAX
        } else {
            // The lowest hash of the first block that was not moved.
            ((self.moved as u128) << 64).div_ceil(self.old.blocks as u128) as u64
        };
        if planted::on(Defect::GrowthLosesEntry) {
            count = count.saturating_sub(1);
        }
        for (n, &row) in entries[..count].iter().enumerate() {
            if let Some(later) = entries.get(n + MOVE_AHEAD) {
                rows.prefetch(RowNo(*later));
            }
            let device = rows.device(RowNo(row));
            let hash = self.hash(device);
            self.place(hash, device, RowNo(row));
        }
        // Those aside count as having passed over their block wherever that is now.
        let border = self.border;
        let below = if self.moved == 1 {
            0
        } else {
            (((self.moved - 1) as u128) << 64).div_ceil(self.old.blocks as u128) as u64
        };
        if !self.aside.is_empty() {
            let moved: Vec<(u64, u32)> = self
                .aside
                .iter()
                .map(|(device, row)| (*device, *row))
                .filter(|(device, _)| (below..border).contains(&self.hash(*device).0))
                .collect();
            for (device, row) in moved {
                self.aside.remove(&device);
                self.place(self.hash(device), device, RowNo(row));
            }
        }
        if self.moved == self.old.blocks {
            self.old = Table::default();
        } else if self.moved.is_multiple_of(1_024) {
            let end = self.moved * BLOCK_LINES;
            self.old.lines.release(end - 1_024 * BLOCK_LINES..end);
        }
    }
}

fn unpass(line: &mut Line) {
    if line.head[PASSED] != u8::MAX {
        line.head[PASSED] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::rows::Rows;

    /// Rows whose device is their number's.
    fn rows(devices: &[u64]) -> Rows {
        let mut rows = Rows::default();
        for (i, device) in devices.iter().enumerate() {
            if i % 64 == 0 {
                rows.new_page(1);
            }
            rows.write_device(RowNo(i as u32), *device);
        }
        rows
    }

    #[test]
    fn every_device_is_found_while_it_grows_and_shrinks() {
        let devices: Vec<u64> = (0..200_000_u64).map(|i| i.wrapping_mul(0x2545_f491_4f6c_dd1d)).collect();
        let rows = rows(&devices);
        let mut index = Index::new(5);
        let check = |index: &Index, from: usize, to: usize| {
            for (i, device) in devices.iter().enumerate() {
                let expected = (from..to).contains(&i).then_some(RowNo(i as u32));
                assert_eq!(index.find(index.hash(*device), *device, &rows), expected, "device {i}");
            }
        };
        for (i, device) in devices.iter().enumerate() {
            index.insert(index.hash(*device), *device, RowNo(i as u32), &rows);
            if [1, 700, 5_000, 50_000, 120_001].contains(&i) {
                check(&index, 0, i + 1);
            }
        }
        check(&index, 0, devices.len());
        let full = index.table.blocks;
        for (i, device) in devices.iter().enumerate().take(199_000) {
            index.remove(index.hash(*device), *device, RowNo(i as u32), &rows);
            if [100, 100_000, 150_000, 190_000].contains(&i) {
                check(&index, i + 1, devices.len());
            }
        }
        check(&index, 199_000, devices.len());
        assert_eq!(index.len(), 1_000);
        assert!(index.table.blocks * 10 < full, "{} blocks of {full} are left", index.table.blocks);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// All hashes in one block, so that lines are full and some entries stand aside.
        #[test]
        fn it_is_a_map_even_where_all_collide(steps in prop::collection::vec((0..1_700_usize, prop::bool::weighted(0.7)), 5_000)) {
            let devices: Vec<u64> = (0..1_700).collect();
            let rows = rows(&devices);
            let mut index = Index::new(0);
            let mut model = vec![false; devices.len()];
            let hash = |i: usize| Hash(((i as u64 % 5) << 40) | (i as u64 % 3));
            for (i, add) in steps {
                if add != model[i] {
                    model[i] = add;
                    let row = RowNo(i as u32);
                    if add {
                        index.place(hash(i), devices[i], row);
                    } else {
                        index.take(hash(i), devices[i], row);
                    }
                }
            }
            for (i, held) in model.iter().enumerate() {
                let found = index.find(hash(i), devices[i], &rows);
                prop_assert_eq!(found, held.then_some(RowNo(i as u32)));
            }
        }
    }
}
