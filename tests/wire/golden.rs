//! The bytes of every frame, written out by hand from `docs/protocol.md`.

use hexcast::domain::{
    AlertNo, Cause, DeviceId, EventTime, Match, MatchHead, Offset, Ping, PingCounts, PingRow, Position,
};
use hexcast::runtime::partition_of;
use hexcast::wire::{
    Ack, AlertContentFrame, Answer, AnswerBody, Ask, Body, Clock, ColumnsBuilder, CursorAck, Datum, Encoding,
    Encodings, ErrorCode, ErrorFrame, Header, Hello, HelloReply, IngestTerms, Kind, MatchColumns, MatchRow,
    MatchesView, PartitionHash, PingBatch, Receipt, Request, Response, SafeBasis, Session, SessionTerms,
    StartAt, SubscribeTerms, Target, Watermark, batch_frame, frame_of, matches_frame, ping_frame,
};
use zerocopy::byteorder::little_endian::{I32, U32, U64};

/// Bytes from hexadecimal digits; blanks and line ends part them.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The body's frame is exactly `hex`, and is read back as the body.
fn check<B: Body + PartialEq + std::fmt::Debug>(body: &B, hex: &str) {
    let (frame, golden) = (frame_of(body).unwrap(), bytes(hex));
    assert_eq!(frame, golden, "{body:?}");
    let (header, content) = golden.split_first_chunk::<8>().unwrap();
    let header = Header::read(*header).unwrap();
    assert_eq!((header.kind, header.length), (B::KIND, content.len()));
    assert_eq!(B::read(content).as_ref(), Ok(body));
    for cut in 0..content.len() {
        assert!(B::read(&content[..cut]).is_err(), "{body:?} cut to {cut} bytes is no frame");
    }
    let longer = [content, &[0]].concat();
    assert!(B::read(&longer).is_err(), "{body:?} with a byte too many is no frame");
}

#[test]
fn hello() {
    let ingest = Session::Ingest {
        namespace: "default".into(),
        source: "bus".into(),
        first_batch: 1,
        datum: Datum::Wgs84,
    };
    check(
        &Hello { version: 1, session: ingest },
        "2c000000 01 00 0000
         0100 00000000
         0700000000000000 64656661756c74
         0300000000000000 627573
         0100000000000000 00000000",
    );
    let subscribe = |from, exercises, encodings| Hello {
        version: 1,
        session: Session::Subscribe { namespace: "app".into(), from, exercises, encodings },
    };
    check(
        &subscribe(StartAt::Earliest, false, Encodings::ROWS),
        "17000000 01 00 0000  0100 01000000 0300000000000000 617070 00000000 00 02",
    );
    check(
        &subscribe(StartAt::Latest, true, Encodings::ROWS_AND_COLUMNS),
        "17000000 01 00 0000  0100 01000000 0300000000000000 617070 01000000 01 06",
    );
    check(
        &subscribe(StartAt::Offset(258), true, Encodings::ROWS),
        "1f000000 01 00 0000  0100 01000000 0300000000000000 617070 02000000 0201000000000000 01 02",
    );
    check(
        &subscribe(StartAt::Cursor, false, Encodings::ROWS),
        "17000000 01 00 0000  0100 01000000 0300000000000000 617070 03000000 00 02",
    );
    check(&Hello { version: 1, session: Session::Control }, "06000000 01 00 0000  0100 02000000");
}

#[test]
fn hello_reply() {
    let reply = |clock, terms| HelloReply { version: 1, clock, now_ms: 1_779_000_000_000, terms };
    let ingest = IngestTerms {
        partitions: 4,
        hash: PartitionHash::Mix64,
        safe_basis: SafeBasis::None,
        last_safe: 0,
        encodings: Encodings::ROWS_AND_COLUMNS,
        batch_pings_max: 16_384,
        unapplied_pings_max: 262_144,
        unapplied_batches_max: 1_024,
    };
    check(
        &reply(Clock::Wall, SessionTerms::Ingest(ingest.clone())),
        "33000000 02 00 0000
         0100 00000000 00bea9349e010000 00000000
         04000000 00000000 00000000 0000000000000000 06 00400000 00000400 00040000",
    );
    let other =
        |basis| SessionTerms::Ingest(IngestTerms { safe_basis: basis, last_safe: 7, ..ingest.clone() });
    for (basis, number) in [(SafeBasis::Snapshot, "01"), (SafeBasis::Log, "02")] {
        check(
            &reply(Clock::Event, other(basis)),
            &format!(
                "33000000 02 00 0000
                 0100 01000000 00bea9349e010000 00000000
                 04000000 00000000 {number}000000 0700000000000000 06 00400000 00000400 00040000"
            ),
        );
    }
    check(
        &reply(Clock::Wall, SessionTerms::Subscribe(SubscribeTerms { start: 3, earliest: 2, end: 9 })),
        "2a000000 02 00 0000
         0100 00000000 00bea9349e010000 01000000
         0300000000000000 0200000000000000 0900000000000000",
    );
    check(
        &reply(Clock::Wall, SessionTerms::Control),
        "12000000 02 00 0000  0100 00000000 00bea9349e010000 02000000",
    );
}

