//! An engine of loadgen's own, in a process of its own, so that its memory and processor time
//! are nobody else's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hexcast::access::pki;
use hexcast::delivery::LagLimits;
use hexcast::desk::Policies;
use hexcast::domain::{MaxAge, Namespace};
use hexcast::keeper;
use hexcast::limits::{CLOCK_SKEW_MS, MAX_AGE_MS, SNAPSHOT_EVERY_MS};
use hexcast::quic::{Server, Services};
use hexcast::runtime::{ClockMode, NamespaceConfig, RuntimeConfig};
use hexcast::telemetry::Telemetry;
use tokio::sync::mpsc::unbounded_channel;

/// A running engine; ends when dropped.
pub(crate) struct Engine {
    child: Child,
    place: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Engine {
    /// Starts it with certificates of its own.
    pub(crate) fn start(durable_pings: bool) -> anyhow::Result<Self> {
        let unique = format!("hexcast-loadgen-{}-{}", std::process::id(), crate::machine::now().0);
        let place = std::env::temp_dir().join(unique);
        pki::init(&place.join("pki"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("engine")
            .args(durable_pings.then_some("--durable-pings"))
            .arg(&place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the engine's process")?;
        let mut ready = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut ready)?;
        }
        let address = ready.trim().parse().context("the engine did not start");
        let mut engine = Self { child, place, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        engine.address = address?;
        Ok(engine)
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.place.join("pki")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It ends when its standard input closes; what fails here is the system's to clean up.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// The engine's process.
pub(crate) fn serve(place: &Path, durable_pings: bool) -> anyhow::Result<()> {
    let partitions = std::thread::available_parallelism().map_or(1, |n| n.get().min(256) as u32);
    tokio::runtime::Runtime::new()?.block_on(keep_serving(place, partitions, durable_pings))
}

/// Serves as `hexcast serve` does, with certificates and data in a folder and everything else at its default, until
/// standard input closes.
pub(crate) async fn keep_serving(place: &Path, partitions: u32, durable_pings: bool) -> anyhow::Result<()> {
    let namespaces = vec![NamespaceConfig {
        name: Namespace::new(pki::DEFAULT_NAMESPACE)?,
        max_age: MaxAge::Ms(MAX_AGE_MS),
    }];
    let telemetry = Telemetry::new(namespaces.iter().map(|namespace| namespace.name.clone()), partitions);
    let runtime = RuntimeConfig {
        partitions,
        namespaces,
        clock: ClockMode::Wall,
        clock_skew_ms: CLOCK_SKEW_MS,
        sliced: true,
    };
    let (fatal, mut failed) = unbounded_channel();
    let setup = keeper::Setup {
        runtime,
        policies: Policies::new(),
        lag: LagLimits::default(),
        durable_pings,
        snapshot_every: Duration::from_millis(SNAPSHOT_EVERY_MS),
        telemetry,
        fatal,
    };
    let data = place.join("data");
    let keeper::Started { runtime, desk, delivery, keeper } =
        tokio::task::spawn_blocking(move || keeper::start(&data, setup)).await??;
    let services = Services { runtime: runtime.clone(), desk, delivery };
    let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &place.join("pki"), services)?;
    writeln!(std::io::stdout().lock(), "{}", server.local_addr())?;
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_to_end(&mut Vec::new()));
    tokio::select! {
        closed = closed => drop(closed??),
        Some(why) = failed.recv() => bail!("{why}"),
    }
    server.shutdown().await;
    tokio::task::spawn_blocking(move || keeper.stop(&runtime)).await?;
    Ok(())
}
