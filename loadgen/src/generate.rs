//! `loadgen generate`: the generator alone. It makes and encodes pings as a run would and sends them to
//! nobody, so that one can tell whether a figure of a run is the server's or the generator's.

use std::hash::Hasher as _;
use std::io::Write as _;
use std::time::Instant;

use clap::Args;
use hexcast::domain::EventTime;
use hexcast::wire::{Encoding, ping_frame};

use crate::crowd::Crowd;
use crate::machine;
use crate::operator::BATCH_PINGS;
use crate::report::grouped;
use crate::scenario::{Scenario, check};

/// Makes and encodes the pings of a scenario and sends them to nobody.
///
/// Tells how many pings a second a core of the generator makes; where a run's figure comes near, the
/// generator was the bottleneck. The time is the threads' processor time, so that others on the same cores
/// are not in it. The same seed makes the same pings: --digest tells.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A built-in scenario (see `loadgen scenarios`) or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "country")]
    scenario: String,
    /// Devices (1,000,000 unless the scenario says otherwise).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=check::DEVICES_MAX))]
    devices: Option<u32>,
    /// Pings to make.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    pings: u64,
    /// Threads, a share of the devices and pings each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Partitions of the server that batches are split for.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    partitions: u32,
    /// Decides where devices are and how they move.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Prints a digest of all frames too: the same for the same seed, scenario and counts.
    #[arg(long)]
    digest: bool,
}

/// The time of the first ping: any will do, so that frames are the same at any time.
const START: EventTime = EventTime(1_779_000_000_000);

/// What a thread made.
#[derive(Default)]
struct Made {
    pings: u64,
    bytes: u64,
    /// Seconds of processor time.
    making: f64,
    encoding: f64,
    digest: u64,
}

pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let scenario = Scenario::find(&args.scenario)?;
    let devices = args.devices.unwrap_or(scenario.run.devices);
    let crowds = Crowd::shares(devices, args.seed, &scenario, args.threads)?;
    let share = args.pings.div_ceil(crowds.len().max(1) as u64);
    let begun = Instant::now();
    let working: Vec<_> = crowds
        .into_iter()
        .map(|crowd| {
            let (partitions, digest) = (args.partitions, args.digest);
            std::thread::spawn(move || make(crowd, share, partitions, digest))
        })
        .collect();
    let mut all = Made::default();
    let threads = working.len();
    for thread in working {
        let made = thread.join().map_err(|_| anyhow::anyhow!("a thread of the generator failed"))??;
        all.pings += made.pings;
        all.bytes += made.bytes;
        all.making += made.making;
        all.encoding += made.encoding;
        all.digest = all.digest.rotate_left(1) ^ made.digest;
    }
    let wall = begun.elapsed().as_secs_f64();
    let (pings, seconds) = (all.pings.max(1) as f64, (all.making + all.encoding).max(f64::MIN_POSITIVE));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", machine::describe())?;
    writeln!(
        out,
        "{}, {} devices, seed {}: {} pings in {wall:.2} s by {threads} threads, {} a second",
        scenario.name,
        grouped(devices.into()),
        args.seed,
        grouped(all.pings),
        grouped((pings / wall) as u64)
    )?;
    writeln!(
        out,
        "{} pings a second and core: {:.1} ns a ping ({:.1} to make it, {:.1} to encode it), {:.1} bytes each",
        grouped((pings / seconds) as u64),
        1e9 * seconds / pings,
        1e9 * all.making / pings,
        1e9 * all.encoding / pings,
        all.bytes as f64 / pings
    )?;
    if args.digest {
        writeln!(out, "digest {:016x}", all.digest)?;
    }
    Ok(())
}

fn make(mut crowd: Crowd, pings: u64, partitions: u32, digest: bool) -> anyhow::Result<Made> {
    let mut made = Made::default();
    let (mut frame, mut number) = (Vec::new(), 0);
    let mut hasher = std::hash::DefaultHasher::new();
    let mut clock = machine::thread_seconds();
    while made.pings < pings {
        let count = (BATCH_PINGS * u64::from(partitions)).min(pings - made.pings);
        let at = START.plus_ms(number as i64);
        let batches = crowd.batches(at, count, partitions);
        made.making += lap(&mut clock);
        for (batch, target) in batches {
            number += 1;
            ping_frame(Encoding::Columns, number, batch.base, Some(target), &batch.rows, &mut frame)?;
            made.pings += batch.rows.len() as u64;
            made.bytes += frame.len() as u64;
            if digest {
                hasher.write(&frame);
            }
        }
        made.encoding += lap(&mut clock);
    }
    made.digest = hasher.finish();
    Ok(made)
}

/// Seconds since the clock was read last.
fn lap(clock: &mut f64) -> f64 {
    let now = machine::thread_seconds();
    now - std::mem::replace(clock, now)
}
