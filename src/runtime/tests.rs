//! The wall clock's driver: stages come by themselves, namespaces do not mix, batches are
//! acknowledged after their matches, and stopping applies what was taken.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::*;
use crate::domain::{
    Area, Cause, DeviceId, DirectiveKind, Match, Ping, PingReject, Position, Shape, StageSpec, Stages,
};

/// Far longer than any machine takes: only a defect reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Teller(Sender<(NamespaceIx, Match)>);

impl MatchSink for Teller {
    fn alert(&self, _: &Arc<AlertInfo>) {}

    fn matches(&self, namespace: NamespaceIx, matches: &Output) {
        for (_, found) in matches.iter() {
            self.0.send((namespace, found)).unwrap();
        }
    }
}

fn start(partitions: u32) -> (Runtime, Receiver<(NamespaceIx, Match)>) {
    let (found, matches) = unbounded();
    let namespace =
        |name| NamespaceConfig { name: Namespace::new(name).unwrap(), max_age: MaxAge::Ms(86_400_000) };
    let config = RuntimeConfig {
        partitions,
        namespaces: vec![namespace("north"), namespace("south")],
        clock: ClockMode::Wall,
        clock_skew_ms: 60_000,
        sliced: true,
    };
    (Runtime::start(config, Arc::new(Teller(found))).unwrap(), matches)
}

fn row(device: u64, at: EventTime, lat: f64) -> PingRow {
    let position = Position::from_degrees(lat, 121.0).unwrap();
    PingRow::write(&Ping { device: DeviceId(device), at, position, accuracy_m: 0 }, at).unwrap()
}

fn submit(runtime: &Runtime, namespace: u16, base: EventTime, rows: &[PingRow]) -> PingCounts {
    let driver = tokio::runtime::Builder::new_current_thread().build().unwrap();
    driver.block_on(async {
        let (mut session, mut applied) = runtime.open_session(NamespaceIx(namespace)).unwrap();
        session.submit(7, base, rows).await.unwrap();
        let done = applied.recv().await.unwrap();
        assert_eq!(done.number, 7);
        done.counts
    })
}

#[test]
fn a_stage_comes_by_itself_and_namespaces_do_not_mix() {
    let (runtime, matches) = start(3);
    let now = runtime.now();
    // One degree of latitude is some 111 km: device 1 stands inside 10 km, device 2 in 10 to 50.
    let rows = [row(1, now, 31.0), row(2, now, 31.2), row(3, now, 32.0)];
    assert_eq!(submit(&runtime, 0, now, &rows).accepted, 3);
    assert_eq!(submit(&runtime, 1, now, &rows[1..2]).accepted, 1);

    let stage = |after_ms, radius_km| StageSpec { after_ms, radius_km };
    let at = runtime.now();
    let centre = Position::from_degrees(31.0, 121.0).unwrap();
    let area = Area { shapes: vec![Shape::Circle { centre, radius_km: None }] };
    let part = PartSpec {
        area: Arc::new(PreparedArea::new(&area).unwrap()),
        start: at,
        stages: Stages::new(&[stage(0, 10.0), stage(300, 50.0)]).unwrap(),
        as_drawn: false,
    };
    let second_stage_at = part.start.plus_ms(300);
    let kind = DirectiveKind::Publish {
        part,
        uncertainty: Uncertainty::Centre,
        expires: second_stage_at.plus_ms(3_600_000),
    };
    runtime.tell(&Told { order: Arc::new(Order { at, alert: AlertNo(0), kind }), info: None });

    let mut seen: Vec<_> = (0..3)
        .map(|_| {
            let (namespace, found) = matches.recv_timeout(PATIENCE).unwrap();
            (namespace.0, found.device.0, found.cause)
        })
        .collect();
    seen.sort();
    let expected = [(0, 1, Cause::Publish), (0, 2, Cause::Escalation), (1, 2, Cause::Escalation)];
    assert_eq!(seen, expected);
    assert!(runtime.now() >= second_stage_at);
    runtime.stop();
    assert!(matches.try_recv().is_err(), "nobody is told twice");
}

#[test]
fn pings_are_counted_by_what_became_of_them() {
    let (runtime, _matches) = start(2);
    let now = runtime.now();
    let hour = 3_600_000;
    assert_eq!(submit(&runtime, 0, now, &[row(1, now, 31.0)]).accepted, 1);
    let old = now.plus_ms(-hour);
    let counts = submit(&runtime, 0, old, &[row(1, old, 31.0), row(2, old, 31.0)]);
    assert_eq!((counts.accepted, counts.stale), (1, 1), "older than the device's newest");
    assert_eq!(submit(&runtime, 0, now, &[row(1, now, 31.0)]).accepted, 1, "of one time: the later wins");
    let ahead = now.plus_ms(hour);
    let counts = submit(&runtime, 0, ahead, &[row(1, ahead, 31.0)]);
    assert_eq!(counts.rejected[PingReject::Future as usize], 1);
    assert_eq!(counts.total(), 1);
    runtime.stop();
}

#[test]
fn stopping_applies_what_was_taken_and_takes_no_more() {
    let (runtime, _matches) = start(2);
    let now = runtime.now();
    let driver = tokio::runtime::Builder::new_current_thread().build().unwrap();
    driver.block_on(async {
        let (mut session, mut applied) = runtime.open_session(NamespaceIx(0)).unwrap();
        for number in 0..50 {
            session.submit(number, now, &[row(number, now, 31.0)]).await.unwrap();
        }
        runtime.stop();
        let mut taken = 0;
        while let Ok(batch) = applied.try_recv() {
            taken += batch.counts.accepted;
        }
        assert_eq!(taken, 50);
        let refused = session.submit(50, now, &[row(50, now, 31.0)]).await;
        assert_eq!(refused, Err(SessionRefused::Stopping));
    });
}

#[test]
fn the_partition_of_a_device_is_what_the_protocol_says() {
    // SplitMix64's finalizer, reckoned elsewhere.
    assert_eq!(partition_of(DeviceId(0), 7), 0);
    let counts = (0..70_000u64).fold([0u32; 7], |mut counts, device| {
        counts[partition_of(DeviceId(device), 7) as usize] += 1;
        counts
    });
    assert!(counts.iter().all(|n| (9_500..10_500).contains(n)), "{counts:?}");
}
