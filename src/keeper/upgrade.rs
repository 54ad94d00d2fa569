//! A data folder that an earlier version wrote: `tests/data/v1` holds one of format version 1, as it was
//! first released, and a start on it gets everything back. A file of a version that is not known yet is
//! refused by its name, whichever file it is.
//!
//! A later format gets a folder of its own beside it, by `cargo test --lib write_a_folder -- --ignored`;
//! a folder that is there is never written anew. Files stand there without the zeros at their end, which
//! `FILES` counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::{KeepError, Setup, Started};
use crate::access::{Grant, Role};
use crate::delivery::LagLimits;
use crate::desk::Policies;
use crate::domain::{
    Action, AlertDraft, Area, CancelReason, Cause, DeviceId, MaxAge, Namespace, Offset, Ping, PingRow,
    Position, Shape,
};
use crate::runtime::{ClockMode, NamespaceConfig, NamespaceIx, RuntimeConfig};
use crate::telemetry::Telemetry;

const NORTH: NamespaceIx = NamespaceIx(0);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1")
}

fn start(data: &Path) -> Result<Started, KeepError> {
    let namespace = |name| NamespaceConfig { name: Namespace::new(name).unwrap(), max_age: MaxAge::Never };
    let namespaces = vec![namespace("north"), namespace("south")];
    let telemetry = Telemetry::new(namespaces.iter().map(|ns| ns.name.clone()), 2);
    let runtime = RuntimeConfig {
        partitions: 2,
        namespaces,
        clock: ClockMode::Wall,
        clock_skew_ms: 60_000,
        sliced: true,
    };
    let (lag, fatal) = (LagLimits::default(), unbounded_channel().0);
    let (policies, durable_pings, snapshot_every) = (Policies::new(), false, Duration::from_secs(600));
    super::start(data, Setup { runtime, policies, lag, durable_pings, snapshot_every, telemetry, fatal })
}

fn police() -> Grant {
    Grant::for_test("police", Role::Authority, &["north"])
}

fn draft(id: &str) -> Box<AlertDraft> {
    Box::new(AlertDraft::lasting(id, 31.0, 121.0))
}

fn update(id: &str) -> Action {
    Action::Update(Box::new(AlertDraft::bare(id)))
}

impl Started {
    fn act(&self, action: Action) {
        self.desk.act(&police(), None, action).unwrap();
        self.runtime.barrier();
    }

    /// Pings of these devices at a latitude, now.
    fn ping(&self, devices: std::ops::RangeInclusive<u64>, lat: f64) {
        let (now, position) = (self.runtime.now(), Position::from_degrees(lat, 121.0).unwrap());
        let ping = |device| Ping { device: DeviceId(device), at: now, position, accuracy_m: 0 };
        let rows: Vec<PingRow> = devices.map(|device| PingRow::write(&ping(device), now).unwrap()).collect();
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        threads.block_on(async {
            let (mut session, mut applied) = self.runtime.open_session(NORTH).unwrap();
            session.submit(1, now, &rows).await.unwrap();
            applied.recv().await.unwrap();
        });
    }

    /// Alert, device, cause and version of all matches that were found, when they are kept; of one event
    /// sorted by device, since partitions do not wait for each other.
    fn matches(&self) -> Vec<(u32, u64, Cause, u32)> {
        let log = self.delivery.log(NORTH);
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Some(last) = log.appended().0.checked_sub(1) {
            threads.block_on(log.wait_beyond(Offset(last)));
        }
        let mut all = Vec::new();
        while let Some(chunk) = log.read(Offset(all.len() as u64)).unwrap() {
            let matches = chunk.matches().unwrap();
            all.extend(matches.iter().map(|(_, one)| (one.alert.0, one.device.0, one.cause, one.version)));
        }
        all
    }

    fn stop(self) {
        drop(self.desk);
        self.keeper.stop(&self.runtime);
    }
}

/// What the folder's matches say, sorted.
fn first_matches() -> Vec<(u32, u64, Cause, u32)> {
    let of = |alert, devices: std::ops::RangeInclusive<u64>, cause, version| {
        devices.map(move |device| (alert, device, cause, version))
    };
    let mut all: Vec<_> = of(0, 1..=4, Cause::Publish, 1)
        .chain(of(0, 5..=6, Cause::Enter, 1))
        .chain(of(0, 1..=6, Cause::Update, 2))
        .chain(of(1, 1..=6, Cause::Publish, 1))
        .chain(of(1, 1..=6, Cause::Cancel, 1))
        .collect();
    all.sort_by_key(|(alert, device, cause, version)| (*alert, *device, *cause as u8, *version));
    all
}

fn sorted(mut matches: Vec<(u32, u64, Cause, u32)>) -> Vec<(u32, u64, Cause, u32)> {
    matches.sort_by_key(|(alert, device, cause, version)| (*alert, *device, *cause as u8, *version));
    matches
}

fn files_below(root: &Path, below: &Path, all: &mut Vec<PathBuf>) {
    let mut names: Vec<_> = fs::read_dir(root.join(below)).unwrap().map(|entry| entry.unwrap()).collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for name in names {
        let path = below.join(name.file_name());
        if name.file_type().unwrap().is_dir() {
            files_below(root, &path, all);
        } else if name.file_name() != "LOCK" {
            all.push(path);
        }
    }
}

