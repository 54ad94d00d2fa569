//! The QUIC door: it lets peers in, reads their frames and hands them on.
//!
//! One task a connection, one task a session; a session owns its stream and nothing else. This
//! room translates and decides nothing about pings or alerts. Invariant: whatever one peer
//! sends or leaves out, it ends at most its own session or connection, with a defined code, and
//! what the server keeps for it is bounded by `limits`.

mod connection;
mod control;
mod end;
mod ingest;
pub(crate) mod ledger;
mod session;
mod subscribe;
mod transport;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::access::{self, TlsError};
use crate::delivery::Delivery;
use crate::desk::Desk;
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_UNPROVEN_MAX, SHUTDOWN_MS_MAX};
use crate::runtime::Runtime;
use crate::telemetry::{Bound, Telemetry};
use crate::wire::ErrorCode;

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS that QUIC cannot use.
    #[error("the TLS settings do not suit QUIC: {0}")]
    Quic(String),
    /// The address.
    #[error("cannot listen on {addr} (UDP): {source}; choose another address with --quic")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What sessions are served from.
#[derive(Clone)]
pub struct Services {
    /// Takes pings.
    pub runtime: Runtime,
    /// Takes actions.
    pub desk: Arc<Desk>,
    /// Gives matches.
    pub delivery: Arc<Delivery>,
}

impl Services {
    fn telemetry(&self) -> &Telemetry {
        self.runtime.telemetry()
    }
}

/// What all connections share.
struct Shared {
    services: Services,
    /// How many connections each identity has.
    identities: Mutex<HashMap<String, usize>>,
    /// Turns true when the server shuts down.
    stopping: watch::Receiver<bool>,
}

/// The open door. Dropping it closes it at once.
pub struct Server {
    endpoint: Endpoint,
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on `addr` with the server's certificate in `pki`. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where the certificates cannot be used or the address cannot be had.
    pub fn bind(addr: SocketAddr, pki: &Path, services: Services) -> Result<Self, ServerError> {
        let config = transport::server_config(access::server_config(pki)?)?;
        let endpoint = Endpoint::server(config, addr).map_err(|source| ServerError::Bind { addr, source })?;
        let local_addr = endpoint.local_addr().map_err(|source| ServerError::Bind { addr, source })?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared { services, identities: Mutex::default(), stopping });
        let accepting = tokio::spawn(accept(endpoint.clone(), shared));
        Ok(Self { endpoint, local_addr, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes nobody more, tells every session, and waits a bounded time until they have ended.
    /// Batches that were taken are still acknowledged.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let bound = Duration::from_millis(SHUTDOWN_MS_MAX);
        if tokio::time::timeout(bound, &mut self.accepting).await.is_err() {
            tracing::warn!("some sessions did not end within {SHUTDOWN_MS_MAX} ms and are cut off");
        }
        let code = ErrorCode::ShuttingDown;
        self.endpoint.close(VarInt::from(code.number()), code.name().as_bytes());
        // Peers that are gone never answer the close.
        let _ = tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS_MAX), self.endpoint.wait_idle()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.endpoint.close(VarInt::from(ErrorCode::ShuttingDown.number()), b"");
    }
}

/// Lets peers in until the server stops, then waits for their connections to end.
async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut connections = JoinSet::new();
    let telemetry = Arc::clone(shared.services.runtime.telemetry());
    loop {
        telemetry.bounds.set(Bound::Connections, connections.len() as u64);
        let incoming = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        if connections.len() >= CONNECTIONS_MAX {
            telemetry.connections_refused.count("quic", "full");
            incoming.refuse();
        } else if connections.len() >= CONNECTIONS_UNPROVEN_MAX && incoming.may_retry() {
            // The peer went away if this fails.
            let _ = incoming.retry();
        } else {
            connections.spawn(connection::serve(incoming, Arc::clone(&shared)));
        }
    }
    while connections.join_next().await.is_some() {
        telemetry.bounds.set(Bound::Connections, connections.len() as u64);
    }
}
