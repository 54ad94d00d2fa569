//! An engine that is sent ten times what it can do, through the real runtime: what waits stays within its
//! bounds, an alert goes before the pings that wait, and afterwards everything that was taken arrives.
//!
//! How fast it is, is counted and not timed: a sink hands a match on when it is given leave, each batch of
//! pings brings one, and a round gives leave for one while ten batches are sent. `HEXCAST_LOAD_SECONDS=60
//! cargo test --release --lib ten_times -- --nocapture` goes on for a minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc::UnboundedReceiver};

use super::doors::{grant, lasting};
use super::*;
use crate::access::Role;
use crate::desk::Desk;
use crate::domain::{Cause, DeviceId, MaxAge, Namespace, Ping, PingRow, Policy};
use crate::limits::{BATCH_QUEUE_COST_MIN, ORDERS_QUEUED_MAX, PINGS_QUEUED_MAX};
use crate::runtime::{
    AlertInfo, Applied, ClockMode, MatchSink, NamespaceConfig, NamespaceIx, Output, Runtime, RuntimeConfig,
};
use crate::telemetry::Bound;

#[derive(Default)]
struct Handed {
    /// So many more may be handed on; `None`: all.
    leave: Option<u64>,
    /// The partition waits for leave.
    waits: bool,
    /// Pings that entered the first alert, and were handed on.
    entered: u64,
    /// By alert: how many had been when its first match was.
    published: BTreeMap<u32, u64>,
}

#[derive(Default)]
struct Throttle {
    handed: Mutex<Handed>,
    moved: Condvar,
}

impl MatchSink for Throttle {
    fn alert(&self, _: &Arc<AlertInfo>) {}

    fn matches(&self, _: NamespaceIx, matches: &Output) {
        let mut handed = self.handed.lock().unwrap();
        while handed.leave == Some(0) {
            handed.waits = true;
            self.moved.notify_all();
            handed = self.moved.wait(handed).unwrap();
        }
        handed.waits = false;
        handed.leave = handed.leave.map(|left| left - 1);
        for (_, found) in matches.iter() {
            let entered = handed.entered;
            match found.cause {
                Cause::Enter if found.alert.0 == 0 => handed.entered += 1,
                Cause::Publish => drop(handed.published.entry(found.alert.0).or_insert(entered)),
                _ => {}
            }
        }
        self.moved.notify_all();
    }
}

impl Throttle {
    fn set(&self, leave: Option<u64>) {
        self.handed.lock().unwrap().leave = leave;
        self.moved.notify_all();
    }

    /// Leave for one more; returns when the partition wants the next.
    fn one(&self) {
        let mut handed = self.handed.lock().unwrap();
        handed.leave = Some(1);
        self.moved.notify_all();
        while handed.leave != Some(0) || !handed.waits {
            handed = self.moved.wait(handed).unwrap();
        }
    }

    fn entered(&self) -> u64 {
        self.handed.lock().unwrap().entered
    }
}

/// Batches that the queues hold.
const QUEUED: u64 = (PINGS_QUEUED_MAX / BATCH_QUEUE_COST_MIN) as u64;
/// Batches sent in a round.
const SENT: usize = 10;
/// Rounds after which the queues are full whatever the threads do.
const ROUNDS_MAX: u64 = 4 * QUEUED;

struct Load {
    desk: Desk,
    runtime: Runtime,
    sink: Arc<Throttle>,
    /// Batches that the source may send.
    due: Arc<Semaphore>,
    demanded: u64,
    alerts: u32,
    threads: tokio::runtime::Runtime,
}

impl Load {
    fn start() -> (Self, UnboundedReceiver<Applied>) {
        let config = RuntimeConfig {
            partitions: 1,
            namespaces: vec![NamespaceConfig {
                name: Namespace::new("one").unwrap(),
                max_age: MaxAge::Never,
            }],
            clock: ClockMode::Wall,
            clock_skew_ms: 60_000,
            sliced: true,
        };
        let sink = Arc::new(Throttle::default());
        let runtime = Runtime::start(config, Arc::clone(&sink) as _).unwrap();
        let desk = Desk::new(runtime.clone(), Policies::new());
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let due = Arc::new(Semaphore::new(0));
        let (mut session, applied) = runtime.open_session(NamespaceIx(0)).unwrap();
        let (may, now) = (Arc::clone(&due), runtime.now());
        threads.spawn(async move {
            // Each batch is a device that enters the area of the first alert.
            for device in 1.. {
                let Ok(permit) = may.acquire().await else { return };
                permit.forget();
                let ping =
                    Ping { device: DeviceId(device), at: now, position: place(31.0, 121.0), accuracy_m: 0 };
                let rows = [PingRow::write(&ping, now).unwrap()];
                if session.submit(device, now, &rows).await.is_err() {
                    return;
                }
            }
        });
        let load = Self { desk, runtime, sink, due, demanded: 0, alerts: 0, threads };
        (load, applied)
    }

