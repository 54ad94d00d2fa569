//! `hexcast serve`: the engine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tracing_subscriber::EnvFilter;

use super::args::{DEFAULT_HTTP, DEFAULT_SERVER, partitions};
use super::config::{Clock, Config, ConfigFile, LogFormat, Overrides};
use super::output::{note, notes_as_json, say};
use crate::access::pki;
use crate::delivery::{Delivery, LagLimits, Ticks};
use crate::desk::{Desk, Policies};
use crate::http;
use crate::keeper::{self, Keeper};
use crate::quic::{Server, Services};
use crate::runtime::{ClockMode, MatchSink, Runtime, RuntimeConfig};
use crate::telemetry::Telemetry;

/// Runs the engine until SIGTERM or SIGINT, then drains and ends.
///
/// Without a configuration it listens on this machine only (127.0.0.1:7443, HTTP on 127.0.0.1:7480), keeps its data in
/// `hexcast-data/`, knows the namespace `default`, and on its first start makes certificates for
/// development there, one identity a role: operator, partner, authority, admin.
#[derive(Debug, Args)]
#[command(after_help = "\
A configuration file may set, each optional:
  data_dir = \"hexcast-data\"
  pki = \"/etc/hexcast/pki\"        # certificates of your own; none are made then
  quic = \"127.0.0.1:7443\"
  http = \"127.0.0.1:7480\"         # /metrics, /healthz, /readyz
  log_format = \"text\"            # or \"json\"
  durable_pings = false         # true: as --durable-pings
  snapshot_every = \"60s\"         # how often the device tables are kept
  partitions = 4                  # default: one a core
  clock = \"wall\"                  # or \"event\", for recorded streams
  lag_max = \"24h\"                 # how long a match may wait for a partner, or how many may
  clock_skew = \"60s\"              # how far a ping may lie ahead of the server's time
  namespaces = [{ name = \"default\", max_age = \"24h\" }]    # or max_age = \"never\"
  [policies]
  slow = [{ after = \"0s\", radius_km = 5 }, { after = \"1h\", radius_km = 10 }]")]
pub(super) struct ServeArgs {
    /// A TOML file of settings; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data is kept [default: hexcast-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[arg(long, value_name = "ADDR", help = quic_help())]
    quic: Option<SocketAddr>,
    #[arg(long, value_name = "ADDR", help = http_help())]
    http: Option<SocketAddr>,
    /// How log lines look; HEXCAST_LOG says which are written [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Keep every ping in a log on the disk, so that a batch is safe within milliseconds rather than with the
    /// next snapshot; costs some 20 bytes of disk a ping until then.
    #[arg(long)]
    durable_pings: bool,
    /// Partitions, a thread each [default: one a core].
    #[arg(long, value_name = "N", value_parser = partitions)]
    partitions: Option<u32>,
    /// The clock: the server's, or the pings' and actions' own times for recorded streams
    /// [default: wall].
    #[arg(long)]
    clock: Option<Clock>,
}

fn quic_help() -> String {
    format!("Listen for QUIC on this UDP address; port 0 takes a free one [default: {DEFAULT_SERVER}]")
}

fn http_help() -> String {
    format!(
        "Answer over HTTP (/metrics, /healthz, /readyz) on this TCP address; port 0 takes a free one \
         [default: {DEFAULT_HTTP}]"
    )
}

pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let file = match &args.config {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };
    let flags = Overrides {
        data_dir: args.data,
        quic: args.quic,
        http: args.http,
        log_format: args.log_format,
        durable_pings: args.durable_pings,
        partitions: args.partitions,
        clock: args.clock,
    };
    let config = file.resolve(flags)?;
    start_log(config.log_format);
    let pki = certificates(&config)?;
    let threads = tokio::runtime::Runtime::new().context("the threads for the network")?;
    let served = threads.block_on(serve(config, &pki));
    // After a second signal a thread may still be waiting for the partitions, and is not waited for.
    threads.shutdown_background();
    served
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("HEXCAST_LOG").unwrap_or_else(|_| EnvFilter::new("info,quinn=warn"));
    let log =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_target(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => {
            notes_as_json();
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
}

/// Where the certificates are; makes those for development where none are named.
fn certificates(config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &config.pki {
        return Ok(dir.clone());
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("the data directory {}", config.data_dir.display()))?;
    let dir = config.data_dir.join("pki");
    let made = match pki::init(&dir)? {
        pki::Init::Made => "made just now",
        pki::Init::Already => "made by an earlier start",
    };
    note(&format!(
        "WARNING: using the DEVELOPMENT certificates in {}, {made}: whoever can read that directory can \
         be anyone. For anything but trying out, issue certificates of your own and name their \
         directory with pki = \"...\" in the configuration.",
        dir.display()
    ));
    Ok(dir)
}

async fn serve(config: Config, pki: &Path) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let names = config.runtime.namespaces.iter().map(|namespace| namespace.name.clone());
    let telemetry = Telemetry::new(names, config.runtime.partitions);
    // First, so that whoever watches sees the start.
    let http = open_http(config.http, &telemetry).await?;
    let (fatal, mut failed) = unbounded_channel();
    let setup = keeper::Setup {
        runtime: config.runtime,
        policies: config.policies,
        lag: config.lag,
        durable_pings: config.durable_pings,
        snapshot_every: config.snapshot_every,
        telemetry: Arc::clone(&telemetry),
        fatal,
    };
    let (folder, pki, quic) = (config.data_dir, pki.to_owned(), config.quic);
    let starting = tokio::task::spawn_blocking(move || Engine::start_kept(&folder, setup));
    let engine = tokio::select! {
        started = starting => started.context("the start")??,
        // A start only reads, or does what the next one repeats; the threads that are at it end with the
        // process.
        () = signals.next() => bail!("a signal ended the start"),
    };
    let engine = engine.open(quic, &pki)?;
    telemetry.health.serving();
    say(&format!("listening on {} (QUIC)", engine.address()))?;
    if let Some(http) = &http {
        say(&format!("listening on {} (HTTP)", http.local_addr()))?;
    }
    tokio::select! {
        () = signals.next() => {}
        Some(why) = failed.recv() => end_at_once(&telemetry, &why),
    }
    // First, so that nobody is sent here any more.
    telemetry.health.stopping();
    note(&"hexcast: shutting down: applying what was taken");
    tokio::select! {
        stopped = engine.stop() => stopped?,
        () = signals.next() => bail!("a second signal ended the shutdown: what was taken may not be applied"),
        Some(why) = failed.recv() => end_at_once(&telemetry, &why),
    }
    if let Some(http) = http {
        http.shutdown().await;
    }
    note(&"hexcast: shut down");
    Ok(())
}

/// What is on the disk is not known any more: nothing else may be told, nor written. The next start
/// goes on from what surely was kept.
#[expect(clippy::disallowed_methods, reason = "nothing may be drained or written any more")]
fn end_at_once(telemetry: &Telemetry, why: &str) -> ! {
    telemetry.health.fatal(why.to_owned());
    note(&format!("hexcast: FATAL: {why}"));
    std::process::exit(1)
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Opens the HTTP door where it was asked for, or else at the default address where that is free:
/// a second server on a machine, without a word about HTTP, does without.
async fn open_http(
    asked: Option<SocketAddr>,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Option<http::Server>> {
    let addr = match asked {
        Some(addr) => addr,
        None => DEFAULT_HTTP.parse()?,
    };
    match http::Server::bind(addr, Arc::clone(telemetry)).await {
        Ok(server) => Ok(Some(server)),
        Err(why) if asked.is_none() => {
            note(&format!("hexcast: WARNING: no metrics and no health over HTTP: {why}"));
            Ok(None)
        }
        Err(why) => Err(why.into()),
    }
}

/// A whole engine with its door.
pub(super) struct Engine {
    runtime: Runtime,
    server: Server,
    /// Where it is kept.
    keeper: Option<Keeper>,
}

/// An engine whose door is not open yet.
struct Started {
    services: Services,
    keeper: Option<Keeper>,
}

impl Started {
    fn open(self, quic: SocketAddr, pki: &Path) -> anyhow::Result<Engine> {
        let runtime = self.services.runtime.clone();
        let server = Server::bind(quic, pki, self.services)?;
        Ok(Engine { runtime, server, keeper: self.keeper })
    }
}

impl Engine {
    /// Starts it; call inside a tokio runtime.
    pub(super) fn start(
        config: RuntimeConfig,
        policies: Policies,
        lag: LagLimits,
        quic: SocketAddr,
        pki: &Path,
    ) -> anyhow::Result<Self> {
        let names = config.namespaces.iter().map(|namespace| namespace.name.clone());
        let telemetry = Telemetry::new(names, config.partitions);
        Self::start_counted(config, policies, lag, quic, pki, telemetry)
    }

    /// Starts it with these figures, which were made for its namespaces and partitions.
    fn start_counted(
        config: RuntimeConfig,
        policies: Policies,
        lag: LagLimits,
        quic: SocketAddr,
        pki: &Path,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<Self> {
        let services = Self::services(config, policies, lag, telemetry)?;
        Started { services, keeper: None }.open(quic, pki)
    }

    fn services(
        config: RuntimeConfig,
        policies: Policies,
        lag: LagLimits,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<Services> {
        let delivery = Arc::new(Delivery::with(&config.namespaces, lag, Ticks::real(), []));
        delivery.observe(&telemetry);
        let sink = Arc::clone(&delivery) as Arc<dyn MatchSink>;
        let runtime = Runtime::start_counted(config, sink, telemetry).context("the partitions' threads")?;
        let desk = Arc::new(Desk::new(runtime.clone(), policies));
        Ok(Services { runtime, desk, delivery })
    }

    /// Goes on where the data folder ends; on the event clock, which is for recorded streams, nothing is
    /// kept. Blocks.
    fn start_kept(folder: &Path, setup: keeper::Setup) -> anyhow::Result<Started> {
        if setup.runtime.clock == ClockMode::Event {
            note(&"hexcast: on the event clock nothing is kept: what it knows ends with it");
            let keeper::Setup { runtime, policies, lag, telemetry, .. } = setup;
            let services = Self::services(runtime, policies, lag, telemetry)?;
            return Ok(Started { services, keeper: None });
        }
        let keeper::Started { runtime, desk, delivery, keeper } = keeper::start(folder, setup)?;
        Ok(Started { services: Services { runtime, desk, delivery }, keeper: Some(keeper) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Closes the door, applies what was taken, and keeps it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.server.shutdown().await;
        let (runtime, keeper) = (self.runtime, self.keeper);
        tokio::task::spawn_blocking(move || match keeper {
            Some(keeper) => keeper.stop(&runtime),
            None => runtime.stop(),
        })
        .await
        .context("stopping the partitions")
    }
}
