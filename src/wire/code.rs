//! Why a session or connection ended, as both ends name it.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// Why a session or connection ended. In an error frame, and as the application error
        /// code of QUIC when the stream is reset or the connection closed. Numbers never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl ErrorCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in `docs/protocol.md`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

codes! {
    /// The session or connection ended as it should.
    Done = 0x00, "done";
    /// A defect of the server.
    Internal = 0x01, "internal";
    /// The hello names a protocol version that the server does not speak. Closes the connection.
    Version = 0x02, "version";
    /// The certificate carries no grant that the server understands. Closes the connection.
    Identity = 0x03, "identity";
    /// A frame longer than its kind's bound.
    FrameTooLarge = 0x04, "frame_too_large";
    /// A kind that does not exist.
    UnknownKind = 0x05, "unknown_kind";
    /// A kind that this side does not take now.
    WrongKind = 0x06, "wrong_kind";
    /// An encoding that does not exist or that the kind does not have.
    UnknownEncoding = 0x07, "unknown_encoding";
    /// A frame whose content is not what its kind says.
    Malformed = 0x08, "malformed";
    /// The stream ended inside a frame.
    Truncated = 0x09, "truncated";
    /// A hello or the rest of a frame did not come in time.
    Timeout = 0x0a, "timeout";
    /// A hello that asks for what does not exist.
    BadHello = 0x0b, "bad_hello";
    /// The certificate does not grant this.
    NoGrant = 0x0c, "no_grant";
    /// The server has no such namespace.
    UnknownNamespace = 0x0d, "unknown_namespace";
    /// A batch whose number is not the one after the last.
    BatchNumber = 0x0e, "batch_number";
    /// On the event clock: a ping or watermark behind what came before it, or after the last
    /// watermark.
    Order = 0x0f, "order";
    /// The offset is not in the match log.
    OffsetGone = 0x10, "offset_gone";
    /// The event clock takes one ping session at a time.
    Busy = 0x11, "busy";
    /// The server is shutting down.
    ShuttingDown = 0x12, "shutting_down";
    /// Too many connections of this identity. Closes the connection.
    TooManyConnections = 0x13, "too_many_connections";
    /// A cursor that goes back, or past what was sent.
    Cursor = 0x14, "cursor";
    /// A subscriber that does not read or acknowledge: too much waits for it.
    Lagging = 0x15, "lagging";
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code with this number, if there is one.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| u64::from(code.number()) == number)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
