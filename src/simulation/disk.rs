//! What the world's server keeps on its disk: the journal of actions, a match log a namespace,
//! snapshots; and how they are opened, with small segments and groups.

use std::sync::Arc;

use crate::desk::{Journal, JournalError, Mark, Need};
use crate::store::faulty::FaultyDisk;
use crate::store::{Disk, LogOptions, LogReader, RecordBytes, SegmentedLog, SnapshotFolder, StoreError};

pub(super) const MATCHES: u8 = 1;

/// The open files of a process.
pub(super) struct Files {
    pub(super) journal: SegmentedLog,
    /// By namespace.
    pub(super) logs: Vec<SegmentedLog>,
    pub(super) snapshots: SnapshotFolder,
    /// Marks of the desk's records and the journal's number after each.
    marks: Vec<(Mark, u64)>,
    /// Records that do not fit into a group; a sync comes before them.
    pub(super) failed: Option<StoreError>,
    pub(super) torn: usize,
    pub(super) copied: usize,
}

fn options(id: u64) -> LogOptions {
    LogOptions { id, group_bytes_max: 12 << 10, segment_bytes: 0, ..LogOptions::default() }
}

impl Files {
    pub(super) fn open(disk: &FaultyDisk, namespaces: usize) -> Result<Self, StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut torn, mut copied) = (0, 0);
        let mut open = |folder: &str, id| {
            let (log, report) = SegmentedLog::open(Arc::clone(&disk), folder, options(id))?;
            torn += usize::from(report.torn.is_some());
            copied += report.copied;
            Ok::<_, StoreError>(log)
        };
        let journal = open("actions", 1)?;
        let mut logs = Vec::new();
        for ns in 0..namespaces {
            logs.push(open(["matches/north", "matches/south"][ns], 10 + ns as u64)?);
        }
        let snapshots = SnapshotFolder::open(Arc::clone(&disk), "snapshots")?;
        let mut files = Self { journal, logs, snapshots, marks: Vec::new(), failed: None, torn, copied };
        files.journal.prepare()?;
        for log in &mut files.logs {
            log.prepare()?;
        }
        Ok(files)
    }

    /// Appends to the journal, after a sync where the group is full.
    pub(super) fn append_journal(&mut self, kind: u8, payload: &[u8]) -> Result<u64, StoreError> {
        if !self.journal.fits(payload.len()) {
            self.journal.sync()?;
        }
        let no = self.journal.next();
        self.journal.append(kind, no, no + 1, &[payload])?;
        Ok(no + 1)
    }

    /// Up to which mark the desk's records are visible.
    pub(super) fn durable(&mut self) -> Mark {
        let visible = self.journal.visible();
        let durable = self.marks.iter().filter(|(_, after)| *after <= visible).map(|(mark, _)| *mark).max();
        self.marks.retain(|(_, after)| *after > visible);
        durable.unwrap_or_default()
    }
}

impl Journal for Files {
    fn admit(&mut self, need: Need, _: usize) -> Result<(), JournalError> {
        // Without a spare segment the disk is full: what is left is for alerts that stand.
        if need == Need::New && !self.journal.has_spare() {
            return Err(JournalError::Full);
        }
        Ok(())
    }

    fn append(&mut self, mark: Mark, kind: u8, payload: Vec<u8>) {
        match self.append_journal(kind, &payload) {
            Ok(after) => self.marks.push((mark, after)),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// All visible records from `from` on.
pub(super) fn read_all(reader: &LogReader, from: u64) -> Result<Vec<RecordBytes>, StoreError> {
    let (mut all, mut next) = (Vec::new(), from.max(reader.first()));
    loop {
        let some = reader.read(next, 1 << 20)?;
        let Some(last) = some.last() else { return Ok(all) };
        next = last.next;
        all.extend(some);
    }
}
