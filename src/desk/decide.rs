//! The desk without threads, clocks or a disk: what is decided, what waits for the journal, and what
//! partitions may be told.
//!
//! An action is judged by the [`Book`] and appended to the [`Journal`]; its answer is [`Pending`]
//! until the journal is durable up to it, and so is every answer that rests on what was decided
//! before, a rejection or a list too: nobody learns of what a crash may undo. Whoever drives the
//! journal calls [`DeskCore::durable`] and gets, in the one order, what partitions are to be told.
//! Many actions may wait for the same sync. Without a journal nothing waits.
//!
//! Invariants: an action is in the book exactly where it was appended; what is told is durable, once,
//! in the order of the journal.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::{Action, AlertId, CursorAt, EventTime};
use crate::limits::{JOURNAL_POLICY_BYTES_MAX, REPORT_REASON_BYTES_MAX};
use crate::planted::{self, Defect};
use crate::runtime::Told;

use super::book::{Actor, Book};
use super::journal::{
    Decided, Journal, JournalError, JournalView, Mark, Need, Record, RecordError, RecoverError, ReportTaken,
    cost,
};
use super::rejection::{Reason, Rejection};
use super::reports::{Report, ReportNo, Reports};
use super::views::{AlertView, Receipt, ReportReceipt};
use super::{DeskError, Policies};

/// An answer that may be given once the journal is durable up to a mark.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Pending<T> {
    after: Mark,
    answer: T,
}

impl<T> Pending<T> {
    /// The mark that it waits for.
    pub fn after(&self) -> Mark {
        self.after
    }

    /// The answer, where the journal is durable up to `durable`.
    ///
    /// # Errors
    /// Gives itself back where it is not.
    pub fn ready(self, durable: Mark) -> Result<T, Self> {
        if self.after <= durable { Ok(self.answer) } else { Err(self) }
    }

    /// The answer, for who has waited.
    pub(super) fn waited(self) -> T {
        self.answer
    }
}

/// An order to all partitions with its number: actions are numbered from 0, without gaps, for good.
#[derive(Clone, Debug)]
pub struct NumberedTold {
    /// The action's number.
    pub no: u64,
    /// The order, which has the action's time.
    pub told: Told,
}

/// What an action's answer is.
type Answer = Result<Receipt, DeskError>;

/// The desk without threads. See the module head.
#[derive(Debug, Default)]
pub struct DeskCore {
    book: Book,
    reports: Reports,
    /// The number of the next action.
    next_action: u64,
    /// After the last record appended.
    appended: Mark,
    durable: Mark,
    /// What partitions were not told, with the mark that it waits for.
    untold: VecDeque<(Mark, NumberedTold)>,
    /// What all actions take in the journal.
    action_bytes: u64,
}

/// A reference to a journal, or none.
pub type MaybeJournal<'a> = Option<&'a mut dyn Journal>;

impl DeskCore {
    /// A desk without alerts.
    pub fn new(policies: Policies) -> Self {
        Self { book: Book::new(policies), ..Self::default() }
    }

    /// Judges an action at `now`, or at the time of the action before it if the clock was set back.
    pub fn submit(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        actor: &Actor,
        action: Action,
    ) -> Pending<Answer> {
        let answer = self.enter(journal, now, actor, action, None);
        self.pending(answer)
    }

    /// Confirms a report: it becomes a sighting of its alert, seen when the report says. A report
    /// whose sighting is rejected waits on.
    pub fn confirm(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        actor: &Actor,
        report: ReportNo,
    ) -> Pending<Answer> {
        let answer = self
            .report_of(actor, report)
            .map(Report::to_action)
            .and_then(|action| self.enter(journal, now, actor, action, Some(report)));
        self.pending(answer)
    }

    /// Takes an unconfirmed sighting of an active alert.
    pub fn report(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        by: Arc<str>,
        id: &AlertId,
        place: (f64, f64),
        seen_at: Option<EventTime>,
    ) -> Pending<Result<ReportReceipt, DeskError>> {
        let before = self.durable;
        let answer = self.enter_report(journal, now, by, id, place, seen_at);
        match planted::on(Defect::ReportToldBeforeDurable) {
            true => Pending { after: before, answer },
            false => self.pending(answer),
        }
    }

    /// Rejects a report. Gives the alert that it was of.
    pub fn reject(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        actor: &Actor,
        report: ReportNo,
        reason: &str,
    ) -> Pending<Result<AlertId, DeskError>> {
        let answer = self.enter_end(journal, now, actor, report, reason);
        self.pending(answer)
    }

