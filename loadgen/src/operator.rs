//! The operators: sessions that send batches on a schedule, or as fast as acknowledgements allow,
//! and time each from when it should have been sent to when it was applied.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hexcast::client::{Client, Progress};
use hexcast::domain::PingCounts;
use tokio::sync::watch;

use crate::crowd::Crowd;
use crate::machine::now;

/// Pings of a batch where nothing holds them back, on average: large enough that heads and
/// acknowledgements cost nothing, and so far below the protocol's 16,384 that a partition's share
/// exceeds that by chance once in 30,000 times (it is then two batches).
const BATCH_PINGS: u64 = 15_872;
/// Times a second at which a session sends where the rate leaves the choice: small enough a batch
/// to be prompt.
const TICKS_PER_SECOND: u64 = 200;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many pings a second in all sessions together, whatever the server does.
    Rate(u64),
    /// As fast as the window of unacknowledged pings allows.
    Max,
}

/// When a session ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Every device has pinged once more.
    Round,
    /// So long after the start.
    Time(Duration),
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

/// Sends the pings of every crowd in a session of its own, shared out over the connections, and
/// waits for all acknowledgements. Gives the crowds back.
pub(crate) async fn send(
    clients: &[Arc<Client>],
    namespace: &str,
    crowds: Vec<Crowd>,
    pace: Pace,
    until: Until,
) -> anyhow::Result<(Sent, Vec<Crowd>)> {
    let sessions = crowds.len() as u64;
    let mut sending = Vec::new();
    let begun = Instant::now();
    for ((number, crowd), client) in crowds.into_iter().enumerate().zip(clients.iter().cycle()) {
        let (client, namespace) = (Arc::clone(client), namespace.to_owned());
        let source = format!("loadgen-{number}");
        sending.push(tokio::spawn(async move {
            session(&client, &namespace, &source, crowd, pace, sessions, until).await
        }));
    }
    let mut all =
        Sent { pings: 0, counts: PingCounts::default(), took: Duration::ZERO, ack_us: histogram()? };
    let mut crowds = Vec::new();
    for session in sending {
        let (sent, crowd) = session.await??;
        all.pings += sent.pings;
        all.counts.add(&sent.counts);
        all.ack_us.add(&sent.ack_us)?;
        crowds.push(crowd);
    }
    all.took = begun.elapsed();
    Ok((all, crowds))
}

/// Three significant digits, up to ten minutes.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(600_000_000, 3)?)
}

async fn session(
    client: &Client,
    namespace: &str,
    source: &str,
    mut crowd: Crowd,
    pace: Pace,
    sessions: u64,
    until: Until,
) -> anyhow::Result<(Sent, Crowd)> {
    let mut stream = client.ingest(namespace, source).await?;
    let partitions = stream.terms().partitions;
    let most = BATCH_PINGS * u64::from(partitions.max(1));
    let mut tick = most;
    if let Pace::Rate(rate) = pace {
        tick = (rate / sessions / TICKS_PER_SECOND).clamp(1, most);
    }
    // Never ahead of the server, which would reject what lies in its future.
    let behind_ms = now().ms_since(stream.hello().now()).max(0);
    let under_way = UnderWay::default();
    let timing = tokio::spawn(time(stream.progress(), Arc::clone(&under_way)));
    let begun = Instant::now();
    let (mut pings, mut number) = (0, 0);
    loop {
        let left = match until {
            Until::Round => crowd.devices() - pings,
            Until::Time(time) => {
                if begun.elapsed() < time {
                    u64::MAX
                } else {
                    0
                }
            }
        };
        if left == 0 {
            break;
        }
        let intended = match pace {
            Pace::Rate(rate) => {
                let due = begun + Duration::from_secs_f64((pings * sessions) as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                due
            }
            Pace::Max => Instant::now(),
        };
        for (batch, target) in crowd.batches(now().plus_ms(-behind_ms), tick.min(left), partitions) {
            number += 1;
            let count = batch.rows.len() as u64;
            pings += count;
            lock(&under_way).push_back(Batch { number, pings: count, intended });
            stream.send_to(&batch, Some(target)).await?;
        }
    }
    let counts = stream.finish().await?.counts;
    let took = begun.elapsed();
    Ok((Sent { pings, counts, took, ack_us: timing.await?? }, crowd))
}

/// Times batches as their acknowledgements come, until the session ends.
async fn time(
    mut progress: watch::Receiver<Progress>,
    under_way: UnderWay,
) -> anyhow::Result<Histogram<u64>> {
    let mut ack_us = histogram()?;
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
