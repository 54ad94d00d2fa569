//! The wire without the engine: pings that every partition rejects at a glance (they lie in the
//! future), and an alert that reaches all of a million devices. Server and client share this
//! process and its cores. `cargo bench --bench wire [SECONDS]`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints its figures, and stops where something fails"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hexcast::access::pki;
use hexcast::client::{Batch, BatchBuilder, Client, Splitter, StartAt, SubscribeEvent, Target};
use hexcast::delivery::Delivery;
use hexcast::desk::{Desk, Policies};
use hexcast::domain::{DeviceId, EventTime, MaxAge, Namespace, Offset, Ping, Position};
use hexcast::quic::{Server, Services};
use hexcast::runtime::{ClockMode, MatchSink, NamespaceConfig, NamespaceIx, Runtime, RuntimeConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 2;
const BATCH: usize = 8_192;
const DEVICES: u64 = 1_000_000;

/// SplitMix64's finalizer: device ids are pseudonyms, so random numbers.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Somewhere in a rectangle of 30 by 40 degrees, as a country's devices are.
fn ping(n: u64, at: EventTime) -> Ping {
    let draw = mix(n ^ 0x5eed);
    let lat = 200_000_000 + (draw as u32 % 300_000_000) as i32;
    let lon = 900_000_000 + ((draw >> 32) as u32 % 400_000_000) as i32;
    let position = Position::from_e7(lat, lon).unwrap();
    Ping {
        device: DeviceId(mix(n)),
        at: at.plus_ms((draw % 500) as i64),
        position,
        accuracy_m: (draw % 50) as u32,
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[derive(Clone, Copy)]
struct How {
    name: &'static str,
    rows: bool,
    split: bool,
    sorted: bool,
    connections: usize,
}

fn batches(how: How, at: EventTime, terms: &hexcast::client::IngestTerms) -> Vec<(Batch, Option<Target>)> {
    let mut pings = (0..DEVICES / 4).map(|n| ping(n, at));
    let mut all: Vec<(Batch, Option<Target>)> = Vec::new();
    if how.split {
        let mut splitter = Splitter::new(terms, BATCH);
        all.extend(
            pings.by_ref().filter_map(|ping| splitter.push(ping)).map(|(batch, to)| (batch, Some(to))),
        );
    } else {
        let mut builder = BatchBuilder::new(BATCH);
        all.extend(pings.by_ref().filter_map(|ping| builder.push(ping)).map(|batch| (batch, None)));
    }
    if how.sorted {
        all.iter_mut().for_each(|(batch, _)| batch.rows.sort_by_key(|row| row.device.get()));
    }
    all
}

async fn flood(how: How, server: &Server, pki: &std::path::Path, now: EventTime, time: Duration) {
    let mut sending = Vec::new();
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let ready = Arc::new(tokio::sync::Barrier::new(how.connections));
    for _ in 0..how.connections {
        let client = Client::connect(server.local_addr(), pki, "operator").await.unwrap();
        let ready = Arc::clone(&ready);
        sending.push(tokio::spawn(async move {
            let mut stream = client.ingest("default", "bench").await.unwrap();
            if how.rows {
                stream.set_rows();
            }
            let batches = batches(how, now.plus_ms(36_000_000), stream.terms());
            ready.wait().await;
            let (cpu, begun) = (cpu_seconds(), Instant::now());
            let mut pings = 0;
            for (batch, target) in batches.iter().cycle() {
                stream.send_to(batch, *target).await.unwrap();
                pings += batch.rows.len() as u64;
                if begun.elapsed() > time {
                    break;
                }
            }
            let last = stream.finish().await.unwrap();
            assert_eq!(last.counts.total(), pings);
            (pings, cpu, begun)
        }));
    }
    let (mut pings, mut from) = (0, (cpu, begun));
    for task in sending {
        let (sent, cpu, begun) = task.await.unwrap();
        pings += sent;
        from = (cpu, begun);
    }
    let (cpu, took) = (cpu_seconds() - from.0, from.1.elapsed().as_secs_f64());
    let rate = pings as f64 / took / 1e6;
    println!(
        "{:<44} {rate:6.2} M pings/s  {:6.1} ns of processor a ping",
        how.name,
        cpu * 1e9 / pings as f64
    );
}

/// An alert over everything: from asking the desk to the last match at a partner, which acknowledges each batch.
async fn alert(id: &str, radius_km: u32, server: &Server, delivery: &Arc<Delivery>, pki: &std::path::Path) {
    let partner = Client::connect(server.local_addr(), pki, "partner").await.unwrap();
    let mut subscription = partner.subscribe("default", StartAt::Latest, true).await.unwrap();
    let end = subscription.terms().end;
    let authority = Client::connect(server.local_addr(), pki, "authority").await.unwrap();
    let mut desk = authority.control().await.unwrap();
    let json = format!(
        r#"{{"id":"{id}","status":"test","expires":"2999-01-01T00:00:00Z","headline":"x",
        "area":{{"circle":{{"lat":35.0,"lon":110.0}}}},"policy":{{"stages":[{{"after":"0s","radius_km":{radius_km}}}]}}}}"#
    );
    let begun = Instant::now();
    let delivery = Arc::clone(delivery);
    let logged = tokio::spawn(async move {
        let log = delivery.log(NamespaceIx(0));
        log.wait_beyond(Offset(end + DEVICES - 1)).await;
        begun.elapsed()
    });
    let reading = tokio::spawn(async move {
        let (mut matches, mut first) = (0, None);
        while matches < DEVICES {
            if let SubscribeEvent::Matches(found) = subscription.next().await.unwrap() {
                first.get_or_insert_with(|| begun.elapsed());
                matches += found.len() as u64;
                // As a partner does: one that is silent would be cut off.
                subscription.done_below(found.next()).await.unwrap();
            }
        }
        (first.unwrap(), begun.elapsed())
    });
    desk.publish(&json, None).await.unwrap();
    let ((first, last), logged) = (reading.await.unwrap(), logged.await.unwrap());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "alert to {DEVICES} devices ({radius_km} km): first at the partner after {:.1} ms, all in the log after \
         {:.1} ms, at the partner after {:.1} ms",
        ms(first),
        ms(logged),
        ms(last)
    );
}

