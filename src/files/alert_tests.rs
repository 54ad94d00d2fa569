//! Alerts and actions as text: what is read, what is not and why, and the round trip.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{
    Action, AlertContent, AlertDraft, AlertId, Area, CancelReason, EventTime, Policy, Position,
    PositionError, Shape, StageSpec, Status, Uncertainty,
};
use crate::limits::{ACTION_LINE_BYTES_MAX, ALERT_JSON_BYTES_MAX};

const NOON_MS: i64 = 1_778_846_400_000;

fn at(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn bare(id: &str) -> AlertDraft {
    AlertDraft::bare(id)
}

/// The draft of an alert with the given members beside its id; no warnings.
fn draft(members: &str) -> AlertDraft {
    let parsed = parse_alert_json(&format!("{{\"id\":\"a\",{members}}}")).unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    parsed.draft
}

fn shapes(area: &str) -> Vec<Shape> {
    draft(&format!("\"area\":{area}")).area.unwrap().unwrap().shapes
}

#[test]
fn the_alert_of_the_rules_is_read() {
    let text = r#"{"id":"mps-2026-000123","status":"actual","sent":"2026-05-15T11:58:00Z",
        "lost_at":"2026-05-15T11:20:00Z","expires":"2026-05-16T11:20:00Z",
        "area":{"circle":{"lat":31.2304,"lon":121.4737}},"policy":"tuanyuan","uncertainty":"intersects",
        "headline":"h","description":"d","language":"zh-CN","child":{"age":6},"photos":["p"]}"#;
    let parsed = parse_alert_json(text).unwrap();
    let minutes = |m: i64| Some(EventTime(NOON_MS + m * 60_000));
    let content =
        json!({"headline":"h","description":"d","language":"zh-CN","child":{"age":6},"photos":["p"]});
    let circle = Shape::Circle { centre: at(31.2304, 121.4737), radius_km: None };
    let expect = AlertDraft {
        status: Some(Status::Actual),
        sent: minutes(-2),
        lost_at: minutes(-40),
        expires: minutes(24 * 60 - 40),
        area: Some(Ok(Area { shapes: vec![circle] })),
        policy: Some(Policy::Tuanyuan),
        uncertainty: Some(Uncertainty::Intersects),
        content: content.as_object().unwrap().clone(),
        ..bare("mps-2026-000123")
    };
    assert_eq!(parsed, ParsedAlert { draft: expect, warnings: vec![] });
}

