//! From the newest snapshot and the logs to partitions that are ready.
//!
//! The partitions of a snapshot are restored side by side, all of them before anything is found, so that a
//! damaged snapshot can still be given up for the one before it. Then they are told what the match logs say
//! beyond it and given the later actions; their matches go to the sink as far as the logs lack them. Where the
//! engine is now started with another number of partitions, the recovered ones are brought to one time and copied
//! over, device by device.

use std::sync::Arc;

use super::pings::{Shelf, each_again};
use super::{KeepError, random};
use crate::desk::NumberedTold;
use crate::domain::{DeviceId, partition_of};
use crate::engine::{Partition, PartitionConfig, Restorer};
use crate::limits::RECOVERY_READ_BYTES;
use crate::planted::{self, Defect};
use crate::runtime::ping_log::Again;
use crate::runtime::{
    Clock, Driver, Logged, MatchSink, NamespaceIx, Recovery, RuntimeConfig, Told, stand_alerts, wall_clock,
};
use crate::store::{LogReader, Manifest, ManifestFile, SnapshotFolder, SourceMark, StoreError};
use crate::wire::{Header, MatchColumns};

/// How partitions recover.
#[derive(Clone)]
pub(crate) struct How {
    /// The clock that they run on.
    pub(crate) clock: Arc<dyn Clock>,
    /// One after the other, on the caller's thread, with hashes that can be foreseen: for a simulation.
    pub(crate) alone: bool,
}

impl How {
    pub(super) fn live() -> Self {
        Self { clock: wall_clock(), alone: false }
    }
}

/// What came back.
pub(crate) struct Back {
    /// One a partition.
    pub(crate) drivers: Vec<Driver>,
    pub(crate) snapshot: Option<u64>,
    pub(super) snapshot_at_ms: Option<i64>,
    pub(super) bytes: u64,
    pub(super) devices: u64,
    /// By partition: how many orders the snapshot and its ping log have; none where devices were dealt to other
    /// partitions, whose logs count from a new snapshot on.
    pub(crate) logged_orders: Vec<u64>,
    /// Batches of the ping logs that were applied again.
    pub(crate) batches: u64,
    /// What the snapshot says of the sources.
    pub(crate) sources: Vec<SourceMark>,
}

/// A partition with what it missed.
struct Missed {
    driver: Driver,
    logged_orders: u64,
    batches: u64,
}

struct Work<'a> {
    folder: &'a SnapshotFolder,
    config: &'a RuntimeConfig,
    orders: &'a [NumberedTold],
    manifest: Option<Manifest>,
    sink: &'a Arc<dyn MatchSink>,
    how: &'a How,
}

/// Recovers the partitions that are configured.
///
/// # Errors
/// Where what was kept cannot be read as it was written, or does not belong together.
pub(crate) fn recover(
    folder: &SnapshotFolder,
    config: &RuntimeConfig,
    orders: &[NumberedTold],
    logs: &[LogReader],
    shelf: &mut Shelf,
    sink: &Arc<dyn MatchSink>,
    how: &How,
) -> Result<Back, KeepError> {
    let work = |manifest| Work { folder, config, orders, manifest, sink, how };
    let (work, machines) = newest(folder, logs, work)?;
    let partitions = work.partitions();
    let logged = work.logged(logs, partitions)?;
    let ping_logs = work.ping_logs(shelf)?;
    let missed = |(nth, machines), logged| work.missed(nth, machines, logged, &ping_logs);
    let missed = side_by_side(how, (0..).zip(machines), logged, missed)?;
    let batches = missed.iter().map(|missed| missed.batches).sum();
    let mut logged_orders: Vec<u64> = missed.iter().map(|missed| missed.logged_orders).collect();
    let mut drivers: Vec<Driver> = missed.into_iter().map(|missed| missed.driver).collect();
    if partitions != config.partitions {
        tracing::info!(from = partitions, to = config.partitions, "devices are dealt to other partitions");
        drivers = work.deal(drivers)?;
        logged_orders.clear();
    }
    let files = work.manifest.iter().flat_map(|manifest| &manifest.files);
    Ok(Back {
        drivers,
        bytes: files.clone().map(|file| file.written.bytes).sum(),
        devices: files.map(|file| file.devices).sum(),
        batches,
        logged_orders,
        sources: work.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.sources.clone()),
        snapshot: work.manifest.as_ref().map(|manifest| manifest.number),
        snapshot_at_ms: work.manifest.as_ref().map(|manifest| manifest.begun_ms),
    })
}

