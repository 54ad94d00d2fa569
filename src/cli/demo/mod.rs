//! `hexcast demo`: the main job end to end, in one process, over real QUIC.
//!
//! An engine on the event clock, an operator that streams the pings of a population, a partner
//! that receives matches, an authority that raises an alert; each speaks to the engine over
//! loopback as it would over a network. In the end a brute-force recount must agree match by match.

mod account;
mod population;
mod recount;
mod script;
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use tokio::sync::watch;

use super::args::default_partitions;
use super::output::{count, grouped, note, say};
use super::progress::Progress;
use super::serve::Engine;
use crate::access::pki;
use crate::client::{BatchBuilder, Client, Control, IngestStream, StartAt, SubscribeEvent, Subscription};
use crate::delivery::LagLimits;
use crate::desk::Policies;
use crate::domain::{CancelReason, EventTime, MaxAge, Namespace};
use crate::limits::{MAX_AGE_MS, PING_BATCH_PINGS_MAX};
use crate::runtime::{ClockMode, NamespaceConfig, RuntimeConfig};
use account::{Received, clock};
use population::Population;
use recount::Found;
use script::{ALERT, START, Script, What};
use world::{TICK_MS, World};

/// The same story every time.
const SEED: u64 = 20_260_515;
/// Most devices: some 100 bytes each, in the engine and in the story.
const DEVICES_MAX: i64 = 20_000_000;
/// How long the last matches may take to arrive once all pings are applied.
const LAST_MATCHES_WAIT: Duration = Duration::from_secs(20);
/// Differences that are shown one by one.
const DIFFERENCES_TOLD: usize = 5;

/// Shows what hexcast does: streams a population, raises an alert, lets it grow, counts again.
///
/// Starts an engine on loopback with certificates of its own, streams pings of devices spread
/// over China as its people are, publishes an alert for a child lost in Nanjing, lets it grow by
/// the four stages of China's Tuanyuan system, confirms a sighting in Xi'an, and ends with the
/// all-clear. Then a brute-force recount over the same pings must agree match by match. Ends by
/// itself and leaves nothing behind.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Devices; each reports every 5 minutes for some 3 hours and a half.
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u32).range(1..=DEVICES_MAX))]
    devices: u32,
    /// Seconds of the story in a second, as a pace limit.
    #[arg(long, value_name = "X", default_value_t = 800.0, value_parser = pace)]
    fast_forward: f64,
}

fn pace(text: &str) -> Result<f64, String> {
    let pace = text.parse().ok().filter(|pace| (1.0..=1e9).contains(pace));
    pace.ok_or_else(|| "write a number from 1 to 1000000000".into())
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let population = Population::of_china()?;
    let script = Script::new(&population)?;
    let world = Arc::new(World::new(&population, args.devices, SEED, START));
    let partitions = default_partitions();
    say(&format!(
        "hexcast demo: {} spread over China as its people are, one child lost in {}.\n\
         7 of 10 stay at home, 2 walk, 1 drives; each reports every 5 minutes over QUIC (loopback, mutual TLS)\n\
         to an engine of {}. The story runs from {} to {}, up to {} times as fast.\n",
        count(u64::from(args.devices), "device", "devices"),
        script.lost_in.name,
        count(partitions.into(), "partition", "partitions"),
        clock(START),
        clock(script.end),
        args.fast_forward,
    ))?;
    let place = TemporaryDir::new()?;
    let told = tokio::runtime::Runtime::new().context("the threads for the network")?.block_on(play(
        &place.0,
        args.fast_forward,
        partitions,
        &world,
        &script,
    ))?;
    report(&told, &script)
}

/// What came of the story.
struct Told {
    received: Received,
    /// What the recount says, sorted.
    expected: Vec<Found>,
    /// When the watermark that passes each moment was handed over.
    handed: BTreeMap<What, Instant>,
    pings: u64,
    took: Duration,
    recount_took: Duration,
}

