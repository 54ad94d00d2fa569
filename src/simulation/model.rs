//! The rules (`docs/matching.md`), read by brute force: every event asks every device about every
//! part. It shares nothing with the engine or the desk: distances come from a table.
//!
//! [`Desk`] judges what authorities ask; [`Rules`] is one partition of one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::acts::{Act, Circle, Growth, POLICIES};
use super::places::places;
use crate::domain::{Cause, Uncertainty};

/// A match, in plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Found {
    pub(super) alert: u32,
    pub(super) device: u64,
    pub(super) version: u32,
    pub(super) cause: Cause,
    pub(super) part: u8,
    pub(super) stage: u8,
    pub(super) radius_km: f64,
    pub(super) at: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    circles: Vec<Circle>,
    start: i64,
    growth: Growth,
    stage: usize,
}

impl Part {
    fn stages(&self) -> &'static [(i64, f64)] {
        match self.growth {
            Growth::Fixed => &[(0, 0.0)],
            Growth::Stages(n) => POLICIES[n],
        }
    }

    fn set_stage(&mut self, at: i64) {
        self.stage = self.stages().iter().rposition(|(after, _)| self.start + after <= at).unwrap_or(0);
    }

    fn next_stage_at(&self) -> Option<i64> {
        self.stages().get(self.stage + 1).map(|(after, _)| self.start + after)
    }

    /// What its matches print.
    fn printed_km(&self) -> f64 {
        match (self.growth, self.circles.as_slice()) {
            (Growth::Fixed, [(_, km)]) => *km,
            (Growth::Fixed, _) => 0.0,
            _ => self.stages()[self.stage].1,
        }
    }

    /// Whether its stage of a number contains a device.
    fn reaches(&self, stage: usize, seen: &Seen, mode: Uncertainty) -> bool {
        Self { stage, ..self.clone() }.contains(seen, mode)
    }

    fn contains(&self, seen: &Seen, mode: Uncertainty) -> bool {
        let accuracy = f64::from(seen.accuracy_m);
        self.circles.iter().any(|(centre, own_km)| {
            let km = if self.growth == Growth::Fixed { *own_km } else { self.stages()[self.stage].1 };
            let metres = places().metres(*centre, seen.spot);
            let nearest = match mode {
                Uncertainty::Intersects => metres - accuracy,
                Uncertainty::Centre => metres,
                Uncertainty::Within => metres + accuracy,
            };
            nearest <= km * 1_000.0
        })
    }
}

/// What partitions are told.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) at: i64,
    pub(super) no: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Publish { part: Part, mode: Uncertainty, expires: i64 },
    Update { version: u32, part: Option<Part>, mode: Uncertainty, expires: i64 },
    Sighting { part: Part },
    Cancel,
}

/// What the desk should know of an alert.
#[derive(Clone, Debug)]
struct Terms {
    id: u32,
    owner: usize,
    version: u32,
    lost_at: i64,
    expires: i64,
    circles: Vec<Circle>,
    growth: Growth,
    mode: Uncertainty,
    parts: usize,
    cancelled: bool,
}

/// What the desk should do.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk {
    alerts: Vec<Terms>,
    pub(super) newest: i64,
}

impl Desk {
    pub(super) fn published(&self, id: u32) -> bool {
        self.alerts.iter().any(|alert| alert.id == id)
    }

    pub(super) fn alerts(&self) -> usize {
        self.alerts.len()
    }

    /// Whether an alert was cancelled, and its version.
    pub(super) fn end_of(&self, no: u32) -> (bool, u32) {
        let terms = &self.alerts[no as usize];
        (terms.cancelled, terms.version)
    }

    pub(super) fn is_expired(&self, id: u32, at: i64) -> bool {
        self.alerts.iter().any(|alert| alert.id == id && !alert.cancelled && alert.expires <= at)
    }

    /// Judges an act at `at`; `None` where it is rejected.
    pub(super) fn decide(&mut self, at: i64, by: usize, act: &Act) -> Option<Order> {
        let order = self.judge(at, by, act)?;
        self.newest = self.newest.max(at);
        Some(order)
    }

