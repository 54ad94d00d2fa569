//! Matches by columns: what matches have in common stands once before all their devices, which
//! are a column of their own. An alert that reaches a million devices is eight bytes a match.
//!
//! Offsets go up by one from match to match; a run of cause [`WITHHELD`] stands for offsets that
//! are not shown, and has no devices. Invariant: what is read was checked whole, so that a run's
//! devices are always there.

use bytes::Bytes;
use zerocopy::byteorder::little_endian::{F64, I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Encoding, FrameError, Header, Kind};
use crate::domain::{AlertNo, Cause, DeviceId, EventTime, Match, MatchHead, Offset};
use crate::limits::{MATCH_CHUNK, MATCH_RUN_BYTES};

/// The cause of a run of offsets that are not shown to this subscriber.
pub const WITHHELD: u8 = 255;

/// What stands before the runs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ColumnsHead {
    /// The offset to ask for next: past the last match, and past those that are not shown.
    next: U64,
    /// The offset of the first run's first match.
    first: U64,
    /// How many runs follow.
    runs: U32,
    /// How many devices follow them.
    devices: U32,
}

/// What the matches of a run have in common, in 32 little-endian bytes.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RunRow {
    /// The event time of what caused them, Unix ms.
    pub at_ms: I64,
    /// The stage's radius, km.
    pub radius_km: F64,
    /// The alert's number.
    pub alert: U32,
    /// The alert's version.
    pub version: U32,
    /// How many offsets, at least 1.
    pub count: U32,
    /// A [`Cause`]'s code, or [`WITHHELD`]; then all else but the count is zero.
    pub cause: u8,
    /// The part.
    pub part: u8,
    /// The part's stage.
    pub stage: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<RunRow>() == MATCH_RUN_BYTES);
const HEAD_BYTES: usize = size_of::<ColumnsHead>();

impl RunRow {
    fn new(head: &MatchHead, count: u32) -> Self {
        Self {
            at_ms: I64::new(head.at.0),
            radius_km: F64::new(head.radius_km),
            alert: U32::new(head.alert.0),
            version: U32::new(head.version),
            count: U32::new(count),
            cause: head.cause as u8,
            part: head.part,
            stage: head.stage,
            reserved: 0,
        }
    }

    fn withheld(count: u32) -> Self {
        let (zero, none) = (U32::new(0), F64::new(0.0));
        Self {
            at_ms: I64::new(0),
            radius_km: none,
            alert: zero,
            version: zero,
            count: U32::new(count),
            cause: WITHHELD,
            part: 0,
            stage: 0,
            reserved: 0,
        }
    }

    /// The head; `None` for what is withheld, and for a cause that does not exist.
    fn head(&self) -> Option<MatchHead> {
        Some(MatchHead {
            alert: AlertNo(self.alert.get()),
            version: self.version.get(),
            cause: *Cause::ALL.get(usize::from(self.cause))?,
            part: self.part,
            stage: self.stage,
            radius_km: self.radius_km.get(),
            at: EventTime(self.at_ms.get()),
        })
    }
}

/// A match batch by columns, as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchColumns {
    content: Bytes,
    next: Offset,
    first: Offset,
    runs: usize,
    devices: usize,
}

impl MatchColumns {
    /// Reads a frame's content, which it shares.
    ///
    /// # Errors
    /// Where it is not a batch within the bounds, whole and consistent.
    pub fn read(content: &Bytes) -> Result<Self, FrameError> {
        Self::check(content).map_err(|why| FrameError::Malformed { kind: Kind::MatchBatch, why })
    }

    fn check(content: &Bytes) -> Result<Self, String> {
        let (head, rest) = ColumnsHead::ref_from_prefix(content)
            .map_err(|_| format!("{} bytes do not hold its head of {HEAD_BYTES}", content.len()))?;
        let (runs, devices) = (head.runs.get() as usize, head.devices.get() as usize);
        if devices > MATCH_CHUNK || runs > MATCH_CHUNK {
            return Err(format!("{runs} runs of {devices} matches, at most {MATCH_CHUNK} are taken"));
        }
        let table = rest.get(..runs * MATCH_RUN_BYTES);
        let table = table.and_then(|table| <[RunRow]>::ref_from_bytes(table).ok());
        let column = rest.len().checked_sub(runs * MATCH_RUN_BYTES);
        let (Some(table), true) = (table, column == Some(devices * 8)) else {
            return Err(format!(
                "{runs} runs of 32 bytes and {devices} devices of 8 in {} bytes",
                rest.len()
            ));
        };
        let (mut offset, mut shown) = (head.first.get(), 0_usize);
        for run in table {
            let count = run.count.get();
            let withheld = *run == RunRow::withheld(count);
            if count == 0 || run.reserved != 0 || (run.head().is_none() && !withheld) {
                return Err("a run is empty or of an unknown cause".into());
            }
            if !withheld {
                shown += count as usize;
            }
            offset = offset.checked_add(u64::from(count)).ok_or("offsets beyond 64 bits")?;
        }
        if shown != devices || offset > head.next.get() {
            return Err(format!("{shown} matches of {devices}, up to {offset} of {}", head.next));
        }
        let (next, first) = (Offset(head.next.get()), Offset(head.first.get()));
        Ok(Self { content: content.clone(), next, first, runs, devices })
    }

    /// The offset to ask for next.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// How many matches.
    pub fn len(&self) -> usize {
        self.devices
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices == 0
    }

    fn table(&self) -> &[RunRow] {
        let table = self.content.get(HEAD_BYTES..HEAD_BYTES + self.runs * MATCH_RUN_BYTES);
        table.and_then(|table| <[RunRow]>::ref_from_bytes(table).ok()).unwrap_or_default()
    }

