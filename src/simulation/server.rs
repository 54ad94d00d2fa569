//! The process under test: real drivers, the real desk and real match logs, without threads. What
//! threads and queues do in the program, its calls do one by one, in the order that the dice want.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::disk::Files;
use super::keeper::Keeper;
use super::model::{Found, Order, Rules, Seen};
use super::places::places;
use crate::delivery::{Delivery, LagLimits, Ticks, TicksHand};
use crate::desk::{DeskCore, DeskError, Pending, Receipt};
use crate::domain::{
    CursorAt, DeviceId, EventTime, Match, MaxAge, Namespace, Offset, Ping, PingCounts, PingRow, Position,
    partition_of,
};
use crate::engine::Partition;
use crate::keeper::pings::{Handle, Work};
use crate::quic::ledger::Ledger;
use crate::runtime::{
    AlertInfo, Applied, Clock, ClockMode, Driver, MatchSink, NamespaceConfig, NamespaceIx, Output,
    RuntimeConfig, SourceSession, Sources, Told, seams,
};
use crate::store::SourceMark;

/// The server's clock: the world sets it, and it never goes back within a process.
#[derive(Debug)]
pub(super) struct SimClock {
    raw: AtomicI64,
    newest: AtomicI64,
}

impl SimClock {
    pub(super) fn new(raw: i64) -> Self {
        Self { raw: AtomicI64::new(raw), newest: AtomicI64::new(i64::MIN) }
    }

