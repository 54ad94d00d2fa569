//! One session: its hello, what it is for, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::close;
use super::end::End;
use super::{Services, Shared, control, ingest, subscribe};
use crate::access::Grant;
use crate::limits::{FAREWELL_MS_MAX, FRAME_MS_MAX, HELLO_MS_MAX};
use crate::runtime::{ClockMode, NamespaceIx};
use crate::telemetry::Seat;
use crate::wire::{
    Body, Clock, ErrorCode, ErrorFrame, Frame, FrameReader, Hello, HelloReply, Kind, PROTOCOL_VERSION,
    Session, SessionTerms, frame_of, protocol_version,
};

/// A session's stream and what it may use.
pub(super) struct Talk {
    pub(super) reader: FrameReader<RecvStream>,
    pub(super) send: SendStream,
    /// What of a frame that was begun is not on its way yet.
    pub(super) unsent: Bytes,
    pub(super) services: Services,
    pub(super) grant: Arc<Grant>,
    pub(super) stopping: watch::Receiver<bool>,
    /// Its place among the figures.
    pub(super) seat: Seat,
}

/// Serves a stream until its session has ended, and tells the peer why.
pub(super) async fn serve(
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    grant: Arc<Grant>,
    shared: Arc<Shared>,
) {
    let seat = shared.services.telemetry().sessions.open(grant.name());
    let mut talk = Talk {
        reader: FrameReader::new(recv),
        send,
        unsent: Bytes::new(),
        services: shared.services.clone(),
        grant,
        stopping: shared.stopping.clone(),
        seat,
    };
    let end = converse(&mut talk).await;
    let name = talk.grant.name();
    let code = match &end {
        End::Done | End::Gone => ErrorCode::Done,
        End::Error(code, _) | End::Connection(code, _) => *code,
    };
    let kind = talk.seat.kind().as_str();
    let gone = matches!(end, End::Gone);
    shared.services.telemetry().sessions_ended.count(kind, if gone { "gone" } else { code.name() });
    match &end {
        End::Done | End::Gone => tracing::debug!(name, ?end, "session over"),
        End::Error(code, why) | End::Connection(code, why) => {
            tracing::info!(name, %code, why, "session ended");
        }
    }
    talk.part(&connection, end, code).await;
}

async fn converse(talk: &mut Talk) -> End {
    let session = match talk.hello().await {
        Ok(hello) => hello.session,
        Err(end) => return end,
    };
    let ended = match session {
        Session::Ingest { namespace, source, first_batch, datum: _ } => {
            ingest::serve(talk, &namespace, &source, first_batch).await
        }
        Session::Subscribe { namespace, from, exercises, encodings } => {
            subscribe::serve(talk, &namespace, from, exercises, encodings).await
        }
        Session::Control => control::serve(talk).await,
    };
    ended.unwrap_or_else(|end| end)
}

