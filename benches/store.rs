//! What keeping costs: `cargo bench --bench store -- --help`.
//!
//! `pings`: the same batches, split by partition and in columns as a good sender makes them, into an engine that keeps
//! nothing, one that keeps matches and actions and takes snapshots, and one that keeps every ping, in turn. `confirm`: how
//! long an authority waits over QUIC until its alert is confirmed, against a sync of the disk. `restart`: a folder with
//! 10 M devices and 10 M notifications of 100 alerts, as a crash leaves it and as a clean end does, until the engine
//! serves, and the newest snapshot alone, against reading its files; each with the files in the system's memory and, as a
//! power cut leaves them, without.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "it prints its figures, and stops where its world is wrong"
)]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use common::{BATCH, CHUNK, Chunk, DEVICES_OF_A_TEST, World, grouped, median, ms, processor};
use country::Shares;
use hexcast::access::pki;
use hexcast::client::Client;
use hexcast::delivery::{Delivery, LagLimits, Ticks};
use hexcast::desk::Policies;
use hexcast::domain::{DeviceId, EventTime, MaxAge, Namespace, PingRow, partition_of};
use hexcast::engine::{Partition, PartitionConfig, Restorer};
use hexcast::keeper::{Setup, Started, start};
use hexcast::quic::{Server, Services};
use hexcast::runtime::{ClockMode, MatchSink, NamespaceConfig, NamespaceIx, Runtime, RuntimeConfig};
use hexcast::store::{ManifestFile, RealDisk, SnapshotFolder};
use hexcast::telemetry::{Log, Telemetry};
use hexcast::wire::{Encoding, Header, PingBatch, Target, ping_frame};
use rustix::fs::{Advice, fadvise};

const PARTITIONS: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    Pings,
    Confirm,
    Restart,
}

#[derive(Debug, Parser)]
#[command(name = "store")]
struct Args {
    #[arg(long, default_value_t = 10_000_000)]
    devices: u64,
    /// Only this; else all, one after the other.
    #[arg(long)]
    case: Option<Case>,
    /// Turns of each kind of engine.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Pings of a turn, in millions, after those that make the devices known.
    #[arg(long, default_value_t = 30)]
    pings: usize,
    /// Alerts of the restart, and their radius, km.
    #[arg(long, default_value_t = 100)]
    alerts: usize,
    #[arg(long, default_value_t = 60.0)]
    radius_km: f64,
    /// Restores once more just before each restart, so that no hypervisor has to get the memory first; else it is given
    /// time to take back what is free.
    #[arg(long)]
    touched: bool,
    /// Where folders are made: on the disk that is meant.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
}

/// What an engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Matches,
    Pings,
}

/// Batches as they come over the wire.
struct Batches(Vec<PingBatch>);

impl Batches {
    /// Of the world's next pings.
    fn new(world: &mut World, pings: usize) -> Self {
        let (mut chunk, mut all, mut frame) = (Chunk::default(), Vec::new(), Vec::new());
        let mut left = pings;
        while left > 0 {
            let count = left.min(CHUNK);
            world.fill(&mut chunk, count);
            left -= count;
            let mut parts = vec![(EventTime::BEFORE_ALL, Vec::<PingRow>::new()); PARTITIONS as usize];
            for (base, _, rows) in chunk.batches() {
                for row in rows {
                    let (first, rows) =
                        &mut parts[partition_of(DeviceId(row.device.get()), PARTITIONS) as usize];
                    if rows.is_empty() {
                        *first = base;
                    }
                    if base == *first {
                        rows.push(*row);
                    }
                }
                for (nth, (base, rows)) in (0..).zip(&mut parts) {
                    let target = Target { partition: nth, of: PARTITIONS as u16 };
                    let number = all.len() as u64 + 1;
                    ping_frame(Encoding::Columns, number, *base, Some(target), rows, &mut frame)
                        .expect("a batch");
                    let content = Bytes::copy_from_slice(&frame[Header::BYTES..]);
                    all.push(PingBatch::read(Encoding::Columns, &content).expect("a batch"));
                    rows.clear();
                }
            }
        }
        Self(all)
    }
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        partitions: PARTITIONS,
        namespaces: vec![NamespaceConfig { name: name(), max_age: MaxAge::Never }],
        clock: ClockMode::Wall,
        clock_skew_ms: i64::MAX / 4,
        sliced: true,
    }
}

fn name() -> Namespace {
    Namespace::new("default").expect("a name")
}

