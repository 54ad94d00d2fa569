//! QUIC's own settings, the same at both ends: what a peer may make this end keep. What else was
//! tried, and why it is not here, stands in `docs/performance.md`.

use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::limits::{
    CONNECTION_IDLE_MS_MAX, CONNECTION_WINDOW_BYTES, KEEP_ALIVE_MS, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};

/// Settings of a connection whose peer may have `sessions` sessions open.
pub fn transport(sessions: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // What a peer may send ahead of our reading is what it makes us keep. The connection's
        // window has no bound unless set.
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        // What we write ahead of the peer's reading, likewise.
        .send_window(SEND_WINDOW_BYTES)
        // A session is a bidirectional stream; nothing else is part of the protocol.
        .max_concurrent_bidi_streams(VarInt::from_u32(sessions))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // A silent subscriber is no dead one, so we ask; a dead one is given up.
        .keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(CONNECTION_IDLE_MS_MAX))));
    transport
}
