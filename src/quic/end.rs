//! How a session ends.

use crate::runtime::SessionRefused;
use crate::wire::{ErrorCode, ReadError};

/// Why a session is over, and what the peer is told.
#[derive(Debug)]
pub(super) enum End {
    /// The peer said all it had to say; so have we.
    Done,
    /// The stream or connection broke: there is nobody to tell.
    Gone,
    /// An error frame, and the stream is closed.
    Error(ErrorCode, String),
    /// The connection is closed.
    Connection(ErrorCode, String),
}

impl End {
    pub(super) fn error(code: ErrorCode, why: impl ToString) -> Self {
        Self::Error(code, why.to_string())
    }

    pub(super) fn stopping() -> Self {
        Self::error(ErrorCode::ShuttingDown, "the server is shutting down: reconnect later")
    }
}

impl From<ReadError> for End {
    fn from(why: ReadError) -> Self {
        match &why {
            ReadError::Frame(frame) => Self::error(frame.code(), frame),
            ReadError::Truncated(_) => Self::error(ErrorCode::Truncated, why),
            ReadError::Broken(_) => Self::Gone,
        }
    }
}

impl From<quinn::WriteError> for End {
    fn from(_: quinn::WriteError) -> Self {
        Self::Gone
    }
}

impl From<SessionRefused> for End {
    fn from(why: SessionRefused) -> Self {
        let code = match why {
            SessionRefused::Busy => ErrorCode::Busy,
            SessionRefused::Stopping => ErrorCode::ShuttingDown,
        };
        Self::error(code, why)
    }
}
