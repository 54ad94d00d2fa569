//! What alerts take of memory: more than their JSON says. Content is held as a tree beside the text, where an
//! object of one member takes a hundred times its text, and an area is held prepared, at some hundred bytes a
//! corner. So the desk's account is of these, rounded up, and not of the JSON alone.
//!
//! Not counted is what is bounded by number: what each partition keeps of an alert (some 200 bytes).

use serde_json::Value;

use super::book::{Held, Sighting};
use super::terms::Terms;
use crate::domain::{AlertContent, AlertDraft, Area, PartSpec, Policy, Position, Shape, Stage, StageSpec};
use crate::geo::PreparedArea;
use crate::runtime::AlertInfo;

/// What a node of a tree of members takes: eleven members of 56 bytes, twelve children, and what it knows of itself.
const MAP_NODE_BYTES: usize = 736;
/// Members that each node of it has at least, but for the first.
const MAP_NODE_ENTRIES_MIN: usize = 5;
/// What stands around an alert: its order while it is told, and what the allocator adds to a dozen pieces.
const ALERT_COST: usize = 256;

/// What the book holds of an alert at one version: its terms, its text, its line in the books' tables.
pub(super) fn of_alert(terms: &Terms, json: &str) -> usize {
    let id = 2 * terms.id.as_str().len();
    let tables = ALERT_COST
        + 2 * size_of::<Held>()
        + size_of::<AlertInfo>()
        + id
        + MAP_NODE_BYTES / MAP_NODE_ENTRIES_MIN;
    tables + json.len() + of_content(&terms.content) + of_area(&terms.area) + of_policy(&terms.policy)
}

/// What a part holds until its alert ends, once for all partitions.
pub(super) fn of_part(part: &PartSpec<PreparedArea>) -> usize {
    part.area.bytes() + part.stages.as_slice().len() * size_of::<Stage>()
}

/// What the book holds of a confirmed sighting.
pub(super) fn of_sighting(part: &PartSpec<PreparedArea>) -> usize {
    size_of::<Sighting>() + of_part(part)
}

/// An action's draft that waits.
pub(super) fn of_draft(draft: &AlertDraft) -> usize {
    let area = draft.area.iter().flatten().map(of_area).sum::<usize>();
    let policy = draft.policy.as_ref().map_or(0, of_policy);
    size_of::<AlertDraft>() + draft.id.as_str().len() + area + policy + of_content(&draft.content)
}

fn of_area(area: &Area) -> usize {
    let ring = |ring: &Vec<Position>| ring.capacity() * size_of::<Position>();
    let shape = |shape: &Shape| match shape {
        Shape::Circle { .. } => 0,
        Shape::Polygon { rings } => {
            rings.capacity() * size_of::<Vec<Position>>() + rings.iter().map(ring).sum::<usize>()
        }
    };
    area.shapes.capacity() * size_of::<Shape>() + area.shapes.iter().map(shape).sum::<usize>()
}

fn of_policy(policy: &Policy) -> usize {
    match policy {
        Policy::Tuanyuan | Policy::Fixed | Policy::Growth { .. } => 0,
        Policy::Stages(stages) => stages.capacity() * size_of::<StageSpec>(),
        Policy::Named(name) => name.len(),
    }
}

/// Beside the value itself.
fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(all) => all.capacity() * size_of::<Value>() + all.iter().map(of_value).sum::<usize>(),
        Value::Object(members) => of_content(members),
    }
}

