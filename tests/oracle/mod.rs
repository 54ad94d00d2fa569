//! The oracle: a brute-force reading of the rules (`spec/matching.md`), to judge every path of
//! the engine by. Obviously right, never fast.
//!
//! It uses nothing of the crate that it judges: no cell, no index, no queue. Every event asks
//! every device about every part. Invariant: what it prints depends on the world alone.

pub(crate) mod compare;
pub(crate) mod engine;
pub(crate) mod generate;
pub(crate) mod geometry;
mod pings;
mod rng;
mod rules;
mod shapes;
pub(crate) mod world;

pub(crate) use rules::{Asked, Policy, Reason, Shape, read_area, read_policy};

use std::collections::{BTreeMap, BTreeSet};

use geometry::Pos;
use rules::{Alert, Drawn, Part, Uncertainty};
use serde_json::Value;
use world::{World, millis, rfc3339};

/// What became of a world.
#[derive(Default)]
pub(crate) struct Answer {
    /// The match lines.
    pub(crate) matches: String,
    /// Rejected actions: line, counted from 1, and why.
    pub(crate) rejected: Vec<(usize, Reason)>,
    /// Pings taken, and pings rejected.
    pub(crate) pings: (usize, usize),
    /// What happened how often, to see that worlds exercise the rules.
    pub(crate) seen: BTreeMap<String, usize>,
}

/// The matches of a world as NDJSON.
pub(crate) fn matches(world: &World) -> String {
    judge(world).matches
}

/// A device's newest accepted ping.
#[derive(Clone, Copy)]
struct Place {
    at: i64,
    pos: Pos,
    accuracy_m: f64,
}

/// A match before it is written.
struct Match {
    alert: usize,
    /// `update` before all others.
    order: u8,
    device: u64,
    line: String,
}

struct Machine<'w> {
    world: &'w World,
    devices: BTreeMap<u64, Place>,
    names: BTreeMap<u64, String>,
    /// In the order of publication.
    alerts: Vec<Alert>,
    answer: Answer,
    /// The matches of the event that is being applied.
    event: Vec<Match>,
}

/// Plays a world.
pub(crate) fn judge(world: &World) -> Answer {
    // Each ping and action is an event, by time, then pings before actions, then file order.
    let mut events: Vec<(i64, u8, usize)> = Vec::new();
    for (i, ping) in world.pings.iter().enumerate() {
        events.push((ping.at, 0, i));
    }
    for (i, action) in world.actions.iter().enumerate() {
        events.push((millis(action["at"].as_str().unwrap()), 1, i));
    }
    events.sort();
    let end = world.until.or_else(|| events.last().map(|e| e.0)).unwrap_or(i64::MIN);
    let mut machine = Machine {
        world,
        devices: BTreeMap::new(),
        names: BTreeMap::new(),
        alerts: Vec::new(),
        answer: Answer::default(),
        event: Vec::new(),
    };
    for (at, kind, i) in events.into_iter().filter(|e| e.0 <= end) {
        // Stages of an instant stand after its pings and actions.
        machine.apply_stages(|stage_time| stage_time < at);
        if kind == 0 {
            machine.apply_ping(i);
        } else {
            machine.apply_action(at, i);
        }
        machine.end_event();
    }
    machine.apply_stages(|stage_time| stage_time <= end);
    machine.answer
}

