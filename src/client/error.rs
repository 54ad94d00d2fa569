//! What can go wrong at this end, in one line each.

use std::fmt::Display;
use std::net::SocketAddr;

use quinn::{ConnectionError, WriteError};

use crate::access::TlsError;
use crate::wire::{ErrorCode, ReadError};

/// Why a client could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody there.
    #[error("cannot connect to {server} (QUIC): {why}; is `hexcast serve` running there?")]
    Connect {
        /// The server.
        server: SocketAddr,
        /// Why.
        why: String,
    },
    /// The server said no.
    #[error("{server} refused ({name}): {message}")]
    Refused {
        /// The server.
        server: SocketAddr,
        /// The code, where this version knows it.
        code: Option<ErrorCode>,
        /// The code's name or number.
        name: String,
        /// The server's line.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to {server} was lost: {why}; try again")]
    Lost {
        /// The server.
        server: SocketAddr,
        /// Why.
        why: String,
    },
    /// The server does not keep to the protocol.
    #[error("{server} does not keep to the protocol: {why}; is it another version of hexcast?")]
    Protocol {
        /// The server.
        server: SocketAddr,
        /// What it did.
        why: String,
    },
    /// Something is too large to send.
    #[error("this is too large to send: {0}")]
    TooLarge(String),
    /// The desk's answer to a request is no.
    #[error("{0}")]
    Declined(String),
    /// A text that is no JSON.
    #[error("this is no JSON object: {0}")]
    Json(#[from] serde_json::Error),
}

impl ClientError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Lost { .. } => true,
            Self::Refused { code, .. } => matches!(
                code,
                Some(
                    ErrorCode::ShuttingDown
                        | ErrorCode::Busy
                        | ErrorCode::TooManyConnections
                        | ErrorCode::Lagging
                )
            ),
            _ => false,
        }
    }

    pub(super) fn connect(server: SocketAddr, why: &dyn Display) -> Self {
        Self::Connect { server, why: why.to_string() }
    }

    pub(super) fn lost(server: SocketAddr, why: &dyn Display) -> Self {
        Self::Lost { server, why: why.to_string() }
    }

    pub(super) fn refused(server: SocketAddr, number: u64, message: String) -> Self {
        let code = ErrorCode::from_number(number);
        let name = code.map_or_else(|| format!("code {number}"), |code| code.name().into());
        Self::Refused { server, code, name, message }
    }

    pub(super) fn connection(server: SocketAddr, why: &ConnectionError) -> Self {
        match why {
            ConnectionError::ApplicationClosed(close) => {
                let line = String::from_utf8_lossy(&close.reason).into_owned();
                Self::refused(server, close.error_code.into_inner(), line)
            }
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => Self::Connect {
                server,
                why: format!("{why} (are both ends' certificates of one authority?)"),
            },
            other => Self::lost(server, other),
        }
    }

    pub(super) fn write(server: SocketAddr, why: &WriteError) -> Self {
        match why {
            WriteError::Stopped(code) => {
                Self::refused(server, code.into_inner(), "it ended the session".into())
            }
            WriteError::ConnectionLost(why) => Self::connection(server, why),
            other => Self::lost(server, other),
        }
    }

    pub(super) fn read(server: SocketAddr, why: ReadError) -> Self {
        match why {
            ReadError::Frame(why) => Self::Protocol { server, why: why.to_string() },
            ReadError::Truncated(_) => Self::lost(server, &why),
            ReadError::Broken(why) => {
                let inner = why.get_ref().and_then(|inner| inner.downcast_ref::<quinn::ReadError>());
                match inner {
                    Some(quinn::ReadError::Reset(code)) => {
                        Self::refused(server, code.into_inner(), "it ended the session".into())
                    }
                    Some(quinn::ReadError::ConnectionLost(why)) => Self::connection(server, why),
                    _ => Self::lost(server, &why),
                }
            }
        }
    }
}
