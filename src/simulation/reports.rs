//! Sightings that partners report and authorities confirm or reject, with a model of its own of what the desk must
//! hold, which shares nothing with it: a list of what happened, in order, and what it leaves waiting.
//!
//! A crash may take the end of that list and nothing else of it, and of the list nothing that somebody's answer
//! rested on: then what came back is what one of its beginnings leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::actors::actor;
use super::acts::{Act, MINUTE, alert_id};
use super::dice::Situation as S;
use super::places::{CENTRES, places};
use super::server::Waiting;
use super::world::{Message, Wish, World};
use crate::desk::{
    DeskError, JournalError, JournalView, Mark, Pending, Receipt, ReportNo, ReportReceipt, ReportTaken,
};
use crate::domain::{AlertId, EventTime, Position};

/// Most that wait of an alert, and of all: the worlds' desks are told so.
pub(super) const OF_ALERT: usize = 3;
pub(super) const OF_ALL: usize = 5;
/// An alert that there never is.
const NO_ALERT: u32 = 900;

/// What a partner reports.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    alert: u32,
    centre: usize,
    seen_at: Option<i64>,
}

/// A report that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Report {
    no: u64,
    alert: u32,
    centre: usize,
    seen_at: i64,
    partner: usize,
}

impl Report {
    /// As the real desk gives it back.
    fn is(&self, taken: &ReportTaken) -> bool {
        let (lat, lon) = places().centres[self.centre];
        taken.report == ReportNo(self.no)
            && taken.id == alert_id(self.alert)
            && Some(taken.position) == Position::from_degrees(lat, lon).ok()
            && taken.seen_at.0 == self.seen_at
            && *taken.by == *format!("partner-{}", self.partner)
    }
}

/// What the desk took, in its order.
#[derive(Clone, Copy, Debug)]
enum Event {
    Action { cancels: Option<u32>, confirms: Option<u64> },
    Taken(Report),
    Rejected(u64),
}

/// What should wait.
#[derive(Clone, Debug, Default)]
struct Inbox {
    waiting: Vec<Report>,
    /// The number of the next report.
    next: u64,
}

impl Inbox {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Action { cancels, confirms } => {
                self.waiting.retain(|one| Some(one.alert) != cancels && Some(one.no) != confirms);
            }
            Event::Taken(report) => {
                self.next = report.no + 1;
                self.waiting.push(report);
            }
            Event::Rejected(no) => self.waiting.retain(|one| one.no != no),
        }
    }

    fn get(&self, no: u64) -> Option<Report> {
        self.waiting.iter().find(|one| one.no == no).copied()
    }

    fn of(&self, alert: u32) -> impl Iterator<Item = &Report> {
        self.waiting.iter().filter(move |one| one.alert == alert)
    }

    fn has_room(&self, alert: u32) -> bool {
        self.waiting.len() < OF_ALL && self.of(alert).count() < OF_ALERT
    }

    /// Whether the desk holds the same.
    fn is(&self, view: &JournalView) -> bool {
        view.next_report == ReportNo(self.next)
            && view.reports.len() == self.waiting.len()
            && self.waiting.iter().zip(&view.reports).all(|(mine, taken)| mine.is(taken))
    }
}

/// All reports of a world.
#[derive(Default)]
pub(super) struct Reports {
    events: Vec<Event>,
    inbox: Inbox,
    /// So many events must outlive everything: an answer that was given rests on them.
    sure: usize,
    /// Numbers that somebody was told, and of what.
    told: BTreeMap<u64, Report>,
    /// What each partner asks, until it is answered.
    asking: BTreeMap<usize, (u64, Rc<Sight>)>,
    /// Alerts, by their number, and times at which a report became a sighting.
    sightings: BTreeSet<(u32, i64)>,
}

impl Reports {
    /// How many events there are: what an answer given now rests on.
    pub(super) fn ground(&self) -> usize {
        self.events.len()
    }

    /// An answer that rests on so many events was given.
    pub(super) fn rests_on(&mut self, ground: usize) {
        self.sure = self.sure.max(ground);
    }

    fn happens(&mut self, event: Event) {
        self.events.push(event);
        self.inbox.apply(event);
    }

    /// An action was accepted; says whether reports end with it.
    pub(super) fn acted(&mut self, act: &Act) -> bool {
        let cancels = if let Act::Cancel { id } = act { Some(*id) } else { None };
        let ends = cancels.is_some_and(|id| self.inbox.of(id).next().is_some());
        self.happens(Event::Action { cancels, confirms: None });
        ends
    }

    /// Whether a match of a sighting is one of a report's.
    pub(super) fn extended(&self, alert: u32, at: i64) -> bool {
        self.sightings.contains(&(alert, at))
    }

