//! Whole sessions: pings in, alerts out, exactly once.

use hexcast::client::{
    ClientError, Clock, Follow, FollowEvent, SafeBasis, Splitter, StartAt, SubscribeEvent, Subscription,
    Target,
};
use hexcast::domain::{CancelReason, Cause, EventTime, Match, Offset, PingReject, PingRow};
use hexcast::runtime::ClockMode;
use hexcast::wire::{Encoding, Encodings, ErrorCode, FrameReader, Kind, MatchesView, Session};
use zerocopy::byteorder::little_endian::{I32, U32, U64};

use crate::world::{PATIENCE, World, alert, batch, code_of, hello, ping};

/// What a subscription brings until it has brought `count` matches.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<SubscribeEvent> {
    let (mut events, mut matches) = (Vec::new(), 0);
    while matches < count {
        let event = tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap().unwrap();
        if let SubscribeEvent::Matches(found) = &event {
            matches += found.len();
        }
        events.push(event);
    }
    assert_eq!(matches, count);
    events
}

/// `content ID vVERSION` and `CAUSE DEVICE @OFFSET`, in order.
fn lines(events: &[SubscribeEvent]) -> Vec<String> {
    let line = |(offset, found): &(Offset, Match)| {
        format!("{} {} v{} @{offset}", found.cause.as_str(), found.device, found.version)
    };
    events
        .iter()
        .flat_map(|event| match event {
            SubscribeEvent::Alert(content) => vec![format!("content {} v{}", content.id, content.version)],
            SubscribeEvent::Matches(found) => found.iter().map(|found| line(&found)).collect(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_content_first_and_resumes_where_it_was() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "city").await.unwrap();
    assert_eq!(pings.hello().clock, Clock::Wall);
    assert!(pings.hello().now() >= now);
    assert_eq!((pings.terms().partitions, pings.terms().safe_basis), (3, SafeBasis::None));
    pings.send(&batch([ping(1, now, 0), ping(2, now, 0), ping(3, now, 50)])).await.unwrap();
    let sent = pings.finish().await.unwrap();
    assert_eq!((sent.applied, sent.safe, sent.counts.accepted), (1, 0, 3));

    let authority = world.client("authority").await;
    let mut desk = authority.control().await.unwrap();
    let receipt = desk.publish(&alert("a-1", "actual"), None).await.unwrap();
    assert_eq!((receipt.id.as_str(), receipt.version, receipt.queued), ("a-1", 1, false));

    let partner = world.client("partner").await;
    let mut matches = partner.subscribe("default", StartAt::Earliest, false).await.unwrap();
    let events = take(&mut matches, 2).await;
    let got = lines(&events);
    assert_eq!(got[0], "content a-1 v1");
    let mut devices: Vec<&str> = got[1..].iter().map(String::as_str).collect();
    devices.sort_unstable();
    assert!(devices[0].starts_with("publish 1 v1") && devices[1].starts_with("publish 2 v1"), "{devices:?}");
    match &events[0] {
        SubscribeEvent::Alert(content) => {
            assert_eq!(content.status, "actual");
            let json: serde_json::Value = serde_json::from_str(&content.json).unwrap();
            assert_eq!(json["headline"], "Lost near the Bund");
        }
        other => panic!("{other:?}"),
    }
    matches.done_below(Offset(1)).await.unwrap();
    matches.done_below(Offset(2)).await.unwrap();
    assert_eq!(matches.next_offset(), Offset(2));

    // A device comes in while nobody listens; who resumes gets it, and only it, content first.
    drop(matches);
    let mut pings = operator.ingest("default", "city").await.unwrap();
    pings.send(&batch([ping(3, now.plus_ms(1), 0), ping(1, now.plus_ms(1), 1)])).await.unwrap();
    assert_eq!(pings.finish().await.unwrap().counts.accepted, 2);
    let mut matches = partner.subscribe("default", StartAt::Offset(2), false).await.unwrap();
    assert_eq!((matches.terms().start, matches.terms().earliest, matches.terms().end), (2, 0, 3));
    assert_eq!(lines(&take(&mut matches, 1).await), ["content a-1 v1", "enter 3 v1 @2"]);

    // A new version brings its content first, to a running subscription too.
    let update = r#"{"id":"a-1","headline":"Last seen in a red coat"}"#;
    assert_eq!(desk.update(update, None).await.unwrap().version, 2);
    let got = lines(&take(&mut matches, 3).await);
    assert_eq!(got[0], "content a-1 v2");
    assert!(got[1..].iter().all(|line| line.starts_with("update ") && line.contains(" v2 ")), "{got:?}");
    desk.cancel("a-1", CancelReason::Found, None).await.unwrap();
    let got = lines(&take(&mut matches, 3).await);
    assert!(got.iter().all(|line| line.starts_with("cancel ")), "{got:?}");
    // Another namespace saw nothing.
    let both = world.client("both").await;
    let other = both.subscribe("app", StartAt::Earliest, true).await.unwrap();
    assert_eq!(other.terms().end, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exercises_reach_only_who_asked_and_leave_gaps_for_others() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "city").await.unwrap();
    pings.send(&batch([ping(1, now, 0)])).await.unwrap();
    pings.finish().await.unwrap();
    let authority = world.client("authority").await;
    let mut desk = authority.control().await.unwrap();
    for (id, status) in [("drill", "exercise"), ("probe", "test"), ("real", "actual")] {
        desk.publish(&alert(id, status), None).await.unwrap();
    }
    let partner = world.client("partner").await;
    let mut all = partner.subscribe("default", StartAt::Earliest, true).await.unwrap();
    let got = lines(&take(&mut all, 3).await);
    for expected in ["content drill v1", "content probe v1", "content real v1"] {
        assert!(got.iter().any(|line| line == expected), "{got:?}");
    }
    let mut only = partner.subscribe("default", StartAt::Earliest, false).await.unwrap();
    assert_eq!(lines(&take(&mut only, 1).await), ["content real v1", "publish 1 v1 @2"]);
}

#[tokio::test]
async fn every_ping_is_counted_under_what_became_of_it() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "s").await.unwrap();
    let mut mixed = batch([ping(1, now, 0), ping(2, now, 0), ping(3, now, 0)]);
    let row = |lat: i32, lon: i32, accuracy_m: u32| PingRow {
        device: U64::new(9),
        lat_e7: I32::new(lat),
        lon_e7: I32::new(lon),
        time_and_accuracy: U32::new(accuracy_m << 15),
    };
    mixed.rows.extend([row(i32::MAX, 0, 0), row(0, i32::MIN, 0), row(0, 0, 131_071)]);
    pings.send(&mixed).await.unwrap();
    pings.send(&batch([ping(1, now.plus_ms(-1), 0)])).await.unwrap();
    // An hour is far beyond the skew of a minute, whatever the machine does meanwhile.
    pings.send(&batch([ping(2, now.plus_ms(3_600_000), 0)])).await.unwrap();
    let last = pings.finish().await.unwrap();
    assert_eq!((last.applied, last.counts.accepted, last.counts.stale), (3, 3, 1));
    let rejected = PingReject::ALL.map(|reason| last.counts.rejected[reason as usize]);
    assert_eq!(rejected, [2, 1, 1, 0, 0, 0]);
}

