//! One share of a namespace's devices: a serial state machine.

use super::Order;
use super::cells::{AccuracyClass, BucketIx, Cells, Over};
use super::devices::{Devices, Row, Slot};
use super::notified::Notified;
use super::output::{EventKey, Output};
use super::scan::{PartSet, Stamp, Unfinished, containing, found};
use super::standing::{Alert, Part, Standing};
use crate::domain::{
    AlertNo, Cause, DeviceId, DirectiveKind, EventTime, MaxAge, Ping, PingCounts, PingReject, PingRow,
};
use crate::geo::{CellClass, cell_of};

/// How a partition runs.
#[derive(Clone, Copy, Debug)]
pub struct PartitionConfig {
    /// How long a device is known.
    pub max_age: MaxAge,
    /// Whether events leave their scans to [`Partition::work`], or do them at once.
    pub sliced: bool,
}

/// The time that the pings of a batch are given.
#[derive(Clone, Copy, Debug)]
pub enum PingClock<'a> {
    /// The server's time for all; a ping further ahead than the skew is rejected.
    Wall {
        /// The server's time.
        now: EventTime,
        /// Allowed clock skew, ms.
        skew_ms: i64,
    },
    /// Each its own `at`; `numbers` are their places in the stream (0 where missing).
    Event {
        /// The number of each row.
        numbers: &'a [u64],
    },
}

/// A partition of one namespace. See the module's head for what it is and never does.
#[derive(Debug)]
pub struct Partition {
    pub(super) config: PartitionConfig,
    pub(super) clock: EventTime,
    pub(super) devices: Devices,
    pub(super) cells: Cells,
    pub(super) standing: Standing,
    pub(super) unfinished: Option<Unfinished>,
    /// Where the search for devices to forget goes on.
    forget_next: u32,
}

impl Partition {
    /// An empty partition whose clock was given no time yet.
    pub fn new(config: PartitionConfig) -> Self {
        Self {
            config,
            clock: EventTime::BEFORE_ALL,
            devices: Devices::default(),
            cells: Cells::default(),
            standing: Standing::default(),
            unfinished: None,
            forget_next: 0,
        }
    }

    /// The largest time given so far.
    pub fn clock(&self) -> EventTime {
        self.clock
    }

    /// Devices in the table, the known and the not yet forgotten.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// When the next stage of any active alert is due: call [`Partition::stages_through`] then.
    pub fn next_stage_at(&self) -> Option<EventTime> {
        self.standing.next_stage_at()
    }

