//! One alert's life in one place, for every door.
//!
//! QUIC, HTTP and the shell hand an action in with the grant of whoever asks; the desk checks
//! the right, lets the [`Book`] judge, and tells all partitions what was accepted, in one order.
//! It never touches a device and knows no wire format. Invariants: the order in which the book
//! accepts actions is the order in which every partition hears of them; with a journal, nobody hears of
//! an action, or of what rests on it, before it is durable.

mod book;
mod decide;
mod journal;
mod live;
mod rejection;
mod replay;
mod reports;
mod state;
mod stored;
mod terms;
#[cfg(test)]
mod tests;
mod views;
mod weight;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::access::{Grant, Role};
use crate::domain::{Action, AlertDraft, AlertId, CursorAt, EventTime, Stages};
use crate::limits::{ACTIONS_WAITING_MAX, REPORTS_MAX, REPORTS_TOTAL_MAX};
use crate::runtime::{ClockMode, Runtime};
use crate::telemetry::Bound;

pub use book::{Actor, Book};
pub use decide::{DeskCore, MaybeJournal, NumberedTold, Pending};
pub use journal::{
    Decided, Journal, JournalError, JournalView, Mark, NamedPolicy, Need, Record, RecordError, RecoverError,
    Recovered, Recovery, ReportTaken, compacted, worth_compacting,
};
use live::Committer;
pub use live::{JournalFile, LiveJournal, OnCursor, OnFailure, Room};
pub use rejection::{Reason, Rejection};
pub use replay::{RejectedLine, ReplayActions};
pub use reports::ReportNo;
use state::{Levels, State};
pub use stored::{StoredError, StoredJournal};
pub use views::{
    AlertList, AlertSummary, AlertView, LateRejection, NamespacePreview, PartView, Preview, Receipt,
    ReportReceipt, ReportView, StageView,
};

/// The policies that the configuration names.
pub type Policies = BTreeMap<String, Stages>;

/// Why the desk did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeskError {
    /// The alert's life does not allow it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No right to it.
    #[error("\"{name}\" has the role {role}, which may not {what}")]
    NotGranted {
        /// The identity.
        name: String,
        /// Its role.
        role: Role,
        /// What it wanted.
        what: &'static str,
    },
    /// A time on the wall clock.
    #[error("this server runs on the wall clock, which gives each action its time: leave \"at\" out")]
    AtOnWallClock,
    /// No time on the event clock.
    #[error("the event clock has no time yet: give the action an \"at\"")]
    NoTime,
    /// The queue is full.
    #[error(
        "too many actions wait for the event clock (at most {ACTIONS_WAITING_MAX}): stream pings, then try again"
    )]
    WaitingFull,
    /// Too many reports.
    #[error(
        "too many unconfirmed reports wait ({REPORTS_MAX} on one alert, {REPORTS_TOTAL_MAX} on all): confirm or reject some"
    )]
    ReportsFull,
    /// No such report.
    #[error(
        "report {0} does not wait: it was confirmed or rejected, its alert was cancelled, or it never was"
    )]
    NoReport(ReportNo),
    /// The journal does not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The alert desk of a running engine.
pub struct Desk {
    runtime: Runtime,
    /// Without a journal: held from an action's judgement until all partitions were told, which makes
    /// the one order. Taken before `state`, so that nobody who only reads waits for a partition's queue.
    order: Mutex<()>,
    /// One preview at a time: each makes every partition count all its devices.
    preview: Mutex<()>,
    state: Arc<State>,
    /// Tells the partitions in its order.
    committer: Option<Committer>,
}

impl Desk {
    /// A desk without alerts that keeps nothing. On the event clock it becomes the runtime's source of
    /// actions.
    pub fn new(runtime: Runtime, policies: Policies) -> Self {
        let state = Arc::new(State::new(DeskCore::new(policies)));
        if runtime.clock_mode() == ClockMode::Event {
            runtime.set_action_source(Arc::clone(&state) as _);
        }
        observe(&runtime, &state);
        Self { runtime, order: Mutex::new(()), preview: Mutex::new(()), state, committer: None }
    }

