//! A disk that fills, on the faulty disk under real threads: pings wait first, then new alerts are
//! refused and told why, what stands is still carried on, the figures count each; and when there is room
//! again nothing that was confirmed or found is lost. No order of threads changes that.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::writer::Writer;
use crate::access::{Grant, Role};
use crate::delivery::Delivery;
use crate::desk::{Desk, DeskError, JournalError, Policies, StoredJournal};
use crate::domain::{
    Action, AlertDraft, CancelReason, Cause, CursorAt, DeviceId, EventTime, MaxAge, Namespace, Offset, Ping,
    PingRow, Position,
};
use crate::planted::{Defect, must_be_found};
use crate::runtime::{
    Applied, ClockMode, IngestSession, NamespaceConfig, NamespaceIx, Runtime, RuntimeConfig,
};
use crate::store::faulty::{Faults, FaultyDisk};
use crate::store::{Disk, LogOptions, SegmentedLog};
use crate::telemetry::{Bound, Telemetry};

/// Most bytes of the match log in memory, and matches of a chunk.
const LOG_BYTES: usize = 4_000;
const LOG_CHUNK: usize = 16;
const NORTH: NamespaceIx = NamespaceIx(0);

/// Waits for another thread; far longer than any machine takes: only a defect reaches it.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

struct Server {
    delivery: Arc<Delivery>,
    telemetry: Arc<Telemetry>,
    runtime: Runtime,
    desk: Desk,
    writer: Writer,
    fatal: UnboundedReceiver<String>,
    police: Grant,
}

fn start(disk: &FaultyDisk) -> Server {
    let name = Namespace::new("north").unwrap();
    let config = RuntimeConfig {
        partitions: 1,
        namespaces: vec![NamespaceConfig { name: name.clone(), max_age: MaxAge::Never }],
        clock: ClockMode::Wall,
        clock_skew_ms: 60_000,
        sliced: true,
    };
    let telemetry = Telemetry::new([name], 1);
    let delivery = Arc::new(Delivery::new(&config.namespaces).with_small_logs(LOG_BYTES, LOG_CHUNK));
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = LogOptions { id: 5, group_bytes_max: 12 << 10, segment_bytes: 0, ..LogOptions::default() };
    let (log, _) = SegmentedLog::open(Arc::clone(&disk), "matches/north", options).unwrap();
    let (tell, fatal) = unbounded_channel();
    let (prepared, _) =
        Writer::prepare(Arc::clone(&delivery), vec![log], Arc::clone(&telemetry), tell.clone());
    let writer = prepared.start().unwrap();
    let options = LogOptions { id: 6, segment_bytes: 96 << 10, ..options };
    let (journal, back, _) = StoredJournal::open(disk, "actions", options, Policies::new()).unwrap();
    let runtime = Runtime::start_counted(config, Arc::clone(&delivery) as _, Arc::clone(&telemetry)).unwrap();
    let failed = Box::new(move |why: &JournalError| tell.send(why.to_string()).unwrap());
    let desk = Desk::with_journal(runtime.clone(), back.desk, back.cursors, journal, failed).unwrap();
    let police = Grant::for_test("police", Role::Authority, &["north"]);
    Server { delivery, telemetry, runtime, desk, writer, fatal, police }
}

impl Server {
    fn refused(&self, what: &str) -> u64 {
        let all = self.telemetry.storage.refusals();
        all.iter().find(|(of, _)| *of == what).map_or(0, |(_, count)| *count)
    }

    fn act(&self, action: Action) -> Result<u32, DeskError> {
        self.desk.act(&self.police, None, action).map(|receipt| receipt.version)
    }

    /// A match log's matches, all of them that are shown.
    fn shown(&self) -> Vec<(u32, u64, Cause)> {
        let (log, mut all) = (self.delivery.log(NORTH), Vec::new());
        while let Some(chunk) = log.read(Offset(all.len() as u64)).unwrap() {
            let matches = chunk.matches().unwrap();
            all.extend(matches.iter().map(|(_, found)| (found.alert.0, found.device.0, found.cause)));
        }
        all
    }
}

fn draft(id: &str, lat: f64) -> Box<AlertDraft> {
    Box::new(AlertDraft::lasting(id, lat, 121.0))
}

/// A source whose devices are new ones at the one place, sixteen in a batch.
struct Source {
    threads: tokio::runtime::Runtime,
    session: IngestSession,
    applied: UnboundedReceiver<Applied>,
    sent: u64,
}

const BATCH: u64 = 16;

impl Source {
    fn of(runtime: &Runtime) -> Self {
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (session, applied) = runtime.open_session(NORTH).unwrap();
        Self { threads, session, applied, sent: 0 }
    }

    fn send(&mut self, now: EventTime) {
        let position = Position::from_degrees(31.0, 121.0).unwrap();
        let ping = |device| Ping { device: DeviceId(device), at: now, position, accuracy_m: 0 };
        let rows = (self.sent..self.sent + BATCH).map(|n| PingRow::write(&ping(n + 1), now).unwrap());
        let rows: Vec<PingRow> = rows.collect();
        self.threads.block_on(self.session.submit(self.sent / BATCH, now, &rows)).unwrap();
        self.sent += BATCH;
    }

