//! A log in memory, with the calls of the store's.

use super::dice::Dice;

/// A record: kind, first and next number, bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimLog {
    records: Vec<Record>,
    buffered: Vec<Record>,
    /// Records that are synced, and that a synced seal names.
    synced: usize,
    sealed: usize,
}

impl SimLog {
    pub(super) fn append(&mut self, kind: u8, first: u64, next: u64, payload: &[u8]) {
        debug_assert_eq!(first, self.next());
        self.buffered.push(Record { kind, first, next, payload: payload.to_vec() });
    }

    /// The number that the next record begins with.
    pub(super) fn next(&self) -> u64 {
        self.buffered.last().or(self.records.last()).map_or(0, |record| record.next)
    }

    pub(super) fn sync(&mut self) {
        self.sealed = self.synced;
        self.records.append(&mut self.buffered);
        self.synced = self.records.len();
    }

    pub(super) fn seal(&mut self) {
        self.sealed = self.synced;
    }

    pub(super) fn visible(&self) -> u64 {
        self.records[..self.sealed].last().map_or(0, |record| record.next)
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Records appended and not synced.
    pub(super) fn unsynced(&self) -> usize {
        self.buffered.len()
    }

    /// The crash happens while a group is written: some of it reached the disk.
    pub(super) fn crash(&mut self, dice: &mut Dice, in_sync: bool) {
        let kept = if in_sync { dice.below(self.buffered.len() + 1) } else { 0 };
        self.buffered.truncate(kept);
        self.records.append(&mut self.buffered);
        // The next open copies what no seal names, and syncs it.
        self.synced = self.records.len();
        self.sealed = self.synced;
    }
}
