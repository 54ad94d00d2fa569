//! A namespace's matches in order, in memory, with offsets from 0.
//!
//! Matches lie in chunks; full ones are shared with readers and never change. When the log is
//! full its oldest chunk goes, whole.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::{Match, Offset};
use crate::limits::MATCH_CHUNK;

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

/// The match log of one namespace. See the module head.
pub struct MatchLog {
    held: Mutex<Held>,
    /// The offset that the next match will get, for those who wait.
    end: watch::Sender<u64>,
    chunk: usize,
    /// Most full chunks held beside the open one.
    full_max: usize,
}

struct Held {
    /// Full chunks, the oldest first.
    full: VecDeque<Arc<Vec<Match>>>,
    /// The newest matches, fewer than a chunk.
    open: Vec<Match>,
    /// The offset of the oldest match held: a multiple of the chunk.
    earliest: u64,
}

impl MatchLog {
    /// An empty log that holds at most `matches_max` matches, and at least one chunk.
    pub fn new(matches_max: usize) -> Self {
        Self::with_chunk(matches_max, MATCH_CHUNK)
    }

    fn with_chunk(matches_max: usize, chunk: usize) -> Self {
        let held = Held { full: VecDeque::new(), open: Vec::new(), earliest: 0 };
        // The open chunk counts as a whole one.
        let full_max = (matches_max / chunk).saturating_sub(1);
        Self { held: Mutex::new(held), end: watch::Sender::new(0), chunk, full_max }
    }

