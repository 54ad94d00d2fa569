//! What the desk answers: plain structs that serialise to JSON, times as RFC 3339.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::domain::{EventTime, Namespace, PartSpec, Position, Stages, format_duration};

use super::book::Held;
use super::reports::{Report, ReportNo};

/// How much of a headline a list shows.
const HEADLINE_CHARS: usize = 200;

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The alert.
    pub id: String,
    /// The alert's version after the action; 0 while the action waits.
    pub version: u32,
    /// The time given to the action; while it waits, its own time.
    #[serde(serialize_with = "text")]
    pub at: EventTime,
    /// It waits until the event clock passes `at`, and is judged then.
    pub queued: bool,
}

/// A report that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportReceipt {
    /// Its number.
    pub report: ReportNo,
    /// The alert.
    pub id: String,
    /// When the child was seen.
    #[serde(serialize_with = "text")]
    pub seen_at: EventTime,
}

/// The newest alerts.
#[derive(Clone, Debug, Serialize)]
pub struct AlertList {
    /// At most [`LIST_MAX`](crate::limits::LIST_MAX), the newest first.
    pub alerts: Vec<AlertSummary>,
    /// How many alerts there are in all.
    pub total: usize,
    /// How many actions wait for the event clock.
    pub waiting: usize,
    /// Waiting actions of the asking authority (an admin sees all) that were rejected at their
    /// time; the oldest first, bounded.
    pub rejections: Vec<LateRejection>,
}

/// A waiting action that was rejected at its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LateRejection {
    /// The alert.
    pub id: String,
    /// The time given to the action.
    #[serde(serialize_with = "text")]
    pub at: EventTime,
    /// Why.
    pub reason: String,
}

/// An alert in a line.
#[derive(Clone, Debug, Serialize)]
pub struct AlertSummary {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Its status.
    pub status: &'static str,
    /// `active`, `expired` or `cancelled`.
    pub state: &'static str,
    /// `found` or `refuted`, once cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Who published it.
    pub owner: String,
    /// When it was published.
    #[serde(serialize_with = "text")]
    pub published: EventTime,
    /// When it ends, or ended.
    #[serde(serialize_with = "text")]
    pub expires: EventTime,
    /// When it was cancelled.
    #[serde(serialize_with = "text_or_null", skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<EventTime>,
    /// Its parts: its own area and the sightings.
    pub parts: usize,
    /// The first 200 characters of its headline, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
}

/// Everything about an alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertView {
    /// Its line in the list.
    #[serde(flatten)]
    pub summary: AlertSummary,
    /// How its parts grow.
    pub parts_now: Vec<PartView>,
    /// Reports that wait, for those who may confirm them.
    pub reports: Vec<ReportView>,
    /// The alert as subscribers get it.
    pub alert: Value,
}

/// A part of an alert.
#[derive(Clone, Debug, Serialize)]
pub struct PartView {
    /// Its number: 0 is the alert's own area.
    pub part: usize,
    /// Where a sighting was, latitude in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lat: Option<f64>,
    /// Where a sighting was, longitude in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lon: Option<f64>,
    /// From when its stages count.
    #[serde(serialize_with = "text")]
    pub start: EventTime,
    /// The stage whose time has come.
    pub stage_now: usize,
    /// All stages.
    pub stages: Vec<StageView>,
}

/// A stage of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageView {
    /// Its number, from 0.
    pub stage: usize,
    /// After the part's start, e.g. `1h30m`.
    pub after: String,
    /// When that is.
    #[serde(serialize_with = "text")]
    pub at: EventTime,
    /// Its radius, km; under `fixed` a circle's own, 0 for a polygon or several shapes.
    pub radius_km: f64,
}

/// A report that waits.
#[derive(Clone, Debug, Serialize)]
pub struct ReportView {
    /// Its number.
    pub report: ReportNo,
    /// Latitude, degrees.
    pub lat: f64,
    /// Longitude, degrees.
    pub lon: f64,
    /// When the child was seen.
    #[serde(serialize_with = "text")]
    pub seen_at: EventTime,
    /// Who reported it.
    pub by: String,
}

