//! The alerts that stand: parts, their active stages, and when the next stage or expiry is due.

use std::collections::BTreeMap;

use crate::domain::{AlertNo, EventTime, PartSpec, Uncertainty};
use crate::geo::{PreparedArea, Radius, Reach};
use crate::planted::{self, Defect};

/// A part of an alert with its active stage.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) spec: PartSpec<PreparedArea>,
    pub(super) stage: usize,
}

impl Part {
    /// A part at the stage of time `now`.
    pub(super) fn at(spec: PartSpec<PreparedArea>, now: EventTime) -> Self {
        let mut part = Self { spec, stage: 0 };
        if !planted::on(Defect::PartAtFirstStage) {
            part.activate(now);
        }
        part
    }

    /// Makes the stage of time `now` active.
    pub(super) fn activate(&mut self, now: EventTime) {
        self.stage = self.spec.stages.at(now.ms_since(self.spec.start));
    }

    /// When the next stage is due.
    pub(super) fn next_at(&self) -> Option<EventTime> {
        let next = self.spec.stages.as_slice().get(self.stage + 1)?;
        Some(self.spec.start.plus_ms(next.after_ms))
    }

    /// The radius of the active stage, km.
    pub(super) fn radius_km(&self) -> f64 {
        self.spec.stages.as_slice()[self.stage].radius_km
    }

    /// How far the active stage reaches.
    pub(super) fn reach(&self, mode: Uncertainty) -> Reach {
        self.reach_of(self.stage, mode)
    }

    fn reach_of(&self, stage: usize, mode: Uncertainty) -> Reach {
        reach(&self.spec, stage, mode)
    }
}

/// How far a stage of a part reaches.
pub(super) fn reach(spec: &PartSpec<PreparedArea>, stage: usize, mode: Uncertainty) -> Reach {
    let radius = if spec.as_drawn {
        Radius::AsDrawn
    } else {
        Radius::Metres(spec.stages.as_slice()[stage].radius_km * 1_000.0)
    };
    Reach { radius, mode }
}

/// An alert that was not cancelled.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) version: u32,
    pub(super) published_at: EventTime,
    pub(super) expires: EventTime,
    pub(super) mode: Uncertainty,
    pub(super) parts: Vec<Part>,
    /// Published and not expired: its parts stand over the buckets.
    pub(super) active: bool,
}

impl Alert {
    /// When its next stage is due, if it is still active then.
    fn next_stage_at(&self) -> Option<EventTime> {
        let next = self.parts.iter().filter_map(Part::next_at).min()?;
        let ends = self.expires.plus_ms(i64::from(planted::on(Defect::StageAtExpiry)));
        (self.active && next < ends).then_some(next)
    }
}

/// All alerts that were not cancelled, in the order of publication.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) alerts: BTreeMap<AlertNo, Alert>,
    /// The alert that was published last: alerts are numbered in their order.
    newest: Option<AlertNo>,
    next_stage_at: Option<EventTime>,
    next_expiry: Option<EventTime>,
}

impl Standing {
    /// When the next stage of any active alert is due.
    #[inline]
    pub(super) fn next_stage_at(&self) -> Option<EventTime> {
        self.next_stage_at
    }

    /// When the next active alert expires.
    #[inline]
    pub(super) fn next_expiry(&self) -> Option<EventTime> {
        self.next_expiry
    }

    /// An alert is published.
    pub(super) fn publish(&mut self, no: AlertNo, alert: Alert) {
        self.alerts.insert(no, alert);
        self.newest = self.newest.max(Some(no));
    }

    /// Whether devices may hear of an alert yet: it is not cancelled. One that is not published here yet may be one whose
    /// matches a log holds and whose order a recovery has yet to come to.
    pub(super) fn may_tell(&self, no: AlertNo) -> bool {
        let to_come = Some(no) > self.newest && !planted::on(Defect::ForgetsWhoIsNoted);
        to_come || self.alerts.contains_key(&no)
    }

    /// Finds out anew what is due next; call it after every change of an alert.
    pub(super) fn plan(&mut self) {
        let active = || self.alerts.values().filter(|a| a.active);
        self.next_stage_at = active().filter_map(Alert::next_stage_at).min();
        self.next_expiry = active().map(|a| a.expires).min();
    }
}
