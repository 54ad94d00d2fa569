//! What an update changes and what stays.

use serde_json::{Value, json};

use super::*;
use crate::domain::{DirectiveKind, Policy, Uncertainty};
use crate::limits::ALERT_JSON_BYTES_MAX;

fn content(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

struct SeenPart {
    start: EventTime,
    stages: Stages,
    as_drawn: bool,
}

/// The update as told, with the alert's JSON of that version.
struct Seen {
    version: u32,
    part: Option<SeenPart>,
    uncertainty: Uncertainty,
    expires: EventTime,
    json: Value,
}

fn updated(book: &mut Book, hours: i64, draft: AlertDraft) -> Seen {
    let told = decide(book, hours, update(draft)).unwrap();
    let info = told.info.clone().unwrap();
    let DirectiveKind::Update { version, part, uncertainty, expires } = &told.order.kind else { panic!() };
    let (version, uncertainty, expires) = (*version, *uncertainty, *expires);
    assert_eq!(info.version, version);
    let part = part.as_ref().map(|part| SeenPart {
        start: part.start,
        stages: part.stages.clone(),
        as_drawn: part.as_drawn,
    });
    Seen { version, part, uncertainty, expires, json: serde_json::from_str(&info.json).unwrap() }
}

fn started() -> Book {
    let mut book = book();
    let draft = AlertDraft {
        sent: Some(hour(11)),
        uncertainty: Some(Uncertainty::Within),
        content: content(json!({"headline": "Missing", "child": {"age": 6}, "photos": ["p1"]})),
        ..whole("a")
    };
    decide(&mut book, 12, publish(draft)).unwrap();
    book
}

#[test]
fn what_is_not_given_stays_and_only_the_version_grows() {
    let mut book = started();
    let seen = updated(&mut book, 13, bare("a"));
    assert_eq!((seen.version, seen.uncertainty, seen.expires), (2, Uncertainty::Within, hour(24)));
    assert!(seen.part.is_none());
    assert_eq!(updated(&mut book, 13, bare("a")).version, 3);
    // Neither sightings nor rejected updates raise it.
    decide(&mut book, 13, sighting("a", None)).unwrap();
    decide(&mut book, 13, update(AlertDraft { expires: Some(hour(1)), ..bare("a") })).unwrap_err();
    assert_eq!(updated(&mut book, 13, bare("a")).version, 4);
}

#[test]
fn content_is_merged_member_by_member_and_null_is_as_not_given() {
    let mut book = started();
    let change = json!({"headline": null, "child": {"name": "Lin"}, "language": "zh-CN"});
    let seen = updated(&mut book, 13, AlertDraft { content: content(change), ..bare("a") });
    assert_eq!(seen.json["headline"], "Missing");
    assert_eq!(seen.json["child"], json!({"name": "Lin"}));
    assert_eq!(seen.json["photos"], json!(["p1"]));
    assert_eq!(seen.json["language"], "zh-CN");
    assert_eq!(seen.json["id"], "a");
}

#[test]
fn a_new_area_policy_or_loss_replaces_part_0_and_nothing_else_does() {
    let replaces = |draft: AlertDraft| updated(&mut started(), 13, draft).part;
    let area = replaces(AlertDraft { area: Some(Ok(circle(Some(2.0)))), ..bare("a") }).unwrap();
    // The loss was `sent`, and the policy stays.
    assert_eq!((area.start, &area.stages), (hour(11), &Stages::tuanyuan()));
    let policy = replaces(AlertDraft { policy: Some(Policy::Named("village".into())), ..bare("a") }).unwrap();
    assert_eq!((policy.start, policy.stages.as_slice().len()), (hour(11), 1));
    let lost = replaces(AlertDraft { lost_at: Some(hour(9)), ..bare("a") }).unwrap();
    assert_eq!((lost.start, &lost.stages), (hour(9), &Stages::tuanyuan()));
    for draft in [
        AlertDraft { sent: Some(hour(5)), ..bare("a") },
        AlertDraft { expires: Some(hour(30)), ..bare("a") },
        AlertDraft { uncertainty: Some(Uncertainty::Centre), ..bare("a") },
    ] {
        assert!(replaces(draft).is_none());
    }
}

#[test]
fn a_new_sent_moves_no_loss() {
    let mut book = started();
    updated(&mut book, 13, AlertDraft { sent: Some(hour(13)), ..bare("a") });
    let seen = updated(&mut book, 13, AlertDraft { policy: Some(Policy::Tuanyuan), ..bare("a") });
    assert_eq!(seen.part.unwrap().start, hour(11));
    // Nor does a `sent` in the future stand in an update's way: the loss is held.
    updated(&mut book, 13, AlertDraft { sent: Some(hour(20)), ..bare("a") });
}

#[test]
fn fixed_holds_for_a_later_area_and_ends_with_another_policy() {
    let mut book = started();
    let fixed = AlertDraft { policy: Some(Policy::Fixed), area: Some(Ok(circle(Some(2.0)))), ..bare("a") };
    assert!(updated(&mut book, 13, fixed).part.unwrap().as_drawn);
    let part = updated(&mut book, 13, AlertDraft { area: Some(Ok(circle(Some(4.0)))), ..bare("a") }).part;
    assert_eq!(part.map(|part| (part.as_drawn, part.stages)), Some((true, Stages::fixed(4.0))));
    let part = updated(&mut book, 13, AlertDraft { policy: Some(Policy::Tuanyuan), ..bare("a") }).part;
    assert_eq!(part.map(|part| (part.as_drawn, part.stages)), Some((false, Stages::tuanyuan())));
}

#[test]
fn an_alert_cannot_grow_beyond_its_bound_by_updates() {
    let mut book = started();
    let half = "x".repeat(ALERT_JSON_BYTES_MAX / 2);
    let first = AlertDraft { content: content(json!({"description": half})), ..bare("a") };
    updated(&mut book, 13, first);
    let second = AlertDraft { content: content(json!({"headline": half})), ..bare("a") };
    let text = decide(&mut book, 13, update(second)).unwrap_err().to_string();
    assert!(text.contains("bytes as JSON, more than 1048576"), "{text}");
}
