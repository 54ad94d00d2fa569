//! What of an engine outlives its process: it opens the data folder and recovers, keeps matches before
//! anybody is shown them, pings where that is asked for, and takes snapshots while pings go on.
//!
//! An action is kept by the desk's own journal (`desk`); here are the match logs and the device
//! tables. Invariant: a snapshot counts only once the match logs show all that was found before it
//! began, and a log loses only what two snapshots and the partners' cursors do not need.
//!
//! What it never does: decide about an alert or a match.

#[cfg(test)]
mod full_disk;
pub(crate) mod pings;
pub(crate) mod recover;
pub(crate) mod snapshots;
pub(crate) mod sources;
#[cfg(test)]
mod upgrade;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::{Delivery, LagLimits, Ticks};
use crate::desk::{Desk, Policies, StoredError, StoredJournal};
use crate::domain::{EventTime, Offset};
use crate::engine::SnapshotError;
use crate::limits::{LOG_SEGMENT_BYTES, SNAPSHOTS_KEPT};
use crate::runtime::{Keeping, MatchSink, NamespaceIx, Runtime, RuntimeConfig, Sources};
use crate::store::{Disk, LogOptions, OpenReport, RealDisk, SegmentedLog, SnapshotFolder, StoreError};
use crate::telemetry::{Log, Telemetry};
use crate::wire::SafeBasis;

use pings::{PingLogs, Shelf};
use recover::How;
use snapshots::Snapshots;
use sources::SourcesLog;
use writer::Writer;

/// Why a data folder gives no engine. The start stops, and nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The action journal.
    #[error(transparent)]
    Journal(#[from] StoredError),
    /// The disk, or damage on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot whose bytes are whole and make no device table.
    #[error(
        "snapshot {number}, file {file}: {why}; remove that snapshot's folder to start from the one before"
    )]
    Snapshot {
        /// Its number.
        number: u64,
        /// The file.
        file: String,
        /// Why.
        why: SnapshotError,
    },
    /// A log that no snapshot leads up to.
    #[error(
        "the match log of {namespace} begins at offset {first}, and no snapshot holds whom it notified before: restore one, or the whole folder from a backup"
    )]
    LogTrimmed {
        /// The namespace.
        namespace: String,
        /// Its oldest offset.
        first: u64,
    },
    /// Logs and snapshots that do not belong together.
    #[error(
        "snapshot {number} rests on matches that the log of {namespace} does not have: restore both from one backup"
    )]
    LogBehind {
        /// The snapshot's number.
        number: u64,
        /// The namespace.
        namespace: String,
    },
    /// A snapshot that knows more actions than the journal has: the journal's end was lost, where no
    /// torn tail could have been (a disk that wrote over it, a journal of another backup).
    #[error(
        "snapshot {number} rests on {snapshot} actions, and the journal has {journal}: restore both from one backup"
    )]
    JournalBehind {
        /// The snapshot's number.
        number: u64,
        /// Actions that its partitions had carried out.
        snapshot: u64,
        /// Actions in the journal.
        journal: u64,
    },
    /// A ping log that does not reach what a snapshot names.
    #[error(
        "snapshot {number} goes on at entry {entry} of the ping log of partition {partition}, which has {first} to {next}: restore both from one backup"
    )]
    PingLog {
        /// The snapshot's number.
        number: u64,
        /// The partition.
        partition: u32,
        /// Where the snapshot's partition goes on.
        entry: u64,
        /// The log's oldest entry.
        first: u64,
        /// The number after its newest.
        next: u64,
    },
    /// Threads.
    #[error("the threads of the partitions, or of what is kept: {0}")]
    Threads(#[from] std::io::Error),
}

impl KeepError {
    /// Whether something that was kept cannot be read as it was written.
    fn is_damage(&self) -> bool {
        match self {
            // What a later version wrote is whole.
            Self::Snapshot { why, .. } => !matches!(why, SnapshotError::Version(_)),
            Self::Store(why) => why.is_damage(),
            _ => false,
        }
    }
}

/// An engine that goes on where its data folder ends.
pub struct Started {
    /// Takes pings.
    pub runtime: Runtime,
    /// Takes actions.
    pub desk: Arc<Desk>,
    /// Gives matches.
    pub delivery: Arc<Delivery>,
    /// Keeps it.
    pub keeper: Keeper,
}

