//! The log against a model, on a faulty disk: what was shown is there for ever and the same, what was not
//! may be there as a prefix, and damage is an error. Then the defects that these runs must find.

use std::sync::Arc;

use super::faulty::{Chance, Faults, FaultyDisk};
use super::frame::{FrameHead, HEAD, Mark, Position, SEAL_BYTES, Step, Walk, write_seal};
use super::planted::{self, Plant};
use super::{Disk, LogOptions, OpenReport, RealDisk, RecordBytes, SegmentedLog, StoreError};

/// What the world of a run does beside crashes and power cuts, which all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum World {
    /// Failed syncs and writes, a full disk: nothing that was synced is ever lost.
    Honest,
    /// One write that is said to be done lies elsewhere, or is there in part.
    Lying,
    /// A bit flips in what is at rest.
    Flipping,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    kind: u8,
    first: u64,
    next: u64,
    payload: Vec<u8>,
}

/// What happened in runs.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    opens: u64,
    copied: u64,
    torn: u64,
    damaged_open: u64,
    damaged_read: u64,
    full: u64,
    poisoned: u64,
    trimmed: u64,
    cut_opens: u64,
    lost_unseen: u64,
    records: u64,
    misdirected: u64,
    torn_writes: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.opens, other.opens),
            (&mut self.copied, other.copied),
            (&mut self.torn, other.torn),
            (&mut self.damaged_open, other.damaged_open),
            (&mut self.damaged_read, other.damaged_read),
            (&mut self.full, other.full),
            (&mut self.poisoned, other.poisoned),
            (&mut self.trimmed, other.trimmed),
            (&mut self.cut_opens, other.cut_opens),
            (&mut self.lost_unseen, other.lost_unseen),
            (&mut self.records, other.records),
            (&mut self.misdirected, other.misdirected),
            (&mut self.torn_writes, other.torn_writes),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }
}

struct Run {
    world: World,
    disk: FaultyDisk,
    chance: Chance,
    options: LogOptions,
    /// Everything that was appended and may be there.
    records: Vec<Record>,
    /// All below was visible once.
    shown: u64,
    /// All below was synced once, as the log said.
    synced: u64,
    /// All below may have been removed.
    trimmed: u64,
    seen: Seen,
}

/// How a run ends early.
enum Stop {
    /// Damage was found where there is some.
    Damage,
    /// Something that must never be.
    Wrong(String),
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(why.into()))
}

impl Run {
    fn new(seed: u64, world: World) -> Self {
        let mut chance = Chance::new(seed);
        let group_bytes_max = 8_192 + chance.below(3) as usize * 4_096;
        let options = LogOptions {
            id: chance.next(),
            first: chance.below(3),
            segment_bytes: 16_384 + chance.below(5) * 8_192,
            group_bytes_max,
            verify_from: 0,
        };
        let disk = FaultyDisk::new(seed);
        let (shown, synced, trimmed) = (options.first, options.first, options.first);
        let (records, seen) = (Vec::new(), Seen::default());
        Self { world, disk, chance, options, records, shown, synced, trimmed, seen }
    }

    fn end(&self) -> u64 {
        self.records.last().map_or(self.options.first, |record| record.next)
    }

    fn faults(&mut self) {
        let mut faults = Faults::default();
        match self.world {
            World::Honest => {
                if self.chance.percent(40) {
                    faults.failed_sync = 20_000;
                    faults.write_error = 20_000;
                }
                if self.chance.percent(40) {
                    let segments = 1 + self.chance.below(3);
                    faults.full_at = Some(self.disk.used() + self.options.segment_bytes * segments);
                }
            }
            World::Lying => {
                // One a run: two may hide each other.
                faults.lies_max = Some(1);
                let torn = self.chance.percent(40);
                *if torn { &mut faults.torn_write } else { &mut faults.misdirected } = 40_000;
            }
            World::Flipping => {}
        }
        self.disk.set_faults(faults);
    }

    fn restart(&mut self) {
        if self.chance.percent(50) { self.disk.power_cut() } else { self.disk.crash() }
    }

    fn flip(&mut self) {
        let files: Vec<_> = self.disk.files().into_iter().filter(|(_, length)| *length > 0).collect();
        let Some((path, _)) = files.get(self.chance.below(files.len() as u64) as usize) else { return };
        let content = self.disk.content(path);
        let used: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        if !used.is_empty() {
            let offset = used[self.chance.below(used.len() as u64) as usize];
            self.disk.flip(path, offset, 1 << self.chance.below(8));
        }
    }