/// Batches that their sender has split give the same as others; pings that do not belong where
/// they were sent are rejected there, and the order of a device's pings is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn split_batches_go_to_their_partition() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    for rows in [false, true] {
        let mut pings = operator.ingest("default", "split").await.unwrap();
        if rows {
            pings.set_rows();
        }
        let mut splitter = Splitter::new(pings.terms(), 100);
        let later = i64::from(rows) * 1_000;
        let all = (0..3_000_u64).map(|n| ping(n % 1_000, now.plus_ms(later + n as i64 / 1_000), 0));
        let mut batches: Vec<_> = all.filter_map(|ping| splitter.push(ping)).collect();
        batches.extend(splitter.take());
        assert!(batches.iter().all(|(batch, _)| batch.rows.len() <= 100));
        for (batch, target) in &batches {
            pings.send_to(batch, Some(*target)).await.unwrap();
        }
        // The same to the wrong partition: nothing of it is taken.
        let (batch, target) = &batches[0];
        let wrong = Target { partition: (target.partition + 1) % target.of, ..*target };
        pings.send_to(batch, Some(wrong)).await.unwrap();
        let last = pings.finish().await.unwrap();
        let strangers = batch.rows.len() as u64;
        assert_eq!((last.counts.accepted, last.counts.stale), (3_000, 0));
        assert_eq!(last.counts.rejected[PingReject::Partition as usize], strangers);
        assert_eq!(last.counts.total(), 3_000 + strangers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_batches_are_acknowledged_to_the_last_ping() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "flood").await.unwrap();
    pings.set_window(10_000);
    for number in 0..300_u64 {
        let devices = number * 1_000..(number + 1) * 1_000;
        let sent = pings.send(&batch(devices.map(|device| ping(device, now, 0)))).await.unwrap();
        assert_eq!(sent, number + 1);
        let applied = pings.progress().borrow().applied;
        assert!(sent - applied <= 10, "the window holds {} batches", sent - applied);
    }
    let last = pings.finish().await.unwrap();
    assert_eq!((last.applied, last.counts.accepted, last.counts.total()), (300, 300_000, 300_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_answers_over_the_wire() {
    let world = World::new(ClockMode::Wall);
    let authority = world.client("authority").await;
    let mut desk = authority.control().await.unwrap();
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let preview = json(desk.preview(&alert("p", "draft")).await.unwrap());
    assert_eq!(preview["namespaces"].as_array().map(Vec::len), Some(1), "{preview}");
    desk.publish(&alert("a", "actual"), None).await.unwrap();
    assert_eq!(json(desk.list().await.unwrap())["alerts"][0]["id"], "a");
    assert_eq!(json(desk.show("a").await.unwrap())["version"], 1);

    let partner = world.client("partner").await;
    let mut reports = partner.control().await.unwrap();
    let mut numbers = Vec::new();
    for lat in [31.0, 32.0] {
        let report = json(reports.report("a", lat, 121.0, None).await.unwrap());
        numbers.push(report["report"].as_u64().unwrap());
    }
    desk.confirm(numbers[0], None).await.unwrap();
    desk.reject(numbers[1], "mistaken").await.unwrap();
    desk.sighting("a", 31.5, 121.0, None, None).await.unwrap();
    assert_eq!(json(desk.show("a").await.unwrap())["parts"], 3);

    // A refusal is an answer: the session goes on.
    let declined = |why: ClientError| match why {
        ClientError::Declined(line) => line,
        other => panic!("{other}"),
    };
    let mut said = vec![
        declined(desk.publish(&alert("a", "actual"), None).await.unwrap_err()),
        declined(desk.show("b").await.unwrap_err()),
        declined(desk.act("{\"action\":\"dance\"}", None).await.unwrap_err()),
        declined(desk.act("{", None).await.unwrap_err()),
        declined(desk.cancel("b", CancelReason::Found, None).await.unwrap_err()),
        declined(desk.confirm(numbers[0], None).await.unwrap_err()),
        declined(desk.publish(&alert("c", "actual"), Some(EventTime(0))).await.unwrap_err()),
        declined(desk.publish(&alert("c", "actual"), Some(EventTime(i64::MAX))).await.unwrap_err()),
        declined(desk.preview("[]").await.unwrap_err()),
        declined(reports.list().await.unwrap_err()),
        declined(reports.cancel("a", CancelReason::Found, None).await.unwrap_err()),
    ];
    said.retain(|line| line.is_empty() || line.contains('\n'));
    assert!(said.is_empty(), "{said:?}");
    assert!(matches!(desk.publish("{", None).await.unwrap_err(), ClientError::Json(_)));
    desk.cancel("a", CancelReason::Refuted, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_clock_takes_one_session_and_runs_on_its_times() {
    let world = World::new(ClockMode::Event);
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "recording").await.unwrap();
    assert_eq!(pings.hello().clock, Clock::Event);
    let why = operator.ingest("default", "second").await.err().expect("one at a time");
    assert_eq!(code_of(&why), Some(ErrorCode::Busy), "{why}");
    assert!(why.is_transient());

    let t = |ms: i64| EventTime(1_779_000_000_000 + ms);
    let authority = world.client("authority").await;
    let mut desk = authority.control().await.unwrap();
    let receipt = desk.publish(&alert("a", "actual"), Some(t(1_000))).await.unwrap();
    assert!(receipt.queued);
    pings.send(&batch([ping(1, t(0), 0), ping(2, t(1_000), 0), ping(3, t(1_001), 0)])).await.unwrap();
    pings.watermark(t(2_000), true).await.unwrap();
    pings.finish().await.unwrap();
    let partner = world.client("partner").await;
    let mut matches = partner.subscribe("default", StartAt::Earliest, false).await.unwrap();
    let mut found: Vec<(u64, Cause, EventTime)> = take(&mut matches, 3)
        .await
        .into_iter()
        .filter_map(|event| match event {
            SubscribeEvent::Matches(found) => Some(found),
            SubscribeEvent::Alert(_) => None,
        })
        .flat_map(|found| found.iter().collect::<Vec<_>>())
        .map(|(_, found)| (found.device.0, found.cause, found.at))
        .collect();
    found.sort_unstable();
    let expected =
        [(1, Cause::Publish, t(1_000)), (2, Cause::Publish, t(1_000)), (3, Cause::Enter, t(1_001))];
    assert_eq!(found, expected);
    // The place is free again.
    operator.ingest("default", "second").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_says_where_it_is_and_stops_where_it_is_refused() {
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let pki = world.pki.path();
    let mut refused = Follow::new(world.addr(), pki, "operator", "default", StartAt::Earliest, false);
    assert_eq!(code_of(&refused.next().await.unwrap_err()), Some(ErrorCode::NoGrant));

    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "s").await.unwrap();
    pings.send(&batch([ping(1, now, 0)])).await.unwrap();
    pings.finish().await.unwrap();
    let authority = world.client("authority").await;
    authority.control().await.unwrap().publish(&alert("a", "actual"), None).await.unwrap();
    let mut follow = Follow::new(world.addr(), pki, "partner", "default", StartAt::Earliest, false);
    assert!(matches!(follow.next().await.unwrap(), FollowEvent::Connected(Offset(0))));
    assert!(matches!(follow.next().await.unwrap(), FollowEvent::Event(SubscribeEvent::Alert(_))));
    assert!(matches!(follow.next().await.unwrap(), FollowEvent::Event(SubscribeEvent::Matches(_))));
    let World { server, pki: _pki, .. } = world;
    server.shutdown().await;
    match follow.next().await.unwrap() {
        FollowEvent::Lost(why, _) => assert!(why.is_transient(), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Whoever reads rows gets the same matches as who reads columns, frame by frame within bounds,
/// with an exercise left out of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_columns_say_the_same() {
    const DEVICES: u64 = 40_000;
    let world = World::new(ClockMode::Wall);
    let now = world.runtime.now();
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "city").await.unwrap();
    for first in (0..DEVICES).step_by(10_000) {
        pings.send(&batch((first..first + 10_000).map(|device| ping(device, now, 0)))).await.unwrap();
    }
    pings.finish().await.unwrap();
    let authority = world.client("authority").await;
    let mut desk = authority.control().await.unwrap();
    for (id, status) in [("one", "actual"), ("drill", "exercise"), ("two", "actual")] {
        desk.publish(&alert(id, status), None).await.unwrap();
    }
    let partner = world.client("partner").await;
    let mut columns = partner.subscribe("default", StartAt::Earliest, false).await.unwrap();
    let mut by_columns: Vec<(Offset, Match)> = Vec::new();
    for event in take(&mut columns, 2 * DEVICES as usize).await {
        if let SubscribeEvent::Matches(found) = event {
            by_columns.extend(found.iter());
        }
    }
    // All of the exercise's offsets are gaps; the last of them may stand after all matches.
    assert!(by_columns.is_sorted_by_key(|(offset, _)| *offset));
    assert!(columns.next_offset().0 <= 3 * DEVICES && columns.next_offset() > by_columns.last().unwrap().0);

    let connection = world.raw("partner").await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    let session = Session::Subscribe {
        namespace: "default".into(),
        from: StartAt::Earliest,
        exercises: false,
        encodings: Encodings::ROWS,
    };
    send.write_all(&hello(session)).await.unwrap();
    let mut reader = FrameReader::new(recv);
    let (mut by_rows, mut frames) = (Vec::new(), 0);
    while by_rows.len() < by_columns.len() {
        let frame = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        if frame.kind == Kind::MatchBatch {
            assert_eq!(frame.encoding, Encoding::Rows);
            let view = MatchesView::read(&frame.content).unwrap();
            by_rows.extend(view.rows.iter().map(|row| row.read().unwrap()));
            assert!(view.next > by_rows.last().unwrap().0);
            frames += 1;
        }
    }
    assert_eq!(by_rows, by_columns);
    assert!(frames >= 20, "a frame of rows holds 4,096");
}
