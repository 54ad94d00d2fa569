//! A partition's thread: owns the ends of its queues, and gives its driver one thing after the
//! other.
//!
//! One turn: orders first (but not into an unfinished scan, which goes before them in slices),
//! then stages that are due, then a slice of work, then pings.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::clock::Clock;
use super::driver::Driver;
use super::queue::{QueueEnd, Task};
use super::{MatchSink, RuntimeConfig};
use crate::telemetry::Telemetry;

/// Longest wait for a task before the clock is looked at again, ms: bounds how late a stage is
/// when the system's clock is set forward.
const WAIT_MS_MAX: u64 = 100;

struct Worker {
    driver: Driver,
}

/// Starts the thread of one partition.
pub(super) fn spawn(
    end: QueueEnd,
    config: &RuntimeConfig,
    sink: Arc<dyn MatchSink>,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
) -> std::io::Result<JoinHandle<()>> {
    let seed = std::hash::RandomState::new().hash_one(end.index);
    let driver = Driver::new(config, sink, clock, seed).counted(end.index, Arc::clone(&telemetry));
    let mut worker = Worker { driver };
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
                self.driver.apply(task);
                continue;
            }
            if !busy {
                self.driver.apply_due_stages();
            }
            if self.driver.work_a_slice() {
                match data.try_recv() {
                    Ok(task) => self.driver.apply(task),
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
            self.driver.apply(task);
        }
        self.driver.finish_all();
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
                self.driver.apply(task);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            // Both queues close together; the data queue is read to its end first.
            Err(RecvTimeoutError::Disconnected) => match data.recv() {
                Ok(task) => {
                    self.driver.apply(task);
                    true
                }
                Err(_) => false,
            },
        }
    }
}