    /// Everything about one alert.
    pub fn show(&self, now: EventTime, actor: &Actor, id: &AlertId) -> Pending<Result<AlertView, Rejection>> {
        let view = self.book.find(id).ok_or_else(|| Reason::Unknown.of(id)).map(|(_, held)| {
            let reports = self.reports.of(id).filter(|_| held.may_act(actor));
            AlertView::new(held, now, reports)
        });
        self.pending(view)
    }

    /// All alerts as they stand, and what else may be read off them.
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// The reports that wait.
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The journal is durable up to `upto`: what partitions are now to be told, in order. Answers
    /// up to there are [ready](Pending::ready).
    pub fn durable(&mut self, upto: Mark) -> Vec<NumberedTold> {
        let upto = if planted::on(Defect::ToldBeforeDurable) { self.appended } else { upto };
        self.durable = self.durable.max(upto.min(self.appended));
        let due = self.untold.partition_point(|(after, _)| *after <= self.durable);
        self.untold.drain(..due).map(|(_, told)| told).collect()
    }

    /// The mark after the last record appended.
    pub fn appended(&self) -> Mark {
        self.appended
    }

    /// The number that the next action will get.
    pub fn next_action(&self) -> u64 {
        self.next_action
    }

    /// What of the journal still counts beside cursors, bytes.
    pub fn journal_bytes(&self) -> u64 {
        self.action_bytes + self.reports.all().len() as u64 * cost(2 * size_of::<Report>())
    }

    /// What a compacted journal holds beside the actions, as of [`appended`](Self::appended).
    pub fn view(&self, cursors: Vec<CursorAt>) -> JournalView {
        JournalView {
            next_report: self.reports.next(),
            reports: self.reports.all().map(|(no, report)| report.taken(no)).collect(),
            cursors,
        }
    }

    /// On the event clock, which has no journal: judges a waiting action at its time.
    pub(super) fn decide(&mut self, at: EventTime, actor: &Actor, action: Action) -> Result<Told, Rejection> {
        let ends = if let Action::Cancel { id, .. } = &action { Some(id.clone()) } else { None };
        let told = self.book.decide(at, actor, action)?;
        if let Some(id) = ends
            && !planted::on(Defect::CancelKeepsReports)
        {
            self.reports.forget(&id);
        }
        self.next_action += 1;
        Ok(told)
    }

    /// A report that `actor` may confirm or reject.
    pub(super) fn report_of(&self, actor: &Actor, no: ReportNo) -> Result<&Report, DeskError> {
        let report = self.reports.get(no).ok_or(DeskError::NoReport(no))?;
        if !self.book.find(&report.id).is_some_and(|(_, held)| held.may_act(actor)) {
            return Err(Reason::NotYours.of(&report.id).into());
        }
        Ok(report)
    }

    /// Takes a report out, and puts it back: on the event clock its confirmation waits in between.
    pub(super) fn reports_mut(&mut self) -> &mut Reports {
        &mut self.reports
    }

    /// An answer that rests on all that was decided so far.
    pub(super) fn pending<T>(&self, answer: T) -> Pending<T> {
        Pending { after: self.appended, answer }
    }

    fn enter(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        actor: &Actor,
        action: Action,
        report: Option<ReportNo>,
    ) -> Answer {
        let at = if planted::on(Defect::DecidesInThePast) { now } else { now.max(self.book.newest()) };
        let (id, no) = (action.id().clone(), self.next_action);
        let Some(journal) = journal else {
            let told = self.decide(at, actor, action)?;
            return Ok(self.entered(no, told, &id, at, report));
        };
        let need = if let Action::Publish(_) = action { Need::New } else { Need::Standing };
        let actor = actor.clone();
        let mut decided = Decided { no, at, actor, action, policy: None, report };
        // Written before it is judged, because what is in the book must be in the journal.
        let (kind, mut payload) = match decided.encode() {
            Ok(written) => written,
            Err(why) => return Err(unwritable(&decided.action, why)),
        };
        journal.admit(need, payload.len() + JOURNAL_POLICY_BYTES_MAX)?;
        let told = self.decide(at, &decided.actor, decided.action.clone())?;
        decided.policy = self.book.named_policy(&id);
        if decided.policy.is_some()
            && let Ok((_, with_policy)) = decided.encode()
        {
            payload = with_policy;
        }
        self.action_bytes += cost(payload.len());
        self.append(journal, kind, payload);
        Ok(self.entered(no, told, &id, at, report))
    }

