//! The book of all alerts: the one place where an action is judged by an alert's life.
//!
//! Live doors and replay use the same book, so that what is accepted never depends on the way
//! in. It never does I/O, reads a clock or starts a thread: the time of an action is an
//! argument. Invariant: a rejection changes nothing; an accepted action has been validated
//! whole, and what it returns is all that anybody else needs to carry it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{
    Action, AlertDraft, AlertId, AlertNo, CancelReason, Directive, DirectiveKind, EventTime, PartSpec,
    Policy, Position, Stages, Status, Uncertainty,
};
use crate::files::alert_to_json;
use crate::geo::PreparedArea;
use crate::limits::{ALERT_ID_BYTES_MAX, ALERT_JSON_BYTES_MAX, ALERTS_BYTES_MAX, ALERTS_MAX, PARTS_MAX};
use crate::runtime::{AlertInfo, Told};

use super::journal::{Decided, NamedPolicy};
use super::rejection::{Reason, Rejection};
use super::terms::{Growth, Terms};
use super::{Policies, weight};

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An authority: acts on the alerts that it published.
    Authority(Arc<str>),
    /// An admin, or the owner of a recording: acts on all alerts.
    Admin(Arc<str>),
}

impl Actor {
    /// The name it acts under.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Authority(name) | Self::Admin(name) => name,
        }
    }
}

/// All alerts ever published. See the module head.
#[derive(Debug)]
pub struct Book {
    policies: Policies,
    /// By number.
    alerts: Vec<Held>,
    by_id: BTreeMap<AlertId, AlertNo>,
    /// What all alerts take of memory, as `weight` says.
    bytes: usize,
    /// The most that they may take.
    bytes_max: usize,
    /// The latest time given so far.
    newest: Option<EventTime>,
}

/// One alert as it stands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) terms: Terms,
    pub(super) growth: Growth,
    pub(super) info: Arc<AlertInfo>,
    /// What it takes of memory without its parts, and what its part 0 does, which goes with its end.
    bytes: usize,
    part_bytes: usize,
    pub(super) owner: Arc<str>,
    pub(super) published: EventTime,
    /// The confirmed sightings: parts 1 and on.
    pub(super) sightings: Vec<Sighting>,
    pub(super) cancelled: Option<Cancelled>,
}

/// A confirmed sighting.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) position: Position,
    pub(super) seen_at: EventTime,
    pub(super) stages: Stages,
}

/// An alert's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cancelled {
    pub(super) at: EventTime,
    pub(super) reason: CancelReason,
}

impl Held {
    pub(super) fn is_active(&self, at: EventTime) -> bool {
        self.cancelled.is_none() && at < self.terms.expires
    }

    pub(super) fn may_act(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Authority(name) => *name == self.owner,
            Actor::Admin(_) => true,
        }
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new(Policies::new())
    }
}

impl Book {
    /// An empty book that knows these named policies.
    pub fn new(policies: Policies) -> Self {
        Self {
            policies,
            alerts: Vec::new(),
            by_id: BTreeMap::new(),
            bytes: 0,
            bytes_max: ALERTS_BYTES_MAX,
            newest: None,
        }
    }

