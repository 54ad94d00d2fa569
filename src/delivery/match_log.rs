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
