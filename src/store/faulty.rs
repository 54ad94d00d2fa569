//! A disk in memory that does what disks do at the worst moment, driven by a seed.
//!
//! It keeps two worlds: what programs see now, and what lasts. A sync moves a file's bytes from one to the other, a
//! folder's sync moves names. At a power cut any part of what was not synced may last: of each write any subset of
//! its bytes, of each file any length between, of each folder any subset of its creates, renames and removes; and
//! a sector that was being written may become garbage, also those of its bytes that were not written.
//! A process that is killed ([`FaultyDisk::crash`]) loses nothing.
//!
//! It never does what no disk does: it does not lose what was synced without a switch that says so, and a write that is
//! misdirected lands on a border of 512 bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, StoreError};

const SECTOR: usize = 4_096;

/// What may go wrong: chances per million operations, and bounds. All off by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A write fails after any part of it was done.
    pub(crate) write_error: u32,
    /// A write is said to be done, but only some of its sectors are.
    pub(crate) torn_write: u32,
    /// A write is said to be done, but lies elsewhere, in this file or another.
    pub(crate) misdirected: u32,
    /// A sync fails: any part of the file's unsynced bytes lasts, the rest never will, but can be read.
    pub(crate) failed_sync: u32,
    /// A folder's sync is said to be done, but its renames do not last.
    pub(crate) lost_rename: u32,
    /// How many torn and misdirected writes and lost renames there may be in all; `None` for no bound.
    pub(crate) lies_max: Option<u64>,
    /// Bytes that all files together may have.
    pub(crate) full_at: Option<u64>,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
    pub(crate) write_errors: u64,
    pub(crate) torn_writes: u64,
    pub(crate) misdirected: u64,
    pub(crate) failed_syncs: u64,
    pub(crate) lost_renames: u64,
    pub(crate) full: u64,
    pub(crate) power_cuts: u64,
    pub(crate) crashes: u64,
    /// Power cuts that took bytes, names.
    pub(crate) lost_bytes: u64,
    pub(crate) lost_names: u64,
    /// Of these, renames, which are thereby undone.
    pub(crate) undone_renames: u64,
    pub(crate) garbage_sectors: u64,
    pub(crate) flips: u64,
}

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    pub(crate) fn million(&mut self, chance: u32) -> bool {
        chance > 0 && self.below(1_000_000) < u64::from(chance)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum NameOp {
    Create(String, u64),
    Remove(String),
    Rename(String, String),
}

impl NameOp {
    fn folder(&self) -> &str {
        let (Self::Create(path, _) | Self::Remove(path) | Self::Rename(path, _)) = self;
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Names of files (with their inode) and of folders (with none).
type Names = BTreeMap<String, Option<u64>>;

fn below<'a>(names: &'a Names, folder: &'a str) -> impl Iterator<Item = (&'a String, &'a Option<u64>)> {
    let inside = move |path: &str| {
        folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    names.iter().filter(move |(path, _)| inside(path))
}

fn apply(names: &mut Names, op: &NameOp) {
    match op {
        NameOp::Create(path, inode) => {
            names.insert(path.clone(), (*inode != 0).then_some(*inode));
        }
        NameOp::Remove(path) => {
            names.remove(path);
        }
        NameOp::Rename(from, to) => {
            let moved: Vec<String> = below(names, from).map(|(path, _)| path.clone()).collect();
            for path in moved {
                let to = format!("{to}{}", &path[from.len()..]);
                if let Some(inode) = names.remove(&path) {
                    names.insert(to, inode);
                }
            }
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

struct World {
    chance: Chance,
    inodes: BTreeMap<u64, Inode>,
    now: Names,
    durable: Names,
    pending: Vec<NameOp>,
    next_inode: u64,
    epoch: u64,
    /// Operations until everything stops; then only a crash or power cut helps.
    fuse: Option<u64>,
    dead: bool,
    faults: Faults,
    counts: Counts,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Mutex<World>>);

fn refused(file: &str, why: &str) -> StoreError {
    StoreError::Io { file: file.into(), offset: 0, doing: "using", source: io::Error::other(why.to_owned()) }
}

impl FaultyDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            chance: Chance::new(seed ^ 0x5eed_d15c),
            inodes: BTreeMap::new(),
            now: Names::new(),
            durable: Names::new(),
            pending: Vec::new(),
            next_inode: 1,
            epoch: 0,
            fuse: None,
            dead: false,
            faults: Faults::default(),
            counts: Counts::default(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.world().counts
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        self.world().used()
    }

    /// Lets `operations` more happen, then the machine stops in the middle of one.
    pub(crate) fn set_fuse(&self, operations: Option<u64>) {
        self.world().fuse = operations;
    }

    /// Whether the fuse has burnt.
    pub(crate) fn is_dead(&self) -> bool {
        self.world().dead
    }

    /// The process ends, the machine goes on: everything written is there, nothing more is synced.
    pub(crate) fn crash(&self) {
        let mut world = self.world();
        world.counts.crashes += 1;
        world.restart();
    }

    /// The machine loses power.
    pub(crate) fn power_cut(&self) {
        let mut world = self.world();
        world.counts.power_cuts += 1;
        world.power_cut();
        world.restart();
    }

    /// All files, with their lengths.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let world = self.world();
        let files = world.now.iter().filter_map(|(path, inode)| Some((path.clone(), (*inode)?)));
        files.map(|(path, inode)| (path, world.inodes[&inode].now.len())).collect()
    }

    /// Flips bits of the byte at `offset` of a file at rest.
    pub(crate) fn flip(&self, path: &str, offset: usize, mask: u8) {
        let mut world = self.world();
        world.counts.flips += 1;
        let Some(Some(inode)) = world.now.get(path).copied() else { return };
        let inode = world.inodes.get_mut(&inode).unwrap();
        for bytes in [&mut inode.now, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }

    /// A file's bytes as they are seen now.
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let world = self.world();
        match world.now.get(path) {
            Some(Some(inode)) => world.inodes[inode].now.clone(),
            _ => Vec::new(),
        }
    }

    /// Takes a file away for good, as nobody should.
    pub(crate) fn lose(&self, path: &str) {
        let mut world = self.world();
        world.now.remove(path);
        world.durable.remove(path);
    }
}

impl World {
    fn used(&self) -> u64 {
        self.now.values().flatten().map(|inode| self.inodes[inode].now.len() as u64).sum()
    }

    /// Whether one more lie is within the bound.
    fn may_lie(&self) -> bool {
        let lies = self.counts.misdirected + self.counts.torn_writes + self.counts.lost_renames;
        self.faults.lies_max.is_none_or(|max| lies < max)
    }

    /// Counts an operation down; returns whether it is the one in which everything stops.
    fn tick(&mut self, file: &str) -> Result<bool, StoreError> {
        if self.dead {
            return Err(refused(file, "the machine has stopped"));
        }
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.dead = true;
                return Ok(true);
            }
            *fuse -= 1;
        }
        Ok(false)
    }

    /// As [`Self::tick`], for what happens whole or not at all.
    fn tick_whole(&mut self, file: &str) -> Result<(), StoreError> {
        if self.tick(file)? { Err(refused(file, "the machine has stopped")) } else { Ok(()) }
    }

    fn restart(&mut self) {
        self.epoch += 1;
        self.fuse = None;
        self.dead = false;
    }

    fn power_cut(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mode = self.chance.below(4);
        for op in &pending {
            let kept = match mode {
                0 => false,
                1 => true,
                _ => self.chance.percent(50),
            };
            if kept {
                apply(&mut self.durable, op);
            } else {
                self.counts.lost_names += 1;
                self.counts.undone_renames += u64::from(matches!(op, NameOp::Rename(..)));
            }
        }
        // A name in a folder that is not there leads nowhere.
        let there = |names: &Names, path: &str| {
            path.rsplit_once('/').is_none_or(|(folder, _)| names.get(folder) == Some(&None))
        };
        while let Some(path) = self.durable.keys().find(|path| !there(&self.durable, path)).cloned() {
            self.durable.remove(&path);
        }
        self.now = self.durable.clone();
        let kept: BTreeSet<u64> = self.now.values().flatten().copied().collect();
        self.inodes.retain(|inode, _| kept.contains(inode));
        for inode in self.inodes.values_mut() {
            inode.lose_part(&mut self.chance, &mut self.counts);
            inode.now = inode.durable.clone();
        }
    }
}

impl Inode {
    /// Keeps any part of what was not synced.
    fn lose_part(&mut self, chance: &mut Chance, counts: &mut Counts) {
        let (old, new) = (self.durable.len(), self.now.len());
        let length = match chance.below(3) {
            0 => old,
            1 => new,
            _ => old.min(new) + chance.below(old.abs_diff(new) as u64 + 1) as usize,
        };
        self.durable.resize(length, 0);
        let whole = chance.below(4);
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            let kept = keep(chance, bytes.len(), whole);
            let lost = kept.iter().filter(|kept| !**kept).count();
            counts.lost_bytes += lost as u64;
            for (at, byte) in bytes.iter().enumerate() {
                if kept[at]
                    && let Some(out) = self.durable.get_mut(offset + at)
                {
                    *out = *byte;
                }
            }
            if chance.percent(10) && !bytes.is_empty() {
                // A sector under the head when the power went.
                let sectors = (offset + bytes.len()).div_ceil(SECTOR) - offset / SECTOR;
                let start = (offset / SECTOR + chance.below(sectors as u64) as usize) * SECTOR;
                let end = (start + SECTOR).min(self.durable.len());
                for byte in self.durable.get_mut(start..end).unwrap_or_default() {
                    *byte = chance.next() as u8;
                }
                counts.garbage_sectors += 1;
            }
        }
    }
}

/// Which of `length` bytes last.
fn keep(chance: &mut Chance, length: usize, whole: u64) -> Vec<bool> {
    let cut = chance.below(length as u64 + 1) as usize;
    match whole {
        0 => return vec![false; length],
        1 => return vec![true; length],
        _ => {}
    }
    match chance.below(7) {
        0 => vec![false; length],
        1 => vec![true; length],
        2 => (0..length).map(|at| at < cut).collect(),
        3 => (0..length).map(|at| at >= cut).collect(),
        4 => {
            let hole = chance.below(64) as usize + 1;
            (0..length).map(|at| at < cut || at >= cut + hole).collect()
        }
        5 => {
            let sector = if chance.percent(50) { 512 } else { SECTOR };
            let sectors: Vec<bool> = (0..=length / sector).map(|_| chance.percent(50)).collect();
            (0..length).map(|at| sectors[at / sector]).collect()
        }
        _ => (0..length).map(|_| chance.percent(50)).collect(),
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let mut world = self.world();
        world.tick_whole(path)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && world.now.get(folder) != Some(&None) {
            return Err(refused(path, "its folder is not there"));
        }
        if world.now.contains_key(path) {
            return Err(refused(path, "it is there already"));
        }
        if world.faults.full_at.is_some_and(|full| world.used() + bytes > full) {
            world.counts.full += 1;
            return Err(StoreError::Full { file: path.into(), offset: 0, bytes });
        }
        let inode = world.next_inode;
        world.next_inode += 1;
        world.inodes.insert(inode, Inode { now: vec![0; bytes as usize], ..Inode::default() });
        let op = NameOp::Create(path.into(), inode);
        apply(&mut world.now, &op);
        world.pending.push(op);
        let epoch = world.epoch;
        Ok(Arc::new(FaultyFile { disk: self.clone(), name: path.into(), inode, epoch }))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        let mut world = self.world();
        world.tick_whole(path)?;
        let Some(Some(inode)) = world.now.get(path).copied() else {
            return Err(refused(path, "it is not there"));
        };
        let epoch = world.epoch;
        Ok(Arc::new(FaultyFile { disk: self.clone(), name: path.into(), inode, epoch }))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut world = self.world();
        world.tick_whole(folder)?;
        let start = if folder.is_empty() { 0 } else { folder.len() + 1 };
        let names = below(&world.now, folder).map(|(path, _)| &path[start..]);
        Ok(names.filter(|name| !name.contains('/')).map(Into::into).collect())
    }

    fn make_folder(&self, folder: &str) -> Result<(), StoreError> {
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for end in ends.collect::<Vec<_>>() {
            let path = &folder[..end];
            {
                let mut world = self.world();
                world.tick_whole(path)?;
                if !world.now.contains_key(path) {
                    let op = NameOp::Create(path.into(), 0);
                    apply(&mut world.now, &op);
                    world.pending.push(op);
                }
            }
            self.sync_folder(path.rsplit_once('/').map_or("", |(above, _)| above))?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut world = self.world();
        world.tick_whole(from)?;
        if !world.now.contains_key(from) {
            return Err(refused(from, "it is not there"));
        }
        let op = NameOp::Rename(from.into(), to.into());
        apply(&mut world.now, &op);
        world.pending.push(op);
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let mut world = self.world();
        world.tick_whole(path)?;
        if world.now.contains_key(path) {
            let op = NameOp::Remove(path.into());
            apply(&mut world.now, &op);
            world.pending.push(op);
        }
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        if below(&self.world().now, folder).next().is_some() {
            return Err(refused(folder, "it is not empty"));
        }
        self.remove(folder)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StoreError> {
        let mut world = self.world();
        world.tick_whole(folder)?;
        let chance = world.faults.failed_sync;
        if world.chance.million(chance) {
            world.counts.failed_syncs += 1;
            return Err(refused(folder, "the sync failed"));
        }
        let chance = world.faults.lost_rename;
        let renames = |op: &NameOp| op.folder() == folder && matches!(op, NameOp::Rename(..));
        let loses = world.pending.iter().any(renames) && world.may_lie() && world.chance.million(chance);
        let pending = std::mem::take(&mut world.pending);
        for op in pending {
            if op.folder() != folder {
                world.pending.push(op);
            } else if loses && matches!(op, NameOp::Rename(..)) {
                world.counts.lost_renames += 1;
            } else {
                apply(&mut world.durable, &op);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let world = self.world();
        Ok(world.faults.full_at.map_or(u64::MAX, |full| full.saturating_sub(world.used())))
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    name: String,
    inode: u64,
    epoch: u64,
}

impl FaultyFile {
    fn world(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        let world = self.disk.world();
        if world.epoch != self.epoch {
            return Err(refused(&self.name, "it was opened before the restart"));
        }
        Ok(world)
    }
}

impl World {
    fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) {
        let Some(inode) = self.inodes.get_mut(&inode) else { return };
        let end = offset + bytes.len();
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[offset..end].copy_from_slice(bytes);
        inode.unsynced.push((offset, bytes.to_vec()));
    }

    fn misdirect(&mut self, inode: u64, bytes: &[u8]) {
        let others: Vec<u64> = self.now.values().flatten().copied().collect();
        let target = match others.len() as u64 {
            count if count > 0 && self.chance.percent(40) => others[self.chance.below(count) as usize],
            _ => inode,
        };
        let Some(target) = self.inodes.get_mut(&target) else { return };
        let places = target.now.len().saturating_sub(bytes.len()) / 512 + 1;
        let start = self.chance.below(places as u64) as usize * 512;
        for file in [&mut target.now, &mut target.durable] {
            let end = (start + bytes.len()).min(file.len());
            if start < end {
                file[start..end].copy_from_slice(&bytes[..end - start]);
            }
        }
    }
}

impl DiskFile for FaultyFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        let mut world = self.world()?;
        world.tick_whole(&self.name)?;
        let now = world.inodes.get(&self.inode).map_or(&[][..], |inode| &inode.now);
        let rest = now.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut world = self.world()?;
        let stops = world.tick(&self.name)?;
        let world = &mut *world;
        world.counts.writes += 1;
        let length = world.inodes.get(&self.inode).map_or(0, |inode| inode.now.len() as u64);
        let grows = (offset + bytes.len() as u64).saturating_sub(length);
        if grows > 0 && world.faults.full_at.is_some_and(|full| world.used() + grows > full) {
            world.counts.full += 1;
            let (file, bytes) = (self.name.clone(), bytes.len() as u64);
            return Err(StoreError::Full { file, offset, bytes });
        }
        let fails = world.chance.million(world.faults.write_error);
        if stops || fails {
            let part = world.chance.below(bytes.len() as u64 + 1) as usize;
            world.write(self.inode, offset as usize, &bytes[..part]);
            world.counts.write_errors += u64::from(fails);
            return Err(refused(&self.name, "the write failed"));
        }
        let may_lie = world.may_lie();
        if may_lie && world.chance.million(world.faults.misdirected) {
            world.counts.misdirected += 1;
            world.misdirect(self.inode, bytes);
            return Ok(());
        }
        if may_lie && world.chance.million(world.faults.torn_write) {
            world.counts.torn_writes += 1;
            let cut = world.chance.below(bytes.len() as u64 + 1) as usize / 512 * 512;
            world.write(self.inode, offset as usize, &bytes[..cut]);
            return Ok(());
        }
        world.write(self.inode, offset as usize, bytes);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut world = self.world()?;
        world.tick_whole(&self.name)?;
        let world = &mut *world;
        world.counts.syncs += 1;
        let fails = world.chance.million(world.faults.failed_sync);
        let Some(inode) = world.inodes.get_mut(&self.inode) else { return Ok(()) };
        if fails {
            world.counts.failed_syncs += 1;
            let now = inode.now.clone();
            inode.lose_part(&mut world.chance, &mut world.counts);
            inode.now = now;
            return Err(refused(&self.name, "the sync failed"));
        }
        inode.durable.resize(inode.now.len(), 0);
        for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
            let end = (offset + bytes.len()).min(inode.durable.len());
            if offset < end {
                inode.durable[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let world = self.world()?;
        Ok(world.inodes.get(&self.inode).map_or(0, |inode| inode.now.len() as u64))
    }

    fn truncate(&self, bytes: u64) -> Result<(), StoreError> {
        let mut world = self.world()?;
        world.tick_whole(&self.name)?;
        if let Some(inode) = world.inodes.get_mut(&self.inode) {
            inode.now.truncate(bytes as usize);
        }
        Ok(())
    }
}
