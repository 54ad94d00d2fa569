//! Snapshots against a brute-force copy: a crowd pings and alerts come and go while a snapshot of it is
//! written; restored it must be what the copy, made when it began, says, and must bring the same matches
//! as the original when it is given the same events.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::cells::BucketIx;
use super::crowd_tests::{Dice, place, sorted};
use super::rows::PAGE_ROWS;
use super::saving::{Defect, PLANTED};
use super::sets::{LocalSet, SetId};
use super::*;
use crate::domain::{
    AlertNo, Area, DeviceId, DirectiveKind, EventTime, Match, MaxAge, PartSpec, Ping, PingRow, Shape,
    StageSpec, Stages, Uncertainty, partition_of,
};

const MINUTE_MS: i64 = 60_000;

/// What a partition knows of a device.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    lat_e7: i32,
    lon_e7: i32,
    accuracy_m: u32,
    at: EventTime,
    notified: Vec<AlertNo>,
    departed: bool,
}

impl Partition {
    /// All devices, the long way; checks that each is found, and that nothing is counted wrongly.
    fn dump(&self) -> BTreeMap<u64, Known> {
        let devices = &self.devices;
        let mut all = BTreeMap::new();
        let mut set_users: BTreeMap<SetId, u32> = BTreeMap::new();
        for ix in (0..devices.cells.len() as u32).map(BucketIx) {
            let mut users = vec![0; devices.cells.sets_len(ix)];
            let mut left = devices.cells.rows(ix);
            for page in &devices.cells.bucket(ix).pages {
                assert_eq!(devices.rows.owner(*page), Some(ix));
                for n in 0..left.min(PAGE_ROWS) {
                    let (no, row) = (page.row(n), devices.rows.row(page.row(n)));
                    let hash = devices.index.hash(row.device);
                    assert_eq!(devices.index.find(hash, row.device, &devices.rows), Some(no));
                    assert!(self.snapshot_active() || row.phase() == devices.phase);
                    if row.set() != LocalSet::SPILLED {
                        users[usize::from(row.set().0)] += 1;
                    }
                    let known = Known {
                        lat_e7: row.lat_e7(),
                        lon_e7: row.lon_e7(),
                        accuracy_m: row.accuracy_m(),
                        at: devices.time_of(ix, row),
                        notified: devices.sets.alerts(devices.set_of(ix, row)).to_vec(),
                        departed: ix == BucketIx::DEPARTED,
                    };
                    assert!(all.insert(row.device, known).is_none(), "a device twice");
                }
                left = left.saturating_sub(PAGE_ROWS);
            }
            assert_eq!(left, 0);
            for (local, set) in devices.cells.sets_of(ix) {
                let counted = devices.cells.users(ix, local);
                assert_eq!(counted, users[usize::from(local.0)]);
                assert_eq!(counted == 0, set == SetId::UNUSED);
                if set != SetId::UNUSED {
                    *set_users.entry(set).or_default() += 1;
                }
            }
        }
        devices.spilled.values().for_each(|set| *set_users.entry(*set).or_default() += 1);
        set_users.remove(&SetId::EMPTY);
        let held: BTreeMap<SetId, u32> =
            devices.sets.held().map(|(set, _)| (set, devices.sets.users(set))).collect();
        assert_eq!(held, set_users, "users of sets");
        assert_eq!(devices.index.len(), all.len());
        all
    }
}

enum Event {
    Pings { base: EventTime, rows: Vec<PingRow>, numbers: Vec<u64> },
    Order { order: Order, index: u64 },
    Stages(EventTime),
    Work(usize),
    Idle,
}

fn apply(event: &Event, partition: &mut Partition, out: &mut Output) {
    match event {
        Event::Pings { base, rows, numbers } => {
            partition.pings(PingClock::Event { numbers }, *base, rows, out);
        }
        Event::Order { order, index } => partition.order(order, *index, out),
        Event::Stages(through) => partition.stages_through(*through, out),
        Event::Work(budget) => {
            partition.work(*budget, out);
        }
        Event::Idle => partition.idle(),
    }
}

