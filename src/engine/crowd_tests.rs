//! A crowd against a model: thousands of devices in a few cells, so that pages fill, buckets are
//! told as a whole, lists of sets run over, rows change places, devices are forgotten and come
//! back; the engine in slices of random size, the model in ten lines of sets and maps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::*;
use crate::domain::{
    AlertNo, Area, Cause, DeviceId, DirectiveKind, EventTime, Match, MaxAge, PartSpec, Ping, PingRow,
    Position, Shape, StageSpec, Stages, Uncertainty,
};
use crate::geo::{Radius, Reach, Spot};

const MINUTE_MS: i64 = 60_000;

/// SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

struct ModelAlert {
    version: u32,
    published_at: EventTime,
    expires: EventTime,
    mode: Uncertainty,
    parts: Vec<PartSpec<PreparedArea>>,
    notified: HashSet<u64>,
}

/// What the rules say, the slow way.
struct Model {
    max_age: MaxAge,
    seen: HashMap<u64, Ping>,
    alerts: BTreeMap<u32, ModelAlert>,
    found: Vec<(EventKey, Match)>,
}

impl Model {
    fn inside(alert: &ModelAlert, ping: &Ping) -> Option<u8> {
        let contains = |part: &PartSpec<PreparedArea>| {
            let radius = Radius::Metres(part.stages.as_slice()[0].radius_km * 1e3);
            part.area.contains(Reach { radius, mode: alert.mode }, &Spot::new(ping.position), ping.accuracy_m)
        };
        alert.parts.iter().position(contains).map(|part| part as u8)
    }

    fn put(&mut self, no: u32, key: EventKey, cause: Cause, at: EventTime, device: u64, part: u8) {
        let alert = &self.alerts[&no];
        let radius_km = alert.parts[usize::from(part)].stages.as_slice()[0].radius_km;
        let device = DeviceId(device);
        let alert_no = AlertNo(no);
        let found =
            Match { alert: alert_no, version: alert.version, cause, part, stage: 0, radius_km, device, at };
        self.found.push((key, found));
    }

    fn scan(&mut self, no: u32, key: EventKey, cause: Cause, now: EventTime, from_part: usize) {
        let alert = &self.alerts[&no];
        if now >= alert.expires {
            return;
        }
        let told: Vec<(u64, u8)> = self
            .seen
            .iter()
            .filter(|(device, ping)| self.max_age.knows(ping.at, now) && !alert.notified.contains(device))
            .filter_map(|(device, ping)| Some((*device, Self::inside(alert, ping)?)))
            .filter(|(_, part)| usize::from(*part) >= from_part)
            .collect();
        for (device, part) in told {
            self.put(no, key, cause, now, device, part);
            self.alerts.get_mut(&no).unwrap().notified.insert(device);
        }
    }

    fn fan_out(&mut self, no: u32, key: EventKey, cause: Cause, now: EventTime) {
        for device in self.alerts[&no].notified.clone() {
            self.put(no, key, cause, now, device, 0);
        }
    }

    fn ping(&mut self, ping: Ping, key: EventKey, now: EventTime) {
        if self
            .seen
            .get(&ping.device.0)
            .is_some_and(|old| ping.at < old.at && self.max_age.knows(old.at, now))
        {
            return;
        }
        self.seen.insert(ping.device.0, ping);
        if !self.max_age.knows(ping.at, now) {
            return;
        }
        for no in self.alerts.keys().copied().collect::<Vec<_>>() {
            let alert = &self.alerts[&no];
            if now >= alert.expires || alert.notified.contains(&ping.device.0) {
                continue;
            }
            if let Some(part) = Self::inside(alert, &ping) {
                let at = ping.at.max(alert.published_at);
                self.put(no, key, Cause::Enter, at, ping.device.0, part);
                self.alerts.get_mut(&no).unwrap().notified.insert(ping.device.0);
            }
        }
    }
}

pub(super) fn place(dice: &mut Dice) -> Position {
    // Some 40 cells; most stand in a town of two.
    let wide = if dice.below(4) == 0 { 1.0 } else { 0.1 };
    let mut offset = || wide * (dice.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5);
    Position::from_degrees(31.0 + offset(), 121.0 + offset()).unwrap()
}

fn part(dice: &mut Dice, start: EventTime) -> PartSpec<PreparedArea> {
    let radius_km = [1.0, 8.0, 20.0, 90.0][dice.below(4) as usize];
    let area = Area { shapes: vec![Shape::Circle { centre: place(dice), radius_km: None }] };
    PartSpec {
        area: Arc::new(PreparedArea::new(&area).unwrap()),
        start,
        stages: Stages::new(&[StageSpec { after_ms: 0, radius_km }]).unwrap(),
        as_drawn: false,
    }
}

