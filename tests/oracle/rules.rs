//! Areas, policies and one alert's life as the rules word them.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::geometry::{Polygon, Pos};
use super::world::millis;

/// Why an action is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Exists,
    Unknown,
    Cancelled,
    Inactive,
    Draft,
    StatusChange,
    LostAfterAt,
    SeenAfterAt,
    NoExpires,
    ExpiresNotAfterAt,
    Position,
    EmptyArea,
    FewCorners,
    ManyCorners,
    Crossing,
    HoleOutside,
    Pole,
    HalfTurn,
    Policy,
    FixedWithoutRadius,
    TooManyParts,
}

impl Reason {
    pub(crate) const ALL: [Self; 21] = [
        Self::Exists,
        Self::Unknown,
        Self::Cancelled,
        Self::Inactive,
        Self::Draft,
        Self::StatusChange,
        Self::LostAfterAt,
        Self::SeenAfterAt,
        Self::NoExpires,
        Self::ExpiresNotAfterAt,
        Self::Position,
        Self::EmptyArea,
        Self::FewCorners,
        Self::ManyCorners,
        Self::Crossing,
        Self::HoleOutside,
        Self::Pole,
        Self::HalfTurn,
        Self::Policy,
        Self::FixedWithoutRadius,
        Self::TooManyParts,
    ];
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Circle { centre: Pos, radius_km: Option<f64> },
    Polygon(Rc<Polygon>),
}

/// A union of shapes.
pub(crate) type Area = Rc<[Shape]>;

/// Reads and checks an area.
pub(crate) fn read_area(area: &Value) -> Result<Area, Reason> {
    let shapes = match area {
        Value::Array(shapes) => shapes.clone(),
        one => vec![one.clone()],
    };
    if shapes.is_empty() {
        return Err(Reason::EmptyArea);
    }
    shapes.iter().map(read_shape).collect()
}

fn read_shape(shape: &Value) -> Result<Shape, Reason> {
    if let Some(circle) = shape.get("circle") {
        let (lat, lon) = (circle["lat"].as_f64().unwrap(), circle["lon"].as_f64().unwrap());
        let centre = Pos::from_degrees(lat, lon).ok_or(Reason::Position)?;
        return Ok(Shape::Circle { centre, radius_km: circle["radius_km"].as_f64() });
    }
    let rings = shape["polygon"].as_array().unwrap();
    // A list of corners is one ring; a list of lists of corners is several.
    let rings = if rings.first().is_some_and(|first| first[0].is_number()) {
        vec![rings.clone()]
    } else {
        rings.iter().map(|ring| ring.as_array().unwrap().clone()).collect()
    };
    let read = |corner: &Value| {
        Pos::from_degrees(corner[1].as_f64().unwrap(), corner[0].as_f64().unwrap()).ok_or(Reason::Position)
    };
    let rings: Result<Vec<Vec<Pos>>, Reason> =
        rings.iter().map(|ring| ring.iter().map(read).collect()).collect();
    Ok(Shape::Polygon(Rc::new(Polygon::new(&rings?)?)))
}

/// How parts grow: `fixed`, or stages (`after` in milliseconds, radius in km) with their kind.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    Fixed,
    Stages(&'static str, Vec<(i64, f64)>),
}

impl Policy {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Stages(name, _) => name,
        }
    }
}

/// Reads and checks a policy; null is the default.
pub(crate) fn read_policy(policy: &Value) -> Result<Policy, Reason> {
    const HOUR_MS: i64 = 3_600_000;
    let tuanyuan = || vec![(0, 100.0), (HOUR_MS, 200.0), (2 * HOUR_MS, 300.0), (3 * HOUR_MS, 500.0)];
    if let Some(growth) = policy.get("growth") {
        let number = |member: &str| growth[member].as_f64().unwrap();
        let (speed_kmh, start_km, max_km) = (number("speed_kmh"), number("start_km"), number("max_km"));
        let every_ms = duration_ms(growth["every"].as_str().unwrap());
        if every_ms < 60_000 {
            return Err(Reason::Policy);
        }
        let mut stages = Vec::new();
        // One more than is allowed is enough to see that there are too many.
        for n in 0..=100 {
            let ms = n * every_ms;
            let radius_km = start_km + speed_kmh * ms as f64 / 3_600_000.0;
            if radius_km >= max_km {
                stages.push((ms, max_km));
                break;
            }
            stages.push((ms, radius_km));
        }
        return check_stages(stages).map(|stages| Policy::Stages("growth", stages));
    }
    if let Some(stages) = policy.get("stages") {
        let read = |stage: &Value| {
            (duration_ms(stage["after"].as_str().unwrap()), stage["radius_km"].as_f64().unwrap())
        };
        let stages = check_stages(stages.as_array().unwrap().iter().map(read).collect())?;
        return Ok(Policy::Stages("stages", stages));
    }
    match policy.as_str() {
        None => Ok(Policy::Stages("default", tuanyuan())),
        Some("tuanyuan") => Ok(Policy::Stages("tuanyuan", tuanyuan())),
        Some("fixed") => Ok(Policy::Fixed),
        Some(_) => Err(Reason::Policy),
    }
}