#[test]
fn error() {
    check(&ErrorFrame::new(ErrorCode::NoGrant, "no"), "0c000000 03 00 0000  0c00 0200000000000000 6e6f");
    let long = ErrorFrame::new(ErrorCode::Internal, &"é".repeat(5_000));
    assert!(frame_of(&long).is_ok());
    assert_eq!(long.message.len(), 2_048);
}

#[test]
fn error_codes_never_change() {
    let table: Vec<(u16, &str)> = ErrorCode::ALL.iter().map(|code| (code.number(), code.name())).collect();
    let golden = [
        "done",
        "internal",
        "version",
        "identity",
        "frame_too_large",
        "unknown_kind",
        "wrong_kind",
        "unknown_encoding",
        "malformed",
        "truncated",
        "timeout",
        "bad_hello",
        "no_grant",
        "unknown_namespace",
        "batch_number",
        "order",
        "offset_gone",
        "busy",
        "shutting_down",
        "too_many_connections",
        "cursor",
        "lagging",
    ];
    assert_eq!(table, (0..).zip(golden).collect::<Vec<_>>());
    assert_eq!(ErrorCode::from_number(0x0c), Some(ErrorCode::NoGrant));
    assert_eq!(ErrorCode::from_number(0x1_000c), None);
}

/// The page that others write clients from says the same as the program.
#[test]
fn the_page_names_every_code_and_kind() {
    let page = include_str!("../../docs/protocol.md");
    for code in ErrorCode::ALL {
        let row = format!("| {:#04x} | {code} |", code.number());
        assert!(page.contains(&row), "docs/protocol.md has no row {row}");
    }
    for kind in Kind::ALL {
        let row = format!("| {:#04x} | {kind:?} |", kind as u8);
        assert!(page.contains(&row), "docs/protocol.md has no row {row}");
    }
}

#[test]
fn ping_batch() {
    let base = EventTime(1_779_000_000_000);
    let ping = |device, after, lat, lon, accuracy_m| Ping {
        device: DeviceId(device),
        at: base.plus_ms(after),
        position: Position::from_e7(lat, lon).unwrap(),
        accuracy_m,
    };
    let pings = [
        ping(42, 0, 312_304_000, 1_214_737_000, 0),
        ping(u64::MAX, 32_767, -900_000_000, -1_800_000_000, 100_000),
        ping(0x0102_0304_0506_0708, 1, -1, 1, 1),
    ];
    let rows: Vec<PingRow> = pings.iter().map(|ping| PingRow::write(ping, base).unwrap()).collect();
    let mut frame = Vec::new();
    batch_frame(258, base, &rows, &mut frame).unwrap();
    let golden = bytes(
        "54000000 10 01 0000
         0201000000000000 00bea9349e010000 03000000 00000000
         2a00000000000000 80619d12 686a6748 00000000
         ffffffffffffffff 00175bca 002eb694 ff7f50c3
         0807060504030201 ffffffff 01000000 01800000",
    );
    assert_eq!(frame, golden);
    let content = bytes::Bytes::from(golden.clone()).slice(8..);
    let batch = PingBatch::read(Encoding::Rows, &content).unwrap();
    assert_eq!((batch.number(), batch.base(), batch.target()), (258, base, None));
    let back: Vec<Ping> = batch.rows(&mut Vec::new()).iter().map(|row| row.read(base).unwrap()).collect();
    // Longitude -180 is 180: one meridian.
    assert_eq!(back, pings);
    for cut in 0..content.len() {
        assert!(PingBatch::read(Encoding::Rows, &content.slice(..cut)).is_err());
    }
    assert!(batch_frame(1, base, &[], &mut frame).is_err());
    assert!(batch_frame(1, base, &vec![rows[0]; 16_385], &mut frame).is_err());
}

