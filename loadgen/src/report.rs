//! The report: JSON for programs, a table for people.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    pub(crate) devices: u32,
    /// From the first batch to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Pings a second asked for; none where as fast as possible.
    pub(crate) rate: Option<u64>,
    pub(crate) pings_sent: u64,
    pub(crate) pings_acked: u64,
    pub(crate) pings_rejected: u64,
    pub(crate) pings_stale: u64,
    pub(crate) pings_per_second: f64,
    /// From the time at which a ping's batch should have been sent to its acknowledgement.
    pub(crate) ack_ms: Percentiles,
    pub(crate) alerts: Vec<AlertReport>,
    /// Devices told because they came into an area.
    pub(crate) entered: u64,
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
    pub(crate) machine: String,
}

/// Percentiles, milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Percentiles {
    pub(crate) fn of_us(histogram: &Histogram<u64>) -> Self {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let max = histogram.max() as f64 / 1_000.0;
        Self { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max }
    }
}

/// One alert that was raised.
#[derive(Debug, Serialize)]
pub(crate) struct AlertReport {
    pub(crate) id: String,
    pub(crate) stages: Vec<StageReport>,
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

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<18} {value}");
        };
        line(
            "scenario",
            format!("{}, {} devices, seed {}", self.scenario, grouped(self.devices.into()), self.seed),
        );
        let asked =
            self.rate.map_or("as fast as acknowledged".into(), |rate| format!("{} asked for", grouped(rate)));
        line("pings a second", format!("{} ({asked})", grouped(self.pings_per_second as u64)));
        line(
            "pings",
            format!(
                "{} sent, {} acknowledged, {} rejected, {} stale, in {:.1} s",
                grouped(self.pings_sent),
                grouped(self.pings_acked),
                grouped(self.pings_rejected),
                grouped(self.pings_stale),
                self.seconds
            ),
        );
        let Percentiles { p50, p90, p99, p999, max } = self.ack_ms;
        line(
            "acknowledged in",
            format!("{p50:.2} ms p50, {p90:.2} p90, {p99:.2} p99, {p999:.2} p99.9, {max:.2} at most"),
        );
        for alert in &self.alerts {
            line("alert", alert.id.clone());
            for stage in &alert.stages {
                let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
                line(
                    "",
                    format!(
                        "stage {}, {} km: {} matched, first after {} ms, last after {} ms",
                        stage.stage,
                        stage.radius_km,
                        grouped(stage.matched),
                        ms(stage.first_match_ms),
                        ms(stage.last_match_ms)
                    ),
                );
            }
        }
        line("entered", grouped(self.entered));
        if let (Some(rss), Some(each), Some(cpu)) = (self.rss_bytes, self.bytes_per_device, self.cpu_seconds)
        {
            line("engine's memory", format!("{} MiB, {each:.0} bytes a device", grouped(rss >> 20)));
            let own = self.own_cpu_seconds.unwrap_or_default();
            let each = |seconds: f64| 1e9 * seconds / self.pings_acked.max(1) as f64;
            line(
                "processor",
                format!(
                    "engine {cpu:.1} s ({:.0} ns a ping), {} sessions here {own:.1} s ({:.0} ns a ping)",
                    each(cpu),
                    self.sessions,
                    each(own)
                ),
            );
        }
        line("machine", self.machine.clone());
        text
    }
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
