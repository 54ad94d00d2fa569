//! Worlds from seeds: small ones, in which as much as possible coincides. The actions are here.

use serde_json::{Map, Value, json};

use super::geometry::Pos;
use super::rng::Rng;
use super::shapes::{self, degrees};
use super::world::{World, rfc3339};
use super::{Asked, Policy, Shape, read_area, read_policy};

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// 2026-05-15T12:00:00Z: about when the first alert is published.
pub(super) const NOON_MS: i64 = 1_778_846_400_000;

/// What the generator remembers of an alert; a guess where actions are rejected.
#[derive(Clone)]
struct Sketch {
    id: String,
    status: Option<&'static str>,
    policy: Value,
    lost_at: i64,
    expires: i64,
    is_cancelled: bool,
}

pub(super) struct Generator {
    pub(super) rng: Rng,
    /// Around which everything happens.
    pub(super) theatre: Pos,
    pub(super) spread_km: f64,
    /// The last time at which something may happen.
    pub(super) end: i64,
    pub(super) max_age_ms: Option<i64>,
    pub(super) now: i64,
    alerts: Vec<Sketch>,
    pub(super) actions: Vec<Value>,
    /// Times at which something happens: actions, stages, expiries.
    pub(super) times: Vec<i64>,
    /// Circles to stand at the edge of: centre and radii, metres.
    pub(super) circles: Vec<(Pos, Vec<f64>)>,
}

/// The world of a seed.
pub(crate) fn generate(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let theatre = theatre(&mut rng);
    let spread_km = rng.magnitude(1.0, 600.0);
    let hours = if rng.chance(30) { rng.whole(30, 80) } else { rng.whole(2, 9) };
    let max_age_ms = match rng.whole(1, 100) {
        1..=88 => Some(24 * HOUR_MS),
        89..=91 => Some(HOUR_MS),
        92..=94 => Some(90 * MINUTE_MS + 1),
        95..=97 => Some(0),
        _ => None,
    };
    let mut generator = Generator {
        rng,
        theatre,
        spread_km,
        end: NOON_MS + hours * HOUR_MS,
        max_age_ms,
        now: NOON_MS,
        alerts: Vec::new(),
        actions: Vec::new(),
        times: Vec::new(),
        circles: Vec::new(),
    };
    generator.act();
    generator.finish()
}

fn theatre(rng: &mut Rng) -> Pos {
    let near_180 = rng.pick(&[-1_800_000_000, -1_799_999_999, 1_799_990_000, -1_795_000_000, 1_799_999_999]);
    let pole = rng.pick(&[900_000_000, -900_000_000, 899_999_999, -899_990_000, 895_000_000, -880_000_000]);
    let any = Pos::wrapped(rng.whole(-850_000_000, 850_000_000), rng.whole(-1_800_000_000, 1_799_999_999));
    match rng.whole(1, 100) {
        1..=30 => Pos::wrapped(312_304_000, 1_214_737_000),
        31..=50 => Pos::wrapped(rng.whole(-700_000_000, 700_000_000), near_180),
        51..=65 => Pos::wrapped(pole, any.lon),
        66..=72 => Pos::wrapped(rng.whole(-1, 1), rng.whole(-1, 1)),
        _ => any,
    }
}

impl Generator {
    fn act(&mut self) {
        let count = if self.rng.chance(2) { 45 } else { self.rng.whole(1, 15) };
        for _ in 0..count {
            let later: Vec<i64> =
                self.times.iter().copied().filter(|at| (self.now..=self.end).contains(at)).collect();
            self.now = match self.rng.whole(1, 100) {
                1..=15 => self.now,
                16..=60 if !later.is_empty() => self.rng.pick(&later) + self.jitter(15),
                _ => self.now + self.rng.whole(1, 5) * 10 * MINUTE_MS,
            }
            .max(self.now);
            self.times.push(self.now);
            let is_crowded = count == 45 && !self.alerts.is_empty();
            let wants_more = self.alerts.is_empty() || (self.alerts.len() < 4 && self.rng.chance(22));
            let action = match self.rng.whole(1, 100) {
                _ if wants_more && !is_crowded => self.publish(),
                _ if is_crowded && self.rng.chance(92) => self.sighting(),
                1..=5 => self.publish(),
                6..=48 => self.update(),
                49..=84 => self.sighting(),
                _ => self.cancel(),
            };
            self.actions.push(action);
        }
    }