#[test]
fn ping_batch_by_columns() {
    let base = EventTime(1_779_000_000_000);
    let row = |device, after: u32, lat, lon, accuracy_m: u32| PingRow {
        device: U64::new(device),
        lat_e7: I32::new(lat),
        lon_e7: I32::new(lon),
        time_and_accuracy: U32::new(after | accuracy_m << 15),
    };
    let rows = [
        row(100, 0, -3, 1_214_737_000, 10),
        row(105, 1, 0, 1_214_737_000, 10),
        row(109, 0, -2, 1_214_737_000, 12),
    ];
    let target = Target { partition: 2, of: 4 };
    let mut frame = Vec::new();
    ping_frame(Encoding::Columns, 258, base, Some(target), &rows, &mut frame).unwrap();
    // Devices as steps of 0, 5, 4 in 3 bits; latitudes 0, 3, 1 above the least in 2; times 0, 1, 0 in 1;
    // accuracies 0, 0, 2 above the least in 2.
    let golden = bytes(
        "45000000 10 02 0000
         0201000000000000 00bea9349e010000 03000000 0200 0400
         6400000000000000 fdffffff 686a6748 0a000000 03 02 00 01 02 01 000000000000
         2801 1c 02 20 0000000000000000",
    );
    assert_eq!(frame[8 + 56..], golden[8 + 56..]);
    assert_eq!(frame, golden);
    let content = bytes::Bytes::from(golden).slice(8..);
    let batch = PingBatch::read(Encoding::Columns, &content).unwrap();
    assert_eq!((batch.number(), batch.base(), batch.len()), (258, base, 3));
    assert_eq!(batch.target(), Some(target));
    assert_eq!(batch.rows(&mut Vec::new()), rows);
    let mut buffer = vec![rows[0]; 7];
    let (own, strangers) = batch.own_rows(&mut buffer);
    let belongs = |device| partition_of(DeviceId(device), 4) == 2;
    let expected: Vec<PingRow> = rows.iter().filter(|row| belongs(row.device.get())).copied().collect();
    assert_eq!((strangers, own), (3 - expected.len(), &expected[..]));

    // Rows for one partition differ in the head alone.
    let mut plain = Vec::new();
    ping_frame(Encoding::Rows, 258, base, Some(target), &rows, &mut plain).unwrap();
    assert_eq!(plain[8..8 + 24], content[..24]);
    let plain = PingBatch::read(Encoding::Rows, &bytes::Bytes::from(plain).slice(8..)).unwrap();
    assert_eq!(plain.own_rows(&mut Vec::new()), (&expected[..], strangers));
    assert_eq!(plain.rows(&mut Vec::new()), rows);

    for cut in 0..content.len() {
        assert!(PingBatch::read(Encoding::Columns, &content.slice(..cut)).is_err());
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut content = content.to_vec();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        PingBatch::read(Encoding::Columns, &content.into()).map(|batch| batch.len())
    };
    let wrong: &[(&str, usize, &[u8])] = &[
        ("no rows", 16, &[0]),
        ("more rows than columns", 16, &[5]),
        ("fewer rows", 16, &[2]),
        ("2^32 rows", 16, &[255; 4]),
        ("partition 4 of 4", 20, &[4]),
        ("partition 2 of none", 22, &[0]),
        ("a least accuracy beyond a row's", 24 + 16, &[0, 0, 2]),
        ("devices of 57 bits", 24 + 20, &[57]),
        ("devices of 65 bits", 24 + 20, &[65]),
        ("latitudes of 33 bits", 24 + 21, &[33]),
        ("longitudes of 255 bits", 24 + 22, &[255]),
        ("times of 16 bits", 24 + 23, &[16]),
        ("accuracies of 18 bits", 24 + 24, &[18]),
        ("a wider column than there is", 24 + 22, &[8]),
        ("deltas of 2", 24 + 25, &[2]),
        ("a reserved byte", 24 + 31, &[1]),
        ("a bit after a column", 56 + 2, &[0x5c]),
        ("a padding byte", 56 + 12, &[1]),
    ];
    for (what, at, bytes) in wrong {
        assert!(with(*at, bytes).is_err(), "{what}");
    }
}