impl Machine<'_> {
    /// Applies all stage times that `is_due`, one after the other.
    fn apply_stages(&mut self, is_due: impl Fn(i64) -> bool) {
        loop {
            let next = self.alerts.iter().filter_map(Alert::next_stage_time).min();
            let Some(at) = next.filter(|at| is_due(*at)) else { return };
            for a in 0..self.alerts.len() {
                if !self.alerts[a].is_active(at) {
                    continue;
                }
                let grown: Vec<usize> = (0..self.alerts[a].parts.len())
                    .filter(|p| self.alerts[a].parts[*p].next_stage_time() == Some(at))
                    .collect();
                for p in &grown {
                    self.alerts[a].parts[*p].stage += 1;
                }
                if grown.len() > 1 {
                    self.saw("event: two parts grow together");
                }
                self.notify_the_known(a, at, "escalation", &grown);
            }
            self.end_event();
        }
    }

    fn apply_ping(&mut self, i: usize) {
        let ping = &self.world.pings[i];
        let pos = Pos::from_degrees(ping.lat, ping.lon);
        let accuracy_is_possible = (0.0..=100_000.0).contains(&ping.accuracy_m);
        let (Some(pos), true) = (pos, accuracy_is_possible) else {
            self.answer.pings.1 += 1;
            self.saw(if pos.is_none() { "ping: impossible position" } else { "ping: impossible accuracy" });
            return;
        };
        let place = Place { at: ping.at, pos, accuracy_m: ping.accuracy_m.ceil() };
        let device = pseudonym(&ping.device);
        self.names.insert(device, ping.device.clone());
        // Events are sorted by time, so no ping is stale, and of equal times the later wins.
        if let Some(old) = self.devices.insert(device, place) {
            if !self.is_known(old, place.at) {
                self.saw("ping: a forgotten device comes back");
                if self.alerts.iter().any(|a| a.is_active(place.at) && a.notified.contains(&device)) {
                    self.saw("ping: a forgotten and notified device comes back");
                }
            }
            if old.at == place.at {
                self.saw("ping: two of one time");
            }
        }
        self.answer.pings.0 += 1;
        for a in 0..self.alerts.len() {
            if self.alerts[a].is_active(place.at) {
                let all: Vec<usize> = (0..self.alerts[a].parts.len()).collect();
                self.notify(a, place.at, "enter", &all, device);
            } else if !self.alerts[a].is_cancelled && self.alerts[a].asked.expires == place.at {
                self.saw("ping: at the instant of expiry");
            }
        }
    }

    fn apply_action(&mut self, at: i64, i: usize) {
        let action = self.world.actions[i].clone();
        let done = match action["action"].as_str().unwrap() {
            "publish" => self.publish(at, &action["alert"]),
            "update" => self.update(at, &action["alert"]),
            "sighting" => self.sighting(at, &action),
            "cancel" => self.cancel(at, &action),
            other => panic!("{other} is no action"),
        };
        if let Err(reason) = done {
            self.saw(&format!("rejected: {reason:?}"));
            self.answer.rejected.push((i + 1, reason));
        }
    }

    fn publish(&mut self, at: i64, draft: &Value) -> Result<(), Reason> {
        if self.find(draft["id"].as_str().unwrap()).is_some() {
            return Err(Reason::Exists);
        }
        let asked = Asked::publication(draft, at)?;
        if asked.status == "draft" {
            return Err(Reason::Draft);
        }
        self.saw(&format!("published: {}", asked.status));
        self.saw(&format!("published: policy {}", asked.policy.name()));
        let mut alert = Alert {
            parts: vec![asked.part_0()],
            asked,
            version: 1,
            is_cancelled: false,
            notified: BTreeSet::new(),
        };
        alert.set_stages_by_time(at);
        if alert.parts[0].stage > 0 {
            self.saw("published: at a later stage");
        }
        self.alerts.push(alert);
        self.notify_the_known(self.alerts.len() - 1, at, "publish", &[0]);
        Ok(())
    }

    fn update(&mut self, at: i64, draft: &Value) -> Result<(), Reason> {
        let a = self.find_living(draft["id"].as_str().unwrap())?;
        let was_active = self.alerts[a].is_active(at);
        let asked = self.alerts[a].asked.updated(draft, at)?;
        let alert = &mut self.alerts[a];
        let replaces = ["area", "policy", "lost_at"].iter().any(|member| !draft[*member].is_null());
        if replaces {
            alert.parts[0] = asked.part_0();
        }
        alert.asked = asked;
        alert.version += 1;
        let before: Vec<usize> = alert.parts.iter().map(|part| part.stage).collect();
        alert.set_stages_by_time(at);
        let grown_sighting = (1..before.len()).any(|p| alert.parts[p].stage > before[p]);
        let notified: Vec<u64> = alert.notified.iter().copied().collect();
        self.notify_again(a, at, "update", &notified);
        let all: Vec<usize> = (0..self.alerts[a].parts.len()).collect();
        self.notify_the_known(a, at, "publish", &all);
        if replaces {
            self.saw("update: replaces part 0");
        }
        if grown_sighting {
            self.saw("update: activates a sighting's stage");
        }
        if !was_active {
            self.saw("update: returns from expiry");
            if self.event.iter().any(|m| m.line.contains("\"publish\"")) {
                self.saw("update: returns from expiry and catches up");
            }
        }
        Ok(())
    }

    fn sighting(&mut self, at: i64, action: &Value) -> Result<(), Reason> {
        let a = self.find_living(action["id"].as_str().unwrap())?;
        if !self.alerts[a].is_active(at) {
            return Err(Reason::Inactive);
        }
        let centre = Pos::from_degrees(action["lat"].as_f64().unwrap(), action["lon"].as_f64().unwrap())
            .ok_or(Reason::Position)?;
        let seen_at = action["seen_at"].as_str().map_or(at, millis);
        if seen_at > at {
            return Err(Reason::SeenAfterAt);
        }
        if self.alerts[a].parts.len() == 32 {
            return Err(Reason::TooManyParts);
        }
        let policy = &self.alerts[a].asked.policy;
        let drawn = if let Policy::Fixed = policy { Drawn::Own } else { Drawn::Grown };
        let stages = match policy {
            Policy::Fixed => vec![(0, 10.0)],
            Policy::Stages(_, stages) => stages.clone(),
        };
        let area = vec![Shape::Circle { centre, radius_km: Some(10.0) }];
        let mut part = Part { area: area.into(), start: seen_at, stages, drawn, stage: 0 };
        part.set_stage_by_time(at);
        if part.stage > 0 {
            self.saw("sighting: at a later stage");
        }
        self.alerts[a].parts.push(part);
        self.notify_the_known(a, at, "sighting", &[self.alerts[a].parts.len() - 1]);
        Ok(())
    }

    fn cancel(&mut self, at: i64, action: &Value) -> Result<(), Reason> {
        let a = self.find_living(action["id"].as_str().unwrap())?;
        if !self.alerts[a].is_active(at) {
            self.saw("cancel: of an expired alert");
        }
        self.alerts[a].set_stages_by_time(at);
        let notified: Vec<u64> = self.alerts[a].notified.iter().copied().collect();
        self.notify_again(a, at, "cancel", &notified);
        self.alerts[a].is_cancelled = true;
        Ok(())
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.alerts.iter().position(|alert| alert.asked.id == id)
    }

    fn find_living(&self, id: &str) -> Result<usize, Reason> {
        let a = self.find(id).ok_or(Reason::Unknown)?;
        if self.alerts[a].is_cancelled { Err(Reason::Cancelled) } else { Ok(a) }
    }

    fn is_known(&self, place: Place, at: i64) -> bool {
        self.world.max_age_ms.is_none_or(|max_age_ms| at - place.at <= max_age_ms)
    }

    /// Asks every device that is known.
    fn notify_the_known(&mut self, a: usize, at: i64, cause: &str, parts: &[usize]) {
        let devices: Vec<(u64, Place)> = self.devices.iter().map(|(d, p)| (*d, *p)).collect();
        for (device, place) in devices {
            if self.is_known(place, at) {
                if self.world.max_age_ms == Some(at - place.at) {
                    self.saw("known: at exactly the greatest age");
                }
                self.notify(a, at, cause, parts, device);
            } else {
                self.saw("known: not any more at a scan");
            }
        }
    }

    /// Notifies a device that was not notified before, if one of `parts` contains it.
    fn notify(&mut self, a: usize, at: i64, cause: &str, parts: &[usize], device: u64) {
        let place = self.devices[&device];
        let alert = &self.alerts[a];
        if alert.notified.contains(&device) {
            return;
        }
        let contains =
            |p: &usize| alert.parts[*p].contains(place.pos, place.accuracy_m, alert.asked.uncertainty);
        let found = parts.iter().copied().find(contains);
        let marks = parts.iter().flat_map(|p| marks(&alert.parts[*p], place, alert.asked.uncertainty));
        let marks: Vec<String> = marks.collect();
        // The rules leave no known device waiting inside a part that did not just grow.
        let waiting = (0..alert.parts.len()).filter(|p| !parts.contains(p)).any(|p| contains(&p));
        assert!(!waiting, "device {device} was inside another part already");
        for mark in marks {
            self.saw(&mark);
        }
        if let Some(p) = found {
            if p > 0 {
                self.saw(&format!("cause: {cause} by a sighting's part"));
            }
            if self.alerts[a].parts[p].area.len() > 1 {
                self.saw("shape: matched by one of several");
            }
            self.alerts[a].notified.insert(device);
            self.push(a, at, cause, p, device);
        }
    }

    /// Tells devices that were notified before, wherever they are, if known or not.
    fn notify_again(&mut self, a: usize, at: i64, cause: &str, devices: &[u64]) {
        for device in devices {
            if !self.is_known(self.devices[device], at) {
                self.saw(&format!("cause: {cause} to a device not known"));
            }
            self.push(a, at, cause, 0, *device);
        }
    }

    fn push(&mut self, a: usize, at: i64, cause: &str, p: usize, device: u64) {
        self.saw(&format!("cause: {cause}"));
        let alert = &self.alerts[a];
        let part = &alert.parts[p];
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let line = format!(
            r#"{{"alert":{},"version":{},"part":{p},"stage":{},"radius_km":{},"cause":"{cause}","namespace":{},"device":{},"at":"{}"}}"#,
            json(&alert.asked.id),
            alert.version,
            part.stage,
            serde_json::to_string(&part.stages[part.stage].1).unwrap(),
            json(&self.world.namespace),
            json(&self.names[&device]),
            rfc3339(at),
        );
        let order = u8::from(cause != "update");
        self.event.push(Match { alert: a, order, device, line });
    }

    /// Writes the matches of one event: by alert, cause, pseudonym.
    fn end_event(&mut self) {
        self.event.sort_by_key(|m| (m.alert, m.order, m.device));
        if self.event.first().map(|m| m.alert) != self.event.last().map(|m| m.alert) {
            self.saw("event: matches of several alerts");
        }
        for m in self.event.drain(..) {
            self.answer.matches.push_str(&m.line);
            self.answer.matches.push('\n');
        }
    }

    fn saw(&mut self, what: &str) {
        *self.answer.seen.entry(what.to_string()).or_default() += 1;
    }
}