    fn open(&mut self) -> Result<SegmentedLog, Stop> {
        for attempt in 0.. {
            self.faults();
            let fuse = (self.chance.percent(30) && attempt < 5).then(|| self.chance.below(30));
            self.disk.set_fuse(fuse);
            if attempt > 5 {
                self.disk.set_faults(Faults::default());
            }
            self.options.verify_from =
                if self.chance.percent(30) { self.chance.below(self.shown + 1) } else { 0 };
            self.seen.opens += 1;
            match SegmentedLog::open(Arc::new(self.disk.clone()), "log", self.options) {
                Ok((log, report)) => {
                    self.disk.set_fuse(self.chance.percent(40).then(|| self.chance.below(60)));
                    self.opened(&log, &report)?;
                    return Ok(log);
                }
                Err(StoreError::Damaged { .. }) if self.world != World::Honest => {
                    self.seen.damaged_open += 1;
                    return Err(Stop::Damage);
                }
                Err(StoreError::Damaged { file, offset, why }) => {
                    return wrong(format!("false alarm: {file} at {offset}: {why}"));
                }
                Err(error) if attempt > 8 => return wrong(format!("it never opens: {error}")),
                Err(_) => {
                    self.seen.cut_opens += 1;
                    self.restart();
                }
            }
        }
        unreachable!()
    }

    fn opened(&mut self, log: &SegmentedLog, report: &OpenReport) -> Result<(), Stop> {
        self.seen.copied += report.copied as u64;
        self.seen.torn += u64::from(report.torn.is_some());
        let next = log.next();
        if next < self.shown {
            return wrong(format!("{} was shown, but the log ends at {next}", self.shown));
        }
        // More than is promised, but so it is as long as the disk is honest.
        if self.world == World::Honest && next < self.synced {
            return wrong(format!("{} was synced, but the log ends at {next}", self.synced));
        }
        self.synced = next;
        if log.visible() != next {
            return wrong("not all that was found is visible");
        }
        while self.records.last().is_some_and(|record| record.next > next) {
            self.records.pop();
            self.seen.lost_unseen += 1;
        }
        if self.end() != next {
            return wrong(format!("the log ends at {next}, where no record did"));
        }
        self.shown = next;
        if log.first() > self.trimmed {
            return wrong(format!(
                "{} was never to be removed, the log begins at {}",
                self.trimmed,
                log.first()
            ));
        }
        self.disk.set_fuse(None);
        let mut from = log.first();
        while from < next {
            from = self.check(log, from)?;
        }
        self.disk.set_fuse(self.chance.percent(40).then(|| self.chance.below(60)));
        Ok(())
    }

    /// Reads from `from` on and compares; returns the number after what was read.
    fn check(&mut self, log: &SegmentedLog, from: u64) -> Result<u64, Stop> {
        let bytes_max = self.chance.below(20_000) as usize;
        let found = match log.reader().read(from, bytes_max) {
            Ok(found) => found,
            Err(StoreError::Damaged { .. }) if self.world != World::Honest => {
                self.seen.damaged_read += 1;
                return Err(Stop::Damage);
            }
            Err(StoreError::Trimmed { .. }) if from < log.first() => return Ok(log.first()),
            Err(_) if self.disk.is_dead() => return Ok(log.visible()),
            Err(error) => return wrong(format!("reading {from}: {error}")),
        };
        if from >= log.visible() {
            return if found.is_empty() { Ok(from) } else { wrong("it shows what is not visible") };
        }
        let start = self.records.partition_point(|record| record.next <= from);
        if found.is_empty() {
            return wrong(format!("{from} is visible and not there"));
        }
        for (at, RecordBytes { kind, first, next, payload }) in found.iter().enumerate() {
            let same = self.records.get(start + at).is_some_and(|record| {
                (record.kind, record.first, record.next) == (*kind, *first, *next)
                    && record.payload == payload[..]
            });
            if !same || *next > log.visible() {
                return wrong(format!("record {first}..{next} was never appended so"));
            }
        }
        self.seen.records += found.len() as u64;
        Ok(found.last().map_or(from, |record| record.next))
    }

