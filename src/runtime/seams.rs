//! What a simulation needs of this room to bring pings to a partition as a session and its queues do, without
//! threads: real tickets, reports and tasks.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use super::driver::Driver;
use super::queue::{BatchTask, PingTask, Reports, Task, Ticket};
use super::{Applied, NamespaceIx};
use crate::domain::{EventTime, PingRow};
use crate::wire::PingBatch;

/// A session's stream of batches, and what is reported of them.
pub(crate) struct Session {
    reports: Reports,
    logged: bool,
    room: Arc<Semaphore>,
    pub(crate) applied: mpsc::UnboundedReceiver<Applied>,
    pub(crate) kept: mpsc::UnboundedReceiver<u64>,
}

impl Session {
    /// `logged`: batches are kept in ping logs. Each takes a permit of `room` until it is applied, or kept.
    pub(crate) fn new(logged: bool, room: Arc<Semaphore>) -> Self {
        let (applied_in, applied) = mpsc::unbounded_channel();
        let (kept_in, kept) = mpsc::unbounded_channel();
        Self { reports: Reports { applied: applied_in, kept: kept_in }, logged, room, applied, kept }
    }

    /// A batch comes in; `None` where there is no room.
    pub(crate) fn take(&self, number: u64) -> Option<Part> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Part(Ticket::new(number, Instant::now(), self.logged, self.reports.clone(), permit)))
    }
}

/// A part of a batch, or the batch while its parts are sent.
pub(crate) struct Part(Arc<Ticket>);

impl Part {
    /// One more part goes to a partition.
    pub(crate) fn another(&self) -> Self {
        Self(self.0.for_part())
    }

    /// No more follow.
    pub(crate) fn all_sent(self) {
        self.0.all_sent();
    }

    /// A partition applies rows.
    pub(crate) fn rows(
        self,
        driver: &mut Driver,
        namespace: NamespaceIx,
        base: EventTime,
        rows: Vec<PingRow>,
    ) {
        driver.apply(Task::Pings(PingTask { namespace, base, rows, numbers: Vec::new(), ticket: self.0 }));
    }

    /// A partition applies a batch as it came.
    pub(crate) fn whole(self, driver: &mut Driver, namespace: NamespaceIx, batch: PingBatch) {
        driver.apply(Task::Batch(BatchTask { namespace, batch, ticket: self.0 }));
    }
}
