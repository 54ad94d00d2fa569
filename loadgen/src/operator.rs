//! The operators: sessions that send batches on a schedule, or as fast as acknowledgements allow,
//! and time each from when it should have been sent to when it was applied.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hexcast::client::{Client, Progress};
use hexcast::domain::PingCounts;
use tokio::sync::watch;

use crate::crowd::Crowd;
use crate::machine::now;
use crate::watch::Counters;

/// Pings of a batch where nothing holds them back, on average: large enough that heads and
/// acknowledgements cost nothing, and so far below the protocol's 16,384 that a partition's share
/// exceeds that by chance once in 30,000 times (it is then two batches).
pub(crate) const BATCH_PINGS: u64 = 15_872;
/// Times a second at which a session sends where the rate leaves the choice: small enough a batch
/// to be prompt.
const TICKS_PER_SECOND: u64 = 200;
/// How long after the end of its schedule a session that is behind goes on, as a share of it. What is
/// due and not sent by then is told.
const GRACE: f64 = 0.5;

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
    /// All that is due in so much time was sent.
    Time(Duration),
}

/// What came of it.
pub(crate) struct Sent {
    pub(crate) pings: u64,
    /// Pings that the schedule asked for; where there is none, those sent.
    pub(crate) due: u64,
    /// What became of them.
    pub(crate) counts: PingCounts,
    /// From the first batch to the last acknowledgement.
    pub(crate) took: Duration,
    /// Microseconds from the intended time to the acknowledgement, by ping.
    pub(crate) ack_us: Histogram<u64>,
    /// Microseconds by which sending began late, by ping.
    pub(crate) late_us: Histogram<u64>,
    /// What each session did with its time.
    pub(crate) clocks: Vec<Clocks>,
}

/// What a session did with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Clocks {
    /// Made pings.
    pub(crate) making: Duration,
    /// Encoded batches and handed them to QUIC.
    pub(crate) writing: Duration,
    /// Was held back by the server or the network.
    pub(crate) waiting: Duration,
    /// Was ahead of its schedule.
    pub(crate) idle: Duration,
}

/// Batches under way, the first sent first.
type UnderWay = Arc<Mutex<VecDeque<Sending>>>;

struct Sending {
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
    counters: &Arc<Counters>,
) -> anyhow::Result<(Sent, Vec<Crowd>)> {
    let sessions = crowds.len() as u64;
    let mut sending = Vec::new();
    let begun = Instant::now();
    for ((number, crowd), client) in crowds.into_iter().enumerate().zip(clients.iter().cycle()) {
        let session = Session {
            client: Arc::clone(client),
            namespace: namespace.to_owned(),
            source: format!("loadgen-{number}"),
            pace,
            until,
            sessions,
            counters: Arc::clone(counters),
        };
        sending.push(tokio::spawn(session.run(crowd)));
    }
    let mut all = Sent::new()?;
    let mut crowds = Vec::new();
    for session in sending {
        let (sent, crowd) = session.await??;
        all.pings += sent.pings;
        all.due += sent.due;
        all.counts.add(&sent.counts);
        all.ack_us.add(&sent.ack_us)?;
        all.late_us.add(&sent.late_us)?;
        all.clocks.extend(sent.clocks);
        crowds.push(crowd);
    }
    all.took = begun.elapsed();
    Ok((all, crowds))
}

impl Sent {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            pings: 0,
            due: 0,
            counts: PingCounts::default(),
            took: Duration::ZERO,
            ack_us: histogram()?,
            late_us: histogram()?,
            clocks: Vec::new(),
        })
    }
}

/// Three significant digits, up to ten minutes.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(600_000_000, 3)?)
}

/// One session that sends pings.
struct Session {
    client: Arc<Client>,
    namespace: String,
    source: String,
    pace: Pace,
    until: Until,
    /// How many share the rate.
    sessions: u64,
    counters: Arc<Counters>,
}

