//! `loadgen run`: the crowd, the alerts and the partner against one server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use hexcast::client::{Client, Control};
use hexcast::domain::{CancelReason, EventTime, format_duration};
use serde_json::{Value, json};

use country::City;

use crate::crowd::Crowd;
use crate::engine::Engine;
use crate::machine;
use crate::operator::{self, Pace, Until};
use crate::partner::{Partner, Received};
use crate::report::{AlertReport, Percentiles, Report, StageReport};
use crate::scenario::{Raised, Scenario};

/// Where the last stage of an alert stands at the latest, as a share of the run: its matches
/// still arrive within it.
const LAST_STAGE_AT: f64 = 0.85;

/// Runs a scenario against a server, or against an engine of its own on loopback.
///
/// First every device sends one ping as fast as may be, so that the server knows them all; then
/// the run begins. At a rate it is an open loop: batches have their times whatever the server
/// does, and acknowledgements count from these. Alerts are raised with the status `test`, so only
/// subscribers that ask for exercises see them, and refuted in the end.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A built-in scenario (see `loadgen scenarios`) or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "country")]
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// Devices.
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u32).range(1..=200_000_000))]
    devices: u32,
    /// Pings a second.
    #[arg(long, value_name = "R", default_value_t = 200_000, conflicts_with = "max",
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: u64,
    /// As fast as acknowledgements allow.
    #[arg(long)]
    max: bool,
    /// How long the run lasts.
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Decides where devices are and how they move.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes the report as JSON to this file; `-` is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where the server is, and how it is spoken to.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// A running server; without it, an engine is started on loopback.
    #[arg(long, value_name = "ADDR")]
    pub(crate) server: Option<SocketAddr>,
    /// With --server: the directory of certificates; operator, partner and authority are used.
    #[arg(long, value_name = "DIR", env = "HEXCAST_PKI", default_value = "hexcast-data/pki")]
    pub(crate) pki: PathBuf,
    /// The namespace.
    #[arg(long, value_name = "NS", default_value = "default")]
    pub(crate) namespace: String,
    /// Connections that send pings.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    connections: u32,
    /// Sessions of each connection that send pings, a share of the devices each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    streams: u32,
}

impl Place {
    /// The server's address and the certificates.
    pub(crate) fn of(&self, engine: Option<&Engine>) -> anyhow::Result<(SocketAddr, PathBuf)> {
        match (engine, self.server) {
            (Some(engine), _) => Ok((engine.address, engine.pki())),
            (None, Some(server)) => Ok((server, self.pki.clone())),
            (None, None) => anyhow::bail!("no server"),
        }
    }

    /// Connections that send pings.
    pub(crate) async fn operators(&self, server: SocketAddr, pki: &Path) -> anyhow::Result<Vec<Arc<Client>>> {
        let mut operators = Vec::new();
        for _ in 0..self.connections {
            operators.push(Arc::new(Client::connect(server, pki, "operator").await?));
        }
        Ok(operators)
    }

    /// Sessions that send pings.
    pub(crate) fn sessions(&self) -> u32 {
        self.connections * self.streams
    }
}

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let scenario = Scenario::find(&args.scenario)?;
    let engine = if args.place.server.is_none() { Some(Engine::start()?) } else { None };
    let report = tokio::runtime::Runtime::new()?.block_on(play(args, &scenario, engine.as_ref()))?;
    drop(engine);
    let stdout = Path::new("-");
    if args.json.as_deref() != Some(stdout) {
        std::io::stdout().write_all(report.table().as_bytes())?;
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        if path == stdout {
            writeln!(std::io::stdout(), "{text}")?;
        } else {
            std::fs::write(path, text + "\n").with_context(|| format!("the report {}", path.display()))?;
        }
    }
    Ok(())
}