/// Its depth is bounded where it was read.
fn of_content(members: &AlertContent) -> usize {
    let nodes = members.len().div_ceil(MAP_NODE_ENTRIES_MIN);
    nodes * MAP_NODE_BYTES + members.iter().map(|(name, value)| name.len() + of_value(value)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desk::{Actor, Book, Decided};
    use crate::domain::{Action, EventTime};
    use crate::files::parse_alert_json;

    // That the account is no less than what the allocator gives, `tests/hostile.rs` shows.

    const DAY: EventTime = EventTime(1_778_803_200_000);

    fn draft(id: &str, members: &Value) -> Box<AlertDraft> {
        let mut alert = json!({
            "id": id,
            "expires": "2026-06-01T00:00:00Z",
            "area": {"circle": {"lat": 31.0, "lon": 121.0}},
        });
        alert.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Box::new(parse_alert_json(&alert.to_string()).unwrap().draft)
    }

    fn decide(book: &mut Book, action: Action) -> Result<(), String> {
        let decided = book.decide(DAY, &Actor::Authority("police".into()), action);
        decided.map(drop).map_err(|why| why.to_string())
    }

    /// Of some kilobytes of text, and of a hundred times that in memory.
    fn greedy() -> Value {
        json!({"photos": (0..1_000).map(|_| json!({"a": 0})).collect::<Vec<_>>()})
    }

    #[test]
    fn an_update_takes_the_place_of_what_was_there_and_the_end_gives_its_area_back() {
        let mut book = Book::default();
        decide(&mut book, Action::Publish(draft("a", &json!({})))).unwrap();
        let plain = book.bytes();
        decide(&mut book, Action::Publish(draft("b", &greedy()))).unwrap();
        let both = book.bytes();
        assert!(both > plain + 1_000 * MAP_NODE_BYTES, "{both}");
        decide(&mut book, Action::Update(draft("b", &json!({"photos": []})))).unwrap();
        let after = book.bytes();
        assert!(after < 2 * plain + MAP_NODE_BYTES + 100, "{after}, {plain} for one");
        let sighting = Action::Sighting { id: "b".into(), lat: 1.0, lon: 2.0, seen_at: None };
        decide(&mut book, sighting).unwrap();
        let seen = book.bytes();
        assert!(seen > after);
        // A ring of a thousand corners, and back.
        let ring = (0..1_000).map(|n| f64::from(n) * 0.006_283);
        let ring: Vec<_> = ring.map(|t| json!([120.0 + t.cos(), 30.0 + t.sin()])).collect();
        decide(&mut book, Action::Update(draft("a", &json!({"area": {"polygon": ring}})))).unwrap();
        let drawn = book.bytes();
        assert!(drawn > seen + 1_000 * 100, "{drawn}");
        let cancel = Action::Cancel { id: "a".into(), reason: crate::domain::CancelReason::Found };
        decide(&mut book, cancel).unwrap();
        assert!(book.bytes() < drawn - 1_000 * 100, "{drawn}");
        assert!(book.bytes() > seen, "its corners as drawn are held");
    }

    #[test]
    fn what_is_small_in_text_and_large_in_memory_is_refused_and_what_was_taken_is_held() {
        let mut book = Book::with_bytes_max(400_000);
        let bytes = greedy().to_string().len();
        assert!(bytes < 10_000, "{bytes}");
        decide(&mut book, Action::Publish(draft("a", &json!({})))).unwrap();
        let before = book.bytes();
        for action in [Action::Publish(draft("b", &greedy())), Action::Update(draft("a", &greedy()))] {
            let said = decide(&mut book, action).unwrap_err();
            assert!(said.contains("memory for alerts is full"), "{said}");
            assert_eq!(book.bytes(), before);
        }
        // A journal may have what was taken before this was counted.
        let (actor, action) = (Actor::Authority("police".into()), Action::Publish(draft("b", &greedy())));
        let decided = Decided { no: 1, at: DAY, actor, action, policy: None, report: None };
        book.decide_again(decided).unwrap();
        assert!(book.bytes() > 400_000);
        // What makes it less is taken, what makes it more is not.
        decide(&mut book, Action::Update(draft("b", &json!({"photos": []})))).unwrap();
        assert!(book.bytes() < 400_000);
        decide(&mut book, Action::Update(draft("b", &greedy()))).unwrap_err();
    }
}