/// A crowd and what becomes of it.
struct World {
    dice: Dice,
    now: EventTime,
    devices: u64,
    pings: u64,
    orders: u64,
    /// Of each alert: version, expiry, parts, whether it was cancelled.
    alerts: BTreeMap<u32, (u32, EventTime, usize, bool)>,
}

impl World {
    fn part(&mut self) -> PartSpec<PreparedArea> {
        let first = [1.0, 8.0, 20.0, 90.0][self.dice.below(4) as usize];
        let area = Area { shapes: vec![Shape::Circle { centre: place(&mut self.dice), radius_km: None }] };
        let stage =
            |minutes: i64, times| StageSpec { after_ms: minutes * MINUTE_MS, radius_km: first * times };
        PartSpec {
            area: Arc::new(PreparedArea::new(&area).unwrap()),
            start: self.now,
            stages: Stages::new(&[stage(0, 1.0), stage(20, 1.5), stage(60, 2.5)]).unwrap(),
            as_drawn: false,
        }
    }

    fn pings(&mut self, count: u64) -> Event {
        let base = if self.dice.below(3) == 0 { self.now.plus_ms(-20_000) } else { self.now };
        // Some stay where they were.
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let accuracy_m = [0, 10, 3_000, 50_000][(self.dice.below(40) as usize).min(3)];
            let device = self.dice.below(self.devices);
            let still = self.dice.below(2) == 0;
            let position = if still { place(&mut Dice(device)) } else { place(&mut self.dice) };
            let ping = Ping { device: DeviceId(device), at: base, position, accuracy_m };
            rows.push(PingRow::write(&ping, base).unwrap());
            numbers.push(self.pings);
            self.pings += 1;
        }
        Event::Pings { base, rows, numbers }
    }

    fn order(&mut self) -> Option<Event> {
        let no = self.dice.below(8) as u32;
        let expires = self.now.plus_ms(MINUTE_MS * (50 + self.dice.below(200) as i64));
        let kind = match (self.alerts.get(&no).copied(), self.dice.below(6)) {
            (Some((.., true)), _) => return None,
            (None, _) => {
                let uncertainty = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within]
                    [self.dice.below(3) as usize];
                self.alerts.insert(no, (1, expires, 1, false));
                DirectiveKind::Publish { part: self.part(), uncertainty, expires }
            }
            (Some((version, old, parts, _)), 0) => {
                self.alerts.insert(no, (version, old, parts, true));
                DirectiveKind::Cancel
            }
            (Some((version, _, parts, _)), 1..=3) => {
                self.alerts.insert(no, (version + 1, expires, parts, false));
                let part = (self.dice.below(3) > 0).then(|| self.part());
                let uncertainty = Uncertainty::Intersects;
                DirectiveKind::Update { version: version + 1, part, uncertainty, expires }
            }
            (Some((version, old, parts, _)), _) => {
                if self.now >= old || parts > 3 {
                    return None;
                }
                self.alerts.insert(no, (version, old, parts + 1, false));
                DirectiveKind::Sighting { part: self.part() }
            }
        };
        self.orders += 1;
        let order = Order { at: self.now, alert: AlertNo(no), kind };
        Some(Event::Order { order, index: self.orders })
    }

    /// Two weeks and a month take times out of their bucket's window; after five days more than once it
    /// moves and some stay inside.
    fn time_passes(&mut self) {
        let minutes = match self.dice.below(20) {
            0 => 30 * 24 * 60,
            1 => 14 * 24 * 60,
            2 | 3 => 5 * 24 * 60,
            4 => 90,
            _ => self.dice.below(20) as i64,
        };
        self.now = self.now.plus_ms(MINUTE_MS * minutes);
    }

    fn some_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        match self.dice.below(8) {
            0..=3 => {
                let count = 1 + self.dice.below(400);
                events.push(self.pings(count));
            }
            4 => events.extend(self.order()),
            5 => {
                self.time_passes();
                events.push(Event::Stages(self.now));
            }
            6 => events.push(Event::Work(self.dice.below(400) as usize)),
            _ => events.push(Event::Idle),
        }
        events
    }
}

