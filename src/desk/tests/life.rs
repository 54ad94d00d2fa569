//! Every rule of an alert's life: what is rejected with which words, and what is accepted.

use super::*;
use crate::domain::{DirectiveKind, Policy, Status, Uncertainty};
use crate::limits::PARTS_MAX;

/// `a` published at 12:00, active until 24:00; `gone` published at 12:00 and cancelled at 13:00;
/// `drawn` under `fixed`; `other` published by another authority.
fn world() -> Book {
    let mut book = book();
    decide(&mut book, 12, publish(whole("a"))).unwrap();
    decide(&mut book, 12, publish(whole("gone"))).unwrap();
    decide(&mut book, 13, cancel("gone")).unwrap();
    let drawn =
        AlertDraft { policy: Some(Policy::Fixed), area: Some(Ok(circle(Some(3.0)))), ..whole("drawn") };
    decide(&mut book, 13, publish(drawn)).unwrap();
    book.decide(hour(13), &Actor::Authority("rangers".into()), publish(whole("other"))).unwrap();
    book
}

#[test]
fn what_is_rejected_and_why() {
    let bad_stages = Policy::Stages(vec![StageSpec { after_ms: 5, radius_km: 1.0 }]);
    let far = Position::from_degrees(91.0, 0.0).unwrap_err();
    let empty = Area { shapes: vec![] };
    let bow = Area {
        shapes: vec![Shape::Polygon {
            rings: vec![vec![place(0.0, 0.0), place(1.0, 1.0), place(0.0, 1.0), place(1.0, 0.0)]],
        }],
    };
    let cases = [
        // Publishing.
        (14, publish(whole("")), "alert \"\": the id is empty: give the alert an \"id\""),
        (
            14,
            publish(whole("a")),
            "alert \"a\": this id was published before, at 2026-05-15T12:00:00.000Z, and has version 1: update that alert, or publish under another id",
        ),
        (
            14,
            publish(whole("gone")),
            "alert \"gone\": this id was published before, at 2026-05-15T12:00:00.000Z, and has version 1: update that alert, or publish under another id",
        ),
        (
            14,
            publish(whole("other")),
            "alert \"other\": this id was published before, at 2026-05-15T13:00:00.000Z, and has version 1: update that alert, or publish under another id",
        ),
        (
            14,
            publish(AlertDraft { status: Some(Status::Draft), ..whole("b") }),
            "alert \"b\": a draft cannot be published: preview it, or give it another status",
        ),
        (
            14,
            publish(AlertDraft { expires: None, ..whole("b") }),
            "alert \"b\": \"expires\" is missing: say when the alert ends",
        ),
        (
            24,
            publish(whole("b")),
            "alert \"b\": expires 2026-05-16T00:00:00.000Z is not after the action's time 2026-05-16T00:00:00.000Z",
        ),
        (
            14,
            publish(AlertDraft { lost_at: Some(hour(15)), ..whole("b") }),
            "alert \"b\": lost_at 2026-05-15T15:00:00.000Z is after the action's time 2026-05-15T14:00:00.000Z",
        ),
        // `lost_at` is `sent` where it is not given.
        (
            14,
            publish(AlertDraft { sent: Some(hour(15)), ..whole("b") }),
            "alert \"b\": lost_at 2026-05-15T15:00:00.000Z is after the action's time 2026-05-15T14:00:00.000Z",
        ),
        (
            14,
            publish(AlertDraft { area: None, ..whole("b") }),
            "alert \"b\": \"area\" is missing: give a circle, a polygon or a list of them",
        ),
        (
            14,
            publish(AlertDraft { area: Some(Ok(empty.clone())), ..whole("b") }),
            "alert \"b\": the area is impossible: the area has no shape: give a circle or a polygon",
        ),
        (
            14,
            publish(AlertDraft { area: Some(Ok(bow)), ..whole("b") }),
            "alert \"b\": the area is impossible: shape 0: the ring 0 at corner 2 crosses the ring 0 at corner 0: rings may only touch in points",
        ),
        (
            14,
            publish(AlertDraft { area: Some(Err(far)), ..whole("b") }),
            "alert \"b\": the position is impossible: latitude 91 is outside [-90, 90]",
        ),
        (
            14,
            publish(AlertDraft { policy: Some(bad_stages.clone()), ..whole("b") }),
            "alert \"b\": the policy is impossible: the first stage starts after 5 ms: it must start after 0s",
        ),
        (
            14,
            publish(AlertDraft { policy: Some(Policy::Named("town".into())), ..whole("b") }),
            "alert \"b\": the policy is impossible: no policy is named \"town\": use tuanyuan, fixed, {\"stages\":[...]}, {\"growth\":{...}} or a name from the configuration",
        ),
        (
            14,
            publish(AlertDraft { policy: Some(Policy::Fixed), ..whole("b") }),
            "alert \"b\": the area is impossible: shape 0: the policy \"fixed\" needs the circle's radius_km",
        ),
        // Updating.
        (14, update(bare("b")), "alert \"b\": it does not exist: publish it first, or correct the id"),
        (
            14,
            update(bare("gone")),
            "alert \"gone\": it was cancelled at 2026-05-15T13:00:00.000Z: nothing follows, publish a new alert",
        ),
        (
            14,
            update(bare("other")),
            "alert \"other\": it was published by another authority: only that one or an admin may act on it",
        ),
        (
            14,
            update(AlertDraft { status: Some(Status::Test), ..bare("a") }),
            "alert \"a\": its status is actual, which an update to test cannot change: leave the status out",
        ),
        (
            14,
            update(AlertDraft { status: Some(Status::Draft), ..bare("a") }),
            "alert \"a\": its status is actual, which an update to draft cannot change: leave the status out",
        ),
        (
            24,
            update(bare("a")),
            "alert \"a\": expires 2026-05-16T00:00:00.000Z is not after the action's time 2026-05-16T00:00:00.000Z",
        ),
        (
            14,
            update(AlertDraft { expires: Some(hour(14)), ..bare("a") }),
            "alert \"a\": expires 2026-05-15T14:00:00.000Z is not after the action's time 2026-05-15T14:00:00.000Z",
        ),
        (
            14,
            update(AlertDraft { lost_at: Some(hour(15)), ..bare("a") }),
            "alert \"a\": lost_at 2026-05-15T15:00:00.000Z is after the action's time 2026-05-15T14:00:00.000Z",
        ),
        (
            14,
            update(AlertDraft { area: Some(Ok(empty)), ..bare("a") }),
            "alert \"a\": the area is impossible: the area has no shape: give a circle or a polygon",
        ),
        (
            14,
            update(AlertDraft { area: Some(Err(far)), ..bare("a") }),
            "alert \"a\": the position is impossible: latitude 91 is outside [-90, 90]",
        ),
        (
            14,
            update(AlertDraft { policy: Some(bad_stages), ..bare("a") }),
            "alert \"a\": the policy is impossible: the first stage starts after 5 ms: it must start after 0s",
        ),
        // The held circle has no radius of its own, and the held policy asks for one.
        (
            14,
            update(AlertDraft { policy: Some(Policy::Fixed), ..bare("a") }),
            "alert \"a\": the area is impossible: shape 0: the policy \"fixed\" needs the circle's radius_km",
        ),
        (
            14,
            update(AlertDraft { area: Some(Ok(circle(None))), ..bare("drawn") }),
            "alert \"drawn\": the area is impossible: shape 0: the policy \"fixed\" needs the circle's radius_km",
        ),
        // Sightings.
        (14, sighting("b", None), "alert \"b\": it does not exist: publish it first, or correct the id"),
        (
            14,
            sighting("gone", None),
            "alert \"gone\": it was cancelled at 2026-05-15T13:00:00.000Z: nothing follows, publish a new alert",
        ),
        (
            14,
            sighting("other", None),
            "alert \"other\": it was published by another authority: only that one or an admin may act on it",
        ),
        (
            24,
            sighting("a", None),
            "alert \"a\": it is not active, it expired at 2026-05-16T00:00:00.000Z: update it with a later \"expires\" first",
        ),
        (
            14,
            sighting("a", Some(hour(15))),
            "alert \"a\": seen_at 2026-05-15T15:00:00.000Z is after the action's time 2026-05-15T14:00:00.000Z",
        ),
        (
            14,
            Action::Sighting { id: "a".into(), lat: 0.0, lon: 180.5, seen_at: None },
            "alert \"a\": the position is impossible: longitude 180.5 is outside [-180, 180]",
        ),
        // Cancelling.
        (14, cancel("b"), "alert \"b\": it does not exist: publish it first, or correct the id"),
        (
            14,
            cancel("gone"),
            "alert \"gone\": it was cancelled at 2026-05-15T13:00:00.000Z: nothing follows, publish a new alert",
        ),
        (
            14,
            cancel("other"),
            "alert \"other\": it was published by another authority: only that one or an admin may act on it",
        ),
    ];
    for (hours, action, words) in cases {
        let mut book = world();
        let before = format!("{book:?}");
        let text = decide(&mut book, hours, action.clone()).unwrap_err().to_string();
        assert_eq!(text, words, "{action:?}");
        assert!(!text.contains('\n'));
        assert_eq!(format!("{book:?}"), before, "a rejection changed something: {text}");
    }
}