/// What keeps a running engine.
pub struct Keeper {
    writer: Writer,
    pings: Option<PingLogs>,
    snapshots: Snapshots,
}

/// What is to be started.
pub struct Setup {
    /// The partitions and namespaces; on the wall clock.
    pub runtime: RuntimeConfig,
    /// The authority's named policies.
    pub policies: Policies,
    /// How far partners may lag.
    pub lag: LagLimits,
    /// Whether all pings are kept in logs, too.
    pub durable_pings: bool,
    /// How often a snapshot is taken.
    pub snapshot_every: Duration,
    /// Made for the namespaces and partitions.
    pub telemetry: Arc<Telemetry>,
    /// Gets a line where something fatal happened: the process has to end at once.
    pub fatal: UnboundedSender<String>,
}

/// Opens a data folder, which this process then holds, recovers what is in it, and starts.
///
/// # Errors
/// Where what was kept cannot be read as it was written, or another process holds the folder.
pub fn start(folder: &Path, setup: Setup) -> Result<Started, KeepError> {
    let Setup { runtime: config, policies, lag, durable_pings, snapshot_every, telemetry, fatal } = setup;
    let began = Instant::now();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder)?);
    telemetry.health.doing("reading the action journal");
    let mut torn = 0;
    let (journal, recovered, report) =
        StoredJournal::open(Arc::clone(&disk), "actions", StoredJournal::options(random()), policies)?;
    torn += told_torn(&report);

    let cursors = recovered.cursors.clone();
    let delivery = Arc::new(Delivery::with(&config.namespaces, lag, Ticks::real(), cursors));
    delivery.observe(&telemetry);
    for order in &recovered.orders {
        if let Some(info) = &order.told.info {
            MatchSink::alert(&*delivery, info);
        }
    }
    telemetry.health.doing("reading the match logs");
    // Each log reserves two segments; with many namespaces they are small ones, of a group at least.
    let segment_bytes = LOG_SEGMENT_BYTES / config.namespaces.len().max(1) as u64;
    let mut logs = Vec::new();
    for (ns, namespace) in (0..).zip(&config.namespaces) {
        let folder = format!("matches/{}", namespace.name);
        let options = LogOptions { id: random(), segment_bytes, ..LogOptions::default() };
        let (log, report) = SegmentedLog::open(Arc::clone(&disk), &folder, options)?;
        torn += told_torn(&report);
        delivery.log(NamespaceIx(ns)).start_at(Offset(log.next()));
        logs.push(log);
    }
    let (writer, ends) = Writer::prepare(Arc::clone(&delivery), logs, Arc::clone(&telemetry), fatal.clone());

    telemetry.health.doing("reading the snapshot");
    let folder = SnapshotFolder::open(Arc::clone(&disk), "snapshots")?;
    let sink = Arc::clone(&delivery) as Arc<dyn MatchSink>;
    let writer = writer.start()?;
    let (mut kept, skipped) = folder.list()?;
    // A manifest that cannot be read may be one that names them.
    if durable_pings && skipped.iter().all(|skipped| skipped.error.is_none()) {
        kept.truncate(SNAPSHOTS_KEPT);
        pings::remove_others(&*disk, &snapshots::ping_logs_needed(&kept, None))?;
    }
    let log_options = || LogOptions { id: random(), ..LogOptions::default() };
    let mut shelf = Shelf::new(Arc::clone(&disk), log_options);
    let how = How::live();
    let orders = &recovered.orders;
    let mut back = recover::recover(&folder, &config, orders, &ends, &mut shelf, &sink, &how)?;
    let sources = Arc::new(Sources::default());
    let mut safe = Vec::new();
    let mut pings = None;
    if durable_pings {
        let logs = shelf.take(config.partitions)?;
        let opened =
            SourcesLog::open(Arc::clone(&disk), log_options(), sources::EVERY, &sources, &config.namespaces);
        let (log, marks, report) = opened?;
        safe = marks;
        torn += told_torn(&report);
        let (works, ends, handle) = pings::prepare(logs, &config.namespaces, log, &telemetry);
        let threads = PingLogs::start(works, handle, &fatal)?;
        for (nth, (driver, end)) in back.drivers.iter_mut().zip(ends).enumerate() {
            driver.keep(end, back.logged_orders.get(nth).copied().unwrap_or(u64::MAX));
        }
        pings = Some(threads);
    }
    torn += shelf.reports.iter().map(told_torn).sum::<u64>();
    sources::restore(&sources, &config.namespaces, &back.sources, &safe);
    telemetry.storage.recovered(back.snapshot_at_ms, back.bytes, began.elapsed(), torn);
    if back.snapshot.is_some() || !recovered.orders.is_empty() {
        tracing::info!(
            snapshot = back.snapshot,
            devices = back.devices,
            actions = recovered.orders.len(),
            batches = back.batches,
            took_ms = began.elapsed().as_millis() as u64,
            "recovered"
        );
    }

    let told = recovered.orders.len() as u64;
    let basis = if durable_pings { SafeBasis::Log } else { SafeBasis::Snapshot };
    let keeping = Keeping { basis, sources };
    let figures = Arc::clone(&telemetry);
    let runtime = Runtime::start_with(config, sink, figures, how.clock, back.drivers, told, keeping)?;
    let failed = fatal.clone();
    let on_failure = Box::new(move |why: &crate::desk::JournalError| {
        // Nobody is left to tell where the process ends already.
        let _ = failed.send(why.to_string());
    });
    let desk = Desk::with_journal(runtime.clone(), recovered.desk, recovered.cursors, journal, on_failure)?;
    let desk = Arc::new(desk);
    if let Some(journal) = desk.journal() {
        let kept = Arc::downgrade(&delivery);
        journal.on_cursor(Box::new(move |cursor| {
            if let Some(delivery) = kept.upgrade() {
                delivery.cursors().kept(cursor);
            }
        }));
        delivery.cursors().write_to(Box::new(move |cursor| journal.cursor(cursor)));
    }
    let shared = snapshots::Shared {
        disk,
        folder,
        runtime: runtime.clone(),
        delivery: Arc::clone(&delivery),
        writer: writer.handle(),
        pings: pings.as_ref().map(PingLogs::handle),
        telemetry,
    };
    shared.cover_ping_logs()?;
    let snapshots = Snapshots::start(shared, snapshot_every)?;
    Ok(Started { runtime, desk, delivery, keeper: Keeper { writer, pings, snapshots } })
}