/// A snapshot under way, and the original.
struct Taken {
    blocks: Vec<Vec<u8>>,
    before: BTreeMap<u64, Known>,
    clock: EventTime,
    /// Events and matches before.
    events: usize,
    matches: usize,
}

fn restored(config: PartitionConfig, blocks: &[Vec<u8>]) -> Result<Partition, String> {
    let bytes = blocks.iter().map(|block| block.len() as u64).sum();
    let mut restorer = Restorer::new(config, bytes);
    for block in blocks {
        restorer.block(block).map_err(|e| e.to_string())?;
    }
    restorer.finish().map_err(|e| e.to_string())
}

fn restore_orders<'a>(
    partition: &mut Partition,
    events: impl IntoIterator<Item = &'a Event>,
    clock: EventTime,
) {
    for event in events {
        if let Event::Order { order, .. } = event {
            partition.restore_order(order);
        }
    }
    partition.finish_restore(clock);
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T, what: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} is not {expected:?}")) }
}

fn same_devices(found: &BTreeMap<u64, Known>, expected: &BTreeMap<u64, Known>) -> Result<(), String> {
    for (device, known) in expected {
        same(found.get(device), Some(known), &format!("device {device}"))?;
    }
    same(found.len(), expected.len(), "devices")
}

/// Counts of what happened.
#[derive(Debug, Default)]
struct Seen {
    snapshots: usize,
    devices: usize,
    aborted: usize,
    matches: usize,
}

fn run(seed: u64, seen: &mut Seen) -> Result<(), String> {
    let mut dice = Dice(seed);
    let max_age = [MaxAge::Never, MaxAge::Ms(60 * MINUTE_MS), MaxAge::Ms(20 * 24 * 60 * MINUTE_MS)]
        [dice.below(3) as usize];
    // Many for pages that are given back.
    let devices = if dice.below(3) == 0 { 14_000 } else { 1 + dice.below(3_000) };
    let config = PartitionConfig { max_age, sliced: dice.below(4) > 0, seed };
    let mut world = World {
        dice,
        now: EventTime(1_779_000_000_000),
        devices,
        pings: 0,
        orders: 0,
        alerts: BTreeMap::new(),
    };
    let mut partition = Partition::new(config);
    let mut out = Output::default();
    let mut events = vec![world.pings(devices)];
    apply(&events[0], &mut partition, &mut out);
    let mut taken: Option<Taken> = None;
    for _ in 0..120 {
        for event in world.some_events() {
            apply(&event, &mut partition, &mut out);
            events.push(event);
        }
        let Some(snapshot) = &mut taken else {
            if world.dice.below(8) == 0 {
                partition.finish(&mut out);
                assert!(partition.begin_snapshot() && !partition.begin_snapshot());
                let before = partition.dump();
                let (clock, events, matches) = (partition.clock(), events.len(), out.len());
                taken = Some(Taken { blocks: Vec::new(), before, clock, events, matches });
            }
            continue;
        };
        let mut more = true;
        for _ in 0..[0, 0, 1, 3][world.dice.below(4) as usize] {
            let mut block = Vec::new();
            more = partition.snapshot_some([100, 2_000, 60_000][world.dice.below(3) as usize], &mut block);
            snapshot.blocks.push(block);
            if !more {
                break;
            }
        }
        assert_eq!(more, partition.snapshot_active());
        if more && world.dice.below(200) == 0 {
            partition.abort_snapshot();
            seen.aborted += 1;
            taken = None;
        }
        if more {
            continue;
        }
        let Some(mut snapshot) = taken.take() else { continue };
        // Rows in any order.
        let rows_from = snapshot.blocks.iter().position(|block| block[1] == 3).unwrap_or(0);
        let rows = &mut snapshot.blocks[rows_from..];
        (1..rows.len()).for_each(|n| rows.swap(n, world.dice.below(n as u64 + 1) as usize));
        let mut other = restored(config, &snapshot.blocks)?;
        same(other.clock(), snapshot.clock, "clock")?;
        restore_orders(&mut other, &events[..snapshot.events], snapshot.clock);
        same_devices(&other.dump(), &snapshot.before)?;
        let mut other_out = Output::default();
        events[snapshot.events..].iter().for_each(|event| apply(event, &mut other, &mut other_out));
        other.finish(&mut other_out);
        partition.finish(&mut out);
        let expected = sorted(out.iter().skip(snapshot.matches).collect());
        let found: Vec<(EventKey, Match)> = sorted(other_out.iter().collect());
        if let Some((found, expected)) = found.iter().zip(&expected).find(|(a, b)| a != b) {
            same(found, expected, "matches")?;
        }
        same(found.len(), expected.len(), "matches")?;
        other.dump();
        seen.snapshots += 1;
        seen.devices += snapshot.before.len();
        seen.matches += expected.len();
        // It goes on, or the restored one does.
        if world.dice.below(2) == 0 {
            partition = other;
        }
    }
    partition.dump();
    Ok(())
}