async fn play(args: &RunArgs, scenario: &Scenario, engine: Option<&Engine>) -> anyhow::Result<Report> {
    let (server, pki) = args.place.of(engine)?;
    let namespace = args.place.namespace.as_str();
    let operators = args.place.operators(server, &pki).await?;
    let partner = Client::connect(server, &pki, "partner").await?;
    let authority = Client::connect(server, &pki, "authority").await?;
    let mut control = authority.control().await?;
    let crowds = Crowd::shares(args.devices, args.seed, scenario, args.place.sessions());
    let cities = crowds.first().map(|crowd| crowd.cities().to_vec()).unwrap_or_default();
    let reading = Partner::start(&partner, namespace).await?;
    let run_id = machine::now().0;

    let pid = engine.map(Engine::pid);
    let rss_before = pid.and_then(machine::rss_bytes);
    let (_, crowds) = operator::send(&operators, namespace, crowds, Pace::Max, Until::Round).await?;
    let rss_known = pid.and_then(machine::rss_bytes);
    let mut standing = Vec::new();
    for (number, city) in (0..scenario.standing).zip(cities.iter().step_by(7).cycle()) {
        let id = format!("loadgen-{run_id}-standing-{number}");
        let alert = draft(&id, city, &[json!({"after": "0s", "radius_km": scenario.standing_km})]);
        control.publish(&alert, None).await?;
        standing.push(id);
    }
    let plans = scenario
        .alerts
        .iter()
        .zip(1..)
        .map(|(raised, number)| {
            let id = format!("loadgen-{run_id}-{number}");
            Plan::new(id, raised, named(&cities, &raised.city)?, args.seconds)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;

    let own = std::process::id();
    let cpu = || (pid.and_then(machine::cpu_seconds), machine::cpu_seconds(own));
    let cpu_before = cpu();
    let pace = if args.max { Pace::Max } else { Pace::Rate(args.rate) };
    let until = Duration::from_secs(args.seconds.into());
    let sending = operator::send(&operators, namespace, crowds, pace, Until::Time(until));
    let ((sent, _), raised) = tokio::try_join!(sending, raise(&mut control, plans))?;
    let cpu_after = cpu();

    let received = reading.finish(&partner, namespace).await?;
    for id in raised.iter().map(|raised| &raised.plan.id).chain(&standing) {
        control.cancel(id, CancelReason::Refuted, None).await?;
    }
    let rss_bytes = pid.and_then(machine::rss_bytes);
    let seconds = sent.took.as_secs_f64();
    let growth = rss_known.zip(rss_before).map(|(known, before)| known.saturating_sub(before) as f64);
    let report = Report {
        scenario: scenario.name.clone(),
        seed: args.seed,
        devices: args.devices,
        seconds,
        rate: (!args.max).then_some(args.rate),
        pings_sent: sent.pings,
        pings_acked: sent.counts.total(),
        pings_rejected: sent.counts.rejected_total(),
        pings_stale: sent.counts.stale,
        pings_per_second: sent.counts.total() as f64 / seconds,
        ack_ms: Percentiles::of_us(&sent.ack_us),
        alerts: raised.iter().map(|raised| raised.report(&received)).collect(),
        entered: received.entered,
        rss_bytes,
        bytes_per_device: growth.map(|growth| growth / f64::from(args.devices)),
        cpu_seconds: cpu_after.0.zip(cpu_before.0).map(|(after, before)| after - before),
        own_cpu_seconds: cpu_after.1.zip(cpu_before.1).map(|(after, before)| after - before),
        sessions: args.place.sessions(),
        machine: machine::describe(),
    };
    for client in operators.into_iter().filter_map(Arc::into_inner).chain([partner, authority]) {
        client.close().await;
    }
    Ok(report)
}

/// An alert's JSON.
pub(crate) fn draft(id: &str, city: &City, stages: &[Value]) -> String {
    let expires = machine::now().plus_ms(24 * 3_600_000);
    json!({
        "id": id,
        "status": "test",
        "expires": expires.to_string(),
        "area": {"circle": {"lat": city.lat, "lon": city.lon}},
        "policy": {"stages": stages},
        "headline": format!("load test around {}", city.name),
    })
    .to_string()
}

/// A city by its name.
pub(crate) fn named<'a>(cities: &'a [City], name: &str) -> anyhow::Result<&'a City> {
    let found = cities.iter().find(|city| city.name == name);
    found.with_context(|| format!("no city is named {name}: see examples/data/cities_cn.csv"))
}

/// An alert to raise.
struct Plan {
    id: String,
    /// After the start of the run.
    at: Duration,
    city: City,
    /// After the publication, and km.
    stages: Vec<(Duration, f64)>,
}

impl Plan {
    fn new(id: String, raised: &Raised, city: &City, seconds: u32) -> anyhow::Result<Self> {
        let rest = f64::from(seconds) * (LAST_STAGE_AT - raised.at).max(0.0);
        let steps = raised.radii_km.len().saturating_sub(1).max(1);
        // Durations in alerts are whole seconds.
        let step = ((rest / steps as f64) as u64).max(1);
        let stages =
            (0..).zip(&raised.radii_km).map(|(i, radius_km)| (Duration::from_secs(i * step), *radius_km));
        let at = Duration::from_secs_f64(f64::from(seconds) * raised.at);
        Ok(Self { id, at, city: city.clone(), stages: stages.collect() })
    }

    fn json(&self) -> String {
        let stage = |(after, radius_km): &(Duration, f64)| json!({"after": format_duration(after.as_millis() as i64), "radius_km": radius_km});
        draft(&self.id, &self.city, &self.stages.iter().map(stage).collect::<Vec<_>>())
    }
}

/// An alert that was raised.
struct RaisedAlert {
    plan: Plan,
    /// When it was asked for.
    asked: Instant,
    /// When its stages began to count, on this machine's clock.
    lost: Instant,
}

/// Raises the alerts at their times.
async fn raise(control: &mut Control, mut plans: Vec<Plan>) -> anyhow::Result<Vec<RaisedAlert>> {
    let begun = Instant::now();
    plans.sort_by_key(|plan| plan.at);
    let mut raised = Vec::new();
    for plan in plans {
        tokio::time::sleep_until((begun + plan.at).into()).await;
        let (asked, asked_at) = (Instant::now(), machine::now());
        let receipt = control.publish(&plan.json(), None).await?;
        let (answered, answered_at) = (Instant::now(), machine::now());
        // The server's time of publication, brought to this machine's clock: it lies between
        // asking and answering, which also tells a server's clock that differs.
        let stamped = EventTime(receipt.at_ms);
        let lost = if stamped >= asked_at && stamped <= answered_at {
            asked + Duration::from_millis(stamped.ms_since(asked_at).unsigned_abs())
        } else {
            asked + answered.duration_since(asked) / 2
        };
        raised.push(RaisedAlert { plan, asked, lost });
    }
    Ok(raised)
}

impl RaisedAlert {
    fn report(&self, received: &Received) -> AlertReport {
        let stages = (0u8..).zip(&self.plan.stages).map(|(stage, (after, radius_km))| {
            let arrived = received.stages.get(&(self.plan.id.as_str().into(), stage));
            let due = if stage == 0 { self.asked } else { self.lost + *after };
            let ms = |at: Instant| at.saturating_duration_since(due).as_secs_f64() * 1_000.0;
            StageReport {
                stage,
                radius_km: *radius_km,
                matched: arrived.map_or(0, |arrived| arrived.matched),
                first_match_ms: arrived.map(|arrived| ms(arrived.first)),
                last_match_ms: arrived.map(|arrived| ms(arrived.last)),
            }
        });
        AlertReport { id: self.plan.id.clone(), stages: stages.collect() }
    }
}
