//! Pings and what becomes of them.

use bincode::{Decode, Encode};
use zerocopy::byteorder::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Encoding, FrameError, Header, Kind};
use crate::domain::{EventTime, PingCounts, PingReject, PingRow};
use crate::limits::PING_BATCH_PINGS_MAX;

/// What stands before the rows of a ping batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHead {
    /// The batch's number.
    pub number: U64,
    /// The time that rows count from, Unix ms.
    pub base_ms: I64,
    /// How many rows follow.
    pub count: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<BatchHead>() == crate::limits::BATCH_HEAD_BYTES);

/// A ping batch read in place.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// Its number.
    pub number: u64,
    /// The time that its rows count from.
    pub base: EventTime,
    /// Its rows, in the order in which they are applied.
    pub rows: &'a [PingRow],
}

impl<'a> BatchView<'a> {
    /// Reads a frame's content.
    ///
    /// # Errors
    /// Where the count is zero or beyond the bound, or the rows are not as many bytes.
    pub fn read(content: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = |why: String| FrameError::Malformed { kind: Kind::PingBatch, why };
        let (head, rows) = BatchHead::ref_from_prefix(content)
            .map_err(|_| malformed(format!("{} bytes do not hold its head of 24", content.len())))?;
        let count = head.count.get() as usize;
        if count == 0 || count > PING_BATCH_PINGS_MAX {
            return Err(malformed(format!("{count} rows, use 1 to {PING_BATCH_PINGS_MAX}")));
        }
        if head.reserved.get() != 0 {
            return Err(malformed("bytes 20 to 23 must be zero".into()));
        }
        let rows = <[PingRow]>::ref_from_bytes_with_elems(rows, count)
            .map_err(|_| malformed(format!("{count} rows of 20 bytes in {} bytes", rows.len())))?;
        Ok(Self { number: head.number.get(), base: EventTime(head.base_ms.get()), rows })
    }
}

/// Writes the whole frame of a batch into `out`, in place of what it held.
///
/// # Errors
/// Where `rows` is empty or has more than [`PING_BATCH_PINGS_MAX`].
pub fn batch_frame(
    number: u64,
    base: EventTime,
    rows: &[PingRow],
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    if rows.is_empty() || rows.len() > PING_BATCH_PINGS_MAX {
        let why = format!("{} rows, use 1 to {PING_BATCH_PINGS_MAX}", rows.len());
        return Err(FrameError::Malformed { kind: Kind::PingBatch, why });
    }
    let head = BatchHead {
        number: U64::new(number),
        base_ms: I64::new(base.0),
        count: U32::new(rows.len() as u32),
        reserved: U32::new(0),
    };
    let length = size_of::<BatchHead>() + size_of_val(rows);
    out.clear();
    out.reserve(Header::BYTES + length);
    out.extend_from_slice(&Header { kind: Kind::PingBatch, encoding: Encoding::Rows, length }.to_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(rows.as_bytes());
    Ok(())
}

/// On the event clock: no ping before this time follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Watermark {
    /// The time, Unix ms.
    pub at_ms: i64,
    /// No ping at all follows, and the time itself has passed.
    pub last: bool,
}

/// What has become of an ingest session's batches. Cumulative: each says all again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ack {
    /// All batches of the session up to this number are applied.
    pub applied: u64,
    /// All batches of the source up to this number are safe; 0 where none are.
    pub safe: u64,
    /// Pings of the applied batches that were taken.
    pub accepted: u64,
    /// Pings of the applied batches that were older than their device's newest.
    pub stale: u64,
    /// Pings of the applied batches that were rejected, by [`PingReject`] code. Reasons may be
    /// added at the end.
    pub rejected: Vec<u64>,
}

impl Ack {
    /// An acknowledgement of these counts.
    pub fn new(applied: u64, safe: u64, counts: &PingCounts) -> Self {
        Self {
            applied,
            safe,
            accepted: counts.accepted,
            stale: counts.stale,
            rejected: counts.rejected.to_vec(),
        }
    }

    /// The counts. Reasons that this version does not know are counted as the last one it knows,
    /// so that totals stay right.
    pub fn counts(&self) -> PingCounts {
        let mut counts = PingCounts { accepted: self.accepted, stale: self.stale, ..PingCounts::default() };
        for (code, count) in self.rejected.iter().enumerate() {
            if let Some(mine) = counts.rejected.get_mut(code.min(PingReject::ALL.len() - 1)) {
                *mine = mine.saturating_add(*count);
            }
        }
        counts
    }
}
