//! A namespace's matches in order, in memory, with offsets from 0.
//!
//! The log is a list of chunks, each the ready bytes of a frame of the wire, built once by the
//! partition's thread that appends and shared by all readers. What comes in small pieces gathers
//! in an open chunk, of which readers get copies at once: nothing waits for a chunk to fill. When
//! the log is full its oldest chunk goes, whole.
//!
//! Where the log is kept on a disk ([`MatchLog::keep`]), memory holds its newest part only, and readers see a
//! match when it is kept, not before.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::domain::{AlertNo, Offset};
use crate::limits::{
    MATCH_CHUNK, MATCH_CHUNK_AT_ONCE, MATCH_CHUNK_COST, MATCH_COLUMNS_BYTES_MAX, MATCH_LOGS_BYTES_MAX,
    MATCH_TIMES_KEPT,
};
use crate::planted::{self, Defect};
use crate::runtime::Output;
use crate::store::LogReader;
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::LogView;
use crate::wire::ColumnsBuilder;

use super::chunk::{Chunk, Kept};
use super::cold::ColdRead;

thread_local! {
    /// Where a partition gathers a frame: its memory stays, for fresh pages cost more than what is written to them.
    static BUILDER: RefCell<ColumnsBuilder> = RefCell::default();
}

/// Why a reader cannot start at an offset: it is before what is held or past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset {wanted} is not in the match log, which holds {earliest} up to {end}: subscribe from earliest, latest or an offset between"
)]
pub struct OffsetGone {
    /// The offset asked for.
    pub wanted: Offset,
    /// The oldest offset held.
    pub earliest: Offset,
    /// The offset that the next match will get.
    pub end: Offset,
}

/// Why matches cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// They are not there.
    #[error(transparent)]
    Gone(#[from] OffsetGone),
    /// They are on the disk, and it does not give them as they were written.
    #[error("the matches from offset {from} on cannot be read: {why}")]
    Unreadable {
        /// From where on.
        from: Offset,
        /// What is wrong, with its file.
        why: String,
    },
}

/// Where matches are.
pub enum Look {
    /// In memory.
    Here(Chunk),
    /// Nowhere yet: the offset is the end.
    End,
    /// On the disk only.
    OnDisk(ColdRead),
}

/// The match log of one namespace. See the module head.
pub struct MatchLog {
    held: Mutex<Held>,
    /// The offset that the next match will get, for those who wait.
    end: watch::Sender<u64>,
    kept: OnceLock<Kept>,
    /// Up to where it is kept, for those who wait for room; the lock of what is held is another.
    room: (std::sync::Mutex<u64>, Condvar),
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most bytes of all sealed chunks together.
    pub(super) bytes: usize,
    /// Most matches of a chunk.
    pub(super) chunk: usize,
    /// An append of so many becomes chunks at once.
    pub(super) at_once: usize,
}

struct Held {
    /// Chunks that never change, the oldest first.
    sealed: VecDeque<Chunk>,
    /// What they cost.
    bytes: usize,
    /// The newest matches. Starts where the last sealed chunk ends.
    open: ColumnsBuilder,
    /// The offset of the oldest match held.
    earliest: Offset,
    /// The first offsets of the newest appends, and when they came.
    times: VecDeque<(Offset, Instant)>,
}

impl Held {
    fn end(&self) -> Offset {
        Offset(self.open.first().0 + self.open.len() as u64)
    }

    /// What is appended next comes now.
    fn note_time(&mut self) {
        if self.times.len() >= MATCH_TIMES_KEPT {
            self.times.pop_front();
        }
        let end = self.end();
        self.times.push_back((end, Instant::now()));
    }