fn check_stages(stages: Vec<(i64, f64)>) -> Result<Vec<(i64, f64)>, Reason> {
    let radii_are_possible = stages.iter().all(|(_, km)| *km > 0.0 && *km <= 5_000.0);
    let is_increasing = stages.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
    let starts_at_0 = stages.first().is_some_and(|first| first.0 == 0);
    if radii_are_possible && is_increasing && starts_at_0 && stages.len() <= 100 {
        Ok(stages)
    } else {
        Err(Reason::Policy)
    }
}

/// Reads a duration such as `1h30m`.
fn duration_ms(text: &str) -> i64 {
    let mut total = 0;
    let mut number = 0;
    for c in text.chars() {
        let unit_ms = match c {
            'd' => 86_400_000,
            'h' => 3_600_000,
            'm' => 60_000,
            's' => 1_000,
            digit => {
                number = number * 10 + i64::from(digit.to_digit(10).unwrap());
                continue;
            }
        };
        total += number * unit_ms;
        number = 0;
    }
    total
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncertainty {
    Intersects,
    Centre,
    Within,
}

/// Whether a part's shapes grow by its stages, or are as drawn (`fixed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    Grown,
    Own,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) area: Area,
    pub(crate) start: i64,
    /// `after` in milliseconds, radius in km (what matches print).
    pub(crate) stages: Vec<(i64, f64)>,
    pub(crate) drawn: Drawn,
    /// The active one.
    pub(crate) stage: usize,
}

impl Part {
    /// The last stage with `start + after <= at`.
    pub(crate) fn set_stage_by_time(&mut self, at: i64) {
        self.stage = self.stages.iter().rposition(|(after, _)| self.start + after <= at).unwrap();
    }

    pub(crate) fn next_stage_time(&self) -> Option<i64> {
        self.stages.get(self.stage + 1).map(|(after, _)| self.start + after)
    }

    pub(crate) fn contains(&self, pos: Pos, accuracy_m: f64, mode: Uncertainty) -> bool {
        self.area.iter().any(|shape| self.excess_m(shape, pos, accuracy_m, mode) <= 0.0)
    }

    /// By how much a position is outside a shape at the active stage: inside where <= 0, metres.
    pub(crate) fn excess_m(&self, shape: &Shape, pos: Pos, accuracy_m: f64, mode: Uncertainty) -> f64 {
        let grown_km = self.stages[self.stage].1;
        let (s, radius_km) = match (shape, self.drawn) {
            (Shape::Circle { centre, .. }, Drawn::Grown) => (centre.distance_m(pos), grown_km),
            (Shape::Circle { centre, radius_km }, Drawn::Own) => (centre.distance_m(pos), radius_km.unwrap()),
            (Shape::Polygon(polygon), Drawn::Grown) => (polygon.signed_distance_m(pos), grown_km),
            (Shape::Polygon(polygon), Drawn::Own) => (polygon.signed_distance_m(pos), 0.0),
        };
        let reach_m = match mode {
            Uncertainty::Intersects => s - accuracy_m,
            Uncertainty::Centre => s,
            Uncertainty::Within => s + accuracy_m,
        };
        reach_m - radius_km * 1_000.0
    }
}

/// An alert as its authority wants it, checked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) lost_at: i64,
    pub(crate) expires: i64,
    pub(crate) area: Area,
    pub(crate) policy: Policy,
    pub(crate) uncertainty: Uncertainty,
}