#[test]
fn a_restored_partition_is_what_it_was_and_goes_on_as_the_original_does() {
    let mut seen = Seen::default();
    for seed in 1..=120 {
        if let Err(why) = run(seed, &mut seen) {
            panic!("seed {seed}: {why}");
        }
    }
    println!("{seen:?}");
    assert!(seen.snapshots > 300 && seen.aborted > 0 && seen.matches > 100_000, "{seen:?}");
}

#[test]
fn each_planted_defect_is_found() {
    for defect in Defect::ALL {
        PLANTED.set(Some(defect));
        let wrong = |seed: &u64| {
            let found = catch_unwind(AssertUnwindSafe(|| run(*seed, &mut Seen::default())));
            !matches!(found, Ok(Ok(())))
        };

        let found = (1..=400).find(wrong);
        PLANTED.set(None);
        println!("{defect:?}: seed {found:?}");
        let seed = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
        assert_eq!(run(seed, &mut Seen::default()), Ok(()), "seed {seed} fails without a defect");
    }
}

fn crowd(seed: u64) -> (PartitionConfig, Partition, Vec<Event>) {
    let config = PartitionConfig { max_age: MaxAge::Ms(60 * MINUTE_MS), sliced: false, seed };
    let (dice, now, alerts) = (Dice(seed), EventTime(1_779_000_000_000), BTreeMap::new());
    let mut world = World { dice, now, devices: 400, pings: 0, orders: 0, alerts };
    let (mut partition, mut out, mut events) = (Partition::new(config), Output::default(), Vec::new());
    for _ in 0..60 {
        for event in world.some_events() {
            apply(&event, &mut partition, &mut out);
            events.push(event);
        }
    }
    partition.finish(&mut out);
    (config, partition, events)
}

fn all_blocks(partition: &mut Partition, bytes: usize) -> Vec<Vec<u8>> {
    assert!(partition.begin_snapshot());
    let mut blocks = Vec::new();
    loop {
        let mut block = Vec::new();
        let more = partition.snapshot_some(bytes, &mut block);
        blocks.push(block);
        if !more {
            return blocks;
        }
    }
}

#[test]
fn damaged_bytes_are_an_error_or_another_partition_and_never_a_panic() {
    let (mut refused, mut taken) = (BTreeMap::new(), 0);
    for seed in 1..=12 {
        let (config, mut partition, _) = crowd(seed);
        let blocks = all_blocks(&mut partition, 1_500);
        assert!(blocks.len() > 4);
        let mut dice = Dice(seed);
        for _ in 0..600 {
            let mut damaged = blocks.clone();
            for _ in 0..1 + dice.below(3) {
                let which = dice.below(damaged.len() as u64) as usize;
                let block = &mut damaged[which];
                let at = dice.below(block.len().max(1) as u64) as usize;
                match dice.below(8) {
                    0 => block.truncate(at),
                    1 => block.push(dice.next() as u8),
                    2 => drop(damaged.remove(which)),
                    3 => {
                        let again = block.clone();
                        damaged.push(again);
                    }
                    4 if block.len() > at + 4 => block[at..at + 4].fill(dice.next() as u8),
                    // The numbers at the beginning.
                    5 | 6 if block.len() > 28 => block[dice.below(28) as usize] = dice.next() as u8,
                    _ if block.len() > at => block[at] ^= 1 << dice.below(8),
                    _ => {}
                }
                if damaged.is_empty() {
                    break;
                }
            }
            match restored(config, &damaged) {
                Ok(mut partition) => {
                    partition.finish_restore(partition.clock());
                    partition.dump();
                    taken += 1;
                }
                Err(why) => *refused.entry(why).or_insert(0) += 1,
            }
        }
    }
    println!("{taken} taken, {refused:#?}");
    assert!(refused.len() > 12 && taken > 0);
}