/// The newest snapshot that is whole, and its machines by partition and namespace. A damaged one is passed
/// over for the one before it, which the logs still cover; where all that were finished are damaged, the start
/// stops.
fn newest<'a>(
    folder: &SnapshotFolder,
    logs: &[LogReader],
    work: impl Fn(Option<Manifest>) -> Work<'a>,
) -> Result<(Work<'a>, Vec<Vec<Partition>>), KeepError> {
    let (finished, skipped) = folder.list()?;
    let mut damage = None;
    for skipped in skipped {
        let snapshot = skipped.number;
        match skipped.error {
            None => tracing::warn!(snapshot, "a snapshot is passed over: it was not finished"),
            Some(why) => {
                tracing::error!(snapshot, "a snapshot's manifest is damaged, another one is taken: {why}");
                damage = Some(KeepError::from(why));
            }
        }
    }
    for manifest in finished {
        let number = manifest.number;
        let work = work(Some(manifest));
        work.check(logs)?;
        match work.machines() {
            Ok(machines) => {
                if let Some(manifest) = &work.manifest {
                    folder.adopt(manifest)?;
                }
                return Ok((work, machines));
            }
            Err(why) if why.is_damage() => {
                tracing::error!(
                    snapshot = number,
                    "a snapshot is damaged, the one before it is taken: {why}"
                );
                damage = Some(why);
            }
            Err(why) => return Err(why),
        }
    }
    match damage {
        Some(why) => Err(why),
        None => {
            let work = work(None);
            work.check(logs)?;
            let machines = work.machines()?;
            Ok((work, machines))
        }
    }
}