    fn seal_open(&mut self) {
        if !self.open.is_empty() {
            let chunk = Chunk::of(&self.open);
            self.open.restart(chunk.next);
            self.push(chunk);
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.cost();
        self.sealed.push_back(chunk);
    }
}

impl MatchLog {
    /// An empty log whose sealed chunks take at most `bytes_max` bytes, and at least a chunk; the
    /// open one comes on top.
    pub fn new(bytes_max: usize) -> Self {
        let bytes = bytes_max.max(MATCH_COLUMNS_BYTES_MAX + MATCH_CHUNK_COST);
        Self::with_bounds(Bounds { bytes, chunk: MATCH_CHUNK, at_once: MATCH_CHUNK_AT_ONCE })
    }

    /// The share of one of `logs` logs in what all may hold, bytes.
    pub fn share(logs: usize) -> usize {
        MATCH_LOGS_BYTES_MAX / logs.max(1)
    }

    pub(super) fn with_bounds(bounds: Bounds) -> Self {
        let held = Held {
            sealed: VecDeque::new(),
            bytes: 0,
            open: ColumnsBuilder::default(),
            earliest: Offset(0),
            times: VecDeque::with_capacity(MATCH_TIMES_KEPT),
        };
        let (kept, room) = (OnceLock::new(), Default::default());
        Self { held: Mutex::new(held), end: watch::Sender::new(0), kept, room, bounds }
    }

    /// Starts an empty log at an offset: what is before it is on the disk.
    pub fn start_at(&self, first: Offset) {
        let first = Offset(first.0 + u64::from(planted::on(Defect::LogStartsLate)));
        let mut held = self.lock();
        held.open.restart(first);
        held.earliest = first;
        drop(held);
        self.end.send_replace(first.0);
    }

    /// From now on nobody is shown a match before it is kept: [`show`](Self::show) says up to where it
    /// is. `kept` has what memory does not hold any more, and `wake` is called when there is something
    /// to keep. To be called once, before anything is appended.
    pub fn keep(&self, kept: LogReader, wake: Box<dyn Fn() + Send + Sync>) {
        if self.kept.set(Kept::new(kept, wake)).is_err() {
            tracing::error!("a match log is kept already: it stays where it is");
        }
    }

    /// All below this offset is kept, and may be shown.
    pub fn show(&self, below: Offset) {
        self.tell_end(below);
        let (kept, more) = &self.room;
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = below.0;
        more.notify_all();
    }

    /// Matches from `from` on that may be shown or not, for whoever keeps them.
    pub fn unkept(&self, from: Offset) -> Option<Chunk> {
        self.read_held(self.lock(), from)
    }

    /// Appends matches; the oldest chunks go where the log is full. Where it is full of what is not
    /// kept yet, waits.
    pub fn append(&self, found: &Output) {
        let ready = if found.len() < self.bounds.at_once { Vec::new() } else { self.chunks_of(found) };
        self.wait_for_room();
        let mut held = self.lock();
        held.note_time();
        if ready.is_empty() {
            if held.open.len() + found.len() > self.bounds.chunk {
                held.seal_open();
            }
            for (run, devices) in found.runs() {
                let at = held.end();
                held.open.push_run(at, &run.head, devices.iter().copied());
            }
        } else {
            held.seal_open();
            for (versions, mut frame, matches) in ready {
                let first = held.end();
                let next = Offset(first.0 + matches);
                ColumnsBuilder::move_frame(&mut frame, first, next);
                held.push(Chunk { first, next, versions, frame: frame.into() });
                held.open.restart(next);
            }
        }
        let kept = self.kept.get().is_some() && !planted::on(Defect::UnkeptGo);
        let may_go = if kept { self.shown() } else { Offset(u64::MAX) };
        while held.bytes > self.bounds.bytes
            && !planted::on(Defect::OldChunksStay)
            && held.sealed.front().is_some_and(|oldest| oldest.next <= may_go)
            && let Some(gone) = held.sealed.pop_front()
        {
            held.bytes -= gone.cost();
            held.earliest = gone.next;
        }
        let end = held.end();
        drop(held);
        match self.kept.get() {
            Some(kept) => kept.wake(),
            None => self.tell_end(end),
        }
    }