#[test]
fn what_is_not_given_or_null_is_none() {
    let nulls = r#""status":null,"sent":null,"lost_at":null,"expires":null,"area":null,"policy":null,
        "uncertainty":null,"headline":null,"description":null,"language":null,"child":null,"photos":null"#;
    assert_eq!(draft(nulls), bare("a"));
    assert_eq!(parse_alert_json(r#"{"id":""}"#).unwrap().draft, bare(""));
}

#[test]
fn times_are_text_or_milliseconds() {
    for time in
        ["\"2026-05-15T12:00:00Z\"", "\"1778846400000\"", "1778846400000", "1778846400000.9", "1.7788464e12"]
    {
        assert_eq!(draft(&format!("\"sent\":{time}")).sent, Some(EventTime(NOON_MS)), "{time}");
    }
    assert_eq!(draft("\"sent\":-0.5").sent, Some(EventTime(-1)));
}

#[test]
fn areas_of_every_form_are_read() {
    let corners = [at(31.0, 121.0), at(31.0, 122.0), at(32.0, 122.0)].to_vec();
    let one = Shape::Polygon { rings: vec![corners.clone()] };
    assert_eq!(shapes(r#"{"polygon":[[121,31],[122,31],[122,32]]}"#), std::slice::from_ref(&one));
    assert_eq!(shapes(r#"{"polygon":[[[121,31],[122,31],[122,32,8.5]]]}"#), std::slice::from_ref(&one));
    let two = Shape::Polygon { rings: vec![corners.clone(), corners] };
    let ring = "[[121,31],[122,31],[122,32]]";
    assert_eq!(shapes(&format!("{{\"polygon\":[{ring},{ring}]}}")), [two]);
    let circle = Shape::Circle { centre: at(-1.0, 2.0), radius_km: Some(2.5) };
    let list = r#"[{"circle":{"lat":-1,"lon":2,"radius_km":2.5},"polygon":null},{"polygon":[[121,31],[122,31],[122,32]]}]"#;
    assert_eq!(shapes(list), [circle, one]);
}

#[test]
fn what_the_alerts_life_rejects_is_read_as_it_stands() {
    assert_eq!(shapes("[]"), []);
    assert_eq!(shapes(r#"{"polygon":[]}"#), [Shape::Polygon { rings: vec![] }]);
    assert_eq!(shapes(r#"{"polygon":[[]]}"#), [Shape::Polygon { rings: vec![vec![]] }]);
    let radius = |r: f64| Shape::Circle { centre: at(0.0, 0.0), radius_km: Some(r) };
    assert_eq!(shapes(r#"{"circle":{"lat":0,"lon":0,"radius_km":-5}}"#), [radius(-5.0)]);
    let impossible = |area: &str| draft(&format!("\"area\":{area}")).area.unwrap().unwrap_err();
    assert_eq!(impossible(r#"{"circle":{"lat":91,"lon":0}}"#), PositionError::Latitude(91.0));
    let area = r#"[{"circle":{"lat":1,"lon":0}},{"polygon":[[0,0],[1,1],[181,1]]}]"#;
    assert_eq!(impossible(area), PositionError::Longitude(181.0));
    let policy = |policy: &str| draft(&format!("\"policy\":{policy}")).policy.unwrap();
    assert_eq!(policy("\"none of ours\""), Policy::Named("none of ours".into()));
    assert_eq!(policy("\"\""), Policy::Named(String::new()));
    assert_eq!(policy(r#"{"stages":[]}"#), Policy::Stages(vec![]));
    let stage = StageSpec { after_ms: 5_400_000, radius_km: -1.0 };
    assert_eq!(policy(r#"{"stages":[{"after":"1h30m","radius_km":-1}]}"#), Policy::Stages(vec![stage]));
    let growth = Policy::Growth { speed_kmh: 0.0, every_ms: 1_000, start_km: 9.0, max_km: 1.0 };
    let text = r#"{"growth":{"speed_kmh":0,"every":"1s","start_km":9,"max_km":1}}"#;
    assert_eq!(policy(text), growth);
    assert_eq!(draft("\"status\":\"draft\"").status, Some(Status::Draft));
}

/// What follows `"id":"a",` in an alert, and the error.
const MALFORMED: [(&str, &str); 45] = [
    (r#""status":"real""#, r#"alert.status is "real": it must be actual, exercise, test or draft"#),
    (r#""status":"Actual""#, r#"alert.status is "Actual": it must be actual, exercise, test or draft"#),
    (r#""status":1"#, "alert.status must be a string, not a number"),
    (
        r#""uncertainty":"center""#,
        r#"alert.uncertainty is "center": it must be intersects, centre or within"#,
    ),
    (r#""uncertainty":true"#, "alert.uncertainty must be a string, not a boolean"),
    (
        r#""sent":"noon""#,
        r#"alert.sent: "noon" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds"#,
    ),
    (
        r#""sent":"a\nb""#,
        "alert.sent: \"a\u{fffd}b\" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds",
    ),
    (r#""lost_at":{}"#, "alert.lost_at must be a time (RFC 3339 text, or Unix milliseconds), not an object"),
    (r#""expires":1e300"#, "alert.expires: time 9223372036854775807 ms is outside the years 0000 to 9999"),
    (
        r#""expires":253402300800000"#,
        "alert.expires: time 253402300800000 ms is outside the years 0000 to 9999",
    ),
    (r#""headline":5"#, "alert.headline must be a string, not a number"),
    (r#""description":[]"#, "alert.description must be a string, not a list"),
    (r#""language":{}"#, "alert.language must be a string, not an object"),
    (r#""child":"Li""#, "alert.child must be an object, not a string"),
    (r#""photos":{}"#, "alert.photos must be a list, not an object"),
    (r#""area":"Shanghai""#, "alert.area must be an object or a list of objects, not a string"),
    (r#""area":{}"#, "alert.area must have exactly one of the members circle and polygon"),
    (r#""area":{"circle":null}"#, "alert.area must have exactly one of the members circle and polygon"),
    (
        r#""area":{"type":"Polygon","coordinates":[]}"#,
        "alert.area must have exactly one of the members circle and polygon",
    ),
    (
        r#""area":{"circle":{"lat":1,"lon":2},"polygon":[]}"#,
        "alert.area must have exactly one of the members circle and polygon",
    ),
    (r#""area":[null]"#, "alert.area[0] must be an object, not null"),
    (r#""area":[{"circle":{"lat":1,"lon":2}},[]]"#, "alert.area[1] must be an object, not a list"),
    (r#""area":{"circle":[1,2]}"#, "alert.area.circle must be an object, not a list"),
    (r#""area":{"circle":{"lat":1}}"#, "alert.area.circle.lon is missing"),
    (r#""area":{"circle":{"lat":null,"lon":1}}"#, "alert.area.circle.lat is missing"),
    (r#""area":{"circle":{"lat":"1","lon":2}}"#, "alert.area.circle.lat must be a number, not a string"),
    (
        r#""area":{"circle":{"lat":1,"lon":2,"radius_km":"5"}}"#,
        "alert.area.circle.radius_km must be a number, not a string",
    ),
    (r#""area":{"polygon":{}}"#, "alert.area.polygon must be a list, not an object"),
    (r#""area":{"polygon":[1,2]}"#, "alert.area.polygon[0] must be a list, not a number"),
    (
        r#""area":{"polygon":[[1,2],[3]]}"#,
        "alert.area.polygon[1] must be a pair of numbers [lon, lat], not a list",
    ),
    (
        r#""area":{"polygon":[[1,2],[3,4],[5,"6"]]}"#,
        "alert.area.polygon[2] must be a pair of numbers [lon, lat], not a list",
    ),
    (
        r#""area":{"polygon":[[1,2],{"lat":1,"lon":2}]}"#,
        "alert.area.polygon[1] must be a pair of numbers [lon, lat], not an object",
    ),
    (
        r#""area":{"polygon":[[[1,2],[3,4]],[[5,6],7]]}"#,
        "alert.area.polygon[1][1] must be a pair of numbers [lon, lat], not a number",
    ),
    // Malformed goes before impossible, wherever it stands.
    (r#""area":[{"circle":{"lat":91,"lon":0}},{"circle":{}}]"#, "alert.area[1].circle.lat is missing"),
    (
        r#""area":{"polygon":[[0,91],[1]]}"#,
        "alert.area.polygon[1] must be a pair of numbers [lon, lat], not a list",
    ),
    (r#""policy":100"#, "alert.policy must be a name or an object, not a number"),
    (r#""policy":[{"after":"0s","radius_km":1}]"#, "alert.policy must be a name or an object, not a list"),
    (r#""policy":{"shrink":{}}"#, "alert.policy must have exactly one of the members stages and growth"),
    (r#""policy":{"stages":{}}"#, "alert.policy.stages must be a list, not an object"),
    (
        r#""policy":{"stages":[{"after":"0s","radius_km":1},{"after":"1h"}]}"#,
        "alert.policy.stages[1].radius_km is missing",
    ),
    (
        r#""policy":{"stages":[{"after":0,"radius_km":1}]}"#,
        "alert.policy.stages[0].after must be a string, not a number",
    ),
    (
        r#""policy":{"stages":[{"after":"1 hour","radius_km":1}]}"#,
        r#"alert.policy.stages[0].after: "1 hour" is no duration: write for example 90s, 30m or 1d6h (units d, h, m, s, each once, largest first)"#,
    ),
    (r#""policy":{"stages":["0s"]}"#, "alert.policy.stages[0] must be an object, not a string"),
    (
        r#""policy":{"growth":{"every":"1m","start_km":1,"max_km":2}}"#,
        "alert.policy.growth.speed_kmh is missing",
    ),
    (
        r#""policy":{"growth":{"speed_kmh":1,"every":"1w","start_km":1,"max_km":2}}"#,
        r#"alert.policy.growth.every: "1w" is no duration: write for example 90s, 30m or 1d6h (units d, h, m, s, each once, largest first)"#,
    ),
];

#[test]
fn malformed_alerts_name_the_member() {
    for (members, text) in MALFORMED {
        let error = parse_alert_json(&format!("{{\"id\":\"a\",{members}}}")).unwrap_err();
        assert_eq!(error.to_string(), text, "{members}");
        // The same inside an action.
        let line = format!("{{\"action\":\"update\",\"at\":0,\"alert\":{{\"id\":\"a\",{members}}}}}");
        assert_eq!(parse_action_json(&line).unwrap_err().to_string(), text, "{members}");
    }
    let error = |text: &str| parse_alert_json(text).unwrap_err().to_string();
    assert_eq!(error("{}"), "alert.id is missing");
    assert_eq!(error(r#"{"id":null}"#), "alert.id is missing");
    assert_eq!(error(r#"{"id":7}"#), "alert.id must be a string, not a number");
    assert_eq!(error("[]"), "alert must be an object, not a list");
    assert_eq!(error(""), "not JSON: EOF while parsing a value at line 1 column 0");
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(ALERT_JSON_BYTES_MAX));
    assert_eq!(error(&long), "1048585 bytes are more than 1048576: link to large photos instead");
    let deep = format!("{{\"id\":\"a\",\"child\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(error(&deep).starts_with("not JSON: recursion limit exceeded"));
}

#[test]
fn malformed_actions_end_the_file_with_their_line() {
    const ALERT: &str = r#""alert":{"id":"a"}"#;
    let cases = [
        ("nonsense", "not JSON: expected ident at line 1 column 2"),
        (r#"{"action":"publish""#, "not JSON: EOF while parsing an object at line 1 column 19"),
        ("{} {}", "not JSON: trailing characters at line 1 column 4"),
        (r#"{"action":NaN}"#, "not JSON: expected value at line 1 column 11"),
        ("[]", "the action must be an object, not a list"),
        ("null", "the action must be an object, not null"),
        ("{}", "action is missing"),
        (r#"{"action":7,"at":0}"#, "action must be a string, not a number"),
        (
            r#"{"action":"raise","at":0}"#,
            r#"action is "raise": it must be publish, update, sighting or cancel"#,
        ),
        (&format!(r#"{{"action":"publish",{ALERT}}}"#), "at is missing"),
        (&format!(r#"{{"action":"publish","at":null,{ALERT}}}"#), "at is missing"),
        (
            &format!(r#"{{"action":"publish","at":"today",{ALERT}}}"#),
            r#"at: "today" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds"#,
        ),
        (
            &format!(r#"{{"action":"publish","at":[],{ALERT}}}"#),
            "at must be a time (RFC 3339 text, or Unix milliseconds), not a list",
        ),
        (r#"{"action":"publish","at":0,"id":"a"}"#, "alert is missing"),
        (r#"{"action":"publish","at":0,"alert":"a"}"#, "alert must be an object, not a string"),
        (r#"{"action":"update","at":0,"alert":{}}"#, "alert.id is missing"),
        (r#"{"action":"sighting","at":0,"lat":1,"lon":2}"#, "id is missing"),
        (r#"{"action":"sighting","at":0,"id":"a","lon":2}"#, "lat is missing"),
        (r#"{"action":"sighting","at":0,"id":"a","lat":1,"lon":null}"#, "lon is missing"),
        (r#"{"action":"sighting","at":0,"id":"a","lat":1,"lon":"2"}"#, "lon must be a number, not a string"),
        (
            r#"{"action":"sighting","at":0,"id":"a","lat":1,"lon":2,"seen_at":"then"}"#,
            r#"seen_at: "then" is no time: write RFC 3339 such as 2026-05-15T12:00:00Z, or Unix milliseconds"#,
        ),
        (r#"{"action":"cancel","at":0,"reason":"found"}"#, "id is missing"),
        (r#"{"action":"cancel","at":0,"id":1,"reason":"found"}"#, "id must be a string, not a number"),
        (r#"{"action":"cancel","at":0,"id":"a"}"#, "reason is missing"),
        (
            r#"{"action":"cancel","at":0,"id":"a","reason":"tired"}"#,
            r#"reason is "tired": it must be found or refuted"#,
        ),
        (
            &"x".repeat(ACTION_LINE_BYTES_MAX + 1),
            "the line is longer than 1052672 bytes: link to large photos instead",
        ),
    ];
    for (line, text) in cases {
        let file = format!("{{\"action\":\"publish\",\"at\":9,{ALERT}}}\n\n{line}\n{{\n");
        let error = read_actions(file.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("line 3: {text}"), "{line:.100}");
    }
    let error = read_actions(&b"\"\xff\""[..]).unwrap_err();
    assert_eq!(error.to_string(), "line 1: the line is not UTF-8");
}

#[test]
fn actions_are_sorted_by_time_with_ties_as_they_stand() {
    let file = "\u{feff}{\"action\":\"cancel\",\"at\":20,\"id\":\"a\",\"reason\":\"refuted\"}\r\n\
        \r\n\
        {\"action\":\"sighting\",\"at\":10,\"id\":\"a\",\"lat\":99,\"lon\":2,\"seen_at\":5}\n\
        {\"at\":20,\"action\":\"update\",\"alert\":{\"id\":\"b\"}}\n\
        {\"action\":\"publish\",\"at\":10,\"alert\":{\"id\":\"c\"}}";
    let read = read_actions(file.as_bytes()).unwrap();
    let id = |id: &str| AlertId::from(id);
    let expect = [
        (3, 10, Action::Sighting { id: id("a"), lat: 99.0, lon: 2.0, seen_at: Some(EventTime(5)) }),
        (5, 10, Action::Publish(Box::new(bare("c")))),
        (1, 20, Action::Cancel { id: id("a"), reason: CancelReason::Refuted }),
        (4, 20, Action::Update(Box::new(bare("b")))),
    ];
    let expect = expect.map(|(line, at, action)| TimedAction { line, at: EventTime(at), action });
    assert_eq!(read, ActionFile { actions: expect.to_vec(), warnings: vec![] });
    assert_eq!(read_actions(&b"\n"[..]).unwrap(), ActionFile::default());
    // Over the wire the time stands apart.
    let parsed = parse_action_json(r#"{"action":"cancel","id":"a","reason":"found"}"#).unwrap();
    assert_eq!(parsed.at, None);
}

#[test]
fn unknown_members_are_warned_of_and_of_equal_ones_the_last_counts() {
    let text = r#"{"id":"x","id":"a","haedline":"h","area":{"circle":{"lat":1,"lon":2,"radius":3},"type":"c"},
        "policy":{"stages":[{"after":"0s","radius_km":1,"until":"1h"}]},"ev\nil":null}"#;
    let parsed = parse_alert_json(text).unwrap();
    assert_eq!(parsed.draft.id, "a".into());
    let expect = [
        "alert.area.type is not known and was ignored",
        "alert.area.circle.radius is not known and was ignored",
        "alert.policy.stages[0].until is not known and was ignored",
        "alert.ev\u{fffd}il is not known and was ignored",
        "alert.haedline is not known and was ignored",
    ];
    assert_eq!(parsed.warnings, expect);
    let file =
        "\n{\"action\":\"cancel\",\"at\":0,\"id\":\"a\",\"reason\":\"found\",\"by\":\"me\"}\n".repeat(200);
    let warnings = read_actions(file.as_bytes()).unwrap().warnings;
    assert_eq!(warnings[1], "line 4: by is not known and was ignored");
    assert_eq!(warnings.len(), crate::limits::WARNINGS_MAX);
}

#[test]
fn an_alert_is_written_as_the_rules_show_it() {
    let draft = draft(
        r#""sent":0,"area":{"circle":{"lat":31.2304,"lon":121.4737}},"status":"exercise","headline":"h",
        "policy":{"growth":{"speed_kmh":6,"every":"90m","start_km":1,"max_km":10.5}},"uncertainty":"within""#,
    );
    let expect = json!({
        "id": "a", "status": "exercise", "sent": "1970-01-01T00:00:00.000Z", "headline": "h",
        "area": {"circle": {"lat": 31.2304, "lon": 121.4737}}, "uncertainty": "within",
        "policy": {"growth": {"speed_kmh": 6.0, "every": "1h30m", "start_km": 1.0, "max_km": 10.5}},
    });
    assert_eq!(alert_to_json(&draft), expect);
    let stages = Policy::Stages(vec![StageSpec { after_ms: 0, radius_km: 100.0 }]);
    assert_eq!(policy_to_json(&stages), json!({"stages": [{"after": "0s", "radius_km": 100.0}]}));
    let impossible = AlertDraft { area: Some(Err(PositionError::Latitude(91.0))), ..bare("a") };
    assert_eq!(alert_to_json(&impossible), json!({"id": "a"}));
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
    let ms = || (0i64..1_000_000_000).prop_map(|s| s * 1_000);
    let km = || prop_oneof![-1e4..1e4, any::<f64>().prop_filter("JSON has no others", |r| r.is_finite())];
    let stage = (ms(), km()).prop_map(|(after_ms, radius_km)| StageSpec { after_ms, radius_km });
    prop_oneof![
        Just(Policy::Tuanyuan),
        Just(Policy::Fixed),
        ".*".prop_filter("words of their own", |s| s != "tuanyuan" && s != "fixed").prop_map(Policy::Named),
        vec(stage, 0..5).prop_map(Policy::Stages),
        (km(), ms(), km(), km()).prop_map(|(speed_kmh, every_ms, start_km, max_km)| Policy::Growth {
            speed_kmh,
            every_ms,
            start_km,
            max_km
        }),
    ]
}

fn drafts() -> impl Strategy<Value = AlertDraft> {
    let time = || option::of((-62_167_219_200_000i64..=253_402_207_200_999).prop_map(EventTime));
    let statuses = [Status::Actual, Status::Exercise, Status::Test, Status::Draft];
    let modes = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within];
    let content = (option::of(".*"), option::of(".*")).prop_map(|(headline, name)| {
        let mut content = AlertContent::new();
        content.extend(headline.map(|text| ("headline".to_owned(), json!(text))));
        content.extend(name.map(|text| ("child".to_owned(), json!({"name": text, "photos": null}))));
        content
    });
    (
        ".*",
        option::of(proptest::sample::select(statuses.to_vec())),
        (time(), time(), time()),
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

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(draft in drafts()) {
        let text = alert_to_json(&draft).to_string();
        prop_assert_eq!(parse_alert_json(&text), Ok(ParsedAlert { draft, warnings: vec![] }));
    }

    #[test]
    fn no_text_panics_and_every_error_is_one_line(text in r#"([{}\[\],:"]|"id"|"area"|"polygon"|null|[0-9]{1,3}|\PC)*"#) {
        for error in [parse_alert_json(&text).err(), parse_action_json(&text).err()].into_iter().flatten() {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
