//! What is kept on the disk: syncs, bytes, snapshots, recovery. The store records into it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::latency::{Latency, LatencySums};
use super::lock;

/// A kind of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Log {
    /// The action journal.
    Actions = 0,
    /// The match log of a namespace, by the namespace's number.
    Matches = 1,
    /// The ping log of a partition, by the partition's number.
    Pings = 2,
}

impl Log {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Actions, Self::Matches, Self::Pings];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Matches => "matches",
            Self::Pings => "pings",
        }
    }
}

#[derive(Debug, Default)]
struct Syncs {
    latency: Latency,
    bytes: AtomicU64,
    failed: AtomicU64,
}

/// Syncs of one kind of log, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncSums {
    /// How many, and how long they took.
    pub latency: LatencySums,
    /// What they wrote.
    pub bytes: u64,
    /// How many failed; each ends the process.
    pub failed: u64,
}

/// Snapshots and recovery, as read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotSums {
    /// Snapshots taken.
    pub taken: u64,
    /// Snapshots that came to nothing.
    pub failed: u64,
    /// When the newest counted, Unix milliseconds; 0: none. Set at recovery too.
    pub newest_at_ms: i64,
    /// How long the newest took to write.
    pub took: Duration,
    /// Its bytes.
    pub bytes: u64,
    /// How long the start's recovery took.
    pub recovery: Duration,
    /// Bytes of torn tails that the start cut off: never synced, so never promised.
    pub torn_bytes: u64,
}

/// What is kept on the disk.
#[derive(Debug, Default)]
pub struct Storage {
    syncs: [Syncs; Log::ALL.len()],
    bytes: Mutex<BTreeMap<(Log, usize), u64>>,
    snapshots: Mutex<SnapshotSums>,
    refused: super::Tally,
}

impl Storage {
    /// A group of a log is synced.
    pub fn synced(&self, log: Log, took: Duration, bytes: u64) {
        let syncs = &self.syncs[log as usize];
        syncs.latency.record(took);
        syncs.bytes.fetch_add(bytes, Relaxed);
    }

    /// A sync failed: tell [`Health::fatal`](super::Health::fatal) too.
    pub fn sync_failed(&self, log: Log) {
        self.syncs[log as usize].failed.fetch_add(1, Relaxed);
    }

    /// What a log takes on the disk now; `of`: the namespace's or partition's number, else 0.
    pub fn log_bytes(&self, log: Log, of: usize, bytes: u64) {
        lock(&self.bytes).insert((log, of), bytes);
    }

    /// A snapshot counts from now on.
    pub fn snapshot_taken(&self, at_ms: i64, took: Duration, bytes: u64) {
        let mut sums = lock(&self.snapshots);
        sums.taken += 1;
        (sums.newest_at_ms, sums.took, sums.bytes) = (at_ms, took, bytes);
    }

    /// A snapshot came to nothing.
    pub fn snapshot_failed(&self) {
        lock(&self.snapshots).failed += 1;
    }

    /// The start found this: the newest snapshot's time (`None`: there was none) and bytes, how long
    /// recovery took, and bytes of torn tails.
    pub fn recovered(&self, snapshot_at_ms: Option<i64>, bytes: u64, took: Duration, torn_bytes: u64) {
        let mut sums = lock(&self.snapshots);
        (sums.newest_at_ms, sums.bytes) = (snapshot_at_ms.unwrap_or(0), bytes);
        (sums.recovery, sums.torn_bytes) = (took, torn_bytes);
    }

    /// Something was refused for want of room on the disk, such as `pings` or `alerts`.
    pub fn refused(&self, what: &'static str) {
        self.refused.count(what, "disk_full");
    }

    /// Syncs of a kind of log.
    pub fn sync_sums(&self, log: Log) -> SyncSums {
        let syncs = &self.syncs[log as usize];
        SyncSums {
            latency: syncs.latency.sums(),
            bytes: syncs.bytes.load(Relaxed),
            failed: syncs.failed.load(Relaxed),
        }
    }

    /// Bytes on the disk of all logs of a kind.
    pub fn bytes_of(&self, log: Log) -> u64 {
        lock(&self.bytes).range((log, 0)..=(log, usize::MAX)).map(|(_, bytes)| bytes).sum()
    }

    /// Snapshots and recovery.
    pub fn snapshot_sums(&self) -> SnapshotSums {
        *lock(&self.snapshots)
    }

    /// What was refused for want of room on the disk.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused.all().into_iter().map(|((what, _), count)| (what, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_a_kind_add_up_and_the_newest_size_stands() {
        let storage = Storage::default();
        for (log, of, bytes) in
            [(Log::Matches, 0, 5), (Log::Matches, 7, 8), (Log::Matches, 0, 6), (Log::Pings, 0, 1)]
        {
            storage.log_bytes(log, of, bytes);
        }
        assert_eq!(Log::ALL.map(|log| storage.bytes_of(log)), [0, 14, 1]);
        storage.synced(Log::Actions, Duration::from_millis(2), 4_096);
        storage.synced(Log::Actions, Duration::from_millis(2), 4_096);
        storage.sync_failed(Log::Matches);
        let sums = Log::ALL.map(|log| storage.sync_sums(log));
        assert_eq!(
            sums.map(|sums| (sums.latency.count(), sums.bytes, sums.failed)),
            [(2, 8_192, 0), (0, 0, 1), (0, 0, 0)]
        );
    }
}
