//! An ingest session: batches in, acknowledgements out.

use std::sync::Arc;
use std::time::Instant;

use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::end::End;
use super::ledger::Ledger;
use super::session::{Talk, next_frame, say, wrong_kind};
use crate::domain::{EventTime, PingCounts};
use crate::limits::{
    PING_BATCH_PINGS_MAX, SOURCE_NAME_BYTES_MAX, UNAPPLIED_BATCHES_MAX, UNAPPLIED_PINGS_MAX,
};
use crate::runtime::{Applied, ClockMode, IngestSession, SourceName, SourceSession};
use crate::telemetry::{Seat, SessionKind};
use crate::wire::{
    Ack, Body, Encodings, ErrorCode, Frame, FrameReader, IngestTerms, Kind, PartitionHash, PingBatch,
    SessionTerms, Watermark,
};

/// What a session has taken and not yet applied. A permit is a ping or a batch; the reader
/// waits for them, and whoever hears that a batch is applied gives them back.
struct Unapplied {
    pings: Semaphore,
    batches: Semaphore,
}

pub(super) async fn serve(
    talk: &mut Talk,
    namespace: &str,
    source: &str,
    first_batch: u64,
) -> Result<End, End> {
    let granted = talk.grant.may_ingest(namespace);
    let namespace = talk.namespace(namespace, granted, "write pings into")?;
    if source.is_empty() || source.len() > SOURCE_NAME_BYTES_MAX {
        let why = format!("a source's name has 1 to {SOURCE_NAME_BYTES_MAX} bytes, not {}", source.len());
        return Err(End::error(ErrorCode::BadHello, why));
    }
    talk.seat.is(SessionKind::Ingest, usize::from(namespace.0));
    let (session, applied, kept) = talk.services.runtime.open_kept_session(namespace)?;
    let keeping = talk.services.runtime.keeping();
    let identity = talk.grant.name().to_owned();
    let name = SourceName { namespace, identity, source: source.to_owned() };
    let source = keeping.sources.open(name, first_batch);
    let first_batch = source.first();
    let terms = IngestTerms {
        partitions: talk.services.runtime.partitions(),
        hash: PartitionHash::Mix64,
        safe_basis: keeping.basis,
        last_safe: source.last_safe(),
        encodings: Encodings::ROWS_AND_COLUMNS,
        batch_pings_max: PING_BATCH_PINGS_MAX as u32,
        unapplied_pings_max: UNAPPLIED_PINGS_MAX,
        unapplied_batches_max: UNAPPLIED_BATCHES_MAX,
    };
    talk.welcome(SessionTerms::Ingest(terms)).await?;

    let unapplied = Arc::new(Unapplied {
        pings: Semaphore::new(UNAPPLIED_PINGS_MAX as usize),
        batches: Semaphore::new(UNAPPLIED_BATCHES_MAX as usize),
    });
    let intake = Intake {
        session,
        seat: &talk.seat,
        sorted: talk.services.runtime.clock_mode() == ClockMode::Event,
        next: first_batch,
        partitions: talk.services.runtime.partitions(),
        newest: EventTime::BEFORE_ALL,
        last_said: false,
    };
    let reading = intake.read(&mut talk.reader, &unapplied, talk.stopping.clone());
    let acking = Acking { applied, kept, source, ledger: Ledger::new(first_batch), unapplied: &unapplied };
    let acking = acking.run(&mut talk.send, &talk.seat);
    // When reading ends, the runtime's channel closes once all that was taken is applied, and so
    // acknowledging ends too. A peer that cannot be told anything ends both.
    let (end, ()) = tokio::try_join!(async { Ok::<_, End>(reading.await) }, acking)?;
    Ok(end)
}

struct Intake<'a> {
    session: IngestSession,
    seat: &'a Seat,
    /// The event clock takes pings sorted by time.
    sorted: bool,
    next: u64,
    partitions: u32,
    /// The time of the newest ping or watermark.
    newest: EventTime,
    last_said: bool,
}

