//! A subscription: an alert's content, its matches, and how far the subscriber is.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{RecvStream, SendStream};

use super::end::End;
use super::session::{Talk, next_frame, say, wrong_kind};
use crate::delivery::{Delivery, OffsetGone};
use crate::domain::{AlertNo, Match, Offset, Status};
use crate::limits::{MATCH_BATCH_MATCHES_MAX, VERSIONS_SHOWN_MAX};
use crate::runtime::NamespaceIx;
use crate::wire::{
    AlertContentFrame, Body, CursorAck, ErrorCode, FrameReader, Kind, MatchRow, SessionTerms, StartAt,
    SubscribeTerms, matches_frame,
};

pub(super) async fn serve(
    talk: &mut Talk,
    namespace: &str,
    from: StartAt,
    exercises: bool,
) -> Result<End, End> {
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
    log.read(start, 0, &mut Vec::new())?;
    let terms = SubscribeTerms { start: start.0, earliest: earliest.0, end: end.0 };
    talk.welcome(SessionTerms::Subscribe(terms)).await?;

    let sent = AtomicU64::new(start.0);
    let mut feed =
        Feed { delivery: &delivery, namespace, exercises, shown: HashSet::new(), next: start, sent: &sent };
    let mut stopping = talk.stopping.clone();
    let end = tokio::select! {
        end = cursors(&mut talk.reader, start, &sent) => end,
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
async fn cursors(reader: &mut FrameReader<RecvStream>, start: Offset, sent: &AtomicU64) -> Result<End, End> {
    let mut cursor = start.0;
    while let Some((kind, content)) = next_frame(reader).await? {
        if kind != Kind::CursorAck {
            return Err(wrong_kind(kind, "a subscription"));
        }
        let next = CursorAck::read(content).map_err(|why| End::error(why.code(), why))?.next;
        let sent = sent.load(Ordering::Relaxed);
        if !(cursor..=sent).contains(&next) {
            let why = format!("cursor {next} is not between {cursor} and {sent}, which was sent");
            return Err(End::error(ErrorCode::Cursor, why));
        }
        cursor = next;
    }
    Ok(End::Done)
}

/// What a subscriber is shown.
struct Feed<'a> {
    delivery: &'a Delivery,
    namespace: NamespaceIx,
    exercises: bool,
    /// The versions whose content it has got.
    shown: HashSet<(AlertNo, u32)>,
    next: Offset,
    /// The offset up to which it was sent everything; the same as `next`, for its cursor.
    sent: &'a AtomicU64,
}

impl Feed<'_> {
    async fn run(&mut self, send: &mut SendStream) -> Result<End, End> {
        let log = self.delivery.log(self.namespace);
        let (mut found, mut rows, mut frame) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            log.wait_beyond(self.next).await;
            found.clear();
            log.read(self.next, MATCH_BATCH_MATCHES_MAX, &mut found)?;
            let Some((last, _)) = found.last() else { continue };
            self.next = Offset(last.0 + 1);
            rows.clear();
            for (offset, matched) in &found {
                if self.show(matched, send).await? {
                    rows.push(MatchRow::write(*offset, matched));
                }
            }
            if rows.is_empty() {
                continue;
            }
            matches_frame(self.next, &rows, &mut frame)
                .map_err(|why| End::error(ErrorCode::Internal, why))?;
            // Before the write: the subscriber may answer before the write returns.
            self.sent.store(self.next.0, Ordering::Relaxed);
            send.write_all(&frame).await?;
        }
    }

    /// Whether the subscriber is shown this match; sends its alert's content before the first of
    /// a version.
    async fn show(&mut self, matched: &Match, send: &mut SendStream) -> Result<bool, End> {
        let version = (matched.alert, matched.version);
        if self.shown.contains(&version) {
            return Ok(true);
        }
        let Some(info) = self.delivery.alert(matched.alert, matched.version) else {
            let why = format!("alert number {} has matches but no content", matched.alert.0);
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
        if self.shown.len() >= VERSIONS_SHOWN_MAX {
            self.shown.clear();
        }
        self.shown.insert(version);
        Ok(true)
    }
}