#[test]
fn watermark_and_ack() {
    check(&Watermark { at_ms: 1_779_000_000_000, last: true }, "09000000 11 00 0000  00bea9349e010000 01");
    let counts = PingCounts { accepted: 3, stale: 2, rejected: [1, 0, 5, 0, 6, 2] };
    let ack = Ack::new(258, 0, &counts);
    assert_eq!(ack.counts(), counts);
    check(
        &ack,
        "58000000 12 00 0000
         0201000000000000 0000000000000000 0300000000000000 0200000000000000
         0600000000000000
         0100000000000000 0000000000000000 0500000000000000 0000000000000000 0600000000000000
         0200000000000000",
    );
    let newer = Ack { rejected: vec![1, 0, 5, 0, 6, 2, 10], ..ack };
    assert_eq!(newer.counts().rejected, [1, 0, 5, 0, 6, 12], "an unknown reason is not lost");
}

#[test]
fn alert_content_and_cursor() {
    check(
        &AlertContentFrame {
            alert: 5,
            version: 2,
            id: "a".into(),
            status: "actual".into(),
            json: "{}".into(),
        },
        "29000000 20 00 0000
         05000000 02000000
         0100000000000000 61
         0600000000000000 61637475616c
         0200000000000000 7b7d",
    );
    check(&CursorAck { next: 513 }, "08000000 22 00 0000  0102000000000000");
}

#[test]
fn match_batch() {
    let found = Match {
        alert: AlertNo(5),
        version: 2,
        cause: Cause::Escalation,
        part: 1,
        stage: 3,
        radius_km: 500.0,
        device: DeviceId(42),
        at: EventTime(1_779_000_000_000),
    };
    let row = MatchRow::write(Offset(257), &found);
    let mut frame = Vec::new();
    matches_frame(Offset(258), &[row], &mut frame).unwrap();
    let golden = bytes(
        "40000000 21 01 0000
         0201000000000000 01000000 00000000
         0101000000000000 2a00000000000000 00bea9349e010000 0000000000407f40
         05000000 02000000 02 01 03 0000000000",
    );
    assert_eq!(frame, golden);
    let view = MatchesView::read(&golden[8..]).unwrap();
    assert_eq!(view.next, Offset(258));
    assert_eq!(view.rows.iter().map(MatchRow::read).collect::<Vec<_>>(), [Some((Offset(257), found))]);
    let mut unknown = row;
    unknown.cause = 6;
    assert_eq!(unknown.read(), None);
    let causes = ["update", "publish", "escalation", "enter", "sighting", "cancel"];
    for (code, word) in (0..).zip(causes) {
        unknown.cause = code;
        assert_eq!(unknown.read().unwrap().1.cause.as_str(), word);
    }
    for cut in 0..golden.len() - 8 {
        assert!(MatchesView::read(&golden[8..8 + cut]).is_err());
    }
}