/// A device's pseudonym: the number that it is, or BLAKE3 of its name under the zero key.
fn pseudonym(name: &str) -> u64 {
    name.parse().unwrap_or_else(|_| {
        let hash = blake3::keyed_hash(&[0; 32], name.as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
    })
}

/// What is remarkable in asking a part about a place.
fn marks(part: &Part, place: Place, mode: Uncertainty) -> Vec<String> {
    let mut marks = Vec::new();
    let is_in = part.contains(place.pos, place.accuracy_m, mode);
    if place.accuracy_m > 0.0 {
        let other = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within];
        if other.iter().any(|other| part.contains(place.pos, place.accuracy_m, *other) != is_in) {
            marks.push(format!("mode: {mode:?} decides"));
        }
    }
    for shape in part.area.iter() {
        let excess_m = part.excess_m(shape, place.pos, place.accuracy_m, mode);
        let side = if excess_m <= 0.0 { "inside" } else { "outside" };
        match shape {
            Shape::Circle { centre, .. } => {
                marks.push(format!("shape: circle, {side}"));
                if excess_m.abs() < 1.0 {
                    marks.push(format!("edge: within a metre, {side}"));
                }
                if excess_m.abs() < 0.03 {
                    marks.push(format!("edge: within three centimetres, {side}"));
                }
                if centre.lat.abs() == 900_000_000 && is_in {
                    marks.push("place: circle on a pole".into());
                }
                if (centre.lon - place.pos.lon).abs() > 2_000_000_000
                    && centre.lat.abs() < 800_000_000
                    && is_in
                {
                    marks.push("place: circle across the antimeridian".into());
                }
            }
            Shape::Polygon(polygon) => {
                marks.push(format!("shape: polygon, {side}"));
                if polygon.has_hole() {
                    marks.push(format!("shape: polygon with hole, {side}"));
                }
                if polygon.side(place.pos) == geometry::Side::Edge {
                    marks.push("edge: exactly on a polygon's".into());
                }
                if polygon.edges().iter().any(|(a, _)| a.0.abs() > 1_800_000_000) && is_in {
                    marks.push("place: polygon across the antimeridian".into());
                }
                if polygon.edges().iter().any(|(a, _)| a.1.abs() > 890_000_000) && is_in {
                    marks.push("place: polygon near a pole".into());
                }
            }
        }
    }
    if place.pos.lat.abs() == 900_000_000 {
        marks.push("place: device on a pole".into());
    }
    if place.pos.lon == -1_800_000_000 {
        marks.push("place: device on the antimeridian".into());
    }
    marks
}
