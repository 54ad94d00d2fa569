//! A partition's thread: takes tasks, drives its machines, hands matches on.
//!
//! One turn: orders first (but not into an unfinished scan, which goes before them in slices),
//! then stages that are due, then a slice of work, then pings.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::clock::WallClock;
use super::queue::{BatchTask, PingTask, QueueEnd, Task};
use super::{ClockMode, MatchSink, NamespaceIx, RuntimeConfig};
use crate::domain::{Cause, PingCounts, PingReject, PingRow};
use crate::engine::{Count, Output, Partition, PartitionConfig, PingClock};
use crate::limits::SCAN_SLICE_DEVICES;
use crate::telemetry::Telemetry;

/// Longest wait for a task before the clock is looked at again: bounds how late a stage is when
/// the system's clock is set forward.
const WAIT_MAX: Duration = Duration::from_millis(100);

struct Worker {
    machines: Vec<Partition>,
    out: Output,
    sink: Arc<dyn MatchSink>,
    clock: Arc<WallClock>,
    mode: ClockMode,
    skew_ms: i64,
    previews: VecDeque<Preview>,
    /// The pings of a batch while it is applied.
    rows: Vec<PingRow>,
    index: u32,
    telemetry: Arc<Telemetry>,
}

struct Preview {
    counts: Vec<Count>,
    /// Namespaces counted so far.
    done: usize,
    reply: Sender<Vec<Vec<u64>>>,
}

/// Starts the thread of one partition.
pub(super) fn spawn(
    end: QueueEnd,
    config: &RuntimeConfig,
    sink: Arc<dyn MatchSink>,
    clock: Arc<WallClock>,
    telemetry: Arc<Telemetry>,
) -> std::io::Result<JoinHandle<()>> {
    let seed = std::hash::RandomState::new().hash_one(end.index);
    let machine = |max_age| Partition::new(PartitionConfig { max_age, sliced: config.sliced, seed });
    let mut worker = Worker {
        machines: config.namespaces.iter().map(|ns| machine(ns.max_age)).collect(),
        out: Output::default(),
        sink,
        clock,
        mode: config.clock,
        skew_ms: config.clock_skew_ms,
        previews: VecDeque::new(),
        rows: Vec::new(),
        index: end.index,
        telemetry,
    };
    std::thread::Builder::new().name(format!("partition-{}", end.index)).spawn(move || {
        let _lost = LostOnPanic { index: worker.index, telemetry: Arc::clone(&worker.telemetry) };
        worker.run(&end.urgent, &end.data);
    })
}

/// Says that a partition is gone, where its thread panics: its devices are lost until a restart.
struct LostOnPanic {
    index: u32,
    telemetry: Arc<Telemetry>,
}

impl Drop for LostOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.telemetry.health.fatal(format!("partition {} failed: its devices are lost", self.index));
        }
    }
}

impl Worker {
    fn run(&mut self, urgent: &Receiver<Task>, data: &Receiver<Task>) {
        let mut open = true;
        while open {
            let busy = self.has_work();
            // On the event clock an order stands among the pings, and the machine finishes what
            // is left before it; on the wall clock it waits here, so that no turn is long.
            if !busy && let Ok(task) = urgent.try_recv() {
                self.apply(task);
                continue;
            }
            if !busy {
                self.apply_due_stages();
            }
            if self.work_a_slice() {
                match data.try_recv() {
                    Ok(task) => self.apply(task),
                    Err(TryRecvError::Empty) => {}
                    // Work goes on until it is done; then the wait below sees that all is closed.
                    Err(TryRecvError::Disconnected) => self.finish_all(),
                }
                continue;
            }
            open = self.wait_for_one(urgent, data);
        }
        // What was told before the queues were closed is still carried out.
        while let Ok(task) = urgent.try_recv() {
            self.apply(task);
        }
        self.finish_all();
    }

