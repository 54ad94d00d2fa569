//! A source of pings that loses none: it keeps what is not safe, and after a lost connection or a restart of
//! the server sends it again. What was applied already is stale by then and costs nothing.
//!
//! What it keeps is bounded. Beyond that it waits, or drops the oldest and counts them, as it is told to. Of a
//! server that keeps nothing it only keeps what is not applied.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Batch, Client, ClientError, IngestStream, Progress, SafeBasis};
use crate::domain::PingCounts;
use crate::limits::{RECONNECT_MS_FIRST, RECONNECT_MS_MAX, SOURCE_KEEPS_BYTES};

/// What a source does where it may keep no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits until some is safe.
    #[default]
    Wait,
    /// It drops the oldest, which may then be lost: for sources that cannot wait.
    DropOldest,
}

/// How much a source keeps.
#[derive(Clone, Copy, Debug)]
pub struct KeepPolicy {
    /// Most bytes of pings (20 each), at least a batch.
    pub bytes_max: usize,
    /// What then.
    pub when_full: WhenFull,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        Self { bytes_max: SOURCE_KEEPS_BYTES, when_full: WhenFull::Wait }
    }
}

/// How far a source has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// What became of pings, over all sessions. What was sent twice is counted twice.
    pub counts: PingCounts,
    /// Batches that were taken to be sent.
    pub taken: u64,
    /// Batches that are kept, because they are not safe.
    pub kept: usize,
    /// Batches that were dropped before they were safe.
    pub dropped: u64,
    /// How often a connection was lost.
    pub lost: u64,
}

/// A named source. See the module head.
pub struct Source {
    server: SocketAddr,
    pki: PathBuf,
    identity: String,
    namespace: String,
    name: String,
    policy: KeepPolicy,
    open: Option<(Client, IngestStream)>,
    /// What is not safe, by number, oldest first.
    kept: VecDeque<(u64, Batch)>,
    bytes: usize,
    /// How many of `kept` the open session was sent.
    sent: usize,
    /// The number of the next batch; 0 until the server has named it.
    next: u64,
    before: PingCounts,
    taken: u64,
    dropped: u64,
    lost: u64,
    wait_ms: u64,
}

impl Source {
    /// A source of this name. Nothing is connected yet.
    pub fn new(
        server: SocketAddr,
        pki: impl Into<PathBuf>,
        identity: &str,
        namespace: &str,
        name: &str,
        policy: KeepPolicy,
    ) -> Self {
        Self {
            server,
            pki: pki.into(),
            identity: identity.into(),
            namespace: namespace.into(),
            name: name.into(),
            policy,
            open: None,
            kept: VecDeque::new(),
            bytes: 0,
            sent: 0,
            next: 0,
            before: PingCounts::default(),
            taken: 0,
            dropped: 0,
            lost: 0,
            wait_ms: 0,
        }
    }

    /// The server answers elsewhere from now on.
    pub fn set_server(&mut self, server: SocketAddr) {
        if self.server != server {
            self.server = server;
            self.part();
        }
    }

    /// Sends a batch, and keeps it until it is safe. Waits while the server takes no more, while it is not to be
    /// reached, and while there is no room to keep it.
    ///
    /// Where it is dropped half-way the batch was taken whole or not at all, as [`SourceState::taken`] says. One that
    /// was taken is sent by whatever is called next; one that was not may be sent again.
    ///
    /// # Errors
    /// Where the server refuses the source for good, or was never reached at all.
    pub async fn send(&mut self, batch: Batch) -> Result<(), ClientError> {
        while self.next == 0 {
            self.connect().await?;
        }
        let bytes = batch.bytes();
        while self.bytes > 0 && self.bytes + bytes > self.policy.bytes_max {
            match self.policy.when_full {
                WhenFull::Wait => self.wait().await?,
                WhenFull::DropOldest => self.drop_oldest(),
            }
        }
        self.kept.push_back((self.next, batch));
        self.bytes += bytes;
        self.next += 1;
        self.taken += 1;
        self.send_kept().await
    }

