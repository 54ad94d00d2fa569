//! The vocabulary: plain types that every room speaks. It knows nobody, does no I/O, reads no
//! clock. Names are those of the glossary; units stand in the names.

mod alert;
mod area;
mod cursor;
mod ids;
mod matches;
mod ping;
mod policy;
mod position;
mod time;

pub use alert::{
    Action, AlertContent, AlertDraft, CancelReason, Directive, DirectiveKind, PartSpec, Status, Uncertainty,
};
pub use area::{Area, Shape};
pub use cursor::CursorAt;
pub use ids::{AlertId, AlertNo, DeviceId, Namespace, NamespaceError, Offset, partition_of};
pub use matches::{Cause, Match, MatchHead};
pub use ping::{Ping, PingCounts, PingReject, PingRow, accuracy_m_from_f64};
pub use policy::{Policy, PolicyError, Stage, StageSpec, Stages};
pub use position::{Position, PositionError};
pub use time::{EventTime, MaxAge, TimeError, format_duration, parse_duration_ms};
