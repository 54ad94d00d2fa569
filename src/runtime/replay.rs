//! The replay driver: a recorded stream through the same partitions on the event clock, its
//! matches in the one order that does not depend on partitions, threads or machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    ActionSource, AlertInfo, ClockMode, EventKey, IngestSession, MatchSink, NamespaceConfig, NamespaceIx,
    Output, Runtime, RuntimeConfig, SessionRefused, lock,
};
use crate::domain::{AlertNo, EventTime, Match, Ping, PingCounts, PingRow};
use crate::limits::{REPLAY_BATCH_PINGS, REPLAY_EPOCH_PINGS};
use crate::sync::Mutex;

/// What to replay, and how.
pub struct Replay<'a> {
    /// The namespace of the pings.
    pub namespace: NamespaceConfig,
    /// Partitions to run on; the output does not depend on it.
    pub partitions: u32,
    /// Whether scans are cut into slices; the output does not depend on it.
    pub sliced: bool,
    /// Pings sorted by their time, ties in file order.
    pub pings: &'a [Ping],
    /// The actions.
    pub actions: Arc<dyn ActionSource>,
    /// The last instant, inclusive: what lies after it is not given, and stages at it still are.
    pub end: EventTime,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// What became of the pings given.
    pub pings: PingCounts,
    /// Pings after the end.
    pub pings_after_end: u64,
    /// Matches written.
    pub matches: u64,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Threads or the driver's own runtime could not be started.
    #[error("the replay could not start its threads: {0}")]
    Start(#[source] std::io::Error),
    /// A match could not be written.
    #[error("the matches could not be written: {0}")]
    Write(#[source] std::io::Error),
    /// The partitions ended before the stream did.
    #[error("the replay was stopped: {0}")]
    Stopped(#[from] SessionRefused),
}

#[derive(Default)]
struct Collected {
    matches: Vec<(EventKey, Match)>,
    alerts: BTreeMap<AlertNo, Arc<AlertInfo>>,
}

#[derive(Default)]
struct Collector(Mutex<Collected>);

impl MatchSink for Collector {
    fn alert(&self, info: &Arc<AlertInfo>) {
        lock(&self.0).alerts.insert(info.no, Arc::clone(info));
    }

    fn matches(&self, _: NamespaceIx, matches: &Output) {
        lock(&self.0).matches.extend(matches.iter());
    }
}

/// Replays; `write` gets every match in order, with its alert.
pub fn replay(
    what: &Replay<'_>,
    write: &mut dyn FnMut(&AlertInfo, &Match) -> std::io::Result<()>,
) -> Result<ReplaySummary, ReplayError> {
    let collector = Arc::new(Collector::default());
    let config = RuntimeConfig {
        partitions: what.partitions,
        namespaces: vec![what.namespace.clone()],
        clock: ClockMode::Event,
        clock_skew_ms: 0,
        sliced: what.sliced,
    };
    let driver = tokio::runtime::Builder::new_current_thread().build().map_err(ReplayError::Start)?;
    let runtime =
        Runtime::start(config, Arc::clone(&collector) as Arc<dyn MatchSink>).map_err(ReplayError::Start)?;
    runtime.set_action_source(Arc::clone(&what.actions));
    let result = driver.block_on(run(what, &runtime, &collector, write));
    runtime.stop();
    result
}

async fn run(
    what: &Replay<'_>,
    runtime: &Runtime,
    collector: &Collector,
    write: &mut dyn FnMut(&AlertInfo, &Match) -> std::io::Result<()>,
) -> Result<ReplaySummary, ReplayError> {
    let (mut session, mut applied) = runtime.open_session(NamespaceIx(0))?;
    let mut summary = ReplaySummary::default();
    let given = what.pings.partition_point(|ping| ping.at <= what.end);
    let (pings, after) = what.pings.split_at(given);
    summary.pings_after_end = after.len() as u64;
    let mut epochs = pings.chunks(REPLAY_EPOCH_PINGS).peekable();
    loop {
        if let Some(epoch) = epochs.next() {
            submit(&mut session, epoch).await?;
        }
        // The next ping's time is not over; all before it is.
        let next = epochs.peek().and_then(|epoch| epoch.first()).map(|ping| ping.at);
        session.watermark(next.unwrap_or(what.end), next.is_none()).await?;
        runtime.barrier();
        while let Ok(batch) = applied.try_recv() {
            summary.pings.add(&batch.counts);
        }
        summary.matches += write_before(next, collector, write).map_err(ReplayError::Write)?;
        if next.is_none() {
            return Ok(summary);
        }
    }
}

async fn submit(session: &mut IngestSession, pings: &[Ping]) -> Result<(), SessionRefused> {
    let mut rows: Vec<PingRow> = Vec::with_capacity(REPLAY_BATCH_PINGS);
    let mut base = EventTime(0);
    for ping in pings {
        if rows.len() == REPLAY_BATCH_PINGS {
            session.submit(0, base, &rows).await?;
            rows.clear();
        }
        let row = match PingRow::write(ping, base).filter(|_| !rows.is_empty()) {
            Some(row) => Some(row),
            None => {
                if !rows.is_empty() {
                    session.submit(0, base, &rows).await?;
                    rows.clear();
                }
                base = ping.at;
                PingRow::write(ping, base)
            }
        };
        rows.extend(row);
    }
    if !rows.is_empty() {
        session.submit(0, base, &rows).await?;
    }
    Ok(())
}

/// Writes the matches of all events before `time` (all where there is none), in order: by event,
/// alert, cause, pseudonym.
fn write_before(
    time: Option<EventTime>,
    collector: &Collector,
    write: &mut dyn FnMut(&AlertInfo, &Match) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let mut collected = lock(&collector.0);
    let Collected { matches, alerts } = &mut *collected;
    let (mut ready, later): (Vec<_>, Vec<_>) =
        std::mem::take(matches).into_iter().partition(|(key, _)| time.is_none_or(|time| key.at < time));
    *matches = later;
    ready.sort_unstable_by_key(|(key, found)| (*key, found.alert, found.cause, found.device));
    for (_, found) in &ready {
        if let Some(info) = alerts.get(&found.alert) {
            write(info, found)?;
        }
    }
    Ok(ready.len() as u64)
}
