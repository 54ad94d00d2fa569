//! Sliced gives what undivided gives, whatever comes between the slices. (That the undivided
//! answer is right is judged from outside, by the oracle in `tests/`.)

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    AlertNo, Area, DeviceId, DirectiveKind, EventTime, Match, MaxAge, PartSpec, Ping, PingRow, Position,
    Shape, StageSpec, Stages, Uncertainty,
};

const START: EventTime = EventTime(1_779_000_000_000);
const MINUTE_MS: i64 = 60_000;
const MAX_AGE: MaxAge = MaxAge::Ms(90 * MINUTE_MS);

#[derive(Clone, Debug)]
enum Step {
    /// A device reports from a place `km` east of the origin, `late` minutes before the clock.
    Ping { device: u64, km: i32, late: i64, accuracy_m: u32 },
    /// An order about one of three alerts, if its life allows it.
    Order { alert: u32, what: u8, km: i32 },
    /// Minutes pass.
    Wait { minutes: i64 },
    /// A slice.
    Work { budget: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let accuracy = prop_oneof![4 => Just(0u32), 1 => 0..5_000u32, 1 => 0..100_000u32];
    prop_oneof![
        8 => (0..24u64, -60..60i32, prop_oneof![3 => Just(0i64), 1 => 0..120i64], accuracy)
            .prop_map(|(device, km, late, accuracy_m)| Step::Ping { device, km, late, accuracy_m }),
        3 => (0..3u32, 0..6u8, -40..40i32).prop_map(|(alert, what, km)| Step::Order { alert, what, km }),
        2 => (0..50i64).prop_map(|minutes| Step::Wait { minutes }),
        4 => (1..6usize).prop_map(|budget| Step::Work { budget }),
    ]
}

fn east(km: i32) -> Position {
    // Along 31 N a degree of longitude is some 95 km; exactness is not the point here.
    Position::from_degrees(31.0, 121.0 + f64::from(km) / 95.0).unwrap()
}

fn part(km: i32, start: EventTime) -> PartSpec<PreparedArea> {
    let stage = |after, radius_km| StageSpec { after_ms: after * MINUTE_MS, radius_km };
    let area = Area { shapes: vec![Shape::Circle { centre: east(km), radius_km: None }] };
    PartSpec {
        area: Arc::new(PreparedArea::new(&area).unwrap()),
        start,
        stages: Stages::new(&[stage(0, 8.0), stage(30, 20.0), stage(60, 45.0)]).unwrap(),
        as_drawn: false,
    }
}

/// Runs the steps; `sliced` leaves scans to the `Work` steps.
fn run(steps: &[Step], sliced: bool) -> Vec<(EventKey, Match)> {
    let mut partition = Partition::new(PartitionConfig { max_age: MAX_AGE, sliced, seed: 1 });
    let mut out = Output::default();
    let mut now = START;
    let mut alerts = [(false, false, 1u32, START); 3];
    for (index, step) in steps.iter().enumerate() {
        let number = index as u64;
        match *step {
            Step::Wait { minutes } => now = now.plus_ms(minutes * MINUTE_MS),
            Step::Work { budget } => {
                partition.work(budget, &mut out);
            }
            Step::Ping { device, km, late, accuracy_m } => {
                let ping = Ping {
                    device: DeviceId(device),
                    at: now.plus_ms(-late * MINUTE_MS),
                    position: east(km),
                    accuracy_m,
                };
                let row = PingRow::write(&ping, ping.at).unwrap();
                partition.pings(PingClock::Event { numbers: &[number] }, ping.at, &[row], &mut out);
            }
            Step::Order { alert, what, km } => {
                let (exists, cancelled, version, expires) = &mut alerts[alert as usize];
                let end = now.plus_ms(70 * MINUTE_MS);
                let uncertainty = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within]
                    [km.unsigned_abs() as usize % 3];
                let kind = match (*exists, *cancelled, what) {
                    (false, _, _) => {
                        (*exists, *expires) = (true, end);
                        DirectiveKind::Publish { part: part(km, now), uncertainty, expires: end }
                    }
                    (_, true, _) => continue,
                    (_, _, 0..=1) => {
                        *version += 1;
                        *expires = end;
                        let part = (what == 0).then(|| part(km, now));
                        DirectiveKind::Update { version: *version, part, uncertainty, expires: end }
                    }
                    (_, _, 2..=4) if now < *expires => DirectiveKind::Sighting { part: part(km, now) },
                    (_, _, 5) => {
                        *cancelled = true;
                        DirectiveKind::Cancel
                    }
                    _ => continue,
                };
                partition.order(&Order { at: now, alert: AlertNo(alert), kind }, number, &mut out);
            }
        }
    }
    partition.stages_through(now.plus_ms(MINUTE_MS), &mut out);
    partition.finish(&mut out);
    let mut all: Vec<_> = out.iter().collect();
    all.sort_by_key(|(key, m)| (*key, m.alert, m.cause, m.device));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sliced_scans_give_what_undivided_ones_give(steps in prop::collection::vec(step(), 1..80)) {
        prop_assert_eq!(run(&steps, true), run(&steps, false));
    }

