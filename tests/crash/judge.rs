//! Who must have been told, by the rules and the order in which partitions applied things.
//!
//! The order comes from the ping logs, read here by their documented bytes, never through the engine's own
//! reader of entries. The world is simple enough for the rules to be a few lines: spots stand in a row, some
//! 1.1 km apart, and an alert reaches so many of them to either side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hexcast::domain::{DeviceId, partition_of};
use hexcast::store::{LogOptions, RealDisk, SegmentedLog};

/// Degrees of latitude between two spots.
pub(crate) const STEP_E7: i32 = 100_000;
/// The first spot.
pub(crate) const FIRST: (i32, i32) = (310_000_000, 1_210_000_000);

/// An alert of the script.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    /// The spot in its middle.
    pub(crate) spot: i32,
    /// How many spots to either side it reaches: at once, and from `stage_at` on.
    pub(crate) reach: [i32; 2],
    pub(crate) stage_at: Option<i64>,
}

/// An action of the script, in the journal's order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Publish(usize),
    Cancel(usize),
}

/// An entry of a ping log.
enum Entry {
    Pings { now: i64, rows: Vec<(u64, i64, i32)> },
    Order(u64),
    Stages(i64),
}

#[derive(Clone, Default)]
struct Part {
    orders: usize,
    /// Alerts that stand, and whether their stage has come.
    active: BTreeMap<usize, bool>,
}

/// See the module head.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) script: Vec<Action>,
    /// What was asked for last, if it has no answer.
    pub(crate) unanswered: Option<Action>,
    parts: Vec<Part>,
    /// When each device was last seen, and at which spot.
    pub(crate) devices: BTreeMap<u64, (i64, i32)>,
    /// By alert: who must have been told.
    pub(crate) must: BTreeMap<usize, BTreeSet<u64>>,
    /// By number of partitions and partition: which log it was, and the next entry to be read.
    read: BTreeMap<(u32, u32), (u64, u64)>,
    pub(crate) entries: u64,
    /// How many of the script's actions there were when the process began.
    begun: usize,
}

impl Judge {
    /// The process goes on with so many partitions, after so many of the script's actions.
    pub(crate) fn begins(&mut self, partitions: u32, orders: usize) {
        let old = self.parts.len() as u32;
        self.begun = orders;
        if old == partitions {
            return;
        }
        for nth in 0..old {
            while self.parts[nth as usize].orders < orders {
                self.order(nth, old);
            }
        }
        // A stage has come where it has for all; to be told again is to be told once.
        let mut part = self.parts.first().cloned().unwrap_or_default();
        for (alert, come) in &mut part.active {
            *come = self.parts.iter().all(|part| part.active[alert]);
        }
        self.parts = vec![part; partitions as usize];
    }

    /// Reads what the logs in a data folder have gained. Nobody else uses the folder meanwhile.
    pub(crate) fn read(&mut self, data: &Path) {
        let of = self.parts.len() as u32;
        let logs = data.join(format!("pings/{of}"));
        if !logs.exists() {
            return;
        }
        // On a copy, so that the next start finds what the crash left.
        let copy = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").arg("--sparse=always").arg(&logs).arg(copy.path()).status();
        assert!(copied.unwrap().success());
        let disk = Arc::new(RealDisk::open(copy.path()).unwrap());
        for nth in (0..of).filter(|nth| logs.join(nth.to_string()).exists()) {
            let options = LogOptions { id: 1, ..LogOptions::default() };
            let (log, _) = SegmentedLog::open(disk.clone(), &format!("{of}/{nth}"), options).unwrap();
            // A log that no snapshot names is removed, and another one may stand in its place.
            let id = id_of(&logs.join(nth.to_string()));
            let before = self.read.get(&(of, nth)).filter(|(before, _)| *before == id);
            let mut from = before.map_or(0, |(_, next)| *next);
            if log.first() > from || before.is_none() {
                // A start that was killed left only what every start does again: the actions before it.
                from = log.first();
                while self.parts[nth as usize].orders < self.begun {
                    self.order(nth, of);
                }
            }
            loop {
                let records = log.reader().read(from, 1 << 20).unwrap();
                let Some(last) = records.last() else { break };
                from = last.next;
                for record in &records {
                    self.apply(nth, of, parse(record.kind, &record.payload));
                }
            }
            self.read.insert((of, nth), (id, from));
        }
    }

