//! The other end of the wire: what commands, the load generator and tests talk to a server with.
//!
//! A [`Client`] is one connection of one identity; each of its sessions is a stream of its own.
//! It never retries by itself, apart from [`Follow`] and [`Source`], whose whole job that is, and it keeps no
//! more pings than the window that the server granted; a source keeps what it is told to. Invariant: an error is one line that
//! names the server and what to do.

mod batch;
mod control;
mod error;
mod follow;
mod ingest;
mod source;
mod subscribe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, VarInt};

use crate::access;
use crate::limits::{HANDSHAKE_MS_MAX, HELLO_MS_MAX};
use crate::wire::{
    Body, Datum, Encodings, ErrorCode, ErrorFrame, Frame, FrameReader, Hello, HelloReply, Kind,
    PROTOCOL_VERSION, ReadError, Session, SessionTerms, frame_of,
};

pub use batch::{Batch, BatchBuilder, Splitter};
pub use control::Control;
pub use error::ClientError;
pub use follow::{Follow, FollowEvent};
pub use ingest::{IngestStream, Progress};
pub use source::{KeepPolicy, Source, SourceState, WhenFull};
pub use subscribe::{AlertContent, SubscribeEvent, Subscription};

pub use crate::wire::{Clock, IngestTerms, MatchColumns, SafeBasis, StartAt, SubscribeTerms, Target};

/// A connection to a server.
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
    server: SocketAddr,
}

impl Client {
    /// Connects with the identity `name` of the certificates in `pki`.
    ///
    /// # Errors
    /// Where the certificates cannot be used, nobody answers, or the server is another's.
    pub async fn connect(server: SocketAddr, pki: &Path, name: &str) -> Result<Self, ClientError> {
        let tls = access::client_config(pki, name)?;
        let local: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let endpoint =
            Endpoint::client(SocketAddr::new(local, 0)).map_err(|why| ClientError::connect(server, &why))?;
        let config = client_config(tls).map_err(|why| ClientError::connect(server, &why))?;
        // Certificates name addresses, and this machine.
        let name = if server.ip().is_loopback() { "localhost".into() } else { server.ip().to_string() };
        let connecting =
            endpoint.connect_with(config, server, &name).map_err(|why| ClientError::connect(server, &why))?;
        let connection = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), connecting)
            .await
            .map_err(|_| ClientError::connect(server, &"nobody answers"))?
            .map_err(|why| ClientError::connection(server, &why))?;
        Ok(Self { endpoint, connection, server })
    }

    /// The server.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Opens a session that writes pings into `namespace`. `source` names the stream of batches.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub async fn ingest(&self, namespace: &str, source: &str) -> Result<IngestStream, ClientError> {
        self.ingest_from(namespace, source, 1).await
    }

    /// The same, with a first batch of this number; 0 for the one after the last that is safe.
    ///
    /// # Errors
    /// As [`ingest`](Self::ingest).
    pub async fn ingest_from(
        &self,
        namespace: &str,
        source: &str,
        first: u64,
    ) -> Result<IngestStream, ClientError> {
        let session = Session::Ingest {
            namespace: namespace.into(),
            source: source.into(),
            first_batch: first,
            datum: Datum::Wgs84,
        };
        let (reply, talk) = self.open(session).await?;
        match reply.terms.clone() {
            SessionTerms::Ingest(terms) => Ok(IngestStream::new(reply, terms, talk, first)),
            other => Err(unexpected(self.server, &other)),
        }
    }

    /// Opens a subscription to the matches of `namespace`.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub async fn subscribe(
        &self,
        namespace: &str,
        from: StartAt,
        exercises: bool,
    ) -> Result<Subscription, ClientError> {
        let session = Session::Subscribe {
            namespace: namespace.into(),
            from,
            exercises,
            encodings: Encodings::ROWS_AND_COLUMNS,
        };
        let (reply, talk) = self.open(session).await?;
        match reply.terms {
            SessionTerms::Subscribe(terms) => Ok(Subscription::new(terms, talk)),
            other => Err(unexpected(self.server, &other)),
        }
    }

    /// Opens a session that acts on alerts.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub async fn control(&self) -> Result<Control, ClientError> {
        let (reply, talk) = self.open(Session::Control).await?;
        match reply.terms.clone() {
            SessionTerms::Control => Ok(Control::new(reply, talk)),
            other => Err(unexpected(self.server, &other)),
        }
    }

    /// Closes the connection and waits until the server could have heard of it.
    pub async fn close(self) {
        self.connection.close(VarInt::from(ErrorCode::Done.number()), b"");
        self.endpoint.wait_idle().await;
    }

    async fn open(&self, session: Session) -> Result<(HelloReply, Talk), ClientError> {
        let server = self.server;
        let (send, recv) =
            self.connection.open_bi().await.map_err(|why| ClientError::connection(server, &why))?;
        let mut talk = Talk { server, send, reader: FrameReader::new(recv) };
        talk.say(&Hello { version: PROTOCOL_VERSION, session }).await?;
        let answer = tokio::time::timeout(Duration::from_millis(HELLO_MS_MAX), talk.reader.next());
        let answer = answer.await.map_err(|_| ClientError::lost(server, &"it does not answer"))?;
        let reply = match frame(server, answer)? {
            Some(Frame { kind: Kind::HelloReply, content, .. }) => read(server, &content)?,
            Some(Frame { kind, .. }) => return Err(unexpected(server, &kind)),
            None => return Err(ClientError::lost(server, &"it ended the session")),
        };
        Ok((reply, talk))
    }
}

