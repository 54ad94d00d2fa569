//! The bounded queues in front of the partitions.
//!
//! Pings take permits before they are queued and keep them until they are applied, so the queue
//! of batches is bounded by [`PINGS_QUEUED_MAX`] in pings and, since each takes at least
//! [`BATCH_QUEUE_COST_MIN`], in number. Orders have a queue of their own that is read first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Applied, NamespaceIx, SnapshotPart, lock, partition_of};
use crate::domain::{DeviceId, EventTime, PartSpec, PingCounts, PingRow, Uncertainty};
use crate::engine::Order;
use crate::geo::PreparedArea;
use crate::limits::{BATCH_QUEUE_COST_MIN, ORDERS_QUEUED_MAX, PINGS_QUEUED_MAX};
use crate::planted::{self, Defect};
use crate::sync::{AtomicU64, Mutex};
use crate::wire::PingBatch;

/// What a partition's thread is asked to do.
#[derive(Clone)]
pub(super) enum Task {
    Pings(PingTask),
    Batch(BatchTask),
    Order {
        order: Arc<Order>,
        index: u64,
    },
    /// The event clock has passed all times up to and at this one.
    Passed {
        through: EventTime,
    },
    Preview {
        part: PartSpec<PreparedArea>,
        mode: Uncertainty,
        reply: Sender<Vec<Vec<u64>>>,
    },
    Barrier {
        reply: Sender<()>,
    },
    /// Take a snapshot and hand it over.
    Snapshot {
        out: Sender<SnapshotPart>,
    },
}

/// The pings of one batch that belong to one partition.
#[derive(Clone)]
pub(super) struct PingTask {
    pub(super) namespace: NamespaceIx,
    pub(super) base: EventTime,
    pub(super) rows: Vec<PingRow>,
    /// On the event clock: the number of each row in the stream.
    pub(super) numbers: Vec<u64>,
    pub(super) ticket: Arc<Ticket>,
}

/// A batch that is for one partition as a whole, still as it came.
#[derive(Clone)]
pub(super) struct BatchTask {
    pub(super) namespace: NamespaceIx,
    pub(super) batch: PingBatch,
    pub(super) ticket: Arc<Ticket>,
}

/// Travels with the parts of a batch; when the last part is applied it reports the whole batch
/// and gives its room back.
pub(super) struct Ticket {
    number: u64,
    /// When the batch came.
    received: Instant,
    /// Parts not yet applied, and one more until all are sent.
    left: AtomicU64,
    /// Likewise, parts that the ping logs do not hold yet, where there are ping logs.
    unkept: Option<AtomicU64>,
    counts: Mutex<PingCounts>,
    reports: Reports,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Whom a session's batches are reported to.
#[derive(Clone)]
pub(super) struct Reports {
    pub(super) applied: mpsc::UnboundedSender<Applied>,
    /// Numbers of batches that the ping logs hold.
    pub(super) kept: mpsc::UnboundedSender<u64>,
}

impl Ticket {
    pub(super) fn new(
        number: u64,
        received: Instant,
        logged: bool,
        reports: Reports,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            received,
            left: AtomicU64::new(1),
            unkept: logged.then(|| AtomicU64::new(1)),
            counts: Mutex::new(PingCounts::default()),
            reports,
            permit: Mutex::new(Some(permit)),
        })
    }

    /// One more part of the batch goes to a partition.
    pub(super) fn for_part(self: &Arc<Self>) -> Arc<Self> {
        self.left.fetch_add(1, Ordering::Relaxed);
        if let Some(unkept) = &self.unkept {
            unkept.fetch_add(1, Ordering::Relaxed);
        }
        Arc::clone(self)
    }

    /// A partition has applied its part. Where that was the last: how long the batch took.
    pub(super) fn part_applied(&self, counts: &PingCounts) -> Option<Duration> {
        lock(&self.counts).add(counts);
        self.finish_one()
    }

    /// No more parts follow. Where all are applied: how long the batch took.
    pub(super) fn all_sent(&self) -> Option<Duration> {
        self.part_kept();
        self.finish_one()
    }

    /// A ping log holds a part. Where that was the last, the batch gives its room back only now: what waits for
    /// the disk is bounded by it.
    pub(super) fn part_kept(&self) {
        if let Some(unkept) = &self.unkept
            && (unkept.fetch_sub(1, Ordering::AcqRel) == 1 || planted::on(Defect::FirstPartKept))
        {
            drop(lock(&self.permit).take());
            // A session that is gone wants no report.
            let _ = self.reports.kept.send(self.number);
        }
    }

    fn finish_one(&self) -> Option<Duration> {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        if self.unkept.is_none() {
            drop(lock(&self.permit).take());
        }
        // A session that is gone wants no report.
        let _ = self.reports.applied.send(Applied { number: self.number, counts: *lock(&self.counts) });
        Some(self.received.elapsed())
    }
}

/// A partition's end of its queues.
pub(super) struct QueueEnd {
    pub(super) index: u32,
    pub(super) urgent: Receiver<Task>,
    pub(super) data: Receiver<Task>,
}

struct Senders {
    urgent: Vec<Sender<Task>>,
    data: Vec<Sender<Task>>,
}

/// The sending end of all partitions' queues.
pub(super) struct Queues {
    room: Arc<Semaphore>,
    /// `None` once closed.
    senders: Mutex<Option<Arc<Senders>>>,
    partitions: u32,
}

