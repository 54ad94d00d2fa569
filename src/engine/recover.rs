//! What follows a restored table: the standing alerts, by the orders that made them, and the
//! notifications that were logged later. Nobody is scanned or told, and nothing comes out.

use super::Order;
use super::devices::Devices;
use super::output::Output;
use super::partition::Partition;
use crate::domain::{AlertNo, DeviceId, EventTime};
use crate::planted::{self, Defect};

/// While standing alerts are being restored.
#[derive(Debug)]
pub(super) struct Restoring {
    /// No devices, in whose place those of the partition are while it takes orders: an order
    /// that meets nobody does what it does to the alerts, and no more.
    nobody: Devices,
    /// The time of the orders so far.
    clock: EventTime,
    /// A stage was due at the partition's clock and not applied.
    stage_pending: bool,
}

/// Devices between asking for a line of the index and a turn.
const LINES_AHEAD: usize = 32;
/// Devices between asking for a row and a turn.
const ROWS_AHEAD: usize = 16;

impl Restoring {
    pub(super) fn new(seed: u64, stage_pending: bool) -> Self {
        Self { nobody: Devices::new(seed), clock: EventTime::BEFORE_ALL, stage_pending }
    }
}

impl Partition {
    /// Carries out what an order does to the alerts that stand. Call it for all orders that the restored
    /// table knows of, in their order, then [`finish_restore`](Self::finish_restore), and
    /// before that nothing else but [`note_notified`](Self::note_notified).
    pub fn restore_order(&mut self, order: &Order) {
        self.without_devices(|partition, out| partition.order(order, 0, out));
    }

    /// The standing alerts are complete as of the time `clock`, which is the restored
    /// partition's [`clock`](Self::clock): stages due before are active, those due at that very time
    /// where the snapshot had them applied. Alerts stand over their cells again.
    pub fn finish_restore(&mut self, clock: EventTime) {
        let at = self.clock;
        let pending = self.restoring.as_ref().is_none_or(|restoring| restoring.stage_pending);
        self.without_devices(|partition, out| {
            partition.pass(clock, out);
            if (!pending || planted::on(Defect::StageOfMomentEarly))
                && clock == at
                && !planted::on(Defect::StageOfMomentLate)
            {
                partition.stages_through(clock, out);
            }
        });
        if let Some(restoring) = self.restoring.take() {
            self.clock = restoring.clock;
        }
        let active = self.standing.alerts.iter().filter(|(_, alert)| alert.active);
        let active: Vec<AlertNo> = active.map(|(no, _)| *no).collect();
        active.into_iter().for_each(|no| drop(self.lay_all(no)));
        self.standing.plan();
    }

    fn without_devices(&mut self, act: impl FnOnce(&mut Self, &mut Output)) {
        let mut restoring =
            self.restoring.take().unwrap_or_else(|| Box::new(Restoring::new(self.config.seed, true)));
        std::mem::swap(&mut self.devices, &mut restoring.nobody);
        std::mem::swap(&mut self.clock, &mut restoring.clock);
        let mut out = Output::default();
        act(self, &mut out);
        self.finish(&mut out);
        debug_assert!(out.is_empty());
        std::mem::swap(&mut self.devices, &mut restoring.nobody);
        std::mem::swap(&mut self.clock, &mut restoring.clock);
        self.restoring = Some(restoring);
    }

    /// Notes that a device was notified of an alert, whether that stands already, later or not any more. A
    /// device that is not there gets a row among the departed, as one that was forgotten has, which is
    /// kept until the alert has been published and is cancelled: pings may come before it.
    pub fn note_notified(&mut self, device: DeviceId, alert: AlertNo) {
        self.note_all_notified(&[device], alert);
    }

    /// The same for many devices, quicker.
    pub fn note_all_notified(&mut self, notified: &[DeviceId], alert: AlertNo) {
        debug_assert!(!self.has_work());
        let devices = &mut self.devices;
        for n in 0..notified.len() + LINES_AHEAD {
            if let Some(device) = notified.get(n) {
                devices.index.prefetch(devices.index.hash(device.0));
            }
            let ahead = |by: usize| n.checked_sub(LINES_AHEAD - by).and_then(|n| notified.get(n));
            if let Some(device) = ahead(ROWS_AHEAD) {
                let guess = devices.index.guess(devices.index.hash(device.0));
                devices.rows.prefetch(guess);
                devices.rows.prefetch_owner(guess);
            }
            if let Some(device) = ahead(0) {
                devices.note_notified(device.0, alert);
            }
        }
    }
}
