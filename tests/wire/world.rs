//! A server on loopback with a PKI of its own, and a raw client that keeps no rules.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hexcast::access::{Role, client_config, pki};
use hexcast::client::{Batch, BatchBuilder, Client};
use hexcast::delivery::{Delivery, LagLimits, Ticks, TicksHand};
use hexcast::desk::Desk;
use hexcast::domain::{CursorAt, DeviceId, EventTime, MaxAge, Namespace, Ping, Position};
use hexcast::quic::{Server, Services};
use hexcast::runtime::{ClockMode, MatchSink, NamespaceConfig, Runtime, RuntimeConfig};
use hexcast::wire::{Body, ErrorCode, ErrorFrame, Frame, FrameReader, Hello, Kind, Session, frame_of};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tempfile::TempDir;

/// Longer than anything here takes; only a hang comes to it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) pki: TempDir,
}

impl World {
    pub(crate) fn new(clock: ClockMode) -> Self {
        Self::with_sink(clock, |delivery| delivery)
    }

    /// A server whose matches go through a sink of the test's own.
    pub(crate) fn with_sink(
        clock: ClockMode,
        sink: impl FnOnce(Arc<Delivery>) -> Arc<dyn MatchSink>,
    ) -> Self {
        Self::with_delivery(clock, Delivery::new, sink)
    }

    /// A server whose patience with partners is measured by a clock that the test moves.
    pub(crate) fn with_lag(lag: LagLimits, cursors: Vec<CursorAt>) -> (Self, TicksHand) {
        let (ticks, hand) = Ticks::by_hand();
        let delivery = |namespaces: &[NamespaceConfig]| Delivery::with(namespaces, lag, ticks, cursors);
        (Self::with_delivery(ClockMode::Wall, delivery, |delivery| delivery), hand)
    }

    pub(crate) fn with_delivery(
        clock: ClockMode,
        delivery: impl FnOnce(&[NamespaceConfig]) -> Delivery,
        sink: impl FnOnce(Arc<Delivery>) -> Arc<dyn MatchSink>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        pki::init(dir.path()).unwrap();
        let both = ["default", "app"].map(|ns| Namespace::new(ns).unwrap());
        pki::issue(dir.path(), Role::Partner, "both", &both).unwrap();
        pki::issue(dir.path(), Role::Operator, "pipes", &both).unwrap();
        let namespaces = both.map(|name| NamespaceConfig { name, max_age: MaxAge::Never });
        let delivery = Arc::new(delivery(&namespaces));
        let config = RuntimeConfig {
            partitions: 3,
            namespaces: namespaces.into(),
            clock,
            clock_skew_ms: 60_000,
            sliced: true,
        };
        let runtime = Runtime::start(config, sink(Arc::clone(&delivery))).unwrap();
        let desk = Arc::new(Desk::new(runtime.clone(), hexcast::desk::Policies::default()));
        let services = Services { runtime: runtime.clone(), desk, delivery: Arc::clone(&delivery) };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), dir.path(), services).unwrap();
        Self { server, runtime, delivery, pki: dir }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        Client::connect(self.addr(), self.pki.path(), name).await.unwrap()
    }

    pub(crate) async fn raw(&self, name: &str) -> Connection {
        let tls = client_config(self.pki.path(), name).unwrap();
        connect(self.addr(), tls, TransportConfig::default()).await.unwrap()
    }
}

pub(crate) async fn connect(
    addr: SocketAddr,
    tls: rustls::ClientConfig,
    transport: TransportConfig,
) -> Result<Connection, quinn::ConnectionError> {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport));
    tokio::time::timeout(PATIENCE, endpoint.connect_with(config, addr, "localhost").unwrap()).await.unwrap()
}

/// What a raw session was told at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// Kinds of the frames before the error.
    pub(crate) kinds: Vec<Kind>,
    /// The error frame's code.
    pub(crate) code: u16,
    /// Its line.
    pub(crate) line: String,
    /// The code of QUIC by which the server stopped reading.
    pub(crate) stopped: Option<u64>,
}

/// Reads a raw session to its end, which must be an error frame.
pub(crate) async fn farewell(mut send: SendStream, recv: RecvStream) -> Farewell {
    let mut reader = FrameReader::new(recv);
    let mut kinds = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap();
        match next.unwrap().expect("an error frame before the end") {
            Frame { kind: Kind::Error, content, .. } => {
                let error = ErrorFrame::read(&content).unwrap();
                let stopped = tokio::time::timeout(PATIENCE, send.stopped()).await.unwrap().unwrap();
                assert!(reader.next().await.unwrap().is_none(), "nothing follows an error");
                let _ = send.reset(0_u32.into());
                return Farewell {
                    kinds,
                    code: error.code,
                    line: error.message,
                    stopped: stopped.map(|code| code.into_inner()),
                };
            }
            Frame { kind, .. } => kinds.push(kind),
        }
    }
}

pub(crate) fn hello(session: Session) -> Vec<u8> {
    frame_of(&Hello { version: 1, session }).unwrap()
}

/// A ping near 31.23 N 121.47 E; `step` moves it north by about 11 km a piece.
pub(crate) fn ping(device: u64, at: EventTime, step: i32) -> Ping {
    let position = Position::from_e7(312_304_000 + step * 1_000_000, 1_214_737_000).unwrap();
    Ping { device: DeviceId(device), at, position, accuracy_m: 0 }
}

pub(crate) fn batch(pings: impl IntoIterator<Item = Ping>) -> Batch {
    let mut builder = BatchBuilder::new(usize::MAX);
    for ping in pings {
        assert!(builder.push(ping).is_none());
    }
    builder.take().unwrap()
}

/// An alert around the place of [`ping`], with stages of 100 km and later 200 km.
pub(crate) fn alert(id: &str, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","status":"{status}","expires":"2999-01-01T00:00:00Z","headline":"Lost near the Bund",
        "area":{{"circle":{{"lat":31.2304,"lon":121.4737}}}},
        "policy":{{"stages":[{{"after":"0s","radius_km":100}},{{"after":"1000d","radius_km":200}}]}}}}"#
    )
}

pub(crate) fn code_of(error: &hexcast::client::ClientError) -> Option<ErrorCode> {
    match error {
        hexcast::client::ClientError::Refused { code, .. } => *code,
        _ => None,
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