    fn judge(&mut self, at: i64, by: usize, act: &Act) -> Option<Order> {
        let nth = self.alerts.iter().position(|alert| alert.id == act.id());
        if let Act::Publish { id, lost_at, expires, circles, growth, mode } = act {
            let lost_at = lost_at.unwrap_or(at);
            if nth.is_some() || *expires <= at || lost_at > at {
                return None;
            }
            let no = self.alerts.len() as u32;
            self.alerts.push(Terms {
                id: *id,
                owner: by,
                version: 1,
                lost_at,
                expires: *expires,
                circles: circles.clone(),
                growth: *growth,
                mode: *mode,
                parts: 1,
                cancelled: false,
            });
            let part = Part { circles: circles.clone(), start: lost_at, growth: *growth, stage: 0 };
            return Some(Order { at, no, kind: Kind::Publish { part, mode: *mode, expires: *expires } });
        }
        let nth = nth?;
        let no = nth as u32;
        let terms = &mut self.alerts[nth];
        if terms.cancelled || terms.owner != by {
            return None;
        }
        let kind = match act {
            Act::Publish { .. } => return None,
            Act::Update { lost_at, expires, circles, growth, mode, .. } => {
                let mut new = terms.clone();
                new.lost_at = lost_at.unwrap_or(new.lost_at);
                new.expires = expires.unwrap_or(new.expires);
                new.circles = circles.clone().unwrap_or(new.circles);
                new.growth = growth.unwrap_or(new.growth);
                new.mode = mode.unwrap_or(new.mode);
                if new.expires <= at || new.lost_at > at {
                    return None;
                }
                new.version += 1;
                *terms = new;
                let replaces = lost_at.is_some() || circles.is_some() || growth.is_some();
                let part = replaces.then(|| Part {
                    circles: terms.circles.clone(),
                    start: terms.lost_at,
                    growth: terms.growth,
                    stage: 0,
                });
                Kind::Update { version: terms.version, part, mode: terms.mode, expires: terms.expires }
            }
            Act::Sighting { centre, seen_at, .. } => {
                let start = seen_at.unwrap_or(at);
                if at >= terms.expires || start > at || terms.parts == 32 {
                    return None;
                }
                terms.parts += 1;
                let part = Part { circles: vec![(*centre, 10.0)], start, growth: terms.growth, stage: 0 };
                Kind::Sighting { part }
            }
            Act::Cancel { .. } => {
                terms.cancelled = true;
                Kind::Cancel
            }
        };
        Some(Order { at, no, kind })
    }
}

/// A device's newest ping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) at: i64,
    pub(super) spot: usize,
    pub(super) accuracy_m: u32,
}

#[derive(Clone, Debug)]
struct Alert {
    version: u32,
    published_at: i64,
    expires: i64,
    mode: Uncertainty,
    parts: Vec<Part>,
    cancelled: bool,
}

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    Stale,
    Future,
}

/// One partition of one namespace, as the rules want it.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Greatest age, ms; `None` for ever.
    pub(super) max_age: Option<i64>,
    pub(super) clock: i64,
    pub(super) devices: BTreeMap<u64, Seen>,
    alerts: BTreeMap<u32, Alert>,
    notified: BTreeMap<u32, BTreeSet<u64>>,
    /// What it should have emitted.
    pub(super) found: Vec<Found>,
}

