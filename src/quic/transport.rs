//! QUIC's own settings: what a peer may make the server keep.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt};

use super::ServerError;
use crate::limits::{
    CONNECTION_IDLE_MS_MAX, CONNECTION_WINDOW_BYTES, KEEP_ALIVE_MS, SEND_WINDOW_BYTES,
    SESSIONS_PER_CONNECTION_MAX, STREAM_WINDOW_BYTES,
};

pub(super) fn server_config(tls: rustls::ServerConfig) -> Result<ServerConfig, ServerError> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|why| ServerError::Quic(why.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // What a peer may send ahead of our reading is what it makes us keep. The connection's
        // window has no bound unless set.
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        // What we write ahead of the peer's reading, likewise.
        .send_window(SEND_WINDOW_BYTES)
        // A session is a bidirectional stream; nothing else is part of the protocol.
        .max_concurrent_bidi_streams(VarInt::from_u32(SESSIONS_PER_CONNECTION_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // A silent subscriber is no dead one, so we ask; a dead one is given up.
        .keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(CONNECTION_IDLE_MS_MAX))));
    transport
}
