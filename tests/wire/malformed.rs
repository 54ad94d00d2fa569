//! A table of what a peer must not send: each ends its own session with its code, and nobody
//! else notices.

use hexcast::domain::EventTime;
use hexcast::runtime::ClockMode;
use hexcast::wire::{
    CursorAck, Datum, Encodings, ErrorCode, Header, Kind, Session, StartAt, Watermark, batch_frame, frame_of,
};

use crate::world::{World, batch, farewell, hello, ping};

struct Case {
    what: &'static str,
    by: &'static str,
    bytes: Vec<u8>,
    /// Whether the stream ends after the bytes.
    ends: bool,
    code: ErrorCode,
    /// A part of the line that the peer is told.
    says: &'static str,
}

fn case(what: &'static str, by: &'static str, bytes: Vec<u8>, code: ErrorCode, says: &'static str) -> Case {
    Case { what, by, bytes, ends: false, code, says }
}

fn cut(what: &'static str, by: &'static str, bytes: Vec<u8>) -> Case {
    Case { what, by, bytes, ends: true, code: ErrorCode::Truncated, says: "ended" }
}

/// A frame whose header says what it likes.
fn frame(kind: u8, encoding: u8, content: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = (content.len() as u32).to_le_bytes();
    [&[a, b, c, d, kind, encoding, 0, 0], content].concat()
}

/// A header that announces `length` bytes.
fn announce(kind: Kind, length: usize) -> Vec<u8> {
    let encoding = kind.encodings()[0];
    Header { kind, encoding, length }.to_bytes().into()
}

fn ingest_of(namespace: &str, source: &str, first_batch: u64) -> Vec<u8> {
    hello(Session::Ingest {
        namespace: namespace.into(),
        source: source.into(),
        first_batch,
        datum: Datum::Wgs84,
    })
}

fn ingest() -> Vec<u8> {
    ingest_of("default", "test", 1)
}

fn subscribe_at(namespace: &str, from: StartAt) -> Vec<u8> {
    hello(Session::Subscribe {
        namespace: namespace.into(),
        from,
        exercises: false,
        encodings: Encodings::ROWS_AND_COLUMNS,
    })
}

fn good_batch(number: u64) -> Vec<u8> {
    let batch = batch([ping(1, EventTime(1_000), 0)]);
    let mut frame = Vec::new();
    batch_frame(number, batch.base, &batch.rows, &mut frame).unwrap();
    frame
}

/// The good frame with some of its bytes replaced.
fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn headers_and_hellos() -> Vec<Case> {
    use ErrorCode::{BadHello, FrameTooLarge, Malformed, UnknownEncoding, UnknownKind, WrongKind};
    let control = || hello(Session::Control);
    let after = |content: &[u8]| frame(1, 0, content);
    let subscription = || subscribe_at("default", StartAt::Latest);
    let last = subscription().len() - 1;
    vec![
        case("kind 0", "admin", frame(0, 0, b""), UnknownKind, "0x00"),
        case("kind 255", "admin", frame(255, 0, b""), UnknownKind, "0xff"),
        case("a hello as rows", "admin", with(control(), 5, &[1]), UnknownEncoding, "encoding 1"),
        case("a reserved byte", "admin", with(control(), 7, &[1]), Malformed, "must be zero"),
        case("a long hello", "admin", announce(Kind::Hello, 1_025), FrameTooLarge, "1025"),
        case("4 GiB", "admin", announce(Kind::PingBatch, u32::MAX as usize), FrameTooLarge, "4294967295"),
        cut("nothing", "admin", Vec::new()),
        cut("half a header", "admin", control()[..3].to_vec()),
        cut("a header alone", "admin", control()[..8].to_vec()),
        cut("half a hello", "admin", control()[..11].to_vec()),
        case("a batch first", "admin", good_batch(1), WrongKind, "send a hello"),
        case("an ack first", "admin", frame(0x12, 0, b""), WrongKind, "send a hello"),
        case("an empty hello", "admin", after(b""), BadHello, "Hello"),
        case("a hello of a byte", "admin", after(&[1]), BadHello, "Hello"),
        case("an unknown session", "admin", after(&[1, 0, 9, 0, 0, 0]), BadHello, "Hello"),
        case("a hello with more", "admin", after(&[1, 0, 2, 0, 0, 0, 7]), BadHello, "too many"),
        case(
            "a namespace of 2^63 bytes",
            "admin",
            after(&[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 1]),
            BadHello,
            "Hello",
        ),
        case("a namespace that is no text", "admin", with(subscription(), 22, &[0xff]), BadHello, "Hello"),
        case("another datum", "operator", with(ingest(), ingest().len() - 4, &[1]), BadHello, "Hello"),
        case("an unknown start", "partner", with(subscription(), last - 5, &[4]), BadHello, "Hello"),
        case("a bool of 2", "partner", with(subscription(), last - 1, &[2]), BadHello, "Hello"),
        case(
            "no encoding that there is",
            "partner",
            with(subscription(), last, &[0xf9]),
            BadHello,
            "rows or columns",
        ),
        case("a source without name", "operator", ingest_of("default", "", 1), BadHello, "1 to 64"),
        case("a source of 65", "operator", ingest_of("default", &"s".repeat(65), 1), BadHello, "not 65"),
    ]
}

