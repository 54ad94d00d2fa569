//! The way of matches to partners: a match log for each namespace, and the alerts that its
//! matches speak of.
//!
//! Partitions append, subscriptions read at their own pace. It never decides who is matched and
//! never waits for a reader. Invariant: an offset names one match for good; what is no longer
//! held is refused, never skipped in silence.

mod alerts;
mod match_log;

use std::sync::Arc;

use crate::domain::AlertNo;
use crate::runtime::{AlertInfo, MatchSink, NamespaceConfig, NamespaceIx, Output};
use crate::telemetry::{Bound, LogView, Telemetry};

use alerts::Alerts;
pub use match_log::{Chunk, MatchLog, OffsetGone};

/// All match logs of an engine, and its alerts' versions.
pub struct Delivery {
    /// In the order of the runtime's namespaces.
    logs: Vec<MatchLog>,
    alerts: Alerts,
}

impl Delivery {
    /// Empty logs for the namespaces that the runtime is started with, in the same order.
    pub fn new(namespaces: &[NamespaceConfig]) -> Self {
        let share = MatchLog::share(namespaces.len());
        Self { logs: namespaces.iter().map(|_| MatchLog::new(share)).collect(), alerts: Alerts::default() }
    }

    /// Shows how full the logs are.
    pub fn observe(self: &Arc<Self>, telemetry: &Telemetry) {
        let logs = Arc::downgrade(self);
        telemetry.watch_logs(move |namespace| {
            let view = logs.upgrade().and_then(|all| all.logs.get(namespace).map(MatchLog::view));
            view.unwrap_or_else(LogView::default)
        });
        let versions = Arc::downgrade(self);
        telemetry.bounds.watch(Bound::AlertVersionBytes, move || {
            versions.upgrade().map_or(0, |all| all.alerts.bytes() as u64)
        });
    }

    /// The log of a namespace.
    ///
    /// # Panics
    /// Where the number comes from another runtime than the one this was made for.
    pub fn log(&self, namespace: NamespaceIx) -> &MatchLog {
        &self.logs[usize::from(namespace.0)]
    }

    /// An alert as subscribers get it: this version or, where memory took it, the oldest later
    /// one that is still held. The newest is always held. `None` for what was never told.
    pub fn alert(&self, no: AlertNo, version: u32) -> Option<Arc<AlertInfo>> {
        self.alerts.get(no, version)
    }
}

impl MatchSink for Delivery {
    fn alert(&self, info: &Arc<AlertInfo>) {
        self.alerts.add(info);
    }

    fn matches(&self, namespace: NamespaceIx, matches: &Output) {
        self.log(namespace).append(matches);
    }
}
