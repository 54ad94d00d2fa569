//! Snapshots of a partition: `cargo bench --bench snapshot -- --help`.
//!
//! A partition knows all devices of a country, of which some were notified. A snapshot of it is made with
//! nothing else going on, and restored from memory; then pings go on, chunks of them with a snapshot being
//! written in turn with chunks without. Times are of the thread's processor time; nothing is written to a disk.

mod common;

use std::time::Duration;

use clap::Parser;
use common::{
    BATCH, CHUNK, Chunk, DEVICES_OF_A_TEST, SCAN_KM, Spent, Watched, World, cpu_now, grouped, median, ms,
    processor, publish,
};
use country::Shares;
use hexcast::domain::MaxAge;
use hexcast::engine::{Output, Partition, PartitionConfig, PingClock, Restorer};
use hexcast::limits::{CLOCK_SKEW_MS, MAX_AGE_MS};

/// Alerts that stand.
const ALERTS: u32 = 10;

#[derive(Debug, Parser)]
#[command(name = "snapshot")]
struct Args {
    /// Devices of the partition.
    #[arg(long, default_value_t = 5_000_000)]
    devices: u64,
    /// Bytes that are written after each batch of pings: with 4,096 pings a batch, 65,536 bytes are 16 a ping.
    #[arg(long, default_value_t = 65_536)]
    step: usize,
    /// Bytes that may wait before more pings are taken.
    #[arg(long, default_value_t = 4 << 20)]
    debt: usize,
    /// Pairs of turns with and without a snapshot.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut args = Args::parse();
    if !args.bench {
        (args.devices, args.rounds) = (DEVICES_OF_A_TEST, 2);
    }
    println!("{}; {} devices in one partition", processor(), grouped(args.devices));
    let mut world = World::new(args.seed, args.devices, Shares::COUNTRY);
    let mut chunk = Chunk::default();
    world.fill(&mut chunk, CHUNK);
    world = World::new(args.seed, args.devices, Shares::COUNTRY);
    let mut watched = Watched::new(MaxAge::Ms(MAX_AGE_MS));
    watched.populate(&mut world, args.devices, &mut chunk);
    for no in 0..ALERTS {
        let city = &world.country().cities()[no as usize * 7];
        watched.order(&publish(world.now(), no, city, SCAN_KM));
        watched.finish();
    }
    println!("{ALERTS} alerts notified {} devices", grouped(watched.matches));
    watched.populate(&mut world, args.devices, &mut chunk);
    while watched.partition.prepare() {}

    write_and_restore(&args, &mut watched);
    under_pings(&args, &mut world, &mut watched, &mut chunk);
}

fn write_and_restore(args: &Args, watched: &mut Watched) {
    let each = |time: Duration| time.as_nanos() as f64 / args.devices as f64;
    for step in [args.step, 1 << 20] {
        let (begun, begin) = Spent::on(|| watched.partition.begin_snapshot());
        assert!(begun, "nothing is under way");
        let (mut writing, mut longest, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        let mut block = Vec::new();
        let mut blocks = Vec::new();
        loop {
            block.clear();
            let start = cpu_now();
            let more = watched.partition.snapshot_some(step, &mut block);
            let spent = cpu_now() - start;
            (writing, longest, bytes) = (writing + spent, longest.max(spent), bytes + block.len());
            blocks.push(block.clone());
            if !more {
                break;
            }
        }
        println!(
            "written in blocks of {}: {:.2} bytes a device, {:.2} ns a device ({:.2} GB/s); begun in {:.2} ms, longest \
             block {:.2} ms",
            grouped(step as u64),
            bytes as f64 / args.devices as f64,
            each(writing),
            bytes as f64 / writing.as_secs_f64() / 1e9,
            ms(begin.cpu),
            ms(longest),
        );
        let config = PartitionConfig { max_age: MaxAge::Ms(MAX_AGE_MS), sliced: true, seed: 9 };
        let (restored, spent) = Spent::on(|| {
            let mut restorer = Restorer::new(config, bytes as u64);
            for block in &blocks {
                restorer.block(block).expect("as it was written");
            }
            restorer.finish().expect("as it was written")
        });
        assert_eq!(restored.devices(), watched.partition.devices(), "nobody is missing");
        println!(
            "restored: {:.1} ns a device of processor time, {:.1} on the clock ({:.2} GB/s of this thread)",
            each(spent.cpu),
            each(spent.wall),
            bytes as f64 / spent.wall.as_secs_f64() / 1e9,
        );
    }
}

/// Nanoseconds a ping of the pings alone, and with what is written between them.
#[derive(Default)]
struct Turn {
    pings: u64,
    on_pings: Duration,
    on_writing: Duration,
    longest: Duration,
    aside: usize,
    written: usize,
}

fn turn(args: &Args, partition: &mut Partition, chunk: &Chunk, saves: bool) -> Turn {
    let mut turn = Turn::default();
    let (mut out, mut block) = (Output::default(), Vec::new());
    for (base, now, rows) in chunk.batches() {
        if saves && !partition.snapshot_active() {
            break;
        }
        let clock = PingClock::Wall { now, skew_ms: CLOCK_SKEW_MS };
        let start = cpu_now();
        partition.pings(clock, base, rows, &mut out);
        let pinged = cpu_now();
        out.clear();
        turn.aside = turn.aside.max(partition.snapshot_debt());
        if saves {
            let mut written = 0;
            while written < args.step || partition.snapshot_debt() > args.debt {
                block.clear();
                let more = partition.snapshot_some(args.step, &mut block);
                written += block.len();
                if !more {
                    break;
                }
            }
            turn.written += written;
        }
        turn.on_writing += cpu_now() - pinged;
        turn.on_pings += pinged - start;
        turn.longest = turn.longest.max(pinged - start);
        turn.pings += rows.len() as u64;
    }
    turn
}

fn under_pings(args: &Args, world: &mut World, watched: &mut Watched, chunk: &mut Chunk) {
    let (mut alone, mut with, mut ratios, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut longest, mut aside) = (Duration::ZERO, 0);
    for _ in 0..args.rounds {
        world.fill(chunk, CHUNK);
        let without = turn(args, &mut watched.partition, chunk, false);
        world.fill(chunk, CHUNK);
        let start = cpu_now();
        assert!(watched.partition.begin_snapshot(), "nothing is under way");
        let begin = cpu_now() - start;
        let saving = turn(args, &mut watched.partition, chunk, true);
        watched.partition.abort_snapshot();
        let each = |turn: &Turn, time: Duration| time.as_nanos() as f64 / turn.pings as f64;
        let (a, b) = (each(&without, without.on_pings), each(&saving, saving.on_pings));
        alone.push(a);
        with.push(b);
        ratios.push(b / a);
        whole.push(each(&saving, saving.on_pings + saving.on_writing + begin));
        longest = longest.max(saving.longest);
        aside = aside.max(saving.aside);
    }
    println!(
        "pings, the first {} after a snapshot began (batches of {BATCH}): {:.1} ns without, {:.1} while one is \
         written: {:.3} times (median of {} pairs); {:.1} with what is written; longest batch {:.2} ms; at most {} \
         bytes aside",
        grouped(CHUNK as u64),
        median(alone),
        median(with),
        median(ratios),
        args.rounds,
        median(whole),
        ms(longest),
        grouped(aside as u64),
    );
}