#[test]
fn what_is_accepted() {
    let cases = [
        (23, publish(whole("b"))),
        (14, publish(AlertDraft { lost_at: Some(hour(14)), sent: Some(hour(20)), ..whole("b") })),
        (14, publish(AlertDraft { status: Some(Status::Test), ..whole("b") })),
        (14, publish(AlertDraft { policy: Some(Policy::Named("village".into())), ..whole("b") })),
        (14, publish(whole(&"i".repeat(128)))),
        (14, update(bare("a"))),
        (14, update(AlertDraft { status: Some(Status::Actual), ..bare("a") })),
        (30, update(AlertDraft { expires: Some(hour(31)), ..bare("a") })),
        // An update may cut an alert short.
        (14, update(AlertDraft { expires: Some(hour(15)), ..bare("a") })),
        (23, sighting("a", None)),
        (14, sighting("a", Some(hour(14)))),
        // Seen before the child was lost: nobody forbids it.
        (14, sighting("a", Some(hour(1)))),
        (14, cancel("a")),
        // The all-clear must reach people.
        (99, cancel("a")),
    ];
    for (hours, action) in cases {
        let mut book = world();
        let told = decide(&mut book, hours, action.clone());
        let told = told.unwrap_or_else(|why| panic!("{why}: {action:?}"));
        assert_eq!(told.order.at, hour(hours));
        assert_eq!(book.newest(), hour(hours));
    }
    let mut book = world();
    let admin = Actor::Admin("root".into());
    for action in [update(bare("other")), sighting("other", None), cancel("other")] {
        assert!(book.decide(hour(14), &admin, action).is_ok());
    }
}

