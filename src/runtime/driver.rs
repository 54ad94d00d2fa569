//! A partition's machines of all namespaces, and the order in which they are given things. No
//! thread, no queue, no socket: the thread around it (`worker`), recovery and the simulation
//! drive the same.
//!
//! Whoever drives it keeps one turn's order: what is unfinished goes before an order and before
//! stages that are due; pings may stand between two slices. Invariant: matches are with the sink
//! before what caused them is reported as applied.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::channel::Sender;

use super::clock::Clock;
use super::ping_log::{Again, Entry, Kept, PingLogEnd, Pings, PingsAt};
use super::queue::{BatchTask, PingTask, Task, Ticket};
use super::{ClockMode, MatchSink, NamespaceIx, RuntimeConfig, SnapshotPart};
use crate::domain::{
    AlertNo, Cause, DeviceId, EventTime, PartSpec, PingCounts, PingReject, PingRow, Uncertainty,
};
use crate::engine::{Count, Order, Output, Partition, PartitionConfig, PingClock};
use crate::geo::PreparedArea;
use crate::limits::SCAN_SLICE_DEVICES;
use crate::planted::{self, Defect};
use crate::telemetry::{Share, Telemetry};
use crate::wire::PingBatch;

/// The machines of one partition. See the module head.
pub(crate) struct Driver {
    machines: Vec<Partition>,
    out: Output,
    sink: Arc<dyn MatchSink>,
    clock: Arc<dyn Clock>,
    mode: ClockMode,
    skew_ms: i64,
    /// Devices that a slice looks at.
    slice: usize,
    previews: VecDeque<Preview>,
    /// The pings of a batch while it is applied.
    rows: Vec<PingRow>,
    /// How many orders were carried out: the number of the next.
    orders: u64,
    /// Gets what is done, where pings are kept.
    log: Option<PingLogEnd>,
    counted: Option<Counted>,
}

/// Where a live partition counts what it did. What is counted decides nothing.
struct Counted {
    partition: u32,
    telemetry: Arc<Telemetry>,
}

impl Counted {
    fn share(&self, namespace: NamespaceIx) -> Option<&Share> {
        self.telemetry.share(self.partition, usize::from(namespace.0))
    }

    fn pings(&self, namespace: NamespaceIx, counts: &PingCounts, devices: usize) {
        if let Some(share) = self.share(namespace) {
            share.pings(counts);
            share.devices(devices);
        }
    }

    /// By cause, and the first match of an alert.
    fn matches(&self, namespace: NamespaceIx, out: &Output) {
        let mut by_cause = [0; Cause::ALL.len()];
        for (run, devices) in out.runs() {
            by_cause[run.head.cause as usize] += devices.len();
            if run.head.cause == Cause::Publish {
                self.telemetry.first_match.matched(run.head.alert);
            }
        }
        let Some(share) = self.share(namespace) else { return };
        for (cause, count) in Cause::ALL.into_iter().zip(by_cause) {
            if count > 0 {
                share.matches(cause, count);
            }
        }
    }
}

struct Preview {
    counts: Vec<Count>,
    /// Namespaces counted so far.
    done: usize,
    reply: Sender<Vec<Vec<u64>>>,
}

impl Driver {
    /// Empty machines for the namespaces of `config`. `seed` makes their hash one that nobody
    /// outside can foresee; it changes no match.
    pub(crate) fn new(
        config: &RuntimeConfig,
        sink: Arc<dyn MatchSink>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let machine = |max_age| Partition::new(PartitionConfig { max_age, sliced: config.sliced, seed });
        let machines = config.namespaces.iter().map(|ns| machine(ns.max_age)).collect();
        Self::of(machines, config, sink, clock)
    }

