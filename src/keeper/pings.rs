//! The ping logs: what each partition did, written and synced by a thread of its own, so that its pings are safe
//! without a snapshot (`--durable-pings`).
//!
//! A log belongs to a partition of so many: with another number of partitions other logs are used. Entries are
//! read again only from where a snapshot names, so one that names every partition's log is taken before anything is
//! served. Invariant: a batch is reported as kept only once its log shows all of its entries.
//!
//! The first partition's thread also has the sources' log written (`sources`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError, unbounded};
use tokio::sync::mpsc::UnboundedSender;

use super::sources::SourcesLog;
use super::spawn;
use crate::limits::RECOVERY_READ_BYTES;
use crate::planted::{self, Defect};
use crate::runtime::NamespaceConfig;
use crate::runtime::ping_log::{self, Again, Entry, Kept, PingLogEnd};
use crate::store::{Disk, LogOptions, LogReader, OpenReport, SegmentedLog, StoreError};
use crate::telemetry::{Log, Telemetry};

/// How long a thread sleeps where nothing comes.
const SLEEP: Duration = Duration::from_millis(250);
/// How often a full disk is tried again.
const FULL_SLEEP: Duration = Duration::from_millis(100);
const PINGS: Log = Log::Pings;
/// Where they are, by number of partitions and partition.
const FOLDER: &str = "pings";

/// Opens ping logs, each once.
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    options: Box<dyn FnMut() -> LogOptions>,
    /// By the number of partitions, one a partition.
    logs: BTreeMap<u32, Vec<SegmentedLog>>,
    pub(crate) reports: Vec<OpenReport>,
}

impl Shelf {
    /// `options` are asked for each log.
    pub(crate) fn new(disk: Arc<dyn Disk>, options: impl FnMut() -> LogOptions + 'static) -> Self {
        Self { disk, options: Box::new(options), logs: BTreeMap::new(), reports: Vec::new() }
    }