#[test]
fn long_ids_are_refused_and_shortened_in_the_message() {
    let text = decide(&mut book(), 12, publish(whole(&"é".repeat(65)))).unwrap_err().to_string();
    assert!(text.ends_with("the id has 130 bytes: at most 128 are allowed"), "{text}");
    let text = decide(&mut book(), 12, cancel(&"x".repeat(5_000))).unwrap_err().to_string();
    assert!(text.len() < 300, "{text}");
    let text = decide(&mut book(), 12, cancel("two\nlines")).unwrap_err().to_string();
    assert!(text.starts_with("alert \"two\\nlines\": "), "{text}");
}

#[test]
fn a_publication_is_told_with_its_defaults_resolved() {
    let told = decide(&mut book(), 12, publish(AlertDraft { sent: Some(hour(11)), ..whole("a") })).unwrap();
    let DirectiveKind::Publish { part, uncertainty, expires } = &told.order.kind else { panic!() };
    assert_eq!((part.start, *expires, part.as_drawn), (hour(11), hour(24), false));
    assert_eq!(part.stages, Stages::tuanyuan());
    assert_eq!(*uncertainty, Uncertainty::Intersects);
    let info = told.info.unwrap();
    assert_eq!((info.no, info.version, info.status), (told.order.alert, 1, Status::Actual));
    assert_eq!(info.id, "a".into());

    let told = decide(&mut book(), 12, publish(whole("a"))).unwrap();
    let DirectiveKind::Publish { part, .. } = &told.order.kind else { panic!() };
    assert_eq!(part.start, hour(12));
}

