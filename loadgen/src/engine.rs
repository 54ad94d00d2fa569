//! An engine of loadgen's own, in a process of its own, so that its memory and processor time
//! are nobody else's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use hexcast::access::pki;
use hexcast::delivery::Delivery;
use hexcast::desk::{Desk, Policies};
use hexcast::domain::{MaxAge, Namespace};
use hexcast::limits::{CLOCK_SKEW_MS, MAX_AGE_MS};
use hexcast::quic::{Server, Services};
use hexcast::runtime::{ClockMode, MatchSink, NamespaceConfig, Runtime, RuntimeConfig};

/// A running engine; ends when dropped.
pub(crate) struct Engine {
    child: Child,
    place: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Engine {
    /// Starts it with certificates of its own.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let unique = format!("hexcast-loadgen-{}-{}", std::process::id(), crate::machine::now().0);
        let place = std::env::temp_dir().join(unique);
        pki::init(&place.join("pki"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("engine")
            .arg(place.join("pki"))
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
pub(crate) fn serve(pki: &Path) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let config = RuntimeConfig {
            partitions: std::thread::available_parallelism().map_or(1, |n| n.get().min(256) as u32),
            namespaces: vec![NamespaceConfig {
                name: Namespace::new(pki::DEFAULT_NAMESPACE)?,
                max_age: MaxAge::Ms(MAX_AGE_MS),
            }],
            clock: ClockMode::Wall,
            clock_skew_ms: CLOCK_SKEW_MS,
            sliced: true,
        };
        let delivery = Arc::new(Delivery::new(&config.namespaces));
        let runtime = Runtime::start(config, Arc::clone(&delivery) as Arc<dyn MatchSink>)?;
        let desk = Arc::new(Desk::new(runtime.clone(), Policies::new()));
        let services = Services { runtime: runtime.clone(), desk, delivery };
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), pki, services)?;
        writeln!(std::io::stdout().lock(), "{}", server.local_addr())?;
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_to_end(&mut Vec::new()));
        closed.await??;
        server.shutdown().await;
        tokio::task::spawn_blocking(move || runtime.stop()).await?;
        Ok(())
    })
}