    pub(super) fn wait(&self) -> bool {
        !self.inbox.waiting.is_empty()
    }

    /// Whether some have ended.
    pub(super) fn ended(&self) -> bool {
        self.inbox.next > self.inbox.waiting.len() as u64
    }
}

/// An answer that waits for the journal.
pub(super) enum Held {
    Act(Pending<Result<Receipt, DeskError>>),
    Taken(Pending<Result<ReportReceipt, DeskError>>),
    End(Pending<Result<AlertId, DeskError>>),
}

impl Held {
    /// Whether it may be given.
    pub(super) fn ready(self, mark: Mark) -> Result<(), Self> {
        match self {
            Self::Act(pending) => pending.ready(mark).map(drop).map_err(Self::Act),
            Self::Taken(pending) => pending.ready(mark).map(drop).map_err(Self::Taken),
            Self::End(pending) => pending.ready(mark).map(drop).map_err(Self::End),
        }
    }
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Authority(usize),
    Partner(usize),
}

fn is_full<T>(answer: &Result<Result<T, DeskError>, Pending<Result<T, DeskError>>>) -> bool {
    matches!(answer, Ok(Err(DeskError::Journal(JournalError::Full))))
}

impl World {
    /// A partner reports something, or asks again.
    pub(super) fn report_step(&mut self) {
        let nth = self.dice.below(self.partners.len());
        if self.reports.asking.contains_key(&nth) {
            if self.dice.one_in(3) {
                self.report_again(nth);
            }
            return;
        }
        // Mostly on what there is.
        let (ids, now) = (self.ids as usize, self.server.now());
        let mut alert = self.dice.below(ids) as u32;
        for _ in 0..3 {
            if !self.desk.may_be_seen(alert, now) {
                alert = self.dice.below(ids) as u32;
            }
        }
        let alert = if self.dice.one_in(30) { NO_ALERT } else { alert };
        let now = self.time + self.off;
        let seen_at = self.dice.one_in(2).then(|| now - self.dice.range(-MINUTE, 30 * MINUTE));
        let sight = Rc::new(Sight { alert, centre: self.dice.below(CENTRES), seen_at });
        let request = self.serial();
        self.reports.asking.insert(nth, (request, Rc::clone(&sight)));
        self.net.push(Message::Report { partner: nth, request, sight });
    }

    fn report_again(&mut self, nth: usize) {
        let Some((request, sight)) = self.reports.asking.get(&nth).cloned() else { return };
        self.hit(S::ReportResent);
        self.net.push(Message::Report { partner: nth, request, sight });
    }

    /// In the end: whether a partner has no answer yet; where none is on its way, it asks again.
    pub(super) fn report_retry(&mut self, nth: usize) -> bool {
        let asking = self.reports.asking.contains_key(&nth);
        let on_the_way = self.net.iter().any(|message| match message {
            Message::Report { partner, .. } | Message::Reported { partner, .. } => *partner == nth,
            _ => false,
        });
        let waits = |one: &Waiting| matches!(one.asker, Asker::Partner(partner) if partner == nth);
        if asking && !on_the_way && !self.server.waiting.iter().any(waits) {
            self.report_again(nth);
        }
        asking
    }

    /// What an authority makes of a report: of one that waits, mostly.
    pub(super) fn wish_of_report(&mut self) -> Option<Wish> {
        let waiting = &self.reports.inbox.waiting;
        let no = match waiting.len() {
            0 if self.dice.one_in(20) => self.dice.below(self.reports.inbox.next as usize + 2) as u64,
            0 => return None,
            _ if self.dice.one_in(8) => self.dice.below(self.reports.inbox.next as usize + 2) as u64,
            count => waiting[self.dice.below(count)].no,
        };
        Some(if self.dice.one_in(3) { Wish::Reject(no) } else { Wish::Confirm(no) })
    }

