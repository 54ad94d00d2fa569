//! The report as a table for a terminal.

use std::fmt::Write as _;

use super::{MatchedReport, Percentiles, Report, grouped};

/// Alerts that are told one by one; of more, each stage is told once.
const ALERTS_MAX: usize = 12;

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.lines() {
            let _ = writeln!(text, "{name:<18} {value}");
        }
        text
    }

    /// Names and values.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![(
            "scenario",
            format!("{}, {} devices, seed {}", self.scenario, grouped(self.devices.into()), self.seed),
        )];
        let asked =
            self.rate.map_or("as fast as acknowledged".into(), |rate| format!("{} asked for", grouped(rate)));
        lines.push(("pings a second", format!("{} ({asked})", grouped(self.pings_per_second as u64))));
        let pings = format!(
            "{} sent, {} acknowledged, {} rejected, {} stale, in {:.1} s after {} s of warm-up",
            grouped(self.pings_sent),
            grouped(self.pings_acked),
            grouped(self.pings_rejected),
            grouped(self.pings_stale),
            self.seconds,
            self.warm_up_seconds
        );
        lines.push(("pings", pings));
        let Percentiles { p50, p90, p99, p999, max } = self.ack_ms;
        lines.push((
            "acknowledged in",
            format!("{p50:.2} ms p50, {p90:.2} p90, {p99:.2} p99, {p999:.2} p99.9, {max:.2} at most"),
        ));
        self.alert_lines(&mut lines);
        lines.push(("entered", grouped(self.entered)));
        for partner in &self.partners {
            let ended = partner.ended.as_ref().map_or(String::new(), |why| format!(", ended: {why}"));
            let (reads, read) = (partner.reads.as_str(), grouped(partner.read));
            lines.push((
                "partner",
                format!("{reads}: {read} matches read, {} behind{ended}", grouped(partner.behind)),
            ));
        }
        if let (Some(rss), Some(each), Some(cpu)) = (self.rss_bytes, self.bytes_per_device, self.cpu_seconds)
        {
            lines.push(("engine's memory", format!("{} MiB, {each:.0} bytes a device", grouped(rss >> 20))));
            let own = self.own_cpu_seconds.unwrap_or_default();
            let each = |seconds: f64| 1e9 * seconds / self.pings_acked.max(1) as f64;
            lines.push((
                "processor",
                format!(
                    "engine {cpu:.1} s ({:.0} ns a ping), {} sessions here {own:.1} s ({:.0} ns a ping)",
                    each(cpu),
                    self.sessions,
                    each(own)
                ),
            ));
        }
        let generator = &self.generator;
        let percent = |share: f64| 100.0 * share;
        let late = generator.late_ms.map_or(String::new(), |late| {
            format!("; late by {:.2} ms p50, {:.2} p99, {:.2} at most", late.p50, late.p99, late.max)
        });
        lines.push((
            "generator",
            format!(
                "made pings {:.0} % of the time, wrote {:.0} %, waited {:.0} %, idle {:.0} %{late}",
                percent(generator.making),
                percent(generator.writing),
                percent(generator.waiting),
                percent(generator.idle)
            ),
        ));
        lines.push(("bottleneck", self.verdict.says.clone()));
        lines.push(("machine", self.machine.clone()));
        lines
    }

    fn alert_lines(&self, lines: &mut Vec<(&'static str, String)>) {
        if self.alerts.len() > ALERTS_MAX {
            lines.push(("alerts", format!("{}; by stage, over all of them:", self.alerts.len())));
            for stage in self.by_stage() {
                let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
                lines.push((
                    "",
                    format!(
                        "{}: {} matched, first after {} ms at the earliest, last after {} ms in the median, {} at \
                         most",
                        stage.name,
                        grouped(stage.matched),
                        ms(stage.first_ms),
                        ms(stage.median_last_ms),
                        ms(stage.last_ms)
                    ),
                ));
            }
            return;
        }
        for alert in &self.alerts {
            lines.push(("alert", format!("{} around {}", alert.id, alert.around)));
            for stage in &alert.stages {
                let name = format!("stage {}, {} km", stage.stage, stage.radius_km);
                lines.push(("", told(&name, stage.matched, stage.first_match_ms, stage.last_match_ms)));
            }
            for (name, all) in [("update", &alert.update), ("cancellation", &alert.cancel)] {
                if let Some(MatchedReport { matched, first_match_ms, last_match_ms }) = all {
                    lines.push(("", told(name, *matched, *first_match_ms, *last_match_ms)));
                }
            }
        }
    }

    /// The stages of all alerts together, by number; updates and cancellations after them.
    pub(super) fn by_stage(&self) -> Vec<AllStages> {
        let most = self.alerts.iter().map(|alert| alert.stages.len()).max().unwrap_or(0);
        let mut all: Vec<AllStages> = (0..most)
            .map(|place| {
                let stages = self.alerts.iter().filter_map(|alert| alert.stages.get(place));
                AllStages::new(
                    format!("stage {place}"),
                    stages.map(|stage| (stage.matched, stage.first_match_ms, stage.last_match_ms)),
                )
            })
            .collect();
        let of = |told: &MatchedReport| (told.matched, told.first_match_ms, told.last_match_ms);
        let updates = self.alerts.iter().filter_map(|alert| alert.update.as_ref()).map(of);
        all.push(AllStages::new("update".into(), updates));
        let cancels = self.alerts.iter().filter_map(|alert| alert.cancel.as_ref()).map(of);
        all.push(AllStages::new("cancellation".into(), cancels));
        all.retain(|stage| stage.matched > 0);
        all
    }
}

fn told(name: &str, matched: u64, first: Option<f64>, last: Option<f64>) -> String {
    let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
    format!("{name}: {} matched, first after {} ms, last after {} ms", grouped(matched), ms(first), ms(last))
}

/// One stage of many alerts.
pub(super) struct AllStages {
    pub(super) name: String,
    pub(super) matched: u64,
    /// The earliest of the first matches.
    pub(super) first_ms: Option<f64>,
    /// The median of the last ones.
    pub(super) median_last_ms: Option<f64>,
    /// The latest of the last ones.
    pub(super) last_ms: Option<f64>,
}

impl AllStages {
    fn new(name: String, each: impl Iterator<Item = (u64, Option<f64>, Option<f64>)>) -> Self {
        let (mut matched, mut firsts, mut lasts) = (0, Vec::new(), Vec::new());
        for (count, first, last) in each {
            matched += count;
            firsts.extend(first);
            lasts.extend(last);
        }
        lasts.sort_by(f64::total_cmp);
        Self {
            name,
            matched,
            first_ms: firsts.into_iter().min_by(f64::total_cmp),
            median_last_ms: lasts.get(lasts.len() / 2).copied(),
            last_ms: lasts.last().copied(),
        }
    }
}
