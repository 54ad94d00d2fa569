//! What several commands take, and how it is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::domain::{EventTime, Namespace, parse_duration_ms};

/// Where `serve` listens and clients look, unless told otherwise: this machine only.
pub(super) const DEFAULT_SERVER: &str = "127.0.0.1:7443";
/// Where `serve` answers over HTTP unless told otherwise: this machine only.
pub(super) const DEFAULT_HTTP: &str = "127.0.0.1:7480";
/// Where `serve` keeps its data unless told otherwise.
pub(super) const DEFAULT_DATA: &str = "hexcast-data";
/// Where clients look for their certificates unless told otherwise.
pub(super) const DEFAULT_PKI: &str = "hexcast-data/pki";

/// How a client reaches a server.
#[derive(Clone, Debug, Args)]
pub(super) struct ClientArgs {
    /// The server: an address or name, and a port.
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_SERVER, value_parser = server)]
    pub(super) server: String,
    /// Directory of certificates, as `hexcast serve` or `hexcast pki init` made it.
    #[arg(long, value_name = "DIR", env = "HEXCAST_PKI", default_value = DEFAULT_PKI)]
    pub(super) pki: PathBuf,
}

impl ClientArgs {
    /// The server's address; looks a name up.
    pub(super) async fn address(&self) -> anyhow::Result<SocketAddr> {
        let found = tokio::net::lookup_host(&self.server).await.ok().and_then(|mut found| found.next());
        found.ok_or_else(|| {
            anyhow::anyhow!("the server's name in \"{}\" is not known: check --server", self.server)
        })
    }
}

fn server(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port != 0 => Ok(text.into()),
        _ => Err(format!("write an address and a port, such as {DEFAULT_SERVER}")),
    }
}

/// Reads a namespace's name.
pub(super) fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::new(text).map_err(|e| e.to_string())
}

/// Reads a time.
pub(super) fn time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text).map_err(|e| e.to_string())
}

/// Reads a number of partitions.
pub(super) fn partitions(text: &str) -> Result<u32, String> {
    let max = crate::limits::PARTITIONS_MAX;
    text.parse()
        .ok()
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| format!("write a whole number from 1 to {max}"))
}

/// A partition for each core.
pub(super) fn default_partitions() -> u32 {
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    cores.min(crate::limits::PARTITIONS_MAX)
}

/// A time, or a duration from another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At this time.
    At(EventTime),
    /// So many milliseconds from now, forwards or back as the option says.
    FromNow(i64),
}

/// Reads a time or a duration.
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Ok(ms) = parse_duration_ms(text) {
        return Ok(When::FromNow(ms));
    }
    EventTime::parse(text)
        .map(When::At)
        .map_err(|_| "write a time such as 2026-05-15T12:00:00Z, or a duration such as 2h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_a_port() {
        for good in ["127.0.0.1:7443", "[::1]:1", "localhost:65535"] {
            assert!(server(good).is_ok(), "{good}");
        }
        for bad in ["", "7443", ":7443", "localhost", "localhost:0", "localhost:65536", "host:http"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_when_is_a_time_or_a_duration() {
        assert_eq!(when("2h"), Ok(When::FromNow(7_200_000)));
        assert_eq!(when("1970-01-01T00:00:01Z"), Ok(When::At(EventTime(1_000))));
        assert_eq!(when("1000"), Ok(When::At(EventTime(1_000))));
        assert!(when("soon").is_err());
    }
}
