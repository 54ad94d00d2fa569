//! What an alert says at one version, with everything resolved; how a draft becomes that, and
//! how an update is laid over it.

use crate::domain::{
    AlertContent, AlertDraft, AlertId, Area, EventTime, PartSpec, Policy, PolicyError, Stages, Status,
    Uncertainty,
};
use crate::geo::PreparedArea;

use super::Policies;
use super::rejection::Reason;

/// Radius of a sighting under the policy `fixed`, km (the rules' value).
const FIXED_SIGHTING_KM: f64 = 10.0;
/// How much of an unknown policy's name a message repeats.
const NAME_SHOWN_CHARS: usize = 64;

/// An alert's words at one version. `lost_at` was resolved at publication: a later `sent` does
/// not move it.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) id: AlertId,
    pub(super) status: Status,
    pub(super) sent: EventTime,
    pub(super) lost_at: EventTime,
    pub(super) expires: EventTime,
    pub(super) area: Area,
    pub(super) policy: Policy,
    pub(super) uncertainty: Uncertainty,
    pub(super) content: AlertContent,
}

/// How parts grow.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    pub(super) stages: Stages,
    /// The policy is `fixed`.
    pub(super) as_drawn: bool,
}

impl Terms {
    /// Resolves a draft at `at`: the rules of a publication on times, and that an area is there.
    /// Whether area and policy are possible shows when the part is made.
    pub(super) fn resolve(draft: AlertDraft, at: EventTime) -> Result<Self, Reason> {
        let expires = draft.expires.ok_or(Reason::NoExpires)?;
        if expires <= at {
            return Err(Reason::ExpiresNotAfter { expires, at });
        }
        let sent = draft.sent.unwrap_or(at);
        let lost_at = draft.lost_at.unwrap_or(sent);
        if lost_at > at {
            return Err(Reason::LostAfter { lost_at, at });
        }
        let area = draft.area.ok_or(Reason::NoArea)?.map_err(Reason::Position)?;
        let mut content = draft.content;
        content.retain(|_, value| !value.is_null());
        Ok(Self {
            id: draft.id,
            status: draft.status.unwrap_or(Status::Actual),
            sent,
            lost_at,
            expires,
            area,
            policy: draft.policy.unwrap_or(Policy::Tuanyuan),
            uncertainty: draft.uncertainty.unwrap_or_default(),
            content,
        })
    }

    /// These terms with everything that `update` gives laid over them; content member by member.
    pub(super) fn overlaid(&self, update: AlertDraft) -> AlertDraft {
        let held = self.to_draft();
        let mut content = held.content;
        content.extend(update.content.into_iter().filter(|(_, value)| !value.is_null()));
        AlertDraft {
            id: held.id,
            status: held.status,
            sent: update.sent.or(held.sent),
            lost_at: update.lost_at.or(held.lost_at),
            expires: update.expires.or(held.expires),
            area: update.area.or(held.area),
            policy: update.policy.or(held.policy),
            uncertainty: update.uncertainty.or(held.uncertainty),
            content,
        }
    }

    /// The terms as a draft that gives everything.
    pub(super) fn to_draft(&self) -> AlertDraft {
        AlertDraft {
            id: self.id.clone(),
            status: Some(self.status),
            sent: Some(self.sent),
            lost_at: Some(self.lost_at),
            expires: Some(self.expires),
            area: Some(Ok(self.area.clone())),
            policy: Some(self.policy.clone()),
            uncertainty: Some(self.uncertainty),
            content: self.content.clone(),
        }
    }

    /// Part 0 of these terms.
    pub(super) fn part(&self, policies: &Policies) -> Result<PartSpec<PreparedArea>, Reason> {
        let area = PreparedArea::new(&self.area).map_err(Reason::Area)?;
        let as_drawn = self.policy == Policy::Fixed;
        let stages = if as_drawn {
            area.check_drawn().map_err(Reason::Area)?;
            Stages::fixed(area.drawn_radius_km())
        } else {
            stages_of(&self.policy, policies).map_err(Reason::Policy)?
        };
        Ok(PartSpec { area: area.into(), start: self.lost_at, stages, as_drawn })
    }
}

impl Growth {
    pub(super) fn of(part: &PartSpec<PreparedArea>) -> Self {
        Self { stages: part.stages.clone(), as_drawn: part.as_drawn }
    }

    /// The stages of a sighting that is confirmed while this growth is in force.
    pub(super) fn of_sighting(&self) -> Stages {
        if self.as_drawn { Stages::fixed(FIXED_SIGHTING_KM) } else { self.stages.clone() }
    }
}

/// The stages of a policy that has some (`fixed` has none without its area).
fn stages_of(policy: &Policy, policies: &Policies) -> Result<Stages, PolicyError> {
    match policy {
        Policy::Tuanyuan => Ok(Stages::tuanyuan()),
        Policy::Fixed => Err(PolicyError::Empty),
        Policy::Growth { speed_kmh, every_ms, start_km, max_km } => {
            Stages::growth(*speed_kmh, *every_ms, *start_km, *max_km)
        }
        Policy::Stages(specs) => Stages::new(specs),
        Policy::Named(name) => match policies.get(name) {
            Some(stages) => Ok(stages.clone()),
            None => Err(PolicyError::Unknown(name.chars().take(NAME_SHOWN_CHARS).collect())),
        },
    }
}
