//! The match log under many orders of its threads' steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use shuttle::future::block_on;
use shuttle::thread;

use super::match_log::{Bounds, MatchLog, ReadError};
use crate::domain::{AlertNo, Cause, DeviceId, EventTime, Match, Offset};
use crate::runtime::{EventKey, Output};
use crate::sync::schedules;

/// Matches of appender `who`, which numbers its own from 0.
fn some(who: u64, numbers: std::ops::Range<u64>) -> Output {
    let mut out = Output::default();
    out.extend(numbers.map(|number| {
        let (alert, device, at) = (AlertNo(who as u32), DeviceId(who << 32 | number), EventTime(0));
        let (cause, part, stage, radius_km) = (Cause::Enter, 0, 0, 1.0);
        (EventKey::ping(at, 0), Match { alert, version: 1, cause, part, stage, radius_km, device, at })
    }));
    out
}

/// What a reader saw: devices by offset.
type Seen = BTreeMap<u64, u64>;

/// Follows the log to `total`. Woken means that there is something; what is gone is skipped.
fn follow(log: &MatchLog, total: u64) -> Seen {
    let (mut seen, mut next) = (Seen::new(), Offset(0));
    while next.0 < total {
        block_on(log.wait_beyond(next));
        match log.read(next) {
            Ok(Some(chunk)) => {
                assert!(chunk.first == next && chunk.next > next, "a chunk starts where it was asked for");
                for (offset, found) in chunk.matches().unwrap().iter() {
                    assert!(seen.insert(offset.0, found.device.0).is_none(), "an offset is shown twice");
                }
                next = chunk.next;
            }
            Ok(None) => panic!("woken for nothing at {next}"),
            Err(why @ ReadError::Unreadable { .. }) => panic!("{why}"),
            Err(ReadError::Gone(gone)) => {
                assert!(gone.earliest > next && gone.end >= gone.earliest);
                next = gone.earliest;
            }
        }
    }
    seen
}

/// Appenders whose appends have these sizes, and `readers` who follow.
fn race(bounds: Bounds, sizes: &'static [&'static [u64]], readers: usize) -> Vec<Seen> {
    let log = Arc::new(MatchLog::with_bounds(bounds));
    let total = sizes.iter().copied().flatten().sum();
    let followers: Vec<_> = (0..readers)
        .map(|_| {
            let log = Arc::clone(&log);
            thread::spawn(move || follow(&log, total))
        })
        .collect();
    let appenders: Vec<_> = (0..)
        .zip(sizes)
        .map(|(who, sizes)| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut own = 0;
                for size in *sizes {
                    log.append(&some(who, own..own + size));
                    own += size;
                    assert!(log.end().0 >= own && log.told() >= own, "appended and not told");
                }
            })
        })
        .collect();
    appenders.into_iter().for_each(|appender| appender.join().unwrap());
    assert_eq!((log.end().0, log.told()), (total, total), "all is appended and told");
    followers.into_iter().map(|follower| follower.join().unwrap()).collect()
}

#[test]
fn readers_see_each_offset_once_in_order_and_lose_no_wake_up() {
    // Appends that gather, that seal what has gathered, and that are chunks at once.
    static SIZES: &[&[u64]] = &[&[1, 3, 1], &[2, 5], &[1, 1]];
    let bounds = Bounds { bytes: usize::MAX, chunk: 4, at_once: 4 };
    schedules(1, 1_500, move || {
        let seen = race(bounds, SIZES, 2);
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "readers see different logs");
        let seen = &seen[0];
        assert!(seen.keys().copied().eq(0..14), "an offset is missing");
        for (who, sizes) in (0..).zip(SIZES) {
            let own = seen.values().filter(|device| *device >> 32 == who);
            let due = (0..sizes.iter().sum()).map(|number| who << 32 | number);
            assert!(own.copied().eq(due), "an appender's matches are out of order");
        }
    });
}

#[test]
fn a_log_that_drops_its_oldest_never_shows_another_match_at_an_offset() {
    let skipped = Arc::new(Mutex::new(0));
    let count = Arc::clone(&skipped);
    // Room for two chunks or so.
    let bounds = Bounds { bytes: 800, chunk: 4, at_once: 4 };
    schedules(2, 1_000, move || {
        let mut all = Seen::new();
        for seen in race(bounds, &[&[4, 1, 4, 4], &[4, 2, 4]], 2) {
            *count.lock().unwrap() += 23 - seen.len();
            for (offset, device) in seen {
                assert_eq!(*all.entry(offset).or_insert(device), device, "an offset names two matches");
            }
        }
    });
    assert!(*skipped.lock().unwrap() > 0, "nothing was ever dropped before it was read");
}