    /// -1, 0 or 1 ms; 0 unless by chance.
    pub(super) fn jitter(&mut self, percent: i64) -> i64 {
        if self.rng.chance(percent) { self.rng.pick(&[-1, 1]) } else { 0 }
    }

    /// A publication, mostly a possible one: a world without an alert shows little.
    fn publish(&mut self) -> Value {
        let known = self.alerts.len();
        let tries = if self.rng.chance(80) { 4 } else { 1 };
        for _ in 1..tries {
            let action = self.some_publication();
            let is_new = self.alerts.len() > known;
            if is_new && Asked::publication(&action["alert"], self.now).is_ok() {
                return action;
            }
            self.alerts.truncate(known);
        }
        self.some_publication()
    }

    fn some_publication(&mut self) -> Value {
        let again = self.rng.chance(12) && !self.alerts.is_empty();
        let id = if again {
            self.rng.pick(&self.alerts).id
        } else {
            let name = self.rng.pick(&["a", "团圆-", "b\"\\", "mps-2026-0001", "z"]);
            format!("{name}{}", self.alerts.len())
        };
        let lost_at = match self.rng.whole(1, 100) {
            1..=30 => self.now,
            31..=75 => self.now - self.rng.whole(0, 30) * 10 * MINUTE_MS + self.jitter(10).min(0),
            76..=90 => self.now - self.rng.whole(0, 3) * HOUR_MS,
            91..=94 => self.now + self.rng.whole(1, 60_000),
            _ => self.now - self.rng.whole(0, 100 * HOUR_MS),
        };
        let mut alert = Map::new();
        alert.insert("id".into(), json!(id));
        let mut starts = lost_at;
        match self.rng.whole(1, 100) {
            1..=60 => drop(alert.insert("lost_at".into(), json!(rfc3339(lost_at)))),
            61..=80 => drop(alert.insert("sent".into(), json!(rfc3339(lost_at)))),
            81..=90 => {
                alert.insert("sent".into(), json!(rfc3339(self.now + 600_000)));
                alert.insert("lost_at".into(), json!(rfc3339(lost_at)));
            }
            91..=95 => {
                alert.insert("lost_at".into(), Value::Null);
                starts = self.now;
            }
            _ => starts = self.now,
        }
        let status = match self.rng.whole(1, 100) {
            1..=70 => Some("actual"),
            71..=80 => Some("exercise"),
            81..=88 => Some("test"),
            89..=92 => Some("draft"),
            _ => None,
        };
        if let Some(status) = status {
            alert.insert("status".into(), json!(status));
        }
        let expires = self.expiry();
        match self.rng.whole(1, 100) {
            1..=4 => {}
            5..=6 => drop(alert.insert("expires".into(), Value::Null)),
            _ => drop(alert.insert("expires".into(), json!(rfc3339(expires)))),
        }
        let policy = self.policy();
        let area = self.area(policy == "fixed");
        self.remember(&area, &policy, starts);
        if !policy.is_null() || self.rng.chance(30) {
            alert.insert("policy".into(), policy.clone());
        }
        alert.insert("area".into(), area);
        self.add_uncertainty(&mut alert);
        if self.rng.chance(30) {
            alert.insert("headline".into(), json!("A child is missing"));
        }
        if !again {
            self.alerts.push(Sketch { id, status, policy, lost_at: starts, expires, is_cancelled: false });
        }
        json!({"action": "publish", "at": rfc3339(self.now), "alert": alert})
    }

