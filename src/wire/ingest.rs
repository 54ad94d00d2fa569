//! Pings and what becomes of them.

use bincode::{Decode, Encode};
use bytes::Bytes;
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ping_columns::{self, ColumnsHead};
use super::{Encoding, FrameError, Header, Kind};
use crate::domain::{DeviceId, EventTime, PingCounts, PingReject, PingRow, partition_of};
use crate::limits::{BATCH_HEAD_BYTES, PING_BATCH_PINGS_MAX};

/// What stands before the rows or columns of a ping batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHead {
    /// The batch's number.
    pub number: U64,
    /// The time that rows count from, Unix ms.
    pub base_ms: I64,
    /// How many rows follow.
    pub count: U32,
    /// The partition that all devices belong to; 0 where they are not split.
    pub partition: U16,
    /// How many partitions they are split over; 0 where they are not.
    pub partitions: U16,
}

const _: () = assert!(size_of::<BatchHead>() == BATCH_HEAD_BYTES);

/// The partition that a whole batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its number, below `of`.
    pub partition: u16,
    /// How many there are.
    pub of: u16,
}

impl Target {
    /// Whether a device belongs to it.
    #[inline]
    pub fn owns(self, device: DeviceId) -> bool {
        partition_of(device, u32::from(self.of)) == u32::from(self.partition)
    }
}

/// A ping batch as it came, checked; shares the frame's bytes.
#[derive(Clone, Debug)]
pub struct PingBatch {
    number: u64,
    base: EventTime,
    count: usize,
    target: Option<Target>,
    encoding: Encoding,
    content: Bytes,
}

impl PingBatch {
    /// Reads a frame's content, without looking at a ping.
    ///
    /// # Errors
    /// Where its head, its count or its length is not to be taken.
    pub fn read(encoding: Encoding, content: &Bytes) -> Result<Self, FrameError> {
        Self::check(encoding, content).map_err(|why| FrameError::Malformed { kind: Kind::PingBatch, why })
    }

    fn check(encoding: Encoding, content: &Bytes) -> Result<Self, String> {
        let (head, rest) = BatchHead::ref_from_prefix(content)
            .map_err(|_| format!("{} bytes do not hold its head of {BATCH_HEAD_BYTES}", content.len()))?;
        let count = head.count.get() as usize;
        if count == 0 || count > PING_BATCH_PINGS_MAX {
            return Err(format!("{count} rows, use 1 to {PING_BATCH_PINGS_MAX}"));
        }
        let target = match (head.partition.get(), head.partitions.get()) {
            (0, 0) => None,
            (partition, of) if partition < of => Some(Target { partition, of }),
            (partition, of) => {
                return Err(format!("it is for partition {partition} of {of}, counted from 0"));
            }
        };
        if encoding == Encoding::Columns {
            let (columns_head, columns) = ColumnsHead::ref_from_prefix(rest)
                .map_err(|_| format!("{} bytes do not hold the head of its columns", rest.len()))?;
            columns_head.check(count, columns)?;
        } else if rest.len() != count * PingRow::BYTES {
            return Err(format!("{count} rows of {} bytes in {} bytes", PingRow::BYTES, rest.len()));
        }
        let (number, base) = (head.number.get(), EventTime(head.base_ms.get()));
        Ok(Self { number, base, count, target, encoding, content: content.clone() })
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The time that its rows count from.
    pub fn base(&self) -> EventTime {
        self.base
    }

    /// How many pings, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// How its rows are written.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Its bytes, as they came.
    pub(crate) fn content(&self) -> &Bytes {
        &self.content
    }

    /// The partition that it is for, where its sender has split.
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// Its rows in the order in which they are applied, in place or decoded into `buffer`.
    pub fn rows<'a>(&'a self, buffer: &'a mut Vec<PingRow>) -> &'a [PingRow] {
        if let Some(rows) = self.in_place() {
            return rows;
        }
        buffer.clear();
        self.decode(None, buffer);
        buffer
    }

    /// The rows whose devices belong to the batch's target, in place or in `buffer`, and how many
    /// do not.
    pub fn own_rows<'a>(&'a self, buffer: &'a mut Vec<PingRow>) -> (&'a [PingRow], usize) {
        let Some(target) = self.target else { return (self.rows(buffer), 0) };
        let own = |row: &PingRow| target.owns(DeviceId(row.device.get()));
        buffer.clear();
        if let Some(rows) = self.in_place() {
            if rows.iter().all(own) {
                return (rows, 0);
            }
            buffer.extend_from_slice(rows);
        } else if self.decode(Some(target), buffer) == 0 {
            return (buffer, 0);
        }
        buffer.retain(own);
        let strangers = self.count - buffer.len();
        (buffer, strangers)
    }

    fn in_place(&self) -> Option<&[PingRow]> {
        let rows = self.content.get(BATCH_HEAD_BYTES..).filter(|_| self.encoding == Encoding::Rows)?;
        <[PingRow]>::ref_from_bytes(rows).ok()
    }

    fn decode(&self, target: Option<Target>, out: &mut Vec<PingRow>) -> usize {
        let columns = self.content.get(BATCH_HEAD_BYTES..).unwrap_or_default();
        let Ok((head, columns)) = ColumnsHead::ref_from_prefix(columns) else { return 0 };
        head.rows_into(self.count, columns, target, out)
    }
}

/// Writes the whole frame of a batch into `out`, in place of what it held.
///
/// # Errors
/// Where `rows` is empty or has more than [`PING_BATCH_PINGS_MAX`].
pub fn ping_frame(
    encoding: Encoding,
    number: u64,
    base: EventTime,
    target: Option<Target>,
    rows: &[PingRow],
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    if rows.is_empty() || rows.len() > PING_BATCH_PINGS_MAX {
        let why = format!("{} rows, use 1 to {PING_BATCH_PINGS_MAX}", rows.len());
        return Err(FrameError::Malformed { kind: Kind::PingBatch, why });
    }
    let Target { partition, of } = target.unwrap_or(Target { partition: 0, of: 0 });
    let head = BatchHead {
        number: U64::new(number),
        base_ms: I64::new(base.0),
        count: U32::new(rows.len() as u32),
        partition: U16::new(partition),
        partitions: U16::new(of),
    };
    out.clear();
    out.reserve(Header::BYTES + size_of::<BatchHead>() + size_of_val(rows));
    out.extend_from_slice(&[0; Header::BYTES]);
    out.extend_from_slice(head.as_bytes());
    if encoding == Encoding::Columns {
        ping_columns::write(rows, out);
    } else {
        out.extend_from_slice(rows.as_bytes());
    }
    let length = out.len() - Header::BYTES;
    let header = Header { kind: Kind::PingBatch, encoding, length }.to_bytes();
    out[..Header::BYTES].copy_from_slice(&header);
    Ok(())
}

/// Writes the whole frame of a batch of rows for all partitions into `out`, in place of what it
/// held.
///
/// # Errors
/// As [`ping_frame`].
pub fn batch_frame(
    number: u64,
    base: EventTime,
    rows: &[PingRow],
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    ping_frame(Encoding::Rows, number, base, None, rows, out)
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
