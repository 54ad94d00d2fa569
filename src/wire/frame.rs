//! The header of every frame, the table of kinds, and their bounds.

use bincode::{Decode, Encode};

use super::codec;
use super::{
    Ack, AlertContentFrame, CursorAck, ErrorCode, HelloReply, Request, Response, Watermark, hello::Hello,
};
use crate::limits::{
    CONTROL_BYTES_MAX, ERROR_TEXT_BYTES_MAX, HELLO_BYTES_MAX, MATCH_BATCH_BYTES_MAX, MATCH_COLUMNS_BYTES_MAX,
    PING_BATCH_BYTES_MAX, PING_COLUMNS_BYTES_MAX, SMALL_FRAME_BYTES_MAX,
};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Client: the first frame of a session.
    Hello = 0x01,
    /// Server: its answer.
    HelloReply = 0x02,
    /// Server: why it ends the session; its last frame.
    Error = 0x03,
    /// Client, ingest: pings.
    PingBatch = 0x10,
    /// Client, ingest: the event clock may pass this time.
    Watermark = 0x11,
    /// Server, ingest: what has become of the batches.
    Ack = 0x12,
    /// Server, subscribe: an alert's content.
    AlertContent = 0x20,
    /// Server, subscribe: matches.
    MatchBatch = 0x21,
    /// Client, subscribe: it is done with the matches below this offset.
    CursorAck = 0x22,
    /// Client, control: a question or an action.
    Request = 0x30,
    /// Server, control: its answer.
    Response = 0x31,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Hello,
        Self::HelloReply,
        Self::Error,
        Self::PingBatch,
        Self::Watermark,
        Self::Ack,
        Self::AlertContent,
        Self::MatchBatch,
        Self::CursorAck,
        Self::Request,
        Self::Response,
    ];

    /// Most bytes after the header.
    pub fn bytes_max(self, encoding: Encoding) -> usize {
        match self {
            Self::Hello | Self::HelloReply => HELLO_BYTES_MAX,
            Self::Error => ERROR_TEXT_BYTES_MAX + 16,
            Self::Watermark | Self::Ack | Self::CursorAck => SMALL_FRAME_BYTES_MAX,
            Self::PingBatch if encoding == Encoding::Columns => PING_COLUMNS_BYTES_MAX,
            Self::PingBatch => PING_BATCH_BYTES_MAX,
            Self::MatchBatch if encoding == Encoding::Columns => MATCH_COLUMNS_BYTES_MAX,
            Self::MatchBatch => MATCH_BATCH_BYTES_MAX,
            Self::AlertContent | Self::Request | Self::Response => CONTROL_BYTES_MAX,
        }
    }

    /// The encodings that its content may have.
    pub fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::PingBatch | Self::MatchBatch => &[Encoding::Rows, Encoding::Columns],
            _ => &[Encoding::Fields],
        }
    }
}

/// How a frame's content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Fields one after the other: bincode 2 with fixed-width little-endian integers.
    Fields = 0,
    /// A head and rows of fixed width.
    Rows = 1,
    /// A head and one column after the other.
    Columns = 2,
}

/// A header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// How it is written.
    pub encoding: Encoding,
    /// How many bytes follow; within the kind's bound.
    pub length: usize,
}

/// A frame that cannot be taken, and the code to end its session with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the bound.
    #[error("a frame of kind {kind:?} announces {length} bytes, at most {max} are taken", max = .kind.bytes_max(*.encoding))]
    TooLarge {
        /// The kind.
        kind: Kind,
        /// The encoding.
        encoding: Encoding,
        /// The length announced.
        length: u32,
    },
    /// No such kind.
    #[error("frame kind {0:#04x} does not exist in protocol version 1")]
    UnknownKind(u8),
    /// No such encoding for the kind.
    #[error("a frame of kind {kind:?} has no encoding {encoding}, use one of {:?}", .kind.encodings())]
    UnknownEncoding {
        /// The kind.
        kind: Kind,
        /// The encoding's number.
        encoding: u8,
    },
    /// Bytes that must be zero are not.
    #[error("bytes 6 and 7 of a frame header are {0:#06x}, they must be zero")]
    Reserved(u16),
    /// Content that is not the kind's.
    #[error("a frame of kind {kind:?} cannot be read: {why}")]
    Malformed {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        why: String,
    },
}

