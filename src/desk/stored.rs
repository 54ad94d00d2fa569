//! The journal on a disk: one segmented log, and its successor where it is compacted.
//!
//! Each generation is a folder of its own below the journal's, named by its number. A successor is
//! written whole under another name, made final, and only then renamed; so whatever a crash leaves, the
//! highest number is whole and all others are remains. Invariant: after `commit` all that was appended
//! is visible, which is more than synced: a synced seal names it.

use std::sync::Arc;

use super::Policies;
use super::journal::{JournalView, RecordError, RecoverError, Recovered, Recovery, compacted};
use super::live::{JournalFile, Room};
use crate::limits::{JOURNAL_READ_BYTES, JOURNAL_SEGMENT_BYTES};
use crate::planted::{self, Defect};
use crate::store::{Disk, LogOptions, LogReader, OpenReport, SegmentedLog, StoreError};

/// Why the journal could not be opened or written anew.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The disk, or damage on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that does not fit.
    #[error("{0}; the journal was not changed: restore it, or start the version that wrote it")]
    Recover(#[from] RecoverError),
    /// A record that cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The ending of a folder that is being written.
const UNFINISHED: &str = ".new";
/// What a group takes beside its records: its seal, up to a sector, and the seal after it.
const GROUP_COST: u64 = 3 * 4_096;

/// A journal in a folder of a [`Disk`].
pub struct StoredJournal {
    disk: Arc<dyn Disk>,
    folder: String,
    generation: u64,
    options: LogOptions,
    log: SegmentedLog,
    /// Bytes left in the segment in use, at least.
    left: u64,
    had_spare: bool,
    /// Bytes appended since the last commit.
    appended: u64,
}

impl StoredJournal {
    /// How a journal is kept; `id` is random: it names what is made by this start.
    pub fn options(id: u64) -> LogOptions {
        LogOptions { id, segment_bytes: JOURNAL_SEGMENT_BYTES, ..LogOptions::default() }
    }

    /// Opens the journal in `folder`, or makes it, and reads it back.
    ///
    /// # Errors
    /// Where it cannot be read to its end as it was written: the start must stop.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &str,
        options: LogOptions,
        policies: Policies,
    ) -> Result<(Self, Recovered, OpenReport), StoredError> {
        disk.make_folder(folder)?;
        let names = disk.list(folder)?;
        let generation = names.iter().filter_map(|name| name.parse::<u64>().ok()).max();
        let old = |name: &&String| {
            name.parse::<u64>().map_or(name.ends_with(UNFINISHED), |of| Some(of) < generation)
        };
        if names.iter().any(|name| old(&name)) && !planted::on(Defect::RenameNotAdopted) {
            // The newest may have its name only until the power goes.
            disk.sync_folder(folder)?;
        }
        names.iter().filter(old).try_for_each(|name| remove(&*disk, folder, name))?;
        let generation = generation.unwrap_or(0);
        let (log, report) = open_log(&disk, &format!("{folder}/{generation}"), options, generation)?;
        disk.sync_folder(folder)?;
        let mut recovery = Recovery::new(policies);
        for record in records(log.reader()) {
            let (kind, payload) = record?;
            recovery.record(kind, &payload)?;
        }
        let mut journal = Self {
            disk,
            folder: folder.into(),
            generation,
            options,
            log,
            left: 0,
            had_spare: false,
            appended: 0,
        };
        journal.opened()?;
        Ok((journal, recovery.finish(), report))
    }

    /// A log was opened, which begins a segment. What it needed of it for the tail that it copied is small.
    fn opened(&mut self) -> Result<(), StoreError> {
        self.left = self.options.segment_bytes / 2;
        self.had_spare = self.log.prepare()?;
        Ok(())
    }

    /// Takes a record into the group that the next [`flush`](Self::flush) makes durable.
    pub(crate) fn put(&mut self, kind: u8, payload: &[u8]) -> Result<(), StoreError> {
        if !self.log.fits(payload.len()) {
            self.flush()?;
        }
        let number = self.log.next();
        self.log.append(kind, number, number + 1, &[payload])?;
        self.appended += payload.len() as u64 + 128;
        Ok(())
    }

    /// Makes durable and final what was put.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let before = self.log.bytes();
        self.log.seal()?;
        let rolled = (self.had_spare && !self.log.has_spare()) || self.log.bytes() > before;
        let used = self.appended + GROUP_COST;
        self.left = if rolled { self.options.segment_bytes } else { self.left }.saturating_sub(used);
        self.appended = 0;
        self.had_spare = self.log.prepare()?;
        Ok(())
    }

    /// Reserves the spare segment where there is none; a full disk is no error.
    pub(crate) fn reserve(&mut self) -> Result<(), StoreError> {
        self.had_spare = self.log.prepare()?;
        Ok(())
    }

    /// What is visible of it.
    #[cfg(test)]
    pub(crate) fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// Writes the journal anew where the disk has room for it beside this one. Nothing is put and not flushed.
    pub(crate) fn compact_to(&mut self, view: &JournalView) -> Result<(), StoredError> {
        // The two logs stand side by side, each with what it reserves.
        let needed = self.log.bytes() + 2 * self.options.segment_bytes;
        let full = !self.log.has_spare() || self.disk.free_bytes()? < needed;
        if full && !planted::on(Defect::CompactsFullDisk) {
            return Ok(());
        }
        self.successor(view)
    }

    fn successor(&mut self, view: &JournalView) -> Result<(), StoredError> {
        let generation = self.generation + 1;
        let (name, old) = (format!("{generation}{UNFINISHED}"), self.generation.to_string());
        let path = format!("{}/{name}", self.folder);
        remove(&*self.disk, &self.folder, &name)?;
        let (mut log, _) = open_log(&self.disk, &path, self.options, generation)?;
        let old_records = records(self.log.reader()).map(|read| read.map_err(StoredError::from));
        for record in compacted(old_records, view) {
            let (kind, payload) = record?;
            if !log.fits(payload.len()) {
                log.sync()?;
            }
            let number = log.next();
            log.append(kind, number, number + 1, &[&payload])?;
        }
        log.seal()?;
        drop(log);
        let path_of = |name: &str| format!("{}/{name}", self.folder);
        if planted::on(Defect::OldJournalGoesFirst) {
            remove(&*self.disk, &self.folder, &old)?;
        }
        self.disk.rename(&path, &path_of(&generation.to_string()))?;
        // The old one goes only after this name lasts. Opening makes it last, too, so a power cut cannot show
        // that this is missing.
        self.disk.sync_folder(&self.folder)?;
        let (log, _) = open_log(&self.disk, &path_of(&generation.to_string()), self.options, generation)?;
        (self.log, self.generation) = (log, generation);
        self.opened()?;
        remove(&*self.disk, &self.folder, &old)?;
        Ok(())
    }
}

