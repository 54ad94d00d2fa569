//! Records as bytes: pinned, read back the same, and nothing else is read.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::desk::tests::bare;
use crate::domain::{
    AlertContent, AlertDraft, Area, CancelReason, Namespace, Offset, Policy, Shape, StageSpec, Status,
    Uncertainty,
};
use crate::limits::JOURNAL_BYTES_MIN;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn at(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn check(record: &Record, kind: u8, hex: &str) {
    let (found, written) = record.encode().unwrap();
    let shown: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((found, written), (kind, bytes(hex)), "{shown}");
    assert_eq!(Record::decode(kind, &bytes(hex)), Ok(record.clone()));
    for cut in 0..bytes(hex).len() {
        assert!(Record::decode(kind, &bytes(hex)[..cut]).is_err());
    }
    assert!(Record::decode(kind, &[bytes(hex), vec![0]].concat()).is_err());
}

const TIME: EventTime = EventTime(1_779_000_000_000);

fn decided(action: Action) -> Record {
    let actor = Actor::Authority("pol".into());
    Record::Action(Box::new(Decided { no: 7, at: TIME, actor, action, policy: None, report: None }))
}

#[test]
fn the_bytes_of_every_kind() {
    let ring = vec![at(0.0, 0.0), at(0.0, 2.0), at(1.0, 1.0)];
    let hole = vec![at(0.1, 0.9), at(0.1, 1.1), at(0.2, 1.0)];
    let mut content = AlertContent::new();
    content.insert("headline".into(), json!("h"));
    let draft = AlertDraft {
        id: "a".into(),
        status: Some(Status::Exercise),
        sent: Some(EventTime(1)),
        lost_at: None,
        expires: Some(EventTime(2)),
        area: Some(Ok(Area {
            shapes: vec![
                Shape::Circle { centre: at(31.5, 121.0), radius_km: Some(1.5) },
                Shape::Polygon { rings: vec![ring, hole] },
            ],
        })),
        policy: Some(Policy::Named("slow".into())),
        uncertainty: Some(Uncertainty::Within),
        content,
    };
    let stages = Stages::new(&[StageSpec { after_ms: 0, radius_km: 5.0 }]).unwrap();
    let published = Record::Action(Box::new(Decided {
        no: 258,
        at: TIME,
        actor: Actor::Admin("root".into()),
        action: Action::Publish(Box::new(draft)),
        policy: Some(NamedPolicy { name: "slow".into(), stages }),
        report: None,
    }));
    check(
        &published,
        1,
        "01 0201000000000000 00bea9349e010000 01000000 0400000000000000 726f6f74
         00000000 0100000000000000 61 01 01000000 01 0100000000000000 00 01 0200000000000000
         01 0200000000000000
           00000000 c084c612 80221f48 01 000000000000f83f
           01000000 0200000000000000
             0300000000000000 00000000 00000000 00000000 002d3101 80969800 80969800
             0300000000000000 40420f00 40548900 40420f00 c0d8a700 80841e00 80969800
         01 04000000 0400000000000000 736c6f77
         01 02000000
         1000000000000000 7b22686561646c696e65223a2268227d
         01 0400000000000000 736c6f77 0100000000000000 0000000000000000 0000000000001440
         00",
    );
    check(
        &decided(Action::Cancel { id: "a".into(), reason: CancelReason::Refuted }),
        1,
        "01 0700000000000000 00bea9349e010000 00000000 0300000000000000 706f6c
         03000000 0100000000000000 61 01000000 00 00",
    );
    let Record::Action(mut sighting) =
        decided(Action::Sighting { id: "a".into(), lat: 31.5, lon: -1.0, seen_at: Some(EventTime(1)) })
    else {
        panic!()
    };
    sighting.report = Some(ReportNo(3));
    check(
        &Record::Action(sighting),
        1,
        "01 0700000000000000 00bea9349e010000 00000000 0300000000000000 706f6c
         02000000 0100000000000000 61 0000000000803f40 000000000000f0bf 01 0100000000000000
         00 01 0300000000000000",
    );
    let taken = ReportTaken {
        report: ReportNo(3),
        id: "a".into(),
        position: at(31.5, 121.0),
        seen_at: TIME,
        by: "p".into(),
    };
    check(
        &Record::Report(taken),
        2,
        "01 0300000000000000 0100000000000000 61 c084c612 80221f48 00bea9349e010000 0100000000000000 70",
    );
    let end = Record::ReportEnd { report: ReportNo(3), by: "p".into(), reason: "no".into(), at: TIME };
    check(&end, 3, "01 0300000000000000 0100000000000000 70 0200000000000000 6e6f 00bea9349e010000");
    let cursor = CursorAt {
        namespace: Namespace::new("ns").unwrap(),
        partner: "p".into(),
        offset: Offset(513),
        at: TIME,
    };
    check(
        &Record::Cursor(cursor),
        4,
        "01 0200000000000000 6e73 0100000000000000 70 0102000000000000 00bea9349e010000",
    );
    check(&Record::NextReport(ReportNo(9)), 5, "01 0900000000000000");
}

#[test]
fn what_a_later_version_may_write_is_refused_by_name() {
    let said = |kind, payload: &[u8]| Record::decode(kind, payload).unwrap_err().to_string();
    assert!(said(16, &[1]).contains("the state of grants, which this version has not"));
    assert!(said(31, &[]).contains("grants"));
    for kind in [0, 6, 15, 32, 255] {
        assert_eq!(Record::decode(kind, &[1]), Err(RecordError::UnknownKind(kind)));
    }
    assert_eq!(
        said(5, &[2, 0]),
        "a record of kind 5 has version 2, version 1 is known: it comes from a newer hexcast"
    );
    assert!(said(5, &[]).contains("it is empty"));
    // Impossible values in the right form.
    let off =
        "01 0300000000000000 0100000000000000 61 ffffff7f 80221f48 00bea9349e010000 0100000000000000 70";
    assert!(said(2, &bytes(off)).contains("latitude"));
    let no_name = "01 0000000000000000 0100000000000000 70 0102000000000000 00bea9349e010000";
    assert!(said(4, &bytes(no_name)).contains("namespace name"));
    // A length that would have gigabytes allocated.
    assert!(said(3, &bytes("01 0300000000000000 ffffffffffffff7f")).contains("cannot be read"));
    let impossible =
        AlertDraft { area: Some(Err(crate::domain::PositionError::Latitude(91.0))), ..bare("a") };
    assert_eq!(decided(Action::Publish(Box::new(impossible))).encode(), Err(RecordError::Unwritable(1)));
}

#[test]
fn compaction_keeps_all_actions_and_what_is_newest() {
    let action = |no| {
        let action = Action::Cancel { id: "a".into(), reason: CancelReason::Found };
        let actor = Actor::Admin("root".into());
        Record::Action(Box::new(Decided { no, at: TIME, actor, action, policy: None, report: None }))
    };
    let cursor = |offset| {
        let namespace = Namespace::new("ns").unwrap();
        CursorAt { namespace, partner: "p".into(), offset: Offset(offset), at: TIME }
    };
    let report = |no| ReportTaken {
        report: ReportNo(no),
        id: "a".into(),
        position: at(1.0, 2.0),
        seen_at: TIME,
        by: "p".into(),
    };
    let end = Record::ReportEnd { report: ReportNo(0), by: "p".into(), reason: String::new(), at: TIME };
    let old = [
        action(0),
        Record::Cursor(cursor(1)),
        Record::Report(report(0)),
        Record::Report(report(1)),
        end,
        action(1),
        Record::Cursor(cursor(2)),
    ];
    let view = JournalView { next_report: ReportNo(2), reports: vec![report(1)], cursors: vec![cursor(2)] };
    let old = old.iter().map(|record| record.encode());
    let new: Vec<Record> = compacted(old, &view)
        .map(|written| written.and_then(|(kind, payload)| Record::decode(kind, &payload)).unwrap())
        .collect();
    let expect = [
        action(0),
        action(1),
        Record::NextReport(ReportNo(2)),
        Record::Report(report(1)),
        Record::Cursor(cursor(2)),
    ];
    assert_eq!(new, expect);
    // A record that cannot be read is no reason to leave it out.
    let broken = [Err(RecordError::UnknownKind(9))];
    assert!(compacted(broken.into_iter(), &view).next().unwrap().is_err());

    assert!(!worth_compacting(JOURNAL_BYTES_MIN - 1, 0));
    assert!(worth_compacting(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MIN / 4));
    assert!(!worth_compacting(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MIN / 4 + 1));
}

fn positions() -> impl Strategy<Value = Position> {
    (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000)
        .prop_map(|(lat, lon)| Position::from_e7(lat, lon).unwrap())
}

fn areas() -> impl Strategy<Value = Area> {
    let circle = (positions(), option::of(-1e4..1e4))
        .prop_map(|(centre, radius_km)| Shape::Circle { centre, radius_km });
    let polygon = vec(vec(positions(), 0..6), 0..4).prop_map(|rings| Shape::Polygon { rings });
    vec(prop_oneof![circle, polygon], 0..4).prop_map(|shapes| Area { shapes })
}

fn policies() -> impl Strategy<Value = Policy> {
    let km = || any::<f64>().prop_filter("equal to itself", |r| !r.is_nan());
    let stage = (any::<i64>(), km()).prop_map(|(after_ms, radius_km)| StageSpec { after_ms, radius_km });
    prop_oneof![
        Just(Policy::Tuanyuan),
        Just(Policy::Fixed),
        ".*".prop_map(Policy::Named),
        vec(stage, 0..5).prop_map(Policy::Stages),
        (km(), any::<i64>(), km(), km()).prop_map(|(speed_kmh, every_ms, start_km, max_km)| Policy::Growth {
            speed_kmh,
            every_ms,
            start_km,
            max_km
        }),
    ]
}

fn times() -> impl Strategy<Value = EventTime> {
    any::<i64>().prop_map(EventTime)
}

fn drafts() -> impl Strategy<Value = AlertDraft> {
    let statuses = [Status::Actual, Status::Exercise, Status::Test, Status::Draft];
    let modes = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within];
    let number = any::<f64>().prop_filter("JSON has no others", |r| r.is_finite());
    let content =
        (option::of(".*"), option::of(".*"), option::of(number)).prop_map(|(headline, name, age)| {
            let mut content = AlertContent::new();
            content.extend(headline.map(|text| ("headline".to_owned(), json!(text))));
            content.extend(name.map(|text| ("child".to_owned(), json!({"name": text, "scars": null}))));
            content.extend(age.map(|age| ("photos".to_owned(), json!([{"age": age, "url": "u"}, [], {}]))));
            content
        });
    (
        ".*",
        option::of(proptest::sample::select(statuses.to_vec())),
        (option::of(times()), option::of(times()), option::of(times())),
        option::of(areas()),
        option::of(policies()),
        option::of(proptest::sample::select(modes.to_vec())),
        content,
    )
        .prop_map(|(id, status, (sent, lost_at, expires), area, policy, uncertainty, content)| {
            AlertDraft {
                id: id.as_str().into(),
                status,
                sent,
                lost_at,
                expires,
                area: area.map(Ok),
                policy,
                uncertainty,
                content,
            }
        })
}