fn client_config(tls: rustls::ClientConfig) -> Result<ClientConfig, String> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|why| why.to_string())?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    // Only clients open streams.
    config.transport_config(Arc::new(access::transport(0)));
    Ok(config)
}

/// A session's stream.
struct Talk {
    server: SocketAddr,
    send: SendStream,
    reader: FrameReader<RecvStream>,
}

impl Talk {
    async fn say(&mut self, body: &impl Body) -> Result<(), ClientError> {
        let frame = frame_of(body).map_err(|why| ClientError::TooLarge(why.to_string()))?;
        match self.send.write_all(&frame).await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.why_write_failed(&why).await),
        }
    }

    /// The server's own word on why a write failed, where it comes; frames before it are lost.
    async fn why_write_failed(&mut self, why: &quinn::WriteError) -> ClientError {
        let server = self.server;
        let word = async {
            loop {
                let next = self.reader.next().await;
                match frame(server, next) {
                    Ok(Some(_)) => {}
                    Ok(None) => break ClientError::write(server, why),
                    Err(why) => break why,
                }
            }
        };
        let bound = Duration::from_millis(crate::limits::FAREWELL_MS_MAX);
        tokio::time::timeout(bound, word).await.unwrap_or_else(|_| ClientError::write(server, why))
    }
}

/// A frame that came, where it is no error frame.
fn frame(server: SocketAddr, came: Result<Option<Frame>, ReadError>) -> Result<Option<Frame>, ClientError> {
    match came {
        Ok(Some(Frame { kind: Kind::Error, content, .. })) => {
            let error: ErrorFrame = read(server, &content)?;
            Err(ClientError::refused(server, u64::from(error.code), error.message))
        }
        Ok(frame) => Ok(frame),
        Err(why) => Err(ClientError::read(server, why)),
    }
}

fn read<B: Body>(server: SocketAddr, content: &[u8]) -> Result<B, ClientError> {
    B::read(content).map_err(|why| ClientError::Protocol { server, why: why.to_string() })
}

fn unexpected(server: SocketAddr, what: &dyn std::fmt::Debug) -> ClientError {
    ClientError::Protocol { server, why: format!("it answered with {what:?}") }
}
