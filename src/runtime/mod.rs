//! Drivers of the partitions: threads, queues, order, timers, back-pressure.
//!
//! A partition's thread owns one state machine for each namespace and is the only one to touch
//! them. Everything reaches it through bounded queues; what waits for room waits here, so that
//! a door stops reading and QUIC holds its sender back. On the wall clock orders overtake pings;
//! on the event clock all stand in one order, kept by `event.rs`.
//!
//! What it never does: decide about an alert (that is `desk/`), read bytes of a wire, keep a match.

mod clock;
mod driver;
mod event;
mod memory;
pub(crate) mod ping_log;
mod queue;
mod recovery;
mod replay;
#[cfg(test)]
mod schedules;
#[cfg(test)]
pub(crate) mod seams;
mod sources;
mod worker;

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub use crate::domain::partition_of;
pub use crate::engine::{EventKey, Output};
pub(crate) use clock::Clock;
pub(crate) use driver::Driver;
pub use memory::give_memory;
pub(crate) use recovery::{Logged, Recovery, stand_alerts};
pub use replay::{Replay, ReplayError, ReplaySummary, replay};
pub use sources::{SourceApplied, SourceName, SourceSession, Sources};

use crate::domain::{
    AlertId, AlertNo, DirectiveKind, EventTime, MaxAge, Namespace, Offset, PartSpec, PingCounts, PingRow,
    Status, Uncertainty,
};
use crate::engine::Order;
use crate::geo::PreparedArea;
use crate::limits::SNAPSHOT_BLOCKS_QUEUED_MAX;
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::{Bound, Telemetry};
use crate::wire::{PingBatch, SafeBasis};
use event::EventDriver;
use queue::{BatchTask, Queues, Reports, Ticket};

/// One version of an alert as subscribers get it before its first match.
#[derive(Clone, Debug)]
pub struct AlertInfo {
    /// The alert's number.
    pub no: AlertNo,
    /// Its id.
    pub id: AlertId,
    /// The version, counted from 1.
    pub version: u32,
    /// Its status.
    pub status: Status,
    /// The whole alert as JSON (one object, no line break).
    pub json: Arc<str>,
}

/// Where matches go: the one call upward. Implemented by delivery and by replay output.
pub trait MatchSink: Send + Sync + 'static {
    /// A new version of an alert; called before any of its matches.
    fn alert(&self, info: &Arc<AlertInfo>);
    /// Matches of one partition in order; called on partition threads, before the pings that
    /// caused them are acknowledged as applied.
    fn matches(&self, namespace: NamespaceIx, matches: &Output);
    /// The offset that the next match of a namespace will get, where matches have offsets.
    fn end(&self, _namespace: NamespaceIx) -> Offset {
        Offset(0)
    }
}

/// A decided action on its way to the partitions.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order.
    pub order: Arc<Order>,
    /// The alert's new version, where the action made one.
    pub info: Option<Arc<AlertInfo>>,
}

/// Actions that wait for their time on the event clock. The desk implements it; the driver asks.
pub trait ActionSource: Send + Sync + 'static {
    /// The time of the earliest waiting action.
    fn next_at(&self) -> Option<EventTime>;
    /// Takes the earliest waiting action and decides it at `clock` or its own time, the later.
    /// `None` where the alert's life rejects it (the source reports that).
    fn decide_next(&self, clock: EventTime) -> Option<Told>;
}

/// What a partition hands over of its snapshot.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotPart {
    /// A namespace, as of the moment at which the snapshot began; its blocks follow.
    Begin {
        /// Which.
        namespace: NamespaceIx,
        /// How many orders were carried out.
        orders: u64,
        /// Its clock.
        clock: EventTime,
        /// How many devices.
        devices: usize,
        /// All matches of this partition up to then are below this offset, and none since.
        log_end: Offset,
        /// The number of the ping log's next entry, where pings are kept.
        ping_log_next: Option<u64>,
    },
    /// The next block.
    Block(Vec<u8>),
    /// All namespaces are whole.
    End,
}

/// The server's clock.
pub(crate) fn wall_clock() -> Arc<dyn Clock> {
    Arc::new(clock::WallClock::default())
}

/// Which clock the partitions run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMode {
    /// The server's time.
    Wall,
    /// The pings' and actions' own times.
    Event,
}

