//! The journal's thread: who waits, in what order partitions hear, and what a failure does.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::doors::{desk_parts, grant, lasting};
use super::*;
use crate::access::Role;
use crate::desk::{
    Desk, DeskCore, DeskError, JournalError, JournalFile, JournalView, Record, Recovery, ReportNo, Room,
    compacted,
};
use crate::domain::{CursorAt, Namespace, Offset};
use crate::limits::JOURNAL_BYTES_MIN;

#[derive(Default)]
struct Disk {
    /// What is durable.
    safe: Vec<(u8, Vec<u8>)>,
    written: Vec<(u8, Vec<u8>)>,
    commits: usize,
    room: u64,
    /// What the file says that it takes.
    bytes: u64,
    compactions: usize,
}

/// A file whose commits go ahead when the test says so.
struct Held {
    disk: Arc<Mutex<Disk>>,
    begun: Sender<usize>,
    go: Receiver<Result<(), String>>,
}

impl JournalFile for Held {
    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        self.disk.lock().unwrap().written.push((kind, payload.to_vec()));
        Ok(())
    }
    fn commit(&mut self) -> Result<(), String> {
        let waiting = self.disk.lock().unwrap().written.len();
        // The test may be over.
        let _ = self.begun.send(waiting);
        self.go.recv().unwrap_or(Ok(()))?;
        let mut disk = self.disk.lock().unwrap();
        disk.commits += 1;
        let written = std::mem::take(&mut disk.written);
        disk.safe.extend(written);
        Ok(())
    }
    fn room(&self) -> Room {
        let room = self.disk.lock().unwrap().room;
        Room { new: room, standing: room + 10_000 }
    }
    fn bytes(&self) -> u64 {
        self.disk.lock().unwrap().bytes
    }
    fn compact(&mut self, view: &JournalView) -> Result<(), String> {
        let mut disk = self.disk.lock().unwrap();
        assert!(disk.written.is_empty(), "nothing is on its way");
        let old = std::mem::take(&mut disk.safe);
        disk.safe = compacted(old.into_iter().map(Ok::<_, crate::desk::RecordError>), view)
            .map(Result::unwrap)
            .collect();
        disk.bytes = 0;
        disk.compactions += 1;
        Ok(())
    }
}

struct Live {
    desk: Desk,
    disk: Arc<Mutex<Disk>>,
    begun: Receiver<usize>,
    go: Sender<Result<(), String>>,
    failed: Receiver<JournalError>,
    versions: super::doors::Told,
    runtime: crate::runtime::Runtime,
}

fn live(room: u64) -> Live {
    let (runtime, versions) = desk_parts();
    let disk = Arc::new(Mutex::new(Disk { room, ..Disk::default() }));
    let ((begin, begun), (go, going), (fail, failed)) = (channel(), channel(), channel());
    let file = Held { disk: Arc::clone(&disk), begun: begin, go: going };
    let on_failure = Box::new(move |why: &JournalError| fail.send(why.clone()).unwrap());
    let core = DeskCore::new(Policies::new());
    let desk = Desk::with_journal(runtime.clone(), core, vec![], file, on_failure).unwrap();
    Live { desk, disk, begun, go, failed, versions, runtime }
}

#[test]
fn several_authorities_share_a_sync_and_nobody_hears_of_it_before() {
    let Live { desk, disk, begun, go, versions, runtime, .. } = live(1 << 20);
    let police = grant("police", Role::Authority);
    std::thread::scope(|scope| {
        let act = |action| scope.spawn(|| desk.act(&police, None, action));
        let first = act(publish(lasting("a")));
        assert_eq!(begun.recv().unwrap(), 1);
        // While the disk works others are decided: the lock is not held over a sync.
        let others = ["b", "c", "d"].map(|id| act(publish(lasting(id))));
        let list = scope.spawn(|| desk.list(&police).unwrap().total);
        let preview = desk.preview(&police, lasting("p"));
        assert!(preview.is_ok(), "a preview rests on nothing that waits");
        assert!(versions.lock().is_empty() && !first.is_finished() && !list.is_finished());
        go.send(Ok(())).unwrap();
        assert_eq!(first.join().unwrap().unwrap().version, 1);
        // However they fall into groups, they come through.
        for _ in 0..3 {
            go.send(Ok(())).unwrap();
        }
        assert!(others.map(|other| other.join().unwrap().is_ok()).iter().all(|done| *done));
        assert!(list.join().unwrap() >= 1);
    });
    let commits = disk.lock().unwrap().commits;
    assert!((2..=4).contains(&commits), "{commits}");
    drop(go);
    // The order of the journal is the order in which partitions heard.
    let journal: Vec<String> = disk.lock().unwrap().safe.iter().map(id_of).collect();
    assert_eq!(versions.lock().iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), journal);
    drop(desk);
    runtime.stop();
}