fn rights() -> Vec<Case> {
    use ErrorCode::{NoGrant, OffsetGone, UnknownNamespace};
    let subscribe = |from| subscribe_at("default", from);
    vec![
        case("no such namespace, no grant", "operator", ingest_of("moon", "s", 1), NoGrant, "\"moon\""),
        case("no such namespace", "admin", ingest_of("moon", "s", 1), UnknownNamespace, "\"moon\""),
        case("an empty namespace", "admin", ingest_of("", "s", 1), UnknownNamespace, "\"\""),
        case("another's namespace", "operator", ingest_of("app", "s", 1), NoGrant, "operator"),
        case("an operator subscribes", "operator", subscribe(StartAt::Latest), NoGrant, "read the matches"),
        case("an authority subscribes", "authority", subscribe(StartAt::Latest), NoGrant, "authority"),
        case("a partner ingests", "partner", ingest(), NoGrant, "write pings"),
        case("an operator acts", "operator", hello(Session::Control), NoGrant, "neither"),
        case("an offset ahead", "partner", subscribe(StartAt::Offset(1)), OffsetGone, "offset 1"),
        case("the last offset", "partner", subscribe(StartAt::Offset(u64::MAX)), OffsetGone, "not in the"),
    ]
}

fn after_the_hello() -> Vec<Case> {
    use ErrorCode::{BatchNumber, Cursor, FrameTooLarge, Malformed, UnknownEncoding, WrongKind};
    let pings = |frames: &[Vec<u8>]| [ingest(), frames.concat()].concat();
    let mark = |at_ms| frame_of(&Watermark { at_ms, last: false }).unwrap();
    let matches = |frame: &[u8]| [&subscribe_at("default", StartAt::Latest), frame].concat();
    let cursor = |next| frame_of(&CursorAck { next }).unwrap();
    let acts = |frame: &[u8]| [&hello(Session::Control), frame].concat();
    let mut unfinished = pings(&[good_batch(1)]);
    unfinished.pop();
    vec![
        case("batch 2 first", "operator", pings(&[good_batch(2)]), BatchNumber, "1 was due"),
        case("batch 1 again", "operator", pings(&[good_batch(1), good_batch(1)]), BatchNumber, "2 was due"),
        case("no rows", "operator", pings(&[frame(0x10, 1, &[0; 24])]), Malformed, "0 rows"),
        case("a row too few", "operator", pings(&[with(good_batch(1), 24, &[2])]), Malformed, "2 rows"),
        case(
            "2^32 rows",
            "operator",
            pings(&[with(good_batch(1), 24, &[255, 255, 255, 255])]),
            Malformed,
            "4294967295 rows",
        ),
        case("partition 1 of none", "operator", pings(&[with(good_batch(1), 28, &[1])]), Malformed, "1 of 0"),
        case("split over 5", "operator", pings(&[with(good_batch(1), 30, &[5])]), Malformed, "there are 3"),
        case("half a batch head", "operator", pings(&[frame(0x10, 1, &[0; 23])]), Malformed, "head of 24"),
        case(
            "too many rows",
            "operator",
            pings(&[announce(Kind::PingBatch, 327_724)]),
            FrameTooLarge,
            "327724",
        ),
        cut("half a batch", "operator", unfinished),
        case(
            "rows as fields",
            "operator",
            pings(&[with(good_batch(1), 5, &[0])]),
            UnknownEncoding,
            "encoding 0",
        ),
        case("rows as columns", "operator", pings(&[with(good_batch(1), 5, &[2])]), Malformed, "columns"),
        case("encoding 3", "operator", pings(&[with(good_batch(1), 5, &[3])]), UnknownEncoding, "encoding 3"),
        case("a second hello", "operator", pings(&[ingest()]), WrongKind, "Hello"),
        case("a request among pings", "operator", pings(&[frame(0x30, 0, b"")]), WrongKind, "Request"),
        case(
            "a watermark's bool of 2",
            "operator",
            pings(&[with(mark(1), 16, &[2])]),
            Malformed,
            "Watermark",
        ),
        case("a watermark without end", "operator", pings(&[mark(i64::MAX)]), Malformed, "years"),
        case("a long watermark", "operator", pings(&[announce(Kind::Watermark, 257)]), FrameTooLarge, "257"),
        case("a cursor ahead", "partner", matches(&cursor(1)), Cursor, "cursor 1"),
        case("half a cursor", "partner", matches(&frame(0x22, 0, &[0; 7])), Malformed, "CursorAck"),
        case("a long cursor", "partner", matches(&frame(0x22, 0, &[0; 9])), Malformed, "too many"),
        case("pings of a subscriber", "partner", matches(&good_batch(1)), WrongKind, "PingBatch"),
        case("an unknown question", "admin", acts(&frame(0x30, 0, &[9; 12])), Malformed, "Request"),
        case(
            "a text of 2^62 bytes",
            "admin",
            acts(&frame(0x30, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64])),
            Malformed,
            "Request",
        ),
        case("a cursor among requests", "admin", acts(&cursor(0)), WrongKind, "CursorAck"),
        case("4 MiB of request", "admin", acts(&announce(Kind::Request, 4 << 20)), FrameTooLarge, "4194304"),
        cut("half a request", "admin", acts(&announce(Kind::Request, 100))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_its_own_session_and_nothing_else() {
    let world = World::new(ClockMode::Wall);
    let bystander = world.client("pipes").await;
    let mut pings = bystander.ingest("app", "bystander").await.unwrap();
    let mut progress = pings.progress();
    let cases: Vec<Case> =
        [headers_and_hellos(), rights(), after_the_hello()].into_iter().flatten().collect();
    assert!(cases.len() >= 30);
    for (index, case) in cases.iter().enumerate() {
        let connection = world.raw(case.by).await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        // The server may end the session before it has read all.
        let _ = send.write_all(&case.bytes).await;
        if case.ends {
            let _ = send.finish();
        }
        let told = farewell(send, recv).await;
        assert_eq!(
            ErrorCode::from_number(u64::from(told.code)),
            Some(case.code),
            "{}: {}",
            case.what,
            told.line
        );
        assert!(told.line.contains(case.says), "{}: {}", case.what, told.line);
        assert!(!told.line.contains('\n'), "{}: one line", case.what);
        if !case.ends {
            assert_eq!(told.stopped, Some(u64::from(told.code)), "{}", case.what);
        }
        // The same connection still serves, and so does everybody else's.
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&frame(0, 0, b"")).await.unwrap();
        assert_eq!(farewell(send, recv).await.code, ErrorCode::UnknownKind.number(), "{}", case.what);
        connection.close(0_u32.into(), b"");
        let number = pings.send(&batch([ping(index as u64, world.runtime.now(), 0)])).await.unwrap();
        progress.wait_for(|progress| progress.applied >= number).await.unwrap();
    }
    let last = pings.finish().await.unwrap();
    assert_eq!(last.counts.accepted, cases.len() as u64);
}

/// Batches that came before the bad frame are applied and acknowledged all the same.
#[tokio::test]
async fn what_came_before_is_acknowledged() {
    let world = World::new(ClockMode::Wall);
    let connection = world.raw("operator").await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[ingest(), good_batch(1), good_batch(2), good_batch(9)].concat()).await.unwrap();
    let told = farewell(send, recv).await;
    assert_eq!(told.code, ErrorCode::BatchNumber.number());
    assert_eq!(told.kinds.first(), Some(&Kind::HelloReply));
    assert!(told.kinds[1..].iter().all(|kind| *kind == Kind::Ack) && told.kinds.len() > 1, "{told:?}");
}