pub(super) fn sorted(mut found: Vec<(EventKey, Match)>) -> Vec<(EventKey, Match)> {
    found.sort_by_key(|(key, m)| (*key, m.alert, m.cause, m.device));
    found
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let max_age = [MaxAge::Never, MaxAge::Ms(60 * MINUTE_MS), MaxAge::Ms(20 * 24 * 60 * MINUTE_MS)]
        [dice.below(3) as usize];
    let mut partition = Partition::new(PartitionConfig { max_age, sliced: true, seed });
    let mut model = Model { max_age, seen: HashMap::new(), alerts: BTreeMap::new(), found: Vec::new() };
    let mut out = Output::default();
    let mut now = EventTime(1_779_000_000_000);
    let (mut numbers, mut cancelled) = (0, HashSet::new());
    let devices = 1 + dice.below(3_000);
    for order in 0..60_u64 {
        // Two weeks and a month take times out of their bucket's window.
        let minutes = match dice.below(20) {
            0 => 30 * 24 * 60,
            1 => 14 * 24 * 60,
            _ => dice.below(30) as i64,
        };
        now = now.plus_ms(MINUTE_MS * minutes);
        let (base, count) = (now, dice.below(600) as usize);
        let (mut rows, mut row_numbers) = (Vec::new(), Vec::new());
        let late = dice.below(3) == 0;
        for _ in 0..count {
            let accuracy_m = [0, 10, 3_000, 50_000][(dice.below(40) as usize).min(3)];
            let base = if late { base.plus_ms(-20_000) } else { base };
            let ping = Ping {
                device: DeviceId(dice.below(devices)),
                at: base,
                position: place(&mut dice),
                accuracy_m,
            };
            model.ping(ping, EventKey::ping(ping.at, numbers), now.max(ping.at));
            rows.push(PingRow::write(&ping, base).unwrap());
            row_numbers.push(numbers);
            numbers += 1;
        }
        partition.stages_through(now, &mut out);
        let mut at = 0;
        while at < rows.len() {
            let end = (at + 1 + dice.below(200) as usize).min(rows.len());
            let base = if late { base.plus_ms(-20_000) } else { base };
            partition.pings(
                PingClock::Event { numbers: &row_numbers[at..end] },
                base,
                &rows[at..end],
                &mut out,
            );
            at = end;
            if dice.below(2) == 0 {
                partition.work(dice.below(300) as usize, &mut out);
            }
        }
        let no = dice.below(8) as u32;
        let key = EventKey::action(now, order);
        let expires = now.plus_ms(MINUTE_MS * 200);
        let alert = AlertNo(no);
        let kind = match (model.alerts.contains_key(&no), dice.below(6)) {
            _ if cancelled.contains(&no) => continue,
            (false, _) => {
                let part = part(&mut dice, now);
                let mode = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within]
                    [dice.below(3) as usize];
                let (version, published_at, parts) = (1, now, vec![part.clone()]);
                let notified = HashSet::new();
                model.alerts.insert(no, ModelAlert { version, published_at, expires, mode, parts, notified });
                model.scan(no, key, Cause::Publish, now, 0);
                DirectiveKind::Publish { part, uncertainty: mode, expires }
            }
            (true, 0) => {
                model.fan_out(no, key, Cause::Cancel, now);
                model.alerts.remove(&no);
                cancelled.insert(no);
                DirectiveKind::Cancel
            }
            (true, 1..=3) => {
                let part = part(&mut dice, now);
                let alert = model.alerts.get_mut(&no).unwrap();
                alert.version += 1;
                alert.expires = expires;
                alert.parts[0] = part.clone();
                let (version, mode) = (alert.version, alert.mode);
                model.fan_out(no, key, Cause::Update, now);
                model.scan(no, key, Cause::Publish, now, 0);
                DirectiveKind::Update { version, part: Some(part), uncertainty: mode, expires }
            }
            (true, _) => {
                let held = model.alerts.get_mut(&no).unwrap();
                if now >= held.expires || held.parts.len() > 3 {
                    continue;
                }
                let part = part(&mut dice, now);
                held.parts.push(part.clone());
                let from = held.parts.len() - 1;
                model.scan(no, key, Cause::Sighting, now, from);
                DirectiveKind::Sighting { part }
            }
        };
        partition.order(&Order { at: now, alert, kind }, order, &mut out);
        partition.work(dice.below(500) as usize, &mut out);
    }
    partition.finish(&mut out);
    let (found, expected) = (sorted(out.iter().collect()), sorted(model.found));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "seed {seed}");
    }
    assert_eq!(found.len(), expected.len(), "seed {seed}");
}

#[test]
fn a_crowd_is_told_what_the_model_says() {
    let (first, seeds) = (1, 150);
    (first..first + seeds).for_each(run);
}
