//! `hexcast ingest`: a ping file to a server.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;

use super::args::{ClientArgs, namespace, time};
use super::output::{count, grouped, note};
use super::pings;
use super::progress::Progress;
use crate::access::pki;
use crate::client::{BatchBuilder, Client, Clock, IngestStream, KeepPolicy, Source};
use crate::domain::{EventTime, Namespace, Ping, PingCounts, format_duration};
use crate::files::Pseudonyms;
use crate::limits::MAX_AGE_MS;

/// Pings of a batch: enough that its head costs nothing, few enough that progress is smooth.
const BATCH_PINGS: usize = 8_192;
/// What the server knows this stream of batches as.
const SOURCE: &str = "ingest";

/// Streams a ping file to a server and waits until all is applied.
///
/// The file is CSV with a header (device,at,lat,lon[,accuracy_m] or
/// device,at,tower[,accuracy_m]), in any order; it is sorted by time. Device names become
/// pseudonyms by the namespace's key, which lies with the certificates and never leaves here.
#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// The pings, CSV or CSV.gz; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// The namespace to write into.
    #[arg(long, value_name = "NS", default_value = pki::DEFAULT_NAMESPACE, value_parser = namespace)]
    namespace: Namespace,
    /// Shift all times so that the last ping is now: for recordings, which a server would hold to
    /// be long over.
    #[arg(long)]
    now: bool,
    /// Leave out pings after this time; on a server with the event clock, let its clock run up to
    /// it, inclusive.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<EventTime>,
    /// The towers that pings name, in the format of OpenCelliD.
    #[arg(long, value_name = "FILE")]
    towers: Option<String>,
    /// The identity to act as.
    #[arg(long = "as", value_name = "NAME", default_value = "operator")]
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &IngestArgs) -> anyhow::Result<()> {
    let key = pki::namespace_key(&args.client.pki, &args.namespace)?;
    let towers = pings::read_towers(args.towers.as_deref())?;
    let mut names = Pseudonyms::new(key, 0);
    let file = pings::read(&args.file, &mut names, towers.as_ref())?;
    drop(towers);
    tokio::runtime::Runtime::new().context("the threads for the network")?.block_on(ingest(args, file))
}

async fn ingest(args: &IngestArgs, file: pings::PingFile) -> anyhow::Result<()> {
    let client = Client::connect(args.client.address().await?, &args.client.pki, &args.name).await?;
    let done = stream(&client, args, file).await;
    client.close().await;
    done
}

async fn stream(client: &Client, args: &IngestArgs, mut file: pings::PingFile) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut stream = client.ingest(args.namespace.as_str(), SOURCE).await?;
    let event_clock = stream.hello().clock == Clock::Event;
    let now = if event_clock { local_now() } else { stream.hello().now() };
    if args.now {
        let shift_ms = now.ms_since(file.last_at);
        file.pings.iter_mut().for_each(|ping| ping.at = ping.at.plus_ms(shift_ms));
        file.last_at = now;
    }
    if let Some(until) = args.until {
        file.pings.truncate(file.pings.partition_point(|ping| ping.at <= until));
        file.last_at = until;
    }
    let newest = file.pings.last().map_or(file.last_at, |ping| ping.at);
    if !event_clock && now.ms_since(newest) > MAX_AGE_MS {
        note(&format!(
            "hexcast: warning: the newest ping is {} old, and a server knows a device for {} after its last \
             ping unless configured: these match nothing; --now shifts a recording to now",
            format_duration(now.ms_since(newest)),
            format_duration(MAX_AGE_MS)
        ));
    }

    let (counts, again) = if event_clock {
        send(&mut stream, &file.pings).await?;
        stream.watermark(file.last_at, true).await?;
        (stream.finish().await?.counts, 0)
    } else {
        drop(stream);
        send_surely(client, args, &file.pings).await?
    };
    let seconds = begun.elapsed().as_secs_f64();
    note(&format!(
        "ingested {} in {seconds:.2} s: {} accepted, {} stale, {} rejected, {}",
        count(file.pings.len() as u64, "ping", "pings"),
        grouped(counts.accepted),
        grouped(counts.stale),
        grouped(counts.rejected_total() + file.tally.rejected),
        count(file.tally.bad, "bad row", "bad rows"),
    ));
    if again > 0 {
        note(&format!(
            "the connection was lost {}, and what was not safe was sent again",
            count(again, "time", "times")
        ));
    }
    Ok(())
}

/// Sends all, through lost connections and restarts of the server, and waits until it is applied; returns what
/// became of it, and how often the connection was lost.
async fn send_surely(
    client: &Client,
    args: &IngestArgs,
    pings: &[Ping],
) -> anyhow::Result<(PingCounts, u64)> {
    let (pki, namespace) = (&args.client.pki, args.namespace.as_str());
    let mut source = Source::new(client.server(), pki, &args.name, namespace, SOURCE, KeepPolicy::default());
    let mut progress = Progress::new("ingesting", Some(pings.len() as u64));
    let mut builder = BatchBuilder::new(BATCH_PINGS);
    for ping in pings {
        if let Some(batch) = builder.push(*ping) {
            source.send(batch).await?;
            progress.set(source.state().counts.total().min(pings.len() as u64));
        }
    }
    if let Some(batch) = builder.take() {
        source.send(batch).await?;
    }
    source.applied().await?;
    let state = source.state();
    source.close().await;
    Ok((state.counts, state.lost))
}

async fn send(stream: &mut IngestStream, pings: &[Ping]) -> anyhow::Result<()> {
    let mut progress = Progress::new("ingesting", Some(pings.len() as u64));
    let acknowledged = stream.progress();
    let mut builder = BatchBuilder::new(BATCH_PINGS);
    for ping in pings {
        if let Some(batch) = builder.push(*ping) {
            stream.send(&batch).await?;
            progress.set(acknowledged.borrow().counts.total());
        }
    }
    if let Some(batch) = builder.take() {
        stream.send(&batch).await?;
    }
    Ok(())
}

/// This machine's time.
pub(super) fn local_now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