    fn apply(&mut self, nth: u32, of: u32, entry: Entry) {
        self.entries += 1;
        match entry {
            Entry::Order(index) => {
                let done = self.parts[nth as usize].orders;
                assert!(index as usize <= done, "order {index} after {done} orders");
                if index as usize == done {
                    self.order(nth, of);
                }
            }
            Entry::Stages(through) => self.pass(nth, of, through),
            Entry::Pings { now, rows } => {
                self.pass(nth, of, now);
                for (device, at, spot) in rows {
                    assert_eq!(partition_of(DeviceId(device), of), nth, "another partition's device");
                    let known = self.devices.entry(device).or_insert((i64::MIN, 0));
                    if at < known.0 {
                        continue;
                    }
                    *known = (at, spot);
                    for (alert, come) in &self.parts[nth as usize].active {
                        if self.alerts[*alert].reaches(spot, *come) {
                            self.must.entry(*alert).or_default().insert(device);
                        }
                    }
                }
            }
        }
    }

    fn order(&mut self, nth: u32, of: u32) {
        let part = &mut self.parts[nth as usize];
        // What was accepted last may have no answer yet.
        let action = self.script.get(part.orders).copied().or(self.unanswered).unwrap();
        part.orders += 1;
        match action {
            Action::Publish(alert) => {
                part.active.insert(alert, false);
                self.scan(nth, of, alert, false);
            }
            Action::Cancel(alert) => drop(part.active.remove(&alert)),
        }
    }

    fn pass(&mut self, nth: u32, of: u32, now: i64) {
        let due = |(alert, come): &(&usize, &bool)| {
            !**come && self.alerts[**alert].stage_at.is_some_and(|at| at <= now)
        };
        let due: Vec<usize> =
            self.parts[nth as usize].active.iter().filter(due).map(|(alert, _)| *alert).collect();
        for alert in due {
            self.parts[nth as usize].active.insert(alert, true);
            self.scan(nth, of, alert, true);
        }
    }

    fn scan(&mut self, nth: u32, of: u32, alert: usize, come: bool) {
        let must = self.must.entry(alert).or_default();
        for (device, (_, spot)) in &self.devices {
            if partition_of(DeviceId(*device), of) == nth && self.alerts[alert].reaches(*spot, come) {
                must.insert(*device);
            }
        }
    }
}

impl Alert {
    pub(crate) fn reaches(&self, spot: i32, come: bool) -> bool {
        (spot - self.spot).abs() <= self.reach[usize::from(come)]
    }
}

/// What names the log in each of its segments: bytes 16 to 23 of one that was begun.
fn id_of(folder: &Path) -> u64 {
    let segments = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let head = |path| {
        let mut head = [0; 24];
        std::fs::File::open(path).unwrap().read_exact(&mut head).ok()?;
        Some(u64::from_le_bytes(head[16..].try_into().unwrap()))
    };
    segments.filter_map(head).max().unwrap_or_default()
}

/// An entry by its bytes: see docs/operations.md, "The ping log".
fn parse(kind: u8, payload: &[u8]) -> Entry {
    let number = |at: usize| i64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
    match kind {
        2 => Entry::Order(number(0) as u64),
        3 => Entry::Stages(number(0)),
        1 => {
            let head = 18 + usize::from(payload[17]);
            let base = number(head + 8);
            // The test's source sends rows; 24 bytes of the batch's head before them.
            assert_eq!(payload[16], 1, "rows");
            let row = |row: &[u8]| {
                let word = |at: usize| i32::from_le_bytes(row[at..at + 4].try_into().unwrap());
                let device = u64::from_le_bytes(row[..8].try_into().unwrap());
                (device, base + i64::from(word(16) & 0x7fff), (word(8) - FIRST.0) / STEP_E7)
            };
            let rows = payload[head + 24..].chunks_exact(20).map(row).collect();
            Entry::Pings { now: number(0), rows }
        }
        other => panic!("an entry of kind {other}"),
    }
}
