//! From the order for an alert to its last match, in process: `cargo bench --bench scan -- --help`.
//!
//! As many partitions as threads, each with its share of the devices. Time counts from the moment at
//! which all threads have the order, by the wall's clock; the first match is that of the thread that
//! is first, the last that of the last. Between two rounds the alert is cancelled, untimed. The
//! baselines get the same devices and threads: an R-tree of points that was built at once and
//! never moves, and a map that is walked through.

mod common;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use common::{
    BATCH, CHUNK, Chunk, DEVICES_OF_A_TEST, Longest, Watched, World, cancel, cpu_now, grouped, median, ms,
    processor, publish,
};
use country::{City, Point, Shares};
use dashmap::DashMap;
use hexcast::domain::{DeviceId, EventTime, MaxAge};
use hexcast::limits::MAX_AGE_MS;
use hexcast::runtime::partition_of;
use rstar::RTree;
use rstar::primitives::GeomWithData;

/// The city that the circles are around.
const CITY: &str = "Wuhan";
/// All devices live within this of it, where all live in the circle of 500 km.
const WITHIN_M: f64 = 497_000.0;
/// The earth's mean radius, m.
const EARTH_M: f64 = 6_371_008.8;

#[derive(Debug, Parser)]
#[command(name = "scan")]
struct Args {
    /// Devices of all partitions.
    #[arg(long, default_value_t = 10_000_000)]
    devices: u64,
    /// Partitions, a thread each.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Radii, km.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 100.0, 500.0])]
    radius_km: Vec<f64>,
    /// Where the devices are.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Home::Within, Home::Country])]
    home: Vec<Home>,
    /// Who scans.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Who::Hexcast, Who::Ingesting, Who::Rstar, Who::Dashmap])]
    who: Vec<Who>,
    /// Alerts of each radius.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Home {
    /// All live within 500 km of Wuhan.
    Within,
    /// All over the country.
    Country,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Partitions that do nothing else.
    Hexcast,
    /// Partitions that take a batch of 4,096 pings between any two slices.
    Ingesting,
    /// A bulk-loaded R-tree.
    Rstar,
    /// A map that is walked through.
    Dashmap,
}

/// What one thread saw of one alert.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    first: Option<Duration>,
    last: Duration,
    cpu: Duration,
    matches: u64,
    longest: Longest,
    pings: u64,
}

fn main() {
    let mut args = Args::parse();
    if !args.bench {
        (args.devices, args.rounds) = (DEVICES_OF_A_TEST, 1);
    }
    println!("{}; {} devices, {} threads", processor(), grouped(args.devices), args.threads);
    for home in &args.home {
        let mut world = World::new(args.seed, args.devices, Shares::COUNTRY);
        let cities = world.country().cities();
        let city = cities.iter().find(|city| city.name == CITY).unwrap_or(&cities[0]).clone();
        if *home == Home::Within {
            world = World::within(args.seed, args.devices, point(&city), WITHIN_M);
        }
        for who in &args.who {
            let seen = scan(&args, &world, *who, &city);
            for (radius_km, seen) in args.radius_km.iter().zip(seen) {
                println!("{}", line(*who, *home, *radius_km, &seen));
            }
        }
    }
}

fn point(city: &City) -> Point {
    Point { lat_e7: (city.lat * 1e7) as i32, lon_e7: (city.lon * 1e7) as i32 }
}

