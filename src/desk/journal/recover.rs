//! A desk out of its journal: every action is decided again, at the time that it was given.
//!
//! The book is a function of the actions in their order, so what it says then is what it said; if it
//! rejects one now, the journal or the program is not what it was, and the start has to stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Record, RecordError};
use crate::desk::Policies;
use crate::desk::decide::{DeskCore, NumberedTold};
use crate::desk::rejection::Rejection;
use crate::desk::reports::ReportNo;
use crate::domain::{CursorAt, EventTime, Namespace};
use crate::planted::{self, Defect};

/// Why a journal gives no desk.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecoverError {
    /// At a record, by its place in the journal.
    #[error("record {record} of the action journal: {why}")]
    At {
        /// Its place, from 0.
        record: u64,
        /// Why.
        why: Box<Self>,
    },
    /// Bytes that are no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An action is missing or stands twice.
    #[error("it holds action {found} where action {due} is due")]
    Number {
        /// The number found.
        found: u64,
        /// The number that is due.
        due: u64,
    },
    /// Times that go back.
    #[error("action {no} has the time {at}, which is before {newest}, that of an action before it")]
    Back {
        /// The action.
        no: u64,
        /// Its time.
        at: EventTime,
        /// The newest time before.
        newest: EventTime,
    },
    /// The book rejects it.
    #[error("action {no} was accepted once and is now rejected: {why}")]
    Rejected {
        /// The action.
        no: u64,
        /// Why.
        why: Rejection,
    },
    /// A report that does not fit.
    #[error("report {0} is of no standing alert, does not wait, or is one too many")]
    Report(ReportNo),
}

/// Reads a journal back, record by record.
#[derive(Debug, Default)]
pub struct Recovery {
    desk: DeskCore,
    orders: Vec<NumberedTold>,
    cursors: BTreeMap<(Namespace, Arc<str>), CursorAt>,
    records: u64,
}

/// What a journal gives.
#[derive(Debug)]
pub struct Recovered {
    /// The desk as it stood; whatever it appends from now on has marks from 1.
    pub desk: DeskCore,
    /// All orders in their order, each with its number and time.
    pub orders: Vec<NumberedTold>,
    /// The newest cursor of each partner.
    pub cursors: Vec<CursorAt>,
}

impl Recovery {
    /// Of a journal that nothing was read of yet. `policies` are those of the configuration now; an
    /// action that was decided keeps what its policy's name meant then.
    pub fn new(policies: Policies) -> Self {
        Self { desk: DeskCore::new(policies), ..Self::default() }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// Where it is none, or does not follow from those before: the start must stop.
    pub fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), RecoverError> {
        let record = self.records;
        self.records += 1;
        self.take(kind, payload).map_err(|why| RecoverError::At { record, why: Box::new(why) })
    }

    fn take(&mut self, kind: u8, payload: &[u8]) -> Result<(), RecoverError> {
        let record = Record::decode(kind, payload)?;
        if let Record::Cursor(cursor) = &record {
            let key = (cursor.namespace.clone(), Arc::clone(&cursor.partner));
            let held = self.cursors.entry(key).or_insert_with(|| cursor.clone());
            if cursor.offset >= held.offset && !planted::on(Defect::OldestCursor) {
                *held = cursor.clone();
            }
        }
        self.orders.extend(self.desk.recover(record, payload.len())?);
        Ok(())
    }

    /// The journal ends here.
    pub fn finish(self) -> Recovered {
        Recovered { desk: self.desk, orders: self.orders, cursors: self.cursors.into_values().collect() }
    }
}
