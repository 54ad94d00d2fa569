//! What the corpora begin with: good inputs of every shape, made with hexcast's own encoders, and a
//! few of each kind of bad one.

use hexcast::desk::{Actor, Decided, Record, ReportNo, ReportTaken};
use hexcast::domain::{
    Action, AlertNo, Cause, CursorAt, DeviceId, EventTime, Match, MatchHead, Namespace, Offset, Ping,
    PingRow, Position,
};
use hexcast::runtime::partition_of;
use hexcast::wire::{
    Ack, AlertContentFrame, Answer, AnswerBody, Ask, Body, Clock, ColumnsBuilder, CursorAck, Datum, Encoding,
    Encodings, ErrorCode, ErrorFrame, Header, Hello, HelloReply, IngestTerms, Kind, MatchRow, PartitionHash,
    Receipt, Request, Response, SafeBasis, Session, SessionTerms, StartAt, SubscribeTerms, Target, Watermark,
    frame_of, matches_frame, ping_frame,
};

use crate::rng::Rng;

/// A target's name, a file's name, its bytes.
type Seed = (&'static str, String, Vec<u8>);

const NOW: i64 = 1_779_000_000_000;

fn content(mut frame: Vec<u8>) -> Vec<u8> {
    frame.split_off(Header::BYTES)
}

fn fields<B: Body>(body: &B) -> Vec<u8> {
    content(frame_of(body).unwrap())
}

fn hellos() -> Vec<(&'static str, Hello)> {
    let subscribe =
        |from, encodings| Session::Subscribe { namespace: "app".into(), from, exercises: true, encodings };
    let ingest = Session::Ingest {
        namespace: "default".into(),
        source: "bus".into(),
        first_batch: 1,
        datum: Datum::Wgs84,
    };
    let all = [
        ("ingest", ingest),
        ("earliest", subscribe(StartAt::Earliest, Encodings::ROWS)),
        ("latest", subscribe(StartAt::Latest, Encodings::ROWS_AND_COLUMNS)),
        ("offset", subscribe(StartAt::Offset(258), Encodings::ROWS)),
        ("control", Session::Control),
    ];
    all.map(|(name, session)| (name, Hello { version: 1, session })).into()
}

fn replies() -> Vec<(&'static str, HelloReply)> {
    let ingest = IngestTerms {
        partitions: 4,
        hash: PartitionHash::Mix64,
        safe_basis: SafeBasis::Snapshot,
        last_safe: 7,
        encodings: Encodings::ROWS_AND_COLUMNS,
        batch_pings_max: 16_384,
        unapplied_pings_max: 262_144,
        unapplied_batches_max: 1_024,
    };
    let all = [
        ("ingest", SessionTerms::Ingest(ingest)),
        ("subscribe", SessionTerms::Subscribe(SubscribeTerms { start: 3, earliest: 2, end: 9 })),
        ("control", SessionTerms::Control),
    ];
    all.map(|(name, terms)| (name, HelloReply { version: 1, clock: Clock::Event, now_ms: NOW, terms })).into()
}

fn acks() -> Vec<(&'static str, Ack)> {
    let ack = |rejected| Ack { applied: 3, safe: 2, accepted: 100, stale: 1, rejected };
    vec![
        ("plain", ack(vec![1, 2, 3, 4, 5, 6])),
        ("of-an-older-version", ack(vec![1])),
        ("of-a-later-version", ack((0..9).collect())),
        ("none", Ack::default()),
    ]
}

fn requests() -> Vec<(&'static str, Request)> {
    let asks = [
        ("act", Ask::Act { at_ms: None, json: PUBLISH.into() }),
        ("act-at", Ask::Act { at_ms: Some(NOW), json: CANCEL.into() }),
        ("report", Ask::Report { id: "a".into(), lat: 31.2, lon: -121.5, seen_at_ms: Some(NOW) }),
        ("confirm", Ask::Confirm { report: 5, at_ms: None }),
        ("reject", Ask::Reject { report: 5, reason: "孩子 elsewhere".into() }),
        ("list", Ask::List),
        ("show", Ask::Show { id: "mps-2026-000123".into() }),
        ("preview", Ask::Preview { json: "{\"id\":\"a\"}".into() }),
    ];
    asks.map(|(name, ask)| (name, Request { id: 1, ask })).into()
}

fn responses() -> Vec<(&'static str, Response)> {
    let receipt = Receipt { id: "a".into(), version: 2, at_ms: NOW, queued: false };
    let answers = [
        ("nothing", Answer::Done(AnswerBody::Nothing)),
        ("receipt", Answer::Done(AnswerBody::Receipt(receipt))),
        ("json", Answer::Done(AnswerBody::Json("{\"alerts\":[]}".into()))),
        ("refused", Answer::Refused("alert a is not active".into())),
    ];
    answers.map(|(name, answer)| (name, Response { id: 1, answer })).into()
}

fn rows(rng: &mut Rng, count: usize, own: Option<Target>) -> Vec<PingRow> {
    let mut rows = Vec::new();
    while rows.len() < count {
        let device = DeviceId(rng.next());
        if own.is_none_or(|target| target.owns(device)) {
            let lat = rng.whole(300_000_000, 310_000_000) as i32;
            let position = Position::from_e7(lat, rng.whole(1_200_000_000, 1_210_000_000) as i32).unwrap();
            let at = EventTime(NOW + rng.whole(0, 32_767));
            let accuracy_m = rng.pick(&[0, 10, 1_500, 100_000]);
            rows.push(PingRow::write(&Ping { device, at, position, accuracy_m }, EventTime(NOW)).unwrap());
        }
    }
    rows
}

/// A row of which a column of any length takes no bytes.
fn alike() -> PingRow {
    let (position, at) = (Position::from_e7(1, 2).unwrap(), EventTime(NOW));
    PingRow::write(&Ping { device: DeviceId(3), at, position, accuracy_m: 4 }, at).unwrap()
}

fn pings(encoding: Encoding) -> Vec<(&'static str, Vec<u8>)> {
    let rng = &mut Rng::new(7);
    let target = Target { partition: 1, of: 3 };
    let frame = |target, rows: &[PingRow]| {
        let mut out = Vec::new();
        ping_frame(encoding, 9, EventTime(NOW), target, rows, &mut out).unwrap();
        content(out)
    };
    let mut sorted = rows(rng, 200, None);
    sorted.sort_by_key(|row| row.device.get());
    let (mixed, own) = (rows(rng, 20, None), rows(rng, 20, Some(target)));
    assert!(own.iter().all(|row| partition_of(DeviceId(row.device.get()), 3) == 1));
    let mut impossible = mixed.clone();
    impossible[3].lat_e7 = i32::MAX.into();
    impossible[4].time_and_accuracy = u32::MAX.into();
    vec![
        ("one", frame(None, &mixed[..1])),
        ("twenty", frame(None, &mixed)),
        ("sorted", frame(None, &sorted)),
        ("of-a-partition", frame(Some(target), &own)),
        ("of-another-partition", frame(Some(target), &mixed)),
        ("impossible-pings", frame(None, &impossible)),
        ("all-alike", frame(None, &[alike(); 100])),
    ]
}

fn head(alert: u32, cause: Cause) -> MatchHead {
    let (version, part, stage, radius_km) = (1, 2, 3, 1.5);
    MatchHead { alert: AlertNo(alert), version, cause, part, stage, radius_km, at: EventTime(NOW) }
}

fn match_rows() -> Vec<(&'static str, Vec<u8>)> {
    let row = |offset| {
        let found: Match = head(offset as u32 / 3, Cause::Enter).of(DeviceId(offset * 77));
        MatchRow::write(Offset(offset), &found)
    };
    let frame = |next, offsets: &[u64]| {
        let mut out = Vec::new();
        matches_frame(Offset(next), &offsets.iter().map(|o| row(*o)).collect::<Vec<_>>(), &mut out).unwrap();
        content(out)
    };
    vec![
        ("none", frame(5, &[])),
        ("one", frame(6, &[5])),
        ("ten", frame(30, &(20..30).collect::<Vec<_>>())),
        ("with-gaps", frame(99, &[3, 4, 9, 10, 50])),
        ("not-ascending", frame(9, &[3, 2])),
    ]
}

fn match_columns() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |next, runs: &[(u64, u32, u64)]| {
        let mut builder = ColumnsBuilder::default();
        for (first, alert, count) in runs {
            let devices: Vec<_> = (0..*count).map(|n| DeviceId(n * 1_000_003)).collect();
            builder.push_run(Offset(*first), &head(*alert, Cause::Publish), devices.into_iter());
        }
        content(builder.frame(Offset(next)))
    };
    vec![
        ("none", frame(5, &[])),
        ("one", frame(6, &[(5, 1, 1)])),
        ("a-long-run", frame(300, &[(0, 1, 300)])),
        ("with-gaps", frame(99, &[(3, 1, 2), (9, 1, 3), (20, 2, 1)])),
        ("at-the-last-offset", frame(u64::MAX, &[(u64::MAX - 10, 1, 1), (u64::MAX - 5, 1, 1)])),
    ]
}