impl FrameError {
    /// The code to end the session with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::UnknownKind(_) => ErrorCode::UnknownKind,
            Self::UnknownEncoding { .. } => ErrorCode::UnknownEncoding,
            Self::Reserved(_) | Self::Malformed { .. } => ErrorCode::Malformed,
        }
    }
}

impl Header {
    /// Bytes of a header.
    pub const BYTES: usize = 8;

    /// Reads a header: length (u32), kind (u8), encoding (u8), zero (u16).
    ///
    /// # Errors
    /// Where it names what does not exist, or a length beyond the kind's bound.
    pub fn read(bytes: [u8; Self::BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind, encoding, e, f] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        let kind =
            Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(FrameError::UnknownKind(kind))?;
        let known = kind.encodings().iter().copied().find(|known| *known as u8 == encoding);
        let encoding = known.ok_or(FrameError::UnknownEncoding { kind, encoding })?;
        let reserved = u16::from_le_bytes([e, f]);
        if reserved != 0 {
            return Err(FrameError::Reserved(reserved));
        }
        if length as usize > kind.bytes_max(encoding) {
            return Err(FrameError::TooLarge { kind, encoding, length });
        }
        Ok(Self { kind, encoding, length: length as usize })
    }

    /// Writes the header.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = (self.length as u32).to_le_bytes();
        [a, b, c, d, self.kind as u8, self.encoding as u8, 0, 0]
    }
}

/// A frame's content that is written as fields.
pub trait Body: Encode + Decode<()> {
    /// The kind of its frame.
    const KIND: Kind;

    /// Reads it from a frame's content.
    ///
    /// # Errors
    /// Where the bytes are not exactly one such value.
    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        codec::decode(bytes).map_err(|why| FrameError::Malformed { kind: Self::KIND, why })
    }
}

/// The whole frame of `body`.
///
/// # Errors
/// Where it is longer than its kind's bound.
pub fn frame_of<B: Body>(body: &B) -> Result<Vec<u8>, FrameError> {
    let mut out = vec![0; Header::BYTES];
    let fits = codec::encode(body, &mut out);
    let length = out.len() - Header::BYTES;
    let encoding = Encoding::Fields;
    if !fits || length > B::KIND.bytes_max(encoding) {
        let length = if fits { u32::try_from(length).unwrap_or(u32::MAX) } else { u32::MAX };
        return Err(FrameError::TooLarge { kind: B::KIND, encoding, length });
    }
    out[..Header::BYTES].copy_from_slice(&Header { kind: B::KIND, encoding, length }.to_bytes());
    Ok(out)
}

/// Why the server ends a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ErrorFrame {
    /// An [`ErrorCode`]'s number; a later server may have more.
    pub code: u16,
    /// A line for people.
    pub message: String,
}

impl ErrorFrame {
    /// An error with its line, shortened to what the frame takes.
    pub fn new(code: ErrorCode, message: &str) -> Self {
        let mut end = message.len().min(ERROR_TEXT_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        Self { code: code.number(), message: message[..end].into() }
    }
}

macro_rules! bodies {
    ($($body:ty => $kind:ident),+ $(,)?) => {
        $(impl Body for $body { const KIND: Kind = Kind::$kind; })+
    };
}

bodies! {
    Hello => Hello,
    HelloReply => HelloReply,
    ErrorFrame => Error,
    Watermark => Watermark,
    Ack => Ack,
    AlertContentFrame => AlertContent,
    CursorAck => CursorAck,
    Request => Request,
    Response => Response,
}