#[test]
fn another_number_of_partitions_takes_each_device_to_its_own() {
    for seed in 1..=10 {
        let mut shares: Vec<_> = (0..2).map(|_| Partition::new(crowd(seed).0)).collect();
        let (config, _, events) = crowd(seed);
        for event in &events {
            for (k, share) in shares.iter_mut().enumerate() {
                let mut out = Output::default();
                match event {
                    Event::Pings { base, rows, .. } => {
                        let mine = |row: &PingRow| partition_of(DeviceId(row.device.get()), 2) as usize == k;
                        let rows: Vec<_> = rows.iter().filter(|row| mine(row)).copied().collect();
                        share.pings(PingClock::Event { numbers: &[] }, *base, &rows, &mut out);
                    }
                    other => apply(other, share, &mut out),
                }
                share.finish(&mut out);
            }
        }
        let now = shares.iter().map(Partition::clock).max().unwrap();
        let mut all = BTreeMap::new();
        let mut blocks = Vec::new();
        for share in &mut shares {
            share.stages_through(now, &mut Output::default());
            share.finish(&mut Output::default());
            all.extend(share.dump());
            blocks.extend(all_blocks(share, 3_000));
        }
        for of in [1, 3] {
            let mut found = BTreeMap::new();
            for partition in 0..of {
                let mut restorer = Restorer::new(config, 1 << 20).share(partition, of);
                blocks.iter().for_each(|block| restorer.block(block).unwrap());
                let mut partition_of_it = restorer.finish().unwrap();
                restore_orders(&mut partition_of_it, &events, now);
                let dump = partition_of_it.dump();
                assert!(dump.keys().all(|device| partition_of(DeviceId(*device), of) == partition));
                found.extend(dump);
            }
            assert_eq!(found, all);
        }
    }
}

#[test]
fn who_is_noted_as_notified_is_told_once_and_hears_of_the_end() {
    let (_, original, events) = crowd(3);
    let (mut one, mut out) = (original, Output::default());
    let no = AlertNo(100);
    let known: Vec<u64> = one.dump().iter().filter(|(_, k)| !k.departed).map(|(d, _)| *d).collect();
    assert!(known.len() > 50 && !events.is_empty());
    // The log says that these were told: some that are known, and one that is not.
    let told: Vec<DeviceId> = known.iter().step_by(3).copied().chain([1 << 40]).map(DeviceId).collect();
    one.note_all_notified(&told, no);
    one.note_notified(told[0], no);
    one.dump();
    let at = one.clock();
    let area = Area {
        shapes: vec![Shape::Circle {
            centre: crate::domain::Position::from_degrees(31.0, 121.0).unwrap(),
            radius_km: None,
        }],
    };
    let stages = Stages::new(&[StageSpec { after_ms: 0, radius_km: 1_000.0 }]).unwrap();
    let part =
        PartSpec { area: Arc::new(PreparedArea::new(&area).unwrap()), start: at, stages, as_drawn: false };
    let kind =
        DirectiveKind::Publish { part, uncertainty: Uncertainty::Intersects, expires: at.plus_ms(1 << 30) };
    one.order(&Order { at, alert: no, kind }, 0, &mut out);
    one.finish(&mut out);
    let now: Vec<DeviceId> = out.devices().to_vec();
    assert!(now.len() > 10 && now.iter().all(|device| !told.contains(device)));
    out.clear();
    one.order(&Order { at, alert: no, kind: DirectiveKind::Cancel }, 1, &mut out);
    one.finish(&mut out);
    let mut ended: Vec<u64> = out.devices().iter().map(|d| d.0).collect();
    let mut expected: Vec<u64> = now.iter().chain(&told).map(|d| d.0).collect();
    ended.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ended, expected);
}
