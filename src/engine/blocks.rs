//! Reading a snapshot's blocks: bytes that may be damaged, and what is wrong with them.

use super::rows::Row;
use super::saving::{NO_TIME, NOT_SPILLED};
use super::sets::LocalSet;
use super::snapshot::VERSION;
use crate::domain::{AlertNo, EventTime};

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Made by another version.
    #[error("a block of version {0}, and this program reads version {VERSION}")]
    Version(u8),
    /// Ends early, or goes on after its end.
    #[error("a block is cut off, or goes on after its end")]
    Length,
    /// Says what cannot be.
    #[error("a block says what cannot be: {0}")]
    Impossible(&'static str),
    /// A block came before one that it rests on, or came too much.
    #[error("a block is out of order: {0}")]
    Order(&'static str),
    /// A device stands in two rows.
    #[error("a device stands in two rows")]
    Twice,
    /// Other rows came than the head says.
    #[error("{found} rows, and the head says {expected}")]
    Rows {
        /// What the head says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// More rows than a partition has numbers for.
    #[error("more devices than a partition can hold")]
    Full,
    /// A block before this one was not taken.
    #[error("a block before was not taken")]
    Failed,
}

use SnapshotError::{Impossible, Length};

pub(super) type Result<T> = std::result::Result<T, SnapshotError>;

/// What remains of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Length)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// So many alerts, sorted and all different.
    pub(super) fn alerts(&mut self, count: u32) -> Result<Vec<AlertNo>> {
        let bytes = self.take(count as usize * 4)?;
        let alerts: Vec<AlertNo> =
            bytes.as_chunks::<4>().0.iter().map(|no| AlertNo(u32::from_le_bytes(*no))).collect();
        if alerts.is_sorted_by(|a, b| a < b) {
            Ok(alerts)
        } else {
            Err(Impossible("a set that is not sorted"))
        }
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Length) }
    }
}

/// What rows do not say, by their places.
pub(super) struct OddRows<'a> {
    pub(super) bytes: Bytes<'a>,
    pub(super) left: u32,
    pub(super) next: Option<OddRow>,
}

#[derive(Clone, Debug)]
pub(super) struct OddRow {
    pub(super) place: u32,
    at: i64,
    alerts: Option<Vec<AlertNo>>,
}

impl OddRow {
    pub(super) fn at(&self, row: Row) -> Result<Option<EventTime>> {
        match EventTime(self.at) {
            EventTime(NO_TIME) => Ok(None),
            at if row.time() == 0 && EventTime::from_unix_ms(at.0).is_ok() => Ok(Some(at)),
            _ => Err(Impossible("a row's time")),
        }
    }

    pub(super) fn alerts(&self, row: Row) -> Result<Option<Vec<AlertNo>>> {
        match &self.alerts {
            Some(_) if row.set() != LocalSet::SPILLED => Err(Impossible("a row's own set")),
            alerts => Ok(alerts.clone()),
        }
    }
}

impl OddRows<'_> {
    /// The next one, where its place is below this. (Those before were taken.)
    pub(super) fn next_below(&self, end: u32) -> Option<OddRow> {
        self.next.clone().filter(|next| next.place < end)
    }

    pub(super) fn advance(&mut self) -> Result<()> {
        let before = self.next.take();
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let (place, alerts, at) = (self.bytes.u32()?, self.bytes.u32()?, self.bytes.i64()?);
        if before.is_some_and(|before| before.place >= place) {
            return Err(Impossible("odd rows that are not sorted"));
        }
        let alerts = if alerts == NOT_SPILLED { None } else { Some(self.bytes.alerts(alerts)?) };
        self.next = Some(OddRow { place, at, alerts });
        Ok(())
    }
}