fn kept(folder: &Path, durable_pings: bool, snapshot_every: Duration) -> (Started, Duration) {
    let telemetry = Telemetry::new([name()], PARTITIONS);
    let (fatal, _) = tokio::sync::mpsc::unbounded_channel();
    let (runtime, policies, lag) = (config(), Policies::default(), LagLimits::default());
    let begun = Instant::now();
    let setup = Setup { runtime, policies, lag, durable_pings, snapshot_every, telemetry, fatal };
    let started = start(folder, setup).expect("it starts");
    (started, begun.elapsed())
}

/// Hands all batches to an engine and waits until they are applied; pings a second.
async fn feed(runtime: &Runtime, batches: &Batches) -> f64 {
    let (mut session, mut applied) = runtime.open_session(NamespaceIx(0)).expect("a session");
    let begun = Instant::now();
    let mut pings = 0;
    for batch in &batches.0 {
        pings += batch.len();
        session.submit_batch(batch.clone(), Instant::now()).await.expect("it takes pings");
    }
    drop(session);
    while applied.recv().await.is_some() {}
    pings as f64 / begun.elapsed().as_secs_f64()
}

async fn pings(args: &Args) {
    let mut world = World::new(1, args.devices, Shares::COUNTRY);
    let known = Batches::new(&mut world, args.devices as usize);
    let timed = Batches::new(&mut world, args.pings * 1_000_000);
    let mut rates = [(Keeps::Nothing, Vec::new()), (Keeps::Matches, Vec::new()), (Keeps::Pings, Vec::new())];
    for _ in 0..args.rounds {
        for (keeps, rates) in &mut rates {
            let folder = tempfile::tempdir_in(&args.folder).expect("a folder");
            let rate = if *keeps == Keeps::Nothing {
                let delivery =
                    Arc::new(Delivery::with(&config().namespaces, LagLimits::default(), Ticks::real(), []));
                let runtime = Runtime::start(config(), delivery as Arc<dyn MatchSink>).expect("threads");
                feed(&runtime, &known).await;
                let rate = feed(&runtime, &timed).await;
                tokio::task::block_in_place(|| runtime.stop());
                rate
            } else {
                let (started, _) = kept(folder.path(), *keeps == Keeps::Pings, Duration::from_secs(5));
                feed(&started.runtime, &known).await;
                let rate = feed(&started.runtime, &timed).await;
                let sums = started.runtime.telemetry().storage.snapshot_sums();
                println!(
                    "  {keeps:?}: {:.2} M/s, {} snapshots, the last {:.0} ms; {} MB of ping logs",
                    rate / 1e6,
                    sums.taken,
                    ms(sums.took),
                    started.runtime.telemetry().storage.sync_sums(Log::Pings).bytes >> 20,
                );
                tokio::task::block_in_place(|| started.keeper.stop(&started.runtime));
                rate
            };
            rates.push(rate);
        }
    }
    let medians: Vec<f64> = rates.iter().map(|(_, rates)| median(rates.clone())).collect();
    println!(
        "pings, {} devices, {PARTITIONS} partitions, medians of {}: {:.2} M/s kept nowhere, {:.2} M/s with the store \
         ({:.3} of it), {:.2} M/s with every ping kept ({:.3})",
        grouped(args.devices),
        args.rounds,
        medians[0] / 1e6,
        medians[1] / 1e6,
        medians[1] / medians[0],
        medians[2] / 1e6,
        medians[2] / medians[0],
    );
}

/// An engine with its door, for an authority.
struct Door {
    started: Started,
    server: Server,
    pki: PathBuf,
}

impl Door {
    fn open(folder: &Path, started: Started) -> Self {
        let pki = folder.join("pki");
        pki::init(&pki).expect("certificates");
        let services = Services {
            runtime: started.runtime.clone(),
            desk: Arc::clone(&started.desk),
            delivery: Arc::clone(&started.delivery),
        };
        let server =
            Server::bind("127.0.0.1:0".parse().expect("an address"), &pki, services).expect("a door");
        Self { started, server, pki }
    }

    /// Publishes a circle around a city; how long that took.
    async fn publish(&self, id: &str, city: &country::City, radius_km: f64) -> Duration {
        let client =
            Client::connect(self.server.local_addr(), &self.pki, "authority").await.expect("a connection");
        let mut control = client.control().await.expect("a session");
        let (lat, lon) = (city.lat, city.lon);
        let alert = format!(
            r#"{{"id":"{id}","status":"actual","headline":"A child is missing","policy":"fixed","expires":"2100-01-01T00:00:00Z",
            "area":{{"circle":{{"lat":{lat},"lon":{lon},"radius_km":{radius_km}}}}}}}"#
        );
        let begun = Instant::now();
        control.publish(&alert, None).await.expect("it is accepted");
        let took = begun.elapsed();
        client.close().await;
        took
    }

    fn synced(&self, log: Log) -> (u64, Duration) {
        let sums = self.started.runtime.telemetry().storage.sync_sums(log);
        (sums.latency.count(), Duration::from_secs_f64(sums.latency.seconds()))
    }
}