    /// Mostly after now.
    fn expiry(&mut self) -> i64 {
        let expires = match self.rng.whole(1, 100) {
            1..=55 => self.now + self.rng.whole(2, 30) * 10 * MINUTE_MS + self.jitter(10),
            56..=95 => self.end + self.rng.whole(-60, 60) * MINUTE_MS,
            96 => self.now,
            97 => self.now - 10 * MINUTE_MS,
            _ => self.now + 1,
        };
        self.times.push(expires);
        expires
    }

    fn add_uncertainty(&mut self, alert: &mut Map<String, Value>) {
        if self.rng.chance(70) {
            let modes = [json!("intersects"), json!("centre"), json!("within"), json!("within"), Value::Null];
            alert.insert("uncertainty".into(), self.rng.pick(&modes));
        }
    }

    /// A policy as JSON; null is none.
    fn policy(&mut self) -> Value {
        let rng = &mut self.rng;
        let radius_km = |rng: &mut Rng| {
            let km = rng.magnitude(0.05, 2_000.0);
            if rng.chance(50) { km } else { (km * 10.0).ceil() / 10.0 }
        };
        match rng.whole(1, 100) {
            1..=15 => Value::Null,
            16..=25 => json!("tuanyuan"),
            26..=45 => json!("fixed"),
            46..=64 => {
                let every = rng.pick(&["10m", "20m", "30m", "1h", "1h30m", "90s", "1m"]);
                let hours = rng.pick(&[1.0 / 6.0, 1.0 / 3.0, 0.5, 1.0]);
                let (speed_kmh, start_km) = (rng.pick(&[0.1, 3.7, 6.0, 50.0, 120.0]), radius_km(rng));
                let most = if rng.chance(3) { 300.0 } else { 8.0 };
                let max_km = start_km + speed_kmh * hours * rng.real(0.0, most);
                let max_km = if rng.chance(10) { start_km } else { max_km };
                json!({"growth": {"speed_kmh": speed_kmh, "every": every, "start_km": start_km, "max_km": max_km}})
            }
            65..=94 => {
                let mut after_min = 0;
                let mut km = radius_km(rng) / 2.0;
                let mut stages = Vec::new();
                for _ in 0..rng.whole(1, 5) {
                    let (h, m) = (after_min / 60, after_min % 60);
                    let after = match (h, m) {
                        (0, m) => rng.pick(&[format!("{m}m"), format!("{}s", m * 60)]),
                        (h, 0) => format!("{h}h"),
                        (h, m) => format!("{h}h{m}m"),
                    };
                    stages.push(json!({"after": after, "radius_km": km}));
                    after_min += rng.whole(1, 9) * 10;
                    km *= rng.real(1.01, 2.0);
                }
                json!({ "stages": stages })
            }
            _ => rng.pick(&[
                json!({"stages": []}),
                json!({"stages": [{"after": "1s", "radius_km": 1}]}),
                json!({"stages": [{"after": "0s", "radius_km": 0}]}),
                json!({"stages": [{"after": "0s", "radius_km": -3.5}]}),
                json!({"stages": [{"after": "0s", "radius_km": 5000.001}]}),
                json!({"stages": [{"after": "0s", "radius_km": 1}, {"after": "0s", "radius_km": 2}]}),
                json!({"stages": [{"after": "0s", "radius_km": 1}, {"after": "1m", "radius_km": 1}]}),
                json!({"growth": {"speed_kmh": 6, "every": "59s", "start_km": 1, "max_km": 10}}),
                json!({"growth": {"speed_kmh": 0, "every": "1h", "start_km": 1, "max_km": 10}}),
                json!({"growth": {"speed_kmh": 6, "every": "1h", "start_km": 0, "max_km": 10}}),
                json!({"growth": {"speed_kmh": 5000, "every": "1h", "start_km": 1, "max_km": 6000}}),
                json!({"growth": {"speed_kmh": 1, "every": "1m", "start_km": 1, "max_km": 100}}),
                json!("nobody-named-this"),
            ]),
        }
    }