    fn append(&mut self, log: &mut SegmentedLog) -> Result<(), StoreError> {
        let length = match self.chance.below(4) {
            0 => self.chance.below(20),
            1 => self.chance.below(6_000),
            _ => self.chance.below(600),
        };
        let payload: Vec<u8> = (0..length).map(|_| self.chance.next() as u8).collect();
        if !log.fits(payload.len()) {
            log.sync()?;
        }
        let (first, kind) = (log.next(), 1 + self.chance.below(255) as u8);
        let next = first + 1 + self.chance.below(3) * self.chance.below(20);
        let cut = self.chance.below(payload.len() as u64 + 1) as usize;
        log.append(kind, first, next, &[&payload[..cut], &payload[cut..]])?;
        self.records.push(Record { kind, first, next, payload });
        Ok(())
    }

    fn act(&mut self, log: &mut SegmentedLog) -> Result<bool, Stop> {
        let done = match self.chance.below(20) {
            0..=9 => self.append(log),
            10..=13 => log.sync().map(|_| ()),
            14..=15 => log.seal().map(|_| ()),
            16 => log.prepare().map(|_| ()),
            17 => {
                let below = self.chance.below(self.shown + 1);
                self.trimmed = self.trimmed.max(below);
                log.trim(below).map(|removed| self.seen.trimmed += removed as u64)
            }
            _ => {
                let from = self.chance.below(self.end() + 2);
                self.check(log, from)?;
                Ok(())
            }
        };
        self.shown = self.shown.max(log.visible());
        self.synced = self.synced.max(log.synced());
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => {
                self.seen.full += 1;
                if self.chance.percent(50) {
                    log.discard();
                    while self.records.last().is_some_and(|record| record.next > log.next()) {
                        self.records.pop();
                    }
                }
                if self.chance.percent(60) {
                    self.disk.set_faults(Faults::default());
                }
                Ok(true)
            }
            Err(StoreError::Damaged { file, offset, why }) => wrong(format!("{file} at {offset}: {why}")),
            Err(_) => {
                self.seen.poisoned += 1;
                let next = log.next();
                match log.append(1, next, next + 1, &[b"late"]) {
                    Err(StoreError::Poisoned { .. }) => Ok(false),
                    _ => wrong("it takes work after a failure"),
                }
            }
        }
    }

    fn go(&mut self) -> Result<(), Stop> {
        for _ in 0..2 + self.chance.below(4) {
            let mut log = self.open()?;
            for _ in 0..self.chance.below(40) {
                if !self.act(&mut log)? {
                    break;
                }
            }
            drop(log);
            self.restart();
            if self.world == World::Flipping && self.chance.percent(60) {
                self.flip();
            }
        }
        self.disk.set_faults(Faults::default());
        self.open().map(|_| ())
    }
}

fn run(seed: u64, world: World) -> Result<Seen, String> {
    let mut run = Run::new(seed, world);
    let end = run.go();
    let counts = run.disk.counts();
    (run.seen.misdirected, run.seen.torn_writes) = (counts.misdirected, counts.torn_writes);
    match end {
        Ok(()) | Err(Stop::Damage) => Ok(run.seen),
        Err(Stop::Wrong(why)) => Err(why),
    }
}

fn all(world: World, seeds: u64) -> Seen {
    let mut seen = Seen::default();
    let first: u64 = std::env::var("STORE_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        match run(seed, world) {
            Ok(more) => seen.add(&more),
            Err(why) => panic!("seed {seed} in a {world:?} world: {why}"),
        }
    }
    println!("{world:?}, {seeds} seeds: {seen:?}");
    seen
}