    fn column(&self) -> &[U64] {
        let column = self.content.get(HEAD_BYTES + self.runs * MATCH_RUN_BYTES..);
        column.and_then(|column| <[U64]>::ref_from_bytes(column).ok()).unwrap_or_default()
    }

    /// Matches that share all but their devices: the offset of the first, what they share, and
    /// the devices, whose offsets go up by one.
    pub fn runs(&self) -> impl Iterator<Item = (Offset, MatchHead, impl ExactSizeIterator<Item = DeviceId>)> {
        let (mut offset, mut rest) = (self.first, self.column());
        self.table().iter().filter_map(move |run| {
            let (first, count) = (offset, run.count.get());
            offset = Offset(offset.0.saturating_add(u64::from(count)));
            let head = run.head()?;
            let (devices, after) = rest.split_at_checked(count as usize)?;
            rest = after;
            Some((first, head, devices.iter().map(|device| DeviceId(device.get()))))
        })
    }

    /// All matches, by offset.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, Match)> {
        self.runs().flat_map(|(first, head, devices)| {
            (first.0..).map(Offset).zip(devices.map(move |device| head.of(device)))
        })
    }
}

impl std::fmt::Debug for MatchColumns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Gathers matches by columns.
#[derive(Debug, Default)]
pub struct ColumnsBuilder {
    first: Offset,
    /// The offset after the last one given.
    end: Offset,
    runs: Vec<RunRow>,
    /// Where each run's devices start in the column.
    starts: Vec<u32>,
    devices: Vec<DeviceId>,
}

impl ColumnsBuilder {
    /// Forgets all; matches from `first` on may follow.
    pub fn restart(&mut self, first: Offset) {
        (self.first, self.end) = (first, first);
        self.runs.clear();
        self.starts.clear();
        self.devices.clear();
    }

    /// Adds matches at `first` and the offsets after it. Offsets since the last ones are
    /// withheld; at the front they are none of the batch's.
    pub fn push_run(
        &mut self,
        first: Offset,
        head: &MatchHead,
        devices: impl ExactSizeIterator<Item = DeviceId>,
    ) {
        if devices.len() == 0 {
            return;
        }
        let (start, count) = (self.devices.len() as u32, devices.len() as u32);
        if self.devices.is_empty() {
            (self.first, self.end) = (first, first);
        }
        // Offsets of one log's chunk: a gap fits.
        let gap = first.0.saturating_sub(self.end.0).min(u64::from(u32::MAX)) as u32;
        if gap > 0 {
            self.starts.push(start);
            self.runs.push(RunRow::withheld(gap));
        }
        match self.runs.last_mut() {
            Some(last) if *last == RunRow::new(head, last.count.get()) => last.count += count,
            _ => {
                self.starts.push(start);
                self.runs.push(RunRow::new(head, count));
            }
        }
        self.devices.extend(devices);
        self.end = Offset(first.0 + u64::from(count));
    }

    /// How many matches it holds.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The offset of the first match.
    pub fn first(&self) -> Offset {
        self.first
    }

    /// Bytes of the frame's content.
    pub fn bytes(&self) -> usize {
        HEAD_BYTES + self.runs.len() * MATCH_RUN_BYTES + self.devices.len() * 8
    }

    /// Alert and version of every run, without those that stand twice in a row.
    pub fn versions(&self) -> Vec<(AlertNo, u32)> {
        let heads = self.runs.iter().filter_map(RunRow::head);
        let mut versions: Vec<_> = heads.map(|head| (head.alert, head.version)).collect();
        versions.dedup();
        versions
    }

    /// Copies the matches from `from` on, an offset among them, into `into`, where nothing is
    /// withheld.
    pub fn tail_into(&self, from: Offset, into: &mut Self) {
        into.restart(from);
        let skip = from.0.saturating_sub(self.first.0).min(self.devices.len() as u64) as usize;
        let run = self.starts.partition_point(|start| *start as usize <= skip).saturating_sub(1);
        let ends = self.starts.iter().skip(run + 1).map(|start| *start as usize);
        let mut start = skip;
        for (run, end) in self.runs.iter().skip(run).zip(ends.chain([self.devices.len()])) {
            if let Some(head) = run.head() {
                into.push_run(into.end, &head, self.devices[start..end].iter().copied());
            }
            start = end;
        }
    }

    /// The whole frame: `next` is the offset to ask for next.
    pub fn frame(&self, next: Offset) -> Vec<u8> {
        let length = self.bytes();
        let header = Header { kind: Kind::MatchBatch, encoding: Encoding::Columns, length };
        let head = ColumnsHead {
            next: U64::new(next.0),
            first: U64::new(self.first.0),
            runs: U32::new(self.runs.len() as u32),
            devices: U32::new(self.devices.len() as u32),
        };
        let mut frame = Vec::with_capacity(Header::BYTES + length);
        frame.extend_from_slice(&header.to_bytes());
        frame.extend_from_slice(head.as_bytes());
        frame.extend_from_slice(self.runs.as_bytes());
        if cfg!(target_endian = "little") {
            frame.extend_from_slice(self.devices.as_bytes());
        } else {
            self.devices.iter().for_each(|device| frame.extend_from_slice(&device.0.to_le_bytes()));
        }
        frame
    }

    /// Moves a frame that was made at offset 0, with nothing withheld, to `first`.
    pub fn move_frame(frame: &mut [u8], first: Offset, next: Offset) {
        let (next, first) = (next.0.to_le_bytes(), first.0.to_le_bytes());
        if let Some(offsets) = frame.get_mut(Header::BYTES..Header::BYTES + 16) {
            offsets[..8].copy_from_slice(&next);
            offsets[8..].copy_from_slice(&first);
        }
    }
}
