//! The ping path in process, on one core: `cargo bench --bench ping_path -- --help`.
//!
//! A partition knows all devices of a country; each pings once a minute, in a random order of every
//! minute. Pings are made outside of the timed region, a million at a time, and go in by batches of
//! 4,096. A figure is the median of rounds of at least a second of processor time; with alerts, a round
//! contains the scan of one that is published, and its cancellation.

mod common;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use common::{
    CHUNK, Chunk, DEVICES_OF_A_TEST, SCAN_KM, Spent, Watched, World, cancel, grouped, median, ms, processor,
    publish, publish_at, rss_bytes,
};
use country::Shares;
use dashmap::DashMap;
use hexcast::domain::{EventTime, MaxAge, Position};
use hexcast::limits::MAX_AGE_MS;

/// Alerts that stand in the country mix.
const ALERTS: u32 = 10;
/// Alerts that stand where nobody is.
const ALERTS_ELSEWHERE: u32 = 10_000;
/// Numbers of the alerts that are published while pings go on start here.
const SCANNED: u32 = 1_000_000;
/// Radius of a circle around the country's middle that holds all of it, km.
const EVERYWHERE_KM: f64 = 4_000.0;

#[derive(Debug, Parser)]
#[command(name = "ping_path")]
struct Args {
    /// Devices that the partition knows.
    #[arg(long, default_value_t = 10_000_000)]
    devices: u64,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Case::Country, Case::Teleport, Case::Inside, Case::Elsewhere, Case::Baseline])]
    case: Vec<Case>,
    /// The same as `--case country,teleport`.
    #[arg(long)]
    teleport: bool,
    /// Least processor time of a case, seconds; never less than a simulated minute.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// A country by day under 10 alerts, a scan each second.
    Country,
    /// Each ping in another place, otherwise as `country`.
    Teleport,
    /// The country inside 10 alerts that have notified everybody.
    Inside,
    /// The country with 10,000 alerts where nobody is, against none: two partitions, the same pings.
    Elsewhere,
    /// What one would write first: a DashMap and an H3 conversion a ping, without any matching.
    Baseline,
}

fn main() {
    let mut args = Args::parse();
    if !args.bench {
        (args.devices, args.seconds) = (DEVICES_OF_A_TEST, 0.0);
    }
    if args.teleport {
        args.case = vec![Case::Country, Case::Teleport];
    }
    println!("{}; {} devices, one core", processor(), grouped(args.devices));
    let mut world = World::new(args.seed, args.devices, Shares::COUNTRY);
    let mut chunk = Chunk::default();
    world.fill(&mut chunk, CHUNK);
    world = World::new(args.seed, args.devices, Shares::COUNTRY);

    if args.case.iter().any(|case| *case != Case::Baseline) {
        engine(&args, &mut world, &mut chunk);
    }
    if args.case.contains(&Case::Baseline) {
        baseline(&args, &mut chunk);
    }
}