async fn confirm(args: &Args) {
    let folder = tempfile::tempdir_in(&args.folder).expect("a folder");
    let mut world = World::new(1, args.devices, Shares::COUNTRY);
    let known = Batches::new(&mut world, args.devices as usize);
    let (started, _) = kept(folder.path(), false, Duration::from_secs(60));
    feed(&started.runtime, &known).await;
    let door = Door::open(folder.path(), started);
    let mut took = Vec::new();
    let before = door.synced(Log::Actions);
    for n in 0..15 {
        let city = &world.country().cities()[n * 7];
        took.push(ms(door.publish(&format!("confirm-{n}"), city, 100.0).await));
    }
    let after = door.synced(Log::Actions);
    let sync = ms(after.1 - before.1) / (after.0 - before.0).max(1) as f64;
    took.sort_by(f64::total_cmp);
    println!(
        "an alert over {} devices is confirmed after {:.1} ms (median of {}, {:.1} to {:.1}); a sync of the journal takes \
         {sync:.1} ms, and two are waited for",
        grouped(args.devices),
        median(took.clone()),
        took.len(),
        took[0],
        took[took.len() - 1],
    );
    close(door).await;
}

async fn close(door: Door) {
    let Door { started, server, .. } = door;
    server.shutdown().await;
    tokio::task::block_in_place(|| started.keeper.stop(&started.runtime));
}

async fn restart(args: &Args) {
    let folder = tempfile::tempdir_in(&args.folder).expect("a folder");
    let (live, crashed) = (folder.path().join("live"), folder.path().join("crashed"));
    std::fs::create_dir(&live).expect("a folder");
    let mut world = World::new(1, args.devices, Shares::COUNTRY);
    let known = Batches::new(&mut world, args.devices as usize);
    // A snapshot falls between the alerts, and the last of them are later than it.
    let (started, _) = kept(&live, false, Duration::from_secs(20));
    feed(&started.runtime, &known).await;
    drop(known);
    let door = Door::open(&live, started);
    let cities = world.country().cities();
    for n in 0..args.alerts {
        if n == args.alerts * 3 / 4 {
            let taken = || door.started.runtime.telemetry().storage.snapshot_sums().taken;
            let (before, begun) = (taken(), Instant::now());
            while args.bench && taken() < before + 2 && begun.elapsed() < Duration::from_secs(120) {
                // Nobody is told when a snapshot is taken: it is looked for.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        door.publish(&format!("restart-{n}"), &cities[n % cities.len()], args.radius_km).await;
    }
    tokio::task::block_in_place(|| door.started.runtime.barrier());
    let log = door.started.delivery.log(NamespaceIx(0));
    while log.end().0 < log.view().end {
        log.wait_beyond(log.end()).await;
    }
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).args([&live, &crashed]).status();
    assert!(copied.expect("cp runs").success(), "the folder is copied");
    println!("{} alerts notified {} devices in all", args.alerts, grouped(log.end().0));
    close(door).await;
    for (what, data) in [("a crash", &crashed), ("a clean end", &live)] {
        for cold in [false, true] {
            let copy = folder.path().join("copy");
            let (mut reads, mut restores, mut starts, mut bytes) = (vec![], vec![], vec![], 0);
            let mut is_cold = cold;
            for _ in 0..args.rounds {
                let copied = Command::new("cp").args(["-r", "--sparse=always"]).args([data, &copy]).status();
                assert!(copied.expect("cp runs").success(), "the folder is copied");
                let mut ready = || is_cold &= get_ready(&copy, cold, args);
                ready();
                let (read, reading) = read_snapshot(&copy);
                ready();
                let restoring = restore_snapshot(&copy);
                ready();
                let (started, took) = kept(&copy, false, Duration::from_secs(600));
                reads.push(reading.as_secs_f64());
                restores.push(restoring.as_secs_f64());
                starts.push(took.as_secs_f64());
                bytes = read;
                tokio::task::block_in_place(|| started.keeper.stop(&started.runtime));
                drop((started.runtime, started.desk, started.delivery));
                std::fs::remove_dir_all(&copy).expect("it is removed");
            }
            println!("  reading {reads:.3?}, restoring {restores:.3?}, restarting {starts:.3?}");
            let (read, restored, start) = (median(reads), median(restores), median(starts));
            println!(
                "restart after {what}, {}, medians of {}: {start:.2} s until it serves; the newest snapshot is read in {read:.3} s \
                 ({} MB at {:.2} GB/s) and restored in {restored:.3} s, {:.2} of that rate ({:.2} by the whole restart)",
                match (cold, is_cold) {
                    (false, _) => "from the system's memory",
                    (true, true) => "nothing of it in the system's memory",
                    (true, false) => "perhaps some of it in the system's memory",
                },
                args.rounds,
                bytes / 1_000_000,
                bytes as f64 / read / 1e9,
                read / restored,
                read / start,
            );
        }
    }
}

/// Has all files in the system's memory, or none; says whether none is.
fn get_ready(data: &Path, cold: bool, args: &Args) -> bool {
    // What is dirty cannot be forgotten.
    assert!(Command::new("sync").status().is_ok_and(|status| status.success()), "it is synced");
    if args.touched {
        restore_snapshot(data);
    } else {
        #[expect(
            clippy::disallowed_methods,
            reason = "free memory goes back to the hypervisor after two seconds"
        )]
        std::thread::sleep(Duration::from_secs(3));
    }
    let files = files_below(data);
    for path in &files {
        if cold {
            let file = std::fs::File::open(path).expect("a file");
            fadvise(&file, 0, None, Advice::DontNeed).expect("the system hears it");
        } else {
            std::fs::read(path).expect("a file");
        }
    }
    let held = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).args(files).output();
    let held = held.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    cold && !held.is_empty() && held.split_whitespace().all(|bytes| bytes == "0")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { &mut folders } else { &mut files }.push(entry.path());
        }
    }
    files
}