fn actions() -> impl Strategy<Value = Action> {
    let degrees = || any::<f64>().prop_filter("equal to itself", |r| !r.is_nan());
    prop_oneof![
        drafts().prop_map(|draft| Action::Publish(Box::new(draft))),
        drafts().prop_map(|draft| Action::Update(Box::new(draft))),
        (".*", degrees(), degrees(), option::of(times())).prop_map(|(id, lat, lon, seen_at)| {
            Action::Sighting { id: id.as_str().into(), lat, lon, seen_at }
        }),
        (".*", any::<bool>()).prop_map(|(id, found)| Action::Cancel {
            id: id.as_str().into(),
            reason: if found { CancelReason::Found } else { CancelReason::Refuted },
        }),
    ]
}

fn records() -> impl Strategy<Value = Record> {
    let named = (".*", vec((1i64..1_000_000, 0.01..40.0f64), 0..6)).prop_map(|(name, steps)| {
        let mut specs = vec![StageSpec { after_ms: 0, radius_km: 0.5 }];
        for (after_ms, radius_km) in steps {
            let last = *specs.last().unwrap();
            specs.push(StageSpec {
                after_ms: last.after_ms + after_ms,
                radius_km: last.radius_km + radius_km,
            });
        }
        NamedPolicy { name, stages: Stages::new(&specs).unwrap() }
    });
    let report = || any::<u64>().prop_map(ReportNo);
    prop_oneof![
        4 => (any::<u64>(), times(), ".*", any::<bool>(), actions(), option::of(named), option::of(report()))
            .prop_map(|(no, at, name, admin, action, policy, report)| {
                let actor =
                    if admin { Actor::Admin(name.into()) } else { Actor::Authority(name.into()) };
                Record::Action(Box::new(Decided { no, at, actor, action, policy, report }))
            }),
        1 => (report(), ".*", positions(), times(), ".*").prop_map(|(report, id, position, seen_at, by)| {
            let (id, by) = (id.as_str().into(), by.into());
            Record::Report(ReportTaken { report, id, position, seen_at, by })
        }),
        1 => (report(), ".*", ".*", times())
            .prop_map(|(report, by, reason, at)| Record::ReportEnd { report, by: by.into(), reason, at }),
        1 => ("[a-z0-9][a-z0-9._-]{0,63}", ".*", any::<u64>(), times()).prop_map(
            |(namespace, partner, offset, at)| {
                let namespace = Namespace::new(&namespace).unwrap();
                Record::Cursor(CursorAt { namespace, partner: partner.into(), offset: Offset(offset), at })
            }
        ),
        1 => report().prop_map(Record::NextReport),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(record in records()) {
        let (kind, payload) = record.encode().unwrap();
        prop_assert_eq!(Record::decode(kind, &payload), Ok(record));
    }

    #[test]
    fn no_bytes_panic_and_every_error_is_one_line(
        kind in 0u8..40,
        mut payload in vec(any::<u8>(), 0..200),
        record in records(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        if let Some(first) = payload.first_mut() {
            *first = 1;
        }
        let (honest, mut spoilt) = record.encode().unwrap();
        for (at, byte) in flips {
            let at = at.index(spoilt.len());
            spoilt[at] = byte;
        }
        for (kind, payload) in [(kind, payload), (honest, spoilt)] {
            match Record::decode(kind, &payload) {
                Err(why) => prop_assert!(!why.to_string().contains('\n')),
                // What is read at all is read as it would be written, content's spelling aside.
                Ok(read) => prop_assert!(read.encode().is_ok()),
            }
        }
    }
}
