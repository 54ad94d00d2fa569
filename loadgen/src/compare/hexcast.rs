//! hexcast measured as its peers are: a process on one core, spoken to over QUIC by this one.
//!
//! It keeps what it keeps by default: a journal and match logs, synced before anybody is told, and
//! snapshots. An alert's time is from the request to publish it to its last match at a partner; each
//! alert is a new one, and all who were told hear of its end before the next.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hexcast::access::pki;
use hexcast::client::{Batch, Client, Control, StartAt, SubscribeEvent, Subscription, Target};
use hexcast::domain::{AlertId, AlertNo, CancelReason, Cause, Position};
use serde_json::json;

use super::Plan;
use super::check::differences;
use super::measured::{ALERTS, AlertMeasured, Measured, Meter, RADII_KM, Sent, bytes_per_device};
use super::process::{Cores, Folder, Served};
use super::world::{Known, World};
use crate::{engine, machine};

/// How long an alert may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Batches go to the one partition as they are: nobody has to split them.
const ONLY: Target = Target { partition: 0, of: 1 };

/// The engine's process: one partition, one thread for the network, until its standard input closes.
pub(super) fn serve(folder: &Path) -> anyhow::Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    threads.block_on(engine::keep_serving(folder, 1, false))
}

pub(super) fn measure(
    world: &mut World,
    known: &[Known],
    plan: &Plan,
    cores: Cores,
) -> anyhow::Result<Measured> {
    let folder = Folder::new()?;
    pki::init(&folder.path().join("pki"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("compare-engine").arg(folder.path());
    let (served, address) = Served::start(cores, folder, command, |line| line.parse().ok())?;
    let network = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    network.block_on(play(&served, address, world, known, plan)).context("hexcast")
}

async fn play(
    served: &Served,
    address: SocketAddr,
    world: &mut World,
    known: &[Known],
    plan: &Plan,
) -> anyhow::Result<Measured> {
    let pki = served.folder().join("pki");
    let operator = Client::connect(address, &pki, "operator").await?;
    let partner = Client::connect(address, &pki, "partner").await?;
    let authority = Client::connect(address, &pki, "authority").await?;
    let mut desk = Desk {
        control: authority.control().await?,
        partner: partner.subscribe(pki::DEFAULT_NAMESPACE, StartAt::Latest, true).await?,
        alerts: 0,
    };
    world.begin();
    let before = machine::rss_bytes(served.pid());
    let mut way = WAYS[0];
    send(&operator, served, world, way, Until::Round).await?;
    let bytes_per_device = bytes_per_device(before, machine::rss_bytes(served.pid()), world.devices);
    let mut best_rate = 0.0;
    for tried in WAYS {
        let rate = send(&operator, served, world, tried, Until::Time(plan.trial())).await?.per_second();
        if rate > best_rate {
            (way, best_rate) = (tried, rate);
        }
    }
    let sent = send(&operator, served, world, way, Until::Time(plan.time)).await?;
    send(&operator, served, world, way, Until::Last).await?;

    let mut alerts = Vec::new();
    for radius_km in RADII_KM {
        let within = known.iter().filter(|known| known.metres <= radius_km * 1e3).count();
        let (mut found, mut all) = (Vec::new(), Vec::new());
        for _ in 0..ALERTS {
            let (raised, took) = desk.raise(world.centre, radius_km, within).await?;
            found = desk.cancel(raised).await?;
            all.push(took);
        }
        let matched = found.len();
        let differences = differences(known, world.centre, radius_km * 1e3, found, None)
            .with_context(|| format!("the alert of {radius_km} km"))?;
        alerts.push(AlertMeasured::new(radius_km, matched, all, differences));
    }

    for radius_km in RADII_KM {
        let within = known.iter().filter(|known| known.metres <= radius_km * 1e3).count();
        desk.raise(world.centre, radius_km, within).await?;
    }
    let sending = send(&operator, served, world, way, Until::Time(plan.time));
    let standing = tokio::select! {
        sent = sending => sent?,
        ended = desk.listen() => return Err(ended),
    };
    for client in [operator, partner, authority] {
        client.close().await;
    }
    Ok(Measured {
        server: format!("hexcast {}", env!("CARGO_PKG_VERSION")),
        settings: format!(
            "one partition, one network thread; journal, match logs and snapshots on the disk; one QUIC session, \
             batches of 16,384 in {}, {} pings ahead",
            if way.rows { "rows" } else { "columns" },
            way.window
        ),
        updates_per_second: sent.per_second(),
        standing_updates_per_second: Some(standing.per_second()),
        server_busy: sent.server_busy(),
        client_busy: sent.client_busy(),
        bytes_per_device,
        alerts,
    })
}

/// A way to send.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Rows of 20 bytes in place of columns.
    rows: bool,
    /// Pings that may be on their way.
    window: u64,
}

/// Ways that are tried: the server has less to decode or less to decrypt, and what is on its way fits
/// into more or less of its cache.
const WAYS: [Way; 6] = [
    Way { rows: false, window: 1 << 18 },
    Way { rows: false, window: 1 << 17 },
    Way { rows: false, window: 1 << 16 },
    Way { rows: true, window: 1 << 18 },
    Way { rows: true, window: 1 << 17 },
    Way { rows: true, window: 1 << 16 },
];

#[derive(Clone, Copy, Debug)]
enum Until {
    /// Every device has pinged once more.
    Round,
    Time(Duration),
    /// Everybody is where [`World::known`] has them.
    Last,
}

/// Sends pings and waits until all are applied.
async fn send(
    client: &Client,
    served: &Served,
    world: &mut World,
    way: Way,
    until: Until,
) -> anyhow::Result<Sent> {
    let mut stream = client.ingest(pki::DEFAULT_NAMESPACE, "compare").await?;
    stream.set_window(way.window);
    if way.rows {
        stream.set_rows();
    }
    let (meter, mut pings) = (Meter::start(served.pid()), 0);
    // A batch is of the time at which it is sent.
    let now = |batch: &mut Batch| {
        batch.base = machine::now();
        batch.rows.len() as u64
    };
    match until {
        Until::Last => {
            for batch in world.last() {
                pings += now(batch);
                stream.send_to(batch, Some(ONLY)).await?;
            }
        }
        Until::Round => {
            while pings < u64::from(world.devices) {
                let batch = world.next();
                pings += now(batch);
                stream.send_to(batch, Some(ONLY)).await?;
            }
        }
        Until::Time(time) => {
            while meter.elapsed() < time {
                let batch = world.next();
                pings += now(batch);
                stream.send_to(batch, Some(ONLY)).await?;
            }
        }
    }
    let counts = stream.finish().await?.counts;
    ensure!(counts.accepted == pings, "of {pings} pings it took {}: {counts:?}", counts.accepted);
    Ok(meter.stop(pings))
}

/// The authority and the partner, who act in turns.
struct Desk {
    control: Control,
    partner: Subscription,
    alerts: u32,
}

/// An alert that stands.
struct Raised {
    id: String,
    no: Option<AlertNo>,
    found: Vec<u64>,
}

impl Desk {
    /// Publishes an alert and waits until its matches have come; how long that took.
    async fn raise(
        &mut self,
        centre: Position,
        radius_km: f64,
        within: usize,
    ) -> anyhow::Result<(Raised, Duration)> {
        self.alerts += 1;
        let id = format!("compare-{}", self.alerts);
        let alert = json!({
            "id": id,
            "status": "test",
            "expires": machine::now().plus_ms(24 * 3_600_000).to_string(),
            "area": {"circle": {"lat": centre.lat_deg(), "lon": centre.lon_deg()}},
            "policy": {"stages": [{"after": "0s", "radius_km": radius_km}]},
            "uncertainty": "centre",
            "headline": "a comparison",
        });
        let alert = alert.to_string();
        let mut raised = Raised { id, no: None, found: Vec::new() };
        let (partner, asked) = (&mut self.partner, Instant::now());
        let hearing = async {
            while raised.found.len() < within {
                hear(partner, &mut raised).await?;
            }
            anyhow::Ok(asked.elapsed())
        };
        let (receipt, last) =
            tokio::join!(self.control.publish(&alert, None), tokio::time::timeout(PATIENCE, hearing));
        receipt?;
        let took = match last {
            // Where nobody is near, the receipt is all that comes.
            Ok(Ok(_)) if within == 0 => asked.elapsed(),
            Ok(last) => last?,
            Err(_) => bail!("of {within} devices within {radius_km} km it told {}", raised.found.len()),
        };
        self.partner.done_below(self.partner.next_offset()).await?;
        Ok((raised, took))
    }

    /// Ends an alert, waits until all who were told have heard of it, and says who they were.
    async fn cancel(&mut self, mut raised: Raised) -> anyhow::Result<Vec<u64>> {
        self.control.cancel(&raised.id, CancelReason::Refuted, None).await?;
        let (partner, mut ended) = (&mut self.partner, 0);
        let hearing = async {
            while ended < raised.found.len() {
                ended += hear(partner, &mut raised).await?;
            }
            anyhow::Ok(())
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.with_context(|| format!("of {} devices {ended} heard of the end", raised.found.len()))??;
        self.partner.done_below(self.partner.next_offset()).await?;
        Ok(raised.found)
    }

    /// Takes matches for ever; gives why that ended.
    async fn listen(&mut self) -> anyhow::Error {
        loop {
            if let Err(why) = self.partner.next().await {
                return why.into();
            }
        }
    }
}

/// Hears what comes next of an alert; how many heard of its end.
async fn hear(partner: &mut Subscription, raised: &mut Raised) -> anyhow::Result<usize> {
    let mut ended = 0;
    match partner.next().await? {
        SubscribeEvent::Alert(content) if content.id == AlertId::from(raised.id.as_str()) => {
            raised.no = Some(content.no);
        }
        SubscribeEvent::Alert(_) => {}
        SubscribeEvent::Matches(matches) => {
            for (_, head, devices) in matches.runs() {
                match head.cause {
                    _ if Some(head.alert) != raised.no => {}
                    Cause::Cancel => ended += devices.len(),
                    _ => raised.found.extend(devices.map(|device| device.0)),
                }
            }
        }
    }
    Ok(ended)
}
