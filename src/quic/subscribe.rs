//! A subscription: an alert's content, its matches, and how far the subscriber is.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::end::End;
use super::session::{Talk, flush, next_frame, wrong_kind};
use crate::delivery::{CutOff, Delivery, Look, MatchLog, PartnerReads, Patience, ReadError, Standing};
use crate::domain::{AlertNo, Namespace, Offset, Status};
use crate::limits::{MATCH_BATCH_MATCHES_MAX, VERSIONS_SHOWN_MAX};
use crate::runtime::{NamespaceIx, Runtime};
use crate::telemetry::{Latency, Seat, SessionKind};
use crate::wire::{
    AlertContentFrame, Body, ColumnsBuilder, CursorAck, Encoding, Encodings, ErrorCode, Frame, FrameReader,
    Kind, MatchColumns, MatchRow, SessionTerms, StartAt, SubscribeTerms, frame_of, matches_frame,
};

pub(super) async fn serve(
    talk: &mut Talk,
    namespace: &str,
    from: StartAt,
    exercises: bool,
    encodings: Encodings,
) -> Result<End, End> {
    let columns = encodings.has(Encoding::Columns);
    if !columns && !encodings.has(Encoding::Rows) {
        return Err(End::error(
            ErrorCode::BadHello,
            "match batches come as rows or columns: read one of them",
        ));
    }
    let granted = talk.grant.may_subscribe(namespace);
    let namespace = talk.namespace(namespace, granted, "read the matches of")?;
    let delivery = std::sync::Arc::clone(&talk.services.delivery);
    let (runtime, grant) = (talk.services.runtime.clone(), std::sync::Arc::clone(&talk.grant));
    let (name, partner) = (namespace_name(&runtime, namespace), grant.name());
    let log = delivery.log(namespace);
    let (earliest, end) = (log.earliest(), log.end());
    let start = match from {
        StartAt::Earliest => earliest,
        StartAt::Latest => end,
        StartAt::Offset(offset) => Offset(offset),
        StartAt::Cursor => delivery.cursors().get(name, partner).unwrap_or(earliest),
    };
    // Says at once where the start is gone, or never was.
    log.look(start).map_err(ReadError::from)?;
    talk.seat.is(SessionKind::Subscribe, usize::from(namespace.0));
    talk.seat.cursor(start.0);
    talk.seat.sent(start.0);
    let terms = SubscribeTerms { start: start.0, earliest: earliest.0, end: end.0 };
    talk.welcome(SessionTerms::Subscribe(terms)).await?;

    let partner =
        Partner { delivery: &delivery, runtime: &runtime, namespace: name, name: partner, seat: &talk.seat };
    let far = Far::new(start);
    let mut feed = Feed {
        delivery: &delivery,
        namespace,
        exercises,
        columns,
        shown: HashSet::new(),
        next: start,
        far: &far,
        newer: end,
        seat: &talk.seat,
        latency: &runtime.telemetry().match_sent,
        cold: delivery.cold_reads().of(partner.name),
    };
    let mut out = Out { send: &mut talk.send, unsent: &mut talk.unsent };
    let mut stopping = talk.stopping.clone();
    let end = tokio::select! {
        end = partner.cursors(&mut talk.reader, &far) => end,
        end = feed.run(&mut out) => end,
        end = partner.patience(log, start, &far) => Err(end),
        _ = stopping.wait_for(|stop| *stop) => Err(End::stopping()),
    };
    partner.end(&far);
    end
}

fn namespace_name(runtime: &Runtime, namespace: NamespaceIx) -> &Namespace {
    &runtime.namespaces()[usize::from(namespace.0)].name
}

impl From<ReadError> for End {
    fn from(why: ReadError) -> Self {
        match why {
            ReadError::Gone(why) => Self::error(ErrorCode::OffsetGone, why),
            ReadError::Unreadable { from, .. } => {
                tracing::error!("{why}");
                // Its partner need not know our files.
                Self::error(ErrorCode::Internal, format!("the matches from offset {from} on cannot be read"))
            }
        }
    }
}

impl From<CutOff> for End {
    fn from(why: CutOff) -> Self {
        Self::error(ErrorCode::Lagging, why)
    }
}

/// How far a subscription is.
struct Far {
    /// The subscriber was sent, or is being sent, everything below.
    sent: AtomicU64,
    /// The subscriber was sent everything below, or is not shown it.
    passed: AtomicU64,
    /// It has acknowledged everything below.
    acknowledged: AtomicU64,
    /// Whether it has acknowledged at all.
    acknowledges: AtomicBool,
}