#[test]
fn match_batch_by_columns() {
    let head = MatchHead {
        alert: AlertNo(5),
        version: 2,
        cause: Cause::Escalation,
        part: 1,
        stage: 3,
        radius_km: 500.0,
        at: EventTime(1_779_000_000_000),
    };
    let later = MatchHead { cause: Cause::Enter, part: 0, ..head };
    let mut columns = ColumnsBuilder::default();
    columns.push_run(Offset(257), &head, [DeviceId(42), DeviceId(7)].into_iter());
    columns.push_run(Offset(259), &head, [DeviceId(8)].into_iter());
    // Two offsets are withheld.
    columns.push_run(Offset(262), &later, [DeviceId(u64::MAX)].into_iter());
    let golden = bytes(
        "98000000 21 02 0000
         0901000000000000 0101000000000000 03000000 04000000
         00bea9349e010000 0000000000407f40 05000000 02000000 03000000 02 01 03 00
         0000000000000000 0000000000000000 00000000 00000000 02000000 ff 00 00 00
         00bea9349e010000 0000000000407f40 05000000 02000000 01000000 03 00 03 00
         2a00000000000000 0700000000000000 0800000000000000 ffffffffffffffff",
    );
    assert_eq!(columns.frame(Offset(265)), golden);
    let content = bytes::Bytes::from(golden).slice(8..);
    let matches = MatchColumns::read(&content).unwrap();
    assert_eq!((matches.next(), matches.len()), (Offset(265), 4));
    let all = [
        (257, head.of(DeviceId(42))),
        (258, head.of(DeviceId(7))),
        (259, head.of(DeviceId(8))),
        (262, later.of(DeviceId(u64::MAX))),
    ]
    .map(|(offset, found)| (Offset(offset), found));
    assert!(matches.iter().eq(all));
    let runs: Vec<_> =
        matches.runs().map(|(offset, head, devices)| (offset.0, head, devices.len())).collect();
    assert_eq!(runs, [(257, head, 3), (262, later, 1)]);
    for cut in 0..content.len() {
        assert!(MatchColumns::read(&content.slice(..cut)).is_err());
    }
    // Rows say the same.
    let rows: Vec<MatchRow> = all.iter().map(|(offset, found)| MatchRow::write(*offset, found)).collect();
    let mut frame = Vec::new();
    matches_frame(Offset(265), &rows, &mut frame).unwrap();
    assert_eq!(MatchesView::read(&frame[8..]).unwrap().to_columns().unwrap(), matches);

    let with = |at: usize, bytes: &[u8]| {
        let mut content = content.to_vec();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        MatchColumns::read(&content.into()).map(|matches| matches.len()).map_err(|why| why.to_string())
    };
    let wrong: &[(&str, usize, &[u8])] = &[
        ("next before the last match", 0, &[6]),
        ("offsets beyond 64 bits", 8, &[255; 8]),
        ("a run more than there are", 16, &[4]),
        ("2^32 runs", 16, &[255; 4]),
        ("a device less than there are", 20, &[3]),
        ("2^32 devices", 20, &[255; 4]),
        ("an empty run", 24 + 24, &[0]),
        ("a run longer than its devices", 24 + 24, &[4]),
        ("an unknown cause", 24 + 28, &[6]),
        ("a reserved byte", 24 + 31, &[1]),
        ("a withheld run with a part", 24 + 32 + 29, &[1]),
    ];
    for (what, at, bytes) in wrong {
        assert!(with(*at, bytes).is_err(), "{what}");
    }
    assert_eq!(with(24 + 32 + 24, &[4]), Ok(4), "more may be withheld, up to next");
    assert!(with(24 + 32 + 24, &[5]).is_err());
}

#[test]
fn requests() {
    let asks = [
        (
            Ask::Act { at_ms: None, json: "{}".into() },
            "17000000 30 00 0000  0900000000000000 00000000 00 0200000000000000 7b7d",
        ),
        (
            Ask::Act { at_ms: Some(-1), json: "{}".into() },
            "1f000000 30 00 0000  0900000000000000 00000000 01 ffffffffffffffff 0200000000000000 7b7d",
        ),
        (
            Ask::Report { id: "a".into(), lat: 31.5, lon: -1.0, seen_at_ms: Some(1) },
            "2e000000 30 00 0000  0900000000000000 01000000
             0100000000000000 61 0000000000803f40 000000000000f0bf 01 0100000000000000",
        ),
        (
            Ask::Confirm { report: 3, at_ms: None },
            "15000000 30 00 0000  0900000000000000 02000000 0300000000000000 00",
        ),
        (
            Ask::Reject { report: 3, reason: "no".into() },
            "1e000000 30 00 0000  0900000000000000 03000000 0300000000000000 0200000000000000 6e6f",
        ),
        (Ask::List, "0c000000 30 00 0000  0900000000000000 04000000"),
        (Ask::Show { id: "a".into() }, "15000000 30 00 0000  0900000000000000 05000000 0100000000000000 61"),
        (
            Ask::Preview { json: "{}".into() },
            "16000000 30 00 0000  0900000000000000 06000000 0200000000000000 7b7d",
        ),
    ];
    for (ask, hex) in asks {
        check(&Request { id: 9, ask }, hex);
    }
}

