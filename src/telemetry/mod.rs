//! What an engine counts about itself, for whoever watches it.
//!
//! Counters, gauges and histograms, and nothing else: no room decides anything by what stands
//! here, and `http/` only prints it. Everything is a relaxed atomic; what the ping path touches is
//! a partition's own cache line, and it is touched once a batch, never once a ping. The engine
//! returns counts and does not know this room.
//!
//! Invariants: labels are namespaces, partners that are connected, and words of the code, so that
//! their number is bounded; nothing here is about one device, nor about a place.

mod bounds;
mod health;
mod latency;
mod partition;
mod sessions;
mod storage;
mod tally;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use bounds::{Bound, Bounds};
pub use health::{Health, NotReady, Phase};
pub use latency::{FirstMatches, Latency, LatencySums};
pub use partition::{Share, ShareSums};
pub use sessions::{Seat, SessionKind, SessionView, Sessions};
pub use storage::{Log, SnapshotSums, Storage, SyncSums};
pub use tally::Tally;

use crate::domain::Namespace;

/// How a namespace's match log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogView {
    /// The oldest offset held.
    pub earliest: u64,
    /// The offset that the next match will get.
    pub end: u64,
    /// Bytes in memory.
    pub bytes: u64,
}

type LogWatch = Box<dyn Fn(usize) -> LogView + Send + Sync>;

/// All figures of one engine.
pub struct Telemetry {
    namespaces: Vec<Namespace>,
    started: Instant,
    started_at: SystemTime,
    shares: Vec<Box<[Share]>>,
    /// By partition; the last is of the threads that hand batches over.
    batches_applied: Vec<Latency>,
    /// By namespace: batches taken from sources.
    batches: Vec<AtomicU64>,
    log: Mutex<Option<LogWatch>>,
    /// What can fill, and how full it is.
    pub bounds: Bounds,
    /// An action of an authority: from the request to where all partitions were told.
    pub action_told: Latency,
    /// An alert's first match: from where the partitions are told to where a match is handed on.
    pub first_match: FirstMatches,
    /// A match: from its append to the log to where it was written to a partner's stream.
    pub match_sent: Latency,
    /// The open sessions of the doors.
    pub sessions: Sessions,
    /// Actions by kind (`publish`, ...) and what became of them (`accepted`, ...).
    pub actions: Tally,
    /// Ended sessions by kind and code.
    pub sessions_ended: Tally,
    /// Refused connections by door and reason.
    pub connections_refused: Tally,
    /// What is kept on the disk.
    pub storage: Storage,
    /// Whether the engine serves.
    pub health: Health,
}

impl Telemetry {
    /// Nothing counted yet, for an engine with these namespaces and partitions.
    pub fn new(namespaces: impl IntoIterator<Item = Namespace>, partitions: u32) -> Arc<Self> {
        let namespaces: Vec<Namespace> = namespaces.into_iter().collect();
        let shares = |_| namespaces.iter().map(|_| Share::default()).collect();
        Arc::new(Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            shares: (0..partitions).map(shares).collect(),
            batches_applied: (0..=partitions).map(|_| Latency::default()).collect(),
            batches: namespaces.iter().map(|_| AtomicU64::new(0)).collect(),
            log: Mutex::default(),
            bounds: Bounds::default(),
            action_told: Latency::default(),
            first_match: FirstMatches::default(),
            match_sent: Latency::default(),
            sessions: Sessions::default(),
            actions: Tally::default(),
            sessions_ended: Tally::default(),
            connections_refused: Tally::default(),
            storage: Storage::default(),
            health: Health::default(),
            namespaces,
        })
    }

    /// The namespaces, by number.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// How long this process counts, and since when.
    pub fn uptime(&self) -> (Duration, SystemTime) {
        (self.started.elapsed(), self.started_at)
    }

    /// The counters of one partition's share of a namespace; `None` where there is none such.
    pub fn share(&self, partition: u32, namespace: usize) -> Option<&Share> {
        self.shares.get(partition as usize)?.get(namespace)
    }

    /// A namespace over all partitions.
    pub fn namespace_sums(&self, namespace: usize) -> ShareSums {
        let shares = self.shares.iter().filter_map(|shares| shares.get(namespace));
        shares.fold(ShareSums::default(), |sums, share| sums.plus(share))
    }

    /// A batch was taken from a source.
    pub fn batch_taken(&self, namespace: usize) {
        if let Some(batches) = self.batches.get(namespace) {
            batches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Batches taken of a namespace.
    pub fn batches(&self, namespace: usize) -> u64 {
        self.batches.get(namespace).map_or(0, |batches| batches.load(Ordering::Relaxed))
    }

    /// A batch is applied as a whole, so long after its receipt; told by the partition that applied
    /// its last part, or by whoever handed the batch over (`None`).
    pub fn batch_applied(&self, partition: Option<u32>, took: Duration) {
        let last = self.batches_applied.len() - 1;
        let slot = partition.map_or(last, |partition| (partition as usize).min(last));
        if let Some(latency) = self.batches_applied.get(slot) {
            latency.record(took);
        }
    }

    /// How long batches took from receipt to applied, over all partitions.
    pub fn batch_applied_sums(&self) -> LatencySums {
        self.batches_applied.iter().fold(LatencySums::default(), |sums, each| sums.plus(&each.sums()))
    }

    /// Who says how a namespace's match log stands; asked at each scrape.
    pub fn watch_logs(&self, view: impl Fn(usize) -> LogView + Send + Sync + 'static) {
        *lock(&self.log) = Some(Box::new(view));
    }

    /// How a namespace's match log stands.
    pub fn log_view(&self, namespace: usize) -> LogView {
        lock(&self.log).as_ref().map_or_else(LogView::default, |view| view(namespace))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

/// Locks; what a panicking holder left is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