    /// The logs for so many partitions. What stands below the entries of `from`, one a partition, nobody is going to
    /// read, and a log that is opened here first does not check it now: a snapshot has it.
    pub(crate) fn of(&mut self, partitions: u32, from: &[u64]) -> Result<&[SegmentedLog], StoreError> {
        if !self.logs.contains_key(&partitions) {
            let logs = (0..partitions).map(|nth| {
                let verify_from = from.get(nth as usize).copied().unwrap_or(0);
                let options = LogOptions { verify_from, ..(self.options)() };
                let folder = format!("{FOLDER}/{partitions}/{nth}");
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
    pub(crate) fn take(&mut self, partitions: u32) -> Result<Vec<SegmentedLog>, StoreError> {
        self.of(partitions, &[])?;
        Ok(self.logs.remove(&partitions).unwrap_or_default())
    }
}

/// Removes the ping logs of all other numbers of partitions than these; the sources' log too, where there are none. What
/// was cut off in the middle is done by the next call, which must come before such a log is opened.
pub(crate) fn remove_others(disk: &dyn Disk, needed: &BTreeSet<u32>) -> Result<(), StoreError> {
    for name in disk.list(FOLDER)? {
        let folder = format!("{FOLDER}/{name}");
        match name.parse() {
            Ok(partitions) if needed.contains(&partitions) => {}
            Ok(_) => {
                for partition in disk.list(&folder)? {
                    remove_log(disk, &folder, &partition)?;
                }
                disk.remove_folder(&folder)?;
                disk.sync_folder(FOLDER)?;
            }
            Err(_) if needed.is_empty() => remove_log(disk, FOLDER, &name)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Another one may take its place at once, so it is gone for good.
fn remove_log(disk: &dyn Disk, above: &str, name: &str) -> Result<(), StoreError> {
    let folder = format!("{above}/{name}");
    for file in disk.list(&folder)? {
        disk.remove(&format!("{folder}/{file}"))?;
    }
    disk.remove_folder(&folder)?;
    disk.sync_folder(above)
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
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// What other threads have of all.
#[derive(Clone)]
pub(crate) struct Handle(Arc<[Shared]>);

impl Handle {
    /// Below which entry a partition's log is shown.
    pub(crate) fn visible(&self, partition: u32) -> u64 {
        self.0.get(partition as usize).map_or(u64::MAX, |shared| shared.log.visible())
    }

    /// The oldest entry of a partition's log.
    #[cfg(test)]
    pub(crate) fn first(&self, partition: u32) -> u64 {
        self.0.get(partition as usize).map_or(0, |shared| shared.log.first())
    }

    /// Entries of a partition below this may go.
    pub(crate) fn trim(&self, partition: u32, below: u64) {
        if let Some(shared) = self.0.get(partition as usize) {
            shared.trim.fetch_max(below, Ordering::Relaxed);
        }
    }
}

/// What keeps a partition's entries: the work of a thread.
pub(crate) struct Work {
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

/// What there is to keep the partitions' entries: the work, the partitions' ends, both in their order, and what others
/// have of it.
pub(crate) fn prepare(
    logs: Vec<SegmentedLog>,
    namespaces: &[NamespaceConfig],
    sources: SourcesLog,
    telemetry: &Arc<Telemetry>,
) -> (Vec<Work>, Vec<PingLogEnd>, Handle) {
    let shared = |log: &SegmentedLog| Shared { log: log.reader(), trim: AtomicU64::new(0) };
    let shared: Arc<[Shared]> = logs.iter().map(shared).collect();
    let names: Arc<[String]> = namespaces.iter().map(|ns| ns.name.to_string()).collect();
    let mut sources = Some(sources);
    let one = |(partition, log): (usize, SegmentedLog)| {
        let (sender, entries) = unbounded();
        let end = PingLogEnd::new(sender, log.next());
        let work = Work {
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
        (work, end)
    };
    let (works, ends) = logs.into_iter().enumerate().map(one).unzip();
    (works, ends, Handle(shared))
}

impl PingLogs {
    /// Starts a thread for each.
    pub(super) fn start(
        works: Vec<Work>,
        handle: Handle,
        fatal: &UnboundedSender<String>,
    ) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        for mut work in works {
            let (name, telemetry) = (format!("pings-{}", work.partition), Arc::clone(&work.telemetry));
            threads.push(spawn(name, PINGS, telemetry, fatal.clone(), move || work.run())?);
        }
        Ok(Self { handle, threads })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
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
        while self.turn(SLEEP)? {
            if self.full {
                std::thread::park_timeout(FULL_SLEEP);
            }
        }
        Ok(())
    }

    /// Keeps what has come, waiting so long for something to come where there is nothing to do; says whether more
    /// can come.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<bool, StoreError> {
        let open = self.gather(wait)?;
        self.sync()?;
        self.tidy()?;
        let shown = self.log.buffered_bytes() == 0 && self.log.visible() >= self.log.synced();
        let done = self.next.is_none() && shown;
        Ok(open || !done)
    }

    /// Puts what has come into the group; says whether more can.
    fn gather(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if self.next.is_none() {
            // What is written must be shown soon, and a seal shows it: then there is no waiting.
            let idle = self.waiting.is_empty() && self.log.buffered_bytes() == 0;
            let come = match idle && !wait.is_zero() {
                true => self.entries.recv_timeout(wait).map_err(|why| why == RecvTimeoutError::Disconnected),
                false => self.entries.try_recv().map_err(|why| why == TryRecvError::Disconnected),
            };
            match come {
                Ok(entry) => self.next = Some(entry),
                Err(ended) => return Ok(!ended),
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

    /// Writes and syncs the group; where nothing more has come, shows it as well. On a full disk it stays.
    fn sync(&mut self) -> Result<(), StoreError> {
        let more = self.next.is_some() || !self.entries.is_empty();
        let buffered = self.log.buffered_bytes();
        if buffered > 0 || !more && self.log.visible() < self.log.synced() {
            let began = Instant::now();
            match if more { self.log.sync() } else { self.log.seal() } {
                Ok(_) => {
                    self.telemetry.storage.synced(PINGS, began.elapsed(), buffered as u64);
                    if std::mem::take(&mut self.full) {
                        tracing::warn!("the disk has room again: pings are kept");
                    }
                    self.log.prepare()?;
                }
                Err(why) if why.is_full() => {
                    self.telemetry.storage.refused("pings");
                    if !std::mem::replace(&mut self.full, true) {
                        tracing::error!("pings wait for room: {why}");
                    }
                }
                Err(why) => return Err(why),
            }
        }
        let shown = if planted::on(Defect::KeptUnsynced) { u64::MAX } else { self.log.visible() };
        while let Some((_, kept)) = self.waiting.pop_front_if(|(next, _)| *next <= shown) {
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