    /// Whether an event has work left for [`Partition::work`].
    pub fn has_work(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Applies a batch, ping by ping in its order; stages due before a ping's time come first.
    pub fn pings(
        &mut self,
        clock: PingClock<'_>,
        base: EventTime,
        rows: &[PingRow],
        out: &mut Output,
    ) -> PingCounts {
        let mut counts = PingCounts::default();
        let latest = match clock {
            PingClock::Wall { now, skew_ms } => {
                self.pass(now, out);
                Some(now.plus_ms(skew_ms))
            }
            PingClock::Event { .. } => None,
        };
        for (i, row) in rows.iter().enumerate() {
            let ping = match row.read(base) {
                Ok(ping) if latest.is_some_and(|latest| ping.at > latest) => {
                    counts.reject(PingReject::Future);
                    continue;
                }
                Ok(ping) => ping,
                Err(reason) => {
                    counts.reject(reason);
                    continue;
                }
            };
            let key = match clock {
                PingClock::Wall { now, .. } => EventKey::ping(now, 0),
                PingClock::Event { numbers } => {
                    self.pass(ping.at, out);
                    EventKey::ping(ping.at, numbers.get(i).copied().unwrap_or(0))
                }
            };
            if self.ping(&ping, key, out) {
                counts.accepted += 1;
            } else {
                counts.stale += 1;
            }
        }
        self.forget_some(rows.len());
        counts
    }

    /// Carries out an order; stages due before its time come first. `index` is its place among
    /// all orders.
    pub fn order(&mut self, order: &Order, index: u64, out: &mut Output) {
        self.pass(order.at, out);
        self.finish(out);
        let key = EventKey::action(order.at, index);
        let no = order.alert;
        let stamp = |cause| Stamp { key, cause, at: order.at };
        match &order.kind {
            DirectiveKind::Publish { part, uncertainty, expires } => {
                let alert = Alert {
                    version: 1,
                    published_at: order.at,
                    expires: *expires,
                    mode: *uncertainty,
                    parts: vec![Part::at(part.clone(), self.clock)],
                    active: self.clock < *expires,
                    notified: Notified::default(),
                };
                self.standing.alerts.insert(no, alert);
                self.lay_all(no);
                self.scan_later(no, PartSet::ALL, stamp(Cause::Publish));
            }
            DirectiveKind::Update { version, part, uncertainty, expires } => {
                let clock = self.clock;
                let Some(alert) = self.standing.alerts.get_mut(&no) else { return };
                alert.version = *version;
                alert.mode = *uncertainty;
                alert.expires = *expires;
                alert.active = clock < *expires;
                if let (Some(new), Some(first)) = (part, alert.parts.first_mut()) {
                    first.spec = new.clone();
                }
                alert.parts.iter_mut().for_each(|part| part.activate(clock));
                let notified = alert.notified.clone();
                let message = found(no, alert, 0, &stamp(Cause::Update), DeviceId(0));
                self.fan_out_later(message, key, notified);
                self.lay_all(no);
                self.scan_later(no, PartSet::ALL, stamp(Cause::Publish));
            }
            DirectiveKind::Sighting { part } => {
                let clock = self.clock;
                let Some(alert) = self.standing.alerts.get_mut(&no) else { return };
                alert.parts.push(Part::at(part.clone(), clock));
                let part = (alert.parts.len() - 1) as u8;
                self.lay(no, part);
                self.scan_later(no, PartSet::one(part), stamp(Cause::Sighting));
            }
            DirectiveKind::Cancel => {
                let Some(mut alert) = self.standing.alerts.remove(&no) else { return };
                if let Some(first) = alert.parts.first_mut() {
                    first.activate(self.clock);
                }
                let message = found(no, &alert, 0, &stamp(Cause::Cancel), DeviceId(0));
                self.fan_out_later(message, key, alert.notified);
                self.lift(no);
            }
        }
        self.standing.plan();
        self.settle(out);
    }

    /// Applies every stage due up to and at `through`, in order, each with its own time, and
    /// moves the clock there.
    pub fn stages_through(&mut self, through: EventTime, out: &mut Output) {
        while let Some(due) = self.standing.next_stage_at().filter(|due| *due <= through) {
            self.stages(due, out);
        }
        self.set_clock(through, out);
    }

    /// Applies every stage due before `to` and moves the clock to `to` where it is later.
    fn pass(&mut self, to: EventTime, out: &mut Output) {
        while let Some(due) = self.standing.next_stage_at().filter(|due| *due < to) {
            self.stages(due, out);
        }
        self.set_clock(to, out);
    }

    fn set_clock(&mut self, to: EventTime, out: &mut Output) {
        self.clock = self.clock.max(to);
        while self.standing.next_expiry().is_some_and(|expiry| expiry <= self.clock) {
            // Its scan reads what is taken away here.
            self.finish(out);
            let ended: Vec<AlertNo> = self
                .standing
                .alerts
                .iter_mut()
                .filter(|(_, alert)| alert.active && alert.expires <= self.clock)
                .map(|(no, alert)| {
                    alert.active = false;
                    *no
                })
                .collect();
            ended.into_iter().for_each(|no| self.lift(no));
            self.standing.plan();
        }
    }

    /// One event: all stages due at `due`.
    fn stages(&mut self, due: EventTime, out: &mut Output) {
        self.finish(out);
        self.set_clock(due, out);
        let stamp = Stamp { key: EventKey::stage(due), cause: Cause::Escalation, at: due };
        let mut grown: Vec<(AlertNo, PartSet)> = Vec::new();
        for (no, alert) in self.standing.alerts.iter_mut().filter(|(_, alert)| alert.active) {
            let mut parts = PartSet::default();
            for (i, part) in alert.parts.iter_mut().enumerate() {
                if part.next_at().is_some_and(|at| at <= due) {
                    part.activate(due);
                    parts.add(i as u8);
                }
            }
            if !parts.is_empty() {
                grown.push((*no, parts));
            }
        }
        for (no, parts) in grown {
            self.lay_all(no);
            self.scan_later(no, parts, stamp);
        }
        self.standing.plan();
        self.settle(out);
    }

    /// Applies one ping; false where it is stale.
    fn ping(&mut self, ping: &Ping, key: EventKey, out: &mut Output) -> bool {
        let slot = match self.devices.find(ping.device) {
            Some(slot) => {
                if ping.at < self.devices.row(slot).at {
                    return false;
                }
                self.judge_before_ping(slot, out);
                self.move_to(slot, ping);
                slot
            }
            None => {
                let Some(slot) = self.arrive(ping) else { return false };
                slot
            }
        };
        self.enter(slot, key, out);
        true
    }

    /// Rule `enter`: the alerts over the device's bucket that contain it and did not notify it.
    fn enter(&mut self, slot: Slot, key: EventKey, out: &mut Output) {
        let row = *self.devices.row(slot);
        let bucket = self.cells.bucket(row.bucket);
        if bucket.over.is_empty() || !self.config.max_age.knows(row.at, self.clock) {
            return;
        }
        let mut rest = &bucket.over[..];
        while let Some(first) = rest.first() {
            let end = rest.partition_point(|o| o.alert == first.alert);
            let (over, tail) = rest.split_at(end);
            rest = tail;
            let Some(alert) = self.standing.alerts.get_mut(&first.alert) else { continue };
            if alert.notified.present.has(slot) {
                continue;
            }
            if let Some(part) = containing(over, PartSet::ALL, alert, &row) {
                let stamp = Stamp { key, cause: Cause::Enter, at: row.at.max(alert.published_at) };
                out.push(key, found(first.alert, alert, part, &stamp, row.device));
                alert.notified.present.set(slot);
            }
        }
    }

    /// Adds a device. `None` only when all 2^32 slots are in use.
    fn arrive(&mut self, ping: &Ping) -> Option<Slot> {
        let bucket = self.bucket_for(ping);
        let place = self.cells.bucket(bucket).slots.len() as u32;
        let row = Row {
            device: ping.device,
            at: ping.at,
            position: ping.position,
            accuracy_m: ping.accuracy_m,
            bucket,
            place,
        };
        let slot = self.devices.insert(row)?;
        self.cells.bucket_mut(bucket).slots.push(slot);
        self.standing.alerts.values_mut().for_each(|alert| alert.notified.arrive(slot, ping.device));
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.touched.set(slot);
        }
        Some(slot)
    }

