//! What the desk remembers behind its lock: its core, and actions that wait for the event clock.
//! It knows the runtime only as the one who asks for waiting actions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::domain::{Action, AlertDraft, EventTime, PartSpec, Uncertainty};
use crate::geo::PreparedArea;
use crate::limits::{ACTIONS_WAITING_BYTES_MAX, ACTIONS_WAITING_MAX, LIST_MAX, REJECTIONS_KEPT};
use crate::runtime::{ActionSource, Told};

use super::book::Actor;
use super::decide::{DeskCore, Pending};
use super::rejection::{Reason, Rejection};
use super::reports::{Report, ReportNo};
use super::views::{AlertList, AlertSummary, LateRejection, Receipt};
use super::{DeskError, lock, weight};

pub(super) struct State(Mutex<Inner>);

/// See the module head.
pub(super) struct Inner {
    pub(super) core: DeskCore,
    /// By time, then arrival.
    waiting: BTreeMap<(EventTime, u64), Waiting>,
    waiting_bytes: usize,
    arrivals: u64,
    rejections: VecDeque<(Arc<str>, LateRejection)>,
}

/// How full the desk is. Counts and bytes as in `limits`.
pub(super) struct Levels {
    pub(super) alerts: usize,
    pub(super) alert_bytes: usize,
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
    pub(super) rejections: usize,
    pub(super) reports: usize,
    pub(super) alert_reports: usize,
}

struct Waiting {
    actor: Actor,
    action: Action,
    bytes: usize,
}

impl State {
    pub(super) fn new(core: DeskCore) -> Self {
        Self(Mutex::new(Inner {
            core,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            arrivals: 0,
            rejections: VecDeque::new(),
        }))
    }

    pub(super) fn levels(&self) -> Levels {
        let inner = lock(&self.0);
        let (book, reports) = (inner.core.book(), inner.core.reports());
        Levels {
            alerts: book.alerts().len(),
            alert_bytes: book.bytes(),
            waiting: inner.waiting.len(),
            waiting_bytes: inner.waiting_bytes,
            rejections: inner.rejections.len(),
            reports: reports.all().len(),
            alert_reports: reports.most_of_an_alert(),
        }
    }

    /// How many alerts are active.
    pub(super) fn active(&self, now: EventTime) -> usize {
        lock(&self.0).core.book().alerts().iter().filter(|held| held.is_active(now)).count()
    }

    /// For a moment: whoever holds it must wait for nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// Event clock: queues until the clock passes the action's time.
    pub(super) fn queue(
        &self,
        now: EventTime,
        at: Option<EventTime>,
        actor: Actor,
        action: Action,
    ) -> Result<Receipt, DeskError> {
        let sent = if let Action::Publish(draft) = &action { draft.sent } else { None };
        let at = at.or(sent).unwrap_or(now);
        if at == EventTime::BEFORE_ALL {
            return Err(DeskError::NoTime);
        }
        let id = action.id().clone();
        let bytes = rough_bytes(&action);
        let mut inner = lock(&self.0);
        // An owner never changes, so this much can be said at once.
        if inner.core.book().find(&id).is_some_and(|(_, held)| !held.may_act(&actor))
            && !matches!(action, Action::Publish(_))
        {
            return Err(Reason::NotYours.of(&id).into());
        }
        if inner.waiting.len() >= ACTIONS_WAITING_MAX
            || inner.waiting_bytes.saturating_add(bytes) > ACTIONS_WAITING_BYTES_MAX
        {
            return Err(DeskError::WaitingFull);
        }
        let key = (at, inner.arrivals);
        inner.arrivals += 1;
        inner.waiting_bytes += bytes;
        inner.waiting.insert(key, Waiting { actor, action, bytes });
        Ok(Receipt { id: id.to_string(), version: 0, at, queued: true })
    }

    /// Event clock: takes a report out for whoever may act on its alert.
    pub(super) fn take_report(&self, actor: &Actor, no: ReportNo) -> Result<Report, DeskError> {
        let mut inner = lock(&self.0);
        inner.core.report_of(actor, no)?;
        inner.core.reports_mut().take(no).ok_or(DeskError::NoReport(no))
    }

    /// Returns a report whose confirmation was refused, unless its alert has ended.
    pub(super) fn put_back(&self, no: ReportNo, report: Report) {
        let mut inner = lock(&self.0);
        if inner.core.book().find(&report.id).is_some_and(|(_, held)| held.cancelled.is_none()) {
            inner.core.reports_mut().put_back(no, report);
        }
    }

    pub(super) fn list(&self, now: EventTime, actor: &Actor) -> Pending<AlertList> {
        let inner = lock(&self.0);
        let book = inner.core.book();
        let alerts = book.alerts().iter().rev().take(LIST_MAX);
        inner.core.pending(AlertList {
            alerts: alerts.map(|held| AlertSummary::new(held, now)).collect(),
            total: book.alerts().len(),
            waiting: inner.waiting.len(),
            rejections: inner
                .rejections
                .iter()
                .filter(|(by, _)| matches!(actor, Actor::Admin(_)) || by == actor.name())
                .map(|(_, rejection)| rejection.clone())
                .collect(),
        })
    }

    pub(super) fn preview(
        &self,
        at: EventTime,
        draft: AlertDraft,
    ) -> Result<(PartSpec<PreparedArea>, Uncertainty), Rejection> {
        lock(&self.0).core.book().preview(at, draft)
    }
}

impl ActionSource for State {
    fn next_at(&self) -> Option<EventTime> {
        lock(&self.0).waiting.first_key_value().map(|((at, _), _)| *at)
    }

    fn decide_next(&self, clock: EventTime) -> Option<Told> {
        let mut inner = lock(&self.0);
        let ((at, _), Waiting { actor, action, bytes }) = inner.waiting.pop_first()?;
        inner.waiting_bytes -= bytes;
        let at = at.max(clock);
        match inner.core.decide(at, &actor, action) {
            Ok(told) => Some(told),
            Err(rejection) => {
                tracing::warn!(%at, by = %actor.name(), "a queued action was rejected: {rejection}");
                if inner.rejections.len() >= REJECTIONS_KEPT {
                    inner.rejections.pop_front();
                }
                let late = LateRejection { id: rejection.id.to_string(), at, reason: rejection.to_string() };
                inner.rejections.push_back((Arc::clone(actor.name()), late));
                None
            }
        }
    }
}

/// About how much memory a waiting action takes.
fn rough_bytes(action: &Action) -> usize {
    let (Action::Publish(draft) | Action::Update(draft)) = action else {
        return size_of::<Action>();
    };
    size_of::<Action>() + weight::of_draft(draft)
}
