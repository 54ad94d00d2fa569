//! Why an alert's life rejects an action: one line each, that names the alert.

use crate::domain::{AlertId, EventTime, PolicyError, PositionError, Status};
use crate::geo::AreaError;
use crate::limits::{ALERT_ID_BYTES_MAX, ALERT_JSON_BYTES_MAX, ALERTS_BYTES_MAX, ALERTS_MAX, PARTS_MAX};

/// An action that changed nothing, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("alert {:?}: {reason}", shown(.id))]
pub struct Rejection {
    /// The alert that the action named.
    pub id: AlertId,
    /// Why.
    pub reason: Reason,
}

/// The reasons of a [`Rejection`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// An empty id.
    #[error("the id is empty: give the alert an \"id\"")]
    NoId,
    /// An id beyond the bound.
    #[error("the id has {0} bytes: at most {ALERT_ID_BYTES_MAX} are allowed")]
    LongId(usize),
    /// Published before, perhaps cancelled since.
    #[error(
        "this id was published before, at {since}, and has version {version}: update that alert, or publish under another id"
    )]
    Exists {
        /// When it was published. Who lost the answer to a publication learns here that it came through.
        since: EventTime,
        /// The alert's version now.
        version: u32,
    },
    /// A draft is only previewed.
    #[error("a draft cannot be published: preview it, or give it another status")]
    Draft,
    /// No `expires`.
    #[error("\"expires\" is missing: say when the alert ends")]
    NoExpires,
    /// Ends before it begins.
    #[error("expires {expires} is not after the action's time {at}")]
    ExpiresNotAfter {
        /// The alert's end.
        expires: EventTime,
        /// The action's time.
        at: EventTime,
    },
    /// A loss in the future.
    #[error("lost_at {lost_at} is after the action's time {at}")]
    LostAfter {
        /// When the child went missing.
        lost_at: EventTime,
        /// The action's time.
        at: EventTime,
    },
    /// No area.
    #[error("\"area\" is missing: give a circle, a polygon or a list of them")]
    NoArea,
    /// An impossible area.
    #[error("the area is impossible: {0}")]
    Area(AreaError),
    /// An impossible position.
    #[error("the position is impossible: {0}")]
    Position(PositionError),
    /// An impossible policy.
    #[error("the policy is impossible: {0}")]
    Policy(PolicyError),
    /// The alert has become too large.
    #[error(
        "the alert has {0} bytes as JSON, more than {ALERT_JSON_BYTES_MAX}: link photos, do not embed them"
    )]
    Large(usize),
    /// Too many alerts.
    #[error("the desk holds {ALERTS_MAX} alerts already and takes no more")]
    Full,
    /// Too many bytes of alerts.
    #[error("the desk's memory for alerts is full ({} MiB): an alert with less content, or an area with fewer corners, may still fit", ALERTS_BYTES_MAX >> 20)]
    FullBytes,
    /// No such alert.
    #[error("it does not exist: publish it first, or correct the id")]
    Unknown,
    /// The alert was cancelled.
    #[error("it was cancelled at {0}: nothing follows, publish a new alert")]
    Cancelled(EventTime),
    /// A status cannot change.
    #[error(
        "its status is {}, which an update to {} cannot change: leave the status out",
        .held.as_str(),
        .named.as_str()
    )]
    OtherStatus {
        /// The alert's status.
        held: Status,
        /// The status that the update names.
        named: Status,
    },
    /// A sighting after the end.
    #[error("it is not active, it expired at {expires}: update it with a later \"expires\" first")]
    NotActive {
        /// The alert's end.
        expires: EventTime,
    },
    /// A sighting in the future.
    #[error("seen_at {seen_at} is after the action's time {at}")]
    SeenAfter {
        /// When the child was seen.
        seen_at: EventTime,
        /// The action's time.
        at: EventTime,
    },
    /// Too many parts.
    #[error("it has {PARTS_MAX} parts already, its own area included: a further sighting is not taken")]
    Parts,
    /// Somebody else's alert.
    #[error("it was published by another authority: only that one or an admin may act on it")]
    NotYours,
}

impl Reason {
    pub(super) fn of(self, id: &AlertId) -> Rejection {
        Rejection { id: AlertId(shown(id).into()), reason: self }
    }
}

/// As much of an id as a message carries.
fn shown(id: &AlertId) -> &str {
    let text = id.as_str();
    text.char_indices().nth(ALERT_ID_BYTES_MAX).map_or(text, |(end, _)| &text[..end])
}