impl Far {
    fn new(start: Offset) -> Self {
        let at = || AtomicU64::new(start.0);
        Self { sent: at(), passed: at(), acknowledged: at(), acknowledges: AtomicBool::new(false) }
    }

    /// How the subscriber stands: where it has acknowledged all that it was sent, it is done with what
    /// it is not shown too.
    fn standing(&self) -> Standing {
        // Read first: what was passed then was all sent or withheld before.
        let passed = self.passed.load(Ordering::SeqCst);
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        let owes = acknowledged < sent;
        Standing { done: Offset(if owes { acknowledged } else { acknowledged.max(passed) }), owes }
    }
}

/// Who reads.
struct Partner<'a> {
    delivery: &'a Delivery,
    runtime: &'a Runtime,
    namespace: &'a Namespace,
    name: &'a str,
    seat: &'a Seat,
}

impl Partner<'_> {
    /// Follows the subscriber's cursor until it is done.
    async fn cursors(&self, reader: &mut FrameReader<RecvStream>, far: &Far) -> Result<End, End> {
        let (cursors, ticks) = (self.delivery.cursors(), self.delivery.ticks());
        let mut write_at = None;
        loop {
            let frame = tokio::select! {
                frame = next_frame(reader) => frame?,
                () = ticks.reach(write_at.unwrap_or(u64::MAX)), if write_at.is_some() => {
                    cursors.write(self.namespace, self.name, ticks.now_ms());
                    write_at = None;
                    continue;
                }
            };
            let Some(Frame { kind, content, .. }) = frame else { return Ok(End::Done) };
            if kind != Kind::CursorAck {
                return Err(wrong_kind(kind, "a subscription"));
            }
            let next = CursorAck::read(&content).map_err(|why| End::error(why.code(), why))?.next;
            let (cursor, sent) = (far.acknowledged.load(Ordering::SeqCst), far.sent.load(Ordering::SeqCst));
            if !(cursor..=sent).contains(&next) {
                let why = format!("cursor {next} is not between {cursor} and {sent}, which was sent");
                return Err(End::error(ErrorCode::Cursor, why));
            }
            far.acknowledged.store(next, Ordering::SeqCst);
            far.acknowledges.store(true, Ordering::SeqCst);
            self.seat.cursor(far.standing().done.0);
            let (at, now_ms) = (self.runtime.now(), ticks.now_ms());
            write_at = cursors.acknowledged(self.namespace, self.name, far.standing().done, at, now_ms);
        }
    }

    /// Waits until the subscriber lags too far.
    async fn patience(&self, log: &MatchLog, start: Offset, far: &Far) -> End {
        let ticks = self.delivery.ticks();
        let mut patience = Patience::new(self.delivery.lag(), start, log.end(), ticks.now_ms());
        loop {
            let end = log.end();
            match patience.look(far.standing(), end, ticks.now_ms()) {
                Ok(Some(at_ms)) => ticks.reach(at_ms).await,
                Ok(None) => log.wait_beyond(end).await,
                Err(why) => {
                    self.delivery.count_cut_off(why);
                    let (name, namespace) = (self.name, self.namespace);
                    tracing::warn!(name, %namespace, "a partner is cut off: {why}");
                    return why.into();
                }
            }
        }
    }

    /// The session is over: what it acknowledged is written.
    fn end(&self, far: &Far) {
        if far.acknowledges.load(Ordering::SeqCst) {
            let (at, now_ms) = (self.runtime.now(), self.delivery.ticks().now_ms());
            let cursors = self.delivery.cursors();
            cursors.acknowledged(self.namespace, self.name, far.standing().done, at, now_ms);
            cursors.write(self.namespace, self.name, now_ms);
        }
    }
}

/// Where frames go. What of a frame is not on its way yet stays in `unsent`, so that a session that
/// is ended amid a frame can still end it before it says why.
struct Out<'a> {
    send: &'a mut SendStream,
    unsent: &'a mut Bytes,
}

impl Out<'_> {
    async fn frame(&mut self, frame: Bytes) -> Result<(), End> {
        debug_assert!(self.unsent.is_empty(), "one frame after the other");
        *self.unsent = frame;
        flush(self.send, self.unsent).await
    }
}