    pub(super) fn set(&self, raw: i64) {
        self.raw.store(raw, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> EventTime {
        let raw = self.raw.load(Ordering::Relaxed);
        EventTime(self.newest.fetch_max(raw, Ordering::Relaxed).max(raw))
    }
}

/// Most bytes of sealed chunks that a match log holds in memory, and most matches of a chunk.
pub(super) const LOG_BYTES: usize = 5_000;
const LOG_CHUNK: usize = 8;
/// Batches of all sessions that are not applied, or not kept.
pub(super) const ROOM: usize = 12;

/// Real match logs, and a copy of what went in. Where a log is full of what is not kept yet, what would
/// wait in a partition's thread waits in `late`, and the partitions do nothing meanwhile.
pub(super) struct Sink {
    pub(super) delivery: Delivery,
    emitted: Mutex<Vec<(usize, Match)>>,
    late: Mutex<VecDeque<(NamespaceIx, Output)>>,
    /// Memory held more of a log than it may, and not for want of the disk.
    pub(super) over: AtomicBool,
    /// Cursors that are to be written, the newest of each partner.
    pub(super) moved: Arc<Mutex<BTreeMap<Arc<str>, CursorAt>>>,
}

impl Sink {
    pub(super) fn new(config: &RuntimeConfig, lag: LagLimits, ticks: Ticks, cursors: Vec<CursorAt>) -> Self {
        let delivery = Delivery::with(&config.namespaces, lag, ticks, cursors);
        let delivery = delivery.with_small_logs(LOG_BYTES, LOG_CHUNK);
        let moved = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let into = Arc::clone(&moved);
        delivery.cursors().write_to(Box::new(move |cursor: &CursorAt| {
            let mut moved = into.lock().unwrap();
            let held = moved.entry(Arc::clone(&cursor.partner)).or_insert_with(|| cursor.clone());
            if cursor.offset > held.offset {
                *held = cursor.clone();
            }
        }));
        Self {
            delivery,
            emitted: Mutex::default(),
            late: Mutex::default(),
            over: AtomicBool::new(false),
            moved,
        }
    }

    pub(super) fn take(&self) -> Vec<(usize, Match)> {
        std::mem::take(&mut *self.emitted.lock().unwrap())
    }

    /// How many appends wait for room.
    pub(super) fn late(&self) -> usize {
        self.late.lock().unwrap().len()
    }

    /// A log has room again, perhaps.
    pub(super) fn append_late(&self) {
        let mut late = self.late.lock().unwrap();
        while late.front().is_some_and(|(ns, _)| !self.delivery.log(*ns).must_wait())
            && let Some((ns, matches)) = late.pop_front()
        {
            self.append(ns, &matches);
        }
    }

    fn append(&self, namespace: NamespaceIx, matches: &Output) {
        self.delivery.matches(namespace, matches);
        let log = self.delivery.log(namespace);
        if log.view().bytes as usize > LOG_BYTES && !log.must_wait() {
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

impl MatchSink for Sink {
    fn alert(&self, info: &Arc<AlertInfo>) {
        MatchSink::alert(&self.delivery, info);
    }

    fn matches(&self, namespace: NamespaceIx, matches: &Output) {
        let mut late = self.late.lock().unwrap();
        if !late.is_empty() || self.delivery.log(namespace).must_wait() {
            late.push_back((namespace, matches.filtered(|_, _| true)));
        } else {
            self.append(namespace, matches);
        }
        let ns = usize::from(namespace.0);
        self.emitted.lock().unwrap().extend(matches.iter().map(|(_, found)| (ns, found)));
    }

    fn end(&self, namespace: NamespaceIx) -> Offset {
        MatchSink::end(&self.delivery, namespace)
    }
}

pub(super) fn plain(found: &Match) -> Found {
    Found {
        alert: found.alert.0,
        device: found.device.0,
        version: found.version,
        cause: found.cause,
        part: found.part,
        stage: found.stage,
        radius_km: found.radius_km,
        at: found.at.0,
    }
}

/// A batch of pings as a source sends it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) source: usize,
    pub(super) ns: usize,
    pub(super) no: u64,
    pub(super) pings: Vec<(u64, Seen)>,
    /// Devices of which a ping was ever refused as one of the future.
    pub(super) refused: RefCell<BTreeSet<u64>>,
}

/// The pings of a batch that are one partition's.
pub(super) struct BatchPart {
    pub(super) session: u64,
    pub(super) part: seams::Part,
    /// It is the batch as it came.
    pub(super) whole: bool,
    pub(super) batch: Rc<Batch>,
}

/// A partition with its queues, and what the rules say of it.
pub(super) struct Shard {
    pub(super) driver: Driver,
    pub(super) urgent: VecDeque<(u64, Told, Rc<Order>)>,
    pub(super) data: VecDeque<BatchPart>,
    /// By namespace.
    pub(super) rules: Vec<Rules>,
    pub(super) found: Vec<Vec<Found>>,
    /// Whose row a row was when it was last looked at, by namespace.
    pub(super) rows: BTreeMap<(usize, u32), u64>,
}

impl Shard {
    pub(super) fn of(driver: Driver, rules: Vec<Rules>) -> Self {
        let found = vec![Vec::new(); rules.len()];
        let (urgent, data, rows) = Default::default();
        Self { driver, urgent, data, rules, found, rows }
    }

    /// The machine of a namespace.
    pub(super) fn machine(&self, ns: usize) -> &Partition {
        self.driver.machine(NamespaceIx(ns as u16))
    }
}

/// An answer that waits for the journal.
pub(super) struct Waiting {
    pub(super) pending: Pending<Result<Receipt, DeskError>>,
    /// The action's number, where it was accepted.
    pub(super) action: Option<u64>,
    pub(super) authority: usize,
    pub(super) request: u64,
}

/// Something that a partition did, as its ping log has it.
pub(super) enum Did {
    Order(u64, Rc<Order>),
    Stages(i64),
    Pings { now: i64, batch: Rc<Batch> },
}

impl Did {
    /// It is done again: by the rules, at its own time.
    pub(super) fn again(&self, rules: &mut [Rules], orders: &mut u64, skew: i64, mine: impl Fn(u64) -> bool) {
        match self {
            Self::Order(no, _) if *no < *orders => {}
            Self::Order(no, order) => {
                rules.iter_mut().for_each(|rules| rules.order(order));
                *orders = no + 1;
            }
            Self::Stages(through) => rules.iter_mut().for_each(|rules| rules.stages_through(*through)),
            Self::Pings { now, batch } => {
                let rules = &mut rules[batch.ns];
                rules.batch(*now);
                for (device, seen) in batch.pings.iter().filter(|(device, _)| mine(*device)) {
                    rules.ping(*now, skew, *device, *seen);
                }
            }
        }
    }
}

/// A source's session, as the door has it.
pub(super) struct Session {
    pub(super) source: usize,
    pub(super) speaks: SourceSession,
    reports: seams::Session,
    applied: Ledger,
    kept: Ledger,
    /// By number, of batches that are not reported: how many pings, and how many of them are in the future.
    pub(super) due: BTreeMap<u64, (u64, u64)>,
    /// What the source was told of what is safe.
    pub(super) told: u64,
}

impl Session {
    pub(super) fn new(source: usize, speaks: SourceSession, durable: bool, room: &Arc<Semaphore>) -> Self {
        let first = speaks.first();
        Self {
            source,
            speaks,
            reports: seams::Session::new(durable, Arc::clone(room)),
            applied: Ledger::new(first),
            kept: Ledger::new(first),
            due: BTreeMap::new(),
            told: first - 1,
        }
    }

    /// All batches up to this one are applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied.applied()
    }

    /// Hears what is applied and what is kept; says up to which batch all is safe.
    pub(super) fn hear(&mut self) -> Result<u64, String> {
        while let Ok(Applied { number, counts }) = self.reports.applied.try_recv() {
            let due = self.due.remove(&number);
            if due != Some((counts.total(), counts.rejected_total())) {
                return Err(format!(
                    "of batch {number} became {counts:?}; in all and in the future: {due:?}"
                ));
            }
            self.applied.apply(number, counts);
        }
        while let Ok(number) = self.reports.kept.try_recv() {
            self.kept.apply(number, PingCounts::default());
            self.speaks.kept(self.kept.applied());
        }
        self.speaks.applied(self.applied.applied());
        let safe = *self.speaks.safe().borrow_and_update();
        Ok(safe.min(self.applied.applied()))
    }
}

/// The process.
pub(super) struct Server {
    pub(super) shards: Vec<Shard>,
    pub(super) sink: Arc<Sink>,
    pub(super) clock: Arc<SimClock>,
    pub(super) files: Files,
    pub(super) desk: DeskCore,
    pub(super) waiting: Vec<Waiting>,
    /// Up to which mark authorities may be answered.
    pub(super) told: crate::desk::Mark,
    /// What the rules make of actions that partitions were not told.
    pub(super) orders: VecDeque<(u64, Rc<Order>)>,
    pub(super) sources: Arc<Sources>,
    /// Sessions that are open.
    pub(super) sessions: BTreeMap<u64, Session>,
    /// What batches take while they are not applied, or not kept.
    pub(super) room: Arc<Semaphore>,
    /// The ping logs' threads, by partition, where there are ping logs.
    pub(super) works: Vec<Work>,
    pub(super) ping_logs: Option<Handle>,
    /// What recovery said: orders that snapshot and ping logs have, by partition; and the sources' marks.
    pub(super) logged_orders: Vec<u64>,
    pub(super) back_sources: Vec<SourceMark>,
    /// Moves the clock that partners are judged by.
    pub(super) hand: TicksHand,
    pub(super) keeper: Option<Keeper>,
}

/// How the world's server is configured.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) runtime: RuntimeConfig,
    pub(super) max_ages: Vec<Option<i64>>,
    pub(super) skew: i64,
    pub(super) slice: usize,
    pub(super) lag: LagLimits,
    /// Pings are kept in logs.
    pub(super) durable: bool,
}

impl Setup {
    pub(super) fn new(
        partitions: u32,
        max_ages: Vec<Option<i64>>,
        skew: i64,
        slice: usize,
        lag: LagLimits,
        durable: bool,
    ) -> Self {
        let namespaces = max_ages.iter().enumerate().map(|(n, age)| NamespaceConfig {
            name: Namespace::new(["north", "south", "east"][n]).unwrap(),
            max_age: age.map_or(MaxAge::Never, MaxAge::Ms),
        });
        let runtime = RuntimeConfig {
            partitions,
            namespaces: namespaces.collect(),
            clock: ClockMode::Wall,
            clock_skew_ms: skew,
            sliced: true,
        };
        Self { runtime, max_ages, skew, slice, lag, durable }
    }
}

impl Server {
    /// An empty process at a time.
    pub(super) fn new(setup: &Setup, raw: i64, files: Files) -> Self {
        let (ticks, hand) = Ticks::by_hand();
        let cursors = files.written_cursors();
        let sink = Arc::new(Sink::new(&setup.runtime, setup.lag, ticks, cursors));
        for (ns, log) in (0..).zip(&files.logs) {
            let held = sink.delivery.log(NamespaceIx(ns));
            held.start_at(Offset(log.next()));
            held.keep(log.reader(), Box::new(|| {}));
            held.show(Offset(log.visible()));
        }
        let clock = Arc::new(SimClock::new(raw));
        let mut server = Self {
            shards: Vec::new(),
            sink,
            clock,
            files,
            desk: DeskCore::default(),
            waiting: Vec::new(),
            told: crate::desk::Mark::default(),
            orders: VecDeque::new(),
            sources: Arc::default(),
            sessions: BTreeMap::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            works: Vec::new(),
            ping_logs: None,
            logged_orders: Vec::new(),
            back_sources: Vec::new(),
            hand,
            keeper: None,
        };
        server.set_shards(setup, setup.runtime.partitions);
        server
    }

    /// So many empty partitions.
    pub(super) fn set_shards(&mut self, setup: &Setup, partitions: u32) {
        let shard = |nth: u32| {
            let (sink, clock) = (Arc::clone(&self.sink), Arc::clone(&self.clock));
            let mut driver = Driver::new(&setup.runtime, sink, clock, u64::from(nth));
            driver.set_slice(setup.slice);
            let rules = setup.max_ages.iter().map(|age| Rules::new(*age)).collect();
            Shard::of(driver, rules)
        };
        self.shards = (0..partitions).map(shard).collect();
    }

    pub(super) fn partition(&self, device: u64) -> usize {
        partition_of(DeviceId(device), self.shards.len() as u32) as usize
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// A batch came in: its parts go to the partitions' queues, or all of it to one, where it may. False where there
    /// is no room.
    pub(super) fn take_batch(&mut self, session: u64, batch: &Rc<Batch>, whole: bool) -> bool {
        let parts: BTreeSet<usize> = batch.pings.iter().map(|(device, _)| self.partition(*device)).collect();
        let Some(of) = self.sessions.get_mut(&session) else { return true };
        let Some(ticket) = of.reports.take(batch.no) else { return false };
        of.due.insert(batch.no, (batch.pings.len() as u64, 0));
        let part = |part, whole| BatchPart { session, part, whole, batch: Rc::clone(batch) };
        match parts.first() {
            Some(only) if whole && parts.len() == 1 => {
                self.shards[*only].data.push_back(part(ticket, true));
            }
            _ => {
                for nth in parts {
                    self.shards[nth].data.push_back(part(ticket.another(), false));
                }
                ticket.all_sent();
            }
        }
        true
    }

    /// The rows of a part, and their base.
    pub(super) fn rows(&self, shard: usize, batch: &Batch) -> (EventTime, Vec<PingRow>, Vec<(u64, Seen)>) {
        let base = EventTime(batch.pings.iter().map(|(_, seen)| seen.at).min().unwrap_or(0));
        let (mut rows, mut own) = (Vec::new(), Vec::new());
        for (device, seen) in batch.pings.iter().filter(|(device, _)| self.partition(*device) == shard) {
            let (lat, lon) = places().spots[seen.spot];
            let ping = Ping {
                device: DeviceId(*device),
                at: EventTime(seen.at),
                position: Position::from_degrees(lat, lon).unwrap(),
                accuracy_m: seen.accuracy_m,
            };
            rows.push(PingRow::write(&ping, base).unwrap());
            own.push((*device, *seen));
        }
        (base, rows, own)
    }
}
