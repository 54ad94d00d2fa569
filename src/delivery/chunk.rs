//! Consecutive matches as the log holds them, in memory and on the disk: ready bytes of a frame.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{AlertNo, Offset};
use crate::limits::MATCH_CHUNK_COST;
use crate::store::{LogReader, StoreError};
use crate::wire::{ColumnsBuilder, Header, MatchColumns};

/// Consecutive matches, as a frame that is ready to be sent. Cheap to clone.
#[derive(Clone)]
pub struct Chunk {
    /// The offset of the first.
    pub first: Offset,
    /// The offset after the last.
    pub next: Offset,
    /// Alert and version of its matches; one may stand several times, but not twice in a row.
    pub versions: Arc<[(AlertNo, u32)]>,
    /// The whole frame: a match batch by columns.
    pub frame: Bytes,
}

impl Chunk {
    /// Its matches.
    pub fn matches(&self) -> Option<MatchColumns> {
        MatchColumns::read(&self.frame.slice(Header::BYTES..)).ok()
    }

    pub(super) fn of(builder: &ColumnsBuilder) -> Self {
        let (first, next) = (builder.first(), Offset(builder.first().0 + builder.len() as u64));
        Self { first, next, versions: builder.versions().into(), frame: builder.frame(next).into() }
    }

    /// Some of its matches.
    pub(super) fn part(&self, from: Offset, below: Offset) -> Self {
        let mut part = ColumnsBuilder::default();
        if let Some(matches) = self.matches() {
            for (first, head, devices) in matches.runs() {
                let skip = from.0.saturating_sub(first.0);
                let take = below.0.saturating_sub(first.0.max(from.0)) as usize;
                if skip < devices.len() as u64 && take > 0 {
                    part.push_run(Offset(first.0 + skip), &head, devices.skip(skip as usize).take(take));
                }
            }
        }
        Self::of(&part)
    }

    pub(super) fn cost(&self) -> usize {
        MATCH_CHUNK_COST + self.frame.len() + 8 * self.versions.len()
    }
}

/// Where a log is kept.
pub(super) struct Kept {
    reader: LogReader,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Kept {
    pub(super) fn new(reader: LogReader, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { reader, wake }
    }

    /// There is something to keep.
    pub(super) fn wake(&self) {
        (self.wake)();
    }

    /// The oldest offset.
    pub(super) fn first(&self) -> Offset {
        Offset(self.reader.first())
    }

    /// Reads what is there.
    pub(super) fn reader(&self) -> &LogReader {
        &self.reader
    }
}

/// The matches of a record from `from` on; `None` where they are not kept any more. Waits for the disk.
pub(super) fn on_disk(reader: &LogReader, from: Offset) -> Result<Option<Chunk>, String> {
    let records = match reader.read(from.0, 1) {
        Ok(records) => records,
        Err(StoreError::Trimmed { .. }) => return Ok(None),
        Err(why) => return Err(why.to_string()),
    };
    let Some(record) = records.into_iter().next() else { return Ok(None) };
    let body = record.payload.slice(Header::BYTES.min(record.payload.len())..);
    let matches = MatchColumns::read(&body).map_err(|why| why.to_string())?;
    let mut versions: Vec<_> = matches.runs().map(|(_, head, _)| (head.alert, head.version)).collect();
    versions.dedup();
    let (first, next) = (Offset(record.first), Offset(record.next));
    let chunk = Chunk { first, next, versions: versions.into(), frame: record.payload };
    Ok(Some(if first == from { chunk } else { chunk.part(from, next) }))
}
