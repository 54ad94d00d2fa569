//! The operator: sends batches on a schedule, or as fast as acknowledgements allow, and times
//! each from when it should have been sent to when it was applied.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use hexcast::client::{Client, Progress, Splitter};
use hexcast::domain::PingCounts;
use tokio::sync::watch;

use crate::crowd::Crowd;
use crate::machine::now;

/// Most pings of a batch: large enough that heads and acknowledgements cost nothing.
const BATCH_PINGS_MAX: u64 = 8_192;
/// Batches a second where the rate leaves the choice: small enough to be prompt.
const BATCHES_PER_SECOND: u64 = 200;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many pings a second, whatever the server does.
    Rate(u64),
    /// As fast as the window of unacknowledged pings allows.
    Max,
}

/// What came of it.
pub(crate) struct Sent {
    pub(crate) pings: u64,
    /// What became of them.
    pub(crate) counts: PingCounts,
    /// From the first batch to the last acknowledgement.
    pub(crate) took: Duration,
    /// Microseconds from the intended time to the acknowledgement, by ping.
    pub(crate) ack_us: Histogram<u64>,
}

/// Batches under way, the first sent first.
type UnderWay = Arc<Mutex<VecDeque<Batch>>>;

struct Batch {
    number: u64,
    pings: u64,
    intended: Instant,
}

/// Sends in a session of its own until `enough` (time since the start, pings sent) and waits for
/// all acknowledgements.
pub(crate) async fn send(
    client: &Client,
    namespace: &str,
    crowd: &mut Crowd,
    pace: Pace,
    enough: impl Fn(Duration, u64) -> bool,
) -> anyhow::Result<Sent> {
    let mut stream = client.ingest(namespace, "loadgen").await?;
    let batch_pings = match pace {
        Pace::Rate(rate) => (rate / BATCHES_PER_SECOND).clamp(1, BATCH_PINGS_MAX),
        Pace::Max => BATCH_PINGS_MAX * u64::from(stream.terms().partitions),
    };
    // Never ahead of the server, which would reject what lies in its future.
    let behind_ms = now().ms_since(stream.hello().now()).max(0);
    let under_way = UnderWay::default();
    let timing = tokio::spawn(time(stream.progress(), Arc::clone(&under_way)));
    let begun = Instant::now();
    let (mut pings, mut number) = (0, 0);
    // Room for twice the share of a partition: its share is then one batch.
    let mut full = Vec::new();
    let mut splitter = Splitter::new(stream.terms(), 2 * BATCH_PINGS_MAX as usize);
    while !enough(begun.elapsed(), pings) {
        let intended = match pace {
            Pace::Rate(rate) => {
                let due = begun + Duration::from_secs_f64(pings as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                due
            }
            Pace::Max => Instant::now(),
        };
        let (at, seconds) = (now().plus_ms(-behind_ms), begun.elapsed().as_secs_f64());
        for _ in 0..batch_pings {
            // All of one instant, so that none starts another batch.
            let ping = crowd.ping(at, seconds).context("no devices")?;
            full.extend(splitter.push(ping));
        }
        full.extend(splitter.take());
        for (batch, target) in full.drain(..) {
            number += 1;
            let held = batch.rows.len() as u64;
            pings += held;
            lock(&under_way).push_back(Batch { number, pings: held, intended });
            stream.send_to(&batch, Some(target)).await?;
        }
    }
    let counts = stream.finish().await?.counts;
    let took = begun.elapsed();
    Ok(Sent { pings, counts, took, ack_us: timing.await?? })
}

/// Times batches as their acknowledgements come, until the session ends.
async fn time(
    mut progress: watch::Receiver<Progress>,
    under_way: UnderWay,
) -> anyhow::Result<Histogram<u64>> {
    // Three significant digits, up to ten minutes.
    let mut ack_us = Histogram::new_with_max(600_000_000, 3)?;
    loop {
        let going_on = progress.changed().await.is_ok();
        let applied = progress.borrow_and_update().applied;
        let now = Instant::now();
        let mut under_way = lock(&under_way);
        while let Some(batch) = under_way.pop_front_if(|batch| batch.number <= applied) {
            let waited = now.saturating_duration_since(batch.intended).as_micros();
            ack_us.saturating_record_n(u64::try_from(waited).unwrap_or(u64::MAX), batch.pings);
        }
        if !going_on {
            return Ok(ack_us);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