    /// Where memory is full of what the disk has not got yet, the partition waits, and with it its pings.
    fn wait_for_room(&self) {
        if self.kept.get().is_none() {
            return;
        }
        loop {
            let held = self.lock();
            let full = held.bytes > self.bounds.bytes;
            let Some(oldest) = held.sealed.front().map(|oldest| oldest.next).filter(|_| full) else { return };
            drop(held);
            if oldest <= self.shown() {
                return;
            }
            let (kept, more) = &self.room;
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            drop(more.wait_while(kept, |kept| *kept < oldest.0));
        }
    }

    /// Whether an append would wait: for who has no thread that could.
    #[cfg(test)]
    pub(crate) fn must_wait(&self) -> bool {
        let held = self.lock();
        let full = held.bytes > self.bounds.bytes && self.kept.get().is_some();
        full && held.sealed.front().is_some_and(|oldest| oldest.next > self.shown())
    }

    fn tell_end(&self, end: Offset) {
        // Another thread may have told a later end meanwhile.
        self.end.send_if_modified(|told| {
            let grew = end.0 > *told;
            *told = end.0.max(*told);
            grew
        });
    }

    /// All below may be shown, where the log is kept.
    fn shown(&self) -> Offset {
        Offset(*self.end.borrow())
    }

    /// The frames of many matches, all but their offsets, which are known under the lock only.
    #[expect(clippy::type_complexity, reason = "seen here and by its one caller")]
    fn chunks_of(&self, found: &Output) -> Vec<(Arc<[(AlertNo, u32)]>, Vec<u8>, u64)> {
        BUILDER.with_borrow_mut(|builder| {
            builder.restart(Offset(0));
            let mut chunks = Vec::new();
            let mut seal = |builder: &mut ColumnsBuilder| {
                let matches = builder.len() as u64;
                if matches > 0 {
                    chunks.push((builder.versions().into(), builder.frame(Offset(matches)), matches));
                    builder.restart(Offset(0));
                }
            };
            for (run, mut devices) in found.runs() {
                while !devices.is_empty() {
                    let room = self.bounds.chunk - builder.len();
                    let (now, later) = devices.split_at(room.min(devices.len()));
                    builder.push_run(Offset(builder.len() as u64), &run.head, now.iter().copied());
                    devices = later;
                    if builder.len() == self.bounds.chunk {
                        seal(builder);
                    }
                }
            }
            seal(builder);
            chunks
        })
    }

    /// When the match at an offset was appended; `None` where that is forgotten or yet to come.
    pub fn appended_at(&self, offset: Offset) -> Option<Instant> {
        let held = self.lock();
        let after = held.times.partition_point(|(first, _)| *first <= offset);
        let (_, at) = held.times.get(after.checked_sub(1)?)?;
        (offset < held.end()).then_some(*at)
    }

    /// How it stands, for whoever watches.
    pub fn view(&self) -> LogView {
        let held = self.lock();
        LogView { earliest: self.first_of(&held).0, end: held.end().0, bytes: held.bytes as u64 }
    }

    /// The oldest offset held; equal to `end` where nothing is.
    pub fn earliest(&self) -> Offset {
        self.first_of(&self.lock())
    }

    /// What is kept on a disk counts too.
    fn first_of(&self, held: &Held) -> Offset {
        self.kept.get().map_or(held.earliest, |kept| held.earliest.min(kept.first()))
    }

    /// The offset that the next match will get; where the log is kept, that the next one shown has.
    pub fn end(&self) -> Offset {
        if self.kept.get().is_some() { self.shown() } else { self.lock().end() }
    }

    /// The offset that the next match appended will get, shown or not.
    pub fn appended(&self) -> Offset {
        self.lock().end()
    }

