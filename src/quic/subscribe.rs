//! A subscription: an alert's content, its matches, and how far the subscriber is.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::end::End;
use super::session::{Talk, next_frame, say, wrong_kind};
use crate::delivery::{Delivery, OffsetGone};
use crate::domain::{AlertNo, Offset, Status};
use crate::limits::{MATCH_BATCH_MATCHES_MAX, VERSIONS_SHOWN_MAX};
use crate::runtime::NamespaceIx;
use crate::telemetry::{Latency, Seat, SessionKind};
use crate::wire::{
    AlertContentFrame, Body, ColumnsBuilder, CursorAck, Encoding, Encodings, ErrorCode, Frame, FrameReader,
    Kind, MatchColumns, MatchRow, SessionTerms, StartAt, SubscribeTerms, matches_frame,
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
    let log = delivery.log(namespace);
    let (earliest, end) = (log.earliest(), log.end());
    let start = match from {
        StartAt::Earliest => earliest,
        StartAt::Latest => end,
        StartAt::Offset(offset) => Offset(offset),
    };
    // Says at once where the start is gone, or never was.
    log.read(start)?;
    talk.seat.is(SessionKind::Subscribe, usize::from(namespace.0));
    talk.seat.cursor(start.0);
    talk.seat.sent(start.0);
    let terms = SubscribeTerms { start: start.0, earliest: earliest.0, end: end.0 };
    talk.welcome(SessionTerms::Subscribe(terms)).await?;

    let sent = AtomicU64::new(start.0);
    let mut feed = Feed {
        delivery: &delivery,
        namespace,
        exercises,
        columns,
        shown: HashSet::new(),
        next: start,
        sent: &sent,
        newer: end,
        seat: &talk.seat,
        latency: &talk.services.runtime.telemetry().match_sent,
    };
    let mut stopping = talk.stopping.clone();
    let end = tokio::select! {
        end = cursors(&mut talk.reader, start, &sent, &talk.seat) => end,
        end = feed.run(&mut talk.send) => end,
        _ = stopping.wait_for(|stop| *stop) => Err(End::stopping()),
    };
    end
}

impl From<OffsetGone> for End {
    fn from(why: OffsetGone) -> Self {
        Self::error(ErrorCode::OffsetGone, why)
    }
}

/// Follows the subscriber's cursor until it is done.
async fn cursors(
    reader: &mut FrameReader<RecvStream>,
    start: Offset,
    sent: &AtomicU64,
    seat: &Seat,
) -> Result<End, End> {
    let mut cursor = start.0;
    while let Some(Frame { kind, content, .. }) = next_frame(reader).await? {
        if kind != Kind::CursorAck {
            return Err(wrong_kind(kind, "a subscription"));
        }
        let next = CursorAck::read(&content).map_err(|why| End::error(why.code(), why))?.next;
        let sent = sent.load(Ordering::Relaxed);
        if !(cursor..=sent).contains(&next) {
            let why = format!("cursor {next} is not between {cursor} and {sent}, which was sent");
            return Err(End::error(ErrorCode::Cursor, why));
        }
        cursor = next;
        seat.cursor(cursor);
    }
    Ok(End::Done)
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
    /// The offset up to which it was sent everything; the same as `next`, for its cursor.
    sent: &'a AtomicU64,
    /// Matches from here on came after the subscription: their way to the partner is timed.
    newer: Offset,
    seat: &'a Seat,
    latency: &'a Latency,
}

impl Feed<'_> {
    async fn run(&mut self, send: &mut SendStream) -> Result<End, End> {
        let log = self.delivery.log(self.namespace);
        loop {
            let Some(chunk) = log.read(self.next)? else {
                log.wait_beyond(self.next).await;
                continue;
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
                all &= self.show(*version, send).await?;
            }
            if all && self.columns {
                // The log's own bytes.
                self.write(chunk.frame, chunk.next, send).await?;
            } else if let Some(matches) = chunk.matches() {
                self.write_shown(&matches, send).await?;
            }
            if first >= self.newer
                && let Some(appended) = log.appended_at(first)
            {
                self.latency.record(appended.elapsed());
            }
            self.seat.sent(self.next.0);
            self.seat.versions_shown(self.shown.len());
        }
    }

    /// Sends those matches of a chunk whose alerts are shown, encoded anew.
    async fn write_shown(&mut self, matches: &MatchColumns, send: &mut SendStream) -> Result<(), End> {
        let next = matches.next();
        if self.columns {
            let mut shown = ColumnsBuilder::default();
            for (first, head, devices) in matches.runs() {
                if self.shown.contains(&(head.alert, head.version)) {
                    shown.push_run(first, &head, devices);
                }
            }
            if !shown.is_empty() {
                self.write(shown.frame(next).into(), next, send).await?;
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
            self.write(frame.into(), next, send).await?;
        }
        Ok(())
    }

    async fn write(&self, frame: Bytes, next: Offset, send: &mut SendStream) -> Result<(), End> {
        // Before the write: the subscriber may answer before the write returns.
        self.sent.store(next.0, Ordering::Relaxed);
        Ok(send.write_chunk(frame).await?)
    }

    /// Whether the subscriber is shown the matches of this version of an alert; sends its content
    /// before the first of them.
    async fn show(&mut self, version: (AlertNo, u32), send: &mut SendStream) -> Result<bool, End> {
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
        say(send, &content).await?;
        self.shown.insert(version);
        Ok(true)
    }
}
