//! Sending pings.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Batch, ClientError, Talk, frame, read, unexpected};
use crate::domain::{EventTime, PingCounts};
use crate::limits::FAREWELL_MS_MAX;
use crate::wire::{
    Ack, Encoding, Frame, FrameReader, HelloReply, IngestTerms, Kind, Target, Watermark, frame_of, ping_frame,
};

/// What the server has acknowledged of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All batches up to this number are applied; 0 for none.
    pub applied: u64,
    /// All batches up to this number are safe; 0 for none.
    pub safe: u64,
    /// What became of the pings of the applied batches.
    pub counts: PingCounts,
}

/// A stream of ping batches. Dropping it ends the session without waiting for what is under way.
pub struct IngestStream {
    server: SocketAddr,
    reply: HelloReply,
    terms: IngestTerms,
    send: SendStream,
    /// What of a frame that was begun is not on its way yet.
    unsent: Bytes,
    encoding: Encoding,
    /// The number of the next batch.
    next: u64,
    /// Number and pings of batches that are not acknowledged as applied.
    unapplied: VecDeque<(u64, u32)>,
    unapplied_pings: u64,
    window_pings: u64,
    progress: watch::Receiver<Progress>,
    /// Reads acknowledgements; ends with the session, and is gone when its word was heard.
    reader: Option<JoinHandle<Result<(), ClientError>>>,
}

impl IngestStream {
    pub(super) fn new(reply: HelloReply, terms: IngestTerms, talk: Talk, first: u64) -> Self {
        let (said, progress) = watch::channel(Progress::default());
        Self {
            server: talk.server,
            reply,
            send: talk.send,
            unsent: Bytes::new(),
            encoding: if terms.encodings.has(Encoding::Columns) { Encoding::Columns } else { Encoding::Rows },
            next: if first == 0 { terms.last_safe.saturating_add(1) } else { first },
            unapplied: VecDeque::new(),
            unapplied_pings: 0,
            window_pings: u64::from(terms.unapplied_pings_max),
            terms,
            progress,
            reader: Some(tokio::spawn(acknowledgements(talk.server, talk.reader, said))),
        }
    }

    /// The server's answer to the hello: its clock and time.
    pub fn hello(&self) -> &HelloReply {
        &self.reply
    }

    /// What the session is bound to.
    pub fn terms(&self) -> &IngestTerms {
        &self.terms
    }

    /// The number of the next batch.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Holds at most `pings` pings unacknowledged from now on (at least one batch, at most what
    /// the server takes): fewer make acknowledgements prompter.
    pub fn set_window(&mut self, pings: u64) {
        self.window_pings = pings.min(u64::from(self.terms.unapplied_pings_max));
    }

    /// Acknowledgements as they come; each says all again, so that none need be read.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Sends rows of 20 bytes from now on, where it would be columns: less work here, more bytes.
    pub fn set_rows(&mut self) {
        self.encoding = Encoding::Rows;
    }

    /// Sends a batch and returns its number. Waits while the window is full. Where it is dropped half-way the batch was
    /// taken whole or not at all, as [`next`](Self::next) says; one that was taken is sent by what is called next.
    ///
    /// # Errors
    /// Where the batch is larger than the server takes, or the session has ended.
    pub async fn send(&mut self, batch: &Batch) -> Result<u64, ClientError> {
        self.send_to(batch, None).await
    }