    /// Looks for matches from `from` on, some of those that there are. Where a chunk starts there it is that chunk, and
    /// nothing is copied. Waits for no disk.
    pub fn look(&self, from: Offset) -> Result<Look, OffsetGone> {
        let held = self.lock();
        let kept = self.kept.get();
        let end = if kept.is_some() { self.shown() } else { held.end() };
        let earliest = self.first_of(&held);
        if from < earliest || from > end {
            return Err(OffsetGone { wanted: from, earliest, end });
        }
        if from == end {
            return Ok(Look::End);
        }
        if let Some(kept) = kept.filter(|_| from < held.earliest) {
            return Ok(Look::OnDisk(ColdRead { kept: kept.reader().clone(), from, end }));
        }
        Ok(match self.read_held(held, from) {
            Some(chunk) if chunk.next > end => Look::Here(chunk.part(from, end)),
            Some(chunk) => Look::Here(chunk),
            None => Look::End,
        })
    }

    /// Matches from `from` on, some of those that there are; `None` where `from` is the end. What memory does not
    /// hold any more is read from the disk, by this thread.
    pub fn read(&self, from: Offset) -> Result<Option<Chunk>, ReadError> {
        Ok(match self.look(from)? {
            Look::Here(chunk) => Some(chunk),
            Look::End => None,
            Look::OnDisk(cold) => Some(cold.read()?),
        })
    }

    /// Reads what memory holds.
    fn read_held(&self, held: MutexGuard<'_, Held>, from: Offset) -> Option<Chunk> {
        if from < held.earliest || from >= held.end() {
            return None;
        }
        let mut tail = ColumnsBuilder::default();
        if from >= held.open.first() {
            let from = if planted::on(Defect::ReadsFromChunk) { held.open.first() } else { from };
            held.open.tail_into(from, &mut tail);
            drop(held);
            return Some(Chunk::of(&tail));
        }
        let nth = held.sealed.partition_point(|chunk| chunk.next <= from);
        let chunk = held.sealed.get(nth).cloned();
        drop(held);
        let chunk = chunk?;
        Some(if chunk.first == from { chunk } else { chunk.part(from, chunk.next) })
    }

    /// Waits until there is a match at `offset` or later. Loses no wake-up, and may be dropped
    /// at any time.
    pub async fn wait_beyond(&self, offset: Offset) {
        let mut told = self.end.subscribe();
        // The sender is ours, so this ends only by what is waited for.
        let _ = told.wait_for(|end| *end > offset.0).await;
    }

    /// The end that those who wait were told.
    #[cfg(test)]
    pub(super) fn told(&self) -> u64 {
        *self.end.borrow()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Cause, DeviceId, EventTime, Match};
    use crate::runtime::EventKey;
    use crate::store::faulty::FaultyDisk;
    use crate::store::{LogOptions, SegmentedLog};

    /// The match whose device is `device`, which the tests set to its offset. Five in a row share
    /// a head.
    fn nth(device: u64) -> Match {
        Match {
            alert: AlertNo(device as u32 / 20),
            version: 1,
            cause: Cause::Enter,
            part: 0,
            stage: 0,
            radius_km: 1.0,
            device: DeviceId(device),
            at: EventTime(device as i64 / 5),
        }
    }

    fn many(devices: std::ops::Range<u64>) -> Output {
        let mut out = Output::default();
        out.extend(devices.map(|device| (EventKey::ping(EventTime(0), 0), nth(device))));
        out
    }

    fn small(bytes: usize, chunk: usize, at_once: usize) -> MatchLog {
        MatchLog::with_bounds(Bounds { bytes, chunk, at_once })
    }

    /// Reads to the end, and looks whether every chunk says of itself what it holds.
    fn read(log: &MatchLog, from: u64) -> Result<Vec<u64>, OffsetGone> {
        let (mut out, mut next) = (Vec::new(), Offset(from));
        while let Some(chunk) = log.read(next).map_err(|why| match why {
            ReadError::Gone(gone) => gone,
            why => panic!("{why}"),
        })? {
            let matches = chunk.matches().unwrap();
            assert!(chunk.next > next, "a chunk holds something");
            assert_eq!((chunk.first, chunk.next), (next, matches.next()));
            assert_eq!(chunk.next.0, chunk.first.0 + matches.len() as u64);
            assert!(
                matches.iter().all(|(offset, found)| found == nth(offset.0)),
                "an offset names another match"
            );
            let mut versions: Vec<_> =
                matches.iter().map(|(_, found)| (found.alert, found.version)).collect();
            versions.dedup();
            assert_eq!(*chunk.versions, *versions);
            out.extend(matches.iter().map(|(offset, _)| offset.0));
            next = chunk.next;
        }
        Ok(out)
    }

