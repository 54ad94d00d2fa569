//! Alerts: as they are asked for (`Action`, `AlertDraft`), and as the desk decided
//! them (`Directive`), which is all that a partition ever sees.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AlertId, AlertNo, Area, EventTime, Policy, Stages};

/// How serious an alert is meant (CAP 1.2, `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// For everybody granted.
    Actual,
    /// Only for subscribers that asked for exercises.
    Exercise,
    /// As an exercise; never in the public feed.
    Test,
    /// Only previewed; publishing one is rejected.
    Draft,
}

impl Status {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actual => "actual",
            Self::Exercise => "exercise",
            Self::Test => "test",
            Self::Draft => "draft",
        }
    }
}

/// How a position with a radius of uncertainty `a` matches a signed distance `s` and a radius `r`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Uncertainty {
    /// The disc touches the area: `s - a <= r`.
    #[default]
    Intersects,
    /// The centre lies in the area: `s <= r`.
    Centre,
    /// The whole disc lies in the area: `s + a <= r`.
    Within,
}

impl Uncertainty {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intersects => "intersects",
            Self::Centre => "centre",
            Self::Within => "within",
        }
    }
}

/// Why an alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// The child was found.
    Found,
    /// The alert was false.
    Refuted,
}

impl CancelReason {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Refuted => "refuted",
        }
    }
}

/// What partners show: the JSON members that hexcast carries and does not read
/// (`headline`, `description`, `language`, `child`, `photos`).
pub type AlertContent = Map<String, Value>;

/// An alert as somebody asks for it: what a member does not give is `None`. Not checked.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertDraft {
    /// The alert's id.
    pub id: AlertId,
    /// Its status; `actual` where a publication names none.
    pub status: Option<Status>,
    /// When it was sent.
    pub sent: Option<EventTime>,
    /// When the child went missing.
    pub lost_at: Option<EventTime>,
    /// From when on it is not active.
    pub expires: Option<EventTime>,
    /// Where. Positions may be impossible: those that are, are errors in their place.
    pub area: Option<Result<Area, super::PositionError>>,
    /// How it grows.
    pub policy: Option<Policy>,
    /// How uncertain positions match.
    pub uncertainty: Option<Uncertainty>,
    /// What partners show.
    pub content: AlertContent,
}

#[cfg(test)]
impl AlertDraft {
    /// One that gives nothing.
    pub(crate) fn bare(id: &str) -> Self {
        Self {
            id: id.into(),
            status: None,
            sent: None,
            lost_at: None,
            expires: None,
            area: None,
            policy: None,
            uncertainty: None,
            content: AlertContent::new(),
        }
    }

    /// One to be published on any day: 5 km around a place, as drawn.
    pub(crate) fn lasting(id: &str, lat: f64, lon: f64) -> Self {
        let centre = super::Position::from_degrees(lat, lon).unwrap();
        Self {
            expires: Some(EventTime::from_rfc3339("9000-01-01T00:00:00Z").unwrap()),
            area: Some(Ok(Area { shapes: vec![super::Shape::Circle { centre, radius_km: Some(5.0) }] })),
            policy: Some(Policy::Fixed),
            ..Self::bare(id)
        }
    }
}

/// What an authority asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Publish a new alert.
    Publish(Box<AlertDraft>),
    /// Change an alert: what the draft does not give stays.
    Update(Box<AlertDraft>),
    /// Confirm a sighting: the alert gets a further part.
    Sighting {
        /// The alert.
        id: AlertId,
        /// Latitude, degrees, not checked.
        lat: f64,
        /// Longitude, degrees, not checked.
        lon: f64,
        /// When the child was seen; the action's time if not given.
        seen_at: Option<EventTime>,
    },
    /// End an alert.
    Cancel {
        /// The alert.
        id: AlertId,
        /// Why.
        reason: CancelReason,
    },
}

impl Action {
    /// The alert that the action is about.
    pub fn id(&self) -> &AlertId {
        match self {
            Self::Publish(draft) | Self::Update(draft) => &draft.id,
            Self::Sighting { id, .. } | Self::Cancel { id, .. } => id,
        }
    }
}

/// One part of an alert as the desk decided it: an area, its clock and its growth.
/// `A` is the prepared area (`geo::PreparedArea`), which this room does not know.
#[derive(Debug)]
pub struct PartSpec<A> {
    /// The area.
    pub area: Arc<A>,
    /// From when the stages count.
    pub start: EventTime,
    /// The stages; under `as_drawn` their radius is only what matches print.
    pub stages: Stages,
    /// `fixed`: each shape as drawn (a circle its own radius, a polygon 0).
    pub as_drawn: bool,
}

impl<A> Clone for PartSpec<A> {
    fn clone(&self) -> Self {
        Self {
            area: Arc::clone(&self.area),
            start: self.start,
            stages: self.stages.clone(),
            as_drawn: self.as_drawn,
        }
    }
}

/// What the desk decided, told to all partitions in one order. It has been validated: a
/// partition carries it out.
#[derive(Debug)]
pub struct Directive<A> {
    /// The time given to it.
    pub at: EventTime,
    /// The alert.
    pub alert: AlertNo,
    /// What to do.
    pub kind: DirectiveKind<A>,
}

/// The kinds of [`Directive`].
#[derive(Debug)]
pub enum DirectiveKind<A> {
    /// A new alert with part 0.
    Publish {
        /// Part 0.
        part: PartSpec<A>,
        /// The alert's mode.
        uncertainty: Uncertainty,
        /// When it ends.
        expires: EventTime,
    },
    /// A new version.
    Update {
        /// The version, counted from 1 at publication.
        version: u32,
        /// A new part 0, where area, policy or `lost_at` changed.
        part: Option<PartSpec<A>>,
        /// The alert's mode from now on.
        uncertainty: Uncertainty,
        /// When it ends from now on.
        expires: EventTime,
    },
    /// A further part.
    Sighting {
        /// Its part.
        part: PartSpec<A>,
    },
    /// The end.
    Cancel,
}
