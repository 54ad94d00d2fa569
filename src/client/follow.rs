//! A subscription that comes back after a lost connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Client, ClientError, StartAt, SubscribeEvent, Subscription};
use crate::domain::Offset;
use crate::limits::{RECONNECT_MS_FIRST, RECONNECT_MS_MAX};

/// A subscription that connects anew, from the offset where it was, until the server refuses.
pub struct Follow {
    server: SocketAddr,
    pki: PathBuf,
    name: String,
    namespace: String,
    exercises: bool,
    from: StartAt,
    open: Option<(Client, Subscription)>,
    /// What came last was handed out and is not acknowledged yet.
    due: Option<Offset>,
    wait_ms: u64,
}

/// What following brings.
#[derive(Debug)]
pub enum FollowEvent {
    /// What a subscription brings. An alert's content comes again after a reconnection.
    Event(SubscribeEvent),
    /// Connected; matches follow from this offset on.
    Connected(Offset),
    /// The connection was lost for this reason, and will be tried again after the wait.
    Lost(ClientError, Duration),
}

impl Follow {
    /// Follows the matches of `namespace`. Nothing is connected yet.
    pub fn new(
        server: SocketAddr,
        pki: impl Into<PathBuf>,
        name: &str,
        namespace: &str,
        from: StartAt,
        exercises: bool,
    ) -> Self {
        Self {
            server,
            pki: pki.into(),
            name: name.into(),
            namespace: namespace.into(),
            exercises,
            from,
            open: None,
            due: None,
            wait_ms: 0,
        }
    }

    /// Waits for what comes next, connecting where needed. Asking for more acknowledges what came
    /// before: it is taken as dealt with.
    ///
    /// # Errors
    /// Where the server refuses for good, or was never reached at all.
    pub async fn next(&mut self) -> Result<FollowEvent, ClientError> {
        let Some((_, subscription)) = &mut self.open else { return self.connect().await };
        if let Some(next) = self.due.take() {
            // Where this fails the session has ended, and reading on tells why.
            let _ = subscription.done_below(next).await;
        }
        match subscription.next().await {
            Ok(event) => {
                let next = subscription.next_offset();
                self.due = matches!(event, SubscribeEvent::Matches(_)).then_some(next);
                self.from = StartAt::Offset(next.0);
                self.wait_ms = RECONNECT_MS_FIRST;
                Ok(FollowEvent::Event(event))
            }
            Err(why) => self.lost(why),
        }
    }

    /// Ends it, and lets the server know.
    pub async fn close(mut self) {
        if let Some((client, _)) = self.open.take() {
            client.close().await;
        }
    }

    async fn connect(&mut self) -> Result<FollowEvent, ClientError> {
        let first = self.wait_ms == 0;
        // Longer each time in vain, so that a server that comes back is not overrun.
        tokio::time::sleep(Duration::from_millis(self.wait_ms)).await;
        match self.open().await {
            Ok((client, subscription)) => {
                let next = subscription.next_offset();
                self.from = StartAt::Offset(next.0);
                self.wait_ms = self.wait_ms.max(RECONNECT_MS_FIRST);
                self.open = Some((client, subscription));
                Ok(FollowEvent::Connected(next))
            }
            Err(why) if first => Err(why),
            Err(why) => self.lost(why),
        }
    }

    async fn open(&self) -> Result<(Client, Subscription), ClientError> {
        let client = Client::connect(self.server, &self.pki, &self.name).await?;
        let subscription = client.subscribe(&self.namespace, self.from, self.exercises).await?;
        Ok((client, subscription))
    }

    fn lost(&mut self, why: ClientError) -> Result<FollowEvent, ClientError> {
        (self.open, self.due) = (None, None);
        if !why.is_transient() {
            return Err(why);
        }
        let wait = self.wait_ms;
        self.wait_ms = (2 * wait).clamp(RECONNECT_MS_FIRST, RECONNECT_MS_MAX);
        Ok(FollowEvent::Lost(why, Duration::from_millis(wait)))
    }
}