impl Intake<'_> {
    /// Reads batches and watermarks until the peer is done, errs, or the server stops.
    async fn read(
        mut self,
        reader: &mut FrameReader<RecvStream>,
        unapplied: &Unapplied,
        mut stopping: watch::Receiver<bool>,
    ) -> End {
        let read = async {
            loop {
                match next_frame(reader).await? {
                    None => return Ok(End::Done),
                    Some(Frame { kind: Kind::PingBatch, encoding, content }) => {
                        let batch = PingBatch::read(encoding, &content);
                        let batch = batch.map_err(|why| End::error(why.code(), why))?;
                        self.batch(batch, unapplied).await?;
                    }
                    Some(Frame { kind: Kind::Watermark, content, .. }) => self.watermark(&content).await?,
                    Some(Frame { kind, .. }) => return Err(wrong_kind(kind, "an ingest session")),
                }
            }
        };
        tokio::select! {
            end = read => end.unwrap_or_else(|end: End| end),
            _ = stopping.wait_for(|stop| *stop) => End::stopping(),
        }
    }

    async fn batch(&mut self, batch: PingBatch, unapplied: &Unapplied) -> Result<(), End> {
        let received = Instant::now();
        if batch.number() != self.next {
            let why = format!("batch {} came where {} was due", batch.number(), self.next);
            return Err(End::error(ErrorCode::BatchNumber, why));
        }
        if let Some(target) = batch.target().filter(|target| u32::from(target.of) != self.partitions) {
            let why = format!(
                "batch {} is split over {} partitions, there are {}",
                batch.number(),
                target.of,
                self.partitions
            );
            return Err(End::error(ErrorCode::Malformed, why));
        }
        if self.sorted {
            self.in_order(&batch)?;
        }
        let stopped = |_| End::stopping();
        // In this order everywhere, and both before the queues' room: no two can wait in a ring.
        unapplied.batches.acquire().await.map_err(stopped)?.forget();
        unapplied.pings.acquire_many(batch.len() as u32).await.map_err(stopped)?.forget();
        self.seat.taken(batch.len() as u64);
        self.session.submit_batch(batch, received).await?;
        self.next += 1;
        Ok(())
    }

    /// On the event clock nothing may come before what came, nor at times that cannot be.
    fn in_order(&mut self, batch: &PingBatch) -> Result<(), End> {
        let mut newest = self.newest;
        let mut buffer = Vec::new();
        for row in batch.rows(&mut buffer) {
            let at = batch.base().plus_ms(row.ms_after_base());
            if at < newest || self.last_said {
                let why =
                    format!("batch {}: a ping at {at} after {newest}: sort pings by time", batch.number());
                return Err(End::error(ErrorCode::Order, why));
            }
            newest = at;
        }
        possible(newest)?;
        self.newest = newest;
        Ok(())
    }

    async fn watermark(&mut self, content: &[u8]) -> Result<(), End> {
        let mark = Watermark::read(content).map_err(|why| End::error(why.code(), why))?;
        let at = EventTime(mark.at_ms);
        possible(at)?;
        if self.sorted && (at < self.newest || self.last_said) {
            let why = format!("a watermark at {at} after {}", self.newest);
            return Err(End::error(ErrorCode::Order, why));
        }
        self.newest = self.newest.max(at);
        self.last_said |= mark.last;
        Ok(self.session.watermark(at, mark.last).await?)
    }
}

/// A time that would carry the event clock to where no other time can follow.
fn possible(at: EventTime) -> Result<(), End> {
    EventTime::from_unix_ms(at.0).map(drop).map_err(|why| End::error(ErrorCode::Malformed, why))
}

/// What is heard of a session's batches.
struct Acking<'a> {
    applied: mpsc::UnboundedReceiver<Applied>,
    /// Batches that the ping logs hold.
    kept: mpsc::UnboundedReceiver<u64>,
    source: SourceSession,
    ledger: Ledger,
    unapplied: &'a Unapplied,
}

impl Acking<'_> {
    /// Tells the peer what is applied and what is safe, until all that was taken is applied. Says it once for all
    /// that is known by then, so that acknowledgements never fall behind.
    async fn run(mut self, send: &mut SendStream, seat: &Seat) -> Result<(), End> {
        let mut held = Ledger::new(self.ledger.applied() + 1);
        let mut told = None;
        loop {
            tokio::select! {
                batch = self.applied.recv() => match batch {
                    Some(batch) => self.take(batch, seat),
                    None => break,
                },
                Some(batch) = self.kept.recv() => {
                    held.apply(batch, PingCounts::default());
                    while let Ok(batch) = self.kept.try_recv() {
                        held.apply(batch, PingCounts::default());
                    }
                    self.source.kept(held.applied());
                }
                // A source that is forgotten hears no more.
                Ok(()) = self.source.safe().changed() => {}
            }
            while let Ok(batch) = self.applied.try_recv() {
                self.take(batch, seat);
            }
            self.source.applied(self.ledger.applied());
            let now = (self.ledger.applied(), self.safe());
            if told != Some(now) {
                told = Some(now);
                self.say(send).await?;
            }
        }
        // The last word of a session that took nothing, too.
        self.say(send).await
    }

    fn take(&mut self, batch: Applied, seat: &Seat) {
        self.unapplied.pings.add_permits(batch.counts.total() as usize);
        self.unapplied.batches.add_permits(1);
        seat.applied(batch.counts.total());
        self.ledger.apply(batch.number, batch.counts);
    }

    fn safe(&mut self) -> u64 {
        let safe = *self.source.safe().borrow_and_update();
        // A log may be faster than the word that a batch is applied.
        safe.min(self.ledger.applied())
    }

    async fn say(&mut self, send: &mut SendStream) -> Result<(), End> {
        let safe = self.safe();
        say(send, &Ack::new(self.ledger.applied(), safe, self.ledger.counts())).await
    }
}
