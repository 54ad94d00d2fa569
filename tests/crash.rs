//! The real program, killed at moments of all kinds and started again on what it left.
//!
//! Each round publishes an alert while pings come in, and kills the server (`kill -9`) when a
//! partner has seen some number of matches, which goes through 0, 1, 2, ...; now and then it is asked to end
//! instead, so that it takes a snapshot, and it is started again with another number of partitions.
//! What is judged: whatever the partner saw at an offset is there with the same content; nobody is told twice
//! of an alert; everybody within is told in the end; everybody told hears of the end once.
//!
//! `HEXCAST_CRASHES=500 cargo test --release --test crash` is the long run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

#[path = "program/harness.rs"]
#[expect(dead_code, reason = "the program's tests use the rest")]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness::{Running, repository, run, run_ok, serve, write};
use serde_json::Value;

/// A match as a partner saw it.
struct Seen {
    offset: u64,
    alert: String,
    cause: String,
    device: String,
}

fn parse(line: &str) -> Option<Seen> {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let offset = value.get("offset")?.as_u64().unwrap();
    Some(Seen { offset, alert: text("alert"), cause: text("cause"), device: text("device") })
}

fn client(dir: &Path, to: &[String], args: &[&str]) -> harness::Said {
    run_ok(dir, args.iter().map(|arg| (*arg).to_owned()).chain(to.iter().cloned()))
}

fn subscriber(dir: &Path, to: &[String]) -> Running {
    Running::start(dir, ["subscribe".to_owned()].into_iter().chain(to.iter().cloned()))
}

fn is_match(line: &str) -> bool {
    line.contains("\"offset\":")
}

/// What a partner sees from the beginning until there are so many matches.
fn read(dir: &Path, to: &[String], count: usize) -> Vec<String> {
    let mut partner = subscriber(dir, to);
    partner.wait_count("what was seen", count, is_match);
    partner.signal("TERM");
    let said = partner.wait_exit("the partner's end");
    said.out.lines().filter(|line| is_match(line)).map(str::to_owned).collect()
}

#[test]
fn what_was_seen_stays_and_nobody_is_told_twice() {
    let crashes: usize = std::env::var("HEXCAST_CRASHES").map_or(6, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let alert: Value =
        serde_json::from_slice(&std::fs::read(repository("examples/alert.json")).unwrap()).unwrap();
    let draft = |name: &str| {
        let mut draft = alert.clone();
        draft["id"] = name.into();
        write(dir, &format!("{name}.json"), draft.to_string()).to_str().unwrap().to_owned()
    };
    let pings = repository("examples/pings.csv");
    let mut seen: Vec<String> = Vec::new();
    for round in 0..crashes {
        let partitions = ["2", "2", "3"][round % 3];
        let (server, to) = serve(dir, &["--partitions", partitions]);
        let begin = seen.len();
        assert_eq!(read(dir, &to, begin)[..begin], seen, "round {round}: what was seen is another now");
        client(dir, &to, &["ingest", "--now", &pings]);
        let mut partner = subscriber(dir, &to);
        let file = draft(&format!("crash-{round}"));
        let asks = ["alert", "publish", &file].map(str::to_owned).into_iter().chain(to.iter().cloned());
        let authority = Running::start(dir, asks);
        partner.wait_count("some of the alert's matches", begin + round % 15, is_match);
        server.signal(if round % 4 == 3 { "TERM" } else { "KILL" });
        server.wait_exit("the server's end");
        // Its answer may be lost, and it need not wait for it.
        authority.signal("KILL");
        authority.wait_exit("the authority's end");
        partner.signal("KILL");
        let shown = partner.wait_exit("the partner's end").out;
        let mut now: Vec<String> = shown.lines().filter(|line| is_match(line)).map(str::to_owned).collect();
        assert!(now.len() >= begin && now[..begin] == seen, "round {round}: what was seen is another now");

        let (server, to) = serve(dir, &["--partitions", partitions]);
        // An authority that got no answer asks again.
        run(dir, ["alert", "publish", &file].map(str::to_owned).into_iter().chain(to.iter().cloned()));
        client(dir, &to, &["ingest", "--now", &pings]);
        let after = read(dir, &to, now.len());
        assert_eq!(after[..now.len()], now, "round {round}: what was seen is gone after the restart");
        now = after;
        if round % 2 == 1 {
            client(dir, &to, &["alert", "cancel", &format!("crash-{}", round - 1), "--reason", "found"]);
        }
        server.signal(if round % 5 == 4 { "TERM" } else { "KILL" });
        server.wait_exit("the server's end");
        seen = now;
    }

    // All is quiet: whoever is within is told of a last alert, and so was of all that still stand.
    let (server, to) = serve(dir, &[]);
    client(dir, &to, &["ingest", "--now", &pings]);
    client(dir, &to, &["alert", "publish", &draft("last")]);
    for round in 0..crashes {
        let id = format!("crash-{round}");
        run(
            dir,
            ["alert", "cancel", &id, "--reason", "found"]
                .map(str::to_owned)
                .into_iter()
                .chain(to.iter().cloned()),
        );
    }
    client(dir, &to, &["alert", "publish", &draft("mark")]);
    let mut partner = subscriber(dir, &to);
    let within = client(dir, &to, &["alert", "preview", &draft("count")]).out;
    partner.wait_count("the last alert's matches", 10, |line| line.contains("\"mark\"") && is_match(line));
    server.signal("TERM");
    server.wait_exit("the server's end");
    partner.signal("TERM");
    let said = partner.wait_exit("the partner's end");
    let all: Vec<Seen> = said.out.lines().filter(|line| is_match(line)).filter_map(parse).collect();
    assert!((0..).zip(&all).all(|(offset, seen)| seen.offset == offset), "offsets are numbers without a gap");
    let (mut told, mut ended) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for Seen { alert, cause, device, offset } in all {
        let of = if cause == "cancel" { &mut ended } else { &mut told };
        let first = of.entry(alert.clone()).or_default().insert(device.clone());
        assert!(first, "offset {offset}: {device} is told twice of {alert} ({cause})");
    }
    assert!(told["last"].len() >= 10, "{within}");
    for round in 0..crashes {
        let id = format!("crash-{round}");
        assert_eq!(told[&id], ended[&id], "{id}: who was told hears of the end, and nobody else");
        assert!(told[&id].is_superset(&told["last"]), "{id}: somebody within was not told");
    }
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
