//! One share of a namespace's devices: a serial state machine.

use super::Order;
use super::cells::BucketIx;
use super::devices::Devices;
use super::output::{EventKey, Output};
use super::pings::Staging;
use super::recover::Restoring;
use super::scan::{PartSet, Stamp, Unfinished, found};
use super::standing::{Alert, Part, Standing};
use crate::domain::{AlertNo, Cause, DirectiveKind, EventTime, MaxAge};
use crate::planted::{self, Defect};

/// How a partition runs.
#[derive(Clone, Copy, Debug)]
pub struct PartitionConfig {
    /// How long a device is known.
    pub max_age: MaxAge,
    /// Whether events leave their scans to [`Partition::work`], or do them at once.
    pub sliced: bool,
    /// Makes the device index's hash one that nobody outside can foresee. Changes no match.
    pub seed: u64,
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
    pub(super) standing: Standing,
    pub(super) unfinished: Option<Unfinished>,
    /// The number of the newest event that left work.
    pub(super) event: u32,
    /// The number of the newest job.
    pub(super) job: u32,
    pub(super) staging: Box<Staging>,
    pub(super) sweep: super::sweep::Sweep,
    /// Its standing alerts are being restored.
    pub(super) restoring: Option<Box<Restoring>>,
}

impl Partition {
    /// An empty partition whose clock was given no time yet.
    pub fn new(config: PartitionConfig) -> Self {
        Self {
            config,
            clock: EventTime::BEFORE_ALL,
            devices: Devices::new(config.seed),
            standing: Standing::default(),
            unfinished: None,
            event: 0,
            job: 0,
            staging: Box::default(),
            sweep: super::sweep::Sweep::default(),
            restoring: None,
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
                };
                self.standing.publish(no, alert);
                let buckets = self.lay_all(no);
                self.scan_later(no, PartSet::ALL, stamp(Cause::Publish), buckets);
            }
            DirectiveKind::Update { version, part, uncertainty, expires } => {
                let clock = self.clock;
                let Some(alert) = self.standing.alerts.get_mut(&no) else { return };
                if !planted::on(Defect::VersionKept) {
                    alert.version = *version;
                }
                alert.mode = *uncertainty;
                alert.expires = *expires;
                alert.active = clock < *expires;
                if let (Some(new), Some(first)) = (part, alert.parts.first_mut()) {
                    first.spec = new.clone();
                }
                alert.parts.iter_mut().for_each(|part| part.activate(clock));
                let message = found(no, alert, 0, &stamp(Cause::Update));
                self.fan_out_later(message, key, false);
                let buckets = self.lay_all(no);
                if !planted::on(Defect::UpdateWithoutScan) {
                    self.scan_later(no, PartSet::ALL, stamp(Cause::Publish), buckets);
                }
            }
            DirectiveKind::Sighting { part } => {
                let clock = self.clock;
                let Some(alert) = self.standing.alerts.get_mut(&no) else { return };
                alert.parts.push(Part::at(part.clone(), clock));
                let part = (alert.parts.len() - 1) as u8;
                let buckets = self.lay_all(no);
                self.scan_later(no, PartSet::one(part), stamp(Cause::Sighting), buckets);
            }
            DirectiveKind::Cancel => {
                let Some(mut alert) = self.standing.alerts.remove(&no) else { return };
                if let Some(first) = alert.parts.first_mut() {
                    first.activate(self.clock);
                }
                let message = found(no, &alert, 0, &stamp(Cause::Cancel));
                self.fan_out_later(message, key, true);
                self.devices.cells.lift(no);
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
    pub(super) fn pass(&mut self, to: EventTime, out: &mut Output) {
        while let Some(due) = self.standing.next_stage_at().filter(|due| *due < to) {
            self.stages(due, out);
        }
        self.set_clock(to, out);
    }

    fn set_clock(&mut self, to: EventTime, out: &mut Output) {
        self.clock = self.clock.max(to);
        let clock = self.clock;
        let ends = |expiry| expiry <= clock && !planted::on(Defect::NoExpiry);
        while self.standing.next_expiry().is_some_and(ends) {
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
            ended.into_iter().for_each(|no| self.devices.cells.lift(no));
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
            let buckets = self.lay_all(no);
            self.scan_later(no, parts, stamp, buckets);
        }
        self.standing.plan();
        self.settle(out);
    }

    /// Lays all parts of an active alert over the cells anew, at their active stages; returns the
    /// buckets that may be under it.
    pub(super) fn lay_all(&mut self, no: AlertNo) -> Vec<BucketIx> {
        self.devices.cells.lift(no);
        let alert = self.standing.alerts.get(&no).filter(|alert| alert.active);
        alert.map_or_else(Vec::new, |alert| self.devices.cells.announce(no, alert))
    }
}