async fn play(
    place: &Path,
    fast_forward: f64,
    partitions: u32,
    world: &Arc<World>,
    script: &Script,
) -> anyhow::Result<Told> {
    let certificates = place.join("pki");
    pki::init(&certificates)?;
    let config = RuntimeConfig {
        partitions,
        namespaces: vec![NamespaceConfig {
            name: Namespace::new(pki::DEFAULT_NAMESPACE)?,
            max_age: MaxAge::Ms(MAX_AGE_MS),
        }],
        clock: ClockMode::Event,
        clock_skew_ms: 0,
        sliced: true,
    };
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let engine = Engine::start(config, Policies::new(), LagLimits::default(), loopback, &certificates)?;
    let server = engine.address();

    let partner = Client::connect(server, &certificates, "partner").await?;
    let subscription = partner.subscribe(pki::DEFAULT_NAMESPACE, StartAt::Earliest, true).await?;
    let received = Arc::new(Mutex::new(Received::default()));
    let (reached, mut next) = watch::channel(subscription.next_offset().0);
    let receiving = tokio::spawn(receive(subscription, Arc::clone(&received), reached));
    let authority = Client::connect(server, &certificates, "authority").await?;
    let control = authority.control().await?;
    let operator = Client::connect(server, &certificates, "operator").await?;
    let stream = operator.ingest(pki::DEFAULT_NAMESPACE, "demo").await?;

    let mut stage = Stage { stream, control, handed: BTreeMap::new(), pings: 0 };
    let begun = Instant::now();
    stage.stream(fast_forward, world, script).await?;
    let Stage { stream, handed, pings, .. } = stage;
    let counts = stream.finish().await?.counts;
    let took = begun.elapsed();
    ensure!(
        counts.accepted == pings,
        "the engine accepted {} of {pings} pings ({} stale, {} rejected)",
        counts.accepted,
        counts.stale,
        counts.rejected_total()
    );

    let counting = Instant::now();
    let (world, again) = (Arc::clone(world), script.clone());
    let expected = tokio::task::spawn_blocking(move || recount::recount(&world, &again)).await?;
    let recount_took = counting.elapsed();
    // All pings are applied, so the log has all matches: the partner must have them, and no more.
    // What it then lacks, the recount tells.
    let end = partner.subscribe(pki::DEFAULT_NAMESPACE, StartAt::Latest, true).await?.terms().end;
    let caught_up = next.wait_for(|next| *next >= end);
    if tokio::time::timeout(LAST_MATCHES_WAIT, caught_up).await.is_err() {
        note(&"hexcast: the partner did not catch up with the match log");
    }
    receiving.abort();
    partner.close().await;
    authority.close().await;
    operator.close().await;
    engine.stop().await?;
    let received = std::mem::take(&mut *received.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Told { received, expected, handed, pings, took, recount_took })
}

/// The partner: keeps what comes until it is stopped.
async fn receive(
    mut subscription: Subscription,
    received: Arc<Mutex<Received>>,
    reached: watch::Sender<u64>,
) {
    loop {
        match subscription.next().await {
            Ok(SubscribeEvent::Matches(matches)) => {
                received
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(matches.iter().map(|(_, found)| found));
                reached.send_replace(subscription.next_offset().0);
                // Where this fails the session has ended, and reading on tells why.
                let _ = subscription.done_below(matches.next()).await;
            }
            Ok(SubscribeEvent::Alert(_)) => {}
            Err(why) => {
                note(&format!("hexcast: the partner's subscription ended: {why}"));
                return;
            }
        }
    }
}

/// The operator and the authority.
struct Stage {
    stream: IngestStream,
    control: Control,
    handed: BTreeMap<What, Instant>,
    pings: u64,
}

impl Stage {
    /// Streams the story tick by tick, not faster than the pace.
    async fn stream(&mut self, fast_forward: f64, world: &World, script: &Script) -> anyhow::Result<()> {
        let mut progress = Progress::new("the story", Some(script.ticks() as u64));
        let begun = tokio::time::Instant::now();
        let (mut pings, mut builder) = (Vec::new(), BatchBuilder::new(PING_BATCH_PINGS_MAX));
        for tick in 0..script.ticks() {
            let since_ms = tick * TICK_MS;
            let due = begun + Duration::from_secs_f64(since_ms as f64 / 1_000.0 / fast_forward);
            // The story has a pace of its own.
            tokio::time::sleep_until(due).await;
            self.moments(START.plus_ms(since_ms), script).await?;
            world.pings_of_tick(tick, &mut pings);
            self.pings += pings.len() as u64;
            for ping in &pings {
                if let Some(batch) = builder.push(*ping) {
                    self.stream.send(&batch).await?;
                }
            }
            if let Some(batch) = builder.take() {
                self.stream.send(&batch).await?;
            }
            progress.set(tick as u64);
        }
        self.stream.watermark(script.end, true).await?;
        Ok(())
    }