#[test]
fn responses() {
    let receipt = Receipt { id: "a".into(), version: 1, at_ms: 1_779_000_000_000, queued: true };
    let answers = [
        (Answer::Done(AnswerBody::Nothing), "10000000 31 00 0000  0900000000000000 00000000 00000000"),
        (
            Answer::Done(AnswerBody::Receipt(receipt)),
            "26000000 31 00 0000  0900000000000000 00000000 01000000
             0100000000000000 61 01000000 00bea9349e010000 01",
        ),
        (
            Answer::Done(AnswerBody::Json("{}".into())),
            "1a000000 31 00 0000  0900000000000000 00000000 02000000 0200000000000000 7b7d",
        ),
        (
            Answer::Refused("no".into()),
            "16000000 31 00 0000  0900000000000000 01000000 0200000000000000 6e6f",
        ),
    ];
    for (answer, hex) in answers {
        check(&Response { id: 9, answer }, hex);
    }
}

#[test]
fn headers_that_are_none() {
    use Encoding::{Columns, Fields, Rows};
    let code = |hex: &str| Header::read(bytes(hex).try_into().unwrap()).map_err(|why| why.code());
    assert_eq!(code("00000000 04 00 0000"), Err(ErrorCode::UnknownKind));
    assert_eq!(code("00000000 01 01 0000"), Err(ErrorCode::UnknownEncoding));
    assert_eq!(code("00000000 10 00 0000"), Err(ErrorCode::UnknownEncoding));
    assert_eq!(code("00000000 10 03 0000"), Err(ErrorCode::UnknownEncoding));
    assert_eq!(code("00000000 01 00 0100"), Err(ErrorCode::Malformed));
    assert_eq!(code("ffffffff 01 00 0000"), Err(ErrorCode::FrameTooLarge));
    // The bounds that docs/protocol.md gives, and one more.
    let bounds = [
        (Kind::Hello, Fields, 1_024),
        (Kind::HelloReply, Fields, 1_024),
        (Kind::Error, Fields, 2_064),
        (Kind::PingBatch, Rows, 327_704),
        (Kind::PingBatch, Columns, 327_744),
        (Kind::Watermark, Fields, 256),
        (Kind::Ack, Fields, 256),
        (Kind::AlertContent, Fields, 3_145_728),
        (Kind::MatchBatch, Rows, 196_624),
        (Kind::MatchBatch, Columns, 1_310_744),
        (Kind::CursorAck, Fields, 256),
        (Kind::Request, Fields, 3_145_728),
        (Kind::Response, Fields, 3_145_728),
    ];
    let all =
        Kind::ALL.iter().flat_map(|kind| kind.encodings().iter().map(move |encoding| (*kind, *encoding)));
    assert!(bounds.map(|(kind, encoding, _)| (kind, encoding)).into_iter().eq(all));
    for (kind, encoding, max) in bounds {
        let header = Header { kind, encoding, length: max };
        assert_eq!(Header::read(header.to_bytes()), Ok(header));
        let longer = Header { kind, encoding, length: max + 1 };
        assert_eq!(Header::read(longer.to_bytes()).map_err(|why| why.code()), Err(ErrorCode::FrameTooLarge));
    }
}

/// A length inside a frame cannot make the reader allocate more than the frame's bound.
#[test]
fn a_huge_inner_length_is_refused() {
    let mut content = bytes("0900000000000000 05000000 ffffffffffffff7f");
    assert!(Request::read(&content).is_err());
    content.splice(12..20, 3_000_000_u64.to_le_bytes());
    assert!(Request::read(&content).is_err());
    let ack = bytes("0000000000000000 0000000000000000 0000000000000000 0000000000000000 ffffffffffffff0f");
    assert!(Ack::read(&ack).is_err());
}

/// Computed with the arithmetic of `docs/protocol.md` in Python.
#[test]
fn partition_hash() {
    let golden = PARTITIONS;
    for (device, of) in golden {
        assert_eq!([1, 4, 7, 1_024].map(|n| partition_of(DeviceId(device), n)), of, "{device}");
    }
}

const PARTITIONS: [(u64, [u32; 4]); 7] = [
    (0, [0, 0, 0, 0]),
    (1, [0, 1, 2, 346]),
    (42, [0, 2, 4, 669]),
    (1000000, [0, 1, 2, 395]),
    (0x0102030405060708, [0, 2, 3, 542]),
    (0x8000000000000000, [0, 0, 1, 151]),
    (0xffffffffffffffff, [0, 2, 4, 723]),
];