    /// One whose alerts may take so much of memory.
    #[cfg(test)]
    pub(super) fn with_bytes_max(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// The latest time that was given to an accepted action; `BEFORE_ALL` before the first.
    pub fn newest(&self) -> EventTime {
        self.newest.unwrap_or(EventTime::BEFORE_ALL)
    }

    /// Judges an action at the time given to it, which is not before any time given earlier.
    /// An accepted one is entered; what is returned is to be told to all partitions, in the
    /// order of the calls.
    pub fn decide(&mut self, at: EventTime, actor: &Actor, action: Action) -> Result<Told, Rejection> {
        let id = action.id().clone();
        let told = match action {
            Action::Publish(draft) => self.publish(at, actor, *draft),
            Action::Update(draft) => self.update(at, actor, *draft),
            Action::Sighting { id, lat, lon, seen_at } => self.sighting(at, actor, &id, (lat, lon), seen_at),
            Action::Cancel { id, reason } => self.cancel(at, actor, &id, reason),
        };
        match told {
            Ok(told) => {
                self.newest = self.newest.max(Some(at));
                Ok(told)
            }
            Err(reason) => Err(reason.of(&id)),
        }
    }

    /// Part 0 and the mode that publishing `draft` at `at` would start with. The draft is judged
    /// as a publication would be, but takes no id and may have any status.
    pub fn preview(
        &self,
        at: EventTime,
        draft: AlertDraft,
    ) -> Result<(PartSpec<PreparedArea>, Uncertainty), Rejection> {
        let id = draft.id.clone();
        let judged =
            Terms::resolve(draft, at).and_then(|terms| Ok((terms.part(&self.policies)?, terms.uncertainty)));
        judged.map_err(|reason| reason.of(&id))
    }

    /// Decides an action again as it was decided once, with what its policy's name stood for then.
    pub(super) fn decide_again(&mut self, decided: Decided) -> Result<Told, Rejection> {
        // What was taken once is held, whatever is counted now.
        let bytes_max = std::mem::replace(&mut self.bytes_max, usize::MAX);
        let told = self.decide_as_then(decided);
        self.bytes_max = bytes_max;
        told
    }

    fn decide_as_then(&mut self, decided: Decided) -> Result<Told, Rejection> {
        let Decided { at, actor, action, policy, .. } = decided;
        let Some(NamedPolicy { name, stages }) = policy else { return self.decide(at, &actor, action) };
        let configured = self.policies.insert(name.clone(), stages);
        let told = self.decide(at, &actor, action);
        match configured {
            Some(stages) => self.policies.insert(name, stages),
            None => self.policies.remove(&name),
        };
        told
    }

    /// What the name of an alert's policy stands for, where it has a name.
    pub(super) fn named_policy(&self, id: &AlertId) -> Option<NamedPolicy> {
        match &self.find(id)?.1.terms.policy {
            Policy::Named(name) => {
                Some(NamedPolicy { name: name.clone(), stages: self.policies.get(name)?.clone() })
            }
            _ => None,
        }
    }

    fn publish(&mut self, at: EventTime, actor: &Actor, draft: AlertDraft) -> Result<Told, Reason> {
        let id_bytes = draft.id.as_str().len();
        if id_bytes == 0 {
            return Err(Reason::NoId);
        }
        if id_bytes > ALERT_ID_BYTES_MAX {
            return Err(Reason::LongId(id_bytes));
        }
        if let Some((_, held)) = self.find(&draft.id) {
            return Err(Reason::Exists { since: held.published, version: held.info.version });
        }
        if draft.status == Some(Status::Draft) {
            return Err(Reason::Draft);
        }
        if self.alerts.len() >= ALERTS_MAX {
            return Err(Reason::Full);
        }
        let terms = Terms::resolve(draft, at)?;
        let part = terms.part(&self.policies)?;
        let no = AlertNo(u32::try_from(self.alerts.len()).map_err(|_| Reason::Full)?);
        let info = info(no, 1, &terms)?;
        let (bytes, part_bytes) = (weight::of_alert(&terms, &info.json), weight::of_part(&part));
        self.make_room(bytes + part_bytes, 0)?;

        let (uncertainty, expires) = (terms.uncertainty, terms.expires);
        self.by_id.insert(terms.id.clone(), no);
        self.alerts.push(Held {
            growth: Growth::of(&part),
            terms,
            info: Arc::clone(&info),
            bytes,
            part_bytes,
            owner: Arc::clone(actor.name()),
            published: at,
            sightings: Vec::new(),
            cancelled: None,
        });
        Ok(told(at, no, DirectiveKind::Publish { part, uncertainty, expires }, Some(info)))
    }

    fn update(&mut self, at: EventTime, actor: &Actor, draft: AlertDraft) -> Result<Told, Reason> {
        let (no, held) = self.standing(actor, &draft.id)?;
        if let Some(named) = draft.status
            && named != held.terms.status
        {
            return Err(Reason::OtherStatus { held: held.terms.status, named });
        }
        let replaces = draft.area.is_some() || draft.policy.is_some() || draft.lost_at.is_some();
        let terms = Terms::resolve(held.terms.overlaid(draft), at)?;
        let part = if replaces { Some(terms.part(&self.policies)?) } else { None };
        let version = held.info.version.saturating_add(1);
        let info = info(no, version, &terms)?;
        let before = (held.bytes, held.part_bytes);
        let bytes = weight::of_alert(&terms, &info.json);
        let part_bytes = part.as_ref().map_or(before.1, weight::of_part);
        self.make_room(bytes + part_bytes, before.0 + before.1)?;

        let (uncertainty, expires) = (terms.uncertainty, terms.expires);
        let held = &mut self.alerts[no.0 as usize];
        held.terms = terms;
        held.info = Arc::clone(&info);
        (held.bytes, held.part_bytes) = (bytes, part_bytes);
        if let Some(part) = &part {
            held.growth = Growth::of(part);
        }
        Ok(told(at, no, DirectiveKind::Update { version, part, uncertainty, expires }, Some(info)))
    }

    fn sighting(
        &mut self,
        at: EventTime,
        actor: &Actor,
        id: &AlertId,
        (lat, lon): (f64, f64),
        seen_at: Option<EventTime>,
    ) -> Result<Told, Reason> {
        let (no, held) = self.standing(actor, id)?;
        let (position, seen_at) = held.check_sighting(at, (lat, lon), seen_at)?;
        if 1 + held.sightings.len() >= PARTS_MAX {
            return Err(Reason::Parts);
        }
        let stages = held.growth.of_sighting();
        let part = PartSpec {
            area: Arc::new(PreparedArea::circle(position)),
            start: seen_at,
            stages: stages.clone(),
            as_drawn: false,
        };
        // Never refused for its bytes, which its number bounds: the child was seen.
        self.bytes += weight::of_sighting(&part);
        self.alerts[no.0 as usize].sightings.push(Sighting { position, seen_at, stages });
        Ok(told(at, no, DirectiveKind::Sighting { part }, None))
    }

    fn cancel(
        &mut self,
        at: EventTime,
        actor: &Actor,
        id: &AlertId,
        reason: CancelReason,
    ) -> Result<Told, Reason> {
        let (no, _) = self.standing(actor, id)?;
        let held = &mut self.alerts[no.0 as usize];
        held.cancelled = Some(Cancelled { at, reason });
        self.bytes -= std::mem::take(&mut held.part_bytes);
        Ok(told(at, no, DirectiveKind::Cancel, None))
    }

    /// An alert that exists, was not cancelled, and on which the actor may act.
    fn standing(&self, actor: &Actor, id: &AlertId) -> Result<(AlertNo, &Held), Reason> {
        let (no, held) = self.find(id).ok_or(Reason::Unknown)?;
        if !held.may_act(actor) {
            return Err(Reason::NotYours);
        }
        match held.cancelled {
            Some(cancelled) => Err(Reason::Cancelled(cancelled.at)),
            None => Ok((no, held)),
        }
    }

    pub(super) fn find(&self, id: &AlertId) -> Option<(AlertNo, &Held)> {
        let no = *self.by_id.get(id)?;
        Some((no, self.alerts.get(no.0 as usize)?))
    }

    /// What all alerts take of memory, by the desk's account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All alerts in the order of publication.
    pub(super) fn alerts(&self) -> &[Held] {
        &self.alerts
    }

    /// Enters `bytes` for what takes the place of `replaced`, where all alerts together may take so many.
    fn make_room(&mut self, bytes: usize, replaced: usize) -> Result<(), Reason> {
        let all = self.bytes - replaced + bytes;
        if all > self.bytes_max {
            return Err(Reason::FullBytes);
        }
        self.bytes = all;
        Ok(())
    }
}

impl Held {
    /// The rules of a sighting that also an unconfirmed report must meet.
    pub(super) fn check_sighting(
        &self,
        at: EventTime,
        (lat, lon): (f64, f64),
        seen_at: Option<EventTime>,
    ) -> Result<(Position, EventTime), Reason> {
        if let Some(cancelled) = self.cancelled {
            return Err(Reason::Cancelled(cancelled.at));
        }
        if !self.is_active(at) {
            return Err(Reason::NotActive { expires: self.terms.expires });
        }
        let position = Position::from_degrees(lat, lon).map_err(Reason::Position)?;
        let seen_at = seen_at.unwrap_or(at);
        if seen_at > at {
            return Err(Reason::SeenAfter { seen_at, at });
        }
        Ok((position, seen_at))
    }
}

/// The version as subscribers get it.
fn info(no: AlertNo, version: u32, terms: &Terms) -> Result<Arc<AlertInfo>, Reason> {
    let json = alert_to_json(&terms.to_draft()).to_string();
    if json.len() > ALERT_JSON_BYTES_MAX {
        return Err(Reason::Large(json.len()));
    }
    let (id, status) = (terms.id.clone(), terms.status);
    Ok(Arc::new(AlertInfo { no, id, version, status, json: json.into() }))
}

fn told(
    at: EventTime,
    alert: AlertNo,
    kind: DirectiveKind<PreparedArea>,
    info: Option<Arc<AlertInfo>>,
) -> Told {
    Told { order: Arc::new(Directive { at, alert, kind }), info }
}