/// One namespace's settings.
#[derive(Clone, Debug)]
pub struct NamespaceConfig {
    /// Its name.
    pub name: Namespace,
    /// How long its devices are known.
    pub max_age: MaxAge,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Partitions, one thread each.
    pub partitions: u32,
    /// The namespaces; none can be added later.
    pub namespaces: Vec<NamespaceConfig>,
    /// The clock.
    pub clock: ClockMode,
    /// How far a ping's time may lie ahead of the server's, ms (wall clock only).
    pub clock_skew_ms: i64,
    /// Whether scans are cut into slices, so that pings go on meanwhile. What is matched is the
    /// same either way.
    pub sliced: bool,
}

/// What a restart keeps of pings, and of whose.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// What makes a batch safe.
    pub basis: SafeBasis,
    /// The sources that send again what is not.
    pub sources: Arc<Sources>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { basis: SafeBasis::None, sources: Arc::default() }
    }
}

/// A namespace of this runtime, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceIx(pub u16);

/// Why an ingest session was refused or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefused {
    /// The event clock takes one ping session at a time.
    #[error(
        "another ping session is open, and the event clock takes one at a time: try again when it has ended"
    )]
    Busy,
    /// The runtime is shutting down.
    #[error("the server is shutting down: reconnect later")]
    Stopping,
}

/// A batch that all its partitions have applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The batch's number as given to [`IngestSession::submit`].
    pub number: u64,
    /// What became of its pings.
    pub counts: PingCounts,
}

