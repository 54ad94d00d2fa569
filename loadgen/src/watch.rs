//! What a run looks like while it goes on: counters that sessions add to, samples of them for the
//! report, and a line for whoever waits.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::machine;
use crate::report::grouped;

/// Samples of a run, about: as many as a chart can show.
const SAMPLES: f64 = 200.0;
/// Least and most time between two samples, s.
const STEP_S: (f64, f64) = (0.25, 10.0);
/// Time between two plain lines, where there is no terminal.
const PLAIN_LINE: Duration = Duration::from_secs(5);

/// What sessions count.
pub(crate) struct Counters {
    sent: AtomicU64,
    acked: AtomicU64,
    /// Offset that the first partner has read to.
    read_to: AtomicU64,
    /// Microseconds to the acknowledgement since the last sample, by ping.
    recent_us: Mutex<Histogram<u64>>,
}

impl Counters {
    pub(crate) fn new() -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            read_to: AtomicU64::new(0),
            recent_us: Mutex::new(Histogram::new_with_max(600_000_000, 2)?),
        }))
    }

    pub(crate) fn sent(&self, pings: u64) {
        self.sent.fetch_add(pings, Relaxed);
    }

    pub(crate) fn acked(&self, pings: u64, after_us: u64) {
        self.acked.fetch_add(pings, Relaxed);
        let mut recent = self.recent_us.lock().unwrap_or_else(PoisonError::into_inner);
        recent.saturating_record_n(after_us, pings);
    }

    pub(crate) fn read_to(&self, offset: u64) {
        self.read_to.store(offset, Relaxed);
    }

    /// Percentiles since the last call, ms; none where nothing came.
    fn take_recent(&self) -> Option<(f64, f64)> {
        let mut recent = self.recent_us.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |quantile| recent.value_at_quantile(quantile) as f64 / 1_000.0;
        let found = (!recent.is_empty()).then(|| (ms(0.5), ms(0.99)));
        recent.reset();
        found
    }
}

/// A moment of a run; rates are since the one before.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Since the start of the run, s.
    pub(crate) s: f64,
    pub(crate) pings_per_second: f64,
    pub(crate) matches_per_second: f64,
    pub(crate) ack_p50_ms: Option<f64>,
    pub(crate) ack_p99_ms: Option<f64>,
    /// The engine's memory; none for a server elsewhere.
    pub(crate) rss_bytes: Option<u64>,
}

/// Somebody who looks at the counters.
pub(crate) struct Watch {
    ended: Arc<AtomicBool>,
    wake: Arc<tokio::sync::Notify>,
    looking: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// Looks on until [`stop`](Self::stop). `seconds` is how long this should last, where that is known;
    /// `pid` is the engine's process.
    pub(crate) fn start(
        what: &'static str,
        counters: &Arc<Counters>,
        seconds: Option<f64>,
        pid: Option<u32>,
    ) -> Self {
        let (ended, wake) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
        let look = look(what, Arc::clone(counters), seconds, pid, Arc::clone(&ended), Arc::clone(&wake));
        Self { ended, wake, looking: tokio::spawn(look) }
    }

    /// What was seen.
    pub(crate) async fn stop(self) -> anyhow::Result<Vec<Sample>> {
        self.ended.store(true, Relaxed);
        self.wake.notify_one();
        Ok(self.looking.await?)
    }
}

async fn look(
    what: &'static str,
    counters: Arc<Counters>,
    seconds: Option<f64>,
    pid: Option<u32>,
    ended: Arc<AtomicBool>,
    wake: Arc<tokio::sync::Notify>,
) -> Vec<Sample> {
    let step = (seconds.unwrap_or(0.0) / SAMPLES).clamp(STEP_S.0, STEP_S.1);
    let begun = Instant::now();
    let read = || (counters.acked.load(Relaxed), counters.read_to.load(Relaxed));
    let ((mut acked, mut read_to), mut last) = (read(), begun);
    let first = acked;
    counters.take_recent();
    let (mut samples, mut line) = (Vec::new(), Line::new());
    loop {
        // The schedule of samples does not drift.
        let next = begun + Duration::from_secs_f64(step * (samples.len() + 1) as f64);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = wake.notified() => {}
        }
        let now = Instant::now();
        let since = (now - last).as_secs_f64();
        let over = ended.load(Relaxed);
        // The rest of a step is too short to tell a rate.
        if !over || since > 0.5 * step {
            let (acked_now, read_now) = read();
            let recent = counters.take_recent();
            let sample = Sample {
                s: (now - begun).as_secs_f64(),
                pings_per_second: (acked_now - acked) as f64 / since,
                matches_per_second: read_now.saturating_sub(read_to) as f64 / since,
                ack_p50_ms: recent.map(|(p50, _)| p50),
                ack_p99_ms: recent.map(|(_, p99)| p99),
                rss_bytes: pid.and_then(machine::rss_bytes),
            };
            (acked, read_to, last) = (acked_now, read_now, now);
            line.say(&told(what, &sample, acked - first, seconds), over);
            samples.push(sample);
        }
        if over {
            line.end();
            return samples;
        }
    }
}

/// The line of a sample.
fn told(what: &str, sample: &Sample, acked: u64, seconds: Option<f64>) -> String {
    let of = seconds.map_or(String::new(), |seconds| format!(" of {seconds:.0}"));
    let ms = sample.ack_p99_ms.map_or(String::new(), |ms| format!(", acknowledged in {ms:.1} ms (p99)"));
    let rss = sample.rss_bytes.map_or(String::new(), |rss| format!(", engine {} MiB", grouped(rss >> 20)));
    format!(
        "{what}: {:.1}{of} s, {} pings, {} a second{ms}, {} matches a second{rss}",
        sample.s,
        grouped(acked),
        grouped(sample.pings_per_second as u64),
        grouped(sample.matches_per_second as u64),
    )
}

/// The line of progress, on standard error: one that is written over on a terminal, otherwise
/// plain ones now and then.
struct Line {
    terminal: bool,
    said: Instant,
}

impl Line {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), said: Instant::now() }
    }

    /// Where it cannot be written nobody waits for it.
    fn say(&mut self, text: &str, last: bool) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        } else if !last && self.said.elapsed() >= PLAIN_LINE {
            self.said = Instant::now();
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
