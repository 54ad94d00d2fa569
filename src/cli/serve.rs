//! `hexcast serve`: the engine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{DEFAULT_SERVER, partitions};
use super::config::{Clock, Config, ConfigFile, Overrides};
use super::output::{note, say};
use crate::access::pki;
use crate::delivery::{Delivery, LagLimits, Ticks};
use crate::desk::{Desk, Policies};
use crate::quic::{Server, Services};
use crate::runtime::{MatchSink, Runtime, RuntimeConfig};

/// Runs the engine until SIGTERM or SIGINT, then drains and ends.
///
/// Without a configuration it listens on this machine only (127.0.0.1:7443), keeps its data in
/// `hexcast-data/`, knows the namespace `default`, and on its first start makes certificates for
/// development there, one identity a role: operator, partner, authority, admin.
#[derive(Debug, Args)]
#[command(after_help = "\
A configuration file may set, each optional:
  data_dir = \"hexcast-data\"
  pki = \"/etc/hexcast/pki\"        # certificates of your own; none are made then
  quic = \"127.0.0.1:7443\"
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

pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let file = match &args.config {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };
    let flags =
        Overrides { data_dir: args.data, quic: args.quic, partitions: args.partitions, clock: args.clock };
    let config = file.resolve(flags)?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HEXCAST_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,quinn=warn")),
        )
        .with_target(false)
        .init();
    let pki = certificates(&config)?;
    tokio::runtime::Runtime::new().context("the threads for the network")?.block_on(serve(config, &pki))
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
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let engine = Engine::start(config.runtime, config.policies, config.lag, config.quic, pki)?;
    say(&format!("listening on {} (QUIC)", engine.address()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    note(&"hexcast: shutting down: applying what was taken");
    engine.stop().await?;
    note(&"hexcast: shut down");
    Ok(())
}

/// A whole engine with its door.
pub(super) struct Engine {
    runtime: Runtime,
    server: Server,
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
        let delivery = Arc::new(Delivery::with(&config.namespaces, lag, Ticks::real(), []));
        let sink = Arc::clone(&delivery) as Arc<dyn MatchSink>;
        let runtime = Runtime::start(config, sink).context("the partitions' threads")?;
        let desk = Arc::new(Desk::new(runtime.clone(), policies));
        let services = Services { runtime: runtime.clone(), desk, delivery };
        let server = Server::bind(quic, pki, services)?;
        Ok(Self { runtime, server })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Closes the door and applies what was taken.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.server.shutdown().await;
        let runtime = self.runtime;
        tokio::task::spawn_blocking(move || runtime.stop()).await.context("stopping the partitions")
    }
}
