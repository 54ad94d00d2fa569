//! The rules of an alert's life as tables, on the book; then the doors' side of the desk.

mod doors;
mod life;
mod live;
mod load;
mod merge;
mod pending;
mod stored;

use crate::domain::{Action, AlertDraft, Area, CancelReason, EventTime, Position, Shape, StageSpec, Stages};
use crate::runtime::Told;

use super::{Actor, Book, Policies, Rejection};

const HOUR: i64 = 3_600_000;

/// So many hours after the tests' day began (2026-05-15T00:00:00Z).
fn hour(hours: i64) -> EventTime {
    EventTime(1_778_803_200_000 + hours * HOUR)
}

fn place(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn circle(radius_km: Option<f64>) -> Area {
    Area { shapes: vec![Shape::Circle { centre: place(31.0, 121.0), radius_km }] }
}

/// A draft that gives nothing.
pub(in crate::desk) fn bare(id: &str) -> AlertDraft {
    AlertDraft::bare(id)
}

/// A draft that can be published at 12:00 and expires at 24:00.
fn whole(id: &str) -> AlertDraft {
    AlertDraft { expires: Some(hour(24)), area: Some(Ok(circle(None))), ..bare(id) }
}

fn publish(draft: AlertDraft) -> Action {
    Action::Publish(Box::new(draft))
}

fn update(draft: AlertDraft) -> Action {
    Action::Update(Box::new(draft))
}

fn sighting(id: &str, seen_at: Option<EventTime>) -> Action {
    Action::Sighting { id: id.into(), lat: 31.5, lon: 121.5, seen_at }
}

fn cancel(id: &str) -> Action {
    Action::Cancel { id: id.into(), reason: CancelReason::Found }
}

fn police() -> Actor {
    Actor::Authority("police".into())
}

fn book() -> Book {
    let named = Stages::new(&[StageSpec { after_ms: 0, radius_km: 7.0 }]).unwrap();
    Book::new(Policies::from([("village".into(), named)]))
}

fn decide(book: &mut Book, hours: i64, action: Action) -> Result<Told, Rejection> {
    book.decide(hour(hours), &police(), action)
}
