//! Old matches, which are on the disk only: a disk that does not answer one partner holds up no other.

use std::sync::{Arc, Condvar, Mutex};

use hexcast::client::StartAt;
use hexcast::delivery::Delivery;
use hexcast::domain::{AlertNo, Cause, DeviceId, EventTime, Match, Offset, Status};
use hexcast::limits::COLD_READS_PER_PARTNER_MAX;
use hexcast::runtime::{AlertInfo, ClockMode, EventKey, MatchSink, NamespaceConfig, NamespaceIx, Output};
use hexcast::store::{Disk, DiskFile, LogOptions, RealDisk, SegmentedLog, StoreError};

use crate::cursors::take;
use crate::world::{PATIENCE, World};

const DEFAULT: NamespaceIx = NamespaceIx(0);
/// Matches of a record, and records.
const RECORD: u64 = 500;
const RECORDS: u64 = 40;
const END: u64 = RECORD * RECORDS;

/// What reads pass: those of one file wait while it is held.
#[derive(Default)]
struct Gate {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    file: Option<String>,
    waiting: usize,
    most: usize,
}

impl Gate {
    fn pass(&self, file: &str) {
        let mut held = self.held.lock().unwrap();
        held.waiting += 1;
        held.most = held.most.max(held.waiting);
        let (mut held, late) = self
            .changed
            .wait_timeout_while(held, PATIENCE, |held| held.file.as_deref() == Some(file))
            .unwrap();
        held.waiting -= 1;
        assert!(!late.timed_out(), "the gate was never opened: somebody waits who must not");
    }

    fn hold(&self, file: Option<String>) {
        self.held.lock().unwrap().file = file;
        self.changed.notify_all();
    }

    /// How many reads wait, and the most that did.
    fn waiting(&self) -> (usize, usize) {
        let held = self.held.lock().unwrap();
        (held.waiting, held.most)
    }
}

struct GatedDisk {
    disk: RealDisk,
    gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl GatedDisk {
    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        Ok(self.gated(self.disk.create(path, bytes)?))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        Ok(self.gated(self.disk.open(path)?))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.disk.list(folder)
    }

    fn make_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.disk.make_folder(folder)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.disk.remove(path)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.disk.remove_folder(folder)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.disk.free_bytes()
    }
}

impl DiskFile for GatedFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        self.gate.pass(self.file.name());
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.file.bytes()
    }

    fn truncate(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.truncate(bytes)
    }
}

fn found(offset: u64) -> Match {
    Match {
        alert: AlertNo(0),
        version: 1,
        cause: Cause::Enter,
        part: 0,
        stage: 0,
        radius_km: 1.0,
        device: DeviceId(offset),
        at: EventTime(0),
    }
}

fn open(disk: &Arc<GatedDisk>) -> SegmentedLog {
    let (id, group_bytes_max, segment_bytes) = (1, 16 << 10, 0);
    let options = LogOptions { id, group_bytes_max, segment_bytes, ..LogOptions::default() };
    SegmentedLog::open(Arc::clone(disk) as _, "matches", options).unwrap().0
}

/// Matches of all records, on the disk.
fn write(disk: &Arc<GatedDisk>, namespaces: &[NamespaceConfig]) {
    let (mut stored, made) = (open(disk), Delivery::new(namespaces));
    for first in (0..END).step_by(RECORD as usize) {
        let mut out = Output::default();
        let matches = (first..first + RECORD).map(found);
        out.extend(matches.map(|found| (EventKey::ping(EventTime(0), 0), found)));
        made.log(DEFAULT).append(&out);
        let chunk = made.log(DEFAULT).unkept(Offset(first)).unwrap();
        stored.append(1, first, chunk.next.0, &[&chunk.frame]).unwrap();
        stored.sync().unwrap();
    }
    stored.seal().unwrap();
}

/// A delivery whose matches are all on the disk, as after a start.
fn cold(disk: &Arc<GatedDisk>, namespaces: &[NamespaceConfig]) -> Delivery {
    write(disk, namespaces);
    let (delivery, stored) = (Delivery::new(namespaces), open(disk));
    assert_eq!(stored.next(), END);
    delivery.log(DEFAULT).start_at(Offset(END));
    delivery.log(DEFAULT).keep(stored.reader(), Box::new(|| ()));
    let (no, id, status) = (AlertNo(0), "a".into(), Status::Actual);
    let info = AlertInfo { no, id, version: 1, status, json: r#"{"id":"a"}"#.into() };
    MatchSink::alert(&delivery, &Arc::new(info));
    delivery
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_that_does_not_answer_one_partner_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = Arc::new(GatedDisk { disk: RealDisk::open(folder.path()).unwrap(), gate: Arc::clone(&gate) });
    let world =
        World::with_delivery(ClockMode::Wall, |namespaces| cold(&disk, namespaces), |delivery| delivery);
    let segments = disk.list("matches").unwrap();
    assert!(segments.len() > 5, "{segments:?}");
    gate.hold(Some(format!("matches/{}", segments[0])));

    // More sessions than one partner has places, all of which want the oldest match.
    let stuck = world.client("partner").await;
    let mut sessions = Vec::new();
    for _ in 0..COLD_READS_PER_PARTNER_MAX + 3 {
        sessions.push(stuck.subscribe("default", StartAt::Earliest, true).await.unwrap());
    }
    let all_wait = async {
        while gate.waiting().0 < COLD_READS_PER_PARTNER_MAX {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_wait).await.unwrap();

    // Another partner reads what is old, too, on the same disk; and the desk answers.
    let other = world.client("both").await;
    let mut reads = other.subscribe("default", StartAt::Offset(END / 2), true).await.unwrap();
    assert_eq!(take(&mut reads, (END / 2) as usize).await, (END / 2..END).collect::<Vec<_>>());
    world.client("authority").await.control().await.unwrap().list().await.unwrap();
    let (waiting, most) = gate.waiting();
    assert_eq!(waiting, COLD_READS_PER_PARTNER_MAX, "they wait on");
    // One more may have passed, of the other partner.
    assert!(most <= COLD_READS_PER_PARTNER_MAX + 1, "{most} reads at a time");

    gate.hold(None);
    for session in &mut sessions {
        assert_eq!(take(session, END as usize).await, (0..END).collect::<Vec<_>>());
    }
}