/// Seeds of each world; `STORE_SEEDS` makes it a long run, from `STORE_FIRST` on.
fn seeds() -> u64 {
    std::env::var("STORE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[test]
fn what_was_shown_is_never_lost_in_an_honest_world() {
    let seen = all(World::Honest, seeds());
    assert!(seen.copied > 0 && seen.torn > 0 && seen.full > 0 && seen.poisoned > 0, "{seen:?}");
    assert!(seen.trimmed > 0 && seen.cut_opens > 0 && seen.lost_unseen > 0 && seen.records > 0, "{seen:?}");
}

#[test]
fn a_lying_disk_is_found_out_and_never_believed() {
    let seen = all(World::Lying, seeds());
    assert!(seen.damaged_open > 0 && seen.damaged_read > 0, "{seen:?}");
    assert!(seen.misdirected > 0 && seen.torn_writes > 0, "{seen:?}");
}

#[test]
fn flipped_bits_are_found_and_never_served() {
    let seen = all(World::Flipping, seeds());
    assert!(seen.damaged_open > 0 && seen.damaged_read > 0, "{seen:?}");
}

#[test]
fn planted_defects_are_found() {
    let worlds = [World::Honest, World::Lying, World::Flipping];
    // `NoPosition` needs two things broken at once: `a_frame_of_another_place_is_not_taken` finds it.
    for plant in Plant::ALL.iter().copied().filter(|plant| *plant != Plant::NoPosition) {
        let found = (0..4_000).find_map(|seed| {
            worlds.iter().find_map(|world| {
                let why = planted::with(Some(plant), || run(seed, *world)).err()?;
                assert!(run(seed, *world).is_ok(), "seed {seed} fails without a defect");
                Some((seed, *world, why))
            })
        });
        match found {
            Some((seed, world, why)) => println!("{plant:?}: seed {seed}, {world:?}: {why}"),
            None => panic!("{plant:?} is not found"),
        }
    }
}

#[test]
fn a_frame_of_another_place_is_not_taken() {
    let mark = Mark { position: Position { segment: 3, offset: 4_096 }, number: 9 };
    let mut bytes = vec![0; 4_096];
    write_seal(&mut bytes, 5, 9, mark);
    FrameHead::place(&mut bytes, Position { segment: 3, offset: 4_096 });
    let step = |segment, base, id, number| {
        let limit = base + 4_096;
        let (at, at_group, check) = (base, true, true);
        let taken = matches!(
            Walk { bytes: &bytes, base, at, limit, id, segment, number, at_group, check }.step(),
            Step::Seal { .. }
        );
        taken
    };
    assert!(step(3, 4_096, 5, 9));
    assert!(!step(4, 4_096, 5, 9), "another segment");
    assert!(!step(3, 8_192, 5, 9), "another offset");
    assert!(!step(3, 4_096, 6, 9), "another log");
    assert!(!step(3, 4_096, 5, 8), "another number");
    planted::with(Some(Plant::NoPosition), || assert!(step(4, 4_096, 5, 9), "the defect shows here"));
    assert_eq!(SEAL_BYTES % 8, 0);
    assert_eq!(HEAD % 8, 0);
}

fn small(id: u64) -> LogOptions {
    LogOptions { id, first: 1, segment_bytes: 16_384, group_bytes_max: 8_192, verify_from: 0 }
}

fn filled(disk: &FaultyDisk, records: u64) -> SegmentedLog {
    let (mut log, _) = SegmentedLog::open(Arc::new(disk.clone()), "log", small(7)).unwrap();
    for number in log.next()..log.next() + records {
        log.append(1, number, number + 1, &[&number.to_le_bytes(), &[7; 1_000]]).unwrap();
        log.sync().unwrap();
    }
    log.seal().unwrap();
    log
}

#[test]
fn a_later_version_is_refused_and_says_so() {
    let disk = FaultyDisk::new(1);
    drop(filled(&disk, 3));
    let path = &disk.files()[0].0;
    let mut sector = disk.content(path)[..4_096].to_vec();
    sector[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&sector[..12]), &sector[16..]);
    sector[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.open(path).unwrap().write_at(0, &sector).unwrap();
    let refused = SegmentedLog::open(Arc::new(disk.clone()), "log", small(7)).unwrap_err();
    assert!(matches!(refused, StoreError::LaterVersion { version: 2, known: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("use a later hexcast"), "{refused}");
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = FaultyDisk::new(2);
    drop(filled(&disk, 40));
    let files = disk.files();
    assert!(files.len() > 4, "{files:?}");
    disk.lose(&files[1].0);
    let refused = SegmentedLog::open(Arc::new(disk.clone()), "log", small(7)).unwrap_err();
    assert!(matches!(&refused, StoreError::Damaged { file, .. } if *file == files[1].0), "{refused}");
}

#[test]
fn every_flipped_byte_of_what_was_shown_is_found() {
    let disk = FaultyDisk::new(3);
    let log = filled(&disk, 9);
    let (next, reader) = (log.next(), log.reader());
    let files = disk.files();
    let mut found = 0;
    for (path, length) in &files {
        for at in (0..*length).step_by(13) {
            disk.flip(path, at, 0x10);
            let mut from = 1;
            while from < next {
                match reader.read(from, 3_000) {
                    Ok(records) => {
                        for record in &records {
                            let expected = [&record.first.to_le_bytes()[..], &[7; 1_000]].concat();
                            assert_eq!(record.payload, expected, "{path} at {at}");
                        }
                        from = records.last().unwrap().next;
                    }
                    Err(StoreError::Damaged { file, offset, .. }) => {
                        assert_eq!(file, *path);
                        assert!(
                            offset <= at as u64 && at as u64 - offset < 4_096,
                            "{path}: {offset} for {at}"
                        );
                        found += 1;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            disk.flip(path, at, 0x10);
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_full_disk_leaves_the_log_usable() {
    let disk = FaultyDisk::new(4);
    let mut log = filled(&disk, 2);
    assert!(log.prepare().unwrap());
    disk.set_faults(Faults { full_at: Some(disk.used()), ..Faults::default() });
    let mut refused = 0;
    for _ in 0..100 {
        let number = log.next();
        log.append(1, number, number + 1, &[&number.to_le_bytes(), &[7; 1_000]]).unwrap();
        if let Err(error) = log.sync() {
            assert!(error.is_full(), "{error}");
            assert!(!log.has_spare() && !log.prepare().unwrap(), "the spare went first");
            log.discard();
            assert_eq!(log.next(), number);
            refused += 1;
        }
    }
    assert!(refused > 90 && log.next() > 3, "{refused}");
    log.seal().unwrap_err();
    log.trim(log.visible()).unwrap();
    log.seal().unwrap();
    assert_eq!(log.visible(), log.next());
}

#[test]
fn it_works_on_the_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..4_u8 {
        let disk = Arc::new(RealDisk::open(folder.path()).unwrap());
        let (mut log, report) = SegmentedLog::open(disk, "matches/one", small(9)).unwrap();
        assert_eq!(report.fresh, round == 0);
        assert_eq!(log.next(), 1 + expected.len() as u64);
        for _ in 0..30 {
            let number = log.next();
            let payload = vec![number as u8; 900];
            log.append(round + 1, number, number + 1, &[&payload]).unwrap();
            expected.push((round + 1, payload));
            if number.is_multiple_of(3) {
                log.sync().unwrap();
                log.prepare().unwrap();
            }
        }
        log.seal().unwrap();
        let mut from = 1;
        while from < log.visible() {
            for record in log.reader().read(from, 10_000).unwrap() {
                let (kind, payload) = &expected[record.first as usize - 1];
                assert_eq!((record.kind, &record.payload[..]), (*kind, &payload[..]));
                from = record.next;
            }
        }
        assert_eq!(from, 1 + expected.len() as u64);
    }
}

/// For people: `cargo test --lib store:: -- --ignored --nocapture`.
#[test]
#[ignore = "prints rates, asserts nothing"]
fn what_an_append_costs() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(folder.path()).unwrap());
    let options = LogOptions { id: 1, first: 0, ..LogOptions::default() };
    let (mut log, _) = SegmentedLog::open(disk, "log", options).unwrap();
    for length in [100, 4_096, 262_144] {
        let payload = vec![7_u8; length];
        let count = (256 << 20) / length as u64;
        let mut copy = Vec::with_capacity(8 << 20);
        let started = std::time::Instant::now();
        for _ in 0..count {
            if copy.len() + length > 8 << 20 {
                copy.clear();
            }
            let at = copy.len();
            copy.extend_from_slice(&payload);
            std::hint::black_box(crc32c::crc32c(&copy[at..]));
        }
        let bare = started.elapsed();
        let (mut append, mut write) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
        let mut left = count;
        while left > 0 {
            let started = std::time::Instant::now();
            while left > 0 && log.fits(length) {
                let number = log.next();
                log.append(1, number, number + 1, &[&payload]).unwrap();
                left -= 1;
            }
            append += started.elapsed();
            let started = std::time::Instant::now();
            log.sync().unwrap();
            write += started.elapsed();
        }
        let rate = |time: std::time::Duration| 256.0 / 1_024.0 / time.as_secs_f64();
        println!(
            "{length} bytes: copy and CRC {:.2} GiB/s, append {:.2} GiB/s, write and sync {:.2} GiB/s",
            rate(bare),
            rate(append),
            rate(write)
        );
        log.seal().unwrap();
        log.trim(log.visible()).unwrap();
    }
}