    /// Waits for a task and applies it; false when no more can come.
    fn wait_for_one(&mut self, urgent: &Receiver<Task>, data: &Receiver<Task>) -> bool {
        let mut select = crossbeam::channel::Select::new_biased();
        let first = select.recv(urgent);
        select.recv(data);
        let ready = match select.try_ready() {
            Ok(ready) => ready,
            Err(_) if self.machines.iter_mut().any(Partition::prepare) => return true,
            Err(_) => match select.ready_timeout(self.wait_for_stage()) {
                Ok(ready) => ready,
                Err(_) => {
                    self.machines.iter_mut().for_each(Partition::idle);
                    (0..self.machines.len()).for_each(|at| self.count_devices(at));
                    return true;
                }
            },
        };
        let received = if ready == first {
            urgent.recv_timeout(Duration::ZERO)
        } else {
            data.recv_timeout(Duration::ZERO)
        };
        match received {
            Ok(task) => {
                self.apply(task);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            // Both queues close together; the data queue is read to its end first.
            Err(RecvTimeoutError::Disconnected) => match data.recv() {
                Ok(task) => {
                    self.apply(task);
                    true
                }
                Err(_) => false,
            },
        }
    }

    fn has_work(&self) -> bool {
        self.machines.iter().any(Partition::has_work)
    }

    fn wait_for_stage(&self) -> Duration {
        if self.mode == ClockMode::Event {
            return WAIT_MAX;
        }
        let next = self.machines.iter().filter_map(Partition::next_stage_at).min();
        let ms = next.map_or(i64::MAX, |at| at.ms_since(self.clock.now()));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(WAIT_MAX)
    }

    fn apply_due_stages(&mut self) {
        if self.mode == ClockMode::Event {
            return;
        }
        if let Some(next) = self.machines.iter().filter_map(Partition::next_stage_at).min() {
            let now = self.clock.now();
            if next <= now {
                self.on_each(|machine, out| machine.stages_through(now, out));
            }
        }
    }

    /// Does a slice of scans and previews; says whether there was anything to do.
    fn work_a_slice(&mut self) -> bool {
        if self.has_work() {
            self.on_each(|machine, out| {
                machine.work(SCAN_SLICE_DEVICES, out);
            });
            return true;
        }
        let Some(preview) = self.previews.front_mut() else { return false };
        let (machine, count) = (self.machines.get(preview.done), preview.counts.get_mut(preview.done));
        if let (Some(machine), Some(count)) = (machine, count) {
            if !machine.count_some(count, SCAN_SLICE_DEVICES) {
                preview.done += 1;
            }
        } else if let Some(done) = self.previews.pop_front() {
            // Whoever asked may have gone.
            let _ = done.reply.send(done.counts.iter().map(Count::per_stage).collect());
        }
        true
    }

    fn finish_all(&mut self) {
        self.on_each(|machine, out| machine.finish(out));
        while self.work_a_slice() {}
    }

    fn apply(&mut self, task: Task) {
        match task {
            Task::Pings(task) => self.pings(&task),
            Task::Batch(task) => self.batch(&task),
            Task::Order { order, index } => self.on_each(|machine, out| machine.order(&order, index, out)),
            Task::Passed { through } => self.on_each(|machine, out| machine.stages_through(through, out)),
            Task::Preview { part, mode, reply } => {
                let counts = self.machines.iter().map(|_| Count::new(part.clone(), mode)).collect();
                self.previews.push_back(Preview { counts, done: 0, reply });
            }
            Task::Barrier { reply } => {
                self.on_each(|machine, out| machine.finish(out));
                // Whoever waited may have gone.
                let _ = reply.send(());
            }
        }
    }

    fn pings(&mut self, task: &PingTask) {
        let clock = match self.mode {
            ClockMode::Wall => PingClock::Wall { now: self.clock.now(), skew_ms: self.skew_ms },
            ClockMode::Event => PingClock::Event { numbers: &task.numbers },
        };
        let Some(machine) = self.machines.get_mut(usize::from(task.namespace.0)) else { return };
        let counts = machine.pings(clock, task.base, &task.rows, &mut self.out);
        self.hand_on(task.namespace);
        self.count_pings(task.namespace, &counts);
        // Only now: `applied` says that the matches are with the log.
        if let Some(took) = task.ticket.part_applied(&counts) {
            self.telemetry.batch_applied(Some(self.index), took);
        }
    }

    /// Pings that no other thread has looked at. Wall clock only.
    fn batch(&mut self, task: &BatchTask) {
        let clock = PingClock::Wall { now: self.clock.now(), skew_ms: self.skew_ms };
        let Some(machine) = self.machines.get_mut(usize::from(task.namespace.0)) else { return };
        let (rows, strangers) = task.batch.own_rows(&mut self.rows);
        let mut counts = machine.pings(clock, task.batch.base(), rows, &mut self.out);
        counts.rejected[PingReject::Partition as usize] += strangers as u64;
        self.hand_on(task.namespace);
        self.count_pings(task.namespace, &counts);
        // Only now: `applied` says that the matches are with the log.
        if let Some(took) = task.ticket.part_applied(&counts) {
            self.telemetry.batch_applied(Some(self.index), took);
        }
    }

    fn count_pings(&self, namespace: NamespaceIx, counts: &PingCounts) {
        let at = usize::from(namespace.0);
        if let Some(share) = self.telemetry.share(self.index, at) {
            share.pings(counts);
        }
        self.count_devices(at);
    }

    fn count_devices(&self, namespace: usize) {
        if let (Some(share), Some(machine)) =
            (self.telemetry.share(self.index, namespace), self.machines.get(namespace))
        {
            share.devices(machine.devices());
        }
    }

    /// Counts what is handed on: by cause, and the first match of an alert.
    fn count_matches(&self, namespace: NamespaceIx) {
        let mut by_cause = [0; Cause::ALL.len()];
        for (run, devices) in self.out.runs() {
            by_cause[run.head.cause as usize] += devices.len();
            if run.head.cause == Cause::Publish {
                self.telemetry.first_match.matched(run.head.alert);
            }
        }
        let Some(share) = self.telemetry.share(self.index, usize::from(namespace.0)) else { return };
        for (cause, count) in Cause::ALL.into_iter().zip(by_cause) {
            if count > 0 {
                share.matches(cause, count);
            }
        }
    }

    fn on_each(&mut self, mut act: impl FnMut(&mut Partition, &mut Output)) {
        for i in 0..self.machines.len() {
            act(&mut self.machines[i], &mut self.out);
            self.hand_on(NamespaceIx(i as u16));
        }
    }

    fn hand_on(&mut self, namespace: NamespaceIx) {
        if !self.out.is_empty() {
            self.sink.matches(namespace, &self.out);
            self.count_matches(namespace);
            self.out.clear();
        }
    }
}