fn main() {
    let seconds = std::env::args().find_map(|arg| arg.parse::<f64>().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        pki::init(dir.path()).unwrap();
        let config = RuntimeConfig {
            partitions: PARTITIONS,
            namespaces: vec![NamespaceConfig {
                name: Namespace::new("default").unwrap(),
                max_age: MaxAge::Never,
            }],
            clock: ClockMode::Wall,
            clock_skew_ms: 60_000,
            sliced: true,
        };
        let delivery = Arc::new(Delivery::new(&config.namespaces));
        let runtime = Runtime::start(config, Arc::clone(&delivery) as Arc<dyn MatchSink>).unwrap();
        let now = runtime.now();
        let desk = Arc::new(Desk::new(runtime.clone(), Policies::default()));
        let services = Services { runtime: runtime.clone(), desk, delivery: Arc::clone(&delivery) };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), dir.path(), services).unwrap();
        let how = |name, rows, split, sorted, connections| How { name, rows, split, sorted, connections };
        for how in [
            how("rows", true, false, false, 1),
            how("rows, split", true, true, false, 1),
            how("columns, split", false, true, false, 1),
            how("columns, split, sorted", false, true, true, 1),
            how("columns, split, two connections", false, true, false, 2),
        ] {
            flood(how, &server, dir.path(), now, time).await;
        }
        let operator = Client::connect(server.local_addr(), dir.path(), "operator").await.unwrap();
        let mut pings = operator.ingest("default", "all").await.unwrap();
        let mut builder = BatchBuilder::new(BATCH);
        for n in 0..DEVICES {
            if let Some(batch) = builder.push(ping(n, now.plus_ms(-1_000))) {
                pings.send(&batch).await.unwrap();
            }
        }
        pings.send(&builder.take().unwrap()).await.unwrap();
        pings.finish().await.unwrap();
        for id in ["a", "b", "c"] {
            alert(id, 5_000, &server, &delivery, dir.path()).await;
        }
        server.shutdown().await;
        runtime.stop();
    });
}