    /// A desk on the wall clock that goes on where its journal ends. The orders of `recovered` are the
    /// caller's to tell, before this. `on_failure` is called where the journal fails for good; from
    /// then on nothing is taken and the process has to end. Dropping the desk waits until all that was
    /// taken is durable.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn with_journal(
        runtime: Runtime,
        core: DeskCore,
        cursors: Vec<CursorAt>,
        file: impl JournalFile,
        on_failure: OnFailure,
    ) -> std::io::Result<Self> {
        let state = Arc::new(State::new(core));
        let committer = Committer::start(file, cursors, Arc::clone(&state), runtime.clone(), on_failure)?;
        observe(&runtime, &state);
        let journal = Arc::downgrade(&committer.journal);
        runtime.telemetry().bounds.watch(Bound::JournalWaitingBytes, move || {
            journal.upgrade().map_or(0, |journal| journal.waiting_bytes())
        });
        let committer = Some(committer);
        Ok(Self { runtime, order: Mutex::new(()), preview: Mutex::new(()), state, committer })
    }

    /// The journal, for cursors.
    pub fn journal(&self) -> Option<Arc<LiveJournal>> {
        self.committer.as_ref().map(|committer| Arc::clone(&committer.journal))
    }

    /// Does what is asked, or queues it until the event clock passes its time.
    ///
    /// Blocks while the partitions' queues are full, and until it is durable where there is a journal.
    /// `at` is for the event clock only; without it a publication takes the alert's `sent`, anything
    /// else the clock.
    pub fn act(&self, grant: &Grant, at: Option<EventTime>, action: Action) -> Result<Receipt, DeskError> {
        self.counted(kind_of(&action), || self.carry_out(grant, at, action))
    }

    /// Counts an action that somebody asked for, and how long its answer took.
    fn counted(
        &self,
        kind: &'static str,
        act: impl FnOnce() -> Result<Receipt, DeskError>,
    ) -> Result<Receipt, DeskError> {
        let asked = Instant::now();
        let done = act();
        let result = match &done {
            Ok(receipt) if receipt.queued => "queued",
            Ok(_) => "accepted",
            Err(_) => "rejected",
        };
        let telemetry = self.runtime.telemetry();
        telemetry.actions.count(kind, result);
        if let Err(DeskError::Journal(JournalError::Full)) = done {
            telemetry.storage.refused("alerts");
        }
        if done.is_ok() {
            telemetry.action_told.record(asked.elapsed());
        }
        done
    }

    fn carry_out(&self, grant: &Grant, at: Option<EventTime>, action: Action) -> Result<Receipt, DeskError> {
        let actor = actor(grant)?;
        match self.runtime.clock_mode() {
            ClockMode::Wall => {
                if at.is_some() {
                    return Err(DeskError::AtOnWallClock);
                }
                self.decide(|core, journal, now| core.submit(journal, now, &actor, action))
            }
            ClockMode::Event => {
                let receipt = self.state.queue(self.runtime.now(), at, actor, action)?;
                self.runtime.actions_waiting();
                Ok(receipt)
            }
        }
    }

    /// Takes an unconfirmed sighting of an active alert; it waits for its authority.
    pub fn report_sighting(
        &self,
        grant: &Grant,
        id: &AlertId,
        lat: f64,
        lon: f64,
        seen_at: Option<EventTime>,
    ) -> Result<ReportReceipt, DeskError> {
        granted(grant, grant.may_report(), "report sightings")?;
        let by: Arc<str> = grant.name().into();
        let taken = self.ask(|core, journal, now| core.report(journal, now, by, id, (lat, lon), seen_at))?;
        if let Err(DeskError::Journal(JournalError::Full)) = taken {
            self.runtime.telemetry().storage.refused("reports");
        }
        taken
    }

    /// Confirms a report: it becomes a sighting of its alert, seen when the report says.
    pub fn confirm(
        &self,
        grant: &Grant,
        report: ReportNo,
        at: Option<EventTime>,
    ) -> Result<Receipt, DeskError> {
        let actor = actor(grant)?;
        match self.runtime.clock_mode() {
            ClockMode::Wall if at.is_some() => Err(DeskError::AtOnWallClock),
            ClockMode::Wall => self.counted("confirm", || {
                self.decide(|core, journal, now| core.confirm(journal, now, &actor, report))
            }),
            ClockMode::Event => {
                let taken = self.state.take_report(&actor, report)?;
                let action = taken.to_action();
                self.act(grant, at, action).inspect_err(|_| self.state.put_back(report, taken))
            }
        }
    }

    /// Rejects a report; `reason` goes to the log.
    pub fn reject(&self, grant: &Grant, report: ReportNo, reason: &str) -> Result<(), DeskError> {
        let actor = actor(grant)?;
        let id = self.ask(|core, journal, now| core.reject(journal, now, &actor, report, reason))??;
        tracing::info!(%report, alert = ?id.as_str(), by = grant.name(), reason, "report rejected");
        Ok(())
    }

    /// The newest alerts and what became of late actions.
    pub fn list(&self, grant: &Grant) -> Result<AlertList, DeskError> {
        granted(grant, grant.may_read_alerts(), "list alerts")?;
        let list = self.state.list(self.runtime.now(), &actor(grant)?);
        Ok(self.durable(list)?)
    }

    /// Everything about one alert.
    pub fn show(&self, grant: &Grant, id: &AlertId) -> Result<AlertView, DeskError> {
        granted(grant, grant.may_read_alerts(), "see alerts")?;
        let actor = actor(grant)?;
        Ok(self.ask(|core, _, now| core.show(now, &actor, id))??)
    }

    /// How many devices each stage of `draft` would reach now, in the namespaces granted (an
    /// admin's: all). The draft is judged as a publication would be, but takes no id and may have
    /// any status. Blocks until all partitions have counted.
    pub fn preview(&self, grant: &Grant, draft: AlertDraft) -> Result<Preview, DeskError> {
        granted(grant, grant.may_read_alerts(), "preview alerts")?;
        let now = self.runtime.now();
        let at = match self.runtime.clock_mode() {
            ClockMode::Wall => now,
            ClockMode::Event => now.max(draft.sent.unwrap_or(now)),
        };
        let (part, uncertainty) = self.state.preview(at, draft)?;
        let _turn = lock(&self.preview);
        let counts = self.runtime.preview(&part, uncertainty);
        let names = self.runtime.namespaces().iter().map(|config| &config.name);
        let shown = names
            .zip(counts)
            .filter(|(name, _)| grant.role() == Role::Admin || grant.namespaces().contains(name))
            .map(|(name, counts)| (name.clone(), counts));
        Ok(Preview::new(at, &part, shown))
    }

    /// Asks the desk, and waits until the answer rests on nothing that a crash may undo.
    fn ask<T>(
        &self,
        question: impl FnOnce(&mut DeskCore, MaybeJournal<'_>, EventTime) -> Pending<T>,
    ) -> Result<T, JournalError> {
        let pending = self.put(question);
        self.durable(pending)
    }

    /// Has an action decided, and waits until partitions were told.
    fn decide(
        &self,
        action: impl FnOnce(&mut DeskCore, MaybeJournal<'_>, EventTime) -> Pending<Result<Receipt, DeskError>>,
    ) -> Result<Receipt, DeskError> {
        let Some(committer) = &self.committer else {
            let _order = lock(&self.order);
            let pending = self.put(action);
            let told = self.state.lock().core.durable(pending.after());
            told.iter().for_each(|order| self.runtime.tell(&order.told));
            return pending.waited();
        };
        let pending = self.put(action);
        committer.journal.wait(pending.after(), true)?;
        pending.waited()
    }

    /// Asks under the lock, and waits for nothing. The wall's time is taken under it too, so that
    /// times go up as marks do; the event clock's must not be, since it asks the desk under a lock of
    /// its own.
    fn put<T>(&self, question: impl FnOnce(&mut DeskCore, MaybeJournal<'_>, EventTime) -> T) -> T {
        let event_now = (self.runtime.clock_mode() == ClockMode::Event).then(|| self.runtime.now());
        let mut state = self.state.lock();
        let now = event_now.unwrap_or_else(|| self.runtime.now());
        match &self.committer {
            Some(committer) => question(&mut state.core, Some(&mut &*committer.journal), now),
            None => question(&mut state.core, None, now),
        }
    }

    /// Waits until an answer may be given.
    fn durable<T>(&self, pending: Pending<T>) -> Result<T, JournalError> {
        if let Some(committer) = &self.committer {
            committer.journal.wait(pending.after(), false)?;
        }
        Ok(pending.waited())
    }
}

/// The word for an action, in figures.
fn kind_of(action: &Action) -> &'static str {
    match action {
        Action::Publish(_) => "publish",
        Action::Update(_) => "update",
        Action::Sighting { .. } => "sighting",
        Action::Cancel { .. } => "cancel",
    }
}

/// Shows how full the desk is.
fn observe(runtime: &Runtime, state: &Arc<State>) {
    let bounds = &runtime.telemetry().bounds;
    let watch = |bound, used: fn(&Levels) -> usize| {
        let state = Arc::downgrade(state);
        bounds.watch(bound, move || state.upgrade().map_or(0, |state| used(&state.levels()) as u64));
    };
    watch(Bound::Alerts, |levels| levels.alerts);
    watch(Bound::AlertBytes, |levels| levels.alert_bytes);
    watch(Bound::ActionsWaiting, |levels| levels.waiting);
    watch(Bound::ActionsWaitingBytes, |levels| levels.waiting_bytes);
    watch(Bound::Rejections, |levels| levels.rejections);
    watch(Bound::Reports, |levels| levels.reports);
    watch(Bound::AlertReports, |levels| levels.alert_reports);
    let (asked, weak) = (Arc::downgrade(state), runtime.downgrade());
    bounds.watch_alerts_active(move || {
        let (Some(state), Some(runtime)) = (asked.upgrade(), weak.upgrade()) else { return 0 };
        state.active(runtime.now()) as u64
    });
}

fn granted(grant: &Grant, may: bool, what: &'static str) -> Result<(), DeskError> {
    if may {
        return Ok(());
    }
    Err(DeskError::NotGranted { name: grant.name().into(), role: grant.role(), what })
}

/// Who acts under this grant.
fn actor(grant: &Grant) -> Result<Actor, DeskError> {
    granted(grant, grant.may_act(), "act on alerts")?;
    let name = grant.name().into();
    Ok(if grant.may_act_for_others() { Actor::Admin(name) } else { Actor::Authority(name) })
}

/// Locks; what a panicking holder left is whole, because the book enters an action last.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