    pub(super) fn spot(&mut self) -> Pos {
        let km = self.rng.magnitude(0.01, self.spread_km);
        let azimuth = self.rng.real(-180.0, 180.0);
        match self.rng.whole(1, 100) {
            1..=25 => self.theatre,
            26..=93 => self.theatre.moved(azimuth, km * 1_000.0),
            94..=97 => Pos { lat: self.theatre.lat, lon: -1_800_000_000 },
            _ => Pos { lat: self.rng.pick(&[900_000_000, -900_000_000]), lon: self.theatre.lon },
        }
    }

    fn area(&mut self, is_fixed: bool) -> Value {
        match self.rng.whole(1, 100) {
            1..=58 => self.circle(is_fixed),
            59..=78 => self.polygon(),
            79..=93 => {
                let count = self.rng.whole(1, 4);
                let one = |_| if self.rng.chance(60) { self.circle(is_fixed) } else { self.polygon() };
                Value::Array((0..count).map(one).collect())
            }
            94..=95 => json!([]),
            96 => json!({"circle": {"lat": 90.000_000_01, "lon": 0}}),
            97 => json!({"circle": {"lat": 1.5, "lon": -180.5, "radius_km": 1}}),
            _ => shapes::impossible(&mut self.rng),
        }
    }

    fn circle(&mut self, is_fixed: bool) -> Value {
        let centre = self.spot();
        let (lat, lon) = degrees(centre, &mut self.rng);
        // Finer than a position is held, and never at a tie.
        let finer = if self.rng.chance(10) && centre.lat.abs() < 899_999_999 { 3e-9 } else { 0.0 };
        let mut circle = json!({"lat": lat + finer, "lon": lon});
        if (is_fixed && !self.rng.chance(7)) || self.rng.chance(20) {
            let km = self.rng.magnitude(0.05, 1_500.0);
            circle["radius_km"] = json!(if is_fixed && self.rng.chance(3) { 5_000.5 } else { km });
        }
        json!({ "circle": circle })
    }

    fn polygon(&mut self) -> Value {
        let centre = self.spot();
        let km = self.rng.magnitude(0.2, (2.0 * self.spread_km).max(1.0));
        shapes::possible(&mut self.rng, centre, km)
    }

    /// Notes where and when something will happen.
    fn remember(&mut self, area: &Value, policy: &Value, start: i64) {
        let Ok(policy) = read_policy(policy) else { return };
        let stages = match &policy {
            Policy::Fixed => Vec::new(),
            Policy::Stages(_, stages) => stages.clone(),
        };
        self.times.extend(stages.iter().take(10).map(|stage| start + stage.0));
        let Ok(area) = read_area(area) else { return };
        for shape in area.iter() {
            if let Shape::Circle { centre, radius_km } = shape {
                let radii = match policy {
                    Policy::Fixed => vec![radius_km.unwrap_or(1.0) * 1_000.0],
                    Policy::Stages(..) => stages.iter().map(|stage| stage.1 * 1_000.0).collect(),
                };
                self.circles.push((*centre, radii));
            }
        }
    }

    fn some_alert(&mut self) -> Option<usize> {
        let living: Vec<usize> =
            (0..self.alerts.len()).filter(|i| !self.alerts[*i].is_cancelled || self.rng.chance(8)).collect();
        if living.is_empty() || self.rng.chance(2) { None } else { Some(self.rng.pick(&living)) }
    }

