//! Drivers of the partitions: threads, queues, order, timers, back-pressure.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::{
    AlertId, AlertNo, EventTime, Match, MaxAge, Namespace, PartSpec, PingCounts, PingRow, Status, Uncertainty,
};
use crate::engine::Order;
use crate::geo::PreparedArea;

/// One version of an alert as subscribers get it before its first match.
#[derive(Clone, Debug)]
pub struct AlertInfo {
    /// The alert's number.
    pub no: AlertNo,
    /// Its id.
    pub id: AlertId,
    /// The version, counted from 1.
    pub version: u32,
    /// Its status.
    pub status: Status,
    /// The whole alert as JSON (one object, no line break).
    pub json: Arc<str>,
}

/// Where matches go: the one call upward. Implemented by delivery and by replay output.
pub trait MatchSink: Send + Sync + 'static {
    /// A new version of an alert; called before any of its matches.
    fn alert(&self, info: &Arc<AlertInfo>);
    /// Matches of one partition in order; called on partition threads, before the pings that
    /// caused them are acknowledged as applied. `order` names the event of each match on the
    /// event clock (empty on the wall clock).
    fn matches(&self, namespace: &Namespace, matches: &[Match], order: &[EventKey]);
}

/// The place of an event in the one order of the event clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// Its time.
    pub at: EventTime,
    /// 0 ping, 1 action, 2 stage.
    pub kind: u8,
    /// Arrival order within time and kind.
    pub index: u64,
}

/// A decided action on its way to the partitions.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order.
    pub order: Arc<Order>,
    /// The alert's new version, where the action made one.
    pub info: Option<Arc<AlertInfo>>,
}

/// Actions that wait for their time on the event clock. The desk implements it; the driver asks.
pub trait ActionSource: Send + Sync + 'static {
    /// The time of the earliest waiting action.
    fn next_at(&self) -> Option<EventTime>;
    /// Takes the earliest waiting action and decides it at `clock` or its own time, the later.
    /// `None` where the alert's life rejects it (the source reports that).
    fn decide_next(&self, clock: EventTime) -> Option<Told>;
}

/// Which clock the partitions run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMode {
    /// The server's time.
    Wall,
    /// The pings' and actions' own times.
    Event,
}

/// One namespace's settings.
#[derive(Clone, Debug)]
pub struct NamespaceConfig {
    /// Its name.
    pub name: Namespace,
    /// How long its devices are known.
    pub max_age: MaxAge,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Partitions, one thread each.
    pub partitions: u32,
    /// The namespaces; none can be added later.
    pub namespaces: Vec<NamespaceConfig>,
    /// The clock.
    pub clock: ClockMode,
    /// How far a ping's time may lie ahead of the server's, ms (wall clock only).
    pub clock_skew_ms: i64,
}

/// A namespace of this runtime, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceIx(pub u16);

/// The running partitions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {}

/// Why an ingest session was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefused {
    /// The event clock takes one ping session at a time.
    #[error(
        "another ping session is open, and the event clock takes one at a time: try again when it has ended"
    )]
    Busy,
    /// The runtime is shutting down.
    #[error("the server is shutting down")]
    Stopping,
}

/// A batch that all its partitions have applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The batch's number as given to [`IngestSession::submit`].
    pub number: u64,
    /// What became of its pings.
    pub counts: PingCounts,
}

/// One source's stream of ping batches into a namespace.
pub struct IngestSession {}

impl Runtime {
    /// Starts the partition threads.
    pub fn start(_config: RuntimeConfig, _sink: Arc<dyn MatchSink>) -> std::io::Result<Self> {
        Ok(Self {})
    }
    /// How many partitions.
    pub fn partitions(&self) -> u32 {
        1
    }
    /// The clock mode.
    pub fn clock_mode(&self) -> ClockMode {
        ClockMode::Wall
    }
    /// The server's time (wall clock), or the event clock's newest time.
    pub fn now(&self) -> EventTime {
        EventTime(0)
    }
    /// The namespaces in order.
    pub fn namespaces(&self) -> &[NamespaceConfig] {
        &[]
    }
    /// Finds a namespace.
    pub fn namespace(&self, _name: &str) -> Option<NamespaceIx> {
        None
    }
    /// Opens a stream of pings. Applied batches arrive at the receiver, not always in order of
    /// their numbers; the queue behind it is bounded by what was submitted and is not yet applied.
    pub fn open_session(
        &self,
        _namespace: NamespaceIx,
    ) -> Result<(IngestSession, mpsc::UnboundedReceiver<Applied>), SessionRefused> {
        Err(SessionRefused::Stopping)
    }
    /// Tells all partitions an action, in one order (wall clock). Blocks while queues are full:
    /// call it from a thread that may block.
    pub fn tell(&self, _told: Told) {}
    /// On the event clock: who decides waiting actions.
    pub fn set_action_source(&self, _source: Arc<dyn ActionSource>) {}
    /// On the event clock: an action behind the clock may be applied at once; call after queueing one.
    pub fn actions_waiting(&self) {}
    /// Counts, per namespace in order, the devices that each radius of `part` reaches now.
    /// Blocks until all partitions answered.
    pub fn preview(&self, _part: &PartSpec<PreparedArea>, _uncertainty: Uncertainty) -> Vec<Vec<u64>> {
        Vec::new()
    }
    /// Ends: takes no more, applies what was taken, joins the threads.
    pub fn stop(&self) {}
}

impl IngestSession {
    /// Hands over a batch; waits while the partitions' queues are full (back-pressure).
    pub async fn submit(
        &mut self,
        _number: u64,
        _base: EventTime,
        _rows: &[PingRow],
    ) -> Result<(), SessionRefused> {
        Ok(())
    }
    /// On the event clock: no ping before `at` follows (`last`: none at all, and `at` itself has
    /// passed). Ignored on the wall clock.
    pub async fn watermark(&mut self, _at: EventTime, _last: bool) -> Result<(), SessionRefused> {
        Ok(())
    }
}
