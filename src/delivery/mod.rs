//! The way of matches to partners: a match log for each namespace, and the alerts that its
//! matches speak of.
//!
//! Partitions append, subscriptions read at their own pace. It never decides who is matched and
//! never waits for a reader; nor does a reader for another one's disk. Invariants: an offset names one match for good; what is no longer
//! held is refused, never skipped in silence; a cursor never goes back.

mod alerts;
mod chunk;
mod cold;
mod cursors;
mod match_log;
mod patience;
#[cfg(test)]
mod schedules;
mod ticks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{AlertNo, CursorAt, Offset};
use crate::runtime::{AlertInfo, MatchSink, NamespaceConfig, NamespaceIx, Output};
use crate::telemetry::{Bound, Telemetry};

use alerts::Alerts;
pub use chunk::Chunk;
pub use cold::{ColdRead, ColdReads, PartnerReads};
pub use cursors::{CursorSink, Cursors};
pub use match_log::{Look, MatchLog, OffsetGone, ReadError};
pub use patience::{CutOff, LagLimits, Patience, Standing};
pub use ticks::{Ticks, TicksHand};

/// All match logs of an engine, and its alerts' versions.
pub struct Delivery {
    /// In the order of the runtime's namespaces.
    logs: Vec<MatchLog>,
    alerts: Alerts,
    cursors: Cursors,
    cold: ColdReads,
    lag: LagLimits,
    ticks: Ticks,
    cut_off: [AtomicU64; 3],
}

/// How many sessions of partners were cut off, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutOffs {
    /// Too many matches waited.
    pub matches: u64,
    /// A match waited too long.
    pub age: u64,
    /// Nothing moved.
    pub silent: u64,
}

impl Delivery {
    /// Empty logs for the namespaces that the runtime is started with, in the same order.
    pub fn new(namespaces: &[NamespaceConfig]) -> Self {
        Self::with(namespaces, LagLimits::default(), Ticks::real(), [])
    }

    /// As [`new`](Self::new), with bounds and a clock for partners, and the cursors that a journal gave
    /// back.
    pub fn with(
        namespaces: &[NamespaceConfig],
        lag: LagLimits,
        ticks: Ticks,
        cursors: impl IntoIterator<Item = CursorAt>,
    ) -> Self {
        let share = MatchLog::share(namespaces.len());
        Self {
            logs: namespaces.iter().map(|_| MatchLog::new(share)).collect(),
            alerts: Alerts::default(),
            cursors: Cursors::recovered(cursors),
            cold: ColdReads::default(),
            lag,
            ticks,
            cut_off: Default::default(),
        }
    }

    /// Logs that hold so little that a test fills them.
    #[cfg(test)]
    pub(crate) fn with_small_logs(mut self, bytes: usize, chunk: usize) -> Self {
        let bounds = match_log::Bounds { bytes, chunk, at_once: chunk };
        self.logs.iter_mut().for_each(|log| *log = MatchLog::with_bounds(bounds));
        self
    }

    /// How far partners have acknowledged.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Reads of what memory does not hold.
    pub fn cold_reads(&self) -> &ColdReads {
        &self.cold
    }

    /// How far partners may lag.
    pub fn lag(&self) -> LagLimits {
        self.lag
    }

    /// The clock that partners are judged by.
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// Counts a session that is cut off.
    pub fn count_cut_off(&self, why: CutOff) {
        let nth = match why {
            CutOff::Matches { .. } => 0,
            CutOff::Age { .. } => 1,
            CutOff::Silent { .. } => 2,
        };
        self.cut_off[nth].fetch_add(1, Ordering::Relaxed);
    }

    /// How many sessions were cut off.
    pub fn cut_offs(&self) -> CutOffs {
        let [matches, age, silent] = [0, 1, 2].map(|nth: usize| self.cut_off[nth].load(Ordering::Relaxed));
        CutOffs { matches, age, silent }
    }

    /// Shows how full the logs are.
    pub fn observe(self: &Arc<Self>, telemetry: &Telemetry) {
        let logs = Arc::downgrade(self);
        telemetry.watch_logs(move |namespace| {
            let view = logs.upgrade().and_then(|all| all.logs.get(namespace).map(MatchLog::view));
            view.unwrap_or_default()
        });
        let cursors = Arc::downgrade(self);
        telemetry
            .bounds
            .watch(Bound::Cursors, move || cursors.upgrade().map_or(0, |all| all.cursors.len() as u64));
        let cold = Arc::downgrade(self);
        telemetry
            .bounds
            .watch(Bound::ColdReads, move || cold.upgrade().map_or(0, |all| all.cold.under_way() as u64));
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

    fn end(&self, namespace: NamespaceIx) -> Offset {
        self.log(namespace).appended()
    }
}