#[test]
fn alerts_are_numbered_in_the_order_of_publication() {
    let mut book = book();
    let mut number = |id: &str| decide(&mut book, 12, publish(whole(id))).map(|told| told.order.alert.0).ok();
    assert_eq!([number("b"), number("b"), number("a"), number("c")], [Some(0), None, Some(1), Some(2)]);
}

#[test]
fn under_fixed_an_area_is_as_drawn_and_a_sighting_takes_ten_km() {
    let mut book = book();
    let draft = AlertDraft { policy: Some(Policy::Fixed), area: Some(Ok(circle(Some(3.5)))), ..whole("a") };
    let told = decide(&mut book, 12, publish(draft)).unwrap();
    let DirectiveKind::Publish { part, .. } = &told.order.kind else { panic!() };
    assert!(part.as_drawn);
    assert_eq!(part.stages, Stages::fixed(3.5));
    let told = decide(&mut book, 13, sighting("a", Some(hour(10)))).unwrap();
    assert!(told.info.is_none());
    let DirectiveKind::Sighting { part } = &told.order.kind else { panic!() };
    assert!(!part.as_drawn);
    assert_eq!((part.start, part.stages.clone()), (hour(10), Stages::fixed(10.0)));
}

#[test]
fn a_polygon_under_fixed_prints_no_radius() {
    let corners = vec![place(0.0, 0.0), place(0.0, 1.0), place(1.0, 0.0)];
    let area = Area { shapes: vec![Shape::Polygon { rings: vec![corners] }] };
    let draft = AlertDraft { policy: Some(Policy::Fixed), area: Some(Ok(area)), ..whole("a") };
    let told = decide(&mut book(), 12, publish(draft)).unwrap();
    let DirectiveKind::Publish { part, .. } = &told.order.kind else { panic!() };
    assert_eq!((part.as_drawn, part.stages.clone()), (true, Stages::fixed(0.0)));
}

#[test]
fn a_sighting_grows_by_the_policy_in_force_when_it_was_confirmed() {
    let mut book = book();
    decide(&mut book, 12, publish(whole("a"))).unwrap();
    let mut stages = |action| {
        let told = decide(&mut book, 13, action).unwrap();
        match &told.order.kind {
            DirectiveKind::Sighting { part } => Some((part.start, part.stages.clone())),
            _ => None,
        }
    };
    assert_eq!(stages(sighting("a", None)), Some((hour(13), Stages::tuanyuan())));
    assert_eq!(
        stages(update(AlertDraft { policy: Some(Policy::Named("village".into())), ..bare("a") })),
        None
    );
    let village = Stages::new(&[StageSpec { after_ms: 0, radius_km: 7.0 }]).unwrap();
    assert_eq!(stages(sighting("a", None)), Some((hour(13), village)));
}

#[test]
fn an_alert_has_32_parts_at_most() {
    let mut book = book();
    decide(&mut book, 12, publish(whole("a"))).unwrap();
    for _ in 1..PARTS_MAX {
        decide(&mut book, 13, sighting("a", None)).unwrap();
    }
    let text = decide(&mut book, 13, sighting("a", None)).unwrap_err().to_string();
    assert_eq!(
        text,
        "alert \"a\": it has 32 parts already, its own area included: a further sighting is not taken"
    );
    // A new own area takes the place of the old one.
    decide(&mut book, 13, update(AlertDraft { area: Some(Ok(circle(None))), ..bare("a") })).unwrap();
    assert!(decide(&mut book, 13, sighting("a", None)).is_err());
}

#[test]
fn the_same_actions_give_the_same_book_and_the_same_orders() {
    let run = || {
        let mut book = world();
        let actions = [
            (14, update(AlertDraft { lost_at: Some(hour(9)), ..bare("a") })),
            (14, sighting("a", None)),
            (15, publish(whole("a"))),
            (30, cancel("a")),
        ];
        let told = actions.map(|(hours, action)| format!("{:?}", decide(&mut book, hours, action)));
        (told, format!("{book:?}"))
    };
    assert_eq!(run(), run());
}