impl Talk {
    async fn hello(&mut self) -> Result<Hello, End> {
        let mut stopping = self.stopping.clone();
        let in_time = timeout(Duration::from_millis(HELLO_MS_MAX), self.reader.next());
        let frame = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return Err(End::stopping()),
            frame = in_time => frame,
        };
        let late = |_| End::error(ErrorCode::Timeout, format!("no hello within {HELLO_MS_MAX} ms"));
        let Frame { kind, content, .. } = frame
            .map_err(late)??
            .ok_or_else(|| End::error(ErrorCode::Truncated, "the stream ended before a hello"))?;
        if kind != Kind::Hello {
            let why = format!("the first frame is of kind {kind:?}, send a hello");
            return Err(End::error(ErrorCode::WrongKind, why));
        }
        match protocol_version(&content) {
            Some(PROTOCOL_VERSION) | None => {}
            Some(other) => {
                let why = format!("protocol version {other} is not spoken here, use {PROTOCOL_VERSION}");
                return Err(End::Connection(ErrorCode::Version, why));
            }
        }
        Hello::read(&content).map_err(|why| End::error(ErrorCode::BadHello, why))
    }

    /// The namespace with this name, where the server has it and `granted` holds. Who has no
    /// grant does not learn which namespaces exist.
    pub(super) fn namespace(&self, name: &str, granted: bool, what: &str) -> Result<NamespaceIx, End> {
        let shown: String = name.chars().take(80).collect();
        if !granted {
            let (who, role) = (self.grant.name(), self.grant.role());
            let why = format!("\"{who}\" ({role}) is not granted to {what} the namespace \"{shown}\"");
            return Err(End::error(ErrorCode::NoGrant, why));
        }
        self.services.runtime.namespace(name).ok_or_else(|| {
            let why = format!("the server has no namespace \"{shown}\": it is configured with others");
            End::error(ErrorCode::UnknownNamespace, why)
        })
    }

    /// Answers the hello.
    pub(super) async fn welcome(&mut self, terms: SessionTerms) -> Result<(), End> {
        let clock = match self.services.runtime.clock_mode() {
            ClockMode::Wall => Clock::Wall,
            ClockMode::Event => Clock::Event,
        };
        let now_ms = self.services.runtime.now().0;
        self.say(&HelloReply { version: PROTOCOL_VERSION, clock, now_ms, terms }).await
    }

    /// Sends a frame.
    pub(super) async fn say(&mut self, body: &impl Body) -> Result<(), End> {
        say(&mut self.send, body).await
    }

    /// The last words: the peer learns the code by an error frame and by QUIC, and the stream is
    /// closed both ways.
    async fn part(mut self, connection: &Connection, end: End, code: ErrorCode) {
        let number = VarInt::from(code.number());
        match end {
            End::Done => {
                let bound = Duration::from_millis(FAREWELL_MS_MAX);
                if let Ok(Ok(())) = timeout(bound, flush(&mut self.send, &mut self.unsent)).await {
                    self.finish().await;
                } else {
                    let _ = self.send.reset(number);
                }
            }
            End::Gone => {
                let _ = self.send.reset(number);
            }
            End::Error(code, why) => {
                let error = ErrorFrame::new(code, &why);
                let (send, unsent) = (&mut self.send, &mut self.unsent);
                let last = async {
                    flush(send, unsent).await?;
                    say(send, &error).await
                };
                // A peer that does not read gets the code alone.
                let said = timeout(Duration::from_millis(FAREWELL_MS_MAX), last).await;
                if let Ok(Ok(())) = said {
                    let _ = self.reader.stream_mut().stop(number);
                    self.finish().await;
                } else {
                    let _ = self.send.reset(number);
                }
            }
            End::Connection(code, why) => close(connection, code, &why),
        }
        let _ = self.reader.stream_mut().stop(number);
    }

    /// Ends our side, and waits a bounded time until the peer has all of it: when the server
    /// shuts down, the connection is closed next, and takes with it what is under way.
    async fn finish(&mut self) {
        // Fails only where the peer wants no more.
        if self.send.finish().is_ok() {
            let _ = timeout(Duration::from_millis(FAREWELL_MS_MAX), self.send.stopped()).await;
        }
    }
}

/// Sends what is left of a frame. It may be dropped: what is then left stays.
pub(super) async fn flush(send: &mut SendStream, unsent: &mut Bytes) -> Result<(), End> {
    while !unsent.is_empty() {
        send.write_chunks(std::slice::from_mut(unsent)).await?;
    }
    Ok(())
}

/// Sends a frame.
pub(super) async fn say(send: &mut SendStream, body: &impl Body) -> Result<(), End> {
    let frame = frame_of(body).map_err(|why| End::error(ErrorCode::Internal, why))?;
    Ok(send.write_all(&frame).await?)
}

/// The next frame of a session that has begun; `None` where the peer is done. It may come late,
/// but what has begun to come must come soon. Nothing is lost where this is dropped.
pub(super) async fn next_frame(reader: &mut FrameReader<RecvStream>) -> Result<Option<Frame>, End> {
    if !reader.begins().await? {
        return Ok(None);
    }
    match timeout(Duration::from_millis(FRAME_MS_MAX), reader.frame()).await {
        Ok(frame) => Ok(Some(frame?)),
        Err(_) => Err(End::error(
            ErrorCode::Timeout,
            format!("the rest of a frame did not come in {FRAME_MS_MAX} ms"),
        )),
    }
}

/// The end of a session that got a frame of a kind that it does not take.
pub(super) fn wrong_kind(kind: Kind, session: &str) -> End {
    End::error(ErrorCode::WrongKind, format!("a frame of kind {kind:?} has no place in {session}"))
}