    /// A report reaches the desk.
    pub(super) fn report_arrives(&mut self, partner: usize, request: u64, sight: &Rc<Sight>) {
        let now = self.server.now();
        let Sight { alert, centre, seen_at } = **sight;
        let fits = self.desk.may_be_seen(alert, now) && seen_at.is_none_or(|seen| seen <= now);
        let room = self.reports.inbox.has_room(alert);
        let by: std::sync::Arc<str> = format!("partner-{partner}").into();
        let server = &mut self.server;
        let pending = server.desk.report(
            Some(&mut server.files),
            EventTime(now),
            by,
            &alert_id(alert),
            places().centres[centre],
            seen_at.map(EventTime),
        );
        let answer = pending.clone().ready(Mark(u64::MAX));
        let mut number = None;
        match &answer {
            Ok(Ok(receipt)) if fits && room => {
                let seen_at = seen_at.unwrap_or(now);
                let report = Report { no: self.reports.inbox.next, alert, centre, seen_at, partner };
                let due = (ReportNo(report.no), alert_id(alert).to_string(), EventTime(seen_at));
                if (receipt.report, receipt.id.clone(), receipt.seen_at) != due {
                    self.wrong(format!("a report is taken as {receipt:?}, not as {due:?}"));
                }
                self.reports.happens(Event::Taken(report));
                number = Some(report);
                self.hit(S::ReportTaken);
            }
            Ok(Err(DeskError::ReportsFull)) if fits && !room => self.hit(S::ReportsFull),
            answer if is_full(answer) && fits && room => self.hit(S::ReportRefusedFull),
            Ok(Err(DeskError::Rejected(_))) if !fits => self.hit(match self.desk.published(alert) {
                true => S::ReportTooLate,
                false => S::ReportOfNone,
            }),
            answer => self.wrong(format!("{sight:?}: {answer:?}; it fits: {fits}, there is room: {room}")),
        }
        self.trace.note("report", &[partner as i64, i64::from(alert), i64::from(number.is_some())]);
        self.hold(Held::Taken(pending), Asker::Partner(partner), request, None, number.map(|one| one.no));
    }

    /// An authority confirms a report, or rejects it.
    pub(super) fn wish_arrives(&mut self, authority: usize, request: u64, wish: &Wish) {
        let (no, confirms) = match wish {
            Wish::Act(act) => return self.act_arrives(authority, request, act),
            Wish::Confirm(no) => (*no, true),
            Wish::Reject(no) => (*no, false),
        };
        let report = self.reports.inbox.get(no);
        let owned = report.filter(|one| self.desk.owner(one.alert) == Some(authority));
        self.hit(match (report, owned) {
            (None, _) if no < self.reports.inbox.next => S::ReportDecidedAgain,
            (None, _) => S::ReportUnknown,
            (Some(_), None) => S::ReportOfOther,
            _ => S::ReportDecided,
        });
        if confirms {
            self.confirm(authority, request, no, owned);
        } else {
            self.reject(authority, request, no, owned);
        }
    }

    fn reject(&mut self, authority: usize, request: u64, no: u64, report: Option<Report>) {
        let server = &mut self.server;
        let now = EventTime(server.now());
        let pending =
            server.desk.reject(Some(&mut server.files), now, &actor(authority), ReportNo(no), "not seen");
        match (pending.clone().ready(Mark(u64::MAX)), report) {
            (Ok(Ok(id)), Some(report)) if id == alert_id(report.alert) => {
                self.reports.happens(Event::Rejected(no));
                self.hit(S::ReportRejected);
            }
            (answer, Some(_)) if is_full(&answer) => self.hit(S::ReportRefusedFull),
            (Ok(Err(_)), None) => {}
            (answer, report) => self.wrong(format!("report {no}, {report:?}, is rejected: {answer:?}")),
        }
        self.trace.note("reject", &[authority as i64, no as i64]);
        self.hold(Held::End(pending), Asker::Authority(authority), request, None, None);
    }

    fn confirm(&mut self, authority: usize, request: u64, no: u64, report: Option<Report>) {
        let now = self.server.now();
        let at = now.max(self.desk.newest);
        let mut rules = self.desk.clone();
        let act = report.map(|one| {
            Rc::new(Act::Sighting { id: one.alert, centre: one.centre, seen_at: Some(one.seen_at) })
        });
        let order = act.as_ref().and_then(|act| rules.decide(at, authority, act));
        let server = &mut self.server;
        let pending =
            server.desk.confirm(Some(&mut server.files), EventTime(now), &actor(authority), ReportNo(no));
        let mut action = None;
        match (pending.clone().ready(Mark(u64::MAX)), act, order) {
            (Ok(Ok(receipt)), Some(act), Some(order)) if receipt.at.0 == at => {
                self.reports.sightings.insert((order.no, at));
                self.desk = rules;
                action = Some(self.accept(at, authority, &act, Some(no), order));
                self.reports.happens(Event::Action { cancels: None, confirms: Some(no) });
                self.hit(S::ReportConfirmed);
            }
            (answer, Some(_), _) if is_full(&answer) => self.hit(S::ReportRefusedFull),
            (Ok(Err(_)), Some(_), None) => self.hit(S::ReportWaitsOn),
            (Ok(Err(_)), None, _) => {}
            (answer, _, order) => {
                self.wrong(format!(
                    "report {no}, {report:?}, is confirmed: {answer:?}; by the rules {order:?}"
                ));
            }
        }
        self.trace.note("confirm", &[authority as i64, no as i64, at]);
        self.hold(Held::Act(pending), Asker::Authority(authority), request, action, None);
    }