impl Rules {
    pub(super) fn new(max_age: Option<i64>) -> Self {
        Self {
            max_age,
            clock: i64::MIN,
            devices: BTreeMap::new(),
            alerts: BTreeMap::new(),
            notified: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn knows(&self, at: i64) -> bool {
        self.max_age.is_none_or(|age| self.clock.saturating_sub(at) <= age)
    }

    /// The share of devices that `mine` names, of partitions that have all done these orders and stand at one time.
    pub(super) fn dealt(old: &[&Self], mine: impl Fn(u64) -> bool, orders: &[Rc<Order>]) -> Self {
        let mut new = Self::new(old[0].max_age);
        orders.iter().for_each(|order| new.order(order));
        new.stages_through(old[0].clock);
        for rules in old {
            let own = rules.devices.iter().filter(|(device, _)| mine(**device));
            new.devices.extend(own.map(|(device, seen)| (*device, *seen)));
            for (alert, told) in &rules.notified {
                let told = told.iter().copied().filter(|device| mine(*device));
                new.notified.entry(*alert).or_default().extend(told);
            }
        }
        new
    }

    /// How many known devices each stage of a part reaches.
    pub(super) fn preview(&self, part: &Part, mode: Uncertainty) -> Vec<u64> {
        let known: Vec<&Seen> = self.devices.values().filter(|seen| self.knows(seen.at)).collect();
        let reached = |stage| known.iter().filter(|seen| part.reaches(stage, seen, mode)).count() as u64;
        (0..part.stages().len()).map(reached).collect()
    }

    /// Known devices, and those that are forgotten and were notified of an alert that is not cancelled.
    pub(super) fn held(&self) -> (usize, usize) {
        let known = self.devices.iter().filter(|(_, seen)| self.knows(seen.at)).map(|(device, _)| *device);
        let known: BTreeSet<u64> = known.collect();
        let stands = |alert: &u32| self.alerts.get(alert).is_some_and(|alert| !alert.cancelled);
        let told = self.notified.iter().filter(|(alert, _)| stands(alert)).flat_map(|(_, told)| told);
        let told: BTreeSet<u64> = told.copied().collect();
        (known.len(), told.difference(&known).count())
    }

    /// Whether a device was notified of an alert that is not cancelled.
    pub(super) fn hears(&self, device: u64) -> bool {
        let told = self.notified.iter().filter(|(_, told)| told.contains(&device));
        told.into_iter().any(|(alert, _)| self.alerts.get(alert).is_some_and(|alert| !alert.cancelled))
    }

    /// A match that the log holds: it stands.
    pub(super) fn note(&mut self, alert: u32, device: u64) {
        self.notified.entry(alert).or_default().insert(device);
    }

    /// Devices notified of an alert.
    pub(super) fn notified(&self, alert: u32) -> usize {
        self.notified.get(&alert).map_or(0, BTreeSet::len)
    }

    pub(super) fn next_stage_at(&self) -> Option<i64> {
        let living = self.alerts.values().filter(|alert| !alert.cancelled && self.clock < alert.expires);
        living
            .filter_map(|alert| {
                let next = alert.parts.iter().filter_map(Part::next_stage_at).min()?;
                (next < alert.expires).then_some(next)
            })
            .min()
    }

    /// Whether an alert that is active expires up to `at`.
    pub(super) fn expires_through(&self, at: i64) -> bool {
        self.alerts.values().any(|a| !a.cancelled && self.clock < a.expires && a.expires <= at)
    }

    pub(super) fn stages_through(&mut self, through: i64) {
        while let Some(due) = self.next_stage_at().filter(|due| *due <= through) {
            self.stage(due);
        }
        self.clock = self.clock.max(through);
    }

    fn pass(&mut self, to: i64) {
        while let Some(due) = self.next_stage_at().filter(|due| *due < to) {
            self.stage(due);
        }
        self.clock = self.clock.max(to);
    }

    fn stage(&mut self, due: i64) {
        self.clock = self.clock.max(due);
        for no in self.alerts.keys().copied().collect::<Vec<_>>() {
            let alert = self.alerts.get_mut(&no).unwrap();
            if alert.cancelled || alert.expires <= due {
                continue;
            }
            let mut grown = Vec::new();
            for (nth, part) in alert.parts.iter_mut().enumerate() {
                if part.next_stage_at() == Some(due) {
                    part.stage += 1;
                    grown.push(nth);
                }
            }
            self.scan(no, Cause::Escalation, due, &grown);
        }
    }

    fn put(&mut self, no: u32, cause: Cause, part: usize, at: i64, device: u64) {
        let alert = &self.alerts[&no];
        let held = &alert.parts[part];
        self.found.push(Found {
            alert: no,
            device,
            version: alert.version,
            cause,
            part: part as u8,
            stage: held.stage as u8,
            radius_km: held.printed_km(),
            at,
        });
    }

    /// Notifies every known device inside one of `parts`.
    fn scan(&mut self, no: u32, cause: Cause, at: i64, parts: &[usize]) {
        let alert = &self.alerts[&no];
        if alert.cancelled || self.clock >= alert.expires {
            return;
        }
        let mut told = Vec::new();
        for (device, seen) in &self.devices {
            if !self.knows(seen.at) || self.notified.get(&no).is_some_and(|set| set.contains(device)) {
                continue;
            }
            let inside = parts.iter().find(|part| alert.parts[**part].contains(seen, alert.mode));
            told.extend(inside.map(|part| (*device, *part)));
        }
        for (device, part) in told {
            self.put(no, cause, part, at, device);
            self.note(no, device);
        }
    }

    fn fan_out(&mut self, no: u32, cause: Cause, at: i64) {
        for device in self.notified.get(&no).cloned().unwrap_or_default() {
            self.put(no, cause, 0, at, device);
        }
    }

    pub(super) fn order(&mut self, order: &Order) {
        self.pass(order.at);
        let (no, at, clock) = (order.no, order.at, self.clock);
        match &order.kind {
            Kind::Publish { part, mode, expires } => {
                let mut part = part.clone();
                part.set_stage(clock);
                let (version, published_at, parts) = (1, at, vec![part]);
                let (expires, mode, cancelled) = (*expires, *mode, false);
                self.alerts.insert(no, Alert { version, published_at, expires, mode, parts, cancelled });
                self.scan(no, Cause::Publish, at, &[0]);
            }
            Kind::Update { version, part, mode, expires } => {
                let alert = self.alerts.get_mut(&no).unwrap();
                (alert.version, alert.mode, alert.expires) = (*version, *mode, *expires);
                if let Some(part) = part {
                    alert.parts[0] = part.clone();
                }
                alert.parts.iter_mut().for_each(|part| part.set_stage(clock));
                let all: Vec<usize> = (0..alert.parts.len()).collect();
                self.fan_out(no, Cause::Update, at);
                self.scan(no, Cause::Publish, at, &all);
            }
            Kind::Sighting { part } => {
                let alert = self.alerts.get_mut(&no).unwrap();
                let mut part = part.clone();
                part.set_stage(clock);
                alert.parts.push(part);
                let last = alert.parts.len() - 1;
                self.scan(no, Cause::Sighting, at, &[last]);
            }
            Kind::Cancel => {
                let alert = self.alerts.get_mut(&no).unwrap();
                alert.parts[0].set_stage(clock);
                self.fan_out(no, Cause::Cancel, at);
                self.alerts.get_mut(&no).unwrap().cancelled = true;
            }
        }
    }

    /// The server's time comes with a batch: stages due before it are applied.
    pub(super) fn batch(&mut self, now: i64) {
        self.pass(now);
    }

    /// A ping of a batch that came at `now`.
    pub(super) fn ping(&mut self, now: i64, skew: i64, device: u64, seen: Seen) -> Fate {
        if seen.at > now + skew {
            return Fate::Future;
        }
        if self.devices.get(&device).is_some_and(|old| seen.at < old.at) {
            return Fate::Stale;
        }
        self.devices.insert(device, seen);
        if !self.knows(seen.at) {
            return Fate::Taken;
        }
        for no in self.alerts.keys().copied().collect::<Vec<_>>() {
            let alert = &self.alerts[&no];
            let told = self.notified.get(&no).is_some_and(|set| set.contains(&device));
            if alert.cancelled || self.clock >= alert.expires || told {
                continue;
            }
            let inside = (0..alert.parts.len()).find(|part| alert.parts[*part].contains(&seen, alert.mode));
            if let Some(part) = inside {
                let at = seen.at.max(alert.published_at);
                self.put(no, Cause::Enter, part, at, device);
                self.note(no, device);
            }
        }
        Fate::Taken
    }
}
