//! Bytes from strangers: what `fuzz/` tries without end, tried here for seconds and on stable.
//!
//! The corpora in `fuzz/corpus/` are replayed, and seeded mutations of each of their files; the
//! checks are those of the fuzz targets (`hexcast::fuzzing`). A binary of its own, because its
//! allocator counts. `HEXCAST_MUTATIONS=N` tries N of each file.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop where tests do")]

#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "oracle/rng.rs"]
#[expect(dead_code, reason = "the oracle uses all of it")]
mod rng;
#[path = "hostile/seeds.rs"]
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hexcast::desk::{Actor, Book, Policies};
use hexcast::domain::{Action, EventTime};
use hexcast::files::parse_alert_json;
use hexcast::fuzzing::{TARGETS, Target};

use rng::Rng;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// A target's corpus by file name. Grown files of a fuzzer's own, whose names are hashes, are not the
/// repository's.
fn corpus(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(root().join("corpus").join(target.name)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named.filter(|(name, _)| name.len() != 40).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Prints the input where a check panics.
struct Culprit<'a> {
    target: &'a str,
    from: &'a str,
    bytes: &'a [u8],
}

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("hexcast-{}-culprit", self.target));
            let kept = fs::write(&path, self.bytes);
            eprintln!(
                "{}, from {}, {} bytes, {}",
                self.target,
                self.from,
                self.bytes.len(),
                if kept.is_ok() { path.display().to_string() } else { "not kept".into() }
            );
            eprintln!("{}", self.bytes[..self.bytes.len().min(512)].escape_ascii());
        }
    }
}

/// Holds the laws and the bound of memory; says whether the bytes were taken, and what was held.
fn hold(target: &Target, from: &str, bytes: &[u8]) -> (bool, usize) {
    let culprit = Culprit { target: target.name, from, bytes };
    let (taken, held) = memory::most_held(|| (target.decode)(bytes));
    let bound = target.memory_times * bytes.len() + target.memory_plus;
    assert!(held <= bound, "{held} bytes are held for {}, at most {bound} may be", bytes.len());
    assert_eq!((target.check)(bytes), taken, "taken once and refused once");
    drop(culprit);
    (taken, held)
}

#[test]
fn the_corpora_keep_the_laws() {
    for target in TARGETS {
        let (mut good, mut bad) = (0, 0);
        for (name, bytes) in corpus(target) {
            assert!(bytes.len() <= target.input_max, "{}/{name} is longer than is tried", target.name);
            let refused = name.ends_with(".bad");
            let (taken, _) = hold(target, &name, &bytes);
            assert_eq!(taken, !refused, "{}/{name}: whether it is taken", target.name);
            if taken { good += 1 } else { bad += 1 }
        }
        assert!(good > 0 && bad > 0, "{}: {good} good, {bad} bad", target.name);
    }
}

