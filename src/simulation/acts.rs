//! What authorities ask for, in the simulation's own words, and its translation into the real
//! desk's.

use serde_json::Map;

use super::dice::Dice;
use super::places::{CENTRES, places};
use crate::domain::{
    Action, AlertDraft, AlertId, Area, CancelReason, EventTime, Policy, Position, Shape, StageSpec,
    Uncertainty,
};

pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// Stages by number: `after` in ms, radius in km. The first is the default policy.
pub(super) const POLICIES: [&[(i64, f64)]; 4] = [
    &[(0, 100.0), (HOUR, 200.0), (2 * HOUR, 300.0), (3 * HOUR, 500.0)],
    &[(0, 2.0), (10 * MINUTE, 5.0), (20 * MINUTE, 20.0), (90 * MINUTE, 60.0)],
    &[(0, 4.0), (7 * MINUTE, 30.0)],
    &[(0, 15.0)],
];

/// How an area grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Growth {
    /// As drawn.
    Fixed,
    /// By [`POLICIES`].
    Stages(usize),
}

/// A circle: centre, and its radius as drawn, km.
pub(super) type Circle = (usize, f64);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    Publish {
        id: u32,
        lost_at: Option<i64>,
        expires: i64,
        circles: Vec<Circle>,
        growth: Growth,
        mode: Uncertainty,
    },
    Update {
        id: u32,
        lost_at: Option<i64>,
        expires: Option<i64>,
        circles: Option<Vec<Circle>>,
        growth: Option<Growth>,
        mode: Option<Uncertainty>,
    },
    Sighting {
        id: u32,
        centre: usize,
        seen_at: Option<i64>,
    },
    Cancel {
        id: u32,
    },
}

pub(super) const MODES: [Uncertainty; 3] =
    [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within];

fn position((lat, lon): (f64, f64)) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

pub(super) fn alert_id(id: u32) -> AlertId {
    AlertId(format!("alert-{id}").into())
}

impl Act {
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Publish { id, .. } | Self::Update { id, .. } => *id,
            Self::Sighting { id, .. } | Self::Cancel { id } => *id,
        }
    }

    /// As the real desk takes it.
    pub(super) fn real(&self) -> Action {
        let draft = |id: u32,
                     lost_at: Option<i64>,
                     expires: Option<i64>,
                     circles: Option<&[Circle]>,
                     growth: Option<Growth>,
                     mode| {
            let area = circles.map(|circles| {
                let shape = |(centre, km): &Circle| Shape::Circle {
                    centre: position(places().centres[*centre]),
                    radius_km: Some(*km),
                };
                Ok(Area { shapes: circles.iter().map(shape).collect() })
            });
            let spec =
                |(after_ms, radius_km): &(i64, f64)| StageSpec { after_ms: *after_ms, radius_km: *radius_km };
            let policy = growth.map(|growth| match growth {
                Growth::Fixed => Policy::Fixed,
                Growth::Stages(0) => Policy::Tuanyuan,
                Growth::Stages(n) => Policy::Stages(POLICIES[n].iter().map(spec).collect()),
            });
            Box::new(AlertDraft {
                id: alert_id(id),
                status: None,
                sent: None,
                lost_at: lost_at.map(EventTime),
                expires: expires.map(EventTime),
                area,
                policy,
                uncertainty: mode,
                content: Map::new(),
            })
        };
        match self {
            Self::Publish { id, lost_at, expires, circles, growth, mode } => Action::Publish(draft(
                *id,
                *lost_at,
                Some(*expires),
                Some(circles),
                Some(*growth),
                Some(*mode),
            )),
            Self::Update { id, lost_at, expires, circles, growth, mode } => {
                Action::Update(draft(*id, *lost_at, *expires, circles.as_deref(), *growth, *mode))
            }
            Self::Sighting { id, centre, seen_at } => {
                let (lat, lon) = places().centres[*centre];
                Action::Sighting { id: alert_id(*id), lat, lon, seen_at: seen_at.map(EventTime) }
            }
            Self::Cancel { id } => Action::Cancel { id: alert_id(*id), reason: CancelReason::Found },
        }
    }
}

fn circles(dice: &mut Dice) -> Vec<Circle> {
    let count = if dice.one_in(4) { 2 } else { 1 };
    (0..count).map(|_| (dice.below(CENTRES), dice.pick(&[1.0, 4.0, 12.0, 40.0, 150.0]))).collect()
}

fn growth(dice: &mut Dice) -> Growth {
    if dice.one_in(5) { Growth::Fixed } else { Growth::Stages(dice.below(POLICIES.len())) }
}

fn lifetime(dice: &mut Dice) -> i64 {
    dice.pick(&[5 * MINUTE, 25 * MINUTE, 2 * HOUR, 6 * HOUR, 48 * HOUR])
}

/// Something that an authority may ask for at about `now`, of one of `ids` alerts.
pub(super) fn random(dice: &mut Dice, now: i64, id: u32, published: bool) -> Act {
    let lost_at = match dice.below(6) {
        0 => Some(now - dice.range(0, 4 * HOUR)),
        1 => Some(now - dice.range(0, 20 * MINUTE)),
        // After the action's time, where the server's clock is not ahead.
        2 if dice.one_in(8) => Some(now + HOUR),
        _ => None,
    };
    if !published || dice.one_in(20) {
        let expires = now + if dice.one_in(25) { -MINUTE } else { lifetime(dice) };
        let (circles, growth, mode) = (circles(dice), growth(dice), dice.pick(&MODES));
        return Act::Publish { id, lost_at, expires, circles, growth, mode };
    }
    match dice.below(8) {
        0 | 1 => Act::Cancel { id },
        2..=4 => Act::Update {
            id,
            lost_at,
            expires: dice.one_in(2).then(|| now + lifetime(dice)),
            circles: dice.one_in(3).then(|| circles(dice)),
            growth: dice.one_in(3).then(|| growth(dice)),
            mode: dice.one_in(3).then(|| dice.pick(&MODES)),
        },
        _ => {
            let seen_at = dice.one_in(2).then(|| now - dice.range(-MINUTE, 30 * MINUTE));
            Act::Sighting { id, centre: dice.below(CENTRES), seen_at }
        }
    }
}