    fn update(&mut self) -> Value {
        let mut alert = Map::new();
        let at = self.now;
        let some = self.some_alert();
        let mut sketch = match some {
            Some(i) => self.alerts[i].clone(),
            None => Sketch {
                id: "nobody".into(),
                status: None,
                policy: Value::Null,
                lost_at: at,
                expires: at + 1,
                is_cancelled: false,
            },
        };
        alert.insert("id".into(), json!(sketch.id));
        if self.rng.chance(30) {
            alert.insert("headline".into(), json!("Seen near the station"));
        }
        if self.rng.chance(25) {
            sketch.policy = self.policy();
            alert.insert("policy".into(), sketch.policy.clone());
        }
        if self.rng.chance(20) {
            let was_lost_at = sketch.lost_at;
            sketch.lost_at = match self.rng.whole(1, 100) {
                1..=70 => at - self.rng.whole(0, 30) * 10 * MINUTE_MS,
                71..=80 => at,
                81..=94 => was_lost_at,
                _ => at + 1,
            };
            alert.insert("lost_at".into(), json!(rfc3339(sketch.lost_at)));
        }
        if self.rng.chance(25) {
            let area = self.area(sketch.policy == "fixed");
            let (policy, start) = (sketch.policy.clone(), sketch.lost_at);
            self.remember(&area, &policy, start);
            alert.insert("area".into(), area);
        }
        if self.rng.chance(if sketch.expires <= at { 80 } else { 25 }) {
            sketch.expires = self.expiry();
            alert.insert("expires".into(), json!(rfc3339(sketch.expires)));
        }
        if self.rng.chance(20) {
            self.add_uncertainty(&mut alert);
        }
        if self.rng.chance(10) {
            alert.insert("sent".into(), json!(rfc3339(at + self.rng.whole(-9, 9) * HOUR_MS)));
        }
        if self.rng.chance(10) {
            let status = sketch.status.unwrap_or("actual");
            let wrong = self.rng.pick(&["actual", "exercise", "test", "draft"]);
            alert.insert("status".into(), json!(if self.rng.chance(60) { status } else { wrong }));
        }
        if self.rng.chance(15) {
            let members = ["status", "sent", "lost_at", "expires", "area", "policy", "uncertainty"];
            let member = self.rng.pick(&members);
            alert.entry(member).or_insert(Value::Null);
        }
        if let Some(i) = some {
            self.alerts[i] = sketch;
        }
        json!({"action": "update", "at": rfc3339(at), "alert": alert})
    }

    fn sighting(&mut self) -> Value {
        let some = self.some_alert();
        let (id, policy) = match some {
            Some(i) => (self.alerts[i].id.clone(), self.alerts[i].policy.clone()),
            None => ("nobody".into(), Value::Null),
        };
        let at = self.now;
        let centre = self.spot();
        let seen_at = match self.rng.whole(1, 100) {
            1..=40 => None,
            41..=80 => Some(at - self.rng.whole(0, 25) * 10 * MINUTE_MS),
            81..=90 => Some(at),
            91..=96 => Some(some.map_or(at, |i| self.alerts[i].lost_at)),
            _ => Some(at + 1),
        };
        let circle = json!({"circle": {"lat": centre.lat_deg(), "lon": centre.lon_deg(), "radius_km": 10}});
        self.remember(&circle, &policy, seen_at.unwrap_or(at));
        let (mut lat, lon) = degrees(centre, &mut self.rng);
        if self.rng.chance(2) {
            lat = -90.1;
        }
        let mut action = json!({"action": "sighting", "at": rfc3339(at), "id": id, "lat": lat, "lon": lon});
        match seen_at {
            Some(seen_at) => action["seen_at"] = json!(rfc3339(seen_at)),
            None if self.rng.chance(20) => action["seen_at"] = Value::Null,
            None => {}
        }
        action
    }

    fn cancel(&mut self) -> Value {
        let some = self.some_alert();
        let id = some.map_or("nobody".into(), |i| self.alerts[i].id.clone());
        if let Some(i) = some {
            self.alerts[i].is_cancelled = true;
        }
        let reason = self.rng.pick(&["found", "refuted"]);
        json!({"action": "cancel", "at": rfc3339(self.now), "id": id, "reason": reason})
    }
}
