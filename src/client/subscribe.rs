//! Receiving matches.

#[cfg(doc)]
use super::StartAt;
use super::{ClientError, SubscribeTerms, Talk, frame, read, unexpected};
use crate::domain::{AlertId, AlertNo, Offset};
use crate::wire::{AlertContentFrame, CursorAck, Encoding, Frame, Kind, MatchColumns, MatchesView};

/// An alert's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertContent {
    /// The alert's number on this server, as matches name it.
    pub no: AlertNo,
    /// The version.
    pub version: u32,
    /// The alert's id.
    pub id: AlertId,
    /// `actual`, `exercise` or `test`.
    pub status: String,
    /// The whole alert, JSON.
    pub json: String,
}

/// What a subscription brings.
#[derive(Clone, Debug, PartialEq)]
pub enum SubscribeEvent {
    /// An alert's content; comes before the first match of its version. Where the server holds
    /// that version no more, it is a later one.
    Alert(AlertContent),
    /// Matches, by offset.
    Matches(MatchColumns),
}

/// A subscription to a namespace's matches.
pub struct Subscription {
    talk: Talk,
    terms: SubscribeTerms,
    next: Offset,
}

impl Subscription {
    pub(super) fn new(terms: SubscribeTerms, talk: Talk) -> Self {
        let next = Offset(terms.start);
        Self { talk, terms, next }
    }

    /// Where the log stood when the subscription began.
    pub fn terms(&self) -> &SubscribeTerms {
        &self.terms
    }

    /// The offset to resume from: everything before it came.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// Waits for what comes next. Nothing is lost where this is dropped.
    ///
    /// # Errors
    /// Where the session has ended; it ends only by an error.
    pub async fn next(&mut self) -> Result<SubscribeEvent, ClientError> {
        let server = self.talk.server;
        let protocol = |why: String| ClientError::Protocol { server, why };
        match frame(server, self.talk.reader.next().await)? {
            Some(Frame { kind: Kind::AlertContent, content, .. }) => {
                let content: AlertContentFrame = read(server, &content)?;
                Ok(SubscribeEvent::Alert(AlertContent {
                    no: AlertNo(content.alert),
                    version: content.version,
                    id: AlertId::from(content.id.as_str()),
                    status: content.status,
                    json: content.json,
                }))
            }
            Some(Frame { kind: Kind::MatchBatch, encoding, content }) => {
                let matches = if encoding == Encoding::Columns {
                    MatchColumns::read(&content)
                } else {
                    MatchesView::read(&content).and_then(|view| view.to_columns())
                };
                let matches = matches.map_err(|why| protocol(why.to_string()))?;
                self.next = matches.next();
                Ok(SubscribeEvent::Matches(matches))
            }
            Some(Frame { kind, .. }) => Err(unexpected(server, &kind)),
            None => Err(ClientError::lost(server, &"it ended the session")),
        }
    }

    /// Tells the server that all matches below `next` are dealt with: [`StartAt::Cursor`] resumes
    /// there. A server cuts off who does not say so in time.
    ///
    /// # Errors
    /// Where the session has ended.
    pub async fn done_below(&mut self, next: Offset) -> Result<(), ClientError> {
        self.talk.say(&CursorAck { next: next.0 }).await
    }
}