    fn entered(
        &mut self,
        no: u64,
        told: Told,
        id: &AlertId,
        at: EventTime,
        report: Option<ReportNo>,
    ) -> Receipt {
        if let Some(report) = report
            && !planted::on(Defect::DecidedReportStays)
        {
            self.reports.take(report);
        }
        self.untold.push_back((self.appended, NumberedTold { no, told }));
        let version = self.book.find(id).map_or(0, |(_, held)| held.info.version);
        Receipt { id: id.to_string(), version, at, queued: false }
    }

    fn enter_report(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        by: Arc<str>,
        id: &AlertId,
        place: (f64, f64),
        seen_at: Option<EventTime>,
    ) -> Result<ReportReceipt, DeskError> {
        let (_, held) = self.book.find(id).ok_or_else(|| Reason::Unknown.of(id))?;
        let (position, seen_at) = held.check_sighting(now, place, seen_at).map_err(|why| why.of(id))?;
        if !self.reports.has_room(id) {
            return Err(DeskError::ReportsFull);
        }
        let report = Report { id: id.clone(), position, seen_at, by };
        self.put(journal, Need::New, &Record::Report(report.taken(self.reports.next())))?;
        let no = self.reports.add(report);
        Ok(ReportReceipt { report: no, id: id.to_string(), seen_at })
    }

    fn enter_end(
        &mut self,
        journal: MaybeJournal<'_>,
        now: EventTime,
        actor: &Actor,
        report: ReportNo,
        reason: &str,
    ) -> Result<AlertId, DeskError> {
        let id = self.report_of(actor, report)?.id.clone();
        let (by, reason) = (Arc::clone(actor.name()), shortened(reason).into());
        self.put(journal, Need::Standing, &Record::ReportEnd { report, by, reason, at: now })?;
        self.reports.take(report);
        Ok(id)
    }

    /// Appends a record that is no action.
    fn put(&mut self, journal: MaybeJournal<'_>, need: Need, record: &Record) -> Result<(), JournalError> {
        let Some(journal) = journal else { return Ok(()) };
        let (kind, payload) = record.encode()?;
        journal.admit(need, payload.len())?;
        self.append(journal, kind, payload);
        Ok(())
    }

    fn append(&mut self, journal: &mut dyn Journal, kind: u8, payload: Vec<u8>) {
        self.appended.0 += 1;
        journal.append(self.appended, kind, payload);
    }
}

impl DeskCore {
    /// Takes a record of a journal that is read back; `bytes` is what its payload has. Gives the order
    /// of an action, decided again. A cursor is not the desk's, and a new desk has nothing appended.
    pub(super) fn recover(
        &mut self,
        record: Record,
        bytes: usize,
    ) -> Result<Option<NumberedTold>, RecoverError> {
        match record {
            Record::Action(decided) => {
                let (no, at, report) = (decided.no, decided.at, decided.report);
                if no != self.next_action {
                    return Err(RecoverError::Number { found: no, due: self.next_action });
                }
                if at < self.book.newest() {
                    return Err(RecoverError::Back { no, at, newest: self.book.newest() });
                }
                let ends =
                    matches!(decided.action, Action::Cancel { .. }).then(|| decided.action.id().clone());
                let told =
                    self.book.decide_again(*decided).map_err(|why| RecoverError::Rejected { no, why })?;
                if let Some(id) = ends {
                    self.reports.forget(&id);
                }
                if let Some(report) = report
                    && !planted::on(Defect::ConfirmedReportComesBack)
                {
                    self.reports.take(report);
                }
                self.next_action += 1;
                self.action_bytes += cost(bytes);
                return Ok(Some(NumberedTold { no, told }));
            }
            Record::Report(taken) => {
                let standing = self.book.find(&taken.id).is_some_and(|(_, held)| held.cancelled.is_none());
                if !standing || !self.reports.has_room(&taken.id) {
                    return Err(RecoverError::Report(taken.report));
                }
                if planted::on(Defect::RecoveryForgetsReport) {
                    self.reports.skip_to(ReportNo(taken.report.0 + 1));
                    return Ok(None);
                }
                let ReportTaken { report, id, position, seen_at, by } = taken;
                self.reports.recover(report, Report { id, position, seen_at, by });
            }
            Record::ReportEnd { report, .. } => {
                self.reports.take(report).ok_or(RecoverError::Report(report))?;
            }
            Record::NextReport(next) => self.reports.skip_to(next),
            Record::Cursor(_) => {}
        }
        Ok(None)
    }
}

/// Why an action cannot be written: its area, or else its size.
fn unwritable(action: &Action, why: RecordError) -> DeskError {
    if let Action::Publish(draft) | Action::Update(draft) = action
        && let Some(Err(position)) = draft.area
    {
        return Reason::Position(position).of(action.id()).into();
    }
    JournalError::from(why).into()
}

fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REPORT_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