fn engine(args: &Args, world: &mut World, chunk: &mut Chunk) {
    let before = rss_bytes();
    let mut watched = Watched::new(MaxAge::Ms(MAX_AGE_MS));
    watched.populate(world, args.devices, chunk);
    let held = rss_bytes().saturating_sub(before);
    println!(
        "all devices pinged once: {:.1} bytes a device, longest batch {:.2} ms, {:.1} M pings/s",
        held as f64 / args.devices as f64,
        ms(watched.longest.batch),
        args.devices as f64 / watched.on_pings.cpu.as_secs_f64() / 1e6,
    );
    let has = |case| args.case.contains(&case);
    if has(Case::Country) || has(Case::Teleport) {
        for no in 0..ALERTS {
            // Every seventh city: not all of them giants.
            let city = &world.country().cities()[no as usize * 7];
            watched.order(&publish(world.now(), no, city, SCAN_KM));
            watched.finish();
        }
        let share = watched.matches as f64 / args.devices as f64;
        println!("{ALERTS} alerts of {SCAN_KM} km notified {:.1} % of the devices", share * 100.0);
        if has(Case::Country) {
            case("country", args, world, chunk, &mut watched, true);
        }
        if has(Case::Teleport) {
            world.change(Shares::TELEPORT);
            case("teleport", args, world, chunk, &mut watched, true);
            world.change(Shares::COUNTRY);
            // Back home before anything else is measured.
            watched.populate(world, args.devices, chunk);
        }
        (0..ALERTS).for_each(|no| withdraw(&mut watched, world.now(), no));
    }
    if has(Case::Inside) {
        watched.reset();
        for no in ALERTS..2 * ALERTS {
            watched.order(&publish_at(world.now(), no, 35.0, 105.0, EVERYWHERE_KM));
            watched.finish();
        }
        assert_eq!(watched.matches, u64::from(ALERTS) * args.devices, "everybody is told");
        case("inside 10 alerts, notified", args, world, chunk, &mut watched, false);
        (ALERTS..2 * ALERTS).for_each(|no| withdraw(&mut watched, world.now(), no));
    }
    if has(Case::Elsewhere) {
        elsewhere(args, world, chunk, watched);
    }
}

fn withdraw(watched: &mut Watched, now: EventTime, no: u32) {
    watched.order(&cancel(now, no));
    watched.finish();
}

/// Rounds of a second at least, and their median.
fn case(name: &str, args: &Args, world: &mut World, chunk: &mut Chunk, watched: &mut Watched, scans: bool) {
    let (mut rounds, mut pings, mut all) = (Vec::new(), 0, Spent::default());
    let (mut longest, mut matches, mut on_scans) = (common::Longest::default(), 0, Duration::ZERO);
    let cities: Vec<country::City> = world.country().cities().iter().skip(1).take(30).cloned().collect();
    let round_s = args.seconds.min(1.0);
    while pings < args.devices || all.cpu.as_secs_f64() < args.seconds {
        watched.reset();
        let mut in_round = 0;
        // 0: to be published, 1: scanned, 2: cancelled.
        let mut step = if scans { 0 } else { 2 };
        let no = SCANNED + rounds.len() as u32;
        let city = &cities[rounds.len() % cities.len()];
        while in_round == 0 || step < 2 || (watched.on_pings + watched.on_scans).cpu.as_secs_f64() < round_s {
            world.fill(chunk, CHUNK);
            watched.pings(chunk, |watched, now| {
                watched.slice();
                if step < 2 && !watched.partition.has_work() {
                    let order = if step == 0 { publish(now, no, city, SCAN_KM) } else { cancel(now, no) };
                    watched.order(&order);
                    step += 1;
                }
            });
            in_round += chunk.len() as u64;
        }
        watched.finish();
        let spent = watched.on_pings + watched.on_scans;
        rounds.push(in_round as f64 / spent.cpu.as_secs_f64());
        pings += in_round;
        all += spent;
        matches += watched.matches;
        on_scans += watched.on_scans.cpu;
        longest.batch = longest.batch.max(watched.longest.batch);
        longest.order = longest.order.max(watched.longest.order);
        longest.slice = longest.slice.max(watched.longest.slice);
    }
    let count = rounds.len();
    let rate = median(rounds);
    println!(
        "{name}: {:.2} M pings/s of processor time ({:.1} ns a ping, median of {count} rounds), {:.2} M/s by the \
         wall's clock; {} matches, {:.1} % of the time on scans; longest pause {:.2} ms (batch {:.2}, order \
         {:.2}, slice {:.2})",
        rate / 1e6,
        1e9 / rate,
        pings as f64 / all.wall.as_secs_f64() / 1e6,
        grouped(matches),
        100.0 * on_scans.as_secs_f64() / all.cpu.as_secs_f64(),
        ms(longest.any()),
        ms(longest.batch),
        ms(longest.order),
        ms(longest.slice),
    );
}