fn open_log(
    disk: &Arc<dyn Disk>,
    path: &str,
    options: LogOptions,
    generation: u64,
) -> Result<(SegmentedLog, OpenReport), StoreError> {
    // An odd factor: another name for each generation.
    let id = options.id ^ generation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    SegmentedLog::open(Arc::clone(disk), path, LogOptions { id, ..options })
}

/// Removes a generation, where it is there.
fn remove(disk: &dyn Disk, folder: &str, name: &str) -> Result<(), StoreError> {
    let path = format!("{folder}/{name}");
    for file in disk.list(&path)? {
        disk.remove(&format!("{path}/{file}"))?;
    }
    disk.remove_folder(&path)?;
    disk.sync_folder(folder)
}

/// All records that are visible, in order; ends after an error.
fn records(reader: LogReader) -> impl Iterator<Item = Result<(u8, Vec<u8>), StoreError>> {
    let mut next = reader.first();
    let mut read = Vec::new().into_iter();
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let record: crate::store::RecordBytes = match read.next() {
            Some(record) => record,
            None => match reader.read(next, JOURNAL_READ_BYTES) {
                Ok(more) => {
                    read = more.into_iter();
                    read.next()?
                }
                Err(why) => {
                    failed = true;
                    return Some(Err(why));
                }
            },
        };
        next = record.next;
        Some(Ok((record.kind, record.payload.to_vec())))
    })
}

impl JournalFile for StoredJournal {
    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        self.put(kind, payload).map_err(|why| why.to_string())
    }

    fn commit(&mut self) -> Result<(), String> {
        self.flush().map_err(|why| why.to_string())
    }

    fn room(&self) -> Room {
        // Half of what is surely there, because a group is rounded up. Without a spare segment the disk is
        // full: the rest of the one in use is for what cannot be refused.
        let whole = self.options.segment_bytes / 2;
        if self.log.has_spare() {
            Room { new: whole, standing: whole }
        } else {
            Room { new: 0, standing: self.left / 2 }
        }
    }

    fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn make_room(&mut self) -> Result<(), String> {
        self.reserve().map_err(|why| why.to_string())
    }

    fn compact(&mut self, view: &JournalView) -> Result<(), String> {
        self.compact_to(view).map_err(|why| why.to_string())
    }
}
