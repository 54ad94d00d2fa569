//! What happens to the child: one alert's story on event time, the same for the engine and for
//! the recount.

use serde_json::{Value, json};

use super::population::{City, Population};
use super::world::TICK_MS;
use crate::domain::EventTime;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// 2026-05-15, ten years after the first system of this kind began: 10:00 in China.
pub(super) const START: EventTime = EventTime(1_778_810_400_000);
/// The growth, as the rules give it for `tuanyuan`: after the loss, and km.
pub(super) const STAGES: [(i64, f64); 4] =
    [(0, 100.0), (HOUR_MS, 200.0), (2 * HOUR_MS, 300.0), (3 * HOUR_MS, 500.0)];
/// The alert's id.
pub(super) const ALERT: &str = "demo-2026-0001";

const LOST: EventTime = EventTime(START.0 + 5 * MINUTE_MS);
const PUBLISHED: EventTime = EventTime(START.0 + 20 * MINUTE_MS);
const SEEN: EventTime = EventTime(START.0 + 77 * MINUTE_MS);
const SIGHTED: EventTime = EventTime(START.0 + 95 * MINUTE_MS);
const FOUND: EventTime = EventTime(START.0 + 3 * HOUR_MS + 20 * MINUTE_MS);
const END: EventTime = EventTime(START.0 + 3 * HOUR_MS + 25 * MINUTE_MS);

/// The story.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Where the child was lost.
    pub(super) lost_in: City,
    /// Where it was seen.
    pub(super) seen_in: City,
    /// When the child was lost.
    pub(super) lost: EventTime,
    /// When the alert was published.
    pub(super) published: EventTime,
    /// When the child was seen.
    pub(super) seen: EventTime,
    /// When that was confirmed.
    pub(super) sighted: EventTime,
    /// When the child was found.
    pub(super) found: EventTime,
    /// The end of the story.
    pub(super) end: EventTime,
}

/// A moment of the story at which the engine must find devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// When.
    pub(super) at: EventTime,
    /// What.
    pub(super) what: What,
}

/// See [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The alert is published.
    Publish,
    /// A part grows to a stage.
    Stage {
        /// The part.
        part: u8,
        /// The stage.
        stage: u8,
    },
    /// The sighting is confirmed.
    Sighting,
    /// The child was found.
    Cancel,
}

impl Script {
    /// A child lost in Nanjing and seen in Xi'an.
    pub(super) fn new(population: &Population) -> anyhow::Result<Self> {
        let city = |name: &str| {
            population.named(name).cloned().ok_or_else(|| anyhow::anyhow!("no city is named {name}"))
        };
        Ok(Self {
            lost_in: city("Nanjing")?,
            seen_in: city("Xi’an")?,
            lost: LOST,
            published: PUBLISHED,
            seen: SEEN,
            sighted: SIGHTED,
            found: FOUND,
            end: END,
        })
    }

    /// The ticks of the story.
    pub(super) fn ticks(&self) -> i64 {
        self.end.ms_since(START) / TICK_MS
    }

    /// The moments in their order.
    pub(super) fn moments(&self) -> Vec<Moment> {
        let mut moments = vec![
            Moment { at: self.published, what: What::Publish },
            Moment { at: self.sighted, what: What::Sighting },
            Moment { at: self.found, what: What::Cancel },
        ];
        for (part, start, since) in [(0, self.lost, self.published), (1, self.seen, self.sighted)] {
            for (stage, (after, _)) in (0u8..).zip(STAGES) {
                let at = start.plus_ms(after);
                // Earlier ones are part of the publication or sighting itself.
                if at > since && at < self.found {
                    moments.push(Moment { at, what: What::Stage { part, stage } });
                }
            }
        }
        moments.sort_unstable();
        moments
    }

    /// The alert as its authority writes it.
    pub(super) fn alert(&self) -> Value {
        json!({
            "id": ALERT,
            "status": "exercise",
            "sent": self.published.to_string(),
            "lost_at": self.lost.to_string(),
            "expires": self.lost.plus_ms(24 * HOUR_MS).to_string(),
            "area": {"circle": {"lat": self.lost_in.lat, "lon": self.lost_in.lon}},
            "policy": "tuanyuan",
            "headline": format!("EXERCISE: girl of six lost in {}", self.lost_in.name),
            "child": {"sex": "female", "age": 6, "height_cm": 115, "wears": "a red jacket"},
        })
    }
}
