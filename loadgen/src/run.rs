//! `loadgen run`: the crowd, the alerts and the partners against one server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use country::{Country, Shares};
use hexcast::client::{Client, Control, StartAt};
use hexcast::domain::CancelReason;
use serde_json::json;

use crate::crowd::Crowd;
use crate::engine::Engine;
use crate::machine;
use crate::operator::{self, Clocks, Pace, Sent, Until};
use crate::others::{Others, PartnerReport};
use crate::partner::{Partner, Received};
use crate::place::Place;
use crate::report::{GeneratorReport, Percentiles, Report, curve_ms};
use crate::scenario::{Scenario, check};
use crate::schedule::{RaisedAlert, Schedule, draft};
use crate::verdict::Known;
use crate::watch::{Counters, Sample, Watch};

/// Runs a scenario against a server, or against an engine of its own on loopback.
///
/// First every device sends one ping as fast as may be, so that the server knows them all; then come
/// some seconds of warm-up that are not counted, then the run. At a rate it is an open loop:
/// batches have their times whatever the server does, and acknowledgements count from these. Alerts are
/// raised with the status `test`, so only subscribers that ask for exercises see them, and refuted in
/// the end. What is not said here is as the scenario says.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A built-in scenario (see `loadgen scenarios`) or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "country")]
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// Devices (1,000,000 unless the scenario says otherwise).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=check::DEVICES_MAX))]
    devices: Option<u32>,
    /// Pings a second (200,000 unless the scenario says otherwise).
    #[arg(long, value_name = "R", conflicts_with = "max",
          value_parser = clap::value_parser!(u64).range(1..=check::RATE_MAX))]
    rate: Option<u64>,
    /// As fast as acknowledgements allow.
    #[arg(long)]
    max: bool,
    /// How long the run lasts (10 unless the scenario says otherwise).
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=check::SECONDS_MAX))]
    seconds: Option<u32>,
    /// Seconds at the same pace before anything is counted (1 unless the scenario says otherwise).
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=check::SECONDS_MAX))]
    warm_up: Option<u32>,
    /// Has an engine of its own keep every ping, too (as `hexcast serve --durable-pings`).
    #[arg(long, conflicts_with = "server")]
    durable_pings: bool,
    /// Decides where devices are and how they move.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes the report as JSON to this file; `-` is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as one HTML page with charts to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The command line over the scenario.
struct Settings {
    scenario: Scenario,
    devices: u32,
    seconds: u32,
    warm_up_s: u32,
    /// Pings a second; none for as fast as acknowledgements allow.
    rate: Option<u64>,
    seed: u64,
}

impl Settings {
    fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let scenario = Scenario::find(&args.scenario)?;
        let run = &scenario.run;
        let rate = match args.rate {
            Some(rate) => Some(rate),
            None if args.max || run.max => None,
            None => Some(run.rate),
        };
        Ok(Self {
            devices: args.devices.unwrap_or(run.devices),
            seconds: args.seconds.unwrap_or(run.seconds),
            warm_up_s: args.warm_up.unwrap_or(run.warm_up_s),
            rate,
            seed: args.seed,
            scenario,
        })
    }

    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Max, Pace::Rate)
    }
}

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let settings = Settings::new(args)?;
    let engine = if args.place.server.is_none() { Some(Engine::start(args.durable_pings)?) } else { None };
    let report = tokio::runtime::Runtime::new()?.block_on(play(&settings, &args.place, engine.as_ref()))?;
    drop(engine);
    let stdout = Path::new("-");
    if args.json.as_deref() != Some(stdout) {
        std::io::stdout().write_all(report.table().as_bytes())?;
    }
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("the report {}", path.display()))
    };
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        if path == stdout {
            writeln!(std::io::stdout(), "{text}")?;
        } else {
            write(path, text + "\n")?;
        }
    }
    if let Some(path) = &args.html {
        write(path, report.html())?;
    }
    Ok(())
}