    fn send(&mut self, batches: usize) {
        self.due.add_permits(batches);
        self.demanded += batches as u64;
    }

    fn round(&mut self) {
        self.send(SENT);
        self.sink.one();
        self.in_bounds();
    }

    fn in_bounds(&self) {
        let used = |bound| self.runtime.telemetry().bounds.used(bound);
        assert!(used(Bound::PingsQueued) <= u64::from(PINGS_QUEUED_MAX));
        assert!(used(Bound::OrdersQueued) <= ORDERS_QUEUED_MAX as u64);
    }

    fn is_full(&self) -> bool {
        self.runtime.telemetry().bounds.used(Bound::PingsQueued) == u64::from(PINGS_QUEUED_MAX)
    }

    /// Publishes an alert over those who are there; returns how many pings went before its first match.
    fn alert(&mut self, mut next: impl FnMut(&mut Self)) -> u64 {
        let (no, before) = (self.alerts, self.sink.entered());
        self.alerts += 1;
        let draft = AlertDraft {
            area: Some(Ok(circle(Some(5.0)))),
            policy: Some(Policy::Fixed),
            ..lasting(&format!("a{no}"))
        };
        self.desk.act(&grant("police", Role::Authority), None, publish(draft)).unwrap();
        loop {
            if let Some(at) = self.sink.handed.lock().unwrap().published.get(&no) {
                return at - before;
            }
            next(self);
        }
    }

    /// The same while nothing else is to be done.
    fn idle_alert(&mut self) -> u64 {
        self.alert(|load| {
            let handed = load.sink.handed.lock().unwrap();
            if !handed.published.contains_key(&(load.alerts - 1)) {
                drop(load.sink.moved.wait(handed).unwrap());
            }
        })
    }
}

#[test]
fn ten_times_too_much_stays_in_bounds_and_alerts_go_first() {
    let (mut load, mut applied) = Load::start();
    // Somebody has to be there, and inside of an alert that stands.
    let first =
        AlertDraft { area: Some(Ok(circle(Some(5.0)))), policy: Some(Policy::Fixed), ..lasting("first") };
    load.desk.act(&grant("police", Role::Authority), None, publish(first)).unwrap();
    load.alerts = 1;
    load.send(5);
    let take = |load: &Load, applied: &mut UnboundedReceiver<Applied>, batches: u64| {
        for _ in 0..batches {
            let done = load.threads.block_on(applied.recv()).unwrap();
            assert_eq!(done.counts.accepted, 1);
        }
    };
    take(&load, &mut applied, 5);
    let idle = load.idle_alert().max(1);

    load.sink.set(Some(0));
    let mut rounds = 0;
    while !load.is_full() {
        load.round();
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "the queues do not fill");
    }
    let seconds = std::env::var("HEXCAST_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let (begun, mut worst, mut alerts) = (Instant::now(), 0, 0);
    while alerts < 20 || seconds.is_some_and(|seconds| begun.elapsed() < Duration::from_secs(seconds)) {
        (0..20).for_each(|_| load.round());
        // Each device hears of each alert, so many are enough.
        if alerts < 200 {
            worst = load.alert(Load::round).max(worst);
            alerts += 1;
        }
        // What is sent beyond the bound is held back at its source.
        while !load.is_full() {
            std::thread::yield_now();
        }
    }
    assert!(worst <= 10 * idle, "{worst} pings went before an alert, {idle} when idle");
    let entered = load.sink.entered();
    assert!(load.demanded > entered + QUEUED, "nothing was held back");
    println!(
        "{} batches sent, {entered} done, {alerts} alerts, at most {worst} pings before one",
        load.demanded
    );

    load.sink.set(None);
    let rest = load.demanded - 5;
    take(&load, &mut applied, rest);
    assert_eq!(load.sink.entered(), load.demanded);
    assert_eq!(load.runtime.telemetry().bounds.used(Bound::PingsQueued), 0);
    assert!(load.idle_alert() <= idle, "it has not recovered");
    load.due.close();
    load.runtime.stop();
}