#[test]
#[ignore = "writes the folder of a new format, once"]
fn write_a_folder() {
    assert!(!folder().exists(), "the folder of this format is there; a new format gets another name");
    let data = tempfile::tempdir().unwrap();
    let started = start(data.path()).unwrap();
    started.ping(1..=4, 31.0);
    started.ping(7..=9, 33.0);
    started.act(Action::Publish(draft("a")));
    started.ping(5..=6, 31.01);
    started.act(update("a"));
    started.act(Action::Publish(draft("b")));
    started.act(Action::Cancel { id: "b".into(), reason: CancelReason::Found });
    assert_eq!(sorted(started.matches()), first_matches());
    let (north, now) = (Namespace::new("north").unwrap(), started.runtime.now());
    started.delivery.cursors().acknowledged(&north, "notifier", Offset(7), now, 0);
    started.stop();
    // Another start closes the segments that were in use, and a snapshot is there.
    start(data.path()).unwrap().stop();

    let (mut all, mut list) = (Vec::new(), String::new());
    files_below(data.path(), Path::new(""), &mut all);
    for path in all {
        let bytes = fs::read(data.path().join(&path)).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let to = folder().join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &bytes[..used]).unwrap();
        list.push_str(&format!("{} {}\n", path.display(), bytes.len()));
    }
    fs::write(folder().join("FILES"), list).unwrap();
}

/// A copy of the folder, with files as long as they were.
fn copy() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for line in fs::read_to_string(folder().join("FILES")).unwrap().lines() {
        let (path, bytes) = line.split_once(' ').unwrap();
        let to = data.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(folder().join(path), &to).unwrap();
        fs::OpenOptions::new().write(true).open(to).unwrap().set_len(bytes.parse().unwrap()).unwrap();
    }
    data
}

#[test]
fn a_folder_of_the_first_format_gives_everything_back() {
    let data = copy();
    let started = start(data.path()).unwrap();
    let list = started.desk.list(&police()).unwrap();
    let seen: Vec<_> = list.alerts.iter().map(|one| (one.id.as_str(), one.version, one.state)).collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&("a", 2, "active")) && seen.contains(&("b", 1, "cancelled")), "{seen:?}");
    let old = started.matches();
    assert_eq!(sorted(old.clone()), first_matches());
    let north = Namespace::new("north").unwrap();
    assert_eq!(started.delivery.cursors().get(&north, "notifier"), Some(Offset(7)));
    // Devices are where they were, and nobody is told twice.
    started.ping(1..=2, 31.0);
    started.ping(10..=10, 31.0);
    assert_eq!(started.matches()[old.len()..], [(0, 10, Cause::Enter, 2)]);
    let wide = Shape::Circle { centre: Position::from_degrees(33.0, 121.0).unwrap(), radius_km: Some(5.0) };
    let moved = AlertDraft { area: Some(Ok(Area { shapes: vec![wide] })), ..*draft("a") };
    started.act(Action::Update(Box::new(moved)));
    let new = sorted(started.matches()[old.len() + 1..].to_vec());
    let mut due: Vec<_> = (1..=6).chain([10]).map(|device| (0, device, Cause::Update, 3)).collect();
    due.extend((7..=9).map(|device| (0, device, Cause::Publish, 3)));
    assert_eq!(new, sorted(due));
    started.stop();
}

/// What a start says of a folder in which a file's bytes were changed.
fn refusal(data: &Path) -> String {
    match start(data) {
        Ok(started) => {
            started.stop();
            "it started".into()
        }
        Err(why) => why.to_string(),
    }
}

/// The last file of the folder whose path begins and ends so, with something in it.
fn find(data: &Path, begins: &str, ends: &str) -> PathBuf {
    let mut all = Vec::new();
    files_below(data, Path::new(""), &mut all);
    let is = |path: &&PathBuf| {
        let name = path.to_str().unwrap();
        // A spare segment is blank.
        name.starts_with(begins) && name.ends_with(ends) && fs::read(data.join(path)).unwrap()[0] != 0
    };
    all.iter().rfind(is).unwrap().clone()
}

/// The head of a segment or of a snapshot's file, with another version.
fn later_head(bytes: &mut [u8]) {
    bytes[8] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..4_096]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_file_of_a_later_format_is_refused_by_its_name() {
    for (begins, ends) in [("actions/", ".log"), ("matches/north", ".log"), ("snapshots/", "north-0")] {
        let data = copy();
        let path = find(data.path(), begins, ends);
        let mut bytes = fs::read(data.path().join(&path)).unwrap();
        later_head(&mut bytes);
        fs::write(data.path().join(&path), bytes).unwrap();
        let said = refusal(data.path());
        let due = format!("{} has format version 9", path.display());
        assert!(said.starts_with(&due) && said.contains("use a later hexcast"), "{said}");
    }
    let data = copy();
    let path = find(data.path(), "snapshots/", "MANIFEST");
    let json = r#"{"version":9,"all":"else"}"#;
    fs::write(data.path().join(&path), format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes())))
        .unwrap();
    let said = refusal(data.path());
    assert!(said.starts_with(&format!("{} has format version 9", path.display())), "{said}");
    // It is left as it is.
    assert!(fs::read_to_string(data.path().join(&path)).unwrap().starts_with(json));
}