/// Does something for each of two lists' elements, each on a thread of its own.
fn side_by_side<A: Send, B: Send, T: Send>(
    how: &How,
    first: impl Iterator<Item = A>,
    second: Vec<B>,
    act: impl Fn(A, B) -> Result<T, KeepError> + Sync,
) -> Result<Vec<T>, KeepError> {
    if how.alone {
        return first.zip(second).map(|(a, b)| act(a, b)).collect();
    }
    let act = &act;
    std::thread::scope(|scope| {
        let threads: Vec<_> = first.zip(second).map(|(a, b)| scope.spawn(move || act(a, b))).collect();
        let failed = || KeepError::Threads(std::io::Error::other("a thread that recovers panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(failed()))).collect()
    })
}

impl Work<'_> {
    fn file(&self, nth: u32, ns: usize) -> Option<&ManifestFile> {
        let name = self.config.namespaces[ns].name.as_str();
        let manifest = self.manifest.as_ref()?;
        manifest.files.iter().find(|file| file.partition == nth && file.namespace == name)
    }

    fn machine_config(&self, ns: usize) -> PartitionConfig {
        let max_age = self.config.namespaces[ns].max_age;
        let seed = if self.how.alone { 0 } else { random() };
        PartitionConfig { max_age, sliced: self.config.sliced, seed }
    }

    /// What the logs say beyond the snapshot, by partition and namespace.
    fn logged(&self, logs: &[LogReader], partitions: u32) -> Result<Vec<Vec<Logged>>, KeepError> {
        let mut all: Vec<Vec<Logged>> = (0..partitions).map(|_| Vec::new()).collect();
        for (ns, log) in logs.iter().enumerate() {
            let from: Vec<u64> =
                (0..partitions).map(|nth| self.file(nth, ns).map_or(0, |file| file.match_log_end)).collect();
            let mut of: Vec<Logged> = (0..partitions).map(|_| Logged::default()).collect();
            let mut split: Vec<Vec<DeviceId>> = vec![Vec::new(); partitions as usize];
            let mut next = from.iter().copied().min().unwrap_or(0).max(log.first());
            loop {
                let records = log.read(next, RECOVERY_READ_BYTES)?;
                let Some(last) = records.last() else { break };
                next = last.next;
                for record in &records {
                    let damaged = |_| StoreError::damaged("the match log", record.first, "it is no frame");
                    let body = record.payload.slice(Header::BYTES.min(record.payload.len())..);
                    let matches = MatchColumns::read(&body).map_err(damaged)?;
                    for (first, head, devices) in matches.runs() {
                        for (offset, device) in (first.0..).zip(devices) {
                            let nth = partition_of(device, partitions) as usize;
                            if offset >= from[nth] {
                                split[nth].push(device);
                            }
                        }
                        for (logged, devices) in of.iter_mut().zip(&mut split) {
                            logged.note(&head, devices.drain(..));
                        }
                    }
                }
            }
            all.iter_mut().zip(of).for_each(|(all, logged)| all.push(logged));
        }
        Ok(all)
    }

    /// The partitions of the snapshot, or those that are configured.
    fn partitions(&self) -> u32 {
        let files = self.manifest.iter().flat_map(|manifest| &manifest.files);
        files.map(|file| file.partition + 1).max().unwrap_or(self.config.partitions)
    }

    /// Whether journal and logs have all that the snapshot, or the lack of one, rests on.
    fn check(&self, logs: &[LogReader]) -> Result<(), KeepError> {
        let number = self.manifest.as_ref().map_or(0, |manifest| manifest.number);
        let journal = self.orders.len() as u64;
        for file in self.manifest.iter().flat_map(|manifest| &manifest.files) {
            if file.last_action > journal {
                return Err(self.journal_behind(file.last_action));
            }
        }
        for (ns, log) in logs.iter().enumerate() {
            let namespace = self.config.namespaces[ns].name.to_string();
            let ends =
                (0..self.partitions()).map(|nth| self.file(nth, ns).map_or(0, |file| file.match_log_end));
            let (least, most) =
                ends.fold((u64::MAX, 0), |(least, most), end| (end.min(least), end.max(most)));
            if most > log.visible() {
                return Err(KeepError::LogBehind { number, namespace });
            }
            if least < log.first() {
                return Err(KeepError::LogTrimmed { namespace, first: log.first() });
            }
        }
        Ok(())
    }

    /// How many actions a partition of the snapshot had carried out, in all its namespaces.
    fn done(&self, nth: u32) -> u64 {
        let mut files = self.manifest.iter().flat_map(|manifest| &manifest.files);
        files.find(|file| file.partition == nth).map_or(0, |file| file.last_action)
    }

    /// All partitions as they were, by partition and namespace.
    fn machines(&self) -> Result<Vec<Vec<Partition>>, KeepError> {
        let partitions = self.partitions();
        side_by_side(self.how, 0..partitions, vec![(); partitions as usize], |nth, ()| {
            let machine = |ns| match self.file(nth, ns) {
                Some(file) => self.restored(file, ns),
                // A namespace that is new knows nobody.
                None => Ok(Partition::new(self.machine_config(ns))),
            };
            let done = self.done(nth) as usize;
            (0..self.config.namespaces.len())
                .map(|ns| Ok(stand_alerts(machine(ns)?, self.told().take(done))))
                .collect()
        })
    }

    /// A partition with what it missed.
    fn missed(
        &self,
        nth: u32,
        machines: Vec<Partition>,
        logged: Vec<Logged>,
        ping_logs: &[(LogReader, u64)],
    ) -> Result<Missed, KeepError> {
        let mut recovery = Recovery::begin(self.driver(machines), self.done(nth), logged);
        let namespace = |name: &str| {
            let at = self.config.namespaces.iter().position(|ns| ns.name.as_str() == name);
            at.map(|at| NamespaceIx(at as u16))
        };
        let mut batches = 0;
        if let Some((log, from)) = ping_logs.get(nth as usize) {
            each_again(log, *from, |_, again| {
                let pings = matches!(again, Again::Pings { .. });
                if pings && planted::on(Defect::SkipsPingLog) {
                    return Ok(());
                }
                batches += u64::from(pings);
                let Some(index) = recovery.again(again, namespace) else { return Ok(()) };
                // An order is told only once the journal has it.
                let order = self.orders.get(index as usize).ok_or_else(|| self.journal_behind(index + 1))?;
                recovery.order(&order.told, index);
                Ok(())
            })?;
        }
        let logged_orders = recovery.orders();
        for (index, told) in (0..).zip(self.told()) {
            recovery.order(told, index);
        }
        Ok(Missed { driver: recovery.end(), logged_orders, batches })
    }

    fn driver(&self, machines: Vec<Partition>) -> Driver {
        let (sink, clock) = (Arc::clone(self.sink), Arc::clone(&self.how.clock));
        Driver::of(machines, self.config, sink, clock)
    }

    fn journal_behind(&self, snapshot: u64) -> KeepError {
        let number = self.manifest.as_ref().map_or(0, |manifest| manifest.number);
        KeepError::JournalBehind { number, snapshot, journal: self.orders.len() as u64 }
    }

    /// The ping logs of the snapshot's partitions, with the entry at which each goes on; none where the snapshot
    /// names none.
    fn ping_logs(&self, shelf: &mut Shelf) -> Result<Vec<(LogReader, u64)>, KeepError> {
        let Some(manifest) = &self.manifest else { return Ok(Vec::new()) };
        let next = |nth| {
            let mut files = manifest.files.iter().filter(|file| file.partition == nth);
            files.find_map(|file| file.ping_log_next)
        };
        let Some(entries) = (0..self.partitions()).map(next).collect::<Option<Vec<u64>>>() else {
            return Ok(Vec::new());
        };
        let mut readers = Vec::new();
        let logs = shelf.of(self.partitions(), &entries)?;
        for ((partition, entry), log) in (0..).zip(entries).zip(logs) {
            let (first, next) = (log.first(), log.next());
            if entry < first || entry > next {
                return Err(KeepError::PingLog { number: manifest.number, partition, entry, first, next });
            }
            readers.push((log.reader(), entry));
        }
        Ok(readers)
    }

    fn told(&self) -> impl Iterator<Item = &Told> {
        self.orders.iter().map(|order| &order.told)
    }

    fn restored(&self, file: &ManifestFile, ns: usize) -> Result<Partition, KeepError> {
        let number = self.manifest.as_ref().map_or(0, |manifest| manifest.number);
        let mut reader = self.folder.read(number, &file.written)?;
        let mut restorer = Restorer::new(self.machine_config(ns), file.written.bytes);
        let wrong = |why| KeepError::Snapshot { number, file: file.written.name.clone(), why };
        while let Some(block) = reader.next()? {
            restorer.block(block).map_err(wrong)?;
        }
        restorer.finish().map_err(wrong)
    }

    /// The same devices in another number of partitions, all at one time: the latest that any of the old ones had
    /// reached, for time does not go back. What falls due on the way there is done.
    fn deal(&self, drivers: Vec<Driver>) -> Result<Vec<Driver>, KeepError> {
        let of = self.config.partitions;
        let mut machines: Vec<Vec<Partition>> = (0..of).map(|_| Vec::new()).collect();
        let mut old = drivers;
        let own = planted::on(Defect::DealtAtOwnTimes);
        if let Some(latest) = old.iter().map(Driver::latest).max().filter(|_| !own) {
            old.iter_mut().for_each(|driver| driver.pass_to(latest));
        }
        if !old.iter_mut().all(Driver::begin_snapshot) {
            return Err(KeepError::Threads(std::io::Error::other("a partition has unfinished work")));
        }
        for ns in 0..self.config.namespaces.len() {
            let mut blocks = Vec::new();
            for driver in &mut old {
                loop {
                    let mut block = Vec::new();
                    let more = driver.snapshot_some(NamespaceIx(ns as u16), RECOVERY_READ_BYTES, &mut block);
                    if !block.is_empty() {
                        blocks.push(block);
                    }
                    if !more {
                        break;
                    }
                }
            }
            let bytes = blocks.iter().map(|block| block.len() as u64).sum();
            let restorer = |nth| Restorer::new(self.machine_config(ns), bytes).share(nth, of);
            let mut restorers: Vec<Restorer> = (0..of).map(restorer).collect();
            let wrong = |why| KeepError::Snapshot { number: 0, file: "in memory".into(), why };
            for block in blocks {
                for restorer in &mut restorers {
                    restorer.block(&block).map_err(wrong)?;
                }
            }
            for (machines, restorer) in machines.iter_mut().zip(restorers) {
                let machine = restorer.finish().map_err(wrong)?;
                machines.push(stand_alerts(machine, self.told()));
            }
        }
        let driver = |machines| {
            let mut driver = self.driver(machines);
            driver.set_orders(self.orders.len() as u64);
            driver
        };
        Ok(machines.into_iter().map(driver).collect())
    }
}