/// Reads the newest snapshot's files as they are, each by a thread of its own, as they are restored.
fn read_snapshot(data: &Path) -> (u64, Duration) {
    let mut all: Vec<PathBuf> = std::fs::read_dir(data.join("snapshots"))
        .map(|all| all.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    all.sort();
    let files = files_below(all.last().expect("a snapshot"));
    let begun = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let read = |path| {
            let (mut file, mut piece) = (std::fs::File::open(path).expect("a file"), vec![0; 1 << 20]);
            std::iter::from_fn(|| Some(file.read(&mut piece).expect("a file")).filter(|n| *n > 0))
                .sum::<usize>()
        };
        let threads: Vec<_> = files.iter().map(|path| scope.spawn(move || read(path))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it reads")).sum::<usize>()
    });
    (bytes as u64, begun.elapsed())
}

/// Restores the newest snapshot as a start does, and nothing else.
fn restore_snapshot(data: &Path) -> Duration {
    let disk = Arc::new(RealDisk::open(data).expect("a folder"));
    let folder = SnapshotFolder::open(disk, "snapshots").expect("a folder");
    let newest = folder.list().expect("a folder").0.swap_remove(0);
    let config = PartitionConfig { max_age: MaxAge::Never, sliced: true, seed: 9 };
    let restore = |file: &ManifestFile| {
        let mut reader = folder.read(newest.number, &file.written).expect("a file");
        let mut restorer = Restorer::new(config, file.written.bytes);
        while let Some(block) = reader.next().expect("as it was written") {
            restorer.block(block).expect("as it was written");
        }
        restorer.finish().expect("as it was written")
    };
    let restore = &restore;
    let begun = Instant::now();
    let restored = std::thread::scope(|scope| {
        let threads: Vec<_> = newest.files.iter().map(|file| scope.spawn(move || restore(file))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it restores")).collect::<Vec<Partition>>()
    });
    let took = begun.elapsed();
    assert!(restored.iter().all(|partition| partition.devices() > 0));
    took
}

fn main() {
    let mut args = Args::parse();
    if !args.bench {
        (args.devices, args.rounds, args.pings, args.alerts) = (DEVICES_OF_A_TEST, 1, 1, 4);
        args.folder = std::env::temp_dir();
    }
    println!("{}; batches of {BATCH} pings in {PARTITIONS} parts", processor());
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    for case in [Case::Pings, Case::Confirm, Case::Restart] {
        if args.case.is_none_or(|only| only == case) {
            threads.block_on(async {
                match case {
                    Case::Pings => pings(&args).await,
                    Case::Confirm => confirm(&args).await,
                    Case::Restart => restart(&args).await,
                }
            });
        }
    }
}