/// By radius, round and thread.
fn scan(args: &Args, world: &World, who: Who, city: &City) -> Vec<Vec<Vec<Seen>>> {
    let ready = Barrier::new(args.threads as usize);
    let by_thread: Vec<Vec<Vec<Seen>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads)
            .map(|thread| {
                let (ready, mine) =
                    (&ready, move |id: u64| partition_of(DeviceId(id), args.threads) == thread);
                scope.spawn(move || {
                    let mut store = Store::new(who, args, world.clone(), mine);
                    let mut number = 0;
                    let each = |radius_km: &f64| {
                        let mut round = || {
                            number += 1;
                            store.prepare(city, *radius_km, number);
                            ready.wait();
                            let seen: Seen = store.scan();
                            ready.wait();
                            seen
                        };
                        // The first is not counted: memory that it makes stays.
                        round();
                        (0..args.rounds).map(|_| round()).collect()
                    };
                    args.radius_km.iter().map(each).collect()
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let of = |radius: usize, round: usize| by_thread.iter().map(|seen| seen[radius][round]).collect();
    (0..args.radius_km.len())
        .map(|radius| (0..args.rounds).map(|round| of(radius, round)).collect())
        .collect()
}

/// A thread's share of the devices, and what it is to scan next.
struct Store {
    kind: Kind,
    city: Option<City>,
    radius_km: f64,
    number: u32,
    found: Vec<u64>,
}

enum Kind {
    Hexcast { watched: Box<Watched>, now: EventTime, pings: Option<Chunk>, next: usize },
    Rstar(RTree<GeomWithData<[f64; 3], u64>>),
    Dashmap(DashMap<u64, Point>),
}

impl Store {
    fn new(who: Who, args: &Args, mut world: World, mine: impl Fn(u64) -> bool) -> Self {
        let mut chunk = Chunk::default();
        let mut fill = |world: &mut World, take: &mut dyn FnMut(&Chunk)| {
            let mut left = args.devices;
            while left > 0 {
                let count = left.min(CHUNK as u64);
                world.fill_of(&mut chunk, count as usize, &mine);
                take(&chunk);
                left -= count;
            }
        };
        let at =
            |row: &hexcast::domain::PingRow| Point { lat_e7: row.lat_e7.get(), lon_e7: row.lon_e7.get() };
        let kind = match who {
            Who::Hexcast | Who::Ingesting => {
                let mut watched = Box::new(Watched::new(MaxAge::Ms(MAX_AGE_MS)));
                fill(&mut world, &mut |chunk| watched.pings(chunk, |_, _| {}));
                let mut pings = None;
                if who == Who::Ingesting {
                    let mut more = Chunk::default();
                    world.fill_of(&mut more, CHUNK * args.threads as usize, &mine);
                    pings = Some(more);
                }
                Kind::Hexcast { watched, now: world.now(), pings, next: 0 }
            }
            Who::Rstar => {
                let mut points = Vec::new();
                fill(&mut world, &mut |chunk| {
                    for (_, _, rows) in chunk.batches() {
                        points.extend(
                            rows.iter().map(|row| GeomWithData::new(sphere(at(row)), row.device.get())),
                        );
                    }
                });
                Kind::Rstar(RTree::bulk_load(points))
            }
            Who::Dashmap => {
                let map = DashMap::new();
                fill(&mut world, &mut |chunk| {
                    for (_, _, rows) in chunk.batches() {
                        for row in rows {
                            map.insert(row.device.get(), at(row));
                        }
                    }
                });
                Kind::Dashmap(map)
            }
        };
        Self { kind, city: None, radius_km: 0.0, number: 0, found: Vec::new() }
    }

    /// Withdraws the alert before and takes note of the next.
    fn prepare(&mut self, city: &City, radius_km: f64, number: u32) {
        if let Kind::Hexcast { watched, now, .. } = &mut self.kind {
            watched.order(&cancel(*now, self.number));
            watched.finish();
            watched.reset();
        }
        self.found.clear();
        (self.city, self.radius_km, self.number) = (Some(city.clone()), radius_km, number);
    }

    fn scan(&mut self) -> Seen {
        let Some(city) = &self.city else { return Seen::default() };
        let (centre, metres) = (point(city), self.radius_km * 1_000.0);
        let mut seen = Seen::default();
        let order = publish(self.now(), self.number, city, self.radius_km);
        let (started, cpu) = (Instant::now(), cpu_now());
        match &mut self.kind {
            Kind::Hexcast { watched, now, pings, next } => {
                watched.order(&order);
                let mut look = |watched: &Watched| {
                    // A ping may bring a match of the scan as well: its device is judged before it moves.
                    if watched.matches > seen.matches {
                        seen.matches = watched.matches;
                        seen.last = started.elapsed();
                        seen.first.get_or_insert(seen.last);
                    }
                };
                look(watched);
                while watched.partition.has_work() {
                    watched.slice();
                    look(watched);
                    let Some(chunk) = pings else { continue };
                    *next = (*next + 1) % (chunk.len() / BATCH).max(1);
                    if let Some((base, at, rows)) = chunk.batches().nth(*next) {
                        watched.batch(base, at.max(*now), rows);
                        look(watched);
                    }
                }
                seen.pings = watched.pings;
                seen.longest = watched.longest;
            }
            Kind::Rstar(tree) => {
                // On a sphere of radius 1, the chord of the angle.
                let chord = 2.0 * (metres / EARTH_M / 2.0).sin();
                for point in tree.locate_within_distance(sphere(centre), chord * chord) {
                    self.found.push(point.data);
                    seen.first.get_or_insert_with(|| started.elapsed());
                }
                seen.matches = self.found.len() as u64;
            }
            Kind::Dashmap(map) => {
                for entry in map.iter() {
                    if entry.value().metres_to(centre) <= metres {
                        self.found.push(*entry.key());
                        seen.first.get_or_insert_with(|| started.elapsed());
                    }
                }
                seen.matches = self.found.len() as u64;
            }
        }
        if !matches!(self.kind, Kind::Hexcast { .. }) {
            seen.last = started.elapsed();
        }
        seen.cpu = cpu_now() - cpu;
        seen
    }

    fn now(&self) -> EventTime {
        if let Kind::Hexcast { now, .. } = &self.kind { *now } else { EventTime(0) }
    }
}

/// On a sphere of radius 1.
fn sphere(at: Point) -> [f64; 3] {
    let radians = |e7: i32| f64::from(e7) * 1e-7_f64.to_radians();
    let ((sin_lat, cos_lat), (sin_lon, cos_lon)) =
        (radians(at.lat_e7).sin_cos(), radians(at.lon_e7).sin_cos());
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

fn line(who: Who, home: Home, radius_km: f64, rounds: &[Vec<Seen>]) -> String {
    let name = match who {
        Who::Hexcast => "hexcast",
        Who::Ingesting => "hexcast taking pings",
        Who::Rstar => "baseline rstar (bulk-loaded, never moves)",
        Who::Dashmap => "baseline DashMap (walked through)",
    };
    let place = match home {
        Home::Within => "all within 500 km",
        Home::Country => "all over the country",
    };
    let of = |each: &dyn Fn(&[Seen]) -> f64| {
        let all: Vec<f64> = rounds.iter().map(|round| each(round)).collect();
        let most = all.iter().copied().fold(0.0, f64::max);
        (median(all), most)
    };
    let first = of(&|seen| ms(seen.iter().filter_map(|seen| seen.first).min().unwrap_or_default()));
    let last = of(&|seen| ms(seen.iter().map(|seen| seen.last).max().unwrap_or_default()));
    let cpu = of(&|seen| ms(seen.iter().map(|seen| seen.cpu).max().unwrap_or_default()));
    let matches = rounds.last().map_or(0, |seen| seen.iter().map(|seen| seen.matches).sum());
    let mut text = format!(
        "{place}, {radius_km} km, {name}: {} matches; last after {:.2} ms (at most {:.2}), first after {:.3} ms (at \
         most {:.3}); a thread's processor time {:.2} ms",
        grouped(matches),
        last.0,
        last.1,
        first.0,
        first.1,
        cpu.0
    );
    if matches!(who, Who::Hexcast | Who::Ingesting) {
        let longest = |each: fn(&Longest) -> Duration| {
            ms(rounds.iter().flatten().map(|seen| each(&seen.longest)).max().unwrap_or_default())
        };
        text += &format!(
            "; longest order {:.2} ms, slice {:.2} ms, batch {:.2} ms",
            longest(|longest| longest.order),
            longest(|longest| longest.slice),
            longest(|longest| longest.batch)
        );
    }
    if who == Who::Ingesting {
        let pings: u64 = rounds.iter().flatten().map(|seen| seen.pings).sum();
        text += &format!("; {} pings meanwhile", grouped(pings / rounds.len().max(1) as u64));
    }
    text
}