/// The same pings to two partitions in turn: one under no alert, one with alerts where nobody is.
fn elsewhere(args: &Args, world: &mut World, chunk: &mut Chunk, mut none: Watched) {
    let mut with = Watched::new(MaxAge::Ms(MAX_AGE_MS));
    let mut left = args.devices;
    while left > 0 {
        let count = left.min(CHUNK as u64);
        world.fill(chunk, count as usize);
        none.pings(chunk, |_, _| {});
        with.pings(chunk, |_, _| {});
        left -= count;
    }
    for no in 0..ALERTS_ELSEWHERE {
        // A grid over southern seas, 30 km each.
        let (lat, lon) = (-65.0 + f64::from(no % 100) * 0.5, -179.0 + f64::from(no / 100) * 3.5);
        with.order(&publish_at(world.now(), no, lat, lon, 30.0));
        with.finish();
    }
    assert_eq!(with.matches, 0, "nobody is there");
    (none.on_pings, with.on_pings) = Default::default();
    let (mut pings, mut ratios) = (0_u64, Vec::new());
    while pings < args.devices || none.on_pings.cpu.as_secs_f64() < args.seconds {
        world.fill(chunk, CHUNK);
        let before = (none.on_pings, with.on_pings);
        // Each in turn goes first, while the pings are not yet in the cache.
        let order = if (pings / CHUNK as u64).is_multiple_of(2) {
            [&mut none, &mut with]
        } else {
            [&mut with, &mut none]
        };
        order.into_iter().for_each(|watched| watched.pings(chunk, |_, _| {}));
        let took = |now: &Watched, before: Spent| (now.on_pings - before).cpu.as_secs_f64();
        ratios.push(took(&none, before.0) / took(&with, before.1));
        pings += chunk.len() as u64;
    }
    let rate = |watched: &Watched| pings as f64 / watched.on_pings.cpu.as_secs_f64() / 1e6;
    println!(
        "{} alerts elsewhere: {:.2} M pings/s, none: {:.2} M pings/s; ratio {:.3} (median of {} chunks {:.3})",
        grouped(ALERTS_ELSEWHERE.into()),
        rate(&with),
        rate(&none),
        rate(&with) / rate(&none),
        ratios.len(),
        median(ratios),
    );
}

/// A shared map of positions and cells, on one core as well.
fn baseline(args: &Args, chunk: &mut Chunk) {
    let map: DashMap<u64, (Position, h3o::CellIndex)> = DashMap::new();
    let apply = |chunk: &Chunk| {
        for (base, _, rows) in chunk.batches() {
            for ping in rows.iter().filter_map(|row| row.read(base).ok()) {
                let at = ping.position;
                let at_degrees = h3o::LatLng::new(at.lat_deg(), at.lon_deg());
                if let Ok(point) = at_degrees {
                    map.insert(ping.device.0, (at, point.to_cell(h3o::Resolution::Five)));
                }
            }
        }
    };
    for (name, shares) in [("country", Shares::COUNTRY), ("teleport", Shares::TELEPORT)] {
        let mut world = World::new(args.seed, args.devices, shares);
        let mut left = if map.is_empty() { args.devices } else { 0 };
        while left > 0 {
            let count = left.min(CHUNK as u64);
            world.fill(chunk, count as usize);
            apply(chunk);
            left -= count;
        }
        let (mut rounds, mut spent) = (Vec::new(), 0.0);
        while spent < args.seconds || rounds.is_empty() {
            world.fill(chunk, CHUNK);
            let ((), took) = Spent::on(|| apply(chunk));
            spent += took.cpu.as_secs_f64();
            rounds.push(chunk.len() as f64 / took.cpu.as_secs_f64());
        }
        let rate = median(rounds);
        println!(
            "baseline, {name}: a DashMap and an H3 conversion a ping, no matching: {:.2} M pings/s ({:.0} ns)",
            rate / 1e6,
            1e9 / rate
        );
    }
}