/// The running partitions. Cheap to clone; ends with [`Runtime::stop`].
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: RuntimeConfig,
    sink: Arc<dyn MatchSink>,
    queues: Arc<Queues>,
    clock: Arc<dyn Clock>,
    event: Mutex<EventDriver>,
    told: Mutex<u64>,
    keeping: Keeping,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    telemetry: Arc<Telemetry>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole between any two statements, so a panic elsewhere spoils
    // nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// Starts the partition threads. What is counted is seen by [`telemetry`](Self::telemetry) only.
    pub fn start(config: RuntimeConfig, sink: Arc<dyn MatchSink>) -> std::io::Result<Self> {
        let names = config.namespaces.iter().map(|namespace| namespace.name.clone());
        let telemetry = Telemetry::new(names, config.partitions);
        Self::start_counted(config, sink, telemetry)
    }

    /// Starts the partition threads; `telemetry` was made for these namespaces and partitions.
    pub fn start_counted(
        config: RuntimeConfig,
        sink: Arc<dyn MatchSink>,
        telemetry: Arc<Telemetry>,
    ) -> std::io::Result<Self> {
        let clock = wall_clock();
        let driver = |nth: u32| {
            let seed = std::hash::RandomState::new().hash_one(nth);
            Driver::new(&config, Arc::clone(&sink), Arc::clone(&clock), seed)
        };
        let drivers = (0..config.partitions).map(driver).collect();
        Self::start_with(config, sink, telemetry, clock, drivers, 0, Keeping::default())
    }

    /// Starts the partition threads with drivers that have carried out `told` orders.
    pub(crate) fn start_with(
        config: RuntimeConfig,
        sink: Arc<dyn MatchSink>,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
        drivers: Vec<Driver>,
        told: u64,
        keeping: Keeping,
    ) -> std::io::Result<Self> {
        give_memory();
        let (queues, ends) = queue::open(config.partitions);
        let queues = Arc::new(queues);
        let (pings, orders) = (Arc::clone(&queues), Arc::clone(&queues));
        telemetry.bounds.watch(Bound::PingsQueued, move || pings.pings_queued());
        telemetry.bounds.watch(Bound::OrdersQueued, move || orders.orders_queued());
        let sources = Arc::clone(&keeping.sources);
        telemetry.bounds.watch(Bound::Sources, move || sources.len() as u64);
        let threads = ends
            .into_iter()
            .zip(drivers)
            .map(|(end, driver)| worker::spawn(end, driver, Arc::clone(&telemetry)))
            .collect::<std::io::Result<Vec<_>>>()?;
        let inner = Inner {
            sink,
            queues,
            clock,
            event: Mutex::new(EventDriver::default()),
            told: Mutex::new(told),
            keeping,
            threads: Mutex::new(threads),
            telemetry,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A reference that keeps nothing alive; nor does it keep the partitions running.
    pub fn downgrade(&self) -> WeakRuntime {
        WeakRuntime(Arc::downgrade(&self.inner))
    }

    /// How many partitions.
    pub fn partitions(&self) -> u32 {
        self.inner.config.partitions
    }

    /// What this engine counts.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.inner.telemetry
    }

    /// The clock mode.
    pub fn clock_mode(&self) -> ClockMode {
        self.inner.config.clock
    }

    /// The server's time (wall clock), or the event clock's newest time.
    pub fn now(&self) -> EventTime {
        match self.inner.config.clock {
            ClockMode::Wall => self.inner.clock.now(),
            ClockMode::Event => lock(&self.inner.event).clock(),
        }
    }

    /// What a restart keeps of pings.
    pub fn keeping(&self) -> &Keeping {
        &self.inner.keeping
    }

    /// The namespaces, by number.
    pub fn namespaces(&self) -> &[NamespaceConfig] {
        &self.inner.config.namespaces
    }

    /// Finds a namespace.
    pub fn namespace(&self, name: &str) -> Option<NamespaceIx> {
        let found = self.namespaces().iter().position(|ns| ns.name.as_str() == name)?;
        u16::try_from(found).ok().map(NamespaceIx)
    }

    /// Opens a stream of pings. Applied batches arrive at the receiver, not always in order of
    /// their numbers; the queue behind it holds no more than was submitted.
    pub fn open_session(
        &self,
        namespace: NamespaceIx,
    ) -> Result<(IngestSession, mpsc::UnboundedReceiver<Applied>), SessionRefused> {
        let (session, applied, _) = self.open_kept_session(namespace)?;
        Ok((session, applied))
    }

    /// The same, with the numbers of batches that the ping logs hold by now, in any order; none come where there
    /// are no ping logs.
    pub fn open_kept_session(
        &self,
        namespace: NamespaceIx,
    ) -> Result<(IngestSession, mpsc::UnboundedReceiver<Applied>, mpsc::UnboundedReceiver<u64>), SessionRefused>
    {
        if self.clock_mode() == ClockMode::Event {
            lock(&self.inner.event).open_session()?;
        }
        let (applied, receiver) = mpsc::unbounded_channel();
        let (kept, kept_receiver) = mpsc::unbounded_channel();
        let reports = Reports { applied, kept };
        let session = IngestSession { runtime: self.clone(), namespace, reports, buffer: Vec::new() };
        Ok((session, receiver, kept_receiver))
    }

    /// Tells all partitions an action, in one order (wall clock). Waits while their queues are
    /// full: call it from a thread that may block.
    pub fn tell(&self, told: &Told) {
        let mut count = lock(&self.inner.told);
        if let Some(info) = &told.info {
            self.inner.sink.alert(info);
        }
        if matches!(told.order.kind, DirectiveKind::Publish { .. }) {
            self.inner.telemetry.first_match.told(told.order.alert);
        }
        self.inner
            .queues
            .urgent_to_all(&queue::Task::Order { order: Arc::clone(&told.order), index: *count });
        *count += 1;
    }

    /// On the event clock: who decides waiting actions. Set it once, before any action.
    pub fn set_action_source(&self, source: Arc<dyn ActionSource>) {
        lock(&self.inner.event).set_source(source);
    }

    /// On the event clock: decides the actions that are behind the clock by now; call it after
    /// one was queued.
    pub fn actions_waiting(&self) {
        lock(&self.inner.event).decide_passed(&self.inner.queues, &*self.inner.sink);
    }

    /// Counts, per namespace, the known devices that each stage of `part` reaches now. Waits for
    /// all partitions: call it from a thread that may block.
    pub fn preview(&self, part: &PartSpec<PreparedArea>, mode: Uncertainty) -> Vec<Vec<u64>> {
        let stages = part.stages.as_slice().len();
        let mut sums = vec![vec![0; stages]; self.namespaces().len()];
        let (reply, answers) = crossbeam::channel::bounded(self.partitions() as usize);
        self.inner.queues.urgent_to_all(&queue::Task::Preview { part: part.clone(), mode, reply });
        for answer in answers {
            for (sum, counts) in sums.iter_mut().zip(answer) {
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        sums
    }

    /// Has a partition take a snapshot of its namespaces, all as of one moment, while pings go on. Without
    /// an `End` it is not whole: the partition is ending.
    pub(crate) fn snapshot(&self, partition: u32) -> crossbeam::channel::Receiver<SnapshotPart> {
        let (out, parts) = crossbeam::channel::bounded(SNAPSHOT_BLOCKS_QUEUED_MAX);
        self.inner.queues.urgent_to(partition, queue::Task::Snapshot { out });
        parts
    }

    /// Waits until the partitions have done all that was queued before.
    pub fn barrier(&self) {
        let (reply, answers) = crossbeam::channel::bounded(self.partitions() as usize);
        self.inner.queues.data_to_all(&queue::Task::Barrier { reply });
        answers.iter().for_each(drop);
    }

    /// Ends: takes no more, applies what was taken, joins the threads. Waits for that.
    pub fn stop(&self) {
        self.inner.queues.close();
        for thread in lock(&self.inner.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a partition thread had panicked: its devices were lost");
            }
        }
    }
}

/// A [`Runtime`] for those whom it refers to itself.
#[derive(Clone)]
pub struct WeakRuntime(Weak<Inner>);

impl WeakRuntime {
    /// The runtime, while somebody else holds it.
    pub fn upgrade(&self) -> Option<Runtime> {
        self.0.upgrade().map(|inner| Runtime { inner })
    }
}

/// One source's stream of ping batches into a namespace.
pub struct IngestSession {
    runtime: Runtime,
    namespace: NamespaceIx,
    reports: Reports,
    /// Rows of a batch that came by columns.
    buffer: Vec<PingRow>,
}

impl IngestSession {
    /// Hands over a batch; waits while the partitions' queues are full (back-pressure).
    ///
    /// On the event clock the rows must be sorted by their time.
    pub async fn submit(
        &mut self,
        number: u64,
        base: EventTime,
        rows: &[PingRow],
    ) -> Result<(), SessionRefused> {
        self.submit_rows(number, base, rows, Instant::now()).await
    }

    fn ticket(&self, number: u64, received: Instant, permit: OwnedSemaphorePermit) -> Arc<Ticket> {
        let logged = self.runtime.keeping().basis == SafeBasis::Log;
        Ticket::new(number, received, logged, self.reports.clone(), permit)
    }

    async fn submit_rows(
        &mut self,
        number: u64,
        base: EventTime,
        rows: &[PingRow],
        received: Instant,
    ) -> Result<(), SessionRefused> {
        let inner = &self.runtime.inner;
        let permit = inner.queues.room_for(rows.len()).await.ok_or(SessionRefused::Stopping)?;
        let ticket = self.ticket(number, received, permit);
        inner.telemetry.batch_taken(usize::from(self.namespace.0));
        match inner.config.clock {
            ClockMode::Wall => inner.queues.submit(self.namespace, base, rows, &ticket),
            ClockMode::Event => {
                lock(&inner.event).pings(&inner.queues, &*inner.sink, self.namespace, base, rows, &ticket);
            }
        }
        if let Some(took) = ticket.all_sent() {
            inner.telemetry.batch_applied(None, took);
        }
        Ok(())
    }

    /// Hands over a batch as it came, at `received`. One that is for a partition of this runtime goes there as it
    /// is (wall clock), and pings that do not belong there are rejected by it.
    ///
    /// On the event clock the rows must be sorted by their time.
    pub async fn submit_batch(&mut self, batch: PingBatch, received: Instant) -> Result<(), SessionRefused> {
        let inner = &self.runtime.inner;
        let target = batch.target().filter(|target| u32::from(target.of) == inner.config.partitions);
        let (ClockMode::Wall, Some(target)) = (inner.config.clock, target) else {
            let mut buffer = std::mem::take(&mut self.buffer);
            let rows = batch.rows(&mut buffer);
            let done = self.submit_rows(batch.number(), batch.base(), rows, received).await;
            self.buffer = buffer;
            return done;
        };
        let permit = inner.queues.room_for(batch.len()).await.ok_or(SessionRefused::Stopping)?;
        let ticket = self.ticket(batch.number(), received, permit);
        inner.telemetry.batch_taken(usize::from(self.namespace.0));
        let task = BatchTask { namespace: self.namespace, batch, ticket };
        inner.queues.submit_whole(target.partition, task);
        Ok(())
    }

    /// On the event clock: no ping before `at` follows (`last`: none at all, and `at` itself has
    /// passed). Nothing on the wall clock.
    pub async fn watermark(&mut self, at: EventTime, last: bool) -> Result<(), SessionRefused> {
        let inner = &self.runtime.inner;
        if inner.config.clock == ClockMode::Event {
            // Freed at once: what the permit holds back is a flood of watermarks.
            drop(inner.queues.room_for(0).await.ok_or(SessionRefused::Stopping)?);
            lock(&inner.event).watermark(&inner.queues, &*inner.sink, at, last);
        }
        Ok(())
    }
}

impl Drop for IngestSession {
    fn drop(&mut self) {
        if self.runtime.clock_mode() == ClockMode::Event {
            lock(&self.runtime.inner.event).close_session();
        }
    }
}

#[cfg(test)]
mod tests;