    fn move_to(&mut self, slot: Slot, ping: &Ping) {
        let row = *self.devices.row(slot);
        let same_class = AccuracyClass::of(ping.accuracy_m) == AccuracyClass::of(row.accuracy_m);
        let bucket =
            if ping.position == row.position && same_class { row.bucket } else { self.bucket_for(ping) };
        if bucket != row.bucket {
            self.leave_bucket(&row);
            let slots = &mut self.cells.bucket_mut(bucket).slots;
            slots.push(slot);
            let place = (slots.len() - 1) as u32;
            let row = self.devices.row_mut(slot);
            row.bucket = bucket;
            row.place = place;
        }
        let row = self.devices.row_mut(slot);
        row.at = ping.at;
        row.position = ping.position;
        row.accuracy_m = ping.accuracy_m;
    }

    fn leave_bucket(&mut self, row: &Row) {
        let slots = &mut self.cells.bucket_mut(row.bucket).slots;
        slots.swap_remove(row.place as usize);
        if let Some(&moved) = slots.get(row.place as usize) {
            self.devices.row_mut(moved).place = row.place;
        }
    }

    /// The bucket of a ping's cell and accuracy; a new one learns which alerts stand over it.
    fn bucket_for(&mut self, ping: &Ping) -> BucketIx {
        let (cell, class) = (cell_of(ping.position), AccuracyClass::of(ping.accuracy_m));
        if let Some(ix) = self.cells.find(cell, class) {
            return ix;
        }
        let ix = self.cells.make(cell, class);
        let bucket = self.cells.bucket_mut(ix);
        for (no, alert) in self.standing.alerts.iter().filter(|(_, alert)| alert.active) {
            for (i, part) in alert.parts.iter().enumerate() {
                let split = part.spec.area.classify(part.reach(alert.mode), &bucket.bound, class.range_m());
                if split != CellClass::Outside {
                    let interior = split == CellClass::Interior;
                    bucket.put_over(Over { alert: *no, part: i as u8, interior });
                }
            }
        }
        ix
    }

    /// Lays all parts of an active alert over the buckets anew, at their active stages.
    fn lay_all(&mut self, no: AlertNo) {
        self.lift(no);
        let parts = self.standing.alerts.get(&no).map_or(0, |alert| alert.parts.len());
        (0..parts).for_each(|part| self.lay(no, part as u8));
    }

    /// Lays one part that is over no bucket.
    fn lay(&mut self, no: AlertNo, part: u8) {
        let Some(alert) = self.standing.alerts.get(&no).filter(|alert| alert.active) else { return };
        let Some(laid) = alert.parts.get(usize::from(part)) else { return };
        let reach = laid.reach(alert.mode);
        for bucket in self.cells.iter_mut() {
            let class = laid.spec.area.classify(reach, &bucket.bound, bucket.class.range_m());
            if class != CellClass::Outside {
                bucket.put_over(Over { alert: no, part, interior: class == CellClass::Interior });
            }
        }
    }

    /// Takes an alert off all buckets.
    fn lift(&mut self, no: AlertNo) {
        for bucket in self.cells.iter_mut() {
            if !bucket.parts_of(no).is_empty() {
                bucket.over.retain(|over| over.alert != no);
            }
        }
    }

    /// Looks at up to `budget` slots and forgets the devices that are not known any more. Not
    /// while work is left: a device forgotten now may have been known at its event.
    fn forget_some(&mut self, budget: usize) {
        if self.unfinished.is_some() || self.config.max_age == MaxAge::Never {
            return;
        }
        for _ in 0..budget.min(self.devices.slots_end() as usize) {
            if self.forget_next >= self.devices.slots_end() {
                self.forget_next = 0;
            }
            let slot = Slot(self.forget_next);
            self.forget_next += 1;
            let gone = self
                .devices
                .occupied(slot)
                .filter(|row| !self.config.max_age.knows(row.at, self.clock))
                .copied();
            if let Some(row) = gone {
                self.forget(slot, &row);
            }
        }
    }

    fn forget(&mut self, slot: Slot, row: &Row) {
        self.leave_bucket(row);
        self.devices.remove(slot);
        self.standing.alerts.values_mut().for_each(|alert| alert.notified.depart(slot, row.device));
    }
}
