//! A batch's ticket under many orders of its partitions' steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use shuttle::future::block_on;
use shuttle::thread;
use tokio::sync::{Semaphore, mpsc};

use super::queue::{Reports, Ticket};
use crate::domain::PingCounts;
use crate::sync::schedules;

/// Permits of the batch.
const ROOM: usize = 10;

#[test]
fn a_batch_is_reported_once_after_all_its_parts_and_its_room_is_back() {
    for parts in 0..4_u64 {
        schedules(parts, 500, move || {
            let room = Arc::new(Semaphore::new(ROOM));
            let permit = block_on(Arc::clone(&room).acquire_many_owned(ROOM as u32)).unwrap();
            let (applied, mut reports) = mpsc::unbounded_channel();
            let (kept, _) = mpsc::unbounded_channel();
            let ticket = Ticket::new(7, Instant::now(), false, Reports { applied, kept }, permit);
            let done = Arc::new(AtomicU64::new(0));
            let session = {
                let (room, done) = (Arc::clone(&room), Arc::clone(&done));
                thread::spawn(move || {
                    let report = block_on(reports.recv()).expect("a batch is reported");
                    assert_eq!(done.load(Ordering::SeqCst), parts, "reported before all is applied");
                    assert_eq!(room.available_permits(), ROOM, "reported before there is room");
                    assert_eq!((report.number, report.counts.accepted), (7, (1 << parts) - 1), "counts");
                    assert!(block_on(reports.recv()).is_none(), "reported twice");
                })
            };
            for part in 0..parts {
                let (ticket, done) = (ticket.for_part(), Arc::clone(&done));
                thread::spawn(move || {
                    done.fetch_add(1, Ordering::SeqCst);
                    ticket.part_applied(&PingCounts { accepted: 1 << part, ..PingCounts::default() });
                });
            }
            ticket.all_sent();
            drop(ticket);
            session.join().unwrap();
            assert_eq!(room.available_permits(), ROOM, "the room is given back once");
        });
    }
}

/// What `shutdown` leaves behind: a batch that could not be queued is not reported, and its room
/// comes back all the same.
#[test]
fn a_ticket_that_is_dropped_gives_its_room_back_and_reports_nothing() {
    schedules(9, 200, || {
        let room = Arc::new(Semaphore::new(ROOM));
        let permit = block_on(Arc::clone(&room).acquire_many_owned(ROOM as u32)).unwrap();
        let (applied, mut reports) = mpsc::unbounded_channel();
        let (kept, _) = mpsc::unbounded_channel();
        let ticket = Ticket::new(7, Instant::now(), false, Reports { applied, kept }, permit);
        let (one, other) = (ticket.for_part(), ticket.for_part());
        ticket.all_sent();
        drop(ticket);
        let gone = thread::spawn(move || drop(one));
        let applied = thread::spawn(move || other.part_applied(&PingCounts::default()));
        assert!(block_on(reports.recv()).is_none(), "reported though a part is not applied");
        gone.join().unwrap();
        applied.join().unwrap();
        assert_eq!(room.available_permits(), ROOM);
    });
}

/// With ping logs a batch keeps its room until they hold all of its parts, and that is reported once, too,
/// whichever comes first.
#[test]
fn a_batch_that_is_logged_gives_its_room_back_once_it_is_kept() {
    for parts in 1..3_u64 {
        schedules(20 + parts, 500, move || {
            let room = Arc::new(Semaphore::new(ROOM));
            let permit = block_on(Arc::clone(&room).acquire_many_owned(ROOM as u32)).unwrap();
            let ((applied, mut reports), (kept, mut kept_reports)) =
                (mpsc::unbounded_channel(), mpsc::unbounded_channel());
            let ticket = Ticket::new(7, Instant::now(), true, Reports { applied, kept }, permit);
            let done = Arc::new(AtomicU64::new(0));
            for _ in 0..parts {
                let (applied, kept, done) = (ticket.for_part(), Arc::clone(&ticket), Arc::clone(&done));
                thread::spawn(move || applied.part_applied(&PingCounts::default()));
                thread::spawn(move || {
                    done.fetch_add(1, Ordering::SeqCst);
                    kept.part_kept();
                });
            }
            ticket.all_sent();
            drop(ticket);
            assert_eq!(block_on(kept_reports.recv()), Some(7));
            assert_eq!(done.load(Ordering::SeqCst), parts, "reported before all is kept");
            assert_eq!(room.available_permits(), ROOM, "reported before there is room");
            assert_eq!(block_on(reports.recv()).map(|report| report.number), Some(7));
            assert!(block_on(reports.recv()).is_none() && block_on(kept_reports.recv()).is_none());
            assert_eq!(room.available_permits(), ROOM, "the room is given back once");
        });
    }
}