    /// A driver of these machines, one for each namespace of `config`.
    pub(crate) fn of(
        machines: Vec<Partition>,
        config: &RuntimeConfig,
        sink: Arc<dyn MatchSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            machines,
            out: Output::default(),
            sink,
            clock,
            mode: config.clock,
            skew_ms: config.clock_skew_ms,
            slice: SCAN_SLICE_DEVICES,
            previews: VecDeque::new(),
            rows: Vec::new(),
            orders: 0,
            log: None,
            counted: None,
        }
    }

    /// Counts what it does as this partition.
    pub(super) fn counted(mut self, partition: u32, telemetry: Arc<Telemetry>) -> Self {
        self.counted = Some(Counted { partition, telemetry });
        self
    }

    /// Has all that it does from now on kept, and first which orders it carried out that the log does not have:
    /// those after so many.
    pub(crate) fn keep(&mut self, log: PingLogEnd, orders: u64) {
        self.log = Some(log);
        if !planted::on(Defect::AppliedOrdersNotLogged) {
            (orders..self.orders).for_each(|index| self.log(|| Entry::Order { index }));
        }
    }

    /// Where matches go.
    pub(super) fn sink(&self) -> Arc<dyn MatchSink> {
        Arc::clone(&self.sink)
    }

    /// Where matches go from now on; returns where they went.
    pub(super) fn change_sink(&mut self, sink: Arc<dyn MatchSink>) -> Arc<dyn MatchSink> {
        std::mem::replace(&mut self.sink, sink)
    }

    /// Notes that the log notified a device of an alert.
    pub(super) fn note_notified(&mut self, namespace: NamespaceIx, alert: AlertNo, device: DeviceId) {
        let machine = self.machines.get_mut(usize::from(namespace.0));
        if let Some(machine) = machine {
            machine.note_notified(device, alert);
        }
    }

    /// A slice of another size, so that small worlds are cut too.
    #[cfg(test)]
    pub(crate) fn set_slice(&mut self, devices: usize) {
        self.slice = devices;
    }

    /// How many orders were carried out.
    pub(crate) fn orders(&self) -> u64 {
        self.orders
    }

    /// So many orders are in the machines that it was made of.
    pub(crate) fn set_orders(&mut self, orders: u64) {
        self.orders = orders;
    }

    /// Begins a snapshot of all namespaces as they are now, one moment for all; false where a scan
    /// is unfinished or a snapshot under way.
    pub(crate) fn begin_snapshot(&mut self) -> bool {
        let may = |machine: &Partition| !machine.has_work() && !machine.snapshot_active();
        let begins = self.machines.iter().all(may);
        begins && self.machines.iter_mut().all(Partition::begin_snapshot)
    }

    /// The namespaces as they are when a snapshot begins.
    pub(crate) fn begun(&self) -> Vec<SnapshotPart> {
        let begin = |(ns, machine): (u16, &Partition)| SnapshotPart::Begin {
            namespace: NamespaceIx(ns),
            orders: self.orders,
            clock: machine.clock(),
            devices: machine.devices(),
            log_end: self.sink.end(NamespaceIx(ns)),
            ping_log_next: self.log.as_ref().map(PingLogEnd::next),
        };
        (0..).zip(&self.machines).map(begin).collect()
    }

    /// Bytes that a snapshot under way has put aside.
    pub(super) fn snapshot_debt(&self) -> usize {
        self.machines.iter().map(Partition::snapshot_debt).sum()
    }

    /// Appends the next block of a namespace's snapshot; says whether there are more.
    pub(crate) fn snapshot_some(&mut self, namespace: NamespaceIx, bytes: usize, out: &mut Vec<u8>) -> bool {
        let machine = self.machines.get_mut(usize::from(namespace.0));
        machine.is_some_and(|machine| machine.snapshot_some(bytes, out))
    }

    /// Gives all snapshots up.
    pub(crate) fn abort_snapshot(&mut self) {
        self.machines.iter_mut().for_each(Partition::abort_snapshot);
    }

    /// The latest time that any of its namespaces has reached.
    pub(crate) fn latest(&self) -> EventTime {
        self.machines.iter().map(Partition::clock).max().unwrap_or(EventTime::BEFORE_ALL)
    }

    /// Time passes to `at` in all namespaces: does all that is due by then, and what it begins.
    pub(crate) fn pass_to(&mut self, at: EventTime) {
        self.on_each(|machine, out| {
            machine.stages_through(at, out);
            machine.finish(out);
        });
    }

    /// A namespace's clock, and how many devices it has.
    #[cfg(test)]
    pub(crate) fn state_of(&self, namespace: NamespaceIx) -> Option<(EventTime, usize)> {
        let machine = self.machines.get(usize::from(namespace.0))?;
        Some((machine.clock(), machine.devices()))
    }

    /// A namespace's machine, for a test to look at.
    #[cfg(test)]
    pub(crate) fn machine(&self, namespace: NamespaceIx) -> &Partition {
        &self.machines[usize::from(namespace.0)]
    }

    /// Asks for a preview, which slices of work count.
    #[cfg(test)]
    pub(crate) fn ask_preview(
        &mut self,
        part: PartSpec<PreparedArea>,
        mode: Uncertainty,
    ) -> crossbeam::channel::Receiver<Vec<Vec<u64>>> {
        let (reply, answer) = crossbeam::channel::bounded(1);
        self.preview(part, mode, reply);
        answer
    }

    /// Does what a queue brought.
    pub(super) fn apply(&mut self, task: Task) {
        match task {
            Task::Pings(task) => self.ping_task(task),
            Task::Batch(task) => self.batch_task(task),
            Task::Order { order, index } => self.order(&order, index),
            Task::Passed { through } => self.on_each(|machine, out| machine.stages_through(through, out)),
            Task::Preview { part, mode, reply } => self.preview(part, mode, reply),
            // The thread's own affair.
            Task::Snapshot { .. } => {}
            Task::Barrier { reply } => {
                self.finish();
                // Whoever waited may have gone.
                let _ = reply.send(());
            }
        }
    }

    /// Carries out an order in every namespace; `index` is its place among all orders.
    pub(crate) fn order(&mut self, order: &Order, index: u64) {
        self.orders = index + 1;
        self.on_each(|machine, out| machine.order(order, index, out));
        self.log(|| Entry::Order { index });
    }

    fn log(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(log) = &mut self.log {
            log.push(entry());
        }
    }

    /// Applies pings; their matches are with the sink when it returns. `numbers` are for the event
    /// clock.
    pub(crate) fn pings(
        &mut self,
        namespace: NamespaceIx,
        base: EventTime,
        rows: &[PingRow],
        numbers: &[u64],
    ) -> PingCounts {
        let clock = match self.mode {
            ClockMode::Wall => {
                let PingsAt { now, skew_ms } = self.pings_at();
                PingClock::Wall { now, skew_ms }
            }
            ClockMode::Event => PingClock::Event { numbers },
        };
        self.apply_pings(namespace, clock, base, rows)
    }

    fn pings_at(&self) -> PingsAt {
        PingsAt { now: self.clock.now(), skew_ms: self.skew_ms }
    }

    fn apply_pings(
        &mut self,
        namespace: NamespaceIx,
        clock: PingClock<'_>,
        base: EventTime,
        rows: &[PingRow],
    ) -> PingCounts {
        let Some(machine) = self.machines.get_mut(usize::from(namespace.0)) else {
            return PingCounts::default();
        };
        let counts = machine.pings(clock, base, rows, &mut self.out);
        self.hand_on(namespace);
        counts
    }

    fn ping_task(&mut self, task: PingTask) {
        let PingTask { namespace, base, rows, numbers, ticket } = task;
        if self.log.is_none() {
            let counts = self.pings(namespace, base, &rows, &numbers);
            return self.applied(namespace, &counts, &ticket);
        }
        let at = self.pings_at();
        let counts = self.apply_pings(namespace, wall(at), base, &rows);
        self.log(|| Entry::Pings {
            namespace,
            at,
            pings: Pings::Rows { base, rows },
            kept: Kept::new(&ticket),
        });
        self.applied(namespace, &counts, &ticket);
    }

    /// Says that a part of a batch is applied.
    fn applied(&self, namespace: NamespaceIx, counts: &PingCounts, ticket: &Ticket) {
        let devices = self.machines.get(usize::from(namespace.0)).map_or(0, Partition::devices);
        if let Some(counted) = &self.counted {
            counted.pings(namespace, counts, devices);
        }
        // Only now: `applied` says that the matches are with the log.
        if let (Some(took), Some(counted)) = (ticket.part_applied(counts), &self.counted) {
            counted.telemetry.batch_applied(Some(counted.partition), took);
        }
    }

    /// Pings that no other thread has looked at. Wall clock only.
    fn batch_task(&mut self, task: BatchTask) {
        let BatchTask { namespace, batch, ticket } = task;
        let at = self.pings_at();
        let counts = self.batch(namespace, at, &batch);
        self.log(|| Entry::Pings { namespace, at, pings: Pings::Batch(batch), kept: Kept::new(&ticket) });
        self.applied(namespace, &counts, &ticket);
    }

    fn batch(&mut self, namespace: NamespaceIx, at: PingsAt, batch: &PingBatch) -> PingCounts {
        let mut buffer = std::mem::take(&mut self.rows);
        let (rows, strangers) = batch.own_rows(&mut buffer);
        let mut counts = self.apply_pings(namespace, wall(at), batch.base(), rows);
        counts.rejected[PingReject::Partition as usize] += strangers as u64;
        self.rows = buffer;
        counts
    }

    /// Does again what the ping log says was done; orders are the caller's. Pings of a namespace that is gone are
    /// left out.
    pub(super) fn again(&mut self, again: Again, namespace: impl Fn(&str) -> Option<NamespaceIx>) {
        match again {
            Again::Pings { namespace: name, at, batch } => {
                let at = if planted::on(Defect::LoggedPingsAtNow) { self.pings_at() } else { at };
                if let Some(namespace) = namespace(&name) {
                    self.batch(namespace, at, &batch);
                }
            }
            Again::Stages { through } => {
                self.on_each(|machine, out| machine.stages_through(through, out));
            }
            Again::Order { .. } => {}
        }
    }

    fn preview(&mut self, part: PartSpec<PreparedArea>, mode: Uncertainty, reply: Sender<Vec<Vec<u64>>>) {
        let counts = self.machines.iter().map(|_| Count::new(part.clone(), mode)).collect();
        self.previews.push_back(Preview { counts, done: 0, reply });
    }

    /// Whether an event has work left.
    pub(crate) fn has_work(&self) -> bool {
        self.machines.iter().any(Partition::has_work)
    }

    /// When the next stage of any active alert is due.
    pub(crate) fn next_stage_at(&self) -> Option<EventTime> {
        self.machines.iter().filter_map(Partition::next_stage_at).min()
    }

    /// How long until then, ms; at most `most` and, on the event clock, that.
    pub(super) fn ms_to_stage(&self, most: u64) -> u64 {
        if self.mode == ClockMode::Event {
            return most;
        }
        let ms = self.next_stage_at().map_or(i64::MAX, |at| at.ms_since(self.clock.now()));
        u64::try_from(ms).unwrap_or(0).min(most)
    }

    /// Applies the stages that are due by the clock; on the event clock they come as tasks.
    pub(crate) fn apply_due_stages(&mut self) {
        if self.mode == ClockMode::Event || planted::on(Defect::StagesForgotten) {
            return;
        }
        if let Some(next) = self.next_stage_at() {
            let now = self.clock.now();
            if next <= now {
                self.on_each(|machine, out| machine.stages_through(now, out));
                if !planted::on(Defect::StagesNotLogged) {
                    self.log(|| Entry::Stages { through: now });
                }
            }
        }
    }

    /// Does a slice of scans and previews; says whether there was anything to do.
    pub(crate) fn work_a_slice(&mut self) -> bool {
        let slice = self.slice;
        if self.has_work() {
            self.on_each(|machine, out| {
                machine.work(slice, out);
            });
            return true;
        }
        let Some(preview) = self.previews.front_mut() else { return false };
        let (machine, count) = (self.machines.get(preview.done), preview.counts.get_mut(preview.done));
        if let (Some(machine), Some(count)) = (machine, count) {
            if !machine.count_some(count, slice) {
                preview.done += 1;
            }
        } else if let Some(done) = self.previews.pop_front() {
            // Whoever asked may have gone.
            let _ = done.reply.send(done.counts.iter().map(Count::per_stage).collect());
        }
        true
    }

    /// Does all scans that are left.
    pub(crate) fn finish(&mut self) {
        self.on_each(|machine, out| machine.finish(out));
    }

    /// Does all that is left, previews too.
    pub(super) fn finish_all(&mut self) {
        self.finish();
        while self.work_a_slice() {}
    }

    /// Makes ready ahead of need while there is nothing else to do; says whether there was anything.
    pub(super) fn prepare(&mut self) -> bool {
        self.machines.iter_mut().any(Partition::prepare)
    }

    /// There was nothing to do for a while.
    pub(crate) fn idle(&mut self) {
        self.machines.iter_mut().for_each(Partition::idle);
        if let Some(counted) = &self.counted {
            // Devices are forgotten at leisure.
            for (at, machine) in self.machines.iter().enumerate() {
                counted.pings(NamespaceIx(at as u16), &PingCounts::default(), machine.devices());
            }
        }
    }

    fn on_each(&mut self, mut act: impl FnMut(&mut Partition, &mut Output)) {
        for i in 0..self.machines.len() {
            act(&mut self.machines[i], &mut self.out);
            self.hand_on(NamespaceIx(if planted::on(Defect::WrongNamespace) { 0 } else { i as u16 }));
        }
    }

    fn hand_on(&mut self, namespace: NamespaceIx) {
        if !self.out.is_empty() {
            self.sink.matches(namespace, &self.out);
            if let Some(counted) = &self.counted {
                counted.matches(namespace, &self.out);
            }
            self.out.clear();
        }
    }
}

fn wall(at: PingsAt) -> PingClock<'static> {
    PingClock::Wall { now: at.now, skew_ms: at.skew_ms }
}