    #[test]
    fn a_full_log_drops_its_oldest_chunk_and_says_so() {
        // A chunk of four costs 256 and 8 for its version, 8 + 24 + 32 or 64 + 32 for its frame.
        let log = small(800, 4, 4);
        assert_eq!((log.earliest(), log.end()), (Offset(0), Offset(0)));
        assert_eq!(read(&log, 0), Ok(vec![]));
        log.append(&many(0..8));
        assert_eq!((log.earliest(), log.end()), (Offset(0), Offset(8)));
        assert_eq!(read(&log, 2), Ok((2..8).collect()));
        log.append(&many(8..12));
        assert_eq!((log.earliest(), log.end()), (Offset(4), Offset(12)));
        assert_eq!(
            read(&log, 3).unwrap_err().to_string(),
            "offset 3 is not in the match log, which holds 4 up to 12: subscribe from earliest, latest or an offset between"
        );
        assert!(read(&log, 13).is_err());
        assert_eq!(read(&log, 12), Ok(vec![]));
        assert!(read(&log, u64::MAX).is_err());
        log.append(&many(12..100));
        assert_eq!((log.earliest(), log.end()), (Offset(92), Offset(100)));
    }

    #[test]
    fn the_smallest_log_still_holds_a_chunk_and_what_is_open() {
        let log = MatchLog::new(1);
        let chunk = MATCH_CHUNK as u64;
        log.append(&many(0..chunk));
        log.append(&many(chunk..chunk + 10));
        assert_eq!(read(&log, 0).map(|all| all.len() as u64), Ok(chunk + 10));
    }

    #[test]
    fn a_whole_chunk_is_shared_and_not_copied() {
        let log = small(1 << 20, 100, 10);
        log.append(&many(0..3));
        log.append(&many(3..53));
        let [a, b] = [log.read(Offset(3)).unwrap().unwrap(), log.read(Offset(3)).unwrap().unwrap()];
        assert_eq!((a.first, a.next), (Offset(3), Offset(53)));
        assert_eq!(a.frame.as_ptr(), b.frame.as_ptr());
    }

    proptest! {
        #[test]
        fn it_reads_as_the_tail_of_one_long_list(
            chunk in 1usize..7,
            at_once in 1usize..7,
            bytes in 500usize..3_000,
            sizes in prop::collection::vec(0u64..20, 0..12),
            reads in prop::collection::vec(0u64..200, 20),
        ) {
            let log = small(bytes, chunk, at_once.min(chunk));
            let mut end = 0;
            for size in sizes {
                log.append(&many(end..end + size));
                end += size;
                prop_assert_eq!(log.end(), Offset(end));
                let earliest = log.earliest().0;
                let held = log.lock();
                // Never over its bound, and never more than the dearest chunk below it without
                // need.
                prop_assert_eq!(held.bytes, held.sealed.iter().map(Chunk::cost).sum::<usize>());
                prop_assert!(held.bytes <= bytes && held.open.len() <= chunk);
                prop_assert!(earliest == 0 || held.bytes + 256 + 32 + 3 * 40 + 6 * 8 > bytes);
                drop(held);
                for &from in &reads {
                    let got = read(&log, from);
                    if from < earliest || from > end {
                        prop_assert_eq!(
                            got,
                            Err(OffsetGone { wanted: Offset(from), earliest: Offset(earliest), end: Offset(end) })
                        );
                    } else {
                        prop_assert_eq!(got, Ok((from..end).collect()));
                    }
                }
            }
        }
    }

