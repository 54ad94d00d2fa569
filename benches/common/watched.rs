//! A partition that is watched: how long its calls take, and what they bring.

use std::time::Duration;

use hexcast::domain::{EventTime, MaxAge, PingRow};
use hexcast::engine::{Order, Output, Partition, PartitionConfig, PingClock};
use hexcast::limits::{CLOCK_SKEW_MS, SCAN_SLICE_DEVICES};

use super::{CHUNK, Chunk, Spent, World};

/// The longest single calls, in processor time of the thread: what a ping behind it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Longest {
    /// A batch of pings.
    pub batch: Duration,
    /// The same by the clock on the wall: with what it waits for, and what others take of the core.
    pub batch_wall: Duration,
    /// An order.
    pub order: Duration,
    /// A slice of a scan.
    pub slice: Duration,
}

impl Longest {
    /// The longest of all.
    pub fn any(&self) -> Duration {
        self.batch.max(self.order).max(self.slice)
    }
}

/// A partition and the watch on it.
pub struct Watched {
    pub partition: Partition,
    out: Output,
    /// Time spent on pings.
    pub on_pings: Spent,
    /// Time spent on orders and slices.
    pub on_scans: Spent,
    /// The longest calls.
    pub longest: Longest,
    /// Matches that came out.
    pub matches: u64,
    /// Pings taken.
    pub pings: u64,
    /// Orders given.
    orders: u64,
}

impl Watched {
    /// An empty partition.
    pub fn new(max_age: MaxAge) -> Self {
        Self {
            partition: Partition::new(PartitionConfig { max_age, sliced: true, seed: 1 }),
            out: Output::default(),
            on_pings: Spent::default(),
            on_scans: Spent::default(),
            longest: Longest::default(),
            matches: 0,
            pings: 0,
            orders: 0,
        }
    }

    /// Forgets what the watch has shown so far.
    pub fn reset(&mut self) {
        (self.on_pings, self.on_scans) = Default::default();
        self.longest = Longest::default();
        (self.matches, self.pings) = (0, 0);
    }

    fn taken(&mut self) -> u64 {
        let count = self.out.len() as u64;
        self.matches += count;
        self.out.clear();
        count
    }

    /// One batch, whose rows count from `base`, at the server's time `now`.
    pub fn batch(&mut self, base: EventTime, now: EventTime, rows: &[PingRow]) {
        let clock = PingClock::Wall { now, skew_ms: CLOCK_SKEW_MS };
        let (_, spent) = Spent::on(|| self.partition.pings(clock, base, rows, &mut self.out));
        self.pings += rows.len() as u64;
        self.on_pings += spent;
        self.longest.batch = self.longest.batch.max(spent.cpu);
        self.longest.batch_wall = self.longest.batch_wall.max(spent.wall);
        self.taken();
    }

    /// All batches of a chunk; after each, `between` may do other work.
    pub fn pings(&mut self, chunk: &Chunk, mut between: impl FnMut(&mut Self, EventTime)) {
        for (base, now, rows) in chunk.batches() {
            self.batch(base, now, rows);
            between(self, now);
        }
    }

    /// Gives an order; its work is left for [`slice`](Self::slice).
    pub fn order(&mut self, order: &Order) -> u64 {
        let (_, spent) = Spent::on(|| self.partition.order(order, self.orders, &mut self.out));
        self.orders += 1;
        self.on_scans += spent;
        self.longest.order = self.longest.order.max(spent.cpu);
        self.taken()
    }

    /// A slice of the work that is left, where there is any: the matches that it brought.
    pub fn slice(&mut self) -> u64 {
        if !self.partition.has_work() {
            return 0;
        }
        let (_, spent) = Spent::on(|| self.partition.work(SCAN_SLICE_DEVICES, &mut self.out));
        self.on_scans += spent;
        self.longest.slice = self.longest.slice.max(spent.cpu);
        self.taken()
    }

    /// A turn of a thread with nothing else to do; counted among the slices.
    pub fn idle(&mut self) {
        let (_, spent) = Spent::on(|| self.partition.idle());
        self.on_scans += spent;
        self.longest.slice = self.longest.slice.max(spent.cpu);
    }

    /// Does all work that is left, slice by slice.
    pub fn finish(&mut self) {
        while self.partition.has_work() {
            self.slice();
        }
    }

    /// Lets every device of a world ping once.
    pub fn populate(&mut self, world: &mut World, devices: u64, chunk: &mut Chunk) {
        let mut left = devices;
        while left > 0 {
            let count = left.min(CHUNK as u64);
            world.fill(chunk, count as usize);
            self.pings(chunk, |_, _| {});
            left -= count;
        }
    }
}
