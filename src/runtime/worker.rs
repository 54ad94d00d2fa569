//! A partition's thread: owns the ends of its queues, and gives its driver one thing after the
//! other.
//!
//! One turn: orders first (but not into an unfinished scan, which goes before them in slices),
//! then stages that are due, then a slice of work, then pings.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::driver::Driver;
use super::queue::{QueueEnd, Task};
use super::{NamespaceIx, SnapshotPart};
use crate::limits::SNAPSHOT_DEBT_BYTES_MAX;
use crate::telemetry::Telemetry;

/// Longest wait for a task before the clock is looked at again, ms: bounds how late a stage is
/// when the system's clock is set forward.
const WAIT_MS_MAX: u64 = 100;

struct Worker {
    driver: Driver,
    /// Who wants a snapshot that has not begun: it waits for the end of scans.
    wanted: Option<Sender<SnapshotPart>>,
    saving: Option<Saving>,
}

/// A snapshot under way.
struct Saving {
    out: Sender<SnapshotPart>,
    /// Its namespaces as they were when it began, those before `at` taken out.
    begun: Vec<Option<SnapshotPart>>,
    at: usize,
}

/// About how many bytes of a snapshot are made in a turn.
const SNAPSHOT_TURN_BYTES: usize = 512 << 10;

/// Starts the thread of one partition.
pub(super) fn spawn(
    end: QueueEnd,
    driver: Driver,
    telemetry: Arc<Telemetry>,
) -> std::io::Result<JoinHandle<()>> {
    let driver = driver.counted(end.index, Arc::clone(&telemetry));
    let mut worker = Worker { driver, wanted: None, saving: None };
    std::thread::Builder::new().name(format!("partition-{}", end.index)).spawn(move || {
        let _lost = LostOnPanic { index: end.index, telemetry };
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
            let busy = self.driver.has_work();
            // On the event clock an order stands among the pings, and the machine finishes what
            // is left before it; on the wall clock it waits here, so that no turn is long.
            if !busy && let Ok(task) = urgent.try_recv() {
                self.apply(task);
                continue;
            }
            if !busy {
                self.driver.apply_due_stages();
            }
            if self.driver.work_a_slice() || self.save_some() {
                match data.try_recv() {
                    Ok(task) => self.apply(task),
                    Err(TryRecvError::Empty) => {}
                    // Work goes on until it is done; then the wait below sees that all is closed.
                    Err(TryRecvError::Disconnected) => self.driver.finish_all(),
                }
                continue;
            }
            open = self.wait_for_one(urgent, data);
        }
        // What was told before the queues were closed is still carried out.
        while let Ok(task) = urgent.try_recv() {
            self.apply(task);
        }
        self.driver.finish_all();
    }

    fn apply(&mut self, task: Task) {
        match task {
            // One at a time: an older one that has not begun is given up.
            Task::Snapshot { out } => self.wanted = Some(out),
            task => self.driver.apply(task),
        }
    }

    /// Does some of a snapshot, where one is wanted and there is room for it; says whether it did.
    fn save_some(&mut self) -> bool {
        if let Some(out) = self.wanted.take() {
            if self.saving.is_none() && self.driver.begin_snapshot() {
                let begun = self.driver.begun().into_iter().map(Some).collect();
                self.saving = Some(Saving { out, begun, at: 0 });
            } else {
                self.wanted = Some(out);
                return false;
            }
        }
        let Some(saving) = &mut self.saving else { return false };
        // What waits aside must not grow without bound: then this waits for the disk.
        if saving.out.is_full() && self.driver.snapshot_debt() < SNAPSHOT_DEBT_BYTES_MAX {
            return false;
        }
        if saving.some(&mut self.driver).is_none() {
            // All is done, or nobody wants it any more.
            self.driver.abort_snapshot();
            self.saving = None;
        }
        true
    }

    /// Waits for a task and applies it; false when no more can come.
    fn wait_for_one(&mut self, urgent: &Receiver<Task>, data: &Receiver<Task>) -> bool {
        let mut select = crossbeam::channel::Select::new_biased();
        let first = select.recv(urgent);
        select.recv(data);
        let ready = match select.try_ready() {
            Ok(ready) => ready,
            Err(_) if self.driver.prepare() => return true,
            Err(_) => {
                let wait = Duration::from_millis(self.driver.ms_to_stage(WAIT_MS_MAX));
                match select.ready_timeout(wait) {
                    Ok(ready) => ready,
                    Err(_) => {
                        self.driver.idle();
                        return true;
                    }
                }
            }
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
}

impl Saving {
    /// Hands the next block over; `None` where the snapshot is over.
    fn some(&mut self, driver: &mut Driver) -> Option<()> {
        let begun = self.begun.get_mut(self.at)?;
        if let Some(begin) = begun.take() {
            self.out.send(begin).ok()?;
        }
        let mut block = Vec::new();
        let more = driver.snapshot_some(NamespaceIx(self.at as u16), SNAPSHOT_TURN_BYTES, &mut block);
        if !block.is_empty() {
            self.out.send(SnapshotPart::Block(block)).ok()?;
        }
        if !more {
            self.at += 1;
            if self.at == self.begun.len() {
                // Whoever wanted it may have gone.
                let _ = self.out.send(SnapshotPart::End);
                return None;
            }
        }
        Some(())
    }
}
