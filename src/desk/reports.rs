//! Sightings that somebody reported and no authority has confirmed yet. They change no match.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::domain::{Action, AlertId, EventTime, Position};
use crate::limits::{REPORTS_MAX, REPORTS_TOTAL_MAX};

/// A report's number; never given twice by one desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// Takes a report; `None` where the alert's or all bounds are reached.
    pub(super) fn add(&mut self, report: Report) -> Option<ReportNo> {
        if self.waiting.len() >= REPORTS_TOTAL_MAX || self.of(&report.id).count() >= REPORTS_MAX {
            return None;
        }
        let no = ReportNo(self.next);
        self.next += 1;
        self.waiting.insert(no, report);
        Some(no)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
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