impl Asked {
    /// What a publication at `at` asks for. Null is as not given.
    pub(crate) fn publication(draft: &Value, at: i64) -> Result<Self, Reason> {
        let sent = read_time(&draft["sent"]).unwrap_or(at);
        let asked = Self {
            id: draft["id"].as_str().unwrap().into(),
            status: draft["status"].as_str().unwrap_or("actual").into(),
            lost_at: read_time(&draft["lost_at"]).unwrap_or(sent),
            expires: read_time(&draft["expires"]).ok_or(Reason::NoExpires)?,
            area: read_area(&draft["area"])?,
            policy: read_policy(&draft["policy"])?,
            uncertainty: read_uncertainty(&draft["uncertainty"]).unwrap_or(Uncertainty::Intersects),
        };
        asked.checked(at)
    }

    /// What an update at `at` asks for: what it does not give stays.
    pub(crate) fn updated(&self, draft: &Value, at: i64) -> Result<Self, Reason> {
        if draft["status"].as_str().is_some_and(|status| status != self.status) {
            return Err(Reason::StatusChange);
        }
        let mut asked = self.clone();
        asked.lost_at = read_time(&draft["lost_at"]).unwrap_or(self.lost_at);
        asked.expires = read_time(&draft["expires"]).unwrap_or(self.expires);
        if !draft["area"].is_null() {
            asked.area = read_area(&draft["area"])?;
        }
        if !draft["policy"].is_null() {
            asked.policy = read_policy(&draft["policy"])?;
        }
        asked.uncertainty = read_uncertainty(&draft["uncertainty"]).unwrap_or(self.uncertainty);
        asked.checked(at)
    }

    fn checked(self, at: i64) -> Result<Self, Reason> {
        if self.lost_at > at {
            return Err(Reason::LostAfterAt);
        }
        if self.expires <= at {
            return Err(Reason::ExpiresNotAfterAt);
        }
        if let Policy::Fixed = self.policy {
            for shape in self.area.iter() {
                let Shape::Circle { radius_km, .. } = shape else { continue };
                let radius_km = radius_km.ok_or(Reason::FixedWithoutRadius)?;
                if !(radius_km > 0.0 && radius_km <= 5_000.0) {
                    return Err(Reason::Policy);
                }
            }
        }
        Ok(self)
    }

    /// Part 0, its stage not yet set.
    pub(crate) fn part_0(&self) -> Part {
        let (stages, drawn) = match &self.policy {
            Policy::Stages(_, stages) => (stages.clone(), Drawn::Grown),
            Policy::Fixed => {
                let printed_km = match &self.area[..] {
                    [Shape::Circle { radius_km, .. }] => radius_km.unwrap(),
                    _ => 0.0,
                };
                (vec![(0, printed_km)], Drawn::Own)
            }
        };
        Part { area: self.area.clone(), start: self.lost_at, stages, drawn, stage: 0 }
    }
}

fn read_time(time: &Value) -> Option<i64> {
    time.as_str().map(millis)
}

fn read_uncertainty(mode: &Value) -> Option<Uncertainty> {
    Some(match mode.as_str()? {
        "intersects" => Uncertainty::Intersects,
        "centre" => Uncertainty::Centre,
        "within" => Uncertainty::Within,
        other => panic!("{other} is no mode"),
    })
}

/// An alert that was published.
pub(crate) struct Alert {
    pub(crate) asked: Asked,
    pub(crate) version: u32,
    pub(crate) parts: Vec<Part>,
    pub(crate) is_cancelled: bool,
    pub(crate) notified: BTreeSet<u64>,
}

impl Alert {
    pub(crate) fn is_active(&self, at: i64) -> bool {
        !self.is_cancelled && at < self.asked.expires
    }

    /// By time alone, whatever was missed while the alert was expired.
    pub(crate) fn set_stages_by_time(&mut self, at: i64) {
        for part in &mut self.parts {
            part.set_stage_by_time(at);
        }
    }

    /// The next time at which a part grows while the alert is active.
    pub(crate) fn next_stage_time(&self) -> Option<i64> {
        self.parts.iter().filter_map(Part::next_stage_time).filter(|at| self.is_active(*at)).min()
    }
}
