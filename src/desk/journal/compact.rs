//! A journal made smaller: what of it still counts.
//!
//! Every action counts for ever, because an alert's number, its version and what was told of it
//! follow from all of them. Reports that have ended and cursors that were left behind do not. The
//! actions are copied as bytes, so compaction cannot change one.

use super::{Record, RecordError, ReportTaken};
use crate::desk::reports::ReportNo;
use crate::domain::CursorAt;
use crate::limits::{JOURNAL_BYTES_MIN, JOURNAL_GARBAGE_FACTOR, JOURNAL_RECORD_COST};
use crate::planted::{self, Defect};

/// What a compacted journal holds beside its actions: all of it as of one mark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalView {
    /// The number that the next report will get.
    pub next_report: ReportNo,
    /// The reports that wait.
    pub reports: Vec<ReportTaken>,
    /// The newest cursor of each partner.
    pub cursors: Vec<CursorAt>,
}

impl JournalView {
    /// Its records.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let next = (self.next_report > ReportNo(0)).then_some(Record::NextReport(self.next_report));
        let next = next.filter(|_| !planted::on(Defect::CompactionForgetsNumbers));
        let reports = if planted::on(Defect::CompactionForgetsReports) { &[] } else { &*self.reports };
        let cursors = if planted::on(Defect::CompactionForgetsCursors) { &[] } else { &*self.cursors };
        next.into_iter()
            .chain(reports.iter().cloned().map(Record::Report))
            .chain(cursors.iter().cloned().map(Record::Cursor))
    }
}

/// The records of the compacted journal: the actions of `old` in their order, then those of
/// `view`, which must be of the mark at which `old` ends.
///
/// # Errors
/// Those of `old`; and of a record, where it cannot be written.
pub fn compacted<'a, E: From<RecordError>>(
    old: impl Iterator<Item = Result<(u8, Vec<u8>), E>> + 'a,
    view: &'a JournalView,
) -> impl Iterator<Item = Result<(u8, Vec<u8>), E>> + 'a {
    let last = if planted::on(Defect::CompactionLosesAction) { 3 } else { usize::MAX };
    let actions =
        old.take(last).filter(|read| read.as_ref().map_or(true, |(kind, _)| Record::is_action(*kind)));
    actions.chain(view.records().map(|record| Ok(record.encode()?)))
}

/// Whether a journal of `bytes` is worth compacting to about `live` bytes: it has to be of some size,
/// and mostly garbage, so that over the years the bytes written twice stay below a constant
/// share of those written once.
pub fn worth_compacting(bytes: u64, live: u64) -> bool {
    bytes >= JOURNAL_BYTES_MIN && bytes / JOURNAL_GARBAGE_FACTOR >= live
}

/// What a record takes in a journal, for the account: its bytes and what stands around them.
pub(in crate::desk) fn cost(payload: usize) -> u64 {
    (payload + JOURNAL_RECORD_COST) as u64
}