    /// Appends matches; the oldest chunks go where the log is full.
    pub fn append(&self, matches: &[Match]) {
        let mut rest = matches;
        let mut held = self.lock();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.chunk - held.open.len()));
            held.open.extend_from_slice(now);
            rest = later;
            if held.open.len() == self.chunk {
                let full = std::mem::replace(&mut held.open, Vec::with_capacity(self.chunk));
                held.full.push_back(Arc::new(full));
                if held.full.len() > self.full_max {
                    held.full.pop_front();
                    held.earliest += self.chunk as u64;
                }
            }
        }
        let end = self.end_of(&held);
        drop(held);
        // Another thread may have appended and told a later end meanwhile.
        self.end.send_if_modified(|told| {
            let grew = end > *told;
            *told = end.max(*told);
            grew
        });
    }

    /// The oldest offset held; equal to `end` where nothing is.
    pub fn earliest(&self) -> Offset {
        Offset(self.lock().earliest)
    }

    /// The offset that the next match will get.
    pub fn end(&self) -> Offset {
        Offset(self.end_of(&self.lock()))
    }

    /// Adds to `out` the matches from `from` on, at most `max`. Adds nothing where `from` is the
    /// end.
    pub fn read(&self, from: Offset, max: usize, out: &mut Vec<(Offset, Match)>) -> Result<(), OffsetGone> {
        let held = self.lock();
        let (earliest, end) = (held.earliest, self.end_of(&held));
        if from.0 < earliest || from.0 > end {
            return Err(OffsetGone { wanted: from, earliest: Offset(earliest), end: Offset(end) });
        }
        let until = from.0.saturating_add(max as u64).min(end);
        let chunk = self.chunk as u64;
        let open_from = end - held.open.len() as u64;
        let nth = |offset: u64| ((offset - earliest) / chunk) as usize;
        let shared: Vec<_> = if from.0 < open_from {
            let last = nth(until.min(open_from).max(from.0 + 1) - 1);
            held.full.range(nth(from.0)..=last).map(Arc::clone).collect()
        } else {
            Vec::new()
        };
        let open: Vec<Match> = if until > open_from {
            held.open[(from.0.max(open_from) - open_from) as usize..(until - open_from) as usize].to_vec()
        } else {
            Vec::new()
        };
        drop(held);
        let skip = if shared.is_empty() { 0 } else { ((from.0 - earliest) % chunk) as usize };
        let matches = shared.iter().flat_map(|chunk| chunk.iter()).skip(skip).chain(&open);
        out.extend((from.0..until).map(Offset).zip(matches.copied()));
        Ok(())
    }

    /// Waits until there is a match at `offset` or later. Loses no wake-up, and may be dropped
    /// at any time.
    pub async fn wait_beyond(&self, offset: Offset) {
        let mut told = self.end.subscribe();
        // The sender is ours, so this ends only by what is waited for.
        let _ = told.wait_for(|end| *end > offset.0).await;
    }

    fn end_of(&self, held: &Held) -> u64 {
        held.earliest + (held.full.len() * self.chunk + held.open.len()) as u64
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
    use crate::domain::{AlertNo, Cause, DeviceId, EventTime};

    /// The match whose device is `device`, which the tests set to its offset.
    fn nth(device: u64) -> Match {
        Match {
            alert: AlertNo(0),
            version: 1,
            cause: Cause::Enter,
            part: 0,
            stage: 0,
            radius_km: 1.0,
            device: DeviceId(device),
            at: EventTime(0),
        }
    }

    fn many(devices: std::ops::Range<u64>) -> Vec<Match> {
        devices.map(nth).collect()
    }

    fn read(log: &MatchLog, from: u64, max: usize) -> Result<Vec<u64>, OffsetGone> {
        let mut out = Vec::new();
        log.read(Offset(from), max, &mut out)?;
        assert!(out.iter().all(|(offset, held)| offset.0 == held.device.0), "an offset names another match");
        Ok(out.iter().map(|(offset, _)| offset.0).collect())
    }

    #[test]
    fn a_full_log_drops_its_oldest_chunk_and_says_so() {
        let log = MatchLog::with_chunk(12, 4);
        assert_eq!((log.earliest(), log.end()), (Offset(0), Offset(0)));
        assert_eq!(read(&log, 0, 9), Ok(vec![]));
        log.append(&many(0..11));
        assert_eq!((log.earliest(), log.end()), (Offset(0), Offset(11)));
        assert_eq!(read(&log, 2, 7), Ok((2..9).collect()));
        log.append(&many(11..12));
        assert_eq!((log.earliest(), log.end()), (Offset(4), Offset(12)));
        assert_eq!(
            read(&log, 3, 1).unwrap_err().to_string(),
            "offset 3 is not in the match log, which holds 4 up to 12: subscribe from earliest, latest or an offset between"
        );
        assert!(read(&log, 13, 1).is_err());
        assert_eq!(read(&log, 12, 1), Ok(vec![]));
        assert_eq!(read(&log, 4, 0), Ok(vec![]));
        assert_eq!(read(&log, 4, usize::MAX), Ok((4..12).collect()));
        assert!(read(&log, u64::MAX, usize::MAX).is_err());
        log.append(&many(12..100));
        assert_eq!((log.earliest(), log.end()), (Offset(92), Offset(100)));
    }

    #[test]
    fn the_smallest_log_still_holds_what_is_open() {
        let log = MatchLog::new(1);
        log.append(&many(0..10));
        assert_eq!(read(&log, 0, 100), Ok((0..10).collect()));
    }

    proptest! {
        #[test]
        fn it_reads_as_the_tail_of_one_long_list(
            chunk in 1usize..7,
            chunks in 1usize..5,
            sizes in prop::collection::vec(0u64..20, 0..12),
            reads in prop::collection::vec((0u64..200, 0usize..40), 20),
        ) {
            let log = MatchLog::with_chunk(chunk * chunks, chunk);
            let mut end = 0;
            for size in sizes {
                log.append(&many(end..end + size));
                end += size;
                prop_assert_eq!(log.end(), Offset(end));
                let earliest = log.earliest().0;
                // Never over its bound, and never more than a chunk below it without need.
                prop_assert!(end - earliest <= (chunk * chunks) as u64);
                prop_assert!(earliest == 0 || end - earliest >= (chunk * (chunks - 1)) as u64);
                for &(from, max) in &reads {
                    let got = read(&log, from, max);
                    if from < earliest || from > end {
                        prop_assert_eq!(
                            got,
                            Err(OffsetGone { wanted: Offset(from), earliest: Offset(earliest), end: Offset(end) })
                        );
                    } else {
                        prop_assert_eq!(got, Ok((from..end).take(max).collect()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_waiter_wakes_for_its_offset_and_not_before() {
        let log = MatchLog::with_chunk(100, 4);
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
        let log = MatchLog::with_chunk(1 << 20, 64);
        let read_all = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut out = Vec::new();
                while out.len() < (WRITERS * EACH) as usize {
                    let next = Offset(out.len() as u64);
                    log.wait_beyond(next).await;
                    log.read(next, 100, &mut out).unwrap();
                }
                out
            })
        };
        let seen: Vec<Vec<(Offset, Match)>> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(read_all)).collect();
            for writer in 0..WRITERS {
                let log = &log;
                scope.spawn(move || {
                    let all = many(writer * EACH..(writer + 1) * EACH);
                    all.chunks(37).for_each(|some| log.append(some));
                });
            }
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0].iter().zip(0..).all(|((offset, _), n)| *offset == Offset(n)));
        let mut devices: Vec<u64> = seen[0].iter().map(|(_, held)| held.device.0).collect();
        // Each writer's own matches stand in its order.
        for writer in 0..WRITERS {
            assert!(devices.iter().filter(|d| *d / EACH == writer).is_sorted());
        }
        devices.sort_unstable();
        assert!(devices.into_iter().eq(0..WRITERS * EACH));
    }
}
