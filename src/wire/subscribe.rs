//! Matches and the alerts that they speak of.

use bincode::{Decode, Encode};
use bytes::Bytes;
use zerocopy::byteorder::little_endian::{F64, I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ColumnsBuilder, Encoding, FrameError, Header, Kind, MatchColumns};
use crate::domain::{AlertNo, Cause, DeviceId, EventTime, Match, Offset};
use crate::limits::{MATCH_BATCH_MATCHES_MAX, MATCH_HEAD_BYTES, MATCH_ROW_BYTES};

/// An alert's content, before the first match of its version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AlertContentFrame {
    /// The alert's number on this server, as match rows name it.
    pub alert: u32,
    /// The version.
    pub version: u32,
    /// The alert's id.
    pub id: String,
    /// `actual`, `exercise` or `test`.
    pub status: String,
    /// The whole alert, JSON.
    pub json: String,
}

/// The subscriber is done with all matches below this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CursorAck {
    /// The next offset that it wants.
    pub next: u64,
}

/// A match in 48 little-endian bytes.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MatchRow {
    /// Offset in the namespace's log.
    pub offset: U64,
    /// The device's pseudonym.
    pub device: U64,
    /// The event time of what caused it, Unix ms.
    pub at_ms: I64,
    /// The stage's radius, km.
    pub radius_km: F64,
    /// The alert's number.
    pub alert: U32,
    /// The alert's version.
    pub version: U32,
    /// A [`Cause`]'s code.
    pub cause: u8,
    /// The part.
    pub part: u8,
    /// The part's stage.
    pub stage: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<MatchRow>() == MATCH_ROW_BYTES);

impl MatchRow {
    /// Writes a match.
    pub fn write(offset: Offset, found: &Match) -> Self {
        Self {
            offset: U64::new(offset.0),
            device: U64::new(found.device.0),
            at_ms: I64::new(found.at.0),
            radius_km: F64::new(found.radius_km),
            alert: U32::new(found.alert.0),
            version: U32::new(found.version),
            cause: found.cause as u8,
            part: found.part,
            stage: found.stage,
            reserved: [0; 5],
        }
    }

    /// Reads the match; `None` where the cause does not exist.
    pub fn read(&self) -> Option<(Offset, Match)> {
        let cause = *Cause::ALL.get(usize::from(self.cause))?;
        let found = Match {
            alert: AlertNo(self.alert.get()),
            version: self.version.get(),
            cause,
            part: self.part,
            stage: self.stage,
            radius_km: self.radius_km.get(),
            device: DeviceId(self.device.get()),
            at: EventTime(self.at_ms.get()),
        };
        Some((Offset(self.offset.get()), found))
    }
}

/// What stands before the rows of a match batch.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RowsHead {
    /// The offset to ask for next: past the last row, and past matches that this subscriber
    /// is not shown.
    next: U64,
    /// How many rows follow.
    count: U32,
    /// Zero.
    reserved: U32,
}

const _: () = assert!(size_of::<RowsHead>() == MATCH_HEAD_BYTES);

/// A match batch read in place.
#[derive(Clone, Copy, Debug)]
pub struct MatchesView<'a> {
    /// The offset to ask for next.
    pub next: Offset,
    /// The matches, by offset.
    pub rows: &'a [MatchRow],
}

impl<'a> MatchesView<'a> {
    /// Reads a frame's content.
    ///
    /// # Errors
    /// Where the count is beyond the bound or the rows are not as many bytes.
    pub fn read(content: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = |why: String| FrameError::Malformed { kind: Kind::MatchBatch, why };
        let (head, rows) = RowsHead::ref_from_prefix(content)
            .map_err(|_| malformed(format!("{} bytes do not hold its head of 16", content.len())))?;
        let count = head.count.get() as usize;
        if count > MATCH_BATCH_MATCHES_MAX {
            return Err(malformed(format!("{count} rows, use at most {MATCH_BATCH_MATCHES_MAX}")));
        }
        let rows = <[MatchRow]>::ref_from_bytes_with_elems(rows, count)
            .map_err(|_| malformed(format!("{count} rows of 48 bytes in {} bytes", rows.len())))?;
        Ok(Self { next: Offset(head.next.get()), rows })
    }
}

impl MatchesView<'_> {
    /// The same matches by columns.
    ///
    /// # Errors
    /// Where a cause does not exist or offsets do not go up.
    pub fn to_columns(&self) -> Result<MatchColumns, FrameError> {
        let malformed = |why: &str| FrameError::Malformed { kind: Kind::MatchBatch, why: why.into() };
        let mut columns = ColumnsBuilder::default();
        let mut due = 0;
        for row in self.rows {
            let (offset, found) = row.read().ok_or_else(|| malformed("a match has an unknown cause"))?;
            // A gap is counted in 32 bits.
            if offset.0 < due || (due > 0 && offset.0 - due > u64::from(u32::MAX)) || offset.0 == u64::MAX {
                return Err(malformed("its offsets do not go up"));
            }
            due = offset.0 + 1;
            columns.push_run(offset, &found.head(), [found.device].into_iter());
        }
        MatchColumns::read(&Bytes::from(columns.frame(self.next)).slice(Header::BYTES..))
    }
}

/// Writes the whole frame of a match batch into `out`, in place of what it held.
///
/// # Errors
/// Where there are more rows than [`MATCH_BATCH_MATCHES_MAX`].
pub fn matches_frame(next: Offset, rows: &[MatchRow], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if rows.len() > MATCH_BATCH_MATCHES_MAX {
        let why = format!("{} rows, use at most {MATCH_BATCH_MATCHES_MAX}", rows.len());
        return Err(FrameError::Malformed { kind: Kind::MatchBatch, why });
    }
    let head = RowsHead { next: U64::new(next.0), count: U32::new(rows.len() as u32), reserved: U32::new(0) };
    let length = size_of::<RowsHead>() + size_of_val(rows);
    out.clear();
    out.extend_from_slice(&Header { kind: Kind::MatchBatch, encoding: Encoding::Rows, length }.to_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(rows.as_bytes());
    Ok(())
}
