//! What the world's server keeps on its disk: the journal of actions, a match log a namespace,
//! snapshots; and how they are opened, with small segments and groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desk::{
    Journal, JournalError, JournalFile, JournalView, Mark, Need, Policies, Record, Recovered, Room,
    StoredError, StoredJournal,
};
use crate::domain::CursorAt;
use crate::limits::JOURNAL_RECORD_COST;
use crate::store::faulty::FaultyDisk;
use crate::store::{Disk, LogOptions, LogReader, RecordBytes, SegmentedLog, SnapshotFolder, StoreError};

pub(super) const MATCHES: u8 = 1;
/// Length of the journal's segments, bytes: half of one takes two groups.
pub(super) const JOURNAL_SEGMENT: u64 = 96 << 10;

/// The open files of a process.
pub(super) struct Files {
    pub(super) journal: StoredJournal,
    /// By namespace.
    pub(super) logs: Vec<SegmentedLog>,
    pub(super) snapshots: SnapshotFolder,
    /// Records that wait for the disk, with their marks.
    waiting: Vec<(Mark, u8, Vec<u8>)>,
    /// As of the last commit.
    room: Room,
    durable: Mark,
    /// The written cursors, by partner.
    cursors: BTreeMap<Arc<str>, CursorAt>,
    pub(super) torn: usize,
    pub(super) copied: usize,
}

pub(super) fn options(id: u64) -> LogOptions {
    LogOptions { id, group_bytes_max: 5 << 10, segment_bytes: 0, ..LogOptions::default() }
}

impl Files {
    /// Opens, or makes, all of it; `id` names what is made.
    pub(super) fn open(
        disk: &FaultyDisk,
        namespaces: usize,
        id: u64,
    ) -> Result<(Self, Recovered), StoredError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let of_journal =
            LogOptions { segment_bytes: JOURNAL_SEGMENT, group_bytes_max: 12 << 10, ..options(id) };
        let opened = StoredJournal::open(Arc::clone(&disk), "actions", of_journal, Policies::new())?;
        let (journal, recovered, report) = opened;
        let (mut torn, mut copied) = (usize::from(report.torn.is_some()), report.copied);
        let mut logs = Vec::new();
        for ns in 0..namespaces {
            let folder = ["matches/north", "matches/south"][ns];
            let (mut log, report) =
                SegmentedLog::open(Arc::clone(&disk), folder, options(id ^ (10 + ns as u64)))?;
            torn += usize::from(report.torn.is_some());
            copied += report.copied;
            log.prepare()?;
            logs.push(log);
        }
        let snapshots = SnapshotFolder::open(Arc::clone(&disk), "snapshots")?;
        let cursors = recovered.cursors.iter().map(|held| (Arc::clone(&held.partner), held.clone()));
        let (waiting, durable, room) = (Vec::new(), Mark::default(), journal.room());
        let cursors = cursors.collect();
        let files = Self { journal, logs, snapshots, waiting, room, durable, cursors, torn, copied };
        Ok((files, recovered))
    }

    /// What the thread of the journal does in a turn: says whether cursors were written too.
    pub(super) fn commit(&mut self, moved: Vec<CursorAt>) -> Result<bool, StoreError> {
        if !self.journal.room().takes_cursors() {
            self.journal.reserve()?;
        }
        let with_cursors = self.journal.room().takes_cursors();
        let mut mark = self.durable;
        let mut any = with_cursors && !moved.is_empty();
        for (after, kind, payload) in std::mem::take(&mut self.waiting) {
            self.journal.put(kind, &payload)?;
            (mark, any) = (after, true);
        }
        if with_cursors {
            for cursor in moved {
                let (kind, payload) = Record::Cursor(cursor.clone()).encode().unwrap();
                self.journal.put(kind, &payload)?;
                self.cursors.insert(Arc::clone(&cursor.partner), cursor);
            }
        }
        if any {
            self.journal.flush()?;
        }
        (self.room, self.durable) = (self.journal.room(), mark);
        Ok(with_cursors)
    }

    /// Whether records wait for the disk.
    pub(super) fn journal_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The cursors that are written.
    pub(super) fn written_cursors(&self) -> Vec<CursorAt> {
        self.cursors.values().cloned().collect()
    }

    /// Writes the journal anew; nothing waits.
    pub(super) fn compact(&mut self, view: &JournalView) -> Result<(), StoreError> {
        let done = self.journal.compact_to(view);
        self.room = self.journal.room();
        match done {
            Ok(()) => Ok(()),
            Err(StoredError::Store(why)) => Err(why),
            Err(why) => panic!("the journal cannot be written anew: {why}"),
        }
    }

    /// Up to which mark the desk's records are visible.
    pub(super) fn durable(&self) -> Mark {
        self.durable
    }

    /// Bytes that wait for the journal's disk, as they count.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting.iter().map(|(_, _, payload)| (payload.len() + JOURNAL_RECORD_COST) as u64).sum()
    }

    /// The journal's room.
    pub(super) fn room(&self) -> Room {
        self.room
    }
}

impl Journal for Files {
    fn admit(&mut self, need: Need, bytes: usize) -> Result<(), JournalError> {
        self.room.admit(need, bytes, self.waiting_bytes())
    }

    fn append(&mut self, mark: Mark, kind: u8, payload: Vec<u8>) {
        self.waiting.push((mark, kind, payload));
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