impl Session {
    async fn run(self, mut crowd: Crowd) -> anyhow::Result<(Sent, Crowd)> {
        let mut stream = self.client.ingest(&self.namespace, &self.source).await?;
        let partitions = stream.terms().partitions;
        let most = BATCH_PINGS * u64::from(partitions.max(1));
        let mut tick = most;
        if let Pace::Rate(rate) = self.pace {
            tick = (rate / self.sessions / TICKS_PER_SECOND).clamp(1, most);
        }
        // Never ahead of the server, which would reject what lies in its future.
        let behind_ms = now().ms_since(stream.hello().now()).max(0);
        let under_way = UnderWay::default();
        let timing =
            tokio::spawn(time(stream.progress(), Arc::clone(&under_way), Arc::clone(&self.counters)));
        let mut sent = Sent::new()?;
        let mut clocks = Clocks::default();
        let (begun, mut number) = (Instant::now(), 0);
        loop {
            let due = self.due(begun, sent.pings);
            let left = self.left(begun, due, crowd.devices(), sent.pings);
            if left == 0 {
                break;
            }
            let count = tick.min(left);
            let ready = Instant::now();
            if due > ready {
                // The loop is open: a batch is sent at its time, not before.
                tokio::time::sleep_until(due.into()).await;
            }
            let start = Instant::now();
            clocks.idle += start - ready;
            let intended = if matches!(self.pace, Pace::Max) { start } else { due };
            sent.late_us.saturating_record_n(micros(start.saturating_duration_since(intended)), count);
            let batches = crowd.batches(now().plus_ms(-behind_ms), count, partitions);
            let mut made = Instant::now();
            clocks.making += made - start;
            for (batch, target) in batches {
                number += 1;
                let pings = batch.rows.len() as u64;
                sent.pings += pings;
                self.counters.sent(pings);
                lock(&under_way).push_back(Sending { number, pings, intended });
                let writing = clocks.writing;
                timed(stream.send_to(&batch, Some(target)), &mut clocks.writing).await?;
                let written = Instant::now();
                clocks.waiting += (written - made).saturating_sub(clocks.writing - writing);
                made = written;
            }
        }
        sent.due = self.due_in_all(sent.pings);
        sent.counts = stream.finish().await?.counts;
        sent.took = begun.elapsed();
        sent.ack_us = timing.await??;
        sent.clocks.push(clocks);
        Ok((sent, crowd))
    }

    /// When the ping after so many is due.
    fn due(&self, begun: Instant, pings: u64) -> Instant {
        match self.pace {
            Pace::Rate(rate) => begun + Duration::from_secs_f64((pings * self.sessions) as f64 / rate as f64),
            Pace::Max => begun,
        }
    }

    /// How many pings may still be sent.
    fn left(&self, begun: Instant, due: Instant, devices: u64, pings: u64) -> u64 {
        match (self.until, self.pace) {
            (Until::Round, _) => devices - pings.min(devices),
            (Until::Time(time), Pace::Max) => {
                if begun.elapsed() < time {
                    u64::MAX
                } else {
                    0
                }
            }
            (Until::Time(time), Pace::Rate(_)) => {
                let too_late = begun.elapsed() > time.mul_f64(1.0 + GRACE);
                if due < begun + time && !too_late { u64::MAX } else { 0 }
            }
        }
    }

    /// How many pings the schedule asked for.
    fn due_in_all(&self, sent: u64) -> u64 {
        match (self.until, self.pace) {
            (Until::Time(time), Pace::Rate(rate)) => {
                let due = rate as f64 * time.as_secs_f64() / self.sessions as f64;
                sent.max(due as u64)
            }
            _ => sent,
        }
    }
}

/// Waits for a future, and adds the time that it worked itself to `busy`.
async fn timed<F: Future>(future: F, busy: &mut Duration) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let start = Instant::now();
        let polled = future.as_mut().poll(context);
        *busy += start.elapsed();
        polled
    })
    .await
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Times batches as their acknowledgements come, until the session ends.
async fn time(
    mut progress: watch::Receiver<Progress>,
    under_way: UnderWay,
    counters: Arc<Counters>,
) -> anyhow::Result<Histogram<u64>> {
    let mut ack_us = histogram()?;
    loop {
        let going_on = progress.changed().await.is_ok();
        let applied = progress.borrow_and_update().applied;
        let now = Instant::now();
        let mut under_way = lock(&under_way);
        while let Some(batch) = under_way.pop_front_if(|batch| batch.number <= applied) {
            let waited = micros(now.saturating_duration_since(batch.intended));
            ack_us.saturating_record_n(waited, batch.pings);
            counters.acked(batch.pings, waited);
        }
        if !going_on {
            return Ok(ack_us);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
