//! Snapshots of a partition: `cargo bench --bench snapshot -- --help`.
//!
//! A partition knows all devices of a country, of which some were notified. A snapshot of it is made with
//! nothing else going on, and restored from memory; then pings go on, chunks of them with a snapshot being
//! written in turn with chunks without. Times are of the thread's processor time; nothing is written to a disk.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

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
use hexcast::limits::{CLOCK_SKEW_MS, MAX_AGE_MS, SNAPSHOT_ASIDE_BYTES_MAX};

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
    #[arg(long, default_value_t = SNAPSHOT_ASIDE_BYTES_MAX)]
    debt: usize,
    /// Pairs of turns: two million pings without a snapshot, then a whole one.
    #[arg(long, default_value_t = 5)]
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
        let mut restorer = Restorer::new(config, bytes as u64);
        // Rows are blocks of kind 3; the others say which cells there are.
        let mut take = |rows: bool| {
            let (_, spent) = Spent::on(|| {
                for block in blocks.iter().filter(|block| (block[1] == 3) == rows) {
                    restorer.block(block).expect("as it was written");
                }
            });
            spent
        };
        let (on_cells, on_rows) = (take(false), take(true));
        let (restored, last) = Spent::on(|| restorer.finish().expect("as it was written"));
        let spent = on_cells + on_rows + last;
        assert_eq!(restored.devices(), watched.partition.devices(), "nobody is missing");
        println!(
            "restored: {:.1} ns a device of processor time (cells {:.1}, rows {:.1}), {:.1} on the clock ({:.2} GB/s of \
             this thread)",
            each(spent.cpu),
            each(on_cells.cpu),
            each(on_rows.cpu),
            each(spent.wall),
            bytes as f64 / spent.wall.as_secs_f64() / 1e9,
        );
    }
}

/// What pings took, and what was written between them.
#[derive(Default)]
struct Turn {
    pings: u64,
    on_pings: Duration,
    on_writing: Duration,
    longest: Duration,
    aside: usize,
    chunks: usize,
}

impl Turn {
    fn take(&mut self, args: &Args, partition: &mut Partition, chunk: &Chunk, saves: bool) {
        let (mut out, mut block) = (Output::default(), Vec::new());
        self.chunks += 1;
        for (base, now, rows) in chunk.batches() {
            if saves && !partition.snapshot_active() {
                break;
            }
            let clock = PingClock::Wall { now, skew_ms: CLOCK_SKEW_MS };
            let start = cpu_now();
            partition.pings(clock, base, rows, &mut out);
            let pinged = cpu_now();
            out.clear();
            self.aside = self.aside.max(partition.snapshot_debt());
            let mut written = 0;
            while saves && (written < args.step || partition.snapshot_debt() > args.debt) {
                block.clear();
                let more = partition.snapshot_some(args.step, &mut block);
                written += block.len();
                if !more {
                    break;
                }
            }
            self.on_writing += cpu_now() - pinged;
            self.on_pings += pinged - start;
            self.longest = self.longest.max(pinged - start);
            self.pings += rows.len() as u64;
        }
    }

    fn each(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.pings.max(1) as f64
    }
}

fn under_pings(args: &Args, world: &mut World, watched: &mut Watched, chunk: &mut Chunk) {
    let (mut alone, mut with, mut ratios, mut first, mut whole) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut longest, mut aside, mut pings) = (Duration::ZERO, 0, 0);
    for _ in 0..args.rounds {
        let mut without = Turn::default();
        for _ in 0..2 {
            world.fill(chunk, CHUNK);
            without.take(args, &mut watched.partition, chunk, false);
        }
        let start = cpu_now();
        assert!(watched.partition.begin_snapshot(), "nothing is under way");
        let begin = cpu_now() - start;
        let mut saving = Turn::default();
        let a = without.each(without.on_pings);
        while watched.partition.snapshot_active() {
            world.fill(chunk, CHUNK);
            saving.take(args, &mut watched.partition, chunk, true);
            if saving.chunks == 1 {
                first.push(saving.each(saving.on_pings) / a);
            }
        }
        let b = saving.each(saving.on_pings);
        alone.push(a);
        with.push(b);
        ratios.push(b / a);
        whole.push(saving.each(saving.on_pings + saving.on_writing + begin));
        (longest, aside, pings) = (longest.max(saving.longest), aside.max(saving.aside), saving.pings);
    }
    println!(
        "pings (batches of {BATCH}): {:.1} ns without, {:.1} while a snapshot is written, which is {:.3} times \
         (median of {} pairs; {:.3} times in the first million); {:.1} ns with what is written between; {} pings \
         came while it was; longest batch {:.2} ms; at most {} bytes aside",
        median(alone),
        median(with),
        median(ratios),
        args.rounds,
        median(first),
        median(whole),
        grouped(pings),
        ms(longest),
        grouped(aside as u64),
    );
}