fn id_of((kind, payload): &(u8, Vec<u8>)) -> String {
    match Record::decode(*kind, payload).unwrap() {
        Record::Action(decided) => decided.action.id().to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_sync_confirms_nothing_and_ends_it() {
    let Live { desk, begun, go, failed, versions, runtime, .. } = live(1 << 20);
    let police = grant("police", Role::Authority);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| desk.act(&police, None, publish(lasting("a"))));
        begun.recv().unwrap();
        let show = scope.spawn(|| desk.show(&police, &"a".into()).map(drop));
        go.send(Err("no more disk".into())).unwrap();
        let why = DeskError::Journal(JournalError::Failed("no more disk".into()));
        assert_eq!(first.join().unwrap(), Err(why.clone()));
        assert_eq!(show.join().unwrap(), Err(why.clone()));
        assert_eq!(desk.act(&police, None, publish(lasting("b"))), Err(why.clone()));
        assert_eq!(desk.show(&police, &"a".into()).map(drop), Err(why));
    });
    assert_eq!(failed.recv().unwrap(), JournalError::Failed("no more disk".into()));
    assert!(versions.lock().is_empty());
    drop(desk);
    runtime.stop();
}

#[test]
fn room_runs_out_for_new_alerts_first_and_what_waits_counts() {
    let Live { desk, disk, go, runtime, .. } = live(4_000);
    drop(go);
    let police = grant("police", Role::Authority);
    desk.act(&police, None, publish(lasting("a"))).unwrap();
    disk.lock().unwrap().room = 100;
    desk.act(&police, None, update(bare("a"))).unwrap();
    let full = desk.act(&police, None, publish(lasting("b"))).unwrap_err();
    assert_eq!(full, DeskError::Journal(JournalError::Full));
    assert!(full.to_string().contains("disk is full"));
    assert_eq!(desk.act(&police, None, cancel("a")).unwrap().version, 2);
    drop(desk);
    runtime.stop();
}

#[test]
fn what_was_taken_is_durable_at_the_end_and_only_the_newest_cursor_is_written() {
    let Live { desk, disk, begun, go, runtime, .. } = live(1 << 20);
    let (police, partner) = (grant("police", Role::Authority), grant("p", Role::Partner));
    let cursor = |offset| CursorAt {
        namespace: Namespace::new("one").unwrap(),
        partner: "p".into(),
        offset: Offset(offset),
        at: hour(1),
    };
    let journal = desk.journal().unwrap();
    journal.cursor(&cursor(1));
    begun.recv().unwrap();
    for offset in 2..=50 {
        journal.cursor(&cursor(offset));
    }
    drop(go);
    desk.act(&police, None, publish(lasting("a"))).unwrap();
    desk.report_sighting(&partner, &"a".into(), 31.0, 121.0, None).unwrap();
    desk.report_sighting(&partner, &"a".into(), 32.0, 121.0, None).unwrap();
    desk.confirm(&police, ReportNo(0), None).unwrap();
    // Mostly garbage, it says.
    disk.lock().unwrap().bytes = JOURNAL_BYTES_MIN;
    desk.reject(&police, ReportNo(1), "mistaken").unwrap();
    journal.cursor(&cursor(51));
    drop(desk);
    runtime.stop();
    let disk = disk.lock().unwrap();
    assert_eq!(disk.compactions, 1);
    let mut recovery = Recovery::new(Policies::new());
    let mut cursors = 0;
    for (kind, payload) in &disk.safe {
        cursors += usize::from(matches!(Record::decode(*kind, payload), Ok(Record::Cursor(_))));
        recovery.record(*kind, payload).unwrap();
    }
    let back = recovery.finish();
    assert_eq!((back.orders.len(), back.cursors), (2, vec![cursor(51)]));
    assert!(cursors <= 2, "{cursors}");
    let view = back.desk.show(hour(13), &super::police(), &"a".into()).waited().unwrap();
    assert_eq!((view.summary.parts, view.reports.len()), (2, 0));
}
