//! A match: one device to notify of one alert, once.

use super::{AlertNo, DeviceId, EventTime};

/// What caused a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The alert was updated: to every device notified before. Ordered first: within one event
    /// `update` stands before `publish`.
    Update = 0,
    /// The alert was published, or an update brought it to devices not notified before.
    Publish = 1,
    /// A later stage reached the device.
    Escalation = 2,
    /// The device came into the area.
    Enter = 3,
    /// A confirmed sighting reached the device.
    Sighting = 4,
    /// The alert was cancelled: to every device notified before.
    Cancel = 5,
}

impl Cause {
    /// All causes, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Update, Self::Publish, Self::Escalation, Self::Enter, Self::Sighting, Self::Cancel];

    /// The word in match lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Publish => "publish",
            Self::Escalation => "escalation",
            Self::Enter => "enter",
            Self::Sighting => "sighting",
            Self::Cancel => "cancel",
        }
    }
}

/// One device to notify of one alert. The namespace is the log's that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The alert, by the order of publication.
    pub alert: AlertNo,
    /// The alert's version, counted from 1.
    pub version: u32,
    /// What caused it.
    pub cause: Cause,
    /// The part that contained the device, the lowest if several; 0 for `update` and `cancel`.
    pub part: u8,
    /// That part's stage at the time.
    pub stage: u8,
    /// That stage's radius, km.
    pub radius_km: f64,
    /// The device.
    pub device: DeviceId,
    /// The event time of what caused it.
    pub at: EventTime,
}

/// What the matches of one event have in common where part and stage are the same too: a
/// [`Match`] without its device. Where very many devices match at once it is kept once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchHead {
    /// The alert, by the order of publication.
    pub alert: AlertNo,
    /// The alert's version, counted from 1.
    pub version: u32,
    /// What caused it.
    pub cause: Cause,
    /// The part that contained the devices, the lowest if several; 0 for `update` and `cancel`.
    pub part: u8,
    /// That part's stage at the time.
    pub stage: u8,
    /// That stage's radius, km.
    pub radius_km: f64,
    /// The event time of what caused it.
    pub at: EventTime,
}

impl MatchHead {
    /// The match of one device.
    #[inline]
    pub fn of(&self, device: DeviceId) -> Match {
        let Self { alert, version, cause, part, stage, radius_km, at } = *self;
        Match { alert, version, cause, part, stage, radius_km, device, at }
    }
}

impl Match {
    /// What it has in common with others of its event.
    #[inline]
    pub fn head(&self) -> MatchHead {
        let Self { alert, version, cause, part, stage, radius_km, device: _, at } = *self;
        MatchHead { alert, version, cause, part, stage, radius_km, at }
    }
}
