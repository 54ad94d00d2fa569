//! Reading what a log shows, from any thread, while it is written.
//!
//! A reader knows where each segment lies and, every 32 KiB or so, at which byte which number begins. It holds the
//! log's lock only to look that up; the bytes are read and checked without it. A segment that retention removes
//! meanwhile stays readable to who has it open.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::frame::{Mark, SECTOR, Step, Walk};
use super::planted::{Plant, on};
use super::{DiskFile, StoreError};
use crate::limits::{LOG_READ_BYTES_MAX, LOG_READ_BYTES_MIN};

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBytes {
    /// What it is, as its writer numbers kinds (1 to 255).
    pub kind: u8,
    /// The first number that it covers.
    pub first: u64,
    /// The number after the last that it covers.
    pub next: u64,
    /// Its bytes; records of one read share one buffer.
    pub payload: Bytes,
}

/// A segment that can be read.
pub(super) struct Segment {
    pub(super) number: u64,
    /// The number of its first record.
    pub(super) first: u64,
    /// Where its last group ends; of the newest one, where it may grow to.
    pub(super) end: u64,
    /// Its length, bytes.
    pub(super) size: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Record numbers and the offsets at which they begin, ascending.
    pub(super) index: Vec<(u64, u64)>,
}

/// What writer and readers share.
pub(super) struct ReadState {
    /// Oldest first, never empty.
    pub(super) segments: Vec<Segment>,
    pub(super) visible: Mark,
}

pub(super) struct Shared {
    pub(super) folder: String,
    pub(super) id: u64,
    pub(super) state: RwLock<ReadState>,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, ReadState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, ReadState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a log. Cheap to clone.
#[derive(Clone)]
pub struct LogReader(pub(super) Arc<Shared>);

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("folder", &self.0.folder).field("visible", &self.visible()).finish()
    }
}

impl LogReader {
    /// The number below which everything is shown.
    pub fn visible(&self) -> u64 {
        self.0.read().visible.number
    }

    /// The oldest number that is there.
    pub fn first(&self) -> u64 {
        self.0.read().segments.first().map_or(0, |segment| segment.first)
    }

    /// The records from the one that covers `from` on: at least one if it is visible, then as many as lie in the
    /// same segment and have at most `bytes_max` bytes together. Empty where `from` is not visible (yet).
    ///
    /// # Errors
    /// `Trimmed` where `from` was removed; `Damaged` where the record cannot be read as it was written; `Io`.
    pub fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<RecordBytes>, StoreError> {
        let (file, segment, mut number, mut at, limit) = {
            let state = self.0.read();
            if from >= state.visible.number {
                return Ok(Vec::new());
            }
            let after = state.segments.partition_point(|segment| segment.first <= from);
            let Some(segment) = after.checked_sub(1).and_then(|last| state.segments.get(last)) else {
                let first = state.segments.first().map_or(0, |segment| segment.first);
                return Err(StoreError::Trimmed { folder: self.0.folder.clone(), from, first });
            };
            let known = segment.index.partition_point(|(number, _)| *number <= from);
            let known = known.checked_sub(1).and_then(|last| segment.index.get(last));
            let (number, at) = known.copied().unwrap_or((segment.first, SECTOR as u64));
            let visible = state.visible.position;
            let limit = if segment.number == visible.segment { visible.offset } else { segment.end };
            (Arc::clone(&segment.file), segment.number, number, at, limit)
        };
        let mut chunk = bytes_max.clamp(LOG_READ_BYTES_MIN, LOG_READ_BYTES_MAX);
        let mut at_group = false;
        loop {
            let mut bytes = vec![0; (limit - at).min(chunk as u64) as usize];
            let read = file.read_at(at, &mut bytes)?;
            if read < bytes.len() {
                return Err(StoreError::damaged(file.name(), at + read as u64, "the file ends too early"));
            }
            let check = !on(Plant::NoCheckOnRead);
            let id = self.0.id;
            let mut walk = Walk { bytes: &bytes, base: at, at, limit, id, segment, number, at_group, check };
            let mut found: Vec<(u8, u64, u64, Range<usize>)> = Vec::new();
            let mut total = 0;
            let stop = loop {
                match walk.step() {
                    Step::Seal { .. } => {}
                    Step::Record { offset, head, payload } => {
                        if head.next <= from {
                            continue;
                        }
                        if !found.is_empty() && total + payload.len() > bytes_max {
                            break Step::End;
                        }
                        total += payload.len();
                        let start = (offset - at) as usize + super::frame::HEAD;
                        found.push((head.kind, head.first, head.next, start..start + payload.len()));
                    }
                    stop => break stop,
                }
            };
            if !found.is_empty() {
                let bytes = Bytes::from(bytes);
                let record = |(kind, first, next, range): (u8, u64, u64, Range<usize>)| {
                    let payload = bytes.slice(range);
                    RecordBytes { kind, first, next, payload }
                };
                return Ok(found.into_iter().map(record).collect());
            }
            match stop {
                Step::Short { offset, bytes } if offset + bytes as u64 <= limit => {
                    (at, number, at_group) = (offset, walk.number, walk.at_group);
                    chunk = chunk.max(bytes);
                }
                Step::Unreadable { offset, why } => {
                    return Err(StoreError::damaged(file.name(), offset, why));
                }
                _ => {
                    let why = format!("the segment ends before record {from}, which was shown");
                    return Err(StoreError::damaged(file.name(), walk.at, why));
                }
            }
        }
    }
}
