//! Memory a device, and how long growth and forgetting keep pings waiting:
//! `cargo bench --bench memory -- --help`.
//!
//! Devices arrive until there are so many; then ten alerts notify all of them; then all but one of a
//! hundred fall silent and are forgotten; then they come back, the alerts are cancelled, and all but a
//! few are forgotten for good. Memory is what the process holds
//! beyond what it held before, its pings included there. Times are of the thread's processor time.

mod common;

use clap::Parser;
use common::{
    CHUNK, Chunk, DEVICES_OF_A_TEST, Watched, World, cancel, grouped, ms, processor, publish_at, rss_bytes,
};
use country::Shares;
use hexcast::domain::{DeviceId, MaxAge};
use hexcast::runtime::{give_memory, partition_of};

/// Alerts that notify everybody.
const ALERTS: u32 = 10;
/// Radius of a circle around the country's middle that holds all of it, km.
const EVERYWHERE_KM: f64 = 4_000.0;
/// How long a device is known here.
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Parser)]
#[command(name = "memory")]
struct Args {
    /// Devices in the end.
    #[arg(long, default_value_t = 10_000_000)]
    devices: u64,
    /// Partitions, filled by one thread in turn.
    #[arg(long, default_value_t = 2)]
    partitions: u32,
    /// Only let the devices arrive and be notified.
    #[arg(long)]
    stay: bool,
    /// Nobody gives memory ahead.
    #[arg(long)]
    alone: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut args = Args::parse();
    if !args.bench {
        args.devices = DEVICES_OF_A_TEST;
    }
    println!("{}; {} partitions, one thread", processor(), args.partitions);
    if !args.alone {
        // As every running engine has it.
        give_memory();
    }
    let mut house = House::new(&args);
    let mut world = World::new(args.seed, args.devices, Shares::COUNTRY);

    // 1, 2 and 5 of every power of ten.
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power)));
    let steps =
        steps.skip_while(|step| *step < 1_000_000.min(args.devices)).take_while(|step| *step < args.devices);
    let mut arrived = 0;
    for step in steps.chain([args.devices]) {
        house.pings(&mut world, step - arrived);
        arrived = step;
        house.say(&format!("{} devices", grouped(step)));
    }
    house.pings(&mut world, args.devices);
    house.say("each pinged again");

    for no in 0..ALERTS {
        for partition in &mut house.partitions {
            partition.order(&publish_at(world.now(), no, 35.0, 105.0, EVERYWHERE_KM));
            partition.finish();
        }
    }
    assert_eq!(house.matches(), u64::from(ALERTS) * args.devices, "everybody is told");
    house.say(&format!("{ALERTS} alerts have notified everybody"));
    if args.stay {
        return;
    }

    let now = house.forget(&args, world.now().ms_since(common::START));
    let told = house.matches();
    let mut world = World::new(args.seed, args.devices, Shares::STILL).later(now);
    house.pings(&mut world, args.devices);
    assert_eq!(house.matches(), told, "nobody is told twice");
    house.say("all are back, nobody was told twice");

    for no in 0..ALERTS {
        for partition in &mut house.partitions {
            partition.order(&cancel(world.now(), no));
            partition.finish();
        }
    }
    house.say(&format!("the {ALERTS} alerts are cancelled"));
    house.forget(&args, world.now().ms_since(common::START));
}

/// The partitions, and what the process held before them.
struct House {
    partitions: Vec<Watched>,
    chunks: Vec<Chunk>,
    held_before: u64,
    devices: u64,
}

impl House {
    fn new(args: &Args) -> Self {
        let mut house =
            Self { partitions: Vec::new(), chunks: Vec::new(), held_before: 0, devices: args.devices };
        for _ in 0..args.partitions.max(1) {
            house.partitions.push(Watched::new(MaxAge::Ms(HOUR_MS)));
            // Filled once, so that its memory is there before.
            let mut chunk = Chunk::default();
            World::new(0, args.devices, Shares::COUNTRY).fill(&mut chunk, CHUNK);
            house.chunks.push(chunk);
        }
        house.held_before = rss_bytes();
        house
    }

    /// The next `count` pings of a world, each to its partition.
    fn pings(&mut self, world: &mut World, count: u64) {
        let mut left = count;
        let partitions = self.partitions.len() as u32;
        while left > 0 {
            let some = left.min(CHUNK as u64) as usize;
            let begin = world.clone();
            for (k, (partition, chunk)) in (0..).zip(self.partitions.iter_mut().zip(&mut self.chunks)) {
                *world = begin.clone();
                world.fill_of(chunk, some, |id| partition_of(DeviceId(id), partitions) == k);
                partition.pings(chunk, |partition, _| {
                    partition.slice();
                });
            }
            left -= some as u64;
        }
    }

    /// All but one device of a hundred fall silent, and their age passes `after_ms`. Returns how
    /// late it is then.
    fn forget(&mut self, args: &Args, after_ms: i64) -> i64 {
        let left = (args.devices / 100).max(1);
        let mut few = World::new(args.seed, left, Shares::COUNTRY).later(after_ms + 2 * HOUR_MS);
        let mut pings = 0;
        while self.devices() > left && pings < 2 * args.devices + CHUNK as u64 {
            self.pings(&mut few, (args.devices / 20).clamp(1, CHUNK as u64));
            pings += (args.devices / 20).clamp(1, CHUNK as u64);
            // A thread that has nothing else to do looks for them; a ping does less of it.
            let turns = args.devices / 20 / 4_096 + 1;
            self.partitions.iter_mut().for_each(|partition| (0..turns).for_each(|_| partition.idle()));
        }
        // Memory goes back to the system little by little.
        let turns = args.devices / 512 + 1;
        self.partitions.iter_mut().for_each(|partition| (0..turns).for_each(|_| partition.idle()));
        self.say(&format!("all but {} were silent and are forgotten", grouped(self.devices())));
        few.now().ms_since(common::START)
    }

    fn devices(&self) -> u64 {
        self.partitions.iter().map(|watched| watched.partition.devices() as u64).sum()
    }

    fn matches(&self) -> u64 {
        self.partitions.iter().map(|watched| watched.matches).sum()
    }

    /// Prints what is held, and the longest calls since the last time.
    fn say(&mut self, what: &str) {
        let held = rss_bytes().saturating_sub(self.held_before);
        let devices = self.devices().max(1);
        let longest = |each: fn(&Watched) -> std::time::Duration| {
            ms(self.partitions.iter().map(each).max().unwrap_or_default())
        };
        println!(
            "{what}: {} MiB, {:.1} bytes for each of {} in the table{}; longest batch {:.2} ms ({:.2} on the clock), \
             order {:.2} ms, slice {:.2} ms",
            grouped(held >> 20),
            held as f64 / devices as f64,
            grouped(devices),
            if devices < self.devices && devices * 50 < self.devices {
                format!(" ({:.1} for each of {})", held as f64 / self.devices as f64, grouped(self.devices))
            } else {
                String::new()
            },
            longest(|watched| watched.longest.batch),
            longest(|watched| watched.longest.batch_wall),
            longest(|watched| watched.longest.order),
            longest(|watched| watched.longest.slice),
        );
        for partition in &mut self.partitions {
            partition.longest = common::Longest::default();
        }
    }
}
