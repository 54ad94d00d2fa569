//! What a partition did, as entries of its ping log: enough to do it again, in the same order and at the
//! same times, so that a restart gives the same devices and the same matches.
//!
//! An entry is handed over when it is done and before it is reported as applied; pings go as the bytes in
//! which they came, nothing is copied on the partition's thread. Entries that wait for the disk are
//! bounded by the room that their pings hold (`queue`): it is given back when they are kept.
//!
//! What it never does: touch a file (that is `keeper`).

use std::sync::Arc;

use bytes::Bytes;
use crossbeam::channel::Sender;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};

use super::NamespaceIx;
use super::queue::Ticket;
use crate::domain::{EventTime, PingRow};
use crate::wire::{BatchHead, Encoding, PingBatch};

/// The kinds of its records.
pub(crate) mod kind {
    /// A batch, or a part of one.
    pub(crate) const PINGS: u8 = 1;
    /// An order, by its number.
    pub(crate) const ORDER: u8 = 2;
    /// Stages that were due.
    pub(crate) const STAGES: u8 = 3;
}

/// When pings were applied: what decides whether they were too far in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PingsAt {
    /// The server's time.
    pub(crate) now: EventTime,
    /// How far a ping's time may lie ahead of it, ms.
    pub(crate) skew_ms: i64,
}

/// Pings as the partition got them.
pub(crate) enum Pings {
    /// Those of a batch that are the partition's.
    Rows { base: EventTime, rows: Vec<PingRow> },
    /// A batch that was for the partition as a whole.
    Batch(PingBatch),
}

/// One thing that a partition did.
pub(crate) enum Entry {
    /// It applied pings.
    Pings { namespace: NamespaceIx, at: PingsAt, pings: Pings, kept: Kept },
    /// It carried out an order.
    Order { index: u64 },
    /// It applied the stages that were due.
    Stages { through: EventTime },
}

/// Says that the pings of an entry are kept.
pub(crate) struct Kept(Arc<Ticket>);

impl Kept {
    pub(super) fn new(ticket: &Arc<Ticket>) -> Self {
        Self(Arc::clone(ticket))
    }

    /// They are.
    pub(crate) fn kept(self) {
        self.0.part_kept();
    }
}

/// A partition's end of its ping log.
pub(crate) struct PingLogEnd {
    entries: Sender<Entry>,
    /// The number of the next entry.
    next: u64,
}

impl PingLogEnd {
    /// Entries are numbered from `next` by whoever takes them.
    pub(crate) fn new(entries: Sender<Entry>, next: u64) -> Self {
        Self { entries, next }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.next += 1;
        // Whoever keeps them is gone only where the process ends.
        let _ = self.entries.send(entry);
    }
}

const PINGS_HEAD: usize = 18;

/// The payload of an entry, in slices one after the other; `namespace` is the name of its namespace.
pub(crate) fn with_payload<T>(entry: &Entry, namespace: &str, then: impl FnOnce(u8, &[&[u8]]) -> T) -> T {
    let (at, pings) = match entry {
        Entry::Order { index } => return then(kind::ORDER, &[&index.to_le_bytes()]),
        Entry::Stages { through } => return then(kind::STAGES, &[&through.0.to_le_bytes()]),
        Entry::Pings { at, pings, .. } => (at, pings),
    };
    let encoding = match pings {
        Pings::Rows { .. } => Encoding::Rows,
        Pings::Batch(batch) => batch.encoding(),
    };
    let mut head = [0; PINGS_HEAD];
    head[..8].copy_from_slice(&at.now.0.to_le_bytes());
    head[8..16].copy_from_slice(&at.skew_ms.to_le_bytes());
    head[16] = encoding as u8;
    head[17] = namespace.len() as u8;
    let namespace = namespace.as_bytes();
    match pings {
        Pings::Batch(batch) => then(kind::PINGS, &[&head, namespace, batch.content()]),
        Pings::Rows { base, rows } => {
            let batch = BatchHead {
                number: U64::new(0),
                base_ms: I64::new(base.0),
                count: U32::new(rows.len() as u32),
                partition: U16::new(0),
                partitions: U16::new(0),
            };
            then(kind::PINGS, &[&head, namespace, batch.as_bytes(), rows.as_bytes()])
        }
    }
}

/// A record of a ping log, read again.
pub(crate) enum Again {
    /// Pings of the namespace with this name.
    Pings { namespace: String, at: PingsAt, batch: PingBatch },
    /// The order with this number.
    Order { index: u64 },
    /// The stages due by then.
    Stages { through: EventTime },
}

/// Reads a record.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn read(kind: u8, payload: &Bytes) -> Result<Again, String> {
    let number = || payload.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let short = || format!("{} bytes are too few for a record of kind {kind}", payload.len());
    match kind {
        kind::ORDER => number().map(|index| Again::Order { index }).ok_or_else(short),
        kind::STAGES => {
            let through = number().map(|ms| EventTime(ms.cast_signed()));
            through.map(|through| Again::Stages { through }).ok_or_else(short)
        }
        kind::PINGS => {
            let head = payload.get(..PINGS_HEAD).ok_or_else(short)?;
            let time = |at: usize| {
                let bytes = head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map(i64::from_le_bytes).ok_or_else(short)
            };
            let at = PingsAt { now: EventTime(time(0)?), skew_ms: time(8)? };
            let encoding = [Encoding::Rows, Encoding::Columns].into_iter().find(|one| *one as u8 == head[16]);
            let encoding = encoding.ok_or_else(|| format!("no encoding has number {}", head[16]))?;
            let name_end = PINGS_HEAD + usize::from(head[17]);
            let name = payload.get(PINGS_HEAD..name_end).ok_or_else(short)?;
            let namespace = std::str::from_utf8(name).map_err(|why| why.to_string())?.to_owned();
            let batch =
                PingBatch::read(encoding, &payload.slice(name_end..)).map_err(|why| why.to_string())?;
            Ok(Again::Pings { namespace, at, batch })
        }
        other => Err(format!("a record of kind {other}, which this version does not know")),
    }
}