impl Keeper {
    /// Takes a last snapshot, stops the partitions and keeps what they found. The doors are closed
    /// before. Blocks.
    pub fn stop(self, runtime: &Runtime) {
        runtime.barrier();
        self.snapshots.stop();
        runtime.stop();
        if let Some(pings) = self.pings {
            pings.stop();
        }
        self.writer.stop();
    }
}

/// Warns of a tail that was cut off; returns how many bytes.
fn told_torn(report: &OpenReport) -> u64 {
    let Some(torn) = &report.torn else { return 0 };
    tracing::warn!(
        file = torn.file,
        offset = torn.offset,
        bytes = torn.bytes,
        "the end of a log was being written when the process stopped, and is cut off: {}",
        torn.why
    );
    torn.bytes
}

/// Starts a thread that keeps something in a log: where it fails, the process has to end.
fn spawn(
    name: String,
    log: Log,
    telemetry: Arc<Telemetry>,
    fatal: UnboundedSender<String>,
    run: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let panicked = format!("the thread {name}, which keeps a log, panicked");
    std::thread::Builder::new().name(name).spawn(move || {
        let why = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why.to_string(),
            Err(_) => panicked,
        };
        telemetry.storage.sync_failed(log);
        // Nobody is left to tell where the process ends already.
        let _ = fatal.send(why);
    })
}

/// A number that nobody can foresee.
fn random() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0)
}

/// Milliseconds that an age goes back from now.
fn since(now: EventTime, age_ms: u64) -> EventTime {
    EventTime(now.0.saturating_sub(i64::try_from(age_ms).unwrap_or(i64::MAX)))
}

/// The figures of a log of matches.
const MATCHES: Log = Log::Matches;
