//! The action journal: its records, and what the desk asks of whoever keeps them.
//!
//! A record has a kind and bytes: a version, then fields (`fields.rs`). What is not understood to
//! the last byte is an error, never a guess, because a journal is what an alert's life is built
//! from after a crash. An action stands there as it was decided: with its number, its time, who
//! acted, and what a policy's name meant then, so that another configuration changes no past.
//! `docs/operations.md` says what to do at each message.

mod compact;
mod fields;
mod recover;

use std::sync::Arc;

use crate::domain::{Action, AlertId, CursorAt, EventTime, Position, Stages};

use super::book::Actor;
use super::reports::ReportNo;

pub(in crate::desk) use compact::cost;
pub use compact::{JournalView, compacted, worth_compacting};
pub use recover::{RecoverError, Recovered, Recovery};

/// How far the desk's journal is: a count of what the desk appended since its start. A record is
/// durable where its mark, the count that includes it, is not above the durable one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

/// A record of the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An action as it was decided.
    Action(Box<Decided>),
    /// An unconfirmed sighting that waits.
    Report(ReportTaken),
    /// A report that was rejected. One that was confirmed ends with its action, one whose alert is
    /// cancelled with that.
    ReportEnd {
        /// The report.
        report: ReportNo,
        /// Who rejected it.
        by: Arc<str>,
        /// Why.
        reason: String,
        /// When, server's time.
        at: EventTime,
    },
    /// How far a partner has acknowledged.
    Cursor(CursorAt),
    /// The number of the next report is at least this: what a compacted journal keeps of reports
    /// that have ended.
    NextReport(ReportNo),
}

/// An action as it was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its number, from 0 without gaps; compaction does not change it.
    pub no: u64,
    /// The time given to it.
    pub at: EventTime,
    /// Who acted.
    pub actor: Actor,
    /// The action.
    pub action: Action,
    /// What the name of the alert's policy stood for, where it has a name.
    pub policy: Option<NamedPolicy>,
    /// The report that it confirms.
    pub report: Option<ReportNo>,
}

/// A policy's name and what it stood for.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPolicy {
    /// The name.
    pub name: String,
    /// Its stages.
    pub stages: Stages,
}

/// A report as it was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportTaken {
    /// Its number.
    pub report: ReportNo,
    /// The alert.
    pub id: AlertId,
    /// Where.
    pub position: Position,
    /// When the child was seen.
    pub seen_at: EventTime,
    /// Who reported it.
    pub by: Arc<str>,
}

/// Why bytes are no record, or a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Kept free for grants.
    #[error(
        "a record of kind {0} is kept for the state of grants, which this version has not: it comes from a newer hexcast"
    )]
    Reserved(u8),
    /// No such kind.
    #[error("a record of kind {0} is not known: it comes from a newer hexcast, or is no journal's")]
    UnknownKind(u8),
    /// A version of later.
    #[error(
        "a record of kind {kind} has version {version}, version {known} is known: it comes from a newer hexcast"
    )]
    Version {
        /// The kind.
        kind: u8,
        /// The version found.
        version: u8,
        /// The version that is read.
        known: u8,
    },
    /// Not what its kind says.
    #[error("a record of kind {kind} cannot be read: {why}")]
    Malformed {
        /// The kind.
        kind: u8,
        /// What is wrong.
        why: String,
    },
    /// Beyond the bound, or with an impossible area, which no accepted action has.
    #[error("a record of kind {0} cannot be written: it is too large or has an impossible area")]
    Unwritable(u8),
}

/// What is asked of a journal beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A new alert or report: refused first as the disk fills.
    New,
    /// What carries an alert on or ends it, and a report's end: these have a reserve.
    Standing,
}

/// Why the journal does not take a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// No room.
    #[error("the journal's disk is full, and nothing new is taken: free some space, then try again")]
    Full,
    /// Too much waits for the disk.
    #[error("the journal's disk is too slow, and no more may wait for it: try again later")]
    Behind,
    /// It failed: whether the record will be found after the restart is not known.
    #[error("the journal failed, and the server stops: {0}; after its restart look whether this was done")]
    Failed(String),
    /// A record that cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Where records go. Neither call waits for a disk: what was appended becomes durable later, in
/// order, and whoever drives the journal says so.
pub trait Journal {
    /// Whether a record of at most `bytes` would be taken now. Asked before an action is entered,
    /// because what was entered cannot be taken back.
    ///
    /// # Errors
    /// Where it would not.
    fn admit(&mut self, need: Need, bytes: usize) -> Result<(), JournalError>;

    /// Appends a record, which was admitted. It is durable when the desk is told of `mark` or a
    /// later one; marks come one by one.
    fn append(&mut self, mark: Mark, kind: u8, payload: Vec<u8>);
}

#[cfg(test)]
mod tests;
