//! The server's side of QUIC.

use std::sync::Arc;

use quinn::ServerConfig;
use quinn::crypto::rustls::QuicServerConfig;

use super::ServerError;
use crate::access;
use crate::limits::SESSIONS_PER_CONNECTION_MAX;

pub(super) fn server_config(tls: rustls::ServerConfig) -> Result<ServerConfig, ServerError> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|why| ServerError::Quic(why.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(access::transport(SESSIONS_PER_CONNECTION_MAX)));
    Ok(config)
}