async fn play(settings: &Settings, place: &Place, engine: Option<&Engine>) -> anyhow::Result<Report> {
    let scenario = &settings.scenario;
    let (server, pki) = place.of(engine)?;
    let namespace = place.namespace.as_str();
    let operators = place.operators(server, &pki).await?;
    let partner = Client::connect(server, &pki, "partner").await?;
    let others = Client::connect(server, &pki, "partner").await?;
    let authority = Client::connect(server, &pki, "authority").await?;
    let mut control = authority.control().await?;
    let crowds = Crowd::shares(settings.devices, settings.seed, scenario, place.sessions())?;
    let cities = crowds.first().map(|crowd| crowd.cities().to_vec()).unwrap_or_default();
    let counters = Counters::new()?;
    let reading = Partner::start(&partner, namespace, &counters).await?;
    let beside = Others::start(&others, namespace, &scenario.partners).await?;
    let run_id = machine::now().0;

    let pid = engine.map(Engine::pid);
    let rss_before = pid.and_then(machine::rss_bytes);
    let watch = Watch::start("every device's first ping", &counters, None, pid);
    let round = operator::send(&operators, namespace, crowds, Pace::Max, Until::Round, &counters).await?;
    watch.stop().await?;
    let mut crowds = round.1;
    let rss_known = pid.and_then(machine::rss_bytes);
    let standing = raise_standing(&mut control, scenario, &cities, run_id).await?;
    let all = Country::new(0, Shares::STILL);
    let schedule = Schedule::new(scenario, &cities, all.cities(), run_id, settings.seconds)?;

    let pace = settings.pace();
    if settings.warm_up_s > 0 {
        let watch = Watch::start("warm-up", &counters, Some(settings.warm_up_s.into()), pid);
        let until = Until::Time(Duration::from_secs(settings.warm_up_s.into()));
        crowds = operator::send(&operators, namespace, crowds, pace, until, &counters).await?.1;
        watch.stop().await?;
    }
    let own = std::process::id();
    let cpu = || [pid.and_then(machine::cpu_seconds), machine::cpu_seconds(own), machine::busy_seconds()];
    let cpu_before = cpu();
    let until = Until::Time(Duration::from_secs(settings.seconds.into()));
    let watch = Watch::start("run", &counters, Some(settings.seconds.into()), pid);
    let sending = operator::send(&operators, namespace, crowds, pace, until, &counters);
    let ((sent, _), raised) = tokio::try_join!(sending, schedule.play(&mut control))?;
    let mut used = cpu().into_iter().zip(cpu_before).map(|(after, before)| Some(after? - before?));
    let mut used = || used.next().flatten();
    let series = watch.stop().await?;

    let received = reading.finish(&partner, namespace).await?;
    let end = partner.subscribe(namespace, StartAt::Latest, true).await?.terms().end;
    let partners = beside.finish(end).await;
    for id in raised.iter().filter_map(RaisedAlert::standing).chain(standing.iter().map(String::as_str)) {
        control.cancel(id, CancelReason::Refuted, None).await?;
    }
    let growth = rss_known.zip(rss_before).map(|(known, before)| known.saturating_sub(before) as f64);
    let measured = Measured {
        sent,
        raised,
        received,
        partners,
        series,
        rss_bytes: pid.and_then(machine::rss_bytes),
        bytes_per_device: growth.map(|growth| growth / f64::from(settings.devices)),
        cpu_seconds: used(),
        own_cpu_seconds: used(),
        busy_seconds: used(),
        sessions: place.sessions(),
    };
    for client in operators.into_iter().filter_map(Arc::into_inner).chain([partner, others, authority]) {
        client.close().await;
    }
    Ok(measured.report(settings))
}