    /// Sends a batch whose devices all belong to one partition of the server, as
    /// [`Splitter`](super::Splitter) makes them: it goes there without being looked at before.
    /// Pings that belong to another partition are rejected.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_to(&mut self, batch: &Batch, target: Option<Target>) -> Result<u64, ClientError> {
        self.room(batch).await?;
        let number = self.put(batch, target)?;
        self.flush().await?;
        Ok(number)
    }

    /// Waits until a batch may be put. It may be dropped.
    pub(super) async fn room(&mut self, batch: &Batch) -> Result<(), ClientError> {
        let pings = batch.rows.len() as u64;
        if pings > u64::from(self.terms.batch_pings_max) {
            let max = self.terms.batch_pings_max;
            return Err(ClientError::TooLarge(format!("a batch of {pings} pings, at most {max} are taken")));
        }
        // What was put and not flushed would never be applied, nor make room.
        self.flush().await?;
        while !self.has_room(pings) {
            if self.progress.changed().await.is_err() {
                return Err(self.why_ended(None).await);
            }
        }
        Ok(())
    }

    /// Takes a batch, for which there is [room](Self::room), to be [flushed](Self::flush); returns its number.
    pub(super) fn put(&mut self, batch: &Batch, target: Option<Target>) -> Result<u64, ClientError> {
        debug_assert!(self.unsent.is_empty(), "one frame after the other");
        let number = self.next;
        let mut frame = Vec::new();
        ping_frame(self.encoding, number, batch.base, target, &batch.rows, &mut frame)
            .map_err(|why| ClientError::TooLarge(why.to_string()))?;
        self.unsent = frame.into();
        self.next += 1;
        let pings = batch.rows.len() as u32;
        self.unapplied.push_back((number, pings));
        self.unapplied_pings += u64::from(pings);
        Ok(number)
    }

    /// Sends what is left of a frame. It may be dropped: what is then left stays.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.unsent.is_empty() {
            // As a chunk of its own: it is not copied before it is encrypted.
            if let Err(why) = self.send.write_chunks(std::slice::from_mut(&mut self.unsent)).await {
                return Err(self.why_ended(Some(&why)).await);
            }
        }
        Ok(())
    }

    /// On the event clock: no ping before `at` follows (`last`: none at all, and `at` itself has
    /// passed).
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn watermark(&mut self, at: EventTime, last: bool) -> Result<(), ClientError> {
        let frame = frame_of(&Watermark { at_ms: at.0, last })
            .map_err(|why| ClientError::TooLarge(why.to_string()))?;
        self.flush().await?;
        self.unsent = frame.into();
        self.flush().await
    }

    /// Says that nothing follows, waits until all is applied, and returns the last word on it.
    ///
    /// # Errors
    /// Where the server did not apply all.
    pub async fn finish(mut self) -> Result<Progress, ClientError> {
        self.flush().await?;
        if self.send.finish().is_err() {
            return Err(self.why_ended(None).await);
        }
        if let Some(reader) = self.reader.take() {
            reader.await.unwrap_or_else(|why| Err(ClientError::lost(self.server, &why)))?;
        }
        let last = *self.progress.borrow();
        if last.applied + 1 == self.next {
            return Ok(last);
        }
        let why = format!("it applied {} of {} batches", last.applied, self.next - 1);
        Err(ClientError::lost(self.server, &why))
    }

    fn has_room(&mut self, pings: u64) -> bool {
        let applied = self.progress.borrow_and_update().applied;
        while let Some((number, pings)) = self.unapplied.front().copied()
            && number <= applied
        {
            self.unapplied_pings -= u64::from(pings);
            self.unapplied.pop_front();
        }
        self.unapplied.is_empty()
            || (self.unapplied_pings + pings <= self.window_pings
                && self.unapplied.len() < self.terms.unapplied_batches_max as usize)
    }

    /// The server's own word on why the session ended, where it comes in time.
    async fn why_ended(&mut self, write: Option<&quinn::WriteError>) -> ClientError {
        if let Some(reader) = &mut self.reader
            && let Ok(word) = tokio::time::timeout(Duration::from_millis(FAREWELL_MS_MAX), reader).await
        {
            self.reader = None;
            if let Ok(Err(why)) = word {
                return why;
            }
        }
        match write {
            Some(why) => ClientError::write(self.server, why),
            None => ClientError::lost(self.server, &"it ended the session"),
        }
    }
}

async fn acknowledgements(
    server: SocketAddr,
    mut reader: FrameReader<RecvStream>,
    said: watch::Sender<Progress>,
) -> Result<(), ClientError> {
    while let Some(Frame { kind, content, .. }) = frame(server, reader.next().await)? {
        if kind != Kind::Ack {
            return Err(unexpected(server, &kind));
        }
        let ack: Ack = read(server, &content)?;
        said.send_replace(Progress { applied: ack.applied, safe: ack.safe, counts: ack.counts() });
    }
    Ok(())
}
