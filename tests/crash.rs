//! The real program, killed at random moments (`kill -9`) and started again on what it left.
//!
//! A source streams pings of devices that move about, an authority publishes and cancels alerts, and a partner
//! reads matches, all over QUIC, while the server is killed: between any two steps, while it takes snapshots, while
//! it starts; now and then it is asked to end instead, or started with another number of partitions. It keeps its
//! pings (`--durable-pings`), so its ping logs say in which order things were applied, and that order is
//! judged by `crash/judge.rs`, which shares nothing with the engine.
//!
//! What must hold: whatever the partner saw at an offset is there with the same content; whoever must be told by
//! the applied order is told, once; nobody is told who never was within; who was told hears of the end once, after
//! it; no ping of the source is lost, since it sends again what is not safe.
//!
//! `HEXCAST_CRASHES=500 cargo test --release --test crash -- --nocapture` is the long run; `HEXCAST_SEED=N` makes
//! another story of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

#[path = "program/harness.rs"]
#[expect(dead_code, reason = "the program's tests use the rest")]
mod harness;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/story.rs"]
mod story;

use std::path::Path;
use std::time::SystemTime;

use hexcast::client::{BatchBuilder, KeepPolicy, Source};
use hexcast::domain::{DeviceId, EventTime, Ping, Position};
use serde_json::Value;

use harness::{Running, repository, run_ok, serve};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn killed_at_random_moments_it_loses_nothing_and_doubles_nothing() {
    let rounds = setting("HEXCAST_CRASHES", 24);
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let told = threads.block_on(story::Story::new(setting("HEXCAST_SEED", 1)).run(rounds));
    println!("{told}");
}

fn client(dir: &Path, to: &[String], args: &[&str]) -> harness::Said {
    run_ok(dir, args.iter().map(|arg| (*arg).to_owned()).chain(to.iter().cloned()))
}

fn is_match(line: &str) -> bool {
    line.contains("\"offset\":")
}

/// What a partner sees from the beginning until there are so many matches.
fn read(dir: &Path, to: &[String], count: usize) -> Vec<String> {
    let mut partner = Running::start(dir, ["subscribe".to_owned()].into_iter().chain(to.iter().cloned()));
    partner.wait_count("what was seen", count, is_match);
    partner.signal("TERM");
    let said = partner.wait_exit("the partner's end");
    said.out.lines().filter(|line| is_match(line)).map(str::to_owned).collect()
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pings = repository("examples/pings.csv");
    let mut seen = Vec::new();
    for round in 0..3 {
        let (mut server, to) = serve(dir, &["--partitions", "2"]);
        if round == 0 {
            client(dir, &to, &["ingest", "--now", &pings]);
            client(dir, &to, &["alert", "publish", &repository("examples/alert.json")]);
            seen = read(dir, &to, 20);
        } else {
            assert_eq!(read(dir, &to, seen.len()), seen);
            // What it says comes before the line that was waited for.
            server.wait_err("what came back", |line| line.contains("recovered"));
        }
        server.signal("TERM");
        let said = server.wait_exit("the server's end");
        assert_eq!(said.err.contains("is damaged, the one before it is taken"), round == 2, "{}", said.err);
        if round == 1 {
            let file = dir.join("hexcast-data/snapshots/00000000000000000002/default-1");
            let mut bytes = std::fs::read(&file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(&file, bytes).unwrap();
        }
    }
}

/// Without ping logs, a batch is safe once a snapshot holds it, and then no crash loses it; what is not safe is sent
/// again by the source, and so is not lost either.
#[test]
fn what_a_source_was_told_is_safe_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    harness::write(dir, "config.toml", "snapshot_every = '1s'\n");
    let pki = dir.join("hexcast-data/pki");
    let batch = |first: u64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let mut builder = BatchBuilder::new(100);
        for device in first..first + 50 {
            let position = Position::from_e7(312_304_000, 1_214_737_000).unwrap();
            let (device, at) = (DeviceId(device), EventTime(now as i64));
            assert!(builder.push(Ping { device, at, position, accuracy_m: 0 }).is_none());
        }
        builder.take().unwrap()
    };
    let known = |to: &[String]| {
        let alert = repository("examples/alert.json");
        let preview: Value =
            serde_json::from_str(&client(dir, to, &["alert", "preview", &alert]).out).unwrap();
        preview["namespaces"][0]["devices"][0].as_u64().unwrap_or_else(|| panic!("{preview}"))
    };
    let threads = tokio::runtime::Runtime::new().unwrap();
    let (server, to) = serve(dir, &["--config", "config.toml"]);
    let at = |to: &[String]| to[1].parse().unwrap();
    let mut source = Source::new(at(&to), &pki, "operator", "default", "restarts", KeepPolicy::default());
    threads.block_on(async {
        source.send(batch(1)).await.unwrap();
        source.safe().await.unwrap();
        assert_eq!(source.state().kept, 0);
        source.send(batch(1_001)).await.unwrap();
        source.applied().await.unwrap();
    });
    server.signal("KILL");
    server.wait_exit("the server's end");

    let (server, to) = serve(dir, &["--config", "config.toml"]);
    let safe = known(&to);
    assert!([50, 100].contains(&safe), "{safe} devices: a safe one was lost");
    source.set_server(at(&to));
    threads.block_on(source.applied()).unwrap();
    assert_eq!(known(&to), 100, "what was sent again is there");
    // A source that keeps nothing asks where to go on.
    let stream = threads.block_on(async {
        let client = hexcast::client::Client::connect(at(&to), &pki, "operator").await.unwrap();
        client.ingest_from("default", "restarts", 0).await.unwrap()
    });
    assert!((2..=3).contains(&stream.next()), "the next is {}", stream.next());
    server.signal("TERM");
    server.wait_exit("the server's end");
}
