//! The ping logs: what each partition did, written and synced by a thread of its own, so that its pings are safe
//! without a snapshot (`--durable-pings`).
//!
//! A log belongs to a partition of so many: with another number of partitions other logs are used. Entries are
//! read again only from where a snapshot names, so one that names every partition's log is taken before anything is
//! served. Invariant: a batch is reported as kept only once its log shows all of its entries.
//!
//! The first partition's thread also has the sources' log written (`sources`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, unbounded};
use tokio::sync::mpsc::UnboundedSender;

use super::random;
use super::sources::SourcesLog;
use crate::limits::RECOVERY_READ_BYTES;
use crate::runtime::NamespaceConfig;
use crate::runtime::ping_log::{self, Again, Entry, Kept, PingLogEnd};
use crate::store::{Disk, LogOptions, LogReader, OpenReport, SegmentedLog, StoreError};
use crate::telemetry::{Log, Telemetry};

/// How long a thread sleeps where nothing comes.
const SLEEP: Duration = Duration::from_millis(250);
/// How often a full disk is tried again.
const FULL_SLEEP: Duration = Duration::from_millis(100);
const PINGS: Log = Log::Pings;

/// Opens ping logs, each once.
pub(super) struct Shelf {
    disk: Arc<dyn Disk>,
    /// By the number of partitions, one a partition.
    logs: BTreeMap<u32, Vec<SegmentedLog>>,
    pub(super) reports: Vec<OpenReport>,
}

impl Shelf {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, logs: BTreeMap::new(), reports: Vec::new() }
    }

    /// The logs for so many partitions. What stands below the entries of `from`, one a partition, nobody is going to
    /// read, and a log that is opened here first does not check it now: a snapshot has it.
    pub(super) fn of(&mut self, partitions: u32, from: &[u64]) -> Result<&[SegmentedLog], StoreError> {
        if !self.logs.contains_key(&partitions) {
            let logs = (0..partitions).map(|nth| {
                let verify_from = from.get(nth as usize).copied().unwrap_or(0);
                let options = LogOptions { id: random(), verify_from, ..LogOptions::default() };
                let folder = format!("pings/{partitions}/{nth}");
                let (log, report) = SegmentedLog::open(Arc::clone(&self.disk), &folder, options)?;
                self.reports.push(report);
                Ok(log)
            });
            let logs = logs.collect::<Result<_, StoreError>>()?;
            self.logs.insert(partitions, logs);
        }
        Ok(self.logs.get(&partitions).map_or(&[], Vec::as_slice))
    }

    /// Takes them out, to be written.
    pub(super) fn take(&mut self, partitions: u32) -> Result<Vec<SegmentedLog>, StoreError> {
        self.of(partitions, &[])?;
        Ok(self.logs.remove(&partitions).unwrap_or_default())
    }
}

/// Reads a log from one of its entries on.
pub(super) fn each_again(
    log: &LogReader,
    from: u64,
    mut act: impl FnMut(u64, Again) -> Result<(), super::KeepError>,
) -> Result<(), super::KeepError> {
    let mut next = from;
    loop {
        let records = log.read(next, RECOVERY_READ_BYTES)?;
        let Some(last) = records.last() else { return Ok(()) };
        next = last.next;
        for record in &records {
            let again = ping_log::read(record.kind, &record.payload);
            let again = again.map_err(|why| StoreError::damaged("the ping log", record.first, &why))?;
            act(record.first, again)?;
        }
    }
}

/// What other threads have of a partition's log.
struct Shared {
    log: LogReader,
    /// Entries below are not needed any more.
    trim: AtomicU64,
}

/// The running threads.
pub(super) struct PingLogs {
    shared: Arc<[Shared]>,
    threads: Vec<JoinHandle<()>>,
}

/// What other threads have of all.
#[derive(Clone)]
pub(super) struct Handle(Arc<[Shared]>);

impl Handle {
    /// Below which entry a partition's log is shown.
    pub(super) fn visible(&self, partition: u32) -> u64 {
        self.0.get(partition as usize).map_or(u64::MAX, |shared| shared.log.visible())
    }

    /// Entries of a partition below this may go.
    pub(super) fn trim(&self, partition: u32, below: u64) {
        if let Some(shared) = self.0.get(partition as usize) {
            shared.trim.fetch_max(below, Ordering::Relaxed);
        }
    }
}

/// What a thread works with.
struct Work {
    partition: usize,
    log: SegmentedLog,
    entries: Receiver<Entry>,
    namespaces: Arc<[String]>,
    /// One of the threads writes it.
    sources: Option<SourcesLog>,
    shared: Arc<[Shared]>,
    telemetry: Arc<Telemetry>,
    /// Did not fit the group.
    next: Option<Entry>,
    /// Written, not shown yet; by the number after the entry.
    waiting: VecDeque<(u64, Kept)>,
    /// Pings wait for room on the disk.
    full: bool,
}

