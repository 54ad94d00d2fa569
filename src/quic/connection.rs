//! One connection: who it is, and its sessions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connection, Incoming, VarInt};
use tokio::task::JoinSet;

use super::{Shared, session};
use crate::access::Grant;
use crate::limits::{CONNECTIONS_PER_IDENTITY_MAX, HANDSHAKE_MS_MAX};
use crate::telemetry::Bound;
use crate::wire::ErrorCode;

/// Serves a connection until it ends, or the server stops and its sessions have ended.
pub(super) async fn serve(incoming: Incoming, shared: Arc<Shared>) {
    let Ok(connecting) = incoming.accept() else { return };
    let handshake = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), connecting);
    // A peer that cannot shake hands in time, or fails TLS, has been told so by QUIC.
    let refused = &shared.services.telemetry().connections_refused;
    let Ok(Ok(connection)) = handshake.await else { return refused.count("quic", "handshake") };
    let grant = match grant_of(&connection) {
        Ok(grant) => Arc::new(grant),
        Err(why) => {
            refused.count("quic", ErrorCode::Identity.name());
            return close(&connection, ErrorCode::Identity, &why);
        }
    };
    let Some(_place) = Place::take(&shared, grant.name()) else {
        refused.count("quic", ErrorCode::TooManyConnections.name());
        let why = format!("\"{}\" has {CONNECTIONS_PER_IDENTITY_MAX} connections already", grant.name());
        return close(&connection, ErrorCode::TooManyConnections, &why);
    };
    let mut stopping = shared.stopping.clone();
    let mut sessions = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = sessions.join_next() => continue,
            stream = connection.accept_bi() => stream,
        };
        // An error says that the connection is over; its sessions see it for themselves.
        let Ok((send, recv)) = stream else { break };
        sessions.spawn(session::serve(
            connection.clone(),
            send,
            recv,
            Arc::clone(&grant),
            Arc::clone(&shared),
        ));
    }
    while sessions.join_next().await.is_some() {}
    if *stopping.borrow() {
        // Dropped without a word it would close as done, and a peer that has not read its
        // session's last frame would not know to come back.
        close(&connection, ErrorCode::ShuttingDown, "the server is shutting down: reconnect later");
    }
}

/// Closes a connection with a code and a line.
pub(super) fn close(connection: &Connection, code: ErrorCode, why: &str) {
    connection.close(VarInt::from(code.number()), why.as_bytes());
}

fn grant_of(connection: &Connection) -> Result<Grant, String> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or("no certificate was shown")?;
    let certificate = chain.first().ok_or("no certificate was shown")?;
    Grant::from_certificate(certificate).map_err(|why| why.to_string())
}

/// One of an identity's connections, until it is dropped.
struct Place {
    shared: Arc<Shared>,
    name: String,
}

impl Place {
    fn take(shared: &Arc<Shared>, name: &str) -> Option<Self> {
        let mut identities = shared.identities.lock().unwrap_or_else(PoisonError::into_inner);
        let count = identities.entry(name.into()).or_default();
        if *count >= CONNECTIONS_PER_IDENTITY_MAX {
            return None;
        }
        *count += 1;
        count_most(shared, &identities);
        Some(Self { shared: Arc::clone(shared), name: name.into() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut identities = self.shared.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = identities.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                identities.remove(&self.name);
            }
        }
        count_most(&self.shared, &identities);
    }
}

fn count_most(shared: &Shared, identities: &HashMap<String, usize>) {
    let most = identities.values().copied().max().unwrap_or(0);
    shared.services.telemetry().bounds.set(Bound::IdentityConnections, most as u64);
}
