//! Partners beside the one that times the matches: more that read at once, some that lag, some that
//! never read. The first must not feel them; what becomes of them is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hexcast::client::{Client, StartAt, SubscribeEvent, Subscription};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::scenario::Partners;

/// How one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reads {
    Prompt,
    Lagging,
    Stuck,
}

impl Reads {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Lagging => "lagging",
            Self::Stuck => "stuck",
        }
    }
}

/// What became of one.
#[derive(Debug, Serialize)]
pub(crate) struct PartnerReport {
    pub(crate) reads: Reads,
    /// Matches that it has read.
    pub(crate) read: u64,
    /// Matches in the log that it has not.
    pub(crate) behind: u64,
    /// Why its subscription ended, where it did.
    pub(crate) ended: Option<String>,
}

/// Subscriptions that go on beside the first.
pub(crate) struct Others {
    all: Vec<Other>,
}

struct Other {
    reads: Reads,
    start: u64,
    next: Arc<AtomicU64>,
    reading: JoinHandle<String>,
}

impl Others {
    /// All that the scenario wants but the first prompt one.
    pub(crate) async fn start(client: &Client, namespace: &str, wanted: &Partners) -> anyhow::Result<Self> {
        let kinds = [
            (Reads::Prompt, wanted.prompt.saturating_sub(1)),
            (Reads::Lagging, wanted.lagging),
            (Reads::Stuck, wanted.stuck),
        ];
        let mut all = Vec::new();
        for (reads, count) in kinds {
            for _ in 0..count {
                let subscription = client.subscribe(namespace, StartAt::Latest, true).await?;
                let start = subscription.next_offset().0;
                let next = Arc::new(AtomicU64::new(start));
                let lag = match reads {
                    Reads::Prompt => Some(Duration::ZERO),
                    Reads::Lagging => Some(Duration::from_millis(wanted.lag_ms)),
                    Reads::Stuck => None,
                };
                let reading = tokio::spawn(read(subscription, lag, Arc::clone(&next)));
                all.push(Other { reads, start, next, reading });
            }
        }
        Ok(Self { all })
    }

    /// What became of them, where the log ends at `end`.
    pub(crate) async fn finish(self, end: u64) -> Vec<PartnerReport> {
        let mut reports = Vec::new();
        for Other { reads, start, next, reading } in self.all {
            let next = next.load(Relaxed);
            let ended = if reading.is_finished() { reading.await.ok() } else { None };
            reports.push(PartnerReport {
                reads,
                read: next.saturating_sub(start),
                behind: end.saturating_sub(next),
                ended,
            });
        }
        reports
    }
}

/// Reads with a wait after every frame, or holds the subscription and never reads it. Returns why it
/// ended.
async fn read(mut subscription: Subscription, lag: Option<Duration>, next: Arc<AtomicU64>) -> String {
    let Some(lag) = lag else { return std::future::pending().await };
    loop {
        match subscription.next().await {
            Ok(SubscribeEvent::Matches(matches)) => {
                next.store(matches.next().0, Relaxed);
                // Where this fails the session has ended, and reading on tells why.
                let _ = subscription.done_below(matches.next()).await;
            }
            Ok(SubscribeEvent::Alert(_)) => {}
            Err(why) => return why.to_string(),
        }
        if !lag.is_zero() {
            // This partner is a slow one: that is what the scenario asks for.
            tokio::time::sleep(lag).await;
        }
    }
}
