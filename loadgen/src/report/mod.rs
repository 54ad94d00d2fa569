//! The report: JSON for programs, a table for people, a page for both.

mod chart;
mod html;
mod table;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::others::PartnerReport;
use crate::verdict::Verdict;
use crate::watch::Sample;

/// Quantiles of the curve of acknowledgements.
const QUANTILES: [f64; 14] =
    [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999, 1.0];

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) about: String,
    pub(crate) seed: u64,
    pub(crate) devices: u32,
    /// From the first batch to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Before that, at the same pace and not counted.
    pub(crate) warm_up_seconds: u32,
    /// Pings a second asked for; none where as fast as possible.
    pub(crate) rate: Option<u64>,
    /// Pings that the rate asked for; where there is none, those sent.
    pub(crate) pings_due: u64,
    pub(crate) pings_sent: u64,
    pub(crate) pings_acked: u64,
    pub(crate) pings_rejected: u64,
    pub(crate) pings_stale: u64,
    pub(crate) pings_per_second: f64,
    /// From the time at which a ping's batch should have been sent to its acknowledgement.
    pub(crate) ack_ms: Percentiles,
    /// The same as a curve: quantile and ms.
    pub(crate) ack_curve_ms: Vec<(f64, f64)>,
    pub(crate) alerts: Vec<AlertReport>,
    /// Devices told because they came into an area.
    pub(crate) entered: u64,
    /// Subscribers beside the one that timed the matches.
    pub(crate) partners: Vec<PartnerReport>,
    /// The engine's memory at the end; none for a server elsewhere.
    pub(crate) rss_bytes: Option<u64>,
    /// What its memory grew by when every device had sent a ping.
    pub(crate) bytes_per_device: Option<f64>,
    /// The engine's processor time during the run.
    pub(crate) cpu_seconds: Option<f64>,
    /// The load generator's own processor time during the run: what sending and receiving cost.
    pub(crate) own_cpu_seconds: Option<f64>,
    /// Sessions that sent pings.
    pub(crate) sessions: u32,
    pub(crate) generator: GeneratorReport,
    /// Who held the run back.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) series: Vec<Sample>,
    pub(crate) machine: String,
}

/// What the generator's sessions did with their time: shares, 1 together but for rounding.
#[derive(Debug, Default, Serialize)]
pub(crate) struct GeneratorReport {
    /// Made pings.
    pub(crate) making: f64,
    /// Encoded batches and handed them to QUIC.
    pub(crate) writing: f64,
    /// Were held back by the server or the network.
    pub(crate) waiting: f64,
    /// Were ahead of the schedule.
    pub(crate) idle: f64,
    /// Share of its time that the busiest session made and encoded pings.
    pub(crate) busiest: f64,
    /// By how much sending began late; of a schedule only.
    pub(crate) late_ms: Option<Percentiles>,
}

/// Percentiles, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    pub(crate) fn of_us(histogram: &Histogram<u64>) -> Self {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let max = histogram.max() as f64 / 1_000.0;
        Self { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max }
    }
}

/// A histogram of microseconds as a curve: quantile and ms.
pub(crate) fn curve_ms(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    QUANTILES.map(|quantile| (quantile, histogram.value_at_quantile(quantile) as f64 / 1_000.0)).to_vec()
}

/// One alert that was raised.
#[derive(Debug, Serialize)]
pub(crate) struct AlertReport {
    pub(crate) id: String,
    /// The city, or the point.
    pub(crate) around: String,
    /// When it was to be raised, s after the start of the run.
    pub(crate) at_s: f64,
    pub(crate) stages: Vec<StageReport>,
    /// Devices newly notified by its update, from the request.
    pub(crate) update: Option<MatchedReport>,
    /// Devices told of its cancellation, from the request.
    pub(crate) cancel: Option<MatchedReport>,
}

/// One stage of it; times count from the stage's own time (for the first, from the request).
#[derive(Debug, Serialize)]
pub(crate) struct StageReport {
    pub(crate) stage: u8,
    pub(crate) radius_km: f64,
    /// Devices newly notified.
    pub(crate) matched: u64,
    pub(crate) first_match_ms: Option<f64>,
    pub(crate) last_match_ms: Option<f64>,
}

/// Matches and when they came.
#[derive(Debug, Serialize)]
pub(crate) struct MatchedReport {
    pub(crate) matched: u64,
    pub(crate) first_match_ms: Option<f64>,
    pub(crate) last_match_ms: Option<f64>,
}

/// A whole number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