/// How many devices an alert would reach.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The time that it was judged at.
    #[serde(serialize_with = "text")]
    pub at: EventTime,
    /// The stage that the alert would start with.
    pub stage_now: usize,
    /// Its stages.
    pub stages: Vec<StageView>,
    /// The devices known now that each stage contains, by namespace.
    pub namespaces: Vec<NamespacePreview>,
}

/// One namespace's share of a [`Preview`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamespacePreview {
    /// Its name.
    pub namespace: String,
    /// Devices, by stage.
    pub devices: Vec<u64>,
}

impl AlertSummary {
    pub(super) fn new(held: &Held, now: EventTime) -> Self {
        let state = match held.cancelled {
            Some(_) => "cancelled",
            None if held.is_active(now) => "active",
            None => "expired",
        };
        Self {
            id: held.terms.id.to_string(),
            version: held.info.version,
            status: held.terms.status.as_str(),
            state,
            reason: held.cancelled.map(|cancelled| cancelled.reason.as_str()),
            owner: held.owner.to_string(),
            published: held.published,
            expires: held.terms.expires,
            cancelled: held.cancelled.map(|cancelled| cancelled.at),
            parts: 1 + held.sightings.len(),
            headline: held.terms.content.get("headline").and_then(Value::as_str).map(shortened),
        }
    }
}

impl AlertView {
    pub(super) fn new<'a>(
        held: &Held,
        now: EventTime,
        reports: impl Iterator<Item = (ReportNo, &'a Report)>,
    ) -> Self {
        let own = PartView::new(0, None, held.terms.lost_at, &held.growth.stages, now);
        let sightings = held.sightings.iter().zip(1..).map(|(sighting, part)| {
            PartView::new(part, Some(sighting.position), sighting.seen_at, &sighting.stages, now)
        });
        Self {
            summary: AlertSummary::new(held, now),
            parts_now: std::iter::once(own).chain(sightings).collect(),
            reports: reports.map(|(no, report)| ReportView::new(no, report)).collect(),
            alert: serde_json::from_str(&held.info.json).unwrap_or_default(),
        }
    }
}

impl ReportView {
    fn new(report: ReportNo, held: &Report) -> Self {
        Self {
            report,
            lat: held.position.lat_deg(),
            lon: held.position.lon_deg(),
            seen_at: held.seen_at,
            by: held.by.to_string(),
        }
    }
}

impl PartView {
    fn new(part: usize, at: Option<Position>, start: EventTime, stages: &Stages, now: EventTime) -> Self {
        Self {
            part,
            lat: at.map(Position::lat_deg),
            lon: at.map(Position::lon_deg),
            start,
            stage_now: stages.at(now.ms_since(start)),
            stages: stage_views(start, stages),
        }
    }
}

impl Preview {
    pub(super) fn new<A>(
        at: EventTime,
        part: &PartSpec<A>,
        counts: impl Iterator<Item = (Namespace, Vec<u64>)>,
    ) -> Self {
        Self {
            at,
            stage_now: part.stages.at(at.ms_since(part.start)),
            stages: stage_views(part.start, &part.stages),
            namespaces: counts
                .map(|(name, devices)| NamespacePreview { namespace: name.to_string(), devices })
                .collect(),
        }
    }
}

fn stage_views(start: EventTime, stages: &Stages) -> Vec<StageView> {
    let view = |(stage, held): (usize, &crate::domain::Stage)| StageView {
        stage,
        after: format_duration(held.after_ms),
        at: start.plus_ms(held.after_ms),
        radius_km: held.radius_km,
    };
    stages.as_slice().iter().enumerate().map(view).collect()
}

fn shortened(headline: &str) -> String {
    headline.chars().take(HEADLINE_CHARS).collect()
}

fn text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn text_or_null<S: Serializer>(value: &Option<EventTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