/// What a subscriber is shown.
struct Feed<'a> {
    delivery: &'a Delivery,
    namespace: NamespaceIx,
    exercises: bool,
    /// Whether it reads columns.
    columns: bool,
    /// The versions whose content it has got.
    shown: HashSet<(AlertNo, u32)>,
    next: Offset,
    far: &'a Far,
    /// Matches from here on came after the subscription: their way to the partner is timed.
    newer: Offset,
    seat: &'a Seat,
    latency: &'a Latency,
    cold: PartnerReads,
}

impl Feed<'_> {
    async fn run(&mut self, out: &mut Out<'_>) -> Result<End, End> {
        let log = self.delivery.log(self.namespace);
        loop {
            let chunk = match log.look(self.next).map_err(ReadError::from)? {
                Look::Here(chunk) => chunk,
                Look::OnDisk(cold) => self.cold.read(cold).await?,
                Look::End => {
                    log.wait_beyond(self.next).await;
                    continue;
                }
            };
            // The offset to resume from, told with what is sent next.
            self.next = chunk.next;
            let first = chunk.first;
            // Never amid a chunk, whose matches would then look withheld.
            if self.shown.len() + chunk.versions.len() > VERSIONS_SHOWN_MAX {
                self.shown.clear();
            }
            let mut all = true;
            for version in chunk.versions.iter() {
                all &= self.show(*version, out).await?;
            }
            if all && self.columns {
                // The log's own bytes.
                self.write(chunk.frame, chunk.next, out).await?;
            } else if let Some(matches) = chunk.matches() {
                self.write_shown(&matches, out).await?;
            }
            self.far.passed.store(chunk.next.0, Ordering::SeqCst);
            if first >= self.newer
                && let Some(appended) = log.appended_at(first)
            {
                self.latency.record(appended.elapsed());
            }
            self.seat.sent(self.next.0);
            self.seat.versions_shown(self.shown.len());
            self.seat.cursor(self.far.standing().done.0);
        }
    }

    /// Sends those matches of a chunk whose alerts are shown, encoded anew.
    async fn write_shown(&mut self, matches: &MatchColumns, out: &mut Out<'_>) -> Result<(), End> {
        let next = matches.next();
        if self.columns {
            let mut shown = ColumnsBuilder::default();
            for (first, head, devices) in matches.runs() {
                if self.shown.contains(&(head.alert, head.version)) {
                    shown.push_run(first, &head, devices);
                }
            }
            if !shown.is_empty() {
                self.write(shown.frame(next).into(), next, out).await?;
            }
            return Ok(());
        }
        let shown = matches.iter().filter(|(_, found)| self.shown.contains(&(found.alert, found.version)));
        let rows: Vec<MatchRow> = shown.map(|(offset, found)| MatchRow::write(offset, &found)).collect();
        let mut batches = rows.chunks(MATCH_BATCH_MATCHES_MAX).peekable();
        while let Some(batch) = batches.next() {
            let next = match (batches.peek(), batch.last()) {
                (Some(_), Some(last)) => Offset(last.offset.get() + 1),
                _ => next,
            };
            let mut frame = Vec::new();
            matches_frame(next, batch, &mut frame).map_err(|why| End::error(ErrorCode::Internal, why))?;
            self.write(frame.into(), next, out).await?;
        }
        Ok(())
    }

    async fn write(&self, frame: Bytes, next: Offset, out: &mut Out<'_>) -> Result<(), End> {
        // Before the write: the subscriber may answer before the write returns.
        self.far.sent.store(next.0, Ordering::SeqCst);
        out.frame(frame).await
    }

    /// Whether the subscriber is shown the matches of this version of an alert; sends its content
    /// before the first of them.
    async fn show(&mut self, version: (AlertNo, u32), out: &mut Out<'_>) -> Result<bool, End> {
        if self.shown.contains(&version) {
            return Ok(true);
        }
        let Some(info) = self.delivery.alert(version.0, version.1) else {
            let why = format!("alert number {} has matches but no content", version.0.0);
            return Err(End::error(ErrorCode::Internal, why));
        };
        let wanted = match info.status {
            Status::Actual => true,
            Status::Exercise | Status::Test => self.exercises,
            Status::Draft => false,
        };
        if !wanted {
            return Ok(false);
        }
        let content = AlertContentFrame {
            alert: info.no.0,
            version: info.version,
            id: info.id.to_string(),
            status: info.status.as_str().into(),
            json: info.json.to_string(),
        };
        let frame = frame_of(&content).map_err(|why| End::error(ErrorCode::Internal, why))?;
        out.frame(frame.into()).await?;
        self.shown.insert(version);
        Ok(true)
    }
}
