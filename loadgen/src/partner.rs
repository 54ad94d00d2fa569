//! The partner: counts the matches of each alert's stages and notes when they came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hexcast::client::{Client, StartAt, SubscribeEvent, Subscription};
use hexcast::domain::{AlertId, AlertNo, Cause, MatchHead};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::watch::Counters;

/// How long a match log stands still before it has ended.
const QUIET: Duration = Duration::from_millis(300);
/// How long the partner may need to catch up with the match log at the end.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The matches of one stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) matched: u64,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// What came so far.
#[derive(Default)]
pub(crate) struct Received {
    names: BTreeMap<AlertNo, AlertId>,
    /// By alert and stage; those told on entry are not among them.
    pub(crate) stages: BTreeMap<(AlertId, u8), Arrived>,
    pub(crate) entered: u64,
    /// Devices told because of an alert's update.
    pub(crate) updates: BTreeMap<AlertId, Arrived>,
    /// Devices told of a cancellation.
    pub(crate) cancelled: BTreeMap<AlertId, Arrived>,
    ended: Option<String>,
}

/// A subscription that is being read.
pub(crate) struct Partner {
    received: Arc<Mutex<Received>>,
    /// The offset that comes next; closed when the subscription has ended.
    next: watch::Receiver<u64>,
    reading: JoinHandle<()>,
}

impl Partner {
    pub(crate) async fn start(
        client: &Client,
        namespace: &str,
        counters: &Arc<Counters>,
    ) -> anyhow::Result<Self> {
        let subscription = client.subscribe(namespace, StartAt::Latest, true).await?;
        let (reached, next) = watch::channel(subscription.next_offset().0);
        let received = Arc::new(Mutex::new(Received::default()));
        let reading = tokio::spawn(read(subscription, Arc::clone(&received), reached, Arc::clone(counters)));
        Ok(Self { received, next, reading })
    }

    /// Waits until everything that is in the log has come, and gives what came. Pings have ended; a server
    /// shows a match once the disk has it, so its log is taken to have ended when it has stood still a while.
    pub(crate) async fn finish(mut self, client: &Client, namespace: &str) -> anyhow::Result<Received> {
        let (mut end, mut since) = (0, Instant::now());
        while since.elapsed() < QUIET {
            let now = client.subscribe(namespace, StartAt::Latest, true).await?.terms().end;
            if std::mem::replace(&mut end, now) != now {
                since = Instant::now();
            }
            tokio::time::sleep(QUIET / 10).await;
        }
        let caught_up = tokio::time::timeout(CATCH_UP, self.next.wait_for(|next| *next >= end)).await;
        let ended = caught_up.context("the partner did not catch up with the match log")?.is_err();
        if ended {
            let why = self.received().ended.take().unwrap_or_default();
            bail!("the partner's subscription ended: {why}");
        }
        self.reading.abort();
        Ok(std::mem::take(&mut *self.received()))
    }

    /// Waits until so many matches of an alert's first stage have come.
    pub(crate) async fn stage(&mut self, id: &str, matches: u64) -> anyhow::Result<Arrived> {
        let key = (AlertId::from(id), 0);
        self.until(|received| received.stages.get(&key).copied().filter(|arrived| arrived.matched >= matches))
            .await
    }

    /// Waits until so many devices' matches of an alert's cancellation have come.
    pub(crate) async fn cancelled(&mut self, id: &str, matches: u64) -> anyhow::Result<()> {
        let id = AlertId::from(id);
        self.until(|received| received.cancelled.get(&id).filter(|told| told.matched >= matches).map(|_| ()))
            .await
    }

    async fn until<T>(&mut self, enough: impl Fn(&Received) -> Option<T>) -> anyhow::Result<T> {
        loop {
            self.next.borrow_and_update();
            if let Some(found) = enough(&self.received()) {
                return Ok(found);
            }
            if self.next.changed().await.is_err() {
                let why = self.received().ended.take().unwrap_or_default();
                bail!("the partner's subscription ended: {why}");
            }
        }
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    mut subscription: Subscription,
    received: Arc<Mutex<Received>>,
    reached: watch::Sender<u64>,
    counters: Arc<Counters>,
) {
    loop {
        let event = subscription.next().await;
        let now = Instant::now();
        if let Ok(SubscribeEvent::Matches(matches)) = &event {
            // Where this fails the session has ended, and reading on tells why.
            let _ = subscription.done_below(matches.next()).await;
        }
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(SubscribeEvent::Alert(content)) => drop(received.names.insert(content.no, content.id)),
            Ok(SubscribeEvent::Matches(matches)) => {
                matches.runs().for_each(|(_, head, devices)| received.take(&head, devices.len() as u64, now));
                reached.send_replace(subscription.next_offset().0);
                counters.read_to(subscription.next_offset().0);
            }
            Err(why) => {
                received.ended = Some(why.to_string());
                return;
            }
        }
    }
}

impl Received {
    fn take(&mut self, found: &MatchHead, matches: u64, now: Instant) {
        let Some(id) = self.names.get(&found.alert) else { return };
        let arrived = Arrived { matched: 0, first: now, last: now };
        let arrived = match found.cause {
            Cause::Publish | Cause::Escalation if found.version == 1 => {
                self.stages.entry((id.clone(), found.stage)).or_insert(arrived)
            }
            // Who is told for the first time because of an update, and who is told of the update.
            Cause::Publish | Cause::Escalation | Cause::Update => {
                self.updates.entry(id.clone()).or_insert(arrived)
            }
            Cause::Cancel => self.cancelled.entry(id.clone()).or_insert(arrived),
            Cause::Enter => {
                self.entered += matches;
                return;
            }
            Cause::Sighting => return,
        };
        arrived.matched += matches;
        arrived.last = now;
    }
}