    /// An answer waits for the journal; it rests on all that happened so far.
    pub(super) fn hold(
        &mut self,
        pending: Held,
        asker: Asker,
        request: u64,
        action: Option<u64>,
        report: Option<u64>,
    ) {
        let ground = self.reports.ground();
        self.server.waiting.push(Waiting { pending, asker, request, action, report, ground });
        if self.dice.one_in(3) {
            self.tell_durable();
        }
    }

    /// A partner is told a report's number: nobody was ever told it of another one.
    pub(super) fn tell_number(&mut self, partner: usize, request: u64, report: Option<u64>) {
        if let Some(no) = report {
            let taken = |event: &Event| match event {
                Event::Taken(one) if one.no == no => Some(*one),
                _ => None,
            };
            let Some(report) = self.reports.events.iter().find_map(taken) else {
                return self.wrong(format!("report {no} was told and never taken"));
            };
            if let Some(other) = self.reports.told.insert(no, report).filter(|other| *other != report) {
                self.wrong(format!("the number of {other:?} was given again to {report:?}"));
            }
        }
        self.net.push(Message::Reported { partner, request });
    }

    /// A partner has its answer.
    pub(super) fn reported(&mut self, partner: usize, request: u64) {
        if self.reports.asking.get(&partner).is_some_and(|(asked, _)| *asked == request) {
            self.reports.asking.remove(&partner);
        }
    }

    /// What the desk holds is what the model holds, whoever looks.
    pub(super) fn reports_are_held(&mut self) {
        let view = self.server.desk.view(Vec::new());
        if !self.reports.inbox.is(&view) {
            self.wrong(format!("the desk holds {view:?}, by the rules {:?}", self.reports.inbox));
        }
    }

    /// An authority looks at an alert: it sees the reports on its own ones.
    pub(super) fn look_at_reports(&mut self, authority: usize, alert: u32) {
        let now = EventTime(self.server.now());
        let shown = self.server.desk.show(now, &actor(authority), &alert_id(alert));
        let own = self.desk.owner(alert) == Some(authority);
        let due: Vec<Report> = self.reports.inbox.of(alert).filter(|_| own).copied().collect();
        // Nobody is shown what may still be lost.
        if shown.after() <= self.server.told {
            self.reports.rests_on(self.reports.ground());
            self.reports.told.extend(due.iter().map(|one| (one.no, *one)));
        }
        let Ok(Ok(view)) = shown.ready(Mark(u64::MAX)) else { return };
        let is: Vec<u64> = view.reports.iter().map(|one| one.report.0).collect();
        if is != due.iter().map(|one| one.no).collect::<Vec<_>>() {
            self.wrong(format!(
                "authority {authority} is shown reports {is:?} on alert {alert}, not {due:?}"
            ));
        } else if !is.is_empty() {
            self.hit(S::ReportShown);
        }
    }

    /// A crash may have taken the last of what happened, and nothing that an answer rests on. `actions` are back.
    pub(super) fn recover_reports(&mut self, view: &JournalView, actions: usize) {
        let (mut inbox, mut done) = (Inbox::default(), 0);
        let mut found = None;
        for end in 0..=self.reports.events.len() {
            if done == actions && inbox.is(view) {
                found = Some((end, inbox.clone()));
                break;
            }
            let Some(event) = self.reports.events.get(end) else { break };
            done += usize::from(matches!(event, Event::Action { .. }));
            inbox.apply(*event);
        }
        let Some((end, inbox)) = found else {
            let was = format!("{:?}", self.reports.inbox);
            return self.wrong(format!("no crash leaves {view:?} and {actions} actions; before it: {was}"));
        };
        if end < self.reports.sure {
            let gone = format!("{:?}", &self.reports.events[end..self.reports.sure]);
            return self.lost(format!("somebody was answered, and now this is gone: {gone}"));
        }
        let gone = self.reports.events.split_off(end);
        if gone.iter().any(|event| matches!(event, Event::Taken(_))) {
            self.hit(S::ReportLost);
        }
        let decision =
            |event: &Event| matches!(event, Event::Rejected(_) | Event::Action { confirms: Some(_), .. });
        if gone.iter().any(decision) {
            self.hit(S::DecisionLost);
        }
        if !inbox.waiting.is_empty() {
            self.hit(S::ReportsBack);
        }
        self.reports.inbox = inbox;
    }
}