    fn applied(&mut self, batches: u64) {
        for _ in 0..batches {
            self.threads.block_on(self.applied.recv()).unwrap();
        }
    }
}

#[test]
fn pings_wait_first_then_new_alerts_are_refused_and_nothing_found_is_lost() {
    on_a_disk_that_fills();
}

#[test]
fn a_full_disk_that_takes_new_alerts_or_cursors_is_found() {
    must_be_found(Defect::FullDiskTakesAlerts, on_a_disk_that_fills);
    must_be_found(Defect::CursorsFillDisk, on_a_disk_that_fills);
}

fn on_a_disk_that_fills() {
    let disk = FaultyDisk::new(7);
    let mut server = start(&disk);
    let told = catch_unwind(AssertUnwindSafe(|| the_disk_fills(&disk, &mut server)));
    // No thread is left that waits for room, whatever was found.
    disk.set_faults(Faults::default());
    drop(server.desk);
    server.runtime.stop();
    server.writer.stop();
    told.unwrap_or_else(|panic| resume_unwind(panic));
}

fn the_disk_fills(disk: &FaultyDisk, server: &mut Server) {
    let mut source = Source::of(&server.runtime);
    let now = server.runtime.now();
    let journal = server.desk.journal().unwrap();
    let (durable, cursors) = channel();
    journal.on_cursor(Box::new(move |cursor| {
        // Where a check failed nobody listens.
        let _ = durable.send(cursor.offset);
    }));
    assert_eq!(server.act(Action::Publish(draft("here", 31.0))), Ok(1));
    assert_eq!(server.act(Action::Publish(draft("away", -31.0))), Ok(1));
    source.send(now);
    source.applied(1);
    until("the first matches are kept", || server.delivery.log(NORTH).end() == Offset(BATCH));
    let before = server.shown();

    disk.set_faults(Faults { full_at: Some(disk.used()), ..Faults::default() });
    // What is reserved is used up first; then the log does not grow any more, memory fills, pings wait.
    until("the match log finds the disk full", || {
        if server.refused("pings") == 0 {
            source.send(now);
        }
        server.refused("pings") > 0
    });
    assert_eq!(server.refused("alerts"), 0);
    (0..60).for_each(|_| source.send(now));
    until("memory is full", || server.delivery.log(NORTH).must_wait());
    assert!(server.telemetry.bounds.used(Bound::PingsQueued) > 0, "no ping waits");
    let held = server.delivery.log(NORTH).view().bytes as usize;
    assert!(held <= LOG_BYTES + 1_000, "{held} bytes are held");
    let shown = server.delivery.log(NORTH).end();
    assert!(shown < Offset(source.sent), "{shown:?} is shown and not kept");

    // New alerts have what the journal reserved, and are then refused.
    let mut taken = 0;
    let refused = loop {
        match server.act(Action::Publish(draft(&format!("new-{taken}"), -31.0))) {
            Ok(_) => taken += 1,
            Err(why) => break why,
        }
        assert!(taken < 1_000, "the journal grows on a full disk");
    };
    assert_eq!(refused, DeskError::Journal(JournalError::Full));
    assert!(refused.to_string().contains("free some space"), "{refused}");
    assert_eq!((taken > 0, server.refused("alerts")), (true, 1));
    // Cursors wait: what room is left is for alerts that stand, which are carried on and ended. One is
    // with the committer before it gets the update.
    let namespace = Namespace::new("north").unwrap();
    journal.cursor(&CursorAt { namespace, partner: "p".into(), offset: Offset(5), at: now });
    let update = AlertDraft::bare("away");
    assert_eq!(server.act(Action::Update(Box::new(update))), Ok(2));
    let cancel = Action::Cancel { id: "new-0".into(), reason: CancelReason::Found };
    assert_eq!(server.act(cancel), Ok(1));
    assert!(cursors.try_recv().is_err(), "a cursor takes of what room is left");

    // Somebody makes room.
    disk.set_faults(Faults::default());
    until("the cursor is durable", || cursors.try_recv() == Ok(Offset(5)));
    source.applied(source.sent / BATCH - 1);
    until("new alerts are taken again", || server.act(Action::Publish(draft("again", -31.0))).is_ok());
    server.runtime.barrier();
    let cancel = Action::Cancel { id: "here".into(), reason: CancelReason::Found };
    assert_eq!(server.act(cancel), Ok(1));
    server.runtime.barrier();
    until("all is kept", || server.delivery.log(NORTH).end() == Offset(2 * source.sent));
    let all = server.shown();
    assert_eq!(all[..before.len()], before, "what was shown is another now");
    let mut stories: BTreeMap<u64, Vec<Cause>> = BTreeMap::new();
    for (alert, device, cause) in all {
        assert_eq!(alert, 0);
        stories.entry(device).or_default().push(cause);
    }
    assert_eq!(stories.len() as u64, source.sent);
    assert!(stories.values().all(|story| *story == [Cause::Enter, Cause::Cancel]));
    assert!(server.fatal.try_recv().is_err(), "a full disk ends nothing");
}
