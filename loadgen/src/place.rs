//! Where the server is, and over how many connections and sessions it is spoken to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hexcast::client::Client;

use crate::engine::Engine;

/// Where the server is, and how it is spoken to.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// A running server; without it, an engine is started on loopback.
    #[arg(long, value_name = "ADDR")]
    pub(crate) server: Option<SocketAddr>,
    /// With --server: the directory of certificates; operator, partner and authority are used.
    #[arg(long, value_name = "DIR", env = "HEXCAST_PKI", default_value = "hexcast-data/pki")]
    pub(crate) pki: PathBuf,
    /// The namespace.
    #[arg(long, value_name = "NS", default_value = "default")]
    pub(crate) namespace: String,
    /// Connections that send pings.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(crate) connections: u32,
    /// Sessions of each connection that send pings, a share of the devices each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    streams: u32,
}

impl Place {
    /// The server's address and the certificates.
    pub(crate) fn of(&self, engine: Option<&Engine>) -> anyhow::Result<(SocketAddr, PathBuf)> {
        match (engine, self.server) {
            (Some(engine), _) => Ok((engine.address, engine.pki())),
            (None, Some(server)) => Ok((server, self.pki.clone())),
            (None, None) => anyhow::bail!("no server"),
        }
    }

    /// Connections that send pings.
    pub(crate) async fn operators(&self, server: SocketAddr, pki: &Path) -> anyhow::Result<Vec<Arc<Client>>> {
        let mut operators = Vec::new();
        for _ in 0..self.connections {
            operators.push(Arc::new(Client::connect(server, pki, "operator").await?));
        }
        Ok(operators)
    }

    /// Sessions that send pings.
    pub(crate) fn sessions(&self) -> u32 {
        self.connections * self.streams
    }
}
