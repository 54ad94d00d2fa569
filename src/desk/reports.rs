//! Sightings that somebody reported and no authority has confirmed yet. They change no match.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::domain::{Action, AlertId, EventTime, Position};
use crate::limits::{REPORTS_MAX, REPORTS_TOTAL_MAX};
use crate::planted::{self, Defect};

use super::journal::ReportTaken;

/// A report's number; never given twice by one desk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ReportNo(pub u64);

impl fmt::Display for ReportNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A report that waits.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) id: AlertId,
    pub(super) position: Position,
    /// As reported, or the time of the report.
    pub(super) seen_at: EventTime,
    pub(super) by: Arc<str>,
}

impl Report {
    pub(super) fn taken(&self, report: ReportNo) -> ReportTaken {
        let Self { id, position, seen_at, by } = self.clone();
        ReportTaken { report, id, position, seen_at, by }
    }

    /// The sighting that it becomes.
    pub(super) fn to_action(&self) -> Action {
        Action::Sighting {
            id: self.id.clone(),
            lat: self.position.lat_deg(),
            lon: self.position.lon_deg(),
            seen_at: Some(self.seen_at),
        }
    }
}

/// All reports that wait.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: BTreeMap<ReportNo, Report>,
    next: u64,
}

impl Reports {
    /// Takes a report, for which there is room.
    pub(super) fn add(&mut self, report: Report) -> ReportNo {
        let no = ReportNo(self.next);
        self.next += 1;
        self.waiting.insert(no, report);
        no
    }

    /// Enters a report that was taken before, under its number.
    pub(super) fn recover(&mut self, no: ReportNo, report: Report) {
        self.waiting.insert(no, report);
        self.skip_to(ReportNo(no.0.saturating_add(1)));
    }

    /// Numbers below `next` were given before.
    pub(super) fn skip_to(&mut self, next: ReportNo) {
        self.next = self.next.max(next.0);
    }

    /// The number that the next report will get.
    pub(super) fn next(&self) -> ReportNo {
        ReportNo(self.next)
    }

    /// All that wait, by number.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = (ReportNo, &Report)> {
        self.waiting.iter().map(|(no, report)| (*no, report))
    }

    /// Whether a further report on this alert would be taken.
    pub(super) fn has_room(&self, id: &AlertId) -> bool {
        let (of_alert, total) = bounds();
        self.waiting.len() < total
            && (self.of(id).count() < of_alert || planted::on(Defect::ReportsUnbounded))
    }

    /// How many wait on the alert on which most do.
    pub(super) fn most_of_an_alert(&self) -> usize {
        let mut counts: BTreeMap<&AlertId, usize> = BTreeMap::new();
        self.waiting.values().for_each(|report| *counts.entry(&report.id).or_default() += 1);
        counts.into_values().max().unwrap_or(0)
    }

    pub(super) fn get(&self, no: ReportNo) -> Option<&Report> {
        self.waiting.get(&no)
    }

    pub(super) fn take(&mut self, no: ReportNo) -> Option<Report> {
        self.waiting.remove(&no)
    }

    /// Returns a report that was taken and came to nothing.
    pub(super) fn put_back(&mut self, no: ReportNo, report: Report) {
        self.waiting.insert(no, report);
    }

    /// The reports on an alert, the oldest first.
    pub(super) fn of<'a>(&'a self, id: &'a AlertId) -> impl Iterator<Item = (ReportNo, &'a Report)> {
        self.waiting.iter().filter(move |(_, report)| report.id == *id).map(|(no, report)| (*no, report))
    }

    /// Drops the reports on an alert that has ended.
    pub(super) fn forget(&mut self, id: &AlertId) {
        self.waiting.retain(|_, report| report.id != *id);
    }
}

/// How many may wait of an alert, and of all.
#[cfg(not(test))]
fn bounds() -> (usize, usize) {
    (REPORTS_MAX, REPORTS_TOTAL_MAX)
}

#[cfg(test)]
fn bounds() -> (usize, usize) {
    FEW.get().unwrap_or((REPORTS_MAX, REPORTS_TOTAL_MAX))
}

#[cfg(test)]
thread_local! {
    static FEW: std::cell::Cell<Option<(usize, usize)>> = const { std::cell::Cell::new(None) };
}

/// Has desks of this thread take no more than so many of an alert, and of all.
#[cfg(test)]
pub(crate) fn few_reports(of_alert: usize, total: usize) {
    FEW.set(Some((of_alert, total)));
}