    #[test]
    fn nobody_is_notified_twice(steps in prop::collection::vec(step(), 1..80)) {
        use crate::domain::Cause;
        let mut seen = std::collections::HashSet::new();
        for (_, found) in run(&steps, true) {
            if !matches!(found.cause, Cause::Update | Cause::Cancel) {
                prop_assert!(seen.insert((found.alert, found.device)), "{found:?} again");
            }
        }
    }
}

/// A ping from before the clock is judged at its turn, by what is active then, and its match is
/// no older than the alert.
#[test]
fn a_late_ping_is_judged_at_its_turn() {
    let mut partition = Partition::new(PartitionConfig { max_age: MAX_AGE, sliced: false, seed: 1 });
    let mut out = Output::default();
    let expires = START.plus_ms(50 * MINUTE_MS);
    let kind = DirectiveKind::Publish { part: part(0, START), uncertainty: Uncertainty::Centre, expires };
    partition.order(&Order { at: START, alert: AlertNo(0), kind }, 0, &mut out);
    partition.stages_through(START.plus_ms(40 * MINUTE_MS), &mut out);
    let mut send = |device, minute: i64, km| {
        let at = START.plus_ms(minute * MINUTE_MS);
        let ping = Ping { device: DeviceId(device), at, position: east(km), accuracy_m: 0 };
        let row = PingRow::write(&ping, at).unwrap();
        partition.pings(PingClock::Event { numbers: &[] }, at, &[row], &mut out);
        out.iter().map(|(_, m)| (m.device.0, m.stage, m.at.ms_since(START) / MINUTE_MS)).collect::<Vec<_>>()
    };
    // Stage 1 (20 km) is active at minute 40: it judges the ping of minute 10, too.
    assert_eq!(send(1, 10, 15), [(1, 1, 10)]);
    assert_eq!(send(2, -20, 15), [(1, 1, 10), (2, 1, 0)], "older than the alert: the alert's time");
    assert_eq!(send(3, -51, 15).len(), 2, "not known any more at minute 40");
    assert_eq!(send(4, 50, 0).len(), 2, "expired at minute 50");
    assert_eq!(send(5, 10, 0).len(), 2, "late, and the alert is over by now");
}

/// A stale ping is dropped: the device stays where its newest ping put it, whatever comes later.
#[test]
fn a_stale_ping_moves_nobody() {
    let mut partition = Partition::new(PartitionConfig { max_age: MAX_AGE, sliced: false, seed: 1 });
    let mut out = Output::default();
    let send = |partition: &mut Partition, out: &mut Output, minute: i64, km| {
        let at = START.plus_ms(minute * MINUTE_MS);
        let ping = Ping { device: DeviceId(1), at, position: east(km), accuracy_m: 0 };
        let row = PingRow::write(&ping, at).unwrap();
        let counts = partition.pings(PingClock::Event { numbers: &[] }, at, &[row], out);
        (counts.accepted, counts.stale)
    };
    assert_eq!(send(&mut partition, &mut out, 10, 50), (1, 0));
    assert_eq!(send(&mut partition, &mut out, 9, 0), (0, 1));
    let at = START.plus_ms(20 * MINUTE_MS);
    let expires = at.plus_ms(60 * MINUTE_MS);
    let kind = DirectiveKind::Publish { part: part(0, at), uncertainty: Uncertainty::Centre, expires };
    partition.order(&Order { at, alert: AlertNo(0), kind }, 0, &mut out);
    assert_eq!(out.len(), 0, "it stands 50 km away");
    assert_eq!(send(&mut partition, &mut out, 9, 0), (0, 1), "and enters by no stale ping");
    assert_eq!(out.len(), 0);
    assert_eq!(send(&mut partition, &mut out, 10, 0), (1, 0), "of two of one time the later arrival wins");
    assert_eq!(out.len(), 1);
}