    /// Waits until all that was sent is applied.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn applied(&mut self) -> Result<(), ClientError> {
        loop {
            self.send_kept().await?;
            // What is safe is applied, and a session that had nothing to send again is told nothing.
            if self.kept.is_empty() || self.progress().applied + 1 >= self.next {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Waits until all that was sent is safe; on a server that keeps nothing, applied.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn safe(&mut self) -> Result<(), ClientError> {
        loop {
            self.send_kept().await?;
            self.release();
            if self.kept.is_empty() {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// How far it has come.
    pub fn state(&self) -> SourceState {
        let mut counts = self.before;
        counts.add(&self.progress().counts);
        SourceState {
            counts,
            taken: self.taken,
            kept: self.kept.len(),
            dropped: self.dropped,
            lost: self.lost,
        }
    }

    /// Ends it, and lets the server know. What is not safe may be lost.
    pub async fn close(mut self) {
        if let Some((client, _)) = self.open.take() {
            client.close().await;
        }
    }

    fn progress(&self) -> Progress {
        self.open.as_ref().map_or_else(Progress::default, |(_, stream)| *stream.progress().borrow())
    }

    /// Up to which number nothing needs to be kept.
    fn held(&self) -> u64 {
        let keeps_nothing =
            self.open.as_ref().is_some_and(|(_, stream)| stream.terms().safe_basis == SafeBasis::None);
        let progress = self.progress();
        if keeps_nothing { progress.applied } else { progress.safe }
    }

    fn release(&mut self) {
        let held = self.held();
        while self.kept.front().is_some_and(|(number, _)| *number <= held) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, batch)) = self.kept.pop_front() {
            self.bytes -= batch.bytes();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// What the session was sent is under way and may still arrive; it is just not kept.
    fn drop_oldest(&mut self) {
        self.release();
        if !self.kept.is_empty() && self.sent > 0 {
            self.dropped += 1;
            self.forget_oldest();
        } else if self.kept.len() > 1 {
            // Of what is not sent, the numbers must have no gap: the session is begun anew after it.
            self.dropped += 1;
            self.forget_oldest();
            self.part();
        }
    }

    /// Sends what of the kept the session was not sent.
    async fn send_kept(&mut self) -> Result<(), ClientError> {
        loop {
            self.release();
            let Some((_, stream)) = &mut self.open else {
                self.connect().await?;
                continue;
            };
            let Some((_, batch)) = self.kept.get(self.sent) else {
                // What an earlier call put, and was dropped before it was on its way.
                match stream.flush().await {
                    Ok(()) => return Ok(()),
                    Err(why) => self.failed(why)?,
                }
                continue;
            };
            match stream.room(batch).await.and_then(|()| stream.put(batch, None)) {
                // Without a pause between the two: dropped here it is neither sent twice nor forgotten.
                Ok(_) => self.sent += 1,
                Err(why) => self.failed(why)?,
            }
        }
    }

    /// Sends all, and where that makes no progress waits until the server says more.
    async fn wait(&mut self) -> Result<(), ClientError> {
        let before = self.progress();
        self.send_kept().await?;
        let Some((_, stream)) = &self.open else { return Ok(()) };
        let mut progress = stream.progress();
        if progress.wait_for(|now| *now != before).await.is_err() {
            let why = ClientError::lost(self.server, &"it ended the session");
            self.failed(why)?;
        }
        self.release();
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        // Longer each time in vain, so that a server that comes back is not overrun.
        tokio::time::sleep(Duration::from_millis(self.wait_ms)).await;
        // The next one that the server must take: the oldest kept, or after all that was.
        let first = self.kept.front().map_or(self.next, |(number, _)| *number);
        let never = self.next == 0 && self.wait_ms == 0;
        match self.begin(first).await {
            Ok((client, stream)) => {
                self.next = self.next.max(stream.next());
                (self.open, self.sent, self.wait_ms) = (Some((client, stream)), 0, RECONNECT_MS_FIRST);
                Ok(())
            }
            Err(why) if never => Err(why),
            Err(why) => self.failed(why),
        }
    }

    async fn begin(&self, first: u64) -> Result<(Client, IngestStream), ClientError> {
        let client = Client::connect(self.server, &self.pki, &self.identity).await?;
        let stream = client.ingest_from(&self.namespace, &self.name, first).await?;
        Ok((client, stream))
    }

    fn failed(&mut self, why: ClientError) -> Result<(), ClientError> {
        self.lost += u64::from(self.open.is_some());
        self.part();
        if !why.is_transient() {
            return Err(why);
        }
        self.wait_ms = (2 * self.wait_ms).clamp(RECONNECT_MS_FIRST, RECONNECT_MS_MAX);
        Ok(())
    }

    fn part(&mut self) {
        self.before.add(&self.progress().counts);
        (self.open, self.sent) = (None, 0);
    }
}