#[test]
fn mutations_keep_the_laws() {
    let each: u64 = std::env::var("HEXCAST_MUTATIONS").map_or(4_000, |text| text.parse().unwrap());
    let threads = TARGETS.iter().zip(1..).map(|(target, seed)| {
        std::thread::spawn(move || {
            let mut rng = Rng::new(seed);
            let corpus = corpus(target);
            let all: Vec<&Vec<u8>> = corpus.values().collect();
            let (mut taken, mut tried, mut worst) = (0_u64, 0_u64, 0);
            for (name, bytes) in &corpus {
                // Long files get fewer, so that each target takes about as long.
                for _ in 0..each.min(each * 4_000 / bytes.len().max(1) as u64 + 20) {
                    let other = rng.pick(&all);
                    let changed = mutate::mutate(&mut rng, bytes, other, target.input_max);
                    let (was, held) = hold(target, name, &changed);
                    taken += u64::from(was);
                    tried += 1;
                    worst = worst.max(held);
                }
            }
            (target.name, taken, tried, worst)
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        let (name, taken, tried, worst) =
            thread.join().unwrap_or_else(|_| panic!("a law is broken, see above"));
        println!("{name}: {taken} of {tried} taken, at most {worst} bytes held");
        // Mutations that never get past the first check would show nothing.
        assert!(taken * 200 > tried && taken < tried, "{name}: {taken} of {tried} taken");
    }
}

/// The largest of each kind, and the greediest: what is small in bytes and large in memory.
#[test]
fn the_largest_and_the_greediest_inputs_stay_within_their_memory() {
    for (target, what, bytes) in seeds::greedy() {
        let target = TARGETS.iter().find(|known| known.name == target).unwrap();
        let (_, held) = hold(target, what, &bytes);
        println!("{}, {what}: {} bytes, {held} held", target.name, bytes.len());
    }
}

/// Alerts that are small as JSON and large in memory: what the desk counts is no less than what is held for them.
#[test]
fn the_desk_counts_no_less_than_its_alerts_hold() {
    let list = |item: &str, times: usize| vec![item; times].join(",");
    let corner = |n: i32| format!("[{},{}]", f64::from(n).mul_add(0.006, 20.0).sin(), f64::from(n) * 0.006);
    let ring = (0..999).map(corner).chain(["[-50,3]".to_owned()]).collect::<Vec<_>>().join(",");
    let circle = r#""area":{"circle":{"lat":31,"lon":121}}"#;
    let stages = (0..100).map(|n| format!(r#"{{"after":"{n}h","radius_km":{}}}"#, n + 1));
    let stages = stages.collect::<Vec<_>>().join(",");
    let kinds = [
        ("plain", circle.to_owned()),
        ("texts", format!(r#"{circle},"headline":"{}""#, "x".repeat(50_000))),
        ("objects", format!(r#"{circle},"photos":[{}]"#, list(r#"{"a":0}"#, 2_000))),
        ("nested", format!(r#"{circle},"photos":[{}]"#, list(r#"{"":{"":{"":[]}}}"#, 500))),
        ("wide", format!(r#"{circle},"photos":[{}]"#, list("0", 5_000))),
        ("words", format!(r#"{circle},"photos":[{}]"#, list(r#""abcdefgh""#, 5_000))),
        ("stages", format!(r#"{circle},"policy":{{"stages":[{stages}]}}"#)),
        ("circles", format!(r#""area":[{}]"#, list(r#"{"circle":{"lat":31,"lon":121}}"#, 64))),
        ("polygon", format!(r#""area":{{"polygon":[{ring}]}}"#)),
    ];
    let police = Actor::Authority("police".into());
    for (kind, members) in kinds {
        let mut book = Book::new(Policies::new());
        // Partitions have what they are told as long as the alert stands.
        let (told, held) = memory::held_after(|| {
            let publish = |n: i64| {
                let json = format!(r#"{{"id":"alert-{n}","expires":"2026-06-01T00:00:00Z",{members}}}"#);
                let draft = Box::new(parse_alert_json(&json).unwrap().draft);
                book.decide(EventTime(n), &police, Action::Publish(draft)).unwrap()
            };
            (0..40).map(publish).collect::<Vec<_>>()
        });
        let counted = book.bytes();
        println!("{kind}: {held} bytes held, {counted} counted for {} alerts", told.len());
        assert!(held <= counted, "{kind}: {held} bytes are held, {counted} are counted");
        assert!(counted < 4 * held, "{kind}: {held} bytes are held, {counted} are counted");
    }
}

/// With `HEXCAST_WRITE_CORPORA=1` the corpora are written. Files that begin with `found-` are kept
/// as they are: they are what a fuzzer found.
#[test]
fn the_corpora_are_what_the_generator_writes() {
    let seeds = seeds::all();
    if std::env::var_os("HEXCAST_WRITE_CORPORA").is_some() {
        for (target, name, bytes) in &seeds {
            let folder = root().join("corpus").join(target);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let mut bytes = 0;
    for target in TARGETS {
        let mut files = corpus(target);
        files.retain(|name, _| !name.starts_with("found-"));
        let own = seeds.iter().filter(|(of, ..)| *of == target.name);
        let due: BTreeMap<_, _> = own.map(|(_, name, bytes)| (name.clone(), bytes.clone())).collect();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            due.keys().collect::<Vec<_>>(),
            "files of fuzz/corpus/{}: write them with HEXCAST_WRITE_CORPORA=1",
            target.name
        );
        assert!(files == due, "fuzz/corpus/{} is of other bytes than its generator writes", target.name);
        bytes += files.values().map(Vec::len).sum::<usize>();
    }
    println!("{} files, {bytes} bytes", seeds.len());
    assert!(bytes < 1 << 20, "the corpora have {bytes} bytes: keep them small");
}

#[test]
fn every_target_has_its_fuzzer_and_every_fuzzer_its_target() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    let sources = fs::read_dir(root().join("fuzz_targets")).unwrap();
    let sources = sources.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    let due: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(bins.collect::<BTreeSet<_>>(), due);
    assert_eq!(sources.collect::<BTreeSet<_>>(), due);
    for name in due {
        let text = fs::read_to_string(root().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("run(\"{name}\", bytes)")), "{name}.rs runs another target");
    }
}
