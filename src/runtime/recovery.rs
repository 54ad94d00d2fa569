//! What a restart does to the partitions, without files or threads: note what the match logs hold,
//! apply again the actions that the snapshot does not have, and emit only what the logs lack.
//!
//! The log of a namespace that outlived a crash holds, of each partition, a first part of what it
//! emitted. So of a device that the log tells of an alert at version `v` all later versions lack,
//! and nothing else does: a device that was notified at `v`, or told of it, hears of updates above
//! `v` only, and of the end once. Whom the log notified is noted before anything is applied, so no
//! scan finds it again, known or not. Nothing is emitted to a device after its end.
//!
//! Invariant: with the filter on, an alert's matches of a device continue what the log says of it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::driver::Driver;
use super::ping_log::Again;
use super::{AlertInfo, MatchSink, NamespaceIx, Told};
use crate::domain::{AlertNo, Cause, DeviceId, MatchHead};
use crate::engine::{Output, Partition};
use crate::planted::{self, Defect};

/// The version that stands for an alert's end.
const ENDED: u32 = u32::MAX;

/// What a namespace's match log tells of alerts and devices: to each the newest version, or the
/// end. 12 bytes and a tag an entry, at a load of a half to seven eighths.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    alerts: BTreeMap<AlertNo, HashMap<DeviceId, u32, FixedState>>,
}

impl Logged {
    /// The log holds these matches; given in its order.
    pub(crate) fn note(&mut self, head: &MatchHead, devices: impl Iterator<Item = DeviceId>) {
        let told = self.alerts.entry(head.alert).or_default();
        let version = if head.cause == Cause::Cancel { ENDED } else { head.version };
        for device in devices {
            let newest = told.entry(device).or_insert(version);
            if !planted::on(Defect::FirstVersionKept) {
                *newest = version.max(*newest);
            }
        }
    }

    /// Whether a match says nothing that the log does not say.
    pub(crate) fn says(&self, head: &MatchHead, device: DeviceId) -> bool {
        let Some(newest) = self.alerts.get(&head.alert).and_then(|told| told.get(&device)) else {
            return false;
        };
        match head.cause {
            Cause::Update if planted::on(Defect::UpdatesNotFiltered) => false,
            Cause::Update if planted::on(Defect::UpdatesAllFiltered) => true,
            Cause::Cancel if planted::on(Defect::CancelsNotFiltered) => false,
            Cause::Cancel => *newest == ENDED,
            Cause::Update => head.version <= *newest,
            Cause::Publish | Cause::Escalation | Cause::Enter | Cause::Sighting => true,
        }
    }

    /// All devices that it tells of, by alert.
    fn entries(&self) -> impl Iterator<Item = (AlertNo, DeviceId)> {
        self.alerts.iter().flat_map(|(alert, told)| told.keys().map(|device| (*alert, *device)))
    }
}

/// Hands on what the logs lack.
struct Filter {
    inner: Arc<dyn MatchSink>,
    /// By namespace.
    logged: Vec<Logged>,
}

impl MatchSink for Filter {
    fn alert(&self, info: &Arc<AlertInfo>) {
        self.inner.alert(info);
    }

    fn matches(&self, namespace: NamespaceIx, matches: &Output) {
        let Some(logged) = self.logged.get(usize::from(namespace.0)) else { return };
        let kept = matches.filtered(|head, device| !logged.says(head, device));
        if !kept.is_empty() {
            self.inner.matches(namespace, &kept);
        }
    }
}

/// Completes a machine that came out of a snapshot: the alerts that stood, by the orders that it had
/// carried out, without a scan.
pub(crate) fn stand_alerts<'a>(mut machine: Partition, orders: impl Iterator<Item = &'a Told>) -> Partition {
    orders.for_each(|told| machine.restore_order(&told.order));
    machine.finish_restore(machine.clock());
    machine
}

/// The recovery of one partition: its matches go through the filter until [`Recovery::end`].
pub(crate) struct Recovery {
    driver: Driver,
    sink: Arc<dyn MatchSink>,
}

impl Recovery {
    /// Notes what the logs tell of this partition's devices; `logged` by namespace.
    /// The driver's machines are those of a snapshot that have carried out so many orders, or empty.
    pub(crate) fn begin(mut driver: Driver, orders: u64, logged: Vec<Logged>) -> Self {
        driver.set_orders(orders);
        for (nth, logged) in logged.iter().enumerate() {
            for (alert, device) in logged.entries() {
                if !planted::on(Defect::LogNotNoted) {
                    driver.note_notified(NamespaceIx(nth as u16), alert, device);
                }
            }
        }
        let filter = Arc::new(Filter { inner: driver.sink(), logged });
        let sink = driver.change_sink(filter);
        Self { driver, sink }
    }

    /// Applies an action again, at its own time, where the snapshot has it not.
    pub(crate) fn order(&mut self, told: &Told, index: u64) {
        let from = self.driver.orders() + u64::from(planted::on(Defect::SkipsOrder));
        if index >= from || planted::on(Defect::RepeatsOrders) {
            self.driver.order(&told.order, index);
        }
    }

    /// Does again what the partition's ping log says it did after the snapshot; says which order it carried out
    /// then, where that is what it did: it is to be given next, by [`order`](Self::order).
    pub(crate) fn again(
        &mut self,
        again: Again,
        namespace: impl Fn(&str) -> Option<NamespaceIx>,
    ) -> Option<u64> {
        match again {
            Again::Order { index } => Some(index),
            other => {
                // What a scan finds does not depend on what stands between its slices.
                self.driver.finish();
                self.driver.again(other, namespace);
                None
            }
        }
    }

    /// How many orders were carried out so far.
    pub(crate) fn orders(&self) -> u64 {
        self.driver.orders()
    }

    /// All actions were given: the driver, whose matches go where they went before.
    pub(crate) fn end(mut self) -> Driver {
        if !planted::on(Defect::RecoveryUnfinished) {
            self.driver.finish();
        }
        self.driver.change_sink(self.sink);
        self.driver
    }
}
