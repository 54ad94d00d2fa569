//! Frames: bytes on one side, domain types on the other. `docs/protocol.md` says the same for
//! those who write a client without reading this.
//!
//! A session is one bidirectional QUIC stream; both ways it carries frames, each with a header
//! of eight bytes. Nothing here opens a connection, waits for a clock or knows a session's state.
//! Invariant: a length is checked against
//! its kind's bound before anything is allocated for it, and what is read back is exactly what
//! was written, to the last byte.

mod code;
pub(crate) mod codec;
mod control;
mod frame;
mod hello;
mod ingest;
mod match_columns;
mod ping_columns;
mod stream;
mod subscribe;

pub use code::ErrorCode;
pub use control::{Answer, AnswerBody, Ask, Receipt, Request, Response};
pub use frame::{Body, Encoding, ErrorFrame, FrameError, Header, Kind, frame_of};
pub use hello::{
    Clock, Datum, Encodings, Hello, HelloReply, IngestTerms, PROTOCOL_VERSION, PartitionHash, SafeBasis,
    Session, SessionTerms, StartAt, SubscribeTerms, protocol_version,
};
pub use ingest::{Ack, BatchHead, PingBatch, Target, Watermark, batch_frame, ping_frame};
pub use match_columns::{ColumnsBuilder, MatchColumns, RunRow, WITHHELD};
pub use stream::{Frame, FrameReader, ReadError};
pub use subscribe::{AlertContentFrame, CursorAck, MatchRow, MatchesView, matches_frame};