/// On the event clock time goes one way.
#[tokio::test]
async fn time_that_goes_back_ends_the_session() {
    let world = World::new(ClockMode::Event);
    let mark = |at_ms, last| frame_of(&Watermark { at_ms, last }).unwrap();
    let at = |number, times: &[i64]| {
        let batch = batch(times.iter().map(|at| ping(1, EventTime(*at), 0)));
        let mut frame = Vec::new();
        batch_frame(number, batch.base, &batch.rows, &mut frame).unwrap();
        frame
    };
    let mut impossible = at(1, &[5_000]);
    impossible[16..24].copy_from_slice(&i64::MAX.to_le_bytes());
    let table = [
        (vec![at(1, &[5_000, 4_999])], ErrorCode::Order),
        (vec![at(1, &[5_000]), at(2, &[4_999])], ErrorCode::Order),
        (vec![mark(5_000, false), at(1, &[4_999])], ErrorCode::Order),
        (vec![mark(5_000, false), mark(4_999, false)], ErrorCode::Order),
        (vec![mark(5_000, true), at(1, &[5_000])], ErrorCode::Order),
        (vec![mark(5_000, true), mark(6_000, false)], ErrorCode::Order),
        (vec![impossible], ErrorCode::Malformed),
    ];
    for (frames, code) in table {
        let connection = world.raw("operator").await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[vec![ingest()], frames].concat().concat()).await.unwrap();
        let told = farewell(send, recv).await;
        assert_eq!(told.code, code.number(), "{}", told.line);
    }
}