/// Opens the queues of `partitions` partitions.
pub(super) fn open(partitions: u32) -> (Queues, Vec<QueueEnd>) {
    let mut senders = Senders { urgent: Vec::new(), data: Vec::new() };
    let mut ends = Vec::new();
    // Every queued batch holds permits, so this many fit; watermarks and orders of the event
    // clock share the queue and wait where it is full.
    let batches = (PINGS_QUEUED_MAX / BATCH_QUEUE_COST_MIN) as usize;
    for index in 0..partitions {
        let (urgent_in, urgent) = bounded(ORDERS_QUEUED_MAX);
        let (data_in, data) = bounded(batches);
        senders.urgent.push(urgent_in);
        senders.data.push(data_in);
        ends.push(QueueEnd { index, urgent, data });
    }
    let room = Arc::new(Semaphore::new(PINGS_QUEUED_MAX as usize));
    (Queues { room, senders: Mutex::new(Some(Arc::new(senders))), partitions }, ends)
}

impl Queues {
    /// Waits for room for a batch; `None` once closed.
    pub(super) async fn room_for(&self, pings: usize) -> Option<OwnedSemaphorePermit> {
        let cost = u32::try_from(pings).unwrap_or(u32::MAX).clamp(BATCH_QUEUE_COST_MIN, PINGS_QUEUED_MAX);
        Arc::clone(&self.room).acquire_many_owned(cost).await.ok()
    }

    fn senders(&self) -> Option<Arc<Senders>> {
        lock(&self.senders).clone()
    }

    /// Splits a batch by partition and queues the parts.
    pub(super) fn submit(
        &self,
        namespace: NamespaceIx,
        base: EventTime,
        rows: &[PingRow],
        ticket: &Arc<Ticket>,
    ) {
        let mut split = Split::new(self.partitions, rows.len());
        rows.iter().for_each(|row| split.add(row, None));
        self.send_split(&mut split, namespace, base, ticket);
    }

    /// Queues a whole batch for the partition that it is for.
    pub(super) fn submit_whole(&self, partition: u16, task: BatchTask) {
        let Some(senders) = self.senders() else { return };
        if let Some(data) = senders.data.get(usize::from(partition)) {
            // A closed queue is a partition that is gone; shutting down reports that.
            let _ = data.send(Task::Batch(task));
        }
    }

    /// Queues what a split holds and empties it.
    pub(super) fn send_split(
        &self,
        split: &mut Split,
        namespace: NamespaceIx,
        base: EventTime,
        ticket: &Arc<Ticket>,
    ) {
        let Some(senders) = self.senders() else { return };
        for (part, data) in split.parts.iter_mut().zip(&senders.data) {
            if !part.rows.is_empty() {
                let Part { rows, numbers } = std::mem::take(part);
                let task = PingTask { namespace, base, rows, numbers, ticket: ticket.for_part() };
                // A closed queue is a partition that is gone; shutting down reports that.
                let _ = data.send(Task::Pings(task));
            }
        }
    }

    /// Puts a task before all waiting pings of each partition.
    pub(super) fn urgent_to_all(&self, task: &Task) {
        if let Some(senders) = self.senders() {
            senders.urgent.iter().for_each(|queue| drop(queue.send(task.clone())));
        }
    }

    /// Puts a task before all waiting pings of one partition.
    pub(super) fn urgent_to(&self, partition: u32, task: Task) {
        if let Some(senders) = self.senders()
            && let Some(queue) = senders.urgent.get(partition as usize)
        {
            // A closed queue is a partition that is gone; then what waits for an answer sees that.
            drop(queue.send(task));
        }
    }

    /// Puts a task behind all waiting pings of each partition.
    pub(super) fn data_to_all(&self, task: &Task) {
        if let Some(senders) = self.senders() {
            senders.data.iter().for_each(|queue| drop(queue.send(task.clone())));
        }
    }

    /// Takes no more; the partitions end when they have done what was queued.
    pub(super) fn close(&self) {
        self.room.close();
        lock(&self.senders).take();
    }

    /// Pings that wait or are being applied, as they count against their bound.
    pub(super) fn pings_queued(&self) -> u64 {
        (PINGS_QUEUED_MAX as usize).saturating_sub(self.room.available_permits()) as u64
    }

    /// Orders and previews that wait for the partition where most do.
    pub(super) fn orders_queued(&self) -> u64 {
        let most = |senders: Arc<Senders>| senders.urgent.iter().map(Sender::len).max();
        self.senders().and_then(most).unwrap_or(0) as u64
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions
    }
}

#[derive(Clone, Default)]
struct Part {
    rows: Vec<PingRow>,
    numbers: Vec<u64>,
}

/// Rows on their way to their partitions.
pub(super) struct Split {
    parts: Vec<Part>,
}

impl Split {
    pub(super) fn new(partitions: u32, rows: usize) -> Self {
        let each = rows / partitions.max(1) as usize * 9 / 8 + 8;
        let part = || Part { rows: Vec::with_capacity(each), numbers: Vec::new() };
        Self { parts: (0..partitions).map(|_| part()).collect() }
    }

    #[inline]
    pub(super) fn add(&mut self, row: &PingRow, number: Option<u64>) {
        let partition = partition_of(DeviceId(row.device.get()), self.parts.len() as u32);
        let part = &mut self.parts[partition as usize];
        part.rows.push(*row);
        part.numbers.extend(number);
    }
}