/// Raises the alerts that stand all the time; returns their ids.
async fn raise_standing(
    control: &mut Control,
    scenario: &Scenario,
    cities: &[country::City],
    run_id: i64,
) -> anyhow::Result<Vec<String>> {
    let mut standing = Vec::new();
    let stages = json!({"stages": [{"after": "0s", "radius_km": scenario.standing.radius_km}]});
    for (number, city) in (0..scenario.standing.count).zip(cities.iter().step_by(7).cycle()) {
        let id = format!("loadgen-{run_id}-standing-{number}");
        control.publish(&draft(&id, city, &stages, None), None).await?;
        standing.push(id);
    }
    Ok(standing)
}

/// What a run brought.
struct Measured {
    sent: Sent,
    raised: Vec<RaisedAlert>,
    received: Received,
    partners: Vec<PartnerReport>,
    series: Vec<Sample>,
    rss_bytes: Option<u64>,
    bytes_per_device: Option<f64>,
    cpu_seconds: Option<f64>,
    own_cpu_seconds: Option<f64>,
    /// Of all processors of this machine, by anybody.
    busy_seconds: Option<f64>,
    sessions: u32,
}

impl Measured {
    fn report(self, settings: &Settings) -> Report {
        let Self { sent, received, .. } = self;
        let seconds = sent.took.as_secs_f64();
        let open_loop = settings.rate.is_some();
        let generator = generator(&sent, open_loop);
        let known = Known {
            open_loop,
            due: sent.due,
            sent: sent.pings,
            late_p99_ms: generator.late_ms.map_or(0.0, |late| late.p99),
            busiest: generator.busiest,
            waiting: generator.waiting,
            own_cores: self.own_cpu_seconds.map(|cpu| cpu / seconds),
            engine_cores: self.cpu_seconds.map(|cpu| cpu / seconds),
            busy_cores: self.busy_seconds.map(|busy| busy / seconds),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        Report {
            scenario: settings.scenario.name.clone(),
            about: settings.scenario.about.clone(),
            seed: settings.seed,
            devices: settings.devices,
            seconds,
            warm_up_seconds: settings.warm_up_s,
            rate: settings.rate,
            pings_due: sent.due,
            pings_sent: sent.pings,
            pings_acked: sent.counts.total(),
            pings_rejected: sent.counts.rejected_total(),
            pings_stale: sent.counts.stale,
            pings_per_second: sent.counts.total() as f64 / seconds,
            ack_ms: Percentiles::of_us(&sent.ack_us),
            ack_curve_ms: curve_ms(&sent.ack_us),
            alerts: self.raised.iter().map(|raised| raised.report(&received)).collect(),
            entered: received.entered,
            partners: self.partners,
            rss_bytes: self.rss_bytes,
            bytes_per_device: self.bytes_per_device,
            cpu_seconds: self.cpu_seconds,
            own_cpu_seconds: self.own_cpu_seconds,
            sessions: self.sessions,
            generator,
            verdict: known.verdict(),
            series: self.series,
            machine: machine::describe(),
        }
    }
}

/// What sessions did with their time.
fn generator(sent: &Sent, open_loop: bool) -> GeneratorReport {
    let all = |pick: fn(&Clocks) -> Duration| sent.clocks.iter().map(pick).sum::<Duration>().as_secs_f64();
    let parts = [all(|c| c.making), all(|c| c.writing), all(|c| c.waiting), all(|c| c.idle)];
    let whole = parts.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let [making, writing, waiting, idle] = parts.map(|part| part / whole);
    let busy = |clocks: &Clocks| {
        let busy = clocks.making + clocks.writing;
        busy.as_secs_f64() / (busy + clocks.waiting + clocks.idle).as_secs_f64().max(f64::MIN_POSITIVE)
    };
    GeneratorReport {
        making,
        writing,
        waiting,
        idle,
        busiest: sent.clocks.iter().map(busy).fold(0.0, f64::max),
        late_ms: open_loop.then(|| Percentiles::of_us(&sent.late_us)),
    }
}