    /// Hands in what happens at `at`, and lets the clock pass it.
    async fn moments(&mut self, at: EventTime, script: &Script) -> anyhow::Result<()> {
        let moments = script.moments();
        let now: Vec<What> = moments.iter().filter(|moment| moment.at == at).map(|m| m.what).collect();
        if now.is_empty() {
            return Ok(());
        }
        for what in &now {
            match what {
                What::Publish => {
                    self.control.publish(&script.alert().to_string(), Some(at)).await?;
                }
                What::Sighting => {
                    let (city, seen) = (&script.seen_in, Some(script.seen));
                    self.control.sighting(ALERT, city.lat, city.lon, seen, Some(at)).await?;
                }
                What::Cancel => {
                    self.control.cancel(ALERT, CancelReason::Found, Some(at)).await?;
                }
                What::Stage { .. } => {}
            }
        }
        let handed = Instant::now();
        self.stream.watermark(at.plus_ms(1), false).await?;
        self.handed.extend(now.into_iter().map(|what| (what, handed)));
        Ok(())
    }
}

fn report(told: &Told, script: &Script) -> anyhow::Result<()> {
    let Told { received, expected, .. } = told;
    let mut found = received.found.clone();
    found.sort_unstable();
    say(&received.table(script, &told.handed))?;
    let seconds = told.took.as_secs_f64();
    say(&format!(
        "  in all: {} in {seconds:.1} s ({} a second), {}\n\
         \x20 notified: {}, each once; the all-clear reached {} of them\n\
         \x20 ms: from handing over the watermark that passes the moment to the partner having the match",
        count(told.pings, "ping", "pings"),
        grouped((told.pings as f64 / seconds) as u64),
        count(found.len() as u64, "match", "matches"),
        count(received.notified(), "device", "devices"),
        grouped(received.cleared),
    ))?;
    let differences = differences(&found, expected);
    let agree = expected.len() - differences.iter().filter(|(who, _)| *who == Who::Recount).count();
    say(&format!(
        "  recount: {} of {} matches agree (brute force over all pings, {:.1} s)",
        grouped(agree as u64),
        grouped(expected.len() as u64),
        told.recount_took.as_secs_f64()
    ))?;
    for (who, difference) in differences.iter().take(DIFFERENCES_TOLD) {
        note(&format!("hexcast: only the {who:?} has {difference:?}"));
    }
    if !differences.is_empty() || received.odd > 0 {
        bail!(
            "the recount differs in {} matches, and {} matches carry a wrong version or radius",
            differences.len(),
            received.odd
        );
    }
    Ok(())
}

/// Who has a match that the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Engine,
    Recount,
}

/// What only one of two sorted lists has; a match that is there twice is a difference too.
fn differences(engine: &[Found], recount: &[Found]) -> Vec<(Who, Found)> {
    let (mut engine, mut recount) = (engine.iter().peekable(), recount.iter().peekable());
    let mut only = Vec::new();
    loop {
        match (engine.peek(), recount.peek()) {
            (Some(a), Some(b)) if a == b => {
                engine.next();
                recount.next();
            }
            (Some(a), b) if b.is_none_or(|b| *a < b) => only.extend(engine.next().map(|f| (Who::Engine, *f))),
            (_, Some(_)) => only.extend(recount.next().map(|f| (Who::Recount, *f))),
            (_, None) => return only,
        }
    }
}

/// A directory that goes when this does.
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn new() -> anyhow::Result<Self> {
        let unique = super::ingest::local_now().0;
        let dir = std::env::temp_dir().join(format!("hexcast-demo-{}-{unique}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("the temporary directory {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, DeviceId};

    #[test]
    fn differences_are_what_one_side_lacks() {
        let found = |device| Found {
            device: DeviceId(device),
            cause: Cause::Enter,
            part: 0,
            stage: 0,
            at: EventTime(0),
        };
        let of = |a: &[u64], b: &[u64]| {
            let list = |ids: &[u64]| ids.iter().map(|id| found(*id)).collect::<Vec<_>>();
            let told = differences(&list(a), &list(b));
            told.into_iter().map(|(who, found)| (who, found.device.0)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[1, 2, 3], &[1, 2, 3]), []);
        assert_eq!(of(&[1, 2, 2], &[2, 4]), [(Who::Engine, 1), (Who::Engine, 2), (Who::Recount, 4)]);
        assert_eq!(of(&[], &[1]), [(Who::Recount, 1)]);
        assert_eq!(of(&[1], &[]), [(Who::Engine, 1)]);
    }
}