const PUBLISH: &str = r#"{"action":"publish","at":"2026-05-15T12:00:00Z","alert":{"id":"mps-1","status":"actual","sent":"2026-05-15T11:59:00Z","lost_at":1778846000000,"expires":"2026-05-16T12:00:00+08:00","area":{"circle":{"lat":31.2,"lon":121.5}},"policy":"tuanyuan","uncertainty":"centre","headline":"走失","child":{"age":6.5,"photo":null},"photos":[]}}"#;
const CANCEL: &str = r#"{"action":"cancel","at":1778900000000,"id":"mps-1","reason":"found"}"#;
const OTHERS: &str = r#"{"action":"sighting","at":"2026-05-15T13:00:00.5Z","id":"mps-1","lat":31,"lon":121.25,"seen_at":"2026-05-15T12:50:00Z"}
{"action":"update","at":"2026-05-15T12:30:00Z","alert":{"id":"mps-1","area":[{"circle":{"lat":1e1,"lon":-179.99999999,"radius_km":2}},{"polygon":[[121,31],[122,31],[122,32],[121,31]]}],"policy":{"stages":[{"after":"0s","radius_km":1},{"after":"1h30m","radius_km":20.5}]}},"extra":1}
"#;

fn alerts() -> Vec<(&'static str, &'static str)> {
    vec![
        ("id-alone", r#"{"id":"a"}"#),
        ("nulls", r#"{"id":"a","area":null,"policy":null,"child":null,"unknown":null}"#),
        ("named-policy", r#"{"id":"ü\"\n","policy":"night","status":"exercise","uncertainty":"within"}"#),
        (
            "growth",
            r#"{"id":"a","area":[],"policy":{"growth":{"speed_kmh":5e0,"every":"30m","start_km":0.5,"max_km":100}}}"#,
        ),
        (
            "holes",
            r#"{"id":"a","area":{"polygon":[[[0,0],[9,0],[9,9],[0,9],[0,0]],[[1,1,7],[2,1,7],[2,2,7],[1,1,7]]]},"policy":"fixed","expires":253402207200999}"#,
        ),
        ("impossible-position", r#"{"id":"a","area":{"circle":{"lat":90.1,"lon":0}}}"#),
        ("empty-rings", r#"{"id":"a","area":[{"polygon":[]},{"polygon":[[]]}]}"#),
        (
            "deep-content",
            r#"{"id":"a","child":{"x":[[[{"a":{"b":[1,2.5,-3e-7,true,null,"x"]}}]]]},"description":"\u5b69\ud83d\ude00"}"#,
        ),
        ("no-id.bad", r#"{"status":"actual"}"#),
        ("two-shapes.bad", r#"{"id":"a","area":{"circle":{"lat":1,"lon":1},"polygon":[]}}"#),
        ("half-a-surrogate.bad", r#"{"id":"\ud83d"}"#),
        ("two-lines-in-a-word.bad", "{\"id\":\"a\",\"status\":\"a\\nb\\u0007\"}"),
        ("no-object.bad", "[]"),
        (
            "too-deep.bad",
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        ),
    ]
}

fn ping_files() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("positions", b"device,at,lat,lon,accuracy_m\n42,2026-05-15T12:00:00Z,31.2,121.5,\nbus,1778846400000,-90,180,99999.5\n"),
        ("towers", b"tower,device,at\n302-720-8100-47553,a,2026-05-15T20:00:00.0009+08:00\n1-1-1-1,b,0\n,c,0\n"),
        ("both", b"device,at,lat,lon,tower\n1,5,,,302-720-8100-47553\n2,6,3.12e1,+121.5,x\n"),
        ("quotes", b"\xef\xbb\xbf\"device\",\"at\",\"lat\",\"lon\"\r\n\"a,\"\"b\",\"7\",\"1\",\"2\"\r\n\n \n\"x\"y,1,1,1\n\"open,1\n"),
        ("bad-rows", b"device,at,lat,lon\n,1,1,1\n1,x,1,1\n1,1,NaN,1\n1,1,inf,1\n1,1,91,1\n1,1,1\n\xff,1,1,1\n1,1,\x1b[2J,1\n1,99999999999999999999,1,1\n7,7,7,7\n"),
        ("header-alone", b"device,at,lat,lon"),
        ("empty.bad", b"\n\n"),
        ("no-columns.bad", b"id,time\n1,2\n"),
        ("twice.bad", b"device,at,lat,lon,lat\n1,1,1,1,1\n"),
        ("quote-in-header.bad", b"\"device,at,lat,lon\n"),
    ]
}

fn tower_files() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("opencellid", b"GSM,302,720,8100,47553,0,-122.8506,49.2311,8702\nNR,460,0,1,18446744073709551615,0,121,31,0\nLTE,460,0,1,7,,121.1,31.1,\n"),
        ("header", b"radio,mcc,net,area,cell,unit,lon,lat,range\nUMTS,1,2,3,4,5,6,7,1e9\nUMTS,1,02,3,4,5,6,8,0.1\n"),
        ("own-columns", b"lat,lon,cellid,lac,mnc,mcc\n1,2,3,4,5,6\n-1,-180,4,4,5,6\n"),
        ("bad-rows", b"GSM,1,1,1,1,0,1,1,1\nGSM,99999,1,1,1,0,1,1,1\nGSM,1,1,1,1,0,999,1,1\nGSM,1,1,1,1,0,1,1,-1\n\"x\nGSM,1,1,1,1,0,\x1b,1,1\n\xff,1\n"),
        ("empty.bad", b""),
        ("no-tower.bad", b"mcc,net,area,cell,lon,lat\n1,1,1,+1,1,1\n"),
    ]
}

fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let hello = frame_of(&hellos().remove(0).1).unwrap();
    let mut batch = Vec::new();
    let rows = rows(&mut Rng::new(3), 12, None);
    ping_frame(Encoding::Columns, 1, EventTime(NOW), None, &rows, &mut batch).unwrap();
    let mark = frame_of(&Watermark { at_ms: NOW, last: true }).unwrap();
    let announced = Header { kind: Kind::Request, encoding: Encoding::Fields, length: 3 << 20 }.to_bytes();
    let all = [hello.clone(), batch, mark].concat();
    vec![
        ("hello", hello),
        ("cut", all[..all.len() - 3].to_vec()),
        ("announced", [&all[..], &announced].concat()),
        ("ingest", all),
        ("half-a-head.bad", vec![1, 0, 0]),
        ("no-kind.bad", vec![0; 8]),
    ]
}

/// Records of the action journal: the kind, then the bytes.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let actions = format!("{PUBLISH}\n{OTHERS}{CANCEL}");
    let actions = hexcast::files::read_actions(actions.as_bytes()).unwrap().actions;
    let of_action = |(no, action): (u64, Action)| {
        let actor = if no == 1 { Actor::Admin("root".into()) } else { Actor::Authority("police".into()) };
        Record::Action(Box::new(Decided {
            no,
            at: EventTime(NOW),
            actor,
            action,
            policy: None,
            report: None,
        }))
    };
    // Twelve shapes in a short record: in memory they are larger than it.
    let circles = r#"{"circle":{"lat":1,"lon":2}},"#.repeat(12);
    let many = format!(
        r#"{{"action":"update","at":0,"alert":{{"id":"a","area":[{}]}}}}"#,
        circles.trim_end_matches(',')
    );
    let many = hexcast::files::parse_action_json(&many).unwrap().action;
    let names = ["publish", "update", "sighting", "cancel", "twelve-circles"];
    let actions = actions.into_iter().map(|timed| timed.action).chain([many]);
    let mut records: Vec<_> = names.into_iter().zip((0..).zip(actions).map(of_action)).collect();
    let (report, at, position) = (ReportNo(5), EventTime(NOW), Position::from_e7(1, 2).unwrap());
    let (id, by) = ("mps-1".into(), "app".into());
    records.push(("report", Record::Report(ReportTaken { report, id, position, seen_at: at, by })));
    records.push(("report-end", Record::ReportEnd { report, by: "police".into(), reason: "no".into(), at }));
    let (namespace, partner) = (Namespace::new("default").unwrap(), "app".into());
    records.push(("cursor", Record::Cursor(CursorAt { namespace, partner, offset: Offset(9), at })));
    records.push(("next-report", Record::NextReport(ReportNo(6))));
    let mut records: Vec<_> = records
        .into_iter()
        .map(|(name, record)| {
            let (kind, bytes) = record.encode().unwrap();
            (name, [&[kind], &bytes[..]].concat())
        })
        .collect();
    records.push(("kind-of-grants.bad", vec![16, 1]));
    records.push(("later-version.bad", vec![5, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
    records.push(("no-kind.bad", vec![0]));
    records
}

fn manifests() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "two-files",
            r#"{"version":1,"number":1,"begun_ms":1779000000000,"last_action":7,"files":[{"name":"default-0","bytes":4096,"blocks":1,"digest":"00ff","namespace":"default","partition":0,"last_action":7,"clock_ms":-1,"match_log_end":9,"ping_log_next":null,"devices":3},{"name":"default-1","bytes":0,"blocks":0,"digest":"","namespace":"default","partition":1,"last_action":7,"clock_ms":0,"match_log_end":9,"ping_log_next":18446744073709551615,"devices":0}],"sources":[{"namespace":"default","identity":"operator","source":"bus","batch":12}]}"#,
        ),
        (
            "no-file",
            r#"{"version":0,"number":1,"begun_ms":0,"last_action":0,"files":[],"sources":[],"more":[{}]}"#,
        ),
        (
            "another-number.bad",
            r#"{"version":1,"number":2,"begun_ms":0,"last_action":0,"files":[],"sources":[]}"#,
        ),
        ("later-version.bad", r#"{"version":99,"number":1}"#),
        ("no-version.bad", "{}"),
        (
            "two-lines.bad",
            "{\"version\":1,\n\"number\":1,\"begun_ms\":0,\"last_action\":0,\"files\":[],\"sources\":[]}",
        ),
        ("control-in-a-message.bad", "{\"version\":\"\\u001b[2J\"}"),
    ]
}

/// All files.
pub(crate) fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut good: Vec<(&'static str, &'static str, Vec<u8>)> = Vec::new();
    good.extend(hellos().iter().map(|(name, body)| ("hello", *name, fields(body))));
    good.extend(replies().iter().map(|(name, body)| ("hello_reply", *name, fields(body))));
    good.extend(acks().iter().map(|(name, body)| ("ack", *name, fields(body))));
    good.extend(requests().iter().map(|(name, body)| ("request", *name, fields(body))));
    good.extend(responses().iter().map(|(name, body)| ("response", *name, fields(body))));
    let error = |message: &str| fields(&ErrorFrame::new(ErrorCode::NoGrant, message));
    good.push(("error", "short", error("no")));
    good.push(("error", "long", error(&"é".repeat(1_024))));
    good.push(("watermark", "last", fields(&Watermark { at_ms: i64::MIN, last: true })));
    good.push(("watermark", "more", fields(&Watermark { at_ms: NOW, last: false })));
    good.push(("cursor_ack", "first", fields(&CursorAck { next: 0 })));
    good.push(("cursor_ack", "far", fields(&CursorAck { next: u64::MAX })));
    let (id, status, json) = ("mps-1".into(), "test".into(), PUBLISH.into());
    good.push((
        "alert_content",
        "alert",
        fields(&AlertContentFrame { alert: 1, version: 2, id, status, json }),
    ));
    let (id, status, json) = (String::new(), String::new(), String::new());
    good.push((
        "alert_content",
        "empty",
        fields(&AlertContentFrame { alert: 0, version: 0, id, status, json }),
    ));
    good.extend(pings(Encoding::Rows).into_iter().map(|(name, bytes)| ("ping_rows", name, bytes)));
    good.extend(pings(Encoding::Columns).into_iter().map(|(name, bytes)| ("ping_columns", name, bytes)));
    good.extend(match_rows().into_iter().map(|(name, bytes)| ("match_rows", name, bytes)));
    good.extend(match_columns().into_iter().map(|(name, bytes)| ("match_columns", name, bytes)));
    // Widths from 57 to 63 bits, whose values do not lie in eight bytes.
    let mut wide = Vec::new();
    ping_frame(Encoding::Columns, 1, EventTime(NOW), None, &rows(&mut Rng::new(5), 3, None), &mut wide)
        .unwrap();
    let mut wide = content(wide);
    assert_eq!(wide[44], 64);
    wide[44] = 61;
    wide.remove(56 + 23);
    wide[56 + 22] &= 0x7f;
    seeds.push(("ping_columns", "width-61.bad".into(), wide));
    for (target, name, bytes) in good {
        // Of each one cut, and one longer than it says.
        seeds.push((target, format!("{name}-cut.bad"), bytes[..bytes.len() * 2 / 3].to_vec()));
        seeds.push((target, format!("{name}-longer.bad"), [&bytes[..], &[0]].concat()));
        seeds.push((target, name.into(), bytes));
    }
    for (target, name, bytes) in hexcast::fuzzing::stored_seeds() {
        // Without the right checksums put over it, it is what it is; cut, it may be whole all the same.
        seeds.push((target, name.into(), bytes));
    }
    seeds.push(("log_segment", "empty.bad".into(), Vec::new()));
    seeds.push(("snapshot_file", "empty.bad".into(), Vec::new()));
    seeds.push(("partition_blocks", "no-head.bad".into(), vec![4, 0, 0, 0, 1, 3, 0, 0]));
    seeds.extend(records().into_iter().map(|(name, bytes)| ("journal_record", name.into(), bytes)));
    seeds.extend(manifests().into_iter().map(|(name, text)| ("snapshot_manifest", name.into(), text.into())));
    for kind in Kind::ALL {
        for encoding in kind.encodings() {
            let header = |length| Header { kind, encoding: *encoding, length }.to_bytes().to_vec();
            let name = format!("{kind:?}-{encoding:?}").to_lowercase();
            let max = kind.bytes_max(*encoding);
            seeds.push(("frame_head", format!("{name}-too-large.bad"), header(max + 1)));
            seeds.push(("frame_head", format!("{name}-largest"), header(max)));
        }
    }
    seeds.push(("frame_head", "no-kind.bad".into(), vec![0; 8]));
    seeds.push(("frame_head", "reserved.bad".into(), vec![0, 0, 0, 0, 1, 0, 0, 1]));
    seeds.extend(streams().into_iter().map(|(name, bytes)| ("frame_stream", name.into(), bytes)));
    seeds.extend(alerts().into_iter().map(|(name, text)| ("alert_json", name.into(), text.into())));
    let whole = format!("{PUBLISH}\n\n{OTHERS}{CANCEL}");
    seeds.push(("actions", "whole".into(), whole.into()));
    seeds.push(("actions", "publish".into(), PUBLISH.into()));
    seeds.push(("actions", "empty".into(), b"\n \r\n".to_vec()));
    seeds.push((
        "actions",
        "no-time.bad".into(),
        br#"{"action":"cancel","id":"a","reason":"found"}"#.to_vec(),
    ));
    seeds.push(("actions", "no-action.bad".into(), br#"{"at":0,"action":"wait"}"#.to_vec()));
    seeds.extend(ping_files().into_iter().map(|(name, bytes)| ("ping_csv", name.into(), bytes.into())));
    seeds.extend(tower_files().into_iter().map(|(name, bytes)| ("tower_csv", name.into(), bytes.into())));
    seeds
}

/// Inputs that are small in bytes and large in memory, or as large as any may be.
pub(crate) fn greedy() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut largest = Vec::new();
    let alike = [alike(); 16_384];
    let batch = |encoding, rows: &[PingRow], out: &mut Vec<u8>| {
        ping_frame(encoding, 1, EventTime(NOW), None, rows, out).unwrap();
        content(std::mem::take(out))
    };
    let countless = |count: u32| {
        let mut bytes = batch(Encoding::Columns, &alike, &mut Vec::new());
        bytes[16..20].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    let crowd = |count: u64| {
        let mut builder = ColumnsBuilder::default();
        let devices: Vec<_> = (0..count).map(DeviceId).collect();
        builder.push_run(Offset(0), &head(1, Cause::Enter), devices.into_iter());
        content(builder.frame(Offset(count)))
    };
    let own_size = 64 << 10;
    let list = |item: &str| format!("{{\"id\":\"a\",\"photos\":[{}0]}}", item.repeat(own_size / item.len()));
    let mut ack = fields(&Ack::default());
    let at = ack.len() - 8;
    ack[at..].copy_from_slice(&(300_000_u64).to_le_bytes());
    let mut error = fields(&ErrorFrame::new(ErrorCode::NoGrant, ""));
    error[2..10].copy_from_slice(&(3_000_000_u64).to_le_bytes());
    vec![
        ("ping_columns", "16,384 alike", batch(Encoding::Columns, &alike, &mut largest)),
        (
            "ping_columns",
            "16,384",
            batch(Encoding::Columns, &rows(&mut Rng::new(2), 16_384, None), &mut largest),
        ),
        ("ping_columns", "16,385 alike", countless(16_385)),
        ("ping_columns", "2^27 alike", countless(1 << 27)),
        ("match_columns", "32,768", crowd(32_768)),
        ("match_columns", "32,769", crowd(32_769)),
        ("ping_rows", "16,384", batch(Encoding::Rows, &alike, &mut largest)),
        ("ack", "a length that is not there", ack),
        ("error", "a length that is not there", error),
        ("alert_json", "small lists", list("[0],").into()),
        ("alert_json", "small objects", list("{\"\":0},").into()),
        (
            "alert_json",
            "nested objects",
            list(&format!("{}0{},", "{\"\":".repeat(100), "}".repeat(100))).into(),
        ),
        ("alert_json", "empty lists", list("[],").into()),
        ("alert_json", "numbers", list("0,").into()),
        ("ping_csv", "a long line", [&b"device,at,lat,lon\n"[..], &vec![b','; 60_000]].concat()),
        ("ping_csv", "a longer line", [&b"device,at,lat,lon\n"[..], &vec![b'"'; 65_500]].concat()),
        (
            "ping_csv",
            "a line of 4 MiB",
            [&b"device,at,lat,lon\n"[..], &vec![b'x'; 4 << 20], b"\n1,1,1,1"].concat(),
        ),
        ("tower_csv", "a line of 16 MiB", vec![b'x'; 16 << 20]),
        ("tower_csv", "bad rows", b"x\n".repeat(own_size / 2)),
        (
            "tower_csv",
            "short rows",
            (0..9_999).map(|n| format!(",0,0,{},{},,0,0\n", n / 100, n % 100)).collect::<String>().into(),
        ),
        (
            "actions",
            "small objects",
            format!(
                "{{\"at\":0,\"action\":\"cancel\",\"reason\":\"found\",\"id\":\"a\",\"x\":[{}0]}}",
                "{\"\":0},".repeat(8_000)
            )
            .into(),
        ),
    ]
}