    /// Keeps what was appended as the thread of `keeper` does; shows what is visible.
    fn keep_some(log: &MatchLog, stored: &mut SegmentedLog) {
        while let Some(chunk) = log.unkept(Offset(stored.next())) {
            if !stored.fits(chunk.frame.len()) {
                stored.sync().unwrap();
            }
            stored.append(1, chunk.first.0, chunk.next.0, &[&chunk.frame]).unwrap();
        }
        stored.seal().unwrap();
        log.show(Offset(stored.visible()));
    }

    #[test]
    fn a_kept_log_shows_what_is_kept_and_reads_the_rest_from_the_disk() {
        let disk = FaultyDisk::new(1);
        let open = |id| {
            let options = LogOptions { id, ..LogOptions::default() };
            SegmentedLog::open(Arc::new(disk.clone()), "matches", options).unwrap().0
        };
        let mut stored = open(3);
        let log = small(800, 4, 4);
        log.start_at(Offset(stored.next()));
        log.keep(stored.reader(), Box::new(|| ()));
        log.append(&many(0..3));
        // Appended, and not kept: there is nothing for a reader.
        assert_eq!((log.end(), log.appended()), (Offset(0), Offset(3)));
        assert_eq!(read(&log, 0), Ok(vec![]));
        assert!(read(&log, 1).is_err());
        keep_some(&log, &mut stored);
        // A reader is shown no further than what is kept, though the chunk has gone on.
        log.append(&many(3..4));
        assert_eq!(read(&log, 1), Ok(vec![1, 2]));
        for from in 1..40 {
            log.append(&many(from * 4..from * 4 + 4));
            keep_some(&log, &mut stored);
        }
        assert!(log.lock().earliest > Offset(100), "memory has given most of it up");
        for from in 0..160 {
            assert_eq!(read(&log, from), Ok((from..160).collect()), "from {from}");
        }
        // Another process: all of it is on the disk.
        drop(stored);
        let stored = open(4);
        let log = small(800, 4, 4);
        log.start_at(Offset(stored.next()));
        log.keep(stored.reader(), Box::new(|| ()));
        assert_eq!((log.earliest(), log.end()), (Offset(0), Offset(160)));
        assert_eq!(read(&log, 7), Ok((7..160).collect()));
    }

    #[test]
    fn a_waiter_wakes_for_its_offset_and_not_before() {
        let log = small(10_000, 4, 4);
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = pin!(log.wait_beyond(Offset(2)));
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Pending);
        log.append(&many(0..2));
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Pending);
        log.append(&many(2..3));
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(pin!(log.wait_beyond(Offset(2))).poll(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn readers_that_wait_see_every_match_of_several_writers_once() {
        const WRITERS: u64 = 4;
        const EACH: u64 = 5_000;
        let log = small(64 << 20, 64, 40);
        let read_all = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut out: Vec<(Offset, Match)> = Vec::new();
                while out.len() < (WRITERS * EACH) as usize {
                    let next = Offset(out.len() as u64);
                    log.wait_beyond(next).await;
                    out.extend(log.read(next).unwrap().unwrap().matches().unwrap().iter());
                }
                out
            })
        };
        let seen: Vec<Vec<(Offset, Match)>> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(read_all)).collect();
            for writer in 0..WRITERS {
                let log = &log;
                scope.spawn(move || {
                    let (mut next, end) = (writer * EACH, (writer + 1) * EACH);
                    // Small and large appends by turns.
                    for size in [1, 37, 150].into_iter().cycle() {
                        let until = end.min(next + size);
                        log.append(&many(next..until));
                        next = until;
                        if next == end {
                            break;
                        }
                    }
                });
            }
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0].iter().zip(0..).all(|((offset, _), n)| *offset == Offset(n)));
        assert!(seen[0].iter().all(|(_, found)| *found == nth(found.device.0)));
        let mut devices: Vec<u64> = seen[0].iter().map(|(_, held)| held.device.0).collect();
        // Each writer's own matches stand in its order.
        for writer in 0..WRITERS {
            assert!(devices.iter().filter(|d| *d / EACH == writer).is_sorted());
        }
        devices.sort_unstable();
        assert!(devices.into_iter().eq(0..WRITERS * EACH));
    }
}
