//! How a session begins.

use bincode::{Decode, Encode};

use super::Encoding;
use crate::domain::EventTime;

/// The version of this protocol, first in the hello.
pub const PROTOCOL_VERSION: u16 = 1;

/// The version that a hello's content names, whatever the rest of it is.
pub fn protocol_version(content: &[u8]) -> Option<u16> {
    let (version, _) = content.split_first_chunk()?;
    Some(u16::from_le_bytes(*version))
}

/// The first frame of a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u16,
    /// What the client wants.
    pub session: Session,
}

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Session {
    /// Write pings.
    Ingest {
        /// Into this namespace.
        namespace: String,
        /// The source's name: its batches are numbered under it.
        source: String,
        /// The number of the first batch, at least 1.
        first_batch: u64,
        /// The datum of its positions.
        datum: Datum,
    },
    /// Read matches.
    Subscribe {
        /// Of this namespace.
        namespace: String,
        /// From where.
        from: StartAt,
        /// Exercises and tests too.
        exercises: bool,
        /// The encodings of match batches that it reads.
        encodings: Encodings,
    },
    /// Act on alerts.
    Control,
}

/// Encodings that one end reads, by their numbers: bit 1 is rows, bit 2 is columns. Bits that an
/// end does not know mean nothing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Encodings(pub u8);

impl Encodings {
    /// Rows only.
    pub const ROWS: Self = Self(1 << Encoding::Rows as u8);
    /// Rows and columns.
    pub const ROWS_AND_COLUMNS: Self = Self(Self::ROWS.0 | 1 << Encoding::Columns as u8);

    /// Whether this one is among them.
    pub fn has(self, encoding: Encoding) -> bool {
        self.0 & (1 << encoding as u8) != 0
    }
}

/// The geodetic datum of a source's positions. Others are converted before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Datum {
    /// WGS-84.
    Wgs84,
}

/// Where a subscriber starts in the match log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StartAt {
    /// At the oldest match that is held.
    Earliest,
    /// After the newest.
    Latest,
    /// At this offset.
    Offset(u64),
    /// At the cursor that the server keeps for this identity in this namespace; at the oldest match that
    /// is held where it keeps none.
    Cursor,
}

/// The server's answer to a hello that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HelloReply {
    /// The protocol version that the session speaks.
    pub version: u16,
    /// The clock that the server runs on.
    pub clock: Clock,
    /// The server's time (on the event clock, that clock), Unix ms.
    pub now_ms: i64,
    /// What the session is bound to.
    pub terms: SessionTerms,
}

impl HelloReply {
    /// The server's time.
    pub fn now(&self) -> EventTime {
        EventTime(self.now_ms)
    }
}

/// A server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Clock {
    /// Its own time.
    Wall,
    /// The pings' and actions' own times.
    Event,
}

/// What a session is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionTerms {
    /// An ingest session.
    Ingest(IngestTerms),
    /// A subscription.
    Subscribe(SubscribeTerms),
    /// A control session.
    Control,
}

/// What an ingest session is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IngestTerms {
    /// How many partitions the server has: a source may sort its batches by them.
    pub partitions: u32,
    /// How devices are split over them.
    pub hash: PartitionHash,
    /// What `safe` rests on.
    pub safe_basis: SafeBasis,
    /// The last batch of this source that no restart loses; 0 for none.
    pub last_safe: u64,
    /// The encodings of ping batches that the server reads.
    pub encodings: Encodings,
    /// Most pings of a batch.
    pub batch_pings_max: u32,
    /// Pings that the server takes before they are applied; it stops reading at more.
    pub unapplied_pings_max: u32,
    /// Batches that the server takes before they are applied; it stops reading at more.
    pub unapplied_batches_max: u32,
}

/// The hash that splits devices over partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PartitionHash {
    /// `domain::partition_of`, spelled out in `docs/protocol.md`.
    Mix64,
}

/// What it means that a batch is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SafeBasis {
    /// Nothing is: a restart loses what is in memory.
    None,
    /// A snapshot holds it.
    Snapshot,
    /// The ping log holds it.
    Log,
}

/// What a subscription is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SubscribeTerms {
    /// The first offset that is read.
    pub start: u64,
    /// The oldest offset held.
    pub earliest: u64,
    /// The offset that the next match will get.
    pub end: u64,
}