impl PingLogs {
    /// Starts a thread a log. Returns the partitions' ends, in their order.
    pub(super) fn start(
        logs: Vec<SegmentedLog>,
        namespaces: &[NamespaceConfig],
        sources: SourcesLog,
        telemetry: &Arc<Telemetry>,
        fatal: &UnboundedSender<String>,
    ) -> std::io::Result<(Self, Vec<PingLogEnd>)> {
        let shared = |log: &SegmentedLog| Shared { log: log.reader(), trim: AtomicU64::new(0) };
        let shared: Arc<[Shared]> = logs.iter().map(shared).collect();
        let names: Arc<[String]> = namespaces.iter().map(|ns| ns.name.to_string()).collect();
        let (mut threads, mut ends, mut sources) = (Vec::new(), Vec::new(), Some(sources));
        for (partition, log) in logs.into_iter().enumerate() {
            let (sender, entries) = unbounded();
            ends.push(PingLogEnd::new(sender, log.next()));
            let mut work = Work {
                partition,
                log,
                entries,
                namespaces: Arc::clone(&names),
                sources: sources.take(),
                shared: Arc::clone(&shared),
                telemetry: Arc::clone(telemetry),
                next: None,
                waiting: VecDeque::new(),
                full: false,
            };
            let fatal = fatal.clone();
            threads.push(std::thread::Builder::new().name(format!("pings-{partition}")).spawn(
                move || {
                    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run()));
                    let why = match ended {
                        Ok(Ok(())) => return,
                        Ok(Err(why)) => why.to_string(),
                        Err(_) => "a thread that keeps pings panicked".into(),
                    };
                    work.telemetry.storage.sync_failed(PINGS);
                    // Nobody is left to tell where the process ends already.
                    let _ = fatal.send(why);
                },
            )?);
        }
        Ok((Self { shared, threads }, ends))
    }

    pub(super) fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Waits until all that the partitions did is kept. They have ended.
    pub(super) fn stop(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that keeps pings had panicked");
            }
        }
    }
}

impl Work {
    fn run(&mut self) -> Result<(), StoreError> {
        loop {
            let open = self.gather()?;
            self.sync()?;
            self.tidy()?;
            if !open && self.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Puts what has come into the group, waiting for something to come; says whether more can.
    fn gather(&mut self) -> Result<bool, StoreError> {
        if self.next.is_none() {
            // What is written must be shown soon, and a seal shows it: then there is no waiting.
            let idle = self.waiting.is_empty() && self.log.buffered_bytes() == 0;
            match self.entries.recv_timeout(if idle { SLEEP } else { Duration::ZERO }) {
                Ok(entry) => self.next = Some(entry),
                Err(RecvTimeoutError::Timeout) => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
        while let Some(entry) = self.next.take() {
            if let Some(unfit) = self.append(entry)? {
                self.next = Some(unfit);
                break;
            }
            self.next = self.entries.try_recv().ok();
        }
        Ok(true)
    }

    /// Adds an entry to the group; returns it where it does not fit.
    fn append(&mut self, entry: Entry) -> Result<Option<Entry>, StoreError> {
        let namespace = match &entry {
            Entry::Pings { namespace, .. } => self.namespaces.get(usize::from(namespace.0)),
            _ => None,
        };
        let (log, namespace) = (&mut self.log, namespace.map_or("", String::as_str));
        let first = log.next();
        let fits = ping_log::with_payload(&entry, namespace, |kind, payload| {
            if !log.fits(payload.iter().map(|slice| slice.len()).sum()) {
                return Ok(false);
            }
            log.append(kind, first, first + 1, payload).map(|()| true)
        })?;
        match entry {
            _ if !fits => return Ok(Some(entry)),
            Entry::Pings { kept, .. } => self.waiting.push_back((first + 1, kept)),
            Entry::Order { .. } | Entry::Stages { .. } => {}
        }
        Ok(None)
    }

    /// Writes and syncs the group; where nothing more has come, shows it as well.
    fn sync(&mut self) -> Result<(), StoreError> {
        while self.log.buffered_bytes() > 0 || self.log.visible() < self.log.synced() {
            let more = self.next.is_some() || !self.entries.is_empty();
            if self.log.buffered_bytes() == 0 && more {
                break;
            }
            let (began, bytes) = (Instant::now(), self.log.buffered_bytes() as u64);
            let done = if more { self.log.sync() } else { self.log.seal() };
            match done {
                Ok(_) => {
                    self.telemetry.storage.synced(PINGS, began.elapsed(), bytes);
                    if std::mem::take(&mut self.full) {
                        tracing::warn!("the disk has room again: pings are kept");
                    }
                    self.log.prepare()?;
                    break;
                }
                Err(why) if why.is_full() => {
                    self.telemetry.storage.refused("pings");
                    if !std::mem::replace(&mut self.full, true) {
                        tracing::error!("pings wait for room: {why}");
                    }
                    std::thread::park_timeout(FULL_SLEEP);
                }
                Err(why) => return Err(why),
            }
        }
        let visible = self.log.visible();
        while let Some((_, kept)) = self.waiting.pop_front_if(|(next, _)| *next <= visible) {
            kept.kept();
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        let below = self.shared.get(self.partition).map_or(0, |shared| shared.trim.load(Ordering::Relaxed));
        if below > self.log.first() {
            self.log.trim(below)?;
        }
        self.telemetry.storage.log_bytes(PINGS, self.partition, self.log.bytes());
        if let Some(sources) = &mut self.sources {
            sources.write()?;
        }
        Ok(())
    }
}
