//! What the partner received, and the account of it for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::super::output::grouped;
use super::recount::Found;
use super::script::{Moment, STAGES, Script, What};
use crate::domain::{Cause, EventTime, Match};

/// The matches that arrived, and when those of each moment did.
#[derive(Default)]
pub(super) struct Received {
    pub(super) found: Vec<Found>,
    /// Matches that say what they must not: another version, another radius.
    pub(super) odd: u64,
    by_moment: BTreeMap<What, Arrived>,
    pub(super) entered: u64,
    pub(super) cleared: u64,
}

struct Arrived {
    matches: u64,
    first: Instant,
    last: Instant,
}

impl Received {
    /// Takes matches that arrived just now.
    pub(super) fn take(&mut self, matches: impl Iterator<Item = Match>) {
        let now = Instant::now();
        for found in matches {
            let radius_km = STAGES.get(usize::from(found.stage)).map(|(_, radius_km)| *radius_km);
            if found.version != 1 || radius_km != Some(found.radius_km) {
                self.odd += 1;
            }
            let Match { device, cause, part, stage, at, .. } = found;
            self.found.push(Found { device, cause, part, stage, at });
            let what = match cause {
                Cause::Publish => What::Publish,
                Cause::Escalation => What::Stage { part, stage },
                Cause::Sighting => What::Sighting,
                Cause::Cancel => What::Cancel,
                Cause::Enter => {
                    self.entered += 1;
                    continue;
                }
                // The story has no update.
                Cause::Update => continue,
            };
            self.cleared += u64::from(cause == Cause::Cancel);
            let arrived = self.by_moment.entry(what).or_insert(Arrived { matches: 0, first: now, last: now });
            arrived.matches += 1;
            arrived.last = now;
        }
    }

    /// Devices notified of the alert, each once.
    pub(super) fn notified(&self) -> u64 {
        self.found.len() as u64 - self.cleared
    }

    /// The table of moments. `handed` says when the watermark of each went out.
    pub(super) fn table(&self, script: &Script, handed: &BTreeMap<What, Instant>) -> String {
        let mut text = String::new();
        let mut line = |time: &str, what: &str, [devices, first, last]: [&str; 3]| {
            let row = format!("  {time:5}  {what:<58} {devices:>10} {first:>9} {last:>9}");
            let _ = writeln!(text, "{}", row.trim_end());
        };
        line("", "", ["newly", "first", "last"]);
        line("time", "what happened", ["notified", "match ms", "match ms"]);
        for Moment { at, what } in script.moments() {
            let said = said(script, what);
            let Some(arrived) = self.by_moment.get(&what) else {
                line(&clock(at), &said, ["0", "-", "-"]);
                continue;
            };
            let after = |then: Instant| {
                let handed = handed.get(&what).copied().unwrap_or(then);
                format!("{:.1}", ms(then.saturating_duration_since(handed)))
            };
            let (first, last) = (after(arrived.first), after(arrived.last));
            line(&clock(at), &said, [&grouped(arrived.matches), &first, &last]);
        }
        line("", "meanwhile moved into the area and was told on entry", [&grouped(self.entered), "", ""]);
        text
    }
}

fn said(script: &Script, what: What) -> String {
    let radius = |stage: u8| STAGES.get(usize::from(stage)).map_or(0.0, |(_, radius_km)| *radius_km);
    match what {
        What::Publish => format!(
            "alert: a girl of six, lost in {} at {}: {} km around",
            script.lost_in.name,
            clock(script.lost),
            radius(0)
        ),
        What::Stage { part: 0, stage } => format!("{stage} h after the loss: {} km", radius(stage)),
        What::Stage { stage, .. } => format!("{stage} h after the sighting: {} km", radius(stage)),
        What::Sighting => format!(
            "sighting confirmed: seen in {} at {}: {} km around",
            script.seen_in.name,
            clock(script.seen),
            radius(0)
        ),
        What::Cancel => "found: the all-clear to all who were notified".into(),
    }
}

/// The time of day in China.
pub(super) fn clock(at: EventTime) -> String {
    let minute = at.0.div_euclid(60_000) + 8 * 60;
    format!("{:02}:{:02}", minute / 60 % 24, minute % 60)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
